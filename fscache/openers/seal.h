/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The end of all changes to content.
 */
#pragma once

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether it is memory that can be neither written to, nor made larger or smaller. Asks no file
 * system: only the kernel's own memory has seals. */
bool fsc_seal_is_memory (int fd);

/* Has nobody change any more what is in this memory, nor make it writable again. Returns a
 * descriptor for reading only, which is the caller's, or -1: errno says why not. */
int fsc_seal_memory (int fd);

/* The same of a file without a name. Whom it belongs to can give himself the right to write again.
 */
int fsc_seal_file (int fd);

/* Reads all that is in memory that is sealed, if that takes no more than this time (0: however long
 * it takes). Returns whether it could. */
bool fsc_seal_digest (int fd, uint32_t timeout_ms, uint64_t *size,
                      uint8_t digest[SHA256_DIGEST_SIZE]);
