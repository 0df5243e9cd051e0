/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One GET after the other of one host, by libcurl: with a condition, if there is something to
 * compare with; without following where it leads elsewhere; and again from where it broke off, if
 * the server can tell that it still is the same, for as long as that brings more. Bytes go to
 * whoever wants them as they come; what is kept, and how much, is theirs to say.
 *
 * This parses what a stranger sends. It is to run in a process that is shut in (fetcher.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fscache/openers/fault.h"
#include "protocol/protocol.h"

/* How it is told that an answer says nothing of how long it holds. */
#define FSC_HTTP_NO_TTL UINT32_MAX

typedef struct
{
  const char *ca_file;   /* NULL: those that the system trusts */
  unsigned connect_time; /* milliseconds until there has to be a connection */
  unsigned stall_time;   /* seconds in which something has to come */
} FscHttpSettings;

/* What a server has answered, if it is not its content. */
typedef struct
{
  int status;
  bool is_not_to_be_kept;
  uint32_t ttl_ms; /* or FSC_HTTP_NO_TTL */

  /* What the server calls this state of it: its ETag, or else its Last-Modified; empty if it has
   * neither. */
  char validator[FSC_VALIDATOR_MAX + 1];

  int64_t modified; /* in seconds since 1970; -1 if it does not say when */

  char location[FSC_URI_MAX + 1]; /* of a redirect: where to; empty if it does not say */
} FscHttpAnswer;

typedef struct
{
  /* The content begins, or begins again, because it is another one by now. It has so many bytes, or
   * it is not known how many, 0. */
  bool (*begin) (uint64_t total, void *data);
  bool (*write) (const void *bytes, size_t n, void *data);
  void *data;
} FscHttpOutput;

typedef struct FscHttp FscHttp;

/* NULL if there is no memory. The settings are borrowed. */
FscHttp *fsc_http_new (const FscHttpSettings *settings);
void fsc_http_free (FscHttp *http);

/* The file with the certificates that are trusted; or NULL. */
const char *fsc_http_get_ca_file (const FscHttpSettings *settings);

/* Asks for `uri`, if it is not `validator` any more ("": in any case). If there is no fault, there
 * is an answer, and if its status is 200, all of the content was written. */
void fsc_http_get (FscHttp *http, const char *uri, const char *validator,
                   const FscHttpOutput *output, FscHttpAnswer *answer, FscFault *fault);
