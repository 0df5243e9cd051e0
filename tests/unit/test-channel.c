/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * channel.c, on socketpairs: what arrives is owned by the caller and O_CLOEXEC; what must not
 * arrive is closed, whichever way it came. Each test compares the set of open descriptors before
 * and after.
 */
#include "protocol/channel.h"
#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

typedef struct
{
  char *before;
  int here, there; /* the two ends: `there` sends */
} Fixture;

static void
setup (Fixture *fixture, gconstpointer data)
{
  int ends[2];

  fixture->before = fsc_test_list_descriptors ();
  g_assert_no_errno (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
  fixture->here = ends[0];
  fixture->there = ends[1];
}

static void
teardown (Fixture *fixture, gconstpointer data)
{
  close (fixture->here);
  if (fixture->there >= 0)
    close (fixture->there);
  fsc_test_assert_descriptors (fixture->before);
}

/* Sends a packet with the descriptor of "/" n times. */
static void
send_many (int socket, unsigned n)
{
  int fds[FSC_FDS_MAX];
  int root = open ("/", O_PATH | O_CLOEXEC);

  g_assert_cmpint (root, >=, 0);
  for (unsigned i = 0; i < n; i++)
    fds[i] = root;
  g_assert_cmpint (fsc_channel_send (socket, "x", 1, fds, n, 0), ==, 0);
  close (root);
}

/* A sendmsg() with control data that fsc_channel_send() would never make. */
static void
send_raw (int socket, void *control, size_t control_length)
{
  char byte = 'x';
  struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
  struct msghdr message = {
    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = control_length
  };

  g_assert_cmpint (sendmsg (socket, &message, 0), ==, 1);
}

static ssize_t
receive (Fixture *fixture, FscFds *fds, unsigned max_fds, bool *lost)
{
  char buffer[64];

  return fsc_channel_receive (fixture->here, buffer, sizeof buffer, fds, max_fds, lost, 0);
}

/* After whatever went wrong: the next packet arrives, whole, with its descriptor. */
static void
assert_goes_on (Fixture *fixture)
{
  FscFds fds;
  bool lost;

  send_many (fixture->there, 1);
  g_assert_cmpint (receive (fixture, &fds, 1, &lost), ==, 1);
  g_assert_false (lost);
  g_assert_cmpuint (fds.n, ==, 1);
  fsc_fds_clear (&fds);
}

/* What should arrive */

static void
test_descriptors (Fixture *fixture, gconstpointer data)
{
  FscFds fds;
  bool lost = true;
  char buffer[16];
  int pipes[2], taken;
  struct stat sent[2], got;

  g_assert_no_errno (pipe2 (pipes, 0));
  for (int i = 0; i < 2; i++)
    g_assert_no_errno (fstat (pipes[i], &sent[i]));
  g_assert_cmpint (fsc_channel_send (fixture->there, "hello", 5, pipes, 2, 0), ==, 0);
  close (pipes[0]);

  g_assert_cmpint (
      fsc_channel_receive (fixture->here, buffer, sizeof buffer, &fds, FSC_FDS_MAX, &lost, 0), ==,
      5);
  g_assert_cmpmem (buffer, 5, "hello", 5);
  g_assert_false (lost);
  g_assert_cmpuint (fds.n, ==, 2);
  for (int i = 0; i < 2; i++)
    {
      g_assert_no_errno (fstat (fds.fds[i], &got));
      g_assert_cmpuint (got.st_ino, ==, sent[i].st_ino);
      g_assert_cmpint (fcntl (fds.fds[i], F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
    }

  /* In order: the first is the end for reading. What is taken is not closed by clear(). */
  g_assert_cmpint (write (pipes[1], "y", 1), ==, 1);
  taken = fsc_fds_steal (&fds, 0);
  g_assert_cmpint (fds.fds[0], ==, -1);
  fsc_fds_clear (&fds);
  g_assert_cmpuint (fds.n, ==, 0);
  g_assert_cmpint (read (taken, buffer, sizeof buffer), ==, 1);
  close (taken);
  close (pipes[1]);
}

static void
test_no_descriptors (Fixture *fixture, gconstpointer data)
{
  FscFds fds;
  bool lost;

  g_assert_cmpint (fsc_channel_send (fixture->there, "x", 1, NULL, 0, 0), ==, 0);
  g_assert_cmpint (receive (fixture, &fds, FSC_FDS_MAX, &lost), ==, 1);
  g_assert_cmpuint (fds.n, ==, 0);

  g_assert_cmpint (fsc_channel_send (fixture->there, "x", 1, NULL, 0, 0), ==, 0);
  g_assert_cmpint (receive (fixture, NULL, 0, NULL), ==, 1);
}

static void
test_most_descriptors (Fixture *fixture, gconstpointer data)
{
  FscFds fds;
  bool lost;

  send_many (fixture->there, FSC_FDS_MAX);
  g_assert_cmpint (receive (fixture, &fds, FSC_FDS_MAX, &lost), ==, 1);
  g_assert_false (lost);
  g_assert_cmpuint (fds.n, ==, FSC_FDS_MAX);
  fsc_fds_clear (&fds);
}

/* More than the kernel takes is the caller's bug, and must not write beyond the control buffer. */
static void
test_more_than_most (Fixture *fixture, gconstpointer data)
{
  int many[4 * FSC_FDS_MAX] = { 0 };
  FscFds fds;

  for (unsigned n = FSC_FDS_MAX + 1; n <= G_N_ELEMENTS (many); n++)
    g_assert_cmpint (fsc_channel_send (fixture->there, "x", 1, many, n, 0), ==, -EINVAL);
  send_many (fixture->there, 1);
  g_assert_cmpint (receive (fixture, &fds, FSC_FDS_MAX + 1, NULL), ==, -EINVAL);
  g_assert_cmpint (receive (fixture, &fds, 1, NULL), ==, 1);
  fsc_fds_clear (&fds);
}

/* Buffers and arrays of descriptors may lie at any address. */
static void
test_misaligned (Fixture *fixture, gconstpointer data)
{
  char space[64];
  int root = open ("/", O_PATH | O_CLOEXEC);

  for (unsigned offset = 0; offset < 8; offset++)
    {
      FscFds fds;

      memset (space, 'a', sizeof space);
      memcpy (space + offset, "packet", 6);
      g_assert_cmpint (fsc_channel_send (fixture->there, space + offset, 6, &root, 1, 0), ==, 0);
      memset (space, 'b', sizeof space);
      g_assert_cmpint (fsc_channel_receive (fixture->here, space + offset, 6, &fds, 1, NULL, 0), ==,
                       6);
      g_assert_cmpmem (space + offset, 6, "packet", 6);
      g_assert_cmpint (space[offset + 6], ==, 'b');
      g_assert_cmpuint (fds.n, ==, 1);
      fsc_fds_clear (&fds);
    }
  close (root);
}

/* Packets are not joined. */
static void
test_boundaries (Fixture *fixture, gconstpointer data)
{
  FscFds fds;

  for (unsigned n = 0; n < 5; n++)
    send_many (fixture->there, n);
  for (unsigned n = 0; n < 5; n++)
    {
      g_assert_cmpint (receive (fixture, &fds, 4, NULL), ==, 1);
      g_assert_cmpuint (fds.n, ==, n);
      fsc_fds_clear (&fds);
    }
}

/* Too many */

static void
test_too_many (Fixture *fixture, gconstpointer data)
{
  static const unsigned counts[][2] = { { 2, 3 }, { 2, 4 }, { 1, 3 }, { 1, 253 }, { 252, 253 } };

  for (unsigned i = 0; i < G_N_ELEMENTS (counts); i++)
    {
      FscFds fds;
      bool lost = true;

      send_many (fixture->there, counts[i][1]);
      g_assert_cmpint (receive (fixture, &fds, counts[i][0], &lost), ==, -EPROTO);
      g_assert_false (lost);
      g_assert_cmpuint (fds.n, >=, counts[i][0]);
      fsc_fds_clear (&fds);
    }
  assert_goes_on (fixture);
}

/* CMSG_SPACE (4) is as much as CMSG_SPACE (8): the kernel installs two where one is asked for, and
 * does not say that anything was cut. */
static void
test_padding_admits_one_more (Fixture *fixture, gconstpointer data)
{
  FscFds fds;

  g_assert_cmpuint (CMSG_SPACE (sizeof (int)), ==, CMSG_SPACE (2 * sizeof (int)));
  send_many (fixture->there, 2);
  g_assert_cmpint (receive (fixture, &fds, 1, NULL), ==, -EPROTO);
  g_assert_cmpuint (fds.n, ==, 2);
  fsc_fds_clear (&fds);
  assert_goes_on (fixture);
}

/* Where there is no room for any descriptor none is installed, not for an instant: with no number
 * free, nothing fails for want of one. */
static void
test_no_room (Fixture *fixture, gconstpointer data)
{
  struct rlimit limit, none;
  FscFds fds;

  g_assert_no_errno (getrlimit (RLIMIT_NOFILE, &limit));
  none = limit;
  none.rlim_cur = 0;
  for (unsigned n = 1; n <= 3; n++)
    {
      send_many (fixture->there, n);
      g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &none));
      g_assert_cmpint (receive (fixture, n == 1 ? NULL : &fds, 0, NULL), ==, -EPROTO);
      g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &limit));
    }
  assert_goes_on (fixture);
}

