/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is put under names: how long it stays, who gets it, what tells one from another; with a
 * clock that the test sets, and nobody who could open anything.
 */
#include "fscache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"

#define SECOND G_USEC_PER_SEC

typedef struct
{
  FscCache *cache;
  FscGenerations *generations;
  FscHolder *holder; /* of the next handles */
  gint64 time;
  guint n_held; /* by holders that live */
  guint n_turns;
  FscTurn turn; /* the last one */
  char *descriptors;
} Stage;

typedef struct
{
  FscHolder holder;
  Stage *stage;
} Holder;

static void
holder_release (FscHolder *holder, guint64 id)
{
  ((Holder *) holder)->stage->n_held--;
}

static void
holder_free (FscHolder *holder)
{
  g_free (holder);
}

static FscHolder *
holder_new (Stage *stage)
{
  Holder *holder = g_new0 (Holder, 1);

  holder->holder = (FscHolder){
    .n_refs = 1, .is_alive = TRUE, .release = holder_release, .free = holder_free
  };
  holder->stage = stage;
  return &holder->holder;
}

static void
start (FscJob *job, gpointer data)
{
  g_assert_not_reached (); /* there is nobody who could open what was put */
}

static gint64
get_now (gpointer data)
{
  return ((Stage *) data)->time;
}

static FscGenerations *
get_generations (guint32 credential, gpointer data)
{
  return ((Stage *) data)->generations;
}

static void
note_turn (FscInterest *interest, FscTurn turn, gpointer data)
{
  Stage *stage = data;

  stage->n_turns++;
  stage->turn = turn;
}

static void
stage_init (Stage *stage, guint64 max_handles)
{
  const FscCacheFuncs funcs
      = { .start = start, .now = get_now, .get_generations = get_generations };
  const FscLimits limits = { .max_handles = max_handles, .idle_time = SECOND };
  g_autoptr (GError) error = NULL;

  *stage = (Stage){ .time = 1000 * SECOND, .descriptors = fsc_test_list_descriptors () };
  stage->generations = fsc_generations_new (1024, &error);
  g_assert_no_error (error);
  stage->holder = holder_new (stage);
  stage->cache = fsc_cache_new (&funcs, stage, &limits);
  fsc_cache_set_max_put (stage->cache, 1000);
  fsc_cache_set_turn_func (stage->cache, note_turn, stage);
}

static void
stage_clear (Stage *stage)
{
  fsc_cache_free (stage->cache);
  g_assert_cmpuint (stage->n_held, ==, 0);
  fsc_holder_unref (stage->holder);
  fsc_generations_free (stage->generations);
  fsc_test_assert_descriptors (stage->descriptors);
}

/* Putting. Each returns the errno, positive. */

static int
put_as (Stage *stage, guint32 credential, const FscPut *what, guint64 *id)
{
  FscAnswer answer = { 0 };
  g_autofree char *fault = fsc_cache_find_put_fault (stage->cache, credential, what, 0, &answer);
  FscHandle *handle;
  guint64 name;

  if (fault != NULL)
    {
      g_test_message ("%s", fault);
      g_assert_cmpint (answer.code, !=, FSC_CODE_OK);
      return answer.error;
    }
  stage->n_held++;
  handle = fsc_handle_new_held (stage->holder, 1, (FscBytes){ "v", 1 });
  handle->most_sharing = FSC_SHARING_SHARED;
  name = fsc_cache_put (stage->cache, credential, what, handle);
  g_assert_cmpuint (name, !=, 0);
  if (id != NULL)
    *id = name;
  return 0;
}

static int
put (Stage *stage, const char *uri, guint32 ttl_ms)
{
  return put_as (stage, 0, &(FscPut){ .uri = { uri, strlen (uri) }, .ttl_ms = ttl_ms }, NULL);
}

/* Asking */

typedef struct
{
  guint n;
  int error;
  guint64 name, lease;
  char text[256];
} Answer;

static void
answered (const FscAnswer *answer, gpointer data, guint index)
{
  Answer *got = data;

  got->n++;
  got->error = answer->error;
  got->name = answer->name;
  got->lease = answer->lease;
  g_strlcpy (got->text, answer->text != NULL ? answer->text : "", sizeof got->text);
  g_assert_cmpint (answer->error == 0, ==, answer->handle != NULL);
  if (answer->error == 0)
    {
      g_assert_cmpint (answer->source, ==, FSC_SOURCE_CACHE);
      g_assert_cmpint (answer->coherence, ==, FSC_COHERENCE_WATCHED);
      g_assert_cmpuint (answer->age_ms, ==, 0);
    }
}

