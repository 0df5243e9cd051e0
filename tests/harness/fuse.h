/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A FUSE server of a test's own: its file system hangs while it is stopped (SIGSTOP). Whatever is
 * asked for in it is the same file.
 */
#pragma once

#include <sys/types.h>

/* Mounts it. Returns its process, which the caller ends, and waits for; 0 if it cannot be mounted:
 * then skip. */
pid_t fsc_test_mount_fuse (const char *path);

/* The same as a file system of another type ("fuse.NAME"), in which "out" is a symlink, unless the
 * target is NULL. */
pid_t fsc_test_mount_fuse_as (const char *path, const char *type, const char *target);
