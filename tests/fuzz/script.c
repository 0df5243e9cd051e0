/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Messages made of a fuzzer's input; see script.h.
 */
#include "tests/fuzz/script.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "tests/harness/message.h"

#define RECORDS_MAX 12
#define DESCRIPTORS_MAX 256
#define PATIENCE_MS 10000

void
fsc_script_require (bool condition)
{
  if (!condition)
    abort ();
}

/* Numbers and strings */

uint8_t
fsc_script_take_byte (FscScript *script)
{
  if (script->size == 0)
    return 0;
  script->size--;
  return *script->data++;
}

static uint64_t
take_bytes (FscScript *script, unsigned n)
{
  uint64_t number = 0;

  for (unsigned i = 0; i < n; i++)
    number |= (uint64_t) fsc_script_take_byte (script) << 8 * i;
  return number;
}

uint32_t
fsc_script_take_number (FscScript *script)
{
  uint8_t byte = fsc_script_take_byte (script);

  return byte < 0xf0 ? byte : (uint32_t) take_bytes (script, byte % 4 + 1);
}

static uint64_t
take_long (FscScript *script)
{
  uint8_t byte = fsc_script_take_byte (script);

  return byte < 0xf0 ? byte : take_bytes (script, byte % 8 + 1);
}

static uint64_t
take_id (FscScript *script)
{
  uint8_t byte = fsc_script_take_byte (script);

  if (byte < 0x80 && script->n_ids > 0)
    return script->ids[byte % script->n_ids];
  return byte < 0xf0 ? byte % 16 : take_bytes (script, 8);
}

void
fsc_script_remember_id (FscScript *script, uint64_t id)
{
  if (script->n_ids == FSC_SCRIPT_IDS)
    memmove (script->ids, script->ids + 1, --script->n_ids * sizeof script->ids[0]);
  script->ids[script->n_ids++] = id;
}

static FscBytes
take_text (FscScript *script)
{
  static const char *const texts[] = {
    "",
    "file:///",
    "file:///dev/null",
    "file:///a/b",
    "file:///a/../b//c",
    "file:///a%2fb",
    "file:///**",
    "**",
    "handle:a",
    "handle:b",
    "handle:*",
    "odd:x",
    "odd://host/x#y",
    "kept:x",
    "tcp://localhost:1",
    "unix:///s",
    "http://localhost/a",
    "http://localhost/b",
    "unpack:///a.tar#b",
    "/",
    "a",
    "../b",
    "max-handles",
    "max-bytes",
    "idle-time",
    "no such thing",
  };
  uint8_t byte = fsc_script_take_byte (script);
  FscBytes text;

  if (byte < 0xc0)
    return (FscBytes){ texts[byte % (sizeof texts / sizeof texts[0])],
                       strlen (texts[byte % (sizeof texts / sizeof texts[0])]) };
  text = (FscBytes){ (const char *) script->data, byte - 0xc0 };
  if (text.length > script->size)
    text.length = script->size;
  script->data += text.length;
  script->size -= text.length;
  return text;
}

/* What the writer takes for granted. */
static FscBytes
take_short_text (FscScript *script, size_t most)
{
  FscBytes text = take_text (script);

  if (text.length > most)
    text.length = most;
  return text;
}

static bool
take_flag (FscScript *script)
{
  return fsc_script_take_byte (script) % 2 != 0;
}

/* One of 0 to `last`, or rarely one more, which is none. */
static unsigned
take_choice (FscScript *script, unsigned last)
{
  uint8_t byte = fsc_script_take_byte (script);

  return byte == 0xff ? last + 1 : byte % (last + 1);
}

/* Records */

static FscContentInfo
take_content (FscScript *script)
{
  FscContentInfo content = { .is_known = fsc_script_take_byte (script) % 4 == 1 };

  if (content.is_known)
    {
      content.is_sealed = take_flag (script);
      content.size = take_long (script);
      memset (content.digest, fsc_script_take_byte (script), sizeof content.digest);
    }
  return content;
}

