/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What libfscache makes of a service that says nothing: one that hangs is noticed, and one that is
 * only slow is left in peace. The service is a fake one in the same process, and a silence is 200
 * ms.
 */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/harness/tap.h"
#include "tests/unit/fake-fixture.h"

#define SILENCE_MS 200

/* One and a half until the PING, and one more. */
#define LOST_MS (SILENCE_MS * 5 / 2)

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture_init (fixture);
  fixture_start (fixture, 0);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  fixture_clear (fixture);
}

static void
set_mute (Fixture *fixture, gboolean is_mute)
{
  ORDER (fixture, is_mute, is_mute);
}

/* It does not read; nor answer, should it just be about to. */
static void
set_paused (Fixture *fixture, gboolean is_paused)
{
  FakeOrders *orders = fake_service_lock (fixture->fake);

  orders->is_paused = orders->is_mute = is_paused;
  fake_service_unlock (fixture->fake);
}

/* Opens the file, and closes it. Returns where it came from. */
static FscacheSource
open_file (Fixture *fixture, uint32_t timeout_ms)
{
  FscacheRequest request = { .uri = fixture->file, .timeout_ms = timeout_ms };
  FscacheReply reply;

  if (fscache_open_with (fixture->client, &request, &reply) >= 0)
    close (reply.fd);
  else
    g_test_message ("%s", reply.message);
  return reply.source;
}

/* Lets the service speak again once the request and the PING have been ignored: they remain so, but
 * the next connection is welcome. */
static void *
heal (void *data)
{
  Fixture *fixture = data;

  while (fake_service_get_seen (fixture->fake).unanswered < 2)
    g_usleep (1000);
  set_mute (fixture, FALSE);
  return NULL;
}

/* It hears, and does not answer; a new connection is answered. */
static void
test_mute (Fixture *fixture, gconstpointer data)
{
  gint64 start = g_get_monotonic_time ();
  pthread_t healer;

  set_mute (fixture, TRUE);
  pthread_create (&healer, NULL, heal, fixture);
  g_assert_cmpint (open_file (fixture, 0), ==, FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (g_get_monotonic_time () - start, >=, 2 * SILENCE_MS * 1000);
  pthread_join (healer, NULL);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 2);
  g_assert_cmpint (open_file (fixture, 0), ==, FSCACHE_SOURCE_CACHE);
}

/* It does not even read, nor does it take a new connection. */
static void
test_stopped (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = "test:x" };
  FscacheReply reply;

  set_paused (fixture, TRUE);
  g_assert_cmpint (open_file (fixture, 0), ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), ==, -ETIMEDOUT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NO_SERVICE);
  g_assert_nonnull (strstr (reply.message, "does not answer"));
  set_paused (fixture, FALSE);
  for (int i = 0; i < 100 && open_file (fixture, 0) == FSCACHE_SOURCE_LOCAL; i++)
    g_usleep (100 * 1000);
  g_assert_cmpint (open_file (fixture, 0), ==, FSCACHE_SOURCE_CACHE);
}

/* Nor is there room to send anything: a batch that fills the socket's buffer. */
static void
test_stopped_and_full (Fixture *fixture, gconstpointer data)
{
  enum
  {
    N = 8000
  };
  g_autofree FscacheRequest *requests = g_new0 (FscacheRequest, N);
  g_autofree FscacheReply *replies = g_new0 (FscacheReply, N);

  for (int i = 0; i < N; i++)
    requests[i].uri = "test:x";
  set_paused (fixture, TRUE);
  g_assert_cmpint (fscache_open_many (fixture->client, requests, replies, N), ==, -ETIMEDOUT);
  for (int i = 0; i < N; i++)
    g_assert_cmpint (replies[i].code, ==, FSCACHE_ERROR_NO_SERVICE);
  set_paused (fixture, FALSE);
}

/* What is slow is not dead: PING is answered. */
static void
test_slow (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = "test:hang", .timeout_ms = 5 * LOST_MS };
  FscacheReply reply;

  g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), ==, -ETIMEDOUT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_TIMED_OUT);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).pings, >=, 3);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
}

/* A timeout that comes first is the end, in its own words. */
static void
test_timeout (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = fixture->file, .timeout_ms = SILENCE_MS };
  FscacheReply reply;

  set_mute (fixture, TRUE);
  for (int i = 0; i < 2; i++)
    {
      g_assert_cmpint (fscache_open_with (fixture->client, &request, &reply), ==, -ETIMEDOUT);
      g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_TIMED_OUT);
    }
  set_mute (fixture, FALSE);
  g_assert_cmpint (open_file (fixture, 0), ==, FSCACHE_SOURCE_CACHE);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
}

/* Timeouts do not keep the silence from being noticed. */
static void
test_long_timeout (Fixture *fixture, gconstpointer data)
{
  gint64 start = g_get_monotonic_time ();

  set_paused (fixture, TRUE);
  g_assert_cmpint (open_file (fixture, 60000), ==, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 30 * G_USEC_PER_SEC);
  set_paused (fixture, FALSE);
}

/* Without a request nobody expects anything. */
static void
test_idle (Fixture *fixture, gconstpointer data)
{
  g_assert_cmpint (open_file (fixture, 0), ==, FSCACHE_SOURCE_CACHE);
  set_mute (fixture, TRUE);
  g_usleep (2 * LOST_MS * 1000);
  set_mute (fixture, FALSE);
  g_assert_cmpint (open_file (fixture, 0), ==, FSCACHE_SOURCE_CACHE);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).pings, ==, 0);
}

