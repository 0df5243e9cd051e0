/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The replies of one client; see outbox.h.
 */
#include "fscache/outbox.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fscache/connection.h"
#include "fscache/request.h"
#include "protocol/channel.h"
#include "protocol/uri.h"

#define STARVED_MS 5

/* What holders may have of a client's share at a time: should they be stuck, the rest is for what
 * others send. It is not less, so that those that are stuck are found out at once, and not one
 * after the other. */
#define HANDED_MAX (FSC_FDS_MAX - 32)

/* What waits for a holder does not keep the client from asking, up to so many packets. */
#define PARCELS_MAX 64

typedef struct
{
  FscResult result;
  FscHandle *handle; /* or NULL */
  FscLabel *label;   /* or NULL: of a held handle, in case that cannot be handed over */
  char *text;        /* or NULL: of the result */
} Reply;

/* What goes in one packet: a finished one, or replies to one request that come from one place. */
typedef struct
{
  GList link; /* in the queue; not while a holder is sending it */
  FscOutbox *outbox;
  guint8 *packet; /* or NULL */
  int packet_fd;  /* that goes with the packet; or -1 */
  gboolean owns_packet_fd;
  size_t length; /* of the packet that is, or will be */
  guint32 serial;
  gboolean is_held_back;
  gboolean is_event; /* an EVENT: one reply, never divided, nor another added */
  FscEvent event;
  FscOutboxEvents *events; /* whose it is, while it waits */
  FscHolder *holder;       /* who sends it; NULL: from here */
  size_t n_charged;        /* bytes, of what the user's replies may have */
  guint n, n_fds, capacity;
  Reply replies[];
} Parcel;

static void
charge (Parcel *parcel, size_t n)
{
  parcel->n_charged += n;
  fsc_stake_charge (parcel->outbox->stake, FSC_SHARE_UNREAD, n);
}

static void
uncharge (Parcel *parcel, size_t n)
{
  parcel->n_charged -= n;
  fsc_stake_discharge (parcel->outbox->stake, FSC_SHARE_UNREAD, n);
}

static Parcel *
parcel_new (FscOutbox *outbox, guint32 serial, FscHolder *holder, guint capacity)
{
  size_t size = sizeof (Parcel) + capacity * sizeof (Reply);
  Parcel *parcel = g_malloc (size);

  *parcel = (Parcel){
    .link.data = parcel,
    .outbox = outbox,
    .packet_fd = -1,
    .length = sizeof (FscWireHeader) + sizeof (FscWireOpened),
    .serial = serial,
    .holder = holder,
    .capacity = capacity,
  };
  charge (parcel, size);
  return parcel;
}

static void
reply_clear (Reply *reply)
{
  if (reply->handle != NULL)
    fsc_handle_unref (reply->handle);
  if (reply->label != NULL)
    fsc_label_unref (reply->label);
  g_free (reply->text);
}

/* It does not wait any more. */
static void
parcel_leave_events (Parcel *parcel)
{
  if (parcel->events != NULL)
    parcel->events->waiting = NULL;
  parcel->events = NULL;
}

static void
parcel_free (Parcel *parcel)
{
  parcel_leave_events (parcel);
  uncharge (parcel, parcel->n_charged);
  for (guint i = 0; i < parcel->n; i++)
    reply_clear (&parcel->replies[i]);
  if (parcel->owns_packet_fd)
    close (parcel->packet_fd);
  g_free (parcel->packet);
  g_free (parcel);
}

/* The replies of a parcel are moved elsewhere. */
static void
parcel_free_moved (Parcel *parcel)
{
  parcel->n = 0;
  parcel_free (parcel);
}

static gboolean
parcel_has_room (const Parcel *parcel, const Reply *reply)
{
  size_t most = FSC_PACKET_MAX;

  if (parcel->holder != NULL) /* it travels in another packet */
    most -= 1024 + FSC_FDS_MAX * sizeof (guint64);
  return parcel->n < parcel->capacity
         && parcel->length + fsc_codec_result_size (&reply->result) <= most;
}

