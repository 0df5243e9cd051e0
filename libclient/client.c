/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The life of a client, and what a fork() does to it; see fscache.h and client.h.
 */
#include "libclient/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "libclient/link.h"
#include "libclient/send.h"
#include "libclient/submit.h"
#include "libclient/wait.h"

#define SYSTEM_SOCKET "/run/fscache/socket"
#define SOCKET_PATH_MAX (sizeof ((struct sockaddr_un *) NULL)->sun_path - 1)

int64_t
fsc_client_get_time (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (int64_t) now.tv_sec * 1000 * FSC_MILLISECOND + now.tv_nsec;
}

/* Where the service is */

/* Makes a path absolute if it can be: the program may change its directory before the connection
 * is made again. Returns it, NULL without memory. */
static char *
anchor (const char *path)
{
  char directory[SOCKET_PATH_MAX + 1], *absolute;

  if (path[0] == '/' || getcwd (directory, sizeof directory) == NULL
      || strlen (directory) + 1 + strlen (path) > SOCKET_PATH_MAX)
    return strdup (path);
  return asprintf (&absolute, "%s/%s", directory, path) < 0 ? NULL : absolute;
}

/* The environment is read once: getenv() is not safe against a setenv() in another thread. */
static int
find_paths (FscacheClient *client, const char *path)
{
  const char *runtime = secure_getenv ("XDG_RUNTIME_DIR");
  unsigned n = 0;

  if (path == NULL)
    path = secure_getenv ("FSCACHE_SOCKET");
  if (path != NULL && path[0] != '\0')
    {
      if (strlen (path) > SOCKET_PATH_MAX)
        return -EINVAL;
      client->paths[0] = anchor (path);
      return client->paths[0] == NULL ? -ENOMEM : 0;
    }

  if (runtime != NULL && runtime[0] == '/'
      && strlen (runtime) + strlen ("/fscache/socket") <= SOCKET_PATH_MAX)
    {
      if (asprintf (&client->paths[n], "%s/fscache/socket", runtime) < 0)
        {
          client->paths[n] = NULL;
          return -ENOMEM;
        }
      n++;
    }
  client->paths[n] = strdup (SYSTEM_SOCKET);
  return client->paths[n] == NULL ? -ENOMEM : 0;
}

/* fork() */

/* A page that the kernel clears in a child: this needs no handler that outlives the client, no
 * variable of the process, and also notices children that were made without the C library. */
static void
mark_process (FscacheClient *client)
{
  size_t size = (size_t) sysconf (_SC_PAGESIZE);
  void *page = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  client->pid = getpid ();
  if (page == MAP_FAILED)
    return;
  if (madvise (page, size, MADV_WIPEONFORK) < 0)
    {
      munmap (page, size);
      return;
    }
  client->fork_mark = page;
  *client->fork_mark = 1;
}

bool
fsc_client_is_forked (const FscacheClient *client)
{
  return client->fork_mark != NULL ? __atomic_load_n (client->fork_mark, __ATOMIC_ACQUIRE) == 0
                                   : client->pid != getpid ();
}

/* The connection, and what is in flight on it, are the parent's. The descriptors are copies: they
 * are closed here, without a word to the service or a change to the epoll instance, both of which
 * the parent goes on using. */
static void
start_anew (FscacheClient *client)
{
  client->has_reader = false;
  fsc_client_borrow_forget (client);
  if (client->link.connection != NULL)
    fsc_client_connection_unref (client->link.connection);
  client->link.connection = NULL;
  client->link.next_attempt = 0;
  client->link.grace_until = 0;
  client->link.had_grace = false;
  fsc_client_send_forget (client);
  fsc_client_submit_forget (client);
  fsc_client_watch_forget (client);
  fsc_client_slots_clear (&client->slots);
  fsc_client_slots_init (&client->slots);
  fsc_client_poller_forked (client);
  client->pid = getpid ();
  if (client->fork_mark != NULL)
    __atomic_store_n (client->fork_mark, 1, __ATOMIC_RELEASE);
}

void
fsc_client_lock (FscacheClient *client)
{
  pthread_mutex_lock (&client->lock);
  if (fsc_client_is_forked (client))
    start_anew (client);
}

void
fsc_client_unlock (FscacheClient *client)
{
  pthread_mutex_unlock (&client->lock);
}

/* Life */

