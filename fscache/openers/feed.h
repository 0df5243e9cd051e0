/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libarchive that reads from a stream.
 */
#pragma once

#include <archive.h>

#include "fscache/openers/stream.h"

/* Where it is with its stream; lives as long as the archive. */
typedef struct
{
  FscStream *stream;
  uint64_t position;
  FscFault *fault;
} FscFeed;

/* Returns what archive_read_open() does. */
int fsc_feed_open (struct archive *archive, FscFeed *source);

/* Something failed in it: says what. */
void fsc_feed_fail (struct archive *archive, FscFault *fault);
