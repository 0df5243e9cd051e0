/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is cached: cached/ and what is below it. (Not names alone: to look at a file below open/
 * makes path-only entries.)
 *
 * LOOKING CHANGES NOTHING. To look at entries must not keep them from being evicted, so nothing of
 * them is opened for it: what is there shows the entry, not the file. It was changed when the entry
 * was made, and read when it was last given to anyone. Its size is that of its content, if that
 * never changes; of a file, which may be written to at any time, the service does not know it, and
 * it is 0. To read it opens it, through the cache, as it is done below open/.
 *
 * A NAME is asked for by itself, each time; but that it is a directory, and what is below it, is
 * the listing's to tell (listing.h): whoever looks at a file looks up all directories above it.
 * Directories have no times.
 *
 * All return a negative errno on failure, and wait for the service.
 */
#pragma once

#include <sys/stat.h>

#include "fscache/view/call.h"
#include "fscache/view/caller.h"

/* What there is of one name: of several entries the plain one; none of those for names alone. The
 * URI is there in any case; but NULL if there can be none of this name. */
typedef struct
{
  FscacheEntry entry;
  char *uri;
  guint n;
} FscFound;

int fsc_entry_find (FscCaller *caller, const char *target, FscFound *found);
void fsc_found_clear (FscFound *found);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FscFound, fsc_found_clear)

/* Paths are those of tree.h, in cached/. */
int fsc_entry_get_attributes (FscCaller *caller, const char *path, struct stat *attributes);

/* rm and rmdir: drops the entries of this name. */
void fsc_entry_unlink (FscCall *call);
void fsc_entry_remove_directory (FscCall *call);
