/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is cached; see entry.h.
 */
#include "fscache/view/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fscache/view/look.h"
#include "fscache/view/source.h"

#define LIST_USED_MIN (G_USEC_PER_SEC / 10)
#define LIST_USED_FACTOR 10

/* A directory of which the last entry was dropped here can be seen for so long, or until it is
 * removed, too: rm -r expects to find it. */
#define EMPTIED_TIME G_USEC_PER_SEC

typedef struct
{
  char *path; /* without "cached/" */
  char *uri;
  gboolean is_directory;
  guint64 age_ms, idle_ms;
} Entry;

typedef struct
{
  GArray *entries; /* of Entry, in an order in which what is below a name follows it at once */
  gint64 taken, until;
  int n_references; /* atomic */
} Snapshot;

struct FscSnapshots
{
  GMutex lock;
  Snapshot *last;      /* or NULL */
  GHashTable *emptied; /* paths of directories, and until when they can be seen */
};

/* The list */

static void
clear_entry (gpointer data)
{
  Entry *entry = data;

  g_free (entry->path);
  g_free (entry->uri);
}

static void
unref_snapshot (Snapshot *snapshot)
{
  if (!g_atomic_int_dec_and_test (&snapshot->n_references))
    return;
  g_array_unref (snapshot->entries);
  g_free (snapshot);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Snapshot, unref_snapshot)

static void
collect (const FscacheEntry *info, void *data)
{
  Entry entry = { .age_ms = info->age_ms, .idle_ms = info->idle_ms };

  if (info->is_negative || (info->flags & O_PATH) != 0)
    return;
  entry.path = fsc_tree_from_uri (info->uri);
  if (entry.path == NULL)
    return;
  entry.uri = g_strdup (info->uri);
  entry.is_directory = info->kind == FSCACHE_KIND_DIRECTORY;
  g_array_append_val ((GArray *) data, entry);
}

/* As if '/' came before all other bytes. */
static int
compare_paths (const char *a, const char *b)
{
  while (*a == *b && *a != '\0')
    {
      a++;
      b++;
    }
  if (*a == '/' && *b != '\0')
    return -1;
  if (*b == '/' && *a != '\0')
    return 1;
  return (guchar) *a - (guchar) *b;
}

static int
compare_entries (gconstpointer a, gconstpointer b)
{
  return compare_paths (((const Entry *) a)->path, ((const Entry *) b)->path);
}

static int
take_snapshot (FscCaller *caller, Snapshot **snapshot)
{
  g_autoptr (GArray) entries = g_array_new (FALSE, FALSE, sizeof (Entry));
  gint64 since = g_get_monotonic_time (), took;
  FscacheReply reply;

  g_array_set_clear_func (entries, clear_entry);
  if (fscache_list (caller->client, NULL, collect, entries, &reply) < 0)
    return fsc_source_get_error (&reply);
  g_array_sort (entries, compare_entries);
  took = g_get_monotonic_time () - since;
  *snapshot = g_new0 (Snapshot, 1);
  (*snapshot)->entries = g_steal_pointer (&entries);
  (*snapshot)->taken = since + took;
  (*snapshot)->until = since + took + MAX (took * LIST_USED_FACTOR, LIST_USED_MIN);
  (*snapshot)->n_references = 1;
  return 0;
}

FscSnapshots *
fsc_entry_snapshots_new (void)
{
  FscSnapshots *snapshots = g_new0 (FscSnapshots, 1);

  snapshots->emptied = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  return snapshots;
}

void
fsc_entry_snapshots_free (FscSnapshots *snapshots)
{
  g_clear_pointer (&snapshots->last, unref_snapshot);
  g_hash_table_unref (snapshots->emptied);
  g_free (snapshots);
}

static gboolean
is_over (gpointer path, gpointer until, gpointer now)
{
  return *(gint64 *) until < *(gint64 *) now;
}

/* An entry of this name was dropped. */
static void
remember_directories (FscSnapshots *snapshots, const char *name)
{
  gint64 now = g_get_monotonic_time (), until = now + EMPTIED_TIME;

  g_mutex_lock (&snapshots->lock);
  g_hash_table_foreach_remove (snapshots->emptied, is_over, &now);
  for (const char *end = strchr (name, '/'); end != NULL; end = strchr (end + 1, '/'))
    g_hash_table_replace (snapshots->emptied, g_strndup (name, (gsize) (end - name)),
                          g_memdup2 (&until, sizeof until));
  g_mutex_unlock (&snapshots->lock);
}

