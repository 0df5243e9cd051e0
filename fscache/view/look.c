/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names and attributes; see look.h.
 */
#include "fscache/view/look.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fscache/view/entry.h"
#include "fscache/view/handle.h"
#include "fscache/view/keep.h"
#include "fscache/view/source.h"

/* Numbers of inodes: the source's, with the number of the device above, so that two files with the
 * same number on different devices are not taken for one; the view's own have the highest bit. */
#define DEVICE_SHIFT 48
#define OWN_INODE (G_GUINT64_CONSTANT (1) << 63)

/* Whoever comes by a path has looked up the directory less long ago than this, in µs: with -o exact
 * it is not asked for twice. */
#define ON_THE_WAY 2000

void
fsc_look_fill_own (const FscView *view, const char *path, mode_t mode, struct stat *out)
{
  *out = (struct stat){
    .st_ino = OWN_INODE | g_str_hash (path),
    .st_mode = mode,
    .st_nlink = S_ISDIR (mode) ? 2 : 1,
    .st_uid = view->uid,
    .st_gid = getegid (),
    .st_blksize = 4096,
  };
}

guint64
fsc_look_get_inode (const FscView *view, const FscNode *node, guint64 inode)
{
  return inode ^ (guint64) fsc_nodes_get_device (view->nodes, node->identity.dev) << DEVICE_SHIFT;
}

static struct timespec
get_time (struct statx_timestamp time)
{
  return (struct timespec){ .tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec };
}

void
fsc_look_fill (const FscView *view, FscNode *node, const struct statx *st, struct stat *out)
{
  *out = (struct stat){
    .st_ino = fsc_look_get_inode (view, node, st->stx_ino),
    .st_mode = st->stx_mode,
    .st_nlink = node->target[0] == '/' ? st->stx_nlink : 1, /* memory has no names */
    .st_uid = st->stx_uid,
    .st_gid = st->stx_gid,
    .st_rdev = makedev (st->stx_rdev_major, st->stx_rdev_minor),
    .st_size = (off_t) st->stx_size,
    .st_blksize = st->stx_blksize,
    .st_blocks = (blkcnt_t) st->stx_blocks,
    .st_atim = get_time (st->stx_atime),
    .st_mtim = get_time (st->stx_mtime),
    .st_ctim = get_time (st->stx_ctime),
  };
  fsc_node_tell (node, st);
}

static int
get_status (int fd, struct statx *st)
{
  return statx (fd, "", AT_EMPTY_PATH, FSC_LOOK_MASK, st) < 0 ? -errno : 0;
}

gboolean
fsc_look_is_of (const FscNode *node, int fd, struct statx *st)
{
  return statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, FSC_LOOK_MASK, st) == 0
         && fsc_node_is (node, st);
}

int
fsc_look_open (FscCall *call, struct statx *st)
{
  FscSource source;
  int error;
  int fd = fsc_source_look (&call->caller, call->node->target, FALSE, &source);

  if (fd < 0)
    return fd;
  error = get_status (fd, st);
  if (error == 0 && !fsc_node_is (call->node, st))
    error = -ESTALE;
  if (error == 0)
    return fd;
  close (fd);
  return error;
}

int
fsc_look_check_parent (FscCall *call)
{
  FscNode *parent = call->node;
  gint64 now = g_get_monotonic_time ();
  gint64 known = call->view->is_exact ? ON_THE_WAY : (gint64) (FSC_VIEW_TIMEOUT * G_USEC_PER_SEC);
  struct statx st;
  int fd;

  if (!parent->is_local || parent->identity.dev == 0 || now - fsc_node_get_seen (parent) < known)
    return 0;
  fd = fsc_look_open (call, &st);
  if (fd < 0)
    return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
  close (fd);
  fsc_node_see (parent, now);
  return 0;
}

/* Looking up */

static void
reply_entry (FscCall *call, FscNode *node, const struct stat *attributes)
{
  struct fuse_entry_param entry = { .ino = fsc_view_get_number (call->view, node),
                                    .attr = *attributes,
                                    .attr_timeout = call->view->timeout,
                                    .entry_timeout = call->view->timeout };

  /* The reference is the kernel's now, if it gets to know of it. */
  if (!fsc_call_claim (call) || fuse_reply_entry (call->request, &entry) != 0)
    fsc_node_unref (call->view->nodes, node, 1);
}

/* A name that is the view's own. */
static void
look_up_own (FscCall *call, const char *path, mode_t mode, int barrier)
{
  const FscNodeIdentity identity = { .inode = (guint64) barrier };
  FscNode *node = fsc_nodes_get (call->view->nodes, path, &identity, mode, TRUE);
  struct stat attributes;

  fsc_look_fill_own (call->view, path, mode, &attributes);
  reply_entry (call, node, &attributes);
}

