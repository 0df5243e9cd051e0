/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The replies of one client that wait to be sent: packets, and answers that are put together into
 * packets with their descriptors when the time comes. Answers with a handle of the service's own go
 * out from here; those with a handle that is held are sent by their holder.
 */
#pragma once

#include <glib.h>

#include "fscache/cache.h"
#include "fscache/server.h"

typedef struct
{
  FscServer *server;
  gpointer owner; /* the connection */
  GDestroyNotify free_owner;
  int socket; /* borrowed; -1 once closed */
  GQueue parcels;
  GList unread_link; /* in the server's list while n_unread is not 0 */
  guint n_unread;    /* descriptors sent and not known to be read */
  guint n_handing;   /* packets that holders are sending */
  GList dirty_link;  /* in the server's list while is_dirty */
  gboolean is_dirty;
  gint64 blocked_since; /* 0: not blocked */
  gboolean is_starved;
} FscOutbox;

void fsc_outbox_init (FscOutbox *outbox, FscServer *server, gpointer owner, int socket,
                      GDestroyNotify free_owner);

/* Forgets all that waits. Calls free_owner once no holder is sending any more. */
void fsc_outbox_close (FscOutbox *outbox);

/* The bytes are copied. */
void fsc_outbox_push_packet (FscOutbox *outbox, const void *packet, size_t length);

/* `n_expected`, with this one, are answers to the same request that may follow at once. */
void fsc_outbox_push_answer (FscOutbox *outbox, guint32 serial, guint index,
                             const FscAnswer *answer, guint n_expected);

/* Sends as much as goes; while blocked, only with `force`. Returns FALSE if the client is gone. */
gboolean fsc_outbox_flush (FscOutbox *outbox, gboolean force);

/* Whether something waits because this user has too many descriptors in flight (ETOOMANYREFS). It
 * is tried again after a moment. */
gboolean fsc_outbox_is_starved (const FscOutbox *outbox);

/* Whether something waits, for that or for the client to read. */
gboolean fsc_outbox_is_blocked (const FscOutbox *outbox);
gint64 fsc_outbox_blocked_since (const FscOutbox *outbox);
