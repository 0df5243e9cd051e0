/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the users of a service for all of them have together is divided: one user takes all it can
 * get, is told where that ends or waits, and another finds enough.
 *
 * What the users do is done by children, which abort where it fails. The greedy one goes on when it
 * is let go on, as the other one is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define SERVICE 54320
#define GREEDY 54321
#define OTHER 54322

typedef struct
{
  FscTestService *service;
  char *file;
  int to_greedy[2], from_greedy[2];
} Stage;

typedef void (*StageFunc) (const Stage *stage);

/* One does something, and waits for the other. */

static void
wait_for (int fd)
{
  char byte;

  g_assert_cmpint (read (fd, &byte, 1), ==, 1);
}

static void
let_go (int fd)
{
  g_assert_cmpint (write (fd, "x", 1), ==, 1);
}

/* In the greedy one: it has all that it gets, until the others have been looked at. */
static void
hold_on (const Stage *stage)
{
  let_go (stage->from_greedy[1]);
  wait_for (stage->to_greedy[0]);
}

static void
stage_clear (Stage *stage)
{
  for (guint i = 0; i < 2; i++)
    {
      close (stage->to_greedy[i]);
      close (stage->from_greedy[i]);
    }
  fsc_test_service_free (stage->service);
  g_free (stage->file);
}

static gboolean
stage_init (Stage *stage, const char *config)
{
  const char *const arguments[] = { "--user", G_STRINGIFY (SERVICE), NULL };

  if (geteuid () != 0)
    {
      g_test_skip ("only root can serve all users");
      return FALSE;
    }
  if (!fsc_test_is_for_all ("fscache/openers/open-file"))
    {
      g_test_skip ("other users may not search the directory of the build");
      return FALSE;
    }
  stage->service = fsc_test_service_prepare (config, arguments);
  g_assert_no_errno (chmod (stage->service->dir, 0711)); /* others have to find the socket */
  fsc_test_service_start (stage->service);
  stage->file = fsc_test_service_write (stage->service, "file", "content");
  g_assert_no_errno (chmod (stage->file, 0644));
  g_assert_no_errno (pipe2 (stage->to_greedy, O_CLOEXEC));
  g_assert_no_errno (pipe2 (stage->from_greedy, O_CLOEXEC));
  return TRUE;
}

static pid_t
start_as (uid_t uid, StageFunc func, const Stage *stage)
{
  pid_t pid = fsc_test_fork_as (uid, NULL, 0);

  if (pid != 0)
    return pid;
  func (stage);
  _exit (0);
}

/* The greedy one takes what it can; then the other one does its work, and `look` is root's. */
static void
run (const char *config, StageFunc greedy, StageFunc other, StageFunc look)
{
  Stage stage;
  pid_t pid;

  if (!stage_init (&stage, config))
    return;
  pid = start_as (GREEDY, greedy, &stage);
  wait_for (stage.from_greedy[0]);
  look (&stage);
  fsc_test_assert_ends_well (start_as (OTHER, other, &stage));
  let_go (stage.to_greedy[1]);
  fsc_test_assert_ends_well (pid);
  stage_clear (&stage);
}

/* Connections */

static gboolean
try_hello (int fd, FscTestPacket *packet)
{
  const FscTestMessage hello
      = { .header = { .opcode = FSC_OP_HELLO },
          .hello
          = { FSC_PROTOCOL_MAGIC, FSC_PROTOCOL_LOWEST, FSC_PROTOCOL_HIGHEST, 0, { "raw", 3 } } };

  fsc_test_raw_send (fd, &hello, NULL);
  g_assert_true (fsc_test_raw_receive (fd, packet));
  return packet->message.header.opcode == FSC_OP_WELCOME;
}

static void
connect_much (const Stage *stage)
{
  g_auto (FscTestPacket) packet = { 0 };
  int fds[64];
  guint n = 0;

  /* Half-sent handshakes count. (64 - 4 that are reserved - 1 of root's) / 3. */
  for (; n < 19; n++)
    fds[n] = fsc_test_raw_connect (stage->service->socket);
  fds[n] = fsc_test_raw_connect (stage->service->socket);
  g_assert_false (try_hello (fds[n], &packet));
  g_assert_cmpint (packet.message.error.code, ==, FSC_CODE_LIMIT);
  g_assert_cmpint (strncmp (packet.message.error.text.data,
                            "user 54321 has 19 of 19 connections that it may have (max-clients=64 "
                            "is for 2 users: 20 are taken)",
                            packet.message.error.text.length),
                   ==, 0);
  g_assert_true (try_hello (fds[0], &packet));
  close (fds[0]);
  close (fds[n]);
  g_usleep (50000);
  fds[0] = fsc_test_raw_greet (stage->service->socket, TRUE); /* there is room again */
  hold_on (stage);
}

