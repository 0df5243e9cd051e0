/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Paths that lead through several mounts. They are answered as open() answers them; and when one of
 * the mounts is dead, that costs the requests whose way leads through it, and no others, wherever
 * their paths begin: each lane has one opener only here. The dead mount is a FUSE server of the
 * test's own, which is stopped. All is in a mount namespace of the test's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/fuse.h"
#include "tests/harness/namespace.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

static const char config[] = "[lanes]\nopeners=1\ndeadline=1.5\n[file]\nttl=0\n";

/* The stage: a tmpfs "t" with files, in which there are other mounts. */

typedef struct
{
  FscTestService *service;
  FscacheClient *client;
  char *dir;
  char *dead; /* where the FUSE mount is */
  pid_t server;
} Stage;

static char *
get_path (const Stage *stage, const char *name)
{
  return g_build_filename (stage->dir, name, NULL);
}

static void
make_dir (const Stage *stage, const char *name)
{
  g_autofree char *path = get_path (stage, name);

  g_assert_no_errno (g_mkdir (path, 0755));
}

static void
make_file (const Stage *stage, const char *name)
{
  g_autofree char *path = get_path (stage, name);

  g_assert_true (g_file_set_contents (path, "1234", 4, NULL));
}

/* "@" at the beginning is the stage. */
static void
make_link (const Stage *stage, const char *name, const char *target)
{
  g_autofree char *path = get_path (stage, name);
  g_autofree char *absolute = g_strconcat (stage->dir, target + 1, NULL);

  g_assert_no_errno (symlink (target[0] == '@' ? absolute : target, path));
}

static void
make_tmpfs (const Stage *stage, const char *name)
{
  g_autofree char *path = get_path (stage, name);

  g_assert_no_errno (mount ("none", path, "tmpfs", 0, "mode=0755"));
}

static void
bind (const Stage *stage, const char *from, const char *to)
{
  g_autofree char *source = get_path (stage, from);
  g_autofree char *target = get_path (stage, to);

  g_assert_no_errno (mount (source, target, NULL, MS_BIND, NULL));
}

static void
stage_init (Stage *stage, const char *fuse_type)
{
  g_autofree char *target = NULL;

  *stage = (Stage){ .service = fsc_test_service_prepare (config, NULL) };
  stage->dir = g_build_filename (stage->service->dir, "t", NULL);
  stage->dead = get_path (stage, "dead");
  target = get_path (stage, "a/f");
  g_assert_no_errno (g_mkdir (stage->dir, 0755));
  g_assert_no_errno (mount ("none", stage->dir, "tmpfs", 0, "mode=0755"));
  make_dir (stage, "a");
  make_dir (stage, "a/b");
  make_dir (stage, "m1");
  make_dir (stage, "m2");
  make_dir (stage, "dead");
  make_file (stage, "a/f");
  make_file (stage, "a/b/g");
  make_file (stage, "mf");
  make_tmpfs (stage, "m1");
  make_dir (stage, "m1/d");
  make_dir (stage, "m1/m3");
  make_tmpfs (stage, "m1/m3");
  make_file (stage, "m1/d/f");
  make_file (stage, "m1/m3/x");
  bind (stage, "a/b", "m2");
  bind (stage, "a/f", "mf");
  if (fuse_type != NULL)
    stage->server = fsc_test_mount_fuse_as (stage->dead, fuse_type, target);
  fsc_test_service_start (stage->service);
  stage->client = fsc_test_service_connect (stage->service);
}

static void
stage_clear (Stage *stage)
{
  g_clear_pointer (&stage->client, fscache_disconnect);
  if (stage->server > 0)
    kill (stage->server, SIGCONT);
  fsc_test_service_stop (stage->service);
  if (stage->server > 0)
    {
      umount2 (stage->dead, MNT_DETACH);
      kill (stage->server, SIGKILL);
      waitpid (stage->server, NULL, 0);
    }
  g_assert_no_errno (umount2 (stage->dir, MNT_DETACH));
  fsc_test_service_free (stage->service);
  g_free (stage->dir);
  g_free (stage->dead);
}

