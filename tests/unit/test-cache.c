/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The cache with a provider that does what the test says, when it says so, and a clock that the
 * test sets. The handles are real descriptors, so that one that is lost is seen.
 */
#include "fscache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/openers/watcher.h"
#include "tests/harness/descriptors.h"
#include "tests/harness/directory.h"
#include "tests/harness/tap.h"

#define SECOND G_USEC_PER_SEC
#define FILE_A "file:///a"
#define FILE_B "file:///b"

typedef struct
{
  FscCache *cache;
  gint64 time;
  GQueue jobs; /* started and not finished */
  guint n_started, n_withdrawn;
  FscHolder *holder;   /* of the next held handles */
  guint n_held;        /* by holders that live */
  FscWatches *watches; /* or NULL */
  char *descriptors;
} Stage;

/* A request and its answer. */
typedef struct
{
  Stage *stage;
  FscWaiter *waiter;
  guint n_answers;
  FscCode code;
  int error;
  char *text;
  char *uri;
  FscHandle *handle; /* a reference */
  guint64 lease;
  guint32 age_ms;
  FscSharing sharing;
  FscSource source;
  FscCoherence coherence;
} Asked;

/* A holder */

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

  holder->holder.n_refs = 1;
  holder->holder.is_alive = TRUE;
  holder->holder.release = holder_release;
  holder->holder.free = holder_free;
  holder->stage = stage;
  return &holder->holder;
}

/* The holder dies, and another takes its place. */
static void
kill_holder (Stage *stage)
{
  stage->holder->is_alive = FALSE;
  fsc_holder_unref (stage->holder);
  stage->n_held = 0;
  stage->holder = holder_new (stage);
}

/* The stage */

static void
provider_start (FscJob *job, gpointer data)
{
  Stage *stage = data;

  g_assert_cmpint (job->begun, ==, 0);
  g_queue_push_tail (&stage->jobs, job);
  stage->n_started++;
}

static void
provider_withdraw (FscJob *job, gpointer data)
{
  Stage *stage = data;

  g_assert_false (fsc_job_is_wanted (job));
  stage->n_withdrawn++;
}

static gint64
provider_now (gpointer data)
{
  return ((Stage *) data)->time;
}

static FscWatches *
provider_get_watches (guint32 credential, FscBytes uri, gpointer data)
{
  return ((Stage *) data)->watches;
}

static void
stage_init (Stage *stage, guint64 max_handles, gint64 idle_time)
{
  const FscCacheFuncs provider = { .start = provider_start,
                                   .withdraw = provider_withdraw,
                                   .now = provider_now,
                                   .get_watches = provider_get_watches };
  const FscLimits limits = { .max_handles = max_handles, .idle_time = idle_time };

  *stage = (Stage){ .time = 1000 * SECOND, .descriptors = fsc_test_list_descriptors () };
  g_queue_init (&stage->jobs);
  stage->holder = holder_new (stage);
  stage->cache = fsc_cache_new (&provider, stage, &limits);
}

static void
stage_clear (Stage *stage)
{
  g_assert_cmpuint (stage->jobs.length, ==, 0);
  fsc_cache_free (stage->cache);
  g_clear_pointer (&stage->watches, fsc_watches_free);
  g_assert_cmpuint (stage->n_held, ==, 0);
  fsc_holder_unref (stage->holder);
  fsc_test_assert_descriptors (stage->descriptors);
}

static const FscCounters *
counters (const Stage *stage)
{
  return fsc_cache_get_counters (stage->cache);
}

/* Asking */

static void
answered (const FscAnswer *answer, gpointer data, guint index)
{
  Asked *asked = data;

  g_assert_cmpuint (index, ==, 17);
  g_assert_cmpuint (asked->n_answers++, ==, 0);
  asked->waiter = NULL;
  asked->code = answer->code;
  asked->error = answer->error;
  asked->text = g_strdup (answer->text);
  asked->uri = answer->label != NULL ? g_strdup (answer->label->uri) : NULL;
  asked->handle = answer->handle != NULL ? fsc_handle_ref (answer->handle) : NULL;
  asked->lease = answer->lease;
  asked->age_ms = answer->age_ms;
  asked->sharing = answer->sharing;
  asked->source = answer->source;
  asked->coherence = answer->coherence;
  g_assert_cmpint (asked->code == FSC_CODE_OK, ==, asked->handle != NULL);
  g_assert_cmpint (asked->handle != NULL, ==, asked->source != FSC_SOURCE_NONE);
}

static Asked *
ask_item (Stage *stage, const FscItem *item, gpointer lessee)
{
  Asked *asked = g_new0 (Asked, 1);

  asked->stage = stage;
  asked->waiter = fsc_cache_open (stage->cache, 0, item, lessee, answered, asked, 17);
  g_assert_cmpint (asked->waiter != NULL, ==, asked->n_answers == 0);
  return asked;
}

static FscItem
make_item (const char *uri, FscSharing sharing)
{
  return (FscItem){ .uri = { uri, strlen (uri) },
                    .sharing = sharing,
                    .options = sharing == FSC_SHARING_INDEPENDENT ? FSC_OPTION_REOPENS : 0 };
}

static Asked *
ask (Stage *stage, const char *uri)
{
  FscItem item = make_item (uri, FSC_SHARING_INDEPENDENT);

  return ask_item (stage, &item, NULL);
}

static Asked *
ask_as (Stage *stage, const char *uri, FscSharing sharing, gpointer lessee)
{
  FscItem item = make_item (uri, sharing);

  return ask_item (stage, &item, lessee);
}

static Asked *
ask_with (Stage *stage, const char *uri, guint32 options, guint32 max_age_ms)
{
  FscItem item = make_item (uri, FSC_SHARING_INDEPENDENT);

  item.options |= options;
  item.max_age_ms = max_age_ms;
  return ask_item (stage, &item, NULL);
}

static void
asked_free (Asked *asked)
{
  if (asked->waiter != NULL)
    fsc_cache_cancel (asked->stage->cache, asked->waiter);
  if (asked->handle != NULL)
    fsc_handle_unref (asked->handle);
  g_free (asked->text);
  g_free (asked->uri);
  g_free (asked);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Asked, asked_free)

static void
assert_given (const Asked *asked, FscSource source)
{
  g_assert_cmpuint (asked->n_answers, ==, 1);
  g_assert_cmpint (asked->code, ==, FSC_CODE_OK);
  g_assert_cmpint (asked->source, ==, source);
}

static void
assert_failed (const Asked *asked, FscCode code, int error, const char *part)
{
  g_assert_cmpuint (asked->n_answers, ==, 1);
  g_assert_cmpint (asked->code, ==, code);
  g_assert_cmpint (asked->error, ==, error);
  g_test_message ("%s", asked->text);
  g_assert_nonnull (strstr (asked->text, part));
}

/* Doing jobs */

static FscHandle *
make_handle (const char *validator)
{
  int fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
  FscHandle *handle;

  g_assert_cmpint (fd, >=, 0);
  handle = fsc_handle_new_local (fd, (FscBytes){ validator, strlen (validator) });
  handle->kind = FSC_KIND_REGULAR;
  handle->mount_id = 7;
  return handle;
}

/* Of what is lent again when it was given back. */
static FscHandle *
make_device_handle (void)
{
  FscHandle *handle = make_handle ("1");

  handle->kind = FSC_KIND_CHARACTER;
  return handle;
}

static FscHandle *
make_held_handle (Stage *stage, const char *validator)
{
  static guint64 last_id;
  FscHandle *handle
      = fsc_handle_new_held (stage->holder, ++last_id, (FscBytes){ validator, strlen (validator) });

  stage->n_held++;
  handle->kind = FSC_KIND_REGULAR;
  return handle;
}

/* The oldest job begins. */
static FscJob *
begin (Stage *stage)
{
  FscJob *job = g_queue_pop_head (&stage->jobs);

  g_assert_nonnull (job);
  job->begun = ++stage->time;
  stage->time++;
  return job;
}

static void
finish_with (Stage *stage, FscJob *job, FscHandle *handle, FscCoherence coherence, guint32 ttl_ms)
{
  FscOutcome outcome = { .handle = handle, .coherence = coherence, .ttl_ms = ttl_ms };

  fsc_cache_finish (stage->cache, job, &outcome);
}

static void
finish (Stage *stage, FscJob *job, const char *validator)
{
  finish_with (stage, job, make_handle (validator), FSC_COHERENCE_CHECKED, 0);
}

static void
finish_code (Stage *stage, FscJob *job, FscCode code, int error)
{
  FscOutcome outcome = { .code = code, .error = error, .text = "the provider says so" };

  fsc_cache_finish (stage->cache, job, &outcome);
}

/* Begins and ends the one job that there is. */
static void
serve (Stage *stage, const char *validator)
{
  FscJob *job = begin (stage);

  g_assert_cmpuint (stage->jobs.length, ==, 0);
  finish (stage, job, validator);
}

static void
serve_unchanged (Stage *stage)
{
  finish_code (stage, begin (stage), FSC_CODE_UNCHANGED, 0);
}

/* Has something cached. */
static void
cache_uri (Stage *stage, const char *uri)
{
  g_autoptr (Asked) asked = ask (stage, uri);

  serve (stage, "1");
  assert_given (asked, FSC_SOURCE_OPENED);
}

/* All entries */

static void
count_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
}

static guint64
count_entries (Stage *stage, const char *pattern)
{
  FscTarget target = { .uri = { pattern, pattern != NULL ? strlen (pattern) : 0 },
                       .is_pattern = pattern != NULL && strpbrk (pattern, "*?") != NULL };

  return fsc_cache_foreach (stage->cache, 0, pattern != NULL ? &target : NULL, count_entry, NULL);
}

static void
describe_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  fsc_cache_describe (cache, entry, data);
}

static FscEntryInfo
get_info (Stage *stage, const char *uri)
{
  FscTarget target = { .uri = { uri, strlen (uri) } };
  FscEntryInfo info;

  g_assert_cmpuint (fsc_cache_foreach (stage->cache, 0, &target, describe_entry, &info), ==, 1);
  return info;
}

static void
drop_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  fsc_cache_drop (cache, entry);
}

static guint64
drop (Stage *stage, const char *uri)
{
  FscTarget target = { .uri = { uri, strlen (uri) }, .is_pattern = strchr (uri, '*') != NULL };

  return fsc_cache_foreach (stage->cache, 0, &target, drop_entry, NULL);
}

static void
pin_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  gboolean *pinned = data;

  *pinned = fsc_cache_set_pinned (cache, entry, *pinned);
}

static gboolean
pin (Stage *stage, const char *uri, gboolean pinned)
{
  FscTarget target = { .uri = { uri, strlen (uri) } };
  gboolean result = pinned;

  g_assert_cmpuint (fsc_cache_foreach (stage->cache, 0, &target, pin_entry, &result), ==, 1);
  return result;
}

/* Tests: opening and checking */

static void
test_hit (void)
{
  Stage stage;

  stage_init (&stage, 10, 0);
  {
    g_autoptr (Asked) first = ask (&stage, FILE_A);
    g_autoptr (Asked) second = NULL;
    FscJob *job = begin (&stage);
    FscEntryInfo info;

    g_assert_cmpuint (job->item.validator.length, ==, 0);
    g_assert_cmpmem (job->item.uri.data, job->item.uri.length, FILE_A, strlen (FILE_A));
    stage.time += 5000;
    finish (&stage, job, "1");
    assert_given (first, FSC_SOURCE_OPENED);
    g_assert_cmpint (first->sharing, ==, FSC_SHARING_SHARED); /* to be reopened */
    g_assert_cmpint (first->coherence, ==, FSC_COHERENCE_CHECKED);
    g_assert_cmpuint (first->age_ms, ==, 5);
    g_assert_cmpuint (first->lease, ==, 0);
    g_assert_cmpstr (first->uri, ==, FILE_A);

    stage.time += 2 * SECOND;
    second = ask (&stage, FILE_A);
    job = begin (&stage);
    g_assert_cmpmem (job->item.validator.data, job->item.validator.length, "1", 1);
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (second, FSC_SOURCE_CACHE);
    g_assert_true (second->handle == first->handle);
    g_assert_cmpuint (second->age_ms, ==, 0);

    stage.time += 3 * SECOND;
    info = get_info (&stage, FILE_A);
    g_assert_cmpuint (info.hits, ==, 1);
    g_assert_cmpuint (info.age_ms, ==, 5000);
    g_assert_cmpuint (info.idle_ms, ==, 3000);
    g_assert_cmpuint (info.checked_ms, ==, 3000);
    g_assert_cmpuint (info.cost_us, ==, 5001);
    g_assert_cmpuint (info.mount_id, ==, 7);
    g_assert_cmpuint (info.state, ==, 0);
    g_assert_cmpint (info.kind, ==, FSC_KIND_REGULAR);
  }
  g_assert_cmpuint (counters (&stage)->hits, ==, 1);
  g_assert_cmpuint (counters (&stage)->misses, ==, 1);
  g_assert_cmpuint (counters (&stage)->opens, ==, 1);
  g_assert_cmpuint (counters (&stage)->checks, ==, 1);
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  stage_clear (&stage);
}

static void
test_spellings (void)
{
  static const char *const spellings[]
      = { "file:///x/y",   "FILE:///x/y",   "file:/x/y",           "file:///x//y",
          "file:///x/./y", "file:///%78/y", "file://localhost/x/y" };
  Stage stage;

  stage_init (&stage, 10, 0);
  for (guint i = 0; i < G_N_ELEMENTS (spellings); i++)
    {
      g_autoptr (Asked) asked = ask (&stage, spellings[i]);

      if (i == 0)
        serve (&stage, "1");
      else
        serve_unchanged (&stage);
      assert_given (asked, i == 0 ? FSC_SOURCE_OPENED : FSC_SOURCE_CACHE);
      g_assert_cmpstr (asked->uri, ==, "file:///x/y");
      g_assert_cmpuint (count_entries (&stage, spellings[i]), ==, 1);
    }
  g_assert_cmpuint (counters (&stage)->entries, ==, 1);
  {
    /* These are others. */
    g_autoptr (Asked) slash = ask (&stage, "file:///x/y/");
    g_autoptr (Asked) upper = ask (&stage, "file:///x/Y");

    finish (&stage, begin (&stage), "2");
    finish (&stage, begin (&stage), "3");
    g_assert_true (slash->handle != upper->handle);
  }
  g_assert_cmpuint (counters (&stage)->entries, ==, 3);
  stage_clear (&stage);
}

