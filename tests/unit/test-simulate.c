/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The policies of fscache-simulate, on traces that are short enough to work out by hand, and
 * against the optimum by exhaustion.
 */
#include <math.h>
#include <string.h>

#include "tests/bench/sim-random.h"
#include "tests/bench/sim.h"

/* Each letter is an object, whose cost and bytes are given for 'a', 'b' ...; NULL: 1 us, none. */
static SimTrace *
make_trace (const char *letters, const guint32 *costs, const guint64 *bytes)
{
  GArray *keys = g_array_new (FALSE, FALSE, sizeof (guint32));
  GArray *open_costs = g_array_new (FALSE, FALSE, sizeof (guint32));

  for (; *letters != '\0'; letters++)
    {
      guint32 key = (guint32) (*letters - 'a');
      guint32 cost = costs != NULL ? costs[key] : 1;

      g_array_append_val (keys, key);
      g_array_append_val (open_costs, cost);
    }
  return sim_trace_new ("test", "", 26, keys, open_costs,
                        bytes != NULL ? g_memdup2 (bytes, 26 * sizeof *bytes) : NULL);
}

static void
note_eviction (guint32 position, guint32 key, gpointer data)
{
  g_string_append_c (data, (char) ('a' + key));
}

/* Objects are numbered by first use: the letters of a trace must appear in the order of the
 * alphabet. */
static void
check_evictions (const SimPolicy *policy, const SimTrace *trace, SimLimits limits,
                 const char *expected)
{
  g_autoptr (GString) evicted = g_string_new (NULL);

  sim_replay (policy, trace, &limits, note_eviction, evicted);
  g_assert_cmpstr (evicted->str, ==, expected);
}

static const SimLimits two = { 2, SIM_NO_LIMIT }, three = { 3, SIM_NO_LIMIT };

static void
test_lru (void)
{
  g_autoptr (SimTrace) trace = make_trace ("abcadbe", NULL, NULL);

  check_evictions (&sim_lru, trace, three, "bca");
}

/* The hand clears a's bit, takes b, then c, and is at d, not again at a. */
static void
test_sieve (void)
{
  g_autoptr (SimTrace) trace = make_trace ("abcadbe", NULL, NULL);

  check_evictions (&sim_sieve, trace, three, "bcd");
  check_evictions (&sim_fscache, trace, three, "bcd");
  check_evictions (&sim_sieve_bytes, trace, three, "bcd");
  check_evictions (&sim_sieve_credit, trace, three, "bcd");
  check_evictions (&sim_sieve_class, trace, three, "bcd");
}

/* For c's bytes a, which has none, goes for nothing with sieve. */
static void
test_bytes (void)
{
  static const guint64 bytes[26] = { 0, 100, 100 };
  g_autoptr (SimTrace) trace = make_trace ("abc", NULL, bytes);
  SimLimits limits = { 10, 100 };

  check_evictions (&sim_sieve, trace, limits, "ab");
  check_evictions (&sim_sieve_bytes, trace, limits, "b");
  check_evictions (&sim_sieve_credit, trace, limits, "b");
  check_evictions (&sim_sieve_class, trace, limits, "b");
  check_evictions (&sim_fscache, trace, limits, "b");
  check_evictions (&sim_gdsf, trace, limits, "b");
}

/* What does not fit at all comes not in, and nobody goes for it. */
static void
test_too_large (void)
{
  static const guint64 bytes[26] = { 50, 101, 50 };
  g_autoptr (SimTrace) trace = make_trace ("abcbac", NULL, bytes);
  SimLimits limits = { 10, 100 };

  for (const SimPolicy *const *policy = sim_policies; *policy != NULL; policy++)
    if ((*policy)->replay == NULL)
      {
        check_evictions (*policy, trace, limits, "");
        g_assert_cmpfloat (sim_replay (*policy, trace, &limits, NULL, NULL).hits, ==, 2);
      }
}

/* c and d, at 10, make the cache 10 older each time: the tenth is worth 101, and a, at 100, goes.
 */
static void
test_gdsf (void)
{
  static const guint32 costs[26] = { 100, 1, 10, 10 };
  static const guint32 by_size[26] = { 10, 5, 1 };
  static const guint64 bytes[26] = { 100, 0, 0 };
  g_autoptr (SimTrace) ages = make_trace ("abcdcdcdcdcdc", costs, NULL);
  g_autoptr (SimTrace) uses = make_trace ("aabc", NULL, NULL);
  g_autoptr (SimTrace) sizes = make_trace ("abc", by_size, bytes);

  check_evictions (&sim_gdsf, ages, two, "bcdcdcdcdca");
  check_evictions (&sim_gdsf, uses, two, "b");
  /* a has the whole bytes, so three parts of the cache, each worth 3.3; b has one worth 5. */
  check_evictions (&sim_gdsf, sizes, (SimLimits){ 2, 100 }, "a");
}

