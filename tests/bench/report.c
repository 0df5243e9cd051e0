/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What fscache-bench prints; see report.h.
 */
#include "tests/bench/report.h"

#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#include "tests/bench/targets.h"

/* More than that is worth a note: times, most of all p99, say little then; ratios are better. */
#define SLOWDOWN_MAX 1.2

const BenchRow *
bench_report_find_row (const BenchReport *report, const char *name)
{
  for (unsigned i = 0; i < report->rows->len; i++)
    {
      const BenchRow *row = g_ptr_array_index (report->rows, i);

      if (strcmp (row->spec->name, name) == 0)
        return row;
    }
  return NULL;
}

static bool
has_samples (const BenchRow *row)
{
  return row->is_wanted && row->stats.samples->len > 0;
}

static bool
is_skipped (const BenchRow *row)
{
  return g_error_matches (row->error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE);
}

static BenchRatio
get_ratio (const BenchReport *report, const BenchRow *row)
{
  const BenchRow *baseline
      = row->spec->baseline != NULL ? bench_report_find_row (report, row->spec->baseline) : NULL;

  if (baseline == NULL)
    return (BenchRatio){ 0 };
  return bench_stats_get_ratio (&row->stats, &baseline->stats);
}

/* Three digits and a unit. */
static char *
format_time (double ns)
{
  static const char *const units[] = { "ns", "µs", "ms", "s" };
  unsigned unit = 0;

  while (ns >= 999.5 && unit < G_N_ELEMENTS (units) - 1)
    {
      ns /= 1000;
      unit++;
    }
  return g_strdup_printf ("%.*f %s", ns < 9.995 ? 2 : ns < 99.95 ? 1 : 0, ns, units[unit]);
}

/* Right-aligned by characters, which printf() cannot do. */
static void
print_cell (FILE *out, const char *text, int width)
{
  fprintf (out, "%*s%s", MAX (width - (int) g_utf8_strlen (text, -1), 0), "", text);
}

static void
print_row (const BenchReport *report, const BenchRow *row, FILE *out)
{
  g_autofree char *p50 = format_time (bench_stats_get_quantile (&row->stats, 0.5));
  g_autofree char *p99 = format_time (bench_stats_get_quantile (&row->stats, 0.99));
  BenchRatio ratio = get_ratio (report, row);

  fprintf (out, "%-22s", row->spec->name);
  print_cell (out, p50, 9);
  print_cell (out, p99, 10);
  if (ratio.is_known)
    fprintf (out, "%8.*f x %-17s", ratio.median < 0.995 ? 3 : 2, ratio.median, row->spec->baseline);
  else
    fprintf (out, "%8s   %-17s", "", "");
  fprintf (out, " %s\n", row->spec->title);
}

static void
print_facts (const BenchReport *report, FILE *out)
{
  for (unsigned i = 0; i < report->bench->facts->len; i++)
    {
      const BenchFact *fact = &g_array_index (report->bench->facts, BenchFact, i);

      fprintf (out, "%s%-22s %8.4g %-8s %s\n", i == 0 ? "\n" : "", fact->name, fact->value,
               fact->unit, fact->title);
    }
}

static void
print_left_out (const BenchReport *report, FILE *out)
{
  for (unsigned i = 0; i < report->rows->len; i++)
    {
      const BenchRow *row = g_ptr_array_index (report->rows, i);

      if (row->error != NULL)
        fprintf (out, "%s %s: %s\n", row->spec->name, is_skipped (row) ? "skipped" : "FAILED",
                 row->error->message);
    }
}

static void
print_targets (const BenchReport *report, FILE *out)
{
  g_autoptr (GArray) targets = bench_targets_evaluate (report);

  fprintf (out, "\n%-52s %12s %10s\n", "target", "limit", "measured");
  for (unsigned i = 0; i < targets->len; i++)
    {
      const BenchTarget *target = &g_array_index (targets, BenchTarget, i);
      g_autofree char *limit = g_strdup_printf (
          "%s %.4g %s", target->is_strict ? "<" : "<=", target->limit, target->unit);

      fprintf (out, "%-52s %12s ", target->title, g_strchomp (limit));
      if (target->is_measured)
        fprintf (out, "%10.3f %s\n", target->measured,
                 bench_target_is_met (target) ? "pass" : "MISSED");
      else
        fprintf (out, "%10s not measured\n", "");
    }
}

void
bench_report_print_table (const BenchReport *report, FILE *out)
{
  fprintf (out, "%s\npinned to CPU %s; files on %s, events on %s; %u rounds in %.0f s\n\n",
           report->machine, report->cpus, report->file_system, report->event_file_system,
           report->rounds, report->seconds);
  if (report->slowdown > SLOWDOWN_MAX)
    fprintf (out,
             "NOTE: slices took %.1f times as long as they should, because others used the CPU\n\n",
             report->slowdown);
  fprintf (out, "%-22s%9s%10s%8s   %-17s %s\n", "row", "p50", "p99", "ratio", "to", "a handle by");
  for (unsigned i = 0; i < report->rows->len; i++)
    {
      const BenchRow *row = g_ptr_array_index (report->rows, i);

      if (has_samples (row))
        print_row (report, row, out);
    }
  print_facts (report, out);
  print_targets (report, out);
  fputc ('\n', out);
  print_left_out (report, out);
}

