/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is answered: to whom a handle may be given as it is, under which terms, and what is said
 * where there is none. Whoever is called with an answer may call the cache, so an entry may be
 * dropped meanwhile. Part of the cache, and used by nobody else.
 */
#pragma once

#include "fscache/entry.h"
#include "fscache/job.h"

/* Answers one request with the entry's handle if at `time` that will do without a check; else
 * returns FALSE. */
gboolean fsc_answer_at_once (FscCache *cache, FscEntry *entry, const FscWaiter *waiter,
                             gint64 time);

/* Answers one request with a failure: "NAME PHRASE". */
void fsc_answer_fault (const FscWaiter *waiter, FscCode code, int error, FscBytes name,
                       const char *phrase);

/* Answers those who wait for a job with the entry's handle. `source` says how it was come by. */
void fsc_answer_waiters (FscCache *cache, FscJob *job, FscEntry *entry, FscSource source);

/* Those who came after the job began are served by what it brought, if that is fresh enough for
 * them; else they wait for the next one. */
void fsc_answer_late (FscCache *cache, FscJob *job, FscEntry *entry);

/* Answers those who wait with why it failed. */
void fsc_answer_failure (GQueue *waiters, const FscOutcome *outcome);

/* Answers the one request of a job that has no entry, and frees the job. */
void fsc_answer_passed (FscCache *cache, FscJob *job, FscOutcome *outcome);