/* Before they are received */

static void
test_refused (Fixture *fixture, gconstpointer data)
{
  int root = open ("/", O_PATH | O_CLOEXEC);
  gboolean can_refuse = fsc_channel_refuse_fds (fixture->here);

  g_assert_cmpint (fsc_channel_send (fixture->there, "x", 1, &root, 1, 0), ==,
                   can_refuse ? -EPERM : 0);
  close (root);
  if (!can_refuse)
    g_test_skip ("the kernel cannot refuse descriptors (before Linux 6.16)");
  g_assert_cmpint (fsc_channel_send (fixture->there, "x", 1, NULL, 0, 0), ==, 0);
  g_assert_cmpint (receive (fixture, NULL, 0, NULL), ==, can_refuse ? 1 : -EPROTO);
}

/* What was sent before is there, an empty packet too. */
static void
test_refused_too_late (Fixture *fixture, gconstpointer data)
{
  FscFds fds;

  for (size_t length = 0; length <= 1; length++)
    {
      int root = open ("/", O_PATH | O_CLOEXEC);
      int pair[2];
      char byte;

      g_assert_no_errno (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
      g_assert_cmpint (fsc_channel_send (pair[1], "x", length, &root, 1, 0), ==, 0);
      close (root);
      g_assert_false (fsc_channel_refuse_fds (pair[0]));
      g_assert_cmpint (fsc_channel_receive (pair[0], &byte, 1, &fds, 1, NULL, 0), ==,
                       length > 0 ? 1 : -ECONNRESET);
      g_assert_cmpuint (fds.n, ==, 1);
      fsc_fds_clear (&fds);
      close (pair[0]);
      close (pair[1]);
    }
}

static void
test_brings (Fixture *fixture, gconstpointer data)
{
  FscFds fds;

  g_assert_false (fsc_channel_brings_fds (fixture->here));
  for (unsigned n = 0; n <= 3; n++)
    {
      send_many (fixture->there, n);
      for (int i = 0; i < 3; i++) /* nothing is taken by looking */
        g_assert_cmpint (fsc_channel_brings_fds (fixture->here), ==, n > 0);
      g_assert_cmpint (receive (fixture, &fds, 3, NULL), ==, 1);
      g_assert_cmpuint (fds.n, ==, n);
      fsc_fds_clear (&fds);
    }
}

/* Too long */

static void
test_truncated_packet (Fixture *fixture, gconstpointer data)
{
  int root = open ("/", O_PATH | O_CLOEXEC);
  int many[3] = { root, root, root };
  char buffer[8];

  for (unsigned n = 0; n <= 3; n++)
    {
      FscFds fds;
      bool lost = true;

      g_assert_cmpint (fsc_channel_send (fixture->there, "123456789", 9, many, n, 0), ==, 0);
      g_assert_cmpint (
          fsc_channel_receive (fixture->here, buffer, sizeof buffer, &fds, 3, &lost, 0), ==,
          -EPROTO);
      g_assert_false (lost);
      g_assert_cmpuint (fds.n, ==, n);
      fsc_fds_clear (&fds);
    }
  close (root);
  assert_goes_on (fixture);
}

/* No free descriptor */

/* Receives `sent` descriptors with numbers left for `room`; returns what receive() returned. */
static ssize_t
receive_with_room (Fixture *fixture, unsigned sent, unsigned room, FscFds *fds, bool *lost)
{
  struct rlimit limit, low;
  int first;
  ssize_t r;

  send_many (fixture->there, sent);

  /* The numbers below the first free one are taken, as tests run in one thread. */
  first = fcntl (fixture->here, F_DUPFD_CLOEXEC, 0);
  g_assert_cmpint (first, >=, 0);
  close (first);
  g_assert_no_errno (getrlimit (RLIMIT_NOFILE, &limit));
  low = limit;
  low.rlim_cur = (rlim_t) first + room;
  g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &low));
  r = receive (fixture, fds, FSC_FDS_MAX, lost);
  g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &limit));
  return r;
}

