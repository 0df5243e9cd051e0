/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl: the table of commands, the options they have in common, and the way to each.
 */
#include "fscache/ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fscache/ctl/output.h"

static const FscCommand *const commands[] = {
  &fsc_ctl_status, &fsc_ctl_list, &fsc_ctl_info,    &fsc_ctl_open, &fsc_ctl_cat,
  &fsc_ctl_exec,   &fsc_ctl_drop, &fsc_ctl_holders, &fsc_ctl_pin,  &fsc_ctl_unpin,
  &fsc_ctl_ping,   &fsc_ctl_set,  &fsc_ctl_warm,    &fsc_ctl_put,  &fsc_ctl_transfer,
};

static const FscCommand *
find_command (const char *name)
{
  for (gsize i = 0; i < G_N_ELEMENTS (commands); i++)
    {
      if (strcmp (commands[i]->name, name) == 0)
        return commands[i];
    }
  return NULL;
}

static char *
describe_tool (void)
{
  GString *text = g_string_new ("Commands:\n");

  for (gsize i = 0; i < G_N_ELEMENTS (commands); i++)
    g_string_append_printf (text, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
  g_string_append (
      text,
      "\n"
      "fscachectl COMMAND --help teaches one of them, with examples.\n"
      "\n" FSC_HELP_NAMING "\n"
      "\n"
      "The service is looked for at --socket, else $FSCACHE_SOCKET, else\n"
      "$XDG_RUNTIME_DIR/fscache/socket, else /run/fscache/socket.\n"
      "\n"
      "Exit status: 0 done; 1 refused or failed, with one line on stderr; 2 wrong usage; for exec\n"
      "that of the program, or 126 or 127 if it could not be run.");
  return g_string_free (text, FALSE);
}

int
fsc_ctl_refuse_usage (FscCtl *ctl, const char *format, ...)
{
  g_autofree char *message = NULL;
  va_list arguments;

  va_start (arguments, format);
  message = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  if (ctl->command == NULL)
    fsc_output_complain ("%s (see fscachectl --help)", message);
  else
    fsc_output_complain ("%s: %s (see fscachectl %s --help)", ctl->command->name, message,
                         ctl->command->name);
  return FSC_EXIT_USAGE;
}

static void
add_common_options (FscCtl *ctl, GOptionContext *context)
{
  const GOptionEntry entries[] = {
    { "socket", 0, 0, G_OPTION_ARG_FILENAME, &ctl->socket, "The service's socket", "PATH" },
    /* A command that prints nothing has no --json, but before its name one cannot know. */
    { ctl->command == NULL || ctl->command->prints ? "json" : NULL, 0, 0, G_OPTION_ARG_NONE,
      &ctl->json, "Print JSON", NULL },
    { NULL },
  };

  g_option_context_add_main_entries (context, entries, NULL);
}

/* Removes argv[1]. */
static void
shift (int *argc, char **argv)
{
  memmove (&argv[1], &argv[2], (*argc - 1) * sizeof *argv);
  (*argc)--;
}

/* Says what is wrong with the arguments that are left after the options; else returns TRUE. */
static gboolean
check_arguments (FscCtl *ctl, int n, char **arguments, int min, int max)
{
  if (n < min)
    {
      fsc_ctl_refuse_usage (ctl, "an argument is missing: %s", ctl->command->arguments);
      return FALSE;
    }
  if (max >= 0 && n > max)
    {
      fsc_ctl_refuse_usage (ctl, "\"%s\" is one argument too many", arguments[max]);
      return FALSE;
    }
  for (int i = 0; i < n && !ctl->command->runs_program; i++)
    {
      if (*arguments[i] == '\0')
        {
          fsc_ctl_refuse_usage (ctl, "argument %d is empty: that is neither a URI nor a path",
                                i + 1);
          return FALSE;
        }
    }
  return TRUE;
}

void
fsc_ctl_parse (FscCtl *ctl, const GOptionEntry *entries, int *argc, char ***argv, int min, int max)
{
  const FscCommand *command = ctl->command;
  g_autoptr (GOptionContext) context = g_option_context_new (command->arguments);
  g_autoptr (GError) error = NULL;
  g_autofree char *name = g_strconcat ("fscachectl ", command->name, NULL);

  g_set_prgname (name);
  g_option_context_set_summary (context, command->summary);
  g_option_context_set_description (context, command->description);
  g_option_context_set_strict_posix (context, command->runs_program);
  if (entries != NULL)
    g_option_context_add_main_entries (context, entries, NULL);
  add_common_options (ctl, context);
  if (!g_option_context_parse (context, argc, argv, &error))
    exit (fsc_ctl_refuse_usage (ctl, "%s", error->message));
  /* GLib leaves the "--" where it is if other arguments came before it. */
  if (*argc > 1 && strcmp ((*argv)[1], "--") == 0)
    shift (argc, *argv);

  if (!check_arguments (ctl, *argc - 1, *argv + 1, min, max))
    exit (FSC_EXIT_USAGE);
}

FscacheClient *
fsc_ctl_connect (FscCtl *ctl)
{
  FscacheClient *client = NULL;
  int result = fscache_connect (ctl->socket, 0, &client);

  if (client == NULL && result == -EINVAL)
    fsc_output_complain ("the path of the socket is too long%s%s", ctl->socket != NULL ? ": " : "",
                         ctl->socket != NULL ? ctl->socket : "");
  else if (client == NULL)
    fsc_output_complain ("cannot make a client: %s", g_strerror (-result));
  if (client == NULL)
    exit (FSC_EXIT_FAILED);
  return client;
}

/* A closed stdin, stdout or stderr leaves its number to the next descriptor, and then what is meant
 * for stdout may be written to a handle of somebody's file. What is put there instead can be
 * neither read nor written, and is gone after exec. */
static gboolean
occupy_standard_descriptors (void)
{
  int fd;

  do
    fd = open ("/", O_PATH | O_CLOEXEC);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd < 0)
    return FALSE;
  close (fd);
  return TRUE;
}

