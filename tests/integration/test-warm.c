/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opening ahead of need: fscachectl warm, and [warm] of the configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

/* So many at a time are opened by default, and a few more. */
#define MANY 200

/* A list of files that are there, by path, by name, by URI, with what is to be left out. */
static char *
make_list (FscTestService *service, guint n)
{
  GString *list = g_string_new ("# what is needed\n\n");
  g_autofree char *text = NULL;

  for (guint i = 0; i < n; i++)
    {
      g_autofree char *name = g_strdup_printf ("file %u", i);
      g_autofree char *path = fsc_test_service_write (service, name, name);
      g_autofree char *uri = fscache_uri (path);

      g_string_append_printf (list, "%s\n", i % 3 == 0 ? path : i % 3 == 1 ? name : uri);
    }
  text = g_string_free (list, FALSE);
  return fsc_test_service_write (service, "list", text);
}

static void
assert_hit (FscTestService *service, const char *name)
{
  g_autofree char *path = g_build_filename (service->dir, name, NULL);
  FscacheClient *client = fsc_test_service_connect (service);

  close (fsc_test_open_from (client, path, FSCACHE_SOURCE_CACHE));
  fscache_disconnect (client);
}

static void
test_list (FscTestService *service)
{
  g_autofree char *list = make_list (service, MANY);
  g_auto (FscTestProgram) result = { 0 };

  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", list));
  fsc_test_program_assert_exit (&result, 0);
  g_assert_cmpstr (result.error, ==, "");
  g_assert_true (g_str_has_prefix (result.out, "200 of 200 are warm, 0 failed (in "));
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, MANY);
  g_assert_cmpuint (fsc_test_service_counter (service, "opens"), ==, MANY);
  assert_hit (service, "file 0");
  assert_hit (service, "file 199");
}

/* What fails is told, each in its line, and the rest is warm all the same. */
static void
test_failures (FscTestService *service)
{
  g_autofree char *list = make_list (service, 10);
  g_autofree char *text = NULL;
  g_autofree char *more = NULL;
  g_auto (GStrv) lines = NULL;
  g_auto (FscTestProgram) result = { 0 };

  g_assert_true (g_file_get_contents (list, &text, NULL, NULL));
  more = g_strconcat ("missing\nnobody:knows\n", text, "./\n/proc/self/status", NULL);
  g_assert_true (g_file_set_contents (list, more, -1, NULL));
  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", "--jobs=2", "list"));
  fsc_test_program_assert_exit (&result, 1);
  g_assert_true (g_str_has_prefix (result.out, "11 of 14 are warm, 3 failed (in "));
  lines = g_strsplit (result.error, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), ==, 4);
  g_assert_nonnull (strstr (result.error, "missing: No such file"));
  g_assert_nonnull (strstr (result.error, "nobody:knows"));
  g_assert_nonnull (strstr (result.error, "/proc/self/status"));
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 11);
}

/* A list takes longer than the deadline of each that is on it. */
static void
test_slow (void)
{
  g_autofree char *program = fsc_test_build_path ("tests/integration/odd-helper");
  g_autofree char *config
      = g_strdup_printf ("[helper odd]\ncommand=%s\ndeadline=0.5\nttl=60\n", program);
  FscTestService *service = fsc_test_service_new (config, NULL);
  GString *list = g_string_new (NULL);
  g_autofree char *text = NULL;
  g_auto (FscTestProgram) result = { 0 };

  for (guint i = 0; i < MANY; i++)
    g_string_append_printf (list, "helper+odd:slow?%u\n", i);
  text = g_string_free (list, FALSE);
  g_free (fsc_test_service_write (service, "list", text));
  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", "--jobs=200", "list"));
  fsc_test_program_assert_exit (&result, 0);
  g_assert_true (g_str_has_prefix (result.out, "200 of 200 are warm, 0 failed (in "));
  fsc_test_service_free (service);
}

static void
test_json (FscTestService *service)
{
  g_auto (FscTestProgram) result = { 0 };

  g_free (fsc_test_service_write (service, "file", "x"));
  g_free (fsc_test_service_write (service, "list", "file\nmissing"));
  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", "--json", "list"));
  fsc_test_program_assert_exit (&result, 1);
  g_assert_true (
      g_str_has_prefix (result.out, "{\"asked\":2,\"warm\":1,\"failed\":1,\"took_us\":"));
  g_assert_nonnull (
      strstr (result.out, "\"failures\":[{\"name\":\"missing\",\"message\":\"cannot "));
}

