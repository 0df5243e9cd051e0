/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A private service with a view of it; see stage.h.
 */
#include "tests/view/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/namespace.h"
#include "tests/harness/program.h"
#include "tests/harness/tap.h"

#define HAS_NAMESPACES "FSC_TEST_HAS_NAMESPACES"

void
fsc_test_stage_init (int *argc, char ***argv)
{
  fsc_test_init (argc, argv);
  if (fsc_test_enter_namespaces ())
    g_setenv (HAS_NAMESPACES, "1", TRUE);
}

static const char *
find_missing (void)
{
  if (g_getenv (HAS_NAMESPACES) == NULL)
    return "a mount namespace cannot be had here";
  if (access ("/dev/fuse", R_OK | W_OK) < 0)
    return "there is no /dev/fuse";
  return NULL;
}

/* Mounting */

gboolean
fsc_test_stage_is_mounted (const FscTestStage *stage)
{
  struct statfs fs;

  return statfs (stage->mount, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

static void
run_view (FscTestStage *stage, const char *options)
{
  g_autofree char *program = fsc_test_build_path ("fscache/view/fscache-view");
  g_autofree char *all
      = g_strdup_printf ("socket=%s%s%s", stage->service->socket, options != NULL ? "," : "",
                         options != NULL ? options : "");
  int log = open (stage->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

  stage->pid = fork ();
  g_assert_cmpint (stage->pid, >=, 0);
  if (stage->pid == 0)
    {
      const struct rlimit limit = { stage->max_descriptors, stage->max_descriptors };

      prctl (PR_SET_PDEATHSIG, SIGKILL);
      if (stage->max_descriptors > 0)
        setrlimit (RLIMIT_NOFILE, &limit);
      dup2 (log, 1);
      dup2 (log, 2);
      execl (program, "fscache-view", "-f", "-o", all, stage->mount, NULL);
      _exit (127);
    }
  close (log);
}

static void
show_log (const FscTestStage *stage)
{
  g_autofree char *log = NULL;

  g_file_get_contents (stage->log, &log, NULL, NULL);
  g_test_message ("The view has said: %s", log);
}

void
fsc_test_stage_start (FscTestStage *stage, const char *options)
{
  run_view (stage, options);
  for (int i = 0; !fsc_test_stage_is_mounted (stage) && i < 2000; i++)
    g_usleep (10000);
  if (!fsc_test_stage_is_mounted (stage))
    show_log (stage);
  g_assert_true (fsc_test_stage_is_mounted (stage));
}

static int
wait_for_view (FscTestStage *stage)
{
  int status = -1;

  for (int i = 0; waitpid (stage->pid, &status, WNOHANG) == 0; i++)
    {
      g_assert_cmpint (i, <, 2000);
      g_usleep (10000);
    }
  stage->pid = 0;
  return status;
}

void
fsc_test_stage_stop (FscTestStage *stage)
{
  int status;

  g_assert_no_errno (kill (stage->pid, SIGTERM));
  status = wait_for_view (stage);
  if (status != 0)
    show_log (stage);
  g_assert_cmpint (status, ==, 0);
  g_assert_false (fsc_test_stage_is_mounted (stage));
}

void
fsc_test_stage_kill (FscTestStage *stage)
{
  g_assert_no_errno (kill (stage->pid, SIGKILL));
  g_assert_cmpint (wait_for_view (stage), ==, SIGKILL);
}

/* Life */

static void
prepare (FscTestStage *stage, const char *config)
{
  const char *dir;

  *stage = (FscTestStage){ .service = fsc_test_service_new (config, NULL) };
  dir = stage->service->dir;
  stage->source = g_build_filename (dir, "src", NULL);
  stage->mount = g_build_filename (dir, "view", NULL);
  stage->through = g_strconcat (stage->mount, "/open/file", stage->source, NULL);
  stage->cached = g_strconcat (stage->mount, "/cached/file", stage->source, NULL);
  stage->log = g_build_filename (dir, "view.log", NULL);
  g_assert_no_errno (g_mkdir (stage->source, 0755));
  g_assert_no_errno (g_mkdir (stage->mount, 0755));
}

void
fsc_test_stage_open_with (FscTestStage *stage, const char *config, const char *options)
{
  prepare (stage, config);
  fsc_test_stage_start (stage, options);
}

void
fsc_test_stage_open (FscTestStage *stage, const char *options)
{
  fsc_test_stage_open_with (stage, NULL, options);
}

static void
check_log (const FscTestStage *stage)
{
  static const char *const faults[] = { "CRITICAL", "ERROR:", "Sanitizer", "runtime error" };
  g_autofree char *log = NULL;

  g_file_get_contents (stage->log, &log, NULL, NULL);
  for (guint i = 0; log != NULL && i < G_N_ELEMENTS (faults); i++)
    if (strstr (log, faults[i]) != NULL)
      {
        show_log (stage);
        g_test_fail ();
        return;
      }
}

void
fsc_test_stage_close (FscTestStage *stage)
{
  if (stage->pid != 0)
    fsc_test_stage_stop (stage);
  while (umount2 (stage->mount, MNT_DETACH) == 0)
    ;
  check_log (stage);
  fsc_test_service_free (stage->service);
  g_free (stage->source);
  g_free (stage->mount);
  g_free (stage->through);
  g_free (stage->cached);
  g_free (stage->log);
}

/* FALSE, and the test is skipped, where FUSE cannot be had. */
static gboolean
prepare_or_skip (FscTestStage *stage)
{
  const char *missing = find_missing ();

  if (missing != NULL)
    g_test_skip (missing);
  else
    prepare (stage, NULL);
  return missing == NULL;
}

void
fsc_test_stage_call (gconstpointer func)
{
  FscTestStage stage;

  if (!prepare_or_skip (&stage))
    return;
  fsc_test_stage_start (&stage, NULL);
  ((FscTestStageFunc) func) (&stage);
  fsc_test_stage_close (&stage);
}

void
fsc_test_stage_call_closed (gconstpointer func)
{
  FscTestStage stage;

  if (!prepare_or_skip (&stage))
    return;
  ((FscTestStageFunc) func) (&stage);
  fsc_test_stage_close (&stage);
}

static void
call_both (gconstpointer func, gboolean is_exact)
{
  FscTestStage stage;

  if (!prepare_or_skip (&stage))
    return;
  fsc_test_stage_start (&stage, is_exact ? "exact" : NULL);
  ((FscTestStageBothFunc) func) (&stage, is_exact);
  fsc_test_stage_close (&stage);
}

void
fsc_test_stage_call_default (gconstpointer func)
{
  call_both (func, FALSE);
}

void
fsc_test_stage_call_exact (gconstpointer func)
{
  call_both (func, TRUE);
}

/* Names and contents */

char *
fsc_test_stage_source (const FscTestStage *stage, const char *name)
{
  return g_build_filename (stage->source, name, NULL);
}

char *
fsc_test_stage_through (const FscTestStage *stage, const char *name)
{
  return g_build_filename (stage->through, name, NULL);
}

char *
fsc_test_stage_at (const FscTestStage *stage, const char *name)
{
  return g_build_filename (stage->mount, name, NULL);
}

void
fsc_test_stage_replace (const FscTestStage *stage, const char *name, const char *content)
{
  g_autofree char *path = fsc_test_stage_source (stage, name);
  g_autofree char *new = g_strconcat (path, ".new", NULL);

  fsc_test_write (new, content);
  g_assert_no_errno (rename (new, path));
}

void
fsc_test_stage_assert_content (const char *path, const char *content)
{
  g_autofree char *found = NULL;
  g_autoptr (GError) error = NULL;

  g_file_get_contents (path, &found, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (found, ==, content);
}

void
fsc_test_stage_assert_open (const char *path, int flags, int error)
{
  int fd = open (path, flags | O_CLOEXEC, 0644);
  int found = fd < 0 ? errno : 0;

  if (fd >= 0)
    close (fd);
  if (found != error)
    g_test_message ("%s: %s", path, g_strerror (found));
  g_assert_cmpint (found, ==, error);
}

gint64
fsc_test_stage_get (const FscTestStage *stage, const char *name)
{
  g_autofree char *path = fsc_test_stage_at (stage, "status.json");
  g_autofree char *pattern = g_strdup_printf ("\"%s\" : ", name);
  g_autofree char *text = NULL;
  const char *view, *found;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  view = strstr (text, "\"view\"");
  g_assert_nonnull (view);
  found = strstr (view, pattern);
  g_assert_nonnull (found);
  return g_ascii_strtoll (found + strlen (pattern), NULL, 10);
}

void
fsc_test_stage_run (const FscTestStage *stage, const char *command)
{
  g_autofree char *whole
      = g_strdup_printf ("export LC_ALL=C; set -eu; S='%s' V='%s' M='%s' C='%s'; %s", stage->source,
                         stage->through, stage->mount, stage->cached, command);
  const char *arguments[] = { "sh", "-c", whole, NULL };
  g_auto (FscTestProgram) program = { 0 };

  fsc_test_program_run (&program, NULL, arguments);
  if (program.status != 0)
    g_test_message ("%s", command);
  fsc_test_program_assert_exit (&program, 0);
}
