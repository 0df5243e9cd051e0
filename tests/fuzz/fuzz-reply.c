/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fuzzes libfscache: the input says what a program asks for, and plays the service that answers.
 * Whatever that says, each call ends, each reply is as fscache.h promises, and when the client is
 * gone no descriptor is left.
 *
 * All is one thread: when the library is about to wait for a packet, the service is played until
 * there is one. The clock is the library's alone, and goes when it would sleep.
 *
 * The input is a script (script.h). Linked with libFuzzer, or with replay.c, which runs the corpus
 * as a test.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libclient/fscache.h"
#include "protocol/channel.h"
#include "tests/fuzz/script.h"
#include "tests/harness/message.h"

#define STEPS_MAX 100
#define WATCHES_MAX 8
#define CONNECTIONS_MAX 8
#define NANOSECONDS 1000000000

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

typedef struct
{
  FscScript script;
  int service;     /* the service's end of the connection; -1: there is none */
  int client;      /* the number of the other end */
  unsigned n_made; /* connections */
  uint32_t serial; /* of the last request */
  uint32_t watch;  /* and of the last watch */
  FscOpcode asked;
  uint64_t watches[WATCHES_MAX];
  unsigned n_watches;
  uint64_t submission;
  int64_t slept; /* nanoseconds */
} Stage;

static Stage *stage; /* for what stands in for libc; NULL: nothing does */

/* The service */

static void
disconnect (void)
{
  if (stage->service >= 0)
    close (stage->service);
  stage->service = -1;
}

static void
hear (void)
{
  static uint8_t packet[FSC_PACKET_MAX];
  FscTestMessage message;
  FscFds fds = { 0 };
  ssize_t length;

  while (stage->service >= 0
         && (length = fsc_channel_receive (stage->service, packet, sizeof packet, &fds, FSC_FDS_MAX,
                                           NULL, MSG_DONTWAIT))
                >= 0)
    {
      fsc_script_require (fsc_test_message_decode (&message, packet, (size_t) length, fds.n) == 0);
      if (message.header.opcode == FSC_OP_WATCH)
        stage->watch = message.header.serial;
      else if (message.header.serial != 0 && message.header.opcode != FSC_OP_CANCEL)
        {
          stage->serial = message.header.serial;
          stage->asked = message.header.opcode;
        }
      fsc_test_message_clear (&message);
      fsc_fds_clear (&fds);
    }
  fsc_fds_clear (&fds);
}

static void
speak (FscOpcode opcode, uint32_t serial)
{
  static uint8_t packet[FSC_PACKET_MAX];
  unsigned n_fds;
  size_t length
      = fsc_script_take_packet (&stage->script, opcode, serial, packet, sizeof packet, &n_fds);

  if (length > 0)
    fsc_script_send (stage->service, packet, length, n_fds,
                     n_fds > 0 ? fsc_script_take_byte (&stage->script) : 0);
}

/* What answers the last request, if it is answered as it should be. */
static FscOpcode
get_answer (void)
{
  switch (stage->asked)
    {
    case FSC_OP_INFO:
    case FSC_OP_LIST:
      return FSC_OP_ENTRIES;
    case FSC_OP_HOLDERS:
      return FSC_OP_HOLDINGS;
    case FSC_OP_STATUS:
    case FSC_OP_SET:
      return FSC_OP_COUNTERS;
    case FSC_OP_OPEN:
      return FSC_OP_OPENED;
    case FSC_OP_PUT:
      return FSC_OP_GIVE;
    default:
      return FSC_OP_DONE;
    }
}

static void
play_service (void)
{
  static const uint8_t opcodes[]
      = { FSC_OP_DONE,     FSC_OP_ERROR,    FSC_OP_EVENT,  FSC_OP_EVENT,
          FSC_OP_PROGRESS, FSC_OP_WELCOME,  FSC_OP_OPENED, FSC_OP_ENTRIES,
          FSC_OP_HOLDINGS, FSC_OP_COUNTERS, FSC_OP_GIVE,   FSC_OP_HELLO };
  uint8_t pick = fsc_script_take_byte (&stage->script);
  FscOpcode opcode;
  uint32_t serial;

  hear ();
  if (stage->service < 0)
    return;
  if (pick == 0xff)
    {
      disconnect ();
      return;
    }
  opcode = pick < 0x80 ? get_answer () : (FscOpcode) opcodes[pick % sizeof opcodes];
  serial = opcode == FSC_OP_EVENT ? stage->watch : stage->serial;
  if (opcode == FSC_OP_WELCOME)
    serial = 0;
  if (pick >= 0xf0)
    serial = fsc_script_take_number (&stage->script);
  speak (opcode, serial);
}

/* What stands in for libc */

