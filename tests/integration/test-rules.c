/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Rules of the configuration hold for all ways to ask for something, and a refusal names its rule.
 */
#include <errno.h>
#include <fcntl.h>
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
  g_test_add_func ("/rules/check", test_check);
  return g_test_run ();
}
