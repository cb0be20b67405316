/* nbdkit_parse_int and similar functions: nbdkit-plugin(3), "Parsing numbers". */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

#include "exported.h"
#include "internal.h"

static int
refuse (const char *what, const char *text, const char *why)
{
  nbdkit_error ("%s: could not parse number: \"%s\": %s", what, text, why);
  errno = EINVAL;
  return -1;
}

static int
ends_well (const char *what, const char *text, const char *end)
{
  if (end == text)
    return refuse (what, text, "expected a decimal, octal (0...) or hexadecimal (0x...) number");
  if (*end != '\0')
    return refuse (what, text, "expected nothing after the number");
  return 0;
}

static int
parse_signed (const char *what, const char *text, int64_t least, int64_t most, int64_t *result)
{
  char *end;

  errno = 0;
  *result = strtoimax (text, &end, 0);
  if (errno != ERANGE && ends_well (what, text, end) == -1)
    return -1;
  if (errno != ERANGE && *result >= least && *result <= most)
    return 0;
  nbdkit_error ("%s: could not parse number: \"%s\": expected %" PRId64 " to %" PRId64, what, text, least, most);
  errno = ERANGE;
  return -1;
}

static int
parse_unsigned (const char *what, const char *text, uint64_t most, uint64_t *result)
{
  const char *at = text;
  char *end;

  /* strtoumax would convert a negative number to a large one. */
  while (isspace ((unsigned char) *at))
    at++;
  if (*at == '-')
    return refuse (what, text, "a negative number is not allowed");
  errno = 0;
  *result = strtoumax (text, &end, 0);
  if (errno != ERANGE && ends_well (what, text, end) == -1)
    return -1;
  if (errno != ERANGE && *result <= most)
    return 0;
  nbdkit_error ("%s: could not parse number: \"%s\": expected 0 to %" PRIu64, what, text, most);
  errno = ERANGE;
  return -1;
}

#define SIGNED(name, type, least, most)                                                                                \
  RT_EXPORT int nbdkit_parse_##name (const char *what, const char *text, type *result)                                 \
  {                                                                                                                    \
    int64_t number;                                                                                                    \
                                                                                                                       \
    if (parse_signed (what, text, least, most, &number) == -1)                                                         \
      return -1;                                                                                                       \
    if (result != NULL)                                                                                                \
      *result = (type) number;                                                                                         \
    return 0;                                                                                                          \
  }

#define UNSIGNED(name, type, most)                                                                                     \
  RT_EXPORT int nbdkit_parse_##name (const char *what, const char *text, type *result)                                 \
  {                                                                                                                    \
    uint64_t number;                                                                                                   \
                                                                                                                       \
    if (parse_unsigned (what, text, most, &number) == -1)                                                              \
      return -1;                                                                                                       \
    if (result != NULL)                                                                                                \
      *result = (type) number;                                                                                         \
    return 0;                                                                                                          \
  }

SIGNED (int, int, INT_MIN, INT_MAX)
SIGNED (int8_t, int8_t, INT8_MIN, INT8_MAX)
SIGNED (int16_t, int16_t, INT16_MIN, INT16_MAX)
SIGNED (int32_t, int32_t, INT32_MIN, INT32_MAX)
SIGNED (int64_t, int64_t, INT64_MIN, INT64_MAX)
UNSIGNED (unsigned, unsigned, UINT_MAX)
UNSIGNED (uint8_t, uint8_t, UINT8_MAX)
UNSIGNED (uint16_t, uint16_t, UINT16_MAX)
UNSIGNED (uint32_t, uint32_t, UINT32_MAX)
UNSIGNED (uint64_t, uint64_t, UINT64_MAX)
