/* Finds the module that an address belongs to, its layout and its title. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "runtime-limits.h"

/* Signal handlers read entries at any time, so entries are never removed, and fields that readers use never change. */
struct entry {
  uintptr_t base, start, end; /* of its code */
  uint32_t release;
  const char *_Atomic title;
};
static struct entry entries[MAX_MODULES];
static _Atomic uint32_t nr_entries;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Entries by the number of the module, which rt_module_add returned. */
static struct entry *_Atomic by_module[MAX_MODULES];

/* The address where the file that contains `address` is loaded; `address` itself if that is unknown. */
static uintptr_t
base_of (const void *address)
{
  Dl_info info;

  return (uintptr_t) (dladdr (address, &info) == 0 ? address : info.dli_fbase);
}

static struct entry *
entry_at (uintptr_t base)
{
  uint32_t n = atomic_load (&nr_entries);

  for (uint32_t i = 0; i < n; i++)
    if (entries[i].base == base)
      return &entries[i];
  return NULL;
}

/* Set the range of code of the entry if this is the loaded file that contains its base. */
static int
measure (struct dl_phdr_info *info, size_t size, void *data)
{
  struct entry *entry = data;
  uintptr_t start = UINTPTR_MAX, end = 0, from = UINTPTR_MAX, to = 0;

  (void) size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW (Phdr) *segment = &info->dlpi_phdr[i];
    uintptr_t at = info->dlpi_addr + segment->p_vaddr;

    if (segment->p_type != PT_LOAD)
      continue;
    start = at < start ? at : start;
    end = at + segment->p_memsz > end ? at + segment->p_memsz : end;
    if (!(segment->p_flags & PF_X))
      continue;
    from = at < from ? at : from;
    to = at + segment->p_memsz > to ? at + segment->p_memsz : to;
  }
  if (entry->base < start || entry->base >= end)
    return 0;
  entry->start = from;
  entry->end = to;
  return 1;
}

void
rt_module_loaded (const void *address, uint32_t release)
{
  uintptr_t base = base_of (address);
  uint32_t n;

  pthread_mutex_lock (&lock);
  n = atomic_load (&nr_entries);
  if (entry_at (base) == NULL && n < MAX_MODULES) {
    entries[n].base = base;
    entries[n].release = release;
    dl_iterate_phdr (measure, &entries[n]);
    atomic_store (&nr_entries, n + 1);
  }
  pthread_mutex_unlock (&lock);
}

void
rt_module_describe (uint32_t module, const void *address, const char *title)
{
  struct entry *entry = entry_at (base_of (address));

  if (entry == NULL || module >= MAX_MODULES)
    return;
  /* A module that is in the chain twice gets the same title twice. */
  if (atomic_load (&entry->title) == NULL)
    atomic_store (&entry->title, strdup (title));
  atomic_store (&by_module[module], entry);
}

uint32_t
rt_caller_release (const void *return_address)
{
  const struct rt_downcall *downcall = rt_this_downcall ();
  const struct entry *entry = NULL;

  /* The callback on this thread is more certain: a tail call leaves no return address of its function. */
  if (downcall != NULL && downcall->module < MAX_MODULES)
    entry = atomic_load (&by_module[downcall->module]);
  if (entry == NULL)
    entry = entry_at (base_of (return_address));
  return entry == NULL ? UINT32_MAX : entry->release;
}

const char *
rt_module_title (uint32_t module)
{
  const struct entry *entry = module < MAX_MODULES ? atomic_load (&by_module[module]) : NULL;

  return entry == NULL ? NULL : atomic_load (&entry->title);
}

const char *
rt_module_title_at (uintptr_t address)
{
  uint32_t n = atomic_load (&nr_entries);

  for (uint32_t i = 0; i < n; i++)
    if (address >= entries[i].start && address < entries[i].end)
      return atomic_load (&entries[i].title);
  return NULL;
}
