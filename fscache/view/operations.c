/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What libfuse calls; see operations.h.
 */
#include "fscache/view/operations.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fscache/view/attribute.h"
#include "fscache/view/call.h"
#include "fscache/view/entry.h"
#include "fscache/view/file.h"
#include "fscache/view/folder.h"
#include "fscache/view/look.h"
#include "fscache/view/open.h"
#include "fscache/view/transport.h"

/* Requests of the kernel's own that wait in the background (reading ahead) may be as many as there
 * can be: a source that hangs must not use up all of them. They need no threads (gate.h). */
#define BACKGROUND_MAX G_MAXUINT16

/* Of what concerns a node, or an open file of it. */
static guint64
get_source (const FscCall *call)
{
  return call->file != NULL && call->file->handle != NULL ? call->file->handle->source
                                                          : call->node->source;
}

static void
run (FscCall *call, FscCallFunc func)
{
  if (call != NULL)
    fsc_call_run (call, get_source (call), func);
}

static void
run_interruptibly (FscCall *call, FscCallFunc func)
{
  if (call != NULL)
    fsc_call_run_interruptibly (call, get_source (call), func);
}

/* Of what concerns a name in it. */
static guint64
get_source_below (const FscCall *call)
{
  g_autofree char *path = fsc_tree_join (call->node->path, call->name);

  return fsc_node_get_source_below (call->node, path);
}

static void
run_below (FscCall *call, FscCallFunc func)
{
  if (call != NULL)
    fsc_call_run (call, get_source_below (call), func);
}

static void
op_init (void *data, struct fuse_conn_info *connection)
{
  FscView *view = data;

  connection->max_background = BACKGROUND_MAX;
  connection->congestion_threshold = BACKGROUND_MAX;
  fsc_transport_negotiate (&view->transport, connection);
  if (view->ready != NULL)
    view->ready (view->ready_data);
}

static void
op_lookup (fuse_req_t request, fuse_ino_t parent, const char *name)
{
  FscCall *call = fsc_call_new (request, parent, name);

  if (call != NULL)
    fsc_call_run_interruptibly (call, get_source_below (call), fsc_look_up);
}

static void
op_forget (fuse_req_t request, fuse_ino_t number, uint64_t n)
{
  FscView *view = fuse_req_userdata (request);

  fsc_node_unref (view->nodes, fsc_view_get_node (view, number), n);
  fuse_reply_none (request);
}

static void
op_forget_multi (fuse_req_t request, size_t count, struct fuse_forget_data *forgets)
{
  FscView *view = fuse_req_userdata (request);

  for (size_t i = 0; i < count; i++)
    fsc_node_unref (view->nodes, fsc_view_get_node (view, forgets[i].ino), forgets[i].nlookup);
  fuse_reply_none (request);
}

static void
op_getattr (fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info)
{
  run_interruptibly (fsc_call_new_for_file (request, number, info), fsc_look_get_attributes);
}

/* Of the two times, as utimensat() takes them. */
static struct timespec
get_time (int mask, int is_set, int is_now, struct timespec time)
{
  if ((mask & is_now) != 0)
    time.tv_nsec = UTIME_NOW;
  else if ((mask & is_set) == 0)
    time.tv_nsec = UTIME_OMIT;
  return time;
}

static void
op_setattr (fuse_req_t request, fuse_ino_t number, struct stat *attributes, int mask,
            struct fuse_file_info *info)
{
  FscCall *call = fsc_call_new_for_file (request, number, info);

  call->mask = mask;
  call->offset = attributes->st_size;
  call->mode = attributes->st_mode & ALLPERMS;
  call->uid = (mask & FUSE_SET_ATTR_UID) != 0 ? attributes->st_uid : (uid_t) -1;
  call->gid = (mask & FUSE_SET_ATTR_GID) != 0 ? attributes->st_gid : (gid_t) -1;
  call->times[0]
      = get_time (mask, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, attributes->st_atim);
  call->times[1]
      = get_time (mask, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, attributes->st_mtim);
  run (call, fsc_file_set_attributes);
}

