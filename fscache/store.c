/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The entries of the cache; see store.h.
 */
#include "fscache/store.h"

#include <fcntl.h>
#include <string.h>

#include "protocol/uri.h"

/* Keys */

static guint64
mix (guint64 hash, guint64 word)
{
  hash = (hash ^ word) * 0x9FB21C651E98DF25u;
  return hash ^ hash >> 32;
}

static guint64
read_word (const char *bytes, size_t length)
{
  guint64 word = 0;

  memcpy (&word, bytes, length);
  return word;
}

/* Word by word; the last one overlaps the one before it. */
static guint32
hash_bytes (const char *bytes, size_t length, guint32 seed)
{
  guint64 hash = seed ^ (length * 0x9E3779B97F4A7C15u);

  if (length < sizeof (guint64))
    return (guint32) mix (hash, read_word (bytes, length));
  for (size_t i = 0; i + sizeof (guint64) < length; i += sizeof (guint64))
    hash = mix (hash, read_word (bytes + i, sizeof (guint64)));
  return (guint32) mix (hash, read_word (bytes + length - sizeof (guint64), sizeof (guint64)));
}

static guint
key_hash (gconstpointer data)
{
  return ((const FscKey *) data)->hash;
}

static gboolean
key_equal (gconstpointer a, gconstpointer b)
{
  const FscKey *x = a, *y = b;

  return x->hash == y->hash && x->flags == y->flags && x->credential == y->credential
         && x->is_exclusive == y->is_exclusive && x->uri_length == y->uri_length
         && memcmp (x->uri, y->uri, x->uri_length) == 0;
}

FscKey
fsc_store_make_key (const FscStore *store, FscBytes uri, guint32 credential, guint32 flags,
                    gboolean is_exclusive)
{
  return (FscKey){
    .uri = uri.data,
    .uri_length = (guint16) uri.length,
    .hash = hash_bytes (uri.data, uri.length, store->seed + flags + credential),
    .credential = credential,
    .flags = flags,
    .is_exclusive = is_exclusive != FALSE,
  };
}

/* Life */

void
fsc_store_init (FscStore *store)
{
  *store = (FscStore){ .table = g_hash_table_new (key_hash, key_equal),
                       .slots = g_ptr_array_new (),
                       .free_slots = g_array_new (FALSE, FALSE, sizeof (guint32)),
                       .seed = g_random_int () };
}

void
fsc_store_clear (FscStore *store)
{
  g_assert (store->n_entries == 0);
  g_hash_table_unref (store->table);
  g_ptr_array_unref (store->slots);
  g_array_unref (store->free_slots);
}

FscEntry *
fsc_store_find (const FscStore *store, const FscKey *key)
{
  return g_hash_table_lookup (store->table, key);
}

/* Entries and slots */

FscEntry *
fsc_store_add (FscStore *store, const FscKey *key)
{
  FscEntry *entry = g_malloc0 (sizeof *entry + key->uri_length + 1);
  FscEntry *twin;

  memcpy (entry->uri, key->uri, key->uri_length);
  entry->key = *key;
  entry->key.uri = entry->uri;

  twin = g_hash_table_lookup (store->table, &entry->key);
  if (twin != NULL)
    {
      entry->twin = twin->twin;
      twin->twin = entry;
    }
  else
    g_hash_table_add (store->table, entry);

  if (store->free_slots->len > 0)
    {
      entry->slot = g_array_index (store->free_slots, guint32, store->free_slots->len - 1);
      g_array_set_size (store->free_slots, store->free_slots->len - 1);
      store->slots->pdata[entry->slot] = entry;
    }
  else
    {
      entry->slot = store->slots->len;
      g_ptr_array_add (store->slots, entry);
    }
  store->n_entries++;
  return entry;
}

void
fsc_store_remove (FscStore *store, FscEntry *entry)
{
  FscEntry *first = g_hash_table_lookup (store->table, &entry->key);

  g_assert (entry->handle == NULL && entry->flight == NULL && entry->lease == 0);
  if (first == entry)
    {
      g_hash_table_remove (store->table, &entry->key);
      if (entry->twin != NULL)
        g_hash_table_add (store->table, entry->twin);
    }
  else
    {
      while (first->twin != entry)
        first = first->twin;
      first->twin = entry->twin;
    }
  store->slots->pdata[entry->slot] = NULL;
  g_array_append_val (store->free_slots, entry->slot);
  store->n_entries--;
  g_free (entry);
}

/* SIEVE: a list by age, a bit an entry, and a hand that moves from old to new and takes the first
 * whose bit is not set, clearing those that it passes. */

static void
sieve_insert (FscStore *store, FscEntry *entry)
{
  entry->older = store->newest;
  entry->newer = NULL;
  if (store->newest != NULL)
    store->newest->newer = entry;
  else
    store->oldest = entry;
  store->newest = entry;
}

