/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A tree that some change at random, at the source and through the view, while others look at it
 * through the view. Those get no error that the source would not have given. Whenever the changes
 * pause, all that can be asked about each name (ask.h) has the same answer in the view and at the
 * source.
 *
 * All do without root's capabilities for files, as the service does. --seed repeats the changes,
 * and FSC_TEST_SCALE=20000 takes 200 times as long.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/view/privileges.h"
#include "tests/integration/process.h"
#include "tests/view/ask.h"
#include "tests/view/stage.h"

#define MOMENT_MS 2000 /* for each of the ways to mount */
#define CHANGE_MS 60   /* between two pauses */
#define BOUND_MS 1000  /* of what takes a moment when the machine has nothing else to do */
#define SOURCE_CHANGERS 2
#define CHANGERS (SOURCE_CHANGERS + 2) /* the others change through the view */
#define READERS 2

/* Each is a file, a directory, a symlink, a FIFO or nothing, and has them below it again. */
static const char *const names[] = { "a", "b", "c", "d", "e" };
static const char *const targets[] = { "a", "b/c", "../d", "../b/a", ".", "nowhere", "e" };
static const mode_t modes[] = { 0755, 0755, 0644, 0700, 0400, 0311, 04755, 0 };

/* What all processes see. */
typedef struct
{
  int is_pause, n_pausing; /* atomic */
} Shared;

typedef struct
{
  const char *root;
  GRand *random;
} Walker;

static guint
draw (Walker *walker, guint below)
{
  return (guint) g_rand_int_range (walker->random, 0, (gint32) below);
}

/* Changes */

static char *
draw_path (Walker *walker)
{
  const char *name = names[draw (walker, G_N_ELEMENTS (names))];

  if (draw (walker, 3) == 0)
    return g_build_filename (walker->root, name, NULL);
  return g_build_filename (walker->root, names[draw (walker, G_N_ELEMENTS (names))], name, NULL);
}

static int
write_some (Walker *walker, const char *path, int flags)
{
  g_autofree char *content = g_strnfill (draw (walker, 9000), (char) ('a' + draw (walker, 26)));
  int fd = open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | flags,
                 modes[draw (walker, G_N_ELEMENTS (modes))]);

  if (fd < 0)
    return fd;
  if (write (fd, content, strlen (content)) < 0 && errno != EPIPE && errno != EAGAIN)
    g_error ("write(): %s", g_strerror (errno));
  close (fd);
  return 0;
}

static int
replace (Walker *walker, const char *path)
{
  g_autofree char *new = g_strdup_printf ("%s/.new-%d", walker->root, (int) getpid ());

  write_some (walker, new, O_CREAT | O_TRUNC);
  return rename (new, path);
}

