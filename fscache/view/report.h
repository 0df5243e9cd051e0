/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * status.json and metrics: what the service counts, and how this view works. Both can be read
 * without a service, and then say that there is none.
 */
#pragma once

#include "fscache/view/view.h"

/* An object: the service's name (null: there is none), its counters, and the view. */
GString *fsc_report_status (FscView *view);

/* The text format of Prometheus. */
GString *fsc_report_metrics (FscView *view);
