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

typedef struct
{
  FscResult result;
  FscHandle *handle; /* or NULL */
  char *text;        /* or NULL: of the result; with a held handle: its URI, in case that fails */
} Reply;

/* What goes in one packet: a finished one, or replies to one request that come from one place. */
typedef struct
{
  GList link; /* in the queue; not while a holder is sending it */
  FscOutbox *outbox;
  guint8 *packet; /* or NULL */
  size_t length;  /* of the packet, or an upper bound of what the replies will take */
  guint32 serial;
  FscHolder *holder; /* who sends it; NULL: from here */
  guint n, n_fds, capacity;
  Reply replies[];
} Parcel;

static Parcel *
parcel_new (FscOutbox *outbox, guint32 serial, FscHolder *holder, guint capacity)
{
  Parcel *parcel = g_malloc (sizeof *parcel + capacity * sizeof parcel->replies[0]);

  *parcel = (Parcel){
    .link.data = parcel,
    .outbox = outbox,
    .length = sizeof (FscWireHeader) + sizeof (FscWireOpened),
    .serial = serial,
    .holder = holder,
    .capacity = capacity,
  };
  return parcel;
}

static void
reply_clear (Reply *reply)
{
  if (reply->handle != NULL)
    fsc_handle_unref (reply->handle);
  g_free (reply->text);
}