/* What makes another handle, and what does not. */
static void
test_keys (void)
{
  static const guint32 kinds[] = { 0, O_PATH, O_DIRECTORY, O_NOFOLLOW, O_PATH | O_NOFOLLOW };
  static const guint32 same[] = { O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_APPEND };
  Stage stage;
  FscItem item = make_item (FILE_A, FSC_SHARING_SHARED);

  stage_init (&stage, 100, 0);
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autoptr (Asked) asked = NULL;
      FscJob *job;

      item.flags = kinds[i];
      asked = ask_item (&stage, &item, NULL);
      job = begin (&stage);
      g_assert_cmpuint (job->item.flags, ==, kinds[i]);
      finish (&stage, job, "1");
      assert_given (asked, FSC_SOURCE_OPENED);
    }
  for (guint i = 0; i < G_N_ELEMENTS (same); i++)
    {
      g_autoptr (Asked) asked = NULL;

      item.flags = same[i];
      asked = ask_item (&stage, &item, NULL);
      serve_unchanged (&stage);
      assert_given (asked, FSC_SOURCE_CACHE);
    }
  {
    /* Another credential has entries of its own. */
    g_autofree Asked *asked = g_new0 (Asked, 1);
    FscItem other = make_item (FILE_A, FSC_SHARING_SHARED);

    fsc_cache_open (stage.cache, 5, &other, NULL, answered, asked, 17);
    serve (&stage, "1");
    assert_given (asked, FSC_SOURCE_OPENED);
    g_clear_pointer (&asked->uri, g_free);
    g_clear_pointer (&asked->handle, fsc_handle_unref);
  }
  g_assert_cmpuint (counters (&stage)->handles, ==, G_N_ELEMENTS (kinds) + 1);
  g_assert_cmpuint (count_entries (&stage, FILE_A), ==, G_N_ELEMENTS (kinds));
  g_assert_cmpuint (count_entries (&stage, NULL), ==, G_N_ELEMENTS (kinds));
  g_assert_cmpuint (drop (&stage, FILE_A), ==, G_N_ELEMENTS (kinds));
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  stage_clear (&stage);
}

static void
test_bad_requests (void)
{
  Stage stage;
  g_autofree char *fill = g_strnfill (3 * FSC_URI_MAX, 'x');
  g_autofree char *long_uri = g_strconcat ("file:///", fill, NULL);
  FscItem item = make_item (FILE_A, FSC_SHARING_SHARED);

  stage_init (&stage, 10, 0);
  {
    g_autoptr (Asked) no_uri = ask (&stage, "nonsense");
    g_autoptr (Asked) host = ask (&stage, "file://elsewhere/x");
    g_autoptr (Asked) too_long = ask (&stage, long_uri);
    g_autoptr (Asked) empty = ask (&stage, "");
    g_autoptr (Asked) status = NULL;

    assert_failed (no_uri, FSC_CODE_BAD_URI, EINVAL, "nonsense has no scheme");
    assert_failed (host, FSC_CODE_BAD_URI, EINVAL, "names a host");
    assert_failed (too_long, FSC_CODE_BAD_URI, ENAMETOOLONG, "is too long");
    assert_failed (empty, FSC_CODE_BAD_URI, EINVAL, "has no scheme");
    item.flags = O_DIRECT;
    status = ask_item (&stage, &item, NULL);
    assert_failed (status, FSC_CODE_BAD_REQUEST, EINVAL, "cannot be shared with these flags");
  }
  g_assert_cmpuint (stage.n_started, ==, 0);
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);
  stage_clear (&stage);
}

static void
test_changed (void)
{
  Stage stage;

  stage_init (&stage, 10, 0);
  cache_uri (&stage, FILE_A);
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);

    serve (&stage, "2"); /* what is there now is another file */
    assert_given (asked, FSC_SOURCE_OPENED);
    g_assert_cmpmem (asked->handle->validator, asked->handle->validator_length, "2", 1);
  }
  g_assert_cmpuint (counters (&stage)->invalidations, ==, 1);
  g_assert_cmpuint (counters (&stage)->opens, ==, 2);
  g_assert_cmpuint (counters (&stage)->checks, ==, 1);
  g_assert_cmpuint (counters (&stage)->misses, ==, 2);
  g_assert_cmpuint (counters (&stage)->hits, ==, 0);
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  g_assert_cmpuint (get_info (&stage, FILE_A).hits, ==, 0);
  stage_clear (&stage);
}

static void
test_gone (void)
{
  Stage stage;

  stage_init (&stage, 10, 0);
  cache_uri (&stage, FILE_A);
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);

    finish_code (&stage, begin (&stage), FSC_CODE_SYSTEM, ENOENT);
    assert_failed (asked, FSC_CODE_SYSTEM, ENOENT, "the provider says so");
  }
  g_assert_cmpuint (counters (&stage)->invalidations, ==, 1);
  g_assert_cmpuint (counters (&stage)->open_errors, ==, 1);
  g_assert_cmpuint (counters (&stage)->handles, ==, 0);
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);
  stage_clear (&stage);
}

/* Failures that say nothing about the resource do not cost its handle. */
static void
test_no_verdict (void)
{
  static const FscCode codes[] = { FSC_CODE_TIMED_OUT, FSC_CODE_OPENER_FAILED, FSC_CODE_LIMIT };
  Stage stage;

  stage_init (&stage, 10, 0);
  cache_uri (&stage, FILE_A);
  for (guint i = 0; i < G_N_ELEMENTS (codes); i++)
    {
      g_autoptr (Asked) asked = ask (&stage, FILE_A);

      finish_code (&stage, begin (&stage), codes[i], EIO);
      assert_failed (asked, codes[i], EIO, "the provider says so");
      g_assert_cmpuint (counters (&stage)->handles, ==, 1);
    }
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);

    serve_unchanged (&stage);
    assert_given (asked, FSC_SOURCE_CACHE);
  }
  g_assert_cmpuint (counters (&stage)->invalidations, ==, 0);
  stage_clear (&stage);
}

/* Tests: single flight */

#define CROWD 1000

static void
test_single_flight (void)
{
  Stage stage;
  g_autoptr (GPtrArray) early = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  g_autoptr (GPtrArray) late = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  FscJob *job;

  stage_init (&stage, 10, 0);
  for (guint i = 0; i < CROWD; i++)
    g_ptr_array_add (early, ask (&stage, i % 2 == 0 ? FILE_A : "file:/a"));
  g_assert_cmpuint (stage.n_started, ==, 1);
  job = begin (&stage);
  for (guint i = 0; i < CROWD; i++)
    g_ptr_array_add (late, ask (&stage, FILE_A));
  g_assert_cmpuint (stage.n_started, ==, 1);

  finish (&stage, job, "1");
  for (guint i = 0; i < CROWD; i++)
    {
      assert_given (early->pdata[i], FSC_SOURCE_OPENED);
      g_assert_cmpuint (((Asked *) late->pdata[i])->n_answers, ==, 0);
    }
  g_assert_cmpuint (stage.n_started, ==, 2);
  g_assert_cmpuint (g_queue_get_length (&stage.jobs), ==, 1);
  serve_unchanged (&stage);
  for (guint i = 0; i < CROWD; i++)
    assert_given (late->pdata[i], FSC_SOURCE_CACHE);

  g_assert_cmpuint (counters (&stage)->opens, ==, 1);
  g_assert_cmpuint (counters (&stage)->checks, ==, 1);
  g_assert_cmpuint (counters (&stage)->coalesced, ==, 2 * CROWD - 1);
  g_assert_cmpuint (counters (&stage)->misses, ==, CROWD);
  g_assert_cmpuint (counters (&stage)->hits, ==, CROWD);
  g_ptr_array_set_size (early, 0);
  g_ptr_array_set_size (late, 0);
  stage_clear (&stage);
}

/* A failure reaches all who waited for that job; those who came after it began get another. */
static void
test_failure_to_all (void)
{
  Stage stage;
  g_autoptr (GPtrArray) early = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  FscJob *job;

  stage_init (&stage, 10, 0);
  for (guint i = 0; i < CROWD; i++)
    g_ptr_array_add (early, ask (&stage, FILE_A));
  job = begin (&stage);
  {
    g_autoptr (Asked) late = ask (&stage, FILE_A);

    finish_code (&stage, job, FSC_CODE_SYSTEM, EACCES);
    for (guint i = 0; i < CROWD; i++)
      assert_failed (early->pdata[i], FSC_CODE_SYSTEM, EACCES, "the provider says so");
    g_assert_cmpuint (late->n_answers, ==, 0);
    job = begin (&stage);
    g_assert_cmpuint (job->item.validator.length, ==, 0);
    g_assert_cmpint (job->since, >, 1000 * SECOND); /* its time runs from when it was asked */
    finish (&stage, job, "1");
    assert_given (late, FSC_SOURCE_OPENED);
  }
  g_assert_cmpuint (counters (&stage)->open_errors, ==, 1);
  g_assert_cmpuint (counters (&stage)->opens, ==, 2);
  g_ptr_array_set_size (early, 0);
  stage_clear (&stage);
}

static void
test_cancel (void)
{
  Stage stage;
  FscJob *job;

  stage_init (&stage, 10, 0);

  /* If the job goes on, what it brings is kept. */
  asked_free (ask (&stage, FILE_A));
  g_assert_cmpuint (stage.n_withdrawn, ==, 1);
  serve (&stage, "1");
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  g_assert_cmpuint (get_info (&stage, FILE_A).idle_ms, ==, 0);

  /* While it is under way, early and late, one of several. */
  {
    g_autoptr (Asked) stays = ask (&stage, FILE_A);
    Asked *goes = ask (&stage, FILE_A);
    Asked *goes_late;
    g_autoptr (Asked) stays_late = NULL;

    job = begin (&stage);
    goes_late = ask (&stage, FILE_A);
    stays_late = ask (&stage, FILE_A);
    asked_free (goes);
    asked_free (goes_late);
    g_assert_cmpuint (stage.n_withdrawn, ==, 1); /* others wait */
    g_assert_true (fsc_job_is_wanted (job));
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (stays, FSC_SOURCE_CACHE);
    g_assert_cmpuint (stays_late->n_answers, ==, 0);
    goes_late = ask (&stage, FILE_A); /* has joined the next job */
    asked_free (goes_late);
    serve_unchanged (&stage);
    assert_given (stays_late, FSC_SOURCE_CACHE);
  }

  /* All of them, late. */
  {
    g_autoptr (Asked) early = ask (&stage, FILE_A);

    job = begin (&stage);
    asked_free (ask (&stage, FILE_A));
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (early, FSC_SOURCE_CACHE);
    g_assert_cmpuint (stage.jobs.length, ==, 0);
  }

  /* Passed. */
  {
    FscItem item = make_item (FILE_B, FSC_SHARING_INDEPENDENT);

    item.flags = O_WRONLY;
    asked_free (ask_item (&stage, &item, NULL));
    serve (&stage, "1");
    asked_free (ask_item (&stage, &item, NULL));
    finish_code (&stage, begin (&stage), FSC_CODE_SYSTEM, EACCES);
  }

  /* Exclusive: there is nobody to lend it to, so it waits for the next. */
  asked_free (ask_as (&stage, FILE_B, FSC_SHARING_EXCLUSIVE, &stage));
  serve (&stage, "1");
  g_assert_cmpuint (get_info (&stage, FILE_B).state, ==, 0);
  stage_clear (&stage);
}

/* What nobody waits for need not be done; what is cached stays. */
static void
test_withdraw (void)
{
  Stage stage;

  stage_init (&stage, 10, 0);
  asked_free (ask (&stage, FILE_A));
  g_assert_cmpuint (stage.n_withdrawn, ==, 1);
  finish_code (&stage, g_queue_pop_head (&stage.jobs), FSC_CODE_CANCELLED, ECANCELED);
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);

  /* A check, of which two wait. */
  cache_uri (&stage, FILE_A);
  {
    Asked *first = ask (&stage, FILE_A), *second = ask (&stage, FILE_A);

    asked_free (first);
    g_assert_cmpuint (stage.n_withdrawn, ==, 1);
    asked_free (second);
    g_assert_cmpuint (stage.n_withdrawn, ==, 2);
  }
  finish_code (&stage, g_queue_pop_head (&stage.jobs), FSC_CODE_CANCELLED, ECANCELED);
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);

  /* Who comes before it is given up gets it; who comes late keeps it. */
  asked_free (ask (&stage, FILE_A));
  g_assert_cmpuint (stage.n_withdrawn, ==, 3);
  {
    g_autoptr (Asked) again = ask (&stage, FILE_A);
    Asked *early = ask (&stage, FILE_A);
    FscJob *job = begin (&stage);
    g_autoptr (Asked) late = ask (&stage, FILE_A);

    asked_free (early);
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (again, FSC_SOURCE_CACHE);
    serve_unchanged (&stage);
    assert_given (late, FSC_SOURCE_CACHE);
  }
  {
    Asked *early = ask (&stage, FILE_A);
    FscJob *job = begin (&stage);
    g_autoptr (Asked) late = ask (&stage, FILE_A);

    asked_free (early);
    g_assert_cmpuint (stage.n_withdrawn, ==, 3);
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    serve_unchanged (&stage);
    assert_given (late, FSC_SOURCE_CACHE);
  }
  g_assert_cmpuint (counters (&stage)->open_errors, ==, 0);
  stage_clear (&stage);
}

