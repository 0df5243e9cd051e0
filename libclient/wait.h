/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Waiting for answers, with deadlines; see client.h for how threads share one socket.
 */
#pragma once

#include "libclient/client.h"

/* Carries a call out that has no callback: adds it, sends it, waits until all its openings are
 * answered, and removes it. To be called without the lock; takes none if there is nothing to ask.
 */
void fsc_client_wait (FscacheClient *client, FscCall *call);

/* With the lock: takes in what has arrived, without waiting, and notices if nothing has for too
 * long. Receives nothing while another thread is the reader. */
void fsc_client_wait_read_available (FscacheClient *client);

/* With the lock: lets a waiting thread look again: there is a connection, or no reader. */
void fsc_client_wait_wake_one (FscacheClient *client);
void fsc_client_wait_wake_all (FscacheClient *client);

/* With the lock: what is cancelled of a call ends; all of it, or what names a FscacheCancel. */
void fsc_client_wait_cancel (FscacheClient *client, FscCall *call);

/* With the lock: the openings of a call whose deadline has passed end with it. */
void fsc_client_wait_expire (FscacheClient *client, FscCall *call, int64_t now);
