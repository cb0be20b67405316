/* nbdkit_error, nbdkit_debug and nbdkit_set_error: nbdkit-plugin(3), "ERROR HANDLING" and "DEBUGGING". */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "nbdkit-plugin.h"
#include "runtime-limits.h"

/* nbdkit has these variables, which modules may read. -D nbdkit.NAME=N sets them. */
RT_EXPORT int nbdkit_debug_backend_controlpath = 1;
RT_EXPORT int nbdkit_debug_backend_datapath = 1;
RT_EXPORT int nbdkit_debug_environ = 0;
RT_EXPORT int nbdkit_debug_tls_log = 0;
RT_EXPORT int nbdkit_debug_tls_session = 0;

static _Atomic int32_t verbose;

void
rt_set_verbose (int32_t on)
{
  atomic_store (&verbose, on);
}

bool
rt_verbose (void)
{
  return atomic_load (&verbose) != 0;
}

static const char *server_name;

static const char *program = "nbdkit";

RT_EXPORT const char *
nbdkit_name (void)
{
  return server_name;
}

const char *
rt_program (void)
{
  return program;
}

static _Thread_local const char *thread_name;

void
rt_set_log_name (const void *name)
{
  thread_name = name;
}

static _Atomic int32_t error_fd = STDERR_FILENO;

void
rt_send_errors (int32_t fd)
{
  atomic_store (&error_fd, fd);
}

/* A pipe that accepts anything without blocking accepts at least this many bytes. */
#define PAGE_BYTES 4096
/* The number of lines that could not be written. */
static _Atomic uint32_t lost;

/* Whether a page can be written without blocking, or writing fails at once. */
static bool
has_room (int fd, int wait_ms)
{
  struct pollfd writable = { .fd = fd, .events = POLLOUT };
  int n;

  do
    n = poll (&writable, 1, wait_ms);
  while (n == -1 && errno == EINTR);
  return n != 0;
}

static void
write_all (int fd, const char *line, size_t length)
{
  for (size_t at = 0; at < length;) {
    size_t part = length - at < PAGE_BYTES ? length - at : PAGE_BYTES;
    ssize_t n;

    if (!has_room (fd, LOG_PATIENCE_MS)) {
      atomic_fetch_add (&lost, 1);
      return;
    }
    n = write (fd, line + at, part);
    if (n >= 0)
      at += (size_t) n;
    else if (errno != EAGAIN && errno != EINTR)
      return;
  }
}

static void
write_line (int fd, const char *line, size_t length)
{
  char *words;
  uint32_t before = atomic_load (&lost);

  if (before > 0) {
    if (!has_room (fd, 0)) {
      atomic_fetch_add (&lost, 1);
      return;
    }
    /* First complete a line that was written in part. */
    before = atomic_exchange (&lost, 0);
    int n = asprintf (&words, "\n%s: warning: %u line(s) of modules were lost, because the log was not read\n", program,
                      before);
    if (n != -1) {
      write_all (fd, words, (size_t) n);
      free (words);
    }
  }
  write_all (fd, line, length);
}

/* Whether a control character is at `at`: one of ASCII, or a C1 control in UTF-8. */
static int
is_control (const unsigned char *at)
{
  return at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0);
}

/* Replace control characters that are not in `kept` by escapes as in C, as src/lib/quoted.ts does, so that a terminal
 * obeys none. If none is kept, backslashes are doubled, to differ from those of escapes. `indent` is put in front of
 * further lines, so that newlines from a client cannot start another message. NULL if there is no memory.
 */
static char *
printable (const char *text, const char *kept, const char *indent)
{
  const unsigned char *at = (const unsigned char *) text;
  /* The longest escape is \u0080, for two bytes. */
  char *result = malloc (4 * strlen (text) + 1), *to = result;

  if (result == NULL)
    return NULL;
  for (; *at != '\0'; at++) {
    if (*at == '\\' && *kept == '\0')
      to = stpcpy (to, "\\\\");
    else if (!is_control (at) || strchr (kept, *at) != NULL) {
      *to++ = (char) *at;
      if (*at == '\n' && at[1] != '\0')
        to = stpcpy (to, indent);
    }
    else if (*at == '\n')
      to = stpcpy (to, "\\n");
    else if (*at == '\r')
      to = stpcpy (to, "\\r");
    else if (*at == '\t')
      to = stpcpy (to, "\\t");
    else if (*at == 0xc2)
      to += sprintf (to, "\\u00%02x", *++at);
    else
      to += sprintf (to, "\\x%02x", *at);
  }
  *to = '\0';
  return result;
}

