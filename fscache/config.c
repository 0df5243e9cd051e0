/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The configuration; see config.h. What there is to set is in tables: here, and for the providers
 * where they are registered.
 */
#include "fscache/config.h"

#include <gio/gio.h>
#include <string.h>

#define AT(member) offsetof (FscConfig, member)

#define RULE_GROUP "rule " /* and its name */

static const FscParameter service_parameters[] = {
  { "socket", FSC_PARAMETER_PATH, 0, 0, AT (socket), NULL },
  { "user", FSC_PARAMETER_USER, 0, 0, AT (user), NULL },
  { "max-handles", FSC_PARAMETER_COUNT, 1, 1e9, AT (max_handles), NULL },
  { "max-clients", FSC_PARAMETER_COUNT, 1, 1e9, AT (max_clients), NULL },
  { 0 },
};

static const FscParameter cache_parameters[] = {
  { "max-bytes", FSC_PARAMETER_BYTES, 0, FSC_CONFIG_BYTES_MAX, AT (max_bytes), NULL },
  { "idle-time", FSC_PARAMETER_MICROSECONDS, 0, FSC_CONFIG_SECONDS_MAX, AT (idle_time), NULL },
  { "pressure", FSC_PARAMETER_BOOLEAN, 0, 0, AT (gives_back), NULL },
  { "watch", FSC_PARAMETER_BOOLEAN, 0, 0, AT (is_watching), NULL },
  { 0 },
};

static const FscParameter lanes_parameters[] = {
  { "openers", FSC_PARAMETER_SMALL_COUNT, 1, 64, AT (lane_openers), NULL },
  { "queue", FSC_PARAMETER_SMALL_COUNT, 1, 1e6, AT (lane_queue), NULL },
  { "deadline", FSC_PARAMETER_MICROSECONDS, 0.01, 86400, AT (lane_deadline), NULL },
  { "idle-time", FSC_PARAMETER_MICROSECONDS, 0.1, 1e9, AT (lane_idle_time), NULL },
  { 0 },
};

#define AT_SHARE(share) AT (shares.max[FSC_SHARE_##share])

static const FscParameter shares_parameters[] = {
  { "requests", FSC_PARAMETER_COUNT, 1, 1e9, AT_SHARE (REQUESTS), NULL },
  { "descriptors", FSC_PARAMETER_COUNT, 1, 1e9, AT_SHARE (DESCRIPTORS), NULL },
  { "unread", FSC_PARAMETER_BYTES, 1, FSC_CONFIG_BYTES_MAX, AT_SHARE (UNREAD), NULL },
  { "users", FSC_PARAMETER_COUNT, 1, 1e6, AT (shares.max_users), NULL },
  { 0 },
};

static const FscParameter warm_parameters[] = {
  { "list", FSC_PARAMETER_PATH, 0, 0, AT (warm_list), NULL },
  { 0 },
};

/* All but the providers'. */
static const struct
{
  const char *name;
  const FscParameter *parameters;
} own_groups[] = {
  { "service", service_parameters }, { "cache", cache_parameters },
  { "lanes", lanes_parameters },     { "shares", shares_parameters },
  { "warm", warm_parameters },       { RULE_GROUP "NAME", fsc_rule_parameters }, /* each of them */
};

/* What is wrong with a file: all of it, a line for each. */
typedef struct
{
  const char *path, *text;
  GString *problems;
} Report;

/* The number of the last line where a group sets a key, which is the one that counts; of the
 * group's first line, if `key` is NULL or is not there; 1 if there is no such group. GKeyFile
 * forgets it. */
static guint
find_line (const char *text, const char *group, const char *key)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autofree char *header = g_strdup_printf ("[%s]", group);
  gboolean is_inside = FALSE;
  guint found = 0, of_group = 0;

  for (guint i = 0; lines[i] != NULL; i++)
    {
      char *line = g_strstrip (lines[i]);

      if (line[0] == '[')
        {
          is_inside = g_str_has_prefix (line, header);
          of_group = is_inside && of_group == 0 ? i + 1 : of_group;
        }
      else if (is_inside && key != NULL && g_str_has_prefix (line, key)
               && g_str_has_prefix (g_strchug (line + strlen (key)), "="))
        found = i + 1;
    }
  return found != 0 ? found : MAX (of_group, 1);
}