static void
forget_directory (FscSnapshots *snapshots, const char *name)
{
  g_mutex_lock (&snapshots->lock);
  g_hash_table_remove (snapshots->emptied, name);
  g_mutex_unlock (&snapshots->lock);
}

static gboolean
was_emptied (FscSnapshots *snapshots, const char *name)
{
  const gint64 *until;
  gboolean was;

  g_mutex_lock (&snapshots->lock);
  until = g_hash_table_lookup (snapshots->emptied, name);
  was = until != NULL && *until >= g_get_monotonic_time ();
  g_mutex_unlock (&snapshots->lock);
  return was;
}

/* Whoever finds it too old makes another one; the others wait for that. */
static int
get_snapshot (FscCaller *caller, Snapshot **snapshot)
{
  int error = fsc_caller_connect (caller);
  FscSnapshots *snapshots = caller->snapshots;

  if (error < 0)
    return error;
  g_mutex_lock (&snapshots->lock);
  if (snapshots->last == NULL || caller->view->is_exact
      || g_get_monotonic_time () >= snapshots->last->until)
    {
      g_clear_pointer (&snapshots->last, unref_snapshot);
      error = take_snapshot (caller, &snapshots->last);
    }
  if (error == 0)
    {
      g_atomic_int_inc (&snapshots->last->n_references);
      *snapshot = snapshots->last;
    }
  g_mutex_unlock (&snapshots->lock);
  return error;
}

static void
forget_snapshot (FscCaller *caller)
{
  if (fsc_caller_connect (caller) < 0)
    return;
  g_mutex_lock (&caller->snapshots->lock);
  g_clear_pointer (&caller->snapshots->last, unref_snapshot);
  g_mutex_unlock (&caller->snapshots->lock);
}

/* The first that is not before `path`. */
static guint
find (const Snapshot *snapshot, const char *path)
{
  guint low = 0, high = snapshot->entries->len;

  while (low < high)
    {
      guint middle = low + (high - low) / 2;

      if (compare_paths (g_array_index (snapshot->entries, Entry, middle).path, path) < 0)
        low = middle + 1;
      else
        high = middle;
    }
  return low;
}

static const Entry *
get (const Snapshot *snapshot, guint i)
{
  return i < snapshot->entries->len ? &g_array_index (snapshot->entries, Entry, i) : NULL;
}

/* Whether `entry` is that of the path or lies below it. */
static gboolean
is_at_or_below (const Entry *entry, const char *path, gsize length)
{
  return entry != NULL
         && (length == 0
             || (strncmp (entry->path, path, length) == 0
                 && (entry->path[length] == '/' || entry->path[length] == '\0')));
}

static gboolean
is_below (const Entry *entry, const char *path, gsize length)
{
  return is_at_or_below (entry, path, length) && (length == 0 || entry->path[length] == '/');
}

/* Looking */

static void
set_time (struct timespec *time, guint64 ago_ms)
{
  gint64 now = g_get_real_time () / 1000 - (gint64) ago_ms;

  *time = (struct timespec){ .tv_sec = now / 1000, .tv_nsec = now % 1000 * 1000000 };
}

int
fsc_entry_get_attributes (FscCaller *caller, const char *path, struct stat *attributes)
{
  g_autoptr (Snapshot) snapshot = NULL;
  const char *name = fsc_tree_skip_branch (path);
  gsize length = strlen (name);
  gboolean is_directory = fsc_tree_is_scheme (path);
  const Entry *first, *entry;
  guint64 age_ms, idle_ms, since_ms;
  guint i;
  int error = get_snapshot (caller, &snapshot);

  if (error < 0)
    return error;
  i = find (snapshot, name);
  first = get (snapshot, i);
  if (!is_at_or_below (first, name, length))
    {
      if (!was_emptied (caller->snapshots, name))
        return -ENOENT;
      fsc_look_fill_own (caller->view, path, S_IFDIR | 0755, attributes);
      return 0;
    }
  age_ms = first->age_ms;
  idle_ms = first->idle_ms;
  for (entry = first; is_at_or_below (entry, name, length); entry = get (snapshot, ++i))
    {
      is_directory |= entry->is_directory || is_below (entry, name, length);
      if (is_below (entry, name, length))
        break;
      idle_ms = MIN (idle_ms, entry->idle_ms);
    }
  fsc_look_fill_own (caller->view, path, is_directory ? S_IFDIR | 0755 : S_IFREG | 0444,
                     attributes);
  since_ms = (guint64) (g_get_monotonic_time () - snapshot->taken) / 1000;
  set_time (&attributes->st_atim, idle_ms + since_ms);
  set_time (&attributes->st_mtim, age_ms + since_ms);
  attributes->st_ctim = attributes->st_mtim;
  return 0;
}