/* Takes what is in the reply. */
static void
parcel_add (Parcel *parcel, const Reply *reply)
{
  parcel->n_fds += reply->result.has_fd;
  parcel->length += fsc_codec_result_size (&reply->result);
  charge (parcel, reply->result.text.length);
  parcel->replies[parcel->n++] = *reply;
}

static void
mark_dirty (FscOutbox *outbox)
{
  FscStake *stake = outbox->stake;

  if (outbox->is_dirty)
    return;
  outbox->is_dirty = TRUE;
  if (stake->dirty.length == 0)
    g_queue_push_tail_link (&outbox->server->dirty, &stake->dirty_link);
  g_queue_push_tail_link (&stake->dirty, &outbox->dirty_link);
}

static void
clear_dirty (FscOutbox *outbox)
{
  FscStake *stake = outbox->stake;

  if (!outbox->is_dirty)
    return;
  outbox->is_dirty = FALSE;
  g_queue_unlink (&stake->dirty, &outbox->dirty_link);
  if (stake->dirty.length == 0)
    g_queue_unlink (&outbox->server->dirty, &stake->dirty_link);
}

static void
push_parcel (FscOutbox *outbox, Parcel *parcel)
{
  g_queue_push_tail_link (&outbox->parcels, &parcel->link);
  mark_dirty (outbox);
}

void
fsc_outbox_push_packet (FscOutbox *outbox, const void *packet, size_t length, int fd,
                        gboolean takes_fd)
{
  Parcel *parcel = parcel_new (outbox, 0, NULL, 0);

  parcel->packet = g_memdup2 (packet, length);
  charge (parcel, length);
  parcel->length = length;
  parcel->packet_fd = fd;
  parcel->owns_packet_fd = takes_fd;
  push_parcel (outbox, parcel);
}

/* Takes the text. */
static void
set_text (Reply *reply, char *text)
{
  reply->text = text;
  if (text != NULL)
    reply->result.text = (FscBytes){ text, MIN (strlen (text), FSC_TEXT_MAX) };
}

/* Puts a reply into a parcel that waits, or into a new one with room for `n` such. The answers to
 * one request may go in any order. Takes what is in the reply. */
static void
add_reply (FscOutbox *outbox, guint32 serial, const Reply *reply, guint n)
{
  FscHolder *holder = reply->handle != NULL ? reply->handle->holder : NULL;
  Parcel *parcel = NULL;

  for (GList *l = outbox->parcels.tail; l != NULL; l = l->prev)
    {
      Parcel *last = l->data;

      if (last->packet != NULL || last->is_event || last->serial != serial)
        break;
      if (last->holder == holder && parcel_has_room (last, reply))
        {
          parcel = last;
          break;
        }
    }
  if (parcel == NULL)
    {
      parcel = parcel_new (outbox, serial, holder, CLAMP (n, 1, FSC_ITEMS_MAX));
      push_parcel (outbox, parcel);
    }
  parcel_add (parcel, reply);
}

static void
fill_reply (const FscOutbox *outbox, Reply *reply, guint index, const FscAnswer *answer)
{
  FscHandle *handle = answer->handle;

  *reply = (Reply){
    .result = {
      .index = index,
      .code = answer->code,
      .error = answer->error,
      .id = answer->lease,
      .age_ms = answer->age_ms,
      .mount_id = outbox->names_generations ? answer->lifetime_ms : 0,
      .has_fd = handle != NULL,
      .sharing = answer->sharing,
      .source = answer->source,
      .coherence = answer->coherence,
    },
  };
  if (outbox->names_generations && answer->name != 0)
    reply->result.id = answer->name;
  if (handle == NULL)
    set_text (reply, g_strdup (answer->text));
  else
    {
      reply->handle = fsc_handle_ref (handle);
      reply->result.kind = handle->kind;
    }
  if (handle != NULL && handle->content != NULL && outbox->tells_content)
    {
      reply->result.content = handle->content->info;
      reply->result.validator
          = (FscBytes){ (const char *) handle->validator, handle->validator_length };
    }
  if (handle != NULL && handle->holder != NULL)
    reply->label = fsc_label_ref (answer->label);
}

void
fsc_outbox_push_answer (FscOutbox *outbox, guint32 serial, guint index, const FscAnswer *answer,
                        guint n_expected)
{
  Reply reply;

  fill_reply (outbox, &reply, index, answer);
  add_reply (outbox, serial, &reply, n_expected);
}

