/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who asks. Every request that names something goes through here before anything is done for it;
 * what is done with an open file was allowed when it was opened.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

typedef struct
{
  uid_t uid;
  gid_t gid;
  pid_t pid;
} FscCaller;

/* Returns 0, or the errno with which the request is refused. */
int fsc_caller_get (fuse_req_t request, FscCaller *caller);
