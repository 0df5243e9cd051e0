/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Many at once: a thousand clients that ask for one cold file or for a thousand, threads that share
 * a client, a thousand files in one call, and clients that ask and do not read.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/packet.h"
#include "tests/integration/process.h"

#define CLIENTS 1000
#define FILES 1000
#define PIPELINED 10000

/* Files */

static char *
get_path (FscTestService *service, guint number)
{
  return g_strdup_printf ("%s/file-%u", service->dir, number);
}

static void
make_files (FscTestService *service, guint n)
{
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);
      g_autofree char *content = g_strdup_printf ("This is file %u.\n", i);

      g_free (fsc_test_service_write (service, name, content));
    }
}

static void
assert_is_file (int fd, FscTestService *service, guint number)
{
  g_autofree char *path = get_path (service, number);
  g_autofree char *expected = g_strdup_printf ("This is file %u.\n", number);
  char content[64] = { 0 };
  struct stat found, wanted;

  g_assert_cmpint (fd, >=, 0);
  g_assert_no_errno (fstat (fd, &found));
  g_assert_no_errno (stat (path, &wanted));
  g_assert_cmpuint (found.st_ino, ==, wanted.st_ino);
  g_assert_cmpint (pread (fd, content, sizeof content - 1, 0), ==, strlen (expected));
  g_assert_cmpstr (content, ==, expected);
}

static void
assert_succeeded (const FscacheReply *reply)
{
  g_assert_cmpstr (reply->message, ==, "");
  g_assert_cmpint (reply->code, ==, FSCACHE_OK);
}

/* A gate: threads come to it and wait until it is opened, which is when all are there. */

typedef struct
{
  GMutex lock;
  GCond changed;
  guint n_waiting;
  gboolean is_open;
} Gate;

static void
gate_pass (Gate *gate)
{
  g_mutex_lock (&gate->lock);
  gate->n_waiting++;
  g_cond_broadcast (&gate->changed);
  while (!gate->is_open)
    g_cond_wait (&gate->changed, &gate->lock);
  g_mutex_unlock (&gate->lock);
}

static void
gate_open (Gate *gate, guint n)
{
  g_mutex_lock (&gate->lock);
  while (gate->n_waiting < n)
    g_cond_wait (&gate->changed, &gate->lock);
  gate->is_open = TRUE;
  g_cond_broadcast (&gate->changed);
  g_mutex_unlock (&gate->lock);
}

/* A crowd: each visitor has a thread and a client of its own, and asks for one file. */

typedef struct
{
  FscTestService *service;
  Gate *gate;
  GThread *thread;
  FscacheClient *client;
  guint file;
  FscacheSharing sharing;
  FscacheReply reply;
} Visitor;

static gpointer
visit (gpointer data)
{
  Visitor *visitor = data;
  g_autofree char *path = get_path (visitor->service, visitor->file);
  FscacheRequest request = { .uri = path, .sharing = visitor->sharing };

  visitor->client = fsc_test_service_connect (visitor->service);
  gate_pass (visitor->gate);
  fscache_open_with (visitor->client, &request, &visitor->reply);
  return NULL;
}

typedef struct
{
  FscTestService *service;
  Gate gate;
  guint n;
  Visitor *visitors;
} Crowd;

/* All are there, and have asked at the same time, when this returns. */
static Crowd *
crowd_send (FscTestService *service, guint n, gboolean is_one_file, guint file)
{
  Crowd *crowd = g_new0 (Crowd, 1);

  crowd->service = service;
  crowd->n = n;
  crowd->visitors = g_new0 (Visitor, n);
  for (guint i = 0; i < n; i++)
    {
      Visitor *visitor = &crowd->visitors[i];

      *visitor = (Visitor){ .service = service,
                            .gate = &crowd->gate,
                            .file = is_one_file ? file : file + i,
                            .sharing = i % 2 == 0 ? FSCACHE_INDEPENDENT : FSCACHE_SHARED };
      visitor->thread = g_thread_new ("visitor", visit, visitor);
    }
  gate_open (&crowd->gate, n);
  return crowd;
}

