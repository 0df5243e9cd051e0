/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From requests to openings; see prepare.h.
 */
#include "libclient/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/uri.h"

#define OPTIONS_ALL (FSCACHE_NO_FALLBACK | FSCACHE_REVALIDATE | FSCACHE_TAKE)
#define PREFIX_LENGTH (sizeof "file://" - 1)
#define SAFE_UMASK 077

void
fsc_client_directory_init (FscDirectory *directory)
{
  directory->is_known = false; /* and no more: the path is large */
}

static int
find_directory (FscDirectory *directory)
{
  if (!directory->is_known)
    {
      directory->is_known = true;
      directory->error = getcwd (directory->path, sizeof directory->path) == NULL ? errno : 0;
      directory->length = directory->error == 0 ? strlen (directory->path) : 0;
    }
  return -directory->error;
}

static bool
is_uri (const char *name)
{
  return fsc_uri_get_scheme_length ((FscBytes){ name, strlen (name) }) > 0;
}

size_t
fsc_client_get_uri_bound (const char *uri_or_path, FscDirectory *directory)
{
  size_t bound;

  if (uri_or_path == NULL)
    return 1;
  /* A path has each byte escaped at worst. A URI may grow as well, by the slashes of "file:/x" and
   * what of it was not escaped. */
  bound = 3 * strlen (uri_or_path) + PREFIX_LENGTH + 2;
  if (uri_or_path[0] != '/' && !is_uri (uri_or_path) && find_directory (directory) == 0)
    bound += 3 * directory->length;
  return bound < FSC_URI_MAX + 1 ? bound : FSC_URI_MAX + 1;
}

int
fsc_client_canonicalize (const char *uri_or_path, FscDirectory *directory, char *buffer,
                         size_t size, const char **reason)
{
  FscBytes name = { uri_or_path, strlen (uri_or_path) };
  char path[PATH_MAX];
  int r;

  *reason = NULL;
  if (name.length == 0)
    return -ENOENT; /* as open() */
  if (name.data[0] != '/' && fsc_uri_get_scheme_length (name) > 0)
    return fsc_uri_canonicalize (name, buffer, size, reason);
  if (name.length >= PATH_MAX)
    return -ENAMETOOLONG;
  if (name.data[0] == '/')
    return fsc_uri_from_path (name, buffer, size);

  r = find_directory (directory);
  if (r < 0)
    return r;
  if (directory->length + 1 + name.length >= PATH_MAX)
    return -ENAMETOOLONG;
  memcpy (path, directory->path, directory->length);
  path[directory->length] = '/';
  memcpy (path + directory->length + 1, name.data, name.length);
  return fsc_uri_from_path ((FscBytes){ path, directory->length + 1 + name.length }, buffer, size);
}

/* The opening will not be asked of anyone. */
static void
fail (FscOpening *opening, FscacheCode code, int error, const char *phrase)
{
  fsc_client_answer_fail (&opening->answer, code, error,
                          phrase == NULL ? (FscBytes){ 0 } : (FscBytes){ phrase, strlen (phrase) });
  opening->answer.is_phrase = true;
  opening->state = FSC_OPENING_ANSWERED;
}

static void
keep_name (FscOpening *opening, const char *name, char *buffer, size_t size)
{
  size_t length = strnlen (name, size - 1);

  memcpy (buffer, name, length);
  buffer[length] = '\0';
  opening->uri = (FscBytes){ buffer, length };
}

/* What could not be made a URI. open() may still know what to do with a relative path, where the
 * directory has no name (any more), or too long a one. */
static void
prepare_unnamed (FscOpening *opening, const char *name, int error, const char *reason, char *buffer,
                 size_t size)
{
  char phrase[128] = "this URI ";
  size_t length = strlen (name);

  keep_name (opening, name, buffer, size);
  if (error == EINVAL && reason != NULL)
    {
      strncat (phrase, reason, sizeof phrase - strlen (phrase) - 1);
      fail (opening, FSCACHE_ERROR_BAD_URI, error, phrase);
    }
  else if (is_uri (name))
    fail (opening, FSCACHE_ERROR_BAD_URI, error, "this URI is too long");
  else if (opening->may_fall_back && name[0] != '/' && length > 0 && length < PATH_MAX
           && length < size)
    {
      opening->is_relative = opening->answer.is_local = true;
      opening->state = FSC_OPENING_ANSWERED;
    }
  else
    fail (opening, FSCACHE_ERROR_SYSTEM, error, NULL);
}

/* The umask of this thread. There is no way to ask for it but to set it, which other threads would
 * feel; except this one. */
