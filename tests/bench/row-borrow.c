/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Borrowing: what a hit costs, with one thread and with eight that all borrow the same, how many
 * system calls it makes, and for how long after rename() has returned the old handle is borrowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/bench/load.h"
#include "tests/bench/machine.h"
#include "tests/bench/process.h"
#include "tests/bench/service.h"

#define BORROWS 1000 /* in one sample: the clock costs as much as one of them */
#define N_THREADS 8
#define N_COUNTED "1000000"
#define BOUNDS 4       /* measured in a slice at least */
#define PAUSE_US 3000  /* before each, so that nothing of the last one goes on */
#define KEEP_SECONDS 5 /* at most until a handle is kept */

static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };

static bool
fail (GError **error, const char *what)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s", what);
  return false;
}

/* Borrows and returns. Whether it was kept already is in *is_kept. */
static bool
borrow (FscacheClient *client, const char *path, bool *is_kept, GError **error)
{
  FscacheBorrow borrow;
  FscacheReply reply;

  if (fscache_borrow (client, path, &borrow, &reply) < 0)
    return fail (error, reply.message);

  *is_kept = borrow.source == FSCACHE_SOURCE_KEPT;
  fscache_return (client, &borrow);
  return true;
}

/* Until it is kept, which it is when it is watched. */
static bool
borrow_until_kept (FscacheClient *client, const char *path, GError **error)
{
  int64_t deadline = bench_now () + KEEP_SECONDS * INT64_C (1000000000);

  for (bool is_kept = false; bench_now () < deadline && !bench_is_interrupted ();)
    {
      if (!borrow (client, path, &is_kept, error))
        return false;
      if (is_kept)
        return true;
    }
  return fail (error, "libfscache does not keep what is borrowed");
}

/* A hit */

typedef struct
{
  BenchClient *bench_client;
  FscacheClient *client; /* the same */
  char *path;
} Borrower;

static void
free_borrower (void *data)
{
  Borrower *self = data;

  g_free (self->path);
  g_free (self);
}

static bool
set_up_borrower (BenchRow *row, BenchServiceFlags flags, const char *set, GError **error)
{
  Bench *bench = row->bench;
  BenchService *service = bench_service_get_main (bench, flags, error);
  BenchClient *client
      = service != NULL ? bench_client_new (bench, service, set, 1, &shared, error) : NULL;

  if (client == NULL || !bench_client_watch (client, error))
    return false;

  Borrower *self = g_new (Borrower, 1);

  *self = (Borrower){ client, client->client, bench_get_file (bench, set, 0) };
  row->state = self;
  bench_defer (bench, free_borrower, self);
  return borrow_until_kept (self->client, self->path, error);
}

/* Who may not trace its own child does not know how many. */
static bool
count_calls (BenchRow *row, GError **error)
{
  Borrower *self = row->state;
  BenchService *service = bench_service_get_main (row->bench, 0, error);
  const char *arguments[] = { service->socket, self->path, N_COUNTED, NULL };
  g_autoptr (GError) reason = NULL;
  BenchProcess part;
  uint64_t n;

  if (!bench_process_start_part (&part, "borrow-count", arguments, &reason))
    {
      g_printerr ("fscache-bench: system calls are not counted: %s\n", reason->message);
      return true;
    }

  bool is_read = bench_process_read (&part, &n, sizeof n, error);

  bench_process_stop (&part);
  if (is_read)
    bench_add_fact (row->bench, "borrow-system-calls", "system calls in 1,000,000 borrows", "", n);
  return is_read;
}

static bool
set_up_borrow (BenchRow *row, GError **error)
{
  return set_up_borrower (row, 0, "files", error)
         && (row->spec->parameter > 1 || count_calls (row, error));
}

static bool
borrow_many (const Borrower *self, unsigned *misses, GError **error)
{
  for (unsigned i = 0; i < BORROWS; i++)
    {
      bool is_kept;

      if (!borrow (self->client, self->path, &is_kept, error))
        return false;
      *misses += !is_kept;
    }
  return true;
}

static bool
judge_misses (const Borrower *self, unsigned misses, GError **error)
{
  if (misses == 0)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%u borrows were not of what was kept",
               misses);
  return bench_client_excuse (self->bench_client, error)
         && borrow_until_kept (self->client, self->path, error);
}

static bool
run_borrow (BenchRow *row, GError **error)
{
  unsigned misses = 0;

  return borrow_many (row->state, &misses, error) && judge_misses (row->state, misses, error);
}

/* Threads, on all CPUs. What is measured is the CPU time of a borrow: with fewer CPUs than threads
 * all else would be time of others. */

typedef struct
{
  pthread_t thread;
  const Borrower *borrower;
  int64_t begin, end;
  unsigned misses;
  GArray *samples;
  GError *error;
} Thread;

static int64_t
get_thread_time (void)
{
  struct timespec now;

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * INT64_C (1000000000) + now.tv_nsec;
}