static void
test_drop_in_flight (void)
{
  Stage stage;
  FscJob *job;

  stage_init (&stage, 10, 0);
  cache_uri (&stage, FILE_A);

  /* What is unchanged is not there any more: it is opened again. */
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);
    g_autoptr (Asked) late = NULL;

    job = begin (&stage);
    late = ask (&stage, FILE_A);
    g_assert_cmpuint (drop (&stage, FILE_A), ==, 1);
    g_assert_cmpuint (counters (&stage)->handles, ==, 0);
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    g_assert_cmpuint (asked->n_answers, ==, 0);
    job = begin (&stage);
    g_assert_cmpuint (job->item.validator.length, ==, 0);
    finish (&stage, job, "1");
    assert_given (asked, FSC_SOURCE_OPENED);
    assert_given (late, FSC_SOURCE_OPENED);
  }

  /* Failed. */
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);

    job = begin (&stage);
    g_assert_cmpuint (drop (&stage, "file:*"), ==, 1);
    finish_code (&stage, job, FSC_CODE_TIMED_OUT, ETIMEDOUT);
    assert_failed (asked, FSC_CODE_TIMED_OUT, ETIMEDOUT, "");
  }
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);

  /* Nobody waits any more. */
  cache_uri (&stage, FILE_A);
  asked_free (ask (&stage, FILE_A));
  job = begin (&stage);
  g_assert_cmpuint (drop (&stage, FILE_A), ==, 1);
  finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);
  g_assert_cmpuint (drop (&stage, FILE_A), ==, 0);
  stage_clear (&stage);
}

/* Tests: freshness */

static void
test_max_age (void)
{
  Stage stage;
  FscJob *job;

  stage_init (&stage, 10, 0);
  cache_uri (&stage, FILE_A);
  stage.time += SECOND - 1000;
  {
    g_autoptr (Asked) fresh = ask_with (&stage, FILE_A, 0, 1000);
    g_autoptr (Asked) stale = ask_with (&stage, FILE_A, 0, 998);
    g_autoptr (Asked) strict = ask_with (&stage, FILE_A, FSC_OPTION_REVALIDATE, 1000);
    g_autoptr (Asked) late = NULL, late_strict = NULL, late_fresh = NULL;

    assert_given (fresh, FSC_SOURCE_CACHE);
    g_assert_cmpuint (fresh->age_ms, ==, 999);
    g_assert_cmpuint (stale->n_answers, ==, 0);
    g_assert_cmpuint (strict->n_answers, ==, 0);

    /* One that began a moment ago will do for who allows that, but not for the strict. */
    job = begin (&stage);
    late = ask_with (&stage, FILE_A, 0, 0);
    late_fresh = ask_with (&stage, FILE_A, 0, 500);
    late_strict = ask_with (&stage, FILE_A, FSC_OPTION_REVALIDATE, 500);
    if (late_fresh->n_answers == 0)
      finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    else
      g_test_fail_printf ("what is older than allowed was given");
    assert_given (stale, FSC_SOURCE_CACHE);
    assert_given (strict, FSC_SOURCE_CACHE);
    assert_given (late_fresh, FSC_SOURCE_CACHE);
    g_assert_cmpuint (late->n_answers + late_strict->n_answers, ==, 0);
    job = begin (&stage);
    g_assert_cmpuint (job->item.options, ==, FSC_OPTION_REVALIDATE);
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (late, FSC_SOURCE_CACHE);
    assert_given (late_strict, FSC_SOURCE_CACHE);
  }
  stage_clear (&stage);
}

static void
test_ttl (void)
{
  Stage stage;
  FscJob *job;

  stage_init (&stage, 10, 0);
  asked_free (ask (&stage, FILE_A));
  finish_with (&stage, begin (&stage), make_handle ("1"), FSC_COHERENCE_TTL, 3000);
  g_assert_cmpuint (get_info (&stage, FILE_A).ttl_ms, ==, 3000);
  stage.time += 2900 * 1000;
  {
    g_autoptr (Asked) fresh = ask (&stage, FILE_A);

    assert_given (fresh, FSC_SOURCE_CACHE);
    g_assert_cmpint (fresh->coherence, ==, FSC_COHERENCE_TTL);
    g_assert_cmpuint (fresh->age_ms, ==, 2900);
    g_assert_cmpuint (stage.jobs.length, ==, 0);
  }
  {
    g_autoptr (Asked) strict = ask_with (&stage, FILE_A, FSC_OPTION_REVALIDATE, 0);
    g_autoptr (Asked) late = NULL;

    job = begin (&stage);
    g_assert_cmpuint (job->item.options, ==, FSC_OPTION_REVALIDATE);
    late = ask_with (&stage, FILE_A, FSC_OPTION_REVALIDATE, 0);
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (strict, FSC_SOURCE_CACHE);
    g_assert_cmpuint (late->n_answers, ==, 0);
    serve_unchanged (&stage);
    assert_given (late, FSC_SOURCE_CACHE);
  }
  stage.time += 3001 * 1000;
  {
    g_autoptr (Asked) stale = ask (&stage, FILE_A);
    g_autoptr (Asked) late = NULL;

    g_assert_cmpuint (stale->n_answers, ==, 0);
    job = begin (&stage);
    late = ask (&stage, FILE_A);
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (stale, FSC_SOURCE_CACHE);
    assert_given (late, FSC_SOURCE_CACHE); /* within the time-to-live */
    g_assert_cmpuint (stage.jobs.length, ==, 0);
  }

  /* A cold open that a strict request has joined is a strict one. */
  {
    g_autoptr (Asked) easy = ask (&stage, FILE_B);
    g_autoptr (Asked) strict = ask_with (&stage, FILE_B, FSC_OPTION_REVALIDATE, 0);

    job = begin (&stage);
    g_assert_cmpuint (job->item.options, ==, FSC_OPTION_REVALIDATE);
    finish_with (&stage, job, make_handle ("1"), FSC_COHERENCE_TTL, 0);
    assert_given (easy, FSC_SOURCE_OPENED);
    assert_given (strict, FSC_SOURCE_OPENED);
  }
  stage.time++;
  asked_free (ask (&stage, FILE_B)); /* a time-to-live of 0: each is checked */
  serve_unchanged (&stage);

  /* That it is unchanged may say for how long. */
  asked_free (ask (&stage, FILE_A));
  stage.time += 3001 * 1000;
  asked_free (ask (&stage, FILE_A));
  {
    FscOutcome outcome = {
      .code = FSC_CODE_UNCHANGED, .coherence = FSC_COHERENCE_TTL, .has_ttl = TRUE, .ttl_ms = 70000
    };

    fsc_cache_finish (stage.cache, begin (&stage), &outcome);
  }
  g_assert_cmpuint (get_info (&stage, FILE_A).ttl_ms, ==, 70000);

  /* Or that it is not to be kept any longer. */
  stage.time += 70001 * 1000;
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);
    FscOutcome outcome
        = { .code = FSC_CODE_UNCHANGED, .coherence = FSC_COHERENCE_UNCACHED, .has_ttl = TRUE };

    fsc_cache_finish (stage.cache, begin (&stage), &outcome);
    assert_given (asked, FSC_SOURCE_CACHE);
  }
  g_assert_cmpuint (counters (&stage)->handles, ==, 1); /* FILE_B's */
  stage_clear (&stage);
}

/* That its source cannot be asked says nothing about it: the handle is kept, and not given. */
static void
test_unavailable (void)
{
  Stage stage;

  stage_init (&stage, 10, 0);
  asked_free (ask (&stage, FILE_A));
  finish_with (&stage, begin (&stage), make_handle ("1"), FSC_COHERENCE_TTL, 0);
  stage.time++;
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);

    finish_code (&stage, begin (&stage), FSC_CODE_UNAVAILABLE, ECONNREFUSED);
    assert_failed (asked, FSC_CODE_UNAVAILABLE, ECONNREFUSED, "the provider says so");
  }
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);

    serve_unchanged (&stage);
    assert_given (asked, FSC_SOURCE_CACHE);
  }
  stage_clear (&stage);
}

/* Tests: what is not kept */

static void
test_passed (void)
{
  static const guint32 flags[]
      = { O_WRONLY, O_RDWR, O_CREAT, O_CREAT | O_EXCL | O_WRONLY, O_TRUNC, O_TMPFILE | O_RDWR };
  Stage stage;

  stage_init (&stage, 10, 0);
  cache_uri (&stage, FILE_A);
  for (guint i = 0; i < G_N_ELEMENTS (flags); i++)
    {
      FscItem item = make_item ("file:/a", (FscSharing) (i % 3));
      g_autoptr (Asked) asked = NULL;
      FscOutcome outcome = { .handle = make_handle ("1"), .is_final = TRUE };
      FscJob *job;

      item.flags = flags[i];
      item.mode = 0640;
      item.umask = 022;
      asked = ask_item (&stage, &item, NULL);
      job = begin (&stage);
      g_assert_cmpuint (job->item.flags, ==, flags[i]);
      g_assert_cmpuint (job->item.mode, ==, 0640);
      g_assert_cmpuint (job->item.umask, ==, 022);
      g_assert_cmpmem (job->item.uri.data, job->item.uri.length, FILE_A, strlen (FILE_A));
      fsc_cache_finish (stage.cache, job, &outcome);
      assert_given (asked, FSC_SOURCE_PASSED);
      g_assert_cmpint (asked->sharing, ==,
                       i % 3 == FSC_SHARING_EXCLUSIVE ? FSC_SHARING_EXCLUSIVE
                                                      : FSC_SHARING_INDEPENDENT);
      g_assert_cmpuint (asked->lease, ==, 0);
      g_assert_cmpint (asked->coherence, ==, FSC_COHERENCE_UNCACHED);
      g_assert_cmpuint (asked->handle->n_refs, ==, 1); /* ours */
    }
  {
    /* What the client is to open for writing itself is a duplicate until then. */
    FscItem item = make_item (FILE_A, FSC_SHARING_INDEPENDENT);
    g_autoptr (Asked) asked = NULL;

    item.flags = O_RDWR;
    asked = ask_item (&stage, &item, NULL);
    serve (&stage, "1");
    assert_given (asked, FSC_SOURCE_PASSED);
    g_assert_cmpint (asked->sharing, ==, FSC_SHARING_SHARED);
  }
  {
    /* An independent description for a client that cannot reopen; and a failure. */
    FscItem item = make_item (FILE_A, FSC_SHARING_INDEPENDENT);
    g_autoptr (Asked) asked = NULL, failed = NULL;

    item.options = 0;
    asked = ask_item (&stage, &item, NULL);
    serve (&stage, "1");
    assert_given (asked, FSC_SOURCE_PASSED);
    g_assert_cmpint (asked->sharing, ==, FSC_SHARING_INDEPENDENT);
    failed = ask_item (&stage, &item, NULL);
    finish_code (&stage, begin (&stage), FSC_CODE_SYSTEM, EMFILE);
    assert_failed (failed, FSC_CODE_SYSTEM, EMFILE, "the provider says so");
  }
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  g_assert_cmpuint (counters (&stage)->entries, ==, 1);
  g_assert_cmpuint (counters (&stage)->passed, ==, G_N_ELEMENTS (flags) + 2);
  g_assert_cmpuint (counters (&stage)->misses, ==, G_N_ELEMENTS (flags) + 3);
  g_assert_cmpuint (counters (&stage)->opens, ==, G_N_ELEMENTS (flags) + 4);
  g_assert_cmpuint (counters (&stage)->open_errors, ==, 1);
  stage_clear (&stage);
}

static void
test_uncached (void)
{
  Stage stage;
  FscJob *job;

  stage_init (&stage, 10, 0);
  {
    g_autoptr (Asked) first = ask (&stage, FILE_A);
    g_autoptr (Asked) second = ask_as (&stage, FILE_A, FSC_SHARING_SHARED, NULL);
    g_autoptr (Asked) late = NULL;

    job = begin (&stage);
    late = ask_with (&stage, FILE_A, 0, 0);
    finish_with (&stage, job, make_handle ("1"), FSC_COHERENCE_UNCACHED, 0);
    assert_given (first, FSC_SOURCE_PASSED);
    assert_given (second, FSC_SOURCE_PASSED);
    g_assert_cmpint (first->coherence, ==, FSC_COHERENCE_UNCACHED);
    g_assert_cmpuint (late->n_answers, ==, 0);
    g_assert_cmpuint (counters (&stage)->handles, ==, 0);
    job = begin (&stage);
    g_assert_cmpuint (job->item.validator.length, ==, 0);
    finish_with (&stage, job, make_handle ("1"), FSC_COHERENCE_UNCACHED, 0);
    assert_given (late, FSC_SOURCE_PASSED);
  }
  {
    g_autoptr (Asked) lent = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &stage);

    finish_with (&stage, begin (&stage), make_handle ("1"), FSC_COHERENCE_UNCACHED, 0);
    assert_given (lent, FSC_SOURCE_PASSED);
    g_assert_cmpuint (lent->lease, ==, 0);
    g_assert_cmpint (lent->sharing, ==, FSC_SHARING_EXCLUSIVE);
  }
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);
  g_assert_cmpuint (counters (&stage)->passed, ==, 4);
  g_assert_cmpuint (counters (&stage)->evictions, ==, 0);
  stage_clear (&stage);
}

/* Tests: sharing */

