/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether there is a service, and what becomes of requests when there is not.
 *
 * A connection that is LOST is made again: at once, and then after pauses of 1 to 50 ms. For a
 * grace time requests wait for that, and those that were sent are sent again. When it has passed,
 * or when the service was never there, requests GIVE UP: files are opened locally where that is
 * allowed, all else fails; and after that connecting is tried for a new request, but not more
 * often than every 100 ms. A service that hangs or refuses is left alone for longer.
 *
 * A service that is stopped, or hangs, keeps its connections: no socket tells. So while it owes an
 * answer, or room in the socket's buffer, somebody looks every few seconds whether anything has
 * come. It is sent a PING when nothing has for a while, and if it does not even answer that, the
 * connection is lost. A thread that waits in recvmsg() is woken for that by the socket's own
 * time-out, so that a request costs no system call more, nor a look at the clock.
 *
 * All calls need the client's lock; none of them waits.
 */
#pragma once

#include "libclient/client.h"

/* Reads how long a silence may be from the environment. */
void fsc_client_link_init (FscLink *link);

/* Connects if there is no connection and it is time to; gives up what cannot wait any longer. */
void fsc_client_link_ensure (FscacheClient *client);

/* When fsc_client_link_ensure() will have something to do; FSC_NEVER if only the socket knows. */
int64_t fsc_client_link_get_time (FscacheClient *client);

/* Sees to it that this is no later than the next look, if one is needed: for who waits with a time
 * anyway, not in recvmsg(). */
void fsc_client_link_expect (FscacheClient *client);

/* Looks, if it is time to; to be called when nothing is there to be received. */
void fsc_client_link_look (FscacheClient *client);

/* The connection is lost; `is_fault` if it was cut here because the service sent nonsense. */
void fsc_client_link_lose (FscacheClient *client, bool is_fault);

/* The first packet has come: WELCOME, or an ERROR that says why not. Whoever speaks for another
 * then waits for a second one. */
void fsc_client_link_welcome (FscacheClient *client, const FscWelcome *welcome);
void fsc_client_link_refused (FscacheClient *client, const FscError *error);

/* Lets go of the connection without any of the above. */
void fsc_client_link_close (FscacheClient *client);
