/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the kernel is told in answer to its first message, INIT, beside what libfuse says.
 *
 * That names in one folder may be asked for at the same time: otherwise all who want something in
 * it wait for the one whose source hangs. And that whoever writes to a file or truncates it loses
 * it its set-user-ID bits, as the source sees to: otherwise the kernel would change the mode
 * first, which the view does not do.
 *
 * libfuse 3.14 forgets to pass on the first and does not know the second, so they are put into its
 * answer on the way. A kernel that does not know a flag passes over it.
 */
#pragma once

#include <glib.h>

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

/* Of a session that is mounted and does not run yet, and whose data is the FscView. */
void fsc_greeting_amend (struct fuse_session *session);
