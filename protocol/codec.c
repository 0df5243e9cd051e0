/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes <-> messages; see codec.h. Packets are read and written by memcpy() into and from the
 * layouts of protocol.h, never by casting: a packet may lie at any address.
 */
#include "protocol/codec.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define PADDED(length) (((size_t) (length) + 3) & ~(size_t) 3)

static const struct
{
  const char *name;
  uint8_t min_fds, max_fds;
} messages[FSC_OP_LAST + 1] = {
  [FSC_OP_HELLO] = { "HELLO", 0, 1 },
  [FSC_OP_WELCOME] = { "WELCOME", 0, 1 },
  [FSC_OP_ERROR] = { "ERROR", 0, 0 },
  [FSC_OP_DONE] = { "DONE", 0, 0 },
  [FSC_OP_OPEN] = { "OPEN", 0, 0 },
  [FSC_OP_OPENED] = { "OPENED", 0, FSC_FDS_MAX },
  [FSC_OP_GIVE_BACK] = { "GIVE_BACK", 0, 0 },
  [FSC_OP_CANCEL] = { "CANCEL", 0, 0 },
  [FSC_OP_DROP] = { "DROP", 0, 0 },
  [FSC_OP_PIN] = { "PIN", 0, 0 },
  [FSC_OP_INFO] = { "INFO", 0, 0 },
  [FSC_OP_LIST] = { "LIST", 0, 0 },
  [FSC_OP_ENTRIES] = { "ENTRIES", 0, 0 },
  [FSC_OP_STATUS] = { "STATUS", 0, 0 },
  [FSC_OP_COUNTERS] = { "COUNTERS", 0, 0 },
  [FSC_OP_PING] = { "PING", 0, 0 },
  [FSC_OP_HAND] = { "HAND", 1, 1 },
  [FSC_OP_WATCHED] = { "WATCHED", 0, 0 },
  [FSC_OP_HOLDERS] = { "HOLDERS", 0, 0 },
  [FSC_OP_HOLDINGS] = { "HOLDINGS", 0, 0 },
  [FSC_OP_SET] = { "SET", 0, 0 },
  [FSC_OP_WATCH] = { "WATCH", 0, 0 },
  [FSC_OP_UNWATCH] = { "UNWATCH", 0, 0 },
  [FSC_OP_EVENT] = { "EVENT", 0, 1 },
  [FSC_OP_SPEAK_FOR] = { "SPEAK_FOR", 0, 0 },
  [FSC_OP_PROGRESS] = { "PROGRESS", 0, 0 },
  [FSC_OP_PUT] = { "PUT", 0, 0 },
  [FSC_OP_RECEIVE] = { "RECEIVE", 1, 1 },
  [FSC_OP_GIVE] = { "GIVE", 1, 1 },
};

bool
fsc_codec_get_fd_range (unsigned opcode, unsigned *min_fds, unsigned *max_fds)
{
  if (opcode > FSC_OP_LAST || messages[opcode].name == NULL)
    return false;
  *min_fds = messages[opcode].min_fds;
  *max_fds = messages[opcode].max_fds;
  return true;
}

const char *
fsc_codec_opcode_name (unsigned opcode)
{
  return opcode <= FSC_OP_LAST && messages[opcode].name != NULL ? messages[opcode].name : "unknown";
}

/* Writing */

void
fsc_writer_begin (FscWriter *writer, void *buffer, size_t size)
{
  writer->data = buffer;
  writer->size = size < FSC_PACKET_MAX ? size : FSC_PACKET_MAX;
  writer->position = sizeof (FscWireHeader);
  writer->failed = writer->size < sizeof (FscWireHeader);
}

/* Returns where to write so many bytes, or NULL if there is no room. */
static uint8_t *
reserve (FscWriter *writer, size_t length)
{
  size_t position = writer->position;

  if (writer->failed || length > writer->size - position)
    {
      writer->failed = true;
      return NULL;
    }
  writer->position += length;
  return writer->data + position;
}

static void
put (FscWriter *writer, const void *bytes, size_t length)
{
  uint8_t *to = reserve (writer, length);

  if (to != NULL)
    memcpy (to, bytes, length);
}

/* Writes two strings and their padding. What is longer than the reader at the other end
 * takes fails here, rather than to cost the connection there. */
static void
put_strings (FscWriter *writer, FscBytes first, size_t first_max, FscBytes second,
             size_t second_max)
{
  size_t length = first.length + second.length;
  uint8_t *to;

  if (length == 0)
    return;
  if (first.length > first_max || second.length > second_max)
    writer->failed = true;
  to = reserve (writer, PADDED (length));
  if (to == NULL)
    return;
  memset (to + PADDED (length) - 4, 0, 4);
  if (first.length > 0)
    memcpy (to, first.data, first.length);
  if (second.length > 0)
    memcpy (to + first.length, second.data, second.length);
}

