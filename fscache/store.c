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

/* Shelves */

static guint32
get_owner (const FscStore *store, guint32 credential)
{
  return credential < store->owners->len ? g_array_index (store->owners, guint32, credential) : 0;
}

static FscShelf *
find_shelf (const FscStore *store, guint32 owner)
{
  for (guint i = 0; i < store->shelves->len; i++)
    {
      FscShelf *shelf = store->shelves->pdata[i];

      if (shelf->owner == owner)
        return shelf;
    }
  return NULL;
}

static FscShelf *
add_shelf (FscStore *store, guint32 owner)
{
  FscShelf *shelf = g_new0 (FscShelf, 1);

  shelf->owner = owner;
  g_ptr_array_add (store->shelves, shelf);
  return shelf;
}

/* It takes a place on the shelf of its owner. */
static void
put_on_shelf (FscStore *store, FscEntry *entry)
{
  guint32 owner = get_owner (store, entry->key.credential);

  entry->shelf = find_shelf (store, owner);
  if (entry->shelf == NULL)
    entry->shelf = add_shelf (store, owner);
  entry->shelf->n_entries++;
}

static void
take_from_shelf (FscStore *store, FscEntry *entry)
{
  if (--entry->shelf->n_entries == 0 && entry->shelf != store->shelves->pdata[0])
    g_ptr_array_remove_fast (store->shelves, entry->shelf);
}

void
fsc_store_set_owner (FscStore *store, guint32 credential, guint32 owner)
{
  if (credential >= store->owners->len)
    g_array_set_size (store->owners, credential + 1);
  g_array_index (store->owners, guint32, credential) = owner;
}

/* Life */

void
fsc_store_init (FscStore *store)
{
  *store = (FscStore){ .table = g_hash_table_new (key_hash, key_equal),
                       .slots = g_ptr_array_new (),
                       .slot_credentials = g_array_new (FALSE, FALSE, sizeof (guint32)),
                       .free_slots = g_array_new (FALSE, FALSE, sizeof (guint32)),
                       .owners = g_array_new (FALSE, TRUE, sizeof (guint32)),
                       .shelves = g_ptr_array_new_with_free_func (g_free),
                       .seed = g_random_int () };
  add_shelf (store, 0);
}

void
fsc_store_clear (FscStore *store)
{
  g_assert (store->n_entries == 0);
  g_hash_table_unref (store->table);
  g_ptr_array_unref (store->slots);
  g_array_unref (store->slot_credentials);
  g_array_unref (store->free_slots);
  g_array_unref (store->owners);
  g_ptr_array_unref (store->shelves);
}

FscEntry *
fsc_store_find (const FscStore *store, const FscKey *key)
{
  return g_hash_table_lookup (store->table, key);
}

/* Entries and slots */

#define NOBODY G_MAXUINT32 /* no credential: the slot is free */

FscEntry *
fsc_store_add (FscStore *store, const FscKey *key)
{
  FscEntry *entry = g_new0 (FscEntry, 1);
  FscEntry *twin;

  entry->label = fsc_label_new ((FscBytes){ key->uri, key->uri_length });
  entry->key = *key;
  entry->key.uri = entry->label->uri;
  entry->class = FSC_NO_CLASS;

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
      g_array_index (store->slot_credentials, guint32, entry->slot) = key->credential;
    }
  else
    {
      entry->slot = store->slots->len;
      g_ptr_array_add (store->slots, entry);
      g_array_append_val (store->slot_credentials, key->credential);
    }
  store->n_entries++;
  put_on_shelf (store, entry);
  return entry;
}

void
fsc_store_remove (FscStore *store, FscEntry *entry)
{
  FscEntry *first = g_hash_table_lookup (store->table, &entry->key);

  g_assert (entry->handle == NULL && entry->flight == NULL && entry->lease == 0);
  g_assert (entry->interests == NULL);
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
  g_array_index (store->slot_credentials, guint32, entry->slot) = NOBODY;
  g_array_append_val (store->free_slots, entry->slot);
  store->n_entries--;
  take_from_shelf (store, entry);
  fsc_label_unref (entry->label);
  g_free (entry);
}

