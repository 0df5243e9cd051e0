/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Rules; see rules.h.
 */
#include "fscache/rules.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "protocol/protocol.h"

#define AT(member) offsetof (FscRule, member)
#define ANYBODY "*"
#define FILE_PREFIX "file://"
#define UNPACK_PREFIX "unpack://"

struct FscRules
{
  GPtrArray *all; /* of FscRule */
};

const FscParameter fsc_rule_parameters[] = {
  { "users", FSC_PARAMETER_WORDS, 0, 0, AT (users), NULL },
  { "uris", FSC_PARAMETER_WORDS, 0, 0, AT (uris), NULL },
  { "sandboxed", FSC_PARAMETER_WORDS, 0, 0, AT (sandboxed), NULL },
  { "action", FSC_PARAMETER_WORDS, 0, 0, AT (action), NULL },
  { 0 },
};

static void
rule_free (gpointer data)
{
  FscRule *rule = data;

  g_free (rule->name);
  g_free (rule->users);
  g_free (rule->uris);
  g_free (rule->sandboxed);
  g_free (rule->action);
  g_clear_pointer (&rule->patterns, g_ptr_array_unref);
  g_clear_pointer (&rule->uids, g_array_unref);
  g_clear_pointer (&rule->gids, g_array_unref);
  g_free (rule);
}

FscRules *
fsc_rules_new (void)
{
  FscRules *rules = g_new0 (FscRules, 1);

  rules->all = g_ptr_array_new_with_free_func (rule_free);
  return rules;
}

void
fsc_rules_free (FscRules *rules)
{
  g_ptr_array_unref (rules->all);
  g_free (rules);
}

FscRule *
fsc_rules_add (FscRules *rules, const char *name)
{
  FscRule *rule = g_new0 (FscRule, 1);

  rule->name = g_strdup (name);
  g_ptr_array_add (rules->all, rule);
  return rule;
}

/* Making sense of it */

static gboolean
parse_id (const char *text, guint32 *id)
{
  guint64 number;

  if (!g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT32 - 1, &number, NULL))
    return FALSE;
  *id = (guint32) number;
  return TRUE;
}

static char *
add_group (FscRule *rule, const char *name)
{
  const struct group *entry = getgrnam (name);
  gid_t gid;

  if (entry != NULL)
    gid = entry->gr_gid;
  else if (!parse_id (name, &gid))
    return g_strdup_printf ("there is no group \"%s\"", name);
  g_array_append_val (rule->gids, gid);
  return NULL;
}

static char *
add_user (FscRule *rule, const char *name)
{
  const struct passwd *entry = getpwnam (name);
  uid_t uid;

  if (entry != NULL)
    uid = entry->pw_uid;
  else if (!parse_id (name, &uid))
    return g_strdup_printf ("there is no user \"%s\" (groups are written @GROUP)", name);
  g_array_append_val (rule->uids, uid);
  return NULL;
}

static char *
compile_users (FscRule *rule)
{
  g_auto (GStrv) words = g_strsplit_set (rule->users != NULL ? rule->users : ANYBODY, " \t", -1);
  char *problem = NULL;

  if (g_strv_contains ((const char *const *) words, ANYBODY))
    return g_strv_length (words) == 1
               ? NULL
               : g_strdup (ANYBODY " is everybody: there is nobody else to name");
  rule->uids = g_array_new (FALSE, FALSE, sizeof (uid_t));
  rule->gids = g_array_new (FALSE, FALSE, sizeof (gid_t));
  for (guint i = 0; problem == NULL && words[i] != NULL; i++)
    if (words[i][0] == '@')
      problem = add_group (rule, words[i] + 1);
    else if (words[i][0] != '\0')
      problem = add_user (rule, words[i]);
  return problem;
}

/* The scheme is matched as well, so that a pattern is for one that has been thought of. */
static char *
compile_uris (FscRule *rule)
{
  g_auto (GStrv) words = NULL;

  if (rule->uris == NULL)
    return NULL;
  words = g_strsplit_set (rule->uris, " \t", -1);
  rule->patterns = g_ptr_array_new_with_free_func ((GDestroyNotify) g_pattern_spec_free);
  for (guint i = 0; words[i] != NULL; i++)
    {
      if (words[i][0] == '/')
        return g_strdup_printf ("\"%s\" is a path: write file://%s", words[i], words[i]);
      if (words[i][0] != '\0' && words[i][0] != '*' && strchr (words[i], ':') == NULL)
        return g_strdup_printf ("\"%s\" begins with no scheme, and so no URI is like it", words[i]);
      if (words[i][0] != '\0')
        g_ptr_array_add (rule->patterns, g_pattern_spec_new (words[i]));
    }
  return NULL;
}

