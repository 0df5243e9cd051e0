/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One epoll descriptor as one GSource; see loop.h.
 */
#include "fscache/loop.h"

#include <errno.h>
#include <gio/gio.h>
#include <unistd.h>

#define EVENTS_MAX 64

typedef struct
{
  GSource source;
  FscLoop *loop;
} LoopSource;

struct FscLoop
{
  GSource *source;
  int epoll_fd;
  void (*before_wait) (gpointer data);
  gpointer data;
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

static gboolean
dispatch (GSource *source, GSourceFunc callback, gpointer data)
{
  FscLoop *loop = ((LoopSource *) source)->loop;

  loop->n_events = epoll_wait (loop->epoll_fd, loop->events, EVENTS_MAX, 0);
  for (int i = 0; i < loop->n_events; i++)
    {
      FscPoll *poll = loop->events[i].data.ptr;

      if (poll != NULL)
        poll->ready (poll, loop->events[i].events);
    }
  loop->n_events = 0;
  return G_SOURCE_CONTINUE;
}

FscLoop *
fsc_loop_new (void (*before_wait) (gpointer data), gpointer data, GError **error)
{
  static GSourceFuncs funcs = { .prepare = prepare, .dispatch = dispatch };
  FscLoop *loop = g_new0 (FscLoop, 1);

  loop->before_wait = before_wait;
  loop->data = data;
  loop->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  if (loop->epoll_fd < 0)
    {
      g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "cannot make an epoll: %s",
                   g_strerror (errno));
      g_free (loop);
      return NULL;
    }
  loop->source = g_source_new (&funcs, sizeof (LoopSource));
  ((LoopSource *) loop->source)->loop = loop;
  g_source_add_unix_fd (loop->source, loop->epoll_fd, G_IO_IN);
  g_source_set_static_name (loop->source, "fscached descriptors");
  g_source_attach (loop->source, NULL);
  return loop;
}

void
fsc_loop_free (FscLoop *loop)
{
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
