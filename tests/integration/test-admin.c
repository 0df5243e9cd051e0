/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Looking at the cache and keeping order in it: through the library, and with fscachectl, as its
 * users run it.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

static void
open_it (FscacheClient *client, const char *path, int flags)
{
  FscacheReply reply;

  if (fscache_open (client, path, flags, &reply) < 0)
    g_test_message ("%s", reply.message);
  g_assert_cmpint (reply.fd, >=, 0);
  fscache_reply_clear (client, &reply);
}

/* Takes the place of a file. */
static void
replace (FscTestService *service, const char *path)
{
  g_autofree char *new = fsc_test_service_write (service, "new", "y");

  g_assert_no_errno (rename (new, path));
}

/* The library */

static void
keep_entry (const FscacheEntry *entry, void *data)
{
  *(FscacheEntry *) data = *entry;
  g_assert_true (g_str_has_prefix (entry->uri, "file:///"));
}

static void
test_info (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  g_autofree char *uri = g_strdup_printf ("file:%s", path);
  FscacheEntry entry = { 0 };
  guint64 generation;

  for (int i = 0; i < 3; i++)
    open_it (client, path, O_RDONLY);
  g_usleep (20 * 1000);
  g_assert_cmpint (fscache_info (client, path, keep_entry, &entry, NULL), ==, 1);
  g_assert_cmpint (entry.kind, ==, FSCACHE_KIND_REGULAR);
  g_assert_true (entry.coherence == FSCACHE_COHERENCE_CHECKED
                 || entry.coherence == FSCACHE_COHERENCE_WATCHED);
  g_assert_cmpint (entry.sharing, ==, FSCACHE_SHARED);
  g_assert_cmpuint (entry.hits, ==, 2);
  g_assert_cmpuint (entry.age_ms, >=, 20);
  g_assert_cmpuint (entry.idle_ms, >=, 20);
  g_assert_cmpuint (entry.age_ms, >=, entry.idle_ms);
  g_assert_cmpuint (entry.cost_us, >, 0);
  g_assert_cmpuint (entry.mount_id, >, 0);
  g_assert_cmpuint (entry.ttl_ms, ==, 0);
  g_assert_cmpint (entry.flags, ==, 0);
  g_assert_false (entry.is_pinned);
  g_assert_false (entry.is_held);
  g_assert_false (entry.is_lent);

  /* The generation is that of what is there. */
  generation = entry.generation;
  g_assert_cmpuint (generation, >, 0);
  fscache_info (client, path, keep_entry, &entry, NULL);
  g_assert_cmpuint (entry.generation, ==, generation);
  replace (service, path);
  open_it (client, path, O_RDONLY);
  fscache_info (client, path, keep_entry, &entry, NULL);
  g_assert_cmpuint (entry.generation, >, generation);

  /* However it is written; and each kind of open is an entry of its own. */
  open_it (client, path, O_PATH);
  open_it (client, path, O_NOFOLLOW);
  g_assert_cmpint (fscache_info (client, uri, keep_entry, &entry, NULL), ==, 3);
  g_assert_cmpint (fscache_drop (client, uri, NULL), ==, 3);
  g_assert_cmpint (fscache_info (client, uri, keep_entry, &entry, NULL), ==, -ENOENT);
  fscache_disconnect (client);
}

static void
collect_uri (const FscacheEntry *entry, void *data)
{
  g_assert_true (g_hash_table_add (data, g_strdup (entry->uri)));
}

#define N_ENTRIES 2500

