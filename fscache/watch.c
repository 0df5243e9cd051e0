/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The trie of watches; see watch.h.
 */
#include "fscache/watch.h"

#include <errno.h>
#include <gio/gio.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define JOURNAL 4096
#define BUFFER 65536
#define EVENT_MAX (sizeof (struct inotify_event) + NAME_MAX + 1)

/* A directory in which names are looked up. */
typedef struct
{
  int wd;
  FscWatchNode *nodes;
} Directory;

/* A step: in this directory, reached by the parent's way, this name was looked up. It lives as long
 * as it has children or somebody watches. What is found at the last step has a watch of its own. */
struct FscWatchNode
{
  FscWatchNode *parent, *children, *next, *previous;       /* the trie */
  FscWatchNode *next_in_directory, *previous_in_directory; /* all names in a directory */
  FscWatchNode *same_name; /* by another way: the same name in the same directory */
  FscWatchNode *same_file; /* by another name or way: the same file */
  Directory *directory;
  FscWatch *watches;
  int file; /* watch descriptor; 0: it is not the last step for anybody */
  guint32 hash;
  guint16 length;
  char name[];
};

typedef struct
{
  int wd;
  guint32 hash; /* of the name; 0: all of the directory, or the file */
} Event;

struct FscWatches
{
  int fd;
  FscWatchFunc func;
  gpointer data;
  FscWatchCounters counters;
  GHashTable *directories; /* of Directory, by wd */
  GHashTable *names;       /* of FscWatchNode, by directory and name: the first of the same */
  GHashTable *files;       /* of FscWatchNode, by file: the first of the same */
  guint32 seed;
  guint64 sequence;       /* of the last event */
  guint64 lost;           /* of the last event that may have been any */
  Event journal[JOURNAL]; /* the last events; by sequence */
};

/* Tables */

static guint32
hash_name (const FscWatches *watches, const char *name, size_t length)
{
  guint32 hash = watches->seed;

  for (size_t i = 0; i < length; i++)
    hash = (hash ^ (guint8) name[i]) * 16777619u;
  return MAX (hash, 1);
}

static guint
name_hash (gconstpointer data)
{
  const FscWatchNode *node = data;

  return node->hash + (guint) node->directory->wd;
}

static gboolean
name_equal (gconstpointer a, gconstpointer b)
{
  const FscWatchNode *x = a, *y = b;

  return x->hash == y->hash && x->directory == y->directory && x->length == y->length
         && memcmp (x->name, y->name, x->length) == 0;
}

static guint
file_hash (gconstpointer data)
{
  return (guint) ((const FscWatchNode *) data)->file;
}

static gboolean
file_equal (gconstpointer a, gconstpointer b)
{
  return ((const FscWatchNode *) a)->file == ((const FscWatchNode *) b)->file;
}

/* The nodes of a name in a directory, whichever way led there. */
static FscWatchNode *
find_name (const FscWatches *watches, Directory *directory, FscBytes name)
{
  union
  {
    FscWatchNode node;
    char space[sizeof (FscWatchNode) + NAME_MAX + 1];
  } key;

  key.node.directory = directory;
  key.node.hash = hash_name (watches, name.data, name.length);
  key.node.length = (guint16) name.length;
  memcpy (key.node.name, name.data, name.length);
  return g_hash_table_lookup (watches->names, &key);
}

static FscWatchNode *
find_file (const FscWatches *watches, int wd)
{
  const FscWatchNode key = { .file = wd };

  return g_hash_table_lookup (watches->files, &key);
}

static Directory *
find_directory (const FscWatches *watches, int wd)
{
  return g_hash_table_lookup (watches->directories, GINT_TO_POINTER (wd));
}

/* Adds a node to, or takes it out of, those that a table has as the same. `same` is the offset of
 * the link. */

static FscWatchNode **
get_link (FscWatchNode *node, size_t same)
{
  return (FscWatchNode **) ((char *) node + same);
}

static void
table_add (GHashTable *table, FscWatchNode *node, size_t same)
{
  FscWatchNode *first = g_hash_table_lookup (table, node);

  if (first == NULL)
    {
      g_hash_table_add (table, node);
      return;
    }
  *get_link (node, same) = *get_link (first, same);
  *get_link (first, same) = node;
}