/* Opens what has changed while it was being opened, for the open that comes next. Returns -1 for
 * what cannot be opened so. */
static int
open_doubtful (FscCall *call, const char *target, FscSource *source)
{
  int fd = fsc_source_open_shared (&call->caller, target, O_NOFOLLOW, TRUE, source);

  return fd >= 0 ? fd : -1;
}

/* Whether a path leads to a file, perhaps by symlinks. */
static gboolean
leads_to_file (FscCall *call, const char *path)
{
  FscSource source;
  struct statx st;
  int fd = fsc_source_open (&call->caller, path, O_PATH, 0, &source);
  gboolean is_file = fd >= 0 && get_status (fd, &st) == 0 && S_ISREG (st.stx_mode);

  if (fd >= 0)
    close (fd);
  return is_file;
}

/* What is to be looked at. Below open/unpack/ all but files is that of the source: directories, and
 * what leads to them. */
static char *
find_target (FscCall *call, const char *path)
{
  g_autofree char *unpacked = fsc_tree_get_unpacked (path);

  if (unpacked != NULL && !leads_to_file (call, unpacked))
    return g_steal_pointer (&unpacked);
  return fsc_tree_get_target (path);
}

static void
look_up_source (FscCall *call, const char *path)
{
  gboolean is_doubtful = fsc_nodes_is_doubtful (call->view->nodes, path);
  g_autofree char *target = call->node->barrier == 0 ? find_target (call, path) : NULL;
  FscNodeIdentity identity;
  struct stat attributes;
  FscSource source;
  struct statx st;
  gint64 began = g_get_monotonic_time ();
  FscNode *node;
  int fd = -1, fresh, error;

  if (target == NULL)
    {
      fsc_call_finish (call, call->node->barrier != 0 ? call->node->barrier : ENOENT);
      return;
    }
  if (strlen (target) >= PATH_MAX)
    {
      fsc_call_finish (call, ENAMETOOLONG);
      return;
    }
  error = fsc_look_check_parent (call);
  if (error < 0)
    {
      fsc_call_finish (call, error);
      return;
    }
  fresh = fd = is_doubtful ? open_doubtful (call, target, &source) : -1;
  if (fd < 0)
    fd = fsc_source_look (&call->caller, target, is_doubtful, &source);
  if (fd < 0 && source.is_shut)
    {
      look_up_own (call, path, S_IFDIR, -fd);
      return;
    }
  error = fd < 0 ? fd : get_status (fd, &st);
  if (error != 0)
    {
      if (fd >= 0)
        close (fd);
      fsc_call_finish (call, error);
      return;
    }

  /* A directory that was put under a name has no names for what is in it. */
  if (target[0] != '/' && S_ISDIR (st.stx_mode))
    {
      close (fd);
      look_up_own (call, path, S_IFDIR, EOPNOTSUPP);
      return;
    }
  identity = fsc_node_get_identity (&st);
  node = (is_doubtful && !source.is_local ? fsc_nodes_get_own : fsc_nodes_get) (
      call->view->nodes, path, &identity, st.stx_mode, source.is_local);
  /* What had to be opened to be looked at need not be opened again at once. */
  if (target[0] != '/' && !call->view->is_exact)
    fresh = fd;
  if (fresh >= 0 && S_ISREG (st.stx_mode))
    fsc_keeper_offer (call->view->keeper, node, fresh, call->caller.number);
  close (fd);
  fsc_node_see (node, began);
  fsc_look_fill (call->view, node, &st, &attributes);
  reply_entry (call, node, &attributes);
}

static void
look_up_entry (FscCall *call, const char *path)
{
  const FscNodeIdentity identity = { 0 };
  struct stat attributes;
  int error = fsc_entry_get_attributes (&call->caller, path, &attributes);

  if (error != 0)
    {
      fsc_call_finish (call, error);
      return;
    }
  reply_entry (call, fsc_nodes_get (call->view->nodes, path, &identity, attributes.st_mode, TRUE),
               &attributes);
}

void
fsc_look_up (FscCall *call)
{
  g_autofree char *path = fsc_tree_join (call->node->path, call->name);

  switch (fsc_tree_get_place (path))
    {
    case FSC_PLACE_STATUS:
    case FSC_PLACE_METRICS:
      look_up_own (call, path, S_IFREG | 0444, 0);
      break;
    case FSC_PLACE_OPEN:
    case FSC_PLACE_CACHED:
      look_up_own (call, path, S_IFDIR | 0755, 0);
      break;
    case FSC_PLACE_SOURCE:
      look_up_source (call, path);
      break;
    case FSC_PLACE_ENTRY:
      look_up_entry (call, path);
      break;
    default:
      fsc_call_finish (call, ENOENT);
    }
}

