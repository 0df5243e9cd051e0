/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reading through the view: the content of the source, and after a change the new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/integration/process.h"
#include "tests/view/stage.h"

#define BOUND_MS                                                                                   \
  1000 /* of what takes some microseconds when the machine has nothing else to do                  \
        */

#define BIG (128 * 1024)

static void
test_programs (FscTestStage *stage)
{
  fsc_test_stage_run (stage,
                      "cd $S; mkdir -p d/e; head -c 3000000 /dev/urandom >d/big;"
                      " head -c 4097 /dev/urandom >d/e/odd; : >empty; echo needle >d/e/text;"
                      " if test -d /usr/include/linux; then cp -r /usr/include/linux sources; fi");
  fsc_test_stage_run (stage,
                      "cmp $S/d/big $V/d/big; cmp $V/d/e/odd $S/d/e/odd; cmp $V/empty $S/empty");
  fsc_test_stage_run (stage, "cd $S; find . -type f | sort | xargs sha256sum >$M/../sums;"
                             " cd $V; sha256sum --quiet -c $M/../sums; diff -r $S $V");
  fsc_test_stage_run (stage, "cp -r $V $M/../copy; diff -r $S $M/../copy");
  fsc_test_stage_run (stage, "tar -C $V -cf - . | tar -C $S -df -");
  fsc_test_stage_run (stage, "test \"$(grep -rl needle $V/d)\" = $V/d/e/text;"
                             " cd $S; grep -rc include . | sort >$M/../found;"
                             " cd $V; grep -rc include . | sort | cmp - $M/../found");
  fsc_test_stage_run (stage, "dd if=$V/d/big bs=64k iflag=direct status=none | cmp - $S/d/big");
}

static void
test_mmap (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  char *map;
  int fd;

  fsc_test_stage_replace (stage, "file", "mapped");
  fd = open (path, O_RDONLY | O_CLOEXEC);
  map = mmap (NULL, 6, PROT_READ, MAP_SHARED, fd, 0);
  close (fd);
  g_assert_true (map != MAP_FAILED);
  fsc_test_stage_replace (stage, "file", "other!");
  g_assert_cmpmem (map, 6, "mapped", 6);
  munmap (map, 6);
}

/* A loop of new opens until one gives what is expected; how long that took, in ms. */
static gint64
wait_for_content (const char *path, const char *content)
{
  gint64 since = g_get_monotonic_time ();

  for (;;)
    {
      g_autofree char *found = NULL;
      gint64 took = (g_get_monotonic_time () - since) / 1000;

      if ((g_file_get_contents (path, &found, NULL, NULL) && g_str_equal (found, content))
          || took > BOUND_MS)
        return took;
    }
}

/* Who has it open has the old one; who opens it then, the new one. */
static void
test_replaced (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  char buffer[16] = "";
  struct stat st;
  int fd;

  fsc_test_stage_replace (stage, "file", "content 0");
  for (int i = 0; i < 5; i++) /* until it is watched, and borrowed */
    fsc_test_stage_assert_content (path, "content 0");
  fd = open (path, O_RDONLY | O_CLOEXEC);
  for (int i = 1; i < 200; i++)
    {
      g_autofree char *content = g_strdup_printf ("content %d", i);

      fsc_test_stage_replace (stage, "file", content);
      g_assert_cmpint (wait_for_content (path, content), <, BOUND_MS);
    }
  g_assert_cmpint (pread (fd, buffer, sizeof buffer, 0), ==, 9);
  g_assert_cmpstr (buffer, ==, "content 0");
  g_assert_no_errno (fstat (fd, &st));
  g_assert_cmpint (st.st_size, ==, 9);
  close (fd);

  g_assert_no_errno (g_unlink (source));
  for (int i = 0; i < BOUND_MS && g_access (path, R_OK) == 0; i++)
    g_usleep (1000);
  fsc_test_stage_assert_open (path, O_RDONLY, ENOENT);
}

