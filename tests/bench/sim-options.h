/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of fscache-simulate.
 */
#pragma once

#include <glib.h>

#include "tests/bench/sim-trace.h"

typedef struct
{
  gboolean list, json, markdown;
  guint64 seed;
  char **traces;    /* NULL: all */
  char *policies;   /* NULL: all */
  GArray *percents; /* double */
  gboolean has_costs;
  SimCosts costs;
  char *directory; /* of recorded traces */
} SimOptions;

/* Prints what is wrong and returns FALSE if something is. */
gboolean sim_options_parse (SimOptions *options, int *argc, char ***argv);
void sim_options_clear (SimOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SimOptions, sim_options_clear)
