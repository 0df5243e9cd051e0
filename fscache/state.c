/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The state of a service as bytes; see state.h. A header, and then records, each with its kind and
 * its length, in little-endian numbers, padded to a multiple of 4. They are read and written by
 * memcpy(), never by casting: the bytes may lie at any address.
 */
#include "fscache/state.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "fscache/failure.h"
#include "fscache/store.h"
#include "protocol/uri.h"

#define MAGIC UINT32_C (0x53435346) /* the bytes "FSCS" */
#define DIGEST_SIZE 32              /* of SHA-256 */

typedef struct
{
  guint32 magic;
  guint16 version;
  guint16 zero;
  guint64 length;             /* of the whole */
  guint8 digest[DIGEST_SIZE]; /* of what follows */
} WireHeader;

typedef enum
{
  SETTING = 1,
  USER = 2,
  ENTRY = 3,
} RecordKind;

typedef struct
{
  guint16 kind;
  guint16 zero;
  guint32 length; /* of the body, without padding */
} WireRecord;

typedef struct
{
  guint64 value; /* name */
} WireSetting;

typedef struct
{
  guint32 uid, gid; /* groups */
} WireUser;

#define IS_PINNED (1u << 0)
#define IS_PUT (1u << 1)
#define HAS_CONTENT (1u << 2)
#define IS_SEALED (1u << 3)
#define HAS_ALL (IS_PINNED | IS_PUT | HAS_CONTENT | IS_SEALED)

typedef struct
{
  guint64 hits, age_ms, left_ms, held, holder;
  guint64 size; /* of the content */
  guint8 digest[FSC_DIGEST_SIZE];
  guint32 user, flags, ttl_ms, cost_us, mount_id;
  guint8 kind, coherence, most_sharing, has;
  guint16 uri_length;
  guint8 validator_length, zero;
  guint32 zero2; /* uri, validator */
} WireEntry;

G_STATIC_ASSERT (sizeof (WireHeader) == 48);
G_STATIC_ASSERT (sizeof (WireRecord) == 8);
G_STATIC_ASSERT (sizeof (WireEntry) == 112);

FscState *
fsc_state_new (void)
{
  FscState *state = g_new0 (FscState, 1);

  state->settings = g_array_new (FALSE, FALSE, sizeof (FscStateSetting));
  state->users = g_array_new (FALSE, FALSE, sizeof (FscUser));
  state->entries = g_array_new (FALSE, FALSE, sizeof (FscStateEntry));
  return state;
}

void
fsc_state_free (FscState *state)
{
  for (guint i = 0; i < state->users->len; i++)
    g_free (g_array_index (state->users, FscUser, i).groups);
  g_array_unref (state->settings);
  g_array_unref (state->users);
  g_array_unref (state->entries);
  g_clear_pointer (&state->bytes, g_bytes_unref);
  g_free (state);
}

void
fsc_state_add_user (FscState *state, const FscUser *user)
{
  FscUser own = *user;

  own.groups = g_memdup2 (user->groups, user->n_groups * sizeof user->groups[0]);
  g_array_append_val (state->users, own);
}

static void
digest (const guint8 *data, gsize length, guint8 result[DIGEST_SIZE])
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  gsize size = DIGEST_SIZE;

  g_checksum_update (checksum, data, (gssize) length);
  g_checksum_get_digest (checksum, result, &size);
}

/* Writing */

static void
put (GByteArray *out, const void *data, gsize length)
{
  if (length > 0)
    g_byte_array_append (out, data, (guint) length);
}

static void
put_record (GByteArray *out, RecordKind kind, gsize length)
{
  const WireRecord wire
      = { .kind = htole16 ((guint16) kind), .length = htole32 ((guint32) length) };

  put (out, &wire, sizeof wire);
}

static void
pad (GByteArray *out)
{
  static const guint8 zeros[4];

  put (out, zeros, -out->len & 3);
}

static void
put_setting (GByteArray *out, const FscStateSetting *setting)
{
  const WireSetting wire = { .value = htole64 (setting->value) };

  put_record (out, SETTING, sizeof wire + setting->name.length);
  put (out, &wire, sizeof wire);
  put (out, setting->name.data, setting->name.length);
  pad (out);
}

static void
put_user (GByteArray *out, const FscUser *user)
{
  const WireUser wire = { .uid = htole32 (user->uid), .gid = htole32 (user->gid) };

  put_record (out, USER, sizeof wire + user->n_groups * sizeof (guint32));
  put (out, &wire, sizeof wire);
  for (guint i = 0; i < user->n_groups; i++)
    {
      guint32 group = htole32 (user->groups[i]);

      put (out, &group, sizeof group);
    }
}

