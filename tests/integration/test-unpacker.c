/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is unpacked, and its source: that it is made once, that any change of the source ends it,
 * that who unpacks is shut in and goes when nobody waits, and that no user is given another's.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <utime.h>

#include "tests/harness/tap.h"
#include "tests/integration/process.h"
#include "tests/integration/tools.h"

#define SECOND G_USEC_PER_SEC
#define CLIENTS 32
#define SOMEBODY 54321
#define FILE_NAME "a.gz"

/* Packs a number. */
static void
pack (FscTestService *service, const char *name, guint number)
{
  fsc_test_shell (service, "echo %u | gzip > %s", number, name);
}

static guint
read_number (FscTestService *service, FscacheClient *client, FscacheReply *reply)
{
  g_autoptr (GBytes) content = fsc_test_try_unpack (service, client, FILE_NAME, NULL, reply);

  if (content == NULL)
    g_error ("%s", reply->message);
  return (guint) atoi (g_bytes_get_data (content, NULL));
}

/* Changes of the source */

static void
write_over (FscTestService *service, guint number)
{
  g_autofree char *path = g_build_filename (service->dir, FILE_NAME, NULL);
  g_autofree char *content = NULL;
  gsize length;
  int fd = open (path, O_WRONLY | O_CLOEXEC);

  pack (service, "b.gz", number);
  g_free (path);
  path = g_build_filename (service->dir, "b.gz", NULL);
  g_assert_true (g_file_get_contents (path, &content, &length, NULL));
  g_assert_cmpint (write (fd, content, length), ==, length);
  g_assert_no_errno (ftruncate (fd, (off_t) length));
  close (fd);
}

static void
truncate_and_write (FscTestService *service, guint number)
{
  pack (service, FILE_NAME, number);
}

static void
replace (FscTestService *service, guint number)
{
  g_autofree char *from = g_build_filename (service->dir, "b.gz", NULL);
  g_autofree char *to = g_build_filename (service->dir, FILE_NAME, NULL);

  pack (service, "b.gz", number);
  g_assert_no_errno (g_rename (from, to));
}

static void
append (FscTestService *service, guint number)
{
  /* The number is made by two members. */
  fsc_test_shell (service, "printf %u | gzip > c.gz; cat c.gz > %s", number / 10, FILE_NAME);
  fsc_test_shell (service, "echo %u | gzip >> %s", number % 10, FILE_NAME);
}

static void (*const changes[]) (FscTestService *service, guint number)
    = { write_over, truncate_and_write, replace, append };

/* Whether it is watched by now: with the second hit it will be. */
static gboolean
is_watched (FscTestService *service, FscacheClient *client)
{
  FscacheReply reply;

  read_number (service, client, &reply);
  return reply.coherence == FSCACHE_COHERENCE_WATCHED;
}

static void
check_stale (FscTestService *service, gboolean is_watching)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply;
  guint number = 1000;

  pack (service, FILE_NAME, number);
  for (guint i = 0; i < 24; i++)
    {
      /* Without a watch, and with one. */
      g_assert_cmpuint (read_number (service, client, &reply), ==, number);
      for (int j = 0; is_watching && i % 2 == 1 && !is_watched (service, client); j++)
        {
          g_assert_cmpint (j, <, 1000);
          g_usleep (1000);
        }
      changes[i / 2 % G_N_ELEMENTS (changes)](service, ++number);
      g_assert_cmpuint (read_number (service, client, &reply), ==, number);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
      g_assert_cmpuint (read_number (service, client, &reply), ==, number);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
    }
  fscache_disconnect (client);
}

static void
test_stale_watched (FscTestService *service)
{
  check_stale (service, TRUE);
}

static void
test_stale_checked (void)
{
  FscTestService *service = fsc_test_service_new ("[cache]\nwatch=no\n", NULL);

  check_stale (service, FALSE);
  fsc_test_service_free (service);
}

