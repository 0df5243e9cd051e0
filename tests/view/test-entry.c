/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The cache itself in the view: what is in it, and what can be done to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/view/stage.h"

static char *
get_attribute (const char *path, const char *name)
{
  char value[4096];
  ssize_t length = getxattr (path, name, value, sizeof value);

  if (length < 0)
    return g_strdup_printf ("(%s)", g_strerror (errno));
  return g_strndup (value, (gsize) length);
}

static void
assert_attribute (const char *path, const char *name, const char *value)
{
  g_autofree char *found = get_attribute (path, name);

  g_assert_cmpstr (found, ==, value);
}

/* Opens files of DIR/src as any client does. */
static void
open_some (FscTestStage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  static const char *const names[] = { "a", "a", "dir/b", "dir/c", "a-b", "dir-x" };

  fsc_test_stage_run (stage,
                      "cd $S; mkdir dir; for n in a a-b dir-x dir/b dir/c; do echo $n >$n; done");
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = fsc_test_stage_source (stage, names[i]);

      fsc_test_assert_opens (client, path);
    }
  fscache_disconnect (client);
}

static void
test_cached (FscTestStage *stage)
{
  g_autofree char *a = g_build_filename (stage->cached, "a", NULL);
  g_autofree char *b = g_build_filename (stage->cached, "dir/b", NULL);
  g_autofree char *none = g_build_filename (stage->cached, "none", NULL);
  struct stat st;

  fsc_test_stage_run (stage, "test -z \"$(ls $M/cached)\"; test ! -e $C/a");
  open_some (stage);
  g_usleep (200000);
  fsc_test_stage_run (stage, "test \"$(ls $M/cached)\" = file");
  fsc_test_stage_run (stage, "test \"$(ls -F $C | tr '\\n' ' ')\" = 'a a-b dir/ dir-x '");
  fsc_test_stage_run (stage, "test \"$(cd $C; find . -type f | sort | tr '\\n' ' ')\""
                             " = './a ./a-b ./dir-x ./dir/b ./dir/c '");
  g_assert_no_errno (stat (a, &st));
  g_assert_cmpint (st.st_mode, ==, S_IFREG | 0444);
  g_assert_cmpint (ABS (st.st_mtim.tv_sec - g_get_real_time () / G_USEC_PER_SEC), <, 5);
  fsc_test_stage_assert_content (b, "dir/b\n");
  fsc_test_stage_assert_open (none, O_RDONLY, ENOENT);
  fsc_test_stage_assert_open (a, O_WRONLY, EROFS);
}

/* Looking at what is cached is no use of it. */
static void
test_untouched (FscTestStage *stage)
{
  guint64 hits, misses;

  open_some (stage);
  hits = fsc_test_service_counter (stage->service, "hits");
  misses = fsc_test_service_counter (stage->service, "misses");
  fsc_test_stage_run (stage, "find $M/cached -ls >$M/../said; getfattr -Rd $C >$M/../said");
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "hits"), ==, hits);
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "misses"), ==, misses);
}

static void
test_attributes (FscTestStage *stage)
{
  g_autofree char *cached = g_build_filename (stage->cached, "a", NULL);
  g_autofree char *through = fsc_test_stage_through (stage, "a");
  g_autofree char *uri = g_strdup_printf ("file://%s/a", stage->source);
  g_autofree char *generation = NULL;
  g_autofree char *later = NULL;
  g_autofree char *age = NULL;
  g_autofree char *cost = NULL;
  char list[4096], tiny[2];

  open_some (stage);
  g_usleep (200000);
  assert_attribute (cached, "user.fscache.uri", uri);
  assert_attribute (cached, "user.fscache.hits", "1");
  assert_attribute (cached, "user.fscache.kind", "regular");
  assert_attribute (cached, "user.fscache.sharing", "shared");
  assert_attribute (cached, "user.fscache.pinned", "0");
  age = get_attribute (cached, "user.fscache.age");
  g_assert_cmpfloat (g_ascii_strtod (age, NULL), >=, 0.2);
  g_assert_cmpfloat (g_ascii_strtod (age, NULL), <, 60);
  cost = get_attribute (cached, "user.fscache.cost");
  g_assert_cmpfloat (g_ascii_strtod (cost, NULL), >, 0);
  generation = get_attribute (cached, "user.fscache.generation");
  g_assert_cmpuint (g_ascii_strtoull (generation, NULL, 10), >, 0);
  assert_attribute (through, "user.fscache.uri", uri);
  assert_attribute (through, "user.fscache.hits", "1");
  assert_attribute (through, "user.fscache.generation", generation);
  assert_attribute (through, "user.fscache.none", "(No data available)");
  g_assert_cmpint (listxattr (through, list, sizeof list), >, 100);
  g_assert_nonnull (memmem (list, sizeof list, "user.fscache.cost", 17));
  g_assert_cmpint (getxattr (through, "user.fscache.uri", tiny, sizeof tiny), ==, -1);
  g_assert_cmpint (errno, ==, ERANGE);

  fsc_test_stage_replace (stage, "a", "another");
  fsc_test_stage_assert_content (through, "another");
  later = get_attribute (through, "user.fscache.generation");
  g_assert_cmpuint (g_ascii_strtoull (later, NULL, 10), >, g_ascii_strtoull (generation, NULL, 10));
}

