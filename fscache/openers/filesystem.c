/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a file system promises; see filesystem.h.
 */
#include "fscache/openers/filesystem.h"

#include <linux/magic.h>
#include <stdint.h>
#include <sys/statfs.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

FscFileSystem
fsc_file_system_get (int fd)
{
  struct statfs fs;

  if (fstatfs (fd, &fs) < 0)
    return FSC_FILE_SYSTEM_OTHER;
  switch ((uint32_t) fs.f_type)
    {
    case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
      return FSC_FILE_SYSTEM_LOCAL;

    case OVERLAYFS_SUPER_MAGIC: /* a copy-up changes the content under the same inode number */
      return FSC_FILE_SYSTEM_OVERLAY;

    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case SELINUX_MAGIC:
    case SMACK_MAGIC:
    case BPF_FS_MAGIC:
    case EFIVARFS_MAGIC:
    case NSFS_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case PIPEFS_MAGIC:
    case SOCKFS_MAGIC:
    case BINFMTFS_MAGIC:
      return FSC_FILE_SYSTEM_OF_PROCESS;

    default: /* network file systems, FUSE, and what is not known */
      return FSC_FILE_SYSTEM_OTHER;
    }
}
