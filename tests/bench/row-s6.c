/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * s6-fdholder-daemon, the nearest relative: holds descriptors under names and hands out duplicates.
 * One is stored at the start; an operation is s6_fdholder_retrieve() of libs6, and close(); or to
 * delete it and store it again.
 */
#include "tests/bench/bench.h"

#include "bench-config.h"

#ifdef HAVE_S6

#include <errno.h>
#include <fcntl.h>
#include <s6/fdholder.h>
#include <skalibs/tai.h>
#include <unistd.h>

#include "tests/bench/process.h"

#define ID "file"

typedef struct
{
  BenchProcess daemon;
  s6_fdholder_t holder;
  bool is_connected;
  int fd;        /* what is stored */
  tain deadline; /* never */
} S6;

static void
free_s6 (void *data)
{
  S6 *s6 = data;

  if (s6->is_connected)
    s6_fdholder_end (&s6->holder);
  if (s6->fd >= 0)
    close (s6->fd);
  bench_process_stop (&s6->daemon);
  g_free (s6);
}

/* Without rules the daemon lets nobody do anything: this lets our user store and retrieve. */
static bool
write_rules (const char *rules, GError **error)
{
  g_autofree char *user = g_strdup_printf ("%s/uid/%u", rules, (unsigned) getuid ());
  g_autofree char *environment = g_build_filename (user, "env", NULL);
  g_autofree char *allow = g_build_filename (user, "allow", NULL);
  g_autofree char *store = g_build_filename (environment, "S6_FDHOLDER_STORE_REGEX", NULL);
  g_autofree char *retrieve = g_build_filename (environment, "S6_FDHOLDER_RETRIEVE_REGEX", NULL);

  g_mkdir_with_parents (environment, 0700);
  return g_file_set_contents (allow, "", 0, error) && g_file_set_contents (store, ".*", -1, error)
         && g_file_set_contents (retrieve, ".*", -1, error);
}

static bool
fail (GError **error, const char *what)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "s6-fdholder-daemon: %s: %s", what,
               g_strerror (errno));
  return false;
}

static bool
connect_holder (S6 *s6, const char *path, GError **error)
{
  tain_now_g ();
  tain_add_g (&s6->deadline, &tain_infinite_relative);
  for (int i = 0; i < 200 && !s6->is_connected; i++)
    {
      s6->is_connected = s6_fdholder_start_g (&s6->holder, path, &s6->deadline);
      if (!s6->is_connected)
        g_usleep (10000);
    }
  return s6->is_connected || fail (error, "cannot connect");
}

static bool
store_file (S6 *s6, const char *path, GError **error)
{
  s6->fd = open (path, O_RDONLY | O_CLOEXEC);
  return (s6->fd >= 0
          && s6_fdholder_store_g (&s6->holder, s6->fd, ID, &s6->deadline, &s6->deadline))
         || fail (error, "cannot store a descriptor");
}

static bool
set_up_s6 (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  g_autofree char *path = g_build_filename (bench->directory, row->spec->name, NULL);
  g_autofree char *rules = g_build_filename (bench->directory, "s6-rules", NULL);
  g_autofree char *file = bench_get_file (bench, "files", 0);
  const char *argv[] = { "s6-fdholder-daemon", "-i", rules, path, NULL };
  BenchProcess daemon;

  if (!bench_make_files (bench, "files", 1, error) || !write_rules (rules, error)
      || !bench_process_start (&daemon, argv, NULL, -1, 0, error))
    return false;

  S6 *s6 = g_new0 (S6, 1);

  s6->daemon = daemon;
  s6->fd = -1;
  row->state = s6;
  bench_defer (bench, free_s6, s6);
  return connect_holder (s6, path, error) && store_file (s6, file, error);
}

static bool
run_s6 (BenchRow *row, GError **error)
{
  S6 *s6 = row->state;
  int fd = s6_fdholder_retrieve_g (&s6->holder, ID, &s6->deadline);

  return (fd >= 0 && close (fd) == 0) || fail (error, "cannot retrieve");
}

static bool
run_store (BenchRow *row, GError **error)
{
  S6 *s6 = row->state;

  return (s6_fdholder_delete_g (&s6->holder, ID, &s6->deadline)
          && s6_fdholder_store_g (&s6->holder, s6->fd, ID, &s6->deadline, &s6->deadline))
         || fail (error, "cannot delete and store");
}

#else

static bool
set_up_s6 (BenchRow *row, GError **error)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE,
               "built without libs6 (packages libs6-dev, skalibs-dev, libexecline-dev)");
  return false;
}

#define run_s6 NULL
#define run_store NULL

#endif

const BenchRowSpec bench_rows_s6[] = {
  { .name = "s6-fdholder",
    .title = "s6-fdholder-daemon, through libs6",
    .baseline = "floor",
    .handles = 1,
    .set_up = set_up_s6,
    .run = run_s6 },
  { .name = "s6-store",
    .title = "s6-fdholder-daemon: delete, and store again",
    .baseline = "floor",
    .handles = 1,
    .set_up = set_up_s6,
    .run = run_store },
  { 0 },
};
