/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sentences for people, which end in terminals, logs and JSON, with names and reasons in them that
 * anybody may have written.
 */
#pragma once

/* Makes it UTF-8 without control characters: each byte that is of none, or of one of those, becomes
 * a '?'. */
void fsc_text_clean (char *text);
