/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * http: and https: resources, from servers on the loopback: one that does as it should (nginx), and
 * one that does as it is told (http-server.py), which may be anything. What is given is always all
 * of what the server has, or an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/directory.h"
#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define ALLOW "[http]\nallow=*\n"
#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Servers */

typedef struct
{
  GPid pid;
  int in; /* it ends with this */
  guint port;
  char *log;
} Server;

/* The one that everything is asked of. */
static Server server;

/* Starts http-server.py, with TLS if there is a certificate. */
static Server
start_server (const char *dir, const char *name, const char *certificate, const char *key)
{
  Server started = { .log = g_build_filename (dir, name, NULL) };
  const char *arguments[] = { "python3", FSC_TEST_SERVER, started.log, certificate, key, NULL };
  g_autoptr (GError) error = NULL;
  char line[16] = "";
  gsize length = 0;
  int out;

  g_spawn_async_with_pipes (
      NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
      fsc_test_program_die_with_parent, NULL, &started.pid, &started.in, &out, NULL, &error);
  g_assert_no_error (error);
  while (strchr (line, '\n') == NULL)
    {
      g_assert_cmpuint (length, <, sizeof line - 1);
      g_assert_cmpint (read (out, line + length, 1), ==, 1);
      length++;
    }
  close (out);
  started.port = (guint) atoi (line);
  g_assert_cmpuint (started.port, >, 0);
  return started;
}

static void
stop_server (Server *started)
{
  close (started->in);
  g_assert_cmpint (waitpid (started->pid, NULL, 0), ==, started->pid);
  g_free (started->log);
}

