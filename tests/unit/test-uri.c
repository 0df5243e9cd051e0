/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * uri.c: one resource has one canonical form, however it is written, and what is none is refused
 * with a reason.
 */
#include "protocol/uri.h"
#include "tests/harness/tap.h"

#include <errno.h>
#include <string.h>

static FscBytes
bytes (const char *text)
{
  return (FscBytes){ text, strlen (text) };
}

static void
assert_canonical (const char *uri, const char *expected)
{
  char buffer[FSC_URI_MAX + 1];
  const char *reason;
  int length = fsc_uri_canonicalize (bytes (uri), buffer, sizeof buffer, &reason);

  if (length < 0)
    g_error ("<%s> was refused: this URI %s", uri, reason);
  g_assert_cmpstr (buffer, ==, expected);
  g_assert_cmpint (length, ==, strlen (expected));
}

static void
assert_refused (const char *uri, size_t length, const char *expected)
{
  char buffer[FSC_URI_MAX + 1];
  const char *reason = NULL;

  g_assert_cmpint (fsc_uri_canonicalize ((FscBytes){ uri, length }, buffer, sizeof buffer, &reason),
                   ==, -EINVAL);
  if (strstr (reason, expected) == NULL)
    g_error ("<%s> was refused because it %s, not because it %s", uri, reason, expected);
}

static void
test_canonical (void)
{
  static const char *const cases[][2] = {
    { "file:///srv/data/a.bin", "file:///srv/data/a.bin" },
    { "FILE:/srv//data/./a.bin", "file:///srv/data/a.bin" },
    { "File:///a", "file:///a" },
    { "file:/a", "file:///a" },
    { "file://localhost/srv/b b", "file:///srv/b%20b" },
    { "file://LocalHost/a", "file:///a" },
    { "file:////a", "file:///a" },
    { "file://///a///b", "file:///a/b" },
    { "file:///", "file:///" },
    { "file:///.", "file:///." },
    { "file:///./", "file:///." },
    { "file:///./.", "file:///." },
    { "file:///.//./", "file:///." },
    { "file:///srv/x/", "file:///srv/x/" },
    { "file:///srv/x//", "file:///srv/x/" },
    { "file:///srv/x/.", "file:///srv/x/." },
    { "file:///srv/x/./", "file:///srv/x/." },
    { "file:///srv/../etc", "file:///srv/../etc" },
    { "file:///..", "file:///.." },
    { "file:///.../.a/a./..b", "file:///.../.a/a./..b" },
    { "file:///srv/%7e/%c3%bc*", "file:///srv/~/%C3%BC%2A" },
    { "file:///%2e/%2E%2e/a", "file:///../a" },
    { "file:///a%2Fb%2f%2f.%2fc", "file:///a/b/c" },
    { "file:///a%3Fb%23c%25d", "file:///a%3Fb%23c%25d" },
    { "file:///\303\274\377", "file:///%C3%BC%FF" },
    { "file:///-._~!$&'()+,;=:@", "file:///-._~!$&'()+,;=:@" },
    { "file:///\"<>[\\]^`{|}", "file:///%22%3C%3E%5B%5C%5D%5E%60%7B%7C%7D" },
    { "file:///a%09%0a%7f", "file:///a%09%0A%7F" },
    { "HTTPS://Host/Object?q#f", "https://host/Object?q" },
    { "http://Example.ORG", "http://example.org/" },
    { "http://a:80", "http://a/" },
    { "http://a:", "http://a/" },
    { "http://a:0080/", "http://a/" },
    { "http://a:443/", "http://a:443/" },
    { "https://a:443/", "https://a/" },
    { "https://a:08443/X/../%7e//", "https://a:8443/X/../%7e//" },
    { "http://a?q", "http://a/?q" },
    { "http://a#f", "http://a/" },
    { "http://a/b@c:d", "http://a/b@c:d" },
    { "http://[2001:DB8::1]:80/", "http://[2001:db8::1]/" },
    { "http://[::ffff:1.2.3.4]:1/", "http://[::ffff:1.2.3.4]:1/" },
    { "http://xn--e1afmkfd.example./a_b", "http://xn--e1afmkfd.example./a_b" },
    { "TCP://LocalHost:05432", "tcp://localhost:5432" },
    { "tcp://[::1]:65535", "tcp://[::1]:65535" },
    { "unpack:///srv/a.tar.gz#dir/./member", "unpack:///srv/a.tar.gz#dir/./member" },
    { "UNPACK:/srv//./m.zst", "unpack:///srv/m.zst" },
    { "unpack://localhost/a%23b#c", "unpack:///a%23b#c" },
    { "unpack:///a#../../etc/passwd", "unpack:///a#../../etc/passwd" },
    { "unpack:///a#/abs//x/", "unpack:///a#/abs//x/" },
    { "unpack:///a#a#b?c %2f%c3%bc\377", "unpack:///a#a%23b%3Fc%20/%C3%BC%FF" },
    { "unix:///run//db.sock", "unix:///run/db.sock" },
    { "unix:/run/db.sock", "unix:///run/db.sock" },
    { "UNIX:@Bus//./x#?", "unix:@Bus//./x%23%3F" },
    { "Helper+S3://Bucket/%41", "helper+s3://Bucket/%41" },
    { "helper+git:", "helper+git:" },
    { "handle:listener-80", "handle:listener-80" },
    { "Handle:a b/%61/..#", "handle:a%20b/a/..%23" },
    { "x-y.z+1:", "x-y.z+1:" },
  };

  for (unsigned i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      assert_canonical (cases[i][0], cases[i][1]);
      assert_canonical (cases[i][1], cases[i][1]); /* it is its own canonical form */
    }
}

