/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The generation table, and what the cache names in it: which answers may be kept, for how long,
 * and that a name never means something else later.
 */
#include "fscache/generations.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fscache/cache.h"
#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"

#define SLOTS 8
#define TTL_MS 3000
#define MILLISECOND 1000

static void
test_table (void)
{
  char *descriptors = fsc_test_list_descriptors ();
  g_autoptr (FscGenerations) generations = fsc_generations_new (SLOTS, NULL);
  const guint64 first = (G_GUINT64_CONSTANT (3) + 1) << 32 | 1;
  guint32 words[SLOTS];
  int fd;

  g_assert_nonnull (generations);
  fd = fsc_generations_get_fd (generations);
  g_assert_cmpint (read (fd, words, sizeof words), ==, sizeof words);
  for (guint i = 0; i < SLOTS; i++)
    g_assert_cmpuint (words[i], ==, 0);

  fsc_generations_end (generations, 3); /* nothing was named */
  g_assert_cmpuint (fsc_generations_name (generations, 3), ==, first);
  g_assert_cmpuint (fsc_generations_name (generations, 3), ==, first);
  fsc_generations_end (generations, 3);
  g_assert_cmpuint (fsc_generations_name (generations, 3), ==, first + 1);
  g_assert_cmpuint (fsc_generations_name (generations, SLOTS), ==, 0);
  g_assert_cmpuint (fsc_generations_name (generations, G_MAXUINT32), ==, 0);
  fsc_generations_end (generations, SLOTS);
  fsc_generations_end (generations, G_MAXUINT32);

  g_assert_cmpint (pread (fd, words, sizeof words, 0), ==, sizeof words);
  for (guint i = 0; i < SLOTS; i++)
    g_assert_cmpuint (words[i], ==, i == 3 ? 2 : 0);
  fsc_generations_end_all (generations);
  g_assert_cmpuint (fsc_generations_name (generations, 3), ==, first + 2);
  g_assert_cmpuint (fsc_generations_name (generations, 7), ==, G_GUINT64_CONSTANT (8) << 32 | 1);

  g_clear_pointer (&generations, fsc_generations_free);
  fsc_test_assert_descriptors (descriptors);
}

/* No number comes twice: the last one is that of a slot that is retired. */
static void
test_wrap (void)
{
  g_autoptr (FscGenerations) generations = fsc_generations_new (SLOTS, NULL);
  const guint64 slot = G_GUINT64_CONSTANT (1) << 32;

  g_assert_cmpuint (fsc_generations_name (generations, 0), ==, slot | 1);
  fsc_generations_age (generations, 0, G_MAXUINT32 - 3);
  g_assert_cmpuint (fsc_generations_name (generations, 0), ==, slot | (G_MAXUINT32 - 2));
  fsc_generations_end (generations, 0);
  g_assert_cmpuint (fsc_generations_name (generations, 0), ==, slot | (G_MAXUINT32 - 1));
  g_assert_false (fsc_generations_is_retired (generations, 0));
  for (guint i = 0; i < 10; i++)
    {
      fsc_generations_end (generations, 0);
      fsc_generations_end_all (generations);
      g_assert_true (fsc_generations_is_retired (generations, 0));
      g_assert_cmpuint (fsc_generations_name (generations, 0), ==, 0);
    }
}

/* The cache, with a provider that does what the test says */

typedef struct
{
  FscCache *cache;
  FscGenerations *generations;
  gint64 time;
  FscJob *job; /* the last one that was started */
  FscAnswer answer;
  guint n_answers;
} Stage;

static void
start_job (FscJob *job, gpointer data)
{
  ((Stage *) data)->job = job;
}

static gint64
get_time (gpointer data)
{
  return ((Stage *) data)->time;
}

static FscGenerations *
get_generations (guint32 credential, gpointer data)
{
  return ((Stage *) data)->generations;
}

static void
set_up (Stage *stage, gconstpointer data)
{
  const FscCacheFuncs provider
      = { .start = start_job, .now = get_time, .get_generations = get_generations };
  const FscLimits limits = { .max_handles = 100 };

  stage->time = 1000 * G_USEC_PER_SEC;
  stage->generations = fsc_generations_new (SLOTS, NULL);
  stage->cache = fsc_cache_new (&provider, stage, &limits);
}

static void
tear_down (Stage *stage, gconstpointer data)
{
  fsc_cache_free (stage->cache);
  fsc_generations_free (stage->generations);
}

static void
answered (const FscAnswer *answer, gpointer data, guint index)
{
  Stage *stage = data;

  stage->answer = *answer;
  stage->n_answers++;
}

/* Asks, and lets the job, if there is one, bring a handle of this coherence, or say that the one
 * that there is will do. Returns the name that was given. */
static guint64
ask (Stage *stage, const char *uri, FscSharing sharing, FscCode code, FscCoherence coherence)
{
  FscItem item = { .uri = { uri, strlen (uri) },
                   .sharing = sharing,
                   .options = sharing == FSC_SHARING_INDEPENDENT ? FSC_OPTION_REOPENS : 0 };
  FscOutcome outcome = { .code = code, .coherence = coherence, .ttl_ms = TTL_MS };
  guint before = stage->n_answers;
  FscJob *job;

  stage->job = NULL;
  fsc_cache_open (stage->cache, 0, &item, stage, answered, stage, 0);
  job = stage->job;
  if (job != NULL)
    {
      job->begun = stage->time;
      if (code == FSC_CODE_OK)
        {
          outcome.handle = fsc_handle_new_local (open ("/dev/null", O_RDONLY | O_CLOEXEC),
                                                 (FscBytes){ "one", 3 });
          outcome.handle->kind = FSC_KIND_REGULAR;
        }
      fsc_cache_finish (stage->cache, job, &outcome);
    }
  g_assert_cmpuint (stage->n_answers, ==, before + 1);
  g_assert_cmpint (stage->answer.code, ==, FSC_CODE_OK);
  return stage->answer.name;
}

