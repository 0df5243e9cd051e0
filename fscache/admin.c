/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a client asks of the cache itself: DROP, PIN, INFO, LIST, STATUS; see request.h.
 */
#include "fscache/request.h"

#include <errno.h>
#include <string.h>

#include "protocol/uri.h"

static void
drop_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  fsc_cache_drop (cache, entry);
}

gboolean
fsc_admin_take_drop (FscConnection *connection, guint32 serial, FscReader *reader)
{
  FscTarget target;

  if (!fsc_codec_get_target (reader, &target) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (target.uri.length == 0)
    fsc_connection_send_error (connection, serial, FSC_CODE_BAD_REQUEST, EINVAL,
                               "no URI or pattern was given to drop (* drops all)");
  else
    fsc_connection_send_done (
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

  fsc_connection_send_error (
      connection, serial, FSC_CODE_LIMIT, ENOSPC,
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
    fsc_connection_send_done (connection, serial, pin.n);
  else
    fsc_connection_send_error (connection, serial, FSC_CODE_NOT_CACHED, ENOENT, "%s is not cached",
                               fsc_uri_abbreviate (target->uri, name));
}

/* A pin that waits for the resource to be opened. */
static void
pin_opened (const FscAnswer *answer, gpointer data, guint index)
{
  FscRequest *request = data;
  FscConnection *connection = request->connection;
  char name[FSC_NAME_IN_TEXT_MAX];

  request->waiters[0] = NULL;
  if (answer->handle == NULL)
    fsc_connection_send_error (connection, request->serial, answer->code, answer->error, "%s",
                               answer->text != NULL ? answer->text : "it could not be opened");
  else if (answer->source != FSC_SOURCE_PASSED)
    pin_cached (connection, request->serial, &(FscTarget){ .uri = answer->uri, .pinned = true });
  else if (answer->coherence == FSC_COHERENCE_UNCACHED)
    fsc_connection_send_error (connection, request->serial, FSC_CODE_BAD_REQUEST, EOPNOTSUPP,
                               "cannot pin %s: handles on its file system are not kept",
                               fsc_uri_abbreviate (answer->uri, name));
  else
    refuse_pin (connection, request->serial, answer->uri); /* all are pinned or lent */
  fsc_request_answered (request);
}

gboolean
fsc_admin_take_pin (FscConnection *connection, guint32 serial, FscReader *reader)
{
  FscItem item = { .options = FSC_OPTION_REOPENS };
  FscTarget target;
  FscRequest *request;

  if (!fsc_codec_get_target (reader, &target) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (!target.pinned || target.is_pattern)
    {
      pin_cached (connection, serial, &target);
      return TRUE;
    }
  if (!connection->serves_paths && fsc_uri_has_scheme (target.uri, "file"))
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_NOT_SERVED, EXDEV,
                                 "cannot pin: this client sees another file tree, or is in other "
                                 "groups, than the service");
      return TRUE;
    }

  item.uri = target.uri;
  request = fsc_request_new (connection, serial, 1);
  request->waiters[0] = fsc_cache_open (connection->server->cache, OWN_CREDENTIAL, &item,
                                        connection, pin_opened, request, 0);
  fsc_request_answered (request);
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
  fsc_connection_send_packet (connection, &page->writer, FSC_OP_ENTRIES, serial);
}

static void
page_begin (Page *page)
{
  page->n = 0;
  fsc_writer_begin (&page->writer, page->buffer, sizeof page->buffer);
  fsc_codec_put_entries (&page->writer, 0, 0);
}

gboolean
fsc_admin_take_info (FscConnection *connection, guint32 serial, FscReader *reader)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  FscTarget target;
  Page page;

  if (!fsc_codec_get_target (reader, &target) || fsc_reader_finish (reader) < 0)
    return FALSE;
  page_begin (&page);
  target.is_pattern = false;
  if (target.uri.length == 0)
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_BAD_URI, EINVAL, "no URI was given");
      return TRUE;
    }
  fsc_cache_foreach (connection->server->cache, OWN_CREDENTIAL, &target, put_entry_if_room, &page);
  if (page.n > 0)
    send_page (connection, serial, &page, 0);
  else
    fsc_connection_send_error (connection, serial, FSC_CODE_NOT_CACHED, ENOENT, "%s is not cached",
                               fsc_uri_abbreviate (target.uri, name));
  return TRUE;
}

gboolean
fsc_admin_take_list (FscConnection *connection, guint32 serial, FscReader *reader)
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

gboolean
fsc_admin_take_status (FscConnection *connection, guint32 serial, FscReader *reader)
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
  fsc_connection_send_packet (connection, &page.writer, FSC_OP_COUNTERS, serial);
  return TRUE;
}