static void
parcel_free (Parcel *parcel)
{
  for (guint i = 0; i < parcel->n; i++)
    reply_clear (&parcel->replies[i]);
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

static size_t
get_size (gboolean has_text)
{
  return sizeof (FscWireResult) + (has_text ? FSC_TEXT_MAX : 0);
}

static gboolean
parcel_has_room (const Parcel *parcel, gboolean has_text)
{
  size_t most = FSC_PACKET_MAX;

  if (parcel->holder != NULL) /* it travels in another packet */
    most -= 1024 + FSC_FDS_MAX * sizeof (guint64);
  return parcel->n < parcel->capacity && parcel->length + get_size (has_text) <= most;
}

/* Counts a reply in, and says where to put it. */
static Reply *
parcel_add (Parcel *parcel, gboolean has_fd)
{
  parcel->n_fds += has_fd;
  parcel->length += get_size (!has_fd);
  return &parcel->replies[parcel->n++];
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

static void
push_parcel (FscOutbox *outbox, Parcel *parcel)
{
  g_queue_push_tail_link (&outbox->parcels, &parcel->link);
  mark_dirty (outbox);
}

void
fsc_outbox_push_packet (FscOutbox *outbox, const void *packet, size_t length)
{
  Parcel *parcel = parcel_new (outbox, 0, NULL, 0);

  parcel->packet = g_memdup2 (packet, length);
  parcel->length = length;
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

/* Finds a place for a reply in a parcel that waits, or in a new one with room for `n` such. The
 * answers to one request may go in any order. */
static Reply *
add_reply (FscOutbox *outbox, guint32 serial, FscHolder *holder, gboolean has_fd, guint n)
{
  Parcel *parcel = NULL;

  for (GList *l = outbox->parcels.tail; l != NULL; l = l->prev)
    {
      Parcel *last = l->data;

      if (last->packet != NULL || last->serial != serial)
        break;
      if (last->holder == holder && parcel_has_room (last, !has_fd))
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
  return parcel_add (parcel, has_fd);
}

void
fsc_outbox_push_answer (FscOutbox *outbox, guint32 serial, guint index, const FscAnswer *answer,
                        guint n_expected)
{
  FscHandle *handle = answer->handle;
  FscHolder *holder = handle != NULL ? handle->holder : NULL;
  Reply *reply = add_reply (outbox, serial, holder, handle != NULL, n_expected);

  *reply = (Reply){
    .result = {
      .index = index,
      .code = answer->code,
      .error = answer->error,
      .id = answer->lease,
      .age_ms = answer->age_ms,
      .has_fd = handle != NULL,
      .sharing = answer->sharing,
      .source = answer->source,
      .coherence = answer->coherence,
    },
  };
  if (handle == NULL)
    set_text (reply, g_strdup (answer->text));
  else
    {
      reply->handle = fsc_handle_ref (handle);
      reply->result.kind = handle->kind;
    }
  if (holder != NULL)
    reply->text = g_strndup (answer->uri.data, answer->uri.length);
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
    outbox->server->starved
        = fsc_loop_add_timeout (outbox->server->loop, STARVED_MS, retry_starved, outbox->server);
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

static int
encode (const Parcel *parcel, guint8 *buffer, size_t size)
{
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, size);
  fsc_codec_put_opened (&writer, parcel->n);
  for (guint i = 0; i < parcel->n; i++)
    {
      const Reply *reply = &parcel->replies[i];

      fsc_codec_put_result (&writer, &reply->result);
    }
  return fsc_writer_finish (&writer, FSC_OP_OPENED, parcel->serial, parcel->n_fds);
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

/* The holder could not send: the client is told instead. Takes the parcel. */
static void
fail_parcel (Parcel *parcel, int error)
{
  for (guint i = 0; i < parcel->n; i++)
    {
      const Reply *lost = &parcel->replies[i];
      Reply *reply = add_reply (parcel->outbox, parcel->serial, NULL, FALSE, parcel->n - i);
      char name[FSC_NAME_IN_TEXT_MAX];

      fsc_uri_abbreviate ((FscBytes){ lost->text, strlen (lost->text) }, name);
      *reply = (Reply){
        .result = { .index = lost->result.index, .code = FSC_CODE_OPENER_FAILED, .error = error },
      };
      set_text (reply, g_strdup_printf ("cannot hand over %s: the process that holds it %s", name,
                                        error == EIO ? "has ended or does not answer"
                                                     : g_strerror (error)));
    }
  parcel_free (parcel);
}

static void
handed (int error, gpointer data)
{
  Parcel *parcel = data;
  FscOutbox *outbox = parcel->outbox;
  gboolean again = error == EAGAIN || error == ETOOMANYREFS;

  outbox->n_handing--;
  if (error != 0 && outbox->socket >= 0)
    {
      set_unread (outbox, outbox->n_unread - MIN (outbox->n_unread, parcel->n));
      if (again)
        g_queue_push_head_link (&outbox->parcels, &parcel->link);
      else
        fail_parcel (parcel, error);
      if (again && outbox->blocked_since == 0)
        outbox->blocked_since = g_get_monotonic_time ();
      if (error == ETOOMANYREFS)
        starve (outbox);
      mark_dirty (outbox);
      return;
    }
  if (outbox->socket >= 0 && outbox->n_handing == 0 && outbox->blocked_since != 0)
    {
      /* The client may have read what was handed before its holder said so: that was the last edge.
       */
      outbox->blocked_since = 0;
      mark_dirty (outbox);
    }
  parcel_free (parcel);
  maybe_free (outbox);
}

static int
send_held (FscOutbox *outbox, Parcel *parcel, const guint8 *packet, size_t length)
{
  guint64 ids[FSC_FDS_MAX];
  FscHolder *holder = parcel->holder;

  for (guint i = 0; i < parcel->n; i++)
    ids[i] = parcel->replies[i].handle->id;
  g_queue_unlink (&outbox->parcels, &parcel->link);
  outbox->n_handing++;
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
  int r = fsc_channel_send (outbox->socket, parcel->packet, parcel->length, NULL, 0, MSG_DONTWAIT);

  if (r == 0)
    {
      g_queue_unlink (&outbox->parcels, &parcel->link);
      parcel_free (parcel);
    }
  return r;
}

/* Divides the first parcel so that it has at most so many descriptors. Returns what is first then,
 * or NULL if nothing is left of it. */
static Parcel *
divide_head (FscOutbox *outbox, guint n_fds)
{
  Parcel *whole = g_queue_pop_head_link (&outbox->parcels)->data;
  Parcel *parts[2];

  for (guint i = 0; i < 2; i++)
    parts[i] = parcel_new (outbox, whole->serial, whole->holder, whole->n);
  for (guint i = 0; i < whole->n; i++)
    {
      gboolean has_fd = whole->replies[i].result.has_fd;

      *parcel_add (parts[parts[0]->n_fds + has_fd > n_fds], has_fd) = whole->replies[i];
    }
  parcel_free_moved (whole);
  g_queue_push_head_link (&outbox->parcels, &parts[1]->link);
  if (parts[0]->n == 0)
    {
      parcel_free (parts[0]);
      return NULL;
    }
  g_queue_push_head_link (&outbox->parcels, &parts[0]->link);
  return parts[0];
}

static int
send_head (FscOutbox *outbox)
{
  Parcel *parcel = g_queue_peek_head (&outbox->parcels);
  guint8 buffer[FSC_PACKET_MAX];
  guint room;
  int length;

  if (parcel->packet != NULL)
    return send_packet (outbox, parcel);

  room = parcel->n_fds > 0 ? get_room (outbox, parcel->n_fds) : 0;
  if (room < parcel->n_fds)
    parcel = divide_head (outbox, room);
  if (parcel == NULL)
    return -EAGAIN;
  length = encode (parcel, buffer, sizeof buffer);
  g_assert (length > 0);
  return parcel->holder != NULL ? send_held (outbox, parcel, buffer, (size_t) length)
                                : send_here (outbox, parcel, buffer, (size_t) length);
}

gboolean
fsc_outbox_flush (FscOutbox *outbox, gboolean force)
{
  gboolean has_sent = FALSE;
  int r = 0;

  clear_dirty (outbox);
  if (outbox->blocked_since != 0 && !force)
    return TRUE;
  while (outbox->parcels.length > 0 && (r = send_head (outbox)) == 0)
    has_sent = TRUE;
  outbox->is_starved = FALSE;
  if (r == -ETOOMANYREFS)
    starve (outbox);
  if (r == 0)
    outbox->blocked_since = 0;
  else if (r != -EAGAIN && r != -ETOOMANYREFS)
    return FALSE;
  else if (outbox->blocked_since == 0 || has_sent)
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
  g_queue_init (&outbox->parcels);
}

void
fsc_outbox_close (FscOutbox *outbox)
{
  GList *link;

  while ((link = g_queue_pop_head_link (&outbox->parcels)) != NULL)
    parcel_free (link->data);
  set_unread (outbox, 0);
  outbox->blocked_since = 0;
  outbox->socket = -1;
  clear_dirty (outbox);
  maybe_free (outbox);
}
