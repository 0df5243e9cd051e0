/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The loop that all openers share; see serve.h.
 */
#include "fscache/openers/serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "protocol/uri.h"

#define SOCKET 3

/* Results that are ready do not wait longer than this for the next one. */
#define PATIENCE_NS 500000

typedef struct
{
  const char *name;
  FscOpenFunc open;

  /* What is held: held[id - 1], or -1 */
  int *held;
  size_t n_held;

  /* The OPENED being put together. */
  uint32_t serial;
  FscWriter writer;
  uint32_t n_results;
  unsigned n_fds;
  int fds[FSC_FDS_MAX];
  int64_t since;
  uint8_t out[FSC_PACKET_MAX];
  uint8_t in[FSC_PACKET_MAX];
} Server;

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

/* Held handles */

static uint64_t
hold (Server *server, int fd)
{
  size_t i, n;

  for (i = 0; i < server->n_held && server->held[i] >= 0; i++)
    ;
  if (i == server->n_held)
    {
      n = server->n_held > 0 ? 2 * server->n_held : 16;
      server->held = reallocarray (server->held, n, sizeof *server->held);
      if (server->held == NULL)
        _exit (1);
      for (size_t j = server->n_held; j < n; j++)
        server->held[j] = -1;
      server->n_held = n;
    }
  server->held[i] = fd;
  return i + 1;
}

static int
get_held (const Server *server, uint64_t id)
{
  return id >= 1 && id <= server->n_held ? server->held[id - 1] : -1;
}

static void
release (Server *server, uint64_t id)
{
  int fd = get_held (server, id);

  if (fd < 0)
    return;
  server->held[id - 1] = -1;
  close (fd);
}

/* Results */

static void
begin_results (Server *server)
{
  fsc_writer_begin (&server->writer, server->out, sizeof server->out);
  fsc_codec_put_opened (&server->writer, 0);
  server->n_results = 0;
  server->n_fds = 0;
  server->since = now_ns ();
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
  for (unsigned i = 0; i < server->n_fds; i++)
    close (server->fds[i]);
  begin_results (server);
}

static void
put_result (Server *server, unsigned index, const FscFound *found)
{
  FscResult result = {
    .index = index,
    .code = found->code,
    .error = found->error,
    .mount_id = found->mount_id,
    .sharing = found->most_sharing,
    .source = found->is_final ? FSC_SOURCE_PASSED : FSC_SOURCE_NONE,
    .coherence = found->coherence,
    .kind = found->kind,
    .text = { found->text, strlen (found->text) },
    .validator = { (const char *) found->validator, found->validator_length },
  };

  if (server->writer.position + sizeof (FscWireResult) + FSC_TEXT_MAX + FSC_VALIDATOR_MAX
      > sizeof server->out)
    flush_results (server);
  if (found->fd >= 0 && found->hold)
    result.id = hold (server, found->fd);
  else if (found->fd >= 0)
    {
      server->fds[server->n_fds++] = found->fd;
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
      FscFound found;
      FscItem item;

      if (!fsc_codec_get_item (reader, &item))
        return false;
      if (server->n_results > 0 && now_ns () - server->since > PATIENCE_NS)
        flush_results (server);
      memcpy (uri, item.uri.data, item.uri.length);
      uri[item.uri.length] = '\0';

      memset (&found, 0, offsetof (FscFound, text) + 1);
      found.fd = -1;
      server->open (&item, uri, &found);
      put_result (server, i, &found);
    }
  flush_results (server);
  return fsc_reader_finish (reader) == 0;
}

/* Handing out */

static int
hand_out (Server *server, const uint64_t *ids, unsigned n_ids, FscBytes packet, int socket)
{
  int fds[FSC_FDS_MAX];

  for (unsigned i = 0; i < n_ids; i++)
    {
      fds[i] = get_held (server, ids[i]);
      if (fds[i] < 0)
        return ENOENT;
    }
  return -fsc_channel_send (socket, packet.data, packet.length, fds, n_ids, MSG_DONTWAIT);
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

  error = hand_out (server, ids, n_ids, packet, socket);
  close (socket);
  send_done (header->serial, (uint64_t) error);
  return true;
}

static bool
take_give_back (Server *server, FscReader *reader)
{
  uint32_t n;
  uint64_t id;

  if (!fsc_codec_get_give_back (reader, &n))
    return false;
  for (uint32_t i = 0; i < n; i++)
    {
      if (!fsc_codec_get_id (reader, &id))
        return false;
      release (server, id);
    }
  return fsc_reader_finish (reader) == 0;
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
  ssize_t length = fsc_channel_receive (SOCKET, server->in, sizeof server->in, NULL, 0, NULL, 0);

  if (length < 0 || fsc_reader_begin (&reader, &header, server->in, (size_t) length, 0) < 0
      || header.opcode != FSC_OP_HELLO || !fsc_codec_get_hello (&reader, &hello)
      || fsc_reader_finish (&reader) < 0 || hello.lowest > FSC_PROTOCOL_HIGHEST
      || hello.highest < FSC_PROTOCOL_LOWEST)
    return false;
  fsc_writer_begin (&writer, server->out, sizeof server->out);
  fsc_codec_put_welcome (&writer, &welcome);
  send_packet (server->out, fsc_writer_finish (&writer, FSC_OP_WELCOME, 0, 0), NULL, 0);
  return true;
}

static bool
serve_one (Server *server)
{
  FscHeader header;
  FscReader reader;
  FscFds fds = { 0 };
  bool good;
  ssize_t length = fsc_channel_receive (SOCKET, server->in, sizeof server->in, &fds, 1, NULL, 0);

  if (length == -EMFILE)
    return true; /* a HAND without its socket: the service's deadline sees to it */
  if (length < 0 || fsc_reader_begin (&reader, &header, server->in, (size_t) length, fds.n) < 0)
    return false;
  switch (header.opcode)
    {
    case FSC_OP_OPEN:
      good = take_open (server, &header, &reader);
      break;
    case FSC_OP_HAND:
      good = take_hand (server, &header, &reader, fsc_fds_steal (&fds, 0));
      break;
    case FSC_OP_GIVE_BACK:
      good = take_give_back (server, &reader);
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
  fsc_fds_clear (&fds);
  return good;
}

int
fsc_serve (const char *name, FscOpenFunc open)
{
  static Server server; /* too large for a stack */

  /* Before anything else: no process of the same user may trace this one or look into its table of
   * descriptors, or its word would be worth nothing. */
  prctl (PR_SET_DUMPABLE, 0, 0, 0, 0);

  server.name = name;
  server.open = open;
  if (!greet (&server))
    {
      fprintf (stderr, "%s is started by fscached, with its socket at descriptor 3\n", name);
      return 2;
    }
  while (serve_one (&server))
    ;
  return 0;
}

void
fsc_found_fail (FscFound *found, FscCode code, int error, const char *name, const char *phrase)
{
  char shown[FSC_NAME_IN_TEXT_MAX];

  found->code = code;
  found->error = error;
  snprintf (found->text, sizeof found->text, "cannot open %s: %s",
            fsc_uri_abbreviate ((FscBytes){ name, strlen (name) }, shown), phrase);
}

void
fsc_found_system_error (FscFound *found, const char *name, int error)
{
  fsc_found_fail (found, FSC_CODE_SYSTEM, error, name, strerror (error));
}
