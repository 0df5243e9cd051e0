/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Providers; see provider.h.
 */
#include "fscache/provider.h"

#include <string.h>
#include <unistd.h>

#include "protocol/uri.h"

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789+-."

#define AT(member) offsetof (FscProvider, member)

static const FscParameter file_parameters[] = {
  { "ttl", FSC_PARAMETER_MILLISECONDS, 0, 86400, AT (ttl_ms), NULL },
  { 0 },
};

static const FscParameter unpack_parameters[] = {
  { "max-size", FSC_PARAMETER_BYTES, 1, 1e15, FSC_PARAMETER_ARGUMENT, "1G" },
  { "max-ratio", FSC_PARAMETER_COUNT, 1, 1e9, FSC_PARAMETER_ARGUMENT, "1000" },
  { "memory-size", FSC_PARAMETER_BYTES, 0, 1e15, FSC_PARAMETER_ARGUMENT, "256M" },
  { "directory", FSC_PARAMETER_PATH, 0, 0, FSC_PARAMETER_ARGUMENT, "/var/tmp" },
  { "deadline", FSC_PARAMETER_MICROSECONDS, 0.01, 86400, AT (deadline), NULL },
  { "ttl", FSC_PARAMETER_MILLISECONDS, 0, 86400, AT (ttl_ms), NULL },
  { 0 },
};

static const FscParameter http_parameters[] = {
  { "allow", FSC_PARAMETER_WORDS, 0, 0, FSC_PARAMETER_ARGUMENT, NULL },
  { "ca-file", FSC_PARAMETER_PATH, 0, 0, FSC_PARAMETER_ARGUMENT, NULL },
  { "max-size", FSC_PARAMETER_BYTES, 1, 1e15, FSC_PARAMETER_ARGUMENT, "1G" },
  { "ttl", FSC_PARAMETER_MILLISECONDS, 0, 86400, FSC_PARAMETER_ARGUMENT, "0" },
  { "connect-timeout", FSC_PARAMETER_MILLISECONDS, 0.01, 86400, FSC_PARAMETER_ARGUMENT, "10" },
  { "stall-timeout", FSC_PARAMETER_SMALL_COUNT, 1, 86400, FSC_PARAMETER_ARGUMENT, "10" },
  { "deadline", FSC_PARAMETER_MICROSECONDS, 0.01, 86400, AT (deadline), NULL },
  { 0 },
};

/* Of connections. */
#define POOL_PARAMETERS                                                                            \
  { "match", FSC_PARAMETER_WORDS, 0, 0, AT (match), NULL },                                        \
      { "min-idle", FSC_PARAMETER_SMALL_COUNT, 0, 1000, AT (pool.min_idle), NULL },                \
      { "max", FSC_PARAMETER_SMALL_COUNT, 1, 10000, AT (pool.max), NULL },                         \
      { "idle-time", FSC_PARAMETER_MICROSECONDS, 0, 1e9, AT (pool.idle_time), NULL },              \
      { "wait", FSC_PARAMETER_MICROSECONDS, 0, 86400, AT (pool.wait), NULL },                      \
      { "connect-timeout", FSC_PARAMETER_MILLISECONDS, 0.01, 3600, FSC_PARAMETER_ARGUMENT, "5" },  \
  {                                                                                                \
    "deadline", FSC_PARAMETER_MICROSECONDS, 0.01, 86400, AT (deadline), NULL                       \
  }

static const FscParameter unix_parameters[] = { POOL_PARAMETERS, { 0 } };

static const FscParameter tcp_parameters[] = {
  { "allow", FSC_PARAMETER_WORDS, 0, 0, FSC_PARAMETER_ARGUMENT, NULL },
  POOL_PARAMETERS,
  { 0 },
};

/* As libcurl has them. */
static const char *const proxy_variables[]
    = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
        "ALL_PROXY",  "no_proxy",    "NO_PROXY",    NULL };