/* What is at its end leaves nothing of what was there: a failure, and no old content. */
static void
test_gone (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, FILE_NAME, NULL);
  struct utimbuf times = { 0 };
  struct stat st;
  FscacheReply reply;

  pack (service, FILE_NAME, 1);
  g_assert_cmpuint (read_number (service, client, &reply), ==, 1);
  while (!is_watched (service, client))
    g_usleep (1000);

  /* Touched: perhaps it is another one. */
  g_assert_no_errno (utime (path, &times));
  g_assert_cmpuint (read_number (service, client, &reply), ==, 1);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
  while (!is_watched (service, client))
    g_usleep (1000);

  g_assert_no_errno (stat (path, &st));
  g_assert_no_errno (truncate (path, st.st_size - 1));
  fsc_test_assert_no_content (service, client, FILE_NAME, NULL, FSCACHE_ERROR_SYSTEM, EBADMSG,
                              "cut off");
  pack (service, FILE_NAME, 2);
  g_assert_cmpuint (read_number (service, client, &reply), ==, 2);
  while (!is_watched (service, client))
    g_usleep (1000);
  g_assert_no_errno (unlink (path));
  fsc_test_assert_no_content (service, client, FILE_NAME, NULL, FSCACHE_ERROR_SYSTEM, ENOENT,
                              FILE_NAME);
  pack (service, FILE_NAME, 3);
  g_assert_cmpuint (read_number (service, client, &reply), ==, 3);
  fscache_disconnect (client);
}

/* A file that others have open is not asked for anew because of what is written to it. */
static void
test_file_beside (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, FILE_NAME, NULL);
  FscacheReply reply;
  guint64 checks;

  pack (service, FILE_NAME, 1);
  for (guint i = 0; i < 1000; i++)
    {
      g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
      fscache_reply_clear (client, &reply);
      if (is_watched (service, client) && reply.coherence == FSCACHE_COHERENCE_WATCHED)
        break;
      g_usleep (1000);
    }
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_WATCHED);
  write_over (service, 2);
  checks = fsc_test_service_counter (service, "checks");
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_WATCHED);
  fscache_reply_clear (client, &reply);
  g_assert_cmpuint (fsc_test_service_counter (service, "checks"), ==, checks);
  g_assert_cmpuint (read_number (service, client, &reply), ==, 2);
  fscache_disconnect (client);
}

static guint
borrow_number (FscacheClient *client, const char *uri, FscacheSource *source)
{
  FscacheBorrow borrow;
  char text[16] = "";
  guint number;

  g_assert_cmpint (fscache_borrow (client, uri, &borrow, NULL), >=, 0);
  *source = borrow.source;
  g_assert_cmpint (pread (borrow.fd, text, sizeof text - 1, 0), >, 0);
  number = (guint) atoi (text);
  fscache_return (client, &borrow);
  return number;
}

static void
test_borrow (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = fsc_test_unpack_uri (service, FILE_NAME, NULL);
  guint number = 100;
  FscacheSource source = FSCACHE_SOURCE_NONE;

  pack (service, FILE_NAME, number);
  for (guint i = 0; i < G_N_ELEMENTS (changes); i++)
    {
      gint64 until = g_get_monotonic_time () + 5 * SECOND;

      while (source != FSCACHE_SOURCE_KEPT && g_get_monotonic_time () < until)
        g_assert_cmpuint (borrow_number (client, uri, &source), ==, number);
      g_assert_cmpint (source, ==, FSCACHE_SOURCE_KEPT);
      changes[i](service, ++number);
      until = g_get_monotonic_time () + SECOND;
      while (borrow_number (client, uri, &source) != number)
        g_assert_cmpint (g_get_monotonic_time (), <, until);
      source = FSCACHE_SOURCE_NONE;
    }
  fscache_disconnect (client);
}

/* Following */

/* Nor is it anew for who cannot reopen it. */
static void
test_once_for_others (FscTestService *service)
{
  const FscacheUser self = { .uid = geteuid (), .gid = getegid () };
  FscacheClient *client = NULL;

  pack (service, FILE_NAME, 1);
  g_assert_cmpint (fscache_connect_as (service->socket, 0, &self, &client), ==, 0);
  for (guint i = 0; i < 3; i++)
    {
      g_autofree char *uri = fsc_test_unpack_uri (service, FILE_NAME, NULL);
      char text[8] = { 0 };
      FscacheReply reply;

      if (fscache_open (client, uri, O_RDONLY, &reply) < 0)
        g_error ("%s", reply.message);
      g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
      g_assert_cmpint (reply.source, ==, i == 0 ? FSCACHE_SOURCE_OPENED : FSCACHE_SOURCE_CACHE);
      g_assert_true (reply.content.is_sealed);
      g_assert_cmpint (read (reply.fd, text, sizeof text), ==, 2); /* from its beginning */
      g_assert_cmpstr (text, ==, "1\n");
      close (reply.fd);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "opens"), ==, 1);
  fscache_disconnect (client);
}

typedef struct
{
  guint n;
  FscacheEventReason reason;
  guint number;
} Told;

