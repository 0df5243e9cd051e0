/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One lane; see lane.h.
 */
#include "fscache/lane.h"

#include <errno.h>
#include <fcntl.h>

#include "fscache/hop.h"
#include "fscache/opener.h"

#define CHECKS_AT_ONCE 64
#define OPENS_AT_ONCE 16
#define START_FAILURES_MAX 3
#define RETRY_TIME (50 * 1000)

/* So long a lane that has nothing to do remembers that its openers do not start. */
#define FAILURE_MEMORY (5 * G_USEC_PER_SEC)

/* A process that was killed is given so long to go before it counts as one that cannot. */
#define DYING_MAX (1 * G_USEC_PER_SEC)

static const FscConfig *
get_config (const FscLane *lane)
{
  return lane->lanes->config;
}

FscLaneKey *
fsc_lane_key_copy (const FscLaneKey *key)
{
  FscLaneKey *copy = g_memdup2 (key, sizeof *key);

  copy->host = g_strdup (key->host);
  return copy;
}

void
fsc_lane_key_free (FscLaneKey *key)
{
  g_free (key->host);
  g_free (key);
}

char *
fsc_lane_describe (const FscLane *lane)
{
  const FscLaneKey *key = lane->key;

  switch (key->provider->scope)
    {
    case FSC_SCOPE_MOUNT:
      return g_strconcat ("the mount ", fsc_mounts_get_path (lane->lanes->mounts, key->mount_id),
                          NULL);
    case FSC_SCOPE_HOST:
      return g_strconcat ("the host ", key->host, NULL);
    case FSC_SCOPE_ALL:
      break;
    }
  return g_strconcat ("the provider of ", key->provider->schemes[0], ":", NULL);
}

static gint64
get_deadline (const FscLane *lane)
{
  return fsc_config_get_deadline (get_config (lane), lane->key->provider);
}

/* When to end what is late. An opener that asks a helper ends that by itself, at the deadline, and
 * is late only if it cannot. */
static gint64
get_patience (const FscLane *lane)
{
  gint64 deadline = get_deadline (lane);

  return lane->key->provider->helper != NULL ? deadline + deadline / 4 : deadline;
}

static guint
get_n_openers (const FscLane *lane)
{
  guint own = lane->key->provider->openers;

  return own != 0 ? own : get_config (lane)->lane_openers;
}

/* Queues */

static void
enqueue_first (GQueue *queue, FscJob *job)
{
  job->queue = queue;
  job->link = (GList){ .data = job };
  g_queue_push_head_link (queue, &job->link);
}

void
fsc_lane_enqueue (GQueue *queue, FscJob *job)
{
  job->queue = queue;
  job->link = (GList){ .data = job };
  g_queue_push_tail_link (queue, &job->link);
}

void
fsc_lane_leave_queue (FscJob *job)
{
  g_queue_unlink (job->queue, &job->link);
  job->queue = NULL;
}

FscJob *
fsc_lane_dequeue (GQueue *queue)
{
  FscJob *job = g_queue_peek_head (queue);

  if (job != NULL)
    fsc_lane_leave_queue (job);
  return job;
}

/* What is due
 *
 * A job's time runs from when it was asked for, over all lanes that its way leads through, or from
 * when it was last heard that it gets on, an
 * opener's from when it was told to do something: a job that has waited for long is answered in
 * time, and the opener that has just been given it is not ended for that. One that was given
 * several is ended after half the time: each of them then has the other half, alone, and only the
 * one that hangs is late.
 *
 * Where jobs are slow, a job's time runs from when an opener was given it. Until then it is late if
 * in all that time nothing has come of any other either. So a long list takes as long as it takes,
 * and where nothing answers, all who wait are told so within one deadline, or two. */

static gint64
get_job_due (const FscLane *lane, const FscJob *job)
{
  gint64 since = MAX (job->since, job->moved_at);

  return (job->queue != NULL ? MAX (since, lane->moved_at) : since) + get_patience (lane);
}

/* When an opener will be ended, unless it has done before what it was told; 0: never. */
static gint64
get_opener_due (const FscLane *lane, FscOpener *opener)
{
  gint64 since = fsc_opener_get_asked_since (opener);
  gboolean has_several = fsc_opener_get_jobs (opener)->len > 1;

  return since != 0 ? since + get_patience (lane) / (has_several ? 2 : 1) : 0;
}

/* When an opener that has nothing to do will be ended; 0: never. */
static gint64
get_idle_due (const FscLane *lane, FscOpener *opener)
{
  return fsc_opener_is_idle (opener) && fsc_opener_get_n_held (opener) == 0
                 && fsc_opener_get_asked_since (opener) == 0
             ? fsc_opener_get_idle_since (opener) + get_config (lane)->lane_idle_time
             : 0;
}

