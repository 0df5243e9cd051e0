/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * codec.c: the golden vectors are read to the fields that they state and written to the same bytes;
 * what is cut, extended, corrupted or has the wrong number of descriptors is refused; and each
 * packet that is accepted is the only one that says what it says.
 */
#include "protocol/codec.h"
#include "tests/harness/message.h"
#include "tests/harness/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

typedef struct
{
  char *name; /* "open-batch" */
  uint8_t *packet;
  size_t length;
  char *words; /* what it should be read to */
  FscHeader header;
} Vector;

static void
vector_free (Vector *vector)
{
  g_free (vector->name);
  g_free (vector->packet);
  g_free (vector->words);
  g_free (vector);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Vector, vector_free)

static Vector *
vector_load (const char *dir, const char *file)
{
  g_autofree char *path = g_build_filename (dir, file, NULL);
  Vector *vector = g_new0 (Vector, 1);
  char *words = NULL;
  size_t words_size;
  FILE *in = fopen (path, "re");
  FILE *out = open_memstream (&words, &words_size);
  ssize_t length;

  if (in == NULL)
    g_error ("%s: %s", path, g_strerror (errno));
  vector->packet = g_malloc (FSC_PACKET_MAX);
  length = fsc_test_read_hex (in, vector->packet, FSC_PACKET_MAX, out);
  fclose (in);
  fclose (out);
  if (length < 0)
    g_error ("%s: %s", path, g_strerror ((int) -length));
  /* No byte more than the packet has, so that the sanitizer sees whoever reads beyond its end. */
  vector->packet = g_realloc (vector->packet, MAX (length, 1));
  vector->length = (size_t) length;
  vector->words = g_strdup (words);
  vector->name = g_strndup (file, strlen (file) - strlen (".hex"));
  free (words);
  return vector;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

/* All vectors of a folder, ordered by name. */
static GPtrArray *
vectors_load (const char *folder)
{
  g_autofree char *dir = g_build_filename (FSC_VECTORS_DIR, folder, NULL);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  GPtrArray *vectors = g_ptr_array_new_with_free_func ((GDestroyNotify) vector_free);
  GDir *entries = g_dir_open (dir, 0, NULL);
  const char *name;

  g_assert_nonnull (entries);
  while ((name = g_dir_read_name (entries)) != NULL)
    if (g_str_has_suffix (name, ".hex"))
      g_ptr_array_add (names, g_strdup (name));
  g_dir_close (entries);
  g_ptr_array_sort (names, compare_names);
  for (unsigned i = 0; i < names->len; i++)
    g_ptr_array_add (vectors, vector_load (dir, g_ptr_array_index (names, i)));
  g_assert_cmpuint (vectors->len, >, 0);
  return vectors;
}

/* The good ones, with their headers. */
static GPtrArray *
vectors_load_good (void)
{
  GPtrArray *vectors = vectors_load ("");

  for (unsigned i = 0; i < vectors->len; i++)
    {
      Vector *vector = g_ptr_array_index (vectors, i);
      FscReader reader;

      g_assert_cmpuint (vector->length, >=, 16);
      g_assert_cmpint (
          fsc_reader_begin (&reader, &vector->header, vector->packet, vector->length, FSC_FDS_LOST),
          ==, 0);
    }
  return vectors;
}

static void
put_u32 (uint8_t *bytes, uint32_t value)
{
  for (int i = 0; i < 4; i++)
    bytes[i] = (uint8_t) (value >> (8 * i));
}

static int
decode (const void *packet, size_t length, unsigned n_fds)
{
  FscTestMessage message;
  int r = fsc_test_message_decode (&message, packet, length, n_fds);

  if (r == 0)
    fsc_test_message_clear (&message);
  return r;
}

static char *
to_words (const FscTestMessage *message)
{
  char *words = NULL, *copy;
  size_t size;
  FILE *out = open_memstream (&words, &size);

  fsc_test_message_print (message, out);
  fclose (out);
  copy = g_strdup (words);
  free (words);
  return copy;
}

/* Golden vectors */

static void
test_vector (gconstpointer data)
{
  const Vector *vector = data;
  g_autofree uint8_t *again = g_malloc (vector->length + 1);
  g_autofree char *words = NULL;
  FscTestMessage message;
  int length;

  g_assert_cmpint (
      fsc_test_message_decode (&message, vector->packet, vector->length, vector->header.n_fds), ==,
      0);
  words = to_words (&message);
  g_assert_cmpstr (words, ==, vector->words);

  length = fsc_test_message_encode (&message, again, vector->length);
  g_assert_cmpint (length, >, 0);
  g_assert_cmpmem (again, (size_t) length, vector->packet, vector->length);
  fsc_test_message_clear (&message);
}

static void
test_malformed (gconstpointer data)
{
  const Vector *vector = data;
  unsigned n_fds;

  g_assert_cmpint (sscanf (vector->words, "malformed n_fds=%u", &n_fds), ==, 1);
  g_assert_cmpint (decode (vector->packet, vector->length, n_fds), ==, -EPROTO);
}

static void
test_each_opcode_has_a_vector (void)
{
  g_autoptr (GPtrArray) vectors = vectors_load_good ();
  bool is_seen[FSC_OP_LAST + 1] = { false };

  for (unsigned i = 0; i < vectors->len; i++)
    is_seen[((Vector *) g_ptr_array_index (vectors, i))->header.opcode] = true;
  for (unsigned opcode = 1; opcode <= FSC_OP_LAST; opcode++)
    {
      if (!is_seen[opcode])
        g_test_message ("no vector of %s", fsc_codec_opcode_name (opcode));
      g_assert_true (is_seen[opcode]);
    }
}

/* What is not whole */

static void
test_truncation (void)
{
  g_autoptr (GPtrArray) vectors = vectors_load_good ();

  for (unsigned i = 0; i < vectors->len; i++)
    {
      Vector *vector = g_ptr_array_index (vectors, i);

      for (size_t length = 0; length < vector->length; length++)
        {
          g_autofree uint8_t *cut = length > 0 ? g_memdup2 (vector->packet, length) : NULL;

          /* The header tells of more than came ... */
          g_assert_cmpint (decode (cut, length, vector->header.n_fds), ==, -EPROTO);
          if (length < 16)
            continue;
          /* ... and a header that is right about it. */
          put_u32 (cut + 8, (uint32_t) length - 16);
          g_assert_cmpint (decode (cut, length, vector->header.n_fds), ==, -EPROTO);
        }
    }
}

static void
test_extension (void)
{
  g_autoptr (GPtrArray) vectors = vectors_load_good ();

  for (unsigned i = 0; i < vectors->len; i++)
    for (size_t more = 1; more <= 24; more++)
      {
        Vector *vector = g_ptr_array_index (vectors, i);
        size_t length = vector->length + more;
        g_autofree uint8_t *longer = g_malloc0 (length);

        memcpy (longer, vector->packet, vector->length);
        g_assert_cmpint (decode (longer, length, vector->header.n_fds), ==, -EPROTO);
        put_u32 (longer + 8, (uint32_t) length - 16);
        g_assert_cmpint (decode (longer, length, vector->header.n_fds), ==, -EPROTO);
      }
}

/* A packet of more than 64 KiB is refused although all else about it is right. */
static void
test_too_long (void)
{
  unsigned n = (FSC_PACKET_MAX - 16 - 8) / 16; /* counters without names */
  g_autofree uint8_t *packet = g_malloc0 (FSC_PACKET_MAX + 16);

  packet[0] = FSC_OP_COUNTERS;
  for (unsigned more = 0; more <= 1; more++)
    {
      size_t length = 16 + 8 + 16 * (n + more);

      put_u32 (packet + 8, (uint32_t) length - 16);
      put_u32 (packet + 16, n + more);
      g_assert_cmpint (decode (packet, length, 0), ==, length > FSC_PACKET_MAX ? -EPROTO : 0);
    }
}

/* Descriptors */

static bool
may_have (const Vector *vector, unsigned n_fds)
{
  switch (vector->header.opcode)
    {
    case FSC_OP_HELLO:
    case FSC_OP_WELCOME:
      return n_fds <= 1;
    case FSC_OP_OPENED: /* as many as its results claim */
    case FSC_OP_EVENT:
    case FSC_OP_HAND:
    case FSC_OP_RECEIVE:
    case FSC_OP_GIVE:
      return n_fds == vector->header.n_fds;
    default:
      return n_fds == 0;
    }
}

static void
test_descriptor_counts (void)
{
  static const unsigned arrived[] = { 0, 1, 2, 3, 4, 252, 253, 254, 255, 256, 257, 65535, 65536 };
  g_autoptr (GPtrArray) vectors = vectors_load_good ();

  for (unsigned i = 0; i < vectors->len; i++)
    {
      Vector *vector = g_ptr_array_index (vectors, i);
      g_autofree uint8_t *packet = g_memdup2 (vector->packet, vector->length);

      for (unsigned stated = 0; stated <= 300; stated++)
        {
          packet[12] = stated & 0xff;
          packet[13] = (uint8_t) (stated >> 8);
          g_assert_cmpint (decode (packet, vector->length, stated), ==,
                           may_have (vector, stated) ? 0 : -EPROTO);
          for (unsigned j = 0; j < G_N_ELEMENTS (arrived); j++)
            if (arrived[j] != stated)
              g_assert_cmpint (decode (packet, vector->length, arrived[j]), ==, -EPROTO);
        }
    }
}

/* When this end had no room for descriptors the packet is read for what it says, and what it says
 * must still be in order. */
static void
test_descriptors_lost (void)
{
  g_autoptr (GPtrArray) vectors = vectors_load_good ();

  for (unsigned i = 0; i < vectors->len; i++)
    {
      Vector *vector = g_ptr_array_index (vectors, i);
      g_autofree uint8_t *packet = g_memdup2 (vector->packet, vector->length);

      g_assert_cmpint (decode (packet, vector->length, FSC_FDS_LOST), ==, 0);
      packet[13] = 1; /* 256 and more */
      g_assert_cmpint (decode (packet, vector->length, FSC_FDS_LOST), ==, -EPROTO);
    }
}

static void
test_descriptor_range (void)
{
  unsigned min_fds, max_fds;

  g_assert_false (fsc_codec_get_fd_range (0, &min_fds, &max_fds));
  g_assert_false (fsc_codec_get_fd_range (FSC_OP_LAST + 1, &min_fds, &max_fds));
  g_assert_false (fsc_codec_get_fd_range (G_MAXUINT, &min_fds, &max_fds));
  g_assert_true (fsc_codec_get_fd_range (FSC_OP_OPENED, &min_fds, &max_fds));
  g_assert_cmpuint (min_fds, ==, 0);
  g_assert_cmpuint (max_fds, ==, 253);
  g_assert_cmpstr (fsc_codec_opcode_name (FSC_OP_GIVE_BACK), ==, "GIVE_BACK");
  g_assert_cmpstr (fsc_codec_opcode_name (0), ==, "unknown");
  g_assert_cmpstr (fsc_codec_opcode_name (FSC_OP_LAST + 1), ==, "unknown");
}

/* Corruption: no packet makes the reader look where it should not (that is for the sanitizers to
 * see), and none is taken for what it is not: what is accepted is written to the same bytes again.
 * So there is no byte that the reader does not look at: no padding, no reserved field. */
static void
assert_refused_or_exact (const uint8_t *packet, size_t length, unsigned n_fds)
{
  static uint8_t again[FSC_PACKET_MAX];
  FscTestMessage message;
  int r = fsc_test_message_decode (&message, packet, length, n_fds);

  if (r == 0)
    {
      int written = fsc_test_message_encode (&message, again, sizeof again);

      g_assert_cmpint (written, >, 0);
      g_assert_cmpmem (again, (size_t) written, packet, length);
      fsc_test_message_clear (&message);
    }
  else
    g_assert_cmpint (r, ==, -EPROTO);
}

static void
test_corruption (void)
{
  g_autoptr (GPtrArray) vectors = vectors_load_good ();

  for (unsigned i = 0; i < vectors->len; i++)
    {
      Vector *vector = g_ptr_array_index (vectors, i);
      /* The two long ones repeat themselves. */
      unsigned step = vector->length > 2048 ? 51 : 1;

      for (size_t at = 0; at < vector->length; at++)
        {
          uint8_t was = vector->packet[at];

          for (unsigned change = 1; change <= 255; change += step)
            {
              vector->packet[at] = (uint8_t) (was ^ change);
              assert_refused_or_exact (vector->packet, vector->length, vector->header.n_fds);
            }
          vector->packet[at] = was;
        }
    }
}

static void
test_noise (void)
{
  for (int i = 0; i < 100000; i++)
    {
      size_t length = (size_t) g_test_rand_int_range (16, 160);
      g_autofree uint8_t *packet = g_malloc0 (length);

      packet[0] = (uint8_t) g_test_rand_int_range (1, FSC_OP_LAST + 1);
      put_u32 (packet + 8, (uint32_t) length - 16);
      for (size_t at = 16; at < length; at++)
        if (g_test_rand_int_range (0, 3) == 0)
          packet[at] = (uint8_t) g_test_rand_int_range (0, 256);
      assert_refused_or_exact (packet, length, 0);
    }
}

/* A packet may lie at any address. */
static void
test_unaligned (void)
{
  g_autoptr (GPtrArray) vectors = vectors_load_good ();

  for (unsigned i = 0; i < vectors->len; i++)
    for (size_t offset = 1; offset < 8; offset++)
      {
        Vector *vector = g_ptr_array_index (vectors, i);
        g_autofree uint8_t *buffer = g_malloc (vector->length + offset);
        g_autofree uint8_t *again = g_malloc (vector->length + offset);
        FscTestMessage message;
        int length;

        memcpy (buffer + offset, vector->packet, vector->length);
        g_assert_cmpint (fsc_test_message_decode (&message, buffer + offset, vector->length,
                                                  vector->header.n_fds),
                         ==, 0);
        length = fsc_test_message_encode (&message, again + offset, vector->length);
        g_assert_cmpint (length, ==, vector->length);
        g_assert_cmpmem (again + offset, (size_t) length, vector->packet, vector->length);
        fsc_test_message_clear (&message);
      }
}

/* Writing */

static void
test_no_room (void)
{
  g_autoptr (GPtrArray) vectors = vectors_load_good ();

  for (unsigned i = 0; i < vectors->len; i++)
    {
      Vector *vector = g_ptr_array_index (vectors, i);
      size_t step = vector->length > 2048 ? 97 : 1;
      FscTestMessage message;

      g_assert_cmpint (
          fsc_test_message_decode (&message, vector->packet, vector->length, vector->header.n_fds),
          ==, 0);
      for (size_t size = 0; size < vector->length; size += step)
        {
          g_autofree uint8_t *buffer = size > 0 ? g_malloc (size) : NULL;

          g_assert_cmpint (fsc_test_message_encode (&message, buffer, size), ==, -EMSGSIZE);
        }
      fsc_test_message_clear (&message);
    }
}

typedef void (*PutFunc) (FscWriter *writer, FscBytes bytes);

static void
put_hello_name (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_hello (writer, &(FscHello){ .magic = FSC_PROTOCOL_MAGIC, .name = bytes });
}

static void
put_welcome_name (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_welcome (writer, &(FscWelcome){ .name = bytes });
}

static void
put_error_text (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_error (writer, &(FscError){ .code = FSC_CODE_LIMIT, .text = bytes });
}

static void
put_item_uri (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_open (writer, 1);
  fsc_codec_put_item (writer, &(FscItem){ .uri = bytes });
}

static void
put_item_validator (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_open (writer, 1);
  fsc_codec_put_item (writer, &(FscItem){ .validator = bytes });
}

static void
put_item_resume (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_open (writer, 1);
  fsc_codec_put_item (writer, &(FscItem){ .resume = bytes });
}

static void
put_result_elsewhere (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_opened (writer, 1);
  fsc_codec_put_result (writer, &(FscResult){ .code = FSC_CODE_LEADS_ELSEWHERE, .text = bytes });
}

static void
put_result_text (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_opened (writer, 1);
  fsc_codec_put_result (writer, &(FscResult){ .text = bytes });
}

static void
put_result_validator (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_opened (writer, 1);
  fsc_codec_put_result (writer, &(FscResult){ .validator = bytes });
}

static void
put_target_uri (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_target (writer, &(FscTarget){ .uri = bytes });
}

static void
put_list_uri (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_list (writer, &(FscList){ .uri = bytes });
}

static void
put_entry_uri (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_entries (writer, 0, 1);
  fsc_codec_put_entry (writer, &(FscEntryInfo){ .uri = bytes });
}

static void
put_step_name (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_watched (writer, 0, 2);
  fsc_codec_put_step (writer, &(FscStep){ .wd = 1, .name = bytes });
  fsc_codec_put_step (writer, &(FscStep){ .wd = 2 });
}

static void
put_holders_uri (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_list (writer, &(FscList){ .uri = bytes, .is_mount = true });
}

static void
put_holding_uri (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_holdings (writer, 0, 1);
  fsc_codec_put_holding (writer, &(FscHolding){ .uri = bytes });
}

static void
put_holding_name (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_holdings (writer, 0, 1);
  fsc_codec_put_holding (writer, &(FscHolding){ .name = bytes });
}

static void
put_counter_name (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_counters (writer, 1);
  fsc_codec_put_counter (writer, &(FscCounter){ .name = bytes });
}

static void
put_set_name (FscWriter *writer, FscBytes bytes)
{
  fsc_codec_put_set (writer, &(FscCounter){ .name = bytes });
}

/* The longest string of each kind is written and read; one byte more is not written: it would cost
 * the connection at the other end. Nor is any that a 16 or 8 bit length would wrap around. */
static void
test_longest_strings (void)
{
  static const struct
  {
    FscOpcode opcode;
    size_t max;
    PutFunc put;
  } strings[] = {
    { FSC_OP_HELLO, 64, put_hello_name },
    { FSC_OP_WELCOME, 64, put_welcome_name },
    { FSC_OP_ERROR, 512, put_error_text },
    { FSC_OP_OPEN, 12304, put_item_uri },
    { FSC_OP_OPEN, 255, put_item_validator },
    { FSC_OP_OPENED, 512, put_result_text },
    { FSC_OP_OPENED, 255, put_result_validator },
    { FSC_OP_DROP, 12304, put_target_uri },
    { FSC_OP_LIST, 12304, put_list_uri },
    { FSC_OP_ENTRIES, 12304, put_entry_uri },
    { FSC_OP_COUNTERS, 64, put_counter_name },
    { FSC_OP_OPEN, 64, put_item_resume },
    { FSC_OP_OPENED, 12304, put_result_elsewhere },
    { FSC_OP_WATCHED, 255, put_step_name },
    { FSC_OP_SET, 64, put_set_name },
    { FSC_OP_HOLDERS, 12304, put_holders_uri },
    { FSC_OP_HOLDINGS, 12304, put_holding_uri },
    { FSC_OP_HOLDINGS, 64, put_holding_name },
  };
  static const size_t more[] = { 1, 3, 256 - 64, 65536, 65536 + 8 };
  g_autofree char *text = g_malloc0 (200000);
  g_autofree uint8_t *buffer = g_malloc (FSC_PACKET_MAX);

  for (unsigned i = 0; i < G_N_ELEMENTS (strings); i++)
    {
      FscWriter writer;
      int length;

      fsc_writer_begin (&writer, buffer, FSC_PACKET_MAX);
      strings[i].put (&writer, (FscBytes){ text, strings[i].max });
      length = fsc_writer_finish (&writer, strings[i].opcode, 1, 0);
      g_assert_cmpint (length, >, 0);
      g_assert_cmpint (decode (buffer, (size_t) length, 0), ==, 0);

      for (unsigned j = 0; j < G_N_ELEMENTS (more); j++)
        {
          fsc_writer_begin (&writer, buffer, FSC_PACKET_MAX);
          strings[i].put (&writer, (FscBytes){ text, strings[i].max + more[j] });
          g_assert_cmpint (fsc_writer_finish (&writer, strings[i].opcode, 1, 0), ==, -EMSGSIZE);
        }
    }
}

/* However large the buffer is, a packet is not longer than the other end takes. */
static void
test_longest_packet (void)
{
  g_autofree uint8_t *buffer = g_malloc (2 * FSC_PACKET_MAX);
  g_autofree char *text = g_strnfill (12000, 'x');
  FscItem item = { .uri = { text, 12000 } };
  FscWriter writer;

  for (unsigned n = 5; n <= 6; n++)
    {
      fsc_writer_begin (&writer, buffer, 2 * FSC_PACKET_MAX);
      fsc_codec_put_open (&writer, n);
      for (unsigned i = 0; i < n; i++)
        fsc_codec_put_item (&writer, &item);
      g_assert_cmpint (fsc_writer_finish (&writer, FSC_OP_OPEN, 1, 0), ==,
                       n == 5 ? 16 + 4 + 5 * (24 + 12000) : -EMSGSIZE);
    }
}

static void
test_sizes (void)
{
  static const char text[] = "0123456789";
  static uint8_t buffer[1024];

  for (size_t n = 0; n <= 10; n++)
    for (size_t m = 0; m <= 10; m++)
      {
        FscItem item
            = { .uri = { text, n }, .validator = { text, m }, .resume = { text, (n + m) % 7 } };
        FscResult result = { .text = { text, n }, .validator = { text, m }, .content = { n % 2 } };
        FscEntryInfo entry
            = { .uri = { text, n }, .content = { m % 2 }, .generation = (n + m) / 2 % 2 };
        FscHolding holding = { .uri = { text, n }, .name = { text, m } };
        FscWriter writer;

        fsc_writer_begin (&writer, buffer, sizeof buffer);
        fsc_codec_put_item (&writer, &item);
        g_assert_cmpuint (writer.position, ==, 16 + fsc_codec_item_size (&item));

        fsc_writer_begin (&writer, buffer, sizeof buffer);
        fsc_codec_put_result (&writer, &result);
        g_assert_cmpuint (writer.position, ==, 16 + fsc_codec_result_size (&result));

        fsc_writer_begin (&writer, buffer, sizeof buffer);
        fsc_codec_put_entry (&writer, &entry);
        g_assert_cmpuint (writer.position, ==, 16 + fsc_codec_entry_size (&entry));

        fsc_writer_begin (&writer, buffer, sizeof buffer);
        fsc_codec_put_holding (&writer, &holding);
        g_assert_cmpuint (writer.position, ==, 16 + fsc_codec_holding_size (&holding));
      }
}

static void
test_set_serial (void)
{
  uint8_t buffer[64];
  FscWriter writer;
  FscReader reader;
  FscHeader header;
  uint32_t request;
  int length;

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_cancel (&writer, 7);
  length = fsc_writer_finish (&writer, FSC_OP_CANCEL, 1, 0);
  fsc_codec_set_serial (buffer, 0x89abcdef);
  g_assert_cmpint (fsc_reader_begin (&reader, &header, buffer, (size_t) length, 0), ==, 0);
  g_assert_cmpuint (header.serial, ==, 0x89abcdef);
  g_assert_true (fsc_codec_get_cancel (&reader, &request));
  g_assert_cmpuint (request, ==, 7);
}

/* The first failure sticks. */
static void
test_failures_stick (void)
{
  uint8_t buffer[40];
  FscWriter writer;
  FscReader reader;
  FscHeader header;
  uint64_t count;
  uint32_t request;

  fsc_writer_begin (&writer, buffer, 20);
  fsc_codec_put_done (&writer, 1);
  fsc_codec_put_cancel (&writer, 1); /* would fit */
  g_assert_cmpint (fsc_writer_finish (&writer, FSC_OP_DONE, 1, 0), ==, -EMSGSIZE);

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_cancel (&writer, 1);
  g_assert_cmpint (fsc_writer_finish (&writer, FSC_OP_DONE, 1, 0), ==, 20);
  g_assert_cmpint (fsc_reader_begin (&reader, &header, buffer, 20, 0), ==, 0);
  g_assert_false (fsc_codec_get_done (&reader, &count));
  g_assert_false (fsc_codec_get_cancel (&reader, &request));
  g_assert_cmpint (fsc_reader_finish (&reader), ==, -EPROTO);

  /* Also when it was the header. */
  g_assert_cmpint (fsc_reader_begin (&reader, &header, buffer, 20, 1), ==, -EPROTO);
  g_assert_false (fsc_codec_get_cancel (&reader, &request));
  g_assert_cmpint (fsc_reader_finish (&reader), ==, -EPROTO);
}

/* Messages made at random, within what the protocol allows */

static FscBytes
random_bytes_between (size_t min, size_t max)
{
  static char pool[FSC_URI_MAX];
  size_t length = (size_t) g_test_rand_int_range ((int) min, (int) max + 1);

  if (pool[0] == '\0')
    for (size_t i = 0; i < sizeof pool; i++)
      pool[i] = (char) g_test_rand_int_range (1, 256);
  return (FscBytes){ pool + g_test_rand_int_range (0, (int) (sizeof pool - length) + 1), length };
}

static FscBytes
random_bytes (size_t max)
{
  return random_bytes_between (0, max);
}

static uint32_t
random_u32 (void)
{
  return (uint32_t) g_test_rand_int ();
}

static uint64_t
random_u64 (void)
{
  return (uint64_t) random_u32 () << 32 | random_u32 ();
}

static unsigned
random_up_to (unsigned last)
{
  return random_u32 () % (last + 1);
}

static FscContentInfo
random_content (void)
{
  FscContentInfo content = { .is_known = random_up_to (1) };

  if (!content.is_known)
    return content;
  content.is_sealed = random_up_to (1);
  content.size = random_u64 ();
  for (size_t i = 0; i < sizeof content.digest; i++)
    content.digest[i] = (uint8_t) random_u32 ();
  return content;
}

static void
random_result (FscResult *result, unsigned *n_fds)
{
  *result = (FscResult){
    .index = random_up_to (FSC_ITEMS_MAX - 1),
    .code = random_up_to (1) * random_up_to (FSC_CODE_LAST),
    .error = (int) (random_u32 () >> 1),
    .id = random_u64 (),
    .age_ms = random_u32 (),
    .mount_id = random_u32 (),
    .sharing = random_up_to (FSC_SHARING_LAST),
    .source = random_up_to (FSC_SOURCE_LAST),
    .coherence = random_up_to (FSC_COHERENCE_LAST),
    .kind = random_up_to (FSC_KIND_LAST),
    .text = random_bytes (FSC_TEXT_MAX),
    .validator = random_bytes (FSC_VALIDATOR_MAX),
  };
  result->has_fd = result->code == FSC_CODE_OK && random_up_to (1);
  if (result->code == FSC_CODE_OK)
    result->content = random_content ();
  *n_fds += result->has_fd;
}

static void
random_record (FscTestMessage *message, FscTestRecord *record)
{
  switch (message->header.opcode)
    {
    case FSC_OP_OPEN:
    case FSC_OP_WATCH:
      record->item = (FscItem){
        .uri = random_bytes (300),
        .validator = random_bytes (FSC_VALIDATOR_MAX),
        .flags = random_u32 (),
        .mode = random_u32 (),
        .umask = random_u32 (),
        .options = random_up_to (FSC_OPTIONS_ALL) & ~FSC_OPTION_DIGEST,
        .max_age_ms = random_u32 (),
        .resume = random_bytes (FSC_RESUME_MAX),
        .sharing = random_up_to (FSC_SHARING_LAST),
      };
      record->item.mount_length = random_up_to ((unsigned) record->item.uri.length);
      if (record->item.validator.length == FSC_DIGEST_SIZE)
        record->item.options |= FSC_OPTION_DIGEST;
      break;
    case FSC_OP_OPENED:
    case FSC_OP_EVENT:
      random_result (&record->result, &message->header.n_fds);
      break;
    case FSC_OP_ENTRIES:
      record->entry = (FscEntryInfo){
        .uri = random_bytes (300),
        .hits = random_u64 (),
        .age_ms = random_u64 (),
        .idle_ms = random_u64 (),
        .generation = random_up_to (1) == 1 ? random_u64 () : 0,
        .checked_ms = random_u32 (),
        .ttl_ms = random_u32 (),
        .cost_us = random_u32 (),
        .flags = random_u32 (),
        .state = random_u32 () & ~(FSC_ENTRY_CONTENT | FSC_ENTRY_SEALED | FSC_ENTRY_GENERATION),
        .mount_id = random_u32 (),
        .kind = random_up_to (FSC_KIND_LAST),
        .coherence = random_up_to (FSC_COHERENCE_LAST),
        .sharing = random_up_to (FSC_SHARING_LAST),
        .content = random_content (),
      };
      if (record->entry.content.is_known)
        record->entry.state |= FSC_ENTRY_CONTENT;
      if (record->entry.content.is_sealed)
        record->entry.state |= FSC_ENTRY_SEALED;
      if (record->entry.generation != 0)
        record->entry.state |= FSC_ENTRY_GENERATION;
      break;
    case FSC_OP_HOLDINGS:
      record->holding = (FscHolding){
        .uri = random_bytes (300),
        .name = random_bytes (FSC_NAME_MAX),
        .client = random_u64 (),
        .given = random_u64 (),
        .first_ms = random_u64 (),
        .last_ms = random_u64 (),
        .pid = random_u32 (),
        .uid = random_u32 (),
        .lent = random_u32 (),
        .mount_id = random_u32 (),
        .sharing = random_up_to (FSC_SHARING_LAST),
      };
      break;
    case FSC_OP_COUNTERS:
      record->counter = (FscCounter){ .name = random_bytes (64), .value = random_u64 () };
      break;
    case FSC_OP_WATCHED:
      record->step = (FscStep){ .wd = 1 + (int) random_up_to (INT_MAX - 1),
                                .name = random_bytes (FSC_STEP_NAME_MAX) };
      break;
    case FSC_OP_SPEAK_FOR:
      record->group = random_u32 () >> 1;
      break;
    default:
      record->id = random_u64 ();
    }
}

static void
random_greeting (FscTestMessage *message)
{
  if (message->header.opcode == FSC_OP_HELLO)
    {
      message->header.n_fds = random_up_to (1);
      message->hello = (FscHello){
        .magic = FSC_PROTOCOL_MAGIC,
        .lowest = random_up_to (65535),
        .highest = random_up_to (65535),
        .features = random_u32 (),
        .name = random_bytes (FSC_NAME_MAX),
      };
    }
  else
    message->welcome = (FscWelcome){
      .version = random_up_to (65535),
      .features = random_u32 (),
      .serves = random_u32 (),
      .packet_max = random_u32 (),
      .items_max = random_up_to (65535),
      .name = random_bytes (FSC_NAME_MAX),
    };
}

static void
random_body (FscTestMessage *message)
{
  switch (message->header.opcode)
    {
    case FSC_OP_HELLO:
    case FSC_OP_WELCOME:
      random_greeting (message);
      break;
    case FSC_OP_ERROR:
      message->error = (FscError){ .code = 1 + random_up_to (FSC_CODE_LAST - 1),
                                   .error = (int) (random_u32 () >> 1),
                                   .text = random_bytes (FSC_TEXT_MAX) };
      break;
    case FSC_OP_DONE:
      message->count = random_u64 ();
      break;
    case FSC_OP_CANCEL:
    case FSC_OP_UNWATCH:
      message->request = random_u32 ();
      break;
    case FSC_OP_EVENT:
      message->event
          = (FscEvent){ .reason = random_up_to (FSC_REASON_LAST), .n_coalesced = random_u32 () };
      break;
    case FSC_OP_SET:
      message->limit = (FscCounter){ .name = random_bytes (FSC_NAME_MAX) };
      if (message->limit.name.length > 0)
        message->limit.value = random_u64 ();
      break;
    case FSC_OP_DROP:
    case FSC_OP_PIN:
    case FSC_OP_INFO:
      message->target = (FscTarget){ .uri = random_bytes (FSC_URI_MAX),
                                     .is_pattern = random_up_to (1),
                                     .pinned = random_up_to (1) };
      message->target.is_mount = !message->target.is_pattern && random_up_to (1);
      message->target.is_deep = message->target.is_mount && random_up_to (1);
      break;
    case FSC_OP_LIST:
      message->list = (FscList){ .cursor = random_u64 (),
                                 .uri = random_bytes (FSC_URI_MAX),
                                 .is_pattern = random_up_to (1) };
      break;
    case FSC_OP_HOLDERS:
      message->list = (FscList){ .cursor = random_u64 (), .uri = random_bytes (FSC_URI_MAX) };
      message->list.is_mount = random_up_to (1);
      message->list.is_deep = message->list.is_mount && random_up_to (1);
      message->list.is_pattern = !message->list.is_mount && random_up_to (1);
      break;
    case FSC_OP_ENTRIES:
    case FSC_OP_HOLDINGS:
      message->next = random_u64 ();
      break;
    case FSC_OP_HAND:
      message->hand.packet = random_bytes_between (16, 5000);
      message->header.n_fds = 1;
      break;
    case FSC_OP_WATCHED:
      message->index = random_up_to (FSC_ITEMS_MAX - 1);
      break;
    case FSC_OP_PROGRESS:
      message->progress = (FscProgress){ .index = random_up_to (FSC_ITEMS_MAX - 1),
                                         .done = random_u64 (),
                                         .total = random_u64 (),
                                         .memory = random_u64 () };
      break;
    case FSC_OP_PUT:
      message->put = (FscPut){ .uri = random_bytes (FSC_URI_MAX),
                               .mode = random_up_to (FSC_PUT_LAST),
                               .ttl_ms = random_u32 () };
      if (message->put.mode == FSC_PUT_EXCHANGE)
        message->put.expected = random_u64 () | 1;
      break;
    case FSC_OP_RECEIVE:
      message->timeout_ms = random_u32 ();
      message->header.n_fds = 1;
      break;
    case FSC_OP_GIVE:
      message->header.n_fds = 1;
      break;
    case FSC_OP_SPEAK_FOR:
      message->whom = (FscSpeakFor){ .uid = random_u32 () >> 1, .gid = random_u32 () >> 1 };
      break;
    default:
      break;
    }
}

static void
random_records (FscTestMessage *message)
{
  switch (message->header.opcode)
    {
    case FSC_OP_OPEN:
    case FSC_OP_OPENED:
    case FSC_OP_GIVE_BACK:
    case FSC_OP_HAND:
      message->n_records = 1 + random_up_to (19);
      break;
    case FSC_OP_ENTRIES:
    case FSC_OP_HOLDINGS:
    case FSC_OP_COUNTERS:
      message->n_records = random_up_to (20);
      break;
    case FSC_OP_WATCHED:
      message->n_records = 2 + random_up_to (198);
      break;
    case FSC_OP_SPEAK_FOR:
      message->n_records = message->whom.n_groups = random_up_to (40);
      break;
    case FSC_OP_WATCH:
    case FSC_OP_EVENT:
      message->n_records = 1;
      break;
    default:
      return;
    }
  message->records = calloc (message->n_records + 1, sizeof *message->records);
  for (uint32_t i = 0; i < message->n_records; i++)
    random_record (message, &message->records[i]);
}

static void
test_round_trip (gconstpointer data)
{
  g_autofree uint8_t *buffer = g_malloc (FSC_PACKET_MAX);

  for (int i = 0; i < 500; i++)
    {
      FscTestMessage message = { 0 }, again;
      g_autofree char *words = NULL, *words_again = NULL;
      int length;

      message.header.opcode = GPOINTER_TO_UINT (data);
      message.header.serial = random_u32 ();
      random_body (&message);
      random_records (&message);

      length = fsc_test_message_encode (&message, buffer, FSC_PACKET_MAX);
      g_assert_cmpint (length, >=, 16);
      g_assert_cmpint (length % 4, ==, 0);
      g_assert_cmpint (
          fsc_test_message_decode (&again, buffer, (size_t) length, message.header.n_fds), ==, 0);
      words = to_words (&message);
      words_again = to_words (&again);
      g_assert_cmpstr (words, ==, words_again);
      fsc_test_message_clear (&message);
      fsc_test_message_clear (&again);
    }
}

static void
add_vector_tests (const char *folder, GPtrArray *vectors, GTestDataFunc test)
{
  for (unsigned i = 0; i < vectors->len; i++)
    {
      const Vector *vector = g_ptr_array_index (vectors, i);
      g_autofree char *path = g_strdup_printf ("/codec/%s/%s", folder, vector->name);

      g_test_add_data_func (path, vector, test);
    }
}

static void
add_round_trip_tests (void)
{
  for (unsigned opcode = 1; opcode <= FSC_OP_LAST; opcode++)
    {
      g_autofree char *name = g_ascii_strdown (fsc_codec_opcode_name (opcode), -1);
      g_autofree char *path = g_strdup_printf ("/codec/round-trip/%s", name);

      g_test_add_data_func (path, GUINT_TO_POINTER (opcode), test_round_trip);
    }
}

int
main (int argc, char **argv)
{
  g_autoptr (GPtrArray) good = NULL;
  g_autoptr (GPtrArray) malformed = NULL;

  fsc_test_init (&argc, &argv);
  good = vectors_load_good ();
  malformed = vectors_load ("malformed");

  add_vector_tests ("vectors", good, test_vector);
  add_vector_tests ("malformed", malformed, test_malformed);
  g_test_add_func ("/codec/vectors-complete", test_each_opcode_has_a_vector);
  add_round_trip_tests ();
  g_test_add_func ("/codec/truncation", test_truncation);
  g_test_add_func ("/codec/extension", test_extension);
  g_test_add_func ("/codec/too-long", test_too_long);
  g_test_add_func ("/codec/descriptors/counts", test_descriptor_counts);
  g_test_add_func ("/codec/descriptors/lost", test_descriptors_lost);
  g_test_add_func ("/codec/descriptors/range", test_descriptor_range);
  g_test_add_func ("/codec/corruption", test_corruption);
  g_test_add_func ("/codec/noise", test_noise);
  g_test_add_func ("/codec/unaligned", test_unaligned);
  g_test_add_func ("/codec/writer/no-room", test_no_room);
  g_test_add_func ("/codec/writer/longest-strings", test_longest_strings);
  g_test_add_func ("/codec/writer/longest-packet", test_longest_packet);
  g_test_add_func ("/codec/writer/sizes", test_sizes);
  g_test_add_func ("/codec/writer/set-serial", test_set_serial);
  g_test_add_func ("/codec/failures-stick", test_failures_stick);
  return g_test_run ();
}