static void
take_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  Told *told = data;
  char text[16] = "";

  told->n++;
  told->reason = event->reason;
  told->number = 0;
  if (event->reply->fd < 0)
    return;
  g_assert_cmpint (pread (event->reply->fd, text, sizeof text - 1, 0), >, 0);
  told->number = (guint) atoi (text);
  close (event->reply->fd);
}

static void
wait_until_told (FscacheClient *client, const Told *told, guint number)
{
  gint64 until = g_get_monotonic_time () + 5 * SECOND;

  while (told->number != number)
    {
      struct pollfd poll_fd = { .fd = fscache_get_poll_fd (client), .events = POLLIN };

      g_assert_cmpint (g_get_monotonic_time (), <, until);
      poll (&poll_fd, 1, 100);
      fscache_dispatch (client);
    }
}

static void
test_follow (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = fsc_test_unpack_uri (service, FILE_NAME, NULL);
  const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED };
  Told told = { 0 };

  pack (service, FILE_NAME, 1);
  g_assert_cmpint (fscache_watch (client, &request, take_event, &told, NULL), ==, 0);
  wait_until_told (client, &told, 1);
  g_assert_cmpint (told.reason, ==, FSCACHE_EVENT_INITIAL);
  write_over (service, 2);
  wait_until_told (client, &told, 2);
  g_assert_cmpint (told.reason, ==, FSCACHE_EVENT_REPLACED);
  fscache_disconnect (client);
}

/* Once */

static void
count_answer (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  if (reply->fd < 0)
    g_error ("%s", reply->message);
  close (reply->fd);
  ++*(guint *) data;
}

/* However many ask, it is unpacked once. */
static void
test_once (FscTestService *service)
{
  FscacheClient *clients[CLIENTS];
  g_autofree char *uri = fsc_test_unpack_uri (service, "big.gz", NULL);
  const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED };
  gint64 until = g_get_monotonic_time () + 30 * SECOND;
  guint n = 0;

  fsc_test_shell (service, "head -c 20M /dev/urandom | gzip -1 > big.gz");
  for (guint i = 0; i < CLIENTS; i++)
    clients[i] = fsc_test_service_connect (service);
  for (guint i = 0; i < CLIENTS; i++)
    g_assert_cmpint (fscache_submit (clients[i], &request, 1, count_answer, &n, NULL), ==, 0);
  while (n < CLIENTS)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, until);
      for (guint i = 0; i < CLIENTS; i++)
        fscache_dispatch (clients[i]);
      g_usleep (1000);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "opens"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), >=, 20 << 20);
  for (guint i = 0; i < CLIENTS; i++)
    fscache_disconnect (clients[i]);
}

typedef struct
{
  guint n;
  uint64_t done, total;
} Progress;

static void
take_progress (uint64_t done, uint64_t total, void *data)
{
  Progress *progress = data;

  g_assert_cmpuint (done, >=, progress->done);
  *progress = (Progress){ progress->n + 1, done, total };
}

/* What takes long tells how far it has come. */
static void
test_progress (FscTestService *service)
{
  FscacheClient *client;
  g_autofree char *uri = fsc_test_unpack_uri (service, "big.zst", NULL);
  Progress progress = { 0 };
  const FscacheRequest request = {
    .uri = uri, .sharing = FSCACHE_SHARED, .progress = take_progress, .progress_data = &progress
  };
  FscacheReply reply;

  if (!fsc_test_has_tool ("zstd", "zstd"))
    return;
  client = fsc_test_service_connect (service);
  fsc_test_shell (service, "head -c 200M /dev/urandom | zstd -q1 > big.zst");
  if (fscache_open_with (client, &request, &reply) < 0)
    g_error ("%s", reply.message);
  fscache_reply_clear (client, &reply);
  g_test_message ("told %u times; at last %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, progress.n,
                  progress.done, progress.total);
  g_assert_cmpuint (progress.n, >, 0);
  g_assert_cmpuint (progress.total, >=, 200 << 20);
  g_assert_cmpuint (progress.done, <=, progress.total);
  fscache_disconnect (client);
}

/* The process that unpacks */

/* Content of 20 GB in a file of some hundred kilobytes: it takes minutes. */
static const char endless_config[]
    = "[unpack]\nmax-size=100G\nmax-ratio=1000000000\nmemory-size=1K\n";

static void
make_endless (FscTestService *service)
{
  fsc_test_shell (service, "head -c 10M /dev/zero | bzip2 > one.bz2; "
                           "for i in $(seq 2000); do cat one.bz2; done > endless.bz2");
}

static void
ignore_answer (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  *(FscacheReply *) data = *reply;
  if (reply->fd >= 0)
    close (reply->fd);
}

