/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Arguments that name mounts; see mount.h.
 */
#include "fscache/ctl/mount.h"

#include <errno.h>
#include <unistd.h>

#include "fscache/ctl/output.h"

void
fsc_mount_complain (FscacheClient *client, const char *mount, const FscacheReply *reply, int result)
{
  FscacheRequest request = { .uri = mount, .flags = O_PATH, .options = FSCACHE_NO_FALLBACK };
  FscacheReply found = { .fd = -1 };

  if (reply->code == FSCACHE_ERROR_BAD_REQUEST && fscache_open_with (client, &request, &found) < 0
      && found.code == FSCACHE_ERROR_SYSTEM && (found.error == ENOENT || found.error == ENOTDIR))
    {
      fsc_output_complain_reply (mount, &found, -found.error);
      return;
    }
  fscache_reply_clear (client, &found);
  fsc_output_complain_reply (mount, reply, result);
}
