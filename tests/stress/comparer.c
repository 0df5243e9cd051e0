/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Those who ask the service and open(); see crew.h and shared.h.
 */
#include <string.h>

#include "tests/stress/draw.h"
#include "tests/stress/shared.h"

#define FREE_BATCH_MAX 4
#define TIMEOUT_MS 20000

typedef struct
{
  const DiffCrew *crew;
  guint index;
  FscacheClient *client;
  char paths[DIFF_BATCH_MAX][256];
  FscacheRequest requests[DIFF_BATCH_MAX];
  FscacheReply replies[DIFF_BATCH_MAX];
  DiffAnswer before[DIFF_BATCH_MAX];
} Comparer;

static void
prepare (Comparer *comparer, guint slot, const DiffStep *step)
{
  const DiffQuestion *question = &diff_questions[step->number];

  g_snprintf (comparer->paths[slot], sizeof comparer->paths[slot], "%s/%s",
              comparer->crew->tree.path, step->a);
  comparer->requests[slot] = (FscacheRequest){
    .uri = comparer->paths[slot],
    .flags = question->flags,
    .sharing = question->sharing,
    .max_age_ms = comparer->crew->options.max_age_ms,
    .timeout_ms = TIMEOUT_MS,
  };
}

/* What fscache says now, in words: whether what was wrong stays so. */
static char *
ask_again (Comparer *comparer, guint slot, const DiffQuestion *question)
{
  FscacheReply reply;
  DiffAnswer answer;
  char *text;

  fscache_open_with (comparer->client, &comparer->requests[slot], &reply);
  diff_answer_take (&answer, &reply, question);
  text = diff_answer_describe (&answer);
  diff_answer_clear (&answer);
  fscache_reply_clear (comparer->client, &reply);
  return text;
}

/* The first failure is kept. */
static void
report (Comparer *comparer, guint slot, guint index, const char *what, const DiffAnswer *expected,
        const DiffAnswer *given)
{
  DiffShared *shared = comparer->crew->shared;
  const DiffQuestion *question = &diff_questions[shared->log[index].number];
  g_autofree char *right = NULL, *wrong = NULL, *again = NULL;

  if (atomic_exchange (&shared->has_failed, 1) != 0)
    return;
  right = diff_answer_describe (expected);
  wrong = diff_answer_describe (given);
  again = ask_again (comparer, slot, question);
  shared->failure.question = index;
  g_snprintf (shared->failure.text, sizeof shared->failure.text,
              "%s %s: %s\n  expected: %s\n  fscache:  %s\n  again:    %s%s%s", question->name,
              comparer->paths[slot], what, right, wrong, again,
              comparer->replies[slot].message[0] != '\0' ? "\n  it says:  " : "",
              comparer->replies[slot].message);
  atomic_store (&shared->is_failure_written, 1);
}

/* Compares one reply with what open() says. Gives everything back. If others run free: only if no
 * step has started since so many had, and open() had said the same before; else the counting would
 * be wrong. */
static void
compare (Comparer *comparer, guint slot, guint index, const guint *started)
{
  const DiffCrew *crew = comparer->crew;
  const DiffQuestion *question = &diff_questions[crew->shared->log[index].number];
  DiffAnswer expected, given;
  const char *what;

  diff_answer_take (&given, &comparer->replies[slot], question);
  diff_answer_expect (&expected, comparer->paths[slot], question);
  what = diff_answer_compare (&expected, &given);
  if (started != NULL && diff_answer_compare (&comparer->before[slot], &expected) != NULL)
    what = "open() has changed its answer although nothing else has";
  if (started != NULL && atomic_load (&crew->shared->started) != *started)
    atomic_fetch_add (&crew->tally->discarded, 1);
  else
    {
      diff_tally_add_answer (crew->tally, &expected, &given);
      if (what != NULL)
        report (comparer, slot, index, what, &expected, &given);
    }
  diff_answer_clear (&expected);
  diff_answer_clear (&given);
  fscache_reply_clear (comparer->client, &comparer->replies[slot]);
}

/* Rounds */

static guint
count_asked (const DiffStep *steps, guint n)
{
  guint asked = 0;

  while (asked < n && steps[asked].kind == DIFF_ASK)
    asked++;
  return asked;
}

static void
forget (Comparer *comparer, const DiffStep *step)
{
  g_autofree char *path = g_build_filename (comparer->crew->tree.path, step->a, NULL);
  ssize_t result = fscache_drop (comparer->client, path, NULL);

  diff_tally_add_step (comparer->crew->tally, step, result < 0 ? -1 : 0);
}

