/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A client without the library: packets by hand, for tests that do what libfscache never would.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "protocol/codec.h"

#define FSC_RAW_SECONDS 20 /* sanitizers and valgrind are slow */

/* A connection that has said nothing yet. Waits for what it receives, but not for ever. */
static inline int
fsc_raw_connect (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct timeval patience = { .tv_sec = FSC_RAW_SECONDS };
  int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (g_strlcpy (address.sun_path, path, sizeof address.sun_path), <,
                   sizeof address.sun_path);
  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  g_assert_no_errno (connect (fd, (const struct sockaddr *) &address, sizeof address));
  return fd;
}

/* Sends HELLO, with `root_fd` (borrowed) or, if that is -1, without. Returns 0 or a negative errno.
 */
static inline int
fsc_raw_hello (int fd, int root_fd)
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

/* A connection that has been greeted, and sees the service's file tree. */
static inline int
fsc_raw_join (const char *path)
{
  int root_fd = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = fsc_raw_connect (path);
  guint8 packet[256];
  FscHeader header;
  FscReader reader;
  FscWelcome welcome;
  ssize_t length;

  g_assert_cmpint (fsc_raw_hello (fd, root_fd), ==, 0);
  close (root_fd);
  length = fsc_channel_receive (fd, packet, sizeof packet, NULL, 0, NULL, 0);
  g_assert_cmpint (length, >, 0);
  g_assert_cmpint (fsc_reader_begin (&reader, &header, packet, (size_t) length, 0), ==, 0);
  g_assert_cmpint (header.opcode, ==, FSC_OP_WELCOME);
  g_assert_true (fsc_codec_get_welcome (&reader, &welcome));
  g_assert_cmphex (welcome.serves & FSC_SERVES_PATHS, ==, FSC_SERVES_PATHS);
  return fd;
}

/* Writes an OPEN of `n` times the same item. Returns its length. */
static inline size_t
fsc_raw_write_open (guint8 *buffer, size_t size, guint32 serial, const char *uri, int flags,
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
fsc_raw_write_empty (guint8 *buffer, size_t size, FscOpcode opcode, guint32 serial)
{
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, size);
  return (size_t) fsc_writer_finish (&writer, opcode, serial, 0);
}
