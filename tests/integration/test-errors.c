/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a person is told when something fails: one clear sentence that names the object. And that
 * a failure costs nothing but itself: the fixture counts descriptors, and each test goes on to ask
 * for something that works.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/descriptors.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

/* One line, not empty, no more than fits, and about `object`. */
static void
assert_sentence (const FscacheReply *reply, const char *object)
{
  gsize length = strlen (reply->message);

  g_test_message ("%s (%s)", reply->message, fscache_code_name (reply->code));
  g_assert_cmpuint (length, >, 10);
  g_assert_cmpuint (length, <, FSCACHE_MESSAGE_SIZE);
  g_assert_null (strchr (reply->message, '\n'));
  g_assert_cmpint (reply->message[length - 1], !=, ':');
  g_assert_cmpint (reply->message[length - 1], !=, ' ');
  if (strstr (reply->message, object) == NULL)
    g_test_message ("\"%s\" is not named", object);
  g_assert_nonnull (strstr (reply->message, object));
}

static void
assert_fails (FscacheClient *client, const FscacheRequest *request, FscacheCode code, int error,
              const char *object)
{
  FscacheReply reply;
  int r = fscache_open_with (client, request, &reply);

  fsc_test_assert_failed (&reply, r, code, error);
  g_assert_cmpuint (reply.lease, ==, 0);
  assert_sentence (&reply, object);
}

static void
test_system (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *file = fsc_test_service_write (service, "file", "x");
  g_autofree char *closed = fsc_test_service_write (service, "closed", "x");
  g_autofree char *missing = g_build_filename (service->dir, "no such\nfile", NULL);
  g_autofree char *shown = g_build_filename (service->dir, "no such?file", NULL);
  g_autofree char *below = g_build_filename (file, "below", NULL);

  g_assert_cmpint (chmod (closed, 0), ==, 0);
  assert_fails (client, &(FscacheRequest){ .uri = missing }, FSCACHE_ERROR_SYSTEM, ENOENT, shown);
  assert_fails (client, &(FscacheRequest){ .uri = closed }, FSCACHE_ERROR_SYSTEM, EACCES, closed);
  assert_fails (client, &(FscacheRequest){ .uri = below }, FSCACHE_ERROR_SYSTEM, ENOTDIR, below);
  assert_fails (client, &(FscacheRequest){ .uri = file, .flags = O_DIRECTORY },
                FSCACHE_ERROR_SYSTEM, ENOTDIR, file);
  g_assert_cmpuint (fsc_test_service_counter (service, "open_errors"), ==, 4);
  fsc_test_assert_opens (client, file);
  fscache_disconnect (client);
}

/* Of a name that is too long for a sentence its ends are told. */
static void
test_long_name (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  GString *path = g_string_new (service->dir);

  for (int i = 0; i < 15; i++)
    {
      g_autofree char *component = g_strnfill (250, 'x');

      g_string_append_printf (path, "/%s", component);
    }
  g_string_append (path, "/the-end");
  assert_fails (client, &(FscacheRequest){ .uri = path->str }, FSCACHE_ERROR_SYSTEM, ENOENT,
                "/the-end");
  assert_fails (client, &(FscacheRequest){ .uri = path->str }, FSCACHE_ERROR_SYSTEM, ENOENT,
                service->dir);
  g_string_free (path, TRUE);
  fscache_disconnect (client);
}

