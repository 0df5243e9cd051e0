/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What no client should send, by the thousand, from a raw socket. Whoever sends it is disconnected,
 * or refused where the packet is good; everybody else is served as before, no descriptor stays, and
 * the service does not grow.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/harness/lingering.h"
#include "tests/harness/message.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/packet.h"
#include "tests/integration/process.h"

#define MUTANTS 6000
#define NOISE 3000
#define HALF_OPEN 300
#define LAST_WORDS 0xfffffff0 /* serial of the PING by which we know that we are still heard */
#define GROWTH_MAX_KIB 8192

/* The fixture: beside the offender there is a client, which is served before, meanwhile and after.
 */

typedef struct
{
  FscTestService *service;
  FscacheClient *client;
  char *path;
  long memory;
  int descriptors; /* of the service, with this client */
  guint n_refused, n_heard;
} Fixture;

static void
assert_served (Fixture *fixture)
{
  char content[16] = { 0 };
  FscacheReply reply;

  g_assert_cmpint (fscache_open (fixture->client, fixture->path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (read (reply.fd, content, sizeof content - 1), ==, 7);
  g_assert_cmpstr (content, ==, "content");
  fscache_reply_clear (fixture->client, &reply);
}

static void
find_number (const char *name, uint64_t value, void *data)
{
  guint64 *openers = data;

  if (g_str_equal (name, "openers") || g_str_equal (name, "handles"))
    *openers += value;
}

/* But for openers and handles, whose number may change as it likes. */
static int
count_descriptors (Fixture *fixture)
{
  guint64 accounted = 0;

  g_assert_cmpint (fscache_status (fixture->client, find_number, &accounted, NULL), ==, 0);
  return fsc_process_count_descriptors (fixture->service->pid, "") - (int) accounted;
}

static void
assert_untouched (Fixture *fixture)
{
  assert_served (fixture);
  for (int i = 0; count_descriptors (fixture) != fixture->descriptors && i < 500; i++)
    g_usleep (10000);
  g_assert_cmpint (count_descriptors (fixture), ==, fixture->descriptors);
  if (FSC_TEST_MEASURES_MEMORY)
    g_assert_cmpint (fsc_process_get (fixture->service->pid, "VmRSS:") - fixture->memory, <,
                     GROWTH_MAX_KIB);
}

typedef void (*FixtureFunc) (Fixture *fixture);

static void
run_fixture (gconstpointer func)
{
  Fixture fixture = { .service = fsc_test_service_new (NULL, NULL) };

  fixture.path = fsc_test_service_write (fixture.service, "file", "content");
  fixture.client = fsc_test_service_connect (fixture.service);
  assert_served (&fixture);
  fixture.descriptors = count_descriptors (&fixture);
  fixture.memory = fsc_process_get (fixture.service->pid, "VmRSS:");

  ((FixtureFunc) func) (&fixture);

  assert_untouched (&fixture);
  g_test_message ("%u disconnected, %u still heard", fixture.n_refused, fixture.n_heard);
  fscache_disconnect (fixture.client);
  fsc_test_service_free (fixture.service);
  g_free (fixture.path);
}

/* The offender */

/* Whether the service still listens: sends a PING, and reads until its answer or the end. Closes
 * the connection. */
static gboolean
is_heard (Fixture *fixture, int fd)
{
  static guint8 packet[FSC_PACKET_MAX];
  size_t length = fsc_test_write_empty (packet, sizeof packet, FSC_OP_PING, LAST_WORDS);
  gboolean is_answered = FALSE;
  ssize_t r = 0;

  if (fsc_channel_send (fd, packet, length, NULL, 0, 0) == 0)
    do
      {
        FscHeader header;
        FscReader reader;
        FscFds fds;

        r = fsc_channel_receive (fd, packet, sizeof packet, &fds, FSC_FDS_MAX, NULL, 0);
        if (r <= 0)
          break;
        /* Whatever it says, it says well. */
        g_assert_cmpint (fsc_reader_begin (&reader, &header, packet, (size_t) r, fds.n), ==, 0);
        is_answered = header.opcode == FSC_OP_DONE && header.serial == LAST_WORDS;
        fsc_fds_clear (&fds);
      }
    while (!is_answered);
  g_assert_cmpint (r, !=, -EAGAIN); /* it neither answered nor hung up */
  close (fd);
  if (is_answered)
    fixture->n_heard++;
  else
    fixture->n_refused++;
  return is_answered;
}

static int
join (Fixture *fixture)
{
  return fsc_test_raw_greet (fixture->service->socket, TRUE);
}

/* Sends as it is; that the service has hung up meanwhile is no failure. Returns FALSE if the kernel
 * has turned it away, as descriptors may not be sent there. */
static gboolean
send_raw (int fd, const void *packet, size_t length, const int *fds, guint n_fds)
{
  int r = fsc_channel_send (fd, packet, length, fds, n_fds, 0);

  if (r == -EPERM && n_fds > 0)
    return FALSE;
  g_assert_true (r == 0 || r == -EPIPE || r == -ECONNRESET);
  return TRUE;
}

/* One packet on a connection of its own, after the handshake. */
static gboolean
is_accepted (Fixture *fixture, const void *packet, size_t length, const int *fds, guint n_fds)
{
  int fd = join (fixture);

  if (send_raw (fd, packet, length, fds, n_fds))
    return is_heard (fixture, fd);
  g_assert_true (is_heard (fixture, fd));
  return FALSE;
}

/* The same right behind HELLO: the kernel lets descriptors pass until the service has read that. */
static gboolean
is_accepted_early (Fixture *fixture, const void *packet, size_t length, const int *fds, guint n_fds)
{
  int fd = fsc_test_raw_connect (fixture->service->socket);

  g_assert_cmpint (fsc_test_send_hello (fd, -1), ==, 0);
  if (send_raw (fd, packet, length, fds, n_fds))
    return is_heard (fixture, fd);
  g_assert_true (is_heard (fixture, fd));
  return FALSE;
}

/* Packets to begin with: the golden ones */

typedef struct
{
  char *name;
  guint8 *bytes;
  size_t length;
  guint n_fds; /* that come with it */
} Vector;

static void
vector_free (gpointer data)
{
  Vector *vector = data;

  g_free (vector->name);
  g_free (vector->bytes);
  g_free (vector);
}

static Vector *
load_vector (const char *path)
{
  static guint8 packet[2 * FSC_PACKET_MAX];
  Vector *vector = g_new0 (Vector, 1);
  char *words = NULL;
  size_t size;
  FILE *in = fopen (path, "r"), *out = open_memstream (&words, &size);
  const char *n_fds;

  g_assert_nonnull (in);
  vector->length = (size_t) fsc_test_read_hex (in, packet, sizeof packet, out);
  fclose (in);
  fclose (out);
  g_assert_cmpuint (vector->length, <=, sizeof packet);
  n_fds = strstr (words, "n_fds=");
  g_assert_nonnull (n_fds);
  vector->n_fds
      = MIN ((guint) atoi (n_fds + strlen ("n_fds=")), FSC_FDS_MAX); /* the kernel's limit */
  vector->name = g_path_get_basename (path);
  vector->bytes = g_memdup2 (packet, vector->length);
  free (words);
  return vector;
}

static GPtrArray *
load_vectors (const char *sub)
{
  GPtrArray *vectors = g_ptr_array_new_with_free_func (vector_free);
  g_autofree char *path = g_build_filename (FSC_VECTORS_DIR, sub, NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *file = g_build_filename (path, name, NULL);

      if (g_str_has_suffix (name, ".hex"))
        g_ptr_array_add (vectors, load_vector (file));
    }
  g_assert_cmpuint (vectors->len, >, 10);
  return vectors;
}

typedef enum
{
  MALFORMED, /* or not for a client to send */
  REQUEST,
  DANGEROUS, /* a good request, but one that writes */
} Verdict;

static gboolean
writes (const FscItem *item)
{
  return (item->flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | __O_TMPFILE)) != 0;
}

/* What is to come of a packet after the handshake. */
static Verdict
judge (const guint8 *bytes, size_t length)
{
  FscTestMessage message;
  Verdict verdict = MALFORMED;

  if (fsc_test_message_decode (&message, bytes, length, 0) < 0)
    return MALFORMED;
  switch (message.header.opcode)
    {
    case FSC_OP_OPEN:
      verdict = REQUEST;
      for (guint i = 0; i < message.n_records; i++)
        if (writes (&message.records[i].item))
          verdict = DANGEROUS;
      for (guint i = 0; i < message.n_records; i++)
        if (message.records[i].item.mount_length > 0 || message.records[i].item.resume.length > 0
            || message.records[i].item.validator.length > 0
            || (message.records[i].item.options
                & (FSC_OPTIONS_OF_SERVICE | FSC_OPTION_DIGEST | FSC_OPTION_PROGRESS
                   | FSC_OPTION_TAKE))
                   != 0)
          verdict = MALFORMED; /* only the service tells openers; features that are not in force */
      break;
    case FSC_OP_GIVE_BACK:
    case FSC_OP_CANCEL:
    case FSC_OP_DROP:
    case FSC_OP_LIST:
    case FSC_OP_HOLDERS:
    case FSC_OP_STATUS:
    case FSC_OP_PING:
    case FSC_OP_SET:
      verdict = REQUEST;
      break;
    case FSC_OP_PIN:
    case FSC_OP_INFO:
      verdict = message.target.is_mount ? MALFORMED : REQUEST;
      break;
    default:
      break;
    }
  fsc_test_message_clear (&message);
  return verdict;
}

/* Sends it, unless it would write to this machine's files, and checks what comes of it. */
static void
try (Fixture *fixture, const char *name, const guint8 *bytes, size_t length)
{
  Verdict verdict = judge (bytes, length);

  if (verdict == DANGEROUS)
    return;
  if (is_accepted (fixture, bytes, length, NULL, 0) == (verdict == REQUEST))
    return;
  g_test_message ("%s, %zu bytes", name, length);
  g_test_fail ();
}

/* Descriptors of each kind, to send where none is wanted */

typedef struct
{
  int kinds[8];
  int many[FSC_FDS_MAX]; /* of these, in turn */
  int write_end;
} Zoo;

static void
zoo_init (Zoo *zoo, Fixture *fixture)
{
  int ends[2];

  g_assert_no_errno (pipe2 (ends, O_CLOEXEC));
  zoo->write_end = ends[1];
  zoo->kinds[0] = ends[0];
  zoo->kinds[1] = open (fixture->path, O_RDWR | O_CLOEXEC);
  zoo->kinds[2] = open ("/dev/null", O_RDWR | O_CLOEXEC);
  zoo->kinds[3] = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  zoo->kinds[4] = memfd_create ("zoo", MFD_CLOEXEC);
  zoo->kinds[5] = epoll_create1 (EPOLL_CLOEXEC);
  zoo->kinds[6] = open ("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  zoo->kinds[7] = dup (ends[0]);
  for (guint i = 0; i < G_N_ELEMENTS (zoo->kinds); i++)
    g_assert_cmpint (zoo->kinds[i], >=, 0);
  for (guint i = 0; i < FSC_FDS_MAX; i++)
    zoo->many[i] = zoo->kinds[i % G_N_ELEMENTS (zoo->kinds)];
}

static void
zoo_clear (Zoo *zoo)
{
  for (guint i = 0; i < G_N_ELEMENTS (zoo->kinds); i++)
    close (zoo->kinds[i]);
  close (zoo->write_end);
}

/* Tests: bytes */

static void
test_vectors (Fixture *fixture)
{
  g_autoptr (GPtrArray) good = load_vectors ("");
  g_autoptr (GPtrArray) bad = load_vectors ("malformed");
  Zoo zoo;

  zoo_init (&zoo, fixture);
  for (guint i = 0; i < good->len; i++)
    {
      const Vector *vector = good->pdata[i];

      try (fixture, vector->name, vector->bytes, vector->length);
    }
  for (guint i = 0; i < bad->len; i++)
    {
      const Vector *vector = bad->pdata[i];

      if (is_accepted (fixture, vector->bytes, vector->length, zoo.many, vector->n_fds))
        {
          g_test_message ("%s", vector->name);
          g_test_fail ();
        }
    }
  zoo_clear (&zoo);
}

/* Each golden packet, ended early at every length, and with something after it. */
static void
test_lengths (Fixture *fixture)
{
  g_autoptr (GPtrArray) vectors = load_vectors ("");

  for (guint i = 0; i < vectors->len; i++)
    {
      const Vector *vector = vectors->pdata[i];
      g_autofree guint8 *longer = g_malloc0 (vector->length + 4);
      size_t step = MAX (1, vector->length / 60);

      for (size_t length = 1; length < vector->length; length += step)
        g_assert_false (is_accepted (fixture, vector->bytes, length, NULL, 0));
      memcpy (longer, vector->bytes, vector->length);
      g_assert_false (is_accepted (fixture, longer, vector->length + 4, NULL, 0));
    }
}

static void
mutate (GRand *rand, guint8 *bytes, size_t length)
{
  static const guint8 edges[] = { 0, 1, 0x7f, 0x80, 0xff };

  for (int n = g_rand_int_range (rand, 1, 4); n > 0; n--)
    {
      /* Mostly in the head, where lengths and counts are. */
      size_t end = g_rand_boolean (rand) ? MIN (length, 48) : length;
      guint8 *at = &bytes[g_rand_int_range (rand, 0, (gint32) end)];

      switch (g_rand_int_range (rand, 0, 4))
        {
        case 0:
          *at ^= (guint8) (1u << g_rand_int_range (rand, 0, 8));
          break;
        case 1:
          *at = edges[g_rand_int_range (rand, 0, G_N_ELEMENTS (edges))];
          break;
        case 2:
          *at = (guint8) g_rand_int (rand);
          break;
        default:
          *at = (guint8) (*at + (g_rand_boolean (rand) ? 1 : -1));
        }
    }
}

static void
test_mutants (Fixture *fixture)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  g_autoptr (GPtrArray) vectors = load_vectors ("");

  for (guint i = 0; i < fsc_test_scale (MUTANTS); i++)
    {
      const Vector *vector = vectors->pdata[i % vectors->len];
      g_autofree guint8 *bytes = g_memdup2 (vector->bytes, vector->length);

      mutate (rand, bytes, vector->length);
      try (fixture, vector->name, bytes, vector->length);
      if (i % 500 == 0)
        assert_served (fixture);
    }
  g_assert_cmpuint (fixture->n_refused, >, fixture->n_heard / 10);
}

static void
test_noise (Fixture *fixture)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  static guint8 bytes[FSC_PACKET_MAX];

  for (guint i = 0; i < fsc_test_scale (NOISE); i++)
    {
      size_t length = (size_t) g_rand_int_range (rand, 1, i % 10 == 0 ? FSC_PACKET_MAX : 200);

      for (size_t j = 0; j < length; j++)
        bytes[j] = (guint8) g_rand_int (rand);
      if (i % 2 == 0 && length >= 16) /* with a good header */
        {
          guint16 opcode = (guint16) g_rand_int_range (rand, 1, FSC_OP_LAST + 1);
          guint32 body = (guint32) length - 16;

          memset (bytes, 0, 16);
          memcpy (bytes, &opcode, sizeof opcode);
          memcpy (bytes + 4, &i, sizeof i);
          memcpy (bytes + 8, &body, sizeof body);
        }
      try (fixture, "noise", bytes, length);
    }
}

