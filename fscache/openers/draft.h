/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content that is being made: in memory, or, once it is larger than a part of it may be, in a file
 * that has no name, on a local file system. When it is all there its digest is known, and nobody
 * can change it any more if it is in memory, which is sealed, and nobody unseen if it is in a file:
 * of that there is only a descriptor for reading, and its user has to chmod() it first, or, if that
 * is root, give it another time by writing.
 */
#pragma once

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "fscache/openers/fault.h"

typedef struct
{
  uint64_t memory_size;  /* what is larger goes into a file */
  const char *directory; /* in which that is made */
} FscDraftPlace;

typedef struct
{
  const FscDraftPlace *place;
  int fd; /* or -1 */
  bool is_in_file;
  uint64_t size;
  struct timespec modified; /* the source, as far as is known; else the time of now */
  struct sha256_ctx sha256;
} FscDraft;

void fsc_draft_init (FscDraft *draft, const FscDraftPlace *place);
void fsc_draft_clear (FscDraft *draft);

/* It is empty (again). */
bool fsc_draft_begin (FscDraft *draft, FscFault *fault);

bool fsc_draft_write (FscDraft *draft, const void *bytes, size_t n, FscFault *fault);

/* All is written. Returns a descriptor for reading, which is the caller's, or -1. */
int fsc_draft_finish (FscDraft *draft, uint8_t digest[SHA256_DIGEST_SIZE], FscFault *fault);
