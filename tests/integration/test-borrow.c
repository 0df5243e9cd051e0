/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Borrowing from the real service: how long after rename() it gives the old file, that a hit makes
 * no system call, what ends a generation, that nobody but the service writes the table, and that
 * nothing is borrowed any more 100 ms after the service has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define THREADS 8
#define RENAMES 2000
#define GONE_US (100 * 1000)

/* Puts another file in its place. Its content is a number. */
static void
replace (const char *path, guint number)
{
  g_autofree char *temporary = g_strconcat (path, ".new", NULL);
  g_autofree char *content = g_strdup_printf ("%u", number);
  int fd = open (temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, content, strlen (content)), ==, strlen (content));
  close (fd);
  g_assert_no_errno (g_rename (temporary, path));
}

static guint
read_number (int fd)
{
  char content[32] = { 0 };

  g_assert_cmpint (pread (fd, content, sizeof content - 1, 0), >, 0);
  return (guint) atoi (content);
}

static FscacheSource
borrow_once (FscacheClient *client, const char *path, guint *number)
{
  FscacheBorrow borrow;
  FscacheReply reply;

  if (fscache_borrow (client, path, &borrow, &reply) < 0)
    g_error ("%s", reply.message);
  *number = read_number (borrow.fd);
  fscache_return (client, &borrow);
  return borrow.source;
}

/* A file is watched some time after it is asked for again. */
static void
borrow_until_kept (FscacheClient *client, const char *path, guint number)
{
  guint found;

  for (guint i = 0; i < 2000; i++)
    {
      if (borrow_once (client, path, &found) == FSCACHE_SOURCE_KEPT)
        {
          g_assert_cmpuint (found, ==, number);
          return;
        }
      g_assert_cmpuint (found, ==, number);
      g_usleep (1000);
    }
  g_error ("%s is never kept", path);
}

/* Waits until it is not kept any more. */
static void
borrow_until_not_kept (FscacheClient *client, const char *path)
{
  guint number;

  for (guint i = 0; i < 5000; i++)
    {
      if (borrow_once (client, path, &number) != FSCACHE_SOURCE_KEPT)
        return;
      g_usleep (1000);
    }
  g_error ("%s is kept for ever", path);
}

/* The bound */

static pid_t
begin_storm (const char *path)
{
  g_autofree char *from = g_strconcat (path, ".from", NULL);
  g_autofree char *to = g_strconcat (path, ".to", NULL);
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid > 0)
    return pid;
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  close (open (from, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  for (;;)
    {
      rename (from, to);
      rename (to, from);
    }
}

/* However much else happens there, and once it is over: without anybody asking the service. */
static void
test_storm (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  pid_t pid;

  replace (path, 0);
  pid = begin_storm (path);
  for (guint i = 0; i < 4; i++)
    {
      borrow_until_kept (client, path, i);
      g_usleep (20 * 1000);
      replace (path, i + 1);
      borrow_until_not_kept (client, path);
    }
  g_assert_no_errno (kill (pid, SIGKILL));
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  for (guint i = 4; i < 8; i++)
    {
      borrow_until_kept (client, path, i);
      g_usleep (20 * 1000);
      replace (path, i + 1);
      borrow_until_not_kept (client, path);
    }
  fscache_disconnect (client);
}

static int
compare_times (gconstpointer a, gconstpointer b)
{
  gint64 x = *(const gint64 *) a, y = *(const gint64 *) b;

  return x < y ? -1 : x > y;
}

static gint64
get_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * G_GINT64_CONSTANT (1000000000) + now.tv_nsec;
}

