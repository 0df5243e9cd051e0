/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-view: the cache as a file system. It is a plain user of libfscache and of libfuse's
 * low-level interface; nothing here knows the protocol or the service.
 *
 * A request comes in by operations.c, which makes an FscCall of it (call.h); that is carried out by
 * look.c (names and attributes), file.c (open files), folder.c (listings), attribute.c (extended
 * attributes) or entry.c (what is done to the cache), in the thread that it came with or, if its
 * source hangs, later (gate.h).
 */
#pragma once

#include <glib.h>

#include "fscache/view/gate.h"
#include "fscache/view/node.h"
#include "libclient/fscache.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

typedef struct FscView FscView;
typedef struct FscListing FscListing;
typedef struct FscNotifier FscNotifier;
typedef struct FscCallers FscCallers;
typedef struct FscKeeper FscKeeper;

/* For so long the kernel may answer for names and attributes itself, unless all is to be exact, or
 * there are users who may see what others may not: it would not ask for each of them. It is as long
 * as libfscache borrows without a sign of life from the service. */
#define FSC_VIEW_TIMEOUT 0.1

/* How files are read. */
typedef struct
{
  gboolean wants_passthrough, wants_splice; /* what the options say */
  gboolean has_passthrough, has_splice;
  const char *why_no_passthrough, *why_no_splice; /* or NULL */
} FscViewTransport;

struct FscView
{
  char *mountpoint;
  const char *socket; /* the caller's; or NULL: the default */
  gboolean is_exact;
  gboolean is_read_only;
  gboolean has_others; /* the kernel lets other users come */
  gboolean is_greeted; /* atomic: the kernel has its first answer */
  uid_t uid;           /* of this process */
  double timeout;
  FscViewTransport transport;

  FscacheClient *client; /* of this user */
  FscCallers *callers;   /* and those of others */
  FscNodes *nodes;
  FscNode *root;
  FscGate *gate;
  FscListing *listing; /* that this user has asked for */
  FscNotifier *notifier;
  FscKeeper *keeper;
  struct fuse_session *session;
  GMutex lock;
  GQueue files;                  /* of FscFile: what is open; with the lock */
  void (*ready) (gpointer data); /* called once, when the kernel has said what it can */
  gpointer ready_data;
  gsize n_opens, n_reads; /* atomic; of sources, as far as the kernel has asked */
};

/* The node that the kernel has this number for. */
FscNode *fsc_view_get_node (const FscView *view, fuse_ino_t number);
fuse_ino_t fsc_view_get_number (const FscView *view, const FscNode *node);

/* Makes what there is in it. The client and the session are the caller's. */
void fsc_view_start (FscView *view, FscacheClient *client, struct fuse_session *session);

/* How many descriptors each of `n` may keep that are not open just now: clients, for borrowing, and
 * the keeper. */
guint fsc_view_get_limit (guint n);

/* No request may be under way any more; what is open is closed. */
void fsc_view_end (FscView *view);

/* Closes what is kept for borrowing: all of it, or what does not hold any more. */
void fsc_view_let_go (FscView *view, gboolean all);
