/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Rules of the configuration hold for all ways to ask for something, and a refusal names its rule.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/service.h"
#include "tests/harness/tap.h"

typedef struct
{
  FscTestService *service;
  FscacheClient *client;
  char *open, *secret;
} Stage;

static void
stage_open (Stage *stage)
{
  g_autofree char *config = NULL;

  stage->service = fsc_test_service_prepare ("", NULL);
  config = g_strdup_printf ("[rule sandboxes]\nsandboxed=yes\nuris=file:*/open\naction=refuse\n"
                            "[rule secrets]\nuris=file://%s/sec* handle:no*\naction=refuse\n",
                            stage->service->dir);
  fsc_test_write (stage->service->config, config);
  fsc_test_service_start (stage->service);
  stage->open = fsc_test_service_write (stage->service, "open", "open");
  stage->secret = fsc_test_service_write (stage->service, "secret", "secret");
  stage->client = fsc_test_service_connect (stage->service);
}

static void
stage_close (Stage *stage)
{
  fscache_disconnect (stage->client);
  fsc_test_service_free (stage->service);
  g_free (stage->open);
  g_free (stage->secret);
}

static void
assert_reply (const FscacheReply *reply, const char *rule)
{
  g_test_message ("%s", reply->message);
  g_assert_cmpint (reply->fd, ==, -1);
  g_assert_cmpint (reply->code, ==, FSCACHE_ERROR_REFUSED);
  g_assert_cmpint (reply->error, ==, EACCES);
  g_assert_nonnull (strstr (reply->message, rule));
}

static void
assert_refused (FscacheClient *client, const char *uri, int flags, const char *rule)
{
  FscacheReply reply;

  fscache_open (client, uri, flags, &reply);
  assert_reply (&reply, rule);
}

static void
note_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  assert_reply (event->reply, "[rule secrets]");
  *(gboolean *) data = event->is_last;
}

static void
test_ways (void)
{
  Stage stage;
  g_autofree char *packed = NULL, *around = NULL;
  FscacheReply reply;
  gboolean has_ended = FALSE;

  stage_open (&stage);
  packed = g_strconcat ("unpack://", stage.secret, NULL);
  around = g_strconcat (stage.service->dir, "/run/../secret", NULL);

  g_assert_cmpint (fscache_open (stage.client, stage.open, O_RDONLY, &reply), >=, 0);
  fscache_reply_clear (stage.client, &reply);
  assert_refused (stage.client, stage.secret, O_RDONLY, "[rule secrets]");
  assert_refused (stage.client, stage.secret, O_PATH, "[rule secrets]");
  assert_refused (stage.client, stage.secret, O_WRONLY, "[rule secrets]");
  assert_refused (stage.client, around, O_RDONLY, "[rule secrets]");
  assert_refused (stage.client, packed, O_RDONLY, "[rule secrets]");
  g_assert_cmpint (fscache_pin (stage.client, stage.secret, &reply), ==, -EACCES);
  assert_reply (&reply, "[rule secrets]");

  const FscachePut put = { .uri = "handle:nothing", .fd = 0 };
  g_assert_cmpint (fscache_put (stage.client, &put, &reply), ==, -EACCES);
  assert_reply (&reply, "[rule secrets]");

  const FscacheRequest request = { .uri = stage.secret };
  g_assert_cmpint (fscache_watch (stage.client, &request, note_event, &has_ended, NULL), ==, 0);
  for (guint i = 0; i < 1000 && !has_ended; i++)
    {
      fscache_dispatch (stage.client);
      g_usleep (1000);
    }
  g_assert_true (has_ended);
  stage_close (&stage);
}

