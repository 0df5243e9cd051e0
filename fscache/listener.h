/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The service's place: the socket where clients find it, and the lock beside it that keeps a second
 * instance out.
 *
 * Who has the lock owns the place; the lock goes with its holder, however that ends. So a socket
 * that is there while the lock is free is stale, and is removed, unless somebody answers on it, who
 * must be another program.
 *
 * Where somebody else has made the socket, it is not removed: who wants to connect while there is
 * no service waits in its backlog for the next one.
 */
#pragma once

#include <glib.h>

#include "fscache/loop.h"
#include "fscache/spawner.h"

typedef struct FscListener FscListener;

/* Called with a new connection, which it takes: non-blocking and close-on-exec. */
typedef void (*FscAcceptFunc) (int socket, gpointer data);

/* Takes the place at `path`, NULL for where the service is unless it is told otherwise. `socket` is
 * -1, or one that listens already, which it takes: that has its own place, and fails if it is to be
 * another one. With `replace`, a live instance is asked to go, and killed if it does not within
 * some seconds. `owner` is NULL, and nobody else may come; or all may, and it is who will remove
 * the socket (the directory, if it has to be made, is that user's). */
FscListener *fsc_listener_new (const char *path, int socket, gboolean replace, const FscUser *owner,
                               GError **error);

/* Where clients find it. */
const char *fsc_listener_get_path (const FscListener *listener);

/* Another process accepts the clients: gives away the socket. The place is still the listener's. */
int fsc_listener_steal_socket (FscListener *listener);

/* Removes the socket that it has made, and lets go of the lock. */
void fsc_listener_free (FscListener *listener);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscListener, fsc_listener_free)

gboolean fsc_listener_attach (FscListener *listener, FscLoop *loop, FscAcceptFunc func,
                              gpointer data, GError **error);

/* A descriptor has become free: goes on accepting if that was suspended for want of one. */
void fsc_listener_resume (FscListener *listener);