/* Of what is not cached, that; and the source's own, to be read. */
static void
test_source_attributes (FscTestStage *stage)
{
  g_autofree char *source = fsc_test_stage_source (stage, "file");
  g_autofree char *through = fsc_test_stage_through (stage, "file");

  fsc_test_stage_replace (stage, "file", "text");
  assert_attribute (through, "user.fscache.hits", "(No data available)");
  if (setxattr (source, "user.colour", "red", 3, 0) < 0)
    {
      g_test_skip ("the file system has no attributes");
      return;
    }
  assert_attribute (through, "user.colour", "red");
  fsc_test_stage_run (stage, "getfattr -d $V/file 2>&1 | grep -qx 'user.colour=\"red\"'");
  fsc_test_stage_run (stage, "! setfattr -n user.colour -v blue $V/file 2>/dev/null");
  assert_attribute (source, "user.colour", "red");
}

static void
test_pin (FscTestStage *stage)
{
  g_autofree char *through = fsc_test_stage_through (stage, "file");
  g_autofree char *cached = g_build_filename (stage->cached, "file", NULL);

  fsc_test_stage_replace (stage, "file", "text");
  fsc_test_stage_run (stage, "setfattr -n user.fscache.pinned -v 1 $V/file");
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "pinned"), >=, 1);
  assert_attribute (through, "user.fscache.pinned", "1");
  g_usleep (200000);
  assert_attribute (cached, "user.fscache.pinned", "1");
  fsc_test_stage_run (stage, "setfattr -n user.fscache.pinned -v 0 $C/file");
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "pinned"), ==, 0);
  fsc_test_stage_run (stage, "setfattr -n user.fscache.pinned -v 1 $C/file; setfattr -x"
                             " user.fscache.pinned $V/file");
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "pinned"), ==, 0);
  fsc_test_stage_run (stage, "! setfattr -n user.fscache.pinned -v yes $V/file 2>/dev/null;"
                             " ! setfattr -n user.fscache.hits -v 7 $V/file 2>/dev/null");
}

/* What is open stays, however many names are looked at. */
static void
test_scan (FscTestStage *stage)
{
  fsc_test_service_stop (stage->service);
  g_assert_true (
      g_file_set_contents (stage->service->config, "[service]\nmax-handles=64\n", -1, NULL));
  fsc_test_service_start (stage->service);
  fsc_test_stage_start (stage, NULL);
  open_some (stage);
  fsc_test_stage_run (stage, "cd $S; for i in $(seq 300); do echo >x$i; done;"
                             " ls -l $V $V $V >/dev/null");
  g_assert_cmpuint (fsc_test_service_counter (stage->service, "evictions"), >, 200);
  g_usleep (200000);
  fsc_test_stage_run (stage, "test \"$(cd $C; find . -type f | sort | tr '\\n' ' ')\""
                             " = './a ./a-b ./dir-x ./dir/b ./dir/c '");
}

static void
ignore (const FscacheEntry *entry, void *data)
{
}

static guint
count_cached (FscTestStage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  g_autofree char *pattern = g_strdup_printf ("file://%s/*", stage->source);
  ssize_t n;

  n = fscache_list (client, pattern, ignore, NULL, NULL);
  fscache_disconnect (client);
  return (guint) n;
}

