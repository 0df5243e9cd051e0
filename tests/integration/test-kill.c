/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Killed at random instants: a thousand clients, in every state that a client can be in, and
 * openers and the spawner under load. Nothing is lost, nobody else notices.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/packet.h"
#include "tests/integration/process.h"

#define KILLS 1000
#define CHILDREN 8 /* at the same time */
#define FILES 40
#define OPENER_KILLS 100
#define THREADS 4

static char *
get_path (FscTestService *service, guint number)
{
  return g_strdup_printf ("%s/files/file-%u", service->dir, number);
}

static void
make_files (FscTestService *service)
{
  g_autofree char *dir = g_build_filename (service->dir, "files", NULL);

  g_assert_no_errno (g_mkdir_with_parents (dir, 0700));
  for (guint i = 0; i < FILES; i++)
    {
      g_autofree char *path = get_path (service, i);

      g_assert_true (g_file_set_contents (path, path, -1, NULL));
    }
}

static void
assert_is_file (int fd, FscTestService *service, guint number)
{
  g_autofree char *path = get_path (service, number);
  char content[256] = { 0 };
  struct stat found, wanted;

  g_assert_no_errno (fstat (fd, &found));
  g_assert_no_errno (stat (path, &wanted));
  g_assert_cmpuint (found.st_ino, ==, wanted.st_ino);
  g_assert_cmpint (pread (fd, content, sizeof content - 1, 0), ==, strlen (path));
  g_assert_cmpstr (content, ==, path);
}

/* What a child does until it is killed. It checks nothing: it may be killed at any time, and so may
 * the service think. */

typedef struct
{
  FscTestService *service;
  GRand *rand;
} Child;

static char *
pick_path (Child *child)
{
  return get_path (child->service, (guint) g_rand_int_range (child->rand, 0, FILES + 2));
}

static void
wait_for_death (void)
{
  for (;;)
    pause ();
}

static void
say_nothing (Child *child)
{
  fsc_test_raw_connect (child->service->socket);
  wait_for_death ();
}

static void
say_hello (Child *child)
{
  int root_fd = open ("/", O_PATH | O_CLOEXEC);

  for (guint i = 0; i < 100; i++)
    fsc_test_send_hello (fsc_test_raw_connect (child->service->socket), root_fd);
  wait_for_death ();
}

/* Asks for much, in all sharing modes and in batches, and reads nothing, or only some. */
static void
ask (Child *child, gboolean reads)
{
  int fd = fsc_test_raw_greet (child->service->socket, TRUE);

  for (guint32 serial = 1; serial < 300; serial++)
    {
      static guint8 packet[FSC_PACKET_MAX];
      g_autofree char *path = pick_path (child);
      g_autofree char *uri = fscache_uri (path);
      size_t length = fsc_test_write_open (packet, sizeof packet, serial, uri, O_RDONLY,
                                           (FscSharing) g_rand_int_range (child->rand, 0, 3),
                                           (guint) g_rand_int_range (child->rand, 1, 40));
      FscFds fds;

      fsc_channel_send (fd, packet, length, NULL, 0, MSG_DONTWAIT);
      if (reads && fsc_channel_receive (fd, packet, sizeof packet, &fds, FSC_FDS_MAX, NULL, 0) > 0
          && g_rand_boolean (child->rand))
        fsc_fds_clear (&fds);
    }
  wait_for_death ();
}

static void
open_files (Child *child)
{
  FscacheClient *client = NULL;

  fscache_connect (child->service->socket, FSCACHE_NO_FALLBACK, &client);
  for (;;)
    {
      g_autofree char *path = pick_path (child);
      FscacheRequest request
          = { .uri = path, .sharing = (FscacheSharing) g_rand_int_range (child->rand, 0, 3) };
      FscacheReply reply;

      fscache_open_with (client, &request, &reply);
      if (g_rand_boolean (child->rand)) /* else it keeps the descriptor, and the lease */
        fscache_reply_clear (client, &reply);
    }
}

static void
write_files (Child *child)
{
  const int flags[]
      = { O_RDWR, O_WRONLY | O_CREAT | O_EXCL, O_WRONLY | O_APPEND, O_RDWR | O_TMPFILE };
  FscacheClient *client = NULL;
  guint n = 0;

  fscache_connect (child->service->socket, FSCACHE_NO_FALLBACK, &client);
  for (;;)
    {
      guint kind = (guint) g_rand_int_range (child->rand, 0, G_N_ELEMENTS (flags));
      g_autofree char *old = pick_path (child);
      g_autofree char *new = g_strdup_printf ("%s/new-%d-%u", child->service->dir, getpid (), n++);
      FscacheRequest request
          = { .uri = kind == 1   ? new
                     : kind == 3 ? child->service->dir
                                 : old,
              .flags = flags[kind],
              .mode = 0600,
              .sharing = g_rand_boolean (child->rand) ? FSCACHE_EXCLUSIVE : FSCACHE_INDEPENDENT };
      FscacheReply reply;

      fscache_open_with (client, &request, &reply);
      fscache_reply_clear (client, &reply);
    }
}

