/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How answers are written to the kernel: by functions of our own, which libfuse calls.
 *
 * A SMALL ANSWER IS WRITTEN IN ONE PIECE. libfuse has it in two, and for each the kernel pins a
 * page, which takes a fifth of a microsecond.
 *
 * THE ANSWER TO INIT, the kernel's first message, says more than libfuse does. That names in one
 * folder may be asked for at the same time: otherwise all who want something in it wait for the one
 * whose source hangs. And that whoever writes to a file or truncates it loses it its set-user-ID
 * bits, as the source sees to: otherwise the kernel would change the mode first, which the view
 * does not do. libfuse 3.14 forgets to pass on the first and does not know the second. A kernel
 * that does not know a flag passes over it.
 */
#pragma once

#include <glib.h>

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

/* Of a session that is mounted and does not run yet, and whose data is the FscView. */
void fsc_answer_set_up (struct fuse_session *session);
