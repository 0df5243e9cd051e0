/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opening, and waiting for it; see fscache.h.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libclient/client.h"
#include "libclient/finish.h"
#include "libclient/message.h"
#include "libclient/prepare.h"
#include "libclient/wait.h"

/* Of a file that fscache_open() makes: it has no argument for that. */
#define DEFAULT_MODE 0666

/* Waits for a call, and makes the replies of all its openings; some may have to be asked twice. */
static void
carry_out (FscacheClient *client, FscCall *call, FscacheReply *replies)
{
  bool is_finished;

  do
    {
      is_finished = true;
      fsc_client_wait (client, call);
      for (size_t i = 0; i < call->n; i++)
        {
          FscOpening *opening = &call->openings[i];

          if (opening->state != FSC_OPENING_ANSWERED)
            continue;
          if (fsc_client_finish (client, call->verb, opening, &replies[i]))
            opening->state = FSC_OPENING_FINISHED;
          else
            {
              opening->state = FSC_OPENING_QUEUED;
              is_finished = false;
            }
        }
    }
  while (!is_finished);

  /* The service has heard that it was taken: to whoever is told of it, the name is free. */
  for (size_t i = 0; i < call->n; i++)
    if (call->openings[i].is_taken && replies[i].code == FSCACHE_OK)
      {
        fscache_ping (client, NULL);
        break;
      }
}

int
fscache_open_with (FscacheClient *client, const FscacheRequest *request, FscacheReply *reply)
{
  char uri[FSC_URI_MAX + 1];
  FscDirectory directory;
  FscOpening opening;
  FscCall call;
  FscacheReply own;

  if (reply == NULL)
    reply = &own;
  fsc_client_directory_init (&directory);
  fsc_client_call_init (&call, &opening, 1, "open");
  fsc_client_prepare (client, request, &directory, &opening, uri, sizeof uri);
  carry_out (client, &call, reply);
  fsc_client_call_clear (&call);
  return reply->fd >= 0 ? reply->fd : -reply->error;
}

int
fscache_open (FscacheClient *client, const char *uri, int flags, FscacheReply *reply)
{
  FscacheRequest request = { .uri = uri, .flags = flags, .mode = DEFAULT_MODE };

  return fscache_open_with (client, &request, reply);
}

/* Without a service, none of them could be made. */
static bool
is_without_service (const FscacheReply *reply)
{
  return reply->code == FSCACHE_ERROR_NO_SERVICE || reply->code == FSCACHE_ERROR_VERSION
         || reply->code == FSCACHE_ERROR_REFUSED || reply->code == FSCACHE_ERROR_NO_MEMORY;
}

static int
count_failures (const FscacheReply *replies, size_t n)
{
  size_t n_failed = 0, n_without = 0;

  for (size_t i = 0; i < n; i++)
    {
      n_failed += replies[i].code != FSCACHE_OK;
      n_without += is_without_service (&replies[i]);
    }
  return n > 0 && n_without == n ? -replies[0].error : (int) n_failed;
}

static int
fail_all (FscacheReply *replies, size_t n)
{
  for (size_t i = 0; i < n; i++)
    {
      fsc_client_fail_reply (&replies[i], FSCACHE_ERROR_NO_MEMORY, ENOMEM);
      strcpy (replies[i].message, "cannot open anything: out of memory");
    }
  return -ENOMEM;
}

int
fscache_open_many (FscacheClient *client, const FscacheRequest *requests, FscacheReply *replies,
                   size_t n)
{
  FscDirectory directory;
  FscOpening *openings;
  FscCall call;
  char *uris, *end;
  size_t size = 0;

  if (n > INT_MAX)
    return -EINVAL;
  if (n == 0)
    return 0;
  fsc_client_directory_init (&directory);
  for (size_t i = 0; i < n; i++)
    size += fsc_client_get_uri_bound (requests[i].uri, &directory);
  openings = malloc (n * sizeof *openings + size);
  if (openings == NULL)
    return fail_all (replies, n);
  uris = (char *) (openings + n);
  end = uris + size;

  fsc_client_call_init (&call, openings, n, "open");
  for (size_t i = 0; i < n; i++)
    uris += fsc_client_prepare (client, &requests[i], &directory, &openings[i], uris,
                                (size_t) (end - uris));
  carry_out (client, &call, replies);
  fsc_client_call_clear (&call);
  free (openings);
  return count_failures (replies, n);
}

static void
give_back (FscacheClient *client, FscacheReply *reply, uint32_t flags)
{
  if (reply->fd >= 0)
    close (reply->fd);
  reply->fd = -1;
  fsc_client_end_lease (client, flags, &reply->lease, reply->reserved[0]);
}

void
fscache_give_back (FscacheClient *client, FscacheReply *reply)
{
  give_back (client, reply, 0);
}

void
fscache_discard (FscacheClient *client, FscacheReply *reply)
{
  give_back (client, reply, FSC_GIVE_BACK_SPENT);
}
