/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl status and ping: the service itself.
 */
#include <stdio.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/output.h"

typedef struct
{
  char *name;
  guint64 value;
} Counter;

static void
clear_counter (gpointer data)
{
  g_free (((Counter *) data)->name);
}

static void
collect_counter (const char *name, uint64_t value, void *data)
{
  Counter counter = { g_strdup (name), value };

  g_array_append_val ((GArray *) data, counter);
}

/* An object that says who has answered. */
static JsonBuilder *
begin_json (const char *service)
{
  JsonBuilder *builder = json_builder_new ();

  json_builder_begin_object (builder);
  fsc_output_add_string (builder, "service", service);
  return builder;
}

static int
run_status (FscCtl *ctl, int argc, char **argv)
{
  g_autoptr (FscacheClient) client = NULL;
  g_autoptr (GArray) counters = g_array_new (FALSE, FALSE, sizeof (Counter));
  FscacheReply reply = { 0 };
  char service[128];
  int result;

  g_array_set_clear_func (counters, clear_counter);
  fsc_ctl_parse (ctl, NULL, &argc, &argv, 0, 0);
  client = fsc_ctl_connect (ctl);
  result = fscache_status (client, collect_counter, counters, &reply);
  if (result < 0)
    {
      fsc_output_complain_reply ("status", &reply, result);
      return FSC_EXIT_FAILED;
    }

  fscache_service_name (client, service, sizeof service);
  if (ctl->json)
    {
      g_autoptr (JsonBuilder) builder = begin_json (service);

      for (guint i = 0; i < counters->len; i++)
        {
          const Counter *counter = &g_array_index (counters, Counter, i);

          fsc_output_add_int (builder, counter->name, counter->value);
        }
      fsc_output_print_json (builder, "\n");
    }
  else
    {
      printf ("%s\n", service);
      for (guint i = 0; i < counters->len; i++)
        {
          const Counter *counter = &g_array_index (counters, Counter, i);

          printf ("%-20s %12" G_GUINT64_FORMAT "\n", counter->name, counter->value);
        }
    }
  return fsc_output_finish (FSC_EXIT_DONE);
}

const FscCommand fsc_ctl_status = {
  .name = "status",
  .summary = "Show the counters of the service",
  .description
  = "hits and misses count requests; coalesced are those that waited for an open or a check which\n"
    "another request had begun; open_errors are answers such as \"no such file\". Of the entries,\n"
    "watched are those that need no check, because the kernel tells of whatever happens to the\n"
    "watched_directories and watched_files; watching are those that are about to be;\n"

    "watch_overflows counts how often the kernel had too much to tell; held are those that "
    "another\n"
    "process holds, put those that clients have put under names. bytes are of memory that is "
    "kept,\n"
    "bytes_making of what is being unpacked or fetched.\n"
    "\n"
    "In a service for all users, user_1000_connections is what user 1000 has, and\n"
    "user_1000_connections_max what that user may have now; root sees those of all.\n"
    "\n"
    "Examples:\n"
    "  fscachectl status\n"
    "  fscachectl status --json | jq '.hits / (.hits + .misses)'",
  .run = run_status,
  .prints = TRUE,
};

static int
run_ping (FscCtl *ctl, int argc, char **argv)
{
  g_autoptr (FscacheClient) client = NULL;
  FscacheReply reply = { 0 };
  char service[128];
  gint64 start, took;
  int result;

  fsc_ctl_parse (ctl, NULL, &argc, &argv, 0, 0);
  client = fsc_ctl_connect (ctl);
  start = g_get_monotonic_time ();
  result = fscache_ping (client, &reply);
  took = g_get_monotonic_time () - start;
  if (result < 0)
    {
      fsc_output_complain_reply ("ping", &reply, result);
      return FSC_EXIT_FAILED;
    }

  fscache_service_name (client, service, sizeof service);
  if (ctl->json)
    {
      g_autoptr (JsonBuilder) builder = begin_json (service);

      fsc_output_add_int (builder, "took_us", took);
      fsc_output_print_json (builder, "\n");
    }
  else
    printf ("%s answered in %" G_GINT64_FORMAT " us\n", service, took);
  return fsc_output_finish (FSC_EXIT_DONE);
}

const FscCommand fsc_ctl_ping = {
  .name = "ping",
  .summary = "Ask the service for a sign of life",
  .description = "Prints who answered, and how soon.\n"
                 "\n"
                 "Example:\n"
                 "  until fscachectl ping 2>/dev/null; do sleep 0.1; done",
  .run = run_ping,
  .prints = TRUE,
};
