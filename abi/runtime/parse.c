/* nbdkit_parse_size, nbdkit_parse_bool, nbdkit_absolute_path and nbdkit_realpath: nbdkit-plugin(3), "PARSING". */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "internal.h"
#include "nbdkit-plugin.h"

/* The exponent of the power of two that a suffix means, or -1. `_` may precede the letter, as 0x1_b needs. */
static int
suffix_shift (const char *suffix)
{
  static const struct { char letter; int shift; } known[] = {
    { 'b', 0 }, { 's', 9 }, { 'k', 10 }, { 'm', 20 }, { 'g', 30 }, { 't', 40 }, { 'p', 50 }, { 'e', 60 },
  };

  if (suffix[0] == '\0')
    return 0;
  if (suffix[0] == '_')
    suffix++;
  if (suffix[0] != '\0' && suffix[1] == '\0') {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
      if (tolower ((unsigned char) suffix[0]) == known[i].letter)
        return known[i].shift;
  }
  return -1;
}

/* Parse the number at the start of `text`: 0x means hexadecimal, 0 octal. Returns its end, or NULL if it is larger than
 * 2^63-1. It accepts what src/lib/size.ts accepts; strtoumax(3) accepts more with some C libraries. */
static const char *
parse_digits (const char *text, uint64_t *result)
{
  unsigned base = 10;

  if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X') && isxdigit ((unsigned char) text[2])) {
    base = 16;
    text += 2;
  }
  else if (text[0] == '0')
    base = 8;
  for (*result = 0; isxdigit ((unsigned char) *text); text++) {
    unsigned digit = isdigit ((unsigned char) *text) ? (unsigned) (*text - '0')
                                                     : (unsigned) (tolower ((unsigned char) *text) - 'a' + 10);
    if (digit >= base)
      break;
    if (*result > ((uint64_t) INT64_MAX - digit) / base)
      return NULL;
    *result = *result * base + digit;
  }
  return text;
}

RT_EXPORT int64_t
nbdkit_parse_size (const char *text)
{
  const char *at = text;
  uint64_t size;
  int shift = 0;

  while (isspace ((unsigned char) *at))
    at++;
  if (*at == '+')
    at++;
  if (!isdigit ((unsigned char) *at)) {
    nbdkit_error ("could not parse size string: %s: expected a number of bytes", text);
    return -1;
  }
  at = parse_digits (at, &size);
  if (at != NULL)
    shift = suffix_shift (at);
  if (shift == -1) {
    nbdkit_error ("could not parse size: unknown suffix: %s: expected one of b, k, m, g, t, p, e, s at the end of %s",
                  at, text);
    return -1;
  }
  if (at == NULL || size > (uint64_t) INT64_MAX >> shift) {
    nbdkit_error ("could not parse size: %s: it is larger than 2^63-1", text);
    return -1;
  }
  return (int64_t) (size << shift);
}

RT_EXPORT int
nbdkit_parse_bool (const char *text)
{
  static const char *const yes[] = { "1", "true", "t", "yes", "y", "on" };
  static const char *const no[] = { "0", "false", "f", "no", "n", "off" };

  for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
    if (strcasecmp (text, yes[i]) == 0)
      return 1;
    if (strcasecmp (text, no[i]) == 0)
      return 0;
  }
  nbdkit_error ("could not parse boolean string (%s): expected true or false", text);
  return -1;
}

static int
path_is_missing (const char *path, const char *what)
{
  if (path != NULL && *path != '\0')
    return 0;
  nbdkit_error ("cannot %s", what);
  return 1;
}

/* The caller frees the result. */
RT_EXPORT char *
nbdkit_absolute_path (const char *path)
{
  char *folder, *result;

  if (path_is_missing (path, "convert null or empty path to an absolute path"))
    return NULL;
  if (*path == '/') {
    result = strdup (path);
    if (result == NULL)
      nbdkit_error ("strdup: %m");
    return result;
  }
  folder = getcwd (NULL, 0);
  if (folder == NULL) {
    nbdkit_error ("getcwd: %m");
    return NULL;
  }
  if (asprintf (&result, "%s/%s", folder, path) == -1) {
    nbdkit_error ("asprintf: %m");
    result = NULL;
  }
  free (folder);
  return result;
}

/* The caller frees the result. */
RT_EXPORT char *
nbdkit_realpath (const char *path)
{
  char *result;

  if (path_is_missing (path, "resolve a null or empty path"))
    return NULL;
  result = realpath (path, NULL);
  if (result == NULL)
    nbdkit_error ("realpath: %s: %m", path);
  return result;
}
