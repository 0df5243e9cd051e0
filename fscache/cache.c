/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who asks, who waits for what, and what is answered; see cache.h. The entries are kept in store.c.
 */
#include "fscache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fscache/answer.h"
#include "fscache/room.h"
#include "protocol/uri.h"

/* The flags that make a handle another one. All others belong to the reopen. */
#define VARIANT_FLAGS ((guint32) (O_PATH | O_DIRECTORY | O_NOFOLLOW))

/* Flags that say nothing about a shared description opened for reading. */
#define NEUTRAL_FLAGS ((guint32) (O_CLOEXEC | O_NOCTTY | O_LARGEFILE | O_NONBLOCK))

#define WRITING_FLAGS                                                                              \
  ((guint32) (O_WRONLY | O_RDWR | O_CREAT | O_EXCL | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)))

/* Flags that the kernel allows to the owner alone, and says so before it says what else is wrong.
 */
#define OWNER_FLAGS ((guint32) O_NOATIME)

/* Who cannot be watched is tried again after this time: watches may have become free. */
#define WATCH_PAUSE (30 * G_USEC_PER_SEC)

/* Watching is for later: so many jobs of it at once leave the lanes to those who wait. */
#define WATCH_JOBS_MAX 32

/* What is not there may take this part of the places for handles. */
#define NOTHING_SHARE 8

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

static void maybe_watch (FscCache *cache, FscEntry *entry);

/* Puts a new handle into the entry and gives it to who waits. An exclusive one can serve only one;
 * nobody else ever waits for its job. */
static void
finish_opened (FscCache *cache, FscJob *job, FscOutcome *outcome)
{
  FscEntry *entry = job->entry;
  gboolean keep = outcome->coherence != FSC_COHERENCE_UNCACHED;

  if (entry->handle != NULL)
    {
      cache->counters.invalidations += !fsc_handle_is_nothing (entry->handle)
                                       && !fsc_handle_is_same (entry->handle, outcome->handle);
      fsc_entry_set_handle (cache, entry, NULL);
    }
  if (keep && !fsc_cache_make_room (cache, 1, outcome->handle->bytes))
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
    maybe_watch (cache, entry);
  fsc_answer_waiters (cache, job, entry, keep ? FSC_SOURCE_OPENED : FSC_SOURCE_PASSED);
  if (!keep)
    fsc_entry_set_handle (cache, entry, NULL);
}

/* An entry that is asked for again is worth a watch: from then on it is not checked any more. */
static void
maybe_watch (FscCache *cache, FscEntry *entry)
{
  FscWatches *watches = fsc_entry_get_watches (cache, entry);
  FscHandle *handle = entry->handle;
  FscItem item = { .flags = entry->key.flags, .options = FSC_OPTION_WATCH };
  FscJob *job;

  if (watches == NULL || entry->coherence != FSC_COHERENCE_CHECKED || entry->key.is_exclusive
      || entry->watch.node != NULL || entry->watch_job != NULL
      || (handle->kind != FSC_KIND_REGULAR && handle->kind != FSC_KIND_DIRECTORY
          && !fsc_handle_is_nothing (handle))
      || (cache->n_watch_jobs >= WATCH_JOBS_MAX && entry->interests == NULL)
      || fsc_cache_now (cache) < entry->watch_after)
    return;
  job = fsc_job_new (&item, fsc_label_get_uri (entry->label), entry->key.credential,
                     fsc_cache_now (cache));
  fsc_job_set_validator (job, handle);
  job->entry = entry;
  job->is_watch = TRUE;
  job->sequence = fsc_watches_get_sequence (watches);
  entry->watch_job = job;
  cache->n_watch_jobs++;
  cache->provider.start (job, cache->provider_data);
}

static gboolean
is_confirmed (const FscEntry *entry, const FscOutcome *outcome)
{
  return outcome->n_steps > 0
         && (fsc_handle_is_nothing (entry->handle)
                 ? outcome->code == FSC_CODE_SYSTEM && outcome->error == entry->handle->error
                 : outcome->code == FSC_CODE_UNCHANGED);
}

