/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Helpers: programs of somebody's own that open helper+NAME: URIs. The service gets from them what
 * they give, and nothing that they do harms it: odd-helper.c crashes, hangs, talks nonsense, and
 * gives what would hang whoever looks at it.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/fuse.h"
#include "tests/harness/namespace.h"
#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

typedef struct
{
  FscTestService *service;
  FscacheClient *client;
  char *starts; /* the file to which a helper appends that it was started */
} Stage;

static void
stage_init (Stage *stage, const char *more)
{
  g_autofree char *program = fsc_test_build_path ("tests/integration/odd-helper");
  g_autofree char *config = NULL;

  stage->service = fsc_test_service_prepare ("", NULL);
  stage->starts = g_build_filename (stage->service->dir, "starts", NULL);
  config = g_strdup_printf ("[lanes]\nopeners=2\n"
                            "[helper odd]\ncommand=%s\ndeadline=60\nttl=60\nopeners=1\n%s\n"
                            "[helper brief]\ncommand=%s\ndeadline=1\n"
                            "[helper mortal]\ncommand=%s '%s'\nopeners=1\n"
                            "[helper stuck]\ncommand=%s\ndeadline=0.3\nopeners=1\n"
                            "[helper none]\ncommand=/nonexistent/helper\n",
                            program, more, program, program, stage->starts, program);
  fsc_test_write (stage->service->config, config);
  fsc_test_service_start (stage->service);
  stage->client = fsc_test_service_connect (stage->service);
}

static void
stage_clear (Stage *stage)
{
  fscache_disconnect (stage->client);
  g_unlink (stage->starts);
  fsc_test_service_free (stage->service);
  g_free (stage->starts);
}

static void
run_stage (gconstpointer data)
{
  void (*func) (Stage *) = (void (*) (Stage *)) data;
  Stage stage;

  stage_init (&stage, "");
  func (&stage);
  stage_clear (&stage);
}

static int
open_shared (Stage *stage, const char *uri, FscacheReply *reply)
{
  FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED };

  return fscache_open_with (stage->client, &request, reply);
}

static void
assert_fails (Stage *stage, const char *uri, FscacheCode code, int error, const char *text)
{
  FscacheReply reply;

  g_assert_cmpint (open_shared (stage, uri, &reply), <, 0);
  g_test_message ("%s", reply.message);
  g_assert_cmpint (reply.code, ==, code);
  g_assert_cmpint (reply.error, ==, error);
  if (text != NULL)
    g_assert_nonnull (strstr (reply.message, text));
}

static void
assert_reads (Stage *stage, const char *uri, const char *content)
{
  g_autofree char *read = fsc_test_read (stage->client, uri, FSCACHE_SHARED);

  g_assert_cmpstr (read, ==, content);
}

static pid_t
get_pid (Stage *stage)
{
  g_autofree char *pid = fsc_test_read (stage->client, "helper+odd:pid", FSCACHE_SHARED);

  return atoi (pid);
}

static guint64
count (Stage *stage, const char *name)
{
  return fsc_test_service_counter (stage->service, name);
}

/* What goes well */

static void
count_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  guint *n = data;

  g_assert_cmpint (event->reply->error, ==, 0);
  g_assert_cmpint (event->reason, ==, *n == 0 ? FSCACHE_EVENT_INITIAL : FSCACHE_EVENT_REPLACED);
  close (event->reply->fd);
  ++*n;
}

/* Of what has neither a validator nor content that is known nobody can tell whether it is the same:
 * who watches it gets what is opened anew. As long as it holds there is nothing to tell. */
static void
test_watch (Stage *stage)
{
  const FscacheRequest holds = { .uri = "helper+odd:unsealed?x", .sharing = FSCACHE_SHARED };
  const FscacheRequest doubtful = { .uri = "helper+brief:unsealed?x", .sharing = FSCACHE_SHARED };
  gint64 end = g_get_monotonic_time () + 10 * G_USEC_PER_SEC;
  guint n_held = 0, n_doubtful = 0;

  g_assert_cmpint (fscache_watch (stage->client, &holds, count_event, &n_held, NULL), ==, 0);
  g_assert_cmpint (fscache_watch (stage->client, &doubtful, count_event, &n_doubtful, NULL), ==, 0);
  while (n_doubtful < 2 && g_get_monotonic_time () < end)
    {
      fscache_dispatch (stage->client);
      g_usleep (10000);
    }
  g_assert_cmpuint (n_doubtful, ==, 2);
  g_assert_cmpuint (n_held, ==, 1);
  g_assert_cmpuint (count (stage, "held"), ==, 2);
}

