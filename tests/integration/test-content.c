/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content that never changes, from an opener of the test's own to programs: what they are told of
 * it, that equal content is kept once, that what is demanded is given and nothing else, and how far
 * it has come while it takes long.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/codec.h"
#include "tests/harness/program.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Puts the opener in the place of open-file. */
static void
use_opener (FscTestService *service)
{
  g_autofree char *opener = fsc_test_build_path ("tests/integration/content-opener");
  g_autofree char *link = NULL;

  service->opener_dir = g_build_filename (service->dir, "openers", NULL);
  link = g_build_filename (service->opener_dir, "open-file", NULL);
  g_assert_no_errno (g_mkdir (service->opener_dir, 0700));
  g_assert_no_errno (symlink (opener, link));
}

static void
run_with (const char *config, FscTestServiceFunc func)
{
  FscTestService *service = fsc_test_service_prepare (config, NULL);

  use_opener (service);
  fsc_test_service_start (service);
  func (service);
  fsc_test_service_free (service);
}

static void
run (gconstpointer func)
{
  run_with (NULL, (FscTestServiceFunc) func);
}

static int
open_shared (FscacheClient *client, const char *path, FscacheReply *reply)
{
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };

  return fscache_open_with (client, &request, reply);
}

static int
open_demanding (FscacheClient *client, const char *path, const char *text, FscacheReply *reply)
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  guint8 digest[FSCACHE_DIGEST_SIZE];
  gsize size = sizeof digest;
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED, .digest = digest };

  g_checksum_update (checksum, (const guchar *) text, -1);
  g_checksum_get_digest (checksum, digest, &size);
  return fscache_open_with (client, &request, reply);
}

/* It is known to be this text. */
static void
assert_content (const FscacheContent *content, const char *text, gboolean is_sealed)
{
  g_autofree char *expected = g_compute_checksum_for_string (G_CHECKSUM_SHA256, text, -1);
  char digest[2 * FSCACHE_DIGEST_SIZE + 1];

  g_assert_true (content->is_known);
  g_assert_cmpint (content->is_sealed, ==, is_sealed);
  g_assert_cmpuint (content->size, ==, strlen (text));
  for (guint i = 0; i < FSCACHE_DIGEST_SIZE; i++)
    g_snprintf (digest + 2 * i, 3, "%02x", content->digest[i]);
  g_assert_cmpstr (digest, ==, expected);
}

static void
assert_reads (int fd, const char *text)
{
  char buffer[64];
  ssize_t length = pread (fd, buffer, sizeof buffer, 0);

  g_assert_cmpmem (buffer, (size_t) MAX (length, 0), text, strlen (text));
}

/* What programs are told */

static void
test_sealed (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "some content");
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply first, hit, own;
  struct stat st;

  g_assert_cmpint (open_shared (client, path, &first), >=, 0);
  g_assert_cmpint (first.source, ==, FSCACHE_SOURCE_OPENED);
  assert_content (&first.content, "some content", TRUE);
  g_assert_no_errno (stat (path, &st));
  g_assert_cmpmem (first.content.validator, first.content.validator_length, &st.st_ino,
                   sizeof st.st_ino);
  assert_reads (first.fd, "some content");
  g_assert_cmpint (fcntl (first.fd, F_GET_SEALS), ==, SEALS);
  g_assert_cmpint (pwrite (first.fd, "x", 1, 0), <, 0);
  g_assert_cmpint (errno, ==, EPERM);

  g_assert_cmpint (open_shared (client, path, &hit), >=, 0);
  g_assert_cmpint (hit.source, ==, FSCACHE_SOURCE_CACHE);
  assert_content (&hit.content, "some content", TRUE);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &own), >=, 0);
  g_assert_cmpint (own.sharing, ==, FSCACHE_INDEPENDENT);
  assert_content (&own.content, "some content", TRUE);
  g_assert_cmpint (lseek (own.fd, 5, SEEK_SET), ==, 5);
  g_assert_cmpint (lseek (hit.fd, 0, SEEK_CUR), ==, 0);

  fscache_reply_clear (client, &first);
  fscache_reply_clear (client, &hit);
  fscache_reply_clear (client, &own);
  fscache_disconnect (client);
}

