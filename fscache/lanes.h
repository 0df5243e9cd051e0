/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lanes: one for each credential, provider and mount (or host). What is slow or dead in one lane
 * holds up nobody else. A lane has a bounded queue and a few openers, started when they are needed
 * and ended when they have been idle; each job has a deadline.
 *
 * The lane of a path is that of the mount on which it lies, by its text. An opener never
 * leaves that mount: where the way leads out of it, through a symlink or "..", the job goes on in
 * the lane of the mount that it leads to; see hop.h. So a symlink to a dead mount costs the
 * requests that go through it, and no opener of any other mount.
 *
 * An opener that crashes, hangs or answers nonsense costs one request. If it had been given
 * several, it is not known which one was to blame, so each is given once more, alone: the one that
 * fails alone has failed.
 */
#pragma once

#include <glib.h>

#include "fscache/cache.h"
#include "fscache/config.h"
#include "fscache/credential.h"
#include "fscache/loop.h"
#include "fscache/mounts.h"
#include "fscache/spawner.h"
#include "fscache/watch.h"

typedef struct FscLanes FscLanes;

typedef struct
{
  guint64 lanes, openers;                            /* now */
  guint64 openers_started, openers_failed, timeouts; /* since the start */
  guint64 hops;                                      /* since the start: jobs that changed lanes */
  guint64 stuck;                                     /* killed, but not yet gone */
  guint64 queued;                                    /* jobs that wait for an opener */
} FscLaneCounters;

/* What lanes call; never from within fsc_lanes_start(). */
typedef struct
{
  /* The outcome of a job. */
  void (*done) (FscJob *job, FscOutcome *outcome, gpointer data);

  /* How far it has come before that, if it takes long; the index is the opener's. */
  void (*progressed) (FscJob *job, const FscProgress *progress, gpointer data);

  /* What it is to put is about to be received: `socket`, which is taken, is where that is to be
   * sent. */
  void (*receiving) (FscJob *job, int socket, gpointer data);

  /* An opener went that may have held handles. */
  void (*lost) (gpointer data);
} FscLanesFuncs;

/* `opener_dir` is where the programs are. */
FscLanes *fsc_lanes_new (FscLoop *loop, FscSpawner *spawner, FscMounts *mounts,
                         const FscCredentials *credentials, const FscConfig *config,
                         const char *opener_dir, const FscLanesFuncs *funcs, gpointer data);

/* For a service that is for several users: openers have their turn in a group (borrowed), and few
 * items go in one message, so that what one user asks for does not delay the others. Before
 * anything is asked for. */
void fsc_lanes_set_group (FscLanes *lanes, FscLoopGroup *group);

/* What is asked for from now on is opened as this says, which has to stay as long as the lanes. */
void fsc_lanes_set_config (FscLanes *lanes, const FscConfig *config);

/* Fails all jobs and ends all openers. */
void fsc_lanes_free (FscLanes *lanes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscLanes, fsc_lanes_free)

void fsc_lanes_start (FscLanes *lanes, FscJob *job);

/* Nobody waits for a job any more: if it waits for an opener its place is free; if one is at it,
 * that is ended where the provider wants that. With the next flush the job ends, unless somebody
 * came. */
void fsc_lanes_withdraw (FscLanes *lanes, FscJob *job);

/* Sees to it that no opener has anything open on these mounts (of FscMount): ends those of their
 * lanes, and those among `holders` (of FscHolder), and fails all that they were doing, as well as
 * what waits for them. `name` is for people. *n_ended is how many processes are to end, *n_failed
 * how many requests failed. Calls `func`, never from within, when all have ended, and what the
 * service itself has closed is closed; or when the deadline of a lane has passed, with the number
 * of those that have not ended. */
typedef void (*FscLanesReleased) (guint n_left, gpointer data);
void fsc_lanes_release (FscLanes *lanes, const GArray *mounts, GPtrArray *holders, const char *name,
                        guint *n_ended, guint *n_failed, FscLanesReleased func, gpointer data);

/* Gives jobs to openers: once a turn of the loop, so that one message carries many. Returns whether
 * there was anything to do. */
gboolean fsc_lanes_flush (FscLanes *lanes);

/* To be called by the spawner. */
void fsc_lanes_opener_exited (guint32 id, int status, gpointer lanes);

const FscLaneCounters *fsc_lanes_get_counters (FscLanes *lanes);
