/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What libfuse calls: each request becomes a call, with what is to be done for it and whether it
 * may be interrupted.
 */
#pragma once

#include "fscache/view/view.h"

extern const struct fuse_lowlevel_ops fsc_operations;