/* Dead mounts */

/* Asks, and does not wait. */
static int
ask (const Stage *stage, const char *path, guint32 sharing)
{
  int fd = fsc_test_raw_greet (stage->service->socket, TRUE);
  g_autofree char *uri = g_strconcat ("file://", path, NULL);
  FscTestRecord record
      = { .item = { .uri = { uri, strlen (uri) }, .sharing = sharing, .umask = 022 } };
  FscTestMessage message
      = { .header = { .opcode = FSC_OP_OPEN, .serial = 7 }, .n_records = 1, .records = &record };

  fsc_test_raw_send (fd, &message, NULL);
  return fd;
}

static void
assert_timed_out (int fd, const char *path, const char *mount)
{
  g_auto (FscTestPacket) packet = { 0 };
  g_autofree char *text = NULL;

  g_assert_true (fsc_test_raw_receive (fd, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_OPENED);
  text = g_strndup (packet.message.records[0].result.text.data,
                    packet.message.records[0].result.text.length);
  g_test_message ("%s", text);
  g_assert_cmpint (packet.message.records[0].result.code, ==, FSC_CODE_TIMED_OUT);
  g_assert_nonnull (strstr (text, path));
  g_assert_nonnull (strstr (text, mount));
  close (fd);
}

/* Cold opens of other files, on each of the other mounts, are answered while others wait. */
static void
assert_others (const Stage *stage)
{
  static const char *const places[] = { "", "m1/", "m1/m3/", "m2/" };
  static guint n; /* no file is asked for twice */
  gint64 since = g_get_monotonic_time ();

  for (guint i = 0; i < 10; i++)
    for (guint j = 0; j < G_N_ELEMENTS (places); j++)
      {
        g_autofree char *name = g_strdup_printf ("%scold%u", places[j], n++);
        g_autofree char *path = get_path (stage, name);

        make_file (stage, name);
        close (fsc_test_open_from (stage->client, path, FSCACHE_SOURCE_OPENED));
      }
  g_assert_cmpint (g_get_monotonic_time () - since, <, G_USEC_PER_SEC);
}

static gboolean
skip_without_fuse (const Stage *stage)
{
  if (stage->server == 0)
    g_test_skip ("FUSE cannot be mounted here");
  return stage->server == 0;
}

/* The server goes on, and the openers that were stuck end. */
static void
wake_server (const Stage *stage)
{
  g_assert_no_errno (kill (stage->server, SIGCONT));
  fsc_test_service_wait_for (stage->service, "openers_stuck", 0);
}

/* Symlinks of all kinds on living mounts that lead to a dead one. */
static void
test_to_dead (void)
{
  static const char *const links[]
      = { "abs", "a/rel", "m1/updown", "m1/m3/far", "chain", "todir", "m2/in-bind" };
  int waiting[G_N_ELEMENTS (links)];
  Stage stage;

  stage_init (&stage, "fuse");
  if (!skip_without_fuse (&stage))
    {
      make_link (&stage, "abs", "@/dead/file");
      make_link (&stage, "a/rel", "../dead/file");
      make_link (&stage, "m1/updown", "../m1/d/../../dead/file");
      make_link (&stage, "m1/m3/far", "../../dead/file");
      make_link (&stage, "chain", "m1/m3/far");
      make_link (&stage, "todir", "dead");
      make_link (&stage, "m2/in-bind", "@/todir/file");
      for (guint i = 0; i < G_N_ELEMENTS (links); i++)
        {
          g_autofree char *path = get_path (&stage, links[i]);

          fsc_test_assert_same (stage.client, path, O_RDONLY);
        }
      fscache_drop_matching (stage.client, "*", NULL);

      g_assert_no_errno (kill (stage.server, SIGSTOP));
      for (guint round = 0; round < 2; round++)
        {
          for (guint i = 0; i < G_N_ELEMENTS (links); i++)
            {
              g_autofree char *base = get_path (&stage, links[i]);
              g_autofree char *path
                  = g_strconcat (base, g_str_equal (links[i], "todir") ? "/file" : "", NULL);

              waiting[i] = ask (&stage, path, FSC_SHARING_SHARED);
            }
          assert_others (&stage);
          for (guint i = 0; i < G_N_ELEMENTS (links); i++)
            {
              g_autofree char *path = get_path (&stage, links[i]);

              assert_timed_out (waiting[i], path, stage.dead);
            }
        }
      wake_server (&stage);
      for (guint i = 0; i < G_N_ELEMENTS (links); i++)
        {
          g_autofree char *path = get_path (&stage, links[i]);

          fsc_test_assert_same (stage.client, path, O_RDONLY);
        }
    }
  stage_clear (&stage);
}

/* What lies on a view of the cache is refused before anything touches it, whatever leads there. */
static void
test_view (void)
{
  static const char *const names[] = { "dead", "dead/file", "dead/", "dead/no/such", "dead/../dead",
                                       "link", "m1/up",     "bound", "bound/file",   "todir/file" };
  Stage stage;

  stage_init (&stage, "fuse.fscache-view");
  if (!skip_without_fuse (&stage))
    {
      make_dir (&stage, "bound");
      bind (&stage, "dead", "bound");
      make_link (&stage, "link", "@/dead/file");
      make_link (&stage, "m1/up", "../m1/d/../../dead/file");
      make_link (&stage, "todir", "dead");
      g_assert_no_errno (kill (stage.server, SIGSTOP));
      for (guint i = 0; i < G_N_ELEMENTS (names); i++)
        {
          g_autofree char *path = get_path (&stage, names[i]);
          FscacheRequest request = { .uri = path, .flags = i % 2 == 0 ? O_PATH : O_RDONLY };
          FscacheReply answer;
          gint64 since = g_get_monotonic_time ();
          int fd = fscache_open_with (stage.client, &request, &answer);

          g_test_message ("%s", answer.message);
          fsc_test_assert_failed (&answer, fd, FSCACHE_ERROR_SYSTEM, ELOOP);
          g_assert_nonnull (strstr (answer.message, "a view of the cache"));
          g_assert_cmpint (g_get_monotonic_time () - since, <, G_USEC_PER_SEC / 2);
        }
      assert_others (&stage);
      g_assert_cmpuint (fsc_test_service_counter (stage.service, "openers_stuck"), ==, 0);
      g_assert_no_errno (kill (stage.server, SIGCONT));
    }
  stage_clear (&stage);
}

/* The reverse: the file is on a living mount, and what leads there on the dead one. The handle is
 * local, and in the cache. */
static void
test_from_dead (void)
{
  Stage stage;

  stage_init (&stage, "fuse");
  if (!skip_without_fuse (&stage))
    {
      g_autofree char *path = get_path (&stage, "dead/out");
      FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };
      FscacheReply answer;
      int waiting[3];

      g_assert_cmpint (fscache_open_with (stage.client, &request, &answer), >=, 0);
      g_assert_cmpint (answer.coherence, ==, FSCACHE_COHERENCE_CHECKED);
      fscache_reply_clear (stage.client, &answer);
      g_assert_cmpint (fscache_open_with (stage.client, &request, &answer), >=, 0);
      g_assert_cmpint (answer.source, ==, FSCACHE_SOURCE_CACHE); /* checked over both mounts */
      fscache_reply_clear (stage.client, &answer);

      g_assert_no_errno (kill (stage.server, SIGSTOP));
      for (guint i = 0; i < G_N_ELEMENTS (waiting); i++)
        waiting[i] = ask (&stage, path, FSC_SHARING_SHARED);
      assert_others (&stage);
      for (guint i = 0; i < G_N_ELEMENTS (waiting); i++)
        assert_timed_out (waiting[i], path, stage.dead);
      wake_server (&stage);
      fsc_test_assert_same (stage.client, path, O_RDONLY);
    }
  stage_clear (&stage);
}

