/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The configuration: every key, every default, and that a mistake is an error which names the file,
 * the group and the key.
 */
#include "fscache/config.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"

#define SECOND ((gint64) G_USEC_PER_SEC)

static FscConfig *
load (const char *text, GError **error, char **path)
{
  g_autofree char *name = NULL;
  int fd = g_file_open_tmp ("fscache-config-XXXXXX", &name, NULL);
  FscConfig *config;

  g_assert_cmpint (fd, >=, 0);
  close (fd);
  g_assert_true (g_file_set_contents (name, text, -1, NULL));
  config = fsc_config_load (name, geteuid () == 0, error);
  g_unlink (name);
  if (path != NULL)
    *path = g_steal_pointer (&name);
  return config;
}

static FscConfig *
load_good (const char *text)
{
  g_autoptr (GError) error = NULL;
  FscConfig *config = load (text, &error, NULL);

  g_assert_no_error (error);
  g_assert_nonnull (config);
  return config;
}

static const FscProvider *
find (const FscConfig *config, const char *uri)
{
  return fsc_providers_find (config->providers, (FscBytes){ uri, strlen (uri) });
}

static void
test_defaults (void)
{
  static const char *const texts[]
      = { "", "# nothing\n", "[service]\n[cache]\n[lanes]\n[file]\n[warm]\n" };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      g_autoptr (FscConfig) config = load_good (texts[i]);

      g_assert_null (config->socket);
      g_assert_null (config->warm_list);
      g_assert_cmpuint (config->max_handles, ==, 0);
      g_assert_cmpuint (config->max_clients, ==, 0);
      g_assert_cmpint (config->idle_time, ==, 600 * SECOND);
      g_assert_cmpuint (config->max_bytes, ==, 0);
      g_assert_true (config->gives_back);
      g_assert_true (config->is_watching);
      g_assert_cmpuint (config->lane_openers, ==, 4);
      g_assert_cmpuint (config->lane_queue, ==, 100000);
      g_assert_cmpint (config->lane_deadline, ==, 10 * SECOND);
      g_assert_cmpint (config->lane_idle_time, ==, 30 * SECOND);
      g_assert_cmpuint (find (config, "file:///a")->ttl_ms, ==, 3000);
    }
}

static void
test_all_keys (void)
{
  g_autoptr (FscConfig) config = load_good ("[service]\n"
                                            "socket = /run/x/socket \n"
                                            "max-handles=1000000000\n"
                                            "max-clients=1\n"
                                            "[cache]\n"
                                            "idle-time=0\n"
                                            "max-bytes = 512M \n"
                                            "pressure=no\n"
                                            "watch = no\n"
                                            "[lanes]\n"
                                            "openers=64\n"
                                            "queue=1\n"
                                            "deadline=0.29\n"
                                            "idle-time= 0.1 \n"
                                            "[shares]\n"
                                            "requests=1\n"
                                            "descriptors=1000000000\n"
                                            "unread=1.5M\n"
                                            "users=1000000\n"
                                            "[file]\n"
                                            "ttl=1.001\n"
                                            "[warm]\n"
                                            "list=/etc/warm.list\n");

  g_assert_cmpstr (config->socket, ==, "/run/x/socket");
  g_assert_cmpuint (config->max_handles, ==, 1000000000);
  g_assert_cmpuint (config->max_clients, ==, 1);
  g_assert_cmpint (config->idle_time, ==, 0);
  g_assert_cmpuint (config->max_bytes, ==, 512 << 20);
  g_assert_false (config->gives_back);
  g_assert_false (config->is_watching);
  g_assert_cmpuint (config->lane_openers, ==, 64);
  g_assert_cmpuint (config->lane_queue, ==, 1);
  g_assert_cmpint (config->lane_deadline, ==, 290000);
  g_assert_cmpint (config->lane_idle_time, ==, 100000);
  g_assert_cmpuint (config->shares.max[FSC_SHARE_REQUESTS], ==, 1);
  g_assert_cmpuint (config->shares.max[FSC_SHARE_DESCRIPTORS], ==, 1000000000);
  g_assert_cmpuint (config->shares.max[FSC_SHARE_UNREAD], ==, 3 << 19);
  g_assert_cmpuint (config->shares.max_users, ==, 1000000);
  g_assert_cmpuint (find (config, "file:///a")->ttl_ms, ==, 1001);
  g_assert_cmpstr (config->warm_list, ==, "/etc/warm.list");
}