static void
op_readlink (fuse_req_t request, fuse_ino_t number)
{
  run_interruptibly (fsc_call_new (request, number, NULL), fsc_look_read_link);
}

static void
op_access (fuse_req_t request, fuse_ino_t number, int mask)
{
  FscCall *call = fsc_call_new (request, number, NULL);

  if (call == NULL)
    return;
  call->mask = mask;
  run_interruptibly (call, fsc_look_access);
}

static void
op_statfs (fuse_req_t request, fuse_ino_t number)
{
  run_interruptibly (fsc_call_new (request, number, NULL), fsc_look_statfs);
}

static void
op_open (fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info)
{
  FscView *view = fuse_req_userdata (request);
  FscCall *call;

  if (fsc_open_quickly (request, fsc_view_get_node (view, number), info))
    return;
  call = fsc_call_new (request, number, NULL);
  if (call == NULL)
    return;
  call->info = *info;
  if ((info->flags & O_TRUNC) == 0)
    run_interruptibly (call, fsc_open);
  else
    fsc_call_run_cancellably (call, call->node->source, fsc_open);
}

static void
op_create (fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
           struct fuse_file_info *info)
{
  FscCall *call = fsc_call_new (request, parent, name);

  if (call == NULL)
    return;
  call->info = *info;
  call->mode = mode;
  fsc_call_run_cancellably (call, get_source_below (call), fsc_open_new);
}

static void
op_read (fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
         struct fuse_file_info *info)
{
  FscView *view = fuse_req_userdata (request);
  FscFile *file = fsc_file_ref ((FscFile *) (uintptr_t) info->fh);
  gboolean is_read;
  FscCall *call;

  if (file->text == NULL)
    g_atomic_pointer_add (&view->n_reads, 1);
  fsc_file_note_pages (file);
  /* Who has the answer may close the file before this thread has come back. */
  is_read = fsc_file_read_quickly (request, file, size, offset);
  fsc_file_unref (view, file);
  if (is_read)
    return;
  call = fsc_call_new_for_file (request, number, info);
  call->size = size;
  call->offset = offset;
  run_interruptibly (call, fsc_file_read);
}

static void
op_write (fuse_req_t request, fuse_ino_t number, const char *data, size_t size, off_t offset,
          struct fuse_file_info *info)
{
  FscCall *call = fsc_call_new_for_file (request, number, info);

  call->data = g_memdup2 (data, size);
  call->size = size;
  call->offset = offset;
  run (call, fsc_file_write);
}

static void
op_flush (fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info)
{
  run (fsc_call_new_for_file (request, number, info), fsc_file_flush);
}

static void
op_fsync (fuse_req_t request, fuse_ino_t number, int is_data, struct fuse_file_info *info)
{
  FscCall *call = fsc_call_new_for_file (request, number, info);

  call->flag = is_data;
  run (call, fsc_file_sync);
}

static void
op_lseek (fuse_req_t request, fuse_ino_t number, off_t offset, int whence,
          struct fuse_file_info *info)
{
  FscCall *call = fsc_call_new_for_file (request, number, info);

  call->offset = offset;
  call->whence = whence;
  run_interruptibly (call, fsc_file_seek);
}

static void
op_fallocate (fuse_req_t request, fuse_ino_t number, int mode, off_t offset, off_t length,
              struct fuse_file_info *info)
{
  FscCall *call = fsc_call_new_for_file (request, number, info);

  call->mode = (mode_t) mode;
  call->offset = offset;
  call->size = (size_t) length;
  run (call, fsc_file_allocate);
}

static void
op_copy_file_range (fuse_req_t request, fuse_ino_t number, off_t offset,
                    struct fuse_file_info *info, fuse_ino_t other, off_t other_offset,
                    struct fuse_file_info *other_info, size_t length, int flags)
{
  FscCall *call = fsc_call_new_for_file (request, number, info);
  const FscHandle *from = call->file->handle;

