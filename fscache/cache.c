/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who asks, and what job that takes; see cache.h. Its other parts, each of which knows those before
 * it and none after: the entries are kept in store.c; entry.c is what happens to one of them, and
 * contents.c to many; room.c lets them go for others; job.c is who waits for what, answer.c what is
 * answered; coherence.c watches; named.c is what clients have put.
 */
#include "fscache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fscache/answer.h"
#include "fscache/coherence.h"
#include "fscache/named.h"
#include "fscache/pool.h"
#include "fscache/room.h"
#include "protocol/uri.h"

/* Flags that say nothing about a shared description opened for reading. */
#define NEUTRAL_FLAGS ((guint32) (O_CLOEXEC | O_NOCTTY | O_LARGEFILE | O_NONBLOCK))

#define WRITING_FLAGS                                                                              \
  ((guint32) (O_WRONLY | O_RDWR | O_CREAT | O_EXCL | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)))

/* Flags that the kernel allows to the owner alone, and says so before it says what else is wrong.
 */
#define OWNER_FLAGS ((guint32) O_NOATIME)

/* Jobs */

/* Starts a job for an entry that has none: a check if it has a handle, else an open. */
static void
entry_fly (FscCache *cache, FscEntry *entry, FscJob *job)
{
  gboolean is_check = entry->handle != NULL && !fsc_handle_is_nothing (entry->handle);

  entry->flight = job;
  job->entry = entry;
  job->doubts = entry->doubts;
  job->begun = 0;
  fsc_job_set_validator (job, is_check ? entry->handle : NULL);
  if (is_check)
    {
      if (entry->coherence == FSC_COHERENCE_TTL)
        job->item.options |= FSC_OPTION_REVALIDATE;
      cache->counters.checks++;
    }
  else
    cache->counters.opens++;
  cache->provider.start (job, cache->provider_data);
}

/* Puts a new handle into the entry and gives it to who waits. An exclusive one can serve only one;
 * nobody else ever waits for its job. */
static void
finish_opened (FscCache *cache, FscJob *job, FscOutcome *outcome)
{
  FscEntry *entry = job->entry;
  gboolean keep = outcome->coherence != FSC_COHERENCE_UNCACHED;

  if (!entry->key.is_exclusive)
    fsc_handle_unite (outcome->handle, cache->contents, entry->key.credential);
  if (entry->handle != NULL)
    {
      cache->counters.invalidations += !fsc_handle_is_nothing (entry->handle)
                                       && !fsc_handle_is_same (entry->handle, outcome->handle);
      fsc_entry_set_handle (cache, entry, NULL);
    }
  if (keep
      && !fsc_cache_make_room (cache, entry->key.credential, 1,
                               fsc_handle_get_more_bytes (outcome->handle)))
    keep = FALSE;
  cache->counters.opens += job->item.validator.length > 0; /* it was to be a check only */

  entry->coherence = outcome->coherence;
  entry->ttl_ms = outcome->ttl_ms;
  entry->opened_at = entry->used_at = fsc_cache_now (cache);
  entry->checked_at = job->begun;
  entry->cost_us = (guint32) CLAMP (entry->opened_at - job->begun, 0, G_MAXUINT32);
  entry->hits = 0;
  entry->is_visited = FALSE;
  fsc_entry_set_handle (cache, entry, g_steal_pointer (&outcome->handle));
  entry->watch_after = 0; /* what could not be watched was something else */
  if (keep && entry->interests != NULL)
    fsc_coherence_watch (cache, entry);
  fsc_answer_waiters (cache, job, entry, keep ? FSC_SOURCE_OPENED : FSC_SOURCE_PASSED);
  if (!keep)
    fsc_entry_set_handle (cache, entry, NULL);
}

static void
tell_progress (FscCache *cache, const GQueue *waiters, const FscProgress *progress)
{
  for (const GList *l = waiters->head; l != NULL; l = l->next)
    {
      const FscWaiter *waiter = l->data;

      if (waiter->wants_progress)
        cache->provider.tell_progress (waiter->data, waiter->index, progress);
    }
}

