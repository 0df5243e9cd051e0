/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The life of the service: how it starts, whom it lets in, what it survives, and that nothing of
 * it is left when it ends, however that comes about.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/program.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define NOBODY 65534

/* Asks until it works: for what takes the service a moment to notice. */
static void
assert_opens_soon (FscacheClient *client, const char *path)
{
  FscacheReply reply = { .fd = -1 };

  for (int n = 0; n < 500 && fscache_open (client, path, O_RDONLY, &reply) < 0; n++)
    g_usleep (10000);
  if (reply.fd < 0)
    g_test_message ("%s", reply.message);
  g_assert_cmpint (reply.fd, >=, 0);
  fscache_reply_clear (client, &reply);
}

/* Runs fscached with up to four arguments, to its end. */
static void
run_service (FscTestProgram *result, const char *a, const char *b, const char *c, const char *d)
{
  g_autofree char *program = fsc_test_build_path ("fscache/fscached");
  const char *const arguments[] = { program, a, b, c, d, NULL };

  fsc_test_program_run (result, NULL, arguments);
}

static void
assert_refuses_to_start (FscTestService *service, const char *socket, const char *reason)
{
  g_auto (FscTestProgram) result = { 0 };

  run_service (&result, "--socket", socket, "--config", service->config);
  fsc_test_program_assert_exit (&result, 1);
  g_test_message ("%s", g_strchomp (result.error));
  g_assert_true (g_str_has_prefix (result.error, "fscached: "));
  g_assert_nonnull (strstr (result.error, reason));
  g_assert_nonnull (strstr (result.error, service->dir));
  g_assert_null (strchr (result.error, '\n'));
}

/* The socket */

static void
test_second_instance (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");

  fsc_test_assert_opens (client, path);
  for (int i = 0; i < 3; i++)
    assert_refuses_to_start (service, service->socket, "already serves");
  fsc_test_assert_opens (client, path);
  g_assert_cmpuint (fsc_test_service_counter (service, "misses"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "hits"), ==, 1);
  fscache_disconnect (client);
}

static void
test_modes (FscTestService *service)
{
  g_autofree char *dir = g_path_get_dirname (service->socket);
  struct stat st;

  g_assert_no_errno (stat (service->socket, &st));
  g_assert_cmphex (st.st_mode, ==, S_IFSOCK | 0600);
  g_assert_no_errno (stat (dir, &st));
  g_assert_cmphex (st.st_mode, ==, S_IFDIR | 0700);
}

static void
test_stale_socket (FscTestService *service)
{
  FscacheClient *client;

  fsc_test_service_kill (service);
  g_assert_no_errno (access (service->socket, F_OK));
  fsc_test_service_start (service);
  client = fsc_test_service_connect (service);
  fsc_test_assert_opens (client, "/");
  fscache_disconnect (client);

  fsc_test_service_stop (service);
  g_assert_cmpint (access (service->socket, F_OK), ==, -1);
  fsc_test_service_start (service);
}

static int
listen_at (const char *path, int type)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, type | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  g_assert_no_errno (bind (fd, (struct sockaddr *) &address, sizeof address));
  g_assert_no_errno (listen (fd, 5));
  return fd;
}

