/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl set: the limits of a service that runs.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/output.h"

/* In which unit a limit is written, and what the service counts in. */
typedef enum
{
  COUNT,
  BYTES,  /* K, M, G and T are powers of 1024 */
  SECONDS /* with decimals; the service counts milliseconds */
} Unit;

static const struct
{
  const char *name;
  Unit unit;
} limits[] = {
  { "max-handles", COUNT },
  { "max-bytes", BYTES },
  { "idle-time", SECONDS },
};

/* Returns FALSE if it is no such number. */
static gboolean
parse_count (const char *text, Unit unit, guint64 *value)
{
  static const char suffixes[] = "KMGT";
  guint shift = 0;
  char *end;

  if (!g_ascii_isdigit (*text))
    return FALSE;
  errno = 0;
  *value = g_ascii_strtoull (text, &end, 10);
  if (unit == BYTES && *end != '\0' && strchr (suffixes, *end) != NULL)
    shift = 10 * (guint) (strchr (suffixes, *end++) - suffixes + 1);
  if (errno != 0 || *end != '\0' || *value > G_MAXUINT64 >> shift)
    return FALSE;
  *value <<= shift;
  return TRUE;
}

static gboolean
parse_seconds (const char *text, guint64 *value)
{
  char *end;
  double seconds = g_ascii_strtod (text, &end);

  if (!g_ascii_isdigit (*text) || *end != '\0' || !(seconds < 1e15))
    return FALSE;
  *value = (guint64) ceil (seconds * 1000); /* a tenth of one is not "never" */
  return TRUE;
}

static void
print_limit (const char *name, uint64_t value, void *data)
{
  FscCtl *ctl = data;

  if (ctl->json)
    return;
  if (g_str_equal (name, "idle-time"))
    {
      char number[G_ASCII_DTOSTR_BUF_SIZE];

      printf ("%-12s %s\n", name,
              g_ascii_formatd (number, sizeof number, "%.15g", (double) value / 1000));
    }
  else
    printf ("%-12s %" G_GUINT64_FORMAT "\n", name, value);
}

/* In the service's units, which the names say. */
static void
add_limit (const char *name, uint64_t value, void *data)
{
  g_autofree char *key
      = g_strdup_printf ("%s%s", name, g_str_equal (name, "idle-time") ? "-ms" : "");

  fsc_output_add_int (data, g_strdelimit (key, "-", '_'), (gint64) value);
}

static int
set (FscCtl *ctl, const char *name, guint64 value)
{
  g_autoptr (FscacheClient) client = fsc_ctl_connect (ctl);
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  FscacheReply reply = { 0 };
  int result;

  json_builder_begin_object (builder);
  result = fscache_set (client, name, value, ctl->json ? add_limit : print_limit,
                        ctl->json ? (void *) builder : ctl, &reply);
  if (result < 0)
    {
      fsc_output_complain_reply (name != NULL ? name : "set", &reply, result);
      return FSC_EXIT_FAILED;
    }
  if (ctl->json)
    fsc_output_print_json (builder, "\n");
  return fsc_output_finish (FSC_EXIT_DONE);
}

static int
run_set (FscCtl *ctl, int argc, char **argv)
{
  guint64 value;
  guint i = 0;

  fsc_ctl_parse (ctl, NULL, &argc, &argv, 0, 2);
  if (argc == 1)
    return set (ctl, NULL, 0);
  while (i < G_N_ELEMENTS (limits) && !g_str_equal (limits[i].name, argv[1]))
    i++;
  if (i == G_N_ELEMENTS (limits))
    return fsc_ctl_refuse_usage (
        ctl, "there is no limit \"%s\" (there are: max-handles, max-bytes, idle-time)", argv[1]);
  if (argc == 2)
    return fsc_ctl_refuse_usage (ctl, "%s needs a value", argv[1]);
  if (limits[i].unit == SECONDS ? !parse_seconds (argv[2], &value)
                                : !parse_count (argv[2], limits[i].unit, &value))
    return fsc_ctl_refuse_usage (ctl, "%s: \"%s\" is not a number of %s", argv[1], argv[2],
                                 limits[i].unit == COUNT   ? "handles"
                                 : limits[i].unit == BYTES ? "bytes (such as 512M)"
                                                           : "seconds");
  return set (ctl, argv[1], value);
}

const FscCommand fsc_ctl_set = {
  .name = "set",
  .arguments = "[NAME VALUE]",
  .summary = "Change a limit of the service while it runs",
  .description
  = "Without arguments, prints the limits; else changes one, and prints what they are now:\n"
    "\n"
    "  max-handles N   how many handles to keep\n"
    "  max-bytes N     how many bytes handles may keep (0: any number); K, M, G and T\n"
    "                  are powers of 1024\n"
    "  idle-time S     for how many seconds what nobody asks for is kept (0: until the room is\n"
    "                  needed)\n"
    "\n"
    "What is beyond a limit goes at once; pinned and lent entries stay. It holds until the "
    "service\n"
    "ends: what is to hold after that is written into its configuration.\n"
    "\n"
    "Examples:\n"
    "  fscachectl set\n"
    "  fscachectl set max-bytes 512M\n"
    "  fscachectl set idle-time 60",
  .run = run_set,
  .prints = TRUE,
};
