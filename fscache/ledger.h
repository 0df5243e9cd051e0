/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The ledger: which client was given what. It says nothing of what a client still has: a duplicate
 * is the client's own, and nobody is told when it is closed. But who finds a mount busy has to know
 * whom to ask.
 *
 * A client has an account, with one record (a gift) for each resource on each mount that it was
 * given a handle of. A label is the name of a resource, made for an entry and shared by the records
 * of what was given from it, so that they outlive the entry. There may be several of one name, one
 * after the other; a record has that of the last time. To note a hit costs a few nanoseconds: the
 * label knows the record of the client that was given it last.
 *
 * It is bounded. A client has at most FSC_GIFTS_MAX records, all clients together FSC_GIFTS_TOTAL
 * and a few for each; who comes to one of these bounds forgets the half that is oldest, and how
 * many handles that were is still known. What is lent is not forgotten.
 */
#pragma once

#include <glib.h>

#include "protocol/codec.h"

#define FSC_GIFTS_MAX 4096
#define FSC_GIFTS_TOTAL 262144
#define FSC_GIFTS_FEW 16 /* that each client may have, however many the others do */

typedef struct FscLedger FscLedger;
typedef struct FscLabel FscLabel;
typedef struct FscAccount FscAccount;

typedef struct
{
  FscLabel *label; /* not NULL; a reference */
  FscAccount *account;
  guint32 mount_id;
  guint64 given[FSC_SHARING_LAST + 1]; /* by what was asked for */
  guint64 lent;                        /* leases that have not ended */
  gint64 first, last;                  /* when; monotonic, in microseconds */
} FscGift;

/* One client's; lives in its connection. */
struct FscAccount
{
  FscLedger *ledger;
  GPtrArray *gifts;    /* of FscGift, the older ones first */
  FscGift **table;     /* the same by name and mount; NULL: none */
  guint table_size;    /* 0 or a power of two */
  guint kept;          /* gifts that were left when some were forgotten */
  guint64 forgotten;   /* handles of which there is no record any more */
  gint64 forgotten_at; /* when the last of these was given */
};

struct FscLabel
{
  FscGift *recent; /* of whoever was given it last, or NULL; it has this label */
  guint n_refs;
  guint32 hash;
  guint16 uri_length;
  char uri[]; /* canonical, with a zero byte at its end */
};

FscLabel *fsc_label_new (FscBytes uri);
FscLabel *fsc_label_ref (FscLabel *label);
FscBytes fsc_label_get_uri (const FscLabel *label);
void fsc_label_unref (FscLabel *label);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscLabel, fsc_label_unref)

FscLedger *fsc_ledger_new (void);

/* All accounts must be clear. */
void fsc_ledger_free (FscLedger *ledger);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscLedger, fsc_ledger_free)

/* How many records all clients have. */
guint fsc_ledger_get_n_gifts (const FscLedger *ledger);

void fsc_account_init (FscAccount *account, FscLedger *ledger);
void fsc_account_clear (FscAccount *account);

/* The client was given a handle of what lies on this mount. The record is valid until the next
 * call, or, if it `is_lent`, until that has ended. */
FscGift *fsc_account_note (FscAccount *account, FscLabel *label, guint32 mount_id, FscSharing asked,
                           gboolean is_lent, gint64 time);

/* A lease has ended, and with it the client's handle. */
void fsc_gift_end_lease (FscGift *gift);

/* How many handles the client was given, and may still have: those that were lent and given back
 * are not among them. */
guint64 fsc_gift_count (const FscGift *gift);
