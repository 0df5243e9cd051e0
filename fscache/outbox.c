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

#include "fscache/connection.h"
#include "protocol/channel.h"
#include "protocol/uri.h"

#define STARVED_MS 5

/* Either a packet or an answer. */
typedef struct
{
  GList link;
  size_t length; /* of the packet; 0: an answer */
  guint32 serial;
  FscResult result;  /* without text */
  FscHandle *handle; /* or NULL */
  char *text;        /* or NULL; with a held handle: its URI, in case its holder fails */
  guint8 *packet;    /* or NULL */
} Reply;

/* Answers that a holder is sending. */
typedef struct
{
  FscOutbox *outbox;
  GPtrArray *replies; /* of Reply */
} Handing;

static void
reply_free (gpointer data)
{
  Reply *reply = data;

  if (reply->handle != NULL)
    fsc_handle_unref (reply->handle);
  g_free (reply->text);
  g_free (reply->packet);
  g_slice_free (Reply, reply);
}

static Reply *
pop_reply (FscOutbox *outbox)
{
  GList *link = g_queue_pop_head_link (&outbox->replies);

  return link != NULL ? link->data : NULL;
}

static void
mark_dirty (FscOutbox *outbox)
{
  if (outbox->is_dirty)
    return;
  outbox->is_dirty = TRUE;
  g_queue_push_tail_link (&outbox->server->dirty, &outbox->dirty_link);
}

static void
clear_dirty (FscOutbox *outbox)
{
  if (outbox->is_dirty)
    g_queue_unlink (&outbox->server->dirty, &outbox->dirty_link);
  outbox->is_dirty = FALSE;
}

void
fsc_outbox_push_packet (FscOutbox *outbox, const void *packet, size_t length)
{
  Reply *reply = g_slice_new0 (Reply);

  reply->link.data = reply;
  reply->length = length;
  reply->packet = g_memdup2 (packet, length);
  g_queue_push_tail_link (&outbox->replies, &reply->link);
  mark_dirty (outbox);
}

void
fsc_outbox_push_answer (FscOutbox *outbox, guint32 serial, guint index, const FscAnswer *answer)
{
  Reply *reply = g_slice_new0 (Reply); /* batches make many at once */

  reply->link.data = reply;
  reply->serial = serial;
  reply->result = (FscResult){
    .index = index,
    .code = answer->code,
    .error = answer->error,
    .id = answer->lease,
    .age_ms = answer->age_ms,
    .has_fd = answer->handle != NULL,
    .sharing = answer->sharing,
    .source = answer->source,
    .coherence = answer->coherence,
    .kind = answer->handle != NULL ? answer->handle->kind : FSC_KIND_UNKNOWN,
  };
  if (answer->handle != NULL)
    {
      reply->handle = fsc_handle_ref (answer->handle);
      if (reply->handle->holder != NULL)
        reply->text = g_strndup (answer->uri.data, answer->uri.length);
    }
  else
    reply->text = g_strdup (answer->text);
  g_queue_push_tail_link (&outbox->replies, &reply->link);
  mark_dirty (outbox);
}

/* Descriptors in flight */

static void
set_unread (FscOutbox *outbox, guint n)
{
  FscServer *server = outbox->server;

  if (outbox->n_unread == 0 && n > 0)
    g_queue_push_tail_link (&server->unread, &outbox->unread_link);
  else if (outbox->n_unread > 0 && n == 0)
    g_queue_unlink (&server->unread, &outbox->unread_link);
  server->in_flight = server->in_flight - outbox->n_unread + n;
  outbox->n_unread = n;
}

/* Asks the kernel whether the client has read all. While it wakes us because the last packet was
 * read, it still keeps one byte of it on the account (sock_wfree()); no packet is that small, and
 * there is no second wake-up. */
static void
reclaim (FscOutbox *outbox)
{
  int queued = 0;

  if (outbox->n_unread > 0 && outbox->n_handing == 0
      && ioctl (outbox->socket, SIOCOUTQ, &queued) == 0 && queued <= 1)
    set_unread (outbox, 0);
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
    outbox->server->starved = g_timeout_add (STARVED_MS, retry_starved, outbox->server);
}

/* Of what the others leave, a client may have half, so that however many do not read, there is
 * something left for the next; and one descriptor is sent even if there is not. So whoever has read
 * all that it was sent never waits for anybody else. */
static guint
find_room (const FscOutbox *outbox)
{
  const FscServer *server = outbox->server;
  guint64 others = server->in_flight - outbox->n_unread;
  guint64 share = others < server->max_in_flight ? (server->max_in_flight - others) / 2 : 0;

  share = CLAMP (share, 1, FSC_FDS_MAX);
  return share > outbox->n_unread ? (guint) share - outbox->n_unread : 0;
}

