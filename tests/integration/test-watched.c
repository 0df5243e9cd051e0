/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watched entries, with the real service: from the second hit or so on there is no check any more,
 * and yet whatever another process does to the way, to the file, or to mounts is seen by the very
 * next request. What cannot be watched, because of a limit, of rights, or of its file system, is
 * checked, and as right. And watches go with the entries that need them. All is in a mount
 * namespace of the test's own, where that can be had.
 *
 * FSC_TEST_SCALE: how many hits are measured, in percent.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "protocol/protocol.h"
#include "tests/harness/answer.h"
#include "tests/harness/namespace.h"
#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

static gboolean has_namespace;
static gboolean is_root; /* and not only of a user namespace */

/* A service and its tree: DIR/a/b/f, DIR/a/b/g, DIR/other, and DIR/link, which leads to a/b. */
typedef struct
{
  FscTestService *service;
  FscacheClient *client;
  const char *dir;
} Stage;

static char *
get_path (const Stage *stage, const char *name)
{
  return g_build_filename (stage->dir, name, NULL);
}

static void
make_tree (const Stage *stage)
{
  static const char *const names[] = { "a", "a/b", "a/b/f", "a/b/g", "c", "c/f", "other", "link" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = get_path (stage, names[i]);

      if (i < 2 || g_str_equal (names[i], "c"))
        g_assert_no_errno (g_mkdir (path, 0755));
      else if (g_str_equal (names[i], "link"))
        g_assert_no_errno (symlink ("a/b", path));
      else
        fsc_test_write (path, names[i]);
    }
}

static void
stage_begin (Stage *stage, FscTestService *service)
{
  *stage = (Stage){ .service = service, .dir = service->dir };
  stage->client = fsc_test_service_connect (service);
  make_tree (stage);
}

static void
stage_end (Stage *stage)
{
  fscache_disconnect (stage->client);
}

static guint64
get_counter (const Stage *stage, const char *name)
{
  return fsc_test_service_counter (stage->service, name);
}

static FscacheCoherence
ask (const Stage *stage, const char *path)
{
  FscacheReply reply;

  g_assert_cmpint (fscache_open (stage->client, path, O_RDONLY, &reply), >=, 0);
  fscache_reply_clear (stage->client, &reply);
  return reply.coherence;
}

/* Asks until it is watched. Returns how often that was. */
static guint
learn (const Stage *stage, const char *path)
{
  for (guint i = 1; i <= 2000; i++)
    {
      if (ask (stage, path) == FSCACHE_COHERENCE_WATCHED)
        return i;
      g_usleep (2000);
    }
  g_error ("%s is never watched", path);
}

static void
learn_name (const Stage *stage, const char *name)
{
  g_autofree char *path = get_path (stage, name);

  learn (stage, path);
}

/* Gives it time to be watched, which it is not. */
static void
assert_not_learnt (const Stage *stage, const char *path)
{
  for (guint i = 0; i < 20; i++)
    {
      g_assert_cmpint (ask (stage, path), ==, FSCACHE_COHERENCE_CHECKED);
      g_usleep (2000);
    }
}

/* The kernel's watches, of all inotify instances that the service has. */
static guint
count_watches (const Stage *stage)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/fdinfo", stage->service->pid);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;
  guint n = 0;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *info = g_build_filename (path, name, NULL);
      g_autofree char *content = NULL;

      if (g_file_get_contents (info, &content, NULL, NULL))
        for (const char *line = content; (line = strstr (line, "inotify wd:")) != NULL; line++)
          n++;
    }
  return n;
}

/* An opener that is on its way adds some, which the service ends when it reports them. */
static void
assert_watches (const Stage *stage, guint n)
{
  fsc_test_service_wait_for (stage->service, "watching", 0);
  if (count_watches (stage) != n)
    g_test_message ("the service knows of %u directories and %u files, for %u of %u entries",
                    (guint) get_counter (stage, "watched_directories"),
                    (guint) get_counter (stage, "watched_files"),
                    (guint) get_counter (stage, "watched"), (guint) get_counter (stage, "entries"));
  g_assert_cmpuint (count_watches (stage), ==, n);
}

/* The spawner tells of the end of a process after the process's socket does. */
static void
wait_for_watches (const Stage *stage, guint n)
{
  for (guint i = 0; i < 500 && count_watches (stage) != n; i++)
    g_usleep (10000);
  assert_watches (stage, n);
}

/* How often a hit needs a check: never */

static void
count_coherence (const FscacheEntry *entry, void *data)
{
  *(guint *) data += entry->coherence == FSCACHE_COHERENCE_WATCHED;
}

