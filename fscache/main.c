/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscached: options, and the order in which the service is put together. The spawner is forked
 * before anything else is there; the place is taken before anything is promised.
 */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fscache/config.h"
#include "fscache/failure.h"
#include "fscache/filter.h"
#include "fscache/manager.h"
#include "fscache/privileges.h"
#include "fscache/reload.h"
#include "fscache/server.h"

/* The shortest that the scheduler gives. */
#define SLICE_NS 100000

/* No timer of the service has to be more exact than the scheduler's tick. One that may wait for it
 * is not set in the hardware at each wait, and interrupts nobody. */
#define TIMER_SLACK_NS 4000000

#define SUMMARY                                                                                    \
  "Keeps handles to expensive-to-open resources open, and hands duplicates of them to other\n"     \
  "programs over a Unix socket. Run by a user, it serves that user (and root). Run by root with\n" \
  "--user, it serves all users, each with what that user may open.\n"

#define DESCRIPTION                                                                                \
  "The socket is --socket, else [service] socket= of the configuration, else $FSCACHE_SOCKET, "    \
  "else\n"                                                                                         \
  "$XDG_RUNTIME_DIR/fscache/socket, else /run/fscache/socket. The configuration is --config, "     \
  "else\n"                                                                                         \
  "$XDG_CONFIG_HOME/fscache/fscached.conf, else /etc/fscache/fscached.conf. systemd may pass "     \
  "the\n"                                                                                          \
  "socket (ListenSequentialPacket=), and is told when the service is ready.\n"                     \
  "\n"                                                                                             \
  "Examples:\n"                                                                                    \
  "  fscached                              serve this user\n"                                      \
  "  fscached --socket /tmp/x/socket       serve at another place\n"                               \
  "  fscached --check-config               say what is wrong with the configuration\n"             \
  "  fscached --replace                    take the place of a running instance\n"                 \
  "  fscached --user fscache               as root: become this user, and serve all users\n"       \
  "\n"                                                                                             \
  "SIGHUP has it read the configuration again; nobody is disconnected for that.\n"                 \
  "Exit status: 0 after SIGTERM or SIGINT, 1 if it could not start, 2 for wrong usage."

typedef struct
{
  char *socket;
  char *config;
  char *user;
  gint64 max_handles;
  gboolean replace;
  gboolean check_config;
  gboolean version;
  gboolean verbose;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->socket);
  g_free (options->config);
  g_free (options->user);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static gboolean
parse_options (int *argc, char ***argv, Options *options, GError **error)
{
  const GOptionEntry entries[]
      = { { "socket", 's', 0, G_OPTION_ARG_FILENAME, &options->socket, "Listen at PATH", "PATH" },
          { "config", 'c', 0, G_OPTION_ARG_FILENAME, &options->config,
            "Read the configuration FILE", "FILE" },
          { "user", 'u', 0, G_OPTION_ARG_STRING, &options->user,
            "As root: serve all users, and become USER for that", "USER" },
          { "max-handles", 0, 0, G_OPTION_ARG_INT64, &options->max_handles,
            "Keep at most N handles (default: three quarters of RLIMIT_NOFILE)", "N" },
          { "replace", 0, 0, G_OPTION_ARG_NONE, &options->replace,
            "End the instance that serves this socket, and take its place", NULL },
          { "check-config", 0, 0, G_OPTION_ARG_NONE, &options->check_config,
            "Check the configuration, and do nothing else", NULL },
          { "version", 'V', 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
          { "verbose", 'v', 0, G_OPTION_ARG_NONE, &options->verbose, "Log what is done", NULL },
          { 0 } };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  options->max_handles = -1;
  g_option_context_set_summary (context, SUMMARY);
  g_option_context_set_description (context, DESCRIPTION);
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (*argc > 1)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "unexpected argument \"%s\"",
                   (*argv)[1]);
      return FALSE;
    }
  if (options->max_handles == 0 || options->max_handles < -1)
    {
      g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                           "--max-handles takes a number from 1 on");
      return FALSE;
    }
  return TRUE;
}

/* A closed 0, 1 or 2 would become a handle or a socket, and be written to by whoever logs. What
 * else was inherited, and not passed, is not ours to keep open. */
static void
put_descriptors_in_order (guint n_passed)
{
  int fd;

  do
    fd = open ("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= 2);
  close_range (3 + n_passed, ~0U, 0);
}

static void
raise_descriptor_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) < 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit (RLIMIT_NOFILE, &limit) < 0)
    g_warning ("Cannot raise RLIMIT_NOFILE: %s", g_strerror (errno));
}

