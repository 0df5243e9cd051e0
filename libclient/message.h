/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sentences that tell a person why a request failed, each of which names its object.
 */
#pragma once

#include "libclient/call.h"

#define FSC_CLIENT_ERRNO_SIZE 128

/* What strerror_r() says, in `buffer` or in static memory. */
const char *fsc_client_describe_errno (int error, char buffer[FSC_CLIENT_ERRNO_SIZE]);

/* Makes *reply that of a failed request. */
void fsc_client_fail_reply (FscacheReply *reply, FscacheCode code, int error);

/* The same with a sentence: the text of the answer if there is one, else one made from its code and
 * errno. `verb` says what was to be done: "open". */
void fsc_client_explain (FscacheReply *reply, const char *verb, const FscOpening *opening);
