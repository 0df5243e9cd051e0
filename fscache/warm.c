/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is opened when the service starts; see warm.h.
 */
#include "fscache/warm.h"

#include <errno.h>
#include <string.h>

#include "fscache/credential.h"
#include "protocol/uri.h"

/* Asked for at a time. */
#define JOBS 64

struct FscWarm
{
  FscCache *cache;
  char *list;
  char **names;
  FscWaiter **waiters; /* of names, by index; NULL: not asked for, or answered */
  guint n, n_begun, n_done, n_failed;
  gboolean is_beginning;
};

static guint
count_lines (const char *text)
{
  guint n = 1;

  for (; *text != '\0'; text++)
    n += *text == '\n';
  return n;
}

/* One name a line; without empty lines, and those that begin with '#'. */
static void
read_list (FscWarm *warm)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL;
  gsize length = 0;
  gboolean is_good = g_file_get_contents (warm->list, &text, &length, &error);

  if (!is_good)
    g_warning ("Nothing is warmed: %s", error->message);
  else if (strlen (text) != length)
    {
      g_warning ("Nothing is warmed: line %u of %s has a zero byte; each name is a line",
                 count_lines (text), warm->list);
      is_good = FALSE;
    }
  warm->names = g_strsplit (is_good ? text : "", "\n", -1);
  for (guint i = 0; warm->names[i] != NULL; i++)
    if (warm->names[i][0] != '\0' && warm->names[i][0] != '#')
      warm->names[warm->n++] = warm->names[i];
    else
      g_free (warm->names[i]);
  warm->names[warm->n] = NULL;
  warm->waiters = g_new0 (FscWaiter *, warm->n);
}

static void
fail (FscWarm *warm, guint index, const char *problem)
{
  if (warm->n_failed++ == 0)
    g_warning ("%s has what cannot be warmed: %s", warm->list, problem);
  else
    g_info ("Not warm: %s", problem);
}

/* Says at the end what has come of it all. */
static void
count_done (FscWarm *warm)
{
  if (++warm->n_done < warm->n)
    return;
  if (warm->n_failed > 1)
    g_warning ("%s has %u more that cannot be warmed; with --verbose each is told", warm->list,
               warm->n_failed - 1);
  g_info ("Of %u that %s lists %u are warm", warm->n, warm->list, warm->n - warm->n_failed);
}

static void begin (FscWarm *warm);

/* Directories and connections cannot be shared, but were opened to say so. */
static gboolean
is_warm (const FscAnswer *answer)
{
  return answer->handle != NULL || (answer->code == FSC_CODE_BAD_REQUEST && answer->error == EISDIR)
         || (answer->code == FSC_CODE_NOT_REOPENABLE && answer->error == EISCONN);
}

static void
answered (const FscAnswer *answer, gpointer data, guint index)
{
  FscWarm *warm = data;

  warm->waiters[index] = NULL;
  if (!is_warm (answer))
    fail (warm, index, answer->text != NULL ? answer->text : warm->names[index]);
  else if (answer->source == FSC_SOURCE_PASSED)
    {
      g_autofree char *problem = g_strconcat (warm->names[index], " is not kept", NULL);

      fail (warm, index, problem);
    }
  count_done (warm);
  begin (warm);
}

static void
ask (FscWarm *warm, guint index)
{
  const char *name = warm->names[index];
  FscItem item = { .uri = { name, strlen (name) }, .sharing = FSC_SHARING_SHARED };
  char uri[FSC_URI_MAX + 1];
  int length;

  if (name[0] == '/')
    {
      length = fsc_uri_from_path (item.uri, uri, sizeof uri);
      if (length < 0)
        {
          fail (warm, index, name);
          count_done (warm);
          return;
        }
      item.uri = (FscBytes){ uri, (size_t) length };
    }
  warm->waiters[index]
      = fsc_cache_open (warm->cache, FSC_CREDENTIAL_OWN, &item, warm, answered, warm, index);
}

/* Answers may come from within. */
static void
begin (FscWarm *warm)
{
  if (warm->is_beginning)
    return;
  warm->is_beginning = TRUE;
  while (warm->n_begun < warm->n && warm->n_begun - warm->n_done < JOBS)
    ask (warm, warm->n_begun++);
  warm->is_beginning = FALSE;
}

FscWarm *
fsc_warm_new (FscCache *cache, const char *list)
{
  FscWarm *warm = g_new0 (FscWarm, 1);

  warm->cache = cache;
  warm->list = g_strdup (list);
  read_list (warm);
  begin (warm);
  return warm;
}

void
fsc_warm_free (FscWarm *warm)
{
  for (guint i = 0; i < warm->n; i++)
    if (warm->waiters[i] != NULL)
      fsc_cache_cancel (warm->cache, warm->waiters[i]);
  g_free (warm->waiters);
  g_strfreev (warm->names);
  g_free (warm->list);
  g_free (warm);
}
