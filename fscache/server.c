/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The service as a whole; see server.h.
 */
#include "fscache/server.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/connection.h"
#include "fscache/follow.h"
#include "fscache/put.h"
#include "fscache/warm.h"

/* A user's other programs share the kernel's account of descriptors in flight, which ends at
 * RLIMIT_NOFILE. (A service for all users has a user of its own.) */
#define MAX_IN_FLIGHT 512

/* What the users of a service for all of them have together, if the configuration does not say. Of
 * three users, each may have as many requests as libfscache has under way for one client. */
#define REQUESTS_MAX (12 * FSC_UNANSWERED_MAX)
#define UNREAD_MAX (32 << 20)
#define USERS_MAX 256

/* Descriptors for all but clients and handles: sockets of openers, the loop, logs, room to move. */
#define RESERVE 64

/* How many more than their share may be connected, to be told in words that there are too many. */
#define GREETING_MARGIN 16

/* Entries are looked at for being idle: all of them within half a minute, and few at once. */
#define SWEEP_FEW 256
#define SWEEP_SECONDS 30

/* Slots of the generation table. It takes memory only where it was written. */
#define GENERATIONS_LEAST 65536
#define GENERATIONS_MOST (1 << 20)

/* Between the parts */

static void
start_job (FscJob *job, gpointer data)
{
  fsc_lanes_start (((FscServer *) data)->lanes, job);
}

static gint64
get_time (gpointer data)
{
  return fsc_loop_get_time (((FscServer *) data)->loop);
}

static FscWatches *
get_watches (guint32 credential, FscBytes uri, gpointer data)
{
  FscServer *server = data;
  const FscProvider *provider = fsc_providers_find (server->config->providers, uri);
  FscChanges *changes = fsc_credentials_get (server->credentials, credential)->changes;

  return changes != NULL && provider != NULL && (provider->is_watching || provider->is_of_file)
             ? fsc_changes_get_watches (changes)
             : NULL;
}

static FscGenerations *
get_generations (guint32 credential, gpointer data)
{
  return fsc_credentials_get (((FscServer *) data)->credentials, credential)->generations;
}

static gboolean
is_content (FscBytes uri, gpointer data)
{
  const FscProvider *provider = fsc_providers_find (((FscServer *) data)->config->providers, uri);

  return provider != NULL && provider->makes_content;
}

static const FscPoolRules *
get_pool_rules (FscBytes uri, gpointer data)
{
  const FscProvider *provider = fsc_providers_find (((FscServer *) data)->config->providers, uri);

  return provider != NULL && provider->pool.max > 0 ? &provider->pool : NULL;
}

/* An idle connection. */
typedef struct
{
  FscPoll poll; /* first */
  FscServer *server;
  FscEntry *entry;
} Guard;

static void
guard_ready (FscPoll *poll, guint32 events)
{
  const Guard *guard = poll->data;

  fsc_cache_spoilt (guard->server->cache, guard->entry);
}

static gpointer
guard_connection (int fd, guint32 events, FscEntry *entry, gpointer data)
{
  Guard *guard = g_new (Guard, 1);

  *guard = (Guard){ { fd, guard_ready, guard }, data, entry };
  if (fsc_loop_add (guard->server->loop, &guard->poll, events))
    return guard;
  g_free (guard);
  return NULL;
}

static void
unguard_connection (gpointer data)
{
  Guard *guard = data;

  fsc_loop_remove (guard->server->loop, &guard->poll);
  g_free (guard);
}

static void
withdraw_job (FscJob *job, gpointer data)
{
  fsc_lanes_withdraw (((FscServer *) data)->lanes, job);
}

static void
catch_up (gpointer data)
{
  FscServer *server = data;

  for (guint i = 0; i < fsc_credentials_get_n (server->credentials); i++)
    {
      FscChanges *changes = fsc_credentials_get (server->credentials, i)->changes;

      if (changes != NULL)
        fsc_changes_catch_up (changes);
    }
}

static void
job_done (FscJob *job, FscOutcome *outcome, gpointer data)
{
  if (job->is_put)
    fsc_puts_finish (job, outcome);
  else
    fsc_cache_finish (((FscServer *) data)->cache, job, outcome);
}

