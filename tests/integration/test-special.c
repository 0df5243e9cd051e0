/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is not a plain file of a plain file system: FIFOs, devices, terminals, what means something
 * else to each process, and what is mounted over something else. The mounts are made in a namespace
 * of the test's own.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/namespace.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

/* The mounts of this process are its own. */
static gboolean may_mount;

/* What is no file */

static pid_t
start_writer (const char *fifo, int *end)
{
  int ends[2];
  pid_t pid;

  g_assert_no_errno (pipe2 (ends, O_CLOEXEC));
  pid = fork ();
  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      close (ends[0]);
      if (open (fifo, O_WRONLY) >= 0)
        (void) !write (ends[1], "woken", 5);
      pause ();
    }
  close (ends[1]);
  *end = ends[0];
  return pid;
}

static void
assert_not_woken (int end)
{
  struct pollfd pollfd = { .fd = end, .events = POLLIN };

  g_assert_cmpint (poll (&pollfd, 1, 100), ==, 0);
}

static void
assert_not_served (FscacheClient *client, const char *path, int open_flags)
{
  FscacheReply reply;
  int fd = fscache_open (client, path, open_flags, &reply);

  if (reply.code != FSCACHE_ERROR_NOT_SERVED)
    g_test_message ("%s: %d, %s", path, fd, reply.message);
  fsc_test_assert_failed (&reply, fd, FSCACHE_ERROR_NOT_SERVED, EXDEV);
  g_assert_nonnull (strstr (reply.message, path));
}

static void
test_fifo (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, "fifo", NULL);
  FscacheClient *fallback;
  FscacheReply reply;
  pid_t writer;
  int end, fd;

  g_assert_no_errno (mkfifo (path, 0666));
  writer = start_writer (path, &end);
  assert_not_woken (end);
  assert_not_served (client, path, O_RDONLY);
  assert_not_served (client, path, O_RDONLY | O_NONBLOCK);
  assert_not_served (client, path, O_RDWR);
  assert_not_served (client, path, O_WRONLY | O_CREAT);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_PATH), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_DIRECTORY), ==, ENOTDIR);
  assert_not_woken (end);

  /* The library itself may. */
  g_assert_cmpint (fscache_connect (service->socket, 0, &fallback), ==, 0);
  fd = fscache_open (fallback, path, O_RDONLY, &reply);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpint (reply.kind, ==, FSCACHE_KIND_FIFO);
  close (fd);
  g_assert_cmpint (kill (writer, SIGKILL), ==, 0);
  g_assert_cmpint (waitpid (writer, NULL, 0), ==, writer);
  close (end);
  fscache_disconnect (fallback);
  fscache_disconnect (client);
}

