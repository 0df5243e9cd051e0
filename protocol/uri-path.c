/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How bytes are written in a URI; see uri-path.h.
 */
#include "protocol/uri-path.h"

#include <errno.h>
#include <string.h>

/* What stands for itself. */
static const bool is_plain[256] = {
  ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true, ['.'] = true,
  ['_'] = true,         ['~'] = true,         ['!'] = true,         ['$'] = true, ['&'] = true,
  ['\''] = true,        ['('] = true,         [')'] = true,         ['+'] = true, [','] = true,
  [';'] = true,         ['='] = true,         [':'] = true,         ['@'] = true, ['/'] = true,
};

static int
hex_value (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

void
fsc_uri_append (FscUriOutput *output, char c)
{
  if (output->length + 1 < output->size)
    output->data[output->length++] = c;
  else
    output->overflow = true;
}

void
fsc_uri_append_bytes (FscUriOutput *output, const char *bytes, size_t length)
{
  if (length >= output->size - output->length)
    {
      output->overflow = true;
      return;
    }
  memcpy (output->data + output->length, bytes, length);
  output->length += length;
}

int
fsc_uri_finish (FscUriOutput *output)
{
  if (output->overflow || output->size == 0)
    return -ENAMETOOLONG;
  output->data[output->length] = '\0';
  return (int) output->length;
}

static void
append_escaped (FscUriOutput *output, char c)
{
  static const char digits[] = "0123456789ABCDEF";

  if (is_plain[(unsigned char) c])
    {
      fsc_uri_append (output, c);
      return;
    }
  fsc_uri_append (output, '%');
  fsc_uri_append (output, digits[(unsigned char) c >> 4]);
  fsc_uri_append (output, digits[(unsigned char) c & 15]);
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

int
fsc_uri_next_byte (FscBytes text, size_t *position, const char **reason)
{
  char c = text.data[(*position)++];

  if (c == '%')
    {
      int high = *position + 1 < text.length ? hex_value (text.data[*position]) : -1;
      int low = high >= 0 ? hex_value (text.data[*position + 1]) : -1;

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
  if (c == '\0')
    {
      *reason = "has a zero byte in its path";
      return -EINVAL;
    }
  return (unsigned char) c;
}

static int
next_of_path (FscBytes path, size_t *position, bool is_escaped, const char **reason)
{
  char c = path.data[*position];

  if (!is_escaped)
    {
      (*position)++;
      return (unsigned char) c;
    }
  if (c == '?' || c == '#')
    {
      *reason = "has a '?' or '#', which must be written %3F or %23 in a path";
      return -EINVAL;
    }
  return fsc_uri_next_byte (path, position, reason);
}

int
fsc_uri_append_path (FscUriOutput *output, FscBytes path, bool is_escaped, const char **reason)
{
  size_t first = output->length;
  size_t start = first; /* where the last '/' is */
  size_t position = 0;
  bool ends_with_dot = false;

  if (is_canonical (path))
    {
      fsc_uri_append_bytes (output, path.data, path.length);
      return 0;
    }
  while (position < path.length)
    {
      int byte = next_of_path (path, &position, is_escaped, reason);

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
              fsc_uri_append (output, '/');
            }
        }
      else
        {
          append_escaped (output, (char) byte);
          ends_with_dot = false;
        }
    }
  if (ends_with_dot)
    fsc_uri_append (output, '.');
  return 0;
}

int
fsc_uri_append_name (FscUriOutput *output, FscBytes name, const char **reason)
{
  size_t position = 0;

  while (position < name.length)
    {
      int byte = fsc_uri_next_byte (name, &position, reason);

      if (byte < 0)
        return byte;
      append_escaped (output, (char) byte);
    }
  return 0;
}

int
fsc_uri_decode (FscBytes text, char *buffer, size_t size)
{
  FscUriOutput output = { .data = buffer, .size = size };
  size_t position = 0;
  const char *reason;

  while (position < text.length)
    {
      const char *start = text.data + position;
      const char *escape = memchr (start, '%', text.length - position);
      size_t n = escape != NULL ? (size_t) (escape - start) : text.length - position;
      int byte;

      fsc_uri_append_bytes (&output, start, n);
      position += n;
      if (escape == NULL)
        break;
      byte = fsc_uri_next_byte (text, &position, &reason);
      if (byte < 0)
        return byte;
      fsc_uri_append (&output, (char) byte);
    }
  return fsc_uri_finish (&output);
}
