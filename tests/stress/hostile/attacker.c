/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Those who take what they can; see hostile.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "tests/harness/message.h"
#include "tests/stress/hostile/hostile.h"

#define IN_FLIGHT 50 /* requests of each that is busy */
#define EVENTS_MAX 64

typedef enum
{
  DEAF,   /* asks for lists and descriptors, and never reads */
  BUSY,   /* always has requests waiting, for what is not cached */
  HOARD,  /* opens and pins, and leaves the descriptors unread */
  GIVER,  /* sends descriptors that nobody asked for, and comes again */
  SILENT, /* connects, and says nothing */
  N_KINDS,
} Kind;

typedef struct
{
  int fd; /* or -1 */
  Kind kind;
  guint n_sent;
} Attacker;

typedef struct
{
  const HostileStage *stage;
  int epoll_fd;
  guint32 next; /* name to be opened */
} Attack;

static int
send_message (int fd, const FscTestMessage *message, const int *fds)
{
  guint8 buffer[FSC_URI_MAX];
  int length = fsc_test_message_encode (message, buffer, sizeof buffer);

  return fsc_channel_send (fd, buffer, (size_t) length, fds, message->header.n_fds, MSG_DONTWAIT);
}

static void
say_hello (int fd)
{
  static const FscTestMessage hello
      = { .header = { .opcode = FSC_OP_HELLO, .n_fds = 1 },
          .hello
          = { FSC_PROTOCOL_MAGIC, FSC_PROTOCOL_LOWEST, FSC_PROTOCOL_HIGHEST, 0, { "bad", 3 } } };
  int root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

  send_message (fd, &hello, &root);
  close (root);
}

static int
send_open (Attack *attack, int fd)
{
  g_autofree char *uri
      = g_strdup_printf ("file://%s/hoard/%u", attack->stage->dir, attack->next % HOSTILE_HOARD);
  FscTestRecord record
      = { .item = { .sharing = FSC_SHARING_SHARED, .uri = { uri, strlen (uri) } } };
  const FscTestMessage message = { .header = { .opcode = FSC_OP_OPEN, .serial = attack->next + 1 },
                                   .n_records = 1,
                                   .records = &record };

  attack->next++;
  return send_message (fd, &message, NULL);
}

static int
send_other (Attack *attack, int fd, FscOpcode opcode)
{
  g_autofree char *uri
      = g_strdup_printf ("file://%s/hoard/%u", attack->stage->dir, attack->next % HOSTILE_REAL);
  FscTestMessage message = { .header = { .opcode = opcode, .serial = 1 } };

  if (opcode == FSC_OP_LIST)
    message.list = (FscList){ .uri = { "*a*b*", 5 }, .is_pattern = true };
  else
    message.target = (FscTarget){ .uri = { uri, strlen (uri) }, .pinned = true };
  return send_message (fd, &message, NULL);
}

static int
give (int fd)
{
  static const FscTestMessage ping
      = { .header = { .opcode = FSC_OP_PING, .serial = 1, .n_fds = 1 } };

  return send_message (fd, &ping, &(int){ STDERR_FILENO });
}

/* As much as goes, and as it is its kind. */
static void
act (Attack *attack, Attacker *attacker)
{
  int r = 0;

  while (r == 0)
    switch (attacker->kind)
      {
      case DEAF:
        r = attacker->n_sent++ % 2 == 0 ? send_open (attack, attacker->fd)
                                        : send_other (attack, attacker->fd, FSC_OP_LIST);
        break;
      case HOARD:
        r = attacker->n_sent++ % 2 == 0 ? send_open (attack, attacker->fd)
                                        : send_other (attack, attacker->fd, FSC_OP_PIN);
        break;
      case BUSY:
        r = attacker->n_sent < IN_FLIGHT ? send_open (attack, attacker->fd) : -EAGAIN;
        attacker->n_sent += r == 0;
        break;
      case GIVER:
        give (attacker->fd);
        return;
      default:
        return;
      }
}

static void
come (Attack *attack, Attacker *attacker)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = attacker };

  g_strlcpy (address.sun_path, attack->stage->socket, sizeof address.sun_path);
  attacker->n_sent = 0;
  attacker->fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (attacker->kind == DEAF || attacker->kind == HOARD)
    event.events = EPOLLOUT | EPOLLET;
  if (connect (attacker->fd, (const struct sockaddr *) &address, sizeof address) < 0
      || epoll_ctl (attack->epoll_fd, EPOLL_CTL_ADD, attacker->fd, &event) < 0)
    {
      close (attacker->fd);
      attacker->fd = -1;
      return;
    }
  if (attacker->kind != SILENT)
    say_hello (attacker->fd);
}

/* Returns FALSE if it was disconnected. */
static gboolean
take_answers (Attacker *attacker)
{
  guint8 buffer[FSC_PACKET_MAX];

  for (;;)
    {
      FscFds fds = { 0 };
      ssize_t length = fsc_channel_receive (attacker->fd, buffer, sizeof buffer, &fds, FSC_FDS_MAX,
                                            NULL, MSG_DONTWAIT);
      FscTestMessage message = { 0 };

      if (length == -EAGAIN)
        return TRUE;
      if (length <= 0)
        return FALSE;
      if (fsc_test_message_decode (&message, buffer, (size_t) length, fds.n) == 0
          && message.header.opcode == FSC_OP_OPENED)
        attacker->n_sent -= MIN (attacker->n_sent, message.n_records);
      fsc_test_message_clear (&message);
      fsc_fds_clear (&fds);
    }
}

static void
go_on (Attack *attack, Attacker *attacker, guint32 events)
{
  if ((events & (EPOLLHUP | EPOLLERR)) != 0
      || ((events & EPOLLIN) != 0 && !take_answers (attacker)))
    {
      close (attacker->fd);
      come (attack, attacker);
      return;
    }
  act (attack, attacker);
}

void
hostile_attack (const HostileStage *stage, guint first, guint n)
{
  Attack attack = { stage, epoll_create1 (EPOLL_CLOEXEC), first };
  g_autofree Attacker *attackers = g_new0 (Attacker, n);

  if (setresgid (HOSTILE_ATTACKER, HOSTILE_ATTACKER, HOSTILE_ATTACKER) < 0
      || setresuid (HOSTILE_ATTACKER, HOSTILE_ATTACKER, HOSTILE_ATTACKER) < 0)
    _exit (2);
  for (guint i = 0; i < n; i++)
    attackers[i] = (Attacker){ .fd = -1, .kind = i % N_KINDS };
  for (;;)
    {
      struct epoll_event events[EVENTS_MAX];
      int n_events;

      for (guint i = 0; i < n; i++)
        if (attackers[i].fd < 0)
          come (&attack, &attackers[i]);
      n_events = epoll_wait (attack.epoll_fd, events, EVENTS_MAX, 10);
      for (int i = 0; i < n_events; i++)
        go_on (&attack, events[i].data.ptr, events[i].events);
    }
}
