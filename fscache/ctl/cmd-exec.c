/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl exec: runs a program with handles on descriptors of its own. It replaces this process,
 * but where handles are lent to it: a loan ends with the client, so that stays.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/output.h"
#include "fscache/ctl/place.h"
#include "fscache/ctl/put.h"
#include "fscache/ctl/request.h"
#include "fscache/ctl/stay.h"

#define LISTEN_FDS_START 3 /* as in sd-daemon.h */
#define LISTEN_NAME_MAX 255

/* What the --fd options ask for. The three arrays have n_fds elements. */
typedef struct
{
  gsize n_fds;
  FscPlacement *placements;
  FscacheRequest *requests;
  FscacheReply *replies;
  GString *names; /* for LISTEN_FDNAMES: joined by colons */
} Plan;

static void
plan_clear (Plan *plan)
{
  g_clear_pointer (&plan->placements, g_free);
  g_clear_pointer (&plan->requests, g_free);
  g_clear_pointer (&plan->replies, g_free);
  if (plan->names != NULL)
    g_string_free (g_steal_pointer (&plan->names), TRUE);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Plan, plan_clear)

static gboolean
parse_fd (const char *text, int *fd)
{
  guint64 value;

  if (!g_ascii_string_to_unsigned (text, 10, 0, G_MAXINT, &value, NULL))
    return FALSE;
  *fd = value;
  return TRUE;
}

static gboolean
is_listen_name (const char *name)
{
  if (*name == '\0' || strlen (name) > LISTEN_NAME_MAX)
    return FALSE;
  for (; *name != '\0'; name++)
    {
      if (!g_ascii_isgraph (*name) || *name == ':')
        return FALSE;
    }
  return TRUE;
}

/* What stands before the '=' of an --fd: a number, or with --listen a name. Returns FALSE after
 * having said what is wrong. */
static gboolean
choose_target (FscCtl *ctl, Plan *plan, gsize i, const char *word, gboolean listen)
{
  int *target = &plan->placements[i].target;
  gboolean is_number = parse_fd (word, target);
  int next = LISTEN_FDS_START + (int) i;

  if (!listen)
    {
      if (is_number)
        return TRUE;
      fsc_ctl_refuse_usage (ctl, "\"%s\" is no descriptor number", word);
      return FALSE;
    }
  if (is_number && *target != next)
    fsc_ctl_refuse_usage (ctl, "with --listen this handle gets descriptor %d, not %d", next,
                          *target);
  else if (!is_listen_name (word))
    fsc_ctl_refuse_usage (ctl, "\"%s\" cannot be the name of a descriptor", word);
  else
    {
      *target = next;
      g_string_append_printf (plan->names, "%s%s", i > 0 ? ":" : "", word);
      return TRUE;
    }
  return FALSE;
}

static gboolean
has_room (FscCtl *ctl, int target)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) == 0 && (rlim_t) target >= limit.rlim_cur)
    {
      fsc_ctl_refuse_usage (ctl,
                            "descriptor %d is beyond the limit (ulimit -n) of %" G_GUINT64_FORMAT,
                            target, (guint64) limit.rlim_cur);
      return FALSE;
    }
  return TRUE;
}

static gboolean
make_plan (FscCtl *ctl, Plan *plan, char **fds, const FscacheRequest *request,
           const FscRequestOptions *options, gboolean listen)
{
  plan->n_fds = fds != NULL ? g_strv_length (fds) : 0;
  plan->placements = g_new0 (FscPlacement, plan->n_fds);
  plan->requests = g_new0 (FscacheRequest, plan->n_fds);
  plan->replies = g_new0 (FscacheReply, plan->n_fds);
  plan->names = g_string_new (NULL);

  for (gsize i = 0; i < plan->n_fds; i++)
    {
      char *equals = strchr (fds[i], '=');

      if (equals == NULL || equals[1] == '\0')
        {
          fsc_ctl_refuse_usage (ctl, "--fd %s: it is N=URI", fds[i]);
          return FALSE;
        }
      *equals = '\0';
      if (!choose_target (ctl, plan, i, fds[i], listen)
          || !has_room (ctl, plan->placements[i].target))
        return FALSE;
      for (gsize j = 0; j < i; j++)
        {
          if (plan->placements[j].target == plan->placements[i].target)
            {
              fsc_ctl_refuse_usage (ctl, "descriptor %s is given twice", fds[i]);
              return FALSE;
            }
        }
      plan->requests[i] = *request;
      fsc_request_set_uri (&plan->requests[i], options, equals + 1);
    }
  return TRUE;
}

