/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How long a start of fscached takes, from vfork() to the answer to the first PING.
 */
#include "tests/bench/bench.h"
#include "tests/bench/service.h"

#define N_STARTS 20

typedef struct
{
  BenchService *service;
  unsigned n;
} Start;

static bool
set_up_start (BenchRow *row, GError **error)
{
  row->state = g_new0 (Start, 1);
  bench_defer (row->bench, g_free, row->state);
  return true;
}

static bool
run_start (BenchRow *row, GError **error)
{
  Start *start = row->state;
  g_autofree char *name = g_strdup_printf ("start-%u", start->n++);

  start->service = bench_service_start (row->bench, name, 0, 64, 64, error);
  if (start->service != NULL && bench_service_wait (start->service, error))
    return true;

  g_clear_pointer (&start->service, bench_service_free);
  return false;
}

static void
stop (BenchRow *row)
{
  Start *start = row->state;

  g_clear_pointer (&start->service, bench_service_free);
}

const BenchRowSpec bench_rows_start[] = {
  { .name = "start",
    .title = "start of fscached to its first answer",
    .handles = 1,
    .slice_max = 1,
    .total_max = N_STARTS,
    .has_no_warm_up = true,
    .set_up = set_up_start,
    .run = run_start,
    .after = stop },
  { 0 },
};
