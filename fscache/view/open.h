/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opening files: for reading, as one of all who read it; for writing, with a handle that nobody
 * else gets; and what is of the view's own.
 */
#pragma once

#include "fscache/view/call.h"

/* open(), or create() of a name that may not be there. */
void fsc_open (FscCall *call);
void fsc_open_new (FscCall *call);

/* open() at once, without a call, if it waits for nobody: to read a local file that is known. Else
 * nothing is answered, and FALSE. */
gboolean fsc_open_quickly (fuse_req_t request, FscNode *node, const struct fuse_file_info *info);
