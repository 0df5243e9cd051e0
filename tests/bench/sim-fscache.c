/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the service does: these are the functions of fscache/store.c itself, on handles without a
 * descriptor. What is done here besides is what cache.c does: a hit sets the bit, and a
 * new handle is given to its entry once there is room.
 */
#include "fscache/store.h"
#include "tests/bench/sim.h"

typedef struct
{
  const SimTrace *trace;
  FscStore store;
  FscEntry **entries; /* key -> entry, or NULL */
} Shipping;

static gpointer
fscache_make (const SimTrace *trace, const SimLimits *limits)
{
  Shipping *shipping = g_new0 (Shipping, 1);

  shipping->trace = trace;
  shipping->entries = g_new0 (FscEntry *, trace->n_objects);
  fsc_store_init (&shipping->store);
  fsc_store_set_limits (&shipping->store, limits->max_handles,
                        limits->max_bytes != SIM_NO_LIMIT ? limits->max_bytes : 0);
  return shipping;
}

static void
fscache_remove (Shipping *shipping, guint32 key)
{
  fsc_store_set_handle (&shipping->store, shipping->entries[key], NULL);
  fsc_store_remove (&shipping->store, shipping->entries[key]);
  shipping->entries[key] = NULL;
}

static void
fscache_free (gpointer state)
{
  Shipping *shipping = state;

  for (guint32 key = 0; key < shipping->trace->n_objects; key++)
    if (shipping->entries[key] != NULL)
      fscache_remove (shipping, key);
  fsc_store_clear (&shipping->store);
  g_free (shipping->entries);
  g_free (shipping);
}

static void
fscache_hit (gpointer state, guint32 key)
{
  Shipping *shipping = state;

  shipping->entries[key]->is_visited = TRUE;
}

static void
fscache_insert (gpointer state, guint32 key, guint32 cost)
{
  Shipping *shipping = state;
  char uri[16];
  int length = g_snprintf (uri, sizeof uri, "%u", key);
  FscKey name
      = fsc_store_make_key (&shipping->store, (FscBytes){ uri, (size_t) length }, 0, 0, FALSE);
  FscEntry *entry = fsc_store_add (&shipping->store, &name);
  FscHandle *handle = fsc_handle_new_local (-1, (FscBytes){ 0 });

  handle->bytes = shipping->trace->bytes[key];
  entry->cost_us = cost;
  fsc_store_set_handle (&shipping->store, entry, handle);
  shipping->entries[key] = entry;
}

static guint32
fscache_evict (gpointer state, gboolean for_bytes)
{
  Shipping *shipping = state;
  FscEntry *entry = fsc_store_pick (&shipping->store, for_bytes);
  guint32 key = (guint32) g_ascii_strtoull (entry->key.uri, NULL, 10);

  fscache_remove (shipping, key);
  return key;
}

const SimPolicy sim_fscache = {
  .name = "fscache",
  .title = "what the service does: its own fscache/store.c",
  .make = fscache_make,
  .free = fscache_free,
  .hit = fscache_hit,
  .insert = fscache_insert,
  .evict = fscache_evict,
};
