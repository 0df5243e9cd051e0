/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The wire protocol of fscache, in C: versions, limits, message numbers, layouts, the number of
 * descriptors that each message carries, and the error codes. PROTOCOL.md says the same in words;
 * this file is the one definition that the code uses, and it has no code of its own.
 *
 * One packet of an AF_UNIX SOCK_SEQPACKET socket is one message: a header of 16 bytes, a body of
 * `length` bytes, and exactly `n_fds` descriptors. All integers are little-endian. Variable parts
 * (URIs, texts, validators) follow the fixed part of their record and are padded with zero bytes to
 * a multiple of 4.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define FSC_PROTOCOL_MAGIC UINT32_C (0x43435346) /* the bytes "FSCC" */
#define FSC_PROTOCOL_LOWEST 1
#define FSC_PROTOCOL_HIGHEST 1

/* Limits. A packet that exceeds one is malformed. */
#define FSC_PACKET_MAX 65536    /* header and body, in bytes */
#define FSC_FDS_MAX 253         /* descriptors in one packet: the kernel's SCM_MAX_FD */
#define FSC_ITEMS_MAX 253       /* items of one OPEN */
#define FSC_UNANSWERED_MAX 4096 /* items: with more to answer, a service need not read on */
#define FSC_URI_MAX 12304       /* bytes of a URI: "file://" and 4,096 escaped bytes, with room */
#define FSC_NAME_MAX 64         /* bytes of a client's name */
#define FSC_TEXT_MAX 512        /* bytes of an error sentence */
#define FSC_VALIDATOR_MAX 255   /* bytes of a validator */
#define FSC_DIGEST_SIZE 32      /* bytes of a SHA-256 */
#define FSC_STEPS_MAX 256       /* steps of a way, symlinks and all */
#define FSC_STEP_NAME_MAX 255
#define FSC_RESUME_MAX 64   /* bytes of what an opener has said of how far it has come */
#define FSC_GROUPS_MAX 4096 /* supplementary groups of a user that somebody speaks for */

typedef enum
{
  FSC_OP_HELLO = 1, /* first packet of a connection; carries an O_PATH descriptor of "/" or none */
  FSC_OP_WELCOME = 2,   /* answer to HELLO */
  FSC_OP_ERROR = 3,     /* the request `serial` was refused as a whole */
  FSC_OP_DONE = 4,      /* the request `serial` was carried out */
  FSC_OP_OPEN = 5,      /* a batch of resources to open */
  FSC_OP_OPENED = 6,    /* some results of an OPEN, with their descriptors */
  FSC_OP_GIVE_BACK = 7, /* leases (or held handles) that are not needed any more; no answer */
  FSC_OP_CANCEL = 8,    /* what is open of a request is not wanted any more; no answer of its own */
  FSC_OP_DROP = 9,      /* forget entries; answered by DONE */
  FSC_OP_PIN = 10,      /* pin or unpin an entry; answered by DONE */
  FSC_OP_INFO = 11,     /* the entries of one URI; answered by ENTRIES */
  FSC_OP_LIST = 12,     /* a page of all entries; answered by ENTRIES */
  FSC_OP_ENTRIES = 13,
  FSC_OP_STATUS = 14, /* counters; answered by COUNTERS */
  FSC_OP_COUNTERS = 15,
  FSC_OP_PING = 16,    /* answered by DONE */
  FSC_OP_HAND = 17,    /* service to holder: send this packet, with held handles, to this socket */
  FSC_OP_WATCHED = 18, /* opener only, before the OPENED: the way that it has made watched */
  FSC_OP_HOLDERS = 19, /* a page of which client was given what; answered by HOLDINGS */
  FSC_OP_HOLDINGS = 20,
  FSC_OP_SET = 21,     /* change a limit, or ask for all; answered by COUNTERS: the limits */
  FSC_OP_WATCH = 22,   /* tell of what opening this resource would give, and of each change of it */
  FSC_OP_UNWATCH = 23, /* not any more; answered by DONE */
  FSC_OP_EVENT = 24,   /* what opening the resource of the WATCH `serial` gives from now on */
  FSC_OP_SPEAK_FOR = 25, /* first request: this connection is another user's; answered by WELCOME */
  FSC_OP_PROGRESS = 26,  /* how far the opening of an item of the OPEN `serial` has come */
  FSC_OP_PUT = 27,       /* keep a descriptor under a name; answered by GIVE, and then by DONE */
  FSC_OP_RECEIVE = 28,   /* service to holder: a descriptor comes over this socket; keep it */
  FSC_OP_GIVE = 29,      /* the socket for the PUT `serial`; and what is to be sent over it */
  FSC_OP_LAST = FSC_OP_GIVE
} FscOpcode;

