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

/* What one epoll descriptor has told. */
typedef struct
{
  int epoll_fd;
  int n_events;
  struct epoll_event events[EVENTS_MAX];
} Set;

struct FscLoop
{
  GSource *source;
  Set set;
  int wakeup_fd; /* GLib's, once it is known */
  gboolean (*before_wait) (gpointer data);
  gpointer data;
  guint n_groups;
  gboolean has_more; /* to be done before a wait */
  gint64 time;       /* when the events of this turn came */
};

struct FscLoopGroup
{
  FscPoll poll;
  FscLoop *loop;
  Set set;
  int most; /* events that are handled whatever it takes */
  void (*after) (gpointer data);
  gpointer data;
  gboolean is_busy; /* its events are being handled */
  gboolean is_dead; /* and then it is to be freed */
};

/* Asks for up to so many events, and handles them. Returns how many there were.
 *
 * Where there are groups the last one comes first: what is ready all the time the kernel puts at
 * the end of its list as it tells of it, so who has come since then is behind that. */
static int
handle_events (FscLoop *loop, Set *set, int most, int timeout, gboolean *is_woken)
{
  gboolean is_last_first = loop->n_groups > 0;
  int n = epoll_wait (set->epoll_fd, set->events, most, timeout);

  set->n_events = MAX (n, 0);
  if (set == &loop->set)
    loop->time = g_get_monotonic_time ();
  for (int i = 0; i < set->n_events; i++)
    {
      const struct epoll_event *event = &set->events[is_last_first ? n - 1 - i : i];
      FscPoll *poll = event->data.ptr;

      if (poll == (FscPoll *) &loop->wakeup_fd)
        *is_woken = TRUE;
      else if (poll != NULL)
        poll->ready (poll, event->events);
    }
  set->n_events = 0;
  return n;
}

static gboolean
prepare (GSource *source, int *timeout)
{
  FscLoop *loop = ((LoopSource *) source)->loop;

  loop->has_more = loop->before_wait (loop->data);
  *timeout = loop->has_more ? 0 : -1;
  return FALSE;
}

/* Takes part in one turn. Returns whether anything happened, and in *is_woken whether GLib is
 * meant.
 */
static gboolean
turn (FscLoop *loop, int timeout, gboolean *is_woken)
{
  return handle_events (loop, &loop->set, EVENTS_MAX, timeout, is_woken) > 0;
}

/* Waits for events, and handles them, until GLib has something to do. `fds` are GLib's wakeup
 * descriptor and our epoll descriptor, unless somebody has added a source with another one: then
 * poll() it is. */
