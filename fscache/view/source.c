/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Asking the service; see source.h.
 */
#include "fscache/view/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/mountinfo.h"

int
fsc_source_get_error (const FscacheReply *reply)
{
  switch (reply->code)
    {
    case FSCACHE_OK:
    case FSCACHE_ERROR_SYSTEM:
    case FSCACHE_ERROR_TIMED_OUT:
    case FSCACHE_ERROR_UNAVAILABLE:
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

/* Asks no file system, for it might hang. */
static gboolean
is_on_local_mount (int fd)
{
  struct statx st;
  gboolean is_local;
  char *type;

  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) < 0)
    return FALSE;
  type = fsc_mountinfo_get_type (st.stx_mnt_id);
  is_local = type != NULL && fsc_mountinfo_is_local (type);
  free (type);
  return is_local;
}

/* Files are checked, watched, or have a time-to-live, as the opener has found their file system to
 * be. Of those that are not kept, and of other handles (what was put, or what a helper gives),
 * nobody says what they are on: those of memory have seals. */
static gboolean
is_local (const char *target, FscacheCoherence coherence, int fd)
{
  if (fd < 0)
    return FALSE;
  if (target[0] == '/' && coherence != FSCACHE_COHERENCE_UNCACHED)
    return coherence != FSCACHE_COHERENCE_TTL;
  return fcntl (fd, F_GET_SEALS) >= 0 || is_on_local_mount (fd);
}

static gboolean
is_fresh (FscacheSource source)
{
  return source == FSCACHE_SOURCE_OPENED || source == FSCACHE_SOURCE_PASSED;
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
    .is_local = is_local (request->uri, reply.coherence, fd),
    .is_shut = reply.code == FSCACHE_ERROR_NOT_SERVED
               || (reply.code == FSCACHE_ERROR_SYSTEM && reply.error == ELOOP),
    .is_fresh = is_fresh (reply.source),
    .generation = reply.generation,
  };
  return fd >= 0 ? fd : fsc_source_get_error (&reply);
}

static int
look_at_content (FscCaller *caller, const char *target, gboolean is_doubtful, FscSource *source)
{
  FscLoan loan;
  int fd = fsc_source_borrow (caller, target, is_doubtful, &loan);

  *source = (FscSource){ 0 };
  if (fd < 0)
    return fd;
  fd = fcntl (fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0)
    fd = -errno;
  source->is_local = is_local (target, FSCACHE_COHERENCE_TTL, fd);
  fsc_source_return (caller, &loan);
  return fd;
}

int
fsc_source_look (FscCaller *caller, const char *target, gboolean is_doubtful, FscSource *source)
{
  FscacheRequest request = { .uri = target,
                             .flags = O_PATH | O_NOFOLLOW,
                             .options = is_doubtful ? FSCACHE_REVALIDATE : 0 };

  if (target[0] != '/')
    return look_at_content (caller, target, is_doubtful, source);
  return ask (caller, &request, source);
}

int
fsc_source_open_shared (FscCaller *caller, const char *target, int flags, gboolean is_doubtful,
                        FscSource *source)
{
  FscacheRequest request = { .uri = target,
                             .flags = O_RDONLY | flags,
                             .sharing = FSCACHE_SHARED,
                             .options = is_doubtful ? FSCACHE_REVALIDATE : 0 };

  return ask (caller, &request, source);
}

int
fsc_source_borrow (FscCaller *caller, const char *target, gboolean is_doubtful, FscLoan *loan)
{
  const FscacheRequest request = { .uri = target, .cancel = &caller->cancel };
  FscacheReply reply;
  FscSource source;
  int error = fsc_caller_connect (caller);

  *loan = (FscLoan){ .fd = -1, .borrow.fd = -1 };
  if (error < 0)
    return error;
  if (is_doubtful || caller->view->is_exact)
    {
      loan->fd = fsc_source_open_shared (caller, target, 0, is_doubtful, &source);
      loan->is_fresh = source.is_fresh;
      loan->generation = source.generation;
      return loan->fd;
    }
  loan->fd = fscache_borrow_with (caller->client, &request, &loan->borrow, &reply);
  if (loan->fd < 0)
    return fsc_source_get_error (&reply);
  loan->is_fresh = is_fresh (loan->borrow.source);
  loan->generation = loan->borrow.generation;
  return loan->fd;
}

int
fsc_source_borrow_kept (FscCaller *caller, const char *target, FscLoan *loan)
{
  *loan = (FscLoan){ .fd = -1, .borrow.fd = -1 };
  if (caller->view->is_exact || !fsc_caller_connect_quickly (caller))
    return -EAGAIN;
  loan->fd = fscache_borrow_kept (caller->client, target, &loan->borrow);
  return loan->fd;
}

void
fsc_source_return (FscCaller *caller, FscLoan *loan)
{
  if (loan->borrow.fd >= 0)
    fscache_return (caller->client, &loan->borrow);
  else if (loan->fd >= 0)
    close (loan->fd);
}

int
fsc_source_open (FscCaller *caller, const char *target, int flags, mode_t mode, FscSource *source)
{
  FscacheRequest request = { .uri = target, .flags = flags, .mode = mode };

  return ask (caller, &request, source);
}
