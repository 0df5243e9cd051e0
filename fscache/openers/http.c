/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One GET after the other; see http.h.
 */
#include "fscache/openers/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "fscache/openers/freshness.h"

/* Where it breaks off: so many attempts in a row may bring no more than there ever was, with pauses
 * before them that double from the first. */
#define VAIN_ATTEMPTS_MAX 6
#define FIRST_PAUSE_MS 100

/* Of all headers of one attempt. */
#define HEADERS_MAX 65536

/* What comes with an answer that is none, and is not looked at. */
#define REST_MAX 65536

#define VALUE_MAX 1024

struct FscHttp
{
  CURL *curl;
  char error[CURL_ERROR_SIZE];
};

/* What the header of the answer that is coming says. */
typedef struct
{
  int status; /* 0: there is none yet */
  FscFreshness freshness;
  char etag[VALUE_MAX];
  char last_modified[VALUE_MAX];
  char range[VALUE_MAX];    /* Content-Range */
  char encoding[VALUE_MAX]; /* Content-Encoding, if it is one */
  char type[VALUE_MAX];     /* Content-Type */
  char length[VALUE_MAX];   /* Content-Length */
  bool has_lengths;         /* and another one */
  bool is_in_chunks;        /* which then count for nothing */
  char location[FSC_URI_MAX + 1];
} Header;

typedef struct
{
  FscHttp *http;
  const FscHttpOutput *output;
  FscFault *fault;
  size_t header_size; /* of this attempt */
  Header header;
  bool is_body; /* the header is complete */

  uint64_t most;  /* that was received, of all attempts */
  int n_attempts; /* in all */
  int n_in_vain;  /* in a row, which brought no more than that */

  /* What has been written. */
  uint64_t received, total; /* total 0: not known */
  bool is_total_known;
  char etag[VALUE_MAX]; /* a strong one, with which more of the same can be asked for; or empty */

  bool is_resuming;        /* this attempt asks for the rest only */
  bool is_beginning_again; /* what came is not the rest: all of it has to be asked for again */
  size_t rest;             /* of what is not looked at */
} Transfer;

static bool
is_strong (const char *etag)
{
  return etag[0] == '"';
}

/* Whether it has the form of one: any byte that might do harm elsewhere is not in it. */
static bool
is_etag (const char *value)
{
  const char *opaque = strncmp (value, "W/", 2) == 0 ? value + 2 : value;
  size_t length = strlen (opaque);

  if (length < 2 || opaque[0] != '"' || opaque[length - 1] != '"')
    return false;
  for (size_t i = 1; i < length - 1; i++)
    if (opaque[i] <= ' ' || opaque[i] == '"' || opaque[i] > '~')
      return false;
  return true;
}

