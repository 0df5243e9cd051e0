/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The names in cached/, as a tree: the service has no directories, only a list of entries.
 *
 * HOW OLD. The list of all entries is had when somebody wants to know what a directory has, or
 * whether a name is one, and used again for ten times as long as it took to get, or as long as the
 * kernel may keep names (view.h), if that is longer: so most of the time is left for other things,
 * however many directories are walked. What is dropped here is gone from it at once. What an entry
 * is like is not asked of it, nor whether it is there: see entry.h.
 *
 * Each user has his own, for all his threads. Names are paths without "cached/". All wait for the
 * service, or for another thread that does, and return a negative errno on failure.
 */
#pragma once

#include "fscache/view/caller.h"
#include "fscache/view/folder.h"

FscListing *fsc_listing_new (void);
void fsc_listing_free (FscListing *listing);

/* Returns whether it is a directory: what has something below it, or an entry that is one. One that
 * was emptied here remains so for a second, or until it is removed, too: rm -r expects to find it.
 */
int fsc_listing_is_directory (FscCaller *caller, const char *name);

/* Returns whether there is anything below it. */
int fsc_listing_has_below (FscCaller *caller, const char *name);

int fsc_listing_read (FscCaller *caller, const char *name, FscFolder *folder);

/* An entry, or a directory, of this name is not there any more. The caller is connected. */
void fsc_listing_remove (FscCaller *caller, const char *name);
void fsc_listing_remove_directory (FscCaller *caller, const char *name);
