/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Queues, openers and deadlines; see lane.h.
 */
#include "fscache/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "fscache/check.h"
#include "fscache/opener.h"
#include "protocol/uri.h"

#define CHECKS_AT_ONCE 64
#define OPENS_AT_ONCE 16
#define START_FAILURES_MAX 3
#define RETRY_MS 50
#define HOUSEKEEPING_MAX (5 * G_USEC_PER_SEC)

/* A process that was killed is given so long to go before it counts as one that cannot. */
#define DYING_MAX (1 * G_USEC_PER_SEC)

/* As many checks are made here if no more are due in one turn: more would keep others waiting, and
 * are an opener's, which has a processor of its own. */
#define QUICK_CHECKS_MAX 16

/* What opens which scheme. */
typedef struct
{
  const char *scheme;
  const char *program;
} Provider;

static const Provider providers[] = {
  { "file", "open-file" },
};

typedef struct
{
  const Provider *provider;
  guint32 credential;
  guint32 mount_id;
} LaneKey;

typedef struct
{
  LaneKey key; /* first: it is found by it */
  FscLanes *lanes;
  gboolean is_local;
  gboolean is_dirty;
  GQueue queue;       /* of FscJob */
  GPtrArray *openers; /* of FscOpener */
  guint n_stuck;      /* openers that were killed and are not gone */
  gint64 stuck_since; /* when the last of them was killed */
  guint n_start_failures;
} Lane;

struct FscLanes
{
  FscLoop *loop;
  FscSpawner *spawner;
  FscMounts *mounts;
  const FscConfig *config;
  const char *opener_dir;
  FscLanesDone done;
  FscLanesLost lost;
  gpointer data;
  GHashTable *lanes; /* LaneKey -> Lane */
  GPtrArray *dirty;  /* lanes to flush */
  GQueue quick;      /* jobs to be tried by a quick check */
  GQueue refused;    /* jobs that no lane takes */
  GHashTable *stuck; /* id of a killed opener -> its lane's key, copied */
  GSource *deadlines;
  GSource *housekeeping;
  guint retry; /* source id while an opener could not be started */
  FscLaneCounters counters;
  gboolean is_stopping;
};

static guint
lane_key_hash (gconstpointer data)
{
  const LaneKey *key = data;

  return g_direct_hash (key->provider) ^ key->credential * 2654435761u ^ key->mount_id * 40503u;
}

static gboolean
lane_key_equal (gconstpointer a, gconstpointer b)
{
  const LaneKey *x = a, *y = b;

  return x->provider == y->provider && x->credential == y->credential && x->mount_id == y->mount_id;
}

static void
lane_free (gpointer data)
{
  Lane *lane = data;

  g_assert (lane->queue.length == 0 && lane->openers->len == 0);
  g_ptr_array_unref (lane->openers);
  g_free (lane);
}

static void
mark_dirty (Lane *lane)
{
  if (lane->is_dirty)
    return;
  lane->is_dirty = TRUE;
  g_ptr_array_add (lane->lanes->dirty, lane);
}

/* All lanes, in a copy: what is done to one may change the table. */
static GPtrArray *
list_lanes (FscLanes *lanes)
{
  GPtrArray *all = g_ptr_array_new ();
  GHashTableIter iter;
  gpointer lane;

  g_hash_table_iter_init (&iter, lanes->lanes);
  while (g_hash_table_iter_next (&iter, &lane, NULL))
    g_ptr_array_add (all, lane);
  return all;
}

/* Finding the lane of a job */

static const Provider *
find_provider (FscBytes uri)
{
  for (guint i = 0; i < G_N_ELEMENTS (providers); i++)
    if (fsc_uri_has_scheme (uri, providers[i].scheme))
      return &providers[i];
  return NULL;
}

static guint32
find_mount (FscLanes *lanes, FscBytes uri)
{
  char path[FSC_URI_MAX + 1];

  return fsc_uri_to_path (uri, path, sizeof path) > 0 ? fsc_mounts_find (lanes->mounts, path) : 0;
}