  call->offset = offset;
  call->other = fsc_file_ref ((FscFile *) (uintptr_t) other_info->fh);
  call->other_offset = other_offset;
  call->size = length;
  fsc_call_run (call, from == NULL || from->is_local ? call->other->handle->source : from->source,
                fsc_file_copy);
}

static void
op_release (fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info)
{
  if (!fsc_file_release_quickly (request, (FscFile *) (uintptr_t) info->fh))
    run (fsc_call_new_for_file (request, number, info), fsc_file_release);
}

static void
op_opendir (fuse_req_t request, fuse_ino_t number, struct fuse_file_info *info)
{
  FscCall *call = fsc_call_new (request, number, NULL);

  if (call == NULL)
    return;
  call->info = *info;
  run_interruptibly (call, fsc_folder_open);
}

static void
op_readdir (fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
            struct fuse_file_info *info)
{
  FscCall *call = fsc_call_new_for_file (request, number, info);

  call->size = size;
  call->offset = offset;
  run_interruptibly (call, fsc_folder_read);
}

static void
op_getxattr (fuse_req_t request, fuse_ino_t number, const char *name, size_t size)
{
  FscCall *call = fsc_call_new (request, number, name);

  if (call == NULL)
    return;
  call->size = size;
  run_interruptibly (call, fsc_attribute_get);
}

static void
op_listxattr (fuse_req_t request, fuse_ino_t number, size_t size)
{
  FscCall *call = fsc_call_new (request, number, NULL);

  if (call == NULL)
    return;
  call->size = size;
  run_interruptibly (call, fsc_attribute_list);
}

static void
op_setxattr (fuse_req_t request, fuse_ino_t number, const char *name, const char *value,
             size_t size, int flags)
{
  FscCall *call = fsc_call_new (request, number, name);

  if (call == NULL)
    return;
  call->data = g_memdup2 (value, size);
  call->size = size;
  run (call, fsc_attribute_set);
}

static void
op_removexattr (fuse_req_t request, fuse_ino_t number, const char *name)
{
  run (fsc_call_new (request, number, name), fsc_attribute_remove);
}

static void
op_unlink (fuse_req_t request, fuse_ino_t parent, const char *name)
{
  run_below (fsc_call_new (request, parent, name), fsc_entry_unlink);
}

static void
op_rmdir (fuse_req_t request, fuse_ino_t parent, const char *name)
{
  run_below (fsc_call_new (request, parent, name), fsc_entry_remove_directory);
}

/* What the view has no way to do. (Without a function it would be ENOSYS.) */

static void
op_mknod (fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
  fuse_reply_err (request, EOPNOTSUPP);
}

static void
op_mkdir (fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
  fuse_reply_err (request, EOPNOTSUPP);
}

static void
op_symlink (fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
  fuse_reply_err (request, EOPNOTSUPP);
}

static void
op_rename (fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
           const char *new_name, unsigned flags)
{
  fuse_reply_err (request, EOPNOTSUPP);
}

static void
op_link (fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char *name)
{
  fuse_reply_err (request, EOPNOTSUPP);
}

const struct fuse_lowlevel_ops fsc_operations = {
  .init = op_init,
  .lookup = op_lookup,
  .forget = op_forget,
  .forget_multi = op_forget_multi,
  .getattr = op_getattr,
  .setattr = op_setattr,
  .readlink = op_readlink,
  .access = op_access,
  .statfs = op_statfs,
  .open = op_open,
  .create = op_create,
  .read = op_read,
  .write = op_write,
  .flush = op_flush,
  .fsync = op_fsync,
  .lseek = op_lseek,
  .fallocate = op_fallocate,
  .copy_file_range = op_copy_file_range,
  .release = op_release,
  .opendir = op_opendir,
  .readdir = op_readdir,
  .releasedir = op_release,
  .getxattr = op_getxattr,
  .listxattr = op_listxattr,
  .setxattr = op_setxattr,
  .removexattr = op_removexattr,
  .unlink = op_unlink,
  .rmdir = op_rmdir,
  .mknod = op_mknod,
  .mkdir = op_mkdir,
  .symlink = op_symlink,
  .rename = op_rename,
  .link = op_link,
};
