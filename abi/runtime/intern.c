/* Strings that the server frees for a module: nbdkit-plugin(3), "STRING LIFETIME". */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exported.h"
#include "internal.h"

struct rt_interned {
  struct rt_interned *next;
  _Alignas (16) char text[]; /* aligned as by strdup(3) */
};

/* One lock for all lists, since it is held only for two assignments. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Strings made outside connections. Modules may use them until the process ends. */
static struct rt_interned *forever;

void
rt_interned_free (struct rt_interned *first)
{
  while (first != NULL) {
    struct rt_interned *next = first->next;

    free (first);
    first = next;
  }
}

const char *
rt_intern (struct rt_interned **first, const char *text, size_t length)
{
  struct rt_interned *copy = malloc (sizeof *copy + length + 1);

  if (copy == NULL)
    return NULL;
  memcpy (copy->text, text, length);
  copy->text[length] = '\0';
  pthread_mutex_lock (&lock);
  copy->next = *first;
  *first = copy;
  pthread_mutex_unlock (&lock);
  return copy->text;
}

/* Keep a copy of `length` bytes as long as the connection of this thread, or forever if there is none. */
static const char *
keep (const char *text, size_t length)
{
  struct rt_connection *connection = rt_this_connection ();
  struct rt_interned **first = connection == NULL || connection->is_shared ? &forever : &connection->interned;
  const char *copy = rt_intern (first, text, length);

  if (copy == NULL)
    nbdkit_error ("no memory for a string of %zu bytes: %m", length);
  return copy;
}

static const char *
keep_or_fail (const char *function, const char *text, size_t most)
{
  if (text == NULL) {
    nbdkit_error ("%s: no string is given", function);
    errno = EINVAL;
    return NULL;
  }
  return keep (text, strnlen (text, most));
}

RT_EXPORT const char *
nbdkit_strdup_intern (const char *text)
{
  return keep_or_fail ("nbdkit_strdup_intern", text, SIZE_MAX);
}

RT_EXPORT const char *
nbdkit_strndup_intern (const char *text, size_t n)
{
  return keep_or_fail ("nbdkit_strndup_intern", text, n);
}

RT_EXPORT const char *
nbdkit_vprintf_intern (const char *format, va_list args)
{
  const char *kept;
  char *text;
  int length = vasprintf (&text, format, args);

  if (length == -1) {
    nbdkit_error ("vasprintf: %m");
    return NULL;
  }
  kept = keep (text, (size_t) length);
  free (text);
  return kept;
}

RT_EXPORT const char *
nbdkit_printf_intern (const char *format, ...)
{
  const char *kept;
  va_list args;

  va_start (args, format);
  kept = nbdkit_vprintf_intern (format, args);
  va_end (args);
  return kept;
}