/* How many more descriptors may be sent, if `wanted` are to be. If none, this is asked again when
 * the client reads. */
static guint
get_room (FscOutbox *outbox, guint wanted)
{
  if (find_room (outbox) < wanted)
    reclaim (outbox);
  if (find_room (outbox) < MIN (wanted, FSC_FDS_MAX - outbox->n_unread))
    for (GList *l = outbox->server->unread.head, *next; l != NULL; l = next)
      {
        next = l->next;
        reclaim (l->data);
      }
  return find_room (outbox);
}

/* Sending. Each returns 0 or a negative errno. */

static FscHolder *
get_holder (const Reply *reply)
{
  return reply->handle != NULL ? reply->handle->holder : NULL;
}

/* Answers that go in one packet: of one request, from one place. */
typedef struct
{
  FscHolder *holder; /* NULL: from here */
  guint n, n_fds;
  Reply *replies[FSC_ITEMS_MAX];
} Batch;

/* Collects those that can go with the first in the queue, with at most `max_fds` descriptors. The
 * answers to one request may go in any order. */
static void
collect_batch (FscOutbox *outbox, guint max_fds, Batch *batch)
{
  const Reply *first = g_queue_peek_head (&outbox->replies);
  size_t size = sizeof (FscWireHeader) + sizeof (FscWireOpened);
  size_t size_max = FSC_PACKET_MAX;

  batch->holder = get_holder (first);
  batch->n = batch->n_fds = 0;
  if (batch->holder != NULL) /* it travels in another packet */
    size_max -= 1024 + FSC_FDS_MAX * sizeof (guint64);
  for (GList *l = outbox->replies.head; l != NULL && batch->n < FSC_ITEMS_MAX; l = l->next)
    {
      Reply *reply = l->data;

      if (reply->length > 0 || reply->serial != first->serial)
        break;
      if (get_holder (reply) != batch->holder)
        continue;
      size += sizeof (FscWireResult)
              + (reply->handle == NULL && reply->text != NULL ? FSC_TEXT_MAX : 0);
      if (size > size_max || batch->n_fds + reply->result.has_fd > max_fds)
        break;
      batch->replies[batch->n++] = reply;
      batch->n_fds += reply->result.has_fd;
    }
}

static int
encode_batch (const Batch *batch, guint8 *buffer, size_t size)
{
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, size);
  fsc_codec_put_opened (&writer, batch->n);
  for (guint i = 0; i < batch->n; i++)
    {
      const Reply *reply = batch->replies[i];
      FscResult result = reply->result;

      if (reply->handle == NULL && reply->text != NULL)
        result.text = (FscBytes){ reply->text, MIN (strlen (reply->text), FSC_TEXT_MAX) };
      fsc_codec_put_result (&writer, &result);
    }
  return fsc_writer_finish (&writer, FSC_OP_OPENED, batch->replies[0]->serial, batch->n_fds);
}

static int
send_local (FscOutbox *outbox, const Batch *batch, const guint8 *packet, int length)
{
  int fds[FSC_FDS_MAX];
  guint n_fds = 0;
  int r;

  for (guint i = 0; i < batch->n; i++)
    if (batch->replies[i]->handle != NULL)
      fds[n_fds++] = batch->replies[i]->handle->fd;
  r = fsc_channel_send (outbox->socket, packet, (size_t) length, fds, n_fds, MSG_DONTWAIT);
  if (r < 0)
    return r;
  for (guint i = 0; i < batch->n; i++)
    {
      g_queue_unlink (&outbox->replies, &batch->replies[i]->link);
      reply_free (batch->replies[i]);
    }
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

/* The holder could not send: tell the client instead. */
static void
fail_reply (Reply *reply, int error)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  char *text
      = g_strdup_printf ("cannot hand over %s: the process that holds it %s",
                         fsc_uri_abbreviate ((FscBytes){ reply->text, strlen (reply->text) }, name),
                         error == EIO ? "has ended or does not answer" : g_strerror (error));

  g_clear_pointer (&reply->handle, fsc_handle_unref);
  g_free (reply->text);
  reply->text = text;
  reply->result
      = (FscResult){ .index = reply->result.index, .code = FSC_CODE_OPENER_FAILED, .error = error };
}

