/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Load for the machine; see load.h. A byte on the part's stdin starts it, the next one stops it;
 * then it says how much it has done.
 */
#include "tests/bench/load.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/bench/process.h"

#define EVENTS 2 /* of one rename: from a name, to a name */

typedef struct
{
  uint64_t events;
  int64_t ns;
} Done;

struct BenchLoad
{
  BenchProcess part;
  Done done; /* in all */
};

/* The part: its arguments are a CPU, or -1, and perhaps a directory. */

static bool
is_told (void)
{
  int n = 0;

  return ioctl (STDIN_FILENO, FIONREAD, &n) < 0 || n > 0;
}

/* The other end of a pipe that is closed cannot be seen by FIONREAD. */
static bool
is_orphan (void)
{
  return getppid () == 1;
}

/* Makes events at the rate, or as fast as it can: what it is behind it makes up for, but not more
 * than it could in a millisecond. */
static bool
storm (const char *path, Done *done)
{
  g_autofree char *other = g_strconcat (path, "-2", NULL);
  const int64_t interval = INT64_C (1000000000) * EVENTS / BENCH_STORM_RATE;
  int64_t start = bench_now (), now = start;
  int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  if (fd < 0 || close (fd) < 0)
    return false;
  for (int64_t next = start; !is_told () && !is_orphan (); now = bench_now ())
    {
      if (now < next)
        continue;
      next = MAX (next + interval, now - 1000000);

      bool is_there = done->events % (2 * EVENTS) == 0;

      if (rename (is_there ? path : other, is_there ? other : path) < 0)
        return false;
      done->events += EVENTS;
    }
  done->ns = now - start;
  return true;
}

static bool
spin (const char *path, Done *done)
{
  int64_t start = bench_now ();

  while (!is_told () && !is_orphan ())
    for (volatile unsigned i = 0; i < 10000; i++)
      ;
  done->ns = bench_now () - start;
  return true;
}

int
bench_part_load (int argc, char **argv)
{
  int cpu = argc > 0 ? atoi (argv[0]) : -1;
  g_autofree char *path = argc > 1 ? g_build_filename (argv[1], "storm", NULL) : NULL;
  bool (*work) (const char *path, Done *done) = path != NULL ? storm : spin;
  char c;

  if (cpu >= 0)
    {
      cpu_set_t cpus;

      CPU_ZERO (&cpus);
      CPU_SET (cpu, &cpus);
      if (sched_setaffinity (0, sizeof cpus, &cpus) < 0)
        return bench_part_fail ("cannot run on CPU %d: %s", cpu, g_strerror (errno));
    }
  bench_part_say_ready ();
  while (read (STDIN_FILENO, &c, 1) > 0)
    {
      Done done = { 0 };

      if (!work (path, &done) || read (STDIN_FILENO, &c, 1) != 1
          || write (STDOUT_FILENO, &done, sizeof done) != sizeof done)
        return 1;
    }
  return 0;
}

/* The other side */

static void
free_load (void *data)
{
  BenchLoad *load = data;

  bench_process_stop (&load->part);
  g_free (load);
}

BenchLoad *
bench_load_new (Bench *bench, const char *directory, int cpu, GError **error)
{
  g_autofree char *number = g_strdup_printf ("%d", cpu);
  BenchProcess part;

  if (!bench_process_start_part (&part, "load", (const char *[]){ number, directory, NULL }, error))
    return NULL;

  BenchLoad *load = g_new0 (BenchLoad, 1);

  load->part = part;
  bench_defer (bench, free_load, load);
  return load;
}

bool
bench_load_start (BenchLoad *load, GError **error)
{
  return bench_process_write (&load->part, "+", 1, error);
}

bool
bench_load_stop (BenchLoad *load, GError **error)
{
  Done done;

  if (!bench_process_write (&load->part, "-", 1, error)
      || !bench_process_read (&load->part, &done, sizeof done, error))
    return false;

  load->done.events += done.events;
  load->done.ns += done.ns;
  return true;
}

double
bench_load_get_rate (const BenchLoad *load)
{
  return load->done.ns > 0 ? load->done.events * 1e9 / load->done.ns : 0;
}
