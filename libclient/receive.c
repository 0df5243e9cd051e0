/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Receiving; see receive.h. All of a packet is read before any of it is used, so that nothing is
 * taken from one that is not valid.
 */
#include "libclient/receive.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libclient/link.h"
#include "libclient/send.h"

/* Codes and the like are the same numbers on the wire and in the library. */
static_assert ((int) FSCACHE_ERROR_SYSTEM == FSC_CODE_SYSTEM, "");
static_assert ((int) FSCACHE_ERROR_BAD_URI == FSC_CODE_BAD_URI, "");
static_assert ((int) FSCACHE_ERROR_REFUSED == FSC_CODE_REFUSED, "");
static_assert ((int) FSCACHE_ERROR_OTHER_CONTENT == FSC_CODE_OTHER_CONTENT, "");
static_assert (FSCACHE_DIGEST_SIZE == FSC_DIGEST_SIZE, "");
static_assert (FSCACHE_VALIDATOR_MAX == FSC_VALIDATOR_MAX, "");
static_assert ((int) FSCACHE_EXCLUSIVE == FSC_SHARING_EXCLUSIVE, "");
static_assert ((int) FSCACHE_SOURCE_PASSED == FSC_SOURCE_PASSED, "");
static_assert ((int) FSCACHE_COHERENCE_WATCHED == FSC_COHERENCE_WATCHED, "");
static_assert ((int) FSCACHE_KIND_BLOCK == FSC_KIND_BLOCK, "");

/* An error without an errno still is one. */
static int
get_error (int error)
{
  return error > 0 ? error : EIO;
}

/* What only openers say, to the service. */
static bool
is_of_openers (FscCode code)
{
  return code == FSC_CODE_UNCHANGED || code == FSC_CODE_LEADS_ELSEWHERE;
}

static bool
is_valid_result (const FscResult *result, const FscSlot *slot)
{
  return (result->code == FSC_CODE_OK) == result->has_fd && !is_of_openers (result->code)
         && (slot == NULL || result->index < slot->n);
}

/* Reads an OPENED. Returns how many results it has, or 0 if it is not valid. */
static uint32_t
read_results (FscReader *reader, const FscSlot *slot, FscResult *results)
{
  uint32_t n;

  if ((slot != NULL && slot->call->kind != FSC_CALL_OPEN) || !fsc_codec_get_opened (reader, &n))
    return 0;
  for (uint32_t i = 0; i < n; i++)
    if (!fsc_codec_get_result (reader, &results[i]) || !is_valid_result (&results[i], slot))
      return 0;
  return fsc_reader_finish (reader) == 0 ? n : 0;
}

/* Where a service says "not by me": whoever finishes the opening opens it. */
static void
set_failure (FscOpening *opening, FscCode code, int error, FscBytes text)
{
  if (code == FSC_CODE_NOT_SERVED && opening->may_fall_back)
    {
      opening->answer.is_local = true;
      return;
    }
  fsc_client_answer_fail (&opening->answer, (FscacheCode) code, get_error (error), text);
}

static void
set_success (FscacheClient *client, FscOpening *opening, const FscResult *result, int fd)
{
  bool is_lent = result->sharing == FSC_SHARING_EXCLUSIVE && result->id != 0;
  bool is_named = result->sharing != FSC_SHARING_EXCLUSIVE && result->id != 0;

  opening->answer = (FscAnswer){
    .fd = fd,
    .sharing = (FscacheSharing) result->sharing,
    .source = (FscacheSource) result->source,
    .coherence = (FscacheCoherence) result->coherence,
    .kind = (FscacheKind) result->kind,
    .age_ms = result->age_ms,
    .lease = is_lent ? result->id : 0,
    .generation = is_lent || is_named ? client->link.connection->generation : 0,
    .name = is_named ? result->id : 0,
    .lifetime_ms = is_named ? result->mount_id : 0,
  };
  if (opening->is_taken) /* what it is lent for until it is known to be here */
    opening->answer.sharing = FSCACHE_SHARED;
  fsc_client_answer_set_content (&opening->answer, result);
}

/* The opening that a result answers; NULL if nobody waits for it (any more). */
static FscOpening *
find_opening (FscacheClient *client, uint32_t serial, unsigned index, FscCall **call,
              size_t *position)
{
  FscSlot *slot = fsc_client_slots_find (&client->slots, serial);
  FscOpening *opening;

  if (slot == NULL || index >= slot->n)
    return NULL;
  *call = slot->call;
  *position = slot->first + index;
  opening = &slot->call->openings[*position];
  if (opening->state != FSC_OPENING_SENT
      || opening->slot != (uint32_t) (slot - client->slots.slots))
    return NULL;
  return opening;
}

