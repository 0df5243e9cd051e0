/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * PUT: a client gives a descriptor a name. The descriptor never comes into the service, which it
 * might hang: the service makes a socket pair, sends one end to the holder of the client's user and
 * then the other one to the client, who sends the descriptor over it. It has closed both before
 * there can be anything in them. When the holder has told that it holds it, there is an entry.
 *
 * A client that is gone before that has put nothing.
 */
#pragma once

#include "fscache/connection.h"

typedef struct FscPuts FscPuts;

FscPuts *fsc_puts_new (FscServer *server);
void fsc_puts_free (FscPuts *puts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscPuts, fsc_puts_free)

/* Reads the body of a PUT. Returns FALSE if that is malformed. */
gboolean fsc_puts_take (FscPuts *puts, FscConnection *connection, guint32 serial,
                        FscReader *reader);

/* The holder is about to receive: `socket`, which is taken, is the client's end. */
void fsc_puts_receiving (FscJob *job, int socket);

/* It has, or it has failed. Takes the job and the outcome's handle. */
void fsc_puts_finish (FscJob *job, FscOutcome *outcome);

/* The client is gone. */
void fsc_puts_forget (FscPuts *puts, const FscConnection *connection);
