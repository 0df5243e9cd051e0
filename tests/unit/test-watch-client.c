/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache_watch() against a fake service in the same process: what the service never does when it
 * is asked to. What it does is in integration/test-successor.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/tap.h"
#include "tests/unit/fake-fixture.h"

#define PATIENCE (10 * G_USEC_PER_SEC)

typedef struct
{
  uint64_t id;
  unsigned n;
  FscacheEvent event;
  FscacheReply reply;
  bool keeps, unwatches, dispatches;
} Watch;

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture_init (fixture);
  ORDER (fixture, has_events, TRUE);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  fixture_clear (fixture);
}

static void
take_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  Watch *watch = data;

  watch->n++;
  watch->event = *event;
  watch->reply = *event->reply;
  if (event->reply->fd >= 0 && !watch->keeps)
    g_assert_cmpint (close (event->reply->fd), ==, 0);
  if (watch->unwatches)
    fscache_unwatch (client, event->id);
  if (watch->dispatches)
    fscache_dispatch (client);
}

static void
dispatch_once (FscacheClient *client, int ms)
{
  struct pollfd pollfd = { .fd = fscache_get_poll_fd (client), .events = POLLIN };

  poll (&pollfd, 1, ms);
  fscache_dispatch (client);
}

#define DISPATCH_UNTIL(client, condition)                                                          \
  G_STMT_START                                                                                     \
  {                                                                                                \
    gint64 until_ = g_get_monotonic_time () + PATIENCE;                                            \
    while (!(condition) && g_get_monotonic_time () < until_)                                       \
      dispatch_once (client, 100);                                                                 \
    g_assert_true (condition);                                                                     \
  }                                                                                                \
  G_STMT_END

static void
watch_it (Fixture *fixture, Watch *watch)
{
  FscacheRequest request = { .uri = fixture->file, .sharing = FSCACHE_SHARED };

  g_assert_cmpint (fscache_watch (fixture->client, &request, take_event, watch, &watch->id), ==, 0);
  g_assert_cmpuint (watch->n, ==, 0);
}

static void
watch_and_wait (Fixture *fixture, Watch *watch)
{
  watch_it (fixture, watch);
  DISPATCH_UNTIL (fixture->client, watch->n == 1);
  g_assert_cmpint (watch->event.reason, ==, FSCACHE_EVENT_INITIAL);
  g_assert_cmpint (watch->reply.code, ==, FSCACHE_OK);
  g_assert_false (watch->event.is_last);
}

/* Sends an event with the file, or without. */
static void
send_event (Fixture *fixture, FscReason reason, uint32_t n_coalesced, gboolean has_file)
{
  uint32_t serial = fake_service_get_seen (fixture->fake).last_watch;
  FscEvent event = { .reason = reason, .n_coalesced = n_coalesced };
  FscResult result = { .sharing = FSC_SHARING_SHARED, .id = (UINT64_C (3) << 32) + 7 };
  int fd = has_file ? open (fixture->file, O_RDONLY | O_CLOEXEC) : -1;

  if (!has_file)
    result = (FscResult){ .code = FSC_CODE_SYSTEM, .error = ENOENT, .text = { "gone", 4 } };
  fake_service_send_event (fixture->fake, serial, event, result, fd);
  if (fd >= 0)
    close (fd);
}

static void
assert_ends (Fixture *fixture, Watch *watch, FscacheCode code)
{
  DISPATCH_UNTIL (fixture->client, watch->event.is_last);
  g_assert_cmpint (watch->event.reason, ==, FSCACHE_EVENT_REFUSED);
  g_assert_cmpstr (fscache_code_name (watch->reply.code), ==, fscache_code_name (code));
  g_assert_cmpint (watch->reply.fd, ==, -1);
  g_assert_cmpstr (watch->reply.message, !=, "");
  fscache_unwatch (fixture->client, watch->id); /* does nothing */
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).unwatches, ==, 0);
}

/* Tests */