static const FscParameter handle_parameters[] = {
  { "max-names", FSC_PARAMETER_SMALL_COUNT, 0, 1e6, AT (max_names), NULL },
  { 0 },
};

#define POOL(group)                                                                                \
  {                                                                                                \
    group, 1, 32, 60 * G_USEC_PER_SEC, 10 * G_USEC_PER_SEC                                         \
  }

/* What needs libraries that a build may do without. Its group of the configuration is known all the
 * same: that may be the same on many machines. */
#define IF_BUILT(has, option) ((has) ? NULL : (option))

static const FscProvider registered[] = {
  { .schemes = { "file" },
    .program = "open-file",
    .scope = FSC_SCOPE_MOUNT,
    .is_watching = TRUE,
    .group = "file",
    .parameters = file_parameters,
    .ttl_ms = 3000 },
  { .schemes = { "unpack" },
    .program = "open-unpack",
    .scope = FSC_SCOPE_MOUNT,
    .is_slow = TRUE,
    .ends_unwanted = TRUE,
    .is_of_file = TRUE,
    .makes_content = TRUE,
    .group = "unpack",
    .parameters = unpack_parameters,
    .left_out = IF_BUILT (FSC_HAS_UNPACK, "unpack"),
    .deadline = 30 * G_USEC_PER_SEC,
    .ttl_ms = 3000 },
  { .schemes = { "http", "https" },
    .program = "open-http",
    .scope = FSC_SCOPE_HOST,
    .is_slow = TRUE,
    .ends_unwanted = TRUE,
    .makes_content = TRUE,
    .variables = proxy_variables,
    .guard = "allow",
    .group = "http",
    .parameters = http_parameters,
    .left_out = IF_BUILT (FSC_HAS_HTTP, "http"),
    .deadline = 60 * G_USEC_PER_SEC },
  { .schemes = { "handle" },
    .program = "open-handle",
    .scope = FSC_SCOPE_ALL,
    .is_store = TRUE,
    .group = "handle",
    .parameters = handle_parameters,
    .max_names = 1024 },
  { .schemes = { "unix" },
    .program = "open-socket",
    .scope = FSC_SCOPE_MOUNT,
    .group = "unix",
    .parameters = unix_parameters,
    .pool = POOL ("unix") },
  { .schemes = { "tcp" },
    .program = "open-socket",
    .scope = FSC_SCOPE_HOST,
    .guard = "allow",
    .group = "tcp",
    .parameters = tcp_parameters,
    .pool = POOL ("tcp") },
};

static const FscParameter helper_parameters[] = {
  { "command", FSC_PARAMETER_COMMAND, 0, 0, AT (helper), NULL },
  { "user", FSC_PARAMETER_USER, 0, 0, AT (user), NULL },
  { "openers", FSC_PARAMETER_SMALL_COUNT, 1, 64, AT (openers), NULL },
  { "deadline", FSC_PARAMETER_MICROSECONDS, 0.01, 86400, AT (deadline), NULL },
  { "ttl", FSC_PARAMETER_MILLISECONDS, 0, 86400, AT (ttl_ms), NULL },
  { 0 },
};

/* Of each helper. Its scheme and its group are the configuration's. */
static const FscProvider helper = {
  .program = "open-helper",
  .scope = FSC_SCOPE_ALL,
  .is_slow = TRUE,
  .parameters = helper_parameters,
  .ttl_ms = 3000,
};

struct FscProviders
{
  GPtrArray *all; /* of FscProvider */
  gboolean can_be_others;
};

static guint
count_parameters (const FscProvider *provider)
{
  guint n = 0;

  while (provider->parameters != NULL && provider->parameters[n].key != NULL)
    n++;
  return n;
}

static void
provider_free (gpointer data)
{
  FscProvider *provider = data;

  for (guint i = 0; i < count_parameters (provider); i++)
    g_free (provider->arguments[i]);
  g_free (provider->arguments);
  g_free (provider->match);
  g_strfreev (provider->helper);
  g_free (provider->user.groups);
  g_free (provider);
}

