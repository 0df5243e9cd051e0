/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who shares the open file description behind a descriptor: its offset, its status flags, its
 * locks. Everything here is read from the descriptors themselves, not from what the replies say;
 * and then the replies must have said so.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/memory.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define CONTENT "0123456789"

static FscacheReply
open_as (FscacheClient *client, const char *path, FscacheSharing sharing)
{
  FscacheRequest request = { .uri = path, .sharing = sharing };
  FscacheReply reply;
  int fd = fscache_open_with (client, &request, &reply);

  if (fd < 0)
    g_test_message ("%s", reply.message);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (reply.sharing, ==, sharing);
  g_assert_cmphex (fcntl (fd, F_GETFD), ==, FD_CLOEXEC);
  return reply;
}

static void
assert_refused (FscacheClient *client, const char *path, int flags, FscacheSharing sharing,
                FscacheCode code, int error)
{
  FscacheRequest request = { .uri = path, .flags = flags, .sharing = sharing };
  FscacheReply reply;

  g_assert_cmpint (fscache_open_with (client, &request, &reply), ==, -error);
  g_assert_cmpint (reply.code, ==, code);
  g_assert_nonnull (strstr (reply.message, path));
}

static void
assert_reads (int fd, const char *expected)
{
  char buffer[16] = "";

  g_assert_cmpint (read (fd, buffer, strlen (expected)), ==, strlen (expected));
  g_assert_cmpstr (buffer, ==, expected);
}

/* Shared */

