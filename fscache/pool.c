/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pools of connections; see pool.h.
 */
#include "fscache/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "fscache/answer.h"
#include "fscache/room.h"
#include "protocol/uri.h"

/* How long it is left alone after a connection has failed that nobody waited for; twice as long
 * after the next one. */
#define PAUSE_LEAST (G_USEC_PER_SEC / 4)
#define PAUSE_MOST (30 * G_USEC_PER_SEC)

/* Of the flags of open(), a connection has these, or they mean nothing. */
#define CONNECTION_FLAGS ((guint32) (O_ACCMODE | O_CLOEXEC | O_NOCTTY | O_LARGEFILE | O_NONBLOCK))

struct FscPool
{
  const FscPoolRules *rules;
  FscLabel *label;
  guint32 credential;
  GQueue waiters; /* of FscWaiter */
  guint n;        /* entries: lent, idle, or being connected */
  guint n_connecting;
  gint64 asked_at;
  gint64 retry_at; /* not to be filled before */
  gint64 pause;
  gboolean is_dirty;
  gboolean is_to_fill;
};

/* Pools by the user and the URI. */

static guint
pool_hash (gconstpointer data)
{
  const FscPool *pool = data;

  return g_str_hash (pool->label->uri) + pool->credential;
}

static gboolean
pool_equal (gconstpointer a, gconstpointer b)
{
  const FscPool *x = a, *y = b;

  return x->credential == y->credential && strcmp (x->label->uri, y->label->uri) == 0;
}

static void
pool_free (gpointer data)
{
  FscPool *pool = data;

  g_assert (pool->n == 0 && pool->waiters.length == 0);
  fsc_label_unref (pool->label);
  g_free (pool);
}

GHashTable *
fsc_pools_new (void)
{
  return g_hash_table_new_full (pool_hash, pool_equal, pool_free, NULL);
}

void
fsc_pools_free (FscCache *cache)
{
  g_ptr_array_unref (cache->dirty_pools);
  g_hash_table_unref (cache->pools);
}

static void
mark_dirty (FscCache *cache, FscPool *pool)
{
  if (pool->is_dirty)
    return;
  pool->is_dirty = TRUE;
  g_ptr_array_add (cache->dirty_pools, pool);
}

static void
arm (FscCache *cache, gint64 due)
{
  if (cache->pools_due == 0 || due < cache->pools_due)
    cache->pools_due = due;
}

static FscPool *
get_pool (FscCache *cache, const FscPoolRules *rules, const FscKey *key)
{
  FscLabel *label = fsc_label_new ((FscBytes){ key->uri, key->uri_length });
  FscPool wanted = { .rules = rules, .label = label, .credential = key->credential };
  FscPool *pool = g_hash_table_lookup (cache->pools, &wanted);

  if (pool != NULL)
    {
      fsc_label_unref (label);
      return pool;
    }
  pool = g_memdup2 (&wanted, sizeof wanted);
  pool->pause = PAUSE_LEAST;
  g_hash_table_add (cache->pools, pool);
  return pool;
}

static FscEntry *
get_first (FscCache *cache, const FscPool *pool)
{
  const FscKey key = fsc_store_make_key (&cache->store, fsc_label_get_uri (pool->label),
                                         pool->credential, 0, TRUE);

  return fsc_store_find (&cache->store, &key);
}

static gboolean
is_idle (const FscEntry *entry)
{
  return entry->handle != NULL && entry->lease == 0 && entry->flight == NULL;
}

static guint
count_idle (FscCache *cache, const FscPool *pool)
{
  guint n = 0;

  for (const FscEntry *entry = get_first (cache, pool); entry != NULL; entry = entry->twin)
    n += is_idle (entry);
  return n;
}

/* Its minimum is there for who has asked lately. */
static gboolean
is_kept (const FscPool *pool, gint64 time)
{
  return pool->rules->idle_time == 0 || time - pool->asked_at < pool->rules->idle_time;
}

/* Connections */

/* What must not be there if it is to be lent. */
static short
get_spoiling_events (const FscEntry *entry)
{
  return entry->was_lent ? POLLRDHUP | POLLIN : POLLRDHUP;
}

