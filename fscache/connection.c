/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One client; see connection.h. The life of a connection, the handshake, and what it asks for are
 * here; how replies get out is in outbox.c.
 */
#include "fscache/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/closer.h"
#include "fscache/outbox.h"
#include "protocol/channel.h"
#include "protocol/codec.h"
#include "protocol/uri.h"

#define UNANSWERED_MAX 4096
#define BLOCKED_MAX_SECONDS 60
#define GREETING_MAX_SECONDS 10

/* All that a user's service opens, it opens as that user. */
#define OWN_CREDENTIAL 0

/* An OPEN, while some of its items wait. */
typedef struct
{
  GList link;
  FscConnection *connection;
  guint32 serial;
  guint n_items;
  guint n_unanswered;
  FscWaiter *waiters[];
} Request;

struct FscConnection
{
  FscPoll poll;
  FscServer *server;
  GList link;   /* in the server's list */
  gint64 since; /* when it came */
  gboolean is_greeted;
  gboolean is_closed;
  gboolean serves_paths;
  struct ucred peer;
  guint32 events; /* that the loop waits for */
  guint n_unanswered;
  GQueue requests;
  GArray *leases; /* guint64 */
  FscOutbox outbox;
};

/* Replies */

static void
send_packet (FscConnection *connection, FscWriter *writer, FscOpcode opcode, guint32 serial)
{
  int length = fsc_writer_finish (writer, opcode, serial, 0);

  g_assert (length > 0); /* whoever wrote it left room */
  fsc_outbox_push_packet (&connection->outbox, writer->data, (size_t) length);
}

static void send_error (FscConnection *connection, guint32 serial, FscCode code, int error,
                        const char *format, ...) G_GNUC_PRINTF (5, 6);

static void
send_error (FscConnection *connection, guint32 serial, FscCode code, int error, const char *format,
            ...)
{
  g_autofree char *text = NULL;
  guint8 buffer[FSC_TEXT_MAX + 64];
  FscWriter writer;
  va_list arguments;

  va_start (arguments, format);
  text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_error (&writer, &(FscError){ .code = code,
                                             .error = error,
                                             .text = { text, MIN (strlen (text), FSC_TEXT_MAX) } });
  send_packet (connection, &writer, FSC_OP_ERROR, serial);
}

static void
send_done (FscConnection *connection, guint32 serial, guint64 count)
{
  guint8 buffer[64];
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_done (&writer, count);
  send_packet (connection, &writer, FSC_OP_DONE, serial);
}

/* Waiting for the loop */

static void
update_events (FscConnection *connection)
{
  guint32 events;

  if (connection->is_closed)
    return;
  /* While the client does not read, it is not read from. The edge is there for descriptors: the
   * socket stays writable while they are unread, and each packet that is read gives an edge. */
  if (fsc_outbox_is_blocked (&connection->outbox))
    events = EPOLLOUT | EPOLLET;
  else if (connection->n_unanswered > UNANSWERED_MAX)
    events = 0;
  else
    events = EPOLLIN;
  if (events != connection->events)
    {
      connection->events = events;
      fsc_loop_modify (connection->server->loop, &connection->poll, events);
    }
}

void
fsc_connection_flush (FscConnection *connection, gboolean force)
{
  if (fsc_outbox_flush (&connection->outbox, force))
    update_events (connection);
  else
    fsc_connection_close (connection);
}

void
fsc_connection_check (FscConnection *connection, gint64 time)
{
  gint64 since = fsc_outbox_blocked_since (&connection->outbox);

  if (since != 0 && time - since > BLOCKED_MAX_SECONDS * G_USEC_PER_SEC)
    {
      g_info ("Client %d has not read for %d s: disconnected", connection->peer.pid,
              BLOCKED_MAX_SECONDS);
      fsc_connection_close (connection);
    }
  else if (!connection->is_greeted
           && time - connection->since > GREETING_MAX_SECONDS * G_USEC_PER_SEC)
    {
      g_info ("Client %d has not said HELLO for %d s: disconnected", connection->peer.pid,
              GREETING_MAX_SECONDS);
      fsc_connection_close (connection);
    }
}

/* OPEN */

