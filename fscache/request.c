/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a client asks to have opened, and takes back; see request.h.
 */
#include "fscache/request.h"

#include <errno.h>
#include <string.h>

#include "protocol/uri.h"

/* Replies */

static void
send_packet (FscConnection *connection, FscWriter *writer, FscOpcode opcode, guint32 serial, int fd,
             gboolean takes_fd)
{
  int length = fsc_writer_finish (writer, opcode, serial, fd >= 0);

  g_assert (length > 0); /* whoever wrote it left room */
  fsc_outbox_push_packet (&connection->outbox, writer->data, (size_t) length, fd, takes_fd);
}

void
fsc_connection_send_packet_with (FscConnection *connection, FscWriter *writer, FscOpcode opcode,
                                 guint32 serial, int fd)
{
  send_packet (connection, writer, opcode, serial, fd, FALSE);
}

void
fsc_connection_send_packet_taking (FscConnection *connection, FscWriter *writer, FscOpcode opcode,
                                   guint32 serial, int fd)
{
  send_packet (connection, writer, opcode, serial, fd, TRUE);
}

void
fsc_connection_send_packet (FscConnection *connection, FscWriter *writer, FscOpcode opcode,
                            guint32 serial)
{
  fsc_connection_send_packet_with (connection, writer, opcode, serial, -1);
}

void
fsc_connection_send_error (FscConnection *connection, guint32 serial, FscCode code, int error,
                           const char *format, ...)
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
  fsc_connection_send_packet (connection, &writer, FSC_OP_ERROR, serial);
}

void
fsc_connection_send_done (FscConnection *connection, guint32 serial, guint64 count)
{
  guint8 buffer[64];
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_done (&writer, count);
  fsc_connection_send_packet (connection, &writer, FSC_OP_DONE, serial);
}

/* OPEN */

/* What waits for an answer takes about twice its length. So that the number of requests that a user
 * may have also bounds their memory, a long one counts for several. */
#define PIECE 512

FscRequest *
fsc_request_new (FscConnection *connection, guint32 serial, guint n_items, size_t length)
{
  /* Not g_malloc0(): glibc's calloc() does not look where free() has put the last one. */
  FscRequest *request = g_malloc (sizeof *request + n_items * sizeof request->waiters[0]);

  *request = (FscRequest){
    .link.data = request,
    .connection = connection,
    .serial = serial,
    .n_items = n_items,
    .n_unanswered = n_items + 1, /* it must not go while items are begun */
    .n_pieces = (guint) (length / PIECE),
  };
  memset (request->waiters, 0, n_items * sizeof request->waiters[0]);
  fsc_connection_expect (connection, n_items + 1);
  fsc_stake_charge (connection->stake, FSC_SHARE_REQUESTS, request->n_pieces);
  g_queue_push_tail_link (&connection->requests, &request->link);
  return request;
}

static void
request_free (FscRequest *request)
{
  fsc_stake_discharge (request->connection->stake, FSC_SHARE_REQUESTS, request->n_pieces);
  g_queue_unlink (&request->connection->requests, &request->link);
  g_free (request);
}

void
fsc_request_answered (FscRequest *request)
{
  fsc_connection_answered (request->connection, 1);
  if (--request->n_unanswered == 0)
    request_free (request);
}

void
fsc_connection_note_gift (FscConnection *connection, const FscAnswer *answer)
{
  FscLease lease = { .id = answer->lease };

  lease.gift = fsc_account_note (&connection->account, answer->label, answer->handle->mount_id,
                                 answer->asked, lease.id != 0,
                                 fsc_loop_get_time (connection->server->loop));
  if (lease.id != 0)
    g_array_append_val (connection->leases, lease);
}

static void
item_answered (const FscAnswer *answer, gpointer data, guint index)
{
  FscRequest *request = data;
  FscConnection *connection = request->connection;

  request->waiters[index] = NULL;
  if (answer->handle != NULL)
    fsc_connection_note_gift (connection, answer);
  fsc_outbox_push_answer (&connection->outbox, request->serial, index, answer,
                          request->n_unanswered);
  fsc_request_answered (request);
}

void
fsc_connection_tell_progress (gpointer data, guint index, const FscProgress *progress)
{
  const FscRequest *request = data;
  const FscProgress told = { index, progress->done, progress->total };
  guint8 buffer[64];
  FscWriter writer;

  if (fsc_outbox_is_blocked (&request->connection->outbox))
    return;
  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_progress (&writer, &told);
  fsc_connection_send_packet (request->connection, &writer, FSC_OP_PROGRESS, request->serial);
}

static void
refuse_item (FscRequest *request, guint index, FscCode code, int error, const char *format,
             FscBytes uri)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *text = g_strdup_printf (format, fsc_uri_abbreviate (uri, name));
  FscAnswer answer = { .code = code, .error = error, .text = text };

  item_answered (&answer, request, index);
}