static void
test_refusals (void)
{
  Stage stage;
  FscItem item = make_item (FILE_A, FSC_SHARING_SHARED);
  FscHandle *handle;

  stage_init (&stage, 10, 0);
  {
    g_autoptr (Asked) shared = ask_as (&stage, FILE_A, FSC_SHARING_SHARED, NULL);
    g_autoptr (Asked) own = ask (&stage, FILE_A);

    handle = make_handle ("1");
    handle->kind = FSC_KIND_DIRECTORY;
    finish_with (&stage, begin (&stage), handle, FSC_COHERENCE_CHECKED, 0);
    assert_failed (shared, FSC_CODE_BAD_REQUEST, EISDIR, "file:///a is a directory");
    assert_given (own, FSC_SOURCE_OPENED);
  }
  {
    g_autoptr (Asked) path_only = NULL; /* has no position */

    item.flags = O_PATH;
    path_only = ask_item (&stage, &item, NULL);
    handle = make_handle ("1");
    handle->kind = FSC_KIND_DIRECTORY;
    finish_with (&stage, begin (&stage), handle, FSC_COHERENCE_CHECKED, 0);
    assert_given (path_only, FSC_SOURCE_OPENED);
    g_assert_cmpint (path_only->sharing, ==, FSC_SHARING_SHARED);
  }
  {
    g_autoptr (Asked) own = ask (&stage, FILE_B);
    g_autoptr (Asked) shared = ask_as (&stage, FILE_B, FSC_SHARING_SHARED, NULL);

    handle = make_handle ("1");
    handle->most_sharing = FSC_SHARING_EXCLUSIVE;
    finish_with (&stage, begin (&stage), handle, FSC_COHERENCE_CHECKED, 0);
    assert_failed (own, FSC_CODE_NOT_REOPENABLE, EOPNOTSUPP, "ask for it exclusive");
    assert_failed (shared, FSC_CODE_NOT_REOPENABLE, EOPNOTSUPP, "ask for it exclusive");
  }
  {
    g_autoptr (Asked) own = ask (&stage, "file:///c");
    g_autoptr (Asked) shared = ask_as (&stage, "file:///c", FSC_SHARING_SHARED, NULL);

    handle = make_handle ("1");
    handle->most_sharing = FSC_SHARING_SHARED;
    finish_with (&stage, begin (&stage), handle, FSC_COHERENCE_CHECKED, 0);
    assert_failed (own, FSC_CODE_NOT_REOPENABLE, EOPNOTSUPP, "ask for it shared");
    assert_given (shared, FSC_SOURCE_OPENED);
  }
  stage_clear (&stage);
}

static void
test_exclusive (void)
{
  Stage stage;
  int one, two; /* clients */

  stage_init (&stage, 10, 0);
  {
    g_autoptr (Asked) first = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &one);
    g_autoptr (Asked) second = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &two);
    g_autoptr (Asked) shared = NULL, third = NULL;

    /* Each gets a description of its own. */
    g_assert_cmpuint (stage.jobs.length, ==, 2);
    finish_with (&stage, begin (&stage), make_handle ("1"), FSC_COHERENCE_CHECKED, 0);
    serve (&stage, "1");
    assert_given (first, FSC_SOURCE_OPENED);
    assert_given (second, FSC_SOURCE_OPENED);
    g_assert_true (first->handle != second->handle);
    g_assert_cmpuint (first->lease, !=, 0);
    g_assert_cmpuint (second->lease, !=, first->lease);
    g_assert_cmpint (first->sharing, ==, FSC_SHARING_EXCLUSIVE);

    /* Nobody else gets one that is lent. */
    shared = ask_as (&stage, FILE_A, FSC_SHARING_SHARED, NULL);
    serve (&stage, "1");
    g_assert_true (shared->handle != first->handle && shared->handle != second->handle);
    g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 3);

    /* Only who has it can give it back. */
    fsc_cache_give_back (stage.cache, first->lease, &two, FALSE);
    fsc_cache_give_back (stage.cache, first->lease, NULL, TRUE);
    fsc_cache_give_back (stage.cache, 999, &one, TRUE);
    fsc_cache_give_back (stage.cache, 0, &one, TRUE);
    g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 3);

    /* Then the next one gets another, which is new. */
    stage.time += 5 * SECOND;
    fsc_cache_give_back (stage.cache, first->lease, &one, FALSE);
    fsc_cache_give_back (stage.cache, first->lease, &one, FALSE);
    g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 2);
    third = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &two);
    serve (&stage, "1");
    assert_given (third, FSC_SOURCE_OPENED);
    g_assert_true (third->handle != first->handle);
    g_assert_cmpuint (third->lease, !=, first->lease);

    /* A client that has gone leaves something unknown: it is closed. */
    fsc_cache_give_back (stage.cache, third->lease, &two, TRUE);
    fsc_cache_give_back (stage.cache, second->lease, &two, TRUE);
    g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 1);
  }
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  stage_clear (&stage);
}

/* Lent entries in any order of coming and going: the chain of twins holds. */
static void
test_twins (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (11);
  g_autoptr (GPtrArray) lent = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  Stage stage;

  stage_init (&stage, 1000, 0);
  for (guint step = 0; step < 3000; step++)
    {
      if (lent->len < 20 && g_rand_boolean (random))
        {
          Asked *asked = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &stage);
          FscJob *job = begin (&stage);

          if (job->item.validator.length > 0)
            finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
          else if (g_rand_int_range (random, 0, 5) == 0)
            finish_code (&stage, job, FSC_CODE_SYSTEM, ENOENT);
          else
            finish_with (&stage, job, make_device_handle (), FSC_COHERENCE_CHECKED, 0);
          g_assert_cmpuint (asked->n_answers, ==, 1);
          if (asked->handle != NULL)
            g_ptr_array_add (lent, asked);
          else
            asked_free (asked);
        }
      else if (lent->len > 0)
        {
          guint i = (guint) g_rand_int_range (random, 0, (gint32) lent->len);

          fsc_cache_give_back (stage.cache, ((Asked *) lent->pdata[i])->lease, &stage,
                               g_rand_boolean (random));
          g_ptr_array_remove_index_fast (lent, i);
        }
      for (guint i = 0; i < lent->len; i++)
        for (guint j = 0; j < i; j++)
          g_assert_true (((Asked *) lent->pdata[i])->handle != ((Asked *) lent->pdata[j])->handle);
      g_assert_cmpuint (count_entries (&stage, FILE_A), ==, counters (&stage)->handles);
      g_assert_cmpuint (counters (&stage)->entries, ==, counters (&stage)->handles);
    }
  g_ptr_array_set_size (lent, 0);
  stage_clear (&stage);
}

/* Tests: which entries stay */

#define URIS 48
#define ROOM 16

/* SIEVE, as slowly as it can be said. What is pinned when the hand meets it is out, until it is
 * unpinned: then it is where the hand has just been. */
typedef struct
{
  int uris[ROOM]; /* from old to new */
  guint n;
  gboolean is_visited[URIS], is_pinned[URIS], is_out[URIS];
  guint n_out;
  int hand; /* a URI, or -1: the oldest */
} Sieve;

static int
sieve_find (const Sieve *sieve, int uri)
{
  for (guint i = 0; i < sieve->n; i++)
    if (sieve->uris[i] == uri)
      return (int) i;
  return -1;
}

static int
sieve_after (const Sieve *sieve, int uri)
{
  guint i = (guint) sieve_find (sieve, uri) + 1;

  return i < sieve->n ? sieve->uris[i] : -1;
}

static void
sieve_remove (Sieve *sieve, int uri)
{
  int i = sieve_find (sieve, uri);

  if (sieve->is_out[uri])
    {
      sieve->is_visited[uri] = sieve->is_pinned[uri] = sieve->is_out[uri] = FALSE;
      sieve->n_out--;
      return;
    }
  if (sieve->hand == uri)
    sieve->hand = sieve_after (sieve, uri);
  memmove (&sieve->uris[i], &sieve->uris[i + 1],
           (sieve->n - (guint) i - 1) * sizeof sieve->uris[0]);
  sieve->n--;
  sieve->is_visited[uri] = sieve->is_pinned[uri] = FALSE;
}

static void
sieve_evict (Sieve *sieve)
{
  for (;;)
    {
      int uri = sieve->hand >= 0 ? sieve->hand : sieve->uris[0];

      sieve->hand = sieve_after (sieve, uri);
      if (sieve->is_pinned[uri])
        {
          gboolean was_visited = sieve->is_visited[uri];

          sieve_remove (sieve, uri);
          sieve->is_pinned[uri] = sieve->is_out[uri] = TRUE;
          sieve->is_visited[uri] = was_visited;
          sieve->n_out++;
          continue;
        }
      if (!sieve->is_visited[uri])
        {
          sieve_remove (sieve, uri);
          return;
        }
      sieve->is_visited[uri] = FALSE;
    }
}

static void
sieve_unpin (Sieve *sieve, int uri)
{
  int i = sieve->hand >= 0 ? sieve_find (sieve, sieve->hand) : (int) sieve->n;

  sieve->is_pinned[uri] = FALSE;
  if (!sieve->is_out[uri])
    return;
  sieve->is_out[uri] = FALSE;
  sieve->n_out--;
  memmove (&sieve->uris[i + 1], &sieve->uris[i], (sieve->n - (guint) i) * sizeof sieve->uris[0]);
  sieve->uris[i] = uri;
  sieve->n++;
}

static gboolean
sieve_has (const Sieve *sieve, int uri)
{
  return sieve->is_out[uri] || sieve_find (sieve, uri) >= 0;
}

static void
sieve_open (Stage *stage, Sieve *sieve, int i, const char *uri)
{
  g_autoptr (Asked) asked = ask (stage, uri);

  if (sieve_has (sieve, i))
    {
      serve_unchanged (stage);
      assert_given (asked, FSC_SOURCE_CACHE);
      sieve->is_visited[i] = TRUE;
      return;
    }
  serve (stage, "1");
  assert_given (asked, FSC_SOURCE_OPENED);
  if (sieve->n + sieve->n_out == ROOM)
    sieve_evict (sieve);
  sieve->uris[sieve->n++] = i;
}

static void
test_sieve (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (7);
  Sieve sieve = { .hand = -1 };
  Stage stage;
  guint n_pinned = 0;

  stage_init (&stage, ROOM, 0);
  for (guint step = 0; step < 20000; step++)
    {
      int i = g_rand_int_range (random, 0, g_rand_boolean (random) ? URIS : URIS / 6);
      g_autofree char *uri = g_strdup_printf ("file:///%d", i);
      guint what = (guint) g_rand_int_range (random, 0, 100);

      if (what < 90 || !sieve_has (&sieve, i))
        sieve_open (&stage, &sieve, i, uri);
      else if (what < 93)
        {
          n_pinned -= sieve.is_pinned[i];
          sieve_remove (&sieve, i);
          g_assert_cmpuint (drop (&stage, uri), ==, 1);
        }
      else
        {
          gboolean pinned = what < 96 && (sieve.is_pinned[i] || n_pinned + 1 < ROOM / 2);

          n_pinned += pinned - sieve.is_pinned[i];
          if (pinned)
            sieve.is_pinned[i] = TRUE;
          else
            sieve_unpin (&sieve, i);
          g_assert_true (pin (&stage, uri, pinned));
        }

      g_assert_cmpuint (counters (&stage)->handles, ==, sieve.n + sieve.n_out);
      g_assert_cmpuint (counters (&stage)->pinned, ==, n_pinned);
      for (int j = 0; j < URIS; j++)
        {
          g_autofree char *name = g_strdup_printf ("file:///%d", j);

          g_assert_cmpuint (count_entries (&stage, name), ==, sieve_has (&sieve, j));
        }
    }
  g_assert_cmpuint (counters (&stage)->evictions, >, 1000);
  stage_clear (&stage);
}

static void
test_pins (void)
{
  Stage stage;

  stage_init (&stage, 3, 0);
  cache_uri (&stage, FILE_A);
  g_assert_true (pin (&stage, FILE_A, TRUE));
  g_assert_true (pin (&stage, FILE_A, TRUE));
  g_assert_cmpuint (counters (&stage)->pinned, ==, 1);
  g_assert_cmpuint (get_info (&stage, FILE_A).state, ==, FSC_ENTRY_PINNED);
  for (guint i = 0; i < 20; i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%u", i);

      cache_uri (&stage, uri);
    }
  g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 1);

  /* One must be free to go. */
  cache_uri (&stage, FILE_B);
  g_assert_true (pin (&stage, FILE_B, TRUE));
  cache_uri (&stage, "file:///c");
  g_assert_false (pin (&stage, "file:///c", TRUE));
  g_assert_cmpuint (counters (&stage)->pinned, ==, 2);

  /* A pin outlives a change of the file, but not its end, nor a drop. */
  {
    g_autoptr (Asked) changed = ask (&stage, FILE_A);

    serve (&stage, "2");
    assert_given (changed, FSC_SOURCE_OPENED);
    g_assert_cmpuint (get_info (&stage, FILE_A).state, ==, FSC_ENTRY_PINNED);
  }
  asked_free (ask (&stage, FILE_A));
  finish_code (&stage, begin (&stage), FSC_CODE_SYSTEM, ENOENT);
  g_assert_cmpuint (counters (&stage)->pinned, ==, 1);
  drop (&stage, FILE_B);
  g_assert_cmpuint (counters (&stage)->pinned, ==, 0);
  cache_uri (&stage, FILE_A);
  g_assert_cmpuint (get_info (&stage, FILE_A).state, ==, 0);
  g_assert_true (pin (&stage, FILE_A, TRUE));
  g_assert_true (pin (&stage, FILE_A, FALSE));
  g_assert_cmpuint (counters (&stage)->pinned, ==, 0);
  stage_clear (&stage);
}

/* Nothing can go: what comes is passed, not kept. */
static void
test_no_room (void)
{
  Stage stage;

  stage_init (&stage, 2, 0);
  {
    g_autoptr (Asked) one = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &stage);
    g_autoptr (Asked) two = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &stage);
    g_autoptr (Asked) three = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &stage);
    g_autoptr (Asked) other = ask (&stage, FILE_B);
    g_autoptr (Asked) another = ask_as (&stage, FILE_B, FSC_SHARING_SHARED, NULL);

    while (stage.jobs.length > 0)
      finish (&stage, begin (&stage), "1");
    assert_given (one, FSC_SOURCE_OPENED);
    assert_given (two, FSC_SOURCE_OPENED);
    assert_given (three, FSC_SOURCE_PASSED);
    g_assert_cmpuint (three->lease, ==, 0);
    assert_given (other, FSC_SOURCE_PASSED);
    assert_given (another, FSC_SOURCE_PASSED);
    g_assert_cmpuint (counters (&stage)->handles, ==, 2);
    g_assert_cmpuint (counters (&stage)->entries, ==, 2);
    g_assert_cmpuint (counters (&stage)->passed, ==, 3);
    g_assert_cmpuint (counters (&stage)->evictions, ==, 0);
    fsc_cache_give_back (stage.cache, one->lease, &stage, TRUE);
  }
  cache_uri (&stage, FILE_B);
  g_assert_cmpuint (count_entries (&stage, FILE_B), ==, 1);
  stage_clear (&stage);
}

