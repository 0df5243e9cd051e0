/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The provider of http: and https: URIs: what a server has under this name, in memory that is
 * sealed. It is kept for as long as the server says that it holds, and then asked for again, with
 * the condition that it be another one.
 *
 * All that a stranger has sent is read by a child that is shut in (fetcher.h); this process only
 * counts, and knows the limits. Neither ever asks another host than that of its lane: a redirect to
 * one is answered with where it goes on, and the service asks an opener of that host, which has a
 * list of its own of who may be asked. So whoever can break into a child by what it sends can lie
 * about what it sends.
 */
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fscache/filter.h"
#include "fscache/openers/allow.h"
#include "fscache/openers/argument.h"
#include "fscache/openers/fetcher.h"
#include "fscache/openers/serve.h"
#include "protocol/uri.h"

#define REDIRECTS_MAX 10

#define WRITING_FLAGS (O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* What goes with the answer that the way goes on elsewhere. */
typedef struct
{
  uint32_t ttl_ms; /* as long as all holds that has led there; or FSC_HTTP_NO_TTL */
  uint8_t redirects;
  uint8_t was_secure; /* a part of the way was */
  uint8_t zero[2];
} Bookmark;

static_assert (sizeof (Bookmark) <= FSC_RESUME_MAX, "bookmark");

/* Marks a validator of what was found somewhere else: a space and a part of the digest of where. */
#define MARK_LENGTH 17

/* As told when it was started. */
static struct
{
  const char *allow; /* NULL: nothing */
  uint64_t max_size;
  uint32_t ttl_ms; /* of what does not say how long it holds */
  FscHttpSettings http;
} settings;

static FscFetcher *fetcher;

typedef struct
{
  const FscItem *item;
  const char *name;          /* for people: what was asked for */
  char uri[FSC_URI_MAX + 1]; /* where it has led to */
  Bookmark bookmark;
  FscHttpAnswer answer;
} Request;

static bool
is_secure (const char *uri)
{
  return strncmp (uri, "https:", strlen ("https:")) == 0;
}

/* Validators
 *
 * What a server calls a state of a resource says something only about that resource: a redirect
 * that leads to another one now may find the same name there. */

static void
get_mark (const char *uri, char mark[MARK_LENGTH + 1])
{
  uint8_t digest[SHA256_DIGEST_SIZE];
  struct sha256_ctx sha256;

  sha256_init (&sha256);
  sha256_update (&sha256, strlen (uri), (const uint8_t *) uri);
  sha256_digest (&sha256, sizeof digest, digest);
  mark[0] = ' ';
  for (size_t i = 0; i < (MARK_LENGTH - 1) / 2; i++)
    snprintf (mark + 1 + 2 * i, 3, "%02x", digest[i]);
}

/* Neither an ETag nor a date ends so. */
static bool
has_mark (FscBytes validator)
{
  size_t at = validator.length - MARK_LENGTH;

  return validator.length > MARK_LENGTH && validator.data[at] == ' '
         && strspn (validator.data + at + 1, "0123456789abcdef") >= MARK_LENGTH - 1;
}

/* What to compare with here, or "". */
static void
get_condition (const Request *request, char condition[FSC_VALIDATOR_MAX + 1])
{
  FscBytes validator = request->item->validator;
  char mark[MARK_LENGTH + 1], copy[FSC_VALIDATOR_MAX + 1];

  condition[0] = '\0';
  memcpy (copy, validator.data, validator.length);
  copy[validator.length] = '\0';
  validator.data = copy;
  if (has_mark (validator) != (request->bookmark.redirects > 0))
    return;
  if (has_mark (validator))
    {
      get_mark (request->uri, mark);
      validator.length -= MARK_LENGTH;
      if (strcmp (copy + validator.length, mark) != 0)
        return;
    }
  memcpy (condition, copy, validator.length);
  condition[validator.length] = '\0';
}

static void
put_validator (const Request *request, FscFound *found)
{
  const char *validator = request->answer.validator;
  char marked[FSC_VALIDATOR_MAX + MARK_LENGTH + 2], mark[MARK_LENGTH + 1] = "";

  if (request->bookmark.redirects > 0)
    get_mark (request->uri, mark);
  snprintf (marked, sizeof marked, "%s%s", validator, mark);
  if (validator[0] == '\0' || strlen (marked) > sizeof found->validator)
    return;
  found->validator_length = (unsigned) strlen (marked);
  memcpy (found->validator, marked, found->validator_length);
}

/* Answers */

static void
fail (const Request *request, FscFound *found, FscCode code, int error, const char *phrase)
{
  fsc_found_fail (found, code, error, request->name, phrase);
}

/* How long all of the way holds. */
static uint32_t
get_ttl (const Request *request, uint32_t ttl_ms)
{
  return ttl_ms < request->bookmark.ttl_ms ? ttl_ms : request->bookmark.ttl_ms;
}

