/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A descriptor with a number of users; see handle.h.
 */
#include "fscache/view/handle.h"

#include <errno.h>
#include <unistd.h>

FscHandle *
fsc_handle_new (int fd, gboolean is_local)
{
  FscHandle *handle = g_new0 (FscHandle, 1);

  handle->fd = fd;
  handle->is_local = is_local;
  handle->n_references = 1;
  return handle;
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
