/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One message with its descriptors over an AF_UNIX SOCK_SEQPACKET socket: the only code that knows
 * SCM_RIGHTS. It knows nothing of what the bytes mean.
 *
 * The promise is that no descriptor is ever leaked or lost: whatever a call returns, the caller's
 * FscFds owns what has arrived, and the caller closes it, where closing may take its time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/protocol.h"

/* Descriptors received, owned by this array: what is taken out of it must be set to -1. Only the
 * first n are initialised. */
typedef struct
{
  unsigned n;
  int fds[FSC_FDS_MAX];
} FscFds;

/* Takes one descriptor out: the caller owns it now. */
int fsc_fds_steal (FscFds *fds, unsigned index);

/* Closes what was not taken. */
void fsc_fds_clear (FscFds *fds);

/* Sends one packet. The descriptors are borrowed: the kernel takes references of its own. Never
 * raises SIGPIPE; repeats on EINTR. Returns 0 or
 *   -EAGAIN       the socket's buffer is full (it is non-blocking, or MSG_DONTWAIT was given): wait
 *                 for POLLOUT;
 *   -ETOOMANYREFS too many descriptors of this user are in flight: wait, no event tells how long;
 *   -EPIPE, -ECONNRESET  the peer is gone;
 *   any other     as sendmsg(2). */
int fsc_channel_send (int socket, const void *packet, size_t length, const int *fds, unsigned n_fds,
                      int flags);

/* Receives one packet of at most `size` bytes with at most `max_fds` descriptors, which are
 * O_CLOEXEC. With max_fds 0 there is no room for any: the kernel drops what was sent without it
 * ever being installed here. (But it is closed here: see below.) Repeats on EINTR. Returns the
 * packet's length or
 *   -ECONNRESET  the peer has closed (or sent an empty packet, which no peer may do);
 *   -EAGAIN      nothing there (non-blocking, MSG_DONTWAIT, or SO_RCVTIMEO has passed);
 *   -EPROTO      the packet was longer than `size`, or more descriptors came than max_fds, or
 *                another kind of control message: the peer is at fault;
 *   any other    as recvmsg(2).
 * `fds` may be NULL if max_fds is 0. Else what came is in it after errors, too.
 *
 * If control data was cut because this process has no free descriptor, that is no fault of the
 * peer: the packet is returned with no descriptor at all, and *lost is true. Whoever passes NULL
 * for `lost` gets -EMFILE instead. */
ssize_t fsc_channel_receive (int socket, void *buffer, size_t size, FscFds *fds, unsigned max_fds,
                             bool *lost, int flags);

/* From now on whoever sends descriptors to this socket fails, if the kernel can do that. Returns
 * whether it is certain that there are none: what was sent before may be here. */
bool fsc_channel_refuse_fds (int socket);

/* Whether the packet that is the next to come has descriptors. Receiving it without room for them,
 * or closing the socket, would be their last close, which may take for ever: the server they lead
 * to may not answer, or a connection linger. Nothing is installed, and the packet stays. */
bool fsc_channel_brings_fds (int socket);
