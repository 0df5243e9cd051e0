/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Descriptors under names: of any type, for all programs of a user and for no other, until their
 * time is over; put once where many put at once; and whatever a descriptor does to who closes it,
 * or a client to who waits for one, the service goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <linux/kcmp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/fuse.h"
#include "tests/harness/namespace.h"
#include "tests/harness/program.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define SOMEBODY 54321
#define RACERS 16

/* Putting and getting */

static int
put_as (FscacheClient *client, const char *uri, int fd, FscachePutMode mode, uint64_t expected,
        uint64_t *generation)
{
  const FscachePut put = { .uri = uri, .fd = fd, .mode = mode, .expected = expected };
  FscacheReply reply;
  int r = fscache_put (client, &put, &reply);

  g_assert_cmpint (r, ==, -reply.error);
  g_assert_cmpint (reply.fd, ==, -1);
  if (generation != NULL)
    *generation = reply.generation;
  if (r < 0)
    {
      g_test_message ("%s", reply.message);
      g_assert_nonnull (strstr (reply.message, uri));
    }
  return r;
}

static int
put (FscacheClient *client, const char *uri, int fd)
{
  return put_as (client, uri, fd, FSCACHE_PUT_NEW, 0, NULL);
}

/* A pipe's end that nobody needs for anything but to have it. */
static int
make_something (void)
{
  int fd = eventfd (7, EFD_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  return fd;
}

static void
put_something (FscacheClient *client, const char *uri)
{
  int fd = make_something ();

  g_assert_cmpint (put (client, uri, fd), ==, 0);
  close (fd);
}

static int
get_with (FscacheClient *client, const char *uri, FscacheSharing sharing, unsigned options,
          FscacheReply *reply)
{
  const FscacheRequest request = { .uri = uri, .sharing = sharing, .options = options };

  return fscache_open_with (client, &request, reply);
}

static int
get (FscacheClient *client, const char *uri)
{
  FscacheReply reply;
  int fd = get_with (client, uri, FSCACHE_SHARED, 0, &reply);

  if (fd < 0)
    g_test_message ("%s", reply.message);
  return fd;
}

static gboolean
is_there (FscacheClient *client, const char *uri)
{
  int fd = get (client, uri);

  if (fd >= 0)
    close (fd);
  else
    g_assert_cmpint (fd, ==, -ENOENT);
  return fd >= 0;
}

static gboolean
is_same_description (int a, int b)
{
  long r = syscall (SYS_kcmp, getpid (), getpid (), KCMP_FILE, a, b);

  g_assert_cmpint (r, !=, -1);
  return r == 0;
}

/* The process that holds what was put; 0 if there is none. */
static pid_t
find_holder (FscTestService *service)
{
  g_autoptr (GArray) openers = fsc_test_service_list_openers (service);

  for (guint i = 0; i < openers->len; i++)
    {
      pid_t pid = g_array_index (openers, pid_t, i);
      g_autofree char *path = g_strdup_printf ("/proc/%d/comm", pid);
      g_autofree char *name = NULL;

      if (g_file_get_contents (path, &name, NULL, NULL) && g_str_equal (name, "open-handle\n"))
        return pid;
    }
  return 0;
}

static void
kill_holder (FscTestService *service)
{
  guint64 n = fsc_test_service_counter (service, "openers_failed");

  g_assert_no_errno (kill (find_holder (service), SIGKILL));
  fsc_test_service_wait_for (service, "openers_failed", n + 1);
}

/* It has nothing open but so many that were put, its standard descriptors and its socket. What it
 * closes it closes soon. */
static void
assert_holds (pid_t holder, int n_put)
{
  const int wanted = 4 + n_put;
  int n = -1;

  if (geteuid () != 0) /* it is not dumpable, so nobody else may look */
    return;
  for (guint i = 0; i < 3000 && n != wanted; i++)
    {
      n = fsc_process_count_descriptors (holder, "");
      if (n != wanted)
        g_usleep (1000);
    }
  g_assert_cmpint (n, ==, wanted);
}

/* Types */

static int
make_listener (void)
{
  struct sockaddr_in address
      = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_assert_no_errno (bind (fd, (struct sockaddr *) &address, sizeof address));
  g_assert_no_errno (listen (fd, 4));
  return fd;
}

static int
make_signalfd (void)
{
  sigset_t set;

  sigemptyset (&set);
  sigaddset (&set, SIGUSR2);
  return signalfd (-1, &set, SFD_CLOEXEC);
}

static void
test_types (FscTestService *service)
{
  int pipes[2], sockets[2];
  g_autofree char *file = fsc_test_service_write (service, "file", "content");
  FscacheClient *client = fsc_test_service_connect (service);
  int unlinked = open (service->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

  g_assert_no_errno (pipe2 (pipes, O_CLOEXEC));
  g_assert_no_errno (socketpair (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets));
  {
    const struct
    {
      const char *uri;
      int fd;
      FscacheKind kind;
      gboolean is_reopenable;
    } cases[] = {
      { "handle:file", open (file, O_RDONLY | O_CLOEXEC), FSCACHE_KIND_REGULAR, TRUE },
      { "handle:append", open (file, O_WRONLY | O_APPEND | O_CLOEXEC), FSCACHE_KIND_REGULAR, TRUE },
      { "handle:unlinked", unlinked, FSCACHE_KIND_REGULAR, TRUE },
      { "handle:memfd", memfd_create ("test", MFD_CLOEXEC), FSCACHE_KIND_REGULAR, TRUE },
      { "handle:directory", open (service->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        FSCACHE_KIND_DIRECTORY, TRUE },
      { "handle:path", open (file, O_PATH | O_CLOEXEC), FSCACHE_KIND_REGULAR, FALSE },
      { "handle:root", open ("/", O_PATH | O_CLOEXEC), FSCACHE_KIND_DIRECTORY, FALSE },
      { "handle:null", open ("/dev/null", O_RDWR | O_CLOEXEC), FSCACHE_KIND_CHARACTER, FALSE },
      { "handle:reading", pipes[0], FSCACHE_KIND_FIFO, FALSE },
      { "handle:writing", pipes[1], FSCACHE_KIND_FIFO, FALSE },
      { "handle:listener", make_listener (), FSCACHE_KIND_SOCKET, FALSE },
      { "handle:socket", sockets[0], FSCACHE_KIND_SOCKET, FALSE },
      { "handle:peer", sockets[1], FSCACHE_KIND_SOCKET, FALSE },
      { "handle:eventfd", make_something (), FSCACHE_KIND_UNKNOWN, FALSE },
      { "handle:timerfd", timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC), FSCACHE_KIND_UNKNOWN,
        FALSE },
      { "handle:signalfd", make_signalfd (), FSCACHE_KIND_UNKNOWN, FALSE },
      { "handle:epoll", epoll_create1 (EPOLL_CLOEXEC), FSCACHE_KIND_UNKNOWN, FALSE },
      { "handle:inotify", inotify_init1 (IN_CLOEXEC), FSCACHE_KIND_UNKNOWN, FALSE },
      { "handle:pidfd", (int) syscall (SYS_pidfd_open, getpid (), 0), FSCACHE_KIND_UNKNOWN, FALSE },
    };

    for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
      {
        g_test_message ("%s", cases[i].uri);
        g_assert_cmpint (cases[i].fd, >=, 0);
        g_assert_cmpint (put (client, cases[i].uri, cases[i].fd), ==, 0);
      }
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
      {
        FscacheReply reply;
        int fd = get_with (client, cases[i].uri, FSCACHE_SHARED, 0, &reply);

        g_test_message ("%s", cases[i].uri);
        g_assert_cmpint (fd, >=, 0);
        g_assert_true (is_same_description (fd, cases[i].fd));
        g_assert_cmpint (fcntl (fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint (reply.sharing, ==, FSCACHE_SHARED);
        g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
        g_assert_cmpint (reply.kind, ==, cases[i].kind);
        g_assert_cmpuint (reply.generation, !=, 0);
        close (fd);

        fd = get_with (client, cases[i].uri, FSCACHE_INDEPENDENT, 0, &reply);
        if (cases[i].is_reopenable)
          {
            g_assert_cmpint (fd, >=, 0);
            g_assert_false (is_same_description (fd, cases[i].fd));
            g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
            close (fd);
          }
        else
          {
            g_assert_cmpint (fd, ==, -EOPNOTSUPP);
            g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NOT_REOPENABLE);
          }
        close (cases[i].fd);
      }
    fsc_test_service_wait_for (service, "put", G_N_ELEMENTS (cases));
    g_assert_cmpint (fscache_drop_matching (client, "handle:*", NULL), ==, G_N_ELEMENTS (cases));
  }
  fsc_test_service_wait_for (service, "put", 0);
  fscache_disconnect (client);
}

/* One process listens, and is gone; another one accepts. */
static void
test_listener (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int listener, connection, accepted;
  char byte = 0;
  int status;
  pid_t pid = fork ();

  if (pid == 0)
    {
      FscacheClient *own = NULL;
      const FscachePut what = { .uri = "handle:listener", .fd = make_listener () };

      fscache_connect (service->socket, 0, &own);
      _exit (fscache_put (own, &what, NULL) < 0);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);

  listener = get (client, "handle:listener");
  g_assert_no_errno (getsockname (listener, (struct sockaddr *) &address, &length));
  connection = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_no_errno (connect (connection, (struct sockaddr *) &address, sizeof address));
  accepted = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
  g_assert_cmpint (write (connection, "x", 1), ==, 1);
  g_assert_cmpint (read (accepted, &byte, 1), ==, 1);
  g_assert_cmpint (byte, ==, 'x');
  close (accepted);
  close (connection);
  close (listener);

  /* When it is dropped nobody listens any more. */
  g_assert_cmpint (fscache_drop (client, "handle:listener", NULL), ==, 1);
  connection = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (guint i = 0; i < 3000; i++)
    {
      if (connect (connection, (struct sockaddr *) &address, sizeof address) < 0)
        break;
      close (connection);
      connection = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      g_usleep (1000);
    }
  g_assert_cmpint (connect (connection, (struct sockaddr *) &address, sizeof address), ==, -1);
  g_assert_cmpint (errno, ==, ECONNREFUSED);
  close (connection);
  fscache_disconnect (client);
}

/* Names */

static void
test_names (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  int fd = make_something (), other = make_something ();
  uint64_t first, second, third;
  FscacheReply reply;

  g_assert_cmpint (put_as (client, "handle:a%zz", fd, FSCACHE_PUT_NEW, 0, &first), ==, -EINVAL);
  g_assert_cmpint (put_as (client, "handle:a b", fd, FSCACHE_PUT_NEW, 0, &first), ==, 0);
  g_assert_true (is_there (client, "HANDLE:%61%20b"));
  g_assert_false (is_there (client, "handle:a"));
  g_assert_cmpint (fscache_info (client, "handle:a%20b", NULL, NULL, NULL), ==, 1);

  /* In use; and whatever is there; and only what is expected. */
  g_assert_cmpint (put (client, "handle:a%20b", other), ==, -EEXIST);
  g_assert_cmpint (put_as (client, "handle:a%20b", other, FSCACHE_PUT_REPLACE, 0, &second), ==, 0);
  g_assert_cmpuint (second, !=, first);
  g_assert_cmpint (put_as (client, "handle:a%20b", fd, FSCACHE_PUT_EXCHANGE, first, NULL), ==,
                   -ESTALE);
  g_assert_cmpint (get_with (client, "handle:a%20b", FSCACHE_SHARED, 0, &reply), >=, 0);
  g_assert_true (is_same_description (reply.fd, other));
  g_assert_cmpuint (reply.generation, ==, second);
  close (reply.fd);
  g_assert_cmpint (put_as (client, "handle:a%20b", fd, FSCACHE_PUT_EXCHANGE, second, &third), ==,
                   0);
  g_assert_cmpint (put_as (client, "handle:b", fd, FSCACHE_PUT_EXCHANGE, third, NULL), ==, -ESTALE);
  g_assert_cmpint (put_as (client, "handle:b", fd, FSCACHE_PUT_REPLACE, 0, NULL), ==, 0);
  g_assert_cmpint (fscache_drop (client, "handle:b", NULL), ==, 1);
  g_assert_cmpint (put_as (client, "handle:b", fd, FSCACHE_PUT_NEW, 0, NULL), ==, 0);

  /* It stays until it is dropped. */
  g_assert_cmpint (fscache_unpin (client, "handle:b", NULL), ==, 0);
  g_assert_cmpint (fscache_set (client, "idle-time", 1, NULL, NULL, NULL), ==, 0);
  g_assert_cmpint (fscache_set (client, "max-handles", 1, NULL, NULL, NULL), ==, 0);
  g_usleep (20 * 1000);
  g_assert_true (is_there (client, "handle:b"));

  /* What cannot be. */
  g_assert_cmpint (put (client, "handle:c", 12345), ==, -EBADF);
  g_assert_cmpint (put (client, "handle:c", -1), ==, -EBADF);
  g_assert_cmpint (put (client, "file:///etc", fd), ==, -EINVAL);
  g_assert_cmpint (put (client, "handle:", fd), ==, -EINVAL);
  g_assert_cmpint (put_as (client, "handle:c", fd, FSCACHE_PUT_REPLACE, 5, NULL), ==, -EINVAL);
  g_assert_cmpint (put_as (client, "handle:c", fd, FSCACHE_PUT_EXCHANGE, 0, NULL), ==, -EINVAL);
  g_assert_cmpint (put_as (client, "handle:c", fd, (FscachePutMode) 3, 0, NULL), ==, -EINVAL);
  g_assert_cmpint (fscache_open (client, "handle:b", O_RDWR, NULL), ==, -EINVAL);
  g_assert_cmpint (get_with (client, "/etc", FSCACHE_SHARED, FSCACHE_TAKE, &reply), ==, -EINVAL);
  close (other);
  close (fd);
  fscache_disconnect (client);
}

static void
test_take (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply;
  int fd = make_something (), taken;

  g_assert_cmpint (put (client, "handle:x", fd), ==, 0);
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_EXCLUSIVE, FSCACHE_TAKE, &reply), ==,
                   -EINVAL);
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_INDEPENDENT, FSCACHE_TAKE, &reply), ==,
                   -EOPNOTSUPP); /* and it still is there */
  taken = get_with (client, "handle:x", FSCACHE_SHARED, FSCACHE_TAKE, &reply);
  g_assert_cmpint (taken, >=, 0);
  g_assert_true (is_same_description (taken, fd));
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_SHARED, FSCACHE_TAKE, &reply), ==,
                   -ENOENT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NOT_CACHED);
  g_assert_false (is_there (client, "handle:x"));
  close (taken);
  close (fd);
  fscache_disconnect (client);
}

