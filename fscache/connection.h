/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One client: its handshake, its requests, and the replies that wait to be sent.
 *
 * A peer at fault (a malformed packet, descriptors nobody asked for) is disconnected; a request
 * that is refused is answered, and the connection goes on. A client that does not read is not read
 * from either, and is disconnected after a minute.
 *
 * The kernel charges descriptors in flight to their sender's user, and refuses to send when they
 * are too many. So the service counts what it has sent, and stops before that: no more than one
 * packet's fill of unread descriptors to one client, and a limit over all, of which each client may
 * have half of what the others leave, so that those who do not read keep nobody from theirs. That a
 * client has read is known when its socket's output queue is empty.
 */
#pragma once

#include <glib.h>

#include "fscache/server.h"

typedef struct FscConnection FscConnection;

/* Takes the socket. `peer` is who it is, if the service serves all users; else NULL. If its user
 * has too many connections it may only greet, and be told; or is closed, if it `may_greet` not. */
void fsc_connection_new (FscServer *server, int socket, const FscPeer *peer, gboolean may_greet);

/* Ends it: all requests are cancelled, all leases end. */
void fsc_connection_close (FscConnection *connection);

/* For the cache: tells how far an item of a request has come, unless the client does not read. */
void fsc_connection_tell_progress (gpointer request, guint index, const FscProgress *progress);

/* Sends what waits, as far as the client reads. If it was found not to, nothing is tried until the
 * loop says that it has (or with `force`). */
void fsc_connection_flush (FscConnection *connection, gboolean force);

/* The user has less than before: its connections that are not read from are read from again, if
 * that is enough less. */
void fsc_connection_resume_paused (FscStake *stake);

/* Sends what waits for the user's clients, for a slice of time where there are several users, but
 * to one of them at least. */
void fsc_connection_flush_all (FscStake *stake);

/* How much of what it has asked for is not answered. */
guint fsc_connection_get_n_waiting (const FscConnection *connection);

/* Disconnects a client that has not read, or not greeted, for too long. Called about once a second,
 * while it returns TRUE: there is something that the client has to do. */
gboolean fsc_connection_check (FscConnection *connection, gint64 time);
