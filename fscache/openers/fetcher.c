/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process that fetches; see fetcher.h.
 */
#include "fscache/openers/fetcher.h"

#include <curl/curl.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fscache/openers/confine.h"
#include "protocol/channel.h"
#include "protocol/uri.h"

/* Of a child: what it may have at most, and after which time it goes if nothing is asked of it. */
#define MEMORY_MAX (UINT64_C (1) << 30)
#define SECONDS_MAX 3600
#define SECONDS_ENOUGH 600

#define PAYLOAD 65536
#define HOST_MAX 1024
#define FILES_MAX 8

typedef struct
{
  enum
  {
    GET,   /* to the child: a Request */
    BEGIN, /* to the parent: the content begins; so many bytes in all, or 0 */
    WRITE, /* to the parent: more of it */
    END    /* to the parent: an End */
  } what;
  uint64_t total;
  uint8_t payload[PAYLOAD];
} Message;

#define HEAD offsetof (Message, payload)

typedef struct
{
  char validator[FSC_VALIDATOR_MAX + 1];
  char uri[FSC_URI_MAX + 1];
} Request;

typedef struct
{
  FscHttpAnswer answer;
  FscFault fault;
} End;

static_assert (sizeof (Request) <= PAYLOAD && sizeof (End) <= PAYLOAD, "one message");

/* What tells a file from the one that has its name now. */
typedef struct
{
  dev_t device;
  ino_t inode;
  struct timespec changed;
} FileState;

struct FscFetcher
{
  const FscHttpSettings *settings;
  pid_t child; /* or 0 */
  int socket;  /* to it */
  char host[HOST_MAX];
  FileState files[FILES_MAX]; /* when it was started */
};

static bool
send_message (int socket, int what, uint64_t total, const void *payload, size_t n)
{
  Message head = { .what = what, .total = total };
  struct iovec parts[] = { { &head, HEAD }, { (void *) payload, n } };
  const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

  return sendmsg (socket, &message, MSG_NOSIGNAL) == (ssize_t) (HEAD + n);
}

/* Returns the length of the payload, or -1. */
static ssize_t
receive_message (int socket, Message *message)
{
  ssize_t n;

  do
    n = recv (socket, message, sizeof *message, 0);
  while (n < 0 && errno == EINTR);
  return n < (ssize_t) HEAD ? -1 : n - (ssize_t) HEAD;
}

/* Shutting in */

/* What it may read: how names become addresses, and whom to trust. Ended by NULL. */
static void
list_files (const FscHttpSettings *settings, const char *files[FILES_MAX])
{
  static const char *const of_resolver[]
      = { "/etc/resolv.conf", "/etc/hosts",    "/etc/nsswitch.conf",
          "/etc/host.conf",   "/etc/gai.conf", NULL };
  size_t n = 0;

  for (; of_resolver[n] != NULL; n++)
    files[n] = of_resolver[n];
  files[n] = fsc_http_get_ca_file (settings);
  files[n + 1] = NULL;
}

/* The ports that it may connect to. Where there is a proxy, that may be any. */
static bool
confine_ports (const char *host)
{
  static const char *const proxies[]
      = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };
  const char *port = strrchr (host, ':');
  uint16_t ports[3] = { 53, 80, 443 };

  for (size_t i = 0; i < sizeof proxies / sizeof proxies[0]; i++)
    if (getenv (proxies[i]) != NULL)
      return true;
  if (port == NULL || strchr (port, ']') != NULL)
    return fsc_confine_ports (ports, 3);
  ports[1] = (uint16_t) atoi (port + 1);
  return fsc_confine_ports (ports, 2);
}

