/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-hostile: a service for all users, of which one takes all that can be had, with a thousand
 * connections: some never read, some always have requests waiting, some hoard handles, send
 * descriptors that nobody asked for, or connect and say nothing. Another user's requests are timed
 * before, meanwhile and after. The exit status is 1 if one of them failed, the service took more
 * memory than it may, or has descriptors left when the attackers are gone; and, if it is asked for,
 * if the victim's 99th percentile is too many times what it is without them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"
#include "tests/stress/hostile/hostile.h"

#define EXIT_SKIPPED 77
#define PROCESSES 4
#define MEMORY_MAX 65536 /* KiB */
#define SETTLE_US 1000000

typedef struct
{
  double seconds, ratio;
  int connections;
} Options;

typedef struct
{
  const Options *options;
  FscTestService *service;
  HostileStage stage;
  pid_t attackers[PROCESSES];
  gboolean has_failed;
} Run;

static gboolean
parse_options (int *argc, char ***argv, Options *options)
{
  const GOptionEntry entries[]
      = { { "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &options->seconds, "Each measurement (5)", "N" },
          { "connections", 0, 0, G_OPTION_ARG_INT, &options->connections, "Of the attackers (1000)",
            "N" },
          { "ratio", 0, 0, G_OPTION_ARG_DOUBLE, &options->ratio,
            "Fail if the 99th percentile is more than so many times what it was", "N" },
          { 0 } };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;

  *options = (Options){ .seconds = 5, .connections = 1000 };
  g_option_context_set_summary (context,
                                "Attacks a service for all users, and times another user.");
  g_option_context_add_main_entries (context, entries, NULL);
  if (g_option_context_parse (context, argc, argv, &error) && *argc == 1 && options->seconds > 0
      && options->connections > 0)
    return TRUE;
  fprintf (stderr, "fscache-hostile: %s\nTry 'fscache-hostile --help'.\n",
           error != NULL ? error->message : "a number must be above 0, and nothing else is taken");
  return FALSE;
}

/* Processors */

static void
pin (pid_t pid, int cpu)
{
  cpu_set_t set;

  if (sysconf (_SC_NPROCESSORS_ONLN) < 2)
    return;
  CPU_ZERO (&set);
  CPU_SET (cpu, &set);
  sched_setaffinity (pid, sizeof set, &set);
}

/* The service is on the second one, and so will the victim be: that one processor has to wake the
 * other takes a virtual machine longer than all that is measured here. */
static void
pin_all (const Run *run)
{
  g_autoptr (GArray) spawners = fsc_test_list_children (run->service->pid);
  const struct sched_param first = { .sched_priority = 1 }; /* whatever else is to run there */

  pin (0, 0);
  pin (run->service->pid, 1);
  sched_setscheduler (run->service->pid, SCHED_FIFO, &first);
  for (guint i = 0; i < spawners->len; i++)
    pin (g_array_index (spawners, pid_t, i), 0);
}

/* The stage */

static void
write_file (const char *dir, const char *name)
{
  g_autofree char *path = g_build_filename (dir, name, NULL);

  fsc_test_write (path, name);
  g_assert_no_errno (chmod (path, 0644));
}

static void
open_stage (Run *run)
{
  static const char *const arguments[] = { "--user", G_STRINGIFY (HOSTILE_SERVICE), NULL };
  g_autofree char *hoard = NULL;
  char name[16];

  run->service = fsc_test_service_prepare (NULL, arguments);
  g_assert_no_errno (chmod (run->service->dir, 0755)); /* what cannot be read cannot be watched */
  hoard = g_build_filename (run->service->dir, "hoard", NULL);
  g_assert_no_errno (mkdir (hoard, 0755));
  g_assert_no_errno (chmod (hoard, 0755));
  for (guint i = 0; i < HOSTILE_REAL; i++)
    {
      g_snprintf (name, sizeof name, "%u", i);
      write_file (hoard, name);
      if (i < HOSTILE_FILES)
        write_file (run->service->dir, name);
    }
  fsc_test_service_start (run->service);
  run->stage = (HostileStage){ run->service->socket, run->service->dir };
  pin_all (run);
}

static void
start_attack (Run *run)
{
  guint n = (guint) run->options->connections / PROCESSES;

  for (guint i = 0; i < PROCESSES; i++)
    {
      pid_t pid = run->attackers[i] = fork ();

      g_assert_cmpint (pid, >=, 0);
      if (pid != 0)
        continue;
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      hostile_attack (&run->stage, i * HOSTILE_HOARD / PROCESSES, n);
    }
  g_usleep (SETTLE_US);
}

/* Each must still be at it. */
static void
end_attack (Run *run)
{
  for (guint i = 0; i < PROCESSES; i++)
    {
      int status;

      g_assert_no_errno (kill (run->attackers[i], SIGKILL));
      g_assert_cmpint (waitpid (run->attackers[i], &status, 0), ==, run->attackers[i]);
      g_assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL);
    }
}

