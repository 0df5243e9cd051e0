/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The spawner as the service sees it; see spawner.h, and nursery.h for what is said.
 */
#include "fscache/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/failure.h"
#include "fscache/nursery.h"
#include "fscache/privileges.h"
#include "protocol/channel.h"

/* Starts that wait until the spawner has read others. */
#define WAITING_MAX 1024

/* An order that waits. */
typedef struct
{
  FscOrder *order;
  size_t length;
  int socket; /* or -1 */
} Letter;

struct FscSpawner
{
  FscLoop *loop;
  FscPoll poll; /* its descriptor is our end of the socket */
  gboolean is_privileged;
  gboolean serves_all;
  FscSpawnerFuncs funcs;
  gpointer data;
  pid_t pid;
  guint32 last_id;
  GHashTable *running; /* ids */
  GQueue waiting;      /* of Letter, which the socket has no room for yet */
};

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
      fsc_nursery_run (3);
    }
  close (sockets[1]);
  if (pid < 0)
    {
      fsc_failure_set_errno (error, errno, "cannot start the spawner");
      close (sockets[0]);
      return FALSE;
    }
  spawner->poll.fd = sockets[0];
  spawner->pid = pid;
  return TRUE;
}

/* Its orders bring descriptors only where it accepts clients. */
static gboolean
start_listening (FscSpawner *spawner)
{
  if (!spawner->serves_all)
    fsc_channel_refuse_fds (spawner->poll.fd);
  return fsc_loop_add (spawner->loop, &spawner->poll, EPOLLIN);
}

static void
free_letter (gpointer data)
{
  Letter *letter = data;

  if (letter->socket >= 0)
    close (letter->socket);
  g_free (letter->order);
  g_free (letter);
}

/* It was killed, and its openers with it: tell of them, and make another. One that was root cannot
 * be made again. */
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
  if (spawner->serves_all)
    {
      spawner->funcs.lost (spawner->data);
      return;
    }
  if (fork_spawner (spawner, &error) && start_listening (spawner))
    g_warning ("The spawner has ended; another was started");
  else
    g_critical ("The spawner has ended, and no other can be started: %s",
                error != NULL ? error->message : g_strerror (errno));

  ids = g_hash_table_get_keys_as_array (spawner->running, &n);
  g_hash_table_steal_all (spawner->running);
  for (guint i = 0; i < n; i++)
    spawner->funcs.exited (GPOINTER_TO_UINT (ids[i]), SIGKILL, spawner->data);
}

static int
send_order (FscSpawner *spawner, const FscOrder *order, size_t length, int socket)
{
  int r = fsc_channel_send (spawner->poll.fd, order, length, &socket, socket >= 0, MSG_DONTWAIT);

  return r == -ETOOMANYREFS ? -EAGAIN : r;
}