/* Events */

/* Gives the parcel of an EVENT what it is to say. */
static void
set_event (Parcel *parcel, const FscAnswer *answer)
{
  Reply reply;

  if (parcel->n > 0)
    {
      uncharge (parcel, parcel->replies[0].result.text.length);
      reply_clear (&parcel->replies[0]);
    }
  parcel->n = parcel->n_fds = 0;
  parcel->length = sizeof (FscWireHeader) + sizeof (FscWireEvent);
  parcel->holder = answer->handle != NULL ? answer->handle->holder : NULL;
  fill_reply (parcel->outbox, &reply, 0, answer);
  parcel_add (parcel, &reply);
}

gboolean
fsc_outbox_push_event (FscOutbox *outbox, FscOutboxEvents *events, guint32 serial, FscReason reason,
                       const FscAnswer *answer)
{
  Parcel *parcel = events->waiting;
  gboolean is_new = parcel == NULL;

  if (is_new)
    {
      parcel = parcel_new (outbox, serial, NULL, 1);
      parcel->is_event = TRUE;
      parcel->event.reason = reason;
      parcel->events = events;
      events->waiting = parcel;
    }
  else
    {
      parcel->event.n_coalesced++;
      if (parcel->event.reason != FSC_REASON_INITIAL)
        parcel->event.reason = reason;
    }
  set_event (parcel, answer);
  if (is_new)
    push_parcel (outbox, parcel);
  return !is_new;
}

void
fsc_outbox_end_events (FscOutbox *outbox, FscOutboxEvents *events)
{
  Parcel *parcel = events->waiting;

  if (parcel == NULL)
    return;
  g_queue_unlink (parcel->is_held_back ? &outbox->held_back : &outbox->parcels, &parcel->link);
  parcel_free (parcel);
}

/* What the EVENT was to give cannot be given. */
static void
fail_event (Parcel *parcel, FscCode code, int error, const char *text)
{
  set_event (parcel, &(FscAnswer){ .code = code, .error = error, .text = text });
}

/* Descriptors in flight */

static void
set_unread (FscOutbox *outbox, guint n)
{
  FscStake *stake = outbox->stake;

  if (outbox->n_unread == 0 && n > 0)
    g_queue_push_tail_link (&stake->unread, &outbox->unread_link);
  else if (outbox->n_unread > 0 && n == 0)
    g_queue_unlink (&stake->unread, &outbox->unread_link);
  fsc_stake_discharge (stake, FSC_SHARE_DESCRIPTORS, outbox->n_unread);
  fsc_stake_charge (stake, FSC_SHARE_DESCRIPTORS, n);
  outbox->n_unread = n;
}

/* Asks the kernel whether the client has read all. While it wakes us because the last packet was
 * read, it still keeps one byte of it on the account (sock_wfree()); no packet is that small, and
 * there is no second wake-up. What holders are sending may be on its way at any moment. */
static void
reclaim (FscOutbox *outbox)
{
  int queued = 0;

  if ((outbox->n_unread > outbox->n_handed || outbox->held_back.length > 0)
      && ioctl (outbox->socket, SIOCOUTQ, &queued) == 0 && queued <= 1)
    {
      set_unread (outbox, outbox->n_handed);
      outbox->n_readings++;
    }
}

/* What was held back is tried again, in its turn. */
static void
release_held_back (FscOutbox *outbox)
{
  GList *link;

  while ((link = g_queue_pop_head_link (&outbox->held_back)) != NULL)
    {
      ((Parcel *) link->data)->is_held_back = FALSE;
      g_queue_push_tail_link (&outbox->parcels, link);
    }
}

/* A client that has not read the last EVENT of a WATCH need not be sent another one: it would only
 * have more to read, and the descriptors would be in flight meanwhile. */