FscProviders *
fsc_providers_new (gboolean can_be_others)
{
  FscProviders *providers = g_new0 (FscProviders, 1);

  providers->can_be_others = can_be_others;
  providers->all = g_ptr_array_new_with_free_func (provider_free);
  for (guint i = 0; i < G_N_ELEMENTS (registered); i++)
    fsc_providers_add (providers, &registered[i]);
  return providers;
}

void
fsc_providers_free (FscProviders *providers)
{
  g_ptr_array_unref (providers->all);
  g_free (providers);
}

static void
set_initial (FscProvider *provider, const FscParameter *parameter, const char *value)
{
  g_autofree char *problem = fsc_provider_set (provider, parameter, value);

  g_assert (problem == NULL);
}

FscProvider *
fsc_providers_add (FscProviders *providers, const FscProvider *registration)
{
  FscProvider *provider = g_memdup2 (registration, sizeof *registration);
  guint n = count_parameters (provider);

  provider->arguments = g_new0 (char *, n);
  for (guint i = 0; i < n; i++)
    if (provider->parameters[i].initial != NULL)
      set_initial (provider, &provider->parameters[i], provider->parameters[i].initial);
  if (provider->guard != NULL && !providers->can_be_others)
    set_initial (provider, fsc_parameter_find (provider->parameters, provider->guard), "*");
  g_ptr_array_add (providers->all, provider);
  return provider;
}

char *
fsc_providers_add_helper (FscProviders *providers, const char *group)
{
  const char *name = group + strlen (FSC_HELPER_GROUP);
  g_autofree char *scheme = g_strconcat ("helper+", name, NULL);
  FscProvider provider = helper;

  if (name[0] == '\0' || strspn (name, NAME_CHARACTERS) != strlen (name))
    return g_strdup ("a helper's name is of lower-case letters, digits, '+', '-' and '.'");
  provider.schemes[0] = g_intern_string (scheme);
  provider.group = g_intern_string (group);
  fsc_providers_add (providers, &provider);
  return NULL;
}

char *
fsc_providers_add_named (FscProviders *providers, const char *group)
{
  const char *space = strchr (group, ' ');
  g_autofree char *name = g_strndup (group, (gsize) (space - group));
  const FscProvider *base = fsc_providers_find_group (providers, name);
  FscProvider *provider;

  if (base == NULL || base->pool.max == 0)
    return NULL; /* there is no such group */
  if (space[1] == '\0' || strspn (space + 1, NAME_CHARACTERS) != strlen (space + 1))
    return g_strdup ("a name is of lower-case letters, digits, '+', '-' and '.'");
  provider = g_memdup2 (base, sizeof *base);
  provider->group = provider->pool.group = g_intern_string (group);
  provider->match = NULL;
  provider->arguments = g_new0 (char *, count_parameters (base));
  for (guint i = 0; i < count_parameters (base); i++)
    provider->arguments[i] = g_strdup (base->arguments[i]);
  g_ptr_array_add (providers->all, provider);
  return NULL;
}

static gboolean
has_scheme (const FscProvider *provider, FscBytes uri)
{
  for (guint i = 0; provider->schemes[i] != NULL; i++)
    if (fsc_uri_has_scheme (uri, provider->schemes[i]))
      return TRUE;
  return FALSE;
}

static gboolean
is_named (const FscProvider *provider)
{
  return provider->pool.max > 0 && strchr (provider->group, ' ') != NULL;
}

static gboolean
is_match (const FscProvider *provider, FscBytes uri)
{
  g_autofree char *text = g_strndup (uri.data, uri.length);
  g_auto (GStrv) patterns = g_strsplit (provider->match, " ", -1);

  for (guint i = 0; patterns[i] != NULL; i++)
    if (g_pattern_match_simple (patterns[i], text))
      return TRUE;
  return FALSE;
}

