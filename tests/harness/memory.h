/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Memory of a test's own, in which whoever touches it hangs.
 */
#pragma once

/* A page that never comes, for whoever touches it, the kernel too; or NULL. It is there until the
 * process ends. */
void *fsc_test_make_hanging_page (void);
