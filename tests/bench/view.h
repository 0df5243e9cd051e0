/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Views of the main service, as rows use them.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "tests/bench/bench.h"

/* The one that everybody has: by passthrough where that can be. */
bool bench_view_mount (Bench *bench, GError **error);

/* The one that does without passthrough. */
bool bench_view_mount_pages (Bench *bench, GError **error);

/* Whether the first is one by passthrough; else unavailable, and why. */
bool bench_view_has_passthrough (Bench *bench, GError **error);

/* bare-fuse on /, of one of its kinds (bare-fuse.c). */
bool bench_view_mount_bare (Bench *bench, const char *name, const char *kind, GError **error);

/* The name of an absolute path through the view with this mount point; new. */
char *bench_view_get_path (const Bench *bench, const char *name, const char *path);
