/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One parameter of the configuration: its key, in which unit and range it is written, and where it
 * goes. Tables of these, ended by one without a key, say what a group has.
 */
#pragma once

#include <glib.h>

typedef enum
{
  FSC_PARAMETER_PATH,         /* char *, absolute */
  FSC_PARAMETER_WORDS,        /* char *, anything but nothing */
  FSC_PARAMETER_COUNT,        /* guint64 */
  FSC_PARAMETER_SMALL_COUNT,  /* guint */
  FSC_PARAMETER_BYTES,        /* guint64, a count that may end in K, M, G or T */
  FSC_PARAMETER_MICROSECONDS, /* gint64, written in seconds */
  FSC_PARAMETER_MILLISECONDS, /* guint32, written in seconds */
  FSC_PARAMETER_BOOLEAN,      /* gboolean, written as yes or no */
  FSC_PARAMETER_COMMAND,      /* char **: an absolute path and arguments, quoted as for a shell */
  FSC_PARAMETER_USER, /* FscUser, written as a name; its groups are NULL while it is not set */
} FscParameterType;

typedef struct
{
  const char *key;
  FscParameterType type;
  double min, max;
  size_t offset;       /* in the struct of the group; or FSC_PARAMETER_ARGUMENT */
  const char *initial; /* of an argument: its value where the configuration has none, or NULL */
} FscParameter;

/* It goes to the opener: as --KEY=VALUE, a number in the unit of its type. Not for a command or a
 * user. */
#define FSC_PARAMETER_ARGUMENT G_MAXSIZE

/* NULL if the group has no such key. */
const FscParameter *fsc_parameter_find (const FscParameter *parameters, const char *key);

/* Puts a value where the parameter says. A string that was there is freed. Returns what is wrong
 * with it, or NULL; free with g_free(). */
char *fsc_parameter_apply (const FscParameter *parameter, gpointer group, const char *value);

/* The same for an argument, whose value is to be given to the opener. */
char *fsc_parameter_apply_argument (const FscParameter *parameter, char **argument,
                                    const char *value);
