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

typedef enum
{
  BENCH_SERVICE_NO_WATCH = 1 << 0, /* it watches nothing, so that it has to check */
  BENCH_SERVICE_ANY_CPU = 1 << 1,  /* it may run everywhere */
} BenchServiceFlags;

/* The service of this name, started at the first call and ended with the bench. It serves up to
 * `max_handles` handles and `max_clients` clients, keeps what is idle, and has a long time-to-live
 * for file systems that change behind the kernel's back. If this process may not have enough
 * descriptors for that, it is unavailable. */
BenchService *bench_service_get (Bench *bench, const char *name, BenchServiceFlags flags,
                                 unsigned max_handles, unsigned max_clients, GError **error);

/* The ones that most rows use; for each set of flags there is one. */
BenchService *bench_service_get_main (Bench *bench, BenchServiceFlags flags, GError **error);

/* The parts of it: starts one without waiting, waits for its first answer, ends it. */
BenchService *bench_service_start (Bench *bench, const char *name, BenchServiceFlags flags,
                                   unsigned max_handles, unsigned max_clients, GError **error);
bool bench_service_wait (BenchService *service, GError **error);
void bench_service_free (BenchService *service);

/* Its resident memory in bytes; 0 if that cannot be read. */
double bench_service_get_resident (const BenchService *service);

/* How long it has run on a CPU, in ns; 0 if that cannot be read. */
double bench_service_get_cpu_time (const BenchService *service);

/* The same of any process. */
double bench_get_resident (pid_t pid);
