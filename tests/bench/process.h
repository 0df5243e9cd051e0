/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The programs that a benchmark starts. None of them outlives it, however it ends: they get SIGTERM
 * when this process dies.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct
{
  pid_t pid;  /* 0: not running */
  int input;  /* writes to its stdin; -1 for none */
  int output; /* reads its stdout; -1 for none */
} BenchProcess;

#define BENCH_PROCESS_NONE ((BenchProcess){ 0, -1, -1 })

typedef enum
{
  BENCH_PROCESS_PIPES = 1 << 0, /* stdin and stdout are pipes; else /dev/null and the log */
} BenchProcessFlags;

/* A program of the build tree that this one is from, by its place there, or an installed one; new,
 * or NULL if there is none. */
char *bench_find_program (const char *place);

/* Starts a program, found through $PATH. `environment` may be NULL for this process's own; `log`,
 * where stderr goes, may be -1 for this process's own. As quick as a start can be: vfork(). */
bool bench_process_start (BenchProcess *process, const char *const *argv,
                          const char *const *environment, int log, BenchProcessFlags flags,
                          GError **error);

/* Starts a part of this program (bench.h), with pipes, and waits until it is ready. The arguments
 * end with NULL. */
bool bench_process_start_part (BenchProcess *process, const char *part,
                               const char *const *arguments, GError **error);

/* Whether it has ended by itself; how, in *how (a phrase, new). */
bool bench_process_has_ended (BenchProcess *process, char **how);

/* Ends it: closes the pipes, SIGTERM, and SIGKILL after five seconds. */
void bench_process_stop (BenchProcess *process);

/* Closes the pipes, and waits until it ends by itself, however long that takes. */
void bench_process_finish (BenchProcess *process);

/* Reads exactly `size` bytes. */
bool bench_process_read (BenchProcess *process, void *buffer, size_t size, GError **error);
bool bench_process_write (BenchProcess *process, const void *buffer, size_t size, GError **error);

/* For parts. */
void bench_part_say_ready (void);
int bench_part_fail (const char *format, ...) G_GNUC_PRINTF (1, 2); /* returns 1 */
