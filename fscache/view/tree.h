/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The names of the view, and which URI each stands for. Nothing here looks at a file system.
 *
 *     open/SCHEME/...     what the URI names; opening it goes through the cache
 *     cached/SCHEME/...   the same names, of what is cached now
 *     status.json, metrics
 *
 *     open/file/srv/data/a.bin           file:///srv/data/a.bin
 *     open/unpack/srv/models/m.zst       unpack:///srv/models/m.zst
 *     open/unpack/srv/a.tar#dir%2Fb      unpack:///srv/a.tar#dir/b
 *     open/https/host/object             https://host/object
 *     open/https/host/models%/m.bin      https://host/models/m.bin
 *     open/https/host/models%2Fm.bin     the same
 *     open/handle/listener-80            handle:listener-80
 *
 * Below file/ and unpack/ a name is one of the file system's. Nobody can say that of what is below
 * other schemes: whether something is a directory must be seen by its name, since who looks it up
 * does not say what follows. There a scheme, the host of http: and https:, and what ends with '%'
 * are directories of the view's own, and all else is looked up by opening it.
 *
 * NAMES TO URIS. Below file/ a name is taken byte for byte: a '%' is a '%'. Below other schemes
 *
 *     %XX           is that byte; so %2F is a '/' and %25 a '%', and in unpack/ %23 a '#'
 *     NAME%/...     is NAME, and a '/'
 *     NAME%%/...    is NAME, and goes on with what follows: for names of more than 255 bytes
 *     :/...         as the first name, says that there is no "//" after the colon of the scheme
 *
 * and what a URI cannot hold is escaped in it. If nothing is left but slashes, as of http://host/,
 * there is one more in the name: open/http/host/%2F.
 *
 * URIS TO NAMES. Each canonical URI has a name, from which it can be had again; all these names
 * differ. Only the '/' or "/." that a file: URI may have at its end, to say that it is a directory,
 * is no part of its name. In cached/file/ the name ".." is %2E%2E, and %2E%2E is %252E%2E.
 */
#pragma once

#include <glib.h>

typedef enum
{
  FSC_PLACE_NOWHERE,
  FSC_PLACE_TOP,
  FSC_PLACE_STATUS,  /* status.json */
  FSC_PLACE_METRICS, /* metrics */
  FSC_PLACE_OPEN,    /* open: the schemes; and directories of the view's own below it */
  FSC_PLACE_SOURCE,  /* open/SCHEME and below: what the service is asked for */
  FSC_PLACE_CACHED,  /* cached: the schemes */
  FSC_PLACE_ENTRY,   /* cached/SCHEME and below */
} FscPlace;

/* A path is relative to the mount point and has no slash at its ends: "", "open/file/srv". */

FscPlace fsc_tree_get_place (const char *path);

/* "open/file" and "srv" are "open/file/srv". */
char *fsc_tree_join (const char *path, const char *name);

/* The path without "open/" or "cached/". */
const char *fsc_tree_skip_branch (const char *path);

/* Whether it lies below file/ : then what libfscache is asked for is a path, and may be written to.
 */
gboolean fsc_tree_is_file (const char *path);

/* What to ask libfscache for, of a path of FSC_PLACE_SOURCE or _ENTRY: a path or a URI. NULL if it
 * stands for none. */
char *fsc_tree_get_target (const char *path);

/* Of what is below open/unpack/ and is no member of an archive: the path of what is unpacked, which
 * may as well be a directory. Else NULL. */
char *fsc_tree_get_unpacked (const char *path);

/* What a name in a directory of the source's is called in the view's directory for it. */
char *fsc_tree_get_name (const char *path, const char *name);

/* The opposite: "file/srv/a b" of file:///srv/a%20b. NULL if it is no canonical URI. */
char *fsc_tree_from_uri (const char *uri);

/* The schemes that can always be looked up in open/, NULL after the last. */
extern const char *const fsc_tree_schemes[];
