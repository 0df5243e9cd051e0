/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * When what happens to files is read: at once, but for storms of what concerns nobody.
 */
#include "fscache/changes.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "fscache/openers/watcher.h"
#include "tests/harness/descriptors.h"
#include "tests/harness/directory.h"
#include "tests/harness/tap.h"

#define STORM 1000 /* renames */

typedef struct
{
  char *directory, *descriptors;
  int lock;
  FscLoop *loop;
  FscChanges *changes;
  FscWatch watch; /* of the file "file" */
  gboolean is_told;
} Fixture;

static gboolean
do_nothing (gpointer data)
{
  return FALSE;
}

static void
changed (FscWatch *watch, FscChange change, gpointer data)
{
  ((Fixture *) data)->is_told = TRUE;
}

static void
write_file (const char *name)
{
  int fd = open (name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  g_assert_cmpint (fd, >=, 0);
  close (fd);
}

static void
watch (Fixture *fixture)
{
  FscWatches *watches = fsc_changes_get_watches (fixture->changes);
  g_autofree char *path = g_build_filename (fixture->directory, "file", NULL);
  FscWay way;

  fsc_changes_catch_up (fixture->changes);
  g_assert_true (fsc_watcher_go (fsc_watches_get_fd (watches), path, O_RDONLY, false, &way));
  g_assert_true (fsc_watches_add (watches, &fixture->watch, way.steps, way.n,
                                  fsc_watches_get_sequence (watches)));
  fixture->is_told = FALSE;
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->directory = fsc_test_directory_new (&fixture->lock);
  g_assert_no_errno (chdir (fixture->directory));
  write_file ("file");
  write_file ("noise");
  fixture->loop = fsc_loop_new (do_nothing, NULL, &error);
  g_assert_no_error (error);
  g_main_context_iteration (NULL, FALSE);
  fixture->descriptors = fsc_test_list_descriptors ();
  fixture->changes = fsc_changes_new (fixture->loop, changed, fixture, &error);
  g_assert_no_error (error);
  watch (fixture);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  fsc_watches_remove (fsc_changes_get_watches (fixture->changes), &fixture->watch);
  fsc_changes_free (fixture->changes);
  fsc_test_assert_descriptors (fixture->descriptors);
  fsc_loop_free (fixture->loop);
  g_assert_no_errno (chdir ("/"));
  fsc_test_directory_free (fixture->directory, fixture->lock);
}

static void
turn (void)
{
  g_main_context_iteration (NULL, FALSE);
}

static void
turn_for_a_while (void)
{
  for (guint i = 0; i < 50; i++)
    {
      turn ();
      g_usleep (1000);
    }
}

/* Returns at how many of its turns the loop has read events. */
static guint
make_storm (Fixture *fixture)
{
  const FscWatchCounters *counters
      = fsc_watches_get_counters (fsc_changes_get_watches (fixture->changes));
  guint n = 0;

  for (guint i = 0; i < STORM / 2; i++)
    {
      guint64 before = counters->events;

      g_assert_no_errno (g_rename ("noise", "other"));
      g_assert_no_errno (g_rename ("other", "noise"));
      turn ();
      n += counters->events > before;
    }
  return n;
}

static void
replace_file (void)
{
  write_file ("next");
  g_assert_no_errno (g_rename ("next", "file"));
}

static void
test_at_once (Fixture *fixture, gconstpointer data)
{
  turn ();
  g_assert_false (fixture->is_told);
  replace_file ();
  turn ();
  g_assert_true (fixture->is_told);
}

static void
test_storm (Fixture *fixture, gconstpointer data)
{
  guint n = make_storm (fixture);

  g_test_message ("%u turns of %u", n, STORM / 2);
  g_assert_cmpuint (n, <, STORM / 8);
  replace_file ();
  turn_for_a_while ();
  g_assert_true (fixture->is_told);
}

static void
test_catch_up (Fixture *fixture, gconstpointer data)
{
  make_storm (fixture);
  replace_file ();
  fsc_changes_catch_up (fixture->changes);
  g_assert_true (fixture->is_told);
}

static void
test_after_storm (Fixture *fixture, gconstpointer data)
{
  for (guint i = 0; i < 2; i++)
    {
      make_storm (fixture);
      turn_for_a_while ();
      replace_file ();
      turn ();
      g_assert_true (fixture->is_told);
      watch (fixture);
    }
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add ("/changes/at-once", Fixture, NULL, set_up, test_at_once, tear_down);
  g_test_add ("/changes/storm", Fixture, NULL, set_up, test_storm, tear_down);
  g_test_add ("/changes/catch-up", Fixture, NULL, set_up, test_catch_up, tear_down);
  g_test_add ("/changes/after-storm", Fixture, NULL, set_up, test_after_storm, tear_down);
  return g_test_run ();
}
