/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Copies all that a descriptor has to another one, in the cheapest way that the two allow. A
 * regular file or block device is read by position: its offset, which others may share, is neither
 * used nor moved.
 */
#pragma once

#include <glib.h>

typedef enum
{
  FSC_COPY_DONE,
  FSC_COPY_CANNOT_READ,
  FSC_COPY_CANNOT_WRITE,
  FSC_COPY_SAME_FILE, /* reading from what it writes to would never end */
} FscCopyResult;

/* Both descriptors are borrowed. On failure errno says why. */
FscCopyResult fsc_copy_all (int in, int out);
