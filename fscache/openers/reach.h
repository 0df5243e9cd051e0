/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opening a path as open() does it, without leaving the mount that the service names: another one
 * may be dead, and this process is there for this one. The kernel resolves the path in one call.
 * Only if it says that the way leads out is the way gone along by hand (walk.h), to find where to;
 * then the service asks an opener of that mount.
 */
#pragma once

#include <sys/types.h>

#include "fscache/openers/serve.h"

typedef struct
{
  const FscItem *item; /* its mount, and where to resume */
  const char *path;
  const char *name; /* for people */
} FscReach;

/* Returns a descriptor, or -1: then *found says why, if it has a code (LEADS_ELSEWHERE, with a
 * file: URI, is one), else errno does. */
int fsc_reach_open (const FscReach *reach, int flags, mode_t mode, FscFound *found);
