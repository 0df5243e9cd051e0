/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One parameter of the configuration; see parameter.h.
 */
#include "fscache/parameter.h"

#include <string.h>

typedef union
{
  guint64 count;
  guint small_count;
  gint64 microseconds;
  guint32 milliseconds;
  gboolean is_yes;
} Value;

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

static gboolean
is_time (const FscParameter *parameter)
{
  return parameter->type == FSC_PARAMETER_MICROSECONDS
         || parameter->type == FSC_PARAMETER_MILLISECONDS;
}

static gboolean
parse_number (const FscParameter *parameter, const char *text, double *number)
{
  char *end;

  *number = g_ascii_strtod (text, &end);
  if (end == text)
    return FALSE;
  if (parameter->type == FSC_PARAMETER_BYTES)
    *number *= get_unit (&end);
  return *end == '\0' && *number >= parameter->min && *number <= parameter->max
         && (is_time (parameter) || *number == (double) (guint64) *number);
}

/* All but what is a string. */
static char *
parse (const FscParameter *parameter, const char *text, Value *value)
{
  double number = 0;

  if (parameter->type == FSC_PARAMETER_BOOLEAN)
    {
      value->is_yes = g_str_equal (text, "yes");
      return value->is_yes || g_str_equal (text, "no") ? NULL : g_strdup ("must be yes or no");
    }
  if (!parse_number (parameter, text, &number))
    return g_strdup_printf (
        "\"%s\" is not a number from %.16g to %.16g%s", text, parameter->min, parameter->max,
        parameter->type == FSC_PARAMETER_BYTES ? ", which may end in K, M, G or T" : "");
  switch (parameter->type)
    {
    case FSC_PARAMETER_COUNT:
    case FSC_PARAMETER_BYTES:
      value->count = (guint64) number;
      break;
    case FSC_PARAMETER_SMALL_COUNT:
      value->small_count = (guint) number;
      break;
    case FSC_PARAMETER_MICROSECONDS:
      value->microseconds = (gint64) (number * G_USEC_PER_SEC + 0.5);
      break;
    case FSC_PARAMETER_MILLISECONDS:
      value->milliseconds = (guint32) (number * 1000 + 0.5);
      break;
    case FSC_PARAMETER_PATH:
    case FSC_PARAMETER_BOOLEAN:
      g_assert_not_reached ();
    }
  return NULL;
}

static size_t
get_size (const FscParameter *parameter)
{
  return parameter->type == FSC_PARAMETER_SMALL_COUNT    ? sizeof (guint)
         : parameter->type == FSC_PARAMETER_MILLISECONDS ? sizeof (guint32)
         : parameter->type == FSC_PARAMETER_BOOLEAN      ? sizeof (gboolean)
                                                         : sizeof (guint64);
}

static char *
apply_string (char **target, const char *text)
{
  if (text[0] != '/')
    return g_strdup ("must be an absolute path");
  g_free (*target);
  *target = g_strdup (text);
  return NULL;
}

char *
fsc_parameter_apply (const FscParameter *parameter, gpointer group, const char *text)
{
  gpointer target = (char *) group + parameter->offset;
  Value value = { 0 };
  char *problem;

  if (parameter->type == FSC_PARAMETER_PATH)
    return apply_string (target, text);
  problem = parse (parameter, text, &value);
  if (problem == NULL)
    memcpy (target, &value, get_size (parameter));
  return problem;
}

static char *
print (const FscParameter *parameter, const Value *value)
{
  switch (parameter->type)
    {
    case FSC_PARAMETER_COUNT:
    case FSC_PARAMETER_BYTES:
      return g_strdup_printf ("%" G_GUINT64_FORMAT, value->count);
    case FSC_PARAMETER_SMALL_COUNT:
      return g_strdup_printf ("%u", value->small_count);
    case FSC_PARAMETER_MICROSECONDS:
      return g_strdup_printf ("%" G_GINT64_FORMAT, value->microseconds);
    case FSC_PARAMETER_MILLISECONDS:
      return g_strdup_printf ("%u", value->milliseconds);
    case FSC_PARAMETER_BOOLEAN:
      return g_strdup (value->is_yes ? "1" : "0");
    case FSC_PARAMETER_PATH:
      break;
    }
  g_assert_not_reached ();
}

char *
fsc_parameter_apply_argument (const FscParameter *parameter, char **argument, const char *text)
{
  Value value = { 0 };
  char *problem;

  if (parameter->type == FSC_PARAMETER_PATH)
    return apply_string (argument, text);
  problem = parse (parameter, text, &value);
  if (problem != NULL)
    return problem;
  g_free (*argument);
  *argument = print (parameter, &value);
  return NULL;
}