/* More than fits into a page, each entry once. */
static void
test_list (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree FscacheRequest *requests = g_new0 (FscacheRequest, N_ENTRIES);
  g_autofree FscacheReply *replies = g_new0 (FscacheReply, N_ENTRIES);
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GHashTable) found = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autofree char *pattern = g_strdup_printf ("file://%s/*77", service->dir);

  g_assert_cmpint (fscache_list (client, NULL, collect_uri, found, NULL), ==, 0);
  for (int i = 0; i < N_ENTRIES; i++)
    {
      g_autofree char *name = g_strdup_printf ("a-name-that-is-not-too-short-%d", i);

      g_ptr_array_add (paths, fsc_test_service_write (service, name, "x"));
      requests[i].uri = paths->pdata[i];
      requests[i].flags = O_PATH;
    }
  for (int i = 0; i < N_ENTRIES; i += 500)
    {
      g_assert_cmpint (fscache_open_many (client, requests + i, replies + i, 500), ==, 0);
      for (int j = i; j < i + 500; j++)
        fscache_reply_clear (client, &replies[j]);
    }
  g_assert_cmpint (fscache_list (client, NULL, collect_uri, found, NULL), ==, N_ENTRIES);
  g_assert_cmpuint (g_hash_table_size (found), ==, N_ENTRIES);
  g_hash_table_remove_all (found);
  g_assert_cmpint (fscache_list (client, pattern, collect_uri, found, NULL), ==, N_ENTRIES / 100);
  g_assert_cmpint (fscache_list (client, "file:///nonexistent*", NULL, NULL, NULL), ==, 0);
  g_assert_cmpint (fscache_drop_matching (client, pattern, NULL), ==, N_ENTRIES / 100);
  g_assert_cmpint (fscache_list (client, "*", NULL, NULL, NULL), ==, N_ENTRIES - N_ENTRIES / 100);
  fscache_disconnect (client);
}

static void
test_drop (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  g_autofree char *other = fsc_test_service_write (service, "other", "x");
  FscacheReply kept, reply;
  char byte;

  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &kept), >=, 0);
  open_it (client, other, O_RDONLY);
  g_assert_cmpint (fscache_drop (client, path, &reply), ==, 1);
  g_assert_cmpint (reply.code, ==, FSCACHE_OK);
  g_assert_cmpint (fscache_drop (client, path, NULL), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 1);

  /* What was given stays, and what is asked for next is opened. */
  g_assert_cmpint (read (kept.fd, &byte, 1), ==, 1);
  fscache_reply_clear (client, &kept);
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
  fscache_reply_clear (client, &reply);

  g_assert_cmpint (fscache_drop_matching (client, "", &reply), ==, -EINVAL);
  g_assert_cmpint (fscache_drop_matching (client, NULL, &reply), ==, -EINVAL);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 2);
  g_assert_cmpint (fscache_drop_matching (client, "*", NULL), ==, 2);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  fscache_disconnect (client);
}

static gboolean
is_pinned (FscacheClient *client, const char *path)
{
  FscacheEntry entry;

  g_assert_cmpint (fscache_info (client, path, keep_entry, &entry, NULL), ==, 1);
  return entry.is_pinned;
}

static void
test_pin (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  g_autofree char *new = fsc_test_service_write (service, "new", "y");
  FscacheReply reply;

  /* It opens what is not there, and is no worse for being done twice. */
  g_assert_cmpint (fscache_pin (client, path, NULL), ==, 0);
  g_assert_cmpint (fscache_pin (client, path, NULL), ==, 0);
  g_assert_true (is_pinned (client, path));
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, 1);
  g_assert_cmpint (fscache_unpin (client, path, NULL), ==, 0);
  g_assert_cmpint (fscache_unpin (client, path, NULL), ==, 0);
  g_assert_false (is_pinned (client, path));
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, 0);

  /* It outlives the file's replacement, not its end. */
  g_assert_cmpint (fscache_pin (client, path, NULL), ==, 0);
  g_assert_no_errno (rename (new, path));
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
  fscache_reply_clear (client, &reply);
  g_assert_true (is_pinned (client, path));
  g_assert_no_errno (unlink (path));
  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), ==, -ENOENT);
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, 0);

  /* Pinned is no shield from drop. */
  fsc_test_write (path, "z");
  g_assert_cmpint (fscache_pin (client, path, NULL), ==, 0);
  g_assert_cmpint (fscache_drop (client, path, NULL), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, 0);
  fscache_disconnect (client);
}

static void
collect_counter (const char *name, uint64_t value, void *data)
{
  g_assert_true (g_hash_table_add (data, g_strdup (name)));
}

static const char *const promised[]
    = { "handles", "bytes",       "clients",   "hits",      "misses",
        "opens",   "open_errors", "coalesced", "evictions", "invalidations" };

