/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Files through the view: what a program notices that knows nothing of fscache. Each operation is
 * measured on the file itself, through the view by passthrough and through the page cache, and
 * through the barest file system that FUSE allows in both ways (bare-fuse.c). Everything is warm.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/mount.h"
#include "tests/bench/view.h"

#define MIB (1 << 20)
#define FILE_SIZE (64 * MIB) /* too large for the caches of a processor, in one copy as in five */
#define CHUNK (128 * 1024)   /* of sequential reads: what cp and cat take */
#define N_CHUNKS 32          /* read in one operation */
#define PAGE 4096
#define N_PAGES 256 /* read in one operation */
#define N_STATS 100 /* the same */
#define N_ENTRIES 10000

typedef enum
{
  NATIVE,
  VIEW_PASS,
  VIEW_PAGES,
  BARE_PASS,
  BARE_KEPT,
  BARE_PAGES,
  BARE_EMPTY,
  BARE_SINGLE,
} Place;

typedef struct
{
  char *path;
  int fd; /* -1: the row opens by itself */
  off_t offset;
  uint64_t random;
  unsigned n; /* entries of the folder */
  char buffer[CHUNK];
} Through;

static bool
fail (GError **error, const char *what)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s: %s", what, g_strerror (errno));
  return false;
}

static void
free_through (void *data)
{
  Through *self = data;

  if (self->fd >= 0)
    close (self->fd);
  g_free (self->path);
  g_free (self);
}

/* The name by which a file is reached at a place, which is mounted; new, or NULL. */
static char *
reach (Bench *bench, Place place, const char *path, GError **error)
{
  static const char *const names[]
      = { [VIEW_PASS] = BENCH_MOUNT_VIEW,      [VIEW_PAGES] = BENCH_MOUNT_VIEW_PAGES,
          [BARE_PASS] = BENCH_MOUNT_BARE_PASS, [BARE_KEPT] = BENCH_MOUNT_BARE_KEPT,
          [BARE_PAGES] = BENCH_MOUNT_BARE,     [BARE_EMPTY] = BENCH_MOUNT_EMPTY,
          [BARE_SINGLE] = BENCH_MOUNT_SINGLE };
  const char *name = names[place];
  bool is_there = true;

  switch (place)
    {
    case NATIVE:
      return g_strdup (path);
    case VIEW_PASS:
      is_there = bench_view_has_passthrough (bench, error);
      break;
    case VIEW_PAGES:
      is_there = bench_view_mount_pages (bench, error);
      break;
    case BARE_PASS:
      is_there = bench_view_has_passthrough (bench, error)
                 && bench_view_mount_bare (bench, name, "passthrough", error);
      break;
    case BARE_KEPT:
      is_there = bench_view_has_passthrough (bench, error)
                 && bench_view_mount_bare (bench, name, "kept", error);
      break;
    case BARE_PAGES:
      is_there = bench_view_mount_bare (bench, name, "plain", error);
      break;
    case BARE_EMPTY:
      is_there = bench_view_mount_bare (bench, name, "empty", error);
      break;
    case BARE_SINGLE:
      is_there = bench_view_mount_bare (bench, name, "single", error);
      break;
    }
  if (!is_there)
    return NULL;

  return place == VIEW_PASS || place == VIEW_PAGES
             ? bench_view_get_path (bench, name, path)
             : g_strdup_printf ("%s/%s%s", bench->directory, name, path);
}

static bool
set_up (BenchRow *row, const char *path, GError **error)
{
  Through *self = g_new0 (Through, 1);

  self->fd = -1;
  self->random = BENCH_RANDOM_SEED;
  row->state = self;
  bench_defer (row->bench, free_through, self);
  self->path = reach (row->bench, row->spec->parameter, path, error);
  return self->path != NULL;
}

/* Reading */

static bool
run_sequential (BenchRow *row, GError **error)
{
  Through *self = row->state;

  for (unsigned i = 0; i < N_CHUNKS; i++)
    {
      if (pread (self->fd, self->buffer, CHUNK, self->offset) != CHUNK)
        return fail (error, self->path);
      self->offset = (self->offset + CHUNK) % FILE_SIZE;
    }
  return true;
}

static bool
run_random (BenchRow *row, GError **error)
{
  Through *self = row->state;

  for (unsigned i = 0; i < N_PAGES; i++)
    {
      off_t page = (off_t) (bench_random (&self->random) % (FILE_SIZE / PAGE));

      if (pread (self->fd, self->buffer, PAGE, page * PAGE) != PAGE)
        return fail (error, self->path);
    }
  return true;
}

