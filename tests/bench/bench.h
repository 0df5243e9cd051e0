/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the rows of fscache-bench share: the row interface, and the run's context (temporary
 * directory, files, private services). A row is one kind of operation whose latency is measured; it
 * knows nothing of the others, of rounds, or of how results are printed.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/stats.h"

typedef struct Bench Bench;
typedef struct BenchRow BenchRow;

#define BENCH_ERROR (bench_error_quark ())
GQuark bench_error_quark (void);

typedef enum
{
  BENCH_ERROR_FAILED,      /* it should have worked */
  BENCH_ERROR_UNAVAILABLE, /* this machine lacks something: the row is skipped, and says why */
  BENCH_ERROR_INTERRUPTED, /* by a signal */
} BenchErrorCode;

typedef bool (*BenchRowFunc) (BenchRow *row, GError **error);

/* The constant part of a row. Each module has an array of these, ended by one without a name. */
typedef struct
{
  const char *name;     /* what --rows matches */
  const char *title;    /* what one operation is */
  const char *baseline; /* the row that its ratio is taken to, or NULL */
  unsigned handles;     /* one operation fetches this many; a sample is the time for one of them */
  unsigned parameter;   /* the row's own */
  unsigned slice_max;   /* most operations in a slice, 0 for no limit */
  unsigned total_max;   /* most operations in all, 0 for no limit */
  bool has_no_warm_up;  /* each operation does something for the first time */

  BenchRowFunc set_up;            /* once; what it makes is undone by bench_defer() */
  BenchRowFunc prepare;           /* before each slice, not timed; may be NULL */
  BenchRowFunc run;               /* one operation: timed */
  void (*after) (BenchRow *row);  /* after each operation, not timed; may be NULL */
  void (*finish) (BenchRow *row); /* after the last round, for facts; may be NULL */

  /* Instead of run: measures a whole slice elsewhere and appends the samples, in ns a handle. */
  bool (*run_slice) (BenchRow *row, int64_t warm_up_ns, int64_t slice_ns, GArray *samples,
                     GError **error);
} BenchRowSpec;

struct BenchRow
{
  const BenchRowSpec *spec;
  Bench *bench;
  void *state; /* the row's own */
  BenchStats stats;
  bool is_wanted; /* by --rows, or as a baseline of one that is */
  bool is_ready;
  GError *error; /* why it was skipped, or failed */
};

/* A figure that is not a latency. */
typedef struct
{
  const char *name;
  const char *title;
  const char *unit;
  double value;
} BenchFact;

struct Bench
{
  char *directory; /* temporary, removed at the end */
  char *memory;    /* the same on tmpfs, where that can be: no disk is to disturb what is there */
  char *service_path;   /* fscached */
  bool is_quick;        /* smaller sets, only to prove that everything runs */
  GArray *facts;        /* BenchFact */
  GHashTable *services; /* name -> BenchService, of service.c */
  GPtrArray *deferred;
};

/* Measures one slice of a row in this process: warm-up, then operations until the time is over. */
bool bench_row_run_slice (BenchRow *row, int64_t warm_up_ns, int64_t slice_ns, GArray *samples,
                          GError **error);

/* Whether SIGINT, SIGTERM or SIGHUP asked to stop. */
bool bench_is_interrupted (void);

int64_t bench_now (void); /* CLOCK_MONOTONIC, in ns */

/* How many of something for which `n` is the number to measure: fewer if the run is a quick one. */
unsigned bench_scale (const Bench *bench, unsigned n);

#define BENCH_RANDOM_SEED UINT64_C (0x9e3779b97f4a7c15)

/* The next of a cheap pseudo-random sequence (xorshift64). */
static inline uint64_t
bench_random (uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* Calls `func` at the end of the run; the last deferred is called first. */
void bench_defer (Bench *bench, void (*func) (void *data), void *data);
void bench_undo_deferred (Bench *bench);

void bench_add_fact (Bench *bench, const char *name, const char *title, const char *unit,
                     double value);

/* The value of a fact that is there already; else NAN. */
double bench_get_fact (const Bench *bench, const char *name);

/* Facts that rows of several modules need. */
#define BENCH_FACT_WATCHED_ENTRY "memory-watched-entry"

/* Makes sure that `n` small files are in the directory `set`, named by bench_get_file(). */
bool bench_make_files (Bench *bench, const char *set, unsigned n, GError **error);

/* The path of a file of a set; new. */
char *bench_get_file (Bench *bench, const char *set, unsigned index);

/* How many descriptors this process and its children may have. */
unsigned bench_get_descriptor_limit (void);

extern const BenchRowSpec bench_rows_floor[];
extern const BenchRowSpec bench_rows_s6[];
extern const BenchRowSpec bench_rows_gdbus[];
extern const BenchRowSpec bench_rows_fscache[];
extern const BenchRowSpec bench_rows_scale[];
extern const BenchRowSpec bench_rows_cold[];
extern const BenchRowSpec bench_rows_sshfs[];
extern const BenchRowSpec bench_rows_helper[];
extern const BenchRowSpec bench_rows_http[];
extern const BenchRowSpec bench_rows_pool[];
extern const BenchRowSpec bench_rows_watch[];
extern const BenchRowSpec bench_rows_borrow[];
extern const BenchRowSpec bench_rows_read[];
extern const BenchRowSpec bench_rows_start[];
extern const BenchRowSpec bench_rows_cache[];
extern const BenchRowSpec bench_rows_view[];
extern const BenchRowSpec bench_rows_put[];
extern const BenchRowSpec bench_rows_unpack[]; /* where there is libarchive */

/* Parts are this same program started again for a process of its own: servers, idle clients. A part
 * gets its arguments, prints "ready" or why not to stdout, and ends when its stdin does. */
typedef int (*BenchPartFunc) (int argc, char **argv);

int bench_part_floor (int argc, char **argv);
int bench_part_gdbus_server (int argc, char **argv);
int bench_part_gdbus_client (int argc, char **argv);
int bench_part_load (int argc, char **argv);
int bench_part_borrow_count (int argc, char **argv);
int bench_part_bound_floor (int argc, char **argv);
int bench_part_idle (int argc, char **argv);
int bench_part_janitor (int argc, char **argv);
