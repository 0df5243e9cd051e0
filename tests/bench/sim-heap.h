/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A heap of objects, by value: the one with the least is on top; of equal values the one that was
 * set first.
 */
#pragma once

#include <glib.h>

typedef struct
{
  double value;
  guint64 turn;
  guint32 key;
} SimHeapItem;

typedef struct
{
  SimHeapItem *items;
  guint32 *places; /* key -> index in items, plus 1; 0: not there */
  guint32 n;
  guint64 turn;
} SimHeap;

void sim_heap_init (SimHeap *heap, guint32 n_keys);
void sim_heap_clear (SimHeap *heap);

static inline gboolean
sim_heap_has (const SimHeap *heap, guint32 key)
{
  return heap->places[key] > 0;
}

/* Adds an object, or gives it another value. */
void sim_heap_set (SimHeap *heap, guint32 key, double value);

/* The least value; the heap is not empty. */
double sim_heap_least (const SimHeap *heap);

/* Removes who has it, and returns its key. */
guint32 sim_heap_take (SimHeap *heap);
