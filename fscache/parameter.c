/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One parameter of the configuration; see parameter.h.
 */
#include "fscache/parameter.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "fscache/spawner.h"
#include "protocol/protocol.h"

#define MAX_ID (G_MAXUINT32 - 1) /* the last one is none */

G_STATIC_ASSERT (sizeof (guint) == sizeof (guint32) && sizeof (gboolean) == sizeof (guint32));

const FscParameter *
fsc_parameter_find (const FscParameter *parameters, const char *key)
{
  for (; parameters->key != NULL; parameters++)
    if (g_str_equal (parameters->key, key))
      return parameters;
  return NULL;
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

/* How many of its units are in one that is written. */
static double
get_scale (const FscParameter *parameter)
{
  return parameter->type == FSC_PARAMETER_MICROSECONDS   ? G_USEC_PER_SEC
         : parameter->type == FSC_PARAMETER_MILLISECONDS ? 1000
                                                         : 1;
}

static gboolean
parse_number (const FscParameter *parameter, const char *text, guint64 *value)
{
  double scale = get_scale (parameter);
  char *end;
  double number = g_ascii_strtod (text, &end);

  if (end == text)
    return FALSE;
  if (parameter->type == FSC_PARAMETER_BYTES)
    number *= get_unit (&end);
  if (*end != '\0' || !(number >= parameter->min && number <= parameter->max))
    return FALSE;
  *value = (guint64) (number * scale + 0.5);
  return scale > 1 || number == (double) *value;
}

/* A number, or whether it is yes. */
static char *
parse (const FscParameter *parameter, const char *text, guint64 *value)
{
  if (parameter->type == FSC_PARAMETER_BOOLEAN)
    {
      *value = g_str_equal (text, "yes");
      return *value || g_str_equal (text, "no") ? NULL : g_strdup ("must be yes or no");
    }
  if (parse_number (parameter, text, value))
    return NULL;
  return g_strdup_printf (
      "\"%s\" is not a number from %.16g to %.16g%s", text, parameter->min, parameter->max,
      parameter->type == FSC_PARAMETER_BYTES ? ", which may end in K, M, G or T" : "");
}

static gboolean
is_string (const FscParameter *parameter)
{
  return parameter->type == FSC_PARAMETER_PATH || parameter->type == FSC_PARAMETER_WORDS;
}

static char *
apply_string (const FscParameter *parameter, char **target, const char *text)
{
  if (parameter->type == FSC_PARAMETER_PATH && text[0] != '/')
    return g_strdup ("must be an absolute path");
  if (text[0] == '\0')
    return g_strdup ("must not be empty");
  g_free (*target);
  *target = g_strdup (text);
  return NULL;
}

static char *
apply_command (char ***target, const char *text)
{
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) words = NULL;

  if (text[0] != '/')
    return g_strdup ("must be the absolute path of a program, and its arguments");
  if (!g_shell_parse_argv (text, NULL, &words, &error))
    return g_strdup (error->message);
  g_strfreev (*target);
  *target = g_steal_pointer (&words);
  return NULL;
}

static char *
set_user (FscUser *target, uid_t uid, gid_t gid, const gid_t *groups, guint n)
{
  g_free (target->groups);
  *target = (FscUser){ uid, gid, n, g_memdup2 (groups, n * sizeof groups[0]) };
  return NULL;
}

static char *
apply_user (FscUser *target, const char *text)
{
  const struct passwd *entry = getpwnam (text);
  gid_t groups[FSC_GROUPS_MAX];
  guint64 number = 0;
  int n = FSC_GROUPS_MAX;

  if (entry == NULL && g_ascii_string_to_unsigned (text, 10, 0, MAX_ID, &number, NULL))
    entry = getpwuid ((uid_t) number);
  if (entry == NULL && number > 0) /* a user need not have a name */
    return set_user (target, (uid_t) number, (gid_t) number, &(gid_t){ (gid_t) number }, 1);
  if (entry == NULL)
    return g_strdup_printf ("there is no user \"%s\"", text);
  if (getgrouplist (entry->pw_name, entry->pw_gid, groups, &n) < 0)
    return g_strdup_printf ("the user \"%s\" is in too many groups", text);
  return set_user (target, entry->pw_uid, entry->pw_gid, groups, (guint) n);
}

char *
fsc_parameter_apply (const FscParameter *parameter, gpointer group, const char *text)
{
  gpointer target = (char *) group + parameter->offset;
  guint64 value = 0;
  char *problem;

  switch (parameter->type)
    {
    case FSC_PARAMETER_PATH:
    case FSC_PARAMETER_WORDS:
      return apply_string (parameter, target, text);
    case FSC_PARAMETER_COMMAND:
      return apply_command (target, text);
    case FSC_PARAMETER_USER:
      return apply_user (target, text);
    default:
      problem = parse (parameter, text, &value);
    }
  if (problem != NULL)
    return problem;
  switch (parameter->type)
    {
    case FSC_PARAMETER_SMALL_COUNT:
    case FSC_PARAMETER_MILLISECONDS:
    case FSC_PARAMETER_BOOLEAN:
      *(guint32 *) target = (guint32) value;
      break;
    default:
      *(guint64 *) target = value;
    }
  return NULL;
}

char *
fsc_parameter_apply_argument (const FscParameter *parameter, char **argument, const char *text)
{
  guint64 value = 0;
  char *problem;

  if (is_string (parameter))
    return apply_string (parameter, argument, text);
  problem = parse (parameter, text, &value);
  if (problem != NULL)
    return problem;
  g_free (*argument);
  *argument = g_strdup_printf ("%" G_GUINT64_FORMAT, value);
  return NULL;
}
