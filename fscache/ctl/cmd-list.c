/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl list and info: what is cached.
 */
#include <stdio.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/names.h"
#include "fscache/ctl/output.h"
#include "fscache/ctl/request.h"

/* What a callback that prints entries needs. */
typedef struct
{
  gboolean json;
  gsize n; /* printed so far */
} Printer;

/* Whether it was put there by a client. It always is pinned, and held by another process. */
static gboolean
is_put (const FscacheEntry *entry)
{
  return g_str_has_prefix (entry->uri, "handle:");
}

/* "pinned,held", or "-". In memory to be freed. */
static char *
describe_state (const FscacheEntry *entry)
{
  GString *text = g_string_new (is_put (entry) ? "put" : NULL);
  const struct
  {
    gboolean is_so;
    const char *name;
  } states[] = {
    { entry->is_pinned && !is_put (entry), "pinned" },
    { entry->is_held && !is_put (entry), "held" },
    { entry->is_lent, "lent" },
    { entry->is_negative, "negative" },
    { entry->sharing == FSCACHE_EXCLUSIVE, "exclusive" },
    { entry->content.is_known && entry->content.is_sealed, "sealed" },
    { (entry->flags & O_PATH) != 0, "path" },
    { (entry->flags & O_DIRECTORY) != 0, "directory" },
    { (entry->flags & O_NOFOLLOW) != 0, "nofollow" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (states); i++)
    {
      if (states[i].is_so)
        g_string_append_printf (text, "%s%s", text->len > 0 ? "," : "", states[i].name);
    }
  if (text->len == 0)
    g_string_append_c (text, '-');
  return g_string_free (text, FALSE);
}

static void
print_entry_json (const FscacheEntry *entry, Printer *printer)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autofree char *flags = fsc_request_describe_flags (entry->flags);

  json_builder_begin_object (builder);
  fsc_output_add_string (builder, "uri", entry->uri);
  fsc_output_add_string (builder, "kind", fscache_kind_name (entry->kind));
  fsc_output_add_string (builder, "coherence", fscache_coherence_name (entry->coherence));
  fsc_output_add_string (builder, "sharing", fscache_sharing_name (entry->sharing));
  fsc_output_add_string (builder, "flags", flags);
  fsc_output_add_boolean (builder, "pinned", entry->is_pinned);
  fsc_output_add_boolean (builder, "held", entry->is_held);
  fsc_output_add_boolean (builder, "lent", entry->is_lent);
  fsc_output_add_boolean (builder, "negative", entry->is_negative);
  fsc_output_add_int (builder, "mount_id", entry->mount_id);
  fsc_output_add_int (builder, "ttl_ms", entry->ttl_ms);
  fsc_output_add_int (builder, "cost_us", entry->cost_us);
  fsc_output_add_int (builder, "checked_ms", entry->checked_ms);
  fsc_output_add_int (builder, "hits", entry->hits);
  fsc_output_add_int (builder, "age_ms", entry->age_ms);
  fsc_output_add_int (builder, "idle_ms", entry->idle_ms);
  fsc_output_add_int (builder, "generation", entry->generation);
  json_builder_set_member_name (builder, "size");
  if (entry->content.is_known)
    json_builder_add_int_value (builder, (gint64) entry->content.size);
  else
    json_builder_add_null_value (builder);
  fsc_output_add_content (builder, &entry->content);
  fputs (printer->n == 0 ? "[\n" : ",\n", stdout);
  fsc_output_print_json (builder, "");
}

static void
end_json_array (const Printer *printer)
{
  fputs (printer->n == 0 ? "[]\n" : "\n]\n", stdout);
}

/* "put,lent,59s": what was put for a time says what is left of it. */
static void
print_state (const FscacheEntry *entry)
{
  g_autofree char *state = describe_state (entry);
  char left[32];

  if (is_put (entry) && entry->ttl_ms > 0)
    {
      g_autofree char *until = g_strconcat (
          state, ",", fsc_output_format_us (entry->ttl_ms * (guint64) 1000, left), NULL);

      printf ("%-9s ", until);
    }
  else
    printf ("%-9s ", state);
}

static void
print_row (const FscacheEntry *entry, void *data)
{
  Printer *printer = data;
  char age[32], idle[32], cost[32], size[32];

  if (printer->json)
    print_entry_json (entry, printer);
  else
    {
      if (printer->n == 0)
        printf ("%8s %6s %6s %6s %6s %-9s %-9s URI\n", "HITS", "AGE", "IDLE", "COST", "SIZE",
                "COHERENCE", "STATE");
      printf ("%8" G_GUINT64_FORMAT " %6s %6s %6s %6s %-9s ", entry->hits,
              fsc_output_format_us (entry->age_ms * 1000, age),
              fsc_output_format_us (entry->idle_ms * 1000, idle),
              is_put (entry) ? "-" : fsc_output_format_us (entry->cost_us, cost),
              entry->content.is_known ? fsc_output_format_bytes (entry->content.size, size) : "-",
              is_put (entry) ? "-" : fscache_coherence_name (entry->coherence));
      print_state (entry);
      printf ("%s\n", entry->uri);
    }
  printer->n++;
}

