/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What rows mount; see mount.h.
 */
#include "tests/bench/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/process.h"

#define WAIT_SECONDS 10

typedef struct
{
  BenchProcess server;
  char *path;
  char *log; /* a file */
} Mount;

/* What lies on another comes first. */
static const char *const names[] = {
  BENCH_MOUNT_VIEW,      BENCH_MOUNT_VIEW_PAGES, BENCH_MOUNT_BARE,   BENCH_MOUNT_BARE_PASS,
  BENCH_MOUNT_BARE_KEPT, BENCH_MOUNT_EMPTY,      BENCH_MOUNT_SINGLE, BENCH_MOUNT_SSH,
  BENCH_MOUNT_DIRECT,    BENCH_MOUNT_MEMORY,
};

char *
bench_mount_get_path (const Bench *bench, const char *name)
{
  return g_build_filename (bench->directory, name, NULL);
}

void
bench_unmount (const char *mount_point)
{
  if (umount2 (mount_point, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno != EPERM)
    return;

  BenchProcess fusermount;
  const char *argv[] = { "fusermount3", "-q", "-u", "-z", mount_point, NULL };

  if (bench_process_start (&fusermount, argv, NULL, -1, 0, NULL))
    {
      g_autofree char *how = NULL;

      while (!bench_process_has_ended (&fusermount, &how))
        g_usleep (10000);
    }
}

void
bench_unmount_all (const char *directory)
{
  for (unsigned i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = g_build_filename (directory, names[i], NULL);

      bench_unmount (path);
    }
}

static void
free_mount (void *data)
{
  Mount *mount = data;

  bench_process_stop (&mount->server); /* unmounts */
  bench_unmount (mount->path);
  g_free (mount->path);
  g_free (mount->log);
  g_free (mount);
}

static bool
fail (const Mount *mount, const char *how, GError **error)
{
  g_autofree char *log = NULL;

  g_file_get_contents (mount->log, &log, NULL, NULL);
  g_set_error (error, BENCH_ERROR,
               bench_is_interrupted () ? BENCH_ERROR_INTERRUPTED : BENCH_ERROR_UNAVAILABLE,
               "cannot mount: %s", log != NULL && *log != '\0' ? g_strchomp (log) : how);
  return false;
}

static bool
is_mounted (const Bench *bench, const char *path)
{
  struct stat outside, inside;

  return stat (bench->directory, &outside) == 0 && stat (path, &inside) == 0
         && inside.st_dev != outside.st_dev;
}

static bool
wait_until_mounted (Bench *bench, Mount *mount, GError **error)
{
  int64_t deadline = bench_now () + WAIT_SECONDS * INT64_C (1000000000);

  while (!bench_is_interrupted () && bench_now () < deadline)
    {
      g_autofree char *how = NULL;

      if (is_mounted (bench, mount->path))
        return true;
      if (bench_process_has_ended (&mount->server, &how))
        return fail (mount, how, error);
      g_usleep (10000);
    }
  return fail (mount, "it does not appear", error);
}

bool
bench_mount_claim (Bench *bench, const char *name, bool *is_new, GError **error)
{
  g_autofree char *path = bench_mount_get_path (bench, name);

  *is_new = g_mkdir (path, 0700) == 0;
  if (*is_new || is_mounted (bench, path))
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "cannot mount: tried before, in vain");
  return false;
}

bool
bench_mount (Bench *bench, const char *name, const char *const *argv, GError **error)
{
  Mount *mount = g_new0 (Mount, 1);

  mount->path = bench_mount_get_path (bench, name);
  mount->log = g_strdup_printf ("%s.log", mount->path);
  bench_defer (bench, free_mount, mount);

  int log = open (mount->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  bool is_started = bench_process_start (&mount->server, argv, NULL, log, 0, error);

  close (log);
  return is_started && wait_until_mounted (bench, mount, error);
}