static void
take_result (FscacheClient *client, uint32_t serial, const FscResult *result, FscFds *fds,
             unsigned *next_fd, bool lost)
{
  unsigned fd = *next_fd;
  size_t position = 0;
  FscCall *call = NULL;
  FscOpening *opening = find_opening (client, serial, result->index, &call, &position);

  *next_fd += result->has_fd;
  if ((opening == NULL || lost) && result->has_fd && result->id != 0
      && result->sharing == FSC_SHARING_EXCLUSIVE)
    fsc_client_send_give_back (client, 0, result->id, client->link.connection->generation);
  if (opening == NULL)
    return;

  if (!result->has_fd)
    set_failure (opening, result->code, result->error, result->text);
  else if (lost)
    fsc_client_answer_fail (&opening->answer, FSCACHE_ERROR_NO_DESCRIPTOR, EMFILE, (FscBytes){ 0 });
  else
    set_success (client, opening, result, fsc_fds_steal (fds, fd));
  fsc_client_call_answered (client, call, position);
}

static int
take_opened (FscacheClient *client, const FscHeader *header, FscReader *reader, FscFds *fds,
             bool lost)
{
  const FscSlot *slot = fsc_client_slots_find (&client->slots, header->serial);
  uint32_t n = read_results (reader, slot, client->results);
  unsigned next_fd = 0;

  for (uint32_t i = 0; i < n; i++)
    take_result (client, header->serial, &client->results[i], fds, &next_fd, lost);
  return n > 0 ? 0 : -EPROTO;
}

static int
take_progress (FscacheClient *client, const FscHeader *header, FscReader *reader)
{
  const FscSlot *slot = fsc_client_slots_find (&client->slots, header->serial);
  FscProgress progress;
  size_t position;
  FscCall *call;

  if (!fsc_codec_get_progress (reader, &progress) || fsc_reader_finish (reader) < 0
      || (slot != NULL && (slot->call->kind != FSC_CALL_OPEN || progress.index >= slot->n)))
    return -EPROTO;
  if (find_opening (client, header->serial, progress.index, &call, &position) != NULL)
    fsc_client_call_progress (client, call, position, &progress);
  return 0;
}

/* The whole request is refused. */
static int
take_error (FscacheClient *client, const FscHeader *header, FscReader *reader)
{
  FscSlot *slot;
  FscError error;
  FscCall *call;
  size_t first, n;

  if (!fsc_codec_get_error (reader, &error) || fsc_reader_finish (reader) < 0
      || error.code == FSC_CODE_OK || is_of_openers (error.code))
    return -EPROTO;
  if (fsc_client_watch_take_error (client, header->serial, &error))
    return 0;
  slot = fsc_client_slots_find (&client->slots, header->serial);
  if (slot == NULL)
    return 0;

  call = slot->call;
  first = slot->first;
  n = slot->n;
  for (size_t i = 0; i < n; i++)
    {
      size_t position;
      FscOpening *opening = find_opening (client, header->serial, (unsigned) i, &call, &position);

      if (opening == NULL)
        continue;
      set_failure (opening, error.code, error.error, error.text);
      fsc_client_call_answered (client, call, first + i);
    }
  return 0;
}

/* Answers of other requests are kept as they are, for whoever asked to read; that they can be read
 * is known here. */
static bool
is_valid_answer (FscReader reader, FscOpcode opcode)
{
  uint32_t n = 0;
  uint64_t number;
  FscEntryInfo entry;
  FscHolding holding;
  FscCounter counter;

  switch (opcode)
    {
    case FSC_OP_DONE:
      fsc_codec_get_done (&reader, &number);
      break;
    case FSC_OP_ENTRIES:
      fsc_codec_get_entries (&reader, &number, &n);
      for (uint32_t i = 0; i < n; i++)
        if (!fsc_codec_get_entry (&reader, &entry))
          return false;
      break;
    case FSC_OP_HOLDINGS:
      fsc_codec_get_holdings (&reader, &number, &n);
      for (uint32_t i = 0; i < n; i++)
        if (!fsc_codec_get_holding (&reader, &holding))
          return false;
      break;
    case FSC_OP_COUNTERS:
      fsc_codec_get_counters (&reader, &n);
      for (uint32_t i = 0; i < n; i++)
        if (!fsc_codec_get_counter (&reader, &counter))
          return false;
      break;
    default:
      return false;
    }
  return fsc_reader_finish (&reader) == 0;
}

