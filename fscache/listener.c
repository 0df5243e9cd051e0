/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The socket and the lock; see listener.h.
 */
#include "fscache/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "fscache/failure.h"

#define BACKLOG 4096
#define ACCEPTS_AT_ONCE 64
#define RETRY_MS 100
#define POLITE_SECONDS 5
#define KILLED_SECONDS 2

struct FscListener
{
  FscLoop *loop;
  FscPoll poll;
  FscAcceptFunc func;
  gpointer data;
  char *path;
  gboolean is_there; /* the socket is ours to remove */
  int lock_fd;
  guint retry;       /* source id while accepting is suspended */
  gboolean is_short; /* of descriptors, which has been said */
};

static char *
get_default_path (gboolean is_for_all)
{
  const char *path = g_getenv ("FSCACHE_SOCKET");
  const char *runtime_dir = g_getenv ("XDG_RUNTIME_DIR");

  if (path != NULL && path[0] != '\0')
    return g_strdup (path);
  if (!is_for_all && runtime_dir != NULL && runtime_dir[0] == '/')
    return g_build_filename (runtime_dir, "fscache", "socket", NULL);
  return g_strdup ("/run/fscache/socket");
}

static gboolean
fill_address (const char *path, struct sockaddr_un *address, GError **error)
{
  *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
  if (g_strlcpy (address->sun_path, path, sizeof address->sun_path) >= sizeof address->sun_path)
    return fsc_failure_set (error, ENAMETOOLONG, "the socket's path %s is longer than %zu bytes",
                            path, sizeof address->sun_path - 1);
  return TRUE;
}

/* A connection to whoever listens at the path, or -1 with errno set. */
static int
try_connect (const struct sockaddr_un *address)
{
  int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  if (fd >= 0 && connect (fd, (const struct sockaddr *) address, sizeof *address) < 0
      && errno != EAGAIN) /* its backlog is full: alive */
    {
      int code = errno;

      close (fd);
      errno = code;
      return -1;
    }
  return fd;
}

/* The lock */

static gboolean
wait_for_lock (int fd, int seconds)
{
  for (int i = 0; i < seconds * 100; i++)
    {
      if (flock (fd, LOCK_EX | LOCK_NB) == 0)
        return TRUE;
      g_usleep (10000);
    }
  return FALSE;
}

/* Ends the instance that listens at the address. SO_PEERCRED is that of the process that called
 * listen(); the pidfd is checked by asking again, so that no other process with its number is hit.
 */
static gboolean
displace (const struct sockaddr_un *address, int lock_fd, GError **error)
{
  struct ucred before = { 0 }, after = { 0 };
  socklen_t length = sizeof before;
  int fd = try_connect (address);
  int pidfd = -1;
  gboolean is_gone = FALSE;

  if (fd >= 0 && getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &before, &length) == 0 && before.pid > 0)
    pidfd = (int) syscall (SYS_pidfd_open, before.pid, 0);
  if (fd >= 0)
    close (fd);
  fd = pidfd >= 0 ? try_connect (address) : -1;
  if (fd >= 0)
    {
      length = sizeof after;
      getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &after, &length);
      close (fd);
    }

  if (pidfd >= 0 && before.pid == after.pid)
    {
      g_message ("Asking process %d, which serves %s, to go", before.pid, address->sun_path);
      syscall (SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0);
      is_gone = wait_for_lock (lock_fd, POLITE_SECONDS);
      if (!is_gone)
        {
          g_warning ("Process %d does not go: killing it", before.pid);
          syscall (SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        }
    }
  if (pidfd >= 0)
    close (pidfd);
  if (is_gone || wait_for_lock (lock_fd, KILLED_SECONDS))
    return TRUE;
  return fsc_failure_set (error, EBUSY, "the instance that serves %s could not be displaced",
                          address->sun_path);
}

