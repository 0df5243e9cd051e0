/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One socket to the service, from connect() until its last user lets go of it. It knows nothing of
 * requests, and never tries twice: that is link.h's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libclient/fscache.h"
#include "libclient/generations.h"
#include "protocol/codec.h"

/* Why there is no service. */
typedef struct
{
  FscacheCode code;
  int error;                   /* errno, positive */
  char text[FSC_TEXT_MAX + 1]; /* a sentence; "" if there is none */
} FscTrouble;

/* Another user, whom a client speaks for. */
typedef struct
{
  FscSpeakFor whom;
  uint32_t groups[];
} FscClientUser;

/* A thread that receives from, or polls, a socket does so without the client's lock, and meanwhile
 * another may find that the connection is lost. If that one closed the descriptor, its number might
 * be given to a file of the program before the first thread has used it. So whoever uses it counts
 * as a user; losing the connection shuts the socket down, which wakes all users, and the last of
 * them closes it. The count is guarded by the client's lock. */
typedef struct
{
  int fd;
  unsigned users;
  uint64_t generation; /* tells leases of this connection from those of others */
  bool is_speaking;    /* SPEAK_FOR was sent: the WELCOME that counts is the next one */
  bool is_ready;       /* WELCOME has come; before that, the following are not set */
  bool serves_paths;
  uint32_t features; /* FSC_FEATURE_* that are in force */
  size_t packet_max;
  unsigned items_max;
  char name[FSC_NAME_MAX + 1];
  FscTable *table; /* of generations; NULL: nothing can be borrowed */
} FscConnection;

/* Connects to the socket at `path` and sends HELLO, both without waiting. Returns 0, or a negative
 * errno with the reason in *trouble. A receive that waits will end after `patience` nanoseconds
 * with -EAGAIN. -EAGAIN     the service is there, but does not accept quickly enough: try again
 * later; -ENOENT, -ECONNREFUSED  nobody is there; any other   as socket(2) and connect(2). */
int fsc_client_connection_new (const char *path, int64_t patience, FscConnection **connection,
                               FscTrouble *trouble);

/* Says whom this connection is for; another WELCOME will come. Returns 0, -EACCES if the service
 * does not listen to that, or as sendmsg(2). */
int fsc_client_connection_speak_for (FscConnection *connection, const FscWelcome *welcome,
                                     const FscClientUser *user);

/* Takes WELCOME in. Returns 0, or -EPROTO if it makes no sense. */
int fsc_client_connection_welcome (FscConnection *connection, const FscWelcome *welcome);

void fsc_client_connection_ref (FscConnection *connection);

/* The last one closes the socket. */
void fsc_client_connection_unref (FscConnection *connection);
