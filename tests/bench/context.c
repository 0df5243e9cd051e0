/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the rows share: the temporary directory and its files, things to undo, limits; see bench.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/mount.h"
#include "tests/bench/process.h"

G_DEFINE_QUARK (fscache - bench - error - quark, bench_error)

typedef struct
{
  void (*func) (void *data);
  void *data;
} Deferred;

int64_t
bench_now (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C (1000000000) + now.tv_nsec;
}

unsigned
bench_scale (const Bench *bench, unsigned n)
{
  return bench->is_quick ? MAX (n / 50, 1) : n;
}

unsigned
bench_get_descriptor_limit (void)
{
  struct rlimit limit = { 0 };

  getrlimit (RLIMIT_NOFILE, &limit);
  return MIN (limit.rlim_max, G_MAXINT);
}

void
bench_defer (Bench *bench, void (*func) (void *data), void *data)
{
  Deferred *deferred = g_new (Deferred, 1);

  *deferred = (Deferred){ func, data };
  g_ptr_array_add (bench->deferred, deferred);
}

void
bench_undo_deferred (Bench *bench)
{
  while (bench->deferred->len > 0)
    {
      g_autofree Deferred *last
          = g_ptr_array_steal_index (bench->deferred, bench->deferred->len - 1);

      last->func (last->data);
    }
}

void
bench_add_fact (Bench *bench, const char *name, const char *title, const char *unit, double value)
{
  BenchFact fact = { name, title, unit, value };

  g_array_append_val (bench->facts, fact);
}

double
bench_get_fact (const Bench *bench, const char *name)
{
  for (unsigned i = 0; i < bench->facts->len; i++)
    {
      const BenchFact *fact = &g_array_index (bench->facts, BenchFact, i);

      if (strcmp (fact->name, name) == 0)
        return fact->value;
    }
  return NAN;
}

char *
bench_get_file (Bench *bench, const char *set, unsigned index)
{
  return g_strdup_printf ("%s/%s/%05u", bench->directory, set, index);
}

static bool
make_file (const char *path, GError **error)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  if (fd >= 0 && write (fd, "fscache\n", 8) == 8 && close (fd) == 0)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s: %s", path, g_strerror (errno));
  return false;
}

bool
bench_make_files (Bench *bench, const char *set, unsigned n, GError **error)
{
  g_autofree char *directory = g_build_filename (bench->directory, set, NULL);
  g_autofree char *last = bench_get_file (bench, set, n - 1);

  if (access (last, F_OK) == 0)
    return true;

  g_mkdir_with_parents (directory, 0700);
  for (unsigned i = 0; i < n; i++)
    {
      g_autofree char *path = bench_get_file (bench, set, i);

      if (!make_file (path, error))
        return false;
    }
  return true;
}

/* The janitor: a part that waits until this program has ended, however it did, and then removes the
 * temporary directories and what is mounted in the first. They are its arguments. */

static int
remove_one (const char *path, const struct stat *stat, int type, struct FTW *walk)
{
  return remove (path);
}

int
bench_part_janitor (int argc, char **argv)
{
  char c;

  signal (SIGTERM, SIG_IGN);
  signal (SIGINT, SIG_IGN);
  signal (SIGHUP, SIG_IGN);
  signal (SIGPIPE, SIG_IGN);
  bench_part_say_ready ();
  while (read (STDIN_FILENO, &c, 1) > 0)
    ;

  /* Services that are just ending may still write to it. */
  for (int i = 0; i < 20 && access (argv[0], F_OK) == 0; i++)
    {
      bench_unmount_all (argv[0]);
      for (int j = 1; j < argc; j++)
        nftw (argv[j], remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
      if (nftw (argv[0], remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0)
        g_usleep (100000);
    }
  return 0;
}