static void
put_entry (GByteArray *out, const FscStateEntry *entry)
{
  WireEntry wire = {
    .hits = htole64 (entry->hits),
    .age_ms = htole64 (entry->age_ms),
    .left_ms = htole64 (entry->left_ms),
    .held = htole64 (entry->held),
    .holder = htole64 (entry->holder),
    .user = htole32 (entry->user),
    .flags = htole32 (entry->flags),
    .ttl_ms = htole32 (entry->ttl_ms),
    .cost_us = htole32 (entry->cost_us),
    .mount_id = htole32 (entry->mount_id),
    .kind = (guint8) entry->kind,
    .coherence = (guint8) entry->coherence,
    .most_sharing = (guint8) entry->most_sharing,
    .has = (guint8) ((entry->is_pinned ? IS_PINNED : 0) | (entry->is_put ? IS_PUT : 0)),
    .uri_length = htole16 ((guint16) entry->uri.length),
    .validator_length = (guint8) entry->validator.length,
  };

  if (entry->content.is_known)
    {
      wire.has |= entry->content.is_sealed ? HAS_CONTENT | IS_SEALED : HAS_CONTENT;
      wire.size = htole64 (entry->content.size);
      memcpy (wire.digest, entry->content.digest, sizeof wire.digest);
    }
  put_record (out, ENTRY, sizeof wire + entry->uri.length + entry->validator.length);
  put (out, &wire, sizeof wire);
  put (out, entry->uri.data, entry->uri.length);
  put (out, entry->validator.data, entry->validator.length);
  pad (out);
}

GBytes *
fsc_state_write (const FscState *state)
{
  GByteArray *out = g_byte_array_new ();
  WireHeader header = { .magic = htole32 (MAGIC), .version = htole16 (FSC_STATE_VERSION) };

  put (out, &header, sizeof header);
  for (guint i = 0; i < state->settings->len; i++)
    put_setting (out, &g_array_index (state->settings, FscStateSetting, i));
  for (guint i = 0; i < state->users->len; i++)
    put_user (out, &g_array_index (state->users, FscUser, i));
  for (guint i = 0; i < state->entries->len; i++)
    put_entry (out, &g_array_index (state->entries, FscStateEntry, i));

  header.length = htole64 (out->len);
  digest (out->data + sizeof header, out->len - sizeof header, header.digest);
  memcpy (out->data, &header, sizeof header);
  return g_byte_array_free_to_bytes (out);
}

/* Reading */

/* Copies the fixed part of a record, and leaves the rest. */
static gboolean
get (FscBytes *body, void *wire, gsize size)
{
  if (body->length < size)
    return FALSE;
  memcpy (wire, body->data, size);
  body->data += size;
  body->length -= size;
  return TRUE;
}

static gboolean
read_setting (FscState *state, FscBytes body)
{
  FscStateSetting setting;
  WireSetting wire;

  if (!get (&body, &wire, sizeof wire) || body.length == 0 || body.length > FSC_NAME_MAX)
    return FALSE;
  setting = (FscStateSetting){ .name = body, .value = le64toh (wire.value) };
  g_array_append_val (state->settings, setting);
  return TRUE;
}

static gboolean
read_user (FscState *state, FscBytes body)
{
  gid_t groups[FSC_GROUPS_MAX];
  FscUser user = { .groups = groups };
  WireUser wire;

  if (!get (&body, &wire, sizeof wire) || body.length % sizeof (guint32) != 0
      || body.length / sizeof (guint32) > FSC_GROUPS_MAX)
    return FALSE;
  user.uid = le32toh (wire.uid);
  user.gid = le32toh (wire.gid);
  if (user.uid == (uid_t) -1 || user.gid == (gid_t) -1)
    return FALSE;
  for (guint32 group; get (&body, &group, sizeof group);)
    groups[user.n_groups++] = le32toh (group);
  fsc_state_add_user (state, &user);
  return TRUE;
}

static gboolean
is_canonical (FscBytes uri)
{
  char canonical[FSC_URI_MAX + 1];
  const char *fault;
  int length = fsc_uri_canonicalize (uri, canonical, sizeof canonical, &fault);

  return length >= 0 && (size_t) length == uri.length
         && memcmp (canonical, uri.data, uri.length) == 0;
}

static gboolean
is_in_range (const WireEntry *wire)
{
  static const guint8 nothing[FSC_DIGEST_SIZE];

  if ((wire->has & HAS_CONTENT) == 0
      && (wire->size != 0 || memcmp (wire->digest, nothing, sizeof nothing) != 0))
    return FALSE;
  return wire->zero == 0 && wire->zero2 == 0 && (wire->has & ~HAS_ALL) == 0
         && ((wire->has & IS_SEALED) == 0 || (wire->has & HAS_CONTENT) != 0)
         && (le32toh (wire->flags) & ~FSC_VARIANT_FLAGS) == 0 && wire->kind <= FSC_KIND_LAST
         && wire->coherence <= FSC_COHERENCE_LAST && wire->most_sharing <= FSC_SHARING_LAST;
}