/* When the source changes there is other content; what was given stays as it was. */
static void
test_changes (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "before");
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply before, after;

  g_assert_cmpint (open_shared (client, path, &before), >=, 0);
  g_assert_true (g_file_set_contents (path, "after that", -1, NULL));
  g_assert_cmpint (open_shared (client, path, &after), >=, 0);
  assert_content (&before.content, "before", TRUE);
  assert_content (&after.content, "after that", TRUE);
  assert_reads (before.fd, "before");
  assert_reads (after.fd, "after that");
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), ==, strlen ("after that"));
  fscache_reply_clear (client, &before);
  fscache_reply_clear (client, &after);
  fscache_disconnect (client);
}

/* A file is not sealed; and of what the service has not itself only the client knows. */
static void
test_not_sealed (FscTestService *service)
{
  static const struct
  {
    const char *name;
    gboolean is_sealed;
  } kinds[] = { { "a.file", FALSE }, { "a.held", TRUE } };

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autofree char *path = fsc_test_service_write (service, kinds[i].name, "some content");
      FscacheClient *client = fsc_test_service_connect (service);
      FscacheReply reply;

      g_assert_cmpint (open_shared (client, path, &reply), >=, 0);
      assert_content (&reply.content, "some content", kinds[i].is_sealed);
      assert_reads (reply.fd, "some content");
      fscache_reply_clear (client, &reply);
      fscache_disconnect (client);
    }
}

static void
test_unknown (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "a.plain", "some content");
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply;

  g_assert_cmpint (open_shared (client, path, &reply), >=, 0);
  g_assert_false (reply.content.is_known);
  fscache_reply_clear (client, &reply);
  g_assert_cmpint (open_demanding (client, path, "some content", &reply), ==, -EOPNOTSUPP);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_BAD_REQUEST);
  fscache_disconnect (client);
}

/* An opener that gives out what is not as it says is ended. */
static void
test_lies (FscTestService *service)
{
  static const char *const names[] = { "a.open", "a.lie" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = fsc_test_service_write (service, names[i], "some content");
      g_autofree char *good = fsc_test_service_write (service, "good", "some content");
      FscacheClient *client = fsc_test_service_connect (service);
      FscacheReply reply;

      g_assert_cmpint (open_shared (client, path, &reply), ==, -EIO);
      g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OPENER_FAILED);
      g_test_message ("%s", reply.message);
      g_assert_nonnull (strstr (reply.message, "gave out content"));
      g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), ==, 0);
      g_assert_cmpint (open_shared (client, good, &reply), >=, 0);
      fscache_reply_clear (client, &reply);
      g_assert_cmpint (fscache_drop (client, good, NULL), ==, 1);
      fscache_disconnect (client);
    }
}

/* Kept once */

static ino_t
get_inode (FscacheClient *client, const char *path)
{
  FscacheReply reply;
  struct stat st;

  g_assert_cmpint (open_shared (client, path, &reply), >=, 0);
  g_assert_no_errno (fstat (reply.fd, &st));
  fscache_reply_clear (client, &reply);
  return st.st_ino;
}

static void
test_once (FscTestService *service)
{
  g_autofree char *a = fsc_test_service_write (service, "a", "the same");
  g_autofree char *b = fsc_test_service_write (service, "b", "the same");
  g_autofree char *c = fsc_test_service_write (service, "c", "another!");
  FscacheClient *client = fsc_test_service_connect (service);
  ino_t inode = get_inode (client, a);

  g_assert_cmpuint (get_inode (client, b), ==, inode);
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), ==, 8);
  g_assert_cmpuint (get_inode (client, c), !=, inode);
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), ==, 16);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 3);

  g_assert_cmpint (fscache_drop (client, a, NULL), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), ==, 16);
  g_assert_cmpuint (get_inode (client, b), ==, inode);
  g_assert_cmpint (fscache_drop (client, b, NULL), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), ==, 8);
  fscache_disconnect (client);
}

/* Borrowing: a handle is kept for as long as it is this content. */
static void
test_borrow (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "a.ttl", "some content");
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheBorrow first, kept;

  g_assert_cmpint (fscache_borrow (client, path, &first, NULL), >=, 0);
  g_assert_cmpint (fscache_borrow (client, path, &kept, NULL), ==, first.fd);
  g_assert_cmpint (kept.source, ==, FSCACHE_SOURCE_KEPT);
  assert_reads (kept.fd, "some content");
  fscache_return (client, &first);
  fscache_return (client, &kept);
  fscache_disconnect (client);
}

/* Demanded */