static void
test_drop (FscTestStage *stage)
{
  open_some (stage);
  g_assert_cmpuint (count_cached (stage), ==, 5);
  g_usleep (200000);
  fsc_test_stage_run (stage, "rm $C/a");
  g_assert_cmpuint (count_cached (stage), ==, 4);
  fsc_test_stage_run (stage, "test ! -e $C/a; test -e $S/a; ! rm $C/a 2>/dev/null;"
                             " ! rmdir $C/dir 2>/dev/null");
  g_assert_cmpuint (count_cached (stage), ==, 4);
  fsc_test_stage_run (stage, "rm -r $C/dir");
  g_assert_cmpuint (count_cached (stage), ==, 2);
  fsc_test_stage_run (stage, "rm -r $M/cached/file/*; test -z \"$(ls $C 2>/dev/null)\"");
  g_assert_cmpuint (count_cached (stage), ==, 0);
  fsc_test_stage_run (stage, "test -e $S/dir/b; test -e $S/a-b; ! rm $M/status.json 2>/dev/null");
}

/* Also where the kernel remembers nothing, so that it looks for a directory after all that was in
 * it is gone. */
static void
test_drop_exact (FscTestStage *stage)
{
  fsc_test_stage_start (stage, "exact");
  open_some (stage);
  fsc_test_stage_run (stage, "rm -r $C/dir; test ! -e $C/dir; rm -r $M/cached/file/*;"
                             " test -z \"$(ls $M/cached/file 2>/dev/null)\"");
  g_assert_cmpuint (count_cached (stage), ==, 0);
}

/* A name is asked for by itself, however old the listing is. */
static void
test_names (FscTestStage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  g_autofree char *cached = g_build_filename (stage->cached, "new", NULL);
  g_autofree char *source = fsc_test_stage_source (stage, "new");
  struct stat st;

  fsc_test_stage_start (stage, "exact");
  open_some (stage);
  fsc_test_write (source, "text");
  for (int i = 0; i < 20; i++)
    {
      g_assert_cmpint (stat (stage->cached, &st), ==, 0);
      fsc_test_assert_opens (client, source);
      g_assert_no_errno (stat (cached, &st));
      g_assert_cmpint (fscache_drop (client, source, NULL), >=, 1);
      g_assert_cmpint (stat (cached, &st), ==, -1);
      g_assert_cmpint (errno, ==, ENOENT);
    }
  fscache_disconnect (client);
}

/* What is done to each of many names costs the same as with few. (A list of all for each name took
 * a minute.) */
static void
test_many (FscTestStage *stage)
{
  const int n = 3000;
  FscacheClient *client = fsc_test_service_connect (stage->service);
  gint64 since;

  fsc_test_stage_start (stage, "exact");
  for (int i = 0; i < n; i++)
    {
      g_autofree char *name = g_strdup_printf ("%d", i);
      g_autofree char *path = fsc_test_stage_source (stage, name);

      fsc_test_write (path, "");
      fsc_test_assert_opens (client, path);
    }
  fscache_disconnect (client);
  g_assert_cmpuint (count_cached (stage), ==, n);
  since = g_get_monotonic_time ();
  fsc_test_stage_run (stage, "test $(find $C -ls | wc -l) = 3001; rm -r $C");
  g_assert_cmpint (g_get_monotonic_time () - since, <, 30 * G_USEC_PER_SEC);
  g_assert_cmpuint (count_cached (stage), ==, 0);
}

/* The size is shown where it is known and stays. */
static void
test_sizes (FscTestStage *stage)
{
  g_autofree char *opener = fsc_test_build_path ("fscache/openers/open-unpack");
  g_autofree char *file = g_build_filename (stage->cached, "file.gz", NULL);
  g_autofree char *content
      = g_strdup_printf ("%s/cached/unpack%s/file.gz", stage->mount, stage->source);
  g_autofree char *uri = g_strdup_printf ("unpack://%s/file.gz", stage->source);
  FscacheClient *client;
  FscacheReply reply;
  struct stat st;

  if (g_access (opener, X_OK) < 0)
    {
      g_test_skip ("it was built without open-unpack");
      return;
    }
  fsc_test_stage_run (stage, "seq 1000 | gzip >$S/file.gz; cat $V/file.gz >/dev/null");
  client = fsc_test_service_connect (stage->service);
  g_assert_cmpint (fscache_open (client, uri, O_RDONLY, &reply), >=, 0);
  fscache_reply_clear (client, &reply);
  fscache_disconnect (client);
  g_assert_no_errno (stat (content, &st));
  g_assert_cmpint (st.st_size, ==, 3893);
  g_assert_cmpint (st.st_blocks, ==, 8);
  g_assert_no_errno (stat (file, &st));
  g_assert_cmpint (st.st_size, ==, 0);
  fsc_test_stage_run (stage, "test $(wc -l <$M/cached/unpack$S/file.gz) = 1000");
}

