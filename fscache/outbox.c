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

#define STARVED_MS 1

/* Either a packet or an answer. */
typedef struct
{
  size_t length; /* of the packet; 0: an answer */
  guint32 serial;
  FscResult result;  /* without text */
  FscHandle *handle; /* or NULL */
  char *text;        /* or NULL; with a held handle: its URI, in case its holder fails */
  guint8 packet[];
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
  g_free (reply);
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
  Reply *reply = g_malloc (sizeof *reply + length);

  *reply = (Reply){ .length = length };
  memcpy (reply->packet, packet, length);
  g_queue_push_tail (&outbox->replies, reply);
  mark_dirty (outbox);
}

void
fsc_outbox_push_answer (FscOutbox *outbox, guint32 serial, guint index, const FscAnswer *answer)
{
  Reply *reply = g_new0 (Reply, 1);

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
  g_queue_push_tail (&outbox->replies, reply);
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

/* Asks the kernel whether the client has read all. */
static void
reclaim (FscOutbox *outbox)
{
  int queued = 0;

  if (outbox->n_unread > 0 && outbox->n_handing == 0
      && ioctl (outbox->socket, SIOCOUTQ, &queued) == 0 && queued == 0)
    set_unread (outbox, 0);
}

static gboolean
starved (gpointer data)
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

/* Whether `n` more descriptors may be sent. If not, this is asked again when the client reads, or,
 * if it is others who do not, in a moment. */
static gboolean
may_send (FscOutbox *outbox, guint n)
{
  FscServer *server = outbox->server;

  if (outbox->n_unread + n > FSC_FDS_MAX)
    reclaim (outbox);
  if (outbox->n_unread + n > FSC_FDS_MAX)
    return FALSE;
  if (server->in_flight + n > server->max_in_flight)
    for (GList *l = server->unread.head, *next; l != NULL; l = next)
      {
        next = l->next;
        reclaim (l->data);
      }
  if (server->in_flight + n > server->max_in_flight)
    {
      if (server->starved == 0)
        server->starved = g_timeout_add (STARVED_MS, starved, server);
      return FALSE;
    }
  return TRUE;
}

/* Sending. Each returns 0 or a negative errno. */

static FscHolder *
get_holder (const Reply *reply)
{
  return reply->handle != NULL ? reply->handle->holder : NULL;
}

/* Those at the head of the queue that can go in one packet: of one request, from one place. */
static guint
count_batch (FscOutbox *outbox, guint *n_fds)
{
  const Reply *first = g_queue_peek_head (&outbox->replies);
  size_t size = sizeof (FscWireHeader) + sizeof (FscWireOpened);
  size_t size_max = FSC_PACKET_MAX;
  guint n = 0;

  if (get_holder (first) != NULL) /* it travels in another packet */
    size_max -= 1024 + FSC_FDS_MAX * sizeof (guint64);
  *n_fds = 0;
  for (GList *l = outbox->replies.head; l != NULL && n < FSC_ITEMS_MAX; l = l->next, n++)
    {
      const Reply *reply = l->data;

      size += sizeof (FscWireResult) + FSC_TEXT_MAX;
      if (reply->length > 0 || reply->serial != first->serial
          || get_holder (reply) != get_holder (first) || *n_fds + reply->result.has_fd > FSC_FDS_MAX
          || (n > 0 && size > size_max))
        break;
      if (reply->handle != NULL || reply->text == NULL)
        size -= FSC_TEXT_MAX;
      *n_fds += reply->result.has_fd;
    }
  return n;
}

static int
encode_batch (FscOutbox *outbox, guint n, guint n_fds, guint8 *buffer, size_t size)
{
  const Reply *first = g_queue_peek_head (&outbox->replies);
  FscWriter writer;
  GList *l = outbox->replies.head;

  fsc_writer_begin (&writer, buffer, size);
  fsc_codec_put_opened (&writer, n);
  for (guint i = 0; i < n; i++, l = l->next)
    {
      const Reply *reply = l->data;
      FscResult result = reply->result;

      if (reply->handle == NULL && reply->text != NULL)
        result.text = (FscBytes){ reply->text, MIN (strlen (reply->text), FSC_TEXT_MAX) };
      fsc_codec_put_result (&writer, &result);
    }
  return fsc_writer_finish (&writer, FSC_OP_OPENED, first->serial, n_fds);
}

static int
send_local (FscOutbox *outbox, guint n, const guint8 *packet, int length, guint n_fds)
{
  int fds[FSC_FDS_MAX];
  GList *l = outbox->replies.head;
  guint j = 0;
  int r;

  for (guint i = 0; i < n; i++, l = l->next)
    {
      const Reply *reply = l->data;

      if (reply->handle != NULL)
        fds[j++] = reply->handle->fd;
    }
  r = fsc_channel_send (outbox->socket, packet, (size_t) length, fds, n_fds, MSG_DONTWAIT);
  if (r < 0)
    return r;
  for (guint i = 0; i < n; i++)
    reply_free (g_queue_pop_head (&outbox->replies));
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
  reply->result = (FscResult){ .index = reply->result.index,
                               .code = FSC_CODE_OPENER_FAILED,
                               .error = error == EIO ? EIO : error };
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
          g_queue_push_head (&outbox->replies, reply);
        }
      if (again && outbox->blocked_since == 0)
        outbox->blocked_since = g_get_monotonic_time ();
      mark_dirty (outbox);
    }
  g_ptr_array_unref (handing->replies);
  g_free (handing);
  maybe_free (outbox);
}

