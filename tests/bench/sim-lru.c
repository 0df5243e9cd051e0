/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * LRU: who was used longest ago goes.
 */
#include "tests/bench/sim-list.h"
#include "tests/bench/sim.h"

typedef struct
{
  SimList list;
  SimNode *nodes;
} Lru;

static gpointer
lru_make (const SimTrace *trace, const SimLimits *limits)
{
  Lru *lru = g_new (Lru, 1);

  *lru = (Lru){ SIM_LIST_INIT, g_new (SimNode, trace->n_objects) };
  return lru;
}

static void
lru_free (gpointer state)
{
  Lru *lru = state;

  g_free (lru->nodes);
  g_free (lru);
}

static void
lru_hit (gpointer state, guint32 key)
{
  Lru *lru = state;

  sim_list_remove (&lru->list, lru->nodes, key);
  sim_list_insert (&lru->list, lru->nodes, key);
}

static void
lru_insert (gpointer state, guint32 key, guint32 cost)
{
  Lru *lru = state;

  sim_list_insert (&lru->list, lru->nodes, key);
}

static guint32
lru_evict (gpointer state, gboolean for_bytes)
{
  Lru *lru = state;
  guint32 key = lru->list.oldest;

  sim_list_remove (&lru->list, lru->nodes, key);
  return key;
}

const SimPolicy sim_lru = {
  .name = "lru",
  .title = "the one used longest ago goes",
  .make = lru_make,
  .free = lru_free,
  .hit = lru_hit,
  .insert = lru_insert,
  .evict = lru_evict,
};