static void *
run_thread (void *data)
{
  Thread *self = data;

  do
    {
      int64_t start = get_thread_time ();

      if (!borrow_many (self->borrower, &self->misses, &self->error))
        break;

      double sample = (double) (get_thread_time () - start) / BORROWS;

      if (bench_now () >= self->begin || self->samples->len == 0)
        g_array_append_val (self->samples, sample);
    }
  while (bench_now () < self->end);
  return NULL;
}

static bool
run_threads (BenchRow *row, int64_t warm_up_ns, int64_t slice_ns, GArray *samples, GError **error)
{
  Thread threads[N_THREADS] = { 0 };
  int64_t now = bench_now ();
  unsigned misses = 0;

  bench_machine_unpin ();
  for (unsigned i = 0; i < N_THREADS; i++)
    {
      threads[i] = (Thread){ .borrower = row->state,
                             .begin = now + warm_up_ns,
                             .end = now + warm_up_ns + slice_ns,
                             .samples = g_array_new (FALSE, FALSE, sizeof (double)) };
      if (pthread_create (&threads[i].thread, NULL, run_thread, &threads[i]) != 0)
        g_error ("cannot start a thread");
    }
  for (unsigned i = 0; i < N_THREADS; i++)
    {
      pthread_join (threads[i].thread, NULL);
      g_array_append_vals (samples, threads[i].samples->data, threads[i].samples->len);
      g_array_unref (threads[i].samples);
      misses += threads[i].misses;
      if (threads[i].error != NULL)
        {
          g_clear_error (error);
          g_propagate_error (error, threads[i].error);
        }
    }
  bench_machine_pin_again ();
  return *error == NULL && judge_misses (row->state, misses, error);
}

enum
{
  BUSY = 1 << 0,  /* all CPUs are */
  ALONE = 1 << 1, /* the new file is made where nobody watches; else beside the old one */
  FLOOR = 1 << 2, /* nothing is borrowed: see bound-floor.c */
};

/* The bound. This thread replaces the file, and borrows as fast as it can until the old handle is
 * not borrowed any more; the sample is when that was for the last time. The service may run on any
 * CPU. Most of it, and all of its tail, is how long the kernel takes to let the service run: what
 * that is on this machine now, the floor shows. */

typedef struct
{
  Borrower *borrower; /* NULL: the floor */
  char *path, *next;  /* the file, and what will replace it */
  GPtrArray *loads;   /* BenchLoad: one for each CPU, or none */
  BenchProcess floor;
  uint32_t *replaced, before; /* how often it was, as the floor says */
} Bound;

static void
free_bound (void *data)
{
  Bound *bound = data;

  bench_process_stop (&bound->floor);
  if (bound->replaced != NULL)
    munmap (bound->replaced, sizeof *bound->replaced);
  g_free (bound->path);
  g_free (bound->next);
  g_ptr_array_unref (bound->loads);
  g_free (bound);
}