/* How many requests a server has had with these words in their line. */
static guint
count_requests_at (const Server *at, const char *first, const char *second)
{
  g_autofree char *log = NULL;
  g_auto (GStrv) lines = NULL;
  guint n = 0;

  g_assert_true (g_file_get_contents (at->log, &log, NULL, NULL));
  lines = g_strsplit (log, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    n += strstr (lines[i], first) != NULL && strstr (lines[i], second) != NULL;
  return n;
}

static guint
count_requests (const char *first, const char *second)
{
  return count_requests_at (&server, first, second);
}

/* What it has: the same as http-server.py makes. */
static char *
make_content (guint n, guint version)
{
  GString *content = g_string_new (NULL);

  for (guint i = 0; content->len < n; i++)
    g_string_append_printf (content, "%020u version %06u\n", i, version);
  return g_string_free (g_string_truncate (content, n), FALSE);
}

static char *
make_uri (const char *path)
{
  return g_strdup_printf ("http://127.0.0.1:%u%s", server.port, path);
}

/* Asking */

static char *
read_all (int fd, gsize *length)
{
  struct stat st;
  char *content;

  g_assert_cmpint (fstat (fd, &st), ==, 0);
  content = g_malloc0 ((gsize) st.st_size + 1);
  g_assert_cmpint (pread (fd, content, (gsize) st.st_size, 0), ==, st.st_size);
  *length = (gsize) st.st_size;
  return content;
}

static char *
fetch_uri (FscacheClient *client, const char *uri, FscacheReply *reply)
{
  FscacheReply own;
  char *content;
  gsize length;
  int fd;

  reply = reply != NULL ? reply : &own;
  fd = fscache_open (client, uri, O_RDONLY, reply);
  if (fd < 0)
    g_error ("%s", reply->message);
  content = read_all (fd, &length);
  g_assert_cmpuint (strlen (content), ==, length);
  close (fd);
  return content;
}

static char *
fetch (FscacheClient *client, const char *path, FscacheReply *reply)
{
  g_autofree char *uri = make_uri (path);

  return fetch_uri (client, uri, reply);
}

/* Fetches, and compares with what the server has. */
static void
assert_fetches (FscacheClient *client, const char *path, guint n, guint version)
{
  g_autofree char *expected = make_content (n, version);
  g_autofree char *content = fetch (client, path, NULL);

  g_assert_cmpstr (content, ==, expected);
}

static void
assert_source (FscacheClient *client, const char *path, FscacheSource source)
{
  FscacheReply reply;

  g_free (fetch (client, path, &reply));
  g_assert_cmpint (reply.source, ==, source);
}

static void
assert_fails_uri (FscacheClient *client, const char *uri, FscacheCode code, int error,
                  const char *part)
{
  FscacheReply reply;
  int fd = fscache_open (client, uri, O_RDONLY, &reply);

  g_test_message ("%s", reply.message);
  fsc_test_assert_failed (&reply, fd, code, error);
  if (strstr (reply.message, part) == NULL)
    g_error ("\"%s\" does not say \"%s\"", reply.message, part);
}

static void
assert_fails (FscacheClient *client, const char *path, FscacheCode code, int error,
              const char *part)
{
  g_autofree char *uri = make_uri (path);

  assert_fails_uri (client, uri, code, error, part);
}

/* Tests: what is right */

static void
test_plain (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *expected = make_content (100000, 0);
  g_autofree char *uri = make_uri ("/plain/1?n=100000&h=ETag:\"one\"");
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  const FscacheRequest shared = { .uri = uri, .sharing = FSCACHE_SHARED };
  FscacheReply reply;
  guint8 digest[32];
  gsize length = sizeof digest;
  int fd = fscache_open (client, uri, O_RDONLY, &reply);
  g_autofree char *content = read_all (fd, &length);

  g_assert_cmpstr (content, ==, expected);
  g_assert_cmpint (fcntl (fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
  g_assert_cmpint (fcntl (fd, F_GET_SEALS) & ALL_SEALS, ==, ALL_SEALS);
  close (fd);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_TTL);
  g_assert_cmpint (reply.kind, ==, FSCACHE_KIND_REGULAR);
  g_assert_true (reply.content.is_known && reply.content.is_sealed);
  g_assert_cmpuint (reply.content.size, ==, 100000);
  g_checksum_update (sum, (const guchar *) expected, 100000);
  length = sizeof digest;
  g_checksum_get_digest (sum, digest, &length);
  g_assert_cmpmem (reply.content.digest, 32, digest, 32);
  g_assert_cmpmem (reply.content.validator, reply.content.validator_length, "\"one\"", 5);

  g_assert_cmpuint (count_requests ("/plain/1", "Accept-Encoding=identity"), ==, 1);
  g_assert_cmpuint (count_requests ("/plain/1", "If-None-Match"), ==, 0);
  g_assert_cmpint (fscache_open_with (client, &shared, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
  fscache_reply_clear (client, &reply);
  g_assert_cmpuint (count_requests ("/plain/1", "If-None-Match=\"one\""), ==, 1);
  fscache_disconnect (client);
}

static void
test_bodies (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply;

  assert_fetches (client, "/plain/empty?n=0", 0, 0);
  assert_fetches (client, "/chunked/1?n=12345", 12345, 0);
  assert_fetches (client, "/until-closed/1?n=123456", 123456, 0);
  assert_fetches (client, "/plain/path/../x//./y?n=50", 50, 0);
  g_assert_cmpuint (count_requests ("/plain/path/../x//./y?n=50", ""), ==, 1);
  assert_fetches (client, "/plain/identity?h=Content-Encoding:identity", 100, 0);
  g_free (fetch (client, "/chunked/1?n=12345", &reply));
  g_assert_cmpuint (reply.content.validator_length, ==, 0); /* that was in the trailer */
  fscache_disconnect (client);
}

static void
test_statuses (FscTestService *service)
{
  static const struct
  {
    const char *status;
    FscacheCode code;
    int error;
  } cases[] = {
    { "404", FSCACHE_ERROR_SYSTEM, ENOENT },   { "410", FSCACHE_ERROR_SYSTEM, ENOENT },
    { "401", FSCACHE_ERROR_SYSTEM, EACCES },   { "403", FSCACHE_ERROR_SYSTEM, EACCES },
    { "400", FSCACHE_ERROR_UNAVAILABLE, EIO }, { "418", FSCACHE_ERROR_UNAVAILABLE, EIO },
    { "429", FSCACHE_ERROR_UNAVAILABLE, EIO }, { "500", FSCACHE_ERROR_UNAVAILABLE, EIO },
    { "503", FSCACHE_ERROR_UNAVAILABLE, EIO }, { "204", FSCACHE_ERROR_UNAVAILABLE, EIO },
    { "304", FSCACHE_ERROR_UNAVAILABLE, EIO }, { "300", FSCACHE_ERROR_UNAVAILABLE, EIO },
  };
  FscacheClient *client = fsc_test_service_connect (service);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      gboolean has_body = cases[i].status[1] != '0' || cases[i].status[0] >= '4';
      g_autofree char *path
          = g_strdup_printf ("/plain/status?s=%s&n=%d", cases[i].status, has_body ? 100 : 0);
      g_autofree char *part = g_strdup_printf (": the server answers %s", cases[i].status);

      assert_fails (client, path, cases[i].code, cases[i].error, part);
    }
  /* An answer that is none may go on for ever. */
  assert_fails (client, "/plain/long?s=404&n=10000000", FSCACHE_ERROR_SYSTEM, ENOENT, "404");
  assert_fails (client, "/partial/1", FSCACHE_ERROR_UNAVAILABLE, EIO, "answers 206");
  fscache_disconnect (client);
}

static void
test_flags (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = make_uri ("/plain/flags");
  static const struct
  {
    int flags, error;
  } cases[] = {
    { O_WRONLY, EROFS }, { O_RDWR, EROFS },        { O_RDWR | O_CREAT, EROFS },
    { O_PATH, EINVAL },  { O_DIRECTORY, ENOTDIR },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      FscacheReply reply;
      int fd = fscache_open (client, uri, cases[i].flags, &reply);

      fsc_test_assert_failed (&reply, fd, FSCACHE_ERROR_SYSTEM, cases[i].error);
    }
  g_assert_cmpuint (count_requests ("/plain/flags", ""), ==, 0);
  assert_fetches (client, "/plain/flags", 100, 0);
  fscache_disconnect (client);
}

/* Tests: how long it holds */

/* Asks twice, and says how often the server was asked. */
static guint
ask_twice (FscTestService *service, const char *path, FscacheSource second)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply;

  g_free (fetch (client, path, &reply));
  g_free (fetch (client, path, &reply));
  if (reply.source != second)
    g_error ("%s: the second came from %d", path, reply.source);
  fscache_disconnect (client);
  return count_requests (path, "");
}

static void
test_freshness (FscTestService *service)
{
  static const struct
  {
    const char *path;
    guint n_requests;
    FscacheSource second;
  } cases[] = {
    { "/plain/max-age?h=Cache-Control:max-age=60", 1, FSCACHE_SOURCE_CACHE },
    { "/plain/expires?h=Expires:Fri,%2001%20Jan%202100%2000:00:00%20GMT", 1, FSCACHE_SOURCE_CACHE },
    { "/plain/private?h=Cache-Control:private,max-age=60", 1, FSCACHE_SOURCE_CACHE },
    { "/plain/age?h=Cache-Control:max-age=60&h=Age:70&h=ETag:\"a\"", 2, FSCACHE_SOURCE_CACHE },
    { "/plain/nothing?h=ETag:\"a\"", 2, FSCACHE_SOURCE_CACHE },
    { "/plain/weak?h=ETag:W/\"a\"", 2, FSCACHE_SOURCE_CACHE },
    { "/plain/no-cache?h=Cache-Control:no-cache,max-age=60&h=ETag:\"a\"", 2, FSCACHE_SOURCE_CACHE },
    { "/plain/vary?h=Cache-Control:max-age=60&h=Vary:*&h=ETag:\"a\"", 2, FSCACHE_SOURCE_CACHE },
    { "/plain/past?h=Expires:0&h=ETag:\"a\"", 2, FSCACHE_SOURCE_CACHE },
    { "/plain/nameless", 2, FSCACHE_SOURCE_OPENED },
    { "/plain/odd?h=ETag:odd", 2, FSCACHE_SOURCE_OPENED },
    { "/plain/no-store?h=Cache-Control:no-store,max-age=60", 2, FSCACHE_SOURCE_PASSED },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      guint n = ask_twice (service, cases[i].path, cases[i].second);

      if (n != cases[i].n_requests)
        g_error ("%s was asked for %u times", cases[i].path, n);
    }
  g_assert_cmpuint (count_requests ("/plain/odd", "If-None-Match"), ==, 0);
}

/* What the configuration says of what says nothing itself. */
static void
test_default_ttl (FscTestService *service)
{
  g_assert_cmpuint (ask_twice (service, "/plain/default", FSCACHE_SOURCE_CACHE), ==, 1);
  g_assert_cmpuint (ask_twice (service, "/plain/own?h=Cache-Control:max-age=0&h=ETag:\"a\"",
                               FSCACHE_SOURCE_CACHE),
                    ==, 2);
}

static void
test_revalidation (FscTestService *service)
{
  static const char renewed[] = "/renewed/1?n=10";
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = make_uri (renewed);
  const FscacheRequest strict = { .uri = uri, .options = FSCACHE_REVALIDATE };
  g_autofree char *first = NULL, *second = NULL, *third = NULL;
  FscacheReply reply;

  assert_fetches (client, renewed, 10, 0);
  assert_source (client, renewed, FSCACHE_SOURCE_CACHE);
  g_assert_cmpuint (count_requests (renewed, ""), ==, 1);
  g_usleep (1100 * 1000);
  assert_source (client, renewed, FSCACHE_SOURCE_CACHE);
  g_assert_cmpuint (count_requests (renewed, "If-None-Match=\"a\""), ==, 1);

  /* It holds for an hour from now on; who wants to know asks all the same. */
  g_usleep (1100 * 1000);
  assert_source (client, renewed, FSCACHE_SOURCE_CACHE);
  g_assert_cmpuint (count_requests (renewed, ""), ==, 2);
  g_assert_cmpint (fscache_open_with (client, &strict, &reply), >=, 0);
  fscache_reply_clear (client, &reply);
  g_assert_cmpuint (count_requests (renewed, ""), ==, 3);

  /* Another content is another handle; who has the old one keeps that. */
  first = fetch (client, "/counted/1", &reply);
  second = fetch (client, "/counted/1", &reply);
  third = make_content (100, 2);
  g_assert_cmpstr (first, !=, second);
  g_assert_cmpstr (second, ==, third);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
  fscache_disconnect (client);
}

/* What has not changed, and is not to be kept any longer, is given once more. */
static void
test_withdrawn (FscTestService *service)
{
  static const char path[] = "/withdrawn/1";
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply;

  assert_source (client, path, FSCACHE_SOURCE_OPENED);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 1);
  g_free (fetch (client, path, &reply));
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_UNCACHED);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  assert_source (client, path, FSCACHE_SOURCE_OPENED);
  g_assert_cmpuint (count_requests (path, ""), ==, 3);
  g_assert_cmpuint (count_requests (path, "If-None-Match"), ==, 1);
  fscache_disconnect (client);
}