/* Why a request or an item failed. The errno that goes with it says it in the system's terms. */
typedef enum
{
  FSC_CODE_OK = 0,
  FSC_CODE_SYSTEM = 1,           /* the answer of open(): errno is what it returned */
  FSC_CODE_UNCHANGED = 2,        /* opener only: the resource still has the validator */
  FSC_CODE_BAD_URI = 3,          /* not a URI, or not one of its scheme (EINVAL) */
  FSC_CODE_BAD_REQUEST = 4,      /* flags or a sharing mode that do not go together (EINVAL) */
  FSC_CODE_UNKNOWN_SCHEME = 5,   /* no provider for it (EPROTONOSUPPORT) */
  FSC_CODE_NOT_SERVED = 6,       /* the path means something else to each process, lies in another
                                    mount namespace, or opening it would wait: open it yourself (EXDEV) */
  FSC_CODE_NOT_REOPENABLE = 7,   /* it can be had shared or exclusive only (EOPNOTSUPP) */
  FSC_CODE_LIMIT = 8,            /* a limit is reached; the text names it (errno as fits) */
  FSC_CODE_TIMED_OUT = 9,        /* the deadline has passed (ETIMEDOUT) */
  FSC_CODE_OPENER_FAILED = 10,   /* the opener crashed or answered nonsense (EIO) */
  FSC_CODE_CANCELLED = 11,       /* by CANCEL (ECANCELED) */
  FSC_CODE_NOT_CACHED = 12,      /* no such entry (ENOENT) */
  FSC_CODE_VERSION = 13,         /* no protocol version in common (EPROTONOSUPPORT) */
  FSC_CODE_REFUSED = 14,         /* this service does not serve this user (EACCES) */
  FSC_CODE_LEADS_ELSEWHERE = 15, /* opener only: the way leaves the item's mount; the text is the
                                    URI of where it goes on */
  FSC_CODE_OTHER_CONTENT = 16,   /* its digest is not the one that was asked for (EBADMSG) */
  FSC_CODE_UNAVAILABLE = 17,     /* its source cannot be reached, or cannot answer now (errno as
                                    fits) */
  FSC_CODE_LAST = FSC_CODE_UNAVAILABLE
} FscCode;

typedef enum
{
  FSC_SHARING_INDEPENDENT = 0, /* an open file description of the caller's own */
  FSC_SHARING_SHARED = 1,      /* a duplicate: offset, flags and locks are shared */
  FSC_SHARING_EXCLUSIVE = 2,   /* lent to one client until it gives it back or goes away */
  FSC_SHARING_LAST = FSC_SHARING_EXCLUSIVE
} FscSharing;

#define FSC_GIVE_BACK_SPENT (1u << 0) /* from a client: not to be lent to anybody again */
#define FSC_GIVE_BACK_TAKEN (1u << 1) /* from a client, and not both: it has what it is to TAKE */

/* Options of an item. */
#define FSC_OPTION_REOPENS (1u << 0)    /* independent: "send me a duplicate, I reopen it myself" */
#define FSC_OPTION_REVALIDATE (1u << 1) /* check at the source even within a time-to-live */
#define FSC_OPTION_WATCH (1u << 2)      /* service to opener: make the way watched, then check */
#define FSC_OPTION_DIGEST (1u << 3)   /* the validator is the SHA-256 that the content must have */
#define FSC_OPTION_PROGRESS (1u << 4) /* tell how far it has come, while it takes long */
#define FSC_OPTION_CONTENT (1u << 5)  /* service to opener: check what the file has in it */
#define FSC_OPTION_TAKE (1u << 6)     /* of what was put: lend it to me, until I say TAKEN */
#define FSC_OPTIONS_ALL                                                                            \
  (FSC_OPTION_REOPENS | FSC_OPTION_REVALIDATE | FSC_OPTION_WATCH | FSC_OPTION_DIGEST               \
   | FSC_OPTION_PROGRESS | FSC_OPTION_CONTENT | FSC_OPTION_TAKE)
