/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sending; see send.h.
 */
#include "libclient/send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libclient/link.h"
#include "protocol/channel.h"

static FscConnection *
get_ready (FscacheClient *client)
{
  FscConnection *connection = client->link.connection;

  return connection != NULL && connection->is_ready ? connection : NULL;
}

/* Small messages that have no answer */

static int
send_now (FscacheClient *client, const void *packet, size_t length)
{
  int r = fsc_channel_send (client->link.connection->fd, packet, length, NULL, 0, MSG_DONTWAIT);

  if (r == -EAGAIN)
    client->is_full = true;
  return r;
}

/* Sends a message, or keeps it for when there is room. Other errors mean that the connection is
 * gone, and with it what this was about; who receives notices. */
static void
send_parcel (FscacheClient *client, const void *packet, size_t length)
{
  FscParcel *parcel;

  if (get_ready (client) == NULL)
    return;
  if (STAILQ_EMPTY (&client->parcels) && send_now (client, packet, length) != -EAGAIN)
    return;
  parcel = malloc (sizeof *parcel + length);
  if (parcel == NULL)
    return; /* the service learns it at the latest when the connection ends */
  parcel->length = length;
  memcpy (parcel->bytes, packet, length);
  STAILQ_INSERT_TAIL (&client->parcels, parcel, next);
}

static int
send_parcels (FscacheClient *client)
{
  FscParcel *parcel;

  while ((parcel = STAILQ_FIRST (&client->parcels)) != NULL)
    {
      int r = send_now (client, parcel->bytes, parcel->length);

      if (r < 0)
        return r;
      STAILQ_REMOVE_HEAD (&client->parcels, next);
      free (parcel);
    }
  return 0;
}

void
fsc_client_send_forget (FscacheClient *client)
{
  FscParcel *parcel;

  while ((parcel = STAILQ_FIRST (&client->parcels)) != NULL)
    {
      STAILQ_REMOVE_HEAD (&client->parcels, next);
      free (parcel);
    }
  client->is_full = false;
}

static void
send_serial (FscacheClient *client, FscOpcode opcode, uint32_t serial)
{
  uint8_t packet[32];
  FscWriter writer;
  int length;

  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_cancel (&writer, serial);
  length = fsc_writer_finish (&writer, opcode, 0, 0);
  if (length > 0)
    send_parcel (client, packet, (size_t) length);
}

void
fsc_client_send_cancel (FscacheClient *client, uint32_t serial)
{
  send_serial (client, FSC_OP_CANCEL, serial);
}

void
fsc_client_send_unwatch (FscacheClient *client, uint32_t serial)
{
  send_serial (client, FSC_OP_UNWATCH, serial);
}

void
fsc_client_send_give_back (FscacheClient *client, uint32_t flags, uint64_t lease,
                           uint64_t generation)
{
  FscConnection *connection = get_ready (client);
  uint8_t packet[32];
  FscWriter writer;
  int length;

  if (connection == NULL || connection->generation != generation)
    return; /* it ended with its connection */
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_give_back (&writer, flags, &lease, 1);
  length = fsc_writer_finish (&writer, FSC_OP_GIVE_BACK, 0, 0);
  if (length > 0)
    send_parcel (client, packet, (size_t) length);
}

void
fsc_client_send_ping (FscacheClient *client)
{
  uint8_t packet[32];
  FscWriter writer;
  int length;

  fsc_writer_begin (&writer, packet, sizeof packet);
  length = fsc_writer_finish (&writer, FSC_OP_PING, 0, 0);
  if (length > 0)
    send_parcel (client, packet, (size_t) length);
}

/* Calls */

static FscItem
get_item (const FscConnection *connection, const FscOpening *opening)
{
  FscItem item = {
    .uri = opening->uri,
    .flags = opening->flags,
    .mode = opening->mode,
    .umask = opening->umask,
    .options = (opening->reopens ? FSC_OPTION_REOPENS : 0)
               | (opening->is_revalidated ? FSC_OPTION_REVALIDATE : 0)
               | (opening->is_taken ? FSC_OPTION_TAKE : 0),
    .max_age_ms = opening->max_age_ms,
    .sharing = (FscSharing) opening->sharing,
  };

  if (opening->has_digest)
    {
      item.options |= FSC_OPTION_DIGEST;
      item.validator = (FscBytes){ (const char *) opening->digest, sizeof opening->digest };
    }
  if (opening->progress != NULL && (connection->features & FSC_FEATURE_PROGRESS) != 0)
    item.options |= FSC_OPTION_PROGRESS;
  return item;
}

/* Why this cannot be asked of an older service, or NULL. */
static const char *
find_shortcoming (const FscacheClient *client, const FscCall *call, const FscOpening *opening)
{
  uint32_t features = client->link.connection->features;

  if (opening->has_digest && (features & FSC_FEATURE_CONTENT) == 0)
    return "the service knows no digests: it is an older one";
  if ((opening->is_taken || call->give_fd >= 0) && (features & FSC_FEATURE_PUTTING) == 0)
    return "the service keeps nothing that is put: it is an older one";
  return NULL;
}

