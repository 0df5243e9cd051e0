/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A file that is truly expensive to open: on sshfs. It is mounted twice: as everybody has it,
 * through ssh and sshd, but on this machine and without a network, which would only make the
 * difference larger; and from sftp-server directly, which is the least that sshfs can cost.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/bench/process.h"

#define WAIT_SECONDS 10
#define FILES 64

enum
{
  THROUGH_SSH,
  DIRECT,
};

typedef struct
{
  char *path;
  int fd;
} Opened;

typedef struct
{
  BenchProcess sshfs;
  char *mount_point;
  char *log; /* a file */
} Mount;

static void
free_mount (void *data)
{
  Mount *mount = data;

  bench_process_stop (&mount->sshfs); /* unmounts */
  bench_unmount (mount->mount_point);
  g_free (mount->mount_point);
  g_free (mount->log);
  g_free (mount);
}

static const char *
find_program (const char *const *candidates)
{
  for (; *candidates != NULL; candidates++)
    if (access (*candidates, X_OK) == 0)
      return *candidates;
  return NULL;
}

static const char *
find_sftp_server (void)
{
  return find_program (
      (const char *[]){ "/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server",
                        "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server", NULL });
}

static bool
fail (GError **error, const char *why)
{
  g_set_error (error, BENCH_ERROR,
               bench_is_interrupted () ? BENCH_ERROR_INTERRUPTED : BENCH_ERROR_UNAVAILABLE,
               "cannot mount sshfs: %s", why);
  return false;
}

static bool
fail_with_log (Mount *mount, GError **error, const char *how)
{
  g_autofree char *log = NULL;

  g_file_get_contents (mount->log, &log, NULL, NULL);
  return fail (error, log != NULL && *log != '\0' ? g_strchomp (log) : how);
}

static bool
is_mounted (Bench *bench, const char *mount_point)
{
  struct stat outside, inside;

  return stat (bench->directory, &outside) == 0 && stat (mount_point, &inside) == 0
         && inside.st_dev != outside.st_dev;
}

static bool
wait_until_mounted (Bench *bench, Mount *mount, GError **error)
{
  int64_t deadline = bench_now () + WAIT_SECONDS * INT64_C (1000000000);

  while (!bench_is_interrupted () && bench_now () < deadline)
    {
      g_autofree char *how = NULL;

      if (is_mounted (bench, mount->mount_point))
        return true;
      if (bench_process_has_ended (&mount->sshfs, &how))
        return fail_with_log (mount, error, how);
      g_usleep (10000);
    }
  return fail_with_log (mount, error, "it does not appear");
}

/* Instead of ssh, a script that ignores what ssh would be told, and is the server. Returns sshfs's
 * option; new. */
static char *
configure_direct (Bench *bench, GError **error)
{
  g_autofree char *script = g_build_filename (bench->directory, "sftp", NULL);
  g_autofree char *text = g_strdup_printf ("exec %s\n", find_sftp_server ());

  if (!g_file_set_contents (script, text, -1, error))
    return NULL;
  return g_strdup_printf ("ssh_command=/bin/sh %s", script);
}

