/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What every test program calls first. GTest writes TAP only when it is told to; with this a test
 * writes plain TAP on its own, so that meson, prove, and automake's tap-driver.sh can each run it
 * without arguments. All other options of GTest (-p, -s, -l, --verbose) work as ever.
 */
#pragma once

#include <glib.h>

/* Instead of g_test_init(). *argv is replaced by a copy that is never freed: GTest keeps pointers
 * into it. */
static inline void
fsc_test_init (int *argc, char ***argv)
{
  gboolean is_told = FALSE;
  /* Static, so that it is no leak; used, so that the compiler keeps it although nobody reads it. */
  static char **copy __attribute__ ((used));
  int n = 0;

  copy = g_new0 (char *, *argc + 2);
  copy[n++] = (*argv)[0];
  for (int i = 1; i < *argc; i++)
    {
      /* The child of g_test_trap_subprocess() must not write TAP into its parent's. */
      if (g_str_equal ((*argv)[i], "--tap") || g_str_equal ((*argv)[i], "--GTestSubprocess")
          || g_str_equal ((*argv)[i], "-l"))
        is_told = TRUE;
      copy[n++] = (*argv)[i];
    }
  if (!is_told)
    copy[n++] = (char *) "--tap";
  *argc = n;
  *argv = copy;
  g_test_init (argc, argv, NULL);
}
