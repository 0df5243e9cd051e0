/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tells when the machine is short of memory, by the kernel's own measure (pressure stall
 * information, PSI): when programs had to wait for memory for a part of the last seconds. It wakes
 * nobody before that.
 */
#pragma once

#include "fscache/loop.h"

typedef struct FscPressure FscPressure;

#define FSC_PRESSURE_MEMORY "/proc/pressure/memory"

/* Calls `func` whenever memory is short, at most once in two seconds. Returns NULL if the kernel
 * cannot tell, or not to this user. */
FscPressure *fsc_pressure_new (FscLoop *loop, const char *path, void (*func) (gpointer data),
                               gpointer data, GError **error);
void fsc_pressure_free (FscPressure *pressure);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscPressure, fsc_pressure_free)
