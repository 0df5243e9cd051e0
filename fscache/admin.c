/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a client asks of the cache itself: DROP, PIN, INFO, LIST, HOLDERS, STATUS,
 * SET; see request.h.
 */
#include "fscache/request.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fscache/settings.h"
#include "protocol/uri.h"

/* ENTRIES, COUNTERS or HOLDINGS while it is written. */
typedef struct
{
  FscWriter writer;
  guint32 n;
  gboolean tells_content;   /* the client has asked for that */
  gboolean has_generations; /* ENTRIES: the client knows of them */
  guint8 buffer[FSC_PACKET_MAX];
} Page;

static void
put_counter (const char *name, guint64 value, gpointer data)
{
  Page *page = data;

  fsc_codec_put_counter (&page->writer, &(FscCounter){ { name, strlen (name) }, value });
  page->n++;
}

static void
begin_counters (Page *page)
{
  page->n = 0;
  fsc_writer_begin (&page->writer, page->buffer, sizeof page->buffer);
  fsc_codec_put_counters (&page->writer, 0);
}

static void
send_counters (FscConnection *connection, guint32 serial, Page *page)
{
  FscWriter head;

  fsc_writer_begin (&head, page->buffer, sizeof page->buffer);
  fsc_codec_put_counters (&head, page->n);
  fsc_connection_send_packet (connection, &page->writer, FSC_OP_COUNTERS, serial);
}

/* Mounts. The service walks no path: where a mount is, the text says. */

/* The path that a URI names, without what stands for nothing at its end. */
static gboolean
get_path (FscBytes uri, char path[FSC_URI_MAX + 1])
{
  char canonical[FSC_URI_MAX + 1];
  const char *reason;
  int length = fsc_uri_canonicalize (uri, canonical, sizeof canonical, &reason);

  if (length > 0)
    length = fsc_uri_to_path ((FscBytes){ canonical, (size_t) length }, path, FSC_URI_MAX + 1);
  if (length <= 0)
    return FALSE;
  if (length > 2 && g_str_has_suffix (path, "/."))
    path[length -= 2] = '\0';
  while (length > 1 && path[length - 1] == '/')
    path[--length] = '\0';
  return TRUE;
}

/* The mounts (of FscMount) that are meant, and in `path` where; or NULL, and the client is told
 * why.
 */
static GArray *
find_mounts (FscConnection *connection, guint32 serial, FscBytes uri, gboolean is_deep,
             char path[FSC_URI_MAX + 1])
{
  FscMounts *mounts = connection->server->mounts;
  char name[FSC_NAME_IN_TEXT_MAX];
  const FscMount *around;
  GArray *tree;

  if (!get_path (uri, path))
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_BAD_URI, EINVAL,
                                 "%s is not the path of a mount", fsc_uri_abbreviate (uri, name));
      return NULL;
    }
  if (!connection->serves_paths)
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_NOT_SERVED, EXDEV,
                                 "cannot find the mount %s: this client sees another file tree, or "
                                 "is in other groups, than the service",
                                 fsc_uri_abbreviate ((FscBytes){ path, strlen (path) }, name));
      return NULL;
    }
  fsc_mounts_forget (mounts);
  tree = fsc_mounts_get_tree (mounts, path, is_deep);
  if (tree != NULL)
    return tree;
  around = fsc_mounts_find (mounts, path);
  fsc_connection_send_error (connection, serial, FSC_CODE_BAD_REQUEST, EINVAL,
                             "%s is no mount point: it lies on the mount %.160s",
                             fsc_uri_abbreviate ((FscBytes){ path, strlen (path) }, name),
                             around != NULL ? around->path : "(unknown)");
  return NULL;
}

/* What concerns all users is not for who speaks for one of them, and where all are served only for
 * root and the service's own user. */
static gboolean
is_for_all (FscConnection *connection, guint32 serial, const char *what)
{
  uid_t uid = connection->peer.uid;

  if (connection->is_speaking)
    fsc_connection_send_error (connection, serial, FSC_CODE_REFUSED, EPERM,
                               "%s concerns all users, and this client speaks for user %u", what,
                               connection->credential->user.uid);
  else if (uid != 0 && uid != geteuid ())
    fsc_connection_send_error (connection, serial, FSC_CODE_REFUSED, EPERM,
                               "%s concerns all users: only root may do it, not user %u", what,
                               uid);
  else
    return TRUE;
  return FALSE;
}

