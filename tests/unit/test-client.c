/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libfscache against a fake service in the same process. Each test counts the open descriptors of
 * the process, which are those of both ends, before and after.
 */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/fake-fixture.h"

/* Harness */

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture_init (fixture);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  fixture_clear (fixture);
}

static void
close_checked (int fd)
{
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (close (fd), ==, 0);
}

static void
assert_says (const FscacheReply *reply, FscacheCode code, int error, const char *part)
{
  g_assert_cmpstr (fscache_code_name (reply->code), ==, fscache_code_name (code));
  g_assert_cmpint (reply->error, ==, error);
  g_assert_cmpint (reply->fd, ==, -1);
  if (strstr (reply->message, part) == NULL)
    g_error ("\"%s\" does not say \"%s\"", reply->message, part);
}

static int
open_as (FscacheClient *client, const char *uri, FscacheSharing sharing, FscacheReply *reply)
{
  FscacheRequest request = { .uri = uri, .sharing = sharing };

  return fscache_open_with (client, &request, reply);
}

static gint64
get_ms (void)
{
  return g_get_monotonic_time () / 1000;
}

/* Waits until the service has seen what is only on its way. */
#define WAIT_FOR(condition)                                                                        \
  G_STMT_START                                                                                     \
  {                                                                                                \
    for (int wait_i = 0; wait_i < 2000 && !(condition); wait_i++)                                  \
      g_usleep (1000);                                                                             \
    g_assert_true (condition);                                                                     \
  }                                                                                                \
  G_STMT_END

/* Connecting */

static void
test_connect (Fixture *fixture, gconstpointer data)
{
  char name[32];

  fixture_start (fixture, 0);
  g_assert_cmpuint (fscache_service_name (fixture->client, name, sizeof name), ==, 8);
  g_assert_cmpstr (name, ==, "fake 1.0");
  g_assert_cmpuint (fscache_service_name (fixture->client, name, 5), ==, 8);
  g_assert_cmpstr (name, ==, "fake");
  g_assert_true (fake_service_get_seen (fixture->fake).had_root);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
}

static void
test_connect_arguments (Fixture *fixture, gconstpointer data)
{
  g_autofree char *long_path = g_strnfill (200, 'x');
  FscacheClient *client = (FscacheClient *) fixture;

  g_assert_cmpint (fscache_connect (long_path, 0, &client), ==, -EINVAL);
  g_assert_null (client);
  g_assert_cmpint (fscache_connect (NULL, 1u << 30, &client), ==, -EINVAL);
  g_assert_null (client);
  fscache_disconnect (NULL);
}

static void
test_connect_environment (Fixture *fixture, gconstpointer data)
{
  g_autofree char *folder = g_build_filename (fixture->directory, "fscache", NULL);
  g_autofree char *path = g_build_filename (folder, "socket", NULL);
  FakeService *fake = fake_service_new (path);

  g_assert_cmpint (g_mkdir (folder, 0700), ==, 0);
  fake_service_start (fake);
  g_setenv ("XDG_RUNTIME_DIR", fixture->directory, TRUE);
  g_assert_cmpint (fscache_connect (NULL, 0, &fixture->client), ==, 0);
  fscache_disconnect (g_steal_pointer (&fixture->client));

  fake_service_start (fixture->fake);
  g_setenv ("FSCACHE_SOCKET", fixture->socket, TRUE);
  g_assert_cmpint (fscache_connect (NULL, 0, &fixture->client), ==, 0);
  g_assert_cmpuint (fake_service_get_seen (fake).connections, ==, 1);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);

  g_unsetenv ("FSCACHE_SOCKET");
  g_unsetenv ("XDG_RUNTIME_DIR");
  fake_service_free (fake);
  g_rmdir (folder);
}

static void
test_no_service (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = fixture->file, .options = FSCACHE_NO_FALLBACK };
  FscacheReply reply;
  gint64 before = get_ms ();

  g_assert_cmpint (fscache_connect (fixture->socket, 0, &fixture->client), ==, -ECONNREFUSED);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmpint (reply.kind, ==, FSCACHE_KIND_REGULAR);
  close_checked (open_as (fixture->client, fixture->file, FSCACHE_EXCLUSIVE, &reply));
  g_assert_cmpint (reply.sharing, ==, FSCACHE_EXCLUSIVE);
  g_assert_cmpuint (reply.lease, ==, 0);

  g_assert_cmpint (fscache_open (fixture->client, fixture->missing, O_RDONLY, &reply), ==, -ENOENT);
  assert_says (&reply, FSCACHE_ERROR_SYSTEM, ENOENT, "/missing: No such file or directory");
  g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), ==, -ECONNREFUSED);
  assert_says (&reply, FSCACHE_ERROR_NO_SERVICE, ECONNREFUSED, fixture->socket);
  assert_says (&reply, FSCACHE_ERROR_NO_SERVICE, ECONNREFUSED, "/a file: no service at ");
  g_assert_cmpint (fscache_open (fixture->client, "http://host/x", O_RDONLY, &reply), <, 0);
  assert_says (&reply, FSCACHE_ERROR_NO_SERVICE, ECONNREFUSED, "http://host/x");
  g_assert_cmpint (fscache_list (fixture->client, NULL, NULL, NULL, &reply), ==, -ECONNREFUSED);
  assert_says (&reply, FSCACHE_ERROR_NO_SERVICE, ECONNREFUSED, "cannot list");
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, -ECONNREFUSED);
  g_assert_cmpint (get_ms () - before, <, 1000); /* nothing of this waited */

  /* It is found when it is there. */
  fake_service_start (fixture->fake);
  WAIT_FOR (fscache_ping (fixture->client, NULL) == 0);
}

static void
test_refused (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = fixture->file, .options = FSCACHE_NO_FALLBACK };
  FscacheReply reply;

  ORDER (fixture, refusal, FSC_CODE_VERSION);
  fake_service_start (fixture->fake);
  g_assert_cmpint (fscache_connect (fixture->socket, 0, &fixture->client), ==, -EACCES);
  for (int i = 0; i < 100; i++)
    {
      close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
      g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), ==, -EACCES);
      assert_says (&reply, FSCACHE_ERROR_VERSION, EACCES, "you are not welcome");
    }
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, <=, 2);
}

/* A service of somebody else. */
static void
test_wrong_owner (Fixture *fixture, gconstpointer data)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  FscacheReply reply;
  int listener;
  pid_t child;

  if (geteuid () != 0)
    {
      g_test_skip ("needs root, to have a socket of another user");
      return;
    }
  g_strlcpy (address.sun_path, fixture->socket, sizeof address.sun_path);
  listener = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  g_assert_cmpint (bind (listener, (struct sockaddr *) &address, sizeof address), ==, 0);
  child = fork ();
  if (child == 0)
    _exit (setresuid (65534, 65534, 65534) < 0 || listen (listener, 8) < 0);
  g_assert_cmpint (waitpid (child, NULL, 0), ==, child);

  g_assert_cmpint (fscache_connect (fixture->socket, 0, &fixture->client), ==, -EACCES);
  g_assert_cmpint (fscache_ping (fixture->client, &reply), ==, -EACCES);
  assert_says (&reply, FSCACHE_ERROR_REFUSED, EACCES, "runs as user 65534");
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  close (listener);
}

