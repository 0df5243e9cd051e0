/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Why something failed; see fault.h.
 */
#include "fscache/openers/fault.h"

#include <stdarg.h>
#include <stdio.h>

void
fsc_fault_set (FscFault *fault, int error, const char *format, ...)
{
  va_list arguments;

  if (fault->error != 0)
    return;
  fault->error = error;
  va_start (arguments, format);
  vsnprintf (fault->phrase, sizeof fault->phrase, format, arguments);
  va_end (arguments);
}
