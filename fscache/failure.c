/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From errno to GError; see failure.h.
 */
#include "fscache/failure.h"

#include <gio/gio.h>

static void set (GError **error, int code, const char *reason, const char *format,
                 va_list arguments) G_GNUC_PRINTF (4, 0);

static void
set (GError **error, int code, const char *reason, const char *format, va_list arguments)
{
  g_autofree char *sentence = g_strdup_vprintf (format, arguments);

  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code), "%s%s%s", sentence,
               reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

gboolean
fsc_failure_set_errno (GError **error, int code, const char *format, ...)
{
  va_list arguments;

  va_start (arguments, format);
  set (error, code, g_strerror (code), format, arguments);
  va_end (arguments);
  return FALSE;
}

gboolean
fsc_failure_set (GError **error, int code, const char *format, ...)
{
  va_list arguments;

  va_start (arguments, format);
  set (error, code, NULL, format, arguments);
  va_end (arguments);
  return FALSE;
}
