/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The private instances of fscached that are measured.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "tests/bench/bench.h"
#include "tests/bench/process.h"

typedef struct
{
  BenchProcess process;
  char *socket;
  char *log; /* a file */
} BenchService;

/* The service of this name, started at the first call and ended with the bench. It serves up to
 * `max_handles` handles and `max_clients` clients, keeps what is idle, and has a long time-to-live
 * for file systems that change behind the kernel's back. If this process may not have enough
 * descriptors for that, it is unavailable. */
BenchService *bench_service_get (Bench *bench, const char *name, unsigned max_handles,
                                 unsigned max_clients, GError **error);

/* The one that most rows use. */
BenchService *bench_service_get_main (Bench *bench, GError **error);

/* The parts of it: starts one without waiting, waits for its first answer, ends it. */
BenchService *bench_service_start (Bench *bench, const char *name, unsigned max_handles,
                                   unsigned max_clients, GError **error);
bool bench_service_wait (BenchService *service, GError **error);
void bench_service_free (BenchService *service);

/* Its resident memory in bytes; 0 if that cannot be read. */
double bench_service_get_resident (const BenchService *service);

/* The same of any process. */
double bench_get_resident (pid_t pid);
