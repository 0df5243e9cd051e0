/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One opener process as the service sees it: its socket, the jobs it has been given, the handles it
 * holds. What it sends is checked like what a client sends; one that answers nonsense is ended.
 *
 * An opener ends in one way: fsc_opener_end(), by whoever notices. The process is killed, `failed`
 * is called with the jobs it has not answered, and everything it held is dead.
 */
#pragma once

#include <glib.h>

#include "fscache/cache.h"
#include "fscache/handle.h"
#include "fscache/loop.h"
#include "fscache/spawner.h"

typedef struct FscOpener FscOpener;

typedef struct
{
  /* It has started, or has answered all it was given, or holds nothing any more: it may be given
   * more, or be ended when it has been idle for long. */
  void (*idle) (FscOpener *opener, gpointer data);
  void (*done) (FscOpener *opener, FscJob *job, FscOutcome *outcome, gpointer data);
  void (*progressed) (FscOpener *opener, FscJob *job, const FscProgress *progress, gpointer data);
  /* It was told to receive what this job is about to put. `socket`, which is taken, is the other
   * end of the socket over which that comes. */
  void (*receiving) (FscOpener *opener, FscJob *job, int socket, gpointer data);
  /* It was told to hand something out, and has not yet. */
  void (*handing) (FscOpener *opener, gpointer data);
  /* It is gone. `jobs` (borrowed) are those it has not answered; `why` continues "the opener ...".
   */
  void (*failed) (FscOpener *opener, GPtrArray *jobs, const char *why, gpointer data);
} FscOpenerEvents;

/* Starts the command; the caller has a reference. `inotify` is lent to it, or -1. */
FscOpener *fsc_opener_new (FscLoop *loop, FscLoopGroup *group, FscSpawner *spawner,
                           char *const *command, const FscUser *user, int inotify,
                           const FscOpenerEvents *events, gpointer data, GError **error);
void fsc_opener_unref (FscOpener *opener);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscOpener, fsc_opener_unref)

guint32 fsc_opener_get_id (const FscOpener *opener); /* the spawner's number for it */
gboolean fsc_opener_is_idle (const FscOpener *opener);
gboolean fsc_opener_is_starting (const FscOpener *opener);
guint fsc_opener_get_n_held (const FscOpener *opener);
gint64 fsc_opener_get_idle_since (const FscOpener *opener);

/* Gives as many of the jobs as fit into one packet to an idle opener. Returns how many; borrowed
 * until done. */
guint fsc_opener_give (FscOpener *opener, FscJob *const *jobs, guint n_jobs);

/* Has it receive what a client is to put, for which it need not be idle, only not be starting. The
 * client may take so many microseconds. */
void fsc_opener_receive (FscOpener *opener, FscJob *job, gint64 timeout);

/* A job is not to be answered any more: it is forgotten, and its answer will be. */
void fsc_opener_forget (FscOpener *opener, FscJob *job);

/* The jobs that it has not answered. Borrowed; valid until anything happens. */
GPtrArray *fsc_opener_get_jobs (FscOpener *opener);

/* Whether it may have added watches of which nobody will learn, if it ends now. */
gboolean fsc_opener_has_strays (const FscOpener *opener);

/* When it was asked the oldest of what it owes: to start, to answer, to hand out, to tell what it
 * has received (from when on the client had to have sent that); 0: nothing. */
gint64 fsc_opener_get_asked_since (const FscOpener *opener);

/* Ends it: it was at fault, is stuck, or, without `why`, is not needed. */
void fsc_opener_end (FscOpener *opener, const char *why);