static void
test_class (void)
{
  static const guint32 costs[26] = { 2000000, 20, 20, 20, 20 };
  static const guint32 aging[26] = { 256, 16, 16, 16 };
  g_autoptr (SimTrace) trace = make_trace ("abcde", costs, NULL);
  g_autoptr (SimTrace) ages = make_trace ("abcdcdcdcdcdcdcdcdcdc", aging, NULL);

  check_evictions (&sim_sieve, trace, three, "ab");
  check_evictions (&sim_sieve_class, trace, three, "bc");
  check_evictions (&sim_fscache, trace, three, "bc");
  /* a stays for sixteen that cost a sixteenth, and goes with the next. */
  check_evictions (&sim_sieve_class, ages, two, "bcdcdcdcdcdcdcdca");
  check_evictions (&sim_fscache, ages, two, "bcdcdcdcdcdcdcdca");
}

static void
test_class_renews (void)
{
  static const guint32 aging[26] = { 256, 16, 16, 16 };
  g_autoptr (SimTrace) ages = make_trace ("abcdcdcdcdcdacdcdcdcdcdc", aging, NULL);
  g_autoptr (GString) evicted = g_string_new (NULL);

  sim_replay (&sim_sieve_class, ages, &two, note_eviction, evicted);
  g_assert_null (strchr (evicted->str, 'a'));
}

static void
test_credit (void)
{
  static const guint32 costs[26] = { 20, 20, 20, 2000000, 20, 20, 20 };
  g_autoptr (SimTrace) trace = make_trace ("abcdefg", costs, NULL);

  check_evictions (&sim_sieve, trace, three, "abcd");
  check_evictions (&sim_sieve_credit, trace, three, "abce");
}

static void
test_min (void)
{
  g_autoptr (SimTrace) trace = make_trace ("abcab", NULL, NULL);
  g_autoptr (SimTrace) pair = make_trace ("aabab", NULL, NULL);
  SimLimits one = { 1, SIM_NO_LIMIT };

  g_assert_cmpfloat (sim_replay (&sim_min, trace, &two, NULL, NULL).hits, ==, 2);
  g_assert_cmpfloat (sim_replay (&sim_min, trace, &one, NULL, NULL).hits, ==, 1);
  g_assert_cmpfloat (sim_replay (&sim_min, pair, &one, NULL, NULL).hits, ==, 2);
}

/* By exhaustion: the most time that can be saved from open i on with these objects in the cache,
 * any of which may be thrown out at any time, and each of which may stay out. */

#define N_LETTERS 5
#define N_OPENS 14

typedef struct
{
  const SimTrace *trace;
  const SimLimits *limits;
  double best[N_OPENS + 1][1 << N_LETTERS]; /* NAN: not known yet */
} Exhaustion;

static gboolean
fits (const Exhaustion *all, guint set)
{
  guint64 n = 0, bytes = 0;

  for (guint i = 0; i < N_LETTERS; i++)
    if ((set >> i & 1) != 0)
      {
        n++;
        bytes += all->trace->bytes[i];
      }
  return n <= all->limits->max_handles && bytes <= all->limits->max_bytes;
}

static double
get_best (Exhaustion *all, guint32 i, guint set)
{
  if (i == all->trace->n_opens)
    return 0;
  if (!isnan (all->best[i][set]))
    return all->best[i][set];

  guint bit = 1u << all->trace->keys[i];
  double saved = (set & bit) != 0 ? all->trace->costs[i] : 0, best = 0;

  for (guint kept = set | bit;; kept = (kept - 1) & (set | bit))
    {
      if (fits (all, kept))
        best = MAX (best, get_best (all, i + 1, kept));
      if (kept == 0)
        break;
    }
  all->best[i][set] = saved + best;
  return all->best[i][set];
}

static double
exhaust (const SimTrace *trace, const SimLimits *limits)
{
  g_autofree Exhaustion *all = g_new (Exhaustion, 1);

  all->trace = trace;
  all->limits = limits;
  for (guint i = 0; i <= N_OPENS; i++)
    for (guint set = 0; set < 1 << N_LETTERS; set++)
      all->best[i][set] = NAN;
  return get_best (all, 0, 0);
}

