/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How long an answer of HTTP holds; see freshness.h.
 */
#include "fscache/openers/freshness.h"

#include <curl/curl.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* As much as RFC 9111 wants to be told apart. */
#define SECONDS_MAX INT32_MAX

void
fsc_freshness_begin (FscFreshness *freshness)
{
  *freshness = (FscFreshness){ .max_age = -1, .age = -1, .date = -1, .expires = -1 };
}

/* A number of seconds, or -1. */
static int64_t
get_seconds (const char *text, size_t length)
{
  int64_t seconds = 0;

  for (size_t i = 0; i < length; i++)
    {
      if (text[i] < '0' || text[i] > '9')
        return -1;
      seconds = seconds * 10 + (text[i] - '0');
      if (seconds > SECONDS_MAX)
        seconds = SECONDS_MAX;
    }
  return length > 0 ? seconds : -1;
}

static bool
is_word (const char *text, size_t length, const char *word)
{
  return length == strlen (word) && strncasecmp (text, word, length) == 0;
}

static bool
is_blank (char c)
{
  return c == ' ' || c == '\t';
}

/* One directive of Cache-Control, and its argument, which may be in quotes. */
static void
take_directive (FscFreshness *freshness, const char *name, size_t name_length, const char *argument,
                size_t argument_length)
{
  if (is_word (name, name_length, "no-store"))
    freshness->is_not_to_be_kept = true;
  else if (is_word (name, name_length, "no-cache")) /* even if only of some fields */
    freshness->is_to_be_asked_for = true;
  else if (is_word (name, name_length, "max-age"))
    {
      int64_t seconds = get_seconds (argument, argument_length);

      /* Of several, the least; what is no number is nothing. */
      if (seconds < 0)
        seconds = 0;
      if (freshness->max_age < 0 || seconds < freshness->max_age)
        freshness->max_age = seconds;
    }
  /* public, private, must-revalidate and immutable change nothing for who never gives what is not
   * fresh, and to one user only. */
}

static void
take_cache_control (FscFreshness *freshness, const char *value)
{
  while (*value != '\0')
    {
      const char *name = value += strspn (value, ", \t");
      size_t name_length = strcspn (value, ",= \t"), argument_length = 0;
      const char *argument = "";

      value += name_length;
      value += strspn (value, " \t");
      if (*value == '=')
        {
          value++;
          value += strspn (value, " \t");
          if (*value == '"')
            {
              argument = ++value;
              while (*value != '\0' && *value != '"')
                value += value[0] == '\\' && value[1] != '\0' ? 2 : 1;
              argument_length = (size_t) (value - argument);
            }
          else
            {
              argument = value;
              argument_length = strcspn (value, ",");
              value += argument_length;
              while (argument_length > 0 && is_blank (argument[argument_length - 1]))
                argument_length--;
            }
        }
      take_directive (freshness, name, name_length, argument, argument_length);
      value += strcspn (value, ",");
    }
}

/* What is no date is past. */
static int64_t
get_date (const char *value)
{
  time_t date = curl_getdate (value, NULL);

  return date >= 0 ? (int64_t) date : 0;
}

void
fsc_freshness_take (FscFreshness *freshness, const char *name, const char *value)
{
  if (strcasecmp (name, "cache-control") == 0)
    take_cache_control (freshness, value);
  else if (strcasecmp (name, "expires") == 0)
    {
      int64_t expires = get_date (value);

      if (freshness->expires < 0 || expires < freshness->expires)
        freshness->expires = expires;
    }
  else if (strcasecmp (name, "date") == 0)
    freshness->date = get_date (value);
  else if (strcasecmp (name, "age") == 0)
    {
      int64_t age = get_seconds (value, strlen (value));

      if (age > freshness->age)
        freshness->age = age;
    }
  else if (strcasecmp (name, "vary") == 0 && strchr (value, '*') != NULL)
    freshness->is_to_be_asked_for = true; /* what is the same request is for the server to say */
}

int64_t
fsc_freshness_get_ttl (const FscFreshness *freshness, int64_t now)
{
  int64_t date = freshness->date > 0 ? freshness->date : now;
  int64_t age = freshness->age > 0 ? freshness->age : 0;
  int64_t lifetime;

  if (freshness->is_not_to_be_kept || freshness->is_to_be_asked_for)
    return 0;
  if (freshness->max_age >= 0)
    lifetime = freshness->max_age;
  else if (freshness->expires >= 0)
    lifetime = freshness->expires - date;
  else
    return -1;
  if (lifetime > SECONDS_MAX)
    lifetime = SECONDS_MAX;
  return lifetime > age ? (lifetime - age) * 1000 : 0;
}
