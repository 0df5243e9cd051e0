/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Samples of a row; see stats.h.
 */
#include "tests/bench/stats.h"

#include <math.h>

void
bench_stats_init (BenchStats *stats)
{
  stats->samples = g_array_new (FALSE, FALSE, sizeof (double));
  stats->rounds = g_array_new (FALSE, FALSE, sizeof (double));
}

void
bench_stats_clear (BenchStats *stats)
{
  g_clear_pointer (&stats->samples, g_array_unref);
  g_clear_pointer (&stats->rounds, g_array_unref);
}

static int
compare_doubles (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

void
bench_sort (GArray *values)
{
  g_array_sort (values, compare_doubles);
}

/* The nearest rank: always a value that was measured. */
double
bench_quantile (const GArray *sorted, double q)
{
  if (sorted->len == 0)
    return NAN;

  double rank = ceil (q * sorted->len);
  unsigned index = rank < 1 ? 0 : (unsigned) rank - 1;

  return g_array_index (sorted, double, MIN (index, sorted->len - 1));
}

void
bench_stats_add_round (BenchStats *stats, GArray *samples)
{
  bench_sort (samples);

  double median = bench_quantile (samples, 0.5);

  g_array_append_val (stats->rounds, median);
  if (samples->len > 0)
    g_array_append_vals (stats->samples, samples->data, samples->len);
}

void
bench_stats_finish (BenchStats *stats)
{
  bench_sort (stats->samples);
}

double
bench_stats_get_quantile (const BenchStats *stats, double q)
{
  return bench_quantile (stats->samples, q);
}

BenchRatio
bench_stats_get_ratio (const BenchStats *stats, const BenchStats *baseline)
{
  g_autoptr (GArray) ratios = g_array_new (FALSE, FALSE, sizeof (double));

  for (unsigned i = 0; i < MIN (stats->rounds->len, baseline->rounds->len); i++)
    {
      double ratio
          = g_array_index (stats->rounds, double, i) / g_array_index (baseline->rounds, double, i);

      if (isfinite (ratio))
        g_array_append_val (ratios, ratio);
    }

  bench_sort (ratios);
  return (BenchRatio){ .is_known = ratios->len > 0,
                       .median = bench_quantile (ratios, 0.5),
                       .quartile1 = bench_quantile (ratios, 0.25),
                       .quartile3 = bench_quantile (ratios, 0.75) };
}
