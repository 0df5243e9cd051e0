/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * SIEVE, and kinds of it that still have one list and one hand.
 *
 *  - sieve-bytes: where bytes are missing, the hand passes handles that have none.
 *  - sieve-credit: instead of a bit a small number, which the hand counts down: so much for a
 *    handle as the logarithm of its cost is above the mean of those that came, plus one for a hit.
 *
 * All do what sieve does while there are no bytes and all costs are the same.
 */
#include "tests/bench/sim-list.h"
#include "tests/bench/sim.h"

#define MEAN_WEIGHT 256 /* the mean is over about so many inserts */

typedef struct
{
  const SimTrace *trace;
  const SimLimits *limits;
  SimList list;
  SimNode *nodes;
  guint8 *credits;
  guint8 *levels; /* logarithms of costs */
  gboolean is_plain, has_credit;
  double mean; /* of levels */
} OneHand;

static OneHand *
one_hand_new (const SimTrace *trace, const SimLimits *limits, gboolean has_credit)
{
  OneHand *sieve = g_new (OneHand, 1);

  *sieve = (OneHand){
    .trace = trace,
    .limits = limits,
    .list = SIM_LIST_INIT,
    .nodes = g_new (SimNode, trace->n_objects),
    .credits = g_new0 (guint8, trace->n_objects),
    .levels = g_new0 (guint8, trace->n_objects),
    .has_credit = has_credit,
    .mean = -1,
  };
  return sieve;
}

static gpointer
plain_make (const SimTrace *trace, const SimLimits *limits)
{
  OneHand *sieve = one_hand_new (trace, limits, FALSE);

  sieve->is_plain = TRUE;
  return sieve;
}

static gpointer
bytes_make (const SimTrace *trace, const SimLimits *limits)
{
  return one_hand_new (trace, limits, FALSE);
}

static gpointer
credit_make (const SimTrace *trace, const SimLimits *limits)
{
  return one_hand_new (trace, limits, TRUE);
}

static void
one_hand_free (gpointer state)
{
  OneHand *sieve = state;

  g_free (sieve->nodes);
  g_free (sieve->credits);
  g_free (sieve->levels);
  g_free (sieve);
}

static guint8
get_credit (const OneHand *sieve, guint32 key)
{
  double above = sieve->has_credit ? sieve->levels[key] - sieve->mean : 0;

  return above >= 1 ? (guint8) above : 0;
}

static void
one_hand_hit (gpointer state, guint32 key)
{
  OneHand *sieve = state;

  sieve->credits[key] = get_credit (sieve, key) + 1;
}

static void
one_hand_insert (gpointer state, guint32 key, guint32 cost)
{
  OneHand *sieve = state;
  double density = sim_density (sieve->limits, cost, sieve->trace->bytes[key]);
  guint8 level = (guint8) g_bit_storage ((gulong) density);

  sieve->levels[key] = level;
  sieve->mean = sieve->mean < 0 ? level : sieve->mean + (level - sieve->mean) / MEAN_WEIGHT;
  sieve->credits[key] = get_credit (sieve, key);
  sim_list_insert (&sieve->list, sieve->nodes, key);
}

static guint32
one_hand_evict (gpointer state, gboolean for_bytes)
{
  OneHand *sieve = state;
  guint32 key;

  for (;;)
    {
      key = sim_list_get_hand (&sieve->list);
      if (for_bytes && !sieve->is_plain && sieve->trace->bytes[key] == 0)
        ;
      else if (sieve->credits[key] == 0)
        break;
      else
        sieve->credits[key]--;
      sieve->list.hand = sieve->nodes[key].newer;
    }
  sieve->list.hand = key;
  sim_list_remove (&sieve->list, sieve->nodes, key);
  return key;
}

const SimPolicy sim_sieve = {
  .name = "sieve",
  .title = "SIEVE",
  .make = plain_make,
  .free = one_hand_free,
  .hit = one_hand_hit,
  .insert = one_hand_insert,
  .evict = one_hand_evict,
};

const SimPolicy sim_sieve_bytes = {
  .name = "sieve-bytes",
  .title = "SIEVE, but handles without bytes stay when bytes are missing",
  .make = bytes_make,
  .free = one_hand_free,
  .hit = one_hand_hit,
  .insert = one_hand_insert,
  .evict = one_hand_evict,
};

const SimPolicy sim_sieve_credit = {
  .name = "sieve-credit",
  .title = "SIEVE with a count by cost instead of a bit",
  .make = credit_make,
  .free = one_hand_free,
  .hit = one_hand_hit,
  .insert = one_hand_insert,
  .evict = one_hand_evict,
};
