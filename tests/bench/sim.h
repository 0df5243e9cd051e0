/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is simulated: a trace of opens, replayed against a cache that may hold so many handles and
 * so many bytes, and a policy that says which handle goes when there is no room.
 *
 * An open that finds its object in the cache is a hit, and saves what the open would have cost at
 * that moment. Every other one costs that, and its object is then kept, unless it alone is larger
 * than the cache. A policy is told only what the service knows: which object was hit, what the open
 * that has just been done took, how many bytes the handle keeps. Only what is offline sees the
 * future; it may also decide not to keep an object at all.
 *
 * Nothing here looks at a clock: equal input gives equal output.
 */
#pragma once

#include <glib.h>

#include "tests/bench/sim-trace.h"

#define SIM_NO_LIMIT G_MAXUINT64

typedef struct
{
  guint64 max_handles; /* at least 1 */
  guint64 max_bytes;   /* or SIM_NO_LIMIT */
} SimLimits;

typedef struct
{
  double hits;  /* how many; NAN if that is not known */
  double saved; /* microseconds */
  guint64 evictions;
} SimResult;

/* For tests: what was done, in order. */
typedef void (*SimEvictedFunc) (guint32 position, guint32 key, gpointer data);

typedef struct
{
  const char *name;
  const char *title;

  /* Online: */
  gpointer (*make) (const SimTrace *trace, const SimLimits *limits);
  void (*free) (gpointer state);
  void (*hit) (gpointer state, guint32 key);
  void (*insert) (gpointer state, guint32 key, guint32 cost);
  /* Chooses who is to go, forgets it and returns it. There is somebody, and if it is bytes that are
   * missing, somebody who has some. */
  guint32 (*evict) (gpointer state, gboolean for_bytes);

  /* Or offline. */
  SimResult (*replay) (const SimTrace *trace, const SimLimits *limits);
  /* Whether it says anything true about such a trace under such limits; NULL: always. */
  gboolean (*applies) (const SimTrace *trace, const SimLimits *limits);
} SimPolicy;

extern const SimPolicy sim_lru, sim_fscache, sim_sieve, sim_sieve_bytes, sim_sieve_credit,
    sim_sieve_class, sim_gdsf, sim_min, sim_offline, sim_bound;

/* All of them, in the order of reports; ends with NULL. */
extern const SimPolicy *const sim_policies[];

SimResult sim_replay (const SimPolicy *policy, const SimTrace *trace, const SimLimits *limits,
                      SimEvictedFunc evicted, gpointer data);

/* What an open saves for the part of the cache that its handle takes: a handle without bytes takes
 * one part, one with bytes another for each max_bytes / max_handles of them. */
double sim_density (const SimLimits *limits, guint32 cost, guint64 bytes);
