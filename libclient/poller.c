/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The descriptor for event loops; see poller.h.
 */
#include "libclient/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "libclient/client.h"
#include "libclient/link.h"

void
fsc_client_poller_init (FscPoller *poller)
{
  *poller = (FscPoller){
    .epoll_fd = -1, .event_fd = -1, .timer_fd = -1, .socket = -1, .armed = FSC_NEVER
  };
}

void
fsc_client_poller_clear (FscPoller *poller)
{
  if (poller->epoll_fd >= 0)
    close (poller->epoll_fd);
  if (poller->event_fd >= 0)
    close (poller->event_fd);
  if (poller->timer_fd >= 0)
    close (poller->timer_fd);
  fsc_client_poller_init (poller);
}

static int
watch (int epoll_fd, int operation, int fd, uint32_t events)
{
  struct epoll_event event = { .events = events, .data.fd = fd };

  return epoll_ctl (epoll_fd, operation, fd, &event) < 0 ? -errno : 0;
}

static int
create (FscPoller *poller)
{
  poller->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  poller->event_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  poller->timer_fd = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (poller->epoll_fd < 0 || poller->event_fd < 0 || poller->timer_fd < 0)
    return -errno;
  if (watch (poller->epoll_fd, EPOLL_CTL_ADD, poller->event_fd, EPOLLIN) < 0
      || watch (poller->epoll_fd, EPOLL_CTL_ADD, poller->timer_fd, EPOLLIN) < 0)
    return -ENOMEM;
  return 0;
}

int
fsc_client_poller_get_fd (FscacheClient *client)
{
  FscPoller *poller = &client->poller;
  int r;

  if (poller->epoll_fd < 0)
    {
      r = create (poller);
      if (r < 0)
        {
          fsc_client_poller_clear (poller);
          return r;
        }
      fsc_client_poller_update (client);
    }
  return poller->epoll_fd;
}

void
fsc_client_poller_forked (FscacheClient *client)
{
  FscPoller *poller = &client->poller;
  int old = poller->epoll_fd;

  if (old < 0)
    return;
  close (poller->event_fd);
  close (poller->timer_fd);
  fsc_client_poller_init (poller);
  if (create (poller) < 0 || dup3 (poller->epoll_fd, old, O_CLOEXEC) < 0)
    {
      fsc_client_poller_clear (poller);
      close (old);
      return;
    }
  close (poller->epoll_fd);
  poller->epoll_fd = old;
}

static void
update_socket (FscacheClient *client)
{
  FscPoller *poller = &client->poller;
  FscConnection *connection = client->link.connection;
  uint32_t events = (poller->is_suspended ? 0 : EPOLLIN) | (client->is_full ? EPOLLOUT : 0);

  if (connection == NULL || (poller->socket == connection->fd && poller->events == events))
    return;
  if (events == 0)
    {
      /* Taken out, because with no events at all it would still report that the peer hung up. */
      fsc_client_poller_forget (client, connection->fd);
      return;
    }
  /* Without memory for it the timer will try again. */
  if (watch (poller->epoll_fd, poller->socket < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, connection->fd,
             events)
      == 0)
    {
      poller->socket = connection->fd;
      poller->events = events;
    }
}

static void
update_timer (FscacheClient *client)
{
  FscPoller *poller = &client->poller;
  struct itimerspec timer = { 0 };
  int64_t time;

  /* Once set, the time for the next look stays when answers come: that they have is seen then, and
   * meanwhile the timer need not be set with each request. */
  fsc_client_link_expect (client);
  time = fsc_client_link_get_time (client);
  if (client->async_deadline < time)
    time = client->async_deadline;
  if (client->link.connection != NULL && poller->socket < 0 && !poller->is_suspended)
    time = fsc_client_get_time () + FSC_MILLISECOND;
  if (time == poller->armed)
    return;
  poller->armed = time;
  if (time != FSC_NEVER)
    {
      if (time <= 0)
        time = 1; /* zero would stop the timer */
      timer.it_value.tv_sec = time / (1000 * FSC_MILLISECOND);
      timer.it_value.tv_nsec = time % (1000 * FSC_MILLISECOND);
    }
  timerfd_settime (poller->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

void
fsc_client_poller_update (FscacheClient *client)
{
  FscPoller *poller = &client->poller;

  if (poller->epoll_fd < 0)
    return;
  update_socket (client);
  update_timer (client);
  if ((!TAILQ_EMPTY (&client->due) || !TAILQ_EMPTY (&client->watchings.due))
      && !poller->is_signalled)
    poller->is_signalled = eventfd_write (poller->event_fd, 1) == 0;
}

void
fsc_client_poller_suspend (FscacheClient *client)
{
  client->poller.is_suspended = true;
}

void
fsc_client_poller_resume (FscacheClient *client)
{
  client->poller.is_suspended = false;
}

void
fsc_client_poller_forget (FscacheClient *client, int socket)
{
  FscPoller *poller = &client->poller;

  if (poller->epoll_fd < 0 || poller->socket != socket)
    return;
  /* By hand: a thread that still uses the descriptor keeps it open for a moment. */
  watch (poller->epoll_fd, EPOLL_CTL_DEL, socket, 0);
  poller->socket = -1;
}

void
fsc_client_poller_reset (FscacheClient *client)
{
  FscPoller *poller = &client->poller;
  eventfd_t value;

  if (poller->epoll_fd < 0)
    return;
  if (poller->is_signalled)
    eventfd_read (poller->event_fd, &value);
  poller->is_signalled = false;
  /* A timer that has expired is readable until it is set again. */
  if (poller->armed != FSC_NEVER && poller->armed <= fsc_client_get_time ())
    {
      struct itimerspec timer = { 0 };

      timerfd_settime (poller->timer_fd, 0, &timer, NULL);
      poller->armed = FSC_NEVER;
    }
}