static int
take_answer (FscacheClient *client, const FscHeader *header, const FscReader *reader,
             const void *packet, size_t length)
{
  FscSlot *slot = fsc_client_slots_find (&client->slots, header->serial);
  FscCall *call;
  FscOpening *opening;

  if (!is_valid_answer (*reader, header->opcode))
    return -EPROTO;
  if (slot == NULL)
    return 0;
  call = slot->call;
  opening = &call->openings[slot->first];
  if (call->kind != FSC_CALL_PACKET || call->expected != header->opcode)
    return -EPROTO;

  call->result = malloc (length);
  if (call->result != NULL)
    {
      memcpy (call->result, packet, length);
      call->result_length = length;
    }
  else
    fsc_client_answer_fail (&opening->answer, FSCACHE_ERROR_NO_MEMORY, ENOMEM, (FscBytes){ 0 });
  fsc_client_call_answered (client, call, slot->first);
  return 0;
}

/* Sends what is to be put to where the service says. Of what goes wrong at the other end the
 * service tells; what cannot be sent from here is known here alone. */
static int
give (FscCall *call, int socket)
{
  uint8_t packet[sizeof (FscWireHeader)];
  FscWriter writer;
  int r;

  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_writer_finish (&writer, FSC_OP_GIVE, 0, 1);
  r = fsc_channel_send (socket, packet, sizeof packet, &call->give_fd, 1, MSG_DONTWAIT);
  return r == -ETOOMANYREFS || r == -EBADF ? r : 0;
}

static int
take_give (FscacheClient *client, const FscHeader *header, const FscReader *reader,
           const FscFds *fds, bool lost)
{
  FscSlot *slot = fsc_client_slots_find (&client->slots, header->serial);
  FscCall *call = slot != NULL ? slot->call : NULL;
  FscacheCode code = FSCACHE_ERROR_NO_DESCRIPTOR;
  int r = -EMFILE;

  if (fsc_reader_finish (reader) < 0
      || (call != NULL && (call->kind != FSC_CALL_PACKET || call->give_fd < 0)))
    return -EPROTO;
  if (call == NULL)
    return 0;
  if (!lost)
    {
      r = give (call, fds->fds[0]);
      code = FSCACHE_ERROR_SYSTEM;
    }
  call->give_fd = -1;
  if (r == 0)
    return 0;
  fsc_client_answer_fail (&call->openings[slot->first].answer, code, -r, (FscBytes){ 0 });
  fsc_client_call_answered (client, call, slot->first);
  return 0;
}

/* The first packet of a connection. */
static int
take_greeting (FscacheClient *client, const FscHeader *header, FscReader *reader, FscFds *fds)
{
  FscWelcome welcome;
  FscError error;

  if (header->opcode == FSC_OP_WELCOME && fsc_codec_get_welcome (reader, &welcome)
      && fsc_reader_finish (reader) == 0)
    {
      /* If it is lost for want of a descriptor, this connection has none. */
      if ((welcome.features & FSC_FEATURE_GENERATIONS) == 0 && header->n_fds > 0)
        return -EPROTO;
      if (fds->n > 0 && (client->user == NULL || client->link.connection->is_speaking))
        client->link.connection->table = fsc_client_table_new (fsc_fds_steal (fds, 0));
      fsc_client_link_welcome (client, &welcome);
      return 0;
    }
  if (header->opcode == FSC_OP_ERROR && fsc_codec_get_error (reader, &error)
      && fsc_reader_finish (reader) == 0 && error.code != FSC_CODE_OK)
    {
      fsc_client_link_refused (client, &error);
      return 0;
    }
  return -EPROTO;
}

int
fsc_client_receive_packet (FscacheClient *client, const void *packet, size_t length, FscFds *fds,
                           bool lost)
{
  FscReader reader;
  FscHeader header;
  int r;

  r = fsc_reader_begin (&reader, &header, packet, length, lost ? FSC_FDS_LOST : fds->n);
  if (r < 0)
    return r;
  if (!client->link.connection->is_ready)
    return take_greeting (client, &header, &reader, fds);

  switch (header.opcode)
    {
    case FSC_OP_OPENED:
      r = take_opened (client, &header, &reader, fds, lost);
      break;
    case FSC_OP_PROGRESS:
      r = take_progress (client, &header, &reader);
      break;
    case FSC_OP_EVENT:
      r = fsc_client_watch_take_event (client, &header, &reader, fds, lost);
      break;
    case FSC_OP_ERROR:
      r = take_error (client, &header, &reader);
      break;
    case FSC_OP_GIVE:
      r = take_give (client, &header, &reader, fds, lost);
      break;
    default:
      r = take_answer (client, &header, &reader, packet, length);
    }
  if (r == 0)
    client->link.pause = 0;
  return r;
}
