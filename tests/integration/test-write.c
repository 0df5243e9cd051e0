/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Writing and making files: it is done as open() does it, and what was opened for it is forgotten.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

extern char **environ;

/* Writing */

static void
assert_nothing_kept (FscTestService *service)
{
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "entries"), ==, 0);
}

static void
test_writing (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "0123");
  g_autofree char *content = NULL;
  FscacheReply reply;
  int fd = fscache_open (client, path, O_RDWR, &reply);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_PASSED);
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_UNCACHED);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmpint (lseek (fd, 0, SEEK_CUR), ==, 0);
  g_assert_cmpint (write (fd, "AB", 2), ==, 2);
  close (fd);

  fd = fscache_open (client, path, O_WRONLY | O_APPEND, &reply);
  g_assert_cmpint (write (fd, "45", 2), ==, 2);
  close (fd);
  g_assert_true (g_file_get_contents (path, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, "AB2345");

  fd = fscache_open (client, path, O_RDONLY | O_TRUNC, &reply);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_PASSED);
  g_clear_pointer (&content, g_free);
  g_assert_true (g_file_get_contents (path, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, "");
  close (fd);
  assert_nothing_kept (service);
  g_assert_cmpuint (fsc_test_service_counter (service, "passed"), ==, 3);
  fscache_disconnect (client);
}

/* The mode of a file that is made, by the service and by open(). */
static void
assert_same_mode (FscTestService *service, FscacheClient *client, mode_t mode)
{
  g_autofree char *mine = g_build_filename (service->dir, "mine", NULL);
  g_autofree char *its = g_build_filename (service->dir, "its", NULL);
  FscacheRequest request = { .uri = its, .flags = O_CREAT | O_EXCL | O_RDWR, .mode = mode };
  struct stat mine_st, its_st;
  FscacheReply reply;

  close (fsc_test_open_as_opener (mine, O_CREAT | O_EXCL | O_RDWR, mode));
  g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_PASSED);
  close (reply.fd);
  g_assert_no_errno (stat (mine, &mine_st));
  g_assert_no_errno (stat (its, &its_st));
  g_assert_cmphex (its_st.st_mode, ==, mine_st.st_mode);
  g_assert_cmpuint (its_st.st_uid, ==, mine_st.st_uid);
  g_assert_cmpuint (its_st.st_gid, ==, mine_st.st_gid);
  g_assert_no_errno (unlink (mine));
  g_assert_no_errno (unlink (its));
}

static void
test_creating (FscTestService *service)
{
  static const mode_t masks[] = { 0, 022, 027, 077, 0777 };
  static const mode_t modes[] = { 0, 0600, 0644, 0666, 0755, 0777, 01777, 02755, 04755 };
  FscacheClient *client = fsc_test_service_connect (service);
  mode_t before = umask (0);

  for (guint i = 0; i < G_N_ELEMENTS (masks); i++)
    for (guint j = 0; j < G_N_ELEMENTS (modes); j++)
      {
        umask (masks[i]);
        assert_same_mode (service, client, modes[j]);
      }
  umask (before);
  assert_nothing_kept (service);
  fscache_disconnect (client);
}

/* What O_CREAT says of what is there. Both sides make, so each has a directory of its own. */
static void
assert_same_creation (FscacheClient *client, const char *mine, const char *its, const char *name,
                      int create)
{
  g_autofree char *my_path = g_build_filename (mine, name, NULL);
  g_autofree char *its_path = g_build_filename (its, name, NULL);
  FscacheReply reply;
  int expected = fsc_test_open_as_opener (my_path, create, 0666);
  int given = fscache_open (client, its_path, create, &reply);

  if ((expected < 0 || given < 0) && expected != given)
    g_test_message ("open (\"%s\", 0%o) is %d, but here %d: %s", my_path, create, expected, given,
                    reply.message);
  if (expected < 0)
    {
      fsc_test_assert_failed (&reply, given, FSCACHE_ERROR_SYSTEM, -expected);
      return;
    }
  g_assert_cmpint (given, >=, 0);
  g_assert_cmphex (fsc_test_get_flags (given), ==, fsc_test_get_flags (expected));
  close (given);
  close (expected);
}

static void
make_creation_tree (const char *top)
{
  g_assert_no_errno (g_mkdir (top, 0755));
  g_assert_no_errno (chdir (top));
  fsc_test_write ("there", "x");
  fsc_test_write ("readonly", "x");
  g_assert_no_errno (chmod ("readonly", 0444));
  g_assert_no_errno (g_mkdir ("dir", 0755));
  g_assert_no_errno (g_mkdir ("closed", 0555));
  g_assert_no_errno (symlink ("there", "link"));
  g_assert_no_errno (symlink ("made", "dangling"));
  g_assert_no_errno (symlink ("nowhere/made", "lost"));
  g_assert_no_errno (symlink ("loop", "loop"));
  g_assert_no_errno (chdir ("/"));
}

static void
test_creating_over (FscTestService *service)
{
  static const char *const names[]
      = { "there",    "readonly", "link", "dir",         "dir/",      "dir/new",    "new",   "new/",
          "dangling", "lost",     "loop", "missing/new", "there/new", "closed/new", "there/" };
  static const int creations[] = {
    O_CREAT | O_RDONLY,
    O_CREAT | O_WRONLY,
    O_CREAT | O_RDWR | O_TRUNC,
    O_CREAT | O_WRONLY | O_EXCL,
    O_CREAT | O_WRONLY | O_NOFOLLOW,
    O_CREAT | O_EXCL | O_WRONLY | O_APPEND,
    O_TMPFILE | O_RDWR,
    O_TMPFILE | O_WRONLY | O_EXCL,
  };
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *mine = g_build_filename (service->dir, "mine", NULL);
  g_autofree char *its = g_build_filename (service->dir, "its", NULL);

  make_creation_tree (mine);
  make_creation_tree (its);
  for (guint i = 0; i < G_N_ELEMENTS (creations); i++)
    for (guint j = 0; j < G_N_ELEMENTS (names); j++)
      assert_same_creation (client, mine, its, names[j], creations[i]);
  assert_nothing_kept (service);
  fscache_disconnect (client);
}

/* Runs a program that has just been written. Whoever still has it open for writing, if only for a
 * moment, makes that fail with ETXTBSY: so neither opener nor service ever has. */
static void
run_written (char *path)
{
  char *arguments[] = { path, NULL };
  int status;
  pid_t pid;

  g_assert_cmpint (posix_spawn (&pid, path, NULL, NULL, arguments, environ), ==, 0);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
}

static void
test_run_what_was_written (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, "program", NULL);
  g_autofree char *program = NULL;
  gsize length;

  g_assert_true (g_file_get_contents ("/bin/true", &program, &length, NULL));
  for (int i = 0; i < 200; i++)
    {
      FscacheRequest request
          = { .uri = path, .flags = O_WRONLY | O_CREAT | (i % 2 == 0 ? O_TRUNC : 0), .mode = 0755 };
      int fd = fscache_open_with (client, &request, NULL);

      g_assert_cmpint (fd, >=, 0);
      g_assert_cmpint (write (fd, program, length), ==, length);
      close (fd);
      run_written (path);
    }
  assert_nothing_kept (service);
  fscache_disconnect (client);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/write/existing", test_writing);
  FSC_TEST_ADD ("/write/creating", test_creating);
  FSC_TEST_ADD ("/write/creating-over", test_creating_over);
  FSC_TEST_ADD ("/write/run-what-was-written", test_run_what_was_written);
  return g_test_run ();
}
