/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Listings: below open/file/ those of the source, which it is asked for when the directory is
 * opened; else of the view's own.
 */
#pragma once

#include "fscache/view/call.h"

void fsc_folder_open (FscCall *call);
void fsc_folder_read (FscCall *call);
void fsc_folder_free (FscFolder *folder);

/* A listing of the view's own: `mode` is S_IFDIR or S_IFREG. */
void fsc_folder_add (FscFolder *folder, const char *name, mode_t mode);