static void
handed (int error, gpointer data)
{
  Handing *handing = data;
  FscOutbox *outbox = handing->outbox;
  gboolean again = error == EAGAIN || error == ETOOMANYREFS;

  outbox->n_handing--;
  if (error != 0 && outbox->socket >= 0)
    {
      set_unread (outbox, outbox->n_unread - MIN (outbox->n_unread, handing->replies->len));
      for (guint i = handing->replies->len; i > 0; i--)
        {
          Reply *reply = g_ptr_array_steal_index (handing->replies, i - 1);

          if (!again)
            fail_reply (reply, error);
          g_queue_push_head_link (&outbox->replies, &reply->link);
        }
      if (again && outbox->blocked_since == 0)
        outbox->blocked_since = g_get_monotonic_time ();
      if (error == ETOOMANYREFS)
        starve (outbox);
      mark_dirty (outbox);
    }
  else if (outbox->socket >= 0 && outbox->n_handing == 0 && outbox->blocked_since != 0)
    {
      /* The client may have read what was handed before its holder said so: that was the last edge.
       */
      outbox->blocked_since = 0;
      mark_dirty (outbox);
    }
  g_ptr_array_unref (handing->replies);
  g_free (handing);
  maybe_free (outbox);
}

static int
send_held (FscOutbox *outbox, const Batch *batch, const guint8 *packet, int length)
{
  guint64 ids[FSC_FDS_MAX];
  Handing *handing = g_new (Handing, 1);

  handing->outbox = outbox;
  handing->replies = g_ptr_array_new_with_free_func (reply_free);
  for (guint i = 0; i < batch->n; i++)
    {
      g_queue_unlink (&outbox->replies, &batch->replies[i]->link);
      g_ptr_array_add (handing->replies, batch->replies[i]);
      ids[i] = batch->replies[i]->handle->id;
    }
  outbox->n_handing++;
  set_unread (outbox, outbox->n_unread + batch->n);
  if (batch->holder->is_alive)
    batch->holder->hand (batch->holder, ids, batch->n,
                         (FscBytes){ (const char *) packet, (size_t) length }, outbox->socket,
                         handed, handing);
  else
    handed (EIO, handing);
  return 0;
}

static int
send_packet (FscOutbox *outbox, const Reply *reply)
{
  int r = fsc_channel_send (outbox->socket, reply->packet, reply->length, NULL, 0, MSG_DONTWAIT);

  if (r == 0)
    reply_free (pop_reply (outbox));
  return r;
}

static int
send_head (FscOutbox *outbox)
{
  const Reply *head = g_queue_peek_head (&outbox->replies);
  guint8 buffer[FSC_PACKET_MAX];
  Batch batch;
  guint room;
  int length;

  if (head->length > 0)
    return send_packet (outbox, head);

  collect_batch (outbox, FSC_FDS_MAX, &batch);
  room = batch.n_fds > 0 ? get_room (outbox, batch.n_fds) : 0;
  if (room < batch.n_fds)
    collect_batch (outbox, room, &batch);
  if (batch.n == 0)
    return -EAGAIN;
  length = encode_batch (&batch, buffer, sizeof buffer);
  g_assert (length > 0);
  return batch.holder != NULL ? send_held (outbox, &batch, buffer, length)
                              : send_local (outbox, &batch, buffer, length);
}

gboolean
fsc_outbox_flush (FscOutbox *outbox, gboolean force)
{
  guint before = outbox->replies.length;
  int r = 0;

  clear_dirty (outbox);
  if (outbox->blocked_since != 0 && !force)
    return TRUE;
  while (outbox->replies.length > 0 && r == 0)
    r = send_head (outbox);
  outbox->is_starved = FALSE;
  if (r == -ETOOMANYREFS)
    starve (outbox);
  if (r == 0)
    outbox->blocked_since = 0;
  else if (r != -EAGAIN && r != -ETOOMANYREFS)
    return FALSE;
  else if (outbox->blocked_since == 0 || outbox->replies.length < before)
    outbox->blocked_since = g_get_monotonic_time ();
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
fsc_outbox_init (FscOutbox *outbox, FscServer *server, gpointer owner, int socket,
                 GDestroyNotify free_owner)
{
  *outbox
      = (FscOutbox){ .server = server, .owner = owner, .socket = socket, .free_owner = free_owner };
  outbox->unread_link.data = outbox;
  outbox->dirty_link.data = owner;
  g_queue_init (&outbox->replies);
}

void
fsc_outbox_close (FscOutbox *outbox)
{
  Reply *reply;

  while ((reply = pop_reply (outbox)) != NULL)
    reply_free (reply);
  set_unread (outbox, 0);
  outbox->blocked_since = 0;
  outbox->socket = -1;
  clear_dirty (outbox);
  maybe_free (outbox);
}
