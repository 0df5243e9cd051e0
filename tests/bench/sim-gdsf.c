/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * GreedyDual-Size-Frequency: each handle has a value, the age of the cache when it was last used
 * plus times used times cost per part of the cache. Who has the least goes, and the cache gets that
 * old. A heap by value: O(log n) for hits too.
 */
#include "tests/bench/sim-heap.h"
#include "tests/bench/sim.h"

typedef struct
{
  const SimTrace *trace;
  const SimLimits *limits;
  SimHeap with, without; /* bytes */
  double age;
  guint32 *uses;
  guint32 *costs;
} Gdsf;

static gpointer
gdsf_make (const SimTrace *trace, const SimLimits *limits)
{
  Gdsf *gdsf = g_new0 (Gdsf, 1);

  gdsf->trace = trace;
  gdsf->limits = limits;
  sim_heap_init (&gdsf->with, trace->n_objects);
  sim_heap_init (&gdsf->without, trace->n_objects);
  gdsf->uses = g_new0 (guint32, trace->n_objects);
  gdsf->costs = g_new0 (guint32, trace->n_objects);
  return gdsf;
}

static void
gdsf_free (gpointer state)
{
  Gdsf *gdsf = state;

  sim_heap_clear (&gdsf->with);
  sim_heap_clear (&gdsf->without);
  g_free (gdsf->uses);
  g_free (gdsf->costs);
  g_free (gdsf);
}

static void
gdsf_hit (gpointer state, guint32 key)
{
  Gdsf *gdsf = state;
  guint64 bytes = gdsf->trace->bytes[key];
  double density = sim_density (gdsf->limits, gdsf->costs[key], bytes);

  gdsf->uses[key]++;
  sim_heap_set (bytes > 0 ? &gdsf->with : &gdsf->without, key,
                gdsf->age + gdsf->uses[key] * density);
}

static void
gdsf_insert (gpointer state, guint32 key, guint32 cost)
{
  Gdsf *gdsf = state;

  gdsf->uses[key] = 0;
  gdsf->costs[key] = cost;
  gdsf_hit (gdsf, key);
}

static guint32
gdsf_evict (gpointer state, gboolean for_bytes)
{
  Gdsf *gdsf = state;
  SimHeap *heap = &gdsf->with;

  if (!for_bytes && gdsf->without.n > 0
      && (gdsf->with.n == 0 || sim_heap_least (&gdsf->without) < sim_heap_least (&gdsf->with)))
    heap = &gdsf->without;
  gdsf->age = MAX (gdsf->age, sim_heap_least (heap));
  return sim_heap_take (heap);
}

const SimPolicy sim_gdsf = {
  .name = "gdsf",
  .title = "GreedyDual-Size-Frequency, with a heap",
  .make = gdsf_make,
  .free = gdsf_free,
  .hit = gdsf_hit,
  .insert = gdsf_insert,
  .evict = gdsf_evict,
};