static void
test_shared_offset (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *other = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheReply a = open_as (client, path, FSCACHE_SHARED);
  FscacheReply b = open_as (client, path, FSCACHE_SHARED);
  FscacheReply c = open_as (other, path, FSCACHE_SHARED);
  char buffer[4] = "";

  g_assert_cmpint (a.source, ==, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (b.source, ==, FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (a.fd, !=, b.fd);

  /* Reading through one moves all, in other programs too. */
  assert_reads (a.fd, "012");
  g_assert_cmpint (lseek (b.fd, 0, SEEK_CUR), ==, 3);
  assert_reads (c.fd, "345");
  assert_reads (b.fd, "678");
  g_assert_cmpint (lseek (a.fd, 0, SEEK_CUR), ==, 9);

  /* That is why one reads by position. */
  g_assert_cmpint (pread (a.fd, buffer, 2, 4), ==, 2);
  g_assert_cmpstr (buffer, ==, "45");
  g_assert_cmpint (lseek (b.fd, 0, SEEK_CUR), ==, 9);

  fscache_reply_clear (client, &a);
  fscache_reply_clear (client, &b);
  fscache_reply_clear (other, &c);
  fscache_disconnect (other);
  fscache_disconnect (client);
}

static void
test_shared_state (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheReply a = open_as (client, path, FSCACHE_SHARED);
  FscacheReply b = open_as (client, path, FSCACHE_SHARED);
  FscacheReply own = open_as (client, path, FSCACHE_INDEPENDENT);
  void *map;

  g_assert_no_errno (fcntl (a.fd, F_SETFL, O_NONBLOCK));
  g_assert_cmphex (fcntl (b.fd, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
  g_assert_cmphex (fcntl (own.fd, F_GETFL) & O_NONBLOCK, ==, 0);

  /* One lock for both; against it for the one of its own. */
  g_assert_no_errno (flock (a.fd, LOCK_EX | LOCK_NB));
  g_assert_no_errno (flock (b.fd, LOCK_EX | LOCK_NB));
  g_assert_cmpint (flock (own.fd, LOCK_EX | LOCK_NB), ==, -1);
  g_assert_cmpint (errno, ==, EWOULDBLOCK);
  g_assert_no_errno (flock (b.fd, LOCK_UN));
  g_assert_no_errno (flock (own.fd, LOCK_EX | LOCK_NB));

  map = mmap (NULL, strlen (CONTENT), PROT_READ, MAP_SHARED, a.fd, 0);
  g_assert_true (map != MAP_FAILED);
  g_assert_cmpmem (map, strlen (CONTENT), CONTENT, strlen (CONTENT));
  munmap (map, strlen (CONTENT));

  /* It is for reading. */
  g_assert_cmpint (write (a.fd, "x", 1), ==, -1);
  g_assert_cmpint (errno, ==, EBADF);

  fscache_reply_clear (client, &a);
  fscache_reply_clear (client, &b);
  fscache_reply_clear (client, &own);
  fscache_disconnect (client);
}

static void
test_shared_refused (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheRequest by_path = { .uri = service->dir, .flags = O_PATH, .sharing = FSCACHE_SHARED };
  FscacheRequest writing = { .uri = path, .flags = O_RDWR, .sharing = FSCACHE_SHARED };
  FscacheReply reply;

  /* Readers of a directory would share its position. A path has none. */
  assert_refused (client, service->dir, O_RDONLY, FSCACHE_SHARED, FSCACHE_ERROR_BAD_REQUEST,
                  EISDIR);
  assert_refused (client, service->dir, O_DIRECTORY, FSCACHE_SHARED, FSCACHE_ERROR_BAD_REQUEST,
                  EISDIR);
  g_assert_cmpint (fscache_open_with (client, &by_path, &reply), >=, 0);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_SHARED);
  fscache_reply_clear (client, &reply);

  /* What is written to is nobody else's. */
  g_assert_cmpint (fscache_open_with (client, &writing, &reply), >=, 0);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_PASSED);
  fscache_reply_clear (client, &reply);
  fscache_disconnect (client);
}

/* Independent */

static void
test_independent_offset (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheReply shared = open_as (client, path, FSCACHE_SHARED);
  FscacheReply a, b;

  g_assert_cmpint (lseek (shared.fd, 5, SEEK_SET), ==, 5);
  a = open_as (client, path, FSCACHE_INDEPENDENT);
  b = open_as (client, path, FSCACHE_INDEPENDENT);
  g_assert_cmpint (a.source, ==, FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (b.source, ==, FSCACHE_SOURCE_CACHE);

  /* Each starts at the beginning, and moves alone. */
  assert_reads (a.fd, "012");
  g_assert_cmpint (lseek (b.fd, 0, SEEK_CUR), ==, 0);
  assert_reads (b.fd, "0123456");
  assert_reads (a.fd, "345");
  g_assert_cmpint (lseek (shared.fd, 0, SEEK_CUR), ==, 5);

  g_assert_no_errno (fcntl (a.fd, F_SETFL, O_NONBLOCK));
  g_assert_cmphex (fcntl (b.fd, F_GETFL) & O_NONBLOCK, ==, 0);
  g_assert_no_errno (flock (a.fd, LOCK_EX | LOCK_NB));
  g_assert_cmpint (flock (b.fd, LOCK_EX | LOCK_NB), ==, -1);

  fscache_reply_clear (client, &a);
  fscache_reply_clear (client, &b);
  fscache_reply_clear (client, &shared);
  fscache_disconnect (client);
}

static guint
count_names (int fd)
{
  char buffer[1024];
  guint n = 0;
  ssize_t length;

  while ((length = getdents64 (fd, buffer, sizeof buffer)) > 0)
    for (ssize_t at = 0; at < length; n++)
      at += ((struct dirent64 *) (buffer + at))->d_reclen;
  g_assert_cmpint (length, ==, 0);
  return n;
}

static void
test_independent_directory (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply a = open_as (client, service->dir, FSCACHE_INDEPENDENT);
  FscacheReply b = open_as (client, service->dir, FSCACHE_INDEPENDENT);
  guint n = count_names (a.fd);

  g_assert_cmpuint (n, >=, 4);
  g_assert_cmpuint (count_names (a.fd), ==, 0);
  g_assert_cmpuint (count_names (b.fd), ==, n);
  g_assert_cmpint (a.kind, ==, FSCACHE_KIND_DIRECTORY);
  fscache_reply_clear (client, &a);
  fscache_reply_clear (client, &b);
  fscache_disconnect (client);
}

/* A client without /proc cannot reopen what it is sent: it says nothing of that, and the service
 * has it opened anew. */
static void
test_independent_without_proc (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  g_autofree char *uri = g_strdup_printf ("file://%s", path);
  FscItem item = { .uri = { uri, strlen (uri) } };
  g_auto (FscTestPacket) own = { 0 };
  g_auto (FscTestPacket) duplicate = { 0 };
  const FscResult *result;
  int fd = fsc_test_raw_greet (service->socket, TRUE);

  item.options = FSC_OPTION_REOPENS;
  fsc_test_raw_open (fd, &item, &duplicate);
  result = &duplicate.message.records[0].result;
  g_assert_cmpint (result->code, ==, FSC_CODE_OK);
  g_assert_cmpint (result->source, ==, FSC_SOURCE_OPENED);
  g_assert_cmpint (result->sharing, ==, FSC_SHARING_SHARED); /* until it is reopened */

  item.options = 0;
  fsc_test_raw_open (fd, &item, &own);
  result = &own.message.records[0].result;
  g_assert_cmpint (result->code, ==, FSC_CODE_OK);
  g_assert_cmpint (result->source, ==, FSC_SOURCE_PASSED);
  g_assert_cmpint (result->sharing, ==, FSC_SHARING_INDEPENDENT);
  g_assert_cmpint (result->coherence, ==, FSC_COHERENCE_UNCACHED);

  g_assert_cmpuint (duplicate.fds.n, ==, 1);
  g_assert_cmpuint (own.fds.n, ==, 1);
  assert_reads (duplicate.fds.fds[0], "0123");
  g_assert_cmpint (lseek (own.fds.fds[0], 0, SEEK_CUR), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 1);
  close (fd);
}

/* Who sees another file tree is served nothing that has a path, and all else. */
static void
test_without_root (FscTestService *service)
{
  static const struct
  {
    const char *uri;
    FscCode code;
  } cases[] = {
    { "file:///", FSC_CODE_NOT_SERVED },      { "Unpack:/a.zst", FSC_CODE_NOT_SERVED },
    { "unix:///run/x", FSC_CODE_NOT_SERVED }, { "nosuch:///", FSC_CODE_UNKNOWN_SCHEME },
    { "no such:///a", FSC_CODE_BAD_URI },
  };
  int fd = fsc_test_raw_greet (service->socket, FALSE);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      FscItem item = { .uri = { cases[i].uri, strlen (cases[i].uri) } };
      g_auto (FscTestPacket) packet = { 0 };

      fsc_test_raw_open (fd, &item, &packet);
      g_assert_cmpint (packet.message.records[0].result.code, ==, cases[i].code);
      g_assert_cmpuint (packet.fds.n, ==, 0);
    }
  close (fd);
}

/* A FILE has an offset of its own on what others share. */
static void
test_fopen (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheReply shared = open_as (client, path, FSCACHE_SHARED);
  FscacheReply reply;
  FILE *a = fscache_fopen (client, path, &reply);
  FILE *b = fscache_fopen (client, path, NULL);
  char buffer[16] = "";

  g_assert_nonnull (a);
  g_assert_nonnull (b);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (fgetc (a), ==, '0');
  g_assert_cmpint (fseek (b, -3, SEEK_END), ==, 0);
  g_assert_cmpuint (fread (buffer, 1, sizeof buffer, b), ==, 3);
  g_assert_cmpstr (buffer, ==, "789");
  g_assert_cmpint (fgetc (a), ==, '1');
  g_assert_cmpint (lseek (shared.fd, 0, SEEK_CUR), ==, 0);
  fclose (a);
  fclose (b);
  g_assert_null (fscache_fopen (client, "/nonexistent", &reply));
  g_assert_cmpint (errno, ==, ENOENT);
  fscache_reply_clear (client, &shared);
  fscache_disconnect (client);
}

/* Exclusive */

static void
test_exclusive (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *other = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheReply a = open_as (client, path, FSCACHE_EXCLUSIVE);
  FscacheReply b = open_as (other, path, FSCACHE_EXCLUSIVE);
  FscacheReply again;

  /* While it is lent, the next one gets another. */
  g_assert_cmpint (a.source, ==, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (b.source, ==, FSCACHE_SOURCE_OPENED);
  g_assert_cmpuint (a.lease, !=, 0);
  g_assert_cmpuint (b.lease, !=, 0);
  g_assert_cmpuint (a.lease, !=, b.lease);
  assert_reads (a.fd, "01234");
  g_assert_cmpint (lseek (b.fd, 0, SEEK_CUR), ==, 0);
  g_assert_no_errno (fcntl (a.fd, F_SETFL, O_NONBLOCK | O_APPEND));
  g_assert_no_errno (flock (a.fd, LOCK_EX | LOCK_NB));
  g_assert_cmpint (flock (b.fd, LOCK_EX | LOCK_NB), ==, -1);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 2);

  /* Given back, it is closed: the next one gets a new one. */
  fscache_give_back (client, &a);
  g_assert_cmpint (a.fd, ==, -1);
  g_assert_cmpuint (a.lease, ==, 0);
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0); /* it has arrived */
  again = open_as (other, path, FSCACHE_EXCLUSIVE);
  g_assert_cmpint (again.source, ==, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (lseek (again.fd, 0, SEEK_CUR), ==, 0);
  g_assert_cmphex (fcntl (again.fd, F_GETFL) & (O_NONBLOCK | O_APPEND), ==, 0);
  g_assert_no_errno (flock (b.fd, LOCK_EX | LOCK_NB));
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 2);

  fscache_give_back (other, &again);
  fscache_give_back (other, &b);
  fscache_disconnect (other);
  fscache_disconnect (client);
}

/* Nobody knows what a borrower has done that went without giving back: it is closed. */
static void
test_borrower_goes (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheClient *other = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheReply a = open_as (client, path, FSCACHE_EXCLUSIVE);
  FscacheReply b;

  fscache_disconnect (client);
  fsc_test_service_wait_for (service, "handles", 0);
  b = open_as (other, path, FSCACHE_EXCLUSIVE);
  g_assert_cmpint (b.source, ==, FSCACHE_SOURCE_OPENED);
  assert_reads (a.fd, "012"); /* it was given for good as far as the kernel knows */
  g_assert_cmpint (lseek (b.fd, 0, SEEK_CUR), ==, 0);
  close (a.fd);
  fscache_give_back (other, &b);
  fscache_disconnect (other);
}

static void
test_borrower_is_killed (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  pid_t pid = fork ();

  if (pid == 0)
    {
      FscacheClient *client = fsc_test_service_connect (service);

      open_as (client, path, FSCACHE_EXCLUSIVE);
      raise (SIGKILL);
    }
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  fsc_test_service_wait_for (service, "handles", 0);
  fsc_test_service_check_descriptors (service);
}

typedef struct
{
  int fd;
  void *page;
} Reading;

static void *
read_for_ever (void *data)
{
  const Reading *reading = data;

  read (reading->fd, reading->page, 4);
  return NULL;
}

/* Gives the handle back while it reads through a duplicate, which holds the lock of its position.
 */
static void
borrow_and_hang (FscTestService *service, const char *path, int done)
{
  FscacheClient *client = fsc_test_service_connect (service);
  FscacheReply reply = open_as (client, path, FSCACHE_EXCLUSIVE);
  Reading reading = { dup (reply.fd), fsc_test_make_hanging_page () };
  pthread_t thread;

  if (reading.page != NULL && pthread_create (&thread, NULL, read_for_ever, &reading) == 0)
    {
      g_usleep (100000);
      fscache_give_back (client, &reply);
      write (done, "1", 1);
    }
  else
    write (done, "0", 1);
  pause ();
}

static void
test_borrower_hangs (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_EXCLUSIVE, .timeout_ms = 3000 };
  FscacheReply reply;
  FscacheClient *client;
  char hangs = 0;
  int done[2];
  pid_t pid;

  g_assert_no_errno (pipe2 (done, O_CLOEXEC));
  pid = fork ();
  if (pid == 0)
    borrow_and_hang (service, path, done[1]);
  g_assert_cmpint (read (done[0], &hangs, 1), ==, 1);
  if (hangs == '1')
    {
      g_usleep (100000);
      client = fsc_test_service_connect (service);
      g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
      assert_reads (reply.fd, CONTENT);
      fscache_give_back (client, &reply);
      fscache_disconnect (client);
    }
  else
    g_test_skip ("this user may not have memory that never comes (userfaultfd)");
  g_assert_no_errno (kill (pid, SIGKILL));
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  close (done[0]);
  close (done[1]);
}

