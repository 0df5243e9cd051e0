/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One epoll descriptor as one GSource; see loop.h.
 */
#include "fscache/loop.h"

#include <errno.h>
#include <unistd.h>

#include "fscache/failure.h"

#define EVENTS_MAX 64

/* GLib would poll() the epoll descriptor, and only then could it be asked: two system calls a turn
 * where one does. So GLib's poll function is replaced by one that waits in epoll_wait(), with
 * GLib's own wakeup descriptor among the watched. It is given no data: this is the one variable of
 * the service that does not hang off its FscServer.
 *
 * That function also handles the events: a turn of GLib's costs as much as a system call. GLib gets
 * its turn when the first of its timers is due, and when it is woken. So a timer that is set
 * meanwhile has to wake it: fsc_loop_add_timeout() does, as does g_source_set_ready_time(). */
static FscLoop *polled_loop;

typedef struct
{
  GSource source;
  FscLoop *loop;
} LoopSource;

struct FscLoop
{
  GSource *source;
  int epoll_fd;
  int wakeup_fd; /* GLib's, once it is known */
  void (*before_wait) (gpointer data);
  gpointer data;
  gint64 time; /* when the events of this turn came */
  int n_events;
  struct epoll_event events[EVENTS_MAX]; /* of this turn */
};

static gboolean
prepare (GSource *source, int *timeout)
{
  FscLoop *loop = ((LoopSource *) source)->loop;

  *timeout = -1;
  loop->before_wait (loop->data);
  return FALSE;
}

/* Takes part in one turn. Returns whether anything happened, and in *is_woken whether GLib is
 * meant.
 */
static gboolean
turn (FscLoop *loop, int timeout, gboolean *is_woken)
{
  int n = epoll_wait (loop->epoll_fd, loop->events, EVENTS_MAX, timeout);

  loop->n_events = MAX (n, 0);
  loop->time = g_get_monotonic_time ();
  for (int i = 0; i < loop->n_events; i++)
    {
      FscPoll *poll = loop->events[i].data.ptr;

      if (poll == (FscPoll *) &loop->wakeup_fd)
        *is_woken = TRUE;
      else if (poll != NULL)
        poll->ready (poll, loop->events[i].events);
    }
  loop->n_events = 0;
  return n > 0;
}

/* Waits for events, and handles them, until GLib has something to do. `fds` are GLib's wakeup
 * descriptor and our epoll descriptor, unless somebody has added a source with another one: then
 * poll() it is. */
static int
wait_for_events (GPollFD *fds, guint n_fds, int timeout)
{
  FscLoop *loop = polled_loop;
  guint own = n_fds == 2 && fds[1].fd == loop->epoll_fd;
  GPollFD *wakeup = &fds[1 - own];
  gboolean is_woken = FALSE;
  gint64 due;

  if (n_fds != 2 || fds[own].fd != loop->epoll_fd)
    {
      int n_ready = g_poll (fds, n_fds, timeout);

      turn (loop, 0, &is_woken);
      return n_ready;
    }
  if (wakeup->fd != loop->wakeup_fd)
    {
      struct epoll_event event = { .events = EPOLLIN, .data.ptr = &loop->wakeup_fd };

      loop->wakeup_fd = wakeup->fd;
      epoll_ctl (loop->epoll_fd, EPOLL_CTL_ADD, wakeup->fd, &event);
    }

  due = timeout > 0 ? loop->time + timeout * 1000LL : timeout;
  while (turn (loop, timeout, &is_woken))
    {
      fds[own].revents = G_IO_IN;
      if (is_woken || (due >= 0 && loop->time >= due))
        break;
      loop->before_wait (loop->data);
      timeout = due >= 0 ? (int) ((due - loop->time + 999) / 1000) : -1;
    }
  wakeup->revents = is_woken ? G_IO_IN : 0;
  return (fds[own].revents != 0) + (wakeup->revents != 0);
}

/* All has been done in wait_for_events(). */
static gboolean
dispatch (GSource *source, GSourceFunc callback, gpointer data)
{
  return G_SOURCE_CONTINUE;
}

FscLoop *
fsc_loop_new (void (*before_wait) (gpointer data), gpointer data, GError **error)
{
  static GSourceFuncs funcs = { .prepare = prepare, .dispatch = dispatch };
  FscLoop *loop = g_new0 (FscLoop, 1);

  loop->before_wait = before_wait;
  loop->data = data;
  loop->wakeup_fd = -1;
  loop->time = g_get_monotonic_time ();
  loop->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  if (loop->epoll_fd < 0)
    {
      fsc_failure_set_errno (error, errno, "cannot make an epoll");
      g_free (loop);
      return NULL;
    }
  loop->source = g_source_new (&funcs, sizeof (LoopSource));
  ((LoopSource *) loop->source)->loop = loop;
  g_source_add_unix_fd (loop->source, loop->epoll_fd, G_IO_IN);
  g_source_set_static_name (loop->source, "fscached descriptors");
  /* What is done before the wait may set timers: GLib is to look at those after. */
  g_source_set_priority (loop->source, G_PRIORITY_HIGH);
  /* GLib takes a source that may not recurse out of its poll set while it is dispatched, and puts
   * it back after: three system calls a turn, through its wakeup descriptor. Nothing here runs a
   * loop within. */
  g_source_set_can_recurse (loop->source, TRUE);
  g_source_attach (loop->source, NULL);
  polled_loop = loop;
  g_main_context_set_poll_func (NULL, wait_for_events);
  return loop;
}

void
fsc_loop_free (FscLoop *loop)
{
  g_main_context_set_poll_func (NULL, NULL);
  polled_loop = NULL;
  g_source_destroy (loop->source);
  g_source_unref (loop->source);
  close (loop->epoll_fd);
  g_free (loop);
}

gboolean
fsc_loop_add (FscLoop *loop, FscPoll *poll, guint32 events)
{
  struct epoll_event event = { .events = events, .data.ptr = poll };

  return epoll_ctl (loop->epoll_fd, EPOLL_CTL_ADD, poll->fd, &event) == 0;
}

void
fsc_loop_modify (FscLoop *loop, FscPoll *poll, guint32 events)
{
  struct epoll_event event = { .events = events, .data.ptr = poll };

  epoll_ctl (loop->epoll_fd, EPOLL_CTL_MOD, poll->fd, &event);
}

void
fsc_loop_remove (FscLoop *loop, FscPoll *poll)
{
  epoll_ctl (loop->epoll_fd, EPOLL_CTL_DEL, poll->fd, NULL);
  for (int i = 0; i < loop->n_events; i++)
    if (loop->events[i].data.ptr == poll)
      loop->events[i].data.ptr = NULL;
}

guint
fsc_loop_add_timeout (FscLoop *loop, guint ms, GSourceFunc func, gpointer data)
{
  guint id = g_timeout_add (ms, func, data);

  g_main_context_wakeup (NULL);
  return id;
}

gint64
fsc_loop_get_time (FscLoop *loop)
{
  return loop->time;
}
