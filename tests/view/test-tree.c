/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names in the view, and the URIs that they stand for.
 */
#include "fscache/view/tree.h"

#include <string.h>

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
  g_assert_true (fsc_tree_is_scheme ("open/file"));
  g_assert_false (fsc_tree_is_scheme ("open/file/a"));
  g_assert_false (fsc_tree_is_scheme ("open"));
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
    { "open/unpack/srv/m.zst", "unpack:///srv/m.zst", "unpack:///srv/m.zst" },
    { "open/unpack/srv/my%20m.zst", "unpack:///srv/my%20m.zst", "unpack:///srv/my%20m.zst" },
    { "open/unpack/srv/my m.zst", "unpack:///srv/my%20m.zst", NULL },
    { "open/unpack/a.tar#dir%2Fmember", "unpack:///a.tar#dir/member",
      "unpack:///a.tar#dir/member" },
    { "open/unpack/a.tar#50%2525", "unpack:///a.tar#50%25", "unpack:///a.tar#50%25" },
    { "open/https/host/o?at=1%2F2&b=%252F", "https://host/o?at=1/2&b=%2F",
      "https://host/o?at=1/2&b=%2F" },
    { "open/handle/listener-80", "handle:listener-80", "handle:listener-80" },
    { "open/tcp/127.0.0.1:5432", "tcp://127.0.0.1:5432", "tcp://127.0.0.1:5432" },
    { "open/helper+s3/bucket/key", "helper+s3://bucket/key", "helper+s3://bucket/key" },
    { "open/unpack/100%", NULL, NULL },
    { "open/unpack/a#%2", NULL, NULL },
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
  g_autofree char *long_name = g_strnfill (256, 'a');
  g_autofree char *long_uri = g_strconcat ("https://host/", long_name, NULL);
  const char *const uris[]
      = { "https://host//a", "https://",          "unpack://host/a", "nonsense",
          "https://host/a/", "https://host/../a", long_uri };
  g_autofree char *directory = fsc_tree_from_uri ("file:///srv/");
  g_autofree char *searched = fsc_tree_from_uri ("file:///srv/.");

  for (gsize i = 0; i < G_N_ELEMENTS (uris); i++)
    g_assert_null (fsc_tree_from_uri (uris[i]));
  g_assert_cmpstr (directory, ==, "file/srv");
  g_assert_cmpstr (searched, ==, "file/srv");
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/view-tree/places", test_places);
  g_test_add_func ("/view-tree/names", test_names);
  g_test_add_func ("/view-tree/nameless", test_nameless);
  return g_test_run ();
}
