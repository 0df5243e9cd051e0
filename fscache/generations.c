/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The generation table; see generations.h.
 */
#include "fscache/generations.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/failure.h"

#define NEVER_NAMED 0
#define RETIRED G_MAXUINT32

struct FscGenerations
{
  int fd;
  guint32 n_slots;
  guint32 n_named; /* no slot from here on was ever named */
  guint32 *words;  /* clients read them: all access is atomic */
};

static gboolean
seal (int fd)
{
  /* F_SEAL_FUTURE_WRITE spares the mapping that is there already. */
  return fcntl (fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
             == 0
         && fchmod (fd, 0444) == 0;
}

FscGenerations *
fsc_generations_new (guint32 n_slots, GError **error)
{
  g_autoptr (FscGenerations) generations = g_new0 (FscGenerations, 1);
  size_t size = (size_t) n_slots * sizeof (guint32);
  void *words;

  generations->n_slots = n_slots;
  generations->fd = memfd_create ("fscache-generations", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (generations->fd < 0 || ftruncate (generations->fd, (off_t) size) < 0)
    {
      fsc_failure_set_errno (error, errno, "cannot make the table of generations");
      return NULL;
    }
  words = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, generations->fd, 0);
  if (words == MAP_FAILED)
    {
      fsc_failure_set_errno (error, errno, "cannot map the table of generations");
      return NULL;
    }
  generations->words = words;
  if (!seal (generations->fd))
    {
      fsc_failure_set_errno (error, errno, "cannot seal the table of generations");
      return NULL;
    }
  return g_steal_pointer (&generations);
}

void
fsc_generations_free (FscGenerations *generations)
{
  if (generations->words != NULL)
    munmap (generations->words, (size_t) generations->n_slots * sizeof (guint32));
  if (generations->fd >= 0)
    close (generations->fd);
  g_free (generations);
}

int
fsc_generations_get_fd (const FscGenerations *generations)
{
  return generations->fd;
}

static guint32
get (const FscGenerations *generations, guint32 slot)
{
  return __atomic_load_n (&generations->words[slot], __ATOMIC_RELAXED);
}

static void
set (FscGenerations *generations, guint32 slot, guint32 generation)
{
  __atomic_store_n (&generations->words[slot], generation, __ATOMIC_RELEASE);
}

gboolean
fsc_generations_is_retired (const FscGenerations *generations, guint32 slot)
{
  return slot < generations->n_slots && get (generations, slot) == RETIRED;
}

guint64
fsc_generations_name (FscGenerations *generations, guint32 slot)
{
  guint32 generation;

  if (slot >= generations->n_slots || fsc_generations_is_retired (generations, slot))
    return 0;
  generation = get (generations, slot);
  if (generation == NEVER_NAMED)
    {
      generation = 1;
      set (generations, slot, generation);
      generations->n_named = MAX (generations->n_named, slot + 1);
    }
  return ((guint64) slot + 1) << 32 | generation;
}

void
fsc_generations_age (FscGenerations *generations, guint32 slot, guint32 by)
{
  guint32 generation;

  if (slot >= generations->n_named)
    return;
  generation = get (generations, slot);
  if (generation != NEVER_NAMED && generation != RETIRED)
    set (generations, slot, generation + MIN (by, RETIRED - generation));
}

void
fsc_generations_end (FscGenerations *generations, guint32 slot)
{
  fsc_generations_age (generations, slot, 1);
}

void
fsc_generations_end_all (FscGenerations *generations)
{
  for (guint32 i = 0; i < generations->n_named; i++)
    fsc_generations_end (generations, i);
}
