/* Finds the module that a thread works for, and logs what it did. All functions are safe in a signal handler. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"
#include "ops.gen.h"
#include "runtime-limits.h"

static const char *const op_names[] = RT_OP_NAMES;

/* The path of the module that this thread is loading, and that any thread is loading. */
static __thread const char *loading __attribute__ ((tls_model ("initial-exec")));
static const char *_Atomic any_loading;

static pthread_t javascript;

void
rt_culprit_start (void)
{
  javascript = pthread_self ();
}

void
rt_set_loading (const char *path)
{
  loading = path;
  atomic_store (&any_loading, path);
}

bool
rt_in_module (void)
{
  return loading != NULL || rt_this_downcall () != NULL;
}

/* Look for return addresses in modules on a stack. process_vm_readv fails where memory is not mapped, without a
 * fault. */
static const char *
title_on_stack (const void *stack)
{
  uintptr_t words[512], at = (uintptr_t) stack & ~(sizeof words[0] - 1), end = at + SEARCHED_STACK_BYTES;

  while (at < end) {
    struct iovec here = { words, sizeof words }, there = { (void *) at, sizeof words - at % sizeof words };
    ssize_t n = process_vm_readv (getpid (), &here, 1, &there, 1, 0);

    if (n <= 0)
      return NULL;
    for (size_t i = 0; i < (size_t) n / sizeof words[0]; i++) {
      const char *title = rt_module_title_at (words[i]);

      if (title != NULL)
        return title;
    }
    at += (size_t) n;
  }
  return NULL;
}

bool
rt_find_culprit (struct rt_culprit *culprit, uintptr_t address, const void *stack)
{
  const struct rt_downcall *downcall = rt_this_downcall ();

  *culprit = (struct rt_culprit) { .title = loading, .is_loading = loading != NULL };
  if (loading != NULL)
    return true;
  if (downcall != NULL) {
    culprit->title = rt_module_title (downcall->module);
    if (downcall->op < sizeof op_names / sizeof op_names[0])
      culprit->op = op_names[downcall->op];
  }
  else /* it may be a module's own thread */
    culprit->title = rt_module_title_at (address);
  /* JavaScript's thread runs code of modules only while it loads one. */
  if (culprit->title != NULL || stack == NULL || pthread_equal (pthread_self (), javascript))
    return culprit->title != NULL;
  culprit->title = title_on_stack (stack);
  if (culprit->title == NULL) {
    /* The code of a module is not known while it is being loaded. */
    culprit->title = atomic_load (&any_loading);
    culprit->is_loading = culprit->title != NULL;
  }
  return culprit->title != NULL;
}

static void
append (char *line, size_t size, const char *text)
{
  size_t at = strlen (line);

  while (at + 1 < size && *text != '\0')
    line[at++] = *text++;
  line[at] = '\0';
}

void
rt_log_culprit (const struct rt_culprit *culprit, const char *deed, const char *words)
{
  char line[5000] = "";
  const char *const parts[] = {
    rt_program (), culprit->is_loading ? ": " : ": the ", culprit->title, deed,
    culprit->is_loading ? " while it was loaded" : culprit->op == NULL ? "" : " in ",
    culprit->op == NULL ? "" : culprit->op, ": ", words,
  };

  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    append (line, sizeof line - 1, parts[i]);
  append (line, sizeof line, "\n");
  if (write (STDERR_FILENO, line, strlen (line)) == -1)
    return;
}
