/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The cache: which resource is open, under which handle, and who waits for it. It knows no sockets,
 * no processes and no file systems: opening and checking is the provider's, to whom it gives jobs,
 * and whoever asks is a function to call with the answer.
 *
 * What it promises:
 *
 *  - Single flight: of one entry at most one job is under way. Who asks meanwhile waits for it, if
 * the job has not begun; else for the next one, because what a job saw before a request was made
 * may not answer it: a rename may have returned in between. So a thousand requests for a cold
 * resource cost one open and, for those who came after it began, one check.
 *  - Exactness: a handle is given only if it was checked after the request was made, or is watched
 * and nothing has happened to it since it was checked, or is younger than the age that the request
 * or the file system's time-to-live allows. Who asks sees to it that all events are read before.
 *  - Content that never changes is kept once for each user, and counted once.
 *  - A failure reaches all who wait for that job. That there is nothing is kept like a handle, but
 * only as long as it is watched.
 *  - Entries in O(1), in and out; eviction by cost and use (store.c); pinned and lent entries stay.
 *
 * Only handles for reading, or path-only, are kept. Everything else is passed: opened for one
 * request and forgotten.
 */
#pragma once

#include <glib.h>

#include "fscache/generations.h"
#include "fscache/handle.h"
#include "fscache/ledger.h"
#include "fscache/shares.h"
#include "fscache/watch.h"
#include "protocol/codec.h"

typedef struct FscCache FscCache;
typedef struct FscEntry FscEntry;
typedef struct FscWaiter FscWaiter;
typedef struct FscInterest FscInterest;
typedef struct FscPool FscPool;

/* Of what is lent from a pool (pool.h). */
typedef struct
{
  const char *group; /* of the configuration */
  guint min_idle;
  guint max;        /* lent, idle, and being connected; for each user and URI */
  gint64 idle_time; /* microseconds; 0: for ever */
  gint64 wait;      /* microseconds that one waits for another's to be given back */
} FscPoolRules;

/* Work for the provider: open `item`, or, if it has a validator, check that the resource still has
 * it, and open it if not. The provider sets `begun` once somebody may have looked at the source,
 * and calls fsc_cache_finish() some time later, never from within start(). */
typedef struct
{
  FscItem item; /* strings are owned by the job */
  guint32 credential;
  gint64 since;    /* when the first who waits asked: deadlines count from here */
  gint64 begun;    /* or 0 */
  guint64 done;    /* bytes of it, as far as is known */
  gint64 moved_at; /* when it last got on; or 0 */
  guint64 memory;  /* bytes that what it makes has by now */

  /* The provider's. */
  gpointer provider_data;
  gboolean alone; /* to be tried in no company */
  GQueue *queue;  /* where it waits, or NULL; by `link` */
  GList link;

  /* The cache's. */
  FscEntry *entry;      /* NULL: passed, or nothing that is to be watched any more */
  gboolean is_put;      /* it is none of the cache's: the holder is to receive the handle; put.h */
  gboolean is_watch;    /* it only makes the entry watched; nobody waits for it */
  gboolean is_for_pool; /* of connections: those who wait do so there */
  guint64 sequence;     /* of the last event when it started */
  guint32 doubts;       /* of the entry, then */
  GQueue waiters;       /* of FscWaiter: served by this job */
  GQueue late;          /* of FscWaiter: served by the next one */
} FscJob;

typedef struct
{
  FscCode code; /* OK: `handle`; UNCHANGED; or why not */
  int error;
  const char *text;
  FscBytes resume;   /* between opener and lanes: with LEADS_ELSEWHERE */
  FscHandle *handle; /* taken */
  gboolean is_final; /* of what is passed: the very description that was asked for */
  FscCoherence coherence;
  gboolean has_ttl; /* between opener and lanes: it says itself how long it holds */
  guint32 ttl_ms;
  const FscStep *steps; /* borrowed: the way, if it was to be watched and is */
  guint n_steps;
} FscOutcome;

