/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Supplementary groups of a thread that waits for an answer: FUSE does not tell them. They are
 * those that /proc has for it, or unknown; never a guess. (Those that have no number in the user
 * namespace of this process all look the same.)
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Of gid_t, sorted. NULL if they cannot be known: the thread may be in another PID namespace, and
 * then has no number here, or be a part of the kernel that acts for others, and then /proc has
 * other IDs than these. */
GArray *fsc_groups_read (pid_t pid, uid_t uid, gid_t gid);

/* Those of this process, in no order. */
GArray *fsc_groups_get_own (void);

/* Sorts them, and takes out the one that is its group anyway: whether that is told twice makes no
 * difference. */
void fsc_groups_reduce (GArray *groups, gid_t gid);