/* Memory that nobody can change is the service's; all else stays with the opener. */
static void
test_answers (Stage *stage)
{
  static const char *const kept[] = { "helper+odd:memory?a b", "helper+odd:unsealed?cd" };
  g_autofree char *path = fsc_test_service_write (stage->service, "file", "a file");
  g_autofree char *file = g_strconcat ("helper+odd:file?", path, NULL);
  FscacheReply reply;

  for (guint i = 0; i < G_N_ELEMENTS (kept); i++)
    {
      g_autofree char *uri = g_strdup (kept[i]);
      int first, second;

      for (char *c = uri; *c != '\0'; c++)
        if (*c == ' ')
          *c = '_'; /* a URI has no spaces */
      first = open_shared (stage, uri, &reply);
      g_assert_cmpint (first, >=, 0);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
      g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_TTL);
      g_assert_cmpint (reply.kind, ==, FSCACHE_KIND_REGULAR);
      second = open_shared (stage, uri, &reply);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
      g_assert_cmpuint (fsc_test_get_inode (first), ==, fsc_test_get_inode (second));
      g_assert_cmpuint (count (stage, "held"), ==, i);
      close (first);
      close (second);
    }
  assert_reads (stage, file, "a file");
  assert_reads (stage, file, "a file");
  g_assert_cmpuint (count (stage, "held"), ==, 2);
  g_assert_cmpuint (count (stage, "openers"), ==, 1);

  /* Independent: reopened in this process, as ever. */
  {
    g_autofree char *own = fsc_test_read (stage->client, file, FSCACHE_INDEPENDENT);

    g_assert_cmpstr (own, ==, "a file");
  }
  fsc_test_service_check_descriptors (stage->service);
}

/* Memory that it has sealed is content: it has a digest, can be demanded by it, and is kept once.
 */
static void
test_content (Stage *stage)
{
  static const char *const uris[]
      = { "helper+odd:memory?abc", "helper+odd:sealed-for-good?abc", "helper+brief:memory?abc" };
  guint8 digest[FSCACHE_DIGEST_SIZE];
  gsize size = sizeof digest;
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  FscacheReply reply;
  ino_t inode = 0;

  g_checksum_update (checksum, (const guchar *) "abc", 3);
  g_checksum_get_digest (checksum, digest, &size);
  for (guint i = 0; i < G_N_ELEMENTS (uris); i++)
    {
      const FscacheRequest request
          = { .uri = uris[i], .sharing = FSCACHE_SHARED, .digest = digest };
      ino_t own;

      g_assert_cmpint (fscache_open_with (stage->client, &request, &reply), >=, 0);
      g_assert_true (reply.content.is_known && reply.content.is_sealed);
      g_assert_cmpuint (reply.content.size, ==, 3);
      g_assert_cmpmem (reply.content.digest, sizeof digest, digest, sizeof digest);
      g_assert_cmphex (fcntl (reply.fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
      g_assert_cmphex (fcntl (reply.fd, F_GET_SEALS) & F_SEAL_SEAL, ==, F_SEAL_SEAL);
      own = fsc_test_get_inode (reply.fd);
      g_assert_true (inode == 0 || inode == own);
      inode = own;
      fscache_reply_clear (stage->client, &reply);
    }
  g_assert_cmpuint (count (stage, "bytes"), ==, 3);
  {
    const FscacheRequest request
        = { .uri = "helper+odd:memory?abd", .sharing = FSCACHE_SHARED, .digest = digest };

    g_assert_cmpint (fscache_open_with (stage->client, &request, &reply), ==, -EBADMSG);
    g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OTHER_CONTENT);
  }
  g_assert_cmpint (open_shared (stage, "helper+odd:unsealed?abc", &reply), >=, 0);
  g_assert_false (reply.content.is_known);
  fscache_reply_clear (stage->client, &reply);
}

/* It is asked whether what it has given is still right. */
static void
test_checks (Stage *stage)
{
  FscacheReply reply;
  int first = open_shared (stage, "helper+odd:checked?x", &reply);
  int second;

  g_assert_cmpint (first, >=, 0);
  second = open_shared (stage, "helper+odd:checked?x", &reply);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_CHECKED);
  g_assert_cmpuint (fsc_test_get_inode (first), ==, fsc_test_get_inode (second));
  g_assert_cmpuint (count (stage, "checks"), ==, 1);
  g_assert_cmpuint (count (stage, "watching"), ==, 0); /* nobody can watch it */
  close (first);
  close (second);
}

