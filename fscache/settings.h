/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The limits of the cache as people name and change them: max-handles, max-bytes (in bytes; 0:
 * none) and idle-time (in milliseconds; 0: none).
 */
#pragma once

#include "fscache/server.h"

/* Changes a limit of the running service: what is beyond it goes at once. Returns FALSE, with a
 * sentence, if there is no such limit or it cannot be that. */
gboolean fsc_settings_set (FscServer *server, FscBytes name, guint64 value, GError **error);

/* Calls `func` for each limit. */
void fsc_settings_foreach (FscServer *server, FscServerCounterFunc func, gpointer data);
