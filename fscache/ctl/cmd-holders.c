/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl holders: which clients were given what.
 */
#include <stdio.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/mount.h"
#include "fscache/ctl/output.h"

typedef struct
{
  gboolean json;
  gsize n; /* printed so far */
} Printer;

static void
print_json (const FscacheHolding *holding, const Printer *printer)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  gboolean is_known = holding->uri[0] != '\0';

  json_builder_begin_object (builder);
  fsc_output_add_int (builder, "client", (gint64) holding->client);
  fsc_output_add_int (builder, "pid", holding->pid);
  fsc_output_add_int (builder, "uid", holding->uid);
  fsc_output_add_string (builder, "name", holding->client_name);
  if (is_known)
    {
      fsc_output_add_string (builder, "uri", holding->uri);
      fsc_output_add_string (builder, "sharing", fscache_sharing_name (holding->sharing));
      fsc_output_add_int (builder, "mount_id", holding->mount_id);
      fsc_output_add_int (builder, "lent", holding->n_lent);
    }
  fsc_output_add_boolean (builder, "forgotten", !is_known);
  fsc_output_add_int (builder, "given", (gint64) holding->n_given);
  fsc_output_add_int (builder, "first_ms", (gint64) holding->first_ms);
  fsc_output_add_int (builder, "last_ms", (gint64) holding->last_ms);
  fputs (printer->n == 0 ? "[\n" : ",\n", stdout);
  fsc_output_print_json (builder, "");
}

/* What a program calls itself may hold anything. */
static char *
make_word (const char *name)
{
  char *shown = fsc_output_make_printable (name[0] != '\0' ? name : "-");

  return g_strdelimit (shown, " ", '_');
}

static void
print_holding (const FscacheHolding *holding, void *data)
{
  Printer *printer = data;
  g_autofree char *name = NULL;
  char first[32], last[32];

  if (printer->json)
    {
      print_json (holding, printer);
      printer->n++;
      return;
    }
  name = make_word (holding->client_name);
  if (printer->n++ == 0)
    printf ("%7s %6s %-15s %6s %6s %6s %-11s %-4s URI\n", "PID", "UID", "NAME", "GIVEN", "FIRST",
            "LAST", "SHARING", "LENT");
  printf ("%7d %6u %-15s %6" G_GUINT64_FORMAT " %6s %6s %-11s %-4s %s\n", (int) holding->pid,
          (unsigned) holding->uid, name, holding->n_given,
          fsc_output_format_us (holding->first_ms * 1000, first),
          fsc_output_format_us (holding->last_ms * 1000, last),
          holding->uri[0] != '\0' ? fscache_sharing_name (holding->sharing) : "-",
          holding->n_lent > 0 ? "yes" : "-",
          holding->uri[0] != '\0' ? holding->uri : "(others: no record is left of which)");
}

static int
run_holders (FscCtl *ctl, int argc, char **argv)
{
  gboolean is_recursive = FALSE;
  g_autofree char *mount = NULL;
  const GOptionEntry entries[] = {
    { "mount", 'm', 0, G_OPTION_ARG_FILENAME, &mount, "Of all that lies on the mount at PATH",
      "PATH" },
    { "recursive", 'r', 0, G_OPTION_ARG_NONE, &is_recursive,
      "With --mount: and on the mounts below it", NULL },
    { NULL },
  };
  g_autoptr (FscacheClient) client = NULL;
  FscacheReply reply = { 0 };
  Printer printer = { 0 };
  gssize result;

  fsc_ctl_parse (ctl, entries, &argc, &argv, 0, 1);
  if (mount != NULL && argc > 1)
    return fsc_ctl_refuse_usage (ctl, "it takes a URI or --mount, not both");
  if (mount == NULL && is_recursive)
    return fsc_ctl_refuse_usage (ctl, "--recursive goes with --mount");
  if (mount != NULL && mount[0] == '\0')
    return fsc_ctl_refuse_usage (ctl, "the path of --mount is empty");
  client = fsc_ctl_connect (ctl);

  printer.json = ctl->json;
  if (mount != NULL)
    result
        = fscache_holders_on_mount (client, mount, is_recursive, print_holding, &printer, &reply);
  else
    result = fscache_holders (client, argc > 1 ? argv[1] : NULL, print_holding, &printer, &reply);
  if (ctl->json && (result >= 0 || printer.n > 0))
    fputs (printer.n == 0 ? "[]\n" : "\n]\n", stdout);
  if (result < 0 && mount != NULL)
    fsc_mount_complain (client, mount, &reply, (int) result);
  else if (result < 0)
    fsc_output_complain_reply (argc > 1 ? argv[1] : "holders", &reply, (int) result);
  return fsc_output_finish (result < 0 ? FSC_EXIT_FAILED : FSC_EXIT_DONE);
}

const FscCommand fsc_ctl_holders = {
  .name = "holders",
  .arguments = "[URI]",
  .summary = "Show which programs were given what",
  .description
  = "A line for each connected program and each resource that it was given handles of, whether\n"
    "that is still cached or not: GIVEN is how many, FIRST and LAST how long ago. It says what "
    "was\n"
    "given, not what is still open: the service is not told when a program closes a duplicate.\n"
    "Only of exclusive handles is it known: those that were given back are not counted, and LENT\n"
    "says that some were not. \"ls -l /proc/PID/fd\" knows what a program has open.\n"
    "\n"
    "The service remembers the last 4096 resources of each program (fewer if there are very many\n"
    "programs), and says so when it has forgotten some. Nobody listed is no failure.\n"
    "\n" FSC_HELP_NAMING "\n"
    "\n" FSC_HELP_MOUNTS "\n"
    "\n"
    "Examples:\n"
    "  fscachectl holders /srv/a.bin\n"
    "  fscachectl holders --mount /mnt/x\n"
    "  fscachectl holders --json | jq -r '.[].pid' | sort -u",
  .run = run_holders,
  .prints = TRUE,
};
