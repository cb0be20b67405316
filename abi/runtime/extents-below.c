/* nbdkit_extents_full and nbdkit_extents_aligned, which call the layer below until they have enough: nbdkit-filter(3),
 * "Reading the full extents from the plugin" and "Enforcing alignment of an nbdkit_extents list". */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "adapters.gen.h"
#include "exported.h"
#include "internal.h"

typedef int extents_function (void *nxdata, uint32_t count, uint64_t offset, uint32_t flags,
                              struct nbdkit_extents *extents, int *err);

/* The `extents` function of the layer below, and its first and last arguments. */
struct below {
  extents_function *extents;
  void *nxdata;
  uint32_t flags;
};

/* The offset of `extents` in the table of functions that filters of this layout get for the next layer. */
static size_t
extents_at (uint32_t release)
{
  size_t at = 0;

  for (size_t i = 0; i < sizeof rt_next_tables / sizeof rt_next_tables[0]; i++)
    if (rt_next_tables[i] != NULL && rt_next_tables[i]->release <= release)
      at = rt_next_tables[i]->extents;
  return at;
}

/* The filter passes the table and nxdata, or from 1.26 on one pointer that is both. */
static struct below
below_of (const void *table, void *nxdata, uint32_t flags, uint32_t release)
{
  struct below below = { .nxdata = nxdata, .flags = flags };

  memcpy (&below.extents, (const char *) table + extents_at (release), sizeof below.extents);
  return below;
}

/* The extents of the range by the layer below, as a new list up to `end`. NULL after a failure. */
static struct nbdkit_extents *
ask (const struct below *below, uint32_t count, uint64_t offset, uint64_t end, int *err)
{
  struct nbdkit_extents *answer = nbdkit_extents_new (offset, end);

  if (answer == NULL) {
    *err = errno;
    return NULL;
  }
  *err = 0;
  if (below->extents (below->nxdata, count, offset, below->flags, answer, err) == -1) {
    if (*err == 0)
      *err = EIO;
  }
  else if (nbdkit_extents_count (answer) == 0) {
    nbdkit_error ("the layer below has no extent for offset %" PRIu64, offset);
    *err = EINVAL;
  }
  else
    return answer;
  nbdkit_extents_free (answer);
  return NULL;
}

static int
add (struct nbdkit_extents *extents, struct nbdkit_extent extent, int *err)
{
  if (nbdkit_add_extent (extents, extent.offset, extent.length, extent.type) == 0)
    return 0;
  *err = errno;
  return -1;
}

/* Append all extents of an answer. Returns the end of the last one, or 0 after a failure. */
static uint64_t
add_all (struct nbdkit_extents *extents, const struct nbdkit_extents *answer, int *err)
{
  struct nbdkit_extent extent = { 0 };

  for (size_t i = 0; i < nbdkit_extents_count (answer); i++) {
    extent = nbdkit_get_extent (answer, i);
    if (add (extents, extent, err) == -1)
      return 0;
  }
  return extent.offset + extent.length;
}

static struct nbdkit_extents *
full (const struct below *below, uint32_t count, uint64_t offset, int *err)
{
  uint64_t end = offset + count, at = offset;
  struct nbdkit_extents *extents;

  if (end < offset)
    end = UINT64_MAX; /* nbdkit_extents_new refuses it */
  extents = nbdkit_extents_new (offset, end);
  if (extents == NULL)
    *err = errno;
  while (extents != NULL && at < end) {
    struct nbdkit_extents *answer = ask (below, (uint32_t) (end - at), at, end, err);

    at = answer == NULL ? 0 : add_all (extents, answer, err);
    nbdkit_extents_free (answer);
    if (at == 0) {
      nbdkit_extents_free (extents);
      extents = NULL;
    }
  }
  return extents;
}

/* Append the part of an extent that starts at or after `offset`, where the caller's list begins. */
static int
add_from (struct nbdkit_extents *extents, struct nbdkit_extent extent, uint64_t offset, int *err)
{
  if (extent.offset < offset) {
    extent.length -= offset - extent.offset;
    extent.offset = offset;
  }
  return add (extents, extent, err);
}

/* Merge the first block, up to `end`, into one extent. Its type has the bits that all of its parts have in common.
 * `answer` has the first extents of the block. */
static int
merge_block (const struct below *below, const struct nbdkit_extents *answer, uint64_t end, struct nbdkit_extent *block,
             int *err)
{
  struct below whole = *below;
  uint64_t at = 0;

  *block = nbdkit_get_extent (answer, 0);
  whole.flags &= ~(uint32_t) NBDKIT_FLAG_REQ_ONE;
  for (size_t i = 0; i < nbdkit_extents_count (answer) && at < end; i++) {
    struct nbdkit_extent extent = nbdkit_get_extent (answer, i);

    block->type &= extent.type;
    at = extent.offset + extent.length;
  }
  block->length = end - block->offset;
  if (at < end) {
    struct nbdkit_extents *rest = full (&whole, (uint32_t) (end - at), at, err);

    if (rest == NULL)
      return -1;
    for (size_t i = 0; i < nbdkit_extents_count (rest); i++)
      block->type &= nbdkit_get_extent (rest, i).type;
    nbdkit_extents_free (rest);
  }
  return 0;
}

