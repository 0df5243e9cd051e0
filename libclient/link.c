/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether there is a service; see link.h.
 */
#include "libclient/link.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libclient/send.h"
#include "libclient/wait.h"

#define GRACE (3000 * FSC_MILLISECOND)
#define WELCOME_TIME (3000 * FSC_MILLISECOND)
#define PAUSE_FIRST (1 * FSC_MILLISECOND)
#define PAUSE_MAX (50 * FSC_MILLISECOND)
#define ABSENT_PAUSE (100 * FSC_MILLISECOND)
#define WATCH_PAUSE (900 * FSC_MILLISECOND) /* more, if only watches wait */
#define REFUSED_PAUSE (1000 * FSC_MILLISECOND)
#define STUCK_PAUSE (3000 * FSC_MILLISECOND)

/* A PING is sent in the third look that finds nothing, which is one to one and a half times this
 * after the last packet came; the connection is lost in the fifth, once this later. */
#define SILENCE_MS 10000
#define LOOKS_IN_SILENCE 2
#define QUIET_PING 3
#define QUIET_MAX (QUIET_PING + LOOKS_IN_SILENCE)

static const char silent[] = "the service does not answer: it hangs, or is stopped";

/* A request during which the service went away this often may be the reason for it. */
#define LOSSES_MAX 32
#define FAULTS_MAX 2

static FscBytes
bytes (const char *text)
{
  return (FscBytes){ text, strlen (text) };
}

/* Ends a queued opening without the service. */
static void
end_without_service (FscacheClient *client, FscCall *call, size_t index)
{
  FscOpening *opening = &call->openings[index];
  const FscTrouble *trouble = &client->link.trouble;

  fsc_client_answer_fail (&opening->answer, trouble->code, trouble->error,
                          opening->may_fall_back ? (FscBytes){ 0 } : bytes (trouble->text));
  opening->answer.is_local = opening->may_fall_back;
  opening->answer.is_phrase = true;
  fsc_client_call_answered (client, call, index);
}

static void
give_up (FscacheClient *client)
{
  FscCall *call;

  while ((call = TAILQ_FIRST (&client->unsent)) != NULL)
    for (size_t i = call->scan; i < call->n && call->n_queued > 0; i++)
      if (call->openings[i].state == FSC_OPENING_QUEUED)
        end_without_service (client, call, i);
  fsc_client_watch_give_up (client);
}

/* There is no service, and for so long there will be no new attempt. */
static void
be_without (FscacheClient *client, int64_t now, int64_t pause)
{
  client->link.grace_until = 0;
  client->link.next_attempt = now + pause;
  give_up (client);
}

static void
begin_grace (FscLink *link, int64_t now)
{
  link->had_grace = true;
  link->grace_until = now + GRACE;
}

static void
pause_longer (FscLink *link, int64_t now)
{
  link->pause = link->pause == 0 ? PAUSE_FIRST : link->pause * 2;
  if (link->pause > PAUSE_MAX)
    link->pause = PAUSE_MAX;
  link->next_attempt = now + link->pause;
}

static int
connect_to_first (FscacheClient *client)
{
  int r = -ENOENT;

  for (unsigned i = 0; i < FSC_CLIENT_PATHS_MAX && client->paths[i] != NULL; i++)
    {
      r = fsc_client_connection_new (client->paths[i], client->link.look_interval,
                                     &client->link.connection, &client->link.trouble);
      if (r != -ENOENT && r != -ENOTDIR)
        break;
    }
  return r;
}

static void
attempt (FscacheClient *client, int64_t now)
{
  FscLink *link = &client->link;
  int r = connect_to_first (client);

  if (r == 0)
    {
      link->connection->generation = ++link->generation;
      link->welcome_until = now + WELCOME_TIME;
      link->next_look = FSC_NEVER;
      link->n_quiet = 0;
      fsc_client_wait_wake_one (client);
      return;
    }

  /* A full backlog, or one that went before it was greeted: it is there, or was just now. Its first
   * requests wait, too. */
  if ((r == -EAGAIN || r == -EPIPE || r == -ECONNRESET) && !link->had_grace)
    begin_grace (link, now);

  if (link->trouble.code == FSCACHE_ERROR_REFUSED)
    be_without (client, now, REFUSED_PAUSE);
  else if (now < link->grace_until)
    pause_longer (link, now);
  else
    be_without (client, now, r == -EAGAIN ? STUCK_PAUSE : ABSENT_PAUSE);
}