/* A process that has no descriptor free does not lose what it takes; nor does one that has one, but
 * needs another to reopen it. */
static void
test_take_full (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply = { .fd = -1 };
  struct rlimit limit, low;
  int free_fd, fds[64], n = 0, file = open ("/etc/passwd", O_RDONLY | O_CLOEXEC);

  g_assert_cmpint (put (client, "handle:x", file), ==, 0);
  g_assert_true (is_there (client, "handle:x"));
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  while (n < 64 && (fds[n] = fcntl (file, F_DUPFD_CLOEXEC, 0)) < 64)
    n++;
  free_fd = fds[n];
  low = (struct rlimit){ (rlim_t) free_fd, limit.rlim_max };
  close (free_fd);
  setrlimit (RLIMIT_NOFILE, &low);
  for (guint i = 0; i < 2; i++)
    {
      FscacheSharing sharing = i == 0 ? FSCACHE_SHARED : FSCACHE_INDEPENDENT;
      int taken = get_with (client, "handle:x", sharing, FSCACHE_TAKE, &reply);

      if (i == 1)
        setrlimit (RLIMIT_NOFILE, &limit);
      g_assert_cmpint (taken, ==, -EMFILE);
      g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NO_DESCRIPTOR);
      if (i == 0) /* one is free */
        close (fds[--n]);
    }
  while (n > 0)
    close (fds[--n]);
  g_assert_true (is_there (client, "handle:x"));

  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_INDEPENDENT, FSCACHE_TAKE, &reply), >=, 0);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmpuint (reply.lease, ==, 0);
  g_assert_false (is_same_description (reply.fd, file));
  g_assert_false (is_there (client, "handle:x"));
  close (reply.fd);
  close (file);
  fscache_disconnect (client);
}