static void
test_status (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autoptr (GHashTable) names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  char name[64];

  g_assert_cmpint (fscache_status (client, collect_counter, names, NULL), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (promised); i++)
    g_assert_true (g_hash_table_contains (names, promised[i]));
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  g_assert_cmpuint (fscache_service_name (client, name, sizeof name), ==, strlen (name));
  g_assert_cmpstr (name, ==, "fscached " FSC_VERSION);
  fscache_disconnect (client);
}

/* fscachectl */

/* It succeeds, and writes this (NULL: anything). */
static void
assert_does (FscTestService *service, const char *const *words, const char *expected)
{
  g_auto (FscTestProgram) result = { 0 };

  fsc_test_service_ctl (service, &result, words);
  fsc_test_program_assert_exit (&result, 0);
  g_assert_cmpstr (result.error, ==, "");
  if (expected != NULL)
    g_assert_cmpstr (result.out, ==, expected);
}

/* It fails, with one line that names the object. */
static void
assert_complains (FscTestService *service, const char *const *words, int status, const char *object)
{
  g_auto (FscTestProgram) result = { 0 };

  fsc_test_service_ctl (service, &result, words);
  fsc_test_program_assert_exit (&result, status);
  g_test_message ("%s", g_strchomp (result.error));
  g_assert_cmpstr (result.out, ==, "");
  g_assert_true (g_str_has_prefix (result.error, "fscachectl: "));
  g_assert_null (strchr (result.error, '\n'));
  g_assert_nonnull (strstr (result.error, object));
}

static JsonNode *
get_json (FscTestService *service, const char *const *words)
{
  g_auto (FscTestProgram) result = { 0 };
  g_autoptr (GError) error = NULL;
  JsonNode *node;

  fsc_test_service_ctl (service, &result, words);
  fsc_test_program_assert_exit (&result, 0);
  node = json_from_string (result.out, &error);
  g_assert_no_error (error);
  g_assert_nonnull (node);
  return node;
}

static const char *const takes_names[] = { "list", "info", "open", "cat", "drop", "pin", "unpin" };

static void
test_ctl_exit_codes (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "content\n");
  g_autofree char *missing = g_build_filename (service->dir, "missing", NULL);
  g_autofree char *unknown = g_build_filename (service->dir, "unknown", NULL);
  g_autofree char *name = g_strnfill (200, 'x');
  g_autofree char *long_socket = g_build_filename ("/", name, NULL);

  assert_does (service, FSC_TEST_WORDS ("ping"), NULL);
  assert_does (service, FSC_TEST_WORDS ("status"), NULL);
  assert_does (service, FSC_TEST_WORDS ("--version"), "fscachectl " FSC_VERSION "\n");
  assert_does (service, FSC_TEST_WORDS ("--help"), NULL);
  assert_does (service, FSC_TEST_WORDS ("exec", "--help"), NULL);
  assert_does (service, FSC_TEST_WORDS ("cat", path), "content\n");
  assert_does (service, FSC_TEST_WORDS ("open", path), NULL);
  assert_does (service, FSC_TEST_WORDS ("info", path), NULL);
  assert_does (service, FSC_TEST_WORDS ("list"), NULL);

  assert_complains (service, FSC_TEST_WORDS ("cat", missing), 1, missing);
  assert_complains (service, FSC_TEST_WORDS ("open", missing), 1, missing);
  assert_complains (service, FSC_TEST_WORDS ("info", unknown), 1, unknown);
  assert_complains (service, FSC_TEST_WORDS ("pin", missing), 1, missing);
  assert_complains (service, FSC_TEST_WORDS ("unpin", missing), 1, missing);
  assert_complains (service, FSC_TEST_WORDS ("cat", "gopher://x"), 1, "gopher");
  assert_complains (service, FSC_TEST_WORDS ("cat", "file://host/x"), 1, "file://host/x");
  assert_complains (service, FSC_TEST_WORDS ("cat", service->dir), 1, service->dir);
  assert_complains (service, FSC_TEST_WORDS ("cat", "/proc/self/status"), 1, "/proc/self/status");
  assert_complains (service, FSC_TEST_WORDS ("--socket", missing, "ping"), 1, missing);
  assert_complains (service, FSC_TEST_WORDS ("--socket", missing, "cat", path), 1, missing);
  assert_complains (service, FSC_TEST_WORDS ("--socket", long_socket, "ping"), 1, "too long");

  for (guint i = 0; i < G_N_ELEMENTS (takes_names); i++)
    {
      assert_complains (service, FSC_TEST_WORDS (takes_names[i], ""), 2, "empty");
      assert_complains (service, FSC_TEST_WORDS (takes_names[i], "--", ""), 2,
                        "neither a URI nor a path");
    }
  assert_complains (service, FSC_TEST_WORDS ("drop", path, ""), 2, "argument 2");
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 2); /* nothing was dropped */

  assert_complains (service, FSC_TEST_WORDS ("nonsense"), 2, "nonsense");
  assert_complains (service, FSC_TEST_WORDS ("--nonsense"), 2, "--nonsense");
  assert_complains (service, FSC_TEST_WORDS ("cat"), 2, "cat");
  assert_complains (service, FSC_TEST_WORDS ("info", path, path), 2, "info");
  assert_complains (service, FSC_TEST_WORDS ("drop"), 2, "drop");
  assert_complains (service, FSC_TEST_WORDS ("open", "--sharing", "thrice", path), 2, "thrice");
  assert_complains (service, FSC_TEST_WORDS ("cat", "--json", path), 2, "json");
}

