/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fuzzes the codec: any bytes may come with any number of descriptors. What is read is in range and
 * lies within the packet, and is written to the same bytes again.
 *
 * The input is the number of descriptors (two bytes, little-endian; 65535 stands for "lost") and
 * then the packet. Linked with libFuzzer, or with replay.c, which runs the corpus as a test.
 */
#include "tests/harness/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
require (bool condition)
{
  if (!condition)
    abort ();
}

static uint8_t buffer[FSC_PACKET_MAX];

static void
check_length (FscBytes bytes, size_t max)
{
  require (bytes.length <= max);
}

static void
check_result (const FscTestMessage *message, const FscResult *result, unsigned *n_fds)
{
  require (result->index < FSC_ITEMS_MAX && result->error >= 0 && result->code <= FSC_CODE_LAST);
  require ((!result->has_fd && !result->content.is_known) || result->code == FSC_CODE_OK);
  require (result->content.is_known || !result->content.is_sealed);
  require (!result->has_ttl || result->code == FSC_CODE_OK || result->code == FSC_CODE_UNCHANGED);
  check_length (result->text,
                result->code == FSC_CODE_LEADS_ELSEWHERE ? FSC_URI_MAX : FSC_TEXT_MAX);
  check_length (result->validator, FSC_VALIDATOR_MAX);
  *n_fds += result->has_fd;
  require (*n_fds <= message->header.n_fds);
}

/* What a receiver relies on. */
static void
check_records (const FscTestMessage *message)
{
  unsigned n_fds = 0;

  for (uint32_t i = 0; i < message->n_records; i++)
    switch (message->header.opcode)
      {
      case FSC_OP_OPEN:
      case FSC_OP_WATCH:
        check_length (message->records[i].item.uri, FSC_URI_MAX);
        check_length (message->records[i].item.validator, FSC_VALIDATOR_MAX);
        check_length (message->records[i].item.resume, FSC_RESUME_MAX);
        require ((message->records[i].item.options & FSC_OPTION_DIGEST) == 0
                 || message->records[i].item.validator.length == FSC_DIGEST_SIZE);
        require (message->records[i].item.mount_length <= message->records[i].item.uri.length);
        break;
      case FSC_OP_OPENED:
      case FSC_OP_EVENT:
        check_result (message, &message->records[i].result, &n_fds);
        break;
      case FSC_OP_ENTRIES:
        check_length (message->records[i].entry.uri, FSC_URI_MAX);
        break;
      case FSC_OP_HOLDINGS:
        check_length (message->records[i].holding.uri, FSC_URI_MAX);
        check_length (message->records[i].holding.name, FSC_NAME_MAX);
        require (message->records[i].holding.sharing <= FSC_SHARING_LAST);
        break;
      case FSC_OP_COUNTERS:
        check_length (message->records[i].counter.name, FSC_NAME_MAX);
        break;
      case FSC_OP_WATCHED:
        check_length (message->records[i].step.name, FSC_STEP_NAME_MAX);
        require (message->records[i].step.wd > 0);
        break;
      default:
        break;
      }
  if (message->header.opcode == FSC_OP_SET)
    check_length (message->limit.name, FSC_NAME_MAX);
  if (message->header.opcode == FSC_OP_WATCHED)
    require (message->index < FSC_ITEMS_MAX && message->n_records >= 2
             && message->n_records <= FSC_STEPS_MAX);
  if (message->header.opcode == FSC_OP_PROGRESS)
    require (message->progress.index < FSC_ITEMS_MAX);
  if (message->header.opcode == FSC_OP_PUT)
    {
      check_length (message->put.uri, FSC_URI_MAX);
      require (message->put.mode <= FSC_PUT_LAST);
      require ((message->put.expected != 0) == (message->put.mode == FSC_PUT_EXCHANGE));
    }
  if (message->header.opcode == FSC_OP_EVENT)
    require (message->event.reason <= FSC_REASON_LAST);
  if (message->header.opcode == FSC_OP_OPENED || message->header.opcode == FSC_OP_EVENT)
    require (n_fds == message->header.n_fds);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static FILE *nowhere;
  FscTestMessage message;
  unsigned n_fds, min_fds, max_fds;
  int length;

  if (size < 2)
    return 0;
  n_fds = data[0] | (unsigned) data[1] << 8;
  if (fsc_test_message_decode (&message, data + 2, size - 2, n_fds == 65535 ? FSC_FDS_LOST : n_fds)
      < 0)
    return 0;

  require (fsc_codec_get_fd_range (message.header.opcode, &min_fds, &max_fds));
  require (message.header.n_fds >= min_fds && message.header.n_fds <= max_fds);
  require (n_fds == 65535 || message.header.n_fds == n_fds);
  check_records (&message);

  length = fsc_test_message_encode (&message, buffer, sizeof buffer);
  require (length >= 0 && (size_t) length == size - 2 && memcmp (buffer, data + 2, size - 2) == 0);

  /* Looks at each byte of each string, for the sanitizer to see. */
  if (nowhere == NULL)
    nowhere = fopen ("/dev/null", "we");
  if (nowhere != NULL)
    fsc_test_message_print (&message, nowhere);
  fsc_test_message_clear (&message);
  return 0;
}
