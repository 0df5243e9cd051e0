/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is in the cache: all entries, and some of them, for who administers it; see cache.h, of
 * which this is a part. Nobody is served here, and no entry comes into being.
 */
#include "fscache/entry.h"

/* That are looked at, whether they match or not: then others have their turn. A page has room for
 * some 600; where there are other users a tenth of that takes a slice of the loop's turns. */
#define ENTRIES_A_PAGE 1024
#define ENTRIES_A_SLICE 64

GPatternSpec *
fsc_cache_make_pattern (FscBytes text)
{
  g_autofree char *valid = g_utf8_make_valid (text.data, (gssize) text.length);

  return g_pattern_spec_new (valid);
}

guint64
fsc_cache_foreach (FscCache *cache, guint32 credential, const FscTarget *target, FscEntryFunc func,
                   gpointer data)
{
  g_autoptr (GPtrArray) entries = fsc_store_collect (&cache->store, credential, target);

  for (guint i = 0; i < entries->len; i++)
    func (cache, entries->pdata[i], data);
  return entries->len;
}

guint64
fsc_cache_list (FscCache *cache, guint32 credential, const FscTarget *target, guint64 cursor,
                FscPageFunc func, gpointer data)
{
  g_auto (FscMatch) match;
  const FscStake *stake = fsc_cache_get_stake (cache, credential);
  guint left = stake != NULL && stake->shares->is_divided ? ENTRIES_A_SLICE : ENTRIES_A_PAGE;
  FscEntry *entry;

  fsc_match_init (&match, credential, target);
  while ((entry = fsc_store_next (&cache->store, &match, &cursor, &left)) != NULL)
    {
      if (!func (cache, entry, data))
        return cursor;
      cursor++;
    }
  return cursor;
}

void
fsc_cache_describe (FscCache *cache, const FscEntry *entry, FscEntryInfo *info)
{
  const FscContent *content = entry->handle->content;
  FscGenerations *generations = fsc_entry_get_generations (cache, entry);
  gint64 time = fsc_cache_now (cache);

  *info = (FscEntryInfo){
    .uri = fsc_label_get_uri (entry->label),
    .hits = entry->hits,
    .age_ms = fsc_age_in_ms (entry->opened_at, time),
    .idle_ms = fsc_age_in_ms (entry->used_at, time),
    .generation = generations != NULL ? fsc_generations_name (generations, entry->slot) : 0,
    .checked_ms = fsc_entry_is_watched (entry) ? 0 : fsc_age_in_ms (entry->checked_at, time),
    .ttl_ms = entry->handle->is_put                   ? fsc_entry_get_time_left (cache, entry)
              : entry->coherence == FSC_COHERENCE_TTL ? entry->ttl_ms
                                                      : 0,
    .cost_us = entry->cost_us,
    .flags = entry->key.flags,
    .state = (entry->is_pinned ? FSC_ENTRY_PINNED : 0)
             | (entry->handle->holder != NULL ? FSC_ENTRY_HELD : 0)
             | (entry->lease != 0 ? FSC_ENTRY_LENT : 0)
             | (fsc_handle_is_nothing (entry->handle) ? FSC_ENTRY_NEGATIVE : 0),
    .mount_id = entry->handle->mount_id,
    .kind = entry->handle->kind,
    .coherence = fsc_entry_get_coherence (entry),
    .sharing = entry->key.is_exclusive ? FSC_SHARING_EXCLUSIVE : FSC_SHARING_SHARED,
  };
  if (content != NULL)
    info->content = content->info;
}

guint64
fsc_cache_drop_mount (FscCache *cache, guint32 mount_id, GPtrArray *holders)
{
  guint64 n = 0;

  for (guint i = 0; i < cache->store.slots->len; i++)
    {
      FscEntry *entry = cache->store.slots->pdata[i];

      if (entry == NULL || entry->handle == NULL || entry->handle->mount_id != mount_id
          || entry->handle->is_put)
        continue;
      n++;
      if (entry->handle->holder != NULL)
        g_ptr_array_add (holders, entry->handle->holder);
      fsc_entry_tell (cache, entry, FSC_TURN_RELEASED);
      fsc_cache_drop (cache, entry);
    }
  return n;
}

void
fsc_cache_drop_dead (FscCache *cache)
{
  for (guint i = 0; i < cache->store.slots->len; i++)
    {
      FscEntry *entry = cache->store.slots->pdata[i];

      if (entry != NULL && entry->handle != NULL && !fsc_handle_is_alive (entry->handle))
        fsc_cache_drop (cache, entry);
    }
}
