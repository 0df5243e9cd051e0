/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who asks: root's view opens for each caller as that user; another user's serves no one else.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/program.h"
#include "tests/view/stage.h"

#define SOMEBODY 54321
#define STRANGER 54322
#define TEAM 54323
#define OTHERS 54324

typedef struct
{
  uid_t id; /* also of the group */
  gid_t groups[3];
  size_t n_groups;
} Who;

static const Who root = { 0, { 0 }, 0 };
static const Who somebody = { SOMEBODY, { 0 }, 0 };
static const Who member = { SOMEBODY, { 54399, TEAM }, 2 };
static const Who stranger = { STRANGER, { 0 }, 0 };

/* In a child, of root or of what can become root again. */
static void
become (const Who *who)
{
  if (setresuid (0, 0, 0) < 0 || setgroups (who->n_groups, who->groups) < 0
      || setresgid (who->id, who->id, who->id) < 0 || setresuid (who->id, who->id, who->id) < 0)
    _exit (255);
}

typedef int (*Attempt) (const char *path, int argument);

/* What the attempt returns, made as this user: 0 or an errno. */
static int
attempt_as (const Who *who, Attempt attempt, const char *path, int argument)
{
  int status;
  pid_t pid = fork ();

  if (pid == 0)
    {
      become (who);
      _exit (attempt (path, argument));
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFEXITED (status));
  return WEXITSTATUS (status);
}

static int
attempt_open (const char *path, int flags)
{
  char byte;
  int fd = open (path, flags | O_CLOEXEC, 0666);

  if (fd < 0)
    return errno;
  return (flags & (O_ACCMODE | O_DIRECTORY)) != O_RDONLY || read (fd, &byte, 1) >= 0 ? 0 : errno;
}

static int
attempt_stat (const char *path, int argument)
{
  struct stat st;

  return stat (path, &st) < 0 ? errno : 0;
}

static int
attempt_access (const char *path, int mask)
{
  return access (path, mask) < 0 ? errno : 0;
}

static int
attempt_truncate (const char *path, int length)
{
  return truncate (path, length) < 0 ? errno : 0;
}

static int
attempt_get_colour (const char *path, int argument)
{
  char value[16];

  return getxattr (path, "user.colour", value, sizeof value) < 0 ? errno : 0;
}

static int
attempt_run (const char *command, int argument)
{
  execl ("/bin/sh", "sh", "-c", command, NULL);
  return 127;
}

/* Through the view as at the source. */
static void
assert_says (FscTestStage *stage, const Who *who, Attempt attempt, const char *name, int argument,
             int error)
{
  g_autofree char *source = fsc_test_stage_source (stage, name);
  g_autofree char *through = fsc_test_stage_through (stage, name);

  g_test_message ("%s by user %u of %zu groups", name, who->id, who->n_groups);
  if (who->id != 0) /* root's service has no capabilities */
    g_assert_cmpint (attempt_as (who, attempt, source, argument), ==, error);
  g_assert_cmpint (attempt_as (who, attempt, through, argument), ==, error);
}

/* With the paths of fsc_test_stage_run(). */
static void
run_as (FscTestStage *stage, const Who *who, const char *command)
{
  g_autofree char *whole
      = g_strdup_printf ("exec >&2; export LC_ALL=C; set -eu; S='%s' V='%s' M='%s' C='%s'; %s",
                         stage->source, stage->through, stage->mount, stage->cached, command);
  int status = attempt_as (who, attempt_run, whole, 0);

  if (status != 0)
    g_test_message ("%s", command);
  g_assert_cmpint (status, ==, 0);
}

static void
make (FscTestStage *stage, const char *name, uid_t uid, gid_t gid, mode_t mode)
{
  g_autofree char *path = fsc_test_stage_source (stage, name);

  if (S_ISDIR (mode))
    g_assert_no_errno (mkdir (path, 0700));
  else
    fsc_test_write (path, name);
  g_assert_no_errno (chown (path, uid, gid));
  g_assert_no_errno (chmod (path, mode & 07777));
}

static gboolean
skip (void)
{
  if (getuid () != 0 || setgroups (0, NULL) < 0)
    g_test_skip ("only root can serve others");
  else if (!fsc_test_is_for_all ("fscache/openers/open-file"))
    g_test_skip ("other users may not search the directory of the build");
  else
    return FALSE;
  return TRUE;
}

/* The directory of a service is for its user alone. */
static void
let_others_in (FscTestStage *stage)
{
  g_assert_no_errno (chmod (stage->service->dir, 0711));
}

static gboolean
start (FscTestStage *stage, const char *options)
{
  if (skip ())
    return FALSE;
  let_others_in (stage);
  fsc_test_stage_start (stage, options);
  return TRUE;
}