/* Names are taken as a shell's user means them. */
static void
test_ctl_names (FscTestService *service)
{
  static const char *const names[] = { "plain", "a b", "100%", "what?", "*", "\xff", "-dash" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = fsc_test_service_write (service, names[i], names[i]);
      g_autofree char *dotted = g_strconcat ("./", names[i], NULL);
      g_autofree char *uri = fscache_uri (path);

      assert_does (service, FSC_TEST_WORDS ("cat", path), names[i]);
      assert_does (service, FSC_TEST_WORDS ("cat", "--", names[i]), names[i]);
      assert_does (service, FSC_TEST_WORDS ("cat", dotted), names[i]);
      assert_does (service, FSC_TEST_WORDS ("cat", uri), names[i]);
      assert_does (service, FSC_TEST_WORDS ("info", uri), NULL);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, G_N_ELEMENTS (names));
}

static void
test_ctl_json (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "a \"quoted\" \\ name", "12345");
  g_autofree char *uri = fscache_uri (path);
  g_autoptr (JsonNode) empty = get_json (service, FSC_TEST_WORDS ("list", "--json"));
  g_autoptr (JsonNode) open = get_json (service, FSC_TEST_WORDS ("open", "--json", path));
  g_autoptr (JsonNode) status = get_json (service, FSC_TEST_WORDS ("status", "--json"));
  g_autoptr (JsonNode) list = get_json (service, FSC_TEST_WORDS ("--json", "list"));
  g_autoptr (JsonNode) info = get_json (service, FSC_TEST_WORDS ("info", "--json", path));
  g_autoptr (JsonNode) ping = get_json (service, FSC_TEST_WORDS ("ping", "--json"));
  g_autoptr (JsonNode) drop = get_json (service, FSC_TEST_WORDS ("drop", "--json", path));
  JsonObject *object = json_node_get_object (open);

  g_assert_cmpuint (json_array_get_length (json_node_get_array (empty)), ==, 0);
  g_assert_cmpstr (json_object_get_string_member (object, "uri"), ==, uri);
  g_assert_cmpstr (json_object_get_string_member (object, "sharing"), ==, "independent");
  g_assert_cmpstr (json_object_get_string_member (object, "source"), ==, "opened");
  g_assert_cmpstr (json_object_get_string_member (object, "coherence"), ==, "checked");
  g_assert_cmpstr (json_object_get_string_member (object, "kind"), ==, "regular");
  g_assert_cmpint (json_object_get_int_member (object, "size"), ==, 5);

  object = json_node_get_object (status);
  for (guint i = 0; i < G_N_ELEMENTS (promised); i++)
    g_assert_true (json_object_has_member (object, promised[i]));
  g_assert_cmpint (json_object_get_int_member (object, "handles"), ==, 1);
  g_assert_cmpint (json_object_get_int_member (object, "misses"), ==, 1);
  g_assert_cmpint (json_object_get_int_member (object, "clients"), ==, 1);

  g_assert_cmpuint (json_array_get_length (json_node_get_array (list)), ==, 1);
  object = json_array_get_object_element (json_node_get_array (list), 0);
  g_assert_cmpstr (json_object_get_string_member (object, "uri"), ==, uri);
  g_assert_cmpint (json_object_get_int_member (object, "generation"), >, 0);
  g_assert_cmpuint (json_array_get_length (json_node_get_array (info)), ==, 1);
  g_assert_true (json_object_has_member (json_node_get_object (ping), "took_us"));
  g_assert_cmpint (json_object_get_int_member (json_node_get_object (drop), "dropped"), ==, 1);
}