static gboolean
is_good (const FscEntry *entry)
{
  struct pollfd poll_fd = { .fd = entry->handle->fd, .events = get_spoiling_events (entry) };

  return poll (&poll_fd, 1, 0) == 0;
}

/* What changes how the next borrower reads and writes, or hides from poll() what has come. Nobody
 * can set it back without a lock. */
static const struct
{
  int level, name;
  int initial; /* and zeros behind it, where it is longer */
} options[] = {
  { SOL_SOCKET, SO_RCVLOWAT, 1 },  { SOL_SOCKET, SO_RCVTIMEO, 0 }, { SOL_SOCKET, SO_SNDTIMEO, 0 },
  { SOL_SOCKET, SO_PEEK_OFF, -1 }, { SOL_SOCKET, SO_LINGER, 0 },   { IPPROTO_TCP, TCP_CORK, 0 },
};

static gboolean
is_initial (int fd, guint i)
{
  const int wanted[sizeof (struct timeval) / sizeof (int)] = { options[i].initial };
  int value[G_N_ELEMENTS (wanted)] = { 0 };
  socklen_t length = sizeof value;

  return getsockopt (fd, options[i].level, options[i].name, value, &length) < 0 /* has none */
         || memcmp (value, wanted, sizeof value) == 0;
}

static gboolean
is_as_it_was (const FscHandle *handle)
{
  int flags = fcntl (handle->fd, F_GETFL);
  gboolean is_good = flags >= 0 && (flags & ~(O_NONBLOCK | O_LARGEFILE)) == O_RDWR;

  for (guint i = 0; i < G_N_ELEMENTS (options); i++)
    is_good = is_good && is_initial (handle->fd, i);
  return is_good;
}

static void
become_idle (FscCache *cache, FscEntry *entry)
{
  FscPool *pool = entry->pool;

  entry->used_at = fsc_cache_now (cache);
  if (cache->provider.guard != NULL && entry->guard == NULL)
    entry->guard = cache->provider.guard (entry->handle->fd, (guint32) get_spoiling_events (entry),
                                          entry, cache->provider_data);
  if (pool->rules->idle_time > 0)
    arm (cache, entry->used_at + pool->rules->idle_time);
  mark_dirty (cache, pool);
}

void
fsc_pool_unguard (FscCache *cache, FscEntry *entry)
{
  if (entry->guard != NULL)
    cache->provider.unguard (entry->guard);
  entry->guard = NULL;
}

void
fsc_pool_forget (FscCache *cache, FscEntry *entry)
{
  entry->pool->n--;
  mark_dirty (cache, entry->pool);
}

static void
end_spoilt (FscCache *cache, FscEntry *entry)
{
  entry->pool->is_to_fill = TRUE;
  cache->counters.invalidations++;
  fsc_entry_drop (cache, entry, FSC_TURN_EVICTED);
}

void
fsc_cache_spoilt (FscCache *cache, FscEntry *entry)
{
  if (!is_good (entry))
    end_spoilt (cache, entry);
}

void
fsc_pool_take_back (FscCache *cache, FscEntry *entry)
{
  if (is_as_it_was (entry->handle))
    become_idle (cache, entry);
  else
    end_spoilt (cache, entry);
}

/* One that this one can be given, or NULL; those that nobody can any more are closed. Who is to
 * keep it expects it as connect() leaves it. */
static FscEntry *
find_idle (FscCache *cache, const FscPool *pool, const FscWaiter *waiter)
{
  FscEntry *next;

  for (FscEntry *entry = get_first (cache, pool); entry != NULL; entry = next)
    {
      next = entry->twin;
      if (!is_idle (entry))
        continue;
      if (!is_good (entry))
        end_spoilt (cache, entry);
      else if (!entry->was_lent || waiter->sharing != FSC_SHARING_INDEPENDENT)
        return entry;
    }
  return NULL;
}