static FscItem
take_item (FscScript *script)
{
  static const uint32_t flags[]
      = { O_RDONLY | O_CLOEXEC, O_PATH,  O_RDWR,          O_RDONLY | O_DIRECTORY,
          O_WRONLY | O_CREAT,   O_TRUNC, O_PATH | O_RDWR, O_RDONLY | O_NONBLOCK };
  uint8_t shape = fsc_script_take_byte (script);
  FscItem item = { .uri = take_text (script), .flags = flags[shape % 8] };

  item.sharing = (FscSharing) (shape / 8 % 4 == 3 ? 0 : shape / 8 % 4);
  if (shape / 32 % 2 != 0)
    {
      item.options = fsc_script_take_byte (script);
      item.max_age_ms = fsc_script_take_number (script);
      item.mode = fsc_script_take_number (script);
      item.umask = fsc_script_take_number (script);
    }
  if (shape / 64 % 2 != 0)
    {
      item.validator = take_short_text (script, FSC_VALIDATOR_MAX);
      item.resume = take_short_text (script, FSC_RESUME_MAX);
      item.mount_length = fsc_script_take_byte (script) % 4;
      item.flags = fsc_script_take_number (script);
    }
  if (shape / 128 != 0 && script->size >= FSC_DIGEST_SIZE)
    {
      item.options |= FSC_OPTION_DIGEST;
      item.validator = (FscBytes){ (const char *) script->data, FSC_DIGEST_SIZE };
    }
  return item;
}

/* The first byte is how much of it is to be told. */
static FscResult
take_result (FscScript *script)
{
  uint8_t shape = fsc_script_take_byte (script);
  FscResult result = { .index = shape % 4, .has_fd = shape / 4 % 2 != 0 };

  if (!result.has_fd)
    {
      result.code = (FscCode) take_choice (script, FSC_CODE_LAST);
      result.error = fsc_script_take_byte (script);
    }
  if (shape / 8 % 2 != 0)
    result.id = take_id (script);
  if (shape / 16 % 2 != 0)
    result.validator = take_short_text (script, FSC_VALIDATOR_MAX);
  if (shape / 32 % 2 != 0)
    result.text = take_short_text (script, FSC_TEXT_MAX);
  if (shape / 64 % 2 != 0)
    {
      result.has_ttl = take_flag (script);
      result.age_ms = fsc_script_take_number (script);
      result.mount_id = fsc_script_take_number (script);
      result.content = take_content (script);
    }
  if (shape / 128 != 0)
    {
      result.sharing = (FscSharing) take_choice (script, FSC_SHARING_LAST);
      result.source = (FscSource) take_choice (script, FSC_SOURCE_LAST);
      result.coherence = (FscCoherence) take_choice (script, FSC_COHERENCE_LAST);
      result.kind = (FscKind) take_choice (script, FSC_KIND_LAST);
    }
  else if (result.has_fd)
    result.source = FSC_SOURCE_OPENED;
  return result;
}

static FscEntryInfo
take_entry (FscScript *script)
{
  return (FscEntryInfo){
    .uri = take_text (script),
    .hits = take_long (script),
    .generation = take_id (script),
    .flags = fsc_script_take_number (script),
    .state = fsc_script_take_byte (script),
    .kind = (FscKind) take_choice (script, FSC_KIND_LAST),
    .coherence = (FscCoherence) take_choice (script, FSC_COHERENCE_LAST),
    .sharing = (FscSharing) take_choice (script, FSC_SHARING_LAST),
    .content = take_content (script),
  };
}

static FscTestRecord
take_record (FscScript *script, FscOpcode opcode, bool is_last)
{
  FscTestRecord record = { 0 };

  switch (opcode)
    {
    case FSC_OP_OPEN:
    case FSC_OP_WATCH:
      record.item = take_item (script);
      break;
    case FSC_OP_OPENED:
    case FSC_OP_EVENT:
      record.result = take_result (script);
      break;
    case FSC_OP_ENTRIES:
      record.entry = take_entry (script);
      break;
    case FSC_OP_HOLDINGS:
      record.holding
          = (FscHolding){ .uri = take_text (script),
                          .name = take_short_text (script, FSC_NAME_MAX),
                          .client = take_id (script),
                          .given = take_long (script),
                          .sharing = (FscSharing) take_choice (script, FSC_SHARING_LAST) };
      break;
    case FSC_OP_COUNTERS:
      record.counter = (FscCounter){ take_short_text (script, FSC_NAME_MAX), take_long (script) };
      break;
    case FSC_OP_WATCHED:
      record.step.wd = (int) fsc_script_take_byte (script);
      if (!is_last)
        record.step.name = take_short_text (script, FSC_STEP_NAME_MAX);
      break;
    case FSC_OP_SPEAK_FOR:
      record.group = fsc_script_take_number (script);
      break;
    default:
      record.id = take_id (script);
      break;
    }
  return record;
}

/* Messages */

static void
take_target (FscScript *script, FscTestMessage *message)
{
  uint8_t shape = fsc_script_take_byte (script);

  message->target = (FscTarget){ .uri = take_text (script),
                                 .is_pattern = shape % 4 == 1,
                                 .is_mount = shape % 4 >= 2,
                                 .is_deep = shape % 4 == 3,
                                 .pinned = shape / 4 % 2 != 0 };
}