static bool
confine_system_calls (void)
{
  static const FscSystemCall calls[] = {
    /* files, of which Landlock says which */
    { SCMP_SYS (openat) },
    { SCMP_SYS (open) },
    { SCMP_SYS (newfstatat) },
    { SCMP_SYS (stat) },
    { SCMP_SYS (fstat) },
    { SCMP_SYS (statx) },
    { SCMP_SYS (access) },
    { SCMP_SYS (faccessat) },
    { SCMP_SYS (faccessat2) },
    { SCMP_SYS (lseek) },
    { SCMP_SYS (read) },
    { SCMP_SYS (write) },
    { SCMP_SYS (writev) },
    { SCMP_SYS (close) },
    { SCMP_SYS (fcntl) },
    { SCMP_SYS (ioctl), .argument = 1, .mask = ~UINT64_C (0), .value = FIONREAD },
    { SCMP_SYS (ioctl), .argument = 1, .mask = ~UINT64_C (0), .value = FIONBIO },
    /* the network; not AF_UNIX, behind which there is too much */
    { SCMP_SYS (socket), .argument = 0, .mask = ~UINT64_C (0), .value = AF_INET },
    { SCMP_SYS (socket), .argument = 0, .mask = ~UINT64_C (0), .value = AF_INET6 },
    { SCMP_SYS (socketpair) },
    { SCMP_SYS (pipe2) },
    { SCMP_SYS (eventfd2) },
    { SCMP_SYS (connect) },
    { SCMP_SYS (bind) },
    { SCMP_SYS (getsockname) },
    { SCMP_SYS (getpeername) },
    { SCMP_SYS (getsockopt) },
    { SCMP_SYS (setsockopt) },
    { SCMP_SYS (sendto) },
    { SCMP_SYS (sendmsg) },
    { SCMP_SYS (sendmmsg) },
    { SCMP_SYS (recvfrom) },
    { SCMP_SYS (recvmsg) },
    { SCMP_SYS (shutdown) },
    { SCMP_SYS (poll) },
    { SCMP_SYS (ppoll) },
    /* the thread that looks names up: no other process */
    { SCMP_SYS (clone), .argument = 0, .mask = CLONE_THREAD, .value = CLONE_THREAD },
    { SCMP_SYS (set_robust_list) },
    { SCMP_SYS (rseq) },
    { SCMP_SYS (futex) },
    { SCMP_SYS (sched_yield) },
    { SCMP_SYS (sched_getaffinity) },
    { SCMP_SYS (rt_sigprocmask) },
    { SCMP_SYS (rt_sigaction) },
    { SCMP_SYS (rt_sigreturn) },
    { SCMP_SYS (sigaltstack) },
    { SCMP_SYS (restart_syscall) },
    { SCMP_SYS (exit) },
    { SCMP_SYS (exit_group) },
    /* time, chance, and who it is */
    { SCMP_SYS (clock_gettime) },
    { SCMP_SYS (clock_nanosleep) },
    { SCMP_SYS (gettimeofday) },
    { SCMP_SYS (time) },
    { SCMP_SYS (getrandom) },
    { SCMP_SYS (getpid) },
    { SCMP_SYS (gettid) },
    { SCMP_SYS (getuid) },
    { SCMP_SYS (geteuid) },
    { SCMP_SYS (getgid) },
    { SCMP_SYS (getegid) },
    { SCMP_SYS (uname) },
    { SCMP_SYS (sysinfo) },
  };

  return fsc_confine_system_calls (calls, sizeof calls / sizeof calls[0], FSC_CONFINE_DENY);
}

bool
fsc_fetcher_confine (const FscHttpSettings *settings, const char *host)
{
  const char *files[FILES_MAX];

  list_files (settings, files);
  return fsc_confine_files (files) && confine_ports (host)
         && fsc_confine_resources (MEMORY_MAX, SECONDS_MAX) && confine_system_calls ();
}

/* The child */

#define SOCKET 3

static bool
output_begin (uint64_t total, void *data)
{
  return send_message (SOCKET, BEGIN, total, NULL, 0);
}

static bool
output_write (const void *bytes, size_t n, void *data)
{
  const uint8_t *rest = bytes;

  for (; n > PAYLOAD; n -= PAYLOAD, rest += PAYLOAD)
    if (!send_message (SOCKET, WRITE, 0, rest, PAYLOAD))
      return false;
  return n == 0 || send_message (SOCKET, WRITE, 0, rest, n);
}

