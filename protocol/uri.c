/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names of resources; see uri.h.
 */
#include "protocol/uri.h"

#include <errno.h>
#include <string.h>

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

/* What stands for itself in a canonical path, except '/'. */
static const bool is_plain[256] = {
  ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true, ['.'] = true,
  ['_'] = true,         ['~'] = true,         ['!'] = true,         ['$'] = true, ['&'] = true,
  ['\''] = true,        ['('] = true,         [')'] = true,         ['+'] = true, [','] = true,
  [';'] = true,         ['='] = true,         [':'] = true,         ['@'] = true,
};

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

static int
hex_value (char c)
{
  if (is_digit (c))
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
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

FscBytes
fsc_uri_get_host (FscBytes uri)
{
  size_t start = fsc_uri_get_scheme_length (uri) + 3, end = start;

  if (uri.length < start || memcmp (uri.data + start - 3, "://", 3) != 0)
    return (FscBytes){ 0 };
  while (end < uri.length && uri.data[end] != '/' && uri.data[end] != '?' && uri.data[end] != '#')
    end++;
  return (FscBytes){ uri.data + start, end - start };
}

/* Appends to a buffer; the first byte that does not fit makes it fail. */
typedef struct
{
  char *data;
  size_t size, length;
  bool overflow;
} Output;

static void
append (Output *output, char c)
{
  if (output->length + 1 < output->size)
    output->data[output->length++] = c;
  else
    output->overflow = true;
}

static void
append_escaped (Output *output, char c)
{
  static const char digits[] = "0123456789ABCDEF";

  if (is_plain[(unsigned char) c])
    {
      append (output, c);
      return;
    }
  append (output, '%');
  append (output, digits[(unsigned char) c >> 4]);
  append (output, digits[(unsigned char) c & 15]);
}

/* Sixteen bytes at a time, by the vector extension of gcc and clang. */
typedef unsigned char Block __attribute__ ((vector_size (16)));

static Block
get_block (const char *bytes)
{
  Block block;

  memcpy (&block, bytes, sizeof block);
  return block;
}

/* Whether a path that starts with '/' is known at a glance to be canonical, as most are: it has
 * only letters, digits and "-./_", and neither an empty component nor one that starts with a dot.
 * All others, and short ones, are left to whoever looks at each byte. */
static bool
is_canonical (FscBytes path)
{
  Block found = { 0 };
  uint64_t halves[2];

  if (path.length <= sizeof found)
    return false;
  for (size_t left = path.length - 1; left > 0; left -= left < sizeof found ? left : sizeof found)
    {
      /* The last one overlaps the one before it. */
      const char *bytes = path.data + path.length - 1 - (left < sizeof found ? sizeof found : left);
      Block c = get_block (bytes + 1);
      Block is_common
          = (Block) ((c | 32) - 'a' < 26) | (Block) (c - '-' <= '9' - '-') | (Block) (c == '_');

      found |= ~is_common
               | ((Block) (get_block (bytes) == '/') & ((Block) (c == '/') | (Block) (c == '.')));
    }
  memcpy (halves, &found, sizeof halves);
  return (halves[0] | halves[1]) == 0;
}

static void
append_bytes (Output *output, const char *bytes, size_t length)
{
  if (length >= output->size - output->length)
    {
      output->overflow = true;
      return;
    }
  memcpy (output->data + output->length, bytes, length);
  output->length += length;
}

static int
finish (Output *output)
{
  if (output->overflow || output->size == 0)
    return -ENAMETOOLONG;
  output->data[output->length] = '\0';
  return (int) output->length;
}

/* Decodes one byte of a path in a URI at *position. Returns it, or -EINVAL. */
static int
next_byte (FscBytes path, size_t *position, bool is_escaped, const char **reason)
{
  char c = path.data[(*position)++];

  if (!is_escaped)
    return (unsigned char) c;
  if (c == '%')
    {
      int high = *position + 1 < path.length ? hex_value (path.data[*position]) : -1;
      int low = high >= 0 ? hex_value (path.data[*position + 1]) : -1;

      if (low < 0)
        {
          *reason = "has a '%' that is not followed by two hexadecimal digits";
          return -EINVAL;
        }
      *position += 2;
      if (high == 0 && low == 0)
        {
          *reason = "has a zero byte (%00) in its path";
          return -EINVAL;
        }
      return high * 16 + low;
    }
  if (c == '?' || c == '#')
    {
      *reason = "has a '?' or '#', which must be written %3F or %23 in a file: URI";
      return -EINVAL;
    }
  if (c == '\0')
    {
      *reason = "has a zero byte in its path";
      return -EINVAL;
    }
  return (unsigned char) c;
}

/* Appends a path without empty components, and without '.' but at its end: there open() wants to
 * search the directory. */
static int
append_path (Output *output, FscBytes path, bool is_escaped, const char **reason)
{
  size_t first = output->length;
  size_t start = first; /* where the last '/' is */
  size_t position = 0;
  bool ends_with_dot = false;

  if (is_canonical (path))
    {
      append_bytes (output, path.data, path.length);
      return 0;
    }
  while (position < path.length)
    {
      int byte = next_byte (path, &position, is_escaped, reason);

      if (byte < 0)
        return byte;
      if (byte == '/')
        {
          size_t component = output->length - start;

          if (component == 2 && output->data[start + 1] == '.')
            {
              output->length = start + 1; /* "/./" is "/", unless nothing follows */
              ends_with_dot = true;
            }
          else if (output->length == first || output->data[output->length - 1] != '/')
            {
              start = output->length;
              append (output, '/');
            }
        }
      else
        {
          append_escaped (output, (char) byte);
          ends_with_dot = false;
        }
    }
  if (ends_with_dot)
    append (output, '.');
  return 0;
}

int
fsc_uri_from_path (FscBytes path, char *buffer, size_t size)
{
  Output output = { .data = buffer, .size = size };
  const char *reason;

  if (path.length == 0 || path.data[0] != '/')
    return -EINVAL;
  append_bytes (&output, FILE_PREFIX, sizeof FILE_PREFIX - 1);
  append_path (&output, path, false, &reason);
  return finish (&output);
}

static int
canonicalize_file (FscBytes uri, Output *output, const char **reason)
{
  FscBytes path = { uri.data + strlen ("file:"), uri.length - strlen ("file:") };
  int r;

  if (path.length >= 2 && path.data[0] == '/' && path.data[1] == '/')
    {
      static const char localhost[] = "localhost";
      size_t n = strlen (localhost);

      path = (FscBytes){ path.data + 2, path.length - 2 };
      if (path.length > n && is_same (path.data, localhost, n) && path.data[n] == '/')
        path = (FscBytes){ path.data + n, path.length - n };
      else if (path.length > 0 && path.data[0] != '/')
        {
          *reason = "names a host: only files of this machine are served, as file:///path";
          return -EINVAL;
        }
    }
  if (path.length == 0 || path.data[0] != '/')
    {
      *reason = "has no absolute path: write file:///path";
      return -EINVAL;
    }

  append_bytes (output, FILE_PREFIX, sizeof FILE_PREFIX - 1);
  r = append_path (output, path, true, reason);
  return r < 0 ? r : finish (output);
}

int
fsc_uri_canonicalize (FscBytes uri, char *buffer, size_t size, const char **reason)
{
  Output output = { .data = buffer, .size = size };
  size_t scheme = fsc_uri_get_scheme_length (uri);

  *reason = "is too long";
  if (scheme == 0)
    {
      *reason = "has no scheme, such as file:";
      return -EINVAL;
    }
  if (fsc_uri_has_scheme (uri, "file"))
    return canonicalize_file (uri, &output, reason);

  for (size_t i = 0; i < uri.length; i++)
    {
      char c = uri.data[i];

      if (c <= ' ' || c > '~')
        {
          *reason = "has a byte that must be escaped as %XX";
          return -EINVAL;
        }
      append (&output, i < scheme ? to_lower (c) : c);
    }
  return finish (&output);
}

int
fsc_uri_to_path (FscBytes uri, char *buffer, size_t size)
{
  Output output = { .data = buffer, .size = size };
  size_t position = strlen (FILE_PREFIX);
  const char *reason;

  if (uri.length <= position || memcmp (uri.data, FILE_PREFIX, position) != 0
      || uri.data[position] != '/')
    return -EINVAL;
  while (position < uri.length)
    {
      int byte = next_byte (uri, &position, true, &reason);

      if (byte < 0)
        return byte;
      append (&output, (char) byte);
    }
  return finish (&output);
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
  for (size_t i = 0; i < length; i++)
    if ((unsigned char) buffer[i] < ' ' || buffer[i] == 0x7f)
      buffer[i] = '?';
  return buffer;
}
