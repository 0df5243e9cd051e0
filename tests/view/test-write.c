/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Writing through the view, where the source allows it; and all that cannot be done.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/view/stage.h"

static void
test_write (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  char buffer[16] = "";
  int fd;

  fsc_test_write (source, "0123456789");
  fsc_test_stage_assert_content (through, "0123456789");
  fd = open (through, O_RDWR | O_CLOEXEC);
  g_assert_no_errno (fd);
  g_assert_cmpint (pwrite (fd, "abc", 3, 2), ==, 3);
  g_assert_cmpint (pread (fd, buffer, 16, 0), ==, 10);
  g_assert_cmpstr (buffer, ==, "01abc56789");
  fsc_test_stage_assert_content (source, "01abc56789");
  fsc_test_stage_assert_content (through, "01abc56789");
  g_assert_no_errno (ftruncate (fd, 4));
  g_assert_no_errno (fsync (fd));
  fsc_test_stage_assert_content (source, "01ab");
  fsc_test_stage_assert_content (through, "01ab");
  g_assert_no_errno (close (fd));
  g_assert_no_errno (truncate (through, 2));
  fsc_test_stage_assert_content (source, "01");
  fsc_test_write (through, "anew");
  fsc_test_stage_assert_content (source, "anew");
}

/* What others append meanwhile is not lost. */
static void
test_append (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  int direct, fd;

  fsc_test_write (source, "");
  direct = open (source, O_WRONLY | O_APPEND | O_CLOEXEC);
  fd = open (through, O_WRONLY | O_APPEND | O_CLOEXEC);
  for (int i = 0; i < 3; i++)
    {
      g_assert_cmpint (write (direct, "a", 1), ==, 1);
      g_assert_cmpint (write (fd, "b", 1), ==, 1);
    }
  close (fd);
  close (direct);
  fsc_test_stage_assert_content (source, "ababab");
  fsc_test_stage_assert_content (through, "ababab");
}

static void
test_create (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "new");
  g_autofree char *through = fsc_test_stage_through (stage, "new");
  mode_t mask = umask (027);
  struct stat st;
  int fd = open (through, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

  g_assert_no_errno (fd);
  umask (mask);
  g_assert_cmpint (write (fd, "made", 4), ==, 4);
  close (fd);
  fsc_test_stage_assert_content (source, "made");
  g_assert_no_errno (stat (source, &st));
  g_assert_cmpint (st.st_mode & 07777, ==, 0640);
  fsc_test_stage_assert_open (through, O_WRONLY | O_CREAT | O_EXCL, EEXIST);
  fsc_test_stage_run (stage, "head -c 5000000 /dev/urandom >$S/a; cp $S/a $V/b; cmp $S/a $S/b");
}

