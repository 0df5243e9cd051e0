/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The spawner's own process, and what it and the service say to each other: structs over a packet
 * socket, for they are one program. Only spawner.c talks to it.
 *
 * In a service for all users it is what is left of root, and trusts the service no further than it
 * has to. Before it is told to SERVE, it is told which commands there will be, and as whom some of
 * them run. From then on it accepts the clients, and so knows from the kernel who they are; it
 * starts those commands and no others, as those users and no others. (As root has been among them,
 * as anybody: root's clients may speak for others.) It never hears again who may be what.
 */
#pragma once

#include <glib.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/protocol.h"

#define FSC_ORDER_COMMAND_MAX 8192 /* bytes */
#define FSC_ORDER_WORDS_MAX 64

typedef enum
{
  FSC_ORDER_START, /* a command, with the socket that comes along, as a user or the service's own */
  FSC_ORDER_KILL,  /* what was started with this number */
  FSC_ORDER_EXITED,   /* to the service: that has ended */
  FSC_ORDER_ALLOW,    /* this user, or this command, may be asked for */
  FSC_ORDER_SERVE,    /* the listening socket comes along, the user is the service's */
  FSC_ORDER_ACCEPTED, /* to the service: a client, and who it is; without a user: there are too many
                       */
} FscOrderKind;

typedef struct
{
  FscOrderKind what;
  guint32 id;
  int status; /* EXITED: as of waitpid(2); ACCEPTED: the client's process */

  gboolean has_user;
  uid_t uid;
  gid_t gid;
  guint32 n_groups;
  guint32 command_length;

  /* The groups, and then the command: the program's path and its arguments, before it, as for
   * env(1), words NAME=VALUE; each with a zero byte. */
  gid_t payload[FSC_GROUPS_MAX + FSC_ORDER_COMMAND_MAX / sizeof (gid_t)];
} FscOrder;

static inline char *
fsc_order_get_command (const FscOrder *order)
{
  return (char *) (order->payload + order->n_groups);
}

static inline size_t
fsc_order_get_length (const FscOrder *order)
{
  return offsetof (FscOrder, payload) + order->n_groups * sizeof order->payload[0]
         + order->command_length;
}

/* Whether what was received is as long as it says, and its command ends as it should. */
gboolean fsc_order_is_valid (const FscOrder *order, ssize_t length);

/* Spawns until the service goes. Has nothing else open but 0, 1 and 2. */
void fsc_nursery_run (int socket) G_GNUC_NORETURN;