typedef struct
{
  void (*start) (FscJob *job, gpointer data);

  /* Nobody waits for this job any more. If it has not begun, it may be finished as CANCELLED; but
   * never from within, and only if it is not wanted again by then. May be NULL. */
  void (*withdraw) (FscJob *job, gpointer data);

  gint64 (*now) (gpointer data); /* monotonic, in microseconds */

  /* The watches of a credential, whose events go to fsc_cache_changed(); NULL if there are none, or
   * what has this URI cannot be watched. */
  FscWatches *(*get_watches) (guint32 credential, FscBytes uri, gpointer data);

  /* The generation table of a credential; NULL if there is none. */
  FscGenerations *(*get_generations) (guint32 credential, gpointer data);

  /* What holds for connections with this URI; NULL if it is none's. */
  const FscPoolRules *(*get_pool_rules) (FscBytes uri, gpointer data);

  /* Whether what has this URI is content, always, and so may be reopened here. May be NULL: never.
   */
  gboolean (*is_content) (FscBytes uri, gpointer data);

  /* Calls fsc_cache_spoilt() once one of these events (of poll()), or an error, is there; NULL if
   * that cannot be. The descriptor is borrowed until unguard(). */
  gpointer (*guard) (int fd, guint32 events, FscEntry *entry, gpointer data);
  void (*unguard) (gpointer guard);

  /* Who asked with FSC_OPTION_PROGRESS, and waits, is to be told; `asker` and `index` are the
   * `data` and `index` of fsc_cache_open(). */
  void (*tell_progress) (gpointer asker, guint index, const FscProgress *progress);
} FscCacheFuncs;

/* The answer to a request. Everything is borrowed, until `func` returns or drops the entry. */
typedef struct
{
  FscCode code;
  int error;
  const char *text;
  FscHandle *handle; /* NULL if it failed */
  FscLabel *label;   /* of the handle; NULL if there is none */
  guint64 lease;
  guint64 name;        /* of slot and generation, for whoever keeps the handle; 0: not to be kept */
  guint32 lifetime_ms; /* with a name: how long it may be kept at most; 0: until its end only */
  guint32 age_ms;
  FscSharing sharing;
  FscSharing asked; /* what was asked for: the client may have to reopen what it is given */
  FscSource source;
  FscCoherence coherence;
} FscAnswer;

typedef void (*FscAnswerFunc) (const FscAnswer *answer, gpointer data, guint index);

typedef struct
{
  guint64 hits, misses, opens, open_errors, checks, coalesced, evictions, invalidations, passed;
  guint64 pressure_evictions;
  guint64 handles, bytes, pinned, held, entries, negative;
  guint64 put;      /* under names */
  guint64 making;   /* bytes of what jobs make */
  guint64 watching; /* entries that openers are about to make watched */
} FscCounters;

typedef struct
{
  guint64 max_handles;
  guint64 max_bytes; /* 0: any number */
  gint64 idle_time;  /* microseconds; 0: never */
} FscLimits;

/* Whether a job that has not begun still should: not if all who asked for it have cancelled. */
gboolean fsc_job_is_wanted (const FscJob *job);

FscCache *fsc_cache_new (const FscCacheFuncs *provider, gpointer provider_data,
                         const FscLimits *limits);
void fsc_cache_free (FscCache *cache);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscCache, fsc_cache_free)

/* Whom a credential's handles and bytes are charged to (borrowed, as long as there is any). Where
 * these are divided, whoever has too much makes room among his own. */
void fsc_cache_set_stake (FscCache *cache, guint32 credential, FscStake *stake);

/* Asks for a resource. Either calls `func` from within and returns NULL, or returns a waiter that
 * calls it later. `func` may call the cache. `lessee` is who gets the lease of an exclusive handle.
 */
