/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One file, and all that can be done to it through the view, at random: read, written, mapped,
 * truncated, appended to, allocated, copied, opened again; now and then changed beside the view.
 * After each step the source and the view have what a model in memory says.
 *
 * --seed repeats what was done; FSC_TEST_SCALE=20000 takes 200 times as long.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/process.h"
#include "tests/view/stage.h"

#define MOMENT_MS 1200 /* for each of the ways to mount */
#define LIMIT (200 * 1024)
#define PIECE_MAX (40 * 1024)
#define STORY 60      /* steps that are told when something is wrong */
#define BOUND_MS 1000 /* of what takes a moment when the machine has nothing else to do */

typedef struct
{
  FscTestStage *stage;
  GRand *random;
  char *source, *through;
  gboolean is_exact;
  GQueue story; /* of char * */

  guint8 model[LIMIT];
  off_t size;
  int direct; /* the source */
  int fd;     /* through the view */
  int flags;
  int reader; /* one more, for reading; or -1 */
} Run;

static void tell (Run *run, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
tell (Run *run, const char *format, ...)
{
  va_list arguments;

  va_start (arguments, format);
  g_queue_push_tail (&run->story, g_strdup_vprintf (format, arguments));
  va_end (arguments);
  if (run->story.length > STORY)
    g_free (g_queue_pop_head (&run->story));
}

static void
assert_right (Run *run, gboolean is_right, const char *what)
{
  if (is_right)
    return;
  for (GList *link = run->story.head; link != NULL; link = link->next)
    g_test_message ("%s", (const char *) link->data);
  g_error ("%s (errno: %s)", what, g_strerror (errno));
}

static off_t
draw (Run *run, off_t below)
{
  return below > 0 ? g_rand_int_range (run->random, 0, (gint32) below) : 0;
}

/* What is written next. */
static guint8 *
draw_content (Run *run, off_t length)
{
  guint8 *content = g_malloc ((gsize) length + 1);

  for (off_t i = 0; i < length; i++)
    content[i] = (guint8) (g_rand_int (run->random) | 1); /* and no zero */
  return content;
}

/* The model */

static void
set_size (Run *run, off_t size)
{
  if (size > run->size)
    memset (run->model + run->size, 0, (gsize) (size - run->size));
  run->size = size;
}

static void
put (Run *run, off_t offset, const guint8 *content, off_t length)
{
  set_size (run, MAX (run->size, offset));
  memcpy (run->model + offset, content, (gsize) length);
  run->size = MAX (run->size, offset + length);
}

/* Whether this descriptor, or a map of it, has what the model says. */
static gboolean
has_content (Run *run, int fd, const char *what)
{
  g_autofree guint8 *content = g_malloc (LIMIT + 1);
  ssize_t length = pread (fd, content, LIMIT + 1, 0);

  if (length == run->size && memcmp (content, run->model, (gsize) length) == 0)
    return TRUE;
  tell (run, "%s has %zd bytes and not %jd", what, length, (intmax_t) run->size);
  for (off_t i = 0; i < MIN (length, run->size); i++)
    if (content[i] != run->model[i])
      {
        tell (run, "%s differs from %jd on: %u and not %u", what, (intmax_t) i, content[i],
              run->model[i]);
        break;
      }
  return FALSE;
}

static void
check (Run *run)
{
  struct stat st;

  assert_right (run, has_content (run, run->direct, "source"), "The source");
  if ((run->flags & O_ACCMODE) != O_WRONLY)
    assert_right (run, has_content (run, run->fd, "view"), "The view");
  if (run->reader >= 0)
    assert_right (run, has_content (run, run->reader, "reader"), "Another reader");
  assert_right (run, fstat (run->fd, &st) == 0 && st.st_size == run->size, "The size");
}

/* Steps through the view */

static void
open_again (Run *run)
{
  static const int all[]
      = { O_RDWR, O_RDWR, O_RDWR, O_RDWR | O_APPEND, O_RDONLY, O_WRONLY, O_RDWR | O_TRUNC };
  int flags = all[draw (run, G_N_ELEMENTS (all))];

  tell (run, "open %#o", flags);
  if (run->fd >= 0)
    close (run->fd);
  run->fd = open (run->through, flags | O_CLOEXEC);
  assert_right (run, run->fd >= 0, "open()");
  run->flags = flags;
  if ((flags & O_TRUNC) != 0)
    set_size (run, 0);
}

static void
open_reader (Run *run)
{
  tell (run, run->reader < 0 ? "open a reader" : "close the reader");
  if (run->reader >= 0)
    close (run->reader);
  run->reader = run->reader < 0 ? open (run->through, O_RDONLY | O_CLOEXEC) : -1;
}

static gboolean
is_writable (const Run *run)
{
  return (run->flags & O_ACCMODE) != O_RDONLY;
}

static void
read_piece (Run *run)
{
  guint8 content[PIECE_MAX];
  off_t offset = draw (run, LIMIT), length = draw (run, PIECE_MAX);
  off_t expected = CLAMP (run->size - offset, 0, length);

  tell (run, "read %jd at %jd", (intmax_t) length, (intmax_t) offset);
  if ((run->flags & O_ACCMODE) == O_WRONLY)
    return;
  assert_right (run, pread (run->fd, content, (gsize) length, offset) == expected, "pread()");
  assert_right (run, memcmp (content, run->model + offset, (gsize) expected) == 0, "What is read");
}

static void
write_piece (Run *run)
{
  off_t length = draw (run, PIECE_MAX), offset = draw (run, LIMIT - length);
  g_autofree guint8 *content = draw_content (run, length);
  gboolean appends = (run->flags & O_APPEND) != 0;

  if (!is_writable (run) || (appends && run->size + length > LIMIT) || length == 0)
    return;
  if (appends)
    offset = run->size;
  tell (run, "write %jd at %jd", (intmax_t) length, (intmax_t) offset);
  assert_right (run, pwrite (run->fd, content, (gsize) length, offset) == length, "pwrite()");
  put (run, offset, content, length);
}

static void
truncate_file (Run *run)
{
  off_t size = draw (run, LIMIT);
  gboolean by_name = !is_writable (run) || draw (run, 3) == 0;

  tell (run, "truncate to %jd%s", (intmax_t) size, by_name ? " by name" : "");
  assert_right (run, (by_name ? truncate (run->through, size) : ftruncate (run->fd, size)) == 0,
                "truncate()");
  set_size (run, size);
}

/* A page or more of it, if it can be had. */
static void
map_file (Run *run)
{
  off_t page = sysconf (_SC_PAGESIZE), offset = draw (run, run->size) / page * page;
  off_t length = 1 + draw (run, PIECE_MAX), begin, n;
  gboolean writes = (run->flags & O_ACCMODE) == O_RDWR && draw (run, 2) == 0;
  g_autofree guint8 *content = NULL;
  guint8 *map;

  length = MIN (length, run->size - offset);
  if (length <= 0 || (run->flags & O_ACCMODE) == O_WRONLY)
    return;
  tell (run, "map %jd at %jd%s", (intmax_t) length, (intmax_t) offset, writes ? " to write" : "");
  map = mmap (NULL, (gsize) length, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
              run->fd, offset);
  if (map == MAP_FAILED)
    {
      /* What is appended goes past the page cache. */
      assert_right (run, errno == ENODEV && (run->flags & O_APPEND) != 0, "mmap()");
      tell (run, "it cannot be mapped");
      return;
    }
  assert_right (run, memcmp (map, run->model + offset, (gsize) length) == 0, "What is mapped");
  if (writes)
    {
      begin = draw (run, length);
      n = draw (run, length - begin);
      content = draw_content (run, n);
      memcpy (map + begin, content, (gsize) n);
      assert_right (run, msync (map, (gsize) length, MS_SYNC) == 0, "msync()");
      put (run, offset + begin, content, n);
    }
  munmap (map, (gsize) length);
}

static void
allocate (Run *run)
{
  static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
                               FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
  int mode = modes[draw (run, G_N_ELEMENTS (modes))];
  off_t length = 1 + draw (run, PIECE_MAX - 1), offset = draw (run, LIMIT - length);

  if (!is_writable (run))
    return;
  tell (run, "fallocate %#x, %jd at %jd", (guint) mode, (intmax_t) length, (intmax_t) offset);
  if (fallocate (run->fd, mode, offset, length) < 0)
    {
      int error = errno;

      /* As the source says. */
      assert_right (run, fallocate (run->direct, mode, offset, length) < 0 && errno == error,
                    "fallocate()");
      return;
    }
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0)
    set_size (run, MAX (run->size, offset + length));
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0 && offset < run->size)
    memset (run->model + offset, 0, (gsize) MIN (length, run->size - offset));
}

