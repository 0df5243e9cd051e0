/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Any message as one value; see message.h.
 */
#include "tests/harness/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a packet of 64 KiB can hold at most: more would be read only by a broken codec. */
#define RECORDS_MAX 8192

/* Reading */

static bool
get_record (FscReader *reader, FscOpcode opcode, FscTestRecord *record)
{
  switch (opcode)
    {
    case FSC_OP_OPEN:
    case FSC_OP_WATCH:
      return fsc_codec_get_item (reader, &record->item);
    case FSC_OP_OPENED:
    case FSC_OP_EVENT:
      return fsc_codec_get_result (reader, &record->result);
    case FSC_OP_GIVE_BACK:
    case FSC_OP_HAND:
      return fsc_codec_get_id (reader, &record->id);
    case FSC_OP_ENTRIES:
      return fsc_codec_get_entry (reader, &record->entry);
    case FSC_OP_COUNTERS:
      return fsc_codec_get_counter (reader, &record->counter);
    case FSC_OP_HOLDINGS:
      return fsc_codec_get_holding (reader, &record->holding);
    case FSC_OP_WATCHED:
      return fsc_codec_get_step (reader, &record->step);
    case FSC_OP_SPEAK_FOR:
      return fsc_codec_get_group (reader, &record->group);
    default:
      return false;
    }
}

static bool
get_records (FscReader *reader, FscTestMessage *message)
{
  if (message->n_records > RECORDS_MAX)
    return false;
  message->records = calloc (message->n_records + 1, sizeof *message->records);
  if (message->records == NULL)
    abort ();
  for (uint32_t i = 0; i < message->n_records; i++)
    if (!get_record (reader, message->header.opcode, &message->records[i]))
      return false;
  return true;
}

static bool
get_hand (FscReader *reader, FscTestMessage *message)
{
  uint32_t packet_length;
  unsigned n_ids;

  if (!fsc_codec_get_hand (reader, &n_ids, &packet_length))
    return false;
  message->n_records = n_ids;
  return get_records (reader, message)
         && fsc_codec_get_packet (reader, packet_length, &message->hand.packet);
}

static bool
get_body (FscReader *reader, FscTestMessage *message)
{
  switch (message->header.opcode)
    {
    case FSC_OP_HELLO:
      return fsc_codec_get_hello (reader, &message->hello);
    case FSC_OP_WELCOME:
      return fsc_codec_get_welcome (reader, &message->welcome);
    case FSC_OP_ERROR:
      return fsc_codec_get_error (reader, &message->error);
    case FSC_OP_DONE:
      return fsc_codec_get_done (reader, &message->count);
    case FSC_OP_OPEN:
      return fsc_codec_get_open (reader, &message->n_records) && get_records (reader, message);
    case FSC_OP_OPENED:
      return fsc_codec_get_opened (reader, &message->n_records) && get_records (reader, message);
    case FSC_OP_GIVE_BACK:
      return fsc_codec_get_give_back (reader, &message->give_back, &message->n_records)
             && get_records (reader, message);
    case FSC_OP_CANCEL:
    case FSC_OP_UNWATCH:
      return fsc_codec_get_cancel (reader, &message->request);
    case FSC_OP_WATCH:
      message->n_records = 1;
      return get_records (reader, message);
    case FSC_OP_EVENT:
      message->n_records = 1;
      return fsc_codec_get_event (reader, &message->event) && get_records (reader, message);
    case FSC_OP_DROP:
    case FSC_OP_PIN:
    case FSC_OP_INFO:
      return fsc_codec_get_target (reader, &message->target);
    case FSC_OP_LIST:
      return fsc_codec_get_list (reader, &message->list);
    case FSC_OP_HOLDERS:
      return fsc_codec_get_holders (reader, &message->list);
    case FSC_OP_HOLDINGS:
      return fsc_codec_get_holdings (reader, &message->next, &message->n_records)
             && get_records (reader, message);
    case FSC_OP_ENTRIES:
      return fsc_codec_get_entries (reader, &message->next, &message->n_records)
             && get_records (reader, message);
    case FSC_OP_COUNTERS:
      return fsc_codec_get_counters (reader, &message->n_records) && get_records (reader, message);
    case FSC_OP_STATUS:
    case FSC_OP_PING:
      return true;
    case FSC_OP_SET:
      return fsc_codec_get_set (reader, &message->limit);
    case FSC_OP_HAND:
      return get_hand (reader, message);
    case FSC_OP_WATCHED:
      return fsc_codec_get_watched (reader, &message->index, &message->n_records)
             && get_records (reader, message);
    case FSC_OP_PROGRESS:
      return fsc_codec_get_progress (reader, &message->progress);
    case FSC_OP_PUT:
      return fsc_codec_get_put (reader, &message->put);
    case FSC_OP_RECEIVE:
      return fsc_codec_get_receive (reader, &message->timeout_ms);
    case FSC_OP_GIVE:
      return true;
    case FSC_OP_SPEAK_FOR:
      if (!fsc_codec_get_speak_for (reader, &message->whom))
        return false;
      message->n_records = message->whom.n_groups;
      return get_records (reader, message);
    }
  return false;
}