static void
test_events (Fixture *fixture, gconstpointer data)
{
  Watch watch = { 0 };

  fixture_start (fixture, 0);
  g_assert_cmpint (
      fscache_watch (fixture->client, &(FscacheRequest){ .uri = "x" }, NULL, NULL, NULL), ==,
      -EINVAL);
  watch_and_wait (fixture, &watch);
  send_event (fixture, FSC_REASON_REPLACED, 4, TRUE);
  DISPATCH_UNTIL (fixture->client, watch.n == 2);
  g_assert_cmpint (watch.event.reason, ==, FSCACHE_EVENT_REPLACED);
  g_assert_cmpuint (watch.event.n_coalesced, ==, 4);
  g_assert_cmpuint (watch.event.generation, ==, (UINT64_C (3) << 32) + 7);
  g_assert_cmpuint (watch.event.id, ==, watch.id);
  send_event (fixture, FSC_REASON_DELETED, 0, FALSE);
  DISPATCH_UNTIL (fixture->client, watch.n == 3);
  g_assert_cmpint (watch.reply.error, ==, ENOENT);
  g_assert_cmpstr (watch.reply.message, ==, "gone");
  g_assert_cmpuint (watch.event.generation, ==, 0);

  /* One that was on its way when the watch ended is nobody's. */
  fscache_unwatch (fixture->client, watch.id);
  send_event (fixture, FSC_REASON_CREATED, 0, TRUE);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  fscache_dispatch (fixture->client);
  g_assert_cmpuint (watch.n, ==, 3);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).unwatches, ==, 1);
  fscache_unwatch (fixture->client, watch.id);
  fscache_unwatch (fixture->client, 12345);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).unwatches, ==, 1);
}

/* Another thread may receive what is not dispatched: of that the newest counts. */
static void
test_coalesced (Fixture *fixture, gconstpointer data)
{
  Watch watch = { 0 };

  fixture_start (fixture, 0);
  watch_it (fixture, &watch);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  send_event (fixture, FSC_REASON_REPLACED, 2, TRUE);
  send_event (fixture, FSC_REASON_DELETED, 0, FALSE);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  DISPATCH_UNTIL (fixture->client, watch.n == 1);
  g_assert_cmpint (watch.event.reason, ==, FSCACHE_EVENT_INITIAL);
  g_assert_cmpint (watch.reply.error, ==, ENOENT);
  g_assert_cmpuint (watch.event.n_coalesced, ==, 4);

  for (int i = 0; i < 300; i++)
    {
      send_event (fixture, FSC_REASON_REPLACED, 0, TRUE);
      if (i % 50 == 0)
        g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
    }
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  DISPATCH_UNTIL (fixture->client, watch.n == 2);
  g_assert_cmpuint (watch.event.n_coalesced, ==, 299);
  g_assert_cmpint (watch.reply.code, ==, FSCACHE_OK);
  send_event (fixture, FSC_REASON_REPLACED, 0, TRUE); /* and is left so */
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
}

static void
test_in_callback (Fixture *fixture, gconstpointer data)
{
  Watch watch = { .unwatches = true, .dispatches = true }, other = { .dispatches = true };

  fixture_start (fixture, 0);
  watch_it (fixture, &other);
  watch_it (fixture, &watch);
  DISPATCH_UNTIL (fixture->client, watch.n == 1 && other.n == 1);
  send_event (fixture, FSC_REASON_REPLACED, 0, TRUE);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  fscache_dispatch (fixture->client);
  g_assert_cmpuint (watch.n, ==, 1);
}

static void
test_refused (Fixture *fixture, gconstpointer data)
{
  Watch watch = { 0 }, unnamed = { 0 }, old = { 0 };

  ORDER (fixture, watch_refusal, FSC_CODE_LIMIT);
  fixture_start (fixture, 0);
  watch_it (fixture, &watch);
  assert_ends (fixture, &watch, FSCACHE_ERROR_LIMIT);
  g_assert_nonnull (strstr (watch.reply.message, "one watch too many"));
  g_assert_cmpint (
      fscache_watch (fixture->client, &(FscacheRequest){ 0 }, take_event, &unnamed, NULL), ==, 0);
  assert_ends (fixture, &unnamed, FSCACHE_ERROR_BAD_URI);

  /* A service that does not know what a watch is. */
  fake_service_stop (fixture->fake);
  ORDER (fixture, has_events, FALSE);
  fake_service_start (fixture->fake);
  watch_it (fixture, &old);
  assert_ends (fixture, &old, FSCACHE_ERROR_NOT_SERVED);
}

static void
test_no_service (Fixture *fixture, gconstpointer data)
{
  Watch watch = { 0 };

  g_assert_cmpint (fscache_connect (fixture->socket, 0, &fixture->client), <, 0);
  watch_it (fixture, &watch);
  assert_ends (fixture, &watch, FSCACHE_ERROR_NO_SERVICE);
  g_assert_cmpuint (watch.n, ==, 1);
}

