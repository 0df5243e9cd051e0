/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The names of the view; see tree.h.
 */
#include "fscache/view/tree.h"

#include <string.h>

#define NAME_MAX_LENGTH 255

/* The directory of URIs that lack what stands between other schemes like theirs and the rest. */
#define BARE ":"

static const char hex[] = "0123456789ABCDEF";

/* The schemes */

enum
{
  IS_NAME
  = 1 << 0, /* what follows is a name: escapes in it stand for its bytes, and nothing else */
  IS_PATH = 1 << 1,  /* of the file tree */
  HAS_HOST = 1 << 2, /* before the first slash, and always a slash */
  IS_SHARED = 1 << 3 /* it can be had by a name, and not only be lent */
};

typedef struct
{
  const char *name;
  const char *separator; /* what stands between the scheme and the first name */
  guint is;
} Scheme;

static const Scheme schemes[] = {
  { "file", ":///", IS_NAME | IS_PATH | IS_SHARED },
  { "unpack", ":///", IS_NAME | IS_PATH | IS_SHARED },
  { "http", "://", HAS_HOST | IS_SHARED },
  { "https", "://", HAS_HOST | IS_SHARED },
  { "handle", ":", IS_NAME | IS_SHARED },
  { "unix", ":///", IS_NAME },
};

static const Scheme helper = { "helper+", "://", IS_SHARED };
static const Scheme other = { "", "://", 0 };

const char *const fsc_tree_schemes[] = { "file", "unpack", "http", "https", "handle", NULL };

static const Scheme *
find_scheme (const char *name, gsize length)
{
  for (gsize i = 0; i < G_N_ELEMENTS (schemes); i++)
    if (strlen (schemes[i].name) == length && strncmp (schemes[i].name, name, length) == 0)
      return &schemes[i];
  return length > strlen (helper.name) && g_str_has_prefix (name, helper.name) ? &helper : &other;
}

static gboolean
has (const Scheme *scheme, guint what)
{
  return (scheme->is & what) != 0;
}

/* Below open/ and cached/ : the scheme and what follows it. */
static const Scheme *
split (const char *path, const char **rest)
{
  const char *name = fsc_tree_skip_branch (path);
  gsize length = strcspn (name, "/");

  *rest = name + length + (name[length] == '/' ? 1 : 0);
  return find_scheme (name, length);
}

/* Paths */