static void
table_remove (GHashTable *table, FscWatchNode *node, size_t same)
{
  FscWatchNode *first = g_hash_table_lookup (table, node);

  if (first == node)
    {
      g_hash_table_remove (table, node);
      if (*get_link (node, same) != NULL)
        g_hash_table_add (table, *get_link (node, same));
    }
  else
    {
      while (*get_link (first, same) != node)
        first = *get_link (first, same);
      *get_link (first, same) = *get_link (node, same);
    }
  *get_link (node, same) = NULL;
}

/* The journal */

static void
note (FscWatches *watches, int wd, guint32 hash)
{
  watches->journal[++watches->sequence % JOURNAL] = (Event){ .wd = wd, .hash = hash };
}

static void
note_lost (FscWatches *watches)
{
  watches->lost = ++watches->sequence;
}

static gboolean
is_concerned (const FscWatches *watches, const Event *event, const FscStep *steps, guint n_steps)
{
  for (guint i = 0; i < n_steps; i++)
    if (event->wd == steps[i].wd
        && (event->hash == 0
            || event->hash == hash_name (watches, steps[i].name.data, steps[i].name.length)))
      return TRUE;
  return FALSE;
}

static gboolean
has_changed (const FscWatches *watches, const FscStep *steps, guint n_steps, guint64 since)
{
  if (watches->lost > since || watches->sequence - since >= JOURNAL)
    return TRUE;
  for (guint64 i = since + 1; i <= watches->sequence; i++)
    if (is_concerned (watches, &watches->journal[i % JOURNAL], steps, n_steps))
      return TRUE;
  return FALSE;
}

/* Ends a watch that is not needed any more. An opener on its way may just have been given it. */
static void
end_watch (FscWatches *watches, int wd)
{
  if (find_directory (watches, wd) != NULL || find_file (watches, wd) != NULL)
    return;
  inotify_rm_watch (watches->fd, wd); /* fails if the kernel has removed it */
  note (watches, wd, 0);
}

void
fsc_watches_forget (FscWatches *watches, const FscStep *steps, guint n_steps)
{
  for (guint i = 0; i < n_steps; i++)
    end_watch (watches, steps[i].wd);
}

/* Which watches there are, only the kernel knows: "inotify wd:1f ino:2 sdev:fe00000 ..." */
void
fsc_watches_end_strays (FscWatches *watches)
{
  static const char head[] = "inotify wd:";
  g_autofree char *path = g_strdup_printf ("/proc/self/fdinfo/%d", watches->fd);
  g_autofree char *content = NULL;

  if (!g_file_get_contents (path, &content, NULL, NULL))
    return;
  for (const char *at = content; (at = strstr (at, head)) != NULL; at++)
    end_watch (watches, (int) strtoul (at + strlen (head), NULL, 16));
}

/* Nodes */

static Directory *
take_directory (FscWatches *watches, int wd)
{
  Directory *directory = find_directory (watches, wd);

  if (directory == NULL)
    {
      directory = g_new0 (Directory, 1);
      directory->wd = wd;
      g_hash_table_insert (watches->directories, GINT_TO_POINTER (wd), directory);
      watches->counters.directories++;
    }
  return directory;
}

static FscWatchNode *
node_new (FscWatches *watches, FscWatchNode *parent, const FscStep *step)
{
  FscWatchNode *node = g_malloc0 (sizeof *node + step->name.length);

  node->directory = take_directory (watches, step->wd);
  node->hash = hash_name (watches, step->name.data, step->name.length);
  node->length = (guint16) step->name.length;
  memcpy (node->name, step->name.data, step->name.length);
  table_add (watches->names, node, offsetof (FscWatchNode, same_name));

  node->next_in_directory = node->directory->nodes;
  if (node->next_in_directory != NULL)
    node->next_in_directory->previous_in_directory = node;
  node->directory->nodes = node;

  node->parent = parent;
  if (parent != NULL)
    {
      node->next = parent->children;
      if (node->next != NULL)
        node->next->previous = node;
      parent->children = node;
    }
  return node;
}

