/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A child that reads what strangers have made, and its parent: how it is started, what they say to
 * each other, and what becomes of it. The child has a socket to its parent, and /dev/null, and
 * shuts itself in before it reads anything (confine.h). The parent takes its word for nothing: it
 * counts, keeps the limits, makes the digest, and throws away what has no end.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "fscache/openers/draft.h"

/* What it may have and use at most. xz and 7z may ask for a dictionary of some hundred megabytes.
 */
#define FSC_CHILD_MEMORY (UINT64_C (1) << 30)
#define FSC_CHILD_SECONDS 3600

#define FSC_CHILD_PAYLOAD 65536

typedef struct
{
  enum
  {
    FSC_CHILD_ASK,   /* to the child: what to do */
    FSC_CHILD_WANT,  /* to the parent: the source from `number` on; and its answer: `number` is an
                        errno, or 0 */
    FSC_CHILD_BEGIN, /* to the parent: the content begins; `number` bytes in all, or 0 */
    FSC_CHILD_WRITE, /* to the parent: more of it */
    FSC_CHILD_END    /* to the parent: how it has ended */
  } what;
  uint64_t number;
  uint8_t payload[FSC_CHILD_PAYLOAD];
} FscChildMessage;

/* Returns whether all of it was sent. */
bool fsc_child_send (int socket, int what, uint64_t number, const void *payload, size_t n);

/* Waits for a message. Returns the length of its payload, or -1: the other one is gone. */
ssize_t fsc_child_receive (int socket, FscChildMessage *message);

/* In the child */

#define FSC_CHILD_SOCKET 3

/* The content is to be written, from its beginning; `total` bytes in all, or 0. */
bool fsc_child_begin (uint64_t total);
bool fsc_child_write (const void *bytes, size_t n);

/* In the parent */

typedef struct
{
  const char *task; /* for people: "fetches" */
  pid_t pid;        /* 0: there is none */
  int socket;
} FscChild;

/* `run` is called in the child, with /dev/null at 0, 1 and 2, and ends it by returning. `child` has
 * its task. */
bool fsc_child_start (FscChild *child, void (*run) (const void *data), const void *data,
                      FscFault *fault);

/* Sees to it that there is none. With a fault, it has ended by itself, and the fault says how. */
void fsc_child_end (FscChild *child, FscFault *fault);

/* What has come of a task. */
typedef enum
{
  FSC_CHILD_DONE,
  FSC_CHILD_FAILED,  /* what it read is not what it should be: there is a fault */
  FSC_CHILD_TOO_BIG, /* the content has more than it may have */
  FSC_CHILD_BROKEN,  /* the child, or this machine, is at fault: so there is one */
} FscChildOutcome;

typedef struct
{
  const char *task;
  FscDraft *draft;
  uint64_t max_size; /* of the content */
  FscFault *fault;
  bool has_begun;
  uint64_t total; /* as it was told */
  FscChildMessage message;
} FscChildRun;

/* Takes BEGIN and WRITE, and no other message, with a payload of `n` bytes. */
FscChildOutcome fsc_child_take_content (FscChildRun *run, size_t n);

/* Takes what an END says has failed, or that nothing has. */
FscChildOutcome fsc_child_take_fault (FscChildRun *run, const FscFault *fault);

/* What has come is none of all this. */
FscChildOutcome fsc_child_fail_nonsense (FscChildRun *run);
