/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The options that say how to open; see request.h.
 */
#include "fscache/ctl/request.h"

#include <stdlib.h>
#include <string.h>

static const struct
{
  const char *name; /* without O_ */
  int value;
} flag_names[] = {
  /* The names of several bits before those of single ones of them: O_SYNC has O_DSYNC's. */
  { "TMPFILE", O_TMPFILE },   { "SYNC", O_SYNC },           { "DSYNC", O_DSYNC },
  { "WRONLY", O_WRONLY },     { "RDWR", O_RDWR },           { "APPEND", O_APPEND },
  { "CREAT", O_CREAT },       { "EXCL", O_EXCL },           { "TRUNC", O_TRUNC },
  { "NONBLOCK", O_NONBLOCK }, { "DIRECTORY", O_DIRECTORY }, { "NOFOLLOW", O_NOFOLLOW },
  { "PATH", O_PATH },         { "NOATIME", O_NOATIME },     { "DIRECT", O_DIRECT },
  { "NOCTTY", O_NOCTTY },     { "CLOEXEC", O_CLOEXEC },
};

void
fsc_request_options_clear (FscRequestOptions *options)
{
  g_clear_pointer (&options->sharing, g_free);
  g_clear_pointer (&options->flags, g_free);
  g_clear_pointer (&options->mode, g_free);
  g_clear_pointer (&options->digest, g_free);
}

static gboolean
parse_sharing (const char *text, FscacheSharing *sharing, GError **error)
{
  for (int i = FSCACHE_INDEPENDENT; i <= FSCACHE_EXCLUSIVE; i++)
    {
      if (g_ascii_strcasecmp (text, fscache_sharing_name (i)) == 0)
        {
          *sharing = i;
          return TRUE;
        }
    }
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
               "\"%s\" is no sharing mode: it is independent, shared or exclusive", text);
  return FALSE;
}

static gboolean
parse_flag (const char *text, int *flags)
{
  const char *name = g_ascii_strncasecmp (text, "O_", 2) == 0 ? text + 2 : text;

  if (g_ascii_strcasecmp (name, "RDONLY") == 0)
    return TRUE;
  for (gsize i = 0; i < G_N_ELEMENTS (flag_names); i++)
    {
      if (g_ascii_strcasecmp (name, flag_names[i].name) == 0)
        {
          *flags |= flag_names[i].value;
          return TRUE;
        }
    }
  return FALSE;
}

static gboolean
parse_flags (const char *text, int *flags, GError **error)
{
  g_auto (GStrv) words = g_strsplit_set (text, ",|", -1);

  *flags = 0;
  for (char **word = words; *word != NULL; word++)
    {
      if (!parse_flag (g_strstrip (*word), flags))
        {
          g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                       "\"%s\" is no flag of open(2) that is known here", *word);
          return FALSE;
        }
    }
  if ((*flags & O_ACCMODE) == O_ACCMODE)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                   "of rdonly, wronly and rdwr only one can be had");
      return FALSE;
    }
  return TRUE;
}

static gboolean
parse_mode (const char *text, mode_t *mode, GError **error)
{
  guint64 value;

  if (g_ascii_string_to_unsigned (text, 8, 0, 07777, &value, NULL))
    {
      *mode = value;
      return TRUE;
    }
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
               "\"%s\" is no file mode: it is an octal number, such as 640", text);
  return FALSE;
}

static gboolean
parse_digest (const char *text, guint8 digest[FSCACHE_DIGEST_SIZE], GError **error)
{
  const char *hex = text + strlen ("sha256:");
  gboolean is_good = g_ascii_strncasecmp (text, "sha256:", strlen ("sha256:")) == 0
                     && strlen (hex) == 2 * FSCACHE_DIGEST_SIZE;

  for (gsize i = 0; is_good && i < FSCACHE_DIGEST_SIZE; i++)
    {
      is_good = g_ascii_isxdigit (hex[2 * i]) && g_ascii_isxdigit (hex[2 * i + 1]);
      digest[i] = (guint8) (g_ascii_xdigit_value (hex[2 * i]) * 16
                            + g_ascii_xdigit_value (hex[2 * i + 1]));
    }
  if (!is_good)
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                 "\"%s\" is no digest: it is sha256: and 64 hexadecimal digits", text);
  return is_good;
}

gboolean
fsc_request_options_get (FscRequestOptions *options, FscacheSharing default_sharing,
                         FscacheRequest *request, GError **error)
{
  *request = (FscacheRequest){ .sharing = default_sharing, .mode = 0666 };
  if (options->sharing != NULL && !parse_sharing (options->sharing, &request->sharing, error))
    return FALSE;
  if (options->flags != NULL && !parse_flags (options->flags, &request->flags, error))
    return FALSE;
  if (options->mode != NULL && !parse_mode (options->mode, &request->mode, error))
    return FALSE;
  if (options->digest != NULL)
    {
      if (!parse_digest (options->digest, options->digest_bytes, error))
        return FALSE;
      request->digest = options->digest_bytes;
    }
  /* Not `< 0`: that would let NaN through. */
  if (!(options->timeout >= 0 && options->timeout <= 86400) || options->max_age_ms < 0)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                   "a time may not be negative, and a timeout not longer than a day");
      return FALSE;
    }
  if (options->timeout > 0)
    request->timeout_ms = MAX (options->timeout * 1000, 1);
  request->max_age_ms = options->max_age_ms;
  request->options = options->revalidate ? FSCACHE_REVALIDATE : 0;
  return TRUE;
}

void
fsc_request_set_uri (FscacheRequest *request, const FscRequestOptions *options, const char *uri)
{
  request->uri = uri;
  if (options->sharing == NULL && g_ascii_strncasecmp (uri, "handle:", strlen ("handle:")) == 0)
    request->sharing = FSCACHE_SHARED;
}

char *
fsc_request_describe_flags (int flags)
{
  GString *text = g_string_new ((flags & (O_ACCMODE | O_PATH)) == 0 ? "O_RDONLY" : NULL);

  for (gsize i = 0; i < G_N_ELEMENTS (flag_names); i++)
    {
      int value = flag_names[i].value;

      if ((flags & value) != value)
        continue;
      flags &= ~value;
      g_string_append_printf (text, "%sO_%s", text->len > 0 ? "|" : "", flag_names[i].name);
    }
  return g_string_free (text, FALSE);
}
