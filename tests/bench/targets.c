/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What fscache wants to reach; see targets.h.
 */
#include "tests/bench/targets.h"

#include <math.h>
#include <string.h>

typedef enum
{
  RATIO,  /* of a row to another */
  P99,    /* the same, but of the slowest in a hundred */
  P50,    /* of a row, in ms */
  FACT,   /* a fact's value */
  LOOKUP, /* a hit's time with the lookup of one cache row instead of another's */
} Kind;

typedef struct
{
  BenchTarget target;
  Kind kind;
  const char *name, *baseline;
} Definition;

#define TARGET(Name, Title, Limit, Unit, ...)                                                      \
  {                                                                                                \
    { .name = Name, .title = Title, .limit = Limit, .unit = Unit }, __VA_ARGS__                    \
  }

/* An operation through the view, by passthrough and without, to the same elsewhere: natively, or
 * through a bare FUSE file system that reads in the same way, or that opens nothing. */
#define VIEW(Name, What, To, Pass_row, Row, Pass_limit, Limit)                                     \
  TARGET (Name "-pass-" To, "view: " What " by passthrough, to " To, Pass_limit, "", RATIO,        \
          Name "-pass", Name Pass_row),                                                            \
      TARGET (Name "-" To, "view: " What " without it, to " To, Limit, "", RATIO, Name, Name Row)

static const Definition definitions[] = {
  TARGET ("unchecked-floor", "shared hit without a check, to the floor", 1.25, "", RATIO,
          "shared-unchecked", "floor"),
  { { .name = "unchecked-s6",
      .title = "shared hit without a check, to s6-fdholder",
      .limit = 1,
      .unit = "",
      .is_strict = true },
    RATIO,
    "shared-unchecked",
    "s6-fdholder" },
  TARGET ("checked-floor", "shared hit that is checked, to the floor", 2.3, "", RATIO,
          "shared-checked", "floor"),
  TARGET ("watched-floor", "shared hit that is watched, to the floor", 1.15, "", RATIO,
          "shared-watched", "floor"),
  TARGET ("watched-64", "batch of 64, watched, a handle, to the floor's batch of 64", 1.3, "",
          RATIO, "batch-64-watched", "floor-64"),
  TARGET ("watched-64-open", "batch of 64, watched, a handle, to open() and close()", 0.6, "",
          RATIO, "batch-64-watched", "open"),
  TARGET ("borrow", "borrow, to open() and close()", 0.05, "", RATIO, "borrow", "open"),
  TARGET ("borrow-threads", "borrow in 8 threads, to open() and close()", 0.05, "", RATIO,
          "borrow-8-threads", "open"),
  /* None in a borrow; but the library looks at its connection every now and then. */
  TARGET ("borrow-calls", "system calls in a million borrows", 10, "", FACT, "borrow-system-calls",
          NULL),
  TARGET ("storm", "p99 of hits during a storm of events, to p99 without", 2, "", P99, "hit-storm",
          "hit-calm"),
  TARGET ("sshfs", "held sshfs file, to sshfs's own open()", 0.1, "", RATIO, "sshfs-held",
          "sshfs-open"),
  TARGET ("sshfs-64", "64 held sshfs files in a batch, each", 0.1, "", RATIO, "sshfs-held-64",
          "sshfs-open"),
  TARGET ("sshfs-view", "sshfs file through the view, to sshfs's own open()", 0.25, "", RATIO,
          "sshfs-view", "sshfs-open"),
  /* Speeds are shares of the other's; times are the reverse. */
  VIEW ("view-read", "read", "native", "-native", "-native", 1 / 0.95, 1 / 0.9),
  VIEW ("view-read", "read", "bare", "-bare-pass", "-bare", 1 / 0.95, 1 / 0.9),
  VIEW ("view-random", "random reads", "native", "-native", "-native", 1 / 0.9, 1 / 0.9),
  VIEW ("view-random", "random reads", "bare", "-bare-pass", "-bare", 1 / 0.9, 1 / 0.9),
  VIEW ("view-open", "open", "empty", "-empty", "-empty", 1.15, 1.15),
  VIEW ("view-open", "open", "bare", "-bare-pass", "-bare", 1, 1),
  /* What it has come to, and should stay. The view's paths are longer by two names. */
  VIEW ("view-stat", "stat", "bare", "-bare-pass", "-bare", 1.3, 1.3),
  VIEW ("view-list", "listing", "bare", "-bare-pass", "-bare", 1, 1),
  TARGET ("batch-64", "batch of 64, a handle, to the floor's batch of 64", 1.4, "", RATIO,
          "batch-64-unchecked", "floor-64"),
  TARGET ("idle-clients", "10,000 idle clients, to 1", 1.15, "", RATIO, "idle-10000", "idle-1"),
  TARGET ("idle-clients-watched", "10,000 idle clients, to 1, watched", 1.15, "", RATIO,
          "idle-10000-watched", "idle-1-watched"),
  TARGET ("entries", "15,000 handles, to 100", 1.15, "", RATIO, "entries-15000", "entries-100"),
  TARGET ("entries-watched", "15,000 handles, to 100, watched", 1.15, "", RATIO,
          "entries-15000-watched", "entries-100-watched"),
  TARGET ("cache-entries", "hit with the lookup among 500,000 entries, to 100", 1.15, "", LOOKUP,
          "cache-500000", "cache-100"),
  TARGET ("memory", "resident memory of fscached, an entry", 512, "bytes", FACT,
          "memory-entry-15000", NULL),
  TARGET ("cache-memory", "resident memory of cache.c, an entry of 500,000", 512, "bytes", FACT,
          "memory-cache-500000", NULL),
  TARGET ("start", "start of fscached to its first answer", 20, "ms", P50, "start", NULL),
};

