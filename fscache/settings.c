/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Changing limits at run time; see settings.h.
 */
#include "fscache/settings.h"

#include <gio/gio.h>
#include <string.h>

typedef struct
{
  const char *name;
  guint64 min, max;
  guint64 unit; /* so many of the value's are one of those that the sentence is in */
  const char *units;
  const char *why; /* what `max` comes from */
} Limit;

enum
{
  MAX_HANDLES,
  MAX_BYTES,
  IDLE_TIME,
  N_LIMITS
};

/* The bounds are those of the configuration (config.c), but the descriptors are already divided. */
static void
get_bounds (const FscServer *server, Limit limits[N_LIMITS])
{
  limits[MAX_HANDLES] = (Limit){ "max-handles",
                                 1,
                                 MAX (server->most_handles, 1),
                                 1,
                                 "",
                                 " (RLIMIT_NOFILE, less max-clients and a reserve)" };
  limits[MAX_BYTES] = (Limit){ "max-bytes", 0, FSC_CONFIG_BYTES_MAX, 1, "", " (0: any number)" };
  limits[IDLE_TIME]
      = (Limit){ "idle-time", 0, FSC_CONFIG_SECONDS_MAX * 1000, 1000, " s", " (0: however long)" };
}

/* In the limit's unit, with as many decimals as it needs. */
static char *
format (const Limit *limit, guint64 value)
{
  char number[64];

  g_snprintf (number, sizeof number, "%" G_GUINT64_FORMAT, value / limit->unit);
  if (value % limit->unit != 0)
    g_snprintf (number + strlen (number), sizeof number - strlen (number), ".%03" G_GUINT64_FORMAT,
                value % limit->unit);
  return g_strconcat (number, limit->units, NULL);
}

static gboolean
refuse (const Limit *limit, guint64 value, GError **error)
{
  g_autofree char *asked = format (limit, value);
  g_autofree char *min = format (limit, limit->min);
  g_autofree char *max = format (limit, limit->max);

  g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
               "%s cannot be %s: it is from %s to %s%s", limit->name, asked, min, max, limit->why);
  return FALSE;
}

static void
apply (FscServer *server, guint which, guint64 value)
{
  FscLimits limits = *fsc_cache_get_limits (server->cache);

  if (which == MAX_HANDLES)
    limits.max_handles = value;
  else if (which == MAX_BYTES)
    limits.max_bytes = value;
  else
    limits.idle_time = (gint64) value * 1000;
  fsc_server_set_cache_limits (server, &limits);
}

gboolean
fsc_settings_set (FscServer *server, FscBytes name, guint64 value, GError **error)
{
  char shown[FSC_NAME_MAX + 1];
  Limit limits[N_LIMITS];

  get_bounds (server, limits);
  for (guint i = 0; i < N_LIMITS; i++)
    {
      const Limit *limit = &limits[i];

      if (strlen (limit->name) != name.length || memcmp (limit->name, name.data, name.length) != 0)
        continue;
      if (value < limit->min || value > limit->max)
        return refuse (limit, value, error);
      apply (server, i, value);
      g_info ("%s is now %" G_GUINT64_FORMAT, limit->name, value);
      return TRUE;
    }
  for (gsize i = 0; i < name.length; i++)
    shown[i] = g_ascii_isgraph (name.data[i]) ? name.data[i] : '?';
  shown[name.length] = '\0';
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
               "there is no limit \"%s\" (there are: max-handles, max-bytes, idle-time)", shown);
  return FALSE;
}

void
fsc_settings_foreach (FscServer *server, FscServerCounterFunc func, gpointer data)
{
  const FscLimits *limits = fsc_cache_get_limits (server->cache);

  func ("max-handles", limits->max_handles, data);
  func ("max-bytes", limits->max_bytes, data);
  func ("idle-time", (guint64) limits->idle_time / 1000, data);
}
