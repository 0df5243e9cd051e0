/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Changes a tree by one step. Nothing outside of the tree is ever changed: paths are resolved with
 * RESOLVE_BENEATH, so that symlinks that lead out of it lead nowhere here (absolute ones too).
 */
#pragma once

#include <sys/types.h>

#include "tests/stress/step.h"

/* Where steps happen, and who is who in them. Owners and groups in a step are numbers: 0 is root, 1
 * the user that asks, 2 a stranger, and group 3 is one that the user is also in. */
typedef struct
{
  char *path;  /* absolute */
  int fd;      /* path-only */
  char *mount; /* where the file system is mounted that it is on */
  char *base;  /* a directory for what is needed besides */
  uid_t users[3];
  gid_t groups[4];
} DiffTree;

/* Returns 0 or a negative errno: many steps can fail, and then have changed nothing. */
int diff_mutate (const DiffTree *tree, const DiffStep *step);
