/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the kernel knows of the view: inodes.
 *
 * A NODE IS A NAME AND A FILE. A name of which the source is replaced leads to another node, with
 * another inode, other pages in the kernel's cache, and another backing file. So a node never
 * changes what it is, what is open stays what it was, and whoever comes to a node with the wrong
 * file in his hands (look.c, file.c) answers ESTALE: the kernel then asks for all names on the way
 * again, and comes to the right one.
 *
 * WHERE THAT DOES NOT TELL, because a server gives the number of an inode to what replaces it, size
 * and times do: who comes with a handle of something else than the readers have retires the node.
 * It stays what it was, and is not found any more (fsc_nodes_retire()).
 *
 * LIFETIME. The kernel holds a reference for each time that it was told of a node, and gives them
 * back with FORGET; a call and an open file hold one each, because the kernel may forget what a
 * call that was interrupted still works with. The number that the kernel has for a node is its
 * address.
 */
#pragma once

#include <glib.h>
#include <sys/stat.h>

#include "fscache/view/tree.h"

typedef struct FscNodes FscNodes;
typedef struct FscHandle FscHandle;

/* All zero for what is of the view's own; the errno of a barrier stands for the inode. */
typedef struct
{
  guint64 dev, inode;
  gint64 born, born_nsec; /* numbers of inodes are used again */
} FscNodeIdentity;

/* What changes when a file is written to. Of a source that is not local also which handle it was
 * seen by: the service's, for a caller. */
typedef struct
{
  gint64 size, mtime, mtime_nsec, ctime, ctime_nsec;
  guint64 caller, generation;
} FscNodeContent;

typedef struct
{
  char *path;
  FscNodeIdentity identity;
  gsize edition; /* atomic, set with the lock of the table; 0: it is to be found */
  FscPlace place;
  char *target;       /* what libfscache is asked for; NULL for what is of the view's own */
  mode_t type;        /* S_IFMT of the mode */
  gboolean is_local;  /* on a file system that does not hang */
  int barrier;        /* an errno: it may be seen, but not entered */
  guint64 source;     /* see fsc_node_get_source_below() */
  gsize n_references; /* atomic; 0 only with the lock of the table */

  /* With the node's own lock. */
  GMutex lock;
  FscHandle *reading;    /* which all that read share, or NULL; see keep.h */
  FscNodeContent shared; /* what that was of when it was opened; all 0: it cannot be told */
  guint n_sharing;       /* that do; 0: it is kept for those who come next */
  gboolean is_kept;      /* with the lock of the keeper, too: in its list since then */
  gint64 kept_since;
  GList kept_link;
  guint64 offered_to;     /* whose next open takes it unasked, see fsc_nodes_doubt() */
  gint64 offered_until;   /* 0: nobody's */
  GQueue own;             /* of FscFile: those with a handle of their own */
  guint n_passed;         /* open files that the kernel reads by itself */
  guint n_cached;         /* and those that it reads through the cache of this node */
  gint64 seen_at;         /* when its name last led to it, on the monotonic clock */
  FscNodeContent content; /* what the kernel was told last */
  FscNodeContent pages;   /* what the pages that it has are of; all 0: nobody knows */
} FscNode;

FscNodes *fsc_nodes_new (void);

/* With all nodes, whoever holds references to them. */
void fsc_nodes_free (FscNodes *nodes);
guint fsc_nodes_count (FscNodes *nodes);

/* With one reference more, which the caller owns. What is of another type is another node: a server
 * may give a directory the number of the file that it replaces, and in cached/ one user may have a
 * directory where another has a file. `is_local` matters only if it is not there yet. */
FscNode *fsc_nodes_get (FscNodes *nodes, const char *path, const FscNodeIdentity *identity,
                        mode_t type, gboolean is_local);

FscNode *fsc_node_ref (FscNode *node);
void fsc_node_unref (FscNodes *nodes, FscNode *node, guint64 n);

/* Whoever looks its name up from now on finds another node. */
void fsc_nodes_retire (FscNodes *nodes, FscNode *node);

gboolean fsc_node_is_retired (FscNode *node);

/* One that was never to be found: for who cannot share one. */
FscNode *fsc_nodes_get_own (FscNodes *nodes, const char *path, const FscNodeIdentity *identity,
                            mode_t type, gboolean is_local);

/* A small number for a device: 0 for the first that is asked for. */
guint fsc_nodes_get_device (FscNodes *nodes, guint64 dev);

/* An open has come to a node that its name does not lead to any more: for a while, who looks that
 * up must not take anybody's word for it, and offers the handle to the open that follows; or, of a
 * source that is not local, gets a node of his own. Otherwise a file that is replaced all the time
 * could never be opened. */
void fsc_nodes_doubt (FscNodes *nodes, const char *path);
gboolean fsc_nodes_is_doubtful (FscNodes *nodes, const char *path);

FscNodeIdentity fsc_node_get_identity (const struct statx *st);
FscNodeContent fsc_node_get_content (const struct statx *st);

/* Not if it cannot be told; whatever handles they were seen by. */
gboolean fsc_node_content_is_same (const FscNodeContent *a, const FscNodeContent *b);
gboolean fsc_node_is (const FscNode *node, const struct statx *st);

/* Its name has led to it, when that was asked at this time. */
void fsc_node_see (FscNode *node, gint64 time);
gint64 fsc_node_get_seen (FscNode *node);

/* The kernel is about to be told this. */
void fsc_node_tell (FscNode *node, const struct statx *st);

/* For fsc_gate_run(): what may hang together with looking up this path in a node. (With the node
 * itself: its `source`; with what is open: that of its handle.) A device, if it is one that may.
 * Else a mount point may, so it is the name that counts; and in cached/, where nobody knows the
 * device, the folder. */
guint64 fsc_node_get_source_below (const FscNode *node, const char *path);
