/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process that unpacks, one for each file: a child that has nothing but a socket to its parent.
 * It asks the parent for parts of the source, sends content, and at last says how it ended. All
 * that parses is in the child, all that can do anything is in the parent, and the parent takes the
 * child's word for nothing: it counts, keeps the limits, and throws away what has no end.
 *
 * That the parent reads the source is also so that it is the parent that hangs where the source
 * does: the service knows of that one.
 */
#pragma once

#include "fscache/openers/draft.h"

typedef struct
{
  int source;         /* borrowed */
  uint64_t size;      /* of the source */
  const char *member; /* or NULL */
  uint64_t max_size;  /* of the content */

  /* So many bytes of the source were read, more than it has if it is read several times; and the
   * content has so much memory. */
  void (*progress) (uint64_t done, uint64_t memory, void *data);
  void *data;
} FscUnpackJob;

typedef enum
{
  FSC_UNPACK_DONE,
  FSC_UNPACK_FAILED,  /* the source is not what it should be */
  FSC_UNPACK_TOO_BIG, /* more than max_size; there is no fault */
  FSC_UNPACK_BROKEN,  /* the child, or this machine, is at fault */
} FscUnpackEnd;

/* To be called once, before anything else: what a child could not do any more. */
void fsc_unpacker_prepare (void);

/* What has been written to the content is all of it if the end is DONE; else there is a fault. */
FscUnpackEnd fsc_unpacker_run (const FscUnpackJob *job, FscDraft *draft, FscFault *fault);

/* What a child does before it reads anything. */
bool fsc_unpacker_confine (void);
