/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Arguments that name mounts.
 */
#pragma once

#include "libclient/fscache.h"

/* Says why there is nothing to be done about a mount: the service knows mounts by their text alone,
 * so whether the path is there at all is asked of whoever opens for it. Never hangs. */
void fsc_mount_complain (FscacheClient *client, const char *mount, const FscacheReply *reply,
                         int result);

#define FSC_HELP_MOUNTS                                                                            \
  "A mount is named by its path, as in /proc/self/mountinfo (findmnt lists them), or by the "      \
  "file:\n"                                                                                        \
  "URI of that; symlinks are not followed."
