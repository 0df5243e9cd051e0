/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What all who read a file share; see keep.h.
 */
#include "fscache/view/keep.h"

#include <errno.h>
#include <fcntl.h>

#include "fscache/view/transport.h"

/* How long what nobody has open is kept, and how often it is looked for what may go. From a look-up
 * to the open that follows it should be much less. */
#define KEEP_TIME (G_USEC_PER_SEC / 10)

/* When nothing was opened for so long, nothing is kept for borrowing either. */
#define REST_TIME (5 * G_USEC_PER_SEC)

struct FscKeeper
{
  FscView *view;
  GThread *thread;
  int is_resting;         /* atomic */
  GThreadPool *borrowing; /* one, which may hang */
  int is_letting_go;      /* atomic; it is at work */

  /* Taken after the lock of a node. */
  GMutex lock;
  GCond changed;
  gboolean is_over;
  guint limit;
  GQueue kept; /* of FscNode, referenced: of which nobody shares the handle; the oldest first */
};

/* Letting go */

static void
close_handle (FscView *view, FscHandle *handle)
{
  fsc_transport_close_backing (view, handle);
  fsc_handle_unref (handle);
}

/* The oldest, if it was kept before this or there are too many, and its handle; else NULL, as if it
 * is just being opened. */
static FscNode *
take_oldest (FscKeeper *keeper, gint64 before, FscHandle **handle)
{
  FscNode *node, *taken = NULL;

  g_mutex_lock (&keeper->lock);
  node = g_queue_peek_head (&keeper->kept);
  if (node != NULL && g_mutex_trylock (&node->lock))
    {
      if (node->kept_since < before || keeper->kept.length > keeper->limit)
        {
          g_queue_unlink (&keeper->kept, &node->kept_link);
          node->is_kept = FALSE;
          *handle = g_steal_pointer (&node->reading);
          taken = node;
        }
      g_mutex_unlock (&node->lock);
    }
  g_mutex_unlock (&keeper->lock);
  return taken;
}

static void
let_go (FscKeeper *keeper, gint64 before)
{
  FscHandle *handle;
  FscNode *node;

  while ((node = take_oldest (keeper, before, &handle)) != NULL)
    {
      close_handle (keeper->view, handle);
      fsc_node_unref (keeper->view->nodes, node, 1);
    }
}

/* The thread */

/* Until it is time to look again. Returns FALSE at the end. */
static gboolean
nap (FscKeeper *keeper)
{
  gboolean is_over;
  gint64 until;

  g_mutex_lock (&keeper->lock);
  while (!keeper->is_over && g_atomic_int_get (&keeper->is_resting))
    g_cond_wait (&keeper->changed, &keeper->lock);
  until = g_get_monotonic_time () + KEEP_TIME;
  while (!keeper->is_over && g_cond_wait_until (&keeper->changed, &keeper->lock, until))
    ;
  is_over = keeper->is_over;
  g_mutex_unlock (&keeper->lock);
  return !is_over;
}

static gsize
get_opens (const FscKeeper *keeper)
{
  return (gsize) g_atomic_pointer_get (&keeper->view->n_opens);
}

static void
let_go_of_borrowed (gpointer all, gpointer data)
{
  FscKeeper *keeper = data;

  fsc_view_let_go (keeper->view, GPOINTER_TO_INT (all) > 1);
  g_atomic_int_set (&keeper->is_letting_go, FALSE);
}

/* Has the other thread do it. Returns FALSE while that hangs. */
static gboolean
start_letting_go (FscKeeper *keeper, gboolean all)
{
  if (!g_atomic_int_compare_and_exchange (&keeper->is_letting_go, FALSE, TRUE))
    return FALSE;
  g_thread_pool_push (keeper->borrowing, GINT_TO_POINTER (1 + all), NULL);
  return TRUE;
}

/* Whoever opens or keeps something from now on wakes it; who has done so just before is seen here.
 */
static void
rest (FscKeeper *keeper, gsize n_opens)
{
  g_atomic_int_set (&keeper->is_resting, TRUE);
  if (get_opens (keeper) != n_opens || fsc_keeper_count (keeper) > 0)
    g_atomic_int_set (&keeper->is_resting, FALSE);
}

static gpointer
run (gpointer data)
{
  FscKeeper *keeper = data;
  gint64 opened_at = 0;
  gsize n_opens = 0;

  while (nap (keeper))
    {
      gint64 now = g_get_monotonic_time ();
      gsize n_before = n_opens;
      gboolean is_idle;

      n_opens = get_opens (keeper);
      if (n_opens != n_before)
        opened_at = now;
      is_idle = now - opened_at >= REST_TIME;
      let_go (keeper, now - KEEP_TIME);
      if (start_letting_go (keeper, is_idle) && is_idle)
        rest (keeper, n_opens);
    }
  return NULL;
}

FscKeeper *
fsc_keeper_new (FscView *view)
{
  FscKeeper *keeper = g_new0 (FscKeeper, 1);

  keeper->view = view;
  keeper->limit = fsc_view_get_limit (1);
  g_queue_init (&keeper->kept);
  keeper->borrowing = g_thread_pool_new (let_go_of_borrowed, keeper, 1, TRUE, NULL);
  keeper->thread = g_thread_new ("keep", run, keeper);
  return keeper;
}

