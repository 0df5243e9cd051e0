/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One client; see connection.h. The life of a connection and the handshake are here; what it asks
 * for is in request.c and admin.c, how replies get out is in outbox.c.
 */
#include "fscache/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/closer.h"
#include "fscache/follow.h"
#include "fscache/put.h"
#include "fscache/request.h"
#include "protocol/channel.h"
#include "protocol/codec.h"

#define BLOCKED_MAX_SECONDS 60
#define GREETING_MAX_SECONDS 10

/* Of a user's connections, before others have their turn. */
#define EVENTS_AT_ONCE 2

#define FEATURES                                                                                   \
  ((guint32) (FSC_FEATURE_GENERATIONS | FSC_FEATURE_EVENTS | FSC_FEATURE_SPEAKING                  \
              | FSC_FEATURE_CONTENT | FSC_FEATURE_PROGRESS | FSC_FEATURE_ENTRY_GENERATIONS         \
              | FSC_FEATURE_PUTTING))

/* Waiting for the loop */

/* Whether the user has more under way than it may: then it is not asked for more, rather than
 * refused. Whoever has none at all may have one. */
static gboolean
is_over (const FscStake *stake, FscShare share)
{
  return stake->used[share] > 0 && !fsc_stake_has_room (stake, share, 1);
}

/* Not at once when there is room for one, else all would be woken for it. */
static gboolean
is_eased (const FscStake *stake, FscShare share)
{
  return stake->used[share] <= fsc_stake_get_limit (stake, share) / 4 * 3;
}

static void
set_paused (FscConnection *connection, gboolean is_paused)
{
  if (is_paused == connection->is_paused)
    return;
  connection->is_paused = is_paused;
  if (is_paused)
    g_queue_push_tail_link (&connection->stake->paused, &connection->pause_link);
  else
    g_queue_unlink (&connection->stake->paused, &connection->pause_link);
}

static void
update_events (FscConnection *connection)
{
  guint32 events;

  if (connection->is_closed)
    return;
  /* While the client does not read, it is not read from. The edge is there for descriptors: the
   * socket stays writable while they are unread, and each packet that is read gives an edge. */
  if (fsc_outbox_is_starved (&connection->outbox))
    events = 0; /* no event tells when that ends */
  else if (fsc_outbox_is_blocked (&connection->outbox))
    events = EPOLLOUT | EPOLLET;
  else if (connection->n_unanswered > FSC_UNANSWERED_MAX || connection->is_paused)
    events = 0;
  else
    events = EPOLLIN;
  if (fsc_outbox_is_blocked (&connection->outbox))
    fsc_server_watch_clients (connection->server);
  if (events != connection->events)
    {
      connection->events = events;
      fsc_loop_modify (connection->server->loop, &connection->poll, events);
    }
}