static const FscProvider *
find_registered (const FscProviders *providers, FscBytes uri)
{
  const FscProvider *found = NULL;

  for (guint i = 0; i < providers->all->len; i++)
    {
      const FscProvider *provider = providers->all->pdata[i];

      if (!has_scheme (provider, uri))
        continue;
      if (provider->match == NULL)
        found = provider;
      else if (is_match (provider, uri))
        return provider;
    }
  return found;
}

const FscProvider *
fsc_providers_find (const FscProviders *providers, FscBytes uri)
{
  const FscProvider *provider = find_registered (providers, uri);

  return provider != NULL && provider->left_out == NULL ? provider : NULL;
}

char *
fsc_providers_explain (const FscProviders *providers, FscBytes uri)
{
  const FscProvider *provider = find_registered (providers, uri);
  g_autofree char *scheme = g_strndup (uri.data, fsc_uri_get_scheme_length (uri));

  return provider == NULL
             ? g_strdup_printf ("no provider for the scheme \"%s\"", scheme)
             : g_strdup_printf ("no provider for the scheme \"%s\": this service was built without "
                                "it (meson setup -D%s=enabled)",
                                scheme, provider->left_out);
}

FscProvider *
fsc_providers_find_group (const FscProviders *providers, const char *group)
{
  for (guint i = 0; i < providers->all->len; i++)
    {
      FscProvider *provider = providers->all->pdata[i];

      if (g_strcmp0 (provider->group, group) == 0)
        return provider;
    }
  return NULL;
}

GPtrArray *
fsc_providers_list_groups (const FscProviders *providers)
{
  GPtrArray *groups = g_ptr_array_new ();

  for (guint i = 0; i < providers->all->len; i++)
    {
      const FscProvider *provider = providers->all->pdata[i];

      if (provider->group != NULL)
        g_ptr_array_add (groups, (gpointer) provider->group);
    }
  return groups;
}

/* That a pattern matches nothing, ever, is a mistake. */
static char *
check_pattern (const FscProvider *provider, const char *pattern)
{
  const FscBytes uri = { pattern, strlen (pattern) };
  char canonical[FSC_URI_MAX + 1];
  const char *reason;

  if (pattern[0] == '\0') /* between two spaces */
    return NULL;
  if (!has_scheme (provider, uri))
    return g_strdup_printf ("match: \"%s\" is no %s: URI", pattern, provider->schemes[0]);
  if (strpbrk (pattern, "*?") != NULL)
    return NULL;
  if (fsc_uri_canonicalize (uri, canonical, sizeof canonical, &reason) < 0)
    return g_strdup_printf ("match: \"%s\" %s", pattern, reason);
  return g_str_equal (pattern, canonical)
             ? NULL
             : g_strdup_printf ("match: \"%s\" is written %s", pattern, canonical);
}

static char *
check_match (const FscProvider *provider)
{
  g_auto (GStrv) patterns = NULL;
  char *problem = NULL;

  if (is_named (provider) != (provider->match != NULL))
    return g_strdup (is_named (provider) ? "has no match" : "only a group with a name has a match");
  if (provider->match != NULL)
    patterns = g_strsplit (provider->match, " ", -1);
  for (guint i = 0; problem == NULL && patterns != NULL && patterns[i] != NULL; i++)
    problem = check_pattern (provider, patterns[i]);
  return problem;
}

/* A host, perhaps with a port, either of which may be a star. Whether it can be one is what a URI
 * with it says. */