static void
request_free (Request *request)
{
  g_queue_unlink (&request->connection->requests, &request->link);
  g_free (request);
}

static void
request_answered (Request *request)
{
  request->connection->n_unanswered--;
  if (--request->n_unanswered == 0)
    request_free (request);
}

static void
item_answered (const FscAnswer *answer, gpointer data, guint index)
{
  Request *request = data;
  FscConnection *connection = request->connection;

  request->waiters[index] = NULL;
  if (answer->lease != 0)
    g_array_append_val (connection->leases, answer->lease);
  fsc_outbox_push_answer (&connection->outbox, request->serial, index, answer);
  request_answered (request);
}

static void
refuse_item (Request *request, guint index, FscCode code, int error, const char *format,
             FscBytes uri)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *text = g_strdup_printf (format, fsc_uri_abbreviate (uri, name));
  FscAnswer answer = { .code = code, .error = error, .text = text };

  item_answered (&answer, request, index);
}

static void
open_item (Request *request, guint index, const FscItem *item)
{
  FscConnection *connection = request->connection;

  if (!connection->serves_paths && fsc_uri_has_scheme (item->uri, "file"))
    refuse_item (request, index, FSC_CODE_NOT_SERVED, EXDEV,
                 "cannot open %s: this client sees another file tree than the service", item->uri);
  else
    request->waiters[index] = fsc_cache_open (connection->server->cache, OWN_CREDENTIAL, item,
                                              connection, item_answered, request, index);
}

static gboolean
take_open (FscConnection *connection, guint32 serial, FscReader *reader)
{
  g_autofree FscItem *items = NULL;
  FscItem one;
  Request *request;
  guint32 n;

  /* All is read before any is begun: a malformed packet asks for nothing. */
  if (!fsc_codec_get_open (reader, &n))
    return FALSE;
  if (n > 1)
    items = g_new (FscItem, n);
  for (guint32 i = 0; i < n; i++)
    if (!fsc_codec_get_item (reader, n > 1 ? &items[i] : &one))
      return FALSE;
  if (fsc_reader_finish (reader) < 0)
    return FALSE;

  request = g_malloc0 (sizeof *request + n * sizeof request->waiters[0]);
  request->link.data = request;
  request->connection = connection;
  request->serial = serial;
  request->n_items = n;
  request->n_unanswered = n + 1; /* it must not go while items are begun */
  connection->n_unanswered += n + 1;
  g_queue_push_tail_link (&connection->requests, &request->link);
  for (guint32 i = 0; i < n; i++)
    open_item (request, i, n > 1 ? &items[i] : &one);
  request_answered (request);
  return TRUE;
}

static void
cancel_request (Request *request, gboolean is_answered)
{
  FscConnection *connection = request->connection;

  request->n_unanswered++;
  connection->n_unanswered++;
  for (guint i = 0; i < request->n_items; i++)
    {
      FscAnswer answer
          = { .code = FSC_CODE_CANCELLED, .error = ECANCELED, .text = "the request was cancelled" };

      if (request->waiters[i] == NULL)
        continue;
      fsc_cache_cancel (connection->server->cache, request->waiters[i]);
      if (is_answered)
        item_answered (&answer, request, i);
      else
        {
          request->waiters[i] = NULL;
          request_answered (request);
        }
    }
  request_answered (request);
}

static gboolean
take_cancel (FscConnection *connection, FscReader *reader)
{
  guint32 serial;

  if (!fsc_codec_get_cancel (reader, &serial) || fsc_reader_finish (reader) < 0)
    return FALSE;
  for (GList *l = connection->requests.head; l != NULL; l = l->next)
    {
      Request *request = l->data;

      if (request->serial == serial)
        {
          cancel_request (request, TRUE);
          break;
        }
    }
  return TRUE;
}

static gboolean
take_give_back (FscConnection *connection, FscReader *reader)
{
  guint64 lease;
  guint32 n;

  if (!fsc_codec_get_give_back (reader, &n))
    return FALSE;
  for (guint32 i = 0; i < n; i++)
    {
      if (!fsc_codec_get_id (reader, &lease))
        return FALSE;
      for (guint j = 0; j < connection->leases->len; j++)
        if (g_array_index (connection->leases, guint64, j) == lease)
          {
            g_array_remove_index_fast (connection->leases, j);
            break;
          }
      fsc_cache_give_back (connection->server->cache, lease, connection, FALSE);
    }
  return fsc_reader_finish (reader) == 0;
}

