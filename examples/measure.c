/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a handle costs, from open() and from fscache, and how many opens many clients need. This is
 * for a first look: fscache-bench (in tests/bench) measures with more care.
 *
 *     ./measure [-c CPU] [-n TIMES] open FILE
 *         Gets a handle in different ways, and closes it, pinned to one CPU; prints medians and
 *         ratios. Ends after so many TIMES (default 2000), or after some seconds.
 *     ./measure [-n CLIENTS] clients FILE
 *         That many processes (default 200) each fetch a shared handle at the same time and look at
 *         it; prints what the service did for that.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_setaffinity() */
#endif
#include <fscache.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define TURN 10
#define SECONDS_MAX 4

static int
fail (const char *what)
{
  fprintf (stderr, "measure: %s\n", what);
  return -1;
}

static double
now_us (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* One way to get handles: puts `n` descriptors of the file in fds, or returns -1 after a complaint.
 */
typedef struct
{
  const char *name;
  int (*get) (FscacheClient *client, const char *file, int *fds);
  int n;
} Way;

static int
by_open (FscacheClient *client, const char *file, int *fds)
{
  (void) client;
  fds[0] = open (file, O_RDONLY | O_CLOEXEC);
  return fds[0] < 0 ? fail (strerror (errno)) : 0;
}

static int
by_fscache (FscacheClient *client, const FscacheRequest *request, int *fds)
{
  FscacheReply reply;

  fds[0] = fscache_open_with (client, request, &reply);
  return fds[0] < 0 ? fail (reply.message) : 0;
}

static int
by_independent (FscacheClient *client, const char *file, int *fds)
{
  return by_fscache (client, &(FscacheRequest){ .uri = file }, fds);
}

static int
by_shared (FscacheClient *client, const char *file, int *fds)
{
  return by_fscache (client, &(FscacheRequest){ .uri = file, .sharing = FSCACHE_SHARED }, fds);
}

static int
by_batch (FscacheClient *client, const char *file, int *fds)
{
  FscacheRequest requests[BATCH];
  FscacheReply replies[BATCH];
  int result = 0;

  for (int i = 0; i < BATCH; i++)
    requests[i] = (FscacheRequest){ .uri = file, .sharing = FSCACHE_SHARED };
  fscache_open_many (client, requests, replies, BATCH);
  for (int i = 0; i < BATCH; i++)
    {
      fds[i] = replies[i].fd;
      if (fds[i] < 0)
        result = fail (replies[i].message);
    }
  return result;
}

static const Way ways[] = {
  { "open()", by_open, 1 },
  { "fscache, independent", by_independent, 1 },
  { "fscache, shared", by_shared, 1 },
  { "fscache, shared, 64 at once", by_batch, BATCH },
};
#define N_WAYS (sizeof ways / sizeof *ways)

/* Times of one way, in microseconds for one handle. */
typedef struct
{
  size_t n;
  double *get, *close;
} Samples;

static int
take_sample (const Way *way, FscacheClient *client, const char *file, Samples *samples)
{
  int fds[BATCH];
  double start = now_us (), got;

  if (way->get (client, file, fds) < 0)
    return -1;
  got = now_us ();
  for (int i = 0; i < way->n; i++)
    close (fds[i]);
  samples->get[samples->n] = (got - start) / way->n;
  samples->close[samples->n++] = (now_us () - got) / way->n;
  return 0;
}

/* The ways take turns, so that whatever disturbs the machine meanwhile disturbs all alike. A turn
 * is a few samples long: what one way leaves to be done in the background (a FUSE server learns of
 * the last close() later) is not to fall on the next one. */
static int
take_samples (FscacheClient *client, const char *file, size_t n, Samples samples[N_WAYS])
{
  double end = now_us () + SECONDS_MAX * 1e6;

  while (samples[0].n + TURN <= n && now_us () < end)
    {
      for (size_t way = 0; way < N_WAYS; way++)
        {
          for (int i = 0; i < TURN; i++)
            {
              if (take_sample (&ways[way], client, file, &samples[way]) < 0)
                return -1;
            }
        }
    }
  return 0;
}

static int
compare_doubles (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static double
get_median (double *values, size_t n)
{
  qsort (values, n, sizeof *values, compare_doubles);
  return values[n / 2];
}

static void
print_medians (Samples samples[N_WAYS])
{
  double base = 0;

  printf ("  %-28s %9s %9s %18s\n", "us for one handle", "get", "close", "both, of open()'s");
  for (size_t way = 0; way < N_WAYS; way++)
    {
      double get = get_median (samples[way].get, samples[way].n);
      double close = get_median (samples[way].close, samples[way].n);

      if (way == 0)
        base = get + close;
      printf ("  %-28s %9.2f %9.2f %17.2fx\n", ways[way].name, get, close, (get + close) / base);
    }
  printf ("  (medians of %zu, taking turns, on CPU %d)\n", samples[0].n, sched_getcpu ());
}

static int
measure_open (FscacheClient *client, const char *file, size_t n)
{
  double *values = calloc (2 * N_WAYS * n, sizeof *values);
  Samples samples[N_WAYS];
  int result;

  if (values == NULL || n < TURN)
    {
      free (values);
      return fail ("no room for the samples, or not enough of them");
    }
  for (size_t way = 0; way < N_WAYS; way++)
    samples[way] = (Samples){ 0, values + 2 * way * n, values + (2 * way + 1) * n };
  result = take_samples (client, file, n, samples);
  if (result == 0)
    print_medians (samples);
  free (values);
  return result;
}

/* The counters that tell the story of many clients. */
typedef struct
{
  uint64_t hits, misses, coalesced, opens;
} Counters;

static void
collect (const char *name, uint64_t value, void *data)
{
  Counters *counters = data;

  if (strcmp (name, "hits") == 0)
    counters->hits = value;
  else if (strcmp (name, "misses") == 0)
    counters->misses = value;
  else if (strcmp (name, "coalesced") == 0)
    counters->coalesced = value;
  else if (strcmp (name, "opens") == 0)
    counters->opens = value;
}

/* One client process: waits for the start, gets a handle, and compares what it is. */
static int
be_client (const char *file, int start, const struct stat *expected)
{
  FscacheRequest request
      = { .uri = file, .sharing = FSCACHE_SHARED, .options = FSCACHE_NO_FALLBACK };
  FscacheClient *client = NULL;
  FscacheReply reply;
  struct stat st;
  char byte;

  fscache_connect (NULL, 0, &client);
  if (client == NULL || read (start, &byte, 1) != 0)
    return 1;
  if (fscache_open_with (client, &request, &reply) < 0)
    return fail (reply.message) != 0;
  return fstat (reply.fd, &st) < 0 || st.st_ino != expected->st_ino
         || st.st_size != expected->st_size
         || (st.st_size > 0 && pread (reply.fd, &byte, 1, 0) != 1);
}

/* Starts the clients, lets them go at once, and counts those that failed. */
static size_t
run_clients (const char *file, size_t n, const struct stat *expected)
{
  size_t n_failed = 0;
  int barrier[2], status;

  if (pipe (barrier) < 0)
    return n;
  for (size_t i = 0; i < n; i++)
    {
      pid_t pid = fork ();

      if (pid == 0)
        {
          close (barrier[1]);
          _exit (be_client (file, barrier[0], expected));
        }
      n_failed += pid < 0;
    }
  close (barrier[0]);
  close (barrier[1]); /* all read() the end of the pipe now */
  while (wait (&status) > 0)
    n_failed += !WIFEXITED (status) || WEXITSTATUS (status) != 0;
  return n_failed;
}

static int
measure_clients (FscacheClient *client, const char *file, size_t n)
{
  Counters before = { 0 }, after = { 0 };
  FscacheReply reply = { 0 };
  struct stat expected;
  size_t n_failed;

  if (stat (file, &expected) < 0)
    return fail (strerror (errno));
  if (fscache_drop (client, file, &reply) < 0
      || fscache_status (client, collect, &before, &reply) < 0)
    return fail (reply.message);
  n_failed = run_clients (file, n, &expected);
  if (fscache_status (client, collect, &after, &reply) < 0)
    return fail (reply.message);
  printf (
      "  %zu processes asked at once, %zu have the file open; the service opened it %llu time(s)\n",
      n, n - n_failed, (unsigned long long) (after.opens - before.opens));
  printf ("  (%llu hits, %llu misses, %llu waited for what another had begun)\n",
          (unsigned long long) (after.hits - before.hits),
          (unsigned long long) (after.misses - before.misses),
          (unsigned long long) (after.coalesced - before.coalesced));
  return n_failed == 0 ? 0 : -1;
}

static void
pin_to (int cpu)
{
  cpu_set_t set;

  CPU_ZERO (&set);
  CPU_SET (cpu, &set);
  if (sched_setaffinity (0, sizeof set, &set) < 0)
    perror ("measure: sched_setaffinity");
}

int
main (int argc, char **argv)
{
  FscacheClient *client = NULL;
  int cpu = sched_getcpu (), result, option;
  long n = 0;

  while ((option = getopt (argc, argv, "c:n:")) != -1)
    {
      if (option == 'c')
        cpu = atoi (optarg);
      else if (option == 'n')
        n = atol (optarg);
      else
        return 2;
    }
  if (argc - optind != 2 || n < 0)
    {
      fprintf (stderr, "Usage: measure [-c CPU] [-n NUMBER] open|clients FILE\n");
      return 2;
    }
  fscache_connect (NULL, FSCACHE_NO_FALLBACK, &client);
  if (client == NULL)
    return 1;

  if (strcmp (argv[optind], "clients") == 0)
    result = measure_clients (client, argv[optind + 1], n > 0 ? n : 200);
  else
    {
      pin_to (cpu >= 0 ? cpu : 0);
      result = measure_open (client, argv[optind + 1], n > 0 ? n : 2000);
    }
  fscache_disconnect (client);
  return result == 0 ? 0 : 1;
}
