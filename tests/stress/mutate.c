/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names, files and modes; see mutate.h. What is mounted is in mount-step.c.
 */
#include "tests/stress/mutate.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/stress/beneath.h"
#include "tests/stress/mount-step.h"

static int
result_of (int result)
{
  return result < 0 ? -errno : 0;
}

/* A directory and a name in it. */
typedef struct
{
  int dir; /* path-only */
  const char *name;
} Place;

static int
find_place (const DiffTree *tree, const char *path, Place *place)
{
  const char *slash = strrchr (path, '/');
  g_autofree char *parent = slash != NULL ? g_strndup (path, (gsize) (slash - path)) : NULL;

  place->name = slash != NULL ? slash + 1 : path;
  place->dir = diff_beneath_open (tree->fd, parent != NULL ? parent : ".", O_PATH | O_DIRECTORY);
  return place->dir < 0 ? place->dir : 0;
}

/* Content */

static int
write_content (int fd, guint32 number)
{
  char content[16];
  int length = g_snprintf (content, sizeof content, "%u\n", number);
  int result = write (fd, content, (size_t) length) == length ? 0 : -EIO;

  close (fd);
  return result;
}

static int
create (const Place *place, guint32 number)
{
  int fd = openat (place->dir, place->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

  return fd < 0 ? -errno : write_content (fd, number);
}

static int
write_anew (const DiffTree *tree, const DiffStep *step)
{
  int fd = diff_beneath_open (tree->fd, step->a, O_WRONLY | O_TRUNC | O_NONBLOCK | O_NOCTTY);

  return fd < 0 ? fd : write_content (fd, step->number);
}

static int
link_unnamed (const Place *place, guint32 number)
{
  int fd = openat (place->dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
  char name[32];
  int result, copy;

  if (fd < 0)
    return -errno;
  copy = fcntl (fd, F_DUPFD_CLOEXEC, 0);
  write_content (copy, number);
  g_snprintf (name, sizeof name, "/proc/self/fd/%d", fd);
  result = result_of (linkat (AT_FDCWD, name, place->dir, place->name, AT_SYMLINK_FOLLOW));
  close (fd);
  return result;
}

/* Makes it beside the name, and renames it over. */
static int
replace (const DiffTree *tree, const Place *place, const DiffStep *step)
{
  char name[32];
  Place beside = { place->dir, name };
  int result;

  g_snprintf (name, sizeof name, ".new-%d", (int) gettid ());
  if (step->kind == DIFF_REPLACE)
    result = create (&beside, step->number);
  else
    {
      g_autofree char *target = diff_beneath_expand (tree->path, step->b);

      result = result_of (symlinkat (target, place->dir, name));
    }
  if (result == 0)
    result = result_of (renameat (place->dir, name, place->dir, place->name));
  if (result < 0)
    unlinkat (place->dir, name, 0);
  return result;
}

static int
make_special (const Place *place, mode_t type)
{
  return result_of (mknodat (place->dir, place->name, type | 0644, makedev (1, 3)));
}

static int
change_name (const DiffTree *tree, const Place *place, const DiffStep *step)
{
  g_autofree char *target = NULL;

  switch (step->kind)
    {
    case DIFF_CREATE:
      return create (place, step->number);
    case DIFF_TMPFILE:
      return link_unnamed (place, step->number);
    case DIFF_SYMLINK:
      target = diff_beneath_expand (tree->path, step->b);
      return result_of (symlinkat (target, place->dir, place->name));
    case DIFF_REPLACE:
    case DIFF_SWAP_SYMLINK:
      return replace (tree, place, step);
    case DIFF_MKDIR:
      return result_of (mkdirat (place->dir, place->name, step->number));
    case DIFF_RMDIR:
      return result_of (unlinkat (place->dir, place->name, AT_REMOVEDIR));
    case DIFF_UNLINK:
      return result_of (unlinkat (place->dir, place->name, 0));
    case DIFF_RMTREE:
      return diff_beneath_remove (place->dir, place->name);
    case DIFF_FIFO:
      return make_special (place, S_IFIFO);
    case DIFF_SOCKET:
      return make_special (place, S_IFSOCK);
    default:
      return make_special (place, S_IFCHR);
    }
}

/* Two names */

static int
change_names (const DiffTree *tree, const DiffStep *step)
{
  Place from, to;
  int result = find_place (tree, step->a, &from);

  if (result < 0)
    return result;
  result = find_place (tree, step->b, &to);
  if (result == 0)
    {
      result = result_of (step->kind == DIFF_LINK
                              ? linkat (from.dir, from.name, to.dir, to.name, 0)
                              : renameat2 (from.dir, from.name, to.dir, to.name,
                                           step->kind == DIFF_EXCHANGE     ? RENAME_EXCHANGE
                                           : step->kind == DIFF_RENAME_NEW ? RENAME_NOREPLACE
                                                                           : 0));
      close (to.dir);
    }
  close (from.dir);
  return result;
}

/* Who may */

/* Permissions are six octal digits: the owner's, the asking user's, the group's, those of group 3,
 * the mask, and everybody else's. */
static int
set_acl (const DiffTree *tree, const char *node, const char *name, guint32 permissions)
{
  struct
  {
    struct posix_acl_xattr_header header;
    struct posix_acl_xattr_entry entries[6];
  } acl = { .header.a_version = htole32 (POSIX_ACL_XATTR_VERSION) };
  static const guint16 tags[]
      = { ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK, ACL_OTHER };

  for (guint i = 0; i < G_N_ELEMENTS (tags); i++)
    {
      guint32 id = tags[i] == ACL_USER    ? tree->users[1]
                   : tags[i] == ACL_GROUP ? tree->groups[3]
                                          : (guint32) ACL_UNDEFINED_ID;

      acl.entries[i].e_tag = htole16 (tags[i]);
      acl.entries[i].e_perm = htole16 (permissions >> 3 * (5 - i) & 7);
      acl.entries[i].e_id = htole32 (id);
    }
  return result_of (setxattr (node, name, &acl, sizeof acl, 0));
}

/* What follows symlinks at the end of the path. */
static int
change_node (const DiffTree *tree, const DiffStep *step)
{
  int fd = diff_beneath_open (tree->fd, step->a, O_PATH);
  char node[32];
  int result;

  if (fd < 0)
    return fd;
  g_snprintf (node, sizeof node, "/proc/self/fd/%d", fd);
  switch (step->kind)
    {
    case DIFF_CHMOD:
      result = result_of (chmod (node, step->number));
      break;
    case DIFF_CHOWN:
      result = result_of (chown (node, tree->users[step->number % G_N_ELEMENTS (tree->users)],
                                 tree->groups[step->other % G_N_ELEMENTS (tree->groups)]));
      break;
    case DIFF_ACL:
      result = set_acl (tree, node, "system.posix_acl_access", step->number);
      break;
    case DIFF_DEFAULT_ACL:
      result = set_acl (tree, node, "system.posix_acl_default", step->number);
      break;
    default:
      result = result_of (removexattr (node, "system.posix_acl_access"));
      break;
    }
  close (fd);
  return result;
}

int
diff_mutate (const DiffTree *tree, const DiffStep *step)
{
  Place place;
  int result;

  switch (step->kind)
    {
    case DIFF_WRITE:
      return write_anew (tree, step);
    case DIFF_LINK:
    case DIFF_RENAME:
    case DIFF_RENAME_NEW:
    case DIFF_EXCHANGE:
      return change_names (tree, step);
    case DIFF_CHMOD:
    case DIFF_CHOWN:
    case DIFF_ACL:
    case DIFF_DEFAULT_ACL:
    case DIFF_NO_ACL:
      return change_node (tree, step);
    case DIFF_TMPFS:
    case DIFF_OVERLAY:
    case DIFF_BIND:
    case DIFF_MOVE_MOUNT:
    case DIFF_MOUNT_FLAGS:
    case DIFF_UNMOUNT:
    case DIFF_DETACH:
    case DIFF_SHRINK:
      return diff_mount_step (tree, step);
    default:
      result = find_place (tree, step->a, &place);
      if (result < 0)
        return result;
      result = change_name (tree, &place, step);
      close (place.dir);
      return result;
    }
}
