/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Waiting; see wait.h.
 */
#include "libclient/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "libclient/link.h"
#include "libclient/receive.h"
#include "libclient/send.h"

#define PACKETS_AT_ONCE 64

/* Milliseconds for poll(2): rounded up, so that the time has come when it returns. */
static int
get_timeout (int64_t until)
{
  int64_t left;

  if (until == FSC_NEVER)
    return -1;
  left = until - fsc_client_get_time ();
  if (left <= 0)
    return 0;
  left = (left + FSC_MILLISECOND - 1) / FSC_MILLISECOND;
  return left < INT_MAX ? (int) left : INT_MAX;
}

static int64_t
get_earlier (int64_t a, int64_t b)
{
  return a < b ? a : b;
}

void
fsc_client_wait_wake_one (FscacheClient *client)
{
  FscCall *call = TAILQ_FIRST (&client->waiting);

  if (call != NULL)
    pthread_cond_signal (&call->condition);
}

void
fsc_client_wait_wake_all (FscacheClient *client)
{
  FscCall *call;

  TAILQ_FOREACH (call, &client->waiting, in_waiting)
  pthread_cond_signal (&call->condition);
}

void
fsc_client_wait_expire (FscacheClient *client, FscCall *call, int64_t now)
{
  int64_t earliest = FSC_NEVER;

  for (size_t i = 0; i < call->n; i++)
    {
      FscOpening *opening = &call->openings[i];
      char text[64];
      uint32_t serial;

      if (opening->state != FSC_OPENING_QUEUED && opening->state != FSC_OPENING_SENT)
        continue;
      if (opening->deadline > now)
        {
          if (opening->deadline < earliest)
            earliest = opening->deadline;
          continue;
        }
      /* Without a service it can still be opened here. */
      if (opening->state == FSC_OPENING_QUEUED && opening->may_fall_back
          && (client->link.connection == NULL || !client->link.connection->is_ready))
        {
          opening->answer.is_local = true;
          fsc_client_call_answered (client, call, i);
          continue;
        }
      snprintf (text, sizeof text, "there was no answer within %u ms", opening->timeout_ms);
      fsc_client_answer_fail (&opening->answer, FSCACHE_ERROR_TIMED_OUT, ETIMEDOUT,
                              (FscBytes){ text, strlen (text) });
      opening->answer.is_phrase = true;
      serial = fsc_client_call_answered (client, call, i);
      if (serial != 0)
        fsc_client_send_cancel (client, serial);
    }
  call->deadline = earliest;
}

static bool
is_cancelled (const FscCall *call, const FscOpening *opening)
{
  return call->is_cancelled
         || (opening->cancel != NULL
             && __atomic_load_n (&opening->cancel->is_cancelled, __ATOMIC_SEQ_CST) != 0);
}

void
fsc_client_wait_cancel (FscacheClient *client, FscCall *call)
{
  for (size_t i = 0; i < call->n && call->n_open > 0; i++)
    {
      FscOpening *opening = &call->openings[i];
      uint32_t serial;

      if ((opening->state != FSC_OPENING_QUEUED && opening->state != FSC_OPENING_SENT)
          || !is_cancelled (call, opening))
        continue;
      fsc_client_answer_fail (&opening->answer, FSCACHE_ERROR_CANCELLED, ECANCELED,
                              (FscBytes){ 0 });
      serial = fsc_client_call_answered (client, call, i);
      if (serial != 0)
        fsc_client_send_cancel (client, serial);
    }
}

/* Closes without the lock what a packet has brought and nobody wanted: close() may wait. */
static void
close_unwanted (FscacheClient *client, FscFds *fds)
{
  bool is_any = false;

  for (unsigned i = 0; i < fds->n && !is_any; i++)
    is_any = fds->fds[i] >= 0;
  if (!is_any)
    return;
  fsc_client_unlock (client);
  fsc_fds_clear (fds);
  pthread_mutex_lock (&client->lock);
}

/* What came of a receive: a packet of `r` bytes, or a negative errno. */
static void
take_received (FscacheClient *client, ssize_t r, FscFds *fds, bool lost)
{
  if (r > 0)
    {
      client->link.n_quiet = 0;
      if (fsc_client_receive_packet (client, client->receive_buffer, (size_t) r, fds, lost) < 0)
        fsc_client_link_lose (client, true);
    }
  else if (r != -EAGAIN)
    fsc_client_link_lose (client, r == -EPROTO);

  if (r > 0 || client->is_full)
    fsc_client_send_queued (client);
  close_unwanted (client, fds);
}

