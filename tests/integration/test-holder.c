/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The loop of the openers as a holder, seen from the service's end of its socket: what is held is
 * handed out whatever else the opener does, given back in the order in which it is told, and a
 * second thread is there for it only when it is needed. The opener holds files and FIFOs here; what
 * mounts do that hang is in test-sshfs.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/packet.h"
#include "tests/integration/process.h"

#define PATIENCE_SECONDS 10

/* The program and its libraries fit into this, a thread's stack does not. */
#define TOO_SMALL_FOR_A_THREAD (8 << 20)

typedef struct
{
  char *dir; /* of the files */
  pid_t pid;
  int socket; /* the service's end */
  guint32 serial;

  /* The last OPEN, and what has come of it: results come when they are ready. */
  guint32 open_serial;
  guint64 opened[2];
  guint n_opened;
} Holder;

/* The opener */

static void
start (Holder *holder, rlim_t address_space)
{
  g_autofree char *program = fsc_test_build_path ("tests/integration/holding-opener");
  struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
  int sockets[2];

  g_assert_no_errno (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
  setsockopt (sockets[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  holder->socket = sockets[0];
  holder->pid = fork ();
  g_assert_cmpint (holder->pid, >=, 0);
  if (holder->pid == 0)
    {
      struct rlimit limit = { address_space, address_space };

      prctl (PR_SET_PDEATHSIG, SIGKILL);
      if (address_space > 0)
        setrlimit (RLIMIT_AS, &limit);
      if (sockets[1] == 3)
        fcntl (3, F_SETFD, 0);
      else
        dup2 (sockets[1], 3);
      execl (program, program, NULL);
      _exit (127);
    }
  close (sockets[1]);
}

/* Its end of the socket closes with it, or it with ours; either way it has nothing to complain. */
static void
assert_ends (Holder *holder)
{
  pid_t ended = 0;
  int status;

  for (int i = 0; i < 3000 && ended == 0; i++)
    {
      ended = waitpid (holder->pid, &status, WNOHANG);
      if (ended == 0)
        g_usleep (1000);
    }
  g_assert_cmpint (ended, ==, holder->pid);
  g_assert_cmpint (status, ==, 0);
  holder->pid = 0;
}

static void
assert_receives (Holder *holder, FscOpcode opcode, guint32 serial, FscTestPacket *packet)
{
  g_assert_true (fsc_test_raw_receive (holder->socket, packet));
  g_assert_cmpstr (fsc_codec_opcode_name (packet->message.header.opcode), ==,
                   fsc_codec_opcode_name (opcode));
  g_assert_cmpuint (packet->message.header.serial, ==, serial);
}

static void
run_with_limit (gconstpointer data, rlim_t address_space)
{
  void (*func) (Holder *) = (void (*) (Holder *)) data;
  char *descriptors = fsc_test_list_descriptors ();
  Holder holder = { 0 };
  FscTestPacket packet = { 0 };

  holder.dir = g_dir_make_tmp ("fscache-holder-XXXXXX", NULL);
  start (&holder, address_space);
  g_assert_cmpint (fsc_test_send_hello (holder.socket, -1), ==, 0);
  assert_receives (&holder, FSC_OP_WELCOME, 0, &packet);
  fsc_test_packet_clear (&packet);

  func (&holder);

  if (holder.socket >= 0)
    close (holder.socket);
  if (holder.pid > 0)
    assert_ends (&holder);
  {
    const char *arguments[] = { "rm", "-rf", holder.dir, NULL };

    g_spawn_sync (NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                  NULL, NULL);
  }
  g_free (holder.dir);
  fsc_test_assert_descriptors (descriptors);
}

static void
run (gconstpointer data)
{
  run_with_limit (data, 0);
}

static void
run_without_threads (gconstpointer data)
{
  if (!FSC_TEST_MEASURES_MEMORY)
    {
      g_test_skip ("a sanitizer needs more address space than this test leaves");
      return;
    }
  run_with_limit (data, TOO_SMALL_FOR_A_THREAD);
}

/* What it is told, and what it says */

static void
put (Holder *holder, const char *name)
{
  g_autofree char *path = g_build_filename (holder->dir, name, NULL);

  fsc_test_write (path, name);
}

static void
make_fifo (Holder *holder, const char *name)
{
  g_autofree char *path = g_build_filename (holder->dir, name, NULL);

  g_assert_no_errno (mkfifo (path, 0600));
}

/* The opener gets on. Returns the other end. */
static int
open_other_end (Holder *holder, const char *name)
{
  g_autofree char *path = g_build_filename (holder->dir, name, NULL);
  int fd = open (path, O_WRONLY | O_CLOEXEC); /* waits until the opener is there */

  g_assert_cmpint (fd, >=, 0);
  return fd;
}

/* Closed by the opener, soon. */
static void
assert_closed (int other_end)
{
  struct pollfd pollfd = { .fd = other_end };

  g_assert_cmpint (poll (&pollfd, 1, PATIENCE_SECONDS * 1000), ==, 1);
  g_assert_cmpint (pollfd.revents, ==, POLLERR);
}

static void
assert_not_closed (int other_end)
{
  struct pollfd pollfd = { .fd = other_end };

  g_assert_cmpint (poll (&pollfd, 1, 0), ==, 0);
}

/* An OPEN of one or two items. */
static void
send_open (Holder *holder, const char *name, const char *second)
{
  g_autofree char *uri = g_strdup_printf ("file://%s/%s", holder->dir, name);
  g_autofree char *second_uri = g_strdup_printf ("file://%s/%s", holder->dir, second);
  FscTestRecord records[] = { { .item = { .uri = { uri, strlen (uri) } } },
                              { .item = { .uri = { second_uri, strlen (second_uri) } } } };

  holder->open_serial = ++holder->serial;
  holder->n_opened = 0;
  fsc_test_raw_send (holder->socket,
                     &(FscTestMessage){ .header = { FSC_OP_OPEN, holder->open_serial },
                                        .n_records = second != NULL ? 2 : 1,
                                        .records = records },
                     NULL);
}

static void
note_opened (Holder *holder, const FscTestPacket *packet)
{
  g_assert_cmpuint (packet->message.header.serial, ==, holder->open_serial);
  g_assert_cmpuint (packet->fds.n, ==, 0);
  for (guint i = 0; i < packet->message.n_records; i++)
    {
      const FscResult *result = &packet->message.records[i].result;

      g_assert_cmpint (result->code, ==, FSC_CODE_OK);
      g_assert_cmpuint (result->id, !=, 0);
      g_assert_cmpuint (holder->n_opened, <, G_N_ELEMENTS (holder->opened));
      g_assert_cmpuint (result->index, ==, holder->n_opened);
      holder->opened[holder->n_opened++] = result->id;
    }
}

/* Returns the id of the last item. */
static guint64
take_opened (Holder *holder, guint n)
{
  g_auto (FscTestPacket) packet = { 0 };

  while (holder->n_opened < n)
    {
      assert_receives (holder, FSC_OP_OPENED, holder->open_serial, &packet);
      note_opened (holder, &packet);
    }
  return holder->opened[n - 1];
}

static guint64
open_held (Holder *holder, const char *name)
{
  send_open (holder, name, NULL);
  return take_opened (holder, 1);
}

/* An OPEN of the FIFOs "gate" and "slow". When this returns, the opener has begun with it, and
 * stays in it until the other end of "slow" is opened. */
static void
send_slow_open (Holder *holder)
{
  make_fifo (holder, "gate");
  make_fifo (holder, "slow");
  send_open (holder, "gate", "slow");
  close (open_other_end (holder, "gate"));
}

static void
give_back (Holder *holder, guint64 id)
{
  FscTestRecord record = { .id = id };

  fsc_test_raw_send (holder->socket,
                     &(FscTestMessage){ .header = { FSC_OP_GIVE_BACK, ++holder->serial },
                                        .n_records = 1,
                                        .records = &record },
                     NULL);
}

static void
assert_done (Holder *holder, guint32 serial, int error)
{
  g_auto (FscTestPacket) packet = { 0 };

  g_assert_true (fsc_test_raw_receive (holder->socket, &packet));
  while (packet.message.header.opcode == FSC_OP_OPENED)
    {
      note_opened (holder, &packet);
      g_assert_true (fsc_test_raw_receive (holder->socket, &packet));
    }
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_DONE);
  g_assert_cmpuint (packet.message.header.serial, ==, serial);
  g_assert_cmpint ((int) packet.message.count, ==, error);
}

static void
assert_pings (Holder *holder)
{
  fsc_test_raw_send (holder->socket,
                     &(FscTestMessage){ .header = { FSC_OP_PING, ++holder->serial } }, NULL);
  assert_done (holder, holder->serial, 0);
}

/* Sends HAND; the client's end of what it is to be sent to is returned. */
static int
send_hand (Holder *holder, guint64 id)
{
  FscTestRecord record = { .id = id };
  int client[2];
  guint8 bytes[64];
  FscWriter writer;
  int length;

  g_assert_no_errno (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, client));
  fsc_writer_begin (&writer, bytes, sizeof bytes);
  fsc_codec_put_opened (&writer, 0);
  length = fsc_writer_finish (&writer, FSC_OP_OPENED, 1, 1);
  fsc_test_raw_send (holder->socket,
                     &(FscTestMessage){ .header = { FSC_OP_HAND, ++holder->serial, 0, 1 },
                                        .hand = { { (const char *) bytes, (size_t) length } },
                                        .n_records = 1,
                                        .records = &record },
                     &client[1]);
  close (client[1]);
  return client[0];
}

static void
assert_gets (int client, const char *content)
{
  char found[64] = { 0 };
  guint8 bytes[64];
  FscFds fds;

  g_assert_cmpint (fsc_channel_receive (client, bytes, sizeof bytes, &fds, 1, NULL, 0), >, 0);
  g_assert_cmpuint (fds.n, ==, 1);
  g_assert_cmpint (pread (fds.fds[0], found, sizeof found - 1, 0), ==, strlen (content));
  g_assert_cmpstr (found, ==, content);
  fsc_fds_clear (&fds);
}

static void
assert_hands_out (Holder *holder, guint64 id, const char *content)
{
  int client = send_hand (holder, id);

  assert_done (holder, holder->serial, 0);
  assert_gets (client, content);
  close (client);
}

static void
assert_does_not_hold (Holder *holder, guint64 id)
{
  close (send_hand (holder, id));
  assert_done (holder, holder->serial, ENOENT);
}

/* Tests */

static void
test_while_opening (Holder *holder)
{
  guint64 id;

  put (holder, "file");
  make_fifo (holder, "fifo");
  id = open_held (holder, "file");
  send_open (holder, "fifo", NULL);
  for (int i = 0; i < 100; i++)
    assert_hands_out (holder, id, "file");
  assert_pings (holder);
  assert_does_not_hold (holder, id + 1);
  close (open_other_end (holder, "fifo"));
  g_assert_cmpuint (take_opened (holder, 1), !=, id);
  assert_hands_out (holder, id, "file");
}

/* The first handle of all is held while the second item is being opened. */
static void
test_while_opening_the_first (Holder *holder)
{
  put (holder, "file");
  make_fifo (holder, "fifo");
  send_open (holder, "file", "fifo");
  assert_pings (holder);
  g_assert_cmpuint (holder->n_opened, <, 2);
  close (open_other_end (holder, "fifo"));
  g_assert_cmpuint (take_opened (holder, 2), !=, holder->opened[0]);
  assert_hands_out (holder, holder->opened[0], "file");
}

/* From then on it is not handed out; and it is closed when there is time. */
static void
test_give_back (Holder *holder)
{
  guint64 id, fifo, slow;
  int other_end;

  put (holder, "file");
  make_fifo (holder, "fifo");
  id = open_held (holder, "file");
  send_open (holder, "fifo", NULL);
  other_end = open_other_end (holder, "fifo");
  fifo = take_opened (holder, 1);

  send_slow_open (holder);
  give_back (holder, fifo);
  assert_does_not_hold (holder, fifo);
  give_back (holder, fifo); /* once more: nothing */
  give_back (holder, 0);
  give_back (holder, 4711);
  give_back (holder, G_MAXUINT64);
  assert_hands_out (holder, id, "file");
  assert_not_closed (other_end);
  close (open_other_end (holder, "slow"));
  slow = take_opened (holder, 2);
  g_assert_cmpuint (slow, !=, fifo); /* which was not closed, so its id was not free */
  assert_closed (other_end);
  close (other_end);

  give_back (holder, id);
  give_back (holder, slow);
  assert_does_not_hold (holder, id);
  assert_does_not_hold (holder, slow);
  put (holder, "another");
  assert_hands_out (holder, open_held (holder, "another"), "another");
}

/* Enough for its table to grow, with gaps in it that are filled again. */
static void
test_many (Holder *holder)
{
  enum
  {
    MANY = 200
  };
  guint64 ids[MANY] = { 0 };

  for (guint round = 1; round < 6; round++)
    {
      for (guint i = 0; i < MANY; i += round)
        {
          g_autofree char *name = g_strdup_printf ("file-%u", i);

          put (holder, name);
          if (ids[i] != 0)
            give_back (holder, ids[i]);
        }
      for (guint i = 0; i < MANY; i += round)
        {
          g_autofree char *name = g_strdup_printf ("file-%u", i);

          ids[i] = open_held (holder, name);
        }
      for (guint i = 0; i < MANY; i++)
        {
          g_autofree char *name = g_strdup_printf ("file-%u", i);

          assert_hands_out (holder, ids[i], name);
          g_assert_cmpuint (ids[i], <, 4 * MANY); /* they are used again */
        }
    }
}

/* What is handed out and given back at once, while the next is opened, has been handed out. */
static void
test_order (Holder *holder)
{
  guint n = fsc_test_scale (2000);
  guint64 id, next;

  for (guint i = 0; i < 7; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);

      put (holder, name);
    }
  id = open_held (holder, "file-0");
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i % 7);
      g_autofree char *next_name = g_strdup_printf ("file-%u", (i + 1) % 7);
      guint32 hand_serial;
      int client;

      send_open (holder, next_name, NULL);
      client = send_hand (holder, id);
      hand_serial = holder->serial;
      give_back (holder, id);
      assert_done (holder, hand_serial, 0);
      next = take_opened (holder, 1);
      g_assert_cmpuint (next, !=, id);
      assert_gets (client, name);
      close (client);
      id = next;
    }
}

