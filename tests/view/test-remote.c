/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A source that changes behind the kernel's back, and gives what replaces a file its number: sshfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/view/stage.h"

#define SFTP_SERVER "/usr/lib/openssh/sftp-server"
#define TTL_US 50000
/* sshfs itself holds on to attributes for a second. */
#define REVALIDATED_US (G_USEC_PER_SEC * 3 / 2)

typedef struct
{
  FscTestStage *stage;
  char *server; /* the directory there */
  char *target; /* and here */
} Remote;

/* FALSE if that cannot be had. */
static gboolean
mount_remote (Remote *remote, FscTestStage *stage, const char *options)
{
  g_autofree char *command = NULL;

  *remote = (Remote){ .stage = stage,
                      .server = g_build_filename (stage->service->dir, "server", NULL),
                      .target = fsc_test_stage_source (stage, "remote") };
  if (system ("command -v sshfs >/dev/null") != 0 || access (SFTP_SERVER, X_OK) < 0)
    {
      g_test_skip ("there is no sshfs or no " SFTP_SERVER);
      return FALSE;
    }
  g_assert_no_errno (g_mkdir (remote->server, 0755));
  g_assert_no_errno (g_mkdir (remote->target, 0755));
  command = g_strdup_printf ("echo 'exec " SFTP_SERVER "' >$M/../sftp;"
                             " sshfs -o ssh_command=\"/bin/sh $M/../sftp\",dir_cache=no%s"
                             " here:$M/../server $S/remote",
                             options);
  fsc_test_stage_run (stage, command);
  return TRUE;
}

static void
unmount_remote (Remote *remote)
{
  umount2 (remote->target, MNT_DETACH);
  g_free (remote->server);
  g_free (remote->target);
}

/* Of another size each time: the server's times are in seconds. */
static void
replace (const Remote *remote, const char *content)
{
  g_autofree char *path = g_build_filename (remote->server, "file", NULL);

  g_assert_true (g_file_set_contents (path, content, -1, NULL)); /* replaces it by another */
  g_usleep (3 * TTL_US);
}

/* Whoever has the old ones open. (What he reads then is up to sshfs, for which they are one inode.)
 */
static void
check_replaced (const Remote *remote)
{
  g_autofree char *path = fsc_test_stage_through (remote->stage, "remote/file");
  int fds[8];

  for (int i = 0; i < (int) G_N_ELEMENTS (fds); i++)
    {
      g_autofree char *content = g_strnfill (1 + (gsize) i, (char) ('a' + i));

      replace (remote, content);
      fsc_test_stage_assert_content (path, content);
      fds[i] = open (path, O_RDONLY | O_CLOEXEC);
      g_assert_no_errno (fds[i]);
      fsc_test_stage_assert_content (path, content);
    }
  for (int i = 0; i < (int) G_N_ELEMENTS (fds); i++)
    close (fds[i]);
}

/* What has not changed for some seconds is not read again, whether it is open or not. */
static void
check_kept (const Remote *remote)
{
  g_autofree char *path = fsc_test_stage_through (remote->stage, "remote/file");

  replace (remote, "content");
  g_usleep (5 * G_USEC_PER_SEC / 2);
  fsc_test_stage_assert_content (path, "content");
  for (int i = 0; i < 4; i++)
    {
      gint64 n_reads = fsc_test_stage_get (remote->stage, "reads");
      int fd = i % 2 == 0 ? open (path, O_RDONLY | O_CLOEXEC) : -1;

      fsc_test_stage_assert_content (path, "content");
      g_assert_cmpint (fsc_test_stage_get (remote->stage, "reads"), ==, n_reads);
      if (fd >= 0)
        close (fd);
      g_usleep (3 * TTL_US);
    }
}

