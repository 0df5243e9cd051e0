/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names in the view, and the URIs that they stand for.
 */
#include "fscache/view/tree.h"

#include <stdlib.h>
#include <string.h>

#include "libclient/fscache.h"
#include "tests/harness/tap.h"

static void
test_places (void)
{
  static const struct
  {
    const char *path;
    FscPlace place;
  } places[] = {
    { "", FSC_PLACE_TOP },
    { "open", FSC_PLACE_OPEN },
    { "open/file", FSC_PLACE_SOURCE },
    { "open/file/a", FSC_PLACE_SOURCE },
    { "open/file/a%", FSC_PLACE_SOURCE },
    { "open/unpack", FSC_PLACE_SOURCE },
    { "open/unpack/a/b.zst", FSC_PLACE_SOURCE },
    { "open/unpack/a.tar#b%", FSC_PLACE_OPEN },
    { "open/http", FSC_PLACE_OPEN },
    { "open/http/host", FSC_PLACE_OPEN },
    { "open/http/host/%2F", FSC_PLACE_SOURCE },
    { "open/http/host/a", FSC_PLACE_SOURCE },
    { "open/http/host/a%", FSC_PLACE_OPEN },
    { "open/http/host/a%25", FSC_PLACE_SOURCE },
    { "open/handle", FSC_PLACE_OPEN },
    { "open/handle/a", FSC_PLACE_SOURCE },
    { "open/handle/a%%", FSC_PLACE_OPEN },
    { "open/helper+s3", FSC_PLACE_OPEN },
    { "open/helper+s3/:", FSC_PLACE_OPEN },
    { "open/helper+s3/bucket", FSC_PLACE_SOURCE },
    { "open/helper+s3/bucket%", FSC_PLACE_OPEN },
    { "open/helper+", FSC_PLACE_NOWHERE },
    { "open/tcp", FSC_PLACE_NOWHERE },
    { "open/unix/run%/db.sock", FSC_PLACE_NOWHERE },
    { "open/gopher", FSC_PLACE_NOWHERE },
    { "opener", FSC_PLACE_NOWHERE },
    { "cached", FSC_PLACE_CACHED },
    { "cached/file", FSC_PLACE_ENTRY },
    { "cached/https/host", FSC_PLACE_ENTRY },
    { "status.json", FSC_PLACE_STATUS },
    { "metrics", FSC_PLACE_METRICS },
    { "status.json/a", FSC_PLACE_NOWHERE },
    { "other", FSC_PLACE_NOWHERE },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (places); i++)
    g_assert_cmpint (fsc_tree_get_place (places[i].path), ==, places[i].place);
}

