/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * freshness.c: how long an answer holds, by its header.
 */
#include "fscache/openers/freshness.h"
#include "tests/harness/tap.h"

#include <inttypes.h>
#include <stdarg.h>

#define NOW INT64_C (784111777) /* Sun, 06 Nov 1994 08:49:37 GMT */

/* Names and values by turns, ended by NULL. */
static FscFreshness
take (const char *name, ...)
{
  FscFreshness freshness;
  va_list lines;

  fsc_freshness_begin (&freshness);
  va_start (lines, name);
  for (; name != NULL; name = va_arg (lines, const char *))
    fsc_freshness_take (&freshness, name, va_arg (lines, const char *));
  va_end (lines);
  return freshness;
}

static int64_t
get_ttl (FscFreshness freshness)
{
  return fsc_freshness_get_ttl (&freshness, NOW);
}

static void
assert_control (const char *value, int64_t expected)
{
  int64_t ttl = get_ttl (take ("Cache-Control", value, NULL));

  if (ttl != expected)
    g_error ("Cache-Control: %s holds for %" PRId64 " ms, not %" PRId64, value, ttl, expected);
}

static void
test_control (void)
{
  assert_control ("max-age=60", 60000);
  assert_control ("MAX-AGE = 60 ", 60000);
  assert_control ("max-age=\"60\"", 60000);
  assert_control ("public, max-age=60, immutable", 60000);
  assert_control (",, private , max-age=60,", 60000);
  assert_control ("private=\"a, max-age=1, b\\\"\", max-age=60", 60000);
  assert_control ("must-revalidate, max-age=60", 60000);
  assert_control ("s-maxage=5, max-age=60", 60000);
  assert_control ("x-max-age=5", -1);
  assert_control ("max-age=0", 0);
  assert_control ("max-age=99999999999999999999999999", INT64_C (2147483647000));

  /* What is not understood holds for less. */
  assert_control ("max-age", 0);
  assert_control ("max-age=", 0);
  assert_control ("max-age=-1", 0);
  assert_control ("max-age=60s", 0);
  assert_control ("max-age=\"60", 60000);
  assert_control ("max-age=60, max-age=30", 30000);
  assert_control ("max-age=30, max-age=60", 30000);

  assert_control ("no-cache, max-age=60", 0);
  assert_control ("no-cache=\"set-cookie\", max-age=60", 0);
  assert_control ("no-store, max-age=60", 0);
  assert_control ("", -1);
  assert_control ("public", -1);
  assert_control ("\\", -1);
  assert_control ("a=\"\\", -1);
}

static void
test_lines (void)
{
  const char *date = "Sun, 06 Nov 1994 08:49:37 GMT", *later = "Sun, 06 Nov 1994 08:50:37 GMT";

  g_assert_cmpint (get_ttl (take (NULL, NULL)), ==, -1);
  g_assert_cmpint (get_ttl (take ("Content-Type", "text/plain", "Date", date, NULL)), ==, -1);

  g_assert_cmpint (get_ttl (take ("Expires", later, NULL)), ==, 60000);
  g_assert_cmpint (get_ttl (take ("expires", later, "date", later, NULL)), ==, 0);
  g_assert_cmpint (get_ttl (take ("Expires", date, "Date", later, NULL)), ==, 0);
  g_assert_cmpint (get_ttl (take ("Expires", "0", NULL)), ==, 0);
  g_assert_cmpint (get_ttl (take ("Expires", "never", NULL)), ==, 0);
  g_assert_cmpint (get_ttl (take ("Expires", later, "Expires", date, NULL)), ==, 0);
  g_assert_cmpint (get_ttl (take ("Expires", later, "Date", "nonsense", NULL)), ==, 60000);

  /* Cache-Control comes first, in several lines too. */
  g_assert_cmpint (get_ttl (take ("Expires", later, "Cache-Control", "max-age=5", NULL)), ==, 5000);
  g_assert_cmpint (get_ttl (take ("Cache-Control", "max-age=5", "Cache-Control", "no-cache", NULL)),
                   ==, 0);

  g_assert_cmpint (get_ttl (take ("Cache-Control", "max-age=60", "Age", "20", NULL)), ==, 40000);
  g_assert_cmpint (get_ttl (take ("Cache-Control", "max-age=60", "Age", "61", NULL)), ==, 0);
  g_assert_cmpint (get_ttl (take ("Cache-Control", "max-age=60", "Age", "x", NULL)), ==, 60000);
  g_assert_cmpint (get_ttl (take ("Expires", later, "Age", "20", "Age", "5", NULL)), ==, 40000);

  g_assert_cmpint (get_ttl (take ("Cache-Control", "max-age=60", "Vary", "Accept", NULL)), ==,
                   60000);
  g_assert_cmpint (get_ttl (take ("Cache-Control", "max-age=60", "Vary", "Accept, *", NULL)), ==,
                   0);
}

static void
test_not_to_be_kept (void)
{
  g_assert_true (take ("cache-control", "No-Store", NULL).is_not_to_be_kept);
  g_assert_true (take ("Cache-Control", "private=\"x\", no-store", NULL).is_not_to_be_kept);
  g_assert_false (take ("Cache-Control", "private=\"no-store\"", NULL).is_not_to_be_kept);
  g_assert_false (take ("Cache-Control", "no-cache, max-age=0", NULL).is_not_to_be_kept);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/freshness/control", test_control);
  g_test_add_func ("/freshness/lines", test_lines);
  g_test_add_func ("/freshness/not-to-be-kept", test_not_to_be_kept);
  return g_test_run ();
}
