/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A client of fscached; see client.h.
 */
#include "tests/bench/client.h"

#include <errno.h>
#include <unistd.h>

#define BATCH 253

static void
free_client (void *data)
{
  BenchClient *client = data;

  fscache_disconnect (client->client);
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

/* SOURCE_NONE stands for any source. */
static bool
check (const FscacheRequest *request, const FscacheReply *reply, FscacheSource source,
       GError **error)
{
  if (reply->fd >= 0 && reply->sharing == request->sharing
      && (source == FSCACHE_SOURCE_NONE || reply->source == source))
    return true;

  if (reply->fd < 0)
    g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s", reply->message);
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
bench_client_open (BenchClient *client, unsigned index, FscacheSource source, GError **error)
{
  FscacheReply *reply = client->replies;

  fscache_open_with (client->client, &client->requests[index], reply);

  bool is_right = check (&client->requests[index], reply, source, error);

  finish (client, reply);
  return is_right;
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
    is_right = is_right && check (&client->requests[first + i], &client->replies[i], source, error);
  return is_right && result >= 0;
}

bool
bench_client_open_many (BenchClient *client, unsigned first, unsigned n, FscacheSource source,
                        GError **error)
{
  bool is_right = get_many (client, first, n, source, error);

  bench_client_close (client, n);
  return is_right;
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
