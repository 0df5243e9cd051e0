/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * text.c: what is in a sentence for people, and what is not.
 */
#include "protocol/text.h"

#include "tests/harness/tap.h"

static void
test_clean (void)
{
  static const struct
  {
    const char *text, *clean;
  } texts[] = {
    { "", "" },
    { "cannot open /a b~", "cannot open /a b~" },
    { "\033[31m\a\n\r\t\177", "?[31m?????" },
    { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
    { "\xc2\x9b"
      "31m\xc2\xa0",
      "??31m\xc2\xa0" }, /* CSI as one character */
    { "\xff\xfe\x80x", "???x" },
    { "\xc3", "?" }, /* cut off */
    { "\xe2\x82", "??" },
    { "\xe2\x82x", "??x" },
    { "\xc1\xbf\xe0\x9f\xbf\xf0\x8f\xbf\xbf", "?????????" }, /* longer than need be */
    { "\xed\xa0\x80\xf4\x90\x80\x80\xf8\x88\x80\x80\x80", "????????????" }, /* no characters */
    { "\xf4\x8f\xbf\xbf\xee\x80\x80", "\xf4\x8f\xbf\xbf\xee\x80\x80" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      g_autofree char *text = g_strdup (texts[i].text);

      fsc_text_clean (text);
      g_assert_cmpstr (text, ==, texts[i].clean);
      g_assert_true (g_utf8_validate (text, -1, NULL));
    }
}

/* Whatever bytes there are, as GLib sees it. */
static void
test_any (void)
{
  for (guint i = 0; i < 200000; i++)
    {
      guint32 bytes = g_test_rand_int () | (i % 2 == 0 ? 0x00808080 : 0);
      char text[5] = "", before[5] = "";

      memcpy (text, &bytes, sizeof bytes);
      memcpy (before, &bytes, sizeof bytes);
      fsc_text_clean (text);
      g_assert_true (g_utf8_validate (text, -1, NULL));
      for (const char *c = text; *c != '\0'; c = g_utf8_next_char (c))
        g_assert_false (g_unichar_iscntrl (g_utf8_get_char (c)));
      if (g_utf8_validate (before, -1, NULL) && strchr (text, '?') == NULL)
        g_assert_cmpstr (before, ==, text);
    }
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/text/clean", test_clean);
  g_test_add_func ("/text/any", test_any);
  return g_test_run ();
}