static void
test_refused (void)
{
  static const char *const cases[][2] = {
    { "", "no scheme" },
    { ":", "no scheme" },
    { ":/a", "no scheme" },
    { "/srv/a", "no scheme" },
    { "srv/a:b", "no scheme" },
    { "1a:b", "no scheme" },
    { "+a:b", "no scheme" },
    { "a b:c", "no scheme" },
    { "file", "no scheme" },
    { "file:", "no absolute path" },
    { "file:relative", "no absolute path" },
    { "file://", "no absolute path" },
    { "file://server/x", "names a host" },
    { "file://localhost", "names a host" },
    { "file://localhost.example/x", "names a host" },
    { "file:///a?b", "must be written" },
    { "file:///a#b", "must be written" },
    { "file:///a%zz", "'%'" },
    { "file:///a%", "'%'" },
    { "file:///a%4", "'%'" },
    { "file:///a%4g", "'%'" },
    { "file:///a%g4", "'%'" },
    { "file:///a%00b", "zero byte" },
    { "http://a/ b", "escaped" },
    { "http://a/\tb", "escaped" },
    { "http://a/\303\274", "escaped" },
    { "helper+x:a\177", "escaped" },
    { "http:", "no host" },
    { "http:/a", "no host" },
    { "http://", "no host" },
    { "http:///a", "no host" },
    { "http://:80/", "no host" },
    { "http://\303\274/", "no host" },
    { "http://a%62/", "no host" },
    { "http://a b/", "no host" },
    { "http://[]/", "no host" },
    { "http://[::1", "no host" },
    { "http://[::1%25eth0]/", "no host" },
    { "http://[g]/", "no host" },
    { "http://[::1]a/", "port" },
    { "http://::1/", "no host" },
    { "http://a:b/", "port" },
    { "http://a:0/", "port" },
    { "http://a:65536/", "port" },
    { "http://a:99999999999999999999/", "port" },
    { "http://a:-1/", "port" },
    { "http://a:1:2/", "port" },
    { "http://user@a/", "password" },
    { "http://user:secret@a/", "password" },
    { "tcp://a", "no port" },
    { "tcp://a:", "no port" },
    { "tcp://a:1/", "a host and a port alone" },
    { "tcp://a:1#x", "a host and a port alone" },
    { "tcp:a:1", "a host and a port alone" },
    { "tcp://u@a:1", "password" },
    { "unpack:relative#x", "no absolute path" },
    { "unpack://server/a", "names a host" },
    { "unpack:///a?b", "must be written" },
    { "unpack:///a#", "no name of a member" },
    { "unpack:///a#b%00", "zero byte" },
    { "unpack:///a#%4", "'%'" },
    { "unix:db.sock", "no absolute path" },
    { "unix:%40x", "no absolute path" },
    { "unix:@", "no name" },
    { "unix:@%00", "zero byte" },
    { "handle:", "no name" },
    { "handle:%", "'%'" },
  };

  for (unsigned i = 0; i < G_N_ELEMENTS (cases); i++)
    assert_refused (cases[i][0], strlen (cases[i][0]), cases[i][1]);
  assert_refused ("file:///a%41", 11, "'%'"); /* the last digit is beyond its end */
  assert_refused ("file:///a\0b", 11, "zero byte");
  assert_refused ("http://a/\0b", 11, "escaped");
  assert_refused ("handle:a\0b", 10, "zero byte");
}

