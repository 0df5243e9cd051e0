/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Telling the kernel that what it knows of a file is not so any more. That is done by a thread of
 * its own: one that serves a request must not tell the kernel anything, for which the kernel might
 * need that request's answer.
 *
 * It is told of attributes alone, for which the kernel waits for nobody. (Pages go with the next
 * open, and names by ESTALE: see node.h.) So a request may wait for that thread.
 */
#pragma once

#include "fscache/view/view.h"

FscNotifier *fsc_notifier_new (FscView *view);
void fsc_notifier_free (FscNotifier *notifier);

/* Has the kernel forget the attributes of a node, and waits until it has. */
void fsc_notifier_forget_attributes (FscNotifier *notifier, FscNode *node);