/* Attributes */

/* Of an open file those of what is open, whatever has its name now, and whoever asks: he has the
 * file, or has looked up its name. (The kernel does not say for which file it asks.) */
static FscHandle *
get_open_handle (const FscCall *call)
{
  const FscFile *file = call->file;
  FscNode *node = call->node;
  FscHandle *handle = NULL;

  g_mutex_lock (&node->lock);
  if (file == NULL && node->own.head != NULL)
    file = node->own.head->data;
  if (file != NULL)
    handle = file->handle;
  else if (node->n_sharing > 0)
    handle = node->reading;
  if (handle != NULL)
    fsc_handle_ref (handle);
  g_mutex_unlock (&node->lock);
  return handle;
}

static int
get_open_status (const FscCall *call, struct statx *st)
{
  g_autoptr (FscHandle) handle = get_open_handle (call);

  return handle != NULL ? get_status (handle->fd, st) : -EBADF;
}

static int
get_source_attributes (FscCall *call, struct stat *attributes)
{
  struct statx st;
  int error = get_open_status (call, &st);
  int fd;

  /* What is open may be dead, and its number in use again under its name. */
  if (error < 0)
    {
      fd = fsc_look_open (call, &st);
      if (fd >= 0)
        close (fd);
      if (fd >= 0 || error == -EBADF)
        error = MIN (fd, 0);
    }
  if (error == 0)
    fsc_look_fill (call->view, call->node, &st, attributes);
  return error;
}

static int
get_attributes (FscCall *call, struct stat *attributes)
{
  FscNode *node = call->node;
  gboolean is_file = node->place == FSC_PLACE_STATUS || node->place == FSC_PLACE_METRICS;

  if (node->place == FSC_PLACE_SOURCE && node->barrier == 0)
    return get_source_attributes (call, attributes);
  if (node->place == FSC_PLACE_ENTRY)
    return fsc_entry_get_attributes (&call->caller, node->path, attributes);
  if (!fsc_caller_is_served (&call->caller))
    return -EACCES;
  fsc_look_fill_own (call->view, node->path,
                     node->barrier != 0 ? S_IFDIR
                     : is_file          ? S_IFREG | 0444
                                        : S_IFDIR | 0755,
                     attributes);
  return 0;
}

void
fsc_look_get_attributes (FscCall *call)
{
  struct stat attributes;
  int error = get_attributes (call, &attributes);

  if (error < 0)
    fsc_call_finish (call, error);
  else if (fsc_call_claim (call))
    fuse_reply_attr (call->request, &attributes, call->view->timeout);
}

void
fsc_look_read_link (FscCall *call)
{
  char target[PATH_MAX + 1];
  struct statx st;
  ssize_t length;
  int fd = fsc_look_open (call, &st);

  if (fd < 0)
    {
      fsc_call_finish (call, fd);
      return;
    }
  length = readlinkat (fd, "", target, PATH_MAX);
  if (length < 0)
    fsc_call_finish (call, errno);
  else if (fsc_call_claim (call))
    {
      target[length] = '\0';
      fuse_reply_readlink (call->request, target);
    }
  close (fd);
}

/* The kernel itself knows that the mount is read-only. */
void
fsc_look_access (FscCall *call)
{
  FscNode *node = call->node;
  struct statx st;
  int fd;

  if (node->place != FSC_PLACE_SOURCE || node->barrier != 0)
    {
      gboolean is_allowed
          = (call->mask & W_OK) == 0 || (S_ISDIR (node->type) && node->place == FSC_PLACE_ENTRY);

      fsc_call_finish (call, is_allowed ? 0 : EACCES);
      return;
    }
  fd = fsc_look_open (call, &st);
  if (fd < 0)
    {
      fsc_call_finish (call, fd);
      return;
    }
  fsc_call_finish (call, fsc_caller_access (&call->caller, fd, call->mask));
  close (fd);
}

void
fsc_look_statfs (FscCall *call)
{
  struct statvfs fs = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255 };
  struct statx st;
  int fd;

  if (call->node->place == FSC_PLACE_SOURCE && call->node->barrier == 0)
    {
      fd = fsc_look_open (call, &st);
      if (fd < 0 || fstatvfs (fd, &fs) < 0)
        {
          fsc_call_finish (call, fd < 0 ? fd : errno);
          if (fd >= 0)
            close (fd);
          return;
        }
      close (fd);
    }
  if (fsc_call_claim (call))
    fuse_reply_statfs (call->request, &fs);
}