/* It accepts and says nothing; or does not even accept. */
static void
test_stuck (Fixture *fixture, gconstpointer data)
{
  gboolean is_full = GPOINTER_TO_INT (data);
  int others[70], n = 0;
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  FscacheReply reply;
  gint64 before;

  ORDER (fixture, is_mute, TRUE);
  ORDER (fixture, is_paused, is_full);
  fake_service_start (fixture->fake);
  g_strlcpy (address.sun_path, fixture->socket, sizeof address.sun_path);
  while (is_full && n < 70)
    {
      others[n] = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (connect (others[n++], (struct sockaddr *) &address, sizeof address) < 0)
        break;
    }

  before = get_ms ();
  g_assert_cmpint (fscache_connect (fixture->socket, 0, &fixture->client), ==,
                   is_full ? -EAGAIN : -ETIMEDOUT);
  g_assert_cmpint (get_ms () - before, >=, 2500);
  g_assert_cmpint (get_ms () - before, <, 5000);

  /* It is left alone for a while then. */
  before = get_ms ();
  for (int i = 0; i < 10; i++)
    close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpint (get_ms () - before, <, 1000);
  while (n > 0)
    close (others[--n]);
}

/* Opening */

static void
test_independent (Fixture *fixture, gconstpointer data)
{
  g_autofree char *uri = fscache_uri (fixture->file);
  FscacheReply replies[2];
  char byte;

  fixture_start (fixture, 0);
  for (int i = 0; i < 2; i++)
    {
      int fd = fscache_open (fixture->client, i == 0 ? fixture->file : uri, O_RDONLY, &replies[i]);

      g_assert_cmpint (fd, ==, replies[i].fd);
      g_assert_cmpint (replies[i].code, ==, FSCACHE_OK);
      g_assert_cmpint (replies[i].error, ==, 0);
      g_assert_cmpstr (replies[i].message, ==, "");
      g_assert_cmpint (replies[i].sharing, ==, FSCACHE_INDEPENDENT);
      g_assert_cmpint (replies[i].source, ==, FSCACHE_SOURCE_CACHE);
      g_assert_cmpint (replies[i].coherence, ==, FSCACHE_COHERENCE_CHECKED);
      g_assert_cmpint (replies[i].kind, ==, FSCACHE_KIND_REGULAR);
      g_assert_cmpint (fcntl (fd, F_GETFD) & FD_CLOEXEC, !=, 0);
    }
  g_assert_cmpint (read (replies[0].fd, &byte, 1), ==, 1);
  g_assert_cmpint (read (replies[1].fd, &byte, 1), ==, 1);
  g_assert_cmpint (byte, ==, '0');
  for (int i = 0; i < 2; i++)
    fscache_reply_clear (fixture->client, &replies[i]);
  g_assert_cmpint (replies[0].fd, ==, -1);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, NULL));
}

/* The demonstration of an offset that is shared. */
static void
test_shared (Fixture *fixture, gconstpointer data)
{
  FscacheReply replies[2];
  char byte;
  int fd = open (fixture->file, O_RDONLY | O_CLOEXEC);

  fixture_start (fixture, 0);
  ORDER (fixture, canned_fd, fd);
  for (int i = 0; i < 2; i++)
    {
      g_assert_cmpint (open_as (fixture->client, fixture->file, FSCACHE_SHARED, &replies[i]), >=,
                       0);
      g_assert_cmpint (replies[i].sharing, ==, FSCACHE_SHARED);
    }
  g_assert_cmpint (read (replies[0].fd, &byte, 1), ==, 1);
  g_assert_cmpint (read (replies[1].fd, &byte, 1), ==, 1);
  g_assert_cmpint (byte, ==, '1');
  for (int i = 0; i < 2; i++)
    fscache_reply_clear (fixture->client, &replies[i]);
  ORDER (fixture, canned_fd, -1);
  close (fd);
}

static void
test_exclusive (Fixture *fixture, gconstpointer data)
{
  FscacheReply reply, old;

  fixture_start (fixture, 0);
  g_assert_cmpint (open_as (fixture->client, "test:lease", FSCACHE_EXCLUSIVE, &reply), >=, 0);
  g_assert_cmpuint (reply.lease, ==, 1);
  fscache_give_back (fixture->client, &reply);
  g_assert_cmpint (reply.fd, ==, -1);
  g_assert_cmpuint (reply.lease, ==, 0);
  fscache_give_back (fixture->client, &reply); /* does nothing */
  WAIT_FOR (fake_service_get_seen (fixture->fake).give_backs == 1);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).last_lease, ==, 1);

  /* A lease ends with its connection. */
  g_assert_cmpint (open_as (fixture->client, "test:lease", FSCACHE_EXCLUSIVE, &old), >=, 0);
  fake_service_stop (fixture->fake);
  fake_service_start (fixture->fake);
  g_assert_cmpint (open_as (fixture->client, "test:lease", FSCACHE_EXCLUSIVE, &reply), >=, 0);
  fscache_give_back (fixture->client, &old);
  fscache_give_back (fixture->client, &reply);
  WAIT_FOR (fake_service_get_seen (fixture->fake).give_backs == 2);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).last_lease, ==, 3);
}

static void
test_errors (Fixture *fixture, gconstpointer data)
{
  g_autofree char *long_path = g_strnfill (5000, 'x');
  g_autofree char *long_uri = g_strconcat ("test:", long_path, long_path, long_path, NULL);
  FscacheRequest request = { .uri = fixture->file, .sharing = 7 };
  FscacheClient *client;
  FscacheReply reply;

  fixture_start (fixture, 0);
  client = fixture->client;
  g_assert_cmpint (fscache_open (client, fixture->missing, O_RDONLY, &reply), ==, -ENOENT);
  assert_says (&reply, FSCACHE_ERROR_SYSTEM, ENOENT, "/missing: No such file or directory");
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_NONE);
  g_assert_cmpint (fscache_open (client, fixture->missing, O_RDONLY, NULL), ==, -ENOENT);
  g_assert_cmpint (fscache_open (client, "test:limit", O_RDONLY, &reply), ==, -EUSERS);
  assert_says (&reply, FSCACHE_ERROR_LIMIT, EUSERS, "5 of 5 are in use");
  g_assert_cmpint (fscache_open (client, "test:error", O_RDONLY, &reply), ==, -EUSERS);
  assert_says (&reply, FSCACHE_ERROR_LIMIT, EUSERS, "this OPEN is refused");
  g_assert_cmpint (fscache_open (client, "what:ever", O_RDONLY, &reply), ==, -EPROTONOSUPPORT);
  assert_says (&reply, FSCACHE_ERROR_UNKNOWN_SCHEME, EPROTONOSUPPORT, "what:ever");

  g_assert_cmpint (fscache_open (client, "file:///a%zz", O_RDONLY, &reply), ==, -EINVAL);
  assert_says (&reply, FSCACHE_ERROR_BAD_URI, EINVAL, "file:///a%zz: this URI has a '%'");
  g_assert_cmpint (fscache_open (client, long_uri, O_RDONLY, &reply), ==, -ENAMETOOLONG);
  assert_says (&reply, FSCACHE_ERROR_BAD_URI, ENAMETOOLONG, "this URI is too long");
  g_assert_cmpint (fscache_open (client, long_path, O_RDONLY, &reply), ==, -ENAMETOOLONG);
  assert_says (&reply, FSCACHE_ERROR_SYSTEM, ENAMETOOLONG, "xx: File name too long");
  g_assert_cmpint (fscache_open (client, "", O_RDONLY, &reply), ==, -ENOENT);
  assert_says (&reply, FSCACHE_ERROR_SYSTEM, ENOENT, "No such file");
  g_assert_cmpint (fscache_open (client, NULL, O_RDONLY, &reply), ==, -EINVAL);
  assert_says (&reply, FSCACHE_ERROR_BAD_URI, EINVAL, "no name");
  g_assert_cmpint (fscache_open (client, "a\nb\tc", O_RDONLY, &reply), ==, -ENOENT);
  assert_says (&reply, FSCACHE_ERROR_SYSTEM, ENOENT, "/a?b?c: No such file");

  g_assert_cmpint (fscache_open_with (client, &request, &reply), ==, -EINVAL);
  assert_says (&reply, FSCACHE_ERROR_BAD_REQUEST, EINVAL, "no such sharing mode");
  request = (FscacheRequest){ .uri = fixture->file, .options = 1u << 9 };
  g_assert_cmpint (fscache_open_with (client, &request, &reply), ==, -EINVAL);
  assert_says (&reply, FSCACHE_ERROR_BAD_REQUEST, EINVAL, "unknown option");
  request = (FscacheRequest){ .uri = fixture->file, .reserved = { 0, 1 } };
  g_assert_cmpint (fscache_open_with (client, &request, &reply), ==, -EINVAL);
  assert_says (&reply, FSCACHE_ERROR_BAD_REQUEST, EINVAL, "reserved");
}