/* DROP, PIN, INFO, LIST, STATUS */

static void
drop_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  fsc_cache_drop (cache, entry);
}

static gboolean
take_drop (FscConnection *connection, guint32 serial, FscReader *reader)
{
  FscTarget target;

  if (!fsc_codec_get_target (reader, &target) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (target.uri.length == 0)
    send_error (connection, serial, FSC_CODE_BAD_REQUEST, EINVAL,
                "no URI or pattern was given to drop (* drops all)");
  else
    send_done (
        connection, serial,
        fsc_cache_foreach (connection->server->cache, OWN_CREDENTIAL, &target, drop_entry, NULL));
  return TRUE;
}

typedef struct
{
  gboolean pinned;
  gboolean is_refused;
  guint n;
  GPtrArray *changed; /* of FscEntry */
} Pin;

/* What is lent is its borrower's to keep or to lose. */
static void
pin_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  Pin *pin = data;
  FscEntryInfo info;

  fsc_cache_describe (cache, entry, &info);
  if (info.sharing == FSC_SHARING_EXCLUSIVE)
    return;
  pin->n++;
  if (!fsc_cache_set_pinned (cache, entry, pin->pinned))
    pin->is_refused = TRUE;
  else if (((info.state & FSC_ENTRY_PINNED) != 0) != pin->pinned)
    g_ptr_array_add (pin->changed, entry);
}

static void
refuse_pin (FscConnection *connection, guint32 serial, FscBytes uri)
{
  FscServer *server = connection->server;
  char name[FSC_NAME_IN_TEXT_MAX];

  send_error (connection, serial, FSC_CODE_LIMIT, ENOSPC,
              "cannot pin %s: of max-handles %" G_GUINT64_FORMAT
              " one must be free to go (%" G_GUINT64_FORMAT " are pinned, others may be lent)",
              fsc_uri_abbreviate (uri, name), fsc_cache_get_limits (server->cache)->max_handles,
              fsc_cache_get_counters (server->cache)->pinned);
}

/* Pins or unpins what is cached, all of it or nothing, and answers. */
static void
pin_cached (FscConnection *connection, guint32 serial, const FscTarget *target)
{
  FscCache *cache = connection->server->cache;
  g_autoptr (GPtrArray) changed = g_ptr_array_new ();
  Pin pin = { .pinned = target->pinned, .changed = changed };
  char name[FSC_NAME_IN_TEXT_MAX];

  fsc_cache_foreach (cache, OWN_CREDENTIAL, target, pin_entry, &pin);
  for (guint i = 0; pin.is_refused && i < changed->len; i++)
    fsc_cache_set_pinned (cache, changed->pdata[i], !pin.pinned);
  if (pin.is_refused)
    refuse_pin (connection, serial, target->uri);
  else if (pin.n > 0)
    send_done (connection, serial, pin.n);
  else
    send_error (connection, serial, FSC_CODE_NOT_CACHED, ENOENT, "%s is not cached",
                fsc_uri_abbreviate (target->uri, name));
}

/* A pin that waits for the resource to be opened. */
static void
pin_opened (const FscAnswer *answer, gpointer data, guint index)
{
  Request *request = data;
  FscConnection *connection = request->connection;
  char name[FSC_NAME_IN_TEXT_MAX];

  request->waiters[0] = NULL;
  if (answer->handle == NULL)
    send_error (connection, request->serial, answer->code, answer->error, "%s",
                answer->text != NULL ? answer->text : "it could not be opened");
  else if (answer->source != FSC_SOURCE_PASSED)
    pin_cached (connection, request->serial, &(FscTarget){ .uri = answer->uri, .pinned = true });
  else if (answer->coherence == FSC_COHERENCE_UNCACHED)
    send_error (connection, request->serial, FSC_CODE_BAD_REQUEST, EOPNOTSUPP,
                "cannot pin %s: handles on its file system are not kept",
                fsc_uri_abbreviate (answer->uri, name));
  else
    refuse_pin (connection, request->serial, answer->uri); /* all are pinned or lent */
  request_answered (request);
}

