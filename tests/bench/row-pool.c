/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A connection: made for each use, and borrowed from a pool. The servers of the first rows only
 * accept, so that a use is nothing but the connection; those of the others are Redis, and a use is
 * one PING, and PostgreSQL, where it is one query, after a login where the connection is new.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "libclient/fscache.h"
#include "tests/bench/process.h"
#include "tests/bench/service.h"
#include "tests/harness/postgresql.h"

enum
{
  TCP = 0,
  UNIX = 1,
  REDIS = 2,
  POSTGRESQL = 3,
};

typedef struct
{
  int listener; /* or -1 */
  pthread_t thread;
  BenchProcess server;
  bool has_server;
  union
  {
    struct sockaddr any;
    struct sockaddr_in tcp;
    struct sockaddr_un unix_;
  } address;
  socklen_t length;
  char uri[128];
  unsigned kind;
  FscacheClient *client;
} Target;

static void
target_free (void *data)
{
  Target *target = data;

  fscache_disconnect (target->client);
  if (target->listener >= 0)
    {
      shutdown (target->listener, SHUT_RDWR);
      pthread_join (target->thread, NULL);
      close (target->listener);
    }
  if (target->has_server)
    {
      kill (target->server.pid, SIGINT); /* with SIGTERM PostgreSQL waits for its clients */
      bench_process_stop (&target->server);
    }
  g_free (target);
}

/* One after the other: more are never in use. Those that wait are connected all the same. */
static void *
accept_all (void *data)
{
  const Target *target = data;
  char byte;
  int fd;

  while ((fd = accept4 (target->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
    {
      recv (fd, &byte, 1, 0);
      close (fd);
    }
  return NULL;
}

static bool
fail (GError **error, const char *what)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s: %s", what, g_strerror (errno));
  return false;
}

static int
connect_to (const Target *target)
{
  int fd = socket (target->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (connect (fd, &target->address.any, target->length) == 0)
    return fd;
  close (fd);
  return -1;
}

static void
name_tcp (Target *target)
{
  g_snprintf (target->uri, sizeof target->uri, "tcp://127.0.0.1:%u",
              ntohs (target->address.tcp.sin_port));
}

static bool
listen_here (Target *target, unsigned kind, GError **error)
{
  static unsigned n;

  if (kind == UNIX)
    {
      target->address.unix_.sun_family = AF_UNIX;
      g_snprintf (target->address.unix_.sun_path + 1, 64, "fscache-bench-%d-%u", getpid (), n++);
      g_snprintf (target->uri, sizeof target->uri, "unix:@%s", target->address.unix_.sun_path + 1);
      target->length = (socklen_t) (offsetof (struct sockaddr_un, sun_path) + 1
                                    + strlen (target->address.unix_.sun_path + 1));
    }
  else
    {
      target->address.tcp.sin_family = AF_INET;
      target->address.tcp.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
      target->length = sizeof target->address.tcp;
    }
  target->listener = socket (target->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (target->listener < 0 || bind (target->listener, &target->address.any, target->length) < 0
      || listen (target->listener, SOMAXCONN) < 0
      || getsockname (target->listener, &target->address.any, &target->length) < 0)
    return fail (error, "cannot listen");
  if (kind != UNIX)
    name_tcp (target);
  return true;
}

static bool
start_redis (Target *target, GError **error)
{
  g_autofree char *program = g_find_program_in_path ("redis-server");
  g_autofree char *port = g_strdup_printf ("%u", ntohs (target->address.tcp.sin_port));
  const char *argv[]
      = { "redis-server", "--port", port,        "--bind",    "127.0.0.1", "--save", "",
          "--appendonly", "no",     "--logfile", "/dev/null", NULL };
  int fd = -1;

  close (target->listener); /* its port is redis's */
  target->listener = -1;
  if (program == NULL)
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "redis-server is not installed");
      return false;
    }
  if (!bench_process_start (&target->server, argv, NULL, -1, 0, error))
    return false;
  target->has_server = true;
  for (int i = 0; i < 500 && fd < 0; i++)
    {
      fd = connect_to (target);
      if (fd < 0)
        g_usleep (10000);
    }
  if (fd < 0)
    return fail (error, "redis-server does not answer");
  close (fd);
  return true;
}

static bool
start_postgresql (Target *target, Bench *bench, GError **error)
{
  static unsigned n;
  g_autofree char *dir = g_strdup_printf ("%s/postgresql-%u", bench->directory, n++);
  g_auto (GStrv) command = NULL;
  int fd;

  if (!fsc_test_postgresql_is_installed ())
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "PostgreSQL is not installed");
      return false;
    }
  if (geteuid () == 0)
    chmod (bench->directory, 0711); /* it is another user */
  command = fsc_test_postgresql_get_command (dir);
  if (!bench_process_start (&target->server, (const char *const *) command, NULL, -1, 0, error))
    return false;
  target->has_server = true;
  fd = fsc_test_postgresql_connect (dir, 30);
  if (fd < 0)
    return fail (error, "PostgreSQL does not answer");
  close (fd);
  target->address.unix_.sun_family = AF_UNIX;
  g_snprintf (target->address.unix_.sun_path, sizeof target->address.unix_.sun_path, "%s/%s", dir,
              FSC_TEST_POSTGRESQL_SOCKET);
  target->length = sizeof target->address.unix_;
  g_snprintf (target->uri, sizeof target->uri, "unix://%s", target->address.unix_.sun_path);
  return true;
}

