/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One request of the kernel's; see call.h.
 */
#include "fscache/view/call.h"

#include <errno.h>
#include <stdlib.h>

enum
{
  NEW,         /* not interruptible yet, or only to be cancelled, or not at all */
  PENDING,     /* it may be interrupted */
  ANSWERED,    /* or somebody is just doing that */
  INTERRUPTED, /* before it was PENDING */
};

static FscCall *
make_call (fuse_req_t request, fuse_ino_t number)
{
  FscView *view = fuse_req_userdata (request);
  FscCall *call = g_new0 (FscCall, 1);

  call->view = view;
  call->request = request;
  fsc_caller_init (&call->caller, view, request);
  call->node = fsc_node_ref (fsc_view_get_node (view, number));
  call->n_references = 1;
  return call;
}

static void
unref (FscCall *call)
{
  if (!g_atomic_int_dec_and_test (&call->n_references))
    return;
  fsc_caller_clear (&call->caller);
  if (call->file != NULL)
    fsc_file_unref (call->view, call->file);
  if (call->other != NULL)
    fsc_file_unref (call->view, call->other);
  fsc_node_unref (call->view->nodes, call->node, 1);
  g_free (call->name);
  g_free (call->data);
  g_free (call);
}

FscCall *
fsc_call_new (fuse_req_t request, fuse_ino_t number, const char *name)
{
  FscCall *call = make_call (request, number);

  if (!fsc_caller_is_served (&call->caller))
    {
      fuse_reply_err (request, EACCES);
      unref (call);
      return NULL;
    }
  call->name = g_strdup (name);
  return call;
}

FscCall *
fsc_call_new_for_file (fuse_req_t request, fuse_ino_t number, const struct fuse_file_info *info)
{
  FscCall *call = make_call (request, number);

  if (info != NULL)
    {
      call->info = *info;
      call->file = fsc_file_ref ((FscFile *) (uintptr_t) info->fh);
    }
  return call;
}

static gboolean
change_state (FscCall *call, int from, int to)
{
  return g_atomic_int_compare_and_exchange (&call->state, from, to);
}

/* Called by libfuse with a lock that only its own fuse_req_interrupt_func() takes: in that one
 * nothing may be answered yet. */
static void
interrupt (fuse_req_t request, void *data)
{
  FscCall *call = data;

  if (change_state (call, NEW, INTERRUPTED) || !change_state (call, PENDING, ANSWERED))
    return;
  fuse_reply_err (request, EINTR);
  fsc_caller_cancel (&call->caller);
  unref (call);
}

static void
cancel (fuse_req_t request, void *data)
{
  FscCall *call = data;

  fsc_caller_cancel (&call->caller);
}

gboolean
fsc_call_claim (FscCall *call)
{
  gboolean is_pending = change_state (call, PENDING, ANSWERED);

  if (!is_pending && !change_state (call, NEW, ANSWERED))
    return FALSE;
  /* After this nobody is in interrupt() or cancel(). */
  fuse_req_interrupt_func (call->request, NULL, NULL);
  if (is_pending)
    unref (call);
  return TRUE;
}

static void
work (gpointer data)
{
  FscCall *call = data;

  call->func (call);
  unref (call);
}

void
fsc_call_run (FscCall *call, guint64 source, FscCallFunc func)
{
  call->func = func;
  fsc_gate_run (call->view->gate, source, work, call);
}

void
fsc_call_run_interruptibly (FscCall *call, guint64 source, FscCallFunc func)
{
  g_atomic_int_inc (&call->n_references);
  fuse_req_interrupt_func (call->request, interrupt, call);
  if (change_state (call, NEW, PENDING))
    {
      fsc_call_run (call, source, func);
      return;
    }
  fuse_req_interrupt_func (call->request, NULL, NULL);
  fuse_reply_err (call->request, EINTR);
  unref (call);
  unref (call);
}

void
fsc_call_run_cancellably (FscCall *call, guint64 source, FscCallFunc func)
{
  fuse_req_interrupt_func (call->request, cancel, call);
  fsc_call_run (call, source, func);
}

void
fsc_call_finish (FscCall *call, int error)
{
  if (fsc_call_claim (call))
    fuse_reply_err (call->request, abs (error));
}

void
fsc_call_reply_data (FscCall *call, const void *data, gsize length)
{
  if (fsc_call_claim (call))
    fuse_reply_buf (call->request, data, length);
}
