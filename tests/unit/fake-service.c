/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A service for tests of the client; see fake-service.h.
 */
#include "tests/unit/fake-service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "protocol/uri.h"

typedef struct
{
  int fd;
  gboolean is_welcome;
  GArray *hanging; /* serials and indices of what is never answered */
} Peer;

typedef struct
{
  uint32_t serial;
  unsigned index;
} Hanging;

struct _FakeService
{
  char *path;
  pthread_mutex_t lock; /* and not GMutex: the thread sanitizer does not see into GLib */
  FakeOrders orders;
  FakeSeen seen;
  pthread_t thread;
  gboolean is_running;
  int listener, wakeup;
  gboolean is_stopping;
  GPtrArray *peers; /* the thread's */
  uint64_t last_lease;
  int table_fd; /* of generations: of one run of the service */
  uint32_t *table;
  int watcher;       /* the socket on which the last WATCH came; with the lock */
  GHashTable *slots; /* path -> slot + 1; with the lock */
  uint8_t in[FSC_PACKET_MAX], out[FSC_PACKET_MAX];
};

static void
peer_free (gpointer data)
{
  Peer *peer = data;

  close (peer->fd);
  g_array_unref (peer->hanging);
  g_free (peer);
}

/* Takes one of a number of orders. */
static gboolean
take (FakeService *fake, int *order)
{
  gboolean is_due;

  pthread_mutex_lock (&fake->lock);
  is_due = *order > 0;
  *order -= is_due;
  pthread_mutex_unlock (&fake->lock);
  return is_due;
}

static gboolean
send_out (FakeService *fake, Peer *peer, FscWriter *writer, FscOpcode opcode, uint32_t serial,
          const int *fds, unsigned n_fds)
{
  int length = fsc_writer_finish (writer, opcode, serial, n_fds);

  g_assert_cmpint (length, >, 0);
  return fsc_channel_send (peer->fd, fake->out, (size_t) length, fds, n_fds, 0) == 0;
}

static FscBytes
bytes (const char *text)
{
  return (FscBytes){ text, strlen (text) };
}

static gboolean
send_error (FakeService *fake, Peer *peer, uint32_t serial, FscCode code, int error,
            const char *text)
{
  FscError body = { .code = code, .error = error, .text = bytes (text) };
  FscWriter writer;

  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  fsc_codec_put_error (&writer, &body);
  return send_out (fake, peer, &writer, FSC_OP_ERROR, serial, NULL, 0);
}

/* Generations */

static void
make_table (FakeService *fake)
{
  size_t size = FAKE_SLOTS * sizeof (uint32_t);

  fake->slots = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  fake->table_fd = memfd_create ("fake-generations", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  g_assert_cmpint (ftruncate (fake->table_fd, (off_t) size), ==, 0);
  fake->table = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fake->table_fd, 0);
  g_assert_true (fake->table != MAP_FAILED);
  if (!fake->orders.bad_table)
    g_assert_cmpint (fcntl (fake->table_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), ==,
                     0);
}

static void
free_table (FakeService *fake)
{
  munmap (fake->table, FAKE_SLOTS * sizeof (uint32_t));
  close (fake->table_fd);
  g_clear_pointer (&fake->slots, g_hash_table_unref);
}

static uint64_t
name_slot (FakeService *fake, const char *path)
{
  uint64_t slot;
  uint32_t generation;

  pthread_mutex_lock (&fake->lock);
  slot = GPOINTER_TO_UINT (g_hash_table_lookup (fake->slots, path));
  if (slot == 0)
    {
      slot = g_hash_table_size (fake->slots) + 1;
      g_hash_table_insert (fake->slots, g_strdup (path), GUINT_TO_POINTER (slot));
      if (slot <= FAKE_SLOTS)
        __atomic_store_n (&fake->table[slot - 1], 1, __ATOMIC_RELAXED);
    }
  generation = slot <= FAKE_SLOTS ? __atomic_load_n (&fake->table[slot - 1], __ATOMIC_RELAXED) : 0;
  pthread_mutex_unlock (&fake->lock);
  return generation == 0 ? 0 : slot << 32 | generation;
}