static void
test_relative (Fixture *fixture, gconstpointer data)
{
  g_autofree char *before = g_get_current_dir ();
  g_autofree char *gone = g_build_filename (fixture->directory, "gone", NULL);
  FscacheReply reply;

  fixture_start (fixture, 0);
  g_assert_cmpint (g_chdir (fixture->directory), ==, 0);
  close_checked (fscache_open (fixture->client, ".//a file", O_RDONLY, &reply));
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);

  /* A directory without a name: open() knows what to do, the service does not. */
  g_assert_cmpint (g_mkdir (gone, 0700), ==, 0);
  g_assert_cmpint (g_chdir (gone), ==, 0);
  g_assert_cmpint (g_rmdir (gone), ==, 0);
  g_assert_cmpint (fscache_open (fixture->client, "nothing", O_RDONLY, &reply), ==, -ENOENT);
  assert_says (&reply, FSCACHE_ERROR_SYSTEM, ENOENT, "cannot open nothing: No such");
  close_checked (fscache_open (fixture->client, "../a file", O_RDONLY, &reply));
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpint (g_chdir (before), ==, 0);
}

static void
test_not_served (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = fixture->file, .options = FSCACHE_NO_FALLBACK };
  FscacheReply reply;

  ORDER (fixture, answers_not_served, TRUE);
  fixture_start (fixture, 0);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), ==, -EXDEV);
  assert_says (&reply, FSCACHE_ERROR_NOT_SERVED, EXDEV, "/a file: the service cannot serve");
}

/* The service has said that it serves no paths: it is not asked for any. */
static void
test_serves_nothing (Fixture *fixture, gconstpointer data)
{
  FscacheReply reply;

  ORDER (fixture, serves_nothing, TRUE);
  fixture_start (fixture, 0);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).opens, ==, 0);
  g_assert_cmpint (fscache_open (fixture->client, "test:limit", O_RDONLY, &reply), ==, -EUSERS);
}

static void
test_many (Fixture *fixture, gconstpointer data)
{
  enum
  {
    N = 600
  };
  g_autofree FscacheRequest *requests = g_new0 (FscacheRequest, N);
  g_autofree FscacheReply *replies = g_new0 (FscacheReply, N);
  unsigned items_max = GPOINTER_TO_UINT (data);
  int n_failed = 0;

  ORDER (fixture, items_max, items_max);
  fixture_start (fixture, 0);
  for (int i = 0; i < N; i++)
    {
      requests[i].uri = i % 5 == 1    ? fixture->missing
                        : i % 7 == 2  ? "test:limit"
                        : i % 11 == 3 ? "file:relative"
                                      : fixture->file;
      requests[i].sharing = i % 2 == 0 ? FSCACHE_SHARED : FSCACHE_INDEPENDENT;
      n_failed += requests[i].uri != fixture->file;
    }
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, N), ==, n_failed);
  for (int i = 0; i < N; i++)
    {
      FscacheCode code = requests[i].uri == fixture->file      ? FSCACHE_OK
                         : requests[i].uri == fixture->missing ? FSCACHE_ERROR_SYSTEM
                         : requests[i].uri[0] == 't'           ? FSCACHE_ERROR_LIMIT
                                                               : FSCACHE_ERROR_BAD_URI;

      g_assert_cmpint (replies[i].code, ==, code);
      if (code == FSCACHE_OK)
        g_assert_cmpint (replies[i].sharing, ==, requests[i].sharing);
      g_assert_cmpint (replies[i].fd >= 0, ==, code == FSCACHE_OK);
      fscache_reply_clear (fixture->client, &replies[i]);
    }
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, 0), ==, 0);
  if (items_max > 0)
    g_assert_cmpuint (fake_service_get_seen (fixture->fake).opens, >=, N / items_max * 8 / 10);
}

static void
test_many_without_service (Fixture *fixture, gconstpointer data)
{
  FscacheRequest requests[2] = { { .uri = fixture->file }, { .uri = fixture->missing } };
  FscacheReply replies[2];

  g_assert_cmpint (fscache_connect (fixture->socket, FSCACHE_NO_FALLBACK, &fixture->client), <, 0);
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, 2), ==, -ECONNREFUSED);
  assert_says (&replies[1], FSCACHE_ERROR_NO_SERVICE, ECONNREFUSED, fixture->missing);
}

static void
test_create (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request
      = { .uri = fixture->missing, .flags = O_RDWR | O_CREAT | O_EXCL, .mode = 0664 };
  mode_t before = umask (0027);
  FscacheReply reply;

  fixture_start (fixture, 0);
  close_checked (fscache_open_with (fixture->client, &request, &reply));
  umask (before);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_PASSED);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).last_umask, ==, 0027);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).last_mode, ==, 0664);
  g_unlink (fixture->missing);

  close_checked (fscache_open (fixture->client, fixture->missing, O_WRONLY | O_CREAT, &reply));
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).last_mode, ==, 0666);
  g_unlink (fixture->missing);
}

static void
test_fopen (Fixture *fixture, gconstpointer data)
{
  int canned = open (fixture->file, O_RDONLY | O_CLOEXEC);
  char buffer[16];
  FscacheReply reply;
  FILE *files[2];

  fixture_start (fixture, 0);
  ORDER (fixture, canned_fd, canned);
  for (int i = 0; i < 2; i++)
    {
      files[i] = fscache_fopen (fixture->client, fixture->file, &reply);
      g_assert_nonnull (files[i]);
      g_assert_cmpint (reply.fd, ==, -1);
      g_assert_cmpint (reply.sharing, ==, FSCACHE_SHARED);
    }
  for (int i = 0; i < 2; i++)
    {
      g_assert_cmpint (fgetc (files[i]), ==, '0');
      g_assert_cmpint (fseek (files[i], -3, SEEK_END), ==, 0);
      g_assert_cmpint (ftell (files[i]), ==, 7);
      g_assert_cmpuint (fread (buffer, 1, sizeof buffer, files[i]), ==, 3);
      g_assert_cmpmem (buffer, 3, "789", 3);
      g_assert_true (feof (files[i]));
      g_assert_cmpint (fseek (files[i], 2, SEEK_SET), ==, 0);
      g_assert_cmpint (fseek (files[i], 2, SEEK_CUR), ==, 0);
      g_assert_cmpint (fgetc (files[i]), ==, '4');
      g_assert_cmpint (fseek (files[i], -20, SEEK_CUR), ==, -1);
      g_assert_cmpint (fputc ('x', files[i]), ==, EOF);
    }
  fscache_disconnect (g_steal_pointer (&fixture->client)); /* they do not need it */
  rewind (files[0]);
  g_assert_cmpint (fgetc (files[0]), ==, '0');
  g_assert_cmpint (fclose (files[0]), ==, 0);
  g_assert_cmpint (fclose (files[1]), ==, 0);
  g_assert_cmpint (lseek (canned, 0, SEEK_CUR), ==, 0);
  ORDER (fixture, canned_fd, -1);
  close (canned);
}

