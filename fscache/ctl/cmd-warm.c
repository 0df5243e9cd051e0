/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl warm: has a list of resources opened ahead of need, many at a time, and with --watch
 * again whenever one of them changes.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fscache/ctl/bar.h"
#include "fscache/ctl/ctl.h"
#include "fscache/ctl/output.h"

/* What the service lets one connection watch is a little more. */
#define WATCHES_OF_CLIENT 1000

#define JOBS_MAX 4096

typedef struct Warm Warm;

/* One resource of the list. */
typedef struct
{
  Warm *warm;
  char *name;
  double part; /* of it that is done, while it is opened */
  char *problem;
} Item;

struct Warm
{
  FscacheClient *client;
  GPtrArray *items;
  guint n_begun, n_done, n_failed;
  double parts; /* of those that are being opened */
  FscBar bar;
  FscCtl *ctl;
  guint n_watches;
};

static void
item_free (gpointer data)
{
  Item *item = data;

  g_free (item->name);
  g_free (item->problem);
  g_free (item);
}

/* The list */

/* One name a line, as it is; without empty lines, and those that begin with '#'. Returns what is
 * wrong, or NULL; free with g_free(). */
static char *
read_list (Warm *warm, FILE *file)
{
  char *line = NULL, *problem = NULL;
  size_t size = 0;
  ssize_t length;

  for (guint n = 1; problem == NULL && (length = getline (&line, &size, file)) >= 0; n++)
    {
      Item *item;

      if (length > 0 && line[length - 1] == '\n')
        line[--length] = '\0';
      if (strlen (line) != (size_t) length)
        problem = g_strdup_printf ("line %u has a zero byte; each name is a line", n);
      if (length == 0 || line[0] == '#' || problem != NULL)
        continue;
      item = g_new0 (Item, 1);
      item->warm = warm;
      item->name = g_strdup (line);
      g_ptr_array_add (warm->items, item);
    }
  free (line);
  return ferror (file) ? g_strdup (g_strerror (errno)) : problem;
}

static gboolean
load_list (Warm *warm, const char *name)
{
  gboolean is_input = strcmp (name, "-") == 0;
  FILE *file = is_input ? stdin : fopen (name, "re");
  g_autofree char *problem = file != NULL ? read_list (warm, file) : g_strdup (g_strerror (errno));

  if (problem != NULL)
    fsc_output_complain ("cannot read the list %s: %s", name, problem);
  if (file != NULL && !is_input)
    fclose (file);
  return problem == NULL;
}

/* Opening */

static void
draw (Warm *warm)
{
  g_autofree char *text = g_strdup_printf ("%u of %u", warm->n_done, warm->items->len);

  if (warm->n_failed > 0)
    {
      g_autofree char *before = text;

      text = g_strdup_printf ("%s, %u failed", before, warm->n_failed);
    }
  fsc_bar_draw (&warm->bar, (warm->n_done + warm->parts) / warm->items->len, text);
}

static void
set_part (Item *item, double part)
{
  item->warm->parts += part - item->part;
  item->part = part;
}

static void
item_progressed (uint64_t done, uint64_t total, void *data)
{
  Item *item = data;

  set_part (item, total > 0 ? MIN ((double) done / (double) total, 1) : 0);
  draw (item->warm);
}

/* Why it is not warm, or NULL. A directory or a connection cannot be shared; but it was opened to
 * be told so, and that is kept. */
static char *
find_problem (const Item *item, const FscacheReply *reply)
{
  if ((reply->code == FSCACHE_ERROR_BAD_REQUEST && reply->error == EISDIR)
      || (reply->code == FSCACHE_ERROR_NOT_REOPENABLE && reply->error == EISCONN))
    return NULL;
  if (reply->code != FSCACHE_OK)
    return g_strdup (reply->message);
  if (reply->source == FSCACHE_SOURCE_PASSED)
    return g_strdup_printf ("%s was opened, but is not kept: %s", item->name,
                            reply->coherence == FSCACHE_COHERENCE_UNCACHED
                                ? "its file system is passed through"
                                : "there is no room for it");
  return NULL;
}

static void
item_answered (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  Item *item = data;
  Warm *warm = item->warm;

  if (reply->fd >= 0)
    close (reply->fd);
  item->problem = find_problem (item, reply);
  set_part (item, 0);
  warm->n_done++;
  if (item->problem != NULL)
    {
      warm->n_failed++;
      fsc_bar_clear (&warm->bar);
      fsc_output_complain ("%s", item->problem);
    }
  draw (warm);
}

