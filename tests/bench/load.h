/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What keeps the machine busy while a row is measured: a process of its own that works between
 * bench_load_start() and bench_load_stop(), and else sleeps.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/bench.h"

typedef struct BenchLoad BenchLoad;

/* So many events a second a storm makes, if the machine can. */
#define BENCH_STORM_RATE 100000

/* One that renames a file in `directory` again and again, which is two events each time; or, where
 * that is NULL, one that only uses its CPU. It runs on one CPU, or with -1 where this process may
 * run now. Ended with the bench. */
BenchLoad *bench_load_new (Bench *bench, const char *directory, int cpu, GError **error);

bool bench_load_start (BenchLoad *load, GError **error);

/* Adds to what bench_load_get_rate() is the average of. */
bool bench_load_stop (BenchLoad *load, GError **error);

/* Events a second while it worked; 0 if it has not. */
double bench_load_get_rate (const BenchLoad *load);