/* Also right after root has looked it up, and while root has it open. */
static void
check_reading (FscTestStage *stage)
{
  static const char *const names[] = { "all", "secret", "shared", "closed/all" };
  int fds[G_N_ELEMENTS (names)];

  make (stage, "all", 0, 0, 0644);
  make (stage, "secret", 0, 0, 0600);
  make (stage, "shared", 0, TEAM, 0640);
  make (stage, "its", SOMEBODY, SOMEBODY, 0600);
  make (stage, "closed", 0, TEAM, S_IFDIR | 0750);
  make (stage, "closed/all", 0, 0, 0644);
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = fsc_test_stage_through (stage, names[i]);

      fds[i] = open (path, O_RDONLY | O_CLOEXEC);
      g_assert_cmpint (fds[i], >=, 0);
      fsc_test_stage_assert_content (path, names[i]);
    }
  for (int i = 0; i < 3; i++)
    {
      assert_says (stage, &somebody, attempt_open, "all", O_RDONLY, 0);
      assert_says (stage, &somebody, attempt_open, "secret", O_RDONLY, EACCES);
      assert_says (stage, &member, attempt_open, "secret", O_RDONLY, EACCES);
      assert_says (stage, &member, attempt_open, "shared", O_RDONLY, 0);
      assert_says (stage, &somebody, attempt_open, "shared", O_RDONLY, EACCES);
      assert_says (stage, &member, attempt_open, "closed/all", O_RDONLY, 0);
      assert_says (stage, &somebody, attempt_open, "closed/all", O_RDONLY, EACCES);
      assert_says (stage, &somebody, attempt_stat, "closed/all", 0, EACCES);
      assert_says (stage, &somebody, attempt_stat, "closed", 0, 0);
      assert_says (stage, &somebody, attempt_open, "closed", O_RDONLY | O_DIRECTORY, EACCES);
      assert_says (stage, &member, attempt_open, "closed", O_RDONLY | O_DIRECTORY, 0);
      assert_says (stage, &somebody, attempt_open, "its", O_RDONLY, 0);
      assert_says (stage, &stranger, attempt_open, "its", O_RDONLY, EACCES);
      assert_says (stage, &root, attempt_open, "its", O_RDONLY, EACCES);
      assert_says (stage, &root, attempt_open, "secret", O_RDONLY, 0);
    }
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    close (fds[i]);
}

static void
test_read (FscTestStage *stage)
{
  if (start (stage, "allow_other"))
    check_reading (stage);
}

/* The kernel checks as well. */
static void
test_default_permissions (FscTestStage *stage)
{
  if (!start (stage, "allow_other,default_permissions"))
    return;
  check_reading (stage);
  run_as (stage, &somebody, "test -e $C/all; ! rm -f $C/all; test -e $C/all");
}

/* What may not be opened any more is not, however it was open before. */
static void
test_withdrawn (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");

  if (!start (stage, "allow_other,exact"))
    return;
  make (stage, "file", 0, 0, 0644);
  for (int i = 0; i < 20; i++)
    {
      assert_says (stage, &somebody, attempt_open, "file", O_RDONLY, 0);
      g_assert_no_errno (chmod (source, 0600));
      assert_says (stage, &somebody, attempt_open, "file", O_RDONLY, EACCES);
      assert_says (stage, &root, attempt_open, "file", O_RDONLY, 0);
      g_assert_no_errno (chmod (source, 0644));
    }
}