static void
begin_next (Warm *warm, guint32 timeout_ms)
{
  Item *item = warm->items->pdata[warm->n_begun++];
  FscacheRequest request = { .uri = item->name,
                             .sharing = FSCACHE_SHARED,
                             .options = FSCACHE_NO_FALLBACK,
                             .timeout_ms = timeout_ms,
                             .progress = warm->bar.is_terminal ? item_progressed : NULL,
                             .progress_data = item };
  int result = fscache_submit (warm->client, &request, 1, item_answered, item, NULL);

  if (result < 0)
    {
      FscacheReply reply = { .fd = -1, .code = FSCACHE_ERROR_NO_MEMORY };

      g_strlcpy (reply.message, g_strerror (-result), sizeof reply.message);
      item_answered (warm->client, 0, &reply, item);
    }
}

static void
wait_for_any (struct pollfd *pollfds, guint n)
{
  while (poll (pollfds, n, -1) < 0 && errno == EINTR)
    ;
}

static void
open_all (Warm *warm, guint jobs, guint32 timeout_ms)
{
  struct pollfd pollfd = { .fd = fscache_get_poll_fd (warm->client), .events = POLLIN };

  fsc_bar_begin (&warm->bar, "warm");
  while (warm->n_done < warm->items->len)
    {
      while (warm->n_begun < warm->items->len && warm->n_begun - warm->n_done < jobs)
        begin_next (warm, timeout_ms);
      if (warm->n_done == warm->items->len)
        break;
      wait_for_any (&pollfd, 1);
      fscache_dispatch (warm->client);
    }
  fsc_bar_clear (&warm->bar);
}

/* The summary */

static void
print_json (const Warm *warm, gint64 took_us)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();

  json_builder_begin_object (builder);
  fsc_output_add_int (builder, "asked", warm->items->len);
  fsc_output_add_int (builder, "warm", warm->n_done - warm->n_failed);
  fsc_output_add_int (builder, "failed", warm->n_failed);
  fsc_output_add_int (builder, "took_us", took_us);
  json_builder_set_member_name (builder, "failures");
  json_builder_begin_array (builder);
  for (guint i = 0; i < warm->items->len; i++)
    {
      const Item *item = warm->items->pdata[i];

      if (item->problem == NULL)
        continue;
      json_builder_begin_object (builder);
      fsc_output_add_string (builder, "name", item->name);
      fsc_output_add_string (builder, "message", item->problem);
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);
  fsc_output_print_json (builder, "\n");
}

static void
print_summary (const Warm *warm, gint64 took_us)
{
  char took[32];

  if (warm->ctl->json)
    print_json (warm, took_us);
  else
    printf ("%u of %u are warm, %u failed (in %s)\n", warm->n_done - warm->n_failed,
            warm->items->len, warm->n_failed, fsc_output_format_us ((guint64) took_us, took));
}

/* Keeping them warm: whatever is watched stays, and is opened again when it changes. */

static void
print_event (const Warm *warm, const Item *item, const FscacheEvent *event)
{
  const char *reason = fscache_event_reason_name (event->reason);

  if (warm->ctl->json)
    {
      g_autoptr (JsonBuilder) builder = json_builder_new ();

      json_builder_begin_object (builder);
      fsc_output_add_string (builder, "event", reason);
      fsc_output_add_string (builder, "name", item->name);
      fsc_output_add_string (builder, "message",
                             event->reply->code != FSCACHE_OK ? event->reply->message : NULL);
      fsc_output_print_json (builder, "\n");
    }
  else
    {
      g_autofree char *name = fsc_output_make_printable (item->name);

      printf ("%-12s %s\n", reason, name);
    }
  fflush (stdout);
}

static void
item_changed (FscacheClient *client, const FscacheEvent *event, void *data)
{
  const Item *item = data;
  Warm *warm = item->warm;

  if (event->reply->fd >= 0)
    close (event->reply->fd);
  if (event->is_last)
    {
      warm->n_watches--;
      fsc_output_complain_reply (item->name, event->reply, -EIO);
    }
  else if (event->reason != FSCACHE_EVENT_INITIAL)
    print_event (warm, item, event);
}

