/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What happens to the file tree; see changes.h.
 */
#include "fscache/changes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fscache/failure.h"

/* A directory in which much happens that concerns nobody is not looked into at each event: after so
 * many in vain within a while it is once in a while, until they are fewer. Of hits in a storm that
 * disturbs far less than one in 100; but what is borrowed then may have changed a while ago. */
#define VAIN_MAX 40
#define WHILE_MS 4

struct FscChanges
{
  FscLoop *loop;
  FscWatches *watches;

  /* To catch up. The kernel tells of a change of mounts once to each who has the file open, and an
   * epoll within another would take it from whoever asks next: so there are two. */
  int epoll_fd;
  int mounts_fd;

  /* For what happens while nobody asks. */
  FscPoll events, mounts;
  guint look;     /* source id, in a storm */
  guint64 n_vain; /* events in this while */
  gint64 since;
};

static int
open_mounts (void)
{
  return open ("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
}

static void
mounts_ready (FscPoll *poll, guint32 events)
{
  fsc_watches_lose (((FscChanges *) poll->data)->watches);
}

static void
read_events (FscChanges *changes)
{
  const FscWatchCounters *counters = fsc_watches_get_counters (changes->watches);
  guint64 events = counters->events, told = counters->told;

  fsc_watches_read (changes->watches);
  if (counters->told == told)
    changes->n_vain += counters->events - events;
}

static gboolean
look_again (gpointer data)
{
  FscChanges *changes = data;
  gboolean is_storm;

  read_events (changes);
  is_storm = changes->n_vain >= VAIN_MAX;
  changes->n_vain = 0;
  if (is_storm || !fsc_loop_add (changes->loop, &changes->events, EPOLLIN))
    return G_SOURCE_CONTINUE;
  changes->look = 0;
  return G_SOURCE_REMOVE;
}

static void
events_ready (FscPoll *poll, guint32 events)
{
  FscChanges *changes = poll->data;
  gint64 time = fsc_loop_get_time (changes->loop);

  if (time - changes->since > WHILE_MS * 1000)
    {
      changes->since = time;
      changes->n_vain = 0;
    }
  read_events (changes);
  if (changes->n_vain < VAIN_MAX)
    return;
  changes->n_vain = 0;
  changes->look = fsc_loop_add_timeout (changes->loop, WHILE_MS, look_again, changes);
  fsc_loop_remove (changes->loop, poll); /* to wait for nothing would wake each time all the same */
}

void
fsc_changes_catch_up (FscChanges *changes)
{
  struct epoll_event events[2];
  int n = epoll_wait (changes->epoll_fd, events, G_N_ELEMENTS (events), 0);

  for (int i = 0; i < n; i++)
    if (events[i].data.fd == changes->mounts_fd)
      fsc_watches_lose (changes->watches);
    else
      read_events (changes);
}

FscWatches *
fsc_changes_get_watches (FscChanges *changes)
{
  return changes->watches;
}

/* Life */

static gboolean
add (FscChanges *changes, int fd, guint32 events)
{
  struct epoll_event event = { .events = events, .data.fd = fd };

  return fd >= 0 && epoll_ctl (changes->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

FscChanges *
fsc_changes_new (FscLoop *loop, FscWatchFunc func, gpointer data, GError **error)
{
  g_autoptr (FscChanges) changes = g_new0 (FscChanges, 1);

  changes->loop = loop;
  changes->epoll_fd = changes->mounts_fd = changes->events.fd = changes->mounts.fd = -1;
  changes->watches = fsc_watches_new (func, data, error);
  if (changes->watches == NULL)
    return NULL;
  changes->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  changes->mounts_fd = open_mounts ();
  changes->events = (FscPoll){ fsc_watches_get_fd (changes->watches), events_ready, changes };
  changes->mounts = (FscPoll){ open_mounts (), mounts_ready, changes };
  if (!add (changes, changes->events.fd, EPOLLIN) || !add (changes, changes->mounts_fd, EPOLLPRI)
      || !fsc_loop_add (loop, &changes->events, EPOLLIN) || changes->mounts.fd < 0
      || !fsc_loop_add (loop, &changes->mounts, EPOLLPRI | EPOLLET))
    {
      fsc_failure_set_errno (error, errno, "cannot learn of what happens to files");
      return NULL;
    }
  return g_steal_pointer (&changes);
}

static void
close_if_open (int fd)
{
  if (fd >= 0)
    close (fd);
}

void
fsc_changes_free (FscChanges *changes)
{
  g_clear_handle_id (&changes->look, g_source_remove);
  if (changes->events.fd >= 0)
    fsc_loop_remove (changes->loop, &changes->events);
  if (changes->mounts.fd >= 0)
    fsc_loop_remove (changes->loop, &changes->mounts);
  close_if_open (changes->mounts.fd);
  close_if_open (changes->mounts_fd);
  close_if_open (changes->epoll_fd);
  g_clear_pointer (&changes->watches, fsc_watches_free);
  g_free (changes);
}
