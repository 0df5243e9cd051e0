/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The private service of a run: in the place's namespace, as the user that is to be tested. It dies
 * with the process that started it.
 */
#pragma once

#include <sys/types.h>

#include "tests/stress/mutate.h"
#include "tests/stress/place.h"

#define DIFF_ORDINARY_USER 64321 /* has no account; the stranger is the next one */
#define DIFF_OTHER_GROUP 64400

typedef struct
{
  const DiffPlace *place;
  uid_t user;
  guint watch_limit; /* 0: that of the machine */
  guint max_handles; /* 0: the service's default */
  char *socket;
  char *log;
  pid_t pid; /* 0: not running */
} DiffStand;

/* `programs` is the folder of the build tree that holds fscached and openers/. It is seen by
 * everybody in the place, wherever it lies. */
gboolean diff_stand_init (DiffStand *stand, const DiffPlace *place, uid_t user,
                          const char *programs, char **reason);
void diff_stand_clear (DiffStand *stand);

/* Starts the service, and returns when it listens. FALSE: it does not, and the log has been
 * printed.
 */
gboolean diff_stand_start (DiffStand *stand);

/* Ends it. FALSE: it had already ended, or did not exit with 0, or has logged what it must not. */
gboolean diff_stand_stop (DiffStand *stand);

/* The tree of the place, as the mutators need it. */
void diff_stand_init_tree (const DiffStand *stand, DiffTree *tree);
void diff_tree_clear (DiffTree *tree);

/* This process becomes the user, without capabilities, for ever. */
void diff_stand_become_user (const DiffStand *stand);
