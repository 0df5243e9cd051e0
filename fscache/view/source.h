/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Asking the service for what is at the source. This process itself walks no path of anyone's, and
 * opens none. All here waits for the service.
 *
 * Each returns a descriptor that the caller owns, or a negative errno as a file system would give
 * it: that there is no service is EIO, not the ENOENT of its socket.
 */
#pragma once

#include "fscache/view/caller.h"
#include "fscache/view/view.h"

typedef struct
{
  gboolean is_local; /* on a file system that does not hang */
  gboolean is_shut;  /* it failed with what is there but cannot be entered: see fsc_source_look() */
  gboolean is_fresh; /* it was opened for this */
  guint64 generation; /* of the service's handle, for this caller; 0: unknown */
} FscSource;

typedef struct
{
  int fd;
  gboolean is_fresh; /* see FscSource; not of what libfscache has lent */
  guint64 generation;
  FscacheBorrow borrow; /* with -1 for what libfscache has not lent */
} FscLoan;

/* For names and attributes. Of a path it is path-only, and a symlink itself; it fails with
 * `is_shut` for what the service does not touch: the view itself, procfs. All else has to be opened
 * to be looked at, and is borrowed if it is known already. */
int fsc_source_look (FscCaller *caller, const char *target, gboolean is_doubtful,
                     FscSource *source);

/* For pread(), as a duplicate that others share. With `is_doubtful` nobody's word is taken. `flags`
 * may have O_NOFOLLOW. */
int fsc_source_open_shared (FscCaller *caller, const char *target, int flags, gboolean is_doubtful,
                            FscSource *source);

/* The same as a loan of libfscache's, whose answer may be a moment old, unless all is to be exact.
 * The descriptor goes back with fsc_source_return(). */
int fsc_source_borrow (FscCaller *caller, const char *target, gboolean is_doubtful, FscLoan *loan);

/* The same if that needs nobody's answer; else -EAGAIN. */
int fsc_source_borrow_kept (FscCaller *caller, const char *target, FscLoan *loan);
void fsc_source_return (FscCaller *caller, FscLoan *loan);

/* With an offset of its own: for writing, and for directories. */
int fsc_source_open (FscCaller *caller, const char *target, int flags, mode_t mode,
                     FscSource *source);

/* What to answer for a failure; negative. */
int fsc_source_get_error (const FscacheReply *reply);
