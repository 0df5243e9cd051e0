/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The harness itself: what an aborted test leaves is removed, and nothing else is.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/directory.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

static gboolean
is_there (const char *path)
{
  return access (path, F_OK) == 0;
}

/* Runs a test to its end in another process, which is aborted. Returns the directory that it left.
 */
static char *
abort_test (void (*test) (FscTestService *service))
{
  int pipes[2], status;
  char path[256] = "";
  pid_t pid;

  g_assert_no_errno (pipe2 (pipes, O_CLOEXEC));
  pid = fork ();
  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      FscTestService *service = fsc_test_service_new (NULL, NULL);

      g_assert_cmpint (write (pipes[1], service->dir, strlen (service->dir)), >, 0);
      if (test != NULL)
        test (service);
      kill (getpid (), SIGKILL);
    }
  close (pipes[1]);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFSIGNALED (status));
  g_assert_cmpint (read (pipes[0], path, sizeof path - 1), >, 0);
  close (pipes[0]);
  g_assert_true (is_there (path));
  return g_strdup (path);
}

static void
sweep_beside (const char *path)
{
  g_autofree char *place = g_path_get_dirname (path);

  fsc_test_directory_sweep (place);
}

static void
test_aborted (void)
{
  char *before = fsc_test_list_descriptors ();
  g_autofree char *path = abort_test (NULL);

  sweep_beside (path);
  g_assert_false (is_there (path));
  fsc_test_assert_descriptors (before);
}

static void
mount_something (FscTestService *service)
{
  g_autofree char *outer = g_build_filename (service->dir, "a mount", NULL);
  g_autofree char *inner = g_build_filename (outer, "inner", NULL);

  g_assert_no_errno (g_mkdir (outer, 0700));
  g_assert_no_errno (mount ("none", outer, "tmpfs", 0, NULL));
  g_assert_no_errno (g_mkdir (inner, 0700));
  g_assert_no_errno (mount ("none", inner, "tmpfs", 0, NULL));
}

/* What is mounted there is unmounted, not emptied. */
static void
test_aborted_with_mount (FscTestService *service)
{
  g_autofree char *elsewhere = g_build_filename (service->dir, "elsewhere", NULL);
  g_autofree char *point = NULL;
  g_autofree char *precious = NULL;
  g_autofree char *path = NULL;

  if (mount ("none", service->dir, "tmpfs", MS_REMOUNT | MS_BIND, NULL) < 0 && errno == EPERM)
    {
      g_test_skip ("only root can mount");
      return;
    }
  path = abort_test (mount_something);
  g_assert_no_errno (g_mkdir (elsewhere, 0700));
  precious = fsc_test_service_write (service, "elsewhere/precious", "x");
  point = g_build_filename (path, "bind", NULL);
  g_assert_no_errno (g_mkdir (point, 0700));
  g_assert_no_errno (mount (elsewhere, point, NULL, MS_BIND, NULL));
  sweep_beside (path);
  g_assert_false (is_there (path));
  g_assert_true (is_there (precious));
}

/* The directory of a test that runs is left alone: this one's. */
static void
test_running (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  pid_t pid = fork ();
  int status;

  if (pid == 0)
    {
      sweep_beside (service->dir);
      _exit (0);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
  sweep_beside (service->dir);
  g_assert_true (is_there (path));
}

/* So is what was not made by this harness, until it is old. */
static void
test_unlocked (FscTestService *service)
{
  static const char *const names[]
      = { "fscache-test-1", "fscache-sshfs-1", "fscache-root", "other" };
  const struct timespec times[] = { { 1, 0 }, { 1, 0 } };

  for (int is_old = 0; is_old < 2; is_old++)
    for (guint i = 0; i < G_N_ELEMENTS (names); i++)
      {
        g_autofree char *path = g_build_filename (service->dir, names[i], NULL);

        if (!is_old)
          g_assert_no_errno (g_mkdir (path, 0700));
        else
          g_assert_no_errno (utimensat (AT_FDCWD, path, times, 0));
        fsc_test_directory_sweep (service->dir);
        g_assert_cmpint (is_there (path), ==, !is_old || i >= 2);
      }
}

/* A test that fails leaves no server behind, for which all who run tests would wait. */
static void
test_server_ends (void)
{
  static const char *const server[] = { "sleep", "1000", NULL };
  pid_t pid;
  GPid child;
  int pipes[2], status;

  g_assert_no_errno (prctl (PR_SET_CHILD_SUBREAPER, 1));
  g_assert_no_errno (pipe2 (pipes, O_CLOEXEC));
  pid = fork ();
  if (pid == 0)
    {
      g_spawn_async (NULL, (char **) server, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
                     fsc_test_program_die_with_parent, NULL, &child, NULL);
      write (pipes[1], &child, sizeof child);
      _exit (0);
    }
  g_assert_cmpint (read (pipes[0], &child, sizeof child), ==, sizeof child);
  close (pipes[0]);
  close (pipes[1]);
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  alarm (10);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  alarm (0);
  g_assert_true (WIFSIGNALED (status));
  g_assert_no_errno (prctl (PR_SET_CHILD_SUBREAPER, 0));
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/harness/aborted", test_aborted);
  g_test_add_func ("/harness/server-ends", test_server_ends);
  FSC_TEST_ADD ("/harness/aborted-with-mount", test_aborted_with_mount);
  FSC_TEST_ADD ("/harness/running", test_running);
  FSC_TEST_ADD ("/harness/unlocked", test_unlocked);
  return g_test_run ();
}
