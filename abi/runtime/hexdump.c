/* nbdkit_debug_hexdump and nbdkit_debug_hexdiff: bytes as debug lines, sixteen in each. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "nbdkit-plugin.h"

#define ROW 16

/* Part of a buffer: `count` bytes, in the columns from `first` on. With `other`, only bytes that differ from it. */
struct row {
  uint64_t offset;
  size_t first, count;
  const unsigned char *bytes, *other;
};

static bool
shows (const struct row *row, size_t column)
{
  size_t i = column - row->first;

  return column >= row->first && i < row->count && (row->other == NULL || row->bytes[i] != row->other[i]);
}

static void
print_row (const char *prefix, const char *mark, const struct row *row)
{
  char digits[3 * ROW + 2], text[ROW + 1], *to = digits;

  for (size_t column = 0; column < ROW; column++) {
    unsigned char byte = shows (row, column) ? row->bytes[column - row->first] : ' ';

    to += shows (row, column) ? sprintf (to, "%02x ", byte) : sprintf (to, "   ");
    if (column == ROW / 2 - 1)
      to += sprintf (to, " ");
    text[column] = byte >= 0x20 && byte < 0x7f ? (char) byte : '.';
  }
  text[ROW] = '\0';
  nbdkit_debug ("%s%s%08" PRIx64 ": %s |%s|", prefix == NULL ? "" : prefix, mark, row->offset, digits, text);
}

/* `two` is NULL if there is nothing to compare with. */
static void
print_rows (const unsigned char *one, const unsigned char *two, size_t len, const char *prefix, uint64_t start)
{
  struct row row = { .first = start % ROW, .offset = start - start % ROW };
  size_t done = 0, rows = (row.first + len + ROW - 1) / ROW;

  for (size_t i = 0; i < rows; i++) {
    row.count = len - done < ROW - row.first ? len - done : ROW - row.first;
    row.bytes = one + done;
    row.other = NULL;
    if (two == NULL)
      print_row (prefix, "", &row);
    else if (memcmp (one + done, two + done, row.count) == 0)
      print_row (prefix, " ", &row);
    else {
      print_row (prefix, "-", &row);
      row.bytes = two + done;
      row.other = one + done;
      print_row (prefix, "+", &row);
    }
    done += row.count;
    row.offset += ROW;
    row.first = 0;
  }
}

RT_EXPORT void
nbdkit_debug_hexdump (const void *buf, size_t len, const char *prefix, uint64_t start)
{
  if (rt_verbose ())
    print_rows (buf, NULL, len, prefix, start);
}

RT_EXPORT void
nbdkit_debug_hexdiff (const void *buf1, const void *buf2, size_t len, const char *prefix, uint64_t start)
{
  if (rt_verbose ())
    print_rows (buf1, buf2, len, prefix, start);
}