/* What each name stands for; and, if it is the name of that, the way back. */
static void
test_names (void)
{
  static const struct
  {
    const char *path;
    const char *target; /* NULL: it stands for nothing */
    const char *uri;    /* of which it is the name, or NULL */
  } names[] = {
    { "open/file", "/", "file:///" },
    { "open/file/srv/a.bin", "/srv/a.bin", "file:///srv/a.bin" },
    { "open/file/srv/a b%20c\xff", "/srv/a b%20c\xff", "file:///srv/a%20b%2520c%FF" },
    { "open/file/what?", "/what?", "file:///what%3F" },
    { "cached/file/srv/%2E%2E/a", "/srv/../a", "file:///srv/../a" },
    { "open/file/srv/%2E%2E/a", "/srv/%2E%2E/a", NULL },
    { "cached/file/srv/%252E%2E", "/srv/%2E%2E", "file:///srv/%252E%252E" },
    { "open/unpack/srv/m.zst", "unpack:///srv/m.zst", "unpack:///srv/m.zst" },
    { "open/unpack/srv/my m.zst", "unpack:///srv/my%20m.zst", "unpack:///srv/my%20m.zst" },
    { "open/unpack/srv/my%20m.zst", "unpack:///srv/my%20m.zst", NULL },
    { "open/unpack/50%25%23?", "unpack:///50%25%23%3F", "unpack:///50%25%23%3F" },
    { "open/unpack/a/%2E%2E/b", "unpack:///a/../b", "unpack:///a/../b" },
    { "open/unpack/a%2F", "unpack:///a/", "unpack:///a/" },
    { "open/unpack/a.tar#dir%2Fmember", "unpack:///a.tar#dir/member",
      "unpack:///a.tar#dir/member" },
    { "open/unpack/a.tar#dir%/member", "unpack:///a.tar#dir/member", NULL },
    { "open/unpack/a.tar#50%25", "unpack:///a.tar#50%25", "unpack:///a.tar#50%25" },
    { "open/http/host/%2F", "http://host/", "http://host/" },
    { "open/http/host/%2F%2F", "http://host//", "http://host//" },
    { "open/http/host/%/a%/%/b", "http://host//a//b", "http://host//a//b" },
    { "open/http/host/%2E%2E", "http://host/..", "http://host/.." },
    { "open/http/host/..%/a", "http://host/../a", "http://host/../a" },
    { "open/http/host/a%2F", "http://host/a/", "http://host/a/" },
    { "open/http/host/my%20a", "http://host/my%20a", "http://host/my%20a" },
    { "open/http/host/my a", "http://host/my%20a", NULL },
    { "open/http/host/100%25", "http://host/100%", "http://host/100%" },
    { "open/http/host/a%252Fb", "http://host/a%2Fb", "http://host/a%2Fb" },
    { "open/http/[::1]:8080/a", "http://[::1]:8080/a", "http://[::1]:8080/a" },
    { "open/https/host/a%/b", "https://host/a/b", "https://host/a/b" },
    { "open/https/host/a%2Fb", "https://host/a/b", NULL },
    { "open/https/host/o?at=1%2F2&b=%252F", "https://host/o?at=1/2&b=%2F",
      "https://host/o?at=1/2&b=%2F" },
    { "open/handle/listener-80", "handle:listener-80", "handle:listener-80" },
    { "open/handle/a%/what?", "handle:a/what%3F", "handle:a/what%3F" },
    { "open/handle/%3A", "handle::", "handle::" },
    { "cached/tcp/127.0.0.1:5432", "tcp://127.0.0.1:5432", "tcp://127.0.0.1:5432" },
    { "cached/unix/run%/db.sock", "unix:///run/db.sock", "unix:///run/db.sock" },
    { "cached/unix/:/@bus", "unix:@bus", "unix:@bus" },
    { "open/helper+s3/bucket%/key", "helper+s3://bucket/key", "helper+s3://bucket/key" },
    { "open/helper+s3/bucket/key", "helper+s3://bucket/key", NULL },
    { "open/helper+git/%/a.git#v1:b%2Fc", "helper+git:///a.git#v1:b/c",
      "helper+git:///a.git#v1:b/c" },
    { "open/helper+x/:/%2F", "helper+x:", "helper+x:" },
    { "open/helper+x/:/a", "helper+x:a", "helper+x:a" },
    { "open/unpack/100%", NULL, NULL },
    { "open/handle/a#%2", NULL, NULL },
    { "open/handle/%00", NULL, NULL },
    { "open/tcp/127.0.0.1:5432", NULL, NULL },
    { "open/File/a", NULL, NULL },
    { "open/-/a", NULL, NULL },
    { "open", NULL, NULL },
    { "metrics", NULL, NULL },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *target = fsc_tree_get_target (names[i].path);
      g_autofree char *path = names[i].uri != NULL ? fsc_tree_from_uri (names[i].uri) : NULL;

      g_assert_cmpstr (target, ==, names[i].target);
      if (names[i].uri != NULL)
        g_assert_cmpstr (path, ==, fsc_tree_skip_branch (names[i].path));
    }
}

static void
test_nameless (void)
{
  const char *const uris[] = { "unpack://host/a", "nonsense", "file:a", "http://host", "http:a" };
  g_autofree char *directory = fsc_tree_from_uri ("file:///srv/");
  g_autofree char *searched = fsc_tree_from_uri ("file:///srv/.");

  for (gsize i = 0; i < G_N_ELEMENTS (uris); i++)
    g_assert_null (fsc_tree_from_uri (uris[i]));
  g_assert_cmpstr (directory, ==, "file/srv");
  g_assert_cmpstr (searched, ==, "file/srv");
}

/* What is in a directory of the source's is looked up under the name that the view lists. */
static void
test_unpacked (void)
{
  g_autofree char *name = fsc_tree_get_name ("open/unpack/srv", "50% #1");
  g_autofree char *path = fsc_tree_join ("open/unpack/srv", name);
  g_autofree char *unpacked = fsc_tree_get_unpacked (path);
  g_autofree char *root = fsc_tree_get_unpacked ("open/unpack");
  g_autofree char *same = fsc_tree_get_name ("open/file/srv", "50% #1");

  g_assert_cmpstr (name, ==, "50%25 %231");
  g_assert_cmpstr (unpacked, ==, "/srv/50% #1");
  g_assert_cmpstr (root, ==, "/");
  g_assert_cmpstr (same, ==, "50% #1");
  g_assert_null (fsc_tree_get_unpacked ("open/unpack/a.tar#b"));
  g_assert_null (fsc_tree_get_unpacked ("open/file/a"));
}