static void
test_sizes (Fixture *fixture)
{
  g_autofree guint8 *large = g_malloc0 (1 << 20);
  const size_t sizes[] = { FSC_PACKET_MAX + 1, FSC_PACKET_MAX + 16, 100000, 200000 };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      int fd = join (fixture), size = 1 << 20;

      setsockopt (fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
      fsc_test_write_empty (large, sizes[i], FSC_OP_PING, 1); /* a good one, then zeros */
      send_raw (fd, large, sizes[i], NULL, 0);
      g_assert_false (is_heard (fixture, fd));
    }
  for (guint i = 0; i < 100; i++) /* nothing at all */
    g_assert_false (is_accepted (fixture, large, 0, NULL, 0));
}

/* Tests: descriptors */

static size_t
write_with_count (guint8 *buffer, FscOpcode opcode, guint n_fds)
{
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, 64);
  return (size_t) fsc_writer_finish (&writer, opcode, 7, n_fds);
}

/* Nobody asked for them: whatever they are, however many, whether the header tells of them or not.
 */
static void
test_descriptors (Fixture *fixture)
{
  const guint counts[] = { 1, 2, 3, 64, 252, 253 };
  guint8 packet[64];
  Zoo zoo;

  zoo_init (&zoo, fixture);
  for (guint round = 0; round < 20; round++)
    {
      for (guint i = 0; i < G_N_ELEMENTS (zoo.kinds); i++)
        for (guint n = 0; n <= 1; n++)
          {
            size_t length = write_with_count (packet, FSC_OP_PING, n);

            g_assert_false (is_accepted (fixture, packet, length, &zoo.kinds[i], 1));
            g_assert_false (is_accepted_early (fixture, packet, length, &zoo.kinds[i], 1));
          }
      for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
        {
          g_assert_false (is_accepted (fixture, packet, write_with_count (packet, FSC_OP_STATUS, 0),
                                       zoo.many, counts[i]));
          g_assert_false (is_accepted (fixture, packet,
                                       write_with_count (packet, FSC_OP_OPENED, counts[i]),
                                       zoo.many, counts[i]));
        }
      /* Announced, but not there. */
      g_assert_false (
          is_accepted (fixture, packet, write_with_count (packet, FSC_OP_PING, 1), NULL, 0));
    }
  zoo_clear (&zoo);
}

