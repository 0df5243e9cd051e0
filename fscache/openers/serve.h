/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The loop that all openers share. A provider is one function that opens one resource; the loop
 * speaks the protocol with the service on descriptor 3, keeps the handles that must not leave the
 * process, and hands them out to clients' sockets when it is told.
 *
 * Plain C on libc alone. It may block wherever its provider blocks: that is what it is for; what it
 * holds is handed out all the same, by a second thread, which comes with the first handle. The
 * provider is called by the thread that called fsc_serve(), and by no other.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "fscache/openers/watcher.h"
#include "protocol/channel.h"
#include "protocol/codec.h"

/* What a provider found. It is zeroed before, with fd -1. */
typedef struct
{
  /* Given: for items with FSC_OPTION_WATCH. */
  int inotify;              /* borrowed; -1: there is none */
  FscWay *way;              /* without steps; those that are put in are reported as watched */
  struct FscReport *report; /* for fsc_found_progress() */

  FscCode code; /* OK, UNCHANGED, or why not */
  int error;
  int fd;        /* taken by the loop */
  bool is_final; /* it is the very description that was asked for; else the client reopens it */
  bool hold;     /* the descriptor must not leave this process: it may hang whoever closes it */
  FscKind kind;
  FscSharing most_sharing; /* INDEPENDENT: it may be reopened; EXCLUSIVE: it may only be lent */
  FscCoherence coherence;
  bool has_ttl;    /* with coherence TTL, or code UNCHANGED and any: it says itself */
  uint32_t ttl_ms; /* for how long it holds; else as long as the configuration says */
  uint32_t mount_id;
  uint8_t validator[FSC_VALIDATOR_MAX]; /* with LEADS_ELSEWHERE: what to resume with */
  unsigned validator_length;

  /* What the handle is of, if that can never change: a memfd with all seals (F_SEAL_SEAL, _SHRINK,
   * _GROW, _WRITE), or a file that nobody else can find, opened for reading only. */
  bool has_content;
  uint64_t size;
  uint8_t digest[FSC_DIGEST_SIZE]; /* SHA-256, computed in this process */

  /* A sentence; with LEADS_ELSEWHERE the URI of where it goes on. */
  char text[FSC_URI_MAX + 1];
} FscFound;

/* Opens, or, if the item has a validator, says UNCHANGED if the resource still has it. `uri` is the
 * item's URI, canonical, with a zero byte at its end. */
typedef void (*FscOpenFunc) (const FscItem *item, const char *uri, FscFound *found);

/* Receives the descriptor that a client sends over `socket` (borrowed), and says what it is. What
 * came with it that is not wanted is left in `rest`, to be closed when the result has been told.
 * Called in a thread of its own. */
typedef void (*FscReceiveFunc) (int socket, uint32_t timeout_ms, FscFound *found, FscFds *rest);

/* Serves until the service goes. Returns the status to exit with. */
int fsc_serve (const char *name, FscOpenFunc open);

/* The same for one that also holds what clients put. */
int fsc_serve_store (const char *name, FscOpenFunc open, FscReceiveFunc receive);

/* For a provider that takes long: so many bytes are done, of so many (0: nobody knows), and what is
 * made takes so many, in memory or in a file. May be called at each step; it is told ten times a
 * second, to those who want to know, and to the cache, which limits the memory. */
void fsc_found_progress (FscFound *found, uint64_t done, uint64_t total, uint64_t memory);

FscKind fsc_found_get_kind (mode_t mode);

/* Fills in a failure: "cannot open NAME: " and the system's words for the errno. */
void fsc_found_system_error (FscFound *found, const char *name, int error);

/* Fills in a failure of another kind: "cannot open NAME: PHRASE". */
void fsc_found_fail (FscFound *found, FscCode code, int error, const char *name,
                     const char *phrase);