/* Something that may be a URI, of all that may be special. */
static char *
make_uri (void)
{
  static const char *const schemes[] = { "file:///",     "unpack:///",   "http://host",
                                         "https://a:8/", "handle:",      "unix:///",
                                         "unix:@",       "helper+x:",    "helper+x:/",
                                         "helper+x://",  "helper+x:///", "tcp://h:80",
                                         "file:///",     "unpack:///a#", "http://h/" };
  static const char *const pieces[] = { "/",   "/",   "/",   ".",   "..",   "%",   "%25",
                                        "%2E", "2E",  "%2F", "%23", "#",    "?",   ":",
                                        "@",   "a",   "b",   "A",   "%20",  "%7F", "%C3%BC",
                                        "%c3", "%41", "+",   "~",   "\xff", "*",   "%0A" };
  GString *uri = g_string_new (schemes[g_test_rand_int_range (0, G_N_ELEMENTS (schemes))]);

  for (int n = g_test_rand_int_range (0, 9); n > 0; n--)
    {
      const char *piece = pieces[g_test_rand_int_range (0, G_N_ELEMENTS (pieces))];
      int times = g_test_rand_int_range (0, 40) == 0 ? g_test_rand_int_range (80, 600) : 1;

      while (times-- > 0)
        g_string_append (uri, piece);
    }
  return g_string_free (uri, FALSE);
}

/* That a file: URI asks for a directory is not in its name. */
static void
cut_directory (char *uri)
{
  gsize length = strlen (uri);

  if (!g_str_has_prefix (uri, "file:"))
    return;
  if (g_str_has_suffix (uri, "/."))
    uri[--length] = '\0';
  if (uri[length - 1] == '/' && strcmp (uri, "file:///") != 0)
    uri[length - 1] = '\0';
}

static void
assert_good_names (const char *path)
{
  g_auto (GStrv) names = g_strsplit (path, "/", -1);

  for (guint i = 0; names[i] != NULL; i++)
    {
      g_assert_cmpstr (names[i], !=, "");
      g_assert_cmpstr (names[i], !=, ".");
      g_assert_cmpstr (names[i], !=, "..");
      if (strcmp (names[0], "file") != 0)
        g_assert_cmpuint (strlen (names[i]), <=, 255);
    }
}

/* What is to be opened is a file in directories, as far as that can be seen by their names. */
static void
assert_good_places (const char *path)
{
  g_autofree char *open = g_strconcat ("open/", path, NULL);
  FscPlace place = fsc_tree_get_place (open);

  if (place == FSC_PLACE_NOWHERE || g_str_has_prefix (path, "file")
      || g_str_has_prefix (path, "unpack"))
    return;
  g_assert_cmpint (place, ==, FSC_PLACE_SOURCE);
  for (char *slash; (slash = strrchr (open, '/')) != NULL;)
    {
      *slash = '\0';
      g_assert_cmpint (fsc_tree_get_place (open), ==, FSC_PLACE_OPEN);
    }
}

/* Each canonical URI has a name, which no other one has, and which leads to it. */
static void
test_all (void)
{
  g_autoptr (GHashTable) uris = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  int n = 0;

  for (int i = 0; i < 200000; i++)
    {
      g_autofree char *given = make_uri ();
      char *allocated = fscache_uri (given);
      g_autofree char *uri = g_strdup (allocated);
      g_autofree char *path = NULL, *cached = NULL, *target = NULL;
      const char *before;
      char *again;

      free (allocated);
      if (uri == NULL)
        continue;
      cut_directory (uri);
      path = fsc_tree_from_uri (uri);
      if (path == NULL)
        g_test_message ("%s", uri);
      g_assert_nonnull (path);
      assert_good_names (path);
      assert_good_places (path);

      cached = g_strconcat ("cached/", path, NULL);
      target = fsc_tree_get_target (cached);
      if (target == NULL)
        g_test_message ("%s %s", uri, path);
      g_assert_nonnull (target);
      again = fscache_uri (target);
      g_assert_cmpstr (again, ==, uri);
      if (target[0] != '/')
        g_assert_cmpstr (target, ==, uri);
      free (again);

      before = g_hash_table_lookup (uris, path);
      if (before != NULL)
        g_assert_cmpstr (before, ==, uri);
      else
        {
          g_hash_table_insert (uris, g_steal_pointer (&path), g_steal_pointer (&uri));
          n++;
        }
    }
  g_test_message ("%d", n);
  g_assert_cmpint (n, >, 10000);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/view-tree/places", test_places);
  g_test_add_func ("/view-tree/names", test_names);
  g_test_add_func ("/view-tree/nameless", test_nameless);
  g_test_add_func ("/view-tree/unpacked", test_unpacked);
  g_test_add_func ("/view-tree/all", test_all);
  return g_test_run ();
}
