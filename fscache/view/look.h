/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names and attributes: lookup, getattr, readlink, access, statfs.
 */
#pragma once

#include "fscache/view/call.h"

void fsc_look_up (FscCall *call);
void fsc_look_get_attributes (FscCall *call);
void fsc_look_read_link (FscCall *call);
void fsc_look_access (FscCall *call);
void fsc_look_statfs (FscCall *call);

/* What statx() is asked for. */
#define FSC_LOOK_MASK (STATX_BASIC_STATS | STATX_BTIME)

/* Path-only handle of a node of FSC_PLACE_SOURCE, owned by the caller; a negative errno, which is
 * ESTALE if something else has its name. */
int fsc_look_open (FscCall *call, struct statx *st);

/* Who looks up or makes a name in a directory comes to it by its path. Whoever has it open, or
 * works in it, may do so long after another one has taken its name. Returns 0, or a negative errno,
 * which is ESTALE then. Not of sources that are not local, which may number a directory anew. */
int fsc_look_check_parent (FscCall *call);

/* Whether a handle is of what the node stands for. Asks no server, so *st may be old. */
gboolean fsc_look_is_of (const FscNode *node, int fd, struct statx *st);

/* The attributes of a node as the kernel gets them; takes note that it does. */
void fsc_look_fill (const FscView *view, FscNode *node, const struct statx *st, struct stat *out);

/* The number that the view shows for an inode of the device that the node lies on. */
guint64 fsc_look_get_inode (const FscView *view, const FscNode *node, guint64 inode);

/* Attributes of what is of the view's own. */
void fsc_look_fill_own (const FscView *view, const char *path, mode_t mode, struct stat *out);
