/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Staying with a program, as if it had replaced this process: whoever started that sees the
 * program's end as its own, can stop and continue it, and whatever signal it sends, the program
 * gets.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* As fork(), but from before that on no signal ends the parent. Returns 0 in the child. */
pid_t fsc_stay_fork (void);

/* Waits until the child has ended. Returns its status, as waitpid() does. */
int fsc_stay_wait (pid_t child);

/* Returns what to exit with; or ends by the signal that has ended the child. */
int fsc_stay_end (int status);
