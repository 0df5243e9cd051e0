/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What fscache-bench prints: the results as a table, as JSON or as TAP, and which targets they
 * meet.
 */
#pragma once

#include <glib.h>
#include <stdio.h>

#include "tests/bench/bench.h"

typedef struct
{
  const Bench *bench;
  const GPtrArray *rows;   /* BenchRow, all of them */
  char *machine;           /* processor, kernel */
  char *cpus;              /* what it was pinned to */
  char *file_system;       /* where the files are */
  char *event_file_system; /* where events are made */
  unsigned rounds;
  double seconds;
  double slowdown; /* how much longer slices took than they should: 1 on a CPU of our own */
} BenchReport;

void bench_report_print_table (const BenchReport *report, FILE *out);
void bench_report_print_json (const BenchReport *report, FILE *out);
void bench_report_print_tap (const BenchReport *report, FILE *out);

const BenchRow *bench_report_find_row (const BenchReport *report, const char *name);