static bool
make_large_file (const char *path, GError **error)
{
  g_autofree char *content = g_malloc0 (FILE_SIZE);

  return access (path, F_OK) == 0
         || g_file_set_contents_full (path, content, FILE_SIZE, G_FILE_SET_CONTENTS_NONE, 0600,
                                      error);
}

static bool
set_up_read (BenchRow *row, GError **error)
{
  g_autofree char *path = g_build_filename (row->bench->directory, "large", NULL);

  if (!make_large_file (path, error) || !set_up (row, path, error))
    return false;

  Through *self = row->state;

  self->fd = open (self->path, O_RDONLY | O_CLOEXEC);
  if (self->fd < 0)
    return fail (error, self->path);
  do /* so that it is warm */
    if (!run_sequential (row, error))
      return false;
  while (self->offset != 0);
  return true;
}

/* Opening, stat, listing */

static bool
set_up_small (BenchRow *row, GError **error)
{
  g_autofree char *path = bench_get_file (row->bench, "files", 0);

  return bench_make_files (row->bench, "files", 1, error) && set_up (row, path, error);
}

static bool
run_open (BenchRow *row, GError **error)
{
  Through *self = row->state;
  int fd = open (self->path, O_RDONLY | O_CLOEXEC);

  return (fd >= 0 && close (fd) == 0) || fail (error, self->path);
}

static bool
run_stat (BenchRow *row, GError **error)
{
  Through *self = row->state;
  struct stat st;

  for (unsigned i = 0; i < N_STATS; i++)
    if (stat (self->path, &st) < 0)
      return fail (error, self->path);
  return true;
}

static bool
set_up_list (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  g_autofree char *path = g_build_filename (bench->directory, "listed", NULL);
  unsigned n = bench_scale (bench, N_ENTRIES);

  if (!bench_make_files (bench, "listed", n, error) || !set_up (row, path, error))
    return false;
  ((Through *) row->state)->n = n;
  return true;
}

static bool
run_list (BenchRow *row, GError **error)
{
  Through *self = row->state;
  DIR *folder = opendir (self->path);
  unsigned n = 0;

  if (folder == NULL)
    return fail (error, self->path);
  for (const struct dirent *entry; (entry = readdir (folder)) != NULL;)
    n += entry->d_name[0] != '.';
  closedir (folder);
  if (n == self->n)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s has %u entries, not %u", self->path, n,
               self->n);
  return false;
}

#define ROW(Name, Title, Baseline, Place, Handles, Set_up, Run)                                    \
  {                                                                                                \
    .name = Name, .title = Title, .baseline = Baseline, .handles = Handles, .parameter = Place,    \
    .set_up = Set_up, .run = Run                                                                   \
  }

/* The same operation everywhere. Ratios to bare-fuse are among the targets. */
#define ROWS(Name, Title, Handles, Set_up, Run)                                                    \
  ROW (Name "-native", Title, NULL, NATIVE, Handles, Set_up, Run),                                 \
      ROW (Name "-bare-pass", "the same through bare-fuse, by passthrough", Name "-native",        \
           BARE_PASS, Handles, Set_up, Run),                                                       \
      ROW (Name "-bare", "the same through bare-fuse", Name "-native", BARE_PAGES, Handles,        \
           Set_up, Run),                                                                           \
      ROW (Name "-pass", "the same through the view, by passthrough", Name "-native", VIEW_PASS,   \
           Handles, Set_up, Run),                                                                  \
      ROW (Name, "the same through the view, without passthrough", Name "-native", VIEW_PAGES,     \
           Handles, Set_up, Run)

const BenchRowSpec bench_rows_view[] = {
  ROWS ("view-read", "pread() of the next 128 KiB of 64 MiB", N_CHUNKS, set_up_read,
        run_sequential),
  ROWS ("view-random", "pread() of 4 KiB anywhere in them", N_PAGES, set_up_read, run_random),
  ROW ("view-open-empty", "open() and close() of a FUSE file, which do nothing", NULL, BARE_EMPTY,
       1, set_up_small, run_open),
  ROW ("view-open-single", "the same with a single thread", "view-open-empty", BARE_SINGLE, 1,
       set_up_small, run_open),
  ROW ("view-open-kept", "an empty one with a backing file that stays, for passthrough",
       "view-open-empty", BARE_KEPT, 1, set_up_small, run_open),
  ROWS ("view-open", "open() and close()", 1, set_up_small, run_open),
  ROWS ("view-stat", "stat()", N_STATS, set_up_small, run_stat),
  ROWS ("view-list", "listing a folder of 10,000", 1, set_up_list, run_list),
  { 0 },
};