/* Whether it is time; if not, *next is when it will be, if that is earlier. */
static gboolean
is_time (gint64 due, gint64 time, gint64 *next)
{
  if (due == 0 || due <= time)
    return due != 0;
  if (*next == 0 || due < *next)
    *next = due;
  return FALSE;
}

static void
time_out_job (FscLane *lane, FscJob *job)
{
  g_autofree char *place = fsc_lane_describe (lane);

  lane->lanes->counters.timeouts++;
  fsc_lanes_fail (lane->lanes, job, FSC_CODE_TIMED_OUT, ETIMEDOUT,
                  "no answer from %s within the deadline of %g s", place,
                  (double) get_deadline (lane) / G_USEC_PER_SEC);
}

static void
requeue_alone (FscLane *lane, const GPtrArray *jobs)
{
  for (guint i = jobs->len; i > 0; i--)
    {
      FscJob *job = jobs->pdata[i - 1];

      job->alone = TRUE;
      enqueue_first (&lane->queue, job);
    }
}

/* Ends an opener that is late. Of the jobs that it still has, none is overdue. One that is slow to
 * start has not failed to: whom that makes late is told so in time, and no sooner. */
static void
end_late_opener (FscLane *lane, FscOpener *opener)
{
  GPtrArray *jobs = fsc_opener_get_jobs (opener);

  requeue_alone (lane, jobs);
  for (guint i = 0; i < jobs->len; i++)
    fsc_opener_forget (opener, jobs->pdata[i]);
  lane->is_ending_late = TRUE;
  fsc_opener_end (opener, "did not answer within the deadline");
  lane->is_ending_late = FALSE;
}

static void
expire_opener (FscLane *lane, FscOpener *opener, gint64 time, GPtrArray *overdue, gint64 *next)
{
  gboolean is_late = is_time (get_opener_due (lane, opener), time, next);
  GPtrArray *jobs = fsc_opener_get_jobs (opener);

  for (guint i = 0; i < jobs->len; i++)
    {
      FscJob *job = jobs->pdata[i];

      if (is_time (get_job_due (lane, job), time, next))
        {
          fsc_opener_forget (opener, job);
          g_ptr_array_add (overdue, job);
        }
    }
  if (is_late)
    end_late_opener (lane, opener);
  else if (is_time (get_idle_due (lane, opener), time, next))
    fsc_opener_end (opener, NULL);
}

gint64
fsc_lane_expire (FscLane *lane, gint64 time)
{
  g_autoptr (GPtrArray) overdue = g_ptr_array_new ();
  gint64 next_due = 0;
  GList *next;

  for (GList *l = lane->queue.head; l != NULL; l = next)
    {
      FscJob *job = l->data;

      next = l->next;
      if (is_time (get_job_due (lane, job), time, &next_due))
        {
          fsc_lane_leave_queue (job);
          g_ptr_array_add (overdue, job);
        }
    }
  for (guint i = lane->openers->len; i > 0; i--)
    expire_opener (lane, lane->openers->pdata[i - 1], time, overdue, &next_due);
  if (is_time (lane->retry_at, time, &next_due))
    {
      lane->retry_at = 0;
      fsc_lanes_mark_dirty (lane->lanes, lane);
    }
  if (lane->n_stuck > 0 && lane->queue.length > 0
      && is_time (lane->stuck_since + DYING_MAX, time, &next_due))
    fsc_lanes_mark_dirty (lane->lanes, lane);
  if (lane->n_start_failures > 0 && lane->openers->len == 0)
    is_time (lane->failed_at + FAILURE_MEMORY, time, &next_due);
  for (guint i = 0; i < overdue->len; i++)
    time_out_job (lane, overdue->pdata[i]);
  return next_due;
}

gboolean
fsc_lane_is_unused (const FscLane *lane, gint64 time)
{
  return lane->openers->len == 0 && lane->queue.length == 0 && lane->n_stuck == 0 && !lane->is_dirty
         && (lane->n_start_failures == 0 || time - lane->failed_at >= FAILURE_MEMORY);
}

/* Openers */

static void
opener_idle (FscOpener *opener, gpointer data)
{
  FscLane *lane = data;

  lane->n_start_failures = 0;
  fsc_lanes_arm (lane->lanes,
                 fsc_opener_get_idle_since (opener) + get_config (lane)->lane_idle_time);
  fsc_lanes_mark_dirty (lane->lanes, lane);
}

