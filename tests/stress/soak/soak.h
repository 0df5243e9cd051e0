/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the parts of fscache-soak have in common: where all happens, the workers, and what they
 * count, in memory that all processes share.
 *
 *     DIR/stable/N   never change; their content is "stable N"
 *     DIR/moving/N   come, go and are replaced; "moving N VERSION"
 *     DIR/written/   workers write there
 *     DIR/packed/    what unpack: reads: N.gz with "packed N", all.tar.gz with members N
 */
#pragma once

#include <glib.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "tests/view/stage.h"

#define SOAK_STABLE 400
#define SOAK_MOVING 40
#define SOAK_PACKED 20
#define SOAK_NAMES 30  /* handles that are put */
#define SOAK_KINDS 256 /* how a request of a kind can end */

/* How requests have ended: by operation, code and errno. */
typedef struct
{
  const char *operation; /* the same address in all processes: they are forks */
  int code, error;
  atomic_ullong n;
} SoakOutcome;

typedef struct
{
  atomic_int lock;
  atomic_ullong requests, faults, unexpected, wrong;
  atomic_bool is_ending;
  SoakOutcome outcomes[SOAK_KINDS];
} SoakTally;

typedef struct
{
  FscTestStage stage;
  char *dir;
  SoakTally *tally;
  guint http_port;
  guint pool_port;
  double fault_percent;
  gboolean has_http, has_unpack;
} Soak;

/* A process that works. */
typedef struct
{
  const Soak *soak;
  GRand *random;
  FscacheClient *client;
  guint number;
  gboolean is_strict; /* no fault is an excuse, and errors are only noted */
  gboolean has_failed;
} SoakWorker;

/* One thing that a worker does. */
typedef struct
{
  const char *name;
  guint weight;
  void (*run) (SoakWorker *worker);
} SoakOperation;

extern const SoakOperation soak_file_operations[];  /* files, also through the view */
extern const SoakOperation soak_other_operations[]; /* what else can be opened */
extern const SoakOperation soak_admin_operations[];
extern const SoakOperation soak_faults[];

/* Works until it is told to end. Never returns. */
void soak_worker_run (const Soak *soak, guint number, guint32 seed) G_GNUC_NORETURN;

/* Does one of each but the faults, as a strict worker. Returns whether all have gone well. */
gboolean soak_worker_check (SoakWorker *worker);

int soak_pick (SoakWorker *worker, int n); /* 0 to n-1 */

/* Counts how a request has ended. `expected` are the errors that it may end with beside those that
 * faults lead to anywhere: 0 ends them. Returns TRUE if it has succeeded. */
gboolean soak_count (SoakWorker *worker, const char *operation, const FscacheReply *reply,
                     const int *expected);
#define SOAK_ERRORS(...) ((const int[]){ __VA_ARGS__ })

/* The same for what is no request of the library's; 0 is success. */
gboolean soak_count_errno (SoakWorker *worker, const char *operation, int error,
                           const int *expected);

/* An answer that is not right. */
void soak_wrong (SoakWorker *worker, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Says so unless the content of a descriptor begins so; that is read from its beginning, and
 * nothing is moved. */
void soak_check_content (SoakWorker *worker, int fd, const char *prefix);

/* DIR/KIND/N. To be freed. */
char *soak_path (const Soak *soak, const char *kind, int n);

/* Tally */

SoakTally *soak_tally_new (void);
void soak_tally_add (SoakTally *tally, const char *operation, int code, int error);

/* "open: ok 123, ..."; one line for each operation. */
void soak_tally_print (SoakTally *tally);
