/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reloading; see reload.h.
 */
#include "fscache/reload.h"

#include <gio/gio.h>

#include "fscache/failure.h"
#include "fscache/follow.h"

/* What of it does not matter any more is told, not refused: it is right for the next start. */
static void
tell_what_waits (const FscConfig *old, const FscConfig *new)
{
  const struct
  {
    const char *name;
    gboolean has_changed;
  } settings[] = {
    { "[service] socket", g_strcmp0 (old->socket, new->socket) != 0 },
    { "[service] user", old->user.uid != new->user.uid },
    { "[cache] watch", old->is_watching != new->is_watching },
    { "[cache] pressure", old->gives_back != new->gives_back },
    { "[warm] list", g_strcmp0 (old->warm_list, new->warm_list) != 0 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++)
    if (settings[i].has_changed)
      g_message ("%s has changed: that takes effect with the next start", settings[i].name);
}

/* In a service for all users the spawner starts only what it was told of while that was root. */
static gboolean
is_startable (const FscServer *server, const FscConfig *config, const FscProvider *provider)
{
  g_auto (GStrv) command = fsc_provider_get_command (provider, server->opener_dir,
                                                     fsc_config_get_deadline (config, provider));

  for (guint i = 0; i < fsc_providers_get_all (server->first_config->providers)->len; i++)
    {
      const FscProvider *known = fsc_providers_get_all (server->first_config->providers)->pdata[i];
      g_auto (GStrv) its = fsc_provider_get_command (
          known, server->opener_dir, fsc_config_get_deadline (server->first_config, known));

      if (g_strv_equal ((const char *const *) its, (const char *const *) command)
          && known->user.uid == provider->user.uid)
        return TRUE;
    }
  return FALSE;
}

static gboolean
can_start_all (const FscServer *server, const FscConfig *config, GError **error)
{
  const GPtrArray *providers = fsc_providers_get_all (config->providers);

  for (guint i = 0; fsc_spawner_serves_all (server->spawner) && i < providers->len; i++)
    if (!is_startable (server, config, providers->pdata[i]))
      return fsc_failure_set (
          error, EPERM,
          "[%s] has changed: a service for all users can take that with its start only",
          ((const FscProvider *) providers->pdata[i])->group);
  return TRUE;
}

static gboolean
say (gpointer data)
{
  return GPOINTER_TO_INT (data);
}

/* Whoever has such a handle keeps it, but cannot go on borrowing it. */
static void
drop_if_refused (FscCache *cache, FscEntry *entry, gpointer data)
{
  const FscCredential *credential = data;
  FscEntryInfo info;

  fsc_cache_describe (cache, entry, &info);
  for (int is_sandboxed = 0; is_sandboxed <= 1; is_sandboxed++)
    {
      g_autofree char *uri = g_strndup (info.uri.data, info.uri.length);
      const FscRule *rule
          = fsc_rules_find (credential->rules, uri, say, GINT_TO_POINTER (is_sandboxed));

      if (rule != NULL && rule->is_refusal)
        {
          fsc_cache_drop (cache, entry);
          return;
        }
    }
}

static void
apply_rules (FscServer *server)
{
  for (guint i = 0; i < fsc_credentials_get_n (server->credentials); i++)
    {
      FscCredential *credential = fsc_credentials_get (server->credentials, i);

      g_clear_pointer (&credential->rules, g_ptr_array_unref);
      credential->rules = fsc_rules_select (server->config->rules, &credential->user);
      if (credential->rules != NULL)
        fsc_cache_foreach (server->cache, i, NULL, drop_if_refused, credential);
    }
  fsc_follows_end_refused (server->follows, &server->connections);
}

gboolean
fsc_reload (FscServer *server, FscConfig *config, GError **error)
{
  if (!can_start_all (server, config, error) || !fsc_server_set_limits (server, config, error))
    {
      fsc_config_free (config);
      return FALSE;
    }
  tell_what_waits (server->config, config);
  g_ptr_array_add (server->configs, config);
  server->config = config;
  fsc_lanes_set_config (server->lanes, config);
  apply_rules (server);
  return TRUE;
}