static void
free_client (FscacheClient *client)
{
  for (unsigned i = 0; i < FSC_CLIENT_PATHS_MAX; i++)
    free (client->paths[i]);
  if (client->fork_mark != NULL)
    munmap ((void *) client->fork_mark, (size_t) sysconf (_SC_PAGESIZE));
  fsc_client_slots_clear (&client->slots);
  fsc_client_watch_clear (&client->watchings);
  fsc_client_poller_clear (&client->poller);
  fsc_client_borrow_free (client->borrows);
  free (client->user);
  free (client->send_buffer);
  free (client->receive_buffer);
  pthread_mutex_destroy (&client->lock);
  free (client);
}

static int
new_client (const char *path, unsigned options, FscacheClient **new)
{
  FscacheClient *client = calloc (1, sizeof *client);
  int r;

  if (client == NULL)
    return -ENOMEM;
  pthread_mutex_init (&client->lock, NULL);
  TAILQ_INIT (&client->calls);
  TAILQ_INIT (&client->unsent);
  TAILQ_INIT (&client->due);
  TAILQ_INIT (&client->waiting);
  STAILQ_INIT (&client->parcels);
  client->options = options;
  client->async_deadline = FSC_NEVER;
  fsc_client_link_init (&client->link);
  fsc_client_slots_init (&client->slots);
  fsc_client_watch_init (&client->watchings);
  fsc_client_poller_init (&client->poller);
  mark_process (client);

  client->send_buffer = malloc (FSC_PACKET_MAX);
  client->receive_buffer = malloc (FSC_PACKET_MAX);
  r = client->send_buffer == NULL || client->receive_buffer == NULL ? -ENOMEM
                                                                    : find_paths (client, path);
  if (r < 0)
    {
      free_client (client);
      return r;
    }
  *new = client;
  return 0;
}

/* A call that asks for nothing ends when there is a service. */
static int
wait_for_service (FscacheClient *client)
{
  FscOpening opening;
  FscCall call;
  int r;

  fsc_client_call_init (&call, &opening, 1, "connect");
  call.kind = FSC_CALL_NOTHING;
  fsc_client_wait (client, &call);
  r = opening.answer.code == FSCACHE_OK ? 0 : -opening.answer.error;
  fsc_client_call_clear (&call);
  return r;
}

int
fscache_connect (const char *socket, unsigned options, FscacheClient **client)
{
  int r;

  *client = NULL;
  if ((options & ~(FSCACHE_NO_FALLBACK | FSCACHE_REVALIDATE)) != 0)
    return -EINVAL;
  r = new_client (socket, options, client);
  return r < 0 ? r : wait_for_service (*client);
}

/* NULL with errno set. */
static FscClientUser *
copy_user (const FscacheUser *user)
{
  FscClientUser *copy = NULL;

  errno = EINVAL;
  if (user->uid == (uid_t) -1 || user->gid == (gid_t) -1 || user->n_groups > FSC_GROUPS_MAX
      || user->reserved[0] != 0 || user->reserved[1] != 0)
    return NULL;
  copy = malloc (sizeof *copy + user->n_groups * sizeof copy->groups[0]);
  if (copy == NULL)
    return NULL;
  copy->whom = (FscSpeakFor){ user->uid, user->gid, (uint32_t) user->n_groups };
  for (size_t i = 0; i < user->n_groups; i++)
    copy->groups[i] = user->groups[i];
  return copy;
}

int
fscache_connect_as (const char *socket, unsigned options, const FscacheUser *user,
                    FscacheClient **client)
{
  int r;

  *client = NULL;
  if ((options & ~(FSCACHE_NO_FALLBACK | FSCACHE_REVALIDATE)) != 0)
    return -EINVAL;
  r = new_client (socket, options | FSCACHE_NO_FALLBACK, client);
  if (r < 0)
    return r;
  (*client)->user = copy_user (user);
  if ((*client)->user == NULL)
    {
      r = -errno;
      free_client (*client);
      *client = NULL;
      return r;
    }
  (*client)->never_reopens = true;
  return wait_for_service (*client);
}

void
fscache_disconnect (FscacheClient *client)
{
  if (client == NULL)
    return;
  fsc_client_lock (client);
  client->is_closing = true;
  fsc_client_link_close (client);
  fsc_client_send_forget (client);
  fsc_client_submit_cancel_all (client);
  fsc_client_unlock (client);
  free_client (client);
}

size_t
fscache_service_name (FscacheClient *client, char *buffer, size_t size)
{
  const char *name = "";
  size_t length;

  fsc_client_lock (client);
  if (client->link.connection != NULL && client->link.connection->is_ready)
    name = client->link.connection->name;
  length = strlen (name);
  if (size > 0)
    snprintf (buffer, size, "%s", name);
  fsc_client_unlock (client);
  return length;
}

const char *
fscache_version (void)
{
  return FSC_VERSION;
}
