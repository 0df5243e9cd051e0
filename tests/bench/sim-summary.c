/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What comes out of all traces together; see sim-summary.h.
 */
#include "tests/bench/sim-summary.h"

#include <math.h>

static SimGroup
get_group (const SimReport *report)
{
  const SimSize *size = &g_array_index (report->sizes, SimSize, 0);

  if (size->limits.max_bytes != SIM_NO_LIMIT)
    return SIM_GROUP_BYTES;
  return report->trace->is_one_cost ? SIM_GROUP_ONE_COST : SIM_GROUP_HANDLES;
}

/* The index of the policy that says what could be saved, or the number of policies. */
static guint
find_most (const SimReport *report)
{
  const SimPolicy *most = get_group (report) == SIM_GROUP_ONE_COST ? &sim_min : &sim_bound;
  guint i = 0;

  while (i < report->policies->len && g_ptr_array_index (report->policies, i) != most)
    i++;
  return i;
}

static SimSum *
get_sum (GArray *sums, const SimPolicy *policy)
{
  for (guint i = 0; i < sums->len; i++)
    if (g_array_index (sums, SimSum, i).policy == policy)
      return &g_array_index (sums, SimSum, i);

  SimSum sum = { .policy = policy };

  g_array_append_val (sums, sum);
  return &g_array_index (sums, SimSum, sums->len - 1);
}

void
sim_summary_add (GArray *sums, const SimReport *report)
{
  SimGroup group = get_group (report);
  guint most = find_most (report), n_sizes = report->sizes->len;

  if (most == report->policies->len)
    return;
  for (guint i = 0; i < report->policies->len; i++)
    {
      SimSum *sum = get_sum (sums, g_ptr_array_index (report->policies, i));

      for (guint j = 0; j < n_sizes; j++)
        {
          const SimResult *result = &report->results[i * n_sizes + j];
          double possible = report->results[most * n_sizes + j].saved;

          sum->saved[group] += possible > 0 ? result->saved / possible : 1;
          sum->hits[group] += result->hits / report->trace->n_opens;
          sum->n[group]++;
        }
    }
}

void
sim_summary_print (const GArray *sums, gboolean markdown, FILE *out)
{
  static const char *const groups[] = { "one cost", "several costs", "several, and bytes" };

  if (sums->len == 0)
    return;
  fprintf (out, markdown ? "\n**All traces**: " : "\nAll traces: ");
  fputs ("the time saved in % of what could be (min; bound), and hits in %; means\n\n", out);
  fprintf (out, markdown ? "| policy" : "%-14s", "");
  for (guint i = 0; i < SIM_N_GROUPS; i++)
    fprintf (out, markdown ? " | %s: saved | hits" : "%20s  hits", groups[i]);
  fputs (markdown ? " |\n|---|---:|---:|---:|---:|---:|---:|\n" : "\n", out);
  for (guint i = 0; i < sums->len; i++)
    {
      const SimSum *sum = &g_array_index (sums, SimSum, i);

      fprintf (out, markdown ? "| %s" : "%-14s", sum->policy->name);
      for (guint j = 0; j < SIM_N_GROUPS; j++)
        {
          fputs (markdown ? " | " : "", out);
          if (sum->n[j] > 0)
            fprintf (out, "%*.1f", markdown ? 0 : 20, 100 * sum->saved[j] / sum->n[j]);
          else
            fprintf (out, "%*s", markdown ? 0 : 20, "");
          fputs (markdown ? " | " : "", out);
          if (sum->n[j] > 0 && isfinite (sum->hits[j]))
            fprintf (out, "%*.1f", markdown ? 0 : 6, 100 * sum->hits[j] / sum->n[j]);
          else
            fprintf (out, "%*s", markdown ? 0 : 6, "");
        }
      fputs (markdown ? " |\n" : "\n", out);
    }
}
