/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The cache alone, in this process: how long it takes to find an entry among many, and what an
 * entry costs in memory where there are more than any process may have descriptors. Its provider is
 * a fake one, whose handles are complete but for the descriptor.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fscache/cache.h"
#include "tests/bench/bench.h"
#include "tests/bench/service.h"

#define HITS 1000 /* in one sample: the clock costs as much as one of them */

typedef struct
{
  FscCache *cache;
  FscJob *job; /* under way */
  unsigned n;
  unsigned answers, hits;
  uint64_t random;
} CacheRow;

static void
start_job (FscJob *job, gpointer data)
{
  ((CacheRow *) data)->job = job;
}

static gint64
get_time (gpointer data)
{
  return g_get_monotonic_time ();
}

static const FscCacheFuncs provider = { .start = start_job, .now = get_time };

static void
take_answer (const FscAnswer *answer, gpointer data, guint index)
{
  CacheRow *self = data;

  self->answers += answer->code == FSC_CODE_OK;
  self->hits += answer->source == FSC_SOURCE_CACHE;
}

/* Asks for the resource of that number. Its URI is made here, so that no array of URIs is looked up
 * that a client would not have, either. */
static void
ask (CacheRow *self, unsigned index)
{
  char uri[] = "file:///srv/data/of/some/project/00000000.dat";
  char *digit = strrchr (uri, '.');
  FscItem item = { .uri = { uri, sizeof uri - 1 },
                   .flags = O_RDONLY | O_CLOEXEC,
                   .max_age_ms = UINT32_MAX,
                   .sharing = FSC_SHARING_SHARED };

  for (; index > 0; index /= 10)
    *--digit += index % 10;
  fsc_cache_open (self->cache, 0, &item, self, take_answer, self, 0);
}

/* What the opener of files would have found. */
static void
finish_job (CacheRow *self)
{
  static const char validator[24] = "inode, mount, device";
  FscHandle *handle = fsc_handle_new_local (-1, (FscBytes){ validator, sizeof validator });
  FscOutcome outcome
      = { .code = FSC_CODE_OK, .handle = handle, .coherence = FSC_COHERENCE_CHECKED };

  handle->kind = FSC_KIND_REGULAR;
  self->job->begun = g_get_monotonic_time ();
  fsc_cache_finish (self->cache, g_steal_pointer (&self->job), &outcome);
}

static void
free_cache (void *data)
{
  CacheRow *self = data;

  fsc_cache_free (self->cache);
  g_free (self);
}

static bool
set_up_cache (BenchRow *row, GError **error)
{
  unsigned n = bench_scale (row->bench, row->spec->parameter);
  FscLimits limits = { .max_handles = n };
  double before = bench_get_resident (getpid ());
  CacheRow *self = g_new0 (CacheRow, 1);

  self->cache = fsc_cache_new (&provider, self, &limits);
  self->n = n;
  self->random = BENCH_RANDOM_SEED;
  row->state = self;
  bench_defer (row->bench, free_cache, self);

  for (unsigned i = 0; i < n; i++)
    {
      ask (self, i);
      if (self->job != NULL)
        finish_job (self);
    }

  double after = bench_get_resident (getpid ());

  if (n > 1000 && before > 0)
    bench_add_fact (row->bench, "memory-cache-500000",
                    "resident memory of cache.c, an entry of 500,000", "bytes",
                    (after - before) / n);
  if (self->answers == n && fsc_cache_get_counters (self->cache)->entries == n)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%u of %u opens were answered",
               self->answers, n);
  return false;
}

static bool
run_hits (BenchRow *row, GError **error)
{
  CacheRow *self = row->state;

  self->hits = 0;
  for (unsigned i = 0; i < HITS; i++)
    ask (self, bench_random (&self->random) % self->n);
  if (self->hits == HITS)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%u of %u lookups were hits", self->hits,
               HITS);
  return false;
}

#define CACHE(Name, Title, Baseline, Entries)                                                      \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = HITS, .parameter = Entries,     \
    .set_up = set_up_cache, .run = run_hits                                                        \
  }

const BenchRowSpec bench_rows_cache[] = {
  CACHE ("cache-100", "cache.c alone, one of 100 entries", NULL, 100),
  CACHE ("cache-500000", "cache.c alone, one of 500,000 entries", "cache-100", 500000),
  { 0 },
};