static void
test_what_is_not_ours (FscTestService *service)
{
  g_autofree char *file = fsc_test_service_write (service, "file", "precious");
  g_autofree char *dir = g_build_filename (service->dir, "dir", NULL);
  g_autofree char *link = g_build_filename (service->dir, "link", NULL);
  g_autofree char *stream = g_build_filename (service->dir, "stream", NULL);
  g_autofree char *packets = g_build_filename (service->dir, "packets", NULL);
  g_autofree char *nowhere = g_build_filename (service->dir, "no", "such", "socket", NULL);
  g_autofree char *name = g_strnfill (120, 'x');
  g_autofree char *long_path = g_build_filename (service->dir, name, NULL);
  g_autofree char *content = NULL;
  int a = listen_at (stream, SOCK_STREAM), b = listen_at (packets, SOCK_SEQPACKET);

  g_assert_no_errno (g_mkdir (dir, 0700));
  g_assert_no_errno (symlink (file, link));
  assert_refuses_to_start (service, file, "not a socket");
  assert_refuses_to_start (service, dir, "not a socket");
  assert_refuses_to_start (service, link, "not a socket");
  assert_refuses_to_start (service, stream, "another program");
  assert_refuses_to_start (service, packets, "another program");
  assert_refuses_to_start (service, nowhere, "no/such");
  assert_refuses_to_start (service, long_path, "longer than");
  g_assert_true (g_file_get_contents (file, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, "precious");
  g_assert_true (g_file_test (link, G_FILE_TEST_IS_SYMLINK));
  g_assert_no_errno (access (stream, F_OK));
  g_assert_no_errno (access (packets, F_OK));
  close (a);
  close (b);
}

/* Another instance takes the place of one that stops when it is asked to, or does not even hear it.
 */
static void
displace (FscTestService *service, gboolean is_deaf)
{
  const char *const arguments[] = { "--replace", NULL };
  FscTestService *new = fsc_test_service_prepare (NULL, arguments);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  g_autoptr (GArray) openers = NULL;
  int status;

  fsc_test_assert_opens (client, path);
  openers = fsc_test_service_list_openers (service);
  g_assert_cmpuint (openers->len, >, 0);
  if (is_deaf)
    g_assert_no_errno (kill (service->pid, SIGSTOP));

  g_free (new->socket);
  new->socket = g_strdup (service->socket);
  fsc_test_service_start (new);
  g_assert_cmpint (waitpid (service->pid, &status, 0), ==, service->pid);
  g_assert_cmpint (status, ==, is_deaf ? SIGKILL : 0);
  service->pid = 0;
  fsc_test_assert_all_end (openers);

  fsc_test_assert_opens (client, path); /* it has found the new one */
  fscache_disconnect (client);
  fsc_test_service_free (new);
}

static void
test_replace (FscTestService *service)
{
  displace (service, FALSE);
}

static void
test_replace_stopped (FscTestService *service)
{
  displace (service, TRUE);
}

/* Without one to replace it is a start like any other. */
static void
test_replace_nothing (void)
{
  const char *const arguments[] = { "--replace", NULL };
  FscTestService *service = fsc_test_service_new (NULL, arguments);

  fsc_test_service_kill (service);
  fsc_test_service_start (service);
  fsc_test_service_free (service);
}

/* The end */

static void
test_signals (FscTestService *service)
{
  static const int signals[] = { SIGTERM, SIGINT, SIGTERM, SIGKILL };
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");

  for (guint i = 0; i < G_N_ELEMENTS (signals); i++)
    {
      g_autoptr (GArray) openers = NULL;

      fsc_test_assert_opens (client, path);
      openers = fsc_test_service_list_openers (service);
      g_assert_cmpuint (openers->len, ==, 1);
      if (signals[i] == SIGKILL)
        fsc_test_service_kill (service);
      else
        fsc_test_service_stop_with (service, signals[i]);
      fsc_test_service_start (service);
    }
  fscache_disconnect (client);
}

static void
ignore_reply (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  if (reply->fd >= 0)
    close (reply->fd);
}

/* An opener that hangs holds up nobody who wants to stop. */
static void
test_end_while_opener_hangs (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_autofree char *path = g_build_filename (service->dir, "hang", NULL);
  FscacheRequest request = { .uri = path };
  FscacheClient *client;

  service->opener_dir = fsc_test_build_path ("tests/integration");
  fsc_test_service_start (service);
  client = fsc_test_service_connect (service);
  for (int i = 0; i < 2; i++)
    {
      for (int n = 0; n < 20; n++)
        g_assert_cmpint (fscache_submit (client, &request, 1, ignore_reply, NULL, NULL), ==, 0);
      g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
      if (i == 0)
        fsc_test_service_stop (service);
      else
        fsc_test_service_kill (service);
      fsc_test_service_start (service);
    }
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Silence */

#define SILENCE_MS 200

/* A client that takes so much of it from the service. */
static FscacheClient *
connect_impatiently (FscTestService *service, unsigned options)
{
  FscacheClient *client;

  g_setenv ("FSCACHE_SILENCE_MS", G_STRINGIFY (SILENCE_MS), TRUE);
  g_assert_cmpint (fscache_connect (service->socket, options, &client), ==, 0);
  g_unsetenv ("FSCACHE_SILENCE_MS");
  return client;
}

/* A client that is connected does not wait for ever for a service that is stopped, and finds it
 * again when it goes on. */
static void
test_stopped (FscTestService *service)
{
  FscacheClient *client = connect_impatiently (service, 0);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheReply reply;

  fsc_test_assert_opens (client, path);
  g_assert_no_errno (kill (service->pid, SIGSTOP));
  close (fsc_test_open_from (client, path, FSCACHE_SOURCE_LOCAL));
  g_assert_cmpint (fscache_ping (client, &reply), ==, -ETIMEDOUT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NO_SERVICE);

  g_assert_no_errno (kill (service->pid, SIGCONT));
  for (int i = 0; fscache_ping (client, NULL) < 0 && i < 100; i++)
    g_usleep (100 * 1000);
  close (fsc_test_open_from (client, path, FSCACHE_SOURCE_CACHE));
  fscache_disconnect (client);
}

#define N_SLOW 10000

/* What takes long does not make the service silent, also if it is so much that the service would
 * not read on: a lost connection would ask for all of it once more. */
static void
test_slow_is_not_silent (void)
{
  FscTestService *service = fsc_test_service_prepare ("[lanes]\ndeadline = 1\n", NULL);
  g_autofree char *path = g_build_filename (service->dir, "hang", NULL);
  g_autofree FscacheRequest *requests = g_new0 (FscacheRequest, N_SLOW);
  g_autofree FscacheReply *replies = g_new0 (FscacheReply, N_SLOW);
  FscacheReply reply;
  FscacheClient *client;
  guint64 asked;

  service->opener_dir = fsc_test_build_path ("tests/integration");
  fsc_test_service_start (service);
  client = connect_impatiently (service, 0);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), ==, -ETIMEDOUT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_TIMED_OUT);
  g_assert_cmpuint (fsc_test_service_counter (service, "timeouts"), ==, 1);

  for (int i = 0; i < N_SLOW; i++)
    requests[i].uri = path;
  g_assert_cmpint (fscache_open_many (client, requests, replies, N_SLOW), ==, N_SLOW);
  for (int i = 0; i < N_SLOW; i++)
    g_assert_cmpint (replies[i].code, ==, FSCACHE_ERROR_TIMED_OUT);
  /* Once each, and some are counted twice, at the end of one open and the begin of the next. */
  asked = fsc_test_service_counter (service, "opens")
          + fsc_test_service_counter (service, "coalesced");
  g_assert_cmpuint (asked, >, N_SLOW);
  g_assert_cmpuint (asked, <, N_SLOW + 1000);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* How often the threads of the service and its spawner have waited. */
static long
count_waits (FscTestService *service)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/task", service->pid);
  g_autoptr (GArray) children = fsc_test_list_children (service->pid);
  g_autoptr (GDir) threads = g_dir_open (path, 0, NULL);
  const char *name;
  long n = 0;

  while ((name = g_dir_read_name (threads)) != NULL)
    n += fsc_process_get (atoi (name), "voluntary_ctxt_switches:");
  for (guint i = 0; i < children->len; i++)
    n += fsc_process_get (g_array_index (children, pid_t, i), "voluntary_ctxt_switches:");
  return n;
}

