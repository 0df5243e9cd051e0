/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of fscache-simulate; see sim-options.h.
 */
#include "tests/bench/sim-options.h"

static const char summary[]
    = "Which handles should a full cache let go? Replays traces of opens against several policies\n"
      "and against the optimum, for several sizes of the cache.\n"
      "\n"
      "  hits   of all opens, how many found their object in the cache\n"
      "  saved  of the time that all opens would take without a cache, how much was saved: a hit\n"
      "         saves what that open would have cost. This is what a cache of handles is for.\n"
      "\n"
      "A cache of N % may hold N % of the objects of the trace; where objects have bytes, the "
      "trace\n"
      "is also replayed with a second limit, N % of all their bytes.\n"
      "\n"
      "The optimum: while all opens cost the same, 'min' (Belady's MIN) is the optimum. Otherwise\n"
      "'offline' is what a schedule saves that was found with the future known, and 'bound' what\n"
      "provably none can exceed: the optimum is between them.";

static const char description[]
    = "Costs of recorded traces (--costs):\n"
      "  local   20 us each: everything on a local disk (results are those of nfs)\n"
      "  nfs     2 ms each: everything on a file server\n"
      "  mixed   by directory, drawn with the seed: 14 of 20 local, 5 on NFS, and one of things\n"
      "          that are fetched in 2 s and have 1 MiB to 256 MiB\n"
      "\n"
      "Examples:\n"
      "  fscache-simulate                            everything, a minute at most\n"
      "  fscache-simulate --list                     which traces and policies there are\n"
      "  fscache-simulate --policy 'sieve*,bound' --trace mix --sizes 5,50\n"
      "  tests/bench/traces/record-trace.sh my.trace.gz 'what I do' make\n"
      "  fscache-simulate --trace my.trace.gz --costs nfs\n"
      "  fscache-simulate --seed 2 --json            other random numbers, for programs\n"
      "\n"
      "The same seed gives the same result. The exit status is 0, 1 if a trace could not be read,\n"
      "2 for wrong usage.";

void
sim_options_clear (SimOptions *options)
{
  g_clear_pointer (&options->traces, g_strfreev);
  g_clear_pointer (&options->policies, g_free);
  g_clear_pointer (&options->directory, g_free);
  g_clear_pointer (&options->percents, g_array_unref);
}

static gboolean
parse_sizes (SimOptions *options, const char *text, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (text, ",", -1);

  options->percents = g_array_new (FALSE, FALSE, sizeof (double));
  for (guint i = 0; parts[i] != NULL; i++)
    {
      char *end;
      double percent = g_ascii_strtod (parts[i], &end);

      if (end == parts[i] || *end != '\0' || !(percent > 0 && percent <= 100))
        {
          g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                       "--sizes: '%s' is no percentage", parts[i]);
          return FALSE;
        }
      g_array_append_val (options->percents, percent);
    }
  if (options->percents->len > 0)
    return TRUE;
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--sizes: there is none");
  return FALSE;
}

gboolean
sim_options_parse (SimOptions *options, int *argc, char ***argv)
{
  g_autofree char *sizes = NULL, *costs = NULL;
  gint64 seed = 1;
  const GOptionEntry entries[] = {
    { "trace", 't', 0, G_OPTION_ARG_FILENAME_ARRAY, &options->traces,
      "Replay this trace: a name of --list (a glob), or a file that record-trace.sh has written; "
      "may be repeated",
      "TRACE" },
    { "policy", 'p', 0, G_OPTION_ARG_STRING, &options->policies,
      "Only the policies that match (globs, separated by commas)", "PATTERN" },
    { "sizes", 'n', 0, G_OPTION_ARG_STRING, &sizes,
      "Sizes of the cache in percent, separated by commas (1,5,10,25)", "LIST" },
    { "costs", 'c', 0, G_OPTION_ARG_STRING, &costs,
      "What recorded opens cost: local, nfs or mixed (both nfs and mixed)", "RULE" },
    { "seed", 's', 0, G_OPTION_ARG_INT64, &seed, "Seed of all random numbers (1)", "N" },
    { "directory", 'd', 0, G_OPTION_ARG_FILENAME, &options->directory,
      "Where the recorded traces are (those of the source tree)", "DIR" },
    { "list", 'l', 0, G_OPTION_ARG_NONE, &options->list, "List traces and policies, and end",
      NULL },
    { "json", 'j', 0, G_OPTION_ARG_NONE, &options->json, "Print the results as JSON", NULL },
    { "markdown", 'm', 0, G_OPTION_ARG_NONE, &options->markdown, "Print the tables as markdown",
      NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;

  *options = (SimOptions){ 0 };
  g_option_context_set_summary (context, summary);
  g_option_context_set_description (context, description);
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, &error))
    ;
  else if (*argc > 1)
    g_set_error (&error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                 "there are no arguments but options");
  else if (costs != NULL && !sim_costs_from_name (costs, &options->costs))
    g_set_error (&error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                 "--costs is local, nfs or mixed, not '%s'", costs);
  else
    parse_sizes (options, sizes != NULL ? sizes : "1,5,10,25", &error);
  if (error == NULL)
    {
      options->seed = (guint64) seed;
      options->has_costs = costs != NULL;
      return TRUE;
    }
  g_printerr ("fscache-simulate: %s (--help explains)\n", error->message);
  return FALSE;
}