static void
test_idle (void)
{
  Stage stage;

  stage_init (&stage, 100, 60 * SECOND);
  for (guint i = 0; i < 20; i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%u", i);

      cache_uri (&stage, uri);
    }
  pin (&stage, "file:///3", TRUE);
  {
    g_autoptr (Asked) lent = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &stage);
    g_autoptr (Asked) waits = NULL;

    finish_with (&stage, begin (&stage), make_device_handle (), FSC_COHERENCE_CHECKED, 0);
    stage.time += 59 * SECOND;
    fsc_cache_sweep (stage.cache, 1000);
    g_assert_cmpuint (counters (&stage)->handles, ==, 21);

    asked_free (ask (&stage, "file:///5"));
    serve_unchanged (&stage); /* given to nobody: that is no use */
    asked_free (ask_with (&stage, "file:///6", 0, 600000));
    waits = ask (&stage, "file:///7");
    stage.time += 2 * SECOND;
    fsc_cache_sweep (stage.cache, 5); /* a few at a time */
    g_assert_cmpuint (counters (&stage)->handles, >=, 16);
    for (guint i = 0; i < 5; i++)
      fsc_cache_sweep (stage.cache, 5);
    g_assert_cmpuint (counters (&stage)->handles, ==, 4); /* pinned, used, in flight, lent */
    g_assert_cmpuint (count_entries (&stage, "file:///3"), ==, 1);
    g_assert_cmpuint (count_entries (&stage, "file:///6"), ==, 1);
    g_assert_cmpuint (count_entries (&stage, "file:///7"), ==, 1);
    g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 1);
    serve_unchanged (&stage);
    assert_given (waits, FSC_SOURCE_CACHE);

    /* Its idle time begins when it is given back. */
    fsc_cache_give_back (stage.cache, lent->lease, &stage, FALSE);
    fsc_cache_sweep (stage.cache, 1000);
  }
  g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 1);
  stage.time += 61 * SECOND;
  fsc_cache_sweep (stage.cache, 1000);
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  stage_clear (&stage);
}

/* Nobody was there to get it: it is as young as any. */
static void
test_idle_unclaimed (void)
{
  Stage stage;

  stage_init (&stage, 100, 60 * SECOND);
  asked_free (ask (&stage, FILE_A));
  serve (&stage, "1");
  fsc_cache_sweep (stage.cache, 10);
  g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 1);
  fsc_cache_sweep (stage.cache, 0);
  drop (&stage, FILE_A);
  fsc_cache_sweep (stage.cache, 10);
  stage_clear (&stage);
  stage_init (&stage, 100, 60 * SECOND);
  fsc_cache_sweep (stage.cache, 10); /* of nothing */
  stage_clear (&stage);
}

/* Tests: limits */

static void
cache_uri_with (Stage *stage, const char *uri, guint64 bytes, gint64 cost)
{
  g_autoptr (Asked) asked = ask (stage, uri);
  FscJob *job = begin (stage);
  FscHandle *handle = make_handle ("1");

  handle->bytes = bytes;
  stage->time += cost;
  finish_with (stage, job, handle, FSC_COHERENCE_CHECKED, 0);
  g_assert_cmpint (asked->code, ==, FSC_CODE_OK);
}

static void
set_limits (Stage *stage, guint64 max_handles, guint64 max_bytes, gint64 idle_time)
{
  const FscLimits limits
      = { .max_handles = max_handles, .max_bytes = max_bytes, .idle_time = idle_time };

  fsc_cache_set_limits (stage->cache, &limits);
}

/* What is dear to open stays. */
static void
test_cost (void)
{
  Stage stage;

  stage_init (&stage, 3, 0);
  cache_uri_with (&stage, FILE_A, 0, 2 * SECOND);
  for (guint i = 0; i < 20; i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%u", i);

      cache_uri_with (&stage, uri, 0, 20);
    }
  g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 1);
  g_assert_cmpuint (counters (&stage)->evictions, ==, 18);
  stage_clear (&stage);
}

static void
test_max_bytes (void)
{
  Stage stage;

  stage_init (&stage, 100, 0);
  set_limits (&stage, 100, 1000, 0);
  for (guint i = 0; i < 5; i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%u", i);

      cache_uri_with (&stage, uri, 0, 20);
    }
  cache_uri_with (&stage, FILE_A, 600, 20);
  cache_uri_with (&stage, FILE_B, 400, 20);
  g_assert_cmpuint (counters (&stage)->bytes, ==, 1000);
  cache_uri_with (&stage, "file:///c", 1, 20);
  g_assert_cmpuint (count_entries (&stage, FILE_A), ==, 0);
  g_assert_cmpuint (counters (&stage)->bytes, ==, 401);
  g_assert_cmpuint (counters (&stage)->handles, ==, 7); /* none went that has no bytes */

  /* What is larger than all is passed, and nobody goes for it. */
  cache_uri_with (&stage, "file:///d", 1001, 20);
  g_assert_cmpuint (count_entries (&stage, "file:///d"), ==, 0);
  g_assert_cmpuint (counters (&stage)->passed, ==, 1);
  g_assert_cmpuint (counters (&stage)->bytes, ==, 401);
  g_assert_cmpuint (counters (&stage)->evictions, ==, 1);

  /* Pinned ones stay, and then there is no room. */
  g_assert_true (pin (&stage, FILE_B, TRUE));
  cache_uri_with (&stage, "file:///e", 700, 20);
  g_assert_cmpuint (count_entries (&stage, "file:///e"), ==, 0);
  cache_uri_with (&stage, "file:///e", 600, 20);
  g_assert_cmpuint (count_entries (&stage, "file:///e"), ==, 1);
  g_assert_cmpuint (counters (&stage)->bytes, ==, 1000);
  stage_clear (&stage);
}

static void
test_set_limits (void)
{
  Stage stage;

  stage_init (&stage, 100, 0);
  for (guint i = 0; i < 50; i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%u", i);

      cache_uri_with (&stage, uri, i % 2 * 10, 20);
    }
  g_assert_cmpuint (counters (&stage)->bytes, ==, 250);
  set_limits (&stage, 100, 100, 0);
  g_assert_cmpuint (counters (&stage)->bytes, ==, 100);
  g_assert_cmpuint (counters (&stage)->handles, ==, 35);

  g_assert_true (pin (&stage, "file:///0", TRUE));
  g_assert_true (pin (&stage, "file:///2", TRUE));
  set_limits (&stage, 10, 0, 0);
  g_assert_cmpuint (counters (&stage)->handles, ==, 10);
  set_limits (&stage, 1, 0, 0); /* as far as they may go */
  g_assert_cmpuint (counters (&stage)->handles, ==, 2);

  set_limits (&stage, 100, 0, 0);
  cache_uri (&stage, FILE_A);
  g_assert_cmpuint (counters (&stage)->handles, ==, 3);
  stage.time += 11 * SECOND;
  set_limits (&stage, 100, 0, 10 * SECOND);
  g_assert_cmpuint (counters (&stage)->handles, ==, 2);
  stage_clear (&stage);
}

static void
test_relieve (void)
{
  g_autoptr (Asked) waits = NULL;
  Stage stage;

  stage_init (&stage, 1000, 0);
  g_assert_cmpuint (fsc_cache_relieve (stage.cache), ==, 0);
  stage.time += 60 * SECOND;
  for (guint i = 0; i < 80; i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%u", i);

      cache_uri_with (&stage, uri, i < 16 ? 10 : 0, i % 2 != 0 ? 20 : 20000);
      stage.time += SECOND;
    }
  asked_free (ask_with (&stage, "file:///0", 0, 600000)); /* used just now */
  g_assert_true (pin (&stage, "file:///1", TRUE));
  waits = ask (&stage, "file:///2");

  /* Of the thirteen that have bytes and may go, an eighth: those that were used longest ago. */
  g_assert_cmpuint (fsc_cache_relieve (stage.cache), ==, 2);
  g_assert_cmpuint (count_entries (&stage, "file:///3"), ==, 0);
  g_assert_cmpuint (count_entries (&stage, "file:///4"), ==, 0);
  g_assert_cmpuint (counters (&stage)->handles, ==, 78);

  /* Soon after: of all. */
  stage.time += 2 * SECOND;
  g_assert_cmpuint (fsc_cache_relieve (stage.cache), ==, 10);
  g_assert_cmpuint (counters (&stage)->handles, ==, 68);
  g_assert_cmpuint (count_entries (&stage, "file:///14"), ==, 0);
  g_assert_cmpuint (count_entries (&stage, "file:///15"), ==, 1);

  /* Later, again those with bytes first; and so on, until only those are left that may not go. */
  stage.time += 60 * SECOND;
  g_assert_cmpuint (fsc_cache_relieve (stage.cache), ==, 1);
  for (guint i = 0; i < 100; i++)
    fsc_cache_relieve (stage.cache);
  g_assert_cmpuint (counters (&stage)->handles, ==, 2);
  g_assert_cmpuint (counters (&stage)->pressure_evictions, ==, 78);
  g_assert_cmpuint (counters (&stage)->evictions, ==, 0);
  serve_unchanged (&stage);
  assert_given (waits, FSC_SOURCE_CACHE);
  asked_free (g_steal_pointer (&waits));
  g_assert_cmpuint (fsc_cache_relieve (stage.cache), ==, 1);
  stage_clear (&stage);
}

/* Tests: holders */

static void
test_holder_death (void)
{
  Stage stage;
  FscJob *job;

  stage_init (&stage, 100, 0);
  cache_uri (&stage, FILE_B);
  asked_free (ask (&stage, FILE_A));
  finish_with (&stage, begin (&stage), make_held_handle (&stage, "1"), FSC_COHERENCE_TTL, 60000);
  asked_free (ask (&stage, "file:///c"));
  finish_with (&stage, begin (&stage), make_held_handle (&stage, "1"), FSC_COHERENCE_TTL, 60000);
  g_assert_cmpuint (counters (&stage)->held, ==, 2);
  g_assert_cmpuint (get_info (&stage, FILE_A).state, ==, FSC_ENTRY_HELD);
  drop (&stage, "file:///c");
  g_assert_cmpuint (stage.n_held, ==, 1);
  g_assert_cmpuint (counters (&stage)->held, ==, 1);

  /* Found dead when it is asked for. */
  kill_holder (&stage);
  {
    g_autoptr (Asked) asked = ask (&stage, FILE_A);

    job = begin (&stage);
    g_assert_cmpuint (job->item.validator.length, ==, 0);
    finish_with (&stage, job, make_held_handle (&stage, "1"), FSC_COHERENCE_TTL, 60000);
    assert_given (asked, FSC_SOURCE_OPENED);
  }

  /* Found dead by a sweep, lent, pinned, and while it is checked. */
  {
    g_autoptr (Asked) lent = ask_as (&stage, FILE_A, FSC_SHARING_EXCLUSIVE, &stage);
    g_autoptr (Asked) checked = NULL;

    finish_with (&stage, begin (&stage), make_held_handle (&stage, "1"), FSC_COHERENCE_TTL, 60000);
    checked = ask_with (&stage, FILE_A, FSC_OPTION_REVALIDATE, 0);
    job = begin (&stage);
    kill_holder (&stage);
    fsc_cache_drop_dead (stage.cache);
    g_assert_cmpuint (counters (&stage)->held, ==, 0);
    g_assert_cmpuint (count_entries (&stage, NULL), ==, 1);
    fsc_cache_give_back (stage.cache, lent->lease, &stage, FALSE);
    finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
    g_assert_cmpuint (checked->n_answers, ==, 0);
    serve (&stage, "1");
    assert_given (checked, FSC_SOURCE_OPENED);
  }

  /* A held one that is given back is not lent again. */
  {
    g_autoptr (Asked) lent = ask_as (&stage, "file:///d", FSC_SHARING_EXCLUSIVE, &stage);

    finish_with (&stage, begin (&stage), make_held_handle (&stage, "1"), FSC_COHERENCE_TTL, 60000);
    fsc_cache_give_back (stage.cache, lent->lease, &stage, FALSE);
    g_assert_cmpuint (count_entries (&stage, "file:///d"), ==, 0);
  }
  g_assert_cmpuint (stage.n_held, ==, 0);
  stage_clear (&stage);
}

/* Tests: all and some */

static void
test_patterns (void)
{
  static const char *const uris[]
      = { "file:///srv/a.txt", "file:///srv/b.txt", "file:///srv/deep/a.txt", "file:///etc/x%20y" };
  static const struct
  {
    const char *pattern;
    guint n;
  } cases[] = {
    { "*", 4 },
    { "file:*", 4 },
    { "file:///srv/*", 3 },
    { "*/a.txt", 2 },
    { "file:///srv/?.txt", 2 },
    { "file:///srv/*a*", 2 },
    { "*%20*", 1 },
    { "*nothing*", 0 },
    { "file:///srv/a.txt", 1 },
    { "file:/srv/a.txt", 1 },
    { "file:///srv", 0 },
    { "nonsense", 0 },
    { "*\xff*", 0 },
    { "*a?\xf0", 0 },
  };
  g_autofree char *fill = g_strnfill (4000, 'a');
  g_autofree char *long_uri = g_strconcat ("file:///", fill, NULL);
  g_autoptr (GTimer) timer = NULL;
  Stage stage;

  stage_init (&stage, 100, 0);
  for (guint i = 0; i < G_N_ELEMENTS (uris); i++)
    cache_uri (&stage, uris[i]);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_assert_cmpuint (count_entries (&stage, cases[i].pattern), ==, cases[i].n);
    }

  /* A pattern made to be slow is not. */
  cache_uri (&stage, long_uri);
  timer = g_timer_new ();
  g_assert_cmpuint (count_entries (&stage, "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"), ==, 0);
  g_assert_cmpfloat (g_timer_elapsed (timer, NULL), <, 20);

  g_assert_cmpuint (drop (&stage, "file:///srv/*"), ==, 3);
  g_assert_cmpuint (drop (&stage, "*"), ==, 2);
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);
  stage_clear (&stage);
}

typedef struct
{
  GHashTable *seen; /* URIs */
  guint left;
} Page;

