/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Two trees that are the same, and random operations on both: on one through the view, on the other
 * directly. Each has the same outcome. What the view refuses, whatever the source would say, is
 * done to the source of its tree then. After that the trees are still the same, and the first is
 * the same in the view and at its source. Several processes do so at once.
 *
 * All do without root's capabilities for files, as the service does. --seed repeats the operations,
 * and FSC_TEST_SCALE=20000 takes 200 times as long.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/view/privileges.h"
#include "tests/integration/process.h"
#include "tests/view/ask.h"
#include "tests/view/stage.h"

#define MOMENT_MS 2000 /* for each of the ways to mount */
#define FORGET_MS 110  /* the kernel knows names for 100, and counts in ticks */
#define BOUND_MS 1000  /* of what takes a moment when the machine has nothing else to do */
#define WORKERS 3
#define COMPARE_EACH 20 /* operations, all of the trees */
#define LIMIT 9000      /* of offsets and lengths */
#define STORY 40        /* operations that are told when something is wrong */

/* The view carries out those before REMOVE. From CHANGE_MODE on, they change what names lead to. */
typedef enum
{
  WRITE,
  TRUNCATE,
  SET_TIMES,
  ALLOCATE,
  COPY,
  CHANGE_MODE,
  REMOVE,
  REMOVE_DIRECTORY,
  MAKE_DIRECTORY,
  RENAME,
  EXCHANGE,
  LINK,
  MAKE_SYMLINK,
} Kind;

/* More often what makes something. */
static const Kind kinds[]
    = { WRITE,  WRITE,          WRITE,          WRITE,  WRITE,    TRUNCATE, TRUNCATE,
        COPY,   COPY,           SET_TIMES,      REMOVE, ALLOCATE, ALLOCATE, REMOVE_DIRECTORY,
        RENAME, MAKE_DIRECTORY, MAKE_DIRECTORY, LINK,   EXCHANGE, LINK,     MAKE_SYMLINK,
        RENAME, CHANGE_MODE };
static const char *const names[] = { "a", "b", "c", "d" };
static const char *const targets[] = { "a", "b/c", "../d", "../b/a", ".", "nowhere" };
static const mode_t modes[] = { 0755, 0755, 0755, 0644, 0700, 0400, 0311, 04755, 0 };
static const int flags[] = { O_WRONLY,
                             O_RDWR | O_APPEND,
                             O_WRONLY | O_TRUNC,
                             O_WRONLY | O_CREAT,
                             O_RDWR | O_CREAT,
                             O_WRONLY | O_CREAT | O_TRUNC,
                             O_WRONLY | O_CREAT | O_APPEND,
                             O_RDWR | O_CREAT | O_EXCL,
                             O_WRONLY | O_CREAT | O_NOFOLLOW,
                             O_WRONLY | O_DIRECTORY };
static const int allocations[]
    = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE };

typedef struct
{
  Kind kind;
  char *name, *other; /* in a tree */
  const char *target;
  int flags, allocation;
  mode_t mode;
  off_t offset, length;
  char fill;
} Step;

typedef struct
{
  GRand *random;
  char *through, *source; /* one tree */
  char *twin;             /* the other */
  gint64 bound;           /* of what changes beside the view */
  GQueue story;           /* of char * */
} Run;

/* Steps */

static guint
draw (Run *run, guint below)
{
  return (guint) g_rand_int_range (run->random, 0, (gint32) below);
}

static char *
draw_name (Run *run)
{
  const char *name = names[draw (run, G_N_ELEMENTS (names))];

  if (draw (run, 3) == 0)
    return g_strdup (name);
  return g_build_filename (names[draw (run, G_N_ELEMENTS (names))], name, NULL);
}

