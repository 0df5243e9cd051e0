/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fuzzes unpacking: compressed files, and members of archives. Whatever the input is, it ends; what
 * fails says why, and what does not has no fault; and nothing is written before it begins.
 *
 * The first byte of the input says whether it is a member that is wanted, called "a" (1), and in
 * blocks of which size the rest is read. Linked with libFuzzer, or with replay.c, which runs the
 * corpus as a test.
 */
#include "fscache/openers/unpack.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>

#define OUTPUT_MAX (1 << 20)

typedef struct
{
  FscStream stream; /* first */
  const uint8_t *bytes;
  size_t size, position, block;
} Source;

typedef struct
{
  bool has_begun, was_stopped;
  size_t size;
} Written;

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);
const char *__asan_default_options (void);

/* Formats say how much memory they need, and need not get it. */
const char *
__asan_default_options (void)
{
  return "allocator_may_return_null=1:max_allocation_size_mb=256";
}

static void
require (bool condition)
{
  if (!condition)
    abort ();
}

static ssize_t
read_block (FscStream *stream, const void **block)
{
  Source *source = (Source *) stream;
  size_t left = source->size - source->position;
  size_t n = left < source->block ? left : source->block;

  *block = source->bytes + source->position;
  source->position += n;
  return (ssize_t) n;
}

static bool
seek_to (FscStream *stream, uint64_t position)
{
  require (position <= stream->size);
  ((Source *) stream)->position = (size_t) position;
  return true;
}

static bool
begin (void *data)
{
  Written *written = data;

  written->has_begun = true;
  written->size = 0;
  return true;
}

static bool
write_bytes (const void *bytes, size_t n, void *data)
{
  Written *written = data;

  require (written->has_begun);
  written->size += n;
  written->was_stopped = written->size > OUTPUT_MAX;
  return !written->was_stopped;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  Source source = { .stream = { .read = read_block, .seek = seek_to } };
  Written written = { 0 };
  const FscOutput output = { .begin = begin, .write = write_bytes, .data = &written };
  FscFault fault = { 0 };
  bool is_whole;

  if (size == 0)
    return 0;
  setlocale (LC_CTYPE, "C.UTF-8");
  source.bytes = data + 1;
  source.size = size - 1;
  source.stream.size = size - 1;
  source.block = (size_t) 16 << (data[0] >> 1) % 13;
  errno = 0; /* libarchive ends the process if it is ENOMEM, whenever that was */
  is_whole = fsc_unpack (&source.stream, (data[0] & 1) != 0 ? "a" : NULL, &output, &fault);
  if (is_whole)
    require (written.has_begun && !written.was_stopped && fault.error == 0);
  else if (!written.was_stopped)
    require (fault.error > 0 && fault.phrase[0] != '\0');
  return 0;
}
