/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The coordinator of a crew; see crew.h and shared.h.
 */
#include "tests/stress/crew.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/stress/shared.h"

#define PATIENCE_SECONDS 60
#define MUTATOR_PROCESSES 2

static void
start (DiffCrew *crew, gboolean is_comparer, guint index, guint stride)
{
  pid_t parent = getpid ();
  pid_t pid;

  fflush (NULL);
  pid = fork ();
  if (pid < 0)
    g_error ("cannot fork: %s", g_strerror (errno));
  if (pid > 0)
    {
      crew->processes[crew->n_processes++] = pid;
      return;
    }
  if (is_comparer)
    diff_stand_become_user (crew->stand);
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  if (getppid () != parent)
    _exit (1);
  if (is_comparer)
    diff_comparer_run (crew, index);
  else
    diff_mutator_run (crew, index, stride);
}

void
diff_crew_init (DiffCrew *crew, const DiffStand *stand, DiffTally *tally,
                const DiffCrewOptions *options)
{
  guint n_processes = MIN (MUTATOR_PROCESSES, options->n_mutators);

  *crew = (DiffCrew){ .options = *options, .stand = stand, .tally = tally };
  diff_stand_init_tree (stand, &crew->tree);
  crew->shared = mmap (NULL, sizeof *crew->shared, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (crew->shared == MAP_FAILED)
    g_error ("no shared memory: %s", g_strerror (errno));
  for (guint i = 0; i < n_processes; i++)
    start (crew, FALSE, i, n_processes);
  for (guint i = 0; i < options->n_comparers; i++)
    start (crew, TRUE, i, 1);
}

static void
command_mutator (DiffCrew *crew, guint who, Command command)
{
  crew->shared->mutators[who].command = command;
  bell_ring (&crew->shared->mutators[who].bell, 1);
}

static void
command_comparers (DiffCrew *crew, Command command)
{
  for (guint i = 0; i < crew->options.n_comparers; i++)
    {
      crew->shared->comparers[i].command = command;
      bell_ring (&crew->shared->comparers[i].bell, 1);
    }
}

static void
command_all (DiffCrew *crew, Command command)
{
  for (guint i = 0; i < crew->options.n_mutators; i++)
    command_mutator (crew, i, command);
  command_comparers (crew, command);
}

void
diff_crew_clear (DiffCrew *crew)
{
  DiffShared *shared = crew->shared;

  atomic_store (&shared->is_free, 0);
  command_all (crew, QUIT);
  for (guint i = 0; i < crew->n_processes; i++)
    {
      int n = 0;

      while (waitpid (crew->processes[i], NULL, WNOHANG) == 0)
        {
          if (n++ == 10 * 1000)
            kill (crew->processes[i], SIGKILL);
          g_usleep (n < 1000 ? 100 : 1000);
        }
    }
  munmap (shared, sizeof *shared);
  diff_tree_clear (&crew->tree);
}

/* Waiting for all */

static gboolean
is_complete (const DiffCrew *crew)
{
  for (guint i = 0; i < crew->n_processes; i++)
    {
      siginfo_t info = { 0 };

      if (waitid (P_PID, (id_t) crew->processes[i], &info, WEXITED | WNOHANG | WNOWAIT) < 0
          || info.si_pid != 0)
        {
          printf ("A %s has ended\n",
                  i < MIN (MUTATOR_PROCESSES, crew->options.n_mutators) ? "mutator" : "comparer");
          return FALSE;
        }
    }
  return TRUE;
}

static gboolean
wait_until_done (DiffCrew *crew, guint done)
{
  guint seconds = 0, seen;

  while ((seen = atomic_load (&crew->shared->done.value)) != done)
    if (!bell_wait (&crew->shared->done, seen, 0))
      {
        if (!is_complete (crew))
          return FALSE;
        if (++seconds == PATIENCE_SECONDS)
          {
            printf ("Nothing has happened for %u seconds\n", seconds);
            return FALSE;
          }
      }
  return TRUE;
}

/* Rounds */

static gboolean
hand_out_questions (DiffCrew *crew, const DiffStep *questions, guint n_questions, gboolean is_hot)
{
  DiffShared *shared = crew->shared;
  guint n_comparers = crew->options.n_comparers, index, given = 0;

  for (guint i = 0; i < n_comparers; i++)
    {
      guint end = n_questions * (i + 1) / n_comparers;

      shared->comparers[i].n = end - given;
      shared->comparers[i].first = atomic_load (&shared->n_log);
      shared->comparers[i].round = crew->round;
      shared->comparers[i].is_hot = is_hot;
      for (; given < end; given++)
        if (!log_append (shared, &questions[given], &index))
          return FALSE;
    }
  return TRUE;
}

gboolean
diff_crew_play (DiffCrew *crew, guint who, const DiffStep *step, const DiffStep *questions,
                guint n_questions, gboolean is_hot)
{
  DiffShared *shared = crew->shared;
  guint hot = atomic_load (&shared->hot.value) + (is_hot ? crew->options.n_comparers : 0);
  guint done = atomic_load (&shared->done.value) + crew->options.n_comparers;

  crew->round++;
  /* In the log it is seen twice, for who plays it again. */
  if (is_hot && !hand_out_questions (crew, questions, n_questions, is_hot))
    return FALSE;
  shared->mutators[who].hot = hot;
  if (step != NULL && !log_append (shared, step, &shared->mutators[who].step))
    return FALSE;
  if (!hand_out_questions (crew, questions, n_questions, is_hot))
    return FALSE;
  command_comparers (crew, PLAY_ROUND);
  if (step != NULL)
    command_mutator (crew, who, PLAY_ROUND);
  else
    bell_ring (&shared->go, 1);
  return wait_until_done (crew, done);
}

gboolean
diff_crew_run_free (DiffCrew *crew, guint64 seed, guint milliseconds)
{
  DiffShared *shared = crew->shared;
  const DiffCrewOptions *options = &crew->options;
  guint done = atomic_load (&shared->done.value) + options->n_comparers + options->n_mutators;

  shared->seed = seed;
  shared->phase++;
  atomic_store (&shared->is_free, 1);
  command_all (crew, RUN_FREE);
  for (guint i = 0; i < milliseconds && atomic_load (&shared->has_failed) == 0; i++)
    g_usleep (1000);
  atomic_store (&shared->is_free, 0);
  return wait_until_done (crew, done);
}

/* What came of it */

const DiffFailure *
diff_crew_get_failure (const DiffCrew *crew)
{
  return atomic_load (&crew->shared->is_failure_written) != 0 ? &crew->shared->failure : NULL;
}

const DiffStep *
diff_crew_get_log (const DiffCrew *crew, guint *n)
{
  *n = MIN (atomic_load (&crew->shared->n_log), LOG_MAX);
  return crew->shared->log;
}

gboolean
diff_crew_has_room (const DiffCrew *crew, guint n)
{
  return atomic_load (&crew->shared->n_log) + n + LOG_RESERVE < LOG_MAX;
}
