/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The provider of unix: and tcp: URIs: connected sockets, as connect() leaves them. It only
 * connects: which of them are kept, and who gets one, is the service's to decide.
 *
 * A server that looks who has connected (SO_PEERCRED) sees the user who asks, and this process. The
 * way to a socket with a path is that of open-file, with the same rights; so a mount that hangs
 * holds up those alone who ask for what lies on it. Names of hosts are resolved here, and may take
 * as long as the lane allows.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fscache/filter.h"
#include "fscache/openers/allow.h"
#include "fscache/openers/argument.h"
#include "fscache/openers/dial.h"
#include "fscache/openers/reach.h"
#include "fscache/openers/serve.h"
#include "protocol/uri-path.h"
#include "protocol/uri.h"

#define PHRASE_MAX 192 /* of why it failed */

/* As told when it was started. */
static const char *allowed; /* or NULL: none */
static int64_t timeout_ms;

static int64_t
now_ms (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C (1000) + time.tv_nsec / 1000000;
}

/* Has connect() and the like give up after so long; 0: never. */
static void
set_timeout (int fd, int64_t ms)
{
  const struct timeval time = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/* Returns a socket, or -1 with errno set. */
static int
connect_by (int64_t deadline, int type, const struct sockaddr_un *address, socklen_t length)
{
  int64_t left = deadline - now_ms ();
  int fd = socket (AF_UNIX, type | SOCK_CLOEXEC, 0);
  int error;

  if (fd < 0)
    return -1;
  set_timeout (fd, left > 0 ? left : 1);
  if (connect (fd, (const struct sockaddr *) address, length) == 0)
    {
      set_timeout (fd, 0);
      return fd;
    }
  error = errno == EAGAIN ? ETIMEDOUT : errno;
  close (fd);
  errno = error;
  return -1;
}

static void
give (FscFound *found, int fd)
{
  found->fd = fd;
  found->is_final = true;
  found->kind = FSC_KIND_SOCKET;
  found->most_sharing = FSC_SHARING_EXCLUSIVE;
  found->coherence = FSC_COHERENCE_CHECKED;
}

static void
fail (FscFound *found, const char *uri, int error)
{
  char phrase[PHRASE_MAX];

  if (error != ETIMEDOUT)
    {
      fsc_found_system_error (found, uri, error);
      return;
    }
  snprintf (phrase, sizeof phrase, "nobody has accepted the connection within %g s",
            (double) timeout_ms / 1000);
  fsc_found_fail (found, FSC_CODE_SYSTEM, ETIMEDOUT, uri, phrase);
}

/* unix: */

/* A socket that takes streams, or else packets. */
static void
connect_unix (const struct sockaddr_un *address, socklen_t length, const char *uri, FscFound *found)
{
  int64_t deadline = now_ms () + timeout_ms;
  int fd = connect_by (deadline, SOCK_STREAM, address, length);

  if (fd < 0 && errno == EPROTOTYPE)
    fd = connect_by (deadline, SOCK_SEQPACKET, address, length);
  if (fd < 0)
    fail (found, uri, errno);
  else
    give (found, fd);
}

static void
open_abstract (const char *uri, FscFound *found)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  char name[FSC_URI_MAX + 1];
  const char *encoded = uri + strlen ("unix:@");
  int length = fsc_uri_decode ((FscBytes){ encoded, strlen (encoded) }, name, sizeof name);

  if (length <= 0 || (size_t) length >= sizeof address.sun_path)
    {
      fsc_found_system_error (found, uri, ENAMETOOLONG);
      return;
    }
  memcpy (address.sun_path + 1, name, (size_t) length);
  connect_unix (&address,
                (socklen_t) (offsetof (struct sockaddr_un, sun_path) + 1 + (size_t) length), uri,
                found);
}

/* In our own terms. */
static void
name_elsewhere (FscFound *found)
{
  static const char file[] = "file", scheme[] = "unix";

  _Static_assert(sizeof file == sizeof scheme, "");
  if (found->text[0] != '\0')
    memcpy (found->text, scheme, sizeof scheme - 1);
}