static double
get_quantile (const BenchReport *report, const char *name, double q)
{
  const BenchRow *row = bench_report_find_row (report, name);

  return row != NULL ? bench_stats_get_quantile (&row->stats, q) : NAN;
}

static double
get_p50 (const BenchReport *report, const char *name)
{
  return get_quantile (report, name, 0.5);
}

static double
get_ratio (const BenchReport *report, const char *name, const char *baseline)
{
  const BenchRow *row = bench_report_find_row (report, name);
  const BenchRow *base = bench_report_find_row (report, baseline);

  return row != NULL && base != NULL ? bench_stats_get_ratio (&row->stats, &base->stats).median
                                     : NAN;
}

static double
measure (const BenchReport *report, const Definition *definition)
{
  switch (definition->kind)
    {
    case RATIO:
      return get_ratio (report, definition->name, definition->baseline);
    case P99:
      return get_quantile (report, definition->name, 0.99)
             / get_quantile (report, definition->baseline, 0.99);
    case P50:
      return get_p50 (report, definition->name) / 1e6;
    case FACT:
      return bench_get_fact (report->bench, definition->name);
    case LOOKUP:
      {
        double hit = get_p50 (report, "shared-unchecked");

        return (hit + get_p50 (report, definition->name) - get_p50 (report, definition->baseline))
               / hit;
      }
    }
  return NAN;
}

GArray *
bench_targets_evaluate (const BenchReport *report)
{
  GArray *targets = g_array_new (FALSE, FALSE, sizeof (BenchTarget));

  for (unsigned i = 0; i < G_N_ELEMENTS (definitions); i++)
    {
      BenchTarget target = definitions[i].target;

      target.measured = measure (report, &definitions[i]);
      target.is_measured = isfinite (target.measured);
      g_array_append_val (targets, target);
    }
  return targets;
}

bool
bench_target_is_met (const BenchTarget *target)
{
  return target->is_measured
         && (target->is_strict ? target->measured < target->limit
                               : target->measured <= target->limit);
}
