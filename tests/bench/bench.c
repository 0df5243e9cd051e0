/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-bench: measures what a descriptor costs, by different ways, side by side. Many short
 * rounds go over all rows in an order that changes, so that whatever disturbs the machine disturbs
 * all rows alike; everything runs on stated CPUs.
 */
#include "tests/bench/bench.h"

#include "bench-config.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "tests/bench/machine.h"
#include "tests/bench/mount.h"
#include "tests/bench/options.h"
#include "tests/bench/process.h"
#include "tests/bench/report.h"

#define MIN_WARM_UP 2       /* operations */
#define WATCHDOG_SECONDS 30 /* for a row to be set up, or to end a slice */

/* What signal handlers have to know. */
static volatile sig_atomic_t interrupted;
static char complaint[128]; /* if the watchdog bites */

bool
bench_is_interrupted (void)
{
  return interrupted;
}

static void
interrupt (int signal)
{
  interrupted = signal;
}

/* A service that never answers would hang the benchmark, and nobody knew why. The janitor cleans
 * up.
 */
static void
give_up (int signal)
{
  (void) !write (STDERR_FILENO, complaint, strlen (complaint));
  _exit (1);
}

static void
watch (const BenchRow *row)
{
  snprintf (complaint, sizeof complaint, "fscache-bench: no answer for %d seconds in row %s\n",
            WATCHDOG_SECONDS, row->spec->name);
  alarm (WATCHDOG_SECONDS);
}

/* A second signal ends the program at once; the janitor cleans up then. */
static void
catch_signals (void)
{
  struct sigaction action = { .sa_handler = interrupt, .sa_flags = SA_RESETHAND };

  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  sigaction (SIGHUP, &action, NULL);
  signal (SIGALRM, give_up);
  signal (SIGPIPE, SIG_IGN);
}

/* Rows */

static const BenchRowSpec *const all_specs[] = {
  bench_rows_floor,  bench_rows_s6,    bench_rows_gdbus,  bench_rows_fscache,
  bench_rows_scale,  bench_rows_cold,  bench_rows_sshfs,  bench_rows_helper,
  bench_rows_pool,   bench_rows_watch, bench_rows_borrow, bench_rows_read,
  bench_rows_start,  bench_rows_cache, bench_rows_view,   bench_rows_put,
#if HAVE_UNPACK
  bench_rows_unpack,
#endif
#if HAVE_HTTP
  bench_rows_http,
#endif
};

static void
free_row (void *data)
{
  BenchRow *row = data;

  bench_stats_clear (&row->stats);
  g_clear_error (&row->error);
  g_free (row);
}

static GPtrArray *
make_rows (Bench *bench)
{
  GPtrArray *rows = g_ptr_array_new_with_free_func (free_row);

  for (unsigned i = 0; i < G_N_ELEMENTS (all_specs); i++)
    for (const BenchRowSpec *spec = all_specs[i]; spec->name != NULL; spec++)
      {
        BenchRow *row = g_new0 (BenchRow, 1);

        row->spec = spec;
        row->bench = bench;
        bench_stats_init (&row->stats);
        g_ptr_array_add (rows, row);
      }
  return rows;
}

static void
want (GPtrArray *rows, BenchRow *row)
{
  row->is_wanted = true;
  for (unsigned i = 0; i < rows->len && row->spec->baseline != NULL; i++)
    {
      BenchRow *other = g_ptr_array_index (rows, i);

      if (!other->is_wanted && strcmp (other->spec->name, row->spec->baseline) == 0)
        want (rows, other);
    }
}

/* Marks the rows that one of the comma-separated patterns matches, and their baselines. */
static bool
select_rows (GPtrArray *rows, const char *patterns)
{
  g_auto (GStrv) list = g_strsplit (patterns, ",", -1);

  for (char **pattern = list; *pattern != NULL; pattern++)
    {
      bool is_known = false;

      for (unsigned i = 0; i < rows->len; i++)
        {
          BenchRow *row = g_ptr_array_index (rows, i);

          if (g_pattern_match_simple (*pattern, row->spec->name))
            {
              want (rows, row);
              is_known = true;
            }
        }
      if (!is_known)
        {
          g_printerr ("fscache-bench: no row is called %s (--list shows all)\n", *pattern);
          return false;
        }
    }
  return true;
}

static void
list_rows (const GPtrArray *rows)
{
  for (unsigned i = 0; i < rows->len; i++)
    {
      const BenchRow *row = g_ptr_array_index (rows, i);

      printf ("%-22s %s\n", row->spec->name, row->spec->title);
    }
}

/* Measuring */

bool
bench_row_run_slice (BenchRow *row, int64_t warm_up_ns, int64_t slice_ns, GArray *samples,
                     GError **error)
{
  const BenchRowSpec *spec = row->spec;
  int64_t warm = spec->has_no_warm_up ? 0 : bench_now () + warm_up_ns;
  unsigned to_warm = spec->has_no_warm_up ? 0 : MIN_WARM_UP;
  int64_t end = INT64_MAX;

  for (unsigned n = 0; !bench_is_interrupted (); n++)
    {
      int64_t start = bench_now ();

      if (!spec->run (row, error))
        return false;

      int64_t now = bench_now ();

      if (spec->after != NULL)
        spec->after (row);
      if (n < to_warm || start < warm)
        continue;

      double sample = (double) (now - start) / spec->handles;

      g_array_append_val (samples, sample);
      if (end == INT64_MAX)
        end = start + slice_ns;
      if (now >= end || samples->len == spec->slice_max)
        return true;
    }
  return true;
}