static void
test_fopen_local (Fixture *fixture, gconstpointer data)
{
  FscacheReply reply;
  FILE *file;

  fscache_connect (fixture->socket, 0, &fixture->client);
  file = fscache_fopen (fixture->client, fixture->file, NULL);
  g_assert_nonnull (file);
  g_assert_cmpint (fgetc (file), ==, '0');
  fclose (file);
  g_assert_null (fscache_fopen (fixture->client, fixture->missing, &reply));
  g_assert_cmpint (errno, ==, ENOENT);
  assert_says (&reply, FSCACHE_ERROR_SYSTEM, ENOENT, fixture->missing);
}

/* What goes wrong on the way */

static void
test_lost (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = fixture->file, .flags = O_WRONLY | O_TRUNC };
  FscacheReply reply;

  fixture_start (fixture, FSCACHE_NO_FALLBACK);
  for (int i = 1; i <= 5; i++)
    {
      ORDER (fixture, to_close, i);
      close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
    }

  /* While it is away for a moment, requests wait. */
  fake_service_stop (fixture->fake);
  fake_service_start (fixture->fake);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));

  /* What may not happen twice is not repeated. */
  ORDER (fixture, to_close, 1);
  g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), ==, -ECONNRESET);
  assert_says (&reply, FSCACHE_ERROR_NO_SERVICE, ECONNRESET, "may or may not have happened");
  request.flags = O_WRONLY | O_CREAT | O_EXCL;
  ORDER (fixture, to_close, 1);
  g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), ==, -ECONNRESET);
  request.flags = O_WRONLY | O_CREAT;
  ORDER (fixture, to_close, 1);
  close_checked (fscache_open_with (fixture->client, &request, &reply));
}

/* It does not come back. */
static void
test_lost_for_good (Fixture *fixture, gconstpointer data)
{
  gint64 before = get_ms ();
  FscacheReply reply;

  fixture_start (fixture, 0);
  fake_service_stop (fixture->fake);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpint (get_ms () - before, >=, 2500);
  g_assert_cmpint (get_ms () - before, <, 5000);

  before = get_ms ();
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpint (get_ms () - before, <, 100);
}

/* A service that each request kills does not keep the client forever. */
static void
test_lost_always (Fixture *fixture, gconstpointer data)
{
  FscacheReply reply;

  ORDER (fixture, to_close, G_MAXINT);
  fixture_start (fixture, 0);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).opens, ==, 32);
}

static void
test_lost_halfway (Fixture *fixture, gconstpointer data)
{
  FscacheRequest requests[200];
  FscacheReply replies[200];

  fixture_start (fixture, FSCACHE_NO_FALLBACK);
  for (int i = 0; i < 200; i++)
    requests[i] = (FscacheRequest){ .uri = fixture->file };
  ORDER (fixture, to_close_halfway, 2);
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, 200), ==, 0);
  for (int i = 0; i < 200; i++)
    close_checked (replies[i].fd);
  /* 100 of 200, 50 of the other 100, and the last 50: nothing is opened twice. */
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).items, ==, 200);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).opens, ==, 3);
}

static void
test_garbage (Fixture *fixture, gconstpointer data)
{
  FscacheReply reply;

  fixture_start (fixture, 0);
  for (int i = 0; i < FAKE_GARBAGE_KINDS; i++)
    {
      ORDER (fixture, to_garble, 1);
      close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
      g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, i + 2);
    }
  for (int i = 0; i < FAKE_GARBAGE_KINDS; i++)
    {
      ORDER (fixture, to_garble, 2);
      g_assert_cmpint (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply), ==,
                       -EPROTO);
      assert_says (&reply, FSCACHE_ERROR_PROTOCOL, EPROTO, "/a file: the service's answer");
    }
}

static void
test_unknown_answers (Fixture *fixture, gconstpointer data)
{
  FscacheReply reply;

  fixture_start (fixture, 0);
  ORDER (fixture, to_confuse, 20);
  for (int i = 0; i < 10; i++)
    {
      close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
      g_assert_cmpint (open_as (fixture->client, "test:lease", FSCACHE_EXCLUSIVE, &reply), >=, 0);
      fscache_reply_clear (fixture->client, &reply);
    }
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
  /* Those of answers that nobody asked for are given back as well. */
  WAIT_FOR (fake_service_get_seen (fixture->fake).give_backs == 30);
}

static void
test_no_descriptor (Fixture *fixture, gconstpointer data)
{
  struct rlimit before, few;
  int canned = open (fixture->file, O_RDONLY | O_CLOEXEC);
  FscacheRequest requests[3] = { { .uri = fixture->file },
                                 { .uri = "test:limit" },
                                 { .uri = fixture->file, .sharing = FSCACHE_EXCLUSIVE } };
  FscacheReply reply, replies[3];

  fixture_start (fixture, FSCACHE_NO_FALLBACK);
  ORDER (fixture, canned_fd, canned);
  fscache_ping (fixture->client, NULL); /* now it has closed what HELLO had brought */
  getrlimit (RLIMIT_NOFILE, &before);
  few = before;
  few.rlim_cur = (rlim_t) fcntl (canned, F_DUPFD_CLOEXEC, 0);
  close ((int) few.rlim_cur);

  setrlimit (RLIMIT_NOFILE, &few);
  for (int i = 0; i < 10; i++)
    {
      g_assert_cmpint (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply), ==,
                       -EMFILE);
      assert_says (&reply, FSCACHE_ERROR_NO_DESCRIPTOR, EMFILE, "no free file descriptor");
    }
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, 3), ==, 3);
  assert_says (&replies[0], FSCACHE_ERROR_NO_DESCRIPTOR, EMFILE, fixture->file);
  assert_says (&replies[1], FSCACHE_ERROR_LIMIT, EUSERS, "5 of 5");

  /* One is enough for a duplicate, but not to reopen it. */
  few.rlim_cur++;
  setrlimit (RLIMIT_NOFILE, &few);
  g_assert_cmpint (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply), ==, -EMFILE);
  assert_says (&reply, FSCACHE_ERROR_NO_DESCRIPTOR, EMFILE, "no free file descriptor");
  close_checked (open_as (fixture->client, fixture->file, FSCACHE_SHARED, &reply));

  setrlimit (RLIMIT_NOFILE, &before);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply));
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
  ORDER (fixture, canned_fd, -1);
  close (canned);
}