static gboolean
begins_with (const char *path, const char *name)
{
  gsize length = strlen (name);

  return strncmp (path, name, length) == 0 && (path[length] == '/' || path[length] == '\0');
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

/* The byte that "XX" stands for; 0 if it is none. */
static guchar
read_escape (const char *digits, gsize length)
{
  if (length < 2 || !g_ascii_isxdigit (digits[0]) || !g_ascii_isxdigit (digits[1]))
    return 0;
  return (guchar) (g_ascii_xdigit_value (digits[0]) << 4 | g_ascii_xdigit_value (digits[1]));
}

static gboolean
append_decoded (GString *text, const char *name, gsize length)
{
  for (gsize i = 0; i < length; i++)
    {
      guchar byte = (guchar) name[i];

      if (byte == '%')
        {
          byte = read_escape (name + i + 1, length - i - 1);
          i += 2;
        }
      if (byte == 0)
        return FALSE;
      g_string_append_c (text, (char) byte);
    }
  return TRUE;
}

/* What names stand for, or NULL. A '%' at the end of one belongs to no escape. */
static GString *
decode (const char *names, gsize length)
{
  g_autoptr (GString) text = g_string_new (NULL);
  const char *end = names + length;

  while (names < end)
    {
      gsize n = strcspn (names, "/"), n_marks = 0;

      n = MIN (n, (gsize) (end - names));
      while (n_marks < 2 && n_marks < n && names[n - n_marks - 1] == '%')
        n_marks++;
      if (!append_decoded (text, names, n - n_marks))
        return NULL;
      names += n;
      if (n_marks == 1 || (names < end && n_marks == 0))
        g_string_append_c (text, '/');
      names += names < end ? 1 : 0;
    }
  return g_steal_pointer (&text);
}

/* As the canonical form has it: what is a name, and what is left as it is. */
static void
append_uri (GString *uri, const char *text, gboolean is_name)
{
  for (; *text != '\0'; text++)
    {
      guchar byte = (guchar) *text;

      if (byte > ' ' && byte < 0x7f
          && (!is_name || g_ascii_isalnum (byte) || strchr ("-._~!$&'()+,;=:@/", byte) != NULL))
        g_string_append_c (uri, (char) byte);
      else
        g_string_append_printf (uri, "%%%c%c", hex[byte >> 4], hex[byte & 15]);
    }
}

static gboolean
has_only_slashes (const char *text)
{
  return text[strspn (text, "/")] == '\0';
}

/* What follows a host, or all there is if there is none. */
static char *
skip_host (const Scheme *scheme, char *text)
{
  char *slash = has (scheme, HAS_HOST) ? strchr (text, '/') : NULL;

  return slash != NULL ? slash + 1 : text;
}

static char *
get_uri (const Scheme *scheme, const char *name, gsize length, const char *rest)
{
  g_autoptr (GString) uri = g_string_new_len (name, (gssize) length);
  gboolean is_bare = g_str_has_prefix (rest, BARE "/") && !has (scheme, IS_PATH);
  const char *names = is_bare ? rest + strlen (BARE "/") : rest;
  gsize n = has (scheme, IS_PATH) ? strcspn (names, "#") : strlen (names);
  g_autoptr (GString) text = decode (names, n);
  g_autoptr (GString) member
      = names[n] == '#' ? decode (names + n + 1, strlen (names + n + 1)) : NULL;
  const char *tail;

  if (text == NULL || (names[n] == '#' && member == NULL))
    return NULL;
  tail = skip_host (scheme, text->str);
  if (tail[0] == '/' && has_only_slashes (tail))
    g_string_truncate (text, text->len - 1);
  g_string_append (uri, is_bare ? ":" : scheme->separator);
  append_uri (uri, text->str, has (scheme, IS_NAME));
  if (member != NULL)
    {
      g_string_append_c (uri, '#');
      append_uri (uri, member->str, TRUE);
    }
  return g_string_free (g_steal_pointer (&uri), FALSE);
}

/* A name of a file system's that is, in cached/, written with an escape: ".." and what would be
 * taken for that. Returns what follows its first '%', or NULL. */
static const char *
find_escape (const char *name)
{
  const char *rest = name;

  if (*rest++ != '%')
    return NULL;
  while (g_str_has_prefix (rest, "25"))
    rest += 2;
  return strcmp (rest, "2E%2E") == 0 ? name + 1 : NULL;
}

/* In cached/ there may be names that lead up. */
static char *
get_path (const char *rest)
{
  g_auto (GStrv) names = g_strsplit (rest, "/", -1);
  GString *path = g_string_new (rest[0] == '\0' ? "/" : "");

  for (guint i = 0; names[i] != NULL; i++)
    {
      const char *escape = find_escape (names[i]);

      if (escape == NULL)
        g_string_append_printf (path, "/%s", names[i]);
      else if (g_str_has_prefix (escape, "25"))
        g_string_append_printf (path, "/%%%s", escape + 2);
      else
        g_string_append (path, "/..");
    }
  return g_string_free (path, FALSE);
}

char *
fsc_tree_get_target (const char *path)
{
  FscPlace place = fsc_tree_get_place (path);
  const char *name = fsc_tree_skip_branch (path), *rest;
  const Scheme *scheme = split (path, &rest);
  gsize length = strcspn (name, "/");

  if ((place != FSC_PLACE_SOURCE && place != FSC_PLACE_ENTRY) || !is_scheme (name, length))
    return NULL;
  if (!fsc_tree_is_file (path))
    return get_uri (scheme, name, length, rest);
  return place == FSC_PLACE_ENTRY ? get_path (rest) : g_strconcat ("/", rest, NULL);
}

char *
fsc_tree_get_unpacked (const char *path)
{
  g_autoptr (GString) text = NULL;
  const char *rest;

  split (path, &rest);
  if (!begins_with (path, "open/unpack") || strchr (rest, '#') != NULL)
    return NULL;
  text = decode (rest, strlen (rest));
  return text != NULL ? g_strconcat ("/", text->str, NULL) : NULL;
}

/* What is below a scheme: whether a name alone says that it is a directory. */
static gboolean
is_folder (const Scheme *scheme, const char *rest)
{
  g_autoptr (GString) text = NULL;

  if (rest[0] != '\0' && rest[strlen (rest) - 1] == '%')
    return TRUE;
  if (has (scheme, IS_PATH))
    return FALSE;
  text = has (scheme, HAS_HOST) ? decode (rest, strlen (rest)) : NULL;
  return rest[0] == '\0' || strcmp (rest, BARE) == 0
         || (text != NULL && strchr (text->str, '/') == NULL);
}

static FscPlace
get_place_below (const char *path)
{
  const char *rest;
  const Scheme *scheme = split (path, &rest);

  if (!has (scheme, IS_SHARED))
    return FSC_PLACE_NOWHERE;
  return !fsc_tree_is_file (path) && is_folder (scheme, rest) ? FSC_PLACE_OPEN : FSC_PLACE_SOURCE;
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
    return path[strlen ("open")] == '\0' ? FSC_PLACE_OPEN : get_place_below (path);
  if (begins_with (path, "cached"))
    return path[strlen ("cached")] == '\0' ? FSC_PLACE_CACHED : FSC_PLACE_ENTRY;
  return FSC_PLACE_NOWHERE;
}

/* URIs to names */

/* Whether a canonical URI can have this only as an escape. */
static gboolean
is_escaped_always (const char *escape)
{
  guchar byte = read_escape (escape + 1, strlen (escape + 1));

  return byte != 0 && (byte <= ' ' || byte >= 0x7f) && strchr (hex, escape[1]) != NULL
         && strchr (hex, escape[2]) != NULL;
}

/* Those characters escaped that would be taken for something else. */
static void
append_encoded (GString *name, const char *text, gsize length, const char *escaped,
                gboolean is_name)
{
  for (gsize i = 0; i < length; i++)
    if (text[i] == '%' && !is_name && is_escaped_always (text + i))
      g_string_append_c (name, '%');
    else if (text[i] == '%' || strchr (escaped, text[i]) != NULL)
      g_string_append_printf (name, "%%%c%c", hex[text[i] >> 4], hex[text[i] & 15]);
    else
      g_string_append_c (name, text[i]);
}

/* A name with what stands at its end if it is a directory, in pieces if it is too long. */
static void
append_name (GString *path, const char *name, const char *mark)
{
  while (strlen (name) + strlen (mark) > NAME_MAX_LENGTH)
    {
      gsize n = NAME_MAX_LENGTH - 2;

      while (name[n - 1] == '%' || name[n - 2] == '%')
        n--;
      g_string_append_printf (path, "/%.*s%%%%", (int) n, name);
      name += n;
    }
  if (mark[0] == '\0' && strcmp (name, "..") == 0)
    name = "%2E%2E";
  else if (mark[0] == '\0' && (strcmp (name, ".") == 0 || strcmp (name, BARE) == 0))
    name = name[0] == '.' ? "%2E" : "%3A";
  g_string_append_printf (path, "/%s%s", name, mark);
}

/* The components of a file: URI, unescaped. What it has at its end to say that it is a directory
 * ("/", "/.") is no name. */
static gboolean
append_path (GString *name, const char *rest)
{
  g_autofree char *path = g_uri_unescape_string (rest, NULL);
  g_auto (GStrv) names = path != NULL ? g_strsplit (path, "/", -1) : NULL;

  for (guint i = 0; names != NULL && names[i] != NULL; i++)
    if (strcmp (names[i], "..") == 0)
      g_string_append (name, "/%2E%2E");
    else if (find_escape (names[i]) != NULL)
      g_string_append_printf (name, "/%%25%s", find_escape (names[i]));
    else if (names[i][0] != '\0' && strcmp (names[i], ".") != 0)
      g_string_append_printf (name, "/%s", names[i]);
  return names != NULL;
}

/* Where the directories of what is no path end: what begins with '?' or '#', and the slashes at the
 * end, belong to the last name. */
static gsize
get_directories_length (const Scheme *scheme, const char *text)
{
  gsize n = has (scheme, IS_NAME) ? strlen (text) : strcspn (text, "?#");

  if (text[n] == '\0')
    while (n > 0 && text[n - 1] == '/')
      n--;
  while (n > 0 && text[n - 1] != '/')
    n--;
  return n;
}

static void
append_names (GString *path, const Scheme *scheme, const char *text, const char *member)
{
  const char *mark = has (scheme, IS_PATH) ? "" : "%";
  const char *escaped = has (scheme, IS_PATH) ? "/#" : "/";
  const char *last = text + get_directories_length (scheme, text);
  g_autoptr (GString) name = g_string_new (NULL);

  for (; text < last; text += strcspn (text, "/") + 1)
    {
      g_string_truncate (name, 0);
      append_encoded (name, text, strcspn (text, "/"), escaped, has (scheme, IS_NAME));
      append_name (path, name->str, mark);
    }
  g_string_truncate (name, 0);
  append_encoded (name, text, strlen (text), escaped, has (scheme, IS_NAME));
  if (member != NULL)
    {
      g_string_append_c (name, '#');
      append_encoded (name, member, strlen (member), "/", TRUE);
    }
  if (name->len > 0)
    append_name (path, name->str, "");
}

/* Returns FALSE if it is no canonical URI. */
static gboolean
append_rest (GString *path, const Scheme *scheme, const char *rest)
{
  gsize n = has (scheme, IS_PATH) ? strcspn (rest, "#") : strlen (rest);
  g_autoptr (GString) text = g_string_new_len (rest, (gssize) n);
  g_autofree char *member = rest[n] == '#' ? g_uri_unescape_string (rest + n + 1, NULL) : NULL;
  char *tail;

  if (has (scheme, IS_NAME))
    {
      g_autofree char *name = g_uri_unescape_string (text->str, NULL);

      g_string_assign (text, name != NULL ? name : "");
      if (name == NULL || (rest[n] == '#' && member == NULL))
        return FALSE;
    }
  tail = skip_host (scheme, text->str);
  if (has (scheme, HAS_HOST))
    {
      if (tail == text->str)
        return FALSE;
      tail[-1] = '\0';
      append_name (path, text->str, "");
    }
  if (has_only_slashes (tail) && !has (scheme, IS_PATH))
    {
      g_autofree char *longer = g_strconcat (tail, "/", NULL);

      append_names (path, scheme, longer, NULL);
    }
  else
    append_names (path, scheme, tail, member);
  return TRUE;
}

char *
fsc_tree_get_name (const char *path, const char *name)
{
  GString *encoded;

  if (fsc_tree_is_file (path))
    return g_strdup (name);
  encoded = g_string_new (NULL);
  append_encoded (encoded, name, strlen (name), "#", TRUE);
  return g_string_free (encoded, FALSE);
}

char *
fsc_tree_from_uri (const char *uri)
{
  gsize length = strcspn (uri, ":");
  const Scheme *scheme = find_scheme (uri, length);
  g_autoptr (GString) path = g_string_new_len (uri, (gssize) length);
  const char *rest = uri + length;
  gboolean is_named;

  if (!is_scheme (uri, length) || rest[0] != ':')
    return NULL;
  if (g_str_has_prefix (rest, scheme->separator))
    rest += strlen (scheme->separator);
  else if (!has (scheme, IS_PATH | HAS_HOST))
    {
      g_string_append (path, "/" BARE);
      rest++;
    }
  else
    return NULL;
  is_named = strcmp (scheme->name, "file") == 0 ? append_path (path, rest)
                                                : append_rest (path, scheme, rest);
  return is_named ? g_string_free (g_steal_pointer (&path), FALSE) : NULL;
}
