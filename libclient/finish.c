/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From answers to replies; see finish.h.
 */
#include "libclient/finish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libclient/message.h"
#include "libclient/send.h"
#include "protocol/uri.h"

/* What made the file, or said how to find it, has been done, or does not hold for the link in
 * /proc. (O_TMPFILE includes O_DIRECTORY, which alone is to stay.) */
#define FLAGS_NOT_REOPENED (O_CREAT | O_EXCL | O_NOFOLLOW | (O_TMPFILE & ~O_DIRECTORY))

static void
fail (FscOpening *opening, int error)
{
  fsc_client_answer_clear (&opening->answer);
  fsc_client_answer_fail (&opening->answer,
                          error == EMFILE ? FSCACHE_ERROR_NO_DESCRIPTOR : FSCACHE_ERROR_SYSTEM,
                          error, (FscBytes){ 0 });
}

static FscacheKind
get_kind (int fd)
{
  struct statx status;

  /* Nobody needs to be asked for what it is. */
  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) < 0)
    return FSCACHE_KIND_UNKNOWN;
  switch (status.stx_mode & S_IFMT)
    {
    case S_IFREG:
      return FSCACHE_KIND_REGULAR;
    case S_IFDIR:
      return FSCACHE_KIND_DIRECTORY;
    case S_IFLNK:
      return FSCACHE_KIND_SYMLINK;
    case S_IFIFO:
      return FSCACHE_KIND_FIFO;
    case S_IFSOCK:
      return FSCACHE_KIND_SOCKET;
    case S_IFCHR:
      return FSCACHE_KIND_CHARACTER;
    case S_IFBLK:
      return FSCACHE_KIND_BLOCK;
    default:
      return FSCACHE_KIND_UNKNOWN;
    }
}

static int
open_again (const char *path, int flags, mode_t mode)
{
  int fd;

  do
    fd = open (path, flags, mode);
  while (fd < 0 && errno == EINTR);
  return fd < 0 ? -errno : fd;
}

/* A description of its own satisfies every sharing mode. */
static void
open_locally (FscOpening *opening)
{
  FscAnswer *answer = &opening->answer;
  char buffer[FSC_URI_MAX + 1];
  const char *path = buffer;
  int fd;

  fsc_client_answer_clear (answer);
  if (opening->is_relative)
    path = opening->uri.data;
  else if (fsc_uri_to_path (opening->uri, buffer, sizeof buffer) < 0)
    {
      fail (opening, EINVAL);
      return;
    }
  fd = open_again (path, (int) opening->flags, opening->mode);
  if (fd < 0)
    {
      fail (opening, -fd);
      return;
    }
  *answer = (FscAnswer){
    .fd = fd,
    .sharing = opening->sharing == FSCACHE_EXCLUSIVE ? FSCACHE_EXCLUSIVE : FSCACHE_INDEPENDENT,
    .source = FSCACHE_SOURCE_LOCAL,
    .coherence = FSCACHE_COHERENCE_UNCACHED,
    .kind = get_kind (fd),
  };
}

/* "/proc/self/fd/7". By hand: this is on the way of every independent open. */
static void
write_link (char buffer[32], int fd)
{
  static const char prefix[] = "/proc/self/fd/";
  char digits[12];
  size_t n = 0, length = sizeof prefix - 1;

  memcpy (buffer, prefix, length);
  do
    digits[n++] = (char) ('0' + fd % 10);
  while ((fd /= 10) > 0);
  while (n > 0)
    buffer[length++] = digits[--n];
  buffer[length] = '\0';
}

/* Makes a description of the caller's own from the duplicate. Returns false if the service must do
 * it. */
static bool
reopen (FscacheClient *client, FscOpening *opening)
{
  FscAnswer *answer = &opening->answer;
  char path[32];
  int fd;

  write_link (path, answer->fd);
  fd = open_again (path, (int) opening->flags & ~FLAGS_NOT_REOPENED, 0);
  if (fd >= 0)
    {
      close (answer->fd);
      answer->fd = fd;
      answer->sharing = FSCACHE_INDEPENDENT;
      return true;
    }
  if (opening->reopens && (fd == -ENOENT || fd == -ENOTDIR || fd == -ESTALE))
    {
      /* There is no /proc here; or the file is gone from its server since. */
      if (fd != -ESTALE)
        __atomic_store_n (&client->never_reopens, true, __ATOMIC_RELAXED);
      opening->reopens = false;
      opening->flags &= ~(uint32_t) O_EXCL; /* it has been made */
      fsc_client_answer_clear (answer);
      return false;
    }
  fail (opening, -fd);
  return true;
}

/* What was given must be what was asked, or stricter. */
static bool
finish_given (FscacheClient *client, FscOpening *opening)
{
  FscAnswer *answer = &opening->answer;

  if (answer->sharing != FSCACHE_SHARED || opening->sharing == FSCACHE_SHARED)
    return true;
  if (opening->sharing == FSCACHE_INDEPENDENT && (opening->flags & O_PATH) != 0)
    {
      answer->sharing = FSCACHE_INDEPENDENT; /* a path has no state that could be shared */
      return true;
    }
  if (opening->sharing == FSCACHE_INDEPENDENT && opening->reopens)
    return reopen (client, opening);
  fsc_client_answer_clear (answer);
  fsc_client_answer_fail (answer, FSCACHE_ERROR_PROTOCOL, EPROTO, (FscBytes){ 0 });
  return true;
}

static void
fill_reply (FscacheReply *reply, FscAnswer *answer)
{
  reply->fd = answer->fd;
  reply->error = 0;
  reply->code = FSCACHE_OK;
  reply->sharing = answer->sharing;
  reply->source = answer->source;
  reply->coherence = answer->coherence;
  reply->kind = answer->kind;
  reply->age_ms = answer->age_ms;
  reply->lease = answer->lease;
  reply->generation = answer->name;
  reply->content.is_known = answer->content != NULL;
  if (answer->content != NULL)
    reply->content = *answer->content;
  memset (reply->reserved, 0, sizeof reply->reserved);
  reply->reserved[0] = answer->generation; /* fscache_give_back() needs it */
  reply->message[0] = '\0';
  answer->fd = -1;
}

void
fsc_client_end_lease (FscacheClient *client, uint32_t flags, uint64_t *lease, uint64_t generation)
{
  if (*lease != 0)
    {
      fsc_client_lock (client);
      fsc_client_send_give_back (client, flags, *lease, generation);
      fsc_client_poller_update (client);
      fsc_client_unlock (client);
    }
  *lease = 0;
}

/* What was to be taken is here, or, if it could not be reopened, is not. */
static bool
finish_taken (FscacheClient *client, FscOpening *opening)
{
  uint64_t lease = opening->answer.lease, generation = opening->answer.generation;
  bool is_finished;

  opening->answer.lease = 0;
  is_finished = finish_given (client, opening);
  fsc_client_end_lease (client,
                        is_finished && opening->answer.code == FSCACHE_OK ? FSC_GIVE_BACK_TAKEN : 0,
                        &lease, generation);
  return is_finished;
}

bool
fsc_client_finish (FscacheClient *client, const char *verb, FscOpening *opening,
                   FscacheReply *reply)
{
  FscAnswer *answer = &opening->answer;

  if (answer->is_local)
    open_locally (opening);
  else if (answer->code == FSCACHE_OK
           && !(opening->is_taken ? finish_taken : finish_given) (client, opening))
    return false;

  if (answer->code == FSCACHE_OK)
    fill_reply (reply, answer);
  else
    fsc_client_explain (reply, verb, opening);
  fsc_client_answer_clear (answer);
  return true;
}
