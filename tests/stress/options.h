/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of fscache-differential.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct
{
  char **fs;
  uid_t users[8];
  guint n_users;
  double seconds;     /* of all runs together; 0: no limit */
  gint64 comparisons; /* the same */
  gint64 seed;
  int threads; /* that change the tree */
  int comparers;
  int rounds;          /* of a trial */
  int batch;           /* the most that is asked at once by a comparer */
  gboolean serialised; /* what is asked */
  gboolean free_running;
  gboolean mounts;
  guint32 max_age_ms;
  gboolean allow_stale;
  gboolean is_hot;
  int watch_limit;
  int max_handles;
  gboolean keep_going;
  gboolean no_shrink;
  char *steps; /* a file, to play again */
  char *save;  /* a file, for the steps that failed */
  char *programs;
} DiffOptions;

/* FALSE: it was wrong, and has been told so. */
gboolean diff_options_parse (DiffOptions *options, int *argc, char ***argv);

void diff_options_clear (DiffOptions *options);