void
fake_service_end_generation (FakeService *fake, const char *path)
{
  uint64_t slot;

  pthread_mutex_lock (&fake->lock);
  slot = fake->slots != NULL ? GPOINTER_TO_UINT (g_hash_table_lookup (fake->slots, path)) : 0;
  if (slot > 0 && slot <= FAKE_SLOTS)
    __atomic_add_fetch (&fake->table[slot - 1], 1, __ATOMIC_RELEASE);
  pthread_mutex_unlock (&fake->lock);
}

static gboolean
handle_hello (FakeService *fake, Peer *peer, FscReader *reader, unsigned n_fds)
{
  FscHello hello;
  FscWelcome welcome = { .version = 1, .packet_max = FSC_PACKET_MAX };
  FscCode refusal;
  FscWriter writer;
  gboolean has_table, has_events, knows_content, takes_puts;

  g_assert_true (fsc_codec_get_hello (reader, &hello));
  g_assert_cmpint (fsc_reader_finish (reader), ==, 0);
  pthread_mutex_lock (&fake->lock);
  fake->seen.had_root = n_fds == 1;
  refusal = fake->orders.refusal;
  has_table = fake->orders.has_table && (hello.features & FSC_FEATURE_GENERATIONS) != 0;
  has_events = fake->orders.has_events && (hello.features & FSC_FEATURE_EVENTS) != 0;
  knows_content = fake->orders.knows_content;
  takes_puts = fake->orders.takes_puts;
  welcome.serves = fake->orders.serves_nothing ? 0 : FSC_SERVES_PATHS;
  welcome.items_max = fake->orders.items_max > 0 ? fake->orders.items_max : FSC_ITEMS_MAX;
  pthread_mutex_unlock (&fake->lock);
  if (refusal != FSC_CODE_OK)
    {
      send_error (fake, peer, 0, refusal, EACCES, "you are not welcome");
      return FALSE;
    }
  welcome.name = bytes ("fake 1.0");
  welcome.features = (has_table ? FSC_FEATURE_GENERATIONS : 0)
                     | (has_events ? FSC_FEATURE_EVENTS : 0)
                     | (knows_content ? FSC_FEATURE_CONTENT | FSC_FEATURE_PROGRESS : 0)
                     | (takes_puts ? FSC_FEATURE_PUTTING : 0);
  peer->is_welcome = TRUE;
  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  fsc_codec_put_welcome (&writer, &welcome);
  return send_out (fake, peer, &writer, FSC_OP_WELCOME, 0, &fake->table_fd, has_table);
}

/* Opening */

static void
open_file (FakeService *fake, const FscItem *item, FscResult *result, int *fd)
{
  char path[FSC_URI_MAX + 1];
  gboolean is_local, has_table;
  uint32_t lifetime_ms;
  uint64_t name;
  int canned;

  pthread_mutex_lock (&fake->lock);
  canned = fake->orders.canned_fd;
  is_local = fake->orders.answers_not_served;
  has_table = fake->orders.has_table;
  lifetime_ms = fake->orders.lifetime_ms;
  pthread_mutex_unlock (&fake->lock);
  g_assert_cmpint (fsc_uri_to_path (item->uri, path, sizeof path), >=, 0);
  if (is_local)
    {
      result->code = FSC_CODE_NOT_SERVED;
      result->error = EXDEV;
      return;
    }
  name = has_table ? name_slot (fake, path) : 0; /* before the look at the file */
  *fd = canned >= 0 ? canned
                    : open (path, (int) item->flags | O_CLOEXEC, item->mode & ~item->umask);
  if (*fd < 0)
    {
      result->code = FSC_CODE_SYSTEM;
      result->error = errno;
      return;
    }
  result->kind = FSC_KIND_REGULAR;
  result->coherence = FSC_COHERENCE_CHECKED;
  if (item->sharing == FSC_SHARING_INDEPENDENT
      && (!(item->options & FSC_OPTION_REOPENS) || (item->flags & O_ACCMODE) != O_RDONLY))
    {
      result->sharing = FSC_SHARING_INDEPENDENT;
      result->source = FSC_SOURCE_PASSED;
    }
  else
    {
      result->sharing
          = item->sharing == FSC_SHARING_EXCLUSIVE ? FSC_SHARING_EXCLUSIVE : FSC_SHARING_SHARED;
      result->source = FSC_SOURCE_CACHE;
      if (item->sharing != FSC_SHARING_EXCLUSIVE && name != 0)
        {
          result->id = name;
          result->mount_id = lifetime_ms;
          result->coherence = lifetime_ms > 0 ? FSC_COHERENCE_TTL : FSC_COHERENCE_WATCHED;
        }
    }
}