static void
test_timeout (Fixture *fixture, gconstpointer data)
{
  FscacheRequest requests[2]
      = { { .uri = "test:hang", .timeout_ms = 60 }, { .uri = fixture->file, .timeout_ms = 5000 } };
  FscacheReply replies[2];
  gint64 before = get_ms ();

  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_open_with (fixture->client, &requests[0], &replies[0]), ==, -ETIMEDOUT);
  g_assert_cmpint (get_ms () - before, >=, 60);
  g_assert_cmpint (get_ms () - before, <, 2000);
  assert_says (&replies[0], FSCACHE_ERROR_TIMED_OUT, ETIMEDOUT,
               "cannot open test:hang: there was no answer within 60 ms");
  WAIT_FOR (fake_service_get_seen (fixture->fake).cancels == 1);
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, 2), ==, 1);
  assert_says (&replies[0], FSCACHE_ERROR_TIMED_OUT, ETIMEDOUT, "test:hang");
  close_checked (replies[1].fd);

  /* Also while there is no service. */
  fake_service_stop (fixture->fake);
  before = get_ms ();
  g_assert_cmpint (fscache_open_with (fixture->client, &requests[0], &replies[0]), ==, -ETIMEDOUT);
  g_assert_cmpint (get_ms () - before, <, 1000);
}

/* Without /proc descriptors cannot be reopened here: the service must open for each request. */
static void
test_no_proc (Fixture *fixture, gconstpointer data)
{
  FakeSeen seen;
  int status;
  pid_t child;

  if (geteuid () != 0)
    {
      g_test_skip ("needs root, for chroot()");
      return;
    }
  fake_service_start (fixture->fake);
  child = fork ();
  if (child == 0)
    {
      g_autofree char *uri = fscache_uri (fixture->file);
      FscacheClient *client;
      FscacheReply reply;
      char byte;

      if (chroot (fixture->directory) < 0 || chdir ("/") < 0
          || fscache_connect ("/socket", FSCACHE_NO_FALLBACK, &client) < 0)
        _exit (1);
      for (int i = 0; i < 3; i++)
        if (fscache_open (client, uri, O_RDONLY, &reply) < 0 || reply.sharing != FSCACHE_INDEPENDENT
            || reply.source != FSCACHE_SOURCE_PASSED || read (reply.fd, &byte, 1) != 1
            || byte != '0')
          _exit (2);
      _exit (0);
    }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
  seen = fake_service_get_seen (fixture->fake);
  g_assert_cmpuint (seen.opens, ==, 4); /* only once in vain */
  g_assert_cmpuint (seen.last_options, ==, 0);
}

/* Event loops */

typedef struct
{
  unsigned n_called, n_ok, n_local, n_cancelled;
  gboolean opens_more;
  size_t last_index;
  FscacheCode last_code;
} Calls;

static void
count_call (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  Calls *calls = data;

  calls->n_called++;
  calls->n_ok += reply->code == FSCACHE_OK;
  calls->n_local += reply->source == FSCACHE_SOURCE_LOCAL;
  calls->n_cancelled += reply->code == FSCACHE_ERROR_CANCELLED;
  calls->last_index = index;
  calls->last_code = reply->code;
  if (reply->fd >= 0)
    close_checked (reply->fd);
  if (calls->opens_more)
    {
      FscacheRequest request = { .uri = "/dev/null" };

      calls->opens_more = FALSE;
      close_checked (fscache_open (client, "/dev/null", O_RDONLY, NULL));
      g_assert_cmpint (fscache_submit (client, &request, 1, count_call, data, NULL), ==, 0);
    }
}

/* Runs an event loop until so many callbacks were called, or so much time has passed. */
static void
run_loop (FscacheClient *client, Calls *calls, unsigned n, int timeout)
{
  struct pollfd pollfd = { .fd = fscache_get_poll_fd (client), .events = POLLIN };
  gint64 until = get_ms () + timeout;
  unsigned n_rounds = 0;

  g_assert_cmpint (pollfd.fd, >=, 0);
  while (calls->n_called < n && get_ms () < until)
    {
      unsigned before = calls->n_called;

      if (poll (&pollfd, 1, (int) (until - get_ms ())) > 0)
        g_assert_cmpint (fscache_dispatch (client), ==, calls->n_called - before);
      n_rounds++;
    }
  g_assert_cmpuint (n_rounds, <, n * 4 + 400); /* it does not spin */
}

static void
test_submit (Fixture *fixture, gconstpointer data)
{
  FscacheRequest requests[4] = { { .uri = fixture->file },
                                 { .uri = fixture->missing },
                                 { .uri = "file:bad" },
                                 { .uri = fixture->file } };
  Calls calls = { .opens_more = TRUE };
  uint64_t id;
  int fd;

  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_submit (fixture->client, requests, 0, count_call, &calls, &id), ==, 0);
  g_assert_cmpint (fscache_submit (fixture->client, requests, 1, NULL, NULL, NULL), ==, -EINVAL);
  g_assert_cmpint (fscache_submit (fixture->client, requests, 4, count_call, &calls, &id), ==, 0);
  fd = fscache_get_poll_fd (fixture->client);
  run_loop (fixture->client, &calls, 5, 5000);
  g_assert_cmpuint (calls.n_called, ==, 5);
  g_assert_cmpuint (calls.n_ok, ==, 3);

  fake_service_stop (fixture->fake);
  fake_service_start (fixture->fake);
  g_assert_cmpint (fscache_submit (fixture->client, requests, 4, count_call, &calls, &id), ==, 0);
  run_loop (fixture->client, &calls, 9, 5000);
  g_assert_cmpuint (calls.n_called, ==, 9);
  g_assert_cmpint (fscache_get_poll_fd (fixture->client), ==, fd);
  fscache_cancel (fixture->client, id); /* it is finished */
}

static void
test_submit_local (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = fixture->file };
  Calls calls = { 0 };

  fscache_connect (fixture->socket, 0, &fixture->client);
  for (int i = 0; i < 10; i++)
    {
      g_assert_cmpint (fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL), ==,
                       0);
      g_assert_cmpuint (calls.n_called, ==, i);
      run_loop (fixture->client, &calls, i + 1, 1000);
      g_assert_cmpuint (calls.n_local, ==, i + 1);
    }

  /* The service begins to be there, hangs up again, and does not come back. */
  fake_service_start (fixture->fake);
  WAIT_FOR (fscache_ping (fixture->client, NULL) == 0);
  fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL);
  run_loop (fixture->client, &calls, 11, 1000);
  g_assert_cmpuint (calls.n_local, ==, 10);
  fake_service_stop (fixture->fake);
  fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL);
  run_loop (fixture->client, &calls, 12, 6000);
  g_assert_cmpuint (calls.n_local, ==, 11);
}

static void
test_cancel (Fixture *fixture, gconstpointer data)
{
  FscacheRequest requests[3]
      = { { .uri = "test:hang" }, { .uri = fixture->file }, { .uri = "test:hang" } };
  Calls calls = { 0 };
  uint64_t id;

  fixture_start (fixture, 0);
  fscache_submit (fixture->client, requests, 3, count_call, &calls, &id);
  run_loop (fixture->client, &calls, 1, 2000);
  g_assert_cmpuint (calls.last_index, ==, 1);
  fscache_cancel (fixture->client, id);
  g_assert_cmpuint (calls.n_called, ==, 1);
  run_loop (fixture->client, &calls, 3, 2000);
  g_assert_cmpuint (calls.n_called, ==, 3);
  g_assert_cmpuint (calls.n_cancelled, ==, 2);
  WAIT_FOR (fake_service_get_seen (fixture->fake).cancels == 1);
  fscache_cancel (fixture->client, id);
  fscache_cancel (fixture->client, 4711);

  /* Cancelled by timeout, and by disconnecting. */
  requests[0].timeout_ms = 50;
  fscache_submit (fixture->client, requests, 3, count_call, &calls, &id);
  run_loop (fixture->client, &calls, 5, 2000);
  g_assert_cmpint (calls.last_code, ==, FSCACHE_ERROR_TIMED_OUT);
  calls.opens_more = FALSE;
  fscache_disconnect (g_steal_pointer (&fixture->client));
  g_assert_cmpuint (calls.n_called, ==, 6);
  g_assert_cmpuint (calls.n_cancelled, ==, 3);
}

