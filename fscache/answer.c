/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is answered; see answer.h.
 */
#include "fscache/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "protocol/uri.h"

static gboolean
has_demanded_content (const FscHandle *handle, const FscWaiter *waiter)
{
  return !waiter->wants_digest
         || (handle->content != NULL
             && memcmp (handle->content->info.digest, waiter->digest, sizeof waiter->digest) == 0);
}

/* Whether the entry's handle will do without a check. If it is not what was demanded, the source
 * may have that by now. */
static gboolean
is_fresh (const FscEntry *entry, const FscWaiter *waiter, gint64 time)
{
  gint64 allowed = waiter->max_age_ms;

  if (entry->handle == NULL || waiter->revalidate)
    return FALSE;
  if (fsc_entry_is_watched (entry))
    return TRUE;
  if (!has_demanded_content (entry->handle, waiter))
    return FALSE;
  if (entry->coherence == FSC_COHERENCE_TTL)
    allowed = MAX (allowed, entry->ttl_ms);
  return allowed > 0 && time - entry->checked_at <= allowed * 1000;
}

/* Whoever is given the handle may keep it for as long as it is known here what happens to it, or as
 * it would be given without a check. What has to be checked cannot be kept. */
static void
name_generation (FscCache *cache, const FscEntry *entry, gint64 time, FscAnswer *answer)
{
  FscGenerations *generations = fsc_entry_get_generations (cache, entry);
  gint64 left_ms = entry->ttl_ms - (time - entry->checked_at) / 1000;

  if (generations == NULL
      || (!fsc_entry_is_watched (entry) && (entry->coherence != FSC_COHERENCE_TTL || left_ms <= 0)))
    return;
  answer->name = fsc_generations_name (generations, entry->slot);
  if (answer->name != 0 && !fsc_entry_is_watched (entry))
    answer->lifetime_ms = (guint32) left_ms;
}