static void
open_content (const FscItem *item, FscResult *result, int *fd)
{
  FscContentInfo content = { .is_known = true, .is_sealed = true, .size = 4 };

  memset (content.digest, FAKE_DIGEST, sizeof content.digest);
  if ((item->options & FSC_OPTION_DIGEST) != 0
      && memcmp (content.digest, item->validator.data, sizeof content.digest) != 0)
    {
      result->code = FSC_CODE_OTHER_CONTENT;
      result->error = EBADMSG;
      result->text = bytes ("test:content has other content");
      return;
    }
  *fd = memfd_create ("content", MFD_CLOEXEC);
  g_assert_cmpint (write (*fd, "four", 4), ==, 4);
  result->sharing = FSC_SHARING_SHARED;
  result->source = FSC_SOURCE_OPENED;
  result->kind = FSC_KIND_REGULAR;
  result->content = content;
  result->validator = bytes ("tag");
}

static void
send_progress (FakeService *fake, Peer *peer, uint32_t serial, unsigned index)
{
  FscWriter writer;

  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  fsc_codec_put_progress (&writer, &(FscProgress){ index, 30, 100 });
  send_out (fake, peer, &writer, FSC_OP_PROGRESS, serial, NULL, 0);
}

/* Fills the result of an item. Returns FALSE if it is not to be answered (now). */
static gboolean
open_item (FakeService *fake, Peer *peer, uint32_t serial, const FscItem *item, FscResult *result,
           int *fd)
{
  g_autofree char *uri = g_strndup (item->uri.data, item->uri.length);

  *fd = -1;
  if (fsc_uri_has_scheme (item->uri, "file"))
    open_file (fake, item, result, fd);
  else if (g_str_equal (uri, "test:content"))
    open_content (item, result, fd);
  else if (g_str_equal (uri, "test:hang") || g_str_equal (uri, "test:slow"))
    {
      Hanging hanging = { serial, result->index };

      if ((item->options & FSC_OPTION_PROGRESS) != 0 && g_str_equal (uri, "test:slow"))
        send_progress (fake, peer, serial, result->index);
      g_array_append_val (peer->hanging, hanging);
      return FALSE;
    }
  else if (g_str_equal (uri, "test:lease"))
    {
      *fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
      result->sharing = FSC_SHARING_EXCLUSIVE;
      result->source = FSC_SOURCE_OPENED;
      result->kind = FSC_KIND_CHARACTER;
      result->id = ++fake->last_lease;
    }
  else if (g_str_equal (uri, "test:limit"))
    {
      result->code = FSC_CODE_LIMIT;
      result->error = EUSERS;
      result->text = bytes ("test:limit is one too many: 5 of 5 are in use");
    }
  else
    {
      result->code = FSC_CODE_UNKNOWN_SCHEME;
      result->error = EPROTONOSUPPORT;
    }
  result->has_fd = *fd >= 0;
  return TRUE;
}

