/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Closing what may take long to close. The last close of a large memfd or of a large file without a
 * name frees all its pages, which takes about 0.1 s a GiB; a thread does those, so that nobody
 * waits. What somebody else has sent may take for ever.
 */
#pragma once

#include <stdbool.h>

#include "protocol/channel.h"

/* Closes a descriptor of a local file system, a memfd, a socket. Takes it. */
void fsc_closer_close (int fd);

/* Whether what it closes in its thread is all closed. */
bool fsc_closer_is_done (void);

/* Closes a descriptor that a peer sent and that may be anything, on any file system, or a socket to
 * which somebody may have sent such descriptors: always in a thread, which may hang. */
void fsc_closer_close_foreign (int fd);

/* The same for what was not taken of those that have come with a packet. */
void fsc_closer_clear_foreign (FscFds *fds);
