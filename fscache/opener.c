/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One opener process as the service sees it; see opener.h.
 */
#include "fscache/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fscache/closer.h"
#include "fscache/failure.h"
#include "fscache/hop.h"
#include "protocol/channel.h"
#include "protocol/codec.h"
#include "protocol/text.h"
#include "protocol/uri.h"

#define STARVED_MS 5

#define FEATURES ((guint32) (FSC_FEATURE_CONTENT | FSC_FEATURE_PROGRESS))

/* The steps of a way, whose names are in the packet. */
typedef struct
{
  guint8 *packet;
  guint n;
  FscStep steps[];
} Way;

/* An item of the OPEN under way. */
typedef struct
{
  FscJob *job; /* or NULL: answered, or forgotten */
  gboolean is_answered;
  gboolean is_watch; /* it asks for a way */
  Way *way;          /* or NULL: what a WATCHED has said of it */
} Question;

struct FscOpener
{
  FscHolder holder; /* first: a holder is an opener that keeps handles */
  FscLoop *loop;
  FscSpawner *spawner;
  FscPoll poll;
  guint32 id;
  enum
  {
    STARTING,
    WORKING,
    GONE
  } state;
  const FscOpenerEvents *events;
  gpointer data;

  guint32 features; /* FSC_FEATURE_* that are in force */
  guint32 last_serial;
  guint32 open_serial; /* of the OPEN under way, or 0 */
  guint n_unanswered;
  GArray *questions;    /* of that OPEN, by index */
  GPtrArray *pending;   /* for fsc_opener_get_jobs() */
  GHashTable *hands;    /* serial -> Hand */
  GHashTable *receipts; /* serial -> Receipt */
  GQueue out;           /* of Packet: what could not be sent yet */
  guint starved;        /* source id while too many descriptors are in flight */
  guint n_held;
  gboolean has_strays; /* it was told to watch, and its report will be read by nobody */
  gint64 asked_since;  /* to start, or what that OPEN still asks */
  gint64 idle_since;
};

typedef struct
{
  FscHandFunc func;
  gpointer data;
  gint64 since;
} Hand;

/* A RECEIVE. */
typedef struct
{
  FscJob *job;
  int socket;   /* owned: the client's end, until the other one is sent; then -1 */
  gint64 since; /* when the client must have sent */
} Receipt;

typedef struct
{
  int fd;          /* owned, or -1 */
  guint32 receipt; /* its serial, if it is a RECEIVE; else 0 */
  size_t length;
  guint8 bytes[];
} Packet;

static void
way_free (Way *way)
{
  g_free (way->packet);
  g_free (way);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Way, way_free)

static void
question_clear (gpointer question)
{
  g_clear_pointer (&((Question *) question)->way, way_free);
}

static void
receipt_free (gpointer data)
{
  Receipt *receipt = data;

  if (receipt->socket >= 0)
    close (receipt->socket);
  g_free (receipt);
}

static void
packet_free (Packet *packet)
{
  if (packet->fd >= 0)
    close (packet->fd);
  g_free (packet);
}

/* Sending */

static gboolean retry_starved (gpointer data);
static void begin_receipt (FscOpener *opener, guint32 serial);

/* What could not be sent has to wait: for room in the socket, of which an event tells, or until
 * fewer descriptors are in flight, of which none does. */