static void
opener_done (FscOpener *opener, FscJob *job, FscOutcome *outcome, gpointer data)
{
  FscLane *lane = data;

  lane->lanes->counters.timeouts += outcome->code == FSC_CODE_TIMED_OUT;
  if (lane->key->provider->is_slow && outcome->code != FSC_CODE_UNAVAILABLE
      && outcome->code != FSC_CODE_OPENER_FAILED && outcome->code != FSC_CODE_TIMED_OUT)
    lane->moved_at = g_get_monotonic_time ();
  fsc_lanes_take_outcome (lane->lanes, lane, job, outcome);
}

static void
opener_progressed (FscOpener *opener, FscJob *job, const FscProgress *progress, gpointer data)
{
  FscLane *lane = data;

  if (lane->key->provider->is_slow)
    lane->moved_at = MAX (lane->moved_at, job->moved_at);
  lane->lanes->funcs.progressed (job, progress, lane->lanes->data);
}

static void
opener_receiving (FscOpener *opener, FscJob *job, int socket, gpointer data)
{
  FscLane *lane = data;

  lane->lanes->funcs.receiving (job, socket, lane->lanes->data);
}

static void
opener_handing (FscOpener *opener, gpointer data)
{
  FscLane *lane = data;

  /* For all that it was told before, the timer is set already. */
  fsc_lanes_arm (lane->lanes, g_get_monotonic_time () + get_patience (lane));
}

static void
fail_queue (FscLane *lane, const char *why)
{
  FscJob *job;

  while ((job = fsc_lane_dequeue (&lane->queue)) != NULL)
    fsc_lanes_fail (lane->lanes, job, FSC_CODE_OPENER_FAILED, EIO, "the opener %s %s",
                    lane->key->provider->program, why);
}

/* Returns whether that was too often. */
static gboolean
count_start_failure (FscLane *lane)
{
  lane->failed_at = g_get_monotonic_time ();
  fsc_lanes_arm (lane->lanes, lane->failed_at + FAILURE_MEMORY);
  return ++lane->n_start_failures >= START_FAILURES_MAX;
}

static void
note_stuck (FscLane *lane, guint32 id)
{
  FscLanes *lanes = lane->lanes;

  lane->n_stuck++;
  lane->stuck_since = g_get_monotonic_time ();
  lanes->counters.stuck++;
  g_hash_table_insert (lanes->stuck, GUINT_TO_POINTER (id), fsc_lane_key_copy (lane->key));
}

void
fsc_lane_unstick (FscLane *lane)
{
  lane->n_stuck--;
  fsc_lanes_mark_dirty (lane->lanes, lane);
}

static void
opener_failed (FscOpener *opener, GPtrArray *jobs, const char *why, gpointer data)
{
  FscLane *lane = data;
  FscLanes *lanes = lane->lanes;
  g_autofree char *place = fsc_lane_describe (lane);
  gboolean was_starting = fsc_opener_get_idle_since (opener) == 0;

  if (why != NULL && !lanes->is_stopping)
    {
      lanes->counters.openers_failed++;
      g_warning ("The opener %s of %s %s", lane->key->provider->program, place, why);
      if (was_starting && !lane->is_ending_late && count_start_failure (lane))
        fail_queue (lane, "does not start");
      if (fsc_spawner_is_running (lanes->spawner, fsc_opener_get_id (opener)))
        note_stuck (lane, fsc_opener_get_id (opener));
    }
  if (fsc_opener_has_strays (opener) && !lanes->is_stopping)
    fsc_lanes_take_strays (lanes, fsc_opener_get_id (opener), lane->key->credential);
  if (jobs->len == 1 || lanes->is_stopping)
    for (guint i = 0; i < jobs->len; i++)
      fsc_lanes_fail (lanes, jobs->pdata[i], FSC_CODE_OPENER_FAILED, EIO, "the opener %s %s",
                      lane->key->provider->program, why);
  else
    requeue_alone (lane, jobs);
  g_ptr_array_remove (lane->openers, opener);
  lanes->counters.openers--;
  fsc_lanes_mark_dirty (lanes, lane);
  lanes->funcs.lost (lanes->data);
  fsc_opener_unref (opener);
}

/* What it fails for (too many descriptors, here or in flight between this user's programs) mostly
 * passes: nobody is refused for it at once. */
static void
start_failed (FscLane *lane, const GError *error)
{
  g_autofree char *why = g_strdup_printf ("cannot be started: %s", error->message);

  g_info ("The opener %s %s", lane->key->provider->program, why);
  if (lane->openers->len > 0)
    return;
  if (count_start_failure (lane))
    fail_queue (lane, why);
  else
    {
      lane->retry_at = g_get_monotonic_time () + RETRY_TIME;
      fsc_lanes_arm (lane->lanes, lane->retry_at);
    }
}

