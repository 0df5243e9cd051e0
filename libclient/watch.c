/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watches; see watch.h and fscache.h.
 */
#include "libclient/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libclient/client.h"
#include "libclient/finish.h"
#include "libclient/link.h"
#include "libclient/prepare.h"
#include "libclient/send.h"
#include "libclient/wait.h"

#define TABLE_LEAST 16
#define TABLE_MOST 65536 /* serials of requests begin here */
#define PACKET_MAX (sizeof (FscWireHeader) + sizeof (FscWireItem) + FSC_URI_MAX + 4)

/* Reasons are the same numbers on the wire and in the library. */
_Static_assert((int) FSCACHE_EVENT_FAILED == FSC_REASON_FAILED, "");
_Static_assert((int) FSCACHE_EVENT_DROPPED == FSC_REASON_DROPPED, "");

struct FscWatching
{
  TAILQ_ENTRY (FscWatching) in_all;
  TAILQ_ENTRY (FscWatching) in_unsent; /* while !is_sent and !has_ended */
  TAILQ_ENTRY (FscWatching) in_due;    /* while is_due */
  uint64_t id;
  uint32_t number; /* its serial */
  FscacheEventCallback callback;
  void *data;
  FscOpening opening; /* what is asked; its answer is never set */

  bool is_sent;
  bool is_answered; /* something has come for it on this connection */
  bool has_begun;   /* and on any */
  bool is_missing;  /* that there is no service was told */
  bool has_ended;   /* the last event is due, or was delivered */
  bool is_due;
  bool is_delivering; /* its callback is being called: then nobody else frees it */
  bool is_removed;

  /* The event that waits, while is_due. */
  FscacheEventReason reason;
  uint32_t n_coalesced;
  uint64_t generation;
  FscAnswer answer;
  int litter; /* a descriptor to be closed without the lock; or -1 */

  char uri[];
};

/* Numbers */

static int
grow (FscWatchings *watchings)
{
  uint32_t size = watchings->size == 0 ? TABLE_LEAST : watchings->size * 2;
  FscWatching **larger;

  if (size > TABLE_MOST)
    return -ENOSPC;
  larger = realloc (watchings->table, size * sizeof *larger);
  if (larger == NULL)
    return -ENOMEM;
  memset (larger + watchings->size, 0, (size - watchings->size) * sizeof *larger);
  watchings->table = larger;
  watchings->size = size;
  return 0;
}

/* Goes round, so that a number is not used again at once. 0 is none. */
static int
take_number (FscWatchings *watchings, FscWatching *watching)
{
  if (watchings->n + 1 >= watchings->size / 2)
    {
      int r = grow (watchings);

      if (r < 0)
        return r;
    }
  do
    watchings->last = (watchings->last + 1) % watchings->size;
  while (watchings->last == 0 || watchings->table[watchings->last] != NULL);
  watching->number = watchings->last;
  watchings->table[watching->number] = watching;
  watchings->n++;
  return 0;
}

static FscWatching *
find (const FscWatchings *watchings, uint32_t serial)
{
  return serial < watchings->size ? watchings->table[serial] : NULL;
}

/* Life */

void
fsc_client_watch_init (FscWatchings *watchings)
{
  memset (watchings, 0, sizeof *watchings);
  TAILQ_INIT (&watchings->all);
  TAILQ_INIT (&watchings->unsent);
  TAILQ_INIT (&watchings->due);
}

static void
set_sent (FscWatchings *watchings, FscWatching *watching, bool is_sent)
{
  if (watching->is_sent && !watching->is_answered && !watching->has_ended)
    watchings->n_unanswered--;
  if (!watching->is_sent && !watching->has_ended)
    TAILQ_REMOVE (&watchings->unsent, watching, in_unsent);
  watching->is_sent = is_sent;
  watching->is_answered = false;
  if (is_sent)
    watchings->n_unanswered++;
  else
    TAILQ_INSERT_TAIL (&watchings->unsent, watching, in_unsent);
}

static void
set_answered (FscWatchings *watchings, FscWatching *watching)
{
  if (!watching->is_answered)
    watchings->n_unanswered--;
  watching->is_answered = watching->has_begun = true;
  watching->is_missing = false;
}

/* Nothing more is to come from the service. */
static void
end (FscWatchings *watchings, FscWatching *watching)
{
  if (watching->has_ended)
    return;
  if (!watching->is_sent)
    TAILQ_REMOVE (&watchings->unsent, watching, in_unsent);
  else if (!watching->is_answered)
    watchings->n_unanswered--;
  watching->has_ended = true;
}

