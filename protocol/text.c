/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sentences for people; see text.h.
 */
#include "protocol/text.h"

#include <stddef.h>
#include <stdint.h>

/* The length of the character that begins here, if it is one to be shown; else 0. */
static size_t
get_length (const unsigned char *bytes)
{
  static const uint32_t first_of_length[] = { 0, 0, 0x80, 0x800, 0x10000 };
  size_t length = bytes[0] < 0x80   ? 1
                  : bytes[0] < 0xc0 ? 0
                  : bytes[0] < 0xe0 ? 2
                  : bytes[0] < 0xf0 ? 3
                  : bytes[0] < 0xf8 ? 4
                                    : 0;
  uint32_t character = length > 1 ? bytes[0] & (0x7fu >> length) : bytes[0];

  for (size_t i = 1; i < length; i++)
    {
      if ((bytes[i] & 0xc0) != 0x80)
        return 0;
      character = character << 6 | (bytes[i] & 0x3f);
    }
  if (length == 0 || character < first_of_length[length] || character > 0x10ffff
      || (character >= 0xd800 && character < 0xe000))
    return 0;
  return character < 0x20 || (character >= 0x7f && character < 0xa0) ? 0 : length;
}

void
fsc_text_clean (char *text)
{
  while (*text != '\0')
    {
      size_t length = get_length ((const unsigned char *) text);

      if (length == 0)
        *text = '?';
      text += length > 0 ? length : 1;
    }
}
