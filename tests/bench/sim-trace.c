/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Traces, and the files that they are recorded in; see sim-trace.h.
 */
#include "tests/bench/sim-trace.h"

#include <gio/gio.h>
#include <string.h>

#include "tests/bench/sim-random.h"

#define LOCAL_US 20
#define NFS_US 2000
#define REMOTE_US 2000000

#define OPENS_MAX 10000000

void
sim_trace_free (SimTrace *trace)
{
  g_free (trace->name);
  g_free (trace->title);
  g_free (trace->keys);
  g_free (trace->costs);
  g_free (trace->bytes);
  g_free (trace);
}

static void
sum_up (SimTrace *trace)
{
  g_autofree guint8 *is_seen = g_new0 (guint8, trace->n_objects);

  trace->is_one_cost = TRUE;
  for (guint32 i = 0; i < trace->n_opens; i++)
    {
      trace->cost += trace->costs[i];
      trace->reusable += is_seen[trace->keys[i]] ? trace->costs[i] : 0;
      is_seen[trace->keys[i]] = TRUE;
      trace->is_one_cost &= trace->costs[i] == trace->costs[0];
    }
  for (guint32 i = 0; i < trace->n_objects; i++)
    trace->n_bytes += trace->bytes[i];
}

SimTrace *
sim_trace_new (const char *name, const char *title, guint32 n_objects, GArray *keys, GArray *costs,
               guint64 *bytes)
{
  SimTrace *trace = g_new0 (SimTrace, 1);
  g_autofree guint32 *numbers = g_new0 (guint32, n_objects); /* new ones, plus 1 */

  g_assert_cmpuint (keys->len, ==, costs->len);
  trace->name = g_strdup (name);
  trace->title = g_strdup (title);
  trace->n_opens = keys->len;
  trace->keys = (guint32 *) g_array_free (keys, FALSE);
  trace->costs = (guint32 *) g_array_free (costs, FALSE);
  trace->bytes = g_new0 (guint64, n_objects);
  for (guint32 i = 0; i < trace->n_opens; i++)
    {
      guint32 key = trace->keys[i];

      g_assert_cmpuint (key, <, n_objects);
      g_assert_cmpuint (trace->costs[i], >, 0);
      if (numbers[key] == 0)
        {
          trace->bytes[trace->n_objects] = bytes != NULL ? bytes[key] : 0;
          numbers[key] = ++trace->n_objects;
        }
      trace->keys[i] = numbers[key] - 1;
    }
  g_free (bytes);
  sum_up (trace);
  return trace;
}

