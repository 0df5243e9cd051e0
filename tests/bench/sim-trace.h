/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A trace: which object is opened when, what that costs without a cache, and how many bytes its
 * handle keeps. It is made up (sim-synthetic.c) or was recorded (traces/README.md says how, and
 * describes the files).
 */
#pragma once

#include <glib.h>

typedef struct
{
  char *name;
  char *title;
  guint32 n_objects;
  guint32 n_opens;
  guint32 *keys;  /* of each open: which object, from 0 on, numbered in the order of first use */
  guint32 *costs; /* of each open: microseconds, at least 1 */
  guint64 *bytes; /* of each object */

  double cost;          /* of all opens */
  double reusable;      /* of those of them that are not the first of their object */
  guint64 n_bytes;      /* of all objects */
  gboolean is_one_cost; /* then hits and time are the same */
} SimTrace;

void sim_trace_free (SimTrace *trace);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SimTrace, sim_trace_free)

/* Numbers the objects anew in the order of first use, so that there is none without an open, and
 * sums up. All arrays are taken; `bytes` may be NULL: none. `n_objects` is of the old numbers. */
SimTrace *sim_trace_new (const char *name, const char *title, guint32 n_objects, GArray *keys,
                         GArray *costs, guint64 *bytes);

/* How recorded opens are given a cost. */
typedef enum
{
  SIM_COSTS_LOCAL, /* 20 us each */
  SIM_COSTS_NFS,   /* 2 ms each */
  SIM_COSTS_MIXED, /* by a hash of directory and seed: of 20 directories 14 at 20 us, 5 at 2 ms, and
                      1 at 2 s, whose handles are memfds of 1 MiB to 256 MiB, by the same hash */
} SimCosts;

gboolean sim_costs_from_name (const char *name, SimCosts *costs);

/* Reads a recorded trace, compressed by gzip or not. */
SimTrace *sim_trace_read (const char *path, SimCosts costs, guint64 seed, GError **error);

/* Reads one from memory, as text. */
SimTrace *sim_trace_parse (const char *name, const char *text, SimCosts costs, guint64 seed,
                           GError **error);

/* The traces that are made up. */
typedef struct
{
  const char *name;
  const char *title;
  SimTrace *(*make) (const char *name, const char *title, guint64 seed);
} SimSynthetic;

extern const SimSynthetic sim_synthetics[]; /* ends with a NULL name */