static void
test_bytes (void)
{
  static const struct
  {
    const char *text;
    guint64 bytes;
  } cases[] = {
    { "1", 1 },
    { "1K", 1 << 10 },
    { "1.5G", G_GUINT64_CONSTANT (3) << 29 },
    { "2T", G_GUINT64_CONSTANT (1) << 41 },
    { "1000000000000000", G_GUINT64_CONSTANT (1000000000000000) },
    { "0M", 0 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *text = g_strdup_printf ("[cache]\nmax-bytes=%s\n", cases[i].text);
      g_autoptr (FscConfig) config = load_good (text);

      g_assert_cmpuint (config->max_bytes, ==, cases[i].bytes);
    }
}

/* What a provider's program is told, and what of it. */
static void
test_arguments (void)
{
  static const FscParameter parameters[] = {
    { "limit", FSC_PARAMETER_BYTES, 0, 1e12, FSC_PARAMETER_ARGUMENT, "1G" },
    { "ratio", FSC_PARAMETER_COUNT, 1, 100, FSC_PARAMETER_ARGUMENT, NULL },
    { "few", FSC_PARAMETER_SMALL_COUNT, 1, 100, FSC_PARAMETER_ARGUMENT, "3" },
    { "patience", FSC_PARAMETER_MILLISECONDS, 0, 100, FSC_PARAMETER_ARGUMENT, "0.25" },
    { "time", FSC_PARAMETER_MICROSECONDS, 0, 100, FSC_PARAMETER_ARGUMENT, "0.25" },
    { "proxy", FSC_PARAMETER_BOOLEAN, 0, 0, FSC_PARAMETER_ARGUMENT, "yes" },
    { "direct", FSC_PARAMETER_BOOLEAN, 0, 0, FSC_PARAMETER_ARGUMENT, "no" },
    { "cache", FSC_PARAMETER_PATH, 0, 0, FSC_PARAMETER_ARGUMENT, NULL },
    { "words", FSC_PARAMETER_WORDS, 0, 0, FSC_PARAMETER_ARGUMENT, NULL },
    { "openers", FSC_PARAMETER_SMALL_COUNT, 1, 64, offsetof (FscProvider, openers), NULL },
    { 0 },
  };
  static const char *const variables[] = { "FSC_TEST_SET", "FSC_TEST_UNSET", NULL };
  static const FscProvider registration = { .schemes = { "x" },
                                            .program = "open-x",
                                            .variables = variables,
                                            .group = "x",
                                            .parameters = parameters };
  static const struct
  {
    const char *key, *value, *problem;
  } sets[] = {
    { "limit", "2K", NULL },
    { "limit", "2KK", "is not a number" },
    { "ratio", "7", NULL },
    { "openers", "9", NULL },
    { "cache", "/var", NULL },
    { "cache", "/tmp", NULL },
    { "cache", "tmp", "absolute path" },
    { "proxy", "of course", "yes or no" },
    { "words", "", "must not be empty" },
    { "words", "a = b", NULL },
  };
  g_autoptr (FscProviders) providers = fsc_providers_new (geteuid () == 0);
  FscProvider *provider = fsc_providers_add (providers, &registration);
  g_auto (GStrv) command = NULL;
  g_autofree char *line = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (sets); i++)
    {
      g_autofree char *problem = fsc_provider_set (
          provider, fsc_parameter_find (parameters, sets[i].key), sets[i].value);

      g_assert_cmpint (problem != NULL, ==, sets[i].problem != NULL);
      if (problem != NULL)
        g_assert_nonnull (strstr (problem, sets[i].problem));
    }
  g_assert_cmpuint (provider->openers, ==, 9);
  g_setenv ("FSC_TEST_SET", "c d", TRUE);
  command = fsc_provider_get_command (provider, "/openers", 5 * SECOND);
  g_unsetenv ("FSC_TEST_SET");
  line = g_strjoinv (" ", command);
  g_assert_cmpstr (line, ==,
                   "FSC_TEST_SET=c d /openers/open-x --limit=2048 --ratio=7 --few=3 --patience=250 "
                   "--time=250000 "
                   "--proxy=1 --direct=0 --cache=/tmp --words=a = b");
}