static void
job_receiving (FscJob *job, int socket, gpointer data)
{
  fsc_puts_receiving (job, socket);
}

static void
job_progressed (FscJob *job, const FscProgress *progress, gpointer data)
{
  fsc_cache_progress (((FscServer *) data)->cache, job, progress);
}

static void
opener_lost (gpointer data)
{
  FscServer *server = data;

  if (fsc_cache_get_counters (server->cache)->held > 0)
    fsc_cache_drop_dead (server->cache);
}

static void
opener_exited (guint32 id, int status, gpointer data)
{
  fsc_lanes_opener_exited (id, status, ((FscServer *) data)->lanes);
}

/* Only root could start another, and nobody here is root any more. */
static void
spawner_lost (gpointer data)
{
  FscServer *server = data;

  server->has_failed = TRUE;
  raise (SIGTERM);
}

static void
peer_came (int socket, const FscPeer *peer, gpointer data)
{
  FscServer *server = data;

  fsc_connection_new (server, socket, peer, server->n_turned_away < GREETING_MARGIN);
  fsc_server_watch_clients (server); /* it has to greet */
}

static void
client_came (int socket, gpointer data)
{
  peer_came (socket, NULL, data);
}

/* Housekeeping. Its timers run only while there is something for them to do: an idle service is not
 * to wake a sleeping machine. */

static gboolean
sweep (gpointer data)
{
  FscServer *server = data;
  guint64 n = fsc_cache_get_counters (server->cache)->entries;

  server->sweeping = 0; /* before the next wait it is seen whether that goes on */
  fsc_cache_sweep (server->cache,
                   n <= SWEEP_FEW ? G_MAXUINT : (guint) MAX (SWEEP_FEW, n / SWEEP_SECONDS));
  return G_SOURCE_REMOVE;
}

/* A few entries are looked at all at once, which need not be soon. */
static void
arm_sweep (FscServer *server)
{
  const FscCounters *counters = fsc_cache_get_counters (server->cache);
  gint64 idle_seconds = fsc_cache_get_limits (server->cache)->idle_time / G_USEC_PER_SEC;
  guint seconds
      = counters->entries <= SWEEP_FEW ? (guint) CLAMP (idle_seconds / 8, 1, SWEEP_SECONDS) : 1;

  server->sweeping = fsc_loop_add_timeout (server->loop, seconds * 1000, sweep, server);
}

static gboolean
is_sweep_wanted (const FscServer *server)
{
  const FscCounters *counters = fsc_cache_get_counters (server->cache);

  return counters->entries > counters->pinned
         && fsc_cache_get_limits (server->cache)->idle_time > 0;
}

static gboolean
watch_clients (gpointer data)
{
  FscServer *server = data;
  gint64 time = g_get_monotonic_time ();
  gboolean again = FALSE;

  for (GList *l = server->connections.head, *next; l != NULL; l = next)
    {
      next = l->next;
      again |= fsc_connection_check (l->data, time);
    }
  if (!again)
    server->watching = 0;
  return again;
}

void
fsc_server_watch_clients (FscServer *server)
{
  if (server->watching == 0)
    server->watching = fsc_loop_add_timeout (server->loop, 1000, watch_clients, server);
}

/* Between the turns of the loop */

static gboolean
expire_pools (gpointer data)
{
  FscServer *server = data;

  server->pooling = 0;
  fsc_cache_expire_pools (server->cache);
  return G_SOURCE_REMOVE;
}

static void
arm_pools (FscServer *server)
{
  gint64 due = fsc_cache_get_pools_due (server->cache);
  gint64 left = due - fsc_loop_get_time (server->loop);

  if (due == 0 || (server->pooling != 0 && due >= server->pools_due))
    return;
  g_clear_handle_id (&server->pooling, g_source_remove);
  server->pools_due = due;
  server->pooling = fsc_loop_add_timeout (server->loop, (guint) CLAMP (left / 1000 + 1, 1, 3600000),
                                          expire_pools, server);
}