/* Every byte, and more than goes through a pipe at once. */
static void
test_ctl_cat (FscTestService *service)
{
  enum
  {
    SIZE = 3 * 1024 * 1024 + 7
  };
  g_autofree char *content = g_malloc (SIZE);
  g_autofree char *path = g_build_filename (service->dir, "binary", NULL);
  g_autofree char *empty = fsc_test_service_write (service, "empty", "");
  g_autofree char *missing = g_build_filename (service->dir, "missing", NULL);
  g_auto (FscTestProgram) twice = { 0 };
  g_auto (FscTestProgram) piped = { 0 };
  g_auto (FscTestProgram) partly = { 0 };
  g_autofree char *program = fsc_test_build_path ("fscache/ctl/fscachectl");
  g_autofree char *command
      = g_strdup_printf ("'%s' --socket '%s' cat binary | cat", program, service->socket);

  for (gsize i = 0; i < SIZE; i++)
    content[i] = (char) (i * 2654435761u >> 13);
  g_assert_true (g_file_set_contents (path, content, SIZE, NULL));

  fsc_test_service_ctl (service, &twice, FSC_TEST_WORDS ("cat", path, empty, path));
  fsc_test_program_assert_exit (&twice, 0);
  g_assert_cmpuint (twice.length, ==, 2 * SIZE);
  g_assert_true (memcmp (twice.out, content, SIZE) == 0);
  g_assert_true (memcmp (twice.out + SIZE, content, SIZE) == 0);

  fsc_test_program_run (&piped, service->dir, FSC_TEST_WORDS ("sh", "-c", command));
  fsc_test_program_assert_exit (&piped, 0);
  g_assert_cmpuint (piped.length, ==, SIZE);
  g_assert_true (memcmp (piped.out, content, SIZE) == 0);

  /* What can be had is written, and the rest complained of. */
  fsc_test_service_ctl (service, &partly, FSC_TEST_WORDS ("cat", missing, path));
  fsc_test_program_assert_exit (&partly, 1);
  g_assert_cmpuint (partly.length, ==, SIZE);
  g_assert_nonnull (strstr (partly.error, missing));
}

static guint
count_lines (const char *text)
{
  guint n = 0;

  for (; *text != '\0'; text++)
    n += *text == '\n';
  return n;
}

/* The program has the handle, and of what fscachectl had open for itself nothing. */
static void
assert_nothing_else_open (FscTestService *service, const char *placement)
{
  g_auto (FscTestProgram) without = { 0 };
  g_auto (FscTestProgram) with = { 0 };

  fsc_test_program_run (&without, NULL, FSC_TEST_WORDS ("ls", "/proc/self/fd"));
  fsc_test_service_ctl (service, &with,
                        FSC_TEST_WORDS ("exec", "--fd", placement, "--", "ls", "/proc/self/fd"));
  fsc_test_program_assert_exit (&with, 0);
  g_assert_cmpuint (count_lines (with.out), ==, count_lines (without.out) + 1);
}

