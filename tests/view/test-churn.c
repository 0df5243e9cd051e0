/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A tree that some change at the source, at random, while others look at it through the view. Those
 * get no error that the source would not have given. Whenever the changes pause, all that can be
 * asked about each name has the same answer in the view and at the source: attributes, contents,
 * listings, targets, rights, errors.
 *
 * All do without root's capabilities for files, as the service does. --seed repeats the changes,
 * and FSC_TEST_SCALE=20000 takes 200 times as long.
 */
#include <dirent.h>
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
#include "tests/view/stage.h"

#define MOMENT_MS 2000 /* for each of the ways to mount */
#define CHANGE_MS 60   /* between two pauses */
#define BOUND_MS 1000  /* of what takes a moment when the machine has nothing else to do */
#define CHANGERS 2
#define READERS 3

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

static void
write_some (Walker *walker, const char *path, int flags)
{
  g_autofree char *content = g_strnfill (draw (walker, 9000), (char) ('a' + draw (walker, 26)));
  int fd = open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | flags,
                 modes[draw (walker, G_N_ELEMENTS (modes))]);

  if (fd < 0)
    return;
  if (write (fd, content, strlen (content)) < 0 && errno != EPIPE && errno != EAGAIN)
    g_error ("write(): %s", g_strerror (errno));
  close (fd);
}

static void
replace (Walker *walker, const char *path)
{
  g_autofree char *new = g_strdup_printf ("%s/.new-%d", walker->root, (int) getpid ());

  write_some (walker, new, O_CREAT | O_TRUNC);
  rename (new, path);
}

static void
ignore (int result)
{
}