typedef struct
{
  FscacheClient *client;
  FscacheCancel cancel;
  gboolean borrows;
  int n_ended; /* atomic */
} Cancelled;

static gpointer
open_cancelled (gpointer data)
{
  Cancelled *cancelled = data;
  FscacheRequest request = { .uri = "test:hang", .cancel = &cancelled->cancel };
  FscacheBorrow borrow;
  FscacheReply reply;
  int r = cancelled->borrows ? fscache_borrow_with (cancelled->client, &request, &borrow, &reply)
                             : fscache_open_with (cancelled->client, &request, &reply);

  g_assert_cmpint (r, ==, -ECANCELED);
  assert_says (&reply, FSCACHE_ERROR_CANCELLED, ECANCELED, "test:hang");
  g_atomic_int_inc (&cancelled->n_ended);
  return NULL;
}

/* By another thread than those that wait. */
static void
test_cancel_with (Fixture *fixture, gconstpointer data)
{
  Cancelled stays = { 0 }, goes = { 0 }, borrows = { .borrows = TRUE };
  Cancelled *all[] = { &stays, &goes, &goes, &borrows };
  FscacheRequest request = { .uri = fixture->file, .cancel = &goes.cancel };
  GThread *threads[G_N_ELEMENTS (all)];
  Calls calls = { 0 };
  unsigned n;

  fixture_start (fixture, 0);
  stays.client = goes.client = borrows.client = fixture->client;
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    threads[i] = g_thread_new ("opens", open_cancelled, all[i]);
  WAIT_FOR (fake_service_get_seen (fixture->fake).items == 4);

  fscache_cancel_with (fixture->client, &goes.cancel);
  WAIT_FOR (g_atomic_int_get (&goes.n_ended) == 2);
  WAIT_FOR (fake_service_get_seen (fixture->fake).cancels == 2);
  fscache_cancel_with (fixture->client, &borrows.cancel);
  WAIT_FOR (g_atomic_int_get (&borrows.n_ended) == 1);
  g_assert_cmpint (g_atomic_int_get (&stays.n_ended), ==, 0);

  /* What comes later is not even asked for; submitted or not. */
  n = fake_service_get_seen (fixture->fake).items;
  open_cancelled (&goes);
  request.timeout_ms = 5000;
  g_assert_cmpint (fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL), ==, 0);
  run_loop (fixture->client, &calls, 1, 2000);
  g_assert_cmpuint (calls.n_cancelled, ==, 1);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).items, ==, n);

  /* One that is under way, of an event loop. */
  request = (FscacheRequest){ .uri = "test:hang", .cancel = &stays.cancel };
  g_assert_cmpint (fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL), ==, 0);
  fscache_cancel_with (fixture->client, &stays.cancel);
  run_loop (fixture->client, &calls, 2, 2000);
  g_assert_cmpuint (calls.n_cancelled, ==, 2);
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    g_thread_join (threads[i]);

  goes.cancel = (FscacheCancel){ 0 };
  fscache_cancel_with (NULL, &goes.cancel);
  open_cancelled (&goes);
}

/* Answers that have come, and what is to be opened locally, when the client disconnects. */
static void
test_disconnect (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = fixture->file };
  Calls calls = { 0 };

  fixture_start (fixture, 0);
  fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL);
  for (int i = 0; i < 3; i++)
    fscache_ping (fixture->client, NULL); /* receives it, but calls nothing back */
  g_assert_cmpuint (calls.n_called, ==, 0);
  fscache_disconnect (g_steal_pointer (&fixture->client));
  g_assert_cmpuint (calls.n_called, ==, 1);
  g_assert_cmpuint (calls.n_ok, ==, 1);

  fake_service_stop (fixture->fake);
  fscache_connect (fixture->socket, 0, &fixture->client);
  fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL);
  fscache_disconnect (g_steal_pointer (&fixture->client));
  g_assert_cmpuint (calls.n_cancelled, ==, 1);
}

/* The service does not read: submitting goes on without waiting, and so does the rest when the
 * service reads again. */
static void
test_full (Fixture *fixture, gconstpointer data)
{
  enum
  {
    N = 5000
  };
  FscacheRequest request = { .uri = "test:limit" };
  Calls calls = { 0 };
  FscacheReply reply;
  gint64 before;

  fixture_start (fixture, 0);
  fscache_get_poll_fd (fixture->client);
  g_assert_cmpint (open_as (fixture->client, "test:lease", FSCACHE_EXCLUSIVE, &reply), >=, 0);
  ORDER (fixture, is_paused, TRUE);
  before = get_ms ();
  for (int i = 0; i < N; i++)
    g_assert_cmpint (fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL), ==,
                     0);
  fscache_give_back (fixture->client, &reply);
  g_assert_cmpint (get_ms () - before, <, 2000);
  run_loop (fixture->client, &calls, 1, 50);
  g_assert_cmpuint (calls.n_called, <, N);
  ORDER (fixture, is_paused, FALSE);
  run_loop (fixture->client, &calls, N, 10000);
  g_assert_cmpuint (calls.n_called, ==, N);
  g_assert_cmpint (calls.last_code, ==, FSCACHE_ERROR_LIMIT);
  WAIT_FOR (fake_service_get_seen (fixture->fake).give_backs == 1);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
}

/* The cache */

static void
count_entry (const FscacheEntry *entry, void *data)
{
  unsigned *n = data;

  g_assert_true (g_str_has_prefix (entry->uri, "file:///"));
  g_assert_true (entry->is_pinned);
  g_assert_false (entry->is_held);
  g_assert_cmpint (entry->sharing, ==, FSCACHE_SHARED);
  (*n)++;
}

static void
read_counter (const char *name, uint64_t value, void *data)
{
  g_assert_cmpstr (name, ==, "hits");
  *(uint64_t *) data = value;
}

static void
test_admin (Fixture *fixture, gconstpointer data)
{
  FscacheClient *client;
  FscacheReply reply;
  uint64_t hits = 0;
  unsigned n = 0;

  fixture_start (fixture, 0);
  client = fixture->client;
  g_assert_cmpint (fscache_list (client, NULL, count_entry, &n, &reply), ==, 3);
  g_assert_cmpuint (n, ==, 3);
  g_assert_cmpint (reply.code, ==, FSCACHE_OK);
  g_assert_cmpint (fscache_list (client, NULL, NULL, NULL, NULL), ==, 3);
  g_assert_cmpint (fscache_info (client, fixture->file, count_entry, &n, &reply), ==, 1);
  g_assert_cmpuint (n, ==, 4);
  g_assert_cmpint (fscache_info (client, "/absent", count_entry, &n, &reply), ==, -ENOENT);
  assert_says (&reply, FSCACHE_ERROR_NOT_CACHED, ENOENT, "cannot look up /absent: it is not");
  g_assert_cmpint (fscache_drop (client, fixture->file, &reply), ==, 1);
  g_assert_cmpint (fscache_drop_matching (client, "file:*", &reply), ==, 3);
  g_assert_cmpint (fscache_drop_matching (client, NULL, &reply), ==, -EINVAL);
  g_assert_cmpint (fscache_pin (client, fixture->file, &reply), ==, 0);
  g_assert_cmpint (fscache_unpin (client, "/absent", &reply), ==, -ENOENT);
  assert_says (&reply, FSCACHE_ERROR_NOT_CACHED, ENOENT, "cannot unpin /absent");
  g_assert_cmpint (fscache_pin (client, "file:bad", &reply), ==, -EINVAL);
  assert_says (&reply, FSCACHE_ERROR_BAD_URI, EINVAL, "cannot pin file:bad");
  g_assert_cmpint (fscache_pin (client, NULL, &reply), ==, -EINVAL);
  g_assert_cmpint (fscache_status (client, read_counter, &hits, &reply), ==, 0);
  g_assert_cmpuint (hits, ==, 42);
  g_assert_cmpint (fscache_ping (client, &reply), ==, 0);
}

