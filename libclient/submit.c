/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The interface for event loops: submit, cancel, dispatch; see fscache.h.
 *
 * A call with a callback is one block of memory: itself, its openings, their URIs. It is freed when
 * the last of its callbacks has returned. Callbacks are called from fscache_dispatch() (and
 * fscache_disconnect()) alone, so that a program knows in which thread, and under which of its own
 * locks, they run; another thread that receives an answer for one only makes the descriptor
 * readable.
 */
#include "libclient/submit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/finish.h"
#include "libclient/link.h"
#include "libclient/prepare.h"
#include "libclient/send.h"
#include "libclient/wait.h"

static FscCall *
new_call (const FscacheRequest *requests, size_t n, FscDirectory *directory, char **uris,
          size_t *size)
{
  FscCall *call;
  size_t head;

  *size = 0;
  for (size_t i = 0; i < n; i++)
    *size += fsc_client_get_uri_bound (requests[i].uri, directory);
  if (n > (SIZE_MAX / 4 - *size) / sizeof (FscOpening))
    return NULL;
  head = sizeof *call + n * sizeof (FscOpening);
  call = malloc (head + *size);
  if (call == NULL)
    return NULL;
  *uris = (char *) call + head;
  fsc_client_call_init (call, (FscOpening *) (call + 1), n, "open");
  return call;
}

static void
free_call (FscCall *call)
{
  fsc_client_call_clear (call);
  free (call);
}

int
fscache_submit (FscacheClient *client, const FscacheRequest *requests, size_t n,
                FscacheCallback callback, void *data, uint64_t *id)
{
  FscDirectory directory;
  FscCall *call;
  char *uris, *end;
  size_t size;

  if (callback == NULL || n >= FSC_CLIENT_NO_INDEX)
    return -EINVAL;
  if (n == 0)
    {
      if (id != NULL)
        *id = 0;
      return 0;
    }
  fsc_client_directory_init (&directory);
  call = new_call (requests, n, &directory, &uris, &size);
  if (call == NULL)
    return -ENOMEM;
  call->callback = callback;
  call->data = data;
  end = uris + size;
  for (size_t i = 0; i < n; i++)
    uris += fsc_client_prepare (client, &requests[i], &directory, &call->openings[i], uris,
                                (size_t) (end - uris));

  fsc_client_lock (client);
  if (client->is_closing)
    {
      fsc_client_unlock (client);
      free_call (call);
      return -ECANCELED;
    }
  fsc_client_call_add (client, call);
  fsc_client_wait_cancel (client, call);
  if (id != NULL)
    *id = call->id;
  fsc_client_link_ensure (client);
  fsc_client_send_queued (client);
  fsc_client_poller_update (client);
  fsc_client_unlock (client);
  return 0;
}

static void
cancel_call (FscacheClient *client, FscCall *call)
{
  call->is_cancelled = true;
  fsc_client_wait_cancel (client, call);
}

void
fscache_cancel (FscacheClient *client, uint64_t id)
{
  FscCall *call;

  fsc_client_lock (client);
  TAILQ_FOREACH (call, &client->calls, in_calls)
  if (call->id == id && call->callback != NULL)
    {
      cancel_call (client, call);
      break;
    }
  fsc_client_poller_update (client);
  fsc_client_unlock (client);
}

void
fscache_cancel_with (FscacheClient *client, FscacheCancel *cancel)
{
  FscCall *call;

  __atomic_store_n (&cancel->is_cancelled, 1, __ATOMIC_SEQ_CST);
  if (client == NULL)
    return;
  fsc_client_lock (client);
  TAILQ_FOREACH (call, &client->calls, in_calls)
  fsc_client_wait_cancel (client, call);
  fsc_client_poller_update (client);
  fsc_client_unlock (client);
}

/* Finishes one opening and calls its callback, both without the lock. Returns whether it is
 * finished, and not to be asked again. */
static bool
deliver_one (FscacheClient *client, FscCall *call, uint32_t index)
{
  FscOpening *opening = &call->openings[index];
  FscacheReply reply;

  if (!fsc_client_finish (client, call->verb, opening, &reply))
    return false;
  call->callback (client, index, &reply, call->data);
  return true;
}