void
fsc_store_retire (FscStore *store, guint32 slot)
{
  guint last = store->free_slots->len - 1;

  g_assert (g_array_index (store->free_slots, guint32, last) == slot);
  g_array_set_size (store->free_slots, last);
}

/* Who goes
 *
 * SIEVE is a list by age, a bit an entry, and a hand that moves from old to new and takes the first
 * whose bit is not set, clearing those that it passes. A hit only sets the bit.
 *
 * Here there is a list and a hand for each class of cost, because SIEVE takes an open of 20 us for
 * as good as one of 2 s. What costs 16 times as much for the part of the cache that it takes is in
 * another class; finer ones save hardly more, and tell apart what differs by the noise of one
 * measurement. Handles with bytes have classes of their own: if bytes are short, they alone can
 * help. Among the candidates of the classes goes whose value is least: the age of the store when it
 * came, or when the hand last found it used, and what its class is worth. With that the store gets
 * as old as that value (GreedyDual), so the costly too goes if nobody asks for it while enough of
 * the cheap comes and goes. With one class it is SIEVE.
 *
 * Who may not go (pinned, lent, asked for just now) is taken out of its list when a hand meets it,
 * and not before, as most entries are in flight often and met seldom. It comes back, just behind
 * the hand, by fsc_store_settle(). So a hand stops at the first entry that neither had been used
 * nor was barred since it was passed last: a pick costs a look at 17 lists, and what hits and
 * flights have paid for.
 *
 * Path-only handles are looked at, not opened: whoever lists a tree leaves one for each name, and
 * may never come back. They have a class, the cheapest, to themselves, and are the first to go
 * while there are more of them than their share of the places. */

#define CLASS_BITS 4
#define NAMES_SHARE 8

static gboolean
is_name (const FscEntry *entry)
{
  return (entry->key.flags & O_PATH) != 0;
}

static guint8
get_class (const FscStore *store, const FscEntry *entry)
{
  guint64 bytes = entry->handle->bytes;
  double parts = 1;
  guint class;

  if (is_name (entry))
    return FSC_NAMES_CLASS;
  if (store->max_bytes > 0)
    parts += (double) bytes * (double) store->max_handles / (double) store->max_bytes;
  class = (MAX (g_bit_storage ((gulong) (entry->cost_us / parts)), 1) - 1) / CLASS_BITS;
  return (guint8) (MIN (class, FSC_COST_CLASSES - 1) + (bytes > 0 ? FSC_COST_CLASSES : 0));
}

static guint64
get_value (const FscEntry *entry)
{
  return entry->since + ((guint64) 1 << (CLASS_BITS * (entry->class % FSC_COST_CLASSES)));
}

/* Puts an entry into the list of its class, as the next older one of `newer`, or as the newest. */
static void
sieve_insert (FscEntry *entry, guint8 class, FscEntry *newer)
{
  FscSieve *sieve = &entry->shelf->classes[class];

  entry->class = class;
  entry->since = entry->shelf->age;
  entry->newer = newer;
  entry->older = newer != NULL ? newer->older : sieve->newest;
  if (newer != NULL)
    newer->older = entry;
  else
    sieve->newest = entry;
  if (entry->older != NULL)
    entry->older->newer = entry;
  else
    sieve->oldest = entry;
}

static void
sieve_remove (FscStore *store, FscEntry *entry)
{
  FscSieve *sieve = &entry->shelf->classes[entry->class];

  if (sieve->hand == entry)
    sieve->hand = entry->newer;
  if (store->swept == entry)
    store->swept = entry->newer;
  if (entry->newer != NULL)
    entry->newer->older = entry->older;
  else
    sieve->newest = entry->older;
  if (entry->older != NULL)
    entry->older->newer = entry->newer;
  else
    sieve->oldest = entry->newer;
  entry->newer = entry->older = NULL;
  entry->class = FSC_NO_CLASS;
}

