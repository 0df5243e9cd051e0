/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One layer of compression: what gzip, zstd, xz, bzip2 and lz4 say that a file is. It comes whole,
 * in as many parts as were put one after the other, or there is a fault: what is cut off, what does
 * not have its checksum, and what is followed by something else.
 *
 * libarchive decompresses, but for gzip: of that it verifies no checksum. It takes what it does not
 * recognise after the first part for the end, so it is looked here whether all was read.
 */
#pragma once

#include "fscache/openers/stream.h"

/* A stream of what is in `source`, which is borrowed and must be at its beginning. NULL: it is not
 * compressed, or there is a fault. */
FscStream *fsc_decompress_new (FscStream *source, FscFault *fault);
void fsc_decompress_free (FscStream *stream);
