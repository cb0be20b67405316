/* Loads modules, and calls them through the adapter of their layout. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters.gen.h"
#include "internal.h"
#include "ops.gen.h"
#include "runtime-limits.h"

struct module {
  rt_adapter call;
  const struct rt_next_table *next;
  const void *module;
};
static struct module modules[MAX_MODULES];
static _Atomic int32_t nr_modules;

int32_t
rt_module_add (uint32_t adapter, const void *module)
{
  int32_t i = atomic_load (&nr_modules);

  if (adapter >= sizeof rt_adapters / sizeof rt_adapters[0])
    return -EINVAL;
  if (i == MAX_MODULES)
    return -ENOSPC;
  modules[i] = (struct module) {
    .call = rt_adapters[adapter],
    .next = rt_next_tables[adapter],
    .module = module,
  };
  atomic_store (&nr_modules, i + 1);
  return i;
}

uint32_t
rt_module_next_table (int32_t module, void *table, uint32_t size)
{
  const struct rt_next_table *next;

  if (module < 0 || module >= atomic_load (&nr_modules))
    return 0;
  next = modules[module].next;
  if (next == NULL || next->size > size)
    return 0;
  memcpy (table, next->functions, next->size);
  return (uint32_t) next->size;
}

void
rt_module_call (const struct rt_downcall *downcall, struct rt_result *result)
{
  const struct module *module = &modules[downcall->module];

  module->call (module->module, downcall, result);
}

static char dl_error[4096];

static void
keep_dlerror (void)
{
  const char *text = dlerror ();

  snprintf (dl_error, sizeof dl_error, "%s", text == NULL ? "" : text);
}

static char loaded[4096];

static void
load (void *data)
{
  void **library = data;

  rt_set_loading (loaded);
  *library = dlopen (loaded, RTLD_NOW | RTLD_GLOBAL);
  keep_dlerror ();
  rt_set_loading (NULL);
}

void *
rt_dlopen (const char *path, int32_t slot)
{
  void *library;

  /* Install first, so that a handler which the module installs while it is loaded gets the signal before ours. */
  rt_crash_install ();
  if (strlen (path) >= sizeof loaded) {
    snprintf (dl_error, sizeof dl_error, "%s", strerror (ENAMETOOLONG));
    return NULL;
  }
  strcpy (loaded, path);
  rt_run_errand (slot, load, &library);
  return library;
}

void *
rt_dlsym (void *library, const char *name)
{
  void *symbol = dlsym (library, name);

  keep_dlerror ();
  return symbol;
}

const char *
rt_dlerror (void)
{
  return dl_error;
}

static void
call_init (void *data)
{
  void **function = data, *(*init) (void);

  *(void **) &init = *function;
  rt_set_loading (loaded);
  *function = init ();
  rt_set_loading (NULL);
}

void *
rt_call_init (void *function, int32_t slot)
{
  rt_run_errand (slot, call_init, &function);
  return function;
}

void *
rt_strdup (const char *text)
{
  return strdup (text);
}

void
rt_free (void *memory)
{
  free (memory);
}

void
rt_flush_stdout (void)
{
  fflush (stdout);
}
