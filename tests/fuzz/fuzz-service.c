/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fuzzes the service: all of it but its processes and its listening socket. The input plays the
 * clients and the openers; whatever they say, the service answers in packets that are valid, and
 * when all have gone no descriptor is left.
 *
 * The input is a script (script.h). Linked with libFuzzer, or with replay.c, which runs the corpus
 * as a test.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fscache/closer.h"
#include "fscache/connection.h"
#include "fscache/server.h"
#include "tests/fuzz/script.h"
#include "tests/harness/message.h"

#define CLIENTS_MAX 4
#define OPENERS_MAX 16
#define STEPS_MAX 200
#define TURNS_MAX 64

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* The processes and the socket that are not there */

typedef struct
{
  int socket; /* its own end; -1: it has ended */
  guint32 id;
  guint32 open, hand, receive; /* the last serial of each that it was sent */
} Opener;

struct FscSpawner
{
  gboolean serves_all;
  FscSpawnerFuncs funcs;
  gpointer data;
  guint32 last_id;
  Opener openers[OPENERS_MAX];
  guint n_openers;
};

gboolean
fsc_spawner_attach (FscSpawner *spawner, FscLoop *loop, const FscSpawnerFuncs *funcs, gpointer data,
                    GError **error)
{
  spawner->funcs = *funcs;
  spawner->data = data;
  return TRUE;
}

void
fsc_spawner_free (FscSpawner *spawner)
{
  for (guint i = 0; i < spawner->n_openers; i++)
    if (spawner->openers[i].socket >= 0)
      close (spawner->openers[i].socket);
  spawner->n_openers = 0;
}

gboolean
fsc_spawner_serves_all (const FscSpawner *spawner)
{
  return spawner->serves_all;
}

gboolean
fsc_spawner_is_privileged (const FscSpawner *spawner)
{
  return spawner->serves_all;
}

guint32
fsc_spawner_start (FscSpawner *spawner, char *const *command, const FscUser *user, int socket,
                   GError **error)
{
  Opener *opener = &spawner->openers[spawner->n_openers];

  if (spawner->n_openers == OPENERS_MAX)
    {
      g_set_error_literal (error, G_FILE_ERROR, G_FILE_ERROR_AGAIN, "there are too many");
      return 0;
    }
  spawner->n_openers++;
  *opener = (Opener){ fcntl (socket, F_DUPFD_CLOEXEC, 0), ++spawner->last_id };
  fsc_script_require (opener->socket >= 0);
  return opener->id;
}

static Opener *
find_opener (const FscSpawner *spawner, guint32 id)
{
  for (guint i = 0; i < spawner->n_openers; i++)
    if (spawner->openers[i].id == id && spawner->openers[i].socket >= 0)
      return (Opener *) &spawner->openers[i];
  return NULL;
}

/* It really ends when the script says so. */
void
fsc_spawner_kill (FscSpawner *spawner, guint32 id)
{
}

gboolean
fsc_spawner_is_running (const FscSpawner *spawner, guint32 id)
{
  return find_opener (spawner, id) != NULL;
}

gboolean
fsc_listener_attach (FscListener *listener, FscLoop *loop, FscAcceptFunc func, gpointer data,
                     GError **error)
{
  return TRUE;
}

void
fsc_listener_resume (FscListener *listener)
{
}

void
fsc_listener_free (FscListener *listener)
{
}

/* It is welcome, unless the script is to say it. */
static void
welcome_service (const Opener *opener)
{
  const FscTestMessage welcome = { .header = { .opcode = FSC_OP_WELCOME },
                                   .welcome = { .version = 1,
                                                .features = 0xff,
                                                .packet_max = FSC_PACKET_MAX,
                                                .items_max = FSC_ITEMS_MAX,
                                                .name = { "opener", strlen ("opener") } } };
  guint8 packet[128];
  int length = fsc_test_message_encode (&welcome, packet, sizeof packet);

  if (opener->id % 4 != 0)
    fsc_script_send (opener->socket, packet, (size_t) length, 0, 0);
}

/* The stage */

typedef struct
{
  FscScript script;
  FscSpawner spawner;
  FscServer *server;
  int clients[CLIENTS_MAX]; /* -1: not there */
  guint32 serial;
} Stage;

