/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The names of the view; see tree.h.
 */
#include "fscache/view/tree.h"

#include <string.h>

#define NAME_MAX_LENGTH 255

static const char hex[] = "0123456789ABCDEF";

/* What stands between a scheme and the first component. */
static const char *
get_separator (const char *scheme, gsize length)
{
  static const struct
  {
    const char *scheme;
    const char *separator;
  } separators[] = {
    { "file", ":///" },
    { "unpack", ":///" },
    { "unix", ":///" },
    { "handle", ":" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (separators); i++)
    if (strlen (separators[i].scheme) == length
        && strncmp (separators[i].scheme, scheme, length) == 0)
      return separators[i].separator;
  return "://";
}

static gboolean
begins_with (const char *path, const char *name)
{
  gsize length = strlen (name);

  return strncmp (path, name, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

FscPlace
fsc_tree_get_place (const char *path)
{
  if (path[0] == '\0')
    return FSC_PLACE_TOP;
  if (strcmp (path, "status.json") == 0)
    return FSC_PLACE_STATUS;
  if (strcmp (path, "metrics") == 0)
    return FSC_PLACE_METRICS;
  if (begins_with (path, "open"))
    return path[strlen ("open")] == '\0' ? FSC_PLACE_OPEN : FSC_PLACE_SOURCE;
  if (begins_with (path, "cached"))
    return path[strlen ("cached")] == '\0' ? FSC_PLACE_CACHED : FSC_PLACE_ENTRY;
  return FSC_PLACE_NOWHERE;
}

char *
fsc_tree_join (const char *path, const char *name)
{
  return path[0] == '\0' ? g_strdup (name) : g_strconcat (path, "/", name, NULL);
}

const char *
fsc_tree_skip_branch (const char *path)
{
  const char *slash = strchr (path, '/');

  return slash != NULL ? slash + 1 : path + strlen (path);
}

gboolean
fsc_tree_is_scheme (const char *path)
{
  const char *rest = fsc_tree_skip_branch (path);

  return rest[0] != '\0' && strchr (rest, '/') == NULL;
}

gboolean
fsc_tree_is_file (const char *path)
{
  return begins_with (fsc_tree_skip_branch (path), "file");
}

/* Names to URIs */

/* What libfscache takes for a scheme. */
static gboolean
is_scheme (const char *text, gsize length)
{
  for (gsize i = 0; i < length; i++)
    if (!g_ascii_islower (text[i])
        && (i == 0 || (!g_ascii_isdigit (text[i]) && strchr ("+-.", text[i]) == NULL)))
      return FALSE;
  return length > 0;
}

static void
append_byte (GString *uri, guchar byte)
{
  if (byte > ' ' && byte < 0x7f)
    g_string_append_c (uri, (char) byte);
  else
    g_string_append_printf (uri, "%%%c%c", hex[byte >> 4], hex[byte & 15]);
}

/* Returns FALSE if a '%' is not followed by two digits. */
static gboolean
append_component (GString *uri, const char *name, gsize length)
{
  gboolean is_query = FALSE;

  for (gsize i = 0; i < length; i++)
    {
      guchar byte = (guchar) name[i];

      is_query |= byte == '?' || byte == '#';
      if (byte == '%')
        {
          if (i + 2 >= length || !g_ascii_isxdigit (name[i + 1]) || !g_ascii_isxdigit (name[i + 2]))
            return FALSE;
          if (is_query)
            {
              byte = (guchar) (g_ascii_xdigit_value (name[i + 1]) << 4
                               | g_ascii_xdigit_value (name[i + 2]));
              i += 2;
            }
        }
      append_byte (uri, byte);
    }
  return TRUE;
}

static char *
get_uri (const char *scheme, gsize length, const char *rest)
{
  g_autoptr (GString) uri = g_string_new_len (scheme, (gssize) length);

  g_string_append (uri, get_separator (scheme, length));
  while (*rest != '\0')
    {
      gsize n = strcspn (rest, "/");

      if (!append_component (uri, rest, n))
        return NULL;
      rest += n;
      if (*rest == '/')
        g_string_append_c (uri, *rest++);
    }
  return g_string_free (g_steal_pointer (&uri), FALSE);
}

/* In cached/ there may be names that lead up. */
static char *
get_path (const char *rest)
{
  g_auto (GStrv) names = g_strsplit (rest, "/", -1);
  GString *path = g_string_new (rest[0] == '\0' ? "/" : "");

  for (guint i = 0; names[i] != NULL; i++)
    g_string_append_printf (path, "/%s", strcmp (names[i], "%2E%2E") == 0 ? ".." : names[i]);
  return g_string_free (path, FALSE);
}

char *
fsc_tree_get_target (const char *path)
{
  FscPlace place = fsc_tree_get_place (path);
  const char *scheme = fsc_tree_skip_branch (path);
  gsize length = strcspn (scheme, "/");
  const char *rest = scheme + length + (scheme[length] == '/' ? 1 : 0);

  if ((place != FSC_PLACE_SOURCE && place != FSC_PLACE_ENTRY) || !is_scheme (scheme, length))
    return NULL;
  if (!fsc_tree_is_file (path))
    return get_uri (scheme, length, rest);
  return place == FSC_PLACE_ENTRY ? get_path (rest) : g_strconcat ("/", rest, NULL);
}

/* URIs to names */

/* The components of a file: URI, unescaped. What it has at its end to say that it is a directory
 * ("/", "/.") is no name. */
static gboolean
append_path (GString *name, const char *rest)
{
  g_autofree char *path = g_uri_unescape_string (rest, NULL);
  g_auto (GStrv) names = path != NULL ? g_strsplit (path, "/", -1) : NULL;

  for (guint i = 0; names != NULL && names[i] != NULL; i++)
    {
      if (names[i][0] == '\0' || strcmp (names[i], ".") == 0)
        continue;
      g_string_append_printf (name, "/%s", strcmp (names[i], "..") == 0 ? "%2E%2E" : names[i]);
    }
  return names != NULL;
}

/* Of other URIs, as they are but for what begins with '?' or '#'. */
static gboolean
append_rest (GString *name, const char *rest)
{
  gboolean is_query = FALSE;
  gsize length = 0;

  g_string_append_c (name, '/');
  for (; *rest != '\0'; rest++)
    {
      is_query |= *rest == '?' || *rest == '#';
      if (*rest == '/' && !is_query)
        {
          if (length == 0)
            return FALSE;
          length = 0;
          g_string_append_c (name, '/');
          continue;
        }
      if (is_query && (*rest == '/' || *rest == '%'))
        g_string_append (name, *rest == '/' ? "%2F" : "%25");
      else
        g_string_append_c (name, *rest);
      length++;
    }
  return length > 0;
}

static gboolean
has_good_names (const char *path)
{
  g_auto (GStrv) names = g_strsplit (path, "/", -1);

  for (guint i = 0; names[i] != NULL; i++)
    if (strlen (names[i]) > NAME_MAX_LENGTH || strcmp (names[i], ".") == 0
        || strcmp (names[i], "..") == 0)
      return FALSE;
  return TRUE;
}

char *
fsc_tree_from_uri (const char *uri)
{
  gsize length = strcspn (uri, ":");
  const char *separator = get_separator (uri, length);
  g_autoptr (GString) name = NULL;
  const char *rest;

  if (!is_scheme (uri, length) || !g_str_has_prefix (uri + length, separator))
    return NULL;
  rest = uri + length + strlen (separator);
  name = g_string_new_len (uri, (gssize) length);
  if (strcmp (name->str, "file") == 0 ? !append_path (name, rest) : !append_rest (name, rest))
    return NULL;
  if (!has_good_names (name->str))
    return NULL;
  return g_string_free (g_steal_pointer (&name), FALSE);
}