static void
test_lent (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *other = fsc_test_service_connect (service);
  FscacheReply lent, reply;

  put_something (client, "handle:x");
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_EXCLUSIVE, 0, &lent), >=, 0);
  g_assert_cmpuint (lent.lease, !=, 0);
  g_assert_cmpint (get_with (other, "handle:x", FSCACHE_EXCLUSIVE, 0, &reply), ==, -EBUSY);
  g_assert_cmpint (get_with (other, "handle:x", FSCACHE_SHARED, 0, &reply), ==, -EBUSY);
  g_assert_cmpint (get_with (other, "handle:x", FSCACHE_SHARED, FSCACHE_TAKE, &reply), ==, -EBUSY);
  fscache_give_back (client, &lent);
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  g_assert_cmpint (get_with (other, "handle:x", FSCACHE_EXCLUSIVE, 0, &lent), >=, 0);
  close (lent.fd);
  fscache_disconnect (other); /* which ends the loan, and nothing else */
  for (guint i = 0; i < 3000 && get_with (client, "handle:x", FSCACHE_SHARED, 0, &reply) < 0; i++)
    g_usleep (1000);
  g_assert_cmpint (reply.fd, >=, 0);
  close (reply.fd);

  /* What is replaced is lent no more. */
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_EXCLUSIVE, 0, &lent), >=, 0);
  g_assert_cmpint (put_as (client, "handle:x", lent.fd, FSCACHE_PUT_REPLACE, 0, NULL), ==, 0);
  g_assert_true (is_there (client, "handle:x"));
  fscache_give_back (client, &lent);
  g_assert_true (is_there (client, "handle:x"));
  fscache_disconnect (client);
}

/* Content */

static int
make_memory (const char *text, int seals)
{
  int fd = memfd_create ("content", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  g_assert_cmpint (write (fd, text, strlen (text)), ==, strlen (text));
  g_assert_no_errno (fcntl (fd, F_ADD_SEALS, seals));
  return fd;
}

/* Memory that is sealed is content: it has a digest, which can be demanded. */
static void
test_content (FscTestService *service)
{
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  guint8 digest[FSCACHE_DIGEST_SIZE];
  gsize length = sizeof digest;
  FscacheRequest request = { .uri = "handle:x", .sharing = FSCACHE_SHARED, .digest = digest };
  FscacheReply reply;
  int sealed = make_memory ("content", seals), other = make_memory ("content", F_SEAL_SHRINK);

  g_checksum_update (checksum, (const guchar *) "content", 7);
  g_checksum_get_digest (checksum, digest, &length);
  g_assert_cmpint (put (client, "handle:x", sealed), ==, 0);
  g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
  g_assert_true (reply.content.is_known);
  g_assert_true (reply.content.is_sealed);
  g_assert_cmpuint (reply.content.size, ==, 7);
  g_assert_cmpmem (reply.content.digest, sizeof digest, digest, sizeof digest);
  g_assert_true (is_same_description (reply.fd, sealed));
  close (reply.fd);
  digest[0] ^= 1;
  g_assert_cmpint (fscache_open_with (client, &request, &reply), ==, -EBADMSG);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OTHER_CONTENT);

  /* What can still be written to is none. */
  g_assert_cmpint (put_as (client, "handle:x", other, FSCACHE_PUT_REPLACE, 0, NULL), ==, 0);
  g_assert_cmpint (fscache_open_with (client, &request, &reply), ==, -EOPNOTSUPP);
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_SHARED, 0, &reply), >=, 0);
  g_assert_false (reply.content.is_known);
  close (reply.fd);
  close (sealed);
  close (other);
  fscache_disconnect (client);
}