static void
test_bound (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  g_autofree gint64 *times = g_new0 (gint64, RENAMES); /* when the old file was last borrowed */
  guint n_renames = g_test_quick () ? RENAMES / 4 : RENAMES;

  replace (path, 0);
  for (guint i = 0; i < n_renames; i++)
    {
      guint found;
      gint64 since, ago = 0;

      borrow_until_kept (client, path, i);
      replace (path, i + 1);
      since = get_ns ();
      while (borrow_once (client, path, &found), found == i)
        {
          times[i] = ago;
          ago = get_ns () - since;
          g_assert_cmpint (ago, <, 10 * G_GINT64_CONSTANT (1000000000));
        }
      g_assert_cmpuint (found, ==, i + 1);
    }
  qsort (times, n_renames, sizeof *times, compare_times);
  g_test_message (
      "%u renames: the old file was last borrowed p50 %.1f us, p99 %.1f us, max %.1f us after",
      n_renames, (double) times[n_renames / 2] / 1e3, (double) times[n_renames * 99 / 100] / 1e3,
      (double) times[n_renames - 1] / 1e3);
  fscache_disconnect (client);
}

/* What is watched is known to have changed also by its attributes, its directories, its being gone.
 */
static void
test_ends (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *other = fsc_test_service_connect (service);
  g_autofree char *dir = g_build_filename (service->dir, "dir", NULL);
  g_autofree char *moved = g_build_filename (service->dir, "moved", NULL);
  g_autofree char *path = g_build_filename (dir, "file", NULL);
  g_autofree char *link_path = g_build_filename (service->dir, "link", NULL);
  FscacheBorrow borrow;

  g_assert_no_errno (g_mkdir (dir, 0700));
  replace (path, 1);

  borrow_until_kept (client, path, 1);
  g_assert_no_errno (chmod (path, 0400));
  borrow_until_not_kept (client, path);
  borrow_until_kept (client, path, 1);

  /* By another name. */
  g_assert_no_errno (link (path, link_path));
  borrow_until_kept (client, path, 1);
  g_assert_no_errno (chmod (link_path, 0600));
  borrow_until_not_kept (client, path);

  borrow_until_kept (client, path, 1);
  g_assert_no_errno (g_rename (dir, moved));
  for (guint i = 0; fscache_borrow (client, path, &borrow, NULL) >= 0; i++)
    {
      fscache_return (client, &borrow);
      g_usleep (1000);
      g_assert_cmpuint (i, <, 5000);
    }
  g_assert_cmpint (fscache_borrow (client, path, &borrow, NULL), ==, -ENOENT);
  g_assert_no_errno (g_rename (moved, dir));

  borrow_until_kept (client, path, 1);
  g_assert_cmpint (fscache_drop (other, path, NULL), >, 0);
  borrow_until_not_kept (client, path);

  borrow_until_kept (client, path, 1);
  g_assert_cmpint (fscache_borrow (client, path, &borrow, NULL), >=, 0);
  g_assert_no_errno (g_unlink (path));
  g_assert_cmpuint (read_number (borrow.fd), ==, 1);
  fscache_return (client, &borrow);
  for (guint i = 0; fscache_borrow (client, path, &borrow, NULL) >= 0; i++)
    {
      fscache_return (client, &borrow);
      g_usleep (1000);
      g_assert_cmpuint (i, <, 5000);
    }
  fscache_disconnect (client);
  fscache_disconnect (other);
}

static const char few_config[] = "[service]\nmax-handles=10\n";

static void
test_evicted (void)
{
  FscTestService *service = fsc_test_service_new (few_config, NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *other = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  guint number;

  replace (path, 7);
  borrow_until_kept (client, path, 7);
  /* What is asked for twice makes SIEVE's hand go round; what was expensive to open stays for
   * longer. */
  for (guint i = 0; borrow_once (client, path, &number) == FSCACHE_SOURCE_KEPT; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i % 40);
      g_autofree char *one = fsc_test_service_write (service, name, "x");
      FscacheRequest request = { .uri = one, .sharing = FSCACHE_SHARED };

      for (guint j = 0; j < 2; j++)
        {
          int fd = fscache_open_with (other, &request, NULL);

          g_assert_cmpint (fd, >=, 0);
          close (fd);
        }
      g_assert_cmpuint (i, <, 20000);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "evictions"), >, 0);
  fscache_disconnect (client);
  fscache_disconnect (other);
  fsc_test_service_free (service);
}

