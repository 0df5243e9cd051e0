/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the program watches. A watch is made again on each new connection, and what comes then is an
 * event like any other. Of each watch at most one event waits to be delivered: a newer one takes
 * its place, and says so. Callbacks are called from fscache_dispatch() alone.
 *
 * The serials of watches are small numbers, which no request has (call.c): an EVENT is found by its
 * serial, and one that was on its way when its watch ended belongs to nobody.
 */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

#include "libclient/call.h"
#include "protocol/channel.h"

typedef struct FscWatching FscWatching;
TAILQ_HEAD (FscWatchingList, FscWatching);

typedef struct
{
  struct FscWatchingList all, unsent, due;
  FscWatching **table; /* by number */
  uint32_t size, n, last;
  uint32_t n_unanswered; /* sent, and nothing has come for them */
} FscWatchings;

void fsc_client_watch_init (FscWatchings *watchings);

/* Ends all of them, without a callback. */
void fsc_client_watch_clear (FscWatchings *watchings);

/* All of the following are called with the client's lock. */

/* Sends those that the service does not know yet. Returns 0; -EAGAIN if there is no room; or
 * another negative errno if the connection is lost. */
int fsc_client_watch_send (FscacheClient *client);

/* The connection is lost. */
void fsc_client_watch_lost (FscacheClient *client);

/* There is no service, and it has been waited for. */
void fsc_client_watch_give_up (FscacheClient *client);

/* Returns 0 or -EPROTO. A descriptor that is not wanted stays in `fds`. */
int fsc_client_watch_take_event (FscacheClient *client, const FscHeader *header, FscReader *reader,
                                 FscFds *fds, bool lost);

/* Returns whether it was the answer to a WATCH. */
bool fsc_client_watch_take_error (FscacheClient *client, uint32_t serial, const FscError *error);

/* Calls the callbacks that are due, without the lock. Returns how many. */
int fsc_client_watch_deliver (FscacheClient *client);

/* In a child of fork(): they are the parent's. */
void fsc_client_watch_forget (FscacheClient *client);
