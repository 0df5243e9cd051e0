/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A client without the library; see raw.h.
 */
#include "tests/harness/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_SECONDS 10

int
fsc_test_raw_connect (const char *socket_path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
  int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (g_strlcpy (address.sun_path, socket_path, sizeof address.sun_path), <,
                   sizeof address.sun_path);
  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  g_assert_no_errno (connect (fd, (const struct sockaddr *) &address, sizeof address));
  return fd;
}

void
fsc_test_raw_say_hello (int fd, gboolean with_root)
{
  FscTestMessage hello
      = { .header = { .opcode = FSC_OP_HELLO, .n_fds = with_root != FALSE },
          .hello
          = { FSC_PROTOCOL_MAGIC, FSC_PROTOCOL_LOWEST, FSC_PROTOCOL_HIGHEST, 0, { "raw", 3 } } };
  g_auto (FscTestPacket) packet = { 0 };
  int root = with_root ? open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

  fsc_test_raw_send (fd, &hello, &root);
  if (root >= 0)
    close (root);
  g_assert_true (fsc_test_raw_receive (fd, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_WELCOME);
  g_assert_cmpuint (packet.message.welcome.serves, ==, with_root ? FSC_SERVES_PATHS : 0);
}

int
fsc_test_raw_greet (const char *socket_path, gboolean with_root)
{
  int fd = fsc_test_raw_connect (socket_path);

  fsc_test_raw_say_hello (fd, with_root);
  return fd;
}

void
fsc_test_raw_send (int fd, const FscTestMessage *message, const int *fds)
{
  g_autofree guint8 *buffer = g_malloc (FSC_PACKET_MAX);
  int length = fsc_test_message_encode (message, buffer, FSC_PACKET_MAX);

  g_assert_cmpint (length, >, 0);
  g_assert_cmpint (fsc_channel_send (fd, buffer, (size_t) length, fds, message->header.n_fds, 0),
                   ==, 0);
}

gboolean
fsc_test_raw_receive (int fd, FscTestPacket *packet)
{
  ssize_t length;

  fsc_test_packet_clear (packet);
  length = fsc_channel_receive (fd, packet->buffer, sizeof packet->buffer, &packet->fds,
                                FSC_FDS_MAX, NULL, 0);
  if (length == -ECONNRESET)
    return FALSE;
  g_assert_cmpint (length, >, 0);
  g_assert_cmpint (
      fsc_test_message_decode (&packet->message, packet->buffer, (size_t) length, packet->fds.n),
      ==, 0);
  return TRUE;
}

void
fsc_test_packet_clear (FscTestPacket *packet)
{
  fsc_fds_clear (&packet->fds);
  fsc_test_message_clear (&packet->message);
}

void
fsc_test_raw_open (int fd, const FscItem *item, FscTestPacket *packet)
{
  FscTestRecord record = { .item = *item };
  FscTestMessage message
      = { .header = { .opcode = FSC_OP_OPEN, .serial = 7 }, .n_records = 1, .records = &record };

  fsc_test_raw_send (fd, &message, NULL);
  g_assert_true (fsc_test_raw_receive (fd, packet));
  g_assert_cmpint (packet->message.header.opcode, ==, FSC_OP_OPENED);
  g_assert_cmpuint (packet->message.header.serial, ==, 7);
  g_assert_cmpuint (packet->message.n_records, ==, 1);
}