FscWaiter *fsc_cache_open (FscCache *cache, guint32 credential, const FscItem *item,
                           gpointer lessee, FscAnswerFunc func, gpointer data, guint index);

/* The answer is not wanted any more: `func` is not called. */
void fsc_cache_cancel (FscCache *cache, FscWaiter *waiter);

/* A job gets on: who waits for it is told. The memory of what it makes counts; if there is no room
 * for it, it is refused. */
void fsc_cache_progress (FscCache *cache, FscJob *job, const FscProgress *progress);

/* A job is done. Takes the job and the outcome's handle. */
void fsc_cache_finish (FscCache *cache, FscJob *job, FscOutcome *outcome);

/* A lease ends: a handle that has state (a device, a socket) can be lent again, unless the borrower
 * says to `discard` it; any other is closed. Ignores leases that
 * are not this lessee's. */
void fsc_cache_give_back (FscCache *cache, guint64 lease, gpointer lessee, gboolean discard);

/* The same, and of what was put the name is forgotten: who was lent it has it, and keeps it. */
void fsc_cache_take (FscCache *cache, guint64 lease, gpointer lessee);

/* The glob that a client has sent: any bytes. What is no UTF-8 in it is like nothing in any URI,
 * and GLib would end the program for it. */
GPatternSpec *fsc_cache_make_pattern (FscBytes text);

/* Calls `func` for each entry that matches: all kinds of open of one URI (written in any way), or
 * all URIs that match a glob, or all if `target` is NULL. Returns their number. `func` may drop the
 * entry it is called for, no other. */
typedef void (*FscEntryFunc) (FscCache *cache, FscEntry *entry, gpointer data);
guint64 fsc_cache_foreach (FscCache *cache, guint32 credential, const FscTarget *target,
                           FscEntryFunc func, gpointer data);

/* Lists entries that match from slot `cursor` on; `func` returns FALSE when it has enough, and that
 * entry is then where the next page starts. A page also ends, and may be empty, when many were
 * looked at. Returns the next cursor, or 0 at the end. */
typedef gboolean (*FscPageFunc) (FscCache *cache, FscEntry *entry, gpointer data);
guint64 fsc_cache_list (FscCache *cache, guint32 credential, const FscTarget *target,
                        guint64 cursor, FscPageFunc func, gpointer data);

void fsc_cache_describe (FscCache *cache, const FscEntry *entry, FscEntryInfo *info);

/* Following. Who follows an entry is told when another answer may be right than the last one, and
 * asks again; the cache does not know what was answered. An entry that is followed is watched at
 * once, stays as long, with a handle or without, and does not have to go for lack of room. */

/* What has happened; the later, the more it says. */
typedef enum
{
  FSC_TURN_NONE,
  FSC_TURN_SETTLED,    /* nothing: but that it was to be watched is decided */
  FSC_TURN_ATTRIBUTES, /* who may open it may have changed */
  FSC_TURN_NAME,       /* what its name leads to */
  FSC_TURN_LOST,       /* mounts, or nobody knows */
  FSC_TURN_EVICTED,    /* the handle is gone */
  FSC_TURN_DROPPED,    /* as it was asked for */
  FSC_TURN_RELEASED,   /* as it was asked for its mount, which is to be left alone for a while */
} FscTurn;

/* Lives in whoever follows. */
struct FscInterest
{
  FscEntry *entry; /* NULL: it does not follow */
  FscInterest *next;
};

/* Never to be answered by calling the cache from within. */
typedef void (*FscTurnFunc) (FscInterest *interest, FscTurn turn, gpointer data);
void fsc_cache_set_turn_func (FscCache *cache, FscTurnFunc func, gpointer data);

/* The item's URI must be canonical, and the item one that can be followed. */
void fsc_cache_follow (FscCache *cache, guint32 credential, const FscItem *item,
                       FscInterest *interest);
void fsc_cache_unfollow (FscCache *cache, FscInterest *interest);

