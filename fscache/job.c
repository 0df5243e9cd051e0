/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Jobs, and who waits for them; see job.h.
 */
#include "fscache/job.h"

#include "fscache/entry.h"

FscJob *
fsc_job_new (const FscItem *item, FscBytes uri, guint32 credential, gint64 since)
{
  FscJob *job = g_new0 (FscJob, 1);

  job->item = *item;
  job->item.uri.data = g_memdup2 (uri.data, uri.length);
  job->item.uri.length = uri.length;
  job->item.validator = job->item.resume = (FscBytes){ 0 };
  job->item.options
      &= ~(guint32) (FSC_OPTION_DIGEST | FSC_OPTION_PROGRESS); /* who waits has them */
  job->credential = credential;
  job->since = since;
  g_queue_init (&job->waiters);
  g_queue_init (&job->late);
  return job;
}

void
fsc_job_free (FscJob *job)
{
  g_assert (job->waiters.length == 0 && job->late.length == 0);
  g_free ((char *) job->item.uri.data);
  g_free ((char *) job->item.validator.data);
  g_free (job);
}

void
fsc_job_set_validator (FscJob *job, const FscHandle *handle)
{
  g_free ((char *) job->item.validator.data);
  job->item.validator = (FscBytes){ 0 };
  if (handle == NULL)
    return;
  job->item.validator.data = g_memdup2 (handle->validator, handle->validator_length);
  job->item.validator.length = handle->validator_length;
}

gboolean
fsc_job_is_wanted (const FscJob *job)
{
  return job->is_put || job->is_for_pool || job->waiters.length > 0 || job->late.length > 0
         || (job->is_watch && job->entry != NULL);
}

gboolean
fsc_outcome_is_verdict (const FscOutcome *outcome)
{
  return outcome->code != FSC_CODE_TIMED_OUT && outcome->code != FSC_CODE_OPENER_FAILED
         && outcome->code != FSC_CODE_LIMIT && outcome->code != FSC_CODE_CANCELLED
         && outcome->code != FSC_CODE_UNAVAILABLE;
}

FscWaiter *
fsc_waiter_new (FscJob *job, GQueue *queue, const FscWaiter *who)
{
  FscWaiter *waiter = g_memdup2 (who, sizeof *who);

  waiter->link.data = waiter;
  waiter->job = job;
  waiter->queue = queue;
  g_queue_push_tail_link (queue, &waiter->link);
  return waiter;
}

void
fsc_cache_cancel (FscCache *cache, FscWaiter *waiter)
{
  FscJob *job = waiter->job;

  g_queue_unlink (waiter->queue, &waiter->link);
  g_free (waiter);
  if (job != NULL && !fsc_job_is_wanted (job) && cache->provider.withdraw != NULL)
    cache->provider.withdraw (job, cache->provider_data);
}