static gboolean
put_on_page (FscCache *cache, FscEntry *entry, gpointer data)
{
  Page *page = data;
  FscEntryInfo info;

  if (page->left == 0)
    return FALSE;
  page->left--;
  fsc_cache_describe (cache, entry, &info);
  g_assert_true (g_hash_table_add (page->seen, g_strndup (info.uri.data, info.uri.length)));
  return TRUE;
}

/* Who is there all the time is listed once, whoever else comes and goes meanwhile. */
static void
test_list (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (3);
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  Stage stage;
  guint64 cursor = 0;
  guint n_pages = 0, n_new = 0;

  stage_init (&stage, 1000, 0);
  for (guint i = 0; i < 200; i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%s/%u", i % 2 == 0 ? "stays" : "goes", i);

      cache_uri (&stage, uri);
    }
  do
    {
      Page page = { .seen = seen, .left = 7 };
      g_autofree char *comes = g_strdup_printf ("file:///comes/%u", n_new++);
      g_autofree char *goes
          = g_strdup_printf ("file:///goes/%d", 2 * g_rand_int_range (random, 0, 100) + 1);

      cursor = fsc_cache_list (stage.cache, 0, NULL, cursor, put_on_page, &page);
      drop (&stage, goes);
      cache_uri (&stage, comes);
      g_assert_cmpuint (++n_pages, <, 100);
    }
  while (cursor != 0);
  for (guint i = 0; i < 200; i += 2)
    {
      g_autofree char *uri = g_strdup_printf ("file:///stays/%u", i);

      g_assert_true (g_hash_table_contains (seen, uri));
    }
  {
    FscTarget target = { .uri = { "*stays*", 7 }, .is_pattern = true };
    Page page = { .seen = seen, .left = 1000 };

    g_hash_table_remove_all (seen);
    g_assert_cmpuint (fsc_cache_list (stage.cache, 0, &target, 0, put_on_page, &page), ==, 0);
    g_assert_cmpuint (g_hash_table_size (seen), ==, 100);
    g_assert_cmpuint (fsc_cache_list (stage.cache, 1, NULL, 0, put_on_page, &page), ==, 0);
    g_assert_cmpuint (fsc_cache_list (stage.cache, 0, NULL, G_MAXUINT64, put_on_page, &page), ==,
                      0);
  }
  stage_clear (&stage);
}

/* Tests: callers that call the cache from within an answer */

typedef struct
{
  Stage *stage;
  FscWaiter *others[4];
  guint n_answers, n_others;
  guint64 lease;
} Busy;

static void
other_answered (const FscAnswer *answer, gpointer data, guint index)
{
  Busy *busy = data;

  busy->others[index] = NULL;
  busy->n_others++;
}

/* Cancels who waits with it, drops the entry, and asks again. */
static void
busy_answered (const FscAnswer *answer, gpointer data, guint index)
{
  Busy *busy = data;
  FscItem item = make_item (FILE_A, FSC_SHARING_INDEPENDENT);

  busy->n_answers++;
  for (guint i = 0; i < 2; i++)
    if (busy->others[i] != NULL)
      fsc_cache_cancel (busy->stage->cache, g_steal_pointer (&busy->others[i]));
  drop (busy->stage, "*");
  if (answer->handle != NULL)
    g_assert_cmpint (fcntl (answer->handle->fd, F_GETFD), >=, 0);
  busy->others[3] = fsc_cache_open (busy->stage->cache, 0, &item, NULL, other_answered, busy, 3);
}

static void
test_busy_callers (void)
{
  for (guint kind = 0; kind < 4; kind++)
    {
      Stage stage;
      Busy busy = { .stage = &stage };
      FscItem item = make_item (FILE_A, FSC_SHARING_INDEPENDENT);
      FscJob *job = NULL;

      stage_init (&stage, 10, 0);
      cache_uri (&stage, FILE_A);

      /* It waits with others: in the job's queue, or in that of those who came late. */
      if (kind % 2 == 1)
        {
          asked_free (ask (&stage, FILE_A));
          job = begin (&stage);
        }
      item.max_age_ms = kind == 1 ? 1000 : 0;
      stage.time += 2 * SECOND;
      for (guint i = 0; i < 4; i++)
        if (i == 1)
          fsc_cache_open (stage.cache, 0, &item, NULL, busy_answered, &busy, i);
        else
          busy.others[i == 3 ? 1 : i]
              = fsc_cache_open (stage.cache, 0, &item, NULL, other_answered, &busy, i == 3 ? 1 : i);
      if (kind % 2 == 0)
        job = begin (&stage);
      if (kind < 2)
        finish_code (&stage, job, FSC_CODE_UNCHANGED, 0);
      else
        finish_code (&stage, job, FSC_CODE_SYSTEM, ENOENT);
      while (stage.jobs.length > 0)
        finish (&stage, begin (&stage), "2");
      g_assert_cmpuint (busy.n_answers, ==, 1);
      g_assert_null (busy.others[0]);
      g_assert_null (busy.others[1]);
      g_assert_null (busy.others[2]);
      g_assert_null (busy.others[3]);
      g_assert_cmpuint (counters (&stage)->entries, ==, counters (&stage)->handles);
      stage_clear (&stage);
    }
}

static void
leased (const FscAnswer *answer, gpointer data, guint index)
{
  Busy *busy = data;

  busy->n_answers++;
  g_assert_cmpuint (answer->lease, !=, 0);
  fsc_cache_give_back (busy->stage->cache, answer->lease, busy, index == 1);
}

/* Gives back from within the answer. */
static void
test_busy_lessee (void)
{
  Stage stage;
  Busy busy = { .stage = &stage };
  FscItem item = make_item (FILE_A, FSC_SHARING_EXCLUSIVE);

  stage_init (&stage, 10, 0);
  item.max_age_ms = 60000;
  fsc_cache_open (stage.cache, 0, &item, &busy, leased, &busy, 0);
  finish_with (&stage, begin (&stage), make_device_handle (), FSC_COHERENCE_CHECKED, 0);
  g_assert_cmpuint (counters (&stage)->handles, ==, 1);
  fsc_cache_open (stage.cache, 0, &item, &busy, leased, &busy, 0);
  g_assert_cmpuint (busy.n_answers, ==, 2);
  fsc_cache_open (stage.cache, 0, &item, &busy, leased, &busy, 1);
  g_assert_cmpuint (busy.n_answers, ==, 3);
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);
  fsc_cache_open (stage.cache, 0, &item, &busy, leased, &busy, 1);
  serve (&stage, "1");
  g_assert_cmpuint (busy.n_answers, ==, 4);
  g_assert_cmpuint (counters (&stage)->entries, ==, 0);
  stage_clear (&stage);
}

/* The model: a hundred thousand steps at random */

#define N_SOURCES 30
#define MODEL_ROOM 24

/* What open() would give now; each change makes another version. */
typedef struct
{
  guint version;
  gboolean exists;
  FscKind kind;
  FscCoherence coherence;
  guint32 ttl_ms;
  gboolean is_held;
} Source;

typedef struct
{
  Stage stage; /* first */
  GRand *random;
  Source sources[N_SOURCES];
  GArray *ended;     /* version -> when it was replaced, or G_MAXINT64 */
  GPtrArray *open;   /* of Request: not answered */
  GPtrArray *leases; /* of Lease */
  GQueue running;    /* of FscJob: begun */
  char clients[3];
  guint depth; /* of answers within answers */
  guint64 n_asked, n_given, n_passed, n_cancelled, n_failed, n_unasked;
  guint64 n_changed, n_errors;
} Model;

typedef struct
{
  Model *model;
  FscWaiter *waiter;
  guint source;
  gint64 at, allowed;
  FscSharing sharing;
  gboolean is_answered, is_kept;
} Request;

typedef struct
{
  guint64 lease;
  gpointer client;
  FscHandle *handle; /* a reference: no other gets its address */
} Lease;

static guint
pick (Model *model, guint n)
{
  return (guint) g_rand_int_range (model->random, 0, (gint32) n);
}

static void
change_source (Model *model, guint i)
{
  Source *source = &model->sources[i];
  gint64 never = G_MAXINT64;

  if (model->ended->len == 0)
    g_array_append_val (model->ended, never); /* no source has version 0 */
  g_array_index (model->ended, gint64, source->version) = model->stage.time;
  source->version = model->ended->len;
  g_array_append_val (model->ended, never);
  source->exists = pick (model, 10) != 0;
  source->kind = pick (model, 6) == 0 ? FSC_KIND_DIRECTORY : FSC_KIND_REGULAR;
  model->stage.time++;
}

static void
give_back (Model *model, guint i, gboolean discard)
{
  Lease *lease = model->leases->pdata[i];

  fsc_cache_give_back (model->stage.cache, lease->lease, &model->clients[0] - 1, discard);
  fsc_cache_give_back (model->stage.cache, lease->lease, lease->client, discard);
  fsc_handle_unref (lease->handle);
  g_free (lease);
  g_ptr_array_remove_index_fast (model->leases, i);
}

static void step (Model *model, gboolean is_within);

static void
check_handle (Request *request, const FscAnswer *answer)
{
  Model *model = request->model;
  guint version;

  /* The right resource, as it was at some time since the request, less what it allows. */
  g_assert_cmpuint (answer->handle->validator_length, ==, 2 * sizeof (guint));
  memcpy (&version, answer->handle->validator, sizeof version);
  g_assert_cmpmem (answer->handle->validator + sizeof version, sizeof (guint), &request->source,
                   sizeof (guint));
  g_assert_cmpint (g_array_index (model->ended, gint64, version), >=,
                   request->at - request->allowed);

  for (guint i = 0; i < model->leases->len; i++)
    g_assert_true (((Lease *) model->leases->pdata[i])->handle != answer->handle);
  g_assert_cmpint (answer->lease != 0, ==,
                   request->sharing == FSC_SHARING_EXCLUSIVE
                       && answer->source != FSC_SOURCE_PASSED);
  if (answer->source == FSC_SOURCE_PASSED)
    model->n_passed++;
  else
    g_assert_true (request->is_kept);
}

static void
model_answered (const FscAnswer *answer, gpointer data, guint index)
{
  Request *request = data;
  Model *model = request->model;

  g_assert_false (request->is_answered);
  request->is_answered = TRUE;
  g_assert_cmpuint (index, ==, request->source);
  if (request->waiter != NULL)
    g_ptr_array_remove_fast (model->open, request);
  if (answer->handle != NULL)
    {
      check_handle (request, answer);
      model->n_given++;
      if (answer->lease != 0)
        {
          Lease *lease = g_new (Lease, 1);

          *lease = (Lease){ answer->lease, &model->clients[index % 3],
                            fsc_handle_ref (answer->handle) };
          g_ptr_array_add (model->leases, lease);
        }
    }
  else
    {
      g_assert_nonnull (answer->text);
      model->n_failed++;
    }
  if (request->waiter != NULL)
    g_free (request);
  if (model->depth == 0 && pick (model, 8) == 0)
    step (model, TRUE);
}

static void
model_ask (Model *model)
{
  static const char *const spellings[] = { "file:///dir/", "file:/dir/", "file:///dir/./" };
  Request *request = g_new0 (Request, 1);
  FscItem item = { 0 };
  g_autofree char *uri = NULL;
  FscWaiter *waiter;

  request->model = model;
  request->source = pick (model, pick (model, 2) == 0 ? N_SOURCES : 5);
  uri = g_strdup_printf ("%s%u", spellings[pick (model, G_N_ELEMENTS (spellings))],
                         request->source);
  item = make_item (uri, (FscSharing) (pick (model, 5) / 2));
  if (pick (model, 10) == 0)
    item.options = 0;
  if (pick (model, 10) == 0)
    item.flags = O_RDWR;
  else if (pick (model, 6) == 0)
    item.flags = O_PATH;
  if (pick (model, 4) == 0)
    item.max_age_ms = 1 + pick (model, 50);
  if (pick (model, 8) == 0)
    item.options |= FSC_OPTION_REVALIDATE;
  request->sharing = item.sharing;
  request->at = model->stage.time;
  request->is_kept
      = item.flags != O_RDWR
        && (item.sharing != FSC_SHARING_INDEPENDENT || (item.options & FSC_OPTION_REOPENS) != 0);
  if ((item.options & FSC_OPTION_REVALIDATE) == 0)
    request->allowed
        = 1000 * (gint64) MAX (item.max_age_ms, model->sources[request->source].ttl_ms);
  model->n_asked++;
  model->stage.time++;
  waiter = fsc_cache_open (model->stage.cache, request->source % 2, &item,
                           &model->clients[request->source % 3], model_answered, request,
                           request->source);
  if (waiter == NULL)
    {
      g_assert_true (request->is_answered);
      g_free (request);
      return;
    }
  request->waiter = waiter;
  g_ptr_array_add (model->open, request);
}

/* Of the source that a URI names. */
static guint
get_number (FscBytes uri)
{
  g_autofree char *text = g_strndup (uri.data, uri.length);

  return (guint) g_ascii_strtoull (text + strlen ("file:///dir/"), NULL, 10);
}

static void
model_begin (Model *model)
{
  FscJob *job = g_queue_pop_nth (&model->stage.jobs, pick (model, model->stage.jobs.length));
  guint i = get_number (job->item.uri);

  job->begun = model->stage.time++;
  job->provider_data = g_memdup2 (&model->sources[i], sizeof (Source));
  g_queue_push_tail (&model->running, job);
}

static FscHandle *
model_handle (Model *model, const FscJob *job, const Source *seen)
{
  guint validator[2] = { seen->version };
  FscBytes bytes = { (const char *) validator, sizeof validator };
  FscHandle *handle;

  validator[1] = get_number (job->item.uri);
  if (seen->is_held)
    {
      handle = fsc_handle_new_held (model->stage.holder, 1, bytes);
      model->stage.n_held++;
    }
  else
    handle = fsc_handle_new_local (open ("/dev/null", O_RDONLY | O_CLOEXEC), bytes);
  handle->kind = (guint8) seen->kind;
  handle->bytes = 10 + validator[1];
  handle->most_sharing = validator[1] % 7 == 0 ? FSC_SHARING_EXCLUSIVE : FSC_SHARING_INDEPENDENT;
  return handle;
}

