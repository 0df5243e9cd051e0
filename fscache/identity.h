/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What identifies a file: the validator of file: handles. Mount, device and inode: as long as a
 * handle of it is open, neither inode number nor mount ID is used again. On file systems that
 * change behind the kernel's back, where one inode number may stand for what has been replaced at
 * the server, size and times are added.
 *
 * Used by the opener, which makes validators, and by the service's own quick check. Libc only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "protocol/codec.h"

#define FSC_IDENTITY_MASK (STATX_BASIC_STATS | STATX_MNT_ID)

typedef struct
{
  uint64_t inode;
  uint32_t mount_id;
  uint32_t dev_major, dev_minor;
  uint32_t zero;

  /* From here on only where the file system needs it. */
  uint64_t size;
  int64_t mtime, ctime;
  uint32_t mtime_nsec, ctime_nsec;
} FscIdentity;

/* Lengths of a validator: its first bytes, or all. */
#define FSC_IDENTITY_SHORT offsetof (FscIdentity, size)
#define FSC_IDENTITY_LONG sizeof (FscIdentity)

FscIdentity fsc_identity_get (const struct statx *st);
bool fsc_identity_has_validator (const FscIdentity *identity, FscBytes validator);
