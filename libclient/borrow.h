/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is kept for borrowing: shared duplicates, found by the name that they were asked for with.
 *
 * A HIT takes no lock. It finds the handle in a table of atomic pointers, and protects it by a
 * hazard pointer: it writes the pointer into a free record, where whoever wants to close the handle
 * will see it, and then looks whether the handle still is in the table. If it is, whoever takes it
 * out from now on looks at the records after that, and finds it in use. So a handle that is
 * borrowed is never closed, whichever thread finds that it does not hold any more. The one locked
 * instruction of all that is the exchange that takes the record; another gives it back.
 *
 * EVERYTHING ELSE, to put a handle in, to take one out, to close, is done with the client's lock. A
 * handle that was taken out is retired: it is closed when no record has it. If one has, a mark is
 * left there, and who clears that record sees to the closing. What is to be closed is collected
 * under the lock and closed without it, because close() may wait.
 *
 * THE SERVICE may be gone, and then nobody tells that a handle does not hold any more. So a hit
 * looks at the clock (which is no system call), and when the connection was last seen alive a while
 * ago, one thread looks at it, while the others go on for a moment and then wait for what it finds.
 * When the connection is lost, all handles are retired: another connection may be to another
 * service, with another table.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "libclient/fscache.h"

typedef struct FscBorrows FscBorrows;

/* With the client's lock. */

/* The connection is gone, or this is a child of fork(): nothing that is kept may be given. */
void fsc_client_borrow_forget (FscacheClient *client);

/* Frees everything, borrowed or not. */
void fsc_client_borrow_free (FscBorrows *borrows);
