/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The mounts of this process: which one a path lies on must be what the kernel says, and a change
 * must be seen. Mounting needs a namespace of one's own; where that cannot be had, it is skipped.
 */
#include "fscache/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"
#include "tests/harness/namespace.h"

static gboolean
before_wait (gpointer data)
{
  return FALSE;
}

static FscLoop *
make_loop (void)
{
  g_autoptr (GError) error = NULL;
  FscLoop *loop = fsc_loop_new (before_wait, NULL, &error);

  g_assert_no_error (error);
  return loop;
}

static FscMounts *
make_mounts (FscLoop *loop)
{
  g_autoptr (GError) error = NULL;
  FscMounts *mounts = fsc_mounts_new (loop, &error);

  g_assert_no_error (error);
  return mounts;
}

static guint32
find (FscMounts *mounts, const char *path)
{
  const FscMount *mount = fsc_mounts_find (mounts, path);

  g_assert_nonnull (mount);
  g_assert_cmpuint (strlen (mount->path), ==, mount->length);
  g_assert_true (g_str_has_prefix (path, mount->path));
  return mount->id;
}

/* What the kernel says; 0 if it cannot be told, or the path is a symlink. */
static guint32
ask_kernel (const char *path)
{
  struct statx st;
  g_autofree char *real = realpath (path, NULL);

  if (real == NULL || !g_str_equal (real, path)
      || statx (AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) < 0
      || (st.stx_mask & STATX_MNT_ID) == 0)
    return 0;
  return (guint32) st.stx_mnt_id;
}

static void
test_find (void)
{
  static const char *const paths[]
      = { "/",     "/proc",    "/proc/self", "/dev",      "/dev/null", "/dev/shm",
          "/tmp",  "/usr/bin", "/sys",       "/run",      "/dev/pts",  "/etc",
          "/home", "/var/tmp", "/procedure", "/dev/shmx", "/proc/1",   "/sys/fs" };
  FscLoop *loop = make_loop ();
  g_autoptr (FscMounts) mounts = make_mounts (loop);
  guint n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      guint32 mount = ask_kernel (paths[i]);

      if (mount == 0)
        continue;
      g_test_message ("%s lies on %s", paths[i], fsc_mounts_get_path (mounts, mount));
      g_assert_cmpuint (find (mounts, paths[i]), ==, mount);
      n++;
    }
  g_assert_cmpuint (n, >=, 5);

  /* What does not exist lies where it would. */
  g_assert_cmpuint (find (mounts, "/proc/no/such/thing"), ==, ask_kernel ("/proc"));
  g_assert_cmpuint (find (mounts, "/procedure"), ==, ask_kernel ("/"));
  g_assert_false (fsc_mounts_find (mounts, "/proc")->is_local);
  g_assert_cmpstr (fsc_mounts_get_path (mounts, find (mounts, "/proc")), ==, "/proc");
  g_assert_cmpstr (fsc_mounts_get_path (mounts, 0), ==, "(unmounted)");
  g_clear_pointer (&mounts, fsc_mounts_free);
  fsc_loop_free (loop);
}

