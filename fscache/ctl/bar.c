/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A bar in the last line of a terminal; see bar.h.
 */
#include "fscache/ctl/bar.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fscache/ctl/output.h"

#define PATIENCE_US (300 * 1000)
#define PAUSE_US (50 * 1000)
#define WIDTH 24

void
fsc_bar_begin (FscBar *bar, const char *name)
{
  *bar = (FscBar){ .name = name,
                   .since = g_get_monotonic_time (),
                   .is_terminal = isatty (STDERR_FILENO) != 0 };
}

static guint
get_columns (void)
{
  struct winsize size;

  return ioctl (STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void
write_line (const char *line)
{
  ssize_t ignored G_GNUC_UNUSED = write (STDERR_FILENO, line, strlen (line));
}

/* What a terminal would obey is not for it: names may hold anything. */
static void
make_printable (char *text)
{
  for (char *c = text; *c != '\0'; c++)
    if (g_ascii_iscntrl (*c) || (*c & 0x80) != 0)
      *c = '?';
}

/* Shortens the name, from its beginning, so that all fits into one line. */
void
fsc_bar_draw (FscBar *bar, double part, const char *text)
{
  char cells[WIDTH + 1];
  g_autofree char *end = NULL;
  g_autofree char *name = NULL;
  g_autofree char *line = NULL;
  gint64 time = g_get_monotonic_time ();
  gsize room;

  if (!bar->is_terminal || time - bar->since < PATIENCE_US
      || (bar->is_shown && time - bar->drawn_at < PAUSE_US))
    return;
  bar->drawn_at = time;
  for (guint i = 0; i < WIDTH; i++)
    cells[i] = (double) i < part * WIDTH ? '#' : '.';
  cells[WIDTH] = '\0';
  end = part >= 0 ? g_strdup_printf (" [%s] %3.0f%% %s", cells, MIN (part, 1) * 100, text)
                  : g_strdup_printf (" %s", text);
  room = get_columns () - MIN (get_columns () - 1, strlen (end) + 1);
  name = g_strdup (bar->name + (strlen (bar->name) > room ? strlen (bar->name) - room : 0));
  line = g_strconcat (name, end, NULL);
  make_printable (line);
  bar->is_shown = TRUE;
  write_line ("\r");
  write_line (line);
  write_line ("\033[K");
}

void
fsc_bar_clear (FscBar *bar)
{
  if (bar->is_shown)
    write_line ("\r\033[K");
  bar->is_shown = FALSE;
}

static void
show_bytes (uint64_t done, uint64_t total, void *data)
{
  FscBar *bar = data;
  double seconds = (double) (g_get_monotonic_time () - bar->since) / G_USEC_PER_SEC;
  char a[32], b[32], c[32];
  g_autofree char *text = NULL;

  text
      = g_strdup_printf ("%s%s%s  %s/s", fsc_output_format_bytes (done, a), total > 0 ? " of " : "",
                         total > 0 ? fsc_output_format_bytes (total, b) : "",
                         fsc_output_format_bytes ((guint64) ((double) done / seconds), c));
  fsc_bar_draw (bar, total > 0 ? (double) done / (double) total : -1, text);
}

int
fsc_bar_open (FscacheClient *client, const FscacheRequest *request, FscacheReply *reply)
{
  FscacheRequest own = *request;
  FscBar bar;
  int result;

  fsc_bar_begin (&bar, request->uri);
  own.progress = bar.is_terminal ? show_bytes : NULL;
  own.progress_data = &bar;
  result = fscache_open_with (client, &own, reply);
  fsc_bar_clear (&bar);
  return result;
}