/* Waits for some seconds. Returns FALSE if something was mounted meanwhile: that wakes the service.
 */
static gboolean
wait_without_mounts (int mounts)
{
  struct pollfd pollfd = { .fd = mounts, .events = POLLPRI };
  gboolean is_quiet = poll (&pollfd, 1, 3000) == 0;

  if (!is_quiet)
    g_usleep (100 * 1000);
  return is_quiet;
}

static void
assert_sleeps (FscTestService *service)
{
  int mounts = open ("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  long n = G_MAXLONG;
  int n_quiet = 0;

  for (int i = 0; i < 100 && n_quiet < 3 && n > 1; i++)
    {
      long before = count_waits (service);

      if (!wait_without_mounts (mounts))
        continue;
      n = count_waits (service) - before;
      n_quiet++;
    }
  close (mounts);
  if (n_quiet == 0)
    g_test_skip ("something is mounted all the time");
  else
    g_assert_cmpint (n, <=, 1);
}

/* With nothing to do it does nothing, with a client or without. */
static void
test_idle (void)
{
  FscTestService *service
      = fsc_test_service_new ("[cache]\nidle-time = 0.3\n[lanes]\nidle-time = 0.3\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");

  fsc_test_assert_opens (client, path);
  fsc_test_service_wait_for (service, "entries", 0);
  fsc_test_service_wait_for (service, "openers", 0);
  assert_sleeps (service);
  fsc_test_assert_opens (client, path);
  fsc_test_service_wait_for (service, "entries", 0);
  fsc_test_service_wait_for (service, "openers", 0);
  fscache_disconnect (client);
  assert_sleeps (service);
  fsc_test_service_free (service);
}

/* Its processes */

static void
test_spawner_killed (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *kept = fsc_test_service_write (service, "kept", "x");

  fsc_test_assert_opens (client, kept);
  for (int i = 0; i < 5; i++)
    {
      g_autofree char *name = g_strdup_printf ("%d", i);
      g_autofree char *path = fsc_test_service_write (service, name, name);
      g_autoptr (GArray) openers = fsc_test_service_list_openers (service);
      g_autoptr (GArray) spawners = fsc_test_list_children (service->pid);

      g_assert_cmpuint (openers->len, >, 0);
      g_assert_cmpuint (spawners->len, ==, 1);
      g_assert_no_errno (kill (g_array_index (spawners, pid_t, 0), SIGKILL));
      fsc_test_assert_all_end (spawners);
      fsc_test_assert_all_end (openers);
      assert_opens_soon (client, path);
      fsc_test_assert_opens (client, kept);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 6);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_stuck"), ==, 0);
  fscache_disconnect (client);
}

static void
test_opener_killed (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  for (int i = 0; i < 10; i++)
    {
      g_autofree char *name = g_strdup_printf ("%d", i);
      g_autofree char *path = fsc_test_service_write (service, name, name);
      g_autoptr (GArray) openers = NULL;

      fsc_test_assert_opens (client, path);
      openers = fsc_test_service_list_openers (service);
      g_assert_cmpuint (openers->len, >, 0);
      for (guint j = 0; j < openers->len; j++)
        g_assert_no_errno (kill (g_array_index (openers, pid_t, j), SIGKILL));
      fsc_test_assert_all_end (openers);
      fsc_test_service_wait_for (service, "openers", 0);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 10);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_failed"), ==, 10);
  g_assert_cmpuint (fsc_test_service_counter (service, "open_errors"), ==, 0);
  fscache_disconnect (client);
}

/* What a borrower has of a device stays when its holder dies; the service forgets it. */
static void
test_holder_killed (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GArray) openers = NULL;

  fsc_test_assert_opens (client, "/dev/null");
  g_assert_cmpuint (fsc_test_service_counter (service, "held"), ==, 1);
  openers = fsc_test_service_list_openers (service);
  for (guint i = 0; i < openers->len; i++)
    g_assert_no_errno (kill (g_array_index (openers, pid_t, i), SIGKILL));
  fsc_test_service_wait_for (service, "held", 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  assert_opens_soon (client, "/dev/null");
  g_assert_cmpuint (fsc_test_service_counter (service, "held"), ==, 1);
  fscache_disconnect (client);
}

/* Options and configuration */

static void
test_options (void)
{
  static const char *const wrong[][2]
      = { { "--nonsense", NULL },    { "argument", NULL },     { "--max-handles", "0" },
          { "--max-handles", "-5" }, { "--max-handles", "x" }, { "--max-handles", NULL },
          { "--socket", NULL },      { "--version", "more" } };
  g_auto (FscTestProgram) version = { 0 };
  g_auto (FscTestProgram) help = { 0 };

  run_service (&version, "--version", NULL, NULL, NULL);
  fsc_test_program_assert_exit (&version, 0);
  g_assert_cmpstr (version.out, ==, "fscached " FSC_VERSION "\n");
  run_service (&help, "--help", NULL, NULL, NULL);
  fsc_test_program_assert_exit (&help, 0);
  g_assert_nonnull (strstr (help.out, "--max-handles"));

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    {
      g_auto (FscTestProgram) result = { 0 };

      run_service (&result, wrong[i][0], wrong[i][1], NULL, NULL);
      fsc_test_program_assert_exit (&result, 2);
      g_assert_true (g_str_has_prefix (result.error, "fscached: "));
      g_assert_cmpstr (result.out, ==, "");
    }
}

static void
assert_config (FscTestService *service, const char *content, const char *complaint)
{
  g_autofree char *path = fsc_test_service_write (service, "checked.conf", content);
  g_auto (FscTestProgram) result = { 0 };

  run_service (&result, "--check-config", "--config", path, NULL);
  fsc_test_program_assert_exit (&result, complaint == NULL ? 0 : 1);
  if (complaint == NULL)
    return;
  g_test_message ("%s", g_strchomp (result.error));
  g_assert_nonnull (strstr (result.error, complaint));
  g_assert_nonnull (strstr (result.error, path));
  g_assert_null (strchr (result.error, '\n'));
}

static void
test_check_config (FscTestService *service)
{
  static const struct
  {
    const char *content, *complaint;
  } bad[] = {
    { "[service]\nmax-handels = 5\n", "max-handels" },
    { "[serves]\nmax-handles = 5\n", "serves" },
    { "[service]\nmax-handles = 0\n", "max-handles" },
    { "[service]\nmax-handles = many\n", "many" },
    { "[service]\nmax-handles = 1.5\n", "1.5" },
    { "[service]\nmax-handles =\n", "max-handles" },
    { "[service]\nsocket = relative\n", "absolute" },
    { "[cache]\nidle-time = -1\n", "idle-time" },
    { "[lanes]\nopeners = 0\n", "openers" },
    { "[lanes]\nopeners = 1000\n", "openers" },
    { "[lanes]\ndeadline = nan\n", "deadline" },
    { "[lanes]\ndeadline = inf\n", "deadline" },
    { "max-handles = 5\n", "" },
    { "nonsense", "" },
  };
  g_auto (FscTestProgram) missing = { 0 };

  assert_config (service, "", NULL);
  assert_config (service,
                 "# all there is\n[service]\nsocket=/run/x\nmax-handles = 100\nmax-clients=50\n"
                 "[cache]\nidle-time=0\n[lanes]\nopeners=2\ndeadline=0.25\nqueue=10\n"
                 "idle-time=1\n[file]\nttl=0\n",
                 NULL);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    assert_config (service, bad[i].content, bad[i].complaint);
  run_service (&missing, "--check-config", "--config", "/nonexistent.conf", NULL);
  fsc_test_program_assert_exit (&missing, 1);
  g_assert_nonnull (strstr (missing.error, "/nonexistent.conf"));
}

/* A service with a bad configuration does not start with another. */
static void
test_bad_config (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "bad.conf", "[service]\nx = 1\n");
  g_autofree char *socket = g_build_filename (service->dir, "socket", NULL);
  g_auto (FscTestProgram) result = { 0 };

  run_service (&result, "--config", path, "--socket", socket);
  fsc_test_program_assert_exit (&result, 1);
  g_assert_cmpint (access (socket, F_OK), ==, -1);
}

