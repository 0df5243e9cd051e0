/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Borrowing; see borrow.h and fscache.h.
 */
#include "libclient/borrow.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "libclient/client.h"
#include "libclient/finish.h"
#include "libclient/generations.h"
#include "libclient/link.h"
#include "libclient/message.h"
#include "libclient/prepare.h"
#include "libclient/wait.h"
#include "protocol/uri.h"

#define LIMIT 256
#define LIMIT_MAX (1u << 20)

/* The coarse clock is late by a tick, which is 10 ms at most. So nothing is borrowed on the word of
 * a look that was 90 ms ago. */
#define TICK (10 * FSC_MILLISECOND)
#define LOOK_AFTER (50 * FSC_MILLISECOND)
#define LOOK_BEFORE (80 * FSC_MILLISECOND)

/* A set is what a name may be in: two lines of the processor's cache. Four times as many places as
 * handles make it rare that one is full. */
#define WAYS 8
#define PLACES_PER_HANDLE 4

#define RECORDS_BITS 9
#define RECORDS (1u << RECORDS_BITS)
#define PROBES 16
#define CACHE_LINE 64

/* In a record: the handle is retired, and who clears the record has to look after it. */
#define MARK ((uintptr_t) 1)

/* A handle that is kept. Constant while it is in the table, but for `is_visited`. */
typedef struct FscKept
{
  const uint32_t *word;
  uint32_t generation;
  int fd;
  uint64_t handle; /* FscacheReply's generation */
  int64_t until;   /* on the coarse clock; FSC_NEVER */
  FscacheKind kind;
  FscacheCoherence coherence;
  bool is_visited;      /* atomic; since the hand of the eviction has passed */
  FscTable *table;      /* that `word` is in */
  unsigned users;       /* who found no free record; with the lock */
  struct FscKept *next; /* of the retired */
  uint64_t hash;
  size_t length;
  char name[];
} FscKept;

typedef struct
{
  uint64_t hash; /* only says where it is worth to look */
  FscKept *kept;
} FscPlace;

typedef struct FscPlaces
{
  struct FscPlaces *older; /* smaller ones, which somebody may still be reading */
  uint64_t mask;           /* of the first place of a set */
  size_t n;
  _Alignas(CACHE_LINE) FscPlace places[];
} FscPlaces;

typedef struct
{
  _Alignas(CACHE_LINE) uintptr_t kept;
} FscRecord;

struct FscBorrows
{
  FscRecord records[RECORDS];
  _Alignas(CACHE_LINE) FscPlaces *places; /* atomic; NULL while none are kept */
  int64_t seen_at; /* atomic, coarse: the connection was alive then; 0: it is not known to be */

  /* With the lock. */
  _Alignas(CACHE_LINE) FscKept *retired;
  size_t n, limit, hand;
};

static int64_t
get_time (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC_COARSE, &now);
  return (int64_t) now.tv_sec * 1000 * FSC_MILLISECOND + now.tv_nsec;
}

static uint64_t
mix (uint64_t hash, uint64_t word)
{
  hash = (hash ^ word) * UINT64_C (0x9FB21C651E98DF25);
  return hash ^ hash >> 32;
}

static uint64_t
read_word (const char *bytes, size_t length)
{
  uint64_t word = 0;

  memcpy (&word, bytes, length);
  return word;
}

/* Word by word; the last one overlaps the one before it. */
static uint64_t
hash_name (const char *name, size_t length)
{
  uint64_t hash = length * UINT64_C (0x9E3779B97F4A7C15);

  if (length < sizeof (uint64_t))
    hash = mix (hash, read_word (name, length));
  else
    {
      for (size_t i = 0; i + sizeof (uint64_t) < length; i += sizeof (uint64_t))
        hash = mix (hash, read_word (name + i, sizeof (uint64_t)));
      hash = mix (hash, read_word (name + length - sizeof (uint64_t), sizeof (uint64_t)));
    }
  /* What was multiplied last has its lowest bits from the lowest ones alone. */
  return mix (hash, hash >> 29);
}

