/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process: into the background once it serves, and out by signals.
 *
 * SIGTERM, SIGINT and SIGHUP unmount. Threads that hang at their sources do not keep the process:
 * after a second (some more if it was others who unmounted) it exits, and the kernel ends what they
 * had to answer.
 */
#pragma once

#include "fscache/view/view.h"

typedef struct FscLife FscLife;

/* To be called before there are threads. In the background it is the child that returns; the parent
 * exits when that serves, or fails. */
FscLife *fsc_life_new (gboolean is_foreground);

/* It serves: the parent, if any, may go. May be called by any thread. */
void fsc_life_set_ready (FscLife *life);

/* Serves until it is told to stop, or unmounted. Returns what to exit with. What is done then, up
 * to fsc_life_end(), may hang too, and is not waited for. The view's session must last until then.
 */
int fsc_life_run (FscLife *life, FscView *view);
void fsc_life_end (FscLife *life);

void fsc_life_free (FscLife *life);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscLife, fsc_life_free)
