/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the kernel knows of the view; see node.h.
 */
#include "fscache/view/node.h"

#include <string.h>
#include <sys/sysmacros.h>

#include "fscache/view/handle.h"

/* For so long a doubt holds. */
#define DOUBT G_USEC_PER_SEC

struct FscNodes
{
  GMutex lock;
  GHashTable *nodes;
  gsize n_retired;
  GHashTable *devices; /* numbers, less one */
  GHashTable *doubts;  /* paths, and until when */
};

static guint
node_hash (gconstpointer data)
{
  const FscNode *node = data;

  return g_str_hash (node->path) ^ g_int64_hash (&node->identity.inode) ^ node->type;
}

static gboolean
node_equal (gconstpointer a, gconstpointer b)
{
  const FscNode *x = a, *y = b;

  return memcmp (&x->identity, &y->identity, sizeof x->identity) == 0 && x->type == y->type
         && x->edition == y->edition && strcmp (x->path, y->path) == 0;
}

FscNodes *
fsc_nodes_new (void)
{
  FscNodes *nodes = g_new0 (FscNodes, 1);

  nodes->nodes = g_hash_table_new (node_hash, node_equal);
  nodes->devices = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  nodes->doubts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  return nodes;
}

guint
fsc_nodes_count (FscNodes *nodes)
{
  guint n;

  g_mutex_lock (&nodes->lock);
  n = g_hash_table_size (nodes->nodes);
  g_mutex_unlock (&nodes->lock);
  return n;
}

static FscNode *
make_node (const FscNode *key, gboolean is_local)
{
  FscNode *node = g_new0 (FscNode, 1);

  node->path = g_strdup (key->path);
  node->identity = key->identity;
  node->edition = key->edition;
  node->place = fsc_tree_get_place (key->path);
  node->target = S_ISREG (key->type) ? NULL : fsc_tree_get_unpacked (key->path);
  if (node->target == NULL)
    node->target = fsc_tree_get_target (key->path);
  node->type = key->type;
  node->is_local = is_local;
  node->barrier
      = node->place == FSC_PLACE_SOURCE && key->identity.dev == 0 ? (int) key->identity.inode : 0;
  node->source = fsc_node_get_source_below (node, node->path);
  g_mutex_init (&node->lock);
  node->kept_link.data = node;
  g_queue_init (&node->own);
  return node;
}

static void
free_node (FscNode *node)
{
  g_mutex_clear (&node->lock);
  g_free (node->path);
  g_free (node->target);
  g_free (node);
}

void
fsc_nodes_free (FscNodes *nodes)
{
  GHashTableIter iter;
  gpointer node;

  g_hash_table_iter_init (&iter, nodes->nodes);
  while (g_hash_table_iter_next (&iter, &node, NULL))
    free_node (node);
  g_hash_table_unref (nodes->nodes);
  g_hash_table_unref (nodes->devices);
  g_hash_table_unref (nodes->doubts);
  g_free (nodes);
}

/* With the lock. */
static FscNode *
get (FscNodes *nodes, const FscNode *key, gboolean is_local)
{
  FscNode *node = g_hash_table_lookup (nodes->nodes, key);

  if (node == NULL)
    {
      node = make_node (key, is_local);
      g_hash_table_add (nodes->nodes, node);
    }
  return fsc_node_ref (node);
}

FscNode *
fsc_nodes_get (FscNodes *nodes, const char *path, const FscNodeIdentity *identity, mode_t type,
               gboolean is_local)
{
  const FscNode key = { .path = (char *) path, .identity = *identity, .type = type & S_IFMT };
  FscNode *node;

  g_mutex_lock (&nodes->lock);
  node = get (nodes, &key, is_local);
  g_mutex_unlock (&nodes->lock);
  return node;
}

FscNode *
fsc_nodes_get_own (FscNodes *nodes, const char *path, const FscNodeIdentity *identity, mode_t type,
                   gboolean is_local)
{
  FscNode key = { .path = (char *) path, .identity = *identity, .type = type & S_IFMT };
  FscNode *node;

  g_mutex_lock (&nodes->lock);
  key.edition = ++nodes->n_retired;
  node = get (nodes, &key, is_local);
  g_mutex_unlock (&nodes->lock);
  return node;
}

FscNode *
fsc_node_ref (FscNode *node)
{
  g_atomic_pointer_add (&node->n_references, 1);
  return node;
}

/* Gives back some that are not the last. */
static gboolean
try_to_unref (FscNode *node, gsize n)
{
  gsize before = (gsize) g_atomic_pointer_get (&node->n_references);

  while (before > n)
    if (g_atomic_pointer_compare_and_exchange_full (&node->n_references, before, before - n,
                                                    &before))
      return TRUE;
  return FALSE;
}