static gboolean
hold_back (FscOutbox *outbox, Parcel *parcel)
{
  int queued = 0;

  if (parcel->events == NULL || parcel->events->sent_at != outbox->n_readings)
    return FALSE;
  if (ioctl (outbox->socket, SIOCOUTQ, &queued) == 0 && queued <= 1)
    {
      set_unread (outbox, outbox->n_handed);
      outbox->n_readings++;
      return FALSE;
    }
  parcel->is_held_back = TRUE;
  g_queue_unlink (&outbox->parcels, &parcel->link);
  g_queue_push_tail_link (&outbox->held_back, &parcel->link);
  return TRUE;
}

static gboolean
retry_starved (gpointer data)
{
  FscServer *server = data;

  server->starved = 0;
  for (GList *l = server->connections.head, *next; l != NULL; l = next)
    {
      next = l->next;
      fsc_connection_flush (l->data, TRUE);
    }
  return G_SOURCE_REMOVE;
}

/* No event tells when others have read theirs. */
static void
starve (FscOutbox *outbox)
{
  outbox->is_starved = TRUE;
  if (outbox->server->starved == 0)
    outbox->server->starved
        = fsc_loop_add_timeout (outbox->server->loop, STARVED_MS, retry_starved, outbox->server);
}

/* Of what the others leave of what the user may have, a client may have half, so that however many
 * do not read, there is something left for the next; and one descriptor is sent even if there is
 * not. So whoever has read all that it was sent never waits for anybody else. */
static guint
find_room (const FscOutbox *outbox)
{
  const FscStake *stake = outbox->stake;
  guint64 limit = fsc_stake_get_limit (stake, FSC_SHARE_DESCRIPTORS);
  guint64 others = stake->used[FSC_SHARE_DESCRIPTORS] - outbox->n_unread;
  guint64 share = others < limit ? (limit - others) / 2 : 0;

  share = CLAMP (share, 1, FSC_FDS_MAX);
  return share > outbox->n_unread ? (guint) share - outbox->n_unread : 0;
}

/* How many of what was sent to the user are unread. A user with many clients who do not read is not
 * to make the service ask for each of them again and again. */
static void
reclaim_all (FscStake *stake, gint64 time)
{
  if (stake->shares->is_divided && stake->reclaimed_at == time)
    return;
  stake->reclaimed_at = time;
  for (GList *l = stake->unread.head, *next; l != NULL; l = next)
    {
      next = l->next;
      reclaim (l->data);
    }
}

/* How many more descriptors may be sent, if `wanted` are to be. If none, this is asked again when
 * the client reads. */
static guint
get_room (FscOutbox *outbox, guint wanted)
{
  if (find_room (outbox) < wanted)
    reclaim (outbox);
  if (find_room (outbox) < MIN (wanted, FSC_FDS_MAX - outbox->n_unread))
    reclaim_all (outbox->stake, fsc_loop_get_time (outbox->server->loop));
  return find_room (outbox);
}

/* Sending. Each returns 0 or a negative errno. */

static int
encode (const Parcel *parcel, guint8 *buffer, size_t size)
{
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, size);
  if (parcel->is_event)
    fsc_codec_put_event (&writer, &parcel->event);
  else
    fsc_codec_put_opened (&writer, parcel->n);
  for (guint i = 0; i < parcel->n; i++)
    {
      const Reply *reply = &parcel->replies[i];

      fsc_codec_put_result (&writer, &reply->result);
    }
  return fsc_writer_finish (&writer, parcel->is_event ? FSC_OP_EVENT : FSC_OP_OPENED,
                            parcel->serial, parcel->n_fds);
}

static int
send_here (FscOutbox *outbox, Parcel *parcel, const guint8 *packet, size_t length)
{
  int fds[FSC_FDS_MAX];
  guint n_fds = 0;
  int r;

  for (guint i = 0; i < parcel->n; i++)
    if (parcel->replies[i].handle != NULL)
      fds[n_fds++] = parcel->replies[i].handle->fd;
  r = fsc_channel_send (outbox->socket, packet, length, fds, n_fds, MSG_DONTWAIT);
  if (r < 0)
    return r;
  g_queue_unlink (&outbox->parcels, &parcel->link);
  if (parcel->events != NULL)
    parcel->events->sent_at = outbox->n_readings;
  parcel_free (parcel);
  if (n_fds > 0)
    set_unread (outbox, outbox->n_unread + n_fds);
  return 0;
}

