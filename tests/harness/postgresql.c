/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A PostgreSQL of its own for a test; see postgresql.h.
 */
#include "tests/harness/postgresql.h"

#include <glob.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define VERSION 196608 /* 3.0 of the protocol */

/* Debian has its programs in no folder of $PATH. */
static char *
get_folder (void)
{
  g_autofree char *found = g_find_program_in_path ("initdb");
  glob_t folders;
  char *folder = NULL;

  if (found != NULL)
    return g_path_get_dirname (found);
  if (glob ("/usr/lib/postgresql/*/bin", 0, NULL, &folders) == 0)
    folder = g_strdup (folders.gl_pathv[folders.gl_pathc - 1]);
  globfree (&folders);
  return folder;
}

gboolean
fsc_test_postgresql_is_installed (void)
{
  g_autofree char *folder = get_folder ();
  g_autofree char *server = g_strconcat (folder != NULL ? folder : "", "/postgres", NULL);

  return access (server, X_OK) == 0;
}

char **
fsc_test_postgresql_get_command (const char *dir)
{
  static const char *const as_nobody[]
      = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL", NULL };
  g_autoptr (GStrvBuilder) command = g_strv_builder_new ();
  g_autofree char *folder = get_folder ();

  mkdir (dir, 0755);
  if (geteuid () == 0)
    {
      chown (dir, 65534, 65534);
      g_strv_builder_addv (command, (const char **) as_nobody);
    }
  g_strv_builder_add (command, "sh");
  g_strv_builder_add (command, "-c");
  g_strv_builder_add (
      command, "cd \"$1\" && exec >log 2>&1 && \"$2/initdb\" -D data -U me -A trust --no-sync "
               "--no-locale -E UTF8 && exec \"$2/postgres\" -D data -k \"$1\" "
               "-c listen_addresses= -c fsync=off");
  g_strv_builder_add (command, "sh");
  g_strv_builder_add (command, dir);
  g_strv_builder_add (command, folder);
  return g_strv_builder_end (command);
}

/* The protocol: messages of a letter, the length of the rest, and the rest. */

static gboolean
receive (int fd, char *buffer, gsize length)
{
  while (length > 0)
    {
      ssize_t n = recv (fd, buffer, length, 0);

      if (n <= 0)
        return FALSE;
      buffer += n;
      length -= (gsize) n;
    }
  return TRUE;
}

static guint32
get_number (const char *bytes)
{
  guint32 number;

  memcpy (&number, bytes, sizeof number);
  return GUINT32_FROM_BE (number);
}

static void
add_number (GByteArray *message, guint32 number)
{
  number = GUINT32_TO_BE (number);
  g_byte_array_append (message, (const guint8 *) &number, sizeof number);
}

/* All up to "ready for query". Returns the first value in it ("" if there is none), or NULL. */
static char *
take_answer (int fd)
{
  g_autofree char *value = g_strdup ("");
  gboolean is_good = TRUE;
  char head[5], body[8192];

  do
    {
      guint32 length;

      if (!receive (fd, head, sizeof head))
        return NULL;
      length = get_number (head + 1) - 4;
      if (length >= sizeof body || !receive (fd, body, length))
        return NULL;
      is_good = is_good && head[0] != 'E';
      if (head[0] == 'D')
        {
          g_free (value);
          value = g_strndup (body + 6, get_number (body + 2));
        }
    }
  while (head[0] != 'Z');
  return is_good ? g_steal_pointer (&value) : NULL;
}

gboolean
fsc_test_postgresql_log_in (int fd)
{
  static const char who[] = "user\0me\0database\0postgres\0";
  g_autoptr (GByteArray) message = g_byte_array_new ();
  g_autofree char *answer = NULL;

  add_number (message, 8 + sizeof who);
  add_number (message, VERSION);
  g_byte_array_append (message, (const guint8 *) who, sizeof who);
  if (send (fd, message->data, message->len, MSG_NOSIGNAL) == message->len)
    answer = take_answer (fd);
  return answer != NULL;
}

char *
fsc_test_postgresql_ask (int fd, const char *query)
{
  g_autoptr (GByteArray) message = g_byte_array_new ();
  guint32 length = (guint32) strlen (query) + 1;

  g_byte_array_append (message, (const guint8 *) "Q", 1);
  add_number (message, 4 + length);
  g_byte_array_append (message, (const guint8 *) query, length);
  if (send (fd, message->data, message->len, MSG_NOSIGNAL) != message->len)
    return NULL;
  return take_answer (fd);
}

int
fsc_test_postgresql_connect (const char *dir, guint seconds)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };

  g_snprintf (address.sun_path, sizeof address.sun_path, "%s/" FSC_TEST_POSTGRESQL_SOCKET, dir);
  for (guint i = 0; i <= 100 * seconds; i++)
    {
      int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

      if (connect (fd, (const struct sockaddr *) &address, sizeof address) == 0
          && fsc_test_postgresql_log_in (fd))
        return fd;
      close (fd);
      if (seconds > 0)
        g_usleep (10000);
    }
  return -1;
}
