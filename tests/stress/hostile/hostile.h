/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscache-hostile: what its processes share. The service and the victim have one processor to
 * themselves, if there are two, and the victim goes first; all others have the other one. For what
 * is measured is the service, and not who gets a processor.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

#define HOSTILE_SERVICE 54320
#define HOSTILE_ATTACKER 54321
#define HOSTILE_VICTIM 54322

#define HOSTILE_FILES 64    /* that the victim opens */
#define HOSTILE_HOARD 20000 /* names that the attackers open */
#define HOSTILE_REAL 2000   /* of these are files */

typedef struct
{
  const char *socket;
  const char *dir; /* with the files 0 to HOSTILE_FILES - 1, and hoard/ */
} HostileStage;

/* A kind of request of the victim's, and how it went. */
typedef enum
{
  HOSTILE_OPEN,
  HOSTILE_PING,
  HOSTILE_LIST,
} HostileKind;

#define HOSTILE_N_KINDS (HOSTILE_LIST + 1)

typedef struct
{
  guint64 n, n_failed;
  double p50, p99;   /* microseconds */
  char message[256]; /* of the last failure */
} HostileResult;

/* In a process of their own, which never returns. So many connections, of each kind in turn, until
 * it is killed. */
G_NORETURN void hostile_attack (const HostileStage *stage, guint first, guint n);

/* The same: asks for so long, one request after the other, and writes the results to `out`. */
G_NORETURN void hostile_suffer (const HostileStage *stage, double seconds, int out);
