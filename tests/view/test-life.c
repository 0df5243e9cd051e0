/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The view from its start to its end, and what becomes of it when the service, a source or it
 * itself does not live as it should.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/program.h"
#include "tests/integration/process.h"
#include "tests/view/stage.h"

/* Long enough that nothing that waits for it passes for an answer. */
static const char config[] = "[lanes]\nopeners=2\ndeadline=8\n[file]\nttl=60\n";

/* Starting and ending */

/* Runs the view as a shell would, and returns what it exits with. */
static int
run_view (const FscTestStage *stage, const char *options, char **said)
{
  g_autofree char *path = fsc_test_build_path ("fscache/view/fscache-view");
  const char *arguments[] = { path, "-o", options, stage->mount, NULL };
  g_auto (FscTestProgram) program = { 0 };

  fsc_test_program_run (&program, NULL, arguments);
  g_test_message ("%s", program.error);
  if (said != NULL)
    *said = g_strdup (program.error);
  g_assert_true (WIFEXITED (program.status));
  return WEXITSTATUS (program.status);
}

static gboolean
wait_until_mounted (const FscTestStage *stage, gboolean is_mounted)
{
  for (int i = 0; i < 500; i++)
    {
      if (fsc_test_stage_is_mounted (stage) == is_mounted)
        return TRUE;
      g_usleep (10000);
    }
  return FALSE;
}

static void
test_background (FscTestStage *stage)
{
  g_autofree char *options = g_strdup_printf ("socket=%s", stage->service->socket);
  g_autofree char *said = NULL;
  g_autofree char *path = fsc_test_stage_through (stage, "file");

  g_assert_cmpint (run_view (stage, options, &said), ==, 0);
  g_assert_nonnull (strstr (said, "files are read"));
  g_assert_true (fsc_test_stage_is_mounted (stage));
  fsc_test_stage_replace (stage, "file", "text");
  fsc_test_stage_assert_content (path, "text");
  fsc_test_stage_run (stage, "umount $M 2>/dev/null || fusermount3 -u $M");
  g_assert_true (wait_until_mounted (stage, FALSE));
  fsc_test_service_wait_for (stage->service, "clients", 1); /* which asks: the process is gone */
}

/* As fstab(5) and mount(8) start it. */
static void
test_mount (FscTestStage *stage)
{
  g_autofree char *program = fsc_test_build_path ("fscache/view/fscache-view");
  g_autofree char *command = g_strdup_printf (
      "command -v mount.fuse3 >/dev/null || exit 0; mount -t fuse -o"
      " socket=%s,nofail,_netdev,x-systemd.automount,exact,noatime,suid,dev '%s#fscache' $M;"
      " grep -q '\"exact\" : true' $M/status.json;"
      " grep -q \" $M rw,nosuid,nodev,noatime - fuse.fscache-view fscache \" /proc/self/mountinfo",
      stage->service->socket, program);

  fsc_test_stage_run (stage, command);
  fsc_test_stage_run (stage, "command -v mount.fuse3 >/dev/null || exit 0; umount $M");
  g_assert_true (wait_until_mounted (stage, FALSE));
}

/* An ordinary user (nobody: fusermount3 wants one with a name), with a service of his own. */
static void
test_user (FscTestStage *stage)
{
  g_autofree char *view = fsc_test_build_path ("fscache/view/fscache-view");
  g_autofree char *service = fsc_test_build_path ("fscache/fscached");
  g_autofree char *openers = fsc_test_build_path ("fscache/openers");
  g_autofree char *device = fsc_test_stage_source (stage, "fuse");
  g_autofree char *command = NULL;

  if (geteuid () != 0 || mknod (device, S_IFCHR, makedev (10, 229)) < 0)
    {
      g_test_skip ("only root can be somebody else");
      return;
    }
  g_assert_no_errno (chmod (device, 0666));
  if (mount (device, "/dev/fuse", NULL, MS_BIND, NULL) < 0)
    g_test_skip ("no /dev/fuse for others");
  else
    {
      command = g_strdup_printf (
          "chmod 711 $M/..; chown 65534:65534 $M $S; echo text >$S/file; chmod 644 $S/file;"
          " setpriv --reuid 65534 --regid 65534 --clear-groups env FSCACHE_OPENER_DIR=%s"
          " FSCACHE_SOCKET=$S/socket sh -euc '"
          "%s & P=$!; sleep 0.5; %s $1; test \"$(cat $2/file)\" = text; kill $P; wait $P || true;"
          " if cat $2/file 2>/dev/null; then exit 1; fi; fusermount3 -u $1' - $M $V",
          openers, service, view);
      fsc_test_stage_run (stage, command);
      g_assert_true (wait_until_mounted (stage, FALSE));
      g_assert_no_errno (umount2 ("/dev/fuse", MNT_DETACH)); /* the view may still be going */
    }
  g_assert_no_errno (g_unlink (device));
}