static char *
check_host (const FscProvider *provider, const char *host)
{
  const char *rest = host + (g_str_has_prefix (host, "*.") ? 2 : 0);
  g_autofree char *name
      = g_str_has_prefix (host, "*:") ? g_strconcat ("x", rest + 1, NULL) : g_strdup (rest);
  g_autofree char *uri = NULL;
  char canonical[FSC_URI_MAX + 1];
  const char *reason = NULL;

  if (host[0] == '\0' || g_str_equal (host, "*"))
    return NULL;
  if (strpbrk (host, "/?#") != NULL)
    return g_strdup_printf ("allow: \"%s\" is not a host and perhaps a port alone", host);
  if (g_str_has_suffix (name, ":*"))
    name[strlen (name) - 1] = '1';
  uri = g_strdup_printf ("%s://%s", provider->schemes[0], name);
  return fsc_uri_canonicalize ((FscBytes){ uri, strlen (uri) }, canonical, sizeof canonical,
                               &reason)
                 < 0
             ? g_strdup_printf ("allow: \"%s\" %s", host, reason != NULL ? reason : "is too long")
             : NULL;
}

/* That a host can never be asked is a mistake. */
static char *
check_allow (const FscProvider *provider)
{
  const FscParameter *parameter
      = provider->guard != NULL ? fsc_parameter_find (provider->parameters, provider->guard) : NULL;
  const char *list
      = parameter != NULL ? provider->arguments[parameter - provider->parameters] : NULL;
  g_auto (GStrv) hosts = list != NULL ? g_strsplit_set (list, " \t", -1) : NULL;
  char *problem = NULL;

  for (guint i = 0; problem == NULL && hosts != NULL && hosts[i] != NULL; i++)
    problem = check_host (provider, hosts[i]);
  return problem;
}

const GPtrArray *
fsc_providers_get_all (const FscProviders *providers)
{
  return providers->all;
}

char *
fsc_providers_check (const FscProviders *providers, gboolean is_privileged, const char **group)
{
  for (guint i = 0; i < providers->all->len; i++)
    {
      const FscProvider *provider = providers->all->pdata[i];
      char *problem;

      *group = provider->group;
      if (provider->parameters == helper_parameters && provider->helper == NULL)
        return g_strdup ("has no command");
      problem = check_match (provider);
      if (problem == NULL)
        problem = check_allow (provider);
      if (problem != NULL)
        return problem;
      if (provider->user.groups != NULL && provider->user.uid != geteuid () && !is_privileged)
        return g_strdup ("only a service that runs as root can have a user for it");
    }
  return NULL;
}

char *
fsc_provider_set (FscProvider *provider, const FscParameter *parameter, const char *value)
{
  if (parameter->offset == FSC_PARAMETER_ARGUMENT)
    return fsc_parameter_apply_argument (
        parameter, &provider->arguments[parameter - provider->parameters], value);
  return fsc_parameter_apply (parameter, provider, value);
}

char **
fsc_provider_get_command (const FscProvider *provider, const char *dir, gint64 deadline)
{
  g_autoptr (GStrvBuilder) command = g_strv_builder_new ();
  g_autofree char *program = g_build_filename (dir, provider->program, NULL);

  for (guint i = 0; provider->variables != NULL && provider->variables[i] != NULL; i++)
    {
      const char *value = g_getenv (provider->variables[i]);
      g_autofree char *variable = g_strconcat (provider->variables[i], "=", value, NULL);

      if (value != NULL)
        g_strv_builder_add (command, variable);
    }
  g_strv_builder_add (command, program);
  for (guint i = 0; i < count_parameters (provider); i++)
    {
      g_autofree char *argument = NULL;

      if (provider->arguments[i] == NULL)
        continue;
      argument = g_strdup_printf ("--%s=%s", provider->parameters[i].key, provider->arguments[i]);
      g_strv_builder_add (command, argument);
    }
  if (provider->helper != NULL)
    {
      g_autofree char *argument = g_strdup_printf ("--deadline=%" G_GINT64_FORMAT, deadline / 1000);

      g_strv_builder_add (command, argument);
      g_strv_builder_add (command, "--");
      g_strv_builder_addv (command, (const char **) provider->helper);
    }
  return g_strv_builder_end (command);
}
