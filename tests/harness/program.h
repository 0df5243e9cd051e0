/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs a program to its end and keeps what it wrote, byte by byte. It leaves no thread, descriptor
 * or child behind, so that tests that count these can use it. Servers that tests start end with
 * them.
 */
#pragma once

#include <glib.h>

typedef struct
{
  int status;   /* as from waitpid(2) */
  char *out;    /* standard output, with a zero byte after its end */
  gsize length; /* of that */
  char *error;  /* standard error */
} FscTestProgram;

/* The first argument is the program, looked for in $PATH if it has no '/'. It runs in `directory`
 * (NULL: this one) with /dev/null as its input, and is ended with SIGALRM after a minute. */
void fsc_test_program_run (FscTestProgram *program, const char *directory,
                           const char *const *arguments);

void fsc_test_program_clear (FscTestProgram *program);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FscTestProgram, fsc_test_program_clear)

/* For g_spawn_async() and the like, to start what goes on: it is killed when the test ends, however
 * that is. */
void fsc_test_program_die_with_parent (gpointer unused);

/* Fails the test, with what the program wrote, unless it exited with this status. */
void fsc_test_program_assert_exit (const FscTestProgram *program, int expected);