/* Who gets back from a sandbox what it may not have itself is to be refused it. */
static void
test_sandboxed (void)
{
  Stage stage;
  FscacheReply reply;
  int status;
  pid_t pid;

  stage_open (&stage);
  g_assert_cmpint (fscache_open (stage.client, stage.open, O_RDONLY, &reply), >=, 0);
  fscache_reply_clear (stage.client, &reply);
  pid = fork ();
  if (pid == 0)
    {
      FscacheClient *client;

      prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      client = fsc_test_service_connect (stage.service);
      assert_refused (client, stage.open, O_RDONLY, "[rule sandboxes]"); /* although it is there */
      fscache_disconnect (client);
      _exit (0);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
  stage_close (&stage);
}

/* Reloading */

static void
reload_with (FscTestService *service, const char *config)
{
  fsc_test_write (service->config, config);
  g_assert_no_errno (kill (service->pid, SIGHUP));
}

static void
note_end (FscacheClient *client, const FscacheEvent *event, void *data)
{
  gboolean *has_ended = data;

  if (event->is_last)
    {
      assert_reply (event->reply, "[rule new]");
      *has_ended = TRUE;
    }
  else if (event->reply->fd >= 0)
    close (event->reply->fd);
}

static gboolean
is_refused (FscacheClient *client, const char *path)
{
  FscacheReply reply;

  fscache_open (client, path, O_RDONLY, &reply);
  fscache_reply_clear (client, &reply);
  return reply.code == FSCACHE_ERROR_REFUSED;
}

static void
wait_until (FscacheClient *client, const char *path, gboolean expected)
{
  for (guint i = 0; is_refused (client, path) != expected && i < 5000; i++)
    g_usleep (1000);
  g_assert_cmpint (is_refused (client, path), ==, expected);
}

static void
note_limit (const char *name, uint64_t value, void *data)
{
  if (g_str_equal (name, "max-handles"))
    *(guint64 *) data = value;
}

/* Whoever has it keeps it; but it is neither given nor borrowed, nor watched, any more. */
static void
test_reload (void)
{
  Stage stage;
  FscacheBorrow borrowed;
  const FscacheRequest request = { .sharing = FSCACHE_SHARED };
  FscacheRequest watched;
  gboolean has_ended = FALSE;
  guint64 max_handles = 0;
  FscacheReply reply;

  stage_open (&stage);
  for (guint i = 0; fscache_borrow_kept (stage.client, stage.open, &borrowed) < 0; i++)
    {
      g_assert_cmpuint (i, <, 1000); /* until it is watched */
      g_assert_cmpint (fscache_borrow (stage.client, stage.open, &borrowed, NULL), >=, 0);
      fscache_return (stage.client, &borrowed);
      g_usleep (5000);
    }
  watched = request;
  watched.uri = stage.open;
  g_assert_cmpint (fscache_watch (stage.client, &watched, note_end, &has_ended, NULL), ==, 0);

  reload_with (stage.service, "[rule new]\nuris=file:*/open\naction=refuse\n");
  wait_until (stage.client, stage.open, TRUE);
  wait_until (stage.client, stage.secret, FALSE); /* by a rule that is gone */
  fscache_return (stage.client, &borrowed);
  g_assert_cmpint (fscache_borrow_kept (stage.client, stage.open, &borrowed), ==, -EAGAIN);
  g_assert_cmpint (fscache_borrow (stage.client, stage.open, &borrowed, &reply), ==, -EACCES);
  for (guint i = 0; i < 5000 && !has_ended; i++)
    {
      fscache_dispatch (stage.client);
      g_usleep (1000);
    }
  g_assert_true (has_ended);

  /* What is no good changes nothing. */
  reload_with (stage.service, "[rule new]\naction=none\n");
  g_usleep (100000);
  g_assert_true (is_refused (stage.client, stage.open));
  reload_with (stage.service, "[service]\nmax-handles=77\n");
  wait_until (stage.client, stage.open, FALSE);
  g_assert_cmpint (fscache_set (stage.client, NULL, 0, note_limit, &max_handles, NULL), ==, 0);
  g_assert_cmpuint (max_handles, ==, 77);
  stage_close (&stage);
}

#define LOADERS 20
#define RELOADS 20

typedef struct
{
  Stage *stage;
  gint *is_ending;
  guint64 n, n_failed;
} Loader;

static gpointer
run_loader (gpointer data)
{
  Loader *loader = data;
  FscacheClient *client = fsc_test_service_connect (loader->stage->service);

  while (!g_atomic_int_get (loader->is_ending))
    {
      const FscacheRequest request
          = { .uri = loader->n % 2 == 0 ? loader->stage->open : loader->stage->secret,
              .sharing = FSCACHE_SHARED };
      FscacheReply reply;

      loader->n_failed += fscache_open_with (client, &request, &reply) < 0;
      loader->n++;
      fscache_reply_clear (client, &reply);
    }
  fscache_disconnect (client);
  return NULL;
}

static void
test_reload_load (void)
{
  Stage stage = { .service = fsc_test_service_new (NULL, NULL) };
  Loader loaders[LOADERS];
  GThread *threads[LOADERS];
  gint is_ending = FALSE;
  guint64 n = 0;

  stage.open = fsc_test_service_write (stage.service, "open", "open");
  stage.secret = fsc_test_service_write (stage.service, "secret", "secret");
  for (guint i = 0; i < LOADERS; i++)
    {
      loaders[i] = (Loader){ .stage = &stage, .is_ending = &is_ending };
      threads[i] = g_thread_new ("loader", run_loader, &loaders[i]);
    }
  for (guint i = 0; i < RELOADS; i++)
    {
      g_autofree char *config = g_strdup_printf (
          "[lanes]\nopeners=%u\n[file]\nttl=%u\n[rule x]\nuris=http:*\naction=refuse\n", i % 3 + 1,
          i);

      reload_with (stage.service, config);
      g_usleep (20000);
    }
  g_atomic_int_set (&is_ending, TRUE);
  for (guint i = 0; i < LOADERS; i++)
    {
      g_thread_join (threads[i]);
      n += loaders[i].n;
      g_assert_cmpuint (loaders[i].n_failed, ==, 0);
    }
  g_test_message ("%" G_GUINT64_FORMAT " requests over %u reloads", n, RELOADS);
  stage.client = fsc_test_service_connect (stage.service);
  stage_close (&stage);
}

static void
test_check (void)
{
  g_autofree char *program = fsc_test_build_path ("fscache/fscached");
  FscTestService *service = fsc_test_service_new (NULL, NULL);
  g_autofree char *path = fsc_test_service_write (
      service, "bad.conf", "# x\n[service]\nmax-handels=1\n\n[rule a]\nuris=/x\naction=refuse\n");
  const char *const arguments[] = { program, "--check-config", "--config", path, NULL };
  g_auto (FscTestProgram) result = { 0 };

  fsc_test_program_run (&result, NULL, arguments);
  fsc_test_program_assert_exit (&result, 1);
  g_assert_nonnull (strstr (result.error, "bad.conf:3: [service] max-handels: "));
  g_assert_nonnull (strstr (result.error, "bad.conf:6: [rule a] uris: "));
  fsc_test_service_free (service);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/rules/ways", test_ways);
  g_test_add_func ("/rules/sandboxed", test_sandboxed);
  g_test_add_func ("/rules/reload", test_reload);
  g_test_add_func ("/rules/reload-load", test_reload_load);
  g_test_add_func ("/rules/check", test_check);
  return g_test_run ();
}