/* What takes too long to read is kept all the same; the holder is not late. */
static void
test_large_content (void)
{
  FscTestService *service = fsc_test_service_new ("[lanes]\ndeadline=0.4\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply;
  pid_t holder;
  int fd = memfd_create ("content", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  put_something (client, "handle:y");
  holder = find_holder (service);
  g_assert_no_errno (ftruncate (fd, G_GINT64_CONSTANT (1) << 40)); /* a hole */
  g_assert_no_errno (fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
  g_assert_cmpint (put (client, "handle:x", fd), ==, 0);
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_SHARED, 0, &reply), >=, 0);
  g_assert_false (reply.content.is_known);
  close (reply.fd);
  close (fd);
  g_assert_cmpint (find_holder (service), ==, holder);
  g_assert_true (is_there (client, "handle:y"));
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Time */

static void
note_ttl (const FscacheEntry *entry, void *data)
{
  *(uint32_t *) data = entry->ttl_ms;
}

static void
test_time (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscachePut what = { .uri = "handle:short", .fd = make_something (), .ttl_ms = 300 };
  gint64 since = g_get_monotonic_time ();
  FscacheBorrow borrow;
  uint32_t ttl_ms = 0;
  pid_t holder;

  put_something (client, "handle:long");
  holder = find_holder (service);
  g_assert_cmpint (fscache_put (client, &what, NULL), ==, 0);
  what.uri = "handle:longer";
  what.ttl_ms = 60000;
  g_assert_cmpint (fscache_put (client, &what, NULL), ==, 0);
  close (what.fd);
  g_assert_cmpint (fscache_info (client, "handle:short", note_ttl, &ttl_ms, NULL), ==, 1);
  g_assert_cmpuint (ttl_ms, >, 0);
  g_assert_cmpuint (ttl_ms, <=, 300);
  g_assert_cmpint (fscache_borrow (client, "handle:short", &borrow, NULL), >=, 0);
  fscache_return (client, &borrow);
  while (is_there (client, "handle:short"))
    g_usleep (1000);
  g_assert_cmpint (g_get_monotonic_time () - since, >=, 300 * 1000);
  g_assert_cmpint (g_get_monotonic_time () - since, <, 2000 * 1000);
  g_assert_cmpint (fscache_borrow (client, "handle:short", &borrow, NULL), ==, -ENOENT);
  g_assert_true (is_there (client, "handle:long"));
  g_assert_true (is_there (client, "handle:longer"));

  /* Nobody has to ask. */
  what = (FscachePut){ .uri = "handle:short", .fd = make_something (), .ttl_ms = 50 };
  g_assert_cmpint (fscache_put (client, &what, NULL), ==, 0);
  close (what.fd);
  assert_holds (holder, 2);
  fscache_disconnect (client);
}

/* Many at once */

typedef struct
{
  FscTestService *service;
  FscachePutMode mode;
  uint64_t expected;
} Race;

/* In a child. Returns what it exits with: 0 if it has won. */
static int
race (const Race *r, int start)
{
  FscachePut what
      = { .uri = "handle:race", .fd = make_something (), .mode = r->mode, .expected = r->expected };
  FscacheClient *client = NULL;
  FscacheReply reply;
  char byte;
  int result;

  fscache_connect (r->service->socket, FSCACHE_NO_FALLBACK, &client);
  if (fscache_ping (client, NULL) < 0 || read (start, &byte, 1) != 0)
    return 2;
  result = fscache_put (client, &what, &reply);
  if (result == (r->mode == FSCACHE_PUT_NEW ? -EEXIST : -ESTALE))
    return 1;
  return result == 0 ? 0 : 2;
}

static guint
run_race (const Race *r)
{
  pid_t racers[RACERS];
  guint n_won = 0;
  int start[2];

  g_assert_no_errno (pipe2 (start, O_CLOEXEC));
  for (guint i = 0; i < RACERS; i++)
    {
      racers[i] = fork ();
      if (racers[i] == 0)
        {
          close (start[1]);
          _exit (race (r, start[0]));
        }
    }
  close (start[0]);
  g_usleep (30 * 1000);
  close (start[1]);
  for (guint i = 0; i < RACERS; i++)
    {
      int status;

      g_assert_cmpint (waitpid (racers[i], &status, 0), ==, racers[i]);
      g_assert_true (WIFEXITED (status));
      g_assert_cmpint (WEXITSTATUS (status), <, 2);
      n_won += WEXITSTATUS (status) == 0;
    }
  return n_won;
}

static void
test_race (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  Race r = { .service = service };

  for (guint i = 0; i < fsc_test_scale (10); i++)
    {
      FscacheReply reply;

      r.mode = FSCACHE_PUT_NEW;
      r.expected = 0;
      g_assert_cmpuint (run_race (&r), ==, 1);
      g_assert_cmpint (get_with (client, "handle:race", FSCACHE_SHARED, 0, &reply), >=, 0);
      close (reply.fd);
      r.mode = FSCACHE_PUT_EXCHANGE;
      r.expected = reply.generation;
      g_assert_cmpuint (run_race (&r), ==, 1);
      g_assert_cmpint (fscache_drop (client, "handle:race", NULL), ==, 1);
    }
  fscache_disconnect (client);
}

/* Limits */

static void
test_limit (void)
{
  FscTestService *service = fsc_test_service_new ("[handle]\nmax-names=3\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  FscachePut what = { .uri = "handle:4", .fd = make_something () };
  FscacheReply reply;

  put_something (client, "handle:1");
  put_something (client, "handle:2");
  put_something (client, "handle:3");
  g_assert_cmpint (fscache_put (client, &what, &reply), ==, -EDQUOT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_LIMIT);
  g_assert_cmpstr (reply.message, ==,
                   "cannot put handle:4: this user has 3 names in use, all that [handle] "
                   "max-names=3 allows");
  g_assert_cmpint (put_as (client, "handle:3", what.fd, FSCACHE_PUT_REPLACE, 0, NULL), ==, 0);
  g_assert_cmpint (fscache_drop (client, "handle:2", NULL), ==, 1);
  g_assert_cmpint (fscache_put (client, &what, &reply), ==, 0);
  close (what.fd);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* What was put never goes for others, who go for it, until there is nobody left to go. */
static void
test_room (void)
{
  FscTestService *service = fsc_test_service_new ("[service]\nmax-handles=10\n", NULL);
  g_autofree char *file = fsc_test_service_write (service, "file", "content");
  FscacheClient *client = fsc_test_service_connect (service);
  int fd = make_something ();
  FscacheReply reply;

  close (fscache_open (client, file, O_RDONLY, NULL));
  for (guint i = 0; i < 9; i++)
    {
      g_autofree char *uri = g_strdup_printf ("handle:%u", i);

      g_assert_cmpint (put (client, uri, fd), ==, 0);
      close (fscache_open (client, file, O_RDONLY, NULL));
    }
  g_assert_cmpint (put (client, "handle:9", fd), ==, -ENFILE);
  for (guint i = 0; i < 9; i++)
    {
      g_autofree char *uri = g_strdup_printf ("handle:%u", i);

      g_assert_true (is_there (client, uri));
    }
  g_assert_cmpint (fscache_open (client, file, O_RDONLY, &reply), >=, 0);
  close (reply.fd);
  g_assert_cmpint (fscache_drop (client, "handle:0", NULL), ==, 1);
  g_assert_cmpint (put (client, "handle:9", fd), ==, 0);
  close (fd);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* A client that has no descriptor free for the socket is told so, and keeps its connection. */
static void
test_no_descriptor (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscachePut what = { .uri = "handle:x", .fd = make_something () };
  struct rlimit before, few;
  FscacheReply reply;

  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  g_assert_no_errno (getrlimit (RLIMIT_NOFILE, &before));
  few = before;
  few.rlim_cur = (rlim_t) fcntl (what.fd, F_DUPFD_CLOEXEC, 0);
  close ((int) few.rlim_cur);
  g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &few));
  g_assert_cmpint (fscache_put (client, &what, &reply), ==, -EMFILE);
  g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &before));
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NO_DESCRIPTOR);
  g_assert_cmpint (fscache_put (client, &what, &reply), ==, 0);
  g_assert_true (is_there (client, "handle:x"));
  close (what.fd);
  fscache_disconnect (client);
}

/* Nor does a holder that has none free lose what it has. */
static void
test_holder_full (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  struct rlimit before, few = { 0 };
  FscacheReply reply, lent;
  pid_t holder;

  put_something (client, "handle:x");
  g_assert_true (is_there (client, "handle:x"));
  holder = find_holder (service);
  g_assert_no_errno (prlimit (holder, RLIMIT_NOFILE, NULL, &before));
  few.rlim_max = before.rlim_max; /* new ones have no number below it */
  g_assert_no_errno (prlimit (holder, RLIMIT_NOFILE, &few, NULL));
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_SHARED, 0, &reply), ==, -EMFILE);
  g_assert_cmpstr (reply.message, ==,
                   "cannot hand over handle:x: the process that holds it has no descriptor free");
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_SHARED, FSCACHE_TAKE, &reply), ==,
                   -EMFILE);
  g_assert_cmpint (get_with (client, "handle:x", FSCACHE_EXCLUSIVE, 0, &lent), ==, -EMFILE);
  g_assert_cmpint (put_as (client, "handle:y", 0, FSCACHE_PUT_NEW, 0, NULL), ==, -EMFILE);
  g_assert_no_errno (prlimit (holder, RLIMIT_NOFILE, &before, NULL));
  g_assert_true (is_there (client, "handle:x"));
  g_assert_false (is_there (client, "handle:y"));
  g_assert_cmpint (find_holder (service), ==, holder);
  fscache_disconnect (client);
}

