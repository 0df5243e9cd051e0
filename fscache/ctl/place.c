/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Puts descriptors on chosen numbers; see place.h.
 */
#include "fscache/ctl/place.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static gboolean
is_target (int fd, const FscPlacement *placements, gsize n)
{
  for (gsize i = 0; i < n; i++)
    {
      if (placements[i].target == fd)
        return TRUE;
    }
  return FALSE;
}

int
fsc_place_dup_aside (int fd, const FscPlacement *placements, gsize n)
{
  int lowest = 0;

  for (;;)
    {
      int copy = fcntl (fd, F_DUPFD_CLOEXEC, lowest);

      if (copy < 0 || !is_target (copy, placements, n))
        return copy;
      close (copy);
      lowest = copy + 1;
    }
}

static gboolean
place (const FscPlacement *placement)
{
  int result;

  do
    result = dup2 (placement->source, placement->target);
  while (result < 0 && (errno == EINTR || errno == EBUSY));
  return result >= 0;
}

gboolean
fsc_place_all (FscPlacement *placements, gsize n, int *failed)
{
  /* First no source is on a target, also not on its own: dup2() of a number onto itself would leave
   * it O_CLOEXEC. Then the order does not matter. */
  for (gsize i = 0; i < n; i++)
    {
      *failed = placements[i].target;
      if (!is_target (placements[i].source, placements, n))
        continue;
      placements[i].source = fsc_place_dup_aside (placements[i].source, placements, n);
      if (placements[i].source < 0)
        return FALSE;
    }
  for (gsize i = 0; i < n; i++)
    {
      *failed = placements[i].target;
      if (!place (&placements[i]))
        return FALSE;
    }
  return TRUE;
}