static void
model_finish (Model *model)
{
  FscJob *job = g_queue_pop_nth (&model->running, pick (model, model->running.length));
  g_autofree Source *seen = g_steal_pointer (&job->provider_data);
  gboolean is_check = job->item.validator.length > 0;
  FscOutcome outcome = { .text = "it was to be" };

  if (pick (model, 12) == 0)
    {
      outcome.code = pick (model, 2) == 0 ? FSC_CODE_TIMED_OUT : FSC_CODE_OPENER_FAILED;
      outcome.error = EIO;
    }
  else if (!seen->exists)
    {
      outcome.code = FSC_CODE_SYSTEM;
      outcome.error = ENOENT;
    }
  else if (is_check && memcmp (job->item.validator.data, &seen->version, sizeof (guint)) == 0)
    outcome.code = FSC_CODE_UNCHANGED;
  else
    {
      outcome.handle = model_handle (model, job, seen);
      outcome.coherence = seen->coherence;
      outcome.ttl_ms = seen->ttl_ms;
      model->n_changed += is_check;
    }
  model->n_errors += outcome.code != FSC_CODE_OK && outcome.code != FSC_CODE_UNCHANGED;
  model->stage.time++;
  fsc_cache_finish (model->stage.cache, job, &outcome);
}

static void
model_cancel (Model *model)
{
  Request *request = g_ptr_array_steal_index_fast (model->open, pick (model, model->open->len));

  fsc_cache_cancel (model->stage.cache, request->waiter);
  g_free (request);
  model->n_cancelled++;
}

static void
model_touch (Model *model, FscEntryFunc func, gpointer data)
{
  g_autofree char *uri = g_strdup_printf ("file:///dir/%u", pick (model, N_SOURCES));
  g_autofree char *pattern = g_strdup_printf ("*/%u?", 1 + pick (model, 2));
  gboolean is_pattern = pick (model, 10) == 0;
  const char *name = is_pattern ? pattern : uri;
  FscTarget target = { .uri = { name, strlen (name) }, .is_pattern = is_pattern };

  fsc_cache_foreach (model->stage.cache, pick (model, 2), &target, func, data);
}

/* Something happens. From within an answer, no job may end. */
static void
step (Model *model, gboolean is_within)
{
  guint what = pick (model, 100);
  gboolean pinned = pick (model, 4) == 0;

  model->depth += is_within;
  if (what < 35)
    model_ask (model);
  else if (what < 55 && model->stage.jobs.length > 0)
    model_begin (model);
  else if (what < 75 && model->running.length > 0 && !is_within)
    model_finish (model);
  else if (what < 79 && model->open->len > 0)
    model_cancel (model);
  else if (what < 85 && model->leases->len > 0)
    give_back (model, pick (model, model->leases->len), pick (model, 3) == 0);
  else if (what < 88)
    model_touch (model, drop_entry, NULL);
  else if (what < 90)
    model_touch (model, pin_entry, &pinned);
  else if (what < 94)
    change_source (model, pick (model, N_SOURCES));
  else if (what < 95)
    fsc_cache_sweep (model->stage.cache, pick (model, 40));
  else if (what < 98)
    model->stage.time += pick (model, 40000);
  else if (pick (model, 10) == 0)
    {
      kill_holder (&model->stage);
      if (pick (model, 2) == 0)
        fsc_cache_drop_dead (model->stage.cache);
    }
  model->depth -= is_within;
}

typedef struct
{
  guint64 n, bytes, held, pinned;
} Sum;

static gboolean
add_to_sum (FscCache *cache, FscEntry *entry, gpointer data)
{
  Sum *sum = data;
  FscEntryInfo info;

  fsc_cache_describe (cache, entry, &info);
  sum->n++;
  sum->bytes += 10 + get_number (info.uri);
  sum->held += (info.state & FSC_ENTRY_HELD) != 0;
  sum->pinned += (info.state & FSC_ENTRY_PINNED) != 0;
  return TRUE;
}

static void
check_invariants (Model *model)
{
  const FscCounters *now = counters (&model->stage);
  Sum sum = { 0 };

  for (guint32 credential = 0; credential < 2; credential++)
    fsc_cache_list (model->stage.cache, credential, NULL, 0, add_to_sum, &sum);
  g_assert_cmpuint (sum.n, ==, now->handles);
  g_assert_cmpuint (sum.bytes, ==, now->bytes);
  g_assert_cmpuint (sum.held, ==, now->held);
  g_assert_cmpuint (sum.pinned, <=, now->pinned);
  g_assert_cmpuint (now->handles, <=, MODEL_ROOM);
  g_assert_cmpuint (now->entries, >=, now->handles);
  g_assert_cmpuint (now->entries, <=,
                    now->handles + model->stage.jobs.length + model->running.length);

  g_assert_cmpuint (model->n_asked, ==,
                    model->n_given + model->n_failed + model->n_cancelled + model->open->len);
  g_assert_cmpuint (now->hits + now->misses, ==, model->n_given);
  g_assert_cmpuint (now->passed, ==, model->n_passed);
  g_assert_cmpuint (now->opens + now->checks, ==, model->stage.n_started + model->n_changed);
  g_assert_cmpuint (now->open_errors, ==, model->n_errors);
}

static void
model_end (Model *model)
{
  while (model->stage.jobs.length > 0 || model->running.length > 0)
    {
      if (model->stage.jobs.length > 0)
        model_begin (model);
      model_finish (model);
    }
  check_invariants (model);
  g_assert_cmpuint (model->open->len, ==, 0);
  while (model->leases->len > 0)
    give_back (model, 0, FALSE);
  g_assert_cmpuint (counters (&model->stage)->entries, ==, counters (&model->stage)->handles);
}

static void
test_model (void)
{
  const char *seed = g_getenv ("FSCACHE_TEST_SEED"); /* the same each time, unless it is told */
  Model model = { 0 };

  stage_init (&model.stage, MODEL_ROOM, SECOND);
  model.random = g_rand_new_with_seed (seed != NULL ? (guint32) atoi (seed) : 20240229);
  model.ended = g_array_new (FALSE, FALSE, sizeof (gint64));
  model.open = g_ptr_array_new ();
  model.leases = g_ptr_array_new ();
  g_queue_init (&model.running);
  for (guint i = 0; i < N_SOURCES; i++)
    {
      change_source (&model, i);
      model.sources[i].coherence = i % 10 == 9  ? FSC_COHERENCE_UNCACHED
                                   : i % 3 == 0 ? FSC_COHERENCE_TTL
                                                : FSC_COHERENCE_CHECKED;
      model.sources[i].ttl_ms = i % 3 == 0 && i % 10 != 9 ? 30 : 0;
      model.sources[i].is_held = i % 3 == 0;
    }
  for (guint i = 0; i < 100000; i++)
    {
      step (&model, FALSE);
      check_invariants (&model);
    }
  model_end (&model);
  g_test_message ("%" G_GUINT64_FORMAT " given, %" G_GUINT64_FORMAT " failed, %" G_GUINT64_FORMAT
                  " cancelled, %" G_GUINT64_FORMAT " hits, %" G_GUINT64_FORMAT " evictions",
                  model.n_given, model.n_failed, model.n_cancelled, counters (&model.stage)->hits,
                  counters (&model.stage)->evictions);
  g_rand_free (model.random);
  g_array_unref (model.ended);
  g_ptr_array_unref (model.open);
  g_ptr_array_unref (model.leases);
  stage_clear (&model.stage);
}

/* Tests: watches, with real files and real events. What an opener does with a watch job is done
 * here when the test says so. */

typedef struct
{
  Stage stage;
  char *dir;
  int lock;
  char *file, *uri; /* DIR/a/b/f */
} Wild;

static void
wild_init (Wild *wild, guint64 max_handles)
{
  g_autoptr (GError) error = NULL;
  char *descriptors = fsc_test_list_descriptors ();

  wild->dir = fsc_test_directory_new (&wild->lock);
  g_assert_cmpint (chdir (wild->dir), ==, 0);
  g_mkdir_with_parents ("a/b", 0700);
  g_assert_true (g_file_set_contents ("a/b/f", "f", 1, NULL));
  g_assert_true (g_file_set_contents ("a/b/new", "n", 1, NULL));
  wild->file = g_build_filename (wild->dir, "a/b/f", NULL);
  wild->uri = g_strconcat ("file://", wild->file, NULL);
  stage_init (&wild->stage, max_handles, 0);
  g_free (wild->stage.descriptors);
  wild->stage.descriptors = descriptors;
  wild->stage.watches = fsc_watches_new (fsc_cache_changed, wild->stage.cache, &error);
  g_assert_no_error (error);
}

/* How many watches the kernel has. */
static guint
count_watches (Stage *stage)
{
  g_autofree char *path
      = g_strdup_printf ("/proc/self/fdinfo/%d", fsc_watches_get_fd (stage->watches));
  g_autofree char *content = NULL;
  guint n = 0;

  g_assert_true (g_file_get_contents (path, &content, NULL, NULL));
  for (const char *line = content; (line = strstr (line, "inotify wd:")) != NULL; line++)
    n++;
  return n;
}

static void
wild_clear (Wild *wild)
{
  drop (&wild->stage, "*");
  g_assert_cmpuint (count_watches (&wild->stage), ==, 0);
  g_assert_cmpint (chdir ("/"), ==, 0);
  fsc_test_directory_free (wild->dir, wild->lock);
  g_free (wild->file);
  g_free (wild->uri);
  stage_clear (&wild->stage);
}

/* The one watch job that there is begins. */
static FscJob *
begin_watch (Stage *stage)
{
  FscJob *job = begin (stage);

  g_assert_cmpuint (stage->jobs.length, ==, 0);
  g_assert_true (job->is_watch);
  g_assert_cmpuint (job->item.options, ==, FSC_OPTION_WATCH);
  g_assert_cmpuint (job->item.validator.length, >, 0);
  return job;
}

static void
go_along (Stage *stage, const FscJob *job, FscWay *way)
{
  FscBytes uri = job->item.uri;
  g_autofree char *path
      = g_strndup (uri.data + strlen ("file://"), uri.length - strlen ("file://"));

  g_assert_true (fsc_watcher_go (fsc_watches_get_fd (stage->watches), path, O_RDONLY, false, way));
}

static void
finish_way (Stage *stage, FscJob *job, const FscWay *way)
{
  FscOutcome outcome = { .code = FSC_CODE_UNCHANGED, .steps = way->steps, .n_steps = way->n };

  fsc_cache_finish (stage->cache, job, &outcome);
}

static void
finish_watch (Stage *stage, FscJob *job)
{
  FscWay way;

  go_along (stage, job, &way);
  finish_way (stage, job, &way);
}

/* Asks, which makes no job, or a check that finds nothing changed. Returns how often jobs were
 * started for that. */
static guint
hit (Stage *stage, const char *uri)
{
  guint before = stage->n_started;
  g_autoptr (Asked) asked = ask (stage, uri);

  if (asked->n_answers == 0)
    {
      g_assert_cmpuint (stage->jobs.length, ==, 1);
      serve_unchanged (stage);
    }
  assert_given (asked, FSC_SOURCE_CACHE);
  if (stage->n_started == before)
    g_assert_cmpint (asked->coherence, ==, FSC_COHERENCE_WATCHED);
  return stage->n_started - before;
}

/* Caches it, and has it watched. */
static void
watch_uri (Stage *stage, const char *uri)
{
  cache_uri (stage, uri);
  g_assert_cmpuint (hit (stage, uri), ==, 2);
  finish_watch (stage, begin_watch (stage));
  g_assert_cmpuint (hit (stage, uri), ==, 0);
}

static void
test_watch_hit (void)
{
  Wild wild;
  Stage *stage = &wild.stage;
  FscEntryInfo info;

  wild_init (&wild, 10);
  watch_uri (stage, wild.uri);
  g_assert_cmpuint (counters (stage)->checks, ==, 1);
  stage->time += 5 * SECOND;
  {
    g_autoptr (Asked) asked = ask (stage, wild.uri);

    assert_given (asked, FSC_SOURCE_CACHE);
    g_assert_cmpint (asked->coherence, ==, FSC_COHERENCE_WATCHED);
    g_assert_cmpuint (asked->age_ms, ==, 0);
  }
  info = get_info (stage, wild.uri);
  g_assert_cmpuint (info.coherence, ==, FSC_COHERENCE_WATCHED);
  g_assert_cmpuint (info.checked_ms, ==, 0);
  g_assert_cmpuint (counters (stage)->checks, ==, 1);
  {
    g_autoptr (Asked) asked = ask_with (stage, wild.uri, FSC_OPTION_REVALIDATE, 0);

    g_assert_cmpuint (asked->n_answers, ==, 0); /* who wants a check gets one */
    serve_unchanged (stage);
    assert_given (asked, FSC_SOURCE_CACHE);
    g_assert_cmpuint (stage->jobs.length, ==, 0);
  }
  g_assert_cmpuint (hit (stage, wild.uri), ==, 0);
  wild_clear (&wild);
}

/* What is not checked by a path of its own, or not shared, is not watched. */
static void
test_watch_who (void)
{
  Wild wild;
  Stage *stage = &wild.stage;
  char lessee;

  wild_init (&wild, 10);
  {
    g_autoptr (Asked) ttl = ask (stage, wild.uri), again = NULL;

    finish_with (stage, begin (stage), make_handle ("1"), FSC_COHERENCE_TTL, 1000);
    assert_given (ttl, FSC_SOURCE_OPENED);
    stage->time += 2 * SECOND;
    again = ask (stage, wild.uri);
    serve_unchanged (stage);
    assert_given (again, FSC_SOURCE_CACHE);
  }
  g_assert_cmpuint (stage->jobs.length, ==, 0);
  {
    g_autoptr (Asked) lent = ask_as (stage, FILE_A, FSC_SHARING_EXCLUSIVE, &lessee), again = NULL;

    finish_with (stage, begin (stage), make_device_handle (), FSC_COHERENCE_CHECKED, 0);
    fsc_cache_give_back (stage->cache, lent->lease, &lessee, FALSE);
    again = ask_as (stage, FILE_A, FSC_SHARING_EXCLUSIVE, &lessee);
    if (again->n_answers == 0)
      serve_unchanged (stage);
    assert_given (again, FSC_SOURCE_CACHE);
    g_assert_cmpuint (stage->jobs.length, ==, 0);
    fsc_cache_give_back (stage->cache, again->lease, &lessee, FALSE);
  }
  {
    FscHandle *handle = make_handle ("1");
    g_autoptr (Asked) device = ask (stage, FILE_B);

    handle->kind = FSC_KIND_CHARACTER;
    finish_with (stage, begin (stage), handle, FSC_COHERENCE_CHECKED, 0);
    assert_given (device, FSC_SOURCE_OPENED);
  }
  g_assert_cmpuint (hit (stage, FILE_B), ==, 1);
  wild_clear (&wild);
}

