/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Draws steps at random: from a small set of names, which are reused all the time, and mostly such
 * as can succeed in the tree as it is.
 */
#pragma once

#include "tests/stress/mutate.h"

typedef struct
{
  guint64 state;
  guint32 last_content; /* the last number of a content */
  guint32 stride;       /* what it grows by: several that draw at once never draw the same */
  gboolean mounts;      /* steps that mount as well */
} DiffDraw;

/* The `index`th of `n` that draw at the same time from one seed. */
void diff_draw_init (DiffDraw *draw, guint64 seed, guint index, guint n);

/* 0 .. n-1 */
guint diff_draw_below (DiffDraw *draw, guint n);

/* Something to do. */
void diff_draw_step (DiffDraw *draw, const DiffTree *tree, DiffStep *step);

/* Something to ask, often about what `last` (may be NULL) has changed. */
void diff_draw_question (DiffDraw *draw, const DiffTree *tree, const DiffStep *last,
                         DiffStep *step);