#define FSC_OPTIONS_OF_SERVICE (FSC_OPTION_WATCH | FSC_OPTION_CONTENT) /* never from a client */

/* What a PUT does if its name is in use. */
typedef enum
{
  FSC_PUT_NEW = 0,      /* it fails (EEXIST) */
  FSC_PUT_REPLACE = 1,  /* what was put before is forgotten */
  FSC_PUT_EXCHANGE = 2, /* the same if that is what is expected; if not, or there is nothing, it
                           fails (ESTALE) */
  FSC_PUT_LAST = FSC_PUT_EXCHANGE
} FscPutMode;

/* Where the handle of a result came from. */
typedef enum
{
  FSC_SOURCE_NONE = 0,   /* no handle: the item failed */
  FSC_SOURCE_CACHE = 1,  /* it was open already (a hit) */
  FSC_SOURCE_OPENED = 2, /* opened for this request, or for one that it waited with; now kept */
  FSC_SOURCE_PASSED = 3, /* opened for this request alone, not kept */
  FSC_SOURCE_LAST = FSC_SOURCE_PASSED
} FscSource;

/* How the cache knows that an entry still is what open() would give. */
typedef enum
{
  FSC_COHERENCE_UNCACHED = 0, /* not kept: each request opens */
  FSC_COHERENCE_CHECKED = 1,  /* each request is checked at the source */
  FSC_COHERENCE_TTL = 2,      /* checked when older than a time-to-live */
  FSC_COHERENCE_WATCHED = 3,  /* whatever happens to its path is known before the next request */
  FSC_COHERENCE_LAST = FSC_COHERENCE_WATCHED
} FscCoherence;

/* What a handle is, in the terms of stat(2). */
typedef enum
{
  FSC_KIND_UNKNOWN = 0,
  FSC_KIND_REGULAR = 1,
  FSC_KIND_DIRECTORY = 2,
  FSC_KIND_SYMLINK = 3, /* path-only */
  FSC_KIND_FIFO = 4,    /* path-only */
  FSC_KIND_SOCKET = 5,
  FSC_KIND_CHARACTER = 6,
  FSC_KIND_BLOCK = 7,
  FSC_KIND_LAST = FSC_KIND_BLOCK
} FscKind;

/* Why there is an EVENT: what has happened to the resource, as far as the service can tell. */
typedef enum
{
  FSC_REASON_INITIAL = 0,    /* the answer to WATCH */
  FSC_REASON_REPLACED = 1,   /* another one has its name */
  FSC_REASON_CREATED = 2,    /* there was none */
  FSC_REASON_DELETED = 3,    /* there is none any more */
  FSC_REASON_PERMISSION = 4, /* this user may not open it any more, or may now */
  FSC_REASON_UNMOUNTED = 5,  /* something was mounted or unmounted on its way */
  FSC_REASON_DROPPED = 6,    /* the service was told to let go of it */
  FSC_REASON_EVICTED = 7,    /* the service could not keep it */
  FSC_REASON_FAILED = 8,     /* opening it fails for another reason */
  FSC_REASON_LAST = FSC_REASON_FAILED
} FscReason;

/* Layouts. In memory these have the byte order of the wire: only codec.c reads and writes them. */

typedef struct
{
  uint16_t opcode;
  uint16_t flags; /* none is defined: 0 */
  uint32_t serial;
  uint32_t length; /* of the body */
  uint16_t n_fds;
  uint16_t zero;
} FscWireHeader;

