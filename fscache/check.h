/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The quick check: whether a path on a local file system still leads to the file of a handle that
 * is kept, and may still be read, answered by the service itself if the kernel has all that it
 * takes in memory. The walk is made with RESOLVE_CACHED: it waits for no disk, no server and no
 * lock, and gives up where it would have to; then an opener does it. So nothing that blocks is in
 * the service, and most hits are spared two switches of process, which cost ten times the check.
 *
 * It holds for the service's own user, and only while the service has no capabilities: what it asks
 * the kernel is what an opener of that user would ask.
 */
#pragma once

#include <glib.h>

#include "protocol/codec.h"

/* Whether the item may be checked here: it has the validator of a local file, or of its content. */
gboolean fsc_check_is_possible (const FscItem *item);

/* TRUE: open() would give this file now. FALSE: it would not, or that cannot be told here. */
gboolean fsc_check_quickly (const FscItem *item);
