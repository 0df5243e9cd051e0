/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Jobs for the provider, and who waits for them. Nothing is started here, and nobody answered. Part
 * of the cache, and used by nobody else.
 */
#pragma once

#include "fscache/cache.h"

/* Who asks. One that has to wait is copied to the heap, and is in its job's queue. */
struct FscWaiter
{
  GList link;
  FscJob *job;   /* NULL: it waits for a connection */
  GQueue *queue; /* one of the job's, or the pool's */
  FscAnswerFunc func;
  gpointer data;
  gpointer lessee;
  gint64 since;
  guint32 max_age_ms;
  guint index;
  guint8 sharing;
  guint8 revalidate;
  guint8 is_nonblocking; /* of a connection */
  guint8 wants_progress;
  guint8 wants_reopened; /* independent: it is reopened here, as the client cannot */
  guint8 wants_digest;   /* `digest`, and no other content */
  guint8 digest[FSC_DIGEST_SIZE];
};

/* The item's strings are copied, but for its validator, which is not wanted. */
FscJob *fsc_job_new (const FscItem *item, FscBytes uri, guint32 credential, gint64 since);
void fsc_job_free (FscJob *job); /* nobody may wait for it */

/* Makes it the check of a handle; with NULL, an open. */
void fsc_job_set_validator (FscJob *job, const FscHandle *handle);

/* Whether an outcome says something about the resource, not only about who should have looked. */
gboolean fsc_outcome_is_verdict (const FscOutcome *outcome);

/* Copies who asks, and has it wait in a job's queue. */
FscWaiter *fsc_waiter_new (FscJob *job, GQueue *queue, const FscWaiter *who);