/* That a server cannot answer now says nothing about what it has. */
static void
test_unavailable (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  assert_fetches (client, "/flaky/1", 100, 0);
  assert_fails (client, "/flaky/1", FSCACHE_ERROR_UNAVAILABLE, EIO, "the server answers 503");
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 1);
  assert_source (client, "/flaky/1", FSCACHE_SOURCE_CACHE);
  g_assert_cmpuint (count_requests ("/flaky/1", "If-None-Match"), ==, 2);

  /* That it is not there any more does. */
  assert_fails (client, "/flaky/1", FSCACHE_ERROR_SYSTEM, ENOENT, "404");
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  fscache_disconnect (client);
}

static void
test_unreachable (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  struct sockaddr_in address
      = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t length = sizeof address;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_autofree char *uri = NULL;

  /* A port that is taken, and where nobody listens. */
  g_assert_cmpint (bind (fd, (struct sockaddr *) &address, sizeof address), ==, 0);
  g_assert_cmpint (getsockname (fd, (struct sockaddr *) &address, &length), ==, 0);
  uri = g_strdup_printf ("http://127.0.0.1:%u/", ntohs (address.sin_port));
  assert_fails_uri (client, uri, FSCACHE_ERROR_UNAVAILABLE, ECONNREFUSED, uri);
  assert_fails_uri (client, "http://nobody.invalid/", FSCACHE_ERROR_UNAVAILABLE, EHOSTUNREACH,
                    "nobody.invalid");
  close (fd);
  fscache_disconnect (client);
}

/* Tests: redirects */

/* A redirect to a path of the server's, at the other one of its names. */
static char *
make_redirect (const char *name, const char *host, const char *to, const char *more)
{
  g_autofree char *location
      = host != NULL ? g_strdup_printf ("http://%s:%u%s", host, server.port, to) : g_strdup (to);
  g_autofree char *escaped = g_uri_escape_string (location, NULL, FALSE);

  return g_strdup_printf ("/redirect/%s?to=%s%s", name, escaped, more);
}

static void
test_redirect (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *here = make_redirect ("here", NULL, "/plain/at-here?n=40", "");
  g_autofree char *relative = make_redirect ("relative", NULL, "../plain/at-relative?n=41", "");
  g_autofree char *there = make_redirect ("there", "localhost", "/plain/at-there?n=42", "");
  g_autofree char *far = make_redirect ("far", "localhost", there, "");
  g_autofree char *missing = make_redirect ("missing", "localhost", "/missing", "");
  g_autofree char *long_body = make_redirect ("long", NULL, "/plain/at-long?n=43", "&n=100000");
  g_autofree char *whole
      = g_strdup_printf ("which leads to http://localhost:%u/missing: the server "
                         "answers 404",
                         server.port);

  assert_fetches (client, here, 40, 0);
  assert_fetches (client, relative, 41, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "lanes"), ==, 1);
  assert_fetches (client, there, 42, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "lanes"), ==, 2);
  assert_fetches (client, far, 42, 0);
  assert_fetches (client, long_body, 43, 0);
  assert_fails (client, missing, FSCACHE_ERROR_SYSTEM, ENOENT, whole);
  g_assert_cmpuint (count_requests ("/plain/at-there", "Host=localhost"), ==, 2);
  fscache_disconnect (client);
}

static void
test_redirect_refused (FscTestService *service)
{
  static const struct
  {
    const char *path;
    FscacheCode code;
    int error;
    const char *part;
  } cases[] = {
    { "/redirect/file?to=file:///etc/passwd", FSCACHE_ERROR_SYSTEM, EIO,
      "redirected to file:///etc/passwd, which is not http: or https:" },
    { "/redirect/ftp?to=ftp://localhost/x", FSCACHE_ERROR_SYSTEM, EIO, "not http: or https:" },
    { "/redirect/user?to=http://user:secret@localhost/x", FSCACHE_ERROR_SYSTEM, EIO,
      "a user or a password" },
    { "/redirect/odd?to=http://%01/", FSCACHE_ERROR_SYSTEM, EIO, "not where it is" },
    { "/redirect/nowhere", FSCACHE_ERROR_SYSTEM, EIO, "answers 302, but not where it is" },
    { "/loop/1", FSCACHE_ERROR_SYSTEM, ELOOP, "redirected more than 10 times" },
    { "/turn/1", FSCACHE_ERROR_SYSTEM, ELOOP, "redirected more than 10 times" },
  };
  FscacheClient *client = fsc_test_service_connect (service);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    assert_fails (client, cases[i].path, cases[i].code, cases[i].error, cases[i].part);
  g_assert_cmpuint (count_requests ("/loop/1", ""), ==, 11);
  g_assert_cmpuint (count_requests ("/turn/1", ""), ==, 11);
  fscache_disconnect (client);
}

/* How long it holds that it is there, and whether it is what it was. */
static void
test_redirect_freshness (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *found = make_redirect (
      "found", NULL, "/plain/by-found?h=Cache-Control:max-age=60&h=ETag:\"a\"", "");
  g_autofree char *moved = make_redirect (
      "moved", "localhost", "/plain/by-moved?h=Cache-Control:max-age=60&h=ETag:\"a\"", "&s=301");
  g_autofree char *held = make_redirect ("held", "localhost",
                                         "/plain/by-held?h=Cache-Control:max-age=60&h=ETag:\"a\"",
                                         "&h=Cache-Control:max-age=60");

  /* Only what is moved for good, or says so, is believed. */
  g_assert_cmpuint (ask_twice (service, found, FSCACHE_SOURCE_CACHE), ==, 2);
  g_assert_cmpuint (count_requests ("/plain/by-found", "If-None-Match=\"a\""), ==, 1);
  g_assert_cmpuint (ask_twice (service, moved, FSCACHE_SOURCE_CACHE), ==, 1);
  g_assert_cmpuint (ask_twice (service, held, FSCACHE_SOURCE_CACHE), ==, 1);

  /* Each time it leads to another place, where there is something of the same name. */
  assert_fetches (client, "/moving/1", 100, 1);
  assert_fetches (client, "/moving/1", 100, 2);
  g_assert_cmpuint (count_requests ("/plain/moved", "If-None-Match"), ==, 0);
  fscache_disconnect (client);
}

/* Tests: whom to ask */

