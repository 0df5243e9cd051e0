/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which lane a job goes to, and from there to which; see lanes.h. What happens in a lane is in
 * lane.c.
 */
#include "fscache/lanes.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "fscache/check.h"
#include "fscache/hop.h"
#include "fscache/lane.h"
#include "protocol/text.h"
#include "protocol/uri.h"

/* As many checks are made here if no more are due in one turn: more would keep others waiting, and
 * are an opener's, which has a processor of its own. */
#define QUICK_CHECKS_MAX 16

static guint
lane_key_hash (gconstpointer data)
{
  const FscLaneKey *key = data;

  return g_direct_hash (key->provider) ^ key->credential * 2654435761u ^ key->mount_id * 40503u
         ^ (key->host != NULL ? g_str_hash (key->host) : 0);
}

static gboolean
lane_key_equal (gconstpointer a, gconstpointer b)
{
  const FscLaneKey *x = a, *y = b;

  return x->provider == y->provider && x->credential == y->credential && x->mount_id == y->mount_id
         && g_strcmp0 (x->host, y->host) == 0;
}

/* All lanes, in a copy: what is done to one may change the table. */
static GPtrArray *
list_lanes (FscLanes *lanes)
{
  GPtrArray *all = g_ptr_array_new ();
  GHashTableIter iter;
  gpointer lane;

  g_hash_table_iter_init (&iter, lanes->lanes);
  while (g_hash_table_iter_next (&iter, NULL, &lane))
    g_ptr_array_add (all, lane);
  return all;
}

static void
remove_if_unused (FscLanes *lanes, FscLane *lane, gint64 time)
{
  if (!fsc_lane_is_unused (lane, time))
    return;
  g_hash_table_remove (lanes->lanes, lane->key);
  lanes->counters.lanes--;
}

void
fsc_lanes_mark_dirty (FscLanes *lanes, FscLane *lane)
{
  if (lane->is_dirty)
    return;
  lane->is_dirty = TRUE;
  g_ptr_array_add (lanes->dirty, lane);
}

/* The timer: one for all, set to the earliest of what is due, and to nothing if nothing is. Jobs of
 * a provider have the same time, so one that starts later than another never moves it, and most
 * requests do not touch it. */

void
fsc_lanes_arm (FscLanes *lanes, gint64 due)
{
  gint64 set = g_source_get_ready_time (lanes->timer);

  if (set < 0 || due < set)
    g_source_set_ready_time (lanes->timer, due);
}

static gboolean
timer_due (gpointer data)
{
  FscLanes *lanes = data;
  g_autoptr (GPtrArray) all = list_lanes (lanes);
  gint64 time = g_get_monotonic_time ();
  gint64 released_due;

  g_source_set_ready_time (lanes->timer, -1);
  for (guint i = 0; i < all->len; i++)
    {
      gint64 due = fsc_lane_expire (all->pdata[i], time);

      if (due != 0)
        fsc_lanes_arm (lanes, due);
      remove_if_unused (lanes, all->pdata[i], time);
    }
  released_due = fsc_release_expire (lanes, time);
  if (released_due != 0)
    fsc_lanes_arm (lanes, released_due);
  return G_SOURCE_CONTINUE;
}

/* Finding the lane of a job */

static const FscMount *
find_mount (FscLanes *lanes, FscBytes uri)
{
  char path[FSC_URI_MAX + 1];

  return fsc_uri_get_path (uri, path, sizeof path) > 0 ? fsc_mounts_find (lanes->mounts, path)
                                                       : NULL;
}

/* Fills in the place. Also tells the opener where the mount is that it must not leave. NULL if
 * nobody may open it there. */
static FscLane *
get_lane_at (FscLanes *lanes, FscJob *job, FscLaneKey *key)
{
  gboolean has_path = key->provider->scope == FSC_SCOPE_MOUNT;
  const FscMount *mount = has_path ? find_mount (lanes, job->item.uri) : NULL;
  FscLane *lane;

  if (mount != NULL && mount->is_view)
    return NULL;
  key->mount_id = mount != NULL ? mount->id : 0;
  job->item.mount_length = mount != NULL && !fsc_hop_is_free (job) ? (unsigned) mount->length : 0;
  lane = g_hash_table_lookup (lanes->lanes, key);
  if (lane == NULL)
    {
      lane = fsc_lane_new (lanes, key);
      g_hash_table_insert (lanes->lanes, lane->key, lane);
      lanes->counters.lanes++;
    }
  lane->is_local = mount != NULL && mount->is_local; /* IDs are used again */
  return lane;
}

