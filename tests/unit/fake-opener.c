/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An opener that misbehaves when it is told to, for tests of the lanes. Its name there is that of a
 * real one. What it does with an item is the last component but one of the item's path: "answer" in
 * file:///proc/answer/1. Results are kept until all items of an OPEN are done, as a real opener
 * does it if it is quick.
 *
 * A good answer's validator is a text: the process, the number of items in the OPEN, how many this
 * process has answered before, and the item's mount_length and length of resume. The digest of
 * content is that of no content: 32 times its size.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "protocol/codec.h"
#include "protocol/uri.h"

#define SOCKET 3
#define HELD_MAX 64
#define DEAF_ID 1000 /* it is never handed out */
#define RECEIPTS_MAX 8

typedef struct
{
  uint32_t serial;
  uint32_t n_items;
  FscWriter writer;
  uint32_t n_results;
  unsigned n_fds;
  int fds[FSC_FDS_MAX];
  uint8_t packet[FSC_PACKET_MAX];
} Answer;

typedef struct
{
  unsigned n_answered;
  const FscItem *item; /* that is being answered */
  char **arguments;
  int held[HELD_MAX];
  unsigned n_receipts;
  uint32_t serials[RECEIPTS_MAX]; /* of each RECEIVE */
  int sockets[RECEIPTS_MAX];
  uint8_t in[FSC_PACKET_MAX];
  Answer answer;
  bool has_ttl; /* of the next answer */
  uint32_t ttl_ms;
} Fake;

static void
must_send (const void *packet, int length, const int *fds, unsigned n_fds)
{
  if (length < 0 || fsc_channel_send (SOCKET, packet, (size_t) length, fds, n_fds, 0) < 0)
    _exit (1);
}

static void
send_message (FscWriter *writer, FscOpcode opcode, uint32_t serial)
{
  must_send (writer->data, fsc_writer_finish (writer, opcode, serial, 0), NULL, 0);
}

/* An OPENED */

static void
begin (Answer *answer)
{
  fsc_writer_begin (&answer->writer, answer->packet, sizeof answer->packet);
  fsc_codec_put_opened (&answer->writer, 0);
  answer->n_results = 0;
  answer->n_fds = 0;
}

static int
finish (Answer *answer)
{
  FscWriter head;

  fsc_writer_begin (&head, answer->packet, sizeof answer->packet);
  fsc_codec_put_opened (&head, answer->n_results);
  return fsc_writer_finish (&answer->writer, FSC_OP_OPENED, answer->serial, answer->n_fds);
}

static void
flush (Answer *answer)
{
  if (answer->n_results > 0)
    must_send (answer->packet, finish (answer), answer->fds, answer->n_fds);
  for (unsigned i = 0; i < answer->n_fds; i++)
    close (answer->fds[i]);
  begin (answer);
}

static void
put (Answer *answer, const FscResult *result)
{
  fsc_codec_put_result (&answer->writer, result);
  answer->n_results++;
}

