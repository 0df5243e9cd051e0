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
#include "fscache/shares.h"

typedef struct FscRequest FscRequest;

/* An OPEN, while some of its items wait. */
struct FscRequest
{
  GList link;
  FscConnection *connection;
  guint32 serial;
  guint n_items;
  guint n_unanswered;
  guint n_pieces; /* its size: charged beside its items */
  FscWaiter *waiters[];
};

/* An exclusive handle that a client has, and the record of it. */
typedef struct
{
  guint64 id;
  FscGift *gift;
} FscLease;

struct FscConnection
{
  FscPoll poll;
  FscServer *server;
  guint64 number;   /* is used only once */
  char *name;       /* as the client has told it, or NULL */
  GList link;       /* in the server's list */
  FscStake *stake;  /* its user's; a reference */
  GList pause_link; /* in the stake's list while is_paused */
  gboolean is_paused;
  gboolean is_charged; /* it is within its user's share; else it only greets, to be told */
  gint64 since;        /* when it came */
  gboolean is_greeted;
  gboolean refuses_fds; /* it is certain that nothing in its socket has descriptors */
  gboolean is_closed;
  gboolean serves_paths;
  gboolean is_sandboxed; /* as far as that was asked: */
  gboolean has_asked_whether_sandboxed;
  struct ucred peer;
  FscCredential *credential; /* as whom it is served */
  gboolean has_asked;        /* for anything but to speak for another */
  gboolean is_speaking;      /* it does */
  unsigned version;
  guint32 features; /* that are in force */
  guint32 events;   /* that the loop waits for */
  guint n_unanswered;
  GQueue requests;
  GHashTable *watches; /* serial -> what follow.c has of it; NULL: none */
  GArray *leases;      /* FscLease */
  FscAccount account;
  FscOutbox outbox;
};

/* The rule that refuses a URI to this client, or NULL. */
const FscRule *fsc_connection_find_refusal (FscConnection *connection, FscBytes uri);

/* Whether a rule refuses it; then the client is told: "cannot VERB ...". */
gboolean fsc_connection_is_refused (FscConnection *connection, guint32 serial, const char *verb,
                                    FscBytes uri);

void fsc_connection_send_packet (FscConnection *connection, FscWriter *writer, FscOpcode opcode,
                                 guint32 serial);

/* The same with a descriptor, which must stay open for as long as the connection. */
void fsc_connection_send_packet_with (FscConnection *connection, FscWriter *writer,
                                      FscOpcode opcode, guint32 serial, int fd);
/* The same with a descriptor that is taken. */
void fsc_connection_send_packet_taking (FscConnection *connection, FscWriter *writer,
                                        FscOpcode opcode, guint32 serial, int fd);
void fsc_connection_send_error (FscConnection *connection, guint32 serial, FscCode code, int error,
                                const char *format, ...) G_GNUC_PRINTF (5, 6);
void fsc_connection_send_done (FscConnection *connection, guint32 serial, guint64 count);

/* Whether a client may ask for such an item: where mounts are and how far a walk has come, it has
 * not to say, and it must have the features of its options. */
gboolean fsc_connection_may_ask (const FscConnection *connection, const FscItem *item);

/* The client is given the handle of an answer. */
void fsc_connection_note_gift (FscConnection *connection, const FscAnswer *answer);

/* A lease ends, if the client has it; flags as of GIVE_BACK. */
void fsc_connection_end_lease (FscConnection *connection, guint64 lease, guint32 flags);

/* Something, or so much, was asked for that is not answered; and has been. */
static inline void
fsc_connection_expect (FscConnection *connection, guint n)
{
  connection->n_unanswered += n;
  fsc_stake_charge (connection->stake, FSC_SHARE_REQUESTS, n);
}

static inline void
fsc_connection_answered (FscConnection *connection, guint n)
{
  connection->n_unanswered -= n;
  fsc_stake_discharge (connection->stake, FSC_SHARE_REQUESTS, n);
}

/* Whoever makes a request calls fsc_request_answered() once more than it has items, when all are
 * begun. The last answer frees it. `length` is that of what it says, in bytes. */
FscRequest *fsc_request_new (FscConnection *connection, guint32 serial, guint n_items,
                             size_t length);
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
gboolean fsc_admin_take_holders (FscConnection *connection, guint32 serial, FscReader *reader);
gboolean fsc_admin_take_status (FscConnection *connection, guint32 serial, FscReader *reader);
gboolean fsc_admin_take_set (FscConnection *connection, guint32 serial, FscReader *reader);