/* The last reference to a socket that lingers is in a packet, and whoever drops that has to wait.
 * The service is stopped until that is so. */
static void
send_lingering (Fixture *fixture, guint highest, guint with_hello, guint with_ping)
{
  FscHello hello = { .magic = FSC_PROTOCOL_MAGIC, .lowest = 1, .highest = highest };
  int fd = fsc_test_raw_connect (fixture->service->socket);
  int peer, lingering = fsc_test_make_lingering (&peer);
  int fds[3] = { lingering, lingering, lingering };
  guint8 packet[64];
  FscWriter writer;

  g_assert_no_errno (kill (fixture->service->pid, SIGSTOP));
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_hello (&writer, &hello);
  g_assert_true (send_raw (fd, packet,
                           (size_t) fsc_writer_finish (&writer, FSC_OP_HELLO, 0, with_hello > 0),
                           fds, with_hello));
  g_assert_true (send_raw (fd, packet, write_with_count (packet, FSC_OP_PING, 0), fds, with_ping));
  close (lingering);
  g_assert_no_errno (kill (fixture->service->pid, SIGCONT));

  alarm (5);
  g_assert_false (is_heard (fixture, fd));
  for (guint i = 0; i < 10; i++)
    g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  alarm (0);
  close (peer);
}

static void
test_lingering (Fixture *fixture)
{
  for (guint n = 1; n <= 3; n++)
    {
      send_lingering (fixture, FSC_PROTOCOL_HIGHEST, 0, n);
      send_lingering (fixture, FSC_PROTOCOL_HIGHEST, n, 0);
      send_lingering (fixture, 0, 0, n); /* it is turned away before it is read */
    }
}