typedef struct
{
  uint32_t magic;
  uint16_t lowest;
  uint16_t highest;
  uint32_t features; /* FSC_FEATURE_*; unknown bits are ignored */
  uint16_t name_length;
  uint16_t zero;
  /* name */
} FscWireHello;

/* What the client would like; of that, what is in force. */
#define FSC_FEATURE_GENERATIONS (1u << 0) /* WELCOME has the table, results name slots in it */
#define FSC_FEATURE_EVENTS (1u << 1)      /* WATCH, UNWATCH and EVENT */
#define FSC_FEATURE_SPEAKING (1u << 2)    /* SPEAK_FOR */
#define FSC_FEATURE_CONTENT (1u << 3)     /* results and entries tell of content; DIGEST */
#define FSC_FEATURE_PROGRESS (1u << 4)    /* PROGRESS, the option and the message */
#define FSC_FEATURE_ENTRY_GENERATIONS (1u << 5) /* entries tell their generation */
#define FSC_FEATURE_PUTTING (1u << 6)           /* PUT and GIVE; TAKE */

#define FSC_SERVES_PATHS (1u << 0) /* file: and the like: the client sees the same file tree */

typedef struct
{
  uint16_t version;
  uint16_t zero;
  uint32_t features;
  uint32_t serves;
  uint32_t packet_max;
  uint16_t items_max;
  uint16_t name_length;
  /* name and version of the service */
} FscWireWelcome;

typedef struct
{
  uint16_t code;
  uint16_t text_length;
  uint32_t error; /* errno */
  /* text */
} FscWireError;

typedef struct
{
  uint64_t count; /* how many entries it was carried out on */
} FscWireDone;

typedef struct
{
  uint32_t n_items;
  /* items */
} FscWireOpen;

typedef struct
{
  uint32_t flags;        /* O_* of open(2) on this machine */
  uint32_t mode;         /* of a file that O_CREAT makes */
  uint32_t umask;        /* of the client, for O_CREAT */
  uint8_t options;       /* FSC_OPTION_* */
  uint8_t resume_length; /* only service to opener: go on where LEADS_ELSEWHERE has left off */
  uint16_t mount_length; /* only service to opener: so many bytes of the path are the mount point of
                            the mount that must not be left; 0: any may be entered */
  uint32_t max_age_ms;   /* an answer as old as this will do without a check */
  uint16_t uri_length;
  uint8_t sharing;
  uint8_t validator_length; /* service to opener: answer UNCHANGED if it still holds; from a client
                               only with FSC_OPTION_DIGEST */
  /* uri, validator; resume */
} FscWireItem;

typedef struct
{
  uint32_t n_results;
  /* results */
} FscWireOpened;

/* Of a result. */
#define FSC_RESULT_FD (1u << 0)      /* the next of the packet's descriptors belongs to it */
#define FSC_RESULT_CONTENT (1u << 1) /* what it is of is known, and does not change */
#define FSC_RESULT_SEALED (1u << 2)  /* to a client: the kernel sees to it that it does not */
#define FSC_RESULT_TTL (1u << 3)     /* from an opener: it says how long the answer holds */
#define FSC_RESULT_ALL (FSC_RESULT_FD | FSC_RESULT_CONTENT | FSC_RESULT_SEALED | FSC_RESULT_TTL)

typedef struct
{
  uint16_t index; /* of the item in the OPEN */
  uint16_t code;
  uint32_t error;
  uint64_t id;       /* to a client: the lease of an exclusive handle; of any other, with
                        FSC_FEATURE_GENERATIONS, slot + 1 in the upper and generation in the lower
                        half; from an opener: the name under which it holds the handle; else 0 */
  uint32_t age_ms;   /* since the answer was last known to be that of the source; from an opener,
                        with FSC_RESULT_TTL: for how long it will be */
  uint32_t mount_id; /* from an opener: the mount that the resource lies on; to a client, if `id`
                        names a slot: how many milliseconds the handle may be kept, 0 if not limited
                        by time; else 0 */
  uint8_t has;       /* FSC_RESULT_* */
  uint8_t sharing;
  uint8_t source;
  uint8_t coherence;
  uint8_t kind;
  uint8_t validator_length; /* from an opener; with LEADS_ELSEWHERE: what to resume with; to a
                               client only with FSC_RESULT_CONTENT */
  uint16_t text_length;
  /* content; text, validator */
} FscWireResult;

