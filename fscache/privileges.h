/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Giving up what is not needed: what a process of fscache asks the kernel about a file is to be
 * answered as for any process of that user, root included. Libc only, and usable between fork() and
 * exec().
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Whether this process may become any other user. */
bool fsc_privileges_can_become_others (void);

/* Gives up that executing a program could ever bring capabilities: as far as this process may,
 * which is root. What it has it keeps. */
void fsc_privileges_bound (void);

/* Gives up, for good, all capabilities but those to become other users, and to end their processes;
 * and nobody may look into this process any more. Returns false if the kernel refuses. */
bool fsc_privileges_keep_for_spawning (void);

/* Becomes another user, whose processes may not look into this one. What capabilities root had go
 * with it. Returns false if the kernel refuses. */
bool fsc_privileges_become (uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups);

/* Gives up all capabilities, for good: they do not come back by executing a program. Returns false
 * if the kernel refuses. */
bool fsc_privileges_drop (void);
