/* Lists of extents: nbdkit-plugin(3), "Extents list", and nbdkit-filter(3), ".extents". */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "exported.h"
#include "internal.h"

/* nbdkit's limit for one list. Further extents are dropped, and callers treat their range as "not known yet". */
#define MOST_EXTENTS 1048576

struct nbdkit_extents {
  uint64_t start, end;
  uint64_t next; /* the required start of the next extent; only valid if any_added */
  bool any_added;
  size_t count, room;
  struct nbdkit_extent *list;
};

RT_EXPORT struct nbdkit_extents *
nbdkit_extents_new (uint64_t start, uint64_t end)
{
  struct nbdkit_extents *extents;

  if (start > end || end > INT64_MAX) {
    nbdkit_error ("extents from %" PRIu64 " to %" PRIu64 ": expected 0 to 2^63-1, in order", start, end);
    errno = ERANGE;
    return NULL;
  }
  extents = calloc (1, sizeof *extents);
  if (extents == NULL) {
    nbdkit_error ("no memory for a list of extents: %m");
    return NULL;
  }
  extents->start = start;
  extents->end = end;
  return extents;
}

RT_EXPORT void
nbdkit_extents_free (struct nbdkit_extents *extents)
{
  if (extents == NULL)
    return;
  free (extents->list);
  free (extents);
}

RT_EXPORT size_t
nbdkit_extents_count (const struct nbdkit_extents *extents)
{
  return extents->count;
}

RT_EXPORT struct nbdkit_extent
nbdkit_get_extent (const struct nbdkit_extents *extents, size_t i)
{
  if (i >= extents->count) {
    nbdkit_error ("extent %zu of a list of %zu was asked for", i, extents->count);
    return (struct nbdkit_extent) { 0 };
  }
  return extents->list[i];
}

/* Append an extent within the list's range, or extend the last one if the type is the same. */
static int
append (struct nbdkit_extents *extents, uint64_t offset, uint64_t length, uint32_t type)
{
  struct nbdkit_extent *last = extents->count == 0 ? NULL : &extents->list[extents->count - 1];

  if (last != NULL && last->type == type) {
    last->length += length;
    return 0;
  }
  if (extents->count == extents->room) {
    size_t room = extents->room == 0 ? 16 : 2 * extents->room;
    struct nbdkit_extent *list = realloc (extents->list, room * sizeof *list);

    if (list == NULL) {
      nbdkit_error ("no memory for %zu extents: %m", room);
      return -1;
    }
    extents->list = list;
    extents->room = room;
  }
  extents->list[extents->count++] = (struct nbdkit_extent) { .offset = offset, .length = length, .type = type };
  return 0;
}

RT_EXPORT int
nbdkit_add_extent (struct nbdkit_extents *extents, uint64_t offset, uint64_t length, uint32_t type)
{
  uint64_t end, from;

  if (extents->any_added && offset != extents->next) {
    nbdkit_error ("extent at %" PRIu64 ": expected %" PRIu64 ", where the one before it ends", offset, extents->next);
    errno = ERANGE;
    return -1;
  }
  extents->next = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
  extents->any_added = true;
  if (length == 0 || offset >= extents->end || extents->count == MOST_EXTENTS)
    return 0;
  end = extents->next < extents->end ? extents->next : extents->end;
  if (extents->count == 0 && end <= extents->start)
    return 0;
  if (extents->count == 0 && offset > extents->start) {
    nbdkit_error ("the first extent begins at %" PRIu64 ", after %" PRIu64, offset, extents->start);
    errno = ERANGE;
    return -1;
  }
  from = offset < extents->start ? extents->start : offset;
  return append (extents, from, end - from, type);
}

/* ---- for JavaScript */

void *
rt_extents_new (const uint64_t *range)
{
  return nbdkit_extents_new (range[0], range[1]);
}

void
rt_extents_free (void *extents)
{
  nbdkit_extents_free (extents);
}

void
rt_extents_range (const void *address, uint64_t *range)
{
  const struct nbdkit_extents *extents = address;
  const struct nbdkit_extent *last = extents->count == 0 ? NULL : &extents->list[extents->count - 1];

  range[0] = last == NULL ? extents->start : last->offset + last->length;
  range[1] = extents->end;
}

uint32_t
rt_extents_read (const void *address, uint32_t first, uint64_t *triples, uint32_t max)
{
  const struct nbdkit_extents *extents = address;
  uint32_t n = 0;

  for (size_t i = first; i < extents->count && n < max; i++, n++) {
    const struct nbdkit_extent *extent = &extents->list[i];

    triples[3 * n] = extent->offset;
    triples[3 * n + 1] = extent->length;
    triples[3 * n + 2] = extent->type;
  }
  return n;
}

int32_t
rt_extents_append (void *extents, const uint64_t *triples, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++) {
    const uint64_t *triple = &triples[3 * i];

    if (nbdkit_add_extent (extents, triple[0], triple[1], (uint32_t) triple[2]) == -1)
      return errno;
  }
  return 0;
}