static void
check_against_exhaustion (SimRandom *random, gboolean has_costs, gboolean has_bytes)
{
  char letters[N_OPENS + 1] = "";
  guint32 costs[26] = { 0 };
  guint64 bytes[26] = { 0 };

  for (guint i = 0; i < N_OPENS; i++)
    letters[i] = (char) ('a' + sim_random_below (random, N_LETTERS));
  for (guint i = 0; i < N_LETTERS; i++)
    {
      costs[i] = has_costs ? 1 + sim_random_below (random, 100) : 1;
      bytes[i] = has_bytes ? sim_random_below (random, 100) : 0;
    }

  g_autoptr (SimTrace) trace = make_trace (letters, costs, bytes);
  SimLimits limits = { 1 + sim_random_below (random, 3), has_bytes ? 120 : SIM_NO_LIMIT };
  double best = exhaust (trace, &limits);
  double offline = sim_replay (&sim_offline, trace, &limits, NULL, NULL).saved;
  double bound = sim_replay (&sim_bound, trace, &limits, NULL, NULL).saved;

  g_assert_cmpfloat (offline, <=, best);
  g_assert_cmpfloat (bound, >=, best * (1 - 1e-9));
  for (const SimPolicy *const *policy = sim_policies; *policy != NULL; policy++)
    if ((*policy)->replay == NULL)
      g_assert_cmpfloat (sim_replay (*policy, trace, &limits, NULL, NULL).saved, <=, best);
  if (!has_costs && !has_bytes)
    g_assert_cmpfloat (sim_replay (&sim_min, trace, &limits, NULL, NULL).saved, ==, best);
}

static void
test_optimum (void)
{
  SimRandom random = { 1 };

  for (guint i = 0; i < 400; i++)
    check_against_exhaustion (&random, (i & 1) != 0, (i & 2) != 0);
}

static SimTrace *
make_synthetic (const char *name, guint64 seed)
{
  const SimSynthetic *synthetic = sim_synthetics;

  while (strcmp (synthetic->name, name) != 0)
    synthetic++;
  return synthetic->make (synthetic->name, synthetic->title, seed);
}

static void
hash_eviction (guint32 position, guint32 key, gpointer data)
{
  guint64 *hash = data;

  *hash = sim_hash (*hash + ((guint64) position << 32 | key));
}

/* With one cost and no bytes, the kinds of SIEVE are SIEVE: they evict the same at the same time.
 */
static void
test_same_as_sieve (void)
{
  static const char *const names[] = { "zipf-0.8", "scan", "loops", "phases" };
  static const SimPolicy *const policies[]
      = { &sim_fscache, &sim_sieve_bytes, &sim_sieve_credit, &sim_sieve_class };
  SimLimits limits = { 500, SIM_NO_LIMIT };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr (SimTrace) trace = make_synthetic (names[i], 1);
      guint64 expected = 0;

      sim_replay (&sim_sieve, trace, &limits, hash_eviction, &expected);
      for (guint j = 0; j < G_N_ELEMENTS (policies); j++)
        {
          guint64 hash = 0;

          sim_replay (policies[j], trace, &limits, hash_eviction, &hash);
          g_assert_cmphex (hash, ==, expected);
        }
    }
}

/* The service does what the few lines of sieve-class do, with costs and bytes too. */
static void
test_same_as_class (void)
{
  for (const SimSynthetic *synthetic = sim_synthetics; synthetic->name != NULL; synthetic++)
    {
      g_autoptr (SimTrace) trace = make_synthetic (synthetic->name, 1);
      SimLimits limits = { trace->n_objects / 20, MAX (trace->n_bytes / 20, 1) };
      guint64 expected = 0, hash = 0;

      sim_replay (&sim_sieve_class, trace, &limits, hash_eviction, &expected);
      sim_replay (&sim_fscache, trace, &limits, hash_eviction, &hash);
      g_assert_cmphex (hash, ==, expected);
      g_assert_cmphex (hash, !=, 0);
    }
}

/* On a trace of one cost the bound is known: MIN. It is not to be far from it. */
static void
test_bound_is_tight (void)
{
  g_autoptr (SimTrace) trace = make_synthetic ("zipf-1.0", 1);
  SimLimits limits = { 500, SIM_NO_LIMIT };
  double min = sim_replay (&sim_min, trace, &limits, NULL, NULL).saved;
  double bound = sim_replay (&sim_bound, trace, &limits, NULL, NULL).saved;
  double offline = sim_replay (&sim_offline, trace, &limits, NULL, NULL).saved;

  g_assert_cmpfloat (bound, >=, min);
  g_assert_cmpfloat (bound, <=, 1.02 * min);
  g_assert_cmpfloat (offline, <=, min);
  g_assert_cmpfloat (offline, >=, 0.95 * min);
}

