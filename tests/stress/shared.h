/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the processes of a crew share. Inside of the crew: for crew.c, mutator.c and comparer.c.
 *
 * ROUNDS. The coordinator writes a step and the questions into the log, rings the comparers, who
 * prepare, and then the mutator. That sets `go` as soon as its system call has returned, and the
 * comparers ask. Nothing lies between but one store, which they spin on. In a hot round they also
 * ask just before, and the mutator waits for that: what is kept was checked a few microseconds
 * before it changes.
 *
 * FREE RUNNING. Mutators count `started` before each step and `finished` after it; a comparison
 * holds if nothing was under way when it began, and nothing had started when it ended.
 */
#pragma once

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/stress/crew.h"

#define LOG_MAX 400000
#define N_SPINS 20000
#define LOG_RESERVE 4096 /* who runs free stops before the log is full */

typedef struct
{
  atomic_uint value;
  atomic_uint n_asleep;
} Bell;

typedef enum
{
  PLAY_ROUND,
  RUN_FREE,
  QUIT,
} Command;

typedef struct DiffShared
{
  Bell hot;  /* comparers that have what they ask for in the cache; from the beginning */
  Bell go;   /* the round whose step has returned */
  Bell done; /* comparers and, when they run free, mutators, that are ready; from the beginning */

  struct
  {
    Bell bell;
    Command command;
    guint step; /* in the log */
    guint hot;  /* waits for this value of the bell */
  } mutators[DIFF_MUTATORS_MAX];

  struct
  {
    Bell bell;
    Command command;
    guint first, n; /* in the log */
    guint round;
    gboolean is_hot;
  } comparers[DIFF_COMPARERS_MAX];

  /* Of those who run free. */
  atomic_uint is_free;
  guint64 seed;
  guint phase;
  atomic_uint started, finished;

  atomic_uint has_failed;
  atomic_uint is_failure_written;
  DiffFailure failure;

  atomic_uint n_log;
  DiffStep log[LOG_MAX];
} DiffShared;

/* Bells: a value that somebody waits to change, or to reach. */

static inline void
bell_ring (Bell *bell, guint by)
{
  atomic_fetch_add (&bell->value, by);
  if (atomic_load (&bell->n_asleep) > 0)
    syscall (SYS_futex, &bell->value, FUTEX_WAKE, G_MAXINT, NULL, NULL, 0);
}

/* Waits until the value is not `seen` any more, at first without giving up the CPU. FALSE: it still
 * is, a second later. */
static inline gboolean
bell_wait (Bell *bell, guint seen, guint n_spins)
{
  struct timespec second = { .tv_sec = 1 };

  for (guint i = 0; i < n_spins; i++)
    {
      if (atomic_load_explicit (&bell->value, memory_order_acquire) != seen)
        return TRUE;
      __asm__ __volatile__("" ::: "memory");
    }
  atomic_fetch_add (&bell->n_asleep, 1);
  if (atomic_load (&bell->value) == seen)
    syscall (SYS_futex, &bell->value, FUTEX_WAIT, seen, &second, NULL, 0);
  atomic_fetch_sub (&bell->n_asleep, 1);
  return atomic_load (&bell->value) != seen;
}

/* A place in the log; FALSE: it is full. */
static inline gboolean
log_append (DiffShared *shared, const DiffStep *step, guint *index)
{
  *index = atomic_fetch_add (&shared->n_log, 1);
  if (*index >= LOG_MAX)
    return FALSE;
  shared->log[*index] = *step;
  return TRUE;
}

/* The lives of a mutator process, which has the mutators `first`, `first` + `stride` ..., and of a
 * comparer. */
void diff_mutator_run (const DiffCrew *crew, guint first, guint stride) G_GNUC_NORETURN;
void diff_comparer_run (const DiffCrew *crew, guint index) G_GNUC_NORETURN;
