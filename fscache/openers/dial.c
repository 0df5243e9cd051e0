/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Connects to one of several addresses; see dial.h.
 */
#include "fscache/openers/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TRIES_MAX 16        /* at a time */
#define HEAD_START_MOST 250 /* milliseconds that one has before the next */

typedef struct
{
  struct pollfd tries[TRIES_MAX];
  unsigned n;
  int error; /* of the last that failed */
} Dial;

static int64_t
now_ms (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C (1000) + time.tv_nsec / 1000000;
}

static void
begin (Dial *dial, const struct addrinfo *address)
{
  int fd = socket (address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                   address->ai_protocol);

  if (fd >= 0 && (connect (fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS))
    {
      dial->tries[dial->n++] = (struct pollfd){ .fd = fd, .events = POLLOUT };
      return;
    }
  dial->error = errno;
  if (fd >= 0)
    close (fd);
}

/* Returns the first that is connected, or -1. Those that have failed are closed. */
static int
look (Dial *dial)
{
  for (unsigned i = 0; i < dial->n; i++)
    {
      int fd = dial->tries[i].fd, error = 0;
      socklen_t length = sizeof error;

      if (dial->tries[i].revents == 0)
        continue;
      getsockopt (fd, SOL_SOCKET, SO_ERROR, &error, &length);
      dial->tries[i--] = dial->tries[--dial->n];
      if (error == 0)
        return fd;
      dial->error = error;
      close (fd);
    }
  return -1;
}

int
fsc_dial (const struct addrinfo *addresses, int64_t timeout_ms)
{
  const struct addrinfo *next = addresses;
  const int64_t deadline = now_ms () + timeout_ms;
  const int64_t head_start = timeout_ms / 4 < HEAD_START_MOST ? timeout_ms / 4 : HEAD_START_MOST;
  int64_t now, due = 0;
  Dial dial = { .error = ETIMEDOUT };
  int fd = -1;

  while (fd < 0 && (dial.n > 0 || next != NULL) && (now = now_ms ()) < deadline)
    {
      if (next != NULL && (dial.n == 0 || (now >= due && dial.n < TRIES_MAX)))
        {
          begin (&dial, next);
          next = next->ai_next;
          due = now + head_start;
        }
      else if (poll (dial.tries, dial.n, (int) ((next != NULL && now < due ? due : deadline) - now))
               > 0)
        {
          fd = look (&dial);
          due = now; /* if one has failed, the next one need not wait */
        }
    }
  if (dial.n > 0)
    dial.error = ETIMEDOUT;
  while (dial.n > 0)
    close (dial.tries[--dial.n].fd);
  if (fd >= 0)
    fcntl (fd, F_SETFL, O_RDWR);
  else
    errno = dial.error;
  return fd;
}