static void
put_string (FscWriter *writer, FscBytes string, size_t max)
{
  put_strings (writer, string, max, (FscBytes){ 0 }, 0);
}

int
fsc_writer_finish (FscWriter *writer, FscOpcode opcode, uint32_t serial, unsigned n_fds)
{
  FscWireHeader wire = { 0 };

  if (writer->failed)
    return -EMSGSIZE;
  wire.opcode = htole16 (opcode);
  wire.serial = htole32 (serial);
  wire.length = htole32 ((uint32_t) (writer->position - sizeof wire));
  wire.n_fds = htole16 ((uint16_t) n_fds);
  memcpy (writer->data, &wire, sizeof wire);
  return (int) writer->position;
}

void
fsc_codec_set_serial (void *packet, uint32_t serial)
{
  serial = htole32 (serial);
  memcpy ((uint8_t *) packet + offsetof (FscWireHeader, serial), &serial, sizeof serial);
}

void
fsc_codec_put_hello (FscWriter *writer, const FscHello *hello)
{
  FscWireHello wire = { 0 };

  wire.magic = htole32 (hello->magic);
  wire.lowest = htole16 ((uint16_t) hello->lowest);
  wire.highest = htole16 ((uint16_t) hello->highest);
  wire.features = htole32 (hello->features);
  wire.name_length = htole16 ((uint16_t) hello->name.length);
  put (writer, &wire, sizeof wire);
  put_string (writer, hello->name, FSC_NAME_MAX);
}

void
fsc_codec_put_welcome (FscWriter *writer, const FscWelcome *welcome)
{
  FscWireWelcome wire = { 0 };

  wire.version = htole16 ((uint16_t) welcome->version);
  wire.features = htole32 (welcome->features);
  wire.serves = htole32 (welcome->serves);
  wire.packet_max = htole32 (welcome->packet_max);
  wire.items_max = htole16 ((uint16_t) welcome->items_max);
  wire.name_length = htole16 ((uint16_t) welcome->name.length);
  put (writer, &wire, sizeof wire);
  put_string (writer, welcome->name, FSC_NAME_MAX);
}

void
fsc_codec_put_error (FscWriter *writer, const FscError *error)
{
  FscWireError wire = { 0 };

  wire.code = htole16 (error->code);
  wire.text_length = htole16 ((uint16_t) error->text.length);
  wire.error = htole32 ((uint32_t) error->error);
  put (writer, &wire, sizeof wire);
  put_string (writer, error->text, FSC_TEXT_MAX);
}

