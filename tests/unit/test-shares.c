/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Shares: however users come, take, give back and go, n of them can have a part of 1 in n (n + 1)
 * each, and there is something left for whoever comes next.
 */
#include <string.h>

#include "fscache/shares.h"
#include "tests/harness/tap.h"

#define OWN 500
#define ALL 1000000
#define USERS 12

static FscShares *
make (gboolean is_divided)
{
  FscShares *shares = fsc_shares_new (is_divided, OWN);
  const FscShareLimits limits = { .max = { ALL, ALL, ALL, ALL, ALL, ALL }, .max_users = USERS + 1 };

  fsc_shares_set_limits (shares, &limits);
  return shares;
}

static void
give_all_back (FscStake *stake)
{
  for (FscShare i = 0; i < FSC_N_SHARES; i++)
    fsc_stake_discharge (stake, i, stake->used[i]);
  fsc_stake_unref (stake);
}

/* As much as it may. */
static void
take_all (FscStake *stake, FscShare share)
{
  guint64 limit = fsc_stake_get_limit (stake, share);

  if (limit > stake->used[share])
    fsc_stake_charge (stake, share, limit - stake->used[share]);
}

/* One after the other takes all: 1/2, 1/6, 1/12, ... of it, less what is reserved. */
static void
test_in_turn (void)
{
  g_autoptr (FscShares) shares = make (TRUE);
  FscStake *stakes[USERS];

  for (guint64 i = 0; i < USERS; i++)
    {
      stakes[i] = fsc_shares_ref_stake (shares, 1000 + (uid_t) i);
      take_all (stakes[i], FSC_SHARE_HANDLES);
      g_assert_cmpuint (stakes[i]->used[FSC_SHARE_HANDLES], <=, ALL / ((i + 1) * (i + 2)));
      g_assert_cmpuint (stakes[i]->used[FSC_SHARE_HANDLES] + 16, >,
                        (ALL - 16) / ((i + 1) * (i + 2)));
      g_assert_false (fsc_stake_has_room (stakes[i], FSC_SHARE_HANDLES, 1));
      g_assert_true (fsc_stake_has_room (stakes[i], FSC_SHARE_BYTES, 1));
    }
  for (guint i = 0; i < USERS; i++)
    give_all_back (stakes[i]);
}

/* At random, with those who take more than the others; the promise is kept at each moment. */
static void
test_property (void)
{
  g_autoptr (FscShares) shares = make (TRUE);
  FscStake *stakes[USERS] = { NULL };
  const FscShare share = FSC_SHARE_REQUESTS;

  for (guint step = 0; step < 200000; step++)
    {
      guint who = (guint) g_test_rand_int_range (0, USERS);
      FscStake *stake = stakes[who];
      guint64 n;

      if (stake == NULL)
        stake = stakes[who] = fsc_shares_ref_stake (shares, 1000 + who);
      switch (g_test_rand_int_range (0, who < 3 ? 3 : 8))
        {
        case 0:
          take_all (stake, share);
          break;
        case 1:
          if (fsc_stake_has_room (stake, share, 1))
            fsc_stake_charge (stake, share, 1);
          break;
        case 2:
          fsc_stake_discharge (stake, share, stake->used[share] / 3);
          break;
        default:
          give_all_back (stake);
          stakes[who] = NULL;
        }

      n = shares->n_holding[share];
      g_assert_cmpuint (ALL - shares->used[share], >=, (ALL - 16) / (n + 1));
      for (guint i = 0; i < USERS; i++)
        if (stakes[i] != NULL)
          {
            guint64 n_with = n + (stakes[i]->used[share] == 0);

            g_assert_cmpuint (MAX (fsc_stake_get_limit (stakes[i], share), stakes[i]->used[share]),
                              >=, (ALL - 16) / (n_with * (n_with + 1)));
          }
    }
  for (guint i = 0; i < USERS; i++)
    if (stakes[i] != NULL)
      give_all_back (stakes[i]);
  for (FscShare i = 0; i < FSC_N_SHARES; i++)
    {
      g_assert_cmpuint (shares->used[i], ==, 0);
      g_assert_cmpuint (shares->n_holding[i], ==, 0);
    }
}

