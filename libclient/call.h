/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Calls: what was asked of the client and not finished yet. A call is a batch of resources to open,
 * or one other request to the service; a thread waits for it, or it has a callback. Here is what is
 * true of a call at each moment; that it is sent, answered and waited for is done elsewhere.
 */
#pragma once

#include <pthread.h>
#include <sys/queue.h>

#include "libclient/fscache.h"
#include "protocol/codec.h"

#define FSC_NEVER INT64_MAX
#define FSC_MILLISECOND INT64_C (1000000)

typedef struct FscCall FscCall;

/* The raw answer to one opening: what has come, before anything is reopened or opened locally. */
typedef struct
{
  FscacheCode code;
  int error; /* errno, positive */
  int fd;    /* owned; -1 if none */
  FscacheSharing sharing;
  FscacheSource source;
  FscacheCoherence coherence;
  FscacheKind kind;
  uint32_t age_ms;
  uint64_t lease;
  uint64_t generation;     /* of the connection, for the lease or the name */
  uint64_t name;           /* of slot and generation in its table; 0 if it may not be kept */
  uint32_t lifetime_ms;    /* for how long it may be kept at most; 0: until the generation ends */
  FscacheContent *content; /* owned; NULL: not known */
  bool is_local;           /* none of the above: whoever finishes this opens the file itself */
  bool is_phrase;          /* `text` is only the reason, to be put into a sentence */
  char *text;              /* owned; NULL if there is none */
} FscAnswer;

/* One resource of a call. The life of an opening, and who may touch it:
 *
 *   QUEUED    it is to be sent                           \ whoever has the client's lock
 *   SENT      it is in the packet of its slot            /
 *   ANSWERED  `answer` is set, or never needed sending   the thread that finishes the call
 *   FINISHED  the reply is made
 *
 * An answered one goes back to QUEUED only if it must be asked in another way; one that was sent
 * does when the connection is lost. */
typedef enum
{
  FSC_OPENING_QUEUED,
  FSC_OPENING_SENT,
  FSC_OPENING_ANSWERED,
  FSC_OPENING_FINISHED,
} FscOpeningState;

typedef struct
{
  /* What is asked; constant. */
  FscBytes uri; /* canonical, a zero byte after it, in memory of the call's owner */
  uint32_t flags, mode, umask, max_age_ms, timeout_ms;
  FscacheSharing sharing;
  bool is_file;
  bool is_relative;    /* `uri` is a path that cannot be told to the service: local only */
  bool may_fall_back;  /* to open() in this process */
  bool is_taken;       /* it is to be forgotten with this */
  bool is_revalidated; /* even within a time-to-live */
  bool happens_once;   /* repeating it might do something else */
  bool reopens;        /* independent: reopen a duplicate in this process */
  int64_t deadline;    /* FSC_NEVER if none */
  bool has_digest;
  uint8_t digest[FSC_DIGEST_SIZE];
  FscacheProgressFunc progress; /* or NULL */
  void *progress_data;
  const FscacheCancel *cancel;

  FscOpeningState state;
  uint32_t slot;           /* while SENT */
  unsigned losses, faults; /* how many connections were lost meanwhile, or garbled */
  uint32_t next_answered;
  bool has_news; /* of these two, while SENT: */
  uint64_t done, total;
  FscAnswer answer;
} FscOpening;

#define FSC_CLIENT_NO_INDEX UINT32_MAX

typedef enum
{
  FSC_CALL_OPEN,   /* sends what its openings say */
  FSC_CALL_PACKET, /* sends `packet`; one opening stands for it */
  FSC_CALL_NOTHING /* sends nothing: its one opening is answered when there is a service */
} FscCallKind;

struct FscCall
{
  TAILQ_ENTRY (FscCall) in_calls;   /* all of the client's */
  TAILQ_ENTRY (FscCall) in_unsent;  /* while n_queued > 0 */
  TAILQ_ENTRY (FscCall) in_due;     /* with a callback: while there are answers, or news */
  TAILQ_ENTRY (FscCall) in_waiting; /* without: while its thread waits for `condition` */