/* A writer and a reader at the same time see the same. */
static void
test_shared (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  char buffer[16] = "";
  int reader, writer;

  fsc_test_write (source, "aaaa");
  reader = open (through, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (pread (reader, buffer, 4, 0), ==, 4);
  writer = open (through, O_WRONLY | O_CLOEXEC);
  g_assert_cmpint (pwrite (writer, "bb", 2, 1), ==, 2);
  g_assert_cmpint (pread (reader, buffer, 4, 0), ==, 4);
  g_assert_cmpstr (buffer, ==, "abba");
  close (writer);
  close (reader);
}

/* Nothing that is shared goes while a writer needs it: readers come back after a while. */
static void
test_reopened (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  int reader, writer;

  fsc_test_write (source, "aaaa");
  reader = open (through, O_RDONLY | O_CLOEXEC);
  writer = open (through, O_WRONLY | O_CLOEXEC);
  g_assert_no_errno (writer);
  close (reader);
  g_usleep (400000);
  fsc_test_stage_assert_content (through, "aaaa");
  g_assert_cmpint (pwrite (writer, "bb", 2, 1), ==, 2);
  fsc_test_stage_assert_content (through, "abba");
  close (writer);
  fsc_test_stage_assert_content (through, "abba");
}

/* What is open for writing is asked for its attributes, and not its name. */
static void
test_moved (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  struct stat st;
  int fds[2];

  fsc_test_write (source, "0123456789");
  for (int i = 0; i < 2; i++)
    {
      fds[i] = open (through, O_WRONLY | O_CLOEXEC);
      g_assert_no_errno (fds[i]);
    }
  fsc_test_stage_replace (stage, "file", "other");
  for (int i = 0; i < 2; i++)
    {
      g_usleep (150000); /* the kernel has forgotten them */
      g_assert_no_errno (fstat (fds[i], &st));
      g_assert_cmpint (st.st_size, ==, 10);
      g_assert_cmpint (st.st_nlink, ==, 0);
      close (fds[i]);
    }
}

static void
assert_fails (int result, int error)
{
  g_assert_cmpint (result, ==, -1);
  g_assert_cmpint (errno, ==, error);
}

/* What the two times of a file are then, in whole seconds. */
static void
assert_times (const char *path, time_t accessed, time_t modified)
{
  struct stat st;

  g_assert_no_errno (lstat (path, &st));
  g_assert_cmpint (st.st_atim.tv_sec, ==, accessed);
  g_assert_cmpint (st.st_mtim.tv_sec, ==, modified);
}

static void
test_times (FscTestStage *stage)
{
  static const char *const names[] = { "file", "dir", "link" };
  static const struct timespec both[] = { { 1000, 1 }, { 2000, 2 } };
  static const struct timespec one[] = { { 3000, 0 }, { 0, UTIME_OMIT } };
  static const struct timespec now[] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };
  g_autofree char *other = fsc_test_stage_through (stage, "other");
  time_t before = time (NULL);
  struct stat st;

  fsc_test_stage_run (stage, "cd $S; echo >file; mkdir dir; ln -s nowhere link; echo >other;"
                             " chown 12:34 other; chmod 644 other");
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *source = fsc_test_stage_source (stage, names[i]);
      g_autofree char *through = fsc_test_stage_through (stage, names[i]);

      g_assert_no_errno (utimensat (AT_FDCWD, through, both, AT_SYMLINK_NOFOLLOW));
      assert_times (source, 1000, 2000);
      assert_times (through, 1000, 2000);
      g_assert_no_errno (utimensat (AT_FDCWD, through, one, AT_SYMLINK_NOFOLLOW));
      assert_times (source, 3000, 2000);
      g_assert_no_errno (utimensat (AT_FDCWD, through, now, AT_SYMLINK_NOFOLLOW));
      g_assert_no_errno (lstat (source, &st));
      g_assert_cmpint (st.st_atim.tv_sec, ==, 3000);
      g_assert_cmpint (st.st_mtim.tv_sec, >=, before);
    }
  assert_fails (utimensat (AT_FDCWD, other, both, 0), EPERM);
  assert_fails (utimensat (AT_FDCWD, other, NULL, 0), EACCES);

  /* What is written keeps the time that it is given. */
  fsc_test_stage_run (stage, "touch -d @4000 $S/file; cp --preserve=timestamps $S/file $V/copy;"
                             " test $(stat -c %Y $S/copy) = 4000");
  fsc_test_stage_run (stage, "mkdir $S/d; tar -C $S -cf - file | tar -C $V/d --no-same-owner"
                             " --no-same-permissions -xf -; test $(stat -c %Y $S/d/file) = 4000");
}

static void
assert_mode (const char *path, mode_t mode)
{
  struct stat st;

  g_assert_no_errno (lstat (path, &st));
  g_assert_cmpuint (st.st_mode & 07777, ==, mode);
}