static void
test_lost (Fixture *fixture, gconstpointer data)
{
  for (unsigned sent = 1; sent <= 5; sent++)
    for (unsigned room = 0; room < sent; room++)
      {
        FscFds fds;
        bool lost = false;

        g_assert_cmpint (receive_with_room (fixture, sent, room, &fds, &lost), ==, 1);
        g_assert_true (lost);
        g_assert_cmpuint (fds.n, ==, 0);
        assert_goes_on (fixture);
      }
}

static void
test_enough_room (Fixture *fixture, gconstpointer data)
{
  FscFds fds;
  bool lost = true;

  g_assert_cmpint (receive_with_room (fixture, 3, 3, &fds, &lost), ==, 1);
  g_assert_false (lost);
  g_assert_cmpuint (fds.n, ==, 3);
  fsc_fds_clear (&fds);
}

/* Whoever does not ask whether anything was lost gets an error instead. */
static void
test_lost_unasked (Fixture *fixture, gconstpointer data)
{
  FscFds fds;

  for (unsigned room = 0; room < 3; room++)
    {
      g_assert_cmpint (receive_with_room (fixture, 3, room, &fds, NULL), ==, -EMFILE);
      g_assert_cmpuint (fds.n, ==, room);
      fsc_fds_clear (&fds);
    }
  assert_goes_on (fixture);
}