static gboolean
take_pin (FscConnection *connection, guint32 serial, FscReader *reader)
{
  FscItem item = { .options = FSC_OPTION_REOPENS };
  FscTarget target;
  Request *request;

  if (!fsc_codec_get_target (reader, &target) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (!target.pinned || target.is_pattern)
    {
      pin_cached (connection, serial, &target);
      return TRUE;
    }
  if (!connection->serves_paths && fsc_uri_has_scheme (target.uri, "file"))
    {
      send_error (connection, serial, FSC_CODE_NOT_SERVED, EXDEV,
                  "cannot pin: this client sees another file tree than the service");
      return TRUE;
    }

  item.uri = target.uri;
  request = g_malloc0 (sizeof *request + sizeof request->waiters[0]);
  request->link.data = request;
  request->connection = connection;
  request->serial = serial;
  request->n_items = 1;
  request->n_unanswered = 2;
  connection->n_unanswered += 2;
  g_queue_push_tail_link (&connection->requests, &request->link);
  request->waiters[0] = fsc_cache_open (connection->server->cache, OWN_CREDENTIAL, &item,
                                        connection, pin_opened, request, 0);
  request_answered (request);
  return TRUE;
}

/* ENTRIES while it is written. */
typedef struct
{
  FscWriter writer;
  guint32 n;
  guint8 buffer[FSC_PACKET_MAX];
} Page;

static gboolean
put_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  Page *page = data;
  FscEntryInfo info;

  fsc_cache_describe (cache, entry, &info);
  if (page->writer.position + fsc_codec_entry_size (&info) > sizeof page->buffer)
    return FALSE;
  fsc_codec_put_entry (&page->writer, &info);
  page->n++;
  return TRUE;
}

static void
put_entry_if_room (FscCache *cache, FscEntry *entry, gpointer data)
{
  put_entry (cache, entry, data);
}

static void
send_page (FscConnection *connection, guint32 serial, Page *page, guint64 next)
{
  FscWriter head;

  fsc_writer_begin (&head, page->buffer, sizeof page->buffer);
  fsc_codec_put_entries (&head, next, page->n);
  send_packet (connection, &page->writer, FSC_OP_ENTRIES, serial);
}

static void
page_begin (Page *page)
{
  page->n = 0;
  fsc_writer_begin (&page->writer, page->buffer, sizeof page->buffer);
  fsc_codec_put_entries (&page->writer, 0, 0);
}

static gboolean
take_info (FscConnection *connection, guint32 serial, FscReader *reader)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  FscTarget target;
  Page page;

  if (!fsc_codec_get_target (reader, &target) || fsc_reader_finish (reader) < 0)
    return FALSE;
  page_begin (&page);
  target.is_pattern = false;
  if (target.uri.length > 0)
    fsc_cache_foreach (connection->server->cache, OWN_CREDENTIAL, &target, put_entry_if_room,
                       &page);
  if (page.n > 0)
    send_page (connection, serial, &page, 0);
  else
    send_error (connection, serial, FSC_CODE_NOT_CACHED, ENOENT, "%s is not cached",
                fsc_uri_abbreviate (target.uri, name));
  return TRUE;
}

static gboolean
take_list (FscConnection *connection, guint32 serial, FscReader *reader)
{
  FscList list;
  guint64 next;
  Page page;

  if (!fsc_codec_get_list (reader, &list) || fsc_reader_finish (reader) < 0)
    return FALSE;
  page_begin (&page);
  next = fsc_cache_list (connection->server->cache, OWN_CREDENTIAL,
                         &(FscTarget){ .uri = list.uri, .is_pattern = list.is_pattern },
                         list.cursor, put_entry, &page);
  send_page (connection, serial, &page, next);
  return TRUE;
}

static void
put_counter (const char *name, guint64 value, gpointer data)
{
  Page *page = data;

  fsc_codec_put_counter (&page->writer, &(FscCounter){ { name, strlen (name) }, value });
  page->n++;
}