static void
resume_paused (FscServer *server)
{
  g_autoptr (GPtrArray) stakes = fsc_shares_ref_all (server->shares);

  server->shares->has_eased = FALSE;
  for (guint i = 0; i < stakes->len; i++)
    fsc_connection_resume_paused (stakes->pdata[i]);
}

/* Each user in turn. Returns whether there was anything to send. */
static gboolean
flush_clients (FscServer *server)
{
  guint n_users = server->dirty.length;
  gboolean is_any = n_users > 0;

  for (; n_users > 0 && server->dirty.head != NULL; n_users--)
    {
      FscStake *stake = server->dirty.head->data;

      g_queue_unlink (&server->dirty, &stake->dirty_link);
      g_queue_push_tail_link (&server->dirty, &stake->dirty_link);
      fsc_connection_flush_all (stake);
    }
  return is_any;
}

/* What was collected while events were handled goes out, until nothing is left; but of what goes to
 * clients only a slice for each user, where there are several. Then the rest waits for the next
 * turn. */
static gboolean
before_wait (gpointer data)
{
  FscServer *server = data;
  gboolean may_flush = TRUE, again;

  if (server->lanes == NULL)
    return FALSE;
  do
    {
      again = fsc_follows_flush (server->follows);
      again |= fsc_cache_flush_pools (server->cache);
      again |= fsc_lanes_flush (server->lanes);
      again |= may_flush && flush_clients (server);
      may_flush = !server->shares->is_divided;
    }
  while (again);
  if (server->shares->has_eased)
    resume_paused (server);
  arm_pools (server);
  if (server->sweeping == 0 && is_sweep_wanted (server))
    arm_sweep (server);
  return server->dirty.length > 0;
}

/* Limits */

/* What may be set, from the configuration and from what the process may have. */
typedef struct
{
  FscLimits cache;
  FscShareLimits shares;
  guint64 most_handles;
} Limits;

/* What users have together beside what the cache keeps. A user who is alone may ask for as much as
 * there is memory for, as before there were shares. */
static void
find_shares (gboolean is_for_all, guint64 n_descriptors, guint64 max_clients,
             FscShareLimits *limits)
{
  guint64 *max = limits->max;

  max[FSC_SHARE_CONNECTIONS] = max_clients;
  if (max[FSC_SHARE_DESCRIPTORS] == 0)
    max[FSC_SHARE_DESCRIPTORS]
        = is_for_all ? n_descriptors / 2 : MIN (MAX_IN_FLIGHT, n_descriptors / 2);
  if (is_for_all && max[FSC_SHARE_REQUESTS] == 0)
    max[FSC_SHARE_REQUESTS] = REQUESTS_MAX;
  if (is_for_all && max[FSC_SHARE_UNREAD] == 0)
    max[FSC_SHARE_UNREAD] = UNREAD_MAX;
  if (limits->max_users == 0)
    limits->max_users = USERS_MAX;
}

/* Limits that hold from now on. */
static void
set_limits (FscServer *server, const Limits *limits)
{
  server->most_handles = limits->most_handles;
  fsc_shares_set_limits (server->shares, &limits->shares);
  fsc_server_set_cache_limits (server, &limits->cache);
}

/* Divides the descriptors that the process may have between handles and clients. */
static gboolean
find_limits (const FscConfig *config, gboolean is_for_all, Limits *limits, GError **error)
{
  struct rlimit rlimit;
  guint64 total, max_clients = config->max_clients, max_handles = config->max_handles;

  if (getrlimit (RLIMIT_NOFILE, &rlimit) < 0 || rlimit.rlim_cur <= 2 * RESERVE)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED,
                   "RLIMIT_NOFILE %" G_GUINT64_FORMAT " is too low for a service",
                   (guint64) rlimit.rlim_cur);
      return FALSE;
    }
  total = rlimit.rlim_cur - RESERVE;
  if (max_handles == 0)
    max_handles = max_clients == 0 ? total / 4 * 3 : total - MIN (max_clients, total - 1);
  if (max_clients == 0)
    max_clients = total - MIN (max_handles, total - 1);
  if (max_handles + max_clients > total)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED,
                   "max-handles %" G_GUINT64_FORMAT " and max-clients %" G_GUINT64_FORMAT
                   " are more than RLIMIT_NOFILE allows: %" G_GUINT64_FORMAT " together",
                   max_handles, max_clients, total);
      return FALSE;
    }
  limits->most_handles = total - max_clients;
  limits->cache = (FscLimits){ .max_handles = max_handles,
                               .max_bytes = config->max_bytes,
                               .idle_time = config->idle_time };
  limits->shares = config->shares;
  find_shares (is_for_all, rlimit.rlim_cur, max_clients, &limits->shares);
  return TRUE;
}