static Answer
ask (Stage *stage, guint32 credential, const char *uri, FscSharing sharing, guint32 options)
{
  const FscItem item = { .uri = { uri, strlen (uri) }, .sharing = sharing, .options = options };
  Answer answer = { 0 };

  g_assert_null (fsc_cache_open (stage->cache, credential, &item, stage, answered, &answer, 0));
  g_assert_cmpuint (answer.n, ==, 1);
  return answer;
}

static int
get (Stage *stage, const char *uri)
{
  return ask (stage, 0, uri, FSC_SHARING_SHARED, 0).error;
}

static void
drop_one (FscCache *cache, FscEntry *entry, gpointer data)
{
  fsc_cache_drop (cache, entry);
}

static void
unpin_one (FscCache *cache, FscEntry *entry, gpointer data)
{
  g_assert_true (fsc_cache_set_pinned (cache, entry, FALSE));
}

static guint64
drop (Stage *stage, const char *uri)
{
  FscTarget target = { .uri = { uri, strlen (uri) } };

  return fsc_cache_foreach (stage->cache, 0, &target, drop_one, NULL);
}

/* Tests */

static void
test_ids (void)
{
  Stage stage;
  guint64 first, second;
  FscPut what = { .uri = { "handle:x", 8 } };

  stage_init (&stage, 100);
  g_assert_cmpint (get (&stage, "handle:x"), ==, ENOENT);
  g_assert_cmpint (put_as (&stage, 0, &what, &first), ==, 0);
  g_assert_cmpuint (ask (&stage, 0, "Handle:%78", FSC_SHARING_SHARED, 0).name, ==, first);
  g_assert_cmpint (put_as (&stage, 0, &what, NULL), ==, EEXIST);
  what.mode = FSC_PUT_EXCHANGE;
  what.expected = first + 1;
  g_assert_cmpint (put_as (&stage, 0, &what, NULL), ==, ESTALE);
  what.expected = first;
  g_assert_cmpint (put_as (&stage, 0, &what, &second), ==, 0);
  g_assert_cmpuint (second, !=, first);
  g_assert_cmpint (put_as (&stage, 0, &what, NULL), ==, ESTALE);
  g_assert_cmpuint (stage.n_held, ==, 1);

  /* Neither a loan, nor a pin, nor that it was dropped meanwhile makes it the same again. */
  fsc_cache_give_back (stage.cache, ask (&stage, 0, "handle:x", FSC_SHARING_EXCLUSIVE, 0).lease,
                       &stage, FALSE);
  g_assert_cmpuint (ask (&stage, 0, "handle:x", FSC_SHARING_SHARED, 0).name, ==, second);
  g_assert_cmpuint (drop (&stage, "handle:x"), ==, 1);
  what.expected = second;
  g_assert_cmpint (put_as (&stage, 0, &what, NULL), ==, ESTALE);
  what = (FscPut){ .uri = what.uri };
  g_assert_cmpint (put_as (&stage, 0, &what, &first), ==, 0);
  g_assert_cmpuint (first, !=, second);
  stage_clear (&stage);
}

/* What can be opened again goes; what was put stays. */
static void
test_stays (void)
{
  Stage stage;
  guint n = 0;

  stage_init (&stage, 10);
  while (n < 20)
    {
      g_autofree char *uri = g_strdup_printf ("handle:%u", n);

      if (put (&stage, uri, 0) != 0)
        break;
      n++;
    }
  g_assert_cmpuint (n, ==, 9); /* one place is left for all else */
  g_assert_cmpint (put (&stage, "handle:more", 0), ==, ENFILE);
  stage.time += 1000 * SECOND;
  fsc_cache_sweep (stage.cache, G_MAXUINT);
  fsc_cache_relieve (stage.cache);
  fsc_cache_relieve (stage.cache);
  fsc_cache_set_limits (stage.cache, &(FscLimits){ .max_handles = 1, .idle_time = 1 });
  fsc_cache_foreach (stage.cache, 0, &(FscTarget){ .uri = { "*", 1 }, .is_pattern = true },
                     unpin_one, NULL);
  fsc_cache_sweep (stage.cache, G_MAXUINT);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->put, ==, n);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->pinned, ==, n);
  g_assert_cmpuint (stage.n_held, ==, n);
  stage_clear (&stage);
}

