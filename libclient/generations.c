/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The generation table, mapped; see generations.h.
 */
#include "libclient/generations.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint32_t *
map (int fd, uint32_t *n_slots)
{
  struct stat status;
  int seals = fcntl (fd, F_GET_SEALS);
  void *words;

  /* If it could be made shorter, a load from it might end this process. */
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat (fd, &status) < 0
      || status.st_size < (off_t) sizeof (uint32_t)
      || status.st_size / sizeof (uint32_t) > UINT32_MAX)
    return NULL;
  *n_slots = (uint32_t) (status.st_size / sizeof (uint32_t));
  words = mmap (NULL, *n_slots * sizeof (uint32_t), PROT_READ, MAP_SHARED, fd, 0);
  return words == MAP_FAILED ? NULL : words;
}

FscTable *
fsc_client_table_new (int fd)
{
  FscTable *table = malloc (sizeof *table);

  if (table != NULL)
    {
      table->users = 1;
      table->words = map (fd, &table->n_slots);
      if (table->words == NULL)
        {
          free (table);
          table = NULL;
        }
    }
  close (fd);
  return table;
}

void
fsc_client_table_ref (FscTable *table)
{
  table->users++;
}

void
fsc_client_table_unref (FscTable *table)
{
  if (--table->users > 0)
    return;
  munmap ((void *) table->words, table->n_slots * sizeof (uint32_t));
  free (table);
}

bool
fsc_client_table_find (const FscTable *table, uint64_t name, const uint32_t **word,
                       uint32_t *generation)
{
  uint64_t slot = name >> 32;

  *generation = (uint32_t) name;
  if (slot == 0 || slot > table->n_slots || *generation == 0)
    return false;
  *word = &table->words[slot - 1];
  return true;
}