static gboolean
find_root (FscServer *server, GError **error)
{
  struct statx st;

  if (statx (AT_FDCWD, "/", AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID, &st) < 0
      || (st.stx_mask & STATX_MNT_ID) == 0)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED,
                           "cannot find the mount ID of /: this needs Linux 5.8");
      return FALSE;
    }
  server->root_mount = st.stx_mnt_id;
  server->root_inode = st.stx_ino;
  return TRUE;
}

/* Life */

/* Without watches all is right, only slower. */
static void
start_watching (FscServer *server, FscCredential *credential)
{
  g_autoptr (GError) error = NULL;

  credential->changes = fsc_changes_new (server->loop, fsc_cache_changed, server->cache, &error);
  if (credential->changes == NULL)
    g_warning ("%s: each hit of user %u will be checked instead", error->message,
               credential->user.uid);
}

/* Limits may be raised later; what has no place then cannot be borrowed. */
static void
make_generations (FscServer *server, FscCredential *credential)
{
  g_autoptr (GError) error = NULL;
  guint64 max_handles = fsc_cache_get_limits (server->cache)->max_handles;
  guint32 n_slots = (guint32) CLAMP (2 * max_handles, GENERATIONS_LEAST, GENERATIONS_MOST);

  credential->generations = fsc_generations_new (n_slots, &error);
  if (credential->generations == NULL)
    g_warning ("%s: clients of user %u cannot borrow", error->message, credential->user.uid);
}

static void
credential_made (FscCredential *credential, gpointer data)
{
  FscServer *server = data;

  credential->rules = fsc_rules_select (server->config->rules, &credential->user);
  credential->stake = fsc_shares_ref_stake (server->shares, credential->user.uid);
  fsc_cache_set_stake (server->cache, credential->number, credential->stake);
  make_generations (server, credential);
  if (server->config->is_watching)
    start_watching (server, credential);
}

static void
memory_is_short (gpointer data)
{
  guint n = fsc_cache_relieve (((FscServer *) data)->cache);

  g_info ("Memory is short: gave back %u handles", n);
}

static void
watch_memory (FscServer *server)
{
  g_autoptr (GError) error = NULL;

  server->pressure
      = fsc_pressure_new (server->loop, FSC_PRESSURE_MEMORY, memory_is_short, server, &error);
  if (server->pressure == NULL)
    g_info ("%s: nothing is given back when memory is short", error->message);
}

