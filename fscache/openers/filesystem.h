/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a file system promises, by its type: whether what lies on it can be kept, and who knows when
 * it changes.
 */
#pragma once

typedef enum
{
  FSC_FILE_SYSTEM_LOCAL,      /* this kernel sees it whole: nothing changes without it, or hangs */
  FSC_FILE_SYSTEM_OVERLAY,    /* a copy-up changes the content under the same inode number */
  FSC_FILE_SYSTEM_OF_PROCESS, /* it is not the same for each process */
  FSC_FILE_SYSTEM_OTHER,      /* network file systems, FUSE, and what is not known */
} FscFileSystem;

/* Of what `fd` is on. */
FscFileSystem fsc_file_system_get (int fd);
