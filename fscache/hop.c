/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A job whose way leads through several mounts; see hop.h.
 */
#include "fscache/hop.h"

#include <string.h>

#include "protocol/uri.h"

FscHop *
fsc_hop_get (const FscJob *job)
{
  return job->provider_data;
}

gboolean
fsc_hop_is_free (const FscJob *job)
{
  const FscHop *hop = fsc_hop_get (job);

  return hop != NULL && hop->is_free;
}

FscBytes
fsc_hop_get_original (const FscJob *job)
{
  const FscHop *hop = fsc_hop_get (job);

  return hop != NULL ? hop->original : job->item.uri;
}

gboolean
fsc_hop_is_first (const FscJob *job)
{
  const FscHop *hop = fsc_hop_get (job);

  return hop == NULL || hop->n == 0;
}

gboolean
fsc_hop_is_to_file (const FscJob *job)
{
  const FscHop *hop = fsc_hop_get (job);

  return hop != NULL && hop->file.length > 0;
}

static FscHop *
hop_new (FscJob *job)
{
  FscHop *hop = g_new0 (FscHop, 1);

  hop->original = job->item.uri;
  job->item.resume = (FscBytes){ 0 }; /* from here on it is the job's */
  job->provider_data = hop;
  return hop;
}

static void
set_way (FscJob *job, FscBytes uri, FscBytes resume)
{
  const FscHop *hop = fsc_hop_get (job);

  if (job->item.uri.data != hop->original.data && job->item.uri.data != hop->file.data)
    g_free ((char *) job->item.uri.data);
  g_free ((char *) job->item.resume.data);
  job->item.uri = uri;
  job->item.resume = resume;
}

void
fsc_hop_to_file (FscJob *job)
{
  static const char scheme[] = "file";
  FscBytes uri = job->item.uri;
  size_t old = fsc_uri_get_scheme_length (uri);
  const char *end = memchr (uri.data, '#', uri.length);
  size_t rest = (end != NULL ? (size_t) (end - uri.data) : uri.length) - old;
  char *file = g_malloc (strlen (scheme) + rest);
  FscHop *hop = hop_new (job);

  memcpy (file, scheme, strlen (scheme));
  memcpy (file + strlen (scheme), uri.data + old, rest);
  hop->file = (FscBytes){ file, strlen (scheme) + rest };
  set_way (job, hop->file, (FscBytes){ 0 });
  job->item.options |= FSC_OPTION_CONTENT;
}

/* Without a text, or after too many hops, it begins again. */
void
fsc_hop_take (FscJob *job, const FscOutcome *outcome)
{
  FscHop *hop = fsc_hop_get (job);
  size_t length = strlen (outcome->text);

  if (hop == NULL)
    hop = hop_new (job);
  hop->is_stuck
      = length == job->item.uri.length && memcmp (outcome->text, job->item.uri.data, length) == 0;
  hop->is_free = ++hop->n > FSC_HOPS_MAX;
  if (length == 0 || hop->is_free)
    set_way (job, hop->file.length > 0 ? hop->file : hop->original, (FscBytes){ 0 });
  else
    set_way (job, (FscBytes){ g_memdup2 (outcome->text, length), length },
             (FscBytes){ g_memdup2 (outcome->resume.data, outcome->resume.length),
                         outcome->resume.length });
}

void
fsc_hop_end (FscJob *job)
{
  FscHop *hop = fsc_hop_get (job);

  job->item.mount_length = 0;
  if (hop == NULL)
    return;
  set_way (job, hop->original, (FscBytes){ 0 });
  job->item.options &= ~(guint32) FSC_OPTION_CONTENT;
  g_free ((char *) hop->file.data);
  g_free (hop);
  job->provider_data = NULL;
}

/* A path as openers write it. */
static const char *
name_path (FscBytes uri, char name[FSC_NAME_IN_TEXT_MAX])
{
  char path[FSC_URI_MAX + 1];
  int length = fsc_uri_to_path (uri, path, sizeof path);

  return fsc_uri_abbreviate (length > 0 ? (FscBytes){ path, (size_t) length } : uri, name);
}

char *
fsc_hop_reword (const FscJob *job, const char *text)
{
  const FscHop *hop = fsc_hop_get (job);
  char asked[FSC_NAME_IN_TEXT_MAX], found[FSC_NAME_IN_TEXT_MAX];
  g_autofree char *beginning = NULL;
  char *reworded;

  if (hop == NULL || job->item.uri.data == hop->original.data)
    return NULL;
  name_path (hop->original, asked);
  name_path (job->item.uri, found);
  beginning = g_strdup_printf ("cannot open %s: ", found);
  if (!g_str_has_prefix (text, beginning))
    return NULL;
  text += strlen (beginning);
  reworded = g_strdup_printf ("cannot open %s, which leads to %s: %s", asked, found, text);
  if (strlen (reworded) <= FSC_TEXT_MAX)
    return reworded;
  g_free (reworded);
  return g_strdup_printf ("cannot open %s: %s", asked, text);
}
