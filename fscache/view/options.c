/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The command line; see options.h.
 */
#include "fscache/view/options.h"

#include <gio/gio.h>
#include <string.h>

#define SUMMARY                                                                                    \
  "Shows the cache of fscached as a file system: programs that know nothing of it open files\n"    \
  "through it, and people look at it with ls, cat, getfattr, rm and find.\n"

#define DESCRIPTION                                                                                \
  "Below MOUNTPOINT there are:\n"                                                                  \
  "  open/file/PATH        the file PATH; to open it goes through the cache\n"                     \
  "  open/SCHEME/...       the same for unpack, http, https, handle and helper+NAME\n"             \
  "  cached/SCHEME/...     what is cached now; the times are those of the entry\n"                 \
  "  status.json, metrics  the counters, as JSON and for Prometheus\n"                             \
  "\n"                                                                                             \
  "Extended attributes user.fscache.* tell of an entry. rm in cached/ drops it, and\n"             \
  "setfattr -n user.fscache.pinned -v 1 FILE pins it.\n"                                           \
  "\n"                                                                                             \
  "Options for -o, beside those of mount(8) and of FUSE (default_permissions, ...):\n"             \
  "  allow_other           other users may come, too. If root runs the view, each gets what the\n" \
  "                        service opens as that user; else they are refused. Each name is then\n" \
  "                        asked for anew, as with exact\n"                                        \
  "  exact                 ask the service for each open and each name. Without it a file that\n"  \
  "                        is replaced may be opened as it was for some microseconds more, and\n"  \
  "                        names and attributes may be 0.1 s old\n"                                \
  "  ro                    no writing, dropping or pinning\n"                                      \
  "  socket=PATH           the service's socket\n"                                                 \
  "  no_passthrough        do not let the kernel read the cached handles by itself\n"              \
  "  no_splice             copy what is read\n"                                                    \
  "  no_auto_unmount       stay mounted, and dead, if it crashes\n"                                \
  "\n"                                                                                             \
  "The service is looked for at socket=, else $FSCACHE_SOCKET, else\n"                             \
  "$XDG_RUNTIME_DIR/fscache/socket, else /run/fscache/socket. The view need not be started\n"      \
  "after it, and finds it again when it was restarted; without it, reading fails with EIO.\n"      \
  "\n"                                                                                             \
  "Examples:\n"                                                                                    \
  "  fscache-view ~/cache                     then: cat ~/cache/open/file/mnt/nas/a.bin\n"         \
  "  fscache-view -f -o ro,exact ~/cache      stay in the foreground\n"                            \
  "  fusermount3 -u ~/cache                   end it; so does SIGTERM\n"                           \
  "In /etc/fstab:\n"                                                                               \
  "  fscache  /cache  fuse.fscache-view  socket=/run/fscache/socket,nofail  0  0\n"                \
  "\n"                                                                                             \
  "Exit status: 0 after it was unmounted, or once it is mounted and in the background; 1 if it\n"  \
  "could not start; 2 for wrong usage."

/* What mount(8) hands on of fstab, and is not for a file system; and what the view never is,
 * because its sources may be mounted without (mount.fuse3 asks for both by itself). */
static gboolean
is_for_mount (const char *option)
{
  static const char *const names[]
      = { "defaults", "auto",    "noauto", "user", "nouser", "users", "owner",
          "group",    "_netdev", "nofail", "rw",   "suid",   "dev",   "" };

  return g_strv_contains (names, option) || g_str_has_prefix (option, "x-")
         || g_str_has_prefix (option, "comment=");
}

/* Returns FALSE if it is not an option of the view's own. */
static gboolean
set_option (FscViewOptions *options, const char *option)
{
  const struct
  {
    const char *name;
    gboolean *target;
    gboolean value;
  } flags[] = {
    { "exact", &options->is_exact, TRUE },
    { "no_passthrough", &options->wants_passthrough, FALSE },
    { "passthrough", &options->wants_passthrough, TRUE },
    { "no_splice", &options->wants_splice, FALSE },
    { "splice", &options->wants_splice, TRUE },
    { "no_auto_unmount", &options->wants_auto_unmount, FALSE },
    { "auto_unmount", &options->wants_auto_unmount, TRUE },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (flags); i++)
    if (strcmp (flags[i].name, option) == 0)
      {
        *flags[i].target = flags[i].value;
        return TRUE;
      }
  if (!g_str_has_prefix (option, "socket="))
    return FALSE;
  g_free (options->socket);
  options->socket = g_strdup (option + strlen ("socket="));
  return TRUE;
}

