/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What comes out of all traces together: of the time that could be saved at most (by min where all
 * opens cost the same, else by bound), how much each policy saved; the mean over traces and sizes.
 */
#pragma once

#include "tests/bench/sim-report.h"

typedef enum
{
  SIM_GROUP_ONE_COST,
  SIM_GROUP_HANDLES, /* several costs */
  SIM_GROUP_BYTES,   /* several costs, and a limit of bytes */
  SIM_N_GROUPS
} SimGroup;

typedef struct
{
  const SimPolicy *policy;
  double saved[SIM_N_GROUPS]; /* sums of shares */
  double hits[SIM_N_GROUPS];
  guint n[SIM_N_GROUPS];
} SimSum;

/* Adds a report to the sums (SimSum), one for each policy. Without the row that says what could be
 * saved it adds nothing. */
void sim_summary_add (GArray *sums, const SimReport *report);

void sim_summary_print (const GArray *sums, gboolean markdown, FILE *out);
