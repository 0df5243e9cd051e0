/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content: what some handles are of, and what never changes. Of each user it is kept once, however
 * many resources have it: handles of equal content have one descriptor.
 *
 * Size and digest are the word of the opener, which has made the content. Whether it is sealed, the
 * kernel says; only what is sealed is shared, and no other user's ever. What is in a file without a
 * name cannot be sealed: its user can give himself the right to write to it. But not unseen, for
 * that, and writing, gives it another time of change, which nobody can set.
 */
#pragma once

#include <glib.h>
#include <time.h>

#include "protocol/codec.h"

typedef struct
{
  guint n_refs;
  guint n_kept;       /* handles of it that are in the cache */
  int fd;             /* owned; -1: a holder has it */
  guint64 bytes;      /* that it keeps, of memory or in a file */
  guint32 credential; /* whose it is, if it is among others */
  GHashTable *others; /* or NULL */
  FscContentInfo info;
  struct timespec changed; /* st_ctim, when it came */
} FscContent;

/* What an opener says that `fd` is. Takes the descriptor, or none (-1). Returns NULL if it cannot
 * be: *fault is then what the opener has done. */
FscContent *fsc_content_new (int fd, const FscContentInfo *info, const char **fault);

/* The same with a description of its own, which has an offset of its own; NULL, with errno, if it
 * cannot be. What is opened is in memory, or a local file: that does not wait. */
FscContent *fsc_content_reopen (const FscContent *content);

/* Whether it still is what it was when it came. */
gboolean fsc_content_is_intact (const FscContent *content);

FscContent *fsc_content_ref (FscContent *content);
void fsc_content_unref (FscContent *content);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscContent, fsc_content_unref)

/* All contents among which equal ones are found: they are borrowed, and leave by themselves. */
GHashTable *fsc_contents_new (void);

/* Takes a content and gives its equal of the same user among the others; it becomes one of them, if
 * it may be shared and there is none. */
FscContent *fsc_contents_unite (GHashTable *others, guint32 credential, FscContent *content);
