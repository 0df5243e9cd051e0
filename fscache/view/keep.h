/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What all who read a file share: one handle, and the backing file that the kernel has for it
 * (transport.h).
 *
 * Both stay for a moment after the last of them has closed the file, because what was opened is
 * likely to be opened again soon; that open then needs no descriptor of its own. It asks for the
 * source all the same, and takes what is kept only if that is the same file, so what is kept makes
 * no answer older. Kept are only handles of local sources, whose closing waits for nobody; and no
 * more than fsc_view_get_limit() says. And only where somebody may find them: in a node that is not
 * retired.
 *
 * A thread lets go of them. It also has libfscache close what that keeps for borrowing: what does
 * not hold any more at once, for it would keep the space of files that were removed; and all of it
 * when nothing was opened for some seconds, for it would keep mounts busy. That may hang, so it has
 * a thread for it. Then it sleeps until something is opened.
 */
#pragma once

#include "fscache/view/file.h"
#include "fscache/view/view.h"

FscKeeper *fsc_keeper_new (FscView *view);

/* Lets go of all. No file may be open any more. */
void fsc_keeper_free (FscKeeper *keeper);

/* Something is opened. */
void fsc_keeper_wake (FscKeeper *keeper);

/* How many handles are kept, beside those of what is open. */
guint fsc_keeper_count (FscKeeper *keeper);

/* Gives a file the handle of all who read: a duplicate of this descriptor, which must be of the
 * same node and stays the caller's, if there is none yet. Returns 0 or a negative errno, which is
 * EEXIST if they have another file than this, or may have one: see fsc_nodes_retire(). */
int fsc_keeper_share (FscKeeper *keeper, FscFile *file, int fd);

/* The same with what was offered to this caller; FALSE if nothing was. */
gboolean fsc_keeper_share_offered (FscKeeper *keeper, FscFile *file, guint64 caller);

/* For the next open of a caller's, which then takes it without asking for the source: see
 * fsc_nodes_doubt(). Nothing of a source that is not local: it may never be taken, and is kept. The
 * descriptor stays the caller's. */
void fsc_keeper_offer (FscKeeper *keeper, FscNode *node, int fd, guint64 caller);

/* When the file is closed. It keeps its reference to the handle. */
void fsc_keeper_unshare (FscKeeper *keeper, FscFile *file);
