/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content, digests and progress in libfscache, against a fake service in the same process.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tests/harness/tap.h"
#include "tests/unit/fake-fixture.h"

#define PATIENCE (10 * G_USEC_PER_SEC)

/* What progress was told, and what is to be done when it is. */
typedef struct
{
  Fixture *fixture;
  unsigned n;
  uint64_t done, total;
  GThread *thread; /* the last that told it */
  gboolean opens_other;
  uint64_t to_cancel;
} Told;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture_init (fixture);
  ORDER (fixture, knows_content, TRUE);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  fixture_clear (fixture);
}

static void
take_progress (uint64_t done, uint64_t total, void *data)
{
  Told *told = data;

  told->n++;
  told->done = done;
  told->total = total;
  told->thread = g_thread_self ();
  if (told->opens_other)
    {
      int fd = fscache_open (told->fixture->client, told->fixture->file, O_RDONLY, NULL);

      g_assert_cmpint (fd, >=, 0);
      close (fd);
    }
  if (told->to_cancel != 0)
    fscache_cancel (told->fixture->client, told->to_cancel);
}

static int
open_demanding (Fixture *fixture, const char *uri, uint8_t digest, FscacheReply *reply)
{
  uint8_t bytes[FSCACHE_DIGEST_SIZE];
  FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED, .digest = bytes };

  memset (bytes, digest, sizeof bytes);
  return fscache_open_with (fixture->client, &request, reply);
}

static void
assert_content (const FscacheReply *reply)
{
  g_assert_true (reply->content.is_known);
  g_assert_true (reply->content.is_sealed);
  g_assert_cmpuint (reply->content.size, ==, 4);
  for (unsigned i = 0; i < FSCACHE_DIGEST_SIZE; i++)
    g_assert_cmpuint (reply->content.digest[i], ==, FAKE_DIGEST);
  g_assert_cmpmem (reply->content.validator, reply->content.validator_length, "tag", 3);
}

/* Content */

static void
test_content (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = "test:content", .sharing = FSCACHE_SHARED };
  FscacheReply reply;

  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), >=, 0);
  assert_content (&reply);
  fscache_reply_clear (fixture->client, &reply);

  request.sharing = FSCACHE_INDEPENDENT; /* reopened, it is the same content */
  g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), >=, 0);
  assert_content (&reply);
  fscache_reply_clear (fixture->client, &reply);

  memset (&reply, 0xff, sizeof reply);
  g_assert_cmpint (fscache_open (fixture->client, fixture->file, O_RDONLY, &reply), >=, 0);
  g_assert_false (reply.content.is_known);
  fscache_reply_clear (fixture->client, &reply);
  memset (&reply, 0xff, sizeof reply);
  g_assert_cmpint (fscache_open (fixture->client, fixture->missing, O_RDONLY, &reply), ==, -ENOENT);
  g_assert_false (reply.content.is_known);
}

static void
test_digest (Fixture *fixture, gconstpointer data)
{
  FscacheReply reply;

  fixture_start (fixture, 0);
  g_assert_cmpint (open_demanding (fixture, "test:content", FAKE_DIGEST, &reply), >=, 0);
  assert_content (&reply);
  fscache_reply_clear (fixture->client, &reply);

  g_assert_cmpint (open_demanding (fixture, "test:content", FAKE_DIGEST + 1, &reply), ==, -EBADMSG);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OTHER_CONTENT);
  g_assert_cmpstr (fscache_code_name (reply.code), ==, "other-content");
  g_assert_cmpstr (reply.message, ==, "test:content has other content");
}

/* Many at once, some with a digest: each gets its own answer. */
static void
test_digest_many (Fixture *fixture, gconstpointer data)
{
  uint8_t right[FSCACHE_DIGEST_SIZE], wrong[FSCACHE_DIGEST_SIZE] = { 0 };
  FscacheRequest requests[3] = { { .uri = "test:content", .digest = right },
                                 { .uri = fixture->file },
                                 { .uri = "test:content", .digest = wrong } };
  FscacheReply replies[3];

  memset (right, FAKE_DIGEST, sizeof right);
  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, 3), ==, 1);
  assert_content (&replies[0]);
  g_assert_cmpint (replies[1].code, ==, FSCACHE_OK);
  g_assert_cmpint (replies[2].error, ==, EBADMSG);
  for (unsigned i = 0; i < 3; i++)
    fscache_reply_clear (fixture->client, &replies[i]);
}

/* What demands a digest is never opened here, where nobody computes one; nor asked of a service
 * that knows of none. */
static void
test_digest_without (Fixture *fixture, gconstpointer data)
{
  uint8_t digest[FSCACHE_DIGEST_SIZE] = { 0 };
  FscacheRequest requests[2]
      = { { .uri = fixture->file, .digest = digest }, { .uri = fixture->file } };
  FscacheReply replies[2];

  g_assert_cmpint (fscache_connect (fixture->socket, 0, &fixture->client), <, 0);
  g_assert_cmpint (open_demanding (fixture, fixture->file, 0, &replies[0]), <, 0);
  g_assert_cmpint (replies[0].code, ==, FSCACHE_ERROR_NO_SERVICE);
  fscache_disconnect (g_steal_pointer (&fixture->client));

  ORDER (fixture, knows_content, FALSE);
  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, 2), ==, 1);
  g_assert_cmpint (replies[0].code, ==, FSCACHE_ERROR_BAD_REQUEST);
  g_assert_cmpint (replies[0].error, ==, EOPNOTSUPP);
  g_test_message ("%s", replies[0].message);
  g_assert_nonnull (strstr (replies[0].message, "an older one"));
  g_assert_cmpint (replies[1].code, ==, FSCACHE_OK);
  fscache_reply_clear (fixture->client, &replies[1]);
}