static Lane *
get_lane (FscLanes *lanes, FscJob *job)
{
  LaneKey key = { .provider = find_provider (job->item.uri), .credential = job->credential };
  Lane *lane;

  if (key.provider == NULL)
    return NULL;
  key.mount_id = job->mount_id != 0 ? job->mount_id : find_mount (lanes, job->item.uri);
  lane = g_hash_table_lookup (lanes->lanes, &key);
  if (lane == NULL)
    {
      lane = g_new0 (Lane, 1);
      lane->key = key;
      lane->lanes = lanes;
      lane->is_local = fsc_mounts_is_local (lanes->mounts, key.mount_id);
      lane->openers = g_ptr_array_new ();
      g_queue_init (&lane->queue);
      g_hash_table_add (lanes->lanes, lane);
      lanes->counters.lanes++;
    }
  return lane;
}

/* Answers */

static void fail_job (FscLanes *lanes, FscJob *job, FscCode code, int error, const char *format,
                      ...) G_GNUC_PRINTF (5, 6);

static void
fail_job (FscLanes *lanes, FscJob *job, FscCode code, int error, const char *format, ...)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *why = NULL;
  g_autofree char *text = NULL;
  FscOutcome outcome = { .code = code, .error = error };
  va_list arguments;

  va_start (arguments, format);
  why = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  text = g_strdup_printf ("cannot open %s: %s", fsc_uri_abbreviate (job->item.uri, name), why);
  outcome.text = text;
  lanes->done (job, &outcome, lanes->data);
}

static const char *
lane_name (Lane *lane)
{
  return fsc_mounts_get_path (lane->lanes->mounts, lane->key.mount_id);
}

static void
time_out_job (Lane *lane, FscJob *job)
{
  FscLanes *lanes = lane->lanes;

  lanes->counters.timeouts++;
  fail_job (lanes, job, FSC_CODE_TIMED_OUT, ETIMEDOUT,
            "no answer within the deadline of %g s (on the mount %s)",
            (double) lanes->config->lane_deadline / G_USEC_PER_SEC, lane_name (lane));
}

/* Deadlines: one timer, set to the earliest. All jobs have the same time, so one that starts later
 * than another never moves the timer, and most requests do not touch it.
 *
 * A job's time runs from when it was asked for, an opener's from when it was told to do something:
 * a job that has waited for long is answered in time, and the opener that has just been given it is
 * not ended for that. One that was given several is ended after half the time: each of them then
 * has the other half, alone, and only the one that hangs is late. */

static void
arm (FscLanes *lanes, gint64 due)
{
  gint64 set = g_source_get_ready_time (lanes->deadlines);

  if (set < 0 || due < set)
    g_source_set_ready_time (lanes->deadlines, due);
}

static gint64
get_job_due (Lane *lane, const FscJob *job)
{
  return job->since + lane->lanes->config->lane_deadline;
}

/* When an opener will be ended, unless it has done before what it was told; 0: never. */
static gint64
get_opener_due (Lane *lane, FscOpener *opener)
{
  gint64 since = fsc_opener_get_asked_since (opener);
  gboolean has_several = fsc_opener_get_jobs (opener)->len > 1;

  return since != 0 ? since + lane->lanes->config->lane_deadline / (has_several ? 2 : 1) : 0;
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
requeue_alone (Lane *lane, const GPtrArray *jobs)
{
  for (guint i = jobs->len; i > 0; i--)
    {
      FscJob *job = jobs->pdata[i - 1];

      job->alone = TRUE;
      g_queue_push_head (&lane->queue, job);
    }
}

/* Ends an opener that is late. Of the jobs that it still has, none is overdue. */
static void
end_late_opener (Lane *lane, FscOpener *opener)
{
  GPtrArray *jobs = fsc_opener_get_jobs (opener);

  requeue_alone (lane, jobs);
  for (guint i = 0; i < jobs->len; i++)
    fsc_opener_forget (opener, jobs->pdata[i]);
  fsc_opener_end (opener, "did not answer within the deadline");
}

static void
expire_opener (Lane *lane, FscOpener *opener, gint64 time, GPtrArray *overdue, gint64 *next)
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
}

