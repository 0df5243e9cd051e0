/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A file that is truly expensive to open: on sshfs. It is mounted twice: as everybody has it,
 * through ssh and sshd, but on this machine and without a network, which would only make the
 * difference larger; and from sftp-server directly, which is the least that sshfs can cost.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/bench/mount.h"
#include "tests/bench/view.h"

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

static bool
mount_sshfs (Bench *bench, const char *name, GError **error)
{
  g_autofree char *mount_point = bench_mount_get_path (bench, name);
  g_autofree char *remote = g_strdup_printf ("localhost:%s/files", bench->directory);
  g_autofree char *option = NULL;
  bool is_new;

  if (find_sftp_server () == NULL)
    return fail (error, "sftp-server is not installed");
  if (!bench_mount_claim (bench, name, &is_new, error) || !is_new)
    return *error == NULL;

  option = strcmp (name, BENCH_MOUNT_SSH) == 0 ? configure_ssh (bench, error)
                                               : configure_direct (bench, error);
  if (option == NULL || !bench_make_files (bench, "files", FILES, error))
    return false;

  const char *argv[] = { "sshfs", "-f", "-o", option, remote, mount_point, NULL };

  return bench_mount (bench, name, argv, error);
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

/* Through the view, which is asked for it once before, so that it is cached. */
static bool
set_up_view (BenchRow *row, GError **error)
{
  if (!set_up_open (row, error) || !bench_view_mount (row->bench, error))
    return false;

  Opened *opened = row->state;

  opened->path = bench_view_get_path (row->bench, BENCH_MOUNT_VIEW, opened->path);
  bench_defer (row->bench, g_free, opened->path);
  return true;
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
#define VIEW(Name, Baseline, Parameter)                                                            \
  {                                                                                                \
    .name = Name, .title = "open() of that file through the view, within its time-to-live",        \
    .baseline = Baseline, .handles = 1, .parameter = Parameter, .set_up = set_up_view,             \
    .run = run_open, .after = after_open                                                           \
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
  VIEW ("sshfs-view", "sshfs-open", THROUGH_SSH),
  OPEN ("sftp-open", "open() on sshfs without ssh between, without close()", DIRECT),
  HELD ("sftp-held", "fscache, shared, of that file, within its time-to-live", "sftp-open", 1,
        DIRECT),
  HELD ("sftp-held-64", "the same, 64 files in a batch", "sftp-open", FILES, DIRECT),
  VIEW ("sftp-view", "sftp-open", DIRECT),
  { 0 },
};