static void
complain (Report *report, const char *group, const char *key, const char *problem)
{
  g_string_append_printf (report->problems, "%s%s:%u: [%s]%s%s: %s",
                          report->problems->len > 0 ? "\n" : "", report->path,
                          find_line (report->text, group, key), group, key != NULL ? " " : "",
                          key != NULL ? key : "", problem);
}

GPtrArray *
fsc_config_list_groups (const FscConfig *config)
{
  GPtrArray *all = g_ptr_array_new ();
  g_autoptr (GPtrArray) of_providers = fsc_providers_list_groups (config->providers);

  for (guint i = 0; i < G_N_ELEMENTS (own_groups); i++)
    g_ptr_array_add (all, (gpointer) own_groups[i].name);
  g_ptr_array_extend (all, of_providers, NULL, NULL);
  return all;
}

static char *
print_groups (const FscConfig *config)
{
  g_autoptr (GPtrArray) groups = fsc_config_list_groups (config);
  GString *text = g_string_new ("there is no such group (there are: ");

  for (guint i = 0; i < groups->len; i++)
    g_string_append_printf (text, "%s, ", (const char *) groups->pdata[i]);
  return g_string_free (g_string_append (text, FSC_HELPER_GROUP "NAME, unix NAME, tcp NAME)"),
                        FALSE);
}

/* What may be set in a group, or NULL; and the provider whose it is, or NULL. */
static const FscParameter *
find_group (const FscConfig *config, const char *name, FscProvider **provider)
{
  *provider = fsc_providers_find_group (config->providers, name);
  if (*provider != NULL)
    return (*provider)->parameters;
  for (guint i = 0; i < G_N_ELEMENTS (own_groups); i++)
    if (g_str_equal (own_groups[i].name, name))
      return own_groups[i].parameters;
  return NULL;
}

const FscParameter *
fsc_config_get_parameters (const FscConfig *config, const char *group)
{
  FscProvider *provider;

  return find_group (config, group, &provider);
}

static gboolean
is_named (const char *group)
{
  return strchr (group, ' ') != NULL;
}

static void
load_keys (Report *report, GKeyFile *file, const char *group, const FscParameter *parameters,
           FscProvider *provider, gpointer target)
{
  g_auto (GStrv) keys = g_key_file_get_keys (file, group, NULL, NULL);

  for (guint i = 0; keys != NULL && keys[i] != NULL; i++)
    {
      g_autoptr (GError) fault = NULL;
      g_autofree char *value = g_key_file_get_string (file, group, keys[i], &fault);
      g_autofree char *problem = NULL;
      const FscParameter *parameter = fsc_parameter_find (parameters, keys[i]);

      if (fault != NULL) /* a value may come with it */
        problem = g_strdup (fault->message);
      else if (parameter == NULL)
        problem = g_strdup ("there is no such key");
      else
        problem = provider != NULL ? fsc_provider_set (provider, parameter, g_strstrip (value))
                                   : fsc_parameter_apply (parameter, target, g_strstrip (value));
      if (problem != NULL)
        complain (report, group, keys[i], problem);
    }
}

static void
load_rule (FscConfig *config, Report *report, GKeyFile *file, const char *group)
{
  FscRule *rule = fsc_rules_add (config->rules, group + strlen (RULE_GROUP));
  gsize length = report->problems->len;
  g_autofree char *problem = NULL;
  const char *key;

  load_keys (report, file, group, fsc_rule_parameters, NULL, rule);
  if (report->problems->len == length)
    problem = fsc_rule_compile (rule, &key);
  if (problem != NULL)
    complain (report, group, key, problem);
}