/* Something that no service may send. */
static void
send_garbage (FakeService *fake, Peer *peer, uint32_t serial)
{
  FscWriter writer;
  FscResult result = { .code = FSC_CODE_OK, .has_fd = true, .source = FSC_SOURCE_CACHE };
  int fds[2] = { peer->fd, peer->fd };
  unsigned kind;

  pthread_mutex_lock (&fake->lock);
  kind = fake->orders.garbage++ % FAKE_GARBAGE_KINDS;
  pthread_mutex_unlock (&fake->lock);
  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  if (kind == 0)
    {
      fsc_channel_send (peer->fd, "garbage", 7, NULL, 0, 0);
      return;
    }
  if (kind == 1 || kind == 2)
    {
      /* An answer to something else; and one with a descriptor. */
      fsc_codec_put_done (&writer, 1);
      send_out (fake, peer, &writer, FSC_OP_DONE, serial, fds, kind - 1);
      return;
    }
  if (kind == 10)
    {
      send_progress (fake, peer, serial, 252); /* there is no such item */
      return;
    }
  if (kind == 9)
    {
      /* What only openers send. */
      fsc_codec_put_watched (&writer, 0, 2);
      fsc_codec_put_step (&writer, &(FscStep){ .wd = 1, .name = { "name", 4 } });
      fsc_codec_put_step (&writer, &(FscStep){ .wd = 2 });
      send_out (fake, peer, &writer, FSC_OP_WATCHED, serial, NULL, 0);
      return;
    }
  if (kind == 3)
    result.index = 252; /* there is no such item */
  else if (kind == 4)
    result.has_fd = false; /* success without a descriptor */
  else if (kind == 5)
    result.code = FSC_CODE_UNCHANGED, result.has_fd = false;
  else if (kind == 8)
    result.code = FSC_CODE_LEADS_ELSEWHERE, result.has_fd = false;
  fsc_codec_put_opened (&writer, kind == 6 ? 2 : 1); /* one result too few */
  fsc_codec_put_result (&writer, &result);
  /* Kind 7: one descriptor too many. */
  send_out (fake, peer, &writer, FSC_OP_OPENED, serial, fds, result.has_fd + (kind == 7));
}

static gboolean
send_results (FakeService *fake, Peer *peer, uint32_t serial, const FscResult *results,
              const int *fds, unsigned n, unsigned n_fds)
{
  FscWriter writer;

  if (n == 0)
    return TRUE;
  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  fsc_codec_put_opened (&writer, n);
  for (unsigned i = 0; i < n; i++)
    fsc_codec_put_result (&writer, &results[i]);
  return send_out (fake, peer, &writer, FSC_OP_OPENED, serial, fds, n_fds);
}

static gboolean
answer_open (FakeService *fake, Peer *peer, uint32_t serial, FscReader *reader, uint32_t n_items,
             gboolean is_confused)
{
  FscResult results[FSC_ITEMS_MAX];
  int fds[FSC_ITEMS_MAX];
  unsigned n = 0, n_fds = 0;
  gboolean is_sent = TRUE, is_refused = FALSE;
  int canned = -1;

  for (uint32_t i = 0; i < n_items; i++)
    {
      FscItem item;
      int fd;

      g_assert_true (fsc_codec_get_item (reader, &item));
      pthread_mutex_lock (&fake->lock);
      fake->seen.items++;
      fake->seen.last_umask = item.umask;
      fake->seen.last_mode = item.mode;
      fake->seen.last_options = item.options;
      fake->seen.last_flags = item.flags;
      canned = fake->orders.canned_fd;
      pthread_mutex_unlock (&fake->lock);
      is_refused |= item.uri.length == 10 && memcmp (item.uri.data, "test:error", 10) == 0;
      results[n] = (FscResult){ .index = i };
      if (open_item (fake, peer, serial, &item, &results[n], &fd))
        {
          if (fd >= 0)
            fds[n_fds++] = fd;
          n++;
        }
    }
  if (is_refused)
    is_sent = send_error (fake, peer, serial, FSC_CODE_LIMIT, EUSERS, "this OPEN is refused");
  else
    {
      if (is_confused)
        is_sent = send_results (fake, peer, 12345, results, fds, n, n_fds)
                  && send_results (fake, peer, serial, results, fds, n, n_fds);
      is_sent = is_sent && send_results (fake, peer, serial, results, fds, n, n_fds);
    }
  for (unsigned i = 0; i < n_fds; i++)
    if (fds[i] != canned)
      close (fds[i]);
  return is_sent;
}