static gboolean
take_status (FscConnection *connection, guint32 serial, FscReader *reader)
{
  FscWriter head;
  Page page;

  if (fsc_reader_finish (reader) < 0)
    return FALSE;
  page.n = 0;
  fsc_writer_begin (&page.writer, page.buffer, sizeof page.buffer);
  fsc_codec_put_counters (&page.writer, 0);
  fsc_server_foreach_counter (connection->server, put_counter, &page);
  fsc_writer_begin (&head, page.buffer, sizeof page.buffer);
  fsc_codec_put_counters (&head, page.n);
  send_packet (connection, &page.writer, FSC_OP_COUNTERS, serial);
  return TRUE;
}

/* The handshake */

/* Whether the client's "/" is ours. What it sent must be path-only: closing anything else might
 * hang, which is then done elsewhere. Takes the descriptor. */
static gboolean
check_root (FscConnection *connection, int fd)
{
  FscServer *server = connection->server;
  struct statx st;
  int flags = fcntl (fd, F_GETFL);

  if (flags < 0 || (flags & O_PATH) == 0)
    {
      fsc_closer_close_foreign (fd);
      return FALSE;
    }
  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID, &st) == 0)
    connection->serves_paths
        = st.stx_mnt_id == server->root_mount && st.stx_ino == server->root_inode;
  close (fd);
  return TRUE;
}