/* The path may be longer than an address, and the way to it is gone once. */
static void
open_path (const FscItem *item, const char *uri, FscFound *found)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  static char path[FSC_URI_MAX + 1]; /* too large for a stack */
  const FscReach reach = { .item = item, .path = path, .name = uri };
  struct stat st;
  int fd;

  if (fsc_uri_get_path (item->uri, path, sizeof path) < 0)
    {
      fsc_found_fail (found, FSC_CODE_BAD_URI, EINVAL, uri, "it is no canonical unix: URI");
      return;
    }
  fd = fsc_reach_open (&reach, O_PATH, 0, found);
  if (fd < 0)
    {
      if (found->code == FSC_CODE_OK)
        fsc_found_system_error (found, uri, errno);
      else if (found->code == FSC_CODE_LEADS_ELSEWHERE)
        name_elsewhere (found);
      return;
    }
  snprintf (address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", fd);
  if (fstat (fd, &st) < 0)
    fsc_found_system_error (found, uri, errno);
  else if (!S_ISSOCK (st.st_mode))
    fsc_found_fail (found, FSC_CODE_SYSTEM, ECONNREFUSED, uri, "it is no socket");
  else
    connect_unix (&address, sizeof address, uri, found);
  close (fd);
}

/* tcp: */

/* Splits "host:port", or "[address]:port". */
static void
split_authority (FscBytes authority, char host[static FSC_URI_MAX + 1], const char **port)
{
  size_t n = authority.length;

  memcpy (host, authority.data, n);
  host[n] = '\0';
  while (n > 0 && host[n] != ':')
    n--;
  host[n] = '\0';
  *port = host + n + 1;
  if (host[0] == '[' && n > 1)
    {
      memmove (host, host + 1, n - 2);
      host[n - 2] = '\0';
    }
}

static void
fail_to_resolve (FscFound *found, const char *uri, int result)
{
  int error = result == EAI_SYSTEM   ? errno
              : result == EAI_NONAME ? ENOENT
              : result == EAI_MEMORY ? ENOMEM
                                     : EHOSTUNREACH;
  char phrase[PHRASE_MAX];

  snprintf (phrase, sizeof phrase, "its address cannot be found: %s",
            result == EAI_SYSTEM ? strerror (errno) : gai_strerror (result));
  fsc_found_fail (found, FSC_CODE_SYSTEM, error, uri, phrase);
}

static void
open_tcp (const FscItem *item, const char *uri, FscFound *found)
{
  static char host[FSC_URI_MAX + 1];
  const struct addrinfo hints
      = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
  const FscBytes authority = fsc_uri_get_host (item->uri);
  struct addrinfo *addresses;
  const char *port;
  int fd, result;

  if (allowed == NULL || !fsc_allow_has (allowed, item->uri))
    {
      fsc_found_fail (found, FSC_CODE_SYSTEM, EACCES, uri,
                      allowed != NULL
                          ? "[tcp] allow does not have it"
                          : "a service that root runs connects only to what [tcp] allow "
                            "has, and it has nothing");
      return;
    }
  split_authority (authority, host, &port);
  result = getaddrinfo (host, port, &hints, &addresses);
  if (result != 0)
    {
      fail_to_resolve (found, uri, result);
      return;
    }
  fd = fsc_dial (addresses, timeout_ms);
  if (fd < 0)
    fail (found, uri, errno);
  else
    give (found, fd);
  freeaddrinfo (addresses);
}

static void
open_socket (const FscItem *item, const char *uri, FscFound *found)
{
  if (strncmp (uri, "tcp:", strlen ("tcp:")) == 0)
    open_tcp (item, uri, found);
  else if (strncmp (uri, "unix:@", strlen ("unix:@")) == 0)
    open_abstract (uri, found);
  else
    open_path (item, uri, found);
}

int
main (int argc, char **argv)
{
  allowed = fsc_argument_get (argv, "allow");
  timeout_ms = (int64_t) fsc_argument_get_number (argv, "connect-timeout");
  return fsc_filter_load (FSC_FILTER_OPENER | FSC_FILTER_CONNECTS)
             ? fsc_serve ("open-socket", open_socket)
             : 1;
}
