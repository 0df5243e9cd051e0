/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which entries are chosen to go, and that choosing neither misses any that may nor walks over
 * those that may not. That the choices are the right ones is test-simulate's business.
 */
#include "fscache/store.h"

#include "tests/harness/tap.h"

static void
store_begin (FscStore *store, guint64 max_handles, guint64 max_bytes)
{
  fsc_store_init (store);
  fsc_store_set_limits (store, max_handles, max_bytes);
}

static FscEntry *
add_with (FscStore *store, guint i, guint32 flags, guint32 cost_us, guint64 bytes)
{
  char uri[32];
  int length = g_snprintf (uri, sizeof uri, "test:%u", i);
  FscKey key = fsc_store_make_key (store, (FscBytes){ uri, (size_t) length }, 0, flags, FALSE);
  FscEntry *entry = fsc_store_add (store, &key);
  FscHandle *handle = fsc_handle_new_local (-1, (FscBytes){ 0 });

  handle->bytes = bytes;
  entry->cost_us = cost_us;
  fsc_store_set_handle (store, entry, handle);
  return entry;
}

static FscEntry *
add (FscStore *store, guint i, guint32 cost_us, guint64 bytes)
{
  return add_with (store, i, 0, cost_us, bytes);
}

static void
drop (FscStore *store, FscEntry *entry)
{
  fsc_store_set_handle (store, entry, NULL);
  fsc_store_remove (store, entry);
}

/* Of owner 0. */
static const FscShelf *
get_shelf (const FscStore *store)
{
  return store->shelves->pdata[0];
}

static guint64
get_n_names (const FscStore *store)
{
  return get_shelf (store)->n_names;
}

static void
store_end (FscStore *store)
{
  for (guint i = 0; i < store->slots->len; i++)
    if (store->slots->pdata[i] != NULL)
      drop (store, store->slots->pdata[i]);
  g_assert_cmpuint (store->n_bytes, ==, 0);
  g_assert_cmpuint (store->n_handles, ==, 0);
  g_assert_cmpuint (store->shelves->len, ==, 1);
  g_assert_cmpuint (get_n_names (store), ==, 0);
  fsc_store_clear (store);
}

static guint
count_listed (const FscStore *store)
{
  const FscShelf *shelf = get_shelf (store);
  guint n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (shelf->classes); i++)
    {
      const FscEntry *older = NULL;

      for (const FscEntry *entry = shelf->classes[i].oldest; entry != NULL; entry = entry->newer)
        {
          g_assert_true (entry->older == older);
          g_assert_cmpuint (entry->class, ==, i);
          older = entry;
          n++;
        }
      g_assert_true (shelf->classes[i].newest == older);
    }
  return n;
}

/* What is dear stays while there is cheap; but not for ever. */
static void
test_cost (void)
{
  FscStore store;
  FscEntry *dear, *cheap;
  guint n = 0;

  store_begin (&store, 10, 0);
  dear = add (&store, 0, 20 * 16 * 16, 0);
  cheap = add (&store, 1, 20, 0);
  while (fsc_store_pick (&store, FALSE) == cheap)
    {
      drop (&store, cheap);
      cheap = add (&store, 1, 20, 0);
      n++;
    }
  g_assert_true (fsc_store_pick (&store, FALSE) == dear);
  g_assert_cmpuint (n, ==, 16 * 16);

  /* A hit makes it new again. */
  dear->is_visited = TRUE;
  g_assert_true (fsc_store_pick (&store, FALSE) == cheap);
  g_assert_false (dear->is_visited);
  store_end (&store);
}

/* Costs that a clock cannot tell apart, and those that are not to be told apart, are one class; the
 * largest ones too. */
static void
test_classes (void)
{
  static const struct
  {
    guint32 cost;
    guint64 bytes;
    guint class;
  } cases[]
      = {
          { 0, 0, 0 },           { 1, 0, 0 },   { 15, 0, 0 },      { 16, 0, 1 },
          { 20, 0, 1 },          { 255, 0, 1 }, { 2000, 0, 2 },    { 2000000, 0, 5 },
          { G_MAXUINT32, 0, 7 }, { 20, 1, 9 },  { 2000, 100, 10 }, { 2000, 1000, 9 },
          { 20, 100000, 8 }, /* 1,000 bytes are ten parts of the cache more */
        };
  FscStore store;

  store_begin (&store, 100, 10000);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_cmpuint (add (&store, i, cases[i].cost, cases[i].bytes)->class, ==, cases[i].class);
  store_end (&store);

  store_begin (&store, 100, 0); /* bytes cost nothing */
  g_assert_cmpuint (add (&store, 0, 2000, 100000)->class, ==, 10);
  store_end (&store);
}