/* Whether a record may be of something on one of the mounts: IDs are used again. */
static gboolean
is_on_mounts (const FscGift *gift, const GArray *mounts)
{
  for (guint i = 0; i < mounts->len; i++)
    {
      const FscMount *mount = &g_array_index (mounts, FscMount, i);

      if (mount->id == gift->mount_id && gift->last >= mount->since)
        return TRUE;
    }
  return FALSE;
}

/* A DROP of mounts, until all is closed. */
typedef struct
{
  FscServer *server;
  guint64 connection; /* its number: it may go */
  guint32 serial;
  GArray *mounts;
  guint64 n_handles;
  guint n_openers, n_failed;
} Drop;

static void
put_given (Page *page, FscServer *server, const GArray *mounts)
{
  guint64 given = 0, lent = 0, clients = 0, forgotten = 0;

  for (GList *l = server->connections.head; l != NULL; l = l->next)
    {
      const FscConnection *connection = l->data;
      guint64 its = 0;

      for (guint i = 0; i < connection->account.gifts->len; i++)
        {
          const FscGift *gift = connection->account.gifts->pdata[i];

          if (!is_on_mounts (gift, mounts))
            continue;
          its += fsc_gift_count (gift);
          lent += gift->lent;
        }
      given += its;
      clients += its > 0;
      forgotten += connection->account.forgotten;
    }
  put_counter ("given", given, page);
  put_counter ("lent", lent, page);
  put_counter ("clients", clients, page);
  put_counter ("forgotten", forgotten, page);
}

static FscConnection *
find_connection (FscServer *server, guint64 number)
{
  for (GList *l = server->connections.head; l != NULL; l = l->next)
    if (((FscConnection *) l->data)->number == number)
      return l->data;
  return NULL;
}

static void
mounts_released (guint n_left, gpointer data)
{
  g_autofree Drop *drop = data;
  g_autoptr (GArray) mounts = drop->mounts;
  FscConnection *connection = find_connection (drop->server, drop->connection);
  Page page;

  if (connection == NULL)
    return;
  fsc_connection_answered (connection, 1);
  begin_counters (&page);
  put_counter ("mounts", mounts->len, &page);
  put_counter ("handles", drop->n_handles, &page);
  put_counter ("openers", drop->n_openers, &page);
  put_counter ("stuck", n_left, &page);
  put_counter ("failed", drop->n_failed, &page);
  put_given (&page, drop->server, mounts);
  send_counters (connection, drop->serial, &page);
}

static void
drop_mounts (FscConnection *connection, guint32 serial, const FscTarget *target)
{
  FscServer *server = connection->server;
  g_autoptr (GPtrArray) holders = g_ptr_array_new ();
  char path[FSC_URI_MAX + 1], name[FSC_NAME_IN_TEXT_MAX];
  GArray *mounts = find_mounts (connection, serial, target->uri, target->is_deep, path);
  guint n_lost = 0;
  Drop *drop;

  if (mounts == NULL)
    return;
  fsc_uri_abbreviate ((FscBytes){ path, strlen (path) }, name);
  drop = g_new0 (Drop, 1);
  *drop = (Drop){
    .server = server, .connection = connection->number, .serial = serial, .mounts = mounts
  };
  for (guint i = 0; i < mounts->len; i++)
    drop->n_handles
        += fsc_cache_drop_mount (server->cache, g_array_index (mounts, FscMount, i).id, holders);
  for (GList *l = server->connections.head; l != NULL; l = l->next)
    n_lost += fsc_outbox_release (&((FscConnection *) l->data)->outbox, mounts, holders, name);
  fsc_connection_expect (connection, 1);
  fsc_lanes_release (server->lanes, mounts, holders, name, &drop->n_openers, &drop->n_failed,
                     mounts_released, drop);
  drop->n_failed += n_lost;
}

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
  else if (target.is_mount && is_for_all (connection, serial, "letting go of a mount"))
    drop_mounts (connection, serial, &target);
  else if (!target.is_mount)
    fsc_connection_send_done (connection, serial,
                              fsc_cache_foreach (connection->server->cache,
                                                 connection->credential->number, &target,
                                                 drop_entry, NULL));
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
  if ((info.state & FSC_ENTRY_NEGATIVE) != 0)
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
  const FscStake *stake = connection->credential->stake;
  char name[FSC_NAME_IN_TEXT_MAX];

  if (server->shares->is_divided && !fsc_stake_has_room (stake, FSC_SHARE_HANDLES, 1))
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_LIMIT, ENOSPC,
                                 "cannot pin %s: all %" G_GUINT64_FORMAT
                                 " handles that user %u may have (of max-handles=%" G_GUINT64_FORMAT
                                 ") are pinned or lent",
                                 fsc_uri_abbreviate (uri, name),
                                 fsc_stake_get_limit (stake, FSC_SHARE_HANDLES), stake->uid,
                                 fsc_cache_get_limits (server->cache)->max_handles);
      return;
    }
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

  fsc_cache_foreach (cache, connection->credential->number, target, pin_entry, &pin);
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
    pin_cached (connection, request->serial,
                &(FscTarget){ .uri = fsc_label_get_uri (answer->label), .pinned = true });
  else if (answer->coherence == FSC_COHERENCE_UNCACHED)
    fsc_connection_send_error (connection, request->serial, FSC_CODE_BAD_REQUEST, EOPNOTSUPP,
                               "cannot pin %s: handles on its file system are not kept",
                               fsc_uri_abbreviate (fsc_label_get_uri (answer->label), name));
  else
    refuse_pin (connection, request->serial,
                fsc_label_get_uri (answer->label)); /* all are pinned or lent */
  fsc_request_answered (request);
}

