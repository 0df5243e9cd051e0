/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An opener that gives out content that never changes: what a file has in it at that moment, in a
 * sealed memfd. How it goes about it the file's name says:
 *
 *   *.slow      takes a second, and tells how far it is; which it does not tell of any other
 *   *.forever   tells that, and never ends
 *   *.file      gives out an unlinked copy, which cannot be sealed
 *   *.open      gives out what anybody can write to
 *   *.held      keeps what it gives out
 *   *.lie       says that it has one byte more
 *   *.plain     says nothing of content
 *   *.ttl       may be kept for a minute without a check
 *
 * Put in the place of open-file by a test.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/openers/serve.h"
#include "protocol/uri.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define STEPS 20

static void
compute_digest (const char *text, gsize length, FscFound *found)
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  gsize size = sizeof found->digest;

  g_checksum_update (checksum, (const guchar *) text, (gssize) length);
  g_checksum_get_digest (checksum, found->digest, &size);
  found->has_content = true;
  found->size = length;
}

static int
make_memfd (const char *text, gsize length, int seals)
{
  int fd = memfd_create ("content", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  if (write (fd, text, length) != (gssize) length || fchmod (fd, 0444) < 0
      || (seals != 0 && fcntl (fd, F_ADD_SEALS, seals) < 0))
    _exit (9);
  return fd;
}

static int
make_file (const char *path, const char *text, gsize length)
{
  g_autofree char *copy = g_strconcat (path, ".copy", NULL);
  int fd;

  if (!g_file_set_contents (copy, text, (gssize) length, NULL))
    _exit (9);
  fd = open (copy, O_RDONLY | O_CLOEXEC);
  unlink (copy);
  return fd;
}

static void
open_content (const FscItem *item, const char *uri, FscFound *found)
{
  g_autofree char *text = NULL;
  char path[FSC_URI_MAX + 1];
  gsize length;
  struct stat st;

  if (fsc_uri_to_path (item->uri, path, sizeof path) < 0 || stat (path, &st) < 0
      || !g_file_get_contents (path, &text, &length, NULL))
    {
      fsc_found_system_error (found, uri, ENOENT);
      return;
    }
  memcpy (found->validator, &st.st_ino, sizeof st.st_ino); /* its files are replaced */
  found->validator_length = sizeof st.st_ino;
  if (item->validator.length == sizeof st.st_ino
      && memcmp (item->validator.data, &st.st_ino, sizeof st.st_ino) == 0)
    {
      found->code = FSC_CODE_UNCHANGED;
      return;
    }

  for (int i = 1; i <= STEPS && g_str_has_suffix (path, ".slow"); i++)
    {
      fsc_found_progress (found, (uint64_t) i * 100, STEPS * 100, 0);
      g_usleep (G_USEC_PER_SEC / STEPS);
    }
  for (unsigned i = 1; g_str_has_suffix (path, ".forever"); i++)
    {
      fsc_found_progress (found, i, 0, 0);
      g_usleep (1000);
    }

  found->kind = FSC_KIND_REGULAR;
  found->coherence = g_str_has_suffix (path, ".ttl") ? FSC_COHERENCE_TTL : FSC_COHERENCE_CHECKED;
  found->hold = g_str_has_suffix (path, ".held");
  if (g_str_has_suffix (path, ".file"))
    found->fd = make_file (path, text, length);
  else
    found->fd = make_memfd (text, length, g_str_has_suffix (path, ".open") ? 0 : SEALS);
  if (!g_str_has_suffix (path, ".plain"))
    compute_digest (text, length, found);
  if (g_str_has_suffix (path, ".lie"))
    found->size++;
}

int
main (void)
{
  return fsc_serve ("content-opener", open_content);
}