/* Also of who may neither read nor write it, and of what is open. */
static void
test_modes (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  g_autofree char *dir = fsc_test_stage_through (stage, "dir");
  g_autofree char *other = fsc_test_stage_through (stage, "other");
  static const mode_t modes[] = { 0, 0644, 06755, 0777, 01600 };
  int fd;

  fsc_test_stage_run (stage, "cd $S; echo >file; mkdir dir; echo >other; chown 12:34 other");
  for (gsize i = 0; i < G_N_ELEMENTS (modes); i++)
    {
      g_assert_no_errno (chmod (through, modes[i]));
      assert_mode (source, modes[i]);
      assert_mode (through, modes[i]);
    }
  g_assert_no_errno (chmod (dir, 0700));
  assert_mode (dir, 0700);
  fsc_test_stage_assert_open (through, O_RDONLY, 0);
  fd = open (through, O_RDWR | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  g_assert_no_errno (fchmod (fd, 0200));
  assert_mode (source, 0200);
  g_assert_no_errno (fchown (fd, (uid_t) -1, getegid ()));
  close (fd);
  fsc_test_stage_assert_open (through, O_RDONLY, EACCES);
  assert_fails (chmod (other, 0600), EPERM);
  assert_fails (chown (other, getuid (), (gid_t) -1), EPERM);

  /* What is copied keeps its mode. */
  fsc_test_stage_run (stage, "echo >$S/a; chmod 2750 $S/a; touch -d @4000 $S/a; cp -p $S/a $V/b;"
                             " test $(stat -c %a:%Y $S/b) = 2750:4000; mkdir $S/d;"
                             " tar -C $S -cf - a | tar -C $V/d -xpf -;"
                             " test $(stat -c %a:%Y $S/d/a) = 2750:4000;"
                             " install -m 640 $S/a $V/c; test $(stat -c %a $S/c) = 640");
}

/* The same call for the source and through the view says the same. */
static void
assert_seeks (int source, int through, off_t offset, int whence)
{
  off_t expected = lseek (source, offset, whence);
  int error = errno;

  errno = error;
  g_assert_cmpint (lseek (through, offset, whence), ==, expected);
  if (expected < 0)
    g_assert_cmpint (errno, ==, error);
}

static void
test_holes (FscTestStage *stage)
{
  static const off_t offsets[] = { 0, 5, 65536, 1 << 20, (1 << 20) + 1, 3 << 20, 4 << 20, 5 << 20 };
  static const int flags[] = { O_RDONLY, O_RDWR };
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  g_autofree char *status = fsc_test_stage_at (stage, "status.json");
  int direct, fd;

  fsc_test_stage_run (stage, "cd $S; truncate -s 4M file; printf 1234 |"
                             " dd of=file bs=1M seek=1 conv=notrunc status=none");
  direct = open (source, O_RDONLY | O_CLOEXEC);
  for (gsize i = 0; i < G_N_ELEMENTS (flags); i++)
    {
      fd = open (through, flags[i] | O_CLOEXEC);
      for (gsize j = 0; j < G_N_ELEMENTS (offsets); j++)
        {
          assert_seeks (direct, fd, offsets[j], SEEK_DATA);
          assert_seeks (direct, fd, offsets[j], SEEK_HOLE);
        }
      close (fd);
    }
  g_assert_cmpint (lseek (direct, 5, SEEK_DATA), >, 5); /* there are holes here */
  close (direct);

  fd = open (status, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (lseek (fd, 1, SEEK_DATA), ==, 1);
  g_assert_cmpint (lseek (fd, 1, SEEK_HOLE), >, 1);
  assert_fails ((int) lseek (fd, 1 << 20, SEEK_DATA), ENXIO);
  close (fd);
}

/* What is done to a file through the view, and to one like it directly, comes to the same. */
static void
test_allocate (FscTestStage *stage)
{
  static const int modes[] = {
    0,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE, /* EOPNOTSUPP */
  };
  g_autofree char *twin = fsc_test_stage_source (stage, "twin");
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  int direct, fd;

  fsc_test_stage_run (stage, "cd $S; head -c 100000 /dev/urandom >file; cp file twin;"
                             " cmp $V/file twin");
  direct = open (twin, O_RDWR | O_CLOEXEC);
  fd = open (through, O_RDWR | O_CLOEXEC);
  for (gsize i = 0; i < G_N_ELEMENTS (modes); i++)
    for (off_t offset = 10000; offset < 200000; offset += 50000)
      {
        int result = fallocate (direct, modes[i], offset, 30000), error = errno;
        struct stat a, b;

        g_assert_cmpint (fallocate (fd, modes[i], offset, 30000), ==, result);
        if (result < 0)
          g_assert_cmpint (errno, ==, error);
        g_assert_no_errno (fstat (direct, &a));
        g_assert_no_errno (fstat (fd, &b));
        g_assert_cmpint (a.st_size, ==, b.st_size);
        fsc_test_stage_run (stage, "cmp $S/file $S/twin; cmp $V/file $S/twin");
      }
  assert_fails (fallocate (fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
  close (fd);
  close (direct);
}

/* The source copies: nothing is read through the view. */
static void
test_copy (FscTestStage *stage)
{
  g_autofree char *from = fsc_test_stage_through (stage, "from");
  g_autofree char *to = fsc_test_stage_through (stage, "to");
  off_t from_offset = 1000, to_offset = 5000;
  int in, out;

  fsc_test_stage_run (stage, "cd $S; head -c 300000 /dev/urandom >from; head -c 9000 /dev/urandom"
                             " >to; cmp $V/to to; cp to expected; dd if=from of=expected"
                             " bs=1000 skip=1 seek=5 count=200 conv=notrunc status=none");
  fsc_test_stage_run (stage, "grep '\"reads\"' $M/status.json >$M/../before");
  in = open (from, O_RDONLY | O_CLOEXEC);
  out = open (to, O_RDWR | O_CLOEXEC);
  while (to_offset < 205000)
    g_assert_cmpint (
        copy_file_range (in, &from_offset, out, &to_offset, (size_t) (205000 - to_offset), 0), >,
        0);
  close (out);
  close (in);
  fsc_test_stage_run (stage, "grep '\"reads\"' $M/status.json | cmp - $M/../before;"
                             " cmp $S/to $S/expected; cmp $V/to $S/expected");
}

/* A database is written to; its journal cannot be removed, so it is emptied. */
static void
test_database (FscTestStage *stage)
{
  if (system ("command -v sqlite3 >/dev/null") != 0)
    {
      g_test_skip ("there is no sqlite3");
      return;
    }
  fsc_test_stage_run (stage, "sqlite3 $V/db 'pragma journal_mode=truncate; create table t (n);"
                             " insert into t values (1), (2), (3)' >$M/../said;"
                             " sqlite3 $V/db 'pragma journal_mode=truncate;"
                             " update t set n = n + 1; vacuum' >$M/../said;"
                             " test \"$(sqlite3 $S/db 'select sum (n) from t')\" = 9");
}

static void
test_unsupported (FscTestStage *stage)
{
  g_autofree char *file = fsc_test_stage_through (stage, "file");
  g_autofree char *other = fsc_test_stage_through (stage, "other");
  g_autofree char *dir = fsc_test_stage_through (stage, "dir");
  g_autofree char *status = fsc_test_stage_at (stage, "status.json");

  fsc_test_stage_run (stage, "echo >$S/file; mkdir $S/dir");
  assert_fails (g_unlink (file), EOPNOTSUPP);
  assert_fails (g_rmdir (dir), EOPNOTSUPP);
  assert_fails (g_mkdir (other, 0755), EOPNOTSUPP);
  assert_fails (g_rename (file, other), EOPNOTSUPP);
  assert_fails (link (file, other), EOPNOTSUPP);
  assert_fails (symlink ("file", other), EOPNOTSUPP);
  assert_fails (mkfifo (other, 0644), EOPNOTSUPP);
  assert_fails (chmod (status, 0600), EOPNOTSUPP);
  assert_fails (chown (status, 1, 1), EOPNOTSUPP);
  assert_fails (renameat2 (AT_FDCWD, file, AT_FDCWD, dir, RENAME_EXCHANGE), EOPNOTSUPP);
  assert_fails (mknod (other, S_IFREG | 0644, 0), EOPNOTSUPP);
  assert_fails (utimensat (AT_FDCWD, status, NULL, 0), EOPNOTSUPP);
  fsc_test_stage_assert_open (dir, O_WRONLY | O_TMPFILE, EOPNOTSUPP);
  fsc_test_stage_assert_open (dir, O_WRONLY, EISDIR);
  assert_fails (setxattr (file, "user.fscache.uri", "x", 1, 0), EOPNOTSUPP);
  assert_fails (setxattr (file, "user.colour", "x", 1, 0), EOPNOTSUPP);
  assert_fails (removexattr (status, "user.fscache.pinned"), EOPNOTSUPP);
  fsc_test_stage_run (stage, "test \"$(ls $S | tr '\\n' ' ')\" = 'dir file '");
}

/* What is the view's own is read-only, but for what can be dropped. */
static void
test_own (FscTestStage *stage)
{
  static const char *const new[] = { "new", "open/new", "cached/new", "cached/file/new" };
  static const char *const old[] = { "status.json", "metrics" };
  static const char *const directories[] = { "open", "cached", "open/file" };

  fsc_test_stage_run (stage, "echo text >$S/file; cat $V/file >$M/../said; test -d $M/cached/file");
  for (gsize i = 0; i < G_N_ELEMENTS (new); i++)
    {
      g_autofree char *path = fsc_test_stage_at (stage, new[i]);

      fsc_test_stage_assert_open (path, O_WRONLY | O_CREAT, EROFS);
    }
  for (gsize i = 0; i < G_N_ELEMENTS (old); i++)
    {
      g_autofree char *path = fsc_test_stage_at (stage, old[i]);

      fsc_test_stage_assert_open (path, O_WRONLY, EROFS);
      fsc_test_stage_assert_open (path, O_RDONLY | O_TRUNC, EROFS);
      assert_fails (g_unlink (path), EROFS);
    }
  for (gsize i = 0; i < G_N_ELEMENTS (directories); i++)
    {
      g_autofree char *path = fsc_test_stage_at (stage, directories[i]);

      assert_fails (g_rmdir (path), EROFS);
    }
}

static void
test_read_only (FscTestStage *stage)
{
  g_autofree char *file = fsc_test_stage_through (stage, "file");
  g_autofree char *other = fsc_test_stage_through (stage, "other");
  g_autofree char *cached = g_build_filename (stage->cached, "file", NULL);

  fsc_test_stage_stop (stage);
  fsc_test_stage_start (stage, "ro");
  fsc_test_stage_replace (stage, "file", "text");
  fsc_test_stage_assert_content (file, "text");
  fsc_test_stage_assert_open (file, O_WRONLY, EROFS);
  fsc_test_stage_assert_open (file, O_RDONLY | O_TRUNC, EROFS);
  fsc_test_stage_assert_open (other, O_WRONLY | O_CREAT, EROFS);
  assert_fails (truncate (file, 0), EROFS);
  assert_fails (utimensat (AT_FDCWD, file, NULL, 0), EROFS);
  assert_fails (chmod (file, 0600), EROFS);
  assert_fails (g_rename (file, other), EROFS);
  assert_fails (g_mkdir (other, 0755), EROFS);
  assert_fails (symlink ("file", other), EROFS);
  assert_fails (link (file, other), EROFS);
  assert_fails (mkfifo (other, 0644), EROFS);
  assert_fails (g_unlink (cached), EROFS);
  fsc_test_stage_run (stage, "! setfattr -n user.fscache.pinned -v 1 $V/file 2>$M/../said;"
                             " grep -q 'Read-only' $M/../said");
  fsc_test_stage_assert_content (file, "text");
}

/* What the source says no to. */
static void
test_refused (FscTestStage *stage)
{
  g_autofree char *file = fsc_test_stage_through (stage, "file");
  g_autofree char *made = fsc_test_stage_through (stage, "shut/made");

  fsc_test_stage_run (stage,
                      "cd $S; echo >file; chmod 444 file; mkdir shut; chown 12:34 shut file");
  fsc_test_stage_assert_open (file, O_WRONLY, EACCES);
  fsc_test_stage_assert_open (file, O_RDWR | O_APPEND, EACCES);
  fsc_test_stage_assert_open (made, O_WRONLY | O_CREAT, EACCES);
  assert_fails (truncate (file, 0), EACCES);
  fsc_test_stage_run (stage,
                      "chown 0:0 $S/file; chmod 755 $S/file; cp /bin/true $S/program;"
                      " cp /bin/sleep $S/sleep; $S/sleep 2 & sleep 0.3; ! echo >>$V/sleep; wait");
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD ("/view-write/write", test_write);
  FSC_STAGE_ADD ("/view-write/append", test_append);
  FSC_STAGE_ADD ("/view-write/create", test_create);
  FSC_STAGE_ADD ("/view-write/shared", test_shared);
  FSC_STAGE_ADD ("/view-write/times", test_times);
  FSC_STAGE_ADD ("/view-write/modes", test_modes);
  FSC_STAGE_ADD ("/view-write/holes", test_holes);
  FSC_STAGE_ADD ("/view-write/allocate", test_allocate);
  FSC_STAGE_ADD ("/view-write/copy", test_copy);
  FSC_STAGE_ADD ("/view-write/database", test_database);
  FSC_STAGE_ADD ("/view-write/reopened", test_reopened);
  FSC_STAGE_ADD ("/view-write/moved", test_moved);
  FSC_STAGE_ADD ("/view-write/unsupported", test_unsupported);
  FSC_STAGE_ADD ("/view-write/own", test_own);
  FSC_STAGE_ADD ("/view-write/read-only", test_read_only);
  FSC_STAGE_ADD ("/view-write/refused", test_refused);
  return g_test_run ();
}