static void
test_exact (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");

  fsc_test_stage_stop (stage);
  fsc_test_stage_start (stage, "exact");
  for (int i = 0; i < 500; i++)
    {
      g_autofree char *content = g_strdup_printf ("%0*d", 1 + i % 7, i);
      struct stat st;

      fsc_test_stage_replace (stage, "file", content);
      if (i % 2 == 0)
        {
          g_assert_no_errno (stat (path, &st));
          g_assert_cmpint (st.st_size, ==, strlen (content));
        }
      fsc_test_stage_assert_content (path, content);
    }
}

/* What is written to the source directly is seen by the next open, its size too. */
static void
test_in_place (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autoptr (GString) expected = g_string_new ("begin");

  fsc_test_write (source, "begin");
  for (int i = 0; i < 300; i++)
    {
      int fd = open (source, O_WRONLY | O_CLOEXEC);
      struct stat st;
      int through;

      if (i % 50 == 49)
        g_string_truncate (expected, 3);
      g_string_append_printf (expected, " %d", i);
      g_assert_no_errno (ftruncate (fd, 0));
      g_assert_cmpint (pwrite (fd, expected->str, expected->len, 0), ==, expected->len);
      close (fd);

      through = open (path, O_RDONLY | O_CLOEXEC);
      g_assert_no_errno (fstat (through, &st));
      g_assert_cmpint (st.st_size, ==, expected->len);
      close (through);
      fsc_test_stage_assert_content (path, expected->str);
    }
}

/* Though size and time of the last change are what they were, and whoever has looked at it. */
static void
check_same_size (const FscTestStage *stage)
{
  static const struct timespec times[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  g_autofree char *source = fsc_test_stage_source (stage, "file");

  for (int i = 0; i < 100; i++)
    {
      g_autofree char *content = g_strdup_printf ("%02d", i);
      int fd = open (source, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
      struct stat st;

      g_assert_cmpint (pwrite (fd, content, 2, 0), ==, 2);
      g_assert_no_errno (futimens (fd, times));
      close (fd);
      if (i % 3 != 0)
        g_assert_no_errno (stat (path, &st));
      fsc_test_stage_assert_content (path, content);
      if (i % 10 == 0)
        g_usleep (50000);
      fsc_test_stage_assert_content (path, content);
    }
}

/* And what has not changed for a while is not read again. */
static void
test_same_size (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  gint64 n_reads;

  check_same_size (stage);
  fsc_test_stage_stop (stage);
  fsc_test_stage_start (stage, "exact");
  check_same_size (stage);
  g_usleep (50000);
  fsc_test_stage_assert_content (path, "99");
  n_reads = fsc_test_stage_get (stage, "reads");
  fsc_test_stage_assert_content (path, "99");
  g_assert_cmpint (fsc_test_stage_get (stage, "reads"), ==, n_reads);
}

/* Replaces it all the time, by contents of which each is one digit again and again. */
static void
churn (const FscTestStage *stage)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  for (unsigned i = 0;; i++)
    {
      g_autofree char *content = g_strnfill (1000 + i % 5000, (char) ('0' + i % 10));

      fsc_test_stage_replace (stage, "file", content);
    }
}

static void
read_churn (const FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  gint64 until = g_get_monotonic_time () + G_USEC_PER_SEC;
  guint n = 0, n_stale = 0;

  for (; g_get_monotonic_time () < until; n++)
    {
      char buffer[8192];
      int fd = open (path, O_RDONLY | O_CLOEXEC);
      ssize_t length;
      struct stat st;

      if (fd < 0 && errno == ESTALE)
        {
          n_stale++;
          continue;
        }
      g_assert_cmpint (fd, >=, 0);
      length = read (fd, buffer, sizeof buffer);
      g_assert_cmpint (length, >=, 1000);
      g_assert_no_errno (fstat (fd, &st));
      g_assert_cmpint (st.st_size, ==, length);
      for (ssize_t i = 1; i < length; i++)
        if (buffer[i] != buffer[0])
          g_assert_cmpint (buffer[i], ==, buffer[0]);
      close (fd);
    }
  g_test_message ("%u opens, %u of them stale", n, n_stale);
  g_assert_cmpuint (n_stale, <=, 2 + n / 50);
}

static void
check_churn (const FscTestStage *stage)
{
  pid_t pids[6];

  for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      pids[i] = fork ();
      g_assert_cmpint (pids[i], >=, 0);
      if (pids[i] == 0)
        {
          prctl (PR_SET_PDEATHSIG, SIGKILL);
          read_churn (stage);
          _exit (0);
        }
    }
  for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      int status;

      g_assert_cmpint (waitpid (pids[i], &status, 0), ==, pids[i]);
      g_assert_cmpint (status, ==, 0);
    }
}

