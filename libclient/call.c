/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Calls; see call.h.
 */
#include "libclient/call.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libclient/client.h"

/* A serial is a count of uses (never 0) and the slot's number. */
#define SLOT_BITS 16
#define SLOT_MASK ((UINT32_C (1) << SLOT_BITS) - 1)
#define SLOTS_MAX (UINT32_C (1) << SLOT_BITS)

/* Slots */

static void
thread_slots (FscSlots *slots, uint32_t from)
{
  for (uint32_t i = from; i < slots->n; i++)
    slots->slots[i] = (FscSlot){ .serial = i, .first = i + 1 };
  slots->first_free = from;
}

void
fsc_client_slots_init (FscSlots *slots)
{
  slots->slots = slots->few;
  slots->n = FSC_CLIENT_SLOTS_INLINE;
  slots->n_sent = 0;
  thread_slots (slots, 0);
}

void
fsc_client_slots_clear (FscSlots *slots)
{
  if (slots->slots != slots->few)
    free (slots->slots);
}

static void
grow_slots (FscSlots *slots)
{
  uint32_t n = slots->n * 2;
  FscSlot *larger;

  if (n > SLOTS_MAX)
    return;
  larger = malloc (n * sizeof *larger);
  if (larger == NULL)
    return;
  memcpy (larger, slots->slots, slots->n * sizeof *larger);
  fsc_client_slots_clear (slots);
  n -= slots->n;
  slots->slots = larger;
  slots->n += n;
  thread_slots (slots, slots->n - n);
}

FscSlot *
fsc_client_slots_take (FscSlots *slots)
{
  FscSlot *slot;

  if (slots->first_free == slots->n)
    grow_slots (slots);
  if (slots->first_free == slots->n)
    return NULL;

  slot = &slots->slots[slots->first_free];
  slots->first_free = slot->first;
  slot->serial += UINT32_C (1) << SLOT_BITS;
  if (slot->serial <= SLOT_MASK)
    slot->serial += UINT32_C (1) << SLOT_BITS; /* the count has wrapped: 0 is not used */
  return slot;
}

FscSlot *
fsc_client_slots_find (FscSlots *slots, uint32_t serial)
{
  uint32_t index = serial & SLOT_MASK;

  if (index >= slots->n || slots->slots[index].serial != serial || slots->slots[index].call == NULL)
    return NULL;
  return &slots->slots[index];
}

void
fsc_client_slots_free (FscSlots *slots, FscSlot *slot)
{
  slot->call = NULL;
  slot->first = slots->first_free;
  slots->first_free = (uint32_t) (slot - slots->slots);
}

/* Answers */

void
fsc_client_answer_fail (FscAnswer *answer, FscacheCode code, int error, FscBytes text)
{
  *answer = (FscAnswer){ .code = code, .error = error, .fd = -1 };
  if (text.length > 0 && text.data[0] != '\0')
    answer->text = strndup (text.data, text.length); /* without memory: a sentence made here */
}

/* Without memory for it nothing is said. */
static bool
is_sealed (int fd)
{
  const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  int seals = fcntl (fd, F_GET_SEALS);

  return seals >= 0 && (seals & all) == all;
}

void
fsc_client_answer_set_content (FscAnswer *answer, const FscResult *result)
{
  if (!result->content.is_known)
    return;
  answer->content = malloc (sizeof *answer->content);
  if (answer->content == NULL)
    return;
  answer->content->is_known = true;
  answer->content->is_sealed = result->content.is_sealed || is_sealed (answer->fd);
  answer->content->size = result->content.size;
  memcpy (answer->content->digest, result->content.digest, sizeof result->content.digest);
  answer->content->validator_length = (uint8_t) result->validator.length;
  memcpy (answer->content->validator, result->validator.data, result->validator.length);
}

void
fsc_client_answer_clear (FscAnswer *answer)
{
  if (answer->fd >= 0)
    close (answer->fd);
  answer->fd = -1;
  free (answer->text);
  answer->text = NULL;
  free (answer->content);
  answer->content = NULL;
}

/* Calls */

void
fsc_client_call_init (FscCall *call, FscOpening *openings, size_t n, const char *verb)
{
  memset (call, 0, sizeof *call);
  call->verb = verb;
  call->openings = openings;
  call->n = n;
  call->deadline = FSC_NEVER;
  call->give_fd = -1;
  call->first_answered = FSC_CLIENT_NO_INDEX;
  memset (openings, 0, n * sizeof *openings);
  for (size_t i = 0; i < n; i++)
    {
      openings[i].deadline = FSC_NEVER;
      openings[i].answer.fd = -1;
    }
}

void
fsc_client_call_clear (FscCall *call)
{
  for (size_t i = 0; i < call->n; i++)
    fsc_client_answer_clear (&call->openings[i].answer);
  free (call->result);
  call->result = NULL;
  if (call->has_condition)
    pthread_cond_destroy (&call->condition);
  call->has_condition = false;
}

