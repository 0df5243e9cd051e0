/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line of fscache-differential; see options.h.
 */
#include "tests/stress/options.h"

#include <stdlib.h>

#include "tests/stress/crew.h"

#define STALE_MS 600000

static const char summary[]
    = "Compares what a private fscached answers with what open() answers, while several threads "
      "and\n"
      "processes rename, link, replace, chmod, mount and so on in a small tree whose names are "
      "used\n"
      "again and again. Any difference is a broken promise: another file, another errno.\n"
      "\n"
      "A trial is a fresh tree and a fresh service. In rounds, one thread changes one thing, and "
      "as\n"
      "soon as its system call has returned, other processes ask the service and then open(), as\n"
      "the user. In between all run free: then a comparison counts only if nothing was being "
      "changed\n"
      "from its beginning to its end. All is in a mount namespace of its own, on file systems "
      "made\n"
      "for it in memory, and nothing is left behind. Root is needed for all but tmpfs and "
      "overlay.\n"
      "\n"
      "When an answer differs, the steps are played again one by one, in a fresh tree by a single\n"
      "thread, and shortened to the least that still fails.";

static const char description[]
    = "Examples:\n"
      "  fscache-differential                          a minute, all file systems, two users\n"
      "  fscache-differential --comparisons 1000000    the goal: a million without a difference\n"
      "  fscache-differential --fs ext4 --user ordinary --seed 17    the trial with this seed "
      "first\n"
      "  fscache-differential --fs xfs --steps FILE    play a list of steps again, and shorten it\n"
      "  fscache-differential --allow-stale            ask for stale answers: differences are "
      "found\n"
      "  fscache-differential --watch-limit 100        with few inotify watches\n"
      "\n"
      "A list of steps has one on each line, as it is printed: 'mkdir a 0755', 'create a/b 1',\n"
      "'ask shared a/b', 'rename a c', 'ask shared a/b'. Names are relative to the tree.\n"
      "\n"
      "Exit status: 0 no difference, 1 differences or trouble, 2 wrong usage, 77 nothing could be\n"
      "run here.";

static gboolean
fail (const char *text)
{
  g_printerr ("fscache-differential: %s (--help explains)\n", text);
  return FALSE;
}

static gboolean
parse_users (DiffOptions *options, const char *users)
{
  g_auto (GStrv) words = g_strsplit (users, ",", -1);

  for (guint i = 0; words[i] != NULL; i++)
    {
      char *end = NULL;
      uid_t user = g_str_equal (words[i], "root")       ? 0
                   : g_str_equal (words[i], "ordinary") ? DIFF_ORDINARY_USER
                                                        : (uid_t) strtoul (words[i], &end, 10);

      if ((end != NULL && (*end != '\0' || end == words[i]))
          || options->n_users == G_N_ELEMENTS (options->users))
        return fail ("users are 'root', 'ordinary' or numbers, up to eight");
      options->users[options->n_users++] = user;
    }
  return TRUE;
}

static gboolean
check (DiffOptions *options, const char *fs, const char *users, const char *mode)
{
  options->fs = g_strsplit (fs != NULL ? fs : DIFF_PLACE_ALL, ",", -1);
  for (guint i = 0; options->fs[i] != NULL; i++)
    if (!diff_place_is_known (options->fs[i]))
      return fail ("file systems are " DIFF_PLACE_ALL);
  if (!parse_users (options, users != NULL ? users : "ordinary,root"))
    return FALSE;
  options->serialised = mode == NULL || !g_str_equal (mode, "free");
  options->free_running = mode == NULL || !g_str_equal (mode, "rounds");
  if (mode != NULL && options->serialised && options->free_running && !g_str_equal (mode, "both"))
    return fail ("modes are rounds, free and both");
  if (options->threads < 1 || options->threads > DIFF_MUTATORS_MAX || options->comparers < 1
      || options->comparers > DIFF_COMPARERS_MAX || options->batch < 1
      || options->batch > DIFF_BATCH_MAX || options->rounds < 1 || options->watch_limit < 0
      || options->max_handles < 0)
    return fail ("a number is too small or too large");
  if (options->seconds == 0 && options->comparisons == 0)
    options->seconds = 60;
  if (options->seed < 0)
    options->seed = g_random_int ();
  options->max_age_ms = options->allow_stale ? STALE_MS : 0;
  return TRUE;
}

