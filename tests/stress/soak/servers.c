/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Servers; see servers.h.
 */
#include "tests/stress/soak/servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/harness/program.h"

#define CONNECTIONS_MAX 256

guint
soak_start_http (pid_t *pid)
{
  const char *arguments[] = { "python3", FSC_TEST_SERVER, "/dev/null", NULL };
  char line[16] = "";
  int out;

  /* Its input, with which it ends, stays open. */
  if (!g_spawn_async_with_pipes (
          NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
          fsc_test_program_die_with_parent, NULL, pid, &(int){ -1 }, &out, NULL, NULL))
    return 0;
  for (gsize n = 0; n < sizeof line - 1 && read (out, line + n, 1) == 1 && line[n] != '\n'; n++)
    ;
  close (out);
  return (guint) atoi (line);
}

static void
echo (struct pollfd *connection)
{
  char bytes[256];
  ssize_t length = recv (connection->fd, bytes, sizeof bytes, MSG_DONTWAIT);

  if (length > 0 && send (connection->fd, bytes, (size_t) length, MSG_NOSIGNAL) == length)
    return;
  if (length < 0 && errno == EAGAIN)
    return;
  close (connection->fd);
  connection->fd = -1;
}

static void
serve (int listener)
{
  struct pollfd connections[CONNECTIONS_MAX + 1] = { { .fd = listener, .events = POLLIN } };
  nfds_t n = 1;

  while (poll (connections, n, -1) >= 0)
    {
      for (nfds_t i = n - 1; i > 0; i--)
        {
          if (connections[i].revents != 0)
            echo (&connections[i]);
          if (connections[i].fd < 0)
            connections[i] = connections[--n];
        }
      if (connections[0].revents != 0 && n <= CONNECTIONS_MAX)
        connections[n++] = (struct pollfd){ .fd = accept (listener, NULL, NULL), .events = POLLIN };
    }
}

guint
soak_start_echo (pid_t *pid)
{
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl (INADDR_LOOPBACK) } };
  socklen_t length = sizeof address;
  int listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (listener < 0 || bind (listener, (struct sockaddr *) &address, length) < 0
      || listen (listener, 64) < 0
      || getsockname (listener, (struct sockaddr *) &address, &length) < 0)
    g_error ("cannot listen: %s", g_strerror (errno));
  *pid = fork ();
  if (*pid == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      serve (listener);
      _exit (1);
    }
  close (listener);
  return ntohs (address.sin_port);
}
