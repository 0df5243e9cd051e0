/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What happens to one entry of the cache; see entry.h.
 */
#include "fscache/entry.h"

#include "fscache/pool.h"

void
fsc_entry_end_generation (FscCache *cache, const FscEntry *entry)
{
  FscGenerations *generations = fsc_entry_get_generations (cache, entry);

  if (generations != NULL)
    fsc_generations_end (generations, entry->slot);
}

void
fsc_entry_tell (FscCache *cache, FscEntry *entry, FscTurn turn)
{
  for (FscInterest *interest = entry->interests; interest != NULL; interest = interest->next)
    cache->turn_func (interest, turn, cache->turn_data);
}

static void
entry_unwatch (FscCache *cache, FscEntry *entry)
{
  if (entry->watch.node != NULL)
    fsc_watches_remove (fsc_entry_get_watches (cache, entry), &entry->watch);
  if (entry->watch_job != NULL)
    {
      entry->watch_job->entry = NULL;
      fsc_entry_tell (cache, entry, FSC_TURN_SETTLED);
    }
  entry->watch_job = NULL;
  fsc_pool_unguard (cache, entry);
}

/* What was put there is about to go. */
static void
forget_put (FscCache *cache, const FscEntry *entry)
{
  if (!fsc_handle_is_alive (entry->handle))
    g_hash_table_insert (cache->named_lost, GUINT_TO_POINTER (entry->key.credential),
                         g_memdup2 (&(gint64){ fsc_cache_now (cache) }, sizeof (gint64)));
  for (guint i = 0; i < cache->named->len; i++)
    if (g_array_index (cache->named, FscNamed, i).entry == entry)
      {
        g_array_remove_index_fast (cache->named, i);
        return;
      }
}

guint32
fsc_entry_get_time_left (FscCache *cache, const FscEntry *entry)
{
  for (guint i = 0; i < cache->named->len; i++)
    {
      const FscNamed *named = &g_array_index (cache->named, FscNamed, i);

      if (named->entry == entry && named->ends_at != 0)
        return MAX (fsc_age_in_ms (fsc_cache_now (cache), named->ends_at), 1);
    }
  return 0;
}

/* Gives an entry another handle, and charges its user with the difference. */
static void
charge_handle (FscCache *cache, FscEntry *entry, FscHandle *handle)
{
  FscStake *stake = fsc_cache_get_stake (cache, entry->key.credential);
  guint64 handles = cache->store.n_handles, bytes = cache->store.n_bytes;

  fsc_store_set_handle (&cache->store, entry, handle);
  if (stake == NULL)
    return;
  fsc_stake_charge (stake, FSC_SHARE_HANDLES, cache->store.n_handles);
  fsc_stake_discharge (stake, FSC_SHARE_HANDLES, handles);
  fsc_stake_charge (stake, FSC_SHARE_BYTES, cache->store.n_bytes);
  fsc_stake_discharge (stake, FSC_SHARE_BYTES, bytes);
}

void
fsc_entry_exchange_handle (FscCache *cache, FscEntry *entry, FscHandle *handle)
{
  fsc_entry_end_generation (cache, entry);
  if (entry->handle != NULL && entry->handle->is_put)
    forget_put (cache, entry);
  cache->n_nothing -= fsc_handle_is_nothing (entry->handle);
  cache->n_nothing += fsc_handle_is_nothing (handle);
  charge_handle (cache, entry, handle);
}

void
fsc_entry_set_handle (FscCache *cache, FscEntry *entry, FscHandle *handle)
{
  entry_unwatch (cache, entry);
  fsc_entry_exchange_handle (cache, entry, handle);
}

guint64
fsc_entry_lend (FscCache *cache, FscEntry *entry, gpointer lessee)
{
  entry->lease = ++cache->last_lease;
  entry->lessee = lessee;
  g_hash_table_add (cache->leases, &entry->lease);
  return entry->lease;
}

static void
entry_end_lease (FscCache *cache, FscEntry *entry)
{
  if (entry->lease != 0)
    g_hash_table_remove (cache->leases, &entry->lease);
  entry->lease = 0;
  entry->lessee = NULL;
  fsc_store_settle (&cache->store, entry);
}

/* NULL if it is not lent to this lessee (any more). */
static FscEntry *
find_lent (FscCache *cache, guint64 lease, gpointer lessee)
{
  guint64 *found = g_hash_table_lookup (cache->leases, &lease);
  FscEntry *entry
      = found != NULL ? (FscEntry *) ((char *) found - offsetof (FscEntry, lease)) : NULL;

  return entry != NULL && entry->lessee == lessee ? entry : NULL;
}

void
fsc_cache_give_back (FscCache *cache, guint64 lease, gpointer lessee, gboolean discard)
{
  FscEntry *entry = find_lent (cache, lease, lessee);

  if (entry == NULL)
    return;
  entry_end_lease (cache, entry);
  entry->used_at = fsc_cache_now (cache);
  if (entry->handle->is_put) /* its state is what it is lent for */
    {
      fsc_entry_tell (cache, entry, FSC_TURN_NAME);
      return;
    }
  if (discard || !fsc_handle_is_stateful (entry->handle))
    fsc_cache_drop (cache, entry);
  else if (entry->pool != NULL)
    fsc_pool_take_back (cache, entry);
}

void
fsc_cache_take (FscCache *cache, guint64 lease, gpointer lessee)
{
  FscEntry *entry = find_lent (cache, lease, lessee);

  if (entry != NULL && entry->handle->is_put)
    fsc_cache_drop (cache, entry);
  else
    fsc_cache_give_back (cache, lease, lessee, FALSE);
}

static gboolean
entry_set_pinned (FscCache *cache, FscEntry *entry, gboolean pinned)
{
  pinned = pinned != FALSE;
  if (entry->is_pinned == pinned)
    return TRUE;
  if (pinned && cache->counters.pinned + 1 >= cache->limits.max_handles)
    return FALSE;
  entry->is_pinned = pinned;
  if (pinned)
    cache->counters.pinned++;
  else
    cache->counters.pinned--;
  fsc_store_settle (&cache->store, entry);
  return TRUE;
}

gboolean
fsc_cache_set_pinned (FscCache *cache, FscEntry *entry, gboolean pinned)
{
  gboolean is_named = entry->handle != NULL && entry->handle->is_put;

  return entry_set_pinned (cache, entry, pinned || is_named);
}

/* A slot that has no generation left is not used again. */
void
fsc_entry_remove (FscCache *cache, FscEntry *entry)
{
  FscGenerations *generations = fsc_entry_get_generations (cache, entry);
  guint32 slot = entry->slot;

  if (entry->pool != NULL)
    fsc_pool_forget (cache, entry);
  fsc_store_remove (&cache->store, entry);
  if (generations != NULL && fsc_generations_is_retired (generations, slot))
    fsc_store_retire (&cache->store, slot);
}

void
fsc_entry_drop (FscCache *cache, FscEntry *entry, FscTurn turn)
{
  entry_set_pinned (cache, entry, FALSE);
  entry_end_lease (cache, entry);
  if (entry->handle != NULL)
    fsc_entry_tell (cache, entry, fsc_handle_is_alive (entry->handle) ? turn : FSC_TURN_EVICTED);
  fsc_entry_set_handle (cache, entry, NULL);
  if (entry->flight == NULL && entry->interests == NULL)
    fsc_entry_remove (cache, entry);
}

void
fsc_cache_drop (FscCache *cache, FscEntry *entry)
{
  fsc_entry_drop (cache, entry, FSC_TURN_DROPPED);
}
