/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Everything at once, with faults, for a moment: fscache-soak leaves no descriptor, and no answer
 * is wrong.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define EXIT_SKIPPED 77

/* How often an operation has gone well. */
static gint64
count_good (const FscTestProgram *program, const char *operation)
{
  g_autofree char *wanted = g_strdup_printf ("\n%s: ", operation);
  const char *line = strstr (program->out, wanted);
  const char *good = line != NULL ? strstr (line + 1, "ok ") : NULL;

  return good != NULL && good < strchr (line + 1, '\n')
             ? g_ascii_strtoll (good + strlen ("ok "), NULL, 10)
             : 0;
}

static void
test_run (void)
{
  static const char *const operations[] = { "open", "open many", "borrow", "fopen",  "helper",
                                            "tcp",  "get",       "list",   "status", "view" };
  g_autofree char *path = fsc_test_build_path ("tests/stress/soak/fscache-soak");
  const char *const arguments[] = { path, "--seconds", "4", "--faults", "2", NULL };
  g_auto (FscTestProgram) program = { 0 };

  fsc_test_program_run (&program, NULL, arguments);
  if (WIFEXITED (program.status) && WEXITSTATUS (program.status) == EXIT_SKIPPED)
    {
      g_test_skip (program.out);
      return;
    }
  g_test_message ("%s", program.out);
  fsc_test_program_assert_exit (&program, 0);
  for (guint i = 0; i < G_N_ELEMENTS (operations); i++)
    g_assert_cmpint (count_good (&program, operations[i]), >, 0);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/soak/run", test_run);
  return g_test_run ();
}
