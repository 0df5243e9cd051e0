/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Room for what is to be kept. Part of the cache, and used by nobody else; fsc_cache_sweep(),
 * fsc_cache_relieve() and fsc_cache_set_limits(), which make room for other reasons, are in
 * cache.h.
 */
#pragma once

#include "fscache/entry.h"

/* Lets entries go until there is room for so many more handles and bytes of a credential's. Returns
 * FALSE if nothing can go. What is not asked for need not have room. */
gboolean fsc_cache_make_room (FscCache *cache, guint32 credential, guint64 handles, guint64 bytes);

/* What to say if that is because its user may not have so much more of it; else NULL. Free with
 * g_free(). */
char *fsc_cache_explain_share (const FscCache *cache, guint32 credential, FscShare share,
                               guint64 more);
