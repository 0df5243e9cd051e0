/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which client was given what; see ledger.h.
 */
#include "fscache/ledger.h"

#include <string.h>

#define TABLE_MIN 16

struct FscLedger
{
  guint n_gifts;
};

/* Labels */

static guint32
hash_bytes (FscBytes bytes)
{
  guint32 hash = 2166136261u;

  for (size_t i = 0; i < bytes.length; i++)
    hash = (hash ^ (guint8) bytes.data[i]) * 16777619u;
  return hash;
}

FscLabel *
fsc_label_new (FscBytes uri)
{
  FscLabel *label = g_malloc (sizeof *label + uri.length + 1);

  label->recent = NULL;
  label->n_refs = 1;
  label->hash = hash_bytes (uri);
  label->uri_length = (guint16) uri.length;
  memcpy (label->uri, uri.data, uri.length);
  label->uri[uri.length] = '\0';
  return label;
}

FscLabel *
fsc_label_ref (FscLabel *label)
{
  label->n_refs++;
  return label;
}

FscBytes
fsc_label_get_uri (const FscLabel *label)
{
  return (FscBytes){ label->uri, label->uri_length };
}

void
fsc_label_unref (FscLabel *label)
{
  g_assert (label->n_refs > 0);
  if (--label->n_refs == 0)
    g_free (label);
}

static gboolean
is_same (const FscLabel *a, const FscLabel *b)
{
  return a == b
         || (a->hash == b->hash && a->uri_length == b->uri_length
             && memcmp (a->uri, b->uri, a->uri_length) == 0);
}

FscLedger *
fsc_ledger_new (void)
{
  return g_new0 (FscLedger, 1);
}

void
fsc_ledger_free (FscLedger *ledger)
{
  g_assert (ledger->n_gifts == 0);
  g_free (ledger);
}

guint
fsc_ledger_get_n_gifts (const FscLedger *ledger)
{
  return ledger->n_gifts;
}

/* Accounts: a table with linear probing, of which nothing is removed but by making another. */

static FscGift **
find_slot (const FscAccount *account, const FscLabel *label, guint32 mount_id)
{
  guint mask = account->table_size - 1;
  guint i = (label->hash ^ mount_id) & mask;

  while (account->table[i] != NULL
         && (account->table[i]->mount_id != mount_id || !is_same (account->table[i]->label, label)))
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

      *find_slot (account, gift->label, gift->mount_id) = gift;
    }
}

static void
gift_set_label (FscGift *gift, FscLabel *label)
{
  FscLabel *last = gift->label;

  gift->label = label != NULL ? fsc_label_ref (label) : NULL;
  if (last == NULL)
    return;
  if (last->recent == gift)
    last->recent = NULL;
  fsc_label_unref (last);
}

static void
gift_free (FscGift *gift)
{
  gift->account->ledger->n_gifts--;
  gift_set_label (gift, NULL);
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
add_gift (FscAccount *account, FscLabel *label, guint32 mount_id, gint64 time)
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
  gift->account = account;
  gift->mount_id = mount_id;
  gift->first = time;
  gift_set_label (gift, label);
  ledger->n_gifts++;
  g_ptr_array_add (account->gifts, gift);
  *find_slot (account, label, mount_id) = gift;
  return gift;
}

FscGift *
fsc_account_note (FscAccount *account, FscLabel *label, guint32 mount_id, FscSharing asked,
                  gboolean is_lent, gint64 time)
{
  FscGift *gift = label->recent;

  if (gift == NULL || gift->account != account || gift->mount_id != mount_id)
    {
      gift = account->table_size > 0 ? *find_slot (account, label, mount_id) : NULL;
      if (gift == NULL)
        gift = add_gift (account, label, mount_id, time);
      else if (gift->label != label)
        gift_set_label (gift, label);
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
