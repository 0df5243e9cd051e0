/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Borrowing, against a fake service in the same process, which says at once when what it gave does
 * not hold any more: here a borrowed handle is never stale at all.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/fake-fixture.h"

#define FILES 40
#define THREADS 8

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS 3000
#else
#define ROUNDS 20000
#endif

static unsigned
count_fds (void)
{
  DIR *directory = opendir ("/proc/self/fd");
  unsigned n = 0;

  while (readdir (directory) != NULL)
    n++;
  closedir (directory);
  return n;
}

/* The same once the service, which is in this process, has closed what it has just sent. */
static unsigned
count_settled (Fixture *fixture)
{
  g_assert_cmpint (fscache_ping (fixture->client, NULL), ==, 0);
  return count_fds ();
}

static char *
get_path (Fixture *fixture, unsigned number)
{
  return g_strdup_printf ("%s/file-%u", fixture->directory, number);
}

/* Puts another file in the place of this one, and says so. Its content is "NUMBER VERSION ". */
static void
replace (Fixture *fixture, unsigned number, unsigned version)
{
  g_autofree char *path = get_path (fixture, number);
  g_autofree char *temporary = g_strconcat (path, ".new", NULL);
  g_autofree char *content = g_strdup_printf ("%u %u ", number, version);

  g_assert_true (g_file_set_contents (temporary, content, -1, NULL));
  g_assert_cmpint (g_rename (temporary, path), ==, 0);
  fake_service_end_generation (fixture->fake, path);
}

static void
read_numbers (int fd, unsigned *number, unsigned *version)
{
  char content[64] = { 0 };

  g_assert_cmpint (pread (fd, content, sizeof content - 1, 0), >, 0);
  g_assert_cmpint (sscanf (content, "%u %u ", number, version), ==, 2);
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  fixture_init (fixture);
  ORDER (fixture, has_table, TRUE);
  for (unsigned i = 0; i < FILES; i++)
    replace (fixture, i, 0);
  fixture_start (fixture, 0);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  fixture_clear (fixture);
}

static unsigned
get_opens (Fixture *fixture)
{
  return fake_service_get_seen (fixture->fake).opens;
}

/* Borrows a file, which must be of this version, and have come from there. */
static void
borrow (Fixture *fixture, unsigned number, unsigned version, FscacheSource source,
        FscacheBorrow *borrowed)
{
  g_autofree char *path = get_path (fixture, number);
  unsigned found_number, found_version;
  int fd = fscache_borrow (fixture->client, path, borrowed, NULL);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (fd, ==, borrowed->fd);
  read_numbers (fd, &found_number, &found_version);
  g_assert_cmpuint (found_number, ==, number);
  g_assert_cmpuint (found_version, ==, version);
  g_assert_cmpstr (fscache_source_name (borrowed->source), ==, fscache_source_name (source));
  g_assert_cmpint (borrowed->kind, ==, FSCACHE_KIND_REGULAR);
}

static void
borrow_and_return (Fixture *fixture, unsigned number, unsigned version, FscacheSource source)
{
  FscacheBorrow borrowed;

  borrow (fixture, number, version, source, &borrowed);
  fscache_return (fixture->client, &borrowed);
  g_assert_cmpint (borrowed.fd, ==, -1);
  fscache_return (fixture->client, &borrowed);
}

static void
test_hit (Fixture *fixture, gconstpointer data)
{
  unsigned opens, n_fds;

  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
  opens = get_opens (fixture);
  n_fds = count_settled (fixture);
  for (int i = 0; i < 1000; i++)
    borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_KEPT);
  g_assert_cmpuint (get_opens (fixture), ==, opens);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds);
}

/* What the file is when nothing but an open is asked for does not depend on what is kept. */
static void
test_open_is_exact (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = get_path (fixture, 0);
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };
  unsigned opens, n_fds = count_settled (fixture);

  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
  opens = get_opens (fixture);
  for (int i = 0; i < 10; i++)
    close (fscache_open_with (fixture->client, &request, NULL));
  g_assert_cmpuint (get_opens (fixture), ==, opens + 10);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 1);
}

