/* What modules may do to the process that they share with the server, and what they learn of it. */
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

static pid_t own_pid;

/* libc's own: a call by name may find ours. */
static struct {
  pid_t (*getpid) (void);
  int (*close) (int);
  int (*dup2) (int, int);
  int (*dup3) (int, int, int);
  int (*close_range) (unsigned, unsigned, int);
  void (*_exit) (int) __attribute__ ((noreturn));
} libc;

/* Modules find `ours` under that name, unless libc has no such function. Returns what libc has. */
static void *
replace (const char *name, void *ours)
{
  void *theirs = dlsym (RTLD_DEFAULT, name);

  if (theirs != NULL)
    rt_replace_symbol (name, theirs, ours);
  return theirs;
}

/* Whether a module calls a function from `caller`. A process that a module has forked may do as it likes. */
static bool
calls (struct rt_accused *accused, const void *caller)
{
  return libc.getpid () == own_pid && rt_accuse (accused, (uintptr_t) caller, NULL);
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

/* By descriptor: the inode + 1 of what the server has there. */
#define MOST_DESCRIPTORS 65536
static _Atomic uint64_t own_inodes[MOST_DESCRIPTORS];

static uint64_t
inode_of (int fd)
{
  struct stat found;

  return fstat (fd, &found) == -1 ? 0 : found.st_ino + 1;
}

void
rt_own_descriptor (int32_t fd)
{
  if (fd >= 0 && fd < MOST_DESCRIPTORS)
    atomic_store (&own_inodes[fd], inode_of (fd));
}

/* What the server has closed may be a module's by now. */
static bool
is_own (int fd)
{
  uint64_t inode = fd < 0 || fd >= MOST_DESCRIPTORS ? 0 : atomic_load (&own_inodes[fd]);

  return inode != 0 && inode == inode_of (fd);
}

/* Bun's are not inherited, and those that the user has passed on are. */
static void
own_what_is_there (void)
{
  for (int fd = 3; fd < 1024; fd++) {
    int flags = fcntl (fd, F_GETFD);

    if (flags != -1 && (flags & FD_CLOEXEC))
      rt_own_descriptor (fd);
  }
}

static bool
refuses (int fd, const void *caller)
{
  static _Atomic int said;
  struct rt_accused accused;
  char deed[60];

  if (!is_own (fd) || !calls (&accused, caller))
    return false;
  snprintf (deed, sizeof deed, " tried to close descriptor %d", fd);
  /* Mostly it is a loop. */
  if (!atomic_exchange (&said, 1))
    rt_accuse_say (&accused, deed, "it is the server's and stays open");
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

/* All but the server's. */
static int
close_range_for (unsigned first, unsigned last, int flags, const void *caller)
{
  for (unsigned fd = first; fd <= last && fd < MOST_DESCRIPTORS; fd++) {
    if (atomic_load (&own_inodes[fd]) == 0 || !refuses ((int) fd, caller))
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
say_that_it_ends (const struct rt_accused *accused, const char *function, int status)
{
  char words[60];

  snprintf (words, sizeof words, "the server ends with status %d", status & 0xff);
  rt_accuse_say (accused, function, words);
}

/* By exit, even if libc calls it for a module. */
static void
at_exit (int status, void *unused)
{
  struct rt_accused accused;

  (void) unused;
  if (libc.getpid () == own_pid && rt_accuse (&accused, 0, __builtin_frame_address (0)))
    say_that_it_ends (&accused, " called exit", status);
}

static __attribute__ ((noreturn)) void
_exit_of_modules (int status)
{
  struct rt_accused accused;

  if (calls (&accused, __builtin_return_address (0)))
    say_that_it_ends (&accused, " called _exit", status);
  libc._exit (status);
}

void
rt_process_start (void)
{
  /* err(3) and the like print it. */
  static char name[] = "nbdkit";

  program_invocation_name = name;
  program_invocation_short_name = name;
  own_pid = getpid ();
  rt_accuse_start ();
  own_what_is_there ();
  on_exit (at_exit, NULL);
  *(void **) &libc.getpid = replace ("getpid", (void *) getpid_of_modules);
  *(void **) &libc.close = replace ("close", (void *) close_of_modules);
  *(void **) &libc.dup2 = replace ("dup2", (void *) dup2_of_modules);
  *(void **) &libc.dup3 = replace ("dup3", (void *) dup3_of_modules);
  *(void **) &libc.close_range = replace ("close_range", (void *) close_range_of_modules);
  *(void **) &libc._exit = replace ("_exit", (void *) _exit_of_modules);
  replace ("_Exit", (void *) _exit_of_modules);
  /* It calls close_range, which libc has if it has this. */
  replace ("closefrom", (void *) closefrom_of_modules);
}