int
fsc_test_message_decode (FscTestMessage *message, const void *packet, size_t length, unsigned n_fds)
{
  FscReader reader;

  memset (message, 0, sizeof *message);
  if (fsc_reader_begin (&reader, &message->header, packet, length, n_fds) == 0
      && get_body (&reader, message) && fsc_reader_finish (&reader) == 0)
    return 0;
  fsc_test_message_clear (message);
  return -EPROTO;
}

void
fsc_test_message_clear (FscTestMessage *message)
{
  free (message->records);
  memset (message, 0, sizeof *message);
}

/* Writing */

static void
put_records (FscWriter *writer, const FscTestMessage *message)
{
  for (uint32_t i = 0; i < message->n_records; i++)
    {
      const FscTestRecord *record = &message->records[i];

      if (message->header.opcode == FSC_OP_OPEN || message->header.opcode == FSC_OP_WATCH)
        fsc_codec_put_item (writer, &record->item);
      else if (message->header.opcode == FSC_OP_OPENED || message->header.opcode == FSC_OP_EVENT)
        fsc_codec_put_result (writer, &record->result);
      else if (message->header.opcode == FSC_OP_ENTRIES)
        fsc_codec_put_entry (writer, &record->entry);
      else if (message->header.opcode == FSC_OP_HOLDINGS)
        fsc_codec_put_holding (writer, &record->holding);
      else if (message->header.opcode == FSC_OP_WATCHED)
        fsc_codec_put_step (writer, &record->step);
      else if (message->header.opcode == FSC_OP_SPEAK_FOR)
        fsc_codec_put_group (writer, record->group);
      else
        fsc_codec_put_counter (writer, &record->counter);
    }
}

static void
put_ids (FscWriter *writer, const FscTestMessage *message)
{
  uint64_t *ids = calloc (message->n_records + 1, sizeof *ids);

  if (ids == NULL)
    abort ();
  for (uint32_t i = 0; i < message->n_records; i++)
    ids[i] = message->records[i].id;
  if (message->header.opcode == FSC_OP_GIVE_BACK)
    fsc_codec_put_give_back (writer, message->give_back, ids, message->n_records);
  else
    fsc_codec_put_hand (writer, ids, message->n_records, message->hand.packet);
  free (ids);
}