static void
test_scheme (void)
{
  g_assert_cmpuint (fsc_uri_get_scheme_length (bytes ("file:///a")), ==, 4);
  g_assert_cmpuint (fsc_uri_get_scheme_length (bytes ("helper+s3:x")), ==, 9);
  g_assert_cmpuint (fsc_uri_get_scheme_length (bytes ("./a:b")), ==, 0);
  g_assert_cmpuint (fsc_uri_get_scheme_length ((FscBytes){ NULL, 0 }), ==, 0);
  g_assert_true (fsc_uri_has_scheme (bytes ("FiLe:x"), "file"));
  g_assert_false (fsc_uri_has_scheme (bytes ("files:x"), "file"));
  g_assert_false (fsc_uri_has_scheme (bytes ("fil:x"), "file"));
  g_assert_false (fsc_uri_has_scheme (bytes ("file"), "file"));
}

static void
test_host (void)
{
  static const char *const cases[][2] = {
    { "http://example.org", "example.org" },
    { "tcp://[::1]:80/x", "[::1]:80" },
    { "http://a:81?q", "a:81" },
    { "http://a#f", "a" },
    { "file:///a", "" },
    { "unix:/a//b", "" },
    { "x://", "" },
    { "x:/", "" },
    { "x:", "" },
    { "x", "" },
  };

  for (unsigned i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      FscBytes host = fsc_uri_get_host (bytes (cases[i][0]));
      g_autofree char *text = g_strndup (host.data, host.length);

      g_assert_cmpstr (host.length > 0 ? text : "", ==, cases[i][1]);
    }
}

static void
test_from_path (void)
{
  static const char *const cases[][2] = {
    { "/", "file:///" },
    { "//", "file:///" },
    { "/srv/a b", "file:///srv/a%20b" },
    { "/srv/a?b#c%41*", "file:///srv/a%3Fb%23c%2541%2A" },
    { "/srv/./x/.", "file:///srv/x/." },
    { "/srv/../x", "file:///srv/../x" },
    { "/\n\377", "file:///%0A%FF" },
  };
  char buffer[64];

  for (unsigned i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_assert_cmpint (fsc_uri_from_path (bytes (cases[i][0]), buffer, sizeof buffer), ==,
                       strlen (cases[i][1]));
      g_assert_cmpstr (buffer, ==, cases[i][1]);
      assert_canonical (buffer, cases[i][1]);
    }
  g_assert_cmpint (fsc_uri_from_path (bytes ("srv"), buffer, sizeof buffer), ==, -EINVAL);
  g_assert_cmpint (fsc_uri_from_path (bytes (""), buffer, sizeof buffer), ==, -EINVAL);
}

static void
test_to_path (void)
{
  static const char *const refused[] = { "",           "file://",     "file:/a",    "FILE:///a",
                                         "file:///a?", "file:///%00", "file:///%4", "http:///a" };
  char buffer[64];

  g_assert_cmpint (fsc_uri_to_path (bytes ("file:///a%20b%2A/"), buffer, sizeof buffer), ==, 6);
  g_assert_cmpstr (buffer, ==, "/a b*/");
  for (unsigned i = 0; i < G_N_ELEMENTS (refused); i++)
    g_assert_cmpint (fsc_uri_to_path (bytes (refused[i]), buffer, sizeof buffer), ==, -EINVAL);
}