void
fsc_answer_fault (const FscWaiter *waiter, FscCode code, int error, FscBytes name,
                  const char *phrase)
{
  char shown[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *text = g_strconcat (fsc_uri_abbreviate (name, shown), " ", phrase, NULL);
  FscAnswer answer = { .code = code, .error = error, .text = text };

  waiter->func (&answer, waiter->data, waiter->index);
}

/* Answers one request that demands other content than this. */
static void
deliver_difference (const FscHandle *handle, const FscWaiter *waiter, FscBytes name)
{
  char phrase[sizeof "has other content: its SHA-256 is " + 2 * FSC_DIGEST_SIZE];
  int length;

  if (handle->content == NULL)
    {
      fsc_answer_fault (waiter, FSC_CODE_BAD_REQUEST, EOPNOTSUPP, name,
                        "has no digest that is known: its content may change");
      return;
    }
  length = g_snprintf (phrase, sizeof phrase, "has other content: its SHA-256 is ");
  for (guint i = 0; i < FSC_DIGEST_SIZE; i++)
    length += g_snprintf (phrase + length, sizeof phrase - (gsize) length, "%02x",
                          handle->content->info.digest[i]);
  fsc_answer_fault (waiter, FSC_CODE_OTHER_CONTENT, EBADMSG, name, phrase);
}

/* Answers one request with what open() said when it was last tried. */
static void
deliver_nothing (FscCache *cache, FscEntry *entry, const FscWaiter *waiter)
{
  int error = entry->handle->error;
  char path[FSC_URI_MAX + 1], name[FSC_NAME_IN_TEXT_MAX];
  FscBytes uri = fsc_label_get_uri (entry->label);
  int length = fsc_uri_to_path (uri, path, sizeof path);
  g_autofree char *text = NULL;
  FscAnswer answer = { .code = FSC_CODE_SYSTEM, .error = error };

  if (length > 0)
    uri = (FscBytes){ path, (size_t) length };
  answer.text = text
      = g_strdup_printf ("cannot open %s: %s", fsc_uri_abbreviate (uri, name), g_strerror (error));
  entry->used_at = fsc_cache_now (cache);
  entry->is_visited = TRUE;
  entry->hits++;
  cache->counters.hits++;
  waiter->func (&answer, waiter->data, waiter->index);
}

/* Reopens content for one request, or answers that it cannot be. */
static FscHandle *
reopen (const FscHandle *handle, const FscWaiter *waiter, FscBytes name)
{
  FscHandle *own = NULL;

  if (handle->content == NULL || handle->fd < 0)
    fsc_answer_fault (waiter, FSC_CODE_NOT_REOPENABLE, EOPNOTSUPP, name,
                      "is in a file that only its client can reopen: ask for it shared");
  else if ((own = fsc_handle_reopen (handle)) == NULL)
    fsc_answer_fault (waiter, FSC_CODE_SYSTEM, errno, name, "cannot be reopened by the service");
  return own;
}

/* Answers one request with a handle of the entry's, if its sharing mode allows it. `source` says
 * how it was come by. The entry may be dropped from within. */
static void
deliver (FscCache *cache, FscEntry *entry, FscHandle *handle, FscSource source,
         const FscWaiter *waiter)
{
  FscBytes name = fsc_label_get_uri (entry->label);
  gint64 time = fsc_cache_now (cache);
  g_autoptr (FscHandle) own = NULL;
  FscAnswer answer = {
    .handle = handle,
    .label = entry->label,
    .sharing = waiter->sharing,
    .asked = waiter->sharing,
    .source = source,
    .coherence = fsc_entry_get_coherence (entry),
    .age_ms = fsc_entry_is_watched (entry) ? 0 : fsc_age_in_ms (entry->checked_at, time),
  };

  if (fsc_handle_is_nothing (handle))
    {
      deliver_nothing (cache, entry, waiter);
      return;
    }
  if (waiter->sharing < handle->most_sharing)
    {
      fsc_answer_fault (waiter, FSC_CODE_NOT_REOPENABLE, EOPNOTSUPP, name,
                        handle->most_sharing == FSC_SHARING_EXCLUSIVE
                            ? "can only be lent: ask for it exclusive"
                            : "cannot be reopened: ask for it shared or exclusive");
      return;
    }
  if (waiter->sharing == FSC_SHARING_SHARED && handle->kind == FSC_KIND_DIRECTORY
      && (entry->key.flags & O_PATH) == 0 && !handle->is_put)
    {
      fsc_answer_fault (waiter, FSC_CODE_BAD_REQUEST, EISDIR, name,
                        "is a directory, which cannot be shared: readers would share its position");
      return;
    }
  if (!has_demanded_content (handle, waiter))
    {
      deliver_difference (handle, waiter, name);
      return;
    }

  if (waiter->wants_reopened)
    {
      own = reopen (handle, waiter, name);
      if (own == NULL)
        return;
      answer.handle = own;
    }
  /* The client reopens what it is sent; until then it is a duplicate, and the answer says so. */
  else if (waiter->sharing == FSC_SHARING_INDEPENDENT)
    answer.sharing = FSC_SHARING_SHARED;
  if (waiter->sharing != FSC_SHARING_EXCLUSIVE && source != FSC_SOURCE_PASSED)
    name_generation (cache, entry, time, &answer);
  else if (source != FSC_SOURCE_PASSED)
    answer.lease = fsc_entry_lend (cache, entry, waiter->lessee);
  entry->used_at = time;
  if (source == FSC_SOURCE_CACHE)
    {
      entry->is_visited = TRUE;
      entry->hits++;
      cache->counters.hits++;
    }
  else
    cache->counters.misses++;
  cache->counters.passed += source == FSC_SOURCE_PASSED;
  waiter->func (&answer, waiter->data, waiter->index);
}

gboolean
fsc_answer_at_once (FscCache *cache, FscEntry *entry, const FscWaiter *waiter, gint64 time)
{
  if (!is_fresh (entry, waiter, time))
    return FALSE;
  deliver (cache, entry, entry->handle, FSC_SOURCE_CACHE, waiter);
  return TRUE;
}

void
fsc_answer_waiters (FscCache *cache, FscJob *job, FscEntry *entry, FscSource source)
{
  g_autoptr (FscHandle) handle = fsc_handle_ref (entry->handle);
  GList *link;

  while ((link = g_queue_pop_head_link (&job->waiters)) != NULL)
    {
      g_autofree FscWaiter *waiter = link->data;

      deliver (cache, entry, handle, source, waiter);
    }
}

void
fsc_answer_late (FscCache *cache, FscJob *job, FscEntry *entry)
{
  GList *link;

  while ((link = g_queue_pop_head_link (&job->late)) != NULL)
    {
      FscWaiter *waiter = link->data;

      if (fsc_answer_at_once (cache, entry, waiter, fsc_cache_now (cache)))
        {
          g_free (waiter);
          continue;
        }
      if (waiter->revalidate)
        job->item.options |= FSC_OPTION_REVALIDATE;
      waiter->queue = &job->waiters;
      g_queue_push_tail_link (&job->waiters, &waiter->link);
    }
}

void
fsc_answer_failure (GQueue *waiters, const FscOutcome *outcome)
{
  GList *link;

  while ((link = g_queue_pop_head_link (waiters)) != NULL)
    {
      g_autofree FscWaiter *waiter = link->data;
      FscAnswer answer = { .code = outcome->code, .error = outcome->error, .text = outcome->text };

      waiter->func (&answer, waiter->data, waiter->index);
    }
}

void
fsc_answer_passed (FscCache *cache, FscJob *job, FscOutcome *outcome)
{
  g_autoptr (FscHandle) handle = g_steal_pointer (&outcome->handle);
  gboolean is_to_reopen = !outcome->is_final && (job->item.options & FSC_OPTION_REOPENS) != 0;
  GList *link = g_queue_pop_head_link (&job->waiters);

  cache->counters.open_errors
      += outcome->code != FSC_CODE_OK && outcome->code != FSC_CODE_CANCELLED;
  if (link != NULL)
    {
      g_autofree FscWaiter *waiter = link->data;
      g_autoptr (FscLabel) label = handle != NULL ? fsc_label_new (job->item.uri) : NULL;
      FscAnswer answer = {
        .code = outcome->code,
        .error = outcome->error,
        .text = outcome->text,
        .handle = handle,
        .label = label,
        .sharing = waiter->sharing == FSC_SHARING_EXCLUSIVE ? FSC_SHARING_EXCLUSIVE
                   : is_to_reopen                           ? FSC_SHARING_SHARED
                                                            : FSC_SHARING_INDEPENDENT,
        .asked = waiter->sharing,
        .source = handle != NULL ? FSC_SOURCE_PASSED : FSC_SOURCE_NONE,
        .coherence = FSC_COHERENCE_UNCACHED,
      };

      if (handle != NULL && !has_demanded_content (handle, waiter))
        deliver_difference (handle, waiter, job->item.uri);
      else
        {
          cache->counters.misses += handle != NULL;
          cache->counters.passed += handle != NULL;
          waiter->func (&answer, waiter->data, waiter->index);
        }
    }
  fsc_job_free (job);
}
