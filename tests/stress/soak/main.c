/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-soak: a mixed load of everything, with faults, for as long as told. Ends with what is
 * left: descriptors, resident memory and how it has changed, and how each kind of request has
 * ended. Or it kills one process after the other. The exit status is 1 if a descriptor is left, an
 * answer was wrong or an error unexpected.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/tap.h"
#include "tests/stress/soak/measure.h"
#include "tests/stress/soak/servers.h"
#include "tests/stress/soak/soak.h"

#define EXIT_SKIPPED 77
/* The helper that unmounts a view which has crashed may come too late, when there is the next one
 * already, and unmount that. */
#define VIEW_OPTIONS "no_auto_unmount"

#define TICK_US 200000
#define KILL_US 5000 /* between two, on average */
#define KILLS_A_CHECK 50
#define RECOVERY_SECONDS 10
#define TICKS_A_SECOND (G_USEC_PER_SEC / TICK_US)

typedef struct
{
  double seconds;
  double faults;
  int kills;
  int workers;
  gint64 seed;
} Options;

typedef struct
{
  const Options *options;
  Soak soak;
  GRand *random;
  pid_t http, echo;
  pid_t *workers;
  gint64 started;
  GArray *resident; /* of the service, each second */
  long left;        /* of its descriptors, at the end */
  guint killed[4];
} Run;

enum
{
  WORKER,
  OPENER,
  SPAWNER,
  VIEW
};