/* Not more of a busy CPU, but sooner: what the service has to do takes microseconds, and who
 * changes a file goes on meanwhile, so that others borrow the old one until the service has run.
 * The kernel heeds it since Linux 6.12. (Its header for this cannot be included beside libc's.) */
static void
ask_for_short_slices (void)
{
  struct
  {
    guint32 size, policy;
    guint64 flags;
    gint32 nice;
    guint32 priority;
    guint64 runtime, deadline, period;
  } attributes = { 0 };

  if (syscall (SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) < 0
      || attributes.policy != SCHED_OTHER)
    return;
  attributes.runtime = SLICE_NS;
  syscall (SYS_sched_setattr, 0, &attributes, 0);
}

/* SIGTERM, SIGINT and SIGHUP as a descriptor. (g_unix_signal_add() would make a thread, and libc is
 * slower in a process that has two.) */
static int
open_signals (void)
{
  sigset_t signals;

  sigemptyset (&signals);
  sigaddset (&signals, SIGTERM);
  sigaddset (&signals, SIGINT);
  sigaddset (&signals, SIGHUP);
  sigprocmask (SIG_BLOCK, &signals, NULL);
  return signalfd (-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static FscConfig *
load (const Options *options, gboolean can_be_others, GError **error)
{
  FscConfig *config = fsc_config_load (options->config, can_be_others, error);

  if (config != NULL && options->max_handles > 0)
    config->max_handles = (guint64) options->max_handles;
  return config;
}

typedef struct
{
  GMainLoop *loop;
  FscServer *server;
  const Options *options;
} Run;

static char *
describe (const FscServer *server)
{
  return g_strdup_printf (
      "Serving %s, up to %" G_GUINT64_FORMAT " handles and %" G_GUINT64_FORMAT " clients",
      fsc_listener_get_path (server->listener), fsc_cache_get_limits (server->cache)->max_handles,
      server->shares->limits.max[FSC_SHARE_CONNECTIONS]);
}

/* If it is no good, what there is holds on. */
static void
reload (Run *run)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *status = NULL;
  FscConfig *config = load (run->options, fsc_spawner_is_privileged (run->server->spawner), &error);

  fsc_manager_say_reloading ();
  if (config != NULL && fsc_reload (run->server, config, &error))
    g_message ("The configuration was read again");
  else
    g_warning ("The configuration stays as it was:\n%s", error->message);
  status = describe (run->server);
  fsc_manager_say_ready (status);
}

static void
take_signals (FscPoll *poll, guint32 events)
{
  Run *run = poll->data;
  struct signalfd_siginfo info;
  gboolean is_hangup = FALSE;

  while (read (poll->fd, &info, sizeof info) > 0)
    if (info.ssi_signo == SIGHUP)
      is_hangup = TRUE;
    else
      g_main_loop_quit (run->loop);
  if (is_hangup)
    reload (run);
}

static gboolean
run (FscServer *server, const Options *options, GError **error)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Run run = { loop, server, options };
  FscPoll signals = { .fd = open_signals (), .ready = take_signals, .data = &run };
  g_autofree char *status = describe (server);
  guint watchdog;

  if (signals.fd < 0 || !fsc_loop_add (server->loop, &signals, EPOLLIN))
    return fsc_failure_set_errno (error, errno, "cannot wait for signals");
  watchdog = fsc_manager_watch (server->loop);
  fsc_manager_say_ready (status);
  g_info ("%s", status);
  g_main_loop_run (loop);
  fsc_manager_say_stopping ();
  g_info ("Stopping");
  g_clear_handle_id (&watchdog, g_source_remove);
  fsc_loop_remove (server->loop, &signals);
  close (signals.fd);
  return !server->has_failed
         || fsc_failure_set (error, EPIPE,
                             "the spawner has ended, and only root could start another one");
}

/* Root alone can serve all. */
static const FscUser *
get_user (const FscConfig *config)
{
  return config->user.groups != NULL && fsc_privileges_can_become_others () ? &config->user : NULL;
}

static gboolean
allow_provider (FscSpawner *spawner, const FscConfig *config, const FscProvider *provider,
                const char *opener_dir, GError **error)
{
  g_auto (GStrv) command
      = fsc_provider_get_command (provider, opener_dir, fsc_config_get_deadline (config, provider));

  return (provider->user.groups == NULL || fsc_spawner_allow_user (spawner, &provider->user, error))
         && fsc_spawner_allow_command (spawner, command, error);
}

