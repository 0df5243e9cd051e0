/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opening files; see open.h.
 */
#include "fscache/view/open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "fscache/view/file.h"
#include "fscache/view/keep.h"
#include "fscache/view/look.h"
#include "fscache/view/notify.h"
#include "fscache/view/report.h"
#include "fscache/view/source.h"
#include "fscache/view/transport.h"

/* What of the flags of an open the source needs to know. The kernel sees to the rest, and direct
 * transfers would need buffers that are aligned. */
#define SOURCE_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_DSYNC | O_SYNC)

static void
open_text (FscCall *call)
{
  FscFile *file = fsc_file_new (call->view, call->node);

  file->text = call->node->place == FSC_PLACE_STATUS ? fsc_report_status (call->view)
                                                     : fsc_report_metrics (call->view);
  call->info.direct_io = 1; /* its length is not known before */
  fsc_file_reply (call, file);
}

/* Whether whoever writes to it from now on leaves another time than it has. The clock of the file
 * system has ticks, of up to 10 ms, or of seconds. */
static gboolean
is_settled (const struct statx *st)
{
  gint64 tick = st->stx_ctime.tv_nsec != 0 ? 10000 : G_USEC_PER_SEC;
  gint64 changed = st->stx_ctime.tv_sec * G_USEC_PER_SEC + st->stx_ctime.tv_nsec / 1000;

  return changed + 2 * tick < g_get_real_time ();
}

/* What a source that is not local says of a handle is true of it when it has just been opened: then
 * it asks its server. Later it may be true of what has replaced it, but for what is known already.
 */
static gboolean
is_true (FscNode *node, const FscLoan *loan, const FscNodeContent *content)
{
  gboolean is_known;

  g_mutex_lock (&node->lock);
  is_known = loan->generation != 0 && memcmp (content, &node->pages, sizeof *content) == 0;
  g_mutex_unlock (&node->lock);
  return is_known || loan->is_fresh;
}

static void
note_content (FscFile *file, const FscCaller *caller, const FscLoan *loan, struct statx *st)
{
  FscNodeContent content;

  if (loan->is_fresh
      && statx (loan->fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, FSC_LOOK_MASK, st) < 0)
    return;
  content = fsc_node_get_content (st);
  if (!file->node->is_local)
    {
      content.caller = caller->number;
      content.generation = loan->generation;
    }
  if (file->node->is_local || is_true (file->node, loan, &content))
    file->content = content;
  file->is_settled = is_settled (st);
}

static int
share_loan (FscCaller *caller, FscFile *file, const FscLoan *loan, struct statx *st)
{
  if (!fsc_look_is_of (file->node, loan->fd, st))
    return -ESTALE;
  note_content (file, caller, loan, st);
  return fsc_keeper_share (caller->view->keeper, file, loan->fd);
}

/* A file that was looked up is served: what is not has taken its name. */
static int
get_error (int error)
{
  return error == -EOPNOTSUPP ? -ESTALE : error;
}

/* Gives the file a handle of what the node stands for. Returns 0 or a negative errno, which is
 * ESTALE if its name leads elsewhere now. */
static int
share_source (FscCall *call, FscFile *file, gboolean is_doubtful, struct statx *st)
{
  FscLoan loan;
  int error = fsc_source_borrow (&call->caller, file->node->target, is_doubtful, &loan);

  if (error < 0)
    return get_error (error);
  error = share_loan (&call->caller, file, &loan, st);
  fsc_source_return (&call->caller, &loan);
  return error;
}

