/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What identifies a file; see identity.h.
 */
#include "fscache/identity.h"

#include <string.h>

static_assert (FSC_IDENTITY_LONG <= FSC_VALIDATOR_MAX, "it must fit into a validator");

bool
fsc_identity_is_local (const char *file_system)
{
  static const char *const local[] = { "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs" };

  for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
    if (strcmp (file_system, local[i]) == 0)
      return true;
  return false;
}

FscIdentity
fsc_identity_get (const struct statx *st)
{
  return (FscIdentity){
    .inode = st->stx_ino,
    .mount_id = (uint32_t) st->stx_mnt_id,
    .dev_major = st->stx_dev_major,
    .dev_minor = st->stx_dev_minor,
    .size = st->stx_size,
    .mtime = st->stx_mtime.tv_sec,
    .ctime = st->stx_ctime.tv_sec,
    .mtime_nsec = st->stx_mtime.tv_nsec,
    .ctime_nsec = st->stx_ctime.tv_nsec,
  };
}

bool
fsc_identity_has_validator (const FscIdentity *identity, FscBytes validator)
{
  return (validator.length == FSC_IDENTITY_SHORT || validator.length == FSC_IDENTITY_LONG)
         && memcmp (identity, validator.data, validator.length) == 0;
}
