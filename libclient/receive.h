/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Receiving: packets of the service become answers. Descriptors that nobody wants (any more) are
 * left in the packet's FscFds, for the caller to close without the lock.
 */
#pragma once

#include "libclient/client.h"
#include "protocol/channel.h"

/* Takes in one packet, with the client's lock. Returns 0, or -EPROTO if it is malformed: then
 * nothing of it was used. */
int fsc_client_receive_packet (FscacheClient *client, const void *packet, size_t length,
                               FscFds *fds, bool lost);
