/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which hosts may be asked; see allow.h.
 */
#include "fscache/openers/allow.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocol/uri.h"

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

/* What follows it is no digit. */
static unsigned long
get_number (FscBytes port, unsigned default_port)
{
  return port.length > 0 ? strtoul (port.data, NULL, 10) : default_port;
}

static bool
is_match (FscBytes pattern, FscBytes name, unsigned default_port)
{
  FscBytes pattern_port, port;

  if (is_star (pattern))
    return true;
  pattern_port = take_port (&pattern);
  port = take_port (&name);
  return (is_star (pattern_port)
          || get_number (pattern_port, default_port) == get_number (port, default_port))
         && has_name (pattern, name);
}

bool
fsc_allow_has (const char *list, FscBytes uri)
{
  const FscBytes host = fsc_uri_get_host (uri);
  const unsigned default_port = fsc_uri_get_default_port (uri);

  while (*(list += strspn (list, " \t")) != '\0')
    {
      size_t length = strcspn (list, " \t");

      if (is_match ((FscBytes){ list, length }, host, default_port))
        return true;
      list += length;
    }
  return false;
}