gboolean
diff_options_parse (DiffOptions *options, int *argc, char ***argv)
{
  g_autofree char *fs = NULL, *users = NULL, *mode = NULL;
  gboolean no_mounts = FALSE;
  const GOptionEntry entries[] = {
    { "comparisons", 'n', 0, G_OPTION_ARG_INT64, &options->comparisons,
      "End after so many, of all runs together", "N" },
    { "seconds", 's', 0, G_OPTION_ARG_DOUBLE, &options->seconds,
      "End after so long (60, if there is no --comparisons)", "N" },
    { "fs", 'f', 0, G_OPTION_ARG_STRING, &fs, "File systems (" DIFF_PLACE_ALL ")", "LIST" },
    { "user", 'u', 0, G_OPTION_ARG_STRING, &users,
      "Whose service: 'ordinary' (a user without an account), 'root' (without capabilities), or "
      "numbers (ordinary,root)",
      "LIST" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &options->threads,
      "Threads that change the tree, in two processes (4)", "N" },
    { "comparers", 'c', 0, G_OPTION_ARG_INT, &options->comparers, "Processes that ask (2)", "N" },
    { "mode", 'm', 0, G_OPTION_ARG_STRING, &mode, "rounds, free or both (both)", "MODE" },
    { "batch", 'b', 0, G_OPTION_ARG_INT, &options->batch,
      "The most that a comparer asks in one round (32)", "N" },
    { "rounds", 'r', 0, G_OPTION_ARG_INT, &options->rounds, "Rounds of a trial (1000)", "N" },
    { "seed", 0, 0, G_OPTION_ARG_INT64, &options->seed,
      "Of the first trial; later ones count up (random)", "N" },
    { "no-mounts", 0, 0, G_OPTION_ARG_NONE, &no_mounts, "No steps that mount", NULL },
    { "max-handles", 0, 0, G_OPTION_ARG_INT, &options->max_handles,
      "Let the service keep so few handles that it evicts", "N" },
    { "watch-limit", 0, 0, G_OPTION_ARG_INT, &options->watch_limit,
      "Let the service have so few inotify watches (in a user namespace of its own)", "N" },
    { "allow-stale", 0, 0, G_OPTION_ARG_NONE, &options->allow_stale,
      "Ask for answers of any age, to see that differences are found", NULL },
    { "keep-going", 'k', 0, G_OPTION_ARG_NONE, &options->keep_going,
      "Go on with the next trial after a difference", NULL },
    { "no-shrink", 0, 0, G_OPTION_ARG_NONE, &options->no_shrink, "Only tell the difference", NULL },
    { "steps", 0, 0, G_OPTION_ARG_FILENAME, &options->steps, "Play this list of steps", "FILE" },
    { "hot", 0, 0, G_OPTION_ARG_NONE, &options->is_hot,
      "With --steps: what is asked after a change is also asked just before it", NULL },
    { "save", 0, 0, G_OPTION_ARG_FILENAME, &options->save,
      "Write the steps of the last difference there", "FILE" },
    { "programs", 0, 0, G_OPTION_ARG_FILENAME, &options->programs,
      "The folder with fscached and openers/ (that of the same build)", "DIR" },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;

  *options = (DiffOptions){ .seed = -1, .threads = 4, .comparers = 2, .rounds = 1000, .batch = 32 };
  g_option_context_set_summary (context, summary);
  g_option_context_set_description (context, description);
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, &error))
    return fail (error->message);
  if (*argc != 1)
    return fail ("there are no arguments but options");
  options->mounts = !no_mounts;
  if (options->programs == NULL)
    options->programs = g_build_filename (FSC_BUILD_DIR, "fscache", NULL);
  return check (options, fs, users, mode);
}

void
diff_options_clear (DiffOptions *options)
{
  g_strfreev (options->fs);
  g_free (options->steps);
  g_free (options->save);
  g_free (options->programs);
}
