/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What workers open that is no file: unpacked, fetched, connected, put, and what a helper gives;
 * see soak.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/stress/soak/soak.h"

static void
open_uri (SoakWorker *worker, const char *operation, const char *uri, const char *prefix)
{
  const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED };
  FscacheReply reply;

  fscache_open_with (worker->client, &request, &reply);
  if (!soak_count (worker, operation, &reply, NULL))
    return;
  soak_check_content (worker, reply.fd, prefix);
  fscache_reply_clear (worker->client, &reply);
}

static void
unpack (SoakWorker *worker)
{
  int n = soak_pick (worker, SOAK_PACKED);
  g_autofree char *prefix = g_strdup_printf ("packed %d", n);
  g_autofree char *uri
      = soak_pick (worker, 2) == 0
            ? g_strdup_printf ("unpack://%s/packed/%d.gz", worker->soak->dir, n)
            : g_strdup_printf ("unpack://%s/packed/all.tar.gz#%d", worker->soak->dir, n);

  if (worker->soak->has_unpack)
    open_uri (worker, "unpack", uri, prefix);
}

static void
fetch (SoakWorker *worker)
{
  g_autofree char *uri = g_strdup_printf ("http://127.0.0.1:%u/plain/soak-%d?n=1000",
                                          worker->soak->http_port, soak_pick (worker, 30));

  if (worker->soak->has_http)
    open_uri (worker, "http", uri, "00000000000000000000 version 000000");
}

static void
ask_helper (SoakWorker *worker)
{
  int n = soak_pick (worker, 50);
  g_autofree char *uri = g_strdup_printf ("helper+odd:memory?helped-%d", n);
  g_autofree char *prefix = g_strdup_printf ("helped-%d", n);

  open_uri (worker, "helper", uri, prefix);
}

/* A connection that is lent, to a server that says what it is told. */
static void
connect_pool (SoakWorker *worker)
{
  g_autofree char *uri = g_strdup_printf ("tcp://127.0.0.1:%u", worker->soak->pool_port);
  const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_EXCLUSIVE };
  FscacheReply reply;
  char answer[5] = "";

  fscache_open_with (worker->client, &request, &reply);
  if (!soak_count (worker, "tcp", &reply, SOAK_ERRORS (EAGAIN, 0)))
    return;
  if (send (reply.fd, "ping", 4, MSG_NOSIGNAL) != 4 || recv (reply.fd, answer, 4, MSG_WAITALL) != 4
      || !g_str_equal (answer, "ping"))
    soak_wrong (worker, "%s answered \"%s\"", uri, answer);
  if (soak_pick (worker, 10) == 0)
    fscache_discard (worker->client, &reply);
  else
    fscache_give_back (worker->client, &reply);
}

/* Handles that are put are lost when their holder is killed. */

static void
put (SoakWorker *worker)
{
  int n = soak_pick (worker, SOAK_NAMES);
  g_autofree char *uri = g_strdup_printf ("handle:%d", n);
  g_autofree char *path = soak_path (worker->soak, "stable", n);
  const FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };
  FscacheReply reply;

  fscache_open_with (worker->client, &request, &reply);
  if (!soak_count (worker, "open shared", &reply, NULL))
    return;

  const FscachePut what = { .uri = uri, .fd = reply.fd, .mode = FSCACHE_PUT_REPLACE };
  FscacheReply answer;

  fscache_put (worker->client, &what, &answer);
  soak_count (worker, "put", &answer, SOAK_ERRORS (EBUSY, ETOOMANYREFS, 0));
  fscache_reply_clear (worker->client, &reply);
}

static void
get (SoakWorker *worker)
{
  int n = soak_pick (worker, SOAK_NAMES);
  g_autofree char *uri = g_strdup_printf ("handle:%d", n);
  g_autofree char *prefix = g_strdup_printf ("stable %d", n);
  const FscacheRequest request = {
    .uri = uri,
    .sharing = FSCACHE_SHARED,
    .options = soak_pick (worker, 10) == 0 ? FSCACHE_TAKE : 0,
  };
  FscacheReply reply;

  fscache_open_with (worker->client, &request, &reply);
  if (!soak_count (worker, request.options != 0 ? "take" : "get", &reply,
                   SOAK_ERRORS (ENOENT, EBUSY, 0)))
    return;
  soak_check_content (worker, reply.fd, prefix);
  fscache_reply_clear (worker->client, &reply);
}

const SoakOperation soak_other_operations[] = {
  { "unpack", 20, unpack },
  { "http", 20, fetch },
  { "helper", 20, ask_helper },
  { "tcp", 20, connect_pool },
  { "put", 5, put },
  { "get", 20, get },
  { 0 },
};
