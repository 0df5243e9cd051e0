/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl put: keeps a descriptor of this process under a name.
 */
#include <stdio.h>
#include <unistd.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/output.h"
#include "fscache/ctl/put.h"
#include "fscache/ctl/request.h"

#define LISTEN_FDS_START 3 /* as in sd-daemon.h */

static void
print_generation (const FscCtl *ctl, guint64 generation)
{
  g_autoptr (JsonBuilder) builder = NULL;

  if (!ctl->json)
    {
      printf ("generation %" G_GUINT64_FORMAT "\n", generation);
      return;
    }
  builder = json_builder_new ();
  json_builder_begin_object (builder);
  fsc_output_add_int (builder, "generation", (gint64) generation);
  fsc_output_print_json (builder, "\n");
}

/* --listen: what sd_listen_fds(3) describes. Returns the names, each of the next descriptor from 3
 * on, or NULL after having said what is wrong. */
static char **
get_listen_names (FscCtl *ctl)
{
  const char *pid = g_getenv ("LISTEN_PID"), *n = g_getenv ("LISTEN_FDS");
  const char *names = g_getenv ("LISTEN_FDNAMES");
  g_auto (GStrv) all = g_strsplit (names != NULL ? names : "", ":", -1);
  guint64 value;

  if (pid == NULL || !g_ascii_string_to_unsigned (pid, 10, 0, G_MAXUINT64, &value, NULL)
      || value != (guint64) getpid () || n == NULL
      || !g_ascii_string_to_unsigned (n, 10, 0, G_MAXINT, &value, NULL))
    fsc_ctl_refuse_usage (ctl, "no descriptors were passed to this process (LISTEN_FDS)");
  else if (value != g_strv_length (all))
    fsc_ctl_refuse_usage (ctl, "not every descriptor that was passed has a name (LISTEN_FDNAMES)");
  else
    return g_steal_pointer (&all);
  return NULL;
}

static int
put_listen (FscCtl *ctl, const FscachePut *how)
{
  g_auto (GStrv) names = get_listen_names (ctl);
  g_autoptr (FscacheClient) client = NULL;
  FscacheReply reply = { 0 };

  if (names == NULL)
    return FSC_EXIT_USAGE;
  client = fsc_ctl_connect (ctl);
  for (int i = 0; names[i] != NULL; i++)
    {
      g_autofree char *uri = g_strconcat ("handle:", names[i], NULL); /* as exec --names has it */

      if (!fsc_put_one (client, how, uri, LISTEN_FDS_START + i, &reply))
        return FSC_EXIT_FAILED;
    }
  return FSC_EXIT_DONE;
}

static int
run_put (FscCtl *ctl, int argc, char **argv)
{
  g_auto (FscRequestOptions) request_options = { 0 };
  g_auto (FscPutOptions) options = { 0 };
  gboolean listen = FALSE;
  int fd = STDIN_FILENO;
  const GOptionEntry entries[] = {
    { "fd", 0, 0, G_OPTION_ARG_INT, &fd, "Put descriptor N (default: 0, standard input)", "N" },
    { "listen", 'l', 0, G_OPTION_ARG_NONE, &listen,
      "Put all that was passed as LISTEN_FDS does, under its names", NULL },
    FSC_PUT_REPLACE (options, "Put it, "),
    { "if-generation", 0, 0, G_OPTION_ARG_STRING, &options.expected,
      "Replace this one, and no other", "N" },
    FSC_PUT_TTL (options, "Put it, and "),
    FSC_REQUEST_TIMEOUT (request_options),
    { NULL },
  };
  g_autoptr (FscacheClient) client = NULL;
  g_autoptr (GError) error = NULL;
  FscacheReply reply = { 0 };
  FscacheRequest request;
  FscachePut how;

  fsc_ctl_parse (ctl, entries, &argc, &argv, 0, 1);
  if (!fsc_put_options_get (&options, &how, &error)
      || !fsc_request_options_get (&request_options, FSCACHE_SHARED, &request, &error))
    return fsc_ctl_refuse_usage (ctl, "%s", error->message);
  if (listen != (argc == 1) || (listen && fd != STDIN_FILENO))
    return fsc_ctl_refuse_usage (ctl, "it is either --listen, or a NAME");
  if (!listen && !fsc_put_is_inherited (fd))
    return fsc_ctl_refuse_usage (ctl, "descriptor %d is not open", fd);
  how.timeout_ms = request.timeout_ms;
  if (listen)
    return put_listen (ctl, &how);
  client = fsc_ctl_connect (ctl);
  if (!fsc_put_one (client, &how, argv[1], fd, &reply))
    return FSC_EXIT_FAILED;
  print_generation (ctl, reply.generation);
  return fsc_output_finish (FSC_EXIT_DONE);
}

const FscCommand fsc_ctl_put = {
  .name = "put",
  .arguments = "NAME | --listen",
  .summary = "Keep a descriptor under a name, for all programs of this user",
  .description
  = "Standard input, or the descriptor of --fd, is kept under handle:NAME, whatever it is: a\n"
    "listening socket, a pipe, a file. Others get it by that name, with open, exec and the like: "
    "a\n"
    "duplicate of what was put, with its offset and its flags. It stays until it is dropped, "
    "taken\n"
    "(exec --take) or replaced, or until its time is over; and it is lost when the service is\n"
    "started again. A name that is in use is refused without --replace or --if-generation.\n"
    "\n"
    "With --listen it is all that sd_listen_fds(3) would find, under LISTEN_FDNAMES: what a "
    "service\n"
    "manager passes, or fscachectl exec --listen. If one cannot be put, those after it are not.\n"
    "\n"
    "Prints the generation of what was put, as info and list --json do: a number that nothing "
    "else\n"
    "gets, for --if-generation.\n"
    "\n"
    "Examples:\n"
    "  fscachectl put words </usr/share/dict/words\n"
    "  fscachectl exec --fd 0=handle:words -- wc -l\n"
    "  fscachectl put --ttl 60 --replace --fd 3 lock 3>/run/lock/x\n"
    "  fscachectl list 'handle:*'\n"
    "  fscachectl exec --listen --names '*' -- fscachectl --socket OTHER put --listen\n"
    "  fscachectl drop handle:words",
  .run = run_put,
  .prints = TRUE,
};