/* Delivers what has been answered of one call. Returns how many callbacks were called. */
static int
deliver_call (FscacheClient *client, FscCall *call)
{
  uint32_t index = call->first_answered;
  int n = 0;

  TAILQ_REMOVE (&client->due, call, in_due);
  client->n_due--;
  call->is_due = false;
  call->first_answered = FSC_CLIENT_NO_INDEX;
  call->is_delivering = true; /* nobody else delivers or frees it meanwhile */

  if (call->has_news)
    fsc_client_call_tell (client, call);
  while (index != FSC_CLIENT_NO_INDEX)
    {
      uint32_t next = call->openings[index].next_answered;
      bool is_finished;

      fsc_client_unlock (client);
      is_finished = deliver_one (client, call, index);
      fsc_client_lock (client);
      if (is_finished)
        {
          call->openings[index].state = FSC_OPENING_FINISHED;
          call->n_finished++;
          n++;
        }
      else
        {
          fsc_client_call_queue (client, call, index);
          fsc_client_wait_cancel (client, call);
          fsc_client_send_queued (client);
        }
      index = next;
    }

  call->is_delivering = false;
  if (call->n_finished == call->n)
    {
      fsc_client_call_remove (client, call);
      free_call (call);
    }
  else if (call->first_answered != FSC_CLIENT_NO_INDEX || call->has_news)
    {
      call->is_due = true;
      client->n_due++;
      TAILQ_INSERT_TAIL (&client->due, call, in_due);
    }
  return n;
}

static void
expire_calls (FscacheClient *client)
{
  int64_t now, earliest = FSC_NEVER;
  FscCall *call;

  if (client->async_deadline == FSC_NEVER)
    return;
  now = fsc_client_get_time ();
  if (now < client->async_deadline)
    return;
  TAILQ_FOREACH (call, &client->calls, in_calls)
  {
    if (call->callback == NULL)
      continue;
    if (call->deadline <= now)
      fsc_client_wait_expire (client, call, now);
    if (call->deadline < earliest)
      earliest = call->deadline;
  }
  client->async_deadline = earliest;
}

/* Whether it is time to connect. */
static bool
is_wanted (FscacheClient *client)
{
  return !TAILQ_EMPTY (&client->unsent)
         || (!TAILQ_EMPTY (&client->watchings.unsent)
             && fsc_client_get_time () >= fsc_client_link_get_time (client));
}

int
fscache_dispatch (FscacheClient *client)
{
  int n_called = 0;
  size_t n_due;

  fsc_client_lock (client);
  fsc_client_poller_reset (client);
  if (client->has_reader)
    fsc_client_poller_suspend (client);
  fsc_client_wait_read_available (client);
  if (client->link.connection == NULL ? is_wanted (client) : !client->link.connection->is_ready)
    fsc_client_link_ensure (client);
  fsc_client_send_queued (client);
  expire_calls (client);

  /* What becomes due in callbacks waits for the next time, so that this one ends. */
  n_due = client->n_due;
  for (size_t i = 0; i < n_due && !TAILQ_EMPTY (&client->due); i++)
    n_called += deliver_call (client, TAILQ_FIRST (&client->due));
  n_called += fsc_client_watch_deliver (client);
  fsc_client_poller_update (client);
  fsc_client_unlock (client);
  return n_called;
}

int
fscache_get_poll_fd (FscacheClient *client)
{
  int fd;

  fsc_client_lock (client);
  fd = fsc_client_poller_get_fd (client);
  fsc_client_unlock (client);
  return fd;
}

void
fsc_client_submit_cancel_all (FscacheClient *client)
{
  FscCall *call;

  TAILQ_FOREACH (call, &client->calls, in_calls)
  {
    cancel_call (client, call);
    /* Nor is there time to open files now. */
    for (size_t i = 0; i < call->n; i++)
      if (call->openings[i].state == FSC_OPENING_ANSWERED && call->openings[i].answer.is_local)
        fsc_client_answer_fail (&call->openings[i].answer, FSCACHE_ERROR_CANCELLED, ECANCELED,
                                (FscBytes){ 0 });
  }
  while ((call = TAILQ_FIRST (&client->due)) != NULL)
    deliver_call (client, call);
}

/* Calls of threads are on the stacks of threads that are not in the child. One that is being
 * delivered is in use by the very thread that has forked in a callback: it is left without anything
 * to wait for, and freed when that thread returns. */
void
fsc_client_submit_forget (FscacheClient *client)
{
  FscCall *call, *next;

  for (call = TAILQ_FIRST (&client->calls); call != NULL; call = next)
    {
      next = TAILQ_NEXT (call, in_calls);
      if (call->callback != NULL && call->is_delivering)
        {
          for (size_t i = 0; i < call->n; i++)
            if (call->openings[i].state < FSC_OPENING_ANSWERED)
              {
                call->openings[i].state = FSC_OPENING_FINISHED;
                call->n_finished++;
              }
          call->n_open = call->n_queued = 0;
          continue;
        }
      TAILQ_REMOVE (&client->calls, call, in_calls);
      if (call->callback != NULL)
        free_call (call);
    }
  TAILQ_INIT (&client->unsent);
  TAILQ_INIT (&client->due);
  TAILQ_INIT (&client->waiting);
  client->n_due = 0;
  client->async_deadline = FSC_NEVER;
}
