/* nbdkit_read_password and nbdkit_stdio_safe: nbdkit-plugin(3), "Reading passwords" and "Safely interacting with stdin
 * and stdout". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "exported.h"
#include "internal.h"

static _Atomic int32_t stdio_safe = 1;

void
rt_set_stdio_safe (int32_t safe)
{
  atomic_store (&stdio_safe, safe != 0);
}

RT_EXPORT int
nbdkit_stdio_safe (void)
{
  return atomic_load (&stdio_safe);
}

/* Read the first line of `file`, without the newline; of an empty file an empty password. Closes `file`. */
static int
read_line (FILE *file, const char *what, char **password)
{
  size_t size = 0;
  ssize_t length;

  errno = 0;
  length = getline (password, &size, file);
  if (length == -1 && (ferror (file) || errno != 0)) {
    nbdkit_error ("could not read the password from %s: %m", what);
    free (*password);
    *password = NULL;
    fclose (file);
    return -1;
  }
  fclose (file);
  if (length == -1) {
    free (*password);
    *password = strdup ("");
    if (*password == NULL)
      nbdkit_error ("strdup: %m");
    return *password == NULL ? -1 : 0;
  }
  if (length > 0 && (*password)[length - 1] == '\n')
    (*password)[length - 1] = '\0';
  return 0;
}

static int
read_file (int fd, const char *what, char **password)
{
  FILE *file = fd == -1 ? NULL : fdopen (fd, "r");

  if (file == NULL) {
    nbdkit_error ("could not open %s to read the password: %m", what);
    if (fd != -1)
      close (fd);
    return -1;
  }
  return read_line (file, what, password);
}

/* The terminal, whose echo must be restored before a signal ends the process: the shell would not show typed text. */
static struct {
  int fd;
  struct termios before;
} terminal;

static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
#define ENDING (sizeof ending / sizeof ending[0])
static struct sigaction previous[ENDING];

static void
show_and_end (int number)
{
  int saved_errno = errno;

  tcsetattr (terminal.fd, TCSANOW, &terminal.before);
  for (size_t i = 0; i < ENDING; i++)
    if (ending[i] == number)
      sigaction (number, &previous[i], NULL);
  /* The signal is blocked until the handler returns. */
  raise (number);
  errno = saved_errno;
}

static int
hide_input (int fd)
{
  struct sigaction action = { .sa_handler = show_and_end };
  struct termios silent;

  if (tcgetattr (fd, &terminal.before) == -1)
    return -1;
  terminal.fd = fd;
  for (size_t i = 0; i < ENDING; i++) {
    sigaction (ending[i], NULL, &previous[i]);
    if (previous[i].sa_handler != SIG_IGN)
      sigaction (ending[i], &action, NULL);
  }
  /* TCSAFLUSH drops earlier input, so the caller prints the prompt afterwards: a program may answer it at once. */
  silent = terminal.before;
  silent.c_lflag &= ~(tcflag_t) ECHO;
  return tcsetattr (fd, TCSAFLUSH, &silent);
}

static void
show_input (void)
{
  tcsetattr (terminal.fd, TCSAFLUSH, &terminal.before);
  for (size_t i = 0; i < ENDING; i++)
    sigaction (ending[i], &previous[i], NULL);
}

/* Ask on the controlling terminal, with echo off, whatever stdin is. A process without one asks on stdin, which may
 * still be a terminal. */
static int
read_terminal (char **password)
{
  int in, out, result;

  if (!nbdkit_stdio_safe ()) {
    nbdkit_error ("password=- cannot be used with -s or after config phase: write +FILE or -FD instead");
    return -1;
  }
  in = out = open ("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (in == -1) {
    if (!isatty (STDIN_FILENO)) {
      nbdkit_error ("password=-: stdin is not a tty, and /dev/tty cannot be opened: write +FILE or -FD instead");
      return -1;
    }
    in = fcntl (STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    out = STDERR_FILENO;
  }
  if (in == -1 || hide_input (in) == -1) {
    nbdkit_error ("password=-: cannot read from the terminal: %m");
    if (in != -1)
      close (in);
    return -1;
  }
  dprintf (out, "password: ");
  /* read_file closes its descriptor. */
  result = read_file (fcntl (in, F_DUPFD_CLOEXEC, 3), "the terminal", password);
  show_input ();
  dprintf (out, "\n");
  close (in);
  return result;
}

/* `-` asks, `-FD` reads a descriptor, `+FILE` reads a file; any other value is the password itself. The caller frees
 * *password. */
RT_EXPORT int
nbdkit_read_password (const char *value, char **password)
{
  *password = NULL;
  if (strcmp (value, "-") == 0)
    return read_terminal (password);
  if (value[0] == '-') {
    int fd;

    if (nbdkit_parse_int ("password file descriptor", value + 1, &fd) == -1)
      return -1;
    if (fd < 0) {
      nbdkit_error ("password file descriptor: %s: expected no negative number", value);
      return -1;
    }
    if (fd <= STDERR_FILENO) {
      nbdkit_error ("cannot use password -FD for stdin/stdout/stderr: %s: expected 3 or more", value);
      return -1;
    }
    return read_file (fd, value, password);
  }
  if (value[0] == '+')
    return read_file (open (value + 1, O_RDONLY | O_CLOEXEC), value + 1, password);
  *password = strdup (value);
  if (*password == NULL) {
    nbdkit_error ("strdup: %m");
    return -1;
  }
  return 0;
}
