/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is open: a file of a source; one of the view's own (status.json, metrics), which is a text
 * that is made when it is opened; or a folder.
 */
#pragma once

#include <glib.h>

#include "fscache/view/handle.h"
#include "fscache/view/view.h"

typedef struct FscCall FscCall;
typedef struct FscFolder FscFolder;

typedef struct
{
  FscNode *node;                 /* referenced */
  FscHandle *handle;             /* or NULL */
  GString *text;                 /* or NULL */
  FscFolder *folder;             /* or NULL */
  GList link;                    /* in the list of all that are open */
  GList own_link;                /* and in that of the node, with a handle of its own */
  gboolean has_own_handle;       /* not that of all who read */
  gboolean is_sharing;           /* see keep.h */
  gboolean is_passed, is_cached; /* see transport.h */
  FscNodeContent content;        /* when it was opened for reading; all 0: it cannot be told */
  gboolean is_settled;           /* it cannot have changed without another time than that */
  int is_unread;                 /* atomic; the pages that the kernel had before are gone */
  int n_references;              /* atomic */
} FscFile;

FscFile *fsc_file_new (FscView *view, FscNode *node);
FscFile *fsc_file_ref (FscFile *file);
void fsc_file_unref (FscView *view, FscFile *file);

/* One for writing, in cached/, or of a directory. Takes the descriptor. */
void fsc_file_set_own_handle (FscFile *file, int fd, gboolean is_local);

/* Tells the kernel of it, whose it is then. Takes it. */
void fsc_file_reply (FscCall *call, FscFile *file);

/* It is read. Who opens a file that has changed has the kernel drop its pages; and only when he
 * reads it, that is done. */
void fsc_file_note_pages (FscFile *file);

/* Reads into the kernel's hands at once, without a call, if the file cannot hang. */
gboolean fsc_file_read_quickly (fuse_req_t request, FscFile *file, size_t size, off_t offset);
void fsc_file_read (FscCall *call);
void fsc_file_write (FscCall *call);
void fsc_file_flush (FscCall *call);
void fsc_file_sync (FscCall *call);
void fsc_file_seek (FscCall *call);
void fsc_file_allocate (FscCall *call);
void fsc_file_copy (FscCall *call);
void fsc_file_release (FscCall *call);

/* The same at once, without a call, if closing cannot hang. */
gboolean fsc_file_release_quickly (fuse_req_t request, FscFile *file);

/* Of setattr(). */
void fsc_file_set_attributes (FscCall *call);
