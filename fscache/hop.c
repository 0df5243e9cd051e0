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

static void
set_way (FscJob *job, FscBytes uri, FscBytes resume)
{
  const FscHop *hop = fsc_hop_get (job);

  if (job->item.uri.data != hop->original.data)
    g_free ((char *) job->item.uri.data);
  g_free ((char *) job->item.resume.data);
  job->item.uri = uri;
  job->item.resume = resume;
}

/* Without a text, or after too many hops, it begins again. */
void
fsc_hop_take (FscJob *job, const FscOutcome *outcome)
{
  FscHop *hop = fsc_hop_get (job);
  size_t length = strlen (outcome->text);

  if (hop == NULL)
    {
      job->provider_data = hop = g_new0 (FscHop, 1);
      hop->original = job->item.uri;
      job->item.resume = (FscBytes){ 0 }; /* from here on it is the job's */
    }
  hop->is_stuck
      = length == job->item.uri.length && memcmp (outcome->text, job->item.uri.data, length) == 0;
  hop->is_free = ++hop->n > FSC_HOPS_MAX;
  if (length == 0 || hop->is_free)
    set_way (job, hop->original, (FscBytes){ 0 });
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
