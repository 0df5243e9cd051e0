/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Copies all that a descriptor has to another one; see copy.h.
 */
#include "fscache/ctl/copy.h"

#include <errno.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)
#define CHUNK (1 << 30)

typedef struct
{
  int in, out;
  gboolean is_positional; /* `in` has contents at positions */
  off_t position;
  char *buffer;
} Copy;

/* stdout may be a terminal or a pipe that somebody else has made non-blocking. */
static gboolean
wait_for (int fd, short events)
{
  struct pollfd item = { .fd = fd, .events = events };

  return poll (&item, 1, -1) >= 0 || errno == EINTR;
}

static gboolean
write_all (int out, const char *data, gsize length)
{
  while (length > 0)
    {
      ssize_t n = write (out, data, length);

      if (n >= 0)
        {
          data += n;
          length -= n;
        }
      else if (errno != EINTR && (errno != EAGAIN || !wait_for (out, POLLOUT)))
        return FALSE;
    }
  return TRUE;
}

static FscCopyResult
copy_by_reading (Copy *copy)
{
  for (;;)
    {
      ssize_t n = copy->is_positional ? pread (copy->in, copy->buffer, BUFFER_SIZE, copy->position)
                                      : read (copy->in, copy->buffer, BUFFER_SIZE);

      if (n == 0)
        return FSC_COPY_DONE;
      if (n > 0)
        {
          if (!write_all (copy->out, copy->buffer, n))
            return FSC_COPY_CANNOT_WRITE;
          copy->position += n;
        }
      else if (errno != EINTR && (errno != EAGAIN || !wait_for (copy->in, POLLIN)))
        return FSC_COPY_CANNOT_READ;
    }
}

/* Lets the kernel copy, as far as it can and will. Whatever stops it, copy_by_reading() goes on
 * from there: it meets a real error or the end again, and tells reading from writing. */
static void
copy_in_kernel (Copy *copy, gboolean to_file)
{
  ssize_t n;

  do
    {
      if (to_file)
        n = copy_file_range (copy->in, &copy->position, copy->out, NULL, CHUNK, 0);
      else
        n = sendfile (copy->out, copy->in, &copy->position, CHUNK);
    }
  while (n > 0);
}

FscCopyResult
fsc_copy_all (int in, int out)
{
  struct stat from, to;
  g_autofree char *buffer = NULL;
  Copy copy = { .in = in, .out = out };

  if (fstat (in, &from) < 0)
    return FSC_COPY_CANNOT_READ;
  if (fstat (out, &to) < 0)
    return FSC_COPY_CANNOT_WRITE;
  if (S_ISDIR (from.st_mode))
    {
      errno = EISDIR;
      return FSC_COPY_CANNOT_READ;
    }
  if (S_ISREG (from.st_mode) && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
    return FSC_COPY_SAME_FILE;

  copy.is_positional = S_ISREG (from.st_mode) || S_ISBLK (from.st_mode);
  if (S_ISREG (from.st_mode))
    copy_in_kernel (&copy, S_ISREG (to.st_mode));
  copy.buffer = buffer = g_malloc (BUFFER_SIZE);
  return copy_by_reading (&copy);
}
