/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A line of /proc/self/mountinfo. Used by the service, which wants to know all mounts, and by
 * openers and the view, which want to know one. Libc only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What is in the line; borrowed from it. */
typedef struct
{
  uint32_t id, parent;
  const char *device; /* "98:0" */
  const char *root;   /* what of the file system is mounted */
  const char *path;   /* where; \040 is a space */
  const char *type;   /* of the file system: "ext4" */
} FscMountLine;

/* What fscache-view gives as its type. */
#define FSC_MOUNT_TYPE_VIEW "fuse.fscache-view"

/* Cuts the line into pieces. Returns false if it is none. */
bool fsc_mountinfo_parse (char *line, FscMountLine *mount);

/* The type of the file system that a mount is of, to be freed; NULL if there is no such mount, or
 * it cannot be told. */
char *fsc_mountinfo_get_type (uint64_t mount_id);

/* Whether a file system of this type is one that this kernel sees whole: nothing changes without
 * it, or hangs. */
bool fsc_mountinfo_is_local (const char *type);