static void
crowd_wait (Crowd *crowd)
{
  for (guint i = 0; i < crowd->n; i++)
    g_thread_join (crowd->visitors[i].thread);
}

static void
crowd_free (Crowd *crowd)
{
  for (guint i = 0; i < crowd->n; i++)
    {
      fscache_reply_clear (crowd->visitors[i].client, &crowd->visitors[i].reply);
      fscache_disconnect (crowd->visitors[i].client);
    }
  g_mutex_clear (&crowd->gate.lock);
  g_cond_clear (&crowd->gate.changed);
  g_free (crowd->visitors);
  g_free (crowd);
}

static void
crowd_assert_served (Crowd *crowd)
{
  for (guint i = 0; i < crowd->n; i++)
    {
      const Visitor *visitor = &crowd->visitors[i];

      assert_succeeded (&visitor->reply);
      g_assert_cmpint (visitor->reply.sharing, ==, visitor->sharing);
      assert_is_file (visitor->reply.fd, crowd->service, visitor->file);
    }
}

static guint
crowd_count (Crowd *crowd, FscacheSource source)
{
  guint n = 0;

  for (guint i = 0; i < crowd->n; i++)
    n += crowd->visitors[i].reply.source == source;
  return n;
}

/* Counters, and how they change */

static guint64
get (FscTestService *service, const char *name)
{
  return fsc_test_service_counter (service, name);
}

static void
signal_openers (FscTestService *service, int number)
{
  g_autoptr (GArray) openers = fsc_test_service_list_openers (service);

  for (guint i = 0; i < openers->len; i++)
    g_assert_no_errno (kill (g_array_index (openers, pid_t, i), number));
}

/* Openers that do not start before there is a file "go". */
static void
use_late_openers (FscTestService *service)
{
  g_autofree char *dir = g_build_filename (service->dir, "openers", NULL);
  g_autofree char *program = g_build_filename (dir, "open-file", NULL);
  g_autofree char *script
      = g_strdup_printf ("#!/bin/sh\nuntil [ -e '%s/go' ]; do sleep 0.01; done\n"
                         "exec '%s/open-file'\n",
                         service->dir, service->opener_dir);

  g_assert_no_errno (g_mkdir_with_parents (dir, 0700));
  g_assert_true (
      g_file_set_contents_full (program, script, -1, G_FILE_SET_CONTENTS_NONE, 0700, NULL));
  fsc_test_service_stop (service);
  g_free (service->opener_dir);
  service->opener_dir = g_strdup (dir);
  fsc_test_service_start (service);
}

static void
let_openers_start (FscTestService *service)
{
  g_free (fsc_test_service_write (service, "go", ""));
}

/* Tests: a thousand clients */

static void
test_one_cold_file (FscTestService *service)
{
  guint n = fsc_test_scale (CLIENTS);
  Crowd *crowd;

  make_files (service, 1);
  crowd = crowd_send (service, n, TRUE, 0);
  crowd_wait (crowd);
  crowd_assert_served (crowd);
  g_assert_cmpuint (get (service, "opens"), ==, 1);
  g_assert_cmpuint (get (service, "hits") + get (service, "misses"), ==, n);
  g_assert_cmpuint (get (service, "clients"), ==, n + 1);
  g_assert_cmpuint (crowd_count (crowd, FSCACHE_SOURCE_OPENED), >=, 1);
  crowd_free (crowd);
}

static void
test_cold_files (FscTestService *service)
{
  guint n = fsc_test_scale (CLIENTS);
  Crowd *crowd;

  make_files (service, n);
  crowd = crowd_send (service, n, FALSE, 0);
  crowd_wait (crowd);
  crowd_assert_served (crowd);
  g_assert_cmpuint (get (service, "opens"), ==, n);
  g_assert_cmpuint (get (service, "handles"), ==, n);
  g_assert_cmpuint (crowd_count (crowd, FSCACHE_SOURCE_OPENED), ==, n);
  crowd_free (crowd);
}

