/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How much of a cache is taken; see sim-room.h.
 */
#include "tests/bench/sim-room.h"

/* Node 1 is the root, 2i and 2i + 1 are the halves of i, leaves begin at `size`. `most` is that of
 * the node's span, `all` what was taken of the whole span at once; `most` includes it. */
struct SimRoom
{
  guint32 size;
  double *most;
  double *all;
};

SimRoom *
sim_room_new (guint32 n_opens)
{
  SimRoom *room = g_new (SimRoom, 1);

  room->size = 1;
  while (room->size < n_opens)
    room->size *= 2;
  room->most = g_new0 (double, 2 * room->size);
  room->all = g_new0 (double, 2 * room->size);
  return room;
}

void
sim_room_free (SimRoom *room)
{
  g_free (room->most);
  g_free (room->all);
  g_free (room);
}

static double
get_most (const SimRoom *room, guint32 node, guint32 start, guint32 end, guint32 from, guint32 to)
{
  guint32 middle = start + (end - start) / 2;
  double most = 0;

  if (from <= start && end <= to)
    return room->most[node];
  if (from < middle)
    most = get_most (room, 2 * node, start, middle, from, to);
  if (to > middle)
    most = MAX (most, get_most (room, 2 * node + 1, middle, end, from, to));
  return most + room->all[node];
}

double
sim_room_get_most (const SimRoom *room, guint32 from, guint32 to)
{
  return get_most (room, 1, 0, room->size, from, to);
}

static void
take (SimRoom *room, guint32 node, guint32 start, guint32 end, guint32 from, guint32 to,
      double amount)
{
  guint32 middle = start + (end - start) / 2;

  if (from <= start && end <= to)
    {
      room->most[node] += amount;
      room->all[node] += amount;
      return;
    }
  if (from < middle)
    take (room, 2 * node, start, middle, from, to, amount);
  if (to > middle)
    take (room, 2 * node + 1, middle, end, from, to, amount);
  room->most[node] = MAX (room->most[2 * node], room->most[2 * node + 1]) + room->all[node];
}

void
sim_room_take (SimRoom *room, guint32 from, guint32 to, double amount)
{
  take (room, 1, 0, room->size, from, to, amount);
}