/* The configuration says where; the command line says better. */
static void
test_config_socket (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_autofree char *content
      = g_strdup_printf ("[service]\nsocket = %s/other/socket\nmax-handles = 7\n", service->dir);
  g_autofree char *other = g_build_filename (service->dir, "other", NULL);

  g_free (fsc_test_service_write (service, "fscached.conf", content));
  fsc_test_service_start (service);
  g_assert_cmpint (access (other, F_OK), ==, -1);
  g_assert_cmpuint (fsc_test_service_counter (service, "max_handles"), ==, 7);
  fsc_test_service_free (service);
}

/* Limits */

static void
test_max_handles (void)
{
  const char *const arguments[] = { "--max-handles", "10", NULL };
  FscTestService *service = fsc_test_service_new (NULL, arguments);
  FscacheClient *client = fsc_test_service_connect (service);

  for (int i = 0; i < 100; i++)
    {
      g_autofree char *name = g_strdup_printf ("%d", i);
      g_autofree char *path = fsc_test_service_write (service, name, name);

      fsc_test_assert_opens (client, path);
      g_assert_cmpuint (fsc_test_service_counter (service, "handles"), <=, 10);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 10);
  g_assert_cmpuint (fsc_test_service_counter (service, "evictions"), ==, 90);
  fsc_test_service_check_descriptors (service);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* What fscached has of Linux's struct sched_attr: how long it wants to run, in ns. */
static guint64
get_slice (pid_t pid)
{
  guint64 attributes[6] = { 0 };

  g_assert_no_errno ((int) syscall (SYS_sched_getattr, pid, attributes, sizeof attributes, 0));
  return attributes[3];
}

/* Who gets the CPU soon notices a change soon. What it starts is not in such a hurry. */
static void
test_slice (FscTestService *service)
{
  g_autoptr (GArray) spawners = fsc_test_list_children (service->pid);

  if (get_slice (getpid ()) == 0)
    {
      g_test_skip ("this kernel has no slices of a process's own");
      return;
    }
  g_assert_cmpuint (get_slice (service->pid), <, get_slice (getpid ()));
  g_assert_cmpuint (spawners->len, ==, 1);
  g_assert_cmpuint (get_slice (g_array_index (spawners, pid_t, 0)), ==, get_slice (getpid ()));
}

static void
test_idle_time (void)
{
  FscTestService *service
      = fsc_test_service_new ("[cache]\nidle-time = 0.5\n[lanes]\nidle-time = 0.5\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  g_autofree char *pinned = fsc_test_service_write (service, "pinned", "x");

  fsc_test_assert_opens (client, path);
  g_assert_cmpint (fscache_pin (client, pinned, NULL), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 2);
  fsc_test_service_wait_for (service, "handles", 1);
  g_assert_cmpint (fscache_info (client, pinned, NULL, NULL, NULL), ==, 1);
  for (int n = 0; n < 100 && fsc_test_service_counter (service, "openers") > 0; n++)
    g_usleep (100 * 1000);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_failed"), ==, 0);
  fsc_test_assert_opens (client, path);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* The time on a processor of a process, in seconds. */
static double
get_cpu_time (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/stat", pid);
  g_autofree char *content = NULL;
  unsigned long user, system;

  g_assert_true (g_file_get_contents (path, &content, NULL, NULL));
  g_assert_cmpint (sscanf (strrchr (content, ')') + 1,
                           " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
                   ==, 2);
  return (double) (user + system) / (double) sysconf (_SC_CLK_TCK);
}

#define N_TOO_MANY 250

/* With no free descriptor the socket stays readable: who accepts by that spins. */
static void
test_no_descriptor (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheClient *client;
  int fds[N_TOO_MANY];
  double before;

  service->max_descriptors = 200;
  fsc_test_service_start (service);
  client = fsc_test_service_connect (service);
  fsc_test_assert_opens (client, path);
  for (int i = 0; i < N_TOO_MANY; i++)
    fds[i] = fsc_test_raw_connect (service->socket);
  g_usleep (200 * 1000);

  before = get_cpu_time (service->pid);
  g_usleep (1000 * 1000);
  g_assert_cmpfloat (get_cpu_time (service->pid) - before, <, 0.1);
  fsc_test_assert_opens (client, path); /* who was there before is served */

  for (int i = 0; i < N_TOO_MANY; i++)
    close (fds[i]);
  fsc_test_service_wait_for (service, "clients", 2);
  fsc_test_assert_opens (client, path);
  fsc_test_assert_opens (client, "/");
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

static void
test_too_few_descriptors (FscTestService *service)
{
  g_autofree char *program = fsc_test_build_path ("fscache/fscached");
  g_autofree char *command = g_strdup_printf ("ulimit -n 100 && exec '%s' --config '%s' "
                                              "--socket '%s/socket'",
                                              program, service->config, service->dir);
  const char *const arguments[] = { "sh", "-c", command, NULL };
  g_auto (FscTestProgram) result = { 0 };

  fsc_test_program_run (&result, NULL, arguments);
  fsc_test_program_assert_exit (&result, 1);
  g_assert_nonnull (strstr (result.error, "RLIMIT_NOFILE"));
}

/* Who may come in */

/* Who says nothing is let go after ten seconds, and who has greeted is not. */
static void
test_never_greets (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  struct pollfd silent = { .fd = fsc_test_raw_connect (service->socket), .events = POLLIN };

  g_assert_cmpint (poll (&silent, 1, 5000), ==, 0);
  g_assert_cmpint (poll (&silent, 1, 15000), ==, 1);
  g_assert_cmphex (silent.revents & POLLHUP, ==, POLLHUP);
  close (silent.fd);
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  fsc_test_service_wait_for (service, "clients", 2);
  fscache_disconnect (client);
}

static void
be_a_stranger (FscTestService *service, const char *path)
{
  FscacheClient *client;
  FscacheReply reply;

  g_assert_no_errno (setgid (NOBODY));
  g_assert_no_errno (setuid (NOBODY));
  g_assert_cmpint (fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &client), ==, -EACCES);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), ==, -EACCES);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_REFUSED);
  g_assert_nonnull (strstr (reply.message, "65534"));
  g_assert_cmpint (fscache_status (client, NULL, NULL, NULL), ==, -EACCES);
  fscache_disconnect (client);

  g_assert_cmpint (fscache_connect (service->socket, 0, &client), ==, -EACCES);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  close (reply.fd);
  fscache_disconnect (client);
  _exit (0);
}

static void
test_stranger (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  g_autofree char *dir = g_path_get_dirname (service->socket);
  int status;
  pid_t pid;

  if (geteuid () != 0)
    {
      g_test_skip ("only root can become somebody else");
      return;
    }
  g_assert_no_errno (chmod (service->dir, 0711));
  g_assert_no_errno (chmod (dir, 0711));
  g_assert_no_errno (chmod (service->socket, 0666));
  pid = fork ();
  if (pid == 0)
    be_a_stranger (service, path);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
  fsc_test_service_wait_for (service, "clients", 1);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/life/second-instance", test_second_instance);
  FSC_TEST_ADD ("/life/modes", test_modes);
  FSC_TEST_ADD ("/life/stale-socket", test_stale_socket);
  FSC_TEST_ADD ("/life/what-is-not-ours", test_what_is_not_ours);
  FSC_TEST_ADD ("/life/replace", test_replace);
  FSC_TEST_ADD ("/life/replace-stopped", test_replace_stopped);
  g_test_add_func ("/life/replace-nothing", test_replace_nothing);
  FSC_TEST_ADD ("/life/signals", test_signals);
  g_test_add_func ("/life/end-while-opener-hangs", test_end_while_opener_hangs);
  FSC_TEST_ADD ("/life/stopped", test_stopped);
  g_test_add_func ("/life/slow-is-not-silent", test_slow_is_not_silent);
  g_test_add_func ("/life/idle", test_idle);
  FSC_TEST_ADD ("/life/slice", test_slice);
  FSC_TEST_ADD ("/life/spawner-killed", test_spawner_killed);
  FSC_TEST_ADD ("/life/opener-killed", test_opener_killed);
  FSC_TEST_ADD ("/life/holder-killed", test_holder_killed);
  g_test_add_func ("/life/options", test_options);
  FSC_TEST_ADD ("/life/check-config", test_check_config);
  FSC_TEST_ADD ("/life/bad-config", test_bad_config);
  g_test_add_func ("/life/config-socket", test_config_socket);
  g_test_add_func ("/life/max-handles", test_max_handles);
  g_test_add_func ("/life/idle-time", test_idle_time);
  g_test_add_func ("/life/no-descriptor", test_no_descriptor);
  FSC_TEST_ADD ("/life/too-few-descriptors", test_too_few_descriptors);
  FSC_TEST_ADD ("/life/never-greets", test_never_greets);
  FSC_TEST_ADD ("/life/stranger", test_stranger);
  return g_test_run ();
}