static gboolean
handle_open (FakeService *fake, Peer *peer, uint32_t serial, FscReader *reader)
{
  uint32_t n_items;
  unsigned one_in;

  g_assert_true (fsc_codec_get_open (reader, &n_items));
  pthread_mutex_lock (&fake->lock);
  fake->seen.opens++;
  one_in = fake->orders.close_one_in;
  pthread_mutex_unlock (&fake->lock);

  if (take (fake, &fake->orders.to_close)
      || (one_in > 0 && g_random_int_range (0, (int) one_in) == 0))
    return FALSE;
  if (take (fake, &fake->orders.to_garble))
    {
      send_garbage (fake, peer, serial);
      return TRUE;
    }
  if (take (fake, &fake->orders.to_close_halfway))
    {
      answer_open (fake, peer, serial, reader, n_items / 2, FALSE);
      return FALSE;
    }
  return answer_open (fake, peer, serial, reader, n_items, take (fake, &fake->orders.to_confuse));
}

static gboolean
handle_cancel (FakeService *fake, Peer *peer, FscReader *reader)
{
  uint32_t serial;

  g_assert_true (fsc_codec_get_cancel (reader, &serial));
  pthread_mutex_lock (&fake->lock);
  fake->seen.cancels++;
  pthread_mutex_unlock (&fake->lock);
  for (unsigned i = 0; i < peer->hanging->len; i++)
    {
      Hanging *hanging = &g_array_index (peer->hanging, Hanging, i);
      FscResult result
          = { .index = hanging->index, .code = FSC_CODE_CANCELLED, .error = ECANCELED };

      if (hanging->serial == serial && !send_results (fake, peer, serial, &result, NULL, 1, 0))
        return FALSE;
    }
  return TRUE;
}

static gboolean
handle_give_back (FakeService *fake, FscReader *reader)
{
  uint32_t n, flags;
  uint64_t lease = 0;

  g_assert_true (fsc_codec_get_give_back (reader, &flags, &n));
  for (uint32_t i = 0; i < n; i++)
    g_assert_true (fsc_codec_get_id (reader, &lease));
  pthread_mutex_lock (&fake->lock);
  fake->seen.give_backs += n;
  fake->seen.last_lease = lease;
  pthread_mutex_unlock (&fake->lock);
  return TRUE;
}

/* The cache: it has always the same three entries, one on each page. */
static gboolean
send_entries (FakeService *fake, Peer *peer, uint32_t serial, uint64_t cursor, FscBytes uri)
{
  g_autofree char *name = g_strdup_printf ("file:///entry-%d", (int) cursor);
  FscEntryInfo entry = { .hits = cursor,
                         .state = FSC_ENTRY_PINNED,
                         .kind = FSC_KIND_REGULAR,
                         .sharing = FSC_SHARING_SHARED,
                         .uri = uri };
  FscWriter writer;

  if (uri.length == 0)
    entry.uri = bytes (name);
  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  fsc_codec_put_entries (&writer, uri.length == 0 && cursor < 2 ? cursor + 1 : 0, 1);
  fsc_codec_put_entry (&writer, &entry);
  return send_out (fake, peer, &writer, FSC_OP_ENTRIES, serial, NULL, 0);
}

static gboolean
send_done (FakeService *fake, Peer *peer, uint32_t serial, uint64_t count)
{
  FscWriter writer;

  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  fsc_codec_put_done (&writer, count);
  return send_out (fake, peer, &writer, FSC_OP_DONE, serial, NULL, 0);
}

static gboolean
send_counters (FakeService *fake, Peer *peer, uint32_t serial)
{
  FscCounter counter = { .name = bytes ("hits"), .value = 42 };
  FscWriter writer;

  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  fsc_codec_put_counters (&writer, 1);
  fsc_codec_put_counter (&writer, &counter);
  return send_out (fake, peer, &writer, FSC_OP_COUNTERS, serial, NULL, 0);
}

