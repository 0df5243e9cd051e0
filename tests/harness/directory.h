/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Private directories for tests, on a file system whose files the service keeps. Whose test was
 * aborted is removed by the next one, with the file systems that are still mounted below it: each
 * is locked by its process for as long as that lives, so that no other is touched.
 */
#pragma once

#include <glib.h>

/* Makes one, 0700, after having removed what others have left. *lock is to be kept open. */
char *fsc_test_directory_new (int *lock);

/* Removes it with all that is in it, and frees the path. */
void fsc_test_directory_free (char *path, int lock);

/* Removes those below `place` that belong to no living process: to be called by itself only by the
 * test of this. */
void fsc_test_directory_sweep (const char *place);