static void
test_allow (void)
{
  g_autofree char *config
      = g_strdup_printf ("[http]\nallow=example.org 127.0.0.1:%u\n", server.port);
  g_autofree char *there = make_redirect ("refused", "localhost", "/plain/refused", "");
  g_autofree char *other = g_strdup_printf ("http://localhost:%u/plain/refused", server.port);
  FscTestService *service = fsc_test_service_new (config, NULL);
  FscacheClient *client = fsc_test_service_connect (service);

  assert_fetches (client, "/plain/allowed", 100, 0);
  assert_fails_uri (client, other, FSCACHE_ERROR_REFUSED, EACCES,
                    "[http] allow does not name the host localhost");
  assert_fails (client, there, FSCACHE_ERROR_REFUSED, EACCES,
                "[http] allow does not name the host localhost");
  assert_fails_uri (client, "http://127.0.0.1/", FSCACHE_ERROR_REFUSED, EACCES, "127.0.0.1");
  g_assert_cmpuint (count_requests ("/plain/refused", ""), ==, 0);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Other ways to write hosts are other hosts, and what is none, or two, is refused. */
static void
test_allow_tricks (void)
{
  static const struct
  {
    const char *format; /* with two ports */
    FscacheCode code;
    const char *part;
  } cases[] = {
    { "http://127.0.0.1:%u@localhost:%u/plain/trick", FSCACHE_ERROR_BAD_URI,
      "a user or a password" },
    { "http://localhost:%u\\@127.0.0.1:%u/plain/trick", FSCACHE_ERROR_BAD_URI, "" },
    { "http://localhost:%u#@127.0.0.1:%u/plain/trick", FSCACHE_ERROR_REFUSED, "host localhost" },
    { "http://localhost:%u/plain/trick?@127.0.0.1:%u", FSCACHE_ERROR_REFUSED, "host localhost" },
    { "http://2130706433:%u/plain/trick?%u", FSCACHE_ERROR_REFUSED, "host 2130706433" },
    { "http://0x7f.1:%u/plain/trick?%u", FSCACHE_ERROR_REFUSED, "host 0x7f.1" },
    { "http://127.1:%u/plain/trick?%u", FSCACHE_ERROR_REFUSED, "host 127.1" },
    { "http://127.0.0.1.:%u/plain/trick?%u", FSCACHE_ERROR_REFUSED, "host 127.0.0.1." },
    { "http://[::ffff:127.0.0.1]:%u/plain/trick?%u", FSCACHE_ERROR_REFUSED, "[::ffff:127.0.0.1]" },
    { "http://[::1]:%u/plain/trick?%u", FSCACHE_ERROR_REFUSED, "[::1]" },
    { "https://127.0.0.1:%u/plain/trick?%u", FSCACHE_ERROR_UNAVAILABLE, "" }, /* is no TLS */
  };
  g_autofree char *config = g_strdup_printf ("[http]\nallow=127.0.0.1:%u\n", server.port);
  FscTestService *service = fsc_test_service_new (config, NULL);
  FscacheClient *client = fsc_test_service_connect (service);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *port = g_strdup_printf ("%u", server.port);
      g_auto (GStrv) parts = g_strsplit (cases[i].format, "%u", -1);
      g_autofree char *uri = g_strjoinv (port, parts);
      FscacheReply reply;

      g_assert_cmpint (fscache_open (client, uri, O_RDONLY, &reply), <, 0);
      g_test_message ("%s", reply.message);
      g_assert_cmpint (reply.code, ==, cases[i].code);
      g_assert_nonnull (strstr (reply.message, cases[i].part));
    }
  g_assert_cmpuint (count_requests ("/plain/trick", ""), ==, 0);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Root's service fetches nothing that it was not told to. */
static void
test_closed (void)
{
  FscTestService *service = fsc_test_service_new (NULL, NULL);
  FscacheClient *client = fsc_test_service_connect (service);

  if (geteuid () == 0)
    assert_fails (client, "/plain/closed", FSCACHE_ERROR_REFUSED, EACCES, "[http] allow");
  else
    assert_fetches (client, "/plain/closed", 100, 0);
  g_assert_cmpuint (count_requests ("/plain/closed", ""), ==, geteuid () == 0 ? 0 : 1);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Tests: what is broken, or lies */

static void
test_cut (FscTestService *service)
{
  static const struct
  {
    const char *how;
    guint version;    /* of the content */
    guint n_requests; /* for it */
  } cases[] = {
    { "right", 0, 2 },       { "changed", 7, 2 },     { "other-etag", 0, 3 }, { "no-etag", 0, 3 },
    { "other-start", 0, 3 }, { "other-total", 0, 3 }, { "part", 0, 3 },       { "no-range", 0, 3 },
    { "many", 0, 3 },        { "refused", 0, 3 },     { "gone", 0, 3 },       { "nameless", 0, 2 },
    { "often", 0, 11 },      { "restarts", 0, 2 },
  };
  FscacheClient *client = fsc_test_service_connect (service);
  gint64 began;

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *path = g_strdup_printf ("/cut/1?n=100000&how=%s", cases[i].how);

      g_test_message ("%s", cases[i].how);
      assert_fetches (client, path, 100000, cases[i].version);
      g_assert_cmpuint (count_requests (path, ""), ==, cases[i].n_requests);
    }
  g_assert_cmpuint (count_requests ("how=right", "Range=bytes=50000- If-Range=\"cut\""), ==, 1);
  g_assert_cmpuint (count_requests ("how=nameless", "Range"), ==, 0);

  /* A weak name is not enough to put parts together. */
  assert_fetches (client, "/cut/weak?n=100000&etag=W/\"x\"", 100000, 0);
  g_assert_cmpuint (count_requests ("/cut/weak", "Range"), ==, 0);

  /* It goes on breaking off without more to come of it, and is given up after a while. */
  began = g_get_monotonic_time ();
  assert_fails (
      client, "/cut/2?n=100000&how=always&etag=W/\"x\"", FSCACHE_ERROR_UNAVAILABLE, EIO,
      "the server broke off after 50000 of 100000 bytes; of 7 attempts the last 6 brought "
      "no more: ");
  g_assert_cmpuint (count_requests ("how=always", ""), ==, 7);
  g_assert_cmpint (g_get_monotonic_time () - began, >=, 63 * G_USEC_PER_SEC / 10);
  assert_fails (client, "/cut/3?n=100000&how=more", FSCACHE_ERROR_UNAVAILABLE, EIO,
                "the server sends more than it said");
  fscache_disconnect (client);
}

static void
test_lies (FscTestService *service)
{
  static const struct
  {
    const char *path;
    FscacheCode code;
    int error;
    const char *part;
  } cases[] = {
    { "/plain/gzip?h=Content-Encoding:gzip", FSCACHE_ERROR_UNAVAILABLE, EIO,
      "the server sends it encoded (gzip), although it was asked not to" },
    { "/plain/gzips?h=Content-Encoding:gzip&h=Content-Encoding:identity", FSCACHE_ERROR_UNAVAILABLE,
      EIO, "encoded (gzip)" },
    { "/unmodified/1?h=ETag:\"a\"", FSCACHE_ERROR_UNAVAILABLE, EIO, "answers 304" },
    { "/two-lengths/1", FSCACHE_ERROR_UNAVAILABLE, EIO, "two lengths" },
    { "/chunk-cut/1", FSCACHE_ERROR_UNAVAILABLE, EIO, "" },
    { "/nonsense/1", FSCACHE_ERROR_UNAVAILABLE, EIO, "" },
    { "/nothing-at-all/1", FSCACHE_ERROR_SYSTEM, ENOENT, "404" },
    { "/nothing/1", FSCACHE_ERROR_UNAVAILABLE, EIO, "" },
    { "/headers/1", FSCACHE_ERROR_UNAVAILABLE, EIO, "more than 65536 bytes of header" },
    { "/interim/1", FSCACHE_ERROR_UNAVAILABLE, EIO, "more than 65536 bytes of header" },
  };
  FscacheClient *client = fsc_test_service_connect (service);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    assert_fails (client, cases[i].path, cases[i].code, cases[i].error, cases[i].part);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_failed"), ==, 0);
  fscache_disconnect (client);
}

static void
test_size (FscTestService *service)
{
  static const char *const paths[] = { "/plain/large?n=1001", "/chunked/large?n=1001",
                                       "/until-closed/large?n=1001", "/endless/1?n=100000" };
  FscacheClient *client = fsc_test_service_connect (service);

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    assert_fails (client, paths[i], FSCACHE_ERROR_LIMIT, EFBIG,
                  "it has more than the 1000 bytes that [http] max-size allows");
  assert_fetches (client, "/plain/large?n=1000", 1000, 0);
  assert_fetches (client, "/chunked/large?n=1000", 1000, 0);
  fscache_disconnect (client);
}

/* What comes to a stop is asked for again; what never comes is given up. */
static void
test_stall (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  assert_fetches (client, "/stalls/1?n=100", 100, 0);
  g_assert_cmpuint (count_requests ("/stalls/1", "Range=bytes=50-"), ==, 1);
  assert_fails (client, "/silent/1", FSCACHE_ERROR_UNAVAILABLE, ETIMEDOUT, "/silent/1");
  fscache_disconnect (client);
}

static void
test_deadline (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  assert_fails (client, "/silent/2", FSCACHE_ERROR_TIMED_OUT, ETIMEDOUT, "no answer from the host");
  assert_fetches (client, "/plain/after-silence", 100, 0);

  /* What gets on is not late. */
  assert_fetches (client, "/slowly/late?n=1000", 1000, 0);
  fscache_disconnect (client);
}

/* Tests: who asks */

#define MANY 32

/* Many processes ask for the same at about the same time. */
static void
fetch_in_many (FscTestService *service, const char *path)
{
  g_autofree char *uri = make_uri (path);
  g_autofree char *expected = make_content (1000000, 0);
  pid_t children[MANY];

  for (guint i = 0; i < MANY; i++)
    {
      children[i] = fork ();
      g_assert_cmpint (children[i], >=, 0);
      if (children[i] == 0)
        {
          FscacheClient *client;
          g_autofree char *content = NULL;

          if (fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &client) < 0)
            _exit (2);
          content = fetch_uri (client, uri, NULL);
          _exit (strcmp (content, expected) == 0 ? 0 : 1);
        }
    }
  for (guint i = 0; i < MANY; i++)
    {
      int status;

      g_assert_cmpint (waitpid (children[i], &status, 0), ==, children[i]);
      g_assert_cmpint (status, ==, 0);
    }
}

