/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bare-fuse: the least that a FUSE file system on a folder can cost, to compare the view with. It
 * shows the folder for reading, on libfuse's low-level interface with the threads that libfuse
 * starts by default, and does nothing that can be left out.
 *
 *     bare-fuse plain|passthrough|kept|empty|single SOURCE MOUNTPOINT
 *
 * By passthrough the kernel reads the files by itself, which takes libfuse 3.17; kept ones have the
 * same backing file for ever, so that an open does nothing but name it. An empty one answers an
 * open without opening anything, and so cannot be read; a single one does that in one thread, which
 * saves the kernel from waking another, but lets all wait for one. Runs in the foreground, until
 * SIGTERM.
 */
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TIMEOUT 1.0 /* of names and attributes: libfuse's own default */

#define HAS_PASSTHROUGH (FUSE_VERSION >= FUSE_MAKE_VERSION (3, 17))

typedef struct Node
{
  struct Node *next;
  int fd; /* O_PATH */
  dev_t device;
  ino_t inode;
  unsigned n_open;
  int backing; /* while it is open, by passthrough, or for ever */
} Node;

typedef struct
{
  pthread_mutex_t lock;
  Node root; /* and, in its list, the few others: they stay */
  bool is_passthrough, is_kept, is_empty, is_single;
} Bare;

static Node *
get_node (fuse_req_t request, fuse_ino_t inode)
{
  Bare *bare = fuse_req_userdata (request);

  return inode == FUSE_ROOT_ID ? &bare->root : (Node *) (uintptr_t) inode;
}

/* Takes the descriptor. */
static Node *
find_node (Bare *bare, int fd, const struct stat *st)
{
  Node *node = &bare->root;

  pthread_mutex_lock (&bare->lock);
  while (node != NULL && (node->inode != st->st_ino || node->device != st->st_dev))
    node = node->next;
  if (node != NULL)
    {
      close (fd);
    }
  else
    {
      node = malloc (sizeof *node);
      *node = (Node){ bare->root.next, fd, st->st_dev, st->st_ino, 0, 0 };
      bare->root.next = node;
    }
  pthread_mutex_unlock (&bare->lock);
  return node;
}