static void
test_names (void)
{
  char *uri = fscache_uri ("/a b//c/./d");

  g_assert_cmpstr (uri, ==, "file:///a%20b/c/d");
  free (uri);
  uri = fscache_uri ("FILE:/x");
  g_assert_cmpstr (uri, ==, "file:///x");
  free (uri);
  g_assert_null (fscache_uri ("file:x"));
  g_assert_cmpint (errno, ==, EINVAL);
  g_assert_null (fscache_uri (NULL));
  g_assert_cmpint (errno, ==, EINVAL);
  g_assert_cmpstr (fscache_code_name (FSCACHE_OK), ==, "ok");
  g_assert_cmpstr (fscache_code_name ((FscacheCode) 77), ==, "unknown");
  g_assert_cmpstr (fscache_sharing_name (FSCACHE_SHARED), ==, "shared");
  g_assert_cmpstr (fscache_sharing_name ((FscacheSharing) 9), ==, "unknown");
  g_assert_cmpstr (fscache_source_name (FSCACHE_SOURCE_LOCAL), ==, "local");
  g_assert_cmpstr (fscache_coherence_name (FSCACHE_COHERENCE_TTL), ==, "ttl");
  g_assert_cmpstr (fscache_kind_name (FSCACHE_KIND_BLOCK), ==, "block");
  g_assert_cmpstr (fscache_version (), ==, FSC_VERSION);
}

/* Processes and threads */

static void
run_child (Fixture *fixture, int poll_fd, FscacheReply *lease)
{
  FscacheRequest request = { .uri = fixture->file };
  Calls calls = { 0 };
  FscacheReply reply;

  fscache_give_back (fixture->client, lease); /* is the parent's: only closes */
  if (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply) < 0
      || reply.source != FSCACHE_SOURCE_CACHE)
    _exit (1);
  if (fscache_get_poll_fd (fixture->client) != poll_fd)
    _exit (2);
  fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL);
  run_loop (fixture->client, &calls, 1, 2000);
  if (calls.n_called != 1)
    _exit (3);
  fscache_disconnect (fixture->client);
  _exit (0);
}

static void
test_fork (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = "test:hang" };
  Calls calls = { 0 };
  FscacheReply lease;
  int poll_fd, status;
  uint64_t id;
  pid_t child;

  fixture_start (fixture, FSCACHE_NO_FALLBACK);
  poll_fd = fscache_get_poll_fd (fixture->client);
  g_assert_cmpint (open_as (fixture->client, "test:lease", FSCACHE_EXCLUSIVE, &lease), >=, 0);
  fscache_submit (fixture->client, &request, 1, count_call, &calls, &id);
  child = fork ();
  if (child == 0)
    run_child (fixture, poll_fd, &lease);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 2);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).give_backs, ==, 0);

  /* The parent goes on undisturbed. */
  fscache_give_back (fixture->client, &lease);
  WAIT_FOR (fake_service_get_seen (fixture->fake).give_backs == 1);
  fscache_cancel (fixture->client, id);
  run_loop (fixture->client, &calls, 1, 2000);
  g_assert_cmpuint (calls.n_cancelled, ==, 1);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 2);
}

typedef struct
{
  Fixture *fixture;
  unsigned number, n_requests;
} Worker;

static void *
work (void *data)
{
  Worker *worker = data;
  FscacheClient *client = worker->fixture->client;
  FscacheReply replies[8];

  for (unsigned i = 0; i < worker->n_requests; i++)
    {
      unsigned what = (i + worker->number) % 8;

      if (what == 0)
        {
          FscacheRequest requests[8];

          for (int k = 0; k < 8; k++)
            requests[k]
                = (FscacheRequest){ .uri = worker->fixture->file, .timeout_ms = k % 2 ? 10000 : 0 };
          g_assert_cmpint (fscache_open_many (client, requests, replies, 8), ==, 0);
          for (int k = 0; k < 8; k++)
            fscache_reply_clear (client, &replies[k]);
        }
      else if (what == 1)
        {
          FscacheRequest request = { .uri = "test:hang", .timeout_ms = 1 + i % 5 };

          g_assert_cmpint (fscache_open_with (client, &request, NULL), ==, -ETIMEDOUT);
        }
      else if (what == 2)
        {
          g_assert_cmpint (open_as (client, "test:lease", FSCACHE_EXCLUSIVE, replies), >=, 0);
          fscache_give_back (client, replies);
        }
      else if (what == 3)
        g_assert_cmpint (fscache_list (client, NULL, NULL, NULL, NULL), ==, 3);
      else
        {
          if (fscache_open (client, worker->fixture->file, O_RDONLY, replies) < 0)
            g_error ("%s", replies->message);
          g_assert_cmpint (replies->source, ==, FSCACHE_SOURCE_CACHE);
          close_checked (replies->fd);
        }
    }
  return NULL;
}

/* Several threads and an event loop share a client, while the service misbehaves in a way that no
 * request may notice. */
static void
run_threads (Fixture *fixture, gboolean restarts)
{
  FscacheRequest requests[3] = { { .uri = fixture->file },
                                 { .uri = "test:hang", .timeout_ms = 20 },
                                 { .uri = fixture->missing } };
  Worker workers[6];
  pthread_t threads[6];
  Calls calls = { 0 };
  unsigned n_submitted = 0, n_restarts = 0;

  for (unsigned i = 0; i < G_N_ELEMENTS (workers); i++)
    {
      workers[i] = (Worker){ fixture, i, 200 };
      pthread_create (&threads[i], NULL, work, &workers[i]);
    }
  for (unsigned round = 0; round < 60; round++)
    {
      fscache_submit (fixture->client, requests, 3, count_call, &calls, NULL);
      n_submitted += 3;
      run_loop (fixture->client, &calls, n_submitted - 2, 50);
      if (restarts && round % 6 == 5)
        {
          fake_service_stop (fixture->fake);
          g_usleep (1000 * (round % 20));
          fake_service_start (fixture->fake);
          n_restarts++;
        }
    }
  run_loop (fixture->client, &calls, n_submitted, 10000);
  for (unsigned i = 0; i < G_N_ELEMENTS (workers); i++)
    pthread_join (threads[i], NULL);
  g_assert_cmpuint (calls.n_called, ==, n_submitted);
  g_assert_cmpuint (calls.n_ok, ==, n_submitted / 3);
  g_assert_cmpuint (calls.n_local, ==, 0);
  g_test_message ("%u connections, %u restarts", fake_service_get_seen (fixture->fake).connections,
                  n_restarts);
}

static void
test_threads (Fixture *fixture, gconstpointer data)
{
  fixture_start (fixture, FSCACHE_NO_FALLBACK);
  run_threads (fixture, FALSE);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
}

static void
test_threads_restarts (Fixture *fixture, gconstpointer data)
{
  fixture_start (fixture, FSCACHE_NO_FALLBACK);
  run_threads (fixture, TRUE);
}