static _Noreturn void
run_child (const FscHttpSettings *settings, const char *host, int socket, pid_t parent)
{
  static const FscHttpOutput output = { .begin = output_begin, .write = output_write };
  static Message message; /* too large for a stack */
  static End end;
  const Request *request = (const Request *) message.payload;
  FscHttp *http;

  prctl (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid () != parent || dup2 (socket, SOCKET) < 0 || dup2 (0, 1) < 0 || dup2 (0, 2) < 0
      || syscall (SYS_close_range, SOCKET + 1, ~0U, 0) < 0)
    _exit (1);
  setenv ("TZ", "UTC0", 1);
  if (curl_global_init (CURL_GLOBAL_ALL) != CURLE_OK || (http = fsc_http_new (settings)) == NULL
      || !fsc_fetcher_confine (settings, host))
    _exit (1);
  while (clock () / CLOCKS_PER_SEC < SECONDS_ENOUGH
         && receive_message (SOCKET, &message) == sizeof *request)
    {
      end.fault = (FscFault){ 0 };
      fsc_http_get (http, request->uri, request->validator, &output, &end.answer, &end.fault);
      if (!send_message (SOCKET, END, 0, &end, sizeof end))
        _exit (1);
    }
  _exit (0);
}

/* The parent */

/* It has ended without a word. */
static void
explain_death (int status, FscFault *fault)
{
  if (!WIFSIGNALED (status))
    fsc_fault_set (fault, EIO, "the process that fetches it has ended with status %d",
                   WEXITSTATUS (status));
  else if (WTERMSIG (status) == SIGXCPU)
    fsc_fault_set (
        fault, EIO,
        "the process that fetches it was killed: it needed more than %d s of a processor",
        SECONDS_MAX);
  else
    fsc_fault_set (fault, EIO, "the process that fetches it was ended by signal %d (%s)",
                   WTERMSIG (status), strsignal (WTERMSIG (status)));
}

static void
end_child (FscFetcher *fetcher, FscFault *fault)
{
  int status;

  if (fetcher->child == 0)
    return;
  close (fetcher->socket); /* one that waits for something to do ends then */
  if (fault == NULL)
    kill (fetcher->child, SIGKILL);
  while (waitpid (fetcher->child, &status, 0) < 0 && errno == EINTR)
    ;
  fetcher->child = 0;
  if (fault != NULL)
    explain_death (status, fault);
}

static void
look_at_files (const FscFetcher *fetcher, FileState states[FILES_MAX])
{
  const char *files[FILES_MAX];
  struct stat st;

  memset (states, 0, FILES_MAX * sizeof states[0]);
  list_files (fetcher->settings, files);
  for (size_t i = 0; files[i] != NULL; i++)
    if (stat (files[i], &st) == 0)
      {
        states[i].device = st.st_dev;
        states[i].inode = st.st_ino;
        states[i].changed = st.st_ctim;
      }
}