static void
leave_directory (FscWatches *watches, FscWatchNode *node)
{
  Directory *directory = node->directory;

  table_remove (watches->names, node, offsetof (FscWatchNode, same_name));
  if (node->next_in_directory != NULL)
    node->next_in_directory->previous_in_directory = node->previous_in_directory;
  if (node->previous_in_directory != NULL)
    node->previous_in_directory->next_in_directory = node->next_in_directory;
  else
    directory->nodes = node->next_in_directory;
  if (directory->nodes != NULL)
    return;

  g_hash_table_remove (watches->directories, GINT_TO_POINTER (directory->wd));
  watches->counters.directories--;
  end_watch (watches, directory->wd);
  g_free (directory);
}

static void
leave_file (FscWatches *watches, FscWatchNode *node)
{
  int wd = node->file;

  if (wd == 0)
    return;
  table_remove (watches->files, node, offsetof (FscWatchNode, same_file));
  watches->counters.files--;
  node->file = 0;
  end_watch (watches, wd);
}

static void
leave_parent (FscWatchNode *node)
{
  if (node->next != NULL)
    node->next->previous = node->previous;
  if (node->previous != NULL)
    node->previous->next = node->next;
  else if (node->parent != NULL)
    node->parent->children = node->next;
}

/* Frees nodes, from the last step upwards, that nobody needs any more. */
static void
prune (FscWatches *watches, FscWatchNode *node)
{
  while (node != NULL && node->children == NULL && node->watches == NULL)
    {
      FscWatchNode *parent = node->parent;

      leave_directory (watches, node);
      leave_parent (node);
      g_free (node);
      node = parent;
    }
}

/* Watching */

static FscWatchNode *
find_child (const FscWatches *watches, const FscWatchNode *parent, const FscStep *step)
{
  Directory *directory = find_directory (watches, step->wd);
  FscWatchNode *node = directory != NULL ? find_name (watches, directory, step->name) : NULL;

  while (node != NULL && node->parent != parent)
    node = node->same_name;
  return node;
}

gboolean
fsc_watches_add (FscWatches *watches, FscWatch *watch, const FscStep *steps, guint n_steps,
                 guint64 since)
{
  const FscStep *last = &steps[n_steps - 1];
  FscWatchNode *node = NULL;

  fsc_watches_remove (watches, watch);
  if (n_steps < 2 || has_changed (watches, steps, n_steps, since))
    {
      fsc_watches_forget (watches, steps, n_steps);
      return FALSE;
    }
  for (guint i = 0; i < n_steps - 1; i++)
    {
      FscWatchNode *child = find_child (watches, node, &steps[i]);

      node = child != NULL ? child : node_new (watches, node, &steps[i]);
    }
  if (last->wd != node->directory->wd && node->file != 0 && node->file != last->wd)
    {
      /* Others watch another file: there is an event to be read that tells why. */
      fsc_watches_forget (watches, last, 1);
      return FALSE;
    }
  if (last->wd != node->directory->wd && node->file == 0) /* else nothing was found there */
    {
      node->file = last->wd;
      table_add (watches->files, node, offsetof (FscWatchNode, same_file));
      watches->counters.files++;
    }

  watch->node = node;
  watch->previous = NULL;
  watch->next = node->watches;
  if (watch->next != NULL)
    watch->next->previous = watch;
  node->watches = watch;
  watches->counters.entries++;
  return TRUE;
}

void
fsc_watches_remove (FscWatches *watches, FscWatch *watch)
{
  FscWatchNode *node = watch->node;

  if (node == NULL)
    return;
  if (watch->next != NULL)
    watch->next->previous = watch->previous;
  if (watch->previous != NULL)
    watch->previous->next = watch->next;
  else
    node->watches = watch->next;
  *watch = (FscWatch){ 0 };
  watches->counters.entries--;
  if (node->watches == NULL)
    leave_file (watches, node);
  prune (watches, node);
}

/* Telling. Whom a change concerns is collected first: what they do may change the trie. A way may
 * come to one directory twice: what is below a node that has been collected is not again. */

typedef struct
{
  GPtrArray *watches;
  guint n_last; /* of them, from the beginning: it is the last name of their way */
} Concerned;

static void
collect_node (const FscWatchNode *node, Concerned *concerned)
{
  for (FscWatch *watch = node->watches; watch != NULL; watch = watch->next)
    g_ptr_array_add (concerned->watches, watch);
}

static void
collect_below (const FscWatchNode *node, Concerned *concerned)
{
  for (FscWatchNode *child = node->children; child != NULL; child = child->next)
    {
      collect_node (child, concerned);
      collect_below (child, concerned);
    }
}