/* What has no name can be shared and lent, and not reopened. */
static void
test_nameless (Stage *stage)
{
  FscacheRequest request = { .uri = "helper+odd:event" };
  FscacheReply reply;
  guint64 value;
  int fd;

  g_assert_cmpint (fscache_open_with (stage->client, &request, &reply), <, 0);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NOT_REOPENABLE);
  fd = open_shared (stage, "helper+odd:event", &reply);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (read (fd, &value, sizeof value), ==, sizeof value);
  g_assert_cmpuint (value, ==, 7);
  close (fd);
}

static void
test_errors (Stage *stage)
{
  assert_fails (stage, "helper+odd:missing", FSCACHE_ERROR_SYSTEM, ENOENT,
                "cannot open helper+odd:missing: it is ?[31mnot? there");
  assert_fails (stage, "helper+odd:silent", FSCACHE_ERROR_SYSTEM, EACCES,
                "cannot open helper+odd:silent: Permission denied");
  assert_fails (stage, "helper+none:x", FSCACHE_ERROR_OPENER_FAILED, EIO,
                "the helper cannot be started: No such file or directory");
  assert_fails (stage, "helper+nosuch:x", FSCACHE_ERROR_UNKNOWN_SCHEME, EPROTONOSUPPORT,
                "helper+nosuch");
  g_assert_cmpuint (count (stage, "openers_failed"), ==, 0);
}

/* One process serves many requests. */
static void
test_stays (Stage *stage)
{
  pid_t pid = get_pid (stage);

  for (guint i = 0; i < 20; i++)
    g_assert_cmpint (get_pid (stage), ==, pid);
  assert_reads (stage, "helper+odd:progress?done", "done");
  g_assert_cmpint (get_pid (stage), ==, pid);
}

/* What goes wrong */

static void
test_dies (Stage *stage)
{
  static const struct
  {
    const char *uri, *text;
  } ends[] = {
    { "helper+odd:exit?3", "the helper ended with status 3" },
    { "helper+odd:abort", "the helper was ended by signal 6" },
    { "helper+odd:close", "the helper was ended by signal 9" }, /* it had not ended by itself */
  };
  pid_t pid = get_pid (stage);

  for (guint i = 0; i < G_N_ELEMENTS (ends); i++)
    {
      pid_t next;

      assert_fails (stage, ends[i].uri, FSCACHE_ERROR_OPENER_FAILED, EIO, ends[i].text);
      g_usleep (110 * 1000);
      next = get_pid (stage);
      g_assert_cmpint (next, !=, pid);
      pid = next;
    }
  g_assert_cmpuint (count (stage, "openers_failed"), ==, 0);
  g_assert_cmpuint (count (stage, "openers_started"), ==, 1);
}

static void
assert_ends (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/exe", (int) pid); /* a zombie has none */

  char exe;

  for (guint i = 0; readlink (path, &exe, 1) > 0; i++)
    {
      g_assert_cmpuint (i, <, 500);
      g_usleep (10 * 1000);
    }
}

static pid_t
wait_for_pid (const char *path)
{
  for (guint i = 0; i < 500; i++)
    {
      g_autofree char *text = NULL;

      if (g_file_get_contents (path, &text, NULL, NULL) && text[0] != '\0')
        return atoi (text);
      g_usleep (10 * 1000);
    }
  g_error ("no helper has started anything");
}

