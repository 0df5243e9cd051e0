/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Extended attributes; see attribute.h.
 */
#include "fscache/view/attribute.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fscache/view/entry.h"
#include "fscache/view/look.h"
#include "fscache/view/source.h"

#define PREFIX "user.fscache."
#define PINNED PREFIX "pinned"

/* What can be asked for, in this order */

typedef char *(*Format) (const FscacheEntry *entry);

static char *
format_number (guint64 number)
{
  return g_strdup_printf ("%" G_GUINT64_FORMAT, number);
}

static char *
format_seconds (guint64 us)
{
  return g_strdup_printf ("%" G_GUINT64_FORMAT ".%06u", us / G_USEC_PER_SEC,
                          (guint) (us % G_USEC_PER_SEC));
}

static char *
get_uri (const FscacheEntry *entry)
{
  return g_strdup (entry->uri);
}

static char *
get_kind (const FscacheEntry *entry)
{
  return g_strdup (fscache_kind_name (entry->kind));
}

static char *
get_coherence (const FscacheEntry *entry)
{
  return g_strdup (fscache_coherence_name (entry->coherence));
}

static char *
get_sharing (const FscacheEntry *entry)
{
  return g_strdup (fscache_sharing_name (entry->sharing));
}

static char *
get_hits (const FscacheEntry *entry)
{
  return format_number (entry->hits);
}

static char *
get_age (const FscacheEntry *entry)
{
  return format_seconds (entry->age_ms * 1000);
}

static char *
get_idle (const FscacheEntry *entry)
{
  return format_seconds (entry->idle_ms * 1000);
}

static char *
get_checked (const FscacheEntry *entry)
{
  return format_seconds (entry->checked_ms * 1000);
}

static char *
get_cost (const FscacheEntry *entry)
{
  return format_seconds (entry->cost_us);
}

static char *
get_generation (const FscacheEntry *entry)
{
  return format_number (entry->generation);
}

static char *
get_pinned (const FscacheEntry *entry)
{
  return format_number (entry->is_pinned);
}

static char *
get_held (const FscacheEntry *entry)
{
  return format_number (entry->is_held);
}

static const struct
{
  const char *name;
  Format format;
} attributes[] = {
  { PREFIX "uri", get_uri }, /* the only one of what is not cached */
  { PREFIX "kind", get_kind },
  { PREFIX "coherence", get_coherence },
  { PREFIX "sharing", get_sharing },
  { PREFIX "hits", get_hits },
  { PREFIX "age", get_age },
  { PREFIX "idle", get_idle },
  { PREFIX "checked", get_checked },
  { PREFIX "cost", get_cost },
  { PREFIX "generation", get_generation },
  { PINNED, get_pinned },
  { PREFIX "held", get_held },
};

static gboolean
has_target (const FscNode *node)
{
  return node->target != NULL && node->barrier == 0;
}

/* Answers with text that the caller keeps, or its length, or says that it is too long. */
static void
reply (FscCall *call, const char *data, gsize length)
{
  if (call->size > 0 && length > call->size)
    fsc_call_finish (call, ERANGE);
  else if (call->size > 0)
    fsc_call_reply_data (call, data, length);
  else if (fsc_call_claim (call))
    fuse_reply_xattr (call->request, length);
}

static void
get_own (FscCall *call)
{
  g_autofree char *text = NULL;
  g_auto (FscFound) found = { 0 };
  int error = fsc_entry_find (&call->caller, call->node->target, &found);

  if (error < 0)
    {
      fsc_call_finish (call, error);
      return;
    }
  for (gsize i = 0; i < G_N_ELEMENTS (attributes); i++)
    if (strcmp (attributes[i].name, call->name) == 0 && (i == 0 || found.n > 0))
      text = attributes[i].format (&found.entry);
  if (text == NULL)
    fsc_call_finish (call, ENODATA);
  else
    reply (call, text, strlen (text));
}

/* The source's are had through the link of a path-only handle; but those that only who reads the
 * file may read, of one for reading. */

static gboolean
wants_reading (const FscCall *call)
{
  return call->name != NULL && g_str_has_prefix (call->name, "user.")
         && (S_ISREG (call->node->type) || S_ISDIR (call->node->type));
}