/* Records */

/* Where a thread begins to look for a free one: each at another place, so that they do not take
 * turns at one line of the cache. */
static unsigned
get_first_record (void)
{
  uint64_t self = (uint64_t) (uintptr_t) pthread_self ();

  return (unsigned) ((self >> 6) * UINT64_C (0x9E3779B97F4A7C15) >> (64 - RECORDS_BITS));
}

/* Returns NULL if none is free (nearby). */
static FscRecord *
take_record (FscBorrows *borrows, const FscKept *kept)
{
  unsigned first = get_first_record ();

  for (unsigned i = 0; i < PROBES; i++)
    {
      FscRecord *record = &borrows->records[(first + i) % RECORDS];
      uintptr_t nothing = 0;

      if (__atomic_load_n (&record->kept, __ATOMIC_RELAXED) == 0
          && __atomic_compare_exchange_n (&record->kept, &nothing, (uintptr_t) kept, false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        return record;
    }
  return NULL;
}

/* Returns whether the handle was retired meanwhile: then somebody has to reap. */
static bool
clear_record (FscRecord *record)
{
  return (__atomic_exchange_n (&record->kept, 0, __ATOMIC_SEQ_CST) & MARK) != 0;
}

/* Whether a retired handle is in a record; if so, leaves a mark. */
static bool
mark_records (FscBorrows *borrows, const FscKept *kept)
{
  bool is_found = false;

  for (unsigned i = 0; i < RECORDS; i++)
    {
      uintptr_t found = __atomic_load_n (&borrows->records[i].kept, __ATOMIC_SEQ_CST);

      if ((found & ~MARK) != (uintptr_t) kept)
        continue;
      if ((found & MARK) != 0
          || __atomic_compare_exchange_n (&borrows->records[i].kept, &found,
                                          (uintptr_t) kept | MARK, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED))
        is_found = true;
    }
  return is_found;
}

/* Closing */

/* What has a time-to-live is of a server, and may hang whoever closes it. */
static bool
may_hang (const FscKept *kept)
{
  return kept->until != FSC_NEVER;
}

/* Whether there are more of the retired than may be kept. */
static bool
is_crowded (const FscBorrows *borrows)
{
  size_t n = 0;

  for (const FscKept *kept = borrows->retired; kept != NULL && n <= borrows->limit;
       kept = kept->next)
    n++;
  return n > borrows->limit;
}

/* With the lock: takes those out of the retired that nobody uses any more. What may hang is left to
 * who comes for the same name (with this hash), and so for the same server; or for all. */
static FscKept *
reap (FscBorrows *borrows, const uint64_t *hash)
{
  FscKept **link = &borrows->retired, *unused = NULL, *kept;
  bool takes_all = hash == NULL || is_crowded (borrows);

  while ((kept = *link) != NULL)
    {
      if ((!takes_all && may_hang (kept) && kept->hash != *hash) || kept->users > 0
          || mark_records (borrows, kept))
        {
          link = &kept->next;
          continue;
        }
      *link = kept->next;
      fsc_client_table_unref (kept->table);
      kept->next = unused;
      unused = kept;
    }
  return unused;
}

/* Without the lock. */
static void
close_all (FscKept *kept)
{
  while (kept != NULL)
    {
      FscKept *next = kept->next;

      close (kept->fd);
      free (kept);
      kept = next;
    }
}

/* The places; all with the lock */

static FscPlace *
get_set (FscPlaces *places, uint64_t hash)
{
  return &places->places[hash & places->mask];
}

static FscKept *
get_kept (const FscPlace *place)
{
  return __atomic_load_n (&place->kept, __ATOMIC_RELAXED);
}

static void
put (FscPlace *place, FscKept *kept)
{
  __atomic_store_n (&place->hash, kept->hash, __ATOMIC_RELAXED);
  __atomic_store_n (&place->kept, kept, __ATOMIC_SEQ_CST);
}

static void
retire (FscBorrows *borrows, FscPlace *place)
{
  FscKept *kept = get_kept (place);

  __atomic_store_n (&place->kept, NULL, __ATOMIC_SEQ_CST);
  kept->next = borrows->retired;
  borrows->retired = kept;
  borrows->n--;
}

static bool
is_valid (const FscKept *kept, int64_t now)
{
  return __atomic_load_n (kept->word, __ATOMIC_ACQUIRE) == kept->generation && now < kept->until;
}

/* Retires what does not hold any more. */
static void
sweep (FscBorrows *borrows, int64_t now)
{
  FscPlaces *places = borrows->places;

  for (size_t i = 0; places != NULL && borrows->n > 0 && i < places->n; i++)
    {
      FscKept *kept = get_kept (&places->places[i]);

      if (kept != NULL && !is_valid (kept, now))
        retire (borrows, &places->places[i]);
    }
}

/* Whether its bit was not set; clears it. */
static bool
is_due (FscKept *kept)
{
  bool is_visited = __atomic_load_n (&kept->is_visited, __ATOMIC_RELAXED);

  if (is_visited)
    __atomic_store_n (&kept->is_visited, false, __ATOMIC_RELAXED);
  return !is_visited;
}

/* Goes round: one who was not borrowed since the last time goes. */
static void
evict (FscBorrows *borrows, size_t limit)
{
  FscPlaces *places = borrows->places;

  while (borrows->n > limit)
    {
      FscPlace *place = &places->places[borrows->hand++ % places->n];
      FscKept *kept = get_kept (place);

      if (kept != NULL && is_due (kept))
        retire (borrows, place);
    }
}

/* The place for a name in its set: its own, a free one, or that of one who goes. */
static FscPlace *
find_place (FscBorrows *borrows, const FscKept *new)
{
  FscPlace *set = get_set (borrows->places, new->hash), *free_place = NULL;

  for (unsigned i = 0; i < WAYS; i++)
    {
      FscKept *kept = get_kept (&set[i]);

      if (kept == NULL)
        free_place = &set[i];
      else if (kept->hash == new->hash
               && kept->length == new->length &&memcmp (kept->name, new->name, new->length) == 0)
        {
          retire (borrows, &set[i]);
          return &set[i];
        }
    }
  for (unsigned i = 0; free_place == NULL; i++)
    if (is_due (get_kept (&set[i % WAYS])))
      {
        retire (borrows, &set[i % WAYS]);
        free_place = &set[i % WAYS];
      }
  return free_place;
}

static void
insert (FscBorrows *borrows, FscKept *kept)
{
  FscPlace *place;

  evict (borrows, borrows->limit - 1);
  place = find_place (borrows, kept);
  put (place, kept);
  borrows->n++;
}

/* Makes places for so many handles. Those who read the old ones still find there what was not moved
 * yet, or miss; so they stay until the end, which is no more than is used then. */
static int
grow (FscBorrows *borrows, size_t limit)
{
  FscPlaces *old = borrows->places, *new;
  size_t n = WAYS, size;

  while (n < limit * PLACES_PER_HANDLE)
    n *= 2;
  if (old != NULL && n <= old->n)
    return 0;
  size = sizeof *new + n * sizeof new->places[0];
  new = aligned_alloc (CACHE_LINE, size);
  if (new == NULL)
    return -ENOMEM;
  memset (new, 0, size);
  new->n = n;
  new->mask = (n - 1) & ~(uint64_t) (WAYS - 1);
  new->older = old;
  __atomic_store_n (&borrows->places, new, __ATOMIC_SEQ_CST);
  for (size_t i = 0; old != NULL && i < old->n; i++)
    {
      FscKept *kept = get_kept (&old->places[i]);

      if (kept == NULL)
        continue;
      put (find_place (borrows, kept), kept);
      __atomic_store_n (&old->places[i].kept, NULL, __ATOMIC_SEQ_CST);
    }
  return 0;
}

static size_t
get_default_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 4 > LIMIT)
    return LIMIT;
  return (size_t) limit.rlim_cur / 4;
}

