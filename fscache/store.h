/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The entries of the cache: found by key, counted, listed by slot, and chosen to go by SIEVE. It
 * knows nothing of requests. It is part of cache.c, and used by nobody else.
 */
#pragma once

#include <glib.h>

#include "fscache/cache.h"

/* What an entry is found by. */
typedef struct
{
  const char *uri;
  guint32 hash;
  guint32 credential;
  guint32 flags;
  guint16 uri_length;
  guint16 is_exclusive;
} FscKey;

/* An entry is in the table from the first request on; it has a handle, and is in SIEVE's list, once
 * a job has brought one. It lives until it has neither handle nor flight. `twin` links exclusive
 * entries of one key, of which only the first is in the table: each is a description of its own. */
struct FscEntry
{
  FscKey key;
  FscEntry *newer, *older, *twin;
  FscHandle *handle;
  FscWatch watch;
  FscJob *flight, *watch_job;
  gpointer lessee;
  guint64 lease;
  guint64 hits;
  gint64 opened_at, used_at, checked_at;
  gint64 watch_after; /* if it could not be watched: not to be tried before */
  guint32 doubts;     /* how often something has happened that a check can clear up */
  guint32 cleared;    /* as many of them have been */
  guint32 cost_us;
  guint32 ttl_ms;
  guint32 slot;
  guint8 coherence;
  guint8 is_visited;
  guint8 is_pinned;
  char uri[]; /* with a zero byte at its end */
};

typedef struct
{
  GHashTable *table; /* FscKey (an entry's) -> itself */
  GPtrArray *slots;  /* slot -> FscEntry, or NULL */
  GArray *free_slots;
  FscEntry *newest, *oldest, *hand; /* SIEVE */
  guint64 n_entries, n_handles, n_held, n_bytes;
  guint32 seed;
} FscStore;

void fsc_store_init (FscStore *store);
void fsc_store_clear (FscStore *store); /* it must be empty */

/* The string is borrowed. */
FscKey fsc_store_make_key (const FscStore *store, FscBytes uri, guint32 credential, guint32 flags,
                           gboolean is_exclusive);

/* The (first) entry of a key, or NULL. */
FscEntry *fsc_store_find (const FscStore *store, const FscKey *key);

FscEntry *fsc_store_add (FscStore *store, const FscKey *key);

/* Removes and frees an entry that has no handle, no flight and no lease. */
void fsc_store_remove (FscStore *store, FscEntry *entry);

/* Gives an entry another handle, which is taken, or none. */
void fsc_store_set_handle (FscStore *store, FscEntry *entry, FscHandle *handle);

/* Whether it may go: not pinned, not lent, with nobody waiting for it. */
gboolean fsc_entry_is_evictable (const FscEntry *entry);

/* Who is to go next; NULL if nobody can. */
FscEntry *fsc_store_pick (FscStore *store);

/* Which entries are asked for. */
typedef struct
{
  guint32 credential;
  GPatternSpec *pattern;
  char *uri; /* canonical, or NULL */
} FscMatch;

void fsc_match_init (FscMatch *match, guint32 credential, const FscTarget *target);
void fsc_match_clear (FscMatch *match);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FscMatch, fsc_match_clear)

/* The first entry with a handle that matches, from a slot on; NULL if there is none. */
FscEntry *fsc_store_next (const FscStore *store, const FscMatch *match, guint64 slot);

/* All of them, borrowed. */
GPtrArray *fsc_store_collect (const FscStore *store, guint32 credential, const FscTarget *target);