/* Writes as many of the queued openings from `first` on as fit into one packet. Returns its length,
 * and their number in *n: 0 if not even the first one fits. */
static int
write_openings (const FscacheClient *client, const FscCall *call, size_t first, uint32_t serial,
                size_t *n)
{
  const FscConnection *connection = client->link.connection;
  FscWriter writer, count;

  fsc_writer_begin (&writer, client->send_buffer, connection->packet_max);
  fsc_codec_put_open (&writer, 0);
  for (*n = 0; first + *n < call->n && *n < connection->items_max; ++*n)
    {
      const FscOpening *opening = &call->openings[first + *n];
      const size_t end = writer.position;
      FscItem item;

      if (opening->state != FSC_OPENING_QUEUED || find_shortcoming (client, call, opening) != NULL)
        break;
      item = get_item (connection, opening);
      fsc_codec_put_item (&writer, &item);
      if (writer.failed)
        {
          writer.position = end;
          writer.failed = false;
          break;
        }
    }
  fsc_writer_begin (&count, client->send_buffer, connection->packet_max);
  fsc_codec_put_open (&count, (uint32_t) *n);
  return fsc_writer_finish (&writer, FSC_OP_OPEN, serial, 0);
}

/* Whether this service does not open files for this client, who then does so itself. */
static bool
is_local (const FscacheClient *client, const FscOpening *opening)
{
  return opening->is_file && opening->may_fall_back && !client->link.connection->serves_paths;
}

static void
refuse (FscacheClient *client, FscCall *call, size_t index, int error, const char *phrase)
{
  FscAnswer *answer = &call->openings[index].answer;

  fsc_client_answer_fail (answer, FSCACHE_ERROR_BAD_REQUEST, error,
                          (FscBytes){ phrase, strlen (phrase) });
  answer->is_phrase = true;
  fsc_client_call_answered (client, call, index);
}

/* Sends one packet of a call. Returns 0; -EAGAIN if there is no room for it now, in the socket or
 * among the slots; or another negative errno if the connection is lost. */
static int
send_some (FscacheClient *client, FscCall *call)
{
  size_t first = call->scan, n = 1;
  const void *packet = client->send_buffer;
  const char *shortcoming;
  FscSlot *slot;
  int r;

  while (call->openings[first].state != FSC_OPENING_QUEUED)
    first++;
  call->scan = first;
  if (call->kind == FSC_CALL_OPEN)
    call->openings[first].answer.is_local = is_local (client, &call->openings[first]);
  if (call->kind == FSC_CALL_NOTHING || call->openings[first].answer.is_local)
    {
      fsc_client_call_answered (client, call, first);
      return 0;
    }
  shortcoming = find_shortcoming (client, call, &call->openings[first]);
  if (shortcoming != NULL)
    {
      refuse (client, call, first, EOPNOTSUPP, shortcoming);
      return 0;
    }

  /* With more the service would not read on, and a PING go unanswered. */
  if (client->slots.n_sent + FSC_ITEMS_MAX > FSC_UNANSWERED_MAX)
    return -EAGAIN;
  slot = fsc_client_slots_take (&client->slots);
  if (slot == NULL)
    return -EAGAIN;
  if (call->kind == FSC_CALL_OPEN)
    r = write_openings (client, call, first, slot->serial, &n);
  else
    {
      fsc_codec_set_serial (call->packet, slot->serial);
      packet = call->packet;
      r = (int) call->packet_length;
    }
  if (r >= 0 && n > 0)
    r = send_now (client, packet, (size_t) r);
  if (r < 0 || n == 0)
    fsc_client_slots_free (&client->slots, slot);
  if (r < 0)
    return r;
  if (n == 0)
    {
      refuse (client, call, first, ENAMETOOLONG, "its name is too long for the service");
      return 0;
    }

  slot->call = call;
  slot->first = (uint32_t) first;
  slot->n = slot->n_open = (uint16_t) n;
  for (size_t i = first; i < first + n; i++)
    fsc_client_call_sent (client, call, i, (uint32_t) (slot - client->slots.slots));
  call->scan = first + n;
  return 0;
}

void
fsc_client_send_queued (FscacheClient *client)
{
  int r = 0;

  if (get_ready (client) == NULL)
    return;
  client->is_full = false;
  if (!STAILQ_EMPTY (&client->parcels))
    r = send_parcels (client);
  if (r == 0)
    r = fsc_client_watch_send (client);
  while (r == 0 && !TAILQ_EMPTY (&client->unsent))
    r = send_some (client, TAILQ_FIRST (&client->unsent));
  if (r < 0 && r != -EAGAIN)
    fsc_client_link_lose (client, false);
}
