/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Connecting to one of several addresses, of which some refuse, and some do not answer.
 */
#include "fscache/openers/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"

#define HOSTS_MAX 24
#define TIMEOUT_MS 2000

typedef struct
{
  struct sockaddr_in address;
  int listener; /* -1: it refuses */
  int fillers[4];
  int n_fillers;
} Host;

typedef struct
{
  Host hosts[HOSTS_MAX];
  struct addrinfo addresses[HOSTS_MAX];
  guint n;
} Hosts;

static int
make_socket (int flags)
{
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

  g_assert_cmpint (fd, >=, 0);
  return fd;
}

/* 'y' answers, 'n' refuses, '-' does neither: it takes no more connections than it has. */
static void
host_init (Host *host, char kind)
{
  struct sockaddr *address = (struct sockaddr *) &host->address;
  socklen_t length = sizeof host->address;

  *host = (Host){ .address = { .sin_family = AF_INET, .sin_addr = { htonl (INADDR_LOOPBACK) } } };
  host->listener = make_socket (0);
  g_assert_no_errno (bind (host->listener, address, length));
  if (kind != 'n')
    g_assert_no_errno (listen (host->listener, kind == 'y' ? 9 : 0));
  g_assert_no_errno (getsockname (host->listener, address, &length));
  while (kind == '-' && host->n_fillers < 4)
    {
      int fd = make_socket (SOCK_NONBLOCK);

      connect (fd, address, length);
      host->fillers[host->n_fillers++] = fd;
    }
}

static void
hosts_init (Hosts *hosts, const char *kinds)
{
  for (hosts->n = 0; kinds[hosts->n] != '\0'; hosts->n++)
    {
      Host *host = &hosts->hosts[hosts->n];

      g_assert_cmpuint (hosts->n, <, HOSTS_MAX);
      host_init (host, kinds[hosts->n]);
      hosts->addresses[hosts->n] = (struct addrinfo){ .ai_family = AF_INET,
                                                      .ai_socktype = SOCK_STREAM,
                                                      .ai_addr = (struct sockaddr *) &host->address,
                                                      .ai_addrlen = sizeof host->address };
      if (hosts->n > 0)
        hosts->addresses[hosts->n - 1].ai_next = &hosts->addresses[hosts->n];
    }
}

static void
hosts_clear (Hosts *hosts)
{
  for (guint i = 0; i < hosts->n; i++)
    {
      close (hosts->hosts[i].listener);
      while (hosts->hosts[i].n_fillers > 0)
        close (hosts->hosts[i].fillers[--hosts->hosts[i].n_fillers]);
    }
}

/* Which one is connected to; or a negative errno. */
static int
dial (const char *kinds, int timeout_ms, gint64 *ms)
{
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  Hosts hosts;
  gint64 begun;
  int fd, error, found = -1;

  hosts_init (&hosts, kinds);
  begun = g_get_monotonic_time ();
  fd = fsc_dial (hosts.addresses, timeout_ms);
  error = errno;
  *ms = (g_get_monotonic_time () - begun) / 1000;
  if (fd >= 0)
    {
      g_assert_cmphex (fcntl (fd, F_GETFL), ==, O_RDWR);
      g_assert_cmphex (fcntl (fd, F_GETFD), ==, FD_CLOEXEC);
      g_assert_no_errno (getpeername (fd, (struct sockaddr *) &peer, &length));
      for (guint i = 0; i < hosts.n; i++)
        if (hosts.hosts[i].address.sin_port == peer.sin_port)
          found = (int) i;
      close (fd);
    }
  hosts_clear (&hosts);
  return fd >= 0 ? found : -error;
}

static void
test_order (void)
{
  gint64 ms;

  g_assert_cmpint (dial ("y", TIMEOUT_MS, &ms), ==, 0);
  g_assert_cmpint (dial ("yy", TIMEOUT_MS, &ms), ==, 0);
  g_assert_cmpint (dial ("nny", TIMEOUT_MS, &ms), ==, 2);
  g_assert_cmpint (dial ("nnnnnnnnnnnnnnnnnnnny", TIMEOUT_MS, &ms), ==, 20);
  g_assert_cmpint (dial ("nn", TIMEOUT_MS, &ms), ==, -ECONNREFUSED);
}

/* It does not cost the time of those behind it. */
static void
test_silent (void)
{
  gint64 ms;

  g_assert_cmpint (dial ("-y", TIMEOUT_MS, &ms), ==, 1);
  g_assert_cmpint (ms, >=, 200);
  g_assert_cmpint (ms, <, TIMEOUT_MS / 2);
  g_assert_cmpint (dial ("--ny", TIMEOUT_MS, &ms), ==, 3);
  g_assert_cmpint (ms, <, TIMEOUT_MS);
  g_assert_cmpint (dial ("-y", 400, &ms), ==, 1); /* in a part of the time that there is */
}

static void
test_timeout (void)
{
  gint64 ms;

  g_assert_cmpint (dial ("-", 200, &ms), ==, -ETIMEDOUT);
  g_assert_cmpint (ms, >=, 199);
  g_assert_cmpint (ms, <, TIMEOUT_MS);
  g_assert_cmpint (dial ("n-n", 200, &ms), ==, -ETIMEDOUT);
  g_assert_cmpint (dial ("y", 0, &ms), ==, -ETIMEDOUT);
}

static void
run (gconstpointer data)
{
  char *before = fsc_test_list_descriptors ();

  ((void (*) (void)) data) ();
  fsc_test_assert_descriptors (before);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_data_func ("/dial/order", test_order, run);
  g_test_add_data_func ("/dial/silent", test_silent, run);
  g_test_add_data_func ("/dial/timeout", test_timeout, run);
  return g_test_run ();
}
