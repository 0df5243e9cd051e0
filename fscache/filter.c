/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Filters of system calls; see filter.h.
 */
#include "fscache/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define IS_SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

#if FSC_HAS_SECCOMP
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define SERVICE FSC_FILTER_SERVICE
#define OPENER FSC_FILTER_OPENER
#define CONNECTS FSC_FILTER_CONNECTS
#define FORKS FSC_FILTER_FORKS
#define BOTH (SERVICE | OPENER)

#define DENY SCMP_ACT_ERRNO (ENOSYS)
#define EXACTLY ~UINT64_C (0)

#define CLONE_NEW_ANY                                                                              \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID      \
   | CLONE_NEWNET)

#ifdef __s390__
#define CLONE_ARGUMENT 1
#else
#define CLONE_ARGUMENT 0
#endif

static const struct
{
  unsigned roles;
  FscSystemCall call;
} allowed[] = {
  /* descriptors */
  { BOTH, { SCMP_SYS (read) } },
  { BOTH, { SCMP_SYS (readv) } },
  { BOTH, { SCMP_SYS (pread64) } },
  { BOTH, { SCMP_SYS (preadv) } },
  { BOTH, { SCMP_SYS (write) } },
  { BOTH, { SCMP_SYS (writev) } },
  { BOTH, { SCMP_SYS (pwrite64) } },
  { BOTH, { SCMP_SYS (close) } },
  { BOTH, { SCMP_SYS (close_range) } },
  { BOTH, { SCMP_SYS (dup) } },
  { BOTH, { SCMP_SYS (dup2) } },
  { BOTH, { SCMP_SYS (dup3) } },
  { BOTH, { SCMP_SYS (fcntl) } },
  { BOTH, { SCMP_SYS (fcntl64) } },
  { BOTH, { SCMP_SYS (flock) } },
  { BOTH, { SCMP_SYS (ioctl) } },
  { BOTH, { SCMP_SYS (lseek) } },
  { BOTH, { SCMP_SYS (_llseek) } },
  { BOTH, { SCMP_SYS (ftruncate) } },
  { BOTH, { SCMP_SYS (ftruncate64) } },
  { BOTH, { SCMP_SYS (fallocate) } },
  { BOTH, { SCMP_SYS (fchmod) } },
  { BOTH, { SCMP_SYS (pipe2) } },
  { BOTH, { SCMP_SYS (eventfd2) } },
  { BOTH, { SCMP_SYS (memfd_create) } },
  { BOTH, { SCMP_SYS (poll) } },
  { BOTH, { SCMP_SYS (ppoll) } },
  { BOTH, { SCMP_SYS (select) } },
  { BOTH, { SCMP_SYS (pselect6) } },
  { BOTH, { SCMP_SYS (inotify_init1) } },
  { BOTH, { SCMP_SYS (inotify_add_watch) } },
  { BOTH, { SCMP_SYS (inotify_rm_watch) } },
  { SERVICE, { SCMP_SYS (epoll_create1) } },
  { SERVICE, { SCMP_SYS (epoll_ctl) } },
  { SERVICE, { SCMP_SYS (epoll_wait) } },
  { SERVICE, { SCMP_SYS (epoll_pwait) } },
  { SERVICE, { SCMP_SYS (signalfd4) } },
  { SERVICE, { SCMP_SYS (timerfd_create) } },
  { SERVICE, { SCMP_SYS (timerfd_settime) } },
  { FORKS, { SCMP_SYS (sendfile) } },
  { FORKS, { SCMP_SYS (sendfile64) } },
  { FORKS, { SCMP_SYS (utimensat) } },

  /* files, which are looked at and opened; of the service's own it removes its socket */
  { BOTH, { SCMP_SYS (open) } },
  { BOTH, { SCMP_SYS (openat) } },
  { BOTH, { SCMP_SYS (openat2) } },
  { BOTH, { SCMP_SYS (stat) } },
  { BOTH, { SCMP_SYS (stat64) } },
  { BOTH, { SCMP_SYS (lstat) } },
  { BOTH, { SCMP_SYS (lstat64) } },
  { BOTH, { SCMP_SYS (fstat) } },
  { BOTH, { SCMP_SYS (fstat64) } },
  { BOTH, { SCMP_SYS (fstatat64) } },
  { BOTH, { SCMP_SYS (newfstatat) } },
  { BOTH, { SCMP_SYS (statx) } },
  { BOTH, { SCMP_SYS (statfs) } },
  { BOTH, { SCMP_SYS (statfs64) } },
  { BOTH, { SCMP_SYS (fstatfs) } },
  { BOTH, { SCMP_SYS (fstatfs64) } },
  { BOTH, { SCMP_SYS (access) } },
  { BOTH, { SCMP_SYS (faccessat) } },
  { BOTH, { SCMP_SYS (faccessat2) } },
  { BOTH, { SCMP_SYS (readlink) } },
  { BOTH, { SCMP_SYS (readlinkat) } },
  { BOTH, { SCMP_SYS (getcwd) } },
  { BOTH, { SCMP_SYS (getdents64) } },
  { BOTH, { SCMP_SYS (umask) } },
  { SERVICE, { SCMP_SYS (unlink) } },
  { SERVICE, { SCMP_SYS (unlinkat) } },

  /* sockets: the service asks for the names of users by them */
  { BOTH, { SCMP_SYS (sendmsg) } },
  { BOTH, { SCMP_SYS (sendmmsg) } },
  { BOTH, { SCMP_SYS (sendto) } },
  { BOTH, { SCMP_SYS (recvmsg) } },
  { BOTH, { SCMP_SYS (recvmmsg) } },
  { BOTH, { SCMP_SYS (recvfrom) } },
  { BOTH, { SCMP_SYS (shutdown) } },
  { BOTH, { SCMP_SYS (socketpair) } },
  { BOTH, { SCMP_SYS (getsockopt) } },
  { BOTH, { SCMP_SYS (setsockopt) } },
  { BOTH, { SCMP_SYS (getsockname) } },
  { BOTH, { SCMP_SYS (getpeername) } },
  { SERVICE, { SCMP_SYS (accept4) } },
  { SERVICE, { SCMP_SYS (socket), 0, EXACTLY, AF_UNIX } },
  { CONNECTS, { SCMP_SYS (socket) } },
  { SERVICE | CONNECTS, { SCMP_SYS (connect) } },
  { CONNECTS, { SCMP_SYS (bind) } },

  /* memory, and the libraries that libc asks for names */
  { BOTH, { SCMP_SYS (mmap), 2, PROT_EXEC, 0 } },
  { SERVICE | CONNECTS, { SCMP_SYS (mmap), 2, PROT_WRITE | PROT_EXEC, PROT_EXEC } },
  { BOTH, { SCMP_SYS (mmap2), 2, PROT_EXEC, 0 } },
  { SERVICE | CONNECTS, { SCMP_SYS (mmap2), 2, PROT_WRITE | PROT_EXEC, PROT_EXEC } },
  { BOTH, { SCMP_SYS (membarrier) } },

  /* threads, signals, and, of some openers, children */
  { BOTH, { SCMP_SYS (clone), CLONE_ARGUMENT, CLONE_THREAD, CLONE_THREAD } },
  { BOTH, { SCMP_SYS (futex) } },
  { BOTH, { SCMP_SYS (futex_time64) } },
  { BOTH, { SCMP_SYS (get_robust_list) } },
  { BOTH, { SCMP_SYS (set_robust_list) } },
  { BOTH, { SCMP_SYS (set_tid_address) } },
  { BOTH, { SCMP_SYS (rseq) } },
  { BOTH, { SCMP_SYS (sched_yield) } },
  { BOTH, { SCMP_SYS (sched_getaffinity) } },
  { SERVICE, { SCMP_SYS (sched_getattr) } },
  { SERVICE, { SCMP_SYS (sched_setattr) } },
  { BOTH, { SCMP_SYS (rt_sigaction) } },
  { BOTH, { SCMP_SYS (rt_sigprocmask) } },
  { BOTH, { SCMP_SYS (rt_sigreturn) } },
  { BOTH, { SCMP_SYS (sigaltstack) } },
  { BOTH, { SCMP_SYS (restart_syscall) } },
  { BOTH, { SCMP_SYS (tgkill) } },
  { BOTH, { SCMP_SYS (pause) } },
  { BOTH, { SCMP_SYS (exit) } },
  { BOTH, { SCMP_SYS (exit_group) } },
  { FORKS, { SCMP_SYS (clone), CLONE_ARGUMENT, CLONE_NEW_ANY, 0 } },
  { SERVICE | FORKS, { SCMP_SYS (kill) } },
  { SERVICE | FORKS, { SCMP_SYS (wait4) } },
  { SERVICE | FORKS, { SCMP_SYS (waitid) } },

  /* time, chance, and who it is */
  { BOTH, { SCMP_SYS (clock_gettime) } },
  { BOTH, { SCMP_SYS (clock_gettime64) } },
  { BOTH, { SCMP_SYS (clock_getres) } },
  { BOTH, { SCMP_SYS (clock_nanosleep) } },
  { BOTH, { SCMP_SYS (nanosleep) } },
  { BOTH, { SCMP_SYS (gettimeofday) } },
  { BOTH, { SCMP_SYS (time) } },
  { BOTH, { SCMP_SYS (getrandom) } },
  { BOTH, { SCMP_SYS (getrusage) } },
  { BOTH, { SCMP_SYS (getpid) } },
  { BOTH, { SCMP_SYS (getppid) } },
  { BOTH, { SCMP_SYS (gettid) } },
  { BOTH, { SCMP_SYS (getuid) } },
  { BOTH, { SCMP_SYS (geteuid) } },
  { BOTH, { SCMP_SYS (getgid) } },
  { BOTH, { SCMP_SYS (getegid) } },
  { BOTH, { SCMP_SYS (getgroups) } },
  { BOTH, { SCMP_SYS (uname) } },
  { BOTH, { SCMP_SYS (sysinfo) } },

  /* giving up more */
  { BOTH, { SCMP_SYS (prctl) } },
  { BOTH, { SCMP_SYS (prlimit64) } },
  { BOTH, { SCMP_SYS (getrlimit) } },
  { BOTH, { SCMP_SYS (setrlimit) } },
  { BOTH, { SCMP_SYS (seccomp) } },
  { FORKS, { SCMP_SYS (landlock_create_ruleset) } },
  { FORKS, { SCMP_SYS (landlock_add_rule) } },
  { FORKS, { SCMP_SYS (landlock_restrict_self) } },
};