/* Called once, before any module is loaded. */
void
rt_set_server_name (const char *name)
{
  char *shown = printable (name, "", ""), *line;

  server_name = strdup (name);
  if (shown != NULL && asprintf (&line, "nbdkit[%s]", shown) != -1)
    program = line;
  free (shown);
}

enum kind { ERROR, DEBUG };

/* On a terminal errors are red, and debug lines of modules are bold. */
static int
make_line (char **line, enum kind kind, int fd, const char *name, const char *message)
{
  bool tty = isatty (fd) == 1;

  return asprintf (line, "%s%s: %s%s%s: %s\n%s", !tty ? "" : kind == ERROR ? "\033[1;31m" : "\033[1m",
                   program, name == NULL ? "" : name, name == NULL ? "" : ": ", kind == ERROR ? "error" : "debug", message,
                   tty ? "\033[0m" : "");
}

/* One write, so that lines of several threads do not mix. %m gets the caller's errno, which is preserved. */
static void
print_line (enum kind kind, int fd, const char *format, va_list args)
{
  int saved_errno = errno;
  const struct rt_connection *connection = rt_this_connection ();
  const char *name = connection == NULL ? thread_name : connection->log_name;
  char *raw = NULL, *message = NULL, *line = NULL;
  int length;

  errno = saved_errno;
  if (vasprintf (&raw, format, args) != -1) {
    if (kind == ERROR)
      rt_store_said (raw);
    message = printable (raw, kind == ERROR ? "\n\t" : "", name == NULL ? "" : "  ");
    free (raw);
  }
  if (fd == RT_ERRORS_TO_SYSLOG)
    syslog (LOG_DAEMON | LOG_ERR, "%s%s%s", name == NULL ? "" : name, name == NULL ? "" : ": ",
            message == NULL ? format : message);
  else if (fd != RT_ERRORS_NOWHERE) {
    length = make_line (&line, kind, fd, name, message == NULL ? format : message);
    if (length > 0) {
      write_line (fd, line, (size_t) length);
      free (line);
    }
  }
  free (message);
  errno = saved_errno;
}

/* The number of error lines of modules, which shows whether a module has reported its error. */
static _Atomic uint32_t errors;

uint32_t
rt_errors_printed (void)
{
  return atomic_load (&errors);
}

RT_EXPORT void
nbdkit_verror (const char *format, va_list args)
{
  atomic_fetch_add (&errors, 1);
  print_line (ERROR, atomic_load (&error_fd), format, args);
}

RT_EXPORT void
nbdkit_error (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  nbdkit_verror (format, args);
  va_end (args);
}

RT_EXPORT void
nbdkit_vdebug (const char *format, va_list args)
{
  if (atomic_load (&verbose))
    print_line (DEBUG, STDERR_FILENO, format, args);
}

RT_EXPORT void
nbdkit_debug (const char *format, ...)
{
  va_list args;

  if (!atomic_load (&verbose))
    return;
  va_start (args, format);
  print_line (DEBUG, STDERR_FILENO, format, args);
  va_end (args);
}

/* The time in UTC, to the microsecond. The next call on the same thread overwrites it. */
RT_EXPORT const char *
nbdkit_timestamp (void)
{
  static _Thread_local char text[64];
  int saved_errno = errno;
  struct timespec now;
  struct tm utc;
  size_t length = 0;

  if (clock_gettime (CLOCK_REALTIME, &now) == 0 && gmtime_r (&now.tv_sec, &utc) != NULL)
    length = strftime (text, sizeof text - sizeof ".999999", "%Y-%m-%d %H:%M:%S", &utc);
  errno = saved_errno;
  if (length == 0)
    return "!";
  sprintf (text + length, ".%06ld", now.tv_nsec / 1000);
  return text;
}

RT_EXPORT void
nbdkit_set_error (int err)
{
  rt_store_error (err);
}