static void
wait_to_send (FscOpener *opener, int error)
{
  gboolean is_starved = error == -ETOOMANYREFS;

  if (is_starved && opener->starved == 0)
    opener->starved = fsc_loop_add_timeout (opener->loop, STARVED_MS, retry_starved, opener);
  fsc_loop_modify (opener->loop, &opener->poll, is_starved ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

static void
flush (FscOpener *opener)
{
  Packet *packet;

  while ((packet = g_queue_peek_head (&opener->out)) != NULL)
    {
      guint32 receipt = packet->receipt;
      int r = fsc_channel_send (opener->poll.fd, packet->bytes, packet->length, &packet->fd,
                                packet->fd >= 0, MSG_DONTWAIT);

      if (r == -EAGAIN || r == -ETOOMANYREFS)
        {
          wait_to_send (opener, r);
          return;
        }
      /* Any other error also ends the socket's input, where it is noticed. */
      packet_free (g_queue_pop_head (&opener->out));
      if (receipt != 0)
        begin_receipt (opener, receipt);
    }
  fsc_loop_modify (opener->loop, &opener->poll, EPOLLIN);
}

static gboolean
retry_starved (gpointer data)
{
  FscOpener *opener = data;

  opener->starved = 0;
  flush (opener);
  return G_SOURCE_REMOVE;
}

typedef enum
{
  SENT,
  QUEUED,
  FAILED /* neither can be */
} Sending;

/* Sends now or later. `fd` is borrowed, or -1. `receipt` is the serial of a RECEIVE, which is begun
 * when it leaves the queue; else 0. */
static Sending
send_or_queue (FscOpener *opener, const void *packet, size_t length, int fd, guint32 receipt)
{
  gboolean is_first = opener->out.length == 0;
  Packet *later;
  int r = -EAGAIN;

  if (is_first)
    r = fsc_channel_send (opener->poll.fd, packet, length, &fd, fd >= 0, MSG_DONTWAIT);
  if (r != -EAGAIN && r != -ETOOMANYREFS)
    return SENT;
  later = g_malloc (sizeof *later + length);
  later->fd = fd >= 0 ? fcntl (fd, F_DUPFD_CLOEXEC, 3) : -1;
  later->receipt = receipt;
  later->length = length;
  memcpy (later->bytes, packet, length);
  if (fd >= 0 && later->fd < 0)
    {
      packet_free (later);
      return FAILED;
    }
  g_queue_push_tail (&opener->out, later);
  if (is_first)
    wait_to_send (opener, r);
  return QUEUED;
}

/* Returns FALSE if it could be neither sent nor queued. */
static gboolean
send_packet (FscOpener *opener, const void *packet, size_t length, int fd)
{
  return send_or_queue (opener, packet, length, fd, 0) != FAILED;
}

static guint32
next_serial (FscOpener *opener)
{
  if (++opener->last_serial == 0)
    ++opener->last_serial;
  return opener->last_serial;
}

static void
send_hello (FscOpener *opener, int inotify)
{
  guint8 buffer[128];
  FscWriter writer;
  int length;

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_hello (&writer, &(FscHello){ .magic = FSC_PROTOCOL_MAGIC,
                                             .lowest = FSC_PROTOCOL_LOWEST,
                                             .highest = FSC_PROTOCOL_HIGHEST,
                                             .features = FEATURES,
                                             .name = { "fscached", strlen ("fscached") } });
  length = fsc_writer_finish (&writer, FSC_OP_HELLO, 0, inotify >= 0);
  send_packet (opener, buffer, (size_t) length, inotify);
}

guint
fsc_opener_give (FscOpener *opener, FscJob *const *jobs, guint n_jobs)
{
  guint8 buffer[FSC_PACKET_MAX];
  size_t size = sizeof (FscWireHeader) + sizeof (FscWireOpen);
  gint64 time = g_get_monotonic_time ();
  FscWriter writer;
  guint n = 0;

  g_assert (fsc_opener_is_idle (opener));
  while (n < n_jobs && n < FSC_ITEMS_MAX
         && size + fsc_codec_item_size (&jobs[n]->item) <= sizeof buffer)
    size += fsc_codec_item_size (&jobs[n++]->item);

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_open (&writer, n);
  for (guint i = 0; i < n; i++)
    {
      fsc_codec_put_item (&writer, &jobs[i]->item);
      jobs[i]->done = 0;
      if (fsc_hop_is_first (jobs[i]))
        jobs[i]->begun = time;
      g_array_append_val (
          opener->questions,
          ((Question){ .job = jobs[i],
                       .is_watch = (jobs[i]->item.options & FSC_OPTION_WATCH) != 0 }));
    }
  opener->asked_since = time;
  opener->open_serial = next_serial (opener);
  opener->n_unanswered = n;
  fsc_writer_finish (&writer, FSC_OP_OPEN, opener->open_serial, 0);
  send_packet (opener, buffer, size, -1);
  return n;
}

/* As a holder */

/* It could not even be kept for later. */
static gboolean
fail_hand (gpointer data)
{
  Hand *hand = data;

  hand->func (EMFILE, hand->data);
  g_free (hand);
  return G_SOURCE_REMOVE;
}

static void
holder_hand (FscHolder *holder, const guint64 *ids, guint n_ids, FscBytes packet, int socket,
             FscHandFunc func, gpointer data)
{
  FscOpener *opener = (FscOpener *) holder;
  guint8 buffer[FSC_PACKET_MAX];
  guint32 serial = next_serial (opener);
  FscWriter writer;
  Hand *hand;
  int length;

  g_assert (opener->state != GONE);
  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_hand (&writer, ids, n_ids, packet);
  length = fsc_writer_finish (&writer, FSC_OP_HAND, serial, 1);
  g_assert (length > 0); /* whoever made the packet left room */

  hand = g_new (Hand, 1);
  *hand = (Hand){ func, data, g_get_monotonic_time () };
  if (!send_packet (opener, buffer, (size_t) length, socket))
    {
      fsc_loop_add_timeout (opener->loop, 0, fail_hand, hand);
      return;
    }
  g_hash_table_insert (opener->hands, GUINT_TO_POINTER (serial), hand);
  opener->events->handing (opener, opener->data);
}

static void
holder_release (FscHolder *holder, guint64 id)
{
  FscOpener *opener = (FscOpener *) holder;
  guint8 buffer[64];
  FscWriter writer;
  int length;

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_give_back (&writer, 0, &id, 1);
  length = fsc_writer_finish (&writer, FSC_OP_GIVE_BACK, 0, 0);
  send_packet (opener, buffer, (size_t) length, -1);
  if (opener->n_held == 0 || --opener->n_held > 0 || !fsc_opener_is_idle (opener))
    return;
  opener->idle_since = g_get_monotonic_time ();
  opener->events->idle (opener, opener->data);
}

static void
holder_free (FscHolder *holder)
{
  FscOpener *opener = (FscOpener *) holder;

  g_assert (opener->state == GONE);
  g_array_unref (opener->questions);
  g_ptr_array_unref (opener->pending);
  g_hash_table_unref (opener->hands);
  g_hash_table_unref (opener->receipts);
  g_free (opener);
}

/* What clients put */

/* The holder's end is with the holder now, or on its way, and nowhere else. */
static void
begin_receipt (FscOpener *opener, guint32 serial)
{
  Receipt *receipt = g_hash_table_lookup (opener->receipts, GUINT_TO_POINTER (serial));

  opener->events->receiving (opener, receipt->job, receipt->socket, opener->data);
  receipt->socket = -1;
}

/* It was told to, and cannot any more. */
static void
fail_receipt (FscOpener *opener, FscJob *job, FscCode code, int error, const char *why)
{
  char name[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *text
      = g_strdup_printf ("cannot put %s: %s", fsc_uri_abbreviate (job->item.uri, name), why);
  FscOutcome outcome = { .code = code, .error = error, .text = text };

  opener->events->done (opener, job, &outcome, opener->data);
}

void
fsc_opener_receive (FscOpener *opener, FscJob *job, gint64 timeout)
{
  guint32 serial = next_serial (opener);
  Receipt *receipt;
  guint8 buffer[64];
  FscWriter writer;
  Sending sending;
  int sockets[2];
  int length;

  g_assert (opener->state == WORKING);
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
    {
      fail_receipt (opener, job, FSC_CODE_LIMIT, ENFILE, "the service has no free descriptor");
      return;
    }
  receipt = g_new (Receipt, 1);
  *receipt = (Receipt){ job, sockets[0], g_get_monotonic_time () + timeout };
  g_hash_table_insert (opener->receipts, GUINT_TO_POINTER (serial), receipt);

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_receive (&writer, (guint32) CLAMP (timeout / 1000, 1, G_MAXUINT32));
  length = fsc_writer_finish (&writer, FSC_OP_RECEIVE, serial, 1);
  sending = send_or_queue (opener, buffer, (size_t) length, sockets[1], serial);
  close (sockets[1]);
  if (sending == SENT)
    begin_receipt (opener, serial);
  else if (sending == FAILED)
    {
      g_hash_table_remove (opener->receipts, GUINT_TO_POINTER (serial));
      fail_receipt (opener, job, FSC_CODE_LIMIT, ENFILE, "the service has no free descriptor");
    }
}

/* Receiving. Each returns what is wrong, or NULL. */

static const char *
take_welcome (FscOpener *opener, FscReader *reader)
{
  FscWelcome welcome;

  if (!fsc_codec_get_welcome (reader, &welcome) || fsc_reader_finish (reader) < 0)
    return "greeted with nonsense";
  if (welcome.version < FSC_PROTOCOL_LOWEST || welcome.version > FSC_PROTOCOL_HIGHEST)
    return "speaks another version of the protocol";
  opener->features = welcome.features & FEATURES;
  opener->state = WORKING;
  opener->idle_since = g_get_monotonic_time ();
  opener->events->idle (opener, opener->data);
  return NULL;
}

/* The sentence of a result. Much of it may have come from archives, servers and helpers. */
static char *
get_text (const FscResult *result)
{
  char *text = g_strndup (result->text.data, result->text.length);

  fsc_text_clean (text);
  return text;
}

/* The handle that a result brings, or NULL: *fault says what the opener has done. */
static FscHandle *
take_handle (FscOpener *opener, const FscResult *result, FscFds *fds, guint *next_fd,
             const char **fault)
{
  g_autoptr (FscContent) content = NULL;
  FscHandle *handle;
  int fd = -1;

  *fault = "answered without a handle";
  if (result->has_fd == (result->id != 0) || (result->has_fd && *next_fd >= fds->n))
    return NULL;
  *fault = "answered nonsense";
  if (result->content.is_sealed
      || (result->content.is_known && (opener->features & FSC_FEATURE_CONTENT) == 0))
    return NULL;
  if (result->has_fd)
    fd = fsc_fds_steal (fds, (*next_fd)++);
  if (result->content.is_known)
    {
      content = fsc_content_new (fd, &result->content, fault);
      if (content == NULL)
        return NULL;
    }

  if (!result->has_fd)
    {
      handle = fsc_handle_new_held (&opener->holder, result->id, result->validator);
      handle->content = g_steal_pointer (&content);
      opener->n_held++;
    }
  else if (content != NULL)
    handle = fsc_handle_new_content (g_steal_pointer (&content), result->validator);
  else
    handle = fsc_handle_new_local (fd, result->validator);
  handle->kind = (guint8) result->kind;
  handle->mount_id = result->mount_id;
  handle->most_sharing = (guint8) result->sharing;
  return handle;
}

/* Of canonical URIs: whether what opens the one may lead to the other. */
static gboolean
may_lead (FscBytes from, FscBytes to)
{
  size_t length = fsc_uri_get_scheme_length (from);

  if (fsc_uri_get_host (from).length > 0)
    return fsc_uri_get_host (to).length > 0;
  return length == fsc_uri_get_scheme_length (to) && memcmp (from.data, to.data, length) == 0;
}

/* Whether an answer without a handle makes sense. */
static gboolean
is_sensible (const FscResult *result, const FscJob *job)
{
  char canonical[FSC_URI_MAX + 1];
  const char *reason;
  int length;

  if (result->has_fd)
    return FALSE;
  if (result->code == FSC_CODE_UNCHANGED)
    return result->error == 0 && (job == NULL || job->item.validator.length > 0);
  if (result->code != FSC_CODE_LEADS_ELSEWHERE)
    return result->error != 0;
  if (result->error != 0 || job == NULL)
    return result->error == 0;
  if (result->text.length == 0)
    return job->item.resume.length > 0;
  length = fsc_uri_canonicalize (result->text, canonical, sizeof canonical, &reason);
  return (job->item.mount_length > 0 || fsc_uri_get_host (job->item.uri).length > 0)
         && result->validator.length <= FSC_RESUME_MAX && may_lead (job->item.uri, result->text)
         && length == (int) result->text.length
         && memcmp (canonical, result->text.data, result->text.length) == 0;
}

static const char *
take_result (FscOpener *opener, const FscResult *result, FscFds *fds, guint *next_fd)
{
  FscOutcome outcome = { .code = result->code,
                         .error = result->error,
                         .coherence = result->coherence,
                         .has_ttl = result->has_ttl,
                         .ttl_ms = result->age_ms };
  g_autofree char *text = NULL;
  g_autoptr (Way) way = NULL;
  const char *fault;
  Question *question;
  FscJob *job;

  if (result->index >= opener->questions->len)
    return "answered what it was not asked";
  question = &g_array_index (opener->questions, Question, result->index);
  job = question->job;
  if (question->is_answered)
    return "answered the same question twice";
  if (result->code == FSC_CODE_OK)
    {
      outcome.handle = take_handle (opener, result, fds, next_fd, &fault);
      if (outcome.handle == NULL)
        return fault;
      outcome.is_final = result->source == FSC_SOURCE_PASSED;
    }
  else if (!is_sensible (result, job))
    return "answered nonsense";

  question->is_answered = TRUE;
  question->job = NULL;
  way = g_steal_pointer (&question->way);
  if (job == NULL) /* forgotten: its deadline has passed */
    {
      g_clear_pointer (&outcome.handle, fsc_handle_unref);
      return NULL;
    }
  if (result->code != FSC_CODE_OK)
    outcome.text = text = get_text (result);
  if (result->code == FSC_CODE_LEADS_ELSEWHERE)
    outcome.resume = result->validator;
  if (way != NULL && (result->code == FSC_CODE_UNCHANGED || result->code == FSC_CODE_SYSTEM))
    {
      outcome.steps = way->steps;
      outcome.n_steps = way->n;
    }
  opener->events->done (opener, job, &outcome, opener->data);
  return NULL;
}

/* Whether it was told to receive something under this serial, and has not answered. */
static gboolean
has_receipt (const FscOpener *opener, guint32 serial)
{
  const Receipt *receipt = g_hash_table_lookup (opener->receipts, GUINT_TO_POINTER (serial));

  return receipt != NULL && receipt->socket < 0;
}

/* What came of a RECEIVE. */
static const char *
take_received (FscOpener *opener, guint32 serial, FscReader *reader)
{
  g_autofree Receipt *receipt = NULL;
  FscOutcome outcome = { 0 };
  FscResult result;
  FscFds none = { 0 };
  guint next_fd = 0;
  const char *fault = "answered nonsense";
  guint32 n;

  if (!fsc_codec_get_opened (reader, &n) || n != 1 || !fsc_codec_get_result (reader, &result)
      || fsc_reader_finish (reader) < 0 || result.index != 0
      || (result.code == FSC_CODE_OK) != (result.error == 0) || result.code == FSC_CODE_UNCHANGED
      || result.code == FSC_CODE_LEADS_ELSEWHERE)
    return fault;
  if (result.code == FSC_CODE_OK)
    outcome.handle = take_handle (opener, &result, &none, &next_fd, &fault);
  if (result.code == FSC_CODE_OK && outcome.handle == NULL)
    return fault;

  g_hash_table_steal_extended (opener->receipts, GUINT_TO_POINTER (serial), NULL,
                               (gpointer *) &receipt);
  if (result.code == FSC_CODE_OK)
    opener->events->done (opener, receipt->job, &outcome, opener->data);
  else
    {
      g_autofree char *why = get_text (&result);

      fail_receipt (opener, receipt->job, result.code, result.error, why);
    }
  return NULL;
}

static const char *
take_opened (FscOpener *opener, const FscHeader *header, FscReader *reader, FscFds *fds)
{
  const char *fault = NULL;
  guint32 n;
  guint next_fd = 0;

  if (header->serial != opener->open_serial || !fsc_codec_get_opened (reader, &n)
      || n > opener->n_unanswered)
    return "answered what it was not asked";
  for (guint32 i = 0; i < n && fault == NULL; i++)
    {
      FscResult result;

      if (!fsc_codec_get_result (reader, &result))
        return "answered nonsense";
      fault = take_result (opener, &result, fds, &next_fd);
      opener->n_unanswered--;
    }
  opener->asked_since = g_get_monotonic_time (); /* slow is not stuck */
  if (fault == NULL && (fsc_reader_finish (reader) < 0 || next_fd != fds->n))
    fault = "answered nonsense";
  if (fault == NULL && opener->n_unanswered == 0)
    {
      g_array_set_size (opener->questions, 0);
      opener->open_serial = 0;
      opener->idle_since = g_get_monotonic_time ();
      opener->events->idle (opener, opener->data);
    }
  return fault;
}

/* Of what is forgotten nobody wants to know. */
static const char *
take_progress (FscOpener *opener, const FscHeader *header, FscReader *reader)
{
  const Question *question;
  FscProgress progress;

  if (!fsc_codec_get_progress (reader, &progress) || fsc_reader_finish (reader) < 0)
    return "answered nonsense";
  if ((opener->features & FSC_FEATURE_PROGRESS) == 0 || header->serial != opener->open_serial
      || progress.index >= opener->questions->len)
    return "told of what it was not asked";
  question = &g_array_index (opener->questions, Question, progress.index);
  if (question->is_answered)
    return "told of what it had answered";
  if (question->job == NULL)
    return NULL;
  if (progress.done != question->job->done) /* less: it begins again */
    {
      question->job->done = progress.done;
      question->job->moved_at = opener->asked_since = g_get_monotonic_time ();
    }
  opener->events->progressed (opener, question->job, &progress, opener->data);
  return NULL;
}

static const char *
take_watched (FscOpener *opener, const guint8 *packet, size_t length)
{
  g_autofree guint8 *copy = g_memdup2 (packet, length);
  g_autoptr (Way) way = NULL;
  Question *question;
  FscHeader header;
  FscReader reader;
  guint32 index, n;

  if (fsc_reader_begin (&reader, &header, copy, length, 0) < 0
      || !fsc_codec_get_watched (&reader, &index, &n))
    return "answered nonsense";
  if (header.serial != opener->open_serial || index >= opener->questions->len)
    return "watched what it was not asked to";
  question = &g_array_index (opener->questions, Question, index);
  if (question->is_answered || !question->is_watch || question->way != NULL)
    return "watched what it was not asked to";

  way = g_malloc0 (sizeof *way + n * sizeof way->steps[0]);
  way->packet = g_steal_pointer (&copy);
  way->n = n;
  for (guint i = 0; i < n; i++)
    if (!fsc_codec_get_step (&reader, &way->steps[i])
        || (way->steps[i].name.length == 0) != (i == n - 1))
      return "answered nonsense";
  if (fsc_reader_finish (&reader) < 0)
    return "answered nonsense";
  question->way = g_steal_pointer (&way);
  return NULL;
}

static const char *
take_done (FscOpener *opener, const FscHeader *header, FscReader *reader)
{
  gpointer key = GUINT_TO_POINTER (header->serial);
  g_autofree Hand *hand = NULL;
  guint64 error;

  if (!fsc_codec_get_done (reader, &error) || fsc_reader_finish (reader) < 0 || error > 4096)
    return "answered nonsense";
  if (!g_hash_table_steal_extended (opener->hands, key, NULL, (gpointer *) &hand))
    return "answered what it was not asked";
  hand->func ((int) error, hand->data);
  return NULL;
}

static void
opener_ready (FscPoll *poll, guint32 events)
{
  FscOpener *opener = poll->data;
  guint8 buffer[FSC_PACKET_MAX];
  const char *fault = NULL;
  FscFds fds = { 0 };
  FscHeader header;
  FscReader reader;
  bool lost = false;
  ssize_t length;

  if ((events & EPOLLOUT) != 0)
    flush (opener);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
    return;

  length = fsc_channel_receive (poll->fd, buffer, sizeof buffer, &fds,
                                opener->open_serial != 0 ? FSC_FDS_MAX : 0, &lost, MSG_DONTWAIT);
  if (length == -EAGAIN)
    return;

  fsc_holder_ref (&opener->holder);
  if (length < 0)
    fault = length == -ECONNRESET ? "has ended" : "sent nonsense";
  else if (lost)
    fault = "could not hand over a handle: the service has no free descriptor";
  else if (fsc_reader_begin (&reader, &header, buffer, (size_t) length, fds.n) < 0)
    fault = "sent nonsense";
  else if (header.opcode == FSC_OP_WELCOME && opener->state == STARTING)
    fault = take_welcome (opener, &reader);
  else if (header.opcode == FSC_OP_OPENED && has_receipt (opener, header.serial))
    fault = take_received (opener, header.serial, &reader);
  else if (header.opcode == FSC_OP_OPENED && opener->open_serial != 0)
    fault = take_opened (opener, &header, &reader, &fds);
  else if (header.opcode == FSC_OP_WATCHED && opener->open_serial != 0)
    fault = take_watched (opener, buffer, (size_t) length);
  else if (header.opcode == FSC_OP_PROGRESS)
    fault = take_progress (opener, &header, &reader);
  else if (header.opcode == FSC_OP_DONE)
    fault = take_done (opener, &header, &reader);
  else
    fault = "sent what it was not asked for";
  fsc_closer_clear_foreign (&fds);

  if (fault != NULL)
    fsc_opener_end (opener, fault);
  fsc_holder_unref (&opener->holder);
}

/* Life */

FscOpener *
fsc_opener_new (FscLoop *loop, FscLoopGroup *group, FscSpawner *spawner, char *const *command,
                const FscUser *user, int inotify, const FscOpenerEvents *events, gpointer data,
                GError **error)
{
  g_autofree FscOpener *opener = g_new0 (FscOpener, 1);
  int sockets[2];

  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
    {
      fsc_failure_set_errno (error, errno, "cannot make a socket");
      return NULL;
    }
  opener->poll
      = (FscPoll){ .fd = sockets[0], .ready = opener_ready, .data = opener, .group = group };
  opener->id = fsc_spawner_start (spawner, command, user, sockets[1], error);
  close (sockets[1]);
  if (opener->id == 0 || !fsc_loop_add (loop, &opener->poll, EPOLLIN))
    {
      if (opener->id != 0)
        fsc_failure_set_errno (error, errno, "epoll");
      close (sockets[0]);
      return NULL;
    }

  opener->holder = (FscHolder){ .n_refs = 1,
                                .is_alive = TRUE,
                                .hand = holder_hand,
                                .release = holder_release,
                                .free = holder_free };
  opener->loop = loop;
  opener->spawner = spawner;
  opener->events = events;
  opener->data = data;
  opener->asked_since = g_get_monotonic_time ();
  opener->questions = g_array_new (FALSE, FALSE, sizeof (Question));
  g_array_set_clear_func (opener->questions, question_clear);
  opener->pending = g_ptr_array_new ();
  opener->hands = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  opener->receipts = g_hash_table_new_full (NULL, NULL, NULL, receipt_free);
  g_queue_init (&opener->out);
  send_hello (opener, inotify);
  return g_steal_pointer (&opener);
}

void
fsc_opener_unref (FscOpener *opener)
{
  fsc_holder_unref (&opener->holder);
}

guint32
fsc_opener_get_id (const FscOpener *opener)
{
  return opener->id;
}

gboolean
fsc_opener_is_idle (const FscOpener *opener)
{
  return opener->state == WORKING && opener->open_serial == 0;
}

gboolean
fsc_opener_is_starting (const FscOpener *opener)
{
  return opener->state == STARTING;
}

guint
fsc_opener_get_n_held (const FscOpener *opener)
{
  return opener->n_held;
}

gint64
fsc_opener_get_idle_since (const FscOpener *opener)
{
  return opener->idle_since;
}

GPtrArray *
fsc_opener_get_jobs (FscOpener *opener)
{
  g_ptr_array_set_size (opener->pending, 0);
  for (guint i = 0; i < opener->questions->len; i++)
    {
      const Question *question = &g_array_index (opener->questions, Question, i);

      if (question->job != NULL)
        g_ptr_array_add (opener->pending, question->job);
    }
  return opener->pending;
}

void
fsc_opener_forget (FscOpener *opener, FscJob *job)
{
  for (guint i = 0; i < opener->questions->len; i++)
    {
      Question *question = &g_array_index (opener->questions, Question, i);

      if (question->job == job)
        {
          question->job = NULL;
          opener->has_strays |= question->is_watch;
        }
    }
}

gboolean
fsc_opener_has_strays (const FscOpener *opener)
{
  gboolean has_strays = opener->has_strays;

  for (guint i = 0; i < opener->questions->len; i++)
    {
      const Question *question = &g_array_index (opener->questions, Question, i);

      has_strays |= question->is_watch && !question->is_answered;
    }
  return has_strays;
}

gint64
fsc_opener_get_asked_since (const FscOpener *opener)
{
  gboolean is_asked = opener->state == STARTING || opener->open_serial != 0;
  gint64 oldest = is_asked ? opener->asked_since : 0;
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, opener->hands);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (oldest == 0 || ((Hand *) value)->since < oldest)
      oldest = ((Hand *) value)->since;
  g_hash_table_iter_init (&iter, opener->receipts);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (oldest == 0 || ((Receipt *) value)->since < oldest)
      oldest = ((Receipt *) value)->since;
  return oldest;
}

void
fsc_opener_end (FscOpener *opener, const char *why)
{
  g_autoptr (GHashTable) hands = NULL;
  g_autoptr (GHashTable) receipts = NULL;
  GHashTableIter iter;
  gpointer value;
  Packet *packet;

  if (opener->state == GONE)
    return;
  fsc_holder_ref (&opener->holder);
  opener->state = GONE;
  opener->holder.is_alive = FALSE;
  fsc_loop_remove (opener->loop, &opener->poll);
  fsc_closer_close_foreign (opener->poll.fd); /* with what it has sent last */
  g_clear_handle_id (&opener->starved, g_source_remove);
  fsc_spawner_kill (opener->spawner, opener->id);
  while ((packet = g_queue_pop_head (&opener->out)) != NULL)
    packet_free (packet);

  hands = g_steal_pointer (&opener->hands);
  opener->hands = g_hash_table_new (NULL, NULL);
  g_hash_table_iter_init (&iter, hands);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    ((Hand *) value)->func (EIO, ((Hand *) value)->data);

  receipts = g_steal_pointer (&opener->receipts);
  opener->receipts = g_hash_table_new (NULL, NULL);
  g_hash_table_iter_init (&iter, receipts);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    fail_receipt (opener, ((Receipt *) value)->job, FSC_CODE_OPENER_FAILED, EIO,
                  "the process that was to hold it has ended");

  opener->events->failed (opener, fsc_opener_get_jobs (opener), why, opener->data);
  fsc_holder_unref (&opener->holder);
}
