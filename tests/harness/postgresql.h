/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A PostgreSQL of its own for a test, and as much of its protocol as is needed to ask it something:
 * there, a connection is dear. It listens on a Unix socket only, and trusts whoever comes.
 */
#pragma once

#include <glib.h>

#define FSC_TEST_POSTGRESQL_SOCKET ".s.PGSQL.5432" /* in its directory */

/* Whether it is installed. */
gboolean fsc_test_postgresql_is_installed (void);

/* The command that makes a database in the directory `dir`, which must not be there yet, and serves
 * it: as nobody, if this is root, for so it wants it. SIGINT ends it. Free with g_strfreev(). */
char **fsc_test_postgresql_get_command (const char *dir);

/* What a client says first. Returns FALSE if that was not welcome. */
gboolean fsc_test_postgresql_log_in (int fd);

/* Asks for one value, or for none; returns what comes, or NULL. Free with g_free(). */
char *fsc_test_postgresql_ask (int fd, const char *query);

/* Connects and logs in; tries again for so long, until it is ready. Returns -1 if it is not. */
int fsc_test_postgresql_connect (const char *dir, guint seconds);
