/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-simulate: replays traces of opens against policies of eviction. --help explains it.
 */
#include <string.h>

#include "tests/bench/sim-options.h"
#include "tests/bench/sim-summary.h"

typedef struct
{
  const SimOptions *options;
  GPtrArray *policies;  /* those that are wanted */
  JsonBuilder *builder; /* or NULL */
  GArray *sums;         /* SimSum */
} Simulation;

/* A replay, done by a thread of a pool. */
typedef struct
{
  const SimPolicy *policy;
  const SimTrace *trace;
  const SimLimits *limits;
  SimResult *result;
} Task;

static void
run_task (gpointer data, gpointer user_data)
{
  g_autofree Task *task = data;

  *task->result = sim_replay (task->policy, task->trace, task->limits, NULL, NULL);
}

static SimLimits
get_limits (const SimTrace *trace, double percent, gboolean with_bytes)
{
  guint64 handles = (guint64) (trace->n_objects * percent / 100);
  guint64 bytes = (guint64) ((double) trace->n_bytes * percent / 100);

  return (SimLimits){ MAX (handles, 1), with_bytes ? MAX (bytes, 1) : SIM_NO_LIMIT };
}

static gboolean
is_wanted (const Simulation *simulation, const SimPolicy *policy)
{
  if (simulation->options->policies == NULL)
    return TRUE;

  g_auto (GStrv) patterns = g_strsplit (simulation->options->policies, ",", -1);

  for (guint i = 0; patterns[i] != NULL; i++)
    if (g_pattern_match_simple (patterns[i], policy->name))
      return TRUE;
  return FALSE;
}

static void
simulate_limit (Simulation *simulation, const SimTrace *trace, gboolean with_bytes)
{
  g_autoptr (GPtrArray) policies = g_ptr_array_new ();
  g_autoptr (GArray) sizes = g_array_new (FALSE, FALSE, sizeof (SimSize));
  GThreadPool *pool
      = g_thread_pool_new (run_task, NULL, (gint) g_get_num_processors (), FALSE, NULL);

  for (guint i = 0; i < simulation->options->percents->len; i++)
    {
      double percent = g_array_index (simulation->options->percents, double, i);
      SimSize size = { percent, get_limits (trace, percent, with_bytes) };

      g_array_append_val (sizes, size);
    }
  for (guint i = 0; i < simulation->policies->len; i++)
    {
      const SimPolicy *policy = g_ptr_array_index (simulation->policies, i);

      if (policy->applies == NULL
          || policy->applies (trace, &g_array_index (sizes, SimSize, 0).limits))
        g_ptr_array_add (policies, (gpointer) policy);
    }

  g_autofree SimResult *results = g_new0 (SimResult, policies->len * sizes->len + 1);
  SimReport report = { .trace = trace,
                       .limit = with_bytes ? "handles and bytes" : "handles",
                       .sizes = sizes,
                       .policies = policies,
                       .results = results };

  for (guint i = policies->len; i-- > 0;) /* the slowest first */
    for (guint j = 0; j < sizes->len; j++)
      {
        Task *task = g_new (Task, 1);

        *task = (Task){ g_ptr_array_index (policies, i), trace,
                        &g_array_index (sizes, SimSize, j).limits, &results[i * sizes->len + j] };
        g_thread_pool_push (pool, task, NULL);
      }
  g_thread_pool_free (pool, FALSE, TRUE);
  sim_summary_add (simulation->sums, &report);
  if (simulation->builder != NULL)
    sim_report_add_json (&report, simulation->builder);
  else
    sim_report_print (&report, simulation->options->markdown, stdout);
  fflush (stdout);
}

static void
simulate (Simulation *simulation, SimTrace *trace)
{
  simulate_limit (simulation, trace, FALSE);
  if (trace->n_bytes > 0)
    simulate_limit (simulation, trace, TRUE);
  sim_trace_free (trace);
}

/* With all rules of cost, or the one that was asked for. */
static gboolean
simulate_file (Simulation *simulation, const char *path)
{
  const SimOptions *options = simulation->options;

  for (SimCosts costs = SIM_COSTS_NFS; costs <= SIM_COSTS_MIXED; costs++)
    {
      g_autoptr (GError) error = NULL;
      SimTrace *trace = sim_trace_read (path, options->has_costs ? options->costs : costs,
                                        options->seed, &error);

      if (trace == NULL)
        {
          g_printerr ("fscache-simulate: %s\n", error->message);
          return FALSE;
        }

      char *title = g_strdup_printf (
          "%s; %s", trace->title,
          trace->n_bytes > 0 || !trace->is_one_cost ? "costs by directory" : "one cost");

      g_free (trace->title);
      trace->title = title;
      simulate (simulation, trace);
      if (options->has_costs)
        break;
    }
  return TRUE;
}