static void
serve_lookup (fuse_req_t request, fuse_ino_t parent, const char *name)
{
  struct fuse_entry_param entry = { .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT };
  int fd = openat (get_node (request, parent)->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

  if (fd < 0 || fstat (fd, &entry.attr) < 0)
    {
      fuse_reply_err (request, errno);
      return;
    }
  entry.ino = (uintptr_t) find_node (fuse_req_userdata (request), fd, &entry.attr);
  fuse_reply_entry (request, &entry);
}

static void
serve_getattr (fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
  struct stat st;

  if (fstat (get_node (request, inode)->fd, &st) < 0)
    fuse_reply_err (request, errno);
  else
    fuse_reply_attr (request, &st, TIMEOUT);
}

static int
reopen (const Node *node, int flags)
{
  char path[64];

  snprintf (path, sizeof path, "/proc/self/fd/%d", node->fd);
  return open (path, flags | O_CLOEXEC);
}

/* The kernel wants one backing file for all who have a file open. */
static void
open_backing (fuse_req_t request, Node *node, struct fuse_file_info *info)
{
#if HAS_PASSTHROUGH
  Bare *bare = fuse_req_userdata (request);

  pthread_mutex_lock (&bare->lock);
  if (node->n_open++ == 0)
    node->backing = fuse_passthrough_open (request, (int) info->fh);
  info->backing_id = node->backing;
  pthread_mutex_unlock (&bare->lock);
#endif
}

static void
close_backing (fuse_req_t request, Node *node)
{
#if HAS_PASSTHROUGH
  Bare *bare = fuse_req_userdata (request);

  pthread_mutex_lock (&bare->lock);
  if (--node->n_open == 0)
    fuse_passthrough_close (request, node->backing);
  pthread_mutex_unlock (&bare->lock);
#endif
}

static void
serve_open (fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
  const Bare *bare = fuse_req_userdata (request);
  Node *node = get_node (request, inode);

  info->noflush = 1;
  info->keep_cache = !bare->is_passthrough;
  if (bare->is_kept && node->n_open > 0)
    open_backing (request, node, info);
  else if (!bare->is_empty)
    {
      int fd = reopen (node, O_RDONLY);

      if (fd < 0)
        {
          fuse_reply_err (request, errno);
          return;
        }
      info->fh = (uint64_t) fd;
      if (bare->is_passthrough)
        open_backing (request, node, info);
    }
  fuse_reply_open (request, info);
}

static void
serve_release (fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
  const Bare *bare = fuse_req_userdata (request);

  if (bare->is_passthrough && !bare->is_kept)
    close_backing (request, get_node (request, inode));
  if (!bare->is_empty && !bare->is_kept)
    close ((int) info->fh);
  fuse_reply_err (request, 0);
}

static void
serve_read (fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
            struct fuse_file_info *info)
{
  struct fuse_bufvec buffer = FUSE_BUFVEC_INIT (size);

  buffer.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
  buffer.buf[0].fd = (int) info->fh;
  buffer.buf[0].pos = offset;
  fuse_reply_data (request, &buffer, 0);
}

static void
serve_opendir (fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
  int fd = reopen (get_node (request, inode), O_RDONLY | O_DIRECTORY);
  DIR *folder = fd >= 0 ? fdopendir (fd) : NULL;

  info->fh = (uintptr_t) folder;
  if (folder == NULL)
    fuse_reply_err (request, errno);
  else
    fuse_reply_open (request, info);
}

static void
serve_readdir (fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
               struct fuse_file_info *info)
{
  DIR *folder = (DIR *) (uintptr_t) info->fh;
  char *buffer = malloc (size);
  size_t used = 0;
  struct dirent *entry;

  if (offset != telldir (folder))
    seekdir (folder, offset);
  while ((entry = readdir (folder)) != NULL)
    {
      struct stat st = { .st_ino = entry->d_ino, .st_mode = (mode_t) DTTOIF (entry->d_type) };
      size_t n = fuse_add_direntry (request, buffer + used, size - used, entry->d_name, &st,
                                    entry->d_off);

      if (n > size - used)
        break;
      used += n;
      offset = entry->d_off;
    }
  if (entry != NULL)
    seekdir (folder, offset); /* that one is for the next time */
  fuse_reply_buf (request, buffer, used);
  free (buffer);
}

static void
serve_releasedir (fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
  closedir ((DIR *) (uintptr_t) info->fh);
  fuse_reply_err (request, 0);
}

static void
init (void *data, struct fuse_conn_info *connection)
{
#if HAS_PASSTHROUGH
  const Bare *bare = data;

  if (bare->is_passthrough)
    {
      connection->want |= FUSE_CAP_PASSTHROUGH;
      connection->max_backing_stack_depth = 1;
    }
#endif
}

static const struct fuse_lowlevel_ops operations = {
  .init = init,
  .lookup = serve_lookup,
  .getattr = serve_getattr,
  .open = serve_open,
  .read = serve_read,
  .release = serve_release,
  .opendir = serve_opendir,
  .readdir = serve_readdir,
  .releasedir = serve_releasedir,
};

static int
fail (const char *what)
{
  fprintf (stderr, "bare-fuse: %s: %s\n", what, strerror (errno));
  return 1;
}

static int
run_threads (struct fuse_session *session)
{
  struct fuse_loop_config *config = fuse_loop_cfg_create ();
  int result = fuse_session_loop_mt (session, config);

  fuse_loop_cfg_destroy (config);
  return result;
}

static int
serve (Bare *bare, const char *mountpoint)
{
  struct fuse_args arguments = FUSE_ARGS_INIT (0, NULL);
  struct fuse_session *session;
  int status = 1;

  fuse_opt_add_arg (&arguments, "bare-fuse");
  fuse_opt_add_arg (&arguments, "-ofsname=bare-fuse");
  session = fuse_session_new (&arguments, &operations, sizeof operations, bare);
  fuse_opt_free_args (&arguments);
  if (session == NULL)
    return 1;
  if (fuse_set_signal_handlers (session) == 0 && fuse_session_mount (session, mountpoint) == 0)
    {
      status = (bare->is_single ? fuse_session_loop (session) : run_threads (session)) < 0;
      fuse_session_unmount (session);
    }
  fuse_session_destroy (session);
  return status;
}

int
main (int argc, char **argv)
{
  Bare bare = { .lock = PTHREAD_MUTEX_INITIALIZER };
  struct stat st;

  if (argc != 4)
    {
      fprintf (stderr, "usage: bare-fuse plain|passthrough|kept|empty|single SOURCE MOUNTPOINT\n");
      return 2;
    }
  bare.is_kept = strcmp (argv[1], "kept") == 0;
  bare.is_passthrough = bare.is_kept || strcmp (argv[1], "passthrough") == 0;
  bare.is_single = strcmp (argv[1], "single") == 0;
  bare.is_empty = bare.is_single || strcmp (argv[1], "empty") == 0;
  if (bare.is_passthrough && !HAS_PASSTHROUGH)
    {
      fprintf (stderr, "it was built with a libfuse older than 3.17\n");
      return 1;
    }
  bare.root.fd = open (argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (bare.root.fd < 0 || fstat (bare.root.fd, &st) < 0)
    return fail (argv[2]);
  bare.root.device = st.st_dev;
  bare.root.inode = st.st_ino;
  return serve (&bare, argv[3]);
}
