/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A service that is killed and started again under load: clients that may not open anything
 * themselves see no failed request, and nothing but what is there. Without a service, clients that
 * may open files do.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define RESTARTS 25
#define THREADS 6
#define FILES 60
#define BATCH 16

static char *
get_path (FscTestService *service, guint number)
{
  return g_strdup_printf ("%s/file-%u", service->dir, number);
}

static void
make_files (FscTestService *service)
{
  for (guint i = 0; i < FILES; i++)
    {
      g_autofree char *path = get_path (service, i);

      g_assert_true (g_file_set_contents (path, path, -1, NULL));
    }
}

static void
assert_is_file (const FscacheReply *reply, const char *path)
{
  char content[256] = { 0 };
  struct stat found, wanted;

  g_assert_cmpstr (reply->message, ==, "");
  g_assert_cmpint (reply->code, ==, FSCACHE_OK);
  g_assert_no_errno (fstat (reply->fd, &found));
  g_assert_no_errno (stat (path, &wanted));
  g_assert_cmpuint (found.st_ino, ==, wanted.st_ino);
  g_assert_cmpint (pread (reply->fd, content, sizeof content - 1, 0), ==, strlen (path));
  g_assert_cmpstr (content, ==, path);
}

/* The load */

typedef struct
{
  FscTestService *service;
  guint seed;
  gboolean *is_over;
  guint n_opened;
  gint64 longest; /* microseconds */
} Worker;

static void
open_one (Worker *worker, FscacheClient *client, GRand *rand)
{
  g_autofree char *path = get_path (worker->service, (guint) g_rand_int_range (rand, 0, FILES));
  FscacheRequest request
      = { .uri = path, .sharing = (FscacheSharing) g_rand_int_range (rand, 0, 3) };
  FscacheReply reply;

  fscache_open_with (client, &request, &reply);
  assert_is_file (&reply, path);
  g_assert_cmpint (reply.sharing, ==, request.sharing);
  g_assert_cmpint (reply.source, !=, FSCACHE_SOURCE_LOCAL);
  fscache_reply_clear (client, &reply);
  worker->n_opened++;
}

static void
open_batch (Worker *worker, FscacheClient *client, GRand *rand)
{
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  FscacheRequest requests[BATCH] = { 0 };
  FscacheReply replies[BATCH];

  for (guint i = 0; i < BATCH; i++)
    {
      g_ptr_array_add (paths,
                       get_path (worker->service, (guint) g_rand_int_range (rand, 0, FILES)));
      requests[i].uri = paths->pdata[i];
      requests[i].sharing = FSCACHE_SHARED;
    }
  g_assert_cmpint (fscache_open_many (client, requests, replies, BATCH), ==, 0);
  for (guint i = 0; i < BATCH; i++)
    {
      assert_is_file (&replies[i], paths->pdata[i]);
      g_assert_cmpint (replies[i].source, !=, FSCACHE_SOURCE_LOCAL);
      fscache_reply_clear (client, &replies[i]);
    }
  worker->n_opened += BATCH;
}

static gpointer
work (gpointer data)
{
  Worker *worker = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (worker->seed);
  FscacheClient *client;

  /* A thread that starts late may find the service down already: that is what it is here for. */
  fscache_connect (worker->service->socket, FSCACHE_NO_FALLBACK, &client);
  g_assert_nonnull (client);
  while (!g_atomic_int_get (worker->is_over))
    {
      gint64 since = g_get_monotonic_time ();

      if (g_rand_int_range (rand, 0, 4) == 0)
        open_batch (worker, client, rand);
      else
        open_one (worker, client, rand);
      worker->longest = MAX (worker->longest, g_get_monotonic_time () - since);
    }
  fscache_disconnect (client);
  return NULL;
}

/* While there was no service a file was replaced: the new one knows nothing of the old one. */
static void
assert_sees (FscacheClient *client, const char *path, const char *content)
{
  char found[32] = { 0 };
  FscacheReply reply;

  fscache_open (client, path, O_RDONLY, &reply);
  g_assert_cmpstr (reply.message, ==, "");
  g_assert_cmpint (read (reply.fd, found, sizeof found - 1), ==, strlen (content));
  g_assert_cmpstr (found, ==, content);
  fscache_reply_clear (client, &reply);
}