static void
put_ttl (const Request *request, FscFound *found)
{
  uint32_t own = request->answer.ttl_ms;

  found->coherence = request->answer.is_not_to_be_kept ? FSC_COHERENCE_UNCACHED : FSC_COHERENCE_TTL;
  found->has_ttl = true;
  found->ttl_ms = get_ttl (request, own != FSC_HTTP_NO_TTL ? own : settings.ttl_ms);
}

static void
put_content (const Request *request, FscDraft *draft, FscFound *found)
{
  FscFault fault = { 0 };

  found->is_final = true;
  found->kind = FSC_KIND_REGULAR;
  found->most_sharing = FSC_SHARING_INDEPENDENT;
  found->has_content = true;
  found->size = draft->size;
  put_ttl (request, found);
  put_validator (request, found);
  if (request->answer.modified >= 0)
    draft->modified = (struct timespec){ .tv_sec = request->answer.modified };
  found->fd = fsc_draft_finish (draft, found->digest, &fault);
  if (found->fd < 0)
    fail (request, found, FSC_CODE_OPENER_FAILED, fault.error, fault.phrase);
}

static void
fail_status (const Request *request, FscFound *found)
{
  int status = request->answer.status;
  char phrase[64];

  snprintf (phrase, sizeof phrase, "the server answers %d", status);
  if (status == 404 || status == 410)
    fail (request, found, FSC_CODE_SYSTEM, ENOENT, phrase);
  else if (status == 401 || status == 403)
    fail (request, found, FSC_CODE_SYSTEM, EACCES, phrase);
  else
    fail (request, found, FSC_CODE_UNAVAILABLE, EIO, phrase);
}

/* Redirects */