/* What has been opened for the first time, and what is opened anew each time, is not kept. */
static void
test_not_kept (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  FscacheBorrow borrow;
  FscacheReply reply;
  guint number;

  replace (path, 3);
  g_assert_cmpint (borrow_once (client, path, &number), ==, FSCACHE_SOURCE_OPENED);
  borrow_until_kept (client, path, 3);
  g_assert_cmpint (fscache_borrow (client, service->dir, &borrow, &reply), ==, -EISDIR);
  g_assert_cmpint (fscache_borrow (client, "/proc/self/status", &borrow, &reply), <, 0);
  fscache_disconnect (client);

  g_assert_cmpint (fscache_connect (service->socket, 0, &client), ==, 0);
  for (guint i = 0; i < 3; i++)
    {
      g_assert_cmpint (fscache_borrow (client, "/proc/self/status", &borrow, &reply), >=, 0);
      g_assert_cmpint (borrow.source, ==, FSCACHE_SOURCE_LOCAL);
      fscache_return (client, &borrow);
    }
  fscache_disconnect (client);
}

/* No system call */

enum
{
  HITS = 2000
};

static void
exit_now (int status)
{
  syscall (SYS_exit, status); /* the one way to end that is left */
}

/* In a process that may only read, write and exit: hits, or only the clock. The connection was just
 * looked at; if that is 50 ms ago, it has been too slow. */