/* Returns when to look again, or 0. */
static gint64
expire_lane (Lane *lane, gint64 time)
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
          g_queue_delete_link (&lane->queue, l);
          g_ptr_array_add (overdue, job);
        }
    }
  for (guint i = lane->openers->len; i > 0; i--)
    expire_opener (lane, lane->openers->pdata[i - 1], time, overdue, &next_due);
  for (guint i = 0; i < overdue->len; i++)
    time_out_job (lane, overdue->pdata[i]);
  return next_due;
}

static gboolean
deadlines_due (gpointer data)
{
  FscLanes *lanes = data;
  g_autoptr (GPtrArray) all = list_lanes (lanes);
  gint64 time = g_get_monotonic_time ();

  g_source_set_ready_time (lanes->deadlines, -1);
  for (guint i = 0; i < all->len; i++)
    {
      gint64 due = expire_lane (all->pdata[i], time);

      if (due != 0)
        arm (lanes, due);
    }
  return G_SOURCE_CONTINUE;
}

/* Openers */

static void
opener_idle (FscOpener *opener, gpointer data)
{
  Lane *lane = data;

  lane->n_start_failures = 0;
  mark_dirty (lane);
}

static void
opener_done (FscOpener *opener, FscJob *job, FscOutcome *outcome, gpointer data)
{
  Lane *lane = data;

  outcome->ttl_ms = lane->lanes->config->ttl_ms;
  lane->lanes->done (job, outcome, lane->lanes->data);
}

static void
opener_handing (FscOpener *opener, gpointer data)
{
  FscLanes *lanes = ((Lane *) data)->lanes;

  /* For all that it was told before, the timer is set already. */
  arm (lanes, g_get_monotonic_time () + lanes->config->lane_deadline);
}

static void
fail_queue (Lane *lane, const char *why)
{
  FscJob *job;

  while ((job = g_queue_pop_head (&lane->queue)) != NULL)
    fail_job (lane->lanes, job, FSC_CODE_OPENER_FAILED, EIO, "the opener %s %s",
              lane->key.provider->program, why);
}

static void
opener_failed (FscOpener *opener, GPtrArray *jobs, const char *why, gpointer data)
{
  Lane *lane = data;
  FscLanes *lanes = lane->lanes;
  gboolean was_starting = fsc_opener_get_idle_since (opener) == 0;

  if (why != NULL && !lanes->is_stopping)
    {
      lanes->counters.openers_failed++;
      g_warning ("The opener %s of %s %s", lane->key.provider->program, lane_name (lane), why);
      if (was_starting && ++lane->n_start_failures >= START_FAILURES_MAX)
        fail_queue (lane, "does not start");
      if (fsc_spawner_is_running (lanes->spawner, fsc_opener_get_id (opener)))
        {
          lane->n_stuck++;
          lane->stuck_since = g_get_monotonic_time ();
          lanes->counters.stuck++;
          g_hash_table_insert (lanes->stuck, GUINT_TO_POINTER (fsc_opener_get_id (opener)),
                               g_memdup2 (&lane->key, sizeof lane->key));
        }
    }
  if (jobs->len == 1 || lanes->is_stopping)
    for (guint i = 0; i < jobs->len; i++)
      fail_job (lanes, jobs->pdata[i], FSC_CODE_OPENER_FAILED, EIO, "the opener %s %s",
                lane->key.provider->program, why);
  else
    requeue_alone (lane, jobs);
  g_ptr_array_remove (lane->openers, opener);
  lanes->counters.openers--;
  if (lane->queue.length > 0)
    mark_dirty (lane);
  lanes->lost (lanes->data);
  fsc_opener_unref (opener);
}

