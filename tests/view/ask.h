/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * All that can be asked about a name: attributes, content, listing, target, rights, errors. So
 * trees can be compared.
 */
#pragma once

#include <glib.h>

/* What is answered about "ROOT/NAME". Without times for trees that were not made at once. */
char *fsc_test_ask (const char *root, const char *name, gboolean has_times);

/* Fails unless the answers about a name are the same in two trees, within so many microseconds. */
void fsc_test_assert_same_name (const char *a, const char *b, const char *name, gboolean has_times,
                                gint64 bound);
