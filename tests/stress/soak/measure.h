/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a process takes, over time.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* In KiB; 0 if there is no such process. */
guint64 soak_get_resident (pid_t pid);

/* How much larger, in percent of the mean, the second half of these samples (of double) is at its
 * end than at its beginning: by the line that fits them best. */
double soak_get_drift (const GArray *samples);
