/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Counting how requests end, for all processes together; see soak.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/stress/soak/soak.h"

SoakTally *
soak_tally_new (void)
{
  SoakTally *tally
      = mmap (NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  if (tally == MAP_FAILED)
    g_error ("no shared memory: %s", g_strerror (errno));
  return tally;
}

static gboolean
is_outcome (const SoakOutcome *outcome, const char *operation, int code, int error)
{
  return outcome->code == code && outcome->error == error
         && g_str_equal (outcome->operation, operation);
}

/* Places are filled from the first on, and never emptied. A worker may be killed in here: then the
 * lock is free again after a moment, and at worst one count is lost. */
static SoakOutcome *
find_or_add (SoakTally *tally, const char *operation, int code, int error)
{
  SoakOutcome *outcome = tally->outcomes;

  for (int i = 0; atomic_exchange (&tally->lock, 1) != 0 && i < 1000; i++)
    g_usleep (10);
  while (outcome < tally->outcomes + SOAK_KINDS - 1 && outcome->operation != NULL
         && !is_outcome (outcome, operation, code, error))
    outcome++;
  if (outcome->operation == NULL)
    {
      outcome->code = code;
      outcome->error = error;
      outcome->operation = operation;
    }
  atomic_store (&tally->lock, 0);
  return outcome;
}

void
soak_tally_add (SoakTally *tally, const char *operation, int code, int error)
{
  SoakOutcome *outcome = tally->outcomes;

  atomic_fetch_add (&tally->requests, 1);
  while (outcome < tally->outcomes + SOAK_KINDS && outcome->operation != NULL
         && !is_outcome (outcome, operation, code, error))
    outcome++;
  if (outcome == tally->outcomes + SOAK_KINDS || outcome->operation == NULL)
    outcome = find_or_add (tally, operation, code, error);
  atomic_fetch_add (&outcome->n, 1);
}

static void
print_operation (SoakTally *tally, const char *operation)
{
  const char *separator = "";

  printf ("%s: ", operation);
  for (guint i = 0; i < SOAK_KINDS && tally->outcomes[i].operation != NULL; i++)
    {
      const SoakOutcome *outcome = &tally->outcomes[i];
      const char *error = outcome->error != 0 ? strerrorname_np (outcome->error) : NULL;

      if (!g_str_equal (outcome->operation, operation))
        continue;
      printf ("%s%s%s%s %llu", separator,
              outcome->code == 0 && error != NULL ? "" : fscache_code_name (outcome->code),
              outcome->code != 0 && error != NULL ? " " : "", error != NULL ? error : "",
              (unsigned long long) outcome->n);
      separator = ", ";
    }
  printf ("\n");
}

void
soak_tally_print (SoakTally *tally)
{
  for (guint i = 0; i < SOAK_KINDS && tally->outcomes[i].operation != NULL; i++)
    {
      guint first = 0;

      while (!g_str_equal (tally->outcomes[first].operation, tally->outcomes[i].operation))
        first++;
      if (first == i)
        print_operation (tally, tally->outcomes[i].operation);
    }
}
