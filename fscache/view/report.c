/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * status.json and metrics; see report.h.
 */
#include "fscache/view/report.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "fscache/view/keep.h"
#include "fscache/view/transport.h"

/* What only grows. All else goes up and down, and so may what is not known here. */
static const char *const totals[] = {
  "hits",
  "misses",
  "opens",
  "open_errors",
  "coalesced",
  "evictions",
  "pressure_evictions",
  "invalidations",
  "checks",
  "passed",
  "events",
  "openers_started",
  "openers_failed",
  "timeouts",
  "watch_events",
  "watch_overflows",
  "view_opens",
  "view_reads",
  NULL,
};

static void
add_string (JsonBuilder *builder, const char *name, const char *value)
{
  json_builder_set_member_name (builder, name);
  if (value != NULL)
    {
      g_autofree char *text = g_utf8_make_valid (value, -1); /* a path may be anything */

      json_builder_add_string_value (builder, text);
    }
  else
    json_builder_add_null_value (builder);
}

static void
add_boolean (JsonBuilder *builder, const char *name, gboolean value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_boolean_value (builder, value);
}

static void
add_counter (const char *name, uint64_t value, void *data)
{
  json_builder_set_member_name (data, name);
  json_builder_add_int_value (data, (gint64) value);
}

static void
add_view (JsonBuilder *builder, FscView *view)
{
  const FscViewTransport *transport = &view->transport;

  json_builder_set_member_name (builder, "view");
  json_builder_begin_object (builder);
  add_string (builder, "version", FSC_VERSION);
  add_string (builder, "libfuse", fuse_pkgversion ());
  add_string (builder, "mountpoint", view->mountpoint);
  add_boolean (builder, "exact", view->is_exact);
  add_boolean (builder, "read_only", view->is_read_only);
  add_boolean (builder, "passthrough", transport->has_passthrough);
  add_string (builder, "why_no_passthrough", transport->why_no_passthrough);
  add_boolean (builder, "splice", transport->has_splice);
  add_string (builder, "why_no_splice", transport->why_no_splice);
  add_counter ("nodes", fsc_nodes_count (view->nodes), builder);
  add_counter ("kept", fsc_keeper_count (view->keeper), builder);
  add_counter ("opens", (gsize) g_atomic_pointer_get (&view->n_opens), builder);
  add_counter ("reads", (gsize) g_atomic_pointer_get (&view->n_reads), builder);
  json_builder_end_object (builder);
}

GString *
fsc_report_status (FscView *view)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  FscacheReply reply = { 0 };
  char service[128];
  GString *text = g_string_new (NULL);
  int error;

  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "counters");
  json_builder_begin_object (builder);
  error = fscache_status (view->client, add_counter, builder, &reply);
  json_builder_end_object (builder);
  fscache_service_name (view->client, service, sizeof service);
  add_string (builder, "service", error == 0 ? service : NULL);
  add_string (builder, "error", error == 0 ? NULL : reply.message);
  add_view (builder, view);
  json_builder_end_object (builder);

  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  json_generator_set_pretty (generator, TRUE);
  json_generator_to_gstring (generator, text);
  return g_string_append_c (text, '\n');
}

static void
add_metric (const char *name, uint64_t value, void *data)
{
  gboolean is_total = g_strv_contains (totals, name);
  const char *suffix = is_total ? "_total" : "";

  g_string_append_printf (data,
                          "# TYPE fscache_%s%s %s\n"
                          "fscache_%s%s %" G_GUINT64_FORMAT "\n",
                          name, suffix, is_total ? "counter" : "gauge", name, suffix, value);
}

GString *
fsc_report_metrics (FscView *view)
{
  GString *text = g_string_new (NULL);
  g_autoptr (GString) counters = g_string_new (NULL);
  int error = fscache_status (view->client, add_metric, counters, NULL);

  g_string_append_printf (text,
                          "# HELP fscache_up Whether the service answers.\n"
                          "# TYPE fscache_up gauge\n"
                          "fscache_up %d\n",
                          error == 0);
  g_string_append_len (text, counters->str, (gssize) counters->len);
  add_metric ("view_opens", (gsize) g_atomic_pointer_get (&view->n_opens), text);
  add_metric ("view_reads", (gsize) g_atomic_pointer_get (&view->n_reads), text);
  add_metric ("view_nodes", fsc_nodes_count (view->nodes), text);
  add_metric ("view_kept", fsc_keeper_count (view->keeper), text);
  return text;
}