/* Each open gives one file and no mixture, and hardly any fails, however often it is replaced, and
 * however many there are. */
static void
test_churn (FscTestStage *stage)
{
  pid_t pid;

  fsc_test_stage_replace (stage, "file", "000");
  pid = fork ();
  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    churn (stage);
  g_usleep (100000);
  check_churn (stage);
  fsc_test_stage_stop (stage);
  fsc_test_stage_start (stage, "exact");
  check_churn (stage);
  g_assert_no_errno (kill (pid, SIGKILL));
  waitpid (pid, NULL, 0);
}

/* Grows the file, and changes what is in it, at the source or through the view. */
static void
rewrite (const char *path)
{
  g_autofree char *content = g_strnfill (BIG, (char) g_random_int_range ('a', 'z'));
  int fd = open (path, O_RDWR | O_CLOEXEC);

  if (fd < 0 || pwrite (fd, content, BIG, 0) != BIG
      || pwrite (fd, content, 1, g_random_int_range (BIG, 2 * BIG)) != 1
      || (g_random_boolean () && ftruncate (fd, BIG) < 0))
    _exit (2);
  close (fd);
}

/* By its pages, of which each may be old or new. */
static void
read_pages (const char *path)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  char *map = fd >= 0 ? mmap (NULL, BIG, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  char buffer[4096];
  int sum = 0;

  if (map == MAP_FAILED)
    _exit (3);
  for (gsize i = 0; i < BIG; i += 4096)
    sum += map[i];
  if (sum == 0 || pread (fd, buffer, sizeof buffer, BIG / 2) != sizeof buffer)
    _exit (4);
  munmap (map, BIG);
  close (fd);
}

/* All at once: mapped, read, written through the view and beside it, and so invalidated with each
 * open. Nobody waits for anybody for good. */
static void
test_invalidate (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  gint64 until = g_get_monotonic_time () + 3 * G_USEC_PER_SEC / 2;
  pid_t pids[8];

  fsc_test_write (source, "");
  g_assert_no_errno (truncate (source, BIG));
  rewrite (source);
  for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      pids[i] = fork ();
      if (pids[i] != 0)
        continue;
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      while (g_get_monotonic_time () < until)
        if (i < 2)
          rewrite (i == 0 ? source : path);
        else
          read_pages (path);
      _exit (0);
    }
  for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      int status = -1;

      while (waitpid (pids[i], &status, WNOHANG) == 0)
        {
          g_assert_cmpint (g_get_monotonic_time (), <, until + 20 * G_USEC_PER_SEC);
          g_usleep (10000);
        }
      g_assert_cmpint (status, ==, 0);
    }
  fsc_test_stage_run (stage, "cmp $S/file $V/file");
}