/* All come before anybody looks: one open serves all. */
static void
test_single_flight (FscTestService *service)
{
  guint n = fsc_test_scale (CLIENTS);
  Crowd *crowd;

  use_late_openers (service);
  make_files (service, 1);
  crowd = crowd_send (service, n, TRUE, 0);
  fsc_test_service_wait_for (service, "coalesced", n - 1);
  let_openers_start (service);
  crowd_wait (crowd);
  crowd_assert_served (crowd);
  g_assert_cmpuint (get (service, "opens"), ==, 1);
  g_assert_cmpuint (get (service, "checks"), ==, 0);
  g_assert_cmpuint (crowd_count (crowd, FSCACHE_SOURCE_OPENED), ==, n);
  crowd_free (crowd);
}

static void
test_single_failure (FscTestService *service)
{
  guint n = fsc_test_scale (CLIENTS);
  g_autofree char *path = get_path (service, 0);
  Crowd *crowd;

  use_late_openers (service);
  crowd = crowd_send (service, n, TRUE, 0);
  fsc_test_service_wait_for (service, "coalesced", n - 1);
  let_openers_start (service);
  crowd_wait (crowd);
  for (guint i = 0; i < n; i++)
    {
      const FscacheReply *reply = &crowd->visitors[i].reply;

      g_assert_cmpint (reply->code, ==, FSCACHE_ERROR_SYSTEM);
      g_assert_cmpint (reply->error, ==, ENOENT);
      g_assert_cmpint (reply->fd, ==, -1);
      g_assert_nonnull (strstr (reply->message, path));
    }
  g_assert_cmpuint (get (service, "opens"), ==, 1);
  g_assert_cmpuint (get (service, "open_errors"), ==, 1);
  crowd_free (crowd);
}

/* All but one come while the opener is at work: what it sees may be older than their questions, so
 * one check, made after they came, answers them all. */
static void
test_slow_opener (FscTestService *service)
{
  guint n = fsc_test_scale (CLIENTS);
  g_autofree char *warm = NULL;
  FscacheClient *client = fsc_test_service_connect (service);
  guint64 opens, coalesced, checks;
  Crowd *crowd;

  make_files (service, 1);
  warm = fsc_test_service_write (service, "warm", "");
  close (fscache_open (client, warm, O_RDONLY, NULL)); /* there is an opener */
  fscache_disconnect (client);
  opens = get (service, "opens");
  coalesced = get (service, "coalesced");
  checks = get (service, "checks");

  signal_openers (service, SIGSTOP);
  crowd = crowd_send (service, n, TRUE, 0);
  fsc_test_service_wait_for (service, "coalesced", coalesced + n - 1);
  signal_openers (service, SIGCONT);
  crowd_wait (crowd);
  crowd_assert_served (crowd);
  g_assert_cmpuint (get (service, "opens"), ==, opens + 1);
  g_assert_cmpuint (get (service, "checks"), ==, checks + 1);
  crowd_free (crowd);
}

/* Tests: one client */

#define THREADS 32
#define OPENS_A_THREAD 200
#define FILES_OF_THREADS 50

typedef struct
{
  FscTestService *service;
  FscacheClient *client;
  guint seed;
} Worker;

static gpointer
work (gpointer data)
{
  const Worker *worker = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (worker->seed);

  for (int i = 0; i < OPENS_A_THREAD; i++)
    {
      guint file = (guint) g_rand_int_range (rand, 0, FILES_OF_THREADS);
      g_autofree char *path = get_path (worker->service, file);
      FscacheRequest request
          = { .uri = path, .sharing = (FscacheSharing) g_rand_int_range (rand, 0, 3) };
      FscacheReply reply;

      fscache_open_with (worker->client, &request, &reply);
      assert_succeeded (&reply);
      g_assert_cmpint (reply.sharing, ==, request.sharing);
      assert_is_file (reply.fd, worker->service, file);
      fscache_reply_clear (worker->client, &reply);
    }
  return NULL;
}

