/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How answers are written to the kernel; see answer.h.
 */
#include "fscache/view/answer.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fscache/view/view.h"

/* All but what is read and listed. Aligned like this it lies in one page. */
#define SMALL 256

#define FLAGS (FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2)

static void
amend_greeting (const struct iovec *parts, int n_parts)
{
  if (n_parts == 2 && parts[1].iov_len >= offsetof (struct fuse_init_out, max_background))
    ((struct fuse_init_out *) parts[1].iov_base)->flags |= FLAGS;
}

static ssize_t
write_answer (int fd, struct iovec *parts, int n_parts, void *data)
{
  _Alignas(SMALL) char whole[SMALL];
  FscView *view = data;

  if (!g_atomic_int_get (&view->is_greeted)) /* there is no other answer before that to INIT */
    {
      amend_greeting (parts, n_parts);
      g_atomic_int_set (&view->is_greeted, TRUE);
    }
  if (n_parts != 2 || parts[0].iov_len + parts[1].iov_len > SMALL)
    return writev (fd, parts, n_parts);
  memcpy (whole, parts[0].iov_base, parts[0].iov_len);
  memcpy (whole + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
  return write (fd, whole, parts[0].iov_len + parts[1].iov_len);
}

static ssize_t
read_request (int fd, void *buffer, size_t size, void *data)
{
  return read (fd, buffer, size);
}

static ssize_t
splice_answer (int from, off_t *from_offset, int to, off_t *to_offset, size_t size, unsigned flags,
               void *data)
{
  return splice (from, from_offset, to, to_offset, size, flags);
}

void
fsc_answer_set_up (struct fuse_session *session)
{
  static const struct fuse_custom_io io
      = { .writev = write_answer, .read = read_request, .splice_send = splice_answer };

  if (fuse_session_custom_io (session, &io, fuse_session_fd (session)) != 0)
    g_error ("libfuse does not take its functions");
}
