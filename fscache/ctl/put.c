/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Descriptors get names; see put.h.
 */
#include "fscache/ctl/put.h"

#include <fcntl.h>
#include <math.h>

#include "fscache/ctl/output.h"

#define PREFIX "handle:"

void
fsc_put_options_clear (FscPutOptions *options)
{
  g_clear_pointer (&options->expected, g_free);
}

gboolean
fsc_put_options_get (const FscPutOptions *options, FscachePut *put, GError **error)
{
  *put = (FscachePut){ .mode = options->replace ? FSCACHE_PUT_REPLACE : FSCACHE_PUT_NEW };
  if (options->expected != NULL)
    {
      put->mode = FSCACHE_PUT_EXCHANGE;
      if (!g_ascii_string_to_unsigned (options->expected, 10, 1, G_MAXUINT64, &put->expected, NULL))
        {
          g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                       "\"%s\" is no generation: those are what put and info print",
                       options->expected);
          return FALSE;
        }
    }
  if (options->replace && options->expected != NULL)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                   "--replace replaces anything, and --if-generation one thing only");
      return FALSE;
    }
  if (!(options->ttl >= 0 && options->ttl <= G_MAXUINT32 / 1000))
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                   "a time may not be negative, nor longer than 49 days");
      return FALSE;
    }
  put->ttl_ms = (uint32_t) ceil (options->ttl * 1000); /* a tenth of one is not "never" */
  return TRUE;
}

char *
fsc_put_get_uri (const char *name)
{
  g_autofree char *escaped = NULL;

  if (g_str_has_prefix (name, PREFIX))
    return g_strdup (name);
  escaped = g_uri_escape_string (name, "!$&'()+,;=:@/*?", FALSE);
  return g_strconcat (PREFIX, escaped, NULL);
}

gboolean
fsc_put_is_inherited (int fd)
{
  int flags = fcntl (fd, F_GETFD);

  return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

gboolean
fsc_put_one (FscacheClient *client, const FscachePut *how, const char *name, int fd,
             FscacheReply *reply)
{
  g_autofree char *uri = fsc_put_get_uri (name);
  FscachePut put = *how;
  int result;

  put.uri = uri;
  put.fd = fd;
  result = fscache_put (client, &put, reply);
  if (result < 0)
    fsc_output_complain_reply (uri, reply, result);
  return result == 0;
}