static void
never (FscacheClient *client, const FscacheEvent *event, void *data)
{
  g_assert_not_reached ();
}

static void
test_digest_of_watch (Fixture *fixture, gconstpointer data)
{
  uint8_t digest[FSCACHE_DIGEST_SIZE] = { 0 };
  FscacheRequest request = { .uri = fixture->file, .digest = digest };

  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_watch (fixture->client, &request, never, NULL, NULL), ==, -EINVAL);
}

/* Progress */

static FscacheRequest
make_slow (Told *told, uint32_t timeout_ms)
{
  return (FscacheRequest){
    .uri = "test:slow", .timeout_ms = timeout_ms, .progress = take_progress, .progress_data = told
  };
}

static void
assert_told (const Told *told, unsigned n)
{
  g_assert_cmpuint (told->n, ==, n);
  g_assert_cmpuint (told->done, ==, 30);
  g_assert_cmpuint (told->total, ==, 100);
}

/* From within the call, which may be made use of there. */
static void
test_progress (Fixture *fixture, gconstpointer data)
{
  Told told = { .fixture = fixture, .opens_other = TRUE };
  FscacheRequest request = make_slow (&told, 500);

  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_open_with (fixture->client, &request, NULL), ==, -ETIMEDOUT);
  assert_told (&told, 1);
  g_assert_true (told.thread == g_thread_self ());

  request.progress = NULL; /* not wanted, not asked for */
  request.timeout_ms = 50;
  g_assert_cmpint (fscache_open_with (fixture->client, &request, NULL), ==, -ETIMEDOUT);
  assert_told (&told, 1);
}

static gpointer
open_slowly (gpointer data)
{
  Told *told = data;
  FscacheRequest request = make_slow (told, 700);

  g_assert_cmpint (fscache_open_with (told->fixture->client, &request, NULL), ==, -ETIMEDOUT);
  g_assert_true (told->thread == g_thread_self ());
  return NULL;
}

/* Whoever receives it, each thread is told of what it waits for, and all get on meanwhile. */
static void
test_progress_of_threads (Fixture *fixture, gconstpointer data)
{
  Told told[4];
  GThread *threads[4];

  fixture_start (fixture, 0);
  for (unsigned i = 0; i < 4; i++)
    {
      told[i] = (Told){ .fixture = fixture, .opens_other = i % 2 == 0 };
      threads[i] = g_thread_new ("slow", open_slowly, &told[i]);
    }
  for (unsigned i = 0; i < 4; i++)
    {
      g_thread_join (threads[i]);
      assert_told (&told[i], 1);
    }
}

static void
take_reply (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  int *error = data;

  *error = reply->error;
  if (reply->fd >= 0)
    close (reply->fd);
}

static void
dispatch_once (FscacheClient *client)
{
  struct pollfd pollfd = { .fd = fscache_get_poll_fd (client), .events = POLLIN };

  poll (&pollfd, 1, 100);
  fscache_dispatch (client);
}

/* From dispatch() and nowhere else; it may even cancel what it is about. */
static void
test_progress_dispatched (Fixture *fixture, gconstpointer data)
{
  Told told = { .fixture = fixture };
  FscacheRequest request = make_slow (&told, 0);
  gint64 until = g_get_monotonic_time () + PATIENCE;
  int error = -1;

  fixture_start (fixture, 0);
  g_assert_cmpint (
      fscache_submit (fixture->client, &request, 1, take_reply, &error, &told.to_cancel), ==, 0);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0); /* this receives it */
  g_assert_cmpuint (told.n, ==, 0);
  while (error < 0 && g_get_monotonic_time () < until)
    dispatch_once (fixture->client);
  g_assert_cmpint (error, ==, ECANCELED);
  assert_told (&told, 1);
}

/* A service that knows of none is not asked. */
static void
test_progress_of_old (Fixture *fixture, gconstpointer data)
{
  Told told = { .fixture = fixture };
  FscacheRequest request = make_slow (&told, 100);

  ORDER (fixture, knows_content, FALSE);
  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_open_with (fixture->client, &request, NULL), ==, -ETIMEDOUT);
  g_assert_cmpuint (told.n, ==, 0);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).last_options & FSC_OPTION_PROGRESS, ==,
                    0);
}

#define ADD(name, function)                                                                        \
  g_test_add ("/content-client/" name, Fixture, NULL, set_up, function, tear_down)

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  ADD ("content", test_content);
  ADD ("digest", test_digest);
  ADD ("digest-many", test_digest_many);
  ADD ("digest-without", test_digest_without);
  ADD ("digest-of-watch", test_digest_of_watch);
  ADD ("progress", test_progress);
  ADD ("progress-of-threads", test_progress_of_threads);
  ADD ("progress-dispatched", test_progress_dispatched);
  ADD ("progress-of-old", test_progress_of_old);
  return g_test_run ();
}
