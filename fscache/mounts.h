/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The mounts of the service's namespace, as /proc/self/mountinfo tells them. It says on which mount
 * a path seems to lie, without walking it: a request is put into that mount's lane. Symlinks may
 * lead elsewhere; what the opener found is what counts then.
 */
#pragma once

#include <glib.h>

#include "fscache/loop.h"

typedef struct FscMounts FscMounts;

FscMounts *fsc_mounts_new (FscLoop *loop, GError **error);
void fsc_mounts_free (FscMounts *mounts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscMounts, fsc_mounts_free)

/* The ID of the mount of a path, 0 if there is none. */
guint32 fsc_mounts_find (FscMounts *mounts, const char *path);

/* Where a mount is, for people: borrowed, never NULL. */
const char *fsc_mounts_get_path (FscMounts *mounts, guint32 mount_id);

/* Whether its file system is one that this kernel sees whole, so that opens are quick. */
gboolean fsc_mounts_is_local (FscMounts *mounts, guint32 mount_id);
