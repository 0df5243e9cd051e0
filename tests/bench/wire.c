/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A connection to fscached without libfscache; see wire.h.
 */
#include "tests/bench/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "protocol/codec.h"
#include "protocol/uri.h"
#include "tests/bench/bench.h"

static const FscBytes client_name = { "fscache-bench", 13 };

static bool
fail (GError **error, const char *what, int negative_errno)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s: %s", what,
               g_strerror (-negative_errno));
  return false;
}

/* Receives one packet and checks that it is the one that is expected. */
static bool
expect (int fd, FscOpcode opcode, FscFds *fds, unsigned max_fds, GError **error)
{
  uint8_t packet[4096];
  FscReader reader;
  FscHeader header;
  ssize_t length = fsc_channel_receive (fd, packet, sizeof packet, fds, max_fds, NULL, 0);

  if (length < 0)
    return fail (error, "cannot receive", length);
  if (fsc_reader_begin (&reader, &header, packet, length, fds != NULL ? fds->n : 0) == 0
      && header.opcode == opcode)
    return true;

  if (fds != NULL)
    fsc_fds_clear (fds);
  return fail (error, "unexpected answer", -EPROTO);
}

static bool
greet (int fd, bool has_root, GError **error)
{
  uint8_t packet[256];
  FscWriter writer;
  FscHello hello
      = { FSC_PROTOCOL_MAGIC, FSC_PROTOCOL_LOWEST, FSC_PROTOCOL_HIGHEST, 0, client_name };
  int root = has_root ? open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_hello (&writer, &hello);

  int length = fsc_writer_finish (&writer, FSC_OP_HELLO, 0, has_root);
  int result = fsc_channel_send (fd, packet, length, &root, has_root, 0);

  if (root >= 0)
    close (root);
  return result == 0 ? expect (fd, FSC_OP_WELCOME, NULL, 0, error)
                     : fail (error, "cannot send HELLO", result);
}

int
bench_wire_connect (const char *path, bool has_root, GError **error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  if (fd < 0 || connect (fd, (struct sockaddr *) &address, sizeof address) < 0)
    fail (error, "cannot connect", -errno);
  else if (greet (fd, has_root, error))
    return fd;

  if (fd >= 0)
    close (fd);
  return -1;
}

bool
bench_wire_ping (int fd, GError **error)
{
  uint8_t packet[64];
  FscWriter writer;

  fsc_writer_begin (&writer, packet, sizeof packet);

  int length = fsc_writer_finish (&writer, FSC_OP_PING, 1, 0);
  int result = fsc_channel_send (fd, packet, length, NULL, 0, 0);

  return result == 0 ? expect (fd, FSC_OP_DONE, NULL, 0, error)
                     : fail (error, "cannot send PING", result);
}

size_t
bench_wire_make_open (const char *path, void *packet, size_t size)
{
  char uri[FSC_URI_MAX];
  int uri_length = fsc_uri_from_path ((FscBytes){ path, strlen (path) }, uri, sizeof uri);
  FscWriter writer;

  if (uri_length < 0)
    return 0;

  FscItem item = { .uri = { uri, uri_length },
                   .flags = O_RDONLY | O_CLOEXEC,
                   .max_age_ms = UINT32_MAX,
                   .sharing = FSC_SHARING_SHARED };

  fsc_writer_begin (&writer, packet, size);
  fsc_codec_put_open (&writer, 1);
  fsc_codec_put_item (&writer, &item);

  int length = fsc_writer_finish (&writer, FSC_OP_OPEN, 1, 0);

  return length > 0 ? length : 0;
}

bool
bench_wire_open (int fd, const void *packet, size_t length, GError **error)
{
  FscFds fds = { .n = 0 };
  int result = fsc_channel_send (fd, packet, length, NULL, 0, 0);

  if (result < 0)
    return fail (error, "cannot send OPEN", result);
  if (!expect (fd, FSC_OP_OPENED, &fds, 1, error))
    return false;
  if (fds.n != 1)
    return fail (error, "no descriptor came", -EPROTO);

  fsc_fds_clear (&fds);
  return true;
}
