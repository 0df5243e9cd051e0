/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Paths that do not lead out of a tree; see beneath.h.
 */
#include "tests/stress/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int
diff_beneath_open (int dir, const char *path, int flags)
{
  struct open_how how = { .flags = (guint64) (flags | O_CLOEXEC),
                          .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
  int fd = (int) syscall (SYS_openat2, dir, path, &how, sizeof how);

  return fd < 0 ? -errno : fd;
}

char *
diff_beneath_expand (const char *tree, const char *target)
{
  return target[0] == '@' ? g_strconcat (tree, target + 1, NULL) : g_strdup (target);
}

static void
empty (DIR *dir)
{
  struct dirent *entry;

  while ((entry = readdir (dir)) != NULL)
    if (!g_str_equal (entry->d_name, ".") && !g_str_equal (entry->d_name, ".."))
      diff_beneath_remove (dirfd (dir), entry->d_name);
}

int
diff_beneath_remove (int dir, const char *name)
{
  int fd;
  DIR *stream;

  if (unlinkat (dir, name, 0) == 0)
    return 0;
  if (errno != EISDIR)
    return -errno;
  /* A mount point cannot be removed: what is on it is not to go either. */
  fd = diff_beneath_open (dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  stream = fd >= 0 ? fdopendir (fd) : NULL;
  if (stream != NULL)
    {
      empty (stream);
      closedir (stream);
    }
  return unlinkat (dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

GPtrArray *
diff_beneath_list_mounts (const char *tree)
{
  GPtrArray *mounts = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *prefix = g_strconcat (tree, "/", NULL);
  g_autofree char *content = NULL;
  g_auto (GStrv) lines = NULL;

  g_file_get_contents ("/proc/self/mountinfo", &content, NULL, NULL);
  lines = g_strsplit (content != NULL ? content : "", "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    {
      g_auto (GStrv) words = g_strsplit (lines[i], " ", 6);

      if (g_strv_length (words) == 6 && g_str_has_prefix (words[4], prefix))
        g_ptr_array_add (mounts, g_strdup (words[4] + strlen (prefix)));
    }
  return mounts;
}
