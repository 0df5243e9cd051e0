/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pools of connections: what cannot be opened again, and is lent. To each target, for each user,
 * there are up to `max` connections, each of which is an exclusive entry of its own, and some of
 * them are idle, so that whoever asks need not wait for a new one.
 *
 *  - Who asks for it exclusive borrows one, which comes back into the pool if it is given back
 *    unspoilt; the answer's source says whether it has been lent before (CACHE) or is new (OPENED),
 *    which who has to log in must know. Who asks for it independent is given a new one for good: it
 *    leaves the pool.
 *  - Who asks for it shared is told that it cannot be, when one is there; so a pool is warmed.
 *  - If none is idle, a new one is made; if there are too many, whoever asks waits until one is
 *    given back, for some time.
 *  - Once somebody has asked, the pool is filled up to its minimum again, in the background.
 *  - An idle connection is closed when its other end does so, when it says something after it was
 *    given back (nobody would know what that is the answer to), or when it has been idle for long.
 *    What a server says first, before it was ever lent, is the borrower's to read.
 *
 * A borrower may have kept a duplicate. So a socket is never read from here, not even to peek, nor
 * are its options set: whoever sends through the duplicate, from memory that never comes, holds the
 * lock of the socket for ever. poll() takes no lock.
 *
 * All that takes more than one step is done by fsc_cache_flush_pools(), between the turns of the
 * loop; so whoever is called with an answer may do anything. Part of the cache; what others call is
 * in cache.h.
 */
#pragma once

#include "fscache/entry.h"
#include "fscache/job.h"

/* Answers from within and returns NULL, or returns a waiter, as fsc_cache_open() does. The key is
 * that of its exclusive entries. */
FscWaiter *fsc_pool_open (FscCache *cache, const FscPoolRules *rules, const FscKey *key,
                          const FscItem *item, const FscWaiter *who);

/* The job of an entry that has a pool is done. Takes it, and the outcome's handle. */
void fsc_pool_finish (FscCache *cache, FscJob *job, FscOutcome *outcome);

/* It was given back. */
void fsc_pool_take_back (FscCache *cache, FscEntry *entry);

/* It is not idle any more. */
void fsc_pool_unguard (FscCache *cache, FscEntry *entry);

/* An entry goes. */
void fsc_pool_forget (FscCache *cache, FscEntry *entry);

GHashTable *fsc_pools_new (void);

/* All entries must have gone, and all who wait must have cancelled. */
void fsc_pools_free (FscCache *cache);
