/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libfscache: handles of expensive-to-open resources, from a service that keeps them open.
 *
 *     FscacheClient *client;
 *     FscacheReply reply;
 *
 *     fscache_connect (NULL, 0, &client);
 *     int fd = fscache_open (client, "/srv/data/a.bin", O_RDONLY, &reply);
 *     if (fd < 0)
 *       fprintf (stderr, "%s\n", reply.message);
 *
 * RESOURCES are named by a URI ("file:///srv/data/a.bin") or by a path. A name that starts with a
 * scheme and a colon is a URI; anything else is a path, relative to the current directory of the
 * calling process if it does not start with '/'. (A file called "a:b" is "./a:b".)
 *
 * DESCRIPTORS that a call returns belong to the caller, are O_CLOEXEC, and are closed with
 * close(2).
 *
 * WITHOUT A SERVICE, or where the service cannot serve a path (the caller is in another mount
 * namespace; the path leads into procfs; it is a FIFO ...), the library opens the file itself, in
 * the calling process, with open(2); the reply says so (FSCACHE_SOURCE_LOCAL). FSCACHE_NO_FALLBACK
 * turns that off.
 *
 * A SERVICE THAT IS STARTED AGAIN is found again: requests in flight are repeated on the new
 * connection. Only an open that may not happen twice (O_CREAT with O_EXCL, or O_TRUNC) is not: it
 * fails with ECONNRESET if its answer was lost.
 *
 * A SERVICE THAT HANGS, or is stopped, counts as gone too. While it owes an answer and nothing at
 * all has come from it for 10 to 15 seconds, it is asked for a sign of life; if nothing comes for
 * another 10, the connection is given up, and all goes on as if the service had died. A request
 * that takes long is no such case: the service answers for itself at once. The 10 seconds can be
 * set in milliseconds, in the environment: FSCACHE_SILENCE_MS (it is read when a client is made).
 * For an event loop the times are in the descriptor of fscache_get_poll_fd(). A request with a
 * timeout ends with that, if it comes first.
 *
 * THREADS: all calls may be made on one client by several threads at once, except
 * fscache_disconnect(). Replies are the caller's own.
 *
 * FORK: a child does not share its parent's connection: the first call in the child makes a
 * connection of its own. Leases and submissions stay with the parent. If another thread may be
 * inside the library while one forks, the child must not use the client at all, and connect anew.
 *
 * ERRORS: calls that return int return a negative errno on failure; where there is a reply, it
 * holds the reason as a code, as an errno, and as a sentence.
 *
 * Everything here is there since 0.1 unless it says otherwise.
 */