static void
test_watch_attributes (void)
{
  Wild wild;
  Stage *stage = &wild.stage;

  wild_init (&wild, 10);
  watch_uri (stage, wild.uri);
  g_assert_cmpint (chmod (wild.file, 0640), ==, 0);
  fsc_watches_read (stage->watches);
  g_assert_cmpuint (get_info (stage, wild.uri).coherence, ==, FSC_COHERENCE_CHECKED);
  {
    /* The check is under way when it is in doubt again, so that says nothing of it. */
    g_autoptr (Asked) asked = ask (stage, wild.uri), late = NULL;
    FscJob *job = begin (stage);

    g_assert_cmpint (chmod ("a", 0711), ==, 0);
    fsc_watches_read (stage->watches);
    late = ask (stage, wild.uri);
    finish_code (stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (asked, FSC_SOURCE_CACHE);
    g_assert_cmpuint (late->n_answers, ==, 0);
    g_assert_cmpuint (get_info (stage, wild.uri).coherence, ==, FSC_COHERENCE_CHECKED);
    serve_unchanged (stage);
    assert_given (late, FSC_SOURCE_CACHE);
  }
  g_assert_cmpuint (hit (stage, wild.uri), ==, 0); /* it has been watched all the time */

  /* A check that nobody made says nothing. */
  g_assert_cmpint (chmod ("a/b", 0711), ==, 0);
  fsc_watches_read (stage->watches);
  {
    g_autoptr (Asked) asked = ask (stage, wild.uri);

    finish_code (stage, begin (stage), FSC_CODE_TIMED_OUT, ETIMEDOUT);
    assert_failed (asked, FSC_CODE_TIMED_OUT, ETIMEDOUT, "provider");
  }
  g_assert_cmpuint (hit (stage, wild.uri), ==, 1);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 0);

  /* It may not be opened any more. */
  g_assert_cmpint (chmod (wild.file, 0), ==, 0);
  fsc_watches_read (stage->watches);
  {
    g_autoptr (Asked) asked = ask (stage, wild.uri);

    finish_code (stage, begin (stage), FSC_CODE_SYSTEM, EACCES);
    assert_failed (asked, FSC_CODE_SYSTEM, EACCES, "provider");
  }
  g_assert_cmpuint (counters (stage)->handles, ==, 0);
  g_assert_cmpuint (count_watches (stage), ==, 0);
  wild_clear (&wild);
}

static void
test_watch_name (void)
{
  Wild wild;
  Stage *stage = &wild.stage;

  wild_init (&wild, 10);
  watch_uri (stage, wild.uri);
  g_assert_cmpint (rename ("a", "c"), ==, 0);
  g_assert_cmpint (rename ("c", "a"), ==, 0);
  fsc_watches_read (stage->watches);
  g_assert_cmpuint (counters (stage)->handles, ==, 1);
  g_assert_cmpuint (count_watches (stage), ==, 0);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2); /* and a watch again */
  finish_watch (stage, begin_watch (stage));
  g_assert_cmpuint (hit (stage, wild.uri), ==, 0);

  fsc_watches_lose (stage->watches);
  g_assert_cmpuint (counters (stage)->handles, ==, 1);
  g_assert_cmpuint (count_watches (stage), ==, 0);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  finish_watch (stage, begin_watch (stage));
  g_assert_cmpuint (hit (stage, wild.uri), ==, 0);
  wild_clear (&wild);
}

static void
test_watch_last_name (void)
{
  Wild wild;
  Stage *stage = &wild.stage;

  wild_init (&wild, 10);
  watch_uri (stage, wild.uri);
  g_assert_cmpint (rename ("a/b/new", wild.file), ==, 0);
  fsc_watches_read (stage->watches);
  g_assert_cmpuint (counters (stage)->handles, ==, 0); /* at once: it may keep space */
  g_assert_cmpuint (counters (stage)->entries, ==, 0);
  g_assert_cmpuint (counters (stage)->invalidations, ==, 1);
  g_assert_cmpuint (count_watches (stage), ==, 0);

  /* What is pinned stays, and is checked. */
  watch_uri (stage, wild.uri);
  g_assert_true (pin (stage, wild.uri, TRUE));
  g_assert_true (g_file_set_contents (wild.file, "g", 1, NULL));
  fsc_watches_read (stage->watches);
  g_assert_cmpuint (counters (stage)->handles, ==, 1);
  g_assert_cmpuint (counters (stage)->pinned, ==, 1);
  {
    g_autoptr (Asked) asked = ask (stage, wild.uri);

    serve (stage, "2");
    assert_given (asked, FSC_SOURCE_OPENED);
  }
  g_assert_cmpuint (counters (stage)->pinned, ==, 1);
  pin (stage, wild.uri, FALSE);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  finish_watch (stage, begin_watch (stage));

  /* So does what is being checked: who waits for it is answered by that. */
  {
    g_autoptr (Asked) asked = ask_with (stage, wild.uri, FSC_OPTION_REVALIDATE, 0), late = NULL;
    FscJob *job = begin (stage);

    g_assert_true (g_file_set_contents (wild.file, "h", 1, NULL));
    fsc_watches_read (stage->watches);
    g_assert_cmpuint (counters (stage)->handles, ==, 1);
    late = ask (stage, wild.uri);
    finish_code (stage, job, FSC_CODE_UNCHANGED, 0);
    assert_given (asked, FSC_SOURCE_CACHE);
    g_assert_cmpuint (late->n_answers, ==, 0);
    job = begin (stage);
    if (job->is_watch) /* the late one is behind it */
      {
        finish_code (stage, job, FSC_CODE_SYSTEM, EEXIST);
        job = begin (stage);
      }
    finish (stage, job, "3");
    assert_given (late, FSC_SOURCE_OPENED);
  }
  wild_clear (&wild);
}

/* The entry gets another handle, or goes, while an opener goes along its path. */
static void
test_watch_under_way (void)
{
  Wild wild;
  Stage *stage = &wild.stage;
  FscJob *first, *second;
  FscWay way;

  wild_init (&wild, 1);
  cache_uri (stage, wild.uri);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  first = begin_watch (stage);
  g_assert_cmpuint (drop (stage, wild.uri), ==, 1);
  finish_watch (stage, first);
  g_assert_cmpuint (count_watches (stage), ==, 0);

  cache_uri (stage, wild.uri);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  first = begin_watch (stage);
  {
    g_autoptr (Asked) asked = ask (stage, wild.uri);

    serve (stage, "2"); /* replaced */
    assert_given (asked, FSC_SOURCE_OPENED);
  }
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2); /* for the new one, while the other is gone */
  second = begin_watch (stage);
  go_along (stage, second, &way);
  finish_watch (stage, first); /* which ends the watches that the second was given, too */
  g_assert_cmpuint (hit (stage, wild.uri), ==, 1);
  finish_way (stage, second, &way);
  g_assert_cmpuint (count_watches (stage), ==, 0);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  first = begin_watch (stage);
  cache_uri (stage, FILE_A); /* evicted */
  g_assert_cmpuint (counters (stage)->evictions, ==, 1);
  finish_watch (stage, first);
  g_assert_cmpuint (count_watches (stage), ==, 0);

  /* Something happens on the way meanwhile. */
  cache_uri (stage, wild.uri);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  first = begin_watch (stage);
  go_along (stage, first, &way);
  g_assert_cmpint (rename ("a", "c"), ==, 0);
  g_assert_cmpint (rename ("c", "a"), ==, 0);
  fsc_watches_read (stage->watches);
  finish_way (stage, first, &way);
  g_assert_cmpuint (count_watches (stage), ==, 0);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2); /* again at once */
  finish_watch (stage, begin_watch (stage));
  g_assert_cmpuint (hit (stage, wild.uri), ==, 0);

  /* A check that began before does not keep a late one waiting, once it is watched. */
  drop (stage, wild.uri);
  cache_uri (stage, wild.uri);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  first = begin_watch (stage);
  {
    g_autoptr (Asked) asked = ask (stage, wild.uri), late = NULL;
    FscJob *check = begin (stage);

    late = ask (stage, wild.uri);
    finish_watch (stage, first);
    g_assert_cmpuint (hit (stage, wild.uri), ==, 0);
    finish_code (stage, check, FSC_CODE_UNCHANGED, 0);
    assert_given (asked, FSC_SOURCE_CACHE);
    assert_given (late, FSC_SOURCE_CACHE);
    g_assert_cmpuint (stage->jobs.length, ==, 0);
  }
  wild_clear (&wild);
}

/* Who cannot be watched is not tried again for half a minute. */
static void
test_watch_pause (void)
{
  Wild wild;
  Stage *stage = &wild.stage;

  wild_init (&wild, 10);
  cache_uri (stage, wild.uri);
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  finish_code (stage, begin_watch (stage), FSC_CODE_SYSTEM, EEXIST);
  for (guint i = 0; i < 29; i++)
    {
      stage->time += SECOND;
      g_assert_cmpuint (hit (stage, wild.uri), ==, 1);
    }
  stage->time += 2 * SECOND;
  g_assert_cmpuint (hit (stage, wild.uri), ==, 2);
  finish_watch (stage, begin_watch (stage));
  g_assert_cmpuint (hit (stage, wild.uri), ==, 0);
  wild_clear (&wild);
}

/* Not more than 32 jobs at a time; the others are for later hits. */
static void
test_watch_jobs (void)
{
  Wild wild;
  Stage *stage = &wild.stage;
  FscJob *jobs[32];

  wild_init (&wild, 100);
  for (guint i = 0; i < 40; i++)
    {
      g_autofree char *name = g_strdup_printf ("%s%u", wild.file, i);
      g_autofree char *uri = g_strdup_printf ("%s%u", wild.uri, i);

      g_assert_true (g_file_set_contents (name, "x", 1, NULL));
      cache_uri (stage, uri);
      g_assert_cmpuint (hit (stage, uri), ==, i < 32 ? 2 : 1);
      if (i < 32)
        jobs[i] = begin_watch (stage);
    }
  finish_watch (stage, jobs[0]);
  for (guint i = 32; i < 40; i++)
    {
      g_autofree char *uri = g_strdup_printf ("%s%u", wild.uri, i);

      g_assert_cmpuint (hit (stage, uri), ==, i == 32 ? 2 : 1);
      if (i == 32)
        jobs[0] = begin_watch (stage);
    }
  for (guint i = 0; i < 32; i++)
    finish_watch (stage, jobs[i]);
  g_assert_cmpuint (fsc_watches_get_counters (stage->watches)->files, ==, 33);
  wild_clear (&wild);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/cache/hit", test_hit);
  g_test_add_func ("/cache/spellings", test_spellings);
  g_test_add_func ("/cache/keys", test_keys);
  g_test_add_func ("/cache/bad-requests", test_bad_requests);
  g_test_add_func ("/cache/changed", test_changed);
  g_test_add_func ("/cache/gone", test_gone);
  g_test_add_func ("/cache/no-verdict", test_no_verdict);
  g_test_add_func ("/cache/single-flight", test_single_flight);
  g_test_add_func ("/cache/failure-to-all", test_failure_to_all);
  g_test_add_func ("/cache/cancel", test_cancel);
  g_test_add_func ("/cache/withdraw", test_withdraw);
  g_test_add_func ("/cache/drop-in-flight", test_drop_in_flight);
  g_test_add_func ("/cache/max-age", test_max_age);
  g_test_add_func ("/cache/ttl", test_ttl);
  g_test_add_func ("/cache/unavailable", test_unavailable);
  g_test_add_func ("/cache/passed", test_passed);
  g_test_add_func ("/cache/uncached", test_uncached);
  g_test_add_func ("/cache/refusals", test_refusals);
  g_test_add_func ("/cache/exclusive", test_exclusive);
  g_test_add_func ("/cache/twins", test_twins);
  g_test_add_func ("/cache/sieve", test_sieve);
  g_test_add_func ("/cache/pins", test_pins);
  g_test_add_func ("/cache/no-room", test_no_room);
  g_test_add_func ("/cache/idle", test_idle);
  g_test_add_func ("/cache/idle-unclaimed", test_idle_unclaimed);
  g_test_add_func ("/cache/cost", test_cost);
  g_test_add_func ("/cache/max-bytes", test_max_bytes);
  g_test_add_func ("/cache/set-limits", test_set_limits);
  g_test_add_func ("/cache/relieve", test_relieve);
  g_test_add_func ("/cache/holder-death", test_holder_death);
  g_test_add_func ("/cache/patterns", test_patterns);
  g_test_add_func ("/cache/list", test_list);
  g_test_add_func ("/cache/busy-callers", test_busy_callers);
  g_test_add_func ("/cache/busy-lessee", test_busy_lessee);
  g_test_add_func ("/cache/model", test_model);
  g_test_add_func ("/cache/watch/hit", test_watch_hit);
  g_test_add_func ("/cache/watch/who", test_watch_who);
  g_test_add_func ("/cache/watch/attributes", test_watch_attributes);
  g_test_add_func ("/cache/watch/name", test_watch_name);
  g_test_add_func ("/cache/watch/last-name", test_watch_last_name);
  g_test_add_func ("/cache/watch/under-way", test_watch_under_way);
  g_test_add_func ("/cache/watch/pause", test_watch_pause);
  g_test_add_func ("/cache/watch/jobs", test_watch_jobs);
  return g_test_run ();
}