/* Users */

static FscacheClient *
connect_as (FscTestService *service, uid_t uid)
{
  const FscacheUser user = { .uid = uid, .gid = uid };
  FscacheClient *client = NULL;

  g_assert_cmpint (fscache_connect_as (service->socket, 0, &user, &client), ==, 0);
  return client;
}

static void
test_users (FscTestService *service)
{
  FscacheClient *root, *other;
  int fd, mine = make_something (), its = make_something ();

  if (geteuid () != 0 || !fsc_test_is_for_all ("fscache/openers/open-handle"))
    {
      g_test_skip ("this takes root, and openers that others can start");
      close (mine);
      close (its);
      return;
    }
  root = fsc_test_service_connect (service);
  other = connect_as (service, SOMEBODY);
  g_assert_cmpint (put (root, "handle:x", mine), ==, 0);
  g_assert_false (is_there (other, "handle:x"));
  g_assert_cmpint (fscache_list (other, NULL, NULL, NULL, NULL), ==, 0);
  g_assert_cmpint (fscache_drop_matching (other, "*", NULL), ==, 0);
  g_assert_cmpint (put (other, "handle:x", its), ==, 0);
  fd = get (other, "handle:x");
  g_assert_true (is_same_description (fd, its));
  close (fd);
  fd = get (root, "handle:x");
  g_assert_true (is_same_description (fd, mine));
  close (fd);
  g_assert_cmpint (fscache_drop (other, "handle:x", NULL), ==, 1);
  g_assert_true (is_there (root, "handle:x"));
  close (mine);
  close (its);
  fscache_disconnect (other);
  fscache_disconnect (root);
}

/* Watching */

typedef struct
{
  guint n;
  FscacheEventReason reason;
  int error;
  int fd;
} Seen;

static void
note_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  Seen *seen = data;

  seen->n++;
  g_test_message ("event %u: reason %d, %s", seen->n, event->reason, event->reply->message);
  seen->reason = event->reason;
  seen->error = event->reply->error;
  if (seen->fd >= 0)
    close (seen->fd);
  seen->fd = event->reply->fd;
}

static void
wait_for_event (FscacheClient *client, const Seen *seen, guint n)
{
  gint64 until = g_get_monotonic_time () + 5 * G_USEC_PER_SEC;

  while (seen->n < n && g_get_monotonic_time () < until)
    {
      struct pollfd poll_fd = { .fd = fscache_get_poll_fd (client), .events = POLLIN };

      poll (&poll_fd, 1, 100);
      fscache_dispatch (client);
    }
  g_assert_cmpuint (seen->n, ==, n);
}

static void
assert_event (FscacheClient *client, const Seen *seen, guint n, FscacheEventReason reason)
{
  wait_for_event (client, seen, n);
  g_assert_cmpint (seen->reason, ==, reason);
}

static void
test_watch (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *other = fsc_test_service_connect (service);
  const FscacheRequest request = { .uri = "handle:x", .sharing = FSCACHE_SHARED };
  int first = make_something (), second = make_something ();
  Seen seen = { .fd = -1 };

  g_assert_cmpint (fscache_watch (client, &request, note_event, &seen, NULL), ==, 0);
  assert_event (client, &seen, 1, FSCACHE_EVENT_INITIAL);
  g_assert_cmpint (seen.error, ==, ENOENT);
  g_assert_cmpint (put (other, "handle:x", first), ==, 0);
  assert_event (client, &seen, 2, FSCACHE_EVENT_CREATED);
  g_assert_true (is_same_description (seen.fd, first));
  g_assert_cmpint (put_as (other, "handle:x", second, FSCACHE_PUT_REPLACE, 0, NULL), ==, 0);
  assert_event (client, &seen, 3, FSCACHE_EVENT_REPLACED);
  g_assert_true (is_same_description (seen.fd, second));
  g_assert_cmpint (fscache_drop (other, "handle:x", NULL), ==, 1);
  assert_event (client, &seen, 4, FSCACHE_EVENT_DELETED);
  g_assert_cmpint (put (other, "handle:x", first), ==, 0);
  assert_event (client, &seen, 5, FSCACHE_EVENT_CREATED);
  kill_holder (service);
  while (seen.reason != FSCACHE_EVENT_DELETED) /* that it cannot be handed over may be one, too */
    wait_for_event (client, &seen, seen.n + 1);
  g_assert_cmpint (seen.fd, ==, -1);
  close (first);
  close (second);
  fscache_disconnect (other);
  fscache_disconnect (client);
}

/* Lost */

static void
assert_lost (FscacheClient *client, const char *uri, const char *why)
{
  FscacheReply reply;

  g_assert_cmpint (get_with (client, uri, FSCACHE_SHARED, 0, &reply), ==, -ENOENT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NOT_CACHED);
  g_test_message ("%s", reply.message);
  g_assert_nonnull (strstr (reply.message, uri));
  g_assert_nonnull (strstr (reply.message, why));
}

static void
test_lost (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  put_something (client, "handle:x");
  put_something (client, "handle:y");
  kill_holder (service);
  assert_lost (client, "handle:x", "its holder ended");
  g_assert_cmpint (fscache_list (client, "handle:*", NULL, NULL, NULL), ==, 0);
  put_something (client, "handle:x");
  g_assert_true (is_there (client, "handle:x"));
  assert_lost (client, "handle:y", "its holder ended");

  fsc_test_service_kill (service);
  fsc_test_service_start (service);
  assert_lost (client, "handle:x", "the service was started");
  put_something (client, "handle:x");
  g_assert_true (is_there (client, "handle:x"));
  fscache_disconnect (client);
}

typedef struct
{
  FscTestService *service;
  gint n_put, n_failed;
  gint is_over; /* atomic */
} Putter;

static gpointer
put_again_and_again (gpointer data)
{
  Putter *putter = data;
  FscacheClient *client = fsc_test_service_connect (putter->service);
  const FscachePut what
      = { .uri = "handle:again", .fd = make_something (), .mode = FSCACHE_PUT_REPLACE };

  while (!g_atomic_int_get (&putter->is_over))
    {
      FscacheReply reply;
      int r = fscache_put (client, &what, &reply);

      if (r == 0)
        g_atomic_int_inc (&putter->n_put);
      else
        {
          g_atomic_int_inc (&putter->n_failed);
          if (reply.code != FSCACHE_ERROR_OPENER_FAILED)
            g_test_message ("%s", reply.message);
          g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OPENER_FAILED);
        }
    }
  close (what.fd);
  fscache_disconnect (client);
  return NULL;
}

/* Whatever it was in when it was killed: who puts is told, and nothing else happens. */
static void
test_holder_killed (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  Putter putter = { .service = service };
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("put", put_again_and_again, &putter);
  for (guint i = 0; i < fsc_test_scale (30); i++)
    {
      pid_t holder;

      g_usleep ((gulong) g_test_rand_int_range (0, 20000));
      holder = find_holder (service);
      if (holder != 0)
        kill (holder, SIGKILL);
      g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
    }
  for (guint i = 0; i < 10000 && g_atomic_int_get (&putter.n_put) == 0; i++)
    g_usleep (1000);
  g_atomic_int_set (&putter.is_over, 1);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  g_test_message ("%d put, %d failed", putter.n_put, putter.n_failed);
  g_assert_cmpint (putter.n_put, >, 0);
  put_something (client, "handle:after");
  g_assert_true (is_there (client, "handle:after"));
  fscache_disconnect (client);
}

