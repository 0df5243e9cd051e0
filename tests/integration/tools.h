/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the tests of unpacking have in common: the tools that pack, and what comes out.
 */
#pragma once

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/harness/program.h"
#include "tests/harness/service.h"

/* Whether it is there; else the test is skipped, and says which package has it. */
static inline gboolean
fsc_test_has_tool (const char *tool, const char *package)
{
  g_autofree char *path = g_find_program_in_path (tool);
  g_autofree char *reason = NULL;

  if (path != NULL)
    return TRUE;
  reason = g_strdup_printf ("there is no %s (package %s)", tool, package);
  g_test_skip (reason);
  return FALSE;
}

/* Runs a command of the shell in the private directory of the service; it must succeed. */
static inline void fsc_test_shell (FscTestService *service, const char *format, ...)
    G_GNUC_PRINTF (2, 3);

static inline void
fsc_test_shell (FscTestService *service, const char *format, ...)
{
  g_auto (FscTestProgram) program = { 0 };
  g_autofree char *command = NULL;
  va_list arguments;

  va_start (arguments, format);
  command = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  fsc_test_program_run (&program, service->dir,
                        (const char *const[]){ "bash", "-euc", command, NULL });
  fsc_test_program_assert_exit (&program, 0);
}

/* The URI of a file in the private directory, or with `member` (which is escaped already) of that.
 */
static inline char *
fsc_test_unpack_uri (FscTestService *service, const char *file, const char *member)
{
  return g_strconcat ("unpack://", service->dir, "/", file, member != NULL ? "#" : "", member,
                      NULL);
}

static inline GBytes *
fsc_test_read_fd (int fd)
{
  struct stat st;
  guint8 *content;

  g_assert_no_errno (fstat (fd, &st));
  content = g_malloc (st.st_size + 1);
  g_assert_cmpint (pread (fd, content, st.st_size, 0), ==, st.st_size);
  return g_bytes_new_take (content, st.st_size);
}

static inline GBytes *
fsc_test_read_file (FscTestService *service, const char *name)
{
  g_autofree char *path = g_build_filename (service->dir, name, NULL);
  char *content = NULL;
  gsize length = 0;

  g_assert_true (g_file_get_contents (path, &content, &length, NULL));
  return g_bytes_new_take (content, length);
}

/* Asks for what is in a file, or in a member. Returns NULL if it fails; then *reply says why. */
static inline GBytes *
fsc_test_try_unpack (FscTestService *service, FscacheClient *client, const char *file,
                     const char *member, FscacheReply *reply)
{
  g_autofree char *uri = fsc_test_unpack_uri (service, file, member);
  const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED };
  GBytes *content;

  if (fscache_open_with (client, &request, reply) < 0)
    return NULL;
  content = fsc_test_read_fd (reply->fd);
  fscache_reply_clear (client, reply);
  return content;
}

/* It must be this, and come from there. */
static inline void
fsc_test_assert_unpacks (FscTestService *service, FscacheClient *client, const char *file,
                         const char *member, GBytes *expected, FscacheSource source)
{
  FscacheReply reply;
  g_autoptr (GBytes) content = fsc_test_try_unpack (service, client, file, member, &reply);

  if (content == NULL)
    g_error ("%s#%s: %s", file, member != NULL ? member : "", reply.message);
  if (!g_bytes_equal (content, expected))
    g_error ("%s#%s is %zu bytes, not %zu or not the same", file, member != NULL ? member : "",
             g_bytes_get_size (content), g_bytes_get_size (expected));
  g_assert_cmpint (reply.source, ==, source);
}

static inline void
fsc_test_assert_unpacks_text (FscTestService *service, FscacheClient *client, const char *file,
                              const char *member, const char *expected)
{
  g_autoptr (GBytes) bytes = g_bytes_new (expected, strlen (expected));

  fsc_test_assert_unpacks (service, client, file, member, bytes, FSCACHE_SOURCE_OPENED);
}

/* It must fail so, with a sentence that has this in it. */
static inline void
fsc_test_assert_no_content (FscTestService *service, FscacheClient *client, const char *file,
                            const char *member, FscacheCode code, int error, const char *part)
{
  FscacheReply reply;
  g_autoptr (GBytes) content = fsc_test_try_unpack (service, client, file, member, &reply);

  if (content != NULL)
    g_error ("%s#%s has content", file, member != NULL ? member : "");
  g_test_message ("%s", reply.message);
  g_assert_cmpint (reply.error, ==, error);
  g_assert_cmpint (reply.code, ==, code);
  if (strstr (reply.message, part) == NULL)
    g_error ("\"%s\" does not say \"%s\"", reply.message, part);
}
