/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What it costs that directories are watched: memory, here and in the kernel; time of whoever makes
 * and removes files there, and of the service that is told of it; and hits while very much happens
 * in a directory, of which nothing concerns the file. All of it is on tmpfs where there is one:
 * what a disk costs is more, and does not depend on who watches.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/bench/load.h"
#include "tests/bench/machine.h"
#include "tests/bench/service.h"

#define N_DIRECTORIES 10000
#define N_BEFORE 253 /* what a service needs once is there when so many are watched */

static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };

/* Events */

enum
{
  UNWATCHED,
  WATCHED,
};

typedef struct
{
  BenchService *service; /* NULL: nobody watches */
  BenchClient *client;
  char **paths; /* of a file that is not there, in each directory */
  unsigned n;
  uint64_t random;
  unsigned events;  /* in this slice */
  GArray *cpu_time; /* of the service, an event; for each slice, in ns */
} Events;

static void
free_events (void *data)
{
  Events *events = data;

  g_strfreev (events->paths);
  g_array_unref (events->cpu_time);
  g_free (events);
}

static bool
make_directories (Bench *bench, const char *set, unsigned n, GError **error)
{
  for (unsigned i = 0; i < n; i++)
    {
      g_autofree char *directory = g_strdup_printf ("%s/%s/%05u", bench->memory, set, i);
      g_autofree char *file = g_build_filename (directory, "file", NULL);
      int fd = g_mkdir_with_parents (directory, 0700) == 0
                   ? open (file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)
                   : -1;

      if (fd < 0 || close (fd) < 0)
        {
          g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s: %s", file, g_strerror (errno));
          return false;
        }
    }
  return true;
}

/* Of what cannot be given back, for watches cannot while they are there. */
static double
get_kernel_memory (void)
{
  g_autofree char *text = NULL;
  const char *line;

  if (!g_file_get_contents ("/proc/meminfo", &text, NULL, NULL)
      || (line = strstr (text, "\nSUnreclaim:")) == NULL)
    return 0;
  return g_ascii_strtod (line + strlen ("\nSUnreclaim:"), NULL) * 1024;
}

/* A directory's share is what an entry costs more in a directory of its own than beside others. */
static void
add_memory (Bench *bench, double own, double kernel, unsigned n)
{
  double beside = bench_get_fact (bench, BENCH_FACT_WATCHED_ENTRY);

  bench_add_fact (bench, "memory-watched-both",
                  "resident memory of fscached, an entry and its directory, both watched", "bytes",
                  own / n);
  if (isfinite (beside))
    bench_add_fact (bench, "memory-watched-directory",
                    "resident memory of fscached, a watched directory of 10,000", "bytes",
                    own / n - beside);
  bench_add_fact (bench, "memory-watched-kernel",
                  "memory of the kernel (SUnreclaim), a watched directory and a file in it",
                  "bytes", kernel / n);
}

static BenchClient *
make_client (Events *events, Bench *bench, const char *set, unsigned n, GError **error)
{
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);

  for (unsigned i = 0; i < n; i++)
    g_ptr_array_add (paths, g_strdup_printf ("%s/%s/%05u/file", bench->memory, set, i));
  return bench_client_new_for_paths (bench, events->service, (const char *const *) paths->pdata, n,
                                     &shared, error);
}

static bool
watch_directories (Events *events, Bench *bench, const char *set, GError **error)
{
  unsigned n_before = MIN (N_BEFORE, events->n);

  events->service = bench_service_get (bench, set, 0, events->n + 64, 16, error);
  if (events->service == NULL)
    return false;

  BenchClient *few = make_client (events, bench, set, n_before, error);

  events->client = make_client (events, bench, set, events->n, error);
  if (few == NULL || events->client == NULL || !bench_client_watch (few, error))
    return false;

  double before = bench_service_get_resident (events->service), kernel = get_kernel_memory ();

  if (!bench_client_watch (events->client, error))
    return false;
  if (events->n == N_DIRECTORIES && before > 0)
    add_memory (bench, bench_service_get_resident (events->service) - before,
                get_kernel_memory () - kernel, events->n - n_before);
  return true;
}

static bool
set_up_events (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  const char *set = row->spec->name;
  Events *events = g_new0 (Events, 1);

  events->n = bench_scale (bench, N_DIRECTORIES);
  events->random = BENCH_RANDOM_SEED;
  events->cpu_time = g_array_new (FALSE, FALSE, sizeof (double));
  events->paths = g_new0 (char *, events->n + 1);
  for (unsigned i = 0; i < events->n; i++)
    events->paths[i] = g_strdup_printf ("%s/%s/%05u/other", bench->memory, set, i);
  row->state = events;
  bench_defer (bench, free_events, events);
  return make_directories (bench, set, events->n, error)
         && (row->spec->parameter == UNWATCHED || watch_directories (events, bench, set, error));
}

static bool
run_events (BenchRow *row, GError **error)
{
  Events *events = row->state;
  const char *path = events->paths[bench_random (&events->random) % events->n];
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  events->events += row->spec->handles;
  if (fd >= 0 && close (fd) == 0 && unlink (path) == 0)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s: %s", path, g_strerror (errno));
  return false;
}