static void
test_threads (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  Worker workers[THREADS];
  GThread *threads[THREADS];

  make_files (service, FILES_OF_THREADS);
  for (guint i = 0; i < THREADS; i++)
    {
      workers[i] = (Worker){ service, client, i };
      threads[i] = g_thread_new ("worker", work, &workers[i]);
    }
  for (guint i = 0; i < THREADS; i++)
    g_thread_join (threads[i]);
  g_assert_cmpuint (get (service, "clients"), ==, 2);
  fscache_disconnect (client);
}

static void
test_open_many (FscTestService *service)
{
  const FscacheSharing sharing[] = { FSCACHE_INDEPENDENT, FSCACHE_SHARED, FSCACHE_EXCLUSIVE };
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree FscacheRequest *requests = g_new0 (FscacheRequest, FILES);
  g_autofree FscacheReply *replies = g_new0 (FscacheReply, FILES);
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);

  make_files (service, FILES);
  for (guint i = 0; i < FILES; i++)
    {
      g_ptr_array_add (paths,
                       get_path (service, i == FILES / 2 ? FILES : i)); /* one is not there */
      requests[i].uri = paths->pdata[i];
    }
  /* What is lent is opened each time. */
  for (guint round = 0; round < 2 * G_N_ELEMENTS (sharing); round++)
    {
      for (guint i = 0; i < FILES; i++)
        requests[i].sharing = sharing[round / 2];
      g_assert_cmpint (fscache_open_many (client, requests, replies, FILES), ==, 1);
      for (guint i = 0; i < FILES; i++)
        {
          if (i == FILES / 2)
            {
              g_assert_cmpint (replies[i].error, ==, ENOENT);
              g_assert_cmpint (replies[i].fd, ==, -1);
              continue;
            }
          assert_succeeded (&replies[i]);
          g_assert_cmpint (replies[i].sharing, ==, sharing[round / 2]);
          g_assert_cmpint (replies[i].source, ==,
                           round == 0 || round >= 4 ? FSCACHE_SOURCE_OPENED : FSCACHE_SOURCE_CACHE);
          assert_is_file (replies[i].fd, service, i);
          fscache_reply_clear (client, &replies[i]);
        }
    }
  fscache_disconnect (client);
}

/* Tests: who does not read */

/* A client that asks by hand, as fast as it can, and reads only when it is told to. */
typedef struct
{
  FscTestService *service;
  int socket;
  guint n;             /* requests in all */
  guint n_sent;        /* of these */
  guint n_answered;    /* of those */
  guint8 *is_answered; /* by serial */
} Pipe;

static void
pipe_init (Pipe *pipe, FscTestService *service, guint n)
{
  *pipe
      = (Pipe){ .service = service, .n = n, .socket = fsc_test_raw_greet (service->socket, TRUE) };
  pipe->is_answered = g_malloc0 (n + 1);
  g_assert_no_errno (fcntl (pipe->socket, F_SETFL, O_NONBLOCK));
}

static void
pipe_clear (Pipe *pipe)
{
  close (pipe->socket);
  g_free (pipe->is_answered);
}

static guint
get_file (guint serial)
{
  return serial % FILES_OF_THREADS;
}

