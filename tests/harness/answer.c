/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Comparing the answers of the service with those of open(); see answer.h.
 */
#include "tests/harness/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void
fsc_test_set_capabilities (struct __user_cap_data_struct data[2])
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

  g_assert_no_errno ((int) syscall (SYS_capset, &header, data));
}

void
fsc_test_lay_down_capabilities (struct __user_cap_data_struct all[2])
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct none[2];

  g_assert_no_errno ((int) syscall (SYS_capget, &header, all));
  memcpy (none, all, sizeof none);
  none[0].effective = none[1].effective = 0;
  fsc_test_set_capabilities (none);
}

int
fsc_test_open_as_opener (const char *path, int flags, mode_t mode)
{
  struct __user_cap_data_struct all[2];
  int fd;

  fsc_test_lay_down_capabilities (all);
  fd = open (path, flags | O_CLOEXEC, mode);
  fd = fd < 0 ? -errno : fd;
  fsc_test_set_capabilities (all);
  return fd;
}

ino_t
fsc_test_get_inode (int fd)
{
  struct stat st;

  g_assert_no_errno (fstat (fd, &st));
  return st.st_ino;
}

int
fsc_test_get_flags (int fd)
{
  return fcntl (fd, F_GETFL) & ~(O_NOFOLLOW | O_DIRECTORY);
}

void
fsc_test_assert_failed (const FscacheReply *reply, int fd, FscacheCode code, int error)
{
  if (fd >= 0 || reply->code != code || reply->error != error)
    g_test_message ("fd %d, %s, %s: %s", fd, fscache_code_name (reply->code),
                    g_strerror (reply->error), reply->message);
  g_assert_cmpint (fd, ==, -error);
  g_assert_cmpint (reply->fd, ==, -1);
  g_assert_cmpint (reply->code, ==, code);
  g_assert_cmpint (reply->error, ==, error);
  g_assert_cmpint (reply->source, ==, FSCACHE_SOURCE_NONE);
  g_assert_cmpstr (reply->message, !=, "");
}

int
fsc_test_assert_same (FscacheClient *client, const char *path, int flags)
{
  int expected = fsc_test_open_as_opener (path, flags, 0666);
  FscacheReply reply;
  int given = fscache_open (client, path, flags, &reply);

  if ((expected < 0 || given < 0) && expected != given)
    g_test_message ("open (\"%s\", 0%o) is %d, but here %d: %s", path, flags, expected, given,
                    reply.message);
  if (expected < 0)
    {
      fsc_test_assert_failed (&reply, given, FSCACHE_ERROR_SYSTEM, -expected);
      g_assert_nonnull (strstr (reply.message, g_strerror (-expected)));
      return -expected;
    }
  g_assert_cmpint (given, >=, 0);
  g_assert_cmpuint (fsc_test_get_inode (given), ==, fsc_test_get_inode (expected));
  g_assert_cmphex (fsc_test_get_flags (given), ==, fsc_test_get_flags (expected));
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmphex (fcntl (given, F_GETFD), ==, FD_CLOEXEC);
  close (expected);
  close (given);
  return 0;
}

static void
open_for_reading (FscacheClient *client, const char *path, FscacheReply *reply)
{
  if (fscache_open (client, path, O_RDONLY, reply) < 0)
    g_test_message ("%s", reply->message);
  g_assert_cmpint (reply->fd, >=, 0);
}

void
fsc_test_assert_opens (FscacheClient *client, const char *path)
{
  FscacheReply reply;

  open_for_reading (client, path, &reply);
  fscache_reply_clear (client, &reply);
}

int
fsc_test_open_from (FscacheClient *client, const char *path, FscacheSource source)
{
  FscacheReply reply;

  open_for_reading (client, path, &reply);
  g_assert_cmpint (reply.source, ==, source);
  return reply.fd;
}

char *
fsc_test_read (FscacheClient *client, const char *path, FscacheSharing sharing)
{
  FscacheRequest request = { .uri = path, .sharing = sharing };
  char buffer[256];
  int fd = fscache_open_with (client, &request, NULL);
  ssize_t n;

  g_assert_cmpint (fd, >=, 0);
  n = pread (fd, buffer, sizeof buffer, 0);
  g_assert_cmpint (n, >=, 0);
  close (fd);
  return g_strndup (buffer, (gsize) n);
}
