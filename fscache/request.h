/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a client asks for. Inside of a connection: this is for connection.c, request.c (opening) and
 * admin.c (the rest), and nobody else.
 *
 * Each take_ function reads the body of one message. It returns FALSE if that is malformed, and
 * then has done nothing; what is refused is answered, and TRUE.
 */
#pragma once

#include <sys/socket.h>

#include "fscache/connection.h"
#include "fscache/outbox.h"

typedef struct FscRequest FscRequest;

/* All that a user's service opens, it opens as that user. */
#define OWN_CREDENTIAL 0

/* An OPEN, while some of its items wait. */
struct FscRequest
{
  GList link;
  FscConnection *connection;
  guint32 serial;
  guint n_items;
  guint n_unanswered;
  FscWaiter *waiters[];
};

struct FscConnection
{
  FscPoll poll;
  FscServer *server;
  GList link;   /* in the server's list */
  gint64 since; /* when it came */
  gboolean is_greeted;
  gboolean is_closed;
  gboolean serves_paths;
  struct ucred peer;
  guint32 events; /* that the loop waits for */
  guint n_unanswered;
  GQueue requests;
  GArray *leases; /* guint64 */
  FscOutbox outbox;
};

void fsc_connection_send_packet (FscConnection *connection, FscWriter *writer, FscOpcode opcode,
                                 guint32 serial);
void fsc_connection_send_error (FscConnection *connection, guint32 serial, FscCode code, int error,
                                const char *format, ...) G_GNUC_PRINTF (5, 6);
void fsc_connection_send_done (FscConnection *connection, guint32 serial, guint64 count);

/* Whoever makes a request calls fsc_request_answered() once more than it has items, when all are
 * begun. The last answer frees it. */
FscRequest *fsc_request_new (FscConnection *connection, guint32 serial, guint n_items);
void fsc_request_answered (FscRequest *request);

/* Ends what has not been answered, with an answer or without. */
void fsc_request_cancel (FscRequest *request, gboolean is_answered);

gboolean fsc_request_take_open (FscConnection *connection, guint32 serial, FscReader *reader);
gboolean fsc_request_take_cancel (FscConnection *connection, FscReader *reader);
gboolean fsc_request_take_give_back (FscConnection *connection, FscReader *reader);

gboolean fsc_admin_take_drop (FscConnection *connection, guint32 serial, FscReader *reader);
gboolean fsc_admin_take_pin (FscConnection *connection, guint32 serial, FscReader *reader);
gboolean fsc_admin_take_info (FscConnection *connection, guint32 serial, FscReader *reader);
gboolean fsc_admin_take_list (FscConnection *connection, guint32 serial, FscReader *reader);
gboolean fsc_admin_take_status (FscConnection *connection, guint32 serial, FscReader *reader);
