/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The floor of the bound of borrowing: a part that only learns that a file has been replaced, and
 * says so in memory that others see. The arguments are the file, and what is to be mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/process.h"

/* How often it was replaced, as the events say that there are now. */
static unsigned
count (int fd, const char *name)
{
  char buffer[4096];
  struct inotify_event event;
  ssize_t length = read (fd, buffer, sizeof buffer);
  unsigned n = 0;

  for (ssize_t at = 0; at < length; at += (ssize_t) (sizeof event + event.len))
    {
      memcpy (&event, buffer + at, sizeof event);
      n += (event.mask & IN_MOVED_TO) != 0 && strcmp (buffer + at + sizeof event, name) == 0;
    }
  return n;
}

int
bench_part_bound_floor (int argc, char **argv)
{
  g_autofree char *directory = g_path_get_dirname (argv[0]);
  g_autofree char *name = g_path_get_basename (argv[0]);
  int inotify = inotify_init1 (IN_CLOEXEC), fd = open (argv[1], O_RDWR | O_CLOEXEC);
  struct pollfd polls[] = { { STDIN_FILENO, POLLIN, 0 }, { inotify, POLLIN, 0 } };
  uint32_t *replaced = mmap (NULL, sizeof *replaced, PROT_WRITE, MAP_SHARED, fd, 0);

  if (replaced == MAP_FAILED
      || inotify_add_watch (inotify, directory, IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO) < 0)
    return bench_part_fail ("%s", g_strerror (errno));

  bench_part_say_ready ();
  while (poll (polls, 2, -1) > 0 && polls[0].revents == 0)
    __atomic_add_fetch (replaced, count (inotify, name), __ATOMIC_RELEASE);
  return 0;
}
