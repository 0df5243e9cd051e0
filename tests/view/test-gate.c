/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What may wait for a source: so much at a time, and never all.
 */
#include "fscache/view/gate.h"

#include "tests/harness/tap.h"

#define LIMIT 3
#define TOTAL 7
#define SOURCES 6
#define CALLS 5 /* of each source, which hang */

typedef struct
{
  FscGate *gate;
  GMutex lock;
  GCond changed;
  guint n_begun, n_done;
  gboolean is_open; /* nothing hangs any more */
} Stage;

typedef struct
{
  Stage *stage;
  guint64 source;
} Call;

static void
hang (gpointer data)
{
  Stage *stage = data;

  g_mutex_lock (&stage->lock);
  stage->n_begun++;
  g_cond_broadcast (&stage->changed);
  while (!stage->is_open)
    g_cond_wait (&stage->changed, &stage->lock);
  stage->n_done++;
  g_mutex_unlock (&stage->lock);
}

static gpointer
run (gpointer data)
{
  Call *call = data;

  fsc_gate_run (call->stage->gate, call->source, hang, call->stage);
  g_free (call);
  return NULL;
}

static GThread *
start (Stage *stage, guint64 source)
{
  Call *call = g_new (Call, 1);

  *call = (Call){ stage, source };
  return g_thread_new ("call", run, call);
}

/* Time enough for one more, if there were one. */
static void
assert_begun (Stage *stage, guint n)
{
  gint64 until = g_get_monotonic_time () + 10 * G_USEC_PER_SEC;

  g_mutex_lock (&stage->lock);
  while (stage->n_begun < n && g_cond_wait_until (&stage->changed, &stage->lock, until))
    ;
  until = g_get_monotonic_time () + G_USEC_PER_SEC / 10;
  while (g_cond_wait_until (&stage->changed, &stage->lock, until))
    ;
  g_assert_cmpuint (stage->n_begun, ==, n);
  g_mutex_unlock (&stage->lock);
}

static void
count (gpointer data)
{
  ++*(guint *) data;
}

static void
test_limits (void)
{
  Stage stage = { .gate = fsc_gate_new (LIMIT, TOTAL) };
  GThread *threads[SOURCES * CALLS];
  guint n = 0, n_counted = 0;

  for (guint i = 0; i < SOURCES; i++)
    {
      for (guint j = 0; j < CALLS; j++)
        threads[n++] = start (&stage, i);
      /* The first ones have their limit; then one more reaches the total, and the others have one.
       */
      assert_begun (&stage, i < 2 ? (i + 1) * LIMIT : TOTAL + i - 2);
    }
  fsc_gate_run (stage.gate, 1000, count, &n_counted);
  g_assert_cmpuint (n_counted, ==, 1);

  g_mutex_lock (&stage.lock);
  stage.is_open = TRUE;
  g_cond_broadcast (&stage.changed);
  g_mutex_unlock (&stage.lock);
  for (guint i = 0; i < n; i++)
    g_thread_join (threads[i]);
  g_assert_cmpuint (stage.n_done, ==, n);
  fsc_gate_free (stage.gate);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/view-gate/limits", test_limits);
  return g_test_run ();
}