/* NULL if nobody may open it. */
static FscLane *
get_lane (FscLanes *lanes, FscJob *job)
{
  const FscProvider *provider = fsc_providers_find (lanes->config->providers, job->item.uri);
  FscBytes host = { 0 };
  char name[FSC_URI_MAX + 1];
  FscLaneKey key = { .provider = provider, .credential = job->credential };

  if (provider == NULL)
    return NULL;
  if (provider->scope == FSC_SCOPE_HOST)
    {
      host = fsc_uri_get_host (job->item.uri);
      memcpy (name, host.data, host.length);
      name[host.length] = '\0';
      key.host = name;
    }
  return get_lane_at (lanes, job, &key);
}

/* Answers */

static void
finish (FscLanes *lanes, FscJob *job, FscOutcome *outcome)
{
  fsc_hop_end (job);
  lanes->funcs.done (job, outcome, lanes->data);
}

void
fsc_lanes_fail (FscLanes *lanes, FscJob *job, FscCode code, int error, const char *format, ...)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *why = NULL;
  g_autofree char *text = NULL;
  FscOutcome outcome = { .code = code, .error = error };
  va_list arguments;

  va_start (arguments, format);
  why = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  text = g_strdup_printf ("cannot %s %s: %s", job->is_put ? "put" : "open",
                          fsc_uri_abbreviate (fsc_hop_get_original (job), name), why);
  fsc_text_clean (text); /* mounts may have any name */
  outcome.text = text;
  finish (lanes, job, &outcome);
}

static void
enqueue (FscLanes *lanes, FscLane *lane, FscJob *job)
{
  if (lane == NULL || lane->queue.length >= lanes->config->lane_queue)
    fsc_lane_enqueue (&lanes->refused, job);
  else
    fsc_lane_push (lane, job);
}

static gboolean
has_same_schemes (const FscProvider *a, const FscProvider *b)
{
  return a != NULL && g_str_equal (a->schemes[0], b->schemes[0]);
}

/* The way of a job goes on elsewhere. */
static void
go_on (FscLanes *lanes, FscLane *from, FscJob *job, const FscOutcome *outcome)
{
  FscHop *hop;
  FscLane *to;

  lanes->counters.hops++;
  fsc_hop_take (job, outcome);
  hop = fsc_hop_get (job);
  if (!has_same_schemes (fsc_providers_find (lanes->config->providers, job->item.uri),
                         from->key->provider))
    {
      fsc_lanes_fail (lanes, job, FSC_CODE_OPENER_FAILED, EIO,
                      "the opener answered that another program has to open it");
      return;
    }
  to = get_lane (lanes, job);
  if (to == from && job->item.resume.length > 0)
    {
      fsc_mounts_forget (lanes->mounts); /* an automatic mount, say, of which nobody knew */
      to = get_lane (lanes, job);
      hop->is_free |= to == from && hop->is_stuck;
    }
  if (hop->is_free)
    job->item.mount_length = 0;
  enqueue (lanes, to, job);
}

/* The file is not what it was: what was made of it is made again, or it is found why not. */
static void
make_again (FscLanes *lanes, FscJob *job)
{
  fsc_hop_end (job);
  enqueue (lanes, get_lane (lanes, job), job);
}

void
fsc_lanes_take_outcome (FscLanes *lanes, FscLane *lane, FscJob *job, FscOutcome *outcome)
{
  g_autofree char *text = NULL;

  if (outcome->code == FSC_CODE_LEADS_ELSEWHERE)
    {
      go_on (lanes, lane, job, outcome);
      return;
    }
  if (fsc_hop_is_to_file (job) && !job->is_watch && outcome->code != FSC_CODE_UNCHANGED)
    {
      g_clear_pointer (&outcome->handle, fsc_handle_unref); /* it was not asked for */
      make_again (lanes, job);
      return;
    }
  if (outcome->code != FSC_CODE_OK && outcome->code != FSC_CODE_UNCHANGED)
    text = fsc_hop_reword (job, outcome->text);
  if (text != NULL)
    outcome->text = text;
  if (!outcome->has_ttl)
    outcome->ttl_ms = lane->key->provider->ttl_ms;
  finish (lanes, job, outcome);
}

