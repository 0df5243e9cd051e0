/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Calls with a callback: the interface for event loops. These are the parts that the end of a
 * client needs.
 */
#pragma once

#include "libclient/client.h"

/* With the lock (dropped during callbacks): ends all of them, and calls their callbacks. */
void fsc_client_submit_cancel_all (FscacheClient *client);

/* In a child of fork(): frees those of the parent, without a callback. */
void fsc_client_submit_forget (FscacheClient *client);