static void
test_memory_devices (FscTestService *service)
{
  static const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR, O_NONBLOCK, O_PATH, O_DIRECTORY };
  FscacheClient *client = fsc_test_service_connect (service);
  char byte = 'x';
  int fd = fsc_test_open_from (client, "/dev/null", FSCACHE_SOURCE_OPENED);

  g_assert_cmpint (read (fd, &byte, 1), ==, 0);
  close (fd);
  fd = fsc_test_open_from (client, "/dev/null", FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (fcntl (fd, F_GETFL) & O_NONBLOCK, ==, 0);
  close (fd);
  fd = fsc_test_open_from (client, "/dev/zero", FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (read (fd, &byte, 1), ==, 1);
  g_assert_cmpint (byte, ==, 0);
  close (fd);
  fd = fscache_open (client, "/dev/null", O_WRONLY, NULL);
  g_assert_cmpint (write (fd, "x", 1), ==, 1);
  close (fd);
  for (guint i = 0; i < G_N_ELEMENTS (flags); i++)
    {
      fsc_test_assert_same (client, "/dev/null", flags[i]);
      fsc_test_assert_same (client, "/dev/full", flags[i]);
    }
  fscache_disconnect (client);
}

static void
test_socket_file (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  g_assert_cmpint (fsc_test_assert_same (client, service->socket, O_RDONLY), ==, ENXIO);
  g_assert_cmpint (fsc_test_assert_same (client, service->socket, O_RDWR), ==, ENXIO);
  g_assert_cmpint (fsc_test_assert_same (client, service->socket, O_PATH), ==, 0);
  fscache_disconnect (client);
}

/* What means something else to each process */

static void
test_terminal (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *fallback;
  int pty = posix_openpt (O_RDWR | O_NOCTTY | O_CLOEXEC);
  FscacheReply reply;
  const char *name;
  int fd;

  assert_not_served (client, "/dev/tty", O_RDWR);
  assert_not_served (client, "/dev/tty", O_RDONLY);
  assert_not_served (client, "/dev/ptmx", O_RDWR);
  if (pty < 0 || grantpt (pty) < 0 || unlockpt (pty) < 0)
    g_test_skip ("there are no pseudo-terminals here");
  else
    {
      name = ptsname (pty);
      assert_not_served (client, name, O_RDWR);
      assert_not_served (client, name, O_RDONLY | O_NONBLOCK);
      g_assert_cmpint (fscache_connect (service->socket, 0, &fallback), ==, 0);
      fd = fscache_open (fallback, name, O_RDWR | O_NOCTTY, &reply);
      g_assert_cmpint (fd, >=, 0);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
      g_assert_true (isatty (fd));
      close (fd);
      fscache_disconnect (fallback);
    }
  if (pty >= 0)
    close (pty);
  fscache_disconnect (client);
}

static void
test_procfs (FscTestService *service)
{
  static const char *const names[]
      = { "/proc/self/status", "/proc/version", "/proc", "/proc/self/fd/0", "/proc/self/fd",
          "/proc/self/exe",    "/dev/stdin",    "/sys",  "/sys/kernel",     "/dev/fd",
          "/proc/self/root/",  "/dev/pts" };
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *fallback;
  g_autofree char *own = fsc_test_service_write (service, "own", "own");
  g_autofree char *link = g_build_filename (service->dir, "link", NULL);
  g_autofree char *status = NULL;
  g_autofree char *pid = g_strdup_printf ("\nPid:\t%d\n", getpid ());
  int fd = open (own, O_RDONLY | O_CLOEXEC);
  int high = fcntl (fd, F_DUPFD_CLOEXEC, 300);
  g_autofree char *by_number = g_strdup_printf ("/dev/fd/%d", high);
  g_autofree char *by_proc = g_strdup_printf ("/proc/self/fd/%d", high);
  g_autofree char *by_thread = g_strdup_printf ("/proc/self/task/%d/fd/%d", getpid (), high);
  FscacheReply reply;
  char buffer[4096];
  ssize_t n;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    assert_not_served (client, names[i], O_RDONLY);
  assert_not_served (client, "/dev/stdout", O_WRONLY);
  assert_not_served (client, "/dev/stdout", O_WRONLY | O_CREAT | O_TRUNC);

  /* Descriptors and threads that this process has, and an opener has not. */
  assert_not_served (client, by_number, O_RDONLY);
  assert_not_served (client, by_proc, O_RDONLY);
  assert_not_served (client, by_thread, O_RDONLY);
  assert_not_served (client, by_number, O_WRONLY | O_CREAT | O_TRUNC);
  g_assert_no_errno (symlink (by_number, link));
  assert_not_served (client, link, O_RDONLY);

  g_assert_cmpint (fscache_connect (service->socket, 0, &fallback), ==, 0);
  g_assert_cmpint (fscache_open (fallback, by_number, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpuint (fsc_test_get_inode (reply.fd), ==, fsc_test_get_inode (fd));
  close (reply.fd);
  g_assert_cmpint (fscache_open (fallback, "/proc/self/status", O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  n = read (reply.fd, buffer, sizeof buffer);
  g_assert_cmpint (n, >, 0);
  status = g_strndup (buffer, (gsize) n);
  g_assert_nonnull (strstr (status, pid));
  close (reply.fd);
  g_assert_cmpint (fscache_open (fallback, "/proc/self/nothing", O_RDONLY, &reply), ==, -ENOENT);

  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  close (high);
  close (fd);
  fscache_disconnect (fallback);
  fscache_disconnect (client);
}

/* Mounts */

static gboolean
skip_without_mounts (void)
{
  if (!may_mount)
    g_test_skip ("this process may not mount");
  return !may_mount;
}

static void
test_mount_over (FscTestService *service)
{
  g_autofree char *dir = g_build_filename (service->dir, "dir", NULL);
  g_autofree char *path = g_build_filename (dir, "file", NULL);
  FscacheClient *client;

  if (skip_without_mounts ())
    return;
  client = fsc_test_service_connect (service);
  g_assert_no_errno (g_mkdir (dir, 0755));
  fsc_test_write (path, "below");
  for (int i = 0; i < 20; i++)
    {
      g_autofree char *below = fsc_test_read (client, path, FSCACHE_INDEPENDENT);
      g_autofree char *above = NULL;

      g_assert_cmpstr (below, ==, "below");
      g_assert_no_errno (mount ("none", dir, "tmpfs", 0, NULL));
      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, ENOENT);
      fsc_test_write (path, "above");
      above = fsc_test_read (client, path, FSCACHE_INDEPENDENT);
      g_assert_cmpstr (above, ==, "above");
      close (fsc_test_open_from (client, path, FSCACHE_SOURCE_CACHE)); /* tmpfs is kept */
      g_assert_no_errno (umount2 (dir, MNT_DETACH));
    }
  fscache_disconnect (client);
}

static void
test_read_only_mount (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheClient *client;

  if (skip_without_mounts ())
    return;
  client = fsc_test_service_connect (service);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  g_assert_no_errno (mount (path, path, NULL, MS_BIND, NULL));
  g_assert_no_errno (mount (NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDWR), ==, EROFS);
  g_assert_no_errno (umount2 (path, MNT_DETACH));
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDWR), ==, 0);
  fscache_disconnect (client);
}

/* A copy-up puts other content under the same inode number. */
static void
test_overlay (FscTestService *service)
{
  static const char *const dirs[] = { "lower", "upper", "work", "merged" };
  g_autofree char *options = g_strdup_printf ("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
                                              service->dir, service->dir, service->dir);
  g_autofree char *merged = g_build_filename (service->dir, "merged", NULL);
  g_autofree char *path = g_build_filename (merged, "file", NULL);
  g_autofree char *lower = g_build_filename (service->dir, "lower", "file", NULL);
  g_autofree char *before = NULL;
  g_autofree char *after = NULL;
  FscacheClient *client;
  FscacheReply reply;
  int fd;

  if (skip_without_mounts ())
    return;
  for (guint i = 0; i < G_N_ELEMENTS (dirs); i++)
    {
      g_autofree char *dir = g_build_filename (service->dir, dirs[i], NULL);

      g_assert_no_errno (g_mkdir (dir, 0755));
    }
  fsc_test_write (lower, "below");
  if (mount ("overlay", merged, "overlay", 0, options) < 0)
    {
      g_test_skip ("no overlayfs can be mounted here");
      return;
    }

  client = fsc_test_service_connect (service);
  before = fsc_test_read (client, path, FSCACHE_SHARED);
  g_assert_cmpstr (before, ==, "below");
  fd = open (path, O_WRONLY | O_TRUNC | O_CLOEXEC);
  g_assert_cmpint (write (fd, "above", 5), ==, 5);
  close (fd);
  after = fsc_test_read (client, path, FSCACHE_SHARED);
  g_assert_cmpstr (after, ==, "above");

  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_PASSED);
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_UNCACHED);
  close (reply.fd);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  fscache_disconnect (client);
  g_assert_no_errno (umount2 (merged, MNT_DETACH));
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  may_mount = fsc_test_enter_namespaces ();

  FSC_TEST_ADD ("/special/fifo", test_fifo);
  FSC_TEST_ADD ("/special/memory-devices", test_memory_devices);
  FSC_TEST_ADD ("/special/socket-file", test_socket_file);
  FSC_TEST_ADD ("/special/terminal", test_terminal);
  FSC_TEST_ADD ("/special/procfs", test_procfs);
  FSC_TEST_ADD ("/special/mount-over", test_mount_over);
  FSC_TEST_ADD ("/special/read-only-mount", test_read_only_mount);
  FSC_TEST_ADD ("/special/overlay", test_overlay);
  return g_test_run ();
}