gboolean
sim_costs_from_name (const char *name, SimCosts *costs)
{
  static const char *const names[] = { "local", "nfs", "mixed" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    if (g_str_equal (name, names[i]))
      {
        *costs = (SimCosts) i;
        return TRUE;
      }
  return FALSE;
}

/* Files */

typedef struct
{
  SimCosts rule;
  guint64 seed;
  GArray *keys, *costs; /* guint32, of opens */
  GArray *object_costs; /* guint32 */
  GArray *bytes;        /* guint64, of objects */
  GString *title;
  guint32 n_mounts, n_directories;
  GArray *followers;                   /* guint32, of objects: who was opened next, plus 1 */
  guint32 last_object, last_directory; /* plus 1 */
} Parser;

/* What an object in that directory costs and keeps. */
static guint32
get_cost (const Parser *parser, guint32 directory, guint64 *bytes)
{
  guint64 hash = sim_hash (sim_hash (parser->seed) + directory);

  *bytes = 0;
  if (parser->rule == SIM_COSTS_LOCAL)
    return LOCAL_US;
  if (parser->rule == SIM_COSTS_NFS)
    return NFS_US;
  if (hash % 20 < 14)
    return LOCAL_US;
  if (hash % 20 < 19)
    return NFS_US;
  *bytes = (guint64) 1 << (20 + sim_hash (hash + parser->object_costs->len) % 9);
  return REMOTE_US;
}

static gboolean
add_open (Parser *parser, guint32 object)
{
  if (object >= parser->object_costs->len || parser->keys->len >= OPENS_MAX)
    return FALSE;

  guint32 cost = g_array_index (parser->object_costs, guint32, object);

  g_array_append_val (parser->keys, object);
  g_array_append_val (parser->costs, cost);
  if (parser->last_object > 0)
    g_array_index (parser->followers, guint32, parser->last_object - 1) = object + 1;
  parser->last_object = object + 1;
  return TRUE;
}

static gboolean
add_object (Parser *parser, guint32 directory)
{
  guint64 bytes;
  guint32 cost, none = 0;

  if (directory >= parser->n_directories)
    return FALSE;
  cost = get_cost (parser, directory, &bytes);
  g_array_append_val (parser->object_costs, cost);
  g_array_append_val (parser->bytes, bytes);
  g_array_append_val (parser->followers, none);
  parser->last_directory = directory + 1;
  return add_open (parser, parser->object_costs->len - 1);
}

static gboolean
add_follower (Parser *parser)
{
  if (parser->last_object == 0)
    return FALSE;

  guint32 follower = g_array_index (parser->followers, guint32, parser->last_object - 1);

  return follower > 0 && add_open (parser, follower - 1);
}

/* A line is a letter and a number, or a number alone; traces/README.md lists them. */
static gboolean
parse_line (Parser *parser, const char *line, const char *end)
{
  guint32 value = 0;
  char what = '\0';

  if (line < end && g_ascii_isalpha (*line))
    what = *line++;
  if (what == 'm') /* the name of a file system */
    return ++parser->n_mounts < G_MAXUINT16;
  if (line == end || end - line > 8)
    return FALSE;
  for (; line < end; line++)
    {
      if (!g_ascii_isdigit (*line))
        return FALSE;
      value = 10 * value + (guint32) (*line - '0');
    }
  switch (what)
    {
    case 'd':
      parser->n_directories++;
      return value < parser->n_mounts;
    case 'o':
      return add_object (parser, value);
    case '\0':
      return add_open (parser, value);
    case 'p':
      for (; value > 0; value--)
        if (parser->last_directory == 0 || !add_object (parser, parser->last_directory - 1))
          return FALSE;
      return TRUE;
    case 'r':
      for (; value > 0; value--)
        if (!add_follower (parser))
          return FALSE;
      return TRUE;
    default:
      return FALSE;
    }
}

static gboolean
parse (Parser *parser, const char *text, guint *line_number)
{
  for (*line_number = 1; *text != '\0'; (*line_number)++)
    {
      const char *end = strchrnul (text, '\n');

      if (*line_number == 1)
        {
          if (!g_str_has_prefix (text, "fscache-trace 1\n"))
            return FALSE;
        }
      else if (*text == '#')
        g_string_append_len (parser->title, text + 1, end - text - 1);
      else if (!parse_line (parser, text, end))
        return FALSE;
      text = *end != '\0' ? end + 1 : end;
    }
  return parser->keys->len > 0;
}

SimTrace *
sim_trace_parse (const char *name, const char *text, SimCosts costs, guint64 seed, GError **error)
{
  Parser parser = { .rule = costs,
                    .seed = seed,
                    .keys = g_array_new (FALSE, FALSE, sizeof (guint32)),
                    .costs = g_array_new (FALSE, FALSE, sizeof (guint32)),
                    .object_costs = g_array_new (FALSE, FALSE, sizeof (guint32)),
                    .bytes = g_array_new (FALSE, FALSE, sizeof (guint64)),
                    .followers = g_array_new (FALSE, FALSE, sizeof (guint32)),
                    .title = g_string_new (NULL) };
  SimTrace *trace = NULL;
  guint line;

  if (parse (&parser, text, &line))
    {
      guint32 n_objects = parser.object_costs->len;

      g_strstrip (parser.title->str);
      trace = sim_trace_new (name, parser.title->str, n_objects, parser.keys, parser.costs,
                             (guint64 *) g_array_free (parser.bytes, FALSE));
    }
  else
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                   "%s: line %u is not what a trace has there", name, line);
      g_array_unref (parser.keys);
      g_array_unref (parser.costs);
      g_array_unref (parser.bytes);
    }
  g_array_unref (parser.object_costs);
  g_array_unref (parser.followers);
  g_string_free (parser.title, TRUE);
  return trace;
}

static char *
read_text (GFile *file, gboolean is_compressed, GError **error)
{
  g_autoptr (GInputStream) stream = G_INPUT_STREAM (g_file_read (file, NULL, error));
  g_autoptr (GOutputStream) text = g_memory_output_stream_new_resizable ();

  if (stream == NULL)
    return NULL;
  if (is_compressed)
    {
      g_autoptr (GConverter) converter
          = G_CONVERTER (g_zlib_decompressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP));
      GInputStream *plain = g_converter_input_stream_new (stream, converter);

      g_object_unref (stream);
      stream = plain;
    }
  if (g_output_stream_splice (text, stream, G_OUTPUT_STREAM_SPLICE_NONE, NULL, error) < 0
      || !g_output_stream_write_all (text, "", 1, NULL, NULL, error)
      || !g_output_stream_close (text, NULL, error))
    return NULL;
  return g_memory_output_stream_steal_data (G_MEMORY_OUTPUT_STREAM (text));
}

SimTrace *
sim_trace_read (const char *path, SimCosts costs, guint64 seed, GError **error)
{
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autofree char *name = g_path_get_basename (path);
  g_autofree char *text = read_text (file, g_str_has_suffix (path, ".gz"), error);
  char *dot = strchr (name, '.');

  if (text == NULL)
    {
      g_prefix_error (error, "%s: ", path);
      return NULL;
    }
  if (dot != NULL)
    *dot = '\0';
  return sim_trace_parse (name, text, costs, seed, error);
}