void
fsc_codec_put_done (FscWriter *writer, uint64_t count)
{
  FscWireDone wire = { .count = htole64 (count) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_open (FscWriter *writer, uint32_t n_items)
{
  FscWireOpen wire = { .n_items = htole32 (n_items) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_item (FscWriter *writer, const FscItem *item)
{
  FscWireItem wire = { 0 };

  wire.flags = htole32 (item->flags);
  wire.mode = htole32 (item->mode);
  wire.umask = htole32 (item->umask);
  wire.options = (uint8_t) item->options;
  wire.resume_length = (uint8_t) item->resume.length;
  wire.mount_length = htole16 ((uint16_t) item->mount_length);
  wire.max_age_ms = htole32 (item->max_age_ms);
  wire.uri_length = htole16 ((uint16_t) item->uri.length);
  wire.sharing = (uint8_t) item->sharing;
  wire.validator_length = (uint8_t) item->validator.length;
  put (writer, &wire, sizeof wire);
  put_strings (writer, item->uri, FSC_URI_MAX, item->validator, FSC_VALIDATOR_MAX);
  put_string (writer, item->resume, FSC_RESUME_MAX);
}

void
fsc_codec_put_opened (FscWriter *writer, uint32_t n_results)
{
  FscWireOpened wire = { .n_results = htole32 (n_results) };

  put (writer, &wire, sizeof wire);
}

static void
put_content (FscWriter *writer, const FscContentInfo *content)
{
  FscWireContent wire = { .size = htole64 (content->size) };

  memcpy (wire.digest, content->digest, sizeof wire.digest);
  if (content->is_known)
    put (writer, &wire, sizeof wire);
}

/* Where a way leads to is told in full. */
static size_t
result_text_max (const FscResult *result)
{
  return result->code == FSC_CODE_LEADS_ELSEWHERE ? FSC_URI_MAX : FSC_TEXT_MAX;
}

void
fsc_codec_put_result (FscWriter *writer, const FscResult *result)
{
  FscWireResult wire = { 0 };

  wire.index = htole16 ((uint16_t) result->index);
  wire.code = htole16 (result->code);
  wire.error = htole32 ((uint32_t) result->error);
  wire.id = htole64 (result->id);
  wire.age_ms = htole32 (result->age_ms);
  wire.mount_id = htole32 (result->mount_id);
  if (result->has_fd)
    wire.has |= FSC_RESULT_FD;
  if (result->content.is_known)
    wire.has |= FSC_RESULT_CONTENT;
  if (result->content.is_sealed)
    wire.has |= FSC_RESULT_SEALED;
  if (result->has_ttl)
    wire.has |= FSC_RESULT_TTL;
  wire.sharing = (uint8_t) result->sharing;
  wire.source = (uint8_t) result->source;
  wire.coherence = (uint8_t) result->coherence;
  wire.kind = (uint8_t) result->kind;
  wire.validator_length = (uint8_t) result->validator.length;
  wire.text_length = htole16 ((uint16_t) result->text.length);
  put (writer, &wire, sizeof wire);
  put_content (writer, &result->content);
  put_strings (writer, result->text, result_text_max (result), result->validator,
               FSC_VALIDATOR_MAX);
}

void
fsc_codec_put_progress (FscWriter *writer, const FscProgress *progress)
{
  FscWireProgress wire = { .index = htole16 ((uint16_t) progress->index),
                           .done = htole64 (progress->done),
                           .total = htole64 (progress->total),
                           .memory = htole64 (progress->memory) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_watched (FscWriter *writer, uint32_t index, uint32_t n_steps)
{
  FscWireWatched wire
      = { .index = htole16 ((uint16_t) index), .n_steps = htole16 ((uint16_t) n_steps) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_step (FscWriter *writer, const FscStep *step)
{
  FscWireStep wire = { 0 };

  wire.wd = htole32 ((uint32_t) step->wd);
  wire.name_length = htole16 ((uint16_t) step->name.length);
  put (writer, &wire, sizeof wire);
  put_string (writer, step->name, FSC_STEP_NAME_MAX);
}

static void
put_ids (FscWriter *writer, const uint64_t *ids, unsigned n_ids)
{
  for (unsigned i = 0; i < n_ids; i++)
    {
      uint64_t id = htole64 (ids[i]);

      put (writer, &id, sizeof id);
    }
}

void
fsc_codec_put_give_back (FscWriter *writer, uint32_t flags, const uint64_t *ids, uint32_t n_ids)
{
  FscWireGiveBack wire = { .n_ids = htole32 (n_ids), .flags = htole32 (flags) };

  put (writer, &wire, sizeof wire);
  put_ids (writer, ids, n_ids);
}

void
fsc_codec_put_speak_for (FscWriter *writer, const FscSpeakFor *whom)
{
  FscWireSpeakFor wire = { .uid = htole32 (whom->uid),
                           .gid = htole32 (whom->gid),
                           .n_groups = htole32 (whom->n_groups) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_group (FscWriter *writer, uint32_t group)
{
  group = htole32 (group);
  put (writer, &group, sizeof group);
}

void
fsc_codec_put_cancel (FscWriter *writer, uint32_t serial)
{
  FscWireCancel wire = { .serial = htole32 (serial) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_event (FscWriter *writer, const FscEvent *event)
{
  FscWireEvent wire = { .reason = htole16 ((uint16_t) event->reason),
                        .n_coalesced = htole32 (event->n_coalesced) };

  put (writer, &wire, sizeof wire);
}

static uint8_t
get_match (bool is_pattern, bool is_mount, bool is_deep)
{
  if (is_mount)
    return is_deep ? FSC_MATCH_MOUNTS : FSC_MATCH_MOUNT;
  return is_pattern ? FSC_MATCH_PATTERN : FSC_MATCH_URI;
}

void
fsc_codec_put_target (FscWriter *writer, const FscTarget *target)
{
  FscWireTarget wire = { 0 };

  wire.match = get_match (target->is_pattern, target->is_mount, target->is_deep);
  wire.pinned = target->pinned;
  wire.uri_length = htole16 ((uint16_t) target->uri.length);
  put (writer, &wire, sizeof wire);
  put_string (writer, target->uri, FSC_URI_MAX);
}

void
fsc_codec_put_list (FscWriter *writer, const FscList *list)
{
  FscWireList wire = { 0 };

  wire.cursor = htole64 (list->cursor);
  wire.match = get_match (list->is_pattern, list->is_mount, list->is_deep);
  wire.uri_length = htole16 ((uint16_t) list->uri.length);
  put (writer, &wire, sizeof wire);
  put_string (writer, list->uri, FSC_URI_MAX);
}

void
fsc_codec_put_holdings (FscWriter *writer, uint64_t next, uint32_t n_holdings)
{
  FscWireHoldings wire = { .next = htole64 (next), .n_holdings = htole32 (n_holdings) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_holding (FscWriter *writer, const FscHolding *holding)
{
  FscWireHolding wire = { 0 };

  wire.client = htole64 (holding->client);
  wire.given = htole64 (holding->given);
  wire.first_ms = htole64 (holding->first_ms);
  wire.last_ms = htole64 (holding->last_ms);
  wire.pid = htole32 (holding->pid);
  wire.uid = htole32 (holding->uid);
  wire.lent = htole32 (holding->lent);
  wire.mount_id = htole32 (holding->mount_id);
  wire.sharing = (uint8_t) holding->sharing;
  wire.name_length = (uint8_t) holding->name.length;
  wire.uri_length = htole16 ((uint16_t) holding->uri.length);
  put (writer, &wire, sizeof wire);
  put_strings (writer, holding->uri, FSC_URI_MAX, holding->name, FSC_NAME_MAX);
}

void
fsc_codec_put_entries (FscWriter *writer, uint64_t next, uint32_t n_entries)
{
  FscWireEntries wire = { .next = htole64 (next), .n_entries = htole32 (n_entries) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_entry (FscWriter *writer, const FscEntryInfo *entry)
{
  uint64_t generation = htole64 (entry->generation);
  FscWireEntry wire = { 0 };

  wire.hits = htole64 (entry->hits);
  wire.age_ms = htole64 (entry->age_ms);
  wire.idle_ms = htole64 (entry->idle_ms);
  wire.checked_ms = htole32 (entry->checked_ms);
  wire.ttl_ms = htole32 (entry->ttl_ms);
  wire.cost_us = htole32 (entry->cost_us);
  wire.flags = htole32 (entry->flags);
  wire.state = htole32 (entry->state | (entry->content.is_known ? FSC_ENTRY_CONTENT : 0)
                        | (entry->content.is_sealed ? FSC_ENTRY_SEALED : 0)
                        | (entry->generation != 0 ? FSC_ENTRY_GENERATION : 0));
  wire.mount_id = htole32 (entry->mount_id);
  wire.kind = (uint8_t) entry->kind;
  wire.coherence = (uint8_t) entry->coherence;
  wire.sharing = (uint8_t) entry->sharing;
  wire.uri_length = htole16 ((uint16_t) entry->uri.length);
  put (writer, &wire, sizeof wire);
  if (entry->generation != 0)
    put (writer, &generation, sizeof generation);
  put_content (writer, &entry->content);
  put_string (writer, entry->uri, FSC_URI_MAX);
}

void
fsc_codec_put_counters (FscWriter *writer, uint32_t n_counters)
{
  FscWireCounters wire = { .n_counters = htole32 (n_counters) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_counter (FscWriter *writer, const FscCounter *counter)
{
  FscWireCounter wire = { 0 };

  wire.value = htole64 (counter->value);
  wire.name_length = htole16 ((uint16_t) counter->name.length);
  put (writer, &wire, sizeof wire);
  put_string (writer, counter->name, FSC_NAME_MAX);
}

void
fsc_codec_put_set (FscWriter *writer, const FscCounter *limit)
{
  fsc_codec_put_counter (writer, limit);
}

void
fsc_codec_put_put (FscWriter *writer, const FscPut *what)
{
  FscWirePut wire = { 0 };

  wire.expected = htole64 (what->expected);
  wire.ttl_ms = htole32 (what->ttl_ms);
  wire.mode = (uint8_t) what->mode;
  wire.uri_length = htole16 ((uint16_t) what->uri.length);
  put (writer, &wire, sizeof wire);
  put_string (writer, what->uri, FSC_URI_MAX);
}

void
fsc_codec_put_receive (FscWriter *writer, uint32_t timeout_ms)
{
  FscWireReceive wire = { .timeout_ms = htole32 (timeout_ms) };

  put (writer, &wire, sizeof wire);
}

void
fsc_codec_put_hand (FscWriter *writer, const uint64_t *ids, unsigned n_ids, FscBytes packet)
{
  FscWireHand wire = { 0 };

  wire.n_ids = htole16 ((uint16_t) n_ids);
  wire.packet_length = htole32 ((uint32_t) packet.length);
  put (writer, &wire, sizeof wire);
  put_ids (writer, ids, n_ids);
  put_string (writer, packet, FSC_PACKET_MAX);
}

size_t
fsc_codec_item_size (const FscItem *item)
{
  return sizeof (FscWireItem) + PADDED (item->uri.length + item->validator.length)
         + PADDED (item->resume.length);
}

static size_t
get_content_size (const FscContentInfo *content)
{
  return content->is_known ? sizeof (FscWireContent) : 0;
}

size_t
fsc_codec_result_size (const FscResult *result)
{
  return sizeof (FscWireResult) + get_content_size (&result->content)
         + PADDED (result->text.length + result->validator.length);
}

size_t
fsc_codec_entry_size (const FscEntryInfo *entry)
{
  return sizeof (FscWireEntry) + (entry->generation != 0 ? sizeof entry->generation : 0)
         + get_content_size (&entry->content) + PADDED (entry->uri.length);
}

size_t
fsc_codec_holding_size (const FscHolding *holding)
{
  return sizeof (FscWireHolding) + PADDED (holding->uri.length + holding->name.length);
}

/* Reading */

static bool
fail (FscReader *reader)
{
  reader->failed = true;
  return false;
}

static bool
require (FscReader *reader, bool condition)
{
  return condition ? !reader->failed : fail (reader);
}

static const uint8_t *
take (FscReader *reader, size_t length)
{
  const uint8_t *bytes;

  if (reader->failed || length > reader->length - reader->position)
    {
      reader->failed = true;
      return NULL;
    }
  bytes = reader->data + reader->position;
  reader->position += length;
  return bytes;
}

static bool
get (FscReader *reader, void *wire, size_t length)
{
  const uint8_t *bytes = take (reader, length);

  if (bytes == NULL)
    return false;
  memcpy (wire, bytes, length);
  return true;
}

/* Takes two strings and their padding. */
static bool
get_strings (FscReader *reader, FscBytes *first, size_t first_length, size_t first_max,
             FscBytes *second, size_t second_length, size_t second_max)
{
  size_t length = first_length + second_length;
  const uint8_t *bytes;

  if (!require (reader, first_length <= first_max && second_length <= second_max))
    return false;
  bytes = take (reader, PADDED (length));
  if (bytes == NULL)
    return false;
  *first = (FscBytes){ (const char *) bytes, first_length };
  *second = (FscBytes){ (const char *) bytes + first_length, second_length };
  while (length % 4 != 0)
    if (bytes[length++] != 0)
      return fail (reader);
  return true;
}

static bool
get_string (FscReader *reader, FscBytes *string, size_t length, size_t max)
{
  FscBytes none;

  return get_strings (reader, string, length, max, &none, 0, 0);
}

int
fsc_reader_begin (FscReader *reader, FscHeader *header, const void *packet, size_t length,
                  unsigned n_fds)
{
  FscWireHeader wire;
  unsigned min_fds, max_fds;

  *reader = (FscReader){ .data = packet, .length = length };
  if (!require (reader, length <= FSC_PACKET_MAX) || !get (reader, &wire, sizeof wire))
    return -EPROTO;

  header->opcode = le16toh (wire.opcode);
  header->serial = le32toh (wire.serial);
  header->length = le32toh (wire.length);
  header->n_fds = le16toh (wire.n_fds);
  if (header->length != length - sizeof wire || (n_fds != FSC_FDS_LOST && header->n_fds != n_fds)
      || wire.flags != 0 || wire.zero != 0
      || !fsc_codec_get_fd_range (header->opcode, &min_fds, &max_fds) || header->n_fds < min_fds
      || header->n_fds > max_fds)
    {
      reader->failed = true;
      return -EPROTO;
    }
  if (header->opcode == FSC_OP_OPENED || header->opcode == FSC_OP_EVENT)
    reader->fds_left = header->n_fds;
  return 0;
}

int
fsc_reader_finish (const FscReader *reader)
{
  return reader->failed || reader->position != reader->length || reader->fds_left != 0 ? -EPROTO
                                                                                       : 0;
}

bool
fsc_codec_get_hello (FscReader *reader, FscHello *hello)
{
  FscWireHello wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  hello->magic = le32toh (wire.magic);
  hello->lowest = le16toh (wire.lowest);
  hello->highest = le16toh (wire.highest);
  hello->features = le32toh (wire.features);
  return require (reader, hello->magic == FSC_PROTOCOL_MAGIC && wire.zero == 0)
         && get_string (reader, &hello->name, le16toh (wire.name_length), FSC_NAME_MAX);
}

bool
fsc_codec_get_welcome (FscReader *reader, FscWelcome *welcome)
{
  FscWireWelcome wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  welcome->version = le16toh (wire.version);
  welcome->features = le32toh (wire.features);
  welcome->serves = le32toh (wire.serves);
  welcome->packet_max = le32toh (wire.packet_max);
  welcome->items_max = le16toh (wire.items_max);
  return require (reader, wire.zero == 0)
         && get_string (reader, &welcome->name, le16toh (wire.name_length), FSC_NAME_MAX);
}

bool
fsc_codec_get_error (FscReader *reader, FscError *error)
{
  FscWireError wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  error->code = le16toh (wire.code);
  error->error = (int) le32toh (wire.error);
  return require (reader,
                  error->code != FSC_CODE_OK && error->code <= FSC_CODE_LAST && error->error >= 0)
         && get_string (reader, &error->text, le16toh (wire.text_length), FSC_TEXT_MAX);
}

bool
fsc_codec_get_done (FscReader *reader, uint64_t *count)
{
  FscWireDone wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *count = le64toh (wire.count);
  return true;
}

bool
fsc_codec_get_open (FscReader *reader, uint32_t *n_items)
{
  FscWireOpen wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *n_items = le32toh (wire.n_items);
  return require (reader, *n_items > 0 && *n_items <= FSC_ITEMS_MAX);
}

bool
fsc_codec_get_item (FscReader *reader, FscItem *item)
{
  FscWireItem wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  item->flags = le32toh (wire.flags);
  item->mode = le32toh (wire.mode);
  item->umask = le32toh (wire.umask);
  item->options = wire.options;
  item->mount_length = le16toh (wire.mount_length);
  item->max_age_ms = le32toh (wire.max_age_ms);
  item->sharing = wire.sharing;
  return require (reader, wire.sharing <= FSC_SHARING_LAST
                              && (item->options & ~(uint32_t) FSC_OPTIONS_ALL) == 0
                              && ((item->options & FSC_OPTION_DIGEST) == 0
                                  || wire.validator_length == FSC_DIGEST_SIZE)
                              && item->mount_length <= le16toh (wire.uri_length))
         && get_strings (reader, &item->uri, le16toh (wire.uri_length), FSC_URI_MAX,
                         &item->validator, wire.validator_length, FSC_VALIDATOR_MAX)
         && get_string (reader, &item->resume, wire.resume_length, FSC_RESUME_MAX);
}

bool
fsc_codec_get_opened (FscReader *reader, uint32_t *n_results)
{
  FscWireOpened wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *n_results = le32toh (wire.n_results);
  return require (reader, *n_results > 0 && *n_results <= FSC_ITEMS_MAX);
}

/* What `is_known` and `is_sealed` say. */
static bool
get_content (FscReader *reader, FscContentInfo *content, bool is_known, bool is_sealed)
{
  FscWireContent wire = { 0 };

  if (is_known && !get (reader, &wire, sizeof wire))
    return false;
  *content = (FscContentInfo){ is_known, is_sealed, le64toh (wire.size), { 0 } };
  memcpy (content->digest, wire.digest, sizeof wire.digest);
  return require (reader, is_known || !is_sealed);
}

bool
fsc_codec_get_result (FscReader *reader, FscResult *result)
{
  FscWireResult wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  result->index = le16toh (wire.index);
  result->code = le16toh (wire.code);
  result->error = (int) le32toh (wire.error);
  result->id = le64toh (wire.id);
  result->age_ms = le32toh (wire.age_ms);
  result->mount_id = le32toh (wire.mount_id);
  result->has_fd = (wire.has & FSC_RESULT_FD) != 0;
  result->has_ttl = (wire.has & FSC_RESULT_TTL) != 0;
  result->sharing = wire.sharing;
  result->source = wire.source;
  result->coherence = wire.coherence;
  result->kind = wire.kind;
  if (!require (reader,
                (wire.has & ~FSC_RESULT_ALL) == 0
                    && (wire.has == 0 || result->code == FSC_CODE_OK
                        || (wire.has == FSC_RESULT_TTL && result->code == FSC_CODE_UNCHANGED))
                    && result->has_fd <= reader->fds_left))
    return false;
  reader->fds_left -= result->has_fd;
  return require (reader, result->index < FSC_ITEMS_MAX && result->code <= FSC_CODE_LAST
                              && result->error >= 0 && wire.sharing <= FSC_SHARING_LAST
                              && wire.source <= FSC_SOURCE_LAST
                              && wire.coherence <= FSC_COHERENCE_LAST && wire.kind <= FSC_KIND_LAST)
         && get_content (reader, &result->content, (wire.has & FSC_RESULT_CONTENT) != 0,
                         (wire.has & FSC_RESULT_SEALED) != 0)
         && get_strings (reader, &result->text, le16toh (wire.text_length),
                         result_text_max (result), &result->validator, wire.validator_length,
                         FSC_VALIDATOR_MAX);
}

bool
fsc_codec_get_progress (FscReader *reader, FscProgress *progress)
{
  FscWireProgress wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  progress->index = le16toh (wire.index);
  progress->done = le64toh (wire.done);
  progress->total = le64toh (wire.total);
  progress->memory = le64toh (wire.memory);
  return require (reader, progress->index < FSC_ITEMS_MAX && wire.zero == 0 && wire.zero2 == 0);
}

bool
fsc_codec_get_watched (FscReader *reader, uint32_t *index, uint32_t *n_steps)
{
  FscWireWatched wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *index = le16toh (wire.index);
  *n_steps = le16toh (wire.n_steps);
  return require (reader, *index < FSC_ITEMS_MAX && *n_steps >= 2 && *n_steps <= FSC_STEPS_MAX);
}

bool
fsc_codec_get_step (FscReader *reader, FscStep *step)
{
  FscWireStep wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  step->wd = (int) le32toh (wire.wd);
  return require (reader, step->wd > 0 && wire.zero == 0)
         && get_string (reader, &step->name, le16toh (wire.name_length), FSC_STEP_NAME_MAX);
}

bool
fsc_codec_get_give_back (FscReader *reader, uint32_t *flags, uint32_t *n_ids)
{
  FscWireGiveBack wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *flags = le32toh (wire.flags);
  *n_ids = le32toh (wire.n_ids);
  return require (reader,
                  *flags <= FSC_GIVE_BACK_TAKEN && *n_ids > 0 && *n_ids <= FSC_PACKET_MAX / 8);
}

bool
fsc_codec_get_id (FscReader *reader, uint64_t *id)
{
  if (!get (reader, id, sizeof *id))
    return false;
  *id = le64toh (*id);
  return true;
}

bool
fsc_codec_get_speak_for (FscReader *reader, FscSpeakFor *whom)
{
  FscWireSpeakFor wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  whom->uid = le32toh (wire.uid);
  whom->gid = le32toh (wire.gid);
  whom->n_groups = le32toh (wire.n_groups);
  /* The greatest number is nobody's: system calls take it for "leave as it is". */
  return require (reader, wire.zero == 0 && whom->n_groups <= FSC_GROUPS_MAX
                              && whom->uid != UINT32_MAX && whom->gid != UINT32_MAX);
}

bool
fsc_codec_get_group (FscReader *reader, uint32_t *group)
{
  if (!get (reader, group, sizeof *group))
    return false;
  *group = le32toh (*group);
  return require (reader, *group != UINT32_MAX);
}

bool
fsc_codec_get_cancel (FscReader *reader, uint32_t *serial)
{
  FscWireCancel wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *serial = le32toh (wire.serial);
  return true;
}

static bool
is_mount (unsigned match)
{
  return match == FSC_MATCH_MOUNT || match == FSC_MATCH_MOUNTS;
}

bool
fsc_codec_get_event (FscReader *reader, FscEvent *event)
{
  FscWireEvent wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  event->reason = le16toh (wire.reason);
  event->n_coalesced = le32toh (wire.n_coalesced);
  return require (reader, wire.zero == 0 && event->reason <= FSC_REASON_LAST);
}

bool
fsc_codec_get_target (FscReader *reader, FscTarget *target)
{
  FscWireTarget wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  target->is_pattern = wire.match == FSC_MATCH_PATTERN;
  target->is_mount = is_mount (wire.match);
  target->is_deep = wire.match == FSC_MATCH_MOUNTS;
  target->pinned = wire.pinned == 1;
  return require (reader, wire.match <= FSC_MATCH_MOUNTS && wire.pinned <= 1)
         && get_string (reader, &target->uri, le16toh (wire.uri_length), FSC_URI_MAX);
}

static bool
get_list (FscReader *reader, FscList *list, unsigned match_last)
{
  FscWireList wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  list->cursor = le64toh (wire.cursor);
  list->is_pattern = wire.match == FSC_MATCH_PATTERN;
  list->is_mount = is_mount (wire.match);
  list->is_deep = wire.match == FSC_MATCH_MOUNTS;
  return require (reader, wire.match <= match_last && wire.zero == 0 && wire.zero2 == 0)
         && get_string (reader, &list->uri, le16toh (wire.uri_length), FSC_URI_MAX);
}

bool
fsc_codec_get_list (FscReader *reader, FscList *list)
{
  return get_list (reader, list, FSC_MATCH_PATTERN);
}

bool
fsc_codec_get_holders (FscReader *reader, FscList *list)
{
  return get_list (reader, list, FSC_MATCH_MOUNTS);
}

bool
fsc_codec_get_holdings (FscReader *reader, uint64_t *next, uint32_t *n_holdings)
{
  FscWireHoldings wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *next = le64toh (wire.next);
  *n_holdings = le32toh (wire.n_holdings);
  return require (reader, wire.zero == 0);
}

bool
fsc_codec_get_holding (FscReader *reader, FscHolding *holding)
{
  FscWireHolding wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  holding->client = le64toh (wire.client);
  holding->given = le64toh (wire.given);
  holding->first_ms = le64toh (wire.first_ms);
  holding->last_ms = le64toh (wire.last_ms);
  holding->pid = le32toh (wire.pid);
  holding->uid = le32toh (wire.uid);
  holding->lent = le32toh (wire.lent);
  holding->mount_id = le32toh (wire.mount_id);
  holding->sharing = wire.sharing;
  return require (reader, wire.sharing <= FSC_SHARING_LAST && wire.zero == 0)
         && get_strings (reader, &holding->uri, le16toh (wire.uri_length), FSC_URI_MAX,
                         &holding->name, wire.name_length, FSC_NAME_MAX);
}

bool
fsc_codec_get_entries (FscReader *reader, uint64_t *next, uint32_t *n_entries)
{
  FscWireEntries wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *next = le64toh (wire.next);
  *n_entries = le32toh (wire.n_entries);
  return require (reader, wire.zero == 0);
}

bool
fsc_codec_get_entry (FscReader *reader, FscEntryInfo *entry)
{
  FscWireEntry wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  entry->hits = le64toh (wire.hits);
  entry->age_ms = le64toh (wire.age_ms);
  entry->idle_ms = le64toh (wire.idle_ms);
  entry->checked_ms = le32toh (wire.checked_ms);
  entry->ttl_ms = le32toh (wire.ttl_ms);
  entry->cost_us = le32toh (wire.cost_us);
  entry->flags = le32toh (wire.flags);
  entry->state = le32toh (wire.state);
  entry->mount_id = le32toh (wire.mount_id);
  entry->kind = wire.kind;
  entry->coherence = wire.coherence;
  entry->sharing = wire.sharing;
  entry->generation = 0;
  if ((entry->state & FSC_ENTRY_GENERATION) != 0
      && !get (reader, &entry->generation, sizeof entry->generation))
    return false;
  entry->generation = le64toh (entry->generation);
  return require (reader,
                  wire.kind <= FSC_KIND_LAST && wire.coherence <= FSC_COHERENCE_LAST
                      && wire.sharing <= FSC_SHARING_LAST && wire.zero == 0 && wire.zero2 == 0
                      && ((entry->state & FSC_ENTRY_GENERATION) != 0) == (entry->generation != 0))
         && get_content (reader, &entry->content, (entry->state & FSC_ENTRY_CONTENT) != 0,
                         (entry->state & FSC_ENTRY_SEALED) != 0)
         && get_string (reader, &entry->uri, le16toh (wire.uri_length), FSC_URI_MAX);
}

bool
fsc_codec_get_counters (FscReader *reader, uint32_t *n_counters)
{
  FscWireCounters wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *n_counters = le32toh (wire.n_counters);
  return require (reader, wire.zero == 0);
}

bool
fsc_codec_get_counter (FscReader *reader, FscCounter *counter)
{
  FscWireCounter wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  counter->value = le64toh (wire.value);
  return require (reader, wire.zero == 0 && wire.zero2 == 0)
         && get_string (reader, &counter->name, le16toh (wire.name_length), FSC_NAME_MAX);
}

bool
fsc_codec_get_set (FscReader *reader, FscCounter *limit)
{
  return fsc_codec_get_counter (reader, limit)
         && require (reader, limit->name.length > 0 || limit->value == 0);
}

bool
fsc_codec_get_put (FscReader *reader, FscPut *what)
{
  FscWirePut wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  what->expected = le64toh (wire.expected);
  what->ttl_ms = le32toh (wire.ttl_ms);
  what->mode = wire.mode;
  return require (reader, wire.zero == 0 && wire.mode <= FSC_PUT_LAST
                              && (what->expected != 0) == (wire.mode == FSC_PUT_EXCHANGE))
         && get_string (reader, &what->uri, le16toh (wire.uri_length), FSC_URI_MAX);
}

bool
fsc_codec_get_receive (FscReader *reader, uint32_t *timeout_ms)
{
  FscWireReceive wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *timeout_ms = le32toh (wire.timeout_ms);
  return require (reader, wire.zero == 0);
}

bool
fsc_codec_get_hand (FscReader *reader, unsigned *n_ids, uint32_t *packet_length)
{
  FscWireHand wire;

  if (!get (reader, &wire, sizeof wire))
    return false;
  *n_ids = le16toh (wire.n_ids);
  *packet_length = le32toh (wire.packet_length);
  return require (reader, wire.flags == 0 && wire.zero == 0 && wire.zero2 == 0 && *n_ids > 0
                              && *n_ids <= FSC_FDS_MAX && *packet_length >= sizeof (FscWireHeader));
}

bool
fsc_codec_get_packet (FscReader *reader, uint32_t packet_length, FscBytes *packet)
{
  return get_string (reader, packet, packet_length, FSC_PACKET_MAX);
}
