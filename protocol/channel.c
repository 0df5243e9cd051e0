/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Descriptors over a socket; see channel.h. This is what goes wrong elsewhere, and how it is done
 * here:
 *
 *  - The control buffer is a union with a cmsghdr, so it is aligned; its size is CMSG_SPACE of what
 *    may come.
 *
 *  - CMSG_SPACE pads: room for one descriptor may admit two. So the count is checked against what
 *    the caller allows, not against what fitted.
 *
 *  - CMSG_DATA need not be aligned for int on every system: descriptors are copied with memcpy().
 *
 *  - A packet may hold several control messages, and of other types: all are walked, every
 *    descriptor found is taken into account, and what is not SCM_RIGHTS is refused.
 *
 *  - MSG_CTRUNC has two causes: the peer sent more than there was room for, or this process ran out
 *    of descriptors while the kernel installed them. In either case some may have been installed.
 *
 *  - The last close of a descriptor may take for ever, and what nobody installs is closed by
 * whoever receives the packet, or closes the socket that it waits in. So the kernel can be told to
 * turn such packets away, and to tell which one is such a packet.
 *
 *  - MSG_CMSG_CLOEXEC, so that no other thread's fork() and exec() inherits one by accident.
 */
#include "protocol/channel.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_PASSRIGHTS /* since Linux 6.16 */
#if defined __sparc__
#define SO_PASSRIGHTS 0x5c
#elif defined __hppa__
#define SO_PASSRIGHTS 0x4051
#else
#define SO_PASSRIGHTS 83
#endif
#endif

typedef union
{
  struct cmsghdr align;
  char bytes[CMSG_SPACE (FSC_FDS_MAX * sizeof (int))];
} Control;

int
fsc_fds_steal (FscFds *fds, unsigned index)
{
  int fd = fds->fds[index];

  fds->fds[index] = -1;
  return fd;
}

void
fsc_fds_clear (FscFds *fds)
{
  for (unsigned i = 0; i < fds->n; i++)
    if (fds->fds[i] >= 0)
      close (fds->fds[i]);
  fds->n = 0;
}

int
fsc_channel_send (int socket, const void *packet, size_t length, const int *fds, unsigned n_fds,
                  int flags)
{
  Control control;
  struct iovec iov = { .iov_base = (void *) packet, .iov_len = length };
  struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
  ssize_t sent;

  if (n_fds > FSC_FDS_MAX)
    return -EINVAL;
  if (n_fds > 0)
    {
      struct cmsghdr *header;

      message.msg_control = control.bytes;
      message.msg_controllen = CMSG_SPACE (n_fds * sizeof (int));
      memset (control.bytes, 0, message.msg_controllen);
      header = CMSG_FIRSTHDR (&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN (n_fds * sizeof (int));
      memcpy (CMSG_DATA (header), fds, n_fds * sizeof (int));
    }

  do
    sent = sendmsg (socket, &message, flags | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);

  return sent < 0 ? -errno : 0;
}

/* Collects the descriptors of all control messages. Returns whether every control message was
 * SCM_RIGHTS, and no more descriptors came than may. (The kernel sends no more than fit.) */
static bool
collect (struct msghdr *message, FscFds *fds, unsigned max_fds)
{
  bool valid = true;

  for (struct cmsghdr *header = CMSG_FIRSTHDR (message); header != NULL;
       header = CMSG_NXTHDR (message, header))
    {
      unsigned n;

      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        {
          valid = false;
          continue;
        }
      n = (header->cmsg_len - CMSG_LEN (0)) / sizeof (int);
      for (unsigned i = 0; i < n; i++)
        {
          int fd;

          memcpy (&fd, CMSG_DATA (header) + i * sizeof (int), sizeof fd);
          if (fds->n < FSC_FDS_MAX)
            fds->fds[fds->n++] = fd;
          else
            close (fd);
        }
    }
  return valid && fds->n <= max_fds;
}

static int64_t
get_ms (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* To be called when a signal has interrupted a receive. The kernel would begin the time of
 * SO_RCVTIMEO anew with each, and where signals come often it would never pass; so from the first
 * one on, *until (0 before) says when it has. Returns whether to try again. */
static bool
wait_on (int socket, int64_t *until)
{
  struct pollfd pollfd = { .fd = socket, .events = POLLIN };
  struct timeval time = { 0 };
  socklen_t length = sizeof time;
  int64_t now;

  if (getsockopt (socket, SOL_SOCKET, SO_RCVTIMEO, &time, &length) < 0
      || (time.tv_sec == 0 && time.tv_usec == 0))
    return true;
  now = get_ms ();
  if (*until == 0)
    *until = now + (int64_t) time.tv_sec * 1000 + time.tv_usec / 1000;
  while (now < *until)
    {
      int64_t left = *until - now;

      if (poll (&pollfd, 1, left < INT_MAX ? (int) left : INT_MAX) > 0)
        return true;
      now = get_ms ();
    }
  return false;
}

ssize_t
fsc_channel_receive (int socket, void *buffer, size_t size, FscFds *fds, unsigned max_fds,
                     bool *lost, int flags)
{
  Control control;
  struct iovec iov = { .iov_base = buffer, .iov_len = size };
  struct msghdr message;
  ssize_t length;
  int64_t until = 0;
  bool valid = true, cut;

  if (fds != NULL)
    fds->n = 0;
  if (lost != NULL)
    *lost = false;
  if (max_fds > FSC_FDS_MAX)
    return -EINVAL;

  do
    {
      message = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
      if (max_fds > 0)
        {
          message.msg_control = control.bytes;
          message.msg_controllen = CMSG_SPACE (max_fds * sizeof (int));
        }
      length = recvmsg (socket, &message, flags | MSG_CMSG_CLOEXEC);
      if (length < 0 && errno != EINTR)
        return -errno;
      if (length < 0 && !wait_on (socket, &until))
        return -EAGAIN;
    }
  while (length < 0);

  if (max_fds > 0)
    valid = collect (&message, fds, max_fds);
  cut = message.msg_flags & MSG_CTRUNC;

  /* With room for fds->n more descriptors than came, the peer cannot have sent too many: this
   * process has none free. (The kernel installs them one by one until one fails.) */
  if (cut && valid && fds != NULL && fds->n < max_fds && (message.msg_flags & MSG_TRUNC) == 0
      && length > 0)
    {
      if (lost == NULL)
        return -EMFILE;
      fsc_fds_clear (fds);
      *lost = true;
      return length;
    }

  if (length == 0 || !valid || cut || (message.msg_flags & MSG_TRUNC) != 0)
    return length == 0 && !(message.msg_flags & MSG_TRUNC) ? -ECONNRESET : -EPROTO;
  return length;
}

bool
fsc_channel_refuse_fds (int socket)
{
  const int passes = 0;
  struct pollfd pollfd = { .fd = socket, .events = POLLIN };

  return setsockopt (socket, SOL_SOCKET, SO_PASSRIGHTS, &passes, sizeof passes) == 0
         && poll (&pollfd, 1, 0) == 0;
}

bool
fsc_channel_brings_fds (int socket)
{
  struct msghdr message = { 0 };

  return recvmsg (socket, &message, MSG_PEEK | MSG_DONTWAIT) >= 0
         && (message.msg_flags & MSG_CTRUNC) != 0;
}
