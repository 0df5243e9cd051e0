/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes that come one block after the other, from whoever has them: what unpacking reads from, and
 * what each layer of it is to the next.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fscache/openers/fault.h"

typedef struct FscStream FscStream;

struct FscStream
{
  /* The next block: valid until the next call. Returns its length, 0 at the end, or -1 and why in
   * the fault of those who made the stream. */
  ssize_t (*read) (FscStream *stream, const void **block);

  /* Goes to a position. NULL: it only goes on. Returns false if it cannot. */
  bool (*seek) (FscStream *stream, uint64_t position);

  uint64_t size; /* if it can seek */
};
