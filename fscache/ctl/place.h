/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Puts descriptors on chosen numbers, before exec. Sources and targets may overlap in any way, as
 * in a swap of two. Whatever was open on a target is closed, as dup2(2) does.
 */
#pragma once

#include <glib.h>

typedef struct
{
  int source; /* O_CLOEXEC; owned by the caller until it is placed */
  int target; /* no two are the same */
} FscPlacement;

/* Makes a copy of `fd`, O_CLOEXEC, that is on no target. Returns it (owned by the caller), or -1
 * with errno set. */
int fsc_place_dup_aside (int fd, const FscPlacement *placements, gsize n);

/* Places all. Only the targets are without O_CLOEXEC afterwards; the sources, which remain open, go
 * away in exec. Returns the number that could not be placed in *failed and FALSE with errno set;
 * the descriptors are then in no defined order, and the process should exit. */
gboolean fsc_place_all (FscPlacement *placements, gsize n, int *failed);