/* Takes an opening that was sent out of its slot. Returns the serial if it was the last one. */
static uint32_t
leave_slot (FscacheClient *client, FscOpening *opening)
{
  FscSlot *slot = &client->slots.slots[opening->slot];

  client->slots.n_sent--;
  if (--slot->n_open > 0)
    return 0;
  fsc_client_slots_free (&client->slots, slot);
  return slot->serial;
}

static void
note_deadline (FscacheClient *client, FscCall *call, const FscOpening *opening)
{
  if (opening->deadline < call->deadline)
    call->deadline = opening->deadline;
  if (call->callback != NULL && call->deadline < client->async_deadline)
    client->async_deadline = call->deadline;
}

void
fsc_client_call_queue (FscacheClient *client, FscCall *call, size_t index)
{
  FscOpening *opening = &call->openings[index];

  if (opening->state == FSC_OPENING_SENT)
    leave_slot (client, opening);
  else
    call->n_open++;
  opening->state = FSC_OPENING_QUEUED;
  if (call->n_queued++ == 0)
    TAILQ_INSERT_TAIL (&client->unsent, call, in_unsent);
  if (index < call->scan)
    call->scan = index;
  note_deadline (client, call, opening);
}

static void
unqueue (FscacheClient *client, FscCall *call)
{
  if (--call->n_queued == 0)
    TAILQ_REMOVE (&client->unsent, call, in_unsent);
}

void
fsc_client_call_sent (FscacheClient *client, FscCall *call, size_t index, uint32_t slot)
{
  call->openings[index].state = FSC_OPENING_SENT;
  call->openings[index].slot = slot;
  client->slots.n_sent++;
  unqueue (client, call);
}

/* Puts a call with a callback where fscache_dispatch() finds it. */
static void
make_due (FscacheClient *client, FscCall *call)
{
  if (call->is_due || call->is_delivering)
    return;
  call->is_due = true;
  client->n_due++;
  TAILQ_INSERT_TAIL (&client->due, call, in_due);
}

/* Tells the thread that waits, or fscache_dispatch(). */
static void
notify (FscacheClient *client, FscCall *call, uint32_t index)
{
  if (call->callback == NULL)
    {
      if (call->n_open == 0 && call->is_waiting)
        pthread_cond_signal (&call->condition);
      return;
    }

  call->openings[index].next_answered = FSC_CLIENT_NO_INDEX;
  if (call->first_answered == FSC_CLIENT_NO_INDEX)
    call->first_answered = index;
  else
    call->openings[call->last_answered].next_answered = index;
  call->last_answered = index;
  make_due (client, call);
}

void
fsc_client_call_progress (FscacheClient *client, FscCall *call, size_t index,
                          const FscProgress *progress)
{
  FscOpening *opening = &call->openings[index];

  if (opening->progress == NULL)
    return;
  opening->done = progress->done;
  opening->total = progress->total;
  opening->has_news = call->has_news = true;
  if (call->callback != NULL)
    make_due (client, call);
  else if (call->is_waiting)
    pthread_cond_signal (&call->condition);
}

/* What is answered meanwhile is no news any more. */
void
fsc_client_call_tell (FscacheClient *client, FscCall *call)
{
  call->has_news = false;
  for (size_t i = 0; i < call->n; i++)
    {
      FscOpening *opening = &call->openings[i];
      bool has_news = opening->has_news && opening->state == FSC_OPENING_SENT;
      uint64_t done = opening->done, total = opening->total;

      opening->has_news = false;
      if (!has_news)
        continue;
      fsc_client_unlock (client);
      opening->progress (done, total, opening->progress_data);
      fsc_client_lock (client);
    }
}

uint32_t
fsc_client_call_answered (FscacheClient *client, FscCall *call, size_t index)
{
  FscOpening *opening = &call->openings[index];
  uint32_t unwanted = 0;

  if (opening->state == FSC_OPENING_QUEUED)
    unqueue (client, call);
  else if (opening->state == FSC_OPENING_SENT)
    unwanted = leave_slot (client, opening);
  opening->state = FSC_OPENING_ANSWERED;
  call->n_open--;
  notify (client, call, (uint32_t) index);
  return unwanted;
}

void
fsc_client_call_add (FscacheClient *client, FscCall *call)
{
  TAILQ_INSERT_TAIL (&client->calls, call, in_calls);
  call->id = ++client->last_id;
  call->n_queued = call->n_open = call->scan = 0;
  for (size_t i = 0; i < call->n; i++)
    {
      FscOpening *opening = &call->openings[i];

      note_deadline (client, call, opening);
      if (opening->state == FSC_OPENING_QUEUED)
        {
          call->n_open++;
          if (call->n_queued++ == 0)
            TAILQ_INSERT_TAIL (&client->unsent, call, in_unsent);
        }
      else if (opening->state == FSC_OPENING_ANSWERED)
        notify (client, call, (uint32_t) i);
    }
}

void
fsc_client_call_remove (FscacheClient *client, FscCall *call)
{
  TAILQ_REMOVE (&client->calls, call, in_calls);
}
