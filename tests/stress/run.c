/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Trials, and what becomes of their failures; see run.h.
 */
#include "tests/stress/run.h"

#include <errno.h>
#include <string.h>

#include "tests/stress/draw.h"
#include "tests/stress/shrink.h"

#define TAIL 30         /* changes that are printed if the steps cannot be shortened */
#define HOT_BATCH_MAX 3 /* few, so that it is quick */
#define HOT_TRIES 5
#define FREE_EVERY 100 /* rounds; without any, less, since to start a trial is slow */
#define FREE_EVERY_ALONE 10
#define FREE_MS 40

/* What is asked before a step. */
typedef enum
{
  COLD, /* nothing */
  WARM, /* the same, and compared */
  HOT,  /* the same, immediately before */
  N_WARMTHS,
} Warmth;

typedef struct
{
  const DiffRun *run;
  DiffStand *stand;
  guint64 seed;
  guint64 goal; /* of comparisons, of the tally */
  gint64 end;
  DiffDraw draw;
  DiffCrew crew;
} Trial;

static gboolean
is_over (const Trial *trial)
{
  return (trial->end > 0 && g_get_monotonic_time () >= trial->end)
         || (trial->goal > 0 && atomic_load (&trial->run->tally->comparisons) >= trial->goal);
}

/* One trial */

/* A step, and questions about it and others. Often these are asked before the step as well, so that
 * all that can be kept is kept, and has just been found right. */
static gboolean
play_round (Trial *trial)
{
  const DiffOptions *options = trial->run->options;
  DiffDraw *draw = &trial->draw;
  Warmth warmth = diff_draw_below (draw, N_WARMTHS);
  guint most = warmth == HOT ? MIN (HOT_BATCH_MAX, (guint) options->batch) : (guint) options->batch;
  guint n = (1 + diff_draw_below (draw, most)) * (guint) options->comparers;
  guint who = diff_draw_below (draw, (guint) options->threads), first = 0;
  DiffStep step, questions[DIFF_BATCH_MAX * DIFF_COMPARERS_MAX];

  diff_draw_step (draw, &trial->crew.tree, &step);
  if (diff_step_is_question (&step))
    questions[first++] = step;
  for (guint i = first; i < n; i++)
    diff_draw_question (draw, &trial->crew.tree, &step, &questions[i]);
  if (first > 0)
    return diff_crew_play (&trial->crew, who, NULL, questions, n, FALSE);
  if (warmth == WARM && !diff_crew_play (&trial->crew, who, NULL, questions, n, FALSE))
    return FALSE;
  return diff_crew_play (&trial->crew, who, &step, questions, n, warmth == HOT);
}

static gboolean
play_all (Trial *trial)
{
  const DiffOptions *options = trial->run->options;
  /* Every other one is only rounds, so that it can be played again exactly. */
  gboolean is_free = options->free_running && (!options->serialised || trial->seed % 2 == 1);
  guint free_every = options->serialised ? FREE_EVERY : FREE_EVERY_ALONE;

  for (guint i = 1; i <= (guint) options->rounds && !is_over (trial)
                    && diff_crew_get_failure (&trial->crew) == NULL
                    && diff_crew_has_room (&trial->crew, DIFF_BATCH_MAX * DIFF_COMPARERS_MAX);
       i++)
    {
      if (options->serialised && !play_round (trial))
        return FALSE;
      if (is_free && i % free_every == 0
          && !diff_crew_run_free (&trial->crew, trial->seed * 1000 + i, FREE_MS))
        return FALSE;
    }
  return TRUE;
}

