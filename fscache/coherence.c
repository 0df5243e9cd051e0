/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watched entries, what is not there, and who follows; see coherence.h.
 */
#include "fscache/coherence.h"

#include <errno.h>

#include "fscache/job.h"
#include "fscache/room.h"
#include "protocol/uri.h"

/* Who cannot be watched is tried again after this time: watches may have become free. */
#define WATCH_PAUSE (30 * G_USEC_PER_SEC)

/* Watching is for later: so many jobs of it at once leave the lanes to those who wait. */
#define WATCH_JOBS_MAX 32

/* What is not there may take this part of the places for handles. */
#define NOTHING_SHARE 8

void
fsc_coherence_watch (FscCache *cache, FscEntry *entry)
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
void
fsc_coherence_finish (FscCache *cache, FscJob *job, const FscOutcome *outcome)
{
  FscWatches *watches
      = cache->provider.get_watches (job->credential, job->item.uri, cache->provider_data);
  FscEntry *entry = job->entry;
  gboolean is_good = entry != NULL && is_confirmed (entry, outcome);

  cache->n_watch_jobs--;
  if (outcome->handle != NULL)
    fsc_handle_unref (outcome->handle);
  if (is_good)
    {
      fsc_watches_add (watches, &entry->watch, outcome->steps, outcome->n_steps, job->sequence);
      entry->watch.hears_content = entry->handle->content != NULL;
    }
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

void
fsc_coherence_confirm (FscCache *cache, FscEntry *entry)
{
  entry->checked_at = entry->flight->begun;
  if (entry->flight->doubts == entry->doubts)
    entry->cleared = entry->doubts;
  fsc_coherence_watch (cache, entry);
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

void
fsc_coherence_keep_failure (FscCache *cache, FscEntry *entry, const FscOutcome *outcome)
{
  gboolean was_nothing
      = fsc_handle_is_nothing (entry->handle) && entry->handle->error == outcome->error;

  cache->counters.invalidations += entry->handle != NULL && !fsc_handle_is_nothing (entry->handle);
  if (keep_denial (cache, entry, outcome))
    return;
  if (was_nothing && outcome->error != EACCES)
    {
      fsc_coherence_confirm (cache, entry);
      return;
    }
  fsc_entry_set_handle (cache, entry, NULL);
  if (outcome->code != FSC_CODE_SYSTEM || (outcome->error != ENOENT && outcome->error != ENOTDIR)
      || fsc_entry_get_watches (cache, entry) == NULL || entry->key.is_exclusive || entry->is_pinned
      || cache->n_nothing >= cache->limits.max_handles / NOTHING_SHARE
      || !fsc_cache_make_room (cache, entry->key.credential, 1, 0))
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
      fsc_coherence_watch (cache, entry);
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
fsc_cache_set_turn_func (FscCache *cache, FscTurnFunc func, gpointer data)
{
  cache->turn_func = func;
  cache->turn_data = data;
}

void
fsc_cache_follow (FscCache *cache, guint32 credential, const FscItem *item, FscInterest *interest)
{
  FscKey key = fsc_store_make_key (&cache->store, item->uri, credential,
                                   item->flags & FSC_VARIANT_FLAGS, FALSE);
  FscEntry *entry = fsc_store_find (&cache->store, &key);

  if (entry == NULL)
    entry = fsc_store_add (&cache->store, &key);
  interest->entry = entry;
  interest->next = entry->interests;
  entry->interests = interest;
  entry->watch_after = 0;
  if (entry->handle != NULL && entry->flight == NULL)
    fsc_coherence_watch (cache, entry);
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
  return fsc_entry_is_watched (entry)
                 || fsc_uri_has_scheme (fsc_label_get_uri (entry->label), FSC_PUT_SCHEME)
             ? FSC_STANDING_WATCHED
             : FSC_STANDING_UNWATCHED;
}