static void
test_usage (FscTestStage *stage)
{
  g_autofree char *file = fsc_test_stage_source (stage, "file");
  g_autofree char *no_such = fsc_test_stage_source (stage, "no-such");
  g_autofree char *mount = g_steal_pointer (&stage->mount);

  g_assert_cmpint (run_view (stage, "no_such_option", NULL), ==, 2); /* and no mount point */
  fsc_test_write (file, "");
  stage->mount = file;
  g_assert_cmpint (run_view (stage, "exact", NULL), ==, 1);
  stage->mount = no_such;
  g_assert_cmpint (run_view (stage, "exact", NULL), ==, 1);
  stage->mount = g_steal_pointer (&mount);
  g_assert_cmpint (run_view (stage, "no_such_option", NULL), ==, 2);
  g_assert_false (fsc_test_stage_is_mounted (stage));
}

/* The service knows a view by its type: without it, it would go round in it. */
static void
test_type (FscTestStage *stage)
{
  g_autofree char *said = NULL;

  g_assert_cmpint (run_view (stage, "subtype=other", &said), ==, 2);
  g_assert_nonnull (strstr (said, "has its own type"));
  g_assert_cmpint (run_view (stage, "exact,blkdev", NULL), ==, 2);
  g_assert_cmpint (run_view (stage, "subt\\171pe=other", NULL), ==, 2);
  g_assert_cmpint (run_view (stage, "\\163ubtype=other", NULL), ==, 2);
  g_assert_cmpint (run_view (stage, "blkde\\166", NULL), ==, 2);
  g_assert_false (fsc_test_stage_is_mounted (stage));

  fsc_test_stage_start (stage, "fsname=mine");
  fsc_test_stage_run (stage, "grep -q \" $M .* fuse.fscache-view mine \" /proc/self/mountinfo;"
                             " ! ls $M/open/file$M 2>/dev/null");
}

/* A socket may be named relative to where the view was started. */
static void
test_socket (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  g_autofree char *directory = g_get_current_dir ();

  fsc_test_stage_replace (stage, "file", "text");
  g_assert_no_errno (chdir (stage->service->dir));
  g_assert_cmpint (run_view (stage, "socket=run/socket", NULL), ==, 0);
  fsc_test_stage_assert_content (path, "text");
  fsc_test_stage_run (stage, "umount $M 2>/dev/null || fusermount3 -u $M");

  g_setenv ("FSCACHE_SOCKET", "run/socket", TRUE);
  g_assert_cmpint (run_view (stage, "exact", NULL), ==, 0);
  g_unsetenv ("FSCACHE_SOCKET");
  g_assert_no_errno (chdir (directory));
  fsc_test_stage_assert_content (path, "text");
  fsc_test_stage_run (stage, "umount $M 2>/dev/null || fusermount3 -u $M");
  g_assert_true (wait_until_mounted (stage, FALSE));
  fsc_test_service_wait_for (stage->service, "clients", 1);
}

static void
test_twice (FscTestStage *stage)
{
  g_autofree char *said = NULL;

  g_assert_cmpint (run_view (stage, "exact", &said), ==, 1);
  g_assert_nonnull (strstr (said, "is a view already"));
  g_assert_true (fsc_test_stage_is_mounted (stage));
}

/* It does not wait for who has something open. */
static void
test_busy (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  int fd;

  fsc_test_stage_replace (stage, "file", "text");
  fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_no_errno (fd);
  g_assert_no_errno (chdir (stage->through));
  fsc_test_stage_stop (stage);
  g_assert_cmpint (open ("file", O_RDONLY), ==, -1);
  g_assert_no_errno (chdir ("/"));
  close (fd);
  fsc_test_stage_start (stage, NULL);
  fsc_test_stage_assert_content (path, "text");
}

/* Kills it, and waits until it is unmounted. FALSE if it stays: fusermount3 looks once whether
 * there is nobody behind it any more, and may do so when the kernel does not know that yet. */
