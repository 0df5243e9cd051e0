/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The client: what its modules share.
 *
 * LOCKING. One mutex guards all of it. It is held for no system call that waits: not while a thread
 * receives, reopens or opens a file, closes descriptors that arrived, or runs a callback.
 *
 * READING. Answers come in any order on one socket, so one of the threads that wait receives for
 * all (wait.c): it puts each answer where it belongs and wakes its owner, and when its own has come
 * it makes another one the reader. A thread that is alone therefore sends, receives, and does
 * nothing else.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "libclient/borrow.h"
#include "libclient/call.h"
#include "libclient/connection.h"
#include "libclient/fscache.h"
#include "libclient/poller.h"
#include "libclient/watch.h"

#define FSC_CLIENT_PATHS_MAX 2

/* A message that found the socket's buffer full. */
typedef struct FscParcel
{
  STAILQ_ENTRY (FscParcel) next;
  size_t length;
  uint8_t bytes[];
} FscParcel;

/* What link.c knows of the service. Times are those of CLOCK_MONOTONIC in nanoseconds. */
typedef struct
{
  FscConnection *connection; /* NULL: there is none */
  uint64_t generation;       /* of the last connection */
  int64_t next_attempt;      /* not before */
  int64_t grace_until;       /* until then, requests wait for the service to come back */
  bool had_grace;            /* it has not been there since the last grace began */
  int64_t welcome_until;     /* by then, WELCOME must have come */
  int64_t pause;             /* between the last attempts */
  int64_t look_interval;     /* between looks whether a service that owes answers is silent */
  int64_t next_look;         /* FSC_NEVER: none is needed, or the thread that receives sees to it */
  unsigned n_quiet;          /* looks in a row since the last packet */
  FscTrouble trouble;        /* why there is none */
} FscLink;

struct FscacheClient
{
  pthread_mutex_t lock;
  FscBorrows *borrows; /* atomic; NULL until something is borrowed */
  unsigned options;
  char *paths[FSC_CLIENT_PATHS_MAX]; /* where the service may be; the first that exists counts */
  volatile uint32_t *fork_mark;      /* zero in a child of fork(); NULL: compare `pid` */
  pid_t pid;
  bool is_closing;
  bool never_reopens;  /* descriptors cannot be reopened in this process, or must not */
  FscClientUser *user; /* whom it speaks for; NULL: itself */

  FscLink link;
  FscPoller poller;

  struct FscCallList calls, unsent, due, waiting;
  size_t n_due;
  uint64_t last_id;
  int64_t async_deadline; /* of calls with a callback; none is earlier */
  FscSlots slots;
  FscWatchings watchings;

  STAILQ_HEAD (FscParcelList, FscParcel) parcels;
  bool is_full;    /* the socket's buffer was, and nobody has tried since */
  bool has_reader; /* a thread is receiving, or about to */

  uint8_t *send_buffer, *receive_buffer; /* FSC_PACKET_MAX each; the latter is the reader's */
  FscResult results[FSC_ITEMS_MAX];      /* of the packet that is being read */
};

/* Every public call begins here: takes the lock, and in a child of fork() lets go of what is the
 * parent's. */
void fsc_client_lock (FscacheClient *client);
void fsc_client_unlock (FscacheClient *client);

/* Whether this is a child of fork() that has not made any call yet; needs no lock. */
bool fsc_client_is_forked (const FscacheClient *client);

int64_t fsc_client_get_time (void);
