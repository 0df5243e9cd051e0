/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sending: what is queued becomes packets. Nothing here waits; all of it needs the client's lock.
 */
#pragma once

#include "libclient/client.h"

/* Sends what is queued until the socket's buffer is full. */
void fsc_client_send_queued (FscacheClient *client);

/* The service need not go on with the packet `serial`. */
void fsc_client_send_cancel (FscacheClient *client, uint32_t serial);

/* Gives a lease back, if the connection is still the one that it was given on. */
void fsc_client_send_give_back (FscacheClient *client, uint32_t flags, uint64_t lease,
                                uint64_t generation);

/* The service need not tell of the WATCH `serial` any more. */
void fsc_client_send_unwatch (FscacheClient *client, uint32_t serial);

/* Asks for a sign of life; the answer is one to nobody. */
void fsc_client_send_ping (FscacheClient *client);

/* Drops messages that were meant for a connection that is gone. */
void fsc_client_send_forget (FscacheClient *client);
