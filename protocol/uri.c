/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names of resources; see uri.h. How bytes are written is in uri-path.c.
 */
#include "protocol/text.h"
#include "protocol/uri.h"

#include <errno.h>
#include <string.h>

#include "protocol/uri-path.h"

#define FILE_PREFIX "file://"

static bool
is_alpha (char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit (char c)
{
  return c >= '0' && c <= '9';
}

static char
to_lower (char c)
{
  return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

/* As strncasecmp(), but the same in each locale: in a Turkish one 'I' is not a capital 'i'. */
static bool
is_same (const char *text, const char *lower, size_t length)
{
  for (size_t i = 0; i < length; i++)
    if (to_lower (text[i]) != lower[i])
      return false;
  return true;
}

static FscBytes
skip (FscBytes text, size_t length)
{
  return (FscBytes){ text.data + length, text.length - length };
}

static bool
begins_with (FscBytes text, const char *beginning)
{
  size_t length = strlen (beginning);

  return text.length >= length && memcmp (text.data, beginning, length) == 0;
}

/* Where a character is first, or the length. */
static size_t
find (FscBytes text, char c)
{
  const char *found = text.length > 0 ? memchr (text.data, c, text.length) : NULL;

  return found != NULL ? (size_t) (found - text.data) : text.length;
}

/* Where a host and its port end. */
static size_t
find_end_of_authority (FscBytes text)
{
  size_t i = 0;

  while (i < text.length && text.data[i] != '/' && text.data[i] != '?' && text.data[i] != '#')
    i++;
  return i;
}

size_t
fsc_uri_get_scheme_length (FscBytes uri)
{
  if (uri.length == 0 || !is_alpha (uri.data[0]))
    return 0;
  for (size_t i = 1; i < uri.length; i++)
    {
      char c = uri.data[i];

      if (c == ':')
        return i;
      if (!is_alpha (c) && !is_digit (c) && c != '+' && c != '-' && c != '.')
        return 0;
    }
  return 0;
}

bool
fsc_uri_has_scheme (FscBytes uri, const char *scheme)
{
  size_t length = strlen (scheme);

  return uri.length > length && uri.data[length] == ':' && is_same (uri.data, scheme, length);
}

bool
fsc_uri_names_path (FscBytes uri)
{
  return fsc_uri_has_scheme (uri, "file") || fsc_uri_has_scheme (uri, "unpack")
         || (fsc_uri_has_scheme (uri, "unix") && !begins_with (skip (uri, strlen ("unix:")), "@"));
}

FscBytes
fsc_uri_get_host (FscBytes uri)
{
  FscBytes rest = skip (uri, fsc_uri_get_scheme_length (uri));

  if (!begins_with (rest, "://"))
    return (FscBytes){ 0 };
  rest = skip (rest, strlen ("://"));
  return (FscBytes){ rest.data, find_end_of_authority (rest) };
}

/* The schemes. Each appends what follows the colon in canonical form. Returns 0, or -EINVAL with a
 * phrase in *reason. */

typedef struct Scheme Scheme;

struct Scheme
{
  const char *name;
  int (*append) (FscUriOutput *output, const Scheme *scheme, FscBytes rest, const char **reason);
  unsigned default_port; /* 0: there is none */
};

/* "//" and an absolute path, which may be written with "localhost" as its host, or without "//". */
static int
append_path (FscUriOutput *output, const Scheme *scheme, FscBytes path, const char **reason)
{
  static const char localhost[] = "localhost";
  size_t n = strlen (localhost);

  if (begins_with (path, "//"))
    {
      path = skip (path, 2);
      if (path.length > n && is_same (path.data, localhost, n) && path.data[n] == '/')
        path = skip (path, n);
      else if (path.length > 0 && path.data[0] != '/')
        {
          *reason = "names a host: only files of this machine are served, as in file:///path";
          return -EINVAL;
        }
    }
  if (!begins_with (path, "/"))
    {
      *reason = "has no absolute path, as in file:///path";
      return -EINVAL;
    }
  fsc_uri_append_bytes (output, "//", 2);
  return fsc_uri_append_path (output, path, true, reason);
}

/* A path, and perhaps a member's name after '#'. */
static int
append_unpack (FscUriOutput *output, const Scheme *scheme, FscBytes rest, const char **reason)
{
  size_t end = find (rest, '#');
  int r = append_path (output, scheme, (FscBytes){ rest.data, end }, reason);

  if (r < 0 || end == rest.length)
    return r;
  if (end + 1 == rest.length)
    {
      *reason = "has no name of a member after its '#'";
      return -EINVAL;
    }
  fsc_uri_append (output, '#');
  return fsc_uri_append_name (output, skip (rest, end + 1), reason);
}

/* A path, or '@' and an abstract name. */
static int
append_unix (FscUriOutput *output, const Scheme *scheme, FscBytes rest, const char **reason)
{
  if (!begins_with (rest, "@"))
    return append_path (output, scheme, rest, reason);
  if (rest.length == 1)
    {
      *reason = "has no name after its '@'";
      return -EINVAL;
    }
  return fsc_uri_append_name (output, rest, reason);
}

static int
append_handle (FscUriOutput *output, const Scheme *scheme, FscBytes name, const char **reason)
{
  if (name.length == 0)
    {
      *reason = "has no name: write handle:NAME";
      return -EINVAL;
    }
  return fsc_uri_append_name (output, name, reason);
}

/* Returns the length of the name, or of the address in brackets, with which it begins; 0: of
 * neither. */
static size_t
get_host_length (FscBytes host)
{
  bool is_address = begins_with (host, "[");
  size_t i = is_address ? 1 : 0;

  for (; i < host.length; i++)
    {
      char c = host.data[i];

      if (is_address ? c == ']' : c == ':')
        break;
      if (is_address
              ? !is_digit (c) && !(is_alpha (c) && to_lower (c) <= 'f') && c != ':' && c != '.'
              : !is_digit (c) && !is_alpha (c) && c != '-' && c != '.' && c != '_')
        return 0;
    }
  if (!is_address)
    return i;
  return i > 1 && i < host.length ? i + 1 : 0;
}

/* Returns the number, 0 if there is none, or -1. */
static int
read_port (FscBytes text)
{
  int port = 0;

  for (size_t i = 0; i < text.length; i++)
    {
      if (!is_digit (text.data[i]))
        return -1;
      port = port * 10 + (text.data[i] - '0');
      if (port > 65535)
        return -1;
    }
  return port > 0 || text.length == 0 ? port : -1;
}

static void
append_port (FscUriOutput *output, int port)
{
  char digits[6];
  size_t n = sizeof digits;

  do
    digits[--n] = (char) ('0' + port % 10);
  while ((port /= 10) > 0);
  digits[--n] = ':';
  fsc_uri_append_bytes (output, digits + n, sizeof digits - n);
}

/* "//", a host in lower case, and its port unless it is the default one. */
static int
append_authority (FscUriOutput *output, const Scheme *scheme, FscBytes authority,
                  const char **reason)
{
  size_t n = get_host_length (authority);
  FscBytes rest = skip (authority, n);
  int port = begins_with (rest, ":") ? read_port (skip (rest, 1)) : 0;

  *reason = NULL;
  if (find (authority, '@') < authority.length)
    *reason = "has a user or a password, which whoever lists what is cached would see";
  else if (n == 0)
    *reason = "has no host, or one that is neither a name nor an address in brackets";
  else if (port < 0 || (rest.length > 0 && rest.data[0] != ':'))
    *reason = "has a port that is not a number from 1 to 65535";
  else if (port == 0 && scheme->default_port == 0)
    *reason = "has no port: write tcp://host:port";
  if (*reason != NULL)
    return -EINVAL;

  fsc_uri_append_bytes (output, "//", 2);
  for (size_t i = 0; i < n; i++)
    fsc_uri_append (output, to_lower (authority.data[i]));
  if (port != 0 && (unsigned) port != scheme->default_port)
    append_port (output, port);
  return 0;
}

static int
append_opaque (FscUriOutput *output, const Scheme *scheme, FscBytes rest, const char **reason)
{
  for (size_t i = 0; i < rest.length; i++)
    {
      if (rest.data[i] <= ' ' || rest.data[i] > '~')
        {
          *reason = "has a byte that must be escaped as %XX";
          return -EINVAL;
        }
      fsc_uri_append (output, rest.data[i]);
    }
  return 0;
}

/* The fragment is for whoever reads the content. */
static int
append_http (FscUriOutput *output, const Scheme *scheme, FscBytes rest, const char **reason)
{
  size_t host, end;
  int r;

  if (!begins_with (rest, "//"))
    {
      *reason = "has no host: write http://host/path";
      return -EINVAL;
    }
  rest = skip (rest, 2);
  host = find_end_of_authority (rest);
  r = append_authority (output, scheme, (FscBytes){ rest.data, host }, reason);
  if (r < 0)
    return r;
  rest = skip (rest, host);
  if (!begins_with (rest, "/"))
    fsc_uri_append (output, '/');
  end = find (rest, '#');
  return append_opaque (output, scheme, (FscBytes){ rest.data, end }, reason);
}

static int
append_tcp (FscUriOutput *output, const Scheme *scheme, FscBytes rest, const char **reason)
{
  if (!begins_with (rest, "//") || find_end_of_authority (skip (rest, 2)) + 2 < rest.length)
    {
      *reason = "is not a host and a port alone: write tcp://host:port";
      return -EINVAL;
    }
  return append_authority (output, scheme, skip (rest, 2), reason);
}

static const Scheme schemes[] = {
  { "file", append_path, 0 },     { "unpack", append_unpack, 0 }, { "unix", append_unix, 0 },
  { "http", append_http, 80 },    { "https", append_http, 443 },  { "tcp", append_tcp, 0 },
  { "handle", append_handle, 0 },
};

static const Scheme opaque = { .append = append_opaque };

static const Scheme *
find_scheme (FscBytes uri)
{
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
    if (fsc_uri_has_scheme (uri, schemes[i].name))
      return &schemes[i];
  return &opaque;
}

unsigned
fsc_uri_get_default_port (FscBytes uri)
{
  return find_scheme (uri)->default_port;
}

int
fsc_uri_canonicalize (FscBytes uri, char *buffer, size_t size, const char **reason)
{
  FscUriOutput output = { .data = buffer, .size = size };
  size_t n = fsc_uri_get_scheme_length (uri);
  const Scheme *scheme;
  int r;

  if (n == 0)
    {
      *reason = "has no scheme, such as file:";
      return -EINVAL;
    }
  scheme = find_scheme (uri);
  for (size_t i = 0; i <= n; i++)
    fsc_uri_append (&output, to_lower (uri.data[i]));
  r = scheme->append (&output, scheme, skip (uri, n + 1), reason);
  if (r < 0)
    return r;
  *reason = "is too long";
  return fsc_uri_finish (&output);
}

int
fsc_uri_from_path (FscBytes path, char *buffer, size_t size)
{
  FscUriOutput output = { .data = buffer, .size = size };
  const char *reason;

  if (path.length == 0 || path.data[0] != '/')
    return -EINVAL;
  fsc_uri_append_bytes (&output, FILE_PREFIX, sizeof FILE_PREFIX - 1);
  fsc_uri_append_path (&output, path, false, &reason);
  return fsc_uri_finish (&output);
}

int
fsc_uri_to_path (FscBytes uri, char *buffer, size_t size)
{
  return begins_with (uri, "file:") ? fsc_uri_get_path (uri, buffer, size) : -EINVAL;
}

int
fsc_uri_get_path (FscBytes uri, char *buffer, size_t size)
{
  FscBytes path = skip (uri, fsc_uri_get_scheme_length (uri));
  size_t end;

  if (!fsc_uri_names_path (uri) || !begins_with (path, ":///"))
    return -EINVAL;
  path = skip (path, strlen ("://"));
  end = find (path, '#');
  if (find (path, '?') < path.length || (end < path.length && !begins_with (uri, "unpack:")))
    return -EINVAL;
  path.length = end;
  return fsc_uri_decode (path, buffer, size);
}

int
fsc_uri_to_member (FscBytes uri, char *buffer, size_t size)
{
  size_t end = find (uri, '#');

  if (!fsc_uri_has_scheme (uri, "unpack") || end == uri.length)
    return -ENOENT;
  return fsc_uri_decode (skip (uri, end + 1), buffer, size);
}

const char *
fsc_uri_abbreviate (FscBytes name, char buffer[FSC_NAME_IN_TEXT_MAX])
{
  static const char gap[] = " ... ";
  const size_t half = (FSC_NAME_IN_TEXT_MAX - sizeof gap) / 2;
  size_t length = name.length;

  if (length < FSC_NAME_IN_TEXT_MAX)
    memcpy (buffer, name.data, length);
  else
    {
      memcpy (buffer, name.data, half);
      memcpy (buffer + half, gap, sizeof gap - 1);
      memcpy (buffer + half + sizeof gap - 1, name.data + length - half, half);
      length = 2 * half + sizeof gap - 1;
    }
  buffer[length] = '\0';
  fsc_text_clean (buffer);
  return buffer;
}