static int
share_handle (FscCall *call, FscFile *file, struct statx *st)
{
  int error = fsc_caller_connect (&call->caller);

  if (error < 0)
    return error;
  if (fsc_keeper_share_offered (call->view->keeper, file, call->caller.number))
    {
      if (!fsc_look_is_of (file->node, file->handle->fd, st))
        return -EIO;
      file->content = fsc_node_get_content (st);
      file->is_settled = is_settled (st);
      return 0;
    }
  /* Who could not share a node is given one of his own; others that come to it are to know what it
   * has. */
  error = share_source (call, file, !file->node->is_local && fsc_node_is_retired (file->node), st);
  if (error == -ESTALE) /* the handle may be older than the node, too */
    error = share_source (call, file, TRUE, st);
  if (error == -ESTALE || error == -EEXIST)
    fsc_nodes_doubt (call->view->nodes, file->node->path);
  if (error != -EEXIST)
    return error;
  fsc_nodes_retire (call->view->nodes, file->node);
  return -ESTALE;
}

/* Whether the kernel knows the attributes as they are. */
static gboolean
is_known (FscNode *node, const struct statx *st)
{
  FscNodeContent content = fsc_node_get_content (st);
  gboolean is_same;

  g_mutex_lock (&node->lock);
  is_same = memcmp (&content, &node->content, sizeof content) == 0;
  g_mutex_unlock (&node->lock);
  return is_same;
}

/* The pages that the kernel has stay if they are those of the file. */
static gboolean
has_pages (const FscFile *file)
{
  FscNode *node = file->node;
  gboolean is_same;

  g_mutex_lock (&node->lock);
  is_same = file->is_settled && fsc_node_content_is_same (&file->content, &node->pages);
  if (is_same)
    node->pages = file->content;
  g_mutex_unlock (&node->lock);
  return is_same;
}

static void
prepare_reading (FscView *view, FscFile *file, struct fuse_file_info *info)
{
  info->keep_cache = has_pages (file);
  file->is_unread = !info->keep_cache;
  info->noflush = 1;
  fsc_transport_open (view, file, info);
}

static void
open_for_reading (FscCall *call)
{
  FscFile *file = fsc_file_new (call->view, call->node);
  struct statx st;
  int error = share_handle (call, file, &st);

  if (error < 0)
    {
      fsc_file_unref (call->view, file);
      fsc_call_finish (call, error);
      return;
    }
  if (!is_known (call->node, &st))
    fsc_notifier_forget_attributes (call->view->notifier, call->node);
  prepare_reading (call->view, file, &call->info);
  fsc_file_reply (call, file);
}

static FscFile *
make_writable (FscCall *call, FscNode *node, int fd, gboolean is_local)
{
  FscFile *file = fsc_file_new (call->view, node);

  fsc_file_set_own_handle (file, fd, is_local);
  /* What is appended is not known to lie where the kernel believes. */
  call->info.direct_io = (call->info.flags & O_APPEND) != 0;
  fsc_transport_open (call->view, file, &call->info);
  return file;
}

static void
open_for_writing (FscCall *call)
{
  FscSource source;
  struct statx st;
  int fd = fsc_source_open (&call->caller, call->node->target, call->info.flags & SOURCE_FLAGS, 0,
                            &source);

  if (fd < 0)
    fsc_call_finish (call, get_error (fd));
  else if (!fsc_look_is_of (call->node, fd, &st))
    {
      close (fd);
      fsc_call_finish (call, ESTALE);
    }
  else
    fsc_file_reply (call, make_writable (call, call->node, fd, source.is_local));
}

static void
open_entry (FscCall *call)
{
  FscSource source;
  FscFile *file;
  int fd = fsc_source_open_shared (&call->caller, call->node->target, 0, FALSE, &source);

  if (fd < 0)
    {
      fsc_call_finish (call, fd);
      return;
    }
  file = fsc_file_new (call->view, call->node);
  fsc_file_set_own_handle (file, fd, source.is_local);
  call->info.direct_io = 1;
  call->info.noflush = 1;
  fsc_file_reply (call, file);
}

static gboolean
is_for_writing (const struct fuse_file_info *info)
{
  return (info->flags & O_ACCMODE) != O_RDONLY || (info->flags & O_TRUNC) != 0;
}

