/* Changes which symbols modules find: hides those of the program, and replaces functions of libc.
 *
 * The dynamic linker looks for every symbol in the program first. Bun's program exports the functions of libuv, as
 * stubs that end the process, and those of Node's addons. Modules and their libraries would call these instead of their
 * own. The linker skips symbols without a value.
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
  int protection; /* of the memory with the symbols */
};

/* The address for a pointer of the dynamic section, to which the dynamic linker may have added the base already. */
static uintptr_t
located (const struct dl_phdr_info *info, ElfW (Addr) value)
{
  return value < info->dlpi_addr ? info->dlpi_addr + value : value;
}

/* The number of symbols: the GNU hash table ends with the chain that starts last. */
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
has_address (const struct dl_phdr_info *info, uintptr_t address)
{
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (covers (info, &info->dlpi_phdr[i], address))
      return true;
  return false;
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

/* Variables of libc that the program uses, such as stdout and environ, are in the program, by copy relocations. */
static bool
is_copy (const struct object *object, uint32_t symbol)
{
  for (size_t i = 0; i < object->nr_relocations; i++)
    if (ELF64_R_TYPE (object->relocations[i].r_info) == R_COPY &&
        ELF64_R_SYM (object->relocations[i].r_info) == symbol)
      return true;
  return false;
}

/* Two names of one variable (environ and __environ) have the same address, and only one relocation. */
static bool
is_libc_variable (const struct object *object, const ElfW (Sym) *symbol)
{
  for (uint32_t i = 0; i < object->nr_symbols; i++)
    if (object->symbols[i].st_value == symbol->st_value && is_copy (object, i))
      return true;
  return false;
}

/* Changes a symbol that the object defines. */
typedef void change (const struct object *object, ElfW (Sym) *symbol, const void *data);

/* Returns 0 or an errno. */
static int
change_symbols (const struct object *object, change *change, const void *data)
{
  uintptr_t page = (uintptr_t) sysconf (_SC_PAGESIZE);
  uintptr_t start = (uintptr_t) object->symbols & ~(page - 1);
  uintptr_t end = (uintptr_t) (object->symbols + object->nr_symbols);
  size_t size = (end - start + page - 1) & ~(page - 1);

  if (mprotect ((void *) start, size, object->protection | PROT_WRITE) == -1)
    return errno;
  for (uint32_t i = 1; i < object->nr_symbols; i++)
    if (object->symbols[i].st_shndx != SHN_UNDEF)
      change (object, &object->symbols[i], data);
  return mprotect ((void *) start, size, object->protection) == -1 ? errno : 0;
}

static void
hide (const struct object *object, ElfW (Sym) *symbol, const void *prefix)
{
  bool is_data = ELF64_ST_TYPE (symbol->st_info) == STT_OBJECT;

  if (strncmp (object->strings + symbol->st_name, prefix, strlen (prefix)) != 0)
    return;
  if (is_data && is_libc_variable (object, symbol))
    return;
  symbol->st_value = 0;
  symbol->st_shndx = SHN_UNDEF;
}

struct hidden {
  int seen, err;
};

static int
visit (struct dl_phdr_info *info, size_t size, void *data)
{
  struct hidden *hidden = data;
  struct object object;
  bool is_program = hidden->seen++ == 0, is_ours;
  int err;

  (void) size;
  is_ours = has_address (info, (uintptr_t) &rt_hide_symbols);
  if ((!is_program && !is_ours) || !read_object (info, &object))
    return 0;
  /* Hide all symbols of the program, and the runtime's rt_* functions, which only JavaScript calls. If the runtime is
   * part of the program, as in tests, the program is not Bun. */
  err = is_program && is_ours ? 0 : change_symbols (&object, hide, is_program ? "" : "rt_");
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

struct replacement {
  const char *name;
  uintptr_t theirs, ours;
  uintptr_t base; /* the values of the library's symbols are relative to it */
  int err;
};

static void
replace (const struct object *object, ElfW (Sym) *symbol, const void *data)
{
  const struct replacement *it = data;

  if (it->base + symbol->st_value == it->theirs && strcmp (object->strings + symbol->st_name, it->name) == 0)
    symbol->st_value = it->ours - it->base;
}

static int
visit_library (struct dl_phdr_info *info, size_t size, void *data)
{
  struct replacement *it = data;
  struct object object;

  (void) size;
  if (!has_address (info, it->theirs))
    return 0;
  it->base = info->dlpi_addr;
  it->err = read_object (info, &object) ? change_symbols (&object, replace, it) : ENOEXEC;
  return 1;
}

int
rt_replace_symbol (const char *name, void *theirs, void *ours)
{
  struct replacement it = {
    .name = name, .theirs = (uintptr_t) theirs, .ours = (uintptr_t) ours, .err = ENOENT,
  };

  dl_iterate_phdr (visit_library, &it);
  return it.err;
}