static void
test_names (FscTestService *service)
{
  static const struct
  {
    const char *uri;
    FscacheCode code;
    int error;
  } names[] = {
    { "file://host/path", FSCACHE_ERROR_BAD_URI, EINVAL },
    { "file:relative", FSCACHE_ERROR_BAD_URI, EINVAL },
    { "file:", FSCACHE_ERROR_BAD_URI, EINVAL },
    { "file:///a%2", FSCACHE_ERROR_BAD_URI, EINVAL },
    { "file:///a%zz", FSCACHE_ERROR_BAD_URI, EINVAL },
    { "file:///a%00b", FSCACHE_ERROR_BAD_URI, EINVAL },
    { "file:///a?b", FSCACHE_ERROR_BAD_URI, EINVAL },
    { "file:///a#b", FSCACHE_ERROR_BAD_URI, EINVAL },
    { "gopher://hole/", FSCACHE_ERROR_UNKNOWN_SCHEME, EPROTONOSUPPORT },
    { "files:///etc/passwd", FSCACHE_ERROR_UNKNOWN_SCHEME, EPROTONOSUPPORT },
    { "gopher://a b", FSCACHE_ERROR_BAD_URI, EINVAL },
  };
  FscacheClient *client = fsc_test_service_connect (service);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    assert_fails (client, &(FscacheRequest){ .uri = names[i].uri }, names[i].code, names[i].error,
                  names[i].uri);
  fsc_test_assert_opens (client, "/");
  g_assert_cmpuint (fsc_test_service_counter (service, "entries"), ==, 1);
  fscache_disconnect (client);
}

static void
test_requests (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheRequest requests[] = {
    { .uri = path, .sharing = 3 },
    { .uri = path, .options = 1u << 30 },
    { .uri = path, .reserved[2] = 1 },
    { .uri = path, .flags = O_SYNC, .sharing = FSCACHE_SHARED },
  };

  for (guint i = 0; i < G_N_ELEMENTS (requests); i++)
    assert_fails (client, &requests[i], FSCACHE_ERROR_BAD_REQUEST, EINVAL, path);
  assert_fails (client, &(FscacheRequest){ .flags = 0 }, FSCACHE_ERROR_BAD_URI, EINVAL, "name");
  fsc_test_assert_opens (client, path);
  fscache_disconnect (client);
}

static void
test_kinds (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *fifo = g_build_filename (service->dir, "fifo", NULL);
  FscacheRequest directory = { .uri = service->dir, .sharing = FSCACHE_SHARED };

  g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
  assert_fails (client, &(FscacheRequest){ .uri = fifo }, FSCACHE_ERROR_NOT_SERVED, EXDEV, fifo);
  assert_fails (client, &(FscacheRequest){ .uri = service->socket }, FSCACHE_ERROR_SYSTEM, ENXIO,
                service->socket);
  assert_fails (client, &directory, FSCACHE_ERROR_BAD_REQUEST, EISDIR, service->dir);
  if (access ("/dev/fuse", F_OK) == 0 && geteuid () == 0)
    assert_fails (client, &(FscacheRequest){ .uri = "/dev/fuse" }, FSCACHE_ERROR_NOT_REOPENABLE,
                  EOPNOTSUPP, "/dev/fuse");
  fscache_disconnect (client);
}

static void
test_not_cached (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheReply reply;

  g_assert_cmpint (fscache_info (client, path, NULL, NULL, &reply), ==, -ENOENT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NOT_CACHED);
  assert_sentence (&reply, path);
  g_assert_cmpint (fscache_unpin (client, path, &reply), ==, -ENOENT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NOT_CACHED);
  assert_sentence (&reply, path);
  g_assert_cmpint (fscache_pin (client, "/nonexistent", &reply), ==, -ENOENT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_SYSTEM);
  assert_sentence (&reply, "/nonexistent");
  g_assert_cmpint (fscache_drop (client, path, &reply), ==, 0);
  g_assert_cmpint (reply.code, ==, FSCACHE_OK);
  fscache_disconnect (client);
}

/* Limits */

#define N_LIMIT 5