/* Receives once for all, without the lock. */
static void
read_once (FscacheClient *client, int64_t until)
{
  FscConnection *connection = client->link.connection;
  bool is_full = client->is_full, lost = false;
  FscFds fds;
  ssize_t r = -EAGAIN;

  if (until != FSC_NEVER || is_full)
    {
      fsc_client_link_expect (client);
      until = get_earlier (until, fsc_client_link_get_time (client));
    }
  fds.n = 0;
  client->has_reader = true;
  fsc_client_connection_ref (connection);
  fsc_client_unlock (client);

  if (until == FSC_NEVER && !is_full)
    r = fsc_channel_receive (connection->fd, client->receive_buffer, FSC_PACKET_MAX, &fds,
                             FSC_FDS_MAX, &lost, 0);
  else
    {
      struct pollfd pollfd = { .fd = connection->fd, .events = POLLIN | (is_full ? POLLOUT : 0) };

      if (poll (&pollfd, 1, get_timeout (until)) > 0)
        r = fsc_channel_receive (connection->fd, client->receive_buffer, FSC_PACKET_MAX, &fds,
                                 FSC_FDS_MAX, &lost, MSG_DONTWAIT);
    }

  pthread_mutex_lock (&client->lock);
  client->has_reader = false;
  if (connection == client->link.connection)
    {
      take_received (client, r, &fds, lost);
      if (r == -EAGAIN)
        fsc_client_link_look (client);
    }
  else
    close_unwanted (client, &fds);
  fsc_client_connection_unref (connection);
  fsc_client_poller_update (client); /* some of it may be for fscache_dispatch() */
}

void
fsc_client_wait_read_available (FscacheClient *client)
{
  for (int i = 0; i < PACKETS_AT_ONCE && client->link.connection != NULL && !client->has_reader;
       i++)
    {
      FscFds fds;
      bool lost;
      ssize_t r;

      fds.n = 0;
      r = fsc_channel_receive (client->link.connection->fd, client->receive_buffer, FSC_PACKET_MAX,
                               &fds, FSC_FDS_MAX, &lost, MSG_DONTWAIT);
      take_received (client, r, &fds, lost);
      if (r == -EAGAIN)
        break;
    }
  if (client->link.next_look != FSC_NEVER)
    fsc_client_link_look (client);
}

/* The reader is in recvmsg(): who has something to send waits for room by itself. */
static void
wait_for_room (FscacheClient *client, int64_t until)
{
  FscConnection *connection = client->link.connection;
  struct pollfd pollfd = { .fd = connection->fd, .events = POLLOUT };

  fsc_client_connection_ref (connection);
  fsc_client_unlock (client);
  poll (&pollfd, 1, get_timeout (until));
  pthread_mutex_lock (&client->lock);
  if (connection == client->link.connection)
    fsc_client_send_queued (client);
  fsc_client_connection_unref (connection);
}

static void
wait_for_others (FscacheClient *client, FscCall *call, int64_t until)
{
  if (!call->has_condition)
    {
      pthread_condattr_t attributes;

      pthread_condattr_init (&attributes);
      pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
      pthread_cond_init (&call->condition, &attributes);
      pthread_condattr_destroy (&attributes);
      call->has_condition = true;
    }

  call->is_waiting = true;
  TAILQ_INSERT_TAIL (&client->waiting, call, in_waiting);
  if (until == FSC_NEVER)
    pthread_cond_wait (&call->condition, &client->lock);
  else
    {
      struct timespec time = { .tv_sec = until / (1000 * FSC_MILLISECOND),
                               .tv_nsec = until % (1000 * FSC_MILLISECOND) };

      pthread_cond_timedwait (&call->condition, &client->lock, &time);
    }
  TAILQ_REMOVE (&client->waiting, call, in_waiting);
  call->is_waiting = false;
}

/* Does what there is to do for this call, or waits for whoever does it. */
static void
step (FscacheClient *client, FscCall *call)
{
  FscLink *link = &client->link;
  int64_t until = call->deadline;

  if (until != FSC_NEVER)
    {
      int64_t now = fsc_client_get_time ();

      if (now >= until)
        {
          fsc_client_wait_expire (client, call, now);
          return;
        }
    }

  if (link->connection == NULL || !link->connection->is_ready)
    {
      fsc_client_link_ensure (client);
      fsc_client_poller_update (client);
      if (call->n_open == 0)
        return;
      until = get_earlier (until, fsc_client_link_get_time (client));
    }

  if (link->connection == NULL)
    wait_for_others (client, call, until);
  else if (!client->has_reader)
    read_once (client, until);
  else if (client->is_full && call->n_queued > 0)
    wait_for_room (client, until);
  else
    wait_for_others (client, call, until);
}

static bool
is_queued (const FscCall *call)
{
  for (size_t i = 0; i < call->n; i++)
    if (call->openings[i].state == FSC_OPENING_QUEUED)
      return true;
  return false;
}

void
fsc_client_wait (FscacheClient *client, FscCall *call)
{
  if (!is_queued (call))
    return;
  fsc_client_lock (client);
  fsc_client_call_add (client, call);
  fsc_client_wait_cancel (client, call);
  fsc_client_send_queued (client);
  while (call->n_open > 0)
    {
      step (client, call);
      if (call->has_news && !client->has_reader)
        fsc_client_wait_wake_one (client); /* somebody has to read meanwhile */
      if (call->has_news)
        fsc_client_call_tell (client, call);
    }
  fsc_client_call_remove (client, call);
  if (!client->has_reader)
    {
      if (TAILQ_EMPTY (&client->waiting))
        fsc_client_poller_resume (client);
      else
        fsc_client_wait_wake_one (client);
    }
  fsc_client_poller_update (client);
  fsc_client_unlock (client);
}
