/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A client of fscached; see client.h.
 */
#include "tests/bench/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define BATCH 253
#define WATCH_SECONDS 5 /* without one more entry that is watched */

static void
free_client (void *data)
{
  BenchClient *client = data;

  fscache_disconnect (client->client);
  if (client->mounts >= 0)
    close (client->mounts);
  for (unsigned i = 0; i < client->n; i++)
    g_free ((char *) client->requests[i].uri);
  g_free (client->requests);
  g_free (client->replies);
  g_free (client);
}

BenchClient *
bench_client_new_for_paths (Bench *bench, BenchService *service, const char *const *paths,
                            unsigned n, const FscacheRequest *how, GError **error)
{
  BenchClient *client = g_new0 (BenchClient, 1);

  client->n = n;
  client->mounts = -1;
  client->requests = g_new (FscacheRequest, n);
  client->replies = g_new0 (FscacheReply, MIN (n, BATCH));
  for (unsigned i = 0; i < n; i++)
    {
      client->requests[i] = *how;
      client->requests[i].uri = g_strdup (paths[i]);
    }
  bench_defer (bench, free_client, client);

  int result = fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &client->client);

  if (result == 0)
    return client;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "cannot connect to fscached: %s",
               g_strerror (-result));
  return NULL;
}

BenchClient *
bench_client_new (Bench *bench, BenchService *service, const char *set, unsigned n,
                  const FscacheRequest *how, GError **error)
{
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);

  if (!bench_make_files (bench, set, n, error))
    return NULL;
  for (unsigned i = 0; i < n; i++)
    g_ptr_array_add (paths, bench_get_file (bench, set, i));

  BenchClient *client = bench_client_new_for_paths (
      bench, service, (const char *const *) paths->pdata, n, how, error);

  for (unsigned i = 0; client != NULL && i < n; i += BATCH)
    if (!bench_client_open_many (client, i, MIN (BATCH, n - i), FSCACHE_SOURCE_NONE, error))
      return NULL;
  return client;
}

/* Since the last time. */
static bool
have_mounts_changed (const BenchClient *client)
{
  struct pollfd poll_fd = { .fd = client->mounts, .events = POLLPRI };

  return client->mounts >= 0 && poll (&poll_fd, 1, 0) > 0;
}

/* SOURCE_NONE stands for any source. */
static bool
check (const BenchClient *client, const FscacheRequest *request, const FscacheReply *reply,
       FscacheSource source, GError **error)
{
  bool is_coherent
      = client->coherence == FSCACHE_COHERENCE_UNCACHED || client->coherence == reply->coherence;

  if (reply->fd >= 0 && reply->sharing == request->sharing && is_coherent
      && (source == FSCACHE_SOURCE_NONE || reply->source == source))
    return true;

  if (reply->fd < 0)
    g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s", reply->message);
  else if (!is_coherent)
    g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s: the answer is %s, not %s",
                 request->uri, fscache_coherence_name (reply->coherence),
                 fscache_coherence_name (client->coherence));
  else
    g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED,
                 "%s: the answer is %s and %s, not %s and %s", request->uri,
                 fscache_sharing_name (reply->sharing), fscache_source_name (reply->source),
                 fscache_sharing_name (request->sharing), fscache_source_name (source));
  return false;
}

static void
finish (BenchClient *client, FscacheReply *reply)
{
  if (reply->lease != 0)
    fscache_give_back (client->client, reply);
  else if (reply->fd >= 0)
    close (reply->fd);
}

bool
bench_client_excuse (BenchClient *client, GError **error)
{
  if (client->coherence != FSCACHE_COHERENCE_WATCHED || !have_mounts_changed (client))
    return false;

  g_clear_error (error);
  return bench_client_watch (client, error);
}

bool
bench_client_open (BenchClient *client, unsigned index, FscacheSource source, GError **error)
{
  FscacheReply *reply = client->replies;

  fscache_open_with (client->client, &client->requests[index], reply);

  bool is_right = check (client, &client->requests[index], reply, source, error);

  finish (client, reply);
  return is_right || bench_client_excuse (client, error);
}

static bool
get_many (BenchClient *client, unsigned first, unsigned n, FscacheSource source, GError **error)
{
  bool is_right = true;
  int result = fscache_open_many (client->client, client->requests + first, client->replies, n);

  if (result < 0)
    g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "fscache_open_many: %s",
                 g_strerror (-result));
  for (unsigned i = 0; i < n && result >= 0; i++)
    is_right = is_right
               && check (client, &client->requests[first + i], &client->replies[i], source, error);
  return is_right && result >= 0;
}

bool
bench_client_open_many (BenchClient *client, unsigned first, unsigned n, FscacheSource source,
                        GError **error)
{
  bool is_right = get_many (client, first, n, source, error);

  bench_client_close (client, n);
  return is_right || bench_client_excuse (client, error);
}

static bool
is_unavailable (const FscacheReply *reply, GError **error)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE,
               "the service does not watch a file, it is %s (fs.inotify.max_user_watches?)",
               fscache_coherence_name (reply->coherence));
  return false;
}

/* Few entries are made watched at once, and not while they are asked for. */
static bool
watch_batch (BenchClient *client, unsigned first, unsigned n, GError **error)
{
  int64_t limit = WATCH_SECONDS * INT64_C (1000000000), deadline = bench_now () + limit;

  for (unsigned most = 0, watched; !bench_is_interrupted ();)
    {
      if (!bench_client_open_many (client, first, n, FSCACHE_SOURCE_NONE, error))
        return false;
      for (watched = 0; watched < n; watched++)
        if (client->replies[watched].coherence != FSCACHE_COHERENCE_WATCHED)
          break;
      if (watched == n)
        return true;
      if (watched > most)
        {
          most = watched;
          deadline = bench_now () + limit;
        }
      if (bench_now () > deadline)
        return is_unavailable (&client->replies[watched], error);
      g_usleep (500);
    }
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_INTERRUPTED, "interrupted");
  return false;
}

bool
bench_client_watch (BenchClient *client, GError **error)
{
  if (client->mounts < 0)
    client->mounts = open ("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  have_mounts_changed (client);
  client->coherence = FSCACHE_COHERENCE_UNCACHED;
  for (unsigned i = 0; i < client->n; i += BATCH)
    if (!watch_batch (client, i, MIN (BATCH, client->n - i), error))
      return false;
  client->coherence = FSCACHE_COHERENCE_WATCHED;
  return true;
}

bool
bench_client_get (BenchClient *client, unsigned n, FscacheSource source, GError **error)
{
  return get_many (client, 0, n, source, error);
}

void
bench_client_close (BenchClient *client, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    finish (client, &client->replies[i]);
}
