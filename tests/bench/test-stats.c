/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What fscache-bench says of its samples, tried on samples whose answer is known.
 */
#include <math.h>

#include "tests/bench/stats.h"

static void
add_round (BenchStats *stats, const double *values, unsigned n)
{
  g_autoptr (GArray) samples = g_array_new (FALSE, FALSE, sizeof (double));

  g_array_append_vals (samples, values, n);
  bench_stats_add_round (stats, samples);
}

static void
test_quantiles (void)
{
  BenchStats stats;
  double hundred[100];

  for (int i = 0; i < 100; i++)
    hundred[i] = 100 - i;

  bench_stats_init (&stats);
  g_assert_true (isnan (bench_stats_get_quantile (&stats, 0.5)));
  add_round (&stats, hundred, 50);
  add_round (&stats, hundred + 50, 50);
  bench_stats_finish (&stats);

  g_assert_cmpfloat (bench_stats_get_quantile (&stats, 0), ==, 1);
  g_assert_cmpfloat (bench_stats_get_quantile (&stats, 0.5), ==, 50);
  g_assert_cmpfloat (bench_stats_get_quantile (&stats, 0.99), ==, 99);
  g_assert_cmpfloat (bench_stats_get_quantile (&stats, 1), ==, 100);
  bench_stats_clear (&stats);
}

/* A machine that is ten times slower in one round must not change a ratio; a round without samples
 * does not count. */
static void
test_ratio (void)
{
  BenchStats stats, baseline;

  bench_stats_init (&stats);
  bench_stats_init (&baseline);
  g_assert_false (bench_stats_get_ratio (&stats, &baseline).is_known);

  for (int round = 0; round < 9; round++)
    {
      double noise = round % 3 == 0 ? 10 : 1;
      double values[] = { 300 * noise, 200 * noise, 9000 * noise };
      double base_values[] = { 100 * noise, 70 * noise, 150 * noise };

      add_round (&stats, values, round == 4 ? 0 : 3);
      add_round (&baseline, base_values, 3);
    }
  bench_stats_finish (&stats);
  bench_stats_finish (&baseline);

  BenchRatio ratio = bench_stats_get_ratio (&stats, &baseline);

  g_assert_true (ratio.is_known);
  g_assert_cmpfloat (ratio.median, ==, 3);
  g_assert_cmpfloat (ratio.quartile1, ==, 3);
  g_assert_cmpfloat (ratio.quartile3, ==, 3);
  bench_stats_clear (&stats);
  bench_stats_clear (&baseline);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/bench/stats/quantiles", test_quantiles);
  g_test_add_func ("/bench/stats/ratio", test_ratio);
  return g_test_run ();
}
