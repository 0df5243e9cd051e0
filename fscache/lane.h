/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One lane: its queue, its openers, and what is due when. Which lane a job belongs to, and what
 * becomes of its answer, is lanes.c's, of which this is a part; it is used by nobody else.
 */
#pragma once

#include <glib.h>

#include "fscache/lanes.h"
#include "fscache/opener.h"

/* What a lane is found by. */
typedef struct
{
  const FscProvider *provider;
  guint32 credential;
  guint32 mount_id; /* FSC_SCOPE_MOUNT; else 0 */
  char *host;       /* FSC_SCOPE_HOST; else NULL */
} FscLaneKey;

FscLaneKey *fsc_lane_key_copy (const FscLaneKey *key);
void fsc_lane_key_free (FscLaneKey *key);

/* What all lanes have in common. */
struct FscLanes
{
  FscLoop *loop;
  FscLoopGroup *group; /* of the openers; or NULL */
  FscSpawner *spawner;
  FscMounts *mounts;
  const FscConfig *config;
  const char *opener_dir;
  const FscCredentials *credentials;
  FscLanesFuncs funcs;
  gpointer data;
  GHashTable *lanes;  /* FscLaneKey (the lane's own) -> FscLane */
  GPtrArray *dirty;   /* lanes to flush */
  GQueue quick;       /* jobs to be tried by a quick check */
  GQueue refused;     /* jobs that no lane takes */
  GQueue withdrawn;   /* jobs that nobody waits for */
  GHashTable *strays; /* id of an opener with whose end watches are left that nobody knows -> its
                         credential */
  GHashTable *stuck;  /* id of a killed opener -> its lane's key, a copy */
  GQueue releases;    /* release.c's */
  GSource *timer;
  FscLaneCounters counters;
  gboolean may_have_unwanted;
  gboolean is_stopping;
};

typedef struct
{
  FscLaneKey *key;
  FscLanes *lanes;
  gboolean is_local; /* opens are quick, and many may go in one message */
  gboolean is_dirty;
  GQueue queue;       /* of FscJob */
  GPtrArray *openers; /* of FscOpener */
  gint64 moved_at;    /* of a slow provider: when it was last seen to get on */
  guint n_stuck;      /* openers that were killed and are not gone */
  gint64 stuck_since; /* when the last of them was killed */
  guint n_start_failures;
  gint64 failed_at; /* when the last of these was */
  gint64 retry_at;  /* when to try to start one again, or 0 */
  gboolean is_ending_late;
} FscLane;

/* The key is copied. */
FscLane *fsc_lane_new (FscLanes *lanes, const FscLaneKey *key);

/* It must have neither jobs nor openers. */
void fsc_lane_free (FscLane *lane);

/* Where it is, for people: "the mount /srv", "the host example.org". Free with g_free(). */
char *fsc_lane_describe (const FscLane *lane);

/* A job waits in one queue at a time, and leaves it without being looked for. */
void fsc_lane_enqueue (GQueue *queue, FscJob *job);
FscJob *fsc_lane_dequeue (GQueue *queue); /* NULL: none waits */
void fsc_lane_leave_queue (FscJob *job);

/* Takes a job; it is given to an opener with the next flush. */
void fsc_lane_push (FscLane *lane, FscJob *job);
void fsc_lane_flush (FscLane *lane);

/* Does what is due at this time: jobs and openers that are late, openers that have been idle.
 * Returns when it has to be called again, or 0: not before something happens. */
gint64 fsc_lane_expire (FscLane *lane, gint64 time);

/* An opener that was stuck is gone. */
void fsc_lane_unstick (FscLane *lane);

/* Whether nothing is lost with it. */
gboolean fsc_lane_is_unused (const FscLane *lane, gint64 time);

/* Ends an opener, which may not go at once: its number is added to `ended`, what it was doing to
 * `jobs`. */
void fsc_lane_end_opener (FscLane *lane, FscOpener *opener, GArray *ended, GPtrArray *jobs);

/* Ends those of its openers that are at something which nobody waits for. */
void fsc_lane_end_unwanted (FscLane *lane);

/* Ends its openers and fails its jobs. */
void fsc_lane_stop (FscLane *lane);

/* Mounts that are let go of; see release.c. */
void fsc_release_opener_exited (FscLanes *lanes, guint32 id);
gint64 fsc_release_expire (FscLanes *lanes, gint64 time); /* returns when again, or 0 */
void fsc_release_stop (FscLanes *lanes);

/* What a lane asks of all lanes together. */

/* To be flushed. */
void fsc_lanes_mark_dirty (FscLanes *lanes, FscLane *lane);

/* fsc_lane_expire() has to be called then. */
void fsc_lanes_arm (FscLanes *lanes, gint64 due);

/* An opener has failed, and may have left watches that nobody knows. */
void fsc_lanes_take_strays (FscLanes *lanes, guint32 id, guint32 credential);

/* An opener of this lane has answered. */
void fsc_lanes_take_outcome (FscLanes *lanes, FscLane *lane, FscJob *job, FscOutcome *outcome);

/* "cannot open NAME: ..." */
void fsc_lanes_fail (FscLanes *lanes, FscJob *job, FscCode code, int error, const char *format, ...)
    G_GNUC_PRINTF (5, 6);
