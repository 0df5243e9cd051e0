/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Faults that others had who pass descriptors or serve many users: the same is tried on fscache.
 * Each test is named after what it repeats, and says in a line what that was. Beside the offender
 * there is always a client that must not notice: it keeps its connection, and is served.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "protocol/channel.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/packet.h"
#include "tests/integration/process.h"

#define FEW_DESCRIPTORS 256
#define PATIENCE_MS 10000

typedef struct
{
  FscTestService *service;
  char *path, *uri;
  int bystander; /* its connection */
  guint32 serial;
} Stage;

static void
open_stage (Stage *stage, guint max_descriptors)
{
  *stage = (Stage){ .service = fsc_test_service_prepare (NULL, NULL) };
  stage->service->max_descriptors = max_descriptors;
  fsc_test_service_start (stage->service);
  stage->path = fsc_test_service_write (stage->service, "file", "content");
  stage->uri = g_strconcat ("file://", stage->path, NULL);
  stage->bystander = fsc_test_raw_greet (stage->service->socket, TRUE);
}

/* A request for the file, or another resource. Returns FALSE if there is no room for it. */
static gboolean
ask (int fd, guint32 serial, const char *uri)
{
  guint8 buffer[FSC_PACKET_MAX];
  int length;
  FscTestRecord record = {
    .item = { .sharing = FSC_SHARING_SHARED, .uri = { uri, (uint32_t) strlen (uri) } },
  };
  FscTestMessage message = { .header = { .opcode = FSC_OP_OPEN, .serial = serial },
                             .n_records = 1,
                             .records = &record };

  length = fsc_test_message_encode (&message, buffer, sizeof buffer);
  return fsc_channel_send (fd, buffer, (size_t) length, NULL, 0, MSG_DONTWAIT) == 0;
}

static gboolean
is_readable (int fd, int ms)
{
  struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

  return poll (&poll_fd, 1, ms) == 1;
}

/* The bystander asks and is answered, on the connection that it had from the start. */
static void
assert_served (Stage *stage)
{
  g_auto (FscTestPacket) packet = { 0 };
  char content[8] = "";

  g_assert_true (ask (stage->bystander, ++stage->serial, stage->uri));
  do
    {
      g_assert_true (is_readable (stage->bystander, PATIENCE_MS));
      g_assert_true (fsc_test_raw_receive (stage->bystander, &packet));
    }
  while (packet.message.header.serial != stage->serial);
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_OPENED);
  g_assert_cmpint (packet.message.records[0].result.code, ==, FSC_CODE_OK);
  g_assert_cmpuint (packet.fds.n, ==, 1);
  g_assert_cmpint (pread (packet.fds.fds[0], content, sizeof content - 1, 0), ==, 7);
  g_assert_cmpstr (content, ==, "content");
}

static int
count_descriptors (Stage *stage)
{
  return fsc_process_count_descriptors (stage->service->pid, "");
}

static void
close_stage (Stage *stage)
{
  close (stage->bystander);
  /* Who comes next finds room. */
  for (int i = 0; count_descriptors (stage) > FEW_DESCRIPTORS / 2 && i < 500; i++)
    g_usleep (10000);
  fsc_test_service_free (stage->service);
  g_free (stage->path);
  g_free (stage->uri);
}

static void
close_all (const int *fds, guint n)
{
  for (guint i = 0; i < n; i++)
    close (fds[i]);
}

/* Descriptors in flight. The kernel counts them for each user, and refuses to send more
 * (ETOOMANYREFS) than the sender's RLIMIT_NOFILE. */

typedef struct
{
  int sockets[3][2];
} Flight;