static void
test_reconnected (Fixture *fixture, gconstpointer data)
{
  Watch watch = { 0 }, mute = { 0 };

  fixture_start (fixture, 0);
  watch_and_wait (fixture, &watch);
  ORDER (fixture, is_watch_mute, TRUE);
  watch_it (fixture, &mute);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  fake_service_stop (fixture->fake);
  ORDER (fixture, is_watch_mute, FALSE);
  fake_service_start (fixture->fake);
  DISPATCH_UNTIL (fixture->client, watch.n == 2 && mute.n == 1);
  g_assert_cmpint (watch.event.reason, ==, FSCACHE_EVENT_RECONNECTED);
  g_assert_cmpint (mute.event.reason, ==, FSCACHE_EVENT_INITIAL);

  /* It is told once that there is no service. */
  fake_service_stop (fixture->fake);
  DISPATCH_UNTIL (fixture->client, watch.n == 3 && mute.n == 2);
  g_assert_cmpint (watch.event.reason, ==, FSCACHE_EVENT_DISCONNECTED);
  g_assert_false (watch.event.is_last);
  g_assert_cmpint (watch.reply.code, ==, FSCACHE_ERROR_NO_SERVICE);
  for (int i = 0; i < 10; i++)
    dispatch_once (fixture->client, 100);
  g_assert_cmpuint (watch.n, ==, 3);
  fake_service_start (fixture->fake);
  DISPATCH_UNTIL (fixture->client, watch.n == 4 && mute.n == 3);
  g_assert_cmpint (watch.event.reason, ==, FSCACHE_EVENT_RECONNECTED);
}

/* What a service may not send costs the connection; the watch comes back with the next one. */
static void
test_malformed (Fixture *fixture, gconstpointer data)
{
  const FscResult results[] = {
    { .index = 1, .sharing = FSC_SHARING_SHARED },
    { .code = FSC_CODE_UNCHANGED },
    { .code = FSC_CODE_OK },
    { .sharing = FSC_SHARING_EXCLUSIVE, .id = 5 },
  };
  Watch watch = { 0 };

  fixture_start (fixture, 0);
  watch_and_wait (fixture, &watch);
  for (unsigned i = 0; i < G_N_ELEMENTS (results); i++)
    {
      uint32_t serial = fake_service_get_seen (fixture->fake).last_watch;
      int fd = i == 0 || i == 3 ? open (fixture->file, O_RDONLY | O_CLOEXEC) : -1;

      fake_service_send_event (fixture->fake, serial, (FscEvent){ .reason = FSC_REASON_REPLACED },
                               results[i], fd);
      if (fd >= 0)
        close (fd);
      DISPATCH_UNTIL (fixture->client, watch.n == i + 2);
      g_assert_cmpint (watch.event.reason, ==, FSCACHE_EVENT_RECONNECTED);
    }
}

static void
test_no_descriptor (Fixture *fixture, gconstpointer data)
{
  Watch watch = { 0 };
  struct rlimit limit, tight;

  fixture_start (fixture, 0);
  watch_and_wait (fixture, &watch);
  send_event (fixture, FSC_REASON_REPLACED, 0, TRUE);
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  tight = limit;
  tight.rlim_cur = 3;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &tight), ==, 0);
  g_usleep (10000);
  fscache_dispatch (fixture->client);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  g_assert_cmpuint (watch.n, ==, 2);
  g_assert_cmpint (watch.reply.code, ==, FSCACHE_ERROR_NO_DESCRIPTOR);
  send_event (fixture, FSC_REASON_REPLACED, 0, TRUE);
  DISPATCH_UNTIL (fixture->client, watch.n == 3);
  g_assert_cmpint (watch.reply.code, ==, FSCACHE_OK);
}

static void
test_many (Fixture *fixture, gconstpointer data)
{
  g_autofree Watch *watches = g_new0 (Watch, 500);
  unsigned n = 0;

  fixture_start (fixture, 0);
  for (unsigned round = 0; round < 5; round++)
    {
      for (unsigned i = 0; i < 500; i++)
        if (watches[i].id == 0)
          watch_it (fixture, &watches[i]);
      for (unsigned i = 0; i < 1000 && n < 500; i++)
        {
          dispatch_once (fixture->client, 100);
          n = 0;
          for (unsigned j = 0; j < 500; j++)
            n += watches[j].n == 1;
        }
      g_assert_cmpuint (n, ==, 500);
      for (unsigned i = round; i < 500; i += 3)
        {
          fscache_unwatch (fixture->client, watches[i].id);
          watches[i] = (Watch){ 0 };
        }
      n = 0;
    }
}

/* Threads that watch, open and end watches while one dispatches. */

