/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What may wait for a source; see gate.h.
 */
#include "fscache/view/gate.h"

struct FscGate
{
  GMutex lock;
  GHashTable *lanes;
  guint limit, total, n_running;
};

typedef struct
{
  guint64 source;
  guint n_running;
  GQueue waiting; /* of Work */
} Lane;

typedef struct
{
  FscGateFunc func;
  gpointer data;
} Work;

FscGate *
fsc_gate_new (guint limit, guint total)
{
  FscGate *gate = g_new0 (FscGate, 1);

  gate->lanes = g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, g_free);
  gate->limit = limit;
  gate->total = total;
  return gate;
}

void
fsc_gate_free (FscGate *gate)
{
  g_hash_table_unref (gate->lanes);
  g_free (gate);
}

/* With the lock. */
static Lane *
get_lane (FscGate *gate, guint64 source)
{
  Lane *lane = g_hash_table_lookup (gate->lanes, &source);

  if (lane != NULL)
    return lane;
  lane = g_new0 (Lane, 1);
  lane->source = source;
  g_queue_init (&lane->waiting);
  g_hash_table_insert (gate->lanes, &lane->source, lane);
  return lane;
}

/* With the lock. */
static gboolean
is_full (const FscGate *gate, const Lane *lane)
{
  return lane->n_running >= (gate->n_running < gate->total ? gate->limit : 1);
}

void
fsc_gate_run (FscGate *gate, guint64 source, FscGateFunc func, gpointer data)
{
  Work first = { func, data }, *work = &first;
  Lane *lane;

  g_mutex_lock (&gate->lock);
  lane = get_lane (gate, source);
  if (is_full (gate, lane))
    {
      g_queue_push_tail (&lane->waiting, g_memdup2 (&first, sizeof first));
      g_mutex_unlock (&gate->lock);
      return;
    }
  lane->n_running++;
  gate->n_running++;
  while (work != NULL)
    {
      g_mutex_unlock (&gate->lock);
      work->func (work->data);
      if (work != &first)
        g_free (work);
      g_mutex_lock (&gate->lock);
      work = g_queue_pop_head (&lane->waiting);
    }
  gate->n_running--;
  if (--lane->n_running == 0)
    g_hash_table_remove (gate->lanes, &source);
  g_mutex_unlock (&gate->lock);
}
