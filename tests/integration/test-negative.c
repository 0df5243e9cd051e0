/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Negative entries: that there is nothing is remembered as long as it is watched, and whatever
 * makes it untrue is seen by the next request.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

static char *
build (FscTestService *service, const char *name)
{
  return g_build_filename (service->dir, name, NULL);
}

/* Asks until it is remembered: from then on nobody opens. */
static void
learn (FscTestService *service, FscacheClient *client, const char *path, int error)
{
  for (guint i = 0; i < 500; i++)
    {
      guint64 opens = fsc_test_service_counter (service, "opens");

      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, error);
      if (fsc_test_service_counter (service, "opens") == opens)
        return;
      g_usleep (2000);
    }
  g_error ("%s is never remembered not to be there", path);
}

static void
assert_not_learnt (FscTestService *service, FscacheClient *client, const char *path, int error)
{
  for (guint i = 0; i < 20; i++)
    {
      guint64 opens = fsc_test_service_counter (service, "opens");

      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, error);
      g_assert_cmpuint (fsc_test_service_counter (service, "opens"), >, opens);
      g_usleep (1000);
    }
}

static void
test_file (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = build (service, "missing");
  g_autofree char *other = build (service, "other");
  FscacheReply reply;

  learn (service, client, path, ENOENT);
  g_assert_cmpuint (fsc_test_service_counter (service, "negative"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), ==, -ENOENT);
  g_assert_nonnull (strstr (reply.message, path));
  g_assert_nonnull (strstr (reply.message, "No such file or directory"));

  fsc_test_write (path, "made");
  fsc_test_assert_same (client, path, O_RDONLY);
  g_assert_cmpuint (fsc_test_service_counter (service, "negative"), ==, 0);

  g_assert_no_errno (g_unlink (path));
  learn (service, client, path, ENOENT);
  fsc_test_write (other, "renamed");
  g_assert_no_errno (g_rename (other, path));
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  g_assert_no_errno (g_unlink (path));
  learn (service, client, path, ENOENT);
  g_assert_no_errno (symlink ("/", path));
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  fscache_disconnect (client);
}

static void
test_directory (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *directory = build (service, "a");
  g_autofree char *inner = build (service, "a/b");
  g_autofree char *path = build (service, "a/b/c");
  g_autofree char *moved = build (service, "x");

  learn (service, client, path, ENOENT);
  g_assert_no_errno (g_mkdir (directory, 0755));
  learn (service, client, path, ENOENT);
  g_assert_no_errno (g_mkdir (inner, 0755));
  learn (service, client, path, ENOENT);
  fsc_test_write (path, "there");
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  g_assert_no_errno (g_rename (directory, moved));
  learn (service, client, path, ENOENT);
  g_assert_no_errno (g_rename (moved, directory));
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  fscache_disconnect (client);
}

static void
test_no_directory (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *file = fsc_test_service_write (service, "file", "content");
  g_autofree char *path = build (service, "file/inner");
  g_autofree char *slash = build (service, "file/");

  learn (service, client, path, ENOTDIR);
  learn (service, client, slash, ENOTDIR);
  g_assert_no_errno (g_unlink (file));
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, ENOENT);
  g_assert_cmpint (fsc_test_assert_same (client, slash, O_RDONLY), ==, ENOENT);
  learn (service, client, path, ENOENT);
  g_assert_no_errno (g_mkdir (file, 0755));
  fsc_test_write (path, "there");
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, slash, O_RDONLY), ==, 0);
  fscache_disconnect (client);
}

static void
test_dangling_link (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *directory = build (service, "d");
  g_autofree char *target = build (service, "d/target");
  g_autofree char *link = build (service, "link");
  g_autofree char *real = fsc_test_service_write (service, "real", "content");

  g_assert_no_errno (g_mkdir (directory, 0755));
  g_assert_no_errno (symlink (target, link));
  learn (service, client, link, ENOENT);
  fsc_test_write (target, "there");
  g_assert_cmpint (fsc_test_assert_same (client, link, O_RDONLY), ==, 0);
  g_assert_no_errno (g_unlink (target));
  learn (service, client, link, ENOENT);
  g_assert_no_errno (g_unlink (link));
  g_assert_no_errno (symlink (real, link));
  g_assert_cmpint (fsc_test_assert_same (client, link, O_RDONLY), ==, 0);
  fscache_disconnect (client);
}

/* What changes nothing but attributes on the way is looked into once. */
static void
test_attributes (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *directory = build (service, "d");
  g_autofree char *path = build (service, "d/missing");

  g_assert_no_errno (g_mkdir (directory, 0755));
  learn (service, client, path, ENOENT);
  g_assert_no_errno (utimensat (AT_FDCWD, directory, NULL, 0));
  learn (service, client, path, ENOENT);
  g_assert_no_errno (g_chmod (directory, 0700));
  learn (service, client, path, ENOENT);
  fsc_test_write (path, "made");
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  fscache_disconnect (client);
}

/* A directory that may be searched but not read cannot be watched; and what is forbidden is asked
 * each time. */
static void
test_unwatchable (FscTestService *service)
{
  struct __user_cap_data_struct all[2];
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *directory = build (service, "closed");
  g_autofree char *path = build (service, "closed/missing");
  g_autofree char *other = build (service, "closed/other");
  g_autofree char *file = fsc_test_service_write (service, "forbidden", "content");

  g_assert_no_errno (g_mkdir (directory, 0311));
  g_assert_no_errno (g_chmod (file, 0));
  fsc_test_lay_down_capabilities (all);
  assert_not_learnt (service, client, path, ENOENT);
  assert_not_learnt (service, client, file, EACCES);
  fsc_test_set_capabilities (all);
  g_assert_no_errno (g_chmod (directory, 0755));
  learn (service, client, other, ENOENT); /* what could not be watched is tried again later */
  fscache_disconnect (client);
}

/* Names that are not there take their share of the places, and no more. */
static void
test_share (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  guint64 share = fsc_test_service_counter (service, "max_handles") / 8;

  for (guint i = 0; i < share + 100; i++)
    {
      g_autofree char *name = g_strdup_printf ("missing-%u", i);
      g_autofree char *path = build (service, name);

      g_assert_cmpint (fscache_open (client, path, O_RDONLY, NULL), ==, -ENOENT);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "negative"), ==, share);
  fscache_disconnect (client);
}

int
main (int argc, char *argv[])
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/negative/file", test_file);
  FSC_TEST_ADD ("/negative/directory", test_directory);
  FSC_TEST_ADD ("/negative/no-directory", test_no_directory);
  FSC_TEST_ADD ("/negative/dangling-link", test_dangling_link);
  FSC_TEST_ADD ("/negative/attributes", test_attributes);
  FSC_TEST_ADD ("/negative/unwatchable", test_unwatchable);
  FSC_TEST_ADD ("/negative/share", test_share);
  return g_test_run ();
}
