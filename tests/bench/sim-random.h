/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Random numbers that are the same everywhere for the same seed (GLib promises that only within one
 * version), and a Zipf distribution: object i is asked for in proportion to 1 / (i + 1)^skew.
 */
#pragma once

#include <glib.h>

typedef struct
{
  guint64 state;
} SimRandom;

guint64 sim_hash (guint64 value);
guint64 sim_random (SimRandom *random);

/* From 0 on, below `end`. */
guint32 sim_random_below (SimRandom *random, guint32 end);

/* From 0 on, below 1. */
double sim_random_unit (SimRandom *random);

/* A sum of twelve: mean 0, standard deviation 1, and no need of libm. */
double sim_random_normal (SimRandom *random);

/* Puts 0 ... n-1 in any order. */
guint32 *sim_random_permutation (SimRandom *random, guint32 n);

typedef struct
{
  guint32 n;
  double *sums;
} SimZipf;

void sim_zipf_init (SimZipf *zipf, guint32 n, double skew);
void sim_zipf_clear (SimZipf *zipf);
guint32 sim_zipf_next (const SimZipf *zipf, SimRandom *random);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SimZipf, sim_zipf_clear)
