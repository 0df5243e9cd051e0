/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The generation table of one connection, as the service shares it: mapped for reading. A handle
 * that was given with a name (slot and generation) holds for as long as the word of that slot is
 * that generation.
 *
 * The mapping outlives the connection for as long as handles are kept that are looked up in it.
 * `users` is guarded by the client's lock; the words may be read without.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct
{
  unsigned users;
  uint32_t n_slots;
  const uint32_t *words;
} FscTable;

/* Maps it. Takes the descriptor. Returns NULL if that cannot be done, or if it could be cut while
 * it is mapped. */
FscTable *fsc_client_table_new (int fd);
void fsc_client_table_ref (FscTable *table);
void fsc_client_table_unref (FscTable *table);

/* Finds the word that a name of the service's is about, and what it must be. Returns false if the
 * name is none. */
bool fsc_client_table_find (const FscTable *table, uint64_t name, const uint32_t **word,
                            uint32_t *generation);