static bool
run_slice (BenchRow *row, int64_t slice_ns, GArray *samples)
{
  const BenchRowSpec *spec = row->spec;
  int64_t warm_up_ns = slice_ns / 4;

  return spec->run_slice != NULL
             ? spec->run_slice (row, warm_up_ns, slice_ns, samples, &row->error)
             : bench_row_run_slice (row, warm_up_ns, slice_ns, samples, &row->error);
}

/* Returns how much longer the slice took than it should, or NAN if that cannot be told. */
static double
run_row (BenchRow *row, int64_t slice_ns)
{
  const BenchRowSpec *spec = row->spec;
  g_autoptr (GArray) samples = g_array_new (FALSE, FALSE, sizeof (double));
  bool is_over = spec->total_max > 0 && row->stats.samples->len >= spec->total_max;
  double slowdown = NAN;

  watch (row);
  if (row->is_ready && !is_over)
    row->is_ready = spec->prepare == NULL || spec->prepare (row, &row->error);
  if (row->is_ready && !is_over)
    {
      int64_t start = bench_now ();

      row->is_ready = run_slice (row, slice_ns, samples);
      if (spec->slice_max == 0 && !spec->has_no_warm_up)
        slowdown = (bench_now () - start) / (slice_ns * 1.25);
    }
  if (row->error != NULL)
    g_array_set_size (samples, 0);

  /* Rounds are counted alike for all rows, also for one that has nothing more to measure. */
  bench_stats_add_round (&row->stats, samples);
  return slowdown;
}

static void
shuffle (GPtrArray *rows, uint64_t *random)
{
  for (unsigned i = rows->len; i > 1; i--)
    {
      unsigned j = bench_random (random) % i;
      void *row = rows->pdata[i - 1];

      rows->pdata[i - 1] = rows->pdata[j];
      rows->pdata[j] = row;
    }
}

static void
run_rounds (BenchReport *report, unsigned max_rounds, double seconds, int64_t slice_ns)
{
  g_autoptr (GPtrArray) order = g_ptr_array_new ();
  uint64_t random = BENCH_RANDOM_SEED;
  int64_t start = bench_now ();
  double slowdowns = 0;
  unsigned n_slices = 0;

  for (unsigned i = 0; i < report->rows->len; i++)
    if (((BenchRow *) report->rows->pdata[i])->is_wanted)
      g_ptr_array_add (order, report->rows->pdata[i]);

  while (!bench_is_interrupted () && (max_rounds == 0 || report->rounds < max_rounds)
         && (max_rounds > 0 || report->seconds < seconds))
    {
      shuffle (order, &random);
      for (unsigned i = 0; i < order->len && !bench_is_interrupted (); i++)
        {
          double slowdown = run_row (order->pdata[i], slice_ns);

          if (isfinite (slowdown))
            {
              slowdowns += slowdown;
              n_slices++;
            }
        }
      report->rounds++;
      report->seconds = (bench_now () - start) / 1e9;
    }

  report->slowdown = n_slices > 0 ? slowdowns / n_slices : 1;
  for (unsigned i = 0; i < report->rows->len; i++)
    {
      BenchRow *row = report->rows->pdata[i];

      bench_stats_finish (&row->stats);
      if (row->spec->finish != NULL && row->stats.samples->len > 0)
        row->spec->finish (row);
    }
}

static void
set_up_rows (const GPtrArray *rows)
{
  for (unsigned i = 0; i < rows->len && !bench_is_interrupted (); i++)
    {
      BenchRow *row = g_ptr_array_index (rows, i);

      if (!row->is_wanted)
        continue;
      watch (row);
      row->is_ready = row->spec->set_up (row, &row->error);
    }
}

/* The program */

static int
run_part (int argc, char **argv)
{
  static const struct
  {
    const char *name;
    BenchPartFunc func;
  } parts[] = {
    { "floor", bench_part_floor },
    { "gdbus-server", bench_part_gdbus_server },
    { "gdbus-client", bench_part_gdbus_client },
    { "idle", bench_part_idle },
    { "load", bench_part_load },
    { "borrow-count", bench_part_borrow_count },
    { "bound-floor", bench_part_bound_floor },
    { "janitor", bench_part_janitor },
  };

  for (unsigned i = 0; argc > 0 && i < G_N_ELEMENTS (parts); i++)
    if (strcmp (argv[0], parts[i].name) == 0)
      return parts[i].func (argc - 1, argv + 1);
  return 2;
}