static void
test_threads_disconnects (Fixture *fixture, gconstpointer data)
{
  fixture_start (fixture, FSCACHE_NO_FALLBACK);
  ORDER (fixture, close_one_in, 20);
  run_threads (fixture, FALSE);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, >, 10);
}

/* A thread that waits for something slow does not keep others from sending, though the socket's
 * buffer is full meanwhile. */
static void *
wait_slowly (void *data)
{
  Fixture *fixture = data;
  FscacheRequest request = { .uri = "test:hang", .timeout_ms = 700 };

  g_assert_cmpint (fscache_open_with (fixture->client, &request, NULL), ==, -ETIMEDOUT);
  return NULL;
}

static void *
resume (void *data)
{
  Fixture *fixture = data;

  g_usleep (100000);
  ORDER (fixture, is_paused, FALSE);
  return NULL;
}

static void
test_threads_full (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = "test:limit" };
  pthread_t threads[2];
  Calls calls = { 0 };

  fixture_start (fixture, FSCACHE_NO_FALLBACK);
  pthread_create (&threads[0], NULL, wait_slowly, fixture);
  WAIT_FOR (fake_service_get_seen (fixture->fake).items == 1);
  ORDER (fixture, is_paused, TRUE);
  for (int i = 0; i < 2000; i++)
    fscache_submit (fixture->client, &request, 1, count_call, &calls, NULL);
  pthread_create (&threads[1], NULL, resume, fixture);
  close_checked (fscache_open (fixture->client, fixture->file, O_RDONLY, NULL));
  pthread_join (threads[0], NULL);
  pthread_join (threads[1], NULL);
  run_loop (fixture->client, &calls, 2000, 5000);
  g_assert_cmpuint (calls.n_called, ==, 2000);
}

/* Putting */

static int
put (Fixture *fixture, int fd, FscachePutMode mode, FscacheReply *reply)
{
  const FscachePut what = {
    .uri = "handle:x", .fd = fd, .mode = mode, .expected = mode == FSCACHE_PUT_EXCHANGE ? 5 : 0
  };

  return fscache_put (fixture->client, &what, reply);
}

static void
test_put (Fixture *fixture, gconstpointer data)
{
  int fd = open (fixture->file, O_RDONLY | O_CLOEXEC);
  FscacheReply reply;
  struct stat st;

  g_assert_cmpint (fstat (fd, &st), ==, 0);
  ORDER (fixture, takes_puts, TRUE);
  fixture_start (fixture, 0);
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_NEW, &reply), ==, 0);
  g_assert_cmpuint (reply.generation, ==, 77);
  g_assert_cmpint (reply.fd, ==, -1);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).last_put, ==, st.st_ino);
  g_assert_cmpint (fstat (fd, &st), ==, 0); /* it is the caller's still */
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_REPLACE, NULL), ==, 0);
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_EXCHANGE, &reply), ==, -ESTALE);
  assert_says (&reply, FSCACHE_ERROR_BAD_REQUEST, ESTALE, "another one");

  /* It may or may not have happened, so it is not done again. */
  ORDER (fixture, to_close_put, 1);
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_NEW, &reply), ==, -ECONNRESET);
  assert_says (&reply, FSCACHE_ERROR_NO_SERVICE, ECONNRESET, "cannot put handle:x");
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).puts, ==, 3);
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_NEW, NULL), ==, 0);

  /* A descriptor is sent once. */
  ORDER (fixture, to_give_twice, 1);
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_NEW, &reply), <, 0);
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_NEW, NULL), ==, 0);
  close (fd);
}

/* An older service is not asked for what it would not understand. */
static void
test_put_nowhere (Fixture *fixture, gconstpointer data)
{
  FscacheRequest take = { .uri = "handle:x", .options = FSCACHE_TAKE };
  int fd = open (fixture->file, O_RDONLY | O_CLOEXEC);
  FscacheReply reply;

  fixture_start (fixture, 0);
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_NEW, &reply), ==, -EOPNOTSUPP);
  assert_says (&reply, FSCACHE_ERROR_BAD_REQUEST, EOPNOTSUPP, "an older one");
  g_assert_cmpint (fscache_open_with (fixture->client, &take, &reply), ==, -EOPNOTSUPP);
  assert_says (&reply, FSCACHE_ERROR_BAD_REQUEST, EOPNOTSUPP, "an older one");
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
  fake_service_stop (fixture->fake);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), <, 0);
  g_assert_cmpint (put (fixture, fd, FSCACHE_PUT_NEW, &reply), <, 0);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NO_SERVICE);
  close (fd);
}

#define ADD(name, function, data)                                                                  \
  g_test_add ("/client/" name, Fixture, data, set_up, function, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_unsetenv ("FSCACHE_SOCKET");
  ADD ("connect", test_connect, NULL);
  ADD ("connect/arguments", test_connect_arguments, NULL);
  ADD ("connect/environment", test_connect_environment, NULL);
  ADD ("connect/no-service", test_no_service, NULL);
  ADD ("connect/refused", test_refused, NULL);
  ADD ("connect/wrong-owner", test_wrong_owner, NULL);
  ADD ("connect/mute", test_stuck, GINT_TO_POINTER (FALSE));
  ADD ("connect/backlog-full", test_stuck, GINT_TO_POINTER (TRUE));
  ADD ("open/independent", test_independent, NULL);
  ADD ("open/shared", test_shared, NULL);
  ADD ("open/exclusive", test_exclusive, NULL);
  ADD ("open/errors", test_errors, NULL);
  ADD ("open/relative", test_relative, NULL);
  ADD ("open/not-served", test_not_served, NULL);
  ADD ("open/serves-nothing", test_serves_nothing, NULL);
  ADD ("open/many", test_many, GUINT_TO_POINTER (0));
  ADD ("open/many/small-packets", test_many, GUINT_TO_POINTER (7));
  ADD ("open/many/no-service", test_many_without_service, NULL);
  ADD ("open/create", test_create, NULL);
  ADD ("open/no-proc", test_no_proc, NULL);
  ADD ("fopen", test_fopen, NULL);
  ADD ("fopen/local", test_fopen_local, NULL);
  ADD ("lost", test_lost, NULL);
  ADD ("lost/for-good", test_lost_for_good, NULL);
  ADD ("lost/always", test_lost_always, NULL);
  ADD ("lost/halfway", test_lost_halfway, NULL);
  ADD ("garbage", test_garbage, NULL);
  ADD ("unknown-answers", test_unknown_answers, NULL);
  ADD ("no-descriptor", test_no_descriptor, NULL);
  ADD ("timeout", test_timeout, NULL);
  ADD ("submit", test_submit, NULL);
  ADD ("submit/local", test_submit_local, NULL);
  ADD ("submit/cancel", test_cancel, NULL);
  ADD ("cancel-with", test_cancel_with, NULL);
  ADD ("submit/disconnect", test_disconnect, NULL);
  ADD ("submit/full", test_full, NULL);
  ADD ("admin", test_admin, NULL);
  g_test_add_func ("/client/names", test_names);
  ADD ("fork", test_fork, NULL);
  ADD ("threads", test_threads, NULL);
  ADD ("threads/restarts", test_threads_restarts, NULL);
  ADD ("threads/disconnects", test_threads_disconnects, NULL);
  ADD ("threads/full", test_threads_full, NULL);
  ADD ("put", test_put, NULL);
  ADD ("put/nowhere", test_put_nowhere, NULL);
  return g_test_run ();
}