static gboolean
parse_options (int *argc, char ***argv, Options *options)
{
  const GOptionEntry entries[]
      = { { "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &options->seconds, "For so long (10)", "N" },
          { "faults", 0, 0, G_OPTION_ARG_DOUBLE, &options->faults,
            "So many of what is done is wrong (1 %)", "PERCENT" },
          { "kills", 0, 0, G_OPTION_ARG_INT, &options->kills,
            "Instead, until so many of clients, openers, spawners and views were killed", "N" },
          { "workers", 0, 0, G_OPTION_ARG_INT, &options->workers, "Processes (6)", "N" },
          { "seed", 0, 0, G_OPTION_ARG_INT64, &options->seed, "What is drawn (from the clock)",
            "N" },
          { 0 } };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;

  *options = (Options){ .seconds = 10, .faults = 1, .workers = 6, .seed = g_get_real_time () };
  g_option_context_set_summary (
      context, "Puts a service, and a view of it, under a mixed load of everything, with faults.");
  g_option_context_add_main_entries (context, entries, NULL);
  if (g_option_context_parse (context, argc, argv, &error) && *argc == 1 && options->seconds > 0
      && options->workers > 0)
    return TRUE;
  fprintf (stderr, "fscache-soak: %s\nTry 'fscache-soak --help'.\n",
           error != NULL ? error->message : "a number must be above 0, and nothing else is taken");
  return FALSE;
}

/* Where it happens */

static void
write_files (const Soak *soak, const char *kind, int n)
{
  g_autofree char *dir = g_build_filename (soak->dir, kind, NULL);

  g_assert_cmpint (g_mkdir (dir, 0755), ==, 0);
  for (int i = 0; i < n; i++)
    {
      g_autofree char *path = soak_path (soak, kind, i);
      g_autofree char *content = g_strdup_printf ("%s %d\n", kind, i);

      fsc_test_write (path, content);
    }
}

static gboolean
pack (const Soak *soak)
{
  static const char *const arguments[]
      = { "sh", "-c", "tar czf all.tar.gz [0-9]* && gzip [0-9]*", NULL };
  g_autofree char *dir = g_build_filename (soak->dir, "packed", NULL);
  g_autofree char *opener = fsc_test_build_path ("fscache/openers/open-unpack");
  g_auto (FscTestProgram) program = { 0 };

  write_files (soak, "packed", SOAK_PACKED);
  fsc_test_program_run (&program, dir, arguments);
  return program.status == 0 && access (opener, X_OK) == 0;
}

static gboolean
can_fetch (guint port)
{
  g_autofree char *opener = fsc_test_build_path ("fscache/openers/open-http");

  return port > 0 && access (opener, X_OK) == 0;
}

static void
open_stage (Run *run)
{
  Soak *soak = &run->soak;
  g_autofree char *helper = fsc_test_build_path ("tests/integration/odd-helper");
  g_autofree char *config = NULL;

  soak->http_port = soak_start_http (&run->http);
  soak->pool_port = soak_start_echo (&run->echo);
  config = g_strdup_printf ("[service]\nmax-handles=500\n"
                            "[cache]\nmax-bytes=16M\nidle-time=2\n"
                            "[lanes]\nidle-time=2\ndeadline=5\n"
                            "[http]\nallow=127.0.0.1:%u\nttl=1\n"
                            "[tcp]\nallow=127.0.0.1:%u\nidle-time=1\n"
                            "[helper odd]\ncommand=%s\nttl=1\n",
                            soak->http_port, soak->pool_port, helper);
  fsc_test_stage_open_with (&soak->stage, config, VIEW_OPTIONS);
  soak->dir = soak->stage.source;
  soak->tally = soak_tally_new ();
  soak->fault_percent = run->options->faults;
  soak->has_http = can_fetch (soak->http_port);
  write_files (soak, "stable", SOAK_STABLE);
  write_files (soak, "moving", SOAK_MOVING);
  write_files (soak, "written", 0);
  soak->has_unpack = pack (soak);
}

/* Load */

static void
start_worker (Run *run, int i)
{
  guint32 seed = g_rand_int (run->random);
  pid_t pid;

  fflush (stdout);
  pid = fork ();
  if (pid < 0)
    g_error ("cannot fork: %s", g_strerror (errno));
  if (pid == 0)
    soak_worker_run (&run->soak, (guint) i, seed);
  run->workers[i] = pid;
}

/* Whoever has ended, by a fault or by being killed, is replaced. */
static void
replace_workers (Run *run)
{
  for (int i = 0; i < run->options->workers; i++)
    {
      int status = 0;

      if (waitpid (run->workers[i], &status, WNOHANG) != run->workers[i])
        continue;
      if (status != 0 && status != SIGKILL)
        {
          printf ("WRONG worker %d has ended with status %#x\n", i, (guint) status);
          atomic_fetch_add (&run->soak.tally->wrong, 1);
        }
      start_worker (run, i);
    }
}

static gboolean
is_due (Run *run, double seconds)
{
  return run->options->faults > 0
         && g_rand_double (run->random) < run->options->faults / (seconds * TICKS_A_SECOND);
}

static void
kill_one_of (Run *run, GArray *pids)
{
  if (pids->len > 0)
    kill (g_array_index (pids, pid_t, g_rand_int_range (run->random, 0, (gint32) pids->len)),
          SIGKILL);
}

/* Those of openers and spawner are started again by who needs them. */
static void
kill_a (Run *run, guint what)
{
  FscTestStage *stage = &run->soak.stage;
  g_autoptr (GArray) openers = NULL, spawners = NULL;

  switch (what)
    {
    case WORKER:
      kill (run->workers[g_rand_int_range (run->random, 0, run->options->workers)], SIGKILL);
      break;
    case OPENER:
      openers = fsc_test_service_list_openers (stage->service);
      kill_one_of (run, openers);
      break;
    case SPAWNER:
      spawners = fsc_test_list_children (stage->service->pid);
      kill_one_of (run, spawners);
      break;
    default:
      fsc_test_stage_kill (stage);
      fsc_test_stage_start (stage, VIEW_OPTIONS);
    }
  run->killed[what]++;
}

/* With faults at 1 %, each so many seconds. */
static void
kill_some (Run *run)
{
  static const double seconds[] = { [WORKER] = 1, [OPENER] = 2, [SPAWNER] = 60, [VIEW] = 20 };

  for (guint what = 0; what < G_N_ELEMENTS (seconds); what++)
    if (is_due (run, seconds[what]))
      kill_a (run, what);
}

static void
sample (Run *run)
{
  double kib = (double) soak_get_resident (run->soak.stage.service->pid);

  g_array_append_val (run->resident, kib);
}

/* Loads for as long as told. */
static void
load (Run *run)
{
  gint64 end = g_get_monotonic_time () + (gint64) (run->options->seconds * G_USEC_PER_SEC);

  for (guint tick = 0; g_get_monotonic_time () < end; tick++)
    {
      g_usleep (TICK_US);
      replace_workers (run);
      kill_some (run);
      if (tick % TICKS_A_SECOND == 0)
        sample (run);
    }
}

/* Whether all goes well now. Who was started a moment ago, or is still being waited for, may take
 * some time. */
static void
check_works (Run *run)
{
  SoakWorker checker = { .soak = &run->soak, .random = run->random, .is_strict = TRUE };
  gint64 end = g_get_monotonic_time () + RECOVERY_SECONDS * G_USEC_PER_SEC;

  fscache_connect (run->soak.stage.service->socket, FSCACHE_NO_FALLBACK, &checker.client);
  while (!soak_worker_check (&checker) && g_get_monotonic_time () < end)
    g_usleep (10000);
  if (g_get_monotonic_time () >= end)
    soak_wrong (&checker, "after %d s it does not work again", RECOVERY_SECONDS);
  fscache_disconnect (checker.client);
}

/* Kills one after the other at random instants, and sees now and then that all works. */
static void
load_and_kill (Run *run)
{
  for (int n = 0; n < run->options->kills; n++)
    {
      g_usleep ((gulong) g_rand_int_range (run->random, 0, 2 * KILL_US));
      replace_workers (run);
      kill_a (run, (guint) g_rand_int_range (run->random, 0, G_N_ELEMENTS (run->killed)));
      if (n % KILLS_A_CHECK == KILLS_A_CHECK - 1)
        {
          check_works (run);
          sample (run);
        }
    }
}

static void
work (Run *run)
{
  for (int i = 0; i < run->options->workers; i++)
    start_worker (run, i);
  if (run->options->kills > 0)
    load_and_kill (run);
  else
    load (run);
  run->soak.tally->is_ending = TRUE;
  for (int i = 0; i < run->options->workers; i++)
    waitpid (run->workers[i], NULL, 0);
  check_works (run);
}

/* What is left */

static void
count_what_is_left (Run *run)
{
  FscTestStage *stage = &run->soak.stage;

  FscacheClient *client;

  fsc_test_stage_stop (stage);
  client = fsc_test_service_connect (stage->service);
  fscache_drop_matching (client, "*", NULL);
  fscache_disconnect (client);
  run->left = fsc_test_service_count_left (stage->service);
}

static gboolean
report (Run *run)
{
  SoakTally *tally = run->soak.tally;
  const GArray *resident = run->resident;
  gboolean is_good = run->left == 0 && tally->wrong == 0 && tally->unexpected == 0;

  soak_tally_print (tally);
  printf ("killed: %u workers, %u openers, %u spawners, %u views\n", run->killed[WORKER],
          run->killed[OPENER], run->killed[SPAWNER], run->killed[VIEW]);
  printf ("faults: %llu\n", (unsigned long long) tally->faults);
  printf ("seconds: %.0f\n", (double) (g_get_monotonic_time () - run->started) / G_USEC_PER_SEC);
  printf ("requests: %llu\n", (unsigned long long) tally->requests);
  if (resident->len > 0)
    printf ("resident KiB: %.0f at first, %.0f half way, %.0f at the end\n",
            g_array_index (resident, double, 0),
            g_array_index (resident, double, resident->len / 2),
            g_array_index (resident, double, resident->len - 1));
  printf ("drift of the second half: %+.2f %%\n", soak_get_drift (resident));
  printf ("descriptors left: %ld\n", run->left);
  printf ("wrong answers: %llu\n", (unsigned long long) tally->wrong);
  printf ("unexpected errors: %llu\n", (unsigned long long) tally->unexpected);
  return is_good;
}

static void
stop_server (pid_t pid)
{
  if (pid > 0)
    {
      kill (pid, SIGKILL);
      waitpid (pid, NULL, 0);
    }
}

int
main (int argc, char **argv)
{
  Options options;
  Run run = { .options = &options, .started = g_get_monotonic_time () };
  int n_arguments = 1;
  gboolean is_good;

  if (!parse_options (&argc, &argv, &options))
    return 2;
  fsc_test_stage_init (&n_arguments, &argv);
  if (access ("/dev/fuse", R_OK | W_OK) < 0)
    {
      printf ("skipped: there is no /dev/fuse\n");
      return EXIT_SKIPPED;
    }
  printf ("seed: %" G_GINT64_FORMAT "\n", options.seed);
  run.random = g_rand_new_with_seed ((guint32) options.seed);
  run.workers = g_new0 (pid_t, options.workers);
  run.resident = g_array_new (FALSE, FALSE, sizeof (double));
  open_stage (&run);
  work (&run);
  count_what_is_left (&run);
  is_good = report (&run);
  fsc_test_stage_close (&run.soak.stage);
  stop_server (run.http);
  stop_server (run.echo);
  g_array_unref (run.resident);
  g_rand_free (run.random);
  g_free (run.workers);
  return is_good ? 0 : 1;
}