/* Whether all that is to be put is there. What is to be put is NAME or NAME=FD. */
static gboolean
check_puts (FscCtl *ctl, char **puts)
{
  for (; puts != NULL && *puts != NULL; puts++)
    {
      const char *equals = strrchr (*puts, '=');
      int fd = STDIN_FILENO;

      if (equals != NULL && !parse_fd (equals + 1, &fd))
        fsc_ctl_refuse_usage (ctl, "--put %s: it is NAME or NAME=N", *puts);
      else if (!fsc_put_is_inherited (fd))
        fsc_ctl_refuse_usage (ctl, "--put %s: descriptor %d is not open", *puts, fd);
      else
        continue;
      return FALSE;
    }
  return TRUE;
}

/* Puts all, or says what it could not put. */
static gboolean
put_all (FscacheClient *client, char **puts, const FscachePut *how)
{
  for (; puts != NULL && *puts != NULL; puts++)
    {
      char *equals = strrchr (*puts, '=');
      FscacheReply reply = { 0 };
      int fd = STDIN_FILENO;

      if (equals != NULL && parse_fd (equals + 1, &fd))
        *equals = '\0';
      if (!fsc_put_one (client, how, *puts, fd, &reply))
        return FALSE;
    }
  return TRUE;
}

/* Gets all handles, or says what it could not get. */
static gboolean
open_all (FscacheClient *client, Plan *plan)
{
  gboolean is_complete = TRUE;
  int result;

  result = fscache_open_many (client, plan->requests, plan->replies, plan->n_fds);
  for (gsize i = 0; i < plan->n_fds && is_complete; i++)
    {
      const FscacheReply *reply = &plan->replies[i];

      if (reply->fd >= 0)
        plan->placements[i].source = reply->fd;
      else
        {
          /* One line: the first reason is reason enough not to run the program. */
          fsc_output_complain_reply (plan->requests[i].uri, reply, result < 0 ? result : -EIO);
          is_complete = FALSE;
        }
    }
  return is_complete;
}

/* What is not to be the program's after all is there for others as before, but for a time that it
 * had. */
static void
put_back (FscacheClient *client, const Plan *plan)
{
  for (gsize i = 0; i < plan->n_fds; i++)
    {
      FscachePut put = { .uri = plan->requests[i].uri, .fd = plan->replies[i].fd };
      FscacheReply reply;

      if (put.fd >= 0 && fscache_put (client, &put, &reply) < 0)
        fsc_output_complain_reply (put.uri, &reply, -reply.error);
    }
}

/* --names: NAME=URI of all that is kept under names that match. A colon would end a name. */

static void
add_name (const FscacheEntry *entry, void *data)
{
  g_auto (GStrv) parts = g_strsplit (entry->uri, ":", -1);
  g_autofree char *name = g_strjoinv ("%3A", parts + 1);

  g_ptr_array_add (data, g_strconcat (name, "=", entry->uri, NULL));
}

/* Replaces *fds by themselves and the names. */
static gboolean
add_names (FscacheClient *client, char ***fds, const char *pattern)
{
  g_autofree char *uris = fsc_put_get_uri (pattern);
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func (g_free);
  FscacheReply reply = { 0 };
  gssize result;

  for (gsize i = 0; *fds != NULL && (*fds)[i] != NULL; i++)
    g_ptr_array_add (all, g_strdup ((*fds)[i]));
  result = fscache_list (client, uris, add_name, all, &reply);
  if (result < 0)
    {
      fsc_output_complain_reply (uris, &reply, (int) result);
      return FALSE;
    }
  g_ptr_array_add (all, NULL);
  g_strfreev (*fds);
  *fds = (char **) g_ptr_array_free (g_steal_pointer (&all), FALSE);
  return TRUE;
}

static gboolean
set_listen_environment (const Plan *plan)
{
  g_autofree char *n = g_strdup_printf ("%" G_GSIZE_FORMAT, plan->n_fds);
  g_autofree char *pid = g_strdup_printf ("%d", (int) getpid ());

  return g_setenv ("LISTEN_FDS", n, TRUE) && g_setenv ("LISTEN_PID", pid, TRUE)
         && g_setenv ("LISTEN_FDNAMES", plan->names->str, TRUE);
}