static void
write_with_zero (FscTestService *service)
{
  static const char text[] = "# a\nb\nc\0d\n/e\n";
  g_autofree char *path = g_build_filename (service->dir, "list", NULL);

  g_assert_true (g_file_set_contents (path, text, sizeof text - 1, NULL));
}

static void
test_usage (FscTestService *service)
{
  g_auto (FscTestProgram) result = { 0 };

  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", "no-list"));
  fsc_test_program_assert_exit (&result, 1);
  g_assert_cmpstr (result.error, ==,
                   "fscachectl: cannot read the list no-list: No such file or directory\n");
  fsc_test_program_clear (&result);

  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", "--jobs=0", "-"));
  fsc_test_program_assert_exit (&result, 2);
  fsc_test_program_clear (&result);

  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", "-")); /* which is empty */
  fsc_test_program_assert_exit (&result, 0);
  g_assert_true (g_str_has_prefix (result.out, "0 of 0 are warm"));
  fsc_test_program_clear (&result);

  write_with_zero (service);
  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", "list"));
  fsc_test_program_assert_exit (&result, 1);
  g_assert_cmpstr (result.error, ==,
                   "fscachectl: cannot read the list list: line 3 has a zero byte; each name is "
                   "a line\n");
  fsc_test_program_clear (&result);

  g_free (fsc_test_service_write (service, "list", "a\nb\nc\n"));
  fsc_test_service_stop (service);
  fsc_test_service_ctl (service, &result, FSC_TEST_WORDS ("warm", "list"));
  fsc_test_program_assert_exit (&result, 1);
  g_assert_null (strchr (g_strchomp (result.error), '\n')); /* once for all */
  fsc_test_service_start (service);
}

/* Keeping warm */

typedef struct
{
  pid_t pid;
  FILE *out;
} Watching;

static void
start_watching (FscTestService *service, Watching *watching)
{
  g_autofree char *program = fsc_test_build_path ("fscache/ctl/fscachectl");
  int ends[2];

  g_assert_no_errno (pipe2 (ends, O_CLOEXEC));
  watching->pid = fork ();
  g_assert_cmpint (watching->pid, >=, 0);
  if (watching->pid == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      dup2 (ends[1], STDOUT_FILENO);
      if (chdir (service->dir) == 0)
        execl (program, program, "--socket", service->socket, "warm", "--watch", "list", NULL);
      _exit (127);
    }
  close (ends[1]);
  watching->out = fdopen (ends[0], "r");
}

static void
assert_says (Watching *watching, const char *start)
{
  char line[512] = "";

  g_assert_nonnull (fgets (line, sizeof line, watching->out));
  g_test_message ("%s", g_strchomp (line));
  if (!g_str_has_prefix (line, start))
    g_error ("\"%s\" does not begin with \"%s\"", line, start);
}

static void
stop_watching (Watching *watching)
{
  int status;

  kill (watching->pid, SIGTERM);
  g_assert_cmpint (waitpid (watching->pid, &status, 0), ==, watching->pid);
  g_assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGTERM);
  fclose (watching->out);
}

static void
test_watch (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "before");
  g_autofree char *later = g_build_filename (service->dir, "later", NULL);
  Watching watching;

  g_free (fsc_test_service_write (service, "list", "file\nlater\n"));
  start_watching (service, &watching);
  assert_says (&watching, "1 of 2 are warm, 1 failed");
  fsc_test_service_wait_for (service, "events", 2); /* what there is now has been told */

  g_assert_true (g_file_set_contents (path, "after", -1, NULL)); /* by rename() */
  assert_says (&watching, "replaced     file");
  assert_hit (service, "file");
  fsc_test_write (later, "now");
  assert_says (&watching, "created      later");
  assert_hit (service, "later");
  g_assert_no_errno (g_unlink (later));
  assert_says (&watching, "deleted      later");

  fsc_test_service_kill (service);
  fsc_test_service_start (service);
  assert_says (&watching, "reconnected  ");
  assert_says (&watching, "reconnected  ");
  assert_hit (service, "file");
  stop_watching (&watching);
}