static FscBorrows *
get_borrows (FscacheClient *client)
{
  FscBorrows *borrows = client->borrows;

  if (borrows != NULL)
    return borrows;
  borrows = aligned_alloc (CACHE_LINE, sizeof *borrows);
  if (borrows == NULL)
    return NULL;
  memset (borrows, 0, sizeof *borrows);
  borrows->limit = get_default_limit ();
  if (borrows->limit > 0 && grow (borrows, borrows->limit) < 0)
    {
      free (borrows);
      return NULL;
    }
  __atomic_store_n (&client->borrows, borrows, __ATOMIC_RELEASE);
  return borrows;
}

void
fsc_client_borrow_forget (FscacheClient *client)
{
  FscBorrows *borrows = client->borrows;

  if (borrows == NULL)
    return;
  __atomic_store_n (&borrows->seen_at, 0, __ATOMIC_SEQ_CST);
  for (size_t i = 0; borrows->n > 0 && i < borrows->places->n; i++)
    if (get_kept (&borrows->places->places[i]) != NULL)
      retire (borrows, &borrows->places->places[i]);
}

void
fsc_client_borrow_free (FscBorrows *borrows)
{
  FscKept *kept;

  if (borrows == NULL)
    return;
  for (size_t i = 0; borrows->n > 0 && i < borrows->places->n; i++)
    if (get_kept (&borrows->places->places[i]) != NULL)
      retire (borrows, &borrows->places->places[i]);
  for (kept = borrows->retired; kept != NULL; kept = kept->next)
    fsc_client_table_unref (kept->table);
  close_all (borrows->retired);
  while (borrows->places != NULL)
    {
      FscPlaces *places = borrows->places;

      borrows->places = places->older;
      free (places);
    }
  free (borrows);
}