static void
make_connection (FscCache *cache, FscPool *pool)
{
  const FscKey key = fsc_store_make_key (&cache->store, fsc_label_get_uri (pool->label),
                                         pool->credential, 0, TRUE);
  const FscItem item = { .sharing = FSC_SHARING_EXCLUSIVE };
  FscEntry *entry = fsc_store_add (&cache->store, &key);
  FscJob *job = fsc_job_new (&item, fsc_label_get_uri (pool->label), pool->credential,
                             fsc_cache_now (cache));

  pool->n++;
  pool->n_connecting++;
  entry->pool = pool;
  entry->flight = job;
  job->entry = entry;
  job->is_for_pool = TRUE;
  cache->counters.opens++;
  cache->provider.start (job, cache->provider_data);
}

/* Answers */

/* As a directory, it is opened before that is said: so this is how a pool is warmed. */
static void
refuse_to_share (FscCache *cache, FscEntry *entry, gboolean is_kept, const FscWaiter *waiter)
{
  g_autoptr (FscLabel) label = fsc_label_ref (entry->label);

  entry->pool->is_to_fill = TRUE;
  if (is_kept)
    become_idle (cache, entry);
  else
    fsc_entry_drop (cache, entry, FSC_TURN_EVICTED);
  fsc_answer_fault (waiter, is_kept ? FSC_CODE_NOT_REOPENABLE : FSC_CODE_LIMIT,
                    is_kept ? EISCONN : ENOSPC, fsc_label_get_uri (label),
                    is_kept ? "is a connection, which cannot be shared: ask for it exclusive, to "
                              "borrow it, or independent, to keep it"
                            : "is a connection that cannot be kept: of max-handles none is free");
}

static void
deliver (FscCache *cache, FscEntry *entry, gboolean is_hit, gboolean is_kept,
         const FscWaiter *waiter)
{
  g_autoptr (FscHandle) handle = fsc_handle_ref (entry->handle);
  g_autoptr (FscLabel) label = fsc_label_ref (entry->label);
  gboolean is_lent = is_kept && waiter->sharing == FSC_SHARING_EXCLUSIVE;
  FscAnswer answer = {
    .handle = handle,
    .label = label,
    .sharing = waiter->sharing,
    .asked = waiter->sharing,
    .source = !is_lent          ? FSC_SOURCE_PASSED
              : entry->was_lent ? FSC_SOURCE_CACHE
                                : FSC_SOURCE_OPENED,
    .coherence = FSC_COHERENCE_CHECKED,
  };

  if (waiter->sharing == FSC_SHARING_SHARED)
    {
      refuse_to_share (cache, entry, is_kept, waiter);
      return;
    }
  fcntl (handle->fd, F_SETFL, waiter->is_nonblocking ? O_NONBLOCK : 0);
  cache->counters.hits += is_hit;
  cache->counters.misses += !is_hit;
  entry->hits += is_hit;
  entry->pool->is_to_fill = TRUE;
  mark_dirty (cache, entry->pool);
  entry->used_at = fsc_cache_now (cache);
  entry->was_lent = TRUE;
  fsc_pool_unguard (cache, entry);
  if (is_lent)
    answer.lease = fsc_entry_lend (cache, entry, waiter->lessee);
  else
    fsc_entry_drop (cache, entry, FSC_TURN_EVICTED);
  waiter->func (&answer, waiter->data, waiter->index);
}

static const char *
find_fault (const FscItem *item)
{
  if ((item->flags & ~CONNECTION_FLAGS) != 0)
    return "is a connection, which cannot be opened with these flags";
  if ((item->options & FSC_OPTION_DIGEST) != 0)
    return "is a connection, which has no digest";
  return NULL;
}

FscWaiter *
fsc_pool_open (FscCache *cache, const FscPoolRules *rules, const FscKey *key, const FscItem *item,
               const FscWaiter *who)
{
  const char *fault = find_fault (item);
  FscPool *pool;
  FscEntry *entry = NULL;

  if (fault != NULL)
    {
      fsc_answer_fault (who, FSC_CODE_BAD_REQUEST, EINVAL, (FscBytes){ key->uri, key->uri_length },
                        fault);
      return NULL;
    }
  pool = get_pool (cache, rules, key);
  pool->asked_at = who->since;
  if (pool->waiters.length == 0)
    entry = find_idle (cache, pool, who);
  if (entry != NULL)
    {
      deliver (cache, entry, TRUE, TRUE, who);
      return NULL;
    }
  arm (cache, who->since + rules->wait);
  mark_dirty (cache, pool);
  return fsc_waiter_new (NULL, &pool->waiters, who);
}