/* Who follows asks again; if it has changed just now, it is to be watched as it is then. */
static gint64
get_watch_after (FscCache *cache, const FscEntry *entry, const FscOutcome *outcome)
{
  gboolean is_soon
      = entry->interests != NULL && (outcome->n_steps > 0 || !fsc_outcome_is_verdict (outcome));

  return is_soon ? 0 : fsc_cache_now (cache) + WATCH_PAUSE;
}

/* It was looked at after the last watch had been added: from then on, any doubt is an event. */
static void
finish_watch (FscCache *cache, FscJob *job, const FscOutcome *outcome)
{
  FscWatches *watches = cache->provider.get_watches (job->credential, cache->provider_data);
  FscEntry *entry = job->entry;
  gboolean is_good = entry != NULL && is_confirmed (entry, outcome);

  cache->n_watch_jobs--;
  if (outcome->handle != NULL)
    fsc_handle_unref (outcome->handle);
  if (is_good)
    fsc_watches_add (watches, &entry->watch, outcome->steps, outcome->n_steps, job->sequence);
  else
    fsc_watches_forget (watches, outcome->steps, outcome->n_steps);
  if (entry != NULL)
    {
      entry->watch_job = NULL;
      entry->cleared = entry->doubts;
      if (!is_good)
        entry->watch_after = get_watch_after (cache, entry, outcome);
      fsc_entry_tell (cache, entry, FSC_TURN_SETTLED);
      if (fsc_handle_is_nothing (entry->handle) && entry->watch.node == NULL
          && fsc_entry_is_evictable (entry))
        fsc_cache_drop (cache, entry);
    }
  fsc_job_free (job);
}

/* The check under way has found what there was. That clears all doubts that it knew of. */
static void
entry_confirm (FscCache *cache, FscEntry *entry)
{
  entry->checked_at = entry->flight->begun;
  if (entry->flight->doubts == entry->doubts)
    entry->cleared = entry->doubts;
  maybe_watch (cache, entry);
}

/* Who follows what this user may not open any more is told by the watch, which was added while the
 * user might, when that ends; another one could not be added. */
static gboolean
keep_denial (FscCache *cache, FscEntry *entry, const FscOutcome *outcome)
{
  if (outcome->code != FSC_CODE_SYSTEM || outcome->error != EACCES || entry->interests == NULL
      || entry->is_pinned || entry->watch.node == NULL || entry->flight->doubts != entry->doubts)
    return FALSE;
  fsc_entry_exchange_handle (cache, entry, fsc_handle_new_nothing (EACCES));
  entry->cleared = entry->doubts;
  return TRUE;
}

/* That there is nothing is remembered, and watched when it is asked for again: what can make it
 * untrue is an event in the last directory that there is. Until then, each request tries. */
static void
keep_failure (FscCache *cache, FscEntry *entry, const FscOutcome *outcome)
{
  gboolean was_nothing
      = fsc_handle_is_nothing (entry->handle) && entry->handle->error == outcome->error;

  cache->counters.invalidations += entry->handle != NULL && !fsc_handle_is_nothing (entry->handle);
  if (keep_denial (cache, entry, outcome))
    return;
  if (was_nothing && outcome->error != EACCES)
    {
      entry_confirm (cache, entry);
      return;
    }
  fsc_entry_set_handle (cache, entry, NULL);
  if (outcome->code != FSC_CODE_SYSTEM || (outcome->error != ENOENT && outcome->error != ENOTDIR)
      || fsc_entry_get_watches (cache, entry) == NULL || entry->key.is_exclusive || entry->is_pinned
      || cache->n_nothing >= cache->limits.max_handles / NOTHING_SHARE
      || !fsc_cache_make_room (cache, 1, 0))
    return;
  entry->coherence = FSC_COHERENCE_CHECKED;
  entry->opened_at = entry->used_at = fsc_cache_now (cache);
  entry->checked_at = entry->flight->begun;
  entry->cost_us = 0;
  entry->hits = 0;
  entry->is_visited = FALSE;
  fsc_entry_set_handle (cache, entry, fsc_handle_new_nothing (outcome->error));
  if (entry->interests != NULL)
    {
      entry->watch_after = 0;
      maybe_watch (cache, entry);
    }
}

