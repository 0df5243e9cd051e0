/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What rows mount in the temporary directory, by programs that serve a mount as long as they run.
 * Each is mounted once, for all rows, and unmounted with the bench.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "tests/bench/bench.h"

/* The mount points, which the janitor knows too. */
#define BENCH_MOUNT_SSH "mount-ssh"
#define BENCH_MOUNT_DIRECT "mount-direct"
#define BENCH_MOUNT_MEMORY "mount-memory"
#define BENCH_MOUNT_VIEW "mount-view"
#define BENCH_MOUNT_VIEW_PAGES "mount-view-pages"
#define BENCH_MOUNT_BARE "mount-bare"
#define BENCH_MOUNT_BARE_PASS "mount-bare-pass"
#define BENCH_MOUNT_BARE_KEPT "mount-bare-kept"
#define BENCH_MOUNT_EMPTY "mount-empty"
#define BENCH_MOUNT_SINGLE "mount-single"

/* Makes the mount point. *is_new says that it is for the caller to mount; else it is mounted
 * already, or if that was tried in vain, unavailable. */
bool bench_mount_claim (Bench *bench, const char *name, bool *is_new, GError **error);

/* Starts a program that stays in the foreground, and waits until it has mounted; if it does not, it
 * is unavailable for the reason that it gives. */
bool bench_mount (Bench *bench, const char *name, const char *const *argv, GError **error);

/* The path of a mount point; new. */
char *bench_mount_get_path (const Bench *bench, const char *name);

/* Lazily: whoever has files open there keeps them. Nothing happens if nothing is mounted. */
void bench_unmount (const char *mount_point);

/* Unmounts all that may be mounted in this temporary directory. */
void bench_unmount_all (const char *directory);
