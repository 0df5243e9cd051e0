/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What workers ask and change of the cache; see soak.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/stress/soak/soak.h"

static void
take_entry (const FscacheEntry *entry, void *data)
{
  SoakWorker *worker = data;

  if (strchr (entry->uri, ':') == NULL)
    soak_wrong (worker, "an entry has the name \"%s\"", entry->uri);
}

static void
take_counter (const char *name, uint64_t value, void *data)
{
  SoakWorker *worker = data;

  if (g_str_equal (name, "max-handles") && value == 0)
    soak_wrong (worker, "max-handles is 0");
}

static void
list (SoakWorker *worker)
{
  FscacheReply reply = { .fd = -1 };

  fscache_list (worker->client, soak_pick (worker, 2) == 0 ? NULL : "file:*/moving/*", take_entry,
                worker, &reply);
  soak_count (worker, "list", &reply, NULL);
}

static char *
draw_path (SoakWorker *worker)
{
  return soak_path (worker->soak, "stable", soak_pick (worker, SOAK_STABLE));
}

static void
info (SoakWorker *worker)
{
  g_autofree char *path = draw_path (worker);
  FscacheReply reply = { .fd = -1 };

  fscache_info (worker->client, path, take_entry, worker, &reply);
  soak_count (worker, "info", &reply, SOAK_ERRORS (ENOENT, 0));
}

static void
drop (SoakWorker *worker)
{
  g_autofree char *path = draw_path (worker);
  FscacheReply reply = { .fd = -1 };

  if (soak_pick (worker, 20) == 0)
    fscache_drop_matching (worker->client, "*:*/packed/*", &reply);
  else
    fscache_drop (worker->client, path, &reply);
  soak_count (worker, "drop", &reply, NULL);
}

static void
pin (SoakWorker *worker)
{
  g_autofree char *path = soak_path (worker->soak, "stable", soak_pick (worker, 10));
  FscacheReply reply = { .fd = -1 };

  if (soak_pick (worker, 2) == 0)
    fscache_pin (worker->client, path, &reply);
  else
    fscache_unpin (worker->client, path, &reply);
  soak_count (worker, "pin", &reply, SOAK_ERRORS (ENOENT, 0));
}

static void
ask_status (SoakWorker *worker)
{
  FscacheReply reply = { .fd = -1 };

  fscache_status (worker->client, take_counter, worker, &reply);
  soak_count (worker, "status", &reply, NULL);
}

static void
set (SoakWorker *worker)
{
  FscacheReply reply = { .fd = -1 };

  fscache_set (worker->client, "max-handles", (guint64) (300 + soak_pick (worker, 200)),
               take_counter, worker, &reply);
  soak_count (worker, "set", &reply, NULL);
}

static void
ask_holders (SoakWorker *worker)
{
  g_autofree char *path = draw_path (worker);
  FscacheReply reply = { .fd = -1 };

  fscache_holders (worker->client, path, NULL, NULL, &reply);
  soak_count (worker, "holders", &reply, SOAK_ERRORS (ENOENT, 0));
}

static void
ping (SoakWorker *worker)
{
  FscacheReply reply = { .fd = -1 };

  fscache_ping (worker->client, &reply);
  soak_count (worker, "ping", &reply, NULL);
}

const SoakOperation soak_admin_operations[] = {
  { "list", 2, list },
  { "info", 20, info },
  { "drop", 10, drop },
  { "pin", 10, pin },
  { "status", 5, ask_status },
  { "set", 1, set },
  { "holders", 5, ask_holders },
  { "ping", 20, ping },
  { 0 },
};