static void
test_soon (FscTestService *service)
{
  Stage stage;
  g_autofree char *path = NULL;
  guint n = 0;
  guint64 checks;

  stage_begin (&stage, service);
  path = get_path (&stage, "link/f");
  g_assert_cmpuint (learn (&stage, path), >=, 3); /* opened, checked, watched */
  g_assert_cmpint (fscache_info (stage.client, path, count_coherence, &n, NULL), >=, 0);
  g_assert_cmpuint (n, ==, 1);
  g_assert_cmpuint (get_counter (&stage, "watched"), ==, 1);
  g_assert_cmpuint (get_counter (&stage, "watched_files"), ==, 1);
  g_assert_cmpuint (get_counter (&stage, "watched_directories") + 1, ==, count_watches (&stage));

  checks = get_counter (&stage, "checks");
  for (guint i = 0; i < 1000; i++)
    g_assert_cmpint (ask (&stage, path), ==, FSCACHE_COHERENCE_WATCHED);
  g_assert_cmpuint (get_counter (&stage, "checks"), ==, checks);
  stage_end (&stage);
}

/* "     0.01    0.000123           1       100           recvmsg" */
static guint
count_calls (const char *report, const char *name)
{
  g_auto (GStrv) lines = g_strsplit (report, "\n", -1);

  for (guint i = 0; lines[i] != NULL; i++)
    {
      g_autofree char *line = g_strchomp (g_strdup (lines[i]));
      double share, seconds;
      guint each, n;

      if (g_str_has_suffix (line, name) && line[strlen (line) - strlen (name) - 1] == ' '
          && sscanf (line, "%lf %lf %u %u", &share, &seconds, &each, &n) == 4)
        return n;
    }
  return 0;
}

/* What the service does for a hit: it waits, takes the request, looks whether anything has
 * happened, answers. */
static void
test_calls (FscTestService *service)
{
  enum
  {
    HITS = 1000,
    OTHERS = 20
  };
  Stage stage;
  g_autofree char *path = NULL, *report = NULL, *tracer = g_find_program_in_path ("strace");
  g_autofree char *out = g_build_filename (service->dir, "calls", NULL);
  g_autofree char *pid = g_strdup_printf ("%d", service->pid);
  const char *arguments[] = { "strace", "-qq", "-c", "-o", out, "-p", pid, NULL };
  GPid child;

  if (tracer == NULL)
    {
      g_test_skip ("there is no strace");
      return;
    }
  stage_begin (&stage, service);
  path = get_path (&stage, "a/b/f");
  learn (&stage, path);
  g_assert_true (g_spawn_async (NULL, (char **) arguments, NULL,
                                G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
                                fsc_test_program_die_with_parent, NULL, &child, NULL));
  for (guint i = 0; i < 500 && fsc_process_get (service->pid, "TracerPid:") <= 0; i++)
    g_usleep (10000);
  if (fsc_process_get (service->pid, "TracerPid:") > 0)
    for (guint i = 0; i < HITS; i++)
      ask (&stage, path);
  kill (child, SIGINT);
  waitpid (child, NULL, 0);
  g_file_get_contents (out, &report, NULL, NULL);
  g_test_message ("%s", report);
  if (report == NULL || count_calls (report, "recvmsg") == 0)
    g_test_skip ("strace cannot trace here");
  else
    {
      g_assert_cmpuint (count_calls (report, "recvmsg"), <=, HITS + OTHERS);
      g_assert_cmpuint (count_calls (report, "sendmsg"), <=, HITS + OTHERS);
      g_assert_cmpuint (count_calls (report, "epoll_wait"), <=, 2 * (HITS + OTHERS));
      g_assert_cmpuint (count_calls (report, "total"), <=, 4 * (HITS + OTHERS));
    }
  stage_end (&stage);
}

/* Changes. Each is made by another process, and is complete before the next request. */

typedef struct
{
  const char *name;
  const char *asked; /* relative to the tree */
  void (*change) (void);
  gboolean needs_namespace;
} Change;

static void
must (int result, const char *what)
{
  if (result >= 0)
    return;
  fprintf (stderr, "%s: %s\n", what, strerror (errno));
  _exit (1);
}

static void
rename_over (void)
{
  must (rename ("other", "a/b/f"), "rename");
}

static void
exchange_files (void)
{
  must (renameat2 (AT_FDCWD, "a/b/f", AT_FDCWD, "a/b/g", RENAME_EXCHANGE), "exchange");
}

static void
exchange_directories (void)
{
  must (renameat2 (AT_FDCWD, "a/b", AT_FDCWD, "c", RENAME_EXCHANGE), "exchange");
}

static void
rename_parent (void)
{
  must (rename ("a/b", "a/d"), "rename");
}

static void
rename_grandparent (void)
{
  must (rename ("a", "d"), "rename");
}

static void
remove_file (void)
{
  must (unlink ("a/b/f"), "unlink");
}

static void
make_again (void)
{
  must (unlink ("a/b/f"), "unlink");
  must (open ("a/b/f", O_CREAT | O_EXCL | O_WRONLY, 0644), "create");
}

static void
replace_by_link (void)
{
  must (symlink ("../../c/f", "swap"), "symlink");
  must (rename ("swap", "a/b/f"), "rename");
}

