/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The answers of the service are those of open(), whatever happens to the tree: runs
 * fscache-differential (tests/stress) for a moment on each file system that can be had here, for an
 * ordinary user and for root. And it finds differences where there are some: when it is told to ask
 * for stale answers.
 *
 * FSC_TEST_SCALE is the time, in percent.
 */
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define EXIT_SKIPPED 77

typedef struct
{
  const char *name;
  const char *arguments[8];
} Run;

static const Run runs[] = {
  { "/differential/ext4", { "--fs", "ext4" } },
  { "/differential/tmpfs", { "--fs", "tmpfs" } },
  { "/differential/xfs", { "--fs", "xfs" } },
  { "/differential/btrfs", { "--fs", "btrfs" } },
  { "/differential/overlay", { "--fs", "overlay" } },
  { "/differential/evictions", { "--fs", "tmpfs", "--max-handles", "20" } },
  { "/differential/few-watches", { "--fs", "tmpfs", "--watch-limit", "20" } },
};

static void
run_program (FscTestProgram *program, const char *const *arguments)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new ();
  g_autofree char *path = fsc_test_build_path ("tests/stress/fscache-differential");
  g_autofree char *programs = fsc_test_build_path ("fscache");

  g_ptr_array_add (all, path);
  g_ptr_array_add (all, (char *) "--programs");
  g_ptr_array_add (all, programs);
  for (; *arguments != NULL; arguments++)
    g_ptr_array_add (all, (char *) *arguments);
  g_ptr_array_add (all, NULL);
  fsc_test_program_run (program, NULL, (const char *const *) all->pdata);
}

/* The number after "NAME: " at the start of a line; -1 if there is none. */
static gint64
get_number (const FscTestProgram *program, const char *name)
{
  g_autofree char *wanted = g_strdup_printf ("\n%s: ", name);
  const char *line = strstr (program->out, wanted);

  return line != NULL ? g_ascii_strtoll (line + strlen (wanted), NULL, 10) : -1;
}

/* Why a file system could not be had; "" if all could. Free with g_free(). */
static char *
get_reason (const FscTestProgram *program)
{
  const char *line = strstr (program->out, "skipped: ");

  return line != NULL ? g_strndup (line, strcspn (line, "\n")) : g_strdup ("");
}

static void
test_run (gconstpointer data)
{
  const Run *run = data;
  g_auto (FscTestProgram) program = { 0 };
  guint ms = fsc_test_scale (1200);
  g_autofree char *seconds = g_strdup_printf ("%u.%03u", ms / 1000, ms % 1000);
  const char *arguments[12] = { "--seconds", seconds };
  g_autofree char *reason = NULL;
  guint n = 2;

  for (guint i = 0; run->arguments[i] != NULL; i++)
    arguments[n++] = run->arguments[i];
  run_program (&program, arguments);
  reason = get_reason (&program);
  if (WIFEXITED (program.status) && WEXITSTATUS (program.status) == EXIT_SKIPPED)
    {
      g_test_skip (reason);
      return;
    }
  fsc_test_program_assert_exit (&program, 0);
  g_assert_cmpint (get_number (&program, "differences"), ==, 0);
  g_assert_cmpint (get_number (&program, "comparisons"), >, 100);
  g_test_message ("%s%s", program.out, reason);
}

/* Whoever asks for what was right ten minutes ago gets it: so the test can fail, and it makes the
 * steps that it has found as few as a person would need. What it saves fails again, and does not
 * when exact answers are asked for. */
static void
test_stale (void)
{
  g_auto (FscTestProgram) found = { 0 }, again = { 0 }, exact = { 0 };
  g_autofree char *dir = g_dir_make_tmp ("fscache-test-XXXXXX", NULL);
  g_autofree char *file = g_build_filename (dir, "steps", NULL);
  const char *search[]
      = { "--fs",   "tmpfs",  "--user", "root", "--allow-stale", "--seconds", "10", "--mode",
          "rounds", "--save", file,     NULL };
  const char *stale[]
      = { "--fs", "tmpfs", "--user", "root", "--steps", file, "--allow-stale", NULL };
  const char *fresh[] = { "--fs", "tmpfs", "--user", "root", "--steps", file, NULL };
  g_autofree char *steps = NULL;
  g_auto (GStrv) lines = NULL;

  run_program (&found, search);
  if (WIFEXITED (found.status) && WEXITSTATUS (found.status) == EXIT_SKIPPED)
    {
      g_autofree char *reason = get_reason (&found);

      g_test_skip (reason);
      g_rmdir (dir);
      return;
    }
  fsc_test_program_assert_exit (&found, 1);
  g_assert_cmpint (get_number (&found, "differences"), ==, 1);
  g_assert_cmpint (get_number (&found, "troubles"), ==, 0);
  g_assert_true (g_str_has_prefix (found.out, "seed: "));
  g_assert_nonnull (strstr (found.out, "Shortened from"));
  g_assert_true (g_file_get_contents (file, &steps, NULL, NULL));
  lines = g_strsplit (g_strchomp (steps), "\n", -1);
  g_test_message ("%s", steps);
  g_assert_cmpuint (g_strv_length (lines), <=, 12);
  g_assert_cmpuint (g_strv_length (lines), >=, 3); /* ask, change, ask */

  run_program (&again, stale);
  fsc_test_program_assert_exit (&again, 1);
  run_program (&exact, fresh);
  fsc_test_program_assert_exit (&exact, 0);
  g_unlink (file);
  g_rmdir (dir);
}

static void
test_usage (void)
{
  static const char *const wrong[][3] = {
    { "--fs", "nfs" },    { "--user", "nobody-of-that-name" },
    { "--mode", "slow" }, { "--threads", "0" },
    { "extra" },          { "--batch", "65" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    {
      g_auto (FscTestProgram) program = { 0 };
      const char *arguments[] = { wrong[i][0], wrong[i][1], NULL };

      run_program (&program, arguments);
      fsc_test_program_assert_exit (&program, 2);
      g_assert_nonnull (strstr (program.error, "--help"));
    }
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (runs); i++)
    g_test_add_data_func (runs[i].name, &runs[i], test_run);
  g_test_add_func ("/differential/finds-stale-answers", test_stale);
  g_test_add_func ("/differential/usage", test_usage);
  return g_test_run ();
}