/* A packet that is too long is the peer's fault, also if descriptors were lost of it. */
static void
test_lost_and_truncated (Fixture *fixture, gconstpointer data)
{
  struct rlimit limit, none;
  FscFds fds;
  bool lost = true;
  char buffer[4];
  int root = open ("/", O_PATH | O_CLOEXEC);

  g_assert_cmpint (fsc_channel_send (fixture->there, "12345", 5, &root, 1, 0), ==, 0);
  close (root);
  g_assert_no_errno (getrlimit (RLIMIT_NOFILE, &limit));
  none = limit;
  none.rlim_cur = 0;
  g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &none));
  g_assert_cmpint (fsc_channel_receive (fixture->here, buffer, sizeof buffer, &fds, 1, &lost, 0),
                   ==, -EPROTO);
  g_assert_no_errno (setrlimit (RLIMIT_NOFILE, &limit));
  g_assert_false (lost);
  assert_goes_on (fixture);
}

/* Other control messages */

static void
pass_credentials (int socket, int on)
{
  g_assert_no_errno (setsockopt (socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
}

static void
test_credentials (Fixture *fixture, gconstpointer data)
{
  FscFds fds;
  bool lost;

  for (unsigned n = 0; n <= 3; n++)
    {
      pass_credentials (fixture->here, 1);
      send_many (fixture->there, n);
      g_assert_cmpint (receive (fixture, &fds, FSC_FDS_MAX, &lost), ==, -EPROTO);
      g_assert_cmpuint (fds.n, ==, n);
      fsc_fds_clear (&fds);

      /* Credentials leave no room for anything else, and are cut themselves. */
      send_many (fixture->there, n);
      g_assert_cmpint (receive (fixture, &fds, 1, &lost), ==, -EPROTO);
      g_assert_cmpuint (fds.n, ==, 0);
      pass_credentials (fixture->here, 0);
    }
  assert_goes_on (fixture);
}

typedef union
{
  struct cmsghdr align;
  char bytes[256];
} Control;

/* Appends a control message; returns the length of the control data. */
static size_t
add_control (Control *control, size_t at, int type, const void *data, size_t length)
{
  struct cmsghdr header
      = { .cmsg_len = CMSG_LEN (length), .cmsg_level = SOL_SOCKET, .cmsg_type = type };

  memcpy (control->bytes + at, &header, sizeof header);
  memcpy (control->bytes + at + CMSG_LEN (0), data, length);
  return at + CMSG_SPACE (length);
}

/* Two SCM_RIGHTS in one packet: Linux hands them on as one. All are counted. */
static void
test_two_control_messages (Fixture *fixture, gconstpointer data)
{
  int root = open ("/", O_PATH | O_CLOEXEC);
  int many[3] = { root, root, root };

  for (unsigned max_fds = 1; max_fds <= 6; max_fds++)
    {
      Control control = { 0 };
      size_t length = add_control (&control, 0, SCM_RIGHTS, many, 2 * sizeof (int));
      FscFds fds;

      length = add_control (&control, length, SCM_RIGHTS, many, 3 * sizeof (int));
      send_raw (fixture->there, control.bytes, length);
      g_assert_cmpint (receive (fixture, &fds, max_fds, NULL), ==, max_fds < 5 ? -EPROTO : 1);
      if (max_fds >= 5)
        g_assert_cmpuint (fds.n, ==, 5);
      fsc_fds_clear (&fds);
    }
  close (root);
  assert_goes_on (fixture);
}

static void
test_rights_and_credentials (Fixture *fixture, gconstpointer data)
{
  int root = open ("/", O_PATH | O_CLOEXEC);
  struct ucred self = { .pid = getpid (), .uid = getuid (), .gid = getgid () };

  for (int is_first = 0; is_first <= 1; is_first++)
    {
      Control control = { 0 };
      FscFds fds;
      size_t length = 0;

      if (is_first)
        length = add_control (&control, length, SCM_RIGHTS, &root, sizeof root);
      length = add_control (&control, length, SCM_CREDENTIALS, &self, sizeof self);
      if (!is_first)
        length = add_control (&control, length, SCM_RIGHTS, &root, sizeof root);

      /* Both are delivered to whoever asks for credentials ... */
      pass_credentials (fixture->here, 1);
      send_raw (fixture->there, control.bytes, length);
      g_assert_cmpint (receive (fixture, &fds, FSC_FDS_MAX, NULL), ==, -EPROTO);
      g_assert_cmpuint (fds.n, ==, 1);
      fsc_fds_clear (&fds);
      pass_credentials (fixture->here, 0);

      /* ... and only the descriptors to whoever does not. */
      send_raw (fixture->there, control.bytes, length);
      g_assert_cmpint (receive (fixture, &fds, 1, NULL), ==, 1);
      g_assert_cmpuint (fds.n, ==, 1);
      fsc_fds_clear (&fds);
    }
  close (root);
  assert_goes_on (fixture);
}

/* The end */

static void
test_closed (Fixture *fixture, gconstpointer data)
{
  FscFds fds;
  bool lost;

  send_many (fixture->there, 1);
  close (fixture->there);
  fixture->there = -1;

  /* What was sent before still arrives. */
  g_assert_cmpint (receive (fixture, &fds, 1, &lost), ==, 1);
  fsc_fds_clear (&fds);
  g_assert_cmpint (receive (fixture, &fds, 1, &lost), ==, -ECONNRESET);
  g_assert_false (lost);
  g_assert_cmpuint (fds.n, ==, 0);

  g_assert_cmpint (fsc_channel_send (fixture->here, "x", 1, NULL, 0, 0), ==, -EPIPE);
}

/* It would end this program. (Linux raises it for streams only; POSIX does not say so.) */
static void
test_no_sigpipe (Fixture *fixture, gconstpointer data)
{
  int ends[2];

  g_assert_no_errno (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
  close (ends[1]);
  g_assert_cmpint (fsc_channel_send (ends[0], "x", 1, NULL, 0, 0), ==, -EPIPE);
  close (ends[0]);
}

/* An empty packet looks like the end, and is taken for it; its descriptors are closed. */
static void
test_empty_packet (Fixture *fixture, gconstpointer data)
{
  FscFds fds;
  int root = open ("/", O_PATH | O_CLOEXEC);

  g_assert_cmpint (fsc_channel_send (fixture->there, "", 0, &root, 1, 0), ==, 0);
  close (root);
  g_assert_cmpint (receive (fixture, &fds, 1, NULL), ==, -ECONNRESET);
  g_assert_cmpuint (fds.n, ==, 1);
  fsc_fds_clear (&fds);
}

static void
test_not_a_socket (Fixture *fixture, gconstpointer data)
{
  FscFds fds = { .n = 7 };
  char buffer[4];
  int null = open ("/dev/null", O_RDWR | O_CLOEXEC);

  g_assert_cmpint (fsc_channel_send (null, "x", 1, NULL, 0, 0), ==, -ENOTSOCK);
  g_assert_cmpint (fsc_channel_receive (null, buffer, sizeof buffer, &fds, 1, NULL, 0), ==,
                   -ENOTSOCK);
  g_assert_cmpuint (fds.n, ==, 0);
  close (null);
}

/* Waiting */

static void
test_full_buffer (Fixture *fixture, gconstpointer data)
{
  g_autofree char *packet = g_malloc0 (8192);
  struct pollfd poll_fd = { .fd = fixture->there, .events = POLLOUT };
  int root = open ("/", O_PATH | O_CLOEXEC);
  unsigned n = 0, received = 0;
  FscFds fds;
  int r;

  while ((r = fsc_channel_send (fixture->there, packet, 8192, &root, 1, 0)) == 0)
    g_assert_cmpuint (++n, <, 10000);
  g_assert_cmpint (r, ==, -EAGAIN);
  g_assert_cmpint (poll (&poll_fd, 1, 0), ==, 0);

  /* What was refused has left no trace: as many arrive as were sent, and then there is room. */
  while ((r = (int) fsc_channel_receive (fixture->here, packet, 8192, &fds, 1, NULL, 0)) > 0)
    {
      received++;
      g_assert_cmpuint (fds.n, ==, 1);
      fsc_fds_clear (&fds);
    }
  g_assert_cmpint (r, ==, -EAGAIN);
  g_assert_cmpuint (received, ==, n);
  g_assert_cmpint (poll (&poll_fd, 1, 0), ==, 1);
  g_assert_cmpint (fsc_channel_send (fixture->there, packet, 8192, &root, 1, 0), ==, 0);
  close (root);
}

static void
test_dontwait (Fixture *fixture, gconstpointer data)
{
  FscFds fds;
  char buffer[4];

  g_assert_no_errno (fcntl (fixture->here, F_SETFL, 0));
  g_assert_cmpint (
      fsc_channel_receive (fixture->here, buffer, sizeof buffer, &fds, 1, NULL, MSG_DONTWAIT), ==,
      -EAGAIN);
}

static void
test_receive_timeout (Fixture *fixture, gconstpointer data)
{
  struct timeval timeout = { .tv_usec = 10000 };
  FscFds fds;

  g_assert_no_errno (fcntl (fixture->here, F_SETFL, 0));
  g_assert_no_errno (setsockopt (fixture->here, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
  g_assert_cmpint (receive (fixture, &fds, 1, NULL), ==, -EAGAIN);
}

static volatile sig_atomic_t n_signals;
static int signal_socket = -1;

/* The third signal sends or takes the packet that the interrupted call waits for. */
static void
on_alarm_send (int number)
{
  int saved = errno;

  if (++n_signals == 3)
    (void) !send (signal_socket, "late", 4, MSG_NOSIGNAL);
  errno = saved;
}

static void
on_alarm_receive (int number)
{
  static char sink[8192];
  int saved = errno;

  if (++n_signals >= 3)
    while (recv (signal_socket, sink, sizeof sink, MSG_DONTWAIT) > 0)
      ;
  errno = saved;
}

/* Every 10 ms, without SA_RESTART. */
static void
start_alarms (void (*handler) (int), struct sigaction *before)
{
  struct itimerval often = { { 0, 10000 }, { 0, 10000 } };
  struct sigaction action = { .sa_handler = handler };

  n_signals = 0;
  g_assert_no_errno (sigaction (SIGALRM, &action, before));
  g_assert_no_errno (setitimer (ITIMER_REAL, &often, NULL));
}

static void
stop_alarms (const struct sigaction *before)
{
  struct itimerval never = { 0 };

  g_assert_no_errno (setitimer (ITIMER_REAL, &never, NULL));
  g_assert_no_errno (sigaction (SIGALRM, before, NULL));
}

static void
test_interrupted_receive (Fixture *fixture, gconstpointer data)
{
  struct sigaction before;
  FscFds fds;

  g_assert_no_errno (fcntl (fixture->here, F_SETFL, 0));
  signal_socket = fixture->there;
  start_alarms (on_alarm_send, &before);
  g_assert_cmpint (receive (fixture, &fds, 1, NULL), ==, 4);
  stop_alarms (&before);
  g_assert_cmpint (n_signals, >=, 3);
}

static void
on_alarm (int number)
{
  n_signals++;
}

/* Each signal begins the kernel's SO_RCVTIMEO anew. */
static void
test_interrupted_timeout (Fixture *fixture, gconstpointer data)
{
  struct timeval timeout = { .tv_usec = 100000 };
  struct sigaction before;
  FscFds fds;
  gint64 start = g_get_monotonic_time ();

  g_assert_no_errno (fcntl (fixture->here, F_SETFL, 0));
  g_assert_no_errno (setsockopt (fixture->here, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
  start_alarms (on_alarm, &before);
  g_assert_cmpint (receive (fixture, &fds, 1, NULL), ==, -EAGAIN);
  stop_alarms (&before);
  g_assert_cmpint (n_signals, >=, 3);
  g_assert_cmpint (g_get_monotonic_time () - start, >=, 100000);
}

static void
test_interrupted_send (Fixture *fixture, gconstpointer data)
{
  g_autofree char *packet = g_malloc0 (8192);
  struct sigaction before;
  int r;

  while ((r = fsc_channel_send (fixture->there, packet, 8192, NULL, 0, MSG_DONTWAIT)) == 0)
    ;
  g_assert_cmpint (r, ==, -EAGAIN);
  g_assert_no_errno (fcntl (fixture->there, F_SETFL, 0));
  signal_socket = fixture->here;
  start_alarms (on_alarm_receive, &before);
  g_assert_cmpint (fsc_channel_send (fixture->there, packet, 8192, NULL, 0, 0), ==, 0);
  stop_alarms (&before);
  g_assert_cmpint (n_signals, >=, 3);
}

/* Descriptors in flight */

enum
{
  CHILD_PASSED = 0,
  CHILD_FAILED = 1,
  CHILD_CANNOT = 2
};

/* In a child, which is nobody: sends descriptors that nobody reads, until the kernel refuses. The
 * kernel counts them by user against RLIMIT_NOFILE, and not for those who may exceed it. */
static int
flood (int socket, int reader)
{
  struct rlimit limit = { 64, 64 };
  const struct passwd *nobody = getpwnam ("nobody");
  int root = open ("/", O_PATH | O_CLOEXEC);
  char buffer[8];
  FscFds fds;
  int r = 0, sent = 0;

  if (setrlimit (RLIMIT_NOFILE, &limit) < 0 || root < 0)
    return CHILD_CANNOT;
  if (getuid () == 0
      && (nobody == NULL || setgid (nobody->pw_gid) < 0 || setuid (nobody->pw_uid) < 0))
    return CHILD_CANNOT;

  while (sent < 1000 && (r = fsc_channel_send (socket, "x", 1, &root, 1, 0)) == 0)
    sent++;
  if (r != -ETOOMANYREFS || sent == 0)
    return CHILD_FAILED;

  /* It ends when they are read. */
  while (fsc_channel_receive (reader, buffer, sizeof buffer, &fds, 1, NULL, 0) > 0)
    fsc_fds_clear (&fds);
  return fsc_channel_send (socket, "x", 1, &root, 1, 0) == 0 ? CHILD_PASSED : CHILD_FAILED;
}

static void
test_too_many_in_flight (Fixture *fixture, gconstpointer data)
{
  int status;
  pid_t pid = fork ();

  if (pid == 0)
    _exit (flood (fixture->there, fixture->here));
  g_assert_cmpint (pid, >, 0);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFEXITED (status));
  if (WEXITSTATUS (status) == CHILD_CANNOT)
    g_test_skip ("cannot become an unprivileged user with a low RLIMIT_NOFILE");
  else
    g_assert_cmpint (WEXITSTATUS (status), ==, CHILD_PASSED);
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *path;
    void (*test) (Fixture *fixture, gconstpointer data);
  } tests[] = {
    { "/channel/descriptors", test_descriptors },
    { "/channel/no-descriptors", test_no_descriptors },
    { "/channel/most-descriptors", test_most_descriptors },
    { "/channel/more-than-most", test_more_than_most },
    { "/channel/misaligned", test_misaligned },
    { "/channel/boundaries", test_boundaries },
    { "/channel/too-many", test_too_many },
    { "/channel/padding-admits-one-more", test_padding_admits_one_more },
    { "/channel/no-room", test_no_room },
    { "/channel/refused", test_refused },
    { "/channel/refused-too-late", test_refused_too_late },
    { "/channel/brings", test_brings },
    { "/channel/truncated-packet", test_truncated_packet },
    { "/channel/lost", test_lost },
    { "/channel/lost/enough-room", test_enough_room },
    { "/channel/lost/unasked", test_lost_unasked },
    { "/channel/lost/and-truncated", test_lost_and_truncated },
    { "/channel/credentials", test_credentials },
    { "/channel/two-control-messages", test_two_control_messages },
    { "/channel/rights-and-credentials", test_rights_and_credentials },
    { "/channel/closed", test_closed },
    { "/channel/no-sigpipe", test_no_sigpipe },
    { "/channel/empty-packet", test_empty_packet },
    { "/channel/not-a-socket", test_not_a_socket },
    { "/channel/full-buffer", test_full_buffer },
    { "/channel/dontwait", test_dontwait },
    { "/channel/receive-timeout", test_receive_timeout },
    { "/channel/interrupted-receive", test_interrupted_receive },
    { "/channel/interrupted-timeout", test_interrupted_timeout },
    { "/channel/interrupted-send", test_interrupted_send },
    { "/channel/too-many-in-flight", test_too_many_in_flight },
  };

  fsc_test_init (&argc, &argv);
  for (unsigned i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, setup, tests[i].test, teardown);
  return g_test_run ();
}
