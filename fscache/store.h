/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The entries of the cache: found by key, counted, listed by slot, and chosen to go by what opening
 * them again would cost. It knows nothing of requests. Part of the cache, and used by nobody else.
 */
#pragma once

#include <fcntl.h>
#include <glib.h>

#include "fscache/cache.h"

/* The flags that make a handle another one. All others belong to the reopen. */
#define FSC_VARIANT_FLAGS ((guint32) (O_PATH | O_DIRECTORY | O_NOFOLLOW))

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

typedef struct FscShelf FscShelf;

/* An entry is in the table from the first request on; it has a handle, and is in the list of its
 * class, once a job has brought one. It lives until it has neither handle nor flight. `twin` links
 * exclusive entries of one key, of which only the first is in the table: each is a description of
 * its own. */
struct FscEntry
{
  FscKey key; /* with the label's URI */
  FscLabel *label;
  FscShelf *shelf;
  FscEntry *newer, *older, *twin;
  FscHandle *handle;
  FscWatch watch;
  FscJob *flight, *watch_job;
  FscInterest *interests; /* who follows */
  gpointer lessee;
  FscPool *pool;  /* or NULL: it is no connection */
  gpointer guard; /* of an idle connection; or NULL */
  guint64 lease;
  guint64 hits;
  guint64 since; /* the store's age when it came, or when its bit was last found set */
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
  guint8 was_lent; /* a connection */
  guint8 class;    /* whose list it is in, or FSC_NO_CLASS */
};

/* Classes are powers of 16 of cost, for handles without bytes and for those with; store.c says what
 * for. */
#define FSC_COST_CLASSES 8
#define FSC_NAMES_CLASS (2 * FSC_COST_CLASSES) /* path-only handles */
#define FSC_CLASSES (FSC_NAMES_CLASS + 1)
#define FSC_NO_CLASS 255

/* One of SIEVE's lists, of a class of entries. */
typedef struct
{
  FscEntry *newest, *oldest, *hand;
} FscSieve;

/* The entries of one owner: who is to go for another of the owner's is found among them alone. */
struct FscShelf
{
  guint32 owner;
  FscSieve classes[FSC_CLASSES];
  guint64 age;
  guint64 n_entries, n_handles, n_names, n_bytes;
};

typedef struct
{
  GHashTable *table;        /* FscKey (an entry's) -> itself */
  GPtrArray *slots;         /* slot -> FscEntry, or NULL */
  GArray *slot_credentials; /* slot -> guint32: to pass over others' without looking at them */
  GArray *free_slots;
  GArray *owners;     /* credential -> guint32 */
  GPtrArray *shelves; /* of FscShelf; the first is there always */
  FscEntry
      *swept; /* who is to be looked at next; NULL: the oldest of the class after swept_class */
  guint swept_shelf, swept_class;
  guint64 max_handles, max_bytes; /* 0: not known; none */
  guint64 n_entries, n_handles, n_held, n_bytes;
  guint32 seed;
} FscStore;

void fsc_store_init (FscStore *store);
void fsc_store_clear (FscStore *store); /* it must be empty */

/* Whose entries those of a credential are; if that is not said, they are owner 0's. It must not be
 * changed while there are any. */
void fsc_store_set_owner (FscStore *store, guint32 credential, guint32 owner);

/* The string is borrowed. */
FscKey fsc_store_make_key (const FscStore *store, FscBytes uri, guint32 credential, guint32 flags,
                           gboolean is_exclusive);

/* The (first) entry of a key, or NULL. */
FscEntry *fsc_store_find (const FscStore *store, const FscKey *key);

FscEntry *fsc_store_add (FscStore *store, const FscKey *key);

/* Removes and frees an entry that has no handle, no flight and no lease. */
void fsc_store_remove (FscStore *store, FscEntry *entry);

/* The slot of the entry that was removed just now is never to be used again. */
void fsc_store_retire (FscStore *store, guint32 slot);

/* The limits, which say what a byte is worth beside a handle. They are the caller's to keep. */
void fsc_store_set_limits (FscStore *store, guint64 max_handles, guint64 max_bytes);

/* Gives an entry another handle, which is taken, or none. It is classed by its cost_us. */
void fsc_store_set_handle (FscStore *store, FscEntry *entry, FscHandle *handle);

/* Whether it may go: not pinned, not lent, not followed, with nobody waiting for it. */
gboolean fsc_entry_is_evictable (const FscEntry *entry);

/* To be called when an entry may go that could not before. */
void fsc_store_settle (FscStore *store, FscEntry *entry);

/* Who is to go next; NULL if nobody can. If it is `for_bytes`, somebody who has some. It is one of
 * the owner's who has most, or of a given credential's owner. */
FscEntry *fsc_store_pick (FscStore *store, gboolean for_bytes);
FscEntry *fsc_store_pick_of (FscStore *store, guint32 credential, gboolean for_bytes);

/* Goes round all entries that may go, and others: the next one, or NULL if there is none. Who is in
 * no list is left out; it was found not to be evictable. The one that was returned may be removed.
 */
FscEntry *fsc_store_sweep (FscStore *store);

/* Looks for up to `n` entries that may go (with bytes, if it is `for_bytes`) and gives back an
 * array of them, borrowed, in no order. */
GPtrArray *fsc_store_get_evictable (const FscStore *store, gboolean for_bytes, guint n);

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

/* The first entry with a handle that matches, from *slot on, and in *slot where. Of the
 * credential's entries no more are looked at than *left, which is counted down. NULL if there is
 * none: then *slot is where to go on, or 0 at the end. */
FscEntry *fsc_store_next (const FscStore *store, const FscMatch *match, guint64 *slot, guint *left);

/* All of them, borrowed. */
GPtrArray *fsc_store_collect (const FscStore *store, guint32 credential, const FscTarget *target);