static void
count (FscView *view)
{
  g_atomic_pointer_add (&view->n_opens, 1);
  fsc_keeper_wake (view->keeper);
}

gboolean
fsc_open_quickly (fuse_req_t request, FscNode *node, const struct fuse_file_info *asked)
{
  FscView *view = fuse_req_userdata (request);
  struct fuse_file_info info = *asked;
  FscCaller caller;
  gboolean is_open;
  FscLoan loan;
  FscFile *file;
  struct statx st;

  fsc_caller_init (&caller, view, request);
  if (node->place != FSC_PLACE_SOURCE || !node->is_local || is_for_writing (&info)
      || fsc_source_borrow_kept (&caller, node->target, &loan) < 0)
    return FALSE;
  file = fsc_file_new (view, node);
  is_open = share_loan (&caller, file, &loan, &st) == 0 && is_known (node, &st);
  fsc_source_return (&caller, &loan);
  if (!is_open)
    {
      fsc_file_unref (view, file);
      return FALSE;
    }
  count (view);
  prepare_reading (view, file, &info);
  info.fh = (uintptr_t) file;
  if (fuse_reply_open (request, &info) != 0)
    fsc_file_unref (view, file);
  return TRUE;
}

void
fsc_open (FscCall *call)
{
  FscPlace place = call->node->place;
  gboolean writes = is_for_writing (&call->info);

  count (call->view);
  if (writes && place != FSC_PLACE_SOURCE)
    fsc_call_finish (call, EROFS);
  else if (place == FSC_PLACE_STATUS || place == FSC_PLACE_METRICS)
    open_text (call);
  else if (place == FSC_PLACE_ENTRY)
    open_entry (call);
  else if (writes && !fsc_tree_is_file (call->node->path))
    fsc_call_finish (call, EROFS);
  else if (writes)
    open_for_writing (call);
  else
    open_for_reading (call);
}

void
fsc_open_new (FscCall *call)
{
  g_autofree char *path = fsc_tree_join (call->node->path, call->name);
  g_autofree char *target = fsc_tree_get_target (path);
  struct fuse_entry_param entry = { 0 };
  FscNodeIdentity identity;
  FscSource source;
  FscNode *node;
  FscFile *file;
  struct statx st;
  int fd;

  if (target == NULL || call->node->place != FSC_PLACE_SOURCE || call->node->barrier != 0
      || !fsc_tree_is_file (path))
    {
      fsc_call_finish (call, EROFS);
      return;
    }
  if (strlen (target) >= PATH_MAX)
    {
      fsc_call_finish (call, ENAMETOOLONG);
      return;
    }
  fd = fsc_look_check_parent (call);
  if (fd < 0)
    {
      fsc_call_finish (call, fd);
      return;
    }
  fd = fsc_source_open (&call->caller, target,
                        (call->info.flags & (SOURCE_FLAGS | O_EXCL)) | O_CREAT, call->mode,
                        &source);
  if (fd < 0 || statx (fd, "", AT_EMPTY_PATH, FSC_LOOK_MASK, &st) < 0)
    {
      fsc_call_finish (call, fd < 0 ? fd : errno);
      if (fd >= 0)
        close (fd);
      return;
    }

  identity = fsc_node_get_identity (&st);
  node = fsc_nodes_get (call->view->nodes, path, &identity, st.stx_mode, source.is_local);
  file = make_writable (call, node, fd, source.is_local);
  fsc_look_fill (call->view, node, &st, &entry.attr);
  entry.ino = fsc_view_get_number (call->view, node);
  entry.attr_timeout = entry.entry_timeout = call->view->timeout;
  call->info.fh = (uintptr_t) file;
  if (!fsc_call_claim (call) || fuse_reply_create (call->request, &entry, &call->info) != 0)
    {
      fsc_file_unref (call->view, file);
      fsc_node_unref (call->view->nodes, node, 1);
    }
}