static void
replace_directory_by_link (void)
{
  must (rename ("a/b", "a/d"), "rename");
  must (symlink ("../c", "a/b"), "symlink");
}

static void
swap_link (void)
{
  must (symlink ("c", "swap"), "symlink");
  must (rename ("swap", "link"), "rename");
}

static void
remove_link (void)
{
  must (unlink ("link"), "unlink");
}

static void
change_mode (void)
{
  must (chmod ("a/b/f", 0), "chmod");
}

static void
change_mode_by_another_name (void)
{
  must (link ("a/b/f", "c/hard"), "link");
  must (chmod ("c/hard", 0), "chmod");
}

static void
change_mode_by_descriptor (void)
{
  int fd = open ("a/b/f", O_RDONLY);

  must (fd, "open");
  must (fchmod (fd, 0), "fchmod");
}

static void
change_mode_of_parent (void)
{
  must (chmod ("a/b", 0), "chmod");
}

static void
change_mode_of_grandparent (void)
{
  must (chmod ("a", 0600), "chmod");
}

static void
change_owner (void)
{
  must (chmod ("a/b/f", 0600), "chmod");
  must (chown ("a/b/f", 4242, 4242), "chown");
}

static void
deny_by_acl (void)
{
  /* user::---, user 0: r--, group::r--, mask::r--, other::r-- */
  static const guint8 acl[]
      = { 2, 0, 0,    0,    1,    0,    0,  0, 0xff, 0xff, 0xff, 0xff, 2,    0,   4,
          0, 0, 0,    0,    0,    4,    0,  4, 0,    0xff, 0xff, 0xff, 0xff, 16,  0,
          4, 0, 0xff, 0xff, 0xff, 0xff, 32, 0, 4,    0,    0xff, 0xff, 0xff, 0xff };

  if (setxattr ("a/b/f", "system.posix_acl_access", acl, sizeof acl, 0) < 0)
    must (errno == EOPNOTSUPP ? chmod ("a/b/f", 0) : -1, "setxattr");
}

static void
bind_over_parent (void)
{
  must (mount ("c", "a/b", NULL, MS_BIND, NULL), "bind");
}

static void
bind_over_file (void)
{
  must (mount ("other", "a/b/f", NULL, MS_BIND, NULL), "bind");
}

static void
mount_over_grandparent (void)
{
  must (mount ("none", "a", "tmpfs", 0, NULL), "mount");
}

static void
make_bound (void)
{
  must (mount ("c", "a/b", NULL, MS_BIND, NULL), "bind");
}

static void
unmount_lazily (void)
{
  must (umount2 ("a/b", MNT_DETACH), "umount");
}

static const Change changes[] = {
  { "rename-over", "a/b/f", rename_over, FALSE },
  { "exchange-files", "a/b/f", exchange_files, FALSE },
  { "exchange-directories", "a/b/f", exchange_directories, FALSE },
  { "rename-parent", "a/b/f", rename_parent, FALSE },
  { "rename-grandparent", "a/b/f", rename_grandparent, FALSE },
  { "rename-behind-link", "link/f", rename_grandparent, FALSE },
  { "unlink", "a/b/f", remove_file, FALSE },
  { "make-again", "a/b/f", make_again, FALSE },
  { "replace-by-link", "a/b/f", replace_by_link, FALSE },
  { "replace-directory-by-link", "a/b/f", replace_directory_by_link, FALSE },
  { "swap-link", "link/f", swap_link, FALSE },
  { "remove-link", "link/f", remove_link, FALSE },
  { "replace-behind-link", "link/f", rename_over, FALSE },
  { "up-and-down", "a/b/../b/f", rename_parent, FALSE },
  { "mode", "a/b/f", change_mode, FALSE },
  { "mode-by-another-name", "a/b/f", change_mode_by_another_name, FALSE },
  { "mode-by-descriptor", "a/b/f", change_mode_by_descriptor, FALSE },
  { "mode-of-parent", "a/b/f", change_mode_of_parent, FALSE },
  { "mode-of-grandparent", "a/b/f", change_mode_of_grandparent, FALSE },
  { "mode-behind-link", "link/f", change_mode_of_parent, FALSE },
  { "owner", "a/b/f", change_owner, TRUE },
  { "acl", "a/b/f", deny_by_acl, FALSE },
  { "directory", "a/b", rename_parent, FALSE },
  { "mode-of-directory", "a/b", change_mode_of_parent, FALSE },
  { "bind-over-parent", "a/b/f", bind_over_parent, TRUE },
  { "bind-over-file", "a/b/f", bind_over_file, TRUE },
  { "mount-over-grandparent", "a/b/f", mount_over_grandparent, TRUE },
  { "mount-behind-link", "link/f", bind_over_parent, TRUE },
  { "unmount-lazily", "a/b/f", unmount_lazily, TRUE },
};

static void
make_change (const Stage *stage, void (*change) (void))
{
  pid_t child = fork ();
  int status = -1;

  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    {
      must (chdir (stage->dir), "chdir");
      change ();
      _exit (0);
    }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
}

