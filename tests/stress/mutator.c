/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Those who change the tree; see crew.h and shared.h.
 */
#include <errno.h>
#include <pthread.h>

#include "tests/stress/draw.h"
#include "tests/stress/shared.h"

#define BEAT_US 2000
#define OFF_BEAT_ONE_IN 4

/* Contents of those who run free: none is drawn twice, nor by the coordinator. */
#define FREE_CONTENT 100000000u
#define FREE_CONTENT_OF_PHASE 1000000u

typedef struct
{
  const DiffCrew *crew;
  guint index;
} Mutator;

static void
do_step (const DiffCrew *crew, const DiffStep *step)
{
  diff_tally_add_step (crew->tally, step, diff_mutate (&crew->tree, step));
}

/* All mutators do their steps at the same moments, where they meet each other and what is asked, so
 * that comparisons can succeed in between; but some come at any time. */
static void
wait_for_beat (DiffDraw *draw)
{
  gint64 to_beat = BEAT_US - g_get_monotonic_time () % BEAT_US;

  if (diff_draw_below (draw, OFF_BEAT_ONE_IN) == 0)
    to_beat += diff_draw_below (draw, BEAT_US);
  g_usleep ((gulong) to_beat);
}

static void
run_free (const Mutator *mutator)
{
  const DiffCrew *crew = mutator->crew;
  DiffShared *shared = crew->shared;
  DiffDraw draw;
  DiffStep step;
  guint index;

  diff_draw_init (&draw, shared->seed, mutator->index, crew->options.n_mutators);
  draw.mounts = crew->options.mounts;
  draw.last_content += FREE_CONTENT + shared->phase * FREE_CONTENT_OF_PHASE;
  while (atomic_load (&shared->is_free) != 0 && diff_crew_has_room (crew, 0))
    {
      diff_draw_step (&draw, &crew->tree, &step);
      if (diff_step_is_question (&step))
        continue;
      wait_for_beat (&draw);
      if (!log_append (shared, &step, &index))
        break;
      atomic_fetch_add (&shared->started, 1);
      do_step (crew, &step);
      atomic_fetch_add (&shared->finished, 1);
    }
  bell_ring (&shared->done, 1);
}

static void
wait_until_hot (DiffShared *shared, guint hot)
{
  guint seen;

  while ((seen = atomic_load (&shared->hot.value)) != hot)
    bell_wait (&shared->hot, seen, N_SPINS);
}

static void *
run (void *data)
{
  const Mutator *mutator = data;
  const DiffCrew *crew = mutator->crew;
  DiffShared *shared = crew->shared;
  Bell *bell = &shared->mutators[mutator->index].bell;
  guint seen = 0;

  for (;; seen++)
    {
      while (!bell_wait (bell, seen, 0))
        ;
      switch (shared->mutators[mutator->index].command)
        {
        case QUIT:
          return NULL;
        case RUN_FREE:
          run_free (mutator);
          break;
        default:
          wait_until_hot (shared, shared->mutators[mutator->index].hot);
          do_step (crew, &shared->log[shared->mutators[mutator->index].step]);
          bell_ring (&shared->go, 1);
          break;
        }
    }
}

void
diff_mutator_run (const DiffCrew *crew, guint first, guint stride)
{
  pthread_t threads[DIFF_MUTATORS_MAX];
  Mutator mutators[DIFF_MUTATORS_MAX];

  for (guint i = first; i < crew->options.n_mutators; i += stride)
    {
      int error;

      mutators[i] = (Mutator){ .crew = crew, .index = i };
      error = pthread_create (&threads[i], NULL, run, &mutators[i]);
      if (error != 0)
        g_error ("cannot start a thread: %s", g_strerror (error));
    }
  for (guint i = first; i < crew->options.n_mutators; i += stride)
    pthread_join (threads[i], NULL);
  _exit (0);
}