/* The answers of open() */

static void
make_links (const Stage *stage)
{
  static const char *const links[][2] = {
    { "rel", "m1/d/f" },
    { "abs", "@/m1/m3/x" },
    { "todir", "m1/d" },
    { "tomount", "m1/m3" },
    { "slash", "m1/d/" },
    { "tofile", "mf" },
    { "dangling", "m1/nothing" },
    { "m1/up", "../a/f" },
    { "m1/upup", "../../t/m2/g" },
    { "m1/abs", "@/m2/g" },
    { "m1/self", "@/m1/d/f" },
    { "m1/dangling", "../a/nothing" },
    { "m1/m3/far", "../../m2" },
    { "m1/m3/dots", "../../.." },
    { "chain1", "m1/chain2" },
    { "m1/chain2", "m3/chain3" },
    { "m1/m3/chain3", "@/chain4" },
    { "chain4", "./m2/../m2/g" },
    { "ring", "m1/ring" },
    { "m1/ring", "@/ring" },
    { "tolocked", "m1/locked/f" },
    { "locked/out", "../m1/d/f" },
    { "m1/proc", "/proc/self/fd/0" },
  };

  make_dir (stage, "locked");
  make_dir (stage, "m1/locked");
  make_file (stage, "m1/locked/f");
  for (guint i = 0; i < G_N_ELEMENTS (links); i++)
    make_link (stage, links[i][0], links[i][1]);
  for (guint i = 0; i < 2; i++)
    {
      g_autofree char *path = get_path (stage, i == 0 ? "locked" : "m1/locked");

      g_assert_no_errno (g_chmod (path, 0));
    }
}