/* However many names are looked at, only so many places are taken from what is open. */
static void
test_names (void)
{
  FscStore store;

  store_begin (&store, 80, 0);
  for (guint i = 0; i < 80; i++)
    add (&store, i, 20, 0);
  for (guint i = 0; i < 1000; i++)
    {
      drop (&store, fsc_store_pick (&store, FALSE));
      add_with (&store, 1000 + i, O_PATH, 20, 0)->is_visited = i % 2 == 0;
    }
  g_assert_cmpuint (get_n_names (&store), ==, 80 / 8 + 1); /* one goes when the next one comes */

  /* But they may have what nobody else wants; then they are the first to go. */
  for (guint i = 0; i < 80; i++)
    if (store.n_handles > get_n_names (&store))
      drop (&store, get_shelf (&store)->classes[1].oldest);
  for (guint i = 0; i < 69; i++)
    add_with (&store, 3000 + i, O_PATH, 2000000, 0);
  g_assert_cmpuint (get_n_names (&store), ==, 80);
  for (guint i = 0; i < 70; i++)
    {
      FscEntry *entry = fsc_store_pick (&store, FALSE);

      g_assert_true ((entry->key.flags & O_PATH) != 0);
      drop (&store, entry);
      add (&store, i, 20, 0);
    }
  g_assert_null (fsc_store_pick (&store, TRUE));
  store_end (&store);
}

static void
test_for_bytes (void)
{
  FscStore store;
  FscEntry *with;

  store_begin (&store, 100, 10000);
  g_assert_null (fsc_store_pick (&store, FALSE));
  add (&store, 0, 20, 0);
  add (&store, 1, 20, 0);
  g_assert_null (fsc_store_pick (&store, TRUE));
  with = add (&store, 2, 2000000, 1);
  g_assert_true (fsc_store_pick (&store, TRUE) == with);
  with->is_pinned = TRUE;
  g_assert_null (fsc_store_pick (&store, TRUE));
  g_assert_nonnull (fsc_store_pick (&store, FALSE));
  store_end (&store);
}

/* Those that may not go are passed once, not at each pick; and are there again when they may. */
static void
test_barred (void)
{
  FscEntry *barred[1000], *last;
  FscStore store;
  FscJob job;

  store_begin (&store, 2000, 0);
  for (guint i = 0; i < G_N_ELEMENTS (barred); i++)
    {
      barred[i] = add (&store, i, 20, 0);
      if (i % 3 == 0)
        barred[i]->is_pinned = TRUE;
      else if (i % 3 == 1)
        barred[i]->lease = i;
      else
        barred[i]->flight = &job;
    }
  last = add (&store, 1000, 20, 0);
  g_assert_cmpuint (count_listed (&store), ==, 1001); /* a flight costs nothing until a pick */
  g_assert_true (fsc_store_pick (&store, FALSE) == last);
  g_assert_cmpuint (count_listed (&store), ==, 1);
  drop (&store, last);
  g_assert_null (fsc_store_pick (&store, FALSE));

  for (guint i = 0; i < G_N_ELEMENTS (barred); i++)
    {
      fsc_store_settle (&store, barred[i]); /* it may not yet */
      g_assert_cmpuint (barred[i]->class, ==, FSC_NO_CLASS);
      barred[i]->is_pinned = FALSE;
      barred[i]->lease = 0;
      barred[i]->flight = NULL;
      fsc_store_settle (&store, barred[i]);
      fsc_store_settle (&store, barred[i]);
      g_assert_cmpuint (count_listed (&store), ==, i + 1);
    }
  g_assert_true (fsc_store_pick (&store, FALSE) == barred[0]);
  store_end (&store);
}