static void
test_change (gconstpointer data)
{
  const Change *change = data;
  FscTestService *service;
  Stage stage;
  g_autofree char *path = NULL;

  if ((change->needs_namespace && !has_namespace) || (change->change == change_owner && !is_root))
    {
      g_test_skip ("this needs root, and a mount namespace");
      return;
    }
  service = fsc_test_service_new (NULL, NULL);
  stage_begin (&stage, service);
  path = get_path (&stage, change->asked);
  if (change->change == unmount_lazily)
    make_change (&stage, make_bound);
  learn (&stage, path);
  make_change (&stage, change->change);
  fsc_test_assert_same (stage.client, path, O_RDONLY);
  fsc_test_assert_same (stage.client, path, O_RDONLY);

  /* Nothing is left to keep the mounts busy, or to end with the directory. */
  g_assert_cmpint (fscache_drop_matching (stage.client, "*", NULL), >=, 0);
  assert_watches (&stage, 0);
  stage_end (&stage);
  if (change->needs_namespace)
    for (guint i = 0; i < 3; i++)
      {
        static const char *const points[] = { "a/b/f", "a/b", "a" };
        g_autofree char *point = g_build_filename (service->dir, points[i], NULL);

        umount2 (point, MNT_DETACH);
      }
  {
    g_autofree char *a = g_build_filename (service->dir, "a", NULL);
    g_autofree char *b = g_build_filename (service->dir, "a/b", NULL);

    g_chmod (a, 0755);
    g_chmod (b, 0755);
  }
  fsc_test_service_free (service);
}

/* Space */

static void
test_space (FscTestService *service)
{
  Stage stage;
  g_autofree char *mount_point = NULL, *path = NULL, *b = NULL;
  g_autofree char *content = g_strnfill (4 << 20, 'x');
  struct statfs before, after;

  stage_begin (&stage, service);
  b = get_path (&stage, "a/b");
  path = get_path (&stage, "a/b/f");
  mount_point = get_path (&stage, "a");
  if (has_namespace)
    {
      g_assert_no_errno (mount ("none", mount_point, "tmpfs", 0, "size=8m,mode=0755"));
      g_assert_no_errno (g_mkdir (b, 0755));
    }
  g_assert_no_errno (statfs (mount_point, &before));
  fsc_test_write (path, content);
  learn (&stage, path);
  g_assert_cmpint (fsc_process_count_descriptors (service->pid, mount_point), ==, 1);
  g_assert_no_errno (unlink (path));

  /* Nobody asks, and yet it is closed. */
  for (guint i = 0; i < 500 && fsc_process_count_descriptors (service->pid, mount_point) > 0; i++)
    g_usleep (1000);
  g_assert_cmpint (fsc_process_count_descriptors (service->pid, mount_point), ==, 0);
  if (has_namespace)
    {
      for (guint i = 0; i < 500; i++) /* close() is not over yet when the descriptor is gone */
        {
          g_assert_no_errno (statfs (mount_point, &after));
          if (after.f_bfree == before.f_bfree)
            break;
          g_usleep (1000);
        }
      g_assert_cmpuint (after.f_bfree, ==, before.f_bfree);
      g_assert_no_errno (umount2 (mount_point, 0)); /* it is not busy either */
    }
  stage_end (&stage);
}

/* What cannot be watched */

/* On the way to "/" no name is looked up. */
static void
test_root (FscTestService *service)
{
  Stage stage;

  stage_begin (&stage, service);
  for (guint i = 0; i < 20; i++)
    {
      ask (&stage, "/");
      g_usleep (2000);
    }
  g_assert_cmpuint (get_counter (&stage, "openers_failed"), ==, 0);
  if (ask (&stage, "/") != FSCACHE_COHERENCE_UNCACHED)
    learn (&stage, "/");
  stage_end (&stage);
}

static void
test_unreadable (FscTestService *service)
{
  Stage stage;
  g_autofree char *path = NULL, *directory = NULL, *other = NULL;

  if (!is_root)
    {
      g_test_skip ("only root can give a directory away");
      return;
    }
  stage_begin (&stage, service);
  path = get_path (&stage, "a/b/f");
  directory = get_path (&stage, "a/b");
  other = get_path (&stage, "other");
  g_assert_no_errno (chown (directory, 4242, 4242));
  g_assert_no_errno (chmod (directory, 0711));
  assert_not_learnt (&stage, path);
  assert_watches (&stage, 0); /* of the directories above it, either */
  g_assert_no_errno (g_rename (other, path));
  fsc_test_assert_same (stage.client, path, O_RDONLY);
  g_assert_no_errno (chmod (directory, 0700));
  g_assert_cmpint (fsc_test_assert_same (stage.client, path, O_RDONLY), ==, EACCES);
  stage_end (&stage);
}