static void
set_memory (FscCache *cache, FscJob *job, guint64 memory)
{
  FscStake *stake = fsc_cache_get_stake (cache, job->credential);

  cache->counters.making += memory - job->memory;
  if (stake != NULL)
    {
      fsc_stake_charge (stake, FSC_SHARE_BYTES, memory);
      fsc_stake_discharge (stake, FSC_SHARE_BYTES, job->memory);
    }
  job->memory = memory;
}

/* What a job makes is too much. Nobody waits for it then, so its opener need not go on. */
static void
refuse_memory (FscCache *cache, FscJob *job)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *share = fsc_cache_explain_share (cache, job->credential, FSC_SHARE_BYTES, 0);
  g_autofree char *text
      = share != NULL
            ? g_strdup_printf ("cannot make the content of %s: %s",
                               fsc_uri_abbreviate (job->item.uri, name), share)
            : g_strdup_printf ("cannot make the content of %s: [cache] max-bytes=%" G_GUINT64_FORMAT
                               " is reached: %" G_GUINT64_FORMAT
                               " bytes are kept and may not go, %" G_GUINT64_FORMAT
                               " are being made",
                               fsc_uri_abbreviate (job->item.uri, name), cache->limits.max_bytes,
                               cache->store.n_bytes, cache->counters.making);
  const FscOutcome outcome = { .code = FSC_CODE_LIMIT, .error = ENOMEM, .text = text };

  cache->counters.open_errors++;
  set_memory (cache, job, 0);
  fsc_answer_failure (&job->waiters, &outcome);
  fsc_answer_failure (&job->late, &outcome);
  if (!fsc_job_is_wanted (job) && cache->provider.withdraw != NULL)
    cache->provider.withdraw (job, cache->provider_data);
}

void
fsc_cache_progress (FscCache *cache, FscJob *job, const FscProgress *progress)
{
  guint64 more = progress->memory > job->memory ? progress->memory - job->memory : 0;

  if (fsc_job_is_wanted (job))
    {
      gboolean has_room = more == 0 || fsc_cache_make_room (cache, job->credential, 0, more);

      set_memory (cache, job, progress->memory);
      if (!has_room)
        refuse_memory (cache, job);
    }
  tell_progress (cache, &job->waiters, progress);
  tell_progress (cache, &job->late, progress);
}

void
fsc_cache_finish (FscCache *cache, FscJob *job, FscOutcome *outcome)
{
  FscEntry *entry = job->entry;

  set_memory (cache, job, 0);
  if (job->begun == 0)
    job->begun = fsc_cache_now (cache); /* who asks again from within an answer is late */
  if (job->is_watch)
    {
      fsc_coherence_finish (cache, job, outcome);
      return;
    }
  if (entry == NULL)
    {
      fsc_answer_passed (cache, job, outcome);
      return;
    }
  if (entry->pool != NULL)
    {
      fsc_pool_finish (cache, job, outcome);
      return;
    }

  if (entry->handle != NULL && !fsc_handle_is_intact (entry->handle))
    fsc_entry_set_handle (cache, entry, NULL);
  if (outcome->code == FSC_CODE_OK)
    finish_opened (cache, job, outcome);
  else if (outcome->code == FSC_CODE_UNCHANGED && entry->handle != NULL)
    {
      if (outcome->has_ttl)
        {
          entry->coherence = outcome->coherence;
          entry->ttl_ms = outcome->ttl_ms;
        }
      fsc_coherence_confirm (cache, entry);
      fsc_answer_waiters (cache, job, entry, FSC_SOURCE_CACHE);
      if (entry->coherence == FSC_COHERENCE_UNCACHED) /* from now on */
        fsc_entry_set_handle (cache, entry, NULL);
    }
  else if (outcome->code != FSC_CODE_UNCHANGED)
    {
      cache->counters.open_errors += outcome->code != FSC_CODE_CANCELLED;
      if (fsc_outcome_is_verdict (outcome))
        fsc_coherence_keep_failure (cache, entry, outcome);
      fsc_answer_failure (&job->waiters, outcome);
      if (outcome->code == FSC_CODE_CANCELLED) /* the mount is to be left alone */
        fsc_answer_failure (&job->late, outcome);
    }
  /* else it was dropped while it was checked: who still waits needs it opened. */

  fsc_answer_late (cache, job, entry);
  if (job->waiters.length > 0)
    {
      job->since = ((FscWaiter *) job->waiters.head->data)->since;
      entry_fly (cache, entry, job);
      return;
    }

  entry->flight = NULL;
  fsc_job_free (job);
  if (entry->handle == NULL)
    fsc_cache_drop (cache, entry);
  else
    fsc_store_settle (&cache->store, entry);
}

