/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a benchmark needs to know of the machine, and asks of it.
 */
#pragma once

#include <glib.h>

/* Processor and kernel, in words; new. */
char *bench_machine_describe (void);

/* The kind of file system that a directory is on; new. */
char *bench_machine_describe_file_system (const char *directory);

/* Where to put files: not on overlayfs, which is not cached, and would measure something else. */
const char *bench_machine_choose_directory (void);

/* A directory on tmpfs that is the user's own; NULL if there is none. */
const char *bench_machine_find_memory (void);

/* Pins this process and its children to "0-2,5"; with NULL to the last CPU that it may use, for
 * most interrupts go to the first. Returns what was chosen; new, or NULL with errno if that cannot
 * be. */
char *bench_machine_pin (const char *list);

/* For the little that must not be pinned: everything that this process starts until it is pinned
 * again, and the process itself, may run on any CPU that it was given. Nothing if it was never
 * pinned. */
void bench_machine_unpin (void);
void bench_machine_pin_again (void);

/* A CPU that the bench is not pinned to; -1 if there is none. */
int bench_machine_find_other_cpu (void);

/* How many it may use when it is not pinned. */
unsigned bench_machine_count_cpus (void);

/* As many descriptors as we may have. */
void bench_machine_raise_descriptor_limit (void);