static int
send_held (FscOutbox *outbox, guint n, const guint8 *packet, int length)
{
  FscHolder *holder = get_holder (g_queue_peek_head (&outbox->replies));
  guint64 ids[FSC_FDS_MAX];
  Handing *handing = g_new (Handing, 1);

  handing->outbox = outbox;
  handing->replies = g_ptr_array_new_with_free_func (reply_free);
  for (guint i = 0; i < n; i++)
    {
      Reply *reply = g_queue_pop_head (&outbox->replies);

      ids[i] = reply->handle->id;
      g_ptr_array_add (handing->replies, reply);
    }
  outbox->n_handing++;
  set_unread (outbox, outbox->n_unread + n);
  if (holder->is_alive)
    holder->hand (holder, ids, n, (FscBytes){ (const char *) packet, (size_t) length },
                  outbox->socket, handed, handing);
  else
    handed (EIO, handing);
  return 0;
}

static int
send_head (FscOutbox *outbox)
{
  const Reply *head = g_queue_peek_head (&outbox->replies);
  guint8 buffer[FSC_PACKET_MAX];
  guint n, n_fds;
  int length, r;

  if (head->length > 0)
    {
      r = fsc_channel_send (outbox->socket, head->packet, head->length, NULL, 0, MSG_DONTWAIT);
      if (r == 0)
        reply_free (g_queue_pop_head (&outbox->replies));
      return r;
    }

  n = count_batch (outbox, &n_fds);
  if (n_fds > 0 && !may_send (outbox, n_fds))
    return -EAGAIN;
  length = encode_batch (outbox, n, n_fds, buffer, sizeof buffer);
  g_assert (length > 0);
  if (get_holder (head) != NULL)
    return send_held (outbox, n, buffer, length);
  r = send_local (outbox, n, buffer, length, n_fds);
  if (r == 0 && n_fds > 0)
    set_unread (outbox, outbox->n_unread + n_fds);
  return r;
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
  if (r == -ETOOMANYREFS && outbox->server->starved == 0)
    outbox->server->starved = g_timeout_add (STARVED_MS, starved, outbox->server);
  if (r == 0)
    outbox->blocked_since = 0;
  else if (r != -EAGAIN && r != -ETOOMANYREFS)
    return FALSE;
  else if (outbox->blocked_since == 0 || outbox->replies.length < before)
    outbox->blocked_since = g_get_monotonic_time ();
  return TRUE;
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

  while ((reply = g_queue_pop_head (&outbox->replies)) != NULL)
    reply_free (reply);
  set_unread (outbox, 0);
  outbox->blocked_since = 0;
  outbox->socket = -1;
  clear_dirty (outbox);
  maybe_free (outbox);
}