/* Requests */

/* Why an item cannot be asked for, or NULL. */
static const char *
find_fault (const FscItem *item)
{
  guint32 others
      = item->flags & ~(FSC_VARIANT_FLAGS | NEUTRAL_FLAGS | (guint32) (O_APPEND | WRITING_FLAGS));

  if (item->sharing == FSC_SHARING_SHARED && (item->flags & WRITING_FLAGS) == 0 && others != 0)
    return "cannot be shared with these flags: a shared handle has no status flags of its own";
  if ((item->options & FSC_OPTION_DIGEST) != 0 && (item->flags & WRITING_FLAGS) != 0)
    return "cannot be written to and have a digest that is known";
  return NULL;
}

static gboolean
has_to_be_passed (const FscItem *item)
{
  return (item->flags & WRITING_FLAGS) != 0
         || (item->sharing == FSC_SHARING_INDEPENDENT
             && ((item->options & FSC_OPTION_REOPENS) == 0 || (item->flags & OWNER_FLAGS) != 0))
         || (item->sharing == FSC_SHARING_EXCLUSIVE
             && (item->flags & ~(FSC_VARIANT_FLAGS | (NEUTRAL_FLAGS & ~(guint32) O_NONBLOCK)))
                    != 0);
}

/* What is read can be reopened here if it is content. */
static gboolean
wants_reopened (FscCache *cache, const FscItem *item)
{
  return item->sharing == FSC_SHARING_INDEPENDENT && (item->options & FSC_OPTION_REOPENS) == 0
         && (item->flags & ~NEUTRAL_FLAGS) == 0 && cache->provider.is_content != NULL
         && cache->provider.is_content (item->uri, cache->provider_data);
}

/* Finds the entry of a key; of exclusive ones, one that is free. */
static FscEntry *
find_entry (FscCache *cache, const FscKey *key)
{
  FscEntry *entry = fsc_store_find (&cache->store, key);

  while (entry != NULL && key->is_exclusive && (entry->lease != 0 || entry->flight != NULL))
    entry = entry->twin;
  return entry;
}

/* Adds who asks to a job that is under way: to be served by it if it has not begun, or not too long
 * ago for this request. */
static FscWaiter *
join (FscJob *job, const FscWaiter *who)
{
  gboolean is_due = job->begun == 0
                    || (!who->revalidate && who->max_age_ms > 0
                        && who->since - job->begun <= (gint64) who->max_age_ms * 1000);

  if (is_due && who->revalidate)
    job->item.options |= FSC_OPTION_REVALIDATE;
  return fsc_waiter_new (job, is_due ? &job->waiters : &job->late, who);
}