static void
sieve_remove (FscStore *store, FscEntry *entry)
{
  if (store->hand == entry)
    store->hand = entry->newer;
  if (entry->newer != NULL)
    entry->newer->older = entry->older;
  else
    store->newest = entry->older;
  if (entry->older != NULL)
    entry->older->newer = entry->newer;
  else
    store->oldest = entry->newer;
  entry->newer = entry->older = NULL;
}

gboolean
fsc_entry_is_evictable (const FscEntry *entry)
{
  return !entry->is_pinned && entry->lease == 0 && entry->flight == NULL;
}

/* Returns NULL if nothing can go. Two rounds: the first may only clear bits. */
FscEntry *
fsc_store_pick (FscStore *store)
{
  guint64 left = 2 * store->n_handles;

  for (; left > 0; left--)
    {
      FscEntry *entry = store->hand != NULL ? store->hand : store->oldest;

      if (entry == NULL)
        return NULL;
      store->hand = entry->newer;
      if (!fsc_entry_is_evictable (entry))
        continue;
      if (!entry->is_visited)
        return entry;
      entry->is_visited = FALSE;
    }
  return NULL;
}

void
fsc_store_set_handle (FscStore *store, FscEntry *entry, FscHandle *handle)
{
  FscHandle *old = entry->handle;

  if (old == NULL && handle != NULL)
    sieve_insert (store, entry);
  else if (old != NULL && handle == NULL)
    sieve_remove (store, entry);
  entry->handle = handle;

  if (handle != NULL)
    {
      store->n_handles++;
      store->n_bytes += handle->bytes;
      store->n_held += handle->holder != NULL;
    }
  if (old != NULL)
    {
      store->n_handles--;
      store->n_bytes -= old->bytes;
      store->n_held -= old->holder != NULL;
      fsc_handle_unref (old);
    }
}

/* All entries, and some of them */

void
fsc_match_clear (FscMatch *match)
{
  g_clear_pointer (&match->pattern, g_pattern_spec_free);
  g_clear_pointer (&match->uri, g_free);
}
void
fsc_match_init (FscMatch *match, guint32 credential, const FscTarget *target)
{
  char canonical[FSC_URI_MAX + 1];
  const char *reason;

  *match = (FscMatch){ .credential = credential };
  if (target == NULL || target->uri.length == 0)
    return;
  if (target->is_pattern)
    {
      g_autofree char *pattern = g_strndup (target->uri.data, target->uri.length);

      match->pattern = g_pattern_spec_new (pattern);
    }
  else if (fsc_uri_canonicalize (target->uri, canonical, sizeof canonical, &reason) > 0)
    match->uri = g_strdup (canonical);
  else
    match->uri = g_strndup (target->uri.data, target->uri.length);
}

static gboolean
matches (const FscMatch *match, const FscEntry *entry)
{
  if (entry->handle == NULL || entry->key.credential != match->credential)
    return FALSE;
  if (match->pattern != NULL)
    return g_pattern_spec_match (match->pattern, entry->key.uri_length, entry->uri, NULL);
  return match->uri == NULL || strcmp (match->uri, entry->uri) == 0;
}

FscEntry *
fsc_store_next (const FscStore *store, const FscMatch *match, guint64 slot)
{
  for (guint64 i = slot; i < store->slots->len; i++)
    {
      FscEntry *entry = store->slots->pdata[i];

      if (entry != NULL && matches (match, entry))
        return entry;
    }
  return NULL;
}

/* The kinds of open of one URI: each set of flags, shared and exclusive. */
static void
collect_kinds (const FscStore *store, const FscMatch *match, GPtrArray *entries)
{
  static const guint32 flags[] = {
    0,      O_DIRECTORY,          O_NOFOLLOW,          O_DIRECTORY | O_NOFOLLOW,
    O_PATH, O_PATH | O_DIRECTORY, O_PATH | O_NOFOLLOW, O_PATH | O_DIRECTORY | O_NOFOLLOW,
  };
  FscBytes uri = { match->uri, strlen (match->uri) };

  for (guint i = 0; i < 2 * G_N_ELEMENTS (flags); i++)
    {
      FscKey key = fsc_store_make_key (store, uri, match->credential, flags[i / 2], i % 2 != 0);

      for (FscEntry *entry = fsc_store_find (store, &key); entry != NULL; entry = entry->twin)
        if (entry->handle != NULL)
          g_ptr_array_add (entries, entry);
    }
}

GPtrArray *
fsc_store_collect (const FscStore *store, guint32 credential, const FscTarget *target)
{
  GPtrArray *entries = g_ptr_array_new ();
  g_auto (FscMatch) match;
  FscEntry *entry;
  guint64 slot = 0;

  fsc_match_init (&match, credential, target);
  if (match.uri != NULL)
    {
      collect_kinds (store, &match, entries);
      return entries;
    }
  while ((entry = fsc_store_next (store, &match, slot)) != NULL)
    {
      g_ptr_array_add (entries, entry);
      slot = entry->slot + 1;
    }
  return entries;
}
