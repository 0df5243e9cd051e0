/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bytes <-> messages. Pure: no I/O, no allocation, no state. A writer fills a buffer of the
 * caller's and a reader looks into one; strings that a reader returns point into the packet, are
 * not terminated by a zero byte, and live as long as it does.
 *
 * Nothing here trusts its input: each getter checks that what it reads is there, that enumerations
 * are in range and that what must be zero is zero. The first failure sticks: all later calls on the
 * same reader or writer fail too, so that a caller may check once, at the end, with
 * fsc_reader_finish() or fsc_writer_finish(). A packet that fails is malformed as a whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/protocol.h"

typedef struct
{
  const char *data;
  size_t length;
} FscBytes;

typedef struct
{
  FscOpcode opcode;
  uint32_t serial;
  uint32_t length; /* of the body */
  unsigned n_fds;
} FscHeader;

typedef struct
{
  uint32_t magic;
  unsigned lowest, highest;
  uint32_t features;
  FscBytes name;
} FscHello;

typedef struct
{
  unsigned version;
  uint32_t features;
  uint32_t serves;
  uint32_t packet_max;
  unsigned items_max;
  FscBytes name;
} FscWelcome;

/* Whom a client speaks for; the groups follow one by one. */
typedef struct
{
  uint32_t uid, gid;
  uint32_t n_groups;
} FscSpeakFor;

typedef struct
{
  FscCode code;
  int error; /* errno, positive */
  FscBytes text;
} FscError;

typedef struct
{
  FscBytes uri;
  FscBytes validator;
  FscBytes resume;
  uint32_t flags, mode, umask, options, max_age_ms;
  unsigned mount_length;
  FscSharing sharing;
} FscItem;

/* What a handle is of, if that is known and does not change. */
typedef struct
{
  bool is_known;  /* else nothing here means anything */
  bool is_sealed; /* the kernel sees to it that it does not change */
  uint64_t size;
  uint8_t digest[FSC_DIGEST_SIZE]; /* SHA-256 */
} FscContentInfo;

typedef struct
{
  unsigned index;
  FscCode code;
  int error; /* errno, positive */
  uint64_t id;
  uint32_t age_ms; /* with has_ttl: for how long it holds */
  uint32_t mount_id;
  bool has_fd;
  bool has_ttl; /* only from an opener */
  FscSharing sharing;
  FscSource source;
  FscCoherence coherence;
  FscKind kind;
  FscBytes text;
  FscBytes validator;
  FscContentInfo content;
} FscResult;

/* How far the opening of an item has come, in bytes. */
typedef struct
{
  unsigned index;
  uint64_t done, total; /* total 0: not known */
  uint64_t memory;      /* from an opener: that what it makes has by now */
} FscProgress;

typedef struct
{
  FscBytes uri; /* or pattern */
  bool is_pattern;
  bool is_mount; /* all that lies on the mount that is there; not of PIN and INFO */
  bool is_deep;  /* a mount: and on those below it */
  bool pinned;
} FscTarget;

typedef struct
{
  uint64_t cursor;
  FscBytes uri; /* or pattern; empty for all */
  bool is_pattern;
  bool is_mount, is_deep; /* as above; not of LIST */
} FscList;

typedef struct
{
  FscBytes uri;
  uint64_t hits, age_ms, idle_ms;
  uint64_t generation; /* 0: it has none */
  uint32_t checked_ms, ttl_ms, cost_us, flags, state, mount_id;
  FscKind kind;
  FscCoherence coherence;
  FscSharing sharing;
  FscContentInfo content;
} FscEntryInfo;

typedef struct
{
  FscBytes name;
  uint64_t value;
} FscCounter;

typedef struct
{
  FscBytes uri;  /* empty: all of which there is no record any more */
  FscBytes name; /* of the client */
  uint64_t client, given, first_ms, last_ms;
  uint32_t pid, uid, lent, mount_id;
  FscSharing sharing;
} FscHolding;

/* What is to be put under which name. */
typedef struct
{
  FscBytes uri;
  FscPutMode mode;
  uint64_t expected;
  uint32_t ttl_ms;
} FscPut;

