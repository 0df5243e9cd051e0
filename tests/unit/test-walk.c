/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Walks by hand come where open() comes, with the same errors, and never leave their mount: each
 * path of a tree with several mounts is walked freely, and from mount to mount as the service has
 * it done, and compared with what the kernel says of it. All that is in namespaces and by a user of
 * its own; where these cannot be had, there is one mount only.
 */
#include "fscache/openers/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/mounts.h"
#include "fscache/privileges.h"
#include "protocol/uri.h"
#include "tests/harness/descriptors.h"
#include "tests/harness/namespace.h"
#include "tests/harness/tap.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

#define STRANGER 65534
#define HOPS_MAX 200

typedef struct
{
  char *dir;
  FscLoop *loop;
  FscMounts *mounts;
  gboolean has_mounts; /* else what would be mounts are directories */
  gboolean is_root;
  guint n_hops;
} Tree;

/* The tree. "@" at the beginning of a target is the tree. */

static const struct
{
  const char *name;
  char kind; /* (d)irectory, (f)ile, (l)ink, (t)mpfs, tmpfs without s(y)mlinks, (b)ind mount */
  const char *target;
} things[] = {
  { "a", 'd' },
  { "a/b", 'd' },
  { "a/b/c", 'd' },
  { "a/b/c/f", 'f' },
  { "a/f", 'f' },
  { "a/rel", 'l', "b/c" },
  { "a/abs", 'l', "@/a/b" },
  { "a/up", 'l', "b/../../a/b" },
  { "a/slash", 'l', "b//./c//" },
  { "a/dot", 'l', "b/c/." },
  { "a/fl", 'l', "f" },
  { "a/fslash", 'l', "f/" },
  { "a/flfl", 'l', "fl" },
  { "a/root", 'l', "/" },
  { "a/rootup", 'l', "/../..//@/a" },
  { "a/dangling", 'l', "nowhere" },
  { "a/dangling2", 'l', "dangling/x" },
  { "a/self", 'l', "self" },
  { "a/round1", 'l', "round2" },
  { "a/round2", 'l', "./round1/x" },
  { "a/proc", 'l', "/proc/self/fd/0" },
  { "locked", 'd' },
  { "locked/f", 'f' },
  { "locked/out", 'l', "../a/b" },
  { "tolocked", 'l', "locked/f" },
  { "tolocked2", 'l', "locked" },
  { "m1", 't' },
  { "m1/d", 'd' },
  { "m1/d/f", 'f' },
  { "m1/rel", 'l', "d/f" },
  { "m1/in", 'l', "@/m1/d" },
  { "m1/in2", 'l', "@//m1/./d/../d" },
  { "m1/mountself", 'l', "@/m1" },
  { "m1/out", 'l', "../a/b" },
  { "m1/outfile", 'l', "../a/f" },
  { "m1/abs", 'l', "@/a/rel/f" },
  { "m1/tom2", 'l', "../m2/c" },
  { "m1/dangling", 'l', "../a/nothing" },
  { "m1/dotdot", 'l', ".." },
  { "m1/locked", 'd' },
  { "m1/locked/f", 'f' },
  { "m1/locked/m", 't' },
  { "m1/m3", 't' },
  { "m1/m3/x", 'f' },
  { "m1/m3/far", 'l', "../../m2/c/f" },
  { "m1/m3/near", 'l', "../d" },
  { "m1/down", 'd' },
  { "m1/down/l", 'l', "m" },
  { "m1/down/m", 'b', "a/b" },
  { "m1/other", 'd' },
  { "m1/other/l", 'l', "m" },
  { "m1/other/m", 'd' },
  { "m2", 'b', "a/b" },
  { "m2/c2", 'd' },
  { "mf", 'B', "a/f" },
  { "tomf", 'l', "mf" },
  { "into", 'l', "m1/d" },
  { "into2", 'l', "@/m1/m3/far" },
  { "tomount", 'l', "m1" },
  { "tomountslash", 'l', "m1/" },
  { "cross1", 'l', "m1/cross2" },
  { "m1/cross2", 'l', "../m1/m3/cross3" },
  { "m1/m3/cross3", 'l', "@/cross4" },
  { "cross4", 'l', "m2/c" },
  { "ring", 'l', "m1/ring" },
  { "m1/ring", 'l', "m3/ring/x" },
  { "m1/m3/ring", 'l', "../../ring" },
  { "nofollow", 'y' },
  { "nofollow/d", 'd' },
  { "nofollow/l", 'l', "d" },
  { "nofollow/o", 'l', "../a" },
  { "tonofollow", 'l', "nofollow/l" },
  { "sticky", 'd' },
  { "sticky/theirs", 'l', "../a/f" },
  { "sticky/theirdir", 'l', "../m1/d" },
  { "tosticky", 'l', "sticky/theirs" },
};