static const FscConfig *
get_config (void)
{
  static const char text[] = "[service]\n"
                             "max-handles=24\n"
                             "max-clients=3\n"
                             "[cache]\n"
                             "pressure=no\n"
                             "[tcp]\n"
                             "allow=localhost:1\n"
                             "max=3\n"
                             "min-idle=1\n"
                             "[tcp named]\n"
                             "match=tcp://localhost:* tcp://?:*\n"
                             "max=2\n"
                             "[handle]\n"
                             "max-names=3\n"
                             "[helper odd]\n"
                             "command=/bin/true\n"
                             "[helper kept]\n"
                             "command=/bin/true\n"
                             "ttl=60\n"
                             "[rule no]\n"
                             "uris=file:///a/b\n"
                             "action=refuse\n";
  static FscConfig *config;

  if (config == NULL)
    {
      g_autoptr (GError) error = NULL;
      int fd = memfd_create ("config", MFD_CLOEXEC);
      g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", fd);

      fsc_script_require (fd >= 0 && write (fd, text, strlen (text)) == (ssize_t) strlen (text));
      config = fsc_config_load (path, TRUE, &error);
      close (fd);
      fsc_script_require (config != NULL);
    }
  return config;
}

static GLogWriterOutput
drop_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer data)
{
  return G_LOG_WRITER_HANDLED;
}

/* What is begun once and stays: its descriptors are not the inputs'. */
static void
prepare (void)
{
  static gboolean is_prepared;

  if (is_prepared)
    return;
  is_prepared = TRUE;
  g_log_set_writer_func (drop_log, NULL, NULL);
  g_log_set_always_fatal (G_LOG_LEVEL_CRITICAL | G_LOG_FATAL_MASK);
  get_config ();
  g_main_context_iteration (NULL, FALSE);
}

static void
turn (void)
{
  for (guint i = 0; i < TURNS_MAX && g_main_context_iteration (NULL, FALSE); i++)
    ;
}

/* Those who listen */

/* Returns FALSE at the end. */
static gboolean
hear (Stage *stage, int socket, gboolean is_client, FscHeader *header)
{
  guint8 packet[FSC_PACKET_MAX];
  FscTestMessage message;
  FscFds fds = { 0 };
  ssize_t length
      = fsc_channel_receive (socket, packet, sizeof packet, &fds, FSC_FDS_MAX, NULL, MSG_DONTWAIT);

  if (length >= 0)
    {
      fsc_script_require (fsc_test_message_decode (&message, packet, (size_t) length, fds.n) == 0);
      *header = message.header;
      if (is_client && message.header.opcode == FSC_OP_OPENED)
        for (guint i = 0; i < message.n_records; i++)
          if (message.records[i].result.id != 0)
            fsc_script_remember_id (&stage->script, message.records[i].result.id);
      if (message.header.opcode == FSC_OP_GIVE)
        fsc_script_send (fds.fds[0], packet, sizeof (FscWireHeader), 1, 0);
      fsc_test_message_clear (&message);
    }
  fsc_fds_clear (&fds);
  return length >= 0;
}

static void
hear_all (Stage *stage)
{
  FscHeader header;

  for (guint i = 0; i < CLIENTS_MAX; i++)
    while (stage->clients[i] >= 0 && hear (stage, stage->clients[i], TRUE, &header))
      ;
  for (guint i = 0; i < stage->spawner.n_openers; i++)
    {
      Opener *opener = &stage->spawner.openers[i];

      while (opener->socket >= 0 && hear (stage, opener->socket, FALSE, &header))
        if (header.opcode == FSC_OP_HELLO)
          welcome_service (opener);
        else if (header.opcode == FSC_OP_OPEN)
          opener->open = header.serial;
        else if (header.opcode == FSC_OP_HAND)
          opener->hand = header.serial;
        else if (header.opcode == FSC_OP_RECEIVE)
          opener->receive = header.serial;
    }
}

/* Those who speak */

static void
speak (Stage *stage, int socket, FscOpcode opcode, guint32 serial)
{
  guint8 packet[FSC_PACKET_MAX];
  guint n_fds;
  size_t length
      = fsc_script_take_packet (&stage->script, opcode, serial, packet, sizeof packet, &n_fds);

  if (length > 0)
    fsc_script_send (socket, packet, length, n_fds,
                     n_fds > 0 ? fsc_script_take_byte (&stage->script) : 0);
}