static gboolean
server_start (FscServer *server, const char *opener_dir, GError **error)
{
  const FscCacheFuncs provider = { .start = start_job,
                                   .withdraw = withdraw_job,
                                   .now = get_time,
                                   .get_watches = get_watches,
                                   .get_generations = get_generations,
                                   .get_pool_rules = get_pool_rules,
                                   .is_content = is_content,
                                   .guard = guard_connection,
                                   .unguard = unguard_connection,
                                   .tell_progress = fsc_connection_tell_progress };
  const FscLanesFuncs funcs = {
    .done = job_done, .progressed = job_progressed, .receiving = job_receiving, .lost = opener_lost
  };
  const FscSpawnerFuncs spawner_funcs
      = { .exited = opener_exited, .accepted = peer_came, .lost = spawner_lost };
  gboolean is_for_all = fsc_spawner_serves_all (server->spawner);
  Limits limits;

  if (!find_limits (server->config, is_for_all, &limits, error) || !find_root (server, error))
    return FALSE;
  server->most_handles = limits.most_handles;
  server->shares = fsc_shares_new (is_for_all, geteuid ());
  server->loop = fsc_loop_new (before_wait, server, error);
  if (server->loop == NULL)
    return FALSE;
  server->mounts = fsc_mounts_new (server->loop, error);
  if (server->mounts == NULL)
    return FALSE;
  server->cache = fsc_cache_new (&provider, server, &limits.cache);
  set_limits (server, &limits);
  fsc_cache_set_max_put (server->cache,
                         fsc_providers_find_group (server->config->providers, "handle")->max_names);
  server->credentials = fsc_credentials_new (credential_made, server);
  server->puts = fsc_puts_new (server);
  server->follows = fsc_follows_new (server->loop, server->cache, server->mounts, catch_up, server);
  if (server->config->gives_back)
    watch_memory (server);
  if (is_for_all)
    server->openers = fsc_loop_group_new (server->loop, 1, NULL, NULL);
  server->lanes = fsc_lanes_new (server->loop, server->spawner, server->mounts, server->credentials,
                                 server->config, opener_dir, &funcs, server);
  fsc_lanes_set_group (server->lanes, server->openers);
  if (!fsc_spawner_attach (server->spawner, server->loop, &spawner_funcs, server, error))
    return FALSE;
  if (!fsc_spawner_serves_all (server->spawner)
      && !fsc_listener_attach (server->listener, server->loop, client_came, server, error))
    return FALSE;
  if (server->config->warm_list != NULL)
    server->warm = fsc_warm_new (server->cache, server->config->warm_list);
  return TRUE;
}

FscServer *
fsc_server_new (const FscConfig *config, FscSpawner *spawner, FscListener *listener,
                const char *opener_dir, GError **error)
{
  FscServer *server = g_new0 (FscServer, 1);

  server->config = server->first_config = config;
  server->configs = g_ptr_array_new_with_free_func ((GDestroyNotify) fsc_config_free);
  server->opener_dir = opener_dir;
  server->spawner = spawner;
  server->listener = listener;
  server->started = g_get_monotonic_time ();
  server->ledger = fsc_ledger_new ();
  g_queue_init (&server->connections);
  g_queue_init (&server->dirty);
  if (!server_start (server, opener_dir, error))
    g_clear_pointer (&server, fsc_server_free);
  return server;
}

void
fsc_server_free (FscServer *server)
{
  g_clear_handle_id (&server->sweeping, g_source_remove);
  g_clear_handle_id (&server->pooling, g_source_remove);
  for (guint i = 0; server->credentials != NULL && i < fsc_credentials_get_n (server->credentials);
       i++)
    {
      FscCredential *credential = fsc_credentials_get (server->credentials, i);

      if (credential->generations != NULL)
        fsc_generations_end_all (credential->generations);
    }
  while (server->connections.head != NULL)
    fsc_connection_close (server->connections.head->data);
  g_clear_handle_id (&server->watching, g_source_remove);
  g_clear_handle_id (&server->starved, g_source_remove);
  g_clear_pointer (&server->pressure, fsc_pressure_free);
  g_clear_pointer (&server->warm, fsc_warm_free);
  g_clear_pointer (&server->follows, fsc_follows_free);
  g_clear_pointer (&server->lanes, fsc_lanes_free);
  g_clear_pointer (&server->openers, fsc_loop_group_free);
  g_clear_pointer (&server->puts, fsc_puts_free);
  g_clear_pointer (&server->cache, fsc_cache_free);
  g_clear_pointer (&server->ledger, fsc_ledger_free);
  g_clear_pointer (&server->credentials, fsc_credentials_free);
  g_clear_pointer (&server->shares, fsc_shares_free);
  g_clear_pointer (&server->mounts, fsc_mounts_free);
  fsc_spawner_free (server->spawner);
  fsc_listener_free (server->listener);
  g_clear_pointer (&server->loop, fsc_loop_free);
  g_ptr_array_unref (server->configs);
  g_free (server);
}

void
fsc_server_set_cache_limits (FscServer *server, const FscLimits *limits)
{
  FscShareLimits shares = server->shares->limits;

  shares.max[FSC_SHARE_HANDLES] = limits->max_handles;
  shares.max[FSC_SHARE_BYTES] = limits->max_bytes;
  fsc_shares_set_limits (server->shares, &shares);
  fsc_cache_set_limits (server->cache, limits);
  g_clear_handle_id (&server->sweeping, g_source_remove); /* it is armed anew, for the new time */
}