/* By something of another type, while somebody has open what was there. */
static void
check_retyped (const Remote *remote)
{
  static const struct
  {
    const char *command, *check;
  } steps[] = {
    { "rm -rf thing; mkdir thing; touch thing/a", "test \"$(ls $V/remote/thing)\" = a" },
    { "rm -r thing; echo text >thing", "test \"$(cat $V/remote/thing)\" = text" },
    { "rm thing; ln -s file thing", "test \"$(readlink $V/remote/thing)\" = file" },
    { "rm thing; echo more >thing", "test \"$(cat $V/remote/thing)\" = more" },
    { "rm thing; mkdir thing; touch thing/b", "test \"$(ls $V/remote/thing)\" = b" },
  };
  g_autofree char *path = fsc_test_stage_through (remote->stage, "remote/thing");
  int fds[G_N_ELEMENTS (steps)];

  for (gsize i = 0; i < G_N_ELEMENTS (steps); i++)
    {
      g_autofree char *change = g_strdup_printf ("cd $M/../server; %s", steps[i].command);

      fsc_test_stage_run (remote->stage, change);
      g_usleep (REVALIDATED_US);
      fsc_test_stage_run (remote->stage, steps[i].check);
      fds[i] = open (path, O_RDONLY | O_CLOEXEC);
      g_assert_no_errno (fds[i]);
    }
  for (gsize i = 0; i < G_N_ELEMENTS (steps); i++)
    close (fds[i]);
}

static void
start (FscTestStage *stage, const char *options)
{
  g_autofree char *config = g_strdup_printf ("[file]\nttl=%g\n", (double) TTL_US / G_USEC_PER_SEC);

  fsc_test_service_stop (stage->service);
  g_assert_true (g_file_set_contents (stage->service->config, config, -1, NULL));
  fsc_test_service_start (stage->service);
  fsc_test_stage_start (stage, options);
}

static void
test_replaced (FscTestStage *stage)
{
  Remote remote;

  start (stage, NULL);
  if (mount_remote (&remote, stage, ""))
    {
      check_replaced (&remote);
      check_retyped (&remote);
      check_kept (&remote);
      fsc_test_stage_stop (stage);
      fsc_test_stage_start (stage, "exact");
      check_replaced (&remote);
      check_retyped (&remote);
    }
  unmount_remote (&remote);
}

static void
become (uid_t uid)
{
  if (setgroups (0, NULL) < 0 || setresgid (uid, uid, uid) < 0 || setresuid (uid, uid, uid) < 0)
    _exit (1);
}

static void
open_often (const char *path, uid_t uid)
{
  gint64 until = g_get_monotonic_time () + G_USEC_PER_SEC;

  become (uid);
  while (g_get_monotonic_time () < until)
    {
      int fd = open (path, O_RDONLY | O_CLOEXEC);

      if (fd < 0)
        g_error ("open(): %s", g_strerror (errno));
      g_usleep (100);
      close (fd);
    }
  _exit (0);
}

/* Each has a handle of his own, which may be of another file for all that is known; and yet all can
 * open it, at once. */
static void
test_users (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "remote/file");
  pid_t pids[60];
  Remote remote;

  if (!fsc_test_is_for_all ("fscache/openers/open-file"))
    {
      g_test_skip (
          "only root can be several users, where all may search the directory of the build");
      return;
    }
  g_assert_no_errno (chmod (stage->service->dir, 0755));
  start (stage, "allow_other");
  if (mount_remote (&remote, stage, ",allow_other"))
    {
      replace (&remote, "content");
      for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
        {
          pids[i] = fork ();
          g_assert_cmpint (pids[i], >=, 0);
          if (pids[i] == 0)
            open_often (path, 60000 + i);
        }
      for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
        {
          int status;

          g_assert_cmpint (waitpid (pids[i], &status, 0), ==, pids[i]);
          g_assert_cmpint (status, ==, 0);
        }
    }
  unmount_remote (&remote);
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD_CLOSED ("/view-remote/replaced", test_replaced);
  FSC_STAGE_ADD_CLOSED ("/view-remote/users", test_users);
  return g_test_run ();
}