/* A way of more steps than can be reported. */
static void
test_long (FscTestService *service)
{
  Stage stage;
  g_autoptr (GString) path = NULL;

  stage_begin (&stage, service);
  path = g_string_new (service->dir);
  for (guint i = 0; i < FSC_STEPS_MAX + 10; i++)
    {
      g_string_append (path, "/d");
      g_assert_no_errno (g_mkdir (path->str, 0755));
    }
  assert_not_learnt (&stage, path->str);
  assert_watches (&stage, 0);
  stage_end (&stage);
}

static void
test_overlay (FscTestService *service)
{
  Stage stage;
  g_autofree char *point = NULL, *path = NULL, *lower = NULL, *options = NULL;

  if (!has_namespace)
    {
      g_test_skip ("this needs root, and a mount namespace");
      return;
    }
  stage_begin (&stage, service);
  point = get_path (&stage, "c");
  lower = get_path (&stage, "a");
  path = get_path (&stage, "c/b/f");
  options = g_strdup_printf ("lowerdir=%s:%s", lower, point);
  if (mount ("none", point, "overlay", 0, options) < 0)
    g_test_skip ("overlayfs cannot be mounted here");
  else
    {
      for (guint i = 0; i < 20; i++)
        {
          g_assert_cmpint (ask (&stage, path), !=, FSCACHE_COHERENCE_WATCHED);
          g_usleep (1000);
        }
      assert_watches (&stage, 0);
      fsc_test_assert_same (stage.client, path, O_RDONLY);
      g_assert_cmpint (fscache_drop_matching (stage.client, "*", NULL), >=, 0);
      g_assert_no_errno (umount2 (point, MNT_DETACH));
    }
  stage_end (&stage);
}

static gboolean
run_quietly (const char *const *arguments)
{
  int status;

  return g_spawn_sync (NULL, (char **) arguments, NULL,
                       G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL
                           | G_SPAWN_STDERR_TO_DEV_NULL,
                       NULL, NULL, NULL, NULL, &status, NULL)
         && g_spawn_check_wait_status (status, NULL);
}

/* On XFS. With ascii-ci a name may come to be by the event of another one. */
static void
run_on_xfs (FscTestService *service, const char *naming, gboolean folds_case)
{
  Stage stage;
  g_autofree char *image = g_build_filename (service->dir, "image", NULL);
  g_autofree char *size = g_strdup_printf ("--size=%d", 320 << 20);
  g_autofree char *point = NULL, *path = NULL, *other = NULL;
  const char *truncate[] = { "truncate", size, image, NULL };
  const char *mkfs[] = { "mkfs.xfs", "-q", "-n", naming, image, NULL };

  if (!has_namespace || !run_quietly (truncate) || !run_quietly (mkfs))
    {
      g_test_skip ("this needs root, a mount namespace, and mkfs.xfs");
      return;
    }
  stage_begin (&stage, service);
  point = get_path (&stage, "c");
  path = get_path (&stage, "c/name");
  other = get_path (&stage, "c/NAME");
  if (!run_quietly ((const char *const[]){ "mount", "-o", "loop", image, point, NULL }))
    g_test_skip ("this kernel cannot mount it");
  else
    {
      fsc_test_write (path, "x");
      if (folds_case)
        assert_not_learnt (&stage, path);
      else
        learn (&stage, path);
      g_assert_no_errno (g_rename (path, other));
      fsc_test_assert_same (stage.client, path, O_RDONLY);
      fsc_test_assert_same (stage.client, other, O_RDONLY);
      g_assert_cmpint (fscache_drop_matching (stage.client, "*", NULL), >=, 0);
      g_assert_no_errno (umount2 (point, MNT_DETACH));
    }
  stage_end (&stage);
}

static void
test_xfs (FscTestService *service)
{
  run_on_xfs (service, "version=2", FALSE);
}

static void
test_xfs_folding_case (FscTestService *service)
{
  run_on_xfs (service, "version=ci", TRUE);
}

/* An opener adds a watch, and ends before it has said so. */
static void
test_opener_crashes (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_autofree char *path = fsc_test_service_write (service, "watch-and-crash", "x");
  Stage stage;

  service->opener_dir = fsc_test_build_path ("tests/integration");
  fsc_test_service_start (service);
  stage_begin (&stage, service);
  for (guint i = 0; i < 500 && get_counter (&stage, "openers_failed") == 0; i++)
    {
      g_assert_cmpint (ask (&stage, path), ==, FSCACHE_COHERENCE_CHECKED);
      g_usleep (10000);
    }
  g_assert_cmpuint (get_counter (&stage, "openers_failed"), >=, 1);
  wait_for_watches (&stage, 0);
  stage_end (&stage);
  fsc_test_service_free (service);
}