static void
test_write (FscTestStage *stage)
{
  static const char *const writes[] = {
    "echo x 1<>$V/tool",     "echo x >>$V/tool", "exec 5<>$V/tool; echo x >&5; echo y >&5",
    "truncate -s 2 $V/tool", "echo x >$V/tool",  "fallocate -l 100 $V/tool",
  };
  g_autofree char *made = fsc_test_stage_source (stage, "dir/made");
  g_autofree char *tool = fsc_test_stage_source (stage, "tool");
  struct stat st;

  if (!start (stage, "allow_other"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "team", 0, TEAM, 0664);
  make (stage, "dir", SOMEBODY, SOMEBODY, S_IFDIR | 0755);
  assert_says (stage, &somebody, attempt_open, "all", O_WRONLY, EACCES);
  assert_says (stage, &somebody, attempt_open, "all", O_WRONLY | O_APPEND, EACCES);
  assert_says (stage, &somebody, attempt_open, "all", O_RDONLY | O_TRUNC, EACCES);
  assert_says (stage, &somebody, attempt_truncate, "all", 0, EACCES);
  assert_says (stage, &somebody, attempt_open, "team", O_RDWR, EACCES);
  assert_says (stage, &member, attempt_open, "team", O_RDWR, 0);
  assert_says (stage, &member, attempt_truncate, "team", 2, 0);
  assert_says (stage, &somebody, attempt_open, "new", O_WRONLY | O_CREAT, EACCES);
  assert_says (stage, &stranger, attempt_open, "dir/new", O_WRONLY | O_CREAT, EACCES);

  run_as (stage, &member, "umask 027; echo one >$V/dir/made; echo two >>$V/dir/made");
  g_assert_no_errno (stat (made, &st));
  g_assert_cmpuint (st.st_uid, ==, SOMEBODY);
  g_assert_cmpuint (st.st_gid, ==, SOMEBODY);
  g_assert_cmpuint (st.st_mode, ==, S_IFREG | 0640);
  fsc_test_stage_assert_content (made, "one\ntwo\n");

  /* Whoever writes is no root, although the view is. */
  for (gsize i = 0; i < G_N_ELEMENTS (writes); i++)
    {
      make (stage, "tool", 0, TEAM, 06775);
      run_as (stage, &member, writes[i]);
      g_assert_no_errno (stat (tool, &st));
      g_assert_cmpuint (st.st_mode, ==, S_IFREG | 0775);
    }
}

static int
attempt_set_times (const char *path, int seconds)
{
  const struct timespec times[] = { { seconds, 0 }, { seconds, 0 } };

  return utimensat (AT_FDCWD, path, seconds != 0 ? times : NULL, 0) < 0 ? errno : 0;
}

/* An owner may set any time, who may write the present one. */
static void
test_times (FscTestStage *stage)
{
  if (!start (stage, "allow_other"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "team", 0, TEAM, 0664);
  make (stage, "its", SOMEBODY, SOMEBODY, 0400);
  assert_says (stage, &somebody, attempt_set_times, "its", 1000, 0);
  assert_says (stage, &somebody, attempt_set_times, "its", 0, 0);
  assert_says (stage, &member, attempt_set_times, "team", 0, 0);
  assert_says (stage, &member, attempt_set_times, "team", 1000, EPERM);
  assert_says (stage, &somebody, attempt_set_times, "team", 0, EACCES);
  assert_says (stage, &stranger, attempt_set_times, "its", 0, EACCES);
  assert_says (stage, &root, attempt_set_times, "its", 1000, EPERM);
  assert_says (stage, &root, attempt_set_times, "all", 1000, 0);
}

static int
attempt_set_mode (const char *path, int mode)
{
  struct stat st;

  if (chmod (path, (mode_t) mode) < 0)
    return errno;
  return stat (path, &st) < 0 || (st.st_mode & 07777) != (mode_t) mode ? 255 : 0;
}

static int
attempt_set_owner (const char *path, int uid)
{
  return chown (path, (uid_t) uid, (gid_t) -1) < 0 ? errno : 0;
}

static int
attempt_set_group (const char *path, int gid)
{
  return chown (path, (uid_t) -1, (gid_t) gid) < 0 ? errno : 0;
}

/* An owner may set any mode, and a group in which he is. */
static void
test_modes (FscTestStage *stage)
{
  if (!start (stage, "allow_other"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "team", 0, TEAM, 0664);
  make (stage, "its", SOMEBODY, SOMEBODY, 0400);
  make (stage, "dir", SOMEBODY, SOMEBODY, S_IFDIR | 0755);
  assert_says (stage, &somebody, attempt_set_mode, "its", 0600, 0);
  assert_says (stage, &somebody, attempt_set_mode, "its", 0, 0);
  assert_says (stage, &somebody, attempt_set_mode, "its", 04700, 0);
  assert_says (stage, &somebody, attempt_set_mode, "dir", 0711, 0);
  assert_says (stage, &somebody, attempt_set_mode, "all", 0600, EPERM);
  assert_says (stage, &member, attempt_set_mode, "team", 0600, EPERM);
  assert_says (stage, &root, attempt_set_mode, "its", 0644, EPERM);
  assert_says (stage, &root, attempt_set_mode, "all", 0600, 0);
  assert_says (stage, &somebody, attempt_set_group, "its", TEAM, EPERM);
  assert_says (stage, &member, attempt_set_group, "its", TEAM, 0);
  assert_says (stage, &member, attempt_set_mode, "its", 02750, 0);
  assert_says (stage, &somebody, attempt_set_mode, "its", 02750, 255); /* without the group's bit */
  assert_says (stage, &somebody, attempt_set_owner, "its", STRANGER, EPERM);
  assert_says (stage, &stranger, attempt_set_owner, "its", STRANGER, EPERM);
  assert_says (stage, &root, attempt_set_owner, "its", 0, EPERM);
}

static int
attempt_use (const char *path, int fd)
{
  struct stat st;
  char content[3];

  if (path != NULL && fstat (fd, &st) < 0)
    return errno;
  return pread (fd, content, sizeof content, 0) != sizeof content || ftruncate (fd, 2) < 0 ? errno
                                                                                           : 0;
}

/* Who has a file may use it, whoever has opened it, and whatever its name leads to. */
static void
test_handed_on (FscTestStage *stage)
{
  g_autofree char *through = fsc_test_stage_through (stage, "secret");
  g_autofree char *moved = fsc_test_stage_source (stage, "moved");
  int fd;

  if (!start (stage, "allow_other"))
    return;
  make (stage, "secret", 0, 0, 0600);
  fd = open (through, O_RDWR | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (attempt_as (&somebody, attempt_open, through, O_RDWR), ==, EACCES);
  g_assert_cmpint (attempt_as (&somebody, attempt_use, through, fd), ==, 0);
  g_assert_no_errno (ftruncate (fd, 0));
  g_assert_cmpint (write (fd, "secret", 6), ==, 6);
  fsc_test_stage_run (stage, "mv $S/secret $S/moved");
  g_assert_cmpint (attempt_as (&somebody, attempt_use, NULL, fd), ==, 0);
  close (fd);
  fsc_test_stage_assert_content (moved, "se");
}

static void
test_list (FscTestStage *stage)
{
  if (!start (stage, "allow_other"))
    return;
  make (stage, "dir", 0, TEAM, S_IFDIR | 0750);
  make (stage, "dir/a", 0, TEAM, 0640);
  make (stage, "dir/b", 0, 0, 0600);
  run_as (stage, &root, "test \"$(ls $V/dir | tr '\\n' ' ')\" = 'a b '");
  run_as (stage, &somebody, "! ls $V/dir; ls -l $V | grep -q '^drwxr-x--- .* dir$'");
  run_as (stage, &member,
          "test \"$(ls $V/dir | tr '\\n' ' ')\" = 'a b '; cmp $S/dir/a $V/dir/a;"
          " ! cat $V/dir/b; cd $V/dir; cat a");
  run_as (stage, &stranger, "! ls $V/dir/a");
}

/* access() and test(1) say what an open would. */
static void
test_access (FscTestStage *stage)
{
  if (!start (stage, "allow_other"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "team", 0, TEAM, 0060);
  make (stage, "tool", 0, TEAM, 0710);
  make (stage, "dir", 0, TEAM, S_IFDIR | 0770);
  fsc_test_stage_run (stage,
                      "if command -v setfacl >/dev/null && setfacl -m u:54321:rw $S/all; then"
                      " setpriv --reuid 54321 --clear-groups test -w $V/all; setfacl -b"
                      " $S/all; fi");
  assert_says (stage, &somebody, attempt_access, "all", R_OK, 0);
  assert_says (stage, &somebody, attempt_access, "all", W_OK, EACCES);
  assert_says (stage, &somebody, attempt_access, "all", X_OK, EACCES);
  assert_says (stage, &member, attempt_access, "team", R_OK | W_OK, 0);
  assert_says (stage, &somebody, attempt_access, "team", R_OK, EACCES);
  assert_says (stage, &root, attempt_access, "team", R_OK, EACCES);
  assert_says (stage, &root, attempt_access, "all", R_OK | W_OK, 0);
  assert_says (stage, &member, attempt_access, "tool", X_OK, 0);
  assert_says (stage, &somebody, attempt_access, "tool", X_OK, EACCES);
  assert_says (stage, &member, attempt_access, "dir", R_OK | W_OK | X_OK, 0);
  assert_says (stage, &somebody, attempt_access, "dir", X_OK, EACCES);
  assert_says (stage, &somebody, attempt_access, "dir", F_OK, 0);
}

/* As root of a user namespace of its own, which has no more rights than who has made it. */
static int
attempt_open_in_user_namespace (const char *path, int flags)
{
  g_autofree char *map = g_strdup_printf ("0 %u 1", geteuid ());
  int fd;

  if (prctl (PR_SET_DUMPABLE, 1) < 0 || unshare (CLONE_NEWUSER) < 0)
    return EOPNOTSUPP;
  fd = open ("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
  if (write (fd, map, strlen (map)) < 0 || geteuid () != 0)
    return EOPNOTSUPP;
  close (fd);
  return attempt_open (path, flags);
}

/* A member of the team, in a PID namespace that only root can make. */
static int
attempt_open_in_pid_namespace (const char *path, int flags)
{
  int status;
  pid_t pid;

  if (unshare (CLONE_NEWPID) < 0)
    return EOPNOTSUPP;
  pid = fork ();
  if (pid == 0)
    {
      become (&member);
      _exit (attempt_open (path, flags));
    }
  return waitpid (pid, &status, 0) == pid ? WEXITSTATUS (status) : errno;
}

/* access() asks for the real user. */
static int
attempt_access_for_real_user (const char *path, int mask)
{
  if (setresgid (SOMEBODY, 0, 0) < 0 || setresuid (SOMEBODY, 0, 0) < 0)
    return EOPNOTSUPP;
  return attempt_access (path, mask);
}

/* Groups that come and go in one process, which may change them because it is root otherwise. */
static int
attempt_open_in_groups (const char *path, int n)
{
  static const gid_t team = TEAM;

  setfsgid (SOMEBODY);
  setfsuid (SOMEBODY);
  for (int i = 0; i < n; i++)
    {
      if (setgroups (1, &team) < 0 || attempt_open (path, O_RDONLY) != 0)
        return 1;
      if (setgroups (0, NULL) < 0 || attempt_open (path, O_RDONLY) != EACCES)
        return 2;
    }
  return 0;
}

/* Also root, who has no privileges at the source. */
static void
test_root_in_groups (FscTestStage *stage)
{
  static const Who itself = { 0, { 0 }, 1 }, in_team = { 0, { 0, TEAM }, 2 };

  if (!start (stage, "allow_other"))
    return;
  make (stage, "shared", SOMEBODY, TEAM, 0640);
  make (stage, "kept-out", SOMEBODY, TEAM, 0604);
  for (int i = 0; i < 2; i++)
    {
      assert_says (stage, &root, attempt_open, "shared", O_RDONLY, EACCES);
      assert_says (stage, &in_team, attempt_open, "shared", O_RDONLY, 0);
      assert_says (stage, &itself, attempt_open, "shared", O_RDONLY, EACCES);
      assert_says (stage, &root, attempt_open, "kept-out", O_RDONLY, 0);
      assert_says (stage, &in_team, attempt_open, "kept-out", O_RDONLY, EACCES);
    }
}

/* Whoever the caller is there, and whatever he has been before. */
static void
test_other_callers (FscTestStage *stage)
{
  static const Who root_in_team = { 0, { TEAM }, 1 };

  if (!start (stage, "allow_other"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "secret", 0, 0, 0600);
  make (stage, "shared", 0, TEAM, 0640);
  make (stage, "kept-out", 0, TEAM, 0604);
  assert_says (stage, &member, attempt_open, "kept-out", O_RDONLY, EACCES);
  assert_says (stage, &somebody, attempt_open, "kept-out", O_RDONLY, 0);
  if (attempt_as (&somebody, attempt_open_in_user_namespace, "/", O_DIRECTORY) == 0)
    {
      assert_says (stage, &member, attempt_open_in_user_namespace, "shared", O_RDONLY, 0);
      assert_says (stage, &member, attempt_open_in_user_namespace, "kept-out", O_RDONLY, EACCES);
      assert_says (stage, &member, attempt_open_in_user_namespace, "secret", O_RDONLY, EACCES);
    }
  for (int i = 0; i < 2; i++)
    {
      const char *name = i == 0 ? "shared" : "kept-out";
      g_autofree char *through = fsc_test_stage_through (stage, name);
      int error = i == 0 ? 0 : EACCES;

      assert_says (stage, &root, attempt_open_in_pid_namespace, name, O_RDONLY, error);
      g_assert_cmpint (attempt_as (&root_in_team, attempt_access_for_real_user, through, R_OK), ==,
                       error);
    }
  assert_says (stage, &root, attempt_open_in_groups, "shared", 20, 0);
}

/* A view that cannot know who asks serves nobody. */
static void
test_foreign_callers (FscTestStage *stage)
{
  g_autofree char *view = fsc_test_build_path ("fscache/view/fscache-view");
  g_autofree char *command
      = g_strdup_printf ("unshare --pid --fork --kill-child %s -f -o socket=%s,allow_other $M"
                         " >/dev/null 2>&1 & echo $! >$S/pid;"
                         " for i in $(seq 200); do mountpoint -q $M && break; sleep 0.02; done",
                         view, stage->service->socket);

  if (skip ())
    return;
  let_others_in (stage);
  fsc_test_stage_run (stage, command);
  make (stage, "all", 0, 0, 0644);
  make (stage, "kept-out", 0, TEAM, 0604);
  run_as (stage, &root, "! cat $V/all");
  run_as (stage, &member, "! cat $V/kept-out; ! cat $V/all");
  fsc_test_stage_run (stage, "umount $M; kill $(cat $S/pid) 2>/dev/null || true");
}

/* Who is killed while he waits is gone at once; and whom he has asked as does not suffer. */
static void
test_killed (FscTestStage *stage)
{
  g_autofree char *through = fsc_test_stage_through (stage, "its");
  g_autofree char *other = fsc_test_stage_through (stage, "all");

  if (!start (stage, "allow_other,exact"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "its", SOMEBODY, SOMEBODY, 0600);
  for (int i = 0; i < 4; i++)
    {
      const char *path = i % 2 == 0 ? through : other;
      pid_t pid;

      g_assert_no_errno (kill (stage->service->pid, SIGSTOP));
      pid = fork ();
      if (pid == 0)
        {
          become (i < 2 ? &somebody : &stranger);
          _exit (attempt_open (path, O_RDONLY));
        }
      g_usleep (100000);
      g_assert_cmpint (waitpid (pid, NULL, WNOHANG), ==, 0);
      g_assert_no_errno (kill (pid, SIGKILL));
      for (int j = 0; waitpid (pid, NULL, WNOHANG) == 0; j++)
        {
          g_assert_cmpint (j, <, 300);
          g_usleep (10000);
        }
      g_assert_no_errno (kill (stage->service->pid, SIGCONT));
      assert_says (stage, &somebody, attempt_open, "its", O_RDONLY, 0);
      assert_says (stage, &stranger, attempt_open, "its", O_RDONLY, EACCES);
    }
  fsc_test_service_wait_for (stage->service, "waiting", 0);
}

/* Each sees, drops and pins his own. */
static void
test_cached (FscTestStage *stage)
{
  if (!start (stage, "allow_other"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "secret", 0, 0, 0600);
  make (stage, "dir", 0, 0, S_IFDIR | 0755);
  make (stage, "dir/below", 0, 0, 0644);
  run_as (stage, &somebody, "cat $V/all");
  run_as (
      stage, &root,
      "test ! -e $C/all; cat $V/all $V/secret $V/dir/below; sleep 0.5;" /* a listing may be old */
      " test \"$(ls $C | tr '\\n' ' ')\" = 'all dir secret '");
  run_as (stage, &somebody,
          "test \"$(ls $C)\" = all; test ! -e $C/secret; ! cat $C/secret;"
          " getfattr --only-values -n user.fscache.hits $V/all | grep -qx 0;"
          " ! getfattr -n user.fscache.hits $V/secret;"
          " ! getfattr -n user.fscache.hits $C/secret");
  run_as (stage, &somebody, "setfattr -n user.fscache.pinned -v 1 $V/all; cat $V/all");
  run_as (stage, &root, "getfattr --only-values -n user.fscache.pinned $V/all | grep -qx 0");
  run_as (stage, &somebody,
          "getfattr --only-values -n user.fscache.pinned $V/all | grep -qx 1;"
          " setfattr -x user.fscache.pinned $V/all; rm $C/all; test ! -e $C/all; ! rm $C/secret");
  run_as (stage, &root, "test -e $C/all; test -e $C/secret; rm $C/all; test ! -e $C/all");

  /* What is a file to one may be a directory to the other. */
  run_as (stage, &root,
          "cat $V/all; exec 3<$C/all; rm $S/all; mkdir $S/all;"
          " echo text >$S/all/below; cat $V/all/below; test -d $C/all;"
          " cat $C/all/below");
}

/* Only who may read a file may read these. */
static void
test_source_attributes (FscTestStage *stage)
{
  static const char *const names[] = { "all", "secret", "dir" };

  if (!start (stage, "allow_other"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "secret", 0, 0, 0600);
  make (stage, "dir", 0, 0, S_IFDIR | 0711);
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *source = fsc_test_stage_source (stage, names[i]);

      if (setxattr (source, "user.colour", "red", 3, 0) < 0)
        {
          g_test_skip ("the file system has no attributes");
          return;
        }
      assert_says (stage, &root, attempt_get_colour, names[i], 0, 0);
      assert_says (stage, &somebody, attempt_get_colour, names[i], 0, i == 0 ? 0 : EACCES);
    }
  fsc_test_stage_run (stage, "setfattr -n trusted.mark -v 1 $S/all");
  run_as (stage, &root, "getfattr -m - $V/all | grep trusted");
  run_as (stage, &somebody,
          "found=$(getfattr -m - $V/all); echo $found | grep user.colour;"
          " ! echo $found | grep trusted");
}

/* More users than clients are kept, at once. */
static void
test_many (FscTestStage *stage)
{
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  pid_t pids[100];
  guint64 n_clients;

  if (!start (stage, "allow_other"))
    return;
  make (stage, "file", 0, 0, 0644);
  for (gsize i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      const Who who = { 60000 + (uid_t) i, { 0 }, 0 };

      pids[i] = fork ();
      if (pids[i] == 0)
        {
          become (&who);
          for (int j = 0; j < 3; j++)
            if (attempt_open (through, O_RDONLY) != 0)
              _exit (errno);
          _exit (0);
        }
    }
  for (gsize i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      int status;

      g_assert_cmpint (waitpid (pids[i], &status, 0), ==, pids[i]);
      g_assert_cmpint (status, ==, 0);
    }
  n_clients = fsc_test_service_counter (stage->service, "clients");
  g_assert_cmpuint (n_clients, >=, 60);
  g_assert_cmpuint (n_clients, <=, 67); /* and the view's own, and who asks */
}

/* Readers of several users, while the file is replaced all the time. */
static void
test_replaced (FscTestStage *stage)
{
  const Who *const readers[] = { &root, &somebody, &stranger };
  pid_t pids[G_N_ELEMENTS (readers)];
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *secret = fsc_test_stage_source (stage, "secret");
  g_autofree char *through = fsc_test_stage_through (stage, "file");

  if (!start (stage, "allow_other"))
    return;
  make (stage, "file", SOMEBODY, SOMEBODY, 0644);
  for (gsize i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      pids[i] = fork ();
      if (pids[i] == 0)
        {
          become (readers[i]);
          for (int j = 0; j < 2000; j++)
            {
              char content[16] = "";
              int fd = open (through, O_RDONLY | O_CLOEXEC);

              if (fd < 0 && errno != EACCES && errno != ESTALE)
                _exit (errno);
              if (fd >= 0 && (read (fd, content, sizeof content) < 0 || content[0] == 's')
                  && readers[i] != &root)
                _exit (254);
              close (fd);
            }
          _exit (0);
        }
    }
  for (int i = 0; i < 500; i++)
    {
      make (stage, "secret", 0, 0, 0600);
      g_assert_no_errno (rename (secret, source));
      make (stage, "next", 0, 0, 0644);
      fsc_test_stage_run (stage, i % 100 == 0 ? "mv $S/next $S/file" : ":");
    }
  for (gsize i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      int status;

      g_assert_cmpint (waitpid (pids[i], &status, 0), ==, pids[i]);
      g_assert_cmpint (status, ==, 0);
    }
}

/* Who has come before, and who comes for the first time while there is no service. */
static void
test_restart (FscTestStage *stage)
{
  g_autofree char *through = fsc_test_stage_through (stage, "all");

  if (!start (stage, "allow_other"))
    return;
  make (stage, "all", 0, 0, 0644);
  make (stage, "its", SOMEBODY, SOMEBODY, 0600);
  assert_says (stage, &somebody, attempt_open, "its", O_RDONLY, 0);
  fsc_test_service_kill (stage->service);
  g_usleep (200000);
  g_assert_cmpint (attempt_as (&somebody, attempt_open, through, O_RDONLY), ==, EIO);
  g_assert_cmpint (attempt_as (&stranger, attempt_open, through, O_RDONLY), ==, EIO);
  fsc_test_service_start (stage->service);
  for (int i = 0; attempt_as (&stranger, attempt_open, through, O_RDONLY) != 0 && i < 100; i++)
    g_usleep (50000);
  assert_says (stage, &stranger, attempt_open, "its", O_RDONLY, EACCES);
  assert_says (stage, &somebody, attempt_open, "its", O_RDONLY, 0);
}

/* Without allow_other the kernel refuses. */
static void
test_not_allowed (FscTestStage *stage)
{
  if (!start (stage, NULL))
    return;
  make (stage, "all", 0, 0, 0644);
  run_as (stage, &root, "cat $V/all");
  run_as (stage, &somebody, "! cat $V/all; ! ls $M; ! cat $M/status.json");
}

/* With the groups of the view, and then without; `delay` is in milliseconds. */
static int
attempt_open_in_less_groups (const char *path, int delay)
{
  static const gid_t groups[] = { TEAM, OTHERS };
  struct __user_cap_data_struct capabilities[2]
      = { { .permitted = CAP_TO_MASK (CAP_SETGID), .effective = CAP_TO_MASK (CAP_SETGID) } };
  const struct passwd *user = getpwnam ("nobody");

  if (setgroups (2, groups) < 0 || prctl (PR_SET_KEEPCAPS, 1) < 0
      || setresgid (user->pw_gid, user->pw_gid, user->pw_gid) < 0
      || setresuid (user->pw_uid, user->pw_uid, user->pw_uid) < 0)
    return 255;
  fsc_test_set_capabilities (capabilities);
  if (attempt_open (path, O_RDONLY) != 0 || setgroups (1, groups) < 0)
    return 255;
  g_usleep ((gulong) delay * 1000);
  return attempt_open (path, O_RDONLY);
}

/* In the child, which can become root again, but what it starts cannot. The view is in two groups,
 * and so must its callers be. */
static void
use_own_view (const struct passwd *user, const char *options)
{
  const gid_t groups[] = { TEAM, OTHERS };
  const struct
  {
    Who who;
    int error;
  } callers[] = {
    { { user->pw_uid, { TEAM, OTHERS }, 2 }, 0 },
    { { user->pw_uid, { OTHERS, user->pw_gid, TEAM }, 3 }, 0 },
    { { user->pw_uid, { TEAM }, 1 }, EACCES },
    { { user->pw_uid, { TEAM, STRANGER }, 2 }, EACCES },
    { { user->pw_uid, { TEAM, OTHERS, STRANGER }, 3 }, EACCES },
    { { user->pw_uid, { 0 }, 0 }, EACCES },
    { { STRANGER, { TEAM, OTHERS }, 2 }, EACCES },
    { { 0, { TEAM, OTHERS }, 2 }, EACCES },
  };
  static const char *const names[] = { "file", "shared", NULL };
  gboolean is_exact = g_strcmp0 (options, "exact") == 0;
  FscTestStage stage;

  g_assert_no_errno (setgroups (2, groups));
  g_assert_no_errno (setresgid (user->pw_gid, user->pw_gid, 0));
  g_assert_no_errno (setresuid (user->pw_uid, user->pw_uid, 0));
  fsc_test_stage_open (&stage, options);
  let_others_in (&stage);
  fsc_test_stage_replace (&stage, "file", "content");
  fsc_test_stage_replace (&stage, "shared", "content");
  run_as (&stage, &root, "chown 0:54324 $S/shared; chmod 640 $S/shared");
  for (int round = 0; round < 2; round++)
    for (gsize i = 0; i < G_N_ELEMENTS (callers); i++)
      for (gsize j = 0; j < G_N_ELEMENTS (names); j++)
        {
          g_autofree char *path = names[j] != NULL ? fsc_test_stage_through (&stage, names[j])
                                                   : fsc_test_stage_at (&stage, "status.json");

          g_test_message ("%s with %s by caller %zu", path, options, i);
          g_assert_cmpint (attempt_as (&callers[i].who, attempt_open, path, O_RDONLY), ==,
                           callers[i].error);
        }
  for (int i = 0; i < 3; i++)
    {
      g_autofree char *path = fsc_test_stage_through (&stage, "shared");

      g_assert_cmpint (attempt_as (&root, attempt_open_in_less_groups, path, is_exact ? 0 : 150),
                       ==, EACCES);
    }
  fsc_test_stage_close (&stage);
}

/* Puts another file in the place of this one, in the namespace of the test. */
static gboolean
cover (const char *path, const char *cover)
{
  return chmod (cover, 0666) == 0 && mount (cover, path, NULL, MS_BIND, NULL) == 0;
}

/* What an ordinary user needs for allow_other. */
static void
test_unprivileged (FscTestStage *stage)
{
  g_autofree char *config = fsc_test_stage_source (stage, "fuse.conf");
  g_autofree char *device = fsc_test_stage_source (stage, "fuse");
  const struct passwd *nobody = getpwnam ("nobody"); /* fusermount3 wants a name */
  static const char *const options[] = { NULL, "exact", "allow_other" };
  int status;
  pid_t pid;

  if (skip ())
    return;
  let_others_in (stage);
  fsc_test_write (config, "user_allow_other\n");
  if (nobody == NULL || nobody->pw_uid != nobody->pw_gid
      || mknod (device, S_IFCHR | 0666, makedev (10, 229)) < 0 || !cover ("/etc/fuse.conf", config)
      || !cover ("/dev/fuse", device)
      || attempt_as (&somebody, attempt_open, "/dev/fuse", O_RDWR) != 0)
    g_test_skip ("ordinary users cannot be let use FUSE here");
  else
    {
      for (gsize i = 0; i < G_N_ELEMENTS (options); i++)
        {
          pid = fork ();
          if (pid == 0)
            {
              use_own_view (nobody, options[i]);
              _exit (0);
            }
          g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
          g_assert_cmpint (status, ==, 0);
        }
    }
  umount2 ("/dev/fuse", MNT_DETACH);
  umount2 ("/etc/fuse.conf", MNT_DETACH);
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD_CLOSED ("/view-identity/read", test_read);
  FSC_STAGE_ADD_CLOSED ("/view-identity/default-permissions", test_default_permissions);
  FSC_STAGE_ADD_CLOSED ("/view-identity/withdrawn", test_withdrawn);
  FSC_STAGE_ADD_CLOSED ("/view-identity/write", test_write);
  FSC_STAGE_ADD_CLOSED ("/view-identity/times", test_times);
  FSC_STAGE_ADD_CLOSED ("/view-identity/modes", test_modes);
  FSC_STAGE_ADD_CLOSED ("/view-identity/handed-on", test_handed_on);
  FSC_STAGE_ADD_CLOSED ("/view-identity/list", test_list);
  FSC_STAGE_ADD_CLOSED ("/view-identity/access", test_access);
  FSC_STAGE_ADD_CLOSED ("/view-identity/root-in-groups", test_root_in_groups);
  FSC_STAGE_ADD_CLOSED ("/view-identity/other-callers", test_other_callers);
  FSC_STAGE_ADD_CLOSED ("/view-identity/foreign-callers", test_foreign_callers);
  FSC_STAGE_ADD_CLOSED ("/view-identity/killed", test_killed);
  FSC_STAGE_ADD_CLOSED ("/view-identity/cached", test_cached);
  FSC_STAGE_ADD_CLOSED ("/view-identity/source-attributes", test_source_attributes);
  FSC_STAGE_ADD_CLOSED ("/view-identity/many", test_many);
  FSC_STAGE_ADD_CLOSED ("/view-identity/replaced", test_replaced);
  FSC_STAGE_ADD_CLOSED ("/view-identity/restart", test_restart);
  FSC_STAGE_ADD_CLOSED ("/view-identity/not-allowed", test_not_allowed);
  FSC_STAGE_ADD_CLOSED ("/view-identity/unprivileged", test_unprivileged);
  return g_test_run ();
}
