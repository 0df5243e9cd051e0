/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Samples of a row, by round, and what is said of them.
 *
 * Percentiles are of all samples. Ratios are taken round by round, between the medians of two rows
 * that were measured within the same fraction of a second, and the median of those is given: noise
 * that comes and goes then hits both sides of each quotient.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct
{
  GArray *samples; /* double, ns; sorted by bench_stats_finish() */
  GArray *rounds;  /* double: the median of each round, NAN where there was no sample */
} BenchStats;

typedef struct
{
  bool is_known;
  double median;
  double quartile1, quartile3; /* of the ratios of the rounds */
} BenchRatio;

void bench_stats_init (BenchStats *stats);
void bench_stats_clear (BenchStats *stats);

/* Adds one round. `samples` (double) is sorted by this. */
void bench_stats_add_round (BenchStats *stats, GArray *samples);

/* To be called once after the last round. */
void bench_stats_finish (BenchStats *stats);

/* The sample that a fraction `q` (0 to 1) of all does not exceed; NAN if there is none. */
double bench_stats_get_quantile (const BenchStats *stats, double q);

BenchRatio bench_stats_get_ratio (const BenchStats *stats, const BenchStats *baseline);

/* The same of any sorted array of doubles. */
double bench_quantile (const GArray *sorted, double q);
void bench_sort (GArray *values);