/* What a helper has started goes with it; and that it has the socket, too, hides nothing. */
static void
test_leaves (Stage *stage)
{
  g_autofree char *path = g_build_filename (stage->service->dir, "pid", NULL);
  g_autofree char *leave = g_strconcat ("helper+odd:leave?", path, NULL);
  g_autofree char *hang = g_strconcat ("helper+stuck:hang-with?", path, NULL);
  gint64 began = g_get_monotonic_time ();

  assert_fails (stage, leave, FSCACHE_ERROR_OPENER_FAILED, EIO, "the helper ended with status 3");
  g_assert_cmpint (g_get_monotonic_time () - began, <, 30 * G_USEC_PER_SEC); /* not the deadline */
  assert_ends (wait_for_pid (path));
  assert_fails (stage, hang, FSCACHE_ERROR_TIMED_OUT, ETIMEDOUT, NULL);
  assert_ends (wait_for_pid (path));
  g_unlink (path);
}

/* Also when the opener is killed, as all are when the service ends. */
static void
test_leaves_at_end (Stage *stage)
{
  g_autofree char *path = g_build_filename (stage->service->dir, "pid", NULL);
  g_autofree char *uri = g_strconcat ("helper+odd:hang-with?", path, NULL);
  FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED, .timeout_ms = 200 };
  FscacheReply reply;
  pid_t pid;

  g_assert_cmpint (fscache_open_with (stage->client, &request, &reply), ==, -ETIMEDOUT);
  pid = wait_for_pid (path);
  g_assert_no_errno (kill (pid, 0));
  fsc_test_service_stop (stage->service);
  assert_ends (pid);
  g_unlink (path);
  fsc_test_service_start (stage->service);
}

/* Who ends when he has answered is started again as soon as he is needed. */
static void
test_brief_lives (Stage *stage)
{
  pid_t pid = get_pid (stage);

  for (guint i = 0; i < 5; i++)
    {
      g_autofree char *uri = g_strdup_printf ("helper+odd:last?%u", i);
      g_autofree char *content = g_strdup_printf ("%u", i);
      pid_t next;

      assert_reads (stage, uri, content);
      g_usleep (100 * 1000);
      next = get_pid (stage);
      g_assert_cmpint (next, !=, pid);
      pid = next;
    }
}

/* The pauses between the starts, in milliseconds. */
static GArray *
read_pauses (Stage *stage)
{
  g_autofree char *content = NULL;
  g_auto (GStrv) lines = NULL;
  GArray *pauses = g_array_new (FALSE, FALSE, sizeof (gint64));
  gint64 before = 0;

  g_assert_true (g_file_get_contents (stage->starts, &content, NULL, NULL));
  lines = g_strsplit (g_strstrip (content), "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    {
      gint64 time = g_ascii_strtoll (lines[i], NULL, 10);
      gint64 pause = time - before;

      if (i > 0)
        g_array_append_val (pauses, pause);
      before = time;
    }
  return pauses;
}

/* One that never lives long enough to answer is started after 0.1, 0.2, 0.4 s ...; whoever asks
 * meanwhile need not wait. */
static void
test_growing_pause (Stage *stage)
{
  gint64 end = g_get_monotonic_time () + 2 * G_USEC_PER_SEC;
  g_autoptr (GArray) pauses = NULL;
  guint n_asked = 0;

  assert_fails (stage, "helper+mortal:x", FSCACHE_ERROR_OPENER_FAILED, EIO,
                "the helper ended with status 3");
  assert_fails (stage, "helper+mortal:x", FSCACHE_ERROR_OPENER_FAILED, EIO,
                "the helper ended with status 3; it is not started again for 0.1 s");
  for (; g_get_monotonic_time () < end; n_asked++)
    {
      FscacheReply reply;
      gint64 began = g_get_monotonic_time ();

      g_assert_cmpint (open_shared (stage, "helper+mortal:x", &reply), ==, -EIO);
      g_assert_cmpint (g_get_monotonic_time () - began, <, G_USEC_PER_SEC / 2);
      g_usleep (5 * 1000);
    }
  pauses = read_pauses (stage);
  g_test_message ("%u requests, %u starts", n_asked, pauses->len + 1);
  g_assert_cmpuint (pauses->len, >=, 2);
  g_assert_cmpuint (pauses->len, <=, 4);
  for (guint i = 0; i < pauses->len; i++)
    g_assert_cmpint (g_array_index (pauses, gint64, i), >=, 100 << i);
}

