/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From an answer to the reply that the caller sees: reopens duplicates, opens what has to be opened
 * in this process, and explains failures. May wait as open(2) does; called without the lock.
 */
#pragma once

#include "libclient/client.h"

/* Fills *reply and takes what the answer owns. Returns false if the service must be asked once
 * more, in another way: the opening is changed accordingly, and the reply is not filled. */
bool fsc_client_finish (FscacheClient *client, const char *verb, FscOpening *opening,
                        FscacheReply *reply);

/* Ends a lease that was given on a connection, if there is one; `flags` as of GIVE_BACK. */
void fsc_client_end_lease (FscacheClient *client, uint32_t flags, uint64_t *lease,
                           uint64_t generation);
