/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Another configuration for a service that runs. Nobody is disconnected, no request fails, and no
 * handle is lost by it, but those that a rule refuses from now on.
 *
 * A lane has the settings with which it was made, so what is asked for from now on gets lanes and
 * openers of its own, and those that there are end when they have nothing to do or to hold. What
 * was configured before stays in memory for them: some kilobytes for each reload.
 */
#pragma once

#include "fscache/server.h"

/* Takes the configuration. Returns FALSE, and nothing is changed, if it cannot hold now: not
 * without another start. */
gboolean fsc_reload (FscServer *server, FscConfig *config, GError **error);
