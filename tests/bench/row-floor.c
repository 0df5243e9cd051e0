/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What there is to compare with on any machine: open() and close() of a warm file, and the floor,
 * the least that a descriptor from another process can cost. The floor's server is one process with
 * epoll and SOCK_SEQPACKET that answers a packet of 32 bytes by one of 32 bytes with descriptors;
 * its client does sendmsg(), recvmsg() and close(), as a client of any such service must.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/process.h"

#define FDS_MAX 253
#define RELAY 1

typedef struct
{
  uint32_t first, n; /* which descriptors */
  uint32_t unused[6];
} Packet;

G_STATIC_ASSERT (sizeof (Packet) == 32);

typedef union
{
  struct cmsghdr header;
  char bytes[CMSG_SPACE (FDS_MAX * sizeof (int))];
} Control;

/* The server: arguments are the socket, the number of files, a directory of files, and "relay" if
 * it is to ask another process before each answer. */

typedef struct
{
  int *fds;
  unsigned n_fds;
  int checker; /* or -1 */
  int client;  /* who waits for the checker */
  Packet pending;
} FloorServer;

/* The checker: looks at the file, as whoever checks an answer must, and says that it has. */
static void
run_checker (int server, const char *path)
{
  Packet packet;
  struct stat status;

  while (recv (server, &packet, sizeof packet, 0) == sizeof packet)
    {
      int fd = open (path, O_PATH | O_CLOEXEC);

      fstat (fd, &status);
      close (fd);
      send (server, &packet, sizeof packet, MSG_NOSIGNAL);
    }
}

static int
start_checker (const char *path)
{
  int ends[2];

  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return -1;
  if (fork () == 0)
    {
      close (ends[0]);
      run_checker (ends[1], path);
      _exit (0);
    }
  close (ends[1]);
  return ends[0];
}

static bool
answer (const FloorServer *server, int client, Packet packet)
{
  Control control;
  struct iovec iov = { &packet, sizeof packet };
  struct msghdr message = { .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = CMSG_SPACE (packet.n * sizeof (int)) };
  struct cmsghdr *header = CMSG_FIRSTHDR (&message);

  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN (packet.n * sizeof (int));
  memcpy (CMSG_DATA (header), server->fds + packet.first, packet.n * sizeof (int));
  return sendmsg (client, &message, MSG_NOSIGNAL) == sizeof packet;
}

static bool
serve (FloorServer *server, int fd)
{
  Packet packet;
  ssize_t length = recv (fd, &packet, sizeof packet, 0);

  if (length != sizeof packet || packet.n > FDS_MAX || packet.first + packet.n > server->n_fds)
    return false;
  if (fd == server->checker)
    return answer (server, server->client, server->pending);
  if (server->checker < 0)
    return answer (server, fd, packet);

  server->client = fd;
  server->pending = packet;
  return send (server->checker, &packet, sizeof packet, MSG_NOSIGNAL) == sizeof packet;
}

static void
watch (int epoll, int fd)
{
  epoll_ctl (epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN, .data.fd = fd });
}

