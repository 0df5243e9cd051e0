/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The descriptor for event loops: an epoll instance with the connection's socket, a timer for
 * deadlines and attempts to connect, and an event for callbacks that are due without anything
 * having arrived. It is made when it is first asked for; until then all of this does nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libclient/fscache.h"

typedef struct
{
  int epoll_fd, event_fd, timer_fd; /* -1: not made yet */
  bool is_signalled;
  int64_t armed; /* what the timer is set to; FSC_NEVER if it is not */
  int socket;    /* in the epoll instance; -1 if none */
  uint32_t events;
  bool is_suspended;
} FscPoller;

void fsc_client_poller_init (FscPoller *poller);
void fsc_client_poller_clear (FscPoller *poller);

/* In a child of fork(): makes everything anew, behind the same descriptor number. */
void fsc_client_poller_forked (FscacheClient *client);

/* With the client's lock. */

/* Returns the descriptor, or a negative errno. */
int fsc_client_poller_get_fd (FscacheClient *client);

/* Makes the descriptor readable when it should be. To be called after whatever may have changed
 * that; costs a system call only if it did. */
void fsc_client_poller_update (FscacheClient *client);

/* While a thread is the reader, each of its packets would wake the event loop as well, which would
 * find nothing to do until that thread has taken it. So the loop, if that happens to it, leaves the
 * socket to the threads; the last of them that waits gives it back. */
void fsc_client_poller_suspend (FscacheClient *client);
void fsc_client_poller_resume (FscacheClient *client);

/* The connection's socket is about to be closed. */
void fsc_client_poller_forget (FscacheClient *client, int socket);

/* fscache_dispatch() has begun: the event has done its work. */
void fsc_client_poller_reset (FscacheClient *client);
