/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Open files; see file.h.
 */
#include "fscache/view/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fscache/view/call.h"
#include "fscache/view/folder.h"
#include "fscache/view/keep.h"
#include "fscache/view/look.h"
#include "fscache/view/source.h"
#include "fscache/view/transport.h"

/* In one request: it cannot be interrupted, and the answer has 32 bits. */
#define COPY_MAX (1024 * 1024 * 1024)

FscFile *
fsc_file_new (FscView *view, FscNode *node)
{
  FscFile *file = g_new0 (FscFile, 1);

  file->node = fsc_node_ref (node);
  file->link.data = file->own_link.data = file;
  file->n_references = 1;
  g_mutex_lock (&view->lock);
  g_queue_push_tail_link (&view->files, &file->link);
  g_mutex_unlock (&view->lock);
  return file;
}

FscFile *
fsc_file_ref (FscFile *file)
{
  if (file != NULL)
    g_atomic_int_inc (&file->n_references);
  return file;
}

void
fsc_file_set_own_handle (FscFile *file, int fd, gboolean is_local)
{
  FscNode *node = file->node;

  file->has_own_handle = TRUE;
  file->handle = fsc_handle_new (fd, is_local);
  g_mutex_lock (&node->lock);
  g_queue_push_tail_link (&node->own, &file->own_link);
  g_mutex_unlock (&node->lock);
}

static void
close_handle (FscView *view, FscFile *file)
{
  FscNode *node = file->node;

  fsc_transport_close (view, file);
  if (file->is_sharing)
    fsc_keeper_unshare (view->keeper, file);
  if (file->has_own_handle)
    {
      g_mutex_lock (&node->lock);
      g_queue_unlink (&node->own, &file->own_link);
      g_mutex_unlock (&node->lock);
    }
  fsc_handle_unref (file->handle);
}

void
fsc_file_unref (FscView *view, FscFile *file)
{
  if (!g_atomic_int_dec_and_test (&file->n_references))
    return;
  if (file->handle != NULL)
    close_handle (view, file);
  if (file->text != NULL)
    g_string_free (file->text, TRUE);
  if (file->folder != NULL)
    fsc_folder_free (file->folder);
  g_mutex_lock (&view->lock);
  g_queue_unlink (&view->files, &file->link);
  g_mutex_unlock (&view->lock);
  fsc_node_unref (view->nodes, file->node, 1);
  g_free (file);
}

void
fsc_file_reply (FscCall *call, FscFile *file)
{
  call->info.fh = (uintptr_t) file;
  if (!fsc_call_claim (call) || fuse_reply_open (call->request, &call->info) != 0)
    fsc_file_unref (call->view, file);
}

/* Reading and writing */

static void
read_text (fuse_req_t request, const GString *text, size_t size, off_t offset)
{
  if (offset < 0 || (gsize) offset >= text->len)
    fuse_reply_buf (request, NULL, 0);
  else
    fuse_reply_buf (request, text->str + offset, MIN (size, text->len - (gsize) offset));
}

void
fsc_file_note_pages (FscFile *file)
{
  if (!g_atomic_int_get (&file->is_unread)
      || !g_atomic_int_compare_and_exchange (&file->is_unread, TRUE, FALSE))
    return;
  g_mutex_lock (&file->node->lock);
  if (file->is_cached && file->is_settled)
    file->node->pages = file->content;
  g_mutex_unlock (&file->node->lock);
}

gboolean
fsc_file_read_quickly (fuse_req_t request, FscFile *file, size_t size, off_t offset)
{
  struct fuse_bufvec content = FUSE_BUFVEC_INIT (size);

  if (file->text != NULL)
    {
      read_text (request, file->text, size, offset);
      return TRUE;
    }
  if (!file->handle->is_local)
    return FALSE;
  content.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
  content.buf[0].fd = file->handle->fd;
  content.buf[0].pos = offset;
  fuse_reply_data (request, &content, 0);
  return TRUE;
}

/* Into memory first: while it hangs, nobody has claimed the call. */
void
fsc_file_read (FscCall *call)
{
  g_autofree char *buffer = g_malloc (call->size);
  ssize_t length = pread (call->file->handle->fd, buffer, call->size, call->offset);

  if (length < 0)
    fsc_call_finish (call, errno);
  else
    fsc_call_reply_data (call, buffer, (gsize) length);
}

void
fsc_file_write (FscCall *call)
{
  ssize_t length = pwrite (call->file->handle->fd, call->data, call->size, call->offset);

  if (length < 0)
    fsc_call_finish (call, errno);
  else if (fsc_call_claim (call))
    fuse_reply_write (call->request, (size_t) length);
}