static void
greet (void)
{
  static const FscTestMessage refusal
      = { .header = { .opcode = FSC_OP_ERROR },
          .error = { FSC_CODE_REFUSED, EACCES, { "no more", strlen ("no more") } } };
  FscTestMessage welcome = { .header = { .opcode = FSC_OP_WELCOME },
                             .welcome = { .version = 1,
                                          .features = 0xfe,
                                          .serves = FSC_SERVES_PATHS,
                                          .packet_max = FSC_PACKET_MAX,
                                          .items_max = FSC_ITEMS_MAX,
                                          .name = { "fuzz", strlen ("fuzz") } } };
  bool is_last = stage->script.size == 0 || stage->n_made > CONNECTIONS_MAX;
  uint8_t packet[128];
  int length;

  if (!is_last && fsc_script_take_byte (&stage->script) >= 0xc0)
    {
      speak (FSC_OP_WELCOME, 0);
      return;
    }
  length = fsc_test_message_encode (is_last ? &refusal : &welcome, packet, sizeof packet);
  fsc_script_send (stage->service, packet, (size_t) length, 0, 0);
}

int
connect (int fd, const struct sockaddr *address, socklen_t length)
{
  int sockets[2];

  if (stage == NULL)
    return (int) syscall (SYS_connect, fd, address, length);
  disconnect ();
  fsc_script_require (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0
                      && dup3 (sockets[0], fd, O_CLOEXEC) == fd);
  close (sockets[0]);
  stage->service = sockets[1];
  stage->client = fd;
  stage->n_made++;
  greet ();
  return 0;
}

static bool
is_readable (int fd)
{
  return (int) syscall (SYS_poll, &(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) > 0;
}

ssize_t
recvmsg (int fd, struct msghdr *message, int flags)
{
  if (stage != NULL && stage->service >= 0 && fd == stage->client && (flags & MSG_DONTWAIT) == 0)
    {
      while (!is_readable (fd) && stage->script.size > 0)
        play_service ();
      if (!is_readable (fd))
        disconnect ();
    }
  return syscall (SYS_recvmsg, fd, message, flags);
}

int
poll (struct pollfd *fds, nfds_t n, int timeout)
{
  int r = (int) syscall (SYS_poll, fds, n, stage != NULL ? 0 : timeout);

  if (r != 0 || stage == NULL || timeout == 0)
    return r;
  if (stage->script.size > 0)
    play_service ();
  else if (timeout < 0)
    disconnect ();
  else
    stage->slept += (int64_t) timeout * (NANOSECONDS / 1000);
  return (int) syscall (SYS_poll, fds, n, 0);
}

int
clock_gettime (clockid_t clock, struct timespec *now)
{
  int r = (int) syscall (SYS_clock_gettime, clock, now);

  if (stage != NULL && r == 0)
    {
      now->tv_sec
          += stage->slept / NANOSECONDS + (now->tv_nsec + stage->slept % NANOSECONDS) / NANOSECONDS;
      now->tv_nsec = (now->tv_nsec + stage->slept % NANOSECONDS) % NANOSECONDS;
    }
  return r;
}

/* The program */

static const char *
take_uri (void)
{
  static const char *const uris[]
      = { "file:///dev/null", "file:///a/b",  "handle:a", "handle:b", "odd:x",
          "tcp://h:1",        "not a URI \n", "" };

  return uris[fsc_script_take_byte (&stage->script) % (sizeof uris / sizeof uris[0])];
}

static FscacheRequest
take_request (void)
{
  static const uint8_t digest[FSCACHE_DIGEST_SIZE];
  uint8_t shape = fsc_script_take_byte (&stage->script);
  FscacheRequest request = { .uri = take_uri (), .options = FSCACHE_NO_FALLBACK };

  request.sharing = (FscacheSharing) (shape % 4 == 3 ? 0 : shape % 4);
  request.flags = shape / 4 % 4 == 3 ? O_PATH : O_RDONLY;
  request.timeout_ms = shape / 16 % 2 != 0 ? 50 : 0;
  request.options |= shape / 32 % 2 != 0 ? FSCACHE_REVALIDATE : 0;
  request.options |= shape / 64 % 2 != 0 ? FSCACHE_TAKE : 0;
  request.digest = shape / 128 != 0 ? digest : NULL;
  return request;
}

static void
check_reply (const FscacheReply *reply)
{
  fsc_script_require ((reply->code == FSCACHE_OK) == (reply->error == 0));
  fsc_script_require (reply->code == FSCACHE_OK || (reply->fd == -1 && reply->lease == 0));
  fsc_script_require (memchr (reply->message, '\0', sizeof reply->message) != NULL);
  fsc_script_require ((reply->message[0] == '\0') == (reply->code == FSCACHE_OK));
}

static void
take_reply (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  FscacheReply copy = *reply;

  check_reply (&copy);
  fscache_reply_clear (client, &copy);
}

static void
take_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  FscacheReply copy = *event->reply;

  fscache_reply_clear (client, &copy);
}

