/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * argument.c: what an opener is told of the configuration.
 */
#include "fscache/openers/argument.h"
#include "tests/harness/tap.h"

static void
test_get (void)
{
  const char *arguments[] = { "open-x",         "--limit=18446744073709551615",
                              "--place=/a b=c", "--empty=",
                              "limits=",        "--limit=2",
                              "--not",          NULL };
  char *const *argv = (char *const *) arguments;

  g_assert_cmpuint (fsc_argument_get_number (argv, "limit"), ==, G_MAXUINT64);
  g_assert_cmpstr (fsc_argument_get (argv, "place"), ==, "/a b=c");
  g_assert_cmpstr (fsc_argument_get (argv, "empty"), ==, "");
  g_assert_cmpuint (fsc_argument_get_number (argv, "empty"), ==, 0);
  g_assert_null (fsc_argument_get (argv, "lim"));
  g_assert_null (fsc_argument_get (argv, "limits"));
  g_assert_null (fsc_argument_get (argv, "not"));
  g_assert_cmpuint (fsc_argument_get_number (argv, "none"), ==, 0);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/argument/get", test_get);
  return g_test_run ();
}
