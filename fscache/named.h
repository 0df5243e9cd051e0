/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What clients have put under names. It cannot be opened again, so it never goes for lack of room,
 * of memory or of use: only when it is dropped, taken or replaced, when its time is over, or with
 * its holder. It counts against a limit of its user's instead. Nothing has to be checked: what a
 * name stands for is known here and nowhere else.
 *
 * Part of the cache, and used by nobody else; fsc_cache_put() and the like are in cache.h.
 */
#pragma once

#include "fscache/entry.h"
#include "fscache/job.h"

/* Answers a request for what was put, or says that there is nothing. The URI may be in any form. */
void fsc_named_answer (FscCache *cache, guint32 credential, const FscItem *item,
                       const FscWaiter *who);
