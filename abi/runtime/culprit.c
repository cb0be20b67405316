/* Finds out which module does what a thread does, and says so. All of it is safe in a signal handler. */
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

/* How much of the stack of a thread that runs no callback is searched for code of modules. */
#define SEARCHED 65536

static const char *const op_names[] = RT_OP_NAMES;

/* The path of the module that this thread loads, and the one that any does. */
static __thread const char *loading __attribute__ ((tls_model ("initial-exec")));
static const char *_Atomic any_loading;

static pthread_t javascript;

void
rt_accuse_start (void)
{
  javascript = pthread_self ();
}

void
rt_accuse_loading (const char *path)
{
  loading = path;
  atomic_store (&any_loading, path);
}

bool
rt_in_module (void)
{
  return loading != NULL || rt_this_downcall () != NULL;
}

/* The stack has the addresses that functions return to. What is not there cannot be read, but does no harm. */
static const char *
title_on_stack (const void *stack)
{
  uintptr_t words[512], at = (uintptr_t) stack & ~(sizeof words[0] - 1), end = at + SEARCHED;

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
rt_accuse (struct rt_accused *accused, uintptr_t address, const void *stack)
{
  const struct rt_downcall *downcall = rt_this_downcall ();

  *accused = (struct rt_accused) { .title = loading, .is_loading = loading != NULL };
  if (loading != NULL)
    return true;
  if (downcall != NULL) {
    accused->title = rt_module_title (downcall->module);
    if (downcall->op < sizeof op_names / sizeof op_names[0])
      accused->op = op_names[downcall->op];
  }
  else /* perhaps a thread of a module's own */
    accused->title = rt_module_title_at (address);
  /* JavaScript's thread never runs a module's code, unless it loads one. */
  if (accused->title != NULL || stack == NULL || pthread_equal (pthread_self (), javascript))
    return accused->title != NULL;
  accused->title = title_on_stack (stack);
  if (accused->title == NULL) {
    /* Code that is not known yet. */
    accused->title = atomic_load (&any_loading);
    accused->is_loading = accused->title != NULL;
  }
  return accused->title != NULL;
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
rt_accuse_say (const struct rt_accused *accused, const char *deed, const char *words)
{
  char line[5000] = "";
  const char *const parts[] = {
    rt_program (), accused->is_loading ? ": " : ": the ", accused->title, deed,
    accused->is_loading ? " while it was loaded" : accused->op == NULL ? "" : " in ",
    accused->op == NULL ? "" : accused->op, ": ", words,
  };

  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    append (line, sizeof line - 1, parts[i]);
  append (line, sizeof line, "\n");
  if (write (STDERR_FILENO, line, strlen (line)) == -1)
    return;
}
