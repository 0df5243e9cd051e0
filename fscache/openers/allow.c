/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which hosts may be asked; see allow.h.
 */
#include "fscache/openers/allow.h"

#include <string.h>
#include <strings.h>

/* Separates the port, which is empty if there is none. An IPv6 address is in brackets. */
static FscBytes
take_port (FscBytes *host)
{
  size_t at = host->length;
  FscBytes port = { "", 0 };

  while (at > 0 && host->data[at - 1] != ':' && host->data[at - 1] != ']')
    at--;
  if (at == 0 || host->data[at - 1] != ':')
    return port;
  port = (FscBytes){ host->data + at, host->length - at };
  host->length = at - 1;
  return port;
}

static bool
is_same (FscBytes a, FscBytes b)
{
  return a.length == b.length && strncasecmp (a.data, b.data, a.length) == 0;
}

static bool
is_star (FscBytes text)
{
  return text.length == 1 && text.data[0] == '*';
}

static bool
has_name (FscBytes pattern, FscBytes name)
{
  if (is_star (pattern))
    return true;
  if (pattern.length < 2 || pattern.data[0] != '*' || pattern.data[1] != '.')
    return is_same (pattern, name);
  pattern = (FscBytes){ pattern.data + 1, pattern.length - 1 };
  return name.length > pattern.length
         && is_same (pattern,
                     (FscBytes){ name.data + name.length - pattern.length, pattern.length });
}

static bool
is_match (FscBytes pattern, FscBytes name)
{
  FscBytes pattern_port, port;

  if (is_star (pattern))
    return true;
  pattern_port = take_port (&pattern);
  port = take_port (&name);
  return (is_star (pattern_port) || is_same (pattern_port, port)) && has_name (pattern, name);
}

bool
fsc_allow_has (const char *list, FscBytes host)
{
  while (*(list += strspn (list, " \t")) != '\0')
    {
      size_t length = strcspn (list, " \t");

      if (is_match ((FscBytes){ list, length }, host))
        return true;
      list += length;
    }
  return false;
}