/* There is a second thread only when there is something to hand out. */
static void
test_threads (Holder *holder)
{
  g_auto (FscTestPacket) packet = { 0 };

  if (!FSC_TEST_MEASURES_MEMORY)
    {
      g_test_skip ("a sanitizer may have threads of its own");
      return;
    }
  g_assert_cmpint (fsc_process_get (holder->pid, "Threads:"), ==, 1);
  send_open (holder, "missing", NULL);
  assert_receives (holder, FSC_OP_OPENED, holder->open_serial, &packet);
  g_assert_cmpint (packet.message.records[0].result.error, ==, ENOENT);
  assert_pings (holder);
  g_assert_cmpint (fsc_process_get (holder->pid, "Threads:"), ==, 1);

  put (holder, "file");
  for (int i = 0; i < 20; i++)
    {
      assert_hands_out (holder, open_held (holder, "file"), "file");
      g_assert_cmpint (fsc_process_get (holder->pid, "Threads:"), ==, 2);
    }
}

static void
test_without_threads (Holder *holder)
{
  guint64 id, fifo;
  int other_end;

  put (holder, "file");
  make_fifo (holder, "fifo");
  id = open_held (holder, "file");
  assert_hands_out (holder, id, "file");
  send_open (holder, "fifo", NULL);
  other_end = open_other_end (holder, "fifo");
  fifo = take_opened (holder, 1);
  assert_not_closed (other_end);
  give_back (holder, fifo);
  assert_closed (other_end);
  close (other_end);
  assert_does_not_hold (holder, fifo);
  assert_hands_out (holder, id, "file");
  g_assert_cmpint (fsc_process_get (holder->pid, "Threads:"), ==, 1);
}