static Step
draw_step (Run *run)
{
  return (Step){ .kind = kinds[draw (run, G_N_ELEMENTS (kinds))],
                 .name = draw_name (run),
                 .other = draw_name (run),
                 .target = targets[draw (run, G_N_ELEMENTS (targets))],
                 .flags = flags[draw (run, G_N_ELEMENTS (flags))],
                 .allocation = allocations[draw (run, G_N_ELEMENTS (allocations))],
                 .mode = modes[draw (run, G_N_ELEMENTS (modes))],
                 .offset = draw (run, LIMIT),
                 .length = 1 + draw (run, LIMIT),
                 .fill = (char) ('a' + draw (run, 26)) };
}

/* All that works on a descriptor, which it takes; returns what system calls do. */
static int
work (const Step *step, const char *path, int fd)
{
  g_autofree char *content = g_strnfill ((gsize) step->length, step->fill);
  off_t from = step->offset / 2, to = step->offset;
  int result = 0, in;

  if (fd < 0)
    return fd;
  if (step->kind == WRITE)
    result = (int) pwrite (fd, content, (gsize) step->length, step->offset);
  else if (step->kind == ALLOCATE)
    result = fallocate (fd, step->allocation, step->offset, step->length);
  else
    {
      in = open (path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
      result = in < 0 ? in : (int) copy_file_range (in, &from, fd, &to, (gsize) step->length, 0);
      if (in >= 0)
        close (in);
    }
  close (fd);
  return result;
}

static int
carry_out (const Step *step, const char *path, const char *other)
{
  const struct timespec times[] = { { 0, UTIME_OMIT }, { step->offset, step->length } };

  switch (step->kind)
    {
    case WRITE:
      return work (step, NULL, open (path, step->flags | O_NONBLOCK | O_CLOEXEC, step->mode));
    case ALLOCATE:
      return work (step, NULL, open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    case COPY:
      return work (step, other, open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    case TRUNCATE:
      return truncate (path, step->offset);
    case SET_TIMES:
      return utimensat (AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
    case REMOVE:
      return g_unlink (path);
    case REMOVE_DIRECTORY:
      return g_rmdir (path);
    case MAKE_DIRECTORY:
      return g_mkdir (path, step->mode);
    case RENAME:
      return g_rename (path, other);
    case EXCHANGE:
      return renameat2 (AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE);
    case LINK:
      return link (path, other);
    case MAKE_SYMLINK:
      return symlink (step->target, path);
    case CHANGE_MODE:
      return chmod (path, step->mode);
    }
  g_assert_not_reached ();
}

/* The outcome in this tree: a negative errno, or what the system call returns. */
static int
take (const Step *step, const char *root)
{
  g_autofree char *path = g_build_filename (root, step->name, NULL);
  g_autofree char *other = g_build_filename (root, step->other, NULL);
  int result = carry_out (step, path, other);

  return result < 0 ? -errno : result;
}

static void
tell (Run *run, const Step *step, int outcome)
{
  g_queue_push_tail (&run->story, g_strdup_printf ("%d of %s (%s, %s), %#o, %o, %jd at %jd: %s",
                                                   (int) step->kind, step->name, step->other,
                                                   step->target, (guint) step->flags, step->mode,
                                                   (intmax_t) step->length, (intmax_t) step->offset,
                                                   outcome < 0 ? g_strerror (-outcome) : "done"));
  if (run->story.length > STORY)
    g_free (g_queue_pop_head (&run->story));
}

static void
assert_outcome (Run *run, const char *tree, int found, int expected)
{
  if (found == expected)
    return;
  for (GList *link = run->story.head; link != NULL; link = link->next)
    g_printerr ("%s\n", (const char *) link->data);
  g_error ("%s: %d (%s) and not %d", tree, found, found < 0 ? g_strerror (-found) : "done",
           expected);
}

/* Comparing */

static void
compare_name (Run *run, const char *name)
{
  fsc_test_assert_same_name (run->through, run->source, name, TRUE, run->bound);
  fsc_test_assert_same_name (run->source, run->twin, name, FALSE, 0);
}

static void
compare_trees (Run *run)
{
  compare_name (run, "");
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      compare_name (run, names[i]);
      for (gsize j = 0; j < G_N_ELEMENTS (names); j++)
        {
          g_autofree char *name = g_build_filename (names[i], names[j], NULL);

          compare_name (run, name);
        }
    }
}

/* What an operation is about. */
static void
compare_names (Run *run, const Step *step)
{
  compare_name (run, step->name);
  compare_name (run, step->other);
}

/* To rename a file to itself is nothing, which the kernel does by itself. */
static gboolean
is_nothing (const Run *run, const Step *step)
{
  g_autofree char *path = g_build_filename (run->source, step->name, NULL);
  g_autofree char *other = g_build_filename (run->source, step->other, NULL);
  struct stat a, b;

  return (step->kind == RENAME || step->kind == EXCHANGE) && lstat (path, &a) == 0
         && lstat (other, &b) == 0 && a.st_ino == b.st_ino;
}

/* Where the source refuses it as well, that may be told. If there are two names, each may have
 * something wrong with it. */
static gboolean
is_refused (const Run *run, const Step *step, int found, int expected)
{
  if (expected >= 0)
    return found == -EOPNOTSUPP || (found == 0 && is_nothing (run, step));
  if (step->kind == RENAME || step->kind == EXCHANGE || step->kind == LINK)
    return found == -EACCES || found == -EEXIST || found == -ELOOP || found == -ENOENT
           || found == -ENOTDIR || found == -EOPNOTSUPP || found == expected;
  return found == -EOPNOTSUPP || found == expected;
}

static void
go_on (Run *run, gboolean compares_all)
{
  Step step = draw_step (run);
  int expected, found;

  expected = take (&step, run->twin);
  found = take (&step, run->through);
  tell (run, &step, expected);
  if (step.kind < REMOVE)
    assert_outcome (run, "the view", found, expected);
  else
    {
      if (!is_refused (run, &step, found, expected))
        assert_outcome (run, "the view", found, -EOPNOTSUPP);
      assert_outcome (run, "the source", take (&step, run->source), expected);
    }
  compare_names (run, &step);
  if (step.kind >= CHANGE_MODE && expected >= 0 && run->bound > 0)
    g_usleep (FORGET_MS * 1000);
  if (compares_all)
    compare_trees (run);
  g_free (step.name);
  g_free (step.other);
}

static char *
make_tree (const char *place, int number, const char *which)
{
  char *tree = g_strdup_printf ("%s/%d/%s/tree", place, number, which);

  g_mkdir_with_parents (tree, 0755);
  return tree;
}

/* In a process of its own. The trees lie in other directories, as some symlinks lead out of them.
 */
static void
run_worker (const FscTestStage *stage, int number, guint32 seed, gboolean is_exact)
{
  gint64 until = g_get_monotonic_time () + fsc_test_scale (MOMENT_MS) * (gint64) 1000;
  Run run = { .random = g_rand_new_with_seed (seed),
              .through = g_strdup_printf ("%s/%d/one/tree", stage->through, number),
              .source = make_tree (stage->source, number, "one"),
              .twin = make_tree (stage->source, number, "two"),
              .bound = is_exact ? 0 : BOUND_MS * 1000 };
  guint n;

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  for (n = 0; g_get_monotonic_time () < until; n++)
    go_on (&run, n % COMPARE_EACH == 0);
  g_printerr ("%u operations\n", n);
  _exit (0);
}

static void
test_random (FscTestStage *stage, gboolean is_exact)
{
  pid_t pids[WORKERS];

  fsc_privileges_drop ();
  for (int i = 0; i < WORKERS; i++)
    {
      guint32 seed = (guint32) g_test_rand_int ();

      pids[i] = fork ();
      g_assert_cmpint (pids[i], >=, 0);
      if (pids[i] == 0)
        run_worker (stage, i, seed, is_exact);
    }
  for (int i = 0; i < WORKERS; i++)
    {
      int status;

      g_assert_cmpint (waitpid (pids[i], &status, 0), ==, pids[i]);
      g_assert_cmpint (status, ==, 0);
    }
  fsc_privileges_restore ();
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD_BOTH ("/view-twins/random", test_random);
  return g_test_run ();
}
