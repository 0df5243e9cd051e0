/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A heap of objects; see sim-heap.h.
 */
#include "tests/bench/sim-heap.h"

void
sim_heap_init (SimHeap *heap, guint32 n_keys)
{
  *heap = (SimHeap){ .items = g_new (SimHeapItem, n_keys), .places = g_new0 (guint32, n_keys) };
}

void
sim_heap_clear (SimHeap *heap)
{
  g_clear_pointer (&heap->items, g_free);
  g_clear_pointer (&heap->places, g_free);
}

static gboolean
is_less (const SimHeapItem *a, const SimHeapItem *b)
{
  return a->value < b->value || (a->value <= b->value && a->turn < b->turn);
}

static void
put (SimHeap *heap, guint32 place, SimHeapItem item)
{
  heap->items[place] = item;
  heap->places[item.key] = place + 1;
}

/* Moves what is at `place` to where it belongs. */
static void
settle (SimHeap *heap, guint32 place)
{
  SimHeapItem item = heap->items[place];

  while (place > 0 && is_less (&item, &heap->items[(place - 1) / 2]))
    {
      put (heap, place, heap->items[(place - 1) / 2]);
      place = (place - 1) / 2;
    }
  for (;;)
    {
      guint32 child = 2 * place + 1;

      if (child + 1 < heap->n && is_less (&heap->items[child + 1], &heap->items[child]))
        child++;
      if (child >= heap->n || !is_less (&heap->items[child], &item))
        break;
      put (heap, place, heap->items[child]);
      place = child;
    }
  put (heap, place, item);
}

void
sim_heap_set (SimHeap *heap, guint32 key, double value)
{
  guint32 place = heap->places[key] > 0 ? heap->places[key] - 1 : heap->n++;

  put (heap, place, (SimHeapItem){ value, heap->turn++, key });
  settle (heap, place);
}

double
sim_heap_least (const SimHeap *heap)
{
  g_assert_cmpuint (heap->n, >, 0);
  return heap->items[0].value;
}

guint32
sim_heap_take (SimHeap *heap)
{
  guint32 key;

  g_assert_cmpuint (heap->n, >, 0);
  key = heap->items[0].key;
  heap->places[key] = 0;
  heap->n--;
  if (heap->n > 0)
    {
      put (heap, 0, heap->items[heap->n]);
      settle (heap, 0);
    }
  return key;
}