static void
add_fd (Answer *answer)
{
  answer->fds[answer->n_fds++] = open ("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
put_failure (Answer *answer, unsigned index, int error)
{
  static const char text[] = "cannot open it: it was told to fail";

  put (answer, &(FscResult){ .index = index,
                             .code = FSC_CODE_SYSTEM,
                             .error = error,
                             .text = { text, sizeof text - 1 } });
}

static void
put_handle (Fake *fake, unsigned index, uint64_t id)
{
  char validator[FSC_VALIDATOR_MAX];
  int length = snprintf (validator, sizeof validator, "%d %u %u %u %u", (int) getpid (),
                         fake->answer.n_items, fake->n_answered++, fake->item->mount_length,
                         (unsigned) fake->item->resume.length);

  if (id == 0)
    add_fd (&fake->answer);
  put (&fake->answer, &(FscResult){ .index = index,
                                    .id = id,
                                    .has_fd = id == 0,
                                    .mount_id = 42,
                                    .has_ttl = fake->has_ttl,
                                    .age_ms = fake->ttl_ms,
                                    .sharing = FSC_SHARING_INDEPENDENT,
                                    .coherence = FSC_COHERENCE_TTL,
                                    .kind = FSC_KIND_REGULAR,
                                    .validator = { validator, (size_t) length } });
}

static void
put_held (Fake *fake, unsigned index)
{
  for (unsigned i = 0; i < HELD_MAX; i++)
    if (fake->held[i] < 0)
      {
        fake->held[i] = open ("/dev/zero", O_RDONLY | O_CLOEXEC);
        put_handle (fake, index, i + 1);
        return;
      }
  put_failure (&fake->answer, index, EMFILE);
}

/* Fails, and says with which arguments it was started. */
static void
put_arguments (Fake *fake, unsigned index)
{
  char text[FSC_TEXT_MAX] = "";

  for (char **argument = fake->arguments; *argument != NULL; argument++)
    {
      strncat (text, *argument, sizeof text - strlen (text) - 1);
      strncat (text, "|", sizeof text - strlen (text) - 1);
    }
  put (&fake->answer, &(FscResult){ .index = index,
                                    .code = FSC_CODE_SYSTEM,
                                    .error = E2BIG,
                                    .text = { text, strlen (text) } });
}

/* Content of so many bytes, of which `told` is said. */
static void
put_content (Fake *fake, unsigned index, int fd, size_t size, int seals, size_t told,
             bool is_sealed)
{
  Answer *answer = &fake->answer;
  FscResult result = { .index = index,
                       .has_fd = true,
                       .sharing = FSC_SHARING_INDEPENDENT,
                       .coherence = FSC_COHERENCE_TTL,
                       .kind = FSC_KIND_REGULAR,
                       .validator = { "v", 1 },
                       .content = { .is_known = true, .is_sealed = is_sealed, .size = told } };

  memset (result.content.digest, (int) told, sizeof result.content.digest);
  if (fd < 0 || (size > 0 && ftruncate (fd, (off_t) size) < 0)
      || (seals != 0 && fcntl (fd, F_ADD_SEALS, seals) < 0))
    _exit (9);
  answer->fds[answer->n_fds++] = fd;
  put (answer, &result);
}

static int
make_memfd (void)
{
  return memfd_create ("content", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

/* For reading only, and without a name. */
static int
make_file (void)
{
  char name[] = "/tmp/fake-opener-XXXXXX", own[32];
  int fd = mkstemp (name), readable;

  snprintf (own, sizeof own, "/proc/self/fd/%d", fd);
  if (fd < 0 || ftruncate (fd, 5) < 0)
    _exit (9);
  readable = open (own, O_RDONLY | O_CLOEXEC);
  unlink (name);
  close (fd);
  return readable;
}

static bool
answer_with_content (Fake *fake, const char *what, unsigned index)
{
  const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

  if (strcmp (what, "content") == 0)
    put_content (fake, index, make_memfd (), 5, all, 5, false);
  else if (strcmp (what, "content-empty") == 0)
    put_content (fake, index, make_memfd (), 0, all, 0, false);
  else if (strcmp (what, "content-unsealed") == 0)
    put_content (fake, index, make_memfd (), 5, 0, 5, false);
  else if (strcmp (what, "content-may-be-unsealed") == 0) /* others may add the last seal */
    put_content (fake, index, make_memfd (), 5, all & ~F_SEAL_WRITE, 5, false);
  else if (strcmp (what, "content-of-other-size") == 0)
    put_content (fake, index, make_memfd (), 5, all, 6, false);
  else if (strcmp (what, "content-says-sealed") == 0)
    put_content (fake, index, make_memfd (), 5, all, 5, true);
  else
    return false;
  return true;
}

/* Progress */

static void
send_progress (Fake *fake, unsigned index, uint64_t done)
{
  uint8_t packet[64];
  FscWriter writer;

  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_progress (&writer, &(FscProgress){ index, done, 100 });
  send_message (&writer, FSC_OP_PROGRESS, fake->answer.serial);
}

static bool
answer_with_progress (Fake *fake, const char *what, unsigned index)
{
  if (strcmp (what, "progress") == 0) /* for two seconds */
    for (unsigned i = 0; i < 20; i++)
      {
        usleep (100000);
        send_progress (fake, index, 5 * (i + 1));
      }
  else if (strcmp (what, "progress-again") == 0) /* from the beginning, half-way */
    for (unsigned i = 0; i < 20; i++)
      {
        usleep (100000);
        send_progress (fake, index, i < 5 ? 20 * (i + 1) : 5 * (i + 1));
      }
  else if (strcmp (what, "no-progress") == 0)
    for (;;)
      {
        usleep (100000);
        send_progress (fake, index, 5);
      }
  else if (strcmp (what, "progress-of-other") == 0)
    send_progress (fake, index + fake->answer.n_items, 1);
  else if (strcmp (what, "progress-after") == 0)
    {
      put_failure (&fake->answer, index, ENOENT);
      if (index + 1 == fake->answer.n_items)
        return true;
      flush (&fake->answer);
      send_progress (fake, index, 1);
      return true;
    }
  else if (strcmp (what, "progress-unasked") == 0)
    {
      put_failure (&fake->answer, index, ENOENT);
      flush (&fake->answer);
      send_progress (fake, index, 1);
      return true;
    }
  else
    return false;
  put_handle (fake, index, 0);
  return true;
}

/* Ways that lead elsewhere. A path is in the last component, with '+' for '/', and for the next hop
 * '=' for '+': file:///proc/leads/tmp+answer+1 leads to file:///tmp/answer/1. The bookmark grows by
 * a byte with each hop. */

static void
put_elsewhere (Fake *fake, unsigned index, const FscItem *item, const char *uri)
{
  char bookmark[FSC_RESUME_MAX];
  size_t length = item->resume.length + 1;

  memset (bookmark, 'b', sizeof bookmark);
  put (&fake->answer,
       &(FscResult){ .index = index,
                     .code = FSC_CODE_LEADS_ELSEWHERE,
                     .text = { uri, strlen (uri) },
                     .validator = { bookmark, length < sizeof bookmark ? length : 1 } });
}

static void
lead (Fake *fake, unsigned index, const FscItem *item, const char *what, const char *last)
{
  char to[4096] = "file://", own[1024];
  size_t n = strlen (to);

  snprintf (own, sizeof own, "%.*s", (int) item->mount_length, item->uri.data + n);
  if (strcmp (what, "same") == 0)
    snprintf (to + n, sizeof to - n, "%s/same/1", own);
  else
    for (; *last != '\0'; last++)
      to[n++] = *last == '+' ? '/' : *last == '=' ? '+' : *last;
  if (strcmp (what, "bounce") == 0)
    {
      n += (size_t) snprintf (to + n, sizeof to - n, "/bounce/");
      for (const char *c = own; *c != '\0'; c++)
        to[n++] = *c == '/' ? '+' : *c;
    }
  put_elsewhere (fake, index, item, to);
}

/* Nonsense: each packet is sent at once, on its own. */

/* A WATCHED with this many steps; a name that is too many or too few, or none. */
static void
send_way (Fake *fake, unsigned index, uint32_t n, bool is_wrong)
{
  uint8_t packet[FSC_PACKET_MAX];
  FscWriter writer;

  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_watched (&writer, index, n);
  for (uint32_t i = 0; i < n; i++)
    fsc_codec_put_step (
        &writer,
        &(FscStep){ .wd = (int) i + 1, .name = { "name", (i == n - 1) == is_wrong ? 4 : 0 } });
  send_message (&writer, FSC_OP_WATCHED, fake->answer.serial);
}

static bool
watch_wrongly (Fake *fake, const char *what, unsigned index)
{
  if (strcmp (what, "way-unasked") == 0 || strcmp (what, "way") == 0)
    send_way (fake, index, 3, false);
  else if (strcmp (what, "way-twice") == 0)
    {
      send_way (fake, index, 3, false);
      send_way (fake, index, 3, false);
    }
  else if (strcmp (what, "way-of-other") == 0)
    send_way (fake, index + fake->answer.n_items, 3, false);
  else if (strcmp (what, "way-of-one") == 0)
    send_way (fake, index, 1, false);
  else if (strcmp (what, "way-named") == 0)
    send_way (fake, index, 3, true);
  else if (strcmp (what, "way-endless") == 0)
    send_way (fake, index, FSC_STEPS_MAX + 1, false);
  else if (strcmp (what, "way-after") == 0)
    {
      put (&fake->answer, &(FscResult){ .index = index, .code = FSC_CODE_UNCHANGED });
      flush (&fake->answer);
      send_way (fake, index, 3, false);
      return true;
    }
  else
    return false;
  put (&fake->answer, &(FscResult){ .index = index, .code = FSC_CODE_UNCHANGED });
  return true;
}

static void
send_nonsense (Fake *fake, const char *what, unsigned index)
{
  Answer *answer = &fake->answer;
  FscResult good = { .index = index, .has_fd = true };
  uint32_t serial = answer->serial;
  int length;

  flush (answer);
  if (strcmp (what, "wrong-index") == 0)
    put_failure (answer, index + answer->n_items, ENOENT);
  else if (strcmp (what, "twice") == 0)
    {
      put_failure (answer, index, ENOENT);
      put_failure (answer, index, ENOENT);
    }
  else if (strcmp (what, "wrong-serial") == 0)
    {
      answer->serial += 7;
      put_failure (answer, index, ENOENT);
    }
  else if (strcmp (what, "no-handle") == 0)
    put (answer, &(FscResult){ .index = index });
  else if (strcmp (what, "handle-and-id") == 0)
    {
      good.id = 1;
      add_fd (answer);
      put (answer, &good);
    }
  else if (strcmp (what, "too-many-descriptors") == 0)
    {
      add_fd (answer);
      add_fd (answer);
      put (answer, &good);
    }
  else if (strcmp (what, "no-errno") == 0)
    put_failure (answer, index, 0);
  else if (strcmp (what, "unchanged") == 0)
    put (answer, &(FscResult){ .index = index, .code = FSC_CODE_UNCHANGED });
  else if (strcmp (what, "too-many-results") == 0)
    for (unsigned i = 0; i <= answer->n_items; i++)
      put_failure (answer, i, ENOENT);
  else if (strcmp (what, "greeting") == 0)
    {
      fsc_writer_begin (&answer->writer, answer->packet, sizeof answer->packet);
      fsc_codec_put_welcome (&answer->writer, &(FscWelcome){ .version = 1 });
      send_message (&answer->writer, FSC_OP_WELCOME, 0);
    }
  else if (strcmp (what, "ping") == 0)
    {
      fsc_writer_begin (&answer->writer, answer->packet, sizeof answer->packet);
      send_message (&answer->writer, FSC_OP_PING, 1);
    }
  else if (strcmp (what, "done") == 0)
    {
      fsc_writer_begin (&answer->writer, answer->packet, sizeof answer->packet);
      fsc_codec_put_done (&answer->writer, 0);
      send_message (&answer->writer, FSC_OP_DONE, 12345);
    }
  else if (strcmp (what, "bytes") == 0)
    must_send ("?!", 2, NULL, 0);
  else if (strcmp (what, "truncated") == 0)
    {
      put_handle (fake, index, 0);
      length = finish (answer);
      must_send (answer->packet, length - 4, answer->fds, answer->n_fds);
      answer->n_results = 0;
    }
  else
    _exit (9); /* the test is wrong */
  flush (answer);
  answer->serial = serial;
}

/* Requests */

static void
do_item (Fake *fake, unsigned index, const FscItem *item)
{
  char what[64], last[1024];
  const char *end = memrchr (item->uri.data, '/', item->uri.length);
  const char *before = memrchr (item->uri.data, '/', (size_t) (end - item->uri.data));

  snprintf (what, sizeof what, "%.*s", (int) (end - before - 1), before + 1);
  snprintf (last, sizeof last, "%.*s", (int) (item->uri.data + item->uri.length - end - 1),
            end + 1);
  fake->item = item;
  if (strcmp (what, "leads") == 0 || strcmp (what, "bounce") == 0 || strcmp (what, "same") == 0)
    {
      if (item->mount_length > 0)
        lead (fake, index, item, what, last);
      else
        put_handle (fake, index, 0);
    }
  else if (strcmp (what, "again") == 0)
    put (&fake->answer, &(FscResult){ .index = index, .code = FSC_CODE_LEADS_ELSEWHERE });
  else if (strcmp (what, "answer-for") == 0)
    {
      fake->has_ttl = true;
      fake->ttl_ms = (uint32_t) atoi (last);
      put_handle (fake, index, 0);
      fake->has_ttl = false;
      fake->ttl_ms = 0;
    }
  else if (strcmp (what, "redirect") == 0)
    {
      for (char *c = last; *c != '\0'; c++)
        *c = *c == '+' ? '/' : *c;
      put_elsewhere (fake, index, item, last);
    }
  else if (strcmp (what, "leads-oddly") == 0)
    put_elsewhere (fake, index, item, "file:///proc//answer/1");
  else if (strcmp (what, "leads-out") == 0)
    put_elsewhere (fake, index, item, "http://host/answer/1");
  else if (strcmp (what, "leads-to-errno") == 0)
    {
      static const char to[] = "file:///answer/1";

      put (&fake->answer, &(FscResult){ .index = index,
                                        .code = FSC_CODE_LEADS_ELSEWHERE,
                                        .error = ENOENT,
                                        .text = { to, strlen (to) } });
    }
  else if (strcmp (what, "answer") == 0)
    put_handle (fake, index, 0);
  else if (strcmp (what, "check") == 0 && item->validator.length > 0)
    put (&fake->answer, &(FscResult){ .index = index, .code = FSC_CODE_UNCHANGED });
  else if (strcmp (what, "check-content") == 0 && item->validator.length > 0
           && item->options == FSC_OPTION_CONTENT && fsc_uri_has_scheme (item->uri, "file"))
    put (&fake->answer, &(FscResult){ .index = index, .code = FSC_CODE_UNCHANGED });
  else if (strcmp (what, "arguments") == 0)
    put_arguments (fake, index);
  else if (strcmp (what, "missing") == 0)
    put_failure (&fake->answer, index, ENOENT);
  else if (strcmp (what, "missing-by-name") == 0)
    {
      size_t skipped = fsc_uri_has_scheme (item->uri, "file") ? strlen ("file://") : 0;
      char text[1200];
      int length = snprintf (text, sizeof text, "cannot open %.*s: it was told to fail",
                             (int) (item->uri.length - skipped), item->uri.data + skipped);

      put (&fake->answer, &(FscResult){ .index = index,
                                        .code = FSC_CODE_SYSTEM,
                                        .error = ENOENT,
                                        .text = { text, (size_t) length } });
    }
  else if (strcmp (what, "hold") == 0)
    put_held (fake, index);
  else if (strcmp (what, "hold-deaf") == 0)
    put_handle (fake, index, DEAF_ID);
  else if (strcmp (what, "nap") == 0)
    {
      usleep (200000);
      put_handle (fake, index, 0);
    }
  else if (strcmp (what, "sleep") == 0)
    for (;;)
      pause ();
  else if (strcmp (what, "mute") == 0)
    flush (&fake->answer);
  else if (strcmp (what, "crash") == 0)
    abort ();
  else if (strcmp (what, "exit") == 0)
    _exit (0);
  else if (strcmp (what, "crash-after") == 0)
    {
      put_handle (fake, index, 0);
      flush (&fake->answer);
      abort ();
    }
  else if (strcmp (what, "content-in-file") == 0)
    put_content (fake, index, make_file (), 0, 0, 5, false);
  else if (!answer_with_content (fake, what, index) && !answer_with_progress (fake, what, index)
           && !watch_wrongly (fake, what, index))
    send_nonsense (fake, what, index);
}

static bool
take_open (Fake *fake, uint32_t serial, FscReader *reader)
{
  fake->answer.serial = serial;
  begin (&fake->answer);
  if (!fsc_codec_get_open (reader, &fake->answer.n_items))
    return false;
  for (uint32_t i = 0; i < fake->answer.n_items; i++)
    {
      FscItem item;

      if (!fsc_codec_get_item (reader, &item))
        return false;
      do_item (fake, i, &item);
    }
  flush (&fake->answer);
  return fsc_reader_finish (reader) == 0;
}

static int
get_held (const Fake *fake, uint64_t id)
{
  return id >= 1 && id <= HELD_MAX ? fake->held[id - 1] : -1;
}

static bool
take_hand (Fake *fake, uint32_t serial, FscReader *reader, int socket)
{
  int fds[FSC_FDS_MAX];
  uint32_t packet_length;
  uint8_t buffer[64];
  FscBytes packet;
  FscWriter writer;
  unsigned n_ids;
  int error = 0;

  if (!fsc_codec_get_hand (reader, &n_ids, &packet_length))
    return false;
  for (unsigned i = 0; i < n_ids; i++)
    {
      uint64_t id;

      if (!fsc_codec_get_id (reader, &id))
        return false;
      if (id == DEAF_ID)
        return true;
      fds[i] = get_held (fake, id);
      if (fds[i] < 0)
        error = ENOENT;
    }
  if (!fsc_codec_get_packet (reader, packet_length, &packet))
    return false;
  if (error == 0)
    error = -fsc_channel_send (socket, packet.data, packet.length, fds, n_ids, MSG_DONTWAIT);
  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_done (&writer, (uint64_t) error);
  send_message (&writer, FSC_OP_DONE, serial);
  return true;
}

static bool
take_give_back (Fake *fake, FscReader *reader)
{
  uint32_t n, flags;
  uint64_t id;

  if (!fsc_codec_get_give_back (reader, &flags, &n))
    return false;
  for (uint32_t i = 0; i < n; i++)
    {
      if (!fsc_codec_get_id (reader, &id))
        return false;
      if (get_held (fake, id) >= 0)
        {
          close (fake->held[id - 1]);
          fake->held[id - 1] = -1;
        }
    }
  return true;
}

static bool
take_receive (Fake *fake, uint32_t serial, FscReader *reader, int socket)
{
  uint32_t timeout_ms;

  if (!fsc_codec_get_receive (reader, &timeout_ms) || fake->n_receipts == RECEIPTS_MAX)
    return false;
  fake->serials[fake->n_receipts] = serial;
  fake->sockets[fake->n_receipts++] = socket;
  return true;
}

/* What has come over a RECEIVE's socket is not a descriptor, but says what to do. */
static void
do_receipt (Fake *fake, unsigned i)
{
  uint32_t serial = fake->serials[i];
  int socket = fake->sockets[i];
  char what[64] = "";

  if (recv (socket, what, sizeof what - 1, 0) < 0)
    _exit (1);
  fake->n_receipts--;
  fake->sockets[i] = fake->sockets[fake->n_receipts];
  fake->serials[i] = fake->serials[fake->n_receipts];
  close (socket);

  fake->answer.serial = serial;
  fake->answer.n_items = 1;
  fake->item = &(FscItem){ 0 };
  begin (&fake->answer);
  if (what[0] == '\0') /* it is over */
    put_failure (&fake->answer, 0, ECANCELED);
  else if (strcmp (what, "good") == 0)
    put_held (fake, 0);
  else if (strcmp (what, "crash") == 0)
    abort ();
  else if (strcmp (what, "mute") == 0)
    return;
  else if (strcmp (what, "descriptor") == 0)
    put_handle (fake, 0, 0);
  else if (strcmp (what, "other-index") == 0)
    put_failure (&fake->answer, 1, ENOENT);
  else if (strcmp (what, "unchanged") == 0)
    put (&fake->answer, &(FscResult){ .code = FSC_CODE_UNCHANGED });
  else if (strcmp (what, "two-results") == 0)
    {
      put_failure (&fake->answer, 0, ENOENT);
      put_failure (&fake->answer, 0, ENOENT);
    }
  else if (strcmp (what, "twice") == 0)
    {
      put_failure (&fake->answer, 0, ENOENT);
      flush (&fake->answer);
      put_failure (&fake->answer, 0, ENOENT);
    }
  flush (&fake->answer);
}

/* Waits for a message of the service's; what comes over other sockets is done meanwhile. */
static void
await_message (Fake *fake)
{
  struct pollfd polls[1 + RECEIPTS_MAX];

  do
    {
      polls[0] = (struct pollfd){ .fd = SOCKET, .events = POLLIN };
      for (unsigned i = 0; i < fake->n_receipts; i++)
        polls[1 + i] = (struct pollfd){ .fd = fake->sockets[i], .events = POLLIN };
      if (poll (polls, 1 + fake->n_receipts, -1) < 0)
        _exit (1);
      for (unsigned i = fake->n_receipts; i > 0; i--)
        if (polls[i].revents != 0)
          do_receipt (fake, i - 1);
    }
  while (polls[0].revents == 0);
}

/* `features` are those that it knows of. */
static bool
serve_one (Fake *fake, uint32_t features)
{
  FscHeader header;
  FscReader reader;
  FscFds fds = { 0 };
  FscWriter writer;
  bool is_good = false;
  ssize_t length;

  await_message (fake);
  length = fsc_channel_receive (SOCKET, fake->in, sizeof fake->in, &fds, 1, NULL, 0);

  if (length < 0 || fsc_reader_begin (&reader, &header, fake->in, (size_t) length, fds.n) < 0)
    return false;
  if (header.opcode == FSC_OP_HELLO)
    {
      fsc_writer_begin (&writer, fake->answer.packet, sizeof fake->answer.packet);
      fsc_codec_put_welcome (&writer, &(FscWelcome){ .version = FSC_PROTOCOL_HIGHEST,
                                                     .features = features,
                                                     .packet_max = FSC_PACKET_MAX,
                                                     .items_max = FSC_ITEMS_MAX });
      send_message (&writer, FSC_OP_WELCOME, 0);
      is_good = true;
    }
  else if (header.opcode == FSC_OP_OPEN)
    is_good = take_open (fake, header.serial, &reader);
  else if (header.opcode == FSC_OP_RECEIVE)
    is_good = take_receive (fake, header.serial, &reader, fsc_fds_steal (&fds, 0));
  else if (header.opcode == FSC_OP_HAND)
    is_good = take_hand (fake, header.serial, &reader, fds.fds[0]);
  else if (header.opcode == FSC_OP_GIVE_BACK)
    is_good = take_give_back (fake, &reader);
  fsc_fds_clear (&fds);
  return is_good;
}

int
main (int argc, char **argv)
{
  uint32_t features
      = strcmp (argv[argc - 1], "old") != 0 ? FSC_FEATURE_CONTENT | FSC_FEATURE_PROGRESS : 0;
  static Fake fake; /* too large for a stack */

  fake.arguments = argv;
  for (unsigned i = 0; i < HELD_MAX; i++)
    fake.held[i] = -1;
  while (serve_one (&fake, features))
    ;
  _exit (0);
}