static void
test_stale (Fixture *fixture, gconstpointer data)
{
  unsigned n_fds = count_settled (fixture);

  for (unsigned i = 0; i < 100; i++)
    {
      borrow_and_return (fixture, 0, i, FSCACHE_SOURCE_CACHE);
      borrow_and_return (fixture, 0, i, FSCACHE_SOURCE_KEPT);
      replace (fixture, 0, i + 1);
    }
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 1);
}

static void
test_in_use (Fixture *fixture, gconstpointer data)
{
  FscacheBorrow old[3], new;
  unsigned number, version, n_fds = count_settled (fixture);

  borrow (fixture, 0, 0, FSCACHE_SOURCE_CACHE, &old[0]);
  borrow (fixture, 0, 0, FSCACHE_SOURCE_KEPT, &old[1]);
  borrow (fixture, 0, 0, FSCACHE_SOURCE_KEPT, &old[2]);
  replace (fixture, 0, 1);
  borrow (fixture, 0, 1, FSCACHE_SOURCE_CACHE, &new);
  for (unsigned i = 0; i < G_N_ELEMENTS (old); i++)
    {
      g_assert_cmpuint (count_settled (fixture), ==, n_fds + 2);
      read_numbers (old[i].fd, &number, &version);
      g_assert_cmpuint (version, ==, 0);
      errno = EXDEV;
      fscache_return (fixture->client, &old[i]);
      g_assert_cmpint (errno, ==, EXDEV);
    }
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 1);
  fscache_return (fixture->client, &new);
  borrow_and_return (fixture, 0, 1, FSCACHE_SOURCE_KEPT);
}

static void
test_names (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = get_path (fixture, 0);
  g_autofree char *uri = g_strconcat ("file://", path, NULL);
  g_autofree char *roundabout = g_strconcat ("/.", path, NULL);
  const char *names[] = { path, uri, roundabout };
  FscacheBorrow borrowed;

  for (int round = 0; round < 2; round++)
    for (unsigned i = 0; i < G_N_ELEMENTS (names); i++)
      {
        g_assert_cmpint (fscache_borrow (fixture->client, names[i], &borrowed, NULL), >=, 0);
        g_assert_cmpint (borrowed.source, ==,
                         round == 0 ? FSCACHE_SOURCE_CACHE : FSCACHE_SOURCE_KEPT);
        fscache_return (fixture->client, &borrowed);
      }
}

static void
test_relative (Fixture *fixture, gconstpointer data)
{
  g_autofree char *cwd = g_get_current_dir ();
  FscacheBorrow borrowed;
  unsigned n_fds = count_settled (fixture);

  g_assert_cmpint (g_chdir (fixture->directory), ==, 0);
  for (int i = 0; i < 3; i++)
    {
      g_assert_cmpint (fscache_borrow (fixture->client, "file-1", &borrowed, NULL), >=, 0);
      g_assert_cmpint (borrowed.source, ==, FSCACHE_SOURCE_CACHE);
      fscache_return (fixture->client, &borrowed);
    }
  g_assert_cmpint (g_chdir (cwd), ==, 0);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds);
}

static void
test_time_to_live (Fixture *fixture, gconstpointer data)
{
  ORDER (fixture, lifetime_ms, 200);
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_KEPT);
  g_usleep (210 * 1000);
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);

  /* Too short to be told by the clock that is used. */
  replace (fixture, 0, 1);
  ORDER (fixture, lifetime_ms, 5);
  borrow_and_return (fixture, 0, 1, FSCACHE_SOURCE_CACHE);
  borrow_and_return (fixture, 0, 1, FSCACHE_SOURCE_CACHE);
}

/* What may hang whoever closes it is closed by who comes for the same, or for all; nobody else. */
static void
test_closed_by (Fixture *fixture, gconstpointer data)
{
  unsigned n_fds = count_settled (fixture);

  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 8), ==, 0);
  ORDER (fixture, lifetime_ms, 200);
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
  borrow_and_return (fixture, 1, 0, FSCACHE_SOURCE_CACHE);
  ORDER (fixture, lifetime_ms, 0);
  borrow_and_return (fixture, 2, 0, FSCACHE_SOURCE_CACHE);
  borrow_and_return (fixture, 3, 0, FSCACHE_SOURCE_CACHE);
  g_usleep (300 * 1000);
  replace (fixture, 2, 1);
  for (int i = 0; i < 10; i++) /* one of them notices */
    {
      borrow_and_return (fixture, 3, 0, FSCACHE_SOURCE_KEPT);
      g_usleep (20 * 1000);
    }
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 3);
  ORDER (fixture, lifetime_ms, 200);
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 3);
  g_usleep (300 * 1000);
  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 8), ==, 0);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 1);

  /* Unless there are too many. */
  for (unsigned i = 4; i < FILES; i++)
    {
      borrow_and_return (fixture, i, 0, FSCACHE_SOURCE_CACHE);
      g_assert_cmpuint (count_settled (fixture), <=, n_fds + 2 * 8 + 1);
    }
}

