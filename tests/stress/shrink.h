/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Playing lists of steps again, and finding the shortest that still fails.
 */
#pragma once

#include "tests/stress/crew.h"

typedef enum
{
  DIFF_SAME,    /* all answers were right */
  DIFF_FAILS,   /* one was not: see the failure */
  DIFF_TROUBLE, /* it could not be played to its end */
} DiffResult;

/* How. */
typedef struct
{
  DiffStand *stand;
  guint32 max_age_ms;
  gboolean is_hot; /* what is asked after a step is also asked just before it */
  guint tries;     /* so often, until it fails */
} DiffReplay;

/* Plays the steps in a fresh tree with a fresh service, one by one, by one thread, asked by one
 * process: what is asked between two changes is asked at once. `tally` may be shared. */
DiffResult diff_replay (const DiffReplay *replay, DiffTally *tally, GArray *steps,
                        DiffFailure *failure);

/* Makes the list shorter as long as it fails, and for two minutes at most. `failure` is that of the
 * list, then that of the shortest. Returns how many lists were played. */
guint diff_shrink (const DiffReplay *replay, GArray *steps, DiffFailure *failure);