static void
test_parts (void)
{
  static const struct
  {
    const char *uri, *path, *member;
  } cases[] = {
    { "file:///a%23b", "/a#b", NULL },
    { "unpack:///a%20b", "/a b", NULL },
    { "unpack:///a%23#%2Fx/../%20/", "/a#", "/x/../ /" },
    { "unix:///run/x", "/run/x", NULL },
    { "unix:@x/y", NULL, NULL },
    { "http://a/b#c", NULL, NULL },
    { "handle:/a", NULL, NULL },
    { "helper+x:///a#b", NULL, NULL },
  };
  char buffer[64];

  for (unsigned i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      FscBytes uri = bytes (cases[i].uri);

      g_assert_cmpint (fsc_uri_names_path (uri), ==, cases[i].path != NULL);
      g_assert_cmpint (fsc_uri_get_path (uri, buffer, sizeof buffer), ==,
                       cases[i].path != NULL ? (int) strlen (cases[i].path) : -EINVAL);
      if (cases[i].path != NULL)
        g_assert_cmpstr (buffer, ==, cases[i].path);
      g_assert_cmpint (fsc_uri_to_member (uri, buffer, sizeof buffer), ==,
                       cases[i].member != NULL ? (int) strlen (cases[i].member) : -ENOENT);
      if (cases[i].member != NULL)
        g_assert_cmpstr (buffer, ==, cases[i].member);
    }
  g_assert_true (fsc_uri_names_path (bytes ("UNPACK:/a")));
  g_assert_true (fsc_uri_names_path (bytes ("unix:")));
  g_assert_cmpint (fsc_uri_to_path (bytes ("unpack:///a"), buffer, sizeof buffer), ==, -EINVAL);
  g_assert_cmpint (fsc_uri_to_member (bytes ("unpack:///a#bc"), buffer, 2), ==, -ENAMETOOLONG);
}

/* Each byte that a path may have comes back from its URI. */
static void
test_all_bytes (void)
{
  for (int c = 1; c < 256; c++)
    {
      char path[] = { '/', 'a', (char) c, 'b', '\0' };
      char uri[64], canonical[64], back[64];
      const char *reason;
      int length = fsc_uri_from_path (bytes (path), uri, sizeof uri);

      g_assert_cmpint (length, >, 0);
      for (int i = 0; i < length; i++)
        g_assert_true (uri[i] > ' ' && uri[i] <= '~');
      g_assert_cmpint (fsc_uri_canonicalize (bytes (uri), canonical, sizeof canonical, &reason), ==,
                       length);
      g_assert_cmpstr (canonical, ==, uri);
      g_assert_cmpint (fsc_uri_to_path (bytes (uri), back, sizeof back), ==, 4);
      g_assert_cmpstr (back, ==, path);
    }
}

/* What must be escaped or left out is found wherever it is in a path of any length. */
static void
test_each_place (void)
{
  static const char *const odd[][2]
      = { { "*", "%2A" }, { "\200", "%80" }, { "[", "%5B" }, { "+", "+" },     { "`", "%60" },
          { "{", "%7B" }, { "//", "/" },     { "/./", "/" }, { "/..", "/.." }, { "/.x", "/.x" } };

  for (size_t length = 0; length < 70; length++)
    for (size_t at = 0; at <= length; at++)
      for (unsigned i = 0; i < G_N_ELEMENTS (odd); i++)
        {
          g_autofree char *head = g_strnfill (at, 'z'), *tail = g_strnfill (length - at + 1, '9');
          g_autofree char *path = g_strconcat ("/a", head, odd[i][0], tail, "/b", NULL);
          g_autofree char *uri = g_strconcat ("file:///a", head, odd[i][1], tail, "/b", NULL);
          g_autofree char *exact = g_malloc (strlen (uri) + 1); /* not one byte more */

          g_assert_cmpint (fsc_uri_from_path (bytes (path), exact, strlen (uri) + 1), ==,
                           strlen (uri));
          g_assert_cmpstr (exact, ==, uri);
          g_assert_cmpint (fsc_uri_from_path (bytes (path), exact, strlen (uri)), ==,
                           -ENAMETOOLONG);
        }
}

