/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A job whose way leads through several mounts. An opener never leaves the mount of its lane: if it
 * says that the way goes on elsewhere, the job goes to the lane of where that is, and so on, until
 * one of them has the answer. Meanwhile the job has the URI of where its way has led so far; when
 * it is done it has its own again, which is what the answer names. It has begun when the first of
 * them began, and its time is that of all.
 *
 * Where nothing else helps, it is let go its way freely: by an opener that may enter any mount, at
 * the price that it may hang in one that is not its lane's. That is when an opener says that the
 * way leads elsewhere, and by the table of mounts that is where it was (the table may be behind,
 * and knows nothing of a file system that says EXDEV on its own), and after so many hops that
 * somebody must have made the path for it, or its directories change all the time. Symlinks that go
 * round in circles over several mounts do not come to that: openers count them as the kernel does,
 * over all hops.
 *
 * A job may also be about the file that something was made of: then it is that file's path that it
 * goes along, to an opener of files, and it comes back if there is something to be made again.
 *
 * It is the lanes', and lies in a job's `provider_data`.
 */
#pragma once

#include <glib.h>

#include "fscache/cache.h"

#define FSC_HOPS_MAX 40

typedef struct
{
  FscBytes original; /* the job's own URI */
  FscBytes file;     /* of the file that is looked at in its place; empty: there is none */
  guint n;
  gboolean is_stuck; /* the last hop led to where it came from */
  gboolean is_free;
} FscHop;

/* NULL if it has not hopped. */
FscHop *fsc_hop_get (const FscJob *job);

/* Whether its opener may enter any mount. */
gboolean fsc_hop_is_free (const FscJob *job);

/* Whether nobody has looked for it before. */
gboolean fsc_hop_is_first (const FscJob *job);

/* The job is about the file at its path. It has not begun. */
void fsc_hop_to_file (FscJob *job);
gboolean fsc_hop_is_to_file (const FscJob *job);

/* An opener has answered LEADS_ELSEWHERE. */
void fsc_hop_take (FscJob *job, const FscOutcome *outcome);

/* What the job was asked for, whatever its URI is now. */
FscBytes fsc_hop_get_original (const FscJob *job);

/* What an opener has said of a failure, if it has to be said in other words: it knows only where
 * the way has led. Free with g_free(). */
char *fsc_hop_reword (const FscJob *job, const char *text);

/* The job is done, and is what it was. */
void fsc_hop_end (FscJob *job);