/* However little there is, something is left for root and the service's own user. */
static void
test_administrators (void)
{
  g_autoptr (FscShares) shares = make (TRUE);
  const FscShareLimits limits = { .max = { 32, 32, 32, 32, 32, 32 }, .max_users = USERS };
  FscStake *root = fsc_shares_ref_stake (shares, 0);
  FscStake *own = fsc_shares_ref_stake (shares, OWN);
  FscStake *users[USERS];

  fsc_shares_set_limits (shares, &limits);
  for (guint i = 0; i < USERS; i++)
    {
      users[i] = fsc_shares_ref_stake (shares, 1000 + i);
      take_all (users[i], FSC_SHARE_CONNECTIONS);
    }
  for (guint i = 0; i < USERS; i++)
    take_all (users[i], FSC_SHARE_CONNECTIONS);
  g_assert_cmpuint (fsc_stake_get_limit (own, FSC_SHARE_CONNECTIONS), >=, 2);
  g_assert_cmpuint (fsc_stake_get_limit (own, FSC_SHARE_CONNECTIONS), ==,
                    32 - shares->used[FSC_SHARE_CONNECTIONS]);
  take_all (root, FSC_SHARE_CONNECTIONS);
  g_assert_cmpuint (shares->used[FSC_SHARE_CONNECTIONS], ==, 32);
  g_assert_cmpuint (fsc_stake_get_limit (own, FSC_SHARE_CONNECTIONS), ==, 0);
  for (guint i = 0; i < USERS; i++)
    give_all_back (users[i]);
  give_all_back (root);
  give_all_back (own);
}

/* A service of one user's has nothing to divide; root, who may come too, takes of the same. */
static void
test_undivided (void)
{
  g_autoptr (FscShares) shares = make (FALSE);
  FscStake *own = fsc_shares_ref_stake (shares, OWN), *root = fsc_shares_ref_stake (shares, 0);

  g_assert_cmpuint (fsc_stake_get_limit (own, FSC_SHARE_HANDLES), ==, ALL);
  fsc_stake_charge (root, FSC_SHARE_HANDLES, 1);
  g_assert_cmpuint (fsc_stake_get_limit (own, FSC_SHARE_HANDLES), ==, ALL - 1);
  take_all (own, FSC_SHARE_HANDLES);
  g_assert_false (fsc_stake_has_room (root, FSC_SHARE_HANDLES, 1));
  give_all_back (root);
  give_all_back (own);
}

/* Who comes when there are too many takes of one share with all others who do. */
static void
test_rest (void)
{
  g_autoptr (FscShares) shares = make (TRUE);
  FscStake *stakes[USERS + 4];
  g_autofree char *text = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (stakes); i++)
    {
      stakes[i] = fsc_shares_ref_stake (shares, 1000 + i);
      fsc_stake_charge (stakes[i], FSC_SHARE_BYTES, 10);
    }
  g_assert_true (stakes[USERS] != stakes[USERS + 1]);
  g_assert_true (stakes[USERS + 1] == stakes[USERS + 2]);
  g_assert_cmpuint (stakes[USERS + 1]->used[FSC_SHARE_BYTES], ==, 30);
  g_assert_cmpuint (shares->n_holding[FSC_SHARE_BYTES], ==, USERS + 2);
  text = fsc_stake_explain (stakes[USERS + 3], FSC_SHARE_BYTES);
  g_assert_true (g_str_has_prefix (text, "whoever came after 13 users has 30 of "));
  for (guint i = 0; i < G_N_ELEMENTS (stakes); i++)
    {
      fsc_stake_discharge (stakes[i], FSC_SHARE_BYTES, 10);
      fsc_stake_unref (stakes[i]);
    }
}

static void
test_words (void)
{
  g_autoptr (FscShares) shares = make (TRUE);
  const FscShareLimits limits = { .max = { 4096 }, .max_users = 2 };
  FscStake *one = fsc_shares_ref_stake (shares, 1000), *two = fsc_shares_ref_stake (shares, 1001);
  g_autofree char *text = NULL;

  fsc_shares_set_limits (shares, &limits);
  fsc_stake_charge (one, FSC_SHARE_CONNECTIONS, 2040);
  take_all (two, FSC_SHARE_CONNECTIONS);
  text = fsc_stake_explain (two, FSC_SHARE_CONNECTIONS);
  g_assert_cmpstr (text, ==,
                   "user 1001 has 680 of 680 connections that it may have (max-clients=4096 is for "
                   "2 users: 2720 are taken)");
  g_assert_true (fsc_stake_has_room (two, FSC_SHARE_HANDLES, G_MAXUINT64)); /* no limit */
  give_all_back (one);
  give_all_back (two);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/shares/in-turn", test_in_turn);
  g_test_add_func ("/shares/property", test_property);
  g_test_add_func ("/shares/administrators", test_administrators);
  g_test_add_func ("/shares/undivided", test_undivided);
  g_test_add_func ("/shares/rest", test_rest);
  g_test_add_func ("/shares/words", test_words);
  return g_test_run ();
}