static bool
is_redirect (int status)
{
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* What a redirect says for ever may be believed for ever, unless it says for how long. */
static uint32_t
get_redirect_ttl (const FscHttpAnswer *answer)
{
  if (answer->is_not_to_be_kept)
    return 0;
  if (answer->ttl_ms == FSC_HTTP_NO_TTL && answer->status != 301 && answer->status != 308)
    return 0;
  return answer->ttl_ms;
}

/* Checks where it goes on, and goes there. Returns false if it does not. */
static bool
take_redirect (Request *request, FscFound *found)
{
  const char *location = request->answer.location;
  const bool was_secure = is_secure (request->uri);
  char next[FSC_URI_MAX + 1], shown[FSC_NAME_IN_TEXT_MAX], phrase[2 * FSC_NAME_IN_TEXT_MAX];
  const FscBytes bytes = { location, strlen (location) };
  const char *reason = "does not say where";
  bool is_canonical
      = location[0] != '\0' && fsc_uri_canonicalize (bytes, next, sizeof next, &reason) >= 0;

  fsc_uri_abbreviate (bytes, shown);
  if (request->bookmark.redirects >= REDIRECTS_MAX)
    snprintf (phrase, sizeof phrase, "it is redirected more than %d times", REDIRECTS_MAX);
  else if (location[0] == '\0')
    snprintf (phrase, sizeof phrase, "the server answers %d, but not where it is",
              request->answer.status);
  else if (!is_canonical)
    snprintf (phrase, sizeof phrase, "it is redirected to %.200s, which %s", shown, reason);
  else if (strncmp (next, "http:", 5) != 0 && !is_secure (next))
    snprintf (phrase, sizeof phrase,
              "it is redirected to %.200s, which is not http: or https:", shown);
  else if ((was_secure || request->bookmark.was_secure) && !is_secure (next))
    snprintf (phrase, sizeof phrase, "it is redirected from https: to http: (%.200s)", shown);
  else
    {
      request->bookmark.redirects++;
      request->bookmark.was_secure |= was_secure;
      request->bookmark.ttl_ms = get_ttl (request, get_redirect_ttl (&request->answer));
      strcpy (request->uri, next);
      return true;
    }
  fail (request, found, FSC_CODE_SYSTEM, request->bookmark.redirects >= REDIRECTS_MAX ? ELOOP : EIO,
        phrase);
  return false;
}

static bool
is_same_host (const char *a, const char *b)
{
  FscBytes x = fsc_uri_get_host ((FscBytes){ a, strlen (a) });
  FscBytes y = fsc_uri_get_host ((FscBytes){ b, strlen (b) });

  return x.length == y.length && memcmp (x.data, y.data, x.length) == 0;
}

static void
lead_elsewhere (const Request *request, FscFound *found)
{
  found->code = FSC_CODE_LEADS_ELSEWHERE;
  strcpy (found->text, request->uri);
  found->validator_length = sizeof request->bookmark;
  memcpy (found->validator, &request->bookmark, sizeof request->bookmark);
}

/* Fetching */

static void
progress (uint64_t done, uint64_t total, void *data)
{
  fsc_found_progress (data, done, total, done); /* all of it is in memory */
}

static FscChildOutcome
fetch (Request *request, FscDraft *draft, const char *condition, FscFound *found)
{
  const FscFetchJob job = {
    .uri = request->uri,
    .validator = condition,
    .max_size = settings.max_size,
    .progress = progress,
    .data = found,
  };
  FscFault fault = { 0 };
  char phrase[FSC_PHRASE_MAX];
  FscChildOutcome outcome = fsc_fetcher_run (fetcher, &job, draft, &request->answer, &fault);

  if (outcome == FSC_CHILD_TOO_BIG)
    {
      snprintf (phrase, sizeof phrase,
                "it has more than the %llu bytes that [http] max-size allows",
                (unsigned long long) settings.max_size);
      fail (request, found, FSC_CODE_LIMIT, EFBIG, phrase);
    }
  else if (outcome != FSC_CHILD_DONE)
    fail (request, found,
          outcome == FSC_CHILD_BROKEN ? FSC_CODE_OPENER_FAILED
          : fault.error == ENOMEM     ? FSC_CODE_LIMIT
                                      : FSC_CODE_UNAVAILABLE,
          fault.error, fault.phrase);
  return outcome;
}

/* Returns whether it goes on, at the same host. */
static bool
ask (Request *request, FscFound *found)
{
  static const FscDraftPlace memory = { .memory_size = UINT64_MAX };
  char condition[FSC_VALIDATOR_MAX + 1], before[FSC_URI_MAX + 1];
  FscDraft draft;
  bool is_going_on = false;

  get_condition (request, condition);
  strcpy (before, request->uri);
  fsc_draft_init (&draft, &memory);
  if (fetch (request, &draft, condition, found) != FSC_CHILD_DONE)
    ;
  else if (request->answer.status == 200)
    put_content (request, &draft, found);
  else if (request->answer.status == 304 && condition[0] != '\0')
    {
      found->code = FSC_CODE_UNCHANGED;
      put_ttl (request, found);
    }
  else if (!is_redirect (request->answer.status))
    fail_status (request, found);
  else if (take_redirect (request, found))
    {
      is_going_on = is_same_host (before, request->uri);
      if (!is_going_on)
        lead_elsewhere (request, found);
    }
  fsc_draft_clear (&draft);
  return is_going_on;
}

static void
refuse_host (const Request *request, FscFound *found)
{
  FscBytes host = fsc_uri_get_host ((FscBytes){ request->uri, strlen (request->uri) });
  char shown[FSC_NAME_IN_TEXT_MAX], phrase[FSC_PHRASE_MAX];

  snprintf (phrase, sizeof phrase, "[http] allow does not name the host %.160s",
            fsc_uri_abbreviate (host, shown));
  fail (request, found, FSC_CODE_REFUSED, EACCES, phrase);
}

static bool
is_allowed (const char *uri)
{
  return settings.allow != NULL && fsc_allow_has (settings.allow, (FscBytes){ uri, strlen (uri) });
}

static void
open_http (const FscItem *item, const char *uri, FscFound *found)
{
  static Request request; /* too large for a stack */
  int flags = (int) item->flags;

  request.item = item;
  request.name = uri;
  request.bookmark = (Bookmark){ .ttl_ms = FSC_HTTP_NO_TTL };
  strcpy (request.uri, uri);
  if (item->resume.length == sizeof request.bookmark)
    memcpy (&request.bookmark, item->resume.data, item->resume.length);
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & WRITING_FLAGS) != 0)
    fail (&request, found, FSC_CODE_SYSTEM, EROFS, "what a server has cannot be written to");
  else if ((flags & (O_PATH | O_DIRECTORY)) != 0)
    fsc_found_system_error (found, uri, (flags & O_DIRECTORY) != 0 ? ENOTDIR : EINVAL);
  else if (!is_allowed (uri))
    refuse_host (&request, found);
  else
    while (ask (&request, found))
      ;
}

int
main (int argc, char **argv)
{
  settings.allow = fsc_argument_get (argv, "allow");
  settings.max_size = fsc_argument_get_number (argv, "max-size");
  settings.ttl_ms = (uint32_t) fsc_argument_get_number (argv, "ttl");
  settings.http.ca_file = fsc_argument_get (argv, "ca-file");
  settings.http.connect_time = (unsigned) fsc_argument_get_number (argv, "connect-timeout");
  settings.http.stall_time = (unsigned) fsc_argument_get_number (argv, "stall-timeout");
  fetcher = fsc_fetcher_new (&settings.http);
  if (fetcher == NULL)
    return 1;
  return fsc_filter_load (FSC_FILTER_OPENER | FSC_FILTER_CONNECTS | FSC_FILTER_FORKS)
             ? fsc_serve ("open-http", open_http)
             : 1;
}
