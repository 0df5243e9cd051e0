/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Following: clients that watch a resource are told what opening it would give, and each time that
 * this changes.
 *
 * However many watch one resource in one way, the work is done once: there is one followed for
 * them all, which asks the cache again whenever it is told that another answer may be right, and
 * compares it with the last one. Only if it differs do they get an EVENT: another file, or a
 * failure, or none any more; a handle that was dropped counts as another one. Where nobody tells
 * (file systems that change behind the kernel's back, directories that cannot be watched) it asks
 * by the clock. What is followed stays in the cache, and so is limited to a part of it.
 *
 * An EVENT that a client has not been sent yet is replaced by a newer one (outbox.h): a client
 * that does not read costs one for each of its watches.
 */
#pragma once

#include <glib.h>

#include "fscache/cache.h"
#include "fscache/connection.h"
#include "fscache/loop.h"
#include "fscache/mounts.h"

typedef struct FscFollows FscFollows;

typedef struct
{
  guint64 watches;  /* of all clients, now */
  guint64 followed; /* resources, now */
  guint64 events;   /* since the start */
} FscFollowCounters;

/* `catch_up` reads what is known of changes; it is called before the cache is asked. */
FscFollows *fsc_follows_new (FscLoop *loop, FscCache *cache, FscMounts *mounts,
                             void (*catch_up) (gpointer data), gpointer data);

/* Nobody may be watching any more. */
void fsc_follows_free (FscFollows *follows);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscFollows, fsc_follows_free)

/* Asks again about what may have changed: once a turn of the loop. Returns whether there was
 * anything to do. */
gboolean fsc_follows_flush (FscFollows *follows);

/* A client watches, or does not any more; as the take_ functions of request.h. */
gboolean fsc_follows_take_watch (FscFollows *follows, FscConnection *connection, guint32 serial,
                                 FscReader *reader);
gboolean fsc_follows_take_unwatch (FscFollows *follows, FscConnection *connection, guint32 serial,
                                   FscReader *reader);

/* Ends the watches of what a rule refuses by now, with a word to who watches. */
void fsc_follows_end_refused (FscFollows *follows, GQueue *connections);

/* A client goes: it watches nothing any more. */
void fsc_follows_forget (FscFollows *follows, FscConnection *connection);

const FscFollowCounters *fsc_follows_get_counters (const FscFollows *follows);