/* More than one connection may watch. */
static void
test_watch_many (FscTestService *service)
{
  g_autofree char *first = NULL;
  GString *list = g_string_new (NULL);
  g_autofree char *text = NULL;
  Watching watching;

  for (guint i = 0; i < 2100; i++)
    {
      g_autofree char *name = g_strdup_printf ("%u", i);

      g_free (fsc_test_service_write (service, name, "before"));
      g_string_append_printf (list, "%s\n", name);
    }
  text = g_string_free (list, FALSE);
  g_free (fsc_test_service_write (service, "list", text));
  first = g_build_filename (service->dir, "2050", NULL);
  start_watching (service, &watching);
  assert_says (&watching, "2100 of 2100 are warm");
  fsc_test_service_wait_for (service, "events", 2100);
  g_assert_true (g_file_set_contents (first, "after", -1, NULL));
  assert_says (&watching, "replaced     2050");
  stop_watching (&watching);
}

/* At the start */

static void
run_configured (const char *list, FscTestServiceFunc func)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_autofree char *path = g_build_filename (service->dir, "list", NULL);
  g_autofree char *config = g_strdup_printf ("[warm]\nlist=%s\n", path);

  fsc_test_write (service->config, config);
  if (list == NULL)
    g_free (make_list (service, MANY));
  else if (list[0] != '\0')
    g_free (fsc_test_service_write (service, "list", list));
  fsc_test_service_start (service);
  func (service);
  fsc_test_service_free (service);
}

static char *
get_log (FscTestService *service)
{
  char *text = NULL;

  g_assert_true (g_file_get_contents (service->log, &text, NULL, NULL));
  return text;
}

/* Names that are relative to nothing are no URIs, and said to be none. */
static void
check_warm (FscTestService *service)
{
  g_autofree char *log = NULL;

  fsc_test_service_wait_for (service, "handles", MANY - (MANY + 1) / 3);
  assert_hit (service, "file 0");
  log = get_log (service);
  g_assert_nonnull (strstr (log, "has what cannot be warmed: file 1 "));
}

static void
test_start (void)
{
  run_configured (NULL, check_warm);
}

/* Nothing of it keeps the service from serving. */
static void
check_works (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *log = NULL;

  fsc_test_assert_opens (client, path);
  fscache_disconnect (client);
  log = get_log (service);
  g_assert_nonnull (strstr (log, "warm"));
}

static void
test_start_badly (void)
{
  run_configured ("", check_works); /* there is no list */
  run_configured ("/no/such/file\nnobody:knows\n/proc/self/status\n", check_works);
}

/* The first failure is told at once, and of the others how many there are. */
static void
check_counts (FscTestService *service)
{
  g_autofree char *log = NULL;

  fsc_test_service_wait_for (service, "handles", 1);
  log = get_log (service);
  g_assert_nonnull (strstr (log, "/list has what cannot be warmed: "));
  g_assert_nonnull (strstr (log, "/list has 2 more that cannot be warmed; "));
}

static void
test_start_counts (void)
{
  run_configured ("nobody:knows\nnobody:knows-that\n/tmp\nnobody:knows-this\n", check_counts);
}

static void
test_start_with_zero (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_autofree char *path = g_build_filename (service->dir, "list", NULL);
  g_autofree char *config = g_strdup_printf ("[warm]\nlist=%s\n", path);
  g_autofree char *log = NULL;

  write_with_zero (service);
  fsc_test_write (service->config, config);
  fsc_test_service_start (service);
  log = get_log (service);
  g_assert_nonnull (strstr (log, "Nothing is warmed: line 3 of /"));
  fsc_test_service_free (service);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/warm/list", test_list);
  FSC_TEST_ADD ("/warm/failures", test_failures);
  FSC_TEST_ADD ("/warm/json", test_json);
  g_test_add_func ("/warm/slow", test_slow);
  FSC_TEST_ADD ("/warm/usage", test_usage);
  FSC_TEST_ADD ("/warm/watch", test_watch);
  FSC_TEST_ADD ("/warm/watch-many", test_watch_many);
  g_test_add_func ("/warm/start", test_start);
  g_test_add_func ("/warm/start-badly", test_start_badly);
  g_test_add_func ("/warm/start-counts", test_start_counts);
  g_test_add_func ("/warm/start-with-zero", test_start_with_zero);
  return g_test_run ();
}