/* With all handles pinned but the one that must stay free, the rest takes turns on that one. */
static void
test_pin_limit (void)
{
  const char *const arguments[] = { "--max-handles", "5", NULL };
  FscTestService *service = fsc_test_service_new (NULL, arguments);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  FscacheReply reply;

  for (int i = 0; i < 2 * N_LIMIT; i++)
    {
      g_autofree char *name = g_strdup_printf ("%d", i);

      g_ptr_array_add (paths, fsc_test_service_write (service, name, name));
    }
  for (int i = 0; i < N_LIMIT - 1; i++)
    g_assert_cmpint (fscache_pin (client, paths->pdata[i], NULL), ==, 0);
  g_assert_cmpint (fscache_pin (client, paths->pdata[N_LIMIT - 1], &reply), ==, -ENOSPC);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_LIMIT);
  assert_sentence (&reply, paths->pdata[N_LIMIT - 1]);
  assert_sentence (&reply, "max-handles 5");

  /* Of two entries of one name both are pinned, or none. */
  g_assert_cmpint (fscache_unpin (client, paths->pdata[0], NULL), ==, 0);
  g_assert_cmpint (fscache_drop (client, paths->pdata[N_LIMIT - 1], NULL), ==, 1);
  g_assert_cmpint (fscache_open (client, paths->pdata[0], O_PATH, &reply), >=, 0);
  fscache_reply_clear (client, &reply);
  g_assert_cmpint (fscache_pin (client, paths->pdata[0], &reply), ==, -ENOSPC);
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, N_LIMIT - 2);
  g_assert_cmpint (fscache_drop (client, paths->pdata[0], NULL), ==, 2);
  g_assert_cmpint (fscache_pin (client, paths->pdata[0], NULL), ==, 0);

  for (int i = N_LIMIT; i < 2 * N_LIMIT; i++)
    fsc_test_assert_opens (client, paths->pdata[i]);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, N_LIMIT);
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, N_LIMIT - 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "evictions"), >=, N_LIMIT - 1);
  for (int i = 0; i < N_LIMIT - 1; i++)
    g_assert_cmpint (fscache_info (client, paths->pdata[i], NULL, NULL, NULL), ==, 1);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* With all handles lent nothing can go: what is asked for then is not kept. */
static void
test_all_lent (void)
{
  const char *const arguments[] = { "--max-handles", "5", NULL };
  FscTestService *service = fsc_test_service_new (NULL, arguments);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_EXCLUSIVE };
  FscacheReply replies[N_LIMIT], reply;

  for (int i = 0; i < N_LIMIT; i++)
    {
      g_assert_cmpint (fscache_open_with (client, &request, &replies[i]), >=, 0);
      g_assert_cmpuint (replies[i].lease, !=, 0);
    }
  g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_PASSED);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_EXCLUSIVE);
  g_assert_cmpuint (reply.lease, ==, 0);
  fscache_reply_clear (client, &reply);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_PASSED);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  fscache_reply_clear (client, &reply);
  g_assert_cmpint (fscache_pin (client, path, &reply), ==, -ENOSPC);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_LIMIT);
  assert_sentence (&reply, path);
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, 0);

  fscache_give_back (client, &replies[0]);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
  fscache_reply_clear (client, &reply);
  for (int i = 1; i < N_LIMIT; i++)
    fscache_give_back (client, &replies[i]);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