void
fsc_connection_resume_paused (FscStake *stake)
{
  while (stake->paused.head != NULL && is_eased (stake, FSC_SHARE_REQUESTS)
         && is_eased (stake, FSC_SHARE_UNREAD))
    {
      FscConnection *connection = stake->paused.head->data;

      set_paused (connection, FALSE);
      update_events (connection);
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
fsc_connection_flush_all (FscStake *stake)
{
  gboolean is_divided = stake->shares->is_divided;
  gint64 end = is_divided ? g_get_monotonic_time () + FSC_LOOP_SLICE : G_MAXINT64;

  stake->n_refs++; /* its last client may go */
  while (stake->dirty.length > 0)
    {
      fsc_connection_flush (stake->dirty.head->data, FALSE);
      if (is_divided && g_get_monotonic_time () >= end)
        break;
    }
  fsc_stake_unref (stake);
}

static void
flush_group (gpointer stake)
{
  fsc_connection_flush_all (stake);
}

guint
fsc_connection_get_n_waiting (const FscConnection *connection)
{
  return connection->n_unanswered;
}

gboolean
fsc_connection_check (FscConnection *connection, gint64 time)
{
  gint64 since = fsc_outbox_blocked_since (&connection->outbox);

  if (since != 0 && time - since > BLOCKED_MAX_SECONDS * G_USEC_PER_SEC)
    {
      g_info ("Client %d has not read for %d s: disconnected", connection->peer.pid,
              BLOCKED_MAX_SECONDS);
      fsc_connection_close (connection);
      return FALSE;
    }
  if (!connection->is_greeted && time - connection->since > GREETING_MAX_SECONDS * G_USEC_PER_SEC)
    {
      g_info ("Client %d has not said HELLO for %d s: disconnected", connection->peer.pid,
              GREETING_MAX_SECONDS);
      fsc_connection_close (connection);
      return FALSE;
    }
  return since != 0 || !connection->is_greeted;
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
  if (connection->serves_paths)
    close (fd);
  else /* it may be the last that keeps its mount */
    fsc_closer_close_foreign (fd);
  return TRUE;
}

/* Whether the client's groups are the service's, as which openers open: else what they may read is
 * not what the client may. */
static gboolean
has_own_groups (FscConnection *connection)
{
  const FscCredential *own = connection->credential;
  g_autofree gid_t *groups = g_new (gid_t, own->user.n_groups + 1);
  FscUser its = { .uid = connection->peer.uid, .gid = connection->peer.gid, .groups = groups };
  socklen_t length = (socklen_t) (own->user.n_groups * sizeof *groups);

  /* SO_PEERGROUPS fails with ERANGE if there are more. */
  if (getsockopt (connection->poll.fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0)
    return FALSE;
  its.n_groups = (guint) (length / sizeof *groups);
  return fsc_credential_is (own, &its);
}

static void
send_welcome (FscConnection *connection, guint32 serial)
{
  const FscGenerations *generations = connection->credential->generations;
  FscWelcome welcome = { .version = connection->version,
                         .features = connection->features,
                         .serves = connection->serves_paths ? FSC_SERVES_PATHS : 0,
                         .packet_max = FSC_PACKET_MAX,
                         .items_max = FSC_ITEMS_MAX,
                         .name = { "fscached " FSC_VERSION, strlen ("fscached " FSC_VERSION) } };
  guint8 buffer[256];
  FscWriter writer;
  int fd = -1;

  if (generations == NULL)
    welcome.features &= ~(guint32) FSC_FEATURE_GENERATIONS;
  connection->outbox.tells_content = (welcome.features & FSC_FEATURE_CONTENT) != 0;
  connection->outbox.names_generations = (welcome.features & FSC_FEATURE_GENERATIONS) != 0;
  if (connection->outbox.names_generations)
    fd = fsc_generations_get_fd (generations);
  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_welcome (&writer, &welcome);
  fsc_connection_send_packet_with (connection, &writer, FSC_OP_WELCOME, serial, fd);
}

/* Whether this user is served at all, which else is told; and with files only if its groups are
 * those of the openers. */
static gboolean
is_served (FscConnection *connection)
{
  if (fsc_spawner_serves_all (connection->server->spawner))
    {
      if (connection->credential == NULL)
        fsc_connection_send_error (connection, 0, FSC_CODE_LIMIT, EUSERS,
                                   "this fscached cannot serve user %u: it serves as many users as "
                                   "it can, or that user is in more than %d groups",
                                   connection->peer.uid, FSC_GROUPS_MAX);
      return connection->credential != NULL;
    }
  if (connection->peer.uid != 0 && !has_own_groups (connection))
    connection->serves_paths = FALSE;
  if (connection->peer.uid == geteuid () || connection->peer.uid == 0)
    return TRUE;
  fsc_connection_send_error (connection, 0, FSC_CODE_REFUSED, EACCES,
                             "this fscached serves user %u, not user %u", geteuid (),
                             connection->peer.uid);
  return FALSE;
}

/* Whether it may speak for others: not if that came by what it may not see; and where all are
 * served the spawner believes that of root alone. */
static gboolean
may_speak (const FscConnection *connection)
{
  return connection->serves_paths
         && (!fsc_spawner_serves_all (connection->server->spawner) || connection->peer.uid == 0);
}

/* It counts from when it comes: whoever does not greet has a descriptor of the service's, too. */
static gboolean
charge (FscConnection *connection)
{
  if (!fsc_stake_has_room (connection->stake, FSC_SHARE_CONNECTIONS, 1))
    return FALSE;
  fsc_stake_charge (connection->stake, FSC_SHARE_CONNECTIONS, 1);
  connection->is_charged = TRUE;
  return TRUE;
}

/* There may be room by now. */
static gboolean
is_within_share (FscConnection *connection)
{
  if (!connection->is_charged && charge (connection))
    connection->server->n_turned_away--;
  return connection->is_charged;
}

static void
refuse_connection (FscConnection *connection)
{
  const FscShares *shares = connection->stake->shares;
  g_autofree char *text = shares->is_divided
                              ? fsc_stake_explain (connection->stake, FSC_SHARE_CONNECTIONS)
                              : g_strdup_printf ("max-clients %" G_GUINT64_FORMAT " is reached",
                                                 shares->limits.max[FSC_SHARE_CONNECTIONS]);

  fsc_connection_send_error (connection, 0, FSC_CODE_LIMIT, EUSERS, "%s", text);
}

static gboolean
take_hello (FscConnection *connection, FscReader *reader, FscFds *fds)
{
  FscHello hello;

  if (!fsc_codec_get_hello (reader, &hello) || fsc_reader_finish (reader) < 0)
    return FALSE;
  if (fds->n == 1 && !check_root (connection, fsc_fds_steal (fds, 0)))
    return FALSE;

  if (!is_served (connection))
    return FALSE;
  if (!is_within_share (connection))
    {
      refuse_connection (connection);
      return FALSE;
    }
  if (hello.lowest > FSC_PROTOCOL_HIGHEST || hello.highest < FSC_PROTOCOL_LOWEST
      || hello.lowest > hello.highest)
    {
      fsc_connection_send_error (
          connection, 0, FSC_CODE_VERSION, EPROTONOSUPPORT,
          "the client speaks versions %u to %u of the protocol, the service %u to %u", hello.lowest,
          hello.highest, FSC_PROTOCOL_LOWEST, FSC_PROTOCOL_HIGHEST);
      return FALSE;
    }

  connection->is_greeted = TRUE;
  connection->refuses_fds = fsc_channel_refuse_fds (connection->poll.fd);
  connection->name = g_strndup (hello.name.data, hello.name.length);
  connection->version = MIN (hello.highest, FSC_PROTOCOL_HIGHEST);
  connection->features = hello.features & FEATURES;
  if (!may_speak (connection))
    connection->features &= ~(guint32) FSC_FEATURE_SPEAKING;
  send_welcome (connection, 0);
  g_debug ("Client %d (%s) of user %u%s", connection->peer.pid, connection->name,
           connection->peer.uid,
           connection->serves_paths ? "" : ", in another file tree or other groups");
  return TRUE;
}

/* Rules */

/* Whether a process has given up what only a sandbox makes it give up: a Landlock sandbox is not to
 * be seen from outside, but has that for its condition. What cannot be seen counts as one. */
static gboolean
is_confined (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/status", pid);
  g_autofree char *status = NULL;

  return !g_file_get_contents (path, &status, NULL, NULL)
         || strstr (status, "\nNoNewPrivs:\t0\n") == NULL
         || strstr (status, "\nSeccomp:\t0\n") == NULL;
}

static gboolean
is_sandboxed (gpointer data)
{
  FscConnection *connection = data;

  if (!connection->has_asked_whether_sandboxed)
    {
      connection->has_asked_whether_sandboxed = TRUE;
      connection->is_sandboxed = !connection->serves_paths || is_confined (connection->peer.pid);
    }
  return connection->is_sandboxed;
}

const FscRule *
fsc_connection_find_refusal (FscConnection *connection, FscBytes uri)
{
  const GPtrArray *rules = connection->credential->rules;
  char canonical[FSC_URI_MAX + 1];
  const char *reason;
  const FscRule *rule;

  if (rules == NULL || fsc_uri_canonicalize (uri, canonical, sizeof canonical, &reason) < 0)
    return NULL; /* what is no URI is refused as that */
  rule = fsc_rules_find (rules, canonical, is_sandboxed, connection);
  return rule != NULL && rule->is_refusal ? rule : NULL;
}

gboolean
fsc_connection_is_refused (FscConnection *connection, guint32 serial, const char *verb,
                           FscBytes uri)
{
  const FscRule *rule = fsc_connection_find_refusal (connection, uri);
  char name[FSC_NAME_IN_TEXT_MAX];

  if (rule != NULL)
    fsc_connection_send_error (connection, serial, FSC_CODE_REFUSED, EACCES,
                               "cannot %s %s: [rule %s] refuses it", verb,
                               fsc_uri_abbreviate (uri, name), rule->name);
  return rule != NULL;
}

/* It is served as that user from now on. */
static void
speak_for (FscConnection *connection, guint32 serial, FscUser *user)
{
  FscServer *server = connection->server;
  const FscCredential *own = fsc_credentials_get (server->credentials, FSC_CREDENTIAL_OWN);
  FscCredential *credential;

  if (!fsc_spawner_is_privileged (server->spawner) && !fsc_credential_is (own, user))
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_REFUSED, EPERM,
                                 "this fscached runs as user %u: it cannot open files as user %u, "
                                 "group %u and %u other groups",
                                 own->user.uid, user->uid, user->gid, user->n_groups);
      return;
    }
  credential = fsc_credentials_find (server->credentials, user);
  if (credential == NULL)
    {
      fsc_connection_send_error (connection, serial, FSC_CODE_LIMIT, EUSERS,
                                 "this fscached serves %u users already", FSC_CREDENTIALS_MAX);
      return;
    }
  connection->credential = credential;
  connection->is_speaking = TRUE;
  g_debug ("Client %d speaks for user %u", connection->peer.pid, user->uid);
  send_welcome (connection, serial);
}

static gboolean
take_speak_for (FscConnection *connection, guint32 serial, FscReader *reader)
{
  gid_t groups[FSC_GROUPS_MAX];
  FscSpeakFor whom;
  FscUser user;

  if (connection->has_asked || connection->is_speaking || !fsc_codec_get_speak_for (reader, &whom))
    return FALSE;
  for (guint i = 0; i < whom.n_groups; i++)
    if (!fsc_codec_get_group (reader, &groups[i]))
      return FALSE;
  if (fsc_reader_finish (reader) < 0)
    return FALSE;
  user = (FscUser){ whom.uid, whom.gid, whom.n_groups, groups };
  speak_for (connection, serial, &user);
  return TRUE;
}

/* Returns FALSE if the peer is at fault. */
static gboolean
take_message (FscConnection *connection, const FscHeader *header, FscReader *reader, FscFds *fds)
{
  guint32 serial = header->serial;

  if (!connection->is_greeted)
    return header->opcode == FSC_OP_HELLO && take_hello (connection, reader, fds);
  fsc_outbox_client_speaks (&connection->outbox);
  if (header->opcode == FSC_OP_SPEAK_FOR)
    return (connection->features & FSC_FEATURE_SPEAKING) != 0
           && take_speak_for (connection, serial, reader);
  connection->has_asked = TRUE;
  if (connection->credential->changes != NULL)
    fsc_changes_catch_up (connection->credential->changes);
  switch (header->opcode)
    {
    case FSC_OP_OPEN:
      return fsc_request_take_open (connection, serial, reader);
    case FSC_OP_GIVE_BACK:
      return fsc_request_take_give_back (connection, reader);
    case FSC_OP_CANCEL:
      return fsc_request_take_cancel (connection, reader);
    case FSC_OP_DROP:
      return fsc_admin_take_drop (connection, serial, reader);
    case FSC_OP_PIN:
      return fsc_admin_take_pin (connection, serial, reader);
    case FSC_OP_INFO:
      return fsc_admin_take_info (connection, serial, reader);
    case FSC_OP_LIST:
      return fsc_admin_take_list (connection, serial, reader);
    case FSC_OP_HOLDERS:
      return fsc_admin_take_holders (connection, serial, reader);
    case FSC_OP_STATUS:
      return fsc_admin_take_status (connection, serial, reader);
    case FSC_OP_SET:
      return fsc_admin_take_set (connection, serial, reader);
    case FSC_OP_WATCH:
      return (connection->features & FSC_FEATURE_EVENTS) != 0
             && fsc_follows_take_watch (connection->server->follows, connection, serial, reader);
    case FSC_OP_UNWATCH:
      return (connection->features & FSC_FEATURE_EVENTS) != 0
             && fsc_follows_take_unwatch (connection->server->follows, connection, serial, reader);
    case FSC_OP_PUT:
      return (connection->features & FSC_FEATURE_PUTTING) != 0
             && fsc_puts_take (connection->server->puts, connection, serial, reader);
    case FSC_OP_PING:
      if (fsc_reader_finish (reader) < 0)
        return FALSE;
      fsc_connection_send_done (connection, serial, 0);
      return TRUE;
    default:
      return FALSE;
    }
}

/* No message of a client's has descriptors, but HELLO. */
static gboolean
may_bring_fds (const FscConnection *connection)
{
  return connection->is_greeted && !connection->refuses_fds;
}

static void
receive (FscConnection *connection)
{
  guint8 buffer[FSC_PACKET_MAX];
  FscHeader header;
  FscReader reader;
  FscFds fds;
  gboolean is_good;
  ssize_t length;

  fds.n = 0; /* the rest need not be zero */
  if (may_bring_fds (connection) && fsc_channel_brings_fds (connection->poll.fd))
    length = -EPROTO;
  else
    length = fsc_channel_receive (connection->poll.fd, buffer, sizeof buffer, &fds,
                                  connection->is_greeted ? 0 : FSC_FDS_MAX, NULL, MSG_DONTWAIT);
  if (length == -EAGAIN)
    return;
  if (length == -EMFILE) /* the HELLO is lost with its descriptor */
    fsc_connection_send_error (connection, 0, FSC_CODE_LIMIT, ENFILE,
                               "the service has no free descriptor");
  is_good = length > 0 && fsc_reader_begin (&reader, &header, buffer, (size_t) length, fds.n) == 0
            && take_message (connection, &header, &reader, &fds);
  fsc_closer_clear_foreign (&fds);
  if (is_good)
    {
      set_paused (connection, is_over (connection->stake, FSC_SHARE_REQUESTS)
                                  || is_over (connection->stake, FSC_SHARE_UNREAD));
      update_events (connection);
      return;
    }
  if (length != -ECONNRESET)
    g_info ("Client %d sent what it may not: disconnected", connection->peer.pid);
  if (!connection->is_greeted)
    fsc_outbox_flush (&connection->outbox, TRUE); /* why it is turned away */
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
  fsc_stake_unref (connection->stake);
  g_free (connection->name);
  g_free (connection);
}

/* The connections of one user have their turns together, where there are several users; what cannot
 * be had is not needed. */
static FscLoopGroup *
get_group (FscServer *server, FscStake *stake)
{
  if (stake->group == NULL && stake->shares->is_divided)
    stake->group = fsc_loop_group_new (server->loop, EVENTS_AT_ONCE, flush_group, stake);
  return stake->group;
}

/* It was the last one. */
static void
leave_group (FscStake *stake)
{
  if (stake->used[FSC_SHARE_CONNECTIONS] == 0)
    g_clear_pointer (&stake->group, fsc_loop_group_free);
}

static void
discharge (FscConnection *connection)
{
  if (connection->is_charged)
    fsc_stake_discharge (connection->stake, FSC_SHARE_CONNECTIONS, 1);
  connection->is_charged = FALSE;
  leave_group (connection->stake);
}

/* NULL: it cannot be served, which it is told when it greets. */
static FscCredential *
find_credential (FscServer *server, const FscPeer *peer)
{
  FscUser user;

  if (peer == NULL)
    return fsc_credentials_get (server->credentials, FSC_CREDENTIAL_OWN);
  user = peer->user;
  return peer->is_known ? fsc_credentials_find (server->credentials, &user) : NULL;
}

void
fsc_connection_new (FscServer *server, int socket, const FscPeer *peer, gboolean may_greet)
{
  FscConnection *connection = g_new0 (FscConnection, 1);
  socklen_t length = sizeof connection->peer;

  connection->server = server;
  connection->credential = find_credential (server, peer);
  connection->poll = (FscPoll){ .fd = socket, .ready = connection_ready, .data = connection };
  connection->link.data = connection;
  connection->pause_link.data = connection;
  connection->events = EPOLLIN;
  connection->since = fsc_loop_get_time (server->loop);
  connection->leases = g_array_new (FALSE, FALSE, sizeof (FscLease));
  g_queue_init (&connection->requests);
  if (getsockopt (socket, SOL_SOCKET, SO_PEERCRED, &connection->peer, &length) < 0)
    connection->peer.uid = (uid_t) -1;
  connection->stake = fsc_shares_ref_stake (server->shares, connection->peer.uid);
  if (charge (connection))
    connection->poll.group = get_group (server, connection->stake);
  if (connection->peer.uid == (uid_t) -1 || (!connection->is_charged && !may_greet)
      || !fsc_loop_add (server->loop, &connection->poll, EPOLLIN))
    {
      discharge (connection);
      fsc_closer_close_foreign (socket);
      connection_free (connection);
      return;
    }
  server->n_turned_away += !connection->is_charged;
  connection->number = ++server->last_connection;
  fsc_account_init (&connection->account, server->ledger);
  fsc_outbox_init (&connection->outbox, server, connection, connection->stake, socket,
                   connection_free);
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
    fsc_request_cancel (link->data, FALSE);
  fsc_follows_forget (server->follows, connection);
  fsc_puts_forget (server->puts, connection);
  for (guint i = 0; i < connection->leases->len; i++)
    fsc_cache_give_back (server->cache, g_array_index (connection->leases, FscLease, i).id,
                         connection, TRUE);
  fsc_account_clear (&connection->account);
  fsc_connection_answered (connection, connection->n_unanswered); /* there will be no answer */
  set_paused (connection, FALSE);
  fsc_loop_remove (server->loop, &connection->poll);
  server->n_turned_away -= !connection->is_charged;
  discharge (connection);
  g_queue_unlink (&server->connections, &connection->link);

  /* Holders may have duplicates of the socket: the client must see the end all the same. */
  shutdown (connection->poll.fd, SHUT_RDWR);
  if (connection->refuses_fds)
    close (connection->poll.fd);
  else
    fsc_closer_close_foreign (connection->poll.fd);
  fsc_listener_resume (server->listener);
  fsc_outbox_close (
      &connection->outbox); /* frees the connection, now or when its last holder answers */
}
