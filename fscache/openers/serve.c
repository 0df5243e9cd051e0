/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The loop that all openers share; see serve.h. There are two kinds of work: what may hang (to
 * open, and to close what is held, for FUSE sends its server a FLUSH then), and what may not (to
 * hand out). As long as nothing is held there is only the first kind, and one thread. With the
 * first handle comes a second thread, and from then on there are:
 *
 *  - The receiver, which is the new one, receives all there is. It hands out, answers pings, and
 *    never does anything that may hang.
 *
 *  - The worker, which is the first one, opens and closes, however long that takes, and never
 *    receives. So a provider is always called by the same thread, one call at a time: umask,
 *    working directory and buffers are its own.
 *
 * What the receiver passes on never piles up: the service gives an opener one OPEN at a time (one
 * place is enough), and what was given back waits in the table of what is held, in its own slot.
 * The worker takes one of each in turn. An OPEN may have to wait for a close that hangs, but it is
 * for the same mount, and would hang as well.
 *
 * Two threads that both receive, each doing what it gets, would save passing on. But then both may
 * hang, one opening and one closing, and a GIVE_BACK may overtake the HAND before it. A single
 * receiver needs no references to know that what it hands out is not closed at that moment: only
 * what it has itself taken out of the table is. (Handing out duplicates made for that would cost a
 * FLUSH each.)
 *
 * To pass on costs a switch of thread, some microseconds: little beside an open on a network.
 *
 * Where clients put what is held, both are there from the beginning, and each descriptor that is to
 * be received has a thread of its own: a client may take its time, and what it sends may hang
 * whoever looks at it, or closes what is too many.
 */
#include "fscache/openers/serve.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "protocol/uri.h"

#define SOCKET 3

/* Of a thread that receives, or closes. */
#define STACK_SIZE (256 * 1024)

/* Results that are ready do not wait longer than this for the next one. */
#define PATIENCE_NS 500000

#define PROGRESS_NS 100000000

/* A place for a handle. Its number, counted from 1, is the handle's id. */
typedef struct
{
  int fd;
  uint32_t next; /* of its list: another id, or 0; or HELD: it is in none */
} Slot;

#define HELD UINT32_MAX

/* First in, first out. */
typedef struct
{
  uint32_t first, last; /* ids, or 0 */
} List;

typedef struct
{
  const char *name;
  FscOpenFunc open;
  FscReceiveFunc receive; /* or NULL: nothing is put here */
  uint32_t features;      /* FSC_FEATURE_* that are in force */
  int inotify;            /* the service's, or -1 */
  bool has_receiver;      /* never changes once there are two threads */

  /* Of both threads, under the mutex, which nobody holds while doing what may hang. */
  pthread_mutex_t mutex;
  pthread_cond_t is_work; /* for the worker */
  Slot *slots;
  uint32_t n_slots;
  List unused;
  List given_back;      /* and not yet closed */
  size_t passed_length; /* 0: no OPEN is waiting */
  uint8_t passed[FSC_PACKET_MAX];

  uint8_t received[FSC_PACKET_MAX]; /* of the receiver alone */

  /* All that follows is of the first thread alone. The OPENED being put together: */
  uint32_t serial;
  FscWay way;
  FscWriter writer;
  uint32_t n_results;
  unsigned n_fds;
  bool has_sockets; /* among these */
  int fds[FSC_FDS_MAX];
  int64_t since;
  uint8_t out[FSC_PACKET_MAX];
  uint8_t in[FSC_PACKET_MAX];
} Server;

/* Which item is being opened, and when something was last told of it. */
struct FscReport
{
  const Server *server;
  unsigned index;
  int64_t told_at;
};