static void
take_entry (const FscacheEntry *entry, void *data)
{
  fsc_script_require (strlen (entry->uri) <= FSC_URI_MAX);
}

static void
take_holding (const FscacheHolding *holding, void *data)
{
  fsc_script_require (strlen (holding->uri) <= FSC_URI_MAX
                      && strlen (holding->client_name) <= FSC_NAME_MAX);
}

static void
take_counter (const char *name, uint64_t value, void *data)
{
  fsc_script_require (strlen (name) <= FSC_NAME_MAX);
}

static void
open_many (FscacheClient *client, bool is_submitted)
{
  FscacheRequest requests[4];
  FscacheReply replies[4];
  size_t n = fsc_script_take_byte (&stage->script) % 4 + 1;

  for (size_t i = 0; i < n; i++)
    requests[i] = take_request ();
  if (is_submitted)
    {
      fscache_submit (client, requests, n, take_reply, NULL, &stage->submission);
      return;
    }
  fscache_open_many (client, requests, replies, n);
  for (size_t i = 0; i < n; i++)
    {
      check_reply (&replies[i]);
      fscache_reply_clear (client, &replies[i]);
    }
}

static void
borrow (FscacheClient *client)
{
  FscacheBorrow one, two;

  fscache_borrow (client, take_uri (), &one, NULL);
  fscache_borrow_kept (client, take_uri (), &two);
  fscache_return (client, &two);
  fscache_return (client, &one);
}

static void
put (FscacheClient *client)
{
  FscachePut what = { .uri = "handle:a", .fd = STDIN_FILENO };

  what.mode = (FscachePutMode) (fsc_script_take_byte (&stage->script) % 3);
  what.expected = what.mode == FSCACHE_PUT_EXCHANGE;
  fscache_put (client, &what, NULL);
}

static void
watch (FscacheClient *client)
{
  FscacheRequest request = take_request ();

  request.timeout_ms = 0;
  if (stage->n_watches < WATCHES_MAX
      && fscache_watch (client, &request, take_event, NULL, &stage->watches[stage->n_watches]) == 0)
    stage->n_watches++;
}

static void
administer (FscacheClient *client, uint8_t which)
{
  FscacheReleased released;
  FscacheReply reply;

  switch (which % 8)
    {
    case 0:
      fscache_info (client, take_uri (), take_entry, NULL, &reply);
      break;
    case 1:
      fscache_list (client, "*", take_entry, NULL, &reply);
      break;
    case 2:
      fscache_drop_matching (client, "*", &reply);
      break;
    case 3:
      fscache_holders (client, NULL, take_holding, NULL, &reply);
      break;
    case 4:
      fscache_drop_mount (client, "/", true, &released, &reply);
      break;
    case 5:
      fscache_pin (client, take_uri (), &reply);
      break;
    case 6:
      fscache_unpin (client, take_uri (), &reply);
      break;
    default:
      fscache_status (client, take_counter, NULL, &reply);
      break;
    }
}

static void
play_program (FscacheClient *client)
{
  uint8_t pick = fsc_script_take_byte (&stage->script);

  switch (pick % 12)
    {
    case 0:
    case 1:
      open_many (client, false);
      break;
    case 2:
    case 3:
      open_many (client, true);
      break;
    case 4:
      watch (client);
      break;
    case 5:
      put (client);
      break;
    case 6:
      borrow (client);
      break;
    case 7:
      if (stage->n_watches > 0)
        fscache_unwatch (client, stage->watches[--stage->n_watches]);
      break;
    case 8:
      fscache_cancel (client, stage->submission);
      break;
    case 9:
      fsc_script_require (fscache_get_poll_fd (client) >= 0);
      fscache_dispatch (client);
      break;
    default:
      administer (client, pick / 16);
      break;
    }
}

static void
play (const uint8_t *data, size_t size)
{
  static const gid_t groups[] = { 1, 2 };
  static const FscacheUser user = { .uid = 1000, .gid = 1000, .groups = groups, .n_groups = 2 };
  Stage here = { .script = { .data = data, .size = size }, .service = -1 };
  FscacheClient *client = NULL;

  stage = &here;
  if (fsc_script_take_byte (&here.script) % 8 == 7)
    fscache_connect_as ("/nowhere", 0, &user, &client);
  else
    fscache_connect ("/nowhere", FSCACHE_NO_FALLBACK, &client);
  for (unsigned i = 0; client != NULL && i < STEPS_MAX && here.script.size > 0; i++)
    {
      if (fsc_script_take_byte (&here.script) % 2 == 0)
        play_program (client);
      else
        play_service ();
      fscache_dispatch (client);
    }
  fscache_disconnect (client);
  disconnect ();
  stage = NULL;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  unsigned n_before = fsc_script_count_descriptors ();

  play (data, size);
  fsc_script_require_descriptors (n_before);
  return 0;
}
