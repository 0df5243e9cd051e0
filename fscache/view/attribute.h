/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Extended attributes. user.fscache.* tells of the entry that a name has in the cache: of a file
 * that is not cached only the URI. Times are in seconds. Others are the source's, and can be read.
 * To set user.fscache.pinned to 1 pins, to 0 unpins.
 */
#pragma once

#include "fscache/view/call.h"

/* The name is that of the attribute. */
void fsc_attribute_get (FscCall *call);
void fsc_attribute_list (FscCall *call);
void fsc_attribute_set (FscCall *call);
void fsc_attribute_remove (FscCall *call);