/* Asks without comparing. */
static void
ask (Comparer *comparer, guint n)
{
  if (n > 0)
    fscache_open_many (comparer->client, comparer->requests, comparer->replies, n);
  for (guint i = 0; i < n; i++)
    fscache_reply_clear (comparer->client, &comparer->replies[i]);
}

static void
play_round (Comparer *comparer)
{
  DiffShared *shared = comparer->crew->shared;
  guint first = shared->comparers[comparer->index].first;
  guint n = shared->comparers[comparer->index].n;
  guint round = shared->comparers[comparer->index].round;
  guint asked = count_asked (&shared->log[first], n);

  for (guint i = 0; i < asked; i++)
    prepare (comparer, i, &shared->log[first + i]);
  if (shared->comparers[comparer->index].is_hot)
    {
      ask (comparer, asked);
      bell_ring (&shared->hot, 1);
    }
  while (atomic_load_explicit (&shared->go.value, memory_order_acquire) != round)
    bell_wait (&shared->go, round - 1, N_SPINS);

  while (n > 0)
    {
      if (asked > 0)
        fscache_open_many (comparer->client, comparer->requests, comparer->replies, asked);
      for (guint i = 0; i < asked; i++)
        compare (comparer, i, first + i, NULL);
      first += asked;
      n -= asked;
      if (n > 0 && asked == 0)
        {
          forget (comparer, &shared->log[first]);
          first++;
          n--;
        }
      asked = count_asked (&shared->log[first], n);
      for (guint i = 0; i < asked; i++)
        prepare (comparer, i, &shared->log[first + i]);
    }
  bell_ring (&shared->done, 1);
}

/* Running free */

/* Draws a few questions and writes them into the log. Returns how many. */
static guint
draw_questions (Comparer *comparer, DiffDraw *draw, guint indexes[FREE_BATCH_MAX])
{
  DiffShared *shared = comparer->crew->shared;
  guint n_log = atomic_load (&shared->n_log), n = 1 + diff_draw_below (draw, FREE_BATCH_MAX);
  const DiffStep *last = NULL;
  DiffStep step;

  for (guint i = 1; last == NULL && i < 8 && i <= n_log; i++)
    if (!diff_step_is_question (&shared->log[n_log - i]))
      last = &shared->log[n_log - i];
  for (guint i = 0; i < n; i++)
    {
      diff_draw_question (draw, &comparer->crew->tree, last, &step);
      if (!log_append (shared, &step, &indexes[i]))
        return 0;
      prepare (comparer, i, &step);
    }
  return n;
}

/* While something is being changed, only the service is asked: what it then gets to know may be
 * wrong. Else, open() before, the service, and open() after. */
static void
ask_free (Comparer *comparer, const guint *indexes, guint n)
{
  DiffShared *shared = comparer->crew->shared;
  guint finished = atomic_load (&shared->finished), started = atomic_load (&shared->started);

  if (started != finished)
    {
      ask (comparer, n);
      atomic_fetch_add (&comparer->crew->tally->discarded, n);
      return;
    }
  for (guint i = 0; i < n; i++)
    diff_answer_expect (&comparer->before[i], comparer->paths[i],
                        &diff_questions[shared->log[indexes[i]].number]);
  fscache_open_many (comparer->client, comparer->requests, comparer->replies, n);
  for (guint i = 0; i < n; i++)
    {
      compare (comparer, i, indexes[i], &started);
      diff_answer_clear (&comparer->before[i]);
    }
}

static void
run_free (Comparer *comparer)
{
  DiffShared *shared = comparer->crew->shared;
  guint indexes[FREE_BATCH_MAX], n;
  DiffDraw draw;

  diff_draw_init (&draw, ~shared->seed, comparer->index, DIFF_COMPARERS_MAX);
  while (atomic_load (&shared->is_free) != 0 && atomic_load (&shared->has_failed) == 0
         && diff_crew_has_room (comparer->crew, FREE_BATCH_MAX))
    {
      n = draw_questions (comparer, &draw, indexes);
      ask_free (comparer, indexes, n);
    }
  bell_ring (&shared->done, 1);
}

void
diff_comparer_run (const DiffCrew *crew, guint index)
{
  static Comparer comparer;
  DiffShared *shared = crew->shared;
  guint seen = 0;

  comparer = (Comparer){ .crew = crew, .index = index };
  if (fscache_connect (crew->stand->socket, FSCACHE_NO_FALLBACK, &comparer.client) < 0)
    g_error ("cannot connect to the service");
  for (;; seen++)
    {
      while (!bell_wait (&shared->comparers[index].bell, seen, 0))
        ;
      switch (shared->comparers[index].command)
        {
        case QUIT:
          fscache_disconnect (comparer.client);
          _exit (0);
        case RUN_FREE:
          run_free (&comparer);
          break;
        default:
          play_round (&comparer);
          break;
        }
    }
}
