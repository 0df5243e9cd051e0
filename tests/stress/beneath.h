/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Paths that do not lead out of a tree, whatever symlinks are in it.
 */
#pragma once

#include <glib.h>

/* open() with RESOLVE_BENEATH. Returns a descriptor or a negative errno. */
int diff_beneath_open (int dir, const char *path, int flags);

/* The target of a symlink: "@" in front is the tree's own path. Free with g_free(). */
char *diff_beneath_expand (const char *tree, const char *target);

/* Removes a name with all that is in it, but for what mounts hold. Returns 0 or a negative errno.
 */
int diff_beneath_remove (int dir, const char *name);

/* The paths of mounts in the tree, relative to it, as mountinfo names them, newest last. Free with
 * g_ptr_array_unref(). */
GPtrArray *diff_beneath_list_mounts (const char *tree);
