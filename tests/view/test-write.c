/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Writing through the view, where the source allows it; and all that cannot be done.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
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

static void
assert_fails (int result, int error)
{
  g_assert_cmpint (result, ==, -1);
  g_assert_cmpint (errno, ==, error);
}

static void
test_unsupported (FscTestStage *stage)
{
  g_autofree char *file = fsc_test_stage_through (stage, "file");
  g_autofree char *other = fsc_test_stage_through (stage, "other");
  g_autofree char *dir = fsc_test_stage_through (stage, "dir");
  g_autofree char *top = fsc_test_stage_at (stage, "file");
  g_autofree char *status = fsc_test_stage_at (stage, "status.json");

  fsc_test_stage_run (stage, "echo >$S/file; mkdir $S/dir");
  assert_fails (g_unlink (file), EOPNOTSUPP);
  assert_fails (g_rmdir (dir), EOPNOTSUPP);
  assert_fails (g_mkdir (other, 0755), EOPNOTSUPP);
  assert_fails (g_rename (file, other), EOPNOTSUPP);
  assert_fails (link (file, other), EOPNOTSUPP);
  assert_fails (symlink ("file", other), EOPNOTSUPP);
  assert_fails (mkfifo (other, 0644), EOPNOTSUPP);
  assert_fails (chmod (file, 0600), EOPNOTSUPP);
  assert_fails (chown (file, 1, 1), EOPNOTSUPP);
  fsc_test_stage_assert_open (top, O_WRONLY | O_CREAT, EACCES);
  fsc_test_stage_assert_open (status, O_WRONLY, EACCES);
  fsc_test_stage_assert_open (dir, O_WRONLY, EISDIR);
  fsc_test_stage_run (stage, "test \"$(ls $S | tr '\\n' ' ')\" = 'dir file '");
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
  FSC_STAGE_ADD ("/view-write/unsupported", test_unsupported);
  FSC_STAGE_ADD ("/view-write/read-only", test_read_only);
  FSC_STAGE_ADD ("/view-write/refused", test_refused);
  return g_test_run ();
}