/* In a child with a mount namespace of its own. Returns what it exits with: 77 is a skip. */
static int
mount_and_look (const char *dir)
{
  g_autofree char *inner = g_build_filename (dir, "a b\\c", NULL);
  g_autofree char *path = g_build_filename (inner, "file", NULL);
  FscLoop *loop;
  FscMounts *mounts;
  guint32 before, after;

  if (!fsc_test_enter_namespaces () || mount ("none", dir, "tmpfs", 0, "") < 0)
    return 77;
  loop = make_loop ();
  mounts = make_mounts (loop);
  before = find (mounts, path);
  g_assert_cmpuint (before, ==, ask_kernel (dir));
  g_assert_true (fsc_mounts_find (mounts, path)->is_local);

  /* A name that mountinfo escapes; and a mount on top of it. */
  for (guint i = 0; i < 2; i++)
    {
      if (i == 0)
        g_assert_cmpint (g_mkdir (inner, 0700), ==, 0);
      g_assert_cmpint (mount ("none", inner, "tmpfs", 0, ""), ==, 0);
      g_main_context_iteration (NULL, FALSE);
      g_main_context_iteration (NULL, FALSE);
      after = find (mounts, path);
      g_assert_cmpuint (after, ==, ask_kernel (inner));
      g_assert_cmpuint (after, !=, before);
      g_assert_cmpstr (fsc_mounts_get_path (mounts, after), ==, inner);
    }
  for (guint i = 0; i < 2; i++)
    g_assert_cmpint (umount (inner), ==, 0);
  g_main_context_iteration (NULL, FALSE);
  g_main_context_iteration (NULL, FALSE);
  g_assert_cmpuint (find (mounts, path), ==, before);
  g_assert_cmpstr (fsc_mounts_get_path (mounts, after), ==, "(unmounted)");

  /* A mount that lies beneath another one is out of sight. */
  g_assert_cmpint (mount ("none", inner, "tmpfs", 0, ""), ==, 0);
  g_assert_cmpint (mount ("none", dir, "tmpfs", 0, ""), ==, 0);
  fsc_mounts_forget (mounts);
  after = find (mounts, path);
  g_assert_cmpuint (after, ==, ask_kernel (dir));
  g_assert_cmpuint (after, !=, before);
  g_assert_cmpstr (fsc_mounts_get_path (mounts, after), ==, dir);

  fsc_mounts_free (mounts);
  fsc_loop_free (loop);
  return 0;
}

static void
test_change (void)
{
  g_autofree char *dir = g_dir_make_tmp ("fscache-mounts-XXXXXX", NULL);
  int status;
  pid_t pid = fork ();

  if (pid == 0)
    {
      status = mount_and_look (dir);
      g_free (dir);
      _exit (status);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_rmdir (dir);
  g_assert_true (WIFEXITED (status));
  if (WEXITSTATUS (status) == 77)
    g_test_skip ("a mount namespace cannot be had here");
  else
    g_assert_cmpint (WEXITSTATUS (status), ==, 0);
}

static gboolean
has_id (const GArray *tree, guint32 id)
{
  for (guint i = 0; i < tree->len; i++)
    if (g_array_index (tree, FscMount, i).id == id)
      return TRUE;
  return FALSE;
}

/* Only what is a mount point has a tree, and what is mounted below belongs to it if asked for. */
static void
test_tree (void)
{
  g_autoptr (FscLoop) loop = make_loop ();
  g_autoptr (FscMounts) mounts = make_mounts (loop);
  g_autoptr (GArray) root = fsc_mounts_get_tree (mounts, "/", FALSE);
  g_autoptr (GArray) all = fsc_mounts_get_tree (mounts, "/", TRUE);
  g_autoptr (GArray) proc = fsc_mounts_get_tree (mounts, "/proc", FALSE);

  g_assert_nonnull (root);
  g_assert_cmpuint (root->len, ==, 1);
  g_assert_cmpuint (g_array_index (root, FscMount, 0).id, ==, find (mounts, "/"));
  g_assert_cmpint (g_array_index (root, FscMount, 0).since, ==, 0);
  g_assert_nonnull (proc);
  g_assert_cmpuint (all->len, >=, 2);
  g_assert_true (has_id (all, find (mounts, "/")));
  g_assert_true (has_id (all, find (mounts, "/proc")));
  g_assert_null (fsc_mounts_get_tree (mounts, "/proc/1", TRUE));
  g_assert_null (fsc_mounts_get_tree (mounts, "", TRUE));
}

static void
run (gconstpointer test)
{
  char *before = fsc_test_list_descriptors ();

  ((GTestFunc) test) ();
  fsc_test_assert_descriptors (before);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_main_context_default (); /* its descriptor is not a test's */
  g_test_add_data_func ("/mounts/find", test_find, run);
  g_test_add_data_func ("/mounts/tree", test_tree, run);
  g_test_add_data_func ("/mounts/change", test_change, run);
  return g_test_run ();
}