void
fsc_cache_changed (FscWatch *watch, FscChange change, gpointer data)
{
  FscEntry *entry = (FscEntry *) ((char *) watch - offsetof (FscEntry, watch));
  FscCache *cache = data;

  fsc_entry_end_generation (cache, entry);
  fsc_entry_tell (cache, entry,
                  change == FSC_CHANGE_ATTRIBUTES ? FSC_TURN_ATTRIBUTES
                  : change == FSC_CHANGE_LOST     ? FSC_TURN_LOST
                                                  : FSC_TURN_NAME);
  if (change == FSC_CHANGE_ATTRIBUTES)
    entry->doubts++;
  else if (change == FSC_CHANGE_LAST_NAME && fsc_entry_is_evictable (entry))
    {
      cache->counters.invalidations++;
      fsc_cache_drop (cache, entry);
    }
  /* else the next request checks it. */
}

void
fsc_cache_finish (FscCache *cache, FscJob *job, FscOutcome *outcome)
{
  FscEntry *entry = job->entry;

  if (job->begun == 0)
    job->begun = fsc_cache_now (cache); /* who asks again from within an answer is late */
  if (job->is_watch)
    {
      finish_watch (cache, job, outcome);
      return;
    }
  if (entry == NULL)
    {
      fsc_answer_passed (cache, job, outcome);
      return;
    }

  if (outcome->code == FSC_CODE_OK)
    finish_opened (cache, job, outcome);
  else if (outcome->code == FSC_CODE_UNCHANGED && entry->handle != NULL)
    {
      entry_confirm (cache, entry);
      fsc_answer_waiters (cache, job, entry, FSC_SOURCE_CACHE);
    }
  else if (outcome->code != FSC_CODE_UNCHANGED)
    {
      cache->counters.open_errors++;
      if (fsc_outcome_is_verdict (outcome))
        keep_failure (cache, entry, outcome);
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
      = item->flags & ~(VARIANT_FLAGS | NEUTRAL_FLAGS | (guint32) (O_APPEND | WRITING_FLAGS));

  if (item->sharing == FSC_SHARING_SHARED && (item->flags & WRITING_FLAGS) == 0 && others != 0)
    return "cannot be shared with these flags: a shared handle has no status flags of its own";
  return NULL;
}

static gboolean
has_to_be_passed (const FscItem *item)
{
  return (item->flags & WRITING_FLAGS) != 0
         || (item->sharing == FSC_SHARING_INDEPENDENT
             && ((item->options & FSC_OPTION_REOPENS) == 0 || (item->flags & OWNER_FLAGS) != 0))
         || (item->sharing == FSC_SHARING_EXCLUSIVE
             && (item->flags & ~(VARIANT_FLAGS | (NEUTRAL_FLAGS & ~(guint32) O_NONBLOCK))) != 0);
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
  return fsc_waiter_new (is_due ? &job->waiters : &job->late, who);
}

static FscWaiter *
open_entry (FscCache *cache, const FscKey *key, const FscItem *item, FscEntry *entry,
            const FscWaiter *who)
{
  FscWaiter *waiter;
  FscJob *job;

  if (entry != NULL && entry->handle != NULL && !fsc_handle_is_alive (entry->handle))
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
  job->item.flags &= VARIANT_FLAGS;
  job->item.options &= FSC_OPTION_REVALIDATE;
  waiter = fsc_waiter_new (&job->waiters, who);
  entry_fly (cache, entry, job);
  return waiter;
}

static FscWaiter *
open_passed (FscCache *cache, guint32 credential, const FscItem *item, FscBytes uri,
             const FscWaiter *who)
{
  FscJob *job = fsc_job_new (item, uri, credential, who->since);
  FscWaiter *waiter = fsc_waiter_new (&job->waiters, who);

  cache->counters.opens++;
  cache->provider.start (job, cache->provider_data);
  return waiter;
}

FscWaiter *
fsc_cache_open (FscCache *cache, guint32 credential, const FscItem *item, gpointer lessee,
                FscAnswerFunc func, gpointer data, guint index)
{
  gboolean is_exclusive = item->sharing == FSC_SHARING_EXCLUSIVE;
  guint32 flags = item->flags & VARIANT_FLAGS;
  const char *fault = find_fault (item);
  const FscWaiter who = {
    .func = func,
    .data = data,
    .lessee = lessee,
    .since = fsc_cache_now (cache),
    .max_age_ms = item->max_age_ms,
    .index = index,
    .sharing = (guint8) item->sharing,
    .revalidate = (item->options & FSC_OPTION_REVALIDATE) != 0,
  };
  char canonical[FSC_URI_MAX + 1];
  FscBytes uri = item->uri;
  FscEntry *entry;
  FscKey key;
  int length;

  if (fault != NULL)
    {
      fsc_answer_fault (&who, FSC_CODE_BAD_REQUEST, EINVAL, uri, fault);
      return NULL;
    }

  /* Most requests come with a canonical URI of something that is cached: then it is found as it is.
   */
  key = fsc_store_make_key (&cache->store, uri, credential, flags, is_exclusive);
  entry = has_to_be_passed (item) ? NULL : find_entry (cache, &key);
  if (entry != NULL)
    return open_entry (cache, &key, item, entry, &who);

  length = fsc_uri_canonicalize (uri, canonical, sizeof canonical, &fault);
  if (length < 0)
    {
      fsc_answer_fault (&who, FSC_CODE_BAD_URI, -length, uri, fault);
      return NULL;
    }
  uri = (FscBytes){ canonical, (size_t) length };
  if (has_to_be_passed (item))
    return open_passed (cache, credential, item, uri, &who);

  key = fsc_store_make_key (&cache->store, uri, credential, flags, is_exclusive);
  return open_entry (cache, &key, item, find_entry (cache, &key), &who);
}

/* Following */

void
fsc_cache_set_turn_func (FscCache *cache, FscTurnFunc func, gpointer data)
{
  cache->turn_func = func;
  cache->turn_data = data;
}

guint32
fsc_cache_get_variant (const FscItem *item)
{
  return item->flags & VARIANT_FLAGS;
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
  if (has_to_be_passed (item))
    return "can be watched independent only by who reopens it, without O_NOATIME";
  return NULL;
}

void
fsc_cache_follow (FscCache *cache, guint32 credential, const FscItem *item, FscInterest *interest)
{
  FscKey key = fsc_store_make_key (&cache->store, item->uri, credential,
                                   fsc_cache_get_variant (item), FALSE);
  FscEntry *entry = find_entry (cache, &key);

  if (entry == NULL)
    entry = fsc_store_add (&cache->store, &key);
  interest->entry = entry;
  interest->next = entry->interests;
  entry->interests = interest;
  entry->watch_after = 0;
  if (entry->handle != NULL && entry->flight == NULL)
    maybe_watch (cache, entry);
}

void
fsc_cache_unfollow (FscCache *cache, FscInterest *interest)
{
  FscEntry *entry = interest->entry;
  FscInterest **link = &entry->interests;

  while (*link != interest)
    link = &(*link)->next;
  *link = interest->next;
  *interest = (FscInterest){ 0 };
  if (entry->interests != NULL || entry->flight != NULL)
    return;
  if (entry->handle == NULL)
    fsc_entry_remove (cache, entry);
  else
    fsc_store_settle (&cache->store, entry);
}

FscStanding
fsc_cache_get_standing (FscCache *cache, const FscInterest *interest, guint32 *ttl_ms)
{
  const FscEntry *entry = interest->entry;

  *ttl_ms = entry->handle != NULL && entry->coherence == FSC_COHERENCE_TTL ? entry->ttl_ms : 0;
  if (entry->watch_job != NULL)
    return FSC_STANDING_SETTLING;
  return fsc_entry_is_watched (entry) ? FSC_STANDING_WATCHED : FSC_STANDING_UNWATCHED;
}

/* Life */

FscCache *
fsc_cache_new (const FscProvider *provider, gpointer provider_data, const FscLimits *limits)
{
  FscCache *cache = g_new0 (FscCache, 1);

  cache->provider = *provider;
  cache->provider_data = provider_data;
  cache->limits = *limits;
  fsc_store_init (&cache->store);
  fsc_store_set_limits (&cache->store, limits->max_handles, limits->max_bytes);
  cache->leases = g_hash_table_new (g_int64_hash, g_int64_equal);
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
  fsc_store_clear (&cache->store);
  g_free (cache);
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
  return &cache->counters;
}

const FscLimits *
fsc_cache_get_limits (const FscCache *cache)
{
  return &cache->limits;
}