static void
open_batches (Child *child)
{
  FscacheClient *client = NULL;

  fscache_connect (child->service->socket, FSCACHE_NO_FALLBACK, &client);
  for (;;)
    {
      FscacheRequest requests[FILES] = { 0 };
      FscacheReply replies[FILES];
      g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);

      for (guint i = 0; i < FILES; i++)
        {
          g_ptr_array_add (paths, pick_path (child));
          requests[i].uri = paths->pdata[i];
          requests[i].sharing = (FscacheSharing) g_rand_int_range (child->rand, 0, 3);
        }
      fscache_open_many (client, requests, replies, FILES);
      for (guint i = 0; i < FILES; i++)
        fscache_reply_clear (client, &replies[i]);
    }
}

static void
ignore_entry (const FscacheEntry *entry, void *data)
{
}

static void
manage (Child *child)
{
  FscacheClient *client = NULL;

  fscache_connect (child->service->socket, FSCACHE_NO_FALLBACK, &client);
  for (;;)
    {
      g_autofree char *path = pick_path (child);

      fscache_pin (client, path, NULL);
      fscache_list (client, NULL, ignore_entry, NULL, NULL);
      fscache_info (client, path, ignore_entry, NULL, NULL);
      fscache_drop (client, path, NULL);
    }
}

static void
live (FscTestService *service, guint seed)
{
  Child child = { service, g_rand_new_with_seed (seed) };

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  alarm (60);
  switch (g_rand_int_range (child.rand, 0, 8))
    {
    case 0:
      say_nothing (&child);
      break;
    case 1:
      say_hello (&child);
      break;
    case 2:
      ask (&child, FALSE);
      break;
    case 3:
      ask (&child, TRUE);
      break;
    case 4:
      open_files (&child);
      break;
    case 5:
      write_files (&child);
      break;
    case 6:
      open_batches (&child);
      break;
    default:
      manage (&child);
    }
}

/* A test has failed in a child, or it has ended by itself: neither must be. */
static void
end_child (pid_t pid)
{
  int status;

  g_assert_no_errno (kill (pid, SIGKILL));
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFSIGNALED (status));
  g_assert_cmpint (WTERMSIG (status), ==, SIGKILL);
}

/* After */

static void
remember_openers (const char *name, uint64_t value, void *data)
{
  if (g_str_equal (name, "openers"))
    *(int *) data = (int) value;
}

/* How many descriptors the service has but for its openers', with one client. */
static int
count_descriptors (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  int openers = 0, n;

  g_usleep (50000); /* the one before has gone */
  g_assert_cmpint (fscache_status (client, remember_openers, &openers, NULL), ==, 0);
  n = fsc_process_count_descriptors (service->pid, "") - openers;
  fscache_disconnect (client);
  return n;
}

static void
assert_not_lent (const FscacheEntry *entry, void *data)
{
  g_assert_false (entry->is_lent);
}

/* Everything is served, in every mode. */
static void
assert_works (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  for (guint i = 0; i < 3 * FILES; i++)
    {
      g_autofree char *path = get_path (service, i / 3);
      FscacheRequest request = { .uri = path, .sharing = (FscacheSharing) (i % 3) };
      FscacheReply reply;

      fscache_open_with (client, &request, &reply);
      g_assert_cmpstr (reply.message, ==, "");
      assert_is_file (reply.fd, service, i / 3);
      fscache_reply_clear (client, &reply);
    }
  fscache_disconnect (client);
}

/* Neither the service nor an opener has a descriptor of a file once nothing is cached. */
static void
assert_nothing_left (FscTestService *service)
{
  g_autofree char *files = g_build_filename (service->dir, "files", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GArray) openers = fsc_test_service_list_openers (service);

  g_assert_cmpint (fscache_list (client, NULL, assert_not_lent, NULL, NULL), >=, 0);
  /* What clients asked for just before they were killed may still be on its way into the cache. */
  for (int i = 0; i < 500 && fsc_test_service_counter (service, "entries") > 0; i++)
    {
      g_assert_cmpint (fscache_drop_matching (client, "*", NULL), >=, 0);
      g_usleep (i > 0 ? 10000 : 0);
    }
  fscache_disconnect (client);
  fsc_test_service_check_descriptors (service);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "entries"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, 0);
  g_assert_cmpint (fsc_process_count_descriptors (service->pid, files), ==, 0);
  for (guint i = 0; i < openers->len; i++)
    {
      pid_t opener = g_array_index (openers, pid_t, i);

      /* It closes what it has sent a moment after we have got it. */
      for (int n = 0; fsc_process_count_descriptors (opener, files) > 0 && n < 500; n++)
        g_usleep (10000);
      g_assert_cmpint (fsc_process_count_descriptors (opener, files), <=, 0);
    }
}