void
fsc_lanes_opener_exited (guint32 id, int status, gpointer data)
{
  FscLanes *lanes = data;
  const LaneKey *key = g_hash_table_lookup (lanes->stuck, GUINT_TO_POINTER (id));
  Lane *lane;

  if (WIFSIGNALED (status) && WTERMSIG (status) != SIGKILL)
    g_warning ("Opener %u was ended by signal %d (%s)", id, WTERMSIG (status),
               g_strsignal (WTERMSIG (status)));
  else if (WIFEXITED (status) && WEXITSTATUS (status) == 127)
    g_warning ("Opener %u could not be executed", id);
  if (key == NULL)
    return;
  lanes->counters.stuck--;
  lane = g_hash_table_lookup (lanes->lanes, key);
  if (lane != NULL)
    {
      lane->n_stuck--;
      mark_dirty (lane);
    }
  g_hash_table_remove (lanes->stuck, GUINT_TO_POINTER (id));
}

static gboolean
retry (gpointer data)
{
  FscLanes *lanes = data;
  g_autoptr (GPtrArray) all = list_lanes (lanes);

  lanes->retry = 0;
  for (guint i = 0; i < all->len; i++)
    mark_dirty (all->pdata[i]);
  return G_SOURCE_REMOVE;
}

/* What it fails for (too many descriptors, here or in flight between this user's programs) mostly
 * passes: nobody is refused for it at once. */
static void
start_failed (Lane *lane, const GError *error)
{
  FscLanes *lanes = lane->lanes;
  g_autofree char *why = g_strdup_printf ("cannot be started: %s", error->message);

  g_info ("The opener %s %s", lane->key.provider->program, why);
  if (lane->openers->len > 0)
    return;
  if (++lane->n_start_failures >= START_FAILURES_MAX)
    fail_queue (lane, why);
  else if (lanes->retry == 0)
    lanes->retry = g_timeout_add (RETRY_MS, retry, lanes);
}

static void
start_opener (Lane *lane)
{
  static const FscOpenerEvents events = {
    .idle = opener_idle, .done = opener_done, .handing = opener_handing, .failed = opener_failed
  };
  FscLanes *lanes = lane->lanes;
  g_autofree char *program
      = g_build_filename (lanes->opener_dir, lane->key.provider->program, NULL);
  g_autoptr (GError) error = NULL;
  FscOpener *opener = fsc_opener_new (lanes->loop, lanes->spawner, program, &events, lane, &error);

  if (opener == NULL)
    {
      start_failed (lane, error);
      return;
    }
  g_debug ("Opener %u: %s for %s", fsc_opener_get_id (opener), program, lane_name (lane));
  g_ptr_array_add (lane->openers, opener);
  arm (lanes, get_opener_due (lane, opener));
  lanes->counters.openers++;
  lanes->counters.openers_started++;
}

/* Giving work */

static FscOpener *
find_idle_opener (Lane *lane)
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
take_batch (Lane *lane, GPtrArray *batch)
{
  guint opens = CLAMP (lane->queue.length / lane->lanes->config->lane_openers, 1, OPENS_AT_ONCE);
  FscJob *job;

  while ((job = g_queue_peek_head (&lane->queue)) != NULL)
    {
      gboolean is_check = job->item.validator.length > 0;

      if (!fsc_job_is_wanted (job))
        {
          g_queue_pop_head (&lane->queue);
          fail_job (lane->lanes, job, FSC_CODE_CANCELLED, ECANCELED,
                    "nobody waits for it any more");
          continue;
        }
      if (batch->len > 0
          && (job->alone || !lane->is_local || batch->len >= (is_check ? CHECKS_AT_ONCE : opens)))
        return;
      g_ptr_array_add (batch, g_queue_pop_head (&lane->queue));
      if (job->alone)
        return;
    }
}

