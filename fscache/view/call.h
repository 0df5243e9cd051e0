/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One request of the kernel's, on its way to exactly one answer.
 *
 * INTERRUPTS. Whoever waits for an answer may be sent a signal, and then is answered EINTR at once,
 * although the thread that works for the call hangs. What it has asked for is cancelled; what it
 * finds all the same is thrown away: who answers is decided by one exchange (fsc_call_claim()).
 * Calls that change something at the source are not interrupted, because an answer of EINTR would
 * be taken for "nothing was done". But what they ask the service for (to make a file, to empty it)
 * is cancelled: who waits gets the service's answer, which on a source that hangs is EINTR, too,
 * and as with any other network file system does not say whether it will be done.
 */
#pragma once

#include "fscache/view/caller.h"
#include "fscache/view/file.h"
#include "fscache/view/view.h"

typedef struct FscCall FscCall;
typedef void (*FscCallFunc) (FscCall *call);

struct FscCall
{
  FscView *view;
  fuse_req_t request; /* only to be answered by who has claimed the call */
  FscCaller caller;
  FscNode *node; /* referenced */
  FscCallFunc func;
  int state;        /* atomic */
  int n_references; /* atomic */

  /* What it is about; not all of it is set for each operation. */
  char *name;
  FscFile *file;  /* referenced, or NULL */
  FscFile *other; /* the same: where is copied to */
  struct fuse_file_info info;
  mode_t mode; /* of create(), of fallocate(), of setattr() */
  uid_t uid;   /* of setattr() */
  gid_t gid;
  int mask; /* of access(), of setattr() */
  size_t size;
  off_t offset, other_offset;
  int whence;               /* of lseek() */
  struct timespec times[2]; /* as utimensat() takes them */
  void *data;               /* from g_malloc() */
  gboolean flag;            /* fdatasync() */
};

/* Returns NULL if the request was refused, and answered. */
FscCall *fsc_call_new (fuse_req_t request, fuse_ino_t node, const char *name);

/* The same for what concerns an open file, or may do so (`info` is NULL if it does not): nobody is
 * refused, because what is open may have been handed on. */
FscCall *fsc_call_new_for_file (fuse_req_t request, fuse_ino_t node,
                                const struct fuse_file_info *info);

/* Carries it out, now or later; takes it. */
void fsc_call_run (FscCall *call, guint64 source, FscCallFunc func);
void fsc_call_run_interruptibly (FscCall *call, guint64 source, FscCallFunc func);
void fsc_call_run_cancellably (FscCall *call, guint64 source, FscCallFunc func);

/* Whether to answer: TRUE for one alone. */
gboolean fsc_call_claim (FscCall *call);

/* Answers, unless it was answered. The error is an errno, positive or negative; 0 is success. */
void fsc_call_finish (FscCall *call, int error);
void fsc_call_reply_data (FscCall *call, const void *data, gsize length);
