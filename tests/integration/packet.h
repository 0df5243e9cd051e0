/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Packets that tests write by the thousand, and the handshake in parts.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "protocol/codec.h"
#include "tests/harness/raw.h"

/* Sends HELLO, with `root_fd` (borrowed) or, if that is -1, without. Returns 0 or a negative errno.
 */
static inline int
fsc_test_send_hello (int fd, int root_fd)
{
  FscHello hello = { .magic = FSC_PROTOCOL_MAGIC,
                     .lowest = FSC_PROTOCOL_LOWEST,
                     .highest = FSC_PROTOCOL_HIGHEST,
                     .name = { "test", 4 } };
  guint8 packet[64];
  FscWriter writer;
  int length;

  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_hello (&writer, &hello);
  length = fsc_writer_finish (&writer, FSC_OP_HELLO, 0, root_fd >= 0);
  g_assert_cmpint (length, >, 0);
  return fsc_channel_send (fd, packet, (size_t) length, &root_fd, root_fd >= 0, 0);
}

/* Writes an OPEN of `n` times the same item. Returns its length. */
static inline size_t
fsc_test_write_open (guint8 *buffer, size_t size, guint32 serial, const char *uri, int flags,
                     FscSharing sharing, guint n)
{
  FscItem item = { .uri = { uri, strlen (uri) }, .flags = (guint32) flags, .sharing = sharing };
  FscWriter writer;
  int length;

  if (sharing == FSC_SHARING_INDEPENDENT)
    item.options = FSC_OPTION_REOPENS;
  if ((flags & O_CREAT) != 0)
    item.mode = 0600;
  fsc_writer_begin (&writer, buffer, size);
  fsc_codec_put_open (&writer, n);
  for (guint i = 0; i < n; i++)
    fsc_codec_put_item (&writer, &item);
  length = fsc_writer_finish (&writer, FSC_OP_OPEN, serial, 0);
  g_assert_cmpint (length, >, 0);
  return (size_t) length;
}

/* Writes a message without a body: PING, STATUS. Returns its length. */
static inline size_t
fsc_test_write_empty (guint8 *buffer, size_t size, FscOpcode opcode, guint32 serial)
{
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, size);
  return (size_t) fsc_writer_finish (&writer, opcode, serial, 0);
}
