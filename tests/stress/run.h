/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A run: trials on one file system for one user, in a process of its own.
 */
#pragma once

#include "tests/stress/options.h"
#include "tests/stress/tally.h"

typedef struct
{
  const DiffOptions *options;
  DiffTally *tally;
  const char *fs;
  uid_t user;
  double seconds;      /* this run's share; 0: no limit */
  guint64 comparisons; /* the same */
} DiffRun;

/* `base` is an empty directory. Prints what it finds, and counts it. FALSE: it was skipped. */
gboolean diff_run (const DiffRun *run, const char *base);
