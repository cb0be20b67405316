/* nbdkit_read_password and nbdkit_stdio_safe: nbdkit-plugin(3), "Reading passwords" and the section after it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
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

/* The first line of `file` without its end; an empty file is an empty password. Closes `file`. */
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

/* Ask on the terminal, with echo off. */
static int
read_terminal (char **password)
{
  struct termios before, silent;
  int fd, result;

  if (!nbdkit_stdio_safe ()) {
    nbdkit_error ("stdin is not free to ask for the password: write it, or give +FILE or -FD");
    return -1;
  }
  if (!isatty (STDIN_FILENO)) {
    nbdkit_error ("stdin is not a terminal: cannot ask for the password");
    return -1;
  }
  if (tcgetattr (STDIN_FILENO, &before) == -1) {
    nbdkit_error ("tcgetattr: %m");
    return -1;
  }
  /* What was typed before is thrown away, so that the question comes afterwards: a program may answer it at once. */
  silent = before;
  silent.c_lflag &= ~(tcflag_t) ECHO;
  tcsetattr (STDIN_FILENO, TCSAFLUSH, &silent);
  printf ("password: ");
  fflush (stdout);
  fd = fcntl (STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  result = read_file (fd, "the terminal", password);
  tcsetattr (STDIN_FILENO, TCSAFLUSH, &before);
  printf ("\n");
  return result;
}

/* `-` asks, `-FD` reads a descriptor, `+FILE` a file, anything else is the password itself.
 * *password is freed by the caller. */
RT_EXPORT int
nbdkit_read_password (const char *value, char **password)
{
  *password = NULL;
  if (strcmp (value, "-") == 0)
    return read_terminal (password);
  if (value[0] == '-') {
    char *end;
    long fd = strtol (value + 1, &end, 10);

    if (*end != '\0' || fd < 0 || fd > 1 << 20) {
      nbdkit_error ("could not parse the password's file descriptor (%s): expected -FD", value);
      return -1;
    }
    if (fd <= STDERR_FILENO) {
      nbdkit_error ("the password cannot be read from file descriptor %ld: expected 3 or more", fd);
      return -1;
    }
    return read_file ((int) fd, value, password);
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