static gboolean
kill_view (FscTestStage *stage)
{
  g_autofree char *entry = g_strdup_printf (" %s ", stage->mount);

  fsc_test_stage_kill (stage);
  for (int i = 0; i < 300; i++)
    {
      g_autofree char *table = NULL;

      g_assert_true (g_file_get_contents ("/proc/self/mountinfo", &table, NULL, NULL));
      if (strstr (table, entry) == NULL)
        return TRUE;
      g_usleep (10000);
    }
  return FALSE;
}

/* When it crashes, it is unmounted; and where it is not, the next one cleans up. */
static void
test_killed (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  struct stat st;

  fsc_test_stage_replace (stage, "file", "text");
  if (system ("command -v fusermount3 >/dev/null") == 0)
    {
      for (int i = 0; !kill_view (stage); i++)
        {
          g_assert_cmpint (i, <, 3);
          fsc_test_stage_start (stage, NULL);
        }
      fsc_test_stage_start (stage, "no_auto_unmount");
    }
  else
    {
      fsc_test_stage_stop (stage);
      fsc_test_stage_start (stage, NULL);
    }
  fsc_test_stage_assert_content (path, "text");
  fsc_test_stage_kill (stage);
  g_assert_cmpint (stat (stage->mount, &st), ==, -1);
  g_assert_cmpint (errno, ==, ENOTCONN);
  fsc_test_stage_start (stage, NULL);
  fsc_test_stage_assert_content (path, "text");
}

/* The service */

/* Starts it; libfscache looks for one that was not there every 100 ms. */
static void
start_service (FscTestStage *stage, const char *path)
{
  fsc_test_service_start (stage->service);
  for (int i = 0; i < 100 && g_access (path, R_OK) < 0; i++)
    g_usleep (10000);
}

static void
test_service_killed (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  char buffer[16] = "";
  int fd;

  fsc_test_stage_replace (stage, "file", "before");
  for (int i = 0; i < 5; i++)
    fsc_test_stage_assert_content (path, "before");
  fd = open (path, O_RDONLY | O_CLOEXEC);
  fsc_test_service_kill (stage->service);

  /* What is open stays; what was kept is given for 100 ms more at most, and then nothing. */
  fsc_test_stage_replace (stage, "file", "after");
  g_usleep (110000);
  fsc_test_stage_assert_open (path, O_RDONLY, EIO);
  g_assert_cmpint (g_access (path, F_OK), ==, -1);
  g_assert_cmpint (errno, ==, EIO);
  g_assert_cmpint (pread (fd, buffer, sizeof buffer, 0), ==, 6);
  g_assert_cmpstr (buffer, ==, "before");
  fsc_test_stage_run (stage, "grep -q '\"service\" : null' $M/status.json;"
                             " grep -qx 'fscache_up 0' $M/metrics");

  start_service (stage, path);
  fsc_test_stage_assert_content (path, "after");
  memset (buffer, 0, sizeof buffer);
  g_assert_cmpint (pread (fd, buffer, sizeof buffer, 0), ==, 6);
  g_assert_cmpstr (buffer, ==, "before");
  close (fd);
}

/* The view may be there before the service. */
static void
test_before_service (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");

  fsc_test_service_stop (stage->service);
  fsc_test_stage_start (stage, NULL);
  fsc_test_stage_replace (stage, "file", "text");
  fsc_test_stage_assert_open (path, O_RDONLY, EIO);
  start_service (stage, path);
  fsc_test_stage_assert_content (path, "text");
}

/* What it keeps to be fast it lets go of when nobody uses it. */
static void
test_descriptors (FscTestStage *stage)
{
  int now;

  fsc_test_stage_run (stage, "cd $S; for i in $(seq 100); do echo $i >$i; done");
  fsc_test_stage_run (stage, "cd $V; for i in 1 2 3 4; do cat * >$M/../said; done;"
                             " ls -l >$M/../said; for i in $(seq 100); do echo >$i; done;"
                             " ! cat no-such 2>/dev/null; getfattr -d 1 >$M/../said;"
                             " for i in $(seq 100); do cat $i >/dev/null; done");
  now = fsc_process_count_descriptors (stage->pid, stage->source);
  g_test_message ("%d", now);
  g_assert_cmpint (now, >, 0);
  for (int i = 0; now != 0 && i < 1500; i++)
    {
      g_usleep (10000);
      now = fsc_process_count_descriptors (stage->pid, stage->source);
    }
  g_assert_cmpint (now, ==, 0);
}

/* Sources that hang */

typedef struct
{
  pid_t server;
  char *target;
} Hanging;

