/* Opens a filter that may be of generation S, `open (int readonly)`, or of generation A,
 * `open (next, nxdata, readonly)`: nothing else tells the two apart in binaries of the time.
 *
 * Both read a first argument in the same register: S an int, A a function pointer. So the function is
 * put at an address whose low 32 bits equal `readonly`: S gets its flag, A a pointer that works.
 * The caller learns which it was by whether the next layer was opened.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "adapters.gen.h"
#include "internal.h"

#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_A
#include "nbdkit-filter.h"

#ifdef __x86_64__
#define PAGE 4096

/* Make code that jumps to rt_next_open_a, at an address whose low 32 bits are `low`. */
static nbdkit_next_open *
jump_at (uint32_t low)
{
  static const unsigned char movabs_rax[] = { 0x48, 0xb8 }, jmp_rax[] = { 0xff, 0xe0 };
  nbdkit_next_open *next = rt_next_open_a, *result = NULL;

  for (uint64_t high = 0x10; high < 0x7f00 && result == NULL; high++) {
    unsigned char *page = mmap ((void *) (uintptr_t) (high << 32), PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    unsigned char *at;

    if (page == MAP_FAILED)
      continue;
    if ((uintptr_t) page != high << 32) { /* a kernel that does not know NOREPLACE */
      munmap (page, PAGE);
      continue;
    }
    at = page + low;
    memcpy (at, movabs_rax, sizeof movabs_rax);
    memcpy (at + 2, &next, sizeof next);
    memcpy (at + 10, jmp_rax, sizeof jmp_rax);
    if (mprotect (page, PAGE, PROT_READ | PROT_EXEC) == -1) {
      munmap (page, PAGE);
      break;
    }
    memcpy (&result, &at, sizeof result);
  }
  return result;
}
#endif

void
rt_open_either (const void *module, struct rt_message *m)
{
#ifdef __x86_64__
  /* Filled on the first open of each kind; a race would only waste a page. */
  static nbdkit_next_open *_Atomic jumps[2];
  const struct nbdkit_filter *filter = module;
  unsigned readonly = m->readonly != 0;
  nbdkit_next_open *next = jumps[readonly];

  if (next == NULL)
    next = jumps[readonly] = jump_at (readonly);
  if (next != NULL) {
    m->ret = (intptr_t) filter->open (next, (void *) (uintptr_t) m->nxdata, m->readonly);
    return;
  }
  errno = ENOMEM;
#else
  (void) module;
  errno = ENOSYS;
#endif
  m->ret = 0;
}