/* 200 processes, one open. */
static void
test_crowd (FscTestStage *stage)
{
  g_autofree char *path = fsc_test_stage_through (stage, "file");
  guint64 before;
  int ends[2];
  char byte;

  fsc_test_stage_replace (stage, "file", "crowd");
  g_access (path, F_OK); /* names are known */
  before = fsc_test_service_counter (stage->service, "opens");
  g_assert_no_errno (pipe (ends));
  for (int i = 0; i < 200; i++)
    if (fork () == 0)
      {
        char buffer[8];
        int fd;

        close (ends[1]);
        if (read (ends[0], &byte, 1) != 0) /* all at once */
          _exit (1);
        fd = open (path, O_RDONLY);
        _exit (fd < 0 || read (fd, buffer, sizeof buffer) != 5);
      }
  close (ends[0]);
  g_usleep (200000);
  close (ends[1]);
  for (int i = 0; i < 200; i++)
    {
      int status;

      g_assert_cmpint (wait (&status), >, 0);
      g_assert_cmpint (status, ==, 0);
    }
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "opens") - before, ==, 1);
}

static void
unmount (FscTestStage *stage, char *dir)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);

  g_assert_cmpint (fscache_drop_mount (client, dir, FALSE, NULL, NULL), ==, 0);
  fscache_disconnect (client);
  for (int i = 0; umount (dir) < 0; i++)
    {
      g_assert_cmpint (errno, ==, EBUSY);
      g_assert_cmpint (i, <, 1500);
      g_usleep (10000);
    }
}

/* By passthrough the kernel asks for nothing; and when nobody has the file open any more, and it is
 * dropped, nothing keeps its mount busy. */
static void
test_transport (FscTestStage *stage)
{
  g_autofree char *dir = fsc_test_stage_source (stage, "mounted");
  g_autofree char *path = fsc_test_stage_through (stage, "mounted/file");
  int fd;

  g_assert_no_errno (g_mkdir (dir, 0755));
  g_assert_no_errno (mount ("none", dir, "tmpfs", 0, ""));
  fsc_test_stage_replace (stage, "mounted/file", "text");
  fsc_test_stage_run (stage, "grep '\"passthrough\"' $M/status.json >$M/../before");
  for (int i = 0; i < 5; i++)
    fsc_test_stage_assert_content (path, "text");
  fsc_test_stage_run (stage, "grep '\"passthrough\"' $M/status.json | cmp - $M/../before");
  fsc_test_stage_run (stage,
                      "python3 -c 'import json,sys; v = json.load (open (sys.argv[1]))[\"view\"];"
                      " sys.exit (None if (v[\"reads\"] == 0) == v[\"passthrough\"] else"
                      " \"passthrough: %s, and %d reads\" % (v[\"passthrough\"], v[\"reads\"]))'"
                      " $M/status.json");
  fd = open (path, O_RDONLY | O_CLOEXEC);
  close (fd);
  unmount (stage, dir);
}

static gboolean
is_watched (const char *path)
{
  char value[16] = "";

  return getxattr (path, "user.fscache.coherence", value, sizeof value - 1) > 0
         && g_str_equal (value, "watched");
}

/* What is kept for the next open is let go of if there is none, soon, by the kernel too; what is
 * kept for borrowing, when the file is removed. */
static void
test_kept (FscTestStage *stage)
{
  g_autofree char *dir = fsc_test_stage_source (stage, "mounted");
  g_autofree char *source = fsc_test_stage_source (stage, "mounted/file");
  g_autofree char *path = fsc_test_stage_through (stage, "mounted/file");

  g_assert_no_errno (g_mkdir (dir, 0755));
  g_assert_no_errno (mount ("none", dir, "tmpfs", 0, ""));
  fsc_test_stage_replace (stage, "mounted/file", "text");
  for (int i = 0; !is_watched (path); i++)
    {
      g_assert_cmpint (i, <, 500);
      fsc_test_stage_assert_open (path, O_RDONLY, 0);
      g_usleep (10000);
    }
  fsc_test_stage_assert_open (path, O_RDONLY, 0);
  for (int i = 0; fsc_test_stage_get (stage, "kept") != 0; i++)
    {
      g_assert_cmpint (i, <, 100);
      g_usleep (10000);
    }
  g_assert_cmpint (fsc_process_count_descriptors (stage->pid, dir), >, 0); /* borrowed */

  g_assert_no_errno (g_unlink (source));
  for (int i = 0; fsc_process_count_descriptors (stage->pid, dir) > 0; i++)
    {
      g_assert_cmpint (i, <, 200);
      g_usleep (10000);
    }
  unmount (stage, dir);
}

