/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Connects to a host that has several addresses: to one after the other, but none of them is waited
 * for so long that the next one has no time. As RFC 8305 has it, all that were begun go on, and
 * the first to answer is taken.
 */
#pragma once

#include <netdb.h>
#include <stdint.h>

/* Returns a blocking socket, owned by the caller, or -1 with errno set: to ETIMEDOUT if none has
 * answered in time, else to what is wrong with the one that failed last. */
int fsc_dial (const struct addrinfo *addresses, int64_t timeout_ms);
