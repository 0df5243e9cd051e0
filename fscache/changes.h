/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What happens to the file tree, as the kernel tells it: the events of watches, and changes of
 * mounts, which end all watching, because the ways that were gone may lead elsewhere now.
 *
 * The kernel says so before the system call that causes it returns. So whoever answers a request
 * catches up first, once it has the request; then nothing that was complete before the request was
 * made is unknown. That is one system call, however much is watched.
 */
#pragma once

#include <glib.h>

#include "fscache/loop.h"
#include "fscache/watch.h"

typedef struct FscChanges FscChanges;

/* `func` and `data` are those of the watches. */
FscChanges *fsc_changes_new (FscLoop *loop, FscWatchFunc func, gpointer data, GError **error);
void fsc_changes_free (FscChanges *changes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscChanges, fsc_changes_free)

void fsc_changes_catch_up (FscChanges *changes);

FscWatches *fsc_changes_get_watches (FscChanges *changes);
