/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * allow.c: which hosts a list names.
 */
#include "fscache/openers/allow.h"
#include "tests/harness/tap.h"

#include <string.h>

static bool
has_uri (const char *list, const char *uri)
{
  return fsc_allow_has (list, (FscBytes){ uri, strlen (uri) });
}

static bool
has (const char *list, const char *host)
{
  g_autofree char *uri = g_strdup_printf ("http://%s/", host);

  return has_uri (list, uri);
}

static void
test_names (void)
{
  g_assert_true (has ("example.org", "example.org"));
  g_assert_true (has (" a.org\texample.org  b.org ", "example.org"));
  g_assert_true (has ("Example.ORG", "example.org"));
  g_assert_false (has ("", "example.org"));
  g_assert_false (has (" ", "example.org"));
  g_assert_false (has ("example.org", ""));
  g_assert_false (has ("example.org", "example.or"));
  g_assert_false (has ("example.org", "example.org.evil.net"));
  g_assert_false (has ("example.org", "www.example.org"));
  g_assert_false (has ("example.org", "notexample.org"));
}

static void
test_patterns (void)
{
  g_assert_true (has ("*.example.org", "www.example.org"));
  g_assert_true (has ("*.example.org", "a.b.example.org"));
  g_assert_false (has ("*.example.org", "example.org"));
  g_assert_false (has ("*.example.org", ".example.org"));
  g_assert_false (has ("*.example.org", "notexample.org"));
  g_assert_false (has ("*.example.org", "www.example.org.evil.net"));
  g_assert_false (has ("*example.org", "notexample.org"));
  g_assert_false (has ("www.*", "www.example.org"));
  g_assert_true (has ("*", "example.org"));
  g_assert_true (has ("*", "[::1]:8080"));
}

static void
test_ports (void)
{
  g_assert_true (has ("example.org:8080", "example.org:8080"));
  g_assert_true (has ("*.example.org:8080", "www.example.org:8080"));
  g_assert_false (has ("example.org", "example.org:8080"));
  g_assert_false (has ("example.org:8080", "example.org"));
  g_assert_false (has ("example.org:808", "example.org:8080"));
  g_assert_true (has ("*:8080", "example.org:8080"));
  g_assert_false (has ("*:8080", "example.org"));
  g_assert_true (has ("example.org:*", "example.org:8080"));
  g_assert_true (has ("example.org:*", "example.org"));
  g_assert_true (has ("[::1]:8080", "[::1]:8080"));
  g_assert_true (has ("[::1]", "[::1]"));
  g_assert_false (has ("[::1]", "[::1]:8080"));
  g_assert_false (has ("[::]", "[::1]"));
}

/* What the URI leaves out may be written in the list. */
static void
test_default_ports (void)
{
  g_assert_true (has_uri ("example.org:443", "https://example.org/"));
  g_assert_false (has_uri ("example.org:443", "http://example.org/"));
  g_assert_false (has_uri ("example.org:443", "https://example.org:80/"));
  g_assert_true (has_uri ("*.example.org:80", "http://www.example.org/"));
  g_assert_false (has_uri ("*:80", "https://example.org/"));
  g_assert_true (has_uri ("[::1]:443", "https://[::1]/"));
  g_assert_true (has_uri ("example.org:5432", "tcp://example.org:5432"));
  g_assert_false (has_uri ("example.org", "tcp://example.org:5432"));
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/allow/names", test_names);
  g_test_add_func ("/allow/patterns", test_patterns);
  g_test_add_func ("/allow/ports", test_ports);
  g_test_add_func ("/allow/default-ports", test_default_ports);
  return g_test_run ();
}