/* As long as it runs it may add more. */
void
fsc_lanes_take_strays (FscLanes *lanes, guint32 id, guint32 credential)
{
  FscChanges *changes = fsc_credentials_get (lanes->credentials, credential)->changes;

  if (fsc_spawner_is_running (lanes->spawner, id))
    g_hash_table_insert (lanes->strays, GUINT_TO_POINTER (id), GUINT_TO_POINTER (credential));
  else if (changes != NULL)
    fsc_watches_end_strays (fsc_changes_get_watches (changes));
}

void
fsc_lanes_opener_exited (guint32 id, int status, gpointer data)
{
  FscLanes *lanes = data;
  const FscLaneKey *key = g_hash_table_lookup (lanes->stuck, GUINT_TO_POINTER (id));
  gpointer credential;
  FscLane *lane;

  if (g_hash_table_steal_extended (lanes->strays, GUINT_TO_POINTER (id), NULL, &credential))
    fsc_lanes_take_strays (lanes, id, GPOINTER_TO_UINT (credential));
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
    fsc_lane_unstick (lane);
  g_hash_table_remove (lanes->stuck, GUINT_TO_POINTER (id));
  fsc_release_opener_exited (lanes, id);
}

/* Starting */

static void
check_quickly (FscLanes *lanes)
{
  gboolean is_few = lanes->quick.length <= QUICK_CHECKS_MAX;
  FscJob *job;

  while ((job = fsc_lane_dequeue (&lanes->quick)) != NULL)
    {
      FscOutcome unchanged = { .code = FSC_CODE_UNCHANGED };

      job->begun = g_get_monotonic_time ();
      if (is_few && fsc_check_quickly (&job->item))
        {
          finish (lanes, job, &unchanged);
          continue;
        }
      job->begun = 0;
      enqueue (lanes, get_lane (lanes, job), job);
    }
}

void
fsc_lanes_start (FscLanes *lanes, FscJob *job)
{
  const FscProvider *provider = fsc_providers_find (lanes->config->providers, job->item.uri);

  if (provider != NULL && provider->is_of_file && (job->is_watch || job->item.validator.length > 0))
    fsc_hop_to_file (job);
  if (job->credential == FSC_CREDENTIAL_OWN && !job->is_watch && fsc_check_is_possible (&job->item))
    fsc_lane_enqueue (&lanes->quick, job);
  else
    enqueue (lanes, get_lane (lanes, job), job);
}

void
fsc_lanes_withdraw (FscLanes *lanes, FscJob *job)
{
  lanes->may_have_unwanted |= job->queue == NULL; /* an opener has it */
  if (job->queue == NULL)
    return;
  fsc_lane_leave_queue (job);
  fsc_lane_enqueue (&lanes->withdrawn, job);
}

/* Somebody else may have come to wait for it. */
static void
end_withdrawn (FscLanes *lanes)
{
  FscJob *job;

  while ((job = fsc_lane_dequeue (&lanes->withdrawn)) != NULL)
    if (fsc_job_is_wanted (job))
      enqueue (lanes, get_lane (lanes, job), job);
    else
      fsc_lanes_fail (lanes, job, FSC_CODE_CANCELLED, ECANCELED, "nobody waits for it any more");
}

static void
refuse_job (FscLanes *lanes, FscJob *job)
{
  FscLane *lane = get_lane (lanes, job);
  g_autofree char *place = lane != NULL ? fsc_lane_describe (lane) : NULL;

  if (lane != NULL)
    fsc_lanes_fail (lanes, job, FSC_CODE_LIMIT, EAGAIN,
                    "%u requests wait for %s already, all that [lanes] queue=%u allows",
                    lanes->config->lane_queue, place, lanes->config->lane_queue);
  else if (fsc_providers_find (lanes->config->providers, job->item.uri) == NULL)
    {
      g_autofree char *why = fsc_providers_explain (lanes->config->providers, job->item.uri);

      fsc_lanes_fail (lanes, job, FSC_CODE_UNKNOWN_SCHEME, EPROTONOSUPPORT, "%s", why);
    }
  else
    fsc_lanes_fail (lanes, job, FSC_CODE_SYSTEM, ELOOP,
                    "it lies on a view of the cache (%s), which would ask for it again",
                    find_mount (lanes, job->item.uri)->path);
}

static void
end_unwanted (FscLanes *lanes)
{
  g_autoptr (GPtrArray) all = list_lanes (lanes);

  lanes->may_have_unwanted = FALSE;
  for (guint i = 0; i < all->len; i++)
    if (((FscLane *) all->pdata[i])->key->provider->ends_unwanted)
      fsc_lane_end_unwanted (all->pdata[i]);
}