/* It comes back where the hand has been: what the hand has not seen yet goes first. */
static void
test_comes_back (void)
{
  FscStore store;
  FscEntry *entries[4];

  store_begin (&store, 10, 0);
  for (guint i = 0; i < 4; i++)
    entries[i] = add (&store, i, 20, 0);
  entries[0]->is_pinned = TRUE;
  g_assert_true (fsc_store_pick (&store, FALSE) == entries[1]);
  drop (&store, entries[1]);
  entries[0]->is_pinned = FALSE;
  fsc_store_settle (&store, entries[0]);
  for (guint i = 2; i <= 4; i++)
    {
      g_assert_true (fsc_store_pick (&store, FALSE) == entries[i % 4]);
      drop (&store, entries[i % 4]);
    }
  store_end (&store);
}

/* One round of so many looks sees all. */
static guint
sweep_round (FscStore *store, guint looks)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);

  for (guint i = 0; i < looks; i++)
    {
      FscEntry *entry = fsc_store_sweep (store);

      if (entry != NULL)
        g_hash_table_add (seen, entry);
    }
  return g_hash_table_size (seen);
}

static void
test_sweep (void)
{
  FscStore store;

  store_begin (&store, 100000, 10000);
  g_assert_cmpuint (sweep_round (&store, 100), ==, 0);
  for (guint i = 0; i < 1000; i++)
    add (&store, i, 1u << i % 30, i % 4);
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (sweep_round (&store, 1000), ==, 1000);

  /* It was large and is small: what is left is seen at once. */
  for (guint i = 0; i < 1000; i++)
    if (i % 400 != 399)
      drop (&store, store.slots->pdata[i]);
  g_assert_cmpuint (store.slots->len, ==, 1000);
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (sweep_round (&store, 2), ==, 2);
  store_end (&store);
}

/* Who is seen may go, and so may whoever is next. */
static void
test_sweep_drops (void)
{
  FscStore store;
  guint n = 0;

  store_begin (&store, 1000, 0);
  for (guint i = 0; i < 300; i++)
    add (&store, i, 1u << i % 30, 0);
  for (guint i = 0; i < 300 && store.n_entries > 0; i++)
    {
      FscEntry *entry = fsc_store_sweep (&store);

      if (entry == NULL)
        continue;
      if (entry->newer != NULL)
        {
          drop (&store, entry->newer);
          n++;
        }
      drop (&store, entry);
      n++;
    }
  g_assert_cmpuint (n, ==, 300);
  store_end (&store);
}

/* Whatever happens to entries: who may go is found, and nobody else. */
static void
test_any_order (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (3);
  FscEntry *entries[200] = { NULL };
  FscStore store;
  FscJob job;

  store_begin (&store, 200, 10000);
  for (guint step = 0; step < 100000; step++)
    {
      guint i = (guint) g_rand_int_range (random, 0, 200);
      FscEntry *entry = entries[i], *picked;
      gboolean for_bytes = g_rand_int_range (random, 0, 4) == 0;
      guint n_may = 0, n_with = 0;

      if (entry == NULL)
        entries[i] = add (&store, i, 1u << g_rand_int_range (random, 0, 30),
                          (guint64) MAX (g_rand_int_range (random, -300, 100), 0));
      else
        switch (g_rand_int_range (random, 0, 8))
          {
          case 0:
            entry->is_pinned = !entry->is_pinned;
            break;
          case 1:
            entry->lease = entry->lease == 0;
            break;
          case 2:
            entry->flight = entry->flight == NULL ? &job : NULL;
            break;
          case 3:
            entry->is_visited = TRUE;
            break;
          case 4:
            fsc_store_sweep (&store);
            break;
          case 5:
            fsc_store_set_handle (&store, entry, fsc_handle_new_local (-1, (FscBytes){ 0 }));
            break;
          default:
            break;
          }
      if (entry != NULL)
        fsc_store_settle (&store, entry);

      if (step % 8 != 0)
        continue;
      count_listed (&store);
      for (guint j = 0; j < 200; j++)
        if (entries[j] != NULL && fsc_entry_is_evictable (entries[j]))
          {
            g_assert_cmpuint (entries[j]->class, !=, FSC_NO_CLASS);
            n_may++;
            n_with += entries[j]->handle->bytes > 0;
          }
      picked = fsc_store_pick (&store, for_bytes);
      g_assert_cmpint (picked != NULL, ==, (for_bytes ? n_with : n_may) > 0);
      if (picked == NULL)
        continue;
      g_assert_true (fsc_entry_is_evictable (picked));
      g_assert_true (!for_bytes || picked->handle->bytes > 0);
      for (guint j = 0; j < 200; j++)
        if (entries[j] == picked)
          entries[j] = NULL;
      drop (&store, picked);
    }
  for (guint i = 0; i < 200; i++)
    if (entries[i] != NULL)
      {
        entries[i]->lease = 0;
        entries[i]->flight = NULL;
      }
  store_end (&store);
}