/* What may be opened is all, and nothing for root, whose service has many users. */
static void
test_guard (void)
{
  static const FscParameter parameters[] = {
    { "allow", FSC_PARAMETER_WORDS, 0, 0, FSC_PARAMETER_ARGUMENT, NULL },
    { 0 },
  };
  static const FscProvider registration
      = { .schemes = { "x" }, .program = "x", .guard = "allow", .parameters = parameters };
  g_autoptr (FscProviders) providers = fsc_providers_new (geteuid () == 0);
  FscProvider *provider = fsc_providers_add (providers, &registration);

  g_assert_cmpstr (provider->arguments[0], ==, geteuid () == 0 ? NULL : "*");
  g_assert_null (fsc_provider_set (provider, &parameters[0], "example.org"));
  g_assert_cmpstr (provider->arguments[0], ==, "example.org");
}

static void
test_helpers (void)
{
  g_autofree char *text
      = g_strdup_printf ("[helper s3]\ncommand=/usr/bin/s3 --bucket 'my bucket' \"\"\nuser=%s\n"
                         "deadline=60\nopeners=2\nttl=0.5\n"
                         "[helper a+b-c.1]\ncommand=/x\n[helper s3]\ncommand=/y z\n",
                         g_get_user_name ());
  g_autoptr (FscConfig) config = load_good (text);
  const FscProvider *s3 = find (config, "helper+s3://bucket/key");
  const FscProvider *other = find (config, "helper+a+b-c.1:x");
  g_auto (GStrv) command = fsc_provider_get_command (s3, "/openers", 5 * SECOND);
  g_autofree char *line = g_strjoinv ("|", command);

  g_assert_cmpstr (line, ==,
                   "/openers/open-helper|--deadline=5000|--|/y|z"); /* the last one counts */
  g_assert_cmpuint (s3->openers, ==, 2);
  g_assert_cmpint (s3->deadline, ==, 60 * SECOND);
  g_assert_cmpuint (s3->ttl_ms, ==, 500);
  g_assert_cmpuint (s3->user.uid, ==, getuid ());
  g_assert_cmpuint (s3->user.n_groups, >, 0);
  g_assert_cmpint (s3->scope, ==, FSC_SCOPE_ALL);
  g_assert_false (s3->is_watching);
  g_assert_cmpuint (other->openers, ==, 0);
  g_assert_cmpint (other->deadline, ==, 0);
  g_assert_cmpuint (other->ttl_ms, ==, 3000);
  g_assert_null (other->user.groups);
  g_assert_null (find (config, "helper+nosuch:x"));
  g_assert_null (find (config, "helper:x"));
}

static void
test_quoted_command (void)
{
  g_autoptr (FscConfig) config
      = load_good ("[helper x]\ncommand=/usr/bin/x  --a 'b c' \"\" d\\\\ e\n");
  g_auto (GStrv) command = fsc_provider_get_command (find (config, "helper+x:"), "/o", 5 * SECOND);
  g_autofree char *line = g_strjoinv ("|", command);

  g_assert_cmpstr (line, ==, "/o/open-helper|--deadline=5000|--|/usr/bin/x|--a|b c||d e");
}

/* The last one counts, and what was there is freed. */
static void
test_twice (void)
{
  g_autoptr (FscConfig) config
      = load_good ("[service]\nsocket=/a\nsocket=/b\n[cache]\nidle-time=1\n[service]\nsocket=/c\n");

  g_assert_cmpstr (config->socket, ==, "/c");
}