/* A service that does not say whether a handle holds is asked each time. */
static void
assert_nothing_is_kept (Fixture *fixture, unsigned options)
{
  unsigned n_fds;

  fscache_disconnect (fixture->client);
  g_assert_cmpint (fscache_connect (fixture->socket, options, &fixture->client), ==, 0);
  n_fds = count_settled (fixture);
  for (int i = 0; i < 3; i++)
    {
      borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
      g_assert_cmpuint (count_settled (fixture), ==, n_fds);
    }
}

static void
test_not_kept (Fixture *fixture, gconstpointer data)
{
  assert_nothing_is_kept (fixture, FSCACHE_REVALIDATE);
  ORDER (fixture, has_table, FALSE);
  assert_nothing_is_kept (fixture, 0);
}

static void
test_bad_table (Fixture *fixture, gconstpointer data)
{
  fscache_disconnect (g_steal_pointer (&fixture->client));
  fake_service_stop (fixture->fake);
  ORDER (fixture, bad_table, TRUE);
  fake_service_start (fixture->fake);
  g_assert_cmpint (fscache_connect (fixture->socket, 0, &fixture->client), ==, 0);
  assert_nothing_is_kept (fixture, 0);
}

static void
test_slots_run_out (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = get_path (fixture, 0);

  for (unsigned i = 0; i < FAKE_SLOTS; i++)
    {
      g_autofree char *other = g_strdup_printf ("%s/other-%u", fixture->directory, i);
      FscacheBorrow borrowed;

      g_assert_cmpint (link (path, other), ==, 0);
      g_assert_cmpint (fscache_borrow (fixture->client, other, &borrowed, NULL), >=, 0);
      fscache_return (fixture->client, &borrowed);
    }
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
}

static void
test_failures (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = g_build_filename (fixture->directory, "missing", NULL);
  FscacheBorrow borrowed;
  FscacheReply reply;

  for (int i = 0; i < 2; i++)
    {
      g_assert_cmpint (fscache_borrow (fixture->client, path, &borrowed, &reply), ==, -ENOENT);
      g_assert_cmpint (borrowed.fd, ==, -1);
      fscache_return (fixture->client, &borrowed);
      g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_SYSTEM);
      g_assert_cmpint (reply.fd, ==, -1);
      g_assert_nonnull (strstr (reply.message, "missing"));
    }
  g_assert_cmpint (fscache_borrow (fixture->client, NULL, &borrowed, &reply), ==, -EINVAL);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_BAD_URI);
  g_assert_cmpint (fscache_borrow (fixture->client, "", &borrowed, &reply), ==, -ENOENT);
  g_assert_cmpint (fscache_borrow (fixture->client, "test:limit", &borrowed, NULL), ==, -EUSERS);
}

static void
test_limit (Fixture *fixture, gconstpointer data)
{
  unsigned n_fds = count_settled (fixture), opens;
  FscacheBorrow borrowed;

  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, (1u << 20) + 1), ==, -EINVAL);
  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 5), ==, 0);
  for (unsigned round = 0; round < 3; round++)
    for (unsigned i = 0; i < FILES; i++)
      {
        FscacheBorrow again;

        borrow (fixture, i, 0, FSCACHE_SOURCE_CACHE, &borrowed);
        borrow (fixture, i, 0, FSCACHE_SOURCE_KEPT, &again);
        fscache_return (fixture->client, &borrowed);
        fscache_return (fixture->client, &again);
        g_assert_cmpuint (count_settled (fixture), <=, n_fds + 5);
      }

  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 4 * FILES), ==, 0);
  for (unsigned i = 0; i < FILES; i++)
    {
      g_autofree char *path = get_path (fixture, i);

      g_assert_cmpint (fscache_borrow (fixture->client, path, &borrowed, NULL), >=, 0);
      fscache_return (fixture->client, &borrowed);
    }
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + FILES);
  opens = get_opens (fixture);
  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 1000), ==, 0); /* they move */
  for (unsigned i = 0; i < FILES; i++)
    borrow_and_return (fixture, i, 0, FSCACHE_SOURCE_KEPT);
  g_assert_cmpuint (get_opens (fixture), ==, opens);

  borrow (fixture, 7, 0, FSCACHE_SOURCE_KEPT, &borrowed);
  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 0), ==, 0);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 1);
  fscache_return (fixture->client, &borrowed);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds);
  borrow_and_return (fixture, 7, 0, FSCACHE_SOURCE_CACHE);
  borrow_and_return (fixture, 7, 0, FSCACHE_SOURCE_CACHE);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds);
}

