/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Connections from a pool: what a borrower gets, what a server sees, and what becomes of those that
 * are spoilt. The servers are here, and do nothing but accept, so that each connection is known.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "tests/harness/lingering.h"
#include "tests/harness/memory.h"
#include "tests/harness/postgresql.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define WAIT_MS 5000
#define QUIET_MS 300

/* Servers */

typedef struct
{
  int fd;
  guint16 port;
  char uri[64];
} Server;

static void
server_listen (Server *server, guint16 port, int backlog)
{
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons (port),
                                 .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t length = sizeof address;
  int on = 1;

  server->fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_no_errno (setsockopt (server->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  g_assert_no_errno (bind (server->fd, (struct sockaddr *) &address, sizeof address));
  g_assert_no_errno (listen (server->fd, backlog));
  g_assert_no_errno (getsockname (server->fd, (struct sockaddr *) &address, &length));
  server->port = ntohs (address.sin_port);
  g_snprintf (server->uri, sizeof server->uri, "tcp://127.0.0.1:%u", server->port);
}

static gboolean
is_ready (int fd, int ms)
{
  struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

  return poll (&poll_fd, 1, ms) > 0;
}

static int
server_accept (Server *server)
{
  int fd;

  g_assert_true (is_ready (server->fd, WAIT_MS));
  fd = accept4 (server->fd, NULL, NULL, SOCK_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  return fd;
}

static void
assert_closed (int peer)
{
  char byte;

  g_assert_true (is_ready (peer, WAIT_MS));
  g_assert_cmpint (recv (peer, &byte, 1, 0), <=, 0);
  close (peer);
}

/* Whatever one end says, the other one hears. */
static void
assert_connected (int a, int b)
{
  char text[8] = "";

  g_assert_cmpint (send (a, "ping", 4, MSG_NOSIGNAL), ==, 4);
  g_assert_true (is_ready (b, WAIT_MS));
  g_assert_cmpint (recv (b, text, sizeof text, 0), ==, 4);
  g_assert_cmpstr (text, ==, "ping");
  g_assert_cmpint (send (b, "pong", 4, MSG_NOSIGNAL), ==, 4);
  g_assert_true (is_ready (a, WAIT_MS));
  g_assert_cmpint (recv (a, text, sizeof text, 0), ==, 4);
}

/* Borrowers */

typedef struct
{
  FscTestService *service;
  FscacheClient *client;
  Server server;
} Stage;

static void
stage_init (Stage *stage, const char *settings)
{
  g_autofree char *config = g_strdup_printf ("[unix]\n%.*s\n"
                                             "[tcp]\nallow=127.0.0.1:* nosuch.invalid:1\n%s\n",
                                             (int) strcspn (settings, "["), settings, settings);

  stage->service = fsc_test_service_new (config, NULL);
  stage->client = fsc_test_service_connect (stage->service);
  server_listen (&stage->server, 0, 64);
}

static void
stage_clear (Stage *stage)
{
  if (stage->server.fd >= 0)
    close (stage->server.fd);
  fscache_disconnect (stage->client);
  fsc_test_service_free (stage->service);
}

static int
try (FscacheClient *client, const char *uri, FscacheSharing sharing, FscacheReply *reply)
{
  FscacheRequest request = { .uri = uri, .sharing = sharing };

  return fscache_open_with (client, &request, reply);
}

static FscacheReply
take (Stage *stage, FscacheSharing sharing, FscacheSource source)
{
  FscacheReply reply;
  int fd = try (stage->client, stage->server.uri, sharing, &reply);

  if (fd < 0)
    g_test_message ("%s", reply.message);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (reply.kind, ==, FSCACHE_KIND_SOCKET);
  g_assert_cmpint (reply.sharing, ==, sharing);
  g_assert_cmpint (reply.source, ==, source);
  g_assert_cmpint (reply.lease != 0, ==, sharing == FSCACHE_EXCLUSIVE);
  g_assert_cmphex (fcntl (fd, F_GETFD), ==, FD_CLOEXEC);
  g_assert_cmphex (fcntl (fd, F_GETFL) & ~O_LARGEFILE, ==, O_RDWR);
  return reply;
}

static FscacheReply
borrow (Stage *stage, FscacheSource source)
{
  return take (stage, FSCACHE_EXCLUSIVE, source);
}

static void
give_back (Stage *stage, FscacheReply *reply)
{
  fscache_give_back (stage->client, reply);
  g_assert_cmpint (fscache_ping (stage->client, NULL), ==, 0); /* it has arrived */
}

static void
assert_fails (FscacheClient *client, const char *uri, int error, const char *part)
{
  FscacheReply reply;

  g_assert_cmpint (try (client, uri, FSCACHE_EXCLUSIVE, &reply), ==, -error);
  if (strstr (reply.message, part) == NULL)
    g_test_message ("%s", reply.message);
  g_assert_nonnull (strstr (reply.message, part));
}

/* Tests */

static void
test_lent (void)
{
  Stage stage;
  FscacheReply a, b, c;
  int first, second;

  stage_init (&stage, "min-idle=0");
  a = borrow (&stage, FSCACHE_SOURCE_OPENED);
  first = server_accept (&stage.server);
  assert_connected (a.fd, first);

  /* While it is lent, the next one gets another. */
  b = borrow (&stage, FSCACHE_SOURCE_OPENED);
  second = server_accept (&stage.server);
  assert_connected (b.fd, second);

  /* Given back, it is lent again, with the flags that were asked for. */
  g_assert_no_errno (fcntl (a.fd, F_SETFL, O_NONBLOCK));
  give_back (&stage, &a);
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections_idle"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections_lent"), ==, 1);
  c = borrow (&stage, FSCACHE_SOURCE_CACHE);
  assert_connected (c.fd, first);
  g_assert_false (is_ready (stage.server.fd, QUIET_MS));
  give_back (&stage, &b);
  give_back (&stage, &c);
  g_assert_cmpint (fscache_drop (stage.client, stage.server.uri, NULL), ==, 2);
  assert_closed (first);
  assert_closed (second);
  g_assert_false (is_ready (stage.server.fd, QUIET_MS));
  stage_clear (&stage);
}

/* Whoever asks without borrowing is given one for good: a warm one. */
static void
test_independent (void)
{
  Stage stage;
  FscacheReply a, b;
  int first, second, third;

  stage_init (&stage, "min-idle=1");
  a = take (&stage, FSCACHE_INDEPENDENT, FSCACHE_SOURCE_PASSED);
  first = server_accept (&stage.server);
  second = server_accept (&stage.server); /* in the background */
  fsc_test_service_wait_for (stage.service, "connections_idle", 1);
  b = take (&stage, FSCACHE_INDEPENDENT, FSCACHE_SOURCE_PASSED);
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "hits"), ==, 1);
  third = server_accept (&stage.server);
  assert_connected (a.fd, first);
  assert_connected (b.fd, second);
  fscache_disconnect (stage.client);
  assert_connected (a.fd, first);

  /* Nobody but its owner has it. */
  close (a.fd);
  assert_closed (first);
  close (b.fd);
  assert_closed (second);
  stage.client = fsc_test_service_connect (stage.service);
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections"), ==, 1);
  close (third);
  stage_clear (&stage);
}

