/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The state of the cache, and what happens to one of its entries, whoever wants it: it gets another
 * handle, is lent or pinned, and goes; those who follow it are told. Part of the cache, and used by
 * nobody else; fsc_cache_give_back(), fsc_cache_set_pinned() and fsc_cache_drop() are in cache.h.
 */
#pragma once

#include "fscache/store.h"

/* What was put under a name. */
typedef struct
{
  FscEntry *entry;
  gint64 ends_at; /* 0: not by time */
} FscNamed;

struct FscCache
{
  FscCacheFuncs provider;
  gpointer provider_data;
  FscLimits limits;
  FscCounters counters;
  FscStore store;
  GPtrArray *stakes;    /* credential -> FscStake, or NULL */
  GHashTable *leases;   /* lease -> FscEntry */
  GHashTable *contents; /* of the handles */
  GHashTable *pools;    /* of FscPool */
  GPtrArray *dirty_pools;
  gint64 pools_due;   /* or 0 */
  gint64 relieved_at; /* when memory was short the last time */
  FscTurnFunc turn_func;
  gpointer turn_data;
  guint n_watch_jobs;
  guint n_nothing; /* entries that stand for what is not there */
  guint64 last_lease;
  GArray *named;          /* of FscNamed, in no order */
  GHashTable *named_lost; /* credential -> when its holder ended the last time */
  gint64 named_due;       /* when the first of them ends; 0: none does */
  guint max_put;          /* names that a user may have */
  gint64 made_at;
};

static inline gint64
fsc_cache_now (FscCache *cache)
{
  return cache->provider.now (cache->provider_data);
}

/* NULL: it is not counted. */
static inline FscStake *
fsc_cache_get_stake (const FscCache *cache, guint32 credential)
{
  return credential < cache->stakes->len ? cache->stakes->pdata[credential] : NULL;
}

static inline FscWatches *
fsc_entry_get_watches (FscCache *cache, const FscEntry *entry)
{
  return cache->provider.get_watches != NULL ? cache->provider.get_watches (
             entry->key.credential, fsc_label_get_uri (entry->label), cache->provider_data)
                                             : NULL;
}

static inline FscGenerations *
fsc_entry_get_generations (FscCache *cache, const FscEntry *entry)
{
  return cache->provider.get_generations != NULL
             ? cache->provider.get_generations (entry->key.credential, cache->provider_data)
             : NULL;
}

static inline gboolean
fsc_entry_is_watched (const FscEntry *entry)
{
  return (entry->watch.node != NULL && entry->doubts == entry->cleared)
         || (entry->handle != NULL && entry->handle->is_put);
}

static inline FscCoherence
fsc_entry_get_coherence (const FscEntry *entry)
{
  return fsc_entry_is_watched (entry) ? FSC_COHERENCE_WATCHED : entry->coherence;
}

static inline guint32
fsc_age_in_ms (gint64 at, gint64 time)
{
  return (guint32) CLAMP ((time - at) / 1000, 0, G_MAXUINT32);
}

/* Whoever keeps what was given from this entry is to keep it no longer. */
void fsc_entry_end_generation (FscCache *cache, const FscEntry *entry);

/* Tells those who follow. */
void fsc_entry_tell (FscCache *cache, FscEntry *entry, FscTurn turn);

/* Gives an entry another handle, which is taken, or none. It is not watched any more. */
void fsc_entry_set_handle (FscCache *cache, FscEntry *entry, FscHandle *handle);

/* The same for what stays watched. */
void fsc_entry_exchange_handle (FscCache *cache, FscEntry *entry, FscHandle *handle);

/* Of what was put: how long it will be there, in milliseconds; 0: it does not go by time. */
guint32 fsc_entry_get_time_left (FscCache *cache, const FscEntry *entry);

/* Lends its handle. Returns the lease. */
guint64 fsc_entry_lend (FscCache *cache, FscEntry *entry, gpointer lessee);

/* Forgets the handle, and the entry if nobody waits for it or follows; who follows is told `turn`.
 */
void fsc_entry_drop (FscCache *cache, FscEntry *entry, FscTurn turn);

/* Forgets an entry without a handle, that nobody waits for or follows. */
void fsc_entry_remove (FscCache *cache, FscEntry *entry);
