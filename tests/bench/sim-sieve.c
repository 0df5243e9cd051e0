/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * SIEVE as the service has it: these are the functions of fscache/store.c itself, on handles
 * without a descriptor. What is done here besides is what cache.c does: a hit sets the bit, and a
 * new handle is given to its entry once there is room.
 */
#include "fscache/store.h"
#include "tests/bench/sim.h"

typedef struct
{
  const SimTrace *trace;
  FscStore store;
  FscEntry **entries; /* key -> entry, or NULL */
} Sieve;

static gpointer
sieve_make (const SimTrace *trace, const SimLimits *limits)
{
  Sieve *sieve = g_new0 (Sieve, 1);

  sieve->trace = trace;
  sieve->entries = g_new0 (FscEntry *, trace->n_objects);
  fsc_store_init (&sieve->store);
  return sieve;
}

static void
sieve_remove (Sieve *sieve, guint32 key)
{
  fsc_store_set_handle (&sieve->store, sieve->entries[key], NULL);
  fsc_store_remove (&sieve->store, sieve->entries[key]);
  sieve->entries[key] = NULL;
}

static void
sieve_free (gpointer state)
{
  Sieve *sieve = state;

  for (guint32 key = 0; key < sieve->trace->n_objects; key++)
    if (sieve->entries[key] != NULL)
      sieve_remove (sieve, key);
  fsc_store_clear (&sieve->store);
  g_free (sieve->entries);
  g_free (sieve);
}

static void
sieve_hit (gpointer state, guint32 key)
{
  Sieve *sieve = state;

  sieve->entries[key]->is_visited = TRUE;
}

static void
sieve_insert (gpointer state, guint32 key, guint32 cost)
{
  Sieve *sieve = state;
  char uri[16];
  int length = g_snprintf (uri, sizeof uri, "%u", key);
  FscKey name = fsc_store_make_key (&sieve->store, (FscBytes){ uri, (size_t) length }, 0, 0, FALSE);
  FscEntry *entry = fsc_store_add (&sieve->store, &name);
  FscHandle *handle = fsc_handle_new_local (-1, (FscBytes){ 0 });

  handle->bytes = sieve->trace->bytes[key];
  entry->cost_us = cost;
  fsc_store_set_handle (&sieve->store, entry, handle);
  sieve->entries[key] = entry;
}

static guint32
sieve_evict (gpointer state, gboolean for_bytes)
{
  Sieve *sieve = state;
  FscEntry *entry = fsc_store_pick (&sieve->store);
  guint32 key = (guint32) g_ascii_strtoull (entry->uri, NULL, 10);

  sieve_remove (sieve, key);
  return key;
}

const SimPolicy sim_sieve = {
  .name = "sieve",
  .title = "SIEVE, by the service's own fscache/store.c",
  .make = sieve_make,
  .free = sieve_free,
  .hit = sieve_hit,
  .insert = sieve_insert,
  .evict = sieve_evict,
};
