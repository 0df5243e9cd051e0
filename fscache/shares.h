/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Shares: what each user has of what all have together, and how much of it that may be. A user is
 * a user ID, in whatever groups. Of each thing, a user may have what the others leave, divided by
 * the number of users who have some of it, and one (dbus-broker's scheme): so whoever comes finds
 * something left, and of n users each can have at least a part of 1 in n (n + 1), in whatever order
 * they take it. An administrator, that is root or the service's own user, may have all that is
 * left, and of each thing a little is left for administrators alone.
 *
 * Where a service serves one user, nothing is divided: that user may have all of it.
 *
 * To charge and to discharge is a few additions, and refuses nothing: whoever is about to take more
 * asks before.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef enum
{
  FSC_SHARE_CONNECTIONS,
  FSC_SHARE_REQUESTS,    /* that are not answered */
  FSC_SHARE_HANDLES,     /* in the cache */
  FSC_SHARE_BYTES,       /* of memory: that handles keep, and that is being filled */
  FSC_SHARE_DESCRIPTORS, /* sent and not known to be read */
  FSC_SHARE_UNREAD,      /* bytes of replies that wait to be sent */
} FscShare;

#define FSC_N_SHARES (FSC_SHARE_UNREAD + 1)

typedef struct FscShares FscShares;

/* What one user has. */
typedef struct
{
  FscShares *shares;
  uid_t uid;
  gboolean is_administrator;
  gboolean is_rest; /* of all users who came too late; user ID -1 */
  guint n_refs;
  guint64 used[FSC_N_SHARES];

  /* For those who charge it; shares.c looks at none of it. */
  struct FscLoopGroup *group; /* of its connections; NULL: none */
  GQueue dirty;               /* FscConnection: with something to send */
  GList dirty_link;           /* in the server's list while there are any */
  GQueue paused;              /* FscConnection: not read from until it has less */
  GQueue unread;              /* FscOutbox: descriptors were sent that may not have been read */
  gint64 reclaimed_at;        /* when it was last looked whether they were */
} FscStake;

/* What all have together. */
typedef struct
{
  guint64 max[FSC_N_SHARES]; /* 0: any number, for everybody */
  guint64 max_users;         /* who have a share of their own, beside administrators */
} FscShareLimits;

struct FscShares
{
  gboolean is_divided;
  uid_t own;
  FscShareLimits limits;
  guint64 used[FSC_N_SHARES];
  guint n_holding[FSC_N_SHARES]; /* users who have any */
  guint n_users;                 /* that count */
  GHashTable *stakes;            /* user ID -> FscStake */
  gboolean has_eased;            /* somebody with paused connections has less than before */
};

/* `own` is the service's user. Without limits, at first. */
FscShares *fsc_shares_new (gboolean is_divided, uid_t own);
void fsc_shares_set_limits (FscShares *shares, const FscShareLimits *limits);

/* All must be discharged. */
void fsc_shares_free (FscShares *shares);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscShares, fsc_shares_free)

/* A reference to what a user has. Those who come when there are too many users share one. */
FscStake *fsc_shares_ref_stake (FscShares *shares, uid_t uid);
void fsc_stake_unref (FscStake *stake);

/* References to all there are. */
GPtrArray *fsc_shares_ref_all (FscShares *shares);

static inline void
fsc_stake_charge (FscStake *stake, FscShare share, guint64 n)
{
  stake->shares->n_holding[share] += stake->used[share] == 0 && n > 0;
  stake->shares->used[share] += n;
  stake->used[share] += n;
}

static inline void
fsc_stake_discharge (FscStake *stake, FscShare share, guint64 n)
{
  stake->shares->n_holding[share] -= stake->used[share] == n && n > 0;
  stake->shares->used[share] -= n;
  stake->used[share] -= n;
  if (G_UNLIKELY (stake->paused.length > 0))
    stake->shares->has_eased = TRUE;
}

/* How much the user may have now, with what it has. It has more if others have come since. */
guint64 fsc_stake_get_limit (const FscStake *stake, FscShare share);

/* Whether the user may have so many more. */
gboolean fsc_stake_has_room (const FscStake *stake, FscShare share, guint64 n);

/* "user 1000 has 680 of 680 connections that it may have (max-clients=4096 is for 2 users: 2720 are
 * taken)". Free with g_free(). */
char *fsc_stake_explain (const FscStake *stake, FscShare share);

/* The name of a thing: "connections". */
const char *fsc_share_get_name (FscShare share);
