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
#include "fscache/shares.h"

/* The EVENTs of one WATCH; lives in whoever watches, all zero at first. While the client has not
 * read the last one, or it cannot be sent, there is one that waits, and it always is the newest. */
typedef struct
{
  gpointer waiting; /* the parcel; NULL: none */
  guint64 sent_at;  /* the outbox's count of readings when one was sent; 0: never */
} FscOutboxEvents;

typedef struct
{
  FscServer *server;
  gpointer owner; /* the connection */
  GDestroyNotify free_owner;
  FscStake *stake; /* its user's; borrowed: the owner has it as long as that is */
  int socket;      /* borrowed; -1 once closed */
  GQueue parcels;
  GQueue held_back;   /* EVENTs of those of whom the client has not read the last one */
  guint64 n_readings; /* how often it was found that the client has read all, and one */
  GList unread_link;  /* in the stake's list while n_unread is not 0 */
  guint n_unread;     /* descriptors sent and not known to be read */
  guint n_handing;    /* packets that holders are sending */
  guint n_handed;     /* their descriptors; part of n_unread */
  GList dirty_link;   /* in the stake's list while is_dirty */
  gboolean is_dirty;
  gint64 blocked_since; /* 0: not blocked */
  gboolean is_starved;
  gboolean names_generations; /* the client has asked for that, */
  gboolean tells_content;     /* and for this */
  gboolean has_sent_table;    /* and is not known to have read it */
} FscOutbox;

void fsc_outbox_init (FscOutbox *outbox, FscServer *server, gpointer owner, FscStake *stake,
                      int socket, GDestroyNotify free_owner);

/* Forgets all that waits. Calls free_owner once no holder is sending any more. */
void fsc_outbox_close (FscOutbox *outbox);

/* The bytes are copied. The descriptor, or -1, is taken, or must stay open for as long as the
 * outbox. */
void fsc_outbox_push_packet (FscOutbox *outbox, const void *packet, size_t length, int fd,
                             gboolean takes_fd);

/* `n_expected`, with this one, are answers to the same request that may follow at once. */
void fsc_outbox_push_answer (FscOutbox *outbox, guint32 serial, guint index,
                             const FscAnswer *answer, guint n_expected);

/* What waits with a handle on one of these mounts (of FscMount) fails instead. Returns how many;
 * those who hold some of them are added to `holders`. `name` is for people. */
guint fsc_outbox_release (FscOutbox *outbox, const GArray *mounts, GPtrArray *holders,
                          const char *name);

/* The newest state of what is watched. Returns TRUE if it replaces one that was not sent. */
gboolean fsc_outbox_push_event (FscOutbox *outbox, FscOutboxEvents *events, guint32 serial,
                                FscReason reason, const FscAnswer *answer);

/* It is not watched any more: what waits is forgotten. */
void fsc_outbox_end_events (FscOutbox *outbox, FscOutboxEvents *events);

/* The client has sent something: it will have read the descriptor that came with WELCOME. */
void fsc_outbox_client_speaks (FscOutbox *outbox);

/* Sends as much as goes; while blocked, only with `force`. Returns FALSE if the client is gone. */
gboolean fsc_outbox_flush (FscOutbox *outbox, gboolean force);

/* Whether something waits because this user has too many descriptors in flight (ETOOMANYREFS). It
 * is tried again after a moment. */
gboolean fsc_outbox_is_starved (const FscOutbox *outbox);

/* Whether something waits, for that or for the client to read. */
gboolean fsc_outbox_is_blocked (const FscOutbox *outbox);
gint64 fsc_outbox_blocked_since (const FscOutbox *outbox);