/* Setting a limit closes what does not hold any more, and nothing else. */
static void
test_swept (Fixture *fixture, gconstpointer data)
{
  unsigned n_fds = count_settled (fixture);

  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, FILES), ==, 0);
  for (unsigned i = 0; i < 4; i++)
    borrow_and_return (fixture, i, 0, FSCACHE_SOURCE_CACHE);
  replace (fixture, 1, 1);
  replace (fixture, 3, 1);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 4);
  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, FILES), ==, 0);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 2);
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_KEPT);
  borrow_and_return (fixture, 1, 1, FSCACHE_SOURCE_CACHE);
}

/* A hit and nothing else. */
static void
test_kept (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = get_path (fixture, 0);
  FscacheBorrow borrowed;
  unsigned opens;

  g_assert_cmpint (fscache_borrow_kept (fixture->client, NULL, &borrowed), ==, -EAGAIN);
  g_assert_cmpint (fscache_borrow_kept (fixture->client, path, &borrowed), ==, -EAGAIN);
  g_assert_cmpint (borrowed.fd, ==, -1);
  g_assert_cmpuint (get_opens (fixture), ==, 0);

  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_CACHE);
  opens = get_opens (fixture);
  g_assert_cmpint (fscache_borrow_kept (fixture->client, path, &borrowed), >=, 0);
  g_assert_cmpint (borrowed.source, ==, FSCACHE_SOURCE_KEPT);
  fscache_return (fixture->client, &borrowed);

  replace (fixture, 0, 1);
  g_assert_cmpint (fscache_borrow_kept (fixture->client, path, &borrowed), ==, -EAGAIN);
  g_assert_cmpuint (get_opens (fixture), ==, opens);
  borrow_and_return (fixture, 0, 1, FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (fscache_borrow_kept (fixture->client, path, &borrowed), >=, 0);
  fscache_return (fixture->client, &borrowed);
}

/* More at once than there are records for. */
static void
test_many_at_once (Fixture *fixture, gconstpointer data)
{
  enum
  {
    N = 3000
  };
  g_autofree FscacheBorrow *borrowed = g_new0 (FscacheBorrow, N);
  unsigned n_fds = count_settled (fixture);

  for (unsigned i = 0; i < N; i++)
    borrow (fixture, i % 2, 0, i < 2 ? FSCACHE_SOURCE_CACHE : FSCACHE_SOURCE_KEPT, &borrowed[i]);
  replace (fixture, 0, 1);
  borrow_and_return (fixture, 0, 1, FSCACHE_SOURCE_CACHE);
  for (unsigned i = 0; i < N; i++)
    {
      g_assert_cmpuint (count_settled (fixture), ==, n_fds + 3);
      fscache_return (fixture->client, &borrowed[i]);
      i += i % 2 == 0 && i > 10 && i < N - 12 ? 8 : 0; /* the rest below; count_fds() is slow */
    }
  for (unsigned i = 0; i < N; i++)
    fscache_return (fixture->client, &borrowed[i]);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 2);
}