/* One that hangs is ended, and counts as one that dies; what it has given before stays. */
static void
test_hangs (Stage *stage)
{
  g_autofree char *path = fsc_test_service_write (stage->service, "file", "a file");
  g_autofree char *file = g_strconcat ("helper+stuck:file?", path, NULL);
  gint64 began;

  assert_reads (stage, file, "a file");
  g_assert_cmpuint (count (stage, "held"), ==, 1);
  for (guint i = 0; i < 3; i++)
    {
      g_autofree char *later = g_strdup_printf ("it is not started again for 0.%u s", 1u << i);

      began = g_get_monotonic_time ();
      assert_fails (stage, "helper+stuck:hang", FSCACHE_ERROR_TIMED_OUT, ETIMEDOUT,
                    "the helper did not answer within the deadline of 0.3 s");
      g_assert_cmpint (g_get_monotonic_time () - began, >=, 3 * G_USEC_PER_SEC / 10);
      assert_fails (stage, "helper+stuck:hang", FSCACHE_ERROR_OPENER_FAILED, EIO, later);
      g_usleep ((100ul << i) * 1000);
    }
  g_assert_cmpuint (count (stage, "held"), ==, 1);
  g_assert_cmpuint (count (stage, "openers_failed"), ==, 0);
  g_assert_cmpuint (count (stage, "timeouts"), ==, 3);
  assert_reads (stage, "helper+stuck:memory?x", "x");
  assert_reads (stage, "helper+stuck:progress?done", "done"); /* which takes longer than that */
  assert_reads (stage, "helper+odd:memory?x", "x");
}

static void
test_nonsense (Stage *stage)
{
  static const char *const kinds[] = { "bytes",   "serial", "index",     "held", "none",     "two",
                                       "watched", "errno",  "unchanged", "code", "elsewhere" };

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autofree char *uri = g_strconcat ("helper+odd:nonsense?", kinds[i], NULL);

      assert_fails (stage, uri, FSCACHE_ERROR_OPENER_FAILED, EIO, "the helper answered nonsense");
      assert_fails (stage, uri, FSCACHE_ERROR_OPENER_FAILED, EIO, "not started again");
      g_usleep (110 * 1000);
      get_pid (stage);
    }
  g_assert_cmpuint (count (stage, "openers_failed"), ==, 0);
  fsc_test_service_check_descriptors (stage->service);
}

typedef struct
{
  Stage *stage;
  char *uri;
  FscacheReply reply;
} Victim;

static gpointer
open_victim (gpointer data)
{
  Victim *victim = data;

  open_shared (victim->stage, victim->uri, &victim->reply);
  return NULL;
}

/* A descriptor on a dead file system hangs the opener, and costs the request. */
static void
try_hanging_descriptor (Stage *stage, const char *dir, pid_t server)
{
  gint64 end = g_get_monotonic_time () + 2 * G_USEC_PER_SEC, slowest = 0;
  Victim victim = { .stage = stage };
  GThread *thread;

  victim.uri = g_strdup_printf ("helper+brief:stopped-file?%d:%s/file", (int) server, dir);
  thread = g_thread_new ("victim", open_victim, &victim);
  while (g_get_monotonic_time () < end)
    {
      gint64 began = g_get_monotonic_time ();

      assert_reads (stage, "helper+odd:memory?x", "x");
      slowest = MAX (slowest, g_get_monotonic_time () - began);
      g_usleep (5 * 1000);
    }
  g_thread_join (thread);
  g_test_message ("the slowest request took %d us; %s", (int) slowest, victim.reply.message);
  g_assert_cmpint (slowest, <, G_USEC_PER_SEC / 2);
  g_assert_cmpint (victim.reply.code, ==, FSCACHE_ERROR_TIMED_OUT);
  g_free (victim.uri);
}

static void
test_hanging_descriptor (void)
{
  gboolean has_namespaces = fsc_test_enter_namespaces ();
  g_autofree char *dir = NULL;
  pid_t server = 0;
  Stage stage;

  stage_init (&stage, "");
  dir = g_build_filename (stage.service->dir, "m", NULL);
  g_assert_no_errno (g_mkdir (dir, 0755));
  if (has_namespaces)
    server = fsc_test_mount_fuse (dir);
  if (server != 0)
    {
      try_hanging_descriptor (&stage, dir, server);
      g_assert_no_errno (umount2 (dir, MNT_DETACH));
      kill (server, SIGKILL);
      waitpid (server, NULL, 0);
      fsc_test_service_wait_for (stage.service, "openers_stuck", 0);
    }
  else
    g_test_skip ("FUSE cannot be had here");
  stage_clear (&stage);
}