static void
test_time (void)
{
  Stage stage;
  gint64 begin;

  stage_init (&stage, 100);
  begin = stage.time;
  g_assert_cmpint (fsc_cache_get_put_due (stage.cache), ==, 0);
  put (&stage, "handle:0", 0);
  g_assert_cmpint (fsc_cache_get_put_due (stage.cache), ==, 0);
  put (&stage, "handle:2", 2000);
  put (&stage, "handle:1", 1000);
  put (&stage, "handle:3", 3000);
  g_assert_cmpint (fsc_cache_get_put_due (stage.cache), ==, begin + SECOND);

  stage.time = begin + SECOND - 1;
  g_assert_cmpint (get (&stage, "handle:1"), ==, 0);
  stage.time = begin + SECOND; /* and nobody has looked at the timer */
  g_assert_cmpint (get (&stage, "handle:1"), ==, ENOENT);
  g_assert_cmpint (fsc_cache_get_put_due (stage.cache), ==, begin + 2 * SECOND);
  g_assert_cmpuint (stage.n_held, ==, 3);

  /* A name that is in use no more can be used. */
  stage.time = begin + 2 * SECOND;
  g_assert_cmpint (put (&stage, "handle:2", 10000), ==, 0);
  g_assert_cmpint (fsc_cache_end_put (stage.cache), ==, begin + 3 * SECOND);
  g_assert_cmpuint (drop (&stage, "handle:3"), ==, 1);
  g_assert_cmpint (fsc_cache_end_put (stage.cache), ==, begin + 12 * SECOND);
  stage.time = begin + 20 * SECOND;
  g_assert_cmpint (fsc_cache_end_put (stage.cache), ==, 0);
  g_assert_cmpuint (stage.n_held, ==, 1);
  g_assert_cmpint (get (&stage, "handle:0"), ==, 0);
  stage_clear (&stage);
}

static void
test_limit (void)
{
  Stage stage;
  FscPut what = { .uri = { "handle:x", 8 } };
  FscAnswer answer;
  char *fault;

  stage_init (&stage, 100);
  fsc_cache_set_max_put (stage.cache, 2);
  g_assert_cmpint (put (&stage, "handle:1", 0), ==, 0);
  fault = fsc_cache_find_put_fault (stage.cache, 0, &what, 1, &answer); /* one is under way */
  g_assert_cmpint (answer.error, ==, EDQUOT);
  g_assert_nonnull (strstr (fault, "2 names in use"));
  g_free (fault);
  g_assert_cmpint (put (&stage, "handle:2", 0), ==, 0);
  g_assert_cmpint (put (&stage, "handle:3", 0), ==, EDQUOT);
  g_assert_cmpint (put_as (&stage, 1, &what, NULL), ==, 0); /* another user */
  what = (FscPut){ .uri = { "handle:1", 8 }, .mode = FSC_PUT_REPLACE };
  g_assert_cmpint (put_as (&stage, 0, &what, NULL), ==, 0);
  g_assert_cmpuint (drop (&stage, "handle:1"), ==, 1);
  g_assert_cmpint (put (&stage, "handle:3", 0), ==, 0);
  stage_clear (&stage);
}

static void
test_users (void)
{
  Stage stage;
  FscPut what = { .uri = { "handle:x", 8 } };

  stage_init (&stage, 100);
  g_assert_cmpint (put_as (&stage, 1, &what, NULL), ==, 0);
  g_assert_cmpint (get (&stage, "handle:x"), ==, ENOENT);
  g_assert_cmpint (ask (&stage, 1, "handle:x", FSC_SHARING_SHARED, 0).error, ==, 0);
  g_assert_cmpuint (drop (&stage, "handle:x"), ==, 0);
  stage_clear (&stage);
}