static bool
make_key (const char *path, GError **error)
{
  const char *argv[] = { "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, NULL };
  int status;

  return g_spawn_sync (NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                       &status, error)
         && g_spawn_check_wait_status (status, error);
}

/* An sshd that nobody else can reach: ssh starts it as its proxy, at the other end of a pipe. Keys
 * are made for it, and nobody's configuration is read. */
static char *
configure_ssh (Bench *bench, GError **error)
{
  const char *sshd = find_program ((const char *[]){ "/usr/sbin/sshd", "/usr/bin/sshd", NULL });
  const char *directory = bench->directory;
  g_autofree char *host_key = g_build_filename (directory, "host-key", NULL);
  g_autofree char *key = g_build_filename (directory, "key", NULL);
  g_autofree char *config = g_build_filename (directory, "ssh.conf", NULL);
  g_autofree char *text = g_strdup_printf (
      "Host *\n"
      "ProxyCommand %s -i -f /dev/null -h %s/host-key -o AuthorizedKeysFile=%s/key.pub"
      " -o StrictModes=no -o UsePAM=no -o PermitRootLogin=yes -o PidFile=none -o LogLevel=QUIET"
      " -o Subsystem=\"sftp %s\"\n"
      "IdentityFile %s/key\n"
      "IdentitiesOnly yes\n"
      "BatchMode yes\n"
      "StrictHostKeyChecking no\n"
      "UserKnownHostsFile /dev/null\n"
      "LogLevel ERROR\n",
      sshd, directory, directory, find_sftp_server (), directory);

  if (sshd == NULL)
    fail (error, "sshd is not installed");
  else if (make_key (host_key, error) && make_key (key, error)
           && g_file_set_contents (config, text, -1, error))
    return g_strdup_printf ("ssh_command=ssh -F %s", config);
  return NULL;
}

/* Each is mounted once, for all rows. */
static bool
mount_sshfs (Bench *bench, const char *name, GError **error)
{
  g_autofree char *mount_point = g_build_filename (bench->directory, name, NULL);
  g_autofree char *remote = g_strdup_printf ("localhost:%s/files", bench->directory);
  g_autofree char *option = NULL;

  if (find_sftp_server () == NULL)
    return fail (error, "sftp-server is not installed");
  if (g_mkdir (mount_point, 0700) < 0)
    return is_mounted (bench, mount_point) || fail (error, "tried before, in vain");

  option = strcmp (name, BENCH_MOUNT_SSH) == 0 ? configure_ssh (bench, error)
                                               : configure_direct (bench, error);
  if (option == NULL || !bench_make_files (bench, "files", FILES, error))
    return false;

  Mount *mount = g_new0 (Mount, 1);
  const char *argv[] = { "sshfs", "-f", "-o", option, remote, mount_point, NULL };

  mount->log = g_strdup_printf ("%s.log", mount_point);
  mount->mount_point = g_strdup (mount_point);
  bench_defer (bench, free_mount, mount);

  int log = open (mount->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  bool is_started = bench_process_start (&mount->sshfs, argv, NULL, log, 0, error);

  close (log);
  return is_started && wait_until_mounted (bench, mount, error);
}

static const char *
get_mount_name (const BenchRow *row)
{
  return row->spec->parameter == THROUGH_SSH ? BENCH_MOUNT_SSH : BENCH_MOUNT_DIRECT;
}

/* These rows time what opens and not close(): that is the same system call on the same kind of
 * descriptor whoever opened it, and each asks the server once (FLUSH). */

static bool
set_up_open (BenchRow *row, GError **error)
{
  if (!mount_sshfs (row->bench, get_mount_name (row), error))
    return false;

  Opened *opened = g_new0 (Opened, 1);

  opened->path = bench_get_file (row->bench, get_mount_name (row), 0);
  row->state = opened;
  bench_defer (row->bench, g_free, opened);
  bench_defer (row->bench, g_free, opened->path);
  return true;
}

static bool
run_open (BenchRow *row, GError **error)
{
  Opened *opened = row->state;

  opened->fd = open (opened->path, O_RDONLY | O_CLOEXEC);
  if (opened->fd < 0)
    g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "open: %s", g_strerror (errno));
  return opened->fd >= 0;
}

static void
after_open (BenchRow *row)
{
  close (((Opened *) row->state)->fd);
}

static bool
set_up_held (BenchRow *row, GError **error)
{
  static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };
  Bench *bench = row->bench;
  BenchService *service = bench_service_get_main (bench, 0, error);
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);

  if (service == NULL || !mount_sshfs (bench, get_mount_name (row), error))
    return false;
  for (unsigned i = 0; i < row->spec->handles; i++)
    g_ptr_array_add (paths, bench_get_file (bench, get_mount_name (row), i));
  row->state = bench_client_new_for_paths (bench, service, (const char *const *) paths->pdata,
                                           paths->len, &shared, error);
  return row->state != NULL
         && bench_client_open_many (row->state, 0, paths->len, FSCACHE_SOURCE_NONE, error);
}

/* Outside of what is timed: a time-to-live that ends during the slice would measure a check. */
static bool
prepare_held (BenchRow *row, GError **error)
{
  return bench_client_open_many (row->state, 0, row->spec->handles, FSCACHE_SOURCE_NONE, error);
}

static bool
run_held (BenchRow *row, GError **error)
{
  return bench_client_get (row->state, row->spec->handles, FSCACHE_SOURCE_CACHE, error);
}

static void
after_held (BenchRow *row)
{
  bench_client_close (row->state, row->spec->handles);
}

#define OPEN(Name, Title, Parameter)                                                               \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = "open", .handles = 1, .parameter = Parameter,        \
    .set_up = set_up_open, .run = run_open, .after = after_open                                    \
  }
#define HELD(Name, Title, Baseline, Handles, Parameter)                                            \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = Handles,                        \
    .parameter = Parameter, .set_up = set_up_held, .prepare = prepare_held, .run = run_held,       \
    .after = after_held                                                                            \
  }

const BenchRowSpec bench_rows_sshfs[] = {
  OPEN ("sshfs-open", "open() on sshfs, without close()", THROUGH_SSH),
  HELD ("sshfs-held", "fscache, shared, of that file, within its time-to-live", "sshfs-open", 1,
        THROUGH_SSH),
  HELD ("sshfs-held-64", "the same, 64 files in a batch", "sshfs-open", FILES, THROUGH_SSH),
  OPEN ("sftp-open", "open() on sshfs without ssh between, without close()", DIRECT),
  HELD ("sftp-held", "fscache, shared, of that file, within its time-to-live", "sftp-open", 1,
        DIRECT),
  HELD ("sftp-held-64", "the same, 64 files in a batch", "sftp-open", FILES, DIRECT),
  { 0 },
};
