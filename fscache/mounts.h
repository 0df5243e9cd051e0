/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The mounts of the service's namespace, as /proc/self/mountinfo tells them. It says on which mount
 * a path lies by its text, without walking it: the path is put into that mount's lane. Symlinks and
 * ".." may lead elsewhere; where that is, the opener says that walks it.
 */
#pragma once

#include <glib.h>

#include "fscache/loop.h"

typedef struct FscMounts FscMounts;

typedef struct
{
  guint32 id;
  guint32 parent;
  char *path;    /* where it is, as this process sees it */
  size_t length; /* of the path */
  gboolean
      is_local; /* its file system is one that this kernel sees whole, so that opens are quick */
  gboolean
      is_view; /* of a cache, perhaps this one's: what is opened there asks for it to be opened */
  guint32 source; /* a hash of what is mounted */
  gint64 since;   /* when it was seen first; 0: it was there from the beginning */
} FscMount;

FscMounts *fsc_mounts_new (FscLoop *loop, GError **error);
void fsc_mounts_free (FscMounts *mounts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscMounts, fsc_mounts_free)

/* The mount on which an absolute path lies, or NULL if that cannot be told. Borrowed until the next
 * call. */
const FscMount *fsc_mounts_find (FscMounts *mounts, const char *path);

/* The mount at exactly this path, and with `is_deep` those below it too, by ID and `since`, without
 * paths; NULL if there is none. */
GArray *fsc_mounts_get_tree (FscMounts *mounts, const char *path, gboolean is_deep);

/* Whether there is a mount with this ID. */
gboolean fsc_mounts_contain (FscMounts *mounts, guint32 mount_id);

/* Where a mount is, for people: borrowed, never NULL. */
const char *fsc_mounts_get_path (FscMounts *mounts, guint32 mount_id);

/* They may have changed, and the kernel's word of it not have been read yet. */
void fsc_mounts_forget (FscMounts *mounts);