void
fsc_keeper_free (FscKeeper *keeper)
{
  g_mutex_lock (&keeper->lock);
  keeper->is_over = TRUE;
  g_cond_signal (&keeper->changed);
  g_mutex_unlock (&keeper->lock);
  g_thread_join (keeper->thread);
  g_thread_pool_free (keeper->borrowing, FALSE, TRUE);
  let_go (keeper, G_MAXINT64);
  g_free (keeper);
}

void
fsc_keeper_wake (FscKeeper *keeper)
{
  if (!g_atomic_int_get (&keeper->is_resting))
    return;
  g_mutex_lock (&keeper->lock);
  g_atomic_int_set (&keeper->is_resting, FALSE);
  g_cond_signal (&keeper->changed);
  g_mutex_unlock (&keeper->lock);
}

guint
fsc_keeper_count (FscKeeper *keeper)
{
  guint n;

  g_mutex_lock (&keeper->lock);
  n = keeper->kept.length;
  g_mutex_unlock (&keeper->lock);
  return n;
}

/* Keeping; all with the lock of the node */

/* Returns whether there are too many now. */
static gboolean
keep (FscKeeper *keeper, FscNode *node)
{
  gboolean is_full;

  fsc_node_ref (node);
  node->is_kept = TRUE;
  node->kept_since = g_get_monotonic_time ();
  g_mutex_lock (&keeper->lock);
  g_queue_push_tail_link (&keeper->kept, &node->kept_link);
  is_full = keeper->kept.length > keeper->limit;
  g_mutex_unlock (&keeper->lock);
  fsc_keeper_wake (keeper);
  return is_full;
}

static void
unkeep (FscKeeper *keeper, FscNode *node)
{
  if (!node->is_kept)
    return;
  node->is_kept = FALSE;
  g_mutex_lock (&keeper->lock);
  g_queue_unlink (&keeper->kept, &node->kept_link);
  g_mutex_unlock (&keeper->lock);
  fsc_node_unref (keeper->view->nodes, node, 1); /* the caller has another one */
}

/* Whether it is the file that is shared. On a local file system it is, because that one keeps its
 * inode. */
static gboolean
is_shared (const FscNode *node, int fd)
{
  return node->reading != NULL && (node->is_local || fsc_handle_is_duplicate (node->reading, fd));
}

/* Sees to it that there is a handle: the newest, for the next one who asks gets that from the
 * service, too. Returns 0 or a negative errno; what it takes the place of is the caller's. */
static int
provide (FscNode *node, int fd, const FscNodeContent *content, FscHandle **old)
{
  int own;

  if (is_shared (node, fd))
    return 0;
  if (node->reading != NULL && !fsc_node_content_is_same (content, &node->shared))
    return -EEXIST;
  own = fcntl (fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0)
    return -errno;
  *old = node->reading;
  node->reading = fsc_handle_new (own, node->is_local);
  node->shared = *content;
  return 0;
}

static void
share (FscKeeper *keeper, FscFile *file)
{
  unkeep (keeper, file->node);
  file->node->n_sharing++;
  file->is_sharing = TRUE;
  file->handle = fsc_handle_ref (file->node->reading);
}

/* Sharing */

int
fsc_keeper_share (FscKeeper *keeper, FscFile *file, int fd)
{
  FscHandle *old = NULL;
  int error;

  g_mutex_lock (&file->node->lock);
  error = provide (file->node, fd, &file->content, &old);
  if (error == 0)
    share (keeper, file);
  g_mutex_unlock (&file->node->lock);
  if (old != NULL)
    fsc_handle_unref (old);
  return error;
}

void
fsc_keeper_offer (FscKeeper *keeper, FscNode *node, int fd, guint64 caller)
{
  static const FscNodeContent unknown;
  FscHandle *old;

  if (!node->is_local)
    return;
  g_mutex_lock (&node->lock);
  if (provide (node, fd, &unknown, &old) == 0) /* of what is local none takes another's place */
    {
      node->offered_to = caller;
      node->offered_until = g_get_monotonic_time () + KEEP_TIME;
      unkeep (keeper, node);
      if (node->n_sharing == 0)
        keep (keeper, node);
    }
  g_mutex_unlock (&node->lock);
}

gboolean
fsc_keeper_share_offered (FscKeeper *keeper, FscFile *file, guint64 caller)
{
  FscNode *node = file->node;
  gboolean is_offered;

  g_mutex_lock (&node->lock);
  is_offered = node->reading != NULL && node->offered_to == caller && node->offered_until > 0
               && g_get_monotonic_time () < node->offered_until;
  if (is_offered)
    {
      /* Others may have waited for the same look-up, which found this node for them all. But what
       * it has found may be older than their opens. */
      if (keeper->view->is_exact || !fsc_node_is_retired (node))
        node->offered_until = 0;
      share (keeper, file);
    }
  g_mutex_unlock (&node->lock);
  return is_offered;
}

void
fsc_keeper_unshare (FscKeeper *keeper, FscFile *file)
{
  FscNode *node = file->node;
  FscHandle *handle = NULL;
  gboolean is_full = FALSE;

  g_mutex_lock (&node->lock);
  file->is_sharing = FALSE;
  if (--node->n_sharing == 0)
    {
      if (node->is_local && !fsc_node_is_retired (node))
        is_full = keep (keeper, node);
      else
        handle = g_steal_pointer (&node->reading);
    }
  g_mutex_unlock (&node->lock);
  if (handle != NULL)
    close_handle (keeper->view, handle);
  if (is_full)
    let_go (keeper, 0);
}
