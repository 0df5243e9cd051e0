/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What each user has, and may have; see shares.h.
 *
 * Why that is enough for everybody: put the n users who have some in the order in which they last
 * took of it. When the i-th of them did, i users or more had some, and those before it had at least
 * what they have now; so it has at most 1 / (i + 1) of what those leave. After n users,
 * 1 / (n + 1) is left. Whoever of n users wants more finds 1 / n left by the others, and may have
 * 1 / (n + 1) of that.
 */
#include "fscache/shares.h"

/* That administrators alone may have: at most so many, and such a part. */
#define RESERVE_MOST 16
#define RESERVE_PART 16

#define REST ((uid_t) -1) /* nobody's */

static const struct
{
  const char *name, *what, *key; /* for programs, for people, and in the configuration */
} names[] = {
  [FSC_SHARE_CONNECTIONS] = { "connections", "connections", "max-clients" },
  [FSC_SHARE_REQUESTS] = { "requests", "requests that are not answered", "[shares] requests" },
  [FSC_SHARE_HANDLES] = { "handles", "handles", "max-handles" },
  [FSC_SHARE_BYTES] = { "bytes", "bytes of memory", "max-bytes" },
  [FSC_SHARE_DESCRIPTORS]
  = { "descriptors", "descriptors that are not read", "[shares] descriptors" },
  [FSC_SHARE_UNREAD] = { "unread", "bytes of replies that are not read", "[shares] unread" },
};

G_STATIC_ASSERT (G_N_ELEMENTS (names) == FSC_N_SHARES);

const char *
fsc_share_get_name (FscShare share)
{
  return names[share].name;
}

static gboolean
counts (const FscStake *stake)
{
  return !stake->is_administrator && !stake->is_rest;
}

FscShares *
fsc_shares_new (gboolean is_divided, uid_t own)
{
  FscShares *shares = g_new0 (FscShares, 1);

  shares->is_divided = is_divided;
  shares->own = own;
  shares->limits.max_users = G_MAXUINT64;
  shares->stakes = g_hash_table_new (NULL, NULL);
  return shares;
}

void
fsc_shares_set_limits (FscShares *shares, const FscShareLimits *limits)
{
  shares->limits = *limits;
  shares->has_eased = TRUE;
}

void
fsc_shares_free (FscShares *shares)
{
  g_assert (g_hash_table_size (shares->stakes) == 0);
  g_hash_table_unref (shares->stakes);
  g_free (shares);
}

static FscStake *
add_stake (FscShares *shares, uid_t uid, gboolean is_administrator)
{
  FscStake *stake = g_new0 (FscStake, 1);

  stake->shares = shares;
  stake->uid = uid;
  stake->is_administrator = is_administrator;
  stake->is_rest = uid == REST;
  g_queue_init (&stake->dirty);
  stake->dirty_link.data = stake;
  g_queue_init (&stake->paused);
  g_queue_init (&stake->unread);
  g_hash_table_insert (shares->stakes, GUINT_TO_POINTER (uid), stake);
  shares->n_users += counts (stake);
  return stake;
}

FscStake *
fsc_shares_ref_stake (FscShares *shares, uid_t uid)
{
  FscStake *stake = g_hash_table_lookup (shares->stakes, GUINT_TO_POINTER (uid));
  gboolean is_administrator = uid == 0 || uid == shares->own;

  if (stake == NULL && !is_administrator && shares->n_users >= shares->limits.max_users)
    {
      uid = REST;
      stake = g_hash_table_lookup (shares->stakes, GUINT_TO_POINTER (uid));
    }
  if (stake == NULL)
    stake = add_stake (shares, uid, is_administrator);
  stake->n_refs++;
  return stake;
}

void
fsc_stake_unref (FscStake *stake)
{
  FscShares *shares = stake->shares;

  if (--stake->n_refs > 0)
    return;
  for (FscShare i = 0; i < FSC_N_SHARES; i++)
    g_assert (stake->used[i] == 0);
  g_assert (stake->group == NULL);
  shares->n_users -= counts (stake);
  g_hash_table_remove (shares->stakes, GUINT_TO_POINTER (stake->uid));
  g_free (stake);
}

GPtrArray *
fsc_shares_ref_all (FscShares *shares)
{
  GPtrArray *stakes = g_ptr_array_new_with_free_func ((GDestroyNotify) fsc_stake_unref);
  GHashTableIter iter;
  gpointer stake;

  g_hash_table_iter_init (&iter, shares->stakes);
  while (g_hash_table_iter_next (&iter, NULL, &stake))
    {
      ((FscStake *) stake)->n_refs++;
      g_ptr_array_add (stakes, stake);
    }
  return stakes;
}

static guint64
subtract (guint64 from, guint64 what)
{
  return from - MIN (from, what);
}

/* How many users have some, with this one. */
static guint
count_users (const FscStake *stake, FscShare share)
{
  return stake->shares->n_holding[share] + (stake->used[share] == 0);
}

guint64
fsc_stake_get_limit (const FscStake *stake, FscShare share)
{
  const FscShares *shares = stake->shares;
  guint64 max = shares->limits.max[share];
  guint64 others = shares->used[share] - stake->used[share];

  if (max == 0)
    return G_MAXUINT64;
  if (!shares->is_divided || stake->is_administrator)
    return subtract (max, others);
  max -= MIN (max / RESERVE_PART, RESERVE_MOST);
  return subtract (max, others) / (count_users (stake, share) + 1);
}

gboolean
fsc_stake_has_room (const FscStake *stake, FscShare share, guint64 n)
{
  guint64 limit = fsc_stake_get_limit (stake, share);

  return n <= limit && stake->used[share] <= limit - n;
}

char *
fsc_stake_explain (const FscStake *stake, FscShare share)
{
  const FscShares *shares = stake->shares;

  g_autofree char *who = stake->is_rest
                             ? g_strdup_printf ("whoever came after %u users", shares->n_users)
                             : g_strdup_printf ("user %u", stake->uid);

  return g_strdup_printf ("%s has %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                          " %s that it may have (%s=%" G_GUINT64_FORMAT
                          " is for %u users: %" G_GUINT64_FORMAT " are taken)",
                          who, stake->used[share], fsc_stake_get_limit (stake, share),
                          names[share].what, names[share].key, shares->limits.max[share],
                          count_users (stake, share), shares->used[share]);
}