static FscEntry *
add_of (FscStore *store, guint i, guint32 credential, guint64 bytes)
{
  char uri[32];
  int length = g_snprintf (uri, sizeof uri, "test:%u", i);
  FscKey key = fsc_store_make_key (store, (FscBytes){ uri, (size_t) length }, credential, 0, FALSE);
  FscEntry *entry = fsc_store_add (store, &key);
  FscHandle *handle = fsc_handle_new_local (-1, (FscBytes){ 0 });

  handle->bytes = bytes;
  fsc_store_set_handle (store, entry, handle);
  return entry;
}

/* Who goes is one of a given owner's, in whatever credentials, or of the one's who has most. */
static void
test_owners (void)
{
  FscStore store;
  FscEntry *many[8], *few[2], *large;
  guint n_swept = 0;

  store_begin (&store, 100, 0);
  fsc_store_set_owner (&store, 1, 1000);
  fsc_store_set_owner (&store, 3, 1000);
  fsc_store_set_owner (&store, 2, 2000);
  g_assert_null (fsc_store_pick_of (&store, 1, FALSE));
  for (guint i = 0; i < G_N_ELEMENTS (few); i++)
    few[i] = add_of (&store, i, 2, 0);
  for (guint i = 0; i < G_N_ELEMENTS (many); i++)
    many[i] = add_of (&store, i, i % 2 == 0 ? 1 : 3, 0);
  large = add_of (&store, 100, 0, 10);

  g_assert_true (fsc_store_pick (&store, FALSE) == many[0]);
  g_assert_true (fsc_store_pick (&store, TRUE) == large);
  g_assert_true (fsc_store_pick_of (&store, 2, FALSE) == few[0]);
  g_assert_true (fsc_store_pick_of (&store, 3, FALSE) == many[0]);
  g_assert_true (fsc_store_pick_of (&store, 0, FALSE) == large);
  g_assert_null (fsc_store_pick_of (&store, 1, TRUE));
  for (guint i = 0; i < G_N_ELEMENTS (many); i++)
    many[i]->is_pinned = TRUE;
  g_assert_null (fsc_store_pick_of (&store, 1, FALSE));
  g_assert_nonnull (fsc_store_pick (&store, FALSE)); /* then of another's */
  for (guint i = 0; i < G_N_ELEMENTS (many); i++)
    {
      many[i]->is_pinned = FALSE;
      fsc_store_settle (&store, many[i]);
    }

  g_assert_cmpuint (store.shelves->len, ==, 3);
  for (guint i = 0; i < 11; i++)
    {
      FscEntry *entry = fsc_store_sweep (&store);

      g_assert_nonnull (entry);
      n_swept += entry->key.credential == 2;
      drop (&store, entry);
    }
  g_assert_cmpuint (n_swept, ==, 2);
  g_assert_null (fsc_store_sweep (&store));
  store_end (&store);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/store/cost", test_cost);
  g_test_add_func ("/store/classes", test_classes);
  g_test_add_func ("/store/names", test_names);
  g_test_add_func ("/store/for-bytes", test_for_bytes);
  g_test_add_func ("/store/barred", test_barred);
  g_test_add_func ("/store/comes-back", test_comes_back);
  g_test_add_func ("/store/sweep", test_sweep);
  g_test_add_func ("/store/sweep-drops", test_sweep_drops);
  g_test_add_func ("/store/any-order", test_any_order);
  g_test_add_func ("/store/owners", test_owners);
  return g_test_run ();
}