static void
test_without_service (Fixture *fixture, gconstpointer data)
{
  FscacheBorrow kept;
  unsigned n_fds;

  borrow (fixture, 0, 0, FSCACHE_SOURCE_CACHE, &kept);
  fake_service_stop (fixture->fake);
  replace (fixture, 1, 1);
  g_usleep (100 * 1000);
  n_fds = count_fds ();
  for (int i = 0; i < 3; i++)
    borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_LOCAL);
  g_assert_cmpuint (count_fds (), <=, n_fds);
  fscache_return (fixture->client, &kept);

  /* Another one: its slots are not those of the old one, though they have the same numbers. */
  replace (fixture, 0, 1);
  fake_service_start (fixture->fake);
  g_usleep (110 * 1000);
  borrow_and_return (fixture, 1, 1, FSCACHE_SOURCE_CACHE);
  borrow_and_return (fixture, 0, 1, FSCACHE_SOURCE_CACHE);
  borrow_and_return (fixture, 0, 1, FSCACHE_SOURCE_KEPT);
}

static void
test_fork (Fixture *fixture, gconstpointer data)
{
  FscacheBorrow held, other;
  unsigned number, version, n_fds;
  int status;
  pid_t pid;

  borrow (fixture, 0, 0, FSCACHE_SOURCE_CACHE, &held);
  borrow_and_return (fixture, 1, 0, FSCACHE_SOURCE_CACHE);
  pid = fork ();
  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      n_fds = count_settled (fixture);
      borrow (fixture, 1, 0, FSCACHE_SOURCE_CACHE, &other);
      read_numbers (held.fd, &number, &version);
      g_assert_cmpuint (number, ==, 0);
      fscache_return (fixture->client, &held);
      fscache_return (fixture->client, &other);
      borrow_and_return (fixture, 1, 0, FSCACHE_SOURCE_KEPT);
      /* File 0 was closed, of file 1 there is another one, of the connection too. */
      g_assert_cmpuint (count_settled (fixture), ==, n_fds - 1);
      fscache_disconnect (fixture->client);
      /* Not exit(): what the service's thread had allocated has leaked here, says valgrind. */
      execl ("/bin/true", "true", NULL);
      _exit (1);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
  borrow_and_return (fixture, 1, 0, FSCACHE_SOURCE_KEPT);
  read_numbers (held.fd, &number, &version);
  fscache_return (fixture->client, &held);
  borrow_and_return (fixture, 0, 0, FSCACHE_SOURCE_KEPT);
}

/* Threads */

typedef struct
{
  Fixture *fixture;
  unsigned *versions; /* of each file: not older than that */
  unsigned seed;
  int n_running;
} Work;

static void *
borrow_at_random (void *data)
{
  Work *work = data;
  Fixture *fixture = work->fixture;
  unsigned seed = __atomic_add_fetch (&work->seed, 1, __ATOMIC_RELAXED);
  FscacheBorrow borrowed[4] = { { .fd = -1 }, { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };

  for (unsigned i = 0; i < ROUNDS; i++)
    {
      FscacheBorrow *mine = &borrowed[i % G_N_ELEMENTS (borrowed)];
      unsigned wanted = (unsigned) rand_r (&seed) % FILES, least, number, version;
      char path[128];

      fscache_return (fixture->client, mine);
      snprintf (path, sizeof path, "%s/file-%u", fixture->directory, wanted);
      least = __atomic_load_n (&work->versions[wanted], __ATOMIC_ACQUIRE);
      g_assert_cmpint (fscache_borrow (fixture->client, path, mine, NULL), >=, 0);
      for (int k = 0; k < 2; k++)
        {
          read_numbers (mine->fd, &number, &version);
          g_assert_cmpuint (number, ==, wanted);
          g_assert_cmpuint (version, >=, least);
        }
    }
  for (unsigned i = 0; i < G_N_ELEMENTS (borrowed); i++)
    fscache_return (fixture->client, &borrowed[i]);
  __atomic_sub_fetch (&work->n_running, 1, __ATOMIC_RELEASE);
  return NULL;
}

static void
test_threads (Fixture *fixture, gconstpointer data)
{
  gboolean changes_limit = GPOINTER_TO_INT (data);
  unsigned versions[FILES] = { 0 }, n_replaced = 0;
  Work work = { .fixture = fixture, .versions = versions, .n_running = THREADS };
  pthread_t threads[THREADS];

  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, FILES / 2), ==, 0);
  for (unsigned i = 0; i < THREADS; i++)
    g_assert_cmpint (pthread_create (&threads[i], NULL, borrow_at_random, &work), ==, 0);
  while (__atomic_load_n (&work.n_running, __ATOMIC_ACQUIRE) > 0)
    {
      unsigned number = n_replaced++ % FILES;

      replace (fixture, number, versions[number] + 1);
      __atomic_store_n (&versions[number], versions[number] + 1, __ATOMIC_RELEASE);
      if (changes_limit)
        fscache_set_borrow_limit (fixture->client,
                                  n_replaced % 7 == 0 ? 0 : n_replaced % (FILES * 2));
      g_usleep (200);
    }
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join (threads[i], NULL);
  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 0), ==, 0);
}

