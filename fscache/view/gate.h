/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * So that a source that hangs does not take all threads: of what may wait for one source only so
 * much runs at a time, and the rest waits in a queue without a thread.
 */
#pragma once

#include <glib.h>

typedef struct FscGate FscGate;
typedef void (*FscGateFunc) (gpointer data);

FscGate *fsc_gate_new (guint limit);
void fsc_gate_free (FscGate *gate);

/* Calls `func` in this thread now, or later in another one that has just done something for the
 * same source. */
void fsc_gate_run (FscGate *gate, guint64 source, FscGateFunc func, gpointer data);