typedef struct
{
  uint64_t size;
  uint8_t digest[FSC_DIGEST_SIZE]; /* SHA-256 */
} FscWireContent;

typedef struct
{
  uint16_t index; /* of the item in the OPEN */
  uint16_t zero;
  uint32_t zero2;
  uint64_t done;   /* bytes of what is to be done */
  uint64_t total;  /* 0: not known */
  uint64_t memory; /* from an opener: bytes that what it makes takes by now; else 0 */
} FscWireProgress;

typedef struct
{
  uint16_t index; /* of the item in the OPEN */
  uint16_t n_steps;
  /* steps */
} FscWireWatched;

typedef struct
{
  uint32_t wd; /* watch descriptor */
  uint16_t name_length;
  uint16_t zero;
  /* name */
} FscWireStep;

typedef struct
{
  uint32_t n_ids;
  uint32_t flags; /* FSC_GIVE_BACK_* */
  /* ids: 64 bits each */
} FscWireGiveBack;

typedef struct
{
  uint32_t uid;
  uint32_t gid;
  uint32_t n_groups;
  uint32_t zero;
  /* groups: 32 bits each */
} FscWireSpeakFor;

typedef struct
{
  uint32_t serial;
} FscWireCancel; /* CANCEL, UNWATCH */

typedef struct
{
  uint16_t reason;
  uint16_t zero;
  uint32_t n_coalesced; /* EVENTs that this one stands for as well */
  /* a result */
} FscWireEvent;

#define FSC_MATCH_URI 0     /* exactly this URI */
#define FSC_MATCH_PATTERN 1 /* a glob over canonical URIs: * and ? match any bytes, also '/' */
#define FSC_MATCH_MOUNT 2   /* what lies on the mount at this URI; DROP and HOLDERS only */
#define FSC_MATCH_MOUNTS 3  /* the same, and on those mounted below it */

typedef struct
{
  uint8_t match;
  uint8_t pinned; /* PIN only: 1 pins, 0 unpins */
  uint16_t uri_length;
  /* uri or pattern */
} FscWireTarget; /* DROP, PIN, INFO */

typedef struct
{
  uint64_t cursor; /* 0 for the first page, then `next` of the page before */
  uint8_t match;
  uint8_t zero;
  uint16_t uri_length;
  uint32_t zero2;
  /* pattern; empty for all */
} FscWireList; /* LIST, HOLDERS */

typedef struct
{
  uint64_t next; /* cursor of the next page, 0 if this is the last */
  uint32_t n_entries;
  uint32_t zero;
  /* entries */
} FscWireEntries;

#define FSC_ENTRY_PINNED (1u << 0)
#define FSC_ENTRY_HELD (1u << 1)     /* the handle stays with its opener */
#define FSC_ENTRY_LENT (1u << 2)     /* exclusive, and with a client now */
#define FSC_ENTRY_NEGATIVE (1u << 3) /* no handle: it stands for what is not there */
#define FSC_ENTRY_CONTENT (1u << 4)  /* with FSC_FEATURE_CONTENT: as FSC_RESULT_CONTENT */
#define FSC_ENTRY_SEALED (1u << 5)
#define FSC_ENTRY_GENERATION (1u << 6) /* with FSC_FEATURE_ENTRY_GENERATIONS: it follows */

typedef struct
{
  uint64_t hits;
  uint64_t age_ms;     /* since it was opened */
  uint64_t idle_ms;    /* since it was last given */
  uint32_t checked_ms; /* since it was last known to be that of the source */
  uint32_t ttl_ms;
  uint32_t cost_us; /* what opening it took */
  uint32_t flags;   /* of the open: O_PATH, O_DIRECTORY, O_NOFOLLOW or none */
  uint32_t state;   /* FSC_ENTRY_* */
  uint32_t mount_id;
  uint8_t kind;
  uint8_t coherence;
  uint8_t sharing; /* exclusive handles are entries of their own */
  uint8_t zero;
  uint16_t uri_length;
  uint16_t zero2;
  /* generation: 64 bits, as `id` of a result; content; uri */
} FscWireEntry;