/* What hangs whoever closes it */

/* Closes here what another process keeps open. Returns that one. */
static pid_t
leave_elsewhere (int fd)
{
  pid_t pid = fork ();

  if (pid == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      for (;;)
        pause ();
    }
  close (fd);
  return pid;
}

static void
assert_quick (FscacheClient *client, const char *uri)
{
  gint64 since = g_get_monotonic_time ();
  int fd = make_something ();

  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  g_assert_cmpint (put (client, uri, fd), ==, 0);
  g_assert_true (is_there (client, uri));
  g_assert_cmpint (fscache_drop (client, uri, NULL), ==, 1);
  g_assert_false (is_there (client, uri));
  close (fd);
  g_assert_cmpint (g_get_monotonic_time () - since, <, 1000 * 1000);
}

static void
test_hanging (void)
{
  FscTestService *service = fsc_test_service_prepare ("[lanes]\ndeadline=1\n", NULL);
  g_autofree char *mount = g_build_filename (service->dir, "m", NULL);
  g_autofree char *path = g_build_filename (mount, "file", NULL);
  FscacheClient *client;
  FscacheReply reply;
  pid_t server, keeper;
  int fd;

  g_assert_no_errno (g_mkdir (mount, 0755));
  server = fsc_test_mount_fuse (mount);
  fsc_test_service_start (service);
  client = fsc_test_service_connect (service);
  if (server == 0)
    g_test_skip ("FUSE cannot be had here");
  else
    {
      fd = open (path, O_RDONLY | O_CLOEXEC);
      g_assert_cmpint (fd, >=, 0);
      g_assert_cmpint (put (client, "handle:dead", fd), ==, 0);
      keeper = leave_elsewhere (fd);
      kill (server, SIGSTOP);

      put_something (client, "handle:alive");
      assert_quick (client, "handle:1");
      g_assert_cmpint (fscache_drop (client, "handle:dead", NULL), ==, 1);
      assert_quick (client, "handle:2");
      g_assert_true (is_there (client, "handle:alive"));

      /* It is in close(), and stays there, so the kernel tells nobody that it is to end. */
      g_assert_no_errno (kill (find_holder (service), SIGKILL));
      g_assert_cmpint (get_with (client, "handle:alive", FSCACHE_SHARED, 0, &reply), <, 0);
      g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OPENER_FAILED);
      g_test_message ("%s", reply.message);
      assert_lost (client, "handle:alive", "its holder ended");
      assert_quick (client, "handle:3");
      g_assert_cmpuint (fsc_test_service_counter (service, "openers_stuck"), ==, 1);

      kill (server, SIGCONT);
      fsc_test_service_wait_for (service, "openers_stuck", 0);
      kill (keeper, SIGKILL);
      waitpid (keeper, NULL, 0);
      kill (server, SIGKILL);
      waitpid (server, NULL, 0);
    }
  fscache_disconnect (client);
  fsc_test_service_stop (service);
  umount2 (mount, MNT_DETACH);
  fsc_test_service_free (service);
}

/* To let go of a mount ends processes that have something open there, but not that which holds what
 * was put. */