/* Does not return but on failure. */
static int
run_program (Plan *plan, char **program, gboolean listen)
{
  int failed = -1;
  int error;
  /* --fd 2=... is fine, but a complaint about the program does not belong there. */
  int complaints = fsc_place_dup_aside (STDERR_FILENO, plan->placements, plan->n_fds);

  if (complaints < 0)
    {
      fsc_output_complain ("cannot duplicate standard error: %s", g_strerror (errno));
      return FSC_EXIT_FAILED;
    }
  fsc_output_set_complaints_fd (complaints);
  if (!fsc_place_all (plan->placements, plan->n_fds, &failed))
    {
      fsc_output_complain ("descriptor %d cannot be had: %s", failed, g_strerror (errno));
      return FSC_EXIT_FAILED;
    }
  if (listen && !set_listen_environment (plan))
    {
      fsc_output_complain ("cannot set the environment: %s", g_strerror (errno));
      return FSC_EXIT_FAILED;
    }
  execvp (program[0], program);
  error = errno;
  fsc_output_complain ("%s: cannot be run: %s", program[0], g_strerror (error));
  return error == ENOENT ? FSC_EXIT_NOT_FOUND : FSC_EXIT_CANNOT_RUN;
}

/* Whether what is borrowed may be lent again, only the program knows. */
static void
end_loans (FscacheClient *client, Plan *plan, gboolean is_spent)
{
  for (gsize i = 0; i < plan->n_fds; i++)
    if (is_spent)
      fscache_discard (client, &plan->replies[i]);
    else
      fscache_give_back (client, &plan->replies[i]);
}

static int
stay_with_program (FscacheClient *client, Plan *plan, char **program, gboolean listen)
{
  pid_t child = fsc_stay_fork ();
  int status;

  if (child == 0)
    _exit (run_program (plan, program, listen));
  if (child < 0)
    {
      fsc_output_complain ("no process can be started: %s", g_strerror (errno));
      end_loans (client, plan, FALSE);
      return FSC_EXIT_FAILED;
    }
  status = fsc_stay_wait (child);
  end_loans (client, plan, status != 0);
  return fsc_stay_end (status);
}

static int
run_exec (FscCtl *ctl, int argc, char **argv)
{
  g_auto (FscRequestOptions) options = { 0 };
  g_auto (FscPutOptions) put_options = { 0 };
  g_auto (GStrv) fds = NULL;
  g_auto (GStrv) puts = NULL;
  g_autofree char *names = NULL;
  g_autofree char *program = NULL;
  gboolean listen = FALSE, take = FALSE;
  const GOptionEntry entries[] = {
    { "fd", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &fds, "Put the resource on descriptor N", "N=URI" },
    { "listen", 'l', 0, G_OPTION_ARG_NONE, &listen,
      "Pass the handles as LISTEN_FDS does; --fd NAME=URI", NULL },
    { "names", 0, 0, G_OPTION_ARG_STRING, &names,
      "With --listen: all that is kept under names that match", "PATTERN" },
    { "take", 0, 0, G_OPTION_ARG_NONE, &take, "Of handle: URIs: it is there no more for others",
      NULL },
    { "put", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &puts,
      "Before that, keep descriptor N (default: 0) under a name", "NAME[=N]" },
    FSC_PUT_REPLACE (put_options, "Of --put: "),
    FSC_PUT_TTL (put_options, "Of --put: "),
    FSC_REQUEST_SHARING (options, "independent"),
    FSC_REQUEST_FLAGS (options),
    FSC_REQUEST_MODE (options),
    FSC_REQUEST_TIMEOUT (options),
    FSC_REQUEST_MAX_AGE (options),
    FSC_REQUEST_REVALIDATE (options),
    { NULL },
  };
  g_auto (Plan) plan = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (FscacheClient) client = NULL;
  FscacheRequest request;
  FscachePut how;

  fsc_ctl_parse (ctl, entries, &argc, &argv, 1, -1);
  if (!fsc_request_options_get (&options, FSCACHE_INDEPENDENT, &request, &error)
      || !fsc_put_options_get (&put_options, &how, &error))
    return fsc_ctl_refuse_usage (ctl, "%s", error->message);
  if (fds == NULL && puts == NULL && names == NULL)
    return fsc_ctl_refuse_usage (ctl, "no --fd N=URI says which handles to pass");
  if (names != NULL && !listen)
    return fsc_ctl_refuse_usage (ctl, "--names is for --listen, which passes names");
  request.options |= FSCACHE_NO_FALLBACK | (take ? FSCACHE_TAKE : 0);
  how.timeout_ms = request.timeout_ms;
  if (!check_puts (ctl, puts))
    return FSC_EXIT_USAGE;
  client = fsc_ctl_connect (ctl);
  if (names != NULL && !add_names (client, &fds, names))
    return FSC_EXIT_FAILED;
  if (!make_plan (ctl, &plan, fds, &request, &options, listen))
    return FSC_EXIT_USAGE;
  program = g_find_program_in_path (argv[1]);
  if (take && program == NULL)
    {
      fsc_output_complain ("%s: cannot be run: %s", argv[1], g_strerror (ENOENT));
      return FSC_EXIT_NOT_FOUND;
    }
  if (!put_all (client, puts, &how))
    return FSC_EXIT_FAILED;
  if (!open_all (client, &plan))
    {
      if (take)
        put_back (client, &plan);
      end_loans (client, &plan, FALSE);
      return FSC_EXIT_FAILED;
    }
  if (request.sharing == FSCACHE_EXCLUSIVE)
    return stay_with_program (client, &plan, argv + 1, listen);
  g_clear_pointer (&client, fscache_disconnect); /* its descriptor's number may be wanted */
  return run_program (&plan, argv + 1, listen);
}

