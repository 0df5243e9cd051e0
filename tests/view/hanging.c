/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A file system that hangs when its process is stopped: each name that begins with 'f' is a file of
 * 1 MiB, of which each byte is the last one of its name, and each that begins with 'd' a directory.
 * It asks the kernel to remember nothing, and stops itself when a file is to be made for
 * the first time.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>

#define SIZE (1024 * 1024)

static int
get_attributes (const char *path, struct stat *st, struct fuse_file_info *info)
{
  const char *name = strrchr (path, '/') + 1;

  *st = (struct stat){ .st_mode = S_IFDIR | 0755, .st_nlink = 1 };
  if (name[0] == 'f')
    *st = (struct stat){ .st_mode = S_IFREG | 0644, .st_nlink = 1, .st_size = SIZE };
  return name[0] == 'f' || name[0] == 'd' || name[0] == '\0' ? 0 : -ENOENT;
}

static int
read_file (const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info)
{
  if (offset >= SIZE)
    return 0;
  if (size > (size_t) (SIZE - offset))
    size = (size_t) (SIZE - offset);
  memset (buffer, path[strlen (path) - 1], size);
  return (int) size;
}

static int
write_file (const char *path, const char *buffer, size_t size, off_t offset,
            struct fuse_file_info *info)
{
  return (int) size;
}

static int
create (const char *path, mode_t mode, struct fuse_file_info *info)
{
  static int n_created;

  if (n_created++ == 0)
    raise (SIGSTOP);
  return -ENOSPC;
}

/* Closing hangs, too, if the mount point is called "closing". */
static int
flush (const char *path, struct fuse_file_info *info)
{
  return 0;
}

static void *
init (struct fuse_conn_info *connection, struct fuse_config *config)
{
  config->direct_io = 1;
  config->entry_timeout = config->attr_timeout = 0;
  return NULL;
}

int
main (int argc, char **argv)
{
  struct fuse_operations operations = { .init = init,
                                        .getattr = get_attributes,
                                        .create = create,
                                        .read = read_file,
                                        .write = write_file };
  char name[] = "hanging", foreground[] = "-f", single[] = "-s";
  char *arguments[] = { name, foreground, single, argv[1], NULL };

  if (strcmp (strrchr (argv[1], '/'), "/closing") == 0)
    operations.flush = flush;
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  return fuse_main (4, arguments, &operations, NULL);
}