/* With the lock: looks whether the connection is there, and at what holds no more. */
static void
look (FscacheClient *client, FscBorrows *borrows)
{
  FscConnection *connection = client->link.connection;
  int64_t now = get_time ();
  struct pollfd pollfd = { .events = POLLRDHUP };

  if (connection == NULL || !connection->is_ready)
    return;
  pollfd.fd = connection->fd;
  if (poll (&pollfd, 1, 0) > 0)
    {
      fsc_client_borrow_forget (client);
      if (client->slots.n_sent > 0)
        return; /* an answer may have come before: whoever waits for it reads to the end */
      fsc_client_link_lose (client, false);
      fsc_client_poller_update (client);
      return;
    }
  sweep (borrows, now);
  __atomic_store_n (&borrows->seen_at, now, __ATOMIC_SEQ_CST);
}

/* The fast way */

/* Looks at the connection if it is time to. Returns whether what is kept may be given. */
static bool
is_seen (FscacheClient *client, FscBorrows *borrows, int64_t now, uint64_t hash)
{
  int64_t ago = now - __atomic_load_n (&borrows->seen_at, __ATOMIC_RELAXED);
  FscKept *unused;

  if (__builtin_expect (ago < LOOK_AFTER, true))
    return true;
  if (ago >= LOOK_BEFORE)
    return false;
  if (pthread_mutex_trylock (&client->lock) != 0)
    return true;
  look (client, borrows);
  unused = reap (borrows, &hash);
  pthread_mutex_unlock (&client->lock);
  close_all (unused);
  return __atomic_load_n (&borrows->seen_at, __ATOMIC_RELAXED) != 0;
}