/* Whatever is too long for the buffer says so, and leaves what is behind it alone. */
static void
test_no_room (void)
{
  static const char uri[] = "file:///a%20b/./c//d";
  static const char canonical[] = "file:///a%20b/c/d";
  const char *reason;

  for (size_t size = 0; size <= sizeof canonical; size++)
    {
      g_autofree char *buffer = size > 0 ? g_malloc (size) : NULL;
      char path[] = "/a b/c/d";
      g_autofree char *path_buffer = size > 0 ? g_malloc (size) : NULL;
      bool fits = size >= sizeof canonical;

      g_assert_cmpint (fsc_uri_canonicalize (bytes (uri), buffer, size, &reason), ==,
                       fits ? (int) strlen (canonical) : -ENAMETOOLONG);
      g_assert_cmpint (fsc_uri_from_path (bytes (path), buffer, size), ==,
                       fits ? (int) strlen (canonical) : -ENAMETOOLONG);
      g_assert_cmpint (fsc_uri_canonicalize (bytes ("http://exam.pl/co"), buffer, size, &reason),
                       ==, fits ? (int) strlen (canonical) : -ENAMETOOLONG);
      g_assert_cmpint (fsc_uri_to_path (bytes (canonical), path_buffer, size), ==,
                       size >= sizeof path ? (int) strlen (path) : -ENAMETOOLONG);
    }
}

/* The longest path that the kernel takes has a URI, even if each byte must be escaped. */
static void
test_longest_path (void)
{
  char path[4096], buffer[FSC_URI_MAX];

  memset (path, '*', sizeof path - 1);
  path[sizeof path - 1] = '\0';
  for (size_t i = 0; i < sizeof path - 1; i += 256)
    path[i] = '/';
  g_assert_cmpint (fsc_uri_from_path (bytes (path), buffer, sizeof buffer), >, 12000);
}

/* Noise: what is accepted is canonical already when it is done a second time. */
static void
test_idempotent (void)
{
  static const char alphabet[] = "/////....%%2eEfF0a~* :?#\303";

  for (int i = 0; i < 200000; i++)
    {
      char text[32] = "file:///", once[128], twice[128];
      size_t length = (size_t) g_test_rand_int_range (5, 24);
      const char *reason;
      int r;

      for (size_t at = 5; at < length; at++)
        text[at] = alphabet[g_test_rand_int_range (0, sizeof alphabet - 1)];
      text[length] = '\0';
      r = fsc_uri_canonicalize (bytes (text), once, sizeof once, &reason);
      if (r < 0)
        continue;
      g_assert_cmpint (fsc_uri_canonicalize (bytes (once), twice, sizeof twice, &reason), ==, r);
      g_assert_cmpstr (once, ==, twice);
      g_assert_null (strstr (once + 7, "//"));
      g_assert_null (strstr (once, "/./"));
      g_assert_cmpint (fsc_uri_to_path (bytes (once), twice, sizeof twice), >, 0);
      g_assert_cmpint (fsc_uri_from_path (bytes (twice), text, 0), ==, -ENAMETOOLONG);
    }
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/uri/canonical", test_canonical);
  g_test_add_func ("/uri/refused", test_refused);
  g_test_add_func ("/uri/scheme", test_scheme);
  g_test_add_func ("/uri/host", test_host);
  g_test_add_func ("/uri/from-path", test_from_path);
  g_test_add_func ("/uri/each-place", test_each_place);
  g_test_add_func ("/uri/to-path", test_to_path);
  g_test_add_func ("/uri/parts", test_parts);
  g_test_add_func ("/uri/all-bytes", test_all_bytes);
  g_test_add_func ("/uri/no-room", test_no_room);
  g_test_add_func ("/uri/longest-path", test_longest_path);
  g_test_add_func ("/uri/idempotent", test_idempotent);
  return g_test_run ();
}