/* To pin it would open one, which belongs to whoever asked. */
static gboolean
is_connection (const FscServer *server, FscBytes uri)
{
  const FscProvider *provider = fsc_providers_find (server->config->providers, uri);

  return provider != NULL && provider->pool.max > 0;
}

gboolean
fsc_admin_take_pin (FscConnection *connection, guint32 serial, FscReader *reader)
{
  FscItem item = { .options = FSC_OPTION_REOPENS };
  FscTarget target;
  FscRequest *request;

  if (!fsc_codec_get_target (reader, &target) || fsc_reader_finish (reader) < 0 || target.is_mount)
    return FALSE;
  if (!target.pinned || target.is_pattern)
    {
      pin_cached (connection, serial, &target);
      return TRUE;
    }
  if (!connection->serves_paths && fsc_uri_names_path (target.uri))
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_NOT_SERVED, EXDEV,
                                 "cannot pin: this client sees another file tree, or is in other "
                                 "groups, than the service");
      return TRUE;
    }

  if (is_connection (connection->server, target.uri))
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_BAD_REQUEST, EOPNOTSUPP,
                                 "cannot pin a connection: idle-time=0 in the configuration keeps "
                                 "a pool as it is, and fscachectl warm fills it");
      return TRUE;
    }

  if (fsc_connection_is_refused (connection, serial, "pin", target.uri))
    return TRUE;
  item.uri = target.uri;
  request = fsc_request_new (connection, serial, 1, reader->length);
  request->waiters[0] = fsc_cache_open (connection->server->cache, connection->credential->number,
                                        &item, connection, pin_opened, request, 0);
  fsc_request_answered (request);
  return TRUE;
}

static gboolean
put_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  Page *page = data;
  FscEntryInfo info;

  fsc_cache_describe (cache, entry, &info);
  if (!page->tells_content)
    info.content = (FscContentInfo){ 0 };
  if (!page->has_generations)
    info.generation = 0;
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
page_begin (Page *page, const FscConnection *connection)
{
  page->n = 0;
  page->tells_content = (connection->features & FSC_FEATURE_CONTENT) != 0;
  page->has_generations = (connection->features & FSC_FEATURE_ENTRY_GENERATIONS) != 0;
  fsc_writer_begin (&page->writer, page->buffer, sizeof page->buffer);
  fsc_codec_put_entries (&page->writer, 0, 0);
}