int
fsc_entry_list (FscCaller *caller, const char *path, FscFolder *folder)
{
  g_autoptr (Snapshot) snapshot = NULL;
  const char *name = fsc_tree_skip_branch (path);
  gsize length = strlen (name), skip = length > 0 ? length + 1 : 0;
  int error = get_snapshot (caller, &snapshot);
  guint i;

  if (error < 0)
    return error;
  i = find (snapshot, name);
  while (is_at_or_below (get (snapshot, i), name, length))
    {
      const Entry *entry = get (snapshot, i);
      g_autofree char *child = NULL;
      g_autofree char *child_path = NULL;
      gboolean is_directory = skip == 0;

      i++;
      if (!is_below (entry, name, length))
        continue;
      child = g_strndup (entry->path + skip, strcspn (entry->path + skip, "/"));
      child_path = g_strndup (entry->path, skip + strlen (child));
      is_directory |= entry->is_directory;
      for (i--; is_at_or_below (get (snapshot, i), child_path, strlen (child_path)); i++)
        is_directory |= is_below (get (snapshot, i), child_path, strlen (child_path));
      fsc_folder_add (folder, child, is_directory ? S_IFDIR : S_IFREG);
    }
  return 0;
}

/* Dropping */

/* Returns how many names were dropped. */
static int
drop (FscCaller *caller, const char *path)
{
  g_autoptr (Snapshot) snapshot = NULL;
  const char *name = fsc_tree_skip_branch (path);
  const char *last = NULL;
  FscacheReply reply;
  int error, n = 0;

  forget_snapshot (caller);
  error = get_snapshot (caller, &snapshot);
  if (error < 0)
    return error;
  for (guint i = find (snapshot, name);; i++)
    {
      const Entry *entry = get (snapshot, i);

      if (entry == NULL || strcmp (entry->path, name) != 0)
        break;
      if (last != NULL && strcmp (last, entry->uri) == 0)
        continue; /* another kind of handle of the same name */
      last = entry->uri;
      if (fscache_drop (caller->client, entry->uri, &reply) < 0)
        return fsc_source_get_error (&reply);
      n++;
    }
  forget_snapshot (caller);
  return n;
}

static gboolean
has_entries_below (FscCaller *caller, const char *path)
{
  g_autoptr (Snapshot) snapshot = NULL;
  const char *name = fsc_tree_skip_branch (path);
  const Entry *entry;
  guint i;

  forget_snapshot (caller);
  if (get_snapshot (caller, &snapshot) < 0)
    return FALSE;
  for (i = find (snapshot, name); (entry = get (snapshot, i)) != NULL; i++)
    if (strcmp (entry->path, name) != 0)
      break;
  return is_below (entry, name, strlen (name));
}

void
fsc_entry_unlink (FscCall *call)
{
  g_autofree char *path = fsc_tree_join (call->node->path, call->name);
  int n;

  if (call->node->place != FSC_PLACE_ENTRY)
    {
      fsc_call_finish (call, call->node->place == FSC_PLACE_SOURCE ? EOPNOTSUPP : EPERM);
      return;
    }
  n = drop (&call->caller, path);
  if (n > 0)
    remember_directories (call->caller.snapshots, fsc_tree_skip_branch (path));
  fsc_call_finish (call, n < 0 ? n : n == 0 ? ENOENT : 0);
}

/* A directory of which nothing is left is gone already: rm -r need not know. */
void
fsc_entry_remove_directory (FscCall *call)
{
  g_autofree char *path = fsc_tree_join (call->node->path, call->name);
  int n;

  if (call->node->place != FSC_PLACE_ENTRY)
    fsc_call_finish (call, call->node->place == FSC_PLACE_SOURCE ? EOPNOTSUPP : EPERM);
  else if (has_entries_below (&call->caller, path))
    fsc_call_finish (call, ENOTEMPTY);
  else
    {
      n = drop (&call->caller, path);
      if (n >= 0)
        forget_directory (call->caller.snapshots, fsc_tree_skip_branch (path));
      fsc_call_finish (call, n < 0 ? n : 0);
    }
}
