/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What clients watch; see follow.h.
 */
#include "fscache/follow.h"

#include <errno.h>
#include <string.h>

#include "fscache/request.h"
#include "protocol/uri.h"

#define WATCHES_MAX 1024 /* of one client */

/* Of the handles that the service may keep, such a part may be followed, which cannot go. */
#define FOLLOWED_SHARE 2

/* So many ask at once: the lanes are there for others, too. */
#define ASKS_MAX 64

/* Who is not told asks after this time, or after its time-to-live. */
#define LOOK_TIME G_USEC_PER_SEC

/* Who was to be watched so many times in a row, and is not, waits for so long. */
#define UNSETTLED_MAX 3
#define UNSETTLED_PAUSE (100 * 1000)

/* A mount that was released is left alone for so long: it is to be unmounted. */
#define RELEASED_PAUSE (2 * G_USEC_PER_SEC)

/* Those who are to ask within this time ask together. */
#define TOGETHER (50 * 1000)

/* What was answered, as far as the next answer is to be compared with it. */
typedef struct
{
  gboolean is_known; /* or there was none yet */
  FscCode code;
  int error;
  guint32 mount_id;  /* of the handle */
  guint32 way_mount; /* where the path's text lies */
  gint64 way_since;  /* IDs are used again */
  guint8 validator_length;
  guint8 validator[FSC_VALIDATOR_MAX];
  guint64 size; /* of content; else 0, as the digest is */
  guint8 digest[FSC_DIGEST_SIZE];
  FscHandle *handle; /* owned, so that no other is taken for it; NULL if the above tells it */
} State;

/* A resource, as it is watched by one or more. */
typedef struct
{
  FscInterest interest; /* first, so that it is found by it */
  FscFollows *owner;
  guint32 hash;
  guint32 flags;
  FscSharing sharing;
  guint32 credential;
  char *uri;
  GQueue follows;     /* of Follow */
  GList pending_link; /* while is_pending */
  GList looking_link; /* while look_at is not 0 */
  gint64 look_at;     /* when to ask although nobody has told anything */
  FscWaiter *waiter;  /* of the question, if it has to wait */
  FscTurn turn;       /* what has happened since it was asked last */
  FscTurn turn_asked; /* because of what it was asked last */
  guint n_unsettled;
  gboolean is_pending;
  gboolean is_asking;
  gboolean is_settling; /* the answer waits for the watch, to be told with it */
  gboolean has_settled; /* and does so only once */
  gboolean is_released; /* not to be asked before look_at */
  State state;
} Followed;

/* One client that watches it. */
typedef struct
{
  GList link;
  Followed *followed;
  FscConnection *connection;
  guint32 serial;
  gboolean is_initial; /* it has not been told anything yet */
  FscOutboxEvents events;
} Follow;

struct FscFollows
{
  FscLoop *loop;
  FscCache *cache;
  FscMounts *mounts;
  void (*catch_up) (gpointer data);
  gpointer data;
  GHashTable *table; /* of Followed */
  GQueue pending;    /* of Followed: to be asked about, or freed if nobody watches any more */
  GQueue looking;    /* of Followed */
  guint n_asking;
  guint timer; /* source id */
  gint64 timer_at;
  FscFollowCounters counters;
};

/* The table */

static guint
followed_hash (gconstpointer data)
{
  return ((const Followed *) data)->hash;
}

static gboolean
followed_equal (gconstpointer a, gconstpointer b)
{
  const Followed *x = a, *y = b;

  return x->hash == y->hash && x->flags == y->flags && x->sharing == y->sharing
         && x->credential == y->credential && strcmp (x->uri, y->uri) == 0;
}

/* When to ask */

static void
push_pending (Followed *followed)
{
  if (followed->is_pending)
    return;
  followed->is_pending = TRUE;
  g_queue_push_tail_link (&followed->owner->pending, &followed->pending_link);
}

static void
stop_looking (Followed *followed)
{
  if (followed->look_at != 0)
    g_queue_unlink (&followed->owner->looking, &followed->looking_link);
  followed->look_at = 0;
}