/* Measuring */

static void
measure (Run *run, HostileResult results[HOSTILE_N_KINDS])
{
  int fds[2], status;
  pid_t pid;

  g_assert_no_errno (pipe2 (fds, O_CLOEXEC));
  pid = fork ();
  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      pin (0, 1);
      hostile_suffer (&run->stage, run->options->seconds, fds[1]);
    }
  close (fds[1]);
  g_assert_cmpint (read (fds[0], results, HOSTILE_N_KINDS * sizeof *results), ==,
                   (ssize_t) (HOSTILE_N_KINDS * sizeof *results));
  close (fds[0]);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
}

static void
report (Run *run, const char *name, const HostileResult *before, const HostileResult *under,
        const HostileResult *after)
{
  double idle50 = (before->p50 + after->p50) / 2, idle99 = (before->p99 + after->p99) / 2;
  guint64 n_failed = before->n_failed + under->n_failed + after->n_failed;

  printf ("%s: p50 %.1f us, attacked %.1f us, ratio %.2f; p99 %.1f us, attacked %.1f us, ratio "
          "%.2f; attacked %" G_GUINT64_FORMAT " times, failed %" G_GUINT64_FORMAT "%s%s\n",
          name, idle50, under->p50, under->p50 / idle50, idle99, under->p99, under->p99 / idle99,
          under->n, n_failed, n_failed > 0 ? ": " : "", under->message);
  run->has_failed |= n_failed > 0 || under->n == 0
                     || (run->options->ratio > 0 && under->p99 > run->options->ratio * idle99);
}

static void
attack (Run *run)
{
  static const char *const names[HOSTILE_N_KINDS] = { "open", "ping", "list" };
  HostileResult before[HOSTILE_N_KINDS], under[HOSTILE_N_KINDS], after[HOSTILE_N_KINDS];
  FscTestService *service = run->service;
  long memory;

  measure (run, before);
  start_attack (run);
  measure (run, under);
  printf ("under attack: %" G_GUINT64_FORMAT " connections, %" G_GUINT64_FORMAT
          " requests waiting, %" G_GUINT64_FORMAT " handles, %" G_GUINT64_FORMAT
          " descriptors unread\n",
          fsc_test_service_counter (service, "clients"),
          fsc_test_service_counter (service, "waiting"),
          fsc_test_service_counter (service, "handles"),
          fsc_test_service_counter (service, "in_flight"));
  memory = fsc_process_get (service->pid, "VmHWM:");
  end_attack (run);
  measure (run, after);
  for (guint kind = 0; kind < HOSTILE_N_KINDS; kind++)
    report (run, names[kind], &before[kind], &under[kind], &after[kind]);
  printf ("memory of the service: %ld KiB at most\n", memory);
  run->has_failed |= FSC_TEST_MEASURES_MEMORY && memory > MEMORY_MAX;
  fsc_test_service_check_descriptors (service);
  printf ("descriptors left: 0\n");
}

int
main (int argc, char **argv)
{
  Options options;
  Run run = { .options = &options };

  setvbuf (stdout, NULL, _IOLBF, 0);
  if (!parse_options (&argc, &argv, &options))
    return 2;
  if (geteuid () != 0 || !fsc_test_is_for_all ("fscache/openers/open-file"))
    {
      printf ("skipped: this takes root, and a build that all users may execute\n");
      return EXIT_SKIPPED;
    }
  fsc_process_raise_limit ();
  open_stage (&run);
  attack (&run);
  fsc_test_service_free (run.service);
  return run.has_failed;
}