static FscWaiter *
open_entry (FscCache *cache, const FscKey *key, const FscItem *item, FscEntry *entry,
            const FscWaiter *who)
{
  FscWaiter *waiter;
  FscJob *job;

  if (entry != NULL && entry->handle != NULL
      && (!fsc_handle_is_alive (entry->handle) || !fsc_handle_is_intact (entry->handle)))
    fsc_entry_set_handle (cache, entry, NULL);

  if (entry != NULL && fsc_answer_at_once (cache, entry, who, who->since))
    return NULL;

  if (entry != NULL && entry->flight != NULL)
    {
      cache->counters.coalesced++;
      return join (entry->flight, who);
    }

  if (entry == NULL)
    entry = fsc_store_add (&cache->store, key);
  job = fsc_job_new (item, fsc_label_get_uri (entry->label), key->credential, who->since);
  job->item.flags &= FSC_VARIANT_FLAGS;
  job->item.options &= FSC_OPTION_REVALIDATE;
  waiter = fsc_waiter_new (job, &job->waiters, who);
  entry_fly (cache, entry, job);
  return waiter;
}

static FscWaiter *
open_passed (FscCache *cache, guint32 credential, const FscItem *item, FscBytes uri,
             const FscWaiter *who)
{
  FscJob *job = fsc_job_new (item, uri, credential, who->since);
  FscWaiter *waiter = fsc_waiter_new (job, &job->waiters, who);

  cache->counters.opens++;
  cache->provider.start (job, cache->provider_data);
  return waiter;
}

static const FscPoolRules *
get_pool_rules (FscCache *cache, FscBytes uri)
{
  return cache->provider.get_pool_rules != NULL
             ? cache->provider.get_pool_rules (uri, cache->provider_data)
             : NULL;
}

FscWaiter *
fsc_cache_open (FscCache *cache, guint32 credential, const FscItem *item, gpointer lessee,
                FscAnswerFunc func, gpointer data, guint index)
{
  gboolean is_exclusive = item->sharing == FSC_SHARING_EXCLUSIVE;
  guint32 flags = item->flags & FSC_VARIANT_FLAGS;
  gboolean is_reopened = wants_reopened (cache, item);
  gboolean is_passed = !is_reopened && has_to_be_passed (item);
  const char *fault = find_fault (item);
  FscWaiter who = {
    .func = func,
    .data = data,
    .lessee = lessee,
    .since = fsc_cache_now (cache),
    .max_age_ms = item->max_age_ms,
    .index = index,
    .sharing = (guint8) item->sharing,
    .is_nonblocking = (item->flags & (guint32) O_NONBLOCK) != 0,
    .revalidate = (item->options & FSC_OPTION_REVALIDATE) != 0,
    .wants_progress = (item->options & FSC_OPTION_PROGRESS) != 0,
    .wants_reopened = is_reopened,
    .wants_digest = (item->options & FSC_OPTION_DIGEST) != 0,
  };
  char canonical[FSC_URI_MAX + 1];
  FscBytes uri = item->uri;
  const FscPoolRules *rules;
  FscEntry *entry;
  FscKey key;
  int length;

  if (who.wants_digest)
    memcpy (who.digest, item->validator.data, sizeof who.digest);
  if (fsc_uri_has_scheme (uri, FSC_PUT_SCHEME))
    {
      fsc_named_answer (cache, credential, item, &who);
      return NULL;
    }
  if (fault == NULL && (item->options & FSC_OPTION_TAKE) != 0)
    fault = "cannot be taken: it was not put there";
  if (fault != NULL)
    {
      fsc_answer_fault (&who, FSC_CODE_BAD_REQUEST, EINVAL, uri, fault);
      return NULL;
    }

  /* Most requests come with a canonical URI of something that is cached: then it is found as it is.
   */
  key = fsc_store_make_key (&cache->store, uri, credential, flags, is_exclusive);
  entry = is_passed ? NULL : find_entry (cache, &key);
  if (entry != NULL && entry->pool == NULL)
    return open_entry (cache, &key, item, entry, &who);

  length = fsc_uri_canonicalize (uri, canonical, sizeof canonical, &fault);
  if (length < 0)
    {
      fsc_answer_fault (&who, FSC_CODE_BAD_URI, -length, uri, fault);
      return NULL;
    }
  uri = (FscBytes){ canonical, (size_t) length };
  rules = get_pool_rules (cache, uri);
  if (rules != NULL)
    {
      key = fsc_store_make_key (&cache->store, uri, credential, 0, TRUE);
      return fsc_pool_open (cache, rules, &key, item, &who);
    }
  if (is_passed)
    return open_passed (cache, credential, item, uri, &who);

  key = fsc_store_make_key (&cache->store, uri, credential, flags, is_exclusive);
  return open_entry (cache, &key, item, find_entry (cache, &key), &who);
}

