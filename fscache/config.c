/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The configuration; see config.h. One table says what there is: group, key, where it goes, in
 * which unit and range.
 */
#include "fscache/config.h"

#include <gio/gio.h>
#include <string.h>

typedef enum
{
  TEXT,
  COUNT,        /* guint64 */
  SMALL_COUNT,  /* guint */
  BYTES,        /* guint64, a count that may end in K, M, G or T */
  MICROSECONDS, /* gint64, written in seconds */
  MILLISECONDS, /* guint32, written in seconds */
  BOOLEAN       /* gboolean, written as yes or no */
} Type;

typedef struct
{
  const char *group;
  const char *key;
  Type type;
  size_t offset;
  double min, max;
} Setting;

#define AT(member) offsetof (FscConfig, member)

static const Setting settings[] = {
  { "service", "socket", TEXT, AT (socket), 0, 0 },
  { "service", "max-handles", COUNT, AT (max_handles), 1, 1e9 },
  { "service", "max-clients", COUNT, AT (max_clients), 1, 1e9 },
  { "cache", "max-bytes", BYTES, AT (max_bytes), 0, FSC_CONFIG_BYTES_MAX },
  { "cache", "idle-time", MICROSECONDS, AT (idle_time), 0, FSC_CONFIG_SECONDS_MAX },
  { "cache", "pressure", BOOLEAN, AT (gives_back), 0, 0 },
  { "cache", "watch", BOOLEAN, AT (is_watching), 0, 0 },
  { "lanes", "openers", SMALL_COUNT, AT (lane_openers), 1, 64 },
  { "lanes", "queue", SMALL_COUNT, AT (lane_queue), 1, 1e6 },
  { "lanes", "deadline", MICROSECONDS, AT (lane_deadline), 0.01, 86400 },
  { "lanes", "idle-time", MICROSECONDS, AT (lane_idle_time), 0.1, 1e9 },
  { "file", "ttl", MILLISECONDS, AT (ttl_ms), 0, 86400 },
};

static const Setting *
find_setting (const char *group, const char *key)
{
  for (guint i = 0; i < G_N_ELEMENTS (settings); i++)
    if (g_str_equal (settings[i].group, group)
        && (key == NULL || g_str_equal (settings[i].key, key)))
      return &settings[i];
  return NULL;
}

static gboolean
fail (GError **error, const char *path, const char *group, const char *key, const char *problem)
{
  g_set_error (error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_INVALID_VALUE, "%s: [%s]%s%s: %s", path,
               group, key != NULL ? " " : "", key != NULL ? key : "", problem);
  return FALSE;
}

/* What a number of bytes is to be multiplied with; *end is behind its unit then. */
static double
get_unit (char **end)
{
  static const char units[] = "KMGT";
  const char *unit = **end != '\0' ? strchr (units, **end) : NULL;

  if (unit == NULL)
    return 1;
  (*end)++;
  return (double) (G_GUINT64_CONSTANT (1) << (10 * (unit - units + 1)));
}

static gboolean
set_number (FscConfig *config, const Setting *setting, const char *value)
{
  gpointer target = (char *) config + setting->offset;
  gboolean is_count = setting->type != MICROSECONDS && setting->type != MILLISECONDS;
  char *end;
  double number = g_ascii_strtod (value, &end);
  gboolean is_empty = end == value;

  if (setting->type == BYTES)
    number *= get_unit (&end);
  if (is_empty || *end != '\0' || !(number >= setting->min && number <= setting->max)
      || (is_count && number != (double) (guint64) number))
    return FALSE;
  switch (setting->type)
    {
    case COUNT:
    case BYTES:
      *(guint64 *) target = (guint64) number;
      break;
    case SMALL_COUNT:
      *(guint *) target = (guint) number;
      break;
    case MICROSECONDS:
      *(gint64 *) target = (gint64) (number * G_USEC_PER_SEC + 0.5);
      break;
    case MILLISECONDS:
      *(guint32 *) target = (guint32) (number * 1000 + 0.5);
      break;
    case TEXT:
    case BOOLEAN:
      g_assert_not_reached ();
    }
  return TRUE;
}

static gboolean
set_value (FscConfig *config, const char *path, const Setting *setting, const char *value,
           GError **error)
{
  g_autofree char *problem = NULL;

  if (setting->type == TEXT)
    {
      char **target = (char **) ((char *) config + setting->offset);

      if (value[0] != '/')
        return fail (error, path, setting->group, setting->key, "must be an absolute path");
      g_free (*target);
      *target = g_strdup (value);
      return TRUE;
    }
  if (setting->type == BOOLEAN)
    {
      gboolean is_yes = g_str_equal (value, "yes");

      if (!is_yes && !g_str_equal (value, "no"))
        return fail (error, path, setting->group, setting->key, "must be yes or no");
      *(gboolean *) ((char *) config + setting->offset) = is_yes;
      return TRUE;
    }
  if (set_number (config, setting, value))
    return TRUE;
  problem = g_strdup_printf ("\"%s\" is not a number from %.16g to %.16g%s", value, setting->min,
                             setting->max,
                             setting->type == BYTES ? ", which may end in K, M, G or T" : "");
  return fail (error, path, setting->group, setting->key, problem);
}

static gboolean
load_group (FscConfig *config, const char *path, GKeyFile *file, const char *group, GError **error)
{
  g_auto (GStrv) keys = g_key_file_get_keys (file, group, NULL, error);

  if (keys == NULL)
    return FALSE;
  if (find_setting (group, NULL) == NULL)
    return fail (error, path, group, NULL,
                 "there is no such group (there are: service, cache, lanes, file)");
  for (guint i = 0; keys[i] != NULL; i++)
    {
      g_autoptr (GError) problem = NULL;
      g_autofree char *value = g_key_file_get_string (file, group, keys[i], &problem);
      const Setting *setting = find_setting (group, keys[i]);

      if (problem != NULL) /* a value may come with it */
        return fail (error, path, group, keys[i], problem->message);
      if (setting == NULL)
        return fail (error, path, group, keys[i], "there is no such key");
      if (!set_value (config, path, setting, g_strstrip (value), error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
load_file (FscConfig *config, const char *path, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autofree char *content = NULL;
  g_auto (GStrv) groups = NULL;
  gsize length = 0;

  /* Not g_key_file_load_from_file(), which does not take /dev/null for an empty file. */
  if (!g_file_get_contents (path, &content, &length, error)
      || (length > 0 && !g_key_file_load_from_data (file, content, length, G_KEY_FILE_NONE, error)))
    {
      g_prefix_error (error, "%s: ", path);
      return FALSE;
    }
  groups = g_key_file_get_groups (file, NULL);
  for (guint i = 0; groups[i] != NULL; i++)
    if (!load_group (config, path, file, groups[i], error))
      return FALSE;
  return TRUE;
}

FscConfig *
fsc_config_load (const char *path, GError **error)
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
  config->ttl_ms = 3000;

  for (guint i = 0; path == NULL && i < G_N_ELEMENTS (places); i++)
    if (g_file_test (places[i], G_FILE_TEST_EXISTS))
      path = places[i];
  if (path != NULL && !load_file (config, path, error))
    return NULL;
  return g_steal_pointer (&config);
}

void
fsc_config_free (FscConfig *config)
{
  g_free (config->socket);
  g_free (config);
}