static void
give (FscacheBorrow *borrow, FscKept *kept, FscRecord *record)
{
  *borrow = (FscacheBorrow){
    .fd = kept->fd,
    .kind = kept->kind,
    .source = FSCACHE_SOURCE_KEPT,
    .coherence = kept->coherence,
    .internal = { kept, record },
    .generation = kept->handle,
  };
}

/* Whether a place has what is looked for; it is borrowed then. `needs_reaping` is set if something
 * was retired meanwhile. */
static bool
try_place (FscBorrows *borrows, const FscPlace *place, const char *name, size_t length, int64_t now,
           FscacheBorrow *borrow, bool *needs_reaping)
{
  FscKept *kept = __atomic_load_n (&place->kept, __ATOMIC_RELAXED);
  FscRecord *record;

  if (kept == NULL)
    return false;
  record = take_record (borrows, kept);
  if (record == NULL)
    return false;
  /* Only from here on may it be looked into. */
  if (__atomic_load_n (&place->kept, __ATOMIC_SEQ_CST) != kept || kept->length != length
      || memcmp (kept->name, name, length) != 0 || !is_valid (kept, now))
    {
      *needs_reaping |= clear_record (record);
      return false;
    }
  if (!__atomic_load_n (&kept->is_visited, __ATOMIC_RELAXED))
    __atomic_store_n (&kept->is_visited, true, __ATOMIC_RELAXED);
  give (borrow, kept, record);
  return true;
}

static bool
try_to_hit (FscBorrows *borrows, const char *name, size_t length, uint64_t hash, int64_t now,
            FscacheBorrow *borrow, bool *needs_reaping)
{
  FscPlaces *places = __atomic_load_n (&borrows->places, __ATOMIC_ACQUIRE);
  const FscPlace *set;

  if (places == NULL)
    return false;
  set = get_set (places, hash);
  for (unsigned i = 0; i < WAYS; i++)
    if (__atomic_load_n (&set[i].hash, __ATOMIC_RELAXED) == hash
        && try_place (borrows, &set[i], name, length, now, borrow, needs_reaping))
      return true;
  return false;
}

/* The slow way */

/* With the lock: who finds no free record is counted. */
static void
give_locked (FscBorrows *borrows, FscKept *kept, FscacheBorrow *borrow)
{
  FscRecord *record = take_record (borrows, kept);

  kept->users += record == NULL;
  give (borrow, kept, record);
}

/* With the lock. */
static bool
find_locked (FscBorrows *borrows, const char *name, size_t length, uint64_t hash,
             FscacheBorrow *borrow)
{
  FscPlace *set = borrows->places == NULL ? NULL : get_set (borrows->places, hash);
  int64_t now = get_time ();

  for (unsigned i = 0; set != NULL && i < WAYS; i++)
    {
      FscKept *kept = get_kept (&set[i]);

      if (kept == NULL || kept->hash != hash || kept->length != length
          || memcmp (kept->name, name, length) != 0)
        continue;
      if (is_valid (kept, now))
        {
          give_locked (borrows, kept, borrow);
          return true;
        }
      retire (borrows, &set[i]);
    }
  return false;
}

static bool
find_again (FscacheClient *client, const char *name, size_t length, uint64_t hash,
            FscacheBorrow *borrow)
{
  FscKept *unused = NULL;
  FscBorrows *borrows;
  bool is_found = false;

  fsc_client_lock (client);
  borrows = get_borrows (client);
  if (borrows != NULL)
    {
      if (get_time () - borrows->seen_at >= LOOK_AFTER)
        look (client, borrows);
      is_found = borrows->seen_at != 0 && find_locked (borrows, name, length, hash, borrow);
      unused = reap (borrows, &hash);
    }
  fsc_client_unlock (client);
  close_all (unused);
  return is_found;
}

static FscKept *
new_kept (const char *name, size_t length, uint64_t hash, const FscacheReply *reply)
{
  FscKept *kept = malloc (sizeof *kept + length + 1);

  if (kept == NULL)
    return NULL;
  *kept = (FscKept){
    .fd = reply->fd,
    .kind = reply->kind,
    .handle = reply->generation,
    .coherence = reply->coherence,
    .hash = hash,
    .length = length,
  };
  memcpy (kept->name, name, length + 1);
  return kept;
}