static void
restart_under_load (FscTestService *service, void (*end) (FscTestService *))
{
  g_autoptr (GRand) rand = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  g_autofree char *replaced = g_build_filename (service->dir, "replaced", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  Worker workers[THREADS];
  GThread *threads[THREADS];
  gboolean is_over = FALSE;
  guint n_opened = 0, restarts = fsc_test_scale (RESTARTS);
  gint64 longest = 0;
  long base = service->base;

  make_files (service);
  for (guint i = 0; i < THREADS; i++)
    {
      workers[i] = (Worker){ .service = service, .seed = g_rand_int (rand), .is_over = &is_over };
      threads[i] = g_thread_new ("worker", work, &workers[i]);
    }
  for (guint i = 0; i < restarts; i++)
    {
      g_autofree char *content = g_strdup_printf ("version %u", i);

      g_usleep ((gulong) g_rand_int_range (rand, 0, 60000));
      end (service);
      g_assert_true (g_file_set_contents (replaced, content, -1, NULL));
      g_usleep ((gulong) g_rand_int_range (rand, 0, 30000));
      fsc_test_service_start (service);
      assert_sees (client, replaced, content);
    }
  g_usleep (100000);
  g_atomic_int_set (&is_over, TRUE);
  for (guint i = 0; i < THREADS; i++)
    {
      g_thread_join (threads[i]);
      g_assert_cmpuint (workers[i].n_opened, >, restarts);
      n_opened += workers[i].n_opened;
      longest = MAX (longest, workers[i].longest);
    }
  g_test_message ("%u restarts, %u files opened, none in more than %.0f ms", restarts, n_opened,
                  (double) longest / 1000);
  fscache_disconnect (client);
  service->base = base; /* it has been counted again at each start, in the midst of the load */
}

static void
test_killed (FscTestService *service)
{
  restart_under_load (service, fsc_test_service_kill);
}

static void
test_stopped (FscTestService *service)
{
  restart_under_load (service, fsc_test_service_stop);
}

/* A lease ends with the service; giving it back to the next one does nothing there. */
static void
test_leases (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "content");
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_EXCLUSIVE };
  FscacheReply old, new, other;

  g_assert_cmpint (fscache_open_with (client, &request, &old), >=, 0);
  g_assert_cmpuint (old.lease, !=, 0);
  fsc_test_service_kill (service);
  fsc_test_service_start (service);
  g_assert_cmpint (fscache_open_with (client, &request, &new), >=, 0);
  g_assert_cmpuint (new.lease, ==, old.lease); /* both count from the same number on */
  fscache_give_back (client, &old);
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);

  g_assert_cmpint (fscache_open_with (client, &request, &other), >=, 0);
  g_assert_cmpint (other.source, ==, FSCACHE_SOURCE_OPENED); /* `new` is still lent */
  fscache_give_back (client, &other);
  fscache_give_back (client, &new);
  fscache_disconnect (client);
}

/* No service */

static void
test_fallback (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "content");
  g_autofree char *missing = g_build_filename (service->dir, "missing", NULL);
  FscacheClient *client, *strict;
  FscacheReply reply;

  g_assert_cmpint (fscache_connect (service->socket, 0, &client), ==, 0);
  strict = fsc_test_service_connect (service);
  assert_sees (client, path, "content");
  fsc_test_service_kill (service);

  for (guint i = 0; i < 3; i++)
    {
      g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
      g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
      fscache_reply_clear (client, &reply);
    }
  g_assert_cmpint (fscache_open (client, missing, O_RDONLY, &reply), ==, -ENOENT);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_SYSTEM);
  g_assert_nonnull (strstr (reply.message, missing));

  g_assert_cmpint (fscache_open (strict, path, O_RDONLY, &reply), <, 0);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NO_SERVICE);
  g_assert_cmpint (reply.fd, ==, -1);
  g_assert_nonnull (strstr (reply.message, path));

  fsc_test_service_start (service);
  for (guint i = 0; i < 300; i++)
    {
      g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
      fscache_reply_clear (client, &reply);
      if (reply.source != FSCACHE_SOURCE_LOCAL)
        break;
      g_usleep (10000);
    }
  g_assert_cmpint (reply.source, !=, FSCACHE_SOURCE_LOCAL);
  g_usleep (200000); /* a client that found none looks again after 100 ms */
  assert_sees (strict, path, "content");
  fscache_disconnect (client);
  fscache_disconnect (strict);
}

/* There never was one. */
static void
test_none (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "content");
  g_autofree char *nowhere = g_build_filename (service->dir, "nowhere", NULL);
  FscacheClient *client;
  FscacheReply reply;
  gint64 since = g_get_monotonic_time ();

  g_assert_cmpint (fscache_connect (nowhere, 0, &client), <, 0);
  g_assert_nonnull (client);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_LOCAL);
  fscache_reply_clear (client, &reply);
  fscache_disconnect (client);

  g_assert_cmpint (fscache_connect (nowhere, FSCACHE_NO_FALLBACK, &client), <, 0);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), <, 0);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_NO_SERVICE);
  g_assert_cmpint (fscache_ping (client, NULL), <, 0);
  fscache_disconnect (client);
  g_assert_cmpint (g_get_monotonic_time () - since, <, G_USEC_PER_SEC); /* nothing to wait for */
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);

  FSC_TEST_ADD ("/restart/killed", test_killed);
  FSC_TEST_ADD ("/restart/stopped", test_stopped);
  FSC_TEST_ADD ("/restart/leases", test_leases);
  FSC_TEST_ADD ("/restart/fallback", test_fallback);
  FSC_TEST_ADD ("/restart/none", test_none);
  return g_test_run ();
}