static void
mount_hanging_at (FscTestStage *stage, const char *name, Hanging *hanging)
{
  g_autofree char *program = fsc_test_build_path ("tests/view/hanging");
  g_autofree char *file = NULL;

  hanging->target = fsc_test_stage_source (stage, name);
  g_assert_no_errno (g_mkdir (hanging->target, 0755));
  hanging->server = fork ();
  if (hanging->server == 0)
    {
      execl (program, program, hanging->target, NULL);
      _exit (127);
    }
  file = g_build_filename (hanging->target, "f", NULL);
  for (int i = 0; i < 500 && g_access (file, F_OK) < 0; i++)
    g_usleep (10000);
  g_assert_no_errno (g_access (file, F_OK));
}

static void
mount_hanging (FscTestStage *stage, Hanging *hanging)
{
  mount_hanging_at (stage, "hanging", hanging);
}

static void
unmount_hanging (Hanging *hanging)
{
  kill (hanging->server, SIGCONT);
  umount2 (hanging->target, MNT_DETACH);
  kill (hanging->server, SIGKILL);
  waitpid (hanging->server, NULL, 0);
  g_free (hanging->target);
}

/* A process that reads 4 KiB from a place where that hangs. */
static pid_t
start_reader (const FscTestStage *stage, int number, int fd)
{
  pid_t pid = fork ();

  if (pid == 0)
    {
      g_autofree char *name = g_strdup_printf ("hanging/f%d", number);
      g_autofree char *path = fsc_test_stage_through (stage, name);
      char buffer[4096];

      prctl (PR_SET_PDEATHSIG, SIGKILL);
      if (fd < 0)
        fd = open (path, O_RDONLY | O_CLOEXEC);
      _exit (fd < 0 || pread (fd, buffer, sizeof buffer, number * 4096) < 0);
    }
  return pid;
}

static void
assert_others (const FscTestStage *stage)
{
  gint64 since = g_get_monotonic_time ();

  for (int i = 0; i < 20; i++)
    {
      g_autofree char *name = g_strdup_printf ("other%d", i);
      g_autofree char *content = g_strdup_printf ("%" G_GINT64_FORMAT, since);
      g_autofree char *path = fsc_test_stage_through (stage, name);

      fsc_test_stage_replace (stage, name, content);
      fsc_test_stage_assert_content (path, content);
    }
  g_assert_cmpint (g_get_monotonic_time () - since, <, 4 * G_USEC_PER_SEC);
}

/* It blocks those who read from it, however many they are, and nobody else. */
static void
hang (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "hanging/f0");
  Hanging hanging;
  pid_t readers[300];
  int fd;

  mount_hanging (stage, &hanging);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_no_errno (fd);
  g_assert_no_errno (kill (hanging.server, SIGSTOP));
  for (guint i = 0; i < G_N_ELEMENTS (readers); i++)
    readers[i] = start_reader (stage, (int) i, i % 2 == 0 ? fd : -1);
  g_usleep (500000);
  assert_others (stage);

  g_assert_no_errno (kill (hanging.server, SIGCONT));
  for (guint i = 0; i < G_N_ELEMENTS (readers); i++)
    {
      int status;

      g_assert_cmpint (waitpid (readers[i], &status, 0), ==, readers[i]);
      if (i % 2 == 0) /* to open one may have been too much for the service in this time */
        g_assert_cmpint (status, ==, 0);
    }
  close (fd);
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

/* What else there is answers within a second: what is new, what is cached ("kept"), the view. */
static void
assert_all_others (const FscTestStage *stage)
{
  static const char *const own[] = { "status.json", "metrics" };

  for (int i = 0; i < 20; i++)
    {
      g_autofree char *name = g_strdup_printf ("other%d", i);
      g_autofree char *through = fsc_test_stage_through (stage, name);
      g_autofree char *cached = g_build_filename (stage->cached, "kept", NULL);
      g_autofree char *whole = fsc_test_stage_at (stage, own[i % G_N_ELEMENTS (own)]);
      gint64 since = g_get_monotonic_time ();

      fsc_test_stage_replace (stage, name, name);
      fsc_test_stage_assert_content (through, name);
      fsc_test_stage_assert_content (cached, "text");
      fsc_test_stage_assert_open (whole, O_RDONLY, 0);
      g_assert_cmpint (g_get_monotonic_time () - since, <, G_USEC_PER_SEC);
    }
}