static gboolean
read_entry (FscState *state, FscBytes body)
{
  FscStateEntry entry;
  WireEntry wire;
  gsize uri_length;

  if (!get (&body, &wire, sizeof wire) || !is_in_range (&wire))
    return FALSE;
  uri_length = le16toh (wire.uri_length);
  if (body.length != uri_length + wire.validator_length)
    return FALSE;
  entry = (FscStateEntry){
    .uri = { body.data, uri_length },
    .validator = { body.data + uri_length, wire.validator_length },
    .user = le32toh (wire.user),
    .flags = le32toh (wire.flags),
    .ttl_ms = le32toh (wire.ttl_ms),
    .cost_us = le32toh (wire.cost_us),
    .mount_id = le32toh (wire.mount_id),
    .hits = le64toh (wire.hits),
    .age_ms = le64toh (wire.age_ms),
    .left_ms = le64toh (wire.left_ms),
    .held = le64toh (wire.held),
    .holder = le64toh (wire.holder),
    .kind = wire.kind,
    .coherence = wire.coherence,
    .most_sharing = wire.most_sharing,
    .is_pinned = (wire.has & IS_PINNED) != 0,
    .is_put = (wire.has & IS_PUT) != 0,
    .content = { .is_known = (wire.has & HAS_CONTENT) != 0,
                 .is_sealed = (wire.has & IS_SEALED) != 0,
                 .size = le64toh (wire.size) },
  };
  memcpy (entry.content.digest, wire.digest, sizeof wire.digest);
  if (entry.user >= state->users->len || !is_canonical (entry.uri)
      || entry.is_put != fsc_uri_has_scheme (entry.uri, FSC_PUT_SCHEME))
    return FALSE;
  g_array_append_val (state->entries, entry);
  return TRUE;
}

static gboolean
read_record (FscState *state, FscBytes *rest)
{
  static gboolean (*const readers[]) (FscState *, FscBytes)
      = { [SETTING] = read_setting, [USER] = read_user, [ENTRY] = read_entry };
  WireRecord wire;
  gsize length, padding;
  FscBytes body;
  guint kind;

  if (!get (rest, &wire, sizeof wire) || wire.zero != 0)
    return FALSE;
  kind = le16toh (wire.kind);
  length = le32toh (wire.length);
  padding = -length & 3;
  if (kind < SETTING || kind > ENTRY || length > rest->length || padding > rest->length - length)
    return FALSE;
  body = (FscBytes){ rest->data, length };
  for (gsize i = 0; i < padding; i++)
    if (rest->data[length + i] != 0)
      return FALSE;
  rest->data += length + padding;
  rest->length -= length + padding;
  return readers[kind](state, body);
}

/* What is wrong with the header, in the order in which it helps to know; takes it off. */
static gboolean
check_header (FscBytes *rest, GError **error)
{
  gsize length = rest->length;
  guint8 actual[DIGEST_SIZE];
  WireHeader header;

  if (!get (rest, &header, sizeof header) || le32toh (header.magic) != MAGIC)
    return fsc_failure_set (error, EINVAL, "it is not the state of a service");
  if (le16toh (header.version) != FSC_STATE_VERSION)
    return fsc_failure_set (error, EPROTONOSUPPORT,
                            "the state is of version %u, and this service knows version %u",
                            le16toh (header.version), FSC_STATE_VERSION);
  if (header.zero != 0 || le64toh (header.length) != length)
    return fsc_failure_set (
        error, EBADMSG,
        "the state is damaged: it has %zu bytes, and should have %" G_GUINT64_FORMAT, length,
        le64toh (header.length));
  digest ((const guint8 *) rest->data, rest->length, actual);
  if (memcmp (actual, header.digest, sizeof actual) != 0)
    return fsc_failure_set (error, EBADMSG, "the state is damaged: its checksum is wrong");
  return TRUE;
}

FscState *
fsc_state_read (GBytes *bytes, GError **error)
{
  g_autoptr (FscState) state = fsc_state_new ();
  FscBytes rest;

  state->bytes = g_bytes_ref (bytes);
  rest.data = g_bytes_get_data (bytes, &rest.length);
  if (!check_header (&rest, error))
    return NULL;
  while (rest.length > 0)
    if (!read_record (state, &rest))
      {
        fsc_failure_set (error, EBADMSG, "the state is wrong after %zu of its bytes",
                         g_bytes_get_size (bytes) - rest.length);
        return NULL;
      }
  return g_steal_pointer (&state);
}
