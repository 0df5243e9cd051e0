/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fuzzes the state of a service: whatever the bytes are, there is either a state or a sentence, and
 * a state that is written again, in whatever order its records were, is read as the same.
 *
 * The input is a state. It is tried as it is, and with the length and the checksum that it should
 * have. Linked with libFuzzer, or with replay.c, which runs the corpus as a test.
 */
#include "fscache/state.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_AT 8
#define DIGEST_AT 16
#define BODY_AT 48

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
require (gboolean condition)
{
  if (!condition)
    abort ();
}

static GBytes *
write_again (GBytes *bytes)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (FscState) state = fsc_state_read (bytes, &error);

  require ((state == NULL) == (error != NULL));
  return state != NULL ? fsc_state_write (state) : NULL;
}

static void
check (const uint8_t *data, size_t size)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (GBytes) once = write_again (bytes);
  g_autoptr (GBytes) twice = once != NULL ? write_again (once) : NULL;

  require (once == NULL
           || (twice != NULL && g_bytes_get_size (once) == size && g_bytes_equal (once, twice)));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  guint64 length = GUINT64_TO_LE (size);
  g_autofree uint8_t *copy = NULL;
  gsize digest_size = BODY_AT - DIGEST_AT;

  check (data, size);
  if (size < BODY_AT)
    return 0;
  copy = g_memdup2 (data, size);
  memcpy (copy + LENGTH_AT, &length, sizeof length);
  g_checksum_update (checksum, data + BODY_AT, (gssize) (size - BODY_AT));
  g_checksum_get_digest (checksum, copy + DIGEST_AT, &digest_size);
  check (copy, size);
  return 0;
}