/* Says HELLO with these; returns whether it was welcome. */
static gboolean
is_welcome (Fixture *fixture, const int *fds, guint n_fds)
{
  FscHello hello = { .magic = FSC_PROTOCOL_MAGIC, .lowest = 1, .highest = 1, .name = { "zoo", 3 } };
  int fd = fsc_test_raw_connect (fixture->service->socket);
  guint8 packet[64];
  FscWriter writer;

  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_hello (&writer, &hello);
  send_raw (fd, packet, (size_t) fsc_writer_finish (&writer, FSC_OP_HELLO, 0, n_fds), fds, n_fds);
  return is_heard (fixture, fd);
}

static void
test_hello_descriptors (Fixture *fixture)
{
  int root = open ("/", O_PATH | O_CLOEXEC), file = open (fixture->path, O_PATH | O_CLOEXEC);
  int pair[2] = { root, root };
  Zoo zoo;

  zoo_init (&zoo, fixture);
  g_assert_true (is_welcome (fixture, NULL, 0));
  g_assert_true (is_welcome (fixture, &root, 1));
  g_assert_true (is_welcome (fixture, &file, 1)); /* another file tree */
  for (guint round = 0; round < 50; round++)
    {
      for (guint i = 0; i < G_N_ELEMENTS (zoo.kinds); i++)
        g_assert_false (is_welcome (fixture, &zoo.kinds[i], 1));
      g_assert_false (is_welcome (fixture, pair, 2));
      g_assert_false (is_welcome (fixture, zoo.many, FSC_FDS_MAX));
    }
  zoo_clear (&zoo);
  close (root);
  close (file);
}

