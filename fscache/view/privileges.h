/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What root's view may do to a file that it holds, and its callers may not. The service opens
 * without capabilities; the threads that serve requests do without those for files, too. Otherwise
 * writing would leave set-user-ID bits and go beyond quotas, and attributes could be read that the
 * caller may not read. Nothing here fails for who has no privileges.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Of this thread, and those that it starts from then on. */
void fsc_privileges_drop (void);
void fsc_privileges_restore (void);

/* What is done with a handle: 0 or a negative errno. */
typedef int (*FscPrivilegesFunc) (int fd, const void *argument);

/* The same as a process of this user would do it; for root, in a thread without privileges. */
int fsc_privileges_run_as (uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups,
                           FscPrivilegesFunc func, int fd, const void *argument);