  FscCallKind kind;
  const char *verb; /* for sentences: "open" */
  uint64_t id;
  FscacheCallback callback; /* NULL: a thread waits for it */
  void *data;

  FscOpening *openings;
  size_t n;
  size_t n_queued, n_open /* not answered */, n_finished;
  size_t scan;      /* no opening before this is QUEUED */
  int64_t deadline; /* none of the openings' is earlier */

  uint32_t first_answered, last_answered; /* with a callback: a list by next_answered */
  bool is_due, is_delivering, is_cancelled;
  bool has_news; /* an opening may have */

  bool has_condition, is_waiting;
  pthread_cond_t condition;

  /* FSC_CALL_PACKET */
  int give_fd; /* borrowed: what is to be put, when the service says where to send it; or -1 */
  uint8_t *packet;
  size_t packet_length;
  FscOpcode expected;
  uint8_t *result; /* owned; the packet that answered it */
  size_t result_length;
};

TAILQ_HEAD (FscCallList, FscCall);

/* Which openings a packet that was sent holds: `n` from `first` on. The serial is the slot's number
 * and a count of its uses, so that finding it is one array access and a late answer is known as
 * such. */
typedef struct
{
  FscCall *call; /* NULL: the slot is free */
  uint32_t serial;
  uint32_t first; /* of a free slot: the next free one */
  uint16_t n, n_open;
} FscSlot;

#define FSC_CLIENT_SLOTS_INLINE 16

typedef struct
{
  FscSlot *slots;
  uint32_t n, first_free;
  uint32_t n_sent;                      /* openings in all of them that are not answered */
  FscSlot few[FSC_CLIENT_SLOTS_INLINE]; /* so that the first ones need no memory */
} FscSlots;

void fsc_client_slots_init (FscSlots *slots);
void fsc_client_slots_clear (FscSlots *slots);

/* NULL if all are in use and there cannot be more: then wait for an answer. */
FscSlot *fsc_client_slots_take (FscSlots *slots);
FscSlot *fsc_client_slots_find (FscSlots *slots, uint32_t serial);
void fsc_client_slots_free (FscSlots *slots, FscSlot *slot);

/* Prepares a call over `n` openings of the caller's, which are set to zero. */
void fsc_client_call_init (FscCall *call, FscOpening *openings, size_t n, const char *verb);

/* Frees what the call owns: answers that nobody has taken, and the condition. */
void fsc_client_call_clear (FscCall *call);

/* Sets the answer of an opening to a failure. `text` may be NULL and is copied. */
void fsc_client_answer_fail (FscAnswer *answer, FscacheCode code, int error, FscBytes text);

/* Takes in what a result says of content; of what another process holds, the service cannot know
 * whether it is sealed. */
void fsc_client_answer_set_content (FscAnswer *answer, const FscResult *result);

/* Ends an answer: closes and frees what it owns. */
void fsc_client_answer_clear (FscAnswer *answer);

/* All of the following are called with the client's lock. */

/* Puts a call among the client's; its openings that are not answered yet are queued. */
void fsc_client_call_add (FscacheClient *client, FscCall *call);
void fsc_client_call_remove (FscacheClient *client, FscCall *call);

/* Queues an opening again: it was sent in vain, or must be asked in another way. */
void fsc_client_call_queue (FscacheClient *client, FscCall *call, size_t index);

/* The opening is in this slot's packet. */
void fsc_client_call_sent (FscacheClient *client, FscCall *call, size_t index, uint32_t slot);

/* The opening has come so far: whoever waits for it is to tell. */
void fsc_client_call_progress (FscacheClient *client, FscCall *call, size_t index,
                               const FscProgress *progress);

/* Tells all news there are of a call: lets go of the lock meanwhile. */
void fsc_client_call_tell (FscacheClient *client, FscCall *call);

/* The opening's answer is set: takes it out of the queue, or out of its slot, which is freed with
 * its last one, and tells whoever is to finish it. Returns the serial if the packet is not wanted
 * any more although this was not the service's answer (0 otherwise): to be cancelled there. */
uint32_t fsc_client_call_answered (FscacheClient *client, FscCall *call, size_t index);