/* Returns what became of it; if it fails, `steps` are those up to there. */
static DiffResult
play_trial (Trial *trial, GArray *steps, DiffFailure *failure)
{
  const DiffOptions *options = trial->run->options;
  const DiffCrewOptions crew_options = {
    .n_mutators = (guint) options->threads,
    .n_comparers = (guint) options->comparers,
    .max_age_ms = options->max_age_ms,
    .mounts = options->mounts,
  };
  DiffResult result;
  const DiffStep *log;
  guint n;

  diff_place_refresh (trial->stand->place);
  if (!diff_stand_start (trial->stand))
    return DIFF_TROUBLE;
  diff_draw_init (&trial->draw, trial->seed, 0, 1);
  trial->draw.mounts = options->mounts;
  diff_crew_init (&trial->crew, trial->stand, trial->run->tally, &crew_options);

  result = play_all (trial) ? DIFF_SAME : DIFF_TROUBLE;
  if (diff_crew_get_failure (&trial->crew) != NULL)
    {
      *failure = *diff_crew_get_failure (&trial->crew);
      result = DIFF_FAILS;
    }
  log = diff_crew_get_log (&trial->crew, &n);
  g_array_set_size (steps, 0);
  g_array_append_vals (steps, log, result == DIFF_FAILS ? failure->question + 1 : n);
  diff_crew_clear (&trial->crew);
  if (!diff_stand_stop (trial->stand) && result == DIFF_SAME)
    result = DIFF_TROUBLE;
  return result;
}

/* Failures */

static void
print_steps (GArray *steps)
{
  for (guint i = 0; i < steps->len; i++)
    diff_step_print (&g_array_index (steps, DiffStep, i), stdout);
}

static void
save (const DiffRun *run, GArray *steps)
{
  FILE *file = run->options->save != NULL ? fopen (run->options->save, "we") : NULL;

  if (file == NULL)
    return;
  for (guint i = 0; i < steps->len; i++)
    diff_step_print (&g_array_index (steps, DiffStep, i), file);
  fclose (file);
}

/* The last changes, and of the questions those about the name that was asked last. */
static void
print_tail (GArray *steps)
{
  const DiffStep *all = (const DiffStep *) (void *) steps->data;
  const char *name = steps->len > 0 ? all[steps->len - 1].a : "";
  guint from = steps->len;

  for (guint n = 0; from > 0 && n < TAIL; from--)
    n += !diff_step_is_question (&all[from - 1]);
  printf ("Of %u steps the last changes, and what was asked about %s:\n", steps->len, name);
  for (; from < steps->len; from++)
    if (!diff_step_is_question (&all[from]) || g_str_equal (all[from].a, name))
      diff_step_print (&all[from], stdout);
}

/* Slowly and once; then as closely after each other as can be, and several times: what comes too
 * late does so only sometimes. */
static gboolean
fails_again (DiffReplay *replay, GArray *steps, DiffFailure *failure)
{
  DiffTally *nobodys = diff_tally_new ();
  gboolean fails = diff_replay (replay, nobodys, steps, failure) == DIFF_FAILS;

  if (!fails)
    {
      replay->is_hot = TRUE;
      replay->tries = HOT_TRIES;
      fails = diff_replay (replay, nobodys, steps, failure) == DIFF_FAILS;
    }
  diff_tally_free (nobodys);
  return fails;
}

static void
shrink (const DiffRun *run, DiffStand *stand, GArray *steps, const DiffFailure *original)
{
  DiffReplay replay = { .stand = stand,
                        .max_age_ms = run->options->max_age_ms,
                        .is_hot = run->options->is_hot,
                        .tries = 1 };
  guint n_before = steps->len, n_replays;
  DiffFailure failure = *original;

  if (!fails_again (&replay, steps, &failure))
    {
      printf ("It does not fail when its steps are played again one by one by a single thread.\n");
      print_tail (steps);
      return;
    }
  n_replays = diff_shrink (&replay, steps, &failure);
  printf (
      "Shortened from %u steps to %u in %u replays (--fs %s --user %u%s --steps FILE plays them "
      "again):\n",
      n_before, steps->len, n_replays, run->fs, run->user, replay.is_hot ? " --hot" : "");
  print_steps (steps);
  printf ("There: %s\n", failure.text);
}

