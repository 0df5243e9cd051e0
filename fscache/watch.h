/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watches: how one credential's entries learn that a path may have come to mean something else,
 * before anybody who could know asks for it.
 *
 * The way of a path is a row of steps, through symlinks too: in this directory this name was looked
 * up. An opener goes that way, and adds an inotify watch to each directory before it looks up a
 * name in it, and to the file before it looks whether it may be opened; then it reports the row.
 * Rows that begin alike share their steps, so that the steps of all entries are a trie. The kernel
 * queues an event before the system call that causes it returns: after fsc_watches_read(), no
 * change that was complete before has gone unnoticed by any entry that watches.
 *
 * What happens between the opener's look and its report is not lost either: events are kept in a
 * journal for a while, and a row that one of them concerns is refused. So is one whose watch was
 * removed here while the opener, which was given the same one by the kernel, did not know.
 *
 * The inotify instance belongs to one credential: whoever holds it can change all its watches, so
 * it is lent to nobody but those openers of that credential that go along paths.
 */
#pragma once

#include <glib.h>

#include "protocol/codec.h"

typedef struct FscWatches FscWatches;
typedef struct FscWatchNode FscWatchNode;

/* What an entry has of it; lives inside the entry. All zero: it does not watch. */
typedef struct FscWatch
{
  FscWatchNode *node;
  struct FscWatch *next, *previous;
  gboolean hears_content; /* to be set when it watches: what is written to the file concerns it */
} FscWatch;

typedef enum
{
  FSC_CHANGE_NAME,       /* a name on the way was made, removed or renamed: it does not watch now */
  FSC_CHANGE_LAST_NAME,  /* the same, and it was the last one of the way */
  FSC_CHANGE_ATTRIBUTES, /* of what is on the way: who may search or read it, or what the file has
                            in it. It watches on */
  FSC_CHANGE_LOST,       /* nobody knows what has changed: it does not watch now */
} FscChange;

/* Called for each entry that a change concerns. May remove this watch, and no other. */
typedef void (*FscWatchFunc) (FscWatch *watch, FscChange change, gpointer data);

typedef struct
{
  guint64 directories, files; /* that are watched now */
  guint64 entries;            /* that watch now */
  guint64 events, overflows;  /* since the start */
  guint64 told;               /* since the start: changes that concerned an entry */
} FscWatchCounters;

FscWatches *fsc_watches_new (FscWatchFunc func, gpointer data, GError **error);

/* Nothing may watch any more. */
void fsc_watches_free (FscWatches *watches);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscWatches, fsc_watches_free)

/* The inotify instance: borrowed. It can be read when there are events. */
int fsc_watches_get_fd (const FscWatches *watches);

/* The number of the last event. To be taken before an opener is told to go along a path. */
guint64 fsc_watches_get_sequence (const FscWatches *watches);

/* Makes an entry watch: `steps` is what an opener reports that was told to when the last event was
 * `since`. Returns FALSE if something on the way has changed meanwhile, or may have; then nobody
 * needs the steps any more. */
gboolean fsc_watches_add (FscWatches *watches, FscWatch *watch, const FscStep *steps, guint n_steps,
                          guint64 since);

/* Ends those watches of what an opener reports that nobody needs: for a report that is not. */
void fsc_watches_forget (FscWatches *watches, const FscStep *steps, guint n_steps);

/* Ends all watches that nobody needs, also those that openers are just adding, whose reports will
 * be refused: for when one has ended before it could report what it had added. It takes the kernel
 * some microseconds for each watch that there is. */
void fsc_watches_end_strays (FscWatches *watches);

/* Does nothing if it does not watch. */
void fsc_watches_remove (FscWatches *watches, FscWatch *watch);

/* Something has changed of which there are no events: nothing watches any more. */
void fsc_watches_lose (FscWatches *watches);

/* Reads all events that there are, and tells whom they concern. */
void fsc_watches_read (FscWatches *watches);

const FscWatchCounters *fsc_watches_get_counters (const FscWatches *watches);