/* What of an item tells what is followed from other things; why an item cannot be, or NULL. */
guint32 fsc_cache_get_variant (const FscItem *item);
const char *fsc_cache_find_following_fault (const FscItem *item);

/* How a change of what is followed will be known. */
typedef enum
{
  FSC_STANDING_WATCHED,   /* by a turn */
  FSC_STANDING_SETTLING,  /* that is being decided: there will be a turn */
  FSC_STANDING_UNWATCHED, /* by asking again */
} FscStanding;

/* If unwatched, *ttl_ms is how long an answer holds, or 0. */
FscStanding fsc_cache_get_standing (FscCache *cache, const FscInterest *interest, guint32 *ttl_ms);

/* Forgets the handle, and the entry if no job of it is under way. */
void fsc_cache_drop (FscCache *cache, FscEntry *entry);

/* Returns FALSE if too many are pinned. */
gboolean fsc_cache_set_pinned (FscCache *cache, FscEntry *entry, gboolean pinned);

/* Putting. Names of this scheme stand for what clients have put there, and for nothing else. */
#define FSC_PUT_SCHEME "handle"

/* Why this cannot be put, if it were now, or NULL; `n_more` are being put for the same user. The
 * URI must be canonical. Returns a phrase, to be freed with g_free(), with the code and the errno
 * in *answer. */
char *fsc_cache_find_put_fault (FscCache *cache, guint32 credential, const FscPut *put,
                                guint n_more, FscAnswer *answer);

/* Puts a handle, which is taken, where there is no such fault. Returns what names it, as in
 * FscAnswer. */
guint64 fsc_cache_put (FscCache *cache, guint32 credential, const FscPut *put, FscHandle *handle);

/* Forgets what was put for a time that is over. Returns when that is to be called again, or 0. */
gint64 fsc_cache_end_put (FscCache *cache);
gint64 fsc_cache_get_put_due (const FscCache *cache);

/* How many names a user may have. */
void fsc_cache_set_max_put (FscCache *cache, guint max);

/* To be called by the watches, with the cache as `data`. */
void fsc_cache_changed (FscWatch *watch, FscChange change, gpointer cache);

/* Forgets all entries whose handles lie on a mount, whoever's they are. Returns how many there
 * were; those who hold some of them (FscHolder, borrowed) are added to `holders`. */
guint64 fsc_cache_drop_mount (FscCache *cache, guint32 mount_id, GPtrArray *holders);

/* Forgets the entries whose handles died with their holder. */
void fsc_cache_drop_dead (FscCache *cache);

/* Pools. Something has happened to an idle connection, and it may have to go. */
void fsc_cache_spoilt (FscCache *cache, FscEntry *entry);

/* To be called between the turns of the loop: gives to those who wait, connects what is wanted.
 * Returns whether there was anything to do. */
gboolean fsc_cache_flush_pools (FscCache *cache);

/* When fsc_cache_expire_pools() has to be called, by the monotonic time; 0: not before something
 * happens. */
gint64 fsc_cache_get_pools_due (const FscCache *cache);
void fsc_cache_expire_pools (FscCache *cache);

typedef struct
{
  guint64 pools, connections, idle, lent, waiting;
} FscPoolCounters;

FscPoolCounters fsc_cache_count_pools (FscCache *cache);

/* Looks at up to `n` entries, in turn, and forgets those that have been idle for too long. */
void fsc_cache_sweep (FscCache *cache, guint n);

/* Memory is short: gives back a part of what may go, what has been idle for longest first; of what
 * keeps memory by itself, and if that is not enough, of all. Returns how many entries that were. */
guint fsc_cache_relieve (FscCache *cache);

const FscCounters *fsc_cache_get_counters (FscCache *cache);
const FscLimits *fsc_cache_get_limits (const FscCache *cache);

/* From now on these hold. What is beyond them goes at once, as far as it may. */
void fsc_cache_set_limits (FscCache *cache, const FscLimits *limits);
