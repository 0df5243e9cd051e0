/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A mount namespace for a test, so that what it mounts is seen by nobody else.
 */
#pragma once

#include <glib.h>

/* Puts this process into one, in which nothing spreads; for an ordinary user also into a user
 * namespace in which it is root. Returns FALSE if there is none to be had: then skip. */
gboolean fsc_test_enter_namespaces (void);
