/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The steps that mount and unmount; see mutate.h.
 */
#pragma once

#include "tests/stress/mutate.h"

int diff_mount_step (const DiffTree *tree, const DiffStep *step);

/* What may be set by DIFF_MOUNT_FLAGS. */
extern const guint32 diff_mount_flags[];
extern const guint diff_n_mount_flags;
