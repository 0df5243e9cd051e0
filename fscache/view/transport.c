/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How the content of files comes to their readers; see transport.h.
 */
#include "fscache/view/transport.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
#define HAS_PASSTHROUGH 1
#include <linux/capability.h>
#include <linux/fuse.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define HAS_PASSTHROUGH 0
#endif

/* File systems may be stacked only so high: what is read from may be an overlayfs, and then nothing
 * can be stacked upon the view. */
#define STACK_DEPTH 1

static const char not_allowed[] = "the kernel allows it only to root (CAP_SYS_ADMIN)";

#if HAS_PASSTHROUGH

/* The kernel says so only when there is a file. */
static gboolean
is_allowed (void)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct data[2] = { 0 };

  return syscall (SYS_capget, &header, data) == 0
         && (data[CAP_TO_INDEX (CAP_SYS_ADMIN)].effective & CAP_TO_MASK (CAP_SYS_ADMIN)) != 0;
}

static void
negotiate_passthrough (FscViewTransport *transport, struct fuse_conn_info *connection)
{
  if (!transport->wants_passthrough)
    transport->why_no_passthrough = "it is turned off (-o no_passthrough)";
  else if ((connection->capable & FUSE_CAP_PASSTHROUGH) == 0)
    transport->why_no_passthrough = "this kernel does not have it (Linux 6.9 does)";
  else if (!is_allowed ())
    transport->why_no_passthrough = not_allowed;
  else
    {
      connection->want |= FUSE_CAP_PASSTHROUGH;
      connection->max_backing_stack_depth = STACK_DEPTH;
      transport->has_passthrough = TRUE;
    }
}

/* By hand, and not by fuse_passthrough_open(): that wants a request, and this one may be answered
 * already. Returns a positive number, or a negative errno. */
static int
open_backing (FscView *view, int fd)
{
  struct fuse_backing_map map = { .fd = fd };
  int number = ioctl (fuse_session_fd (view->session), FUSE_DEV_IOC_BACKING_OPEN, &map);

  return number > 0 ? number : number < 0 ? -errno : -EIO;
}

static void
close_backing (FscView *view, int number)
{
  guint32 argument = (guint32) number;

  ioctl (fuse_session_fd (view->session), FUSE_DEV_IOC_BACKING_CLOSE, &argument);
}

static void
set_backing (struct fuse_file_info *info, int number)
{
  info->backing_id = number;
}

#else

static void
negotiate_passthrough (FscViewTransport *transport, struct fuse_conn_info *connection)
{
  transport->why_no_passthrough = transport->wants_passthrough
                                      ? "it was built with a libfuse older than 3.17"
                                      : "it is turned off (-o no_passthrough)";
}

static int
open_backing (FscView *view, int fd)
{
  return -ENOSYS;
}

static void
close_backing (FscView *view, int number)
{
}

static void
set_backing (struct fuse_file_info *info, int number)
{
}

#endif

void
fsc_transport_negotiate (FscViewTransport *transport, struct fuse_conn_info *connection)
{
  negotiate_passthrough (transport, connection);
  connection->want &= ~(unsigned) (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  if (!transport->wants_splice)
    transport->why_no_splice = "it is turned off (-o no_splice)";
  else if ((connection->capable & FUSE_CAP_SPLICE_WRITE) == 0)
    transport->why_no_splice = "this kernel does not have it";
  else
    {
      /* Without FUSE_CAP_SPLICE_MOVE: that would take the pages away from the source. */
      connection->want |= FUSE_CAP_SPLICE_WRITE;
      transport->has_splice = TRUE;
    }
}

char *
fsc_transport_describe (const FscViewTransport *transport)
{
  GString *text = g_string_new (NULL);

  if (transport->has_passthrough)
    g_string_append (text, "files are read by passthrough");
  else
    g_string_append_printf (text, "files are read through the page cache%s; not by passthrough: %s",
                            transport->has_splice ? " by splice" : "",
                            transport->why_no_passthrough);
  if (!transport->has_splice)
    g_string_append_printf (text, "; not by splice: %s", transport->why_no_splice);
  return g_string_free (text, FALSE);
}

/* With the node's lock. */
static gboolean
pass (FscView *view, FscFile *file)
{
  FscNode *node = file->node;
  FscViewTransport *transport = &view->transport;
  int number;

  if (!transport->has_passthrough || node->n_cached > 0)
    return FALSE;
  if (node->n_passed > 0)
    return TRUE;
  if (file->has_own_handle) /* its handle cannot be that of those who read */
    return FALSE;
  if (!file->handle->is_local)
    return FALSE;
  if (file->handle->backing > 0)
    return TRUE;
  number = open_backing (view, file->handle->fd);
  if (number > 0)
    {
      file->handle->backing = number;
      return TRUE;
    }
  if (number == -EPERM)
    {
      transport->has_passthrough = FALSE;
      transport->why_no_passthrough = not_allowed; /* root, but of a user namespace */
    }
  return FALSE;
}

void
fsc_transport_open (FscView *view, FscFile *file, struct fuse_file_info *info)
{
  FscNode *node = file->node;

  g_mutex_lock (&node->lock);
  file->is_passed = pass (view, file);
  if (file->is_passed)
    {
      node->n_passed++;
      set_backing (info, node->reading->backing);
      info->keep_cache = 0; /* there is none: the kernel takes it for a mistake */
      /* Who writes comes here, and the others stay as they are: so does their backing file. */
      info->direct_io = file->has_own_handle;
      if (!file->is_sharing)
        {
          node->n_sharing++;
          file->is_sharing = TRUE;
        }
    }
  else if (!info->direct_io)
    {
      node->n_cached++;
      file->is_cached = TRUE;
    }
  g_mutex_unlock (&node->lock);
}

void
fsc_transport_close (FscView *view, FscFile *file)
{
  FscNode *node = file->node;

  g_mutex_lock (&node->lock);
  node->n_cached -= file->is_cached;
  node->n_passed -= file->is_passed;
  g_mutex_unlock (&node->lock);
  file->is_cached = file->is_passed = FALSE;
}

void
fsc_transport_close_backing (FscView *view, FscHandle *handle)
{
  if (handle->backing > 0)
    close_backing (view, handle->backing);
  handle->backing = 0;
}