static int64_t
now_ns (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return (int64_t) time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Sends to the service. Too many descriptors in flight is a state that passes; anything else means
 * that it is gone. */
static void
send_packet (const void *packet, int length, const int *fds, unsigned n_fds)
{
  const struct timespec pause = { .tv_nsec = 1000000 };
  int r;

  while ((r = fsc_channel_send (SOCKET, packet, (size_t) length, fds, n_fds, 0)) == -ETOOMANYREFS)
    nanosleep (&pause, NULL);
  if (length < 0 || r < 0)
    _exit (1);
}

/* Held handles. All of this is under the mutex. */

static void
append (Server *server, List *list, uint32_t id)
{
  server->slots[id - 1].next = 0;
  if (list->first == 0)
    list->first = id;
  else
    server->slots[list->last - 1].next = id;
  list->last = id;
}

/* The list must not be empty. */
static uint32_t
take_first (Server *server, List *list)
{
  uint32_t id = list->first;

  list->first = server->slots[id - 1].next;
  return id;
}

static void
add_slots (Server *server)
{
  uint32_t n = server->n_slots > 0 ? 2 * server->n_slots : 16;

  server->slots = reallocarray (server->slots, n, sizeof *server->slots);
  if (server->slots == NULL)
    _exit (1);
  while (server->n_slots < n)
    append (server, &server->unused, ++server->n_slots);
}

static int
get_held (const Server *server, uint64_t id)
{
  return id >= 1 && id <= server->n_slots && server->slots[id - 1].next == HELD
             ? server->slots[id - 1].fd
             : -1;
}

/* From here on it is not handed out. Its id is free when it is closed. */
static void
give_back (Server *server, uint64_t id)
{
  if (get_held (server, id) < 0)
    return;
  append (server, &server->given_back, (uint32_t) id);
}

static void
close_first (Server *server)
{
  uint32_t id = take_first (server, &server->given_back);
  int fd = server->slots[id - 1].fd;

  pthread_mutex_unlock (&server->mutex);
  close (fd);
  pthread_mutex_lock (&server->mutex);
  append (server, &server->unused, id);
}

static uint64_t
hold (Server *server, int fd)
{
  uint32_t id;

  if (server->unused.first == 0)
    add_slots (server);
  id = take_first (server, &server->unused);
  server->slots[id - 1] = (Slot){ .fd = fd, .next = HELD };
  return id;
}

/* The second thread */

static void *receive_all (void *data);

/* Where no thread can be had, one goes on doing all: handing out waits for what hangs, and nothing
 * else is wrong. The next handle is another attempt. */
static void
start_receiver (Server *server)
{
  pthread_t thread;

  server->has_receiver = true;
  if (pthread_create (&thread, NULL, receive_all, server) == 0)
    pthread_detach (thread);
  else
    server->has_receiver = false;
}

static bool
start_thread (void *(*func) (void *), void *data)
{
  pthread_attr_t attributes;
  pthread_t thread;
  int r;

  pthread_attr_init (&attributes);
  pthread_attr_setstacksize (&attributes, STACK_SIZE);
  pthread_attr_setdetachstate (&attributes, PTHREAD_CREATE_DETACHED);
  r = pthread_create (&thread, &attributes, func, data);
  pthread_attr_destroy (&attributes);
  return r == 0;
}

/* Results */

static void
init_found (Server *server, FscFound *found)
{
  memset (found, 0, offsetof (FscFound, text) + 1);
  found->fd = -1;
  found->inotify = server->inotify;
  found->way = &server->way;
}

static FscResult
get_result (const Server *server, const FscFound *found, unsigned index)
{
  FscResult result = {
    .index = index,
    .code = found->code,
    .error = found->error,
    .has_ttl = found->has_ttl && (found->code == FSC_CODE_OK || found->code == FSC_CODE_UNCHANGED),
    .mount_id = found->mount_id,
    .sharing = found->most_sharing,
    .source = found->is_final ? FSC_SOURCE_PASSED : FSC_SOURCE_NONE,
    .coherence = found->coherence,
    .kind = found->kind,
    .text = { found->text, strlen (found->text) },
    .validator = { (const char *) found->validator, found->validator_length },
  };

  if (found->has_content && (server->features & FSC_FEATURE_CONTENT) != 0)
    {
      result.content.is_known = true;
      result.content.size = found->size;
      memcpy (result.content.digest, found->digest, sizeof found->digest);
    }
  return result;
}

static void
begin_results (Server *server)
{
  fsc_writer_begin (&server->writer, server->out, sizeof server->out);
  fsc_codec_put_opened (&server->writer, 0);
  server->n_results = 0;
  server->n_fds = 0;
  server->since = now_ns ();
}

static void *
clear_sent (void *data)
{
  fsc_fds_clear (data);
  free (data);
  return NULL;
}

/* Others have them. But a connection may be closed there before it is here, and then it is here
 * that whatever its server has sent to it, or its borrower has set, is waited for. */
static void
close_sent (Server *server)
{
  FscFds *sent = server->has_sockets ? malloc (sizeof *sent) : NULL;

  for (unsigned i = 0; i < server->n_fds; i++)
    if (sent != NULL)
      sent->fds[i] = server->fds[i];
    else
      close (server->fds[i]);
  if (sent != NULL)
    {
      sent->n = server->n_fds;
      if (!start_thread (clear_sent, sent))
        clear_sent (sent);
    }
  server->has_sockets = false;
}

static void
flush_results (Server *server)
{
  FscWriter count;
  int length;

  if (server->n_results == 0)
    return;
  fsc_writer_begin (&count, server->out, sizeof server->out);
  fsc_codec_put_opened (&count, server->n_results);
  length = fsc_writer_finish (&server->writer, FSC_OP_OPENED, server->serial, server->n_fds);
  send_packet (server->out, length, server->fds, server->n_fds);
  close_sent (server);
  begin_results (server);
}

/* Before the result that it belongs to. */
static void
send_way (Server *server, unsigned index)
{
  uint8_t packet[FSC_PACKET_MAX];
  FscWriter writer;

  flush_results (server);
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_watched (&writer, index, server->way.n);
  for (unsigned i = 0; i < server->way.n; i++)
    fsc_codec_put_step (&writer, &server->way.steps[i]);
  send_packet (packet, fsc_writer_finish (&writer, FSC_OP_WATCHED, server->serial, 0), NULL, 0);
}

static void
put_result (Server *server, unsigned index, const FscFound *found)
{
  FscResult result = get_result (server, found, index);

  if (result.has_ttl)
    result.age_ms = found->ttl_ms;
  if (server->way.n > 0)
    send_way (server, index);
  if (server->writer.position + fsc_codec_result_size (&result) > sizeof server->out)
    flush_results (server);
  if (found->fd >= 0 && found->hold)
    {
      pthread_mutex_lock (&server->mutex);
      result.id = hold (server, found->fd);
      pthread_mutex_unlock (&server->mutex);
      if (!server->has_receiver)
        start_receiver (server);
    }
  else if (found->fd >= 0)
    {
      server->fds[server->n_fds++] = found->fd;
      server->has_sockets |= found->kind == FSC_KIND_SOCKET;
      result.has_fd = true;
    }
  fsc_codec_put_result (&server->writer, &result);
  server->n_results++;
}

static bool
take_open (Server *server, const FscHeader *header, FscReader *reader)
{
  char uri[FSC_URI_MAX + 1];
  uint32_t n;

  if (!fsc_codec_get_open (reader, &n))
    return false;
  server->serial = header->serial;
  begin_results (server);
  for (uint32_t i = 0; i < n; i++)
    {
      struct FscReport report = { .server = server, .index = i };
      FscFound found;
      FscItem item;

      if (!fsc_codec_get_item (reader, &item))
        return false;
      if (server->n_results > 0 && now_ns () - server->since > PATIENCE_NS)
        flush_results (server);
      memcpy (uri, item.uri.data, item.uri.length);
      uri[item.uri.length] = '\0';

      init_found (server, &found);
      found.report = &report;
      report.told_at = now_ns ();
      server->way.n = 0;
      server->open (&item, uri, &found);
      put_result (server, i, &found);
    }
  flush_results (server);
  return fsc_reader_finish (reader) == 0;
}

/* To the worker. False if there is no place: the service must not give several at a time. */
static bool
pass_open (Server *server, const uint8_t *packet, size_t length)
{
  bool has_place;

  pthread_mutex_lock (&server->mutex);
  has_place = server->passed_length == 0;
  if (has_place)
    {
      memcpy (server->passed, packet, length);
      server->passed_length = length;
    }
  pthread_mutex_unlock (&server->mutex);
  pthread_cond_signal (&server->is_work);
  return has_place;
}

/* Handing out */

static int
hand_out (Server *server, const uint64_t *ids, unsigned n_ids, FscBytes packet, int socket)
{
  int fds[FSC_FDS_MAX];
  bool has_all = true;

  pthread_mutex_lock (&server->mutex);
  for (unsigned i = 0; i < n_ids; i++)
    {
      fds[i] = get_held (server, ids[i]);
      has_all = has_all && fds[i] >= 0;
    }
  pthread_mutex_unlock (&server->mutex);

  /* None of them is closed meanwhile: the GIVE_BACK would have to be received by this thread. */
  return has_all ? -fsc_channel_send (socket, packet.data, packet.length, fds, n_ids, MSG_DONTWAIT)
                 : ENOENT;
}

static void
send_done (uint32_t serial, uint64_t count)
{
  uint8_t buffer[64];
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_done (&writer, count);
  send_packet (buffer, fsc_writer_finish (&writer, FSC_OP_DONE, serial, 0), NULL, 0);
}

/* The socket is -1 if this process has no descriptor free for it. */
static bool
take_hand (Server *server, const FscHeader *header, FscReader *reader, int socket)
{
  uint64_t ids[FSC_FDS_MAX];
  uint32_t packet_length;
  FscBytes packet;
  unsigned n_ids;
  int error;

  if (!fsc_codec_get_hand (reader, &n_ids, &packet_length))
    return false;
  for (unsigned i = 0; i < n_ids; i++)
    if (!fsc_codec_get_id (reader, &ids[i]))
      return false;
  if (!fsc_codec_get_packet (reader, packet_length, &packet) || fsc_reader_finish (reader) < 0)
    return false;

  error = socket >= 0 ? hand_out (server, ids, n_ids, packet, socket) : EMFILE;
  if (socket >= 0)
    close (socket);
  send_done (header->serial, (uint64_t) error);
  return true;
}

static bool
take_give_back (Server *server, FscReader *reader)
{
  uint32_t n, flags;
  uint64_t id;

  if (!fsc_codec_get_give_back (reader, &flags, &n))
    return false;
  for (uint32_t i = 0; i < n; i++)
    {
      if (!fsc_codec_get_id (reader, &id))
        return false;
      pthread_mutex_lock (&server->mutex);
      give_back (server, id);
      pthread_mutex_unlock (&server->mutex);
    }
  pthread_cond_signal (&server->is_work);
  return fsc_reader_finish (reader) == 0;
}

/* Receiving */

typedef struct
{
  Server *server;
  uint32_t serial;
  uint32_t timeout_ms;
  int socket;
} Receipt;

static void
send_received (const Server *server, uint32_t serial, const FscFound *found, uint64_t id)
{
  uint8_t packet[sizeof (FscWireHeader) + sizeof (FscWireOpened) + sizeof (FscWireResult)
                 + sizeof (FscWireContent) + FSC_TEXT_MAX + FSC_VALIDATOR_MAX + 4];
  FscResult result = get_result (server, found, 0);
  FscWriter writer;

  result.id = id;
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_opened (&writer, 1);
  fsc_codec_put_result (&writer, &result);
  send_packet (packet, fsc_writer_finish (&writer, FSC_OP_OPENED, serial, 0), NULL, 0);
}

static void *
receive_one (void *data)
{
  Receipt *receipt = data;
  Server *server = receipt->server;
  FscFds rest = { 0 };
  FscFound found;
  uint64_t id = 0;

  init_found (server, &found);
  server->receive (receipt->socket, receipt->timeout_ms, &found, &rest);
  if (found.fd >= 0)
    {
      pthread_mutex_lock (&server->mutex);
      id = hold (server, found.fd);
      pthread_mutex_unlock (&server->mutex);
    }
  send_received (server, receipt->serial, &found, id);
  fsc_fds_clear (&rest);
  close (receipt->socket);
  free (receipt);
  return NULL;
}

/* The worker closes the socket, as something may lie in it already. */
static void
fail_receiving (Server *server, const Receipt *receipt)
{
  FscFound found;

  init_found (server, &found);
  found.code = FSC_CODE_LIMIT;
  found.error = receipt->socket >= 0 ? EAGAIN : EMFILE;
  snprintf (found.text, FSC_TEXT_MAX, "its holder has no %s to receive it with",
            receipt->socket >= 0 ? "thread" : "descriptor free");
  send_received (server, receipt->serial, &found, 0);
  if (receipt->socket < 0)
    return;
  pthread_mutex_lock (&server->mutex);
  give_back (server, hold (server, receipt->socket));
  pthread_mutex_unlock (&server->mutex);
  pthread_cond_signal (&server->is_work);
}

/* The socket as for HAND. */
static bool
take_receive (Server *server, const FscHeader *header, FscReader *reader, int socket)
{
  Receipt *receipt = malloc (sizeof *receipt);

  if (receipt == NULL)
    _exit (1);
  *receipt = (Receipt){ .server = server, .serial = header->serial, .socket = socket };
  if (!fsc_codec_get_receive (reader, &receipt->timeout_ms) || fsc_reader_finish (reader) < 0)
    {
      free (receipt);
      return false;
    }
  if (socket >= 0 && start_thread (receive_one, receipt))
    return true;
  fail_receiving (server, receipt);
  free (receipt);
  return true;
}

/* The loop */

static bool
greet (Server *server)
{
  FscWelcome welcome = { .version = FSC_PROTOCOL_HIGHEST,
                         .packet_max = FSC_PACKET_MAX,
                         .items_max = FSC_ITEMS_MAX,
                         .name = { server->name, strlen (server->name) } };
  FscHeader header;
  FscReader reader;
  FscWriter writer;
  FscHello hello;
  FscFds fds = { 0 };
  ssize_t length = fsc_channel_receive (SOCKET, server->in, sizeof server->in, &fds, 1, NULL, 0);

  if (length < 0 || fsc_reader_begin (&reader, &header, server->in, (size_t) length, fds.n) < 0
      || header.opcode != FSC_OP_HELLO || !fsc_codec_get_hello (&reader, &hello)
      || fsc_reader_finish (&reader) < 0 || hello.lowest > FSC_PROTOCOL_HIGHEST
      || hello.highest < FSC_PROTOCOL_LOWEST)
    return false;
  server->inotify = fds.n > 0 ? fds.fds[0] : -1;
  welcome.features = server->features
      = hello.features & (FSC_FEATURE_CONTENT | FSC_FEATURE_PROGRESS);
  fsc_writer_begin (&writer, server->out, sizeof server->out);
  fsc_codec_put_welcome (&writer, &welcome);
  send_packet (server->out, fsc_writer_finish (&writer, FSC_OP_WELCOME, 0, 0), NULL, 0);
  return true;
}

/* Receives one packet into `in` and does what it says, or passes it on. Returns false when the
 * service is gone or talks nonsense. */
static bool
serve_one (Server *server, uint8_t in[FSC_PACKET_MAX])
{
  FscHeader header;
  FscReader reader;
  FscFds fds = { 0 };
  bool good, lost;
  ssize_t length = fsc_channel_receive (SOCKET, in, FSC_PACKET_MAX, &fds, 1, &lost, 0);
  int socket;

  if (length < 0
      || fsc_reader_begin (&reader, &header, in, (size_t) length, lost ? FSC_FDS_LOST : fds.n) < 0)
    return false;
  socket = fds.n > 0 ? fsc_fds_steal (&fds, 0) : -1;
  switch (header.opcode)
    {
    case FSC_OP_OPEN:
      good = server->has_receiver ? pass_open (server, in, (size_t) length)
                                  : take_open (server, &header, &reader);
      break;
    case FSC_OP_HAND:
      good = take_hand (server, &header, &reader, socket);
      break;
    case FSC_OP_GIVE_BACK:
      good = take_give_back (server, &reader);
      break;
    case FSC_OP_RECEIVE:
      good = server->receive != NULL && take_receive (server, &header, &reader, socket);
      break;
    case FSC_OP_CANCEL: /* what it is about has been answered by now */
      good = true;
      break;
    case FSC_OP_PING:
      good = true;
      send_done (header.serial, 0);
      break;
    default:
      good = false;
    }
  return good;
}

/* The receiver. The process ends with it, whatever the worker is in: with nothing cleaned up that a
 * provider may be using. */
static void *
receive_all (void *data)
{
  Server *server = data;

  while (serve_one (server, server->received))
    ;
  _exit (0);
}

/* The first thread, while it is the only one. Returns false when all is over. */
static bool
serve_alone (Server *server)
{
  bool good = true;

  while (good && !server->has_receiver)
    {
      good = serve_one (server, server->in);
      while (!server->has_receiver && server->given_back.first != 0)
        {
          pthread_mutex_lock (&server->mutex);
          close_first (server);
          pthread_mutex_unlock (&server->mutex);
        }
    }
  return good;
}

static bool
take_passed_open (Server *server)
{
  size_t length = server->passed_length;
  FscHeader header;
  FscReader reader;
  bool good;

  /* The next one may come as soon as the last of this is answered. */
  memcpy (server->in, server->passed, length);
  server->passed_length = 0;
  pthread_mutex_unlock (&server->mutex);
  good = fsc_reader_begin (&reader, &header, server->in, length, 0) == 0
         && take_open (server, &header, &reader);
  pthread_mutex_lock (&server->mutex);
  return good;
}

/* The first thread, when it has become the worker. */
static void
work (Server *server)
{
  bool good = true;

  pthread_mutex_lock (&server->mutex);
  while (good)
    {
      while (server->passed_length == 0 && server->given_back.first == 0)
        pthread_cond_wait (&server->is_work, &server->mutex);
      if (server->passed_length > 0)
        good = take_passed_open (server);
      if (server->given_back.first != 0)
        close_first (server);
    }
  pthread_mutex_unlock (&server->mutex);
}

int
fsc_serve (const char *name, FscOpenFunc open)
{
  return fsc_serve_store (name, open, NULL);
}

int
fsc_serve_store (const char *name, FscOpenFunc open, FscReceiveFunc receive)
{
  /* Too large for a stack */
  static Server server
      = { .mutex = PTHREAD_MUTEX_INITIALIZER, .is_work = PTHREAD_COND_INITIALIZER };

  /* Before anything else: no process of the same user may trace this one or look into its table of
   * descriptors, or its word would be worth nothing. */
  prctl (PR_SET_DUMPABLE, 0, 0, 0, 0);

  server.name = name;
  server.open = open;
  server.receive = receive;
  if (!greet (&server))
    {
      fprintf (stderr, "%s is started by fscached, with its socket at descriptor 3\n", name);
      return 2;
    }
  if (receive != NULL)
    start_receiver (&server);
  if (receive != NULL && !server.has_receiver)
    return 1;
  if (serve_alone (&server))
    work (&server);
  return 0;
}

void
fsc_found_progress (FscFound *found, uint64_t done, uint64_t total, uint64_t memory)
{
  struct FscReport *report = found->report;
  const FscProgress progress
      = { .index = report->index, .done = done, .total = total, .memory = memory };
  uint8_t packet[64];
  FscWriter writer;

  if ((report->server->features & FSC_FEATURE_PROGRESS) == 0
      || now_ns () - report->told_at < PROGRESS_NS)
    return;
  report->told_at = now_ns ();
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_progress (&writer, &progress);
  send_packet (packet, fsc_writer_finish (&writer, FSC_OP_PROGRESS, report->server->serial, 0),
               NULL, 0);
}

void
fsc_found_fail (FscFound *found, FscCode code, int error, const char *name, const char *phrase)
{
  char shown[FSC_NAME_IN_TEXT_MAX];

  found->code = code;
  found->error = error;
  snprintf (found->text, FSC_TEXT_MAX, "cannot open %s: %s",
            fsc_uri_abbreviate ((FscBytes){ name, strlen (name) }, shown), phrase);
}

void
fsc_found_system_error (FscFound *found, const char *name, int error)
{
  fsc_found_fail (found, FSC_CODE_SYSTEM, error, name, strerror (error));
}

FscKind
fsc_found_get_kind (mode_t mode)
{
  switch (mode & S_IFMT)
    {
    case S_IFREG:
      return FSC_KIND_REGULAR;
    case S_IFDIR:
      return FSC_KIND_DIRECTORY;
    case S_IFLNK:
      return FSC_KIND_SYMLINK;
    case S_IFIFO:
      return FSC_KIND_FIFO;
    case S_IFSOCK:
      return FSC_KIND_SOCKET;
    case S_IFCHR:
      return FSC_KIND_CHARACTER;
    case S_IFBLK:
      return FSC_KIND_BLOCK;
    default:
      return FSC_KIND_UNKNOWN;
    }
}