static void
take_list (FscScript *script, FscTestMessage *message)
{
  uint8_t shape = fsc_script_take_byte (script);

  message->list = (FscList){ .uri = take_text (script),
                             .cursor = take_long (script),
                             .is_pattern = shape % 4 == 1,
                             .is_mount = shape % 4 >= 2,
                             .is_deep = shape % 4 == 3 };
}

static void
take_welcome (FscScript *script, FscTestMessage *message)
{
  uint8_t shape = fsc_script_take_byte (script);

  message->welcome = (FscWelcome){ .version = 1,
                                   .features = fsc_script_take_byte (script),
                                   .serves = FSC_SERVES_PATHS,
                                   .packet_max = FSC_PACKET_MAX,
                                   .items_max = FSC_ITEMS_MAX,
                                   .name = { "a service", strlen ("a service") } };
  if (shape % 2 != 0)
    {
      message->welcome.version = fsc_script_take_byte (script) % 4;
      message->welcome.serves = fsc_script_take_byte (script);
      message->welcome.packet_max = fsc_script_take_number (script);
      message->welcome.items_max = fsc_script_take_byte (script);
      message->welcome.name = take_short_text (script, FSC_NAME_MAX);
    }
}

static void
take_hello (FscScript *script, FscTestMessage *message)
{
  uint8_t shape = fsc_script_take_byte (script);

  message->hello = (FscHello){ .magic = FSC_PROTOCOL_MAGIC,
                               .lowest = 1,
                               .highest = 1,
                               .features = 0xff,
                               .name = { "script", strlen ("script") } };
  if (shape % 2 != 0)
    {
      message->hello.lowest = fsc_script_take_byte (script) % 4;
      message->hello.highest = fsc_script_take_byte (script) % 4;
      message->hello.features = fsc_script_take_byte (script);
      message->hello.name = take_short_text (script, FSC_NAME_MAX);
    }
}

/* What stands before the records. */
static void
take_head (FscScript *script, FscTestMessage *message)
{
  switch (message->header.opcode)
    {
    case FSC_OP_HELLO:
      take_hello (script, message);
      break;
    case FSC_OP_WELCOME:
      take_welcome (script, message);
      break;
    case FSC_OP_ERROR:
      message->error = (FscError){ .code = (FscCode) take_choice (script, FSC_CODE_LAST),
                                   .error = fsc_script_take_byte (script),
                                   .text = take_short_text (script, FSC_TEXT_MAX) };
      break;
    case FSC_OP_DONE:
      message->count = take_long (script);
      break;
    case FSC_OP_GIVE_BACK:
      message->give_back = fsc_script_take_byte (script) % 4;
      break;
    case FSC_OP_CANCEL:
    case FSC_OP_UNWATCH:
      message->request = fsc_script_take_number (script);
      break;
    case FSC_OP_SPEAK_FOR:
      message->whom = (FscSpeakFor){ fsc_script_take_number (script),
                                     fsc_script_take_number (script), message->n_records };
      break;
    case FSC_OP_PROGRESS:
      message->progress = (FscProgress){ fsc_script_take_byte (script) % 4, take_long (script),
                                         take_long (script), take_long (script) };
      break;
    case FSC_OP_PUT:
      message->put = (FscPut){ .uri = take_text (script),
                               .mode = (FscPutMode) take_choice (script, FSC_PUT_LAST),
                               .expected = take_id (script),
                               .ttl_ms = fsc_script_take_number (script) };
      break;
    case FSC_OP_RECEIVE:
      message->timeout_ms = fsc_script_take_number (script);
      break;
    case FSC_OP_EVENT:
      message->event = (FscEvent){ (FscReason) take_choice (script, FSC_REASON_LAST),
                                   fsc_script_take_byte (script) };
      break;
    case FSC_OP_DROP:
    case FSC_OP_PIN:
    case FSC_OP_INFO:
      take_target (script, message);
      break;
    case FSC_OP_LIST:
    case FSC_OP_HOLDERS:
      take_list (script, message);
      break;
    case FSC_OP_HOLDINGS:
    case FSC_OP_ENTRIES:
      message->next = take_long (script);
      break;
    case FSC_OP_WATCHED:
      message->index = fsc_script_take_byte (script) % 4;
      break;
    case FSC_OP_SET:
      message->limit = (FscCounter){ take_short_text (script, FSC_NAME_MAX), take_long (script) };
      break;
    case FSC_OP_HAND:
      message->hand.packet = take_text (script);
      break;
    default:
      break;
    }
}