static void
test_errors (void)
{
  static const struct
  {
    const char *text;
    const char *parts[3];
  } cases[] = {
    { "[servcie]\nsocket=/x\n",
      { "[servcie]", "no such group",
        "service, cache, lanes, shares, warm, rule NAME, file, unpack, " } },
    { "[lane]\n", { "[lane]", "no such group" } },
    { "[service]\nmax-handels=5\n", { "[service] max-handels", "no such key" } },
    { "[cache]\nttl=5\n", { "[cache] ttl", "no such key" } }, /* that of another group */
    { "[service]\nsocket=x\n", { "[service] socket", "absolute path" } },
    { "[service]\nsocket=\n", { "[service] socket", "absolute path" } },
    { "[service]\nmax-handles=0\n", { "[service] max-handles", "\"0\"", "from 1 to 1000000000" } },
    { "[service]\nmax-handles=-1\n", { "[service] max-handles", "\"-1\"" } },
    { "[service]\nmax-handles=1.5\n", { "[service] max-handles", "\"1.5\"" } },
    { "[service]\nmax-handles=many\n", { "[service] max-handles", "\"many\"" } },
    { "[service]\nmax-handles=\n", { "[service] max-handles", "\"\"" } },
    { "[service]\nmax-handles=5 6\n", { "[service] max-handles", "\"5 6\"" } },
    { "[service]\nmax-handles=1e30\n", { "[service] max-handles", "\"1e30\"" } },
    { "[service]\nmax-clients=nan\n", { "[service] max-clients", "\"nan\"" } },
    { "[service]\nmax-clients=inf\n", { "[service] max-clients", "\"inf\"" } },
    { "[cache]\nidle-time=-0.1\n", { "[cache] idle-time", "from 0 to" } },
    { "[cache]\nidle-time=10s\n", { "[cache] idle-time", "\"10s\"" } },
    { "[cache]\nmax-bytes=1001T\n", { "[cache] max-bytes", "from 0 to 1000000000000000," } },
    { "[cache]\nmax-bytes=1m\n", { "[cache] max-bytes", "\"1m\"", "K, M, G or T" } },
    { "[cache]\nmax-bytes=1KK\n", { "[cache] max-bytes", "\"1KK\"" } },
    { "[cache]\nmax-bytes=K\n", { "[cache] max-bytes", "\"K\"" } },
    { "[cache]\nmax-bytes=\n", { "[cache] max-bytes", "\"\"" } },
    { "[cache]\nmax-bytes=0.3\n", { "[cache] max-bytes", "\"0.3\"" } },
    { "[service]\nmax-handles=1K\n", { "[service] max-handles", "\"1K\"" } },
    { "[cache]\npressure=off\n", { "[cache] pressure", "yes or no" } },
    { "[cache]\nwatch=1\n", { "[cache] watch", "yes or no" } },
    { "[cache]\nwatch=\n", { "[cache] watch", "yes or no" } },
    { "[lanes]\nopeners=0\n", { "[lanes] openers", "from 1 to 64" } },
    { "[lanes]\nopeners=65\n", { "[lanes] openers", "from 1 to 64" } },
    { "[lanes]\nqueue=0\n", { "[lanes] queue", "from 1 to" } },
    { "[lanes]\nqueue=1000001\n", { "[lanes] queue", "from 1 to" } },
    { "[lanes]\ndeadline=0\n", { "[lanes] deadline", "from 0.01 to 86400" } },
    { "[lanes]\ndeadline=86401\n", { "[lanes] deadline", "from 0.01 to 86400" } },
    { "[lanes]\nidle-time=0\n", { "[lanes] idle-time", "from 0.1 to" } },
    { "[shares]\nrequests=0\n", { "[shares] requests", "from 1 to 1000000000" } },
    { "[shares]\ndescriptors=1K\n", { "[shares] descriptors", "\"1K\"" } },
    { "[shares]\nunread=0\n", { "[shares] unread", "from 1 to" } },
    { "[shares]\nusers=0\n", { "[shares] users", "from 1 to 1000000" } },
    { "[file]\nttl=-1\n", { "[file] ttl", "from 0 to 86400" } },
    { "[file]\nttl=86401\n", { "[file] ttl", "from 0 to 86400" } },
    { "[helper]\n", { "[helper]", "no such group" } },
    { "[helper ]\n", { "[helper ]", "lower-case letters" } },
    { "[helper S3]\n", { "[helper S3]", "lower-case letters" } },
    { "[helper a b]\n", { "[helper a b]", "lower-case letters" } },
    { "[helper x]\n", { "[helper x]", "has no command" } },
    { "[helper x]\ncommand=x\n", { "[helper x] command", "absolute path" } },
    { "[helper x]\ncommand=\n", { "[helper x] command", "absolute path" } },
    { "[helper x]\ncommand=/x 'y\n", { "[helper x] command", "quot" } },
    { "[helper x]\nuser=no such user\n", { "[helper x] user", "no user \"no such user\"" } },
    { "[helper x]\ncomand=/x\n", { "[helper x] comand", "no such key" } },
    { "[tcp]\nmatch=tcp://a:1\n", { "[tcp]", "only a group with a name" } },
    { "[tcp x]\n", { "[tcp x]", "has no match" } },
    { "[tcp X]\nmatch=tcp://a:1\n", { "[tcp X]", "lower-case letters" } },
    { "[tcp ]\nmatch=tcp://a:1\n", { "[tcp ]", "lower-case letters" } },
    { "[http x]\nttl=1\n", { "[http x]", "no such group" } },
    { "[tcp x]\nmatch=unix:/a\n", { "[tcp x]", "\"unix:/a\" is no tcp: URI" } },
    { "[tcp x]\nmatch=tcp://a:1 127.0.0.1\n", { "[tcp x]", "\"127.0.0.1\" is no tcp: URI" } },
    { "[tcp x]\nmatch=tcp://A:1\n", { "[tcp x]", "is written tcp://a:1" } },
    { "[tcp x]\nmatch=tcp://a\n", { "[tcp x]", "match: \"tcp://a\"" } },
    { "[tcp x]\nmatch=tcp://a:1\nmax=0\n", { "[tcp x] max", "from 1 to 10000" } },
    { "[helper x]\nopeners=0\n", { "[helper x] openers", "from 1 to 64" } },
    { "[http]\nallow=\n", { "[http] allow", "must not be empty" } },
    { "[http]\nallow=a https://b/\n", { "[http]", "allow: \"https://b/\" is not a host" } },
    { "[http]\nallow=b/path\n", { "[http]", "allow: \"b/path\" is not a host" } },
    { "[http]\nallow=b:abc\n", { "[http]", "allow: \"b:abc\" has a port that is not a number" } },
    { "[http]\nallow=*:0\n", { "[http]", "allow: \"*:0\" has a port that is not a number" } },
    { "[http]\nallow=*b\n", { "[http]", "allow: \"*b\" has no host" } },
    { "[http]\nallow=*.*:1\n", { "[http]", "allow: \"*.*:1\" has no host" } },
    { "[http]\nallow=www.*\n", { "[http]", "allow: \"www.*\" has no host" } },
    { "[tcp]\nallow=b:1\tc\n", { "[tcp]", "allow: \"c\" has no port" } },
    { "[tcp]\nallow=*.b\n", { "[tcp]", "allow: \"*.b\" has no port" } },
    { "[tcp x]\nmatch=tcp://b:1\nallow=b\n", { "[tcp x]", "allow: \"b\" has no port" } },
    { "[http]\nca-file=ca.pem\n", { "[http] ca-file", "absolute path" } },
    { "[http]\nverify=no\n", { "[http] verify", "no such key" } },
    { "[handle]\nmax-names=1000001\n", { "[handle] max-names", "from 0 to 1000000" } },
    { "socket=/x\n", { "group" } },
    { "[service]\nnonsense\n", { "nonsense" } },
    { "[service]\nsocket=/x\\q\n", { "[service] socket" } },
    { "[service]\nsocket=/\xff\xfe\n", { "[service] socket" } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autofree char *path = NULL;

      g_assert_null (load (cases[i].text, &error, &path));
      g_assert_nonnull (error);
      g_test_message ("%s", error->message);
      g_assert_true (g_str_has_prefix (error->message, path));
      for (guint j = 0; j < G_N_ELEMENTS (cases[i].parts) && cases[i].parts[j] != NULL; j++)
        g_assert_nonnull (strstr (error->message, cases[i].parts[j]));
    }
}

/* Documents */

/* Adds the keys that a line of the man page documents, or of the example, to those of its group. */
static void
read_line (const char *line, gboolean is_man_page, char **group, GHashTable *keys)
{
  static const char *const patterns[] = { "^#?\\[(.*)\\]$", "^#([a-z-]+)=" };
  static const char *const patterns_of_man[] = { "^# \\[(.*)\\]$", "^\\*([a-z-]+)\\*=" };
  const char *const *used = is_man_page ? patterns_of_man : patterns;

  for (guint i = 0; i < G_N_ELEMENTS (patterns); i++)
    {
      g_autoptr (GRegex) regex = g_regex_new (used[i], 0, 0, NULL);
      g_autoptr (GMatchInfo) match = NULL;
      g_autofree char *word = NULL;

      if (!g_regex_match (regex, line, 0, &match))
        continue;
      word = g_match_info_fetch (match, 1);
      if (i == 1)
        g_hash_table_add (keys, g_strdup_printf ("[%s] %s", *group, word));
      else
        {
          g_free (*group);
          *group = g_steal_pointer (&word);
        }
    }
}

static GHashTable *
read_documented (const char *path)
{
  GHashTable *keys = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autofree char *content = NULL;
  g_autofree char *group = g_strdup ("");
  g_auto (GStrv) lines = NULL;

  g_assert_true (g_file_get_contents (path, &content, NULL, NULL));
  lines = g_strsplit (content, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    read_line (lines[i], g_str_has_suffix (path, ".scd"), &group, keys);
  return keys;
}

/* What can be set is documented, and what is documented can be set. */
static void
test_named_pools (void)
{
  g_autoptr (FscConfig) config = load_good (
      "[tcp redis]\nmatch=tcp://a:1 tcp://b:*\nmax=3\nconnect-timeout=1\n" /* before [tcp] */
      "[tcp other]\nmatch=tcp://b:2 tcp://c:1\nmin-idle=0\nallow=c:1\n"
      "[tcp]\nmin-idle=7\nmax=9\nallow=a:1 b:*\ndeadline=4\n"
      "[unix db]\nmatch=unix:///run/?b/*\nidle-time=0\n");
  const FscProvider *tcp = find (config, "tcp://d:1"), *redis = find (config, "tcp://a:1"),
                    *other = find (config, "tcp://c:1"), *db = find (config, "unix:///run/db/x");
  g_auto (GStrv) command = fsc_provider_get_command (redis, "/o", 5 * SECOND);
  g_autofree char *line = g_strjoinv ("|", command);

  g_assert_cmpstr (tcp->group, ==, "tcp");
  g_assert_cmpstr (redis->pool.group, ==, "tcp redis");
  g_assert_true (find (config, "tcp://b:2") == redis); /* the first one */
  g_assert_true (find (config, "tcp://a:11") == tcp);
  g_assert_cmpuint (redis->pool.max, ==, 3);
  g_assert_cmpuint (redis->pool.min_idle, ==, 7); /* as [tcp] */
  g_assert_cmpint (redis->deadline, ==, 4 * SECOND);
  g_assert_nonnull (strstr (line, "|--allow=a:1 b:*|"));
  g_assert_nonnull (strstr (line, "|--connect-timeout=1000"));
  g_assert_cmpuint (other->pool.min_idle, ==, 0);
  g_assert_cmpuint (other->pool.max, ==, 9);
  g_assert_cmpint (db->pool.idle_time, ==, 0);
  g_assert_cmpint (find (config, "unix:///run/b/x")->pool.idle_time, ==, 60 * SECOND);
}

static void
test_documented (void)
{
  static const char *const paths[]
      = { FSC_DATA_DIR "/fscached.conf.5.scd", FSC_DATA_DIR "/fscached.conf.example" };
  g_autoptr (FscConfig) config = load_good ("");
  g_autofree char *problem = fsc_providers_add_helper (config->providers, "helper name");
  g_autoptr (GPtrArray) groups = fsc_config_list_groups (config);

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      g_autoptr (GHashTable) documented = read_documented (paths[i]);

      for (guint j = 0; j < groups->len; j++)
        {
          const char *group = groups->pdata[j];

          for (const FscParameter *parameter = fsc_config_get_parameters (config, group);
               parameter->key != NULL; parameter++)
            {
              const char *shown = g_str_equal (group, "helper name") ? "helper NAME" : group;
              g_autofree char *key = g_strdup_printf ("[%s] %s", shown, parameter->key);

              if (!g_hash_table_remove (documented, key))
                g_error ("%s does not document %s", paths[i], key);
            }
        }
      if (g_hash_table_size (documented) > 0)
        {
          g_autoptr (GList) keys = g_hash_table_get_keys (documented);

          g_error ("%s documents %s, which cannot be set", paths[i], (char *) keys->data);
        }
    }
  g_assert_null (problem);
}

static void
test_files (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (FscConfig) config = NULL;
  g_autofree char *dir = g_build_filename (g_get_user_config_dir (), "fscache", NULL);
  g_autofree char *path = g_build_filename (dir, "fscached.conf", NULL);

  /* One that is named must be there. */
  g_assert_null (fsc_config_load ("/nonexistent/fscached.conf", geteuid () == 0, &error));
  g_assert_nonnull (strstr (error->message, "/nonexistent/fscached.conf"));
  g_clear_error (&error);
  g_assert_null (fsc_config_load ("/", geteuid () == 0, &error));
  g_assert_nonnull (error);
  g_clear_error (&error);

  /* The user's own is found. (This directory is the test's: see main().) */
  g_assert_cmpint (g_mkdir_with_parents (dir, 0700), ==, 0);
  g_assert_true (g_file_set_contents (path, "[lanes]\nopeners=9\n", -1, NULL));
  config = fsc_config_load (NULL, geteuid () == 0, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (config->lane_openers, ==, 9);
  g_assert_true (g_file_set_contents (path, "[lanes]\nopeners=x\n", -1, NULL));
  g_assert_null (fsc_config_load (NULL, geteuid () == 0, &error));
  g_assert_true (g_str_has_prefix (error->message, path));
  g_unlink (path);
  g_rmdir (dir);
}

static void
run (gconstpointer test)
{
  char *before = fsc_test_list_descriptors ();

  ((GTestFunc) test) ();
  fsc_test_assert_descriptors (before);
}

int
main (int argc, char **argv)
{
  g_autofree char *dir = g_dir_make_tmp ("fscache-config-XXXXXX", NULL);
  int status;

  g_setenv ("XDG_CONFIG_HOME", dir, TRUE); /* before GLib looks */
  fsc_test_init (&argc, &argv);
  g_test_add_data_func ("/config/defaults", test_defaults, run);
  g_test_add_data_func ("/config/all-keys", test_all_keys, run);
  g_test_add_data_func ("/config/bytes", test_bytes, run);
  g_test_add_data_func ("/config/arguments", test_arguments, run);
  g_test_add_data_func ("/config/guard", test_guard, run);
  g_test_add_data_func ("/config/helpers", test_helpers, run);
  g_test_add_data_func ("/config/named-pools", test_named_pools, run);
  g_test_add_data_func ("/config/quoted-command", test_quoted_command, run);
  g_test_add_data_func ("/config/twice", test_twice, run);
  g_test_add_data_func ("/config/errors", test_errors, run);
  g_test_add_data_func ("/config/documented", test_documented, run);
  g_test_add_data_func ("/config/files", test_files, run);
  status = g_test_run ();
  g_rmdir (dir);
  return status;
}
