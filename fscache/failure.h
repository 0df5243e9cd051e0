/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From errno to GError: the one place where the service does that. The errors are of G_IO_ERROR.
 */
#pragma once

#include <glib.h>

/* Says "SENTENCE: what the errno `code` means". Returns FALSE, for the caller to return. */
gboolean fsc_failure_set_errno (GError **error, int code, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

/* The same where the sentence says it already: "SENTENCE". */
gboolean fsc_failure_set (GError **error, int code, const char *format, ...) G_GNUC_PRINTF (3, 4);