static gboolean look (gpointer data);

static void
arm (FscFollows *follows, gint64 at)
{
  gint64 left = at - fsc_loop_get_time (follows->loop);

  g_clear_handle_id (&follows->timer, g_source_remove);
  follows->timer_at = at;
  follows->timer
      = fsc_loop_add_timeout (follows->loop, (guint) (MAX (left, 0) / 1000) + 1, look, follows);
}

static void
look_after (Followed *followed, gint64 time)
{
  FscFollows *follows = followed->owner;

  stop_looking (followed);
  followed->look_at = fsc_loop_get_time (follows->loop) + time;
  g_queue_push_tail_link (&follows->looking, &followed->looking_link);
  if (follows->timer == 0 || followed->look_at < follows->timer_at)
    arm (follows, followed->look_at);
}

static gboolean
look (gpointer data)
{
  FscFollows *follows = data;
  gint64 time = fsc_loop_get_time (follows->loop), next = G_MAXINT64;

  follows->timer = 0;
  for (GList *l = follows->looking.head, *after; l != NULL; l = after)
    {
      Followed *followed = l->data;

      after = l->next;
      if (followed->look_at <= time + TOGETHER)
        {
          stop_looking (followed);
          push_pending (followed);
        }
      else
        next = MIN (next, followed->look_at);
    }
  if (next != G_MAXINT64)
    arm (follows, next);
  return G_SOURCE_REMOVE;
}

/* Life */

static void
followed_free (Followed *followed)
{
  FscFollows *follows = followed->owner;

  if (followed->waiter != NULL)
    fsc_cache_cancel (follows->cache, followed->waiter);
  g_clear_pointer (&followed->state.handle, fsc_handle_unref);
  follows->n_asking -= followed->is_asking;
  stop_looking (followed);
  g_hash_table_remove (follows->table, followed);
  fsc_cache_unfollow (follows->cache, &followed->interest);
  follows->counters.followed--;
  g_free (followed->uri);
  g_free (followed);
}

static void
follow_free (Follow *follow)
{
  Followed *followed = follow->followed;

  fsc_outbox_end_events (&follow->connection->outbox, &follow->events);
  g_queue_unlink (&followed->follows, &follow->link);
  followed->owner->counters.watches--;
  if (followed->follows.length == 0)
    push_pending (followed); /* to be freed when nobody is at it */
  g_free (follow);
}

static void
follow_end (Follow *follow)
{
  g_hash_table_remove (follow->connection->watches, GUINT_TO_POINTER (follow->serial));
  follow_free (follow);
}

/* Answers */

/* What is answered so was a mistake to ask for; everything else may be another time. */
static gboolean
is_refusal (FscCode code)
{
  return code == FSC_CODE_BAD_URI || code == FSC_CODE_BAD_REQUEST || code == FSC_CODE_UNKNOWN_SCHEME
         || code == FSC_CODE_NOT_SERVED || code == FSC_CODE_NOT_REOPENABLE;
}

static void
tell (Followed *followed, FscReason reason, const FscAnswer *answer)
{
  for (GList *l = followed->follows.head, *next; l != NULL; l = next)
    {
      Follow *follow = l->data;

      next = l->next;
      if (follow->is_initial && is_refusal (answer->code))
        {
          fsc_connection_send_error (follow->connection, follow->serial, answer->code,
                                     answer->error, "%s", answer->text != NULL ? answer->text : "");
          follow_end (follow);
          continue;
        }
      if (!follow->is_initial && reason == FSC_REASON_INITIAL)
        continue;
      if (answer->handle != NULL)
        fsc_connection_note_gift (follow->connection, answer);
      fsc_outbox_push_event (&follow->connection->outbox, &follow->events, follow->serial,
                             follow->is_initial ? FSC_REASON_INITIAL : reason, answer);
      follow->is_initial = FALSE;
      followed->owner->counters.events++;
    }
}

