/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A connection to fscached without libfscache: the protocol and nothing else. For idle clients, of
 * which there are many, for the first answer of a service, and to tell the library's share of a
 * request from the service's.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Connects and shakes hands. `has_root` shows the service our "/", so that it serves paths. Returns
 * the socket, or -1. */
int bench_wire_connect (const char *path, bool has_root, GError **error);

/* Waits for the answer to a PING. */
bool bench_wire_ping (int fd, GError **error);

/* The packet that opens `path` once, shared, without a check if it was ever opened before. Returns
 * its length, or 0. */
size_t bench_wire_make_open (const char *path, void *packet, size_t size);

/* Sends the packet, closes the descriptor that comes. */
bool bench_wire_open (int fd, const void *packet, size_t length, GError **error);