/* A hit makes the service read all events that there are. */
static bool
run_events_slice (BenchRow *row, int64_t warm_up_ns, int64_t slice_ns, GArray *samples,
                  GError **error)
{
  Events *events = row->state;

  if (!bench_client_open (events->client, 0, FSCACHE_SOURCE_CACHE, error))
    return false;

  double before = bench_service_get_cpu_time (events->service);

  events->events = 0;
  if (!bench_row_run_slice (row, warm_up_ns, slice_ns, samples, error)
      || !bench_client_open (events->client, 0, FSCACHE_SOURCE_CACHE, error))
    return false;

  double sample = (bench_service_get_cpu_time (events->service) - before) / events->events;

  g_array_append_val (events->cpu_time, sample);
  return true;
}

static void
finish_events (BenchRow *row)
{
  Events *events = row->state;

  bench_sort (events->cpu_time);
  bench_add_fact (row->bench, "event-cpu-time",
                  "CPU time of fscached, an event in a watched directory", "ns",
                  bench_quantile (events->cpu_time, 0.5));
}

/* Storms */

enum
{
  CALM,
  ELSEWHERE,
  HERE,
};

typedef struct
{
  BenchClient *client;
  BenchLoad *load; /* NULL: none */
  uint64_t hits, watched;
} Storm;

static bool
set_up_storm (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  unsigned where = row->spec->parameter;
  BenchService *service = bench_service_get_main (bench, 0, error);
  Storm *storm = g_new0 (Storm, 1);

  row->state = storm;
  bench_defer (bench, g_free, storm);
  if (service == NULL)
    return false;
  if (!make_directories (bench, "storm", 2, error))
    return false;

  g_autofree char *path = g_build_filename (bench->memory, "storm", "00000", "file", NULL);
  g_autofree char *directory
      = g_build_filename (bench->memory, "storm", where == HERE ? "00000" : "00001", NULL);

  storm->client = bench_client_new_for_paths (bench, service, (const char *const[]){ path }, 1,
                                              &shared, error);
  if (storm->client == NULL || !bench_client_watch (storm->client, error))
    return false;
  if (where == CALM)
    return true;

  storm->load = bench_load_new (bench, directory, bench_machine_find_other_cpu (), error);
  return storm->load != NULL;
}

static bool
run_storm (BenchRow *row, GError **error)
{
  Storm *storm = row->state;

  /* Where events are lost, what was watched is checked. */
  storm->client->coherence = FSCACHE_COHERENCE_UNCACHED;
  if (!bench_client_open (storm->client, 0, FSCACHE_SOURCE_CACHE, error))
    return false;

  storm->hits++;
  storm->watched += storm->client->replies[0].coherence == FSCACHE_COHERENCE_WATCHED;
  return true;
}

static bool
run_storm_slice (BenchRow *row, int64_t warm_up_ns, int64_t slice_ns, GArray *samples,
                 GError **error)
{
  Storm *storm = row->state;

  return bench_load_start (storm->load, error)
         && bench_row_run_slice (row, warm_up_ns, slice_ns, samples, error)
         && bench_load_stop (storm->load, error);
}

static void
finish_storm (BenchRow *row)
{
  const Storm *storm = row->state;

  bench_add_fact (row->bench, "storm-events",
                  bench_machine_find_other_cpu () >= 0
                      ? "events in a second of the storm, from another CPU"
                      : "events in a second of the storm, from the same CPU",
                  "", bench_load_get_rate (storm->load));
  bench_add_fact (row->bench, "storm-watched", "of 100 hits in it, those that were watched", "",
                  100.0 * storm->watched / storm->hits);
}

const BenchRowSpec bench_rows_watch[] = {
  { .name = "event-unwatched",
    .title = "an event: half of making and removing a file, in one of 10,000 directories",
    .handles = 2,
    .parameter = UNWATCHED,
    .set_up = set_up_events,
    .run = run_events },
  { .name = "event-watched",
    .title = "the same, in directories that fscached watches",
    .baseline = "event-unwatched",
    .handles = 2,
    .parameter = WATCHED,
    .set_up = set_up_events,
    .run = run_events,
    .run_slice = run_events_slice,
    .finish = finish_events },
  { .name = "hit-calm",
    .title = "fscache, shared, watched, while nothing happens",
    .baseline = "floor",
    .handles = 1,
    .parameter = CALM,
    .set_up = set_up_storm,
    .run = run_storm },
  { .name = "hit-storm-elsewhere",
    .title = "the same during a storm of events that nobody watches",
    .baseline = "hit-calm",
    .handles = 1,
    .parameter = ELSEWHERE,
    .set_up = set_up_storm,
    .run = run_storm,
    .run_slice = run_storm_slice },
  { .name = "hit-storm",
    .title = "the same, of other files in that file's directory",
    .baseline = "hit-calm",
    .handles = 1,
    .parameter = HERE,
    .set_up = set_up_storm,
    .run = run_storm,
    .run_slice = run_storm_slice,
    .finish = finish_storm },
  { 0 },
};
