/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is asked, what open() answers, what fscache answers, and whether that is the same.
 *
 * An answer keeps its descriptor until it is cleared: while both are open, two files cannot have
 * one inode number, so equal numbers are equal files.
 */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

#include "libclient/fscache.h"

typedef struct
{
  const char *name;
  int flags;
  FscacheSharing sharing;
  guint weight; /* how often it is asked, of all of them together */
} DiffQuestion;

extern const DiffQuestion diff_questions[];
extern const guint diff_n_questions;

#define DIFF_CONTENT_MAX 32

typedef struct
{
  int fd; /* owned, or -1 */
  FscacheCode code;
  int error;
  dev_t device;
  ino_t inode;
  uint64_t mount;
  mode_t mode; /* type and permissions */
  int flags;   /* status flags, as far as they must be the same */
  FscacheSource source;
  FscacheCoherence coherence;
  gint length; /* of the content; -1: not read */
  char content[DIFF_CONTENT_MAX];
} DiffAnswer;

/* What the answer must be: open()'s by this process, and where the service is known to answer
 * otherwise (FIFOs, shared directories), exactly that. */
void diff_answer_expect (DiffAnswer *answer, const char *path, const DiffQuestion *question);

/* What the reply is. Takes its descriptor. */
void diff_answer_take (DiffAnswer *answer, FscacheReply *reply, const DiffQuestion *question);

/* NULL if fscache's answer is what was expected, else what is wrong with it. */
const char *diff_answer_compare (const DiffAnswer *expected, const DiffAnswer *given);

/* A sentence. Free with g_free(). */
char *diff_answer_describe (const DiffAnswer *answer);

void diff_answer_clear (DiffAnswer *answer);