static gboolean
handle_target (FakeService *fake, Peer *peer, const FscHeader *header, FscReader *reader)
{
  FscTarget target;

  g_assert_true (fsc_codec_get_target (reader, &target));
  g_assert_cmpint (fsc_reader_finish (reader), ==, 0);
  if (!target.is_pattern && g_strstr_len (target.uri.data, (gssize) target.uri.length, "absent"))
    return send_error (fake, peer, header->serial, FSC_CODE_NOT_CACHED, ENOENT, "");
  if (header->opcode == FSC_OP_INFO)
    return send_entries (fake, peer, header->serial, 1, target.uri);
  return send_done (fake, peer, header->serial, target.is_pattern ? 3 : 1);
}

/* Watching */

void
fake_service_send_event (FakeService *fake, uint32_t serial, FscEvent event, FscResult result,
                         int fd)
{
  uint8_t packet[1024];
  FscWriter writer;
  int length, r;

  result.has_fd = fd >= 0;
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_event (&writer, &event);
  fsc_codec_put_result (&writer, &result);
  length = fsc_writer_finish (&writer, FSC_OP_EVENT, serial, fd >= 0);
  g_assert_cmpint (length, >, 0);
  pthread_mutex_lock (&fake->lock);
  r = fsc_channel_send (fake->watcher, packet, (size_t) length, &fd, fd >= 0, 0);
  pthread_mutex_unlock (&fake->lock);
  g_assert_cmpint (r, ==, 0);
}

static gboolean
handle_watch (FakeService *fake, Peer *peer, uint32_t serial, FscReader *reader)
{
  FscResult result = { 0 };
  FscCode refusal;
  gboolean is_mute;
  FscItem item;
  int fd = -1;

  g_assert_true (fsc_codec_get_item (reader, &item));
  g_assert_cmpint (fsc_reader_finish (reader), ==, 0);
  pthread_mutex_lock (&fake->lock);
  fake->watcher = peer->fd;
  fake->seen.watches++;
  fake->seen.last_watch = serial;
  refusal = fake->orders.watch_refusal;
  is_mute = fake->orders.is_watch_mute;
  pthread_mutex_unlock (&fake->lock);
  if (refusal != FSC_CODE_OK)
    return send_error (fake, peer, serial, refusal, ENOSPC,
                       "one watch too many: 5 of 5 are in use");
  if (is_mute)
    return TRUE;
  open_file (fake, &item, &result, &fd);
  fake_service_send_event (fake, serial, (FscEvent){ .reason = FSC_REASON_INITIAL }, result, fd);
  if (fd >= 0)
    close (fd);
  return TRUE;
}

static gboolean
handle_unwatch (FakeService *fake, Peer *peer, uint32_t serial, FscReader *reader)
{
  uint32_t watch;

  g_assert_true (fsc_codec_get_cancel (reader, &watch));
  pthread_mutex_lock (&fake->lock);
  fake->seen.unwatches++;
  pthread_mutex_unlock (&fake->lock);
  return send_done (fake, peer, serial, 1);
}

/* Putting */

static gboolean
send_give (FakeService *fake, Peer *peer, uint32_t serial, int fd)
{
  FscWriter writer;

  fsc_writer_begin (&writer, fake->out, sizeof fake->out);
  return send_out (fake, peer, &writer, FSC_OP_GIVE, serial, &fd, 1);
}

/* It waits for the descriptor, and for nobody else meanwhile. */
static void
note_put (FakeService *fake, int socket)
{
  uint8_t packet[64];
  struct stat st;
  FscFds fds;

  g_assert_cmpint (fsc_channel_receive (socket, packet, sizeof packet, &fds, 2, NULL, 0), ==,
                   sizeof (FscWireHeader));
  g_assert_cmpuint (fds.n, ==, 1);
  g_assert_cmpint (fstat (fds.fds[0], &st), ==, 0);
  fsc_fds_clear (&fds);
  pthread_mutex_lock (&fake->lock);
  fake->seen.puts++;
  fake->seen.last_put = st.st_ino;
  pthread_mutex_unlock (&fake->lock);
}