static gboolean
holds (const Stage *stage, guint64 name)
{
  guint32 word;

  g_assert_cmpuint (name, !=, 0);
  g_assert_cmpint (pread (fsc_generations_get_fd (stage->generations), &word, sizeof word,
                          (off_t) ((name >> 32) - 1) * (off_t) sizeof word),
                   ==, sizeof word);
  return word == (guint32) name;
}

#define URI "file:///a"

static void
test_time_to_live (Stage *stage, gconstpointer data)
{
  guint64 name = ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_TTL);

  g_assert_true (holds (stage, name));
  g_assert_cmpuint (stage->answer.lifetime_ms, ==, TTL_MS);
  stage->time += 1000 * MILLISECOND;
  g_assert_cmpuint (ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_TTL), ==, name);
  g_assert_null (stage->job);
  g_assert_cmpuint (stage->answer.lifetime_ms, ==, TTL_MS - 1000);
  g_assert_cmpuint (ask (stage, URI, FSC_SHARING_INDEPENDENT, FSC_CODE_OK, FSC_COHERENCE_TTL), ==,
                    name);

  /* Checked, and still the same: the name is, too. */
  stage->time += 5000 * MILLISECOND;
  g_assert_cmpuint (ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_UNCHANGED, FSC_COHERENCE_TTL), ==,
                    name);
  g_assert_nonnull (stage->job);
  g_assert_cmpuint (stage->answer.lifetime_ms, ==, TTL_MS);

  /* Replaced. */
  stage->time += 5000 * MILLISECOND;
  g_assert_cmpuint (ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_TTL), !=, name);
  g_assert_false (holds (stage, name));
  g_assert_true (holds (stage, stage->answer.name));
}

static void
test_not_named (Stage *stage, gconstpointer data)
{
  g_assert_cmpuint (ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_CHECKED), ==,
                    0);
  g_assert_cmpuint (ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_UNCHANGED, FSC_COHERENCE_CHECKED),
                    ==, 0);
  g_assert_cmpuint (stage->answer.source, ==, FSC_SOURCE_CACHE);
  g_assert_cmpuint (
      ask (stage, "file:///b", FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_UNCACHED), ==, 0);
  g_assert_cmpuint (stage->answer.source, ==, FSC_SOURCE_PASSED);
  g_assert_cmpuint (ask (stage, "file:///c", FSC_SHARING_EXCLUSIVE, FSC_CODE_OK, FSC_COHERENCE_TTL),
                    ==, 0);
  g_assert_cmpuint (stage->answer.lease, !=, 0);
  g_assert_cmpuint (stage->answer.lifetime_ms, ==, 0);
  fsc_cache_give_back (stage->cache, stage->answer.lease, stage, TRUE);
}

static void
drop (FscCache *cache, FscEntry *entry, gpointer data)
{
  fsc_cache_drop (cache, entry);
}

static void
test_dropped (Stage *stage, gconstpointer data)
{
  guint64 names[10];

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      names[i] = ask (stage, i % 2 == 0 ? URI : "file:///b", FSC_SHARING_SHARED, FSC_CODE_OK,
                      FSC_COHERENCE_TTL);
      g_assert_true (holds (stage, names[i]));
      g_assert_cmpuint (names[i] >> 32, ==, names[0] >> 32); /* the slot is used again */
      fsc_cache_foreach (stage->cache, 0, NULL, drop, NULL);
      for (guint k = 0; k <= i; k++)
        g_assert_false (holds (stage, names[k]));
    }
}

/* Entries that have no place in the table, or a slot that is retired, cannot be kept; and such a
 * slot is not used again. */
static void
test_slots_run_out (Stage *stage, gconstpointer data)
{
  for (guint i = 0; i < 2 * SLOTS; i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%u", i);
      guint64 name = ask (stage, uri, FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_TTL);

      g_assert_cmpint (name != 0, ==, i < SLOTS);
    }
  fsc_cache_foreach (stage->cache, 0, NULL, drop, NULL);
}

static void
test_retired (Stage *stage, gconstpointer data)
{
  guint64 name = ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_TTL);
  guint32 slot = (guint32) (name >> 32) - 1;

  fsc_generations_age (stage->generations, slot, G_MAXUINT32 - 2);
  g_assert_true (
      holds (stage, ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_TTL)));
  fsc_cache_foreach (stage->cache, 0, NULL, drop, NULL);
  g_assert_true (fsc_generations_is_retired (stage->generations, slot));
  for (guint i = 0; i < 3; i++)
    {
      name = ask (stage, URI, FSC_SHARING_SHARED, FSC_CODE_OK, FSC_COHERENCE_TTL);
      g_assert_true (holds (stage, name));
      g_assert_cmpuint (name >> 32, ==, slot + 2);
      fsc_cache_foreach (stage->cache, 0, NULL, drop, NULL);
    }
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/generations/table", test_table);
  g_test_add_func ("/generations/wrap", test_wrap);
#define ADD(name, func) g_test_add ("/generations/" name, Stage, NULL, set_up, func, tear_down)
  ADD ("time-to-live", test_time_to_live);
  ADD ("not-named", test_not_named);
  ADD ("dropped", test_dropped);
  ADD ("slots-run-out", test_slots_run_out);
  ADD ("retired", test_retired);
  return g_test_run ();
}