/* What it is given, and what not */

static char *
describe (Stage *stage)
{
  FscacheReply reply;
  int fd = open_shared (stage, "helper+odd:self", &reply);
  char text[8192];
  ssize_t n;

  g_assert_cmpint (fd, >=, 0);
  n = pread (fd, text, sizeof text, 0);
  g_assert_cmpint (n, >, 0);
  close (fd);
  return g_strndup (text, (gsize) n);
}

static guint
count_matches (const char *text, const char *pattern)
{
  g_autoptr (GRegex) regex = g_regex_new (pattern, G_REGEX_MULTILINE, 0, NULL);
  g_autoptr (GMatchInfo) match = NULL;
  guint n = 0;

  g_regex_match (regex, text, 0, &match);
  for (; g_match_info_matches (match); n++)
    g_match_info_next (match, NULL);
  return n;
}

/* Its socket, standard error, and nothing at all. (ls has a descriptor of the directory.) */
static void
test_inherits_nothing (Stage *stage)
{
  g_autofree char *path = fsc_test_service_write (stage->service, "file", "x");
  g_autofree char *file = g_strconcat ("helper+odd:file?", path, NULL);
  g_autofree char *uid = g_strdup_printf ("^%u$", getuid ());
  g_autofree char *text = NULL;

  assert_reads (stage, file, "x"); /* that is held from here on */
  get_pid (stage);
  g_assert_cmpuint (count (stage, "held"), ==, 1);
  text = describe (stage);
  g_test_message ("%s", text);
  g_assert_cmpuint (count_matches (text, " 0 -> /dev/null$"), ==, 1);
  g_assert_cmpuint (count_matches (text, " 3 -> socket:"), ==, 1);
  g_assert_cmpuint (count_matches (text, " -> .*/proc/.*/fd$"), ==, 1);
  g_assert_cmpuint (count_matches (text, " [0-9]+ -> "), <=, 5);
  g_assert_cmpuint (count_matches (text, uid), >=, 1);
  g_assert_cmpuint (count_matches (text, "^Cap...:\\t0000000000000000$"), >=, 4);
  g_assert_cmpuint (count_matches (text, "^CapEff:\\t0000000000000000$"), ==, 1);
  g_assert_cmpuint (count_matches (text, "^NoNewPrivs:\\t1$"), ==, 1);
  g_assert_cmpuint (count_matches (text, "^Umask:\\t0077$"), ==, 1);
  g_assert_cmpuint (count_matches (text, "^(HOME|FSCACHE_|XDG_|G_TEST)"), ==, 0);
}

/* Where the service is root's, it may be somebody else. */
static void
test_user (void)
{
  const struct passwd *nobody = getpwnam ("nobody");
  g_autofree char *text = NULL;
  g_autofree char *uid = NULL;
  Stage stage;

  if (geteuid () != 0 || nobody == NULL)
    {
      g_test_skip ("only root can be others");
      return;
    }
  uid = g_strdup_printf ("^%u$", nobody->pw_uid);
  stage_init (&stage, "user=nobody");
  text = describe (&stage);
  g_test_message ("%s", text);
  g_assert_cmpuint (count_matches (text, uid), >=, 1);
  g_assert_cmpuint (count_matches (text, "^0$"), ==, 0);
  assert_reads (&stage, "helper+brief:memory?x", "x");
  {
    g_autofree char *path = fsc_test_service_write (stage.service, "secret", "x");
    g_autofree char *uri = g_strconcat ("helper+odd:file?", path, NULL);

    g_assert_no_errno (g_chmod (path, 0600));
    assert_fails (&stage, uri, FSCACHE_ERROR_SYSTEM, EACCES, NULL);
  }
  stage_clear (&stage);
}

/* The example */