/* What has been lent is not what connect() leaves: it makes room for a new one. */
static void
test_independent_is_new (void)
{
  Stage stage;
  FscacheReply reply;
  int first, second;

  stage_init (&stage, "min-idle=0\nmax=1");
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  first = server_accept (&stage.server);
  give_back (&stage, &reply);
  reply = take (&stage, FSCACHE_INDEPENDENT, FSCACHE_SOURCE_PASSED);
  second = server_accept (&stage.server);
  assert_closed (first);
  assert_connected (reply.fd, second);
  close (reply.fd);
  assert_closed (second);
  stage_clear (&stage);
}

static void
test_refusals (void)
{
  Stage stage;
  FscacheRequest request;
  FscacheReply reply;

  stage_init (&stage, "");
  request = (FscacheRequest){ .uri = stage.server.uri, .flags = O_RDWR | O_CREAT };
  g_assert_cmpint (fscache_open_with (stage.client, &request, &reply), ==, -EINVAL);
  g_assert_nonnull (strstr (reply.message, "these flags"));
  assert_fails (stage.client, "tcp://127.0.0.1:1", ECONNREFUSED, "refused");
  assert_fails (stage.client, "tcp://nosuch.invalid:1", ENOENT, "address");
  assert_fails (stage.client, "tcp://127.0.0.2:1", EACCES, "[tcp] allow");
  assert_fails (stage.client, "unix:///nonexistent/socket", ENOENT, "No such file");
  assert_fails (stage.client, "unix:///etc/passwd", ECONNREFUSED, "no socket");
  assert_fails (stage.client, "unix:@fscache-nobody", ECONNREFUSED, "refused");

  /* What has failed leaves nothing, and is not tried again. */
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "pools"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "entries"), ==, 0);
  stage_clear (&stage);
}