/* With the lock. Returns whether it is kept; then it is borrowed, too. */
static bool
keep (FscacheClient *client, FscKept *kept, const FscAnswer *answer, int64_t asked_at,
      FscacheBorrow *borrow)
{
  FscConnection *connection = client->link.connection;
  FscBorrows *borrows = client->borrows;

  if (borrows == NULL || borrows->limit == 0 || connection == NULL || connection->table == NULL
      || connection->generation != answer->generation
      || !fsc_client_table_find (connection->table, answer->name, &kept->word, &kept->generation))
    return false;
  /* What the service said was true at some time since it was asked. */
  kept->until = answer->lifetime_ms == 0 ? FSC_NEVER
                                         : asked_at + answer->lifetime_ms * FSC_MILLISECOND - TICK;
  if (!is_valid (kept, get_time ()))
    return false;
  kept->table = connection->table;
  fsc_client_table_ref (kept->table);
  insert (borrows, kept);
  give_locked (borrows, kept, borrow);
  return true;
}

/* Whether it means the same whenever it is asked for. */
static bool
is_name_to_keep (const char *name, size_t length)
{
  return name[0] == '/' || fsc_uri_get_scheme_length ((FscBytes){ name, length }) > 0;
}

/* Makes what was opened something borrowed: kept, or for this once. */
static void
take (FscacheClient *client, const char *name, size_t length, uint64_t hash,
      const FscAnswer *answer, int64_t asked_at, const FscacheReply *reply, FscacheBorrow *borrow)
{
  FscacheSource source = reply->source;
  FscKept *kept = NULL, *unused = NULL;

  *borrow = (FscacheBorrow){ .fd = reply->fd,
                             .kind = reply->kind,
                             .source = source,
                             .coherence = reply->coherence,
                             .generation = reply->generation };
  if (answer->name == 0 || (client->options & FSCACHE_REVALIDATE) != 0
      || !is_name_to_keep (name, length))
    return;
  kept = new_kept (name, length, hash, reply);
  if (kept == NULL)
    return;
  fsc_client_lock (client);
  if (keep (client, kept, answer, asked_at, borrow))
    {
      kept = NULL;
      borrow->source = source;
      unused = reap (client->borrows, &hash);
    }
  fsc_client_unlock (client);
  free (kept);
  close_all (unused);
}

static int
miss (FscacheClient *client, const FscacheRequest *request, size_t length, uint64_t hash,
      FscacheBorrow *borrow, FscacheReply *reply)
{
  const FscacheRequest shared = { .uri = request->uri,
                                  .sharing = FSCACHE_SHARED,
                                  .timeout_ms = request->timeout_ms,
                                  .cancel = request->cancel };
  int64_t asked_at = get_time ();
  char uri[FSC_URI_MAX + 1];
  FscDirectory directory;
  FscOpening opening;
  FscAnswer answer;
  FscacheReply own;
  FscCall call;

  fsc_client_directory_init (&directory);
  fsc_client_call_init (&call, &opening, 1, "borrow");
  fsc_client_prepare (client, &shared, &directory, &opening, uri, sizeof uri);
  fsc_client_wait (client, &call);
  answer = opening.answer;
  if (answer.is_local || answer.code != FSCACHE_OK)
    answer.name = 0;
  fsc_client_finish (client, call.verb, &opening, &own);
  fsc_client_call_clear (&call);
  if (own.fd >= 0)
    {
      take (client, request->uri, length, hash, &answer, asked_at, &own, borrow);
      return borrow->fd;
    }
  if (reply != NULL)
    *reply = own;
  return -own.error;
}