static void
test_clients (FscTestService *service)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  pid_t children[CHILDREN] = { 0 };
  int before;

  make_files (service);
  assert_works (service);
  assert_nothing_left (service);
  before = count_descriptors (service);

  for (guint n = 0; n < fsc_test_scale (KILLS) + CHILDREN; n++)
    {
      guint slot = (guint) g_rand_int_range (rand, 0, CHILDREN);
      guint seed = g_rand_int (rand);

      if (children[slot] != 0)
        end_child (children[slot]);
      children[slot] = fork ();
      g_assert_cmpint (children[slot], >=, 0);
      if (children[slot] == 0)
        {
          live (service, seed);
          _exit (1);
        }
      g_usleep ((gulong) g_rand_int_range (rand, 0, 4000));
    }
  for (guint i = 0; i < CHILDREN; i++)
    if (children[i] != 0)
      end_child (children[i]);

  fsc_test_service_wait_for (service, "clients", 1);
  fsc_test_service_wait_for (service, "in_flight", 0);
  assert_works (service);
  assert_nothing_left (service);
  g_assert_cmpint (count_descriptors (service), ==, before);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_failed"), ==, 0);
}

/* Openers */

typedef struct
{
  FscTestService *service;
  guint seed;
  gboolean *is_over;
  guint n_opened, n_failed;
} Worker;

static gpointer
work (gpointer data)
{
  Worker *worker = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (worker->seed);
  FscacheClient *client = fsc_test_service_connect (worker->service);

  while (!g_atomic_int_get (worker->is_over))
    {
      /* Each thread has files of its own, so that no two wait for the same open. */
      guint file
          = (guint) g_rand_int_range (rand, 0, FILES / THREADS) * THREADS + worker->seed % THREADS;
      g_autofree char *path = get_path (worker->service, file);
      FscacheRequest request = { .uri = path,
                                 .flags = g_rand_boolean (rand) ? O_RDONLY : O_RDWR,
                                 .options = FSCACHE_REVALIDATE };
      FscacheReply reply;

      fscache_open_with (client, &request, &reply);
      if (reply.code == FSCACHE_OK)
        {
          assert_is_file (reply.fd, worker->service, file);
          worker->n_opened++;
        }
      else
        {
          g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OPENER_FAILED);
          g_assert_cmpint (reply.error, ==, EIO);
          g_assert_nonnull (strstr (reply.message, path));
          g_assert_nonnull (strstr (reply.message, "opener"));
          worker->n_failed++;
        }
      fscache_reply_clear (client, &reply);
    }
  fscache_disconnect (client);
  return NULL;
}

static void
kill_one_of (GArray *pids, GRand *rand)
{
  if (pids->len > 0)
    kill (g_array_index (pids, pid_t, g_rand_int_range (rand, 0, (gint32) pids->len)), SIGKILL);
}

static void
test_openers (FscTestService *service)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  Worker workers[THREADS];
  GThread *threads[THREADS];
  gboolean is_over = FALSE;
  guint kills = fsc_test_scale (OPENER_KILLS), n_opened = 0, n_failed = 0;

  make_files (service);
  for (guint i = 0; i < THREADS; i++)
    {
      workers[i] = (Worker){ .service = service, .seed = i, .is_over = &is_over };
      threads[i] = g_thread_new ("worker", work, &workers[i]);
    }
  for (guint i = 0; i < kills; i++)
    {
      g_autoptr (GArray) openers = NULL;

      g_usleep ((gulong) g_rand_int_range (rand, 0, 20000));
      openers = fsc_test_service_list_openers (service);
      kill_one_of (openers, rand);
    }
  g_usleep (100000);
  g_atomic_int_set (&is_over, TRUE);
  for (guint i = 0; i < THREADS; i++)
    {
      g_thread_join (threads[i]);
      n_opened += workers[i].n_opened;
      n_failed += workers[i].n_failed;
    }

  g_test_message ("%u openers killed, %u requests failed, %u succeeded", kills, n_failed, n_opened);
  g_assert_cmpuint (n_failed, <=, kills); /* each costs one at most */
  g_assert_cmpuint (n_opened, >, kills);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_failed"), >, kills / 4);
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_stuck"), ==, 0);
  assert_works (service);
  assert_nothing_left (service);
}

/* The spawner takes its openers along, and is replaced. */
static void
test_spawner (FscTestService *service)
{
  make_files (service);
  for (guint i = 0; i < 10; i++)
    {
      g_autoptr (GArray) openers = NULL;
      FscacheClient *client = fsc_test_service_connect (service);
      pid_t spawner;

      g_assert_cmpint (fscache_drop_matching (client, "*", NULL), >=, 0);
      fscache_disconnect (client);
      assert_works (service);
      openers = fsc_test_service_list_openers (service);
      g_assert_cmpuint (openers->len, >, 0);
      spawner = (pid_t) fsc_process_get (g_array_index (openers, pid_t, 0), "PPid:");
      g_assert_cmpint (fsc_process_get (spawner, "PPid:"), ==, service->pid);
      g_assert_no_errno (kill (spawner, SIGKILL));
      fsc_test_service_wait_for (service, "openers", 0);
    }
  assert_works (service);
  assert_nothing_left (service);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);

  FSC_TEST_ADD ("/kill/clients", test_clients);
  FSC_TEST_ADD ("/kill/openers", test_openers);
  FSC_TEST_ADD ("/kill/spawner", test_spawner);
  return g_test_run ();
}
