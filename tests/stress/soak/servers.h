/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The servers that fscache-soak connects to: they end with their parent.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Serves by HTTP what tests/integration/http-server.py does. Returns its port, or 0 without Python.
 */
guint soak_start_http (pid_t *pid);

/* Says back what it is told. Returns its port on the loopback. */
guint soak_start_echo (pid_t *pid);
