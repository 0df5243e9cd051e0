/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A process shuts itself in before it touches content that others have made: whoever takes it over
 * by a flaw of a library finds that it can do next to nothing. There is no way back, and what it
 * starts is shut in as well. (What system calls it may make is filter.h's.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No new privileges, and no path can be opened, made or changed, except that these files, if they
 * are there, can be read (NULL: none; else ended by NULL). By Landlock, where the kernel has it.
 * What is open stays open. */
bool fsc_confine_files (const char *const *readable);

/* TCP only to these ports, and from none; by Landlock, where the kernel's knows of ports. */
bool fsc_confine_ports (const uint16_t *ports, size_t n);

/* The address sanitizer has terabytes of address space: under it there is no limit to that. */
#if defined __SANITIZE_ADDRESS__
#define FSC_CONFINE_HAS_MEMORY_LIMIT 0
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define FSC_CONFINE_HAS_MEMORY_LIMIT 0
#endif
#endif
#ifndef FSC_CONFINE_HAS_MEMORY_LIMIT
#define FSC_CONFINE_HAS_MEMORY_LIMIT 1
#endif

/* So many bytes of address space, so many seconds of processor time; and no core dump. */
bool fsc_confine_resources (uint64_t memory, unsigned seconds);
