/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Unpacking: the content of a compressed file, or of a member of an archive (tar, zip, 7z, cpio),
 * which may be compressed as well. It knows no files and no processes, and trusts nothing that it
 * reads; whoever calls it has been shut in before (unpacker.h).
 *
 * A member is found by its name, byte by byte as the archive has it: "../x", "/x" and "./x" are
 * names like others, and lead nowhere. Of several with one name the last is meant, and a hard link
 * is the file that it is a name of, as if all were extracted. So an archive is read to its end,
 * which also tells whether it is whole. What is no file has no content.
 */
#pragma once

#include "fscache/openers/stream.h"

/* Where the content goes. Each returns false to stop. */
typedef struct
{
  /* It begins; what came before is not of it. */
  bool (*begin) (void *data);
  bool (*write) (const void *bytes, size_t n, void *data);
  void *data;
} FscOutput;

/* `source` can seek. Without a member, it is the content of the compressed file that is meant.
 * Returns whether all of it was written; if not, and nobody stopped it, the fault says why. */
bool fsc_unpack (FscStream *source, const char *member, const FscOutput *output, FscFault *fault);
