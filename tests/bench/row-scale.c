/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether a hit costs more with many clients or many handles, and what an entry costs in memory.
 * Each row has a service of its own, so that all of them can be measured in the same rounds.
 */
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/bench/process.h"
#include "tests/bench/service.h"
#include "tests/bench/wire.h"

static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };
static const FscacheRequest shared_unchecked
    = { .sharing = FSCACHE_SHARED, .max_age_ms = BENCH_ANY_AGE };

/* Beside the number, in a row's parameter. */
#define WATCHED (1u << 31)

static unsigned
get_number (const BenchRow *row)
{
  return bench_scale (row->bench, row->spec->parameter & ~WATCHED);
}

static bool
is_watched (const BenchRow *row)
{
  return row->spec->parameter & WATCHED;
}

static const FscacheRequest *
get_request (const BenchRow *row)
{
  return is_watched (row) ? &shared : &shared_unchecked;
}

static BenchServiceFlags
get_flags (const BenchRow *row)
{
  return is_watched (row) ? 0 : BENCH_SERVICE_NO_WATCH;
}

/* Idle clients: a part that connects them and waits. Its arguments are the socket and their
 * number. */
int
bench_part_idle (int argc, char **argv)
{
  unsigned n = argc == 2 ? atoi (argv[1]) : 0;
  char c;

  for (unsigned i = 0; i < n; i++)
    {
      g_autoptr (GError) error = NULL;

      /* The end of this process closes it. */
      if (bench_wire_connect (argv[0], false, &error) < 0)
        return bench_part_fail ("idle client %u: %s", i, error->message);
    }
  bench_part_say_ready ();
  while (read (STDIN_FILENO, &c, 1) > 0)
    ;
  return 0;
}

static void
free_part (void *data)
{
  bench_process_stop (data);
  g_free (data);
}

/* As many processes as the limit of descriptors makes necessary. */
static bool
connect_idle (Bench *bench, BenchService *service, unsigned n, GError **error)
{
  unsigned most = bench_get_descriptor_limit () - 16;

  for (; n > 0; n -= MIN (n, most))
    {
      g_autofree char *count = g_strdup_printf ("%u", MIN (n, most));
      BenchProcess part;

      if (!bench_process_start_part (&part, "idle",
                                     (const char *[]){ service->socket, count, NULL }, error))
        return false;

      BenchProcess *kept = g_new (BenchProcess, 1);

      *kept = part;
      bench_defer (bench, free_part, kept);
    }
  return true;
}

static bool
set_up_idle (BenchRow *row, GError **error)
{
  unsigned n = get_number (row);
  BenchService *service
      = bench_service_get (row->bench, row->spec->name, get_flags (row), 64, n + 16, error);

  if (service == NULL || !connect_idle (row->bench, service, n, error))
    return false;
  row->state = bench_client_new (row->bench, service, "files", 1, get_request (row), error);
  return row->state != NULL && (!is_watched (row) || bench_client_watch (row->state, error));
}

static bool
run_idle (BenchRow *row, GError **error)
{
  return bench_client_open (row->state, 0, FSCACHE_SOURCE_CACHE, error);
}

/* Many handles */

typedef struct
{
  BenchClient *client;
  uint64_t random;
} Entries;

/* How many entries there are already when the memory that an entry costs is taken: what a service
 * needs once, a full batch's buffers included, is there by then. */
#define ENTRIES_BEFORE 253

static void
add_memory (BenchRow *row, double before, double after, unsigned n_entries)
{
  if (n_entries < 10000 || before <= 0 || after <= 0)
    return;

  double bytes = (after - before) / n_entries;

  if (is_watched (row))
    bench_add_fact (row->bench, BENCH_FACT_WATCHED_ENTRY,
                    "resident memory of fscached, a watched entry of 15,000 in a directory",
                    "bytes", bytes);
  else
    bench_add_fact (row->bench, "memory-entry-15000",
                    "resident memory of fscached, an entry of 15,000", "bytes", bytes);
}

static BenchClient *
make_client (BenchRow *row, BenchService *service, unsigned n, GError **error)
{
  BenchClient *client
      = bench_client_new (row->bench, service, "files", n, get_request (row), error);

  return client != NULL && (!is_watched (row) || bench_client_watch (client, error)) ? client
                                                                                     : NULL;
}

static bool
set_up_entries (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  unsigned n = get_number (row);
  unsigned n_before = MIN (ENTRIES_BEFORE, n);
  BenchService *service
      = bench_service_get (bench, row->spec->name, get_flags (row), n + 64, 16, error);

  if (service == NULL || make_client (row, service, n_before, error) == NULL)
    return false;

  double before = bench_service_get_resident (service);
  BenchClient *client = make_client (row, service, n, error);

  if (client == NULL)
    return false;
  add_memory (row, before, bench_service_get_resident (service), n - n_before);

  Entries *entries = g_new (Entries, 1);

  *entries = (Entries){ client, BENCH_RANDOM_SEED };
  row->state = entries;
  bench_defer (bench, g_free, entries);
  return true;
}

static bool
run_entries (BenchRow *row, GError **error)
{
  Entries *entries = row->state;
  unsigned index = bench_random (&entries->random) % entries->client->n;

  return bench_client_open (entries->client, index, FSCACHE_SOURCE_CACHE, error);
}

#define IDLE(Name, Title, Baseline, Clients)                                                       \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = 1, .parameter = Clients,        \
    .set_up = set_up_idle, .run = run_idle                                                         \
  }
#define ENTRIES(Name, Title, Baseline, Handles)                                                    \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = 1, .parameter = Handles,        \
    .set_up = set_up_entries, .run = run_entries                                                   \
  }

const BenchRowSpec bench_rows_scale[] = {
  IDLE ("idle-1", "fscache, shared, no check, 1 idle client", "floor", 1),
  IDLE ("idle-100", "fscache, shared, no check, 100 idle clients", "idle-1", 100),
  IDLE ("idle-10000", "fscache, shared, no check, 10,000 idle clients", "idle-1", 10000),
  IDLE ("idle-1-watched", "fscache, shared, watched, 1 idle client", "floor", 1 | WATCHED),
  IDLE ("idle-100-watched", "fscache, shared, watched, 100 idle clients", "idle-1-watched",
        100 | WATCHED),
  IDLE ("idle-10000-watched", "fscache, shared, watched, 10,000 idle clients", "idle-1-watched",
        10000 | WATCHED),
  ENTRIES ("entries-100", "fscache, shared, no check, one of 100 handles", "floor-of-100", 100),
  ENTRIES ("entries-1000", "fscache, shared, no check, one of 1,000 handles", "entries-100", 1000),
  ENTRIES ("entries-15000", "fscache, shared, no check, one of 15,000 handles", "entries-100",
           15000),
  ENTRIES ("entries-100-watched", "fscache, shared, watched, one of 100 handles", "floor-of-100",
           100 | WATCHED),
  ENTRIES ("entries-1000-watched", "fscache, shared, watched, one of 1,000 handles",
           "entries-100-watched", 1000 | WATCHED),
  ENTRIES ("entries-15000-watched", "fscache, shared, watched, one of 15,000 handles",
           "entries-100-watched", 15000 | WATCHED),
  { 0 },
};