/* The client that sends its credentials as well is odd, and no enemy. */
static void
test_credentials (Fixture *fixture)
{
  union
  {
    struct cmsghdr header;
    char bytes[CMSG_SPACE (sizeof (struct ucred)) + CMSG_SPACE (sizeof (int))];
  } control = { 0 };
  struct ucred self = { getpid (), getuid (), getgid () };
  guint8 packet[64];
  size_t length = fsc_test_write_empty (packet, sizeof packet, FSC_OP_PING, 1);
  struct iovec iov = { packet, length };
  struct msghdr message = { .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = CMSG_SPACE (sizeof self) };
  struct cmsghdr *header = CMSG_FIRSTHDR (&message);
  int fd = join (fixture), null = open ("/dev/null", O_RDONLY | O_CLOEXEC);

  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_CREDENTIALS;
  header->cmsg_len = CMSG_LEN (sizeof self);
  memcpy (CMSG_DATA (header), &self, sizeof self);
  g_assert_cmpint (sendmsg (fd, &message, MSG_NOSIGNAL), ==, length);
  g_assert_true (is_heard (fixture, fd));

  /* With a descriptor beside them. */
  message.msg_controllen = sizeof control;
  header = CMSG_NXTHDR (&message, header);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN (sizeof null);
  memcpy (CMSG_DATA (header), &null, sizeof null);
  fd = join (fixture);
  if (sendmsg (fd, &message, MSG_NOSIGNAL) < 0) /* the kernel turns descriptors away */
    {
      g_assert_cmpint (errno, ==, EPERM);
      g_assert_true (is_heard (fixture, fd));
    }
  else
    g_assert_false (is_heard (fixture, fd));
  close (null);
}

