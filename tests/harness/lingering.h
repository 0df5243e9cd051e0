/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A descriptor that any user can make, and whose last close takes an hour.
 */
#pragma once

/* A connected socket that lingers over what its peer does not read, until that is closed. The
 * caller owns both. */
int fsc_test_make_lingering (int *peer);
