/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The trie of watches, with real inotify events: what an opener reports of a way, and whom each
 * change of a file system concerns.
 */
#include "fscache/watch.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fscache/openers/watcher.h"
#include "tests/harness/directory.h"

/* As in the cache: with a handle, so that the file is not gone when it has no name. */
typedef struct
{
  FscWatch watch; /* first */
  int fd;
  guint n[FSC_CHANGE_LOST + 1];
  guint n_watches; /* the kernel's, when it was told */
} Entry;

typedef struct
{
  char *directory;
  int lock;
  FscWatches *watches;
} Fixture;

/* What happens just before an opener adds one of its next watches. */
static struct
{
  void (*happen) (void); /* NULL: nothing */
  guint after;           /* so many watches */
} accident;

/* In the place of libc's. */
int
inotify_add_watch (int fd, const char *path, uint32_t mask)
{
  if (accident.happen != NULL && accident.after-- == 0)
    {
      accident.happen ();
      accident.happen = NULL;
    }
  return (int) syscall (SYS_inotify_add_watch, fd, path, mask);
}

/* How many watches the kernel has. */
static guint
count_watches (Fixture *fixture)
{
  g_autofree char *path
      = g_strdup_printf ("/proc/self/fdinfo/%d", fsc_watches_get_fd (fixture->watches));
  g_autofree char *content = NULL;
  guint n = 0;

  g_assert_true (g_file_get_contents (path, &content, NULL, NULL));
  for (const char *line = content; (line = strstr (line, "inotify wd:")) != NULL; line++)
    n++;
  return n;
}

static void
changed (FscWatch *watch, FscChange change, gpointer data)
{
  Entry *entry = (Entry *) watch;

  entry->n[change]++;
  entry->n_watches = count_watches (data);
}

static void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  fixture->directory = fsc_test_directory_new (&fixture->lock);
  g_assert_cmpint (chdir (fixture->directory), ==, 0);
  fixture->watches = fsc_watches_new (changed, fixture, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_assert_cmpint (chdir ("/"), ==, 0);
  g_assert_cmpuint (fsc_watches_get_counters (fixture->watches)->directories, ==, 0);
  g_assert_cmpuint (fsc_watches_get_counters (fixture->watches)->files, ==, 0);
  g_assert_cmpuint (count_watches (fixture), ==, 0);
  fsc_watches_free (fixture->watches);
  fsc_test_directory_free (fixture->directory, fixture->lock);
}