/* Of the system as a whole; others' memory; and io_uring, whose calls no filter sees. */
static const int never[] = {
  SCMP_SYS (acct),
  SCMP_SYS (adjtimex),
  SCMP_SYS (bpf),
  SCMP_SYS (clock_adjtime),
  SCMP_SYS (clock_settime),
  SCMP_SYS (create_module),
  SCMP_SYS (delete_module),
  SCMP_SYS (finit_module),
  SCMP_SYS (init_module),
  SCMP_SYS (io_uring_enter),
  SCMP_SYS (io_uring_register),
  SCMP_SYS (io_uring_setup),
  SCMP_SYS (ioperm),
  SCMP_SYS (iopl),
  SCMP_SYS (kexec_file_load),
  SCMP_SYS (kexec_load),
  SCMP_SYS (lookup_dcookie),
  SCMP_SYS (open_by_handle_at),
  SCMP_SYS (perf_event_open),
  SCMP_SYS (pidfd_getfd),
  SCMP_SYS (process_vm_readv),
  SCMP_SYS (process_vm_writev),
  SCMP_SYS (ptrace),
  SCMP_SYS (quotactl),
  SCMP_SYS (reboot),
  SCMP_SYS (setdomainname),
  SCMP_SYS (sethostname),
  SCMP_SYS (settimeofday),
  SCMP_SYS (stime),
  SCMP_SYS (swapoff),
  SCMP_SYS (swapon),
  SCMP_SYS (syslog),
  SCMP_SYS (userfaultfd),
  SCMP_SYS (vhangup),
};

