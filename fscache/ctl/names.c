/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Arguments that name resources; see names.h.
 */
#include "fscache/ctl/names.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/fscache.h"

gboolean
fsc_names_is_pattern (const char *argument)
{
  return strpbrk (argument, "*?") != NULL;
}

static gboolean
has_scheme (const char *argument)
{
  g_autofree char *scheme = g_uri_parse_scheme (argument);

  return scheme != NULL;
}

char *
fsc_names_get_uri (const char *argument, GError **error)
{
  char *uri = fscache_uri (argument);
  char *copy;

  if (uri == NULL)
    {
      int code = errno;

      if (code == EINVAL)
        g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                     "\"%s\" is neither a URI nor a path", argument);
      else
        g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code), "%s: %s", argument,
                     g_strerror (code));
      return NULL;
    }
  copy = g_strdup (uri);
  free (uri);
  return copy;
}

static gsize
count_wildcards (const char *argument)
{
  gsize n = 0;

  for (; *argument != '\0'; argument++)
    n += *argument == '*' || *argument == '?';
  return n;
}

static gsize
count_escaped_wildcards (const char *uri)
{
  gsize n = 0;

  for (; *uri != '\0'; uri++)
    n += g_str_has_prefix (uri, "%2A") || g_str_has_prefix (uri, "%3F");
  return n;
}

char *
fsc_names_get_pattern (const char *argument, GError **error)
{
  g_autofree char *uri = NULL;
  g_autoptr (GString) pattern = NULL;
  gsize keep;

  if (has_scheme (argument))
    return g_strdup (argument);
  uri = fsc_names_get_uri (argument, error);
  if (uri == NULL)
    return NULL;

  /* Of the escaped wildcards the last ones are the argument's. Those before are in the name of the
   * current directory, and stay as they are: a directory called "*" must not make a `drop` that is
   * meant for it empty the cache. */
  keep = count_escaped_wildcards (uri) - count_wildcards (argument);
  pattern = g_string_new (NULL);
  for (const char *c = uri; *c != '\0'; c++)
    {
      gboolean is_star = g_str_has_prefix (c, "%2A");

      if (!is_star && !g_str_has_prefix (c, "%3F"))
        g_string_append_c (pattern, *c);
      else if (keep > 0)
        {
          keep--;
          g_string_append_c (pattern, *c);
        }
      else
        {
          g_string_append_c (pattern, is_star ? '*' : '?');
          c += 2;
        }
    }
  return g_string_free (g_steal_pointer (&pattern), FALSE);
}
