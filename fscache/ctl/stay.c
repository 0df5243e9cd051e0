/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Staying with a program; see stay.h.
 */
#include "fscache/ctl/stay.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t
fsc_stay_fork (void)
{
  sighandler_t chld = signal (SIGCHLD, SIG_DFL); /* ignored, it would not leave its status */
  sigset_t all, before;
  pid_t child;

  sigfillset (&all);
  sigprocmask (SIG_SETMASK, &all, &before);
  child = fork ();
  if (child > 0)
    return child;
  sigprocmask (SIG_SETMASK, &before, NULL);
  signal (SIGCHLD, chld);
  return child;
}

/* What the terminal sends goes to the child as well, as it is in the same process group. An alarm
 * was set before this program was begun, for what it is to run. */
static gboolean
is_for_child (const siginfo_t *info)
{
  return info->si_signo != SIGCHLD && (info->si_code != SI_KERNEL || info->si_signo == SIGALRM);
}

int
fsc_stay_wait (pid_t child)
{
  sigset_t all;
  siginfo_t info;
  int status = 0;

  sigfillset (&all);
  for (;;)
    {
      if (sigwaitinfo (&all, &info) > 0 && is_for_child (&info))
        kill (child, info.si_signo);
      while (waitpid (child, &status, WNOHANG | WUNTRACED) == child)
        if (!WIFSTOPPED (status))
          return status;
        else
          {
            raise (SIGSTOP);
            kill (child, SIGCONT);
          }
    }
}

int
fsc_stay_end (int status)
{
  const struct rlimit no_core = { 0 };
  sigset_t one;

  if (WIFEXITED (status))
    return WEXITSTATUS (status);
  setrlimit (RLIMIT_CORE, &no_core); /* the child has left one, if any */
  signal (WTERMSIG (status), SIG_DFL);
  raise (WTERMSIG (status));
  sigemptyset (&one);
  sigaddset (&one, WTERMSIG (status));
  sigprocmask (SIG_UNBLOCK, &one, NULL);
  return 128 + WTERMSIG (status);
}
