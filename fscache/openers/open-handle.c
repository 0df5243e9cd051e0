/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The provider of handle: URIs, the holder of what a user's clients put under names. It opens
 * nothing: it receives descriptors over sockets that the service has made, keeps them, and hands
 * them out as it is told. Names are the service's business.
 *
 * A descriptor may be anything, also of a file on a dead server, or of a file system that its
 * sender serves. Nothing is done with it here that could wait: it is neither read nor asked for
 * anything but what this kernel knows. To close it may hang the thread that does, and no other.
 *
 * But memory that is sealed is read: that is content, which can be demanded by its digest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include "fscache/filter.h"
#include "fscache/openers/seal.h"
#include "fscache/openers/serve.h"
#include "protocol/channel.h"

/* The text continues "cannot put NAME: ". */
static void
fail (FscFound *found, FscCode code, int error, const char *text)
{
  found->code = code;
  found->error = error;
  snprintf (found->text, FSC_TEXT_MAX, "%s", text);
}

/* Waits for a packet, and looks how long it is without taking it: of one that is longer than it may
 * be, what comes along would be closed before anybody was told. */
static bool
await_packet (int socket, uint32_t timeout_ms, FscFound *found)
{
  const struct timeval timeout
      = { .tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t) (timeout_ms % 1000) * 1000 };
  uint8_t byte;
  ssize_t length;

  setsockopt (socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  do
    length = recv (socket, &byte, sizeof byte, MSG_PEEK | MSG_TRUNC);
  while (length < 0 && errno == EINTR);
  if (length == sizeof (FscWireHeader))
    return true;
  if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    fail (found, FSC_CODE_TIMED_OUT, ETIMEDOUT, "no descriptor has come in time");
  else if (length <= 0)
    fail (found, FSC_CODE_CANCELLED, ECANCELED, "who was to send the descriptor has not");
  else
    fail (found, FSC_CODE_BAD_REQUEST, EPROTO, "what came is no GIVE");
  return false;
}

/* Two puts differ by their validators, whatever they are of. */
static void
set_validator (FscFound *found)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  memcpy (found->validator, &time, sizeof time);
  found->validator_length = sizeof time;
}

/* Memory that is sealed is content, if it can be read before the service is tired of waiting. */
static void
describe_content (uint32_t timeout_ms, FscFound *found)
{
  if (fsc_seal_is_memory (found->fd))
    found->has_content
        = fsc_seal_digest (found->fd, timeout_ms / 2 + 1, &found->size, found->digest);
}

/* Takes the descriptor. */
static void
describe (int fd, FscFound *found)
{
  const int flags = fcntl (fd, F_GETFL);
  struct statx st;

  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID, &st) == 0)
    {
      found->kind = fsc_found_get_kind (st.stx_mode);
      found->mount_id = (uint32_t) st.stx_mnt_id;
    }
  found->fd = fd;
  found->hold = true;
  found->most_sharing
      = (flags & O_PATH) == 0
                && (found->kind == FSC_KIND_REGULAR || found->kind == FSC_KIND_DIRECTORY)
            ? FSC_SHARING_INDEPENDENT
            : FSC_SHARING_SHARED;
  found->coherence = FSC_COHERENCE_WATCHED;
  set_validator (found);
}

static void
receive (int socket, uint32_t timeout_ms, FscFound *found, FscFds *rest)
{
  uint8_t packet[sizeof (FscWireHeader)];
  FscHeader header;
  FscReader reader;
  bool lost;
  ssize_t length;

  if (!await_packet (socket, timeout_ms, found))
    return;
  length
      = fsc_channel_receive (socket, packet, sizeof packet, rest, FSC_FDS_MAX, &lost, MSG_DONTWAIT);
  if (length < 0)
    fail (found, FSC_CODE_BAD_REQUEST, EPROTO, "what came is no GIVE");
  else if (lost)
    fail (found, FSC_CODE_LIMIT, EMFILE,
          "its holder has as many descriptors as RLIMIT_NOFILE allows");
  else if (fsc_reader_begin (&reader, &header, packet, (size_t) length, rest->n) < 0
           || header.opcode != FSC_OP_GIVE)
    fail (found, FSC_CODE_BAD_REQUEST, EPROTO, "what came is no GIVE with one descriptor");
  else
    {
      describe (fsc_fds_steal (rest, 0), found);
      describe_content (timeout_ms, found);
    }
}

static void
open_handle (const FscItem *item, const char *uri, FscFound *found)
{
  fsc_found_fail (found, FSC_CODE_NOT_CACHED, ENOENT, uri, "nothing is there");
}

int
main (void)
{
  return fsc_filter_load (FSC_FILTER_OPENER) ? fsc_serve_store ("open-handle", open_handle, receive)
                                             : 1;
}