static void
connect_some (const Stage *stage)
{
  for (guint i = 0; i < 8; i++)
    fsc_test_raw_greet (stage->service->socket, TRUE);
}

static void
look_at_clients (const Stage *stage)
{
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "clients"), ==, 21);
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "user_54321_connections"), ==, 19);
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "user_54321_connections_max"), ==,
                    19);
}

static void
test_connections (void)
{
  Stage stage;
  FscacheClient *root;
  pid_t pid;

  if (!stage_init (&stage, "[service]\nmax-clients=64\nmax-handles=64\n"))
    return;
  root = fsc_test_service_connect (stage.service);
  pid = start_as (GREEDY, connect_much, &stage);
  wait_for (stage.from_greedy[0]);
  look_at_clients (&stage);
  fsc_test_assert_ends_well (start_as (OTHER, connect_some, &stage));
  let_go (stage.to_greedy[1]);
  fsc_test_assert_ends_well (pid);
  fscache_disconnect (root);
  stage_clear (&stage);
}

/* Descriptors */

#define CLIENTS 20
#define OPENS 10

static void
ask (const char *uri, FscSharing sharing, int fd, guint32 serial)
{
  FscTestRecord record = { .item = { .sharing = sharing, .uri = { uri, strlen (uri) } } };
  const FscTestMessage open = {
    .header = { .opcode = FSC_OP_OPEN, .serial = serial },
    .n_records = 1,
    .records = &record,
  };

  fsc_test_raw_send (fd, &open, NULL);
}

/* Returns how many descriptors came; each answer must be good. */
static guint
take_answers (int fd, guint n, FscCode code)
{
  g_auto (FscTestPacket) packet = { 0 };
  guint n_fds = 0;

  while (n > 0)
    {
      g_assert_true (fsc_test_raw_receive (fd, &packet));
      for (guint i = 0; i < packet.message.n_records; i++)
        g_assert_cmpint (packet.message.records[i].result.code, ==, code);
      g_assert_cmpuint (packet.message.n_records, <=, n);
      n -= packet.message.n_records;
      n_fds += packet.fds.n;
    }
  return n_fds;
}

static void
leave_unread (const Stage *stage)
{
  g_autofree char *uri = g_strconcat ("file://", stage->file, NULL);
  int fds[CLIENTS];

  for (guint i = 0; i < CLIENTS; i++)
    {
      fds[i] = fsc_test_raw_greet (stage->service->socket, TRUE);
      for (guint j = 0; j < OPENS; j++)
        ask (uri, FSC_SHARING_SHARED, fds[i], j + 1);
    }
  hold_on (stage);
  for (guint i = 0; i < CLIENTS; i++)
    g_assert_cmpuint (take_answers (fds[i], OPENS, FSC_CODE_OK), ==, OPENS);
}

static void
open_some (const Stage *stage)
{
  g_autofree char *uri = g_strconcat ("file://", stage->file, NULL);
  int fd = fsc_test_raw_greet (stage->service->socket, TRUE);

  for (guint i = 0; i < 100; i++)
    {
      ask (uri, FSC_SHARING_SHARED, fd, i + 1);
      g_assert_cmpuint (take_answers (fd, 1, FSC_CODE_OK), ==, 1);
    }
}

/* (64 - 4) / 2 for who is alone, or a third while root looks; and one for each client. */
static void
look_at_descriptors (const Stage *stage)
{
  guint64 n = 0;

  for (guint i = 0; i < 500 && n < 19; i++)
    {
      g_usleep (10000);
      n = fsc_test_service_counter (stage->service, "in_flight");
      g_assert_cmpuint (n, <=, 30 + CLIENTS + 1);
    }
  g_assert_cmpuint (n, >=, 19);
}

static void
test_descriptors (void)
{
  run ("[shares]\ndescriptors=64\n", leave_unread, open_some, look_at_descriptors);
}

/* Handles */

#define FILES 40
#define SOME 5

static char *
make_path (const Stage *stage, guint i)
{
  return g_strdup_printf ("%s/file-%u", stage->service->dir, i);
}