static void
maybe_free (FscOutbox *outbox)
{
  if (outbox->socket < 0 && outbox->n_handing == 0)
    outbox->free_owner (outbox->owner);
}

/* What a reply was to lend the client does not get. */
static void
end_lease (FscOutbox *outbox, const Reply *lost)
{
  if (lost->result.sharing == FSC_SHARING_EXCLUSIVE && lost->result.id != 0)
    fsc_connection_end_lease (outbox->owner, lost->result.id, 0);
}

/* The holder could not send: the client is told instead. Takes the parcel. */
static void
fail_parcel (Parcel *parcel, int error)
{
  if (parcel->is_event)
    {
      fail_event (parcel, FSC_CODE_OPENER_FAILED, error,
                  "the process that holds it has ended, or does not answer");
      push_parcel (parcel->outbox, parcel);
      return;
    }
  for (guint i = 0; i < parcel->n; i++)
    {
      const Reply *lost = &parcel->replies[i];
      Reply reply = {
        .result = { .index = lost->result.index, .code = FSC_CODE_OPENER_FAILED, .error = error },
      };
      char name[FSC_NAME_IN_TEXT_MAX];

      fsc_uri_abbreviate (fsc_label_get_uri (lost->label), name);
      set_text (&reply, g_strdup_printf ("cannot hand over %s: the process that holds it %s", name,
                                         error == EIO      ? "has ended or does not answer"
                                         : error == EMFILE ? "has no descriptor free"
                                                           : g_strerror (error)));
      end_lease (parcel->outbox, lost);
      add_reply (parcel->outbox, parcel->serial, &reply, parcel->n - i);
    }
  parcel_free (parcel);
}

static gboolean
lies_on (const Reply *reply, const GArray *mounts)
{
  for (guint i = 0; reply->handle != NULL && !reply->handle->is_put && i < mounts->len; i++)
    if (g_array_index (mounts, FscMount, i).id == reply->handle->mount_id)
      return TRUE;
  return FALSE;
}

static void
fail_released (FscOutbox *outbox, guint32 serial, Reply *lost, guint n_expected, const char *name)
{
  Reply reply = {
    .result = { .index = lost->result.index, .code = FSC_CODE_CANCELLED, .error = ECANCELED },
  };

  set_text (&reply, g_strdup_printf ("the service lets go of the mount %s (drop --mount)", name));
  add_reply (outbox, serial, &reply, n_expected);
  end_lease (outbox, lost);
  reply_clear (lost);
}

/* Takes the parcel. */
static guint
release_parcel (Parcel *parcel, const GArray *mounts, GPtrArray *holders, const char *name)
{
  FscOutbox *outbox = parcel->outbox;
  Parcel *rest;
  guint n = parcel->n;

  if (parcel->is_event)
    {
      if (parcel->holder != NULL)
        g_ptr_array_add (holders, parcel->holder);
      fail_event (parcel, FSC_CODE_CANCELLED, ECANCELED,
                  "the service lets go of the mount (drop --mount)");
      push_parcel (outbox, parcel);
      return 1;
    }
  rest = parcel_new (outbox, parcel->serial, parcel->holder, MAX (parcel->n, 1));
  for (guint i = 0; i < n; i++)
    {
      Reply *reply = &parcel->replies[i];

      if (lies_on (reply, mounts) && parcel->holder != NULL)
        g_ptr_array_add (holders, parcel->holder);
      if (lies_on (reply, mounts))
        fail_released (outbox, parcel->serial, reply, n - i, name);
      else
        parcel_add (rest, reply);
    }
  n -= rest->n;
  if (rest->n > 0)
    push_parcel (outbox, rest);
  else
    parcel_free (rest);
  parcel_free_moved (parcel);
  return n;
}

guint
fsc_outbox_release (FscOutbox *outbox, const GArray *mounts, GPtrArray *holders, const char *name)
{
  guint n = 0;

  release_held_back (outbox);
  for (guint left = outbox->parcels.length; left > 0; left--)
    {
      Parcel *parcel = g_queue_pop_head_link (&outbox->parcels)->data;
      gboolean is_concerned = FALSE;

      for (guint i = 0; i < parcel->n; i++)
        is_concerned |= lies_on (&parcel->replies[i], mounts);
      if (is_concerned)
        n += release_parcel (parcel, mounts, holders, name);
      else
        push_parcel (outbox, parcel);
    }
  return n;
}

