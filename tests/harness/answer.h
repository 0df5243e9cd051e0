/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Comparing the answers of the service with those of open(): the promise is that they are the same.
 * What counts is open() by a process of the same user that has no capabilities, so where root asks,
 * it lays down its own.
 */
#pragma once

#include <glib.h>
#include <linux/capability.h>
#include <sys/types.h>

#include "libclient/fscache.h"

/* Ends the effect of this process's capabilities; `all` takes what there was, for
 * fsc_test_set_capabilities(). */
void fsc_test_lay_down_capabilities (struct __user_cap_data_struct all[2]);
void fsc_test_set_capabilities (struct __user_cap_data_struct capabilities[2]);

/* open() as an opener would do it: without capabilities. Returns a negative errno on failure. */
int fsc_test_open_as_opener (const char *path, int flags, mode_t mode);

/* Asks both, and fails unless they say the same: an errno, or the same file with the same flags.
 * Returns the errno. */
int fsc_test_assert_same (FscacheClient *client, const char *path, int flags);

/* What fscache_open() has returned, and the reply, are of this failure, in each of the ways in
 * which they can say so. */
void fsc_test_assert_failed (const FscacheReply *reply, int fd, FscacheCode code, int error);

/* Opens for reading, and closes; fails unless it works. */
void fsc_test_assert_opens (FscacheClient *client, const char *path);

/* Opens for reading; fails unless it works and the source is this one. */
int fsc_test_open_from (FscacheClient *client, const char *path, FscacheSource source);

/* The first 256 bytes of a file through the service. Free with g_free(). */
char *fsc_test_read (FscacheClient *client, const char *path, FscacheSharing sharing);

ino_t fsc_test_get_inode (int fd);

/* Status flags as far as they belong to the description. */
int fsc_test_get_flags (int fd);
