/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The place where the view is mounted: what a view that was killed has left there is cleaned away.
 */
#pragma once

#include <glib.h>

/* Whether there is a program that mounts for ordinary users, and unmounts after a crash. */
gboolean fsc_mountpoint_has_helper (void);

/* Returns the real path of a directory that nothing of ours is mounted on (any more), or NULL with
 * `error` set. */
char *fsc_mountpoint_prepare (const char *path, GError **error);
