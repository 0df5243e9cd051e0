/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache_fopen(): a FILE that reads by pread() from a shared handle. The offset is in the FILE, so
 * the description that others use as well is never moved.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libclient/client.h"
#include "libclient/message.h"

typedef struct
{
  int fd;
  off64_t offset;
} Cookie;

static ssize_t
read_cookie (void *data, char *buffer, size_t size)
{
  Cookie *cookie = data;
  ssize_t n;

  do
    n = pread (cookie->fd, buffer, size, cookie->offset);
  while (n < 0 && errno == EINTR);
  if (n > 0)
    cookie->offset += n;
  return n;
}

static int
seek_cookie (void *data, off64_t *offset, int whence)
{
  Cookie *cookie = data;
  struct stat status;
  off64_t base = 0, result;

  if (whence == SEEK_CUR)
    base = cookie->offset;
  else if (whence == SEEK_END)
    {
      if (fstat (cookie->fd, &status) < 0)
        return -1;
      base = status.st_size;
    }
  else if (whence != SEEK_SET)
    {
      errno = EINVAL;
      return -1;
    }
  if (__builtin_add_overflow (base, *offset, &result) || result < 0)
    {
      errno = EINVAL;
      return -1;
    }
  *offset = cookie->offset = result;
  return 0;
}

static int
close_cookie (void *data)
{
  Cookie *cookie = data;
  int r = close (cookie->fd);

  free (cookie);
  return r;
}

/* Takes the descriptor if it succeeds. */
static FILE *
open_cookie (int fd)
{
  static const cookie_io_functions_t functions
      = { .read = read_cookie, .seek = seek_cookie, .close = close_cookie };
  Cookie *cookie = malloc (sizeof *cookie);
  FILE *file;

  if (cookie == NULL)
    return NULL;
  *cookie = (Cookie){ .fd = fd };
  file = fopencookie (cookie, "r", functions);
  if (file == NULL)
    free (cookie);
  return file;
}

FILE *
fscache_fopen (FscacheClient *client, const char *uri, FscacheReply *reply)
{
  FscacheRequest request = { .uri = uri, .flags = O_RDONLY, .sharing = FSCACHE_SHARED };
  FscacheReply own;
  FILE *file;
  int r;

  if (reply == NULL)
    reply = &own;
  r = fscache_open_with (client, &request, reply);
  if (r < 0)
    {
      errno = -r;
      return NULL;
    }

  /* What is not shared has an offset that may be used. */
  file = reply->sharing == FSCACHE_SHARED ? open_cookie (reply->fd) : fdopen (reply->fd, "r");
  if (file == NULL)
    {
      r = errno;
      fscache_give_back (client, reply);
      fsc_client_fail_reply (reply, FSCACHE_ERROR_NO_MEMORY, r);
      strcpy (reply->message, "cannot make a FILE: out of memory");
      errno = r;
      return NULL;
    }
  reply->fd = -1;
  return file;
}