static void
set_due (FscWatchings *watchings, FscWatching *watching, bool is_due)
{
  if (is_due && !watching->is_due)
    TAILQ_INSERT_TAIL (&watchings->due, watching, in_due);
  else if (!is_due && watching->is_due)
    TAILQ_REMOVE (&watchings->due, watching, in_due);
  watching->is_due = is_due;
}

static void
detach (FscWatchings *watchings, FscWatching *watching)
{
  end (watchings, watching);
  set_due (watchings, watching, false);
  TAILQ_REMOVE (&watchings->all, watching, in_all);
  watchings->table[watching->number] = NULL;
  watchings->n--;
}

/* Without the lock: closing may wait. */
static void
free_watching (FscWatching *watching)
{
  fsc_client_answer_clear (&watching->answer);
  fsc_client_answer_clear (&watching->opening.answer);
  if (watching->litter >= 0)
    close (watching->litter);
  free (watching);
}

void
fsc_client_watch_clear (FscWatchings *watchings)
{
  FscWatching *watching;

  while ((watching = TAILQ_FIRST (&watchings->all)) != NULL)
    {
      detach (watchings, watching);
      free_watching (watching);
    }
  free (watchings->table);
  fsc_client_watch_init (watchings);
}

/* One that is being delivered is in use by the thread that has forked in its callback. */
void
fsc_client_watch_forget (FscacheClient *client)
{
  FscWatching *watching;

  while ((watching = TAILQ_FIRST (&client->watchings.all)) != NULL)
    {
      detach (&client->watchings, watching);
      if (watching->is_delivering)
        watching->is_removed = true;
      else
        free_watching (watching);
    }
}

/* Events */

/* Makes an event of an answer, which is taken. If one waits already, it goes, and its descriptor is
 * left in *unwanted. */
static void
post (FscacheClient *client, FscWatching *watching, FscacheEventReason reason, FscAnswer *answer,
      uint64_t generation, uint32_t n_coalesced, int *unwanted)
{
  if (watching->is_due)
    {
      watching->n_coalesced += 1 + n_coalesced;
      if (watching->reason != FSCACHE_EVENT_INITIAL || reason == FSCACHE_EVENT_REFUSED)
        watching->reason = reason;
      *unwanted = watching->answer.fd;
      watching->answer.fd = -1;
      fsc_client_answer_clear (&watching->answer);
    }
  else
    {
      watching->n_coalesced = n_coalesced;
      watching->reason = reason;
    }
  watching->answer = *answer;
  watching->generation = generation;
  set_due (&client->watchings, watching, true);
}

/* Posts a failure that did not come as an EVENT. */
static void
post_failure (FscacheClient *client, FscWatching *watching, FscacheEventReason reason,
              FscacheCode code, int error, FscBytes text, bool is_phrase)
{
  FscAnswer answer;
  int unwanted = -1;

  fsc_client_answer_fail (&answer, code, error, text);
  answer.is_phrase = is_phrase;
  post (client, watching, reason, &answer, 0, 0, &unwanted);
  if (unwanted >= 0)
    watching->litter
        = unwanted; /* there is none: whoever posts so posts once until it is delivered */
}

static void
refuse (FscacheClient *client, FscWatching *watching, FscacheCode code, int error, FscBytes text,
        bool is_phrase)
{
  end (&client->watchings, watching);
  post_failure (client, watching, FSCACHE_EVENT_REFUSED, code, error, text, is_phrase);
}

static FscacheEventReason
get_reason (const FscWatching *watching, const FscEvent *event)
{
  return event->reason == FSC_REASON_INITIAL && watching->has_begun
             ? FSCACHE_EVENT_RECONNECTED
             : (FscacheEventReason) event->reason;
}

static void
fill_answer (FscAnswer *answer, const FscResult *result, FscFds *fds, bool lost)
{
  if (!result->has_fd)
    fsc_client_answer_fail (answer, (FscacheCode) result->code,
                            result->error > 0 ? result->error : EIO, result->text);
  else if (lost)
    fsc_client_answer_fail (answer, FSCACHE_ERROR_NO_DESCRIPTOR, EMFILE, (FscBytes){ 0 });
  else
    *answer = (FscAnswer){
      .fd = fsc_fds_steal (fds, 0),
      .sharing = (FscacheSharing) result->sharing,
      .source = (FscacheSource) result->source,
      .coherence = (FscacheCoherence) result->coherence,
      .kind = (FscacheKind) result->kind,
      .age_ms = result->age_ms,
    };
  if (answer->fd >= 0)
    fsc_client_answer_set_content (answer, result);
}

