/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input of a fuzzer that plays a peer: bytes that pick what to do, then what to do it with. So
 * each input is a sequence of messages that make sense, nearly, and what a change of a byte makes
 * of it is mostly another such sequence.
 */
#pragma once

#include "protocol/codec.h"

#define FSC_SCRIPT_IDS 8

typedef struct
{
  const uint8_t *data;
  size_t size; /* what is left */

  /* What peers have been told, for them to answer, oldest first. */
  uint64_t ids[FSC_SCRIPT_IDS];
  unsigned n_ids;
} FscScript;

/* Ends the program unless that is so. */
void fsc_script_require (bool condition);

/* Zeros at the end. */
uint8_t fsc_script_take_byte (FscScript *script);

/* Mostly small. */
uint32_t fsc_script_take_number (FscScript *script);

void fsc_script_remember_id (FscScript *script, uint64_t id);

/* Makes a packet of this kind; some are not quite right, some are anything at all. *n_fds is how
 * many descriptors it says that it has. Returns its length, or 0: it did not fit. */
size_t fsc_script_take_packet (FscScript *script, FscOpcode opcode, uint32_t serial, void *packet,
                               size_t size, unsigned *n_fds);

/* Sends a packet with so many descriptors of several kinds, but no more than can be sent. */
void fsc_script_send (int socket, const void *packet, size_t length, unsigned n_fds, uint8_t kind);

/* How many descriptors are open below 256. */
unsigned fsc_script_count_descriptors (void);

/* Waits until there are so many: some are closed by threads. */
void fsc_script_require_descriptors (unsigned n);
