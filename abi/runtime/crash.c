/* Logs which module has crashed when a signal ends the process. The exit status stays that of the signal. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "internal.h"
#include "runtime-limits.h"

static const struct { int number; const char *words; } signals[] = {
  { SIGSEGV, "Segmentation fault" },       { SIGBUS, "Bus error" },           { SIGABRT, "Aborted" },
  { SIGFPE, "Floating point exception" }, { SIGILL, "Illegal instruction" },
};
#define NR_SIGNALS (sizeof signals / sizeof signals[0])

/* The handlers that JavaScript's engine has installed. */
static struct sigaction previous[NR_SIGNALS];

static uintptr_t
program_counter (const void *context)
{
#if defined(__x86_64__)
  return (uintptr_t) ((const ucontext_t *) context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
  return (uintptr_t) ((const ucontext_t *) context)->uc_mcontext.pc;
#else
  (void) context;
  return 0;
#endif
}

/* Let `action` handle the signal. A fault repeats itself once the handler has returned; other signals are raised again.
 */
static void
leave_to (const struct sigaction *action, int number, const siginfo_t *info)
{
  sigaction (number, action, NULL);
  if (info->si_code <= 0)
    raise (number);
}

static void
leave_to_previous (const struct sigaction *old, int number, siginfo_t *info, void *context)
{
  struct sigaction plain = { .sa_handler = SIG_DFL };

  if (!(old->sa_flags & SA_SIGINFO) && (old->sa_handler == SIG_DFL || old->sa_handler == SIG_IGN)) {
    leave_to (old, number, info);
    return;
  }
  if (old->sa_flags & SA_RESETHAND)
    sigaction (number, &plain, NULL);
  if (old->sa_flags & SA_SIGINFO)
    old->sa_sigaction (number, info, context);
  else
    old->sa_handler (number);
}

static const void *
stack_pointer (const void *context)
{
#if defined(__x86_64__)
  return (const void *) ((const ucontext_t *) context)->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
  return (const void *) ((const ucontext_t *) context)->uc_mcontext.sp;
#else
  (void) context;
  return NULL;
#endif
}

static void
handler (int number, siginfo_t *info, void *context)
{
  const struct sigaction plain = { .sa_handler = SIG_DFL };
  struct rt_culprit culprit;
  int saved_errno = errno;
  size_t i = 0;

  while (i + 1 < NR_SIGNALS && signals[i].number != number)
    i++;
  if (!rt_find_culprit (&culprit, program_counter (context), stack_pointer (context)))
    leave_to_previous (&previous[i], number, info, context);
  else {
    rt_log_culprit (&culprit, " crashed", signals[i].words);
    leave_to (&plain, number, info);
  }
  errno = saved_errno;
}

static void
install (void)
{
  struct sigaction ours = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

  sigemptyset (&ours.sa_mask);
  for (size_t i = 0; i < NR_SIGNALS; i++)
    sigaction (signals[i].number, &ours, &previous[i]);
}

void
rt_crash_install (void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once (&once, install);
}

void *
rt_crash_stack_new (void)
{
  stack_t stack = { .ss_size = CRASH_STACK_BYTES };

  stack.ss_sp = malloc (CRASH_STACK_BYTES);
  if (stack.ss_sp != NULL && sigaltstack (&stack, NULL) == -1) {
    free (stack.ss_sp);
    return NULL;
  }
  return stack.ss_sp;
}

void
rt_crash_stack_free (void *memory)
{
  const stack_t none = { .ss_flags = SS_DISABLE };

  if (memory == NULL)
    return;
  sigaltstack (&none, NULL);
  free (memory);
}