static gboolean
is_below_name (const FscWatchNode *node)
{
  for (const FscWatchNode *above = node->parent; above != NULL; above = above->parent)
    if (name_equal (above, node))
      return TRUE;
  return FALSE;
}

static gboolean
is_below_directory (const FscWatchNode *node, const Directory *directory)
{
  for (const FscWatchNode *above = node->parent; above != NULL; above = above->parent)
    if (above->directory == directory)
      return TRUE;
  return FALSE;
}

/* `watch` does not watch any more; `other`, which is nobody's, does in its place. */
static void
stand_in (FscWatch *other, FscWatch *watch)
{
  *other = *watch;
  if (other->next != NULL)
    other->next->previous = other;
  if (other->previous != NULL)
    other->previous->next = other;
  else
    other->node->watches = other;
  *watch = (FscWatch){ 0 };
}

/* Who borrows is not to wait until the watches have been ended, each of which is a system call. */
static void
tell (FscWatches *watches, const Concerned *concerned, FscChange change)
{
  g_autofree FscWatch *others = g_new0 (FscWatch, concerned->watches->len);

  watches->counters.told += concerned->watches->len;
  if (change != FSC_CHANGE_ATTRIBUTES)
    for (guint i = 0; i < concerned->watches->len; i++)
      stand_in (&others[i], concerned->watches->pdata[i]);
  for (guint i = 0; i < concerned->watches->len; i++)
    watches->func (concerned->watches->pdata[i],
                   change == FSC_CHANGE_NAME && i < concerned->n_last ? FSC_CHANGE_LAST_NAME
                                                                      : change,
                   watches->data);
  for (guint i = 0; i < concerned->watches->len; i++)
    fsc_watches_remove (watches, &others[i]);
  g_ptr_array_unref (concerned->watches);
}

static void
name_changed (FscWatches *watches, int wd, FscBytes name)
{
  Directory *directory = find_directory (watches, wd);
  FscWatchNode *first = directory != NULL ? find_name (watches, directory, name) : NULL;
  Concerned concerned = { 0 };

  note (watches, wd, hash_name (watches, name.data, name.length));
  if (first == NULL)
    return;
  concerned.watches = g_ptr_array_new ();
  for (FscWatchNode *node = first; node != NULL; node = node->same_name)
    if (!is_below_name (node))
      collect_node (node, &concerned);
  concerned.n_last = concerned.watches->len;
  for (FscWatchNode *node = first; node != NULL; node = node->same_name)
    if (!is_below_name (node))
      collect_below (node, &concerned);
  tell (watches, &concerned, FSC_CHANGE_NAME);
}

/* What has a name has other attributes. A file or a directory on the way has a watch of its own;
 * but a symlink has none, and its owner may say who can follow it (protected_symlinks). */
static void
link_changed (FscWatches *watches, int wd, FscBytes name)
{
  Directory *directory = find_directory (watches, wd);
  Concerned concerned = { 0 };

  note (watches, wd, hash_name (watches, name.data, name.length));
  if (directory == NULL)
    return;
  concerned.watches = g_ptr_array_new ();
  for (FscWatchNode *node = find_name (watches, directory, name); node != NULL;
       node = node->same_name)
    if (!is_below_name (node))
      collect_below (node, &concerned);
  tell (watches, &concerned, FSC_CHANGE_ATTRIBUTES);
}

/* A directory's own attributes say who may look up names in it; a file's, who may open it. */
static void
inode_changed (FscWatches *watches, int wd, FscChange change)
{
  Directory *directory = find_directory (watches, wd);
  FscWatchNode *file = find_file (watches, wd);
  Concerned concerned = { 0 };

  note (watches, wd, 0);
  if (directory == NULL && file == NULL)
    return;
  concerned.watches = g_ptr_array_new ();
  for (FscWatchNode *node = directory != NULL ? directory->nodes : NULL; node != NULL;
       node = node->next_in_directory)
    if (!is_below_directory (node, directory))
      {
        collect_node (node, &concerned);
        collect_below (node, &concerned);
      }
  for (FscWatchNode *node = file; node != NULL; node = node->same_file)
    if (directory == NULL
        || (node->directory != directory && !is_below_directory (node, directory)))
      collect_node (node, &concerned);
  tell (watches, &concerned, change);
}