static void
put_body (FscWriter *writer, const FscTestMessage *message)
{
  switch (message->header.opcode)
    {
    case FSC_OP_HELLO:
      fsc_codec_put_hello (writer, &message->hello);
      break;
    case FSC_OP_WELCOME:
      fsc_codec_put_welcome (writer, &message->welcome);
      break;
    case FSC_OP_ERROR:
      fsc_codec_put_error (writer, &message->error);
      break;
    case FSC_OP_DONE:
      fsc_codec_put_done (writer, message->count);
      break;
    case FSC_OP_OPEN:
      fsc_codec_put_open (writer, message->n_records);
      break;
    case FSC_OP_OPENED:
      fsc_codec_put_opened (writer, message->n_records);
      break;
    case FSC_OP_GIVE_BACK:
    case FSC_OP_HAND:
      put_ids (writer, message);
      return;
    case FSC_OP_CANCEL:
    case FSC_OP_UNWATCH:
      fsc_codec_put_cancel (writer, message->request);
      break;
    case FSC_OP_SPEAK_FOR:
      fsc_codec_put_speak_for (writer, &message->whom);
      break;
    case FSC_OP_PROGRESS:
      fsc_codec_put_progress (writer, &message->progress);
      break;
    case FSC_OP_PUT:
      fsc_codec_put_put (writer, &message->put);
      break;
    case FSC_OP_RECEIVE:
      fsc_codec_put_receive (writer, message->timeout_ms);
      break;
    case FSC_OP_EVENT:
      fsc_codec_put_event (writer, &message->event);
      break;
    case FSC_OP_DROP:
    case FSC_OP_PIN:
    case FSC_OP_INFO:
      fsc_codec_put_target (writer, &message->target);
      break;
    case FSC_OP_LIST:
    case FSC_OP_HOLDERS:
      fsc_codec_put_list (writer, &message->list);
      break;
    case FSC_OP_HOLDINGS:
      fsc_codec_put_holdings (writer, message->next, message->n_records);
      break;
    case FSC_OP_ENTRIES:
      fsc_codec_put_entries (writer, message->next, message->n_records);
      break;
    case FSC_OP_COUNTERS:
      fsc_codec_put_counters (writer, message->n_records);
      break;
    case FSC_OP_WATCHED:
      fsc_codec_put_watched (writer, message->index, message->n_records);
      break;
    case FSC_OP_SET:
      fsc_codec_put_set (writer, &message->limit);
      break;
    case FSC_OP_WATCH:
    case FSC_OP_STATUS:
    case FSC_OP_PING:
    case FSC_OP_GIVE:
      break;
    }
  put_records (writer, message);
}

int
fsc_test_message_encode (const FscTestMessage *message, void *buffer, size_t size)
{
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, size);
  put_body (&writer, message);
  return fsc_writer_finish (&writer, message->header.opcode, message->header.serial,
                            message->header.n_fds);
}

/* Words */

static void
print_bytes (FILE *out, const char *name, FscBytes bytes)
{
  fprintf (out, " %s=\"", name);
  for (size_t i = 0; i < bytes.length; i++)
    {
      unsigned char c = (unsigned char) bytes.data[i];

      if (c >= ' ' && c <= '~' && c != '"' && c != '\\')
        fputc (c, out);
      else
        fprintf (out, "\\x%02x", c);
    }
  fputc ('"', out);
}

static int
get_match (bool is_pattern, bool is_mount, bool is_deep)
{
  return is_mount ? FSC_MATCH_MOUNT + is_deep : is_pattern;
}

static void
print_target (FILE *out, const FscTarget *target)
{
  fprintf (out, " match=%d pinned=%d",
           get_match (target->is_pattern, target->is_mount, target->is_deep), target->pinned);
  print_bytes (out, "uri", target->uri);
}

static void
print_item (FILE *out, const FscItem *item)
{
  fprintf (out, "item flags=0x%x mode=%#o umask=%#o options=0x%x max_age_ms=%u sharing=%d",
           item->flags, item->mode, item->umask, item->options, item->max_age_ms, item->sharing);
  if (item->mount_length > 0)
    fprintf (out, " mount_length=%u", item->mount_length);
  print_bytes (out, "uri", item->uri);
  print_bytes (out, "validator", item->validator);
  if (item->resume.length > 0)
    print_bytes (out, "resume", item->resume);
}

static void
print_content (FILE *out, const FscContentInfo *content)
{
  if (!content->is_known)
    return;
  fprintf (out, " sealed=%d size=%" PRIu64 " digest=", content->is_sealed, content->size);
  for (size_t i = 0; i < sizeof content->digest; i++)
    fprintf (out, "%02x", content->digest[i]);
}

static void
print_result (FILE *out, const FscResult *result)
{
  fprintf (out, "result index=%u code=%d error=%d id=%" PRIu64 " age_ms=%u mount_id=%u",
           result->index, result->code, result->error, result->id, result->age_ms,
           result->mount_id);
  fprintf (out, " has_fd=%d sharing=%d source=%d coherence=%d kind=%d", result->has_fd,
           result->sharing, result->source, result->coherence, result->kind);
  if (result->has_ttl)
    fprintf (out, " has_ttl=1");
  print_content (out, &result->content);
  print_bytes (out, "text", result->text);
  print_bytes (out, "validator", result->validator);
}

