/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One user takes all that can be had, for a moment: another one's requests go well, the service
 * does not grow, and no descriptor is left. How long requests take is not asked here.
 */
#include <string.h>
#include <sys/wait.h>

#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define EXIT_SKIPPED 77

static void
test_run (void)
{
  g_autofree char *path = fsc_test_build_path ("tests/stress/hostile/fscache-hostile");
  const char *const arguments[] = { path, "--seconds", "1", NULL };
  g_auto (FscTestProgram) program = { 0 };

  fsc_test_program_run (&program, NULL, arguments);
  if (WIFEXITED (program.status) && WEXITSTATUS (program.status) == EXIT_SKIPPED)
    {
      g_test_skip (program.out);
      return;
    }
  g_test_message ("%s", program.out);
  fsc_test_program_assert_exit (&program, 0);
  g_assert_nonnull (strstr (program.out, "\nlist: "));
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/hostile/run", test_run);
  return g_test_run ();
}