/* Parses what stands before the command. Returns FALSE with what to exit with in *status. */
static gboolean
parse_global_options (FscCtl *ctl, int *argc, char ***argv, int *status)
{
  gboolean version = FALSE;
  const GOptionEntry entries[] = {
    { "version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version", NULL },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("COMMAND [ARGUMENT...]");
  g_autofree char *description = describe_tool ();
  g_autoptr (GError) error = NULL;

  g_option_context_set_summary (
      context, "Asks fscached, the service that keeps expensive-to-open resources open.");
  g_option_context_set_description (context, description);
  g_option_context_set_strict_posix (context, TRUE);
  g_option_context_add_main_entries (context, entries, NULL);
  add_common_options (ctl, context);
  if (!g_option_context_parse (context, argc, argv, &error))
    {
      *status = fsc_ctl_refuse_usage (ctl, "%s", error->message);
      return FALSE;
    }
  if (version)
    {
      printf ("fscachectl %s\n", FSC_VERSION);
      *status = fsc_output_finish (FSC_EXIT_DONE);
      return FALSE;
    }
  return TRUE;
}

static int
run (FscCtl *ctl, int argc, char **argv)
{
  static char help[] = "--help";
  char *help_arguments[] = { argv[0], help, NULL };
  const char *name;
  int status = FSC_EXIT_DONE;

  if (!parse_global_options (ctl, &argc, &argv, &status))
    return status;
  /* "fscachectl help [COMMAND]" is what some type first. */
  if (argc >= 2 && strcmp (argv[1], "help") == 0)
    {
      char **rest = help_arguments;
      int n = 2;

      if (argc == 2)
        parse_global_options (ctl, &n, &rest, &status); /* exits */
      argv[1] = argv[2];
      argv[2] = help;
      argc = 3;
    }
  if (argc < 2)
    return fsc_ctl_refuse_usage (ctl, "a command is missing");

  name = argv[1];
  if (find_command (name) == NULL)
    return fsc_ctl_refuse_usage (ctl, "there is no command \"%s\"", name);
  ctl->command = find_command (name);
  if (ctl->json && !ctl->command->prints)
    return fsc_ctl_refuse_usage (ctl, "it prints nothing that --json could change");
  return ctl->command->run (ctl, argc - 1, argv + 1);
}

int
main (int argc, char **argv)
{
  FscCtl ctl = { 0 };
  int status;

  setlocale (LC_ALL, "");
  if (!occupy_standard_descriptors ())
    {
      fsc_output_complain ("cannot open /: %s", g_strerror (errno));
      return FSC_EXIT_FAILED;
    }
  g_set_prgname ("fscachectl");
  status = run (&ctl, argc, argv);
  g_free (ctl.socket);
  return status;
}