#ifndef FSCACHE_H
#define FSCACHE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C"
{
#endif

  /* A connection to the service. */
  typedef struct FscacheClient FscacheClient;

  /* Who shares the open file description behind a descriptor: its offset, its status flags
   * (O_APPEND, O_NONBLOCK ...), and its flock() and OFD locks. */
  typedef enum
  {
    /* Nobody: read() and lseek() behave as after open(). What cannot be reopened (sockets, most
     * devices) is refused. */
    FSCACHE_INDEPENDENT = 0,
    /* Everybody who asked for it: use pread(), mmap(), fstat(), never read() or lseek(). The
     * fastest. Directories are refused. */
    FSCACHE_SHARED = 1,
    /* This client only, until it gives the lease back or disconnects. */
    FSCACHE_EXCLUSIVE = 2,
  } FscacheSharing;

  /* Where a handle came from. */
  typedef enum
  {
    FSCACHE_SOURCE_NONE = 0,   /* there is none: the request failed */
    FSCACHE_SOURCE_CACHE = 1,  /* the service had it open */
    FSCACHE_SOURCE_OPENED = 2, /* the service opened it, and keeps it */
    FSCACHE_SOURCE_PASSED = 3, /* the service opened it for this request, and does not keep it */
    FSCACHE_SOURCE_LOCAL = 4,  /* libfscache opened it in this process */
    FSCACHE_SOURCE_KEPT = 5,   /* libfscache had it: only of what is borrowed */
  } FscacheSource;

  /* How the service knows that a handle it kept still is what open() would give. */
  typedef enum
  {
    FSCACHE_COHERENCE_UNCACHED = 0, /* it is opened for each request */
    FSCACHE_COHERENCE_CHECKED = 1,  /* checked for each request */
    FSCACHE_COHERENCE_TTL = 2,      /* checked when the last check is older than a time-to-live */
    FSCACHE_COHERENCE_WATCHED = 3,  /* the kernel tells the service of all that may change it */
  } FscacheCoherence;

  /* What a handle is, in the terms of stat(2). */
  typedef enum
  {
    FSCACHE_KIND_UNKNOWN = 0,
    FSCACHE_KIND_REGULAR = 1,
    FSCACHE_KIND_DIRECTORY = 2,
    FSCACHE_KIND_SYMLINK = 3,
    FSCACHE_KIND_FIFO = 4,
    FSCACHE_KIND_SOCKET = 5,
    FSCACHE_KIND_CHARACTER = 6,
    FSCACHE_KIND_BLOCK = 7,
  } FscacheKind;

  /* Why a request failed. */
  typedef enum
  {
    FSCACHE_OK = 0,
    FSCACHE_ERROR_SYSTEM = 1,          /* open() failed: see the errno */
    FSCACHE_ERROR_BAD_URI = 3,         /* not a URI, or not one of its scheme */
    FSCACHE_ERROR_BAD_REQUEST = 4,     /* flags or a sharing mode that do not go together */
    FSCACHE_ERROR_UNKNOWN_SCHEME = 5,  /* no provider for it */
    FSCACHE_ERROR_NOT_SERVED = 6,      /* the service cannot serve this path to this process */
    FSCACHE_ERROR_NOT_REOPENABLE = 7,  /* it can only be had shared, or only FSCACHE_EXCLUSIVE */
    FSCACHE_ERROR_LIMIT = 8,           /* a limit of the service is reached; the message names it */
    FSCACHE_ERROR_TIMED_OUT = 9,       /* a deadline has passed, the service's or the caller's */
    FSCACHE_ERROR_OPENER_FAILED = 10,  /* the process that opens for the service failed */
    FSCACHE_ERROR_CANCELLED = 11,      /* cancelled, or by fscache_disconnect() or _drop_mount() */
    FSCACHE_ERROR_NOT_CACHED = 12,     /* there is no such entry */
    FSCACHE_ERROR_VERSION = 13,        /* library and service have no protocol version in common */
    FSCACHE_ERROR_REFUSED = 14,        /* the service does not serve this user */
    FSCACHE_ERROR_OTHER_CONTENT = 16,  /* it has not the digest that was asked for (EBADMSG) */
    FSCACHE_ERROR_UNAVAILABLE = 17,    /* its source cannot be reached, or cannot answer now */
    FSCACHE_ERROR_NO_SERVICE = 100,    /* it cannot be reached */
    FSCACHE_ERROR_NO_DESCRIPTOR = 101, /* this process has no free descriptor; may be tried again */
    FSCACHE_ERROR_PROTOCOL = 102,      /* the service's answer was malformed */
    FSCACHE_ERROR_NO_MEMORY = 103,
  } FscacheCode;

/* Options of a request, and of a client (for all its requests). */
#define FSCACHE_NO_FALLBACK (1u << 0) /* never open anything in this process */
#define FSCACHE_REVALIDATE (1u << 1)  /* check at the source even within a time-to-live */

/* Of a request alone: what was put (fscache_put()) is this process's from now on, and its name is
 * free: when the call returns, or, with fscache_submit(), some microseconds after the callback. Of
 * all who take it at once one gets it; the others are refused (EBUSY, then ENOENT). It is never
 * lost: if this process has no free descriptor, cannot reopen it, or dies before it has it, it is
 * there as before. (If the connection ends at the moment at which it is given, it may be, too.) Not
 * with FSCACHE_EXCLUSIVE. */
#define FSCACHE_TAKE (1u << 2)

#define FSCACHE_DIGEST_SIZE 32 /* bytes of a SHA-256 */
#define FSCACHE_VALIDATOR_MAX 255

  /* What a handle is of, if that is known and never changes: what was unpacked or fetched. When the
   * source changes, opening it gives another handle. */
  typedef struct
  {
    bool is_known; /* else nothing below means anything: a file may be written to at any time */
    bool
        is_sealed; /* the kernel sees to it that nobody writes to it, or makes it shorter: it may be
                      mapped without fear of a SIGBUS. Else it is a file that nobody is to find */
    uint8_t digest[FSCACHE_DIGEST_SIZE];      /* SHA-256 of all of it */
    uint64_t size;                            /* in bytes */
    uint8_t validator[FSCACHE_VALIDATOR_MAX]; /* what the source called it when it was opened (an
                                                 ETag, say); what it means depends on the scheme */
    uint8_t validator_length;
  } FscacheContent;

  /* How far the opening of a resource that takes long has come: so many bytes of `total`, of which
   * 0 says that nobody knows, and which may turn out to be wrong. Some ten times a second, and
   * never once the request is answered; most requests are answered before it is called at all.
   *
   * Called from within the call that waits, by the thread that made it, or, for what was submitted,
   * from fscache_dispatch(). Never with a lock held: it may call the library, except for
   * fscache_disconnect(); it should be quick. A process that is forked in it must not return from
   * it. */
  typedef void (*FscacheProgressFunc) (uint64_t done, uint64_t total, void *data);

  /* Ends requests that other threads wait for: see fscache_cancel_with(). All zero at first; it
   * stays where it is as long as a request that names it is under way. */
  typedef struct
  {
    int is_cancelled; /* the library's */
  } FscacheCancel;

  /* What to open. All zero but the URI is a request for reading, independent, as exact as can be.
   */
  typedef struct
  {
    const char *uri; /* or a path; borrowed during the call only */
    int flags;       /* of open(2); O_CLOEXEC is always set */
    mode_t mode;     /* of a file that O_CREAT makes; the caller's umask applies */
    FscacheSharing sharing;
    unsigned options; /* FSCACHE_NO_FALLBACK, FSCACHE_REVALIDATE, FSCACHE_TAKE */
    /* An answer that was right this many milliseconds ago will do: the service need not check. 0
     * asks for what holds now, or within the time-to-live of a file system that changes behind the
     * kernel's back. */
    uint32_t max_age_ms;
    uint32_t timeout_ms; /* give up after this time; 0 leaves it to the service's deadline */
    /* The SHA-256 that the content must have, FSCACHE_DIGEST_SIZE bytes, borrowed during the call
     * only; or NULL. If it has another one the request fails with FSCACHE_ERROR_OTHER_CONTENT; if
     * none is known, which goes for files, with EOPNOTSUPP. Never opened in this process. */
    const uint8_t *digest;
    FscacheProgressFunc progress; /* or NULL */
    void *progress_data;
    FscacheCancel *cancel; /* what ends it, or NULL; borrowed until it is answered */
    uint64_t reserved[4];  /* 0 */
  } FscacheRequest;

#define FSCACHE_MESSAGE_SIZE 512

  /* What became of a request. */
  typedef struct
  {
    int fd;    /* owned by whoever holds the reply; -1 if it failed */
    int error; /* 0 or an errno, positive */
    FscacheCode code;
    FscacheSharing sharing; /* which one was given */
    FscacheSource source;
    FscacheCoherence coherence;
    FscacheKind kind;
    uint32_t age_ms; /* since the handle was last known to be that of the source */
    uint64_t lease;  /* of an exclusive handle that must be given back; else 0 */
    FscacheContent content;
    uint64_t generation; /* as in FscacheEvent: another one after each change; 0: unknown */
    uint64_t reserved[4];
    char message[FSCACHE_MESSAGE_SIZE]; /* a sentence that names the object; "" if it succeeded */
  } FscacheReply;

  /* Connection */

  /* Makes a client and connects it to the service at `socket`, or if that is NULL at
   * $FSCACHE_SOCKET, $XDG_RUNTIME_DIR/fscache/socket, or /run/fscache/socket: the first that is set
   * or exists. `options` apply to all requests of the client.
   *
   * Returns 0; or a negative errno if the service cannot be reached. In that case too *client is
   * made, and works: it opens files itself until there is a service. Only -ENOMEM and -EINVAL
   * (unknown option, or a path that is too long for a socket) leave NULL in *client. */
  int fscache_connect (const char *socket, unsigned options, FscacheClient **client);

  /* A user whom a program speaks for; all that the kernel looks at when that user opens a file. */
  typedef struct
  {
    uid_t uid;
    gid_t gid;
    const gid_t *groups;  /* supplementary ones, in any order */
    size_t n_groups;      /* at most 4,096 */
    uint64_t reserved[2]; /* 0 */
  } FscacheUser;

  /* The same for a program that serves another user, and asks as that one: what is opened, cached,
   * listed and dropped through this client is that user's, as the kernel would let that user have
   * it. The service must run as root, or be that user itself, and hears this only from root and
   * from its own user.
   *
   * Nothing is ever opened in this process, as if FSCACHE_NO_FALLBACK were given, nor is anything
   * reopened: independent handles, and those for writing, are opened by the service. Who has such a
   * handle can do with it what that user could; it is up to the program to give it to nobody else.
   * fscache_set(), fscache_holders() and the like, and fscache_drop_mount() are refused.
   *
   * Errors as fscache_connect(); also -EACCES and -EPERM if the service refuses, with a client that
   * works as soon as it does not, and -EINVAL for a user or group of -1 and too many groups. */
  int fscache_connect_as (const char *socket, unsigned options, const FscacheUser *user,
                          FscacheClient **client);

  /* Closes the connection and frees the client. Requests still in flight end with
   * FSCACHE_ERROR_CANCELLED; their callbacks are called from here. Descriptors that were given stay
   * open; leases end. NULL is allowed. No other thread may be using the client. */
  void fscache_disconnect (FscacheClient *client);

  /* Opening */

  /* Opens one resource, FSCACHE_INDEPENDENT. `reply` may be NULL. Returns the descriptor (which is
   * also in the reply: it is one and the same), or a negative errno. A file that O_CREAT makes gets
   * the mode 0666, less the umask. */
  int fscache_open (FscacheClient *client, const char *uri, int flags, FscacheReply *reply);

  /* The same with all that a request can say. */
  int fscache_open_with (FscacheClient *client, const FscacheRequest *request, FscacheReply *reply);

  /* Opens many, in as few messages as possible; a slow one does not hold up the others. Fills
   * replies[0..n-1], one for each request. Returns the number of requests that failed, or a
   * negative errno if none could be made at all (in which case the replies say so too). */
  int fscache_open_many (FscacheClient *client, const FscacheRequest *requests,
                         FscacheReply *replies, size_t n);

  /* All requests that name `cancel` end with FSCACHE_ERROR_CANCELLED: those that threads wait for,
   * those that were submitted, and those that are yet to be made. Does not wait. `client` is whom
   * they were made with; NULL if none was yet. What libfscache opens itself is not interrupted. */
  void fscache_cancel_with (FscacheClient *client, FscacheCancel *cancel);

  /* Opens a file for reading as a FILE with an offset of its own over pread() on a shared handle:
   * on a network file system this saves the second open that an independent descriptor needs.
   * `reply` may be NULL; its fd is -1 on success, because the FILE owns the descriptor. fclose()
   * closes it. The FILE does not depend on the client. Returns NULL with errno set on failure. */
  FILE *fscache_fopen (FscacheClient *client, const char *uri, FscacheReply *reply);

  /* Gives an exclusive handle back: closes reply->fd, ends reply->lease, and sets them to -1 and 0.
   * A device or a socket is lent to the next one who asks as it was left. Does not wait. Nothing
   * happens to replies that have no lease, except that their fd is closed. */
  void fscache_give_back (FscacheClient *client, FscacheReply *reply);

  /* The same for what is spent: nobody is lent it again. For a connection in the middle of a
   * transaction, say, or with an answer that has not been read. */
  void fscache_discard (FscacheClient *client, FscacheReply *reply);

/* Closes reply->fd, if any, and gives back its lease: for replies that are not wanted. The same as
 * fscache_give_back(); both names exist so that code says what it means. */
#define fscache_reply_clear(client, reply) fscache_give_back ((client), (reply))

  /* Putting. A descriptor of any type (a listening socket, a pipe, a memfd, an eventfd, a pidfd, a
   * file) can be kept under a name, "handle:NAME". Other programs of the same user, and this one,
   * open that name like any resource, FSCACHE_SHARED, and get a duplicate of what was put: with its
   * access mode, its status flags and its offset. FSCACHE_INDEPENDENT is possible where it can be
   * reopened (files, directories and memfds, but for O_PATH), by this library, for reading;
   * FSCACHE_EXCLUSIVE lends it to one at a time: as long as it is lent, others are refused (EBUSY).
   * The flags of such a request must be 0.
   *
   * A memfd that is sealed (F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE) is content: who opens its
   * name is told its size and SHA-256, and may demand that (FscacheRequest.digest). It is read for
   * that, so that to put it takes a second for each gigabyte or two.
   *
   * It is kept until it is dropped (fscache_drop()), taken (FSCACHE_TAKE) or replaced, or until its
   * time is over, whoever has put it may be long gone. It is never evicted, and counts against a
   * limit of its user's ([handle] max-names).
   *
   * It is LOST when the service is started again, or the process in which it keeps what this user
   * has put is killed: whoever asks for it then is told so (FSCACHE_ERROR_NOT_CACHED, ENOENT). */

  /* What is to happen if the name is in use. */
  typedef enum
  {
    FSCACHE_PUT_NEW = 0,      /* it fails: EEXIST */
    FSCACHE_PUT_REPLACE = 1,  /* what is there is forgotten; who was given it keeps it */
    FSCACHE_PUT_EXCHANGE = 2, /* the same, if it is what is expected; else, and if there is nothing,
                                 it fails: ESTALE */
  } FscachePutMode;

  typedef struct
  {
    const char *uri; /* "handle:NAME"; borrowed during the call only, as is the descriptor: */
    int fd;          /* it stays the caller's, who may close it when the call has returned */
    FscachePutMode mode;
    uint64_t expected;    /* FSCACHE_PUT_EXCHANGE: a generation, of a reply or an entry; else 0 */
    uint32_t ttl_ms;      /* forget it after this time; 0: never */
    uint32_t timeout_ms;  /* give up after this time; 0 leaves it to the service's deadline */
    uint64_t reserved[4]; /* 0 */
  } FscachePut;

  /* Puts a descriptor. Returns 0, with its generation in `reply`, which may be NULL; or a negative
   * errno, also -EDQUOT if the user has too many names, and -ECONNRESET if the service went away
   * meanwhile (it then may have been put, or not). */
  int fscache_put (FscacheClient *client, const FscachePut *put, FscacheReply *reply);

  /* Borrowing. The fastest way to a handle that is used again and again: libfscache keeps shared
   * duplicates, and knows by one look at memory that the service shares with it whether one still
   * holds. A hit costs tens of nanoseconds: no system call, no lock.
   *
   * BOUNDED-STALE. This is the one call that is not exact. All others answer as open() would at
   * that moment; this one may give the handle of what was there before, for as long as the service
   * needs to learn of the change and to say so: usually some tens of microseconds after rename()
   * (or whatever it was) has returned; up to 8 ms while more than 10,000 things a second happen in
   * the directories that it watches; longer if it is busy or gets no CPU. If it has died, or its
   * connection is lost, handles that were kept are given for at most 100 ms more, and then nothing
   * is borrowed until there is a connection again. There is no bound while the service is stopped
   * (SIGSTOP) or its machine is too busy to run it. On file systems that change behind the kernel's
   * back (FSCACHE_COHERENCE_TTL) the bound is the time-to-live. Who renames a file, and then must
   * see the new one, uses fscache_open_with().
   *
   * WHOSE IT IS. The descriptor stays the library's: never close it, never let dup2() replace it,
   * and use it only until fscache_return(). It is shared (FSCACHE_SHARED) by all that borrow it,
   * and with other processes: use pread(), mmap(), fstat(); never read(), lseek(), flock() or
   * fcntl(F_SETFL). What was mapped stays mapped when it is returned. Who wants to keep it for long
   * takes a duplicate with fcntl(F_DUPFD_CLOEXEC). While it is borrowed it stays open whatever
   * happens: if the file is replaced meanwhile, it is still the old one.
   *
   * WHAT IS KEPT. Handles are found by the name as it is written: "/a/b" and "file:///a/b" are kept
   * twice. A name that is not kept, or does not hold any more, is asked of the service as any
   * FSCACHE_SHARED open for reading is, with the same failures, and kept if the service watches it
   * or knows a time-to-live for it; a file that is asked for for the first time is only watched
   * some requests later. Relative paths, directories (refused: EISDIR), what the service does not
   * keep, and what libfscache opens itself because the service cannot, are not kept: each time they
   * are opened, and what is borrowed then is closed when it is returned. With FSCACHE_REVALIDATE a
   * client keeps nothing. Handles that do not hold any more are closed when borrowing notices,
   * which looks at all of them every now and then. But what has a time-to-live may be of a server
   * that does not answer, and hang whoever closes it: that is closed by who borrows the same name
   * again, or if there are more such than may be kept. A client that does not borrow any more keeps
   * its last ones, and so may keep the space of an unlinked file, or a mount busy:
   * fscache_set_borrow_limit (client, 0) lets go of them, and setting the limit that there is, of
   * those that do not hold any more.
   *
   * THREADS may borrow and return at once, and return what another thread has borrowed. FORK: what
   * is borrowed at a fork() can be used, and must be returned, in both processes, each for itself;
   * what threads had borrowed that are not in the child stays open there. A child begins with
   * nothing kept. Return before fscache_disconnect(), which closes all. */

  /* Something borrowed. To be made by fscache_borrow() and its kin alone, and not to be copied:
   * one struct, one return. */
  typedef struct
  {
    int fd; /* the library's; -1 if it failed, or is returned */
    FscacheKind kind;
    FscacheSource source; /* FSCACHE_SOURCE_KEPT: a hit; else where this one has come from */
    FscacheCoherence coherence;
    void *internal[2];
    uint64_t generation; /* as that of a reply */
    uint64_t reserved[1];
  } FscacheBorrow;

  /* Borrows a resource, for reading. Returns the descriptor, which is also in `borrow`; or a
   * negative errno, and then there is nothing to return. `reply` may be NULL; it gets the reason of
   * a failure (its fd is -1), and is not touched otherwise. A miss may wait as long as
   * fscache_open() does. */
  int fscache_borrow (FscacheClient *client, const char *uri, FscacheBorrow *borrow,
                      FscacheReply *reply);

  /* The same with more that a request can say: its timeout_ms and its cancel. Nothing else
   * of it matters. */
  int fscache_borrow_with (FscacheClient *client, const FscacheRequest *request,
                           FscacheBorrow *borrow, FscacheReply *reply);

  /* fscache_borrow() for a hit alone, without waiting for the service: -EAGAIN says that
   * fscache_borrow() may have to. */
  int fscache_borrow_kept (FscacheClient *client, const char *uri, FscacheBorrow *borrow);

  /* Gives it back to the library, and sets borrow->fd to -1. Does nothing if that is -1 already.
   * Keeps errno. */
  void fscache_return (FscacheClient *client, FscacheBorrow *borrow);

  /* How many handles may be kept for borrowing; each is a descriptor of this process. Those that
   * have not been borrowed for long go first; what is borrowed right now stays open until it is
   * returned. 0 keeps none. The default is 256, or a quarter of RLIMIT_NOFILE if that is less.
   * Also closes those that do not hold any more. Returns 0, -EINVAL (more than 1,048,576), or
   * -ENOMEM. */
  int fscache_set_borrow_limit (FscacheClient *client, size_t limit);

  /* Event loops. A synchronous call is fscache_submit() and a wait; these are the parts. */

  /* Called once for each request of a submission. The reply is borrowed, but its descriptor is the
   * callee's: who does not want it closes it. Called from fscache_dispatch() or from
   * fscache_disconnect() and nowhere else, never with a lock held: it may call the library, except
   * for fscache_disconnect(). */
  typedef void (*FscacheCallback) (FscacheClient *client, size_t index, const FscacheReply *reply,
                                   void *data);

  /* Sends requests without waiting. Returns 0 and, if `id` is not NULL, a number for
   * fscache_cancel(); or a negative errno, and then the callback is not called. The callback is
   * never called from here. What has to be opened locally is opened by fscache_dispatch(), and that
   * may block as open(2) does. */
  int fscache_submit (FscacheClient *client, const FscacheRequest *requests, size_t n,
                      FscacheCallback callback, void *data, uint64_t *id);

  /* The requests of a submission that have not been answered end with FSCACHE_ERROR_CANCELLED, in a
   * later fscache_dispatch(). Unknown and finished ids are ignored. */
  void fscache_cancel (FscacheClient *client, uint64_t id);

  /* A descriptor that polls readable (POLLIN) when fscache_dispatch() has something to do. It stays
   * the same for the life of the client, also across reconnections, and belongs to the client.
   * Negative errno if there is no memory or descriptor for it. */
  int fscache_get_poll_fd (FscacheClient *client);

  /* Sends and receives what can be without waiting, and calls the callbacks that are due. Returns
   * how many were called, or a negative errno. */
  int fscache_dispatch (FscacheClient *client);

  /* Watching. A watch tells what opening a resource gives, and each time that this changes: when
   * another file gets its name, when it is deleted, when it comes into being, when this user may
   * not open it any more, when something is mounted over it. What is not a change for this user is
   * no event: that the file was written to, or touched, or that its mode changes who else may read
   * it. What is made of a file (unpack:) is replaced with each of these. What has no validator is
   * another one if its content is; if that is not known either, each time that it is opened anew.
   *
   * Each event has a handle of the caller's own, as fscache_open_with() would give for the request:
   * with FSCACHE_INDEPENDENT it has an offset of its own. Whoever gets it closes it. The handle of
   * the event before is not closed for that: it stays good, for what was there before.
   *
   * EVENTS come from fscache_dispatch() (use fscache_get_poll_fd() to know when), in order for each
   * watch. The first one is FSCACHE_EVENT_INITIAL: what is there now. A failure (there is no such
   * file, it may not be opened) is an event like any other, with its reason in the reply, and the
   * watch goes on.
   *
   * COALESCING. What happens faster than it is dispatched becomes one event, with the newest state:
   * `n_coalesced` is how many events it stands for besides itself. What nobody has noticed, because
   * it was undone or overtaken at once, is not counted. Nothing is lost: the last event tells what
   * is there now, or that it cannot be told. A program that does not dispatch for a minute, while
   * there are events, may be disconnected by the service; then it goes on as below.
   *
   * A SERVICE THAT GOES AWAY. The watch is made again when there is a service again, and tells what
   * is there then: FSCACHE_EVENT_RECONNECTED, changed or not. If there is none after some seconds,
   * FSCACHE_EVENT_DISCONNECTED says so, once: what happens until there is one again is not told.
   *
   * NOT LOCALLY. libfscache watches nothing by itself. What the service cannot watch for this
   * process ends at once, or later, with FSCACHE_EVENT_REFUSED: FSCACHE_ERROR_NO_SERVICE if there
   * is none at all, FSCACHE_ERROR_NOT_SERVED for a path that means something else to each process,
   * FSCACHE_ERROR_LIMIT (1,024 watches for each client, and half of max-handles for all),
   * FSCACHE_ERROR_BAD_REQUEST for flags that write, for FSCACHE_EXCLUSIVE, and for a shared
   * directory. is_last is set then, and the watch is gone.
   *
   * HOW SOON. What the kernel sees whole is told some tens of microseconds after it has happened.
   * Where it cannot be watched (directories that this user may not read, files that it may not) it
   * is looked at once a second; on file systems that change behind the kernel's back, when the
   * time-to-live has passed. */
  typedef enum
  {
    FSCACHE_EVENT_INITIAL = 0,        /* what is there now */
    FSCACHE_EVENT_REPLACED = 1,       /* something else has its name, or a failure is over */
    FSCACHE_EVENT_CREATED = 2,        /* there was nothing, and is now */
    FSCACHE_EVENT_DELETED = 3,        /* there is nothing any more */
    FSCACHE_EVENT_PERMISSION = 4,     /* this user may not open it any more, or may again */
    FSCACHE_EVENT_UNMOUNTED = 5,      /* mounts have changed where it lies, or did */
    FSCACHE_EVENT_DROPPED = 6,        /* fscache_drop(), or fscachectl drop: the handle is new; or,
                                         if it was the mount, there is none for some seconds */
    FSCACHE_EVENT_EVICTED = 7,        /* the service has lost its handle: this one is new */
    FSCACHE_EVENT_FAILED = 8,         /* it cannot be opened for any other reason */
    FSCACHE_EVENT_RECONNECTED = 100,  /* to the service: it may have changed meanwhile */
    FSCACHE_EVENT_DISCONNECTED = 101, /* the service is gone; the watch waits for it */
    FSCACHE_EVENT_REFUSED = 102,      /* it cannot be watched (any more) */
  } FscacheEventReason;

  typedef struct
  {
    uint64_t id; /* of the watch */
    FscacheEventReason reason;
    bool is_last; /* the watch has ended: there is nothing to unwatch */
    uint32_t n_coalesced;
    uint64_t generation;       /* of the handle, as in the protocol; 0 if it has none */
    const FscacheReply *reply; /* the handle, or why there is none */
    uint64_t reserved[4];
  } FscacheEvent;

  /* All is borrowed during the call, but the reply's descriptor is the callee's: who does not want
   * it closes it. Called from fscache_dispatch() and nowhere else, never with a lock held: it may
   * call the library, fscache_unwatch() included, except for fscache_disconnect(). */
  typedef void (*FscacheEventCallback) (FscacheClient *client, const FscacheEvent *event,
                                        void *data);

  /* Watches what `request` would open, for reading or path-only; its max_age_ms, timeout_ms and
   * FSCACHE_REVALIDATE do not matter, nor do its cancel and progress. Does not wait. Returns 0 and,
   * if `id` is not NULL, a number for fscache_unwatch(); or a negative errno (-EINVAL: no callback,
   * or a digest; -ENOMEM; -ENOSPC), and then the callback is not called. FORK: the watches stay
   * with the parent. fscache_disconnect() ends all, without a last event. */
  int fscache_watch (FscacheClient *client, const FscacheRequest *request,
                     FscacheEventCallback callback, void *data, uint64_t *id);

  /* Ends a watch. There is no event of it any more, but one whose callback another thread is just
   * calling. Handles that were given stay open. Unknown and ended ids are ignored. */
  void fscache_unwatch (FscacheClient *client, uint64_t id);

  /* The cache */

  /* One entry of the cache; borrowed during the callback. May grow at its end in later versions. */
  typedef struct
  {
    const char *uri; /* canonical */
    FscacheKind kind;
    FscacheCoherence coherence;
    FscacheSharing sharing; /* exclusive handles are entries of their own; else FSCACHE_SHARED */
    int flags;              /* O_PATH, O_DIRECTORY, O_NOFOLLOW: those are entries of their own */
    bool is_pinned;         /* not evicted, and not dropped for being idle */
    bool is_held;           /* the handle is kept by an opener, not by the service itself */
    bool is_lent;           /* exclusive, and with a client now */
    bool is_negative;       /* there is no handle: it stands for what is not there */
    uint32_t mount_id;      /* as in /proc/self/mountinfo */
    uint32_t ttl_ms;        /* with FSCACHE_COHERENCE_TTL */
    uint32_t cost_us;       /* what opening it took */
    uint32_t checked_ms;    /* time since it was last known to be that of the source */
    uint64_t hits;
    uint64_t age_ms;        /* since it was opened */
    uint64_t idle_ms;       /* since it was last given to anyone */
    FscacheContent content; /* without a validator */
    uint64_t generation;    /* as in FscacheEvent: another one after each change; 0: unknown */
  } FscacheEntry;

  typedef void (*FscacheEntryFunc) (const FscacheEntry *entry, void *data);

  /* In each of the following `reply` may be NULL; it gets the reason of a failure (its fd is -1).
   * All wait for the service and fail without one. */

  /* Calls `func` for each entry of this URI (one for each kind of open). Returns their number;
   * -ENOENT (FSCACHE_ERROR_NOT_CACHED) if there is none. */
  int fscache_info (FscacheClient *client, const char *uri, FscacheEntryFunc func, void *data,
                    FscacheReply *reply);

  /* Calls `func` for all entries whose canonical URI matches the glob `pattern` ('*' and '?' also
   * match
   * '/'); NULL for all. Entries that come and go meanwhile may be missing. Returns their number or
   * a negative errno. */
  ssize_t fscache_list (FscacheClient *client, const char *pattern, FscacheEntryFunc func,
                        void *data, FscacheReply *reply);

  /* Makes the service forget the entries of this URI, pinned or not. Handles that were given stay
   * open. Returns their number (0 if it was not cached) or a negative errno. */
  ssize_t fscache_drop (FscacheClient *client, const char *uri, FscacheReply *reply);

  /* The same for all entries whose canonical URI matches the pattern. */
  ssize_t fscache_drop_matching (FscacheClient *client, const char *pattern, FscacheReply *reply);

  /* What fscache_drop_mount() has done. */
  typedef struct
  {
    uint64_t n_mounts;    /* 1, or more with is_recursive */
    uint64_t n_handles;   /* entries that were dropped */
    uint64_t n_openers;   /* processes of the service that were ended with what they had open */
    uint64_t n_stuck;     /* of these: had not ended in time. They hang, as the mount does */
    uint64_t n_failed;    /* requests under way that failed for it */
    uint64_t n_given;     /* handles that clients now connected were given, and may have open */
    uint64_t n_lent;      /* of these: exclusive ones, not yet given back */
    uint64_t n_clients;   /* that were given them */
    uint64_t n_forgotten; /* handles given of which there is no record: some may lie there too */
    uint64_t reserved[7];
  } FscacheReleased;

  /* Lets go of a mount: of all that the service has open on the mount at this path (or `file:` URI,
   * not below symlinks: as /proc/self/mountinfo names it), and with `is_recursive` on those mounted
   * below it. When it returns with n_stuck 0, nothing of the service's keeps the mount busy, until
   * something on it is asked for again. What clients were given is theirs: the service cannot close
   * it, nor tell whether they have; fscache_holders_on_mount() says who. Handles that were lent are
   * not taken back either, but when they are given back they are closed.
   *
   * Requests that are under way there fail with FSCACHE_ERROR_CANCELLED. The mount may be dead: it
   * returns within the service's deadline ([lanes] deadline), and n_stuck says how many processes
   * hang. Nobody walks the path. `released` may be NULL. Returns 0 or a negative errno: -EINVAL
   * (FSCACHE_ERROR_BAD_REQUEST) if there is no mount point; the message names the mount on which
   * the path lies. */
  int fscache_drop_mount (FscacheClient *client, const char *mount, bool is_recursive,
                          FscacheReleased *released, FscacheReply *reply);

  /* What one client was given of one resource, in one sharing mode; borrowed during the callback.
   * May grow at its end in later versions. It says nothing of what the client still has, but for
   * n_lent: nobody is told when a duplicate is closed. */
  typedef struct
  {
    const char *uri;         /* canonical; "" for all those of which there is no record any more */
    const char *client_name; /* as the client calls itself */
    uint64_t client;         /* a number for its connection: a process may have several */
    pid_t pid;
    uid_t uid;
    FscacheSharing sharing; /* what was asked for */
    uint32_t mount_id;      /* as in /proc/self/mountinfo */
    uint32_t n_lent;        /* FSCACHE_EXCLUSIVE: leases that have not ended */
    uint64_t n_given;       /* handles; those that were lent and given back are not counted */
    uint64_t first_ms;      /* since the first was given */
    uint64_t last_ms;       /* since the last was given */
  } FscacheHolding;

  typedef void (*FscacheHoldingFunc) (const FscacheHolding *holding, void *data);

  /* Calls `func` for what clients that are connected were given of this resource (NULL: of any),
   * whether it is still cached or not. The service remembers the last 4,096 resources of each
   * client, fewer if there are very many clients. Records that come and go meanwhile may be
   * missing. Returns their number (0 is no failure) or a negative errno. */
  ssize_t fscache_holders (FscacheClient *client, const char *uri, FscacheHoldingFunc func,
                           void *data, FscacheReply *reply);

  /* The same of all that lies on the mount at this path, and with `is_recursive` on those mounted
   * below it. Errors as fscache_drop_mount(). */
  ssize_t fscache_holders_on_mount (FscacheClient *client, const char *mount, bool is_recursive,
                                    FscacheHoldingFunc func, void *data, FscacheReply *reply);

  /* Opens the resource if it is not cached, and keeps it whatever happens, until it is unpinned or
   * dropped or the resource is gone. Returns 0 or a negative errno. */
  int fscache_pin (FscacheClient *client, const char *uri, FscacheReply *reply);

  /* Ends that. Returns 0, or -ENOENT if it is not cached. */
  int fscache_unpin (FscacheClient *client, const char *uri, FscacheReply *reply);

  typedef void (*FscacheCounterFunc) (const char *name, uint64_t value, void *data);

  /* Calls `func` for each counter of the service: handles, bytes, clients, hits, misses, opens,
   * open_errors, coalesced, evictions, invalidations and more. Returns 0 or a negative errno. */
  int fscache_status (FscacheClient *client, FscacheCounterFunc func, void *data,
                      FscacheReply *reply);

  /* Changes a limit of the service, until it ends: "max-handles"; "max-bytes" of memory that they
   * keep, 0 for any number; "idle-time" in milliseconds, 0 for any. What is beyond it goes at once,
   * unless it is pinned or lent. With `name` NULL (and value 0) nothing is changed. Then `func`,
   * which may be NULL, is called for each limit as it is now. Returns 0 or a negative errno:
   * -EINVAL if there is no such limit or it cannot be that; the reply says what it can be. */
  int fscache_set (FscacheClient *client, const char *name, uint64_t value, FscacheCounterFunc func,
                   void *data, FscacheReply *reply);

  /* Asks the service for a sign of life. Returns 0 or a negative errno. */
  int fscache_ping (FscacheClient *client, FscacheReply *reply);

  /* Names */

  /* The canonical URI of a path or URI, in memory from malloc(3); NULL with errno set (EINVAL: not
   * a URI, ENOMEM, or what getcwd(3) says). Paths get "file://", '%' escapes for bytes that a URI
   * may not hold, and lose empty components and '.' (not at their end), not '..' and symlinks: only
   * the kernel can resolve those. */
  char *fscache_uri (const char *uri_or_path);

  /* A name for a code, a source, a sharing mode, a coherence, a kind: "shared". Never NULL. */
  const char *fscache_code_name (FscacheCode code);
  const char *fscache_source_name (FscacheSource source);
  const char *fscache_sharing_name (FscacheSharing sharing);
  const char *fscache_coherence_name (FscacheCoherence coherence);
  const char *fscache_kind_name (FscacheKind kind);
  const char *fscache_event_reason_name (FscacheEventReason reason);

  /* The name and version that the service has told, "fscached 0.1.0", copied into `buffer`; "" when
   * there is no connection. Returns its length. */
  size_t fscache_service_name (FscacheClient *client, char *buffer, size_t size);

  /* The version of the library, "0.1.0". */
  const char *fscache_version (void);

#ifdef __cplusplus
}
#endif

#endif