static void
test_same (void)
{
  static const char *const names[] = {
    "rel",          "abs",
    "todir",        "todir/",
    "todir/f",      "todir/../d/f",
    "tomount",      "tomount/",
    "tomount/x",    "tomount/..",
    "tomount/../d", "slash",
    "tofile",       "tofile/",
    "mf",           "mf/",
    "mf/x",         "dangling",
    "dangling/",    "dangling/x",
    "m1/up",        "m1/up/",
    "m1/upup",      "m1/abs",
    "m1/self",      "m1/dangling",
    "m1/m3/far",    "m1/m3/far/g",
    "m1/m3/dots",   "m1/m3/dots/t/rel",
    "chain1",       "chain1/",
    "m1/chain2",    "ring",
    "ring/x",       "m1/ring",
    "tolocked",     "tolocked/x",
    "locked/out",   "m1/locked/f",
    "m1/..",        "m1/../m1/../a/f",
    "m1/m3/..",     "m1/m3/../d/..",
    "m1/m3/../..",  "m1/m3/../../m1/m3/x",
    "m2/../m1/up",  "m1/.",
  };
  static const int flags[] = { O_RDONLY,
                               O_RDONLY | O_NOFOLLOW,
                               O_RDONLY | O_DIRECTORY,
                               O_PATH,
                               O_PATH | O_NOFOLLOW,
                               O_PATH | O_DIRECTORY | O_NOFOLLOW,
                               O_RDWR,
                               O_WRONLY | O_NOFOLLOW,
                               O_WRONLY | O_TRUNC,
                               O_RDWR | O_TMPFILE };
  Stage stage;

  stage_init (&stage, NULL);
  make_links (&stage);
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    for (guint j = 0; j < G_N_ELEMENTS (flags); j++)
      {
        g_autofree char *path = get_path (&stage, names[i]);

        if ((flags[j] & O_TMPFILE) != O_TMPFILE)
          fsc_test_assert_same (stage.client, path, flags[j]); /* cold, and then cached */
        if ((flags[j] & O_TMPFILE) != O_TMPFILE)
          fsc_test_assert_same (stage.client, path, flags[j]);
        else
          {
            int expected = fsc_test_open_as_opener (path, flags[j], 0600);
            FscacheRequest request = { .uri = path, .flags = flags[j], .mode = 0600 };
            FscacheReply answer;
            int fd = fscache_open_with (stage.client, &request, &answer);
            struct stat mine, its;

            g_assert_cmpint (MIN (fd, 0), ==, MIN (expected, 0));
            if (fd < 0)
              continue;
            g_assert_no_errno (fstat (expected, &mine));
            g_assert_no_errno (fstat (fd, &its));
            g_assert_cmpuint (mine.st_dev, ==, its.st_dev);
            close (fd);
            close (expected);
          }
      }
  stage_clear (&stage);
}