gboolean
fsc_lanes_flush (FscLanes *lanes)
{
  FscJob *job;

  if (lanes->quick.length == 0 && lanes->refused.length == 0 && lanes->withdrawn.length == 0
      && lanes->dirty->len == 0 && !lanes->may_have_unwanted)
    return FALSE;
  if (lanes->may_have_unwanted)
    end_unwanted (lanes);
  end_withdrawn (lanes);
  check_quickly (lanes);
  while ((job = fsc_lane_dequeue (&lanes->refused)) != NULL)
    refuse_job (lanes, job);

  for (guint i = 0; i < lanes->dirty->len; i++) /* flushing may mark more */
    {
      FscLane *lane = lanes->dirty->pdata[i];

      lane->is_dirty = FALSE;
      fsc_lane_flush (lane);
      if (lane->openers->len == 0)
        remove_if_unused (lanes, lane, g_get_monotonic_time ());
    }
  g_ptr_array_set_size (lanes->dirty, 0);
  return TRUE;
}

/* Life */

static gboolean
dispatch_timer (GSource *source, GSourceFunc callback, gpointer data)
{
  return callback (data);
}

static void
free_lane (gpointer lane)
{
  fsc_lane_free (lane);
}

static void
free_key (gpointer key)
{
  fsc_lane_key_free (key);
}

FscLanes *
fsc_lanes_new (FscLoop *loop, FscSpawner *spawner, FscMounts *mounts,
               const FscCredentials *credentials, const FscConfig *config, const char *opener_dir,
               const FscLanesFuncs *funcs, gpointer data)
{
  static GSourceFuncs timer_funcs = { .dispatch = dispatch_timer };
  FscLanes *lanes = g_new0 (FscLanes, 1);

  lanes->loop = loop;
  lanes->spawner = spawner;
  lanes->mounts = mounts;
  lanes->config = config;
  lanes->opener_dir = opener_dir;
  lanes->credentials = credentials;
  lanes->funcs = *funcs;
  lanes->data = data;
  lanes->lanes = g_hash_table_new_full (lane_key_hash, lane_key_equal, NULL, free_lane);
  lanes->dirty = g_ptr_array_new ();
  lanes->strays = g_hash_table_new (NULL, NULL);
  lanes->stuck = g_hash_table_new_full (NULL, NULL, NULL, free_key);
  g_queue_init (&lanes->quick);
  g_queue_init (&lanes->refused);
  g_queue_init (&lanes->withdrawn);
  g_queue_init (&lanes->releases);

  lanes->timer = g_source_new (&timer_funcs, sizeof (GSource));
  g_source_set_callback (lanes->timer, timer_due, lanes, NULL);
  g_source_attach (lanes->timer, NULL);
  return lanes;
}

void
fsc_lanes_set_group (FscLanes *lanes, FscLoopGroup *group)
{
  lanes->group = group;
}

void
fsc_lanes_set_config (FscLanes *lanes, const FscConfig *config)
{
  lanes->config = config;
}

void
fsc_lanes_free (FscLanes *lanes)
{
  g_autoptr (GPtrArray) all = NULL;
  FscJob *job;

  lanes->is_stopping = TRUE;
  fsc_release_stop (lanes);
  end_withdrawn (lanes);
  while ((job = fsc_lane_dequeue (&lanes->quick)) != NULL)
    enqueue (lanes, get_lane (lanes, job), job);
  while ((job = fsc_lane_dequeue (&lanes->refused)) != NULL)
    refuse_job (lanes, job);
  all = list_lanes (lanes);
  for (guint i = 0; i < all->len; i++)
    fsc_lane_stop (all->pdata[i]);
  g_source_destroy (lanes->timer);
  g_source_unref (lanes->timer);
  g_hash_table_unref (lanes->lanes);
  g_hash_table_unref (lanes->strays);
  g_hash_table_unref (lanes->stuck);
  g_ptr_array_unref (lanes->dirty);
  g_free (lanes);
}

const FscLaneCounters *
fsc_lanes_get_counters (FscLanes *lanes)
{
  GHashTableIter iter;
  gpointer lane;

  lanes->counters.queued = 0;
  g_hash_table_iter_init (&iter, lanes->lanes);
  while (g_hash_table_iter_next (&iter, NULL, &lane))
    lanes->counters.queued += ((FscLane *) lane)->queue.length;
  return &lanes->counters;
}