static char *
compile_sandboxed (FscRule *rule)
{
  rule->is_for_sandboxed = -1;
  if (rule->sandboxed == NULL)
    return NULL;
  rule->is_for_sandboxed = g_str_equal (rule->sandboxed, "yes");
  return rule->is_for_sandboxed || g_str_equal (rule->sandboxed, "no")
             ? NULL
             : g_strdup ("must be yes or no");
}

static char *
compile_action (FscRule *rule)
{
  if (rule->action == NULL)
    return g_strdup ("is missing: allow or refuse");
  rule->is_refusal = g_str_equal (rule->action, "refuse");
  return rule->is_refusal || g_str_equal (rule->action, "allow")
             ? NULL
             : g_strdup ("must be allow or refuse");
}

char *
fsc_rule_compile (FscRule *rule, const char **key)
{
  static const struct
  {
    const char *key;
    char *(*compile) (FscRule *rule);
  } steps[] = {
    { "users", compile_users },
    { "uris", compile_uris },
    { "sandboxed", compile_sandboxed },
    { "action", compile_action },
  };
  char *problem = NULL;

  for (guint i = 0; problem == NULL && i < G_N_ELEMENTS (steps); i++)
    {
      *key = steps[i].key;
      problem = steps[i].compile (rule);
    }
  return problem;
}

/* Asking */

static gboolean
has_id (const GArray *ids, guint32 id)
{
  for (guint i = 0; i < ids->len; i++)
    if (g_array_index (ids, guint32, i) == id)
      return TRUE;
  return FALSE;
}

static gboolean
concerns (const FscRule *rule, const FscUser *user)
{
  if (rule->uids == NULL || has_id (rule->uids, user->uid) || has_id (rule->gids, user->gid))
    return TRUE;
  for (guint i = 0; i < user->n_groups; i++)
    if (has_id (rule->gids, user->groups[i]))
      return TRUE;
  return FALSE;
}

GPtrArray *
fsc_rules_select (const FscRules *rules, const FscUser *user)
{
  GPtrArray *selected = NULL;

  for (guint i = 0; i < rules->all->len; i++)
    {
      if (!concerns (rules->all->pdata[i], user))
        continue;
      if (selected == NULL)
        selected = g_ptr_array_new ();
      g_ptr_array_add (selected, rules->all->pdata[i]);
    }
  return selected;
}

/* What a resource is called: as a name of a file has no "..". */
typedef struct
{
  char *uri;
  char *source; /* of what unpack: reads, or NULL */
} Names;

static void
names_init (Names *names, const char *uri)
{
  gsize prefix = g_str_has_prefix (uri, FILE_PREFIX)     ? strlen (FILE_PREFIX)
                 : g_str_has_prefix (uri, UNPACK_PREFIX) ? strlen (UNPACK_PREFIX)
                                                         : 0;
  gsize length = strcspn (uri + prefix, "#"); /* of a path, which has that as "%23" */
  g_autofree char *path = NULL, *plain = NULL;

  *names = (Names){ 0 };
  if (prefix == 0)
    {
      names->uri = g_strdup (uri);
      return;
    }
  path = g_strndup (uri + prefix, length);
  plain = g_canonicalize_filename (path, "/");
  names->uri = g_strdup_printf ("%.*s%s%s", (int) prefix, uri, plain, uri + prefix + length);
  if (prefix == strlen (UNPACK_PREFIX))
    names->source = g_strconcat (FILE_PREFIX, plain, NULL);
}

static void
names_clear (Names *names)
{
  g_free (names->uri);
  g_free (names->source);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Names, names_clear)

static gboolean
matches (const FscRule *rule, const Names *names)
{
  if (rule->patterns == NULL)
    return TRUE;
  for (guint i = 0; i < rule->patterns->len; i++)
    {
      GPatternSpec *pattern = rule->patterns->pdata[i];

      if (g_pattern_spec_match_string (pattern, names->uri)
          || (names->source != NULL && g_pattern_spec_match_string (pattern, names->source)))
        return TRUE;
    }
  return FALSE;
}

const FscRule *
fsc_rules_find (const GPtrArray *selected, const char *uri, FscIsSandboxedFunc is_sandboxed,
                gpointer data)
{
  g_auto (Names) names = { 0 };

  if (selected == NULL)
    return NULL;
  names_init (&names, uri);
  for (guint i = 0; i < selected->len; i++)
    {
      const FscRule *rule = selected->pdata[i];

      if (matches (rule, &names)
          && (rule->is_for_sandboxed < 0 || rule->is_for_sandboxed == is_sandboxed (data)))
        return rule;
    }
  return NULL;
}
