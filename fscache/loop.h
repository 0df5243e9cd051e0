/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The service's main loop: one epoll descriptor as one GSource, so that an iteration costs the same
 * with ten descriptors and with ten thousand.
 */
#pragma once

#include <glib.h>
#include <sys/epoll.h>

typedef struct FscLoop FscLoop;
typedef struct FscPoll FscPoll;
typedef struct FscLoopGroup FscLoopGroup;

/* How much of a turn one user may have, where others wait: in microseconds. */
#define FSC_LOOP_SLICE 25

/* A watched descriptor; lives inside its owner. The descriptor is borrowed. */
struct FscPoll
{
  int fd;
  void (*ready) (FscPoll *poll, guint32 events);
  gpointer data;
  FscLoopGroup *group; /* or NULL: it is alone */
};

/* `before_wait` is called before each wait for events: what was collected while events were handled
 * is sent there, so that one message can carry what several events asked for. It returns whether
 * something is left, and then is called again after a look at what is ready, without a wait. */
FscLoop *fsc_loop_new (gboolean (*before_wait) (gpointer data), gpointer data, GError **error);
void fsc_loop_free (FscLoop *loop);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscLoop, fsc_loop_free)

/* `events` as of epoll_ctl(2): level-triggered unless EPOLLET is in it. Returns FALSE if the kernel
 * refuses, with errno set. */
gboolean fsc_loop_add (FscLoop *loop, FscPoll *poll, guint32 events);
void fsc_loop_modify (FscLoop *loop, FscPoll *poll, guint32 events);

/* After this `ready` is not called any more, not even for an event that was fetched already. */
void fsc_loop_remove (FscLoop *loop, FscPoll *poll);

/* Descriptors that have their turn together: a turn of the loop asks each group for what is ready,
 * `most` at a time, and not again once that has taken FSC_LOOP_SLICE. So whoever has a thousand
 * descriptors that are always ready keeps nobody waiting for much longer than that. `after`, or
 * NULL, is called when that is done. NULL with errno set on failure. Nothing may be in it when it
 * is freed. */
FscLoopGroup *fsc_loop_group_new (FscLoop *loop, guint most, void (*after) (gpointer data),
                                  gpointer data);
void fsc_loop_group_free (FscLoopGroup *group);

/* As g_timeout_add(), which is not to be used while the loop runs: it would not be noticed before
 * the next of GLib's turns. */
guint fsc_loop_add_timeout (FscLoop *loop, guint ms, GSourceFunc func, gpointer data);

/* When this turn began: the monotonic time, in microseconds, without asking for it again. */
gint64 fsc_loop_get_time (FscLoop *loop);
