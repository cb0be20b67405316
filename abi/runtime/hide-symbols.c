/* Hides from modules what the program that loads them exports.
 *
 * The dynamic linker looks for every symbol in the program first. Bun's program exports libuv's functions, as stubs that
 * end the process, and those of Node's addons, and so modules and their libraries would call these instead of their own.
 * A symbol with no value is passed over.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#ifdef __aarch64__
#define R_COPY R_AARCH64_COPY
#else
#define R_COPY R_X86_64_COPY
#endif

struct object {
  ElfW (Sym) *symbols;
  uint32_t nr_symbols;
  const char *strings;
  const ElfW (Rela) *relocations;
  size_t nr_relocations;
  int protection; /* of the memory that has the symbols */
};

/* Where a pointer of the dynamic section points to: the dynamic linker may have added the base already. */
static uintptr_t
located (const struct dl_phdr_info *info, ElfW (Addr) value)
{
  return value < info->dlpi_addr ? info->dlpi_addr + value : value;
}

/* How many symbols there are: the GNU hash table ends with the chain that begins last. */
static uint32_t
count_symbols (const uint32_t *table)
{
  uint32_t nr_buckets = table[0], first = table[1], bloom_words = table[2], last = 0;
  const uint32_t *buckets = table + 4 + bloom_words * (sizeof (ElfW (Addr)) / sizeof *table);
  const uint32_t *chains = buckets + nr_buckets;

  for (uint32_t i = 0; i < nr_buckets; i++)
    last = buckets[i] > last ? buckets[i] : last;
  if (last < first)
    return 0;
  while (!(chains[last - first] & 1))
    last++;
  return last + 1;
}

static void
read_dynamic (const struct dl_phdr_info *info, const ElfW (Dyn) *dynamic, struct object *object)
{
  for (; dynamic->d_tag != DT_NULL; dynamic++) {
    uintptr_t at = located (info, dynamic->d_un.d_ptr);

    switch (dynamic->d_tag) {
    case DT_SYMTAB: object->symbols = (ElfW (Sym) *) at; break;
    case DT_STRTAB: object->strings = (const char *) at; break;
    case DT_GNU_HASH: object->nr_symbols = count_symbols ((const uint32_t *) at); break;
    case DT_RELA: object->relocations = (const ElfW (Rela) *) at; break;
    case DT_RELASZ: object->nr_relocations = dynamic->d_un.d_val / sizeof (ElfW (Rela)); break;
    default: break;
    }
  }
}

static bool
covers (const struct dl_phdr_info *info, const ElfW (Phdr) *segment, uintptr_t address)
{
  uintptr_t start = info->dlpi_addr + segment->p_vaddr;

  return segment->p_type == PT_LOAD && address >= start && address < start + segment->p_memsz;
}

static bool
read_object (const struct dl_phdr_info *info, struct object *object)
{
  *object = (struct object) { 0 };
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
      read_dynamic (info, (const ElfW (Dyn) *) (info->dlpi_addr + info->dlpi_phdr[i].p_vaddr), object);
  if (object->symbols == NULL || object->strings == NULL || object->nr_symbols == 0)
    return false;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    uint32_t flags = info->dlpi_phdr[i].p_flags;

    if (covers (info, &info->dlpi_phdr[i], (uintptr_t) object->symbols))
      object->protection = (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
        (flags & PF_X ? PROT_EXEC : 0);
  }
  return true;
}

/* Variables of libc live in the program where it uses them: stdout, environ. */
static bool
is_copy (const struct object *object, uint32_t symbol)
{
  for (size_t i = 0; i < object->nr_relocations; i++)
    if (ELF64_R_TYPE (object->relocations[i].r_info) == R_COPY &&
        ELF64_R_SYM (object->relocations[i].r_info) == symbol)
      return true;
  return false;
}

/* The copies of one variable (environ and __environ) have one address, and one relocation. */
static bool
is_libc_variable (const struct object *object, uint32_t symbol)
{
  for (uint32_t i = 0; i < object->nr_symbols; i++)
    if (object->symbols[i].st_value == object->symbols[symbol].st_value && is_copy (object, i))
      return true;
  return false;
}

/* Returns 0 or an errno. */
static int
hide (const struct object *object, const char *prefix)
{
  uintptr_t page = (uintptr_t) sysconf (_SC_PAGESIZE);
  uintptr_t start = (uintptr_t) object->symbols & ~(page - 1);
  uintptr_t end = (uintptr_t) (object->symbols + object->nr_symbols);
  size_t size = (end - start + page - 1) & ~(page - 1);

  if (mprotect ((void *) start, size, object->protection | PROT_WRITE) == -1)
    return errno;
  for (uint32_t i = 1; i < object->nr_symbols; i++) {
    ElfW (Sym) *symbol = &object->symbols[i];
    bool is_data = ELF64_ST_TYPE (symbol->st_info) == STT_OBJECT;

    if (symbol->st_shndx == SHN_UNDEF || (is_data && is_libc_variable (object, i)))
      continue;
    if (strncmp (object->strings + symbol->st_name, prefix, strlen (prefix)) != 0)
      continue;
    symbol->st_value = 0;
    symbol->st_shndx = SHN_UNDEF;
  }
  return mprotect ((void *) start, size, object->protection) == -1 ? errno : 0;
}

struct hidden {
  int seen, err;
};

static int
visit (struct dl_phdr_info *info, size_t size, void *data)
{
  struct hidden *hidden = data;
  struct object object;
  bool is_program = hidden->seen++ == 0, is_ours = false;
  int err;

  (void) size;
  for (int i = 0; i < info->dlpi_phnum; i++)
    is_ours |= covers (info, &info->dlpi_phdr[i], (uintptr_t) &rt_hide_symbols);
  if ((!is_program && !is_ours) || !read_object (info, &object))
    return 0;
  /* Of the runtime modules need all that is not for JavaScript. Where it is a part of the program, there is no Bun. */
  err = is_program && is_ours ? 0 : hide (&object, is_program ? "" : "rt_");
  if (err != 0)
    hidden->err = err;
  return 0;
}

int32_t
rt_hide_symbols (void)
{
  struct hidden hidden = { 0 };

  dl_iterate_phdr (visit, &hidden);
  return hidden.err;
}
