/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process that fetches; see fetcher.h.
 */
#include "fscache/openers/fetcher.h"

#include <curl/curl.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fscache/filter.h"
#include "fscache/openers/confine.h"
#include "protocol/channel.h"
#include "protocol/uri.h"

/* After which time of a processor a child goes if nothing is asked of it. */
#define SECONDS_ENOUGH 600

#define HOST_MAX 1024
#define FILES_MAX 8

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

static_assert (sizeof (Request) <= FSC_CHILD_PAYLOAD && sizeof (End) <= FSC_CHILD_PAYLOAD,
               "one message");

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
  FscChild child;
  char host[HOST_MAX];
  FileState files[FILES_MAX]; /* when it was started */
};

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

  return fsc_filter_system_calls (calls, sizeof calls / sizeof calls[0], FSC_FILTER_DENY);
}

bool
fsc_fetcher_confine (const FscHttpSettings *settings, const char *host)
{
  const char *files[FILES_MAX];

  list_files (settings, files);
  return fsc_confine_files (files) && confine_ports (host)
         && fsc_confine_resources (FSC_CHILD_MEMORY, FSC_CHILD_SECONDS) && confine_system_calls ();
}

/* The child */

static bool
output_begin (uint64_t total, void *data)
{
  return fsc_child_begin (total);
}

static bool
output_write (const void *bytes, size_t n, void *data)
{
  return fsc_child_write (bytes, n);
}

static void
run_child (const void *data)
{
  static const FscHttpOutput output = { .begin = output_begin, .write = output_write };
  static FscChildMessage message; /* too large for a stack */
  static End end;
  const FscFetcher *fetcher = data;
  const Request *request = (const Request *) message.payload;
  FscHttp *http;

  setenv ("TZ", "UTC0", 1);
  if (curl_global_init (CURL_GLOBAL_ALL) != CURLE_OK
      || (http = fsc_http_new (fetcher->settings)) == NULL
      || !fsc_fetcher_confine (fetcher->settings, fetcher->host))
    _exit (1);
  while (clock () / CLOCKS_PER_SEC < SECONDS_ENOUGH
         && fsc_child_receive (FSC_CHILD_SOCKET, &message) == sizeof *request)
    {
      end.fault = (FscFault){ 0 };
      fsc_http_get (http, request->uri, request->validator, &output, &end.answer, &end.fault);
      if (!fsc_child_send (FSC_CHILD_SOCKET, FSC_CHILD_END, 0, &end, sizeof end))
        _exit (1);
    }
}