/* Traces by name */

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* The names of the files, sorted. */
static GPtrArray *
find_files (const char *directory)
{
  GPtrArray *files = g_ptr_array_new_with_free_func (g_free);
  GDir *dir = g_dir_open (directory, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    if (g_str_has_suffix (name, ".trace.gz"))
      g_ptr_array_add (files, g_strndup (name, strlen (name) - strlen (".trace.gz")));
  if (dir != NULL)
    g_dir_close (dir);
  g_ptr_array_sort (files, compare_names);
  return files;
}

/* Returns FALSE if one could not be read. */
static gboolean
simulate_by_name (Simulation *simulation, const char *pattern, guint *n_found)
{
  g_autoptr (GPtrArray) files = find_files (simulation->options->directory);

  for (const SimSynthetic *synthetic = sim_synthetics; synthetic->name != NULL; synthetic++)
    if (g_pattern_match_simple (pattern, synthetic->name))
      {
        (*n_found)++;
        simulate (simulation,
                  synthetic->make (synthetic->name, synthetic->title, simulation->options->seed));
      }
  for (guint i = 0; i < files->len; i++)
    {
      const char *name = g_ptr_array_index (files, i);
      g_autofree char *base = g_strconcat (name, ".trace.gz", NULL);
      g_autofree char *path = g_build_filename (simulation->options->directory, base, NULL);

      if (!g_pattern_match_simple (pattern, name))
        continue;
      (*n_found)++;
      if (!simulate_file (simulation, path))
        return FALSE;
    }
  return TRUE;
}

static gboolean
simulate_traces (Simulation *simulation)
{
  static char *const all[] = { (char *) "*", NULL };
  char *const *traces = simulation->options->traces != NULL ? simulation->options->traces : all;

  for (; *traces != NULL; traces++)
    {
      guint n_found = 0;

      if (!simulate_by_name (simulation, *traces, &n_found))
        return FALSE;
      if (n_found > 0)
        continue;
      if (!g_file_test (*traces, G_FILE_TEST_EXISTS))
        {
          g_printerr ("fscache-simulate: '%s' is neither a trace (--list) nor a file\n", *traces);
          return FALSE;
        }
      if (!simulate_file (simulation, *traces))
        return FALSE;
    }
  return TRUE;
}

static void
list (const SimOptions *options)
{
  g_autoptr (GPtrArray) files = find_files (options->directory);

  g_print ("Policies:\n");
  for (const SimPolicy *const *policy = sim_policies; *policy != NULL; policy++)
    g_print ("  %-14s %s\n", (*policy)->name, (*policy)->title);
  g_print ("\nTraces that are made up:\n");
  for (const SimSynthetic *synthetic = sim_synthetics; synthetic->name != NULL; synthetic++)
    g_print ("  %-14s %s\n", synthetic->name, synthetic->title);
  g_print ("\nTraces that were recorded, in %s:\n", options->directory);
  for (guint i = 0; i < files->len; i++)
    {
      const char *name = g_ptr_array_index (files, i);
      g_autofree char *base = g_strconcat (name, ".trace.gz", NULL);
      g_autofree char *path = g_build_filename (options->directory, base, NULL);
      g_autoptr (SimTrace) trace = sim_trace_read (path, SIM_COSTS_NFS, 1, NULL);

      g_print ("  %-14s %s\n", name, trace != NULL ? trace->title : "cannot be read");
    }
}

static void
print_json (JsonBuilder *builder)
{
  json_builder_end_array (builder);

  g_autoptr (JsonNode) root = json_builder_get_root (builder);
  g_autofree char *text = json_to_string (root, TRUE);

  g_print ("%s\n", text);
}

int
main (int argc, char **argv)
{
  g_auto (SimOptions) options;

  if (!sim_options_parse (&options, &argc, &argv))
    return 2;
  if (options.directory == NULL)
    options.directory = g_strdup (SIM_TRACES_DIR);
  if (options.list)
    {
      list (&options);
      return 0;
    }

  g_autoptr (GPtrArray) policies = g_ptr_array_new ();
  g_autoptr (JsonBuilder) builder = options.json ? json_builder_new () : NULL;
  g_autoptr (GArray) sums = g_array_new (FALSE, FALSE, sizeof (SimSum));
  Simulation simulation = { &options, policies, builder, sums };

  for (const SimPolicy *const *policy = sim_policies; *policy != NULL; policy++)
    if (is_wanted (&simulation, *policy))
      g_ptr_array_add (policies, (gpointer) *policy);
  if (policies->len == 0)
    {
      g_printerr ("fscache-simulate: no policy is called '%s' (--list shows them)\n",
                  options.policies);
      return 2;
    }
  if (builder != NULL)
    json_builder_begin_array (builder);

  gboolean is_done = simulate_traces (&simulation);

  if (builder != NULL)
    print_json (builder);
  else
    sim_summary_print (sums, options.markdown, stdout);
  return is_done ? 0 : 1;
}