/* What a message may carry, by its number: how many descriptors at least and at most, and from
 * whom. Returns false for an unknown opcode. */
bool fsc_codec_get_fd_range (unsigned opcode, unsigned *min_fds, unsigned *max_fds);

/* A human name of an opcode, for logs: "OPEN". */
const char *fsc_codec_opcode_name (unsigned opcode);

/* A step of a way: a name that was looked up in a directory, which is known by its watch
 * descriptor; without a name, what was found at last. */
typedef struct
{
  int wd;
  FscBytes name;
} FscStep;

/* What stands before the result in an EVENT. */
typedef struct
{
  FscReason reason;
  uint32_t n_coalesced;
} FscEvent;

/* Writing: begin, put, finish. */

typedef struct
{
  uint8_t *data;
  size_t size;     /* of the buffer */
  size_t position; /* bytes written */
  bool failed;
} FscWriter;

/* Starts a message in `buffer`, leaving room for the header. */
void fsc_writer_begin (FscWriter *writer, void *buffer, size_t size);

/* Writes the header. Returns the length of the packet, or -EMSGSIZE if it did not fit. */
int fsc_writer_finish (FscWriter *writer, FscOpcode opcode, uint32_t serial, unsigned n_fds);

void fsc_codec_put_hello (FscWriter *writer, const FscHello *hello);
void fsc_codec_put_welcome (FscWriter *writer, const FscWelcome *welcome);
void fsc_codec_put_error (FscWriter *writer, const FscError *error);
void fsc_codec_put_done (FscWriter *writer, uint64_t count);
void fsc_codec_put_open (FscWriter *writer, uint32_t n_items);
void fsc_codec_put_item (FscWriter *writer, const FscItem *item);
void fsc_codec_put_opened (FscWriter *writer, uint32_t n_results);
void fsc_codec_put_result (FscWriter *writer, const FscResult *result);
void fsc_codec_put_progress (FscWriter *writer, const FscProgress *progress);
void fsc_codec_put_watched (FscWriter *writer, uint32_t index, uint32_t n_steps);
void fsc_codec_put_step (FscWriter *writer, const FscStep *step);
void fsc_codec_put_give_back (FscWriter *writer, uint32_t flags, const uint64_t *ids,
                              uint32_t n_ids);
void fsc_codec_put_speak_for (FscWriter *writer, const FscSpeakFor *whom);
void fsc_codec_put_group (FscWriter *writer, uint32_t group);
void fsc_codec_put_cancel (FscWriter *writer, uint32_t serial);      /* UNWATCH, too */
void fsc_codec_put_event (FscWriter *writer, const FscEvent *event); /* then one result */
void fsc_codec_put_target (FscWriter *writer, const FscTarget *target);
void fsc_codec_put_list (FscWriter *writer, const FscList *list); /* HOLDERS, too */
void fsc_codec_put_holdings (FscWriter *writer, uint64_t next, uint32_t n_holdings);
void fsc_codec_put_holding (FscWriter *writer, const FscHolding *holding);
void fsc_codec_put_entries (FscWriter *writer, uint64_t next, uint32_t n_entries);
void fsc_codec_put_entry (FscWriter *writer, const FscEntryInfo *entry);
void fsc_codec_put_counters (FscWriter *writer, uint32_t n_counters);
void fsc_codec_put_counter (FscWriter *writer, const FscCounter *counter);

/* Without a name (and value 0) nothing is to be changed. */
void fsc_codec_put_set (FscWriter *writer, const FscCounter *limit);
void fsc_codec_put_put (FscWriter *writer, const FscPut *put);
void fsc_codec_put_receive (FscWriter *writer, uint32_t timeout_ms);
void fsc_codec_put_hand (FscWriter *writer, const uint64_t *ids, unsigned n_ids, FscBytes packet);

/* How long a record will be, to know when a packet is full. */
size_t fsc_codec_item_size (const FscItem *item);
size_t fsc_codec_result_size (const FscResult *result);
size_t fsc_codec_entry_size (const FscEntryInfo *entry);
size_t fsc_codec_holding_size (const FscHolding *holding);