static void
fail_first (FscPool *pool, const FscOutcome *outcome)
{
  GQueue one = G_QUEUE_INIT;

  g_queue_push_tail_link (&one, g_queue_pop_head_link (&pool->waiters));
  fsc_answer_failure (&one, outcome);
}

/* The one who has waited longest is told, if that was asked before it was known. */
static void
finish_failed (FscCache *cache, FscPool *pool, const FscJob *job, const FscOutcome *outcome)
{
  gint64 time = fsc_cache_now (cache);

  cache->counters.open_errors++;
  pool->retry_at = time + pool->pause;
  pool->pause = MIN (2 * pool->pause, PAUSE_MOST);
  if (pool->waiters.length > 0 && ((FscWaiter *) pool->waiters.head->data)->since <= job->begun)
    fail_first (pool, outcome);
  else
    pool->is_to_fill = TRUE;
}

void
fsc_pool_finish (FscCache *cache, FscJob *job, FscOutcome *outcome)
{
  g_autoptr (FscHandle) handle = g_steal_pointer (&outcome->handle);
  FscEntry *entry = job->entry;
  FscPool *pool = entry->pool;
  gboolean is_kept = handle != NULL && fsc_cache_make_room (cache, entry->key.credential, 1, 0);

  mark_dirty (cache, pool); /* and so it stays for now */
  pool->n_connecting--;
  entry->flight = NULL;
  if (handle != NULL && handle->fd >= 0 && (is_kept || pool->waiters.length > 0))
    {
      entry->coherence = FSC_COHERENCE_CHECKED;
      entry->opened_at = fsc_cache_now (cache);
      entry->checked_at = job->begun;
      entry->cost_us = (guint32) CLAMP (entry->opened_at - job->begun, 0, G_MAXUINT32);
      pool->pause = PAUSE_LEAST;
      pool->retry_at = 0;
      fsc_entry_set_handle (cache, entry, g_steal_pointer (&handle));
      if (pool->waiters.length > 0)
        {
          g_autofree FscWaiter *waiter = g_queue_pop_head_link (&pool->waiters)->data;

          deliver (cache, entry, FALSE, is_kept, waiter);
        }
      else
        become_idle (cache, entry);
    }
  else
    {
      fsc_entry_remove (cache, entry);
      if (outcome->code != FSC_CODE_OK)
        finish_failed (cache, pool, job, outcome);
    }
  if (pool->waiters.length > 0) /* is it too late for some of them? */
    arm (cache, fsc_cache_now (cache));
  fsc_job_free (job);
}

/* Between the turns */

static void
fill (FscCache *cache, FscPool *pool)
{
  gint64 time = fsc_cache_now (cache);
  guint idle = pool->is_to_fill ? count_idle (cache, pool) : 0;
  guint wanted = pool->waiters.length;

  if (pool->is_to_fill && time < pool->retry_at)
    arm (cache, pool->retry_at);
  else if (pool->is_to_fill)
    {
      if (is_kept (pool, time) && idle < pool->rules->min_idle)
        wanted += pool->rules->min_idle - idle;
      pool->is_to_fill = FALSE;
    }
  while (pool->n < pool->rules->max && pool->n_connecting < wanted)
    make_connection (cache, pool);
}

/* Who wants a new one need not wait for what is there, but has been lent. */
static void
make_room (FscCache *cache, FscPool *pool)
{
  FscEntry *next;

  for (FscEntry *entry = get_first (cache, pool); entry != NULL; entry = next)
    {
      next = entry->twin;
      if (pool->n < pool->rules->max || pool->n_connecting >= pool->waiters.length)
        return;
      if (is_idle (entry))
        fsc_entry_drop (cache, entry, FSC_TURN_EVICTED);
    }
}