gboolean
fsc_server_set_limits (FscServer *server, const FscConfig *config, GError **error)
{
  Limits limits;

  if (!find_limits (config, server->shares->is_divided, &limits, error))
    return FALSE;
  set_limits (server, &limits);
  fsc_cache_set_max_put (server->cache,
                         fsc_providers_find_group (config->providers, "handle")->max_names);
  return TRUE;
}

/* Of all credentials together. */
static FscWatchCounters
count_watches (const FscServer *server)
{
  FscWatchCounters sum = { 0 };

  for (guint i = 0; i < fsc_credentials_get_n (server->credentials); i++)
    {
      FscChanges *changes = fsc_credentials_get (server->credentials, i)->changes;
      const FscWatchCounters *one;

      if (changes == NULL)
        continue;
      one = fsc_watches_get_counters (fsc_changes_get_watches (changes));
      sum.entries += one->entries;
      sum.directories += one->directories;
      sum.files += one->files;
      sum.events += one->events;
      sum.overflows += one->overflows;
    }
  return sum;
}

/* What clients wait for. */
static guint64
count_waiting (const FscServer *server)
{
  guint64 n = 0;

  for (GList *l = server->connections.head; l != NULL; l = l->next)
    n += fsc_connection_get_n_waiting (l->data);
  return n;
}

void
fsc_server_foreach_counter (FscServer *server, FscServerCounterFunc func, gpointer data)
{
  const FscCounters *cache = fsc_cache_get_counters (server->cache);
  const FscFollowCounters *follows = fsc_follows_get_counters (server->follows);
  const FscLaneCounters *lanes = fsc_lanes_get_counters (server->lanes);
  const FscWatchCounters watches = count_watches (server);
  const FscPoolCounters pools = fsc_cache_count_pools (server->cache);
  const struct
  {
    const char *name;
    guint64 value;
  } counters[] = {
    { "handles", cache->handles },
    { "bytes", cache->bytes },
    { "bytes_making", cache->making },
    { "clients", server->connections.length },
    { "users", fsc_credentials_get_n (server->credentials) },
    { "hits", cache->hits },
    { "misses", cache->misses },
    { "opens", cache->opens },
    { "open_errors", cache->open_errors },
    { "coalesced", cache->coalesced },
    { "evictions", cache->evictions },
    { "pressure_evictions", cache->pressure_evictions },
    { "invalidations", cache->invalidations },
    { "checks", cache->checks },
    { "passed", cache->passed },
    { "pinned", cache->pinned },
    { "held", cache->held },
    { "negative", cache->negative },
    { "put", cache->put },
    { "entries", cache->entries },
    { "pools", pools.pools },
    { "connections", pools.connections },
    { "connections_idle", pools.idle },
    { "connections_lent", pools.lent },
    { "connections_awaited", pools.waiting },
    { "watches", follows->watches },
    { "followed", follows->followed },
    { "events", follows->events },
    { "lanes", lanes->lanes },
    { "openers", lanes->openers },
    { "openers_started", lanes->openers_started },
    { "openers_failed", lanes->openers_failed },
    { "openers_stuck", lanes->stuck },
    { "timeouts", lanes->timeouts },
    { "waiting", count_waiting (server) },
    { "queued", lanes->queued },
    { "watching", cache->watching },
    { "watched", watches.entries },
    { "watched_directories", watches.directories },
    { "watched_files", watches.files },
    { "watch_events", watches.events },
    { "watch_overflows", watches.overflows },
    { "in_flight", server->shares->used[FSC_SHARE_DESCRIPTORS] },
    { "max_handles", fsc_cache_get_limits (server->cache)->max_handles },
    { "max_bytes", fsc_cache_get_limits (server->cache)->max_bytes },
    { "idle_time_ms", (guint64) fsc_cache_get_limits (server->cache)->idle_time / 1000 },
    { "max_clients", server->shares->limits.max[FSC_SHARE_CONNECTIONS] },
    { "uptime_ms", (guint64) (g_get_monotonic_time () - server->started) / 1000 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (counters); i++)
    func (counters[i].name, counters[i].value, data);
}