static void
test_digest (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "some content");
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply;

  for (guint i = 0; i < 2; i++) /* a miss, and a hit */
    {
      g_assert_cmpint (open_demanding (client, path, "some content", &reply), >=, 0);
      assert_content (&reply.content, "some content", TRUE);
      fscache_reply_clear (client, &reply);
      g_assert_cmpint (open_demanding (client, path, "other content", &reply), ==, -EBADMSG);
      g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OTHER_CONTENT);
      g_assert_false (reply.content.is_known);
      g_assert_nonnull (strstr (reply.message, "has other content"));
    }

  g_assert_true (g_file_set_contents (path, "other content", -1, NULL));
  g_assert_cmpint (open_demanding (client, path, "other content", &reply), >=, 0);
  fscache_reply_clear (client, &reply);
  g_assert_cmpint (open_demanding (client, path, "some content", &reply), ==, -EBADMSG);
  fscache_disconnect (client);
}

/* Told */

typedef struct
{
  FscTestService *service;
  const char *path;
  guint n;
  guint64 done;
  guint64 total;
  gboolean wants;
} Waiting;

static void
take_progress (uint64_t done, uint64_t total, void *data)
{
  Waiting *waiting = data;

  g_assert_cmpuint (done, >, waiting->done);
  waiting->done = done;
  waiting->total = total;
  waiting->n++;
}

static gpointer
wait_for_it (gpointer data)
{
  Waiting *waiting = data;
  FscacheClient *client = fsc_test_service_connect (waiting->service);
  FscacheRequest request = { .uri = waiting->path,
                             .sharing = FSCACHE_SHARED,
                             .progress = waiting->wants ? take_progress : NULL,
                             .progress_data = waiting };
  FscacheReply reply;

  g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
  assert_content (&reply.content, "some content", TRUE);
  fscache_reply_clear (client, &reply);
  fscache_disconnect (client);
  return NULL;
}

/* All who wait for one opening are told, whenever they have come, if they want to be. */
static void
test_progress (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "a.slow", "some content");
  Waiting waiting[5] = { 0 };
  GThread *threads[5];

  for (guint i = 0; i < G_N_ELEMENTS (waiting); i++)
    {
      waiting[i] = (Waiting){ .service = service, .path = path, .wants = i != 2 };
      threads[i] = g_thread_new ("waiting", wait_for_it, &waiting[i]);
      if (i == 3)
        g_usleep (G_USEC_PER_SEC / 4); /* the last one comes when it has begun */
    }
  for (guint i = 0; i < G_N_ELEMENTS (waiting); i++)
    {
      g_thread_join (threads[i]);
      g_test_message ("told %u times, at last %" G_GUINT64_FORMAT, waiting[i].n, waiting[i].done);
      g_assert_cmpuint (waiting[i].n, <=, 12); /* in a second */
      if (i == 2)
        g_assert_cmpuint (waiting[i].n, ==, 0);
      else
        {
          g_assert_cmpuint (waiting[i].n, >=, 2);
          g_assert_cmpuint (waiting[i].total, ==, 2000);
        }
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "opens"), ==, 1);
}

/* What gets on is not late; who does not want to wait for it need not. */
static void
test_deadline (FscTestService *service)
{
  g_autofree char *slow = fsc_test_service_write (service, "a.slow", "some content");
  g_autofree char *forever = fsc_test_service_write (service, "a.forever", "some content");
  Waiting waiting = { .service = service, .path = slow, .wants = TRUE };
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheRequest request = { .uri = forever, .timeout_ms = 1000 };
  FscacheReply reply;

  wait_for_it (&waiting);
  g_assert_cmpint (fscache_open_with (client, &request, &reply), ==, -ETIMEDOUT);
  g_assert_nonnull (strstr (reply.message, "within 1000 ms"));
  fscache_disconnect (client);
}

static void
test_late (void)
{
  run_with ("[lanes]\ndeadline=0.5\n", test_deadline);
}

/* Other clients */

static int
greet (FscTestService *service, guint32 features)
{
  FscTestMessage hello
      = { .header = { .opcode = FSC_OP_HELLO, .n_fds = 1 },
          .hello
          = { .magic = FSC_PROTOCOL_MAGIC, .lowest = 1, .highest = 1, .features = features } };
  int root = open ("/", O_PATH | O_CLOEXEC);
  int fd = fsc_test_raw_connect (service->socket);
  g_auto (FscTestPacket) welcome = { 0 };

  fsc_test_raw_send (fd, &hello, &root);
  close (root);
  g_assert_true (fsc_test_raw_receive (fd, &welcome));
  g_assert_cmpuint (welcome.message.welcome.features, ==, features);
  return fd;
}