static void
copy_range (Run *run)
{
  off_t length = draw (run, PIECE_MAX), from = draw (run, run->size);
  off_t to = draw (run, LIMIT - length);
  g_autofree guint8 *content = NULL;
  int in = run->reader >= 0 ? run->reader : run->fd;

  length = MIN (length, run->size - from);
  if ((run->flags & (O_ACCMODE | O_APPEND)) != O_RDWR || length == 0
      || (from < to + length && to < from + length)) /* nor may they overlap */
    return;
  tell (run, "copy %jd from %jd to %jd", (intmax_t) length, (intmax_t) from, (intmax_t) to);
  content = g_memdup2 (run->model + from, (gsize) length);
  put (run, to, content, length);
  while (length > 0)
    {
      ssize_t n = copy_file_range (in, &from, run->fd, &to, (gsize) length, 0);

      assert_right (run, n > 0, "copy_file_range()");
      length -= n;
    }
}

static void
seek (Run *run)
{
  off_t offset = draw (run, LIMIT);
  int whence = draw (run, 2) == 0 ? SEEK_DATA : SEEK_HOLE, error;
  off_t expected = lseek (run->direct, offset, whence), found;

  error = expected < 0 ? errno : 0;
  tell (run, "%s from %jd", whence == SEEK_DATA ? "data" : "hole", (intmax_t) offset);
  found = lseek (run->fd, offset, whence);
  assert_right (run, found == expected && (found >= 0 || errno == error), "lseek()");
}