static void
run_server (FloorServer *server, int listener)
{
  int epoll = epoll_create1 (EPOLL_CLOEXEC);

  watch (epoll, listener);
  watch (epoll, STDIN_FILENO);
  if (server->checker >= 0)
    watch (epoll, server->checker);
  for (;;)
    {
      struct epoll_event events[16];
      int n = epoll_wait (epoll, events, G_N_ELEMENTS (events), -1);

      for (int i = 0; i < n; i++)
        {
          int fd = events[i].data.fd;

          if (fd == STDIN_FILENO)
            return;
          else if (fd == listener)
            watch (epoll, accept4 (listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
          else if (!serve (server, fd))
            close (fd);
        }
    }
}

static bool
fill_address (struct sockaddr_un *address, const char *path)
{
  *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
  return g_strlcpy (address->sun_path, path, sizeof address->sun_path) < sizeof address->sun_path;
}

int
bench_part_floor (int argc, char **argv)
{
  struct sockaddr_un address;
  FloorServer server = { .n_fds = argc >= 3 ? atoi (argv[1]) : 0, .checker = -1 };
  int listener = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

  if (server.n_fds == 0 || !fill_address (&address, argv[0])
      || bind (listener, (struct sockaddr *) &address, sizeof address) < 0
      || listen (listener, 16) < 0)
    return bench_part_fail ("cannot listen at %s", argv[0]);

  server.fds = g_new (int, server.n_fds);
  for (unsigned i = 0; i < server.n_fds; i++)
    {
      g_autofree char *path = g_strdup_printf ("%s/%05u", argv[2], i);

      server.fds[i] = open (path, O_RDONLY | O_CLOEXEC);
      if (server.fds[i] < 0)
        return bench_part_fail ("%s: %s", path, g_strerror (errno));
      if (i == 0 && argc == 4)
        server.checker = start_checker (path);
    }
  bench_part_say_ready ();
  run_server (&server, listener);
  g_free (server.fds);
  return 0;
}

/* The client */

typedef struct
{
  BenchProcess server;
  unsigned n_files;
  int socket;
  uint64_t random;
} Floor;

static void
free_floor (void *data)
{
  Floor *floor = data;

  close (floor->socket);
  bench_process_stop (&floor->server);
  g_free (floor);
}

static bool
connect_to (int fd, const char *path)
{
  struct sockaddr_un address;

  return fill_address (&address, path)
         && connect (fd, (struct sockaddr *) &address, sizeof address) == 0;
}

/* Each row has a server of its own: parameter is the number of its files, or RELAY, or 0; then
 * there are as many as one operation fetches. */
static bool
set_up_floor (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  unsigned parameter = row->spec->parameter;
  unsigned n_files = parameter > RELAY ? bench_scale (bench, parameter) : row->spec->handles;
  const char *relay = parameter == RELAY ? "relay" : NULL;
  g_autofree char *path = g_strdup_printf ("%s/%s", bench->directory, row->spec->name);
  g_autofree char *count = g_strdup_printf ("%u", n_files);
  g_autofree char *files = g_build_filename (bench->directory, "files", NULL);

  if (n_files + 64 > bench_get_descriptor_limit ())
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE,
                   "needs %u descriptors, the limit is %u", n_files + 64,
                   bench_get_descriptor_limit ());
      return false;
    }
  if (!bench_make_files (bench, "files", n_files, error))
    return false;

  BenchProcess server;

  if (!bench_process_start_part (&server, "floor",
                                 (const char *[]){ path, count, files, relay, NULL }, error))
    return false;

  Floor *floor = g_new0 (Floor, 1);

  *floor = (Floor){ server, n_files, socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0),
                    BENCH_RANDOM_SEED };
  row->state = floor;
  bench_defer (bench, free_floor, floor);
  if (connect_to (floor->socket, path))
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "cannot connect to the floor's server: %s",
               g_strerror (errno));
  return false;
}

static bool
fetch (Floor *floor, unsigned first, unsigned n, GError **error)
{
  Packet packet = { first, n };
  Control control;
  struct iovec iov = { &packet, sizeof packet };
  struct msghdr request = { .msg_iov = &iov, .msg_iovlen = 1 };
  struct msghdr reply = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = CMSG_SPACE (n * sizeof (int)) };
  struct cmsghdr *header;

  if (sendmsg (floor->socket, &request, MSG_NOSIGNAL) != sizeof packet
      || recvmsg (floor->socket, &reply, MSG_CMSG_CLOEXEC) != sizeof packet
      || (header = CMSG_FIRSTHDR (&reply)) == NULL
      || header->cmsg_len != CMSG_LEN (n * sizeof (int)))
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "the floor's server did not answer");
      return false;
    }

  for (unsigned i = 0; i < n; i++)
    {
      int fd;

      memcpy (&fd, CMSG_DATA (header) + i * sizeof fd, sizeof fd);
      close (fd);
    }
  return true;
}

