/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which client was given what; see ledger.h.
 */
#include "fscache/ledger.h"

#include <string.h>

#define TABLE_MIN 16

struct FscLedger
{
  GHashTable *labels; /* of FscLabel, by URI and mount */
  guint n_gifts;
};

/* Labels */

static guint
label_hash (gconstpointer data)
{
  return ((const FscLabel *) data)->hash;
}

static gboolean
label_equal (gconstpointer a, gconstpointer b)
{
  const FscLabel *x = a, *y = b;

  return x->hash == y->hash && x->mount_id == y->mount_id && x->uri_length == y->uri_length
         && memcmp (x->uri, y->uri, x->uri_length) == 0;
}

static guint32
hash_label (FscBytes uri, guint32 mount_id)
{
  guint32 hash = 2166136261u ^ mount_id;

  for (size_t i = 0; i < uri.length; i++)
    hash = (hash ^ (guint8) uri.data[i]) * 16777619u;
  return hash;
}

FscLabel *
fsc_ledger_get_label (FscLedger *ledger, FscBytes uri, guint32 mount_id)
{
  FscLabel *label = g_malloc0 (sizeof *label + uri.length + 1);
  FscLabel *found;

  label->hash = hash_label (uri, mount_id);
  label->mount_id = mount_id;
  label->uri_length = (guint16) uri.length;
  memcpy (label->uri, uri.data, uri.length);
  found = g_hash_table_lookup (ledger->labels, label);
  if (found != NULL)
    {
      g_free (label);
      found->n_refs++;
      return found;
    }
  label->ledger = ledger;
  label->n_refs = 1;
  g_hash_table_add (ledger->labels, label);
  return label;
}

void
fsc_label_unref (FscLabel *label)
{
  g_assert (label->n_refs > 0);
  if (--label->n_refs > 0)
    return;
  g_hash_table_remove (label->ledger->labels, label);
  g_free (label);
}

FscLedger *
fsc_ledger_new (void)
{
  FscLedger *ledger = g_new0 (FscLedger, 1);

  ledger->labels = g_hash_table_new (label_hash, label_equal);
  return ledger;
}

void
fsc_ledger_free (FscLedger *ledger)
{
  g_assert (g_hash_table_size (ledger->labels) == 0);
  g_hash_table_unref (ledger->labels);
  g_free (ledger);
}

guint
fsc_ledger_get_n_gifts (const FscLedger *ledger)
{
  return ledger->n_gifts;
}

/* Accounts: a table with linear probing, of which nothing is removed but by making another. */

static FscGift **
find_slot (const FscAccount *account, const FscLabel *label)
{
  guint mask = account->table_size - 1;
  guint i = label->hash & mask;

  while (account->table[i] != NULL && account->table[i]->label != label)
    i = (i + 1) & mask;
  return &account->table[i];
}

static void
make_table (FscAccount *account, guint size)
{
  g_free (account->table);
  account->table = g_new0 (FscGift *, size);
  account->table_size = size;
  for (guint i = 0; i < account->gifts->len; i++)
    {
      FscGift *gift = account->gifts->pdata[i];

      *find_slot (account, gift->label) = gift;
    }
}

static void
gift_free (FscGift *gift)
{
  FscLabel *label = gift->label;

  gift->account->ledger->n_gifts--;
  if (label->recent == gift)
    label->recent = NULL;
  fsc_label_unref (label);
  g_free (gift);
}

static int
compare_last (gconstpointer a, gconstpointer b)
{
  gint64 x = (*(FscGift *const *) a)->last, y = (*(FscGift *const *) b)->last;

  return (x > y) - (x < y);
}

/* Half of them at once, so that it costs little for each. */
static void
forget_half (FscAccount *account)
{
  GPtrArray *old = account->gifts;
  guint left = old->len / 2;

  account->gifts = g_ptr_array_sized_new (old->len);
  g_ptr_array_sort (old, compare_last);
  for (guint i = 0; i < old->len; i++)
    {
      FscGift *gift = old->pdata[i];

      if (left == 0 || gift->lent > 0)
        {
          g_ptr_array_add (account->gifts, gift);
          continue;
        }
      left--;
      account->forgotten += fsc_gift_count (gift);
      account->forgotten_at = MAX (account->forgotten_at, gift->last);
      gift_free (gift);
    }
  g_ptr_array_unref (old);
  account->kept = account->gifts->len;
  make_table (account, account->table_size);
}

static FscGift *
add_gift (FscAccount *account, FscLabel *label, gint64 time)
{
  FscLedger *ledger = account->ledger;
  guint n = account->gifts->len;
  FscGift *gift;

  if (n >= 2 * account->kept
      && (n >= FSC_GIFTS_MAX || (n >= FSC_GIFTS_FEW && ledger->n_gifts >= FSC_GIFTS_TOTAL)))
    forget_half (account);
  if (2 * (account->gifts->len + 1) > account->table_size)
    make_table (account, MAX (2 * account->table_size, TABLE_MIN));
  gift = g_new0 (FscGift, 1);
  gift->label = label;
  gift->account = account;
  gift->first = time;
  label->n_refs++;
  ledger->n_gifts++;
  g_ptr_array_add (account->gifts, gift);
  *find_slot (account, label) = gift;
  return gift;
}

FscGift *
fsc_account_note (FscAccount *account, FscLabel *label, FscSharing asked, gboolean is_lent,
                  gint64 time)
{
  FscGift *gift = label->recent;

  if (gift == NULL || gift->account != account)
    {
      gift = account->table_size > 0 ? *find_slot (account, label) : NULL;
      if (gift == NULL)
        gift = add_gift (account, label, time);
      label->recent = gift;
    }
  gift->given[asked]++;
  gift->lent += is_lent != FALSE;
  gift->last = time;
  return gift;
}

void
fsc_gift_end_lease (FscGift *gift)
{
  g_assert (gift->lent > 0);
  gift->lent--;
  gift->given[FSC_SHARING_EXCLUSIVE]--;
}

guint64
fsc_gift_count (const FscGift *gift)
{
  guint64 n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (gift->given); i++)
    n += gift->given[i];
  return n;
}

void
fsc_account_init (FscAccount *account, FscLedger *ledger)
{
  *account = (FscAccount){ .ledger = ledger, .gifts = g_ptr_array_new () };
}

void
fsc_account_clear (FscAccount *account)
{
  for (guint i = 0; i < account->gifts->len; i++)
    gift_free (account->gifts->pdata[i]);
  g_ptr_array_unref (account->gifts);
  g_free (account->table);
  *account = (FscAccount){ 0 };
}
