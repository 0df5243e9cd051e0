/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of fscache-bench; see options.h.
 */
#include "tests/bench/options.h"

static const char summary[]
    = "Measures what it costs to get a descriptor of a file that is already open: from fscached, "
      "by\n"
      "open(), from other services, and from the least server there can be (the floor). It starts\n"
      "a private fscached and ends it; nothing of it is left behind.\n"
      "\n"
      "A sample is one operation, from the request to close(), or for batches one operation\n"
      "divided by the number of its handles. All rows are measured in many short rounds, in an\n"
      "order that changes, on the same CPUs. A ratio is the median of the ratios between the\n"
      "medians of single rounds: it is steadier than the times, because what disturbs one row\n"
      "disturbs the other. --list shows the rows.";

static const char description[]
    = "Examples:\n"
      "  fscache-bench                           everything, a minute and a half\n"
      "  fscache-bench --rows 'shared-*,gdbus'   some rows, with what they are compared to\n"
      "  fscache-bench --json > result.json      the same for programs, with quartiles of ratios\n"
      "  tests/bench/plot.py result.json > p.svg draws latency by clients, entries and batch size\n"
      "  fscache-bench --cpus 0-1                client and servers may run at the same time\n"
      "  fscache-bench --quick --tap             only proves that all rows run\n"
      "\n"
      "Targets are printed with what was measured, and never decide the exit status: it is 0 if\n"
      "all rows ran or were skipped, 1 if one failed, 2 for wrong usage.";

void
bench_options_clear (BenchOptions *options)
{
  g_free (options->rows);
  g_free (options->cpus);
  g_free (options->service);
  g_free (options->directory);
}

bool
bench_options_parse (BenchOptions *options, int *argc, char ***argv)
{
  const GOptionEntry entries[] = {
    { "rows", 'r', 0, G_OPTION_ARG_STRING, &options->rows,
      "Measure only the rows that match, and their baselines (globs, separated by commas)",
      "PATTERN" },
    { "list", 'l', 0, G_OPTION_ARG_NONE, &options->list, "List the rows, and end", NULL },
    { "seconds", 's', 0, G_OPTION_ARG_DOUBLE, &options->seconds, "Measure for so long (60)", "N" },
    { "rounds", 'n', 0, G_OPTION_ARG_INT, &options->rounds, "Measure so many rounds instead", "N" },
    { "slice", 0, 0, G_OPTION_ARG_INT, &options->slice_us,
      "Time of one row in one round, after a quarter of it to warm up (4000)", "MICROSECONDS" },
    { "cpus", 'c', 0, G_OPTION_ARG_STRING, &options->cpus,
      "Where everything runs: 0 or 0-1,3 (the last CPU)", "LIST" },
    { "service", 0, 0, G_OPTION_ARG_FILENAME, &options->service,
      "The fscached to measure (that of the same build)", "PATH" },
    { "directory", 'd', 0, G_OPTION_ARG_FILENAME, &options->directory,
      "Where to make the temporary directory with the files ($TMPDIR)", "DIR" },
    { "json", 'j', 0, G_OPTION_ARG_NONE, &options->json, "Print the results as JSON", NULL },
    { "tap", 0, 0, G_OPTION_ARG_NONE, &options->tap, "Print which rows ran, as TAP", NULL },
    { "quick", 'q', 0, G_OPTION_ARG_NONE, &options->quick,
      "Few rounds and small sets, to see that it runs: measures nothing of worth", NULL },
    { NULL },
  };
  *options = (BenchOptions){ .seconds = 60, .slice_us = 4000 };

  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;

  g_option_context_set_summary (context, summary);
  g_option_context_set_description (context, description);
  g_option_context_add_main_entries (context, entries, NULL);
  if (g_option_context_parse (context, argc, argv, &error) && *argc == 1)
    {
      if (options->quick)
        {
          options->rounds = options->rounds > 0 ? options->rounds : 2;
          options->slice_us = 500;
        }
      return true;
    }

  g_printerr ("fscache-bench: %s (--help explains)\n",
              error != NULL ? error->message : "there are no arguments but options");
  return false;
}