static bool
is_date (const char *value)
{
  size_t length = strlen (value);

  return length > 4 && strcmp (value + length - 4, " GMT") == 0 && curl_getdate (value, NULL) >= 0
         && strspn (value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ,:-")
                == length;
}

/* The header */

static void
copy_value (char *to, size_t size, const char *value)
{
  if (strlen (value) < size)
    strcpy (to, value);
}

static void
take_field (Header *header, const char *name, const char *value)
{
  fsc_freshness_take (&header->freshness, name, value);
  if (strcasecmp (name, "etag") == 0)
    copy_value (header->etag, VALUE_MAX, value);
  else if (strcasecmp (name, "last-modified") == 0)
    copy_value (header->last_modified, VALUE_MAX, value);
  else if (strcasecmp (name, "content-range") == 0)
    copy_value (header->range, VALUE_MAX, value);
  else if (strcasecmp (name, "content-encoding") == 0 && strcasecmp (value, "identity") != 0)
    copy_value (header->encoding, VALUE_MAX, value);
  else if (strcasecmp (name, "content-type") == 0)
    copy_value (header->type, VALUE_MAX, value);
  else if (strcasecmp (name, "content-length") == 0)
    {
      header->has_lengths |= header->length[0] != '\0' && strcmp (header->length, value) != 0;
      copy_value (header->length, VALUE_MAX, value);
    }
  else if (strcasecmp (name, "transfer-encoding") == 0)
    header->is_in_chunks = true;
  else if (strcasecmp (name, "location") == 0)
    copy_value (header->location, sizeof header->location, value);
}

/* A line, "NAME: VALUE", as it came. */
static void
take_line (Header *header, char *line)
{
  char *value = strchr (line, ':'), *end;

  if (value == NULL)
    return;
  *value++ = '\0';
  value += strspn (value, " \t");
  for (end = value + strlen (value); end > value && strchr (" \t\r\n", end[-1]) != NULL; end--)
    ;
  *end = '\0';
  take_field (header, line, value);
}

/* Whether a 206 has what is missing: of the same state, from where it broke off, to its end. */
static bool
is_rest (Transfer *transfer)
{
  const Header *header = &transfer->header;
  unsigned long long first, last, total;
  char more;

  if (strcmp (header->etag, transfer->etag) != 0
      || strncasecmp (header->type, "multipart/", strlen ("multipart/")) == 0
      || strspn (header->range, "bytes 0123456789-/") != strlen (header->range)
      || sscanf (header->range, "bytes %19llu-%19llu/%19llu%c", &first, &last, &total, &more) != 3)
    return false;
  if (first != transfer->received || last < first || last + 1 != total
      || (transfer->is_total_known && total != transfer->total))
    return false;
  transfer->is_total_known = true;
  transfer->total = total;
  return true;
}

static bool
begin_content (Transfer *transfer)
{
  const Header *header = &transfer->header;
  curl_off_t length = -1;

  if (header->encoding[0] != '\0')
    {
      fsc_fault_set (transfer->fault, EIO,
                     "the server sends it encoded (%.60s), although it was asked not to",
                     header->encoding);
      return false;
    }
  if (header->has_lengths && !header->is_in_chunks)
    {
      fsc_fault_set (transfer->fault, EIO, "the server says that it has two lengths");
      return false;
    }
  if (!header->is_in_chunks)
    curl_easy_getinfo (transfer->http->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  transfer->received = 0;
  transfer->is_total_known = length >= 0;
  transfer->total = length >= 0 ? (uint64_t) length : 0;
  transfer->etag[0] = '\0';
  if (is_etag (header->etag) && is_strong (header->etag))
    strcpy (transfer->etag, header->etag);
  return transfer->output->begin (transfer->total, transfer->output->data);
}

/* All of the header is there. */
static bool
finish_header (Transfer *transfer)
{
  int status = transfer->header.status;

  transfer->is_body = status >= 200;
  if (status == 206 && transfer->is_resuming)
    {
      transfer->is_beginning_again = !is_rest (transfer);
      return !transfer->is_beginning_again;
    }
  if (transfer->is_resuming && status != 200)
    {
      transfer->is_beginning_again = true;
      return false;
    }
  return status != 200 || begin_content (transfer);
}

/* For libcurl: less than it gave ends the transfer. */
static size_t
take_header (char *bytes, size_t size, size_t n, void *data)
{
  Transfer *transfer = data;
  Header *header = &transfer->header;
  char line[sizeof header->location + VALUE_MAX];

  transfer->header_size += n;
  if (transfer->header_size > HEADERS_MAX)
    {
      fsc_fault_set (transfer->fault, EIO, "the server sends more than %d bytes of header",
                     HEADERS_MAX);
      return 0;
    }
  if (transfer->is_body || n >= sizeof line) /* a trailer; or nothing that is known here */
    return n;
  memcpy (line, bytes, n);
  line[n] = '\0';
  if (strncmp (line, "HTTP/", 5) == 0)
    {
      *header = (Header){ 0 };
      fsc_freshness_begin (&header->freshness);
      sscanf (line, "HTTP/%*s %3d", &header->status);
    }
  else if (strcmp (line, "\r\n") != 0 && strcmp (line, "\n") != 0)
    take_line (header, line);
  else if (!finish_header (transfer))
    return 0;
  return n;
}

static size_t
take_body (char *bytes, size_t size, size_t n, void *data)
{
  Transfer *transfer = data;

  if (transfer->header.status != 200 && !transfer->is_resuming)
    {
      transfer->rest += n;
      return transfer->rest <= REST_MAX ? n : 0;
    }
  if (transfer->is_total_known && n > transfer->total - transfer->received)
    {
      fsc_fault_set (transfer->fault, EIO, "the server sends more than it said");
      return 0;
    }
  if (!transfer->output->write (bytes, n, transfer->output->data))
    return 0;
  transfer->received += n;
  return n;
}

/* Asking */

static struct curl_slist *
add_line (struct curl_slist *lines, const char *name, const char *value)
{
  char line[2 * VALUE_MAX];
  struct curl_slist *longer;

  snprintf (line, sizeof line, "%s: %s", name, value);
  longer = curl_slist_append (lines, line);
  return longer != NULL ? longer : lines;
}

/* What has come of an attempt counts, as long as it is more than ever before: who begins again and
 * again must come to an end. */
static void
count_attempt (Transfer *transfer)
{
  transfer->n_attempts++;
  transfer->n_in_vain = transfer->received > transfer->most ? 0 : transfer->n_in_vain + 1;
  if (transfer->received > transfer->most)
    transfer->most = transfer->received;
}

/* One attempt: at the rest, if more of the same can be asked for, and else at all of it. */
static CURLcode
try (Transfer *transfer, const char *validator)
{
  CURL *curl = transfer->http->curl;
  struct curl_slist *lines = add_line (NULL, "Accept-Encoding", "identity");
  char range[32];
  CURLcode code;

  transfer->is_resuming = transfer->received > 0 && transfer->etag[0] != '\0';
  if (!transfer->is_resuming)
    {
      transfer->received = 0;
      transfer->is_total_known = false;
    }
  transfer->is_beginning_again = false;
  transfer->is_body = false;
  transfer->header_size = 0;
  transfer->rest = 0;
  transfer->header = (Header){ 0 };
  transfer->http->error[0] = '\0';
  if (transfer->is_resuming)
    {
      snprintf (range, sizeof range, "%llu-", (unsigned long long) transfer->received);
      lines = add_line (lines, "If-Range", transfer->etag);
    }
  else if (validator[0] != '\0' && transfer->most == 0)
    lines
        = add_line (lines, is_etag (validator) ? "If-None-Match" : "If-Modified-Since", validator);
  curl_easy_setopt (curl, CURLOPT_RANGE, transfer->is_resuming ? range : NULL);
  curl_easy_setopt (curl, CURLOPT_HTTPHEADER, lines);
  code = curl_easy_perform (curl);
  count_attempt (transfer);
  curl_easy_setopt (curl, CURLOPT_HTTPHEADER, NULL);
  curl_slist_free_all (lines);
  return code;
}

/* A server that has been restarted, or has too much to do, needs a while. Returns false if it has
 * had that. */
static bool
wait_for_next (Transfer *transfer)
{
  long ms = (long) FIRST_PAUSE_MS << transfer->n_in_vain;
  struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

  if (transfer->n_in_vain == VAIN_ATTEMPTS_MAX)
    return false;
  if (transfer->is_beginning_again) /* it is there, and has something else */
    transfer->etag[0] = '\0';
  else
    while (clock_nanosleep (CLOCK_MONOTONIC, 0, &pause, &pause) == EINTR)
      ;
  return true;
}

/* Whether what went wrong may go better the next time, after something had come. */
static bool
is_broken_off (const Transfer *transfer, CURLcode code)
{
  return transfer->fault->error == 0 && transfer->most > 0
         && (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR
             || code == CURLE_GOT_NOTHING || code == CURLE_OPERATION_TIMEDOUT
             || code == CURLE_COULDNT_CONNECT || transfer->is_beginning_again);
}

static int
get_errno (CURL *curl, CURLcode code)
{
  long error = 0;

  switch (code)
    {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
      curl_easy_getinfo (curl, CURLINFO_OS_ERRNO, &error);
      return error > 0 ? (int) error : ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
      return ETIMEDOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return EPROTO;
    case CURLE_OUT_OF_MEMORY:
      return ENOMEM;
    default:
      return EIO;
    }
}

/* What only comes from libcurl in its own words. */
static void
explain (const Transfer *transfer, CURLcode code)
{
  const char *error
      = transfer->http->error[0] != '\0' ? transfer->http->error : curl_easy_strerror (code);
  char total[32] = "";

  if (transfer->is_total_known && transfer->most <= transfer->total)
    snprintf (total, sizeof total, " of %llu", (unsigned long long) transfer->total);
  if (transfer->n_in_vain == VAIN_ATTEMPTS_MAX)
    fsc_fault_set (transfer->fault, get_errno (transfer->http->curl, code),
                   "the server broke off after %llu%s bytes; of %d attempts the last %d brought "
                   "no more: %.100s",
                   (unsigned long long) transfer->most, total, transfer->n_attempts,
                   transfer->n_in_vain,
                   transfer->is_beginning_again ? "it does not go on from there" : error);
  else if (code == CURLE_OK)
    fsc_fault_set (transfer->fault, EIO, "the server broke off after %llu%s bytes",
                   (unsigned long long) transfer->received, total);
  else
    fsc_fault_set (transfer->fault, get_errno (transfer->http->curl, code), "%.200s", error);
}

/* Where a redirect leads to, which may be written relative to where it comes from. */
static void
resolve (const char *uri, const char *reference, char *location, size_t size)
{
  CURLU *url = curl_url ();
  char *text = NULL;

  if (url != NULL && curl_url_set (url, CURLUPART_URL, uri, 0) == CURLUE_OK
      && curl_url_set (url, CURLUPART_URL, reference, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK
      && curl_url_get (url, CURLUPART_URL, &text, 0) == CURLUE_OK)
    copy_value (location, size, text);
  curl_free (text);
  curl_url_cleanup (url);
}

static void
fill_answer (const Transfer *transfer, const char *uri, FscHttpAnswer *answer)
{
  const Header *header = &transfer->header;
  int64_t ttl = fsc_freshness_get_ttl (&header->freshness, time (NULL));
  const char *validator = is_etag (header->etag)            ? header->etag
                          : is_date (header->last_modified) ? header->last_modified
                                                            : "";

  answer->status = transfer->is_resuming ? 200 : header->status;
  answer->is_not_to_be_kept = header->freshness.is_not_to_be_kept;
  answer->ttl_ms = ttl < 0                 ? FSC_HTTP_NO_TTL
                   : ttl < FSC_HTTP_NO_TTL ? (uint32_t) ttl
                                           : FSC_HTTP_NO_TTL - 1;
  copy_value (answer->validator, sizeof answer->validator, validator);
  answer->modified
      = is_date (header->last_modified) ? curl_getdate (header->last_modified, NULL) : -1;
  if (header->status >= 300 && header->status < 400 && header->location[0] != '\0')
    resolve (uri, header->location, answer->location, sizeof answer->location);
}

void
fsc_http_get (FscHttp *http, const char *uri, const char *validator, const FscHttpOutput *output,
              FscHttpAnswer *answer, FscFault *fault)
{
  static Transfer transfer; /* too large for a stack */
  CURLcode code = CURLE_OK;
  bool is_all = false;

  transfer = (Transfer){ .http = http, .output = output, .fault = fault };
  *answer = (FscHttpAnswer){ 0 };
  curl_easy_setopt (http->curl, CURLOPT_URL, uri);
  curl_easy_setopt (http->curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt (http->curl, CURLOPT_WRITEDATA, &transfer);
  do
    {
      code = try (&transfer, validator);
      is_all
          = code == CURLE_OK && (!transfer.is_total_known || transfer.received == transfer.total);
    }
  while (!is_all && is_broken_off (&transfer, code) && wait_for_next (&transfer));
  /* The body of what is no content is not needed. */
  if (is_all || (transfer.is_body && transfer.rest > REST_MAX))
    fill_answer (&transfer, uri, answer);
  else
    explain (&transfer, code);
}

/* Life */

const char *
fsc_http_get_ca_file (const FscHttpSettings *settings)
{
  return settings->ca_file != NULL ? settings->ca_file
                                   : curl_version_info (CURLVERSION_NOW)->cainfo;
}

FscHttp *
fsc_http_new (const FscHttpSettings *settings)
{
  FscHttp *http = calloc (1, sizeof *http);
  CURL *curl = http != NULL ? curl_easy_init () : NULL;

  if (curl == NULL)
    {
      free (http);
      return NULL;
    }
  http->curl = curl;
  curl_easy_setopt (curl, CURLOPT_ERRORBUFFER, http->error);
  curl_easy_setopt (curl, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt (curl, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt (curl, CURLOPT_BUFFERSIZE, 65536L);
  curl_easy_setopt (curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt (curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt (curl, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
  curl_easy_setopt (curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt (curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt (curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt (curl, CURLOPT_USERAGENT, "fscache/" FSC_VERSION);
  curl_easy_setopt (curl, CURLOPT_CONNECTTIMEOUT_MS, (long) settings->connect_time);
  curl_easy_setopt (curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt (curl, CURLOPT_LOW_SPEED_TIME, (long) settings->stall_time);
  curl_easy_setopt (curl, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt (curl, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt (curl, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt (curl, CURLOPT_CAPATH, NULL);
  if (settings->ca_file != NULL)
    curl_easy_setopt (curl, CURLOPT_CAINFO, settings->ca_file);
  return http;
}

void
fsc_http_free (FscHttp *http)
{
  curl_easy_cleanup (http->curl);
  free (http);
}