gboolean
fsc_entry_is_evictable (const FscEntry *entry)
{
  return !entry->is_pinned && entry->lease == 0 && entry->flight == NULL
         && entry->interests == NULL;
}

void
fsc_store_settle (FscStore *store, FscEntry *entry)
{
  guint8 class;

  if (entry->handle == NULL || entry->class != FSC_NO_CLASS || !fsc_entry_is_evictable (entry))
    return;
  class = get_class (store, entry);
  sieve_insert (entry, class, entry->shelf->classes[class].hand);
}

/* Who would go of one class, or NULL; the hand is at it. */
static FscEntry *
get_candidate (FscStore *store, FscSieve *sieve)
{
  while (sieve->oldest != NULL)
    {
      FscEntry *entry = sieve->hand != NULL ? sieve->hand : sieve->oldest;

      sieve->hand = entry;
      if (!fsc_entry_is_evictable (entry))
        {
          sieve_remove (store, entry);
          continue;
        }
      if (!entry->is_visited)
        return entry;
      entry->is_visited = FALSE;
      entry->since = entry->shelf->age;
      sieve->hand = entry->newer;
    }
  return NULL;
}

static FscEntry *
pick_from (FscStore *store, FscShelf *shelf, gboolean for_bytes)
{
  FscEntry *best = for_bytes ? NULL : get_candidate (store, &shelf->classes[FSC_NAMES_CLASS]);
  guint first = for_bytes ? FSC_COST_CLASSES : 0;

  if (best != NULL && shelf->n_names > shelf->n_handles / NAMES_SHARE)
    first = FSC_NAMES_CLASS; /* nobody else */
  for (guint i = first; i < FSC_NAMES_CLASS; i++)
    {
      FscEntry *entry = get_candidate (store, &shelf->classes[i]);

      if (entry != NULL && (best == NULL || get_value (entry) < get_value (best)))
        best = entry;
    }
  if (best != NULL)
    shelf->age = MAX (shelf->age, get_value (best));
  return best;
}

static FscShelf *
find_largest (const FscStore *store, gboolean for_bytes)
{
  FscShelf *largest = store->shelves->pdata[0];

  for (guint i = 1; i < store->shelves->len; i++)
    {
      FscShelf *shelf = store->shelves->pdata[i];

      if (for_bytes ? shelf->n_bytes > largest->n_bytes : shelf->n_handles > largest->n_handles)
        largest = shelf;
    }
  return largest;
}

FscEntry *
fsc_store_pick (FscStore *store, gboolean for_bytes)
{
  FscEntry *entry = pick_from (store, find_largest (store, for_bytes), for_bytes);

  for (guint i = 0; entry == NULL && i < store->shelves->len; i++)
    entry = pick_from (store, store->shelves->pdata[i], for_bytes);
  return entry;
}

FscEntry *
fsc_store_pick_of (FscStore *store, guint32 credential, gboolean for_bytes)
{
  FscShelf *shelf = find_shelf (store, get_owner (store, credential));

  return shelf != NULL ? pick_from (store, shelf, for_bytes) : NULL;
}

static FscShelf *
get_next_shelf (FscStore *store)
{
  store->swept_shelf = (store->swept_shelf + 1) % store->shelves->len;
  return store->shelves->pdata[store->swept_shelf];
}

FscEntry *
fsc_store_sweep (FscStore *store)
{
  FscEntry *entry = store->swept;
  guint n_lists = store->shelves->len * FSC_CLASSES;

  for (guint i = 0; entry == NULL && i < n_lists; i++)
    {
      const FscShelf *shelf;

      store->swept_class = (store->swept_class + 1) % FSC_CLASSES;
      shelf = store->swept_class == 0
                  ? get_next_shelf (store)
                  : store->shelves->pdata[store->swept_shelf % store->shelves->len];
      entry = shelf->classes[store->swept_class].oldest;
    }
  store->swept = entry != NULL ? entry->newer : NULL;
  return entry;
}