static void
block (FscOutbox *outbox)
{
  if (outbox->blocked_since == 0)
    outbox->blocked_since = g_get_monotonic_time ();
}

/* Whatever has become of it, what waits is tried again, unless there is an event to come: the
 * client may have read all while this was not known to have been sent, and then that was the last
 * edge. */
static void
handed (int error, gpointer data)
{
  Parcel *parcel = data;
  FscOutbox *outbox = parcel->outbox;

  outbox->n_handing--;
  outbox->n_handed -= parcel->n;
  if (outbox->socket < 0)
    {
      parcel_free (parcel);
      maybe_free (outbox);
      return;
    }

  if (error != 0)
    set_unread (outbox, outbox->n_unread - MIN (outbox->n_unread, parcel->n));
  if (error == 0)
    parcel_free (parcel);
  else if (error == EAGAIN || error == ETOOMANYREFS)
    g_queue_push_head_link (&outbox->parcels, &parcel->link);
  else
    fail_parcel (parcel, error);

  reclaim (outbox);
  if (error == ETOOMANYREFS)
    starve (outbox);
  if (error == ETOOMANYREFS || (error == EAGAIN && outbox->n_unread > outbox->n_handed))
    block (outbox);
  else
    outbox->blocked_since = 0;
  mark_dirty (outbox);
}

static int
send_held (FscOutbox *outbox, Parcel *parcel, const guint8 *packet, size_t length)
{
  guint64 ids[FSC_FDS_MAX];
  FscHolder *holder = parcel->holder;

  for (guint i = 0; i < parcel->n; i++)
    ids[i] = parcel->replies[i].handle->id;
  g_queue_unlink (&outbox->parcels, &parcel->link);
  if (parcel->events != NULL)
    parcel->events->sent_at = outbox->n_readings;
  parcel_leave_events (parcel);
  outbox->n_handing++;
  outbox->n_handed += parcel->n;
  set_unread (outbox, outbox->n_unread + parcel->n);
  if (holder->is_alive)
    holder->hand (holder, ids, parcel->n, (FscBytes){ (const char *) packet, length },
                  outbox->socket, handed, parcel);
  else
    handed (EIO, parcel);
  return 0;
}

static int
send_packet (FscOutbox *outbox, Parcel *parcel)
{
  guint n_fds = parcel->packet_fd >= 0;
  int r;

  if (n_fds > get_room (outbox, n_fds))
    return -EAGAIN;
  r = fsc_channel_send (outbox->socket, parcel->packet, parcel->length, &parcel->packet_fd, n_fds,
                        MSG_DONTWAIT);
  if (r == 0)
    {
      if (n_fds > 0)
        set_unread (outbox, outbox->n_unread + n_fds);
      outbox->has_sent_table |= n_fds > 0;
      g_queue_unlink (&outbox->parcels, &parcel->link);
      parcel_free (parcel);
    }
  return r;
}

/* Divides a parcel so that it has at most so many descriptors. Returns what is to go now, or NULL
 * if nothing is left of it. */
static Parcel *
divide (FscOutbox *outbox, Parcel *whole, guint n_fds)
{
  Parcel *parts[2];

  for (guint i = 0; i < 2; i++)
    parts[i] = parcel_new (outbox, whole->serial, whole->holder, whole->n);
  for (guint i = 0; i < whole->n; i++)
    {
      gboolean has_fd = whole->replies[i].result.has_fd;

      parcel_add (parts[parts[0]->n_fds + has_fd > n_fds], &whole->replies[i]);
    }
  g_queue_insert_after_link (&outbox->parcels, &whole->link, &parts[1]->link);
  g_queue_unlink (&outbox->parcels, &whole->link);
  parcel_free_moved (whole);
  if (parts[0]->n == 0)
    {
      parcel_free (parts[0]);
      return NULL;
    }
  g_queue_insert_before_link (&outbox->parcels, &parts[1]->link, &parts[0]->link);
  return parts[0];
}

