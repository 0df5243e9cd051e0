/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes that come one block after the other, from whoever has them: what unpacking reads from, and
 * what each layer of it is to the next.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FSC_PHRASE_MAX 256

/* Why something failed: an errno, and a phrase that continues "cannot open NAME: ". All zero: it
 * has not. */
typedef struct
{
  int error;
  char phrase[FSC_PHRASE_MAX];
} FscFault;

/* The first one is kept: those that follow are its consequences. */
void fsc_fault_set (FscFault *fault, int error, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

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