/* What each of many readers of several sources does, in one way or another. */
static pid_t
start_any_reader (const FscTestStage *stage, int source, int number)
{
  g_autofree char *name = g_strdup_printf ("hanging%d/f%d", source, number % 3 == 0 ? number : 0);
  g_autofree char *path
      = g_build_filename (number % 3 == 2 ? stage->cached : stage->through, name, NULL);
  pid_t pid = fork ();
  char byte;
  int fd;

  if (pid != 0)
    return pid;
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  _exit (fd < 0 || pread (fd, &byte, 1, number) < 0);
}

/* Nor do several of them, be they read by their own names or as what is cached. */
static void
hang_many (FscTestStage *stage)
{
  Hanging hanging[12];
  pid_t readers[G_N_ELEMENTS (hanging)][50];
  g_autofree char *kept = fsc_test_stage_through (stage, "kept");

  fsc_test_stage_replace (stage, "kept", "text");
  fsc_test_stage_assert_content (kept, "text");
  for (guint i = 0; i < G_N_ELEMENTS (hanging); i++)
    {
      g_autofree char *name = g_strdup_printf ("hanging%u", i);
      g_autofree char *file = g_build_filename (stage->through, name, "f0", NULL);

      mount_hanging_at (stage, name, &hanging[i]);
      fsc_test_stage_assert_open (file, O_RDONLY, 0);
    }
  for (guint i = 0; i < G_N_ELEMENTS (hanging); i++)
    g_assert_no_errno (kill (hanging[i].server, SIGSTOP));
  for (guint i = 0; i < G_N_ELEMENTS (hanging); i++)
    for (guint j = 0; j < G_N_ELEMENTS (readers[i]); j++)
      readers[i][j] = start_any_reader (stage, (int) i, (int) j);
  g_usleep (500000);
  assert_all_others (stage);

  for (guint i = 0; i < G_N_ELEMENTS (hanging); i++)
    g_assert_no_errno (kill (hanging[i].server, SIGCONT));
  for (guint i = 0; i < G_N_ELEMENTS (hanging); i++)
    for (guint j = 0; j < G_N_ELEMENTS (readers[i]); j++)
      g_assert_cmpint (waitpid (readers[i][j], NULL, 0), ==, readers[i][j]);
  fsc_test_stage_stop (stage);
  for (guint i = 0; i < G_N_ELEMENTS (hanging); i++)
    unmount_hanging (&hanging[i]);
}

/* Nor does a name that cannot be looked up keep anybody from the names beside it. */
static void
look_hanging (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "hanging");
  struct stat st;
  Hanging hanging;
  pid_t looker;
  int status;

  mount_hanging (stage, &hanging);
  g_assert_no_errno (stat (stage->through, &st));
  g_assert_no_errno (kill (hanging.server, SIGSTOP));
  looker = fork ();
  if (looker == 0)
    _exit (stat (path, &st) < 0);
  g_usleep (300000);
  assert_others (stage);
  fsc_test_stage_run (stage, "ls $V >$M/../said; grep -qx other7 $M/../said");
  g_assert_cmpint (waitpid (looker, &status, WNOHANG), ==, 0);
  g_assert_no_errno (kill (hanging.server, SIGCONT));
  g_assert_cmpint (waitpid (looker, &status, 0), ==, looker);
  g_assert_cmpint (status, ==, 0);
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

static void
on_alarm (int number)
{
}

/* Who waits is interrupted by a signal, and can be killed. */
static void
interrupt (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "hanging/f1");
  struct sigaction action = { .sa_handler = on_alarm };
  Hanging hanging;
  pid_t reader;
  int status;

  mount_hanging (stage, &hanging);
  g_assert_no_errno (kill (hanging.server, SIGSTOP));
  sigaction (SIGALRM, &action, NULL);
  alarm (1);
  fsc_test_stage_assert_open (path, O_RDONLY, EINTR);
  reader = start_reader (stage, 2, -1);
  g_usleep (300000);
  g_assert_no_errno (kill (reader, SIGKILL));
  for (int i = 0; waitpid (reader, &status, WNOHANG) == 0; i++)
    {
      g_assert_cmpint (i, <, 300);
      g_usleep (10000);
    }
  assert_others (stage);

  /* It ends although a thread of its own hangs. */
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