static void
test_mount (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_autofree char *mounted = g_build_filename (service->dir, "m", NULL);
  g_autofree char *path = g_build_filename (mounted, "file", NULL);
  FscacheReleased released;
  FscacheClient *client;
  int fd;

  g_assert_no_errno (g_mkdir (mounted, 0755));
  g_assert_no_errno (mount ("none", mounted, "tmpfs", 0, "mode=0755"));
  fsc_test_service_start (service);
  client = fsc_test_service_connect (service);
  fsc_test_write (path, "1234");
  fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (put (client, "handle:there", fd), ==, 0);
  close (fd);
  put_something (client, "handle:elsewhere");
  g_assert_true (is_there (client, "handle:there"));
  g_assert_cmpint (fscache_drop_mount (client, mounted, FALSE, &released, NULL), ==, 0);
  g_assert_cmpuint (released.n_openers, ==, 0);
  g_assert_true (is_there (client, "handle:there"));
  g_assert_true (is_there (client, "handle:elsewhere"));
  g_assert_cmpint (umount2 (mounted, 0), ==, -1);
  g_assert_cmpint (fscache_drop (client, "handle:there", NULL), ==, 1);
  for (guint i = 0; i < 3000 && umount2 (mounted, 0) < 0; i++)
    g_usleep (1000);
  g_assert_cmpint (umount2 (mounted, 0), ==, -1);
  g_assert_cmpint (errno, ==, EINVAL);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* fscachectl */

/* Runs a script with $C for fscachectl, $D for the service's directory and $O for another service's
 * socket. */
static void
run_script (FscTestService *service, const char *other, const char *script)
{
  g_autofree char *ctl = fsc_test_build_path ("fscache/ctl/fscachectl");
  g_autofree char *whole = g_strdup_printf ("set -e; C='%s --socket %s'; D='%s'; O='%s'; %s", ctl,
                                            service->socket, service->dir, other, script);
  const char *const arguments[] = { "sh", "-c", whole, NULL };
  g_auto (FscTestProgram) program = { 0 };

  fsc_test_program_run (&program, NULL, arguments);
  fsc_test_program_assert_exit (&program, 0);
}

static void
test_ctl (FscTestService *service)
{
  FscTestService *other = fsc_test_service_new (NULL, NULL);

  run_script (
      service, other->socket,
      "printf '1\\n2\\n3\\n' >$D/lines; printf 'x\\n' >$D/x\n"
      "G=$($C put lines <$D/lines); test \"${G#generation }\" -gt 0\n"
      /* One offset for all, as it was put. */
      "test \"$($C exec --fd 0=handle:lines -- sh -c 'read a; echo $a')\" = 1\n"
      "test \"$($C cat handle:lines | wc -l)\" = 3\n"
      "$C open handle:lines | grep -q '^sharing *shared'\n"
      "$C open -s independent handle:lines | grep -q '^offset *0'\n"
      "$C info handle:lines | grep -qx \"$G\"\n"
      /* In use. */
      "! $C put lines <$D/x 2>$D/said; grep -q 'the name is in use' $D/said\n"
      "! $C put --if-generation 5 lines <$D/x 2>$D/said; grep -q meanwhile $D/said\n"
      "$C put --if-generation ${G#generation } lines <$D/x\n"
      "test \"$($C cat handle:lines)\" = x\n"
      "$C put --replace lines --json <$D/lines | grep -q '\"generation\":'\n"
      /* What cannot be. */
      "for a in '--replace --if-generation 5' '--if-generation x' '--ttl -1' '--fd 77'; do\n"
      "  set +e; $C put $a name <$D/x 2>/dev/null; test $? = 2 || exit 9; set -e\n"
      "done\n"
      "set +e; $C put name <&- 2>/dev/null; test $? = 2 || exit 9; set -e\n");
  run_script (
      service, other->socket,
      /* Descriptors of a program that is about to run, and of one that comes later. */
      "$C exec --put x=7 --put y --ttl 60 -- cat <$D/x 7<$D/lines | grep -qx x\n"
      "test \"$($C exec --fd 0=handle:x -- head -1)\" = 1\n"
      "$C info handle:y | grep -q '^ends *in [56]'; $C info handle:y | grep -q '^given *never'\n"
      "$C list 'handle:*' | grep -q ' put,[56][0-9]s *handle:y$'; $C list 'handle:*' | grep -q ' "
      "put *handle:lines$'\n"
      "test \"$($C exec --listen --fd web=handle:x -- sh -c 'echo $LISTEN_FDNAMES')\" = web\n"
      "$C exec --take --fd 0=handle:y -- true\n"
      "! $C exec --take --fd 0=handle:y -- true 2>$D/said; grep -q 'is not there' $D/said\n"
      /* What could not be used is not lost. */
      "! $C exec --take --fd 3=handle:x --fd 4=handle:y -- true 2>$D/said; $C info handle:x\n"
      "set +e; $C exec --take --fd 3=handle:x -- $D/nothing 2>$D/said; test $? = 127 || exit 9; "
      "set -e; $C info handle:x\n"
      "$C put 'a b/c%?' <$D/x; $C list 'handle:*' | grep -q 'handle:a%20b/c%25'\n"
      /* All of it to another one, and once more. */
      "test \"$($C transfer --to $O)\" = 'transferred 3'\n"
      "! $C transfer --to $O >$D/said 2>&1; grep -qx 'transferred 0' $D/said\n"
      "test \"$($C transfer --replace --to $O 'x*')\" = 'transferred 1'\n"
      "test \"$($C --socket $O cat handle:lines | wc -l)\" = 3\n"
      "test \"$($C drop 'handle:*')\" = 'dropped 3'\n"
      /* By way of a program: all of it, and back under other names. */
      "$C --socket $O exec --listen --names '*' -- $C put --listen\n"
      "$C --socket $O list --json 'handle:*' | grep -o '\"uri\":\"[^\"]*' | sort >$D/one\n"
      "$C list --json 'handle:*' | grep -o '\"uri\":\"[^\"]*' | sort | cmp - $D/one\n"
      "$C put a:b <$D/x; $C exec --listen --names 'a:*' -- sh -c 'echo $LISTEN_FDNAMES' "
      "| grep -qx 'a%3Ab'\n"
      "$C exec --listen --names 'a:*' -- $C put --listen --replace\n"
      "test \"$($C cat handle:a:b)\" = x\n"
      "for a in '' '--listen name' '--listen'; do\n"
      "  set +e; $C put $a <$D/x 2>/dev/null; test $? = 2 || exit 9; set -e\n"
      "done\n"
      "test \"$($C drop 'handle:*')\" = 'dropped 4'\n"
      "test \"$($C --socket $O list --json | grep -c '\"uri\"')\" = 3\n");
  fsc_test_service_free (other);
}

/* By hand: what libfscache would never do */

static int
greet_putting (FscTestService *service)
{
  const FscHello hello = { .magic = FSC_PROTOCOL_MAGIC,
                           .lowest = FSC_PROTOCOL_LOWEST,
                           .highest = FSC_PROTOCOL_HIGHEST,
                           .features = FSC_FEATURE_PUTTING,
                           .name = { "test", 4 } };
  g_auto (FscTestPacket) welcome = { 0 };
  int fd = fsc_test_raw_connect (service->socket);

  fsc_test_raw_send (fd, &(FscTestMessage){ .header = { .opcode = FSC_OP_HELLO }, .hello = hello },
                     NULL);
  g_assert_true (fsc_test_raw_receive (fd, &welcome));
  g_assert_cmpint (welcome.message.welcome.features, ==, FSC_FEATURE_PUTTING);
  return fd;
}

/* Connects, puts, and takes the socket over which the descriptor is to be sent. Returns it, and the
 * connection in *connection. */
static int
begin_put (FscTestService *service, const char *uri, int *connection)
{
  g_auto (FscTestPacket) given = { 0 };
  int fd = greet_putting (service);

  fsc_test_raw_send (
      fd,
      &(FscTestMessage){ .header = { .opcode = FSC_OP_PUT, .serial = 7 },
                         .put = { .uri = { uri, strlen (uri) }, .mode = FSC_PUT_REPLACE } },
      NULL);
  g_assert_true (fsc_test_raw_receive (fd, &given));
  g_assert_cmpint (given.message.header.opcode, ==, FSC_OP_GIVE);
  g_assert_cmpint (given.message.header.serial, ==, 7);
  *connection = fd;
  return fsc_fds_steal (&given.fds, 0);
}

/* The PUT fails, and the connection goes on. */
static void
assert_put_fails (int connection)
{
  g_auto (FscTestPacket) error = { 0 };
  g_auto (FscTestPacket) done = { 0 };

  g_assert_true (fsc_test_raw_receive (connection, &error));
  g_assert_cmpint (error.message.header.opcode, ==, FSC_OP_ERROR);
  g_assert_cmpint (error.message.header.serial, ==, 7);
  g_test_message ("%.*s", (int) error.message.error.text.length, error.message.error.text.data);
  fsc_test_raw_send (connection,
                     &(FscTestMessage){ .header = { .opcode = FSC_OP_PING, .serial = 8 } }, NULL);
  g_assert_true (fsc_test_raw_receive (connection, &done));
  g_assert_cmpint (done.message.header.opcode, ==, FSC_OP_DONE);
  close (connection);
}

static void
test_unasked (FscTestService *service)
{
  static guint8 large[100000];
  const FscWireHeader give = { .opcode = FSC_OP_GIVE, .n_fds = 1 };
  const FscWireHeader two = { .opcode = FSC_OP_GIVE, .n_fds = 2 };
  const FscWireHeader none = { .opcode = FSC_OP_GIVE };
  const FscWireHeader ping = { .opcode = FSC_OP_PING, .n_fds = 1 };
  const struct
  {
    const char *name;
    const void *packet;
    size_t length;
    guint n_fds;
  } cases[] = {
    { "none", &give, sizeof give, 0 },
    { "none, and says so", &none, sizeof none, 0 },
    { "two", &give, sizeof give, 2 },
    { "two, and says so", &two, sizeof two, 2 },
    { "as many as can be", &give, sizeof give, FSC_FDS_MAX },
    { "another message", &ping, sizeof ping, 1 },
    { "too short", &give, 3, 1 },
    { "too long", large, sizeof large, 1 },
    { "too long, and many", large, 17, 200 },
    { "nothing, and closes", NULL, 0, 0 },
  };
  FscacheClient *client = fsc_test_service_connect (service);
  int fds[FSC_FDS_MAX];
  pid_t holder;

  put_something (client, "handle:x");
  holder = find_holder (service);
  memcpy (large, &give, sizeof give);
  for (guint i = 0; i < FSC_FDS_MAX; i++)
    fds[i] = make_something ();
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      int connection;
      int socket = begin_put (service, "handle:y", &connection);

      g_test_message ("%s", cases[i].name);
      if (cases[i].packet != NULL)
        g_assert_cmpint (
            fsc_channel_send (socket, cases[i].packet, cases[i].length, fds, cases[i].n_fds, 0), ==,
            0);
      close (socket);
      assert_put_fails (connection);
      assert_holds (holder, 1);
    }
  g_assert_false (is_there (client, "handle:y"));
  g_assert_true (is_there (client, "handle:x"));
  g_assert_cmpint (find_holder (service), ==, holder);
  for (guint i = 0; i < FSC_FDS_MAX; i++)
    close (fds[i]);
  fscache_disconnect (client);
}

static void
send_descriptor (int socket)
{
  const FscWireHeader give = { .opcode = FSC_OP_GIVE, .n_fds = 1 };
  int fd = make_something ();

  fsc_channel_send (socket, &give, sizeof give, &fd, 1, MSG_DONTWAIT);
  close (fd);
}

