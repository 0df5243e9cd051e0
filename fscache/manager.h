/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whoever started the service and looks after it: systemd, or what speaks as it does. It may pass
 * the listening socket, is told when the service is ready, reads its configuration again and goes,
 * and, if it asks for that, gets a sign of life.
 *
 * Where nobody asks for any of this, and where the service was built without libsystemd, nothing is
 * done. Nothing here waits, and that something cannot be told is no failure.
 */
#pragma once

#include <glib.h>

#include "fscache/loop.h"

/* What this process was started with, before any other descriptor is opened or closed: how many
 * descriptors have been passed, from 3 on. */
guint fsc_manager_count_descriptors (void);

/* The listening socket, if one was passed, else -1. Fails if what was passed is something else. It
 * is the caller's, and close-on-exec. */
gboolean fsc_manager_take_socket (guint n_passed, int *socket, GError **error);

/* READY=1: `status` is a sentence for those who ask how the service is. */
void fsc_manager_say_ready (const char *status);

/* RELOADING=1: a configuration is read again; READY=1 follows, however that ends. */
void fsc_manager_say_reloading (void);

/* STOPPING=1 */
void fsc_manager_say_stopping (void);

/* WATCHDOG=1, twice in the time in which one is expected, for as long as the loop runs. Returns the
 * id of a source, or 0 if nobody expects it. */
guint fsc_manager_watch (FscLoop *loop);