static int
print_report (const BenchReport *report, const BenchOptions *options)
{
  bool has_failed = false;

  if (bench_is_interrupted ())
    {
      g_printerr ("fscache-bench: interrupted\n");
      return 128 + interrupted;
    }

  if (options->tap)
    bench_report_print_tap (report, stdout);
  else if (options->json)
    bench_report_print_json (report, stdout);
  else
    bench_report_print_table (report, stdout);

  for (unsigned i = 0; i < report->rows->len; i++)
    {
      const BenchRow *row = report->rows->pdata[i];

      has_failed |= row->error != NULL
                    && !g_error_matches (row->error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE);
    }
  return has_failed ? 1 : 0;
}

static int
measure (BenchReport *report, const BenchOptions *options)
{
  Bench *bench = (Bench *) report->bench;
  BenchProcess janitor;
  g_autoptr (GError) error = NULL;

  if (!bench_process_start_part (&janitor, "janitor",
                                 (const char *[]){ bench->directory, bench->memory, NULL }, &error))
    {
      g_printerr ("fscache-bench: %s\n", error->message);
      umount2 (bench->memory, MNT_DETACH | UMOUNT_NOFOLLOW);
      rmdir (bench->memory);
      rmdir (bench->directory);
      return 1;
    }

  set_up_rows (report->rows);
  run_rounds (report, options->rounds, options->seconds, options->slice_us * INT64_C (1000));

  alarm (0);

  int status = print_report (report, options);

  bench_undo_deferred (bench);
  bench_process_finish (&janitor);
  return status;
}

static bool
make_temporary (char **directory, const char *place)
{
  *directory = g_build_filename (place, "fscache-bench-XXXXXX", NULL);
  if (g_mkdtemp (*directory) != NULL)
    return true;

  g_printerr ("fscache-bench: %s: %s\n", *directory, g_strerror (errno));
  return false;
}

/* Where it may: a mount namespace of its own. Nothing is watched any more when somebody has mounted
 * something, and others who do that are to disturb no row. */
static void
separate_mounts (void)
{
  if (unshare (CLONE_NEWNS) == 0)
    mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* Not /dev/shm: the way there leads through devtmpfs, which is not watched. */
static bool
find_memory (Bench *bench)
{
  const char *place = bench_machine_find_memory ();
  g_autofree char *mount_point = g_build_filename (bench->directory, BENCH_MOUNT_MEMORY, NULL);

  if (place != NULL)
    return make_temporary (&bench->memory, place);

  g_mkdir (mount_point, 0700);
  if (mount ("fscache-bench", mount_point, "tmpfs", MS_NOSUID | MS_NODEV, NULL) == 0)
    bench->memory = g_steal_pointer (&mount_point);
  else
    bench->memory = g_strdup (bench->directory);
  return true;
}

/* Makes the temporary directories and measures. Returns the exit status. */
static int
run (BenchReport *report, const BenchOptions *options)
{
  Bench *bench = (Bench *) report->bench;

  report->cpus = bench_machine_pin (options->cpus);
  if (report->cpus == NULL)
    {
      g_printerr ("fscache-bench: cannot run on CPUs %s: %s\n", options->cpus, g_strerror (errno));
      return 2;
    }

  catch_signals ();
  separate_mounts ();
  bench_machine_raise_descriptor_limit ();
  bench->is_quick = options->quick;
  bench->service_path
      = options->service != NULL ? g_canonicalize_filename (options->service, NULL) : NULL;
  if (!make_temporary (&bench->directory, options->directory != NULL
                                              ? options->directory
                                              : bench_machine_choose_directory ()))
    return 1;
  if (!find_memory (bench))
    {
      rmdir (bench->directory);
      return 1;
    }
  report->machine = bench_machine_describe ();
  report->file_system = bench_machine_describe_file_system (bench->directory);
  report->event_file_system = bench_machine_describe_file_system (bench->memory);
  return measure (report, options);
}

static void
clear_report (BenchReport *report)
{
  Bench *bench = (Bench *) report->bench;

  g_ptr_array_unref ((GPtrArray *) report->rows);
  g_free (report->machine);
  g_free (report->cpus);
  g_free (report->file_system);
  g_free (report->event_file_system);
  g_free (bench->directory);
  g_free (bench->memory);
  g_free (bench->service_path);
  g_array_unref (bench->facts);
  g_hash_table_unref (bench->services);
  g_ptr_array_unref (bench->deferred);
}

int
main (int argc, char **argv)
{
  if (argc > 1 && strcmp (argv[1], "--part") == 0)
    return run_part (argc - 2, argv + 2);

  setlocale (LC_ALL, "");

  BenchOptions options = { 0 };
  Bench bench = { .facts = g_array_new (FALSE, FALSE, sizeof (BenchFact)),
                  .services = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL),
                  .deferred = g_ptr_array_new () };
  GPtrArray *rows = make_rows (&bench);
  BenchReport report = { .bench = &bench, .rows = rows };
  int status = 2;

  if (bench_options_parse (&options, &argc, &argv))
    {
      if (options.list)
        {
          list_rows (rows);
          status = 0;
        }
      else if (select_rows (rows, options.rows != NULL ? options.rows : "*"))
        status = run (&report, &options);
    }
  clear_report (&report);
  bench_options_clear (&options);
  return status;
}