/* It does not matter which of them the source allows. */
static void
change (Walker *walker)
{
  g_autofree char *path = draw_path (walker);
  g_autofree char *other = draw_path (walker);
  const struct timespec times[] = { { 0, UTIME_OMIT }, { draw (walker, 1u << 30), 0 } };

  switch (draw (walker, 16))
    {
    case 0:
      write_some (walker, path, O_CREAT | O_TRUNC);
      break;
    case 1:
      write_some (walker, path, O_CREAT | O_APPEND);
      break;
    case 2:
    case 3:
      replace (walker, path);
      break;
    case 4:
      g_unlink (path);
      break;
    case 5:
    case 6:
      g_mkdir (path, modes[draw (walker, G_N_ELEMENTS (modes))]);
      break;
    case 7:
      g_rmdir (path);
      break;
    case 8:
      ignore (symlink (targets[draw (walker, G_N_ELEMENTS (targets))], path));
      break;
    case 9:
    case 10:
      fchmodat (AT_FDCWD, path, modes[draw (walker, G_N_ELEMENTS (modes))], AT_SYMLINK_NOFOLLOW);
      break;
    case 11:
      ignore (link (path, other));
      break;
    case 12:
      renameat2 (AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE);
      break;
    case 13:
      g_rename (path, other);
      break;
    case 14:
      mkfifo (path, 0644);
      break;
    default:
      utimensat (AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
    }
}

static void
run_changer (Walker *walker, Shared *shared)
{
  for (;;)
    {
      if (!g_atomic_int_get (&shared->is_pause))
        {
          change (walker);
          continue;
        }
      g_atomic_int_inc (&shared->n_pausing);
      while (g_atomic_int_get (&shared->is_pause))
        g_usleep (200);
      g_atomic_int_add (&shared->n_pausing, -1);
    }
}

/* Questions. Each answer is a word. */

static void
answer (GString *text, const char *question, int result)
{
  g_string_append_printf (text, " %s: %s", question, result < 0 ? g_strerror (errno) : "yes");
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* Takes the descriptor. */
static void
list (GString *text, int fd)
{
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func (g_free);
  DIR *directory = fdopendir (fd);
  const struct dirent *entry;

  if (directory == NULL)
    {
      answer (text, "list", -1);
      close (fd);
      return;
    }
  while ((entry = readdir (directory)) != NULL)
    if (!g_str_has_prefix (entry->d_name, ".")) /* and nobody waits for what is being made */
      g_ptr_array_add (found, g_strdup_printf ("%s/%d", entry->d_name, entry->d_type));
  closedir (directory);
  g_ptr_array_sort (found, compare_names);
  for (guint i = 0; i < found->len; i++)
    g_string_append_printf (text, " %s", (const char *) found->pdata[i]);
}

static void
open_and_read (GString *text, const char *path)
{
  int fd = open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  char content[32768];
  struct stat st;
  ssize_t length;

  answer (text, "open to write", fd);
  if (fd >= 0)
    close (fd);
  fd = open (path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  answer (text, "open", fd);
  if (fd < 0)
    return;
  if (fcntl (fd, F_GETPIPE_SZ) >= 0) /* it has become a FIFO */
    {
      close (fd);
      return;
    }
  if (fstat (fd, &st) < 0)
    {
      answer (text, "fstat", -1);
      close (fd);
      return;
    }
  if (S_ISDIR (st.st_mode))
    {
      list (text, fd);
      return;
    }
  length = S_ISREG (st.st_mode) ? read (fd, content, sizeof content) : 0;
  answer (text, "read", (int) length);
  if (length >= 0)
    {
      g_autofree char *sum
          = g_compute_checksum_for_data (G_CHECKSUM_MD5, (guchar *) content, (gsize) length);

      g_string_append_printf (text, " %jd bytes, %zd: %s", (intmax_t) st.st_size, length, sum);
    }
  close (fd);
}

/* All that can be asked about a name. */
static char *
ask (const char *root, const char *name)
{
  g_autofree char *path = g_build_filename (root, name, NULL);
  GString *text = g_string_new (NULL);
  char target[64] = "";
  struct stat st;
  int result = lstat (path, &st);

  answer (text, "lstat", result);
  if (result == 0)
    g_string_append_printf (text, " %o %ju %u %u %jd %jd.%09ld %ld", st.st_mode,
                            (uintmax_t) st.st_nlink, st.st_uid, st.st_gid, (intmax_t) st.st_size,
                            (intmax_t) st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_nsec);
  answer (text, "readlink", (int) readlink (path, target, sizeof target - 1));
  g_string_append (text, target);
  result = stat (path, &st);
  answer (text, "stat", result);
  if (result == 0)
    g_string_append_printf (text, " %o %jd", st.st_mode, (intmax_t) st.st_size);
  if (result < 0 || !S_ISFIFO (st.st_mode)) /* which are the view's own */
    open_and_read (text, path);
  answer (text, "R_OK", faccessat (AT_FDCWD, path, R_OK, AT_EACCESS));
  answer (text, "W_OK", faccessat (AT_FDCWD, path, W_OK, AT_EACCESS));
  answer (text, "X_OK", faccessat (AT_FDCWD, path, X_OK, AT_EACCESS));
  return g_string_free (text, FALSE);
}

/* While all changes, the errors are such as changes may lead to. What is open stays; but a name
 * that leads elsewhere twice during one call is stale. */
static gboolean
is_strange (const char *said)
{
  static const int errors[] = { EIO,    EBADF,     EBUSY,      EAGAIN,     EPERM, EINTR,
                                EFAULT, ETIMEDOUT, ECONNRESET, EOPNOTSUPP, ENOSYS };
  static const char *const questions[] = { "fstat", "list", "read" };

  for (gsize i = 0; i < G_N_ELEMENTS (errors); i++)
    if (strstr (said, g_strerror (errors[i])) != NULL)
      return TRUE;
  for (gsize i = 0; i < G_N_ELEMENTS (questions); i++)
    {
      g_autofree char *stale = g_strdup_printf (" %s: %s", questions[i], g_strerror (ESTALE));

      if (strstr (said, stale) != NULL)
        return TRUE;
    }
  return FALSE;
}

static void
run_reader (Walker *walker)
{
  for (;;)
    {
      g_autofree char *path = draw_path (walker);
      g_autofree char *said = ask (walker->root, path + strlen (walker->root));

      if (is_strange (said))
        g_error ("%s: %s", path, said);
    }
}

/* The same name, asked about in both, until the answers are the same or time is up. */
static void
compare_name (FscTestStage *stage, const char *name, gboolean is_exact)
{
  gint64 until = g_get_monotonic_time () + (is_exact ? 0 : BOUND_MS * 1000);

  for (;;)
    {
      g_autofree char *source = ask (stage->source, name);
      g_autofree char *through = ask (stage->through, name);

      if (g_str_equal (source, through))
        return;
      if (g_get_monotonic_time () >= until)
        {
          g_test_message ("%s", name);
          g_assert_cmpstr (through, ==, source);
        }
      g_usleep (5000);
    }
}

static void
compare_tree (FscTestStage *stage, gboolean is_exact)
{
  compare_name (stage, "", is_exact);
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      compare_name (stage, names[i], is_exact);
      for (gsize j = 0; j < G_N_ELEMENTS (names); j++)
        {
          g_autofree char *name = g_build_filename (names[i], names[j], NULL);

          compare_name (stage, name, is_exact);
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
      Walker walker = { i < CHANGERS ? stage->source : stage->through,
                        g_rand_new_with_seed ((guint32) g_test_rand_int ()) };

      pids[i] = fork ();
      g_assert_cmpint (pids[i], >=, 0);
      if (pids[i] == 0)
        {
          prctl (PR_SET_PDEATHSIG, SIGKILL);
          signal (SIGPIPE, SIG_IGN);
          if (i < CHANGERS)
            run_changer (&walker, shared);
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
      compare_tree (stage, is_exact);
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

static void
test_bounded (FscTestStage *stage)
{
  test_random (stage, FALSE);
}

static void
test_exact (FscTestStage *stage)
{
  fsc_test_stage_start (stage, "exact");
  test_random (stage, TRUE);
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD ("/view-churn/random", test_bounded);
  FSC_STAGE_ADD_CLOSED ("/view-churn/random-exact", test_exact);
  return g_test_run ();
}