/* The service comes and goes; who borrows never sees anything older than what was there when the
 * service that gave it was. */
static void *
borrow_and_survive (void *data)
{
  Work *work = data;
  Fixture *fixture = work->fixture;
  unsigned seed = __atomic_add_fetch (&work->seed, 1, __ATOMIC_RELAXED);

  while (__atomic_load_n (&work->n_running, __ATOMIC_ACQUIRE) > 0)
    {
      unsigned wanted = (unsigned) rand_r (&seed) % FILES, number, version;
      FscacheBorrow borrowed;
      char path[128];

      snprintf (path, sizeof path, "%s/file-%u", fixture->directory, wanted);
      g_assert_cmpint (fscache_borrow (fixture->client, path, &borrowed, NULL), >=, 0);
      read_numbers (borrowed.fd, &number, &version);
      g_assert_cmpuint (number, ==, wanted);
      fscache_return (fixture->client, &borrowed);
    }
  return NULL;
}

static void
test_restarts (Fixture *fixture, gconstpointer data)
{
  Work work = { .fixture = fixture, .n_running = 1 };
  pthread_t threads[THREADS];

  for (unsigned i = 0; i < THREADS; i++)
    g_assert_cmpint (pthread_create (&threads[i], NULL, borrow_and_survive, &work), ==, 0);
  for (unsigned i = 0; i < 10; i++)
    {
      g_usleep (20 * 1000);
      fake_service_stop (fixture->fake);
      g_usleep ((i % 3) * 20 * 1000);
      fake_service_start (fixture->fake);
    }
  __atomic_store_n (&work.n_running, 0, __ATOMIC_RELEASE);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join (threads[i], NULL);
}

static void *
return_all (void *data)
{
  Work *work = data;

  fscache_return (work->fixture->client, (FscacheBorrow *) work->versions);
  return NULL;
}

static void
test_returned_elsewhere (Fixture *fixture, gconstpointer data)
{
  unsigned n_fds = count_settled (fixture);
  FscacheBorrow borrowed;
  Work work = { .fixture = fixture, .versions = (unsigned *) &borrowed };
  pthread_t thread;

  borrow (fixture, 0, 0, FSCACHE_SOURCE_CACHE, &borrowed);
  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 0), ==, 0);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds + 1);
  g_assert_cmpint (pthread_create (&thread, NULL, return_all, &work), ==, 0);
  pthread_join (thread, NULL);
  g_assert_cmpuint (count_settled (fixture), ==, n_fds);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func, data) g_test_add ("/borrow/" name, Fixture, data, set_up, func, tear_down)
  ADD ("hit", test_hit, NULL);
  ADD ("open-is-exact", test_open_is_exact, NULL);
  ADD ("stale", test_stale, NULL);
  ADD ("in-use", test_in_use, NULL);
  ADD ("names", test_names, NULL);
  ADD ("relative", test_relative, NULL);
  ADD ("time-to-live", test_time_to_live, NULL);
  ADD ("closed-by", test_closed_by, NULL);
  ADD ("not-kept", test_not_kept, NULL);
  ADD ("bad-table", test_bad_table, NULL);
  ADD ("slots-run-out", test_slots_run_out, NULL);
  ADD ("failures", test_failures, NULL);
  ADD ("limit", test_limit, NULL);
  ADD ("swept", test_swept, NULL);
  ADD ("kept", test_kept, NULL);
  ADD ("many-at-once", test_many_at_once, NULL);
  ADD ("without-service", test_without_service, NULL);
  ADD ("fork", test_fork, NULL);
  ADD ("returned-elsewhere", test_returned_elsewhere, NULL);
  ADD ("threads", test_threads, GINT_TO_POINTER (FALSE));
  ADD ("threads-and-limits", test_threads, GINT_TO_POINTER (TRUE));
  ADD ("restarts", test_restarts, NULL);
  return g_test_run ();
}
