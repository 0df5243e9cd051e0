/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-view: the order in which it is put together.
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/view/answer.h"
#include "fscache/view/life.h"
#include "fscache/view/mountpoint.h"
#include "fscache/view/operations.h"
#include "fscache/view/options.h"
#include "fscache/view/transport.h"
#include "fscache/view/view.h"

typedef struct
{
  FscView *view;
  FscLife *life;
} Start;

static int say (const char *format, ...) G_GNUC_PRINTF (1, 2);

/* One line on stderr. Returns what to exit with if it is a failure. */
static int
say (const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list arguments;

  va_start (arguments, format);
  text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  fprintf (stderr, "fscache-view: %s\n", text);
  return 1;
}

/* The kernel has said what it can. */
static void
ready (gpointer data)
{
  Start *start = data;
  g_autofree char *transport = fsc_transport_describe (&start->view->transport);

  say ("%s: %s", start->view->mountpoint, transport);
  fsc_life_set_ready (start->life);
}

static void
raise_descriptor_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) < 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit (RLIMIT_NOFILE, &limit);
}

static struct fuse_session *
make_session (const FscViewOptions *options, FscView *view)
{
  struct fuse_args arguments = FUSE_ARGS_INIT (0, NULL);
  g_autofree char *mount = g_strdup_printf (
      "fsname=fscache,subtype=fscache-view%s%s%s", options->is_read_only ? ",ro" : "",
      options->wants_auto_unmount && fsc_mountpoint_has_helper () ? ",auto_unmount" : "",
      options->mount->str);
  struct fuse_session *session;

  fuse_opt_add_arg (&arguments, "fscache-view");
  fuse_opt_add_arg (&arguments, "-o");
  fuse_opt_add_arg (&arguments, mount);
  if (options->is_debugged)
    fuse_opt_add_arg (&arguments, "-d");
  session = fuse_session_new (&arguments, &fsc_operations, sizeof fsc_operations, view);
  fuse_opt_free_args (&arguments);
  return session;
}

static FscacheClient *
make_client (const char *socket)
{
  FscacheClient *client;
  int error = fscache_connect (socket, FSCACHE_NO_FALLBACK, &client);

  if (client == NULL)
    say ("cannot make a client: %s", g_strerror (-error));
  else if (error < 0)
    say ("there is no service yet (%s): until there is one, nothing can be read",
         g_strerror (-error));
  return client;
}

static int
serve_mounted (FscView *view, FscLife *life)
{
  Start start = { view, life };

  view->ready = ready;
  view->ready_data = &start;
  if (fuse_session_mount (view->session, view->mountpoint) != 0)
    return 1; /* libfuse has said why */
  fsc_answer_set_up (view->session);
  return fsc_life_run (life, view);
}

static int
serve (const FscViewOptions *options, FscView *view)
{
  g_autoptr (FscLife) life = fsc_life_new (options->is_foreground);
  struct fuse_session *session = make_session (options, view);
  FscacheClient *client;
  int status = 1;

  if (session == NULL)
    return 2; /* libfuse has said what is wrong */
  client = make_client (options->socket);
  if (client != NULL)
    {
      fsc_view_start (view, client, session);
      status = serve_mounted (view, life);
      fsc_view_end (view);
      fscache_disconnect (client);
      fsc_life_end (life);
    }
  fuse_session_destroy (session);
  return status;
}

int
main (int argc, char **argv)
{
  g_auto (FscViewOptions) options = { 0 };
  g_autoptr (GError) error = NULL;
  FscView view = { 0 };
  int status;

  setlocale (LC_ALL, "");
  if (!fsc_view_options_parse (&options, &argc, &argv, &error))
    {
      fprintf (stderr, "fscache-view: %s\nTry 'fscache-view --help'.\n", error->message);
      return 2;
    }
  if (options.is_version)
    {
      printf ("fscache-view %s\n", FSC_VERSION);
      return 0;
    }
  raise_descriptor_limit ();
  umask (0); /* the kernel has applied that of whoever makes a file */
  view.socket = options.socket;
  view.mountpoint = fsc_mountpoint_prepare (options.mountpoint, &error);
  if (view.mountpoint == NULL)
    return say ("%s", error->message);
  view.is_exact = options.is_exact;
  view.is_read_only = options.is_read_only;
  view.has_others = options.has_others;
  view.transport.wants_passthrough = options.wants_passthrough;
  view.transport.wants_splice = options.wants_splice;
  status = serve (&options, &view);
  g_free (view.mountpoint);
  return status;
}
