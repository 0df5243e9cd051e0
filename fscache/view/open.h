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