static void
print_life (const FscacheEntry *entry)
{
  char a[32];

  printf ("coherence  %s", fscache_coherence_name (entry->coherence));
  if (entry->coherence == FSCACHE_COHERENCE_TTL)
    printf (" of %s", fsc_output_format_us (entry->ttl_ms * (guint64) 1000, a));
  printf ("\nchecked    %s ago\n", fsc_output_format_us (entry->checked_ms * (guint64) 1000, a));
  printf ("hits       %" G_GUINT64_FORMAT "\n", entry->hits);
  printf ("cost       %s\n", fsc_output_format_us (entry->cost_us, a));
  printf ("opened     %s ago\n", fsc_output_format_us (entry->age_ms * 1000, a));
  printf ("given      %s ago\n", fsc_output_format_us (entry->idle_ms * 1000, a));
}

static void
print_life_of_put (const FscacheEntry *entry)
{
  char a[32];

  printf ("put        %s ago\n", fsc_output_format_us (entry->age_ms * 1000, a));
  if (entry->ttl_ms > 0)
    printf ("ends       in %s\n", fsc_output_format_us (entry->ttl_ms * (guint64) 1000, a));
  else
    puts ("ends       when it is dropped, taken or replaced");
  printf ("hits       %" G_GUINT64_FORMAT "\n", entry->hits);
  if (entry->hits > 0)
    printf ("given      %s ago\n", fsc_output_format_us (entry->idle_ms * 1000, a));
  else
    puts ("given      never");
}

static void
print_paragraph (const FscacheEntry *entry, void *data)
{
  Printer *printer = data;
  g_autofree char *state = NULL;

  if (printer->json)
    {
      print_entry_json (entry, printer);
      printer->n++;
      return;
    }
  state = describe_state (entry);
  printf ("%suri        %s\n", printer->n > 0 ? "\n" : "", entry->uri);
  printf ("kind       %s\n", fscache_kind_name (entry->kind));
  printf ("state      %s\n", state);
  if (is_put (entry))
    print_life_of_put (entry);
  else
    print_life (entry);
  printf ("mount      %u\n", (unsigned) entry->mount_id);
  printf ("generation %" G_GUINT64_FORMAT "\n", entry->generation);
  if (entry->content.is_known)
    {
      g_autofree char *digest = fsc_output_format_digest (&entry->content);

      printf ("size       %" G_GUINT64_FORMAT "\n", entry->content.size);
      printf ("digest     %s\n", digest);
    }
  printer->n++;
}

static int
run_list (FscCtl *ctl, int argc, char **argv)
{
  g_autoptr (FscacheClient) client = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *pattern = NULL;
  FscacheReply reply = { 0 };
  Printer printer = { 0 };
  gssize result;

  fsc_ctl_parse (ctl, NULL, &argc, &argv, 0, 1);
  if (argc > 1)
    {
      pattern = fsc_names_get_pattern (argv[1], &error);
      if (pattern == NULL)
        {
          fsc_output_complain ("%s", error->message);
          return FSC_EXIT_FAILED;
        }
    }
  client = fsc_ctl_connect (ctl);

  printer.json = ctl->json;
  result = fscache_list (client, pattern, print_row, &printer, &reply);
  if (ctl->json && (result >= 0 || printer.n > 0))
    end_json_array (&printer);
  if (result < 0)
    fsc_output_complain_reply (pattern != NULL ? pattern : "list", &reply, result);
  return fsc_output_finish (result < 0 ? FSC_EXIT_FAILED : FSC_EXIT_DONE);
}

const FscCommand fsc_ctl_list = {
  .name = "list",
  .arguments = "[PATTERN]",
  .summary = "List what is cached",
  .description
  = "AGE is the time since it was opened, IDLE since it was last given to anyone, COST what "
    "opening\n"
    "it took. COHERENCE is how it is known to be what open() would give: watched by the kernel,\n"
    "checked with each request, or ttl: checked when it is older than a time-to-live. STATE:\n"
    "pinned, lent; held by the process that opened it; sealed in memory; negative (it is known\n"
    "that there is none); path, directory, nofollow: opened with O_PATH and the like. SIZE is\n"
    "that of content that never changes: what was unpacked or fetched, and sealed memory that was\n"
    "put. Of what was put under a name (put), STATE also says for how long it will be there.\n"
    "\n" FSC_HELP_PATTERNS "\n"
    "\n"
    "Examples:\n"
    "  fscachectl list\n"
    "  fscachectl list '/srv/models/*'\n"
    "  fscachectl list --json 'file:*' | jq -r '.[] | select(.hits == 0).uri'",
  .run = run_list,
  .prints = TRUE,
};

static int
run_info (FscCtl *ctl, int argc, char **argv)
{
  g_autoptr (FscacheClient) client = NULL;
  FscacheReply reply = { 0 };
  Printer printer = { 0 };
  int result;

  fsc_ctl_parse (ctl, NULL, &argc, &argv, 1, 1);
  client = fsc_ctl_connect (ctl);

  printer.json = ctl->json;
  result = fscache_info (client, argv[1], print_paragraph, &printer, &reply);
  if (ctl->json && printer.n > 0)
    end_json_array (&printer);
  if (result < 0)
    fsc_output_complain_reply (argv[1], &reply, result);
  return fsc_output_finish (result < 0 ? FSC_EXIT_FAILED : FSC_EXIT_DONE);
}

const FscCommand fsc_ctl_info = {
  .name = "info",
  .arguments = "URI",
  .summary = "Show all that is known of one resource in the cache",
  .description
  = "Prints one paragraph for each entry: path-only, directory and no-follow handles are entries\n"
    "of their own. A resource that is not cached is a failure (exit status 1).\n"
    "\n" FSC_HELP_NAMING "\n"
    "\n"
    "Examples:\n"
    "  fscachectl info /srv/a.bin\n"
    "  fscachectl info --json file:///srv/a.bin",
  .run = run_info,
  .prints = TRUE,
};
