/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What can be had by who knows the future, in three rows.
 *
 *  - min: Belady's MIN: who is asked for again last goes, or does not come in. While there is no
 *    limit of bytes, nobody has more hits: it is exact for hits, and, if all opens cost the same,
 *    for time as well.
 *  - offline: a schedule that was found, which saves the time that is said. It need not be the
 * best.
 *  - bound: no cache whatever can save more time. It may be that none can save so much.
 *
 * The optimum of time lies between offline and bound.
 *
 * Both see a trace as intervals, each from one open of an object to its next: to keep the object
 * for so long takes a part of the cache for so many opens, and saves the cost of the next open. The
 * bound is Lagrange's: if room has a price at each moment, which may differ from moment to moment
 * and for handles and bytes, then no schedule gains more than all room would cost, plus what is
 * left to each interval that is worth more than its room. This holds for any prices; the better
 * they are, the lower it is, and they are sought by steps down the subgradient. At the price 0 it
 * is the infinite cache. offline takes intervals, best in proportion to the price of their room
 * first, if there still is room.
 */
#include "tests/bench/sim-heap.h"
#include "tests/bench/sim-room.h"
#include "tests/bench/sim.h"

#include <math.h>
#include <string.h>

#define N_SEGMENTS 250 /* in which a price stays the same */
#define N_STEPS 100

/* The next open of the same object, or n_opens. */
static guint32 *
find_next_opens (const SimTrace *trace)
{
  guint32 *next = g_new (guint32, trace->n_opens);
  g_autofree guint32 *last = g_new (guint32, trace->n_objects);

  for (guint32 i = 0; i < trace->n_objects; i++)
    last[i] = trace->n_opens;
  for (guint32 i = trace->n_opens; i-- > 0;)
    {
      next[i] = last[trace->keys[i]];
      last[trace->keys[i]] = i;
    }
  return next;
}

/* MIN */

static SimResult
min_replay (const SimTrace *trace, const SimLimits *limits)
{
  g_autofree guint32 *next = find_next_opens (trace);
  SimResult result = { 0 };
  SimHeap heap; /* by next open, the last on top */

  sim_heap_init (&heap, trace->n_objects);
  for (guint32 i = 0; i < trace->n_opens; i++)
    {
      guint32 key = trace->keys[i];

      if (sim_heap_has (&heap, key))
        {
          result.hits++;
          result.saved += trace->costs[i];
        }
      sim_heap_set (&heap, key, -(double) next[i]);
      if (heap.n > limits->max_handles)
        result.evictions += sim_heap_take (&heap) != key;
    }
  sim_heap_clear (&heap);
  return result;
}

static gboolean
min_applies (const SimTrace *trace, const SimLimits *limits)
{
  return limits->max_bytes == SIM_NO_LIMIT;
}

const SimPolicy sim_min = {
  .name = "min",
  .title = "Belady's MIN: as many hits as there can be",
  .replay = min_replay,
  .applies = min_applies,
};

/* Intervals and prices */

typedef struct
{
  guint32 from, to; /* opens: room is taken after `from` until `to` */
  guint32 gain;     /* microseconds */
  double bytes;     /* part of max_bytes */
  double merit;
} Interval;

typedef struct
{
  guint32 n_opens, segment; /* opens of a segment */
  guint32 n_intervals;
  Interval *intervals;
  double part; /* of the room for handles that one takes */
  gboolean has_bytes;
  double handle_prices[N_SEGMENTS + 1]; /* of all room, for one open */
  double byte_prices[N_SEGMENTS + 1];
  double *handle_sums, *byte_sums; /* prices of all opens before one */
  double *handle_use, *byte_use;   /* by how much the part in use changes at an open */
} Market;