/* Tests: order */

static void
test_before_hello (Fixture *fixture)
{
  g_autoptr (GPtrArray) vectors = load_vectors ("");

  for (guint i = 0; i < vectors->len; i++)
    {
      const Vector *vector = vectors->pdata[i];
      int fd = fsc_test_raw_connect (fixture->service->socket);

      send_raw (fd, vector->bytes, vector->length, NULL, 0);
      if (g_str_has_prefix (vector->name, "hello-"))
        is_heard (fixture, fd);
      else
        g_assert_false (is_heard (fixture, fd));
    }
}

static void
test_hello_twice (Fixture *fixture)
{
  int root = open ("/", O_PATH | O_CLOEXEC);

  for (guint i = 0; i < 100; i++)
    {
      int fd = join (fixture);

      if (fsc_test_send_hello (fd, i % 2 == 0 ? root : -1) == -EPERM)
        close (fd); /* the kernel turns descriptors away */
      else
        g_assert_false (is_heard (fixture, fd));
    }
  close (root);
}

/* What only a service or an opener may say; golden packets, so that nothing else is wrong. */
static void
test_not_for_clients (Fixture *fixture)
{
  g_autoptr (GPtrArray) vectors = load_vectors ("");
  guint n = 0;
  Zoo zoo;

  zoo_init (&zoo, fixture);
  for (guint i = 0; i < vectors->len; i++)
    {
      const Vector *vector = vectors->pdata[i];

      if (judge (vector->bytes, vector->length) != MALFORMED)
        continue;
      g_assert_false (
          is_accepted (fixture, vector->bytes, vector->length, zoo.many, vector->n_fds));
      n++;
    }
  g_assert_cmpuint (n, >, 20);
  zoo_clear (&zoo);
}