static void
test_ctl_exec (FscTestService *service)
{
  g_autofree char *a = fsc_test_service_write (service, "a", "one\n");
  g_autofree char *b = fsc_test_service_write (service, "b", "two\n");
  g_autofree char *missing = g_build_filename (service->dir, "missing", NULL);
  g_autofree char *no_file = g_strdup_printf ("3=%s", missing);
  g_autofree char *in = g_strdup_printf ("0=%s", a);
  g_autofree char *three = g_strdup_printf ("3=%s", a);
  g_autofree char *nine = g_strdup_printf ("9=%s", b);
  g_autofree char *first = g_strdup_printf ("first=%s", a);
  g_autofree char *second = g_strdup_printf ("second=%s", b);
  g_auto (FscTestProgram) failed = { 0 };
  g_auto (FscTestProgram) not_there = { 0 };

  assert_does (service, FSC_TEST_WORDS ("exec", "--fd", in, "--", "cat"), "one\n");
  assert_does (
      service,
      FSC_TEST_WORDS ("exec", "--fd", three, "--fd", nine, "--", "sh", "-c", "cat <&9; cat <&3"),
      "two\none\n");
  assert_does (
      service,
      FSC_TEST_WORDS ("exec", "--listen", "--fd", first, "--fd", second, "--", "sh", "-c",
                      "test $LISTEN_PID = $$ && echo $LISTEN_FDS $LISTEN_FDNAMES && cat <&4 <&3"),
      "2 first:second\none\n");
  assert_nothing_else_open (service, three);

  fsc_test_service_ctl (service, &failed,
                        FSC_TEST_WORDS ("exec", "--fd", in, "--", "sh", "-c", "exit 42"));
  fsc_test_program_assert_exit (&failed, 42);
  fsc_test_service_ctl (service, &not_there,
                        FSC_TEST_WORDS ("exec", "--fd", in, "--", "/nonexistent/program"));
  fsc_test_program_assert_exit (&not_there, 127);
  assert_complains (service, FSC_TEST_WORDS ("exec", "--fd", no_file, "--", "echo", "x"), 1,
                    missing);
  assert_complains (service, FSC_TEST_WORDS ("exec", "--fd", "x=y", "--", "echo", "x"), 2, "x");
  assert_complains (service, FSC_TEST_WORDS ("exec", "--fd", three, "--fd", three, "--", "true"), 2,
                    "3");
  assert_complains (service, FSC_TEST_WORDS ("exec", "true"), 2, "--fd");
}

static void
test_ctl_keeping (FscTestService *service)
{
  g_autofree char *a = fsc_test_service_write (service, "a", "x");
  g_autofree char *b = fsc_test_service_write (service, "b", "x");
  g_autofree char *pattern = g_build_filename (service->dir, "*", NULL);

  assert_does (service, FSC_TEST_WORDS ("pin", a, b), "pinned 2\n");
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, 2);
  assert_does (service, FSC_TEST_WORDS ("unpin", a), "unpinned 1\n");
  g_assert_cmpuint (fsc_test_service_counter (service, "pinned"), ==, 1);
  assert_does (service, FSC_TEST_WORDS ("drop", a), "dropped 1\n");
  assert_does (service, FSC_TEST_WORDS ("drop", a), "dropped 0\n");
  assert_does (service, FSC_TEST_WORDS ("pin", a), "pinned 1\n");
  assert_does (service, FSC_TEST_WORDS ("drop", pattern), "dropped 2\n");
  assert_does (service, FSC_TEST_WORDS ("pin", "a"), "pinned 1\n");
  assert_does (service, FSC_TEST_WORDS ("drop", "--all"), "dropped 1\n");
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/admin/info", test_info);
  FSC_TEST_ADD ("/admin/list", test_list);
  FSC_TEST_ADD ("/admin/drop", test_drop);
  FSC_TEST_ADD ("/admin/pin", test_pin);
  FSC_TEST_ADD ("/admin/status", test_status);
  FSC_TEST_ADD ("/admin/ctl/exit-codes", test_ctl_exit_codes);
  FSC_TEST_ADD ("/admin/ctl/names", test_ctl_names);
  FSC_TEST_ADD ("/admin/ctl/json", test_ctl_json);
  FSC_TEST_ADD ("/admin/ctl/cat", test_ctl_cat);
  FSC_TEST_ADD ("/admin/ctl/exec", test_ctl_exec);
  FSC_TEST_ADD ("/admin/ctl/keeping", test_ctl_keeping);
  return g_test_run ();
}
