/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Providers that were not built: nothing is opened by them, and whoever asks is told why. Compiled
 * with a table of a service that has neither open-unpack nor open-http.
 */
#include <string.h>

#include "fscache/provider.h"
#include "tests/harness/tap.h"

static FscBytes
bytes (const char *text)
{
  return (FscBytes){ text, strlen (text) };
}

static void
test_left_out (void)
{
  static const struct
  {
    const char *uri, *why;
  } cases[] = {
    { "unpack:///a.zst", "no provider for the scheme \"unpack\": this service was built without it "
                         "(meson setup -Dunpack=enabled)" },
    { "https://host/", "no provider for the scheme \"https\": this service was built without it "
                       "(meson setup -Dhttp=enabled)" },
    { "gopher://hole/", "no provider for the scheme \"gopher\"" },
  };
  g_autoptr (FscProviders) providers = fsc_providers_new (geteuid () == 0);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *why = fsc_providers_explain (providers, bytes (cases[i].uri));

      g_assert_null (fsc_providers_find (providers, bytes (cases[i].uri)));
      g_assert_cmpstr (why, ==, cases[i].why);
    }
  g_assert_nonnull (fsc_providers_find (providers, bytes ("file:///")));
  g_assert_nonnull (fsc_providers_find (providers, bytes ("handle:x")));
  g_assert_nonnull (
      fsc_providers_find_group (providers, "unpack")); /* a configuration may have it */
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/provider/left-out", test_left_out);
  return g_test_run ();
}
