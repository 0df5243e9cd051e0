/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What identifies a file; see identity.h.
 */
#include "fscache/identity.h"

#include <string.h>

static_assert (FSC_IDENTITY_LONG <= FSC_VALIDATOR_MAX, "it must fit into a validator");

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