static void
test_client_limit (void)
{
  FscTestService *service = fsc_test_service_new ("[service]\nmax-clients = 3\n", NULL);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheClient *clients[3], *one_more, *fallback;
  FscacheReply reply;

  for (guint i = 0; i < G_N_ELEMENTS (clients); i++)
    clients[i] = fsc_test_service_connect (service);
  g_assert_cmpint (fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &one_more), ==, -EUSERS);
  assert_fails (one_more, &(FscacheRequest){ .uri = path }, FSCACHE_ERROR_LIMIT, EUSERS, path);
  g_assert_cmpint (fscache_open (one_more, path, O_RDONLY, &reply), <, 0);
  assert_sentence (&reply, "max-clients 3");

  /* Who may, opens it itself. */
  g_assert_cmpint (fscache_connect (service->socket, 0, &fallback), ==, -EUSERS);
  g_assert_cmpint (fscache_open (fallback, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  fscache_reply_clear (fallback, &reply);
  for (guint i = 0; i < G_N_ELEMENTS (clients); i++)
    fsc_test_assert_opens (clients[i], path);

  for (guint i = 0; i < G_N_ELEMENTS (clients); i++)
    fscache_disconnect (clients[i]);
  g_usleep (1100 * 1000); /* refused, it does not ask again at once */
  fsc_test_assert_opens (one_more, path);
  fscache_disconnect (one_more);
  fscache_disconnect (fallback);
  fsc_test_service_free (service);
}

/* Without a service */

static void
test_no_service (void)
{
  char *before = fsc_test_list_descriptors ();
  const char *nowhere = "/nonexistent/socket";
  FscacheClient *client;
  FscacheReply reply;

  g_assert_cmpint (fscache_connect (nowhere, FSCACHE_NO_FALLBACK, &client), <, 0);
  g_assert_nonnull (client);
  g_assert_cmpint (fscache_open (client, "/", O_RDONLY, &reply), ==, -ECONNREFUSED);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NO_SERVICE);
  assert_sentence (&reply, nowhere);
  assert_sentence (&reply, "cannot open /");
  g_assert_cmpint (fscache_ping (client, &reply), <, 0);
  assert_sentence (&reply, nowhere);
  fscache_disconnect (client);

  g_assert_cmpint (fscache_connect (nowhere, 0, &client), <, 0);
  g_assert_cmpint (fscache_open (client, "/", O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  fscache_reply_clear (client, &reply);
  g_assert_cmpint (fscache_open (client, "/nonexistent", O_RDONLY, &reply), ==, -ENOENT);
  assert_sentence (&reply, "/nonexistent");
  fscache_disconnect (client);
  fsc_test_assert_descriptors (before);
}

static void
test_service_stopped (void)
{
  FscTestService *service = fsc_test_service_new (NULL, NULL);
  FscacheClient *client = fsc_test_service_connect (service);

  fsc_test_assert_opens (client, "/");
  fsc_test_service_stop (service);
  assert_fails (client, &(FscacheRequest){ .uri = "/", .timeout_ms = 300 }, FSCACHE_ERROR_TIMED_OUT,
                ETIMEDOUT, "/");
  fsc_test_service_start (service);
  fsc_test_assert_opens (client, "/"); /* found again */
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Without an opener, or with a bad one */

static void
test_no_opener (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheClient *client;

  service->opener_dir = g_strdup (service->dir);
  fsc_test_service_start (service);
  client = fsc_test_service_connect (service);
  for (int i = 0; i < 3; i++)
    assert_fails (client, &(FscacheRequest){ .uri = path }, FSCACHE_ERROR_OPENER_FAILED, EIO, path);
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers"), ==, 0);

  /* And when it is there, all is well. */
  {
    g_autofree char *program = fsc_test_build_path ("fscache/openers/open-file");
    g_autofree char *place = g_build_filename (service->dir, "open-file", NULL);

    g_assert_cmpint (symlink (program, place), ==, 0);
    fsc_test_assert_opens (client, path);
  }
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

static void
test_bad_opener (void)
{
  static const char *const names[] = {
    "crash",     "exit",      "nonsense", "another-serial", "another-index", "many-descriptors",
    "unchanged", "no-handle",
  };
  FscTestService *service = fsc_test_service_prepare ("[lanes]\ndeadline = 0.3\n", NULL);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheClient *client;

  service->opener_dir = fsc_test_build_path ("tests/integration");
  fsc_test_service_start (service);
  client = fsc_test_service_connect (service);
  for (guint i = 0; i < 2 * G_N_ELEMENTS (names); i++)
    {
      g_autofree char *bad = g_build_filename (service->dir, names[i / 2], NULL);

      assert_fails (client, &(FscacheRequest){ .uri = bad }, FSCACHE_ERROR_OPENER_FAILED, EIO, bad);
      fsc_test_assert_opens (client, path);
    }
  for (int i = 0; i < 2; i++)
    {
      g_autofree char *hang = g_build_filename (service->dir, "hang", NULL);

      assert_fails (client, &(FscacheRequest){ .uri = hang }, FSCACHE_ERROR_TIMED_OUT, ETIMEDOUT,
                    hang);
      fsc_test_assert_opens (client, path);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_failed"), >=,
                    2 * G_N_ELEMENTS (names) + 2);
  g_assert_cmpuint (fsc_test_service_counter (service, "timeouts"), ==, 2);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* One of many makes it crash: that one fails, and no other. */
static void
test_bad_opener_in_batch (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  FscacheRequest requests[40] = { 0 };
  FscacheReply replies[40];
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  FscacheClient *client;

  service->opener_dir = fsc_test_build_path ("tests/integration");
  fsc_test_service_start (service);
  client = fsc_test_service_connect (service);
  for (int i = 0; i < 40; i++)
    {
      g_autofree char *name = i == 17 ? g_strdup ("crash") : g_strdup_printf ("%d", i);

      g_ptr_array_add (paths, i == 17 ? g_build_filename (service->dir, name, NULL)
                                      : fsc_test_service_write (service, name, name));
      requests[i].uri = paths->pdata[i];
    }
  g_assert_cmpint (fscache_open_many (client, requests, replies, 40), ==, 1);
  for (int i = 0; i < 40; i++)
    {
      g_assert_cmpint (replies[i].code, ==, i == 17 ? FSCACHE_ERROR_OPENER_FAILED : FSCACHE_OK);
      if (i == 17)
        assert_sentence (&replies[i], paths->pdata[i]);
      fscache_reply_clear (client, &replies[i]);
    }
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* A client with no free descriptor is told so, and keeps its connection. */
static void
test_no_descriptor (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };
  g_autoptr (GArray) fds = g_array_new (FALSE, FALSE, sizeof (int));
  int fd;

  fsc_test_assert_opens (client, path);
  while ((fd = fcntl (0, F_DUPFD_CLOEXEC, 0)) >= 0)
    g_array_append_val (fds, fd);
  assert_fails (client, &request, FSCACHE_ERROR_NO_DESCRIPTOR, EMFILE, path);
  request.sharing = FSCACHE_INDEPENDENT;
  assert_fails (client, &request, FSCACHE_ERROR_NO_DESCRIPTOR, EMFILE, path);
  request.sharing = FSCACHE_EXCLUSIVE;
  assert_fails (client, &request, FSCACHE_ERROR_NO_DESCRIPTOR, EMFILE, path);
  for (guint i = 0; i < fds->len; i++)
    close (g_array_index (fds, int, i));
  fsc_test_assert_opens (client, path);
  g_assert_cmpuint (fsc_test_service_counter (service, "clients"), ==, 2);
  fscache_disconnect (client);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/errors/system", test_system);
  FSC_TEST_ADD ("/errors/long-name", test_long_name);
  FSC_TEST_ADD ("/errors/names", test_names);
  FSC_TEST_ADD ("/errors/requests", test_requests);
  FSC_TEST_ADD ("/errors/kinds", test_kinds);
  FSC_TEST_ADD ("/errors/not-cached", test_not_cached);
  FSC_TEST_ADD ("/errors/no-descriptor", test_no_descriptor);
  g_test_add_func ("/errors/pin-limit", test_pin_limit);
  g_test_add_func ("/errors/all-lent", test_all_lent);
  g_test_add_func ("/errors/client-limit", test_client_limit);
  g_test_add_func ("/errors/no-service", test_no_service);
  g_test_add_func ("/errors/service-stopped", test_service_stopped);
  g_test_add_func ("/errors/no-opener", test_no_opener);
  g_test_add_func ("/errors/bad-opener", test_bad_opener);
  g_test_add_func ("/errors/bad-opener-in-batch", test_bad_opener_in_batch);
  return g_test_run ();
}