static void
put_into_flight (Flight *flight)
{
  int fds[FSC_FDS_MAX];
  int null = open ("/dev/null", O_RDONLY | O_CLOEXEC);

  for (guint i = 0; i < FSC_FDS_MAX; i++)
    fds[i] = null;
  for (guint i = 0; i < G_N_ELEMENTS (flight->sockets); i++)
    {
      g_assert_no_errno (
          socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, flight->sockets[i]));
      g_assert_cmpint (fsc_channel_send (flight->sockets[i][0], "x", 1, fds, FSC_FDS_MAX, 0), ==,
                       0);
    }
  close (null);
}

static void
land (Flight *flight)
{
  for (guint i = 0; i < G_N_ELEMENTS (flight->sockets); i++)
    {
      close (flight->sockets[i][0]);
      close (flight->sockets[i][1]);
    }
}

/* CVE-2014-3532: a descriptor that could not be sent on disconnected whom it was for. */
static void
test_2014_3532 (void)
{
  Stage stage;
  Flight flight;
  FscTestPacket packet = { 0 };

  open_stage (&stage, FEW_DESCRIPTORS);
  assert_served (&stage);
  put_into_flight (&flight);
  g_assert_true (ask (stage.bystander, ++stage.serial, stage.uri));
  g_assert_false (is_readable (stage.bystander, 300)); /* not: that it was disconnected */
  land (&flight);
  g_assert_true (is_readable (stage.bystander, PATIENCE_MS));
  g_assert_true (fsc_test_raw_receive (stage.bystander, &packet));
  g_assert_cmpuint (packet.fds.n, ==, 1);
  fsc_test_packet_clear (&packet);
  assert_served (&stage);
  close_stage (&stage);
}

/* CVE-2014-3533: who passed a descriptor that could not be passed on disconnected others. Here it
 * is one that is put: a socket in which it lies itself, over as many sockets as it takes. */
static void
test_2014_3533 (void)
{
  Stage stage;
  FscacheClient *client;
  int pair[2], next[2];

  open_stage (&stage, 0);
  assert_served (&stage);
  client = fsc_test_service_connect (stage.service);
  g_assert_no_errno (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
  for (guint i = 0; i < 8; i++)
    {
      g_assert_no_errno (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, next));
      if (fsc_channel_send (next[0], "x", 1, pair, 2, 0) < 0) /* older kernels have a limit */
        {
          close (next[0]);
          close (next[1]);
          break;
        }
      close (pair[0]);
      close (pair[1]);
      pair[0] = next[0];
      pair[1] = next[1];
    }

  const FscachePut put = { .uri = "handle:deep", .fd = pair[1], .timeout_ms = 2000 };
  const FscacheRequest request
      = { .uri = "handle:deep", .sharing = FSCACHE_SHARED, .timeout_ms = 2000 };
  FscacheReply reply;

  if (fscache_put (client, &put, NULL) == 0)
    {
      fscache_open_with (client, &request, &reply); /* it may come, or not */
      fscache_reply_clear (client, &reply);
    }
  assert_served (&stage);
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  close (pair[0]);
  close (pair[1]);
  fscache_drop (client, "handle:deep", NULL);
  fscache_disconnect (client);
  close_stage (&stage);
}

/* CVE-2014-3635: CMSG_SPACE has room for one descriptor more than was asked for; it was written
 * beyond an array. */
static void
test_2014_3635 (void)
{
  Stage stage;
  int fds[FSC_FDS_MAX];
  int null = open ("/dev/null", O_RDONLY | O_CLOEXEC);

  open_stage (&stage, 0);
  assert_served (&stage);
  for (guint i = 0; i < FSC_FDS_MAX; i++)
    fds[i] = null;
  for (guint n = 2; n <= FSC_FDS_MAX; n += n < 8 ? 1 : 49)
    {
      int fd = fsc_test_raw_connect (stage.service->socket);
      guint8 buffer[FSC_PACKET_MAX];
      FscWriter writer;
      const FscHello hello
          = { FSC_PROTOCOL_MAGIC, FSC_PROTOCOL_LOWEST, FSC_PROTOCOL_HIGHEST, 0, { "x", 1 } };
      ssize_t length;
      char byte;

      fsc_writer_begin (&writer, buffer, sizeof buffer);
      fsc_codec_put_hello (&writer, &hello);
      length = fsc_writer_finish (&writer, FSC_OP_HELLO, 0, n);
      g_assert_cmpint (fsc_channel_send (fd, buffer, (size_t) length, fds, n, 0), ==, 0);
      g_assert_true (is_readable (fd, PATIENCE_MS));
      g_assert_cmpint (recv (fd, &byte, 1, 0), <=, 0); /* one too many is not taken for less */
      close (fd);
    }
  fsc_test_service_check_descriptors (stage.service);
  assert_served (&stage);
  close_stage (&stage);
  close (null);
}