static void
make_thing (Tree *tree, guint i)
{
  g_autofree char *path = g_build_filename (tree->dir, things[i].name, NULL);
  g_autofree char *source
      = things[i].target != NULL ? g_build_filename (tree->dir, things[i].target, NULL) : NULL;
  g_auto (GStrv) parts = g_strsplit (things[i].target != NULL ? things[i].target : "", "@", -1);
  g_autofree char *target = g_strjoinv (tree->dir, parts);
  int fd;

  switch (things[i].kind)
    {
    case 'l':
      g_assert_no_errno (symlink (target, path));
      return;
    case 'f':
    case 'B':
      fd = open (path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
      g_assert_cmpint (fd, >=, 0);
      close (fd);
      break;
    default:
      if (g_mkdir (path, 0755) < 0)
        g_assert_cmpint (errno, ==, EEXIST);
    }
  if (!tree->has_mounts)
    return;
  if (things[i].kind == 't' || things[i].kind == 'y')
    g_assert_no_errno (
        mount ("none", path, "tmpfs", things[i].kind == 'y' ? MS_NOSYMFOLLOW : 0, "mode=0755"));
  else if (things[i].kind == 'b' || things[i].kind == 'B')
    g_assert_no_errno (mount (source, path, NULL, MS_BIND, NULL));
}

/* A chain of links over two mounts. */
static void
make_chain (Tree *tree, const char *name, guint length)
{
  for (guint i = 0; i < length; i++)
    {
      g_autofree char *path
          = g_strdup_printf ("%s/%s%s%u", tree->dir, i % 2 != 0 ? "m1/" : "", name, i);
      g_autofree char *next
          = i + 1 < length
                ? g_strdup_printf ("%s/%s%s%u", tree->dir, i % 2 == 0 ? "m1/" : "", name, i + 1)
                : g_strdup_printf ("%s/a/f", tree->dir);

      g_assert_no_errno (symlink (next, path));
    }
}

static void
change (Tree *tree, const char *name, int mode, int owner)
{
  g_autofree char *path = g_build_filename (tree->dir, name, NULL);

  if (mode != 0)
    g_assert_no_errno (chmod (path, (mode_t) mode & 07777));
  if (owner >= 0)
    g_assert_no_errno (lchown (path, (uid_t) owner, (gid_t) owner));
}

static gboolean
before_wait (gpointer data)
{
  return FALSE;
}

static void
tree_init (Tree *tree, const char *dir)
{
  static const int modes = 01777;
  g_autoptr (GError) error = NULL;

  *tree = (Tree){ .dir = g_strdup (dir), .is_root = getuid () == 0 };
  tree->has_mounts
      = fsc_test_enter_namespaces () && mount ("none", dir, "tmpfs", 0, "mode=0755") == 0;
  for (guint i = 0; i < G_N_ELEMENTS (things); i++)
    make_thing (tree, i);
  make_chain (tree, "forty", 40);
  make_chain (tree, "more", 41);
  if (tree->is_root)
    {
      change (tree, "sticky", modes, 1000);
      change (tree, "sticky/theirs", 0, 1001);
      change (tree, "sticky/theirdir", 0, 1001);
    }
  change (tree, "m1", 01777 & 0777, -1); /* for who renames there */
  change (tree, "locked", 01000, -1);
  change (tree, "m1/locked", 01000, -1);
  if (tree->is_root)
    g_assert_no_errno (setresgid (STRANGER, STRANGER, STRANGER));
  if (tree->is_root)
    g_assert_no_errno (setresuid (STRANGER, STRANGER, STRANGER));
  g_assert_true (fsc_privileges_drop ());

  tree->loop = fsc_loop_new (before_wait, NULL, &error);
  g_assert_no_error (error);
  tree->mounts = fsc_mounts_new (tree->loop, &error);
  g_assert_no_error (error);
}

static void
tree_clear (Tree *tree)
{
  fsc_mounts_free (tree->mounts);
  fsc_loop_free (tree->loop);
  g_free (tree->dir);
}

/* Walking */

static guint32
get_mount (int fd)
{
  struct statx st;

  g_assert_no_errno (statx (fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st));
  return (guint32) st.stx_mnt_id;
}

/* What a walk has found, as open() would tell it. */
static int
take_last (FscWalk *walk, int flags)
{
  int fd = walk->last;

  if (fd < 0)
    return -ENOENT;
  if (!S_ISDIR (walk->last_mode)
      && ((flags & O_DIRECTORY) != 0 || g_str_has_suffix (walk->name, "/")))
    return -ENOTDIR;
  walk->last = -1;
  return fd;
}

/* Walks one mount. Whatever it opens lies there. */
static FscWalkState
walk_mount (FscWalk *walk, const char *path, const FscMount *mount, const FscBookmark *bookmark,
            int flags)
{
  FscWalkState state
      = fsc_walk_begin (walk, path, mount != NULL ? mount->length : 0, bookmark, flags);

  while (state == FSC_WALK_ON)
    {
      if (walk->resolve != 0)
        g_assert_cmpuint (get_mount (walk->directory), ==, mount->id);
      state = fsc_walk_step (walk);
    }
  if (state == FSC_WALK_ARRIVED && walk->resolve != 0 && walk->last >= 0)
    g_assert_cmpuint (get_mount (walk->last), ==, mount->id);
  return state;
}

/* What becomes of a text on its way from one opener to the next. */
static char *
send (const char *text)
{
  char uri[FSC_URI_MAX + 1], path[FSC_URI_MAX + 1];
  int length = fsc_uri_from_path ((FscBytes){ text, strlen (text) }, uri, sizeof uri);

  g_assert_cmpint (length, >, 0);
  g_assert_cmpint (fsc_uri_to_path ((FscBytes){ uri, (size_t) length }, path, sizeof path), >, 0);
  return g_strdup (path);
}

/* Returns a descriptor or a negative errno. */
static int
walk_path (Tree *tree, const char *path, int flags, gboolean is_free)
{
  g_autofree char *text = g_strdup (path);
  FscBookmark bookmark;
  gboolean is_resumed = FALSE;
  guint32 last_mount = 0;

  for (guint i = 0; i < HOPS_MAX; i++)
    {
      const FscMount *mount = is_free ? NULL : fsc_mounts_find (tree->mounts, text);
      FscWalk walk;
      FscWalkState state = walk_mount (&walk, text, mount, is_resumed ? &bookmark : NULL, flags);
      int result = state == FSC_WALK_ARRIVED  ? take_last (&walk, flags)
                   : state == FSC_WALK_MAGIC  ? -ELOOP
                   : state == FSC_WALK_FAILED ? -walk.error
                                              : 0;

      fsc_walk_end (&walk);
      if (state != FSC_WALK_ELSEWHERE)
        {
          g_assert_cmpint (state, !=, FSC_WALK_CHANGED);
          return result;
        }
      g_assert_nonnull (mount);
      g_assert_true (mount->id != last_mount || !g_str_equal (walk.text, text)); /* it goes on */
      last_mount = mount->id;
      g_free (text);
      text = send (walk.text);
      bookmark = walk.bookmark;
      is_resumed = TRUE;
      tree->n_hops++;
    }
  g_assert_not_reached ();
}

static char *
describe (int fd)
{
  g_autofree char *link = g_strdup_printf ("/proc/self/fd/%d", fd);
  char target[PATH_MAX + 1];
  struct statx st;
  ssize_t n;

  if (fd < 0)
    return g_strdup (g_strerror (-fd));
  n = readlink (link, target, PATH_MAX);
  g_assert_cmpint (n, >, 0);
  target[n] = '\0';
  g_assert_no_errno (statx (fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &st));
  return g_strdup_printf ("%s, inode %u:%u:%" G_GUINT64_FORMAT ", mount %u", target,
                          st.stx_dev_major, st.stx_dev_minor, (guint64) st.stx_ino,
                          (guint) st.stx_mnt_id);
}

static void
compare (Tree *tree, const char *path, int flags)
{
  int expected = fsc_walk_open (AT_FDCWD, path, O_PATH | flags, 0, 0);
  g_autofree char *right = describe (expected >= 0 ? expected : -errno);

  for (guint is_free = 0; is_free < 2; is_free++)
    {
      int fd = walk_path (tree, path, flags, is_free != 0);
      g_autofree char *found = describe (fd);

      if (!g_str_equal (found, right))
        g_error ("%s, flags %#o, %s: %s, and not %s", path, flags, is_free ? "freely" : "by mounts",
                 found, right);
      if (fd >= 0)
        close (fd);
    }
  if (expected >= 0)
    close (expected);
}

static void
compare_all_flags (Tree *tree, const char *path)
{
  static const int flags[] = { 0, O_NOFOLLOW, O_DIRECTORY, O_DIRECTORY | O_NOFOLLOW };

  for (guint i = 0; i < G_N_ELEMENTS (flags); i++)
    compare (tree, path, flags[i]);
}

/* Tests. Each is a child with a tree. */

static void
test_table (Tree *tree)
{
  static const char *const tails[]
      = { "",   "/",     "/.",  "/..",     "/f",       "/c/f",       "/c/../c/./f", "/nothing",
          "/x", "/f/..", "/d/", "/../a/f", "/../..//", "/m3/near/f", "/m3/../d" };

  for (guint i = 0; i < G_N_ELEMENTS (things); i++)
    for (guint j = 0; j < G_N_ELEMENTS (tails); j++)
      {
        g_autofree char *path = g_strconcat (tree->dir, "/", things[i].name, tails[j], NULL);

        compare_all_flags (tree, path);
      }
  if (tree->has_mounts)
    g_assert_cmpuint (tree->n_hops, >, 500);
}

static void
test_elsewhere (Tree *tree)
{
  static const char *const paths[]
      = { "/",          "/..",        "/.",        "/../..",        "/proc/self/status",
          "/dev/stdin", "/dev/fd/63", "/proc",     "/proc/1/root/", "/proc/self/cwd/etc",
          "/dev/null/", "/nothing/x", "/usr/bin/", "/bin/sh",       "/proc/self/exe" };

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    if (!g_str_has_prefix (paths[i], "/proc/self/") && !g_str_has_prefix (paths[i], "/dev/fd"))
      compare_all_flags (tree, paths[i]);
    else
      compare (tree, paths[i], 0);
}

/* As many symlinks as the kernel follows, over all hops, and one more. */
static void
test_many_links (Tree *tree)
{
  static const char *const names[] = { "forty0", "more0", "more1", "m1/more1", "m1/forty1" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = g_build_filename (tree->dir, names[i], NULL);

      compare_all_flags (tree, path);
    }
  if (tree->has_mounts)
    g_assert_cmpuint (tree->n_hops, >, 100);
}

static void
test_random (Tree *tree)
{
  for (guint i = 0; i < 20000; i++)
    {
      g_autoptr (GString) path = g_string_new (tree->dir);

      for (int n = g_test_rand_int_range (1, 6); n > 0; n--)
        {
          guint which = (guint) g_test_rand_int_range (0, G_N_ELEMENTS (things) + 20);
          const char *name = which < G_N_ELEMENTS (things)        ? things[which].name
                             : which < G_N_ELEMENTS (things) + 9  ? ".."
                             : which < G_N_ELEMENTS (things) + 12 ? "."
                             : which < G_N_ELEMENTS (things) + 14 ? ""
                             : which < G_N_ELEMENTS (things) + 17 ? "f"
                                                                  : "nothing";

          g_string_append_printf (
              path, "/%s",
              g_test_rand_bit () && strchr (name, '/') != NULL ? strrchr (name, '/') + 1 : name);
        }
      compare (tree, path->str, g_test_rand_bit () ? O_NOFOLLOW : 0);
    }
}

/* What is longer than a path may be, and what becomes longer on the way. */
static void
test_long (Tree *tree)
{
  g_autofree char *many = g_strnfill (3000, '/');
  g_autofree char *much = g_strnfill (4090, '/');
  g_autofree char *name = g_strnfill (256, 'x');
  const char *const ends[] = { many, much };

  for (guint i = 0; i < G_N_ELEMENTS (ends); i++)
    {
      g_autofree char *path = g_strconcat (tree->dir, ends[i], "into", ends[i], "f", NULL);
      g_autofree char *fits = g_strconcat (tree->dir, ends[i], "into", NULL);

      compare_all_flags (tree, path);
      compare_all_flags (tree, fits);
    }
  {
    g_autofree char *path = g_build_filename (tree->dir, "into", name, NULL);
    g_autofree char *inner = g_build_filename (tree->dir, "locked", name, "f", NULL);

    compare_all_flags (tree, path);
    compare_all_flags (tree, inner);
  }
}

/* The directory that was reached has another name by the time the walk is resumed: it must not go
 * on in what has that name now. */
static void
test_renamed (Tree *tree)
{
  g_autofree char *path = g_build_filename (tree->dir, "m1/down/l/c/f", NULL);
  g_autofree char *down = g_build_filename (tree->dir, "m1/down", NULL);
  g_autofree char *other = g_build_filename (tree->dir, "m1/other", NULL);
  g_autofree char *spare = g_build_filename (tree->dir, "m1/spare", NULL);
  const FscMount *mount = fsc_mounts_find (tree->mounts, path);
  g_autofree char *text = NULL;
  FscBookmark bookmark;
  FscWalk walk;

  if (!tree->has_mounts)
    return;
  g_assert_cmpint (walk_mount (&walk, path, mount, NULL, 0), ==, FSC_WALK_ELSEWHERE);
  fsc_walk_end (&walk);
  text = g_strdup (walk.text);
  bookmark = walk.bookmark;
  g_assert_cmpuint (bookmark.length, ==, strlen (down));
  mount = fsc_mounts_find (tree->mounts, text);
  g_assert_cmpuint (mount->length, ==, strlen (down) + 2);

  for (guint i = 0; i < 4; i++)
    {
      /* Another one in its place, nothing in its place, and itself */
      if (i == 0)
        g_assert_no_errno (rename (down, spare));
      else if (i == 1)
        g_assert_no_errno (rename (other, down));
      else if (i == 2)
        g_assert_no_errno (rename (down, other));
      if (i == 3)
        g_assert_no_errno (rename (spare, down));
      g_assert_cmpint (fsc_walk_begin (&walk, text, mount->length, &bookmark, 0), ==,
                       i < 3 ? FSC_WALK_CHANGED : FSC_WALK_ON);
      fsc_walk_end (&walk);
    }
}

/* Bookmarks and lengths that no walk has made. */
static void
test_nonsense (Tree *tree)
{
  static const size_t lengths[] = { 0, 1, 2, 3, 4, 5, 6, 10, 4096, 5000, 65535 };
  g_autofree char *path = g_build_filename (tree->dir, "m1/d/f", NULL);
  FscWalk walk;

  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    for (guint j = 0; j < G_N_ELEMENTS (lengths); j++)
      {
        FscBookmark bookmark = { .length = (uint16_t) lengths[j], .n_links = (uint8_t) (i * 20) };

        if (fsc_walk_begin (&walk, path, lengths[i], &bookmark, 0) == FSC_WALK_ON)
          fsc_walk_run (&walk);
        fsc_walk_end (&walk);
      }
  g_assert_cmpint (fsc_walk_begin (&walk, "", 0, NULL, 0), ==, FSC_WALK_FAILED);
  g_assert_cmpint (fsc_walk_begin (&walk, "relative/x", 0, NULL, 0), ==, FSC_WALK_FAILED);
  fsc_walk_end (&walk);
}

typedef void (*TreeFunc) (Tree *tree);

static void
run (gconstpointer data)
{
  TreeFunc func = (TreeFunc) (gsize) data;
  g_autofree char *dir = g_dir_make_tmp ("fscache-walk-XXXXXX", NULL);
  g_autofree char *remove = g_strconcat ("chmod -R u+rwx ", dir, "; rm -rf ", dir, NULL);
  int status;
  pid_t pid = fork ();

  if (pid == 0)
    {
      Tree tree;
      char *descriptors;
      gboolean has_mounts;

      tree_init (&tree, dir);
      has_mounts = tree.has_mounts;
      descriptors = fsc_test_list_descriptors ();
      func (&tree);
      fsc_test_assert_descriptors (descriptors);
      tree_clear (&tree);
      g_free (dir);
      _exit (has_mounts ? 0 : 77);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (system (remove), ==, 0);
  g_assert_true (WIFEXITED (status));
  if (WEXITSTATUS (status) == 77)
    g_test_skip ("a mount namespace cannot be had here: all was on one mount");
  else
    g_assert_cmpint (WEXITSTATUS (status), ==, 0);
}

#define ADD(name, func) g_test_add_data_func ("/walk/" name, (gconstpointer) (gsize) (func), run)

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  ADD ("table", test_table);
  ADD ("elsewhere", test_elsewhere);
  ADD ("many-links", test_many_links);
  ADD ("random", test_random);
  ADD ("long", test_long);
  ADD ("renamed", test_renamed);
  ADD ("nonsense", test_nonsense);
  return g_test_run ();
}
