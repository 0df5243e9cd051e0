/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The spawner, both sides; see spawner.h. The two speak in structs over a packet socket: they are
 * one program.
 *
 * The spawner's side allocates nothing and uses no GLib: it may be forked again, from a service
 * that has threads, when it was killed.
 */
#include "fscache/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/failure.h"
#include "fscache/privileges.h"
#include "protocol/channel.h"
#include "protocol/protocol.h"

#define CHILDREN_MAX 1024
#define COMMAND_MAX 8192
#define WORDS_MAX 64

typedef struct
{
  enum
  {
    START,
    KILL,
    EXITED
  } what;
  guint32 id;
  int status;

  /* START */
  gboolean has_user;
  uid_t uid;
  gid_t gid;
  guint32 n_groups;
  guint32 command_length;
  char command[COMMAND_MAX]; /* the program's path and its arguments, each with a zero byte */
  gid_t groups[FSC_GROUPS_MAX];
} Message;

#define SHORT_MESSAGE offsetof (Message, has_user)

/* Starts that wait until the spawner has read others. */
#define WAITING_MAX CHILDREN_MAX

/* A message that waits. */
typedef struct
{
  Message *message;
  size_t length;
  int socket; /* or -1 */
} Letter;

struct FscSpawner
{
  FscLoop *loop;
  FscPoll poll; /* its descriptor is our end of the socket */
  gboolean is_privileged;
  FscExitedFunc exited;
  gpointer data;
  pid_t pid;
  guint32 last_id;
  GHashTable *running; /* ids */
  GQueue waiting;      /* of Letter, which the socket has no room for yet */
};

/* The spawner's side */

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
} Nursery;

static gboolean
become (const Message *message)
{
  return !message->has_user
         || (setgroups (message->n_groups, message->groups) == 0
             && setresgid (message->gid, message->gid, message->gid) == 0
             && setresuid (message->uid, message->uid, message->uid) == 0);
}

/* Variables, the program, and its arguments, of which the first is the program's name. Returns the
 * program's path. */