guint32
fsc_cache_get_variant (const FscItem *item)
{
  return item->flags & FSC_VARIANT_FLAGS;
}

const char *
fsc_cache_find_following_fault (const FscItem *item)
{
  const char *fault = find_fault (item);

  if (fault != NULL)
    return fault;
  if (item->sharing == FSC_SHARING_EXCLUSIVE)
    return "cannot be watched and lent: watch it shared, or independent";
  if ((item->flags & WRITING_FLAGS) != 0)
    return "cannot be watched with flags that may write";
  if ((item->options & FSC_OPTION_TAKE) != 0)
    return "cannot be watched and taken";
  if (has_to_be_passed (item))
    return "can be watched independent only by who reopens it, without O_NOATIME";
  return NULL;
}

/* Life */

FscCache *
fsc_cache_new (const FscCacheFuncs *provider, gpointer provider_data, const FscLimits *limits)
{
  FscCache *cache = g_new0 (FscCache, 1);

  cache->provider = *provider;
  cache->provider_data = provider_data;
  cache->limits = *limits;
  fsc_store_init (&cache->store);
  cache->stakes = g_ptr_array_new ();
  fsc_store_set_limits (&cache->store, limits->max_handles, limits->max_bytes);
  cache->leases = g_hash_table_new (g_int64_hash, g_int64_equal);
  cache->contents = fsc_contents_new ();
  cache->named = g_array_new (FALSE, FALSE, sizeof (FscNamed));
  cache->named_lost = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  cache->made_at = fsc_cache_now (cache);
  cache->pools = fsc_pools_new ();
  cache->dirty_pools = g_ptr_array_new ();
  return cache;
}

void
fsc_cache_free (FscCache *cache)
{
  for (guint i = 0; i < cache->store.slots->len; i++)
    {
      FscEntry *entry = cache->store.slots->pdata[i];

      if (entry != NULL)
        {
          g_assert (entry->flight == NULL);
          fsc_cache_drop (cache, entry);
        }
    }
  g_hash_table_unref (cache->leases);
  g_hash_table_unref (cache->contents);
  g_hash_table_unref (cache->named_lost);
  g_array_unref (cache->named);
  fsc_pools_free (cache);
  fsc_store_clear (&cache->store);
  g_ptr_array_unref (cache->stakes);
  g_free (cache);
}

void
fsc_cache_set_stake (FscCache *cache, guint32 credential, FscStake *stake)
{
  if (credential >= cache->stakes->len)
    g_ptr_array_set_size (cache->stakes, (int) credential + 1);
  cache->stakes->pdata[credential] = stake;
  if (stake->shares->is_divided)
    fsc_store_set_owner (&cache->store, credential, stake->uid);
}

const FscCounters *
fsc_cache_get_counters (FscCache *cache)
{
  cache->counters.handles = cache->store.n_handles - cache->n_nothing;
  cache->counters.negative = cache->n_nothing;
  cache->counters.held = cache->store.n_held;
  cache->counters.bytes = cache->store.n_bytes;
  cache->counters.entries = cache->store.n_entries;
  cache->counters.watching = cache->n_watch_jobs;
  cache->counters.put = cache->named->len;
  return &cache->counters;
}

const FscLimits *
fsc_cache_get_limits (const FscCache *cache)
{
  return &cache->limits;
}