static void
on_alarm (int number)
{
}

/* Signals interrupt the wait all the time. */
static void
test_signals (Fixture *fixture, gconstpointer data)
{
  struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART }, before;
  struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { 0 };

  set_paused (fixture, TRUE);
  sigaction (SIGALRM, &action, &before);
  setitimer (ITIMER_REAL, &often, NULL);
  g_assert_cmpint (open_file (fixture, 0), ==, FSCACHE_SOURCE_LOCAL);
  setitimer (ITIMER_REAL, &never, NULL);
  sigaction (SIGALRM, &before, NULL);
  set_paused (fixture, FALSE);
}

static void *
open_in_thread (void *data)
{
  return GINT_TO_POINTER (open_file (data, 0));
}

/* Threads wait for each other's reading. */
static void
test_threads (Fixture *fixture, gconstpointer data)
{
  pthread_t threads[4];
  void *source;

  set_paused (fixture, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    pthread_create (&threads[i], NULL, open_in_thread, fixture);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    {
      pthread_join (threads[i], &source);
      g_assert_cmpint (GPOINTER_TO_INT (source), ==, FSCACHE_SOURCE_LOCAL);
    }
  set_paused (fixture, FALSE);
}

/* Event loops */

static void
note_source (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  *(FscacheSource *) data = reply->source;
  if (reply->fd >= 0)
    close (reply->fd);
}

/* Runs the loop until there is an answer, or the time is over. Returns how often it was woken. */
static int
loop (Fixture *fixture, const FscacheSource *source, int ms)
{
  struct pollfd pollfd = { .fd = fscache_get_poll_fd (fixture->client), .events = POLLIN };
  gint64 end = g_get_monotonic_time () + ms * (gint64) 1000, now;
  int n = 0;

  while ((source == NULL || *source == FSCACHE_SOURCE_NONE)
         && (now = g_get_monotonic_time ()) < end)
    if (poll (&pollfd, 1, (int) ((end - now + 999) / 1000)) > 0)
      {
        g_assert_cmpint (fscache_dispatch (fixture->client), >=, 0);
        n++;
      }
  return n;
}

static FscacheSource
submit_and_loop (Fixture *fixture)
{
  FscacheRequest request = { .uri = fixture->file };
  FscacheSource source = FSCACHE_SOURCE_NONE;

  g_assert_cmpint (fscache_submit (fixture->client, &request, 1, note_source, &source, NULL), ==,
                   0);
  loop (fixture, &source, 30000);
  return source;
}

static void
test_loop_mute (Fixture *fixture, gconstpointer data)
{
  pthread_t healer;

  g_assert_cmpint (submit_and_loop (fixture), ==, FSCACHE_SOURCE_CACHE);
  set_mute (fixture, TRUE);
  pthread_create (&healer, NULL, heal, fixture);
  g_assert_cmpint (submit_and_loop (fixture), ==, FSCACHE_SOURCE_CACHE);
  pthread_join (healer, NULL);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 2);
}

static void
test_loop_stopped (Fixture *fixture, gconstpointer data)
{
  set_paused (fixture, TRUE);
  g_assert_cmpint (submit_and_loop (fixture), ==, FSCACHE_SOURCE_LOCAL);
  set_paused (fixture, FALSE);
}

/* A slow request wakes the loop now and then, and an idle client not at all. */
static void
test_loop_slow (Fixture *fixture, gconstpointer data)
{
  FscacheRequest request = { .uri = "test:hang" };
  FscacheSource source = FSCACHE_SOURCE_NONE;
  uint64_t id;
  int n;

  g_assert_cmpint (fscache_submit (fixture->client, &request, 1, note_source, &source, &id), ==, 0);
  n = loop (fixture, &source, 5 * LOST_MS);
  g_assert_cmpint (n, >=, 5);
  g_assert_cmpint (n, <=, 60);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).pings, >=, 3);
  g_assert_cmpuint (fake_service_get_seen (fixture->fake).connections, ==, 1);
  fscache_cancel (fixture->client, id);
  loop (fixture, NULL, SILENCE_MS);
  g_assert_cmpint (loop (fixture, NULL, 2 * SILENCE_MS), ==, 0);
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *name;
    void (*func) (Fixture *fixture, gconstpointer data);
  } tests[] = {
    { "/silence/mute", test_mute },
    { "/silence/stopped", test_stopped },
    { "/silence/stopped-and-full", test_stopped_and_full },
    { "/silence/slow", test_slow },
    { "/silence/timeout", test_timeout },
    { "/silence/long-timeout", test_long_timeout },
    { "/silence/idle", test_idle },
    { "/silence/signals", test_signals },
    { "/silence/threads", test_threads },
    { "/silence/loop-mute", test_loop_mute },
    { "/silence/loop-stopped", test_loop_stopped },
    { "/silence/loop-slow", test_loop_slow },
  };

  g_setenv ("FSCACHE_SILENCE_MS", G_STRINGIFY (SILENCE_MS), TRUE);
  fsc_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].name, Fixture, NULL, set_up, tests[i].func, tear_down);
  return g_test_run ();
}