/* CVE-2014-3636: a few messages full of descriptors that nobody reads used up what the service may
 * have in flight, so that nobody could be sent any. */
static void
test_2014_3636 (void)
{
  Stage stage;
  int fds[8];

  open_stage (&stage, FEW_DESCRIPTORS);
  assert_served (&stage);
  for (guint i = 0; i < G_N_ELEMENTS (fds); i++)
    {
      fds[i] = fsc_test_raw_greet (stage.service->socket, TRUE);
      for (guint32 n = 1; n <= 500 && ask (fds[i], n, stage.uri); n++)
        ;
    }
  g_usleep (100000); /* each is sent as much as may be sent */
  for (guint i = 0; i < 20; i++)
    assert_served (&stage);
  close_all (fds, G_N_ELEMENTS (fds));
  close_stage (&stage);
}

/* CVE-2014-3637: a descriptor sent in half a message was kept, and the connection with it, for
 * ever. A packet is never half a message, so that a HELLO that is none is the end; and who says
 * none is disconnected in time. */
static void
test_2014_3637 (void)
{
  Stage stage;
  int fd, null = open ("/dev/null", O_RDONLY | O_CLOEXEC);
  char byte;

  open_stage (&stage, 0);
  assert_served (&stage);
  fd = fsc_test_raw_connect (stage.service->socket);
  g_assert_cmpint (fsc_channel_send (fd, "FSC", 3, &null, 1, 0), ==, 0);
  g_assert_true (is_readable (fd, PATIENCE_MS));
  g_assert_cmpint (recv (fd, &byte, 1, 0), <=, 0);
  fsc_test_service_check_descriptors (stage.service);
  close (fd);
  fsc_test_service_check_descriptors (stage.service);
  assert_served (&stage);
  close_stage (&stage);
  close (null);
}

/* CVE-2014-3638: with many calls that wait for their reply, each reply cost a walk over all of
 * them. */
