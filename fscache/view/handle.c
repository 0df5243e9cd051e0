/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A descriptor with a number of users; see handle.h.
 */
#include "fscache/view/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

guint64
fsc_handle_get_source (guint64 dev)
{
  return dev | (guint64) 1 << 63;
}

static guint64
find_source (int fd)
{
  struct statx st = { 0 };

  statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st);
  return fsc_handle_get_source (makedev (st.stx_dev_major, st.stx_dev_minor));
}

FscHandle *
fsc_handle_new (int fd, gboolean is_local)
{
  FscHandle *handle = g_new0 (FscHandle, 1);

  handle->fd = fd;
  handle->is_local = is_local;
  handle->source = is_local ? (uintptr_t) handle : find_source (fd);
  handle->n_references = 1;
  return handle;
}

gboolean
fsc_handle_is_duplicate (const FscHandle *handle, int fd)
{
  pid_t pid = getpid ();

  return syscall (SYS_kcmp, pid, pid, KCMP_FILE, handle->fd, fd) == 0;
}

FscHandle *
fsc_handle_ref (FscHandle *handle)
{
  g_atomic_int_inc (&handle->n_references);
  return handle;
}

void
fsc_handle_unref (FscHandle *handle)
{
  int error = errno;

  if (!g_atomic_int_dec_and_test (&handle->n_references))
    return;
  close (handle->fd);
  g_free (handle);
  errno = error;
}