static gboolean
handle_put (FakeService *fake, Peer *peer, uint32_t serial, FscReader *reader)
{
  gboolean is_alive;
  int sockets[2];
  FscPut what;

  g_assert_true (fsc_codec_get_put (reader, &what));
  g_assert_cmpint (fsc_reader_finish (reader), ==, 0);
  if (what.mode == FSC_PUT_EXCHANGE)
    return send_error (fake, peer, serial, FSC_CODE_BAD_REQUEST, ESTALE, "it is another one");
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), ==, 0);
  is_alive = send_give (fake, peer, serial, sockets[1]);
  if (take (fake, &fake->orders.to_give_twice))
    send_give (fake, peer, serial, sockets[1]);
  close (sockets[1]);
  if (is_alive)
    note_put (fake, sockets[0]);
  close (sockets[0]);
  return is_alive && !take (fake, &fake->orders.to_close_put) && send_done (fake, peer, serial, 77);
}

static gboolean
handle_packet (FakeService *fake, Peer *peer, size_t length, unsigned n_fds)
{
  FscReader reader;
  FscHeader header;
  FscList list;

  g_assert_cmpint (fsc_reader_begin (&reader, &header, fake->in, length, n_fds), ==, 0);
  g_assert_cmpint (peer->is_welcome, ==, header.opcode != FSC_OP_HELLO);
  switch (header.opcode)
    {
    case FSC_OP_HELLO:
      return handle_hello (fake, peer, &reader, n_fds);
    case FSC_OP_OPEN:
      g_assert_cmpuint (header.serial, !=, 0);
      return handle_open (fake, peer, header.serial, &reader);
    case FSC_OP_WATCH:
      return handle_watch (fake, peer, header.serial, &reader);
    case FSC_OP_UNWATCH:
      return handle_unwatch (fake, peer, header.serial, &reader);
    case FSC_OP_PUT:
      return handle_put (fake, peer, header.serial, &reader);
    case FSC_OP_CANCEL:
      return handle_cancel (fake, peer, &reader);
    case FSC_OP_GIVE_BACK:
      return handle_give_back (fake, &reader);
    case FSC_OP_LIST:
      g_assert_true (fsc_codec_get_list (&reader, &list));
      return send_entries (fake, peer, header.serial, list.cursor, (FscBytes){ 0 });
    case FSC_OP_PING:
      pthread_mutex_lock (&fake->lock);
      fake->seen.pings++;
      pthread_mutex_unlock (&fake->lock);
      return send_done (fake, peer, header.serial, 0);
    case FSC_OP_STATUS:
      return send_counters (fake, peer, header.serial);
    default:
      return handle_target (fake, peer, &header, &reader);
    }
}

static gboolean
serve (FakeService *fake, Peer *peer)
{
  FscFds fds;
  ssize_t length
      = fsc_channel_receive (peer->fd, fake->in, sizeof fake->in, &fds, 1, NULL, MSG_DONTWAIT);
  gboolean is_alive, is_mute;

  if (length == -EAGAIN)
    return TRUE;
  if (length < 0)
    return FALSE;
  pthread_mutex_lock (&fake->lock);
  is_mute = fake->orders.is_mute;
  fake->seen.unanswered += is_mute;
  pthread_mutex_unlock (&fake->lock);
  is_alive = is_mute || handle_packet (fake, peer, (size_t) length, fds.n);
  fsc_fds_clear (&fds);
  return is_alive;
}

static void
accept_peer (FakeService *fake)
{
  int fd = accept4 (fake->listener, NULL, NULL, SOCK_CLOEXEC);
  Peer *peer;

  if (fd < 0)
    return;
  peer = g_new0 (Peer, 1);
  peer->fd = fd;
  peer->hanging = g_array_new (FALSE, FALSE, sizeof (Hanging));
  g_ptr_array_add (fake->peers, peer);
  pthread_mutex_lock (&fake->lock);
  fake->seen.connections++;
  pthread_mutex_unlock (&fake->lock);
}