/* A lease is its borrower's: others cannot give it back, nor twice. */
static void
test_foreign_lease (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheReply a = open_as (client, path, FSCACHE_EXCLUSIVE);
  FscTestRecord records[] = { { .id = a.lease }, { .id = a.lease }, { .id = 0 }, { .id = 77 } };
  FscTestMessage message
      = { .header.opcode = FSC_OP_GIVE_BACK, .n_records = 4, .records = records };
  FscTestMessage ping = { .header = { .opcode = FSC_OP_PING, .serial = 1 } };
  g_auto (FscTestPacket) packet = { 0 };
  FscacheReply b;
  int fd = fsc_test_raw_greet (service->socket, TRUE);

  fsc_test_raw_send (fd, &message, NULL);
  fsc_test_raw_send (fd, &ping, NULL);
  g_assert_true (fsc_test_raw_receive (fd, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_DONE);
  b = open_as (client, path, FSCACHE_EXCLUSIVE);
  g_assert_cmpint (b.source, ==, FSCACHE_SOURCE_OPENED);
  close (fd);
  fscache_give_back (client, &a);
  fscache_give_back (client, &b);
  fscache_disconnect (client);
}

/* Dropped while it is lent: the borrower keeps it, nobody gets it again. */
static void
test_dropped_lease (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheReply a = open_as (client, path, FSCACHE_EXCLUSIVE);
  FscacheReply b;

  g_assert_cmpint (fscache_drop (client, path, NULL), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  assert_reads (a.fd, "012");
  fscache_give_back (client, &a);
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  b = open_as (client, path, FSCACHE_EXCLUSIVE);
  g_assert_cmpint (b.source, ==, FSCACHE_SOURCE_OPENED);
  fscache_give_back (client, &b);
  fscache_disconnect (client);
}

/* What cannot be reopened */

/* A device that an opener without capabilities may open; or NULL. */
static const char *
find_device (void)
{
  static const char *const names[] = { "/dev/fuse", "/dev/net/tun", "/dev/rtc0", "/dev/hpet" };
  struct stat st;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    if (stat (names[i], &st) == 0 && S_ISCHR (st.st_mode)
        && ((st.st_uid == geteuid () && (st.st_mode & S_IRUSR) != 0)
            || (st.st_mode & S_IROTH) != 0))
      return names[i];
  return NULL;
}

static void
test_not_reopenable (FscTestService *service)
{
  const char *device = find_device ();
  FscacheClient *client;
  FscacheReply a, b;

  if (device == NULL)
    {
      g_test_skip ("there is no device here that can only be lent");
      return;
    }
  client = fsc_test_service_connect (service);
  for (int i = 0; i < 2; i++)
    {
      assert_refused (client, device, O_RDONLY, FSCACHE_INDEPENDENT, FSCACHE_ERROR_NOT_REOPENABLE,
                      EOPNOTSUPP);
      assert_refused (client, device, O_RDONLY, FSCACHE_SHARED, FSCACHE_ERROR_NOT_REOPENABLE,
                      EOPNOTSUPP);
      a = open_as (client, device, FSCACHE_EXCLUSIVE);
      b = open_as (client, device, FSCACHE_EXCLUSIVE);
      g_assert_cmpint (a.kind, ==, FSCACHE_KIND_CHARACTER);
      g_assert_cmpuint (a.lease, !=, 0);
      g_assert_cmpint (a.source, ==, i == 0 ? FSCACHE_SOURCE_OPENED : FSCACHE_SOURCE_CACHE);
      fscache_give_back (client, &a);
      fscache_give_back (client, &b);
      g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
      g_assert_cmpuint (fsc_test_service_counter (service, "held"), ==, 2);
    }
  fscache_disconnect (client);
}

/* In one batch */

static void
test_mixed_batch (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", CONTENT);
  FscacheRequest requests[12] = { 0 };
  FscacheReply replies[12];

  for (guint i = 0; i < G_N_ELEMENTS (requests); i++)
    requests[i] = (FscacheRequest){ .uri = path, .sharing = i % 3 };
  g_assert_cmpint (fscache_open_many (client, requests, replies, 12), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (requests); i++)
    {
      g_assert_cmpint (replies[i].sharing, ==, i % 3);
      if (replies[i].sharing != FSCACHE_SHARED)
        assert_reads (replies[i].fd, "012345");
    }
  g_assert_cmpint (lseek (replies[1].fd, 0, SEEK_CUR), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (requests); i++)
    fscache_reply_clear (client, &replies[i]);
  fsc_test_service_wait_for (service, "handles", 1); /* the shared one */
  fscache_disconnect (client);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/sharing/shared-offset", test_shared_offset);
  FSC_TEST_ADD ("/sharing/shared-state", test_shared_state);
  FSC_TEST_ADD ("/sharing/shared-refused", test_shared_refused);
  FSC_TEST_ADD ("/sharing/independent-offset", test_independent_offset);
  FSC_TEST_ADD ("/sharing/independent-directory", test_independent_directory);
  FSC_TEST_ADD ("/sharing/independent-without-proc", test_independent_without_proc);
  FSC_TEST_ADD ("/sharing/without-root", test_without_root);
  FSC_TEST_ADD ("/sharing/fopen", test_fopen);
  FSC_TEST_ADD ("/sharing/exclusive", test_exclusive);
  FSC_TEST_ADD ("/sharing/borrower-goes", test_borrower_goes);
  FSC_TEST_ADD ("/sharing/borrower-is-killed", test_borrower_is_killed);
  FSC_TEST_ADD ("/sharing/borrower-hangs", test_borrower_hangs);
  FSC_TEST_ADD ("/sharing/foreign-lease", test_foreign_lease);
  FSC_TEST_ADD ("/sharing/dropped-lease", test_dropped_lease);
  FSC_TEST_ADD ("/sharing/not-reopenable", test_not_reopenable);
  FSC_TEST_ADD ("/sharing/mixed-batch", test_mixed_batch);
  return g_test_run ();
}