static const char *
split_command (const Message *message, char **environment, char **arguments)
{
  const char *program = NULL;
  char *name;
  guint n = 0;

  for (guint32 at = 0; at < message->command_length;
       at += (guint32) strlen (message->command + at) + 1)
    {
      char *word = (char *) message->command + at;

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
run_child (const Message *message, int socket, pid_t parent)
{
  char path[] = "PATH=/usr/bin:/bin", language[] = "LANG=C";
  char *environment[2 + WORDS_MAX + 1] = { path, language };
  char *arguments[WORDS_MAX + 1];
  const char *program;
  struct rlimit no_core = { 0 };
  sigset_t none;
  int null;

  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  for (int number = 1; number < NSIG; number++)
    signal (number, SIG_DFL);

  fsc_privileges_bound ();
  if (!become (message))
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
  program = split_command (message, environment + 2, arguments);
  if (program != NULL)
    execve (program, arguments, environment);
  _exit (127);
}

static void
report (Nursery *nursery, guint32 id, int status)
{
  Message message = { .what = EXITED, .id = id, .status = status };

  fsc_channel_send (nursery->socket, &message, SHORT_MESSAGE, NULL, 0, 0);
}

static void
start (Nursery *nursery, const Message *message, int socket)
{
  pid_t parent = getpid ();
  pid_t pid = nursery->n < CHILDREN_MAX ? fork () : -1;

  if (pid == 0)
    run_child (message, socket, parent);
  if (pid < 0)
    report (nursery, message->id, 126 << 8);
  else
    nursery->children[nursery->n++] = (Child){ message->id, pid };
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

/* Returns FALSE when the service is gone. */
static gboolean
take_message (Nursery *nursery)
{
  Message message;
  FscFds fds;
  ssize_t length = fsc_channel_receive (nursery->socket, &message, sizeof message, &fds, 1, NULL,
                                        MSG_DONTWAIT);

  if (length == -EAGAIN)
    return TRUE;
  if (length < (ssize_t) SHORT_MESSAGE)
    return FALSE;
  if (message.what == START && fds.n == 1 && length >= (ssize_t) offsetof (Message, groups))
    start (nursery, &message, fds.fds[0]);
  else if (message.what == KILL)
    for (guint i = 0; i < nursery->n; i++)
      if (nursery->children[i].id == message.id)
        kill (nursery->children[i].pid, SIGKILL);
  fsc_fds_clear (&fds);
  return TRUE;
}

static void
run_spawner (int socket)
{
  Nursery nursery = { .socket = socket };
  sigset_t chld;
  int signals;

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
      struct pollfd fds[]
          = { { .fd = socket, .events = POLLIN }, { .fd = signals, .events = POLLIN } };
      struct signalfd_siginfo info;

      if (poll (fds, G_N_ELEMENTS (fds), -1) < 0 && errno != EINTR)
        break;
      if (fds[0].revents != 0 && !take_message (&nursery))
        break;
      while (read (signals, &info, sizeof info) > 0)
        ;
      reap (&nursery);
    }
  for (guint i = 0; i < nursery.n; i++)
    kill (nursery.children[i].pid, SIGKILL);
  _exit (0);
}

/* The service's side */

/* Forks a spawner. Our end of the socket is in spawner->poll.fd. */
static gboolean
fork_spawner (FscSpawner *spawner, GError **error)
{
  int sockets[2];
  pid_t pid;

  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
    return fsc_failure_set_errno (error, errno, "cannot make a socket");
  pid = fork ();
  if (pid == 0)
    {
      /* Nothing else of the service's: a second lock, listener or client would outlive it. */
      if (dup2 (sockets[1], 3) < 0)
        _exit (126);
      syscall (SYS_close_range, 4, ~0U, 0);
      run_spawner (3);
    }
  close (sockets[1]);
  if (pid < 0)
    {
      fsc_failure_set_errno (error, errno, "cannot start the spawner");
      close (sockets[0]);
      return FALSE;
    }
  fsc_channel_refuse_fds (sockets[0]);
  spawner->poll.fd = sockets[0];
  spawner->pid = pid;
  return TRUE;
}

static void
free_letter (gpointer data)
{
  Letter *letter = data;

  if (letter->socket >= 0)
    close (letter->socket);
  g_free (letter->message);
  g_free (letter);
}

/* It was killed, and its openers with it: tell of them, and make another. */
static void
replace_spawner (FscSpawner *spawner)
{
  g_autoptr (GError) error = NULL;
  g_autofree gpointer *ids = NULL;
  guint n;

  fsc_loop_remove (spawner->loop, &spawner->poll);
  close (spawner->poll.fd);
  spawner->poll.fd = -1;
  g_queue_clear_full (&spawner->waiting, free_letter);
  kill (spawner->pid, SIGKILL); /* if it has only closed its socket */
  waitpid (spawner->pid, NULL, 0);
  if (fork_spawner (spawner, &error) && fsc_loop_add (spawner->loop, &spawner->poll, EPOLLIN))
    g_warning ("The spawner has ended; another was started");
  else
    g_critical ("The spawner has ended, and no other can be started: %s",
                error != NULL ? error->message : g_strerror (errno));

  ids = g_hash_table_get_keys_as_array (spawner->running, &n);
  g_hash_table_steal_all (spawner->running);
  for (guint i = 0; i < n; i++)
    spawner->exited (GPOINTER_TO_UINT (ids[i]), SIGKILL, spawner->data);
}

static int
send_message (FscSpawner *spawner, const Message *message, size_t length, int socket)
{
  int r = fsc_channel_send (spawner->poll.fd, message, length, &socket, socket >= 0, MSG_DONTWAIT);

  return r == -ETOOMANYREFS ? -EAGAIN : r;
}

static void
send_waiting (FscSpawner *spawner)
{
  const Letter *letter;

  while ((letter = g_queue_peek_head (&spawner->waiting)) != NULL
         && send_message (spawner, letter->message, letter->length, letter->socket) != -EAGAIN)
    free_letter (g_queue_pop_head (&spawner->waiting));
  if (spawner->loop != NULL)
    fsc_loop_modify (spawner->loop, &spawner->poll,
                     spawner->waiting.length > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Nothing is lost, and nothing overtakes: what cannot be sent now is sent when there is room.
 * Borrows the socket, or -1. Returns 0 or a negative errno. */
static int
post (FscSpawner *spawner, const Message *message, size_t length, int socket)
{
  int r = spawner->waiting.length == 0 ? send_message (spawner, message, length, socket) : -EAGAIN;
  Letter letter = { .length = length, .socket = -1 };

  if (r != -EAGAIN)
    return r;
  if (socket >= 0)
    {
      letter.socket = fcntl (socket, F_DUPFD_CLOEXEC, 0);
      if (letter.socket < 0)
        return -errno;
    }
  letter.message = g_memdup2 (message, length);
  g_queue_push_tail (&spawner->waiting, g_memdup2 (&letter, sizeof letter));
  send_waiting (spawner);
  return 0;
}

static void
spawner_ready (FscPoll *poll, guint32 events)
{
  FscSpawner *spawner = poll->data;
  Message message;
  ssize_t length;

  if ((events & EPOLLOUT) != 0)
    send_waiting (spawner);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
    return;
  length = fsc_channel_receive (poll->fd, &message, sizeof message, NULL, 0, NULL, MSG_DONTWAIT);

  if (length == (ssize_t) SHORT_MESSAGE && message.what == EXITED)
    {
      g_hash_table_remove (spawner->running, GUINT_TO_POINTER (message.id));
      spawner->exited (message.id, message.status, spawner->data);
    }
  else if (length != -EAGAIN)
    replace_spawner (spawner);
}

FscSpawner *
fsc_spawner_new (GError **error)
{
  FscSpawner *spawner = g_new0 (FscSpawner, 1);

  spawner->poll = (FscPoll){ .fd = -1, .ready = spawner_ready, .data = spawner };
  spawner->is_privileged = fsc_privileges_can_become_others ();
  spawner->running = g_hash_table_new (NULL, NULL);
  g_queue_init (&spawner->waiting);
  if (!fork_spawner (spawner, error))
    g_clear_pointer (&spawner, fsc_spawner_free);
  return spawner;
}

void
fsc_spawner_free (FscSpawner *spawner)
{
  if (spawner->loop != NULL && spawner->poll.fd >= 0)
    fsc_loop_remove (spawner->loop, &spawner->poll);
  if (spawner->poll.fd >= 0)
    close (spawner->poll.fd);
  g_hash_table_unref (spawner->running);
  g_queue_clear_full (&spawner->waiting, free_letter);
  g_free (spawner);
}

gboolean
fsc_spawner_is_privileged (const FscSpawner *spawner)
{
  return spawner->is_privileged;
}

gboolean
fsc_spawner_attach (FscSpawner *spawner, FscLoop *loop, FscExitedFunc exited, gpointer data,
                    GError **error)
{
  if (!fsc_loop_add (loop, &spawner->poll, EPOLLIN))
    return fsc_failure_set_errno (error, errno, "epoll");
  spawner->loop = loop;
  spawner->exited = exited;
  spawner->data = data;
  return TRUE;
}

/* Returns FALSE if it is too long. */
static gboolean
put_command (Message *message, char *const *command)
{
  guint n = 0;

  for (; command[n] != NULL; n++)
    {
      size_t size = strlen (command[n]) + 1;

      if (n >= WORDS_MAX || size > sizeof message->command - message->command_length)
        return FALSE;
      memcpy (message->command + message->command_length, command[n], size);
      message->command_length += (guint32) size;
    }
  return TRUE;
}

guint32
fsc_spawner_start (FscSpawner *spawner, char *const *command, const FscUser *user, int socket,
                   GError **error)
{
  Message message = { .what = START, .id = ++spawner->last_id };
  size_t length = offsetof (Message, groups);
  int r;

  if (user != NULL)
    {
      g_assert (user->n_groups <= FSC_GROUPS_MAX);
      message.has_user = TRUE;
      message.uid = user->uid;
      message.gid = user->gid;
      message.n_groups = user->n_groups;
      if (user->n_groups > 0)
        memcpy (message.groups, user->groups, user->n_groups * sizeof user->groups[0]);
      length += user->n_groups * sizeof user->groups[0];
    }

  if (!put_command (&message, command))
    r = -E2BIG;
  else if (spawner->waiting.length >= WAITING_MAX)
    r = -EAGAIN;
  else
    r = post (spawner, &message, length, socket);
  if (r < 0)
    {
      while (command[1] != NULL && strchr (command[0], '=') != NULL)
        command++;
      fsc_failure_set_errno (error, -r, "cannot start %s", command[0]);
      return 0;
    }
  g_hash_table_add (spawner->running, GUINT_TO_POINTER (message.id));
  return message.id;
}

void
fsc_spawner_kill (FscSpawner *spawner, guint32 id)
{
  Message message = { .what = KILL, .id = id };

  if (fsc_spawner_is_running (spawner, id))
    post (spawner, &message, SHORT_MESSAGE, -1);
}

gboolean
fsc_spawner_is_running (const FscSpawner *spawner, guint32 id)
{
  return g_hash_table_contains (spawner->running, GUINT_TO_POINTER (id));
}