static void
test_2014_3638 (void)
{
  Stage stage;
  gint64 start, alone, beside;
  int fd;

  open_stage (&stage, 0);
  assert_served (&stage);
  start = g_get_monotonic_time ();
  for (guint i = 0; i < 200; i++)
    assert_served (&stage);
  alone = g_get_monotonic_time () - start;

  /* As many as may be unanswered; their answers are not read. */
  fd = fsc_test_raw_greet (stage.service->socket, TRUE);
  for (guint32 n = 0; n < FSC_UNANSWERED_MAX; n++)
    {
      FscTestMessage ping = { .header = { .opcode = FSC_OP_PING, .serial = n + 1 } };
      guint8 buffer[64];
      int length = fsc_test_message_encode (&ping, buffer, sizeof buffer);

      if (send (fd, buffer, (size_t) length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        break;
    }
  start = g_get_monotonic_time ();
  for (guint i = 0; i < 200; i++)
    assert_served (&stage);
  beside = g_get_monotonic_time () - start;
  g_test_message ("200 requests took %" G_GINT64_FORMAT " us, and %" G_GINT64_FORMAT " us", alone,
                  beside);
  g_assert_cmpint (beside, <, 20 * alone + G_USEC_PER_SEC);
  close (fd);
  close_stage (&stage);
}

/* CVE-2014-3639: connections that have not said who they are took all places, and kept them. */
static void
test_2014_3639 (void)
{
  static int fds[600];
  Stage stage;
  FscacheClient *client = NULL;
  int r = -1;

  open_stage (&stage, FEW_DESCRIPTORS);
  assert_served (&stage);
  for (guint i = 0; i < G_N_ELEMENTS (fds); i++)
    fds[i] = fsc_test_raw_connect (stage.service->socket);
  assert_served (&stage);
  /* And they do not stay. */
  for (guint i = 0; i < 300 && r != 0; i++)
    {
      g_usleep (50000);
      r = fscache_connect (stage.service->socket, FSCACHE_NO_FALLBACK, &client);
      if (r != 0)
        g_clear_pointer (&client, fscache_disconnect);
    }
  g_assert_cmpint (r, ==, 0);
  assert_served (&stage);
  fscache_disconnect (client);
  close_all (fds, G_N_ELEMENTS (fds));
  close_stage (&stage);
}

/* CVE-2014-7824: a user's descriptors that the service had to keep used up what it may have open.
 * Those that are put are kept by a process of that user. */
static void
test_2014_7824 (void)
{
  Stage stage;
  FscacheClient *client;
  int before, null;

  open_stage (&stage, FEW_DESCRIPTORS);
  null = open ("/dev/null", O_RDONLY | O_CLOEXEC);
  assert_served (&stage);
  client = fsc_test_service_connect (stage.service);
  before = count_descriptors (&stage);
  for (guint i = 0; i < 2 * FEW_DESCRIPTORS; i++)
    {
      g_autofree char *uri = g_strdup_printf ("handle:%u", i);
      const FscachePut put = { .uri = uri, .fd = null };

      if (fscache_put (client, &put, NULL) < 0)
        break;
    }
  g_assert_cmpint (count_descriptors (&stage), <, before + 16);
  assert_served (&stage);
  fscache_drop_matching (client, "handle:*", NULL);
  fscache_disconnect (client);
  close (null);
  close_stage (&stage);
}

/* CVE-2020-12049: descriptors that came with control data which had no room for all were not
 * closed. */
static void
test_2020_12049 (void)
{
  Stage stage;
  int fds[FSC_FDS_MAX];

  open_stage (&stage, FEW_DESCRIPTORS);
  for (guint i = 0; i < FSC_FDS_MAX; i++)
    fds[i] = stage.bystander;
  assert_served (&stage);
  for (guint i = 0; i < 300; i++)
    {
      int fd = fsc_test_raw_connect (stage.service->socket);
      char byte;

      fsc_channel_send (fd, "HELLO", 5, fds, FSC_FDS_MAX, 0); /* more than it can have open */
      while (is_readable (fd, PATIENCE_MS) && recv (fd, &byte, 1, 0) > 0) /* it may say why */
        ;
      close (fd);
    }
  fsc_test_service_check_descriptors (stage.service);
  assert_served (&stage);
  close_stage (&stage);
}

/* CVE-2021-4115: descriptors leaked for clients that went before they were answered. */
static void
test_2021_4115 (void)
{
  Stage stage;

  open_stage (&stage, 0);
  assert_served (&stage);
  for (guint i = 0; i < 500; i++)
    {
      int fd = i % 2 == 0 ? fsc_test_raw_connect (stage.service->socket)
                          : fsc_test_raw_greet (stage.service->socket, TRUE);

      if (i % 4 == 2)
        fsc_test_send_hello (fd, -1);
      if (i % 2 == 1)
        ask (fd, i, i % 4 == 1 ? stage.uri : "file:///nonexistent/file");
      close (fd);
    }
  fsc_test_service_check_descriptors (stage.service);
  assert_served (&stage);
  close_stage (&stage);
}

/* The inodes of the sockets that a process has open, added to a set. */
static void
collect_sockets (pid_t pid, GHashTable *inodes)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/fd", pid);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *link = g_build_filename (path, name, NULL);
      g_autofree char *target = g_file_read_link (link, NULL);

      if (target != NULL && g_str_has_prefix (target, "socket:["))
        g_hash_table_add (inodes, g_strndup (target + 8, strcspn (target + 8, "]")));
    }
}

