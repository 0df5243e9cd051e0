/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The state as bytes: what is written is read, and nothing else is.
 */
#include "fscache/state.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>

#include "tests/harness/tap.h"

/* Where things are in the bytes. */
#define VERSION_AT 4
#define DIGEST_AT 16
#define DIGEST_SIZE 32
#define BODY_AT 48

#define URI "file:///srv/data/a%20b"
#define PUT_URI "handle:listener-80"

static FscBytes
text (const char *string)
{
  return (FscBytes){ string, strlen (string) };
}

static FscState *
make_state (void)
{
  gid_t groups[] = { 4, 20, 1000 };
  const FscUser users[]
      = { { .uid = 990, .gid = 991 }, { 1000, 1000, G_N_ELEMENTS (groups), groups } };
  const FscStateSetting setting = { text ("max-handles"), 12345678901 };
  FscStateEntry entry = { .uri = text (URI),
                          .validator = { "\0\1\2", 3 },
                          .user = 1,
                          .ttl_ms = 5000,
                          .cost_us = 321,
                          .mount_id = 29,
                          .hits = 7,
                          .age_ms = 100,
                          .kind = FSC_KIND_REGULAR,
                          .coherence = FSC_COHERENCE_WATCHED,
                          .is_pinned = TRUE,
                          .content = { .is_known = true, .is_sealed = true, .size = 4096 } };
  const FscStateEntry put = { .uri = text (PUT_URI),
                              .left_ms = 60000,
                              .held = 3,
                              .holder = 12,
                              .kind = FSC_KIND_SOCKET,
                              .most_sharing = FSC_SHARING_EXCLUSIVE,
                              .is_pinned = TRUE,
                              .is_put = TRUE };
  FscState *state = fsc_state_new ();

  memset (entry.content.digest, 0xa5, sizeof entry.content.digest);
  g_array_append_val (state->settings, setting);
  fsc_state_add_user (state, &users[0]);
  fsc_state_add_user (state, &users[1]);
  g_array_append_val (state->entries, entry);
  g_array_append_val (state->entries, put);
  return state;
}

static GBytes *
make_bytes (void)
{
  g_autoptr (FscState) state = make_state ();

  return fsc_state_write (state);
}

/* Makes the length and the checksum right again. */
static GBytes *
seal (guint8 *data, gsize length)
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  guint64 whole = GUINT64_TO_LE (length);
  gsize size = DIGEST_SIZE;

  memcpy (data + 8, &whole, sizeof whole);
  g_checksum_update (checksum, data + BODY_AT, (gssize) (length - BODY_AT));
  g_checksum_get_digest (checksum, data + DIGEST_AT, &size);
  return g_bytes_new (data, length);
}

static void
expect_refused (GBytes *bytes, const char *phrase)
{
  g_autoptr (GError) error = NULL;
  FscState *state = fsc_state_read (bytes, &error);

  g_assert_null (state);
  g_assert_nonnull (error);
  if (strstr (error->message, phrase) == NULL)
    g_assert_cmpstr (error->message, ==, phrase);
}

static void
test_round (void)
{
  g_autoptr (FscState) before = make_state ();
  g_autoptr (GBytes) bytes = fsc_state_write (before);
  g_autoptr (GError) error = NULL;
  g_autoptr (FscState) after = fsc_state_read (bytes, &error);
  g_autoptr (GBytes) again = NULL;
  const FscStateEntry *entry;
  const FscUser *user;

  g_assert_no_error (error);
  g_assert_cmpuint (after->settings->len, ==, 1);
  g_assert_cmpuint (g_array_index (after->settings, FscStateSetting, 0).value, ==, 12345678901);
  g_assert_cmpuint (after->users->len, ==, 2);
  user = &g_array_index (after->users, FscUser, 1);
  g_assert_cmpuint (user->uid, ==, 1000);
  g_assert_cmpuint (user->n_groups, ==, 3);
  g_assert_cmpuint (user->groups[1], ==, 20);
  g_assert_cmpuint (after->entries->len, ==, 2);
  entry = &g_array_index (after->entries, FscStateEntry, 0);
  g_assert_cmpmem (entry->uri.data, entry->uri.length, URI, strlen (URI));
  g_assert_cmpmem (entry->validator.data, entry->validator.length, "\0\1\2", 3);
  g_assert_cmpuint (entry->cost_us, ==, 321);
  g_assert_cmpuint (entry->content.size, ==, 4096);
  g_assert_true (entry->is_pinned);
  g_assert_false (entry->is_put);
  entry++;
  g_assert_true (entry->is_put);
  g_assert_cmpuint (entry->holder, ==, 12);
  g_assert_cmpuint (entry->left_ms, ==, 60000);
  again = fsc_state_write (after);
  g_assert_true (g_bytes_equal (bytes, again));
}

