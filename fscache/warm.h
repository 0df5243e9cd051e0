/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is opened when the service starts, before anybody asks: a list in a file, as fscachectl warm
 * takes it, for the service's own user. It is asked for as a client would, some at a time; what
 * fails is told in the log, and keeps nobody from anything.
 */
#pragma once

#include "fscache/cache.h"

typedef struct FscWarm FscWarm;

/* Begins with what is listed in the file. What has to wait goes on by itself. */
FscWarm *fsc_warm_new (FscCache *cache, const char *list);

/* Nothing more is asked for. */
void fsc_warm_free (FscWarm *warm);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscWarm, fsc_warm_free)