static bool
has_records (FscOpcode opcode)
{
  return opcode == FSC_OP_OPEN || opcode == FSC_OP_OPENED || opcode == FSC_OP_GIVE_BACK
         || opcode == FSC_OP_HAND || opcode == FSC_OP_SPEAK_FOR || opcode == FSC_OP_ENTRIES
         || opcode == FSC_OP_HOLDINGS || opcode == FSC_OP_COUNTERS || opcode == FSC_OP_WATCHED;
}

static unsigned
count_fds (const FscTestMessage *message)
{
  unsigned least = 0, most = 0, n = 0;

  fsc_codec_get_fd_range (message->header.opcode, &least, &most);
  for (uint32_t i = 0; i < message->n_records; i++)
    if (message->header.opcode == FSC_OP_OPENED || message->header.opcode == FSC_OP_EVENT)
      n += message->records[i].result.has_fd;
  return n > least ? n : least;
}

/* Overwrites some bytes. */
static void
damage (FscScript *script, uint8_t *packet, size_t length)
{
  for (unsigned n = fsc_script_take_byte (script) % 4 + 1; n > 0; n--)
    {
      size_t position = take_bytes (script, 2) % length;

      packet[position] = fsc_script_take_byte (script);
    }
}

size_t
fsc_script_take_packet (FscScript *script, FscOpcode opcode, uint32_t serial, void *packet,
                        size_t size, unsigned *n_fds)
{
  FscTestRecord records[RECORDS_MAX];
  FscTestMessage message = { .header = { .opcode = opcode, .serial = serial }, .records = records };
  uint8_t shape = fsc_script_take_byte (script);
  int length;

  message.n_records = opcode == FSC_OP_WATCH || opcode == FSC_OP_EVENT ? 1 : 0;
  if (has_records (opcode))
    message.n_records = shape / 16 % (RECORDS_MAX + 1);
  take_head (script, &message);
  for (uint32_t i = 0; i < message.n_records; i++)
    records[i] = take_record (script, opcode, i == message.n_records - 1);
  message.header.n_fds = count_fds (&message);
  if (shape % 16 == 14)
    message.header.n_fds = fsc_script_take_byte (script);
  *n_fds = message.header.n_fds;
  length = fsc_test_message_encode (&message, packet, size);
  if (length < 0)
    return 0;
  if (shape % 16 == 15)
    damage (script, packet, (size_t) length);
  return (size_t) length;
}

/* Descriptors */

static int
make_descriptor (uint8_t kind)
{
  int pipe_ends[2], fd;

  switch (kind % 8)
    {
    case 0:
      return open ("/dev/null", O_RDONLY | O_CLOEXEC);
    case 1:
      return open ("/", O_PATH | O_CLOEXEC);
    case 2:
      return eventfd (0, EFD_CLOEXEC);
    case 3:
      fd = memfd_create ("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
      fsc_script_require (fd >= 0 && write (fd, "abcd", 4) == 4);
      fcntl (fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
      return fd;
    case 4:
      return memfd_create ("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    case 5:
      return socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    case 6:
      return open ("/proc/version", O_RDONLY | O_CLOEXEC);
    default:
      fsc_script_require (pipe2 (pipe_ends, O_CLOEXEC) == 0);
      close (pipe_ends[1]);
      return pipe_ends[0];
    }
}

void
fsc_script_send (int socket, const void *packet, size_t length, unsigned n_fds, uint8_t kind)
{
  int fds[FSC_FDS_MAX] = { -1 };

  if (n_fds > FSC_FDS_MAX)
    n_fds = FSC_FDS_MAX;
  for (unsigned i = 0; i < n_fds; i++)
    {
      fds[i] = i < 4 ? make_descriptor ((uint8_t) (kind + i)) : dup (fds[0]);
      fsc_script_require (fds[i] >= 0);
    }
  fsc_channel_send (socket, packet, length, fds, n_fds, MSG_DONTWAIT);
  for (unsigned i = 0; i < n_fds; i++)
    close (fds[i]);
}

unsigned
fsc_script_count_descriptors (void)
{
  struct pollfd polls[DESCRIPTORS_MAX];
  unsigned n = 0;

  for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
    polls[fd] = (struct pollfd){ .fd = fd };
  fsc_script_require (poll (polls, DESCRIPTORS_MAX, 0) >= 0);
  for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
    n += (polls[fd].revents & POLLNVAL) == 0;
  return n;
}

void
fsc_script_require_descriptors (unsigned n)
{
  for (unsigned i = 0; i < 100; i++)
    {
      if (fsc_script_count_descriptors () == n)
        return;
      sched_yield ();
    }
  for (unsigned i = 0; i < PATIENCE_MS; i++)
    {
      if (fsc_script_count_descriptors () == n)
        return;
      usleep (1000);
    }
  abort ();
}