/* The whole blocks that cover the range. The last block may be cut off by the end of the disk, where the caller's list
 * ends. */
struct blocks {
  uint64_t start, end, size;
};

static bool
blocks_of (uint64_t count, uint64_t offset, uint32_t align, const struct nbdkit_extents *extents, struct blocks *blocks)
{
  uint64_t end = offset + count, most = UINT32_MAX - (align - 1), range[2];

  rt_extents_range (extents, range);
  if (end <= offset || end > INT64_MAX || offset >= range[1])
    return false;
  blocks->start = offset & ~(uint64_t) (align - 1);
  blocks->size = range[1];
  blocks->end = (end + align - 1) & ~(uint64_t) (align - 1);
  if (blocks->end > blocks->size)
    blocks->end = blocks->size;
  /* The layer below takes a count of 32 bits. An answer may cover less than the request. */
  if (blocks->end - blocks->start > most)
    blocks->end = blocks->start + (most & ~(uint64_t) (align - 1));
  return true;
}

static int
aligned (const struct below *below, const struct blocks *blocks, uint64_t offset, uint32_t align,
         struct nbdkit_extents *extents, int *err)
{
  uint64_t first_end = blocks->size - blocks->start < align ? blocks->size : blocks->start + align;
  struct nbdkit_extents *answer;
  int result = 0;

  answer = ask (below, (uint32_t) (blocks->end - blocks->start), blocks->start, blocks->size, err);
  if (answer == NULL)
    return -1;
  for (size_t i = 0; i < nbdkit_extents_count (answer) && result == 0; i++) {
    struct nbdkit_extent extent = nbdkit_get_extent (answer, i);
    uint64_t remainder = extent.length % align;

    if (i == 0 && extent.length < align) {
      result = merge_block (below, answer, first_end, &extent, err);
      if (result == 0)
        result = add_from (extents, extent, offset, err);
      break;
    }
    extent.length -= remainder;
    result = add_from (extents, extent, offset, err);
    /* The next extent starts within a block. */
    if (remainder != 0)
      break;
  }
  nbdkit_extents_free (answer);
  return result;
}

/* ---- the two forms of each function: up to 1.24 (table, nxdata, ...), from 1.26 on (next, ...)
 *
 * All arguments are integers or pointers, so Linux's calling conventions pass the n-th one in the same place whatever
 * its type. The form with one argument less leaves the last one undefined; it is not used.
 */

static int
extents_aligned (const struct below *below, uint64_t count, uint64_t offset, uint32_t align,
                 struct nbdkit_extents *extents, int *err)
{
  struct blocks blocks;
  int unused, result;

  if (err == NULL)
    err = &unused;
  if (align == 0 || (align & (align - 1)) != 0 || !blocks_of (count, offset, align, extents, &blocks)) {
    nbdkit_error ("nbdkit_extents_aligned: %" PRIu64 " bytes at %" PRIu64 " in blocks of %" PRIu32
                  ": the blocks must be a power of 2, and the range within the list",
                  count, offset, align);
    errno = *err = EINVAL;
    return -1;
  }
  result = aligned (below, &blocks, offset, align, extents, err);
  if (result == -1)
    errno = *err;
  return result;
}

static struct nbdkit_extents *
extents_full (const struct below *below, uint32_t count, uint64_t offset, int *err)
{
  int unused;
  struct nbdkit_extents *result;

  if (err == NULL)
    err = &unused;
  result = full (below, count, offset, err);
  if (result == NULL)
    errno = *err;
  return result;
}

static void *
pointer (uint64_t argument)
{
  return (void *) (uintptr_t) argument;
}

RT_EXPORT struct nbdkit_extents *
nbdkit_extents_full (void *a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
  uint32_t release = rt_caller_release (__builtin_return_address (0));
  bool one = release >= NBDKIT_FILTER_RELEASE_1_25_4;
  uint32_t flags = (uint32_t) (one ? d : e) & ~(uint32_t) NBDKIT_FLAG_REQ_ONE;
  struct below below = below_of (a, one ? a : pointer (b), flags, release);

  return extents_full (&below, (uint32_t) (one ? b : c), one ? c : d, pointer (one ? e : f));
}

RT_EXPORT int
nbdkit_extents_aligned (void *a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
  uint32_t release = rt_caller_release (__builtin_return_address (0));
  bool one = release >= NBDKIT_FILTER_RELEASE_1_25_4;
  struct below below = below_of (a, one ? a : pointer (b), (uint32_t) (one ? d : e), release);
  /* The count has 64 bits since 1.46. Before, the upper half of its register is undefined. */
  uint64_t count = release >= NBDKIT_FILTER_RELEASE_1_44 ? b : (uint32_t) (one ? b : c);

  return extents_aligned (&below, count, one ? c : d, (uint32_t) (one ? e : f), pointer (one ? f : g),
                          pointer (one ? g : h));
}