/* It is fetched once. Where it does not hold, those who came when that had begun need one more
 * look. */
static void
test_once (FscTestService *service)
{
  fetch_in_many (service, "/slowly/once?n=1000000&h=Cache-Control:max-age=60");
  g_assert_cmpuint (count_requests ("/slowly/once", ""), ==, 1);

  fetch_in_many (service, "/slowly/ask?n=1000000&h=ETag:\"a\"");
  g_assert_cmpuint (count_requests ("/slowly/ask", "")
                        - count_requests ("/slowly/ask", "If-None-Match=\"a\""),
                    ==, 1);
  g_assert_cmpuint (count_requests ("/slowly/ask", ""), <=, 3);
}

typedef struct
{
  guint n;
  guint64 done, total;
} Progress;

static void
progressed (uint64_t done, uint64_t total, void *data)
{
  Progress *progress = data;

  g_assert_cmpuint (done, >=, progress->done);
  *progress = (Progress){ progress->n + 1, done, total };
}

static void
test_progress (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = make_uri ("/slowly/progress?n=100000");
  Progress progress = { 0 };
  const FscacheRequest request = { .uri = uri, .progress = progressed, .progress_data = &progress };
  FscacheReply reply;

  g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
  fscache_reply_clear (client, &reply);
  g_assert_cmpuint (progress.n, >, 2);
  g_assert_cmpuint (progress.done, >, 10000);
  g_assert_cmpuint (progress.total, ==, 100000);
  fscache_disconnect (client);
}

static void
test_digest (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = make_uri ("/plain/digest");
  guint8 digest[32] = { 0 };
  const FscacheRequest request = { .uri = uri, .digest = digest };
  FscacheReply reply;
  int fd = fscache_open_with (client, &request, &reply);

  fsc_test_assert_failed (&reply, fd, FSCACHE_ERROR_OTHER_CONTENT, EBADMSG);
  g_assert_cmpint (fscache_open (client, uri, O_RDONLY, &reply), >=, 0);
  memcpy (digest, reply.content.digest, sizeof digest);
  fscache_reply_clear (client, &reply);
  g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
  fscache_reply_clear (client, &reply);
  fscache_disconnect (client);
}

static void
ignore (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
}

/* Nobody waits any more: then nothing is fetched any more. */
static void
test_cancel (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = make_uri ("/silent/3");
  const FscacheRequest request = { .uri = uri };
  g_autoptr (GArray) openers = NULL;
  g_autoptr (GArray) fetchers = NULL;

  g_assert_cmpint (fscache_submit (client, &request, 1, ignore, NULL, NULL), ==, 0);
  for (guint i = 0; i < 500 && count_requests ("/silent/3", "") == 0; i++)
    {
      fscache_dispatch (client);
      g_usleep (10000);
    }
  g_assert_cmpuint (count_requests ("/silent/3", ""), ==, 1);
  openers = fsc_test_service_list_openers (service);
  g_assert_cmpuint (openers->len, ==, 1);
  fetchers = fsc_test_list_children (g_array_index (openers, pid_t, 0));
  g_assert_cmpuint (fetchers->len, ==, 1);
  fscache_disconnect (client);
  fsc_test_assert_all_end (openers);
  fsc_test_assert_all_end (fetchers);
}

/* Tests: who watches */

typedef struct
{
  guint n_events;
  FscacheEventReason reason;
  int error;
} Seen;

static void
take_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  Seen *seen = data;

  seen->n_events++;
  seen->reason = event->reason;
  seen->error = event->reply->error;
  if (event->reply->fd >= 0)
    close (event->reply->fd);
}

static void
wait_for_events (FscacheClient *client, const Seen *seen, guint n)
{
  gint64 deadline = g_get_monotonic_time () + 10 * G_USEC_PER_SEC;

  while (seen->n_events < n && g_get_monotonic_time () < deadline)
    {
      fscache_dispatch (client);
      g_usleep (10000);
    }
  g_assert_cmpuint (seen->n_events, ==, n);
}

