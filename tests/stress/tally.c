/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Counting; see tally.h.
 */
#include "tests/stress/tally.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

DiffTally *
diff_tally_new (void)
{
  DiffTally *tally
      = mmap (NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  if (tally == MAP_FAILED)
    g_error ("no shared memory: %s", g_strerror (errno));
  return tally;
}

void
diff_tally_free (DiffTally *tally)
{
  munmap (tally, sizeof *tally);
}

static void
add (atomic_ullong *counter)
{
  atomic_fetch_add_explicit (counter, 1, memory_order_relaxed);
}

void
diff_tally_add_step (DiffTally *tally, const DiffStep *step, int result)
{
  add (result < 0 ? &tally->steps_failed[step->kind] : &tally->steps_done[step->kind]);
}

void
diff_tally_add_answer (DiffTally *tally, const DiffAnswer *expected, const DiffAnswer *given)
{
  add (&tally->comparisons);
  add (&tally->errors[MIN ((guint) expected->error, G_N_ELEMENTS (tally->errors) - 1)]);
  if (expected->code == FSCACHE_ERROR_NOT_SERVED)
    add (&tally->not_served);
  if (given->fd >= 0)
    {
      add (&tally->sources[MIN (given->source, FSCACHE_SOURCE_LOCAL)]);
      if (given->source == FSCACHE_SOURCE_CACHE)
        add (&tally->coherences[given->coherence % G_N_ELEMENTS (tally->coherences)]);
    }
}

static void
print_steps (DiffTally *tally)
{
  printf ("steps (done/failed):");
  for (guint kind = 0; kind < DIFF_N_KINDS; kind++)
    if (tally->steps_done[kind] + tally->steps_failed[kind] > 0)
      printf (" %s %llu/%llu", diff_kind_get_name (kind), tally->steps_done[kind],
              tally->steps_failed[kind]);
  printf ("\nanswers:");
  for (guint i = 0; i < G_N_ELEMENTS (tally->errors); i++)
    if (tally->errors[i] > 0)
      printf (" %s %llu", i == 0 ? "descriptor" : strerrorname_np ((int) i), tally->errors[i]);
  printf (" (not served: %llu)\nsources:", tally->not_served);
  for (guint i = 0; i < G_N_ELEMENTS (tally->sources); i++)
    if (tally->sources[i] > 0)
      printf (" %s %llu", fscache_source_name (i), tally->sources[i]);
  printf ("\ncoherence of hits:");
  for (guint i = 0; i < G_N_ELEMENTS (tally->coherences); i++)
    if (tally->coherences[i] > 0)
      printf (" %s %llu", fscache_coherence_name (i), tally->coherences[i]);
}

void
diff_tally_print (DiffTally *tally)
{
  double seconds = (double) tally->busy_us / 1e6;
  double rate = (double) tally->comparisons / MAX (seconds, 0.001);

  print_steps (tally);
  printf ("\ncomparisons: %llu in %.1f s (%.0f/s, a million in %.0f s), %llu discarded\n",
          tally->comparisons, seconds, rate, rate > 0 ? 1e6 / rate : 0, tally->discarded);
  printf ("trials: %u\ntroubles: %u\ndifferences: %u\n", tally->trials, tally->troubles,
          tally->differences);
}