static int
read_umask (void)
{
  char text[1024];
  const char *found;
  ssize_t length;
  int fd = open ("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);

  if (fd < 0)
    return -errno;
  length = read (fd, text, sizeof text - 1);
  close (fd);
  if (length <= 0)
    return -EIO;
  text[length] = '\0';
  found = strstr (text, "\nUmask:");
  return found == NULL ? -ENOENT : (int) strtol (found + strlen ("\nUmask:"), NULL, 8);
}

/* For a file that may be made, the service must know the umask. If that cannot be found out the
 * kernel may apply it, in this process; or else nobody but the owner gets at the file. */
static void
prepare_creation (FscOpening *opening)
{
  int mask = read_umask ();

  if (mask >= 0)
    opening->umask = (uint32_t) mask & 0777;
  else if (opening->may_fall_back)
    {
      opening->answer.is_local = true;
      opening->state = FSC_OPENING_ANSWERED;
    }
  else
    opening->umask = SAFE_UMASK;
}

static const char *
find_fault (const FscacheRequest *request)
{
  if (request->sharing != FSCACHE_INDEPENDENT && request->sharing != FSCACHE_SHARED
      && request->sharing != FSCACHE_EXCLUSIVE)
    return "there is no such sharing mode";
  if ((request->options & ~OPTIONS_ALL) != 0)
    return "the request has an unknown option";
  for (unsigned i = 0; i < sizeof request->reserved / sizeof request->reserved[0]; i++)
    if (request->reserved[i] != 0)
      return "a reserved field of the request is not 0";
  return NULL;
}

static void
prepare (FscacheClient *client, const FscacheRequest *request, FscDirectory *directory,
         FscOpening *opening, char *buffer, size_t size)
{
  unsigned options = request->options | client->options;
  bool creates = (request->flags & O_CREAT) != 0 || (request->flags & O_TMPFILE) == O_TMPFILE;
  const char *fault = find_fault (request), *reason;
  int r;

  if (request->uri == NULL)
    {
      keep_name (opening, "", buffer, size);
      fail (opening, FSCACHE_ERROR_BAD_URI, EINVAL, "the request has no name");
      return;
    }
  if (fault != NULL)
    {
      keep_name (opening, request->uri, buffer, size);
      fail (opening, FSCACHE_ERROR_BAD_REQUEST, EINVAL, fault);
      return;
    }

  opening->flags = (uint32_t) (request->flags | O_CLOEXEC);
  opening->mode = request->mode & 07777;
  opening->sharing = request->sharing;
  opening->max_age_ms = request->max_age_ms;
  opening->cancel = request->cancel;
  opening->is_revalidated = options & FSCACHE_REVALIDATE;
  opening->is_taken = options & FSCACHE_TAKE;
  opening->happens_once = opening->is_taken || (request->flags & O_TRUNC) != 0
                          || ((request->flags & O_CREAT) != 0 && (request->flags & O_EXCL) != 0);
  opening->reopens = request->sharing == FSCACHE_INDEPENDENT
                     && !__atomic_load_n (&client->never_reopens, __ATOMIC_RELAXED);
  opening->progress = request->progress;
  opening->progress_data = request->progress_data;
  if (request->digest != NULL)
    {
      opening->has_digest = true;
      memcpy (opening->digest, request->digest, sizeof opening->digest);
    }
  if (request->timeout_ms > 0)
    {
      opening->timeout_ms = request->timeout_ms;
      opening->deadline = fsc_client_get_time () + request->timeout_ms * FSC_MILLISECOND;
    }

  /* Until it is known to be a URI of another scheme. */
  opening->is_file = true;
  opening->may_fall_back = !(options & FSCACHE_NO_FALLBACK) && request->digest == NULL;
  r = fsc_client_canonicalize (request->uri, directory, buffer, size, &reason);
  if (r < 0)
    {
      prepare_unnamed (opening, request->uri, -r, reason, buffer, size);
      return;
    }
  opening->uri = (FscBytes){ buffer, (size_t) r };
  opening->is_file = r > 5 && memcmp (buffer, "file:", 5) == 0;
  opening->may_fall_back = opening->may_fall_back && opening->is_file;
  if (creates)
    prepare_creation (opening);
}

size_t
fsc_client_prepare (FscacheClient *client, const FscacheRequest *request, FscDirectory *directory,
                    FscOpening *opening, char *buffer, size_t size)
{
  prepare (client, request, directory, opening, buffer,
           size < FSC_URI_MAX + 1 ? size : FSC_URI_MAX + 1);
  return opening->uri.length + 1;
}

void
fsc_client_prepare_name (FscOpening *opening, const char *uri_or_path, char *buffer, size_t size)
{
  FscDirectory directory;
  const char *reason;
  int r;

  fsc_client_directory_init (&directory);
  opening->is_file = true;
  r = uri_or_path == NULL
          ? -EINVAL
          : fsc_client_canonicalize (uri_or_path, &directory, buffer, size, &reason);
  if (r >= 0)
    {
      opening->uri = (FscBytes){ buffer, (size_t) r };
      opening->is_file = r > 5 && memcmp (buffer, "file:", 5) == 0;
      return;
    }
  if (uri_or_path == NULL)
    {
      keep_name (opening, "", buffer, size);
      fail (opening, FSCACHE_ERROR_BAD_URI, EINVAL, "the request has no name");
    }
  else
    prepare_unnamed (opening, uri_or_path, -r, reason, buffer, size);
}