static void
assert_listed (int fd, gboolean is_known)
{
  const FscTestMessage list = { .header = { .opcode = FSC_OP_LIST, .serial = 2 } };
  g_auto (FscTestPacket) packet = { 0 };

  fsc_test_raw_send (fd, &list, NULL);
  g_assert_true (fsc_test_raw_receive (fd, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_ENTRIES);
  g_assert_cmpuint (packet.message.n_records, ==, 1);
  g_assert_cmpint (packet.message.records[0].entry.content.is_known, ==, is_known);
}

/* A client that knows nothing of content is told nothing of it: not one byte is other than for a
 * file. */
static void
test_old_client (FscTestService *service)
{
  static const guint32 features[] = { 0, FSC_FEATURE_CONTENT };
  g_autofree char *path = fsc_test_service_write (service, "file", "some content");
  g_autofree char *uri = g_strconcat ("file://", path, NULL);
  const FscItem item = { .uri = { uri, strlen (uri) }, .sharing = FSC_SHARING_SHARED };

  for (guint i = 0; i < G_N_ELEMENTS (features); i++)
    {
      int fd = greet (service, features[i]);
      g_auto (FscTestPacket) packet = { 0 };
      const FscResult *result;

      fsc_test_raw_open (fd, &item, &packet);
      result = &packet.message.records[0].result;
      g_assert_cmpint (result->code, ==, FSC_CODE_OK);
      g_assert_cmpint (result->content.is_known, ==, features[i] != 0);
      g_assert_cmpuint (result->validator.length, ==, i * sizeof (ino_t));
      assert_listed (fd, features[i] != 0);
      close (fd);
    }
}

/* Options without their feature are malformed. */
static void
test_without_feature (FscTestService *service)
{
  static const guint32 options[] = { FSC_OPTION_DIGEST, FSC_OPTION_PROGRESS };
  static const guint32 others[] = { FSC_FEATURE_PROGRESS, FSC_FEATURE_CONTENT };
  const char digest[FSC_DIGEST_SIZE] = { 0 };

  for (guint i = 0; i < G_N_ELEMENTS (options); i++)
    {
      FscTestRecord record = { .item = { .uri = { "file:///x", 9 }, .options = options[i] } };
      const FscTestMessage request = { .header = { .opcode = FSC_OP_OPEN, .serial = 1 },
                                       .n_records = 1,
                                       .records = &record };
      int fd = greet (service, others[i]);
      FscTestPacket packet = { 0 };

      if (options[i] == FSC_OPTION_DIGEST)
        record.item.validator = (FscBytes){ digest, sizeof digest };
      fsc_test_raw_send (fd, &request, NULL);
      g_assert_false (fsc_test_raw_receive (fd, &packet));
      close (fd);
    }
}

/* fscachectl */

/* It exits with `status` and says `part`: on stdout if it succeeds, else on stderr. */
static void
assert_ctl (FscTestService *service, const char *const *words, int status, const char *part)
{
  g_auto (FscTestProgram) result = { 0 };

  fsc_test_service_ctl (service, &result, words);
  fsc_test_program_assert_exit (&result, status);
  if (strstr (status == 0 ? result.out : result.error, part) == NULL)
    g_error ("\"%s%s\" does not say \"%s\"", result.out, result.error, part);
  if (status == 0)
    g_assert_cmpstr (result.error, ==, "");
}

static void
test_ctl (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "some content");
  g_autofree char *plain = fsc_test_service_write (service, "a.plain", "some content");
  g_autofree char *hex = g_compute_checksum_for_string (G_CHECKSUM_SHA256, "some content", -1);
  g_autofree char *digest = g_strconcat ("sha256:", hex, NULL);
  g_autofree char *json = g_strdup_printf ("\"digest\":\"%s\",\"sealed\":true", digest);
  g_autofree char *line = g_strdup_printf ("digest     %s", digest);
  g_autofree char *upper = g_ascii_strup (digest, -1);
  const char *wrong = "sha256:"
                      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

  assert_ctl (service, FSC_TEST_WORDS ("open", path), 0, line);
  assert_ctl (service, FSC_TEST_WORDS ("open", path), 0, "sealed     yes");
  assert_ctl (service, FSC_TEST_WORDS ("open", path), 0, "validator  0x");
  assert_ctl (service, FSC_TEST_WORDS ("open", "--json", path), 0, json);
  assert_ctl (service, FSC_TEST_WORDS ("open", "--json", plain), 0,
              "\"digest\":null,\"sealed\":false,\"validator\":null");
  assert_ctl (service, FSC_TEST_WORDS ("info", path), 0, line);
  assert_ctl (service, FSC_TEST_WORDS ("info", path), 0, "size       12\n");
  assert_ctl (service, FSC_TEST_WORDS ("info", "--json", path), 0, json);
  assert_ctl (service, FSC_TEST_WORDS ("list", path), 0, "    12 checked   sealed ");
  assert_ctl (service, FSC_TEST_WORDS ("list", plain), 0, "     - checked   - ");

  assert_ctl (service, FSC_TEST_WORDS ("cat", "--digest", digest, path), 0, "some content");
  assert_ctl (service, FSC_TEST_WORDS ("open", "--digest", upper, path), 0, line);
  assert_ctl (service, FSC_TEST_WORDS ("cat", "--digest", wrong, path), 1, "has other content");
  assert_ctl (service, FSC_TEST_WORDS ("open", "--digest", wrong, path), 1, "has other content");
  assert_ctl (service, FSC_TEST_WORDS ("open", "--digest", digest, plain), 1,
              "no digest that is known");
  assert_ctl (service, FSC_TEST_WORDS ("open", "--digest", hex, path), 2, "is no digest");
  assert_ctl (service, FSC_TEST_WORDS ("open", "--digest", "sha256:12", path), 2, "is no digest");
  wrong = "sha256:x123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  assert_ctl (service, FSC_TEST_WORDS ("open", "--digest", wrong, path), 2, "is no digest");
}

