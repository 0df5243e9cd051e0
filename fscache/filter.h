/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which system calls a process may make: whoever takes one over by a flaw finds that the kernel has
 * no others. There is no way back, and what a process starts has its filters, and can but add more.
 *
 * Where the kernel has no filters, or fscache was built without libseccomp or with a sanitizer,
 * which makes calls of its own, nothing is done. In the environment, FSCACHE_SECCOMP=0 has nothing
 * done either (for valgrind, say), and FSCACHE_SECCOMP=kill has a process killed for what it may
 * not do: that shows what a filter lacks. Libc only; see SECURITY.md for what is filtered where,
 * and why.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name of the variable */
#define FSC_FILTER_VARIABLE "FSCACHE_SECCOMP"

/* A system call that is allowed: in any case, or, with a mask, if of these bits of an argument
 * those of the value are set. */
typedef struct
{
  int number;
  unsigned argument;
  uint64_t mask, value;
} FscSystemCall;

typedef enum
{
  FSC_FILTER_KILL, /* the process is killed */
  FSC_FILTER_DENY, /* the kernel says that it has no such call */
} FscFilterEnd;

/* Of all threads: from now on only these system calls, and what memory of its own takes, which
 * cannot be made executable. `end` is what happens with any other. Returns false if the kernel
 * refuses, with errno. */
bool fsc_filter_system_calls (const FscSystemCall *calls, size_t n, FscFilterEnd end);

/* Who may make a call of the table: a service for all users, or, as a sum, an opener. */
typedef enum
{
  FSC_FILTER_SERVICE = 1 << 0,
  FSC_FILTER_OPENER = 1 << 1,
  FSC_FILTER_CONNECTS = 1 << 2, /* an opener that does */
  FSC_FILTER_FORKS = 1 << 3,    /* an opener that has processes of its own program */
} FscFilterRole;

/* From now on only what is for one of these. Returns false if the kernel refuses, with errno. */
bool fsc_filter_load (unsigned roles);

/* For what may start any program of a user's: nothing that changes the system as a whole, or that
 * goes around filters. Returns false if the kernel refuses, with errno. */
bool fsc_filter_load_least (void);
