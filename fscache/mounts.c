/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The mounts of the service's namespace; see mounts.h.
 */
#include "fscache/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/failure.h"
#include "fscache/mountinfo.h"

/* So many mounts are read whenever one changes (in a tenth of a millisecond or so); more only when
 * they are needed. */
#define READ_AT_ONCE 256

struct FscMounts
{
  FscLoop *loop;
  FscPoll poll;
  GArray *mounts; /* of FscMount */
  guint32 root;   /* the ID of the mount of "/" */
  gboolean is_read;
  gboolean is_stale;
};

static void
mount_clear (gpointer data)
{
  g_free (((FscMount *) data)->path);
}

static gboolean
parse_line (char *text, FscMount *mount)
{
  FscMountLine line;

  if (!fsc_mountinfo_parse (text, &line))
    return FALSE;
  *mount = (FscMount){ .id = line.id,
                       .parent = line.parent,
                       .path = g_strcompress (line.path),
                       .source = g_str_hash (line.device) * 31 + g_str_hash (line.root),
                       .is_local = fsc_mountinfo_is_local (line.type),
                       .is_view = g_str_equal (line.type, FSC_MOUNT_TYPE_VIEW) };
  mount->length = strlen (mount->path);
  return TRUE;
}

static const FscMount *
find_by_id (const FscMounts *mounts, guint32 mount_id)
{
  for (guint i = 0; i < mounts->mounts->len; i++)
    {
      const FscMount *mount = &g_array_index (mounts->mounts, FscMount, i);

      if (mount->id == mount_id)
        return mount;
    }
  return NULL;
}

/* Of several mounts at "/" all but one are out of sight; and in a chroot that is no mount point,
 * the mount that "/" lies on is not in the list. */
static void
find_root (FscMounts *mounts)
{
  struct statx st;
  FscMount root = { .length = 1 };

  if (statx (AT_FDCWD, "/", AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) < 0)
    return;
  mounts->root = (guint32) st.stx_mnt_id;
  if (find_by_id (mounts, mounts->root) != NULL)
    return;
  root.id = mounts->root;
  root.path = g_strdup ("/");
  g_array_prepend_val (mounts->mounts, root);
}

static gboolean
is_same (const FscMount *a, const FscMount *b)
{
  return a->id == b->id && a->parent == b->parent && a->source == b->source
         && g_str_equal (a->path, b->path);
}

/* IDs are used again. Mostly nothing has changed before `index`. */
static gint64
find_since (const FscMounts *mounts, const GArray *before, const FscMount *mount, guint index)
{
  if (index < before->len && is_same (&g_array_index (before, FscMount, index), mount))
    return g_array_index (before, FscMount, index).since;
  for (guint i = 0; i < before->len; i++)
    if (is_same (&g_array_index (before, FscMount, i), mount))
      return g_array_index (before, FscMount, i).since;
  return mounts->is_read ? fsc_loop_get_time (mounts->loop) : 0;
}

static GArray *
make_list (void)
{
  GArray *list = g_array_new (FALSE, FALSE, sizeof (FscMount));

  g_array_set_clear_func (list, mount_clear);
  return list;
}

static void
read_mounts (FscMounts *mounts)
{
  g_autofree char *content = NULL;
  g_autoptr (GArray) before = NULL;
  char *line, *next;

  /* Without a descriptor to read it with, what was there before will do until there is one. */
  if (!g_file_get_contents ("/proc/self/mountinfo", &content, NULL, NULL))
    return;
  mounts->is_stale = FALSE;
  before = mounts->mounts;
  mounts->mounts = make_list ();
  for (line = content; line != NULL && *line != '\0'; line = next)
    {
      FscMount mount;

      next = strchr (line, '\n');
      if (next != NULL)
        *next++ = '\0';
      if (!parse_line (line, &mount))
        continue;
      mount.since = find_since (mounts, before, &mount, mounts->mounts->len);
      g_array_append_val (mounts->mounts, mount);
    }
  mounts->is_read = TRUE;
  find_root (mounts);
}

static void
mounts_ready (FscPoll *poll, guint32 events)
{
  FscMounts *mounts = poll->data;

  /* Who looks only later takes another mount with the same ID for the one that was there. */
  mounts->is_stale = TRUE;
  if (mounts->is_read && mounts->mounts->len <= READ_AT_ONCE)
    read_mounts (mounts);
}