/* What fscachectl open writes to its terminal. */
static char *
open_at_terminal (FscTestService *service, const char *path)
{
  g_autofree char *program = fsc_test_build_path ("fscache/ctl/fscachectl");
  int master = posix_openpt (O_RDWR | O_NOCTTY | O_CLOEXEC);
  GString *written = g_string_new (NULL);
  char buffer[256];
  ssize_t length;
  int slave, status;
  pid_t pid;

  g_assert_no_errno (grantpt (master));
  g_assert_no_errno (unlockpt (master));
  slave = open (ptsname (master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  g_assert_cmpint (slave, >=, 0);
  pid = fork ();
  if (pid == 0)
    {
      int nowhere = open ("/dev/null", O_WRONLY);

      dup2 (nowhere, STDOUT_FILENO);
      dup2 (slave, STDERR_FILENO);
      execl (program, program, "--socket", service->socket, "open", path, NULL);
      _exit (127);
    }
  close (slave);
  while ((length = read (master, buffer, sizeof buffer)) > 0) /* EIO when it has ended */
    g_string_append_len (written, buffer, length);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
  close (master);
  return g_string_free (written, FALSE);
}

static void
test_bar (FscTestService *service)
{
  g_autofree char *slow = fsc_test_service_write (service, "a.slow", "some content");
  g_autofree char *quick = fsc_test_service_write (service, "quick", "some content");
  g_autofree char *bar = open_at_terminal (service, slow);
  g_autofree char *none = open_at_terminal (service, quick);
  g_autofree char *hit = open_at_terminal (service, slow);

  g_test_message ("%s", bar);
  g_assert_nonnull (strstr (bar, "a.slow [#"));
  g_assert_nonnull (strstr (bar, " of 2.0K  "));
  g_assert_true (g_str_has_suffix (bar, "\r\033[K"));
  g_assert_cmpstr (none, ==, "");
  g_assert_cmpstr (hit, ==, "");
}

#define ADD(name, func) g_test_add_data_func ("/content/" name, (gconstpointer) (func), run)

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  ADD ("sealed", test_sealed);
  ADD ("changes", test_changes);
  ADD ("not-sealed", test_not_sealed);
  ADD ("unknown", test_unknown);
  ADD ("lies", test_lies);
  ADD ("once", test_once);
  ADD ("borrow", test_borrow);
  ADD ("digest", test_digest);
  ADD ("progress", test_progress);
  g_test_add_func ("/content/deadline", test_late);
  ADD ("old-client", test_old_client);
  ADD ("without-feature", test_without_feature);
  ADD ("ctl", test_ctl);
  ADD ("bar", test_bar);
  return g_test_run ();
}