static gboolean
look (FakeService *fake)
{
  g_autofree struct pollfd *polled = g_new0 (struct pollfd, fake->peers->len + 2);
  gboolean is_paused, is_stopping;
  unsigned n = fake->peers->len;

  pthread_mutex_lock (&fake->lock);
  is_paused = fake->orders.is_paused;
  is_stopping = fake->is_stopping;
  pthread_mutex_unlock (&fake->lock);
  if (is_stopping)
    return FALSE;

  polled[n] = (struct pollfd){ .fd = fake->listener, .events = POLLIN };
  polled[n + 1] = (struct pollfd){ .fd = fake->wakeup, .events = POLLIN };
  for (unsigned i = 0; i < n; i++)
    polled[i] = (struct pollfd){ .fd = ((Peer *) fake->peers->pdata[i])->fd, .events = POLLIN };
  if (poll (is_paused ? &polled[n + 1] : polled, is_paused ? 1 : n + 2, -1) < 0)
    return TRUE;

  if (polled[n + 1].revents != 0)
    {
      eventfd_t value;

      eventfd_read (fake->wakeup, &value);
    }
  for (unsigned i = n; i-- > 0;)
    if (polled[i].revents != 0 && !serve (fake, fake->peers->pdata[i]))
      g_ptr_array_remove_index_fast (fake->peers, i);
  if (polled[n].revents != 0)
    accept_peer (fake);
  return TRUE;
}

static void *
run (void *data)
{
  while (look (data))
    ;
  return NULL;
}

FakeService *
fake_service_new (const char *path)
{
  FakeService *fake = g_new0 (FakeService, 1);

  fake->path = g_strdup (path);
  fake->orders.canned_fd = -1;
  fake->listener = -1;
  pthread_mutex_init (&fake->lock, NULL);
  return fake;
}

void
fake_service_start (FakeService *fake)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };

  g_strlcpy (address.sun_path, fake->path, sizeof address.sun_path);
  unlink (fake->path);
  fake->is_stopping = FALSE;
  fake->wakeup = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  fake->listener = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  g_assert_cmpint (bind (fake->listener, (struct sockaddr *) &address, sizeof address), ==, 0);
  g_assert_cmpint (listen (fake->listener, 64), ==, 0);
  fake->peers = g_ptr_array_new_with_free_func (peer_free);
  make_table (fake);
  g_assert_cmpint (pthread_create (&fake->thread, NULL, run, fake), ==, 0);
  fake->is_running = TRUE;
}

void
fake_service_stop (FakeService *fake)
{
  if (!fake->is_running)
    return;
  pthread_mutex_lock (&fake->lock);
  fake->is_stopping = TRUE;
  pthread_mutex_unlock (&fake->lock);
  eventfd_write (fake->wakeup, 1);
  pthread_join (fake->thread, NULL);
  fake->is_running = FALSE;
  g_ptr_array_unref (fake->peers);
  free_table (fake);
  close (fake->listener);
  close (fake->wakeup);
}

void
fake_service_free (FakeService *fake)
{
  fake_service_stop (fake);
  unlink (fake->path);
  pthread_mutex_destroy (&fake->lock);
  g_free (fake->path);
  g_free (fake);
}

FakeOrders *
fake_service_lock (FakeService *fake)
{
  pthread_mutex_lock (&fake->lock);
  return &fake->orders;
}

void
fake_service_unlock (FakeService *fake)
{
  pthread_mutex_unlock (&fake->lock);
  if (fake->is_running)
    eventfd_write (fake->wakeup, 1);
}

FakeSeen
fake_service_get_seen (FakeService *fake)
{
  FakeSeen seen;

  pthread_mutex_lock (&fake->lock);
  seen = fake->seen;
  pthread_mutex_unlock (&fake->lock);
  return seen;
}
