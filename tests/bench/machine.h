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

/* Pins this process and its children to "0-2,5"; with NULL to the last CPU that it may use, for
 * most interrupts go to the first. Returns what was chosen; new, or NULL with errno if that cannot
 * be. */
char *bench_machine_pin (const char *list);

/* As many descriptors as we may have. */
void bench_machine_raise_descriptor_limit (void);