/* By its type a view is known to the service, which does not enter it, and to the next one here.
 * libfuse reads an escaped name as what it stands for. */
static gboolean
changes_type (const char *option)
{
  gsize length = strcspn (option, "=");

  return memchr (option, '\\', length) != NULL || g_str_has_prefix (option, "subtype=")
         || strcmp (option, "blkdev") == 0;
}

static gboolean
take_mount_options (FscViewOptions *options, const char *text, GError **error)
{
  g_auto (GStrv) list = g_strsplit (text, ",", -1);

  for (guint i = 0; list[i] != NULL; i++)
    {
      if (changes_type (list[i]))
        {
          g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                       "-o %s: a view has its own type, by which it is known", list[i]);
          return FALSE;
        }
      if (strcmp (list[i], "rw") == 0)
        options->is_read_only = FALSE;
      if (is_for_mount (list[i]) || set_option (options, list[i]))
        continue;
      if (strcmp (list[i], "ro") == 0)
        options->is_read_only = TRUE;
      else
        g_string_append_printf (options->mount, ",%s", list[i]);
      options->has_others
          |= strcmp (list[i], "allow_other") == 0 || strcmp (list[i], "allow_root") == 0;
    }
  return TRUE;
}

/* mount(8) gives a source as well: the socket, or a word that means nothing. */
static gboolean
take_arguments (FscViewOptions *options, char **arguments, GError **error)
{
  guint n = arguments != NULL ? g_strv_length (arguments) : 0;

  if (n < 1 || n > 2)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "%s",
                   n < 1 ? "a MOUNTPOINT is missing" : "there are too many arguments");
      return FALSE;
    }
  if (n == 2 && g_path_is_absolute (arguments[0]) && options->socket == NULL)
    options->socket = g_strdup (arguments[0]);
  options->mountpoint = g_strdup (arguments[n - 1]);
  return TRUE;
}

/* The process goes to "/". */
static void
anchor_socket (FscViewOptions *options)
{
  g_autofree char *path = g_steal_pointer (&options->socket);

  if (path == NULL)
    path = g_strdup (g_getenv ("FSCACHE_SOCKET"));
  if (path == NULL || path[0] == '\0')
    return;
  if (g_path_is_absolute (path))
    options->socket = g_steal_pointer (&path);
  else
    {
      g_autofree char *directory = g_get_current_dir ();

      options->socket = g_build_filename (directory, path, NULL);
    }
}

gboolean
fsc_view_options_parse (FscViewOptions *options, int *argc, char ***argv, GError **error)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("[SOURCE] MOUNTPOINT");
  g_auto (GStrv) mount = NULL;
  g_auto (GStrv) arguments = NULL;
  const GOptionEntry entries[] = {
    { "foreground", 'f', 0, G_OPTION_ARG_NONE, &options->is_foreground, "Stay in the foreground",
      NULL },
    { "debug", 'd', 0, G_OPTION_ARG_NONE, &options->is_debugged,
      "Stay in the foreground, and print each request", NULL },
    { "options", 'o', 0, G_OPTION_ARG_STRING_ARRAY, &mount, "Options of the mount",
      "OPTION[,OPTION...]" },
    { "version", 'V', 0, G_OPTION_ARG_NONE, &options->is_version, "Print the version", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &arguments, NULL, NULL },
    { NULL },
  };

  *options = (FscViewOptions){ .mount = g_string_new (NULL),
                               .wants_passthrough = TRUE,
                               .wants_splice = TRUE,
                               .wants_auto_unmount = TRUE };
  g_option_context_set_summary (context, SUMMARY);
  g_option_context_set_description (context, DESCRIPTION);
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  for (guint i = 0; mount != NULL && mount[i] != NULL; i++)
    if (!take_mount_options (options, mount[i], error))
      return FALSE;
  options->is_foreground |= options->is_debugged;
  if (!options->is_version && !take_arguments (options, arguments, error))
    return FALSE;
  anchor_socket (options);
  return TRUE;
}

void
fsc_view_options_clear (FscViewOptions *options)
{
  g_free (options->mountpoint);
  g_free (options->socket);
  if (options->mount != NULL)
    g_string_free (options->mount, TRUE);
}
