/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The quick check; see check.h.
 */
#include "fscache/check.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fscache/identity.h"
#include "protocol/uri.h"

/* What has a time-to-live is always to be revalidated. */
gboolean
fsc_check_is_possible (const FscItem *item)
{
  gboolean is_of_local_content
      = item->validator.length == FSC_IDENTITY_LONG
        && (item->options & (FSC_OPTION_CONTENT | FSC_OPTION_REVALIDATE)) == FSC_OPTION_CONTENT;

  return (item->validator.length == FSC_IDENTITY_SHORT || is_of_local_content)
         && fsc_uri_has_scheme (item->uri, "file");
}

gboolean
fsc_check_quickly (const FscItem *item)
{
  struct open_how how = {
    .flags = (item->flags & (O_DIRECTORY | O_NOFOLLOW)) | O_PATH | O_CLOEXEC,
    .resolve = RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED,
  };
  char path[FSC_URI_MAX + 1];
  gboolean is_unchanged = FALSE;
  FscIdentity identity;
  struct statx st;
  int fd;

  if (fsc_uri_to_path (item->uri, path, sizeof path) < 0)
    return FALSE;
  fd = (int) syscall (SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (fd < 0)
    return FALSE;

  /* It may be anything by now, on any file system: asked for no more than is known, none of them
   * waits. If it is the file of the handle, it is on a local one, and that can be asked the rest.
   */
  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, FSC_IDENTITY_MASK, &st) == 0)
    {
      identity = fsc_identity_get (&st);
      is_unchanged = fsc_identity_has_validator (&identity, item->validator)
                     && ((item->flags & O_PATH) != 0
                         || ((S_ISREG (st.stx_mode) || S_ISDIR (st.stx_mode))
                             && faccessat (fd, "", R_OK, AT_EACCESS | AT_EMPTY_PATH) == 0));
    }
  close (fd);
  return is_unchanged;
}
