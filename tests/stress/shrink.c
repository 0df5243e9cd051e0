/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Playing steps again, and delta debugging; see shrink.h.
 */
#include "tests/stress/shrink.h"

#include <string.h>

#define SHRINK_SECONDS 120

/* Playing */

static void
append_range (GArray *places, guint from, guint n)
{
  for (guint i = from; i < from + n; i++)
    g_array_append_val (places, i);
}

/* `places` takes where each step is that the crew has in its log: hot, it asks more than there is
 * in the list. */
static DiffResult
play (const DiffReplay *replay, DiffCrew *crew, GArray *steps, GArray *places)
{
  const DiffStep *all = (const DiffStep *) (void *) steps->data;

  for (guint i = 0; i < steps->len && diff_crew_get_failure (crew) == NULL;)
    {
      guint changed = i;
      const DiffStep *step = diff_step_is_question (&all[i]) ? NULL : &all[i++];
      gboolean is_hot = replay->is_hot && step != NULL;
      guint n = 0;

      while (i + n < steps->len && n < DIFF_BATCH_MAX && diff_step_is_question (&all[i + n]))
        n++;
      if (is_hot)
        append_range (places, i, n);
      append_range (places, changed, i - changed + n);
      if (!diff_crew_play (crew, 0, step, &all[i], n, is_hot))
        return DIFF_TROUBLE;
      i += n;
    }
  return diff_crew_get_failure (crew) != NULL ? DIFF_FAILS : DIFF_SAME;
}

static DiffResult
replay_once (const DiffReplay *replay, DiffTally *tally, GArray *steps, DiffFailure *failure)
{
  const DiffCrewOptions options
      = { .n_mutators = 1, .n_comparers = 1, .max_age_ms = replay->max_age_ms };
  g_autoptr (GArray) places = g_array_new (FALSE, FALSE, sizeof (guint));
  DiffResult result;
  DiffCrew crew;

  diff_place_refresh (replay->stand->place);
  if (!diff_stand_start (replay->stand))
    return DIFF_TROUBLE;
  diff_crew_init (&crew, replay->stand, tally, &options);
  result = play (replay, &crew, steps, places);
  if (result == DIFF_FAILS)
    {
      *failure = *diff_crew_get_failure (&crew);
      failure->question = g_array_index (places, guint, failure->question);
    }
  diff_crew_clear (&crew);
  return diff_stand_stop (replay->stand) ? result : DIFF_TROUBLE;
}

DiffResult
diff_replay (const DiffReplay *replay, DiffTally *tally, GArray *steps, DiffFailure *failure)
{
  DiffResult result = DIFF_SAME;

  for (guint i = 0; i < replay->tries && result == DIFF_SAME; i++)
    result = replay_once (replay, tally, steps, failure);
  return result;
}

/* Shrinking */

typedef struct
{
  const DiffReplay *replay;
  DiffTally *tally; /* that nobody reads */
  GArray *steps;
  DiffFailure *failure;
  guint n_replays;
  gint64 end;
} Shrink;

/* Takes the candidate if it fails, up to where it fails. Frees it. */
static gboolean
try (Shrink *shrink, GArray *candidate)
{
  DiffFailure failure;
  gboolean fails;

  shrink->n_replays++;
  fails = diff_replay (shrink->replay, shrink->tally, candidate, &failure) == DIFF_FAILS;
  if (fails)
    {
      g_array_set_size (shrink->steps, 0);
      g_array_append_vals (shrink->steps, candidate->data, failure.question + 1);
      *shrink->failure = failure;
    }
  g_array_unref (candidate);
  return fails;
}

/* All steps, and of the questions those about the same name as the last one. */
static GArray *
without_other_questions (GArray *steps)
{
  GArray *rest = g_array_new (FALSE, FALSE, sizeof (DiffStep));
  const DiffStep *last = &g_array_index (steps, DiffStep, steps->len - 1);

  for (guint i = 0; i < steps->len; i++)
    {
      const DiffStep *step = &g_array_index (steps, DiffStep, i);

      if (!diff_step_is_question (step)
          || (g_str_equal (step->a, last->a) && step->number == last->number))
        g_array_append_val (rest, *step);
    }
  return rest;
}

static GArray *
without (GArray *steps, guint from, guint to)
{
  GArray *rest = g_array_new (FALSE, FALSE, sizeof (DiffStep));

  g_array_append_vals (rest, steps->data, from);
  g_array_append_vals (rest, &g_array_index (steps, DiffStep, to), steps->len - to);
  return rest;
}

/* Leaves out chunk after chunk, from the end, which truncation has made likely to matter least
 * before the last step. Returns whether any could go. */
static gboolean
leave_out (Shrink *shrink, guint size)
{
  gboolean any = FALSE;
  guint to = shrink->steps->len - 1; /* the last one is what fails */

  while (to > 0 && g_get_monotonic_time () < shrink->end)
    {
      guint from = to > size ? to - size : 0;

      any |= try (shrink, without (shrink->steps, from, to));
      to = MIN (from, shrink->steps->len - 1);
    }
  return any;
}

guint
diff_shrink (const DiffReplay *replay, GArray *steps, DiffFailure *failure)
{
  Shrink shrink = {
    .replay = replay,
    .tally = diff_tally_new (),
    .steps = steps,
    .failure = failure,
    .end = g_get_monotonic_time () + SHRINK_SECONDS * G_USEC_PER_SEC,
  };

  g_array_set_size (steps, failure->question + 1);
  try (&shrink, without_other_questions (steps));
  for (guint size = MAX (steps->len / 2, 1);; size = MAX (size / 2, 1))
    if (!leave_out (&shrink, size) && size == 1)
      break;
    else if (g_get_monotonic_time () >= shrink.end)
      break;
  diff_tally_free (shrink.tally);
  return shrink.n_replays;
}
