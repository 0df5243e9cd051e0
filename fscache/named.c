/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What clients have put under names; see named.h.
 */
#include "fscache/named.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "fscache/answer.h"
#include "fscache/room.h"
#include "protocol/uri.h"

static FscEntry *
find (FscCache *cache, guint32 credential, FscBytes uri)
{
  FscKey key = fsc_store_make_key (&cache->store, uri, credential, 0, FALSE);

  return fsc_store_find (&cache->store, &key);
}

/* An entry may have a name and nothing put there: somebody follows it. */
static gboolean
has_put (const FscEntry *entry)
{
  return entry != NULL && entry->handle != NULL;
}

/* Time. The array has no order, since there are few, and they end seldom. */

gint64
fsc_cache_end_put (FscCache *cache)
{
  gint64 time = fsc_cache_now (cache);

  cache->named_due = 0;
  for (guint i = cache->named->len; i > 0; i--)
    {
      const FscNamed *named = &g_array_index (cache->named, FscNamed, i - 1);

      if (named->ends_at == 0)
        continue;
      if (named->ends_at <= time)
        fsc_cache_drop (cache, named->entry); /* the last one comes in its place */
      else if (cache->named_due == 0 || named->ends_at < cache->named_due)
        cache->named_due = named->ends_at;
    }
  return cache->named_due;
}

/* The timer may be late. */
static void
end_overdue (FscCache *cache)
{
  if (cache->named_due != 0 && cache->named_due <= fsc_cache_now (cache))
    fsc_cache_end_put (cache);
}

/* Asking */

static void
answer_nothing (FscCache *cache, guint32 credential, FscBytes uri, const FscWaiter *who)
{
  const gint64 *lost = g_hash_table_lookup (cache->named_lost, GUINT_TO_POINTER (credential));
  gint64 since = lost != NULL ? *lost : cache->made_at;
  g_autofree char *phrase = g_strdup_printf (
      "is not there; what was put before %s, %" G_GINT64_FORMAT " s ago, is lost",
      lost != NULL ? "its holder ended" : "the service was started",
      (fsc_cache_now (cache) - since) / G_USEC_PER_SEC);

  fsc_answer_fault (who, FSC_CODE_NOT_CACHED, ENOENT, uri, phrase);
}

/* Flags that ask for no more than what was put. Who wants a path only can do with it. */
#define FLAGS ((guint32) (O_CLOEXEC | O_NOCTTY | O_LARGEFILE | O_NONBLOCK | O_NOFOLLOW | O_PATH))

/* Why an item cannot be asked for in this way, or NULL. */
static const char *
find_fault (const FscItem *item)
{
  if ((item->flags & ~FLAGS) != 0)
    return "is given as it was put: ask for it without flags";
  if ((item->options & FSC_OPTION_TAKE) != 0 && item->sharing == FSC_SHARING_EXCLUSIVE)
    return "cannot be taken and be lent: take it shared";
  return NULL;
}

void
fsc_named_answer (FscCache *cache, guint32 credential, const FscItem *item, const FscWaiter *who)
{
  FscWaiter exact = *who;
  const char *fault = find_fault (item);
  char canonical[FSC_URI_MAX + 1];
  FscEntry *entry;
  FscBytes uri;
  int length;

  if (fault != NULL)
    {
      fsc_answer_fault (who, FSC_CODE_BAD_REQUEST, EINVAL, item->uri, fault);
      return;
    }
  length = fsc_uri_canonicalize (item->uri, canonical, sizeof canonical, &fault);
  if (length < 0)
    {
      fsc_answer_fault (who, FSC_CODE_BAD_URI, -length, item->uri, fault);
      return;
    }
  uri = (FscBytes){ canonical, (size_t) length };
  end_overdue (cache);
  entry = find (cache, credential, uri);
  if (has_put (entry) && !fsc_handle_is_alive (entry->handle))
    {
      fsc_cache_drop (cache, entry);
      entry = find (cache, credential, uri);
    }
  if (!has_put (entry))
    {
      answer_nothing (cache, credential, uri, who);
      return;
    }
  if (entry->lease != 0)
    {
      fsc_answer_fault (who, FSC_CODE_LIMIT, EBUSY, uri,
                        "is lent, or being taken, by another client");
      return;
    }
  if ((item->flags & O_PATH) != 0 && exact.sharing == FSC_SHARING_INDEPENDENT)
    exact.sharing = FSC_SHARING_SHARED; /* there is nothing to reopen */
  if (exact.sharing == FSC_SHARING_INDEPENDENT && (item->options & FSC_OPTION_REOPENS) == 0)
    {
      fsc_answer_fault (who, FSC_CODE_NOT_REOPENABLE, EOPNOTSUPP, uri,
                        "can be reopened by its client only: ask for it shared or exclusive");
      return;
    }

  /* Until the client says that it has it, it is lent: so it is not lost with a client that has no
   * free descriptor, or dies. */
  if ((item->options & FSC_OPTION_TAKE) != 0 && exact.sharing >= entry->handle->most_sharing)
    exact.sharing = FSC_SHARING_EXCLUSIVE;
  exact.revalidate = FALSE;
  fsc_answer_at_once (cache, entry, &exact, who->since);
}