gboolean
fsc_admin_take_info (FscConnection *connection, guint32 serial, FscReader *reader)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  FscTarget target;
  Page page;

  if (!fsc_codec_get_target (reader, &target) || fsc_reader_finish (reader) < 0 || target.is_mount)
    return FALSE;
  page_begin (&page, connection);
  target.is_pattern = false;
  if (target.uri.length == 0)
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_BAD_URI, EINVAL, "no URI was given");
      return TRUE;
    }
  fsc_cache_foreach (connection->server->cache, connection->credential->number, &target,
                     put_entry_if_room, &page);
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
  page_begin (&page, connection);
  next = fsc_cache_list (connection->server->cache, connection->credential->number,
                         &(FscTarget){ .uri = list.uri, .is_pattern = list.is_pattern },
                         list.cursor, put_entry, &page);
  send_page (connection, serial, &page, next);
  return TRUE;
}

/* HOLDERS */

/* Whose records are asked for. */
typedef struct
{
  GArray *mounts;        /* of FscMount, or NULL */
  GPatternSpec *pattern; /* or NULL */
  char *uri;             /* canonical, or NULL */
} Wanted;

static void
wanted_clear (Wanted *wanted)
{
  g_clear_pointer (&wanted->mounts, g_array_unref);
  g_clear_pointer (&wanted->pattern, g_pattern_spec_free);
  g_clear_pointer (&wanted->uri, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Wanted, wanted_clear)

/* Returns FALSE if the client has been told why not. */
static gboolean
find_wanted (FscConnection *connection, guint32 serial, const FscList *list, Wanted *wanted)
{
  char text[FSC_URI_MAX + 1];
  const char *reason;

  if (list->is_mount)
    {
      wanted->mounts = find_mounts (connection, serial, list->uri, list->is_deep, text);
      return wanted->mounts != NULL;
    }
  if (list->uri.length == 0)
    return TRUE;
  if (list->is_pattern)
    wanted->pattern = fsc_cache_make_pattern (list->uri);
  else if (fsc_uri_canonicalize (list->uri, text, sizeof text, &reason) > 0)
    wanted->uri = g_strdup (text);
  else
    wanted->uri = g_strndup (list->uri.data, list->uri.length);
  return TRUE;
}

static gboolean
is_wanted (const FscGift *gift, const Wanted *wanted)
{
  const FscLabel *label = gift->label;

  return (wanted->mounts == NULL || is_on_mounts (gift, wanted->mounts))
         && (wanted->uri == NULL || strcmp (wanted->uri, label->uri) == 0)
         && (wanted->pattern == NULL
             || g_pattern_spec_match (wanted->pattern, label->uri_length, label->uri, NULL));
}

static gboolean
put_holding (Page *page, const FscConnection *connection, FscHolding *holding, gint64 first,
             gint64 last)
{
  gint64 time = fsc_loop_get_time (connection->server->loop);

  holding->client = connection->number;
  holding->pid = (guint32) connection->peer.pid;
  holding->uid = connection->is_speaking ? connection->credential->user.uid : connection->peer.uid;
  holding->name = (FscBytes){ connection->name, strlen (connection->name) };
  holding->first_ms = (guint64) MAX (time - first, 0) / 1000;
  holding->last_ms = (guint64) MAX (time - last, 0) / 1000;
  if (page->writer.position + fsc_codec_holding_size (holding) > sizeof page->buffer)
    return FALSE;
  fsc_codec_put_holding (&page->writer, holding);
  page->n++;
  return TRUE;
}

/* Returns FALSE if there is no room for all of it. */
static gboolean
put_gift (Page *page, const FscConnection *connection, const FscGift *gift)
{
  FscWriter before = page->writer;
  guint32 n = page->n;

  for (FscSharing sharing = 0; sharing <= FSC_SHARING_LAST; sharing++)
    {
      FscHolding holding = {
        .uri = fsc_label_get_uri (gift->label),
        .given = gift->given[sharing],
        .lent = sharing == FSC_SHARING_EXCLUSIVE ? (guint32) gift->lent : 0,
        .mount_id = gift->mount_id,
        .sharing = sharing,
      };

      if (holding.given == 0 || put_holding (page, connection, &holding, gift->first, gift->last))
        continue;
      page->writer = before;
      page->n = n;
      return FALSE;
    }
  return TRUE;
}

/* A cursor is the number of a connection and how many of its records have been seen. A page ends
 * when it is full, or when so many records have been looked at that others should have their turn.
 */
#define CURSOR_BITS 32
#define RECORDS_A_PAGE 65536

static guint64
put_holdings (Page *page, FscServer *server, const Wanted *wanted, guint64 cursor)
{
  guint64 number = cursor >> CURSOR_BITS;
  guint at = (guint) (cursor & G_MAXUINT32);
  guint left = RECORDS_A_PAGE;

  for (GList *l = server->connections.head; l != NULL; l = l->next)
    {
      const FscConnection *connection = l->data;
      const FscAccount *account = &connection->account;
      guint i = connection->number == number ? at : 0;

      if (connection->number < number || !connection->is_greeted)
        continue;
      for (; i < account->gifts->len; i++, left--)
        {
          const FscGift *gift = account->gifts->pdata[i];

          if (left == 0 || (is_wanted (gift, wanted) && !put_gift (page, connection, gift)))
            return connection->number << CURSOR_BITS | i;
        }
      if (account->forgotten > 0
          && !put_holding (page, connection, &(FscHolding){ .given = account->forgotten },
                           account->forgotten_at, account->forgotten_at))
        return connection->number << CURSOR_BITS | i;
    }
  return 0;
}

gboolean
fsc_admin_take_holders (FscConnection *connection, guint32 serial, FscReader *reader)
{
  g_auto (Wanted) wanted = { 0 };
  FscWriter head;
  guint64 next;
  FscList list;
  Page page;

  if (!fsc_codec_get_holders (reader, &list) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (!is_for_all (connection, serial, "who was given what")
      || !find_wanted (connection, serial, &list, &wanted))
    return TRUE;
  page.n = 0;
  fsc_writer_begin (&page.writer, page.buffer, sizeof page.buffer);
  fsc_codec_put_holdings (&page.writer, 0, 0);
  next = put_holdings (&page, connection->server, &wanted, list.cursor);
  fsc_writer_begin (&head, page.buffer, sizeof page.buffer);
  fsc_codec_put_holdings (&head, next, page.n);
  fsc_connection_send_packet (connection, &page.writer, FSC_OP_HOLDINGS, serial);
  return TRUE;
}

/* STATUS */

/* Of a page, with room for all else. */
#define USERS_SHOWN 64

/* What a user has and may have; what has no limit has no second counter. */
static void
put_stake (Page *page, const FscStake *stake)
{
  for (FscShare share = 0; share < FSC_N_SHARES; share++)
    {
      guint64 limit = fsc_stake_get_limit (stake, share);
      g_autofree char *name
          = g_strdup_printf ("user_%u_%s", stake->uid, fsc_share_get_name (share));
      g_autofree char *name_of_limit = g_strconcat (name, "_max", NULL);

      put_counter (name, stake->used[share], page);
      if (limit != G_MAXUINT64)
        put_counter (name_of_limit, limit, page);
    }
}

/* One's own; an administrator is told of the others, too. */
static void
put_shares (Page *page, const FscStake *own)
{
  g_autoptr (GPtrArray) stakes = fsc_shares_ref_all (own->shares);
  guint n = 1;

  put_stake (page, own);
  for (guint i = 0; own->is_administrator && i < stakes->len && n < USERS_SHOWN; i++)
    if (stakes->pdata[i] != own)
      {
        put_stake (page, stakes->pdata[i]);
        n++;
      }
}

gboolean
fsc_admin_take_status (FscConnection *connection, guint32 serial, FscReader *reader)
{
  Page page;

  if (fsc_reader_finish (reader) < 0)
    return FALSE;
  begin_counters (&page);
  fsc_server_foreach_counter (connection->server, put_counter, &page);
  if (connection->server->shares->is_divided)
    put_shares (&page, connection->stake);
  send_counters (connection, serial, &page);
  return TRUE;
}

/* SET: one limit, or none, and then all are told. */
gboolean
fsc_admin_take_set (FscConnection *connection, guint32 serial, FscReader *reader)
{
  g_autoptr (GError) error = NULL;
  FscCounter limit;
  Page page;

  if (!fsc_codec_get_set (reader, &limit) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (!is_for_all (connection, serial, "what the limits are"))
    return TRUE;
  if (limit.name.length > 0
      && !fsc_settings_set (connection->server, limit.name, limit.value, &error))
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_BAD_REQUEST, EINVAL, "%s",
                                 error->message);
      return TRUE;
    }
  begin_counters (&page);
  fsc_settings_foreach (connection->server, put_counter, &page);
  send_counters (connection, serial, &page);
  return TRUE;
}