static bool
is_usable (FscFetcher *fetcher, const char *host)
{
  FileState states[FILES_MAX];
  char byte;

  look_at_files (fetcher, states);
  return fetcher->child != 0 && strcmp (fetcher->host, host) == 0
         && memcmp (fetcher->files, states, sizeof states) == 0
         && recv (fetcher->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static bool
start_child (FscFetcher *fetcher, const char *host, FscFault *fault)
{
  pid_t pid = getpid (), child = -1;
  int sockets[2] = { -1, -1 };
  int error;

  look_at_files (fetcher, fetcher->files);
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0)
    child = fork ();
  if (child == 0)
    run_child (fetcher->settings, host, sockets[1], pid);
  error = errno;
  if (sockets[1] >= 0)
    close (sockets[1]);
  if (child > 0)
    {
      fsc_channel_refuse_fds (sockets[0]);
      fetcher->child = child;
      fetcher->socket = sockets[0];
      strcpy (fetcher->host, host);
      return true;
    }
  if (sockets[0] >= 0)
    close (sockets[0]);
  fsc_fault_set (fault, error, "no process can be started that fetches it: %s", strerror (error));
  return false;
}

typedef struct
{
  const FscFetchJob *job;
  FscDraft *draft;
  FscHttpAnswer *answer;
  FscFault *fault;
  bool has_begun;
  uint64_t total;
  Message message;
} Run;

static FscFetchEnd
fail_nonsense (Run *run)
{
  fsc_fault_set (run->fault, EIO, "the process that fetches it sent nonsense");
  return FSC_FETCH_BROKEN;
}

/* In the words of the child there may be anything, also what a server has sent. */
static void
clean (char *text, size_t size)
{
  text[size - 1] = '\0';
  for (; *text != '\0'; text++)
    if (*text < ' ' || *text > '~')
      *text = '?';
}

static FscFetchEnd
take_end (Run *run, size_t n)
{
  End *end = (End *) run->message.payload;

  if (n != sizeof *end)
    return fail_nonsense (run);
  clean (end->fault.phrase, sizeof end->fault.phrase);
  clean (end->answer.validator, sizeof end->answer.validator);
  clean (end->answer.location, sizeof end->answer.location);
  *run->answer = end->answer;
  if (end->fault.error == 0 && end->answer.status >= 200 && end->answer.status < 1000
      && (end->answer.status != 200 || run->has_begun))
    return FSC_FETCH_ANSWERED;
  if (end->fault.error <= 0 || end->fault.error > 4095 || end->fault.phrase[0] == '\0')
    return fail_nonsense (run);
  *run->fault = end->fault;
  return FSC_FETCH_FAILED;
}

/* Returns whether there is more to come. */
static bool
take_message (Run *run, size_t n, FscFetchEnd *end)
{
  const FscFetchJob *job = run->job;

  *end = FSC_FETCH_BROKEN;
  switch (run->message.what)
    {
    case BEGIN:
      run->has_begun = true;
      run->total = run->message.total;
      if (run->total > job->max_size)
        {
          *end = FSC_FETCH_TOO_BIG;
          return false;
        }
      return fsc_draft_begin (run->draft, run->fault);
    case WRITE:
      if (!run->has_begun)
        break;
      if (n > job->max_size - run->draft->size)
        {
          *end = FSC_FETCH_TOO_BIG;
          return false;
        }
      if (!fsc_draft_write (run->draft, run->message.payload, n, run->fault))
        return false;
      job->progress (run->draft->size, run->total, job->data);
      return true;
    case END:
      *end = take_end (run, n);
      return false;
    default:
      break;
    }
  *end = fail_nonsense (run);
  return false;
}

static void
send_request (const FscFetcher *fetcher, const FscFetchJob *job)
{
  Request request = { 0 };

  strcpy (request.validator, job->validator);
  strcpy (request.uri, job->uri);
  send_message (fetcher->socket, GET, 0, &request, sizeof request);
}

/* Returns whether it was the child's: it may have gone while it had nothing to do, before it was
 * told of the job. */
static bool
run_job (FscFetcher *fetcher, Run *run, const char *host, FscFetchEnd *end)
{
  bool was_there = is_usable (fetcher, host);
  bool has_spoken = false;
  ssize_t n;

  *end = FSC_FETCH_BROKEN;
  if (!was_there)
    {
      end_child (fetcher, NULL);
      if (!start_child (fetcher, host, run->fault))
        return true;
    }
  run->has_begun = false;
  run->total = 0;
  send_request (fetcher, run->job); /* if it cannot be sent, nothing comes */
  while ((n = receive_message (fetcher->socket, &run->message)) >= 0)
    {
      has_spoken = true;
      if (!take_message (run, (size_t) n, end))
        break;
    }
  if (n >= 0 && (*end == FSC_FETCH_ANSWERED || *end == FSC_FETCH_FAILED))
    return true;
  *end = n < 0 ? FSC_FETCH_BROKEN : *end;
  end_child (fetcher, n < 0 && (has_spoken || !was_there) ? run->fault : NULL);
  return n >= 0 || has_spoken || !was_there;
}

FscFetchEnd
fsc_fetcher_run (FscFetcher *fetcher, const FscFetchJob *job, FscDraft *draft,
                 FscHttpAnswer *answer, FscFault *fault)
{
  static Run run; /* too large for a stack */
  FscBytes name = fsc_uri_get_host ((FscBytes){ job->uri, strlen (job->uri) });
  FscFetchEnd end;
  char host[HOST_MAX];

  if (name.length >= sizeof host)
    {
      fsc_fault_set (fault, EINVAL, "the name of its host is too long");
      return FSC_FETCH_FAILED;
    }
  memcpy (host, name.data, name.length);
  host[name.length] = '\0';
  run.job = job;
  run.draft = draft;
  run.answer = answer;
  run.fault = fault;
  while (!run_job (fetcher, &run, host, &end))
    ;
  return end;
}

/* Life */

FscFetcher *
fsc_fetcher_new (const FscHttpSettings *settings)
{
  FscFetcher *fetcher = calloc (1, sizeof *fetcher);

  if (fetcher != NULL)
    fetcher->settings = settings;
  return fetcher;
}

void
fsc_fetcher_free (FscFetcher *fetcher)
{
  end_child (fetcher, NULL);
  free (fetcher);
}
