/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The generation table of a credential: memory that clients see and only the service writes. Each
 * slot, which is that of an entry, has a number that tells the handles that were given from it
 * apart. A handle that is given names slot and generation; when it does not hold any more, the
 * generation of the slot ends, and never comes back. So a client that keeps the handle knows by one
 * load whether it still holds.
 *
 * 0 is the generation of a slot that was never named, and no handle's. The last one that 32 bits
 * can say is no handle's either: a slot that has come there is retired, for good.
 *
 * The memory is a memfd. It is mapped here, and then sealed against any other writer: what clients
 * are sent can neither be written nor mapped writable nor cut, whoever they are and however they
 * open it again.
 */
#pragma once

#include <glib.h>

typedef struct FscGenerations FscGenerations;

FscGenerations *fsc_generations_new (guint32 n_slots, GError **error);
void fsc_generations_free (FscGenerations *generations);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscGenerations, fsc_generations_free)

/* The memfd, to be sent to clients: borrowed. */
int fsc_generations_get_fd (const FscGenerations *generations);

/* What a handle from this slot is to name now: slot + 1 in the upper 32 bits, the generation in the
 * lower; 0 if it cannot, because the slot lies beyond the table or is retired. */
guint64 fsc_generations_name (FscGenerations *generations, guint32 slot);

/* What was given from this slot does not hold any more. */
void fsc_generations_end (FscGenerations *generations, guint32 slot);

/* The same for all slots. */
void fsc_generations_end_all (FscGenerations *generations);

gboolean fsc_generations_is_retired (const FscGenerations *generations, guint32 slot);

/* For tests, which cannot wait for it: as if so many generations of the slot had ended. */
void fsc_generations_age (FscGenerations *generations, guint32 slot, guint32 by);