static void
print_entry (FILE *out, const FscEntryInfo *entry)
{
  fprintf (out, "entry hits=%" PRIu64 " age_ms=%" PRIu64 " idle_ms=%" PRIu64, entry->hits,
           entry->age_ms, entry->idle_ms);
  fprintf (out, " checked_ms=%u ttl_ms=%u cost_us=%u flags=0x%x state=0x%x mount_id=%u",
           entry->checked_ms, entry->ttl_ms, entry->cost_us, entry->flags, entry->state,
           entry->mount_id);
  fprintf (out, " kind=%d coherence=%d sharing=%d", entry->kind, entry->coherence, entry->sharing);
  if (entry->generation != 0)
    fprintf (out, " generation=%" PRIu64, entry->generation);
  print_content (out, &entry->content);
  print_bytes (out, "uri", entry->uri);
}

static void
print_holding (FILE *out, const FscHolding *holding)
{
  fprintf (out, "holding client=%" PRIu64 " given=%" PRIu64, holding->client, holding->given);
  fprintf (out, " first_ms=%" PRIu64 " last_ms=%" PRIu64, holding->first_ms, holding->last_ms);
  fprintf (out, " pid=%u uid=%u lent=%u mount_id=%u sharing=%d", holding->pid, holding->uid,
           holding->lent, holding->mount_id, holding->sharing);
  print_bytes (out, "uri", holding->uri);
  print_bytes (out, "name", holding->name);
}

static void
print_record (FILE *out, FscOpcode opcode, const FscTestRecord *record)
{
  if (opcode == FSC_OP_OPEN || opcode == FSC_OP_WATCH)
    print_item (out, &record->item);
  else if (opcode == FSC_OP_OPENED || opcode == FSC_OP_EVENT)
    print_result (out, &record->result);
  else if (opcode == FSC_OP_ENTRIES)
    print_entry (out, &record->entry);
  else if (opcode == FSC_OP_HOLDINGS)
    print_holding (out, &record->holding);
  else if (opcode == FSC_OP_COUNTERS)
    {
      fprintf (out, "counter value=%" PRIu64, record->counter.value);
      print_bytes (out, "name", record->counter.name);
    }
  else if (opcode == FSC_OP_WATCHED)
    {
      fprintf (out, "step wd=%d", record->step.wd);
      print_bytes (out, "name", record->step.name);
    }
  else if (opcode == FSC_OP_SPEAK_FOR)
    fprintf (out, "group %u", record->group);
  else
    fprintf (out, "id %" PRIu64, record->id);
  fputc ('\n', out);
}

static void
print_greeting (FILE *out, const FscTestMessage *message)
{
  if (message->header.opcode == FSC_OP_HELLO)
    {
      fprintf (out, " magic=0x%x lowest=%u highest=%u features=0x%x", message->hello.magic,
               message->hello.lowest, message->hello.highest, message->hello.features);
      print_bytes (out, "name", message->hello.name);
    }
  else
    {
      fprintf (out, " version=%u features=0x%x serves=0x%x packet_max=%u items_max=%u",
               message->welcome.version, message->welcome.features, message->welcome.serves,
               message->welcome.packet_max, message->welcome.items_max);
      print_bytes (out, "name", message->welcome.name);
    }
}