static bool
start_floor (Bound *bound, Bench *bench, const char *set, GError **error)
{
  g_autofree char *word = g_strdup_printf ("%s/%s-word", bench->directory, set);
  const char *arguments[] = { bound->path, word, NULL };
  int fd = open (word, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  void *map = MAP_FAILED;

  if (fd >= 0 && ftruncate (fd, sizeof *bound->replaced) == 0)
    map = mmap (NULL, sizeof *bound->replaced, PROT_READ, MAP_SHARED, fd, 0);
  if (fd >= 0)
    close (fd);
  if (map == MAP_FAILED)
    return fail (error, g_strerror (errno));

  bound->replaced = map;
  return bench_process_start_part (&bound->floor, "bound-floor", arguments, error);
}

static bool
start_loads (Bound *bound, Bench *bench, unsigned n, GError **error)
{
  for (unsigned i = 0; i < n; i++)
    {
      BenchLoad *load = bench_load_new (bench, NULL, -1, error);

      if (load == NULL)
        return false;
      g_ptr_array_add (bound->loads, load);
    }
  return true;
}

static bool
set_up_bound (BenchRow *row, GError **error)
{
  const char *set = row->spec->name;
  Bench *bench = row->bench;
  bool is_floor = row->spec->parameter & FLOOR;

  if (!is_floor && !set_up_borrower (row, BENCH_SERVICE_ANY_CPU, set, error))
    return false;

  Bound *bound = g_new0 (Bound, 1);

  bound->borrower = is_floor ? NULL : row->state;
  bound->path = bench_get_file (bench, set, 0);
  bound->next = row->spec->parameter & ALONE ? bench_get_file (bench, "borrow-bound-next", 0)
                                             : bench_get_file (bench, set, 1);
  bound->loads = g_ptr_array_new ();
  bound->floor = BENCH_PROCESS_NONE;
  row->state = bound;
  bench_defer (bench, free_bound, bound);
  if (!bench_make_files (bench, "borrow-bound-next", 1, error)
      || !bench_make_files (bench, set, 1, error))
    return false;

  bench_machine_unpin ();

  bool is_ready
      = (!is_floor || start_floor (bound, bench, set, error))
        && start_loads (bound, bench, (row->spec->parameter & BUSY) * bench_machine_count_cpus (),
                        error);

  bench_machine_pin_again ();
  return is_ready;
}

static bool
replace (const Bound *bound, int64_t *when)
{
  int fd = open (bound->next, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  if (fd < 0 || close (fd) < 0 || rename (bound->next, bound->path) < 0)
    return false;

  *when = bench_now ();
  return true;
}

static bool
begin_bound (Bound *bound, GError **error)
{
  if (bound->borrower != NULL)
    return borrow_until_kept (bound->borrower->client, bound->path, error);

  bound->before = __atomic_load_n (bound->replaced, __ATOMIC_ACQUIRE);
  return true;
}

static bool
look (const Bound *bound, bool *is_old, GError **error)
{
  if (bound->borrower != NULL)
    return borrow (bound->borrower->client, bound->path, is_old, error);

  *is_old = __atomic_load_n (bound->replaced, __ATOMIC_ACQUIRE) == bound->before;
  return true;
}

static bool
measure_bound (Bound *bound, double *sample, GError **error)
{
  int64_t start, last = 0;

  if (!begin_bound (bound, error))
    return false;
  g_usleep (PAUSE_US);
  if (!replace (bound, &start))
    return fail (error, g_strerror (errno));

  for (bool is_old = true; !bench_is_interrupted ();)
    {
      int64_t now = bench_now ();

      if (!look (bound, &is_old, error))
        return false;
      if (!is_old)
        break;
      last = now - start;
      if (last > KEEP_SECONDS * INT64_C (1000000000))
        return fail (error, "a file that is not there any more is still borrowed");
    }
  *sample = last;
  return true;
}

static bool
run_bound_slice (BenchRow *row, int64_t warm_up_ns, int64_t slice_ns, GArray *samples,
                 GError **error)
{
  Bound *bound = row->state;
  bool is_right = true;

  bench_machine_unpin ();
  for (unsigned i = 0; i < bound->loads->len && is_right; i++)
    is_right = bench_load_start (bound->loads->pdata[i], error);
  for (int64_t end = bench_now () + slice_ns; is_right && !bench_is_interrupted ();)
    {
      double sample;

      is_right = measure_bound (bound, &sample, error);
      if (is_right)
        g_array_append_val (samples, sample);
      if (bench_now () >= end && samples->len >= BOUNDS)
        break;
    }
  for (unsigned i = 0; i < bound->loads->len && is_right; i++)
    is_right = bench_load_stop (bound->loads->pdata[i], error);
  bench_machine_pin_again ();
  return is_right;
}

/* Rare, and so a fact of its own. */
static void
finish_bound (BenchRow *row)
{
  double most = bench_stats_get_quantile (&row->stats, 1) / 1000;

  if (row->spec->parameter == 0)
    bench_add_fact (row->bench, "borrow-bound-max",
                    "longest that a replaced file was still borrowed", "µs", most);
  else if (row->spec->parameter == ALONE)
    bench_add_fact (row->bench, "borrow-bound-alone-max",
                    "the same, where there was no event before", "µs", most);
  else
    bench_add_fact (row->bench, "borrow-bound-busy-max", "the same, while all CPUs are busy", "µs",
                    most);
}

const BenchRowSpec bench_rows_borrow[] = {
  { .name = "borrow",
    .title = "fscache_borrow() and fscache_return()",
    .baseline = "open",
    .handles = BORROWS,
    .parameter = 1,
    .set_up = set_up_borrow,
    .run = run_borrow },
  { .name = "borrow-8-threads",
    .title = "the same handle by 8 threads on all CPUs, CPU time",
    .baseline = "open",
    .handles = BORROWS,
    .parameter = N_THREADS,
    .set_up = set_up_borrow,
    .run_slice = run_threads },
  { .name = "borrow-bound",
    .title = "how long after rename() the old handle is borrowed, on all CPUs",
    .handles = 1,
    .parameter = 0,
    .set_up = set_up_bound,
    .run_slice = run_bound_slice,
    .finish = finish_bound },
  { .name = "borrow-bound-alone",
    .title = "the same, where there was no event before",
    .handles = 1,
    .parameter = ALONE,
    .set_up = set_up_bound,
    .run_slice = run_bound_slice,
    .finish = finish_bound },
  { .name = "borrow-bound-floor",
    .title = "how long a bare program takes to learn of rename() and to say so",
    .handles = 1,
    .parameter = FLOOR,
    .set_up = set_up_bound,
    .run_slice = run_bound_slice },
  { .name = "borrow-bound-busy",
    .title = "the same, while all CPUs are busy",
    .handles = 1,
    .parameter = BUSY,
    .set_up = set_up_bound,
    .run_slice = run_bound_slice,
    .finish = finish_bound },
  { .name = "borrow-bound-floor-busy",
    .title = "the bare program, while all CPUs are busy",
    .handles = 1,
    .parameter = BUSY | FLOOR,
    .set_up = set_up_bound,
    .run_slice = run_bound_slice },
  { 0 },
};