/* Putting */

static guint64
get_generation (FscCache *cache, const FscEntry *entry)
{
  FscGenerations *generations = fsc_entry_get_generations (cache, entry);

  return generations != NULL ? fsc_generations_name (generations, entry->slot) : 0;
}

static guint
count (const FscCache *cache, guint32 credential)
{
  guint n = 0;

  for (guint i = 0; i < cache->named->len; i++)
    n += g_array_index (cache->named, FscNamed, i).entry->key.credential == credential;
  return n;
}

static char *refuse (FscAnswer *answer, FscCode code, int error, const char *format, ...)
    G_GNUC_PRINTF (4, 5);

static char *
refuse (FscAnswer *answer, FscCode code, int error, const char *format, ...)
{
  va_list arguments;
  char *text;

  va_start (arguments, format);
  text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  *answer = (FscAnswer){ .code = code, .error = error };
  return text;
}

char *
fsc_cache_find_put_fault (FscCache *cache, guint32 credential, const FscPut *put, guint n_more,
                          FscAnswer *answer)
{
  g_autofree char *share = NULL;
  const FscEntry *entry;
  guint n;

  end_overdue (cache);
  entry = find (cache, credential, put->uri);
  if (put->mode == FSC_PUT_NEW && has_put (entry))
    return refuse (answer, FSC_CODE_BAD_REQUEST, EEXIST, "the name is in use");
  if (put->mode == FSC_PUT_EXCHANGE
      && (!has_put (entry) || get_generation (cache, entry) != put->expected))
    return refuse (answer, FSC_CODE_BAD_REQUEST, ESTALE, "%s",
                   has_put (entry) ? "something else was put there meanwhile"
                                   : "nothing is put there any more");
  if (has_put (entry))
    return NULL;
  n = count (cache, credential) + n_more;
  if (n >= cache->max_put)
    return refuse (answer, FSC_CODE_LIMIT, EDQUOT,
                   "this user has %u names in use, all that [handle] max-names=%u allows", n,
                   cache->max_put);
  if (!fsc_cache_make_room (cache, credential, 1, 0))
    share = fsc_cache_explain_share (cache, credential, FSC_SHARE_HANDLES, 1);
  if (share != NULL)
    return refuse (answer, FSC_CODE_LIMIT, EDQUOT, "%s", share);
  if (cache->counters.pinned + 1 >= cache->limits.max_handles
      || !fsc_cache_make_room (cache, credential, 1, 0))
    return refuse (answer, FSC_CODE_LIMIT, ENFILE,
                   "max-handles %" G_GUINT64_FORMAT " is reached by what may not go",
                   cache->limits.max_handles);
  return NULL;
}

guint64
fsc_cache_put (FscCache *cache, guint32 credential, const FscPut *put, FscHandle *handle)
{
  FscKey key = fsc_store_make_key (&cache->store, put->uri, credential, 0, FALSE);
  FscEntry *entry = fsc_store_find (&cache->store, &key);
  FscNamed named = { 0 };

  if (entry == NULL)
    entry = fsc_store_add (&cache->store, &key);
  if (entry->lease != 0)
    fsc_cache_give_back (cache, entry->lease, entry->lessee, FALSE);
  handle->is_put = TRUE;
  entry->opened_at = entry->used_at = entry->checked_at = fsc_cache_now (cache);
  entry->cost_us = 0;
  entry->hits = 0;
  fsc_entry_set_handle (cache, entry, handle);
  fsc_cache_set_pinned (cache, entry, TRUE);

  named.entry = entry;
  named.ends_at = put->ttl_ms > 0 ? entry->opened_at + put->ttl_ms * (gint64) 1000 : 0;
  g_array_append_val (cache->named, named);
  if (named.ends_at != 0 && (cache->named_due == 0 || named.ends_at < cache->named_due))
    cache->named_due = named.ends_at;
  fsc_entry_tell (cache, entry, FSC_TURN_NAME);
  return get_generation (cache, entry);
}

gint64
fsc_cache_get_put_due (const FscCache *cache)
{
  return cache->named_due;
}

void
fsc_cache_set_max_put (FscCache *cache, guint max)
{
  cache->max_put = max;
}