/* close() tells of failures, as do NFS and others. */
void
fsc_file_flush (FscCall *call)
{
  int fd;

  if (!call->file->has_own_handle || call->file->handle == NULL)
    {
      fsc_call_finish (call, 0);
      return;
    }
  fd = fcntl (call->file->handle->fd, F_DUPFD_CLOEXEC, 0);
  fsc_call_finish (call, fd < 0 || close (fd) < 0 ? errno : 0);
}

void
fsc_file_sync (FscCall *call)
{
  int fd = call->file->handle != NULL ? call->file->handle->fd : -1;

  fsc_call_finish (call, fd >= 0 && (call->flag ? fdatasync (fd) : fsync (fd)) < 0 ? errno : 0);
}

/* A text has no holes. */
static off_t
seek_text (const GString *text, off_t offset, int whence)
{
  if (offset < (off_t) text->len)
    return whence == SEEK_DATA ? offset : (off_t) text->len;
  errno = ENXIO;
  return -1;
}

/* For data and holes. It moves the offset of the handle, which nobody goes by. */
void
fsc_file_seek (FscCall *call)
{
  const FscFile *file = call->file;
  off_t offset = file->text != NULL ? seek_text (file->text, call->offset, call->whence)
                                    : lseek (file->handle->fd, call->offset, call->whence);

  if (offset < 0)
    fsc_call_finish (call, errno);
  else if (fsc_call_claim (call))
    fuse_reply_lseek (call->request, offset);
}

void
fsc_file_allocate (FscCall *call)
{
  int fd = call->file->handle->fd;
  int result = fallocate (fd, (int) call->mode, call->offset, (off_t) call->size);

  fsc_call_finish (call, result < 0 ? errno : 0);
}

/* Where the sources cannot do it between them (EXDEV), the kernel reads and writes. */
void
fsc_file_copy (FscCall *call)
{
  ssize_t length;

  if (call->file->handle == NULL)
    {
      fsc_call_finish (call, EXDEV);
      return;
    }
  length = copy_file_range (call->file->handle->fd, &call->offset, call->other->handle->fd,
                            &call->other_offset, MIN (call->size, COPY_MAX), 0);
  if (length < 0)
    fsc_call_finish (call, errno);
  else if (fsc_call_claim (call))
    fuse_reply_write (call->request, (size_t) length);
}

void
fsc_file_release (FscCall *call)
{
  FscFile *file = call->file;

  fsc_call_finish (call, 0);
  fsc_file_unref (call->view, file); /* the kernel's */
}

gboolean
fsc_file_release_quickly (fuse_req_t request, FscFile *file)
{
  FscView *view = fuse_req_userdata (request);

  if (file->handle == NULL || !file->handle->is_local)
    return FALSE;
  fuse_reply_err (request, 0);
  fsc_file_unref (view, file);
  return TRUE;
}

static int
truncate_file (FscCall *call)
{
  FscSource source;
  struct statx st;
  int fd, error = 0;

  if (call->file != NULL && call->file->has_own_handle)
    return ftruncate (call->file->handle->fd, call->offset) < 0 ? -errno : 0;
  fd = fsc_source_open (&call->caller, call->node->target, O_WRONLY, 0, &source);
  if (fd < 0)
    return fd;
  if (!fsc_look_is_of (call->node, fd, &st))
    error = -ESTALE;
  else if (ftruncate (fd, call->offset) < 0)
    error = -errno;
  close (fd);
  return error;
}

/* The owner first: a change of that ends bits of the mode. */
static int
set_by_name (FscCall *call)
{
  static const int owner = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
  static const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;
  const FscCaller *caller = &call->caller;
  struct statx st;
  int fd = fsc_look_open (call, &st), error = 0;

  if (fd < 0)
    return fd;
  if ((call->mask & owner) != 0)
    error = fsc_caller_set_owner (caller, fd, call->uid, call->gid);
  if (error == 0 && (call->mask & FUSE_SET_ATTR_MODE) != 0)
    error = fsc_caller_set_mode (caller, fd, call->mode);
  if (error == 0 && (call->mask & times) != 0)
    error = fsc_caller_set_times (caller, fd, call->times);
  close (fd);
  return error;
}

void
fsc_file_set_attributes (FscCall *call)
{
  static const int by_name = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_MODE
                             | FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;
  int error = 0;

  if (call->node->place == FSC_PLACE_SOURCE && !fsc_tree_is_file (call->node->path))
    error = -EROFS;
  else if (call->node->place != FSC_PLACE_SOURCE || call->node->barrier != 0)
    error = -EOPNOTSUPP;
  else if ((call->mask & FUSE_SET_ATTR_SIZE) != 0)
    error = truncate_file (call); /* the time is that of the source */
  else if ((call->mask & by_name) != 0)
    error = set_by_name (call);
  /* Else it is to lose its set-user-ID bits before a write, by which it does. */

  if (error < 0)
    fsc_call_finish (call, error);
  else
    fsc_look_get_attributes (call);
}
