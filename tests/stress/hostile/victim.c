/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Somebody else, who wants nothing unusual; see hostile.h.
 */
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "libclient/fscache.h"
#include "tests/stress/hostile/hostile.h"

#define PAUSE_US 200

static int
ask (FscacheClient *client, const HostileStage *stage, HostileKind kind, guint i,
     FscacheReply *reply)
{
  g_autofree char *path = NULL;
  FscacheRequest request = { .sharing = FSCACHE_SHARED };
  int result;

  if (kind == HOSTILE_PING)
    return fscache_ping (client, reply);
  if (kind == HOSTILE_LIST)
    {
      ssize_t n = fscache_list (client, NULL, NULL, NULL, reply);

      return n == HOSTILE_FILES || n < 0 ? (int) MIN (n, 0) : -1;
    }
  request.uri = path = g_strdup_printf ("%s/%u", stage->dir, i % HOSTILE_FILES);
  result = fscache_open_with (client, &request, reply);
  if (result >= 0)
    fscache_reply_clear (client, reply);
  return MIN (result, 0);
}

static gint64
get_time (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return time.tv_sec * G_GINT64_CONSTANT (1000000000) + time.tv_nsec;
}

static int
compare (gconstpointer a, gconstpointer b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static double
get_quantile (GArray *sorted, double q)
{
  return sorted->len > 0 ? g_array_index (sorted, double, (guint) (q * (sorted->len - 1))) : 0;
}

void
hostile_suffer (const HostileStage *stage, double seconds, int out)
{
  const struct sched_param first = { .sched_priority = 2 };
  gint64 end = get_time () + (gint64) (seconds * 1e9);
  HostileResult results[HOSTILE_N_KINDS] = { 0 };
  GArray *samples[HOSTILE_N_KINDS];
  FscacheClient *client = NULL;

  sched_setscheduler (0, SCHED_FIFO, &first); /* before it is somebody else; or it is not */
  if (setresgid (HOSTILE_VICTIM, HOSTILE_VICTIM, HOSTILE_VICTIM) < 0
      || setresuid (HOSTILE_VICTIM, HOSTILE_VICTIM, HOSTILE_VICTIM) < 0)
    _exit (2);
  for (guint kind = 0; kind < HOSTILE_N_KINDS; kind++)
    samples[kind] = g_array_new (FALSE, FALSE, sizeof (double));
  if (fscache_connect (stage->socket, FSCACHE_NO_FALLBACK, &client) < 0)
    _exit (2);
  for (guint i = 0; i < 3 * HOSTILE_FILES; i++) /* all is cached and watched then */
    ask (client, stage, HOSTILE_OPEN, i, &(FscacheReply){ 0 });

  for (guint i = 0; get_time () < end; i++)
    for (guint kind = 0; kind < HOSTILE_N_KINDS; kind++)
      {
        HostileResult *result = &results[kind];
        FscacheReply reply = { 0 };
        gint64 start = get_time ();
        int r = ask (client, stage, kind, i, &reply);
        double took = (double) (get_time () - start) / 1000;

        result->n++;
        if (r < 0)
          {
            result->n_failed++;
            g_strlcpy (result->message, reply.message, sizeof result->message);
          }
        g_array_append_val (samples[kind], took);
        g_usleep (PAUSE_US);
      }
  for (guint kind = 0; kind < HOSTILE_N_KINDS; kind++)
    {
      g_array_sort (samples[kind], compare);
      results[kind].p50 = get_quantile (samples[kind], 0.5);
      results[kind].p99 = get_quantile (samples[kind], 0.99);
    }
  _exit (write (out, results, sizeof results) != sizeof results);
}