/* The parent */

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
  return fetcher->child.pid != 0 && strcmp (fetcher->host, host) == 0
         && memcmp (fetcher->files, states, sizeof states) == 0
         && recv (fetcher->child.socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static bool
start_child (FscFetcher *fetcher, const char *host, FscFault *fault)
{
  look_at_files (fetcher, fetcher->files);
  strcpy (fetcher->host, host);
  return fsc_child_start (&fetcher->child, run_child, fetcher, fault);
}

typedef struct
{
  const FscFetchJob *job;
  FscHttpAnswer *answer;
  FscChildRun run;
} Parent;

/* In the words of the child there may be anything, and these go to other places than people's eyes.
 */
static void
clean (char *text, size_t size)
{
  text[size - 1] = '\0';
  for (; *text != '\0'; text++)
    if (*text < ' ' || *text > '~')
      *text = '?';
}

static FscChildOutcome
take_end (Parent *parent, size_t n)
{
  End *end = (End *) parent->run.message.payload;
  FscChildOutcome outcome;
  int status;

  if (n != sizeof *end)
    return fsc_child_fail_nonsense (&parent->run);
  clean (end->answer.validator, sizeof end->answer.validator);
  clean (end->answer.location, sizeof end->answer.location);
  *parent->answer = end->answer;
  status = end->answer.status;
  outcome = fsc_child_take_fault (&parent->run, &end->fault);
  if (outcome == FSC_CHILD_DONE
      && (status < 200 || status >= 1000 || (status == 200 && !parent->run.has_begun)))
    return fsc_child_fail_nonsense (&parent->run);
  return outcome;
}

static FscChildOutcome
take_content (Parent *parent, size_t n)
{
  const FscFetchJob *job = parent->job;
  FscChildOutcome outcome = fsc_child_take_content (&parent->run, n);

  if (outcome == FSC_CHILD_DONE && parent->run.message.what == FSC_CHILD_WRITE)
    job->progress (parent->run.draft->size, parent->run.total, job->data);
  return outcome;
}

static void
send_request (const FscFetcher *fetcher, const FscFetchJob *job)
{
  Request request = { 0 };

  strcpy (request.validator, job->validator);
  strcpy (request.uri, job->uri);
  fsc_child_send (fetcher->child.socket, FSC_CHILD_ASK, 0, &request, sizeof request);
}

/* Returns whether it was the child's: it may have gone while it had nothing to do, before it was
 * told of the job. */
static bool
run_job (FscFetcher *fetcher, Parent *parent, const char *host, FscChildOutcome *outcome)
{
  bool was_there = is_usable (fetcher, host);
  bool has_spoken = false, has_ended = false;
  ssize_t n = 0;

  *outcome = FSC_CHILD_BROKEN;
  if (!was_there)
    {
      fsc_child_end (&fetcher->child, NULL);
      if (!start_child (fetcher, host, parent->run.fault))
        return true;
    }
  parent->run.has_begun = false;
  parent->run.total = 0;
  send_request (fetcher, parent->job); /* if it cannot be sent, nothing comes */
  *outcome = FSC_CHILD_DONE;
  while (*outcome == FSC_CHILD_DONE && !has_ended
         && (n = fsc_child_receive (fetcher->child.socket, &parent->run.message)) >= 0)
    {
      has_spoken = true;
      has_ended = parent->run.message.what == FSC_CHILD_END;
      *outcome = has_ended ? take_end (parent, (size_t) n) : take_content (parent, (size_t) n);
    }
  if (n < 0)
    *outcome = FSC_CHILD_BROKEN;
  else if (*outcome == FSC_CHILD_DONE || *outcome == FSC_CHILD_FAILED)
    return true;
  fsc_child_end (&fetcher->child, n < 0 && (has_spoken || !was_there) ? parent->run.fault : NULL);
  return n >= 0 || has_spoken || !was_there;
}

FscChildOutcome
fsc_fetcher_run (FscFetcher *fetcher, const FscFetchJob *job, FscDraft *draft,
                 FscHttpAnswer *answer, FscFault *fault)
{
  static Parent parent; /* too large for a stack */
  FscBytes name = fsc_uri_get_host ((FscBytes){ job->uri, strlen (job->uri) });
  FscChildOutcome outcome;
  char host[HOST_MAX];

  if (name.length >= sizeof host)
    {
      fsc_fault_set (fault, EINVAL, "the name of its host is too long");
      return FSC_CHILD_FAILED;
    }
  memcpy (host, name.data, name.length);
  host[name.length] = '\0';
  parent.job = job;
  parent.answer = answer;
  parent.run.task = fetcher->child.task;
  parent.run.draft = draft;
  parent.run.max_size = job->max_size;
  parent.run.fault = fault;
  while (!run_job (fetcher, &parent, host, &outcome))
    ;
  return outcome;
}

/* Life */

FscFetcher *
fsc_fetcher_new (const FscHttpSettings *settings)
{
  FscFetcher *fetcher = calloc (1, sizeof *fetcher);

  if (fetcher == NULL)
    return NULL;
  fetcher->settings = settings;
  fetcher->child.task = "fetches";
  return fetcher;
}

void
fsc_fetcher_free (FscFetcher *fetcher)
{
  fsc_child_end (&fetcher->child, NULL);
  free (fetcher);
}