/* Who watches is told when the server has another one, once the old one has held for its time. */
static void
test_watch (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = make_uri ("/counted/watched?h=Cache-Control:max-age=1");
  g_autofree char *missing = make_uri ("/missing/watched");
  const FscacheRequest there = { .uri = uri, .sharing = FSCACHE_SHARED };
  const FscacheRequest not_there = { .uri = missing, .sharing = FSCACHE_SHARED };
  Seen seen = { 0 }, not_seen = { 0 };

  g_assert_cmpint (fscache_watch (client, &there, take_event, &seen, NULL), ==, 0);
  g_assert_cmpint (fscache_watch (client, &not_there, take_event, &not_seen, NULL), ==, 0);
  wait_for_events (client, &seen, 1);
  g_assert_cmpint (seen.reason, ==, FSCACHE_EVENT_INITIAL);
  g_assert_cmpint (seen.error, ==, 0);
  wait_for_events (client, &not_seen, 1);
  g_assert_cmpint (not_seen.error, ==, ENOENT);
  wait_for_events (client, &seen, 2);
  g_assert_cmpint (seen.reason, ==, FSCACHE_EVENT_REPLACED);
  g_assert_cmpuint (not_seen.n_events, ==, 1);
  fscache_disconnect (client);
}

/* Also where the server has no name for what it has, or one name for all of it. That it sends the
 * same once more is not told. */
static void
test_watch_content (FscTestService *service)
{
  static const char *const paths[]
      = { "/rewritten/nameless?h=Cache-Control:max-age=1",
          "/rewritten/same-name?h=Cache-Control:max-age=1&h=ETag:\"a\"" };
  FscacheClient *client = fsc_test_service_connect (service);
  Seen seen[G_N_ELEMENTS (paths)] = { 0 };

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      g_autofree char *uri = make_uri (paths[i]);
      const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED };

      g_assert_cmpint (fscache_watch (client, &request, take_event, &seen[i], NULL), ==, 0);
    }
  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      wait_for_events (client, &seen[i], 2);
      g_assert_cmpint (seen[i].reason, ==, FSCACHE_EVENT_REPLACED);
      g_assert_cmpint (seen[i].error, ==, 0);
      g_assert_cmpuint (count_requests (paths[i], ""), ==, 3);
    }
  fscache_disconnect (client);
}

/* As long as it holds nobody needs to ask even the service. */
static void
test_borrow (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = make_uri ("/plain/borrowed?h=Cache-Control:max-age=60");
  FscacheBorrow borrow;
  FscacheReply reply;

  for (guint i = 0; i < 3; i++)
    {
      g_assert_cmpint (fscache_borrow (client, uri, &borrow, &reply), >=, 0);
      g_assert_cmpint (borrow.source, ==, i == 0 ? FSCACHE_SOURCE_OPENED : FSCACHE_SOURCE_KEPT);
      fscache_return (client, &borrow);
    }
  g_assert_cmpuint (count_requests ("/plain/borrowed", ""), ==, 1);
  fscache_disconnect (client);
}

/* Tests: the process that fetches */

static pid_t
find_fetcher (FscTestService *service)
{
  g_autoptr (GArray) openers = fsc_test_service_list_openers (service);
  g_autoptr (GArray) fetchers = NULL;

  g_assert_cmpuint (openers->len, ==, 1);
  fetchers = fsc_test_list_children (g_array_index (openers, pid_t, 0));
  return fetchers->len == 1 ? g_array_index (fetchers, pid_t, 0) : 0;
}

static void
test_confined (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  pid_t fetcher;

  assert_fetches (client, "/plain/confined", 100, 0);
  fetcher = find_fetcher (service);
  /* the service's, the opener's, and its own */
  g_assert_cmpint (fsc_process_get (fetcher, "Seccomp_filters:"), ==,
                   FSC_HAS_SECCOMP && FSC_TEST_MEASURES_MEMORY ? 3 : 1);
  g_assert_cmpint (fsc_process_get (fetcher, "NoNewPrivs:"), ==, 1);

  /* It stays, so the connection does. */
  assert_fetches (client, "/plain/confined-too", 100, 0);
  g_assert_cmpint (find_fetcher (service), ==, fetcher);
  fscache_disconnect (client);
}

static void
test_killed (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  pid_t fetcher;

  /* While it has nothing to do. */
  assert_fetches (client, "/plain/killed", 100, 0);
  fetcher = find_fetcher (service);
  g_assert_cmpint (kill (fetcher, SIGKILL), ==, 0);
  assert_fetches (client, "/plain/killed-idle", 100, 0);
  fetcher = find_fetcher (service);

  /* While it fetches. */
  {
    g_autofree char *uri = make_uri ("/slowly/killed?n=1000");
    pid_t killer = fork ();

    g_assert_cmpint (killer, >=, 0);
    if (killer == 0)
      {
        while (count_requests ("/slowly/killed", "") == 0)
          g_usleep (10000);
        _exit (kill (fetcher, SIGKILL) == 0 ? 0 : 1);
      }
    assert_fails_uri (client, uri, FSCACHE_ERROR_OPENER_FAILED, EIO,
                      "the process that fetches it was ended by signal 9");
    g_assert_cmpint (waitpid (killer, NULL, 0), ==, killer);
    g_free (fetch_uri (client, uri, NULL));
  }
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_failed"), ==, 0);
  fscache_disconnect (client);
}

/* Tests: proxies */