static int
open_for_reading (FscCall *call)
{
  const FscNode *node = call->node;
  FscSource source;
  struct statx st;
  int flags = fsc_tree_is_file (node->path) ? O_NOFOLLOW : 0; /* else a link may be content */
  int fd = S_ISDIR (node->type)
               ? fsc_source_open (&call->caller, node->target, O_RDONLY | O_DIRECTORY, 0, &source)
               : fsc_source_open_shared (&call->caller, node->target, flags, FALSE, &source);

  if (fd >= 0 && !fsc_look_is_of (node, fd, &st))
    {
      close (fd);
      fd = -ESTALE;
    }
  return fd;
}

static int
open_link (FscCall *call, char path[32])
{
  struct statx st;
  int fd = wants_reading (call) ? open_for_reading (call) : fsc_look_open (call, &st);

  if (fd >= 0)
    g_snprintf (path, 32, "/proc/self/fd/%d", fd);
  return fd;
}

void
fsc_attribute_get (FscCall *call)
{
  g_autofree char *value = g_malloc (call->size + 1);
  char path[32];
  ssize_t length;
  int fd;

  if (!has_target (call->node))
    {
      fsc_call_finish (call, ENODATA);
      return;
    }
  if (g_str_has_prefix (call->name, PREFIX))
    {
      get_own (call);
      return;
    }
  fd = call->node->place == FSC_PLACE_SOURCE ? open_link (call, path) : -ENODATA;
  if (fd < 0)
    {
      fsc_call_finish (call, fd);
      return;
    }
  length = getxattr (path, call->name, value, call->size);
  if (length < 0)
    fsc_call_finish (call, errno);
  else
    reply (call, value, (gsize) length);
  close (fd);
}

/* Those of the source after the others; if it has none, or does not say, that is no failure. */
static void
append_source (FscCall *call, GString *names)
{
  char list[XATTR_LIST_MAX];
  char path[32];
  ssize_t length;
  int fd = call->node->place == FSC_PLACE_SOURCE ? open_link (call, path) : -1;

  if (fd < 0)
    return;
  length = listxattr (path, list, sizeof list);
  for (const char *name = list; name < list + length; name += strlen (name) + 1)
    if (call->caller.user == NULL || !g_str_has_prefix (name, "trusted.")) /* root's alone */
      g_string_append_len (names, name, (gssize) strlen (name) + 1);
  close (fd);
}

void
fsc_attribute_list (FscCall *call)
{
  GString *names = g_string_new (NULL);
  g_auto (FscFound) found = { 0 };
  int error
      = has_target (call->node) ? fsc_entry_find (&call->caller, call->node->target, &found) : 0;

  for (gsize i = 0; error == 0 && found.uri != NULL && i < G_N_ELEMENTS (attributes); i++)
    if (i == 0 || found.n > 0)
      g_string_append_len (names, attributes[i].name, (gssize) strlen (attributes[i].name) + 1);
  if (error == 0 && found.uri != NULL)
    append_source (call, names);
  if (error < 0)
    fsc_call_finish (call, error);
  else
    reply (call, names->str, names->len);
  g_string_free (names, TRUE);
}

/* Pinning */

static void
set_pinned (FscCall *call, gboolean is_pinned)
{
  FscacheReply answer;
  FscacheClient *client;
  int error = fsc_caller_connect (&call->caller);

  if (error < 0)
    {
      fsc_call_finish (call, error);
      return;
    }
  client = call->caller.client;
  error = is_pinned ? fscache_pin (client, call->node->target, &answer)
                    : fscache_unpin (client, call->node->target, &answer);
  fsc_call_finish (call, error < 0 ? fsc_source_get_error (&answer) : 0);
}

static gboolean
is_text (const FscCall *call, const char *text)
{
  return call->size == strlen (text) && memcmp (call->data, text, call->size) == 0;
}

/* Whether the call is about a pin; else it is answered. */
static gboolean
concerns_pin (FscCall *call)
{
  if (strcmp (call->name, PINNED) == 0 && has_target (call->node))
    return TRUE;
  fsc_call_finish (call, EOPNOTSUPP);
  return FALSE;
}

void
fsc_attribute_set (FscCall *call)
{
  if (!concerns_pin (call))
    return;
  if (is_text (call, "1") || is_text (call, "0"))
    set_pinned (call, is_text (call, "1"));
  else
    fsc_call_finish (call, EINVAL);
}

void
fsc_attribute_remove (FscCall *call)
{
  if (concerns_pin (call))
    set_pinned (call, FALSE);
}