FscMounts *
fsc_mounts_new (FscLoop *loop, GError **error)
{
  FscMounts *mounts = g_new0 (FscMounts, 1);

  mounts->loop = loop;
  mounts->mounts = make_list ();
  mounts->is_stale = TRUE;
  mounts->poll = (FscPoll){ .fd = open ("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC),
                            .ready = mounts_ready,
                            .data = mounts };
  /* The kernel signals a change once, as POLLPRI and POLLERR. */
  if (mounts->poll.fd < 0 || !fsc_loop_add (loop, &mounts->poll, EPOLLPRI | EPOLLET))
    {
      fsc_failure_set_errno (error, errno, "cannot watch /proc/self/mountinfo");
      fsc_mounts_free (mounts);
      return NULL;
    }
  return mounts;
}

void
fsc_mounts_free (FscMounts *mounts)
{
  if (mounts->poll.fd >= 0)
    {
      fsc_loop_remove (mounts->loop, &mounts->poll);
      close (mounts->poll.fd);
    }
  g_array_unref (mounts->mounts);
  g_free (mounts);
}

static gboolean
lies_on (const char *path, const FscMount *mount)
{
  return strncmp (path, mount->path, mount->length) == 0
         && (path[mount->length] == '/' || path[mount->length] == '\0');
}

/* The mount that a walk along `path` enters first from this one, or NULL. What is mounted on "/"
 * after the process has started is not seen from there. */
static const FscMount *
find_child (const FscMounts *mounts, const FscMount *from, const char *path)
{
  const FscMount *first = NULL;

  for (guint i = 0; i < mounts->mounts->len; i++)
    {
      const FscMount *mount = &g_array_index (mounts->mounts, FscMount, i);

      if (mount->parent == from->id && mount->id != from->id && mount->length > 1
          && (first == NULL || mount->length < first->length) && lies_on (path, mount))
        first = mount;
    }
  return first;
}

/* As the kernel does it, from "/" on, so that what lies beneath another mount is not found. */
const FscMount *
fsc_mounts_find (FscMounts *mounts, const char *path)
{
  const FscMount *found, *next;

  if (mounts->is_stale)
    read_mounts (mounts);
  found = next = find_by_id (mounts, mounts->root);
  for (guint left = mounts->mounts->len; next != NULL && left > 0; left--)
    {
      found = next;
      next = find_child (mounts, found, path);
    }
  return found;
}

static gboolean
has_mount (const GArray *list, guint32 id)
{
  for (guint i = 0; i < list->len; i++)
    if (g_array_index (list, FscMount, i).id == id)
      return TRUE;
  return FALSE;
}

static void
add_mount (GArray *list, const FscMount *mount)
{
  FscMount copy = { .id = mount->id, .parent = mount->parent, .since = mount->since };

  g_array_append_val (list, copy);
}

GArray *
fsc_mounts_get_tree (FscMounts *mounts, const char *path, gboolean is_deep)
{
  const FscMount *top = fsc_mounts_find (mounts, path);
  GArray *tree;
  guint before;

  if (top == NULL || !g_str_equal (top->path, path))
    return NULL;
  tree = g_array_new (FALSE, FALSE, sizeof (FscMount));
  add_mount (tree, top);
  do
    {
      before = tree->len;
      for (guint i = 0; is_deep && i < mounts->mounts->len; i++)
        {
          const FscMount *mount = &g_array_index (mounts->mounts, FscMount, i);

          if (has_mount (tree, mount->parent) && !has_mount (tree, mount->id))
            add_mount (tree, mount);
        }
    }
  while (tree->len > before); /* a mount may stand before that which it is mounted on */
  return tree;
}

gboolean
fsc_mounts_contain (FscMounts *mounts, guint32 mount_id)
{
  if (mounts->is_stale)
    read_mounts (mounts);
  return find_by_id (mounts, mount_id) != NULL;
}

const char *
fsc_mounts_get_path (FscMounts *mounts, guint32 mount_id)
{
  const FscMount *mount;

  if (mounts->is_stale)
    read_mounts (mounts);
  mount = find_by_id (mounts, mount_id);
  return mount != NULL ? mount->path : "(unmounted)";
}

void
fsc_mounts_forget (FscMounts *mounts)
{
  mounts->is_stale = TRUE;
}