/* Says HELLO as it should be said, as far as the script does not. */
static void
connect_client (Stage *stage, int *client)
{
  static gid_t groups[] = { 1, 2 };
  static const uid_t uids[] = { 0, 1000, 1001, 65534 };
  guint8 shape = fsc_script_take_byte (&stage->script);
  FscTestMessage hello = { .header = { .opcode = FSC_OP_HELLO, .n_fds = 1 },
                           .hello = { FSC_PROTOCOL_MAGIC, 1, 1, 0xff, { "f", 1 } } };
  FscPeer peer = { .pid = getpid (),
                   .is_known = shape / 4 % 8 != 7,
                   .user = { uids[shape % 4], uids[shape % 4], shape / 32 % 3, groups } };
  guint8 packet[128];
  int sockets[2];
  int length;

  if (*client >= 0)
    close (*client);
  fsc_script_require (
      socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
  *client = sockets[1];
  fsc_connection_new (stage->server, sockets[0], stage->spawner.serves_all ? &peer : NULL, TRUE);
  length = fsc_test_message_encode (&hello, packet, sizeof packet);
  if (shape < 0xe0)
    fsc_script_send (*client, packet, (size_t) length, 1, 1);
}

static void
play_client (Stage *stage, guint8 which)
{
  static const guint8 opcodes[]
      = { FSC_OP_OPEN,    FSC_OP_OPEN,     FSC_OP_OPEN, FSC_OP_GIVE_BACK, FSC_OP_CANCEL,
          FSC_OP_DROP,    FSC_OP_PIN,      FSC_OP_INFO, FSC_OP_LIST,      FSC_OP_STATUS,
          FSC_OP_PING,    FSC_OP_HOLDERS,  FSC_OP_SET,  FSC_OP_WATCH,     FSC_OP_WATCH,
          FSC_OP_UNWATCH, FSC_OP_PUT,      FSC_OP_PUT,  FSC_OP_OPEN,      FSC_OP_HELLO,
          FSC_OP_WELCOME, FSC_OP_SPEAK_FOR };
  int *client = &stage->clients[which % CLIENTS_MAX];
  FscOpcode opcode
      = (FscOpcode) opcodes[fsc_script_take_byte (&stage->script) % G_N_ELEMENTS (opcodes)];

  if (*client < 0)
    connect_client (stage, client);
  speak (stage, *client, opcode, opcode == FSC_OP_HELLO ? 0 : ++stage->serial);
}

static void
play_opener (Stage *stage, guint8 which)
{
  static const guint8 opcodes[]
      = { FSC_OP_OPENED, FSC_OP_OPENED,  FSC_OP_OPENED,  FSC_OP_WELCOME,  FSC_OP_WELCOME,
          FSC_OP_DONE,   FSC_OP_WATCHED, FSC_OP_WATCHED, FSC_OP_PROGRESS, FSC_OP_ERROR };
  guint8 pick = fsc_script_take_byte (&stage->script);
  FscOpcode opcode = (FscOpcode) opcodes[pick % G_N_ELEMENTS (opcodes)];
  Opener *opener;
  guint32 serial;

  if (stage->spawner.n_openers == 0)
    return;
  opener = &stage->spawner.openers[which % stage->spawner.n_openers];
  if (opener->socket < 0)
    return;
  serial = opcode == FSC_OP_DONE ? opener->hand : opener->open;
  if (opcode == FSC_OP_OPENED && pick >= 0xc0)
    serial = opener->receive;
  if (opcode == FSC_OP_WELCOME)
    serial = 0;
  speak (stage, opener->socket, opcode, serial);
}

static void
leave (Stage *stage, guint8 which)
{
  Opener *opener;

  if (which % 2 == 0 && stage->clients[which / 2 % CLIENTS_MAX] >= 0)
    {
      close (stage->clients[which / 2 % CLIENTS_MAX]);
      stage->clients[which / 2 % CLIENTS_MAX] = -1;
    }
  if (which % 2 == 0 || stage->spawner.n_openers == 0)
    return;
  opener = &stage->spawner.openers[which / 2 % stage->spawner.n_openers];
  if (opener->socket < 0)
    return;
  close (opener->socket);
  opener->socket = -1;
  stage->spawner.funcs.exited (opener->id, 0, stage->spawner.data);
}

static void
play (Stage *stage)
{
  for (guint i = 0; i < STEPS_MAX && stage->script.size > 0; i++)
    {
      guint8 step = fsc_script_take_byte (&stage->script);

      if (step % 16 < 7)
        play_client (stage, step / 16);
      else if (step % 16 < 14)
        play_opener (stage, step / 16);
      else if (step % 16 == 14)
        leave (stage, step / 16);
      else
        connect_client (stage, &stage->clients[step / 16 % CLIENTS_MAX]);
      if (step % 2 != 0 || stage->script.size % 4 != 0)
        turn ();
      hear_all (stage);
    }
}

static void
run (const uint8_t *data, size_t size)
{
  Stage stage = { .script = { .data = data, .size = size } };
  g_autoptr (GError) error = NULL;

  stage.spawner.serves_all = fsc_script_take_byte (&stage.script) % 2 != 0;
  for (guint i = 0; i < CLIENTS_MAX; i++)
    stage.clients[i] = -1;
  stage.server = fsc_server_new (get_config (), &stage.spawner, NULL, "/nowhere", &error);
  fsc_script_require (stage.server != NULL);
  play (&stage);
  turn ();
  hear_all (&stage);
  for (guint i = 0; i < CLIENTS_MAX; i++)
    if (stage.clients[i] >= 0)
      close (stage.clients[i]);
  turn ();
  fsc_server_free (stage.server);
  turn ();
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  unsigned n_before;

  prepare ();
  n_before = fsc_script_count_descriptors ();
  run (data, size);
  fsc_script_require_descriptors (n_before);
  return 0;
}