static void
synchronize (Run *run)
{
  tell (run, "fsync");
  assert_right (run, (draw (run, 2) == 0 ? fsync (run->fd) : fdatasync (run->fd)) == 0, "fsync()");
}

/* Steps beside it: the next open has them. */

static void
change_in_place (Run *run)
{
  off_t length = draw (run, PIECE_MAX), offset = draw (run, LIMIT - length);
  g_autofree guint8 *content = draw_content (run, length);

  if (draw (run, 2) == 0)
    {
      tell (run, "the source is truncated to %jd", (intmax_t) offset);
      assert_right (run, ftruncate (run->direct, offset) == 0, "ftruncate()");
      set_size (run, offset);
    }
  tell (run, "%jd are written to the source at %jd", (intmax_t) length, (intmax_t) offset);
  assert_right (run, pwrite (run->direct, content, (gsize) length, offset) == length, "pwrite()");
  if (length > 0)
    put (run, offset, content, length);
}

static void
replace (Run *run)
{
  g_autofree char *new = g_strconcat (run->source, ".new", NULL);
  off_t size = draw (run, LIMIT);
  g_autofree guint8 *content = draw_content (run, size);

  tell (run, "the source is replaced by one of %jd", (intmax_t) size);
  close (run->direct);
  run->direct = open (new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  assert_right (run, pwrite (run->direct, content, (gsize) size, 0) == size, "pwrite()");
  assert_right (run, rename (new, run->source) == 0, "rename()");
  set_size (run, 0);
  put (run, 0, content, size);
}

static void
change_source (Run *run)
{
  gboolean is_replaced = draw (run, 2) == 0;
  gint64 until = g_get_monotonic_time () + BOUND_MS * 1000;

  close (run->fd);
  run->fd = -1;
  if (run->reader >= 0)
    open_reader (run);
  if (is_replaced)
    replace (run);
  else
    change_in_place (run);
  for (;;)
    {
      int fd = open (run->through, O_RDONLY | O_CLOEXEC);
      gboolean is_right;

      assert_right (run, fd >= 0, "open()");
      is_right = has_content (run, fd, "what is opened again");
      close (fd);
      if (is_right)
        break;
      assert_right (run, is_replaced && !run->is_exact && g_get_monotonic_time () < until,
                    "What has changed");
    }
  open_again (run);
}

static void
step (Run *run)
{
  static void (*const steps[]) (Run *)
      = { read_piece, read_piece,  write_piece, write_piece, write_piece, map_file,
          map_file,   map_file,    allocate,    copy_range,  copy_range,  truncate_file,
          seek,       synchronize, open_again,  open_reader };

  if (draw (run, 40) == 0)
    change_source (run);
  else
    steps[draw (run, G_N_ELEMENTS (steps))](run);
  check (run);
}

static void
test_random (FscTestStage *stage, gboolean is_exact)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  g_autofree Run *run = g_new0 (Run, 1);
  gint64 until = g_get_monotonic_time () + fsc_test_scale (MOMENT_MS) * (gint64) 1000;
  guint n;

  *run = (Run){ .stage = stage,
                .random = g_rand_new_with_seed ((guint32) g_test_rand_int ()),
                .source = source,
                .through = through,
                .is_exact = is_exact,
                .fd = -1,
                .reader = -1 };
  fsc_test_write (source, "");
  run->direct = open (source, O_RDWR | O_CLOEXEC);
  open_again (run);
  for (n = 0; g_get_monotonic_time () < until; n++)
    step (run);
  g_test_message ("%u steps", n);
  close (run->fd);
  if (run->reader >= 0)
    close (run->reader);
  close (run->direct);
  g_queue_clear_full (&run->story, g_free);
  g_rand_free (run->random);
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD_BOTH ("/view-file/random", test_random);
  return g_test_run ();
}