/* O_NONBLOCK is the borrower's to have, and the next one's not. */
static void
test_nonblocking (void)
{
  Stage stage;
  FscacheRequest request;
  FscacheReply reply;

  stage_init (&stage, "min-idle=0");
  request = (FscacheRequest){ .uri = stage.server.uri,
                              .sharing = FSCACHE_EXCLUSIVE,
                              .flags = O_RDWR | O_NONBLOCK };
  g_assert_cmpint (fscache_open_with (stage.client, &request, &reply), >=, 0);
  g_assert_cmphex (fcntl (reply.fd, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
  give_back (&stage, &reply);
  reply = borrow (&stage, FSCACHE_SOURCE_CACHE);
  give_back (&stage, &reply);
  stage_clear (&stage);
}

/* The server ends an idle connection: that is noticed at once, and another one made. */
static void
test_end_while_idle (void)
{
  Stage stage;
  FscacheReply reply;
  int first, second;

  stage_init (&stage, "");
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  first = server_accept (&stage.server);
  second = server_accept (&stage.server);
  give_back (&stage, &reply);
  close (first);
  close (second);
  first = server_accept (&stage.server);
  fsc_test_service_wait_for (stage.service, "connections_idle", 1);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  assert_connected (reply.fd, first);
  give_back (&stage, &reply);
  close (first);
  stage_clear (&stage);
}

/* Nobody would know what it is the answer to. */
static void
test_unexpected (void)
{
  Stage stage;
  FscacheReply reply;
  int first, second;

  stage_init (&stage, "min-idle=0");
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  first = server_accept (&stage.server);

  /* While it is idle, */
  give_back (&stage, &reply);
  g_assert_cmpint (send (first, "?", 1, 0), ==, 1);
  fsc_test_service_wait_for (stage.service, "connections", 0);
  close (first);

  /* and before it was given back. */
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  first = server_accept (&stage.server);
  g_assert_cmpint (send (first, "?", 1, 0), ==, 1);
  g_assert_true (is_ready (reply.fd, WAIT_MS));
  fscache_give_back (stage.client, &reply);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  second = server_accept (&stage.server);
  assert_connected (reply.fd, second);
  give_back (&stage, &reply);
  close (first);
  close (second);
  stage_clear (&stage);
}

/* A server that speaks first is heard by who is lent its connection first. */
static void
test_greeting (void)
{
  Stage stage;
  FscacheReply reply;
  char text[8] = "";
  int first, second;

  stage_init (&stage, "");
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  first = server_accept (&stage.server);
  second = server_accept (&stage.server);
  g_assert_cmpint (send (second, "hello", 5, 0), ==, 5);
  fsc_test_service_wait_for (stage.service, "connections_idle", 1);
  fscache_discard (stage.client, &reply);
  assert_closed (first);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (recv (reply.fd, text, sizeof text, 0), ==, 5);
  g_assert_cmpstr (text, ==, "hello");
  assert_connected (reply.fd, second);
  give_back (&stage, &reply);
  close (second);
  stage_clear (&stage);
}

static void
test_discarded (void)
{
  Stage stage;
  FscacheReply reply;
  int peer;

  stage_init (&stage, "min-idle=0");
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  peer = server_accept (&stage.server);
  fscache_discard (stage.client, &reply);
  g_assert_cmpint (reply.fd, ==, -1);
  assert_closed (peer);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  give_back (&stage, &reply);
  stage_clear (&stage);
}

/* What would harm the next borrower, and could not be undone. */
static void
test_options (void)
{
  const int number = 100000;
  const struct timeval time = { .tv_usec = 1000 };
  const struct linger linger = { 1, 0 };
  const struct
  {
    int level, name;
    const void *value;
    socklen_t size;
    gboolean spoils;
  } options[] = {
    { SOL_SOCKET, SO_RCVLOWAT, &number, sizeof number, TRUE },
    { SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time, TRUE },
    { SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time, TRUE },
    { SOL_SOCKET, SO_LINGER, &linger, sizeof linger, TRUE },
    { IPPROTO_TCP, TCP_CORK, &number, sizeof number, TRUE },
    { IPPROTO_TCP, TCP_NODELAY, &number, sizeof number, FALSE },
    { SOL_SOCKET, SO_KEEPALIVE, &number, sizeof number, FALSE },
  };
  FscacheReply reply;
  Stage stage;

  stage_init (&stage, "min-idle=0");
  for (guint i = 0; i < G_N_ELEMENTS (options); i++)
    {
      int peer;

      reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
      peer = server_accept (&stage.server);
      g_assert_no_errno (setsockopt (reply.fd, options[i].level, options[i].name, options[i].value,
                                     options[i].size));
      give_back (&stage, &reply);
      if (!options[i].spoils)
        {
          reply = borrow (&stage, FSCACHE_SOURCE_CACHE);
          fscache_discard (stage.client, &reply);
        }
      assert_closed (peer);
    }
  stage_clear (&stage);
}

/* Who may not share it has it made ready. */
static void
test_warmed (void)
{
  g_auto (FscTestProgram) program = { 0 };
  g_auto (FscTestProgram) pinning = { 0 };
  g_autofree char *list = NULL;
  FscacheReply reply;
  Stage stage;

  stage_init (&stage, "min-idle=3");
  list = g_strdup_printf ("%s\n%s\ntcp://127.0.0.1:1\n", stage.server.uri, stage.server.uri);
  g_free (fsc_test_service_write (stage.service, "list", list));
  fsc_test_service_ctl (stage.service, &program, FSC_TEST_WORDS ("warm", "list"));
  fsc_test_program_assert_exit (&program, 1);
  g_assert_nonnull (strstr (program.error, "tcp://127.0.0.1:1: Connection refused"));
  g_assert_null (strstr (program.error, stage.server.uri));
  fsc_test_service_wait_for (stage.service, "connections_idle", 3);
  g_assert_cmpint (try (stage.client, stage.server.uri, FSCACHE_SHARED, &reply), ==, -EISCONN);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NOT_REOPENABLE);
  g_assert_nonnull (strstr (reply.message, "cannot be shared"));
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections"), ==, 3);

  /* It is nobody's, and new. */
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  fsc_test_service_wait_for (stage.service, "connections_idle", 3);
  give_back (&stage, &reply);
  fsc_test_service_ctl (stage.service, &pinning, FSC_TEST_WORDS ("pin", stage.server.uri));
  fsc_test_program_assert_exit (&pinning, 1);
  g_assert_nonnull (strstr (pinning.error, "cannot pin a connection"));
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections"), ==, 4);
  stage_clear (&stage);
}

static void
test_warm_from_the_start (void)
{
  g_autofree char *config = NULL;
  g_autofree char *list = NULL;
  Stage stage = { .service = fsc_test_service_new (NULL, NULL) };

  fsc_test_service_stop (stage.service); /* its descriptors were counted while none was busy */
  server_listen (&stage.server, 0, 64);
  list = fsc_test_service_write (stage.service, "list", stage.server.uri);
  config = g_strdup_printf ("[tcp]\nallow=*\nmin-idle=2\n[warm]\nlist=%s\n", list);
  fsc_test_write (stage.service->config, config);
  fsc_test_service_start (stage.service);
  stage.client = fsc_test_service_connect (stage.service);
  fsc_test_service_wait_for (stage.service, "connections_idle", 2);
  stage_clear (&stage);
}

/* Other limits for some targets. */
static void
test_named (void)
{
  static const char uri[] = "unix:@fscache-narrow";
  struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "\0fscache-narrow" };
  const socklen_t length
      = (socklen_t) (offsetof (struct sockaddr_un, sun_path) + strlen (uri) - strlen ("unix:"));
  FscacheReply one, two, narrow;
  Stage stage;
  int listener;

  stage_init (&stage, "min-idle=0\nmax=2\nwait=0\n[unix narrow]\nmatch=unix:@*-narrow\nmax=1\n");
  listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_no_errno (bind (listener, (const struct sockaddr *) &address, length));
  g_assert_no_errno (listen (listener, 9));
  one = borrow (&stage, FSCACHE_SOURCE_OPENED);
  two = borrow (&stage, FSCACHE_SOURCE_OPENED);
  assert_fails (stage.client, stage.server.uri, EAGAIN, "[tcp] max=2");
  g_assert_cmpint (try (stage.client, uri, FSCACHE_EXCLUSIVE, &narrow), >=, 0);
  assert_fails (stage.client, uri, EAGAIN, "[unix narrow] max=1");
  give_back (&stage, &one);
  give_back (&stage, &two);
  give_back (&stage, &narrow);
  close (listener);
  stage_clear (&stage);
}