static void
load_group (FscConfig *config, Report *report, GKeyFile *file, const char *group)
{
  g_autofree char *problem = NULL;
  const FscParameter *parameters;
  FscProvider *provider;

  if (g_str_has_prefix (group, RULE_GROUP))
    {
      load_rule (config, report, file, group);
      return;
    }
  if (g_str_has_prefix (group, FSC_HELPER_GROUP))
    problem = fsc_providers_add_helper (config->providers, group);
  else if (is_named (group))
    problem = fsc_providers_add_named (config->providers, group);
  parameters = problem == NULL ? find_group (config, group, &provider) : NULL;
  if (problem == NULL && parameters == NULL)
    problem = print_groups (config);
  if (problem != NULL)
    complain (report, group, NULL, problem);
  else
    load_keys (report, file, group, parameters, provider, config);
}

static void
load_groups (FscConfig *config, Report *report, GKeyFile *file, gboolean can_be_others)
{
  g_auto (GStrv) groups = g_key_file_get_groups (file, NULL);
  g_autofree char *problem = NULL;
  const char *group = NULL;

  for (int named = 0; named <= 1; named++) /* these begin with what the others have set */
    for (guint i = 0; groups[i] != NULL; i++)
      if (is_named (groups[i]) == named)
        load_group (config, report, file, groups[i]);
  if (config->user.groups != NULL && config->user.uid == 0)
    complain (report, "service", "user", "whom the service becomes must not be root");
  problem = fsc_providers_check (config->providers, can_be_others, &group);
  if (problem != NULL)
    complain (report, group, NULL, problem);
}

static gboolean
load_file (FscConfig *config, const char *path, gboolean can_be_others, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GString) problems = g_string_new (NULL);
  g_autofree char *content = NULL;
  gsize length = 0;

  /* Not g_key_file_load_from_file(), which does not take /dev/null for an empty file. */
  if (!g_file_get_contents (path, &content, &length, error)
      || (length > 0 && !g_key_file_load_from_data (file, content, length, G_KEY_FILE_NONE, error)))
    {
      g_prefix_error (error, "%s: ", path);
      return FALSE;
    }
  load_groups (config, &(Report){ path, content, problems }, file, can_be_others);
  if (problems->len > 0)
    g_set_error_literal (error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_INVALID_VALUE, problems->str);
  return problems->len == 0;
}

char *
fsc_config_set_user (FscConfig *config, const char *name)
{
  return fsc_parameter_apply (fsc_parameter_find (service_parameters, "user"), config, name);
}

gint64
fsc_config_get_deadline (const FscConfig *config, const FscProvider *provider)
{
  return provider->deadline != 0 ? provider->deadline : config->lane_deadline;
}

FscConfig *
fsc_config_load (const char *path, gboolean can_be_others, GError **error)
{
  g_autoptr (FscConfig) config = g_new0 (FscConfig, 1);
  g_autofree char *own
      = g_build_filename (g_get_user_config_dir (), "fscache", "fscached.conf", NULL);
  const char *const places[] = { own, "/etc/fscache/fscached.conf" };

  config->idle_time = 600 * G_USEC_PER_SEC;
  config->gives_back = TRUE;
  config->is_watching = TRUE;
  config->lane_openers = 4;
  config->lane_queue = 100000;
  config->lane_deadline = 10 * G_USEC_PER_SEC;
  config->lane_idle_time = 30 * G_USEC_PER_SEC;
  config->providers = fsc_providers_new (can_be_others);
  config->rules = fsc_rules_new ();

  for (guint i = 0; path == NULL && i < G_N_ELEMENTS (places); i++)
    if (g_file_test (places[i], G_FILE_TEST_EXISTS))
      path = places[i];
  if (path != NULL && !load_file (config, path, can_be_others, error))
    return NULL;
  return g_steal_pointer (&config);
}

void
fsc_config_free (FscConfig *config)
{
  g_free (config->socket);
  g_free (config->warm_list);
  g_free (config->user.groups);
  fsc_providers_free (config->providers);
  fsc_rules_free (config->rules);
  g_free (config);
}