static gboolean
take_lock (FscListener *listener, const struct sockaddr_un *address, gboolean replace,
           GError **error)
{
  g_autofree char *path = g_strconcat (listener->path, ".lock", NULL);

  listener->lock_fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (listener->lock_fd < 0)
    return fsc_failure_set_errno (error, errno, "cannot open the lock file %s", path);
  if (flock (listener->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  if (errno != EWOULDBLOCK)
    return fsc_failure_set_errno (error, errno, "cannot lock %s", path);
  if (replace)
    return displace (address, listener->lock_fd, error);
  return fsc_failure_set (error, EADDRINUSE,
                          "another fscached already serves %s (--replace takes its place)",
                          listener->path);
}

/* The socket */

static gboolean
remove_stale (const char *path, const struct sockaddr_un *address, GError **error)
{
  struct stat st;
  int fd;

  if (lstat (path, &st) < 0)
    return errno == ENOENT || fsc_failure_set_errno (error, errno, "cannot look at %s", path);
  if (!S_ISSOCK (st.st_mode))
    return fsc_failure_set (error, EEXIST, "%s is there, and is not a socket", path);
  fd = try_connect (address);
  if (fd >= 0 || errno != ECONNREFUSED)
    {
      if (fd >= 0)
        close (fd);
      return fsc_failure_set (error, EADDRINUSE, "another program listens at %s", path);
    }
  g_debug ("Removing the stale socket %s", path);
  if (unlink (path) < 0)
    return fsc_failure_set_errno (error, errno, "cannot remove the stale socket %s", path);
  return TRUE;
}

static gboolean
make_directory (const char *path, const FscUser *owner, GError **error)
{
  g_autofree char *directory = g_path_get_dirname (path);

  if (mkdir (directory, 0700) < 0)
    return errno == EEXIST
           || fsc_failure_set_errno (error, errno, "cannot make the directory %s", directory);
  if (owner != NULL
      && (chmod (directory, 0755) < 0 || chown (directory, owner->uid, owner->gid) < 0))
    return fsc_failure_set_errno (error, errno, "cannot give the directory %s to user %u",
                                  directory, owner->uid);
  return TRUE;
}

static gboolean
listen_at (FscListener *listener, const struct sockaddr_un *address, const FscUser *owner,
           GError **error)
{
  mode_t mask;
  int r;

  listener->poll.fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener->poll.fd < 0)
    return fsc_failure_set_errno (error, errno, "cannot make a socket");
  mask = umask (owner != NULL ? 0111 : 0177); /* 0666 or 0600 from birth */
  r = bind (listener->poll.fd, (const struct sockaddr *) address, sizeof *address);
  umask (mask);
  if (r < 0 || listen (listener->poll.fd, BACKLOG) < 0)
    return fsc_failure_set_errno (error, errno, "cannot listen at %s", listener->path);
  listener->is_there = TRUE;
  return TRUE;
}

static gboolean
make_socket (FscListener *listener, const char *path, gboolean replace, const FscUser *owner,
             GError **error)
{
  struct sockaddr_un address;

  listener->path = path != NULL ? g_strdup (path) : get_default_path (owner != NULL);
  return fill_address (listener->path, &address, error)
         && make_directory (listener->path, owner, error)
         && take_lock (listener, &address, replace, error)
         && remove_stale (listener->path, &address, error)
         && listen_at (listener, &address, owner, error);
}

/* To listen once more makes this process the one that whoever connects has for its peer. It comes
 * before the lock, so that who finds that taken and is to replace this service never ends the
 * program that made the socket. */
static gboolean
adopt_socket (FscListener *listener, const char *path, gboolean replace, GError **error)
{
  struct sockaddr_un address = { 0 };
  socklen_t length = sizeof address - 1; /* it may have no zero byte at its end */
  int fd = listener->poll.fd;

  if (getsockname (fd, (struct sockaddr *) &address, &length) < 0)
    return fsc_failure_set_errno (error, errno, "cannot ask for the place of the socket");
  if (address.sun_path[0] != '/')
    return fsc_failure_set (error, EINVAL,
                            "the socket that was passed has no place in a directory");
  listener->path = g_strdup (address.sun_path);
  if (path != NULL && !g_str_equal (path, listener->path))
    return fsc_failure_set (error, EINVAL, "the socket is to be %s, and the one passed is %s", path,
                            listener->path);
  if (fcntl (fd, F_SETFL, O_NONBLOCK) < 0 || listen (fd, BACKLOG) < 0)
    return fsc_failure_set_errno (error, errno, "cannot listen at %s", listener->path);
  return take_lock (listener, &address, replace, error);
}

FscListener *
fsc_listener_new (const char *path, int socket, gboolean replace, const FscUser *owner,
                  GError **error)
{
  FscListener *listener = g_new0 (FscListener, 1);
  gboolean is_good;

  listener->lock_fd = -1;
  listener->poll.fd = socket;
  is_good = socket >= 0 ? adopt_socket (listener, path, replace, error)
                        : make_socket (listener, path, replace, owner, error);
  if (!is_good)
    g_clear_pointer (&listener, fsc_listener_free);
  return listener;
}

const char *
fsc_listener_get_path (const FscListener *listener)
{
  return listener->path;
}

void
fsc_listener_free (FscListener *listener)
{
  g_clear_handle_id (&listener->retry, g_source_remove);
  if (listener->loop != NULL)
    fsc_loop_remove (listener->loop, &listener->poll);
  if (listener->is_there)
    unlink (listener->path);
  if (listener->poll.fd >= 0)
    close (listener->poll.fd);
  /* The lock file stays: removing it would let two instances lock two files of one name. */
  if (listener->lock_fd >= 0)
    close (listener->lock_fd);
  g_free (listener->path);
  g_free (listener);
}

int
fsc_listener_steal_socket (FscListener *listener)
{
  return g_steal_fd (&listener->poll.fd);
}

/* Accepting */

static gboolean
retry (gpointer data)
{
  FscListener *listener = data;

  listener->retry = 0;
  fsc_loop_modify (listener->loop, &listener->poll, EPOLLIN);
  return G_SOURCE_REMOVE;
}

void
fsc_listener_resume (FscListener *listener)
{
  if (listener->retry == 0)
    return;
  g_source_remove (listener->retry);
  retry (listener);
}

/* Without a free descriptor the socket stays readable, and accepting would spin: who wants to
 * connect waits in the backlog until one is free. */
static void
suspend (FscListener *listener, int code)
{
  if (listener->retry != 0)
    return;
  if (!listener->is_short)
    g_warning ("Cannot accept clients for now: %s", g_strerror (code));
  listener->is_short = TRUE;
  fsc_loop_modify (listener->loop, &listener->poll, 0);
  listener->retry = fsc_loop_add_timeout (listener->loop, RETRY_MS, retry, listener);
}

static void
listener_ready (FscPoll *poll, guint32 events)
{
  FscListener *listener = poll->data;

  for (int i = 0; i < ACCEPTS_AT_ONCE && listener->retry == 0; i++)
    {
      int fd = accept4 (poll->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

      if (fd >= 0)
        {
          listener->is_short = FALSE;
          listener->func (fd, listener->data);
        }
      else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        suspend (listener, errno);
      else if (errno != EINTR && errno != ECONNABORTED)
        return;
    }
}

gboolean
fsc_listener_attach (FscListener *listener, FscLoop *loop, FscAcceptFunc func, gpointer data,
                     GError **error)
{
  listener->poll.ready = listener_ready;
  listener->poll.data = listener;
  listener->func = func;
  listener->data = data;
  if (!fsc_loop_add (loop, &listener->poll, EPOLLIN))
    return fsc_failure_set_errno (error, errno, "epoll");
  listener->loop = loop;
  return TRUE;
}