static void
flush_lane (Lane *lane)
{
  g_autoptr (GPtrArray) batch = g_ptr_array_new ();
  FscOpener *opener;
  guint n_starting = 0;

  while (lane->queue.length > 0 && (opener = find_idle_opener (lane)) != NULL)
    {
      guint given;

      take_batch (lane, batch);
      if (batch->len == 0)
        break;
      given = fsc_opener_give (opener, (FscJob *const *) batch->pdata, batch->len);
      while (batch->len > given)
        g_queue_push_head (&lane->queue, g_ptr_array_steal_index (batch, batch->len - 1));
      arm (lane->lanes, get_opener_due (lane, opener));
      g_ptr_array_set_size (batch, 0);
    }

  for (guint i = 0; i < lane->openers->len; i++)
    n_starting += fsc_opener_is_starting (lane->openers->pdata[i]);
  while (lane->queue.length > n_starting && lane->lanes->retry == 0
         && lane->openers->len + lane->n_stuck < lane->lanes->config->lane_openers)
    {
      guint before = lane->openers->len;

      start_opener (lane);
      if (lane->openers->len == before)
        break;
      n_starting++;
    }
}

static void
enqueue (FscLanes *lanes, FscJob *job)
{
  Lane *lane = get_lane (lanes, job);

  if (lane == NULL || lane->queue.length >= lanes->config->lane_queue)
    {
      g_queue_push_tail (&lanes->refused, job);
      return;
    }
  /* Tried again, as those of a batch may be, it would find what it has made. */
  job->alone = (job->item.flags & O_EXCL) != 0;
  g_queue_push_tail (&lane->queue, job);
  arm (lanes, get_job_due (lane, job));
  mark_dirty (lane);
}

static void
check_quickly (FscLanes *lanes)
{
  gboolean is_few = lanes->quick.length <= QUICK_CHECKS_MAX;
  FscJob *job;

  while ((job = g_queue_pop_head (&lanes->quick)) != NULL)
    {
      FscOutcome unchanged = { .code = FSC_CODE_UNCHANGED };

      job->begun = g_get_monotonic_time ();
      if (is_few && fsc_check_quickly (&job->item))
        {
          lanes->done (job, &unchanged, lanes->data);
          continue;
        }
      job->begun = 0;
      enqueue (lanes, job);
    }
}

void
fsc_lanes_start (FscLanes *lanes, FscJob *job)
{
  if (fsc_check_is_possible (&job->item))
    g_queue_push_tail (&lanes->quick, job);
  else
    enqueue (lanes, job);
}

static void
refuse_job (FscLanes *lanes, FscJob *job)
{
  Lane *lane = get_lane (lanes, job);

  if (lane == NULL)
    fail_job (lanes, job, FSC_CODE_UNKNOWN_SCHEME, EPROTONOSUPPORT,
              "no provider for the scheme \"%.*s\"",
              (int) fsc_uri_get_scheme_length (job->item.uri), job->item.uri.data);
  else
    fail_job (lanes, job, FSC_CODE_LIMIT, EAGAIN,
              "%u requests wait for the mount %s already, all that [lanes] queue=%u allows",
              lanes->config->lane_queue, lane_name (lane), lanes->config->lane_queue);
}

/* The breaker: all openers that the lane may have are stuck. */
static gboolean
is_broken (const Lane *lane)
{
  return lane->n_stuck >= lane->lanes->config->lane_openers && lane->openers->len == 0
         && g_get_monotonic_time () - lane->stuck_since > DYING_MAX;
}

gboolean
fsc_lanes_flush (FscLanes *lanes)
{
  FscJob *job;

  if (lanes->quick.length == 0 && lanes->refused.length == 0 && lanes->dirty->len == 0)
    return FALSE;
  check_quickly (lanes);
  while ((job = g_queue_pop_head (&lanes->refused)) != NULL)
    refuse_job (lanes, job);

  for (guint i = 0; i < lanes->dirty->len; i++) /* flushing may mark more */
    {
      Lane *lane = lanes->dirty->pdata[i];

      lane->is_dirty = FALSE;
      if (is_broken (lane))
        while ((job = g_queue_pop_head (&lane->queue)) != NULL)
          fail_job (lanes, job, FSC_CODE_TIMED_OUT, ETIMEDOUT,
                    "the mount %s does not answer: %u openers are stuck in it", lane_name (lane),
                    lane->n_stuck);
      flush_lane (lane);
    }
  g_ptr_array_set_size (lanes->dirty, 0);
  return TRUE;
}

/* Life */