void
fsc_node_unref (FscNodes *nodes, FscNode *node, guint64 n)
{
  gboolean is_last;

  if (try_to_unref (node, n))
    return;
  g_mutex_lock (&nodes->lock);
  is_last = (gsize) g_atomic_pointer_add (&node->n_references, -(gssize) n) == n;
  if (is_last)
    g_hash_table_remove (nodes->nodes, node);
  g_mutex_unlock (&nodes->lock);
  if (is_last)
    free_node (node);
}

void
fsc_nodes_retire (FscNodes *nodes, FscNode *node)
{
  g_mutex_lock (&nodes->lock);
  if (node->edition == 0)
    {
      g_hash_table_remove (nodes->nodes, node);
      g_atomic_pointer_set (&node->edition, ++nodes->n_retired);
      g_hash_table_add (nodes->nodes, node);
    }
  g_mutex_unlock (&nodes->lock);
}

gboolean
fsc_node_is_retired (FscNode *node)
{
  return g_atomic_pointer_get (&node->edition) != 0;
}

guint
fsc_nodes_get_device (FscNodes *nodes, guint64 dev)
{
  guint number;

  g_mutex_lock (&nodes->lock);
  number = GPOINTER_TO_UINT (g_hash_table_lookup (nodes->devices, &dev));
  if (number == 0)
    {
      number = g_hash_table_size (nodes->devices) + 1;
      g_hash_table_insert (nodes->devices, g_memdup2 (&dev, sizeof dev), GUINT_TO_POINTER (number));
    }
  g_mutex_unlock (&nodes->lock);
  return number - 1;
}

static gboolean
is_over (gpointer path, gpointer until, gpointer now)
{
  return *(gint64 *) until < *(gint64 *) now;
}

void
fsc_nodes_doubt (FscNodes *nodes, const char *path)
{
  gint64 now = g_get_monotonic_time ();
  gint64 until = now + DOUBT;

  g_mutex_lock (&nodes->lock);
  g_hash_table_foreach_remove (nodes->doubts, is_over, &now);
  g_hash_table_replace (nodes->doubts, g_strdup (path), g_memdup2 (&until, sizeof until));
  g_mutex_unlock (&nodes->lock);
}

gboolean
fsc_nodes_is_doubtful (FscNodes *nodes, const char *path)
{
  const gint64 *until;
  gboolean is_doubtful;

  g_mutex_lock (&nodes->lock);
  until = g_hash_table_lookup (nodes->doubts, path);
  is_doubtful = until != NULL && *until >= g_get_monotonic_time ();
  g_mutex_unlock (&nodes->lock);
  return is_doubtful;
}

FscNodeIdentity
fsc_node_get_identity (const struct statx *st)
{
  return (FscNodeIdentity){
    .dev = makedev (st->stx_dev_major, st->stx_dev_minor),
    .inode = st->stx_ino,
    .born = (st->stx_mask & STATX_BTIME) != 0 ? st->stx_btime.tv_sec : 0,
    .born_nsec = (st->stx_mask & STATX_BTIME) != 0 ? st->stx_btime.tv_nsec : 0,
  };
}

FscNodeContent
fsc_node_get_content (const struct statx *st)
{
  return (FscNodeContent){
    .size = (gint64) st->stx_size,
    .mtime = st->stx_mtime.tv_sec,
    .mtime_nsec = st->stx_mtime.tv_nsec,
    .ctime = st->stx_ctime.tv_sec,
    .ctime_nsec = st->stx_ctime.tv_nsec,
  };
}

gboolean
fsc_node_content_is_same (const FscNodeContent *a, const FscNodeContent *b)
{
  return a->ctime != 0 && memcmp (a, b, offsetof (FscNodeContent, caller)) == 0;
}

gboolean
fsc_node_is (const FscNode *node, const struct statx *st)
{
  FscNodeIdentity identity = fsc_node_get_identity (st);

  return memcmp (&identity, &node->identity, sizeof identity) == 0
         && (st->stx_mode & S_IFMT) == node->type;
}

void
fsc_node_tell (FscNode *node, const struct statx *st)
{
  g_mutex_lock (&node->lock);
  node->content = fsc_node_get_content (st);
  g_mutex_unlock (&node->lock);
}

void
fsc_node_see (FscNode *node, gint64 time)
{
  g_mutex_lock (&node->lock);
  node->seen_at = MAX (node->seen_at, time);
  g_mutex_unlock (&node->lock);
}

gint64
fsc_node_get_seen (FscNode *node)
{
  gint64 time;

  g_mutex_lock (&node->lock);
  time = node->seen_at;
  g_mutex_unlock (&node->lock);
  return time;
}

guint64
fsc_node_get_source_below (const FscNode *node, const char *path)
{
  if (!node->is_local)
    return fsc_handle_get_source (node->identity.dev);
  if (fsc_tree_get_place (path) == FSC_PLACE_ENTRY)
    {
      g_autofree char *folder = g_path_get_dirname (path);

      return g_str_hash (folder);
    }
  return g_str_hash (path);
}
