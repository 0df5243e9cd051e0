/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Arguments that name resources: URIs, paths, and patterns of both. Nothing here looks at a file
 * system.
 *
 * In a canonical URI the characters '*' and '?' of a path are always escaped (%2A, %3F). So an
 * argument with a bare '*' or '?' can only be a pattern, and a file whose name really holds one is
 * named by its URI: file:///srv/what%3F
 */
#pragma once

#include <glib.h>

/* Whether an argument is a pattern. */
gboolean fsc_names_is_pattern (const char *argument);

/* The pattern over canonical URIs that an argument stands for: that of a URI is taken as it is; a
 * path becomes absolute and is escaped but for its '*' and '?'. Returns NULL with `error` set if it
 * cannot be one. */
char *fsc_names_get_pattern (const char *argument, GError **error);

/* The canonical URI of a URI or path. Returns NULL with `error` set if it is none. */
char *fsc_names_get_uri (const char *argument, GError **error);
