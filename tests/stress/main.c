/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-differential: compares the answers of fscached with those of open(), for as long as told.
 * Each run is a child, in namespaces of its own; whatever ends it, nothing of it is left but an
 * empty directory, which is removed here.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/stress/run.h"

#define EXIT_SKIPPED 77

/* Waits for the child; a signal to this process ends it. Returns the number of that signal, or 0.
 */
static int
wait_for (pid_t child, int *status)
{
  sigset_t signals;
  int number;

  sigemptyset (&signals);
  sigaddset (&signals, SIGCHLD);
  sigaddset (&signals, SIGINT);
  sigaddset (&signals, SIGTERM);
  sigaddset (&signals, SIGHUP);
  for (;;)
    {
      if (sigwait (&signals, &number) != 0)
        continue;
      if (number != SIGCHLD)
        kill (child, SIGKILL); /* and all that it has started dies with it */
      if (waitpid (child, status, number == SIGCHLD ? WNOHANG : 0) == child)
        return number == SIGCHLD ? 0 : number;
    }
}

static void
block_signals (int how)
{
  sigset_t signals;

  sigemptyset (&signals);
  sigaddset (&signals, SIGCHLD);
  sigaddset (&signals, SIGINT);
  sigaddset (&signals, SIGTERM);
  sigaddset (&signals, SIGHUP);
  sigprocmask (how, &signals, NULL);
}

static int
run_apart (const DiffRun *run)
{
  g_autofree char *base = g_build_filename (g_get_tmp_dir (), "fscache-differential-XXXXXX", NULL);
  int status = 0, number;
  pid_t child, parent = getpid ();

  if (g_mkdtemp_full (base, 0755) == NULL)
    g_error ("%s: %s", base, g_strerror (errno));
  fflush (NULL);
  child = fork ();
  if (child < 0)
    g_error ("cannot fork: %s", g_strerror (errno));
  if (child == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      block_signals (SIG_UNBLOCK);
      if (getppid () == parent)
        diff_run (run, base);
      fflush (stdout);
      _exit (0);
    }
  number = wait_for (child, &status);
  if (number == 0 && status != 0)
    {
      printf ("TROUBLE on %s, user %u: the run has ended with status %#x\n", run->fs, run->user,
              (guint) status);
      atomic_fetch_add (&run->tally->troubles, 1);
    }
  /* Those that it has started need a moment to die, and their mounts go with them. */
  for (int i = 0; rmdir (base) < 0 && errno == EBUSY && i < 5000; i++)
    g_usleep (1000);
  return number;
}

static int
run_all (const DiffOptions *options, DiffTally *tally)
{
  guint n_runs = g_strv_length (options->fs) * options->n_users;
  int number = 0;

  for (guint i = 0; options->fs[i] != NULL; i++)
    for (guint j = 0; j < options->n_users && number == 0; j++)
      {
        DiffRun run = {
          .options = options,
          .tally = tally,
          .fs = options->fs[i],
          .user = options->users[j],
          .seconds = options->seconds / n_runs,
          .comparisons = ((guint64) options->comparisons + n_runs - 1) / n_runs,
        };

        number = run_apart (&run);
      }
  return number;
}

int
main (int argc, char **argv)
{
  DiffOptions options;
  DiffTally *tally;
  int number;

  block_signals (SIG_BLOCK);
  if (!diff_options_parse (&options, &argc, &argv))
    {
      diff_options_clear (&options);
      return 2;
    }
  tally = diff_tally_new ();
  if (options.steps == NULL)
    printf ("seed: %" G_GINT64_FORMAT "\n", options.seed);
  number = run_all (&options, tally);
  diff_tally_print (tally);
  diff_options_clear (&options);
  if (number != 0)
    return 128 + number;
  if (tally->differences + tally->troubles > 0)
    return 1;
  return tally->runs > 0 ? 0 : EXIT_SKIPPED;
}
