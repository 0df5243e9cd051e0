/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Any message of the protocol as one value, for tests: a packet is read into it, written from it,
 * and told in words. It does what a receiver does, and no more: each check is the codec's. Plain C,
 * so that the fuzzer can use it too.
 */
#pragma once

#include <stdio.h>

#include "protocol/codec.h"

typedef union
{
  FscItem item;
  FscResult result;
  uint64_t id;
  FscEntryInfo entry;
  FscHolding holding;
  FscCounter counter;
  FscStep step;
  uint32_t group;
} FscTestRecord;

typedef struct
{
  FscHeader header;
  union
  {
    FscHello hello;
    FscWelcome welcome;
    FscError error;
    uint64_t count;
    uint32_t give_back; /* flags */
    uint32_t request;   /* CANCEL, UNWATCH */
    FscCounter limit;   /* SET */
    FscEvent event;
    FscTarget target;
    FscList list;
    FscSpeakFor whom;
    FscProgress progress;
    FscPut put;
    uint32_t timeout_ms; /* RECEIVE */
    uint64_t next;       /* ENTRIES, HOLDINGS */
    uint32_t index;      /* WATCHED */
    struct
    {
      FscBytes packet;
    } hand;
  };
  uint32_t n_records;
  FscTestRecord *records;
} FscTestMessage;

/* Strings in *message point into the packet. Returns 0 or -EPROTO, and then *message is empty. */
int fsc_test_message_decode (FscTestMessage *message, const void *packet, size_t length,
                             unsigned n_fds);

/* Returns the length of the packet, or -EMSGSIZE. */
int fsc_test_message_encode (const FscTestMessage *message, void *buffer, size_t size);

/* In the words of PROTOCOL.md, "Test vectors": a line for the message, one for each record. */
void fsc_test_message_print (const FscTestMessage *message, FILE *out);

void fsc_test_message_clear (FscTestMessage *message);

/* Reads a file of hexadecimal digits with comments. What stands after "#: " is appended to `words`
 * (lines, as they are) unless it is NULL. Returns the number of bytes, or a negative errno. */
ssize_t fsc_test_read_hex (FILE *in, uint8_t *packet, size_t size, FILE *words);