/* Something was written to a file, or is not any more. */
static void
content_changed (FscWatches *watches, int wd)
{
  Concerned concerned = { .watches = g_ptr_array_new () };

  note (watches, wd, 0);
  for (FscWatchNode *node = find_file (watches, wd); node != NULL; node = node->same_file)
    for (FscWatch *watch = node->watches; watch != NULL; watch = watch->next)
      if (watch->hears_content)
        g_ptr_array_add (concerned.watches, watch);
  tell (watches, &concerned, FSC_CHANGE_ATTRIBUTES);
}

void
fsc_watches_lose (FscWatches *watches)
{
  Concerned concerned = { .watches = g_ptr_array_new () };
  GHashTableIter iter;
  gpointer first;

  note_lost (watches);
  g_hash_table_iter_init (&iter, watches->names);
  while (g_hash_table_iter_next (&iter, &first, NULL))
    for (FscWatchNode *node = first; node != NULL; node = node->same_name)
      collect_node (node, &concerned);
  tell (watches, &concerned, FSC_CHANGE_LOST);
}

/* Reading */

static void
take_event (FscWatches *watches, const struct inotify_event *event, const char *name)
{
  watches->counters.events++;
  if ((event->mask & IN_Q_OVERFLOW) != 0)
    {
      watches->counters.overflows++;
      fsc_watches_lose (watches);
    }
  else if ((event->mask & (IN_IGNORED | IN_UNMOUNT)) != 0)
    inode_changed (watches, event->wd, FSC_CHANGE_LOST);
  else if (event->len == 0 && (event->mask & (IN_MODIFY | IN_CLOSE_WRITE)) != 0)
    content_changed (watches, event->wd);
  else if (event->len == 0)
    inode_changed (watches, event->wd, FSC_CHANGE_ATTRIBUTES);
  else if ((event->mask & IN_ATTRIB) == 0)
    name_changed (watches, event->wd, (FscBytes){ name, strnlen (name, event->len) });
  else if ((event->mask & IN_ISDIR) == 0)
    link_changed (watches, event->wd, (FscBytes){ name, strnlen (name, event->len) });
}

void
fsc_watches_read (FscWatches *watches)
{
  char buffer[BUFFER];
  int left = 0; /* of what was queued when this began; what comes meanwhile is for the next time */
  gboolean is_first = TRUE;

  do
    {
      struct inotify_event event;
      ssize_t n = read (watches->fd, buffer, sizeof buffer);

      if (n < 0)
        return;
      left -= (int) n;
      if (is_first
          && ((size_t) n <= BUFFER - EVENT_MAX || ioctl (watches->fd, FIONREAD, &left) < 0))
        left = 0;
      is_first = FALSE;
      for (ssize_t at = 0; at < n; at += (ssize_t) (sizeof event + event.len))
        {
          memcpy (&event, buffer + at, sizeof event);
          take_event (watches, &event, buffer + at + sizeof event);
        }
    }
  while (left > 0);
}

/* Life */

FscWatches *
fsc_watches_new (FscWatchFunc func, gpointer data, GError **error)
{
  int fd = inotify_init1 (IN_NONBLOCK | IN_CLOEXEC);
  FscWatches *watches;

  if (fd < 0)
    {
      g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno),
                   "cannot make an inotify instance: %s", g_strerror (errno));
      return NULL;
    }
  watches = g_new0 (FscWatches, 1);
  watches->fd = fd;
  watches->func = func;
  watches->data = data;
  watches->directories = g_hash_table_new (NULL, NULL);
  watches->names = g_hash_table_new (name_hash, name_equal);
  watches->files = g_hash_table_new (file_hash, file_equal);
  watches->seed = g_random_int ();
  return watches;
}

void
fsc_watches_free (FscWatches *watches)
{
  g_assert (g_hash_table_size (watches->names) == 0);
  g_hash_table_unref (watches->directories);
  g_hash_table_unref (watches->names);
  g_hash_table_unref (watches->files);
  close (watches->fd);
  g_free (watches);
}

int
fsc_watches_get_fd (const FscWatches *watches)
{
  return watches->fd;
}

guint64
fsc_watches_get_sequence (const FscWatches *watches)
{
  return watches->sequence;
}

const FscWatchCounters *
fsc_watches_get_counters (const FscWatches *watches)
{
  return &watches->counters;
}