void
fsc_client_link_close (FscacheClient *client)
{
  FscConnection *connection = client->link.connection;

  if (connection == NULL)
    return;
  client->link.connection = NULL;
  fsc_client_borrow_forget (client);
  fsc_client_poller_forget (client, connection->fd);
  shutdown (connection->fd, SHUT_RDWR); /* wakes who is using it */
  fsc_client_connection_unref (connection);
  fsc_client_send_forget (client);
}

/* What was sent on a connection that is lost is queued again, unless it had its chances. */
static void
take_back (FscacheClient *client, FscCall *call, size_t index, bool is_fault)
{
  FscOpening *opening = &call->openings[index];

  if (opening->happens_once)
    {
      fsc_client_answer_fail (
          &opening->answer, FSCACHE_ERROR_NO_SERVICE, ECONNRESET,
          bytes ("the service went away before it answered, and what was asked may not be done "
                 "twice; it may or may not have happened"));
      opening->answer.is_phrase = true;
      fsc_client_call_answered (client, call, index);
    }
  else if (is_fault && ++opening->faults >= FAULTS_MAX)
    {
      fsc_client_answer_fail (&opening->answer, FSCACHE_ERROR_PROTOCOL, EPROTO, (FscBytes){ 0 });
      fsc_client_call_answered (client, call, index);
    }
  else if (++opening->losses >= LOSSES_MAX)
    end_without_service (client, call, index);
  else
    fsc_client_call_queue (client, call, index);
}

static void
take_all_back (FscacheClient *client, bool is_fault)
{
  FscCall *call;

  TAILQ_FOREACH (call, &client->calls, in_calls)
  for (size_t i = 0; i < call->n && call->n_queued < call->n_open; i++)
    if (call->openings[i].state == FSC_OPENING_SENT)
      take_back (client, call, i, is_fault);
}

static void
set_trouble (FscTrouble *trouble, FscacheCode code, int error, const char *text)
{
  trouble->code = code;
  trouble->error = error;
  snprintf (trouble->text, sizeof trouble->text, "%s", text);
}

static void
set_lost (FscTrouble *trouble, bool is_fault)
{
  if (is_fault)
    set_trouble (trouble, FSCACHE_ERROR_PROTOCOL, EPROTO, "the service sends nonsense");
  else
    set_trouble (trouble, FSCACHE_ERROR_NO_SERVICE, ECONNRESET,
                 "the service closes the connection");
}

/* Why is in link->trouble. */
static void
lose (FscacheClient *client, bool is_fault)
{
  FscLink *link = &client->link;
  int64_t now = fsc_client_get_time ();
  bool was_ready;

  was_ready = link->connection->is_ready;
  fsc_client_link_close (client);
  if (was_ready)
    {
      begin_grace (link, now);
      take_all_back (client, is_fault);
      fsc_client_watch_lost (client);
      link->trouble.code = FSCACHE_ERROR_NO_SERVICE;
      if (link->pause == 0)
        link->next_attempt = now;
      else
        pause_longer (link, now); /* nothing was answered since the last loss */
    }
  else if (is_fault)
    be_without (client, now, REFUSED_PAUSE);
  else
    {
      /* It is stopping, or restarting. */
      if (!link->had_grace)
        begin_grace (link, now);
      if (now < link->grace_until)
        pause_longer (link, now);
      else
        be_without (client, now, ABSENT_PAUSE);
    }
  /* Who waited for the reader now must wait for the time of the next attempt. */
  fsc_client_wait_wake_all (client);
}

void
fsc_client_link_lose (FscacheClient *client, bool is_fault)
{
  if (client->link.connection == NULL)
    return;
  set_lost (&client->link.trouble, is_fault);
  lose (client, is_fault);
}

/* Silence */

void
fsc_client_link_init (FscLink *link)
{
  const char *text = secure_getenv ("FSCACHE_SILENCE_MS");
  unsigned long ms = text != NULL ? strtoul (text, NULL, 10) : SILENCE_MS;

  if (ms < LOOKS_IN_SILENCE || ms > INT_MAX)
    ms = SILENCE_MS;
  link->look_interval = (int64_t) ms * FSC_MILLISECOND / LOOKS_IN_SILENCE;
  link->next_look = FSC_NEVER;
}