/* Who opens for writing does not wait longer than he wants to. */
static void
interrupt_writing (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "hanging/f1");
  g_autofree char *new = fsc_test_stage_through (stage, "hanging/new");
  struct sigaction action = { .sa_handler = on_alarm };
  g_autofree char *link = NULL;
  Hanging hanging;
  int fd;

  mount_hanging (stage, &hanging);
  sigaction (SIGALRM, &action, NULL);
  alarm (1);
  fsc_test_stage_assert_open (new, O_WRONLY | O_CREAT, EINTR);
  g_assert_no_errno (kill (hanging.server, SIGCONT));

  fd = open (path, O_PATH | O_CLOEXEC);
  g_assert_no_errno (fd);
  link = g_strdup_printf ("/proc/self/fd/%d", fd);
  g_assert_no_errno (kill (hanging.server, SIGSTOP));
  alarm (1);
  fsc_test_stage_assert_open (link, O_WRONLY, EINTR);
  alarm (1);
  fsc_test_stage_assert_open (link, O_WRONLY | O_TRUNC, EINTR);
  close (fd);
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

/* Nor does the service go on for those who are gone. (Each in a directory of his own: the kernel
 * may look up only one name in a directory at a time.) */
static void
cancel (FscTestStage *stage)
{
  pid_t readers[10];
  Hanging hanging;

  mount_hanging (stage, &hanging);
  for (guint i = 0; i < G_N_ELEMENTS (readers); i++)
    {
      g_autofree char *name = g_strdup_printf ("hanging/d%u", i);
      g_autofree char *path = fsc_test_stage_through (stage, name);
      int dir = open (path, O_PATH | O_CLOEXEC);

      g_assert_no_errno (dir);
      readers[i] = fork ();
      if (readers[i] == 0)
        {
          raise (SIGSTOP);
          _exit (openat (dir, "f", O_RDONLY | O_CLOEXEC) < 0);
        }
      close (dir);
      g_assert_cmpint (waitpid (readers[i], NULL, WUNTRACED), ==, readers[i]);
    }
  g_assert_no_errno (kill (hanging.server, SIGSTOP));
  for (guint i = 0; i < G_N_ELEMENTS (readers); i++)
    g_assert_no_errno (kill (readers[i], SIGCONT));
  fsc_test_service_wait_for (stage->service, "waiting", 10);
  fsc_test_service_wait_for (stage->service, "queued", 8);
  for (guint i = 0; i < G_N_ELEMENTS (readers); i++)
    {
      g_assert_no_errno (kill (readers[i], SIGKILL));
      g_assert_cmpint (waitpid (readers[i], NULL, 0), ==, readers[i]);
    }
  fsc_test_service_wait_for (stage->service, "waiting", 0);
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "queued"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "timeouts"), ==, 0);
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

/* Whether a process has exited, or would have if the kernel did not wait in it. */
static gboolean
has_exited (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/status", pid);
  g_autofree char *content = NULL;
  const char *pending;

  if (!g_file_get_contents (path, &content, NULL, NULL))
    return TRUE;
  pending = strstr (content, "SigPnd:");
  return strstr (content, "State:\tZ") != NULL
         || (pending != NULL
             && (strtoull (pending + strlen ("SigPnd:"), NULL, 16) & 1u << (SIGKILL - 1)) != 0);
}

/* Nor does a file that cannot be closed keep it, whoever unmounts it. */
static void
close_hanging (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "hanging/f1");
  Hanging hanging;
  int status, fd;

  mount_hanging (stage, &hanging);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_no_errno (fd);
  g_assert_no_errno (kill (hanging.server, SIGSTOP));
  g_assert_no_errno (umount2 (stage->mount, MNT_DETACH));
  close (fd);
  for (int i = 0; !has_exited (stage->pid); i++)
    {
      g_assert_cmpint (i, <, 2000);
      g_usleep (10000);
    }
  unmount_hanging (&hanging);
  g_assert_cmpint (waitpid (stage->pid, &status, 0), ==, stage->pid);
  g_assert_cmpint (status, ==, 0);
  stage->pid = 0;
}

static void
run_hanging (FscTestStage *stage, FscTestStageFunc func)
{
  fsc_test_service_stop (stage->service);
  g_assert_true (g_file_set_contents (stage->service->config, config, -1, NULL));
  fsc_test_service_start (stage->service);
  fsc_test_stage_start (stage, NULL);
  func (stage);
}

/* What is cached is opened without asking its server, however it is read. */
static void
open_hanging (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "hanging/f2");
  Hanging hanging;
  pid_t opener;
  int status = -1;

  mount_hanging (stage, &hanging);
  fsc_test_stage_assert_open (path, O_RDONLY, 0);
  g_assert_no_errno (kill (hanging.server, SIGSTOP));
  opener = fork ();
  if (opener == 0)
    _exit (open (path, O_RDONLY | O_CLOEXEC) < 0);
  for (int i = 0; i < 200 && waitpid (opener, &status, WNOHANG) == 0; i++)
    g_usleep (10000);
  g_assert_no_errno (kill (hanging.server, SIGCONT));
  g_assert_cmpint (status, ==, 0);
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

