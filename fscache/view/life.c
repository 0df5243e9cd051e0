/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process; see life.h.
 */
#include "fscache/view/life.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/view/privileges.h"

/* One for each request that waits for the service or for a source; they are started when there are
 * no others. */
#define THREADS_MAX 512 /* see GATE_TOTAL */
#define THREADS_IDLE 16

/* How often to look whether others have unmounted it: the loop cannot end while a thread hangs. */
#define LOOK_SECONDS 5

#define GRACE G_USEC_PER_SEC

struct FscLife
{
  int ready_fd; /* to the parent; -1: there is none (any more) */
  pthread_t main_thread;
  FscView *view;
  pthread_t signals;
  gboolean has_signals;

  GMutex lock;
  GCond changed;
  gboolean is_over; /* with the lock */
};

/* The parent: exits as the child says. */
static void
wait_for_child (pid_t child, int fd)
{
  char status = 1;
  int wait_status;

  if (read (fd, &status, 1) != 1)
    {
      while (waitpid (child, &wait_status, 0) < 0 && errno == EINTR)
        ;
      status = WIFEXITED (wait_status) && WEXITSTATUS (wait_status) != 0
                   ? (char) WEXITSTATUS (wait_status)
                   : 1;
    }
  _exit (status);
}

static void
ignore (int number)
{
}

FscLife *
fsc_life_new (gboolean is_foreground)
{
  FscLife *life = g_new0 (FscLife, 1);
  struct sigaction wake = { .sa_handler = ignore };
  sigset_t signals;
  int ends[2];
  pid_t child;

  life->ready_fd = -1;
  if (!is_foreground && pipe2 (ends, O_CLOEXEC) == 0)
    {
      child = fork ();
      if (child > 0)
        {
          close (ends[1]);
          wait_for_child (child, ends[0]);
        }
      close (ends[0]);
      life->ready_fd = ends[1];
      setsid ();
    }
  if (chdir ("/") < 0)
    fprintf (stderr, "fscache-view: cannot go to /: %s\n", g_strerror (errno));

  sigemptyset (&signals);
  sigaddset (&signals, SIGTERM);
  sigaddset (&signals, SIGINT);
  sigaddset (&signals, SIGHUP);
  pthread_sigmask (SIG_BLOCK, &signals, NULL);
  sigaction (SIGUSR1, &wake, NULL);
  signal (SIGPIPE, SIG_IGN);
  life->main_thread = pthread_self ();
  return life;
}

void
fsc_life_set_ready (FscLife *life)
{
  int null;

  if (life->ready_fd < 0)
    return;
  fflush (stderr);
  null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; fd++)
    dup2 (null, fd);
  close (null);
  if (write (life->ready_fd, "", 1) != 1) /* "": it is well */
    g_warning ("The process in the foreground is gone");
  close (life->ready_fd);
  life->ready_fd = -1;
}

/* Ends the loop of libfuse, which sleeps in the main thread until a signal comes; if all is not
 * over soon, because threads hang, the process. */
static void
stop (FscLife *life)
{
  gint64 until = g_get_monotonic_time () + GRACE;

  fuse_session_exit (life->view->session);
  g_mutex_lock (&life->lock);
  while (!life->is_over && g_get_monotonic_time () < until)
    {
      pthread_kill (life->main_thread, SIGUSR1);
      g_cond_wait_until (&life->changed, &life->lock, g_get_monotonic_time () + GRACE / 10);
    }
  if (!life->is_over)
    {
      fuse_session_unmount (life->view->session);
      _exit (0);
    }
  g_mutex_unlock (&life->lock);
}

static void *
wait_for_signals (void *data)
{
  FscLife *life = data;
  struct timespec interval = { .tv_sec = LOOK_SECONDS };
  sigset_t signals;

  sigemptyset (&signals);
  sigaddset (&signals, SIGTERM);
  sigaddset (&signals, SIGINT);
  sigaddset (&signals, SIGHUP);
  while (sigtimedwait (&signals, NULL, &interval) < 0 && !fuse_session_exited (life->view->session))
    ;
  stop (life);
  return NULL;
}

int
fsc_life_run (FscLife *life, FscView *view)
{
  struct fuse_loop_config *config;
  int result;

  life->view = view;
  if (pthread_create (&life->signals, NULL, wait_for_signals, life) != 0)
    return 1;
  life->has_signals = TRUE;
  config = fuse_loop_cfg_create ();
  fuse_loop_cfg_set_max_threads (config, THREADS_MAX);
  fuse_loop_cfg_set_idle_threads (config, THREADS_IDLE);
  fsc_privileges_drop ();
  result = fuse_session_loop_mt (view->session, config);
  fsc_privileges_restore ();
  fuse_loop_cfg_destroy (config);
  fuse_session_unmount (view->session);
  pthread_kill (life->signals, SIGTERM); /* if it was unmounted by others: closing may hang */
  return result < 0 ? 1 : 0;
}

void
fsc_life_end (FscLife *life)
{
  if (!life->has_signals)
    return;
  g_mutex_lock (&life->lock);
  life->is_over = TRUE;
  g_cond_signal (&life->changed);
  g_mutex_unlock (&life->lock);
  pthread_join (life->signals, NULL);
}

void
fsc_life_free (FscLife *life)
{
  if (life->ready_fd >= 0)
    close (life->ready_fd);
  g_free (life);
}