static void
flush (FscCache *cache, FscPool *pool)
{
  FscEntry *entry;

  while (pool->waiters.length > 0
         && (entry = find_idle (cache, pool, pool->waiters.head->data)) != NULL)
    {
      g_autofree FscWaiter *waiter = g_queue_pop_head_link (&pool->waiters)->data;

      deliver (cache, entry, TRUE, TRUE, waiter);
    }
  make_room (cache, pool);
  fill (cache, pool);
}

/* Whoever is answered from within may bring more. */
gboolean
fsc_cache_flush_pools (FscCache *cache)
{
  gboolean is_any = cache->dirty_pools->len > 0;

  while (cache->dirty_pools->len > 0)
    {
      FscPool *pool = cache->dirty_pools->pdata[0];

      flush (cache, pool);
      pool->is_dirty = FALSE;
      g_ptr_array_remove_index_fast (cache->dirty_pools, 0);
      if (pool->n == 0 && pool->waiters.length == 0 && !pool->is_to_fill)
        g_hash_table_remove (cache->pools, pool);
    }
  return is_any;
}

static void
fail_late (FscCache *cache, FscPool *pool, gint64 time)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *text = g_strdup_printf (
      "cannot open %s: none of its connections has become free in %g s, and [%s] max=%u allows no "
      "more",
      fsc_uri_abbreviate (fsc_label_get_uri (pool->label), name),
      (double) pool->rules->wait / G_USEC_PER_SEC, pool->rules->group, pool->rules->max);
  const FscOutcome outcome = { .code = FSC_CODE_LIMIT, .error = EAGAIN, .text = text };

  while (pool->waiters.length > 0)
    {
      const FscWaiter *waiter = pool->waiters.head->data;

      if (waiter->since + pool->rules->wait > time)
        {
          arm (cache, waiter->since + pool->rules->wait);
          return;
        }
      if (pool->n_connecting > 0) /* that has a deadline of its own */
        return;
      fail_first (pool, &outcome);
    }
}

static void
end_idle (FscCache *cache, FscPool *pool, gint64 time)
{
  guint n = count_idle (cache, pool);
  FscEntry *next;

  if (pool->rules->idle_time == 0)
    return;
  for (FscEntry *entry = get_first (cache, pool); entry != NULL; entry = next)
    {
      gint64 due = entry->used_at + pool->rules->idle_time;
      gboolean is_spare = n > pool->rules->min_idle || !is_kept (pool, time);

      next = entry->twin;
      if (!is_idle (entry) || entry->is_pinned)
        continue;
      if (due <= time && is_spare)
        {
          n--;
          fsc_entry_drop (cache, entry, FSC_TURN_EVICTED);
        }
      else
        arm (cache, MAX (due, is_spare ? time : pool->asked_at + pool->rules->idle_time));
    }
}

void
fsc_cache_expire_pools (FscCache *cache)
{
  g_autoptr (GList) pools = g_hash_table_get_keys (cache->pools);
  gint64 time = fsc_cache_now (cache);

  cache->pools_due = 0;
  for (const GList *l = pools; l != NULL; l = l->next)
    {
      FscPool *pool = l->data;

      mark_dirty (cache, pool); /* and so it stays for now */
      end_idle (cache, pool, time);
      fail_late (cache, pool, time);
      if (pool->is_to_fill)
        arm (cache, MAX (pool->retry_at, time));
    }
}

gint64
fsc_cache_get_pools_due (const FscCache *cache)
{
  return cache->pools_due;
}

FscPoolCounters
fsc_cache_count_pools (FscCache *cache)
{
  FscPoolCounters counters = { .pools = g_hash_table_size (cache->pools) };
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, cache->pools);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    {
      const FscPool *pool = key;
      guint idle = count_idle (cache, pool);

      counters.connections += pool->n;
      counters.idle += idle;
      counters.lent += pool->n - pool->n_connecting - idle;
      counters.waiting += pool->waiters.length;
    }
  return counters;
}
