/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Mounting and unmounting; see mount-step.h. Mount points are named by descriptors, so that what
 * was found beneath the tree is what is mounted on; only unmounting, which an open descriptor would
 * prevent, goes by the path.
 */
#include "tests/stress/mount-step.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/stress/beneath.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

const guint32 diff_mount_flags[] = { 0, MS_RDONLY, MS_NODEV, MS_NOEXEC, MS_NOSYMFOLLOW };
const guint diff_n_mount_flags = G_N_ELEMENTS (diff_mount_flags);

static int
result_of (int result)
{
  return result < 0 ? -errno : 0;
}

static int
mount_tmpfs (const char *node)
{
  return result_of (mount ("tmpfs", node, "tmpfs", 0, "mode=755,size=1m"));
}

/* Over the prepared lower directory. No upper directory is used twice at the same time. */
static int
mount_overlay (const DiffTree *tree, const char *node, guint32 number)
{
  g_autofree char *upper = g_strdup_printf ("%s/overlays/%u", tree->base, number);
  g_autofree char *work = g_strdup_printf ("%s/overlays/%u-work", tree->base, number);
  g_autofree char *data
      = g_strdup_printf ("lowerdir=%s/lower,upperdir=%s,workdir=%s", tree->base, upper, work);

  if (mkdir (upper, 0755) < 0 || mkdir (work, 0755) < 0)
    return -errno;
  return result_of (mount ("overlay", node, "overlay", 0, data));
}

static int
unmount (const DiffTree *tree, const DiffStep *step)
{
  g_autofree char *path = g_build_filename (tree->path, step->a, NULL);

  return result_of (umount2 (path, UMOUNT_NOFOLLOW | (step->kind == DIFF_DETACH ? MNT_DETACH : 0)));
}

static int
mount_again (const DiffTree *tree, const DiffStep *step, int from)
{
  char source[32], target[32];
  int to = diff_beneath_open (tree->fd, step->b, O_PATH);
  int result;

  if (to < 0)
    return to;
  g_snprintf (source, sizeof source, "/proc/self/fd/%d", from);
  g_snprintf (target, sizeof target, "/proc/self/fd/%d", to);
  result
      = result_of (mount (source, target, NULL, step->kind == DIFF_BIND ? MS_BIND : MS_MOVE, NULL));
  close (to);
  return result;
}

int
diff_mount_step (const DiffTree *tree, const DiffStep *step)
{
  char node[32];
  int result, fd;

  if (step->kind == DIFF_UNMOUNT || step->kind == DIFF_DETACH)
    return unmount (tree, step);
  /* Changes no option, but on the way the kernel drops what it can of its name cache. */
  if (step->kind == DIFF_SHRINK)
    return result_of (mount (NULL, tree->mount, NULL, MS_REMOUNT, NULL));
  fd = diff_beneath_open (tree->fd, step->a, O_PATH);
  if (fd < 0)
    return fd;
  g_snprintf (node, sizeof node, "/proc/self/fd/%d", fd);
  switch (step->kind)
    {
    case DIFF_TMPFS:
      result = mount_tmpfs (node);
      break;
    case DIFF_OVERLAY:
      result = mount_overlay (tree, node, step->number);
      break;
    case DIFF_BIND:
    case DIFF_MOVE_MOUNT:
      result = mount_again (tree, step, fd);
      break;
    default:
      result = result_of (mount (NULL, node, NULL, MS_REMOUNT | MS_BIND | step->number, NULL));
      break;
    }
  close (fd);
  return result;
}
