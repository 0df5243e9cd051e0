/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sentences; see message.h.
 */
#include "libclient/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/uri.h"

const char *
fsc_client_describe_errno (int error, char buffer[FSC_CLIENT_ERRNO_SIZE])
{
  return strerror_r (error, buffer, FSC_CLIENT_ERRNO_SIZE);
}

void
fsc_client_fail_reply (FscacheReply *reply, FscacheCode code, int error)
{
  memset (reply, 0, offsetof (FscacheReply, message) + 1);
  reply->fd = -1;
  reply->code = code;
  reply->error = error;
}

/* The object as a person knows it: a path for a file, the URI for anything else. */
static const char *
get_shown_name (const FscOpening *opening, char buffer[FSC_NAME_IN_TEXT_MAX])
{
  char path[FSC_URI_MAX + 1];
  FscBytes name = opening->uri;

  if (opening->is_file && !opening->is_relative)
    {
      int r = fsc_uri_to_path (opening->uri, path, sizeof path);

      if (r >= 0)
        name = (FscBytes){ path, (size_t) r };
    }
  return fsc_uri_abbreviate (name, buffer);
}

/* A sentence is one line, whatever the service has put into it. */
static void
put_on_one_line (char *text)
{
  for (; *text != '\0'; text++)
    if ((unsigned char) *text < ' ' || *text == 0x7f)
      *text = '?';
}

static const char *
get_reason (FscacheCode code)
{
  switch (code)
    {
    case FSCACHE_ERROR_BAD_URI:
      return "it is not a valid name";
    case FSCACHE_ERROR_BAD_REQUEST:
      return "the flags, options or sharing mode asked for do not go together";
    case FSCACHE_ERROR_UNKNOWN_SCHEME:
      return "nothing opens URIs of its scheme";
    case FSCACHE_ERROR_NOT_SERVED:
      return "the service cannot serve it to this process";
    case FSCACHE_ERROR_NOT_REOPENABLE:
      return "it can only be had shared, or for exclusive use";
    case FSCACHE_ERROR_LIMIT:
      return "a limit of the service is reached";
    case FSCACHE_ERROR_TIMED_OUT:
      return "the time for it has passed";
    case FSCACHE_ERROR_OPENER_FAILED:
      return "the process that opens for the service failed";
    case FSCACHE_ERROR_CANCELLED:
      return "the request was cancelled";
    case FSCACHE_ERROR_NOT_CACHED:
      return "it is not cached";
    case FSCACHE_ERROR_VERSION:
      return "the service speaks another version of the protocol";
    case FSCACHE_ERROR_REFUSED:
      return "the service does not serve this user";
    case FSCACHE_ERROR_OTHER_CONTENT:
      return "it has other content than was asked for";
    case FSCACHE_ERROR_UNAVAILABLE:
      return "its source cannot be reached";
    case FSCACHE_ERROR_NO_SERVICE:
      return "there is no service";
    case FSCACHE_ERROR_NO_DESCRIPTOR:
      return "this process has no free file descriptor";
    case FSCACHE_ERROR_PROTOCOL:
      return "the service's answer was malformed";
    case FSCACHE_ERROR_NO_MEMORY:
      return "out of memory";
    default:
      return NULL;
    }
}

void
fsc_client_explain (FscacheReply *reply, const char *verb, const FscOpening *opening)
{
  const FscAnswer *answer = &opening->answer;
  char name[FSC_NAME_IN_TEXT_MAX], buffer[FSC_CLIENT_ERRNO_SIZE];
  const char *reason;

  fsc_client_fail_reply (reply, answer->code, answer->error);
  if (answer->text != NULL && !answer->is_phrase)
    snprintf (reply->message, sizeof reply->message, "%s", answer->text);
  else
    {
      reason = answer->text;
      if (reason == NULL)
        reason = get_reason (answer->code);
      if (reason == NULL)
        reason = fsc_client_describe_errno (answer->error, buffer);
      get_shown_name (opening, name);
      snprintf (reply->message, sizeof reply->message, "cannot %s%s%s: %s", verb,
                name[0] == '\0' ? "" : " ", name, reason);
    }
  put_on_one_line (reply->message);
}