/* However many files are opened, a quarter of the descriptors is kept for borrowing, and as many
 * for the next open. */
static void
test_bound (FscTestStage *stage)
{
  fsc_test_stage_stop (stage);
  stage->max_descriptors = 128;
  fsc_test_stage_start (stage, NULL);
  fsc_test_stage_run (stage, "cd $S; for i in $(seq 300); do echo $i >$i; done");
  for (int round = 0; round < 4; round++)
    {
      for (int i = 1; i <= 300; i++)
        {
          g_autofree char *name = g_strdup_printf ("%d", i);
          g_autofree char *path = fsc_test_stage_through (stage, name);

          fsc_test_stage_assert_open (path, O_RDONLY, 0);
        }
      /* Some more may just be being closed. */
      g_assert_cmpint (fsc_process_count_descriptors (stage->pid, stage->source), <, 72);
      g_assert_cmpint (fsc_test_stage_get (stage, "kept"), <=, 32);
    }
}

static void
test_databases (FscTestStage *stage)
{
  if (system ("command -v sqlite3 git >/dev/null") != 0)
    {
      g_test_skip ("there is no sqlite3 or no git");
      return;
    }
  fsc_test_stage_run (stage,
                      "sqlite3 $S/db 'create table t (n); insert into t select value from"
                      " generate_series (1, 1000);' 2>/dev/null || sqlite3 $S/db 'create table"
                      " if not exists t (n); with recursive c (x) as (select 1 union all"
                      " select x + 1 from c where x < 1000) insert into t select x from c;'");
  fsc_test_stage_run (stage, "test \"$(sqlite3 $V/db 'select sum (n) from t')\" = 500500");
  fsc_test_stage_run (stage,
                      "cd $S; git init -q .; git config user.name a; git config user.email a@b;"
                      " echo one >one; ln -s one link; mkdir d; echo two >d/two;"
                      " git add one link d; git commit -qm one");
  fsc_test_stage_run (stage, "git config --global --add safe.directory '*' || true; cd $V;"
                             " GIT_OPTIONAL_LOCKS=0 git status --porcelain >$M/../said;"
                             " printf '?? db\\n' | cmp - $M/../said;"
                             " echo more >>$S/d/two; rm $S/one; sleep 0.2;"
                             " GIT_OPTIONAL_LOCKS=0 git status --porcelain >$M/../said;"
                             " printf ' M d/two\\n D one\\n?? db\\n' | cmp - $M/../said");
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD ("/view-read/programs", test_programs);
  FSC_STAGE_ADD ("/view-read/mmap", test_mmap);
  FSC_STAGE_ADD ("/view-read/replaced", test_replaced);
  FSC_STAGE_ADD ("/view-read/exact", test_exact);
  FSC_STAGE_ADD ("/view-read/in-place", test_in_place);
  FSC_STAGE_ADD ("/view-read/same-size", test_same_size);
  FSC_STAGE_ADD ("/view-read/churn", test_churn);
  FSC_STAGE_ADD ("/view-read/invalidate", test_invalidate);
  FSC_STAGE_ADD ("/view-read/crowd", test_crowd);
  FSC_STAGE_ADD ("/view-read/transport", test_transport);
  FSC_STAGE_ADD ("/view-read/kept", test_kept);
  FSC_STAGE_ADD ("/view-read/bound", test_bound);
  FSC_STAGE_ADD ("/view-read/databases", test_databases);
  return g_test_run ();
}