/* -EBUSY: there is no place for it among what holders are sending. */
static int
send_parcel (FscOutbox *outbox, Parcel *parcel)
{
  guint8 buffer[FSC_PACKET_MAX];
  guint room = 0;
  int length;

  if (parcel->packet != NULL)
    return send_packet (outbox, parcel);

  if (parcel->holder != NULL && outbox->n_handed >= HANDED_MAX)
    return -EBUSY;
  if (parcel->n_fds > 0)
    room = get_room (outbox, parcel->n_fds);
  if (parcel->holder != NULL)
    room = MIN (room, HANDED_MAX - outbox->n_handed);
  if (room < parcel->n_fds && parcel->is_event)
    return -EAGAIN;
  if (room < parcel->n_fds)
    parcel = divide (outbox, parcel, room);
  if (parcel == NULL)
    return -EAGAIN;
  length = encode (parcel, buffer, sizeof buffer);
  g_assert (length > 0);
  return parcel->holder != NULL ? send_held (outbox, parcel, buffer, (size_t) length)
                                : send_here (outbox, parcel, buffer, (size_t) length);
}

/* Sends from the head on, and leaves out what waits for holders. Returns why it has ended, in the
 * words of send_parcel(). */
static int
send_parcels (FscOutbox *outbox, gboolean *has_sent)
{
  guint n_left_out = 0;

  while (outbox->parcels.length > n_left_out)
    {
      Parcel *parcel = g_queue_peek_nth (&outbox->parcels, n_left_out);
      int r;

      if (hold_back (outbox, parcel))
        continue;
      r = send_parcel (outbox, parcel);
      *has_sent |= r == 0;
      if (r == -EBUSY)
        n_left_out++;
      else if (r < 0)
        return r;
    }
  return n_left_out < PARCELS_MAX && outbox->held_back.length == 0 ? 0 : -EAGAIN;
}

/* Else one descriptor of each client would count for unread until there is no room left. */
void
fsc_outbox_client_speaks (FscOutbox *outbox)
{
  if (!outbox->has_sent_table)
    return;
  outbox->has_sent_table = FALSE;
  reclaim (outbox);
}

gboolean
fsc_outbox_flush (FscOutbox *outbox, gboolean force)
{
  gboolean has_sent = FALSE;
  int r;

  clear_dirty (outbox);
  if (outbox->blocked_since != 0 && !force)
    return TRUE;
  release_held_back (outbox);
  r = send_parcels (outbox, &has_sent);
  outbox->is_starved = FALSE;
  if (r == -ETOOMANYREFS)
    starve (outbox);
  if (r == 0 || has_sent)
    outbox->blocked_since = 0;
  if (r < 0 && r != -EAGAIN && r != -ETOOMANYREFS)
    return FALSE;
  if (r < 0)
    block (outbox);
  return TRUE;
}

gboolean
fsc_outbox_is_starved (const FscOutbox *outbox)
{
  return outbox->is_starved;
}

gboolean
fsc_outbox_is_blocked (const FscOutbox *outbox)
{
  return outbox->blocked_since != 0;
}

gint64
fsc_outbox_blocked_since (const FscOutbox *outbox)
{
  return outbox->blocked_since;
}

/* Life */

void
fsc_outbox_init (FscOutbox *outbox, FscServer *server, gpointer owner, FscStake *stake, int socket,
                 GDestroyNotify free_owner)
{
  *outbox = (FscOutbox){
    .server = server, .owner = owner, .stake = stake, .socket = socket, .free_owner = free_owner
  };
  outbox->unread_link.data = outbox;
  outbox->dirty_link.data = owner;
  g_queue_init (&outbox->parcels);
  g_queue_init (&outbox->held_back);
  outbox->n_readings = 1;
}

void
fsc_outbox_close (FscOutbox *outbox)
{
  GList *link;

  while ((link = g_queue_pop_head_link (&outbox->parcels)) != NULL)
    parcel_free (link->data);
  while ((link = g_queue_pop_head_link (&outbox->held_back)) != NULL)
    parcel_free (link->data);
  set_unread (outbox, 0);
  outbox->blocked_since = 0;
  outbox->socket = -1;
  clear_dirty (outbox);
  maybe_free (outbox);
}
