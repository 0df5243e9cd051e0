/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A FUSE server of a test's own; see fuse.h.
 */
#include "tests/harness/fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fuse.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum
{
  ROOT = FUSE_ROOT_ID,
  FILE_NODE,
  LINK_NODE
};

static void
fuse_reply (int fd, guint64 unique, int error, const void *data, size_t length)
{
  guint8 buffer[4096];
  struct fuse_out_header header
      = { .len = (guint32) (sizeof header + length), .error = -error, .unique = unique };

  memcpy (buffer, &header, sizeof header);
  if (length > 0)
    memcpy (buffer + sizeof header, data, length);
  if (write (fd, buffer, header.len) < 0 && errno != ENOENT)
    _exit (1);
}

static struct fuse_attr
fuse_attr_of (guint64 node)
{
  return (struct fuse_attr){ .ino = node,
                             .mode = node == ROOT        ? S_IFDIR | 0755
                                     : node == FILE_NODE ? S_IFREG | 0644
                                                         : S_IFLNK | 0777,
                             .nlink = 1,
                             .size = 4,
                             .blksize = 4096 };
}

static struct fuse_entry_out
fuse_look_up (const char *name, const char *target)
{
  guint64 node = target != NULL && g_str_equal (name, "out") ? LINK_NODE : FILE_NODE;

  return (struct fuse_entry_out){ .nodeid = node, .attr = fuse_attr_of (node) };
}

static void
fuse_serve_one (int fd, const struct fuse_in_header *in, const char *data, const char *target)
{
  struct fuse_init_out init
      = { .major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 4096, .max_write = 4096 };
  struct fuse_entry_out entry;
  struct fuse_attr_out attr = { .attr = fuse_attr_of (in->nodeid) };
  struct fuse_open_out opened = { .fh = 1 };

  switch (in->opcode)
    {
    case FUSE_INIT:
      fuse_reply (fd, in->unique, 0, &init, sizeof init);
      break;
    case FUSE_LOOKUP:
      entry = fuse_look_up (data, target);
      fuse_reply (fd, in->unique, 0, &entry, sizeof entry);
      break;
    case FUSE_GETATTR:
      fuse_reply (fd, in->unique, 0, &attr, sizeof attr);
      break;
    case FUSE_READLINK:
      fuse_reply (fd, in->unique, 0, target, strlen (target));
      break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
      fuse_reply (fd, in->unique, 0, &opened, sizeof opened);
      break;
    case FUSE_READ:
      fuse_reply (fd, in->unique, 0, "dead", 4);
      break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      break;
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      fuse_reply (fd, in->unique, 0, NULL, 0);
      break;
    default:
      fuse_reply (fd, in->unique, ENOSYS, NULL, 0);
    }
}

static void
fuse_serve (int fd, const char *target)
{
  static guint8 buffer[FUSE_MIN_READ_BUFFER + 4096];

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  for (;;)
    {
      ssize_t length = read (fd, buffer, sizeof buffer);

      if (length >= (ssize_t) sizeof (struct fuse_in_header))
        fuse_serve_one (fd, (const void *) buffer,
                        (const char *) buffer + sizeof (struct fuse_in_header), target);
      else if (errno != EINTR && errno != ENOENT)
        _exit (0); /* unmounted */
    }
}

pid_t
fsc_test_mount_fuse_as (const char *path, const char *type, const char *target)
{
  int fd = open ("/dev/fuse", O_RDWR | O_CLOEXEC);
  g_autofree char *options = g_strdup_printf (
      "fd=%d,rootmode=40000,user_id=%u,group_id=%u,allow_other", fd, getuid (), getgid ());
  pid_t server;

  if (fd < 0 || mount ("test", path, type, 0, options) < 0)
    {
      if (fd >= 0)
        close (fd);
      return 0;
    }
  server = fork ();
  g_assert_cmpint (server, >=, 0);
  if (server == 0)
    fuse_serve (fd, target);
  close (fd);
  return server;
}

pid_t
fsc_test_mount_fuse (const char *path)
{
  return fsc_test_mount_fuse_as (path, "fuse", NULL);
}
