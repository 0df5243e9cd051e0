/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A helper: a program that somebody has written for URIs of his own, as a process that is asked for
 * one at a time. It speaks the protocol of openers, and is not trusted: what it says is taken for
 * an answer only if it makes sense, and of its descriptors nothing is believed.
 *
 * It is started when it is needed, stays as long as it likes, and is started again when it has
 * ended: at once if it had answered something, else after a pause that grows, during which whoever
 * asks is told so. One that does not get on within the deadline is ended, and counts as one that
 * has answered nothing.
 *
 * Its parent is a guard, a process that does nothing but wait for the end of either the helper or
 * the opener, and then ends what the helper has started (its process group). The opener could not:
 * it may be killed itself.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "fscache/openers/serve.h"

typedef struct
{
  char *const *command; /* the program's path and its arguments */
  int64_t deadline_ms;
  pid_t pid;  /* of its guard; 0: it is not running */
  int socket; /* ours */
  int guard;  /* our end of its guard's socket, to which that says how the helper has ended */
  uint32_t serial;
  unsigned n_answered; /* since it was started */
  unsigned n_failures; /* lives without an answer, one after the other */
  char how[64];        /* its last life ended, for people */
  int64_t not_before;  /* when it may be started again, in milliseconds of the monotonic clock */
} FscHelper;

/* Has it open the item. A descriptor that it gives is in `found` as it came: to look at it may
 * hang. */
void fsc_helper_ask (FscHelper *helper, const FscItem *item, const char *uri, FscFound *found);
