/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * SIEVE by class, as simply as it can be said, beside which fscache/store.c is tested: a list and a
 * hand for each power of 16 of cost per part of the cache, and for handles with and without bytes.
 * Within a class SIEVE says who would go. Among those the one goes whose value is least: the age of
 * the cache when the handle came, or when the hand last found its bit set, plus the worth of its
 * class. The cache then gets as old as that value (GreedyDual).
 *
 * Finer classes save hardly more time, and lose hits: they tell apart what differs only by the
 * noise of measuring.
 *
 * O(1): who goes is one of 2 * N_CLASSES, and each bit that a hand clears was set by a hit. With
 * one cost and no bytes it is SIEVE.
 */
#include "tests/bench/sim-list.h"
#include "tests/bench/sim.h"

#define CLASS_BITS 4
#define N_CLASSES 8 /* the last one is for 268 s and more */

typedef struct
{
  guint64 since; /* the cache's age when it came or was found used */
  guint8 class;
  guint8 is_visited;
} Entry;

typedef struct
{
  const SimTrace *trace;
  const SimLimits *limits;
  SimNode *nodes;
  Entry *entries;
  SimList classes[2][N_CLASSES]; /* without and with bytes */
  guint64 age;
} Classes;

static gpointer
class_make (const SimTrace *trace, const SimLimits *limits)
{
  Classes *classes = g_new0 (Classes, 1);

  classes->trace = trace;
  classes->limits = limits;
  classes->nodes = g_new (SimNode, trace->n_objects);
  classes->entries = g_new0 (Entry, trace->n_objects);
  for (guint i = 0; i < N_CLASSES; i++)
    classes->classes[0][i] = classes->classes[1][i] = SIM_LIST_INIT;
  return classes;
}

static void
class_free (gpointer state)
{
  Classes *classes = state;

  g_free (classes->nodes);
  g_free (classes->entries);
  g_free (classes);
}

static void
class_hit (gpointer state, guint32 key)
{
  Classes *classes = state;

  classes->entries[key].is_visited = TRUE;
}

static void
class_insert (gpointer state, guint32 key, guint32 cost)
{
  Classes *classes = state;
  guint64 bytes = classes->trace->bytes[key];
  gulong density = (gulong) sim_density (classes->limits, cost, bytes);
  guint8 class = (guint8) (MAX (g_bit_storage (density), 1) - 1) / CLASS_BITS;

  class = MIN (class, N_CLASSES - 1);
  classes->entries[key] = (Entry){ classes->age, class, 0 };
  sim_list_insert (&classes->classes[bytes > 0][class], classes->nodes, key);
}

/* Who would go of one class, or SIM_NONE. */
static guint32
get_candidate (Classes *classes, SimList *list)
{
  for (;;)
    {
      guint32 key = sim_list_get_hand (list);

      if (key == SIM_NONE || !classes->entries[key].is_visited)
        return key;
      classes->entries[key].is_visited = FALSE;
      classes->entries[key].since = classes->age;
      list->hand = classes->nodes[key].newer;
    }
}

static guint64
get_value (const Classes *classes, guint32 key)
{
  const Entry *entry = &classes->entries[key];

  return entry->since + ((guint64) 1 << (CLASS_BITS * entry->class));
}

static guint32
class_evict (gpointer state, gboolean for_bytes)
{
  Classes *classes = state;
  guint32 best = SIM_NONE;

  for (guint with = for_bytes; with < 2; with++)
    for (guint i = 0; i < N_CLASSES; i++)
      {
        guint32 key = get_candidate (classes, &classes->classes[with][i]);

        if (key != SIM_NONE
            && (best == SIM_NONE || get_value (classes, key) < get_value (classes, best)))
          best = key;
      }

  SimList *list = &classes->classes[classes->trace->bytes[best] > 0][classes->entries[best].class];

  classes->age = MAX (classes->age, get_value (classes, best));
  list->hand = best;
  sim_list_remove (list, classes->nodes, best);
  return best;
}

const SimPolicy sim_sieve_class = {
  .name = "sieve-class",
  .title = "SIEVE in each class of cost, GreedyDual among classes",
  .make = class_make,
  .free = class_free,
  .hit = class_hit,
  .insert = class_insert,
  .evict = class_evict,
};
