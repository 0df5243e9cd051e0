/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A service for tests of the client: a thread that speaks the protocol, opens each file itself and
 * keeps nothing, and misbehaves on request. It lives in the process of the test, so that the test's
 * count of open descriptors covers both ends.
 */
#pragma once

#include <glib.h>

#include "protocol/codec.h"

typedef struct _FakeService FakeService;

/* What it is to do. Set before fake_service_start(), or under fake_service_lock(). */
typedef struct
{
  gboolean serves_nothing; /* no FSC_SERVES_PATHS */
  gboolean answers_not_served;
  unsigned items_max;     /* of WELCOME; 0: FSC_ITEMS_MAX */
  FscCode refusal;        /* answer HELLO with this ERROR */
  gboolean is_mute;       /* accept, and answer nothing at all */
  gboolean is_paused;     /* do not even read */
  int to_close;           /* so many OPENs: close the connection instead of an answer */
  int to_close_halfway;   /* so many: close it after half of the results */
  int to_garble;          /* so many: answer with something malformed */
  unsigned garbage;       /* which kind of it */
  int to_confuse;         /* so many: answer twice, and an unknown serial before that */
  unsigned close_one_in;  /* at random: close instead of one in so many answers */
  int canned_fd;          /* give a duplicate of this instead of opening; -1: open */
  gboolean has_table;     /* of generations; each file has a slot, until there is none left */
  uint32_t lifetime_ms;   /* of what is given with the name of a slot */
  gboolean bad_table;     /* the descriptor is of one that may be cut */
  gboolean has_events;    /* takes WATCH, and answers with what there is */
  gboolean knows_content; /* and progress */
  gboolean takes_puts;    /* as 77, and what it has been sent is of no use to anybody */
  int to_close_put;       /* so many: close the connection instead of an answer */
  int to_give_twice;      /* so many: ask for the descriptor once more */
  FscCode watch_refusal;  /* answer WATCH with this ERROR */
  gboolean is_watch_mute; /* answer it not at all */
} FakeOrders;

#define FAKE_SLOTS 1024
#define FAKE_DIGEST 0x11

/* What it has seen. */
typedef struct
{
  unsigned connections, opens, items, cancels, give_backs, pings;
  unsigned unanswered; /* packets while it was mute */
  uint64_t last_lease; /* given back */
  unsigned watches, unwatches;
  unsigned puts;
  ino_t last_put;      /* what was sent */
  uint32_t last_watch; /* its serial */
  uint32_t last_umask, last_mode, last_options, last_flags;
  gboolean had_root; /* the last HELLO came with a descriptor */
} FakeSeen;

#define FAKE_GARBAGE_KINDS 11

FakeService *fake_service_new (const char *path);
void fake_service_free (FakeService *fake);

/* Listens, or stops as a service that is killed does, leaving its socket file. */
void fake_service_start (FakeService *fake);
void fake_service_stop (FakeService *fake);

/* What was given of this file does not hold any more. Does nothing while it is stopped. */
void fake_service_end_generation (FakeService *fake, const char *path);

FakeOrders *fake_service_lock (FakeService *fake);
void fake_service_unlock (FakeService *fake);
FakeSeen fake_service_get_seen (FakeService *fake);

/* Sends an EVENT, on the connection on which the last WATCH came. `fd` is borrowed; -1: none. */
void fake_service_send_event (FakeService *fake, uint32_t serial, FscEvent event, FscResult result,
                              int fd);

/* URIs that it knows besides files:
 *   test:hang   is never answered, but by CANCELLED after CANCEL
 *   test:lease  /dev/null, exclusive
 *   test:limit  an item that fails with a text
 *   test:error  the whole OPEN is refused with a text
 *   test:content  a memfd of four bytes; its digest is FAKE_DIGEST, 32 times
 *   test:slow   30 of 100 bytes are done, and then it is as test:hang
 * Anything else is of an unknown scheme. */