static bool
set_up_connect (BenchRow *row, GError **error)
{
  Target *target = g_new0 (Target, 1);

  target->listener = -1;
  target->kind = row->spec->parameter;
  row->state = target;
  bench_defer (row->bench, target_free, target);
  if (target->kind == POSTGRESQL)
    return start_postgresql (target, row->bench, error);
  if (!listen_here (target, row->spec->parameter, error))
    return false;
  if (target->kind == REDIS)
    return start_redis (target, error);
  errno = pthread_create (&target->thread, NULL, accept_all, target);
  return errno == 0 || fail (error, "cannot start a thread");
}

static bool
set_up_pool (BenchRow *row, GError **error)
{
  BenchService *service = bench_service_get_main (row->bench, 0, error);
  Target *target;

  if (service == NULL || !set_up_connect (row, error))
    return false;
  target = row->state;
  errno = -fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &target->client);
  return errno == 0 || fail (error, "cannot connect to the service");
}

static bool
query (int fd, bool is_new, GError **error)
{
  g_autofree char *answer = NULL;

  if (!is_new || fsc_test_postgresql_log_in (fd))
    answer = fsc_test_postgresql_ask (fd, "SELECT 1");
  return g_strcmp0 (answer, "1") == 0 || fail (error, "PostgreSQL does not answer");
}

static bool
use (const Target *target, int fd, bool is_new, GError **error)
{
  static const char ping[] = "PING\r\n", pong[] = "+PONG\r\n";
  char text[sizeof pong];

  if (target->kind == POSTGRESQL)
    return query (fd, is_new, error);
  if (target->kind != REDIS)
    return true;
  return (send (fd, ping, sizeof ping - 1, MSG_NOSIGNAL) == sizeof ping - 1
          && recv (fd, text, sizeof text, 0) == sizeof pong - 1)
         || fail (error, "redis-server does not answer");
}

static bool
run_connect (BenchRow *row, GError **error)
{
  const Target *target = row->state;
  int fd = connect_to (target);
  bool is_good;

  if (fd < 0)
    return fail (error, "cannot connect");
  is_good = use (target, fd, true, error);
  close (fd);
  return is_good;
}

static bool
run_pool (BenchRow *row, GError **error)
{
  const Target *target = row->state;
  const FscacheRequest request = { .uri = target->uri, .sharing = FSCACHE_EXCLUSIVE };
  FscacheReply reply;
  int fd = fscache_open_with (target->client, &request, &reply);
  bool is_good;

  if (fd < 0)
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s", reply.message);
      return false;
    }
  is_good = use (target, fd, reply.source == FSCACHE_SOURCE_OPENED, error);
  fscache_give_back (target->client, &reply);
  return is_good;
}

#define CONNECT(Name, Title, Parameter)                                                            \
  {                                                                                                \
    .name = Name, .title = Title, .handles = 1, .parameter = Parameter, .set_up = set_up_connect,  \
    .run = run_connect                                                                             \
  }
#define POOL(Name, Title, Baseline, Parameter)                                                     \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = 1, .parameter = Parameter,      \
    .set_up = set_up_pool, .run = run_pool                                                         \
  }

const BenchRowSpec bench_rows_pool[] = {
  CONNECT ("pool-connect-tcp", "connect() by TCP on the loopback, and close()", TCP),
  POOL ("pool-tcp", "fscache, a warm TCP connection, and given back", "pool-connect-tcp", TCP),
  CONNECT ("pool-connect-unix", "connect() to a Unix socket, and close()", UNIX),
  POOL ("pool-unix", "fscache, a warm Unix connection, and given back", "pool-connect-unix", UNIX),
  CONNECT ("pool-connect-redis", "connect() to Redis, PING, and close()", REDIS),
  POOL ("pool-redis", "fscache, a warm connection to Redis, PING, and given back",
        "pool-connect-redis", REDIS),
  CONNECT ("pool-connect-postgresql", "connect() to PostgreSQL, login, a query, and close()",
           POSTGRESQL),
  POOL ("pool-postgresql", "fscache, a session of PostgreSQL, a query, and given back",
        "pool-connect-postgresql", POSTGRESQL),
  { 0 },
};
