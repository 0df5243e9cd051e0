/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Supplementary groups; see groups.h.
 */
#include "fscache/view/groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
compare_groups (gconstpointer a, gconstpointer b)
{
  gid_t x = *(const gid_t *) a, y = *(const gid_t *) b;

  return (x > y) - (x < y);
}

/* What stands behind "\nNAME:" in the text of a status of /proc, or "". */
static const char *
find_value (const char *text, const char *name)
{
  const char *found = strstr (text, name);

  return found != NULL ? found + strlen (name) : "";
}

/* Of a line with the real, effective, saved and file system's ID: the first and the last. */
static gboolean
find_ids (const char *text, const char *name, guint ids[2])
{
  return sscanf (find_value (text, name), "%u %*u %*u %u", &ids[0], &ids[1]) == 2;
}

/* Whether this process (or thread) may ask as the caller: with the IDs that it has for files, or
 * with its real ones, as in access(). */
static gboolean
is_of (uid_t uid, gid_t gid, const char *text)
{
  guint uids[2], gids[2];

  return find_ids (text, "\nUid:", uids) && find_ids (text, "\nGid:", gids)
         && ((uids[0] == uid && gids[0] == gid) || (uids[1] == uid && gids[1] == gid));
}

/* Whether /proc has the numbers that the kernel gives callers: a view in a PID namespace may see
 * the /proc of another one. */
static gboolean
has_own_proc (void)
{
  g_autofree char *self = g_file_read_link ("/proc/self", NULL);

  return self != NULL && atoi (self) == getpid ();
}

void
fsc_groups_reduce (GArray *groups, gid_t gid)
{
  guint n = 0;

  g_array_sort (groups, compare_groups);
  for (guint i = 0; i < groups->len; i++)
    if (g_array_index (groups, gid_t, i) != gid)
      g_array_index (groups, gid_t, n++) = g_array_index (groups, gid_t, i);
  g_array_set_size (groups, n);
}

static GArray *
make_groups (void)
{
  return g_array_new (FALSE, FALSE, sizeof (gid_t));
}

GArray *
fsc_groups_read (pid_t pid, uid_t uid, gid_t gid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/task/%d/status", (int) pid, (int) pid);
  g_autofree char *text = NULL;
  GArray *groups;
  const char *list;
  char *end;

  if (pid == 0 || !has_own_proc () || !g_file_get_contents (path, &text, NULL, NULL)
      || !is_of (uid, gid, text))
    return NULL;
  groups = make_groups ();
  list = find_value (text, "\nGroups:");
  list += strspn (list, "\t ");
  while (g_ascii_isdigit (*list))
    {
      gid_t group = (gid_t) strtoul (list, &end, 10);

      g_array_append_val (groups, group);
      list = end + strspn (end, " ");
    }
  g_array_sort (groups, compare_groups);
  return groups;
}

GArray *
fsc_groups_get_own (void)
{
  GArray *groups = make_groups ();
  int n = MAX (getgroups (0, NULL), 0);

  g_array_set_size (groups, (guint) n);
  n = getgroups (n, (gid_t *) (gpointer) groups->data);
  g_array_set_size (groups, (guint) MAX (n, 0));
  return groups;
}