static void
test_take_and_lend (void)
{
  Stage stage;
  Answer lent;

  stage_init (&stage, 100);
  put (&stage, "handle:x", 0);
  lent = ask (&stage, 0, "handle:x", FSC_SHARING_EXCLUSIVE, 0);
  g_assert_cmpuint (lent.lease, !=, 0);
  g_assert_cmpint (get (&stage, "handle:x"), ==, EBUSY);
  fsc_cache_give_back (stage.cache, lent.lease, &stage, TRUE); /* who had it is gone */
  g_assert_cmpint (get (&stage, "handle:x"), ==, 0);
  g_assert_cmpint (
      ask (&stage, 0, "handle:x", FSC_SHARING_INDEPENDENT, FSC_OPTION_TAKE | FSC_OPTION_REOPENS)
          .error,
      ==, EOPNOTSUPP);
  g_assert_cmpuint (stage.n_held, ==, 1);
  lent = ask (&stage, 0, "handle:x", FSC_SHARING_SHARED, FSC_OPTION_TAKE);
  g_assert_cmpuint (lent.lease, !=, 0);
  g_assert_cmpint (ask (&stage, 0, "handle:x", FSC_SHARING_SHARED, FSC_OPTION_TAKE).error, ==,
                   EBUSY);
  fsc_cache_give_back (stage.cache, lent.lease, &stage, FALSE); /* it has not come */
  lent = ask (&stage, 0, "handle:x", FSC_SHARING_SHARED, FSC_OPTION_TAKE);
  g_assert_cmpint (lent.error, ==, 0);
  fsc_cache_take (stage.cache, lent.lease, &lent); /* by somebody else */
  g_assert_cmpuint (stage.n_held, ==, 1);
  fsc_cache_take (stage.cache, lent.lease, &stage);
  fsc_cache_take (stage.cache, lent.lease, &stage);
  g_assert_cmpint (ask (&stage, 0, "handle:x", FSC_SHARING_SHARED, FSC_OPTION_TAKE).error, ==,
                   ENOENT);
  g_assert_cmpuint (stage.n_held, ==, 0);

  /* What is dropped or replaced while it is lent. */
  put (&stage, "handle:y", 0);
  lent = ask (&stage, 0, "handle:y", FSC_SHARING_EXCLUSIVE, 0);
  g_assert_cmpuint (drop (&stage, "handle:y"), ==, 1);
  g_assert_cmpint (put (&stage, "handle:y", 0), ==, 0);
  fsc_cache_give_back (stage.cache, lent.lease, &stage, FALSE);
  g_assert_cmpint (get (&stage, "handle:y"), ==, 0);
  stage_clear (&stage);
}

static void
test_lost (void)
{
  Stage stage;
  Answer answer;

  stage_init (&stage, 100);
  stage.time += 5 * SECOND;
  answer = ask (&stage, 0, "handle:x", FSC_SHARING_SHARED, 0);
  g_assert_cmpstr (answer.text, ==,
                   "handle:x is not there; what was put before the service was started, 5 s ago, "
                   "is lost");
  put (&stage, "handle:x", 1000);
  put (&stage, "handle:y", 0);
  stage.holder->is_alive = FALSE;
  fsc_holder_unref (stage.holder);
  stage.holder = holder_new (&stage);
  stage.n_held = 0;
  fsc_cache_drop_dead (stage.cache);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->put, ==, 0);
  stage.time += 7 * SECOND;
  answer = ask (&stage, 0, "handle:x", FSC_SHARING_SHARED, 0);
  g_assert_cmpstr (answer.text, ==,
                   "handle:x is not there; what was put before its holder ended, 7 s ago, is lost");
  answer = ask (&stage, 1, "handle:x", FSC_SHARING_SHARED, 0);
  g_assert_nonnull (strstr (answer.text, "the service was started"));
  g_assert_cmpint (put (&stage, "handle:x", 0), ==, 0);
  g_assert_cmpint (fsc_cache_end_put (stage.cache), ==, 0);
  stage_clear (&stage);
}

static void
test_follow (void)
{
  Stage stage;
  const FscItem item = { .uri = { "handle:x", 8 }, .sharing = FSC_SHARING_SHARED };
  FscInterest interest = { 0 };
  guint32 ttl_ms;

  stage_init (&stage, 100);
  fsc_cache_follow (stage.cache, 0, &item, &interest);
  g_assert_cmpint (get (&stage, "handle:x"), ==, ENOENT);
  g_assert_cmpint (fsc_cache_get_standing (stage.cache, &interest, &ttl_ms), ==,
                   FSC_STANDING_WATCHED);
  put (&stage, "handle:x", 1000);
  g_assert_cmpuint (stage.n_turns, ==, 1);
  g_assert_cmpint (stage.turn, ==, FSC_TURN_NAME);
  stage.time += 2 * SECOND;
  fsc_cache_end_put (stage.cache);
  g_assert_cmpuint (stage.n_turns, ==, 2);
  g_assert_cmpint (get (&stage, "handle:x"), ==, ENOENT);
  put (&stage, "handle:x", 0);
  g_assert_cmpuint (stage.n_turns, ==, 3);
  fsc_cache_unfollow (stage.cache, &interest);
  g_assert_cmpint (get (&stage, "handle:x"), ==, 0);
  stage_clear (&stage);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/named/ids", test_ids);
  g_test_add_func ("/named/stays", test_stays);
  g_test_add_func ("/named/time", test_time);
  g_test_add_func ("/named/limit", test_limit);
  g_test_add_func ("/named/users", test_users);
  g_test_add_func ("/named/take-and-lend", test_take_and_lend);
  g_test_add_func ("/named/lost", test_lost);
  g_test_add_func ("/named/follow", test_follow);
  return g_test_run ();
}
