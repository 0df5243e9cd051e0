/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An opener that misbehaves, as the path it is asked for says: /crash, /hang, /nonsense ... What
 * has none of these names it opens as an opener should; "watch-and-crash" too, until it is to watch
 * it. Put in the place of open-file by a test.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "fscache/openers/serve.h"
#include "protocol/channel.h"

#define SOCKET 3

static bool
is_asked (const char *uri, const char *name)
{
  const char *last = strrchr (uri, '/');

  return last != NULL && strcmp (last + 1, name) == 0;
}

/* An OPENED of one result, with as many descriptors as it does not say. */
static void
send_result (const FscItem *item, unsigned serial, unsigned index, unsigned n_fds)
{
  FscResult result = { .index = index, .has_fd = n_fds == 1, .kind = FSC_KIND_REGULAR };
  const int fds[] = { 0, 0, 0 };
  unsigned char buffer[1024];
  FscWriter writer;
  int length;

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_opened (&writer, 1);
  fsc_codec_put_result (&writer, &result);
  length = fsc_writer_finish (&writer, FSC_OP_OPENED, serial, n_fds);
  fsc_channel_send (SOCKET, buffer, (size_t) length, fds, n_fds, 0);
}

static void
misbehave (const FscItem *item, const char *uri, FscFound *found)
{
  if (is_asked (uri, "crash"))
    abort ();
  if (is_asked (uri, "exit"))
    _exit (0);
  while (is_asked (uri, "hang"))
    pause ();
  if (is_asked (uri, "nonsense"))
    send (SOCKET, "nonsense", 8, 0);
  else if (is_asked (uri, "another-serial"))
    send_result (item, 4711, 0, 1);
  else if (is_asked (uri, "another-index"))
    send_result (item, 1, 77, 1);
  else if (is_asked (uri, "many-descriptors"))
    send_result (item, 1, 0, 3);
  else if (is_asked (uri, "unchanged")) /* without having been told what from */
    found->code = FSC_CODE_UNCHANGED;
  else if (!is_asked (uri, "no-handle")) /* OK, and no descriptor */
    fsc_found_system_error (found, uri, ENOENT);
}

/* Good answers, until it is to be watched. */
static void
watch_badly (const FscItem *item, const char *path, FscFound *found)
{
  if ((item->options & FSC_OPTION_WATCH) != 0)
    {
      inotify_add_watch (found->inotify, path, IN_ATTRIB);
      abort ();
    }
  found->validator[0] = 1;
  found->validator_length = 1;
  if (item->validator.length == 0)
    return;
  close (found->fd);
  found->fd = -1;
  found->code = FSC_CODE_UNCHANGED;
}

static void
open_badly (const FscItem *item, const char *uri, FscFound *found)
{
  char path[4096] = "";

  memcpy (path, item->uri.data + strlen ("file://"), item->uri.length - strlen ("file://"));
  found->fd = open (path, (int) item->flags | O_CLOEXEC);
  if (found->fd < 0)
    {
      misbehave (item, uri, found);
      return;
    }
  found->kind = FSC_KIND_REGULAR;
  found->coherence = FSC_COHERENCE_CHECKED;
  if (is_asked (uri, "watch-and-crash"))
    watch_badly (item, path, found);
}

int
main (void)
{
  return fsc_serve ("bad-opener", open_badly);
}
