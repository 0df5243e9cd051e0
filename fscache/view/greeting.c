/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the kernel is told in answer to INIT; see greeting.h.
 */
#include "fscache/view/greeting.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fscache/view/view.h"

#define FLAGS (FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2)

/* There is no other answer before that to INIT, and no other thread. */
static ssize_t
write_answer (int fd, struct iovec *parts, int n_parts, void *data)
{
  FscView *view = data;

  if (!view->is_greeted && n_parts == 2
      && parts[1].iov_len >= offsetof (struct fuse_init_out, max_background))
    ((struct fuse_init_out *) parts[1].iov_base)->flags |= FLAGS;
  view->is_greeted = TRUE;
  return writev (fd, parts, n_parts);
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
fsc_greeting_amend (struct fuse_session *session)
{
  static const struct fuse_custom_io io
      = { .writev = write_answer, .read = read_request, .splice_send = splice_answer };

  if (fuse_session_custom_io (session, &io, fuse_session_fd (session)) != 0)
    g_error ("libfuse does not take its functions");
}