/* The service goes: so does it, whatever it is in. */
static void
test_end_while_opening (Holder *holder)
{
  put (holder, "file");
  make_fifo (holder, "fifo");
  open_held (holder, "file");
  send_open (holder, "fifo", NULL);
  assert_pings (holder);
  close (holder->socket);
  holder->socket = -1;
  assert_ends (holder);
}

/* No service gives more than one at a time. */
static void
test_many_opens (Holder *holder)
{
  g_auto (FscTestPacket) packet = { 0 };

  put (holder, "file");
  open_held (holder, "file");
  send_slow_open (holder);
  send_open (holder, "file", NULL);
  send_open (holder, "file", NULL);
  while (fsc_test_raw_receive (holder->socket, &packet))
    g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_OPENED); /* of the gate */
  assert_ends (holder);
}

#define ADD(Path, Func) g_test_add_data_func (Path, (gconstpointer) (Func), run)

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  ADD ("/holder/while-opening", test_while_opening);
  ADD ("/holder/while-opening-the-first", test_while_opening_the_first);
  ADD ("/holder/give-back", test_give_back);
  ADD ("/holder/many", test_many);
  ADD ("/holder/order", test_order);
  ADD ("/holder/threads", test_threads);
  ADD ("/holder/end-while-opening", test_end_while_opening);
  ADD ("/holder/many-opens", test_many_opens);
  g_test_add_data_func ("/holder/without-threads", (gconstpointer) test_without_threads,
                        run_without_threads);
  return g_test_run ();
}