static State
get_state (const Followed *followed, const FscAnswer *answer)
{
  State state = { .is_known = TRUE, .code = answer->code, .error = answer->error };
  const FscHandle *handle = answer->handle;
  char path[FSC_URI_MAX + 1];
  const FscMount *way = NULL;

  if (fsc_uri_get_path ((FscBytes){ followed->uri, strlen (followed->uri) }, path, sizeof path) > 0)
    way = fsc_mounts_find (followed->owner->mounts, path);
  if (way != NULL)
    {
      state.way_mount = way->id;
      state.way_since = way->since;
    }
  if (handle != NULL)
    {
      state.mount_id = handle->is_put ? 0 : handle->mount_id; /* says nothing */
      state.validator_length = handle->validator_length;
      memcpy (state.validator, handle->validator, state.validator_length);
      if (handle->content != NULL)
        {
          state.size = handle->content->info.size;
          memcpy (state.digest, handle->content->info.digest, sizeof state.digest);
        }
      else if (handle->validator_length == 0)
        state.handle = fsc_handle_ref (answer->handle);
    }
  return state;
}

/* Takes what get_state() has given. */
static void
set_state (Followed *followed, const State *state)
{
  g_clear_pointer (&followed->state.handle, fsc_handle_unref);
  followed->state = *state;
}

/* Whether two answers are the same, as far as anybody can know. */
static gboolean
is_same (const State *a, const State *b)
{
  return a->code == b->code && a->error == b->error && a->validator_length == b->validator_length
         && memcmp (a->validator, b->validator, a->validator_length) == 0 && a->size == b->size
         && memcmp (a->digest, b->digest, sizeof a->digest) == 0 && a->handle == b->handle;
}

static gboolean
is_permission (int error)
{
  return error == EACCES || error == EPERM;
}

static gboolean
is_absence (int error)
{
  return error == ENOENT || error == ENOTDIR;
}

/* Whether what is there now, or is not, is so because of a mount: where the path lies, or where the
 * file did. (A symlink may lead from the one to the other.) */
static gboolean
has_remounted (FscMounts *mounts, const State *old, const State *new)
{
  return old->way_mount != new->way_mount || old->way_since != new->way_since
         || (old->mount_id != 0 && !fsc_mounts_contain (mounts, old->mount_id));
}

/* Why an answer is another one than the last; FSC_REASON_INITIAL if it is not. */
static FscReason
find_reason (FscMounts *mounts, const State *old, const State *new, FscTurn turn)
{
  gboolean was_open = old->code == FSC_CODE_OK, is_open = new->code == FSC_CODE_OK;

  if (!old->is_known)
    return FSC_REASON_INITIAL;
  if (turn == FSC_TURN_DROPPED && was_open && is_open)
    return FSC_REASON_DROPPED;
  if (turn == FSC_TURN_EVICTED && was_open && is_open)
    return FSC_REASON_EVICTED;
  if (is_same (old, new))
    return FSC_REASON_INITIAL;

  if (was_open && is_open)
    return old->mount_id != new->mount_id ? FSC_REASON_UNMOUNTED : FSC_REASON_REPLACED;
  if (is_open && is_permission (old->error))
    return FSC_REASON_PERMISSION;
  if (is_open && is_absence (old->error))
    return has_remounted (mounts, old, new) ? FSC_REASON_UNMOUNTED : FSC_REASON_CREATED;
  if (is_open)
    return FSC_REASON_REPLACED;
  if (new->code == FSC_CODE_SYSTEM && is_permission (new->error))
    return FSC_REASON_PERMISSION;
  if ((new->code == FSC_CODE_SYSTEM || new->code == FSC_CODE_NOT_CACHED) && is_absence (new->error))
    return has_remounted (mounts, old, new) ? FSC_REASON_UNMOUNTED : FSC_REASON_DELETED;
  return FSC_REASON_FAILED;
}

static gboolean
has_initial (const Followed *followed)
{
  for (GList *l = followed->follows.tail; l != NULL; l = l->prev)
    if (((Follow *) l->data)->is_initial)
      return TRUE;
  return FALSE;
}

