/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Those who change the tree and those who ask, each in processes of their own. Mutators are root,
 * several threads in two processes; comparers are the user, without capabilities, a process each
 * with a connection of its own.
 */
#pragma once

#include "tests/stress/stand.h"
#include "tests/stress/tally.h"

#define DIFF_MUTATORS_MAX 32
#define DIFF_COMPARERS_MAX 8
#define DIFF_BATCH_MAX 64

typedef struct
{
  guint n_mutators;
  guint n_comparers;
  guint32 max_age_ms; /* of each request: 0 is exact */
  gboolean mounts;    /* of those who run free */
} DiffCrewOptions;

typedef struct
{
  guint question; /* its place in the log */
  char text[1024];
} DiffFailure;

typedef struct
{
  DiffCrewOptions options;
  const DiffStand *stand;
  DiffTally *tally;
  DiffTree tree;
  struct DiffShared *shared;
  guint round;
  guint n_processes;
  pid_t processes[DIFF_MUTATORS_MAX + DIFF_COMPARERS_MAX];
} DiffCrew;

/* The service must be running, and the tree be there. */
void diff_crew_init (DiffCrew *crew, const DiffStand *stand, DiffTally *tally,
                     const DiffCrewOptions *options);
void diff_crew_clear (DiffCrew *crew);

/* The mutator `who` does the step (NULL: nobody does anything), and at once the comparers ask, each
 * its part of the questions; if it is hot, just before too (then what they are told does not
 * count). FALSE: somebody has died or hangs, or the log is full. */
gboolean diff_crew_play (DiffCrew *crew, guint who, const DiffStep *step, const DiffStep *questions,
                         guint n_questions, gboolean is_hot);

/* All at once, for so long. */
gboolean diff_crew_run_free (DiffCrew *crew, guint64 seed, guint milliseconds);

/* NULL as long as all answers were the same. */
const DiffFailure *diff_crew_get_failure (const DiffCrew *crew);

/* What has been done and asked, in this order; borrowed. */
const DiffStep *diff_crew_get_log (const DiffCrew *crew, guint *n);

/* Whether there is room for so many more. */
gboolean diff_crew_has_room (const DiffCrew *crew, guint n);