static void
run_git (const char *directory, const char *const *arguments)
{
  g_auto (FscTestProgram) program = { 0 };
  g_autoptr (GPtrArray) all = g_ptr_array_new ();

  g_ptr_array_add (all, (gpointer) "git");
  g_ptr_array_add (all, (gpointer) "-c");
  g_ptr_array_add (all, (gpointer) "user.name=Test");
  g_ptr_array_add (all, (gpointer) "-c");
  g_ptr_array_add (all, (gpointer) "user.email=test@example.org");
  for (; *arguments != NULL; arguments++)
    g_ptr_array_add (all, (gpointer) *arguments);
  g_ptr_array_add (all, NULL);
  fsc_test_program_run (&program, directory, (const char *const *) all->pdata);
  fsc_test_program_assert_exit (&program, 0);
}

static void
commit (const char *repository, const char *content)
{
  g_autofree char *path = g_build_filename (repository, "file", NULL);

  fsc_test_write (path, content);
  run_git (repository, (const char *const[]){ "add", "file", NULL });
  run_git (repository, (const char *const[]){ "commit", "-q", "-m", content, NULL });
}

static void
test_example (void)
{
  Stage stage = { .service = fsc_test_service_prepare ("", NULL) };
  g_autofree char *repository = g_build_filename (stage.service->dir, "repository", NULL);
  g_autofree char *python = g_find_program_in_path ("python3");
  g_autofree char *git = g_find_program_in_path ("git");
  g_autofree char *now = g_strdup_printf ("helper+git://%s#HEAD:file", repository);
  g_autofree char *before = g_strdup_printf ("helper+git://%s#HEAD~1:file", repository);
  g_autofree char *missing = g_strdup_printf ("helper+git://%s#HEAD:nosuch", repository);

  if (python != NULL && git != NULL)
    {
      FscacheReply reply;

      fsc_test_write (stage.service->config, "[helper git]\ncommand=" FSC_HELPER "\nttl=0\n");
      fsc_test_service_start (stage.service);
      stage.client = fsc_test_service_connect (stage.service);
      g_assert_no_errno (g_mkdir (repository, 0755));
      run_git (repository, (const char *const[]){ "init", "-q", NULL });
      commit (repository, "one");
      assert_reads (&stage, now, "one");
      close (open_shared (&stage, now, &reply));
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
      commit (repository, "two");
      assert_reads (&stage, now, "two");
      assert_reads (&stage, before, "one");
      assert_fails (&stage, missing, FSCACHE_ERROR_SYSTEM, ENOENT, "nosuch");
      {
        FscacheRequest request = { .uri = now, .flags = O_RDWR, .sharing = FSCACHE_INDEPENDENT };

        g_assert_cmpint (fscache_open_with (stage.client, &request, &reply), ==, -EROFS);
      }
      g_assert_cmpuint (count (&stage, "held"), ==, 0);
      fscache_disconnect (stage.client);
    }
  else
    {
      g_test_skip ("no python3, or no git");
      fsc_test_service_start (stage.service);
    }
  fsc_test_service_free (stage.service);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_data_func ("/helper/answers", test_answers, run_stage);
  g_test_add_data_func ("/helper/content", test_content, run_stage);
  g_test_add_data_func ("/helper/watch", test_watch, run_stage);
  g_test_add_data_func ("/helper/checks", test_checks, run_stage);
  g_test_add_data_func ("/helper/nameless", test_nameless, run_stage);
  g_test_add_data_func ("/helper/errors", test_errors, run_stage);
  g_test_add_data_func ("/helper/stays", test_stays, run_stage);
  g_test_add_data_func ("/helper/dies", test_dies, run_stage);
  g_test_add_data_func ("/helper/leaves", test_leaves, run_stage);
  g_test_add_data_func ("/helper/leaves-at-end", test_leaves_at_end, run_stage);
  g_test_add_data_func ("/helper/brief-lives", test_brief_lives, run_stage);
  g_test_add_data_func ("/helper/growing-pause", test_growing_pause, run_stage);
  g_test_add_data_func ("/helper/hangs", test_hangs, run_stage);
  g_test_add_data_func ("/helper/nonsense", test_nonsense, run_stage);
  g_test_add_data_func ("/helper/inherits-nothing", test_inherits_nothing, run_stage);
  g_test_add_func ("/helper/user", test_user);
  g_test_add_func ("/helper/example", test_example);
  g_test_add_func ("/helper/hanging-descriptor", test_hanging_descriptor); /* enters namespaces */
  return g_test_run ();
}
