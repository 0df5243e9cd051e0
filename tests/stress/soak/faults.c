/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What workers do wrong; see soak.h. (Processes are killed by the main process.)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/harness/raw.h"
#include "tests/stress/soak/soak.h"

#define PENDING 64

static void
take_answer (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  if (reply->fd >= 0)
    close (reply->fd);
}

static void
submit_some (SoakWorker *worker, uint64_t *id)
{
  FscacheRequest requests[PENDING] = { 0 };
  char *paths[PENDING];

  for (guint i = 0; i < PENDING; i++)
    {
      paths[i] = soak_path (worker->soak, "stable", soak_pick (worker, SOAK_STABLE));
      requests[i].uri = paths[i];
    }
  soak_count_errno (worker, "submit",
                    -fscache_submit (worker->client, requests, PENDING, take_answer, NULL, id),
                    NULL);
  for (guint i = 0; i < PENDING; i++)
    g_free (paths[i]);
}

static void
cancel (SoakWorker *worker)
{
  uint64_t id;

  submit_some (worker, &id);
  if (soak_pick (worker, 2) == 0)
    fscache_dispatch (worker->client);
  fscache_cancel (worker->client, id);
}

static void
leave (SoakWorker *worker)
{
  submit_some (worker, NULL);
  g_clear_pointer (&worker->client, fscache_disconnect);
}

/* With answers under way. */
static void
die (SoakWorker *worker)
{
  submit_some (worker, NULL);
  fscache_dispatch (worker->client);
  _exit (0);
}

/* Says anything, before or after a HELLO, with a descriptor that nobody wants. */
static void
talk_nonsense (SoakWorker *worker)
{
  guint8 packet[256];
  int fd = soak_pick (worker, 2) == 0
               ? fsc_test_raw_connect (worker->soak->stage.service->socket)
               : fsc_test_raw_greet (worker->soak->stage.service->socket, TRUE);
  int with = open ("/dev/null", O_RDWR | O_CLOEXEC);

  for (guint i = 0; i < sizeof packet; i++)
    packet[i] = (guint8) soak_pick (worker, 256);
  fsc_channel_send (fd, packet, (size_t) soak_pick (worker, sizeof packet) + 1, &with,
                    (unsigned) soak_pick (worker, 2), 0);
  close (with);
  close (fd);
}

/* Never reads what it has asked for. */
static void
read_nothing (SoakWorker *worker)
{
  int fd = fsc_test_raw_greet (worker->soak->stage.service->socket, TRUE);
  g_autofree char *path = soak_path (worker->soak, "stable", 0);
  g_autofree char *uri = g_strconcat ("file://", path, NULL);
  FscTestRecord record = { .item = { .uri = { uri, (uint32_t) strlen (uri) } } };
  FscTestMessage message = { .header.opcode = FSC_OP_OPEN, .n_records = 1, .records = &record };

  for (guint i = 0; i < 20; i++)
    {
      message.header.serial = i + 1;
      fsc_test_raw_send (fd, &message, NULL);
    }
  g_usleep (1000);
  close (fd);
}

/* Has no free descriptor: is told so, and goes on. */
static void
run_out (SoakWorker *worker)
{
  g_autofree char *path = soak_path (worker->soak, "stable", soak_pick (worker, SOAK_STABLE));
  const FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };
  struct rlimit limit, none;
  FscacheReply reply;

  getrlimit (RLIMIT_NOFILE, &limit);
  none = limit;
  none.rlim_cur = 3;
  setrlimit (RLIMIT_NOFILE, &none);
  fscache_open_with (worker->client, &request, &reply);
  setrlimit (RLIMIT_NOFILE, &limit);
  soak_count (worker, "open without room", &reply, SOAK_ERRORS (EMFILE, 0));
  fscache_reply_clear (worker->client, &reply);
}

const SoakOperation soak_faults[] = {
  { "cancel", 4, cancel },
  { "leave", 4, leave },
  { "die", 1, die },
  { "nonsense", 4, talk_nonsense },
  { "read nothing", 2, read_nothing },
  { "run out", 4, run_out },
  { 0 },
};