static void
market_init (Market *market, const SimTrace *trace, const SimLimits *limits)
{
  g_autofree guint32 *next = find_next_opens (trace);
  double max_bytes = limits->max_bytes == SIM_NO_LIMIT ? HUGE_VAL : (double) limits->max_bytes;

  *market = (Market){
    .n_opens = trace->n_opens,
    .segment = trace->n_opens / N_SEGMENTS + 1,
    .intervals = g_new (Interval, trace->n_opens),
    .part = 1 / (double) limits->max_handles,
    .has_bytes = limits->max_bytes != SIM_NO_LIMIT,
    .handle_sums = g_new0 (double, trace->n_opens + 1),
    .byte_sums = g_new0 (double, trace->n_opens + 1),
    .handle_use = g_new (double, trace->n_opens + 1),
    .byte_use = g_new (double, trace->n_opens + 1),
  };
  for (guint32 i = 0; i < trace->n_opens; i++)
    {
      guint64 bytes = trace->bytes[trace->keys[i]];

      if (next[i] < trace->n_opens && bytes <= limits->max_bytes)
        market->intervals[market->n_intervals++]
            = (Interval){ .from = i,
                          .to = next[i],
                          .gain = trace->costs[next[i]],
                          .bytes = (double) bytes / max_bytes };
    }
}

static void
market_clear (Market *market)
{
  g_free (market->intervals);
  g_free (market->handle_sums);
  g_free (market->byte_sums);
  g_free (market->handle_use);
  g_free (market->byte_use);
}

static double
get_price (const Market *market, const Interval *interval)
{
  double price
      = market->part * (market->handle_sums[interval->to] - market->handle_sums[interval->from]);

  if (interval->bytes > 0)
    price
        += interval->bytes * (market->byte_sums[interval->to] - market->byte_sums[interval->from]);
  return price;
}

static void
sum_prices (Market *market)
{
  for (guint32 i = 0; i < market->n_opens; i++)
    {
      guint32 segment = i / market->segment;

      market->handle_sums[i + 1] = market->handle_sums[i] + market->handle_prices[segment];
      market->byte_sums[i + 1] = market->byte_sums[i] + market->byte_prices[segment];
    }
}

/* The bound by these prices, and how much room those would take for whom it is worth its price. */
static double
get_bound (Market *market)
{
  sum_prices (market);

  double bound = market->handle_sums[market->n_opens] + market->byte_sums[market->n_opens];

  memset (market->handle_use, 0, sizeof (double) * (market->n_opens + 1));
  memset (market->byte_use, 0, sizeof (double) * (market->n_opens + 1));
  for (guint32 i = 0; i < market->n_intervals; i++)
    {
      const Interval *interval = &market->intervals[i];
      double left = interval->gain - get_price (market, interval);

      if (left <= 0)
        continue;
      bound += left;
      market->handle_use[interval->from] += market->part;
      market->handle_use[interval->to] -= market->part;
      market->byte_use[interval->from] += interval->bytes;
      market->byte_use[interval->to] -= interval->bytes;
    }
  return bound;
}

/* Room that is left over (or, below 0, missing) in each segment. Returns its square. */
static double
get_rest (const Market *market, const double *use, const double *prices, double *rest)
{
  double now = 0, square = 0;

  memset (rest, 0, sizeof (double) * (N_SEGMENTS + 1));
  for (guint32 i = 0; i < market->n_opens; i++)
    {
      now += use[i];
      rest[i / market->segment] += 1 - now;
    }
  for (guint i = 0; i <= N_SEGMENTS; i++)
    if (prices[i] > 0 || rest[i] < 0)
      square += rest[i] * rest[i];
  return square;
}

static void
step (double *prices, const double *rest, double length)
{
  for (guint i = 0; i <= N_SEGMENTS; i++)
    prices[i] = MAX (0, prices[i] - length * rest[i]);
}

/* Sets the best prices that are found; `reached` is what some schedule saves (Polyak's step). */
static double
seek_prices (Market *market, double reached)
{
  double handle_rest[N_SEGMENTS + 1], byte_rest[N_SEGMENTS + 1];
  double best_handle_prices[N_SEGMENTS + 1], best_byte_prices[N_SEGMENTS + 1];
  double best = HUGE_VAL, pace = 1;
  guint since_best = 0;

  for (guint i = 0; i < N_STEPS; i++)
    {
      double bound = get_bound (market);

      since_best++;
      if (bound < best)
        {
          if (bound < best - 1e-4 * best)
            since_best = 0;
          best = bound;
          memcpy (best_handle_prices, market->handle_prices, sizeof best_handle_prices);
          memcpy (best_byte_prices, market->byte_prices, sizeof best_byte_prices);
        }
      else if (since_best >= 5)
        {
          pace /= 2;
          since_best = 0;
          memcpy (market->handle_prices, best_handle_prices, sizeof best_handle_prices);
          memcpy (market->byte_prices, best_byte_prices, sizeof best_byte_prices);
          bound = get_bound (market);
        }

      double square = get_rest (market, market->handle_use, market->handle_prices, handle_rest)
                      + get_rest (market, market->byte_use, market->byte_prices, byte_rest);

      if (square <= 0 || bound <= reached)
        break;
      step (market->handle_prices, handle_rest, pace * (bound - reached) / square);
      if (market->has_bytes)
        step (market->byte_prices, byte_rest, pace * (bound - reached) / square);
    }
  memcpy (market->handle_prices, best_handle_prices, sizeof best_handle_prices);
  memcpy (market->byte_prices, best_byte_prices, sizeof best_byte_prices);
  sum_prices (market);
  return best;
}

