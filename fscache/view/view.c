/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-view; see view.h.
 */
#include "fscache/view/view.h"

#include <sys/resource.h>
#include <unistd.h>

#include "fscache/view/caller.h"
#include "fscache/view/file.h"
#include "fscache/view/keep.h"
#include "fscache/view/listing.h"
#include "fscache/view/notify.h"

/* Of what may wait for one source, and for all. There are 512 threads (life.c). */
#define GATE_LIMIT 32
#define GATE_TOTAL 256

/* As many descriptors are kept as there may be, up to this. */
#define KEPT_MAX 4096

FscNode *
fsc_view_get_node (const FscView *view, fuse_ino_t number)
{
  return number == FUSE_ROOT_ID ? view->root : (FscNode *) (uintptr_t) number;
}

fuse_ino_t
fsc_view_get_number (const FscView *view, const FscNode *node)
{
  return node == view->root ? FUSE_ROOT_ID : (uintptr_t) node;
}

guint
fsc_view_get_limit (guint n)
{
  struct rlimit limit = { .rlim_cur = 1024 };

  getrlimit (RLIMIT_NOFILE, &limit);
  return (guint) MIN (limit.rlim_cur / 4 / n, KEPT_MAX);
}

void
fsc_view_start (FscView *view, FscacheClient *client, struct fuse_session *session)
{
  static const FscNodeIdentity none;

  view->client = client;
  view->session = session;
  view->nodes = fsc_nodes_new ();
  view->root = fsc_nodes_get (view->nodes, "", &none, S_IFDIR, TRUE);
  view->gate = fsc_gate_new (GATE_LIMIT, GATE_TOTAL);
  view->callers = fsc_callers_new (view);
  view->listing = fsc_listing_new ();
  view->notifier = fsc_notifier_new (view);
  g_mutex_init (&view->lock);
  g_queue_init (&view->files);
  view->timeout = view->is_exact || view->has_others ? 0 : FSC_VIEW_TIMEOUT;
  view->uid = geteuid ();
  fscache_set_borrow_limit (client, fsc_view_get_limit (1));
  view->keeper = fsc_keeper_new (view);
}

void
fsc_view_end (FscView *view)
{
  fsc_notifier_free (view->notifier);
  while (view->files.head != NULL)
    fsc_file_unref (view, view->files.head->data);
  fsc_keeper_free (view->keeper);
  fsc_callers_free (view->callers);
  fsc_listing_free (view->listing);
  fsc_gate_free (view->gate);
  fsc_nodes_free (view->nodes);
  g_mutex_clear (&view->lock);
}

void
fsc_view_let_go (FscView *view, gboolean all)
{
  if (all)
    fscache_set_borrow_limit (view->client, 0);
  fscache_set_borrow_limit (view->client, fsc_view_get_limit (1));
  fsc_callers_let_go (view->callers, all);
}
