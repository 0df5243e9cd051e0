/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Letting go of mounts: fsc_lanes_release(), a part of lanes.c.
 *
 * What an opener has open on a mount (handles that it holds, what it is looking at) is closed for
 * certain when the process has ended, and so it is ended; a healthy one takes a millisecond for
 * that, and the next request starts another. One that hangs in the mount ends when the mount does.
 */
#include "fscache/closer.h"
#include "fscache/lane.h"
#include "fscache/opener.h"

#include <errno.h>
#include <string.h>

#include "protocol/uri.h"

#define CLOSING_TIME (5 * 1000) /* to look again whether the closer is done */

typedef struct
{
  GArray *openers; /* guint32: the spawner's numbers of those that have not ended */
  gint64 due;
  FscLanesReleased func;
  gpointer data;
} Release;

static gboolean
is_among (const GArray *mounts, guint32 id)
{
  for (guint i = 0; i < mounts->len; i++)
    if (g_array_index (mounts, FscMount, i).id == id)
      return TRUE;
  return FALSE;
}

/* Jobs that no lane has yet. */
static void
take_jobs (FscLanes *lanes, GQueue *queue, const GArray *mounts, GPtrArray *jobs)
{
  for (GList *l = queue->head, *next; l != NULL; l = next)
    {
      FscJob *job = l->data;
      char path[FSC_URI_MAX + 1];
      const FscMount *mount = fsc_uri_get_path (job->item.uri, path, sizeof path) > 0
                                  ? fsc_mounts_find (lanes->mounts, path)
                                  : NULL;

      next = l->next;
      if (mount == NULL || !is_among (mounts, mount->id))
        continue;
      g_ptr_array_add (jobs, job);
      fsc_lane_leave_queue (job);
    }
}

static void
end_openers (FscLane *lane, GPtrArray *holders, GArray *ended, GPtrArray *jobs)
{
  for (guint i = lane->openers->len; i > 0; i--)
    {
      FscOpener *opener = lane->openers->pdata[i - 1];

      if (holders == NULL || g_ptr_array_find (holders, opener, NULL))
        fsc_lane_end_opener (lane, opener, ended, jobs);
    }
}

static void
end_lanes (FscLanes *lanes, const GArray *mounts, GPtrArray *holders, GArray *ended,
           GPtrArray *jobs)
{
  GHashTableIter iter;
  gpointer key, value;

  /* Those that were killed before, and hang, keep it busy too. */
  g_hash_table_iter_init (&iter, lanes->stuck);
  while (g_hash_table_iter_next (&iter, &key, &value))
    if (is_among (mounts, ((FscLaneKey *) value)->mount_id))
      {
        guint32 id = GPOINTER_TO_UINT (key);

        g_array_append_val (ended, id);
      }

  g_hash_table_iter_init (&iter, lanes->lanes);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      FscLane *lane = value;
      gboolean is_there = is_among (mounts, lane->key->mount_id);
      FscJob *job;

      end_openers (lane, is_there ? NULL : holders, ended, jobs);
      while (is_there && (job = fsc_lane_dequeue (&lane->queue)) != NULL)
        g_ptr_array_add (jobs, job);
    }
}

static gboolean
is_done (const Release *release)
{
  return release->openers->len == 0 && fsc_closer_is_done ();
}

static void
finish (FscLanes *lanes, Release *release)
{
  g_queue_remove (&lanes->releases, release);
  release->func (release->openers->len, release->data);
  g_array_unref (release->openers);
  g_free (release);
}

void
fsc_lanes_release (FscLanes *lanes, const GArray *mounts, GPtrArray *holders, const char *name,
                   guint *n_ended, guint *n_failed, FscLanesReleased func, gpointer data)
{
  g_autoptr (GPtrArray) jobs = g_ptr_array_new ();
  Release *release = g_new0 (Release, 1);
  gint64 time = g_get_monotonic_time ();

  release->openers = g_array_new (FALSE, FALSE, sizeof (guint32));
  release->due = time + lanes->config->lane_deadline;
  release->func = func;
  release->data = data;
  take_jobs (lanes, &lanes->quick, mounts, jobs);
  take_jobs (lanes, &lanes->refused, mounts, jobs);
  take_jobs (lanes, &lanes->withdrawn, mounts, jobs);
  end_lanes (lanes, mounts, holders, release->openers, jobs);
  *n_ended = release->openers->len;
  *n_failed = 0;
  for (guint i = 0; i < jobs->len; i++)
    {
      FscJob *job = jobs->pdata[i];

      *n_failed += job->waiters.length + job->late.length;
      fsc_lanes_fail (lanes, job, FSC_CODE_CANCELLED, ECANCELED,
                      "the service lets go of the mount %s (drop --mount)", name);
    }
  g_queue_push_tail (&lanes->releases, release);
  fsc_lanes_arm (lanes, time); /* never from within: if there is nothing to wait for, in a moment */
}

void
fsc_release_opener_exited (FscLanes *lanes, guint32 id)
{
  for (GList *l = lanes->releases.head, *next; l != NULL; l = next)
    {
      Release *release = l->data;

      next = l->next;
      for (guint i = 0; i < release->openers->len; i++)
        if (g_array_index (release->openers, guint32, i) == id)
          {
            g_array_remove_index_fast (release->openers, i);
            break;
          }
      if (is_done (release))
        finish (lanes, release);
      else if (release->openers->len == 0)
        fsc_lanes_arm (lanes, g_get_monotonic_time () + CLOSING_TIME);
    }
}

gint64
fsc_release_expire (FscLanes *lanes, gint64 time)
{
  gint64 due = 0;

  for (GList *l = lanes->releases.head, *next; l != NULL; l = next)
    {
      Release *release = l->data;
      gint64 again = release->openers->len == 0 ? time + CLOSING_TIME : release->due;

      next = l->next;
      if (is_done (release) || time >= release->due)
        finish (lanes, release);
      else if (due == 0 || again < due)
        due = MIN (again, release->due);
    }
  return due;
}

void
fsc_release_stop (FscLanes *lanes)
{
  while (lanes->releases.head != NULL)
    finish (lanes, lanes->releases.head->data);
}