/* What is made through symlinks, by open() and by the service. Returns where, or the errno. */
static char *
make (Stage *stage, const char *name, int flags, gboolean by_service)
{
  g_autofree char *path = get_path (stage, name);
  FscacheRequest request = { .uri = path, .flags = flags, .mode = 0640 };
  FscacheReply answer;
  int fd = by_service ? fscache_open_with (stage->client, &request, &answer)
                      : fsc_test_open_as_opener (path, flags, 0640);
  g_autofree char *link = g_strdup_printf ("/proc/self/fd/%d", fd);
  g_autofree char *made = NULL;
  struct stat st;
  char *told;

  if (fd < 0)
    return g_strdup (g_strerror (-fd));
  made = g_file_read_link (link, NULL);
  g_assert_no_errno (fstat (fd, &st));
  told = g_strdup_printf ("%s, %o, %d", made, st.st_mode, fcntl (fd, F_GETFL) & O_ACCMODE);
  close (fd);
  if (st.st_size == 0)
    g_assert_no_errno (unlink (made));
  return told;
}

static void
test_make (void)
{
  static const char *const names[] = { "dangling",
                                       "m1/dangling",
                                       "dangling/",
                                       "todir/new",
                                       "todir/new/",
                                       "m1/m3/far/new",
                                       "m1/../new",
                                       "ring",
                                       "rel",
                                       "todir",
                                       "mf",
                                       "tofile",
                                       "tolocked",
                                       "tolocked2/x",
                                       "chain1",
                                       "tomount/new",
                                       "m1/..",
                                       "m1/m3/dots/new",
                                       "m1/../m1/new2",
                                       "m1/.",
                                       "locked/out",
                                       "nowhere/new",
                                       "m1/m3/../../m2/new",
                                       "tonodir",
                                       "tonodir/" };
  static const int flags[]
      = { O_CREAT | O_RDWR, O_CREAT | O_EXCL | O_WRONLY, O_CREAT | O_NOFOLLOW | O_WRONLY,
          O_CREAT | O_RDONLY, O_CREAT | O_DIRECTORY | O_RDWR };
  Stage stage;

  umask (022);
  stage_init (&stage, NULL);
  make_links (&stage);
  make_link (&stage, "tolocked2", "m1/locked");
  make_link (&stage, "tonodir", "m1/nodir/x");
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    for (guint j = 0; j < G_N_ELEMENTS (flags); j++)
      {
        g_autofree char *right = make (&stage, names[i], flags[j], FALSE);
        g_autofree char *told = make (&stage, names[i], flags[j], TRUE);

        g_test_message ("%s, %#o: %s", names[i], flags[j], right);
        g_assert_cmpstr (told, ==, right);
      }
  {
    g_autofree char *told = make (&stage, "dangling", O_CREAT | O_EXCL | O_RDWR, TRUE);

    g_assert_cmpstr (told, ==, g_strerror (EEXIST));
  }
  stage_clear (&stage);
}

/* What went wrong is told of the path that was asked for, and where that led. */
static void
test_text (void)
{
  Stage stage;
  FscacheReply answer;

  stage_init (&stage, NULL);
  make_links (&stage);
  {
    g_autofree char *path = get_path (&stage, "dangling");
    g_autofree char *text = g_strdup_printf ("cannot open %s, which leads to %s/m1/nothing: %s",
                                             path, stage.dir, g_strerror (ENOENT));

    g_assert_cmpint (fscache_open (stage.client, path, O_RDONLY, &answer), ==, -ENOENT);
    g_assert_cmpstr (answer.message, ==, text);
  }
  stage_clear (&stage);
}