/* A directory may be cached under several names. */
static void
test_directory (FscTestStage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  static const char *const ends[] = { "", "/", "/." };

  fsc_test_stage_run (stage, "mkdir $S/dir");
  for (gsize i = 0; i < G_N_ELEMENTS (ends); i++)
    {
      g_autofree char *path = g_strdup_printf ("%s/dir%s", stage->source, ends[i]);
      FscacheReply reply;

      g_assert_cmpint (fscache_open (client, path, O_RDONLY | O_DIRECTORY, &reply), >=, 0);
      fscache_reply_clear (client, &reply);
    }
  fscache_disconnect (client);
  g_assert_cmpuint (count_cached (stage), ==, 3);
  fsc_test_stage_run (stage, "test -d $C/dir; test -z \"$(ls $C/dir)\"; rmdir $C/dir");
  g_assert_cmpuint (count_cached (stage), ==, 0);
}

/* What clients have put can be read there too, where it can be read by position. */
static void
test_put (FscTestStage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  g_autofree char *pipe = g_build_filename (stage->mount, "cached/handle/pipe", NULL);
  int fds[] = { memfd_create ("test", MFD_CLOEXEC), -1, -1 };
  const FscachePut text = { .uri = "handle:dir/te xt", .fd = fds[0] };
  FscachePut reading = { .uri = "handle:pipe" };
  char byte;
  int fd;

  g_assert_no_errno (pipe2 (fds + 1, O_CLOEXEC));
  reading.fd = fds[1];
  g_assert_cmpint (pwrite (text.fd, "text", 4, 0), ==, 4);
  g_assert_cmpint (fscache_put (client, &text, NULL), ==, 0);
  g_assert_cmpint (fscache_put (client, &reading, NULL), ==, 0);
  fsc_test_stage_run (stage,
                      "cd $M/cached/handle && test \"$(ls -F | tr '\\n' ' ')\" = 'dir%/ pipe '");
  fsc_test_stage_run (stage, "test \"$(cat $M/cached/handle/dir%/te\\ xt)\" = text");
  fsc_test_stage_run (stage, "test \"$(cat $M/cached/handle/dir%/te\\ xt)\" = text");
  fsc_test_stage_run (stage,
                      "cd $M/cached/handle && test -e dir%/te\\ xt && test ! -e dir%2Fte\\ xt"
                      " && test ! -e dir%/te%20xt && test ! -e dir && test ! -e pipe%");
  assert_attribute (pipe, "user.fscache.uri", "handle:pipe");
  assert_attribute (pipe, "user.fscache.pinned", "1");
  fd = open (pipe, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (read (fd, &byte, 1), ==, -1);
  g_assert_cmpint (errno, ==, ESPIPE);
  close (fd);
  fsc_test_stage_run (stage, "rm $M/cached/handle/pipe");
  g_assert_cmpint (fscache_info (client, "handle:pipe", ignore, NULL, NULL), ==, -ENOENT);
  for (guint i = 0; i < G_N_ELEMENTS (fds); i++)
    close (fds[i]);
  fscache_disconnect (client);
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD ("/view-entry/cached", test_cached);
  FSC_STAGE_ADD ("/view-entry/untouched", test_untouched);
  FSC_STAGE_ADD ("/view-entry/attributes", test_attributes);
  FSC_STAGE_ADD ("/view-entry/source-attributes", test_source_attributes);
  FSC_STAGE_ADD ("/view-entry/pin", test_pin);
  FSC_STAGE_ADD ("/view-entry/drop", test_drop);
  FSC_STAGE_ADD_CLOSED ("/view-entry/drop-exact", test_drop_exact);
  FSC_STAGE_ADD_CLOSED ("/view-entry/scan", test_scan);
  FSC_STAGE_ADD_CLOSED ("/view-entry/names", test_names);
  FSC_STAGE_ADD_CLOSED ("/view-entry/many", test_many);
  FSC_STAGE_ADD ("/view-entry/sizes", test_sizes);
  FSC_STAGE_ADD ("/view-entry/directory", test_directory);
  FSC_STAGE_ADD ("/view-entry/put", test_put);
  return g_test_run ();
}