/* Changes the serial of a finished packet: a request that is repeated keeps its body. */
void fsc_codec_set_serial (void *packet, uint32_t serial);

/* Reading: begin, get, finish. */

typedef struct
{
  const uint8_t *data;
  size_t length;
  size_t position;
  unsigned fds_left; /* of an OPENED or EVENT: descriptors that no result has claimed yet */
  bool failed;
} FscReader;

/* For fsc_reader_begin(): the descriptors could not be received (`lost` of fsc_channel_receive()).
 */
#define FSC_FDS_LOST (~0u)

/* Reads and checks the header of a packet that came with `n_fds` descriptors: length and count must
 * be those that arrived, and the opcode must be known and allow that many. Returns 0 or -EPROTO. */
int fsc_reader_begin (FscReader *reader, FscHeader *header, const void *packet, size_t length,
                      unsigned n_fds);

/* Returns 0 if all that was read was valid and nothing is left over, neither bytes nor descriptors
 * of an OPENED; else -EPROTO. */
int fsc_reader_finish (const FscReader *reader);

bool fsc_codec_get_hello (FscReader *reader, FscHello *hello);
bool fsc_codec_get_welcome (FscReader *reader, FscWelcome *welcome);
bool fsc_codec_get_error (FscReader *reader, FscError *error);
bool fsc_codec_get_done (FscReader *reader, uint64_t *count);
bool fsc_codec_get_open (FscReader *reader, uint32_t *n_items);
bool fsc_codec_get_item (FscReader *reader, FscItem *item);
bool fsc_codec_get_opened (FscReader *reader, uint32_t *n_results);

/* If the result has_fd, the packet has a descriptor for it: the next one. */
bool fsc_codec_get_result (FscReader *reader, FscResult *result);
bool fsc_codec_get_progress (FscReader *reader, FscProgress *progress);

/* A way has at least two steps, and only the last of them is without a name. */
bool fsc_codec_get_watched (FscReader *reader, uint32_t *index, uint32_t *n_steps);
bool fsc_codec_get_step (FscReader *reader, FscStep *step);

bool fsc_codec_get_give_back (FscReader *reader, uint32_t *flags, uint32_t *n_ids);
bool fsc_codec_get_id (FscReader *reader, uint64_t *id);
/* n_groups calls of get_group() must follow. */
bool fsc_codec_get_speak_for (FscReader *reader, FscSpeakFor *whom);
bool fsc_codec_get_group (FscReader *reader, uint32_t *group);

bool fsc_codec_get_cancel (FscReader *reader, uint32_t *serial);

/* Then fsc_codec_get_result(), once: its index is 0. */
bool fsc_codec_get_event (FscReader *reader, FscEvent *event);
bool fsc_codec_get_target (FscReader *reader, FscTarget *target);
bool fsc_codec_get_list (FscReader *reader, FscList *list);
bool fsc_codec_get_holders (FscReader *reader, FscList *list); /* may name a mount */
bool fsc_codec_get_holdings (FscReader *reader, uint64_t *next, uint32_t *n_holdings);
bool fsc_codec_get_holding (FscReader *reader, FscHolding *holding);
bool fsc_codec_get_entries (FscReader *reader, uint64_t *next, uint32_t *n_entries);
bool fsc_codec_get_entry (FscReader *reader, FscEntryInfo *entry);
bool fsc_codec_get_counters (FscReader *reader, uint32_t *n_counters);
bool fsc_codec_get_counter (FscReader *reader, FscCounter *counter);
bool fsc_codec_get_set (FscReader *reader, FscCounter *limit);

bool fsc_codec_get_put (FscReader *reader, FscPut *put);
bool fsc_codec_get_receive (FscReader *reader, uint32_t *timeout_ms);

/* Reads a HAND up to its ids; then fsc_codec_get_id() n_ids times, then
 * fsc_codec_get_packet(). */
bool fsc_codec_get_hand (FscReader *reader, unsigned *n_ids, uint32_t *packet_length);
bool fsc_codec_get_packet (FscReader *reader, uint32_t packet_length, FscBytes *packet);
