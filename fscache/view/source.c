/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Asking the service; see source.h.
 */
#include "fscache/view/source.h"

#include <errno.h>
#include <fcntl.h>

int
fsc_source_get_error (const FscacheReply *reply)
{
  switch (reply->code)
    {
    case FSCACHE_OK:
    case FSCACHE_ERROR_SYSTEM:
    case FSCACHE_ERROR_TIMED_OUT:
      return reply->error != 0 ? -reply->error : -EIO;
    case FSCACHE_ERROR_BAD_URI:
    case FSCACHE_ERROR_UNKNOWN_SCHEME:
    case FSCACHE_ERROR_NOT_CACHED:
      return -ENOENT;
    case FSCACHE_ERROR_NOT_SERVED:
    case FSCACHE_ERROR_NOT_REOPENABLE:
      return -EOPNOTSUPP;
    case FSCACHE_ERROR_BAD_REQUEST:
      return -EINVAL;
    case FSCACHE_ERROR_LIMIT:
      return -EAGAIN;
    case FSCACHE_ERROR_CANCELLED:
      return -EINTR;
    case FSCACHE_ERROR_REFUSED:
      return -EACCES;
    case FSCACHE_ERROR_NO_DESCRIPTOR:
      return -ENFILE;
    case FSCACHE_ERROR_NO_MEMORY:
      return -ENOMEM;
    default: /* there is no service, or none that can be talked to; or its opener has crashed */
      return -EIO;
    }
}

static gboolean
is_local (FscacheCoherence coherence)
{
  return coherence == FSCACHE_COHERENCE_CHECKED || coherence == FSCACHE_COHERENCE_WATCHED;
}

static int
ask (FscCaller *caller, FscacheRequest *request, FscSource *source)
{
  FscacheReply reply;
  int fd = fsc_caller_connect (caller);

  *source = (FscSource){ 0 };
  if (fd < 0)
    return fd;
  request->cancel = &caller->cancel;
  fd = fscache_open_with (caller->client, request, &reply);
  *source = (FscSource){
    .is_local = is_local (reply.coherence),
    .is_shut = reply.code == FSCACHE_ERROR_NOT_SERVED
               || (reply.code == FSCACHE_ERROR_SYSTEM && reply.error == ELOOP),
  };
  return fd >= 0 ? fd : fsc_source_get_error (&reply);
}

int
fsc_source_look (FscCaller *caller, const char *target, gboolean is_doubtful, FscSource *source)
{
  FscacheRequest request = { .uri = target,
                             .flags = O_PATH | O_NOFOLLOW,
                             .options = is_doubtful ? FSCACHE_REVALIDATE : 0 };

  return ask (caller, &request, source);
}

static int
borrow (FscCaller *caller, const char *target, FscSource *source)
{
  const FscacheRequest request = { .uri = target, .cancel = &caller->cancel };
  FscacheBorrow borrowed;
  FscacheReply reply;
  int fd = fsc_caller_connect (caller);

  *source = (FscSource){ 0 };
  if (fd < 0)
    return fd;
  fd = fscache_borrow_with (caller->client, &request, &borrowed, &reply);
  *source = (FscSource){ .is_local = fd >= 0 && is_local (borrowed.coherence) };
  if (fd < 0)
    return fsc_source_get_error (&reply);
  fd = fcntl (borrowed.fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0)
    fd = -errno;
  fscache_return (caller->client, &borrowed);
  return fd;
}

int
fsc_source_open_shared (FscCaller *caller, const char *target, int flags, gboolean is_bounded,
                        gboolean is_doubtful, FscSource *source)
{
  FscacheRequest request = { .uri = target,
                             .flags = O_RDONLY | flags,
                             .sharing = FSCACHE_SHARED,
                             .options = is_doubtful ? FSCACHE_REVALIDATE : 0 };

  if (is_bounded && !is_doubtful && flags == 0)
    return borrow (caller, target, source);
  return ask (caller, &request, source);
}

int
fsc_source_open (FscCaller *caller, const char *target, int flags, mode_t mode, FscSource *source)
{
  FscacheRequest request = { .uri = target, .flags = flags, .mode = mode };

  return ask (caller, &request, source);
}