/* The same with the real one, which is killed at any time. What is watched already stays so. */
static void
test_opener_killed (void)
{
  FscTestService *service = fsc_test_service_new ("[lanes]\nopeners = 1\n", NULL);
  g_autoptr (GString) path = NULL;
  Stage stage;
  guint n;

  stage_begin (&stage, service);
  path = g_string_new (service->dir);
  for (guint i = 0; i < 200; i++)
    {
      g_string_append (path, "/d");
      g_assert_no_errno (g_mkdir (path->str, 0755));
    }
  learn_name (&stage, "a/b/f");
  n = count_watches (&stage);
  for (guint i = 0; i < 20; i++)
    {
      g_autoptr (GArray) openers = NULL;

      ask (&stage, path->str);
      openers = fsc_test_service_list_openers (service);
      g_assert_cmpuint (openers->len, ==, 1);
      ask (&stage, path->str); /* from now on it goes along the way */
      g_usleep (i * 100);
      kill (g_array_index (openers, pid_t, 0), SIGKILL);
      fsc_test_service_wait_for (service, "openers_failed", i + 1);
      g_assert_cmpint (fscache_drop (stage.client, path->str, NULL), >=, 0);
      wait_for_watches (&stage, n);
    }
  g_assert_cmpuint (get_counter (&stage, "watched"), ==, 1);
  stage_end (&stage);
  fsc_test_service_free (service);
}

/* A process cannot map all users in its own namespace: another one does it, which is still outside.
 * Returns FALSE if that is not allowed. */
static gboolean
limit_watches (guint limit)
{
  g_autofree char *command = g_strdup_printf (
      "echo 0 0 4294967295 > /proc/%1$d/uid_map && echo 0 0 4294967295 > /proc/%1$d/gid_map",
      getpid ());
  g_autofree char *number = g_strdup_printf ("%u", limit);
  int go[2], status = -1, fd;
  gboolean is_good;
  pid_t child;
  char byte;

  g_assert_no_errno (pipe2 (go, O_CLOEXEC));
  child = fork ();
  if (child == 0)
    {
      close (go[1]);
      if (read (go[0], &byte, 1) == 1)
        execl ("/bin/sh", "sh", "-c", command, NULL);
      _exit (1);
    }
  is_good = unshare (CLONE_NEWUSER) == 0 && write (go[1], "", 1) == 1;
  close (go[0]);
  close (go[1]);
  waitpid (child, &status, 0);
  if (!is_good || status != 0)
    return FALSE;
  fd = open ("/proc/sys/user/max_inotify_watches", O_WRONLY | O_CLOEXEC);
  is_good = fd >= 0 && write (fd, number, strlen (number)) == (ssize_t) strlen (number);
  close (fd);
  return is_good;
}

/* In a process whose user namespace has few watches, and so has the service that it starts. */
static void
run_with_few_watches (void)
{
  FscTestService *service;
  Stage stage;
  guint n_watched = 0, limit;

  if (!limit_watches (1000))
    _exit (77);
  service = fsc_test_service_new (NULL, NULL);
  stage_begin (&stage, service);
  learn_name (&stage, "a/b/f");
  limit = count_watches (&stage) + 3;
  g_assert_cmpint (fscache_drop_matching (stage.client, "*", NULL), >=, 0);
  {
    g_autofree char *number = g_strdup_printf ("%u", limit);
    int fd = open ("/proc/sys/user/max_inotify_watches", O_WRONLY | O_CLOEXEC);

    g_assert_cmpint (write (fd, number, strlen (number)), ==, strlen (number));
    close (fd);
  }

  for (guint i = 0; i < 10; i++)
    {
      g_autofree char *name = g_strdup_printf ("a/b/%u", i);
      g_autofree char *path = get_path (&stage, name);

      fsc_test_write (path, name);
      for (guint j = 0; j < 5; j++)
        {
          ask (&stage, path);
          fsc_test_service_wait_for (service, "watching", 0);
        }
      n_watched += ask (&stage, path) == FSCACHE_COHERENCE_WATCHED;
    }
  g_assert_cmpuint (n_watched, ==, 4);
  assert_watches (&stage, limit);
  for (guint i = 0; i < 10; i++)
    {
      g_autofree char *name = g_strdup_printf ("a/b/%u", i);
      g_autofree char *path = get_path (&stage, name);
      g_autofree char *other = get_path (&stage, "a/b/new");

      fsc_test_write (other, "new");
      g_assert_no_errno (g_rename (other, path));
      fsc_test_assert_same (stage.client, path, O_RDONLY);
    }
  g_assert_cmpint (fscache_drop_matching (stage.client, "*", NULL), >=, 0);
  assert_watches (&stage, 0);
  stage_end (&stage);
  fsc_test_service_free (service);
}

static void
test_limit (void)
{
  pid_t child = fork ();
  int status = -1;

  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      dup2 (2, 1); /* what it says is not this test's TAP */
      run_with_few_watches ();
      _exit (0);
    }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  if (WIFEXITED (status) && WEXITSTATUS (status) == 77)
    g_test_skip ("no user namespace can be made here");
  else
    g_assert_cmpint (status, ==, 0);
}

/* Too much at once, and all the time */