/* Its last user, or one of the last, has returned something that is retired. */
static void
return_slowly (FscacheClient *client, FscKept *counted, uint64_t hash)
{
  int error = errno;
  FscKept *unused;

  fsc_client_lock (client);
  if (counted != NULL)
    counted->users--;
  unused = reap (client->borrows, &hash);
  fsc_client_unlock (client);
  close_all (unused);
  errno = error;
}

/* Takes no lock, but to reap. */
static bool
hit (FscacheClient *client, const char *name, size_t length, uint64_t hash, FscacheBorrow *borrow)
{
  FscBorrows *borrows = __atomic_load_n (&client->borrows, __ATOMIC_ACQUIRE);
  bool is_hit, needs_reaping = false;
  int64_t now;

  if (borrows == NULL || fsc_client_is_forked (client))
    return false;
  now = get_time ();
  is_hit = is_seen (client, borrows, now, hash)
           && try_to_hit (borrows, name, length, hash, now, borrow, &needs_reaping);
  if (__builtin_expect (needs_reaping, false))
    return_slowly (client, NULL, hash);
  return is_hit;
}

/* What is kept. */
static bool
find (FscacheClient *client, const char *name, size_t length, uint64_t hash, FscacheBorrow *borrow)
{
  return hit (client, name, length, hash, borrow)
         || find_again (client, name, length, hash, borrow);
}

int
fscache_borrow_kept (FscacheClient *client, const char *uri, FscacheBorrow *borrow)
{
  size_t length = uri != NULL ? strlen (uri) : 0;

  borrow->fd = -1;
  return uri != NULL && hit (client, uri, length, hash_name (uri, length), borrow) ? borrow->fd
                                                                                   : -EAGAIN;
}

int
fscache_borrow (FscacheClient *client, const char *uri, FscacheBorrow *borrow, FscacheReply *reply)
{
  size_t length = uri != NULL ? strlen (uri) : 0;
  uint64_t hash = uri != NULL ? hash_name (uri, length) : 0;

  borrow->fd = -1;
  if (uri != NULL && find (client, uri, length, hash, borrow))
    return borrow->fd;
  return miss (client, &(FscacheRequest){ .uri = uri }, length, hash, borrow, reply);
}

int
fscache_borrow_with (FscacheClient *client, const FscacheRequest *request, FscacheBorrow *borrow,
                     FscacheReply *reply)
{
  size_t length = request->uri != NULL ? strlen (request->uri) : 0;
  uint64_t hash = request->uri != NULL ? hash_name (request->uri, length) : 0;

  borrow->fd = -1;
  if (request->uri != NULL && find (client, request->uri, length, hash, borrow))
    return borrow->fd;
  return miss (client, request, length, hash, borrow, reply);
}

void
fscache_return (FscacheClient *client, FscacheBorrow *borrow)
{
  FscKept *kept = borrow->internal[0];
  FscRecord *record = borrow->internal[1];
  int fd = borrow->fd;

  if (fd < 0)
    return;
  borrow->fd = -1;
  if (record != NULL)
    {
      uint64_t hash = kept->hash;

      if (__builtin_expect (clear_record (record), false))
        return_slowly (client, NULL, hash);
    }
  else if (kept != NULL)
    return_slowly (client, kept, kept->hash);
  else
    {
      int error = errno;

      close (fd);
      errno = error;
    }
}

int
fscache_set_borrow_limit (FscacheClient *client, size_t limit)
{
  FscKept *unused = NULL;
  FscBorrows *borrows;
  int r = -ENOMEM;

  if (limit > LIMIT_MAX)
    return -EINVAL;
  fsc_client_lock (client);
  borrows = get_borrows (client);
  if (borrows != NULL)
    r = limit > 0 ? grow (borrows, limit) : 0;
  if (r == 0)
    {
      borrows->limit = limit;
      evict (borrows, limit);
      look (client, borrows);
      unused = reap (borrows, NULL);
    }
  fsc_client_unlock (client);
  close_all (unused);
  return r;
}
