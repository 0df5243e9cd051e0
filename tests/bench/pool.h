/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Processes that all need the same content. An operation is the whole pool, from its start until
 * each has read all of it; then it is looked how much memory they have together.
 */
#pragma once

#include "tests/bench/bench.h"

#define BENCH_POOL_PROCESSES 32

typedef struct
{
  /* The work of one, in a process of its own: gets the content, or NULL. */
  const char *(*get) (const void *data);
  const void *data;
  gsize size;

  double memory; /* the most that they had together, in MiB; what is shared counts once */

  /* Of the run. */
  pid_t pids[BENCH_POOL_PROCESSES];
  int look, end; /* closed, they tell the pool to look at its memory, and to end */
  int kept;      /* reads: how much memory each has, in KiB */
} BenchPool;

bool bench_pool_run (BenchPool *pool, GError **error);

/* After each run, whether it was good or not. */
void bench_pool_end (BenchPool *pool);

/* Work: opens a URI through the service at this socket, and maps it. NULL if it fails. */
const char *bench_pool_map (const char *socket, const char *uri, gsize size);