static void
be_strict (FscacheClient *client, const char *path)
{
  FscacheBorrow borrow;
  struct timespec now;

  g_usleep (60 * 1000);
  if (client != NULL)
    {
      fscache_return (client, (fscache_borrow (client, path, &borrow, NULL), &borrow));
      if (borrow.source != FSCACHE_SOURCE_KEPT)
        exit_now (2);
    }
  if (prctl (PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
    exit_now (3);
  for (guint i = 0; i < HITS; i++)
    {
      clock_gettime (CLOCK_MONOTONIC_COARSE, &now);
      if (client == NULL)
        continue;
      if (fscache_borrow (client, path, &borrow, NULL) < 0 || borrow.source != FSCACHE_SOURCE_KEPT)
        exit_now (4);
      fscache_return (client, &borrow);
    }
  exit_now (0);
}

static int
run_strictly (FscTestService *service, const char *path)
{
  pid_t pid = fork ();
  int status;

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      FscacheClient *client = NULL;

      if (path != NULL)
        {
          client = fsc_test_service_connect (service);
          borrow_until_kept (client, path, 5);
        }
      be_strict (client, path);
      _exit (9);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  return status;
}

static void
test_no_system_call (FscTestService *service)
{
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  int status = run_strictly (service, NULL);

  if (status != 0)
    {
      g_test_skip ("even the clock makes system calls here (a sanitizer, valgrind)");
      return;
    }
  replace (path, 5);
  for (guint i = 0; i < 20; i++)
    {
      status = run_strictly (service, path);
      if (!WIFSIGNALED (status)) /* or it has been too slow, and then looked at the connection */
        break;
    }
  g_assert_cmpint (status, ==, 0);
}

/* The table */

static int
get_table (FscTestService *service, int *connection)
{
  FscTestMessage hello = { .header = { .opcode = FSC_OP_HELLO },
                           .hello = { FSC_PROTOCOL_MAGIC,
                                      FSC_PROTOCOL_LOWEST,
                                      FSC_PROTOCOL_HIGHEST,
                                      FSC_FEATURE_GENERATIONS | 1u << 31,
                                      { "raw", 3 } } };
  g_auto (FscTestPacket) packet = { 0 };

  *connection = fsc_test_raw_connect (service->socket);
  fsc_test_raw_send (*connection, &hello, NULL);
  g_assert_true (fsc_test_raw_receive (*connection, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_WELCOME);
  g_assert_cmpuint (packet.message.welcome.features, ==, FSC_FEATURE_GENERATIONS);
  g_assert_cmpuint (packet.fds.n, ==, 1);
  return fsc_fds_steal (&packet.fds, 0);
}

/* Everything that could change it, on one descriptor of it. */
static void
assert_cannot_change (int fd)
{
  const guint32 bad = 0xdeadbeef;
  const int modes[] = { FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                        FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE };
  struct stat before, after;
  void *map;
  int source, ends[2];

  g_assert_no_errno (fstat (fd, &before));
  g_assert_cmpint (write (fd, &bad, sizeof bad), <, 0);
  g_assert_cmpint (pwrite (fd, &bad, sizeof bad, 0), <, 0);
  g_assert_cmpint (pwrite (fd, &bad, sizeof bad, before.st_size), <, 0);
  g_assert_cmpint (ftruncate (fd, 0), <, 0);
  g_assert_cmpint (ftruncate (fd, before.st_size * 2), <, 0);
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    {
      g_assert_cmpint (fallocate (fd, modes[i], 0, 4096), <, 0);
      g_assert_cmpint (fallocate (fd, modes[i], before.st_size, 4096), <, 0);
    }
  /* Memory for what is zero may be had; that changes nothing. */
  g_assert_cmpint (fallocate (fd, 0, before.st_size, 4096), <, 0);
  g_assert_cmpint (fallocate (fd, FALLOC_FL_KEEP_SIZE, before.st_size, 4096), <, 0);
  g_assert_cmpint (fcntl (fd, F_ADD_SEALS, F_SEAL_WRITE), <, 0);

  /* What copies without write(). */
  source = open ("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (copy_file_range (source, &(off_t){ 0 }, fd, &(off_t){ 0 }, 4096, 0), <=, 0);
  close (source);
  g_assert_no_errno (pipe2 (ends, O_CLOEXEC));
  g_assert_cmpint (write (ends[1], &bad, sizeof bad), ==, sizeof bad);
  g_assert_cmpint (splice (ends[0], NULL, fd, &(off_t){ 0 }, sizeof bad, 0), <, 0);
  close (ends[0]);
  close (ends[1]);

  g_assert_no_errno (fstat (fd, &after));
  g_assert_cmpint (after.st_size, ==, before.st_size);

  /* Mapped writable, at once or later; or through what may write anywhere in this process. */
  map = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  g_assert_true (map == MAP_FAILED);
  map = mmap (NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0);
  g_assert_true (map == MAP_FAILED);
  map = mmap (NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED)
    {
      g_assert_cmpint (fcntl (fd, F_GETFL) & O_ACCMODE, ==, O_WRONLY);
      return;
    }
  g_assert_cmpint (mprotect (map, 4096, PROT_READ | PROT_WRITE), <, 0);
  g_assert_cmpint (madvise (map, 4096, MADV_REMOVE), <, 0);
  source = open ("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (source >= 0)
    {
      g_assert_cmpint (pwrite (source, &bad, sizeof bad, (off_t) (gintptr) map), <, 0);
      close (source);
    }
  g_assert_no_errno (munmap (map, 4096));
}

static void
test_table (FscTestService *service)
{
  static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND };
  g_autofree char *link_path = NULL, *path = g_build_filename (service->dir, "file", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  int connection, fd = get_table (service, &connection), n_opened = 0;
  g_autofree guint32 *before = NULL, *after = NULL;
  const guint32 *words;
  struct stat status;
  int seals = fcntl (fd, F_GET_SEALS);

  replace (path, 1);
  borrow_until_kept (client, path, 1);
  g_assert_cmpint (seals & (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE), ==,
                   F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE);
  g_assert_no_errno (fstat (fd, &status));
  g_assert_cmpuint (status.st_mode & 07777, ==, 0444);
  words = mmap (NULL, (size_t) status.st_size, PROT_READ, MAP_SHARED, fd, 0);
  g_assert_true (words != MAP_FAILED);
  before = g_memdup2 (words, (size_t) status.st_size);

  assert_cannot_change (fd);
  fchmod (fd, 0666); /* it may be the owner's own: that must be of no use */
  link_path = g_strdup_printf ("/proc/self/fd/%d", fd);
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    {
      int again = open (link_path, modes[i] | O_CLOEXEC);

      if (again < 0)
        continue;
      n_opened++;
      assert_cannot_change (again);
      close (again);
    }
  g_assert_cmpint (n_opened, >, 0);
  g_assert_cmpint (truncate (link_path, 0), <, 0);

  after = g_memdup2 (words, (size_t) status.st_size);
  g_assert_cmpmem (before, (gsize) status.st_size, after, (gsize) status.st_size);
  borrow_until_kept (client, path, 1);

  /* The service still can. */
  replace (path, 2);
  borrow_until_not_kept (client, path);
  g_assert_true (memcmp (before, words, (size_t) status.st_size) != 0);

  g_assert_no_errno (munmap ((void *) words, (size_t) status.st_size));
  close (fd);
  close (connection);
  fscache_disconnect (client);
}

/* Who does not ask for the table sees nothing of it. */
static void
test_not_asked_for (FscTestService *service)
{
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  g_autofree char *uri = g_strconcat ("file://", path, NULL);
  FscItem item = { .uri = { uri, strlen (uri) }, .sharing = FSC_SHARING_SHARED };
  g_auto (FscTestPacket) packet = { 0 };
  FscacheClient *client = fsc_test_service_connect (service);
  int fd = fsc_test_raw_greet (service->socket, TRUE);

  replace (path, 1);
  borrow_until_kept (client, path, 1);
  fsc_test_raw_open (fd, &item, &packet);
  g_assert_cmpint (packet.message.records[0].result.coherence, ==, FSC_COHERENCE_WATCHED);
  g_assert_cmpuint (packet.message.records[0].result.id, ==, 0);
  g_assert_cmpuint (packet.message.records[0].result.mount_id, ==, 0);
  close (fd);
  fscache_disconnect (client);
}

/* At its clean stop all generations end, also for who does not look at the connection. */
static void
test_stop (FscTestService *service)
{
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  int connection, fd = get_table (service, &connection);
  guint32 before[64], after[64];

  replace (path, 1);
  borrow_until_kept (client, path, 1);
  g_assert_cmpint (pread (fd, before, sizeof before, 0), ==, sizeof before);
  fscache_disconnect (client);
  fsc_test_service_stop (service);
  g_assert_cmpint (pread (fd, after, sizeof after, 0), ==, sizeof after);
  for (guint i = 0; i < G_N_ELEMENTS (before); i++)
    g_assert_true (before[i] == 0 ? after[i] == 0 : after[i] > before[i]);
  g_assert_cmpuint (before[0], !=, 0);
  close (fd);
  close (connection);
  fsc_test_service_start (service);
}

/* The service is gone */

typedef struct
{
  FscacheClient *client;
  const char *path;
  gint64 gone_at; /* atomic, microseconds; 0: it is there */
  gint64 latest;  /* atomic: when the old file was borrowed last, after it had gone */
  guint64 n_hits; /* atomic: while it was there */
  gboolean is_over;
} Kill;

static gpointer
borrow_all_the_time (gpointer data)
{
  Kill *kill = data;

  while (!__atomic_load_n (&kill->is_over, __ATOMIC_ACQUIRE))
    {
      gint64 gone_at = __atomic_load_n (&kill->gone_at, __ATOMIC_ACQUIRE);
      gint64 began = g_get_monotonic_time ();
      FscacheBorrow borrow;
      guint number;

      if (fscache_borrow (kill->client, kill->path, &borrow, NULL) < 0)
        continue;
      number = read_number (borrow.fd);
      fscache_return (kill->client, &borrow);
      if (gone_at == 0)
        {
          if (borrow.source == FSCACHE_SOURCE_KEPT)
            __atomic_add_fetch (&kill->n_hits, 1, __ATOMIC_RELAXED);
        }
      else if (number == 1 && began - gone_at > __atomic_load_n (&kill->latest, __ATOMIC_RELAXED))
        __atomic_store_n (&kill->latest, began - gone_at, __ATOMIC_RELAXED);
    }
  return NULL;
}

static void
test_killed (FscTestService *service)
{
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  Kill work = { .path = path };
  GThread *threads[THREADS];
  siginfo_t info;

  replace (path, 1);
  g_assert_cmpint (fscache_connect (service->socket, 0, &work.client), ==, 0);
  borrow_until_kept (work.client, path, 1);
  for (guint i = 0; i < THREADS; i++)
    threads[i] = g_thread_new ("borrow", borrow_all_the_time, &work);
  while (__atomic_load_n (&work.n_hits, __ATOMIC_RELAXED) < 1000)
    g_usleep (1000);

  /* From the moment that it is dead, not from that on that all its openers have ended. */
  g_assert_no_errno (kill (service->pid, SIGKILL));
  g_assert_no_errno (waitid (P_PID, (id_t) service->pid, &info, WEXITED | WNOWAIT));
  __atomic_store_n (&work.gone_at, g_get_monotonic_time (), __ATOMIC_RELEASE);
  replace (path, 2); /* nobody sees that */
  g_usleep (500 * 1000);
  __atomic_store_n (&work.is_over, TRUE, __ATOMIC_RELEASE);
  fsc_test_service_kill (service);
  fsc_test_service_start (service); /* whoever waits for it goes on */
  for (guint i = 0; i < THREADS; i++)
    g_thread_join (threads[i]);
  g_test_message ("the old file was borrowed for %.1f ms after the service had gone",
                  (double) work.latest / 1e3);
  g_assert_cmpint (work.latest, <, GONE_US);

  borrow_until_kept (work.client, path, 2);
  fscache_disconnect (work.client);
}

/* The slots of another service have the same numbers, and may have the same generations. */
static void
test_restarted (FscTestService *service)
{
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *other;

  for (guint i = 0; i < 5; i++)
    {
      replace (path, 2 * i);
      borrow_until_not_kept (client, path);
      borrow_until_kept (client, path, 2 * i);
      fsc_test_service_kill (service);
      replace (path, 2 * i + 1);
      fsc_test_service_start (service);
      other = fsc_test_service_connect (service);
      borrow_until_kept (other, path, 2 * i + 1); /* so slot and generation are there again */
      fscache_disconnect (other);
      g_usleep (GONE_US);
      borrow_until_kept (client, path, 2 * i + 1);
    }
  fscache_disconnect (client);
}

static void
test_fork (FscTestService *service)
{
  g_autofree char *path = g_build_filename (service->dir, "file", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheBorrow borrow;
  int status;
  pid_t pid;

  replace (path, 1);
  borrow_until_kept (client, path, 1);
  g_assert_cmpint (fscache_borrow (client, path, &borrow, NULL), >=, 0);
  pid = fork ();
  if (pid == 0)
    {
      guint number;
      gboolean is_right = read_number (borrow.fd) == 1;

      is_right &= borrow_once (client, path, &number) != FSCACHE_SOURCE_KEPT && number == 1;
      fscache_return (client, &borrow);
      borrow_until_kept (client, path, 1);
      fscache_disconnect (client);
      _exit (is_right ? 0 : 1);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
  g_assert_cmpuint (read_number (borrow.fd), ==, 1);
  fscache_return (client, &borrow);
  borrow_until_kept (client, path, 1);
  replace (path, 2);
  borrow_until_not_kept (client, path);
  fscache_disconnect (client);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/borrow/bound", test_bound);
  FSC_TEST_ADD ("/borrow/storm", test_storm);
  FSC_TEST_ADD ("/borrow/ends", test_ends);
  g_test_add_func ("/borrow/evicted", test_evicted);
  FSC_TEST_ADD ("/borrow/not-kept", test_not_kept);
  FSC_TEST_ADD ("/borrow/no-system-call", test_no_system_call);
  FSC_TEST_ADD ("/borrow/table", test_table);
  FSC_TEST_ADD ("/borrow/not-asked-for", test_not_asked_for);
  FSC_TEST_ADD ("/borrow/stop", test_stop);
  FSC_TEST_ADD ("/borrow/killed", test_killed);
  FSC_TEST_ADD ("/borrow/restarted", test_restarted);
  FSC_TEST_ADD ("/borrow/fork", test_fork);
  return g_test_run ();
}