/* Sends as much as goes now. */
static void
pipe_fill (Pipe *pipe)
{
  while (pipe->n_sent < pipe->n)
    {
      g_autofree char *path = get_path (pipe->service, get_file (pipe->n_sent + 1));
      g_autofree char *uri = fscache_uri (path);
      guint8 packet[4096];
      size_t length = fsc_test_write_open (packet, sizeof packet, pipe->n_sent + 1, uri, O_RDONLY,
                                           FSC_SHARING_SHARED, 1);
      int r = fsc_channel_send (pipe->socket, packet, length, NULL, 0, MSG_DONTWAIT);

      if (r == -EAGAIN)
        return;
      g_assert_cmpint (r, ==, 0);
      pipe->n_sent++;
    }
}

/* Sends until nothing has gone for so long. */
static void
pipe_fill_up (Pipe *pipe, gint64 patience_ms)
{
  gint64 since = g_get_monotonic_time ();
  guint before;

  do
    {
      before = pipe->n_sent;
      pipe_fill (pipe);
      if (pipe->n_sent > before)
        since = g_get_monotonic_time ();
      g_usleep (1000);
    }
  while (pipe->n_sent < pipe->n && g_get_monotonic_time () - since < patience_ms * 1000);
}

/* Reads one packet. Returns how many descriptors came with it, or -1 if there was none. */
static int
pipe_read (Pipe *pipe)
{
  static guint8 packet[FSC_PACKET_MAX];
  FscHeader header;
  FscReader reader;
  FscFds fds;
  guint32 n;
  guint next = 0;
  ssize_t length = fsc_channel_receive (pipe->socket, packet, sizeof packet, &fds, FSC_FDS_MAX,
                                        NULL, MSG_DONTWAIT);

  if (length == -EAGAIN)
    return -1;
  g_assert_cmpint (length, >, 0);
  g_assert_cmpint (fsc_reader_begin (&reader, &header, packet, (size_t) length, fds.n), ==, 0);
  g_assert_cmpint (header.opcode, ==, FSC_OP_OPENED);
  g_assert_cmpuint (header.serial, >, 0);
  g_assert_cmpuint (header.serial, <=, pipe->n);
  g_assert_true (fsc_codec_get_opened (&reader, &n));
  g_assert_cmpuint (n, ==, 1);
  for (guint i = 0; i < n; i++)
    {
      FscResult result;

      g_assert_true (fsc_codec_get_result (&reader, &result));
      g_assert_cmpint (result.code, ==, FSC_CODE_OK);
      g_assert_true (result.has_fd);
      g_assert_cmpint (pipe->is_answered[header.serial], ==, 0);
      pipe->is_answered[header.serial] = 1;
      pipe->n_answered++;
      assert_is_file (fds.fds[next++], pipe->service, get_file (header.serial));
    }
  g_assert_cmpint (fsc_reader_finish (&reader), ==, 0);
  fsc_fds_clear (&fds);
  return (int) next;
}

/* Reads, and goes on asking, until all is answered. */
static void
pipe_finish (Pipe *pipe)
{
  while (pipe->n_answered < pipe->n)
    {
      struct pollfd pollfd = { .fd = pipe->socket, .events = POLLIN };

      pipe_fill (pipe);
      g_assert_cmpint (poll (&pollfd, 1, 5000), ==, 1); /* else it is forgotten */
      while (pipe_read (pipe) >= 0)
        ;
    }
}

static void
test_unread (FscTestService *service)
{
  long memory;
  Pipe pipe;
  int n, in_flight = 0;

  make_files (service, FILES_OF_THREADS);
  pipe_init (&pipe, service, fsc_test_scale (PIPELINED));
  memory = fsc_process_get (service->pid, "VmRSS:");
  pipe_fill_up (&pipe, 500);

  g_test_message (
      "paused after %u requests, with %" G_GUINT64_FORMAT " descriptors in flight and %ld KiB more",
      pipe.n_sent, get (service, "in_flight"), fsc_process_get (service->pid, "VmRSS:") - memory);
  if (pipe.n == PIPELINED)
    g_assert_cmpuint (pipe.n_sent, <, pipe.n);
  g_assert_cmpuint (get (service, "in_flight"), <=, FSC_FDS_MAX + 1); /* and a WELCOME */
  if (FSC_TEST_MEASURES_MEMORY)
    g_assert_cmpint (fsc_process_get (service->pid, "VmRSS:") - memory, <, 8192);

  /* What the kernel has is what the service believes: it cannot send more while it is stopped. */
  g_assert_no_errno (kill (service->pid, SIGSTOP));
  while ((n = pipe_read (&pipe)) >= 0)
    in_flight += n;
  g_assert_no_errno (kill (service->pid, SIGCONT));
  g_assert_cmpint (in_flight, >, 0);
  g_assert_cmpint (in_flight, <=, FSC_FDS_MAX);

  pipe_finish (&pipe);
  pipe_clear (&pipe);
  fsc_test_service_wait_for (service, "in_flight", 0);
}