static void
test_versions (Fixture *fixture)
{
  const FscHello hellos[] = {
    { .magic = 0, .lowest = 1, .highest = 1 },
    { .magic = FSC_PROTOCOL_MAGIC, .lowest = 0, .highest = 0 },
    { .magic = FSC_PROTOCOL_MAGIC, .lowest = 2, .highest = 65535 },
    { .magic = FSC_PROTOCOL_MAGIC, .lowest = 2, .highest = 1 },
    { .magic = FSC_PROTOCOL_MAGIC, .lowest = 65535, .highest = 0 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (hellos); i++)
    {
      int fd = fsc_test_raw_connect (fixture->service->socket);
      guint8 packet[64];
      FscWriter writer;

      fsc_writer_begin (&writer, packet, sizeof packet);
      fsc_codec_put_hello (&writer, &hellos[i]);
      send_raw (fd, packet, (size_t) fsc_writer_finish (&writer, FSC_OP_HELLO, 0, 0), NULL, 0);
      g_assert_false (is_heard (fixture, fd));
    }
}

/* Many who begin and never go on: they are none of the others' business. */
static void
test_half_open (Fixture *fixture)
{
  int root = open ("/", O_PATH | O_CLOEXEC);
  int fds[HALF_OPEN];

  for (guint i = 0; i < HALF_OPEN; i++)
    {
      fds[i] = fsc_test_raw_connect (fixture->service->socket);
      if (i % 3 == 1)
        fsc_test_send_hello (fds[i], root); /* and does not read the answer */
      if (i % 3 == 2)
        shutdown (fds[i], SHUT_WR);
    }
  for (guint i = 0; i < 100; i++)
    assert_served (fixture);
  for (guint i = 0; i < HALF_OPEN; i++)
    close (fds[i]);
  close (root);
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *path;
    FixtureFunc func;
  } tests[] = {
    { "/malformed/vectors", test_vectors },
    { "/malformed/lengths", test_lengths },
    { "/malformed/mutants", test_mutants },
    { "/malformed/noise", test_noise },
    { "/malformed/sizes", test_sizes },
    { "/malformed/descriptors", test_descriptors },
    { "/malformed/hello-descriptors", test_hello_descriptors },
    { "/malformed/lingering", test_lingering },
    { "/malformed/credentials", test_credentials },
    { "/malformed/before-hello", test_before_hello },
    { "/malformed/hello-twice", test_hello_twice },
    { "/malformed/not-for-clients", test_not_for_clients },
    { "/malformed/versions", test_versions },
    { "/malformed/half-open", test_half_open },
  };

  fsc_test_init (&argc, &argv);
  fsc_process_raise_limit ();
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add_data_func (tests[i].path, (gconstpointer) tests[i].func, run_fixture);
  return g_test_run ();
}
