/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One socket to the service; see connection.h.
 */
#include "libclient/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libclient/message.h"
#include "protocol/channel.h"

#define NANOSECONDS 1000000000

static int
set_trouble (FscTrouble *trouble, const char *path, int error)
{
  char buffer[FSC_CLIENT_ERRNO_SIZE];

  trouble->code = error == EMFILE ? FSCACHE_ERROR_NO_DESCRIPTOR : FSCACHE_ERROR_NO_SERVICE;
  /* Not ENOENT: the caller would think of the file. */
  trouble->error = error == ENOENT ? ECONNREFUSED : error;
  snprintf (trouble->text, sizeof trouble->text, "no service at %s (%s)", path,
            fsc_client_describe_errno (error, buffer));
  return -error;
}

/* Whoever listens there is given the names of what is opened, and answers with descriptors that the
 * program will trust: it must be the system's service or the user's own. */
static int
check_peer (int fd, const char *path, FscTrouble *trouble)
{
  struct ucred peer;
  socklen_t length = sizeof peer;

  if (getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
    return set_trouble (trouble, path, errno);
  if (peer.uid == 0 || peer.uid == geteuid ())
    return 0;
  trouble->code = FSCACHE_ERROR_REFUSED;
  trouble->error = EACCES;
  snprintf (trouble->text, sizeof trouble->text,
            "the service at %s is not used: it runs as user %u, not as this user or root", path,
            (unsigned) peer.uid);
  return -EACCES;
}

static int
connect_socket (int fd, const char *path, FscTrouble *trouble)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  size_t length = strlen (path);

  if (length >= sizeof address.sun_path)
    return set_trouble (trouble, path, ENAMETOOLONG);
  memcpy (address.sun_path, path, length + 1);
  if (connect (fd, (struct sockaddr *) &address, sizeof address) < 0)
    return set_trouble (trouble, path, errno);
  return check_peer (fd, path, trouble);
}

static int
send_hello (int fd, int root)
{
  uint8_t packet[128];
  const char *name = program_invocation_short_name;
  FscHello hello = {
    .magic = FSC_PROTOCOL_MAGIC,
    .lowest = FSC_PROTOCOL_LOWEST,
    .highest = FSC_PROTOCOL_HIGHEST,
    .features = FSC_FEATURE_GENERATIONS | FSC_FEATURE_EVENTS | FSC_FEATURE_SPEAKING
                | FSC_FEATURE_CONTENT | FSC_FEATURE_PROGRESS | FSC_FEATURE_ENTRY_GENERATIONS
                | FSC_FEATURE_PUTTING,
    .name = { name, strnlen (name, FSC_NAME_MAX) },
  };
  FscWriter writer;
  int length;

  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_hello (&writer, &hello);
  length = fsc_writer_finish (&writer, FSC_OP_HELLO, 0, root >= 0);
  if (length < 0)
    return length;
  return fsc_channel_send (fd, packet, (size_t) length, &root, root >= 0, 0);
}

static int
greet (int fd, const char *path, FscTrouble *trouble)
{
  int root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int r;

  /* Without it the service serves no paths on this connection. That is right where "/" cannot be
   * opened at all, but not for the life of a connection that was made in a bad moment. */
  if (root < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
    return set_trouble (trouble, path, errno);

  r = send_hello (fd, root);
  if (root >= 0)
    close (root);
  if (r == -ETOOMANYREFS)
    r = -EAGAIN;
  return r < 0 ? set_trouble (trouble, path, -r) : 0;
}

static int
make_blocking (int fd, int64_t patience)
{
  struct timeval time
      = { .tv_sec = patience / NANOSECONDS, .tv_usec = patience % NANOSECONDS / 1000 };

  if (setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) < 0
      || fcntl (fd, F_SETFL, O_RDWR) < 0)
    return -errno;
  return 0;
}

int
fsc_client_connection_new (const char *path, int64_t patience, FscConnection **connection,
                           FscTrouble *trouble)
{
  int fd, r;

  *connection = NULL;
  /* Non-blocking while connecting: a full backlog is EAGAIN then. After that it blocks, so that a
   * thread can wait in recvmsg() without a poll() before it; who does not want to wait says
   * MSG_DONTWAIT. */
  fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return set_trouble (trouble, path, errno);

  r = connect_socket (fd, path, trouble);
  if (r == 0)
    r = greet (fd, path, trouble);
  if (r == 0)
    {
      r = make_blocking (fd, patience);
      if (r < 0)
        set_trouble (trouble, path, -r);
    }
  if (r == 0)
    {
      *connection = calloc (1, sizeof **connection);
      if (*connection == NULL)
        r = set_trouble (trouble, path, ENOMEM);
    }
  if (r < 0)
    {
      close (fd);
      return r;
    }
  (*connection)->fd = fd;
  (*connection)->users = 1;
  return 0;
}

int
fsc_client_connection_speak_for (FscConnection *connection, const FscWelcome *welcome,
                                 const FscClientUser *user)
{
  uint8_t packet[64 + FSC_GROUPS_MAX * sizeof user->groups[0]];
  FscWriter writer;
  int length;

  if ((welcome->features & FSC_FEATURE_SPEAKING) == 0)
    return -EACCES;
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_speak_for (&writer, &user->whom);
  for (uint32_t i = 0; i < user->whom.n_groups; i++)
    fsc_codec_put_group (&writer, user->groups[i]);
  length = fsc_writer_finish (&writer, FSC_OP_SPEAK_FOR, 1, 0);
  if (length < 0)
    return length;
  connection->is_speaking = true;
  return fsc_channel_send (connection->fd, packet, (size_t) length, NULL, 0, MSG_DONTWAIT);
}

int
fsc_client_connection_welcome (FscConnection *connection, const FscWelcome *welcome)
{
  if (welcome->version < FSC_PROTOCOL_LOWEST || welcome->version > FSC_PROTOCOL_HIGHEST
      || welcome->items_max == 0)
    return -EPROTO;
  connection->serves_paths = welcome->serves & FSC_SERVES_PATHS;
  connection->features = welcome->features;
  connection->packet_max
      = welcome->packet_max < FSC_PACKET_MAX ? welcome->packet_max : FSC_PACKET_MAX;
  connection->items_max = welcome->items_max < FSC_ITEMS_MAX ? welcome->items_max : FSC_ITEMS_MAX;
  memcpy (connection->name, welcome->name.data, welcome->name.length);
  connection->name[welcome->name.length] = '\0';
  connection->is_ready = true;
  return 0;
}

void
fsc_client_connection_ref (FscConnection *connection)
{
  connection->users++;
}

void
fsc_client_connection_unref (FscConnection *connection)
{
  if (--connection->users > 0)
    return;
  close (connection->fd);
  if (connection->table != NULL)
    fsc_client_table_unref (connection->table);
  free (connection);
}
