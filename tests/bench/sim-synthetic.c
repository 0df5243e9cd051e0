/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Traces that are made up: of one cost, to see what a policy does with an order of opens, and of
 * several costs, kind and unkind to policies that look at them.
 */
#include "tests/bench/sim-random.h"
#include "tests/bench/sim-trace.h"

#include <math.h>

#define N_OBJECTS 10000
#define N_OPENS 100000

#define LOCAL_US 20
#define NFS_US 2000
#define REMOTE_US 2000000

typedef struct
{
  SimRandom random;
  GArray *keys, *costs;
  guint64 *bytes;
  guint32 *base_costs;   /* of objects; NULL: 2 ms each */
  double noise;          /* standard deviation of the costs' logarithm */
  gboolean has_outliers; /* one open in a hundred takes a thousand times as long */
} Maker;

static void
maker_init (Maker *maker, guint64 seed, guint64 salt)
{
  *maker = (Maker){ .random = { sim_hash (seed) + salt },
                    .keys = g_array_sized_new (FALSE, FALSE, sizeof (guint32), N_OPENS),
                    .costs = g_array_sized_new (FALSE, FALSE, sizeof (guint32), N_OPENS) };
}

static void
add_open (Maker *maker, guint32 key)
{
  double cost = maker->base_costs != NULL ? maker->base_costs[key] : NFS_US;
  guint32 rounded;

  if (maker->noise > 0)
    cost *= exp (maker->noise * sim_random_normal (&maker->random));
  if (maker->has_outliers && sim_random_below (&maker->random, 100) == 0)
    cost *= 1000;
  rounded = (guint32) CLAMP (cost, 1, G_MAXUINT32);
  g_array_append_val (maker->keys, key);
  g_array_append_val (maker->costs, rounded);
}

static SimTrace *
finish (Maker *maker, const char *name, const char *title, guint32 n_objects)
{
  g_free (maker->base_costs);
  return sim_trace_new (name, title, n_objects, maker->keys, maker->costs, maker->bytes);
}

/* One cost */

static SimTrace *
make_zipf (const char *name, const char *title, guint64 seed, double skew, double noise,
           gboolean has_outliers)
{
  g_auto (SimZipf) zipf;
  Maker maker;

  maker_init (&maker, seed, 1);
  maker.noise = noise;
  maker.has_outliers = has_outliers;
  sim_zipf_init (&zipf, N_OBJECTS, skew);
  for (guint i = 0; i < N_OPENS; i++)
    add_open (&maker, sim_zipf_next (&zipf, &maker.random));
  return finish (&maker, name, title, N_OBJECTS);
}

static SimTrace *
make_zipf_8 (const char *name, const char *title, guint64 seed)
{
  return make_zipf (name, title, seed, 0.8, 0, FALSE);
}

static SimTrace *
make_zipf_10 (const char *name, const char *title, guint64 seed)
{
  return make_zipf (name, title, seed, 1.0, 0, FALSE);
}

static SimTrace *
make_noise (const char *name, const char *title, guint64 seed)
{
  return make_zipf (name, title, seed, 0.8, 1, FALSE);
}

static SimTrace *
make_outliers (const char *name, const char *title, guint64 seed)
{
  return make_zipf (name, title, seed, 0.8, 0, TRUE);
}

/* After each 4000 opens of the Zipf half of the objects, 1000 of the other half in a row. */
static void
add_scans (Maker *maker, double skew)
{
  g_auto (SimZipf) zipf;
  guint32 n = N_OBJECTS / 2, at = 0;

  sim_zipf_init (&zipf, n, skew);
  for (guint i = 0; i < N_OPENS; i++)
    if (i % 5000 < 4000)
      add_open (maker, sim_zipf_next (&zipf, &maker->random));
    else
      add_open (maker, n + at++ % n);
}

static SimTrace *
make_scan (const char *name, const char *title, guint64 seed)
{
  Maker maker;

  maker_init (&maker, seed, 2);
  add_scans (&maker, 1.0);
  return finish (&maker, name, title, N_OBJECTS);
}

/* Loops that are a tenth longer than the caches of 1, 5, 10 and 25 % of the objects. */
static SimTrace *
make_loops (const char *name, const char *title, guint64 seed)
{
  static const guint32 percents[] = { 1, 5, 10, 25 };
  guint32 first = 0;
  Maker maker;

  maker_init (&maker, seed, 3);
  for (guint i = 0; i < G_N_ELEMENTS (percents); i++)
    {
      guint32 length = N_OBJECTS * percents[i] / 100 * 11 / 10;

      for (guint j = 0; j < N_OPENS / 4 - 1000; j++)
        add_open (&maker, first + j % length);
      first += length;
    }
  for (; first < N_OBJECTS; first++)
    add_open (&maker, first);
  return finish (&maker, name, title, N_OBJECTS);
}

