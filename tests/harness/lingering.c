/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A descriptor whose last close takes an hour; see lingering.h.
 */
#include "tests/harness/lingering.h"

#include <glib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/harness/tap.h"

int
fsc_test_make_lingering (int *peer)
{
  struct sockaddr_in address
      = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  const struct linger linger = { 1, 3600 };
  socklen_t length = sizeof address;
  const char block[65536] = "";
  int listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_assert_no_errno (bind (listener, (struct sockaddr *) &address, sizeof address));
  g_assert_no_errno (listen (listener, 1));
  g_assert_no_errno (getsockname (listener, (struct sockaddr *) &address, &length));
  g_assert_no_errno (connect (fd, (struct sockaddr *) &address, sizeof address));
  *peer = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
  g_assert_cmpint (*peer, >=, 0);
  close (listener);
  g_assert_no_errno (setsockopt (fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
  for (int quiet = 0; quiet < 5; quiet++) /* the other end takes some of it */
    {
      while (send (fd, block, sizeof block, MSG_DONTWAIT) > 0)
        quiet = 0;
      g_usleep (10000);
    }
  return fd;
}