/* That its openers add to; NULL: they watch nothing. */
static FscWatches *
get_watches (const FscLane *lane)
{
  FscChanges *changes
      = fsc_credentials_get (lane->lanes->credentials, lane->key->credential)->changes;

  return lane->key->provider->is_watching && changes != NULL ? fsc_changes_get_watches (changes)
                                                             : NULL;
}

/* Whom its openers are to be; NULL: the service's own user. */
static const FscUser *
get_user (const FscLane *lane)
{
  const FscUser *own = &lane->key->provider->user;
  const FscCredential *whose
      = fsc_credentials_get (lane->lanes->credentials, lane->key->credential);

  if (own->groups != NULL)
    return own->uid != geteuid () ? own : NULL;
  return whose->number == FSC_CREDENTIAL_OWN ? NULL : &whose->user;
}

static void
start_opener (FscLane *lane)
{
  static const FscOpenerEvents events = {
    .idle = opener_idle,
    .done = opener_done,
    .progressed = opener_progressed,
    .receiving = opener_receiving,
    .handing = opener_handing,
    .failed = opener_failed,
  };
  FscLanes *lanes = lane->lanes;
  g_auto (GStrv) command
      = fsc_provider_get_command (lane->key->provider, lanes->opener_dir, get_deadline (lane));
  g_autofree char *place = fsc_lane_describe (lane);
  FscWatches *watches = get_watches (lane);
  g_autoptr (GError) error = NULL;
  FscOpener *opener
      = fsc_opener_new (lanes->loop, lanes->group, lanes->spawner, command, get_user (lane),
                        watches != NULL ? fsc_watches_get_fd (watches) : -1, &events, lane, &error);

  if (opener == NULL)
    {
      start_failed (lane, error);
      return;
    }
  g_debug ("Opener %u: %s for %s", fsc_opener_get_id (opener), command[0], place);
  g_ptr_array_add (lane->openers, opener);
  fsc_lanes_arm (lanes, get_opener_due (lane, opener));
  lanes->counters.openers++;
  lanes->counters.openers_started++;
}

/* Giving work */

void
fsc_lane_push (FscLane *lane, FscJob *job)
{
  /* Tried again, as those of a batch may be, it would find what it has made. */
  job->alone = (job->item.flags & O_EXCL) != 0 || lane->key->provider->is_slow || job->is_put;
  fsc_lane_enqueue (&lane->queue, job);
  fsc_lanes_arm (lane->lanes, get_job_due (lane, job));
  fsc_lanes_mark_dirty (lane->lanes, lane);
}

static FscOpener *
find_idle_opener (FscLane *lane)
{
  for (guint i = 0; i < lane->openers->len; i++)
    if (fsc_opener_is_idle (lane->openers->pdata[i]))
      return lane->openers->pdata[i];
  return NULL;
}

/* Takes as many jobs off the queue as should go in one message. Checks on a local file system are
 * quick: many go together. Opens on one are shared out among the openers. What may hang goes alone.
 */
static void
take_batch (FscLane *lane, GPtrArray *batch)
{
  guint opens = CLAMP (lane->queue.length / get_n_openers (lane), 1, OPENS_AT_ONCE);
  FscJob *job;

  while ((job = g_queue_peek_head (&lane->queue)) != NULL)
    {
      gboolean is_check = job->item.validator.length > 0;

      if (!fsc_job_is_wanted (job))
        {
          fsc_lanes_withdraw (lane->lanes, job);
          continue;
        }
      if (batch->len > 0
          && (job->alone || !lane->is_local || batch->len >= (is_check ? CHECKS_AT_ONCE : opens)))
        return;
      g_ptr_array_add (batch, fsc_lane_dequeue (&lane->queue));
      if (job->alone)
        return;
    }
}

static void
give_work (FscLane *lane)
{
  g_autoptr (GPtrArray) batch = g_ptr_array_new ();
  FscOpener *opener;

  while (lane->queue.length > 0 && (opener = find_idle_opener (lane)) != NULL)
    {
      guint given;

      take_batch (lane, batch);
      if (batch->len == 0)
        break;
      if (lane->key->provider->is_store)
        {
          fsc_opener_receive (opener, batch->pdata[0], get_deadline (lane));
          fsc_lanes_arm (lane->lanes, get_opener_due (lane, opener));
          g_ptr_array_set_size (batch, 0);
          continue;
        }
      if (lane->key->provider->is_slow) /* it is alone */
        ((FscJob *) batch->pdata[0])->moved_at = g_get_monotonic_time ();
      given = fsc_opener_give (opener, (FscJob *const *) batch->pdata, batch->len);
      while (batch->len > given)
        enqueue_first (&lane->queue, g_ptr_array_steal_index (batch, batch->len - 1));
      fsc_lanes_arm (lane->lanes, get_opener_due (lane, opener));
      g_ptr_array_set_size (batch, 0);
    }
}