const FscCommand fsc_ctl_exec = {
  .name = "exec",
  .arguments = "-- COMMAND [ARGUMENT...]",
  .summary = "Run a program with handles on descriptors of its own",
  .description
  = "Each --fd N=URI gives COMMAND the resource on descriptor N (0, 1 and 2 are stdin, stdout and\n"
    "stderr). The handles come from the service, or COMMAND is not run. They are independent, as\n"
    "after open(2): COMMAND may read() and lseek(). With --sharing shared it must not, but "
    "pread()\n"
    "and mmap() are fine, and on a network file system one open is saved.\n"
    "\n"
    "A handle:NAME is given as it was put (fscachectl put): with its offset and its flags. --put\n"
    "puts descriptors that fscachectl has, before it opens anything; COMMAND has them, too.\n"
    "\n"
    "With --listen the handles are passed as sd_listen_fds(3) expects them: on 3, 4, 5 ... in the\n"
    "order given, with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES. What stands before the '=' then\n"
    "is the name (a number is a name too, but must be the one that the handle gets). --names "
    "adds\n"
    "all that is kept under names that match, each with its name; fscachectl put --listen is the\n"
    "way back.\n"
    "\n"
    "With --take what is under a name is COMMAND's, and there no more for others. If one of "
    "several\n"
    "cannot be had, the others are put back.\n"
    "\n"
    "COMMAND replaces fscachectl, so that the exit status is its own. Otherwise it is 1 if a "
    "handle\n"
    "could not be had, 2 for wrong usage, 126 if COMMAND cannot be run and 127 if it is not "
    "there.\n"
    "\n"
    "With --sharing exclusive the handles are lent, and fscachectl stays until COMMAND has ended,\n"
    "passes signals on to it, and ends as it does. If that is with 0, it gives back what was "
    "lent:\n"
    "a connection goes back into its pool, and is given to others as it is, but if there is still\n"
    "something to read. So COMMAND must have read all that it has asked for, and left no process\n"
    "that goes on with it. After any other end nobody is lent it again.\n"
    "\n" FSC_HELP_NAMING "\n"
    "\n"
    "Examples:\n"
    "  fscachectl exec --fd 0=/srv/words -- sort -u\n"
    "  fscachectl exec --fd 3=/srv/a --fd 4=/srv/b -- cmp /proc/self/fd/3 /proc/self/fd/4\n"
    "  fscachectl exec --listen --fd model=/srv/m.bin -- ./server\n"
    "  fscachectl exec -s exclusive --fd 3=tcp://127.0.0.1:6379 -- ./ask-redis\n"
    "  fscachectl exec --put web=3 --replace -- ./server\n"
    "  fscachectl exec --take --fd 3=handle:web -- ./next-server\n"
    "  fscachectl exec --listen --names 'web-*' -- ./server",
  .run = run_exec,
  .runs_program = TRUE,
};
