/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line: as that of other file systems, so that mount(8) and fstab(5) can give it.
 */
#pragma once

#include <glib.h>

typedef struct
{
  char *mountpoint;
  char *socket;   /* absolute; or NULL: the default */
  GString *mount; /* what libfuse is given with -o */
  gboolean is_foreground, is_debugged, is_version;
  gboolean is_exact, is_read_only;
  gboolean has_others; /* allow_other, or allow_root */
  gboolean wants_passthrough, wants_splice, wants_auto_unmount;
} FscViewOptions;

/* Returns FALSE with `error` set if they are wrong; --help prints and exits. */
gboolean fsc_view_options_parse (FscViewOptions *options, int *argc, char ***argv, GError **error);

void fsc_view_options_clear (FscViewOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FscViewOptions, fsc_view_options_clear)