#define CROWD_NAMES 40
#define CROWD_THREADS 32

typedef struct
{
  int fd, number;
} Read;

static gpointer
read_one (gpointer data)
{
  Read *what = data;
  char buffer[4096];

  if (pread (what->fd, buffer, sizeof buffer, (off_t) what->number * 32 * 1024) < 0)
    _exit (1);
  return NULL;
}

/* A process that opens f0, f1 ... in a folder, and when the server hangs reads from each in many
 * places at once. */
static void
run_crowd (const char *folder)
{
  static Read reads[CROWD_NAMES * CROWD_THREADS];

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  for (int i = 0; i < CROWD_NAMES; i++)
    {
      g_autofree char *name = g_strdup_printf ("%s/f%d", folder, i);
      int fd = open (name, O_RDONLY | O_CLOEXEC);

      if (fd < 0)
        _exit (1);
      for (int j = 0; j < CROWD_THREADS; j++)
        reads[i * CROWD_THREADS + j] = (Read){ fd, j };
    }
  raise (SIGSTOP);
  for (guint i = 0; i < G_N_ELEMENTS (reads); i++)
    g_thread_unref (g_thread_new ("read", read_one, &reads[i]));
  for (;;)
    pause ();
}

static pid_t
start_crowd (const char *folder, pid_t server)
{
  pid_t pid = fork ();
  int status;

  if (pid == 0)
    run_crowd (folder);
  g_assert_cmpint (waitpid (pid, &status, WUNTRACED), ==, pid);
  g_assert_true (WIFSTOPPED (status));
  g_assert_no_errno (kill (server, SIGSTOP));
  g_assert_no_errno (kill (pid, SIGCONT));
  return pid;
}

/* One device, so no more of the view's threads hang than for one name of it. */
static void
assert_crowd_is_bounded (FscTestStage *stage, pid_t crowd, pid_t server)
{
  gint64 since;

  for (int i = 0; fsc_process_get (crowd, "Threads:") <= CROWD_NAMES * CROWD_THREADS; i++)
    {
      g_assert_cmpint (i, <, 1000);
      g_usleep (10000);
    }
  g_usleep (500000);
  g_assert_cmpint (fsc_process_get (stage->pid, "Threads:"), <, 80);
  assert_others (stage);
  since = g_get_monotonic_time ();
  fsc_test_stage_run (stage, "cat $C/other0 | cmp - $S/other0; ls -l $C | grep -q other1");
  g_assert_cmpint (g_get_monotonic_time () - since, <, 2 * G_USEC_PER_SEC);

  g_assert_no_errno (kill (crowd, SIGKILL));
  g_assert_no_errno (kill (server, SIGCONT));
  g_assert_cmpint (waitpid (crowd, NULL, 0), ==, crowd);
}

