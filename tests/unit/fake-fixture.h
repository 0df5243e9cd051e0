/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What each test of the client against a fake service begins and ends with: an empty directory with
 * one file, and the service, in the same process. At the end as many descriptors are open as at the
 * beginning, which are those of both ends.
 */
#pragma once

#include <glib.h>
#include <glib/gstdio.h>

#include "libclient/fscache.h"
#include "tests/harness/descriptors.h"
#include "tests/unit/fake-service.h"

typedef struct
{
  char *directory, *socket;
  char *file;    /* "0123456789" */
  char *missing; /* there is none */
  FakeService *fake;
  FscacheClient *client; /* NULL until the test connects */
  char *before;          /* descriptors */
} Fixture;

/* Sets one of the service's orders. */
#define ORDER(fixture, field, value)                                                               \
  G_STMT_START                                                                                     \
  {                                                                                                \
    fake_service_lock ((fixture)->fake)->field = (value);                                          \
    fake_service_unlock ((fixture)->fake);                                                         \
  }                                                                                                \
  G_STMT_END

/* The service is not started yet. */
static inline void
fixture_init (Fixture *fixture)
{
  fixture->before = fsc_test_list_descriptors ();
  fixture->directory = g_dir_make_tmp ("fscache-XXXXXX", NULL);
  g_assert_nonnull (fixture->directory);
  fixture->socket = g_build_filename (fixture->directory, "socket", NULL);
  fixture->file = g_build_filename (fixture->directory, "a file", NULL);
  fixture->missing = g_build_filename (fixture->directory, "missing", NULL);
  g_assert_true (g_file_set_contents (fixture->file, "0123456789", 10, NULL));
  fixture->fake = fake_service_new (fixture->socket);
}

/* Starts the service and connects. */
static inline void
fixture_start (Fixture *fixture, unsigned options)
{
  fake_service_start (fixture->fake);
  g_assert_cmpint (fscache_connect (fixture->socket, options, &fixture->client), ==, 0);
}

/* Removes what files there are. */
static inline void
fixture_clear (Fixture *fixture)
{
  GDir *dir = g_dir_open (fixture->directory, 0, NULL);
  const char *name;

  fscache_disconnect (fixture->client);
  fake_service_free (fixture->fake);
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (fixture->directory, name, NULL);

      g_unlink (path);
    }
  g_dir_close (dir);
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->directory);
  g_free (fixture->socket);
  g_free (fixture->file);
  g_free (fixture->missing);
  fsc_test_assert_descriptors (fixture->before);
}