static void
add_evictable (const FscShelf *shelf, gboolean for_bytes, guint n, GPtrArray *entries)
{
  for (guint i = for_bytes ? FSC_COST_CLASSES : 0; i < (for_bytes ? FSC_NAMES_CLASS : FSC_CLASSES);
       i++)
    for (FscEntry *entry = shelf->classes[i].oldest; entry != NULL && entries->len < n;
         entry = entry->newer)
      if (fsc_entry_is_evictable (entry))
        g_ptr_array_add (entries, entry);
}

GPtrArray *
fsc_store_get_evictable (const FscStore *store, gboolean for_bytes, guint n)
{
  GPtrArray *entries = g_ptr_array_new ();

  for (guint i = 0; i < store->shelves->len; i++)
    add_evictable (store->shelves->pdata[i], for_bytes, n, entries);
  return entries;
}

void
fsc_store_set_limits (FscStore *store, guint64 max_handles, guint64 max_bytes)
{
  store->max_handles = max_handles;
  store->max_bytes = max_bytes;
}

/* Counts what comes, and what goes: modulo 2^64. */
static void
count (FscStore *store, const FscEntry *entry, guint64 handles, guint64 bytes)
{
  store->n_handles += handles;
  store->n_bytes += bytes;
  entry->shelf->n_handles += handles;
  entry->shelf->n_bytes += bytes;
  if (is_name (entry))
    entry->shelf->n_names += handles;
}

void
fsc_store_set_handle (FscStore *store, FscEntry *entry, FscHandle *handle)
{
  FscHandle *old = entry->handle;

  if (entry->class != FSC_NO_CLASS)
    sieve_remove (store, entry);
  entry->handle = handle;
  if (handle != NULL)
    sieve_insert (entry, get_class (store, entry), NULL);

  if (handle != NULL)
    {
      count (store, entry, 1, fsc_handle_get_more_bytes (handle));
      if (handle->content != NULL)
        handle->content->n_kept++;
      store->n_held += handle->holder != NULL;
    }
  if (old != NULL)
    {
      if (old->content != NULL)
        old->content->n_kept--;
      count (store, entry, -1, -fsc_handle_get_more_bytes (old));
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
    match->pattern = fsc_cache_make_pattern (target->uri);
  else if (fsc_uri_canonicalize (target->uri, canonical, sizeof canonical, &reason) > 0)
    match->uri = g_strdup (canonical);
  else
    match->uri = g_strndup (target->uri.data, target->uri.length);
}

static gboolean
matches (const FscMatch *match, const FscEntry *entry)
{
  if (entry->handle == NULL)
    return FALSE;
  if (match->pattern != NULL)
    return g_pattern_spec_match (match->pattern, entry->key.uri_length, entry->key.uri, NULL);
  return match->uri == NULL || strcmp (match->uri, entry->key.uri) == 0;
}

FscEntry *
fsc_store_next (const FscStore *store, const FscMatch *match, guint64 *slot, guint *left)
{
  const guint32 *credentials = (const guint32 *) (gpointer) store->slot_credentials->data;

  for (; *slot < store->slots->len; (*slot)++)
    {
      FscEntry *entry;

      if (credentials[*slot] != match->credential)
        continue;
      if (*left == 0)
        return NULL;
      (*left)--;
      entry = store->slots->pdata[*slot];
      if (matches (match, entry))
        return entry;
    }
  *slot = 0;
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
  guint left = G_MAXUINT;
  guint64 slot = 0;

  fsc_match_init (&match, credential, target);
  if (match.uri != NULL)
    {
      collect_kinds (store, &match, entries);
      return entries;
    }
  while ((entry = fsc_store_next (store, &match, &slot, &left)) != NULL)
    {
      g_ptr_array_add (entries, entry);
      slot++;
    }
  return entries;
}
