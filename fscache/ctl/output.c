/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What fscachectl writes; see output.h.
 */
#include "fscache/ctl/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fscache/ctl/ctl.h"

/* The one piece of state of this module: the process has one stderr. */
static int complaints_fd = STDERR_FILENO;

void
fsc_output_set_complaints_fd (int fd)
{
  complaints_fd = fd;
}

char *
fsc_output_make_printable (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  GString *printable = g_string_new (NULL);

  for (const char *c = valid; *c != '\0'; c = g_utf8_next_char (c))
    g_string_append_unichar (printable,
                             g_unichar_iscntrl (g_utf8_get_char (c)) ? '?' : g_utf8_get_char (c));
  return g_string_free (printable, FALSE);
}

void
fsc_output_complain (const char *format, ...)
{
  g_autofree char *message = NULL;
  g_autofree char *printable = NULL;
  g_autofree char *line = NULL;
  va_list arguments;
  ssize_t ignored G_GNUC_UNUSED;

  va_start (arguments, format);
  message = g_strdup_vprintf (format, arguments);
  va_end (arguments);

  printable = fsc_output_make_printable (message);
  line = g_strconcat ("fscachectl: ", printable, "\n", NULL);
  /* One write, so that lines of several processes do not mix. */
  ignored = write (complaints_fd, line, strlen (line));
}

void
fsc_output_complain_reply (const char *object, const FscacheReply *reply, int result)
{
  int error = reply->error != 0 ? reply->error : -result;

  if (reply->message[0] != '\0')
    fsc_output_complain ("%s", reply->message);
  else
    fsc_output_complain ("%s: %s", object, g_strerror (error));
}

void
fsc_output_print_json (JsonBuilder *builder, const char *end)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  g_autofree char *text = NULL;

  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, NULL);
  fputs (text, stdout);
  fputs (end, stdout);
}

void
fsc_output_add_string (JsonBuilder *builder, const char *name, const char *value)
{
  g_autofree char *valid = value != NULL ? g_utf8_make_valid (value, -1) : NULL;

  json_builder_set_member_name (builder, name);
  if (valid != NULL)
    json_builder_add_string_value (builder, valid);
  else
    json_builder_add_null_value (builder);
}

void
fsc_output_add_int (JsonBuilder *builder, const char *name, gint64 value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_int_value (builder, value);
}

void
fsc_output_add_boolean (JsonBuilder *builder, const char *name, gboolean value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_boolean_value (builder, value);
}

const char *
fsc_output_format_us (guint64 us, char buffer[static 32])
{
  static const struct
  {
    guint64 us;
    const char *unit;
  } units[] = {
    { G_GUINT64_CONSTANT (86400000000), "d" },
    { G_GUINT64_CONSTANT (3600000000), "h" },
    { 60000000, "m" },
    { 1000000, "s" },
    { 1000, "ms" },
    { 1, "us" },
  };
  gsize i = 0;

  /* Two digits at least: 90s says more than 1m. */
  while (i + 1 < G_N_ELEMENTS (units) && us < 2 * units[i].us)
    i++;
  g_snprintf (buffer, 32, "%" G_GUINT64_FORMAT "%s", us / units[i].us, units[i].unit);
  return buffer;
}

const char *
fsc_output_format_bytes (guint64 bytes, char buffer[static 32])
{
  static const char units[] = "KMGTPE";
  double value = (double) bytes / 1024;
  gsize i = 0;

  if (bytes < 1024)
    g_snprintf (buffer, 32, "%u", (guint) bytes);
  else
    {
      for (; value >= 1024 && units[i + 1] != '\0'; i++)
        value /= 1024;
      g_snprintf (buffer, 32, value < 10 ? "%.1f%c" : "%.0f%c", value, units[i]);
    }
  return buffer;
}

static void
append_hex (GString *text, const guint8 *bytes, gsize length)
{
  for (gsize i = 0; i < length; i++)
    g_string_append_printf (text, "%02x", bytes[i]);
}

char *
fsc_output_format_digest (const FscacheContent *content)
{
  GString *text = g_string_new ("sha256:");

  append_hex (text, content->digest, sizeof content->digest);
  return g_string_free (text, FALSE);
}

char *
fsc_output_format_validator (const FscacheContent *content)
{
  GString *text = g_string_new (NULL);
  gboolean is_text = TRUE;

  for (guint i = 0; i < content->validator_length; i++)
    is_text = is_text && g_ascii_isprint (content->validator[i]);
  if (is_text)
    g_string_append_len (text, (const char *) content->validator, content->validator_length);
  else
    {
      g_string_append (text, "0x");
      append_hex (text, content->validator, content->validator_length);
    }
  return g_string_free (text, FALSE);
}

void
fsc_output_add_content (JsonBuilder *builder, const FscacheContent *content)
{
  gboolean is_known = content->is_known;
  g_autofree char *digest = is_known ? fsc_output_format_digest (content) : NULL;
  g_autofree char *validator
      = is_known && content->validator_length > 0 ? fsc_output_format_validator (content) : NULL;

  fsc_output_add_string (builder, "digest", digest);
  fsc_output_add_boolean (builder, "sealed", is_known && content->is_sealed);
  fsc_output_add_string (builder, "validator", validator);
}

int
fsc_output_finish (int status)
{
  if (fflush (stdout) == 0 && !ferror (stdout))
    return status;
  fsc_output_complain ("cannot write to standard output: %s", g_strerror (errno));
  return FSC_EXIT_FAILED;
}
