/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Private directories; see directory.h.
 */
#include "tests/harness/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#define LOCK ".lock"

/* What has no lock is just being made, or is of a test that makes its own directory: none runs for
 * so long. */
#define UNLOCKED_SECONDS 3600

static const char *const prefixes[] = { "fscache-test-", "fscache-sshfs-" };

/* In a container /tmp is often an overlayfs. */
static const char *const places[] = { "/tmp", "/dev/shm", "/var/tmp", "/run" };

static void
run (const char *const *arguments)
{
  g_spawn_sync (NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL,
                NULL, NULL, NULL, NULL, NULL, NULL);
}

static void
remove_tree (const char *path)
{
  const char *const arguments[] = { "rm", "-rf", "--one-file-system", path, NULL };

  run (arguments);
}

/* Locks */

static char *
get_lock_path (const char *path)
{
  return g_build_filename (path, LOCK, NULL);
}

/* It gets its name when it is locked already: nobody sees one that is not. */
static int
make_lock (const char *path)
{
  g_autofree char *name = get_lock_path (path);
  g_autofree char *nameless = g_strconcat (name, "-new", NULL);
  int fd = open (nameless, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  g_assert_no_errno (fd);
  g_assert_no_errno (flock (fd, LOCK_EX));
  g_assert_no_errno (rename (nameless, name));
  return fd;
}

/* Returns the lock if it is free, so that only one removes the directory; or -1. */
static int
try_lock (const char *path)
{
  g_autofree char *name = get_lock_path (path);
  int fd = open (name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

  if (fd >= 0 && flock (fd, LOCK_EX | LOCK_NB) < 0)
    {
      close (fd);
      errno = EWOULDBLOCK;
      return -1;
    }
  return fd;
}

/* What was left */

/* The points below `path` where something is mounted, the innermost last. */
static GPtrArray *
list_mounts (const char *path)
{
  GPtrArray *points = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *below = g_strconcat (path, "/", NULL);
  g_autofree char *content = NULL;
  g_auto (GStrv) lines = NULL;

  g_file_get_contents ("/proc/self/mountinfo", &content, NULL, NULL);
  lines = g_strsplit (content != NULL ? content : "", "\n", -1);
  for (char **line = lines; *line != NULL; line++)
    {
      g_auto (GStrv) fields = g_strsplit (*line, " ", 6);
      g_autofree char *point = g_strv_length (fields) > 4 ? g_strcompress (fields[4]) : NULL;

      if (point != NULL && g_str_has_prefix (point, below))
        g_ptr_array_add (points, g_steal_pointer (&point));
    }
  return points;
}

/* Lazily: its server may be dead. */
static void
unmount_below (const char *path)
{
  g_autoptr (GPtrArray) points = list_mounts (path);

  for (guint i = points->len; i > 0; i--)
    {
      const char *const arguments[] = { "fusermount3", "-uz", points->pdata[i - 1], NULL };

      if (umount2 (points->pdata[i - 1], MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
        run (arguments);
    }
}

static gboolean
is_ours (const char *path, struct stat *st)
{
  return lstat (path, st) == 0 && S_ISDIR (st->st_mode) && st->st_uid == geteuid ();
}

static void
sweep_one (const char *path)
{
  struct stat st;
  int lock;

  if (!is_ours (path, &st))
    return;
  lock = try_lock (path);
  if (lock < 0 && (errno != ENOENT || time (NULL) - st.st_mtime < UNLOCKED_SECONDS))
    return;
  unmount_below (path);
  remove_tree (path);
  if (lock >= 0)
    close (lock);
}

void
fsc_test_directory_sweep (const char *place)
{
  g_autoptr (GDir) dir = g_dir_open (place, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    for (guint i = 0; i < G_N_ELEMENTS (prefixes); i++)
      if (g_str_has_prefix (name, prefixes[i]))
        {
          g_autofree char *path = g_build_filename (place, name, NULL);

          sweep_one (path);
        }
}

/* Making */

/* Whether handles of files there are kept: on the file systems that DESIGN names. */
static gboolean
is_cacheable (const char *path)
{
  struct statfs fs;

  if (statfs (path, &fs) < 0)
    return FALSE;
  switch ((guint32) fs.f_type)
    {
    case EXT4_SUPER_MAGIC:
    case 0x58465342: /* xfs */
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
      return TRUE;
    default:
      return FALSE;
    }
}

static char *
make_in (const char *place)
{
  g_autofree char *path = g_build_filename (place, "fscache-test-XXXXXX", NULL);

  return is_cacheable (place) && g_mkdtemp (path) != NULL ? g_steal_pointer (&path) : NULL;
}

char *
fsc_test_directory_new (int *lock)
{
  static gboolean is_swept;
  char *path = make_in (g_get_tmp_dir ());

  if (!is_swept)
    {
      fsc_test_directory_sweep (g_get_tmp_dir ());
      for (guint i = 0; i < G_N_ELEMENTS (places); i++)
        fsc_test_directory_sweep (places[i]);
      is_swept = TRUE;
    }
  for (guint i = 0; i < G_N_ELEMENTS (places) && path == NULL; i++)
    path = make_in (places[i]);
  if (path == NULL)
    g_error ("There is no directory on a file system whose files are kept (ext4, xfs, tmpfs ...)");
  *lock = make_lock (path);
  return path;
}

void
fsc_test_directory_free (char *path, int lock)
{
  remove_tree (path);
  close (lock);
  g_free (path);
}
