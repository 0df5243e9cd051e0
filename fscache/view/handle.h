/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A descriptor with a number of users. The last one closes it.
 */
#pragma once

#include <glib.h>

#include "libclient/fscache.h"

typedef struct FscHandle
{
  int fd;
  gboolean is_local; /* on a file system that does not hang */
  guint64 source;    /* for fsc_gate_run(): what may hang together with using it */
  int backing;       /* the kernel's number for it, or 0; see transport.h */
  int n_references;  /* atomic */
} FscHandle;

/* Takes the descriptor. Asks no server. */
FscHandle *fsc_handle_new (int fd, gboolean is_local);

/* Whether two descriptors are duplicates: of one open file. FALSE if that cannot be told. */
gboolean fsc_handle_is_duplicate (const FscHandle *handle, int fd);

/* What is on a device that may hang. */
guint64 fsc_handle_get_source (guint64 dev);

FscHandle *fsc_handle_ref (FscHandle *handle);

/* Keeps errno. */
void fsc_handle_unref (FscHandle *handle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscHandle, fsc_handle_unref)