static void
hang_crowd (FscTestStage *stage)
{
  g_autofree char *folder = fsc_test_stage_through (stage, "hanging");
  g_autofree char *cached = g_build_filename (stage->cached, "hanging", NULL);
  Hanging hanging;

  mount_hanging (stage, &hanging);
  assert_crowd_is_bounded (stage, start_crowd (folder, hanging.server), hanging.server);
  assert_crowd_is_bounded (stage, start_crowd (cached, hanging.server), hanging.server);
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

/* What was put may hang, whatever the service says of its name. */
static void
hang_put (FscTestStage *stage)
{
  g_autofree char *folder = fsc_test_stage_at (stage, "cached/handle");
  FscacheClient *client = fsc_test_service_connect (stage->service);
  Hanging hanging;

  mount_hanging (stage, &hanging);
  for (int i = 0; i < CROWD_NAMES; i++)
    {
      g_autofree char *path = g_strdup_printf ("%s/f%d", hanging.target, i);
      g_autofree char *uri = g_strdup_printf ("handle:f%d", i);
      const FscachePut put = { .uri = uri, .fd = open (path, O_RDONLY | O_CLOEXEC) };

      g_assert_no_errno (put.fd);
      g_assert_cmpint (fscache_put (client, &put, NULL), ==, 0);
      close (put.fd);
    }
  assert_crowd_is_bounded (stage, start_crowd (folder, hanging.server), hanging.server);
  fscache_disconnect (client);
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

/* What is kept of it for the next open is closed some time, and those who wait for that are none
 * who open other files. */
static void
hang_kept (FscTestStage *stage)
{
  Hanging hanging;

  fsc_test_service_stop (stage->service);
  g_assert_true (g_file_set_contents (stage->service->config, "[file]\nttl=0.3\n", -1, NULL));
  fsc_test_service_start (stage->service);
  fsc_test_stage_start (stage, NULL);
  mount_hanging_at (stage, "closing", &hanging);
  for (int i = 0; i < CROWD_NAMES; i++)
    {
      g_autofree char *name = g_strdup_printf ("closing/f%d", i);
      g_autofree char *path = fsc_test_stage_through (stage, name);

      fsc_test_stage_assert_open (path, O_RDONLY, 0);
    }
  g_assert_no_errno (kill (hanging.server, SIGSTOP));
  for (int i = 0; i < 10; i++)
    {
      g_usleep (100000);
      assert_others (stage);
    }
  for (int i = 0; fsc_test_stage_get (stage, "kept") != 0; i++)
    {
      g_assert_cmpint (i, <, 100);
      g_usleep (10000);
    }
  g_assert_no_errno (kill (hanging.server, SIGCONT)); /* else no process ends that has it open */
  fsc_test_stage_stop (stage);
  unmount_hanging (&hanging);
}

static void
test_hang (FscTestStage *stage)
{
  run_hanging (stage, hang);
}

static void
test_hang_crowd (FscTestStage *stage)
{
  run_hanging (stage, hang_crowd);
}

static void
test_hang_put (FscTestStage *stage)
{
  run_hanging (stage, hang_put);
}

static void
test_hang_many (FscTestStage *stage)
{
  run_hanging (stage, hang_many);
}

static void
test_look_hanging (FscTestStage *stage)
{
  run_hanging (stage, look_hanging);
}

static void
test_interrupt (FscTestStage *stage)
{
  run_hanging (stage, interrupt);
}

static void
test_interrupt_writing (FscTestStage *stage)
{
  run_hanging (stage, interrupt_writing);
}

static void
test_cancel (FscTestStage *stage)
{
  run_hanging (stage, cancel);
}

static void
test_close_hanging (FscTestStage *stage)
{
  run_hanging (stage, close_hanging);
}

static void
test_open_hanging (FscTestStage *stage)
{
  run_hanging (stage, open_hanging);
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD_CLOSED ("/view-life/background", test_background);
  FSC_STAGE_ADD_CLOSED ("/view-life/mount", test_mount);
  FSC_STAGE_ADD_CLOSED ("/view-life/user", test_user);
  FSC_STAGE_ADD_CLOSED ("/view-life/usage", test_usage);
  FSC_STAGE_ADD_CLOSED ("/view-life/type", test_type);
  FSC_STAGE_ADD_CLOSED ("/view-life/socket", test_socket);
  FSC_STAGE_ADD ("/view-life/twice", test_twice);
  FSC_STAGE_ADD ("/view-life/busy", test_busy);
  FSC_STAGE_ADD ("/view-life/killed", test_killed);
  FSC_STAGE_ADD ("/view-life/service-killed", test_service_killed);
  FSC_STAGE_ADD_CLOSED ("/view-life/before-service", test_before_service);
  FSC_STAGE_ADD ("/view-life/descriptors", test_descriptors);
  FSC_STAGE_ADD_CLOSED ("/view-life/hang", test_hang);
  FSC_STAGE_ADD_CLOSED ("/view-life/hang-many", test_hang_many);
  FSC_STAGE_ADD_CLOSED ("/view-life/hang-crowd", test_hang_crowd);
  FSC_STAGE_ADD_CLOSED ("/view-life/hang-put", test_hang_put);
  FSC_STAGE_ADD_CLOSED ("/view-life/hang-kept", hang_kept);
  FSC_STAGE_ADD_CLOSED ("/view-life/look-hanging", test_look_hanging);
  FSC_STAGE_ADD_CLOSED ("/view-life/interrupt", test_interrupt);
  FSC_STAGE_ADD_CLOSED ("/view-life/interrupt-writing", test_interrupt_writing);
  FSC_STAGE_ADD_CLOSED ("/view-life/cancel", test_cancel);
  FSC_STAGE_ADD_CLOSED ("/view-life/open-hanging", test_open_hanging);
  FSC_STAGE_ADD_CLOSED ("/view-life/close-hanging", test_close_hanging);
  return g_test_run ();
}
