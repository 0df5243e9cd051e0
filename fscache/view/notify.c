/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Telling the kernel what has changed; see notify.h.
 */
#include "fscache/view/notify.h"

struct FscNotifier
{
  FscView *view;
  GMutex lock;
  GCond changed;
  GQueue waiting; /* of Notice */
  gboolean is_over;
  GThread *thread;
};

typedef struct
{
  fuse_ino_t number;
  gboolean is_done;
} Notice;

static gpointer
run (gpointer data)
{
  FscNotifier *notifier = data;

  g_mutex_lock (&notifier->lock);
  while (!notifier->is_over)
    {
      Notice *notice = g_queue_pop_head (&notifier->waiting);

      if (notice == NULL)
        {
          g_cond_wait (&notifier->changed, &notifier->lock);
          continue;
        }
      g_mutex_unlock (&notifier->lock);
      fuse_lowlevel_notify_inval_inode (notifier->view->session, notice->number, -1, 0);
      g_mutex_lock (&notifier->lock);
      notice->is_done = TRUE;
      g_cond_broadcast (&notifier->changed);
    }
  g_mutex_unlock (&notifier->lock);
  return NULL;
}

FscNotifier *
fsc_notifier_new (FscView *view)
{
  FscNotifier *notifier = g_new0 (FscNotifier, 1);

  notifier->view = view;
  g_queue_init (&notifier->waiting);
  notifier->thread = g_thread_new ("notify", run, notifier);
  return notifier;
}

void
fsc_notifier_free (FscNotifier *notifier)
{
  g_mutex_lock (&notifier->lock);
  notifier->is_over = TRUE;
  g_cond_broadcast (&notifier->changed);
  g_mutex_unlock (&notifier->lock);
  g_thread_join (notifier->thread);
  g_free (notifier);
}

void
fsc_notifier_forget_attributes (FscNotifier *notifier, FscNode *node)
{
  Notice notice = { .number = fsc_view_get_number (notifier->view, node) };

  g_mutex_lock (&notifier->lock);
  g_queue_push_tail (&notifier->waiting, &notice);
  g_cond_broadcast (&notifier->changed);
  while (!notice.is_done)
    g_cond_wait (&notifier->changed, &notifier->lock);
  g_mutex_unlock (&notifier->lock);
}