static void
take_answer (Followed *followed, const FscAnswer *answer)
{
  State state;
  FscReason reason;

  /* That there was no room to look says nothing. */
  if (answer->code == FSC_CODE_LIMIT && followed->state.is_known && !has_initial (followed))
    return;
  state = get_state (followed, answer);
  reason = find_reason (followed->owner->mounts, &followed->state, &state, followed->turn_asked);
  set_state (followed, &state);
  if (reason != FSC_REASON_INITIAL || has_initial (followed))
    tell (followed, reason, answer);
}

static void
answered (const FscAnswer *answer, gpointer data, guint index)
{
  Followed *followed = data;
  FscFollows *follows = followed->owner;
  guint32 ttl_ms;
  FscStanding standing = fsc_cache_get_standing (follows->cache, &followed->interest, &ttl_ms);

  followed->waiter = NULL;
  followed->is_asking = FALSE;
  follows->n_asking--;

  /* Whoever is told of a handle is to be told its generation, too, which only what is watched has;
   * and that is a matter of one more round to the opener. */
  if (standing == FSC_STANDING_SETTLING && !followed->has_settled)
    {
      followed->is_settling = TRUE;
      followed->turn = MAX (followed->turn, followed->turn_asked);
      return;
    }
  followed->has_settled = FALSE;
  if (standing == FSC_STANDING_WATCHED)
    followed->n_unsettled = 0;
  take_answer (followed, answer);
  if (followed->turn != FSC_TURN_NONE)
    push_pending (followed);
  else if (standing == FSC_STANDING_UNWATCHED)
    look_after (followed, ttl_ms > 0 ? (gint64) ttl_ms * 1000 : LOOK_TIME);
}

static void
ask (Followed *followed)
{
  FscFollows *follows = followed->owner;
  const FscItem item = {
    .uri = { followed->uri, strlen (followed->uri) },
    .flags = followed->flags,
    .sharing = followed->sharing,
    .options = followed->sharing == FSC_SHARING_INDEPENDENT ? FSC_OPTION_REOPENS : 0,
  };
  FscWaiter *waiter;

  stop_looking (followed);
  followed->turn_asked = followed->turn;
  followed->turn = FSC_TURN_NONE;
  followed->is_released = FALSE;
  followed->is_asking = TRUE;
  follows->n_asking++;
  waiter
      = fsc_cache_open (follows->cache, followed->credential, &item, NULL, answered, followed, 0);
  if (followed->is_asking)
    followed->waiter = waiter;
}

gboolean
fsc_follows_flush (FscFollows *follows)
{
  GList *link;

  if (follows->pending.length == 0 || follows->n_asking >= ASKS_MAX)
    return FALSE;
  follows->catch_up (follows->data);
  while (follows->n_asking < ASKS_MAX && (link = g_queue_pop_head_link (&follows->pending)) != NULL)
    {
      Followed *followed = link->data;

      followed->is_pending = FALSE;
      if (followed->follows.length == 0)
        followed_free (followed);
      else if (!followed->is_asking && !followed->is_settling)
        ask (followed);
    }
  return TRUE;
}

/* Turns */

static void
settled (Followed *followed)
{
  guint32 ttl_ms;

  followed->is_settling = FALSE;
  if (followed->is_asking || followed->is_released)
    return;
  followed->has_settled = TRUE;
  if (fsc_cache_get_standing (followed->owner->cache, &followed->interest, &ttl_ms)
          != FSC_STANDING_WATCHED
      && ++followed->n_unsettled > UNSETTLED_MAX)
    look_after (followed, UNSETTLED_PAUSE);
  else
    push_pending (followed);
}

static void
released (Followed *followed)
{
  const FscAnswer answer = { .code = FSC_CODE_CANCELLED,
                             .error = ECANCELED,
                             .text = "the service lets go of the mount (drop --mount)" };
  const State state = get_state (followed, &answer);

  followed->is_released = TRUE;
  set_state (followed, &state);
  tell (followed, FSC_REASON_DROPPED, &answer);
  look_after (followed, RELEASED_PAUSE);
}

