/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The names of the view, and which URI each stands for. Nothing here looks at a file system.
 *
 *     open/SCHEME/...     what the URI names; opening it goes through the cache
 *     cached/SCHEME/...   the same names, of what is cached now
 *     status.json, metrics
 *
 * Names are the components of the URI between its slashes:
 *
 *     open/file/srv/data/a.bin          file:///srv/data/a.bin
 *     open/unpack/srv/models/m.zst      unpack:///srv/models/m.zst
 *     open/https/host/object            https://host/object
 *     open/handle/listener-80           handle:listener-80
 *
 * Below file/ a name is that of the file system, byte for byte: a '%' is a '%'. (Only in cached/
 * the name "..", which may be in a URI, is written "%2E%2E".)
 *
 * Below other schemes a name is what stands in the URI, with its escapes; bytes that a URI cannot
 * hold may be written as they are. What begins with '?' or '#' is a part of the last component, and
 * there '/' is written %2F and '%' is written %25:
 *
 *     open/unpack/srv/a.tar.gz#dir%2Fmember   unpack:///srv/a.tar.gz#dir/member
 *     open/https/host/object?at=1%2F2         https://host/object?at=1/2
 *
 * A URI that has an empty component, or one that is longer than 255 bytes, has no name here.
 */
#pragma once

#include <glib.h>

typedef enum
{
  FSC_PLACE_NOWHERE,
  FSC_PLACE_TOP,
  FSC_PLACE_STATUS,  /* status.json */
  FSC_PLACE_METRICS, /* metrics */
  FSC_PLACE_OPEN,    /* open: the schemes */
  FSC_PLACE_SOURCE,  /* open/SCHEME and below */
  FSC_PLACE_CACHED,  /* cached: the schemes */
  FSC_PLACE_ENTRY,   /* cached/SCHEME and below */
} FscPlace;

/* A path is relative to the mount point and has no slash at its ends: "", "open/file/srv". */

FscPlace fsc_tree_get_place (const char *path);

/* "open/file" and "srv" are "open/file/srv". */
char *fsc_tree_join (const char *path, const char *name);

/* The path without "open/" or "cached/". */
const char *fsc_tree_skip_branch (const char *path);

/* Whether it is just a scheme: "open/file". */
gboolean fsc_tree_is_scheme (const char *path);

/* Whether it lies below file/ : then what libfscache is asked for is a path. */
gboolean fsc_tree_is_file (const char *path);

/* What to ask libfscache for, of a path of FSC_PLACE_SOURCE or _ENTRY: a path or a URI. NULL if it
 * stands for none. */
char *fsc_tree_get_target (const char *path);

/* The opposite: "file/srv/a b" of file:///srv/a%20b. NULL if it has no name. */
char *fsc_tree_from_uri (const char *uri);
