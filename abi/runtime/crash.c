/* Says which module it was when the process dies of a signal in one. The exit status stays that of the signal. */
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
#include "ops.gen.h"

#define STACK_SIZE 32768

static const struct { int number; const char *words; } signals[] = {
  { SIGSEGV, "Segmentation fault" },       { SIGBUS, "Bus error" },           { SIGABRT, "Aborted" },
  { SIGFPE, "Floating point exception" }, { SIGILL, "Illegal instruction" },
};
#define NR_SIGNALS (sizeof signals / sizeof signals[0])

/* What JavaScript's engine had installed for itself. */
static struct sigaction previous[NR_SIGNALS];

static const char *const op_names[] = RT_OP_NAMES;

/* The path of the module that this thread loads. */
static __thread const char *loading __attribute__ ((tls_model ("initial-exec")));

void
rt_crash_loading (const char *path)
{
  loading = path;
}

bool
rt_in_module (void)
{
  return loading != NULL || rt_this_downcall () != NULL;
}

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

/* No stdio here: only what signal-safety(7) allows. */
static void
append (char *line, size_t size, const char *text)
{
  size_t at = strlen (line);

  while (at + 1 < size && *text != '\0')
    line[at++] = *text++;
  line[at] = '\0';
}

static void
say (const char *title, const char *op, const char *words)
{
  char line[5000] = "";

  append (line, sizeof line - 1, rt_program ());
  append (line, sizeof line - 1, loading == NULL ? ": the " : ": ");
  append (line, sizeof line - 1, title);
  append (line, sizeof line - 1, op == NULL ? " crashed" : " crashed in ");
  append (line, sizeof line - 1, op == NULL ? "" : op);
  append (line, sizeof line - 1, loading == NULL ? "" : " while it was loaded");
  append (line, sizeof line - 1, ": ");
  append (line, sizeof line - 1, words);
  append (line, sizeof line, "\n");
  if (write (STDERR_FILENO, line, strlen (line)) == -1)
    return;
}

/* The signal takes effect as `action` has it. A fault happens again as soon as the handler has returned. */
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

static void
handler (int number, siginfo_t *info, void *context)
{
  const struct rt_message *downcall = rt_this_downcall ();
  const struct sigaction plain = { .sa_handler = SIG_DFL };
  const char *title = NULL, *op = NULL;
  int saved_errno = errno;
  size_t i = 0;

  while (i + 1 < NR_SIGNALS && signals[i].number != number)
    i++;
  if (loading != NULL)
    title = loading;
  else if (downcall != NULL) {
    title = rt_module_title (downcall->module);
    if (downcall->op < sizeof op_names / sizeof op_names[0])
      op = op_names[downcall->op];
  }
  else /* perhaps a thread of a module's own */
    title = rt_module_title_at (program_counter (context));
  if (title == NULL)
    leave_to_previous (&previous[i], number, info, context);
  else {
    say (title, op, signals[i].words);
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
  stack_t stack = { .ss_size = STACK_SIZE };

  stack.ss_sp = malloc (STACK_SIZE);
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