/* What clients have put is all in one process. */
static gboolean
may_have_more_openers (const FscLane *lane)
{
  return lane->openers->len + lane->n_stuck < get_n_openers (lane)
         && (lane->openers->len == 0 || !lane->key->provider->is_store);
}

static void
start_openers (FscLane *lane)
{
  guint n_starting = 0;

  for (guint i = 0; i < lane->openers->len; i++)
    n_starting += fsc_opener_is_starting (lane->openers->pdata[i]);
  while (lane->queue.length > n_starting && lane->retry_at == 0 && may_have_more_openers (lane))
    {
      guint before = lane->openers->len;

      start_opener (lane);
      if (lane->openers->len == before)
        break;
      n_starting++;
    }
}

/* The breaker: all openers that the lane may have are stuck. */
static void
fail_if_broken (FscLane *lane)
{
  gint64 due = lane->stuck_since + DYING_MAX;
  g_autofree char *place = NULL;
  FscJob *job;

  if (lane->queue.length == 0 || lane->openers->len > 0 || lane->n_stuck < get_n_openers (lane))
    return;
  if (g_get_monotonic_time () < due)
    {
      fsc_lanes_arm (lane->lanes, due);
      return;
    }
  place = fsc_lane_describe (lane);
  while ((job = fsc_lane_dequeue (&lane->queue)) != NULL)
    fsc_lanes_fail (lane->lanes, job, FSC_CODE_TIMED_OUT, ETIMEDOUT,
                    "%s does not answer: %u openers are stuck in it", place, lane->n_stuck);
}

void
fsc_lane_flush (FscLane *lane)
{
  fail_if_broken (lane);
  give_work (lane);
  start_openers (lane);
}

/* Life */

FscLane *
fsc_lane_new (FscLanes *lanes, const FscLaneKey *key)
{
  FscLane *lane = g_new0 (FscLane, 1);

  lane->key = fsc_lane_key_copy (key);
  lane->lanes = lanes;
  lane->openers = g_ptr_array_new ();
  g_queue_init (&lane->queue);
  return lane;
}

void
fsc_lane_free (FscLane *lane)
{
  g_assert (lane->queue.length == 0 && lane->openers->len == 0);
  g_ptr_array_unref (lane->openers);
  fsc_lane_key_free (lane->key);
  g_free (lane);
}

void
fsc_lane_end_opener (FscLane *lane, FscOpener *opener, GArray *ended, GPtrArray *jobs)
{
  GPtrArray *pending = fsc_opener_get_jobs (opener);
  guint32 id = fsc_opener_get_id (opener);

  for (guint i = 0; i < pending->len; i++)
    {
      g_ptr_array_add (jobs, pending->pdata[i]);
      fsc_opener_forget (opener, pending->pdata[i]);
    }
  fsc_opener_end (opener, NULL);
  if (!fsc_spawner_is_running (lane->lanes->spawner, id))
    return;
  note_stuck (lane, id);
  g_array_append_val (ended, id);
}

/* What it holds would be lost with it. */
void
fsc_lane_end_unwanted (FscLane *lane)
{
  g_autoptr (GArray) ended = g_array_new (FALSE, FALSE, sizeof (guint32));
  g_autoptr (GPtrArray) unwanted = g_ptr_array_new ();

  for (guint i = lane->openers->len; i > 0; i--)
    {
      FscOpener *opener = lane->openers->pdata[i - 1];
      GPtrArray *jobs = fsc_opener_get_jobs (opener);
      FscJob *job = jobs->len == 1 ? jobs->pdata[0] : NULL;

      if (job != NULL && !fsc_job_is_wanted (job) && fsc_opener_get_n_held (opener) == 0)
        fsc_lane_end_opener (lane, opener, ended, unwanted);
    }
  for (guint i = 0; i < unwanted->len; i++)
    fsc_lane_enqueue (&lane->lanes->withdrawn, unwanted->pdata[i]);
}

void
fsc_lane_stop (FscLane *lane)
{
  while (lane->openers->len > 0)
    fsc_opener_end (lane->openers->pdata[0], "was ended with the service");
  fail_queue (lane, "was ended with the service");
}
