/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A process that does one thing after the other, drawn by weight; see soak.h.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/stress/soak/soak.h"

/* What a request may end with because an opener was killed under it, or because the service is at
 * its limits. */
static const struct
{
  FscacheCode code;
  int error; /* 0: any */
} of_faults[] = {
  { FSCACHE_ERROR_OPENER_FAILED, 0 },
  { FSCACHE_ERROR_TIMED_OUT, 0 },
  { FSCACHE_ERROR_LIMIT, 0 },
  { FSCACHE_ERROR_UNAVAILABLE, 0 },
};

int
soak_pick (SoakWorker *worker, int n)
{
  return g_rand_int_range (worker->random, 0, n);
}

char *
soak_path (const Soak *soak, const char *kind, int n)
{
  return g_strdup_printf ("%s/%s/%d", soak->dir, kind, n);
}

static gboolean
is_among (int error, const int *expected)
{
  for (; expected != NULL && *expected != 0; expected++)
    if (*expected == error)
      return TRUE;
  return FALSE;
}

static gboolean
is_of_fault (FscacheCode code, int error)
{
  for (guint i = 0; i < G_N_ELEMENTS (of_faults); i++)
    if (of_faults[i].code == code && (of_faults[i].error == 0 || of_faults[i].error == error))
      return TRUE;
  return FALSE;
}

static void
complain (SoakWorker *worker, const char *operation, const char *message)
{
  if (worker->is_strict)
    {
      worker->has_failed = TRUE;
      return;
    }
  atomic_fetch_add (&worker->soak->tally->unexpected, 1);
  printf ("UNEXPECTED %s: %s\n", operation, message);
  fflush (stdout);
}

gboolean
soak_count (SoakWorker *worker, const char *operation, const FscacheReply *reply,
            const int *expected)
{
  soak_tally_add (worker->soak->tally, operation, (int) reply->code, reply->error);
  if (reply->code == FSCACHE_OK)
    return TRUE;
  if (!is_among (reply->error, expected)
      && (worker->is_strict || !is_of_fault (reply->code, reply->error)))
    complain (worker, operation, reply->message);
  return FALSE;
}

gboolean
soak_count_errno (SoakWorker *worker, const char *operation, int error, const int *expected)
{
  soak_tally_add (worker->soak->tally, operation, 0, error);
  if (error != 0 && !is_among (error, expected))
    complain (worker, operation, g_strerror (error));
  return error == 0;
}

void
soak_wrong (SoakWorker *worker, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list arguments;

  va_start (arguments, format);
  text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  atomic_fetch_add (&worker->soak->tally->wrong, 1);
  printf ("WRONG %s\n", text);
  fflush (stdout);
}

void
soak_check_content (SoakWorker *worker, int fd, const char *prefix)
{
  char content[64] = "";
  ssize_t length = pread (fd, content, sizeof content - 1, 0);

  /* "stable 1" is no beginning of "stable 12". */
  if (length < 0 || !g_str_has_prefix (content, prefix)
      || g_ascii_isdigit (content[strlen (prefix)]))
    soak_wrong (worker, "\"%s\" was expected, and it is \"%s\"%s", prefix, content,
                length < 0 ? g_strerror (errno) : "");
}

/* Drawing */

static const SoakOperation *const all[]
    = { soak_file_operations, soak_other_operations, soak_admin_operations };

static const SoakOperation *
draw_from (SoakWorker *worker, const SoakOperation *const *tables, guint n)
{
  guint sum = 0;
  int left;

  for (guint i = 0; i < n; i++)
    for (const SoakOperation *operation = tables[i]; operation->name != NULL; operation++)
      sum += operation->weight;
  left = soak_pick (worker, (int) sum);
  for (guint i = 0; i < n; i++)
    for (const SoakOperation *operation = tables[i]; operation->name != NULL; operation++)
      {
        left -= (int) operation->weight;
        if (left < 0)
          return operation;
      }
  g_assert_not_reached ();
}

static const SoakOperation *
draw (SoakWorker *worker)
{
  const SoakOperation *faults = soak_faults;

  if (g_rand_double_range (worker->random, 0, 100) >= worker->soak->fault_percent)
    return draw_from (worker, all, G_N_ELEMENTS (all));
  atomic_fetch_add (&worker->soak->tally->faults, 1);
  return draw_from (worker, &faults, 1);
}

gboolean
soak_worker_check (SoakWorker *worker)
{
  worker->has_failed = FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    for (const SoakOperation *operation = all[i]; operation->name != NULL; operation++)
      operation->run (worker);
  return !worker->has_failed;
}

void
soak_worker_run (const Soak *soak, guint number, guint32 seed)
{
  SoakWorker worker = { .soak = soak, .number = number, .random = g_rand_new_with_seed (seed) };
  guint n = 0;

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  while (!soak->tally->is_ending)
    {
      if (worker.client == NULL)
        {
          int r
              = fscache_connect (soak->stage.service->socket, FSCACHE_NO_FALLBACK, &worker.client);

          soak_count_errno (&worker, "connect", -r, NULL);
        }
      draw (&worker)->run (&worker);
      if (++n % 5000 == 0) /* and what it keeps for borrowing ends with it */
        g_clear_pointer (&worker.client, fscache_disconnect);
    }
  fscache_disconnect (worker.client);
  g_rand_free (worker.random);
  _exit (0);
}
