/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The spawner's own process; see nursery.h.
 *
 * It uses no GLib, and allocates only for a service that serves all users: else it may be forked
 * again, from a service that has threads, when it was killed.
 */
#include "fscache/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/filter.h"
#include "fscache/privileges.h"
#include "protocol/channel.h"

#define CHILDREN_MAX 1024
#define USERS_MAX 1024
#define COMMANDS_MAX 256
#define RETRY_MS 20

typedef struct
{
  guint32 id;
  pid_t pid;
} Child;

typedef struct
{
  int socket;
  guint n;
  Child children[CHILDREN_MAX];

  /* For all users: */
  int listener; /* or -1 */
  guint n_users, n_commands;
  FscOrder *users[USERS_MAX]; /* as they were in an order; the first is the service's own */
  FscOrder *commands[COMMANDS_MAX];
  gboolean has_root; /* among the clients there has been */
  FscOrder newcomer; /* an ACCEPTED that waits to be sent, */
  int waiting;       /* and its socket, or -1 */
} Nursery;

gboolean
fsc_order_is_valid (const FscOrder *order, ssize_t length)
{
  if (length < (ssize_t) offsetof (FscOrder, payload) || order->n_groups > FSC_GROUPS_MAX
      || order->command_length > FSC_ORDER_COMMAND_MAX
      || (size_t) length != fsc_order_get_length (order))
    return FALSE;
  return order->command_length == 0
         || fsc_order_get_command (order)[order->command_length - 1] == '\0';
}

/* Starting */

/* Variables, the program, and its arguments, of which the first is the program's name. Returns the
 * program's path, or NULL if there is none, or there are too many words. */
static const char *
split_command (const FscOrder *order, char **environment, char **arguments)
{
  const char *program = NULL;
  char *command = fsc_order_get_command (order), *name;
  guint n = 0, n_words = 0;

  for (guint32 at = 0; at < order->command_length; at += (guint32) strlen (command + at) + 1)
    {
      char *word = command + at;

      if (++n_words > FSC_ORDER_WORDS_MAX)
        return NULL;
      if (program == NULL && strchr (word, '=') != NULL)
        *environment++ = word;
      else if (program == NULL)
        program = arguments[n++] = word;
      else
        arguments[n++] = word;
    }
  *environment = arguments[n] = NULL;
  name = program != NULL ? strrchr (program, '/') : NULL;
  if (name != NULL)
    arguments[0] = name + 1;
  return program;
}