static void
send_waiting (FscSpawner *spawner)
{
  const Letter *letter;

  while ((letter = g_queue_peek_head (&spawner->waiting)) != NULL
         && send_order (spawner, letter->order, letter->length, letter->socket) != -EAGAIN)
    free_letter (g_queue_pop_head (&spawner->waiting));
  if (spawner->loop != NULL)
    fsc_loop_modify (spawner->loop, &spawner->poll,
                     spawner->waiting.length > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Nothing is lost, and nothing overtakes: what cannot be sent now is sent when there is room.
 * Borrows the socket, or -1. Returns 0 or a negative errno. */
static int
post (FscSpawner *spawner, const FscOrder *order, size_t length, int socket)
{
  int r = spawner->waiting.length == 0 ? send_order (spawner, order, length, socket) : -EAGAIN;
  Letter letter = { .length = length, .socket = -1 };

  if (r != -EAGAIN)
    return r;
  if (socket >= 0)
    {
      letter.socket = fcntl (socket, F_DUPFD_CLOEXEC, 0);
      if (letter.socket < 0)
        return -errno;
    }
  letter.order = g_memdup2 (order, length);
  g_queue_push_tail (&spawner->waiting, g_memdup2 (&letter, sizeof letter));
  send_waiting (spawner);
  return 0;
}

/* Returns FALSE if it is not what a spawner says. */
static gboolean
take_order (FscSpawner *spawner, FscOrder *order, FscFds *fds)
{
  FscPeer peer = { .pid = order->status, .is_known = order->has_user };

  if (order->what == FSC_ORDER_EXITED)
    {
      g_hash_table_remove (spawner->running, GUINT_TO_POINTER (order->id));
      spawner->funcs.exited (order->id, order->status, spawner->data);
      return TRUE;
    }
  if (order->what != FSC_ORDER_ACCEPTED || fds->n != 1)
    return FALSE;
  peer.user = (FscUser){ order->uid, order->gid, order->n_groups, order->payload };
  spawner->funcs.accepted (fsc_fds_steal (fds, 0), &peer, spawner->data);
  return TRUE;
}

static void
spawner_ready (FscPoll *poll, guint32 events)
{
  FscSpawner *spawner = poll->data;
  FscOrder order;
  FscFds fds = { 0 };
  ssize_t length;
  gboolean is_good;

  if ((events & EPOLLOUT) != 0)
    send_waiting (spawner);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
    return;
  length = fsc_channel_receive (poll->fd, &order, sizeof order, &fds, spawner->serves_all ? 1 : 0,
                                NULL, MSG_DONTWAIT);
  if (length == -EAGAIN)
    return;
  if (length == -EMFILE) /* a client that cannot be served; it sees the end */
    return;
  is_good = length > 0 && fsc_order_is_valid (&order, length) && take_order (spawner, &order, &fds);
  fsc_fds_clear (&fds);
  if (!is_good)
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
fsc_spawner_attach (FscSpawner *spawner, FscLoop *loop, const FscSpawnerFuncs *funcs, gpointer data,
                    GError **error)
{
  spawner->loop = loop;
  if (!start_listening (spawner))
    {
      spawner->loop = NULL;
      return fsc_failure_set_errno (error, errno, "epoll");
    }
  spawner->funcs = *funcs;
  spawner->data = data;
  return TRUE;
}

static void
put_user (FscOrder *order, const FscUser *user)
{
  g_assert (user->n_groups <= FSC_GROUPS_MAX && order->command_length == 0);
  order->has_user = TRUE;
  order->uid = user->uid;
  order->gid = user->gid;
  order->n_groups = user->n_groups;
  if (user->n_groups > 0)
    memcpy (order->payload, user->groups, user->n_groups * sizeof user->groups[0]);
}

/* Returns FALSE if it is too long. */
static gboolean
put_command (FscOrder *order, char *const *command)
{
  for (guint n = 0; command[n] != NULL; n++)
    {
      size_t size = strlen (command[n]) + 1;

      if (n >= FSC_ORDER_WORDS_MAX || size > FSC_ORDER_COMMAND_MAX - order->command_length)
        return FALSE;
      memcpy (fsc_order_get_command (order) + order->command_length, command[n], size);
      order->command_length += (guint32) size;
    }
  return TRUE;
}

static const char *
get_program (char *const *command)
{
  while (command[1] != NULL && strchr (command[0], '=') != NULL)
    command++;
  return command[0];
}

/* Before there is a loop: waits for room. */
static gboolean
tell (FscSpawner *spawner, const FscOrder *order, int socket, GError **error)
{
  int r = fsc_channel_send (spawner->poll.fd, order, fsc_order_get_length (order), &socket,
                            socket >= 0, 0);

  return r == 0 || fsc_failure_set_errno (error, -r, "cannot tell the spawner what to do");
}

gboolean
fsc_spawner_allow_command (FscSpawner *spawner, char *const *command, GError **error)
{
  FscOrder order = { .what = FSC_ORDER_ALLOW };

  if (!put_command (&order, command))
    return fsc_failure_set_errno (error, E2BIG, "cannot start %s", get_program (command));
  return tell (spawner, &order, -1, error);
}

gboolean
fsc_spawner_allow_user (FscSpawner *spawner, const FscUser *user, GError **error)
{
  FscOrder order = { .what = FSC_ORDER_ALLOW };

  put_user (&order, user);
  return tell (spawner, &order, -1, error);
}

gboolean
fsc_spawner_serve_all (FscSpawner *spawner, int listener, const FscUser *own, GError **error)
{
  FscOrder order = { .what = FSC_ORDER_SERVE };

  put_user (&order, own);
  spawner->serves_all = TRUE;
  return tell (spawner, &order, listener, error);
}

gboolean
fsc_spawner_serves_all (const FscSpawner *spawner)
{
  return spawner->serves_all;
}

guint32
fsc_spawner_start (FscSpawner *spawner, char *const *command, const FscUser *user, int socket,
                   GError **error)
{
  FscOrder order = { .what = FSC_ORDER_START, .id = ++spawner->last_id };
  int r;

  if (user != NULL)
    put_user (&order, user);
  if (!put_command (&order, command))
    r = -E2BIG;
  else if (spawner->waiting.length >= WAITING_MAX)
    r = -EAGAIN;
  else
    r = post (spawner, &order, fsc_order_get_length (&order), socket);
  if (r < 0)
    {
      fsc_failure_set_errno (error, -r, "cannot start %s", get_program (command));
      return 0;
    }
  g_hash_table_add (spawner->running, GUINT_TO_POINTER (order.id));
  return order.id;
}

void
fsc_spawner_kill (FscSpawner *spawner, guint32 id)
{
  FscOrder order = { .what = FSC_ORDER_KILL, .id = id };

  if (fsc_spawner_is_running (spawner, id))
    post (spawner, &order, fsc_order_get_length (&order), -1);
}

gboolean
fsc_spawner_is_running (const FscSpawner *spawner, guint32 id)
{
  return g_hash_table_contains (spawner->running, GUINT_TO_POINTER (id));
}