static gboolean
take_hello (FscConnection *connection, FscReader *reader, FscFds *fds)
{
  FscServer *server = connection->server;
  FscWelcome welcome = { .packet_max = FSC_PACKET_MAX,
                         .items_max = FSC_ITEMS_MAX,
                         .name = { "fscached " FSC_VERSION, strlen ("fscached " FSC_VERSION) } };
  guint8 buffer[256];
  FscWriter writer;
  FscHello hello;

  if (!fsc_codec_get_hello (reader, &hello) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (fds->n == 1 && !check_root (connection, fsc_fds_steal (fds, 0)))
    return FALSE;

  if (connection->peer.uid != geteuid () && connection->peer.uid != 0)
    {
      send_error (connection, 0, FSC_CODE_REFUSED, EACCES,
                  "this fscached serves user %u, not user %u", geteuid (), connection->peer.uid);
      fsc_outbox_flush (&connection->outbox, TRUE);
      return FALSE;
    }
  if (server->connections.length > server->max_clients)
    {
      send_error (connection, 0, FSC_CODE_LIMIT, EUSERS,
                  "max-clients %" G_GUINT64_FORMAT " is reached", server->max_clients);
      fsc_outbox_flush (&connection->outbox, TRUE);
      return FALSE;
    }
  if (hello.lowest > FSC_PROTOCOL_HIGHEST || hello.highest < FSC_PROTOCOL_LOWEST
      || hello.lowest > hello.highest)
    {
      send_error (connection, 0, FSC_CODE_VERSION, EPROTONOSUPPORT,
                  "the client speaks versions %u to %u of the protocol, the service %u to %u",
                  hello.lowest, hello.highest, FSC_PROTOCOL_LOWEST, FSC_PROTOCOL_HIGHEST);
      fsc_outbox_flush (&connection->outbox, TRUE);
      return FALSE;
    }

  welcome.version = MIN (hello.highest, FSC_PROTOCOL_HIGHEST);
  welcome.serves = connection->serves_paths ? FSC_SERVES_PATHS : 0;
  connection->is_greeted = TRUE;
  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_welcome (&writer, &welcome);
  send_packet (connection, &writer, FSC_OP_WELCOME, 0);
  g_debug ("Client %d (%.*s) of user %u%s", connection->peer.pid, (int) hello.name.length,
           hello.name.data, connection->peer.uid,
           connection->serves_paths ? "" : ", in another file tree");
  return TRUE;
}

/* Returns FALSE if the peer is at fault. */
static gboolean
take_message (FscConnection *connection, const FscHeader *header, FscReader *reader, FscFds *fds)
{
  guint32 serial = header->serial;

  if (!connection->is_greeted)
    return header->opcode == FSC_OP_HELLO && take_hello (connection, reader, fds);
  switch (header->opcode)
    {
    case FSC_OP_OPEN:
      return take_open (connection, serial, reader);
    case FSC_OP_GIVE_BACK:
      return take_give_back (connection, reader);
    case FSC_OP_CANCEL:
      return take_cancel (connection, reader);
    case FSC_OP_DROP:
      return take_drop (connection, serial, reader);
    case FSC_OP_PIN:
      return take_pin (connection, serial, reader);
    case FSC_OP_INFO:
      return take_info (connection, serial, reader);
    case FSC_OP_LIST:
      return take_list (connection, serial, reader);
    case FSC_OP_STATUS:
      return take_status (connection, serial, reader);
    case FSC_OP_PING:
      if (fsc_reader_finish (reader) < 0)
        return FALSE;
      send_done (connection, serial, 0);
      return TRUE;
    default:
      return FALSE;
    }
}

static void
receive (FscConnection *connection)
{
  guint8 buffer[FSC_PACKET_MAX];
  FscFds fds = { 0 };
  FscHeader header;
  FscReader reader;
  gboolean is_good;
  ssize_t length = fsc_channel_receive (connection->poll.fd, buffer, sizeof buffer, &fds,
                                        connection->is_greeted ? 0 : 1, NULL, MSG_DONTWAIT);

  if (length == -EAGAIN)
    return;
  if (length == -EMFILE) /* the HELLO is lost with its descriptor */
    {
      send_error (connection, 0, FSC_CODE_LIMIT, ENFILE, "the service has no free descriptor");
      fsc_outbox_flush (&connection->outbox, TRUE);
    }
  is_good = length > 0 && fsc_reader_begin (&reader, &header, buffer, (size_t) length, fds.n) == 0
            && take_message (connection, &header, &reader, &fds);
  fsc_fds_clear (&fds);
  if (is_good)
    {
      update_events (connection);
      return;
    }
  if (length != -ECONNRESET)
    g_info ("Client %d sent what it may not: disconnected", connection->peer.pid);
  fsc_connection_close (connection);
}

static void
connection_ready (FscPoll *poll, guint32 events)
{
  FscConnection *connection = poll->data;

  if ((events & EPOLLOUT) != 0)
    fsc_connection_flush (connection, TRUE);
  else if ((events & EPOLLIN) != 0)
    receive (connection);
  else
    fsc_connection_close (connection);
}

/* Life */

static void
connection_free (gpointer data)
{
  FscConnection *connection = data;

  g_array_unref (connection->leases);
  g_free (connection);
}

void
fsc_connection_new (FscServer *server, int socket)
{
  FscConnection *connection = g_new0 (FscConnection, 1);
  socklen_t length = sizeof connection->peer;

  connection->server = server;
  connection->poll = (FscPoll){ .fd = socket, .ready = connection_ready, .data = connection };
  connection->link.data = connection;
  connection->events = EPOLLIN;
  connection->since = fsc_loop_get_time (server->loop);
  connection->leases = g_array_new (FALSE, FALSE, sizeof (guint64));
  g_queue_init (&connection->requests);
  if (getsockopt (socket, SOL_SOCKET, SO_PEERCRED, &connection->peer, &length) < 0
      || !fsc_loop_add (server->loop, &connection->poll, EPOLLIN))
    {
      close (socket);
      connection_free (connection);
      return;
    }
  fsc_outbox_init (&connection->outbox, server, connection, socket, connection_free);
  g_queue_push_tail_link (&server->connections, &connection->link);
}

void
fsc_connection_close (FscConnection *connection)
{
  FscServer *server = connection->server;
  GList *link;

  if (connection->is_closed)
    return;
  connection->is_closed = TRUE;
  while ((link = connection->requests.head) != NULL)
    cancel_request (link->data, FALSE);
  for (guint i = 0; i < connection->leases->len; i++)
    fsc_cache_give_back (server->cache, g_array_index (connection->leases, guint64, i), connection,
                         TRUE);
  fsc_loop_remove (server->loop, &connection->poll);
  g_queue_unlink (&server->connections, &connection->link);

  /* Holders may have duplicates of the socket: the client must see the end all the same. */
  shutdown (connection->poll.fd, SHUT_RDWR);
  close (connection->poll.fd);
  fsc_listener_resume (server->listener);
  fsc_outbox_close (
      &connection->outbox); /* frees the connection, now or when its last holder answers */
}
