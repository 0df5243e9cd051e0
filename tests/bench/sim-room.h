/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How much of a cache is taken at each open of a trace: a tree, so that a span is looked at or
 * taken in O(log n).
 */
#pragma once

#include <glib.h>

typedef struct SimRoom SimRoom;

SimRoom *sim_room_new (guint32 n_opens);
void sim_room_free (SimRoom *room);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SimRoom, sim_room_free)

/* The most that is taken anywhere from `from` on and before `to`. */
double sim_room_get_most (const SimRoom *room, guint32 from, guint32 to);

void sim_room_take (SimRoom *room, guint32 from, guint32 to, double amount);
