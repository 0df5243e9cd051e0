/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The results of one trace, and how they are printed: as a table, as markdown, as JSON.
 */
#pragma once

#include <json-glib/json-glib.h>
#include <stdio.h>

#include "tests/bench/sim.h"

typedef struct
{
  double percent;
  SimLimits limits;
} SimSize;

typedef struct
{
  const SimTrace *trace;
  const char *limit;   /* of what the sizes are: "handles", "handles and bytes" */
  GArray *sizes;       /* SimSize */
  GPtrArray *policies; /* const SimPolicy */
  SimResult *results;  /* policy by policy, size by size */
} SimReport;

void sim_report_print (const SimReport *report, gboolean markdown, FILE *out);
void sim_report_add_json (const SimReport *report, JsonBuilder *builder);
