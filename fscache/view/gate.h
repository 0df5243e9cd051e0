/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * So that sources that hang do not take all threads: of what may wait for one source only so much
 * runs at a time, and the rest waits in a queue without a thread. When so many run for all sources
 * together that it can only be because some hang, each source has one alone.
 */
#pragma once

#include <glib.h>

typedef struct FscGate FscGate;
typedef void (*FscGateFunc) (gpointer data);

/* `limit` is for one source; what is beyond `total` runs alone. */
FscGate *fsc_gate_new (guint limit, guint total);
void fsc_gate_free (FscGate *gate);

/* Calls `func` in this thread now, or later in another one that has just done something for the
 * same source. */
void fsc_gate_run (FscGate *gate, guint64 source, FscGateFunc func, gpointer data);
