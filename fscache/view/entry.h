/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is cached: cached/ and what is below it. (Not names alone: to look at a file below open/
 * makes path-only entries.)
 *
 * LOOKING CHANGES NOTHING. To look at entries must not keep them from being evicted, so nothing of
 * them is opened for it: what is there shows the entry, not the file. Its size is 0, it was changed
 * when the entry was made, and read when it was last given to anyone. To read it opens it, through
 * the cache, as it is done below open/.
 *
 * A LIST of all entries is had from the service when a directory is opened or looked for, and used
 * again for a while: ten times as long as it took to get, at least 0.1 s. Each caller has his own.
 *
 * All return a negative errno on failure, and wait for the service.
 */
#pragma once

#include <sys/stat.h>

#include "fscache/view/folder.h"
#include "fscache/view/view.h"

FscSnapshots *fsc_entry_snapshots_new (void);
void fsc_entry_snapshots_free (FscSnapshots *snapshots);

/* Paths are those of tree.h, in cached/. */
int fsc_entry_get_attributes (FscCaller *caller, const char *path, struct stat *attributes);
int fsc_entry_list (FscCaller *caller, const char *path, FscFolder *folder);

/* rm and rmdir: drops the entries of this name. */
void fsc_entry_unlink (FscCall *call);
void fsc_entry_remove_directory (FscCall *call);