/* Every 10000 opens other objects are the popular ones. */
static SimTrace *
make_phases (const char *name, const char *title, guint64 seed)
{
  g_autofree guint32 *order = NULL;
  g_auto (SimZipf) zipf;
  Maker maker;

  maker_init (&maker, seed, 4);
  sim_zipf_init (&zipf, N_OBJECTS, 1.0);
  for (guint i = 0; i < N_OPENS; i++)
    {
      if (i % 10000 == 0)
        {
          g_free (order);
          order = sim_random_permutation (&maker.random, N_OBJECTS);
        }
      add_open (&maker, order[sim_zipf_next (&zipf, &maker.random)]);
    }
  return finish (&maker, name, title, N_OBJECTS);
}

/* Several costs: of 100 objects 85 are local, 12 on NFS, 2 unpacked in 2 ms to 4 KiB to 1 MiB, and
 * one is fetched in 2 s and has 1 MiB to 512 MiB. What is measured varies by half and more. */

static guint64
get_bytes (SimRandom *random, guint from, guint to)
{
  return (guint64) exp2 (from + (to - from) * sim_random_unit (random));
}

static void
mix_costs (Maker *maker)
{
  maker->noise = 0.4;
  maker->base_costs = g_new (guint32, N_OBJECTS);
  maker->bytes = g_new0 (guint64, N_OBJECTS);
  for (guint32 i = 0; i < N_OBJECTS; i++)
    {
      guint32 class = sim_random_below (&maker->random, 100);

      maker->base_costs[i] = class < 85 ? LOCAL_US : class < 99 ? NFS_US : REMOTE_US;
      if (class >= 97)
        maker->bytes[i]
            = class < 99 ? get_bytes (&maker->random, 12, 20) : get_bytes (&maker->random, 20, 29);
    }
}

static SimTrace *
make_mix (const char *name, const char *title, guint64 seed)
{
  g_auto (SimZipf) zipf;
  Maker maker;

  maker_init (&maker, seed, 5);
  mix_costs (&maker);
  sim_zipf_init (&zipf, N_OBJECTS, 0.9);
  for (guint i = 0; i < N_OPENS; i++)
    add_open (&maker, sim_zipf_next (&zipf, &maker.random));
  return finish (&maker, name, title, N_OBJECTS);
}

static SimTrace *
make_mix_scan (const char *name, const char *title, guint64 seed)
{
  Maker maker;

  maker_init (&maker, seed, 6);
  mix_costs (&maker);
  for (guint32 i = N_OBJECTS / 2; i < N_OBJECTS; i++)
    {
      maker.base_costs[i] = LOCAL_US;
      maker.bytes[i] = 0;
    }
  add_scans (&maker, 0.9);
  return finish (&maker, name, title, N_OBJECTS);
}

/* Handles without bytes by Zipf; the others are opened 5 times within some 500 opens, and then
 * never again: what a policy that loves them keeps for nothing. */
static SimTrace *
make_burst (const char *name, const char *title, guint64 seed)
{
  g_auto (SimZipf) zipf;
  guint32 bursts[N_OBJECTS / 10], n_bursts = 0, n_done = 0;
  Maker maker;

  maker_init (&maker, seed, 7);
  mix_costs (&maker);
  for (guint32 i = 0; i < N_OBJECTS; i++)
    if (maker.bytes[i] > 0 && n_bursts < G_N_ELEMENTS (bursts))
      bursts[n_bursts++] = i;
  sim_zipf_init (&zipf, N_OBJECTS, 0.9);
  while (maker.keys->len < N_OPENS)
    {
      guint32 key = sim_zipf_next (&zipf, &maker.random);

      if (maker.keys->len % 100 == 0)
        {
          guint32 now = n_done++ / 5; /* one after the other, 5 times each */

          if (now < n_bursts)
            add_open (&maker, bursts[now]);
        }
      if (maker.bytes[key] == 0)
        add_open (&maker, key);
    }
  return finish (&maker, name, title, N_OBJECTS);
}

const SimSynthetic sim_synthetics[] = {
  { "zipf-0.8", "Zipf 0.8; one cost", make_zipf_8 },
  { "zipf-1.0", "Zipf 1.0; one cost", make_zipf_10 },
  { "scan", "Zipf 1.0, and every fifth time in a row over as many others; one cost", make_scan },
  { "loops", "loops a tenth longer than 1, 5, 10 and 25 % of the objects; one cost", make_loops },
  { "phases", "Zipf 1.0, of other objects every 10000 opens; one cost", make_phases },
  { "noise", "Zipf 0.8; 2 ms by the median, but each open takes e^N(0,1) times that", make_noise },
  { "outliers", "Zipf 0.8; 2 ms, but of any 100 opens one takes 2 s by accident", make_outliers },
  { "mix", "Zipf 0.9; 85 % at 20 us, 14 % at 2 ms, 1 % at 2 s; 3 % have bytes", make_mix },
  { "mix-scan", "scans of what costs 20 us, else as mix", make_mix_scan },
  { "mix-burst", "as mix, but what has bytes is opened 5 times and then never again", make_burst },
  { NULL },
};
