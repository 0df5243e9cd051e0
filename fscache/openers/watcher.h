/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watching a way: an opener goes along a path and adds an inotify watch to each directory before it
 * looks up a name in it, and at last to what it has found. The service is told which, and reads the
 * events; this process never does.
 *
 * A way can be watched if all of it lies on file systems that this kernel sees whole, and if this
 * user may read, and not only search, its directories; inotify asks for that.
 */
#pragma once

#include <stdbool.h>

#include "protocol/codec.h"

/* A way; its names are in it. */
typedef struct
{
  unsigned n;
  FscStep steps[FSC_STEPS_MAX];
  size_t length;
  char names[8192];
} FscWay;

/* Watches the way that an open of `path` with `flags` goes. Where there is nothing, the way ends
 * with the last directory that there is, in which a name was looked up in vain. With
 * `is_of_content` what is written to the file is heard, too. `inotify` is borrowed. Returns whether
 * all of it is watched; else the way is as much of it as is, for the service to end that. */
bool fsc_watcher_go (int inotify, const char *path, int flags, bool is_of_content, FscWay *way);