typedef struct
{
  Fixture *fixture;
  int is_over;
  int n_events;
} Crew;

static void
count_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  if (event->reply->fd >= 0)
    close (event->reply->fd);
  __atomic_add_fetch ((int *) data, 1, __ATOMIC_RELAXED);
}

static void *
work (void *data)
{
  Crew *crew = data;
  FscacheRequest request = { .uri = crew->fixture->file, .sharing = FSCACHE_SHARED };

  for (int i = 0; i < 300; i++)
    {
      FscacheReply reply;
      uint64_t id;

      g_assert_cmpint (
          fscache_watch (crew->fixture->client, &request, count_event, &crew->n_events, &id), ==,
          0);
      g_assert_cmpint (fscache_open_with (crew->fixture->client, &request, &reply), >=, 0);
      close (reply.fd);
      if (i % 4 != 0)
        fscache_unwatch (crew->fixture->client, id);
    }
  return NULL;
}

static void *
dispatch_all (void *data)
{
  Crew *crew = data;

  while (!__atomic_load_n (&crew->is_over, __ATOMIC_RELAXED))
    dispatch_once (crew->fixture->client, 5);
  return NULL;
}

static void
test_threads (Fixture *fixture, gconstpointer data)
{
  Crew crew = { .fixture = fixture };
  pthread_t workers[3], dispatchers[2];

  fixture_start (fixture, 0);
  g_assert_cmpint (fscache_get_poll_fd (fixture->client), >=, 0);
  for (unsigned i = 0; i < G_N_ELEMENTS (dispatchers); i++)
    pthread_create (&dispatchers[i], NULL, dispatch_all, &crew);
  for (unsigned i = 0; i < G_N_ELEMENTS (workers); i++)
    pthread_create (&workers[i], NULL, work, &crew);
  for (unsigned i = 0; i < G_N_ELEMENTS (workers); i++)
    pthread_join (workers[i], NULL);
  for (int i = 0; i < 1000 && __atomic_load_n (&crew.n_events, __ATOMIC_RELAXED) < 225; i++)
    g_usleep (10000);
  __atomic_store_n (&crew.is_over, 1, __ATOMIC_RELAXED);
  for (unsigned i = 0; i < G_N_ELEMENTS (dispatchers); i++)
    pthread_join (dispatchers[i], NULL);
  g_assert_cmpint (crew.n_events, >=, 225);
}

static void
test_fork (Fixture *fixture, gconstpointer data)
{
  Watch watch = { 0 };
  int status;
  pid_t pid;

  fixture_start (fixture, 0);
  watch_and_wait (fixture, &watch);
  send_event (fixture, FSC_REASON_REPLACED, 0, TRUE);
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  pid = fork ();
  if (pid == 0)
    {
      fscache_dispatch (fixture->client);
      fscache_unwatch (fixture->client, watch.id);
      fscache_disconnect (fixture->client);
      _exit (watch.n == 1 ? 0 : 1);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
  DISPATCH_UNTIL (fixture->client, watch.n == 2);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).unwatches, ==, 0);
}

static void
test_names (void)
{
  g_assert_cmpstr (fscache_event_reason_name (FSCACHE_EVENT_INITIAL), ==, "initial");
  g_assert_cmpstr (fscache_event_reason_name (FSCACHE_EVENT_FAILED), ==, "failed");
  g_assert_cmpstr (fscache_event_reason_name ((FscacheEventReason) 9), ==, "unknown");
  g_assert_cmpstr (fscache_event_reason_name (FSCACHE_EVENT_RECONNECTED), ==, "reconnected");
  g_assert_cmpstr (fscache_event_reason_name (FSCACHE_EVENT_REFUSED), ==, "refused");
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *path;
    void (*test) (Fixture *, gconstpointer);
  } tests[] = {
    { "/watch-client/events", test_events },
    { "/watch-client/coalesced", test_coalesced },
    { "/watch-client/in-callback", test_in_callback },
    { "/watch-client/refused", test_refused },
    { "/watch-client/no-service", test_no_service },
    { "/watch-client/reconnected", test_reconnected },
    { "/watch-client/malformed", test_malformed },
    { "/watch-client/no-descriptor", test_no_descriptor },
    { "/watch-client/many", test_many },
    { "/watch-client/threads", test_threads },
    { "/watch-client/fork", test_fork },
  };

  fsc_test_init (&argc, &argv);
  for (unsigned i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].test, tear_down);
  g_test_add_func ("/watch-client/names", test_names);
  return g_test_run ();
}