static void
turned (FscInterest *interest, FscTurn turn, gpointer data)
{
  Followed *followed = (Followed *) interest;

  if (turn == FSC_TURN_SETTLED)
    settled (followed);
  else if (turn == FSC_TURN_RELEASED)
    released (followed);
  else if (!followed->is_released)
    {
      followed->turn = MAX (followed->turn, turn);
      if (!followed->is_asking && !followed->is_settling)
        push_pending (followed);
    }
}

/* Requests */

static Followed *
find_followed (FscFollows *follows, guint32 credential, const FscItem *item)
{
  const Followed key = {
    .hash = g_str_hash (item->uri.data) + fsc_cache_get_variant (item) + item->sharing
            + credential * 2654435761u,
    .credential = credential,
    .flags = fsc_cache_get_variant (item),
    .sharing = item->sharing,
    .uri = (char *) item->uri.data,
  };
  Followed *followed = g_hash_table_lookup (follows->table, &key);

  if (followed != NULL)
    return followed;
  followed = g_new0 (Followed, 1);
  *followed = key;
  followed->owner = follows;
  followed->uri = g_strdup (key.uri);
  followed->pending_link.data = followed->looking_link.data = followed;
  g_queue_init (&followed->follows);
  g_hash_table_add (follows->table, followed);
  follows->counters.followed++;
  fsc_cache_follow (follows->cache, credential, item, &followed->interest);
  return followed;
}

/* Whether a client may watch; tells it why not. */
static gboolean
is_allowed (FscFollows *follows, FscConnection *connection, guint32 serial, const FscItem *item)
{
  guint64 max_handles = fsc_cache_get_limits (follows->cache)->max_handles;
  const char *fault = fsc_cache_find_following_fault (item);
  char name[FSC_NAME_IN_TEXT_MAX];

  fsc_uri_abbreviate (item->uri, name);
  if (fault != NULL)
    fsc_connection_send_error (connection, serial, FSC_CODE_BAD_REQUEST, EINVAL, "%s %s", name,
                               fault);
  else if (g_hash_table_contains (connection->watches, GUINT_TO_POINTER (serial)))
    fsc_connection_send_error (connection, serial, FSC_CODE_BAD_REQUEST, EEXIST,
                               "cannot watch %s: the serial %u names a watch already", name,
                               serial);
  else if (!connection->serves_paths && fsc_uri_names_path (item->uri))
    fsc_connection_send_error (
        connection, serial, FSC_CODE_NOT_SERVED, EXDEV,
        "cannot watch %s: this client sees another file tree, or is in other "
        "groups, than the service",
        name);
  else if (g_hash_table_size (connection->watches) >= WATCHES_MAX)
    fsc_connection_send_error (connection, serial, FSC_CODE_LIMIT, ENOSPC,
                               "cannot watch %s: this client watches %u resources, and no client "
                               "may watch more than %u",
                               name, g_hash_table_size (connection->watches), WATCHES_MAX);
  else if (follows->counters.followed >= max_handles / FOLLOWED_SHARE)
    fsc_connection_send_error (
        connection, serial, FSC_CODE_LIMIT, ENOSPC,
        "cannot watch %s: %" G_GUINT64_FORMAT
        " resources are watched, which is 1/%u of max-handles (%" G_GUINT64_FORMAT ")",
        name, follows->counters.followed, FOLLOWED_SHARE, max_handles);
  else
    return TRUE;
  return FALSE;
}