static bool
is_wanted (void)
{
  const char *value = getenv (FSC_FILTER_VARIABLE);

  return !IS_SANITIZED && (value == NULL || strcmp (value, "0") != 0);
}

static uint32_t
get_denial (void)
{
  const char *value = getenv (FSC_FILTER_VARIABLE);

  return value != NULL && strcmp (value, "kill") == 0 ? SCMP_ACT_KILL_PROCESS : DENY;
}

/* Frees it. Most calls are decided by their number, which the kernel remembers; for the rest it
 * looks through a tree of them, rather than a list. */
static bool
load (scmp_filter_ctx filter, bool is_good)
{
  int r = is_good && seccomp_attr_set (filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0
                  && seccomp_attr_set (filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0
              ? seccomp_load (filter)
              : -ENOMEM;

  if (filter != NULL)
    seccomp_release (filter);
  if (r == -EINVAL || r == -ENOSYS)
    r = 0; /* the kernel has none */
  errno = -r;
  return r == 0;
}

static bool
allow_memory (scmp_filter_ctx filter)
{
  static const int calls[]
      = { SCMP_SYS (brk), SCMP_SYS (munmap), SCMP_SYS (mremap), SCMP_SYS (madvise) };
  const struct scmp_arg_cmp pages[] = {
    SCMP_A2 (SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
    SCMP_A3 (SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS),
  };
  const struct scmp_arg_cmp protection = SCMP_A2 (SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);

  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
    if (seccomp_rule_add (filter, SCMP_ACT_ALLOW, calls[i], 0) < 0)
      return false;
  return seccomp_rule_add_array (filter, SCMP_ACT_ALLOW, SCMP_SYS (mmap), 2, pages) == 0
         && seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (mprotect), 1, protection) == 0;
}

static bool
allow_call (scmp_filter_ctx filter, const FscSystemCall *call)
{
  const struct scmp_arg_cmp condition
      = SCMP_CMP (call->argument, SCMP_CMP_MASKED_EQ, call->mask, call->value);

  return seccomp_rule_add_array (filter, SCMP_ACT_ALLOW, call->number, call->mask != 0, &condition)
         == 0;
}

static bool
allow_only (const FscSystemCall *calls, size_t n, uint32_t otherwise)
{
  scmp_filter_ctx filter = seccomp_init (otherwise);
  bool is_good = filter != NULL && allow_memory (filter);

  for (size_t i = 0; i < n && is_good; i++)
    is_good = allow_call (filter, &calls[i]);
  /* What it makes cannot be told: libc goes back to clone(). */
  is_good = is_good
            && (otherwise == DENY || seccomp_rule_add (filter, DENY, SCMP_SYS (clone3), 0) == 0);
  return load (filter, is_good);
}

bool
fsc_filter_system_calls (const FscSystemCall *calls, size_t n, FscFilterEnd end)
{
  return allow_only (calls, n, end == FSC_FILTER_KILL ? SCMP_ACT_KILL_PROCESS : DENY);
}

bool
fsc_filter_load (unsigned roles)
{
  FscSystemCall calls[sizeof allowed / sizeof allowed[0]];
  size_t n = 0;

  if (!is_wanted ())
    return true;
  for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
    if ((allowed[i].roles & roles) != 0)
      calls[n++] = allowed[i].call;
  return allow_only (calls, n, get_denial ());
}

bool
fsc_filter_load_least (void)
{
  scmp_filter_ctx filter;
  bool is_good;

  if (!is_wanted ())
    return true;
  filter = seccomp_init (SCMP_ACT_ALLOW);
  is_good = filter != NULL;
  for (size_t i = 0; i < sizeof never / sizeof never[0] && is_good; i++)
    is_good = seccomp_rule_add (filter, get_denial (), never[i], 0) == 0;
  return load (filter, is_good);
}

#else

bool
fsc_filter_load (unsigned roles)
{
  return true;
}

bool
fsc_filter_load_least (void)
{
  return true;
}

#endif