/* Whether the service owes something: an answer, or to read. */
static bool
owes (const FscacheClient *client)
{
  return client->link.connection != NULL && client->link.connection->is_ready
         && (client->slots.n_sent > 0 || client->watchings.n_unanswered > 0 || client->is_full);
}

void
fsc_client_link_expect (FscacheClient *client)
{
  FscLink *link = &client->link;

  if (link->next_look == FSC_NEVER && owes (client))
    link->next_look = fsc_client_get_time () + link->look_interval;
}

void
fsc_client_link_look (FscacheClient *client)
{
  FscLink *link = &client->link;
  int64_t now = fsc_client_get_time ();

  /* Threads and the event loop may both come here, for the same interval. */
  if (link->next_look != FSC_NEVER && now < link->next_look)
    return;
  link->next_look = FSC_NEVER;
  if (!owes (client))
    return;
  link->next_look = now + link->look_interval;
  link->n_quiet++;
  if (link->n_quiet == QUIET_PING)
    fsc_client_send_ping (client);
  else if (link->n_quiet >= QUIET_MAX)
    {
      set_trouble (&link->trouble, FSCACHE_ERROR_NO_SERVICE, ETIMEDOUT, silent);
      lose (client, false);
    }
}

void
fsc_client_link_ensure (FscacheClient *client)
{
  FscLink *link = &client->link;
  int64_t now;

  if (client->is_closing)
    {
      set_lost (&link->trouble, false);
      give_up (client);
      return;
    }
  if (link->connection != NULL && link->connection->is_ready)
    return;

  now = fsc_client_get_time ();
  if (link->connection == NULL)
    {
      if (now >= link->next_attempt)
        attempt (client, now);
      else if (now >= link->grace_until)
        give_up (client);
    }
  else if (now >= link->welcome_until)
    {
      fsc_client_link_close (client);
      set_trouble (&link->trouble, FSCACHE_ERROR_NO_SERVICE, ETIMEDOUT, silent);
      be_without (client, now, STUCK_PAUSE);
      fsc_client_wait_wake_all (client);
    }
}

int64_t
fsc_client_link_get_time (FscacheClient *client)
{
  const FscLink *link = &client->link;

  if (link->connection == NULL && !TAILQ_EMPTY (&client->unsent))
    return link->next_attempt;
  if (link->connection == NULL)
    return TAILQ_EMPTY (&client->watchings.unsent)
               ? FSC_NEVER
               : link->next_attempt + (link->grace_until == 0 ? WATCH_PAUSE : 0);
  return client->link.connection->is_ready ? client->link.next_look : client->link.welcome_until;
}

void
fsc_client_link_welcome (FscacheClient *client, const FscWelcome *welcome)
{
  static const char alone[] = "the service lets no client speak for others";
  FscLink *link = &client->link;
  int r;

  if (client->user != NULL && !link->connection->is_speaking)
    {
      r = fsc_client_connection_speak_for (link->connection, welcome, client->user);
      if (r == -EACCES)
        fsc_client_link_refused (
            client, &(FscError){ FSC_CODE_REFUSED, EACCES, { alone, sizeof alone - 1 } });
      else if (r < 0)
        fsc_client_link_lose (client, false);
      return;
    }
  if (fsc_client_connection_welcome (link->connection, welcome) < 0)
    {
      fsc_client_link_lose (client, true);
      return;
    }
  link->had_grace = false;
  link->grace_until = 0;
}

void
fsc_client_link_refused (FscacheClient *client, const FscError *error)
{
  FscLink *link = &client->link;

  fsc_client_link_close (client);
  link->trouble.code = (FscacheCode) error->code;
  link->trouble.error = error->error > 0 ? error->error : EACCES;
  snprintf (link->trouble.text, sizeof link->trouble.text, "%.*s",
            error->text.length > 0 ? (int) error->text.length : 27,
            error->text.length > 0 ? error->text.data : "the service refuses to talk");
  be_without (client, fsc_client_get_time (), REFUSED_PAUSE);
  fsc_client_wait_wake_all (client);
}
