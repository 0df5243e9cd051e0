/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The place where the view is mounted; see mountpoint.h.
 */
#include "fscache/view/mountpoint.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/mountinfo.h"

#define HELPER "fusermount3"

gboolean
fsc_mountpoint_has_helper (void)
{
  g_autofree char *path = g_find_program_in_path (HELPER);

  return path != NULL;
}

static gboolean
is_view_at (char *text, const char *path)
{
  g_autofree char *mounted = NULL;
  FscMountLine line;

  if (!fsc_mountinfo_parse (text, &line) || strcmp (line.type, FSC_MOUNT_TYPE_VIEW) != 0)
    return FALSE;
  mounted = g_strcompress (line.path);
  return strcmp (mounted, path) == 0;
}

static gboolean
has_view (const char *path)
{
  g_autofree char *content = NULL;
  g_auto (GStrv) lines = NULL;
  gboolean has = FALSE;

  if (!g_file_get_contents ("/proc/self/mountinfo", &content, NULL, NULL))
    return FALSE;
  lines = g_strsplit (content, "\n", -1);
  for (guint i = 0; lines[i] != NULL && !has; i++)
    has = is_view_at (lines[i], path);
  return has;
}

static gboolean
unmount (const char *path, GError **error)
{
  const char *arguments[] = { HELPER, "-u", "-z", "-q", "--", path, NULL };
  int status;

  if (geteuid () == 0)
    {
      if (umount2 (path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        return TRUE;
      g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "cannot unmount %s: %s", path,
                   g_strerror (errno));
      return FALSE;
    }
  if (!g_spawn_sync (NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                     &status, error))
    return FALSE;
  return g_spawn_check_wait_status (status, error);
}

/* The last component may be a dead mount, which cannot be looked at. */
static char *
resolve (const char *path)
{
  g_autofree char *absolute = g_canonicalize_filename (path, NULL);
  g_autofree char *directory = g_path_get_dirname (absolute);
  g_autofree char *name = g_path_get_basename (absolute);
  char *real = realpath (absolute, NULL);
  char *resolved;

  if (real != NULL)
    resolved = g_strdup (real);
  else if ((real = realpath (directory, NULL)) != NULL)
    resolved = g_build_filename (real, name, NULL);
  else
    resolved = g_strdup (absolute);
  free (real);
  return resolved;
}

char *
fsc_mountpoint_prepare (const char *path, GError **error)
{
  g_autofree char *real = resolve (path);
  struct stat st;
  gboolean is_there = stat (real, &st) == 0;

  if (!is_there && (errno == ENOTCONN || errno == ECONNABORTED) && has_view (real))
    {
      if (!unmount (real, error))
        return NULL;
      is_there = stat (real, &st) == 0;
    }
  else if (is_there && has_view (real))
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                   "%s is a view already (fusermount3 -u ends it)", real);
      return NULL;
    }
  if (!is_there)
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "%s: %s", real,
                 g_strerror (errno));
  else if (!S_ISDIR (st.st_mode))
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_DIRECTORY, "%s is no directory", real);
  else
    return g_steal_pointer (&real);
  return NULL;
}