/* Opens some files, of which all are then cached, if all `were` not already. */
static void
open_files (const Stage *stage, FscacheClient *client, guint n, gboolean were)
{
  FscacheReply reply;

  for (guint round = 0; round < 2; round++)
    for (guint i = 0; i < n; i++)
      {
        g_autofree char *path = make_path (stage, i);

        g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
        g_assert_cmpint (reply.source, ==,
                         round == 1 || were ? FSCACHE_SOURCE_CACHE : FSCACHE_SOURCE_OPENED);
        fscache_reply_clear (client, &reply);
      }
}

/* All files are opened; those that may be kept stay, the last ones. Then it keeps them for ever:
 * what is opened after that is given, and not kept. */
static void
hoard (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  FscacheReply reply;
  guint n_pinned = 0;
  int result = 0;

  for (guint i = 0; i < FILES; i++)
    {
      g_autofree char *path = make_path (stage, i);

      g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
      fscache_reply_clear (client, &reply);
    }
  /* (64 - 4 that are reserved - root's) / 3 */
  g_assert_cmpint (fscache_list (client, NULL, NULL, NULL, NULL), ==, (60 - SOME) / 3);
  for (guint i = 0; i < FILES && result == 0; i++, n_pinned++)
    {
      g_autofree char *path = make_path (stage, i);

      result = fscache_pin (client, path, &reply);
    }
  g_assert_cmpuint (n_pinned, ==, (60 - SOME) / 3 + 1);
  g_assert_cmpint (result, ==, -ENOSPC);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_LIMIT);
  g_test_message ("%s", reply.message);
  g_assert_nonnull (strstr (reply.message, ": all 18 handles that user 54321 may have (of "
                                           "max-handles=64) are pinned or lent"));
  hold_on (stage);
  fscache_disconnect (client);
}

static void
open_some_files (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);

  open_files (stage, client, SOME, FALSE);
  fscache_disconnect (client);
}

static void
test_handles (void)
{
  Stage stage;
  FscacheClient *root;
  pid_t pid;

  if (!stage_init (&stage, "[service]\nmax-clients=64\nmax-handles=64\n"))
    return;
  for (guint i = 0; i < FILES; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);
      g_autofree char *path = fsc_test_service_write (stage.service, name, name);

      g_assert_no_errno (chmod (path, 0644));
    }
  root = fsc_test_service_connect (stage.service);
  open_files (&stage, root, SOME, FALSE);
  pid = start_as (GREEDY, hoard, &stage);
  wait_for (stage.from_greedy[0]);
  open_files (&stage, root, SOME, TRUE);
  fsc_test_assert_ends_well (start_as (OTHER, open_some_files, &stage));
  let_go (stage.to_greedy[1]);
  fsc_test_assert_ends_well (pid);
  fscache_disconnect (root);
  stage_clear (&stage);
}

/* Requests */

#define ADDRESS "fscache-test-divided"
#define WAITING 50

/* There is one connection, and one has it; the others wait for it. */
static void
wait_in_line (const Stage *stage)
{
  int fds[WAITING];

  for (guint i = 0; i < WAITING; i++)
    {
      fds[i] = fsc_test_raw_greet (stage->service->socket, TRUE);
      ask ("unix:@" ADDRESS, FSC_SHARING_EXCLUSIVE, fds[i], 1);
      if (i == 0)
        g_assert_cmpuint (take_answers (fds[i], 1, FSC_CODE_OK), ==, 1);
    }
  hold_on (stage);
  for (guint i = 1; i < WAITING; i++)
    take_answers (fds[i], 1, FSC_CODE_LIMIT);
}

/* (64 - 4) / 2: who comes after them is not read from. */
static void
look_at_requests (const Stage *stage)
{
  guint64 n = 0;

  for (guint i = 0; i < 500 && n < 25; i++)
    {
      g_usleep (10000);
      n = fsc_test_service_counter (stage->service, "waiting");
      g_assert_cmpuint (n, <=, 31);
    }
  g_assert_cmpuint (n, >=, 25);
}

static void
test_requests (void)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "\0" ADDRESS };
  socklen_t length = (socklen_t) (offsetof (struct sockaddr_un, sun_path) + sizeof ADDRESS);
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_assert_no_errno (bind (fd, (struct sockaddr *) &address, length));
  g_assert_no_errno (listen (fd, 10));
  run ("[shares]\nrequests=64\n[unix]\nmin-idle=0\nmax=1\nwait=1.5\n", wait_in_line, open_some,
       look_at_requests);
  close (fd);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/divided/connections", test_connections);
  g_test_add_func ("/divided/descriptors", test_descriptors);
  g_test_add_func ("/divided/handles", test_handles);
  g_test_add_func ("/divided/requests", test_requests);
  return g_test_run ();
}