/* A schedule */

static int
compare_merits (const void *a, const void *b)
{
  const Interval *x = a, *y = b;

  if (x->merit < y->merit || x->merit > y->merit)
    return x->merit < y->merit ? 1 : -1;
  return (x->from > y->from) - (x->from < y->from);
}

/* Takes intervals in the order of their merit while there is room. */
static SimResult
fill (Market *market)
{
  g_autoptr (SimRoom) handles = sim_room_new (market->n_opens);
  g_autoptr (SimRoom) bytes = sim_room_new (market->n_opens);
  SimResult result = { 0 };

  qsort (market->intervals, market->n_intervals, sizeof (Interval), compare_merits);
  for (guint32 i = 0; i < market->n_intervals; i++)
    {
      const Interval *interval = &market->intervals[i];
      double part = interval->bytes;

      /* Handles are counted in whole numbers: rounding neither makes nor takes one. */
      if (sim_room_get_most (handles, interval->from, interval->to) + 0.5 > 1 / market->part
          || (part > 0 && sim_room_get_most (bytes, interval->from, interval->to) + part > 1))
        continue;
      sim_room_take (handles, interval->from, interval->to, 1);
      if (part > 0)
        sim_room_take (bytes, interval->from, interval->to, part);
      result.hits++;
      result.saved += interval->gain;
    }
  return result;
}

/* At first, room has one price everywhere. */
static SimResult
fill_by_density (Market *market)
{
  for (guint32 i = 0; i < market->n_intervals; i++)
    {
      Interval *interval = &market->intervals[i];

      interval->merit
          = interval->gain
            / ((market->part + interval->bytes) * (double) (interval->to - interval->from));
    }
  return fill (market);
}

static SimResult
fill_by_price (Market *market)
{
  /* What costs nothing is still not to take room from others. */
  double least = 1e-9 * (1 + market->handle_sums[market->n_opens] / market->n_opens);

  for (guint32 i = 0; i < market->n_intervals; i++)
    {
      Interval *interval = &market->intervals[i];

      interval->merit
          = interval->gain
            / (get_price (market, interval) + least * (double) (interval->to - interval->from));
    }
  return fill (market);
}

static SimResult
offline_replay (const SimTrace *trace, const SimLimits *limits)
{
  Market market;

  market_init (&market, trace, limits);

  SimResult result = fill_by_density (&market);

  seek_prices (&market, result.saved);

  SimResult other = fill_by_price (&market);

  market_clear (&market);
  return other.saved > result.saved ? other : result;
}

static SimResult
bound_replay (const SimTrace *trace, const SimLimits *limits)
{
  Market market;
  SimResult result = { .hits = NAN };

  market_init (&market, trace, limits);
  result.saved = seek_prices (&market, fill_by_density (&market).saved);
  market_clear (&market);
  return result;
}

/* Where costs are all the same, MIN says it exactly. */
static gboolean
offline_applies (const SimTrace *trace, const SimLimits *limits)
{
  return !trace->is_one_cost || limits->max_bytes != SIM_NO_LIMIT;
}

const SimPolicy sim_offline = {
  .name = "offline",
  .title = "a schedule found with the future known: so much can be saved",
  .replay = offline_replay,
  .applies = offline_applies,
};

const SimPolicy sim_bound = {
  .name = "bound",
  .title = "a bound of all schedules: more cannot be saved",
  .replay = bound_replay,
  .applies = offline_applies,
};
