/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How the content of files comes to their readers.
 *
 * By FUSE passthrough, the kernel reads and maps the cached handle by itself. That takes libfuse
 * 3.17, a kernel that has it, and the right to do it (CAP_SYS_ADMIN). There is one backing file for
 * a node, for as long as its readers' handle is there (keep.h); the kernel wants all opens of an
 * inode to be of one kind at a time. Only of local sources: with each open the kernel opens the
 * backing file again, which would ask the server of a remote one, and hang where that hangs.
 *
 * Else through the page cache, which is filled by splice() from the cached handle.
 */
#pragma once

#include "fscache/view/file.h"
#include "fscache/view/view.h"

/* Finds out what there is, and asks for it. */
void fsc_transport_negotiate (FscViewTransport *transport, struct fuse_conn_info *connection);

/* What is used, and why not the other, in a sentence. */
char *fsc_transport_describe (const FscViewTransport *transport);

/* Decides it for an open file, before the kernel is told, and writes it to *info; and the reverse,
 * when it is closed, before it is unshared. */
void fsc_transport_open (FscView *view, FscFile *file, struct fuse_file_info *info);
void fsc_transport_close (FscView *view, FscFile *file);

/* Ends the backing file of a handle that no open file shares any more, if it has one. */
void fsc_transport_close_backing (FscView *view, FscHandle *handle);