/* JSON */

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
add_count (JsonBuilder *builder, const char *name, unsigned value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_int_value (builder, value);
}

static void
add_string (JsonBuilder *builder, const char *name, const char *value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_string_value (builder, value);
}

static void
add_row (JsonBuilder *builder, const BenchReport *report, const BenchRow *row)
{
  BenchRatio ratio = get_ratio (report, row);

  json_builder_begin_object (builder);
  add_string (builder, "name", row->spec->name);
  add_string (builder, "title", row->spec->title);
  if (row->error != NULL)
    add_string (builder, is_skipped (row) ? "skipped" : "failed", row->error->message);
  add_count (builder, "samples", row->stats.samples->len);
  add_count (builder, "handles", row->spec->handles);
  add_number (builder, "p50_ns", bench_stats_get_quantile (&row->stats, 0.5));
  add_number (builder, "p99_ns", bench_stats_get_quantile (&row->stats, 0.99));
  if (ratio.is_known)
    {
      add_string (builder, "baseline", row->spec->baseline);
      add_number (builder, "ratio", ratio.median);
      add_number (builder, "ratio_quartile1", ratio.quartile1);
      add_number (builder, "ratio_quartile3", ratio.quartile3);
    }
  json_builder_end_object (builder);
}

static void
add_rows (JsonBuilder *builder, const BenchReport *report)
{
  json_builder_set_member_name (builder, "rows");
  json_builder_begin_array (builder);
  for (unsigned i = 0; i < report->rows->len; i++)
    {
      const BenchRow *row = g_ptr_array_index (report->rows, i);

      if (row->is_wanted)
        add_row (builder, report, row);
    }
  json_builder_end_array (builder);
}

static void
add_facts (JsonBuilder *builder, const BenchReport *report)
{
  json_builder_set_member_name (builder, "facts");
  json_builder_begin_array (builder);
  for (unsigned i = 0; i < report->bench->facts->len; i++)
    {
      const BenchFact *fact = &g_array_index (report->bench->facts, BenchFact, i);

      json_builder_begin_object (builder);
      add_string (builder, "name", fact->name);
      add_string (builder, "title", fact->title);
      add_number (builder, "value", fact->value);
      add_string (builder, "unit", fact->unit);
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);
}

static void
add_targets (JsonBuilder *builder, const BenchReport *report)
{
  g_autoptr (GArray) targets = bench_targets_evaluate (report);

  json_builder_set_member_name (builder, "targets");
  json_builder_begin_array (builder);
  for (unsigned i = 0; i < targets->len; i++)
    {
      const BenchTarget *target = &g_array_index (targets, BenchTarget, i);

      json_builder_begin_object (builder);
      add_string (builder, "name", target->name);
      add_string (builder, "title", target->title);
      add_number (builder, "limit", target->limit);
      add_string (builder, "unit", target->unit);
      add_number (builder, "measured", target->measured);
      json_builder_set_member_name (builder, "met");
      if (target->is_measured)
        json_builder_add_boolean_value (builder, bench_target_is_met (target));
      else
        json_builder_add_null_value (builder);
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);
}

void
bench_report_print_json (const BenchReport *report, FILE *out)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();

  json_builder_begin_object (builder);
  add_string (builder, "version", FSC_VERSION);
  add_string (builder, "machine", report->machine);
  add_string (builder, "cpus", report->cpus);
  add_string (builder, "file_system", report->file_system);
  add_string (builder, "event_file_system", report->event_file_system);
  add_count (builder, "rounds", report->rounds);
  add_number (builder, "seconds", report->seconds);
  add_number (builder, "slowdown", report->slowdown);
  add_rows (builder, report);
  add_facts (builder, report);
  add_targets (builder, report);
  json_builder_end_object (builder);

  g_autoptr (JsonNode) root = json_builder_get_root (builder);
  g_autofree char *text = json_to_string (root, TRUE);

  fprintf (out, "%s\n", text);
}

/* TAP: a row that has been measured at all is ok. */
void
bench_report_print_tap (const BenchReport *report, FILE *out)
{
  unsigned n = 0;

  for (unsigned i = 0; i < report->rows->len; i++)
    {
      const BenchRow *row = g_ptr_array_index (report->rows, i);

      if (!row->is_wanted)
        continue;
      n++;
      if (row->error == NULL)
        fprintf (out, "%s %u - %s\n", has_samples (row) ? "ok" : "not ok", n, row->spec->name);
      else if (is_skipped (row))
        fprintf (out, "ok %u - %s # SKIP %s\n", n, row->spec->name, row->error->message);
      else
        fprintf (out, "not ok %u - %s\n# %s\n", n, row->spec->name, row->error->message);
    }
  fprintf (out, "1..%u\n", n);
}
