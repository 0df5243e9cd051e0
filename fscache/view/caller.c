/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who asks; see caller.h.
 */
#include "fscache/view/caller.h"

#include <errno.h>
#include <unistd.h>

int
fsc_caller_get (fuse_req_t request, FscCaller *caller)
{
  const struct fuse_ctx *context = fuse_req_ctx (request);

  *caller = (FscCaller){ .uid = context->uid, .gid = context->gid, .pid = context->pid };
  /* The service opens as the user of this process: it takes no word yet of who else asks. */
  return caller->uid == geteuid () ? 0 : EACCES;
}
