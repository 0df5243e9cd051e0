/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A hit in fscached, by each sharing mode, one at a time and in batches. "Unchecked" is a request
 * with max_age_ms: the service may answer from what it knows. "Checked" is one without: it is
 * checked each time that the path still leads to the file. Both are asked of a service that watches
 * nothing. "Watched" is a hit as it is by default on a local file system: the kernel tells of all
 * changes, and the service need only see that there were none.
 */
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/bench/service.h"
#include "tests/bench/wire.h"

enum
{
  UNCHECKED = 1 << 0,
  INDEPENDENT = 1 << 1,
  EXCLUSIVE = 1 << 2,
  WATCHED = 1 << 3,
};

static bool
set_up_hit (BenchRow *row, GError **error)
{
  unsigned parameter = row->spec->parameter;
  BenchServiceFlags flags = parameter & WATCHED ? 0 : BENCH_SERVICE_NO_WATCH;
  BenchService *service = bench_service_get_main (row->bench, flags, error);
  FscacheRequest how = { .sharing = parameter & INDEPENDENT ? FSCACHE_INDEPENDENT
                                    : parameter & EXCLUSIVE ? FSCACHE_EXCLUSIVE
                                                            : FSCACHE_SHARED,
                         .max_age_ms = parameter & UNCHECKED ? BENCH_ANY_AGE : 0 };

  if (service == NULL)
    return false;

  BenchClient *client
      = bench_client_new (row->bench, service, "files", row->spec->handles, &how, error);

  row->state = client;
  if (client == NULL)
    return false;
  if (parameter & WATCHED)
    return bench_client_watch (client, error);

  client->coherence = FSCACHE_COHERENCE_CHECKED;
  return true;
}

static bool
run_hit (BenchRow *row, GError **error)
{
  bool is_lent = (row->spec->parameter & EXCLUSIVE) != 0; /* what is given back is not lent again */

  return bench_client_open (row->state, 0, is_lent ? FSCACHE_SOURCE_OPENED : FSCACHE_SOURCE_CACHE,
                            error);
}

static bool
run_batch (BenchRow *row, GError **error)
{
  return bench_client_open_many (row->state, 0, row->spec->handles, FSCACHE_SOURCE_CACHE, error);
}

/* Without libfscache */

typedef struct
{
  int fd;
  size_t length;
  char packet[4096];
} Wire;

static void
free_wire (void *data)
{
  Wire *wire = data;

  if (wire->fd >= 0)
    close (wire->fd);
  g_free (wire);
}

static bool
set_up_wire (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  BenchService *service = bench_service_get_main (bench, BENCH_SERVICE_NO_WATCH, error);
  g_autofree char *path = bench_get_file (bench, "files", 0);

  if (service == NULL || !bench_make_files (bench, "files", 1, error))
    return false;

  Wire *wire = g_new (Wire, 1);

  wire->fd = bench_wire_connect (service->socket, true, error);
  wire->length = bench_wire_make_open (path, wire->packet, sizeof wire->packet);
  row->state = wire;
  bench_defer (bench, free_wire, wire);
  return wire->fd >= 0;
}

static bool
run_wire (BenchRow *row, GError **error)
{
  Wire *wire = row->state;

  return bench_wire_open (wire->fd, wire->packet, wire->length, error);
}

#define HIT(Name, Title, Parameter)                                                                \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = "floor", .handles = 1, .parameter = Parameter,       \
    .set_up = set_up_hit, .run = run_hit                                                           \
  }
#define BATCH(Name, Title, Baseline, Handles, Parameter)                                           \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = Handles,                        \
    .parameter = Parameter, .set_up = set_up_hit, .run = run_batch                                 \
  }

const BenchRowSpec bench_rows_fscache[] = {
  { .name = "wire-unchecked",
    .title = "fscache, shared, no check, client without libfscache",
    .baseline = "floor",
    .handles = 1,
    .set_up = set_up_wire,
    .run = run_wire },
  HIT ("shared-unchecked", "fscache, shared, no check needed", UNCHECKED),
  HIT ("shared-watched", "fscache, shared, watched", WATCHED),
  HIT ("shared-checked", "fscache, shared, checked", 0),
  HIT ("independent-unchecked", "fscache, independent, no check needed", INDEPENDENT | UNCHECKED),
  HIT ("independent-watched", "fscache, independent, watched", INDEPENDENT | WATCHED),
  HIT ("independent-checked", "fscache, independent, checked", INDEPENDENT),
  HIT ("exclusive", "fscache, exclusive, opened, and given back", EXCLUSIVE),
  BATCH ("batch-1-unchecked", "fscache, batch of 1, no check needed", "floor", 1, UNCHECKED),
  BATCH ("batch-8-unchecked", "fscache, batch of 8, no check needed", "floor-8", 8, UNCHECKED),
  BATCH ("batch-64-unchecked", "fscache, batch of 64, no check needed", "floor-64", 64, UNCHECKED),
  BATCH ("batch-253-unchecked", "fscache, batch of 253, no check needed", "floor-253", 253,
         UNCHECKED),
  BATCH ("batch-1-watched", "fscache, batch of 1, watched", "floor", 1, WATCHED),
  BATCH ("batch-8-watched", "fscache, batch of 8, watched", "floor-8", 8, WATCHED),
  BATCH ("batch-64-watched", "fscache, batch of 64, watched", "floor-64", 64, WATCHED),
  BATCH ("batch-253-watched", "fscache, batch of 253, watched", "floor-253", 253, WATCHED),
  BATCH ("batch-1-checked", "fscache, batch of 1, checked", "floor", 1, 0),
  BATCH ("batch-8-checked", "fscache, batch of 8, checked", "floor-8", 8, 0),
  BATCH ("batch-64-checked", "fscache, batch of 64, checked", "floor-64", 64, 0),
  BATCH ("batch-253-checked", "fscache, batch of 253, checked", "floor-253", 253, 0),
  { 0 },
};