/* The spawner has the socket, and stays root. */
static gboolean
serve_all (FscSpawner *spawner, FscListener *listener, const FscConfig *config,
           const char *opener_dir, GError **error)
{
  const FscUser *user = get_user (config);
  const GPtrArray *providers = fsc_providers_get_all (config->providers);
  int socket = fsc_listener_steal_socket (listener);
  gboolean is_good = TRUE;

  for (guint i = 0; is_good && i < providers->len; i++)
    is_good = allow_provider (spawner, config, providers->pdata[i], opener_dir, error);
  is_good = is_good && fsc_spawner_serve_all (spawner, socket, user, error);
  close (socket);
  if (!is_good)
    return FALSE;
  fsc_privileges_bound ();
  if (!fsc_privileges_become (user->uid, user->gid, user->groups, user->n_groups))
    return fsc_failure_set_errno (error, errno, "cannot become user %u", user->uid);
  return TRUE;
}

static FscListener *
open_listener (const FscConfig *config, const Options *options, guint n_passed, GError **error)
{
  g_autofree char *path = options->socket != NULL ? g_canonicalize_filename (options->socket, NULL)
                                                  : g_strdup (config->socket);
  int socket;

  if (!fsc_manager_take_socket (n_passed, &socket, error))
    return NULL;
  return fsc_listener_new (path, socket, options->replace, get_user (config), error);
}

static gboolean
serve (const FscConfig *config, const Options *options, guint n_passed, GError **error)
{
  const char *other_dir = g_getenv ("FSCACHE_OPENER_DIR");
  const char *opener_dir = other_dir != NULL ? other_dir : FSC_OPENER_DIR;
  const FscUser *user = get_user (config);
  g_autoptr (FscSpawner) spawner = NULL;
  g_autoptr (FscListener) listener = NULL;
  g_autoptr (FscServer) server = NULL;

  raise_descriptor_limit ();
  if (!fsc_filter_load_least ())
    return fsc_failure_set_errno (error, errno, "cannot filter system calls");
  spawner = fsc_spawner_new (error);
  if (spawner == NULL)
    return FALSE;
  ask_for_short_slices ();
  prctl (PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
  listener = open_listener (config, options, n_passed, error);
  if (listener == NULL
      || (user != NULL && !serve_all (spawner, listener, config, opener_dir, error)))
    return FALSE;
  if (!fsc_privileges_drop ())
    return fsc_failure_set_errno (error, errno, "cannot give up capabilities");
  server = fsc_server_new (config, g_steal_pointer (&spawner), g_steal_pointer (&listener),
                           opener_dir, error);
  if (server == NULL)
    return FALSE;
  if (user != NULL && !fsc_filter_load (FSC_FILTER_SERVICE))
    return fsc_failure_set_errno (error, errno, "cannot filter system calls");
  return run (server, options, error);
}

/* Whoever asks for it is to know that it cannot be had. */
static gboolean
set_user (FscConfig *config, const char *name, GError **error)
{
  g_autofree char *problem = fsc_config_set_user (config, name);

  if (problem == NULL && config->user.uid == 0)
    problem = g_strdup ("whom the service becomes must not be root");
  if (problem == NULL && !fsc_privileges_can_become_others ())
    problem = g_strdup ("only root can serve all users");
  return problem == NULL || fsc_failure_set (error, EINVAL, "--user %s: %s", name, problem);
}

int
main (int argc, char **argv)
{
  g_autoptr (FscConfig) config = NULL;
  g_autoptr (GError) error = NULL;
  g_auto (Options) options = { 0 };
  guint n_passed = fsc_manager_count_descriptors ();

  setlocale (LC_ALL, "");
  put_descriptors_in_order (n_passed);
  signal (SIGPIPE, SIG_IGN);
  g_log_writer_default_set_use_stderr (TRUE);
  if (!parse_options (&argc, &argv, &options, &error))
    {
      fprintf (stderr, "fscached: %s\nTry 'fscached --help'.\n", error->message);
      return 2;
    }
  if (options.version)
    {
      printf ("fscached %s\n", FSC_VERSION);
      return 0;
    }
  if (options.verbose)
    g_log_set_debug_enabled (TRUE);

  config = load (&options, fsc_privileges_can_become_others (), &error);
  if (config != NULL && options.check_config)
    {
      printf ("The configuration is good.\n");
      return 0;
    }
  if (config != NULL && options.user != NULL && !set_user (config, options.user, &error))
    g_clear_pointer (&config, fsc_config_free);
  if (config == NULL || !serve (config, &options, n_passed, &error))
    {
      fprintf (stderr, "fscached: %s\n", error->message);
      return 1;
    }
  return 0;
}
