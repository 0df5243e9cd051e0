/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * ledger.c: what a client was given is on record, once for each resource, until it goes; what is
 * too much is forgotten, the oldest first, and counted.
 */
#include "fscache/ledger.h"

#include <string.h>

#include "tests/harness/tap.h"

static FscLabel *
get_label (const char *uri)
{
  return fsc_label_new ((FscBytes){ uri, strlen (uri) });
}

static FscLabel *
get_numbered (guint number)
{
  g_autofree char *uri = g_strdup_printf ("file:///%u", number);

  return get_label (uri);
}

/* An entry that comes again has another label, and the record stays the same. */
static void
test_labels (void)
{
  g_autoptr (FscLedger) ledger = fsc_ledger_new ();
  FscLabel *old = get_label ("file:///a"), *new = get_label ("file:///a");
  FscAccount account;
  FscGift *gift;

  fsc_account_init (&account, ledger);
  gift = fsc_account_note (&account, old, 1, FSC_SHARING_SHARED, FALSE, 10);
  g_assert_true (old->recent == gift);
  g_assert_true (fsc_account_note (&account, new, 1, FSC_SHARING_SHARED, FALSE, 20) == gift);
  g_assert_true (gift->label == new &&new->recent == gift);
  g_assert_null (old->recent);
  g_assert_true (fsc_account_note (&account, old, 1, FSC_SHARING_SHARED, FALSE, 30) == gift);
  g_assert_true (gift->label == old && new->recent == NULL);
  fsc_label_unref (new);

  /* What lies on another mount now is something else. */
  g_assert_true (fsc_account_note (&account, old, 2, FSC_SHARING_SHARED, FALSE, 40) != gift);
  g_assert_true (fsc_account_note (&account, old, 1, FSC_SHARING_SHARED, FALSE, 50) == gift);
  g_assert_cmpuint (gift->mount_id, ==, 1);
  g_assert_cmpuint (fsc_gift_count (gift), ==, 4);
  g_assert_cmpuint (account.gifts->len, ==, 2);
  fsc_account_clear (&account);
  g_assert_null (old->recent);
  fsc_label_unref (old);
}

static void
test_note (void)
{
  g_autoptr (FscLedger) ledger = fsc_ledger_new ();
  FscLabel *a = get_label ("file:///a"), *b = get_label ("file:///b");
  FscAccount x, y;
  FscGift *gift;

  fsc_account_init (&x, ledger);
  fsc_account_init (&y, ledger);
  gift = fsc_account_note (&x, a, 1, FSC_SHARING_SHARED, FALSE, 10);
  g_assert_true (fsc_account_note (&x, a, 1, FSC_SHARING_INDEPENDENT, FALSE, 20) == gift);
  g_assert_true (fsc_account_note (&y, a, 1, FSC_SHARING_SHARED, FALSE, 30) != gift);
  g_assert_true (fsc_account_note (&x, a, 1, FSC_SHARING_SHARED, FALSE, 40) == gift);
  g_assert_true (fsc_account_note (&x, b, 1, FSC_SHARING_EXCLUSIVE, TRUE, 50) != gift);
  g_assert_cmpuint (gift->given[FSC_SHARING_SHARED], ==, 2);
  g_assert_cmpuint (fsc_gift_count (gift), ==, 3);
  g_assert_cmpint (gift->first, ==, 10);
  g_assert_cmpint (gift->last, ==, 40);
  g_assert_cmpuint (x.gifts->len, ==, 2);
  g_assert_cmpuint (y.gifts->len, ==, 1);
  g_assert_cmpuint (fsc_ledger_get_n_gifts (ledger), ==, 3);

  gift = x.gifts->pdata[1];
  g_assert_cmpuint (gift->lent, ==, 1);
  fsc_gift_end_lease (gift);
  g_assert_cmpuint (gift->lent, ==, 0);
  g_assert_cmpuint (fsc_gift_count (gift), ==, 0);

  /* A label lives as long as anybody was given what it stands for. */
  fsc_label_unref (a);
  fsc_label_unref (b);
  fsc_account_clear (&x);
  g_assert_cmpstr (((FscGift *) y.gifts->pdata[0])->label->uri, ==, "file:///a");
  fsc_account_clear (&y);
  g_assert_cmpuint (fsc_ledger_get_n_gifts (ledger), ==, 0);
}