static void
test_proxy (void)
{
  g_autofree char *proxy = g_strdup_printf ("http://127.0.0.1:%u", server.port);
  g_autofree char *content = NULL;
  FscTestService *service;
  FscacheClient *client;

  g_setenv ("http_proxy", proxy, TRUE);
  g_setenv ("no_proxy", "127.0.0.1", TRUE);
  service = fsc_test_service_new (ALLOW, NULL);
  g_unsetenv ("http_proxy");
  g_unsetenv ("no_proxy");
  client = fsc_test_service_connect (service);
  content = fetch_uri (client, "http://example.invalid/proxied", NULL);
  g_assert_cmpstr (content, ==, "by the proxy");
  g_assert_cmpuint (count_requests ("GET http://example.invalid/proxied", ""), ==, 1);
  assert_fetches (client, "/plain/not-proxied", 100, 0);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Tests: TLS */

static const char *authorities;

static void
run_program (const char *dir, const char *line)
{
  g_auto (GStrv) arguments = g_strsplit (line, " ", -1);
  g_auto (FscTestProgram) program = { 0 };

  fsc_test_program_run (&program, dir, (const char *const *) arguments);
  fsc_test_program_assert_exit (&program, 0);
}

static void
make_authority (const char *dir, const char *name)
{
  g_autofree char *line = g_strdup_printf (
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
      "-keyout %s.key -out %s.pem -subj /CN=%s -days 2",
      name, name, name);

  run_program (dir, line);
}

static void
make_certificate (const char *dir, const char *name, const char *authority, const char *subject,
                  int days)
{
  g_autofree char *request = g_strdup_printf (
      "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s.key -out "
      "%s.csr -subj /CN=%s -addext subjectAltName=%s",
      name, name, name, subject);
  g_autofree char *sign = g_strdup_printf ("openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key "
                                           "-CAcreateserial -copy_extensions copy -days %d -out "
                                           "%s.pem",
                                           name, authority, authority, days, name);

  run_program (dir, request);
  run_program (dir, sign);
}

static Server
start_secure (const char *name)
{
  g_autofree char *certificate = g_strdup_printf ("%s/%s.pem", authorities, name);
  g_autofree char *key = g_strdup_printf ("%s/%s.key", authorities, name);
  g_autofree char *log = g_strdup_printf ("%s.log", name);

  return start_server (authorities, log, certificate, key);
}

/* A service that trusts this authority. */
static FscTestService *
start_trusting (const char *authority)
{
  g_autofree char *config = g_strdup_printf (ALLOW "ca-file=%s/%s.pem\n", authorities, authority);

  return fsc_test_service_new (config, NULL);
}

static gboolean
has_openssl (void)
{
  g_autofree char *path = g_find_program_in_path ("openssl");

  if (path == NULL)
    g_test_skip ("there is no openssl to make certificates with");
  return path != NULL;
}

static void
make_certificates (const char *dir)
{
  make_authority (dir, "authority");
  make_authority (dir, "other-authority");
  make_certificate (dir, "right", "authority", "DNS:localhost,IP:127.0.0.1", 2);
  make_certificate (dir, "expired", "authority", "DNS:localhost,IP:127.0.0.1", -1);
  make_certificate (dir, "elsewhere", "authority", "DNS:example.org", 2);
  make_certificate (dir, "unknown", "other-authority", "DNS:localhost,IP:127.0.0.1", 2);
}

static void
test_tls (void)
{
  static const char *const wrong[][2]
      = { { "expired", "certificate has expired" },
          { "elsewhere", "no alternative certificate subject name matches" },
          { "unknown", "self-signed certificate in " } };
  FscTestService *service;
  FscacheClient *client;
  Server secure;
  g_autofree char *uri = NULL, *content = NULL, *down = NULL, *escaped = NULL, *redirect = NULL;

  if (!has_openssl ())
    return;
  secure = start_secure ("right");
  service = start_trusting ("authority");
  client = fsc_test_service_connect (service);
  uri = g_strdup_printf ("https://localhost:%u/plain/1", secure.port);
  content = fetch_uri (client, uri, NULL);
  g_assert_cmpuint (strlen (content), ==, 100);

  /* From http: to https: one may be sent, but not back. */
  escaped = g_uri_escape_string (uri, NULL, FALSE);
  redirect = g_strdup_printf ("/redirect/up?to=%s", escaped);
  assert_fetches (client, redirect, 100, 0);
  down = g_strdup_printf ("https://localhost:%u/redirect/down?to=http://127.0.0.1:%u/plain/down",
                          secure.port, server.port);
  assert_fails_uri (client, down, FSCACHE_ERROR_SYSTEM, EIO, "redirected from https: to http:");
  g_assert_cmpuint (count_requests ("/plain/down", ""), ==, 0);

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    {
      Server bad = start_secure (wrong[i][0]);
      g_autofree char *bad_uri = g_strdup_printf ("https://localhost:%u/plain/1", bad.port);

      assert_fails_uri (client, bad_uri, FSCACHE_ERROR_UNAVAILABLE, EPROTO,
                        strcmp (wrong[i][0], "unknown") == 0 ? "certificate" : wrong[i][1]);
      g_assert_false (g_file_test (bad.log, G_FILE_TEST_EXISTS)
                      && count_requests_at (&bad, "GET", "") > 0);
      stop_server (&bad);
    }
  fscache_disconnect (client);
  fsc_test_service_free (service);
  stop_server (&secure);
}

/* The file with those who are trusted may be exchanged, under a process that may read no other. */
static void
test_trust_changes (void)
{
  g_autofree char *here = g_strdup_printf ("%s/trusted.pem", authorities);
  g_autofree char *known = g_strdup_printf ("%s/authority.pem", authorities);
  g_autofree char *wrong = g_strdup_printf ("%s/other-authority.pem", authorities);
  g_autofree char *fresh = g_strdup_printf ("%s/new.pem", authorities);
  g_autofree char *uri = NULL, *content = NULL, *pem = NULL;
  FscTestService *service;
  FscacheClient *client;
  Server secure;

  if (!has_openssl ())
    return;
  g_assert_true (g_file_get_contents (wrong, &pem, NULL, NULL));
  fsc_test_write (here, pem);
  secure = start_secure ("right");
  service = start_trusting ("trusted");
  client = fsc_test_service_connect (service);
  uri = g_strdup_printf ("https://localhost:%u/plain/1", secure.port);
  assert_fails_uri (client, uri, FSCACHE_ERROR_UNAVAILABLE, EPROTO, "certificate");
  g_clear_pointer (&pem, g_free);
  g_assert_true (g_file_get_contents (known, &pem, NULL, NULL));
  fsc_test_write (fresh, pem);
  g_assert_cmpint (g_rename (fresh, here), ==, 0);
  content = fetch_uri (client, uri, NULL);
  g_assert_cmpuint (strlen (content), ==, 100);
  fscache_disconnect (client);
  fsc_test_service_free (service);
  stop_server (&secure);
}

/* The proxy only passes on what is said to the host. */
static void
test_tls_proxy (void)
{
  g_autofree char *proxy = g_strdup_printf ("http://127.0.0.1:%u", server.port);
  g_autofree char *uri = NULL, *content = NULL, *connected = NULL;
  FscTestService *service;
  FscacheClient *client;
  Server secure;

  if (!has_openssl ())
    return;
  secure = start_secure ("right");
  g_setenv ("https_proxy", proxy, TRUE);
  service = start_trusting ("authority");
  g_unsetenv ("https_proxy");
  client = fsc_test_service_connect (service);
  uri = g_strdup_printf ("https://localhost:%u/plain/by-tunnel", secure.port);
  connected = g_strdup_printf ("CONNECT localhost:%u", secure.port);
  content = fetch_uri (client, uri, NULL);
  g_assert_cmpuint (strlen (content), ==, 100);
  g_assert_cmpuint (count_requests (connected, ""), ==, 1);
  g_assert_cmpuint (count_requests_at (&secure, "/plain/by-tunnel", ""), ==, 1);
  fscache_disconnect (client);
  fsc_test_service_free (service);
  stop_server (&secure);
}

/* Tests: nginx */

static guint
find_free_port (void)
{
  struct sockaddr_in address
      = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t length = sizeof address;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (bind (fd, (struct sockaddr *) &address, sizeof address), ==, 0);
  g_assert_cmpint (getsockname (fd, (struct sockaddr *) &address, &length), ==, 0);
  close (fd);
  return ntohs (address.sin_port);
}

static gboolean
is_listening (guint port)
{
  const struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons ((guint16) port),
                                       .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  gboolean is_there = connect (fd, (const struct sockaddr *) &address, sizeof address) == 0;

  close (fd);
  return is_there;
}

/* In the private directory, from which it serves www/ with ETags, and dated/ without. */
static GPid
start_nginx (FscTestService *service, guint port)
{
  g_autofree char *path = g_find_program_in_path ("nginx");
  const char *program = path != NULL ? path : "/usr/sbin/nginx";
  g_autofree char *config = g_strdup_printf (
      "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\nevents {}\n"
      "http {\n  access_log access.log;\n  client_body_temp_path tmp;\n  proxy_temp_path tmp;\n"
      "  fastcgi_temp_path tmp;\n  uwsgi_temp_path tmp;\n  scgi_temp_path tmp;\n"
      "  server {\n    listen 127.0.0.1:%u;\n    root www;\n"
      "    location /dated/ { etag off; }\n    location /held/ { expires 1h; }\n"
      "    location /old/ { return 301 /held/file; }\n  }\n}\n",
      port);
  g_autofree char *file = fsc_test_service_write (service, "nginx.conf", config);
  const char *arguments[] = { program, "-p", service->dir, "-c", file, "-e", "error.log", NULL };
  GPid pid;

  if (!g_file_test (program, G_FILE_TEST_IS_EXECUTABLE))
    {
      g_test_skip ("there is no nginx");
      return 0;
    }
  g_assert_true (g_spawn_async (service->dir, (char **) arguments, NULL,
                                G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL,
                                fsc_test_program_die_with_parent, NULL, &pid, NULL));
  for (guint i = 0; i < 500 && !is_listening (port); i++)
    g_usleep (10000);
  g_assert_true (is_listening (port));
  return pid;
}

static void
write_content (FscTestService *service, const char *name, guint version)
{
  g_autofree char *content = make_content (1000000, version);

  g_free (fsc_test_service_write (service, name, content));
}

static guint
count_accesses (FscTestService *service, const char *part)
{
  g_autofree char *path = g_build_filename (service->dir, "access.log", NULL);
  const Server nginx = { .log = path };

  return count_requests_at (&nginx, part, "fscache/");
}

/* It writes them down a moment after it has answered. */
static void
assert_accesses (FscTestService *service, const char *part, guint n)
{
  gint64 end = g_get_monotonic_time () + 5 * G_USEC_PER_SEC;

  while (count_accesses (service, part) < n && g_get_monotonic_time () < end)
    g_usleep (1000);
  g_assert_cmpuint (count_accesses (service, part), ==, n);
}

static void
test_nginx (FscTestService *service)
{
  static const char *const names[] = { "etag/file", "dated/file", "held/file" };
  guint port = find_free_port ();
  FscacheClient *client;
  GPid nginx;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *name = g_strconcat ("www/", names[i], NULL);
      g_autofree char *path = g_build_filename (service->dir, name, NULL);
      g_autofree char *dir = g_path_get_dirname (path);

      g_assert_cmpint (g_mkdir_with_parents (dir, 0755), ==, 0);
      write_content (service, name, i);
    }
  nginx = start_nginx (service, port);
  if (nginx == 0)
    return;
  client = fsc_test_service_connect (service);
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *uri = g_strdup_printf ("http://127.0.0.1:%u/%s", port, names[i]);
      g_autofree char *got = g_strdup_printf ("GET /%s HTTP/1.1\" 200", names[i]);
      g_autofree char *kept = g_strdup_printf ("GET /%s HTTP/1.1\" 304", names[i]);
      g_autofree char *name = g_strconcat ("www/", names[i], NULL);
      g_autofree char *expected = make_content (1000000, i);
      g_autofree char *changed = make_content (1000000, i + 10);
      gboolean is_held = strcmp (names[i], "held/file") == 0;
      g_autofree char *first = fetch_uri (client, uri, NULL);
      g_autofree char *second = fetch_uri (client, uri, NULL);
      g_autofree char *third = NULL;

      g_assert_cmpstr (first, ==, expected);
      g_assert_cmpstr (second, ==, expected);
      assert_accesses (service, got, 1);
      assert_accesses (service, kept, is_held ? 0 : 1);
      g_usleep (1100 * 1000); /* its times are in seconds */
      write_content (service, name, i + 10);
      third = fetch_uri (client, uri, NULL);
      g_assert_cmpstr (third, ==, is_held ? expected : changed);
    }
  {
    g_autofree char *uri = g_strdup_printf ("http://127.0.0.1:%u/old/", port);
    g_autofree char *missing = g_strdup_printf ("http://127.0.0.1:%u/missing", port);
    g_autofree char *changed = make_content (1000000, 12);
    g_autofree char *content = fetch_uri (client, uri, NULL);

    g_assert_cmpstr (content, ==, changed);
    assert_fails_uri (client, missing, FSCACHE_ERROR_SYSTEM, ENOENT, "404");
  }
  fscache_disconnect (client);
  g_assert_cmpint (kill (nginx, SIGTERM), ==, 0);
  g_assert_cmpint (waitpid (nginx, NULL, 0), ==, nginx);
}