/* Mounts and unmounts while paths lead over them. */
static void
test_changes (void)
{
  Stage stage;

  stage_init (&stage, NULL);
  make_links (&stage);
  for (guint i = 0; i < 10; i++)
    {
      g_autofree char *over = get_path (&stage, i % 2 == 0 ? "m1" : "m2");
      g_autofree char *link = get_path (&stage, i % 2 == 0 ? "rel" : "chain1");
      g_autofree char *up = get_path (&stage, "m1/m3/../d/f");

      fsc_test_assert_same (stage.client, link, O_RDONLY);
      g_assert_no_errno (mount ("none", over, "tmpfs", 0, "mode=0755"));
      fsc_test_assert_same (stage.client, link, O_RDONLY);
      fsc_test_assert_same (stage.client, up, O_RDONLY);
      /* Those who make a way watched are on it a little longer than the answer takes. */
      fsc_test_service_wait_for (stage.service, "watching", 0);
      g_assert_no_errno (umount (over)); /* no opener keeps it busy */
      fsc_test_assert_same (stage.client, link, O_RDONLY);
      fsc_test_assert_same (stage.client, up, O_RDONLY);
    }
  stage_clear (&stage);
}

/* Renaming a directory moves the mounts below it, and the kernel tells nobody: the service takes
 * the name for that of a mount, and what is there now leads to nothing. */
static void
test_moved (void)
{
  Stage stage;
  g_autofree char *old = NULL, *new = NULL, *mount_point = NULL, *link = NULL;

  stage_init (&stage, NULL);
  old = get_path (&stage, "old");
  new = get_path (&stage, "new");
  mount_point = get_path (&stage, "old/x");
  link = get_path (&stage, "new/x");
  g_assert_no_errno (g_mkdir (old, 0755));
  g_assert_no_errno (g_mkdir (new, 0755));
  g_assert_no_errno (g_mkdir (mount_point, 0755));
  g_assert_no_errno (symlink ("nowhere", link));
  g_assert_no_errno (mount ("none", mount_point, "tmpfs", 0, "mode=0755"));
  fsc_test_assert_same (stage.client, mount_point, O_PATH);

  g_assert_no_errno (renameat2 (AT_FDCWD, old, AT_FDCWD, new, RENAME_EXCHANGE));
  g_assert_cmpint (
      fsc_test_assert_same (stage.client, mount_point, O_PATH | O_DIRECTORY | O_NOFOLLOW), ==,
      ENOTDIR);
  g_assert_cmpint (fsc_test_assert_same (stage.client, mount_point, O_DIRECTORY | O_NOFOLLOW), ==,
                   ENOTDIR);
  fsc_test_assert_same (stage.client, mount_point, O_RDONLY);
  fsc_test_assert_same (stage.client, link, O_PATH);
  g_assert_no_errno (umount2 (link, MNT_DETACH));
  stage_clear (&stage);
}

static void
run (gconstpointer func)
{
  if (getenv ("FSC_TEST_HAS_NAMESPACES") == NULL)
    g_test_skip ("a mount namespace cannot be had here");
  else
    ((GTestFunc) (gsize) func) ();
}

#define ADD(name, func)                                                                            \
  g_test_add_data_func ("/crossing/" name, (gconstpointer) (gsize) (func), run)

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  if (fsc_test_enter_namespaces ())
    g_setenv ("FSC_TEST_HAS_NAMESPACES", "1", TRUE);
  ADD ("to-dead", test_to_dead);
  ADD ("from-dead", test_from_dead);
  ADD ("view", test_view);
  ADD ("same", test_same);
  ADD ("make", test_make);
  ADD ("text", test_text);
  ADD ("changes", test_changes);
  ADD ("moved", test_moved);
  return g_test_run ();
}