/* Whoever was given much keeps the newer half, and all that is lent. */
static void
test_forget (void)
{
  g_autoptr (FscLedger) ledger = fsc_ledger_new ();
  const guint n = 3 * FSC_GIFTS_MAX;
  guint64 known = 0;
  FscAccount account;
  gboolean has_lent = FALSE;

  fsc_account_init (&account, ledger);
  for (guint i = 0; i < n; i++)
    {
      FscLabel *label = get_numbered (i);

      fsc_account_note (&account, label, 1, FSC_SHARING_SHARED, i == 0, i);
      fsc_label_unref (label);
      g_assert_cmpuint (account.gifts->len, <=, FSC_GIFTS_MAX);
    }
  for (guint i = 0; i < account.gifts->len; i++)
    {
      const FscGift *gift = account.gifts->pdata[i];

      known += fsc_gift_count (gift);
      has_lent |= gift->lent > 0;
      g_assert_true (gift->lent > 0 || gift->last >= n - FSC_GIFTS_MAX);
      g_assert_cmpint (gift->lent, ==, gift->last == 0);
    }
  g_assert_true (has_lent);
  g_assert_cmpuint (known + account.forgotten, ==, n);
  fsc_account_clear (&account);
}

static void
test_forget_lent (void)
{
  g_autoptr (FscLedger) ledger = fsc_ledger_new ();
  FscAccount account;

  fsc_account_init (&account, ledger);
  for (guint i = 0; i < 3 * FSC_GIFTS_MAX; i++)
    {
      FscLabel *label = get_numbered (i);

      fsc_account_note (&account, label, 1, FSC_SHARING_EXCLUSIVE, TRUE, i);
      fsc_label_unref (label);
    }
  g_assert_cmpuint (account.gifts->len, ==, 3 * FSC_GIFTS_MAX);
  g_assert_cmpuint (account.forgotten, ==, 0);
  fsc_account_clear (&account);
}

/* All together have a bound too, and each a few beyond that. */
static void
test_total (void)
{
  g_autoptr (FscLedger) ledger = fsc_ledger_new ();
  g_autofree FscAccount *accounts = g_new0 (FscAccount, 200);
  g_autoptr (GPtrArray) labels = g_ptr_array_new ();

  for (guint i = 0; i < FSC_GIFTS_MAX; i++)
    g_ptr_array_add (labels, get_numbered (i));
  for (guint i = 0; i < 200; i++)
    {
      fsc_account_init (&accounts[i], ledger);
      for (guint j = 0; j < FSC_GIFTS_MAX; j++)
        fsc_account_note (&accounts[i], labels->pdata[j], 1, FSC_SHARING_SHARED, FALSE, j);
      g_assert_cmpuint (accounts[i].gifts->len, >=, FSC_GIFTS_FEW / 2);
    }
  g_assert_cmpuint (fsc_ledger_get_n_gifts (ledger), <=, FSC_GIFTS_TOTAL + 200 * FSC_GIFTS_FEW);
  for (guint i = 0; i < 200; i++)
    fsc_account_clear (&accounts[i]);
  for (guint i = 0; i < labels->len; i++)
    fsc_label_unref (labels->pdata[i]);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/ledger/labels", test_labels);
  g_test_add_func ("/ledger/note", test_note);
  g_test_add_func ("/ledger/forget", test_forget);
  g_test_add_func ("/ledger/forget-lent", test_forget_lent);
  g_test_add_func ("/ledger/total", test_total);
  return g_test_run ();
}