static void
make_noise (const Stage *stage, guint n)
{
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *name = g_strdup_printf ("a/b/noise%u", i % 2);
      g_autofree char *path = get_path (stage, name);

      g_assert_no_errno (close (open (path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
      g_assert_no_errno (unlink (path));
    }
}

static void
test_overflow (FscTestService *service)
{
  Stage stage;
  g_autofree char *path = NULL, *still = NULL;
  glong queue = 16384;
  g_autofree char *setting = NULL;

  if (g_file_get_contents ("/proc/sys/fs/inotify/max_queued_events", &setting, NULL, NULL))
    queue = strtol (setting, NULL, 10);
  if (queue > 200000)
    {
      g_test_skip ("max_queued_events is very high here");
      return;
    }
  stage_begin (&stage, service);
  path = get_path (&stage, "a/b/f");
  still = get_path (&stage, "a/b/g");
  learn (&stage, path);
  learn (&stage, still);
  g_assert_no_errno (kill (service->pid, SIGSTOP));
  make_noise (&stage, (guint) queue / 2 + 100);
  make_change (&stage, rename_over);
  g_assert_no_errno (kill (service->pid, SIGCONT));
  fsc_test_assert_same (stage.client, path, O_RDONLY);
  fsc_test_assert_same (stage.client, still, O_RDONLY);
  g_assert_cmpuint (get_counter (&stage, "watch_overflows"), ==, 1);
  learn (&stage, path);
  learn (&stage, still);

  /* Much, but not too much, whatever others do in /tmp meanwhile: with names so long that they are
   * more than is read at once. */
  g_assert_no_errno (kill (service->pid, SIGSTOP));
  for (glong i = 0; i < queue / 4; i++)
    {
      g_autofree char *filler = g_strnfill (200, 'n');
      g_autofree char *name = g_strdup_printf ("a/b/%s%ld", filler, i);
      g_autofree char *noise = get_path (&stage, name);

      g_assert_no_errno (close (open (noise, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
      g_assert_no_errno (unlink (noise));
    }
  make_change (&stage, make_again);
  g_assert_no_errno (kill (service->pid, SIGCONT));
  fsc_test_assert_same (stage.client, path, O_RDONLY);
  g_assert_cmpuint (get_counter (&stage, "watch_overflows"), ==, 1);
  stage_end (&stage);
}

/* The loop hears of events by itself, too, and maybe earlier; but not in a directory where much
 * happens that concerns nobody. Each time the next request knows. */
static void
test_busy_directory (FscTestService *service)
{
  Stage stage;
  g_autofree char *path = NULL, *other = NULL;

  stage_begin (&stage, service);
  path = get_path (&stage, "a/b/f");
  other = get_path (&stage, "other");
  for (guint i = 0; i < fsc_test_scale (300); i++)
    {
      learn (&stage, path);
      fsc_test_write (other, "new");
      make_noise (&stage, 1);
      g_usleep (i % 4 * 50);
      make_noise (&stage, 1);
      g_assert_no_errno (g_rename (other, path));
      fsc_test_assert_same (stage.client, path, O_RDONLY);
    }
  stage_end (&stage);
}

static void
test_end (FscTestService *service)
{
  Stage stage;
  guint directories;

  stage_begin (&stage, service);
  learn_name (&stage, "a/b/f");
  directories = count_watches (&stage) - 1;
  for (guint i = 0; i < 20; i++)
    {
      g_autofree char *name = g_strdup_printf ("a/b/%u", i);
      g_autofree char *path = get_path (&stage, name);

      fsc_test_write (path, name);
      learn (&stage, path);
    }
  assert_watches (&stage, directories + 21);
  g_assert_cmpuint (get_counter (&stage, "watched"), ==, 21);
  learn_name (&stage, "link/f"); /* the same watches */
  assert_watches (&stage, directories + 21);
  {
    g_autofree char *path = get_path (&stage, "a/b/f");

    g_assert_cmpint (fscache_drop (stage.client, path, NULL), >=, 0);
    assert_watches (&stage, directories + 21);
  }
  {
    g_autofree char *path = get_path (&stage, "link/f");

    g_assert_cmpint (fscache_drop (stage.client, path, NULL), >=, 0);
    assert_watches (&stage, directories + 20);
  }
  g_assert_cmpint (fscache_drop_matching (stage.client, "*", NULL), >=, 0);
  assert_watches (&stage, 0);
  g_assert_cmpuint (get_counter (&stage, "watched"), ==, 0);
  g_assert_cmpuint (get_counter (&stage, "watched_files"), ==, 0);
  g_assert_cmpuint (get_counter (&stage, "watched_directories"), ==, 0);
  stage_end (&stage);
}

static int
compare_times (gconstpointer a, gconstpointer b)
{
  gint64 x = *(const gint64 *) a, y = *(const gint64 *) b;

  return (x > y) - (x < y);
}

static gint64
get_nanoseconds (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return time.tv_sec * G_GINT64_CONSTANT (1000000000) + time.tv_nsec;
}

/* Prints p50 and p99 of watched hits. */
static void
measure (const Stage *stage, const char *path, const char *when)
{
  guint n = fsc_test_scale (20000);
  g_autofree gint64 *times = g_new (gint64, n);
  guint64 events = get_counter (stage, "watch_events");
  gint64 since = get_nanoseconds ();

  for (guint i = 0; i < n; i++)
    {
      gint64 begun = get_nanoseconds ();

      g_assert_cmpint (ask (stage, path), ==, FSCACHE_COHERENCE_WATCHED);
      times[i] = get_nanoseconds () - begun;
    }
  since = get_nanoseconds () - since;
  events = get_counter (stage, "watch_events") - events;
  qsort (times, n, sizeof times[0], compare_times);
  g_test_message ("%s: %u hits, p50 %.1f us, p99 %.1f us, max %.0f us; %.0f events a second", when,
                  n, (double) times[n / 2] / 1000, (double) times[n - n / 100 - 1] / 1000,
                  (double) times[n - 1] / 1000, (double) events * 1e9 / (double) since);
}

/* Others are busy in a watched directory. That makes hits slower, but none of them checks. */
static void
test_storm (FscTestService *service)
{
  Stage stage;
  g_autofree char *path = NULL;
  long before, after;
  pid_t child;

  stage_begin (&stage, service);
  path = get_path (&stage, "a/b/f");
  learn (&stage, path);
  measure (&stage, path, "calm");
  child = fork ();
  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      for (;;)
        make_noise (&stage, 1000);
    }
  measure (&stage, path, "storm");
  before = fsc_process_get (service->pid, "VmRSS:");
  measure (&stage, path, "storm");
  after = fsc_process_get (service->pid, "VmRSS:");
  kill (child, SIGKILL);
  waitpid (child, NULL, 0);
  g_assert_cmpuint (get_counter (&stage, "watch_overflows"), ==, 0);
  g_test_message ("memory: %ld KiB, then %ld KiB", before, after);
  if (FSC_TEST_MEASURES_MEMORY)
    g_assert_cmpint (after, <=, before + 256);
  stage_end (&stage);
}

/* In a storm the service sleeps on, until it looks by itself. */
static void
test_few_wakes (FscTestService *service)
{
  guint n = fsc_test_scale (25000);
  Stage stage;
  g_autofree char *path = NULL, *from = NULL, *to = NULL;
  long wakes;

  stage_begin (&stage, service);
  path = get_path (&stage, "a/b/f");
  from = get_path (&stage, "a/b/noise0");
  to = get_path (&stage, "a/b/noise1");
  g_assert_true (g_file_set_contents (from, "", 0, NULL));
  learn (&stage, path);
  wakes = fsc_process_get (service->pid, "voluntary_ctxt_switches:");
  for (guint i = 0; i < n; i++)
    {
      g_assert_no_errno (rename (from, to));
      g_assert_no_errno (rename (to, from));
    }
  wakes = fsc_process_get (service->pid, "voluntary_ctxt_switches:") - wakes;
  g_test_message ("%u events woke the service %ld times", 4 * n, wakes);
  g_assert_cmpint (wakes, <, 4 * n / 10);
  make_change (&stage, rename_over);
  fsc_test_assert_same (stage.client, path, O_RDONLY);
  stage_end (&stage);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  is_root = geteuid () == 0;
  has_namespace = fsc_test_enter_namespaces ();
  FSC_TEST_ADD ("/watched/soon", test_soon);
  FSC_TEST_ADD ("/watched/root", test_root);
  FSC_TEST_ADD ("/watched/calls", test_calls);
  for (guint i = 0; i < G_N_ELEMENTS (changes); i++)
    {
      g_autofree char *path = g_strconcat ("/watched/change/", changes[i].name, NULL);

      g_test_add_data_func (path, &changes[i], test_change);
    }
  FSC_TEST_ADD ("/watched/space", test_space);
  FSC_TEST_ADD ("/watched/unreadable", test_unreadable);
  FSC_TEST_ADD ("/watched/long", test_long);
  FSC_TEST_ADD ("/watched/overlay", test_overlay);
  FSC_TEST_ADD ("/watched/xfs", test_xfs);
  FSC_TEST_ADD ("/watched/xfs-folding-case", test_xfs_folding_case);
  g_test_add_func ("/watched/opener-crashes", test_opener_crashes);
  g_test_add_func ("/watched/opener-killed", test_opener_killed);
  g_test_add_func ("/watched/limit", test_limit);
  FSC_TEST_ADD ("/watched/overflow", test_overflow);
  FSC_TEST_ADD ("/watched/busy-directory", test_busy_directory);
  FSC_TEST_ADD ("/watched/end", test_end);
  FSC_TEST_ADD ("/watched/storm", test_storm);
  FSC_TEST_ADD ("/watched/few-wakes", test_few_wakes);
  return g_test_run ();
}