static void
test_seed (void)
{
  for (const SimSynthetic *synthetic = sim_synthetics; synthetic->name != NULL; synthetic++)
    {
      g_autoptr (SimTrace) one = synthetic->make ("", "", 1);
      g_autoptr (SimTrace) again = synthetic->make ("", "", 1);
      g_autoptr (SimTrace) other = synthetic->make ("", "", 2);
      gsize size = one->n_opens * sizeof *one->keys;

      g_assert_cmpmem (one->keys, size, again->keys, again->n_opens * sizeof *again->keys);
      g_assert_cmpmem (one->costs, size, again->costs, again->n_opens * sizeof *again->costs);
      if (strcmp (synthetic->name, "loops") != 0) /* the one with nothing random in it */
        g_assert_true (other->n_opens != one->n_opens
                       || memcmp (one->keys, other->keys, size) != 0);
    }
}

static void
test_parse (void)
{
  static const guint32 expected[] = { 0, 1, 2, 3, 0, 1, 2, 0, 1 };
  g_autoptr (GError) error = NULL;
  g_autoptr (SimTrace) trace = sim_trace_parse (
      "x", "fscache-trace 1\n# a title\nmext4\nd0\no0\np2\nd0\no1\n0\nr2\n0\nr1\n", SIM_COSTS_NFS,
      1, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (trace->title, ==, "a title");
  g_assert_cmpmem (trace->keys, trace->n_opens * sizeof (guint32), expected, sizeof expected);
  g_assert_cmpuint (trace->n_objects, ==, 4);
  g_assert_cmpuint (trace->costs[8], ==, 2000);
  g_assert_true (trace->is_one_cost);
}

static void
test_parse_refuses (void)
{
  static const char *const texts[] = {
    "",
    "fscache-trace 2\nm\nd0\no0\n",
    "fscache-trace 1\n",
    "fscache-trace 1\nd0\n",                   /* no mount */
    "fscache-trace 1\nm\nd0\no1\n",            /* no directory */
    "fscache-trace 1\nm\nd0\no0\n1\n",         /* no object */
    "fscache-trace 1\nm\nd0\np1\n",            /* of no directory */
    "fscache-trace 1\nm\nd0\no0\nr1\n",        /* nothing came after it */
    "fscache-trace 1\nm\nd0\no0\nx\n",         /* no such line */
    "fscache-trace 1\nm\nd0\no0\n\n",          /* empty */
    "fscache-trace 1\nm\nd0\no0\n999999999\n", /* too long */
    "fscache-trace 1\nm\nd0\no0\n0\np99999999\n",
  };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (sim_trace_parse ("x", texts[i], SIM_COSTS_LOCAL, 1, &error));
      g_assert_nonnull (error);
    }
}

/* All that are in the repository can be read, and are of what they say. */
static void
test_recorded (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) directory = g_dir_open (SIM_TRACES_DIR, 0, &error);
  const char *name;
  guint n = 0;

  g_assert_no_error (error);
  while ((name = g_dir_read_name (directory)) != NULL)
    if (g_str_has_suffix (name, ".trace.gz"))
      {
        g_autofree char *path = g_build_filename (SIM_TRACES_DIR, name, NULL);
        g_autoptr (SimTrace) trace = sim_trace_read (path, SIM_COSTS_MIXED, 1, &error);

        g_assert_no_error (error);
        g_assert_cmpuint (trace->n_opens, >, 1000);
        g_assert_cmpuint (trace->n_opens, >, trace->n_objects);
        n++;
      }
  g_assert_cmpuint (n, >=, 5);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/simulate/lru", test_lru);
  g_test_add_func ("/simulate/sieve", test_sieve);
  g_test_add_func ("/simulate/bytes", test_bytes);
  g_test_add_func ("/simulate/too-large", test_too_large);
  g_test_add_func ("/simulate/gdsf", test_gdsf);
  g_test_add_func ("/simulate/class", test_class);
  g_test_add_func ("/simulate/class-renews", test_class_renews);
  g_test_add_func ("/simulate/credit", test_credit);
  g_test_add_func ("/simulate/min", test_min);
  g_test_add_func ("/simulate/optimum", test_optimum);
  g_test_add_func ("/simulate/same-as-sieve", test_same_as_sieve);
  g_test_add_func ("/simulate/same-as-class", test_same_as_class);
  g_test_add_func ("/simulate/bound-is-tight", test_bound_is_tight);
  g_test_add_func ("/simulate/seed", test_seed);
  g_test_add_func ("/simulate/parse", test_parse);
  g_test_add_func ("/simulate/parse-refuses", test_parse_refuses);
  g_test_add_func ("/simulate/recorded", test_recorded);
  return g_test_run ();
}