/* CVE-2019-12795: a service had a socket of its own to which anybody could connect. */
static void
test_2019_12795 (void)
{
  Stage stage;
  g_autoptr (GHashTable) inodes = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autofree char *table = NULL;
  g_auto (GStrv) lines = NULL;
  guint n_listening = 0;

  open_stage (&stage, 0);
  assert_served (&stage);
  {
    g_autoptr (GArray) spawners = fsc_test_list_children (stage.service->pid);
    g_autoptr (GArray) openers = fsc_test_service_list_openers (stage.service);

    collect_sockets (stage.service->pid, inodes);
    g_assert_cmpuint (openers->len, >, 0);
    for (guint i = 0; i < spawners->len; i++)
      collect_sockets (g_array_index (spawners, pid_t, i), inodes);
    for (guint i = 0; i < openers->len; i++)
      collect_sockets (g_array_index (openers, pid_t, i), inodes);
  }
  g_assert_cmpuint (g_hash_table_size (inodes), >, 2);
  g_assert_true (g_file_get_contents ("/proc/self/net/unix", &table, NULL, NULL));
  lines = g_strsplit (table, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    {
      g_auto (GStrv) fields = g_regex_split_simple (" +", lines[i], 0, 0);

      /* Num RefCount Protocol Flags Type St Inode Path; the flag is __SO_ACCEPTCON. */
      if (g_strv_length (fields) < 7 || !g_hash_table_contains (inodes, fields[6]))
        continue;
      if (g_ascii_strtoull (fields[3], NULL, 16) & 0x10000)
        {
          g_assert_cmpstr (fields[7], ==, stage.service->socket);
          n_listening++;
        }
    }
  g_assert_cmpuint (n_listening, ==, 1);
  close_stage (&stage);
}

/* CVE-2020-10717: a guest could open files until the host had no descriptors left. */
static void
test_2020_10717 (void)
{
  Stage stage;
  FscacheClient *client;

  open_stage (&stage, FEW_DESCRIPTORS);
  assert_served (&stage);
  client = fsc_test_service_connect (stage.service);
  for (guint i = 0; i < 3 * FEW_DESCRIPTORS; i++)
    {
      g_autofree char *name = g_strdup_printf ("many-%u", i);
      g_autofree char *path = fsc_test_service_write (stage.service, name, "x");
      FscacheReply reply;

      fscache_open (client, path, O_RDONLY, &reply);
      g_assert_cmpint (reply.code, ==, FSCACHE_OK);
      fscache_reply_clear (client, &reply);
    }
  g_assert_cmpint (count_descriptors (&stage), <, FEW_DESCRIPTORS);
  assert_served (&stage);
  fscache_disconnect (client);
  close_stage (&stage);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/cve/2014-3532", test_2014_3532);
  g_test_add_func ("/cve/2014-3533", test_2014_3533);
  g_test_add_func ("/cve/2014-3635", test_2014_3635);
  g_test_add_func ("/cve/2014-3636", test_2014_3636);
  g_test_add_func ("/cve/2014-3637", test_2014_3637);
  g_test_add_func ("/cve/2014-3638", test_2014_3638);
  g_test_add_func ("/cve/2014-3639", test_2014_3639);
  g_test_add_func ("/cve/2014-7824", test_2014_7824);
  g_test_add_func ("/cve/2020-12049", test_2020_12049);
  g_test_add_func ("/cve/2021-4115", test_2021_4115);
  g_test_add_func ("/cve/2019-12795", test_2019_12795);
  g_test_add_func ("/cve/2020-10717", test_2020_10717);
  return g_test_run ();
}
