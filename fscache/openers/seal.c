/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The end of all changes to content; see seal.h.
 */
#include "fscache/openers/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WRITE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

bool
fsc_seal_is_memory (int fd)
{
  int seals = fcntl (fd, F_GET_SEALS);

  return seals >= 0 && (seals & WRITE_SEALS) == WRITE_SEALS;
}

int
fsc_seal_file (int fd)
{
  char name[32];

  if (fchmod (fd, 0444) < 0)
    return -1;
  snprintf (name, sizeof name, "/proc/self/fd/%d", fd);
  return open (name, O_RDONLY | O_CLOEXEC);
}

int
fsc_seal_memory (int fd)
{
  int seals = fcntl (fd, F_GET_SEALS);
  const int all = WRITE_SEALS | F_SEAL_SEAL;

  if (seals < 0 || ((seals & all) != all && fcntl (fd, F_ADD_SEALS, all) < 0))
    return -1;
  return fsc_seal_file (fd);
}

static int64_t
get_ms (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C (1000) + now.tv_nsec / 1000000;
}

bool
fsc_seal_digest (int fd, uint32_t timeout_ms, uint64_t *size, uint8_t digest[SHA256_DIGEST_SIZE])
{
  const int64_t until = timeout_ms > 0 ? get_ms () + timeout_ms : INT64_MAX;
  uint8_t block[1 << 16];
  struct sha256_ctx sha256;
  ssize_t n;

  sha256_init (&sha256);
  *size = 0;
  while ((n = pread (fd, block, sizeof block, (off_t) *size)) != 0)
    {
      if ((n < 0 && errno != EINTR) || get_ms () > until)
        return false;
      if (n < 0)
        continue;
      sha256_update (&sha256, (size_t) n, block);
      *size += (uint64_t) n;
    }
  sha256_digest (&sha256, SHA256_DIGEST_SIZE, digest);
  return true;
}