/* Life */

/* A test, with what it has the configuration say. */
typedef struct
{
  const char *path;
  FscTestServiceFunc func;
  const char *config;
} Case;

static void
run (gconstpointer data)
{
  const Case *test = data;
  FscTestService *service = fsc_test_service_new (test->config, NULL);

  test->func (service);
  fsc_test_service_free (service);
}

int
main (int argc, char **argv)
{
  static const Case cases[] = {
    { "/http/plain", test_plain, ALLOW },
    { "/http/bodies", test_bodies, ALLOW },
    { "/http/statuses", test_statuses, ALLOW },
    { "/http/flags", test_flags, ALLOW },
    { "/http/freshness", test_freshness, ALLOW },
    { "/http/default-ttl", test_default_ttl, ALLOW "ttl=60\n" },
    { "/http/revalidation", test_revalidation, ALLOW },
    { "/http/withdrawn", test_withdrawn, ALLOW },
    { "/http/unavailable", test_unavailable, ALLOW },
    { "/http/unreachable", test_unreachable, ALLOW },
    { "/http/redirect", test_redirect, ALLOW },
    { "/http/redirect-refused", test_redirect_refused, ALLOW },
    { "/http/redirect-freshness", test_redirect_freshness, ALLOW },
    { "/http/cut", test_cut, ALLOW },
    { "/http/lies", test_lies, ALLOW },
    { "/http/size", test_size, ALLOW "max-size=1000\n" },
    { "/http/stall", test_stall, ALLOW "stall-timeout=1\n" },
    { "/http/deadline", test_deadline, ALLOW "deadline=0.6\n" },
    { "/http/once", test_once, ALLOW },
    { "/http/progress", test_progress, ALLOW },
    { "/http/digest", test_digest, ALLOW },
    { "/http/cancel", test_cancel, ALLOW },
    { "/http/watch", test_watch, ALLOW },
    { "/http/watch-content", test_watch_content, ALLOW },
    { "/http/borrow", test_borrow, ALLOW },
    { "/http/confined", test_confined, ALLOW "[lanes]\nopeners=1\n" },
    { "/http/killed", test_killed, ALLOW "[lanes]\nopeners=1\n" },
    { "/http/nginx", test_nginx, ALLOW },
  };
  g_autofree char *openssl = NULL;
  int lock, status;
  char *dir;

  fsc_test_init (&argc, &argv);
  dir = fsc_test_directory_new (&lock);
  authorities = dir;
  openssl = g_find_program_in_path ("openssl");
  if (openssl != NULL)
    make_certificates (dir);
  server = start_server (dir, "log", NULL, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    g_test_add_data_func (cases[i].path, &cases[i], run);
  g_test_add_func ("/http/allow", test_allow);
  g_test_add_func ("/http/allow-tricks", test_allow_tricks);
  g_test_add_func ("/http/closed", test_closed);
  g_test_add_func ("/http/proxy", test_proxy);
  g_test_add_func ("/http/tls", test_tls);
  g_test_add_func ("/http/trust-changes", test_trust_changes);
  g_test_add_func ("/http/tls-proxy", test_tls_proxy);
  status = g_test_run ();
  stop_server (&server);
  fsc_test_directory_free (dir, lock);
  return status;
}
