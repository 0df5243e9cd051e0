/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Replays a trace; see sim.h.
 */
#include "tests/bench/sim.h"

const SimPolicy *const sim_policies[] = {
  &sim_lru,          &sim_fscache,     &sim_sieve, &sim_sieve_bytes,
  &sim_sieve_credit, &sim_sieve_class, &sim_gdsf,  &sim_min,
  &sim_offline,      &sim_bound,       NULL,
};

double
sim_density (const SimLimits *limits, guint32 cost, guint64 bytes)
{
  double parts = 1;

  if (limits->max_bytes != SIM_NO_LIMIT)
    parts += (double) bytes * (double) limits->max_handles / (double) limits->max_bytes;
  return MAX (cost, 1) / parts;
}

typedef struct
{
  const SimPolicy *policy;
  const SimTrace *trace;
  const SimLimits *limits;
  gpointer state;
  guint8 *is_in;
  guint64 n_handles, n_bytes;
  SimResult result;
} Replay;

static void
make_room (Replay *replay, guint64 bytes, guint32 position, SimEvictedFunc evicted, gpointer data)
{
  for (;;)
    {
      gboolean for_bytes = bytes > replay->limits->max_bytes - replay->n_bytes;

      if (!for_bytes && replay->n_handles < replay->limits->max_handles)
        return;

      guint32 key = replay->policy->evict (replay->state, for_bytes);

      g_assert_cmpuint (key, <, replay->trace->n_objects);
      g_assert_cmpuint (replay->is_in[key], >, 0);
      replay->is_in[key] = FALSE;
      replay->n_handles--;
      replay->n_bytes -= replay->trace->bytes[key];
      replay->result.evictions++;
      if (evicted != NULL)
        evicted (position, key, data);
    }
}

SimResult
sim_replay (const SimPolicy *policy, const SimTrace *trace, const SimLimits *limits,
            SimEvictedFunc evicted, gpointer data)
{
  g_assert_cmpuint (limits->max_handles, >, 0);
  if (policy->replay != NULL)
    return policy->replay (trace, limits);

  g_autofree guint8 *is_in = g_new0 (guint8, trace->n_objects);
  Replay replay = { policy, trace, limits, policy->make (trace, limits), is_in };

  for (guint32 i = 0; i < trace->n_opens; i++)
    {
      guint32 key = trace->keys[i];
      guint64 bytes = trace->bytes[key];

      if (is_in[key])
        {
          replay.result.hits++;
          replay.result.saved += trace->costs[i];
          policy->hit (replay.state, key);
          continue;
        }
      if (bytes > limits->max_bytes)
        continue;
      make_room (&replay, bytes, i, evicted, data);
      policy->insert (replay.state, key, trace->costs[i]);
      is_in[key] = TRUE;
      replay.n_handles++;
      replay.n_bytes += bytes;
    }
  policy->free (replay.state);
  return replay.result;
}