static void
write_file (const char *name)
{
  int fd = open (name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  g_assert_cmpint (fd, >=, 0);
  close (fd);
}

static void
go (Fixture *fixture, const char *name, FscWay *way)
{
  g_autofree char *path = g_build_filename (fixture->directory, name, NULL);

  g_assert_true (
      fsc_watcher_go (fsc_watches_get_fd (fixture->watches), path, O_RDONLY, false, way));
}

static gboolean
watch_since (Fixture *fixture, Entry *entry, const char *name, guint64 since)
{
  FscWay way;

  go (fixture, name, &way);
  return fsc_watches_add (fixture->watches, &entry->watch, way.steps, way.n, since);
}

static void
watch (Fixture *fixture, Entry *entry, const char *name)
{
  memset (entry->n, 0, sizeof entry->n);
  g_assert_true (watch_since (fixture, entry, name, fsc_watches_get_sequence (fixture->watches)));
  if (entry->fd > 0)
    close (entry->fd);
  entry->fd = open (name, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (entry->fd, >, 0);
}

/* What has been told since the last time; and whether it still watches. (What loses its name has
 * other attributes then, too.) */
static void
expect (Fixture *fixture, Entry *entry, guint names, guint last_names, guint attributes)
{
  fsc_watches_read (fixture->watches);
  g_assert_cmpuint (entry->n[FSC_CHANGE_NAME], ==, names);
  g_assert_cmpuint (entry->n[FSC_CHANGE_LAST_NAME], ==, last_names);
  if (names + last_names == 0)
    g_assert_cmpuint (entry->n[FSC_CHANGE_ATTRIBUTES], ==, attributes);
  g_assert_cmpuint (entry->n[FSC_CHANGE_LOST], ==, 0);
  g_assert_cmpint (entry->watch.node != NULL, ==, names + last_names == 0);
  memset (entry->n, 0, sizeof entry->n);
}

static void
end (Fixture *fixture, Entry *entry)
{
  fsc_watches_remove (fixture->watches, &entry->watch);
  if (entry->fd > 0)
    close (entry->fd);
  entry->fd = 0;
}

static void
write_to (const char *name, int flags)
{
  int fd = open (name, O_WRONLY | flags | O_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, "x", 1), ==, 1);
  close (fd);
}

/* What is written to a file concerns only who has asked for that. */
static void
test_content (Fixture *fixture, gconstpointer data)
{
  Entry name = { 0 }, content = { 0 };
  g_autofree char *path = g_build_filename (fixture->directory, "a", NULL);
  guint64 since = fsc_watches_get_sequence (fixture->watches);
  FscWay way;

  write_file ("a");
  watch (fixture, &name, "a");
  write_to ("a", 0);
  expect (fixture, &name, 0, 0, 0);

  since = fsc_watches_get_sequence (fixture->watches);
  g_assert_true (
      fsc_watcher_go (fsc_watches_get_fd (fixture->watches), path, O_RDONLY, true, &way));
  g_assert_true (fsc_watches_add (fixture->watches, &content.watch, way.steps, way.n, since));
  content.watch.hears_content = TRUE;
  write_to ("a", O_APPEND);
  fsc_watches_read (fixture->watches);
  g_assert_cmpuint (content.n[FSC_CHANGE_ATTRIBUTES], >=, 1);
  expect (fixture, &name, 0, 0, 0);
  content.n[FSC_CHANGE_ATTRIBUTES] = 0;

  g_assert_cmpint (truncate ("a", 0), ==, 0);
  expect (fixture, &content, 0, 0, 1);
  expect (fixture, &name, 0, 0, 0);
  g_assert_cmpint (chmod ("a", 0644), ==, 0);
  expect (fixture, &content, 0, 0, 1);
  expect (fixture, &name, 0, 0, 1);

  /* What is written between the look and the report is not lost. */
  since = fsc_watches_get_sequence (fixture->watches);
  g_assert_true (
      fsc_watcher_go (fsc_watches_get_fd (fixture->watches), path, O_RDONLY, true, &way));
  write_to ("a", 0);
  fsc_watches_read (fixture->watches);
  g_assert_false (fsc_watches_add (fixture->watches, &content.watch, way.steps, way.n, since));
  end (fixture, &content);
  end (fixture, &name);
}

/* What is known to have changed is not to wait until the kernel's watches are ended. */
static void
test_told_first (Fixture *fixture, gconstpointer data)
{
  Entry entry = { 0 };
  guint n;

  write_file ("a");
  write_file ("b");
  watch (fixture, &entry, "a");
  n = count_watches (fixture);
  g_assert_cmpuint (n, >=, 2);
  g_assert_cmpint (rename ("b", "a"), ==, 0);
  expect (fixture, &entry, 0, 1, 0);
  g_assert_cmpuint (entry.n_watches, ==, n);
  g_assert_cmpuint (count_watches (fixture), ==, 0);
  end (fixture, &entry);
}

static void
test_names (Fixture *fixture, gconstpointer data)
{
  Entry f = { 0 }, g = { 0 };

  g_mkdir_with_parents ("a/b", 0700);
  write_file ("a/b/f");
  write_file ("a/b/g");
  watch (fixture, &f, "a/b/f");
  watch (fixture, &g, "a/b/g");
  expect (fixture, &f, 0, 0, 0);

  write_file ("a/b/new"); /* and what else is there is nobody's */
  g_assert_cmpint (unlink ("a/b/new"), ==, 0);
  expect (fixture, &f, 0, 0, 0);

  write_file ("other");
  g_assert_cmpint (rename ("other", "a/b/f"), ==, 0);
  expect (fixture, &f, 0, 1, 0);
  expect (fixture, &g, 0, 0, 0);

  watch (fixture, &f, "a/b/f");
  g_assert_cmpint (renameat2 (AT_FDCWD, "a/b/f", AT_FDCWD, "a/b/g", RENAME_EXCHANGE), ==, 0);
  expect (fixture, &f, 0, 1, 0);
  expect (fixture, &g, 0, 1, 0);

  watch (fixture, &f, "a/b/f");
  g_assert_cmpint (unlink ("a/b/f"), ==, 0);
  expect (fixture, &f, 0, 1, 0);

  watch (fixture, &g, "a/b/g");
  g_assert_cmpint (rename ("a", "c"), ==, 0);
  expect (fixture, &g, 1, 0, 0);
  end (fixture, &f);
  end (fixture, &g);
}

static void
test_attributes (Fixture *fixture, gconstpointer data)
{
  Entry f = { 0 };
  /* user::rw- group::r-- mask::r-- other::r--, and user 12345: r-- */
  static const guint8 acl[]
      = { 2, 0,  0,    0,    1,    0,    6,  0, 0xff, 0xff, 0xff, 0xff, 2,    0,   4,
          0, 57, 48,   0,    0,    4,    0,  4, 0,    0xff, 0xff, 0xff, 0xff, 16,  0,
          4, 0,  0xff, 0xff, 0xff, 0xff, 32, 0, 4,    0,    0xff, 0xff, 0xff, 0xff };

  g_mkdir_with_parents ("a/b", 0700);
  write_file ("a/b/f");
  g_assert_cmpint (link ("a/b/f", "by-another-name"), ==, 0);
  watch (fixture, &f, "a/b/f");

  g_assert_cmpint (chmod ("a/b/f", 0640), ==, 0);
  expect (fixture, &f, 0, 0, 1);
  g_assert_cmpint (chmod ("by-another-name", 0600), ==, 0);
  expect (fixture, &f, 0, 0, 1);
  g_assert_cmpint (chmod ("a/b", 0711), ==, 0);
  expect (fixture, &f, 0, 0, 1);
  g_assert_cmpint (chmod ("a", 0711), ==, 0);
  expect (fixture, &f, 0, 0, 1);
  if (setxattr ("a/b/f", "system.posix_acl_access", acl, sizeof acl, 0) == 0)
    expect (fixture, &f, 0, 0, 1);
  end (fixture, &f);
}

static void
test_symlinks (Fixture *fixture, gconstpointer data)
{
  g_autofree char *target = g_build_filename (fixture->directory, "real/f", NULL);
  Entry through = { 0 }, middle = { 0 };

  g_mkdir_with_parents ("real", 0700);
  g_mkdir_with_parents ("ways", 0700);
  write_file ("real/f");
  g_assert_cmpint (symlink (target, "ways/absolute"), ==, 0);
  g_assert_cmpint (symlink ("../real", "ways/directory"), ==, 0);
  watch (fixture, &through, "ways/absolute");
  watch (fixture, &middle, "ways/directory/f");

  /* What the link led to. */
  write_file ("other");
  g_assert_cmpint (rename ("other", "real/f"), ==, 0);
  expect (fixture, &through, 0, 1, 0);
  expect (fixture, &middle, 0, 1, 0);

  /* The link. */
  watch (fixture, &through, "ways/absolute");
  watch (fixture, &middle, "ways/directory/f");
  g_assert_cmpint (symlink ("/nowhere", "ways/swap"), ==, 0);
  g_assert_cmpint (rename ("ways/swap", "ways/absolute"), ==, 0);
  expect (fixture, &through, 1, 0, 0);
  expect (fixture, &middle, 0, 0, 0);
  g_assert_cmpint (symlink ("/nowhere", "ways/swap"), ==, 0);
  g_assert_cmpint (rename ("ways/swap", "ways/directory"), ==, 0);
  expect (fixture, &middle, 1, 0, 0);
  end (fixture, &through);
  end (fixture, &middle);
}

/* The same directory several times on one way, and by several ways. */
static void
test_round_about (Fixture *fixture, gconstpointer data)
{
  Entry round = { 0 }, straight = { 0 }, itself = { 0 };

  g_mkdir_with_parents ("a/b", 0700);
  write_file ("a/f");
  watch (fixture, &round, "a/b/../b/../f");
  watch (fixture, &straight, "a/f");
  watch (fixture, &itself, "a/b/../../a");
  g_assert_cmpint (chmod ("a", 0711), ==, 0);
  expect (fixture, &round, 0, 0, 1);
  expect (fixture, &straight, 0, 0, 1);
  expect (fixture, &itself, 0, 0, 1);
  g_assert_cmpint (rename ("a/b", "c"), ==, 0);
  expect (fixture, &round, 1, 0, 0);
  expect (fixture, &straight, 0, 0, 0);
  expect (fixture, &itself, 1, 0, 0);
  end (fixture, &straight);
  end (fixture, &round);
  end (fixture, &itself);
}

/* What happens between the opener's look and its report. */
static void
test_journal (Fixture *fixture, gconstpointer data)
{
  Entry f = { 0 }, g = { 0 };
  guint64 since = fsc_watches_get_sequence (fixture->watches);
  FscWay way;

  g_mkdir_with_parents ("a", 0700);
  write_file ("a/f");
  write_file ("a/g");

  go (fixture, "a/f", &way);
  write_file ("other");
  g_assert_cmpint (rename ("other", "a/f"), ==, 0);
  fsc_watches_read (fixture->watches);
  g_assert_false (fsc_watches_add (fixture->watches, &f.watch, way.steps, way.n, since));
  g_assert_true (watch_since (fixture, &g, "a/g", since)); /* which it does not concern */

  /* Not read yet: it is told when it is. */
  since = fsc_watches_get_sequence (fixture->watches);
  go (fixture, "a/f", &way);
  g_assert_cmpint (rename ("a/f", "a/h"), ==, 0);
  g_assert_true (fsc_watches_add (fixture->watches, &f.watch, way.steps, way.n, since));
  expect (fixture, &f, 0, 1, 0);

  /* The watches of the way were removed, with the last who needed them, after the look. */
  since = fsc_watches_get_sequence (fixture->watches);
  go (fixture, "a/g", &way);
  end (fixture, &g);
  g_assert_false (fsc_watches_add (fixture->watches, &g.watch, way.steps, way.n, since));

  /* More than the journal holds. */
  since = fsc_watches_get_sequence (fixture->watches);
  go (fixture, "a/g", &way);
  for (guint i = 0; i < 2100; i++)
    {
      write_file ("a/x");
      g_assert_cmpint (unlink ("a/x"), ==, 0);
      fsc_watches_read (fixture->watches);
    }
  g_assert_false (fsc_watches_add (fixture->watches, &g.watch, way.steps, way.n, since));
}

static void
exchange (const char *one, const char *other)
{
  g_assert_cmpint (renameat2 (AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE), ==, 0);
}

static void
exchange_grandparents (void)
{
  exchange ("a", "A");
}

static void
exchange_parents (void)
{
  exchange ("a/b", "a/B");
}

static void
exchange_files (void)
{
  exchange ("a/b/f", "a/b/F");
}

/* Between any two watches that the opener adds: either it looks up what is there since then, or
 * there is an event. So it is told that the file changes to which the name leads now. */
static void
test_meanwhile (Fixture *fixture, gconstpointer data)
{
  static void (*const exchanges[]) (void)
      = { exchange_grandparents, exchange_parents, exchange_files };
  static const char *const files[] = { "a/b/f", "a/b/F", "a/B/f", "A/b/f" };
  gboolean is_over = FALSE;

  g_mkdir_with_parents ("a/b", 0700);
  g_mkdir_with_parents ("a/B", 0700);
  g_mkdir_with_parents ("A/b", 0700);
  g_mkdir_with_parents ("A/B", 0700);
  for (guint i = 0; i < G_N_ELEMENTS (files); i++)
    write_file (files[i]);
  for (guint after = 0; !is_over; after++)
    for (guint i = 0; i < G_N_ELEMENTS (exchanges); i++)
      {
        guint64 since = fsc_watches_get_sequence (fixture->watches);
        Entry f = { 0 };
        FscWay way;

        accident.happen = exchanges[i];
        accident.after = after;
        go (fixture, "a/b/f", &way);
        is_over = accident.happen != NULL;
        accident.happen = NULL;
        g_assert_cmpint (chmod ("a/b/f", 0640), ==, 0);
        g_assert_cmpint (chmod ("a/b/f", 0600), ==, 0);
        if (fsc_watches_add (fixture->watches, &f.watch, way.steps, way.n, since))
          {
            fsc_watches_read (fixture->watches);
            g_assert_cmpuint (f.n[FSC_CHANGE_NAME] + f.n[FSC_CHANGE_LAST_NAME]
                                  + f.n[FSC_CHANGE_ATTRIBUTES],
                              >, 0);
          }
        end (fixture, &f);
        if (!is_over)
          exchanges[i]();
        fsc_watches_read (fixture->watches);
      }
}

/* What is not used is not kept: a way that cannot be watched to its end, and a report that comes
 * too late, of which some steps are needed by others. */
static void
test_in_vain (Fixture *fixture, gconstpointer data)
{
  Entry f = { 0 };
  FscWay way;
  guint n, in_use;

  g_mkdir_with_parents ("a/b/c/d", 0700);
  write_file ("a/f");
  write_file ("a/b/c/d/g");
  watch (fixture, &f, "a/f");
  in_use = count_watches (fixture);

  g_assert_false (fsc_watcher_go (fsc_watches_get_fd (fixture->watches), "/proc/self/status",
                                  O_RDONLY, false, &way));
  g_assert_cmpuint (way.n, ==, 2); /* in "/", "proc"; and that this is all */
  g_assert_cmpuint (way.steps[1].name.length, ==, 0);
  fsc_watches_forget (fixture->watches, way.steps, way.n);
  g_assert_cmpuint (count_watches (fixture), ==, in_use);

  go (fixture, "a/b/c/d/g", &way);
  n = count_watches (fixture);
  g_assert_cmpuint (n, ==, in_use + 4);
  fsc_watches_forget (fixture->watches, way.steps, way.n);
  g_assert_cmpuint (count_watches (fixture), ==, in_use);
  write_file ("other");
  g_assert_cmpint (rename ("other", "a/f"), ==, 0);
  expect (fixture, &f, 0, 1, 0);
  end (fixture, &f);
}

/* A symlink has no watch of its own; but its owner may decide whether it can be followed. */
static void
test_owner_of_link (Fixture *fixture, gconstpointer data)
{
  Entry through = { 0 }, f = { 0 };

  g_mkdir_with_parents ("real", 0700);
  write_file ("real/f");
  g_assert_cmpint (symlink ("real", "link"), ==, 0);
  watch (fixture, &through, "link/f");
  watch (fixture, &f, "real/f");
  g_assert_cmpint (lchown ("link", geteuid (), getegid ()), ==, 0);
  expect (fixture, &through, 0, 0, 1);
  expect (fixture, &f, 0, 0, 0);
  end (fixture, &through);
  end (fixture, &f);
}

/* All that was queued before is read at once, however long the names are: 2 MiB of them. */
static void
test_long_names (Fixture *fixture, gconstpointer data)
{
  g_autofree char *long_name = g_strnfill (240, 'n');
  Entry f = { 0 };

  g_mkdir_with_parents ("a", 0700);
  write_file ("a/f");
  watch (fixture, &f, "a/f");
  for (guint i = 0; i < 4000; i++)
    {
      g_autofree char *name = g_strdup_printf ("a/%s%u", long_name, i);

      write_file (name);
      g_assert_cmpint (unlink (name), ==, 0);
    }
  write_file ("other");
  g_assert_cmpint (rename ("other", "a/f"), ==, 0);
  expect (fixture, &f, 0, 1, 0);
  end (fixture, &f);
}

static void
test_overflow (Fixture *fixture, gconstpointer data)
{
  Entry f = { 0 };
  guint64 since;

  g_mkdir_with_parents ("a", 0700);
  write_file ("a/f");
  watch (fixture, &f, "a/f");
  since = fsc_watches_get_sequence (fixture->watches);
  for (guint i = 0; i < 8500; i++)
    {
      g_autofree char *name = g_strdup_printf ("a/%u", i % 2);

      g_assert_cmpint (close (open (name, O_CREAT | O_WRONLY, 0600)), ==, 0);
      g_assert_cmpint (unlink (name), ==, 0);
    }
  fsc_watches_read (fixture->watches);
  g_assert_cmpuint (fsc_watches_get_counters (fixture->watches)->overflows, ==, 1);
  g_assert_cmpuint (f.n[FSC_CHANGE_LOST], ==, 1);
  g_assert_null (f.watch.node);
  g_assert_false (watch_since (fixture, &f, "a/f", since));
  watch (fixture, &f, "a/f");
  end (fixture, &f);
}

/* 5,000 entries in 50 directories, watched and removed in any order. */
static void
test_many (Fixture *fixture, gconstpointer data)
{
  g_autofree Entry *entries = g_new0 (Entry, 5000);

  for (guint i = 0; i < 50; i++)
    {
      g_autofree char *name = g_strdup_printf ("d%u/e", i);

      g_mkdir_with_parents (name, 0700);
    }
  for (guint i = 0; i < 5000; i++)
    {
      g_autofree char *name = g_strdup_printf ("d%u/e/%u", i % 50, i);

      write_file (name);
    }
  for (guint i = 0; i < 5000; i++)
    {
      g_autofree char *name = g_strdup_printf ("d%u/e/%u", i % 50, i);

      g_assert_true (
          watch_since (fixture, &entries[i], name, fsc_watches_get_sequence (fixture->watches)));
    }
  g_assert_cmpuint (fsc_watches_get_counters (fixture->watches)->files, ==, 5000);
  g_assert_cmpint (rename ("d7", "moved"), ==, 0);
  fsc_watches_read (fixture->watches);
  for (guint i = 0; i < 5000; i++)
    g_assert_cmpuint (entries[i].n[FSC_CHANGE_NAME], ==, i % 50 == 7);
  for (guint i = 0; i < 2000; i++)
    end (fixture, &entries[g_test_rand_int_range (0, 5000)]);
  for (guint i = 0; i < 5000; i++)
    end (fixture, &entries[i]);
}

int
main (int argc, char *argv[])
{
  static const struct
  {
    const char *name;
    void (*func) (Fixture *fixture, gconstpointer data);
  } tests[] = {
    { "/watch/told-first", test_told_first }, { "/watch/names", test_names },
    { "/watch/content", test_content },       { "/watch/attributes", test_attributes },
    { "/watch/symlinks", test_symlinks },     { "/watch/round-about", test_round_about },
    { "/watch/journal", test_journal },       { "/watch/meanwhile", test_meanwhile },
    { "/watch/overflow", test_overflow },     { "/watch/many", test_many },
    { "/watch/in-vain", test_in_vain },       { "/watch/owner-of-link", test_owner_of_link },
    { "/watch/long-names", test_long_names },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].name, Fixture, NULL, set_up, tests[i].func, tear_down);
  return g_test_run ();
}
