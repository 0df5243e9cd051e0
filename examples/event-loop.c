/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache in a program with an event loop of its own: submit, poll, dispatch. Nothing waits; while
 * requests are in flight the loop does its other work (here: a timer that ticks).
 *
 *     ./event-loop a.txt b.txt c.txt
 */
#include <fscache.h>

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

typedef struct
{
  char **uris;
  size_t n_left;
  int failed;
} Work;

/* Called once for each request, in the order in which the answers come. The descriptor is ours. */
static void
on_reply (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  Work *work = data;

  (void) client;
  work->n_left--;
  if (reply->fd < 0)
    {
      fprintf (stderr, "event-loop: %s\n", reply->message);
      work->failed = 1;
      return;
    }
  printf ("%s: descriptor %d (%s)\n", work->uris[index], reply->fd,
          fscache_source_name (reply->source));
  close (reply->fd);
}

static int
make_timer (void)
{
  struct itimerspec every_10_ms = { { 0, 10000000 }, { 0, 10000000 } };
  int timer = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC);

  if (timer >= 0)
    timerfd_settime (timer, 0, &every_10_ms, NULL);
  return timer;
}

static int
run_loop (FscacheClient *client, const Work *work)
{
  struct pollfd items[2] = {
    { .fd = fscache_get_poll_fd (client), .events = POLLIN },
    { .fd = make_timer (), .events = POLLIN },
  };
  uint64_t ticks = 0, n;
  int result = items[0].fd < 0 || items[1].fd < 0 ? -EMFILE : 0;

  while (work->n_left > 0 && result >= 0)
    {
      if (poll (items, 2, -1) < 0 && errno != EINTR)
        result = -errno;
      else if (items[0].revents != 0)
        result = fscache_dispatch (client);
      if (items[1].revents != 0 && read (items[1].fd, &n, sizeof n) == sizeof n)
        ticks += n; /* the other work */
    }
  printf ("meanwhile the timer ticked %llu times\n", (unsigned long long) ticks);
  if (items[1].fd >= 0)
    close (items[1].fd);
  return result;
}

int
main (int argc, char **argv)
{
  Work work = { .uris = argv + 1, .n_left = argc - 1 };
  FscacheRequest *requests = calloc (argc, sizeof *requests);
  FscacheClient *client = NULL;
  int result;

  if (argc < 2 || requests == NULL)
    {
      fprintf (stderr, "Usage: event-loop FILE...\n");
      return 2;
    }
  fscache_connect (NULL, 0, &client);
  if (client == NULL)
    return 1;

  for (size_t i = 0; i < work.n_left; i++)
    requests[i].uri = argv[i + 1];
  result = fscache_submit (client, requests, work.n_left, on_reply, &work, NULL);
  if (result >= 0)
    result = run_loop (client, &work);
  if (result < 0)
    fprintf (stderr, "event-loop: %s\n", strerror (-result));

  fscache_disconnect (client);
  free (requests);
  return result < 0 || work.failed;
}