gboolean
fsc_follows_take_watch (FscFollows *follows, FscConnection *connection, guint32 serial,
                        FscReader *reader)
{
  char canonical[FSC_URI_MAX + 1], name[FSC_NAME_IN_TEXT_MAX];
  const char *fault;
  FscItem item;
  Follow *follow;
  int length;

  if (!fsc_codec_get_item (reader, &item) || fsc_reader_finish (reader) < 0
      || !fsc_connection_may_ask (connection, &item)
      || (item.options & (FSC_OPTION_DIGEST | FSC_OPTION_PROGRESS)) != 0)
    return FALSE;
  if (connection->watches == NULL)
    connection->watches = g_hash_table_new (NULL, NULL);
  length = fsc_uri_canonicalize (item.uri, canonical, sizeof canonical, &fault);
  if (length < 0)
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_BAD_URI, -length, "%s %s",
                                 fsc_uri_abbreviate (item.uri, name), fault);
      return TRUE;
    }
  item.uri = (FscBytes){ canonical, (size_t) length };
  if (fsc_connection_is_refused (connection, serial, "watch", item.uri)
      || !is_allowed (follows, connection, serial, &item))
    return TRUE;

  follow = g_new0 (Follow, 1);
  follow->link.data = follow;
  follow->followed = find_followed (follows, connection->credential->number, &item);
  follow->connection = connection;
  follow->serial = serial;
  follow->is_initial = TRUE;
  g_queue_push_tail_link (&follow->followed->follows, &follow->link);
  g_hash_table_insert (connection->watches, GUINT_TO_POINTER (serial), follow);
  follows->counters.watches++;
  push_pending (follow->followed);
  return TRUE;
}

gboolean
fsc_follows_take_unwatch (FscFollows *follows, FscConnection *connection, guint32 serial,
                          FscReader *reader)
{
  guint32 watch;
  Follow *follow = NULL;

  if (!fsc_codec_get_cancel (reader, &watch) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (connection->watches != NULL)
    follow = g_hash_table_lookup (connection->watches, GUINT_TO_POINTER (watch));
  if (follow != NULL)
    follow_end (follow);
  fsc_connection_send_done (connection, serial, follow != NULL);
  return TRUE;
}

void
fsc_follows_forget (FscFollows *follows, FscConnection *connection)
{
  GHashTableIter iter;
  gpointer follow;

  if (connection->watches == NULL)
    return;
  g_hash_table_iter_init (&iter, connection->watches);
  while (g_hash_table_iter_next (&iter, NULL, &follow))
    follow_free (follow);
  g_clear_pointer (&connection->watches, g_hash_table_unref);
}

void
fsc_follows_end_refused (FscFollows *follows, GQueue *connections)
{
  for (GList *l = connections->head; l != NULL; l = l->next)
    {
      FscConnection *connection = l->data;
      g_autoptr (GList) watches
          = connection->watches != NULL ? g_hash_table_get_values (connection->watches) : NULL;

      for (GList *w = watches; w != NULL; w = w->next)
        {
          Follow *follow = w->data;
          const char *uri = follow->followed->uri;

          if (fsc_connection_is_refused (connection, follow->serial, "watch",
                                         (FscBytes){ uri, strlen (uri) }))
            follow_end (follow);
        }
    }
}

/* Life of all */

FscFollows *
fsc_follows_new (FscLoop *loop, FscCache *cache, FscMounts *mounts,
                 void (*catch_up) (gpointer data), gpointer data)
{
  FscFollows *follows = g_new0 (FscFollows, 1);

  follows->loop = loop;
  follows->cache = cache;
  follows->mounts = mounts;
  follows->catch_up = catch_up;
  follows->data = data;
  follows->table = g_hash_table_new (followed_hash, followed_equal);
  g_queue_init (&follows->pending);
  g_queue_init (&follows->looking);
  fsc_cache_set_turn_func (cache, turned, follows);
  return follows;
}

void
fsc_follows_free (FscFollows *follows)
{
  GList *link;

  g_assert (follows->counters.watches == 0);
  while ((link = g_queue_pop_head_link (&follows->pending)) != NULL)
    followed_free (link->data);
  g_assert (g_hash_table_size (follows->table) == 0);
  g_clear_handle_id (&follows->timer, g_source_remove);
  g_hash_table_unref (follows->table);
  g_free (follows);
}

const FscFollowCounters *
fsc_follows_get_counters (const FscFollows *follows)
{
  return &follows->counters;
}