/* A client that is gone has put nothing: neither what it has not sent, nor what it sends when it is
 * gone (another process may still have the socket). */
static void
test_gone (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  pid_t holder;

  put_something (client, "handle:x");
  holder = find_holder (service);
  for (guint i = 0; i < 2; i++)
    {
      guint64 clients = fsc_test_service_counter (service, "clients");
      int connection;
      int socket = begin_put (service, "handle:y", &connection);

      close (connection);
      fsc_test_service_wait_for (service, "clients", clients);
      if (i == 1)
        send_descriptor (socket);
      close (socket);
      assert_holds (holder, 1);
      g_assert_false (is_there (client, "handle:y"));
    }
  fscache_disconnect (client);
}

/* One that takes its time keeps nobody else from putting, and is told when that is over; the holder
 * goes on. */
static void
test_slow (void)
{
  FscTestService *service = fsc_test_service_new ("[lanes]\ndeadline=0.5\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  int connections[5], sockets[5];
  pid_t holder;

  put_something (client, "handle:x");
  holder = find_holder (service);
  for (guint i = 0; i < G_N_ELEMENTS (sockets); i++)
    sockets[i] = begin_put (service, "handle:y", &connections[i]);
  assert_quick (client, "handle:z");
  for (guint i = 0; i < G_N_ELEMENTS (sockets); i++)
    {
      assert_put_fails (connections[i]);
      close (sockets[i]);
    }
  g_usleep (1200 * 1000); /* twice the deadline */
  g_assert_cmpint (find_holder (service), ==, holder);
  assert_holds (holder, 1);
  g_assert_true (is_there (client, "handle:x"));
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Clients that die before they have what they take. */
static void
test_take_killed (FscTestService *service)
{
  static const char uri[] = "handle:x";
  const FscItem item = { .uri = { uri, sizeof uri - 1 },
                         .sharing = FSC_SHARING_SHARED,
                         .options = FSC_OPTION_TAKE };
  FscTestRecord record = { .item = item };
  FscacheClient *client = fsc_test_service_connect (service);
  guint64 clients = fsc_test_service_counter (service, "clients");

  put_something (client, uri);
  for (guint i = 0; i < 3; i++)
    {
      g_auto (FscTestPacket) opened = { 0 };
      FscTestRecord lease = { 0 };
      int fd = greet_putting (service);

      fsc_test_raw_send (fd,
                         &(FscTestMessage){ .header = { .opcode = FSC_OP_OPEN, .serial = 1 },
                                            .n_records = 1,
                                            .records = &record },
                         NULL);
      if (i > 0)
        {
          g_assert_true (fsc_test_raw_receive (fd, &opened));
          g_assert_cmpint (opened.message.records[0].result.sharing, ==, FSC_SHARING_EXCLUSIVE);
          lease.id = opened.message.records[0].result.id;
        }
      if (i > 1)
        fsc_test_raw_send (fd,
                           &(FscTestMessage){ .header = { .opcode = FSC_OP_GIVE_BACK },
                                              .give_back = FSC_GIVE_BACK_TAKEN,
                                              .n_records = 1,
                                              .records = &lease },
                           NULL);
      close (fd);
      fsc_test_service_wait_for (service, "clients", clients);
      g_assert_cmpint (is_there (client, uri), ==, i < 2);
    }
  fscache_disconnect (client);
}

/* Clients that are killed while they put, at any instant. */
static void
test_killed (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  guint64 clients = fsc_test_service_counter (service, "clients");
  pid_t holder;

  put_something (client, "handle:x");
  put_something (client, "handle:victim");
  holder = find_holder (service);
  for (guint i = 0; i < fsc_test_scale (200); i++)
    {
      pid_t pid = fork ();

      if (pid == 0)
        {
          const FscachePut what
              = { .uri = "handle:victim", .fd = make_something (), .mode = FSCACHE_PUT_REPLACE };
          FscacheClient *own = NULL;

          fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &own);
          for (;;)
            fscache_put (own, &what, NULL);
        }
      g_usleep ((gulong) g_test_rand_int_range (0, 4000));
      kill (pid, SIGKILL);
      g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
    }
  fsc_test_service_wait_for (service, "clients", clients);
  g_assert_cmpint (find_holder (service), ==, holder);
  assert_holds (holder, 2);
  g_assert_true (is_there (client, "handle:x"));
  g_assert_true (is_there (client, "handle:victim"));
  fsc_test_service_check_descriptors (service);
  fscache_disconnect (client);
}

/* A client that does not ask for the feature may not put, nor take. */
static void
test_feature (FscTestService *service)
{
  static const char uri[] = "handle:x";
  const FscItem item = { .uri = { uri, sizeof uri - 1 },
                         .sharing = FSC_SHARING_SHARED,
                         .options = FSC_OPTION_TAKE };
  FscTestRecord record = { .item = item };
  const FscTestMessage messages[] = {
    { .header = { .opcode = FSC_OP_PUT, .serial = 1 }, .put = { .uri = item.uri } },
    { .header = { .opcode = FSC_OP_OPEN, .serial = 1 }, .n_records = 1, .records = &record },
  };

  for (guint i = 0; i < G_N_ELEMENTS (messages); i++)
    {
      g_auto (FscTestPacket) packet = { 0 };
      int fd = fsc_test_raw_greet (service->socket, TRUE);

      fsc_test_raw_send (fd, &messages[i], NULL);
      g_assert_false (fsc_test_raw_receive (fd, &packet));
      close (fd);
    }
}

int
main (int argc, char **argv)
{
  gboolean can_mount;

  fsc_test_init (&argc, &argv);
  can_mount = fsc_test_enter_namespaces ();
  FSC_TEST_ADD ("/put/types", test_types);
  FSC_TEST_ADD ("/put/listener", test_listener);
  FSC_TEST_ADD ("/put/names", test_names);
  FSC_TEST_ADD ("/put/take", test_take);
  FSC_TEST_ADD ("/put/take-full", test_take_full);
  FSC_TEST_ADD ("/put/take-killed", test_take_killed);
  FSC_TEST_ADD ("/put/lent", test_lent);
  FSC_TEST_ADD ("/put/content", test_content);
  g_test_add_func ("/put/large-content", test_large_content);
  FSC_TEST_ADD ("/put/time", test_time);
  FSC_TEST_ADD ("/put/race", test_race);
  g_test_add_func ("/put/limit", test_limit);
  g_test_add_func ("/put/room", test_room);
  FSC_TEST_ADD ("/put/no-descriptor", test_no_descriptor);
  FSC_TEST_ADD ("/put/holder-full", test_holder_full);
  FSC_TEST_ADD ("/put/users", test_users);
  FSC_TEST_ADD ("/put/watch", test_watch);
  FSC_TEST_ADD ("/put/lost", test_lost);
  FSC_TEST_ADD ("/put/holder-killed", test_holder_killed);
  if (can_mount)
    {
      g_test_add_func ("/put/hanging", test_hanging);
      g_test_add_func ("/put/mount", test_mount);
    }
  FSC_TEST_ADD ("/put/ctl", test_ctl);
  FSC_TEST_ADD ("/put/unasked", test_unasked);
  FSC_TEST_ADD ("/put/gone", test_gone);
  g_test_add_func ("/put/slow", test_slow);
  FSC_TEST_ADD ("/put/killed", test_killed);
  FSC_TEST_ADD ("/put/feature", test_feature);
  return g_test_run ();
}
