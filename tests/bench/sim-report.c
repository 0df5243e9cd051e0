/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How results are printed; see sim-report.h.
 */
#include "tests/bench/sim-report.h"

#include <math.h>

static const SimResult *
get_result (const SimReport *report, guint policy, guint size)
{
  return &report->results[policy * report->sizes->len + size];
}

/* Where all opens cost the same, one column says both. */
static gboolean
has_two_columns (const SimReport *report)
{
  return !report->trace->is_one_cost;
}

static void
print_title (const SimReport *report, gboolean markdown, FILE *out)
{
  const SimTrace *trace = report->trace;

  fprintf (out, markdown ? "\n**%s** (%s): %s.\n" : "\n%s, by %s: %s\n", trace->name, report->limit,
           trace->title);
  fprintf (out, "%u opens of %u objects; an infinite cache saves %.1f %%", trace->n_opens,
           trace->n_objects, 100 * trace->reusable / trace->cost);
  if (trace->n_bytes > 0)
    fprintf (out, "; %.0f MiB", (double) trace->n_bytes / (1 << 20));
  fputs (markdown ? ".\n\n" : "\n", out);
}

static void
print_head (const SimReport *report, gboolean markdown, FILE *out)
{
  fprintf (out, markdown ? "| %-12s" : "%-14s", markdown ? "policy" : "");
  for (guint i = 0; i < report->sizes->len; i++)
    {
      double percent = g_array_index (report->sizes, SimSize, i).percent;

      if (has_two_columns (report))
        fprintf (out, markdown ? " | hits %g %% | saved %g %%" : "    hits %3g%%  saved", percent,
                 percent);
      else
        fprintf (out, markdown ? " | %g %%" : "%7g %%", percent);
    }
  fputs (markdown ? " |\n|---" : "\n", out);
  if (!markdown)
    return;
  for (guint i = 0; i < report->sizes->len * (has_two_columns (report) ? 2 : 1); i++)
    fputs ("|---:", out);
  fputs ("|\n", out);
}

static void
print_share (double part, double all, int width, gboolean markdown, FILE *out)
{
  if (markdown)
    fputs (" | ", out);
  if (isfinite (part))
    fprintf (out, "%*.1f", markdown ? 0 : width, 100 * part / all);
  else
    fprintf (out, "%*s", markdown ? 0 : width, "");
}

void
sim_report_print (const SimReport *report, gboolean markdown, FILE *out)
{
  const SimTrace *trace = report->trace;

  print_title (report, markdown, out);
  print_head (report, markdown, out);
  for (guint i = 0; i < report->policies->len; i++)
    {
      const SimPolicy *policy = g_ptr_array_index (report->policies, i);

      fprintf (out, markdown ? "| %-12s" : "%-14s", policy->name);
      for (guint j = 0; j < report->sizes->len; j++)
        {
          const SimResult *result = get_result (report, i, j);

          if (has_two_columns (report))
            print_share (result->hits, trace->n_opens, 13, markdown, out);
          print_share (result->saved, trace->cost, has_two_columns (report) ? 7 : 9, markdown, out);
        }
      fputs (markdown ? " |\n" : "\n", out);
    }
}

static void
add_number (JsonBuilder *builder, const char *name, double value)
{
  json_builder_set_member_name (builder, name);
  if (isfinite (value))
    json_builder_add_double_value (builder, value);
  else
    json_builder_add_null_value (builder);
}

static void
add_count (JsonBuilder *builder, const char *name, guint64 value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_int_value (builder, (gint64) value);
}

static void
add_string (JsonBuilder *builder, const char *name, const char *value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_string_value (builder, value);
}

static void
add_results (const SimReport *report, JsonBuilder *builder)
{
  json_builder_set_member_name (builder, "results");
  json_builder_begin_array (builder);
  for (guint i = 0; i < report->policies->len; i++)
    for (guint j = 0; j < report->sizes->len; j++)
      {
        const SimPolicy *policy = g_ptr_array_index (report->policies, i);
        const SimSize *size = &g_array_index (report->sizes, SimSize, j);
        const SimResult *result = get_result (report, i, j);

        json_builder_begin_object (builder);
        add_string (builder, "policy", policy->name);
        add_number (builder, "percent", size->percent);
        add_count (builder, "max_handles", size->limits.max_handles);
        if (size->limits.max_bytes != SIM_NO_LIMIT)
          add_count (builder, "max_bytes", size->limits.max_bytes);
        add_number (builder, "hit_ratio", result->hits / report->trace->n_opens);
        add_number (builder, "time_saved", result->saved / report->trace->cost);
        add_count (builder, "evictions", result->evictions);
        json_builder_end_object (builder);
      }
  json_builder_end_array (builder);
}

void
sim_report_add_json (const SimReport *report, JsonBuilder *builder)
{
  const SimTrace *trace = report->trace;

  json_builder_begin_object (builder);
  add_string (builder, "trace", trace->name);
  add_string (builder, "title", trace->title);
  add_string (builder, "limit", report->limit);
  add_count (builder, "opens", trace->n_opens);
  add_count (builder, "objects", trace->n_objects);
  add_count (builder, "bytes", trace->n_bytes);
  add_number (builder, "cost_us", trace->cost);
  add_number (builder, "reusable", trace->reusable / trace->cost);
  add_results (report, builder);
  json_builder_end_object (builder);
}