/* As many clients as it takes; they are there until the process ends. */
static int
watch_all (Warm *warm)
{
  guint n = (warm->items->len + WATCHES_OF_CLIENT - 1) / WATCHES_OF_CLIENT;
  g_autofree FscacheClient **clients = g_new (FscacheClient *, n);
  g_autofree struct pollfd *pollfds = g_new (struct pollfd, n);

  for (guint i = 0; i < n; i++)
    {
      clients[i] = fsc_ctl_connect (warm->ctl);
      pollfds[i] = (struct pollfd){ .fd = fscache_get_poll_fd (clients[i]), .events = POLLIN };
    }
  for (guint i = 0; i < warm->items->len; i++)
    {
      Item *item = warm->items->pdata[i];
      FscacheRequest request = { .uri = item->name, .sharing = FSCACHE_SHARED };
      int result
          = fscache_watch (clients[i / WATCHES_OF_CLIENT], &request, item_changed, item, NULL);

      if (result < 0)
        fsc_output_complain ("%s: cannot be watched: %s", item->name, g_strerror (-result));
      else
        warm->n_watches++;
    }
  while (warm->n_watches > 0)
    {
      wait_for_any (pollfds, n);
      for (guint i = 0; i < n; i++)
        fscache_dispatch (clients[i]);
    }
  for (guint i = 0; i < n; i++)
    fscache_disconnect (clients[i]);
  return FSC_EXIT_FAILED; /* nothing is left that could be watched */
}

/* The command */

static int
warm_all (Warm *warm, guint jobs, guint32 timeout_ms, gboolean is_watching)
{
  gint64 start = g_get_monotonic_time ();
  FscacheReply reply = { .fd = -1 };
  int result = fscache_ping (warm->client, &reply);

  if (result < 0)
    {
      fsc_output_complain_reply ("warm", &reply, result);
      return FSC_EXIT_FAILED;
    }
  open_all (warm, jobs, timeout_ms);
  print_summary (warm, g_get_monotonic_time () - start);
  if (is_watching && warm->items->len > 0 && fsc_output_finish (FSC_EXIT_DONE) == FSC_EXIT_DONE)
    return watch_all (warm);
  return fsc_output_finish (warm->n_failed > 0 ? FSC_EXIT_FAILED : FSC_EXIT_DONE);
}

static int
run_warm (FscCtl *ctl, int argc, char **argv)
{
  int jobs = 64;
  double timeout = 0;
  gboolean is_watching = FALSE;
  const GOptionEntry entries[] = {
    { "jobs", 'j', 0, G_OPTION_ARG_INT, &jobs, "How many to open at a time (default: 64)", "N" },
    { "timeout", 't', 0, G_OPTION_ARG_DOUBLE, &timeout,
      "Give up on one after this time (default: the service's deadline)", "SECONDS" },
    { "watch", 'w', 0, G_OPTION_ARG_NONE, &is_watching,
      "Keep them warm: stay, and have opened again what changes", NULL },
    { NULL },
  };
  Warm warm = { .ctl = ctl };
  int status = FSC_EXIT_FAILED;

  fsc_ctl_parse (ctl, entries, &argc, &argv, 1, 1);
  if (jobs < 1 || jobs > JOBS_MAX)
    return fsc_ctl_refuse_usage (ctl, "--jobs takes a number from 1 to %d", JOBS_MAX);
  if (!(timeout >= 0 && timeout <= 86400))
    return fsc_ctl_refuse_usage (ctl, "--timeout takes up to a day, in seconds");

  warm.items = g_ptr_array_new_with_free_func (item_free);
  if (load_list (&warm, argv[1]))
    {
      warm.client = fsc_ctl_connect (ctl);
      status = warm_all (&warm, (guint) jobs, (guint32) (timeout * 1000), is_watching);
      fscache_disconnect (warm.client);
    }
  g_ptr_array_unref (warm.items);
  return status;
}

const FscCommand fsc_ctl_warm = {
  .name = "warm",
  .arguments = "FILE|-",
  .summary = "Have a list of resources opened ahead of need",
  .description
  = "The list has one URI or path a line, as it is; empty lines and those that begin with # are\n"
    "left out (a file called #a is ./#a). \"-\" is standard input. What the service opens it "
    "keeps,\n"
    "as if a program had asked for it: until idle-time ends it, or others need the room.\n"
    "\n"
    "Of connections (tcp:, unix:) the pool is filled to its min-idle.\n"
    "\n"
    "Each that fails is one line on stderr, and makes the exit status 1; the others are opened "
    "all\n"
    "the same. With --watch it stays then, and tells of each change in one line; what is watched\n"
    "is neither evicted nor dropped for being idle.\n"
    "\n"
    "What is to be warm whenever the service starts is for [warm] in its configuration.\n"
    "\n" FSC_HELP_NAMING "\n"
    "\n"
    "Examples:\n"
    "  fscachectl warm models.txt\n"
    "  find /srv/models -name '*.zst' -printf 'unpack://%p\\n' | fscachectl warm -\n"
    "  fscachectl warm --watch models.txt",
  .run = run_warm,
  .prints = TRUE,
};
