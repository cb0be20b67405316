/* Stands between modules and the process that they share with the server: its pid, its descriptors and its end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "runtime-limits.h"

static pid_t own_pid;

/* libc's functions. A call by name may reach ours. */
static struct {
  pid_t (*getpid) (void);
  int (*close) (int);
  int (*dup2) (int, int);
  int (*dup3) (int, int, int);
  int (*close_range) (unsigned, unsigned, int);
  void (*_exit) (int) __attribute__ ((noreturn));
} libc;

/* Let modules find `ours` by this name, unless libc lacks the function. Returns libc's function. */
static void *
replace (const char *name, void *ours)
{
  void *theirs = dlsym (RTLD_DEFAULT, name);

  if (theirs != NULL)
    rt_replace_symbol (name, theirs, ours);
  return theirs;
}

/* Whether the call from `caller` is a module's. A process that a module has forked is not restricted. */
static bool
calls (struct rt_culprit *culprit, const void *caller)
{
  return libc.getpid () == own_pid && rt_find_culprit (culprit, (uintptr_t) caller, NULL);
}

/* ---- getpid */

static _Atomic int32_t shown_pid;

static pid_t
getpid_of_modules (void)
{
  pid_t pid = libc.getpid (), shown = atomic_load (&shown_pid);

  return shown != 0 && pid == own_pid && rt_in_module () ? shown : pid;
}

void
rt_set_pid (int32_t pid)
{
  atomic_store (&shown_pid, pid);
}

/* ---- descriptors */

/* For each of the server's descriptors, the inode + 1 of its file; else 0. */
static _Atomic uint64_t protected_inodes[MAX_PROTECTED_DESCRIPTORS];

static uint64_t
inode_of (int fd)
{
  struct stat found;

  return fstat (fd, &found) == -1 ? 0 : found.st_ino + 1;
}

void
rt_protect_descriptor (int32_t fd)
{
  if (fd >= 0 && fd < MAX_PROTECTED_DESCRIPTORS)
    atomic_store (&protected_inodes[fd], inode_of (fd));
}

/* Compares inodes, since a module may have opened a descriptor that the server has closed. */
static bool
is_protected (int fd)
{
  uint64_t inode = fd < 0 || fd >= MAX_PROTECTED_DESCRIPTORS ? 0 : atomic_load (&protected_inodes[fd]);

  return inode != 0 && inode == inode_of (fd);
}

/* Protect the descriptors that Bun has opened, which have FD_CLOEXEC. Those that the user has passed on lack it. */
static void
protect_first_descriptors (void)
{
  for (int fd = 3; fd < FIRST_DESCRIPTORS; fd++) {
    int flags = fcntl (fd, F_GETFD);

    if (flags != -1 && (flags & FD_CLOEXEC))
      rt_protect_descriptor (fd);
  }
}

static bool
refuses (int fd, const void *caller)
{
  static _Atomic int logged;
  struct rt_culprit culprit;
  char deed[60];

  if (!is_protected (fd) || !calls (&culprit, caller))
    return false;
  snprintf (deed, sizeof deed, " tried to close descriptor %d", fd);
  /* Log it once, since most callers close many descriptors in a loop. */
  if (!atomic_exchange (&logged, 1))
    rt_log_culprit (&culprit, deed, "it is the server's and stays open");
  errno = EBADF;
  return true;
}

static int
close_of_modules (int fd)
{
  return refuses (fd, __builtin_return_address (0)) ? -1 : libc.close (fd);
}

static int
dup2_of_modules (int from, int to)
{
  return from != to && refuses (to, __builtin_return_address (0)) ? -1 : libc.dup2 (from, to);
}

static int
dup3_of_modules (int from, int to, int flags)
{
  return refuses (to, __builtin_return_address (0)) ? -1 : libc.dup3 (from, to, flags);
}

/* Close all descriptors of the range except the server's. */
static int
close_range_for (unsigned first, unsigned last, int flags, const void *caller)
{
  for (unsigned fd = first; fd <= last && fd < MAX_PROTECTED_DESCRIPTORS; fd++) {
    if (atomic_load (&protected_inodes[fd]) == 0 || !refuses ((int) fd, caller))
      continue;
    if (fd > first && libc.close_range (first, fd - 1, flags) == -1)
      return -1;
    first = fd + 1;
  }
  return first > last ? 0 : libc.close_range (first, last, flags);
}

static int
close_range_of_modules (unsigned first, unsigned last, int flags)
{
  return close_range_for (first, last, flags, __builtin_return_address (0));
}

static void
closefrom_of_modules (int first)
{
  close_range_for (first < 0 ? 0 : (unsigned) first, ~0U, 0, __builtin_return_address (0));
}

/* ---- the end */

static void
log_end (const struct rt_culprit *culprit, const char *function, int status)
{
  char words[60];

  snprintf (words, sizeof words, "the server ends with status %d", status & 0xff);
  rt_log_culprit (culprit, function, words);
}

/* Runs in exit(3), which libc may also call for a module. */
static void
at_exit (int status, void *unused)
{
  struct rt_culprit culprit;

  (void) unused;
  if (libc.getpid () == own_pid && rt_find_culprit (&culprit, 0, __builtin_frame_address (0)))
    log_end (&culprit, " called exit", status);
}

static __attribute__ ((noreturn)) void
_exit_of_modules (int status)
{
  struct rt_culprit culprit;

  if (calls (&culprit, __builtin_return_address (0)))
    log_end (&culprit, " called _exit", status);
  libc._exit (status);
}

void
rt_process_start (void)
{
  /* err(3) and similar functions print this name. */
  static char name[] = "nbdkit";

  program_invocation_name = name;
  program_invocation_short_name = name;
  own_pid = getpid ();
  rt_culprit_start ();
  protect_first_descriptors ();
  on_exit (at_exit, NULL);
  *(void **) &libc.getpid = replace ("getpid", (void *) getpid_of_modules);
  *(void **) &libc.close = replace ("close", (void *) close_of_modules);
  *(void **) &libc.dup2 = replace ("dup2", (void *) dup2_of_modules);
  *(void **) &libc.dup3 = replace ("dup3", (void *) dup3_of_modules);
  *(void **) &libc.close_range = replace ("close_range", (void *) close_range_of_modules);
  *(void **) &libc._exit = replace ("_exit", (void *) _exit_of_modules);
  replace ("_Exit", (void *) _exit_of_modules);
  /* Our closefrom calls libc's close_range. A libc with closefrom has it. */
  replace ("closefrom", (void *) closefrom_of_modules);
}