static int
wait_for_events (GPollFD *fds, guint n_fds, int timeout)
{
  FscLoop *loop = polled_loop;
  guint own = n_fds == 2 && fds[1].fd == loop->set.epoll_fd;
  GPollFD *wakeup = &fds[1 - own];
  gboolean is_woken = FALSE;
  gint64 due;

  if (n_fds != 2 || fds[own].fd != loop->set.epoll_fd)
    {
      int n_ready = g_poll (fds, n_fds, timeout);

      turn (loop, 0, &is_woken);
      return n_ready;
    }
  if (wakeup->fd != loop->wakeup_fd)
    {
      struct epoll_event event = { .events = EPOLLIN, .data.ptr = &loop->wakeup_fd };

      loop->wakeup_fd = wakeup->fd;
      epoll_ctl (loop->set.epoll_fd, EPOLL_CTL_ADD, wakeup->fd, &event);
    }

  due = timeout > 0 ? loop->time + timeout * 1000LL : timeout;
  while (turn (loop, timeout, &is_woken) || loop->has_more)
    {
      fds[own].revents = G_IO_IN;
      if (is_woken || (due >= 0 && loop->time >= due))
        break;
      loop->has_more = loop->before_wait (loop->data);
      timeout = loop->has_more ? 0 : due >= 0 ? (int) ((due - loop->time + 999) / 1000) : -1;
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
fsc_loop_new (gboolean (*before_wait) (gpointer data), gpointer data, GError **error)
{
  static GSourceFuncs funcs = { .prepare = prepare, .dispatch = dispatch };
  FscLoop *loop = g_new0 (FscLoop, 1);

  loop->before_wait = before_wait;
  loop->data = data;
  loop->wakeup_fd = -1;
  loop->time = g_get_monotonic_time ();
  loop->set.epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  if (loop->set.epoll_fd < 0)
    {
      fsc_failure_set_errno (error, errno, "cannot make an epoll");
      g_free (loop);
      return NULL;
    }
  loop->source = g_source_new (&funcs, sizeof (LoopSource));
  ((LoopSource *) loop->source)->loop = loop;
  g_source_add_unix_fd (loop->source, loop->set.epoll_fd, G_IO_IN);
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
  close (loop->set.epoll_fd);
  g_free (loop);
}

static Set *
get_set (FscLoop *loop, const FscPoll *poll)
{
  return poll->group != NULL ? &poll->group->set : &loop->set;
}

gboolean
fsc_loop_add (FscLoop *loop, FscPoll *poll, guint32 events)
{
  struct epoll_event event = { .events = events, .data.ptr = poll };

  return epoll_ctl (get_set (loop, poll)->epoll_fd, EPOLL_CTL_ADD, poll->fd, &event) == 0;
}

void
fsc_loop_modify (FscLoop *loop, FscPoll *poll, guint32 events)
{
  struct epoll_event event = { .events = events, .data.ptr = poll };

  epoll_ctl (get_set (loop, poll)->epoll_fd, EPOLL_CTL_MOD, poll->fd, &event);
}

void
fsc_loop_remove (FscLoop *loop, FscPoll *poll)
{
  Set *set = get_set (loop, poll);

  epoll_ctl (set->epoll_fd, EPOLL_CTL_DEL, poll->fd, NULL);
  for (int i = 0; i < set->n_events; i++)
    if (set->events[i].data.ptr == poll)
      set->events[i].data.ptr = NULL;
}

/* Groups */

/* All that was asked for is handled: the kernel hands out in turn what is ready, and would not know
 * of what was put off. */
static void
group_ready (FscPoll *poll, guint32 events)
{
  FscLoopGroup *group = poll->data;
  gint64 start = g_get_monotonic_time ();

  group->is_busy = TRUE;
  while (handle_events (group->loop, &group->set, group->most, 0, NULL) == group->most
         && g_get_monotonic_time () - start < FSC_LOOP_SLICE)
    ;
  if (group->after != NULL && !group->is_dead)
    group->after (group->data);
  group->is_busy = FALSE;
  if (group->is_dead)
    fsc_loop_group_free (group);
}

FscLoopGroup *
fsc_loop_group_new (FscLoop *loop, guint most, void (*after) (gpointer data), gpointer data)
{
  FscLoopGroup *group = g_new0 (FscLoopGroup, 1);

  group->loop = loop;
  group->most = (int) MIN (most, EVENTS_MAX);
  group->after = after;
  group->data = data;
  group->set.epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  group->poll = (FscPoll){ .fd = group->set.epoll_fd, .ready = group_ready, .data = group };
  if (group->set.epoll_fd >= 0 && fsc_loop_add (loop, &group->poll, EPOLLIN))
    {
      loop->n_groups++;
      return group;
    }
  if (group->set.epoll_fd >= 0)
    close (group->set.epoll_fd);
  g_free (group);
  return NULL;
}

void
fsc_loop_group_free (FscLoopGroup *group)
{
  if (group->is_busy)
    {
      group->is_dead = TRUE;
      return;
    }
  group->loop->n_groups--;
  fsc_loop_remove (group->loop, &group->poll);
  close (group->set.epoll_fd);
  g_free (group);
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