/* Has it begun, and waits until a process is at it, which is returned. */
static pid_t
begin_endless (FscTestService *service, FscacheClient *client, FscacheReply *reply, guint64 *id)
{
  g_autofree char *uri = fsc_test_unpack_uri (service, "endless.bz2", NULL);
  const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED };

  g_assert_cmpint (fscache_submit (client, &request, 1, ignore_answer, reply, id), ==, 0);
  for (guint i = 0; i < 5000; i++)
    {
      g_autoptr (GArray) openers = fsc_test_service_list_openers (service);

      for (guint j = 0; j < openers->len; j++)
        {
          g_autoptr (GArray) children = fsc_test_list_children (g_array_index (openers, pid_t, j));

          /* It shuts itself in first: it has one filter more. */
          if (children->len > 0
              && fsc_process_get (g_array_index (children, pid_t, 0), "Seccomp_filters:")
                     > fsc_process_get (g_array_index (openers, pid_t, j), "Seccomp_filters:"))
            return g_array_index (children, pid_t, 0);
        }
      fscache_dispatch (client);
      g_usleep (1000);
    }
  g_error ("nobody unpacks");
}

static void
wait_for_failure (FscacheClient *client, const FscacheReply *reply)
{
  gint64 until = g_get_monotonic_time () + 5 * SECOND;

  while (reply->code == FSCACHE_OK)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, until);
      fscache_dispatch (client);
      g_usleep (1000);
    }
  g_test_message ("%s", reply->message);
}

/* One that has ended may be there until somebody asks for its status. */
static gboolean
is_running (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/status", pid);
  g_autofree char *content = NULL;

  return g_file_get_contents (path, &content, NULL, NULL)
         && strstr (content, "\nState:\tZ") == NULL;
}

/* When nobody waits any more it ends at once, however that comes. */
static void
test_cancel (void)
{
  FscTestService *service = fsc_test_service_new (endless_config, NULL);

  make_endless (service);
  for (guint i = 0; i < 2; i++)
    {
      FscacheClient *client = fsc_test_service_connect (service);
      FscacheReply reply = { .fd = -1 };
      guint64 id;
      pid_t pid = begin_endless (service, client, &reply, &id);
      gint64 begun = g_get_monotonic_time ();

      if (i == 0)
        fscache_cancel (client, id);
      else
        g_clear_pointer (&client, fscache_disconnect);
      while (is_running (pid) && g_get_monotonic_time () - begun < SECOND)
        {
          if (client != NULL)
            fscache_dispatch (client);
          g_usleep (1000);
        }
      g_assert_false (is_running (pid));
      g_clear_pointer (&client, fscache_disconnect);
    }
  fsc_test_service_free (service);
}

/* It has one socket and no rights; and whatever ends it, who waits is told. */
static void
test_shut_in (void)
{
  static const struct
  {
    int number;
    const char *text;
  } ends[] = {
    { SIGSYS, "tried to do what it must not" },
    { SIGXCPU, "of a processor" },
    { SIGTERM, "signal 15" },
  };
  FscTestService *service = fsc_test_service_new (endless_config, NULL);

  make_endless (service);
  for (guint i = 0; i < G_N_ELEMENTS (ends); i++)
    {
      FscacheClient *client = fsc_test_service_connect (service);
      FscacheReply reply = { .fd = -1 };
      pid_t pid = begin_endless (service, client, &reply, NULL);

      g_assert_cmpint (fsc_process_get (pid, "NoNewPrivs:"), ==, 1);
      g_assert_cmpint (fsc_process_get (pid, "CapEff:"), ==, 0);
      if (geteuid () == 0)
        {
          g_assert_cmpint (fsc_process_count_descriptors (pid, ""), ==, 4);
          g_assert_cmpint (fsc_process_count_descriptors (pid, "/dev/null"), ==, 3);
          g_assert_cmpint (fsc_process_count_descriptors (pid, "socket:"), ==, 1);
        }
      g_assert_no_errno (kill (pid, ends[i].number));
      wait_for_failure (client, &reply);
      g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_OPENER_FAILED);
      g_assert_nonnull (strstr (reply.message, ends[i].text));
      fscache_disconnect (client);
    }
  /* The opener has seen to it, and goes on. */
  g_assert_cmpuint (fsc_test_service_counter (service, "openers_failed"), ==, 0);
  fsc_test_service_free (service);
}

/* Users */