/* Says what the system call has said. Which of them the source allows does not matter. */
static int
change (Walker *walker)
{
  g_autofree char *path = draw_path (walker);
  g_autofree char *other = draw_path (walker);
  const struct timespec times[] = { { 0, UTIME_OMIT }, { draw (walker, 1u << 30), 0 } };

  switch (draw (walker, 17))
    {
    case 0:
      return write_some (walker, path, O_CREAT | O_TRUNC);
    case 1:
      return write_some (walker, path, O_CREAT | O_APPEND);
    case 2:
    case 3:
      return replace (walker, path);
    case 4:
      return g_unlink (path);
    case 5:
    case 6:
      return g_mkdir (path, modes[draw (walker, G_N_ELEMENTS (modes))]);
    case 7:
      return g_rmdir (path);
    case 8:
      return symlink (targets[draw (walker, G_N_ELEMENTS (targets))], path);
    case 9:
    case 10:
      return fchmodat (AT_FDCWD, path, modes[draw (walker, G_N_ELEMENTS (modes))],
                       AT_SYMLINK_NOFOLLOW);
    case 11:
      return link (path, other);
    case 12:
      return renameat2 (AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE);
    case 13:
      return g_rename (path, other);
    case 14:
      return mkfifo (path, 0644);
    case 15:
      return truncate (path, draw (walker, 9000));
    default:
      return utimensat (AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
    }
}

/* Never an answer while all changes, whatever is asked for. */
static const int strange[]
    = { EIO, EBADF, EBUSY, EAGAIN, EINTR, EFAULT, ETIMEDOUT, ECONNRESET, ENOSYS };

static gboolean
is_strange_error (int error)
{
  for (gsize i = 0; i < G_N_ELEMENTS (strange); i++)
    if (error == strange[i])
      return TRUE;
  return FALSE;
}

static void
run_changer (Walker *walker, Shared *shared, gboolean is_through)
{
  for (;;)
    {
      if (!g_atomic_int_get (&shared->is_pause))
        {
          if (change (walker) < 0 && is_through && is_strange_error (errno))
            g_error ("%s", g_strerror (errno));
          continue;
        }
      g_atomic_int_inc (&shared->n_pausing);
      while (g_atomic_int_get (&shared->is_pause))
        g_usleep (200);
      g_atomic_int_add (&shared->n_pausing, -1);
    }
}

/* What is open stays; but a name that leads elsewhere twice during one call is stale. */
static gboolean
is_strange (const char *said)
{
  static const char *const questions[] = { "fstat", "list", "read" };

  for (gsize i = 0; i < G_N_ELEMENTS (strange); i++)
    if (strstr (said, g_strerror (strange[i])) != NULL)
      return TRUE;
  for (gsize i = 0; i < G_N_ELEMENTS (questions); i++)
    {
      g_autofree char *stale = g_strdup_printf (" %s: %s", questions[i], g_strerror (ESTALE));

      if (strstr (said, stale) != NULL)
        return TRUE;
    }
  return strstr (said, g_strerror (EROFS)) != NULL
         || strstr (said, g_strerror (EOPNOTSUPP)) != NULL;
}

static void
run_reader (Walker *walker)
{
  for (;;)
    {
      g_autofree char *path = draw_path (walker);
      g_autofree char *said = fsc_test_ask (walker->root, path + strlen (walker->root), TRUE);

      if (is_strange (said))
        g_error ("%s: %s", path, said);
    }
}

static void
compare_tree (FscTestStage *stage, gint64 bound)
{
  fsc_test_assert_same_name (stage->through, stage->source, "", TRUE, bound);
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      fsc_test_assert_same_name (stage->through, stage->source, names[i], TRUE, bound);
      for (gsize j = 0; j < G_N_ELEMENTS (names); j++)
        {
          g_autofree char *name = g_build_filename (names[i], names[j], NULL);

          fsc_test_assert_same_name (stage->through, stage->source, name, TRUE, bound);
        }
    }
}

static void
wait_until (int *value, int expected)
{
  for (int i = 0; g_atomic_int_get (value) != expected; i++)
    {
      g_assert_cmpint (i, <, 100000);
      g_usleep (200);
    }
}

static void
assert_alive (const pid_t *pids, guint n)
{
  for (guint i = 0; i < n; i++)
    g_assert_cmpint (waitpid (pids[i], NULL, WNOHANG), ==, 0);
}

static void
test_random (FscTestStage *stage, gboolean is_exact)
{
  gint64 until = g_get_monotonic_time () + fsc_test_scale (MOMENT_MS) * (gint64) 1000;
  Shared *shared
      = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t pids[CHANGERS + READERS];
  guint n;

  fsc_privileges_drop ();
  for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      Walker walker = { i < SOURCE_CHANGERS ? stage->source : stage->through,
                        g_rand_new_with_seed ((guint32) g_test_rand_int ()) };

      pids[i] = fork ();
      g_assert_cmpint (pids[i], >=, 0);
      if (pids[i] == 0)
        {
          prctl (PR_SET_PDEATHSIG, SIGKILL);
          signal (SIGPIPE, SIG_IGN);
          if (i < CHANGERS)
            run_changer (&walker, shared, i >= SOURCE_CHANGERS);
          else
            run_reader (&walker);
        }
      g_rand_free (walker.random);
    }
  for (n = 0; g_get_monotonic_time () < until; n++)
    {
      g_usleep (CHANGE_MS * 1000);
      g_atomic_int_set (&shared->is_pause, 1);
      wait_until (&shared->n_pausing, CHANGERS);
      compare_tree (stage, is_exact ? 0 : BOUND_MS * 1000);
      assert_alive (pids, G_N_ELEMENTS (pids));
      g_atomic_int_set (&shared->is_pause, 0);
      wait_until (&shared->n_pausing, 0);
    }
  g_test_message ("compared %u times", n);
  for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      g_assert_no_errno (kill (pids[i], SIGKILL));
      waitpid (pids[i], NULL, 0);
    }
  munmap (shared, sizeof *shared);
  fsc_privileges_restore ();
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD_BOTH ("/view-churn/random", test_random);
  return g_test_run ();
}