static void *
borrow_in_thread (void *data)
{
  Stage *stage = data;
  FscacheReply reply;

  g_assert_cmpint (try (stage->client, stage->server.uri, FSCACHE_EXCLUSIVE, &reply), >=, 0);
  fscache_give_back (stage->client, &reply);
  return NULL;
}

static void
test_maximum (void)
{
  Stage stage;
  FscacheReply a, b, c;
  pthread_t thread;

  stage_init (&stage, "max=2\nwait=1\nmin-idle=2");
  a = borrow (&stage, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (try (stage.client, stage.server.uri, FSCACHE_EXCLUSIVE, &b), >=, 0);
  close (server_accept (&stage.server));
  close (server_accept (&stage.server));
  g_assert_false (is_ready (stage.server.fd, QUIET_MS));

  /* Who waits too long is told of the limit, */
  assert_fails (stage.client, stage.server.uri, EAGAIN, "[tcp] max=2");
  g_assert_cmpint (try (stage.client, stage.server.uri, FSCACHE_EXCLUSIVE, &c), ==, -EAGAIN);
  g_assert_cmpint (c.code, ==, FSCACHE_ERROR_LIMIT);

  /* and who does not is given what comes back, or a new one in the place of what is spent. */
  g_assert_cmpint (pthread_create (&thread, NULL, borrow_in_thread, &stage), ==, 0);
  fsc_test_service_wait_for (stage.service, "connections_awaited", 1);
  give_back (&stage, &a);
  g_assert_cmpint (pthread_join (thread, NULL), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections"), <=, 2);
  fscache_discard (stage.client, &b);
  stage_clear (&stage);
}

/* All is ended, and nobody listens for a while. */
static void
test_server_restarts (void)
{
  Stage stage;
  FscacheReply reply;
  int first, second;

  stage_init (&stage, "");
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  first = server_accept (&stage.server);
  second = server_accept (&stage.server);
  give_back (&stage, &reply);
  close (stage.server.fd);
  close (first);
  close (second);
  fsc_test_service_wait_for (stage.service, "connections", 0);
  assert_fails (stage.client, stage.server.uri, ECONNREFUSED, "refused");

  /* It is tried in the background, since somebody has asked lately. */
  server_listen (&stage.server, stage.server.port, 64);
  first = server_accept (&stage.server);
  fsc_test_service_wait_for (stage.service, "connections_idle", 1);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  assert_connected (reply.fd, first);
  give_back (&stage, &reply);
  close (first);
  stage_clear (&stage);
}

/* What a borrower that is killed has done with it is not known. */
static void
test_borrower_is_killed (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (5);
  Stage stage;
  FscacheReply reply;
  int peers[10];

  stage_init (&stage, "min-idle=0");
  for (guint i = 0; i < G_N_ELEMENTS (peers); i++)
    {
      pid_t pid = fork ();

      if (pid == 0)
        {
          FscacheClient *client = fsc_test_service_connect (stage.service);

          for (;;)
            if (try (client, stage.server.uri, FSCACHE_EXCLUSIVE, &reply) < 0)
              _exit (1);
            else if (g_rand_boolean (rand))
              fscache_give_back (client, &reply);
            else
              pause ();
        }
      peers[i] = server_accept (&stage.server);
      g_usleep ((gulong) g_rand_int_range (rand, 0, 20000));
      g_assert_no_errno (kill (pid, SIGKILL));
      g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
      fsc_test_service_wait_for (stage.service, "connections_lent", 0);
      g_assert_cmpint (fscache_drop (stage.client, stage.server.uri, NULL), >=, 0);
      assert_closed (peers[i]);
    }
  fsc_test_service_check_descriptors (stage.service);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  give_back (&stage, &reply);
  stage_clear (&stage);
}

static void
test_idle_time (void)
{
  Stage stage;
  FscacheReply a, b;
  int peers[3];

  stage_init (&stage, "min-idle=1\nidle-time=1");
  a = borrow (&stage, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (try (stage.client, stage.server.uri, FSCACHE_EXCLUSIVE, &b), >=, 0);
  for (guint i = 0; i < G_N_ELEMENTS (peers); i++)
    peers[i] = server_accept (&stage.server);
  give_back (&stage, &a);
  give_back (&stage, &b);
  fsc_test_service_wait_for (stage.service, "connections_idle", 3);

  /* When nobody has asked for that long, none is left, and nothing of the pool. */
  fsc_test_service_wait_for (stage.service, "pools", 0);
  for (guint i = 0; i < G_N_ELEMENTS (peers); i++)
    assert_closed (peers[i]);
  stage_clear (&stage);
}

/* Nobody accepts: the queue of the listening socket is full. */
/* A server that accepts nobody any more. */
static void
full_server_init (Server *full, int fillers[4])
{
  server_listen (full, 0, 0);
  for (guint i = 0; i < 4; i++)
    {
      struct sockaddr_in to = { .sin_family = AF_INET,
                                .sin_port = htons (full->port),
                                .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };

      fillers[i] = socket (AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      connect (fillers[i], (struct sockaddr *) &to, sizeof to);
    }
}

static void
full_server_clear (Server *full, const int fillers[4])
{
  for (guint i = 0; i < 4; i++)
    close (fillers[i]);
  close (full->fd);
}

static void
test_connect_timeout (void)
{
  Stage stage;
  Server full;
  g_autofree char *uri = NULL;
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  socklen_t length;
  int fillers[4], listener;

  stage_init (&stage, "connect-timeout=0.3");
  full_server_init (&full, fillers);
  assert_fails (stage.client, full.uri, ETIMEDOUT, "within 0.3 s");
  full_server_clear (&full, fillers);

  g_snprintf (address.sun_path + 1, sizeof address.sun_path - 1, "fscache-%d", getpid ());
  uri = g_strdup_printf ("unix:@%s", address.sun_path + 1);
  length
      = (socklen_t) (offsetof (struct sockaddr_un, sun_path) + 1 + strlen (address.sun_path + 1));
  listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_no_errno (bind (listener, (struct sockaddr *) &address, length));
  g_assert_no_errno (listen (listener, 0));
  fillers[0] = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_no_errno (connect (fillers[0], (struct sockaddr *) &address, length));
  assert_fails (stage.client, uri, ETIMEDOUT, "within 0.3 s");
  close (fillers[0]);
  close (listener);
  stage_clear (&stage);
}

/* Sockets with names: deep in the tree, behind a symlink, and of another type. */
/* Who does not wait for others waits for a connection of his own all the same; and the service
 * waits for it, and does not ask all the time. */
static void
test_no_wait (void)
{
  Stage stage;
  Server full;
  FscacheReply reply;
  long before;
  int fillers[4];

  stage_init (&stage, "max=1\nwait=0\nconnect-timeout=0.5");
  full_server_init (&full, fillers);
  before = fsc_process_get (stage.service->pid, "voluntary_ctxt_switches:");
  assert_fails (stage.client, full.uri, ETIMEDOUT, "within 0.5 s");
  g_assert_cmpint (fsc_process_get (stage.service->pid, "voluntary_ctxt_switches:"), <,
                   before + 100);
  full_server_clear (&full, fillers);

  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  assert_fails (stage.client, stage.server.uri, EAGAIN, "[tcp] max=1");
  give_back (&stage, &reply);
  stage_clear (&stage);
}

static void
test_unix (void)
{
  Stage stage;
  g_autofree char *folder = NULL, *path = NULL, *link = NULL, *uri = NULL, *back = NULL;
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  FscacheReply reply;
  char *deep = g_strnfill (200, 'x');
  int types[] = { SOCK_STREAM, SOCK_SEQPACKET };

  stage_init (&stage, "min-idle=0");
  back = g_get_current_dir ();
  folder = g_build_filename (stage.service->dir, deep, NULL);
  g_free (deep);
  path = g_build_filename (folder, "s", NULL);
  link = g_build_filename (stage.service->dir, "link", NULL);
  uri = g_strconcat ("unix://", link, NULL);
  g_assert_no_errno (mkdir (folder, 0700));
  g_assert_no_errno (symlink (path, link));
  strcpy (address.sun_path, "s");
  for (guint i = 0; i < G_N_ELEMENTS (types); i++)
    {
      int listener = socket (AF_UNIX, types[i] | SOCK_CLOEXEC, 0);
      int peer;

      g_assert_no_errno (chdir (folder)); /* the path is too long for an address */
      g_assert_no_errno (bind (listener, (struct sockaddr *) &address, sizeof address));
      g_assert_no_errno (chdir (back));
      g_assert_no_errno (listen (listener, 8));
      g_assert_cmpint (try (stage.client, uri, FSCACHE_EXCLUSIVE, &reply), >=, 0);
      peer = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
      assert_connected (reply.fd, peer);
      give_back (&stage, &reply);
      g_assert_cmpint (try (stage.client, uri, FSCACHE_EXCLUSIVE, &reply), >=, 0);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
      assert_connected (reply.fd, peer);
      fscache_discard (stage.client, &reply);
      assert_closed (peer);

      /* Who may not write to it may not connect, as with connect(). */
      g_assert_no_errno (chmod (path, 0444));
      assert_fails (stage.client, uri, EACCES, "Permission denied");
      close (listener);
      g_assert_no_errno (unlink (path));
    }
  g_assert_no_errno (unlink (link));
  g_assert_no_errno (rmdir (folder));
  stage_clear (&stage);
}

/* A service that root runs connects nowhere, if nobody says where to. */
static void
test_guard (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  if (geteuid () == 0)
    assert_fails (client, "tcp://127.0.0.1:1", EACCES, "a service that root runs");
  else
    assert_fails (client, "tcp://127.0.0.1:1", ECONNREFUSED, "refused");
  fscache_disconnect (client);
}

/* Real servers: each is what some 20 lines of a program would do, with a pool and without. */

static int
connect_to (const Server *server)
{
  const struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons (server->port),
                                       .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (connect (fd, (const struct sockaddr *) &address, sizeof address) == 0)
    return fd;
  close (fd);
  return -1;
}

/* Runs a script that has the connection on descriptor 3, borrowed. */
static void
run_script (Stage *stage, const char *script, FscTestProgram *program)
{
  g_autofree char *placement = g_strconcat ("3=", stage->server.uri, NULL);

  fsc_test_service_ctl (
      stage->service, program,
      FSC_TEST_WORDS ("exec", "-s", "exclusive", "--fd", placement, "--", "sh", "-c", script));
}

static void
assert_script (Stage *stage, const char *script, int status, const char *output)
{
  g_auto (FscTestProgram) program = { 0 };

  run_script (stage, script, &program);
  fsc_test_program_assert_exit (&program, status);
  g_assert_cmpstr (program.out, ==, output);
}

static void
test_exec (void)
{
  Stage stage;
  FscacheReply reply;
  int peer;

  stage_init (&stage, "min-idle=0");
  assert_script (&stage, "echo hello >&3; test -S /proc/self/fd/3 && echo is there", 0,
                 "is there\n");
  peer = server_accept (&stage.server);
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections_idle"), ==, 1);
  assert_script (&stage, "echo once more >&3", 0, "");
  reply = borrow (&stage, FSCACHE_SOURCE_CACHE);
  g_assert_true (is_ready (peer, WAIT_MS));
  give_back (&stage, &reply);

  /* Whatever it is that has not gone well. */
  assert_script (&stage, "exit 42", 42, "");
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections"), ==, 0);
  close (peer);
  stage_clear (&stage);
}

/* As if the program had replaced fscachectl. */
static void
test_exec_signals (void)
{
  g_auto (FscTestProgram) killed = { 0 };
  Stage stage;

  stage_init (&stage, "min-idle=0");
  assert_script (&stage,
                 "trap 'echo heard; exit 3' TERM; kill -TERM $PPID; while :; do sleep 0.02; done",
                 3, "heard\n");
  run_script (&stage, "kill -KILL $$", &killed);
  g_assert_true (WIFSIGNALED (killed.status));
  g_assert_cmpint (WTERMSIG (killed.status), ==, SIGKILL);
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections"), ==, 0);

  /* It is stopped, and continued, with the program. */
  assert_script (
      &stage,
      "p=$PPID\n"
      "(until read -r a b state c < /proc/$p/stat && test $state = T; do sleep 0.02; done\n"
      " echo stopped; kill -CONT $p) &\n"
      "kill -STOP $$; wait; echo continued",
      0, "stopped\ncontinued\n");
  g_assert_cmpuint (fsc_test_service_counter (stage.service, "connections_idle"), ==, 1);
  stage_clear (&stage);
}

static GPid
start_redis (const Server *server)
{
  g_autofree char *port = g_strdup_printf ("%u", server->port);
  const char *const argv[] = { "redis-server", "--port", port,           "--bind", "127.0.0.1",
                               "--save",       "",       "--appendonly", "no",     NULL };
  g_autoptr (GError) error = NULL;
  GPid pid = 0;
  int fd = -1;

  g_spawn_async ("/", (char **) argv, NULL,
                 G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL
                     | G_SPAWN_STDERR_TO_DEV_NULL,
                 fsc_test_program_die_with_parent, NULL, &pid, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < 500 && fd < 0; i++)
    {
      fd = connect_to (server);
      if (fd < 0)
        g_usleep (10000);
    }
  g_assert_cmpint (fd, >=, 0);
  close (fd);
  return pid;
}

static void
stop_redis (GPid pid)
{
  g_assert_no_errno (kill (pid, SIGTERM));
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
}

static void
ask_redis (int fd, const char *question, const char *answer)
{
  char text[64] = "";

  g_assert_cmpint (send (fd, question, strlen (question), MSG_NOSIGNAL), ==, strlen (question));
  g_assert_true (is_ready (fd, WAIT_MS));
  g_assert_cmpint (recv (fd, text, sizeof text - 1, 0), >, 0);
  g_assert_cmpstr (text, ==, answer);
}

static void
test_redis (void)
{
  g_autofree char *program = g_find_program_in_path ("redis-server");
  Stage stage;
  FscacheReply reply;
  GPid pid;

  if (program == NULL)
    {
      g_test_skip ("redis-server is not installed");
      return;
    }
  stage_init (&stage, "");
  close (stage.server.fd); /* its port is redis's */
  pid = start_redis (&stage.server);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  ask_redis (reply.fd, "PING\r\n", "+PONG\r\n");
  ask_redis (reply.fd, "CLIENT SETNAME borrowed\r\n", "+OK\r\n");
  give_back (&stage, &reply);

  /* It is the same session. */
  for (guint i = 0; i < 100; i++)
    {
      reply = borrow (&stage, FSCACHE_SOURCE_CACHE);
      ask_redis (reply.fd, "CLIENT GETNAME\r\n", "$8\r\nborrowed\r\n");
      give_back (&stage, &reply);
    }

  /* As the README has it. */
  assert_script (&stage,
                 "printf 'INCR visits\\r\\n' >&3\n"
                 "read -r answer <&3\n"
                 "echo \"visit number ${answer#:}\"\n",
                 0, "visit number 1\r\n");
  assert_script (&stage,
                 "echo CLIENT GETNAME >&3; read -r length <&3; read -r name <&3; echo $name", 0,
                 "borrowed\r\n");

  /* An answer that was not read is nobody else's. */
  reply = borrow (&stage, FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (send (reply.fd, "PING\r\n", 6, 0), ==, 6);
  g_assert_true (is_ready (reply.fd, WAIT_MS));
  give_back (&stage, &reply);
  fsc_test_service_wait_for (stage.service, "connections_idle", 1);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  ask_redis (reply.fd, "CLIENT GETNAME\r\n", "$-1\r\n");
  give_back (&stage, &reply);

  /* The server is restarted. */
  stop_redis (pid);
  fsc_test_service_wait_for (stage.service, "connections", 0);
  pid = start_redis (&stage.server);
  fsc_test_service_wait_for (stage.service, "connections_idle", 1);
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  ask_redis (reply.fd, "PING\r\n", "+PONG\r\n");
  give_back (&stage, &reply);
  stop_redis (pid);
  stage.server.fd = -1;
  stage_clear (&stage);
}

static GPid
start_postgresql (Stage *stage, char **dir)
{
  g_auto (GStrv) command = NULL;
  g_autoptr (GError) error = NULL;
  GPid pid;
  int fd;

  g_assert_no_errno (chmod (stage->service->dir, 0711)); /* it is another user */
  *dir = g_build_filename (stage->service->dir, "pg", NULL);
  command = fsc_test_postgresql_get_command (*dir);
  g_spawn_async ("/", command, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
                 fsc_test_program_die_with_parent, NULL, &pid, &error);
  g_assert_no_error (error);
  fd = fsc_test_postgresql_connect (*dir, 30);
  g_assert_cmpint (fd, >=, 0);
  close (fd);
  return pid;
}

static void
assert_answers (int fd, const char *query, const char *expected)
{
  g_autofree char *answer = fsc_test_postgresql_ask (fd, query);

  g_assert_cmpstr (answer, ==, expected);
}

static FscacheReply
borrow_session (Stage *stage, const char *uri, FscacheSource source, char **backend)
{
  FscacheReply reply;

  g_assert_cmpint (try (stage->client, uri, FSCACHE_EXCLUSIVE, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, source);
  if (reply.source == FSCACHE_SOURCE_OPENED)
    g_assert_true (fsc_test_postgresql_log_in (reply.fd));
  *backend = fsc_test_postgresql_ask (reply.fd, "SELECT pg_backend_pid()");
  g_assert_nonnull (*backend);
  return reply;
}

/* A session is begun once, and then belongs to one after the other. */
static void
test_postgresql (void)
{
  g_autofree char *dir = NULL;
  g_autofree char *uri = NULL;
  g_autofree char *first = NULL;
  g_autofree char *again = NULL;
  g_autofree char *second = NULL;
  g_autofree char *third = NULL;
  g_autofree char *kill_second = NULL;
  FscacheReply one, other;
  Stage stage;
  GPid pid;

  if (!fsc_test_postgresql_is_installed ())
    {
      g_test_skip ("PostgreSQL is not installed");
      return;
    }
  stage_init (&stage, "min-idle=0");
  pid = start_postgresql (&stage, &dir);
  uri = g_strdup_printf ("unix://%s/" FSC_TEST_POSTGRESQL_SOCKET, dir);
  one = borrow_session (&stage, uri, FSCACHE_SOURCE_OPENED, &first);
  assert_answers (one.fd, "SET application_name = 'borrowed'", "");
  give_back (&stage, &one);
  one = borrow_session (&stage, uri, FSCACHE_SOURCE_CACHE, &again);
  g_assert_cmpstr (first, ==, again);
  assert_answers (one.fd, "SHOW application_name", "borrowed");

  /* In the middle of a transaction it is nobody else's. */
  assert_answers (one.fd, "BEGIN", "");
  fscache_discard (stage.client, &one);
  one = borrow_session (&stage, uri, FSCACHE_SOURCE_OPENED, &second);
  g_assert_cmpstr (first, !=, second);

  /* The server ends one that is idle. */
  other = borrow_session (&stage, uri, FSCACHE_SOURCE_OPENED, &third);
  give_back (&stage, &one);
  kill_second = g_strdup_printf ("SELECT pg_terminate_backend(%s)", second);
  assert_answers (other.fd, kill_second, "t");
  fsc_test_service_wait_for (stage.service, "connections", 1);
  give_back (&stage, &other);
  g_free (g_steal_pointer (&again));
  one = borrow_session (&stage, uri, FSCACHE_SOURCE_CACHE, &again);
  g_assert_cmpstr (third, ==, again);
  give_back (&stage, &one);

  g_assert_no_errno (kill (pid, SIGINT));
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  fsc_test_service_wait_for (stage.service, "connections", 0);
  stage_clear (&stage);
}

typedef struct
{
  int fd;
  char *page;
} Sending;

static void *
send_for_ever (void *data)
{
  const Sending *sending = data;

  send (sending->fd, sending->page, 4, 0);
  return NULL;
}

/* Gives back while a duplicate sends, which holds the lock of the socket. */
static void
borrow_and_hang (Stage *stage, int done)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  struct linger linger = { 1, 1000 };
  Sending sending = { .page = fsc_test_make_hanging_page () };
  FscacheReply reply;
  pthread_t thread;

  if (sending.page == NULL || try (client, stage->server.uri, FSCACHE_EXCLUSIVE, &reply) < 0)
    write (done, "0", 1);
  else
    {
      setsockopt (reply.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
      sending.fd = dup (reply.fd);
      pthread_create (&thread, NULL, send_for_ever, &sending);
      g_usleep (100000);
      fscache_give_back (client, &reply);
      fscache_ping (client, NULL);
      write (done, "1", 1);
    }
  pause ();
}

static void
test_borrower_hangs (void)
{
  Stage stage;
  FscacheRequest request;
  FscacheReply reply;
  char hangs = 0;
  int done[2];
  pid_t pid;

  stage_init (&stage, "min-idle=0");
  g_assert_no_errno (pipe2 (done, O_CLOEXEC));
  pid = fork ();
  if (pid == 0)
    borrow_and_hang (&stage, done[1]);
  if (!is_ready (done[0], WAIT_MS))
    g_error ("The service hangs");
  g_assert_cmpint (read (done[0], &hangs, 1), ==, 1);
  request = (FscacheRequest){ .uri = stage.server.uri,
                              .sharing = FSCACHE_EXCLUSIVE,
                              .timeout_ms = 3000 };
  if (hangs == '1')
    {
      g_assert_cmpint (fscache_open_with (stage.client, &request, &reply), >=, 0);
      g_assert_cmpint (fscache_drop (stage.client, stage.server.uri, NULL), >=, 1);
      fscache_discard (stage.client, &reply);
      g_assert_cmpint (fscache_ping (stage.client, NULL), ==, 0);
    }
  else
    g_test_skip ("this user may not have memory that never comes (userfaultfd)");
  g_assert_no_errno (kill (pid, SIGKILL));
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  close (done[0]);
  close (done[1]);
  stage_clear (&stage);
}

/* A borrower has the last close of a socket wait for what a server does not read. */
static void
test_lingers (void)
{
  Stage stage;
  struct linger linger = { 1, 1000 };
  char block[65536] = "";
  FscacheReply reply;
  int peer;

  stage_init (&stage, "min-idle=0");
  reply = borrow (&stage, FSCACHE_SOURCE_OPENED);
  peer = server_accept (&stage.server);
  g_assert_no_errno (setsockopt (reply.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
  for (int quiet = 0; quiet < 10; quiet++) /* the server's end takes some of it */
    {
      while (send (reply.fd, block, sizeof block, MSG_DONTWAIT) > 0)
        quiet = 0;
      g_usleep (10000);
    }
  fscache_discard (stage.client, &reply);
  g_assert_cmpint (fscache_ping (stage.client, NULL), ==, 0);
  close (peer);
  stage_clear (&stage);
}

/* A server sends descriptors to whoever connects. Nobody receives them, and the connection goes. */
static void
test_unread_descriptors (void)
{
  g_autofree char *uri = NULL;
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  FscacheReply reply;
  Stage stage;
  int listener, peers[2], blocks[2];

  stage_init (&stage, "min-idle=0");
  listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_snprintf (address.sun_path, sizeof address.sun_path, "%s/server", stage.service->dir);
  uri = g_strconcat ("unix://", address.sun_path, NULL);
  g_assert_no_errno (bind (listener, (struct sockaddr *) &address, sizeof address));
  g_assert_no_errno (listen (listener, 9));
  alarm (10);
  for (guint i = 0; i < 2; i++)
    {
      int lingering = fsc_test_make_lingering (&blocks[i]);

      g_assert_cmpint (try (stage.client, uri, FSCACHE_EXCLUSIVE, &reply), >=, 0);
      peers[i] = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
      g_assert_cmpint (fsc_channel_send (peers[i], "x", 1, &lingering, 1, 0), ==, 0);
      close (lingering);
      close (reply.fd); /* not the last time: that is to be the service's */
      reply.fd = -1;
      if (i == 0) /* it has something to say */
        fscache_give_back (stage.client, &reply);
      else
        fscache_discard (stage.client, &reply);
      g_assert_cmpint (fscache_ping (stage.client, NULL), ==, 0);
    }
  fsc_test_service_wait_for (stage.service, "connections", 0);
  alarm (0);
  for (guint i = 0; i < 2; i++)
    {
      close (blocks[i]);
      close (peers[i]);
    }
  close (listener);
  stage_clear (&stage);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/pool/lent", test_lent);
  g_test_add_func ("/pool/independent", test_independent);
  g_test_add_func ("/pool/independent-is-new", test_independent_is_new);
  g_test_add_func ("/pool/refusals", test_refusals);
  g_test_add_func ("/pool/nonblocking", test_nonblocking);
  g_test_add_func ("/pool/end-while-idle", test_end_while_idle);
  g_test_add_func ("/pool/unexpected", test_unexpected);
  g_test_add_func ("/pool/greeting", test_greeting);
  g_test_add_func ("/pool/discarded", test_discarded);
  g_test_add_func ("/pool/options", test_options);
  g_test_add_func ("/pool/named", test_named);
  g_test_add_func ("/pool/warmed", test_warmed);
  g_test_add_func ("/pool/warm-from-the-start", test_warm_from_the_start);
  g_test_add_func ("/pool/maximum", test_maximum);
  g_test_add_func ("/pool/server-restarts", test_server_restarts);
  g_test_add_func ("/pool/borrower-is-killed", test_borrower_is_killed);
  g_test_add_func ("/pool/borrower-hangs", test_borrower_hangs);
  g_test_add_func ("/pool/lingers", test_lingers);
  g_test_add_func ("/pool/unread-descriptors", test_unread_descriptors);
  g_test_add_func ("/pool/idle-time", test_idle_time);
  g_test_add_func ("/pool/connect-timeout", test_connect_timeout);
  g_test_add_func ("/pool/no-wait", test_no_wait);
  g_test_add_func ("/pool/unix", test_unix);
  g_test_add_func ("/pool/redis", test_redis);
  g_test_add_func ("/pool/postgresql", test_postgresql);
  g_test_add_func ("/pool/exec", test_exec);
  g_test_add_func ("/pool/exec/signals", test_exec_signals);
  FSC_TEST_ADD ("/pool/guard", test_guard);
  return g_test_run ();
}
