/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The state of a service as bytes: what another one needs, beside the descriptors, to go on in its
 * place. Limits that were set, users, and entries. Pure: no I/O, and no descriptor.
 *
 * The reader trusts nothing. What it gives has been checked as a whole: version, length, checksum;
 * each number that has a range is in it, each entry is of a user that is there, each URI is
 * canonical. A checksum tells of damage, not of malice, so all else is checked as if there were
 * none. Another version is refused: it is a cache that is lost then, and not data.
 *
 * What it says of a resource was true when it was written. Whoever restores an entry has it checked
 * at the source before it is given to anybody.
 */
#pragma once

#include <glib.h>

#include "fscache/spawner.h"
#include "protocol/codec.h"

#define FSC_STATE_VERSION 1

/* A limit as fsc_settings_set() takes it. */
typedef FscCounter FscStateSetting;

typedef struct
{
  FscBytes uri; /* canonical */
  FscBytes validator;
  guint32 user; /* index among the users */
  guint32 flags;
  guint32 ttl_ms;
  guint32 cost_us;
  guint32 mount_id;
  guint64 hits;
  guint64 age_ms;  /* since it was opened */
  guint64 left_ms; /* of what was put: until it ends; 0: it does not */
  guint64 held;    /* its holder's number for it, */
  guint64 holder;  /* and the holder; 0: its descriptor comes along, in the order of the entries */
  FscKind kind;
  FscCoherence coherence;
  FscSharing most_sharing;
  gboolean is_pinned;
  gboolean is_put;
  FscContentInfo content;
} FscStateEntry;

typedef struct
{
  GArray *settings; /* of FscStateSetting */
  GArray *users;    /* of FscUser, whose groups are the state's */
  GArray *entries;  /* of FscStateEntry */
  GBytes *bytes;    /* or NULL: what all strings point into */
} FscState;

/* Strings of what is added are borrowed until it is written; groups are copied. */
FscState *fsc_state_new (void);
void fsc_state_free (FscState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscState, fsc_state_free)

void fsc_state_add_user (FscState *state, const FscUser *user);

/* What a reader would refuse must not be in it. */
GBytes *fsc_state_write (const FscState *state);

/* Takes a reference of the bytes. Returns NULL, with a sentence, if they are not a state. */
FscState *fsc_state_read (GBytes *bytes, GError **error);
