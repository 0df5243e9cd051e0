/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process that unpacks: a child (child.h) for each file. It asks the parent for parts of the
 * source, sends content, and at last says how it ended. All that parses is in the child, all that
 * can do anything is in the parent.
 *
 * That the parent reads the source is also so that it is the parent that hangs where the source
 * does: the service knows of that one.
 */
#pragma once

#include "fscache/openers/child.h"

typedef struct
{
  int source;         /* borrowed */
  uint64_t size;      /* of the source */
  const char *member; /* or NULL */
  uint64_t max_size;  /* of the content */

  /* So many bytes of the source were read, more than it has if it is read several times; and the
   * content has so many. */
  void (*progress) (uint64_t done, uint64_t size, void *data);
  void *data;
} FscUnpackJob;

/* To be called once, before anything else: what a child could not do any more. */
void fsc_unpacker_prepare (void);

/* What has been written to the draft is all of the content if it is DONE. */
FscChildOutcome fsc_unpacker_run (const FscUnpackJob *job, FscDraft *draft, FscFault *fault);

/* What a child does before it reads anything. */
bool fsc_unpacker_confine (void);