int
fsc_client_watch_take_event (FscacheClient *client, const FscHeader *header, FscReader *reader,
                             FscFds *fds, bool lost)
{
  FscWatching *watching = find (&client->watchings, header->serial);
  FscacheEventReason reason;
  FscResult result;
  FscEvent event;
  FscAnswer answer;
  int unwanted = -1;

  if (!fsc_codec_get_event (reader, &event) || !fsc_codec_get_result (reader, &result)
      || fsc_reader_finish (reader) < 0 || result.index != 0
      || (result.code == FSC_CODE_OK) != result.has_fd || result.code == FSC_CODE_UNCHANGED
      || result.code == FSC_CODE_LEADS_ELSEWHERE || result.sharing == FSC_SHARING_EXCLUSIVE)
    return -EPROTO;
  if (watching == NULL || watching->has_ended || !watching->is_sent)
    return 0;

  reason = get_reason (watching, &event);
  set_answered (&client->watchings, watching);
  fill_answer (&answer, &result, fds, lost);
  post (client, watching, reason, &answer, result.has_fd ? result.id : 0, event.n_coalesced,
        &unwanted);
  if (unwanted >= 0)
    {
      fds->fds[0] = unwanted;
      fds->n = 1;
    }
  return 0;
}

bool
fsc_client_watch_take_error (FscacheClient *client, uint32_t serial, const FscError *error)
{
  FscWatching *watching = find (&client->watchings, serial);

  if (watching == NULL)
    return false;
  if (!watching->has_ended && watching->is_sent)
    refuse (client, watching, (FscacheCode) error->code, error->error > 0 ? error->error : EIO,
            error->text, false);
  return true;
}

/* Sending */

static int
write_watch (const FscWatching *watching, void *packet, size_t size)
{
  const FscOpening *opening = &watching->opening;
  const FscItem item = {
    .uri = opening->uri,
    .flags = opening->flags,
    .umask = opening->umask,
    .options = opening->sharing == FSCACHE_INDEPENDENT ? FSC_OPTION_REOPENS : 0,
    .sharing = (FscSharing) opening->sharing,
  };
  FscWriter writer;

  fsc_writer_begin (&writer, packet, size);
  fsc_codec_put_item (&writer, &item);
  return fsc_writer_finish (&writer, FSC_OP_WATCH, watching->number, 0);
}

int
fsc_client_watch_send (FscacheClient *client)
{
  static const char too_old[] = "the service cannot watch: it is an older one";
  FscConnection *connection = client->link.connection;
  FscWatching *watching;

  while ((watching = TAILQ_FIRST (&client->watchings.unsent)) != NULL)
    {
      uint8_t packet[PACKET_MAX];
      int r;

      if ((connection->features & FSC_FEATURE_EVENTS) == 0)
        {
          refuse (client, watching, FSCACHE_ERROR_NOT_SERVED, EOPNOTSUPP,
                  (FscBytes){ too_old, sizeof too_old - 1 }, true);
          continue;
        }
      r = write_watch (watching, packet, sizeof packet);
      if (r >= 0)
        r = fsc_channel_send (connection->fd, packet, (size_t) r, NULL, 0, MSG_DONTWAIT);
      if (r == -EAGAIN)
        client->is_full = true;
      if (r < 0)
        return r;
      set_sent (&client->watchings, watching, true);
    }
  return 0;
}

/* The service comes and goes */

void
fsc_client_watch_lost (FscacheClient *client)
{
  FscWatching *watching;

  TAILQ_FOREACH (watching, &client->watchings.all, in_all)
  if (watching->is_sent && !watching->has_ended)
    set_sent (&client->watchings, watching, false);
}

void
fsc_client_watch_give_up (FscacheClient *client)
{
  const FscTrouble *trouble = &client->link.trouble;
  const FscBytes text = { trouble->text, strlen (trouble->text) };
  FscWatching *watching;

  TAILQ_FOREACH (watching, &client->watchings.all, in_all)
  {
    if (watching->has_ended || watching->is_missing || watching->is_due)
      continue;
    if (!watching->has_begun)
      refuse (client, watching, trouble->code, trouble->error, text, true);
    else
      {
        watching->is_missing = true;
        post_failure (client, watching, FSCACHE_EVENT_DISCONNECTED, trouble->code, trouble->error,
                      text, true);
      }
  }
}

/* Delivery */

/* Makes the reply as a call would, and asks the service for what cannot be reopened here. */
static void
finish (FscacheClient *client, const FscWatching *watching, FscAnswer *answer, FscacheReply *reply)
{
  FscOpening opening;
  FscCall call;

  fsc_client_call_init (&call, &opening, 1, "watch");
  opening = watching->opening;
  opening.answer = *answer;
  opening.state = FSC_OPENING_ANSWERED;
  while (!fsc_client_finish (client, "watch", &opening, reply))
    {
      opening.state = FSC_OPENING_QUEUED;
      fsc_client_wait (client, &call);
    }
  fsc_client_call_clear (&call);
}

