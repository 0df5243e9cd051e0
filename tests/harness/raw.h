/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A client without the library: packets in, packets out, for tests of what libfscache would never
 * say.
 */
#pragma once

#include <glib.h>

#include "protocol/channel.h"
#include "tests/harness/message.h"

/* A packet that was received, with all it brought. */
typedef struct
{
  FscTestMessage message; /* its strings point into the buffer */
  FscFds fds;
  guint8 buffer[FSC_PACKET_MAX];
} FscTestPacket;

/* Connects, and says nothing. The caller owns the descriptor. */
int fsc_test_raw_connect (const char *socket);

/* Sends HELLO with or without a descriptor of "/", and takes the WELCOME. */
void fsc_test_raw_say_hello (int fd, gboolean with_root);

/* Connects and does that. */
int fsc_test_raw_greet (const char *socket, gboolean with_root);

/* Sends a message; its descriptors are borrowed. */
void fsc_test_raw_send (int fd, const FscTestMessage *message, const int *fds);

/* Waits for a message, up to ten seconds. Returns FALSE if the service has closed the connection.
 */
gboolean fsc_test_raw_receive (int fd, FscTestPacket *packet);

void fsc_test_packet_clear (FscTestPacket *packet);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FscTestPacket, fsc_test_packet_clear)

/* Asks for one resource and waits for the answer to it. */
void fsc_test_raw_open (int fd, const FscItem *item, FscTestPacket *packet);
