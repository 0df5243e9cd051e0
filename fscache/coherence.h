/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How it is known that an entry still is what it was, without a look at it: it is watched, by a job
 * that nobody waits for, until an event casts doubt on it. What is not there is kept only so, and
 * what is followed is watched at once. Part of the cache, and used by nobody else;
 * fsc_cache_changed() and what concerns those who follow are in cache.h.
 */
#pragma once

#include "fscache/entry.h"

/* To be called for an entry that is asked for again: that is worth a watch, and from then on it is
 * not checked any more. */
void fsc_coherence_watch (FscCache *cache, FscEntry *entry);

/* The job of a watch is done. Takes it, and the outcome's handle. */
void fsc_coherence_finish (FscCache *cache, FscJob *job, const FscOutcome *outcome);

/* The check under way has found what there was. That clears all doubts that it knew of. */
void fsc_coherence_confirm (FscCache *cache, FscEntry *entry);

/* The entry could not be opened. That there is nothing is remembered, and watched when it is asked
 * for again: what can make it untrue is an event in the last directory that there is. Until then,
 * each request tries. */
void fsc_coherence_keep_failure (FscCache *cache, FscEntry *entry, const FscOutcome *outcome);
