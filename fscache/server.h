/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The service: all its state hangs off one FscServer. It ties the parts together: what the cache
 * wants opened goes to the lanes, what the lanes bring goes to the cache, what the cache answers
 * goes out through the connections.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "fscache/cache.h"
#include "fscache/config.h"
#include "fscache/credential.h"
#include "fscache/lanes.h"
#include "fscache/listener.h"
#include "fscache/loop.h"
#include "fscache/mounts.h"
#include "fscache/pressure.h"
#include "fscache/shares.h"
#include "fscache/spawner.h"

typedef struct
{
  const FscConfig *config;       /* that holds now */
  const FscConfig *first_config; /* with which it was started */
  GPtrArray *configs;            /* those that came later */
  const char *opener_dir;
  FscLoop *loop;
  FscSpawner *spawner;
  FscMounts *mounts;
  FscLanes *lanes;
  FscCache *cache;
  struct FscFollows *follows;
  struct FscPuts *puts;
  struct FscWarm *warm; /* NULL: nothing is opened before it is asked for */
  FscCredentials *credentials;
  FscPressure *pressure; /* NULL: not wanted, or not to be had */
  FscListener *listener;
  FscLedger *ledger;
  FscShares *shares;

  GQueue connections;      /* of FscConnection, by number */
  GQueue dirty;            /* of FscStake: with clients that something is to be sent to */
  FscLoopGroup *openers;   /* NULL: there is one user */
  guint starved;           /* source id while too many descriptors are in flight */
  guint n_turned_away;     /* connections beyond a share, that greet to be told */
  guint64 last_connection; /* number */
  guint64 most_handles;    /* that max-handles may be set to */

  guint64 root_mount, root_inode; /* of "/" as the service sees it */
  guint sweeping, watching;       /* source ids: for entries, and for clients */
  guint pooling;                  /* and for pools, */
  gint64 pools_due;               /* when that is due */
  gint64 started;
  gboolean has_failed; /* it ends because it cannot go on */
} FscServer;

/* Makes the service. Takes the spawner and the listener. The configuration and opener_dir are
 * borrowed. */
FscServer *fsc_server_new (const FscConfig *config, FscSpawner *spawner, FscListener *listener,
                           const char *opener_dir, GError **error);

/* Has the limits of a configuration, if they fit together. */
gboolean fsc_server_set_limits (FscServer *server, const FscConfig *config, GError **error);

/* Changes those of the cache, and what users have of them. */
void fsc_server_set_cache_limits (FscServer *server, const FscLimits *limits);

/* Disconnects all clients, ends all openers, closes everything. */
void fsc_server_free (FscServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscServer, fsc_server_free)

/* A client has yet to greet, or to read: sees to it that it is checked. */
void fsc_server_watch_clients (FscServer *server);

/* Calls `func` for each counter. */
typedef void (*FscServerCounterFunc) (const char *name, guint64 value, gpointer data);
void fsc_server_foreach_counter (FscServer *server, FscServerCounterFunc func, gpointer data);
