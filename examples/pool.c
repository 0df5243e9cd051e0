/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Asks Redis for a PONG through a connection that is borrowed:
 *
 *     pool tcp://127.0.0.1:6379
 */
#include <fscache.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int
main (int argc, char **argv)
{
  static const char ping[] = "PING\r\n";
  FscacheRequest request = { .uri = argv[1], .sharing = FSCACHE_EXCLUSIVE };
  FscacheReply reply;
  FscacheClient *client;
  char answer[64];
  ssize_t n = -1;

  if (argc != 2)
    {
      fprintf (stderr, "usage: %s tcp://HOST:PORT\n", argv[0]);
      return 2;
    }
  fscache_connect (NULL, 0, &client);
  if (fscache_open_with (client, &request, &reply) < 0)
    {
      fprintf (stderr, "%s: %s\n", argv[0], reply.message);
      fscache_disconnect (client);
      return 1;
    }
  printf ("%s connection\n", reply.source == FSCACHE_SOURCE_CACHE ? "a used" : "a new");
  if (send (reply.fd, ping, strlen (ping), MSG_NOSIGNAL) > 0)
    n = recv (reply.fd, answer, sizeof answer, 0);
  if (n > 0)
    fwrite (answer, 1, (size_t) n, stdout);

  /* The next one who asks gets it as it is: so only if all that was asked has been answered. */
  if (n > 0 && answer[n - 1] == '\n')
    fscache_give_back (client, &reply);
  else
    fscache_discard (client, &reply);
  fscache_disconnect (client);
  return n > 0 ? 0 : 1;
}