/* Ends openers that have had nothing to do, and lanes that have no openers. */
static gboolean
housekeep (gpointer data)
{
  FscLanes *lanes = data;
  g_autoptr (GPtrArray) all = list_lanes (lanes);
  gint64 time = g_get_monotonic_time ();

  for (guint i = 0; i < all->len; i++)
    {
      Lane *lane = all->pdata[i];

      for (guint j = lane->openers->len; j > 0; j--)
        {
          FscOpener *opener = lane->openers->pdata[j - 1];

          if (fsc_opener_is_idle (opener) && fsc_opener_get_n_held (opener) == 0
              && fsc_opener_get_asked_since (opener) == 0
              && time - fsc_opener_get_idle_since (opener) > lanes->config->lane_idle_time)
            fsc_opener_end (opener, NULL);
        }
      if (lane->queue.length > 0)
        mark_dirty (lane); /* the breaker may be due */
      if (lane->openers->len == 0 && lane->queue.length == 0 && lane->n_stuck == 0
          && !lane->is_dirty)
        {
          g_hash_table_remove (lanes->lanes, lane);
          lanes->counters.lanes--;
        }
    }
  return G_SOURCE_CONTINUE;
}

static gboolean
dispatch_deadlines (GSource *source, GSourceFunc callback, gpointer data)
{
  return callback (data);
}

FscLanes *
fsc_lanes_new (FscLoop *loop, FscSpawner *spawner, FscMounts *mounts, const FscConfig *config,
               const char *opener_dir, FscLanesDone done, FscLanesLost lost, gpointer data)
{
  static GSourceFuncs deadline_funcs = { .dispatch = dispatch_deadlines };
  FscLanes *lanes = g_new0 (FscLanes, 1);

  lanes->loop = loop;
  lanes->spawner = spawner;
  lanes->mounts = mounts;
  lanes->config = config;
  lanes->opener_dir = opener_dir;
  lanes->done = done;
  lanes->lost = lost;
  lanes->data = data;
  lanes->lanes = g_hash_table_new_full (lane_key_hash, lane_key_equal, lane_free, NULL);
  lanes->dirty = g_ptr_array_new ();
  lanes->stuck = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  g_queue_init (&lanes->quick);
  g_queue_init (&lanes->refused);

  lanes->deadlines = g_source_new (&deadline_funcs, sizeof (GSource));
  g_source_set_callback (lanes->deadlines, deadlines_due, lanes, NULL);
  g_source_attach (lanes->deadlines, NULL);
  lanes->housekeeping
      = g_timeout_source_new ((guint) (MIN (config->lane_idle_time, HOUSEKEEPING_MAX) / 1000));
  g_source_set_callback (lanes->housekeeping, housekeep, lanes, NULL);
  g_source_attach (lanes->housekeeping, NULL);
  return lanes;
}

void
fsc_lanes_free (FscLanes *lanes)
{
  g_autoptr (GPtrArray) all = NULL;
  FscJob *job;

  lanes->is_stopping = TRUE;
  while ((job = g_queue_pop_head (&lanes->quick)) != NULL)
    enqueue (lanes, job);
  while ((job = g_queue_pop_head (&lanes->refused)) != NULL)
    refuse_job (lanes, job);
  all = list_lanes (lanes);
  for (guint i = 0; i < all->len; i++)
    {
      Lane *lane = all->pdata[i];

      while (lane->openers->len > 0)
        fsc_opener_end (lane->openers->pdata[0], "was ended with the service");
      fail_queue (lane, "was ended with the service");
    }
  g_source_destroy (lanes->deadlines);
  g_source_unref (lanes->deadlines);
  g_clear_handle_id (&lanes->retry, g_source_remove);
  g_source_destroy (lanes->housekeeping);
  g_source_unref (lanes->housekeeping);
  g_hash_table_unref (lanes->lanes);
  g_hash_table_unref (lanes->stuck);
  g_ptr_array_unref (lanes->dirty);
  g_free (lanes);
}

const FscLaneCounters *
fsc_lanes_get_counters (const FscLanes *lanes)
{
  return &lanes->counters;
}