static void
test_empty (void)
{
  g_autoptr (FscState) before = fsc_state_new ();
  g_autoptr (GBytes) bytes = fsc_state_write (before);
  g_autoptr (GBytes) none = g_bytes_new (NULL, 0);
  g_autoptr (GError) error = NULL;
  g_autoptr (FscState) after = fsc_state_read (bytes, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (after->entries->len, ==, 0);
  expect_refused (none, "not the state of a service");
}

/* However it was damaged, it is noticed. */
static void
test_damage (void)
{
  g_autoptr (GBytes) bytes = make_bytes ();
  gsize length;
  const guint8 *data = g_bytes_get_data (bytes, &length);

  for (gsize i = 0; i < length; i++)
    {
      g_autofree guint8 *copy = g_memdup2 (data, length);
      g_autoptr (GBytes) shorter = g_bytes_new (data, i);
      g_autoptr (GBytes) other = NULL;

      copy[i] ^= 0x40;
      other = g_bytes_new (copy, length);
      expect_refused (shorter, "");
      expect_refused (other, "");
    }
}

static void
test_versions (void)
{
  g_autoptr (GBytes) bytes = make_bytes ();
  gsize length;
  const guint8 *data = g_bytes_get_data (bytes, &length);

  for (int version = 0; version <= 2; version += 2)
    {
      g_autofree guint8 *copy = g_memdup2 (data, length);
      g_autoptr (GBytes) other = NULL;

      copy[VERSION_AT] = (guint8) version;
      other = seal (copy, length);
      expect_refused (other, version == 0 ? "of version 0" : "of version 2");
    }
}

/* Malice has the right checksum. What is read nevertheless is a state: written again, it is the
 * same. */
static void
test_malice (void)
{
  g_autoptr (GBytes) bytes = make_bytes ();
  guint n_read = 0, n_refused = 0;
  gsize length;
  const guint8 *data = g_bytes_get_data (bytes, &length);

  for (gsize i = BODY_AT; i < length; i++)
    for (int change = 1; change <= 255; change++)
      {
        g_autofree guint8 *copy = g_memdup2 (data, length);
        g_autoptr (FscState) state = NULL;
        g_autoptr (GError) error = NULL;
        g_autoptr (GBytes) other = NULL;

        copy[i] ^= (guint8) change;
        other = seal (copy, length);
        state = fsc_state_read (other, &error);
        g_assert_cmpint (state == NULL, ==, error != NULL);
        if (state == NULL)
          n_refused++;
        else
          {
            g_autoptr (GBytes) again = fsc_state_write (state);

            g_assert_true (g_bytes_equal (other, again));
            n_read++;
          }
      }
  g_assert_cmpuint (n_read, >, 0);
  g_assert_cmpuint (n_refused, >, 0);
}

/* Of records that end too early nothing is read that is not there. */
static void
test_short (void)
{
  g_autoptr (GBytes) bytes = make_bytes ();
  gsize length;
  const guint8 *data = g_bytes_get_data (bytes, &length);

  for (gsize shorter = BODY_AT; shorter < length; shorter++)
    {
      g_autofree guint8 *copy = g_memdup2 (data, shorter);
      g_autoptr (GBytes) other = seal (copy, shorter);
      g_autoptr (GError) error = NULL;
      g_autoptr (FscState) state = fsc_state_read (other, &error);

      g_assert_cmpint (state == NULL, ==, error != NULL);
      if (state != NULL)
        g_assert_cmpuint (state->entries->len, <, 2);
    }
}

static void
test_refused (void)
{
  for (int i = 0; i < 5; i++)
    {
      g_autoptr (FscState) state = make_state ();
      FscStateEntry *entry = &g_array_index (state->entries, FscStateEntry, 0);
      g_autoptr (GBytes) bytes = NULL;

      if (i == 0)
        entry->user = 2; /* there is none */
      else if (i == 1)
        entry->uri = text ("file:///srv/../etc/./x"); /* not canonical */
      else if (i == 2)
        entry->is_put = TRUE; /* nobody can put a file: */
      else if (i == 3)
        entry->kind = FSC_KIND_LAST + 1;
      else
        entry->flags = O_WRONLY;
      bytes = fsc_state_write (state);
      expect_refused (bytes, "the state is wrong after");
    }
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/state/round", test_round);
  g_test_add_func ("/state/empty", test_empty);
  g_test_add_func ("/state/damage", test_damage);
  g_test_add_func ("/state/versions", test_versions);
  g_test_add_func ("/state/malice", test_malice);
  g_test_add_func ("/state/short", test_short);
  g_test_add_func ("/state/refused", test_refused);
  return g_test_run ();
}
