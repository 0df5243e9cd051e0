/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Memory that never comes; see memory.h.
 */
#include "tests/harness/memory.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *
fsc_test_make_hanging_page (void)
{
  size_t size = (size_t) getpagesize ();
  struct uffdio_api api = { .api = UFFD_API };
  int fd = (int) syscall (SYS_userfaultfd, O_CLOEXEC);
  void *page = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range
      = { .range = { (uintptr_t) page, size }, .mode = UFFDIO_REGISTER_MODE_MISSING };

  if (fd < 0 || page == MAP_FAILED || ioctl (fd, UFFDIO_API, &api) < 0
      || ioctl (fd, UFFDIO_REGISTER, &range) < 0)
    return NULL;
  return page; /* as long as `fd` is open */
}
