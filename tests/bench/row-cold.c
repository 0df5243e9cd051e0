/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opens of what is not cached: each operation takes the next of many files, of which fscached has
 * none open. The files themselves are warm, for open() as for the opener.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/bench/client.h"

#define N_FILES 2000

typedef struct
{
  Bench *bench;
  BenchClient *client; /* NULL: open() itself */
  char **paths;
  unsigned n, next;
  char *pattern;
} Cold;

static void
free_cold (void *data)
{
  Cold *cold = data;

  g_strfreev (cold->paths);
  g_free (cold->pattern);
  g_free (cold);
}

static bool
set_up_open (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  Cold *cold = g_new0 (Cold, 1);
  g_autofree char *directory = g_build_filename (bench->directory, "cold", NULL);

  cold->n = bench_scale (bench, N_FILES);
  cold->paths = g_new0 (char *, cold->n + 1);
  for (unsigned i = 0; i < cold->n; i++)
    cold->paths[i] = bench_get_file (bench, "cold", i);
  cold->pattern = g_strdup_printf ("file://%s/*", directory);
  row->state = cold;
  bench_defer (bench, free_cold, cold);
  return bench_make_files (bench, "cold", cold->n, error);
}

static bool
set_up_cold (BenchRow *row, GError **error)
{
  static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };
  BenchService *service = bench_service_get_main (row->bench, 0, error);

  if (service == NULL || !set_up_open (row, error))
    return false;

  Cold *cold = row->state;

  cold->client = bench_client_new_for_paths (row->bench, service, (const char *const *) cold->paths,
                                             cold->n, &shared, error);
  return cold->client != NULL;
}

static bool
forget_all (BenchRow *row, GError **error)
{
  Cold *cold = row->state;
  FscacheReply reply;

  cold->next = 0;
  if (fscache_drop_matching (cold->client->client, cold->pattern, &reply) >= 0)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s", reply.message);
  return false;
}

static void
forget_when_all_are_open (BenchRow *row)
{
  Cold *cold = row->state;

  if (cold->next == cold->n)
    forget_all (row, NULL);
}

static bool
run_cold (BenchRow *row, GError **error)
{
  Cold *cold = row->state;

  return bench_client_open (cold->client, cold->next++, FSCACHE_SOURCE_OPENED, error);
}

static bool
run_open (BenchRow *row, GError **error)
{
  Cold *cold = row->state;
  int fd = open (cold->paths[cold->next], O_RDONLY | O_CLOEXEC);

  cold->next = (cold->next + 1) % cold->n;
  if (fd >= 0 && close (fd) == 0)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "open: %s", g_strerror (errno));
  return false;
}

const BenchRowSpec bench_rows_cold[] = {
  { .name = "cold-open",
    .title = "open() and close(), each time of another file",
    .baseline = "open",
    .handles = 1,
    .set_up = set_up_open,
    .run = run_open },
  { .name = "cold-fscache",
    .title = "fscache, shared, each time of a file that it does not have open",
    .baseline = "cold-open",
    .handles = 1,
    .has_no_warm_up = true,
    .set_up = set_up_cold,
    .prepare = forget_all,
    .run = run_cold,
    .after = forget_when_all_are_open },
  { 0 },
};
