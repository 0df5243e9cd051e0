/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What of the configuration is an opener's; see argument.h.
 */
#include "fscache/openers/argument.h"

#include <stdlib.h>
#include <string.h>

const char *
fsc_argument_get (char *const *argv, const char *key)
{
  size_t length = strlen (key);

  for (; *argv != NULL; argv++)
    if (strncmp (*argv, "--", 2) == 0 && strncmp (*argv + 2, key, length) == 0
        && (*argv)[2 + length] == '=')
      return *argv + 2 + length + 1;
  return NULL;
}

uint64_t
fsc_argument_get_number (char *const *argv, const char *key)
{
  const char *value = fsc_argument_get (argv, key);

  return value != NULL ? strtoull (value, NULL, 10) : 0;
}
