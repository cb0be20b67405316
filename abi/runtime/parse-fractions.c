/* nbdkit_parse_probability and nbdkit_parse_delay. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exported.h"
#include "internal.h"

/* Parse a finite number that starts with a digit or a point, so is not negative. Returns its end, or NULL. */
static const char *
parse_number (const char *text, double *result)
{
  char *end;

  if (!isdigit ((unsigned char) *text) && *text != '.')
    return NULL;
  *result = strtod (text, &end);
  return end == text || !isfinite (*result) ? NULL : end;
}

/* Parse `10%`, `0.1`, `1:10` or `1/10`, which are all the same. 0:0 is 0. */
static bool
parse_ratio (const char *text, double *result)
{
  const char *end = parse_number (text, result);
  double divisor = 1;

  if (end == NULL)
    return false;
  if (*end == '%') {
    divisor = 100;
    end++;
  }
  else if (*end == ':' || *end == '/') {
    end = parse_number (end + 1, &divisor);
    if (end == NULL)
      return false;
  }
  if (*end != '\0' || (divisor == 0 && *result != 0))
    return false;
  if (divisor != 0)
    *result /= divisor;
  return true;
}

RT_EXPORT int
nbdkit_parse_probability (const char *what, const char *text, double *result)
{
  double probability;

  if (!parse_ratio (text, &probability)) {
    nbdkit_error ("%s: could not parse probability: \"%s\": expected a form like 0.1, 10%% or 1:10", what, text);
    errno = EINVAL;
    return -1;
  }
  if (probability > 1) {
    nbdkit_error ("%s: probability out of range: \"%s\": expected 0 to 1, or 0%% to 100%%", what, text);
    errno = ERANGE;
    return -1;
  }
  if (result != NULL)
    *result = probability;
  return 0;
}

/* The nanoseconds in a unit, or 0 if there is no such unit. */
static uint64_t
unit_of (const char *suffix)
{
  static const struct { const char *suffix; uint64_t nanoseconds; } units[] = {
    { "", 1000000000 }, { "s", 1000000000 }, { "ms", 1000000 }, { "us", 1000 },
    { "\xce\xbcs", 1000 }, { "\xc2\xb5s", 1000 }, { "ns", 1 }, /* the Greek letter, and the micro sign */
  };

  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
    if (strcmp (suffix, units[i].suffix) == 0)
      return units[i].nanoseconds;
  return 0;
}

/* Parse nanoseconds. Returns 0, EINVAL or ERANGE. Fractions of a nanosecond are dropped. */
static int
parse_nanoseconds (const char *text, unsigned __int128 *result)
{
  const unsigned __int128 most = (unsigned __int128) UINT_MAX * 1000000000 + 999999999;
  const char *at = text;
  unsigned __int128 whole = 0;
  uint64_t unit;
  size_t part;

  for (; isdigit ((unsigned char) *at); at++)
    if (whole <= most)
      whole = whole * 10 + (unsigned) (*at - '0');
  if (at == text)
    return EINVAL;
  part = strspn (*at == '.' ? at + 1 : "", "0123456789");
  unit = unit_of (part == 0 ? at : at + 1 + part);
  if (unit == 0)
    return EINVAL;
  *result = whole * unit;
  /* The first digit of the fraction counts a tenth of the unit, the second one a hundredth, and so on. */
  for (size_t i = 1; i <= part && unit >= 10; i++, unit /= 10)
    *result += (unsigned) (at[i] - '0') * (unit / 10);
  return whole > most || *result > most ? ERANGE : 0;
}

RT_EXPORT int
nbdkit_parse_delay (const char *what, const char *text, unsigned *seconds, unsigned *nanoseconds)
{
  unsigned __int128 delay;
  int err = parse_nanoseconds (text, &delay);

  if (err == EINVAL)
    nbdkit_error ("%s: could not parse delay: \"%s\": expected a number of seconds, or one with s, ms, us or ns", what,
                  text);
  else if (err == ERANGE)
    nbdkit_error ("%s: delay is too long: \"%s\": expected at most %u seconds", what, text, UINT_MAX);
  if (err != 0) {
    errno = err;
    return -1;
  }
  if (seconds != NULL)
    *seconds = (unsigned) (delay / 1000000000);
  if (nanoseconds != NULL)
    *nanoseconds = (unsigned) (delay % 1000000000);
  return 0;
}
