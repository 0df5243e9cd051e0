/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is in compressed files and archives, made by the tools that everybody uses: exactly that, or
 * an error that says why, and never a part of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fscache/openers/confine.h"
#include "tests/harness/answer.h"
#include "tests/harness/tap.h"
#include "tests/integration/tools.h"

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* What nobody can compress much, so that damage anywhere is damage. */
#define MAKE_PLAIN "head -c 100000 /dev/urandom | base64 > plain"

typedef struct
{
  const char *tool;
  const char *package;
  const char *suffix;
  const char *cut; /* what is said of a part of it */
} Format;

static const Format formats[] = {
  { "gzip", "gzip", "gz", "it is cut off: " },
  { "zstd", "zstd", "zst", "Truncated" },
  { "xz", "xz-utils", "xz", "it is cut off, or something else follows its end" },
  { "bzip2", "bzip2", "bz2", "truncated" },
  { "lz4", "lz4", "lz4", "truncated" },
};

/* Compressed files */

static void
check_format (FscTestService *service, const Format *format)
{
  g_autofree char *one = g_strconcat ("one.", format->suffix, NULL);
  g_autofree char *two = g_strconcat ("two.", format->suffix, NULL);
  g_autofree char *empty = g_strconcat ("empty.", format->suffix, NULL);
  FscacheClient *client;
  g_autoptr (GBytes) plain = NULL, twice = NULL, nothing = g_bytes_new (NULL, 0);

  if (!fsc_test_has_tool (format->tool, format->package))
    return;
  fsc_test_shell (service, MAKE_PLAIN "; cat plain plain > twice");
  fsc_test_shell (service, "%s -c < plain > %s; cat %s %s > %s; %s -c < /dev/null > %s",
                  format->tool, one, one, one, two, format->tool, empty);
  plain = fsc_test_read_file (service, "plain");
  twice = fsc_test_read_file (service, "twice");
  client = fsc_test_service_connect (service);

  fsc_test_assert_unpacks (service, client, one, NULL, plain, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks (service, client, one, NULL, plain, FSCACHE_SOURCE_CACHE);
  fsc_test_assert_unpacks (service, client, two, NULL, twice, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks (service, client, empty, NULL, nothing, FSCACHE_SOURCE_OPENED);
  fscache_disconnect (client);
}

static void
test_gzip (FscTestService *service)
{
  check_format (service, &formats[0]);
}

static void
test_zstd (FscTestService *service)
{
  check_format (service, &formats[1]);
}

static void
test_xz (FscTestService *service)
{
  check_format (service, &formats[2]);
}

static void
test_bzip2 (FscTestService *service)
{
  check_format (service, &formats[3]);
}

static void
test_lz4 (FscTestService *service)
{
  check_format (service, &formats[4]);
}

/* What is given can be read, mapped and shared with anybody, and changed by nobody. */
static void
test_sealed (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = fsc_test_unpack_uri (service, "a.gz", NULL);
  FscacheReply reply;
  char text[8] = "";

  fsc_test_shell (service, "echo hello | gzip > a.gz");
  for (int i = 0; i < 2; i++)
    {
      const FscacheRequest request
          = { .uri = uri, .sharing = i == 0 ? FSCACHE_INDEPENDENT : FSCACHE_SHARED };
      void *map;

      g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
      g_assert_cmpint (reply.kind, ==, FSCACHE_KIND_REGULAR);
      g_assert_cmphex (fcntl (reply.fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
      g_assert_cmphex (fcntl (reply.fd, F_GET_SEALS) & ALL_SEALS, ==, ALL_SEALS);
      map = mmap (NULL, 6, PROT_READ, MAP_SHARED, reply.fd, 0);
      g_assert_true (map != MAP_FAILED);
      g_assert_cmpmem (map, 6, "hello\n", 6);
      munmap (map, 6);
      if (i == 0)
        g_assert_cmpint (read (reply.fd, text, sizeof text), ==, 6);
      fscache_reply_clear (client, &reply);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "held"), ==, 0);
  fscache_disconnect (client);
}

/* Its digest is that of the content, and what is the same is kept once, whatever it came from. */
static void
test_digest (FscTestService *service)
{
  static const char text[] = "hello\n";
  static const char *const files[] = { "a.gz", "a.bz2" };
  FscacheClient *client = fsc_test_service_connect (service);
  guint8 expected[FSCACHE_DIGEST_SIZE];
  gsize size = sizeof expected;
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  ino_t inodes[G_N_ELEMENTS (files)];

  g_checksum_update (checksum, (const guchar *) text, strlen (text));
  g_checksum_get_digest (checksum, expected, &size);
  fsc_test_shell (service, "echo hello | gzip > a.gz; echo hello | bzip2 > a.bz2");
  for (guint i = 0; i < G_N_ELEMENTS (files); i++)
    {
      g_autofree char *uri = fsc_test_unpack_uri (service, files[i], NULL);
      FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED, .digest = expected };
      FscacheReply reply;

      if (fscache_open_with (client, &request, &reply) < 0)
        g_error ("%s", reply.message);
      g_assert_cmpuint (reply.content.size, ==, strlen (text));
      g_assert_cmpmem (reply.content.digest, sizeof expected, expected, sizeof expected);
      inodes[i] = fsc_test_get_inode (reply.fd);
      fscache_reply_clear (client, &reply);
    }
  g_assert_cmpuint (inodes[0], ==, inodes[1]);
  fscache_disconnect (client);
}

/* Also if it is a helper's. */
static void
test_equal_to_helpers (void)
{
  g_autofree char *program = fsc_test_build_path ("tests/integration/odd-helper");
  g_autofree char *config = g_strdup_printf ("[helper odd]\ncommand=%s\n", program);
  FscTestService *service = fsc_test_service_new (config, NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = fsc_test_unpack_uri (service, "a.gz", NULL);
  ino_t inodes[2];

  fsc_test_shell (service, "printf hello | gzip > a.gz");
  for (guint i = 0; i < 2; i++)
    {
      const FscacheRequest request
          = { .uri = i == 0 ? uri : "helper+odd:memory?hello", .sharing = FSCACHE_SHARED };
      FscacheReply reply;

      g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
      inodes[i] = fsc_test_get_inode (reply.fd);
      fscache_reply_clear (client, &reply);
    }
  g_assert_cmpuint (inodes[0], ==, inodes[1]);
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), ==, strlen ("hello"));
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* One layer is taken off. */
static void
test_layers (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GBytes) tar = NULL, inner = NULL;

  fsc_test_shell (service, "echo one > one; tar cf a.tar one; gzip -c a.tar > a.tar.gz;"
                           "gzip -c a.tar.gz > a.tar.gz.gz");
  tar = fsc_test_read_file (service, "a.tar");
  inner = fsc_test_read_file (service, "a.tar.gz");
  fsc_test_assert_unpacks (service, client, "a.tar.gz", NULL, tar, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks (service, client, "a.tar.gz.gz", NULL, inner, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks_text (service, client, "a.tar.gz", "one", "one\n");
  fscache_disconnect (client);
}

/* Archives */

static const struct
{
  const char *name;
  const char *tool;
  const char *package;
  const char *command;
} archives[] = {
  { "a.tar", "tar", "tar", "tar cf a.tar one dir" },
  { "a.tar.gz", "gzip", "gzip", "tar czf a.tar.gz one dir" },
  { "a.tar.xz", "xz", "xz-utils", "tar cJf a.tar.xz one dir" },
  { "a.tar.bz2", "bzip2", "bzip2", "tar cjf a.tar.bz2 one dir" },
  { "a.tar.zst", "zstd", "zstd", "tar --zstd -cf a.tar.zst one dir" },
  { "a.tar.lz4", "lz4", "lz4", "tar c one dir | lz4 -c > a.tar.lz4" },
  { "a.zip", "zip", "zip", "zip -qr a.zip one dir" },
  { "a.7z", "7z", "p7zip-full", "7z a -bd a.7z one dir >7z.log" },
  { "a.cpio", "cpio", "cpio", "find one dir | cpio --quiet -o -H newc > a.cpio" },
  { "a.cpio.gz", "cpio", "cpio", "find one dir | cpio --quiet -o -H odc | gzip > a.cpio.gz" },
};

static void
test_archive (FscTestService *service, guint i)
{
  FscacheClient *client;
  g_autoptr (GBytes) plain = NULL;
  const char *name = archives[i].name;

  if (!fsc_test_has_tool (archives[i].tool, archives[i].package))
    return;
  fsc_test_shell (service,
                  MAKE_PLAIN "; mkdir -p dir/inner; mv plain dir/inner/big; touch dir/empty;"
                             "echo one > one; echo ae > dir/\u00e4; %s",
                  archives[i].command);
  plain = fsc_test_read_file (service, "dir/inner/big");
  client = fsc_test_service_connect (service);
  fsc_test_assert_unpacks (service, client, name, "dir/inner/big", plain, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks (service, client, name, "dir/inner/big", plain, FSCACHE_SOURCE_CACHE);
  fsc_test_assert_unpacks_text (service, client, name, "one", "one\n");
  fsc_test_assert_unpacks_text (service, client, name, "dir/%C3%A4", "ae\n");
  fsc_test_assert_unpacks_text (service, client, name, "dir/empty", "");
  fsc_test_assert_no_content (service, client, name, "two", FSCACHE_ERROR_SYSTEM, ENOENT, "#two");
  fscache_disconnect (client);
}

#define ARCHIVE_TEST(i)                                                                            \
  static void test_archive_##i (FscTestService *service)                                           \
  {                                                                                                \
    test_archive (service, i);                                                                     \
  }

ARCHIVE_TEST (0)
ARCHIVE_TEST (1)
ARCHIVE_TEST (2)
ARCHIVE_TEST (3)
ARCHIVE_TEST (4)
ARCHIVE_TEST (5)
ARCHIVE_TEST (6)
ARCHIVE_TEST (7)
ARCHIVE_TEST (8)
ARCHIVE_TEST (9)

/* A name is bytes, and leads nowhere. */
static void
test_names (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  fsc_test_shell (service,
                  "echo one > a; echo two > b; echo three > c; echo four > $'l\\xe4';"
                  "tar cf a.tar --absolute-names --transform 's,^a$,../../etc/x,;s,^b$,/etc//y,;"
                  "s,^c$,./c d#%%?,' a b c $'l\\xe4'");
  fsc_test_assert_unpacks_text (service, client, "a.tar", "../../etc/x", "one\n");
  fsc_test_assert_unpacks_text (service, client, "a.tar", "/etc//y", "two\n");
  fsc_test_assert_unpacks_text (service, client, "a.tar", "./c%20d%23%25%3F", "three\n");
  fsc_test_assert_unpacks_text (service, client, "a.tar", "l%E4", "four\n");
  fsc_test_assert_no_content (service, client, "a.tar", "/etc/y", FSCACHE_ERROR_SYSTEM, ENOENT,
                              "no such member");
  fsc_test_assert_no_content (service, client, "a.tar", "etc/x", FSCACHE_ERROR_SYSTEM, ENOENT,
                              "no such member");
  fscache_disconnect (client);
}

/* In a zip archive it is what libarchive makes of it. */
static void
test_zip_names (FscTestService *service)
{
  FscacheClient *client;

  if (!fsc_test_has_tool ("python3", "python3"))
    return;
  client = fsc_test_service_connect (service);
  fsc_test_shell (service, "python3 -c 'import zipfile\n"
                           "for name in \"a.zip\", \"b.zip\":\n"
                           "  with zipfile.ZipFile (name, \"w\") as z:\n"
                           "    z.writestr (r\"a\\b\", \"one\\n\")\n"
                           "    z.writestr (r\"c/d\\e\", \"two\\n\")\n"
                           "    z.writestr (\"l\\u00e4\", \"three\\n\")\n"
                           "  x = open (name, \"rb\").read ()\n"
                           "  x = x.replace (b\"l\\xc3\\xa4\", b\"l\\xe4!\")\n"
                           "  if name == \"b.zip\":\n" /* which is not said to be UTF-8 */
                           "    x = x.replace (b\"\\0\\x08\\0\\0\", b\"\\0\\0\\0\\0\")\n"
                           "  open (name, \"wb\").write (x)'");
  fsc_test_assert_unpacks_text (service, client, "a.zip", "a/b", "one\n");
  fsc_test_assert_unpacks_text (service, client, "a.zip", "c/d%5Ce", "two\n");
  fsc_test_assert_no_content (service, client, "a.zip", "a%5Cb", FSCACHE_ERROR_SYSTEM, ENOENT,
                              "no such member");
  fsc_test_assert_no_content (service, client, "a.zip", "l%E4!", FSCACHE_ERROR_SYSTEM, ENOENT,
                              "no such member");
  fsc_test_assert_unpacks_text (service, client, "b.zip", "l%E4!", "three\n");
  fscache_disconnect (client);
}

/* What extracting would leave under that name. */
static void
test_kinds (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GBytes) sparse = NULL;

  fsc_test_shell (service,
                  "echo old > a; tar cf a.tar a; echo new > a; tar rf a.tar a;"
                  "mkdir dir; ln -s a sym; mkfifo fifo; ln a hard; ln a harder;"
                  "truncate -s 1M sparse; echo middle | dd of=sparse bs=1 seek=500000 conv=notrunc "
                  "status=none;"
                  "tar cf b.tar --sparse a hard harder dir sym fifo sparse;"
                  "tar cf p.tar --format=pax --sparse a sparse; gzip -k b.tar");
  sparse = fsc_test_read_file (service, "sparse");
  fsc_test_assert_unpacks_text (service, client, "a.tar", "a", "new\n");
  fsc_test_assert_unpacks_text (service, client, "b.tar", "hard", "new\n");
  fsc_test_assert_unpacks_text (service, client, "b.tar.gz", "harder", "new\n");
  fsc_test_assert_unpacks (service, client, "b.tar", "sparse", sparse, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks (service, client, "p.tar", "sparse", sparse, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_no_content (service, client, "b.tar", "dir/", FSCACHE_ERROR_SYSTEM, EISDIR,
                              "directory");
  fsc_test_assert_no_content (service, client, "b.tar", "sym", FSCACHE_ERROR_SYSTEM, ELOOP,
                              "symbolic link, to a");
  fsc_test_assert_no_content (service, client, "b.tar", "fifo", FSCACHE_ERROR_SYSTEM, EINVAL,
                              "no file");
  fscache_disconnect (client);
}

/* In a tar archive a hard link is the file that had the name before, and not what came later; in a
 * cpio archive the last one brings the content. */
/* What an archive says is shown to people, but tells their terminals nothing. */
static void
test_escapes (FscTestService *service)
{
  g_auto (FscTestProgram) open = { 0 };
  g_auto (FscTestProgram) warm = { 0 };
  g_autofree char *uri = fsc_test_unpack_uri (service, "a.tar", "link");

  fsc_test_shell (service, "ln -s $'x\\xff\\x1b[31m\\xc2\\x9b\\xc3\\xa9' link; tar -cf a.tar link;"
                           "printf '%%s\\nm\\xff\\n' unpack://$PWD/a.tar#link > list");
  fsc_test_service_ctl (service, &open, FSC_TEST_WORDS ("open", uri));
  fsc_test_program_assert_exit (&open, 1);
  g_assert_nonnull (
      strstr (open.error, "a symbolic link, to x??[31m??\xc3\xa9; name that instead\n"));
  fsc_test_service_ctl (service, &warm, FSC_TEST_WORDS ("warm", "--json", "list"));
  fsc_test_program_assert_exit (&warm, 1);
  g_assert_true (g_utf8_validate (warm.out, -1, NULL));
  g_assert_nonnull (strstr (warm.out, "to x??[31m??"));
}

/* What asks for more memory than there may be is refused, and the limit is named. */
static void
test_memory (FscTestService *service)
{
  FscacheClient *client;

  if (!FSC_CONFINE_HAS_MEMORY_LIMIT)
    {
      g_test_skip ("a sanitizer needs more address space than there may be");
      return;
    }
  if (!fsc_test_has_tool ("python3", "python3"))
    return;
  /* The header of its only block says that 4 GiB are needed. */
  fsc_test_shell (service, "python3 -c 'import lzma, sys, zlib\n"
                           "x = bytearray (lzma.compress (b\"x\" * 1000))\n"
                           "n = (x[12] + 1) * 4\n"
                           "assert x[14:16] == bytes ([0x21, 1])\n"
                           "x[16] = 40\n"
                           "x[8 + n:12 + n] = zlib.crc32 (x[12:8 + n]).to_bytes (4, \"little\")\n"
                           "sys.stdout.buffer.write (x)' > a.xz");
  client = fsc_test_service_connect (service);
  fsc_test_assert_no_content (service, client, "a.xz", NULL, FSCACHE_ERROR_LIMIT, ENOMEM,
                              "needs more than the 1024 MiB of memory that it may have");
  fscache_disconnect (client);
}

static void
test_hard_links (FscTestService *service)
{
  FscacheClient *client;

  if (!fsc_test_has_tool ("cpio", "cpio"))
    return;
  client = fsc_test_service_connect (service);
  fsc_test_shell (service, "echo first > a; ln a b; tar cf a.tar a b; rm a b; echo second > a;"
                           "tar rf a.tar a; ln a b; ln a c; "
                           "printf 'a\\nb\\nc\\n' | cpio --quiet -o -H newc > a.cpio");
  fsc_test_assert_unpacks_text (service, client, "a.tar", "a", "second\n");
  fsc_test_assert_unpacks_text (service, client, "a.tar", "b", "first\n");
  fsc_test_assert_unpacks_text (service, client, "a.cpio", "a", "second\n");
  fsc_test_assert_unpacks_text (service, client, "a.cpio", "b", "second\n");
  fsc_test_assert_unpacks_text (service, client, "a.cpio", "c", "second\n");
  fscache_disconnect (client);
}

/* Refused */

static void
test_refused (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *uri = fsc_test_unpack_uri (service, "a.gz", NULL);
  FscacheReply reply;

  fsc_test_shell (service, "echo plain > plain; touch empty; mkdir dir; mkfifo fifo; tar cf a.tar "
                           "plain; gzip -c plain > a.gz");
  fsc_test_assert_no_content (service, client, "plain", NULL, FSCACHE_ERROR_SYSTEM, EINVAL,
                              "not compressed");
  fsc_test_assert_no_content (service, client, "empty", NULL, FSCACHE_ERROR_SYSTEM, EINVAL,
                              "not compressed");
  fsc_test_assert_no_content (service, client, "a.tar", NULL, FSCACHE_ERROR_SYSTEM, EINVAL,
                              "name a member");
  fsc_test_assert_no_content (service, client, "plain", "a", FSCACHE_ERROR_SYSTEM, EINVAL,
                              "no tar, zip, 7z or cpio");
  fsc_test_assert_no_content (service, client, "a.gz", "a", FSCACHE_ERROR_SYSTEM, EINVAL,
                              "no tar, zip, 7z or cpio");
  fsc_test_assert_no_content (service, client, "dir", NULL, FSCACHE_ERROR_SYSTEM, EISDIR, "dir");
  fsc_test_assert_no_content (service, client, "fifo", NULL, FSCACHE_ERROR_SYSTEM, EINVAL, "files");
  fsc_test_assert_no_content (service, client, "none", NULL, FSCACHE_ERROR_SYSTEM, ENOENT, "none");
  fsc_test_assert_no_content (service, client, "none", "a", FSCACHE_ERROR_SYSTEM, ENOENT, "none");
  g_assert_cmpint (fscache_open (client, uri, O_RDWR, &reply), ==, -EROFS);
  g_assert_cmpint (fscache_open (client, uri, O_WRONLY | O_CREAT | O_TRUNC, &reply), ==, -EROFS);
  g_assert_cmpint (fscache_open (client, uri, O_RDONLY | O_DIRECTORY, &reply), ==, -ENOTDIR);
  fscache_disconnect (client);
}

static void
test_encrypted (FscTestService *service)
{
  FscacheClient *client;

  if (!fsc_test_has_tool ("zip", "zip") || !fsc_test_has_tool ("7z", "p7zip-full"))
    return;
  client = fsc_test_service_connect (service);
  fsc_test_shell (service, "echo secret > a; zip -qP word a.zip a; 7z a -bd -pword a.7z a > log;"
                           "7z a -bd -pword -mhe=on b.7z a > log; echo open > b; zip -q a.zip b");
  fsc_test_assert_no_content (service, client, "a.zip", "a", FSCACHE_ERROR_SYSTEM, ENOKEY,
                              "encrypted");
  fsc_test_assert_unpacks_text (service, client, "a.zip", "b", "open\n");
  fsc_test_assert_no_content (service, client, "a.7z", "a", FSCACHE_ERROR_SYSTEM, ENOKEY,
                              "encrypted");
  fsc_test_assert_no_content (service, client, "b.7z", "a", FSCACHE_ERROR_SYSTEM, ENOKEY,
                              "encrypted");
  fscache_disconnect (client);
}

/* Damage */

#define DAMAGES 60

/* The first third are cut off, the others have a bit changed: at the ends, where the heads and sums
 * are, and at some places in between. */
static void
damage (FscTestService *service, const char *name, guint i, gsize *at)
{
  g_autofree char *path = g_strdup_printf ("%s/%u.%s", service->dir, i, name);
  g_autoptr (GBytes) packed = fsc_test_read_file (service, name);
  gsize size = g_bytes_get_size (packed);
  g_autofree guint8 *copy = g_memdup2 (g_bytes_get_data (packed, NULL), size);
  guint place = i % (DAMAGES / 3);

  *at = place < 8 ? place : place < 14 ? size - 1 - place % 6 : size / 20 * place;
  if (i >= DAMAGES / 3)
    copy[*at] ^= (guint8) (i < DAMAGES / 3 * 2 ? 0x01 : 0x80);
  g_assert_true (g_file_set_contents_full (path, (char *) copy, i < DAMAGES / 3 ? *at : size,
                                           G_FILE_SET_CONTENTS_NONE, 0600, NULL));
}

/* What is damaged is refused; or it is the same, because what was changed means nothing (a time, a
 * name of the system that packed). */
static void
check_damaged (FscTestService *service, const char *name, const char *member, GBytes *expected,
               guint *n_refused)
{
  FscacheClient *client = fsc_test_service_connect (service);
  gsize at[DAMAGES];

  for (guint i = 0; i < DAMAGES; i++)
    damage (service, name, i, &at[i]);
  for (guint i = 0; i < DAMAGES; i++)
    {
      g_autofree char *file = g_strdup_printf ("%u.%s", i, name);
      gboolean is_cut = i < DAMAGES / 3;
      FscacheReply reply;
      g_autoptr (GBytes) content = fsc_test_try_unpack (service, client, file, member, &reply);

      if (content != NULL && (is_cut || !g_bytes_equal (content, expected)))
        g_error ("%s, %s at %zu, gives %zu bytes", name, is_cut ? "cut" : "changed", at[i],
                 g_bytes_get_size (content));
      if (content == NULL)
        {
          if (reply.code != FSCACHE_ERROR_LIMIT) /* a window of any size is one changed bit away */
            g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_SYSTEM);
          ++*n_refused;
        }
    }
  fscache_disconnect (client);
}

static void
test_damaged (FscTestService *service)
{
  g_autoptr (GBytes) plain = NULL;
  guint n_refused = 0, n = 0;

  fsc_test_shell (service, MAKE_PLAIN);
  plain = fsc_test_read_file (service, "plain");
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    {
      g_autofree char *name = g_strconcat ("a.", formats[i].suffix, NULL);

      if (!fsc_test_has_tool (formats[i].tool, formats[i].package))
        return;
      fsc_test_shell (service, "%s -c < plain > %s", formats[i].tool, name);
      check_damaged (service, name, NULL, plain, &n_refused);
      n += DAMAGES;
    }
  g_test_message ("%u of %u were refused", n_refused, n);
  g_assert_cmpuint (n_refused, >, n / 10 * 9);
}

static void
test_damaged_archives (FscTestService *service)
{
  g_autoptr (GBytes) plain = NULL;
  guint n_refused = 0;

  if (!fsc_test_has_tool ("zip", "zip") || !fsc_test_has_tool ("7z", "p7zip-full"))
    return;
  fsc_test_shell (service, MAKE_PLAIN "; tar czf a.tar.gz plain; zip -q a.zip plain;"
                                      "7z a -bd a.7z plain > log");
  plain = fsc_test_read_file (service, "plain");
  check_damaged (service, "a.tar.gz", "plain", plain, &n_refused);
  check_damaged (service, "a.zip", "plain", plain, &n_refused);
  check_damaged (service, "a.7z", "plain", plain, &n_refused);
  g_test_message ("%u of %u were refused", n_refused, 3 * DAMAGES);
  g_assert_cmpuint (n_refused, >, 120);
}

/* A frame that is to be skipped, as pzstd begins each file with. */
#define SKIPPABLE "printf 'P\\x2a\\x4d\\x18\\x04\\0\\0\\0skip'"

static void
test_skippable (FscTestService *service)
{
  FscacheClient *client;
  g_autoptr (GBytes) plain = NULL;

  if (!fsc_test_has_tool ("zstd", "zstd") || !fsc_test_has_tool ("lz4", "lz4"))
    return;
  client = fsc_test_service_connect (service);
  fsc_test_shell (service, MAKE_PLAIN
                  "; " SKIPPABLE " > s; zstd -qc plain > z; lz4 -qc plain > l;"
                  "gzip -c plain > g; tar c plain | zstd -qc > t;"
                  "cat s z > a.zst; cat s s s l > a.lz4; cat s t > a.tar.zst; cat s g > a.gz;"
                  "(cat s z; echo garbage) > b.zst; head -c 6 s > c.zst; head -c 10 s > d.zst;"
                  "for i in {1..100}; do cat s; done > e.zst; cat z >> e.zst");
  plain = fsc_test_read_file (service, "plain");
  fsc_test_assert_unpacks (service, client, "a.zst", NULL, plain, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks (service, client, "a.lz4", NULL, plain, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks (service, client, "a.tar.zst", "plain", plain, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_no_content (service, client, "b.zst", NULL, FSCACHE_ERROR_SYSTEM, EBADMSG,
                              "something else follows");
  for (const char *const *name = (const char *[]){ "a.gz", "c.zst", "d.zst", "e.zst", NULL };
       *name != NULL; name++)
    fsc_test_assert_no_content (service, client, *name, NULL, FSCACHE_ERROR_SYSTEM, EINVAL,
                                "not compressed");
  fscache_disconnect (client);
}

/* A window that libarchive does not give is no damage. */
static void
test_window (FscTestService *service)
{
  FscacheClient *client;

  if (!fsc_test_has_tool ("zstd", "zstd"))
    return;
  client = fsc_test_service_connect (service);
  /* A frame's head, with a window of 256 MiB and no size, and an empty block. */
  fsc_test_shell (service, "printf '\\x28\\xb5\\x2f\\xfd\\0\\x90\\x01\\0\\0' > a.zst");
  fsc_test_assert_no_content (service, client, "a.zst", NULL, FSCACHE_ERROR_LIMIT, EFBIG,
                              "needs a window of more than 128 MiB");
  fscache_disconnect (client);
}

/* What follows is no part of it, and would be lost. */
static void
test_followed (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    {
      g_autofree char *name = g_strconcat ("a.", formats[i].suffix, NULL);
      g_autofree char *cut = g_strconcat ("short.", formats[i].suffix, NULL);

      if (!fsc_test_has_tool (formats[i].tool, formats[i].package))
        break;
      fsc_test_shell (service, "echo content | %s -c > %s; echo garbage >> %s", formats[i].tool,
                      name, name);
      fsc_test_assert_no_content (service, client, name, NULL, FSCACHE_ERROR_SYSTEM, EBADMSG,
                                  "something else follows"); /* xz: or is cut */
      fsc_test_shell (service, "seq 1000 | %s -c | head -c 500 > %s", formats[i].tool, cut);
      fsc_test_assert_no_content (service, client, cut, NULL, FSCACHE_ERROR_SYSTEM, EBADMSG,
                                  formats[i].cut);
    }
  fscache_disconnect (client);
}

/* Limits */

static void
test_bombs (void)
{
  FscTestService *service = fsc_test_service_new ("[unpack]\nmax-size=64M\nmax-ratio=100\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GBytes) small = NULL;

  fsc_test_shell (service, "head -c 65M /dev/zero | gzip -1 > size.gz;"
                           "head -c 17M /dev/zero | gzip > ratio.gz;"
                           "head -c 1M /dev/zero | tee small | gzip > small.gz;"
                           "truncate -s 1T hole; tar cSf hole.tar hole");
  small = fsc_test_read_file (service, "small");
  fsc_test_assert_no_content (service, client, "ratio.gz", NULL, FSCACHE_ERROR_LIMIT, EFBIG,
                              "[unpack] max-ratio=100 ");
  fsc_test_assert_no_content (service, client, "hole.tar", "hole", FSCACHE_ERROR_LIMIT, EFBIG,
                              "[unpack] max-ratio=100 ");
  fsc_test_shell (service, "head -c 65M /dev/urandom | gzip -1 > size.gz");
  fsc_test_assert_no_content (service, client, "size.gz", NULL, FSCACHE_ERROR_LIMIT, EFBIG,
                              "67108864 bytes that [unpack] max-size allows");
  /* What is small does no harm. */
  fsc_test_assert_unpacks (service, client, "small.gz", NULL, small, FSCACHE_SOURCE_OPENED);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* What is large goes into a file that nobody can find, and is read-only all the same. */
static void
test_large (void)
{
  g_autofree char *template = g_strdup ("/var/tmp/fscache-unpack-XXXXXX");
  g_autofree char *config = NULL;
  FscTestService *service;
  FscacheClient *client;
  g_autofree char *uri = NULL;
  g_autoptr (GBytes) plain = NULL;
  GDir *dir;
  FscacheReply reply;

  g_assert_nonnull (g_mkdtemp (template));
  config = g_strdup_printf ("[unpack]\nmemory-size=100K\ndirectory=%s\n", template);
  service = fsc_test_service_new (config, NULL);
  client = fsc_test_service_connect (service);
  fsc_test_shell (service, "head -c 1M /dev/urandom > plain; gzip -k plain; "
                           "head -c 100K plain | gzip > limit.gz");
  plain = fsc_test_read_file (service, "plain");
  fsc_test_assert_unpacks (service, client, "plain.gz", NULL, plain, FSCACHE_SOURCE_OPENED);
  fsc_test_assert_unpacks (service, client, "plain.gz", NULL, plain, FSCACHE_SOURCE_CACHE);
  uri = fsc_test_unpack_uri (service, "plain.gz", NULL);
  g_assert_cmpint (fscache_open (client, uri, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (fcntl (reply.fd, F_GET_SEALS), ==, -1);
  g_assert_cmphex (fcntl (reply.fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
  fscache_reply_clear (client, &reply);
  g_free (uri);
  uri = fsc_test_unpack_uri (service, "limit.gz", NULL);
  g_assert_cmpint (fscache_open (client, uri, O_RDONLY, &reply), >=, 0);
  g_assert_cmphex (fcntl (reply.fd, F_GET_SEALS) & ALL_SEALS, ==, ALL_SEALS);
  fscache_reply_clear (client, &reply);
  dir = g_dir_open (template, 0, NULL);
  g_assert_null (g_dir_read_name (dir));
  g_dir_close (dir);

  fsc_test_service_stop (service);
  g_assert_no_errno (rmdir (template));
  fsc_test_service_start (service);
  fsc_test_assert_no_content (service, client, "plain.gz", NULL, FSCACHE_ERROR_OPENER_FAILED,
                              ENOENT, template);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* It cannot be sealed; but if its own user has written to it, it is not given again. */
static void
change (int fd, gboolean is_root)
{
  g_autofree char *name = g_strdup_printf ("/proc/self/fd/%d", fd);
  int writable;

  if (!is_root)
    g_assert_no_errno (fchmod (fd, 0600));
  writable = open (name, O_RDWR | O_CLOEXEC);
  g_assert_cmpint (writable, >=, 0);
  g_assert_cmpint (pwrite (writable, "EVIL", 4, 0), ==, 4);
  close (writable);
}

static void
test_changed (void)
{
  FscTestService *service
      = fsc_test_service_new ("[unpack]\nmemory-size=1K\n[cache]\nmax-bytes=3000K\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GBytes) plain = NULL;
  g_autofree char *uri = fsc_test_unpack_uri (service, "plain.gz", NULL);

  fsc_test_shell (service, "head -c 2000K /dev/urandom > plain; gzip -k plain; cp plain.gz b.gz");
  plain = fsc_test_read_file (service, "plain");
  for (guint i = 0; i < 4; i++)
    {
      FscacheReply reply;

      fsc_test_assert_unpacks (service, client, "plain.gz", NULL, plain, FSCACHE_SOURCE_OPENED);
      g_assert_cmpint (fscache_open (client, uri, O_RDONLY, &reply), >=, 0);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
      g_assert_true (reply.content.is_known && !reply.content.is_sealed);
      if (i == 3)
        g_assert_no_errno (fchmod (reply.fd, 0600));
      else
        change (reply.fd, i == 1 && geteuid () == 0);
      fscache_reply_clear (client, &reply);
    }

  /* Such files count in max-bytes. */
  fsc_test_assert_unpacks (service, client, "b.gz", NULL, plain, FSCACHE_SOURCE_OPENED);
  g_assert_cmpuint (fsc_test_service_counter (service, "bytes"), ==, 2000 * 1024);
  fsc_test_assert_unpacks (service, client, "plain.gz", NULL, plain, FSCACHE_SOURCE_OPENED);
  g_assert_cmpuint (fsc_test_service_counter (service, "evictions"), ==, 2);
  fsc_test_assert_unpacks (service, client, "plain.gz", NULL, plain, FSCACHE_SOURCE_CACHE);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/unpack/files/gzip", test_gzip);
  FSC_TEST_ADD ("/unpack/files/zstd", test_zstd);
  FSC_TEST_ADD ("/unpack/files/xz", test_xz);
  FSC_TEST_ADD ("/unpack/files/bzip2", test_bzip2);
  FSC_TEST_ADD ("/unpack/files/lz4", test_lz4);
  FSC_TEST_ADD ("/unpack/files/sealed", test_sealed);
  FSC_TEST_ADD ("/unpack/files/digest", test_digest);
  g_test_add_func ("/unpack/files/equal-to-helpers", test_equal_to_helpers);
  FSC_TEST_ADD ("/unpack/files/layers", test_layers);
  FSC_TEST_ADD ("/unpack/archives/tar", test_archive_0);
  FSC_TEST_ADD ("/unpack/archives/tar.gz", test_archive_1);
  FSC_TEST_ADD ("/unpack/archives/tar.xz", test_archive_2);
  FSC_TEST_ADD ("/unpack/archives/tar.bz2", test_archive_3);
  FSC_TEST_ADD ("/unpack/archives/tar.zst", test_archive_4);
  FSC_TEST_ADD ("/unpack/archives/tar.lz4", test_archive_5);
  FSC_TEST_ADD ("/unpack/archives/zip", test_archive_6);
  FSC_TEST_ADD ("/unpack/archives/7z", test_archive_7);
  FSC_TEST_ADD ("/unpack/archives/cpio", test_archive_8);
  FSC_TEST_ADD ("/unpack/archives/cpio.gz", test_archive_9);
  FSC_TEST_ADD ("/unpack/names", test_names);
  FSC_TEST_ADD ("/unpack/zip-names", test_zip_names);
  FSC_TEST_ADD ("/unpack/kinds", test_kinds);
  FSC_TEST_ADD ("/unpack/escapes", test_escapes);
  FSC_TEST_ADD ("/unpack/memory", test_memory);
  FSC_TEST_ADD ("/unpack/hard-links", test_hard_links);
  FSC_TEST_ADD ("/unpack/refused", test_refused);
  FSC_TEST_ADD ("/unpack/encrypted", test_encrypted);
  FSC_TEST_ADD ("/unpack/damaged/files", test_damaged);
  FSC_TEST_ADD ("/unpack/damaged/archives", test_damaged_archives);
  FSC_TEST_ADD ("/unpack/damaged/followed", test_followed);
  FSC_TEST_ADD ("/unpack/skippable", test_skippable);
  FSC_TEST_ADD ("/unpack/window", test_window);
  g_test_add_func ("/unpack/bombs", test_bombs);
  g_test_add_func ("/unpack/large", test_large);
  g_test_add_func ("/unpack/changed", test_changed);
  return g_test_run ();
}
