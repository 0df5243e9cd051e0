/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who asks. Every request that names something goes through here before anything is done for it;
 * what is done with an open file was allowed when it was opened.
 *
 * A VIEW OF ROOT'S SERVES ALL, each as the user that he is: whatever the service is asked for, it
 * is asked with a client that speaks for the caller (fscache_connect_as()), so that the source, the
 * list of what is cached, and what is made, are that user's. A view of another user's serves that
 * user alone, and only with the group and the groups that the view has: it can be nobody else.
 *
 * WHO THE CALLER IS the kernel says, but for his supplementary groups. Those are read from /proc,
 * while he waits. If they cannot be, or the user and group that are read with them are not those of
 * the request, it is EACCES: with fewer groups he might be given more, for a group may also be what
 * is kept out.
 *
 * To read them costs as much as half an open. So that a thread has those of the view is believed
 * for as long as names and attributes are (FSC_VIEW_TIMEOUT): a thread changes its groups with
 * privileges only, or by starting a program that has them. Where the kernel keeps no names, they
 * are read for each call.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>
#include <time.h>

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "libclient/fscache.h"

typedef struct FscView FscView;
typedef struct FscListing FscListing;
typedef struct FscViewUser FscViewUser;
typedef struct FscCallers FscCallers;

typedef struct
{
  FscView *view;
  uid_t uid;
  gid_t gid;
  pid_t pid;
  FscViewUser *user; /* another user than the view's own, once connected; or NULL */

  /* Once connected: whom to ask, and what he has said; a number for this identity and no other. */
  FscacheClient *client; /* atomic: see fsc_caller_cancel() */
  FscListing *listing;
  guint64 number;

  FscacheCancel cancel; /* of all that he has asked for */
} FscCaller;

/* To be cleared when the call ends. */
void fsc_caller_init (FscCaller *caller, FscView *view, fuse_req_t request);
void fsc_caller_clear (FscCaller *caller);

/* Whether anything is done for him; else it is EACCES. */
gboolean fsc_caller_is_served (FscCaller *caller);

/* Fills in what there is once connected: at the first need, because it waits for the service.
 * Returns 0 or a negative errno; that there is no service is none, but the client will say so. */
int fsc_caller_connect (FscCaller *caller);

/* The same if it need not wait for the service; else FALSE. */
gboolean fsc_caller_connect_quickly (FscCaller *caller);

/* He does not wait any more: what was asked for him ends, in whatever thread that is. */
void fsc_caller_cancel (FscCaller *caller);

/* As access(), utimensat(), chmod() and chown() would answer the caller for a path-only handle: 0
 * or a negative errno. Connected. */
int fsc_caller_access (const FscCaller *caller, int fd, int mask);
int fsc_caller_set_times (const FscCaller *caller, int fd, const struct timespec times[2]);
int fsc_caller_set_mode (const FscCaller *caller, int fd, mode_t mode);
int fsc_caller_set_owner (const FscCaller *caller, int fd, uid_t uid, gid_t gid);

/* The clients of users other than the view's own. */
FscCallers *fsc_callers_new (FscView *view);
void fsc_callers_free (FscCallers *callers);

/* fsc_view_let_go() for all of them. */
void fsc_callers_let_go (FscCallers *callers, gboolean all);