static void
print_body (FILE *out, const FscTestMessage *message)
{
  switch (message->header.opcode)
    {
    case FSC_OP_HELLO:
    case FSC_OP_WELCOME:
      print_greeting (out, message);
      break;
    case FSC_OP_ERROR:
      fprintf (out, " code=%d error=%d", message->error.code, message->error.error);
      print_bytes (out, "text", message->error.text);
      break;
    case FSC_OP_DONE:
      fprintf (out, " count=%" PRIu64, message->count);
      break;
    case FSC_OP_OPEN:
      fprintf (out, " n_items=%u", message->n_records);
      break;
    case FSC_OP_OPENED:
      fprintf (out, " n_results=%u", message->n_records);
      break;
    case FSC_OP_GIVE_BACK:
      fprintf (out, " n_ids=%u flags=%u", message->n_records, message->give_back);
      break;
    case FSC_OP_CANCEL:
    case FSC_OP_UNWATCH:
      fprintf (out, " request=%u", message->request);
      break;
    case FSC_OP_EVENT:
      fprintf (out, " reason=%d n_coalesced=%u", message->event.reason, message->event.n_coalesced);
      break;
    case FSC_OP_DROP:
    case FSC_OP_PIN:
    case FSC_OP_INFO:
      print_target (out, &message->target);
      break;
    case FSC_OP_LIST:
    case FSC_OP_HOLDERS:
      fprintf (out, " cursor=%" PRIu64 " match=%d", message->list.cursor,
               get_match (message->list.is_pattern, message->list.is_mount, message->list.is_deep));
      print_bytes (out, "uri", message->list.uri);
      break;
    case FSC_OP_HOLDINGS:
      fprintf (out, " next=%" PRIu64 " n_holdings=%u", message->next, message->n_records);
      break;
    case FSC_OP_ENTRIES:
      fprintf (out, " next=%" PRIu64 " n_entries=%u", message->next, message->n_records);
      break;
    case FSC_OP_COUNTERS:
      fprintf (out, " n_counters=%u", message->n_records);
      break;
    case FSC_OP_SET:
      fprintf (out, " value=%" PRIu64, message->limit.value);
      print_bytes (out, "name", message->limit.name);
      break;
    case FSC_OP_WATCH:
    case FSC_OP_STATUS:
    case FSC_OP_PING:
    case FSC_OP_GIVE:
      break;
    case FSC_OP_PUT:
      fprintf (out, " expected=%" PRIu64 " ttl_ms=%u mode=%d", message->put.expected,
               message->put.ttl_ms, message->put.mode);
      print_bytes (out, "uri", message->put.uri);
      break;
    case FSC_OP_RECEIVE:
      fprintf (out, " timeout_ms=%u", message->timeout_ms);
      break;
    case FSC_OP_HAND:
      fprintf (out, " n_ids=%u packet_length=%zu", message->n_records, message->hand.packet.length);
      break;
    case FSC_OP_WATCHED:
      fprintf (out, " index=%u n_steps=%u", message->index, message->n_records);
      break;
    case FSC_OP_PROGRESS:
      fprintf (out, " index=%u done=%" PRIu64 " total=%" PRIu64 " memory=%" PRIu64,
               message->progress.index, message->progress.done, message->progress.total,
               message->progress.memory);
      break;
    case FSC_OP_SPEAK_FOR:
      fprintf (out, " uid=%u gid=%u n_groups=%u", message->whom.uid, message->whom.gid,
               message->n_records);
      break;
    }
}

void
fsc_test_message_print (const FscTestMessage *message, FILE *out)
{
  fprintf (out, "%s serial=%u n_fds=%u", fsc_codec_opcode_name (message->header.opcode),
           message->header.serial, message->header.n_fds);
  print_body (out, message);
  fputc ('\n', out);
  for (uint32_t i = 0; i < message->n_records; i++)
    print_record (out, message->header.opcode, &message->records[i]);
  if (message->header.opcode == FSC_OP_HAND)
    {
      fputs ("packet ", out);
      for (size_t i = 0; i < message->hand.packet.length; i++)
        fprintf (out, "%02x", (unsigned char) message->hand.packet.data[i]);
      fputc ('\n', out);
    }
}

/* Vectors */

static int
hex_value (int c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return -1;
}

ssize_t
fsc_test_read_hex (FILE *in, uint8_t *packet, size_t size, FILE *words)
{
  char *line = NULL;
  size_t line_size = 0, length = 0;
  ssize_t r = 0;

  while (r == 0 && getline (&line, &line_size, in) >= 0)
    {
      if (strncmp (line, "#: ", 3) == 0 && words != NULL)
        fputs (line + 3, words);
      for (const char *c = line; r == 0 && *c != '#' && *c != '\n' && *c != '\0'; c++)
        {
          if (*c == ' ')
            continue;
          if (hex_value (c[0]) < 0 || hex_value (c[1]) < 0)
            r = -EINVAL;
          else if (length == size)
            r = -EMSGSIZE;
          else
            packet[length++] = (uint8_t) (hex_value (c[0]) * 16 + hex_value (c[1]));
          c++;
        }
    }
  free (line);
  return r < 0 ? r : (ssize_t) length;
}
