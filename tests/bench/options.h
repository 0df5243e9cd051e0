/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of fscache-bench.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct
{
  char *rows, *cpus, *service, *directory;
  double seconds;
  int rounds, slice_us;
  gboolean json, tap, quick, list;
} BenchOptions;

/* Returns false and says why if it is wrong. Prints the help and ends the program if that is asked.
 */
bool bench_options_parse (BenchOptions *options, int *argc, char ***argv);

void bench_options_clear (BenchOptions *options);
