/* What modules learn of the process: names and numbers that are nbdkit's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "internal.h"

static _Atomic int32_t shown_pid;
static pid_t own_pid;

/* A process that a module has forked has a number of its own. */
static pid_t
getpid_of_modules (void)
{
  pid_t pid = getpid (), shown = atomic_load (&shown_pid);

  return shown != 0 && pid == own_pid && rt_in_module () ? shown : pid;
}

void
rt_set_pid (int32_t pid)
{
  static void *theirs;

  own_pid = getpid ();
  atomic_store (&shown_pid, pid);
  if (pid == 0 || theirs != NULL)
    return;
  theirs = dlsym (RTLD_DEFAULT, "getpid");
  if (theirs != NULL)
    rt_replace_symbol ("getpid", theirs, (void *) getpid_of_modules);
}

/* err(3) and the like print it. */
void
rt_process_start (void)
{
  static char name[] = "nbdkit";

  program_invocation_name = name;
  program_invocation_short_name = name;
}
