/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An opener that holds whatever it opens. A FIFO keeps it in open() until its other end is opened,
 * and says when it is closed; so what a mount that does not answer does to a holder can be seen
 * without such a mount.
 */
#include <errno.h>
#include <fcntl.h>

#include "fscache/openers/serve.h"
#include "protocol/uri.h"

static void
open_and_hold (const FscItem *item, const char *uri, FscFound *found)
{
  char path[FSC_URI_MAX + 1];

  if (fsc_uri_to_path (item->uri, path, sizeof path) < 0)
    {
      fsc_found_fail (found, FSC_CODE_BAD_URI, EINVAL, uri, "it is no canonical file: URI");
      return;
    }
  found->fd = open (path, (int) item->flags | O_CLOEXEC);
  if (found->fd < 0)
    fsc_found_system_error (found, path, errno);
  found->hold = true;
  found->kind = FSC_KIND_REGULAR;
  found->coherence = FSC_COHERENCE_TTL;
}

int
main (void)
{
  return fsc_serve ("holding-opener", open_and_hold);
}
