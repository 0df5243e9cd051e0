/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lists of objects by age, linked by their numbers. Several lists may share the nodes, if each
 * object is in one of them at most.
 */
#pragma once

#include <glib.h>

#define SIM_NONE G_MAXUINT32

typedef struct
{
  guint32 newer, older;
} SimNode;

typedef struct
{
  guint32 newest, oldest;
  guint32 hand; /* who is looked at next; SIM_NONE: the oldest */
} SimList;

#define SIM_LIST_INIT ((SimList){ SIM_NONE, SIM_NONE, SIM_NONE })

static inline void
sim_list_insert (SimList *list, SimNode *nodes, guint32 key)
{
  nodes[key] = (SimNode){ .newer = SIM_NONE, .older = list->newest };
  if (list->newest != SIM_NONE)
    nodes[list->newest].newer = key;
  else
    list->oldest = key;
  list->newest = key;
}

/* Removes one, and moves the hand off it. */
static inline void
sim_list_remove (SimList *list, SimNode *nodes, guint32 key)
{
  SimNode node = nodes[key];

  if (list->hand == key)
    list->hand = node.newer;
  if (node.newer != SIM_NONE)
    nodes[node.newer].older = node.older;
  else
    list->newest = node.older;
  if (node.older != SIM_NONE)
    nodes[node.older].newer = node.newer;
  else
    list->oldest = node.newer;
}

/* Whom the hand is at. */
static inline guint32
sim_list_get_hand (const SimList *list)
{
  return list->hand != SIM_NONE ? list->hand : list->oldest;
}