static ino_t
open_inode (FscacheClient *client, const char *uri)
{
  FscacheReply reply;
  struct stat st;

  if (fscache_open_with (client, &(FscacheRequest){ .uri = uri, .sharing = FSCACHE_SHARED }, &reply)
      < 0)
    g_error ("%s", reply.message);
  g_assert_no_errno (fstat (reply.fd, &st));
  fscache_reply_clear (client, &reply);
  return st.st_ino;
}

/* Each user has what was unpacked with its own rights; from what it may not read it gets nothing.
 */
static void
test_users (FscTestService *service)
{
  const FscacheUser somebody = { .uid = SOMEBODY, .gid = SOMEBODY };
  g_autofree char *path = g_build_filename (service->dir, FILE_NAME, NULL);
  g_autofree char *uri = fsc_test_unpack_uri (service, FILE_NAME, NULL);
  FscacheClient *root, *other = NULL;
  FscacheReply reply;

  if (geteuid () != 0)
    {
      g_test_skip ("only root can serve others");
      return;
    }
  if (!fsc_test_is_for_all ("fscache/openers/open-unpack"))
    {
      g_test_skip ("other users may not search the directory of the build");
      return;
    }
  pack (service, FILE_NAME, 1);
  g_assert_no_errno (chmod (service->dir, 0711));
  g_assert_no_errno (chmod (path, 0600));
  root = fsc_test_service_connect (service);
  g_assert_cmpint (fscache_connect_as (service->socket, 0, &somebody, &other), ==, 0);

  open_inode (root, uri);
  g_assert_cmpint (
      fscache_open_with (other, &(FscacheRequest){ .uri = uri, .sharing = FSCACHE_SHARED }, &reply),
      ==, -EACCES);
  g_assert_no_errno (chmod (path, 0644));
  g_assert_cmpuint (open_inode (other, uri), !=, open_inode (root, uri));
  g_assert_cmpuint (open_inode (other, uri), ==, open_inode (other, uri));
  g_assert_no_errno (chmod (path, 0600));
  g_assert_cmpint (
      fscache_open_with (other, &(FscacheRequest){ .uri = uri, .sharing = FSCACHE_SHARED }, &reply),
      ==, -EACCES);
  open_inode (root, uri);
  fscache_disconnect (root);
  fscache_disconnect (other);
}

/* What is being unpacked counts in max-bytes; it is ended where that is reached. */
static void
test_max_bytes (void)
{
  FscTestService *service = fsc_test_service_new (
      "[cache]\nmax-bytes=16M\n[unpack]\nmax-size=100G\nmax-ratio=1000000000\nmemory-size=100G\n",
      NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply = { 0 };
  guint64 id, n_failed;
  pid_t pid;

  make_endless (service);
  pack (service, FILE_NAME, 1);
  g_assert_cmpuint (read_number (service, client, &reply), ==, 1);
  n_failed = fsc_test_service_counter (service, "open_errors");
  pid = begin_endless (service, client, &reply, &id);
  fsc_test_service_wait_for (service, "open_errors", n_failed + 1);
  for (guint i = 0; i < 5000 && reply.code == FSCACHE_OK; i++)
    {
      fscache_dispatch (client);
      g_usleep (1000);
    }
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_LIMIT);
  g_assert_cmpint (reply.error, ==, ENOMEM);
  g_assert_nonnull (strstr (reply.message, "endless.bz2: [cache] max-bytes=16777216 is reached"));
  for (guint i = 0; i < 5000 && kill (pid, 0) == 0; i++)
    g_usleep (1000);
  g_assert_cmpint (kill (pid, 0), ==, -1);
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes_making"), ==, 0);
  g_assert_cmpuint (read_number (service, client, &reply), ==, 1);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/unpacker/stale/watched", test_stale_watched);
  g_test_add_func ("/unpacker/stale/checked", test_stale_checked);
  FSC_TEST_ADD ("/unpacker/gone", test_gone);
  FSC_TEST_ADD ("/unpacker/file-beside", test_file_beside);
  FSC_TEST_ADD ("/unpacker/borrow", test_borrow);
  FSC_TEST_ADD ("/unpacker/follow", test_follow);
  FSC_TEST_ADD ("/unpacker/once", test_once);
  FSC_TEST_ADD ("/unpacker/once-for-others", test_once_for_others);
  FSC_TEST_ADD ("/unpacker/progress", test_progress);
  g_test_add_func ("/unpacker/cancel", test_cancel);
  g_test_add_func ("/unpacker/max-bytes", test_max_bytes);
  g_test_add_func ("/unpacker/shut-in", test_shut_in);
  FSC_TEST_ADD ("/unpacker/users", test_users);
  return g_test_run ();
}
