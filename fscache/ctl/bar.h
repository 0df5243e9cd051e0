/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How far something has come, as a bar in the last line of a terminal. Where stderr is no terminal
 * there is none, nor before 0.3 s have passed: most things are done by then.
 */
#pragma once

#include <glib.h>

#include "libclient/fscache.h"

typedef struct
{
  const char *name; /* borrowed */
  gint64 since;
  gint64 drawn_at;
  gboolean is_terminal;
  gboolean is_shown;
} FscBar;

void fsc_bar_begin (FscBar *bar, const char *name);

/* Draws it: `part` of 0 to 1 is done, or, below 0, nobody knows. `text` stands behind it. */
void fsc_bar_draw (FscBar *bar, double part, const char *text);

/* Removes it, for other lines to be written. It comes back with the next fsc_bar_draw(). */
void fsc_bar_clear (FscBar *bar);

/* fscache_open_with(), with a bar of the bytes while it takes long. */
int fsc_bar_open (FscacheClient *client, const FscacheRequest *request, FscacheReply *reply);
