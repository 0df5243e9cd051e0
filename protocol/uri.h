/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names of resources. Two URIs that differ only in how they are written have one canonical form,
 * and the cache knows resources by that. Nothing here looks at a file system: '..' and symlinks are
 * the kernel's to resolve.
 *
 * Canonical is: the scheme in lower case, and then
 *
 *  - file:    "//" and the absolute path, each byte escaped as %XX (upper case) except ASCII
 * letters and digits and -._~!$&'()+,;=:@/ ; no empty component and no '.' but at the end, where
 * '/' and '/.' make open() ask for a directory, and to search it
 *  - unpack:  the same; and perhaps '#' and a member's name, whose bytes are escaped as those of a
 *             path, and otherwise left as they are
 *  - unix:    a path as above, or '@' and an abstract name, written like a member's
 *  - handle:  a name, written like a member's
 *  - http:, https: "//", the host in lower case, its port unless it is the default one, '/' and all
 *             that follows, but no fragment
 *  - tcp:     "//", the host in lower case, and its port
 *  - others:  what follows, which must be printable ASCII without spaces.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "protocol/codec.h"

/* Returns the length of the scheme, without the colon, or 0 if there is none. */
size_t fsc_uri_get_scheme_length (FscBytes uri);

/* Whether `uri` has this scheme; "file", say. */
bool fsc_uri_has_scheme (FscBytes uri, const char *scheme);

/* Whether it names something by its path in the file tree, as file: does; `uri` may be in any form.
 */
bool fsc_uri_names_path (FscBytes uri);

/* The host of a URI with "//", and its port if that is written there; empty if there is none. */
FscBytes fsc_uri_get_host (FscBytes uri);

/* The port that goes without saying; 0: there is none. */
unsigned fsc_uri_get_default_port (FscBytes uri);

/* Writes the canonical form and a zero byte to `buffer`. Returns its length, or -EINVAL with a
 * phrase in *reason that continues "this URI ...", or -ENAMETOOLONG. */
int fsc_uri_canonicalize (FscBytes uri, char *buffer, size_t size, const char **reason);

/* The canonical file: URI of an absolute path. The same errors. */
int fsc_uri_from_path (FscBytes path, char *buffer, size_t size);

/* The path that a canonical file: URI names, with a zero byte at its end. Returns its length or
 * -EINVAL or -ENAMETOOLONG. */
int fsc_uri_to_path (FscBytes uri, char *buffer, size_t size);

/* The same of each canonical URI that names something by a path: of an unpack: URI, the archive's.
 */
int fsc_uri_get_path (FscBytes uri, char *buffer, size_t size);

/* The member that a canonical unpack: URI names, with a zero byte at its end. Returns its length,
 * -ENOENT if it names none, or -ENAMETOOLONG. */
int fsc_uri_to_member (FscBytes uri, char *buffer, size_t size);

/* Room for a name in an error sentence. */
#define FSC_NAME_IN_TEXT_MAX 320

/* Writes a name (a URI, a path) for people to `buffer`, which it returns: a long one loses its
 * middle, and control characters become '?'. */
const char *fsc_uri_abbreviate (FscBytes name, char buffer[FSC_NAME_IN_TEXT_MAX]);