#define STALLED 16
#define BUSY 20000

/* Some never read: others get what they ask for all the same, one by one and in batches. */
static void
test_stalled (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheRequest requests[FILES_OF_THREADS] = { 0 };
  FscacheReply replies[FILES_OF_THREADS];
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  Pipe pipes[STALLED], busy;
  gint64 since;

  make_files (service, FILES_OF_THREADS);
  for (guint i = 0; i < FILES_OF_THREADS; i++)
    {
      g_ptr_array_add (paths, get_path (service, i));
      requests[i] = (FscacheRequest){ .uri = paths->pdata[i], .sharing = FSCACHE_SHARED };
    }
  for (guint i = 0; i < STALLED; i++)
    {
      pipe_init (&pipes[i], service, 300);
      pipe_fill_up (&pipes[i], 50);
      g_assert_cmpuint (get (service, "in_flight"), <=, 512 + i + 1); /* each may have one */
    }
  g_test_message ("%" G_GUINT64_FORMAT " descriptors in flight", get (service, "in_flight"));

  since = g_get_monotonic_time ();
  for (guint i = 0; i < FILES_OF_THREADS; i++)
    requests[i].timeout_ms = 5000;
  for (guint i = 0; i < 20; i++)
    {
      fscache_open_with (client, &requests[i], &replies[0]);
      assert_succeeded (&replies[0]);
      assert_is_file (replies[0].fd, service, i);
      fscache_reply_clear (client, &replies[0]);
    }
  g_assert_cmpint (fscache_open_many (client, requests, replies, FILES_OF_THREADS), ==, 0);
  for (guint i = 0; i < FILES_OF_THREADS; i++)
    {
      assert_is_file (replies[i].fd, service, i);
      fscache_reply_clear (client, &replies[i]);
    }
  g_test_message ("served beside them in %.1f ms",
                  (double) (g_get_monotonic_time () - since) / 1000);

  /* There is room for one descriptor at a time now: each that is read must wake the service. */
  pipe_init (&busy, service, fsc_test_scale (BUSY));
  pipe_finish (&busy);
  pipe_clear (&busy);

  for (guint i = 0; i < STALLED; i++)
    pipe_finish (&pipes[i]);
  for (guint i = 0; i < STALLED; i++)
    pipe_clear (&pipes[i]);
  fscache_disconnect (client);
  fsc_test_service_wait_for (service, "in_flight", 0);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  fsc_process_raise_limit ();

  FSC_TEST_ADD ("/load/one-cold-file", test_one_cold_file);
  FSC_TEST_ADD ("/load/cold-files", test_cold_files);
  FSC_TEST_ADD ("/load/single-flight", test_single_flight);
  FSC_TEST_ADD ("/load/single-failure", test_single_failure);
  FSC_TEST_ADD ("/load/slow-opener", test_slow_opener);
  FSC_TEST_ADD ("/load/threads", test_threads);
  FSC_TEST_ADD ("/load/open-many", test_open_many);
  FSC_TEST_ADD ("/load/unread", test_unread);
  FSC_TEST_ADD ("/load/stalled", test_stalled);
  return g_test_run ();
}
