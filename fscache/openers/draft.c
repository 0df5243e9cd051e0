/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content that is being made; see draft.h.
 */
#include "fscache/openers/draft.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fscache/openers/filesystem.h"
#include "fscache/openers/seal.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* The times of files are as exact as the clock's tick, of which there are 100 a second or more. */
#define TICK_NS 20000000

void
fsc_draft_init (FscDraft *draft, const FscDraftPlace *place)
{
  *draft = (FscDraft){ .place = place, .fd = -1, .modified.tv_nsec = UTIME_NOW };
}

void
fsc_draft_clear (FscDraft *draft)
{
  if (draft->fd >= 0)
    close (draft->fd);
  draft->fd = -1;
}

static int
make_memory (void)
{
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = memfd_create ("fscache", flags | MFD_NOEXEC_SEAL);

  return fd >= 0 || errno != EINVAL ? fd : memfd_create ("fscache", flags); /* before Linux 6.3 */
}

bool
fsc_draft_begin (FscDraft *draft, FscFault *fault)
{
  if (draft->size > 0)
    fsc_draft_clear (draft);
  draft->size = 0;
  draft->is_in_file = false;
  sha256_init (&draft->sha256);
  if (draft->fd < 0)
    draft->fd = make_memory ();
  if (draft->fd < 0)
    fsc_fault_set (fault, errno, "there is no memory for its content: %s", strerror (errno));
  return draft->fd >= 0;
}

static bool
fail_file (const FscDraft *draft, FscFault *fault)
{
  fsc_fault_set (fault, errno, "its content cannot be put into a file in %.100s: %s",
                 draft->place->directory, strerror (errno));
  return false;
}

static bool
move_to_file (FscDraft *draft, FscFault *fault)
{
  int fd = open (draft->place->directory, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
  off_t position = 0;

  if (fd < 0)
    return fail_file (draft, fault);
  if (fsc_file_system_get (fd) == FSC_FILE_SYSTEM_OTHER)
    {
      close (fd);
      errno = EOPNOTSUPP; /* it may hang the service, and change unseen */
      return fail_file (draft, fault);
    }
  while ((uint64_t) position < draft->size)
    if (sendfile (fd, draft->fd, &position, draft->size - (uint64_t) position) <= 0)
      {
        fail_file (draft, fault);
        close (fd);
        return false;
      }
  close (draft->fd);
  draft->fd = fd;
  draft->is_in_file = true;
  return true;
}

bool
fsc_draft_write (FscDraft *draft, const void *bytes, size_t n, FscFault *fault)
{
  const uint8_t *rest = bytes;

  if (!draft->is_in_file && draft->size + n > draft->place->memory_size
      && !move_to_file (draft, fault))
    return false;
  sha256_update (&draft->sha256, n, bytes);
  while (n > 0)
    {
      ssize_t written = write (draft->fd, rest, n);

      if (written < 0 && errno == EINTR)
        continue;
      if (written <= 0 && draft->is_in_file)
        return fail_file (draft, fault);
      if (written <= 0)
        {
          fsc_fault_set (fault, errno, "there is no memory for its content: %s", strerror (errno));
          return false;
        }
      rest += written;
      n -= (size_t) written;
      draft->size += (uint64_t) written;
    }
  return true;
}

int
fsc_draft_finish (FscDraft *draft, uint8_t digest[SHA256_DIGEST_SIZE], FscFault *fault)
{
  const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, draft->modified };
  const struct timespec tick = { .tv_nsec = TICK_NS };
  int fd;

  futimens (draft->fd, times); /* what a time cannot be has no place here either */
  fd = draft->is_in_file ? fsc_seal_file (draft->fd) : fsc_seal_memory (draft->fd);

  if (draft->is_in_file)
    nanosleep (&tick, NULL); /* from here on each change gives it another time */
  if (fd < 0)
    fsc_fault_set (fault, errno, "its content cannot be sealed: %s", strerror (errno));
  sha256_digest (&draft->sha256, SHA256_DIGEST_SIZE, digest);
  fsc_draft_clear (draft);
  return fd;
}