static void
run_child (const FscOrder *order, const FscOrder *user, int socket, pid_t parent)
{
  char path[] = "PATH=/usr/bin:/bin", language[] = "LANG=C";
  char filter[sizeof FSC_FILTER_VARIABLE + 8];
  const char *filtered = getenv (FSC_FILTER_VARIABLE);
  char *environment[3 + FSC_ORDER_WORDS_MAX + 1] = { path, language, filter };
  char *arguments[FSC_ORDER_WORDS_MAX + 1];
  const char *program;
  struct rlimit no_core = { 0 };
  sigset_t none;
  int null;

  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  for (int number = 1; number < NSIG; number++)
    signal (number, SIG_DFL);

  fsc_privileges_bound ();
  if (user != NULL && !fsc_privileges_become (user->uid, user->gid, user->payload, user->n_groups))
    _exit (126);
  prctl (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* becoming another user has ended it */
  if (getppid () != parent)
    _exit (126);
  if (socket != 3 && (dup2 (socket, 3) < 0 || close (socket) < 0))
    _exit (126);
  if (fcntl (3, F_SETFD, 0) < 0)
    _exit (126);
  null = open ("/dev/null", O_RDWR);
  if (null < 0 || dup2 (null, 0) < 0 || dup2 (null, 1) < 0)
    _exit (126);
  syscall (SYS_close_range, 4, ~0U, 0);
  setrlimit (RLIMIT_CORE, &no_core);
  umask (0);
  if (chdir ("/") < 0)
    _exit (126);
  if (!fsc_privileges_drop ())
    _exit (126);
  snprintf (filter, sizeof filter, FSC_FILTER_VARIABLE "=%s", filtered != NULL ? filtered : "");
  program = split_command (order, environment + (filtered != NULL ? 3 : 2), arguments);
  if (program != NULL)
    execve (program, arguments, environment);
  _exit (127);
}

static void
report (Nursery *nursery, guint32 id, int status)
{
  FscOrder order = { .what = FSC_ORDER_EXITED, .id = id, .status = status };

  while (fsc_channel_send (nursery->socket, &order, fsc_order_get_length (&order), NULL, 0, 0)
         == -EINTR)
    ;
}

static gboolean
is_user (const FscOrder *user, const FscOrder *order)
{
  return user->uid == order->uid && user->gid == order->gid && user->n_groups == order->n_groups
         && memcmp (user->payload, order->payload, order->n_groups * sizeof order->payload[0]) == 0;
}

static gboolean
is_known (const Nursery *nursery, const FscOrder *order)
{
  for (guint i = 0; i < nursery->n_users; i++)
    if (is_user (nursery->users[i], order))
      return TRUE;
  return FALSE;
}

static gboolean
is_command (const Nursery *nursery, const FscOrder *order)
{
  for (guint i = 0; i < nursery->n_commands; i++)
    if (nursery->commands[i]->command_length == order->command_length
        && memcmp (fsc_order_get_command (nursery->commands[i]), fsc_order_get_command (order),
                   order->command_length)
               == 0)
      return TRUE;
  return FALSE;
}

static gboolean
is_for_all (const Nursery *nursery)
{
  return nursery->listener >= 0;
}

static gboolean
is_allowed (const Nursery *nursery, const FscOrder *order)
{
  if (!is_for_all (nursery))
    return TRUE;
  return is_command (nursery, order)
         && (!order->has_user || nursery->has_root || is_known (nursery, order));
}

/* As whom it runs; NULL: as the spawner itself. */
static const FscOrder *
get_user (const Nursery *nursery, const FscOrder *order)
{
  if (order->has_user)
    return order;
  return is_for_all (nursery) ? nursery->users[0] : NULL;
}

static void
start (Nursery *nursery, const FscOrder *order, int socket)
{
  pid_t parent = getpid ();
  pid_t pid = nursery->n < CHILDREN_MAX && is_allowed (nursery, order) ? fork () : -1;

  if (pid == 0)
    run_child (order, get_user (nursery, order), socket, parent);
  if (pid < 0)
    report (nursery, order->id, 126 << 8);
  else
    nursery->children[nursery->n++] = (Child){ order->id, pid };
}

static void
reap (Nursery *nursery)
{
  int status;
  pid_t pid;

  while ((pid = waitpid (-1, &status, WNOHANG)) > 0)
    for (guint i = 0; i < nursery->n; i++)
      if (nursery->children[i].pid == pid)
        {
          report (nursery, nursery->children[i].id, status);
          nursery->children[i] = nursery->children[--nursery->n];
          break;
        }
}

/* Serving all users */

static FscOrder *
copy (const FscOrder *order)
{
  size_t length = fsc_order_get_length (order);
  FscOrder *own = malloc (length);

  if (own != NULL)
    memcpy (own, order, length);
  return own;
}

/* Returns FALSE if there is no room. */
static gboolean
add_user (Nursery *nursery, const FscOrder *order)
{
  FscOrder *own;

  if (is_known (nursery, order))
    return TRUE;
  own = nursery->n_users < USERS_MAX ? copy (order) : NULL;
  if (own != NULL)
    nursery->users[nursery->n_users++] = own;
  return own != NULL;
}

static gboolean
allow (Nursery *nursery, const FscOrder *order)
{
  FscOrder *own;

  if (is_for_all (nursery))
    return FALSE;
  if (order->has_user)
    return add_user (nursery, order);
  own = nursery->n_commands < COMMANDS_MAX ? copy (order) : NULL;
  if (own != NULL)
    nursery->commands[nursery->n_commands++] = own;
  return own != NULL;
}

/* Takes the listener. */
static gboolean
serve (Nursery *nursery, const FscOrder *order, int listener)
{
  FscOrder *first = nursery->users[0];

  if (is_for_all (nursery) || !order->has_user || !add_user (nursery, order))
    {
      close (listener);
      return FALSE;
    }
  for (guint i = 0; i < nursery->n_users; i++)
    if (is_user (nursery->users[i], order))
      {
        nursery->users[0] = nursery->users[i];
        if (i > 0)
          nursery->users[i] = first;
        break;
      }
  nursery->listener = listener;
  return fsc_privileges_keep_for_spawning ();
}

/* Who has called connect(), as the kernel has noted it then. Returns FALSE if that cannot be told,
 * or is in more groups than are looked at. */
static gboolean
identify (int socket, FscOrder *order)
{
  struct ucred peer = { .uid = (uid_t) -1, .gid = (gid_t) -1 };
  socklen_t length = sizeof peer;
  gboolean is_good = getsockopt (socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0;

  order->status = peer.pid;
  order->uid = peer.uid;
  order->gid = peer.gid;
  length = FSC_GROUPS_MAX * sizeof order->payload[0];
  if (!is_good || getsockopt (socket, SOL_SOCKET, SO_PEERGROUPS, order->payload, &length) < 0)
    return FALSE;
  order->n_groups = (guint32) (length / sizeof order->payload[0]);
  return TRUE;
}

/* Returns FALSE if it has to be tried again. */
static gboolean
send_newcomer (Nursery *nursery)
{
  int r = fsc_channel_send (nursery->socket, &nursery->newcomer,
                            fsc_order_get_length (&nursery->newcomer), &nursery->waiting, 1,
                            MSG_DONTWAIT);

  if (r == -EAGAIN || r == -ETOOMANYREFS)
    return FALSE;
  close (nursery->waiting);
  nursery->waiting = -1;
  return TRUE;
}

/* Returns FALSE if no more can be accepted for now. */
static gboolean
accept_one (Nursery *nursery)
{
  FscOrder *order = &nursery->newcomer;
  int socket = accept4 (nursery->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

  if (socket < 0)
    return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
  *order = (FscOrder){ .what = FSC_ORDER_ACCEPTED };
  order->has_user = identify (socket, order) && add_user (nursery, order);
  nursery->has_root |= order->has_user && order->uid == 0;
  nursery->waiting = socket;
  return send_newcomer (nursery);
}

/* The loop */

/* Returns FALSE when the service is gone, or at fault. */
static gboolean
take_order (Nursery *nursery)
{
  FscOrder order;
  FscFds fds;
  gboolean is_good = TRUE;
  ssize_t length
      = fsc_channel_receive (nursery->socket, &order, sizeof order, &fds, 1, NULL, MSG_DONTWAIT);

  if (length == -EAGAIN)
    return TRUE;
  if (length < 0 || !fsc_order_is_valid (&order, length))
    {
      if (length >= 0)
        fsc_fds_clear (&fds);
      return FALSE;
    }
  if (order.what == FSC_ORDER_START && fds.n == 1)
    start (nursery, &order, fds.fds[0]);
  else if (order.what == FSC_ORDER_ALLOW)
    is_good = allow (nursery, &order);
  else if (order.what == FSC_ORDER_SERVE && fds.n == 1)
    is_good = serve (nursery, &order, fsc_fds_steal (&fds, 0));
  else if (order.what == FSC_ORDER_KILL)
    for (guint i = 0; i < nursery->n; i++)
      if (nursery->children[i].id == order.id)
        kill (nursery->children[i].pid, SIGKILL);
  fsc_fds_clear (&fds);
  return is_good;
}

void
fsc_nursery_run (int socket)
{
  static Nursery nursery; /* of this process alone, and large */
  gboolean is_paused = FALSE;
  sigset_t chld;
  int signals;

  nursery = (Nursery){ .socket = socket, .listener = -1, .waiting = -1 };
  setsid (); /* Ctrl-C is for the service */
  prctl (PR_SET_NAME, "fscached-spawn", 0, 0, 0);
  for (int number = 1; number < NSIG; number++)
    signal (number, SIG_DFL);
  sigemptyset (&chld);
  sigaddset (&chld, SIGCHLD);
  sigprocmask (SIG_SETMASK, &chld, NULL);
  signals = signalfd (-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);

  for (;;)
    {
      struct pollfd fds[] = { { .fd = socket, .events = POLLIN },
                              { .fd = signals, .events = POLLIN },
                              { .fd = is_paused ? -1 : nursery.listener, .events = POLLIN } };
      struct signalfd_siginfo info;

      if (poll (fds, G_N_ELEMENTS (fds), is_paused ? RETRY_MS : -1) < 0 && errno != EINTR)
        break;
      if (fds[0].revents != 0 && !take_order (&nursery))
        break;
      while (read (signals, &info, sizeof info) > 0)
        ;
      reap (&nursery);
      if (nursery.waiting >= 0)
        is_paused = !send_newcomer (&nursery);
      else if (is_paused || fds[2].revents != 0)
        is_paused = !accept_one (&nursery);
    }
  for (guint i = 0; i < nursery.n; i++)
    kill (nursery.children[i].pid, SIGKILL);
  _exit (0);
}
