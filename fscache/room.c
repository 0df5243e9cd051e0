/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Room in the cache: who goes for lack of places, of bytes or of memory, and who for idleness; see
 * room.h and cache.h. Who is first among those that may go is store.c's to say.
 */
#include "fscache/room.h"

/* When memory is short: such a part of those that may go goes at a time, of so many that are looked
 * at (the loop stands still meanwhile: some 20 ms); and if it is short again within this time, not
 * only of those that keep memory by themselves. */
#define RELIEF_SHARE 8
#define RELIEF_MOST 65536
#define RELIEF_AGAIN (10 * G_USEC_PER_SEC)

/* Returns FALSE if there is nobody to go. */
static gboolean
evict (FscCache *cache, FscEntry *entry)
{
  if (entry == NULL)
    return FALSE;
  cache->counters.evictions++;
  fsc_entry_drop (cache, entry, FSC_TURN_EVICTED);
  return TRUE;
}

/* Among all. */
static gboolean
make_room_for_all (FscCache *cache, guint64 handles, guint64 bytes)
{
  guint64 max_bytes = cache->limits.max_bytes > 0 ? cache->limits.max_bytes : G_MAXUINT64;

  max_bytes -= MIN (max_bytes, cache->counters.making);
  if (bytes > max_bytes)
    return FALSE;
  for (;;)
    {
      gboolean for_bytes = bytes > 0 && cache->store.n_bytes > max_bytes - bytes;

      if (!for_bytes && cache->store.n_handles + handles <= cache->limits.max_handles)
        return TRUE;
      if (!evict (cache, fsc_store_pick (&cache->store, for_bytes)))
        return FALSE;
    }
}

/* Among the user's own. */
static gboolean
make_room_in_share (FscCache *cache, guint32 credential, guint64 handles, guint64 bytes)
{
  const FscStake *stake = fsc_cache_get_stake (cache, credential);

  if (stake == NULL || !stake->shares->is_divided)
    return TRUE;
  if (bytes > fsc_stake_get_limit (stake, FSC_SHARE_BYTES))
    return FALSE;
  for (;;)
    {
      gboolean for_bytes = bytes > 0 && !fsc_stake_has_room (stake, FSC_SHARE_BYTES, bytes);

      if (!for_bytes && (handles == 0 || fsc_stake_has_room (stake, FSC_SHARE_HANDLES, handles)))
        return TRUE;
      if (!evict (cache, fsc_store_pick_of (&cache->store, credential, for_bytes)))
        return FALSE;
    }
}

gboolean
fsc_cache_make_room (FscCache *cache, guint32 credential, guint64 handles, guint64 bytes)
{
  return make_room_in_share (cache, credential, handles, bytes)
         && make_room_for_all (cache, handles, bytes);
}

char *
fsc_cache_explain_share (const FscCache *cache, guint32 credential, FscShare share, guint64 more)
{
  const FscStake *stake = fsc_cache_get_stake (cache, credential);

  return stake != NULL && stake->shares->is_divided && !fsc_stake_has_room (stake, share, more)
             ? fsc_stake_explain (stake, share)
             : NULL;
}

void
fsc_cache_sweep (FscCache *cache, guint n)
{
  gint64 time = fsc_cache_now (cache);

  if (cache->limits.idle_time == 0)
    return;
  for (n = (guint) MIN (n, cache->store.n_handles); n > 0; n--)
    {
      FscEntry *entry = fsc_store_sweep (&cache->store);

      if (entry == NULL)
        return;
      if (fsc_entry_is_evictable (entry) && entry->pool == NULL
          && time - entry->used_at > cache->limits.idle_time)
        fsc_entry_drop (cache, entry, FSC_TURN_EVICTED);
    }
}

/* Beside each other: to sort the entries themselves takes three times as long. */
typedef struct
{
  gint64 used_at;
  FscEntry *entry;
} Use;

static int
compare_use (gconstpointer a, gconstpointer b)
{
  gint64 x = ((const Use *) a)->used_at, y = ((const Use *) b)->used_at;

  return (x > y) - (x < y);
}

static GArray *
sort_by_use (const GPtrArray *entries)
{
  GArray *uses = g_array_sized_new (FALSE, FALSE, sizeof (Use), entries->len);

  for (guint i = 0; i < entries->len; i++)
    {
      FscEntry *entry = entries->pdata[i];
      Use use = { entry->used_at, entry };

      g_array_append_val (uses, use);
    }
  g_array_sort (uses, compare_use);
  return uses;
}

guint
fsc_cache_relieve (FscCache *cache)
{
  gint64 time = fsc_cache_now (cache);
  gboolean is_again = cache->relieved_at != 0 && time - cache->relieved_at <= RELIEF_AGAIN;
  g_autoptr (GPtrArray) entries = fsc_store_get_evictable (&cache->store, !is_again, RELIEF_MOST);
  g_autoptr (GArray) uses = NULL;
  guint n;

  if (entries->len == 0 && !is_again)
    {
      g_ptr_array_unref (entries);
      entries = fsc_store_get_evictable (&cache->store, FALSE, RELIEF_MOST);
    }
  cache->relieved_at = time;
  uses = sort_by_use (entries);
  n = (entries->len + RELIEF_SHARE - 1) / RELIEF_SHARE;
  for (guint i = 0; i < n; i++)
    fsc_entry_drop (cache, g_array_index (uses, Use, i).entry, FSC_TURN_EVICTED);
  cache->counters.pressure_evictions += n;
  return n;
}

void
fsc_cache_set_limits (FscCache *cache, const FscLimits *limits)
{
  cache->limits = *limits;
  fsc_store_set_limits (&cache->store, limits->max_handles, limits->max_bytes);
  make_room_for_all (cache, 0, 0);
  while (limits->max_bytes > 0 && cache->store.n_bytes + cache->counters.making > limits->max_bytes)
    if (!evict (cache, fsc_store_pick (&cache->store, TRUE)))
      break;
  fsc_cache_sweep (cache, G_MAXUINT);
}