typedef struct
{
  uint32_t n_counters;
  uint32_t zero;
  /* counters */
} FscWireCounters;

typedef struct
{
  uint64_t value;
  uint16_t name_length;
  uint16_t zero;
  uint32_t zero2;
  /* name */
} FscWireCounter; /* of COUNTERS; and SET: one of them, its name empty to change nothing */

typedef struct
{
  uint64_t next; /* as in ENTRIES */
  uint32_t n_holdings;
  uint32_t zero;
  /* holdings */
} FscWireHoldings;

/* What one client was given of one resource. */
typedef struct
{
  uint64_t client;   /* the number of its connection */
  uint64_t given;    /* how many handles */
  uint64_t first_ms; /* since the first of them was given */
  uint64_t last_ms;  /* since the last was */
  uint32_t pid;
  uint32_t uid;
  uint32_t lent; /* of exclusive ones: leases that have not ended */
  uint32_t mount_id;
  uint8_t sharing;
  uint8_t name_length;
  uint16_t uri_length; /* 0: all of which there is no record any more */
  uint32_t zero;
  /* uri, name of the client */
} FscWireHolding;

typedef struct
{
  uint32_t flags; /* none is defined: 0 */
  uint16_t n_ids;
  uint16_t zero;
  uint32_t packet_length;
  uint32_t zero2;
  /* ids: 64 bits each; packet */
} FscWireHand;

typedef struct
{
  uint64_t expected; /* FSC_PUT_EXCHANGE: slot and generation, as in a result; else 0 */
  uint32_t ttl_ms;   /* forgotten after this time; 0: not by time */
  uint8_t mode;      /* FscPutMode */
  uint8_t zero;
  uint16_t uri_length;
  /* uri */
} FscWirePut;

typedef struct
{
  uint32_t timeout_ms; /* give up if nothing has come by then */
  uint32_t zero;
} FscWireReceive;

static_assert (sizeof (FscWireHeader) == 16, "header");
static_assert (sizeof (FscWireHello) == 16, "HELLO");
static_assert (sizeof (FscWireWelcome) == 20, "WELCOME");
static_assert (sizeof (FscWireError) == 8, "ERROR");
static_assert (sizeof (FscWireDone) == 8, "DONE");
static_assert (sizeof (FscWireItem) == 24, "item of OPEN");
static_assert (sizeof (FscWireResult) == 32, "result of OPENED");
static_assert (sizeof (FscWireContent) == 40, "content");
static_assert (sizeof (FscWireProgress) == 32, "PROGRESS");
static_assert (sizeof (FscWireWatched) == 4, "WATCHED");
static_assert (sizeof (FscWireStep) == 8, "step of WATCHED");
static_assert (sizeof (FscWireGiveBack) == 8, "GIVE_BACK");
static_assert (sizeof (FscWireSpeakFor) == 16, "SPEAK_FOR");
static_assert (sizeof (FscWireCancel) == 4, "CANCEL");
static_assert (sizeof (FscWireEvent) == 8, "EVENT");
static_assert (sizeof (FscWireTarget) == 4, "DROP, PIN, INFO");
static_assert (sizeof (FscWireList) == 16, "LIST");
static_assert (sizeof (FscWireEntries) == 16, "ENTRIES");
static_assert (sizeof (FscWireEntry) == 56, "entry");
static_assert (sizeof (FscWireCounters) == 8, "COUNTERS");
static_assert (sizeof (FscWireCounter) == 16, "counter");
static_assert (sizeof (FscWireHoldings) == 16, "HOLDINGS");
static_assert (sizeof (FscWireHolding) == 56, "holding");
static_assert (sizeof (FscWireHand) == 16, "HAND");
static_assert (sizeof (FscWirePut) == 16, "PUT");
static_assert (sizeof (FscWireReceive) == 8, "RECEIVE");
