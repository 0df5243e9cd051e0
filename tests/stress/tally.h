/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What all processes of all runs have counted together, in shared memory.
 */
#pragma once

#include <stdatomic.h>

#include "tests/stress/answer.h"
#include "tests/stress/step.h"

typedef struct
{
  atomic_ullong comparisons;
  atomic_ullong discarded; /* the tree had changed meanwhile */
  atomic_ullong steps_done[DIFF_N_KINDS];
  atomic_ullong steps_failed[DIFF_N_KINDS];
  atomic_ullong errors[256]; /* answers by errno; 0: a descriptor */
  atomic_ullong not_served;
  atomic_ullong sources[FSCACHE_SOURCE_LOCAL + 1];
  atomic_ullong coherences[8]; /* of what came from the cache */
  atomic_ullong busy_us;       /* time of trials, without shrinking */
  atomic_uint trials;
  atomic_uint differences;
  atomic_uint troubles; /* the service did not start, hung, or crashed */
  atomic_uint runs;     /* that were not skipped */
} DiffTally;

/* Shared with all children that are forked later. */
DiffTally *diff_tally_new (void);
void diff_tally_free (DiffTally *tally);

void diff_tally_add_step (DiffTally *tally, const DiffStep *step, int result);
void diff_tally_add_answer (DiffTally *tally, const DiffAnswer *expected, const DiffAnswer *given);
void diff_tally_print (DiffTally *tally);
