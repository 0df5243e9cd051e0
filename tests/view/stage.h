/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A private service with a view of it, for a test: in a mount namespace, so that nobody else sees
 * it.
 *
 *     DIR/src    files of the test
 *     DIR/view   the mount point
 */
#pragma once

#include <glib.h>

#include "tests/harness/service.h"

typedef struct
{
  FscTestService *service;
  char *source;  /* DIR/src */
  char *mount;   /* DIR/view */
  char *through; /* DIR/view/open/file/DIR/src */
  char *cached;  /* DIR/view/cached/file/DIR/src */
  char *log;     /* what the view has said */
  pid_t pid;     /* 0: not running */
  /* RLIMIT_NOFILE of the view from its next start on; 0: as this process. */
  guint max_descriptors;
} FscTestStage;

/* What every test program's main() calls first. */
void fsc_test_stage_init (int *argc, char ***argv);

/* Starts the service, and a view in the foreground with these options for -o, or NULL. */
void fsc_test_stage_open (FscTestStage *stage, const char *options);
void fsc_test_stage_open_with (FscTestStage *stage, const char *config, const char *options);

/* Unmounts with SIGTERM, which must go well, if the view still runs. */
void fsc_test_stage_close (FscTestStage *stage);

/* The parts of that. */
void fsc_test_stage_start (FscTestStage *stage, const char *options);
void fsc_test_stage_stop (FscTestStage *stage);
void fsc_test_stage_kill (FscTestStage *stage);
gboolean fsc_test_stage_is_mounted (const FscTestStage *stage);

/* "DIR/src/NAME", "DIR/view/open/file/DIR/src/NAME", "DIR/view/NAME". To be freed. */
char *fsc_test_stage_source (const FscTestStage *stage, const char *name);
char *fsc_test_stage_through (const FscTestStage *stage, const char *name);
char *fsc_test_stage_at (const FscTestStage *stage, const char *name);

/* Puts this content into a new file that takes the name. */
void fsc_test_stage_replace (const FscTestStage *stage, const char *name, const char *content);

/* Fails unless the file has this content, opened now. */
void fsc_test_stage_assert_content (const char *path, const char *content);

/* Fails unless open() with these flags says this errno; 0 is success. */
void fsc_test_stage_assert_open (const char *path, int flags, int error);

/* A number that status.json tells of the view. */
gint64 fsc_test_stage_get (const FscTestStage *stage, const char *name);

/* Runs a shell command, with $S, $V and $M for source, through and mount; fails unless it succeeds.
 */
void fsc_test_stage_run (const FscTestStage *stage, const char *command);

/* Tests that get an open stage, and are skipped where FUSE cannot be had. */
#define FSC_STAGE_ADD(path, func)                                                                  \
  g_test_add_data_func (path, (gconstpointer) (func), fsc_test_stage_call)
#define FSC_STAGE_ADD_CLOSED(path, func)                                                           \
  g_test_add_data_func (path, (gconstpointer) (func), fsc_test_stage_call_closed)
/* A test that is told which of the two ways to mount the stage has: as it is by default, and with
 * -o exact, in "PATH-exact". */
#define FSC_STAGE_ADD_BOTH(path, func)                                                             \
  g_test_add_data_func (path, (gconstpointer) (func), fsc_test_stage_call_default);                \
  g_test_add_data_func (path "-exact", (gconstpointer) (func), fsc_test_stage_call_exact)

typedef void (*FscTestStageFunc) (FscTestStage *stage);
typedef void (*FscTestStageBothFunc) (FscTestStage *stage, gboolean is_exact);
void fsc_test_stage_call (gconstpointer func);
void fsc_test_stage_call_closed (gconstpointer func);
void fsc_test_stage_call_default (gconstpointer func);
void fsc_test_stage_call_exact (gconstpointer func);