static void
deliver (FscacheClient *client, FscWatching *watching)
{
  FscAnswer answer = watching->answer;
  int litter = watching->litter;
  FscacheReply reply;
  FscacheEvent event = {
    .id = watching->id,
    .reason = watching->reason,
    .is_last = watching->has_ended,
    .n_coalesced = watching->n_coalesced,
    .generation = watching->generation,
    .reply = &reply,
  };

  set_due (&client->watchings, watching, false);
  watching->answer = (FscAnswer){ .fd = -1 };
  watching->litter = -1;
  watching->is_delivering = true;
  fsc_client_unlock (client);
  if (litter >= 0)
    close (litter);
  finish (client, watching, &answer, &reply);
  if (reply.code != FSCACHE_OK)
    event.generation = 0;
  watching->callback (client, &event, watching->data);
  fsc_client_lock (client);
  watching->is_delivering = false;
  if (event.is_last && !watching->is_removed)
    {
      detach (&client->watchings, watching);
      watching->is_removed = true;
    }
  if (watching->is_removed)
    {
      fsc_client_unlock (client);
      free_watching (watching);
      fsc_client_lock (client);
    }
}

int
fsc_client_watch_deliver (FscacheClient *client)
{
  FscWatching *watching;
  size_t n_due = 0;
  int n = 0;

  /* What becomes due in callbacks waits for the next time, so that this one ends. */
  TAILQ_FOREACH (watching, &client->watchings.due, in_due)
  n_due++;
  for (; n_due > 0 && (watching = TAILQ_FIRST (&client->watchings.due)) != NULL; n_due--)
    {
      if (watching->is_delivering) /* by another thread, or by the one that calls from a callback */
        {
          TAILQ_REMOVE (&client->watchings.due, watching, in_due);
          TAILQ_INSERT_TAIL (&client->watchings.due, watching, in_due);
          continue;
        }
      deliver (client, watching);
      n++;
    }
  return n;
}

/* The calls */

int
fscache_watch (FscacheClient *client, const FscacheRequest *request, FscacheEventCallback callback,
               void *data, uint64_t *id)
{
  FscacheRequest own = *request;
  FscDirectory directory;
  FscWatching *watching;
  size_t size;
  int r;

  if (callback == NULL || own.digest != NULL)
    return -EINVAL;
  own.options |= FSCACHE_NO_FALLBACK;
  own.progress = NULL;
  own.timeout_ms = 0;
  fsc_client_directory_init (&directory);
  size = fsc_client_get_uri_bound (own.uri, &directory);
  watching = calloc (1, sizeof *watching + size);
  if (watching == NULL)
    return -ENOMEM;
  watching->callback = callback;
  watching->data = data;
  watching->litter = watching->answer.fd = watching->opening.answer.fd = -1;
  watching->opening.deadline = FSC_NEVER;
  fsc_client_prepare (client, &own, &directory, &watching->opening, watching->uri, size);

  fsc_client_lock (client);
  r = client->is_closing ? -ECANCELED : take_number (&client->watchings, watching);
  if (r < 0)
    {
      fsc_client_unlock (client);
      free_watching (watching);
      return r;
    }
  watching->id = ++client->last_id;
  if (id != NULL)
    *id = watching->id;
  TAILQ_INSERT_TAIL (&client->watchings.all, watching, in_all);
  TAILQ_INSERT_TAIL (&client->watchings.unsent, watching, in_unsent);
  if (watching->opening.state == FSC_OPENING_ANSWERED) /* it cannot be asked for */
    {
      int unwanted = -1;

      end (&client->watchings, watching);
      post (client, watching, FSCACHE_EVENT_REFUSED, &watching->opening.answer, 0, 0, &unwanted);
      watching->opening.answer = (FscAnswer){ .fd = -1 };
    }
  fsc_client_link_ensure (client);
  fsc_client_send_queued (client);
  fsc_client_poller_update (client);
  fsc_client_unlock (client);
  return 0;
}

static FscWatching *
find_by_id (FscacheClient *client, uint64_t id)
{
  FscWatching *watching;

  TAILQ_FOREACH (watching, &client->watchings.all, in_all)
  if (watching->id == id)
    return watching;
  return NULL;
}

void
fscache_unwatch (FscacheClient *client, uint64_t id)
{
  FscWatching *watching;

  fsc_client_lock (client);
  watching = find_by_id (client, id);
  if (watching != NULL)
    {
      if (watching->is_sent && !watching->has_ended)
        fsc_client_send_unwatch (client, watching->number);
      detach (&client->watchings, watching);
      watching->is_removed = true;
      if (watching->is_delivering)
        watching = NULL;
    }
  fsc_client_poller_update (client);
  fsc_client_unlock (client);
  if (watching != NULL)
    free_watching (watching);
}
