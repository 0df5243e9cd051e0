/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Descriptors under names, as s6-fdholder keeps them: a duplicate of one that is there, of what can
 * be reopened an independent one, one that is borrowed, and to put one in the place of another.
 */
#include <fcntl.h>
#include <unistd.h>

#include "libclient/fscache.h"
#include "tests/bench/bench.h"
#include "tests/bench/service.h"

#define NAME "handle:file"

typedef struct
{
  FscacheClient *client;
  int fd; /* to be put again */
} Put;

static void
free_put (void *data)
{
  Put *put = data;

  fscache_disconnect (put->client);
  if (put->fd >= 0)
    close (put->fd);
  g_free (put);
}

static bool
fail (GError **error, const FscacheReply *reply)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s", reply->message);
  return false;
}

static bool
put_again (const Put *put, GError **error)
{
  const FscachePut what = { .uri = NAME, .fd = put->fd, .mode = FSCACHE_PUT_REPLACE };
  FscacheReply reply;

  return fscache_put (put->client, &what, &reply) == 0 || fail (error, &reply);
}

static bool
set_up_put (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  BenchService *service = bench_service_get_main (bench, 0, error);
  g_autofree char *file = bench_get_file (bench, "files", 0);

  if (service == NULL || !bench_make_files (bench, "files", 1, error))
    return false;

  Put *put = g_new0 (Put, 1);

  row->state = put;
  put->fd = open (file, O_RDONLY | O_CLOEXEC);
  fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &put->client);
  bench_defer (bench, free_put, put);
  return put_again (put, error);
}

static bool
run_get (BenchRow *row, GError **error)
{
  const Put *put = row->state;
  const FscacheRequest request = { .uri = NAME, .sharing = (FscacheSharing) row->spec->parameter };
  FscacheReply reply;

  if (fscache_open_with (put->client, &request, &reply) < 0)
    return fail (error, &reply);
  close (reply.fd);
  return true;
}

static bool
run_borrow (BenchRow *row, GError **error)
{
  const Put *put = row->state;
  FscacheBorrow borrow;
  FscacheReply reply;

  if (fscache_borrow (put->client, NAME, &borrow, &reply) < 0)
    return fail (error, &reply);
  fscache_return (put->client, &borrow);
  return true;
}

static bool
run_put (BenchRow *row, GError **error)
{
  return put_again (row->state, error);
}

const BenchRowSpec bench_rows_put[] = {
  { .name = "named-shared",
    .title = "fscache, shared, put under a name",
    .baseline = "s6-fdholder",
    .handles = 1,
    .parameter = FSCACHE_SHARED,
    .set_up = set_up_put,
    .run = run_get },
  { .name = "named-independent",
    .title = "fscache, independent, put under a name",
    .baseline = "s6-fdholder",
    .handles = 1,
    .parameter = FSCACHE_INDEPENDENT,
    .set_up = set_up_put,
    .run = run_get },
  { .name = "named-borrow",
    .title = "fscache, borrowed, put under a name",
    .baseline = "s6-fdholder",
    .handles = 1,
    .set_up = set_up_put,
    .run = run_borrow },
  { .name = "named-put",
    .title = "fscache, put in the place of another",
    .baseline = "s6-store",
    .handles = 1,
    .set_up = set_up_put,
    .run = run_put },
  { 0 },
};