static bool
run_floor (BenchRow *row, GError **error)
{
  return fetch (row->state, 0, row->spec->handles, error);
}

static bool
run_floor_random (BenchRow *row, GError **error)
{
  Floor *floor = row->state;

  return fetch (floor, bench_random (&floor->random) % floor->n_files, 1, error);
}

/* open() */

static bool
set_up_open (BenchRow *row, GError **error)
{
  if (!bench_make_files (row->bench, "files", 1, error))
    return false;

  row->state = bench_get_file (row->bench, "files", 0);
  bench_defer (row->bench, g_free, row->state);
  return true;
}

static bool
open_and_close (const char *path, GError **error)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC);

  if (fd >= 0 && close (fd) == 0)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "open: %s", g_strerror (errno));
  return false;
}

static bool
run_open (BenchRow *row, GError **error)
{
  return open_and_close (row->state, error);
}

/* Of one of many files, at random. */
typedef struct
{
  char **paths;
  unsigned n;
  uint64_t random;
} Many;

static void
free_many (void *data)
{
  Many *many = data;

  g_strfreev (many->paths);
  g_free (many);
}

static bool
set_up_open_random (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  Many *many = g_new0 (Many, 1);

  many->n = bench_scale (bench, row->spec->parameter);
  many->random = BENCH_RANDOM_SEED;
  many->paths = g_new0 (char *, many->n + 1);
  for (unsigned i = 0; i < many->n; i++)
    many->paths[i] = bench_get_file (bench, "files", i);
  row->state = many;
  bench_defer (bench, free_many, many);
  return bench_make_files (bench, "files", many->n, error);
}

static bool
run_open_random (BenchRow *row, GError **error)
{
  Many *many = row->state;

  return open_and_close (many->paths[bench_random (&many->random) % many->n], error);
}

#define FLOOR(Name, Title, Baseline, Handles)                                                      \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = Handles,                        \
    .set_up = set_up_floor, .run = run_floor                                                       \
  }
#define OPEN_RANDOM(Name, Title, Files)                                                            \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = "open", .handles = 1, .parameter = Files,            \
    .set_up = set_up_open_random, .run = run_open_random                                           \
  }
#define FLOOR_RANDOM(Name, Title, Baseline, Files)                                                 \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = 1, .parameter = Files,          \
    .set_up = set_up_floor, .run = run_floor_random                                                \
  }

const BenchRowSpec bench_rows_floor[] = {
  { .name = "open",
    .title = "open() and close() of the warm file",
    .baseline = "floor",
    .handles = 1,
    .set_up = set_up_open,
    .run = run_open },
  OPEN_RANDOM ("open-of-100", "open() and close() of one of 100 at random", 100),
  OPEN_RANDOM ("open-of-1000", "open() and close() of one of 1,000 at random", 1000),
  OPEN_RANDOM ("open-of-15000", "open() and close() of one of 15,000 at random", 15000),
  FLOOR ("floor", "bare epoll server, one descriptor", NULL, 1),
  FLOOR ("floor-8", "bare epoll server, 8 descriptors in a packet", "floor", 8),
  FLOOR ("floor-64", "bare epoll server, 64 descriptors in a packet", "floor", 64),
  FLOOR ("floor-253", "bare epoll server, 253 descriptors in a packet", "floor", 253),
  { .name = "floor-relay",
    .title = "the same, where the server first has another process look",
    .baseline = "floor",
    .handles = 1,
    .parameter = RELAY,
    .set_up = set_up_floor,
    .run = run_floor },
  FLOOR_RANDOM ("floor-of-100", "bare epoll server, one of 100 at random", "floor", 100),
  FLOOR_RANDOM ("floor-of-1000", "bare epoll server, one of 1,000 at random", "floor-of-100", 1000),
  FLOOR_RANDOM ("floor-of-15000", "bare epoll server, one of 15,000 at random", "floor-of-100",
                15000),
  { 0 },
};
