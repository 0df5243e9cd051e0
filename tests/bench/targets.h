/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What fscache wants to reach, as ratios between rows and limits of facts, and whether it has been
 * reached in a run. Nothing here fails: a benchmark is not a timed test.
 */
#pragma once

#include "tests/bench/report.h"

typedef struct
{
  const char *name;
  const char *title;
  double limit;
  bool is_strict; /* measured < limit; else <= */
  bool is_measured;
  double measured;
  const char *unit; /* "" for a ratio */
} BenchTarget;

/* All targets; BenchTarget. */
GArray *bench_targets_evaluate (const BenchReport *report);

bool bench_target_is_met (const BenchTarget *target);
