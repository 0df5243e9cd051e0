/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Random numbers; see sim-random.h.
 */
#include "tests/bench/sim-random.h"

#include <math.h>

/* SplitMix64. */
guint64
sim_hash (guint64 value)
{
  value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
  value = (value ^ value >> 27) * 0x94D049BB133111EBu;
  return value ^ value >> 31;
}

guint64
sim_random (SimRandom *random)
{
  random->state += 0x9E3779B97F4A7C15u;
  return sim_hash (random->state);
}

double
sim_random_unit (SimRandom *random)
{
  return (double) (sim_random (random) >> 11) * 0x1p-53;
}

guint32
sim_random_below (SimRandom *random, guint32 end)
{
  return (guint32) ((sim_random (random) >> 32) * end >> 32);
}

double
sim_random_normal (SimRandom *random)
{
  double sum = -6;

  for (int i = 0; i < 12; i++)
    sum += sim_random_unit (random);
  return sum;
}

guint32 *
sim_random_permutation (SimRandom *random, guint32 n)
{
  guint32 *values = g_new (guint32, n);

  for (guint32 i = 0; i < n; i++)
    {
      guint32 j = sim_random_below (random, i + 1);

      values[i] = values[j];
      values[j] = i;
    }
  return values;
}

void
sim_zipf_init (SimZipf *zipf, guint32 n, double skew)
{
  double sum = 0;

  *zipf = (SimZipf){ n, g_new (double, n) };
  for (guint32 i = 0; i < n; i++)
    {
      sum += pow (i + 1, -skew);
      zipf->sums[i] = sum;
    }
}

void
sim_zipf_clear (SimZipf *zipf)
{
  g_clear_pointer (&zipf->sums, g_free);
}

guint32
sim_zipf_next (const SimZipf *zipf, SimRandom *random)
{
  double wanted = sim_random_unit (random) * zipf->sums[zipf->n - 1];
  guint32 low = 0, high = zipf->n - 1;

  while (low < high)
    {
      guint32 middle = low + (high - low) / 2;

      if (zipf->sums[middle] <= wanted)
        low = middle + 1;
      else
        high = middle;
    }
  return low;
}
