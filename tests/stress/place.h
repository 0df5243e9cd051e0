/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where a run happens: a mount namespace of its own, and in it a file system that is made for it,
 * so that nothing is left of either when the last process of the run has ended, however it ends.
 * The images of the file systems are in memory.
 */
#pragma once

#include <glib.h>

typedef struct
{
  const char *fs; /* ext4, xfs, btrfs, tmpfs, overlay */
  char *base;     /* a tmpfs, which everybody may look into */
  char *kept;     /* base/kept: the file system, without what is mounted in the tree */
  char *mount;    /* base/fs: the same, anew for each tree */
  char *tree;     /* base/fs/tree */
} DiffPlace;

/* The file systems that are known, separated by commas. */
#define DIFF_PLACE_ALL "ext4,tmpfs,xfs,btrfs,overlay"

gboolean diff_place_is_known (const char *fs);

/* Goes into a new mount namespace, which this process never leaves, and makes the file system
 * there. `base` is an empty directory. FALSE: it cannot be had here, and *reason says why. */
gboolean diff_place_enter (DiffPlace *place, const char *base, const char *fs, char **reason);

/* Unmounts what was mounted in the tree, and makes it anew: an empty directory; on overlayfs one
 * with files from the lower directory. */
void diff_place_refresh (const DiffPlace *place);

void diff_place_clear (DiffPlace *place);