static void
refuse_by_rule (FscRequest *request, guint index, FscBytes uri, const FscRule *rule)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *text = g_strdup_printf ("cannot open %s: [rule %s] refuses it",
                                           fsc_uri_abbreviate (uri, name), rule->name);
  const FscAnswer answer = { .code = FSC_CODE_REFUSED, .error = EACCES, .text = text };

  item_answered (&answer, request, index);
}

static void
open_item (FscRequest *request, guint index, const FscItem *item)
{
  FscConnection *connection = request->connection;
  const FscRule *rule = fsc_connection_find_refusal (connection, item->uri);

  if (!connection->serves_paths && fsc_uri_names_path (item->uri))
    refuse_item (request, index, FSC_CODE_NOT_SERVED, EXDEV,
                 "cannot open %s: this client sees another file tree, or is in other groups, than "
                 "the service",
                 item->uri);
  else if (rule != NULL)
    refuse_by_rule (request, index, item->uri, rule);
  else
    request->waiters[index]
        = fsc_cache_open (connection->server->cache, connection->credential->number, item,
                          connection, item_answered, request, index);
}

gboolean
fsc_connection_may_ask (const FscConnection *connection, const FscItem *item)
{
  guint32 forbidden = FSC_OPTIONS_OF_SERVICE;

  if ((connection->features & FSC_FEATURE_CONTENT) == 0)
    forbidden |= FSC_OPTION_DIGEST;
  if ((connection->features & FSC_FEATURE_PROGRESS) == 0)
    forbidden |= FSC_OPTION_PROGRESS;
  if ((connection->features & FSC_FEATURE_PUTTING) == 0)
    forbidden |= FSC_OPTION_TAKE;
  return (item->options & forbidden) == 0 && item->mount_length == 0 && item->resume.length == 0
         && (item->validator.length == 0 || (item->options & FSC_OPTION_DIGEST) != 0);
}

gboolean
fsc_request_take_open (FscConnection *connection, guint32 serial, FscReader *reader)
{
  g_autofree FscItem *items = NULL;
  FscItem one;
  FscRequest *request;
  guint32 n;

  /* All is read before any is begun: a malformed packet asks for nothing. */
  if (!fsc_codec_get_open (reader, &n))
    return FALSE;
  if (n > 1)
    items = g_new (FscItem, n);
  for (guint32 i = 0; i < n; i++)
    {
      FscItem *item = n > 1 ? &items[i] : &one;

      if (!fsc_codec_get_item (reader, item) || !fsc_connection_may_ask (connection, item))
        return FALSE;
    }
  if (fsc_reader_finish (reader) < 0)
    return FALSE;

  request = fsc_request_new (connection, serial, n, reader->length);
  for (guint32 i = 0; i < n; i++)
    open_item (request, i, n > 1 ? &items[i] : &one);
  fsc_request_answered (request);
  return TRUE;
}

void
fsc_request_cancel (FscRequest *request, gboolean is_answered)
{
  FscConnection *connection = request->connection;

  request->n_unanswered++;
  fsc_connection_expect (connection, 1);
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
          fsc_request_answered (request);
        }
    }
  fsc_request_answered (request);
}

gboolean
fsc_request_take_cancel (FscConnection *connection, FscReader *reader)
{
  guint32 serial;

  if (!fsc_codec_get_cancel (reader, &serial) || fsc_reader_finish (reader) < 0)
    return FALSE;
  for (GList *l = connection->requests.head; l != NULL; l = l->next)
    {
      FscRequest *request = l->data;

      if (request->serial == serial)
        {
          fsc_request_cancel (request, TRUE);
          break;
        }
    }
  return TRUE;
}

void
fsc_connection_end_lease (FscConnection *connection, guint64 lease, guint32 flags)
{
  FscCache *cache = connection->server->cache;

  for (guint i = 0; i < connection->leases->len; i++)
    if (g_array_index (connection->leases, FscLease, i).id == lease)
      {
        fsc_gift_end_lease (g_array_index (connection->leases, FscLease, i).gift);
        g_array_remove_index_fast (connection->leases, i);
        break;
      }
  if ((flags & FSC_GIVE_BACK_TAKEN) != 0)
    fsc_cache_take (cache, lease, connection);
  else
    fsc_cache_give_back (cache, lease, connection, (flags & FSC_GIVE_BACK_SPENT) != 0);
}

gboolean
fsc_request_take_give_back (FscConnection *connection, FscReader *reader)
{
  guint64 lease;
  guint32 n, flags;

  if (!fsc_codec_get_give_back (reader, &flags, &n))
    return FALSE;
  for (guint32 i = 0; i < n; i++)
    {
      if (!fsc_codec_get_id (reader, &lease))
        return FALSE;
      fsc_connection_end_lease (connection, lease, flags);
    }
  return fsc_reader_finish (reader) == 0;
}