static void
tell (const DiffRun *run, DiffStand *stand, guint64 seed, GArray *steps, const DiffFailure *failure)
{
  g_autofree char *origin = run->options->steps != NULL
                                ? g_strdup_printf ("steps %s", run->options->steps)
                                : g_strdup_printf ("seed %" G_GUINT64_FORMAT, seed);

  atomic_fetch_add (&run->tally->differences, 1);
  printf ("\nDIFFERENCE on %s, user %u, %s:\n%s\n", run->fs, run->user, origin, failure->text);
  fflush (stdout);
  g_array_set_size (steps, failure->question + 1);
  if (run->options->no_shrink)
    print_tail (steps);
  else
    shrink (run, stand, steps, failure);
  save (run, steps);
  fflush (stdout);
}

static void
tell_trouble (const DiffRun *run, guint64 seed, GArray *steps)
{
  atomic_fetch_add (&run->tally->troubles, 1);
  printf ("TROUBLE on %s, user %u, seed %" G_GUINT64_FORMAT "\n", run->fs, run->user, seed);
  print_tail (steps);
  save (run, steps);
  fflush (stdout);
}

/* Runs */

static void
play_trials (const DiffRun *run, DiffStand *stand)
{
  g_autoptr (GArray) steps = g_array_new (FALSE, FALSE, sizeof (DiffStep));
  Trial trial = { .run = run, .stand = stand, .seed = (guint64) run->options->seed };
  gboolean goes_on = TRUE;
  DiffFailure failure;

  if (run->comparisons > 0)
    trial.goal = atomic_load (&run->tally->comparisons) + run->comparisons;
  if (run->seconds > 0)
    trial.end = g_get_monotonic_time () + (gint64) (run->seconds * G_USEC_PER_SEC);
  for (; goes_on && !is_over (&trial); trial.seed++)
    {
      gint64 since = g_get_monotonic_time ();
      DiffResult result = play_trial (&trial, steps, &failure);

      atomic_fetch_add (&run->tally->busy_us, (guint64) (g_get_monotonic_time () - since));
      atomic_fetch_add (&run->tally->trials, 1);
      if (result == DIFF_FAILS)
        tell (run, stand, trial.seed, steps, &failure);
      else if (result == DIFF_TROUBLE)
        tell_trouble (run, trial.seed, steps);
      goes_on = result == DIFF_SAME || run->options->keep_going;
    }
}

static void
play_file (const DiffRun *run, DiffStand *stand)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) steps = diff_steps_load (run->options->steps, &error);
  const DiffReplay replay = { .stand = stand,
                              .max_age_ms = run->options->max_age_ms,
                              .is_hot = run->options->is_hot,
                              .tries = run->options->is_hot ? HOT_TRIES : 1 };
  gint64 since = g_get_monotonic_time ();
  DiffFailure failure;

  if (steps == NULL)
    {
      printf ("%s\n", error->message);
      atomic_fetch_add (&run->tally->troubles, 1);
      return;
    }
  switch (diff_replay (&replay, run->tally, steps, &failure))
    {
    case DIFF_FAILS:
      tell (run, stand, 0, steps, &failure);
      break;
    case DIFF_TROUBLE:
      tell_trouble (run, 0, steps);
      break;
    case DIFF_SAME:
      break;
    }
  atomic_fetch_add (&run->tally->busy_us, (guint64) (g_get_monotonic_time () - since));
}

gboolean
diff_run (const DiffRun *run, const char *base)
{
  g_autofree char *reason = NULL;
  DiffStand stand = { 0 };
  DiffPlace place;
  gboolean is_possible
      = diff_place_enter (&place, base, run->fs, &reason)
        && diff_stand_init (&stand, &place, run->user, run->options->programs, &reason);

  if (is_possible)
    {
      atomic_fetch_add (&run->tally->runs, 1);
      stand.watch_limit = (guint) run->options->watch_limit;
      stand.max_handles = (guint) run->options->max_handles;
      if (run->options->steps != NULL)
        play_file (run, &stand);
      else
        play_trials (run, &stand);
    }
  else
    printf ("skipped: %s, user %u: %s\n", run->fs, run->user, reason);
  fflush (stdout);
  diff_stand_clear (&stand);
  diff_place_clear (&place);
  return is_possible;
}
